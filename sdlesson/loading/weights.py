"""The parts of a model from their files: safetensors only, each part filled whole or refused."""

from __future__ import annotations

import codecs
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import fit
from .errors import ModelError
from .files import read_json
from .folders import weight_files

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTextModel, CLIPTokenizer


_MAPPED = 32 * 2**20  # bytes of a weight file that are in memory at once while it is converted to another dtype


def stored_dtype(folder: Path, part: str, dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a part's weights stay: that of its files where it has 16 bits, else `dtype`."""
    import torch
    from safetensors import safe_open

    with safe_open(weight_files(folder, part)[0], framework="pt") as stream:
        stored = {stream.get_slice(name).get_dtype() for name in stream.keys()}  # noqa: SIM118  (no mapping)
    narrow = {"F16": torch.float16, "BF16": torch.bfloat16}
    found = [narrow[code] for code in stored if code in narrow]
    return found[0] if len(found) == 1 and "F32" not in stored else dtype


def tokenizer_of(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a folder; where it does not say how long its texts are, as long as the text encoder reads."""
    from transformers import CLIPTokenizer

    with _without_marks(folder) as readable:
        tokenizer = CLIPTokenizer.from_pretrained(readable, local_files_only=True)
    if fit.text_length(folder.parent) is None:
        tokenizer.model_max_length = read_json(folder.parent / "text_encoder/config.json").get(
            "max_position_embeddings", 77
        )
    return tokenizer


@contextlib.contextmanager
def _without_marks(folder: Path):
    """`folder` itself, or a copy without the byte-order marks of its files, which transformers does not read."""
    marked = [file.name for file in folder.iterdir() if file.is_file() and _start(file) == codecs.BOM_UTF8]
    if not marked:
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place) / folder.name))
        for name in marked:
            (copy / name).write_bytes((folder / name).read_bytes().removeprefix(codecs.BOM_UTF8))
        yield copy


def _start(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return stream.read(len(codecs.BOM_UTF8))


def text_encoder_of(folder: Path, dtype: torch.dtype) -> CLIPTextModel:
    """The text encoder of a folder in `dtype`.

    transformers' own from_pretrained would set torch's default dtype meanwhile, for every thread of the process.
    """
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    known = CLIPTextConfig().to_dict().keys() - {"return_dict", "output_attentions", "output_hidden_states"}
    told = read_json(folder / "config.json")  # of which nothing may choose the code that runs (attn_implementation)
    config = CLIPTextConfig(**{key: value for key, value in told.items() if key in known} | {"dtype": dtype})
    weights = _deep_enough(part_weights(folder, dtype), told, folder)
    with torch.device("meta"):
        model = CLIPTextModel(config)
    model.embeddings.position_ids = torch.arange(config.max_position_embeddings)[None]  # 0 ... 76: no file holds them
    return _filled(model, weights, folder)


def image_part(kind: type, folder: Path, dtype: torch.dtype):
    """The UNet or VAE of a folder in `dtype`."""
    import torch

    told = read_json(folder / "config.json")
    config = {key: value for key, value in told.items() if key != "_use_default_values"}
    if folder.name == "unet":
        config["sample_size"] = fit.sample_size(folder.parent)
    elif config.get("sample_size", 0) is None:
        del config["sample_size"]  # the VAE's is for tiles only
    fit.check_numbers(folder / "config.json", config, kind)
    weights = _deep_enough(part_weights(folder, dtype), config, folder)
    with torch.device("meta"):
        model = kind.from_config(config)
    return _filled(model, weights, folder)


def _deep_enough(weights: dict[str, torch.Tensor], config: dict, folder: Path) -> dict[str, torch.Tensor]:
    """`weights`, of at least as many tensors as `config` has layers: a million layers would take hours to build."""
    for key, value in config.items():
        layers = max((each for each in (value if isinstance(value, list) else [value]) if type(each) is int), default=0)
        if "layers" in key and layers > len(weights):
            raise ModelError(
                f"{folder / 'config.json'} says {key} {value!r}, and there are {len(weights)} tensors in its files."
            )
    return weights


def part_weights(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The weights of the part in `folder` by the names that its module has now, as `read_weights` gives them."""
    weights = read_weights(weight_files(folder.parent, folder.name), dtype)
    return {_new_name(name): weights[name] for name in weights}


def _filled(model, weights: dict[str, torch.Tensor], folder: Path):
    """A model that was made without memory of its own, given the file's tensors; raises ModelError unless they fit.

    What they lack would stay without numbers, and neither library raises for that.
    """
    shapes = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    stored = {name: tuple(values.shape) for name, values in weights.items()}
    wrong = [
        f"{name} is {stored[name]} in the file and {shape} by the configuration"
        for name, shape in sorted(shapes.items())
        if stored.get(name, shape) != shape
    ]
    if not wrong:
        model.load_state_dict(weights, strict=False, assign=True)
        held = (*model.named_parameters(), *model.named_buffers())
        wrong = sorted(f"{name} is missing" for name, values in held if values.is_meta)
    if wrong:
        more = f"; so are {len(wrong) - 1} more, missing or misshapen" if wrong[1:] else ""
        raise ModelError(f"The weights in {folder} do not fit its configuration: {wrong[0]}{more}.")
    return model.eval()


def read_weights(files: list[Path], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of safetensors files by name, those of real numbers in `dtype`.

    A tensor that is stored in `dtype` stays on the disk until it is used; the others are converted one by one, the
    file closed and opened anew after every 32 MiB: what a closed file had in memory is free again. Raises
    safetensors' SafetensorError where a file is not whole.
    """
    from safetensors import safe_open

    weights = {}
    for file in files:
        with safe_open(file, framework="pt") as stream:
            names = list(stream.keys())
        while names:
            with safe_open(file, framework="pt") as stream:
                size = 0
                while names and size < _MAPPED:
                    values = stream.get_tensor(name := names.pop())
                    size += values.nbytes
                    weights[name] = values.to(dtype) if values.is_floating_point() else values
                    del values
    return weights


def _new_name(name: str) -> str:
    """What a weight is called now.

    Files of before 2026 say text_model in front of each name of a text encoder; those of 2022 say query, key, value and
    proj_attn in the VAE's attention.
    """
    before, block, after = name.removeprefix("text_model.").partition(".attentions.")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        after = after.replace(f".{old}.", f".{new}.")
    return before + block + after
