"""The figures of the UNet: the way of a map down and up again, and what lies where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib.patches import FancyArrowPatch

from .base import BLUE, GREEN, INK, ORANGE, by, given_axes, lying_bars, new_figure, plain
from .onepage import arrow, box

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_WIDE, _HIGH, _APART, _LEVEL = 12, 9, 17, 19  # a box, and how far boxes stand from each other


def plot_stages(shapes: Mapping[str, tuple], skips: Mapping[tuple[int, int], int], *, ax=None):
    """Draw each stage as a box with the shape that it gives, in the data's order, lower where it gets a smaller map.

    `shapes` are those that the stages give, stage -> (channels, rows, columns); `skips` count the maps that are kept
    for the way up, (rows, columns) -> number. Broken arrows are the skips: they meet a stage that gets their size.
    """
    ax = given_axes(ax, (10, 3.9))
    given = [shape[-2:] for shape in shapes.values()]
    got = [given[0], *given[:-1]]
    levels, middle = sorted({*got}, reverse=True), list(shapes).index("mid_block")
    places = {name: (k * _APART, -levels.index(got[k]) * _LEVEL) for k, name in enumerate(shapes)}
    for k, (name, (left, bottom)) in enumerate(places.items()):
        colour = BLUE if k < middle else GREEN if k == middle else ORANGE
        label = f"{shapes[name][0]}\n{by(shapes[name][1:])}"
        box(ax, (left, bottom, _WIDE, _HIGH), label, colour, on=True)
        ax.text(left + _WIDE / 2, bottom + _HIGH + 0.8, _short(name), ha="center", va="bottom", fontsize=8, color=INK)
    for (left, bottom), (right, other) in pairwise(places.values()):
        arrow(ax, (left + _WIDE, bottom + _HIGH / 2), (right, other + _HIGH / 2), "")
    for level, number in skips.items():
        here = [k for k, size in enumerate(got) if size == level]
        start, end = max(k for k in here if k < middle), min(k for k in here if k > middle)
        low, bottom = middle in here, -levels.index(level) * _LEVEL
        _skip(ax, start * _APART, end * _APART, bottom, low, f"{number} skips" if number > 1 else "1 skip")
    ax.set(xlim=(-2, len(places) * _APART - 4), ylim=(-(len(levels) - 1) * _LEVEL - 12, _HIGH + 5))
    ax.set_axis_off()
    return plain(ax)


def _skip(ax, left: float, right: float, bottom: float, low: bool, words: str) -> None:
    """A broken arrow from one box to another of the same level; below the boxes on the lowest level."""
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": INK, "linestyle": (0, (3, 2)), "linewidth": 1.1}
    if low:
        ends, bend = ((left + _WIDE / 2, bottom - 0.6), (right + _WIDE / 2, bottom - 0.6)), "arc3,rad=0.25"
        place = ((left + right + _WIDE) / 2, bottom - (right - left) / 8 - 2)  # an arc of rad 1/4 is an eighth deep
    else:
        ends, bend = ((left + _WIDE, bottom + _HIGH * 0.75), (right, bottom + _HIGH * 0.75)), "arc3"
        place = ((left + right + _WIDE) / 2, bottom + _HIGH * 0.75 + 0.6)
    ax.add_patch(FancyArrowPatch(*ends, connectionstyle=bend, shrinkA=1, shrinkB=1, **style))
    ax.text(*place, words, ha="center", va="top" if low else "bottom", fontsize=8, color=INK)


def figure_stages(shapes: Mapping[str, tuple], skips: Mapping[tuple[int, int], int]) -> Figure:
    """The way of the maps through the stages, as `plot_stages` draws it."""
    fig = new_figure(figsize=(10, 1.1 + 0.95 * len({shape[-2:] for shape in shapes.values()})))
    plot_stages(shapes, skips, ax=fig.subplots())
    told = "; ".join(f"{name} gives {by(shape)}" for name, shape in shapes.items())
    kept = "; ".join(f"{number} of {by(side)}" for side, number in skips.items())
    kept = f" Broken arrows, maps kept for the way up: {kept}." if kept else ""
    fig.words = f"Boxes in the shape of a U, one a stage: {told}.{kept}"
    return fig


def figure_shares(models: Mapping[str, Sequence[Mapping[str, float]]], kinds: Sequence[str]) -> Figure:
    """Lying bars of percent, one panel for each model and kind: model -> one (stage -> amount) for each of `kinds`."""
    most = max(len(amounts[0]) for amounts in models.values())
    fig = new_figure(figsize=(10, 0.9 + 0.24 * most))
    colours = dict(zip(kinds, (BLUE, ORANGE, GREEN), strict=False))
    panels = [(name, kind, each) for name, amounts in models.items() for kind, each in zip(kinds, amounts, strict=True)]
    told = []
    for ax, (name, kind, amounts) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shares = {_short(stage): 100 * amount / sum(amounts.values()) for stage, amount in amounts.items()}
        lying_bars(ax, shares, colours[kind], lambda share: f"{share:.0f}", size=8)
        ax.set_title(f"{name}: {kind}", fontsize=9)
        ax.set_xlabel("percent", fontsize=8)
        ax.margins(x=0.16)
        ax.tick_params(labelsize=8)
        most = max(shares, key=shares.get)
        told.append(f"{name}, {kind}: most in {most}, {shares[most]:.0f} percent")
    fig.words = f"Bars, the share of each stage in percent. {'; '.join(told)}."
    return fig


def _short(stage: str) -> str:
    """A stage's name as it is drawn: "down 0" for down_blocks.0."""
    return stage.replace("_blocks.", " ").replace("_block", "dle").replace("_embedding", "").replace("_", " ")
