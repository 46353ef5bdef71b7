"""Values as JSON and tensors, and back; whatever comes back, it becomes values and nothing else.

Numbers, texts, lists, tuples, sets, dictionaries, tensors, arrays, pictures and `...` cross, and, by number, functions.
What cannot cross becomes Unreadable.
"""

from __future__ import annotations

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
_MODES = ("L", "RGB", "RGBA")
_DTYPES = {name: each for name, each in vars(torch).items() if isinstance(each, torch.dtype)}


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


def pack(value, tensors: dict[str, torch.Tensor], offer: Callable[[Callable], int], depth: int = 0):
    """`value` as JSON; its tensors are added to `tensors`, and `offer(function)` gives a function its number."""
    try:
        return _pack(value, tensors, offer, depth)
    except Exception:  # an answer may be any object
        return {"unreadable": type(value).__name__[:80]}


def _pack(value, tensors, offer, depth):
    def inner(values):
        return [pack(each, tensors, offer, depth + 1) for each in islice(values, LONGEST)]

    if depth > _DEEPEST:
        raise ValueError
    if value is None or value is ... or isinstance(value, bool):
        return {"ellipsis": None} if value is ... else value
    for kind, fits in ((int, lambda x: x.bit_length() < _MOST_BITS), (float, lambda x: True), (str, _short)):
        if isinstance(value, kind):
            return kind(value) if fits(value) else {"unreadable": f"long {kind.__name__}"}
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return inner(value.tolist())
    if isinstance(value, torch.Tensor | np.ndarray | np.generic | Image.Image):
        kind, tensor = _as_tensor(value)
        tensors[number := str(len(tensors))] = tensor
        return {kind: number}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
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


def _as_tensor(value) -> tuple[str, torch.Tensor]:
    """What it was, and its numbers as a tensor that shares its memory with nothing."""
    if isinstance(value, torch.Tensor):
        return "tensor", value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Image.Image):
        return "picture", torch.from_numpy(np.array(value if value.mode in _MODES else value.convert("RGB")))
    return "array", torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))


def _short(text) -> bool:
    return len(text) <= LONGEST


def unpack(data, tensors: dict[str, torch.Tensor], ask: Callable, *, trusts: bool):
    """The value that `pack` packed; a function calls `ask(number, arguments, keywords)`.

    Only an end that `trusts` the other one makes a scheduler, or a place for a new file (packed from a Path), of what
    it is told. Never raises: what is no packed value becomes Unreadable.
    """
    try:
        return _unpack(data, tensors, ask, trusts)
    except Exception:  # it may be anything
        return Unreadable("garbage")


def _unpack(data, tensors, ask, trusts):
    def inner(values):
        return [_unpack(each, tensors, ask, trusts) for each in values]

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
    if kind == "dtype":
        return _DTYPES[held]
    return _from_tensor(kind, tensors[held])


def _from_tensor(kind: str, tensor: torch.Tensor):
    """What `_as_tensor` made a tensor of; raises ValueError where it was none of its kinds."""
    if tensor.dtype == torch.bool:
        tensor = tensor.view(torch.uint8) != 0  # its bytes came from anywhere: 255 is True, too
    if kind == "tensor":
        return tensor
    if kind == "array":
        return tensor.numpy()[()]
    picture = Image.fromarray(tensor.numpy())
    if kind != "picture" or picture.mode not in _MODES:
        raise ValueError
    return picture
