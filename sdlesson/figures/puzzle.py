"""The drawing of a puzzle: what goes in, what is wanted, and what the learner's function gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .base import DIVERGING, INK, PALE, new_figure, peak

_CELL, _DOT, _WIDE = 0.4, 0.13, 9.6  # inches: a square with its number, one without, a whole figure
_FEW = 110  # squares that still get their numbers
_GAP, _TITLE = 0.3, 0.26  # inches


def figure_puzzle(given: Mapping[str, Any], wanted, yours=None, *, picture: bool = False):
    """Panels of arrays: each of `given`, then `wanted` and `yours`; more than two sides are parted by blank squares.

    Orange is above 0, violet below; single numbers stand on top. `yours` None: a question mark. With `picture` arrays
    (…, h, w, 3) are drawn in their colours, from 0 to 1. A WordedFigure comes back.
    """
    arrays = {name: np.asarray(value, dtype=float) for name, value in given.items() if np.ndim(value)}
    single = ", ".join(f"{name} = {value:g}" for name, value in given.items() if not np.ndim(value))
    wanted = np.asarray(wanted, dtype=float)
    yours = None if yours is None or np.size(yours) == 0 else np.asarray(yours, dtype=float)
    asked = wanted if yours is None else yours
    rows = _rows({name: _size(each, picture) for name, each in (arrays | {"wanted": wanted, "yours": asked}).items()})
    fig = new_figure(layout="none")
    top = _TITLE if single else 0.05
    high = top + sum(max(size[1] for size in row.values()) + _TITLE + 0.08 for row in rows)
    fig.set_size_inches(max(2.5, *(_width(row) for row in rows)) + 0.2, high)
    wide, y = fig.get_figwidth(), high - top
    panels = arrays | {"wanted": wanted, "yours": yours}
    largest = peak(*(each for each in panels.values() if each is not None))
    for row in rows:
        x, below = 0.1, y - _TITLE - max(size[1] for size in row.values())
        for name, (across, up) in row.items():
            ax = fig.add_axes((x / wide, (y - _TITLE - up) / high, across / wide, up / high))
            _draw(ax, name, panels[name], largest, picture)
            x += across + _GAP
        y = below - 0.08
    if single:
        fig.text(0.1 / wide, 1 - 0.2 / high, single, fontsize=9, color=INK)
    fig.words = _words(arrays, single, wanted, yours)
    return fig


def _rows(sizes: Mapping[str, tuple[float, float]]) -> list[dict[str, tuple[float, float]]]:
    """Panels in rows that are not too wide, name -> its inches; wanted and yours stay together where they can."""
    rows = [{}]
    *before, wanted, yours = sizes
    pairs = [(name,) for name in before]
    pairs += (
        [(wanted, yours)] if _width({name: sizes[name] for name in (wanted, yours)}) <= _WIDE else [(wanted,), (yours,)]
    )
    for names in pairs:
        more = {name: sizes[name] for name in names}
        if rows[-1] and _width(rows[-1] | more) > _WIDE:
            rows.append({})
        rows[-1] |= more
    return rows


def _width(row: Mapping[str, tuple[float, float]]) -> float:
    """The inches of a row of panels, gaps included."""
    return sum(size[0] + _GAP for size in row.values()) - _GAP


def _size(values: np.ndarray, picture: bool) -> tuple[float, float]:
    """The inches of one panel, across and up."""
    rows, columns = _sheet(values, picture)[0].shape[:2]
    cell = min(_CELL if values.size <= _FEW and not _coloured(values, picture) else _DOT, _WIDE / columns)
    cell = max(cell, 0.24) if _coloured(values, picture) else cell
    return max(cell * columns, 0.5), cell * rows


def _coloured(values: np.ndarray, picture: bool) -> bool:
    return picture and values.ndim >= 3 and values.shape[-1] == 3


def _sheet(values: np.ndarray, picture: bool) -> tuple[np.ndarray, np.ndarray]:
    """An array as one sheet (rows, columns), or (rows, columns, 3) in colours, and where it is blank."""
    if values.ndim <= 2 or (_coloured(values, picture) and values.ndim == 3):
        flat = np.atleast_2d(values)
        return flat, np.zeros(flat.shape[:2], dtype=bool)
    along = 0 if values.ndim - _coloured(values, picture) > 3 else 1
    sheets = []
    for each, blank in (_sheet(part, picture) for part in values):
        pad = [(0, 0), (0, 0)]
        pad[along] = (0, 1)
        sheets.append((np.pad(each, [*pad, (0, 0)][: each.ndim]), np.pad(blank, pad, constant_values=True)))
    sheet, blank = (np.concatenate(parts, axis=along) for parts in zip(*sheets, strict=True))
    kept = [slice(None)] * 2
    kept[along] = slice(-1)
    return sheet[tuple(kept)], blank[tuple(kept)]


def _draw(ax, name: str, values: np.ndarray | None, largest: float, picture: bool) -> None:
    """One panel; its numbers stand in its squares where they are few.

    Its colours reach to the `largest` number of all panels, or to its own where that is less than a tenth of it.
    """
    ax.set_title(name, fontsize=9, loc="left", pad=3)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color(PALE)
    if values is None:
        ax.text(0.5, 0.5, "?", ha="center", va="center", fontsize=14, color=INK, transform=ax.transAxes)
        return
    sheet, blank = _sheet(values, picture)
    if sheet.ndim == 3:
        sheet = np.where(blank[..., None], 1, sheet.clip(0, 1))
        ax.imshow(sheet, interpolation="nearest", aspect="auto")
        return
    limit = (largest if peak(sheet) >= largest / 10 else peak(sheet)) or 1
    shown = np.ma.masked_where(blank | np.isnan(sheet), sheet.clip(-limit, limit))
    ax.imshow(shown, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto")
    if values.size > _FEW:
        return
    for (row, column), value in np.ndenumerate(sheet):
        if not blank[row, column]:
            ink = "white" if abs(value) > 0.6 * limit else INK
            ax.text(column, row, _short(value), ha="center", va="center", fontsize=6.5, color=ink)


def _short(value: float) -> str:
    """A number of some five signs; what is 0 but for rounding is 0."""
    if abs(value) < 1e-6:
        return "0"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _words(arrays: Mapping, single: str, wanted: np.ndarray, yours) -> str:
    """What the drawing shows: the shapes, and at how many numbers the learner's result differs."""
    ins = [f"{name} of shape {value.shape}" for name, value in arrays.items()] + ([single] if single else [])
    if yours is None:
        told = "no answer yet"
    elif yours.shape != wanted.shape:
        told = f"of another shape, {yours.shape}"
    else:
        differ = int((~np.isclose(yours, wanted, rtol=1e-4, atol=1e-4, equal_nan=True)).sum())
        told = f"other at {differ} of {wanted.size} numbers" if differ else "the same"
    return f"A puzzle. In: {'; '.join(ins)}. Wanted: shape {wanted.shape}. Yours: {told}."
