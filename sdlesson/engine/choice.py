"""Which way a big model is run on a CPU: by OpenVINO, by torch with all weights in memory, or in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from ..loading.errors import ModelError, say
from ..loading.folders import WEIGHTS, weight_bytes
from ..loading.weights import stored_dtype
from . import lean, openvino

_WORKING = 3 * 2**30  # bytes that Python, the libraries and the tensors of a lesson take besides the weights


def choose(
    folder: Path, dtype: torch.dtype, low_memory: bool | Literal["auto"], engine: str
) -> Literal["openvino", "torch", "lean"]:
    """The way that suits what was asked for, what is installed, and the memory that is free; "auto" leaves it open.

    A choice for want of memory is told on stderr. Raises ModelError where OpenVINO is asked for and cannot be had.
    """
    if low_memory is True:
        return "lean"
    if engine == "openvino":
        _check_openvino(dtype)
        return engine
    way = "openvino" if engine == "auto" and openvino.is_installed() and openvino.computes_in(dtype) else "torch"
    needed = sum(_bytes(folder, part, dtype) for part in WEIGHTS) + _WORKING
    if low_memory == "auto" and lean.is_short(needed):
        short = f"less than {needed / 2**30:.1f} GiB of memory are free"
        say(f"sdlesson: {short}, so the parts of the model take turns in it; that is slower", error=True)
        return "lean"
    return way


def _check_openvino(dtype: torch.dtype) -> None:
    if not openvino.is_installed():
        raise ModelError("OpenVINO is not installed: `make fast`, or `pip install openvino`.")
    if not openvino.computes_in(dtype):
        raise ModelError(
            f"OpenVINO cannot compute in {str(dtype).removeprefix('torch.')} here; take float32, or the engine torch."
        )


def _bytes(folder: Path, part: str, dtype: torch.dtype) -> float:
    """What the weights of a part fill in `dtype`."""
    stored = stored_dtype(folder, part, torch.float32)
    return weight_bytes(folder, part) * dtype.itemsize / stored.itemsize
