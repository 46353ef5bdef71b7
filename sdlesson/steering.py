"""A hand on the wheel: pictures to begin with, masks, mixed prompts and noises, and a loss that pulls the colour."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import torch

from . import sigmas
from .guidance import denoise, resolve_settings
from .latents import as_latents, encode, initial_noise, preview, seeded
from .loading import checks
from .loading.errors import BadInput
from .models import StableDiffusion

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Steering:
    """What takes a hand in a run on its way; the default leaves it alone, to the last bit.

    `change(x, sigma)` gives other latents x = picture + sigma * noise, before the first step and after each one (the
    last time at sigma 0). `interval` = (low, high): guidance counts where low < sigma <= high, and (0, inf) is
    everywhere; elsewhere the prompt's plain guess is taken, at half the work. `loss` makes one number of the predicted
    original (batch, 4, h/8, w/8), which is then moved by sigma^2 / (sigma^2 + 1) times the loss's gradient, downhill.
    Raises BadInput for what is no function, and for an interval that is no pair of numbers.
    """

    change: Callable[[torch.Tensor, float], torch.Tensor] | None = None
    interval: tuple[float, float] = (0.0, math.inf)
    loss: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self):
        for name in ("change", "loss"):
            if not (getattr(self, name) is None or callable(getattr(self, name))):
                raise BadInput(f"Steering's {name} is a function, not {checks.told(getattr(self, name))}.")
        ends = tuple(self.interval) if isinstance(self.interval, Sequence) else ()
        if len(ends) != 2 or not all(isinstance(end, Real) and end == end for end in ends):
            raise BadInput(f"Steering's interval is two noise levels, (low, high), not {checks.told(self.interval)}.")
        if ends[0] > ends[1]:
            raise BadInput(f"Steering's interval begins with the lower noise level: ({ends[1]:g}, {ends[0]:g}).")

    def guides(self, sigma: float | None = None) -> bool:
        """Does guidance count at `sigma`, or (None) at every noise level?"""
        low, high = self.interval
        return (low <= 0 and high == math.inf) or (sigma is not None and low < sigma <= high)

    def changed(self, x: torch.Tensor, solver, i: int) -> torch.Tensor:
        """What `change` makes of the latents `x` before step i of `solver` (after the last step: at sigma 0).

        Raises BadInput where that are no latents of the same shape.
        """
        if self.change is None:
            return x
        sigma = solver.sigma(i) if i < len(solver.times) else 0.0
        shrink = (sigma**2 + 1) ** 0.5 if solver.scheduler.init_noise_sigma == 1 else 1.0  # latents of spread 1
        changed = self.change(x * shrink, sigma)
        if not isinstance(changed, torch.Tensor) or changed.shape != x.shape or not changed.is_floating_point():
            raise BadInput(f"Steering's change gives back latents {tuple(x.shape)}, not {checks.told(changed)}.")
        return changed.to(x) / shrink

    def pulled(self, guided: torch.Tensor, x: torch.Tensor, sigma: float, prediction_type: str) -> torch.Tensor:
        """The UNet's output, like `x` = picture + sigma * noise, changed so that its x0 goes down the slope of `loss`.

        The way is sigma^2 / (sigma^2 + 1) times the gradient: classifier guidance (Dhariwal and Nichol 2021, algorithm
        2) for a guess of x0 that follows x as 1 / (sigma^2 + 1), as the best guess of latents of spread 1 does. Raises
        BadInput where the loss is not one number made from the predicted original.
        """
        if self.loss is None:
            return guided
        with torch.inference_mode(False), torch.enable_grad():
            original = sigmas.pred_original(x, guided, sigma, prediction_type).detach().clone().requires_grad_()
            loss = self.loss(original)
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
                raise BadInput("Steering's loss gives back one number, a tensor made from the predicted original.")
            (gradient,) = torch.autograd.grad(loss, original)
        root = (sigma**2 + 1) ** 0.5
        weights = {"epsilon": sigma / root**2, "sample": -((sigma / root) ** 2), "v_prediction": sigma / root}
        return guided + weights[prediction_type] * gradient


def first_step(strength: float, num_inference_steps: int) -> int:
    """How many steps of the way are left out at `strength`: all of them at 0, none at 1 (diffusers' own rounding).

    Raises BadInput for a strength outside of 0 ... 1, and for a number of steps that is not whole or below 1.
    """
    strength, steps = checks.number(strength, "strength", 0, 1), checks.whole(num_inference_steps, "number of steps", 1)
    return steps - int(steps * strength)


def img2img(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    picture: Image | torch.Tensor,
    *,
    strength: float = 0.6,
    num_inference_steps: int = 20,
    seed: int | Sequence[int] = 42,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    **options,
) -> torch.Tensor:
    """Paint over a picture (SDEdit, Meng et al. 2022): the final latents, (batch, 4, h/8, w/8).

    `picture` is one for all prompts, what `encode` takes, or the latents of each. It is noised to the level where the
    last `strength` of the steps begin; those are taken, with the `options` of `denoise`. At 0 the picture's latents
    come back, at 1 the picture has no part in it. The noise is drawn from `generator`, else from `seed`. Raises
    BadInput for options that the picture and the strength settle already: start, latents, height and width.
    """
    _refuse(options, "start", "latents", "height", "width")
    start = first_step(strength, num_inference_steps)
    generator = seeded(seed) if generator is None else generator
    clean, noise = _begin(sd, prompt, picture, num_inference_steps, generator)
    x = noised(sd, clean, noise, start, num_inference_steps) if start else noise
    options |= {"num_inference_steps": num_inference_steps, "start": start, "latents": x, "generator": generator}
    for step in denoise(sd, prompt, **_own_size(sd, clean), **options):
        x = step.latents
    return x


def noised(sd: StableDiffusion, clean: torch.Tensor, noise: torch.Tensor, step: int, steps: int) -> torch.Tensor:
    """Latents with the noise that they have before `step` of `steps`, by the scheduler's own add_noise.

    Raises BadInput where there is no such step, or `noise` has another shape than `clean`.
    """
    step = checks.whole(step, "step", 0, checks.whole(steps, "number of steps", 1))
    clean, noise = as_latents(clean), as_latents(noise)
    _check_alike(clean, noise)
    scheduler = sigmas.with_steps(sd.scheduler, steps)
    if step == steps:  # behind the last step: no noise
        return clean
    times = scheduler.timesteps[step * scheduler.order].repeat(len(clean))
    if hasattr(scheduler, "set_begin_index"):  # two steps may have one timestep
        scheduler.set_begin_index(step * scheduler.order)
    return scheduler.add_noise(clean, noise.to(clean), times)


def inpaint(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    picture: Image | torch.Tensor,
    mask: torch.Tensor | Image,
    *,
    num_inference_steps: int = 20,
    seed: int | Sequence[int] = 42,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    **options,
) -> torch.Tensor:
    """Paint a part of a picture anew (Lugmayr et al. 2022, section 4.1): the final latents, (batch, 4, h/8, w/8).

    `mask` is True (white) where the picture may change, anything that `checks.mask` takes: as large as the picture, or
    one number for each latent square (h/8, w/8). Before each step the rest becomes the picture's own latents with that
    level's noise, at the end without noise. Raises BadInput for a mask of another size, and for options that picture
    and mask settle already: start, latents, height and width, and a `steering` that changes the latents itself.
    """
    _refuse(options, "start", "latents", "height", "width")
    steering = options.pop("steering", None)
    steering = Steering() if steering is None else checks.part(steering, "a sdlesson.steering.Steering", "guides")
    if steering.change is not None:
        raise BadInput("inpaint changes the latents before each step by itself; leave out Steering(change=...).")
    free = checks.mask(mask)
    generator = seeded(seed) if generator is None else generator
    clean, noise = _begin(sd, prompt, picture, num_inference_steps, generator)
    size, squares = tuple(_own_size(sd, clean).values()), tuple(clean.shape[-2:])
    if free.shape not in (size, squares):
        words = f"The mask must fit the picture's latents {squares} or its pixels {size}, not {tuple(free.shape)}"
        raise BadInput(f"{words}; mask.resize does that for a PIL picture.")
    free = free if free.shape == squares else latent_mask(free, sd.vae_factor)
    steering = dataclasses.replace(steering, change=keep_outside(free, clean, noise).change)
    options |= {"num_inference_steps": num_inference_steps, "latents": noise, "generator": generator}
    for step in denoise(sd, prompt, steering=steering, **_own_size(sd, clean), **options):
        x = step.latents
    return x


def keep_outside(free: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor) -> Steering:
    """Steering that keeps the latents `clean`, noised as the way wants it, where `free` (h/8, w/8) is False.

    Raises BadInput where the sizes differ.
    """
    free = checks.mask(free).to(clean.device)
    _check_alike(clean, noise)
    if free.shape != clean.shape[-2:]:
        raise BadInput(f"The mask must fit the latents, {tuple(clean.shape[-2:])}, not {tuple(free.shape)}.")
    return Steering(change=lambda x, sigma: torch.where(free, x, clean + sigma * noise.to(clean)))


def latent_mask(mask: torch.Tensor, factor: int = 8) -> torch.Tensor:
    """A mask of pixels (height, width) as one of latent squares (h/8, w/8): True where any pixel of the square is.

    `mask` is what `checks.mask` takes; raises BadInput where a side is no multiple of `factor`.
    """
    mask = checks.mask(mask)
    if any(side % factor for side in mask.shape):
        raise BadInput(f"The sides of the mask, {tuple(mask.shape)}, must be multiples of {factor} pixels.")
    rows, columns = (side // factor for side in mask.shape)
    return mask.view(rows, factor, columns, factor).any(dim=3).any(dim=1)


def _refuse(options: Mapping, *settled: str) -> None:
    """Raise BadInput if `options` hold one that is `settled` already."""
    for name in settled:
        if options.get(name) is not None:
            raise BadInput(f"The option {name} is settled here by the picture (its latents, its size); leave it out.")


def _begin(sd, prompt, picture, steps: int, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture's latents, one for each prompt, and as much noise: (batch, 4, h/8, w/8) each."""
    batch, channels = len(resolve_settings(sd, prompt, num_inference_steps=steps).prompts), sd.unet.config.in_channels
    is_latents = len(getattr(picture, "shape", ())) == 4 and picture.shape[1] == channels
    clean = as_latents(picture) if is_latents else encode(sd.vae, picture)
    if len(clean) not in (1, batch):
        raise BadInput(f"There are {len(clean)} pictures for {batch} prompts; give one, or one for each prompt.")
    clean = clean.to(sd.device, torch.float32).expand(batch, -1, -1, -1)
    height, width = (side * sd.vae_factor for side in clean.shape[-2:])
    noise = initial_noise(batch, height, width, generator=generator, channels=channels, factor=sd.vae_factor)
    return clean, noise.to(sd.device)


def _own_size(sd: StableDiffusion, clean: torch.Tensor) -> dict[str, int]:
    """The height and width, in pixels, that belong to latents."""
    return {name: side * sd.vae_factor for name, side in zip(("height", "width"), clean.shape[-2:], strict=True)}


def lerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """The point on the straight line from `one` (share 0) to `other` (share 1); raises BadInput for unequal shapes."""
    _check_alike(one, other)
    return one + share * (other - one)


def slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """The point on the arc from `one` (share 0) to `other` (share 1), each of the batch by itself (Shoemake 1985).

    With the angle a between the two: (sin((1 - share) a) * one + sin(share a) * other) / sin a. Of two arrows of one
    length all points have that length. Where the two point the same way, it is `lerp`. Raises BadInput for unequal
    shapes, and where the two point opposite ways: between those there is no arc but many.
    """
    _check_alike(one, other)
    first, second = one.flatten(1), other.flatten(1)
    cosine = torch.cosine_similarity(first, second, dim=1).clamp(-1, 1)
    angle = cosine.acos().view(-1, *[1] * (one.dim() - 1))  # (batch, 1, 1, 1)
    if (angle > math.pi - 1e-3).any():
        raise BadInput("Between opposite tensors there is no one arc; turn one of them a little.")
    arc = ((1 - share) * angle).sin() * one + (share * angle).sin() * other
    return torch.where(angle > 1e-3, arc / angle.sin().clamp(min=1e-6), lerp(one, other, share))


def _check_alike(one: torch.Tensor, other: torch.Tensor) -> None:
    """Raise BadInput unless both are tensors of one shape: others would be stretched over each other."""
    for each in (one, other):
        if not isinstance(each, torch.Tensor) or not each.is_floating_point():
            raise BadInput(f"Two tensors of floats are mixed here, not {checks.told(each)}.")
    if one.shape != other.shape:
        raise BadInput(f"Tensors of the shapes {tuple(one.shape)} and {tuple(other.shape)} cannot be mixed.")


def pull_colour(matrix: torch.Tensor, colour: Sequence[float], pull: float | Sequence[float]) -> Callable:
    """A loss for `Steering`: minus `pull` times how much of `colour` the preview of the latents shows.

    `matrix` (channels + 1, 3) is `latents.fit_preview`'s; the loss takes latents (batch, 4, h/8, w/8). `colour` says
    how much red, green and blue count: (-0.5, -0.5, 1) is "bluer, not brighter". A sum over the squares: each is pulled
    alike in pictures of any size. One pull, or one for each picture. Raises BadInput for another number of either.
    """
    weights, pulls = torch.as_tensor(colour, dtype=torch.float32), torch.as_tensor(pull, dtype=torch.float32)
    if weights.shape != (3,):
        raise BadInput(f"A colour is three numbers, for red, green and blue, not {checks.told(colour)}.")
    weights = weights.view(1, 3, 1, 1)

    def loss(original: torch.Tensor) -> torch.Tensor:
        shown = (preview(original, matrix.to(original)) * weights.to(original)).sum(dim=(1, 2, 3))  # (batch,)
        if pulls.numel() not in (1, len(shown)):
            raise BadInput(f"There are {pulls.numel()} pulls for {len(shown)} pictures; give one, or one for each.")
        return -(pulls.to(original) * shown).sum()

    return loss
