"""A big model in little memory, and as fast as a CPU allows: what `load` does beside reading the files.

Three switches, each of them shown and measured in lesson 11: weights stay on the disk in 16 bits and are widened where
and when a layer computes (`work_in`); 3x3 convolutions need fewer multiplications (`speed_up`); a part whose work is
done leaves the memory (`take_turns`).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping

import torch
from torch.nn import Conv2d, Embedding, Linear, Module
from torch.nn.functional import pad

_SMALL = 2**16  # numbers: a weight with no more of them is widened once and for all
_PAGE = 4096  # bytes: the smallest piece of memory that a system hands out
_PAGE_OUT = 21  # MADV_PAGEOUT, Linux 5.4 and newer: what the disk holds, too, leaves the memory; the rest stays
_LOWEST = 16  # rows of latents: below that, a convolution's time goes into its weights, not into the picture


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

    Before a layer computes, its weight is copied in `dtype` to one buffer that all layers share; after it, the layer
    has its stored weight again. Weights of up to 65536 numbers are converted for good. Such a part cannot be trained.
    """
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
        stored[layer] = weight = layer.weight.data
        layer.weight.data = buffer[: weight.numel()].view_as(weight).copy_(weight)

    def give_back(layer, *_):
        layer.weight.data = stored.pop(layer)

    for layer in large:
        if isinstance(layer, Embedding):  # it looks rows up: only those are widened
            layer.register_forward_hook(lambda _layer, _ids, vectors: vectors.to(dtype))
        else:
            layer.register_forward_pre_hook(widen)
            layer.register_forward_hook(give_back, always_call=True)
    return part


class Winograd(Conv2d):
    """A 3x3 convolution by Winograd's method (Lavin and Gray 2016), through torch's NNPACK: float32, on the CPU.

    6x6 outputs are computed from 8x8 inputs with 64 multiplications for each pair of channels instead of 324.
    NNPACK's quick way takes one picture, so those of a batch stand side by side, a column of zeros between them.
    """

    def _conv_forward(self, x, weight, bias):
        batch, channels, height, width = x.shape
        if height < _LOWEST:
            return super()._conv_forward(x, weight, bias)
        if batch > 1:
            x = pad(x, (0, 1)).permute(1, 2, 0, 3).reshape(1, channels, height, batch * (width + 1))
        x = torch._nnpack_spatial_convolution(x.contiguous(), weight, bias, padding=1)
        if batch > 1:
            x = x.view(-1, height, batch, width + 1)[..., :width].permute(2, 0, 1, 3).contiguous()
        return x


def can_speed_up(dtype: torch.dtype, device: torch.device) -> bool:
    """Does Winograd's method pay here? Where torch has NNPACK, in float32, on a CPU without AVX-512."""
    if device.type != "cpu" or dtype != torch.float32 or torch.backends.cpu.get_cpu_capability() != "AVX2":
        return False
    return hasattr(torch, "_nnpack_spatial_convolution") and torch.backends.nnpack.is_available()


def speed_up(part: Module) -> Module:
    """Let the 3x3 convolutions of `part` with many channels use Winograd's method; returns the part."""
    usual = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    for layer in part.modules():
        fits = type(layer) is Conv2d and all(getattr(layer, name) == value for name, value in usual.items())
        if fits and layer.padding_mode == "zeros" and min(layer.in_channels, layer.out_channels) >= 64:
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
