"""A stand-in for the real Stable Diffusion: random weights in its exact shapes, to time and weigh without a download.

    python bench/stand_in.py FOLDER [--model v1.4|v2.1-base] [--dtype float16|bfloat16|float32] [--divide N]

FOLDER, outside the repository, becomes a model in Diffusers layout that `sdlesson.load` and StableDiffusionPipeline
take; v1.4 fills 2.1 GB in 16 bits. Its pictures show nothing. The weights are seeded and scaled as fresh layers are,
so activations stay finite; each dtype stores the same numbers, rounded. `--divide N` makes the small cousin: the same
configuration with every width divided by N, and the groups of the norms and the heads where they no longer fit.

There is no hub here, so the tokenizer is the bundled one with entries that no text ever reaches: 49408 in all, start
and end where CLIP's are. A word that the tiny model does not know falls into letters; the other shapes do not see it.

The weights go to the disk tensor by tensor: writing takes less than 1 GB of memory at any size.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import shutil
import struct
import sys
import warnings
from pathlib import Path

from sdlesson.fullsize import SHAPES, VOCABULARY, count, empty_parts
from sdlesson.loading.errors import BadInput
from sdlesson.models import ARTICLE_SCHEDULE, checkpoint_path

REPOSITORY = Path(__file__).resolve().parent.parent
DTYPES = {"float16": ("F16", 2), "bfloat16": ("BF16", 2), "float32": ("F32", 4)}


def write_stand_in(
    folder: str | os.PathLike,
    model: str = "v1.4",
    dtype: str = "float16",
    *,
    divide: int = 1,
    prediction_type: str = "epsilon",
    size: int = 512,
    seed: int = 0,
) -> Path:
    """Write the stand-in for `model` as the new `folder`, whole or not at all; returns the folder.

    `divide` is a power of 2 up to 32; `size` is the side of the pictures in pixels, a multiple of 64;
    `prediction_type` is "epsilon" or "v_prediction". Raises BadInput where the folder stands already or lies inside
    the repository, the disk is too full, or a number does not fit.
    """
    folder = Path(os.path.realpath(folder))
    if divide not in (1, 2, 4, 8, 16, 32) or size < 64 or size % 64:
        raise BadInput("The divisor is 1, 2, 4, 8, 16 or 32, and the size a multiple of 64 pixels.")
    _check_place(folder)
    parts = empty_parts(model, divide, size)
    if divide == 1 and count(parts) != SHAPES[model]["parameters"]:
        raise BadInput(f"diffusers and transformers make another {model} than the real one: {count(parts)}.")
    _check_space(folder.parent, sum(count(parts).values()) * DTYPES[dtype][1])
    half = folder.with_name(f".{secrets.token_hex(8)}.part")
    try:
        half.mkdir()
        _write_small_files(half, model, parts, dtype, prediction_type)
        for number, (name, part) in enumerate(parts.items()):
            stem = "model" if name == "text_encoder" else "diffusion_pytorch_model"
            prefix = "text_model." if name == "text_encoder" else ""  # as in v1.4's file
            _write_weights(half / name / f"{stem}.safetensors", part, dtype, seed * len(parts) + number, prefix)
        half.rename(folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return folder


def big_tokenizer(pad: str):
    """The bundled tokenizer with 49408 entries: letters and merges first, unused ones, then start and end, as CLIP."""
    from transformers import CLIPTokenizer

    told = json.loads((checkpoint_path() / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    ends = ("<|startoftext|>", "<|endoftext|>")
    pieces = [piece for piece in sorted(told["vocab"], key=told["vocab"].get) if piece not in ends]
    pieces += [f"<|unused{number}|>" for number in range(VOCABULARY - len(pieces) - len(ends))]
    ids = {piece: number for number, piece in enumerate([*pieces, *ends])}
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in told["merges"]]
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=77, pad_token=pad)


def _check_place(folder: Path) -> None:
    """Raise BadInput unless `folder` can be made, outside the repository."""
    if folder.is_relative_to(REPOSITORY):
        raise BadInput(f"{folder} lies inside the repository; name a folder outside it.")
    if os.path.lexists(folder):
        raise BadInput(f"{folder} stands already; name a new folder.")
    if not folder.parent.is_dir():
        raise BadInput(f"There is no folder {folder.parent} to make {folder.name} in.")


def _check_space(folder: Path, size: int) -> None:
    """Raise BadInput unless the disk of `folder` has room for `size` bytes of weights and the small files."""
    free, needed = shutil.disk_usage(folder).free, size + 16 * 2**20
    if free < needed:
        raise BadInput(f"The stand-in needs {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free.")


def _write_small_files(folder: Path, model: str, parts: dict, dtype: str, prediction_type: str) -> None:
    """Everything but the weights: configurations, tokenizer, v1.4's own scheduler and model_index.json."""
    parts["text_encoder"].config.architectures = ["CLIPTextModel"]
    parts["text_encoder"].config.dtype = dtype
    parts["text_encoder"].config.save_pretrained(folder / "text_encoder")
    for name in ("unet", "vae"):
        parts[name].save_config(folder / name)
    big_tokenizer(SHAPES[model]["pad"]).save_pretrained(folder / "tokenizer")
    scheduler = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.7.0.dev0", **ARTICLE_SCHEDULE}
    scheduler |= {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1}
    scheduler |= {"trained_betas": None, "prediction_type": prediction_type}
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=2) + "\n")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1"}
    index |= {"feature_extractor": [None, None], "safety_checker": [None, None], "requires_safety_checker": False}
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "text_encoder": ["transformers", "CLIPTextModel"]}
    index |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    index |= {"scheduler": ["diffusers", "PNDMScheduler"]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _write_weights(file: Path, part, dtype: str, seed: int, prefix: str = "") -> None:
    """One safetensors file, written tensor by tensor: 8 bytes with the header's length, the header, the data."""
    import torch

    code, width = DTYPES[dtype]
    shapes = {name: tuple(values.shape) for name, values in part.state_dict().items()}
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        start, end = end, end + width * math.prod(shape)
        header[prefix + name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = torch.Generator().manual_seed(seed)
    with open(file, "xb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            values = fresh_weights(name, shape, random).to(getattr(torch, dtype))
            stream.write(memoryview(values.flatten().view(torch.uint8).numpy()))


def fresh_weights(name: str, shape: tuple, random):
    """What an untrained layer holds, float32: 0 for biases, 1 for norms, 0.02 wide for embeddings, else 1/√(3·inputs).

    The last is the standard deviation of torch's own first weights of linear and convolutional layers.
    """
    import torch

    if len(shape) == 1:
        return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
    std = 0.02 if "embedding.weight" in name else (3 * math.prod(shape[1:])) ** -0.5
    return torch.randn(shape, generator=random) * std


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the new folder, outside the repository")
    parser.add_argument("--model", choices=SHAPES, default="v1.4")
    parser.add_argument("--dtype", choices=DTYPES, default="float16")
    parser.add_argument("--divide", type=int, default=1, metavar="N", help="every width divided by N (default: 1)")
    parser.add_argument("--prediction", choices=("epsilon", "v_prediction"), default="epsilon")
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels (default: 512)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    options = {"divide": args.divide, "prediction_type": args.prediction, "size": args.size, "seed": args.seed}
    try:
        folder = write_stand_in(args.folder, args.model, args.dtype, **options)
    except BadInput as error:
        sys.exit(f"stand_in: {error}")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {args.model}'s shapes, {args.dtype}, {size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
