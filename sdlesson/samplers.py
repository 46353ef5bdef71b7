"""Samplers: ways down the noise levels. Each is one generator over sigmas, for any `denoiser(x, sigma)` -> x0.

A sampler knows nothing of UNets, prompts or guidance: `Denoiser` does. The latents are x = x0 + sigma * noise, as in
`sigmas`; each sampler yields the x at every level that it comes to, the last of them (sigma 0) being the picture's.
Each raises BadInput before its first step for levels that are not finite, or 0 before the end (`checks.noise_levels`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

from .embeddings import text_embeddings
from .guidance import check_guidance, guesses, guide, needed
from .loading import checks
from .loading.errors import BadInput
from .models import StableDiffusion
from .sigmas import (
    LMS,
    derivative,
    euler_step,
    pred_original,
    scale_input,
    training_levels,
    training_sigmas,
)
from .tokens import warn_of_unknown_words

Way = Iterator[torch.Tensor]


def euler(denoiser: Callable, x, sigmas: Sequence[float]) -> Way:
    """Straight on, as if the slope stayed what it is until the next level. Order 1, one call a step."""
    checks.noise_levels(sigmas)
    for sigma, sigma_next in pairwise(sigmas):
        slope = derivative(x, denoiser(x, sigma), sigma)
        x = euler_step(x, slope, sigma, sigma_next)
        yield x


def heun(denoiser: Callable, x, sigmas: Sequence[float]) -> Way:
    """Try Euler's step, look at the slope there, take the mean of both. Order 2, two calls a step.

    Karras et al. 2022, algorithm 1. At sigma 0 there is no slope to look at: the last step is Euler's, one call.
    """
    checks.noise_levels(sigmas)
    for sigma, sigma_next in pairwise(sigmas):
        slope = derivative(x, denoiser(x, sigma), sigma)
        if sigma_next > 0:
            there = euler_step(x, slope, sigma, sigma_next)
            slope = (slope + derivative(there, denoiser(there, sigma_next), sigma_next)) / 2
        x = euler_step(x, slope, sigma, sigma_next)
        yield x


def lms(denoiser: Callable, x, sigmas: Sequence[float], order: int = 4, *, land: bool = False) -> Way:
    """K-LMS: a curve through the last `order` slopes, drawn on through the step. One call a step.

    It begins with the slopes that it has: one, then two ... With `land` it ends as it begins: the last step uses one
    slope, the last but one two, which leaves less noise after few steps.
    """
    checks.noise_levels(sigmas)
    memory = LMS(sigmas, checks.whole(order, "order", 1), land=land)
    for i, sigma in enumerate(sigmas[:-1]):
        x = memory.step(x, derivative(x, denoiser(x, sigma), sigma), i)
        yield x


def dpmpp_2m(denoiser: Callable, x, sigmas: Sequence[float]) -> Way:
    """DPM-Solver++(2M): a line through the last two guesses of x0, over log sigma. Order 2, one call a step.

    `x` of any shape, yielded at every level of sigmas[1:]. Lu et al. 2022, algorithm 2. Log sigma has no end at 0: the
    last step is of order 1, as the first one.
    """
    checks.noise_levels(sigmas)
    before = old = None  # the last level and its guess: forget them when a new run begins
    for sigma, sigma_next in pairwise(sigmas):
        guess = middle = denoiser(x, sigma)
        if old is not None and sigma_next > 0:
            ahead = math.log(sigma / sigma_next) / math.log(before / sigma) / 2  # half a step ahead, in last steps
            middle = guess + ahead * (guess - old)
        x = middle + (x - middle) * (sigma_next / sigma)
        before, old = sigma, guess
        yield x


def ddim(denoiser: Callable, x, sigmas: Sequence[float]) -> Way:
    """DDIM without fresh noise (Song et al. 2021, equation 12, sigma_t = 0), in its own variables. One call a step.

    Its latents z = sqrt(abar) * x0 + sqrt(1 - abar) * noise keep the strength 1. What is yielded is z / sqrt(abar), the
    x of the other samplers: it is Euler's.
    """
    checks.noise_levels(sigmas)
    abars = [1 / (sigma**2 + 1) for sigma in sigmas]
    z = abars[0] ** 0.5 * x
    for sigma, (abar, abar_next) in zip(sigmas, pairwise(abars), strict=False):
        x0 = denoiser(z / abar**0.5, sigma)
        noise = (z - abar**0.5 * x0) / (1 - abar) ** 0.5
        z = abar_next**0.5 * x0 + (1 - abar_next) ** 0.5 * noise
        yield z / abar_next**0.5


def euler_ancestral(denoiser: Callable, x, sigmas: Sequence[float], generator: torch.Generator | None = None) -> Way:
    """Euler's step to a level below the next one, and fresh noise up to it. One call a step.

    The two levels' squares add up: down^2 + fresh^2 = sigma_next^2. The noise is drawn on the CPU, from `generator`.
    Raises BadInput for noise levels that do not fall.
    """
    checks.noise_levels(sigmas)
    for sigma, sigma_next in pairwise(sigmas):
        if sigma_next > sigma:
            raise BadInput(
                f"The noise levels of this sampler must fall; {float(sigma):g} rises to {float(sigma_next):g}."
            )
        # the square root of next^2 * (sigma^2 - next^2) / sigma^2
        fresh = sigma_next * (1 - (sigma_next / sigma) ** 2) ** 0.5
        down = sigma_next**2 / sigma
        slope = derivative(x, denoiser(x, sigma), sigma)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        x = euler_step(x, slope, sigma, down) + fresh * noise
        yield x


def end(way: Way):
    """The last x of a sampler's way; raises BadInput where it has no step."""
    last = deque(way, maxlen=1)
    if not last:
        raise BadInput("This way has no step left: a sampler can be walked through once.")
    return last[0]


