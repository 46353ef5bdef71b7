"""What all figures of the lessons share: a figure that also says in words what it shows, and one colour per meaning."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from .worded import WordedFigure

#: One meaning, one colour map (Matplotlib's names; both are readable for the colour-blind).
DIVERGING = "PuOr_r"  # latents, noise, embeddings: numbers on both sides of 0
SEQUENTIAL = "viridis"  # amounts: attention, sigma

#: The lessons' few colours, told apart by the colour-blind too (Okabe and Ito, 2008).
INK, PALE, BLUE, ORANGE, GREEN, PINK = "#24292f", "#d0d7de", "#0072b2", "#d55e00", "#009e73", "#cc79a7"


def new_figure(*args, photographs: bool = False, **kwargs) -> WordedFigure:
    """A new WordedFigure: it belongs to no window, lays itself out, and has room for `words`, its alt text.

    Matplotlib is imported here, when the first figure is drawn: painting a picture needs none.
    """
    from .worded import WordedFigure

    return WordedFigure(*args, photographs=photographs, **kwargs)


def plot_picture(picture, title="", *, ax=None):
    """Draw one PIL picture without axes, its title above; returns the Axes."""
    ax = _axes(ax)
    ax.imshow(picture, interpolation="lanczos")
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
    return ax


def plot_map(values: torch.Tensor, title="", *, limit=None, ax=None):
    """Draw a map of numbers around 0, shape (height, width), one square each; returns the Axes.

    Orange is above 0, violet below, white is 0; colours end at ±`limit` (default: the largest absolute value).
    """
    ax = _axes(ax)
    values = values.detach().float().cpu().numpy()
    limit = float(abs(values).max()) if limit is None else limit
    ax.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set_title(title, fontsize=10)
    ax.set(xticks=[], yticks=[])
    return ax


def plot_matrix(values, rows, columns, *, limits=(None, None), decimals=2, ax=None):
    """Draw a table of amounts, shape (len(rows), len(columns)), each square with its number in it; returns the Axes."""
    ax = _axes(ax)
    values = values.detach().float().cpu().numpy() if hasattr(values, "detach") else values
    image = ax.imshow(values, cmap=SEQUENTIAL, vmin=limits[0], vmax=limits[1], aspect="auto")
    for row, column in itertools.product(range(len(rows)), range(len(columns))):
        value = values[row, column]
        ink = "white" if image.norm(value) < 0.6 else INK
        ax.text(column, row, f"{value:.{decimals}f}", ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(len(rows)), rows, fontsize=9)
    return ax


def open_axes(ax):
    """Take the upper and the right line off a plot of curves and lay a pale grid behind it; returns the Axes."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def figure_pictures(pictures, titles=None, *, columns=4, inches=2.0, words="") -> WordedFigure:
    """Pictures in rows of `columns`, each with its title; `words` says what they are to show."""
    titles = list(titles or [""] * len(pictures))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = inches * pictures[0].height / pictures[0].width + 0.3 * any(titles)
    fig = new_figure(figsize=(columns * inches, rows * height), photographs=True)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, picture, title in zip(axes, pictures, titles, strict=False):
        plot_picture(picture, title, ax=ax)
    listed = "; ".join(title.replace("\n", " ") for title in titles if title)
    number = f"{len(pictures)} pictures" if len(pictures) > 1 else "One picture"
    number += f", {pictures[0].width} by {pictures[0].height} pixels"
    fig.words = f"{words or number}{': ' + listed if listed else ''}."
    return fig


def _axes(ax):
    """The given Axes, or those of a new figure."""
    return new_figure().subplots() if ax is None else ax


def by(shape) -> str:
    """A shape in words: 4 × 16 × 16."""
    return " × ".join(str(side) for side in shape)
