"""Step explorer: a recorded run, step by step."""

from __future__ import annotations

from functools import cache

import ipywidgets

from ..decoding import paint_latents
from ..guidance import Trace
from ..loading import checks
from ..loading.errors import BadInput
from ..models import StableDiffusion
from .base import NARROW, WIDE, Explorer, Plot, in_a_row, map_picture, tile
from .slider import Slider


def explore_steps(sd: StableDiffusion, trace: Trace) -> Explorer:
    """Step explorer: slide or play through a recorded run and see what the loop holds, hears and expects at each step.

    Shown are one channel of the noisy latents, of the predicted noise and of the predicted original, the predicted
    original decoded, and the step's sigma on its curve.
    """
    expected, steps = expected_pictures(sd, trace), trace.steps
    sigmas = [step.sigma for step in steps]
    curve = Plot((2.9, 2.2), xlabel="step", ylabel="σ", xlim=(-0.5, len(steps) - 0.5), ylim=(0, 1.08 * max(sigmas)))

    def show(step: int, channel: int) -> str:
        now = steps[step]
        parts = {
            "noisy latents": now.noisy,
            "predicted noise": now.noise_pred,
            "predicted original": now.pred_original,
        }
        tiles = []
        for name, values in parts.items():
            values = values[0, channel]
            limit = float(values.abs().max())
            words = f"{name}, channel {channel}: {values.shape[0]} by {values.shape[1]} numbers up to {limit:.2f}"
            tiles.append(tile(map_picture(values, limit), f"{name}, ±{limit:.2f}", words, squares=True))
        tiles.append(tile(expected(step), "predicted, decoded", f"What the UNet expects at step {step}, decoded"))
        words = f"The curve of sigma over the steps; step {step} is marked, at {now.sigma:.2f}"
        mark = curve.tile({"σ": (range(len(steps)), sigmas)}, f"σ = {now.sigma:.2f}", words, mark=(step, now.sigma))
        heading = f"step {step}, of 0 to {len(steps) - 1}: timestep {now.timestep:.2f}, σ {now.sigma:.2f}"
        return f"<p><b>{heading}</b></p>" + in_a_row([*tiles, mark])

    slider = Slider("step", range(len(steps)), plays=True)
    channels = [(str(each), each) for each in range(steps[0].latents.shape[1])]
    channel = ipywidgets.Dropdown(options=channels, value=0, description="channel", style=WIDE, layout=NARROW)
    words = f"Step explorer: {len(steps)} recorded steps of “{trace.settings['prompts'][0]}”."
    return Explorer(words, {"step": slider, "channel": channel}, show)


def expected_pictures(sd: StableDiffusion, trace: Trace):
    """step -> its first predicted original, decoded: small ones at once, others when they are first asked for.

    Raises BadInput for what is no recorded run, or one without steps.
    """
    if not checks.part(trace, "a Trace, as `record` or `read_trace` give it", "steps").steps:
        raise BadInput("This run has no steps to explore: it started behind its last one.")

    @cache
    def expected(step: int):
        return paint_latents(sd, trace.steps[step].pred_original[:1])[0]

    if trace.steps[0].latents[0, 0].numel() <= 32 * 32:
        for step in range(len(trace.steps)):
            expected(step)
    return expected
