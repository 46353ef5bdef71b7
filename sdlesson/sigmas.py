"""Noise levels: from betas to sigmas, the UNet's input scaling, K-LMS from its definition, and a scheduler's way down.

Latents here are the picture plus noise of spread sigma, x = x0 + sigma * noise (Karras et al. 2022): in the words of
DDPM, sigma^2 = (1 - abar) / abar. Functions of latents take arrays and tensors alike.
"""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from .loading import checks
from .loading.errors import BadInput, first_line

#: The least share of the picture's variance that counts: with none left (zero terminal SNR) sigma would be infinite.
_LEAST_ABAR = 2**-24


def betas(
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: str = "scaled_linear",
    num_train_timesteps: int = 1000,
) -> np.ndarray:
    """The variance of the noise added at each training step, float64, (num_train_timesteps,).

    "linear" runs evenly from start to end (Ho et al. 2020, section 4); "scaled_linear", Stable Diffusion's, has square
    roots that run evenly. Raises BadInput for another schedule, and for variances outside of 0 ... 1.
    """
    for name, beta in (("beta_start", beta_start), ("beta_end", beta_end)):
        if checks.number(beta, name, 0, 1) == 1:
            raise BadInput(f"The {name} must be below 1: at 1 nothing is left of the picture.")
    checks.whole(num_train_timesteps, "number of training steps", 1)
    if beta_schedule == "linear":
        return np.linspace(beta_start, beta_end, num_train_timesteps)
    if beta_schedule == "scaled_linear":
        return np.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2
    raise BadInput(f"The schedule is 'linear' or 'scaled_linear', not {beta_schedule!r}.")


def alphas_cumprod(betas: np.ndarray) -> np.ndarray:
    """abar: how much of the picture's variance is left at each training step (Ho et al. 2020, equation 4).

    Raises BadInput for betas outside of 0 ... 1: they are variances of which the picture keeps the rest.
    """
    return np.cumprod(1 - checks.numbers(betas, "betas", 0, 1))


def training_sigmas(alphas_cumprod: np.ndarray | torch.Tensor) -> np.ndarray:
    """The noise level at each training step, rising: sigma = sqrt((1 - abar) / abar); float64.

    Raises BadInput for numbers outside of 0 ... 1, and for 0, where nothing is left of the picture (zero terminal SNR).
    """
    abar = checks.numbers(alphas_cumprod, "shares of the picture (alphas_cumprod)", 0, 1)
    if (abar == 0).any():
        raise BadInput("Where alphas_cumprod is 0 nothing is left of the picture: there sigma has no end.")
    return np.sqrt((1 - abar) / abar)


def timesteps(num_inference_steps: int, num_train_timesteps: int = 1000) -> np.ndarray:
    """Evenly spread training steps, from the noisiest to 0: 999, 946.42, 893.84 ... for 20 steps; not whole numbers."""
    training = checks.whole(num_train_timesteps, "number of training steps", 1)
    return np.linspace(0, training - 1, checks.whole(num_inference_steps, "number of steps", 1))[::-1]


def schedule(num_inference_steps: int = 20, all_sigmas: np.ndarray | None = None) -> np.ndarray:
    """The noise levels of K-LMS, falling and ending in 0: float64, (num_inference_steps + 1,).

    Read off the training's levels (default: Stable Diffusion's) at `timesteps`, with straight lines between them.
    """
    levels = training_levels(all_sigmas)
    steps = timesteps(num_inference_steps, len(levels))
    return np.append(np.interp(steps, np.arange(len(levels)), levels), 0.0)


def training_levels(all_sigmas=None) -> np.ndarray:
    """The training's noise levels, float64; None is Stable Diffusion's. Raises BadInput for what is no row of them."""
    return training_sigmas(alphas_cumprod(betas())) if all_sigmas is None else checks.numbers(all_sigmas, "sigmas", 0)


def scale_input(x, sigma: float):
    """What the UNet was trained to see: x / sqrt(sigma^2 + 1) has a spread of about 1 at every noise level."""
    return x / (sigma**2 + 1) ** 0.5


def pred_original(x, output, sigma: float, prediction_type: str = "epsilon"):
    """The noiseless latents that the UNet's `output` implies for the latents x = x0 + sigma * noise.

    `x` and `output` have one shape, which is the result's. "epsilon": the output is the noise; "sample": it is x0;
    "v_prediction": it is (noise - sigma * x0) / sqrt(sigma^2 + 1) (Salimans and Ho 2022, appendix D). Raises BadInput
    for another type.
    """
    if prediction_type == "epsilon":
        return x - sigma * output
    if prediction_type == "sample":
        return output
    if prediction_type == "v_prediction":
        return x / (sigma**2 + 1) - output * (sigma / (sigma**2 + 1) ** 0.5)
    raise BadInput(f"A UNet predicts 'epsilon', 'sample' or 'v_prediction', not {prediction_type!r}.")


def derivative(x, denoised, sigma: float):
    """dx/dsigma = (x - x0) / sigma, which is the noise itself (Karras et al. 2022, equation 1 with 3)."""
    return (x - denoised) / sigma


