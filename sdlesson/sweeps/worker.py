"""What a worker of a sweep does: load its model once, and paint and judge one picture after another."""

from __future__ import annotations

import functools
import platform
import threading
import warnings
from typing import TYPE_CHECKING

from .plan import Model, Picture, model_digest

if TYPE_CHECKING:
    from PIL.Image import Image

_LOADING = threading.Lock()


def paint(picture: Picture, model: Model) -> tuple[Image, int, float, list[str], str]:
    """One picture of a sweep: the PIL picture, how often the UNet was asked, the CLIP score, what was warned of, and on
    what kind of machine.

    The score is the cosine between picture and prompt as the model's CLIP pair sees them. Nothing depends on what was
    painted before. Raises ModelError where the model is not here, or is not the sweep's.
    """
    import torch

    from .. import samplers
    from ..decoding import paint_latents
    from ..embeddings import similarity
    from ..latents import initial_noise, seeded
    from ..sigmas import schedule, training_sigmas

    with _LOADING:
        sd, clip = _loaded(model)
    torch.set_num_threads(model.threads)  # a load sets them, too
    generator = seeded(picture.seed)
    noise = initial_noise(
        1, *sd.size, generator=generator, channels=sd.unet.config.in_channels, factor=sd.vae_factor
    ).to(sd.device)
    levels = schedule(picture.steps, training_sigmas(sd.scheduler.alphas_cumprod)).tolist()
    denoiser = samplers.Counted(samplers.Denoiser(sd, picture.prompt, picture.negative_prompt, picture.guidance_scale))
    options = {"generator": generator} if picture.sampler == "euler_ancestral" else {}
    way = getattr(samplers, picture.sampler)(denoiser, noise * levels[0], levels, **options)
    with warnings.catch_warnings(record=True) as told:
        painted = paint_latents(sd, samplers.end(way))[0]
        score = float(similarity(clip, [painted], picture.prompt))
    return painted, denoiser.calls, score, [str(each.message) for each in told], _kind(sd)


@functools.lru_cache(maxsize=1)  # a worker is a process of its own, and has one model at a time
def _loaded(model: Model):
    """The model and its CLIP pair; raises ModelError where they are not here, or the weights are others."""
    from ..embeddings import load_pair
    from ..loading.errors import ModelError
    from ..models import find, load

    if model_digest(find(model.name, revision=model.revision)) != model.digest:
        raise ModelError(f"The files of {model.name} on {platform.node()} are not those that this sweep began with.")
    sd = load(model.name, revision=model.revision, dtype=model.dtype)
    return sd, load_pair(sd)


def _kind(sd) -> str:
    """What the last digits of a picture may depend on, beside its settings."""
    import torch

    way = "OpenVINO" if sd.engine else sd.device.type
    machine = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"PyTorch {torch.__version__}, {machine}, {str(sd.dtype).removeprefix('torch.')} by {way}"
