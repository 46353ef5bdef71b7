"""The figures of guidance: the two guesses as arrows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..guidance import Step, guide
from ..loading.errors import BadInput
from .base import BLUE, INK, ORANGE, PALE, draw_arrow, given_axes, new_figure, open_axes, plane_of, plot_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_guesses(step: Step, scales: Sequence[float], *, ax=None):
    """Draw the first picture's two guesses at `step` and the guided ones, true to scale, in the plane that they span.

    The axis upwards is the guess without words; the dashed arc has the length of pure noise, the square root of how
    many numbers there are (a standard deviation of 1 in each). Raises BadInput for a step with one guess alone.
    """
    ax = given_axes(ax, (4, 4))
    uncond, text = (guess.double() for guess in _pair(step))
    place = plane_of(uncond, text)
    tips = {scale: place(guide(uncond, text, scale))[::-1] for scale in scales}  # (away, along): along points up
    radius = math.sqrt(uncond.numel())
    arc = [math.radians(each) for each in range(91)]
    ax.plot([radius * math.sin(a) for a in arc], [radius * math.cos(a) for a in arc], "--", color=PALE, zorder=0)
    ax.text(0.99 * radius, 0.03 * radius, "as long as\npure noise", ha="right", fontsize=8, color="#57606a")
    for scale, (x, y) in tips.items():
        colour = {0: INK, 1: BLUE}.get(scale, ORANGE)
        draw_arrow(ax, (x, y), colour)
        ax.annotate(f"{scale:g}", (x, y), xytext=(0, 5), textcoords="offset points", fontsize=10, color=colour)
    (left, right), (low, top) = ((min(ends), max(ends)) for ends in zip(*tips.values(), strict=True))
    corner = min(-0.05 * radius, 1.1 * left), min(0, 1.1 * low)
    ax.update_datalim([corner, (max(1.1 * right, 0.3 * radius), 1.12 * max(top, radius))])
    ax.margins(0)
    ax.set_aspect("equal", adjustable="datalim")  # true to scale, and as large as the frame
    ax.set_xlabel("away from the guess without words", fontsize=9)
    ax.set_ylabel("along the guess without words", fontsize=9)
    ax.tick_params(labelsize=8)
    return open_axes(ax)


def _pair(step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    """The first picture's two guesses, flat; raises BadInput where one of them was not computed."""
    if step.noise_uncond is None or step.noise_text is None:
        raise BadInput("At guidance 0 and 1 the UNet makes one guess a step: record the run at another guidance scale.")
    return step.noise_uncond[0].flatten(), step.noise_text[0].flatten()


def figure_guesses(steps: Sequence[Step], at: int, scales: Sequence[float]) -> Figure:
    """The guesses of steps[at] as arrows; and at every step how long the first picture's are, and how far apart.

    Raises BadInput for a run at guidance 0 or 1, which has one guess a step.
    """
    pairs = [_pair(step) for step in steps]
    fig = new_figure(figsize=(10, 4.2))
    axes = fig.subplot_mosaic([["plane", "length"], ["plane", "angle"]], width_ratios=[1.1, 1])
    plot_guesses(steps[at], scales, ax=axes["plane"])
    axes["plane"].set_title(
        f"step {at}: the guided guess at guidance {', '.join(f'{s:g}' for s in scales)}", fontsize=10
    )
    xs = range(len(pairs))
    angles = [math.degrees(math.acos(min(1.0, float(torch.cosine_similarity(u, t, 0))))) for u, t in pairs]
    lengths = {
        "prompt − empty": (xs, [float((t - u).norm()) for u, t in pairs]),
        "prompt": (xs, [float(t.norm()) for _, t in pairs]),
    }
    plot_curves(lengths, "", "length of the arrow", ax=axes["length"])
    plot_curves({"angle": (xs, angles)}, "step", "angle between the\ntwo guesses (°)", ax=axes["angle"])
    for name in ("length", "angle"):
        axes[name].set(xticks=range(0, len(pairs), 5), ylim=(0, None))
    apart, whole = (lengths[name][1] for name in ("prompt − empty", "prompt"))
    fig.words = (
        f"Left: arrows from one point, the two guesses of step {at} and the guided ones, {angles[at]:.1f} degrees "
        f"between the two. Right, over {len(pairs)} steps: the difference goes from {apart[0]:.1f} to {apart[-1]:.1f}, "
        f"the prompt's guess from {whole[0]:.1f} to {whole[-1]:.1f}; the angle from {angles[0]:.1f} to "
        f"{angles[-1]:.1f} degrees."
    )
    return fig
