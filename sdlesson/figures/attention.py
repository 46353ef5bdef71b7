"""The figures of attention: heat over pictures, and tables of amounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..loading import checks
from .base import (
    ORANGE,
    SEQUENTIAL,
    array_of,
    colour_map,
    given_axes,
    new_figure,
    peak,
    plain,
    plot_matrix,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def plot_heat(heat: torch.Tensor, picture: Image, title: str = "", *, limit: float | None = None, mask=None, ax=None):
    """Lay a heat map (rows, columns) over a PIL picture in grey, one square each; returns the Axes.

    Yellow is hot, grey no number; colours end at `limit` (default: the largest value), at 1 where that is 0. The
    outline of `mask`, boolean and of the picture's size, is drawn in orange.
    """
    ax = given_axes(ax, (3, 3))
    picture = checks.rgb(picture)
    sides = (-0.5, picture.width - 0.5, picture.height - 0.5, -0.5)
    ax.imshow(picture.convert("L"), cmap="gray", vmin=0, vmax=255, extent=sides, interpolation="lanczos")
    limit = (peak(heat) if limit is None else limit) or 1.0
    squares = array_of(heat)
    ax.imshow(
        squares, cmap=colour_map(SEQUENTIAL), vmin=0, vmax=limit, extent=sides, alpha=0.62, interpolation="nearest"
    )
    if not np.isfinite(squares).all():
        ax.text(0.5, -0.03, "grey: no number", transform=ax.transAxes, ha="center", va="top", fontsize=8)
    if mask is not None:
        ax.contour(checks.mask(mask).double().numpy(), levels=[0.5], colors=[ORANGE], linewidths=1.6)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
    return plain(ax)


def figure_heat(
    maps: Mapping[str, torch.Tensor],
    pictures: Image | Sequence[Image],
    *,
    masks=None,
    columns: int = 6,
    inches: float = 1.65,
    kind: str = "Heat maps",
) -> Figure:
    """Maps of amounts, title -> (rows, columns), each over the picture or over its own, in colours of its own range.

    `masks`, one for each map, are outlined. `kind` names the maps in the figure's words.
    """
    pictures = list(pictures) if isinstance(pictures, Sequence) else [pictures] * len(maps)
    masks = [None] * len(maps) if masks is None else masks
    columns, rows = min(columns, len(maps)), -(-len(maps) // columns)
    high = inches * pictures[0].height / pictures[0].width + 0.5
    fig = new_figure(figsize=(columns * inches + 0.8, rows * high), photographs=True)
    fig.get_layout_engine().set(h_pad=0.09)  # the titles have two lines
    axes = fig.subplots(rows, columns, squeeze=False)
    told = []
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, heat), picture, mask in zip(axes.flat, maps.items(), pictures, masks, strict=False):
        most = f"{float(f'{peak(heat):.2g}'):g}"  # two digits: the third differs between processors
        plot_heat(heat, picture, f"{title}\nup to {most}", mask=mask, ax=ax)
        told.append(f"{title}, up to {most}, {_where(heat)}")
    bar = fig.colorbar(axes[0, 0].images[1], ax=axes, shrink=0.8, pad=0.01, aspect=15 * rows)
    bar.set_ticks([0, bar.vmax], labels=["0", "the panel's\nlargest"])
    bar.solids.set_alpha(1)
    bar.ax.tick_params(labelsize=8)
    outlined = " Outlined: where it was drawn." if any(mask is not None for mask in masks) else ""
    fig.words = f"{kind} over the picture, with the largest value and its place: {'; '.join(told)}.{outlined}"
    fig.words = fig.words.replace("\n", " ")
    return fig


def _where(heat: torch.Tensor) -> str:
    """In which ninth of a map its hottest square lies, in words."""
    row, column = divmod(int(np.nan_to_num(array_of(heat), posinf=0).argmax()), heat.shape[1])
    high = ("above", "in the middle", "below")[3 * row // heat.shape[0]]
    across = ("on the left", "in the centre", "on the right")[3 * column // heat.shape[1]]
    return "in the middle" if (high, across) == ("in the middle", "in the centre") else f"{high} {across}"


def figure_table(
    values: torch.Tensor, rows: Sequence[str], columns: Sequence[str], title: str = "", *, decimals=2, limits=(0, None)
) -> Figure:
    """A table of amounts, (rows, columns), as coloured squares with their numbers."""
    fig = new_figure(figsize=(min(10, 1.7 + 0.62 * len(columns)), 0.9 + 0.34 * len(rows)))
    ax = plot_matrix(values, rows, columns, decimals=decimals, limits=limits, ax=fig.subplots())
    ax.set_title(title, fontsize=10)
    fig.words = f"{title or 'A table'}. Columns: {', '.join(columns)}. ".replace("\n", " ")
    fig.words += "; ".join(map(_row_in_words, rows, values.tolist(), [columns] * len(rows))) + "."
    return fig


def _row_in_words(name: str, row: Sequence[float], columns: Sequence[str]) -> str:
    """A row of a table: all its numbers, to one digit, or (where they are many) the column of the largest."""
    if len(row) <= 6:
        return f"{name}: {', '.join(f'{value:.1f}' for value in row)}"
    most = max(range(len(row)), key=row.__getitem__)
    return f"{name}: most in {columns[most]} ({row[most]:.1f})"
