"""What a sweep paints: every combination of prompts, seeds, guidance scales, step counts and samplers."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..loading import checks, fit
from ..loading.errors import BadInput
from ..loading.folders import WEIGHTS, digest, weight_files
from ..models import ARTICLE_GUIDANCE, default_model, find
from ..tokens import as_prompts

#: The functions of `sdlesson.samplers` that a sweep can call, by their names.
SAMPLERS = ("lms", "euler", "heun", "dpmpp_2m", "ddim", "euler_ancestral")
MOST = 100_000  # pictures of one sweep: each has a file of its own in one folder


@dataclass(frozen=True)
class Picture:
    """All that makes one picture of a sweep, apart from the model."""

    prompt: str
    negative_prompt: str
    seed: int
    guidance_scale: float
    steps: int
    sampler: str


@dataclass(frozen=True)
class Model:
    """What a worker loads: `load`'s words, a digest of its files, and how many threads compute one picture."""

    name: str
    revision: str | None
    dtype: str | None
    digest: str
    threads: int


def pictures(
    prompts: str | Sequence[str],
    seeds: int | Iterable[int],
    guidance_scales: float | Iterable[float],
    steps: int | Iterable[int],
    samplers: str | Iterable[str],
    negative_prompt: str = "",
) -> list[Picture]:
    """Every combination once, the samplers changing fastest; raises BadInput for what cannot be painted."""
    from ..latents import as_seeds  # with it comes torch: the command's help does without

    if not isinstance(negative_prompt, str):
        raise BadInput(f"A sweep has one negative prompt, a text, not {checks.told(negative_prompt)}.")
    scales = [
        checks.number(each, "guidance scale", -checks.MOST_GUIDANCE, checks.MOST_GUIDANCE)
        for each in _several(guidance_scales)
    ]
    counts = [checks.whole(each, "number of steps", 1, 1000) for each in _several(steps)]
    names = _several(samplers)
    if unknown := [name for name in names if name not in SAMPLERS]:
        raise BadInput(f"There is no sampler {unknown[0]!r} here; there are {', '.join(SAMPLERS)}.")
    axes = [as_prompts(prompts), [negative_prompt], as_seeds(_several(seeds)), scales, counts, names]
    axes = [list(dict.fromkeys(axis)) for axis in axes]
    count = math.prod(map(len, axes))
    if not 1 <= count <= MOST:
        raise BadInput(f"A sweep paints 1 to {MOST} pictures, not {count}.")
    return [Picture(*each) for each in itertools.product(*axes)]


def _several(value) -> list:
    """One value, or several of them, as a list."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def model_of(name: str | os.PathLike | None, revision: str | None, dtype, threads: int) -> tuple[Model, float]:
    """The model as workers load it, and the guidance scale that is recommended for it; raises ModelError."""
    name = os.fspath(name or default_model())
    folder = find(name, revision=revision)
    scale = float(fit.recommended(folder).get("guidance_scale", ARTICLE_GUIDANCE))
    name = name if name == "tiny" or not Path(name).expanduser().is_dir() else str(folder.resolve())
    dtype = None if dtype is None else str(dtype).removeprefix("torch.")
    return Model(name, revision, dtype, model_digest(folder), checks.whole(threads, "number of threads", 1)), scale


def model_digest(folder: Path) -> str:
    """Tells one model from another: by all that decides a picture, weights, configurations and vocabulary."""
    weights = [file for part in WEIGHTS for file in sorted(weight_files(folder, part))]
    told = (file for place in (*WEIGHTS, "tokenizer", "scheduler") for file in sorted((folder / place).glob("*")))
    return digest([*weights, *(file for file in told if file.suffix in (".json", ".txt"))])


def name_of(picture: Picture, model: Model) -> str:
    """The name of a picture's file: the same settings and weights always have the same one, others another."""
    told = asdict(picture) | {"weights": model.digest, "dtype": model.dtype, "threads": model.threads}
    return f"{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]}.png"
