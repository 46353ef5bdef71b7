"""Values as JSON and raw bytes, and back; whatever bytes come back, they become values and nothing else.

Numbers, texts, lists, tuples, sets, dictionaries, tensors, arrays, pictures and `...` cross, and, by number, functions.
What cannot cross becomes Unreadable.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

LONGEST = 100_000  # characters of a text, numbers of an iterator: answers have some hundred
_DEEPEST = 20  # lists within lists
_MOST_BITS = 1024  # of a whole number; more than a float can hold
_TENSORS = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
_ARRAYS = [*(kind for kind in _TENSORS if kind != "bfloat16"), "uint16", "uint32", "uint64"]
_MODES = ("L", "RGB", "RGBA")


class Unreadable:
    """In the place of what could not cross: no number, tensor, text or function, so that no judge takes it."""

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}: could not be read>"


class Far:
    """A function at the other end, called by `ask(arguments, keywords)`; `names` are those that its code claims to use.

    A copy of it is itself.
    """

    def __init__(self, ask: Callable, names):
        self.ask, self.__code__ = ask, SimpleNamespace(co_names=tuple(map(str, names)))

    def __call__(self, *arguments, **keywords):
        return self.ask(arguments, keywords)

    def __deepcopy__(self, _memo):
        return self


def pack(value, blobs: list[bytes], offer: Callable[[Callable], int], depth: int = 0):
    """`value` as JSON; raw bytes are added to `blobs`, and `offer(function)` gives a function its number."""
    try:
        return _pack(value, blobs, offer, depth)
    except Exception:  # an answer may be any object
        return {"unreadable": type(value).__name__[:80]}


def _pack(value, blobs, offer, depth):
    def inner(values):
        return [pack(each, blobs, offer, depth + 1) for each in islice(values, LONGEST)]

    if depth > _DEEPEST:
        raise ValueError
    if value is None or value is ... or isinstance(value, bool):
        return {"ellipsis": None} if value is ... else value
    for kind, fits in ((int, lambda x: x.bit_length() < _MOST_BITS), (float, lambda x: True), (str, _short)):
        if isinstance(value, kind):
            return kind(value) if fits(value) else {"unreadable": f"long {kind.__name__}"}
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        blobs.append(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
        return {"tensor": [str(plain.dtype).removeprefix("torch."), list(plain.shape), len(blobs) - 1]}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return inner(value.tolist())
    if isinstance(value, np.ndarray | np.generic):
        blobs.append(np.ascontiguousarray(value).tobytes())
        return {"array": [value.dtype.name, list(value.shape), len(blobs) - 1]}
    if isinstance(value, Image.Image):
        plain = value if value.mode in _MODES else value.convert("RGB")
        blobs.append(plain.tobytes())
        return {"picture": [plain.mode, list(plain.size), len(blobs) - 1]}
    if isinstance(value, Path):
        return {"file": value.suffix}
    if isinstance(value, Mapping):
        return {"dict": inner((key, value[key]) for key in value)}
    if callable(value):
        return {"function": [offer(value), list(getattr(getattr(value, "__code__", None), "co_names", ()))[:1000]]}
    if hasattr(value, "set_timesteps"):  # a scheduler: its kind, its settings, and how far it has got
        state = {name: each for name, each in vars(value).items() if name != "_internal_dict"}
        return {"scheduler": [type(value).__name__, *inner((dict(value.config), state))]}
    if isinstance(value, list):
        return inner(value)
    if isinstance(value, Iterable):
        return {"set" if isinstance(value, set | frozenset) else "tuple": inner(value)}
    raise TypeError


def _short(text) -> bool:
    return len(text) <= LONGEST


def unpack(data, blobs: list[bytes], ask: Callable, *, trusts: bool):
    """The value that `pack` packed; a function calls `ask(number, arguments, keywords)`.

    Only an end that `trusts` the other one makes a scheduler, or a place for a new file (packed from a Path), of what
    it is told. Never raises: what is no packed value becomes Unreadable.
    """
    try:
        return _unpack(data, blobs, ask, trusts)
    except Exception:  # the bytes may be anything
        return Unreadable("garbage")


def _unpack(data, blobs, ask, trusts):
    def inner(values):
        return [_unpack(each, blobs, ask, trusts) for each in values]

    if isinstance(data, list):
        return inner(data)
    if not isinstance(data, dict):
        return data
    ((kind, held),) = data.items()
    if kind == "ellipsis":
        return ...
    if kind == "unreadable":
        return Unreadable(str(held)[:80])
    if kind in ("tuple", "set"):
        return {"tuple": tuple, "set": set}[kind](inner(held))
    if kind == "dtype":
        return getattr(torch, _TENSORS[_TENSORS.index(held)])
    if kind == "dict":
        return dict(inner(held))
    if kind == "function":
        number, names = held
        return Far(lambda arguments, keywords: ask(number, arguments, keywords), names)
    if kind == "file" and trusts:
        return str(Path(tempfile.mkdtemp()) / f"new{held}")
    if kind == "scheduler" and trusts:
        import diffusers

        config, state = inner(held[1:])
        scheduler = getattr(diffusers, held[0]).from_config(config)
        vars(scheduler).update(state)
        return scheduler
    name, shape, place = held
    return {"tensor": _tensor, "array": _array, "picture": _picture}[kind](name, shape, blobs[place])


def _tensor(name: str, shape: list[int], blob: bytes) -> torch.Tensor:
    kind = getattr(torch, _TENSORS[_TENSORS.index(name)])
    flat = torch.frombuffer(bytearray(blob), dtype=torch.uint8) if blob else torch.empty(0, dtype=torch.uint8)
    return (flat != 0 if name == "bool" else flat.view(kind)).reshape(_whole(shape))


def _array(name: str, shape: list[int], blob: bytes):
    flat = np.frombuffer(blob, dtype="uint8" if name == "bool" else _ARRAYS[_ARRAYS.index(name)]).copy()
    return (flat != 0 if name == "bool" else flat).reshape(_whole(shape))[()]


def _picture(mode: str, size: list[int], blob: bytes) -> Image.Image:
    if mode not in _MODES or math.prod(_whole(size)) * len(mode) != len(blob):
        raise ValueError
    return Image.frombytes(mode, (size[0], size[1]), blob)


def _whole(sides: list[int]) -> list[int]:
    """The sides of a shape; raises ValueError where one is no whole number, or none that can be: -1 is for guessing."""
    if not all(type(side) is int and side >= 0 for side in sides):
        raise ValueError
    return sides
