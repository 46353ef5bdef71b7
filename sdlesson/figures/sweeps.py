"""Figures of a sweep: a contact sheet of its pictures, and the mean CLIP score over two of its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..loading.checks import rgb
from .base import new_figure, plain, plot_matrix, wrapped

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
    tops = [wrapped(label, 1.1) for label in _labels(columns)]
    ax.set_xticks([_SIDE * (place + 0.5) for place in range(len(columns))], tops)
    ax.set_yticks([_SIDE * (place + 0.5) for place in range(len(rows))], _labels(rows))
    ax.tick_params(length=0, labelsize=8)
    ax.xaxis.tick_top()
    ax.spines[:].set_visible(False)
    ax.set_xlabel(names[1], fontsize=9)
    ax.xaxis.set_label_position("top")
    ax.set_ylabel(names[0], fontsize=9)
    fig.suptitle(wrapped(title, fig.get_figwidth()), fontsize=9)
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
    labels, inches = _labels(sides), 0.85 * len(tops) + 2.6
    room = max(0, max(map(len, labels)) - 12) / 15  # inches for long labels
    fig = new_figure(figsize=(inches + room, 0.6 * len(sides) + 1.6))
    ax = plot_matrix(means, labels, _labels(tops), decimals=3, ax=fig.subplots())
    for text in list(ax.texts):
        half = halves[round(text.get_position()[1]), round(text.get_position()[0])]
        text.set_text(f"{text.get_text()}\n{'' if math.isnan(half) else f'±{half:.3f}'}".replace("nan\n", "–"))
    ax.set_xlabel(columns.replace("_", " "), fontsize=9)
    ax.set_ylabel(rows.replace("_", " "), fontsize=9)
    best = max(found, key=lambda each: each["mean"])
    count = {each["pictures"] for each in found}
    number = f"{min(count)} pictures" if len(count) == 1 else f"{min(count)} to {max(count)} pictures"
    ax.set_title(wrapped(f"mean CLIP score of {number} a square, ± half of its 95 % interval", inches), fontsize=9)
    fig.words = (
        f"Mean CLIP scores of {number} for each {rows} and {columns}, from {min(e['mean'] for e in found):.3f} to "
        f"{best['mean']:.3f}, which {rows} {best[rows]} with {columns} {best[columns]} has."
    ).replace("_", " ")
    return fig


def _labels(values: Sequence) -> list[str]:
    """Settings as labels of ticks: long ones lose their middle, and get a number where they then look alike."""
    texts = map(_told, values)
    short = [text if len(text) <= 28 else f"{text[:11]}…{text[-16:]}" for text in texts]
    return [f"{place}: {each}" if short.count(each) > 1 else each for place, each in enumerate(short, start=1)]


def _told(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values: Sequence) -> str:
    return ", ".join(map(_told, values))
