"""A big model in little memory: what `load` does beside reading the files.

Weights stay on the disk in 16 bits and are widened where and when a layer computes (`upcast_layers`); a part whose
work is done leaves the memory (`offload_by_turns`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch.nn import Conv2d, Embedding, Linear, Module
from torch.nn.functional import linear

from ..loading.errors import BadInput

_SMALL = 2**16  # numbers: a weight with no more of them is widened once and for all
_UNITS = {"avx512_bf16": "AVX512_BF16", "amx_tile": "AMX"}  # torch's word -> the processor's


def fast_dtype(device: torch.device) -> torch.dtype:
    """The dtype that `device` computes a big model in fastest.

    float16 on CUDA (where a picture may come out black); on the CPU bfloat16 where torch reports AMX or AVX512_BF16
    units, else float32.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and bfloat16_units() else torch.float32


def bfloat16_units() -> list[str]:
    """The names of this CPU's units for bfloat16, as torch (by private functions) reports them."""
    return [word for name, word in _UNITS.items() if getattr(torch.cpu, f"_is_{name}_supported", bool)()]


def is_short(needed: int) -> bool:
    """Have programs less than `needed` bytes of memory left to take?"""
    import psutil

    return psutil.virtual_memory().available < needed


def upcast_layers(part: Module, dtype: torch.dtype) -> Module:
    """Let `part` compute in `dtype` while its big weights stay as they are stored; returns the part.

    While a layer computes, it takes a copy of its weight in `dtype`, its own for each call: threads may share the part.
    Embeddings widen the rows they look up. Weights of up to 65536 numbers are converted for good. Such a part cannot be
    trained, but gradients flow through it. Raises BadInput where it was made so before.
    """
    if getattr(part, "upcasts_to", None):
        raise BadInput(f"This part widens its weights to {part.upcasts_to} already; load it again for another dtype.")
    part.upcasts_to = dtype
    part.requires_grad_(False)
    for layer in part.modules():
        if type(layer) in _UPCAST and layer.weight.numel() > _SMALL and layer.weight.dtype != dtype:
            layer.__class__, layer.upcasts_to = _UPCAST[type(layer)], dtype
    for name, weight in _upcast_small(part, dict(part.named_parameters())).items():
        part.get_parameter(name).data = weight.data
    return part


def _upcast_small(part: Module, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weights` of `part` by name, all but those of its upcast layers in the dtype that it computes in."""
    layers = tuple(_UPCAST.values())
    stay = {f"{name}.weight".removeprefix(".") for name, layer in part.named_modules() if isinstance(layer, layers)}
    kept = {name for name, each in weights.items() if name in stay or not each.is_floating_point()}
    return {name: each if name in kept else each.to(part.upcasts_to) for name, each in weights.items()}


class UpcastLinear(Linear):
    """A linear layer that computes with its weight widened to the dtype of what it is given."""

    def forward(self, x):
        return linear(x, self.weight.to(x.dtype), self.bias)


class UpcastConv2d(Conv2d):
    """A convolution that computes with its weight widened to the dtype of what it is given."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight.to(x.dtype), bias)


class UpcastEmbedding(Embedding):
    """A table whose rows are widened to `upcasts_to` as they are looked up."""

    def forward(self, ids):
        return super().forward(ids).to(self.upcasts_to)


_UPCAST = {Linear: UpcastLinear, Conv2d: UpcastConv2d, Embedding: UpcastEmbedding}


def offload_by_turns(parts: Mapping[str, Module], fresh: Callable[[str, bool], Mapping[str, torch.Tensor]]) -> None:
    """When the text encoder, the UNet or the VAE begins to work, let the weights of the other two leave the memory.

    `fresh(name, works)` gives a part's weights anew: for a part that works as it computes fastest, for one that does
    not as they lie on the disk, where they take no memory. A part whose weights someone changed keeps them.
    """
    doors = {name: [part] for name, part in parts.items()}
    doors["vae"] = [parts["vae"].encoder, parts["vae"].decoder]  # encode() and decode() go by the VAE's own forward
    renew = {name: renewal(part, lambda works, name=name: fresh(name, works)) for name, part in parts.items()}
    at_work, one_at_a_time = [""], threading.Lock()

    def take(name):
        with one_at_a_time:  # of two threads at different parts, each takes what the other has: slow, and no harm
            if at_work[0] != name:
                for other in parts:
                    renew[other](other == name)
                at_work[0] = name

    for name, own in doors.items():
        for door in own:
            door.register_forward_pre_hook(lambda _door, _inputs, name=name: take(name))


def offload_when_done(part: Module, fresh: Callable[[bool], Mapping[str, torch.Tensor]]) -> None:
    """After each call of `part`, let its weights leave the memory; see `renewal`."""
    renew = renewal(part, fresh)
    part.register_forward_hook(lambda *_: renew(False))


def renewal(part: Module, fresh: Callable[[bool], Mapping[str, torch.Tensor]]) -> Callable[[bool], None]:
    """A function that puts `fresh(works)` in the place of the weights of `part`, unless someone has changed those."""
    handed, one_at_a_time = [versions(part)], threading.Lock()

    def renew(works: bool) -> None:
        with one_at_a_time:
            if versions(part) == handed[0]:
                with torch.inference_mode(False):  # whose tensors have no version
                    weights = fresh(works)
                    weights = _upcast_small(part, weights) if hasattr(part, "upcasts_to") else weights
                    part.load_state_dict(weights, strict=False, assign=True)
                handed[0] = versions(part)

    return renew


def versions(part: Module) -> list[tuple[int, int, int]]:
    """What changes when a weight of `part` is changed or replaced.

    Not when numbers are written in place through `weight.data` or into a tensor of inference mode: torch counts none
    of these.
    """
    return [(id(each), each.data_ptr(), 0 if each.is_inference() else each._version) for each in part.parameters()]
