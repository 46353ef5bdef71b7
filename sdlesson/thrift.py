"""A big model in little memory, and as fast as a CPU allows: what `load` does beside reading the files.

Four switches, each of them shown and measured in lesson 11: weights stay on the disk in 16 bits and are widened where
and when a layer computes (`work_in`); 3x3 convolutions need fewer multiplications (`speed_up`); freed memory is used
again (`keep_freed`); a part whose work is done leaves the memory (`take_turns`).
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Mapping

import torch
from torch.nn import Conv2d, Embedding, Linear, Module
from torch.nn.functional import pad

from .models import BadInput

_SMALL = 2**16  # numbers: a weight with no more of them is widened once and for all
_PAGE = 4096  # bytes: the smallest piece of memory that a system hands out
_PAGE_OUT = 21  # MADV_PAGEOUT, Linux 5.4 and newer: what the disk holds, too, leaves the memory; the rest stays
_LOWEST = 16  # rows of latents: below that, a convolution's time goes into its weights, not into the picture
_MOST = 2**21  # pairs of channels: above that, mixed weights (144 bytes a pair) fill too much memory
_AT_ONCE = 2**22  # numbers of mixed tiles: more do not stay near the processor, fewer make small matrix products
_NO_MMAP, _TRIM = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD of glibc's malloc.h, and their new values


def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype that `device` computes a big model in fastest, without pictures of NaN.

    float16 on CUDA; on the CPU bfloat16 where torch reports AMX or AVX512_BF16 units, else float32.
    """
    if device.type == "cuda":
        return torch.float16
    reports = (getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("amx_tile", "avx512_bf16"))
    return torch.bfloat16 if device.type == "cpu" and any(asked() for asked in reports) else torch.float32


def is_short(needed: int) -> bool:
    """Have programs less than `needed` bytes of memory left to take?"""
    import psutil

    return psutil.virtual_memory().available < needed


def work_in(part: Module, dtype: torch.dtype) -> Module:
    """Let `part` compute in `dtype` while its big weights stay as they are stored; returns the part.

    While a layer computes, a copy of its weight in `dtype` stands in its place, in one buffer that all layers share
    (where gradients are asked for, in memory of its own). Weights of up to 65536 numbers are converted for good. Such a
    part cannot be trained, but gradients flow through it. Raises BadInput where it was made so before.
    """
    if getattr(part, "widens_to", None):
        raise BadInput(f"This part widens its weights to {part.widens_to} already; load it again for another dtype.")
    part.widens_to = dtype
    part.requires_grad_(False)
    layers = [layer for layer in part.modules() if isinstance(layer, Conv2d | Linear | Embedding)]
    large = [layer for layer in layers if layer.weight.numel() > _SMALL and layer.weight.dtype != dtype]
    stay = {id(layer.weight) for layer in large}
    for weight in part.parameters():
        if id(weight) not in stay:
            weight.data = weight.data.to(dtype)
    wide = [layer for layer in large if not isinstance(layer, Embedding)]
    buffer = torch.empty(max((layer.weight.numel() for layer in wide), default=0), dtype=dtype)
    stored = {}

    def widen(layer, _):
        stored[layer] = weight = layer.weight
        alone = torch.is_grad_enabled()  # what a gradient needs later must not be written over
        copy = weight.to(dtype) if alone else buffer[: weight.numel()].view_as(weight).copy_(weight)
        layer._parameters["weight"] = copy

    def give_back(layer, *_):
        layer._parameters["weight"] = stored.pop(layer)

    for layer in large:
        if isinstance(layer, Embedding):  # it looks rows up: only those are widened
            layer.register_forward_hook(lambda _layer, _ids, vectors: vectors.to(dtype))
        else:
            layer.register_forward_pre_hook(widen)
            layer.register_forward_hook(give_back, always_call=True)
    return part


def _mix(*rows: tuple[float, ...]) -> torch.Tensor:
    """The matrix that mixes both dimensions of a tile by `rows`, for tiles whose numbers stand in one column."""
    return torch.kron(torch.tensor(rows), torch.tensor(rows))


