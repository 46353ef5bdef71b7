"""A short picture by sdlesson and by diffusers' StableDiffusionPipeline, which must be the same with every model."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

import torch
from PIL.Image import Image

from ..decoding import level_differences, paint_latents
from ..guidance import denoise
from ..loading.folders import weight_files
from ..loading.quiet import quiet
from ..models import ARTICLE_GUIDANCE, ARTICLE_PROMPT, StableDiffusion

SEED = 42

#: How far the first guess may be from the float32 pipeline's, by its length, in float32 and in 16 bits.
_NEAR, _NEAR_16_BITS = 1e-3, 0.05

#: How many levels of 255 a picture in float32 may be from the pipeline's on average. In 16 bits there is no such limit:
#: a trained model's picture may become another one (the report tells how far it is).
_LEVELS = 0.5


class Painted(NamedTuple):
    """A picture, the UNet's guesses in the first step (2, 4, h/8, w/8), and the seconds of each step and of the VAE."""

    picture: Image
    guess: torch.Tensor
    steps: tuple[float, ...] = ()
    vae: float = 0.0


def painted(sd: StableDiffusion, steps: int) -> Painted:
    """The article's picture in so many steps; guidance 8 for every model, so that both halves are computed."""
    clock = [time.perf_counter()]
    for step in denoise(sd, ARTICLE_PROMPT, num_inference_steps=steps, guidance_scale=ARTICLE_GUIDANCE, seed=SEED):
        if step.index == 0:
            guess = torch.cat([step.noise_uncond, step.noise_text]).cpu()
        step.latents.cpu()  # a GPU has then done its work
        clock.append(time.perf_counter())
    picture = paint_latents(sd, step.latents)[0]
    times = [after - before for before, after in zip(clock, clock[1:], strict=False)]
    return Painted(picture, guess, tuple(times), time.perf_counter() - clock[-1])


def peak(numbers: int) -> float:
    """How many bytes the pipeline takes in float32 for a model of so many numbers.

    That is half as much again as its weights: `make bench-full` measured 5.85 to 6.01 GiB for v1.4's 3.97.
    """
    return 1.5 * torch.float32.itemsize * numbers


def piped(folder: Path, size: tuple[int, int], steps: int, device: torch.device) -> Painted:
    """The same picture by diffusers' StableDiffusionPipeline, which reads the folder by itself, in float32."""
    copy = re.search(r"\.(fp16|bf16)[.-]", weight_files(folder, "unet")[0].name)
    absent = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    how = {"variant": copy and copy[1], "use_safetensors": True, "local_files_only": True}
    with quiet():
        from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained(folder, **absent, **how).to(device, torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = LMSDiscreteScheduler.from_config(pipe.scheduler.config)
    guesses: list[torch.Tensor] = []
    pipe.unet.register_forward_hook(lambda _unet, _given, output: guesses.append(output[0].cpu()))
    run = {"num_inference_steps": steps, "guidance_scale": ARTICLE_GUIDANCE, "width": size[0], "height": size[1]}
    run |= {"generator": torch.Generator("cpu").manual_seed(SEED), "return_dict": False}
    (picture,), _ = pipe(ARTICLE_PROMPT, **run)
    return Painted(picture, guesses[0])


def differences(own: Painted, peer: Painted, dtype: torch.dtype) -> list[tuple[str, str, bool]]:
    """How far what was computed in `dtype` is from the float32 pipeline's: name, words, and does it hold?

    The first step's guess must be near in every dtype, the picture in float32.
    """
    exact, word = dtype == torch.float32, str(dtype).removeprefix("torch.")
    near, away = _NEAR if exact else _NEAR_16_BITS, float((own.guess - peer.guess).norm() / peer.guess.norm())
    levels = level_differences(own.picture, peer.picture).double()
    mean, verdict = float(levels.mean()), {True: "equals the pipeline's", False: "DIFFERS FROM the pipeline's"}
    step = f"{verdict[away <= near]}: {away:.1e} of its length away, limit {near:g}"
    picture = f"{mean:.3f} levels of 255 away on average, {levels.max():.0f} at most"
    held = f"{verdict[mean <= _LEVELS]}: {picture}; limit {_LEVELS:g} on average"
    changed = f"{picture}, from the pipeline's in float32: what {word} changes"
    return [
        (f"one step, {word}", step, away <= near),
        (f"picture, {word}", held if exact else changed, mean <= _LEVELS or not exact),
    ]
