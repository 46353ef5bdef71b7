"""The figures of training: batches, losses over sigma, and progress."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .base import figure_curves, figure_rows, log_axes, peak

if TYPE_CHECKING:
    from .worded import WordedFigure


def figure_batch(
    rows: Mapping[str, Sequence], titles: Sequence[str], alike: Sequence[str], *, inches: float = 0.95
) -> WordedFigure:
    """Rows as in `figures.figure_rows`; the rows of maps named in `alike` are drawn in one colour scale."""
    fig = figure_rows(rows, titles, inches=inches)
    limit = peak(*(each for name in alike for each in rows[name]))
    for name in alike:
        first = list(rows).index(name) * (len(titles) + 1)  # one more column, for the colour bars
        for ax in fig.axes[first : first + len(titles)]:
            ax.images[0].set_clim(-(limit or 1), limit or 1)
        fig.words = re.sub(rf"{re.escape(name)} \(maps up to [^)]*\)", f"{name} (maps up to {limit:.1f})", fig.words)
    return fig


def figure_over_sigma(panels: Mapping[str, Mapping[str, tuple]], ylabel: str, *, ylim=None) -> WordedFigure:
    """Panels of curves, title -> (name -> (sigmas, values)), over the noise level, which has a logarithmic axis."""
    fig = figure_curves(panels, "noise level σ (more noise to the right)", ylabel, ylim=ylim)
    for ax in fig.axes:
        log_axes(ax.xaxis, subs=(1, 2, 5))
    return fig


def figure_progress(runs: Mapping[str, Sequence[float]], *, window: int = 10, ylim=None) -> WordedFigure:
    """The loss over the steps of a few trainings, name -> losses, each point the mean of `window` of them.

    What is told in words is coarse: training makes the small differences between processors large.
    """
    curves, told = {}, []
    for name, losses in runs.items():
        parts = [losses[start : start + window] for start in range(0, len(losses), window)]
        means = [sum(part) / len(part) for part in parts]
        curves[name] = ([min(len(losses), window * (k + 1)) for k in range(len(parts))], means)
        side = "ends below half of it" if means[-1] < means[0] / 2 else "stays above half of it"
        told.append(f"{name}, which {'ends as NaN' if math.isnan(means[-1]) else side}")
    fig = figure_curves({"": curves}, "step", f"loss (mean of {window} steps)", ylim=ylim)
    if ylim is None:
        fig.axes[0].set_ylim(bottom=0)
    fig.words = f"The loss over the training steps. It begins at its mean over {window} steps: {'; '.join(told)}."
    return fig
