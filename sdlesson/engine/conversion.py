"""A big model's UNet and VAE decoder converted for OpenVINO, once, and kept in a cache: up to a minute for v1.4."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import Module

from ..loading.errors import ModelError, say
from ..loading.folders import digest, weight_bytes, weight_files
from ..loading.quiet import quiet
from ..loading.weights import image_part, stored_dtype
from ..loading.writing import replace_folder
from .lean import upcast_layers
from .openvino import PARTS, core

_SIDE = 8  # the sides of the latents that the parts are traced with: any multiple of the UNet's halvings, 2^3


def converted(folder: Path) -> Path:
    """Where the converted UNet and VAE decoder of the model in `folder` are: made now if that was never done.

    They have the files' own 16 bits, or the 32 where those have 32. They are kept in the environment's SDLESSON_CACHE,
    else in the user's own cache folder, and may be deleted at any time. Raises ModelError where there is no room for
    them, the folder cannot be written to, or the conversion fails.
    """
    from filelock import FileLock
    from platformdirs import user_cache_path

    place = Path(os.environ.get("SDLESSON_CACHE") or user_cache_path("sdlesson")) / "openvino" / _key(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(FileLock(place.with_suffix(".lock")))
    except OSError as error:
        raise ModelError(
            f"OpenVINO's copy of the model cannot be kept in {place.parent}: {error.strerror or error}; name another "
            "folder in SDLESSON_CACHE."
        ) from None
    with lock:  # another kernel may have been at it
        if not place.is_dir():
            size = weight_bytes(folder, *PARTS)
            if shutil.disk_usage(place.parent).free < 1.1 * size:
                raise ModelError(f"OpenVINO's copy of the model needs {size / 1e9:.1f} GB in {place}; make room there.")
            told = f"converting {folder} for OpenVINO, once: {size / 1e9:.1f} GB in {place}, which may be deleted"
            say(f"sdlesson: {told}", error=True)
            replace_folder(place, lambda part: _convert_apart(folder, part))
    return place


def _acquired(lock):
    """`lock` when nobody else holds it any more; says so where that has to be waited for."""
    from filelock import Timeout

    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say("sdlesson: another program converts this model for OpenVINO; waiting for it", error=True)
        return lock.acquire()


def _key(folder: Path) -> str:
    """The hash of the weights, and of what else decides what they are converted to."""
    files = [file for part in PARTS for file in (folder / part / "config.json", *weight_files(folder, part))]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("openvino", "torch", "diffusers")]
    told = "\n".join([digest([Path(__file__), *files]), *versions])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _convert_apart(folder: Path, place: Path) -> None:
    """`convert` in a process of its own, whose memory is free again afterwards; raises ModelError."""
    from tqdm import tqdm

    command = [sys.executable, *_COMMAND, str(folder), str(place)]
    said = ["it ended without a word"]
    with (
        tqdm(total=2 * len(PARTS), desc="converting", unit="step") as bar,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        try:
            for line in filter(str.strip, process.stdout):
                said.append(line.strip())
                bar.update(line.startswith(_DONE))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        why = "it was stopped; was there too little memory?" if process.returncode < 0 else said[-1]
        raise ModelError(f"OpenVINO cannot convert {folder}: {why}")


_COMMAND, _DONE = ("-m", __name__), "done: "


def convert(folder: Path, place: Path) -> None:
    """Write unet.xml and vae.xml, with their .bin, into `place`.

    The weights stay on the disk while they are traced, and the traced model widens each where it is used: so the peak
    is about the size of the converted files and a half.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    core()  # imports it as it should be
    import openvino

    for name, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        stored = stored_dtype(folder, name, torch.float32)
        with quiet():
            part = image_part(kind, folder / name, stored)
        if stored != torch.float32:
            upcast_layers(part, torch.float32)
        example = _example(part)
        part.get_time_embed = lambda sample, timestep: timestep  # which is given as waves: see CompiledUNet
        with torch.no_grad():
            model = openvino.convert_model(Traced(part), example_input=example)
        print(f"{_DONE}{name} traced", flush=True)
        openvino.save_model(model, place / f"{name}.xml", compress_to_fp16=stored == torch.float16)
        print(f"{_DONE}{name} written", flush=True)
        del part, model


class Traced(Module):
    """A UNet or a VAE's decoder: tensors in, one tensor out."""

    def __init__(self, part: Module):
        super().__init__()
        self.part = part

    def forward(self, *given):
        work = self.part.decode if hasattr(self.part, "decode") else self.part
        return work(*given, return_dict=False)[0]


def _example(part: Module) -> tuple[torch.Tensor, ...]:
    """Inputs of the part's kinds, of small sizes."""
    if hasattr(part, "decode"):
        return (torch.zeros(1, part.config.latent_channels, _SIDE, _SIDE),)
    latents = torch.zeros(2, part.config.in_channels, _SIDE, _SIDE)
    return latents, part.get_time_embed(latents, 999), torch.zeros(2, 77, part.config.cross_attention_dim)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:]))
