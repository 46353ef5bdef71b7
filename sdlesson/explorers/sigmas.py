"""Sigma explorer: noise levels, and the weights of K-LMS."""

from __future__ import annotations

from functools import partial

import ipywidgets

from ..samplers import karras_sigmas
from ..sigmas import alphas_cumprod, betas, lms_coefficients, schedule, training_sigmas
from .base import WIDE, Explorer, Plot, in_a_row
from .slider import Slider


def explore_sigmas() -> Explorer:
    """Sigma explorer: steps, schedule and order, and at once the noise levels and the weights of K-LMS.

    The first plot shows the levels on a logarithmic scale (the last one, 0, has no place on it), the second one the
    weights of the past slopes in each step, as multiples of that step. Both go from the first step to the last.
    """
    trained = {name: training_sigmas(alphas_cumprod(betas(beta_schedule=name))) for name in ("scaled_linear", "linear")}
    schedules = {name: partial(schedule, all_sigmas=levels) for name, levels in trained.items()}
    schedules["Karras's levels (the lesson on samplers)"] = karras_sigmas
    way = {"xlabel": "way through the steps", "xlim": (-0.03, 1.03), "xticks": [0, 1], "xticklabels": ["first", "last"]}
    levels = Plot(**way, ylabel="noise level σ", ylim=(0.008, 250), yscale="log")
    ticks = [-50, -10, -2, 0, 2, 10, 50]
    scale = {"yscale": "symlog", "ylim": (-70, 70), "yticks": ticks, "yticklabels": ticks}
    shares = Plot(**way, ylabel="weight ÷ step\n(logarithmic beyond ±2)", **scale)

    def show(steps: int, levels_of: str, order: int) -> str:
        sigmas = schedules[levels_of](steps).tolist()
        at = [i / (steps - 1) for i in range(steps)]
        weights = [lms_coefficients(sigmas, i, order) / (sigmas[i + 1] - sigmas[i]) for i in range(steps)]
        curves = {}
        for back in range(min(order, steps)):
            name = f"slope {back} step{'s' * (back > 1)} ago" if back else "slope now"
            curves[name] = at[back:], [float(weights[i][back]) for i in range(back, steps)]
        fall = f"Noise levels of {steps} steps: from {sigmas[0]:.2f} to {sigmas[-2]:.3f}, then to 0"
        last = ", ".join(f"{share:+.2f}" for share in weights[-1])
        told = f"Weights of up to {len(curves)} slopes in each of {steps} steps; in the last one {last}"
        pair = [
            levels.tile({"σ": (at, sigmas[:-1])}, f"noise levels, {levels_of}", fall),
            shares.tile(curves, f"weights, order {order}", told),
        ]
        said = f"The last step goes from σ {sigmas[-2]:.4f} to 0. Its weights, newest slope first: {last}."
        return in_a_row(pair) + f"<p>{said}</p>"

    knobs = {
        "steps": Slider("steps", range(2, 61), 20),
        "levels_of": ipywidgets.Dropdown(options=list(schedules), description="schedule", style=WIDE),
        "order": Slider("order of K-LMS", range(1, 5), 4),
    }
    return Explorer("Sigma explorer: noise levels and the weights of K-LMS.", knobs, show)