@dataclass(frozen=True)
class Denoiser:
    """The model's half of sampling, as one function (x, sigma) -> x0: scaling, timestep, UNet, guidance, prediction.

    It paints one prompt, for any number of latents (batch, 4, h/8, w/8) at once; `guidance_scale` None is the model's
    own. What it was made with stays: for another prompt or scale, make another. Raises BadInput where the prompt or the
    negative prompt is no text.
    """

    sd: StableDiffusion
    prompt: str
    negative_prompt: str = ""
    guidance_scale: float | None = None

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The picture's latents that the model expects behind x, like x, float32."""
        embeddings = self.embeddings.repeat_interleave(len(x), 0)  # (halves, 77, dim) -> (halves * batch, 77, dim)
        timestep = timestep_of(sigma, self._levels)
        with torch.no_grad():
            found = guesses(self.sd.fastest("unet"), scale_input(x, sigma), timestep, embeddings, self.scale)
        noise_pred = guide(*found, self.scale)
        return pred_original(x, noise_pred, sigma, self.sd.scheduler.config.prediction_type)

    @property
    def scale(self) -> float:
        """The guidance scale in use; raises BadInput for what is no finite number."""
        return check_guidance(self.sd.guidance_scale if self.guidance_scale is None else self.guidance_scale)

    @cached_property
    def embeddings(self) -> torch.Tensor:
        """The text embeddings that the scale needs: (2, 77, dim), or at scale 0 and 1 one half, (1, 77, dim).

        Raises BadInput where a prompt is no text.
        """
        for text in (self.prompt, self.negative_prompt):
            if not isinstance(text, str):
                raise BadInput(f"A Denoiser paints one prompt, a text, not {checks.told(text)}.")
        warn_of_unknown_words(self.sd, [self.prompt, self.negative_prompt])
        return text_embeddings(self.sd, self.prompt, self.negative_prompt)[needed(self.scale, 1)]

    @cached_property
    def _levels(self) -> np.ndarray:
        return training_sigmas(self.sd.scheduler.alphas_cumprod)