# F(4x4, 3x3) of Lavin and Gray (2016), by polynomials of the points 0, 1, -1, 2, -2 and infinity
_TILE = _mix(
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_WINDOW = _mix(
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_BACK = _mix(
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


class Winograd(Conv2d):
    """A 3x3 convolution by Winograd's method F(4x4, 3x3) (Lavin and Gray 2016): 36 multiplications instead of 144.

    Each 4x4 tile of the output needs a 6x6 tile of the input. Tile and window are mixed by fixed matrices, multiplied
    number by number (here: 36 matrix products over the channels), and mixed back.
    """

    def _conv_forward(self, x, weight, bias):
        height, width = x.shape[-2:]
        if height < _LOWEST or height % 4 or width % 4 or not can_speed_up(weight.dtype, x.device):
            return super()._conv_forward(x, weight, bias)
        outputs, inputs = weight.shape[:2]
        mixed = (_WINDOW @ weight.reshape(-1, 9).T).view(36, outputs, inputs)
        tiles = pad(x, (1, 1, 1, 1)).unfold(2, 6, 4).unfold(3, 6, 4)
        tiles = tiles.permute(4, 5, 1, 0, 2, 3)  # (6, 6, inputs, batch, rows of tiles, tiles of a row)
        y = x.new_empty(len(x), outputs, height, width)
        into = y.view(len(x), outputs, height // 4, 4, width // 4, 4).permute(3, 5, 1, 0, 2, 4)
        rows = max(1, _AT_ONCE // (36 * max(inputs, outputs) * len(x) * (width // 4)))
        for first in range(0, height // 4, rows):
            taken, given = (each[..., first : first + rows, :] for each in (tiles, into))
            products = mixed @ (_TILE @ taken.reshape(36, -1)).view(36, inputs, -1)
            given.copy_((_BACK @ products.view(36, -1)).view(given.shape))
        return y if bias is None else y.add_(bias[:, None, None])


def can_speed_up(dtype: torch.dtype, device: torch.device) -> bool:
    """Does Winograd's method pay here? In float32, on a CPU with AVX2 or AVX-512 (where it was measured)."""
    if device.type != "cpu" or dtype != torch.float32:
        return False
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def speed_up(part: Module) -> Module:
    """Let the 3x3 convolutions of `part` with many channels (not too many) use Winograd's method; returns the part."""
    usual = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    for layer in part.modules():
        fits = type(layer) is Conv2d and all(getattr(layer, name) == value for name, value in usual.items())
        channels = (layer.in_channels, layer.out_channels) if fits else (0, 0)
        if fits and layer.padding_mode == "zeros" and min(channels) >= 64 and math.prod(channels) <= _MOST:
            layer.__class__ = Winograd
    return part


def take_turns(parts: Mapping[str, Module]) -> None:
    """When the text encoder, the UNet or the VAE begins to work, let the weights of the other two leave the memory.

    They come back from the file by themselves when they are needed. Only weights that are still as the file holds
    them leave (see `models.read_weights`), and only where the system can do it (Linux): else nothing happens.
    """
    doors = {name: [part] for name, part in parts.items()}
    doors["vae"] = [parts["vae"].encoder, parts["vae"].decoder]  # encode() and decode() go by the VAE's own forward
    for name, own in doors.items():
        others = [part for other, part in parts.items() if other != name]

        def clear(_door, _inputs, others=others):
            for part in others:
                page_out(part)

        for door in own:
            door.register_forward_pre_hook(clear)


def keep_freed() -> bool:
    """Let this process keep freed memory for its next tensors instead of asking the system for fresh pages each time.

    Fresh pages are filled with zeros first, which costs a step of a big model a tenth of its time. For the whole
    process, and for good; only with glibc (Linux): elsewhere nothing happens, and the answer is False.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return False
    return all(ctypes.CDLL(None).mallopt(*option) for option in (_NO_MMAP, _TRIM))


def page_out(part: Module) -> None:
    """Let the weights of `part` leave the memory, as far as a file holds them."""
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    for weight in part.parameters():
        start = -(-weight.data_ptr() // _PAGE) * _PAGE
        end = (weight.data_ptr() + weight.nbytes) // _PAGE * _PAGE
        if end > start:
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGE_OUT)
