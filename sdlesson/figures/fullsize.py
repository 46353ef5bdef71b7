"""The figures of the full size: memory, bars, and whole pictures as they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..engine.measured import Measured
from .base import BLUE, GREEN, INK, ORANGE, PALE, PINK, lying_bars, new_figure, open_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_COLOURS = {"libraries": PALE, "text_encoder": BLUE, "unet": ORANGE, "vae": GREEN, "working": PINK}


_NAMES = {"text_encoder": "text encoder", "unet": "UNet", "vae": "VAE"}


def figure_memory(columns: Mapping[str, Mapping[str, float]], *, title="") -> Figure:
    """Stacked columns of GiB: name -> (libraries, text_encoder, unet, vae, working) -> GiB."""
    fig = new_figure(figsize=(1.5 + 1.6 * len(columns), 3.6))
    ax = fig.subplots()
    names = list(columns)
    base = [0.0] * len(names)
    for part, colour in _COLOURS.items():
        heights = [columns[name].get(part, 0.0) for name in names]
        if any(heights):
            style = {"color": colour, "edgecolor": "white", "linewidth": 0.8}
            ax.bar(names, heights, bottom=base, width=0.55, label=_NAMES.get(part, part), **style)
        base = [low + high for low, high in zip(base, heights, strict=True)]
    for place, top in enumerate(base):
        ax.text(place, top, f"{top:.2f}", ha="center", va="bottom", fontsize=9, color=INK)
    ax.set_ylabel("GiB", fontsize=9)
    ax.set_ylim(0, 1.13 * max(base))
    ax.tick_params(labelsize=9)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), reverse=True)
    ax.set_title(title, fontsize=10)
    open_axes(ax).grid(visible=False, axis="x")
    told = "; ".join(f"{name}, {top:.2f} GiB" for name, top in zip(names, base, strict=True)).replace("\n", " ")
    fig.words = f"Stacked columns of memory{': ' + title if title else ''}. {told}."
    return fig


def figure_bars(bars: Mapping[str, float], xlabel: str, *, title="", digits=1, told=True, other="-") -> Figure:
    """Lying bars with their numbers; `told` puts the numbers into the description, too.

    Bars whose names end with `other` are blue, as what is compared with; the rest is orange.
    """
    fig = new_figure(figsize=(8, 0.8 + 0.38 * len(bars)))
    ax = fig.subplots()
    colours = [BLUE if name.endswith(other) else ORANGE for name in bars]
    lying_bars(ax, bars, colours, lambda value: f"{value:,.{digits}f}")
    ax.set_xlabel(xlabel, fontsize=9)
    ax.margins(x=0.12)
    ax.tick_params(labelsize=9)
    ax.set_title(title, fontsize=10)
    listed = (f"{name} {value:,.{digits}f}" if told else name for name, value in bars.items())
    fig.words = f"Bars of {xlabel}{', ' + title if title else ''}: {'; '.join(listed)}.".replace("\n", " ")
    return fig


def figure_measured(rows: Sequence[Measured]) -> Figure:
    """Three panels, one bar for each way of one machine: seconds a step, seconds in all, and peak memory."""
    fig = new_figure(figsize=(10, 1.1 + 0.42 * len(rows)))
    panels = {
        "seconds a guided step": [row.step_seconds for row in rows],
        f"seconds a picture of {rows[0].steps} steps": [row.seconds for row in rows],
        "peak memory of the process, GiB": [row.gib for row in rows],
    }
    names = [f"{row.way}, {row.dtype}" for row in rows]
    for ax, (label, values) in zip(fig.subplots(1, 3, sharey=True), panels.items(), strict=True):
        colours = [ORANGE if row.way.startswith("sdlesson") else BLUE for row in rows]
        bars = dict(zip(names, values, strict=True))
        lying_bars(ax, bars, colours, lambda value: f"{value:.{1 if value >= 10 else 2}f}")
        ax.set_xlabel(label, fontsize=9)
        ax.margins(x=0.22)
        ax.tick_params(labelsize=8.5)
    for place, row in enumerate(rows):
        fig.axes[0].plot([row.limit_seconds] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1.6)
    fig.axes[0].set_title("dark line: all FLOPs at the dtype's matrix rate", fontsize=8.5)
    fig.suptitle(f"measured on the stand-in of v1.4's shapes: {rows[0].device}", fontsize=10)
    told = "; ".join(
        f"{name}: {row.step_seconds:.1f} seconds a step, {row.seconds:.0f} in all, {row.gib:.2f} GiB, "
        f"at the matrix rate {row.limit_seconds:.1f} seconds a step"
        for name, row in zip(names, rows, strict=True)
    )
    fig.words = f"Bars for {rows[0].device}. {told}."
    return fig
