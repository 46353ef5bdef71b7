"""The figures of samplers: errors against calls, and where noise levels lie."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..samplers import fitted_order
from .base import BLUE, GREEN, INK, ORANGE, PINK, about, given_axes, log_axes, new_figure, open_axes, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: One colour and one mark for each sampler, the same in every figure; other names take what is left of them.
STYLES = {
    "Euler": (ORANGE, "o"),
    "Heun": (BLUE, "s"),
    "LMS 2": (GREEN, "^"),
    "LMS 4": (PINK, "D"),
    "DPM++ 2M": (INK, "v"),
}


def plot_errors(
    errors: Mapping[str, Mapping[int, float]], xlabel: str, *, of="true end", fit_from: int | None = None, ax=None
):
    """Draw errors against counts on logarithmic axes, {name: {count: error}}; returns the Axes.

    A sampler keeps its colour under other levels ("LMS 4, Karras"); what has "default" in its name is dashed. `of` says
    whose length the errors are a share of. With `fit_from` the legend tells each curve's order, from that count on.
    """
    ax = given_axes(ax, (6, 3.4))
    known = {name: STYLES.get(name.partition(",")[0]) for name in errors}
    left = itertools.cycle([style for style in STYLES.values() if style not in known.values()] or STYLES.values())
    for name, curve in errors.items():
        colour, mark = known[name] or next(left)
        label = name if fit_from is None else f"{name}: order {_order(curve, fit_from):.1f}"
        line = f"{mark}--" if "default" in name else f"{mark}-"
        ax.plot(list(curve), list(curve.values()), line, color=colour, markersize=4, linewidth=1.4, label=label)
    counts = sorted({count for curve in errors.values() for count in curve})
    shown = [count for count in (5, 10, 20, 40, 80, 160, 320, 640, 1280) if counts[0] <= count <= counts[-1]]
    ax.set(yscale="log", xlabel=xlabel, ylabel=f"error\n(share of the {of}'s length)")
    log_axes(ax.xaxis, minor=False)
    ax.set_xticks(shown or counts, [str(count) for count in shown or counts])
    ax.legend(frameon=False, fontsize=8)
    return open_axes(ax)


def figure_errors(
    panels: Mapping[str, tuple[str, Mapping]], *, of: str = "true end", fit_from: int | None = None
) -> Figure:
    """Panels of `plot_errors` side by side on one scale upwards: {title: (xlabel, {name: {count: error}})}."""
    fig = new_figure(figsize=(10 if len(panels) > 1 else 6, 3.6))
    axes, told = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0], []
    for ax, (title, (xlabel, errors)) in zip(axes, panels.items(), strict=True):
        plot_errors(errors, xlabel, of=of, fit_from=fit_from, ax=ax)
        ax.set_title(title, fontsize=10)
        if ax is not axes[0]:
            ax.set_ylabel("")
        ends = {name: (min(curve), max(curve)) for name, curve in errors.items()}
        spans = [
            f"{name}, {about(errors[name][few])} at {few} to {about(errors[name][many])} at {many}"
            + ("" if fit_from is None else f", order {_order(errors[name], fit_from):.1f}")
            for name, (few, many) in ends.items()
        ]
        told.append(f"{title} (errors against {xlabel}): {'; '.join(spans)}")
    if min(each for _, errors in panels.values() for curve in errors.values() for each in curve.values()) > 0.005:
        log_axes(axes[0].yaxis, subs=(1, 2, 5), minor=False)
    fig.words = f"Curves on logarithmic axes. {'. '.join(told)}.".replace("\n", " ")
    return fig


def _order(curve: Mapping[int, float], fit_from: int) -> float:
    """The measured order of one curve from the count `fit_from` on."""
    far = {count: each for count, each in curve.items() if count >= fit_from}
    return fitted_order(list(far), list(far.values()))


def figure_levels(schedules: Mapping[str, Sequence[float]]) -> Figure:
    """Where the noise levels of several schedules lie, a row of dots each, on a logarithmic axis; 0 has no place."""
    fig = new_figure(figsize=(10, 0.8 + 0.55 * len(schedules)))
    ax, told = open_axes(fig.subplots()), []
    for row, ((name, sigmas), (colour, _)) in enumerate(zip(schedules.items(), styles(), strict=False)):
        levels = [float(sigma) for sigma in sigmas if sigma > 0]
        ax.plot(levels, [-row] * len(levels), "o", color=colour, markersize=7)
        told.append(f"{name}: {sum(level < 1 for level in levels)} of {len(levels)} below 1")
    ax.set(xlabel="noise level σ (σ = 0 has no place on this axis)", ylim=(0.5 - len(schedules), 0.5))
    ax.set_yticks([-row for row in range(len(schedules))], list(schedules))
    log_axes(ax.xaxis)
    ax.invert_xaxis()
    fig.words = f"Rows of dots on a logarithmic axis of sigma, falling to the right. {'; '.join(told)}."
    return fig
