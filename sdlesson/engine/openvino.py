"""The UNet and the VAE's decoder of a big model run by OpenVINO, which compiles them for this CPU: the extra `fast`.

Each was converted before (conversion.py); `sd.unet` and `sd.vae` stay torch's own, on the disk until someone uses them.
What hooks into them, changes them or asks for gradients gets torch: see `Engine.of`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.nn import Module

from ..loading.errors import ModelError, first_line, say
from .lean import versions

PARTS = ("unet", "vae")
_PRECISIONS = {torch.float32: ("f32", "FP32"), torch.bfloat16: ("bf16", "BF16")}  # to ask for, and as CPUs tell them

_THREADS = {torch.float32: 1, torch.bfloat16: 2}  # at least: with one, OpenVINO 2026.4 divides by zero in bfloat16

_LARGE = 2**28  # bytes of a part that is not kept in memory while the other one is compiled


def is_installed() -> bool:
    """Is OpenVINO there?"""
    return importlib.util.find_spec("openvino") is not None


_ONE_AT_A_TIME = threading.Lock()


def core():
    """OpenVINO's own object for everything, imported as if the package by which it reports its use were not there."""
    with _ONE_AT_A_TIME:
        sys.modules.setdefault("openvino_telemetry", None)
        try:
            import openvino
        finally:
            if sys.modules["openvino_telemetry"] is None:
                del sys.modules["openvino_telemetry"]
    return openvino.Core()


def computes_in(dtype: torch.dtype) -> bool:
    """Can OpenVINO compute in `dtype` here? In float32, and in bfloat16 where the CPU has units and two threads.

    Where the environment limits what oneDNN may use (ONEDNN_MAX_CPU_ISA), OpenVINO would end the process: never there.
    """
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper() not in ("ALL", "DEFAULT")
    if limited or dtype not in _PRECISIONS or torch.get_num_threads() < _THREADS[dtype]:
        return False
    try:
        return _PRECISIONS[dtype][1] in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # installed, but broken
        say(f"sdlesson: OpenVINO does not start here: {first_line(error)}", error=True)
        return False


class Engine:
    """The compiled UNet and VAE decoder of one model; `parts` are torch's own, in whose place they compute.

    `place` is the folder that `conversion.converted` gives; `dtype` is what is computed in, float32 or bfloat16.
    """

    def __init__(self, place: Path, parts: Mapping[str, Module], dtype: torch.dtype):
        kinds, self._lock = {"unet": CompiledUNet, "vae": CompiledVAE}, threading.Lock()
        self.compiled = {name: kinds[name](self, place / f"{name}.xml", parts[name], dtype) for name in PARTS}

    def of(self, part: Module) -> Module | Compiled:
        """The compiled one in the place of `part`, or `part` itself where it was touched, or gradients are on.

        Touched is what was replaced, has hooks, other settings, attention processors or weights, or is to be trained.
        """
        for each in self.compiled.values():
            untouched = each.part is part and not part.training and _fingerprint(part) == each.fingerprint
            if untouched and not torch.is_grad_enabled():
                return each
        return part

    def compile(self, part: Compiled, shapes: Sequence[torch.Size]):
        """`part` compiled for `shapes`, and kept for the next call; the other part leaves the memory if it is large."""
        with self._lock:
            if part.shapes != shapes:
                for each in self.compiled.values():
                    if each is part or each.size > _LARGE:
                        each.shapes = each.model = None
                part.model, part.shapes = _compiled(part, shapes), shapes
            return part.model


def _compiled(part: Compiled, shapes: Sequence[torch.Size]):
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[part.computes_in][0],
        "INFERENCE_NUM_THREADS": max(torch.get_num_threads(), _THREADS[part.computes_in]),
    }
    try:
        model = core().read_model(part.file)
        model.reshape(dict(zip(model.inputs, map(list, shapes), strict=True)))
        return core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise ModelError(
            f"OpenVINO cannot use {part.file} ({first_line(error)}): delete {part.file.parent} and load the model "
            'again, or load it with engine="torch".'
        ) from None


def _fingerprint(part: Module) -> tuple:
    """What changes as soon as someone takes a hand in `part`."""
    modules = [
        (each, each.__dict__.get("forward"), getattr(each, "processor", None), _settings(each))
        + (*each._forward_hooks, *each._forward_pre_hooks)
        for each in part.modules()
    ]
    return modules, versions(part)


def _settings(module: Module) -> dict:
    """The numbers, texts and switches of a module, as FreeU, tiling or another scale change them."""
    return {name: value for name, value in vars(module).items() if isinstance(value, (int, float, str))}


class Compiled:
    """A part that OpenVINO computes and that is called as torch's is; it has the config and device of that.

    It is compiled for the shapes of a call, and anew when others come: that costs seconds, and keeps every picture the
    same, whatever was painted before. Threads may share it.
    """

    dtype = torch.float32  # of what goes in and comes out, whatever is computed in

    def __init__(self, engine: Engine, file: Path, part: Module, computes_in: torch.dtype):
        self.engine, self.file, self.part, self.computes_in = engine, file, part, computes_in
        weights = file.with_suffix(".bin")
        self.size = weights.stat().st_size if weights.exists() else 0
        self.shapes = self.model = None
        self.fingerprint, self.held = _fingerprint(part), list(part.parameters())  # held: an id is not given twice

    def __getattr__(self, name: str):
        return getattr(self.part, name)

    def run(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The output, float32, for the inputs of the part in its order."""
        model = self.engine.compile(self, [each.shape for each in tensors])
        given = [each.float().numpy() for each in tensors]
        return torch.from_numpy(model.create_infer_request().infer(given)[0])


class CompiledUNet(Compiled):
    """The UNet: (latents, timestep, text embeddings) -> a tuple of the guess, as torch's UNet has them."""

    def __call__(self, sample, timestep, encoder_hidden_states, return_dict=False):
        waves = self.part.get_time_embed(sample, timestep)  # (batch, 320): OpenVINO's own sines have 3 right digits
        return (self.run(sample, waves, encoder_hidden_states),)


class CompiledVAE(Compiled):
    """The VAE, whose `decode` is compiled: unscaled latents -> a tuple of pictures, about -1 to 1, one by one."""

    def decode(self, z, return_dict=False):
        return (torch.cat([self.run(one) for one in z.split(1)]),)
