"""Figures of a sweep: a contact sheet of its pictures, and the mean CLIP score over two of its settings."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..loading.checks import rgb
from .base import new_figure, plain, plot_matrix

if TYPE_CHECKING:
    from PIL.Image import Image

    from .worded import WordedFigure

_SIDE = 128  # pixels of a picture on the sheet


def figure_contact_sheet(
    pictures: Mapping[tuple, Image], rows: Sequence, columns: Sequence, *, names: tuple[str, str], title: str = ""
) -> WordedFigure:
    """Pictures (row, column) -> PIL on one sheet; `names` are what rows and columns stand for. A gap stays white."""
    from PIL import Image

    sheet = Image.new("RGB", (_SIDE * len(columns), _SIDE * len(rows)), "white")
    for (row, column), picture in pictures.items():
        small = rgb(picture)
        small.thumbnail((_SIDE, _SIDE))
        sheet.paste(small, (_SIDE * columns.index(column), _SIDE * rows.index(row)))
    fig = new_figure(figsize=(1.1 * len(columns) + 1.5, 1.1 * len(rows) + 0.8), photographs=True)
    ax = fig.subplots()
    ax.imshow(sheet, interpolation="lanczos")
    ax.set_xticks([_SIDE * (place + 0.5) for place in range(len(columns))], [_short(each) for each in columns])
    ax.set_yticks([_SIDE * (place + 0.5) for place in range(len(rows))], [_short(each) for each in rows])
    ax.tick_params(length=0, labelsize=8)
    ax.xaxis.tick_top()
    ax.spines[:].set_visible(False)
    ax.set_xlabel(names[1], fontsize=9)
    ax.xaxis.set_label_position("top")
    ax.set_ylabel(names[0], fontsize=9)
    fig.suptitle(_wrapped(title, fig), fontsize=9)
    plain(ax)
    told = f"{len(pictures)} pictures. Rows, {names[0]}: {_listed(rows)}. Columns, {names[1]}: {_listed(columns)}."
    fig.words = f"{title}: {told}" if title else told
    return fig


def figure_scores(found: Sequence[Mapping], rows: str, columns: str) -> WordedFigure:
    """A heat map of the rows of `table.means`: each square has its mean score and, below, half its 95 % interval."""
    import numpy as np

    tops, sides = (list(dict.fromkeys(each[name] for each in found)) for name in (columns, rows))
    means, halves = np.full((2, len(sides), len(tops)), math.nan)
    for each in found:
        place = sides.index(each[rows]), tops.index(each[columns])
        means[place], halves[place] = each["mean"], each["high"] - each["mean"]
    fig = new_figure(figsize=(0.85 * len(tops) + 2.6, 0.6 * len(sides) + 1.6))
    ax = plot_matrix(
        means, [_short(each) for each in sides], [_short(each) for each in tops], decimals=3, ax=fig.subplots()
    )
    for text in list(ax.texts):
        half = halves[round(text.get_position()[1]), round(text.get_position()[0])]
        text.set_text(f"{text.get_text()}\n{'' if math.isnan(half) else f'±{half:.3f}'}".replace("nan\n", "–"))
    ax.set_xlabel(columns.replace("_", " "), fontsize=9)
    ax.set_ylabel(rows.replace("_", " "), fontsize=9)
    best = max(found, key=lambda each: each["mean"])
    count = {each["pictures"] for each in found}
    number = f"{min(count)} pictures" if len(count) == 1 else f"{min(count)} to {max(count)} pictures"
    ax.set_title(_wrapped(f"mean CLIP score of {number} a square, ± half of its 95 % interval", fig), fontsize=9)
    fig.words = (
        f"Mean CLIP scores of {number} for each {rows} and {columns}, from {min(e['mean'] for e in found):.3f} to "
        f"{best['mean']:.3f}, which {rows} {best[rows]} with {columns} {best[columns]} has."
    ).replace("_", " ")
    return fig


def _short(value) -> str:
    """A setting as a tick's label."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 28 else f"{text[:27]}…"


def _wrapped(text: str, fig: WordedFigure) -> str:
    """The text in lines that fit the figure: at 9 points an inch holds some 13 letters."""
    return textwrap.fill(text, int(13 * fig.get_figwidth()))


def _listed(values: Sequence) -> str:
    return ", ".join(map(_short, values))