class Counted:
    """Any denoiser (x, sigma) -> x0 that counts in `calls` how often it was asked."""

    def __init__(self, denoiser: Callable):
        self.denoiser, self.calls = denoiser, 0

    def __call__(self, x, sigma: float):
        """What the denoiser gives."""
        self.calls += 1
        return self.denoiser(x, sigma)


def timestep_of(sigma: float, all_sigmas: np.ndarray | None = None) -> float:
    """The timestep whose noise level is `sigma`: `sigmas.schedule` read the other way round; not a whole number.

    `all_sigmas` are the training's levels (default: Stable Diffusion's). (diffusers interpolates log sigma here.)
    """
    levels = training_levels(all_sigmas)
    return float(np.interp(checks.number(sigma, "noise level", 0), levels, np.arange(len(levels))))


def karras_sigmas(
    num_inference_steps: int = 20, sigma_max: float = 14.6146, sigma_min: float = 0.0292, rho: float = 7.0
) -> np.ndarray:
    """Levels whose 1/rho-th powers run evenly, and 0: float64, (num_inference_steps + 1,).

    Karras et al. 2022, equation 5. The larger rho, the more of the levels are small ones. Raises BadInput where the
    levels do not fall, or a number is not finite.
    """
    checks.whole(num_inference_steps, "number of steps")
    first, last = np.float64(checks.number(sigma_max, "sigma_max")), np.float64(checks.number(sigma_min, "sigma_min"))
    if num_inference_steps < 2 or not 0 < sigma_min < sigma_max:
        raise BadInput(f"{num_inference_steps} levels do not fall from {sigma_max} to {sigma_min}.")
    if checks.number(rho, "exponent rho", 0) == 0:
        raise BadInput("The exponent rho must be above 0.")
    with np.errstate(all="ignore"):  # an exponent that is far too large or small is told below
        ramp = np.linspace(first ** (1 / rho), last ** (1 / rho), num_inference_steps)
        levels = np.append(ramp**rho, 0.0)
    if not (np.isfinite(levels).all() and (np.diff(levels) < 0).all()):
        raise BadInput(f"{num_inference_steps} levels do not fall with the exponent rho {rho:g}.")
    return levels


def one_hill(x, sigma: float, std=1.0):
    """The best guess of x0 where the data lie around 0 with the standard deviation `std` (one number, or one each)."""
    return x * std**2 / (std**2 + sigma**2)


def one_hill_way(x, sigma: float, after: float, std=1.0):
    """Where the true way from x at level `sigma` is at level `after`, in the world of `one_hill`: no steps needed.

    dx/dsigma = x * sigma / (std^2 + sigma^2) has the solution x ~ sqrt(std^2 + sigma^2).
    """
    return x * ((std**2 + after**2) / (std**2 + sigma**2)) ** 0.5


def error(x: torch.Tensor, truth: torch.Tensor) -> float:
    """How far x lies from the truth, as a share of the truth's length; raises BadInput where their shapes differ."""
    if x.shape != truth.shape:
        raise BadInput(f"What has the shape {tuple(x.shape)} cannot be measured by a truth of {tuple(truth.shape)}.")
    return float((x - truth).norm() / truth.norm())


def fitted_order(counts: Sequence[float], errors: Sequence[float]) -> float:
    """p in error ~ counts^-p: minus the slope of the straight line through the logarithms.

    Raises BadInput for fewer than two points, and for numbers that have no logarithm.
    """
    counts, errors = checks.numbers(counts, "counts", 0), checks.numbers(errors, "errors", 0)
    if len(counts) != len(errors) or len(set(counts)) < 2 or not (counts.all() and errors.all()):
        raise BadInput("An order is fitted to two or more counts, and an error above 0 for each.")
    return float(-np.polyfit(np.log(counts), np.log(errors), 1)[0])
