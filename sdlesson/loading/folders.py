"""A model's folder in Diffusers layout: which files it must hold, and where the weights of each part are. No torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import ModelError, listed
from .files import check_safetensors, read_json
from .fit import check_configurations

#: The parts with weights: folder -> the stem of its weight files.
WEIGHTS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}

#: Of a repository on the hub, only these files are downloaded: no pickles, no second copies, no safety checker.
HUB_FILES = {
    "allow_patterns": ["model_index.json", "sdlesson.json", "tokenizer/*.json", "tokenizer/*.txt", "scheduler/*.json"]
    + [f"{part}/{file}" for part, s in WEIGHTS.items() for file in ("config.json", f"{s}*.safetensors*")],
    "ignore_patterns": ["*.fp16*", "*.bf16*", "*non_ema*"],
}

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_VARIANTS = ("", ".fp16", ".bf16")  # the copies of 16 bits are taken where a folder holds nothing else
_PIECE = re.compile(r"[\w-][\w.-]*\.safetensors")


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of the names and the whole contents of `files`, in their order."""
    found = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        found.update(f"{file.parent.name}/{file.name} {content}\n".encode())
    return found.hexdigest()


def check_folder(folder: Path) -> Path:
    """Return `folder` if all parts of a Stable Diffusion are there, whole and fitting; raise ModelError otherwise."""
    try:
        names = _names(folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror or error}.") from None
    check_names(folder, names)
    check_configurations(folder)
    for part in WEIGHTS:
        for file in weight_files(folder, part):
            if not file.is_file():
                words = f"a piece of the {part.replace('_', ' ')}'s weights ({part}/{file.name})"
                raise ModelError(f"{folder} is not a whole Stable Diffusion in Diffusers layout: it lacks {words}.")
            check_safetensors(file)
    return folder


def check_names(where: str | Path, names: set[str]) -> None:
    """Raise ModelError unless `names`, the files of `where` such as "unet/config.json", make up a Stable Diffusion."""
    missing = _missing_parts(where, names)
    if missing:
        raise ModelError(f"{where} is not a whole Stable Diffusion in Diffusers layout: it lacks {listed(missing)}.")
    if any(name.startswith("text_encoder_2/") for name in names):
        raise ModelError(f"{where} has two text encoders (as SDXL has); sdlesson knows models with one.")


def weights_name(part: str, names: set[str]) -> str | None:
    """Of `names`, the file with the weights of `part`, or the index of its pieces; plain ones first, then 16 bits."""
    return next((name for name in _places(part) if name in names), None)


def second_copies(part: str, names: set[str]) -> set[str]:
    """Of `names`, the weights of `part` in 16 bits, with their index, for a repository that holds no others."""
    variant = _places(part).get(weights_name(part, names))
    mine = {name for name in names if name.startswith(f"{part}/{WEIGHTS[part]}") and ".safetensors" in name}
    return {
        name for name in mine if variant and re.search(rf"{re.escape(variant)}[.-]", name) and "non_ema" not in name
    }


def weight_files(folder: Path, part: str) -> list[Path]:
    """The safetensors files of one part: one file, or the pieces that its index lists; empty if there are none.

    Raises ModelError where the index lists anything but files beside it.
    """
    name = next((name for name in _places(part) if (folder / name).is_file()), None)
    if name is None or name.endswith(".safetensors"):
        return [folder / name] if name else []
    pieces = read_json(folder / name).get("weight_map")
    pieces = list(pieces.values()) if isinstance(pieces, dict) else []
    if not pieces or not all(isinstance(piece, str) and _PIECE.fullmatch(piece) for piece in pieces):
        raise ModelError(f"{folder / name} must say in weight_map which safetensors file beside it holds each weight.")
    return [folder / part / piece for piece in sorted(set(pieces))]


def weight_bytes(folder: Path, *parts: str) -> int:
    """The bytes that the weight files of `parts` fill on the disk."""
    return sum(file.stat().st_size for part in parts for file in weight_files(folder, part))


def _places(part: str) -> dict[str, str]:
    """Where the weights of `part` may be, the best place first: name of the file or index -> "", ".fp16", ".bf16"."""
    stem = f"{part}/{WEIGHTS[part]}"
    ends = {variant: (f"{variant}.safetensors", f".safetensors.index{variant}.json") for variant in _VARIANTS}
    return {stem + end: variant for variant in _VARIANTS for end in ends[variant]}


def _missing_parts(where: str | Path, names: set[str]) -> list[str]:
    """What `names` lack to be a Stable Diffusion, in words; raises ModelError where the weights are a pickle."""
    missing = []
    if "tokenizer/tokenizer.json" not in names and not {"tokenizer/vocab.json", "tokenizer/merges.txt"} <= names:
        missing.append("the tokenizer (tokenizer/tokenizer.json, or vocab.json and merges.txt)")
    for part, stem in WEIGHTS.items():
        words = part.replace("_", " ")
        if f"{part}/config.json" not in names:
            missing.append(f"the {words}'s configuration ({part}/config.json)")
        elif not weights_name(part, names):
            _refuse_pickle(where, part, names)
            missing.append(f"the {words}'s weights ({part}/{stem}.safetensors)")
    return missing


def _names(folder: Path) -> set[str]:
    """The files in the folders of the parts, such as "unet/config.json"."""
    parts = [folder / part for part in ("tokenizer", *WEIGHTS, "text_encoder_2")]
    files = (file for part in parts if part.is_dir() for file in part.iterdir())
    return {f"{file.parent.name}/{file.name}" for file in files if file.is_file()}


def _refuse_pickle(where: str | Path, part: str, names: set[str]) -> None:
    pickles = sorted(name for name in names if name.startswith(f"{part}/") and name.endswith(_PICKLES))
    if pickles:
        raise ModelError(
            f"{where} holds its weights only as a pickle ({pickles[0]}), which can run any code when it is loaded; "
            "sdlesson loads safetensors only."
        )
