"""What every door checks: numbers, noise levels, tensors, pictures, masks, names of files; one sentence each.

Each function takes what a caller gave and hands back what the rooms compute with, or raises BadInput. NumPy arrays and
lists are taken where a tensor belongs, numbers of NumPy and tensors of one number where a number belongs.
"""

from __future__ import annotations

import math
import os
import sys
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image


#: The largest guidance scale, with either sign: far beyond any picture, and far below what overflows in float32.
MOST_GUIDANCE = 1e6


_LEVELS_16 = 65535  # white in a picture of 16 bits


_WHITES = {"I": (255, _LEVELS_16), "F": (1, 255)}  # what may be white in pictures of whole numbers and of floats


def told(value) -> str:
    """A value in a few words: what is short as Python prints it, an array by its shape, anything else by its kind."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= 60 and not ("\n" in text or " at 0x" in text) else type(value).__name__


def _plain(value):
    """The Python number in a NumPy number or in an array or a tensor of one number; anything else as it is."""
    return value.item() if hasattr(value, "item") and math.prod(getattr(value, "shape", (0,))) == 1 else value


def whole(value, name: str, low: int | None = None, high: int | None = None) -> int:
    """`value` as a whole number, at least `low` and at most `high`; raises BadInput for another, and for a bool."""
    number = _plain(value)
    is_whole = isinstance(number, Integral) and not isinstance(number, bool)
    if is_whole and (low is None or number >= low) and (high is None or number <= high):
        return int(number)
    limits = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
    raise BadInput(f"The {name} must be a whole number{limits}, not {told(value)}.")


def number(value, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a finite number in low ... high; raises BadInput for another, and for a bool."""
    plain = _plain(value)
    is_number = isinstance(plain, Real) and not isinstance(plain, bool) and abs(plain) <= sys.float_info.max
    if is_number and low <= plain <= high:
        return float(plain)
    limits = f" from {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else ""
    limits = f" of at least {low:g}" if math.isfinite(low) and not limits else limits
    raise BadInput(f"The {name} must be a finite number{limits}, not {told(value)}.")


def numbers(values, name: str, low: float = -math.inf, high: float = math.inf) -> np.ndarray:
    """A row of finite numbers in low ... high as an array, float64, (n,); raises BadInput for anything else."""
    import numpy as np

    try:
        if isinstance(values, str | bytes):
            raise TypeError
        row = values.detach().cpu().double().numpy() if hasattr(values, "detach") else values
        row = np.array([float(each) for each in row])
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise BadInput(f"The {name} must be a row of numbers, not {told(values)}.") from None
    if not np.isfinite(row).all() or (row < low).any() or (row > high).any():
        limits = f" from {low:g} to {high:g}" if math.isfinite(high) else f" of at least {low:g}" if low == 0 else ""
        raise BadInput(f"The {name} must be finite numbers{limits}, not {[float(f'{each:.4g}') for each in row[:5]]}.")
    return row


def noise_levels(sigmas) -> None:
    """Raise BadInput unless `sigmas` are finite levels, two or more, each unlike the one before, 0 only at the end."""
    row = numbers(sigmas, "noise levels", low=0)
    if len(row) < 2:
        raise BadInput(f"A way down the noise levels needs at least two of them, not {len(row)}.")
    if (row[:-1] == 0).any():
        raise BadInput("Only the last noise level may be 0: there is no slope to go on from a picture without noise.")
    if (row[1:] == row[:-1]).any():
        raise BadInput("Two noise levels in a row are equal: between them there is no step.")


def size(height: int, width: int, factor: int = 8) -> None:
    """Raise BadInput unless both sides are positive multiples of `factor`, the VAE's square in pixels."""
    for name, side in (("height", height), ("width", width)):
        if isinstance(side, bool) or not isinstance(side, Integral) or side < factor or side % factor:
            raise BadInput(f"The {name} must be a positive multiple of {factor} pixels, not {told(side)}.")


def tensor(value, name: str, shape: str, dims: int) -> torch.Tensor:
    """A tensor of numbers with so many `dims`, as it is; arrays and lists become one, whole numbers become float32.

    `shape` says in words what is wanted, such as "(batch, 4, h/8, w/8)". Raises BadInput for anything else, and for
    none at all.
    """
    values = _as_tensor(value)
    if values is None or values.dim() != dims or not values.numel():
        raise BadInput(f"The {name} must be a tensor {shape}, not {told(value)}.")
    return values if values.is_floating_point() else values.float()


