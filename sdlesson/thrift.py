"""A big model in little memory, and as fast as a CPU allows: what `load` does beside reading the files.

Five switches, each of them shown and measured in lesson 11: weights stay on the disk in 16 bits and are widened where
and when a layer computes (`work_in`); a part whose work is done leaves the memory (`take_turns`); freed memory is used
again (`keep_freed`); 3x3 convolutions need fewer multiplications (`speed_up`); and what the two halves of a guided
batch have in common is computed once (`share_beginning`).
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.nn import Conv2d, Embedding, Linear, Module
from torch.nn.functional import linear, pad

from .models import BadInput

_SMALL = 2**16  # numbers: a weight with no more of them is widened once and for all
_PAGE = 4096  # bytes: the smallest piece of memory that a system hands out
_PAGE_OUT = 21  # MADV_PAGEOUT, Linux 5.4 and newer: what the disk holds as well leaves the memory; the rest stays
_NARROW = 64  # channels: below that, mixing takes longer than it saves
_LOWEST = 16  # the shorter side of a map: below that, a convolution's time goes into its weights, not into the map
_PAIRS = 2**19  # pairs of channels: above that, it is quicker to mix the windows in slices ...
_SLICE = 2**21  # ... of so many mixed numbers
_AT_ONCE = 2**22  # numbers of mixed tiles: more do not stay near the processor, fewer make small matrix products
_NO_MMAP, _TRIM = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD of glibc's malloc.h, and their new values


def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype that `device` computes a big model in fastest.

    float16 on CUDA (where a picture may come out black, see lesson 11); on the CPU bfloat16 where torch reports AMX or
    AVX512_BF16 units, else float32.
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

    While a layer computes, it takes a copy of its weight in `dtype`, its own for each call: threads may share the part.
    Embeddings widen the rows they look up. Weights of up to 65536 numbers are converted for good. Such a part cannot be
    trained, but gradients flow through it. Raises BadInput where it was made so before.
    """
    if getattr(part, "widens_to", None):
        raise BadInput(f"This part widens its weights to {part.widens_to} already; load it again for another dtype.")
    part.widens_to = dtype
    part.requires_grad_(False)
    layers = [layer for layer in part.modules() if type(layer) in (*_WIDENED, Winograd)]
    large = [layer for layer in layers if layer.weight.numel() > _SMALL and layer.weight.dtype != dtype]
    stay = {id(layer.weight) for layer in large}
    for weight in part.parameters():
        if id(weight) not in stay:
            weight.data = weight.data.to(dtype)
    for layer in large:
        if type(layer) is not Winograd:  # it widens piece by piece, see there
            layer.__class__, layer.widens_to = _WIDENED[type(layer)], dtype
    return part


class WidenedLinear(Linear):
    """A linear layer that computes with its weight widened to `widens_to`."""

    def forward(self, x):
        return linear(x, self.weight.to(self.widens_to), self.bias)


