"""Noise levels: from betas to sigmas, the UNet's input scaling, and K-LMS from its definition. NumPy only.

Latents here are the picture plus noise of spread sigma, x = x0 + sigma * noise (Karras et al. 2022): in the words of
DDPM, sigma^2 = (1 - abar) / abar. Functions of latents take arrays and tensors alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .figures import ORANGE, new_figure, open_axes
from .models import BadInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def betas(
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: str = "scaled_linear",
    num_train_timesteps: int = 1000,
) -> np.ndarray:
    """The variance of the noise added at each training step, float64, (num_train_timesteps,).

    "linear" runs evenly from start to end (Ho et al. 2020, section 4); "scaled_linear", Stable Diffusion's, has square
    roots that run evenly. Raises BadInput for another schedule.
    """
    if beta_schedule == "linear":
        return np.linspace(beta_start, beta_end, num_train_timesteps)
    if beta_schedule == "scaled_linear":
        return np.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2
    raise BadInput(f"The schedule is 'linear' or 'scaled_linear', not {beta_schedule!r}.")


def alphas_cumprod(betas: np.ndarray) -> np.ndarray:
    """abar: how much of the picture's variance is left at each training step (Ho et al. 2020, equation 4)."""
    return np.cumprod(1 - np.asarray(betas, dtype=np.float64))


def training_sigmas(alphas_cumprod: np.ndarray) -> np.ndarray:
    """The noise level at each training step, rising: sigma = sqrt((1 - abar) / abar)."""
    abar = np.asarray(alphas_cumprod, dtype=np.float64)
    return np.sqrt((1 - abar) / abar)


def timesteps(num_inference_steps: int, num_train_timesteps: int = 1000) -> np.ndarray:
    """Evenly spread training steps, from the noisiest to 0: 999, 946.42, 893.84 ... for 20 steps; not whole numbers."""
    return np.linspace(0, num_train_timesteps - 1, num_inference_steps)[::-1]


def schedule(num_inference_steps: int = 20, all_sigmas: np.ndarray | None = None) -> np.ndarray:
    """The noise levels of K-LMS, falling and ending in 0: float64, (num_inference_steps + 1,).

    Read off the training's levels (default: Stable Diffusion's) at `timesteps`, with straight lines between them.
    """
    levels = training_sigmas(alphas_cumprod(betas())) if all_sigmas is None else np.asarray(all_sigmas)
    steps = timesteps(num_inference_steps, len(levels))
    return np.append(np.interp(steps, np.arange(len(levels)), levels), 0.0)


def scale_input(x, sigma: float):
    """What the UNet was trained to see: x / sqrt(sigma^2 + 1) has a spread of about 1 at every noise level."""
    return x / (sigma**2 + 1) ** 0.5


def pred_original(x, output, sigma: float, prediction_type: str = "epsilon"):
    """The noiseless latents that the UNet's `output` implies for the latents x = x0 + sigma * noise.

    "epsilon": the output is the noise; "sample": it is x0 itself; "v_prediction": it is
    (noise - sigma * x0) / sqrt(sigma^2 + 1) (Salimans and Ho 2022, appendix D). Raises BadInput for another type.
    """
    if prediction_type == "epsilon":
        return x - sigma * output
    if prediction_type == "sample":
        return output
    if prediction_type == "v_prediction":
        return x / (sigma**2 + 1) - output * (sigma / (sigma**2 + 1) ** 0.5)
    raise BadInput(f"A UNet predicts 'epsilon', 'sample' or 'v_prediction', not {prediction_type!r}.")


def derivative(x, denoised, sigma: float):
    """dx/dsigma = (x - x0) / sigma, which is the noise itself (Karras et al. 2022, equation 3)."""
    return (x - denoised) / sigma


def euler_step(x, slope, sigma: float, sigma_next: float):
    """One straight step down the slope dx/dsigma, from `sigma` to `sigma_next`."""
    return x + slope * (sigma_next - sigma)


def lms_coefficients(sigmas: Sequence[float] | np.ndarray, i: int, order: int = 4) -> np.ndarray:
    """The weights of the last slopes in step i of K-LMS, newest first: float64, (min(order, i + 1),).

    Weight k is the exact integral, from sigma_i to sigma_(i+1), of Lagrange's polynomial that is 1 at sigma_(i-k) and 0
    at the other past sigmas (Adams and Bashforth's method on uneven steps). Their sum is the step sigma_(i+1) -
    sigma_i. Raises BadInput where step i does not exist, the order is not positive, or two past sigmas are equal.
    """
    if not 0 <= i < len(sigmas) - 1 or order < 1:
        raise BadInput(f"{len(sigmas)} sigmas make {len(sigmas) - 1} steps; there is no step {i} of order {order}.")
    past = [float(sigma) for sigma in sigmas[max(0, i + 1 - order) : i + 1]][::-1]
    if len(set(past)) < len(past):
        raise BadInput(f"K-LMS needs different sigmas; before step {i} two are equal: {past}.")
    step = float(sigmas[i + 1]) - past[0]
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
    """One step of K-LMS: x + sum of coefficient * slope; slopes dx/dsigma newest first, as many as coefficients."""
    for slope, weight in zip(slopes, coefficients, strict=True):
        x = x + float(weight) * slope
    return x


def plot_sigmas(sigmas, *, ax=None):
    """Draw the noise level of each step, falling from the first to 0."""
    ax = new_figure(figsize=(7, 2.4)).subplots() if ax is None else ax
    levels = [float(sigma) for sigma in sigmas]
    ax.plot(range(len(levels)), levels, "o-", color=ORANGE, markersize=4)
    ax.set(xlabel="step", ylabel="noise level σ\n(its standard deviation)", xticks=range(0, len(levels), 5))
    ends = {"textcoords": "offset points", "fontsize": 9}
    ax.annotate(f"σ = {levels[0]:.4f}", (0, levels[0]), xytext=(8, -4), **ends)
    ax.annotate("σ = 0: no noise left", (len(levels) - 1, 0), xytext=(0, 14), ha="right", **ends)
    return open_axes(ax)


def figure_sigmas(scheduler) -> Figure:
    """The noise levels that `scheduler` has set, from the noise to the picture."""
    fig = new_figure(figsize=(7, 2.4))
    sigmas = scheduler.sigmas
    plot_sigmas(sigmas, ax=fig.subplots())
    fig.words = (
        f"A falling curve of {len(sigmas)} noise levels, steep at first: {sigmas[0]:.2f}, {sigmas[1]:.2f}, "
        f"{sigmas[2]:.2f} … {sigmas[-2]:.2f}, 0."
    )
    return fig