def token_ids(value) -> torch.Tensor:
    """Token ids (batch, length), a tensor of whole numbers; raises BadInput for anything else."""
    ids = _as_tensor(value)
    if ids is None or ids.dim() != 2 or ids.is_floating_point() or not ids.numel() or int(ids.min()) < 0:
        raise BadInput(f"Token ids are whole numbers (batch, length), as `tokenize` makes them, not {told(value)}.")
    return ids


def _as_tensor(value) -> torch.Tensor | None:
    """A tensor of real numbers out of a tensor, an array or a list; None where there is none in it."""
    import torch

    try:
        values = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return None if values.is_complex() or values.dtype == torch.bool else values


def part(value, name: str, known_by: str):
    """A model, a part of one or a trace, known by an attribute that it has; raises BadInput for anything else."""
    if not hasattr(value, known_by):
        raise BadInput(f"What is needed here is {name}, not {told(value)}.")
    return value


def path(value) -> Path:
    """The name of a file that an operating system can know; raises BadInput for another."""
    try:
        name = os.fspath(value)
        os.fsencode(name)
        if "\0" not in os.fsdecode(name):
            return Path(os.fsdecode(name))
    except (TypeError, UnicodeError):
        pass
    raise BadInput(f"{told(value)} cannot be the name of a file.")


def rgb(picture) -> Image:
    """A PIL picture (or an array of bytes, (height, width, 3)) as a viewer shows it: upright, RGB, 8 bits a colour.

    The camera's note of how it was held (EXIF) is obeyed. What is transparent lies on white. Pictures of 16 bits count
    to 65535; those of whole numbers (mode I) to 255 or 65535 and of floats (F) to 1 or 255, as far as their numbers go.
    Raises BadInput for anything else, and for numbers below 0 or not finite.
    """
    from PIL import Image, ImageOps

    if str(getattr(picture, "dtype", "")) == "uint8" and len(picture.shape) == 3 and picture.shape[2] == 3:
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise BadInput(f"A picture is a PIL picture, opened with Image.open, not {told(picture)}.")
    try:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode[0] in "IF":
            picture = _bytes_of(picture)
        if picture.has_transparency_data:
            over = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
        return picture.convert("RGB")
    except BadInput:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(
            f"The picture ({picture.mode}, {picture.width} x {picture.height}) is unreadable: {error}"
        ) from None


def _bytes_of(picture: Image) -> Image:
    """A picture of 16 bits, of whole numbers or of floats as one of bytes."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture, dtype=np.float64)
    white = _LEVELS_16 if picture.mode.startswith("I;16") else _white(values, "picture", _WHITES[picture.mode])
    return Image.fromarray((values * (255 / white)).round().clip(0, 255).astype(np.uint8))


def _white(values: np.ndarray, name: str, whites: tuple[int, ...]) -> int:
    """Up to what the numbers count: the first of `whites` that none is far beyond; raises BadInput for no such."""
    most = values.max(initial=0) / 1.01  # what was resized may overshoot a little
    if not -0.01 * most <= values.min(initial=0) <= most <= whites[-1]:  # NaN is in no order
        raise BadInput(f"The numbers of a {name} lie in 0 ... {whites[-1]}; these do not.")
    return next(white for white in whites if most <= white)


def mask(value, name: str = "mask") -> torch.Tensor:
    """A mask as a boolean tensor (height, width), True from half of white on.

    Taken are booleans, numbers from 0 to 1 or from 0 to 255, as tensors, arrays, lists or PIL pictures, with or without
    sides of 1 before their height. Raises BadInput for anything else, such as numbers that name kinds of things.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    given = value
    if isinstance(value, Image.Image):
        if value.has_transparency_data:
            raise BadInput(f"What of a transparent {name} counts? Give its mask.getchannel('A') or mask.convert('L').")
        value = ImageOps.exif_transpose(value)
        value = np.asarray(value if value.mode[0] in "1IF" else value.convert("L"))
    try:
        value = value.detach().cpu().double() if isinstance(value, torch.Tensor) else value
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(())
    while values.ndim > 2 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or not values.size:
        raise BadInput(f"A {name} has the shape (height, width), and is no {told(given)}.")
    inside = values >= _white(values, name, (1, 255)) / 2
    if values.any() and not inside.any():
        raise BadInput(f"The {name} counts neither to 1 nor to 255: its largest number is {values.max():g}.")
    return torch.from_numpy(inside)
