"""The figures of symptoms: a chart of signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..symptoms import Chart, off, short, signs
from .base import DIVERGING, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Signs that differ between any two healthy pictures, too.
PICTURES_OWN = ("brightness", "contrast", "roughness")

GREY = "#57606a"


def figure_chart(patients: Mapping[str, Chart]) -> Figure:
    """The signs of all patients, one row each, the first one healthy: orange is above hers, violet below.

    The colour ends where a sign is 8 times, or an eighth of, the healthy one. The signs that differ from picture to
    picture, `PICTURES_OWN`, have no colour.
    """
    found = {name: signs(chart) for name, chart in patients.items()}
    healthy, *_ = found.values()
    names = list(healthy)
    changes = np.array([[off(name, each[name], healthy[name]) for name in names] for each in found.values()])
    from matplotlib import colormaps

    fig = new_figure(figsize=(10, 0.27 * len(found) + 1.2))
    ax = fig.subplots()
    own = [name in PICTURES_OWN for name in names]
    image = ax.imshow(
        np.where(own, np.nan, changes), cmap=colormaps[DIVERGING].resampled(25), vmin=-3, vmax=3, aspect="auto"
    )
    for row, each in enumerate(found.values()):
        for column, name in enumerate(names):
            ink = GREY if own[column] else "white" if abs(changes[row, column]) > 2 else INK
            ax.text(column, row, short(each[name]), ha="center", va="center", fontsize=8, color=ink)
    ax.set_yticks(range(len(found)), list(found), fontsize=8.5)
    ax.set_xticks(range(len(names)), names, rotation=35, ha="left", rotation_mode="anchor", fontsize=8.5)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.set_xlabel("without colour: " + ", ".join(PICTURES_OWN) + " differ from picture to picture", fontsize=8.5)
    ax.spines[:].set_visible(False)
    bar = fig.colorbar(image, ax=ax, pad=0.01, aspect=30)
    bar.set_ticks(range(-3, 4), labels=["⅛", "¼", "½", "1", "2", "4", "8"])
    bar.set_label("times the healthy one", fontsize=8.5)
    told = []
    for patient, row in zip(list(found)[1:], changes[1:], strict=True):
        kept = [(name, change) for name, change in zip(names, row, strict=True) if name not in PICTURES_OWN]
        far = [f"{name} {'up' if change > 0 else 'down'}" for name, change in kept if abs(change) > 1]
        told.append(f"{patient}: {', '.join(far) or 'none'}")
    fig.words = (
        f"A table of {len(names)} signs of {len(found)} patients; the first, {next(iter(found))}, is healthy. More "
        f"than twice as large as hers, or less than half, are: {'; '.join(told)}."
    )
    return fig
