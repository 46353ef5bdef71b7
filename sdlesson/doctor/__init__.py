"""First contact with a model: what of it is as v1.4's, what must be true of every model, and what this machine can do.

`report` is what `sdlesson doctor` prints. It names no folder but the model's own, so that it can be shown to others.
"""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from ..engine.lean import bfloat16_units
from ..fullsize import GIB
from ..loading.errors import first_line, shortened
from ..models import StableDiffusion, find, load
from .known import compared, facts, numbers
from .peer import Painted, differences, painted, peak, piped

_LIBRARIES = ("sdlesson", "torch", "diffusers", "transformers", "tokenizers", "safetensors", "numpy", "openvino")


class Line(NamedTuple):
    """A line of the report; `holds` is False where something that must be true of every model is not."""

    text: str
    holds: bool = True


def report(name: str, *, revision: str | None = None, steps: int = 4, quick: bool = False) -> Iterator[Line]:
    """The report on model `name` (as for `load`), line by line as it is found out.

    The picture has so many `steps`, two or more; `quick` leaves out diffusers' pipeline. Raises ModelError where the
    model cannot be loaded.
    """
    folder, where = find(name, revision=revision), Path(name).expanduser()
    own_name = where.resolve().name if where.is_dir() else f"{name}, {folder.name[:12]}"  # of the hub's: the commit
    yield Line(f"sdlesson doctor: {'tiny' if name == 'tiny' else own_name}")
    yield from _section("This machine", machine())
    start = time.perf_counter()
    sd = load(name, revision=revision)
    loaded = time.perf_counter() - start
    yield from _section("The model beside v1.4", {key: compared(key, found) for key, found in facts(sd).items()})
    own = painted(sd, 2 if quick else steps)
    taken = f"{psutil.Process().memory_info().rss / GIB:.1f} GiB in this process, after the picture"
    yield from _section("What it takes here", {"engine": engine(sd), "memory taken": taken} | seconds(own, loaded))
    yield from _section("True of every model", {})
    needed, device, dtype = peak(sum(numbers(sd).values())), sd.device, sd.dtype
    del sd  # what it holds makes room for the pipeline
    gc.collect()
    if quick or (free := free_bytes(device)) < needed:
        why = "--quick" if quick else f"it takes about {needed / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free"
        yield Line(f"  the picture beside diffusers' pipeline is left out: {why}")
        return
    runs = {dtype: own}
    if dtype != torch.float32:  # in 16 bits a picture is not exact enough to be the pipeline's
        runs[torch.float32] = painted(load(name, revision=revision, dtype="float32"), steps)
        gc.collect()
    try:
        peer = piped(folder, own.picture.size, steps, device)
    except Exception as error:  # whatever the libraries raise
        yield Line(f"  diffusers' pipeline cannot paint with it: {shortened(first_line(error), folder)}", False)
    else:
        yield from (_line(*found) for kind, run in runs.items() for found in differences(run, peer, kind))


def machine() -> dict[str, str]:
    """System, processor, GPU, memory and libraries, without a name of a person or of the machine."""
    processor = ", ".join([torch.backends.cpu.get_cpu_capability(), *bfloat16_units()])
    memory, found = psutil.virtual_memory(), {each.name: each.version for each in metadata.distributions()}
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "processor": f"{processor}; {torch.get_num_threads()} threads",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch computes on",
        "memory": f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB",
        "libraries": ", ".join(f"{name} {found.get(name, 'is not installed')}" for name in _LIBRARIES),
    }


def engine(sd: StableDiffusion) -> str:
    """What computes the pictures of `sd`, in which dtype, and where."""
    by_turns = bool(sd.unet._forward_pre_hooks)  # engine.lean's: nobody else has touched this model
    way = "OpenVINO" if sd.engine else "torch, the parts taking turns in the memory" if by_turns else "torch"
    return f"{way}; {str(sd.dtype).removeprefix('torch.')} on {sd.device.type}"


def free_bytes(device: torch.device) -> int:
    """How many bytes of memory are free where `device` computes."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def seconds(own: Painted, loaded: float) -> dict[str, str]:
    """What a picture of 20 steps will take, from what was measured: the first step, which is slower, and the others."""
    first, step = own.steps[0], statistics.median(own.steps[1:])
    whole = f"about {first + 19 * step + own.vae:.1f} s, after {loaded:.1f} s of loading"
    return {
        "measured": f"text and first step {first:.2f} s, each further step {step:.2f} s, VAE {own.vae:.2f} s",
        "so 20 steps take": whole,
    }


def _section(title: str, lines: Mapping[str, str]) -> Iterator[Line]:
    yield from (Line(""), Line(title), *(_line(key, text) for key, text in lines.items()))


def _line(key: str, text: str, holds: bool = True) -> Line:
    return Line(f"  {key:<25}{text}", holds)