class WidenedConv2d(Conv2d):
    """A convolution that computes with its weight widened to `widens_to`."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight.to(self.widens_to), bias)


class WidenedEmbedding(Embedding):
    """A table whose rows are widened to `widens_to` as they are looked up."""

    def forward(self, ids):
        return super().forward(ids).to(self.widens_to)


_WIDENED = {Linear: WidenedLinear, Conv2d: WidenedConv2d, Embedding: WidenedEmbedding}


def _mix(*rows: tuple[float, ...]) -> torch.Tensor:
    """The matrix that mixes both dimensions of a tile by `rows`, for tiles whose numbers stand in one column."""
    return torch.kron(torch.tensor(rows), torch.tensor(rows))


class Method(NamedTuple):
    """One of Winograd's methods for windows of 3x3: a tile's side, and what mixes tiles, windows, and back."""

    side: int
    tile: torch.Tensor
    window: torch.Tensor
    back: torch.Tensor


# F(4x4, 3x3) of Lavin and Gray (2016), by polynomials of the points 0, 1, -1, 2, -2 and infinity
_HIGH = Method(
    4,
    tile=_mix(
        (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
        (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
        (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
        (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
        (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
        (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
    ),
    window=_mix(
        (1 / 4, 0.0, 0.0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0.0, 0.0, 1.0),
    ),
    back=_mix(
        (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
        (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
        (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
        (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
    ),
)
# F(2x2, 3x3), by the points 0, 1, -1 and infinity: for low maps, whose time goes into mixing the windows
_LOW = Method(
    2,
    tile=_mix((1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, -1.0, 1.0, 0.0), (0.0, -1.0, 0.0, 1.0)),
    window=_mix((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0)),
    back=_mix((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, 1.0)),
)


class Winograd(Conv2d):
    """A 3x3 convolution by one of Winograd's methods (Lavin and Gray 2016): 36 multiplications instead of 144.

    That is in tiles of 4x4 outputs; maps with a side below 16 are done in tiles of 2x2, with 16 instead of 36. Maps
    come and go with their channels side by side in memory (torch.channels_last); weights of any dtype are widened
    piece by piece, where they are mixed.
    """

    def _conv_forward(self, x, weight, bias):
        if not can_speed_up(x.dtype, x.device):
            return super()._conv_forward(x, weight.to(x.dtype), bias)
        method = _HIGH if min(x.shape[-2:]) >= _LOWEST else _LOW
        windows = weight.permute(2, 3, 1, 0).flatten(0, 1)  # (9, inputs, outputs): so they lie in memory
        y = by_tiles(x.permute(0, 2, 3, 1), windows, method)
        return (y if bias is None else y.add_(bias)).permute(0, 3, 1, 2)


def by_tiles(x: torch.Tensor, windows: torch.Tensor, method: Method) -> torch.Tensor:
    """Convolve `x` (batch, height, width, inputs) with `windows` (9, inputs, outputs) by one of Winograd's methods.

    Each tile of the output, 4x4 or 2x2, needs a tile of the input that is 2 wider. Both the tile and the window are
    mixed, multiplied number by number (as matrix products over the channels), and mixed back. The result has the shape
    (batch, height, width, outputs).
    """
    (batch, height, width, inputs), outputs, side = x.shape, windows.shape[2], method.side
    down, across, numbers = -(-height // side), -(-width // side), (side + 2) ** 2
    y = x.new_empty(batch, down * side, across * side, outputs)
    into = y.view(batch, down, side, across, side, outputs).permute(2, 4, 0, 1, 3, 5)
    few = inputs if inputs * outputs <= _PAIRS else max(1, _SLICE // (numbers * outputs))  # inputs at once
    whole = mixed_windows(windows, method, x.dtype) if few == inputs else None
    rows = max(1, _AT_ONCE // (numbers * max(few, outputs) * batch * across))
    for first in range(0, down, rows):
        given, products = into[:, :, :, first : first + rows], None
        tiles = tiles_of(x, first * side, given.shape[3], across, side)
        for taken, some in zip(tiles.split(few, -1), windows.split(few, 1), strict=True):
            mixed = (method.tile @ taken.flatten(0, 1).flatten(1)).view(numbers, -1, taken.shape[-1])
            factors = mixed, mixed_windows(some, method, x.dtype) if whole is None else whole
            products = torch.bmm(*factors) if products is None else products.baddbmm_(*factors)
        given.copy_((method.back @ products.flatten(1)).view(given.shape))
    return y[:, :height, :width]


def tiles_of(x: torch.Tensor, top: int, down: int, across: int, side: int) -> torch.Tensor:
    """Tiles of `x` (batch, height, width, inputs), `down` x `across` of them from row `top` on, with zeros around `x`.

    Each begins one row above and one column left of its `side` x `side` outputs, and ends one below and one right of
    them: (side + 2, side + 2, batch, down, across, inputs).
    """
    height, width = x.shape[1:3]
    above, end = max(top - 1, 0), top + down * side + 1
    zeros = (0, 0, 1, across * side + 1 - width, above - top + 1, max(end - height, 0))
    padded = pad(x[:, above:end], zeros)
    return padded.unfold(1, side + 2, side).unfold(2, side + 2, side).permute(4, 5, 0, 1, 2, 3)


def mixed_windows(windows: torch.Tensor, method: Method, dtype: torch.dtype) -> torch.Tensor:
    """`windows` (9, inputs, outputs) in `dtype`, mixed for the products: (36 or 16, inputs, outputs)."""
    return (method.window @ windows.to(dtype).flatten(1)).view(-1, *windows.shape[1:])


def can_speed_up(dtype: torch.dtype, device: torch.device) -> bool:
    """Does Winograd's method pay here? In float32, on a CPU with AVX2 or AVX-512 (where it was measured)."""
    if device.type != "cpu" or dtype != torch.float32:
        return False
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def speed_up(part: Module) -> Module:
    """Let the 3x3 convolutions of `part` with many channels use Winograd's method; returns the part.

    All convolutions take and give maps whose channels lie side by side in memory. Winograd's windows lie there as
    (3, 3, inputs, outputs), other windows of more than one place with their inputs side by side.
    """
    usual = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    for layer in [layer for layer in part.modules() if type(layer) is Conv2d]:
        fits = all(getattr(layer, name) == value for name, value in usual.items()) and layer.padding_mode == "zeros"
        if fits and min(layer.in_channels, layer.out_channels) >= _NARROW:
            layer.__class__ = Winograd
            _lay(layer.weight, (2, 3, 1, 0))
            continue
        layer.register_forward_pre_hook(_side_by_side)
        if layer.kernel_size != (1, 1):
            _lay(layer.weight, (0, 2, 3, 1))
    return part


