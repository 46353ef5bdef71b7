"""The bundled model as three ONNX graphs beside their weights: `python -m sdlesson.tiny.export_onnx FOLDER`.

A graph PART.onnx computes in float32. Its weights are in PART.weights, in as few bytes as keep them (`packed`). Who
starts a graph widens them (`widened`) and hands them over as its external data, named PART.weights.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from ..attention import Heat, cross_attentions, weigh_attention
from ..loading.errors import BadInput, ModelError, first_line
from ..models import StableDiffusion, load
from ..unet import stages

#: The operators' version that the exporter writes without converting.
OPSET = 20

#: So few numbers stay in the graph: an operator's own arguments.
_SMALL = 16

#: Fewer than this stay in the graph where float16 would change them: the timestep's frequencies, the text's mask.
_FEW = 8192

#: How far a graph's outputs may lie from torch's, of outputs of about 1.
_FAR = 1e-3


class TextEncoder(torch.nn.Module):
    """Token ids (1, 77), int64 -> embeddings (1, 77, dim)."""

    outputs = ("text_embeddings",)

    def __init__(self, sd: StableDiffusion):
        super().__init__()
        self.text_encoder = sd.text_encoder

    def forward(self, input_ids):
        return self.text_encoder(input_ids)[0]

    def example(self) -> dict[str, torch.Tensor]:
        """Arguments of the right shapes."""
        return {"input_ids": torch.arange(self.text_encoder.config.max_position_embeddings)[None]}


class GuidedUNet(torch.nn.Module):
    """One guided call, and its inside: sample (2, 4, h, w), timestep (), embeddings (2, 77, dim) -> see below.

    Both guesses (1, 4, h, w); the prompt's attention (77, rows, columns) as `Heat.probabilities` means it; and what
    each stage but the last gives for the prompt, (channels, rows, columns).
    """

    def __init__(self, sd: StableDiffusion):
        super().__init__()
        self.unet = sd.unet
        self.names = [name for name in stages(sd.unet) if name != "conv_out"]
        self.outputs = ("noise_uncond", "noise_text", "attention", *(f"features.{name}" for name in self.names))

    def forward(self, sample, timestep, text_embeddings):
        maps, seen = [], {}

        def weigh(scores):
            maps.append(scores.softmax(dim=-1))  # (2, heads, squares, 77)
            return maps[-1]

        def note(name, output):
            seen[name] = output[0] if isinstance(output, tuple) else output  # a down block gives its skips, too

        parts = stages(self.unet)
        hooks = [
            parts[name].register_forward_hook(lambda _, __, output, name=name: note(name, output))
            for name in self.names
        ]
        with weigh_attention(self.unet, weigh):
            both = self.unet(sample, timestep, encoder_hidden_states=text_embeddings, return_dict=False)[0]
        for hook in hooks:
            hook.remove()
        attention = self.heat(maps).probabilities(0)[0, 0].permute(2, 0, 1)  # (77, rows, columns)
        return *both.split(1), attention, *(seen[name][1] for name in self.names)

    def heat(self, maps: Sequence[torch.Tensor]) -> Heat:
        """The prompt's half of each layer's probabilities, the mean over its heads, with rows and columns."""
        kept = {}
        for name, weights in zip(cross_attentions(self.unet), maps, strict=True):
            side = round(weights.shape[2] ** 0.5)
            kept[name] = [weights[1:].mean(dim=1, keepdim=True).unflatten(2, (side, side))]
        return Heat(kept)

    def example(self) -> dict[str, torch.Tensor]:
        """Arguments of the right shapes."""
        config, normal = self.unet.config, torch.Generator().manual_seed(0)
        sample = torch.randn(2, config.in_channels, config.sample_size, config.sample_size, generator=normal)
        text = torch.randn(2, 77, config.cross_attention_dim, generator=normal)
        return {"sample": sample, "timestep": torch.tensor(500.0), "text_embeddings": text}


class Decoder(torch.nn.Module):
    """Latents (1, 4, h, w), divided by the scaling factor -> a picture (1, 3, 8h, 8w), about -1 ... 1."""

    outputs = ("picture",)

    def __init__(self, sd: StableDiffusion):
        super().__init__()
        self.vae, self.side = sd.vae, sd.unet.config.sample_size

    def forward(self, latents):
        return self.vae.decode(latents, return_dict=False)[0]

    def example(self) -> dict[str, torch.Tensor]:
        """Arguments of the right shapes."""
        shape = (1, self.vae.config.latent_channels, self.side, self.side)
        return {"latents": torch.randn(shape, generator=torch.Generator().manual_seed(0))}


PARTS = {"text_encoder": TextEncoder, "unet": GuidedUNet, "vae_decoder": Decoder}


def export(folder: Path, sd: StableDiffusion | None = None, parts: Sequence[str] = tuple(PARTS)) -> None:
    """Write the graph and the weights of each of `parts`, names of `PARTS`, into `folder`.

    Raises BadInput where onnx, onnxscript or onnxruntime is missing, and ModelError where their versions make a graph
    that torch's exporter cannot write, or that gives other numbers than torch.
    """
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):  # torch's exporter needs the second
            importlib.import_module(name)
    except ImportError as error:
        raise BadInput(f"The live page's model needs the extra 'live' ({error}): pip install -e '.[live]'.") from None
    folder.mkdir(parents=True, exist_ok=True)
    sd = load("tiny", device="cpu") if sd is None else sd
    for name in parts:
        part = PARTS[name](sd).eval()
        try:
            model = traced(part)
        except Exception as error:  # an exporter of another version may raise anything
            raise ModelError(f"The {name} could not be exported by {_versions()}: {first_line(error)}") from None
        graph, weights = unload(model, f"{name}.weights")
        (folder / f"{name}.onnx").write_bytes(graph)
        (folder / f"{name}.weights").write_bytes(weights)
        check(part, name, run(folder, name, {key: value.numpy() for key, value in part.example().items()}))


def traced(part: torch.nn.Module):
    """The ONNX model of a part, with what can be computed without its inputs computed, and small operators joined."""
    import onnx
    import onnxruntime

    inputs = part.example()
    with torch.no_grad(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as work:
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        names = {"input_names": list(inputs), "output_names": list(part.outputs)}
        kind = {"dynamo": True, "verbose": False, "opset_version": OPSET}
        program = torch.onnx.export(part, tuple(inputs.values()), **names, **kind)
        program.save(f"{work}/plain.onnx", external_data=False)
        options = onnxruntime.SessionOptions()
        # extended: what is so on any processor, and no more
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = f"{work}/joined.onnx"
        options.log_severity_level = 3  # errors alone
        onnxruntime.InferenceSession(f"{work}/plain.onnx", options, providers=["CPUExecutionProvider"])
        return onnx.load(f"{work}/joined.onnx")


def unload(model, location: str) -> tuple[bytes, bytes]:
    """A model as the bytes of its graph without the weights, and those of its weights (`packed`).

    The graph expects them as float32, one after another, in a file named `location`. What is very small, and
    a few numbers that float16 would change, stay in the graph.
    """
    from onnx import StringStringEntryProto, TensorProto, numpy_helper

    kept, start = [], 0
    for each in model.graph.initializer:
        if each.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(each).ravel()
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        if values.size < _SMALL or (values.size < _FEW and (rounded != values).any()):
            continue
        kept.append(values)
        each.ClearField("raw_data")
        each.ClearField("float_data")
        each.data_location = TensorProto.EXTERNAL
        place = {"location": location, "offset": start, "length": 4 * values.size}
        each.external_data.extend(StringStringEntryProto(key=key, value=str(value)) for key, value in place.items())
        start += 4 * values.size
    model.graph.ClearField("value_info")
    model.graph.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("metadata_props")  # where in Python it came from: paths and line numbers
        node.ClearField("doc_string")
    return model.SerializeToString(), packed(np.concatenate(kept))


def packed(numbers: np.ndarray) -> bytes:
    """float32 numbers as a file of weights: a byte, 2 or 3, and so many planes, the lowest bytes of all numbers first.

    Two hold float16, where that loses nothing; else three hold the upper 24 bits, rounded: 15 of the fraction's 23.
    The upper bytes are much alike, so side by side they pack well.
    """
    with np.errstate(over="ignore"):
        planes = numbers.astype("<f2")
    if (planes == numbers).all():
        planes = planes.view(np.uint8).reshape(-1, 2)
    else:
        planes = (numbers.astype("<f4").view("<u4") + 0x80).view(np.uint8).reshape(-1, 4)[:, 1:]
    return bytes([planes.shape[1]]) + planes.T.tobytes()


def widened(weights: bytes) -> np.ndarray:
    """The float32 numbers of a file of weights, (numbers,)."""
    planes = np.frombuffer(weights, np.uint8, offset=1).reshape(weights[0], -1)
    if len(planes) == 2:
        return np.ascontiguousarray(planes.T).view("<f2").ravel().astype(np.float32)
    return np.stack([np.zeros_like(planes[0]), *planes], axis=1).view("<f4").ravel()


def session(folder: Path, name: str):
    """An onnxruntime session of one of `PARTS` in `folder`."""
    import onnxruntime

    weights = widened((folder / f"{name}.weights").read_bytes()).tobytes()
    options = onnxruntime.SessionOptions()
    options.add_external_initializers_from_files_in_memory([f"{name}.weights"], [weights], [len(weights)])
    options.log_severity_level = 3  # errors alone
    graph = (folder / f"{name}.onnx").read_bytes()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(folder: Path, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the graph `name` in `folder` gives, by the outputs' names."""
    engine = session(folder, name)
    names = [each.name for each in engine.get_outputs()]
    return dict(zip(names, engine.run(names, dict(inputs)), strict=True))


def check(part: torch.nn.Module, name: str, found: Mapping[str, np.ndarray]) -> None:
    """Raise ModelError unless the outputs `found` for the part's example are torch's."""
    with torch.no_grad():
        expected = part(*part.example().values())
    expected = (expected,) if isinstance(expected, torch.Tensor) else expected
    for output, values in zip(part.outputs, expected, strict=True):
        values, given = values.numpy(), found.get(output)
        if given is None or given.shape != values.shape:
            raise ModelError(f"The exported {name} gives no {output} of shape {values.shape} by {_versions()}.")
        if (far := np.abs(given - values).max() / max(1, np.abs(values).max())) > _FAR or np.isnan(far):
            raise ModelError(f"The exported {name} gives another {output} than torch, by {far:.2g}, by {_versions()}.")


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "onnx", "onnxscript", "onnxruntime"))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("Use: python -m sdlesson.tiny.export_onnx FOLDER", file=sys.stderr)
        return 2
    try:
        export(Path(arguments[0]))
    except BadInput as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
