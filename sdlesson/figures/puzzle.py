"""The drawing of a puzzle: what goes in, what is wanted, and what the learner's function gives."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .base import DIVERGING, INK, PALE, new_figure

_CELL, _WIDEST = 0.42, 10.0  # inches: one square with its number, and a whole figure
_FEW = 180  # squares that still get their numbers


def figure_puzzle(given: Mapping[str, object], wanted, yours=None, *, picture=False):
    """Panels of arrays side by side, rows one below the other: each of `given`, then `wanted`, then `yours`.

    Orange is above 0, violet below; single numbers stand in the title. `yours` None: a question mark. With `picture`
    an array (3, h, w) or (…, h, w, 3) is drawn in its colours, 0 … 1. A WordedFigure comes back.
    """
    arrays = {name: np.asarray(value, dtype=float) for name, value in given.items() if np.ndim(value)}
    single = ", ".join(f"{name} = {value}" for name, value in given.items() if not np.ndim(value))
    yours = None if np.size(yours) == 0 else yours
    panels = arrays | {"wanted": np.asarray(wanted, dtype=float), "yours": yours}
    sheets = {name: None if each is None else _sheet(each, picture) for name, each in panels.items()}
    sizes = [(1, 2) if sheet is None else sheet.shape[:2] for sheet in sheets.values()]
    fig = new_figure(photographs=False)
    if all(rows == 1 for rows, _ in sizes):
        fig.set_size_inches(min(_WIDEST, _CELL * max(columns for _, columns in sizes) + 1.5), 0.62 * len(sizes) + 0.25)
        axes = fig.subplots(len(sizes), 1, squeeze=False).ravel()
    else:
        columns = sum(columns for _, columns in sizes)
        cell = min(_CELL, (_WIDEST - 0.4 * len(sizes)) / columns)
        fig.set_size_inches(cell * columns + 0.4 * len(sizes), cell * max(rows for rows, _ in sizes) + 0.6)
        ratios = [columns for _, columns in sizes]
        axes = fig.subplots(1, len(sizes), squeeze=False, gridspec_kw={"width_ratios": ratios}).ravel()
    for ax, (name, sheet) in zip(axes, sheets.items(), strict=True):
        _draw(ax, name, sheet)
    if single:
        fig.suptitle(single, fontsize=9, color=INK)
    fig.words = _words(arrays, single, panels["wanted"], yours)
    return fig


def _sheet(values: np.ndarray, picture: bool) -> np.ndarray:
    """An array as one sheet (rows, columns), or (rows, columns, 3) in colours; blank lines part what has more sides."""
    if picture and values.ndim == 3 and values.shape[-1] == 3:
        return values.clip(0, 1)
    if picture and values.ndim == 4:
        return np.concatenate(
            [np.pad(each.clip(0, 1), ((0, 0), (0, 1), (0, 0)), constant_values=1) for each in values], 1
        )
    if values.ndim <= 2:
        return np.atleast_2d(values)
    parted = [_sheet(each, picture) for each in values]
    along = 0 if values.ndim > 3 else 1
    pad = ((0, 1), (0, 0)) if along == 0 else ((0, 0), (0, 1))
    blank = [np.pad(each, pad, constant_values=np.nan) for each in parted[:-1]]
    return np.concatenate([*blank, parted[-1]], axis=along)


def _draw(ax, name: str, sheet: np.ndarray | None) -> None:
    """One panel; its numbers stand in its squares where they are few. A blank square is a nan that parts two maps."""
    ax.set_title(name, fontsize=9)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_color(PALE)
    if sheet is None:
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.text(0.5, 0.5, "?", ha="center", va="center", fontsize=14, color=INK)
        return
    finite = np.abs(sheet[np.isfinite(sheet)])
    limit = finite.max(initial=0) or 1
    aspect = "equal" if sheet.shape[0] > 1 else "auto"
    ax.imshow(sheet, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest", aspect=aspect)
    if sheet.ndim == 3 or sheet.size > _FEW:
        return
    for (row, column), value in np.ndenumerate(sheet):
        if not math.isnan(value):
            ink = "white" if abs(value) > 0.6 * limit else INK
            ax.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=6.5, color=ink)


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