def _side_by_side(_, given):
    return (given[0].contiguous(memory_format=torch.channels_last),)


def _lay(weight, order):
    """Let `weight` lie in memory in the order of these dimensions; what it was before leaves the memory."""
    stored = weight.data
    weight.data = stored.permute(order).contiguous().permute([order.index(dimension) for dimension in range(4)])
    page_out(stored)


def share_beginning(unet: Module) -> Module:
    """Let `unet` compute a guided pair's common beginning once; returns the UNet.

    Both halves of a guided batch hold the same latents, and no text enters before the first cross-attention: the
    residual blocks and the self-attention before it get the same twice. There, a batch of two equal halves is halved,
    and the result is given twice; every other batch is computed as a whole. So is each batch where gradients are asked
    for: both halves get their own.
    """
    shared = []
    for block in unet.down_blocks:
        if getattr(block, "has_cross_attention", False):
            shared += [block.resnets[0], block.attentions[0].transformer_blocks[0].attn1]
            break
        shared += block.resnets
    for layer in shared:
        kind = type(layer)
        layer.__class__ = type(kind.__name__, (Halved, kind), {})
    return unet


class Halved:
    """Before a layer's own class: a batch of two equal halves is computed once, and its result given twice."""

    def forward(self, *given, **named):
        tensors = [each for each in (*given, *named.values()) if torch.is_tensor(each)]
        alike = all(len(each) % 2 == 0 and torch.equal(*each.chunk(2)) for each in tensors)
        if torch.is_grad_enabled() or not alike:
            return super().forward(*given, **named)
        half = [each[: len(each) // 2] if torch.is_tensor(each) else each for each in (*given, *named.values())]
        once = super().forward(*half[: len(given)], **dict(zip(named, half[len(given) :], strict=True)))
        return torch.cat([once, once])


def take_turns(parts: Mapping[str, Module]) -> None:
    """When the text encoder, the UNet or the VAE begins to work, let the weights of the other two leave the memory.

    They come back from the file by themselves when they are needed. Only weights that are still as the file holds
    them leave (see `models.read_weights`), so not the windows that `speed_up` has put into another order; and only
    where the system can do it (Linux): else nothing happens.
    """
    doors = {name: [part] for name, part in parts.items()}
    doors["vae"] = [parts["vae"].encoder, parts["vae"].decoder]  # encode() and decode() go by the VAE's own forward
    turn, one_at_a_time = [""], threading.Lock()

    def take(name):
        with one_at_a_time:  # of two threads that are at different parts, each may make the other's come back: no harm
            if turn[0] != name:
                turn[0] = name
                for other in parts.keys() - {name}:
                    page_out(*parts[other].parameters())
                give_back_freed()

    for name, own in doors.items():
        for door in own:
            door.register_forward_pre_hook(lambda _door, _inputs, name=name: take(name))


def keep_freed() -> bool:
    """Let this process keep freed memory for its next tensors instead of asking the system for fresh pages each time.

    Fresh pages are filled with zeros first, which costs a step of a big model about a tenth of its time. For the whole
    process, and for good; only with glibc (Linux): elsewhere nothing happens, and the answer is False.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        return False
    return all(ctypes.CDLL(None).mallopt(*option) for option in (_NO_MMAP, _TRIM))


def give_back_freed() -> None:
    """Give freed memory back to the system now, whatever `keep_freed` says."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def page_out(*weights: torch.Tensor) -> None:
    """Let `weights` leave the memory, as far as a file holds them."""
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    for weight in weights:
        start = -(-weight.data_ptr() // _PAGE) * _PAGE
        end = (weight.data_ptr() + weight.nbytes) // _PAGE * _PAGE
        if end > start:
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGE_OUT)