def euler_step(x, slope, sigma: float, sigma_next: float):
    """One straight step down the slope dx/dsigma, from `sigma` to `sigma_next`."""
    return x + slope * (sigma_next - sigma)


def lms_coefficients(sigmas: Sequence[float] | np.ndarray, i: int, order: int = 4) -> np.ndarray:
    """The weights of the last slopes in step i of K-LMS, newest first: float64, (min(order, i + 1),).

    Weight k is the exact integral, from sigma_i to sigma_(i+1), of Lagrange's polynomial that is 1 at sigma_(i-k) and 0
    at the other past sigmas (Adams and Bashforth's method on uneven steps). Their sum is the step sigma_(i+1) -
    sigma_i. Raises BadInput where step i does not exist, the order is not positive, two past sigmas are equal, or one
    of the sigmas is not finite or below 0.
    """
    levels = checks.numbers(sigmas, "sigmas", 0)
    i, order = checks.whole(i, "step"), checks.whole(order, "order")
    if not 0 <= i < len(levels) - 1 or order < 1:
        raise BadInput(f"{len(levels)} sigmas make {len(levels) - 1} steps; there is no step {i} of order {order}.")
    past = [float(sigma) for sigma in levels[max(0, i + 1 - order) : i + 1]][::-1]
    if len(set(past)) < len(past):
        raise BadInput(f"K-LMS needs different sigmas; before step {i} two are equal: {past}.")
    step = float(levels[i + 1]) - past[0]
    # In units of the step, counted from sigma_i, the numbers stay near 1: each integral is one from 0 to 1.
    nodes = [(sigma - past[0]) / (step or 1.0) for sigma in past]
    return step * np.array([_basis_integral(nodes, k) for k in range(len(nodes))])


def _basis_integral(nodes: list[float], k: int) -> float:
    """The integral from 0 to 1 of the Lagrange polynomial that is 1 at node k and 0 at the others.

    The product of (x - node) is multiplied out, in ascending powers; then x^j gives 1 / (j + 1).
    """
    polynomial, height = [1.0], 1.0
    for node in nodes[:k] + nodes[k + 1 :]:
        polynomial = [low - node * high for low, high in zip([0.0, *polynomial], [*polynomial, 0.0], strict=True)]
        height *= nodes[k] - node
    return sum(weight / (power + 1) for power, weight in enumerate(polynomial)) / height


def lms_step(x, slopes: Sequence, coefficients: Sequence[float]):
    """One step of K-LMS: x + sum of coefficient * slope; slopes dx/dsigma newest first.

    Raises BadInput unless there are as many of these as of those.
    """
    if len(slopes) != len(coefficients):
        raise BadInput(f"There are {len(slopes)} slopes for {len(coefficients)} coefficients.")
    for slope, weight in zip(slopes, coefficients, strict=True):
        x = x + float(weight) * slope
    return x


class LMS:
    """K-LMS on its way: it keeps the last `order` slopes, and has the weights of every step, integrated once.

    With `land` it ends as it begins: the last step uses one slope, the last but one two.
    """

    def __init__(self, sigmas: Sequence[float], order: int = 4, *, land: bool = False):
        steps = len(sigmas) - 1
        orders = [min(order, steps - i) if land else order for i in range(steps)]
        self.weights = [lms_coefficients(sigmas, i, each) for i, each in enumerate(orders)]
        self.slopes = deque(maxlen=order)  # newest first

    def step(self, x, slope, i: int):
        """The x at level i + 1, from the x and its slope dx/dsigma at level i."""
        self.slopes.appendleft(slope)
        return lms_step(x, list(self.slopes)[: len(self.weights[i])], self.weights[i])


def sample_lms(denoiser, x, sigmas: Sequence[float], order: int = 4) -> list:
    """Walk down the noise levels by K-LMS, for any `denoiser(x, sigma)` -> x0; returns the x at every level.

    Order 1 is Euler's method. `x` is an array or a tensor at the level sigmas[0].
    """
    checks.noise_levels(sigmas)
    memory, way = LMS(sigmas, order), [x]
    for i in range(len(sigmas) - 1):
        way.append(memory.step(way[-1], derivative(way[-1], denoiser(way[-1], sigmas[i]), sigmas[i]), i))
    return way


def two_hills(x, sigma: float, centres=(-1.0, 1.0), std: float = 0.2):
    """The best guess of x0 for numbers drawn half around each of two centres: the mean of x0, given x.

    Each hill alone would say (centre * sigma^2 + x * std^2) / (sigma^2 + std^2); they count by how likely each
    makes x (Bayes' rule). `x` is an array of any shape.
    """
    x = np.asarray(x, dtype=float)[..., None]  # (..., 1): one column for each hill
    variance = sigma**2 + std**2
    guesses = (np.asarray(centres) * sigma**2 + x * std**2) / variance  # (..., hills)
    logs = -((x - np.asarray(centres)) ** 2) / (2 * variance)
    shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return (guesses * shares).sum(axis=-1) / shares.sum(axis=-1)


