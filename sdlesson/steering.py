"""A hand on the wheel: pictures to begin with, masks, mixed prompts and noises, and a loss that pulls the colour."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

import torch

from .guidance import Steering, denoise, settle
from .latents import encode, initial_noise, preview, seeded
from .models import BadInput, StableDiffusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image


def first_step(strength: float, num_inference_steps: int) -> int:
    """How many steps of the way are left out at `strength`: all of them at 0, none at 1 (diffusers' own rounding).

    Raises BadInput for a strength outside of 0 ... 1.
    """
    if not isinstance(strength, Real) or not 0 <= strength <= 1:
        raise BadInput(f"The strength must be a number from 0 to 1, not {strength!r}.")
    return num_inference_steps - int(num_inference_steps * strength)


def img2img(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    picture: Image | torch.Tensor,
    *,
    strength: float = 0.6,
    num_inference_steps: int = 20,
    seed: int | Sequence[int] = 42,
    **options,
) -> torch.Tensor:
    """Paint over a picture (SDEdit, Meng et al. 2022): the final latents, (batch, 4, h/8, w/8).

    `picture` is one for all prompts, or the latents of each. It is noised to the level where the last `strength` of the
    steps begin; those are taken, with the `options` of `denoise`. At 0 the picture's latents come back, at 1 the
    picture has no part in it.
    """
    clean, noise = _begin(sd, prompt, picture, num_inference_steps, seed)
    start = first_step(strength, num_inference_steps)
    x = noised(sd, clean, noise, start, num_inference_steps) if start else noise
    options |= {"num_inference_steps": num_inference_steps, "start": start, "latents": x}
    for step in denoise(sd, prompt, **_own_size(sd, clean), **options):
        x = step.latents
    return x


def noised(sd: StableDiffusion, clean: torch.Tensor, noise: torch.Tensor, step: int, steps: int) -> torch.Tensor:
    """Latents with the noise that they have before `step` of `steps`, by the scheduler's own add_noise."""
    scheduler = copy.deepcopy(sd.scheduler)
    scheduler.set_timesteps(steps)
    if step == steps:  # behind the last step: no noise
        return clean
    times = scheduler.timesteps[step * scheduler.order].repeat(len(clean))
    return scheduler.add_noise(clean, noise.to(clean), times)


def inpaint(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    picture: Image | torch.Tensor,
    mask: torch.Tensor,
    *,
    num_inference_steps: int = 20,
    seed: int | Sequence[int] = 42,
    **options,
) -> torch.Tensor:
    """Paint a part of a picture anew (Lugmayr et al. 2022, section 4.1): the final latents, (batch, 4, h/8, w/8).

    `mask` is True where the picture may change: pixels (height, width), or latent squares (h/8, w/8). Before each step
    the rest becomes the picture's own latents with that level's noise, at the end without noise.
    """
    clean, noise = _begin(sd, prompt, picture, num_inference_steps, seed)
    free = latent_mask(mask, sd.vae_factor) if mask.shape[-1] > clean.shape[-1] else mask.bool()
    if free.shape[-2:] != clean.shape[-2:]:
        raise BadInput(f"The mask must fit the picture's latents {tuple(clean.shape[-2:])}, not {tuple(free.shape)}.")
    steering = keep_outside(free, clean, noise)
    options |= {"num_inference_steps": num_inference_steps, "latents": noise, "steering": steering}
    for step in denoise(sd, prompt, **_own_size(sd, clean), **options):
        x = step.latents
    return x


def keep_outside(free: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor) -> Steering:
    """Steering that keeps the latents `clean`, noised as the way wants it, where `free` (h/8, w/8) is False."""
    free = free.to(clean.device)
    return Steering(change=lambda x, sigma: torch.where(free, x, clean + sigma * noise.to(clean)))


def latent_mask(mask: torch.Tensor, factor: int = 8) -> torch.Tensor:
    """A mask of pixels (height, width) as one of latent squares: True where any pixel of the square is."""
    rows, columns = (side // factor for side in mask.shape)
    return mask.bool().view(rows, factor, columns, factor).any(dim=3).any(dim=1)


def _begin(sd, prompt, picture, steps: int, seed) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture's latents, one for each prompt, and as much noise: (batch, 4, h/8, w/8) each."""
    batch = len(settle(sd, prompt, num_inference_steps=steps).prompts)
    latents = isinstance(picture, torch.Tensor)
    clean = (picture if latents else encode(sd.vae, picture)).to(sd.device, torch.float32)
    clean = clean.expand(batch, -1, -1, -1)
    height, width = (side * sd.vae_factor for side in clean.shape[-2:])
    channels, factor = sd.unet.config.in_channels, sd.vae_factor
    noise = initial_noise(batch, height, width, generator=seeded(seed), channels=channels, factor=factor)
    return clean, noise.to(sd.device)


def _own_size(sd: StableDiffusion, clean: torch.Tensor) -> dict[str, int]:
    """The height and width, in pixels, that belong to latents."""
    return {name: side * sd.vae_factor for name, side in zip(("height", "width"), clean.shape[-2:], strict=True)}


def lerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """The point on the straight line from `one` (share 0) to `other` (share 1)."""
    return one + share * (other - one)


def slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """The point on the arc from `one` (share 0) to `other` (share 1), each of the batch by itself (Shoemake 1985).

    With the angle a between the two: (sin((1 - share) a) * one + sin(share a) * other) / sin a. Of two arrows of one
    length all points have that length. Where the two point the same way, it is `lerp`.
    """
    first, second = one.flatten(1), other.flatten(1)
    cosine = torch.cosine_similarity(first, second, dim=1).clamp(-1, 1)
    angle = cosine.acos().view(-1, *[1] * (one.dim() - 1))  # (batch, 1, 1, 1)
    arc = ((1 - share) * angle).sin() * one + (share * angle).sin() * other
    return torch.where(angle > 1e-3, arc / angle.sin().clamp(min=1e-6), lerp(one, other, share))


def pull_colour(matrix: torch.Tensor, colour: Sequence[float], strength: float) -> Callable:
    """A loss for `Steering`: how far the preview of the latents is from `colour`'s side, times `strength`.

    `matrix` is `latents.fit_preview`'s; `colour` says how much red, green and blue count: (-0.5, -0.5, 1) is "bluer,
    not brighter". Summed over the squares, so that each is pulled alike in pictures of any size.
    """
    weights = torch.tensor(colour).view(1, 3, 1, 1)

    def loss(original: torch.Tensor) -> torch.Tensor:
        return -strength * (preview(original, matrix.to(original)) * weights.to(original)).sum()

    return loss