def way_down(scheduler, steps: int, start: int = 0, order: int = 4, generator=None, device="cpu"):
    """The way down by a copy of `scheduler`: exact K-LMS, or the scheduler's own `step`.

    The first `start` of the `steps` are left out. Raises BadInput where the scheduler cannot go that way.
    """
    from diffusers import LMSDiscreteScheduler

    scheduler = with_steps(scheduler, steps, device)
    if not torch.isfinite(torch.as_tensor(getattr(scheduler, "sigmas", 0.0))).all():
        raise BadInput(f"{type(scheduler).__name__} has a noise level that is not finite; it needs other betas.")
    if scheduler.timesteps[0] < scheduler.timesteps[-1] or "Inverse" in type(scheduler).__name__:
        raise BadInput(f"{type(scheduler).__name__} goes from the picture to the noise; denoise needs the way back.")
    if type(scheduler) is LMSDiscreteScheduler:
        return ExactLMS(scheduler, order, start)
    return OwnSteps(scheduler, generator, start)


def with_steps(scheduler, steps: int, device: torch.device | str | None = None):
    """A copy of a scheduler of diffusers that has set its timesteps; raises BadInput where it cannot take so many."""
    scheduler = copy.deepcopy(scheduler)
    try:
        scheduler.set_timesteps(steps, device=device)
    except (ValueError, ZeroDivisionError) as error:  # as LCM's for more steps than it was distilled for
        raise BadInput(f"{type(scheduler).__name__} cannot take {steps} steps: {first_line(error)}") from None
    return scheduler


class ExactLMS:
    """K-LMS whose coefficients are integrated exactly, once, before the first step."""

    def __init__(self, scheduler, order: int, start: int):
        self.scheduler, self.start = scheduler, start
        self.prediction_type = scheduler.config.prediction_type
        self.times, self.sigmas = scheduler.timesteps[start:].tolist(), scheduler.sigmas[start:].tolist()
        self.memory = LMS(self.sigmas, order)

    def timestep(self, i: int):
        """The timestep of call i, as the UNet wants it."""
        return self.scheduler.timesteps[self.start + i]

    def sigma(self, i: int) -> float:
        """The noise level before step i."""
        return self.sigmas[i]

    def scale_model_input(self, x, i: int):
        """x as the UNet wants to see it."""
        return scale_input(x, self.sigmas[i])

    def step(self, output, original, i: int, x):
        """The latents at the next noise level."""
        epsilon = self.prediction_type == "epsilon"  # then dx/dsigma is the output itself
        return self.memory.step(x, output if epsilon else derivative(x, original, self.sigmas[i]), i)


class OwnSteps:
    """Any other scheduler of diffusers, through its own methods."""

    def __init__(self, scheduler, generator, start: int):
        self.scheduler = scheduler
        self.start = start * getattr(scheduler, "order", 1)  # one of second order has two times a step
        self.prediction_type = scheduler.config.prediction_type
        self.times = scheduler.timesteps[self.start :].tolist()
        accepted = inspect.signature(scheduler.step).parameters
        # as StableDiffusionPipeline does: no fresh noise (eta) where the scheduler leaves the choice
        self.extra = {name: value for name, value in (("generator", generator), ("eta", 0.0)) if name in accepted}
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(self.start)

    def timestep(self, i: int):
        """The timestep of call i, as the UNet wants it."""
        return self.scheduler.timesteps[self.start + i]

    def sigma(self, i: int) -> float:
        """The noise level of call i: the scheduler's own, else sqrt((1 - abar) / abar) at the timestep."""
        levels = getattr(self.scheduler, "sigmas", None)
        if levels is None or len(levels) < self.start + len(self.times):
            abar = float(self.scheduler.alphas_cumprod[round(float(self.timestep(i)))])
            abar = max(abar, _LEAST_ABAR)
            return ((1 - abar) / abar) ** 0.5
        own = levels[self.start + i].flatten().cpu()
        if getattr(self.scheduler, "state_in_first_order", True):
            return float(own)
        # The second call of a scheduler of second order may be between two levels: it is the one that it divides by.
        between = [getattr(self.scheduler, name, None) for name in ("sigmas_interpol", "mid_point_sigma")]
        found = torch.cat([own, *(each.flatten().cpu() for each in between if each is not None)]).nan_to_num()
        return float(found[((found**2 + 1) ** -0.5 - self.scale_model_input(torch.ones(()), i)).abs().argmin()])

    def scale_model_input(self, x, i: int):
        """x as the UNet wants to see it."""
        return self.scheduler.scale_model_input(x, self.timestep(i))

    def step(self, output, original, i: int, x):
        """The latents at the next noise level; raises BadInput where the scheduler knows no such model."""
        name = type(self.scheduler).__name__
        try:
            found = self.scheduler.step(output, self.timestep(i), x, return_dict=False, **self.extra)[0]
        except (NotImplementedError, ValueError, IndexError) as error:  # no such prediction_type, or no such order
            raise BadInput(f"{name} cannot paint with this model: {first_line(error)}") from None
        if output.isfinite().all() and x.isfinite().all() and not found.isfinite().all():
            raise BadInput(f"{name} makes numbers that are not finite in call {i}: its betas are too strong.")
        return found
