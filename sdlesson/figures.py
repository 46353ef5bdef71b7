"""What all figures of the lessons share: a figure that also says in words what it shows, and one colour per meaning."""

from __future__ import annotations

import io

import torch
from matplotlib.figure import Figure

#: One meaning, one colour map (Matplotlib's names; both are readable for the colour-blind).
DIVERGING = "PuOr_r"  # latents, noise, embeddings: numbers on both sides of 0
SEQUENTIAL = "viridis"  # amounts: attention, sigma

#: The lessons' few colours, told apart by the colour-blind too (Okabe and Ito, 2008).
INK, PALE, BLUE, ORANGE, GREEN, PINK = "#24292f", "#d0d7de", "#0072b2", "#d55e00", "#009e73", "#cc79a7"

_PIXELS_PER_INCH = 72  # on the page; the picture itself holds twice as many, for sharp screens


class WordedFigure(Figure):
    """A Matplotlib figure that carries `words`, its description, into the notebook as the picture's alt text.

    It is made apart from pyplot, so nothing global changes, and it owns its layout (constrained). A figure of
    `photographs` is stored as JPEG, a fifth of the size; all others as PNG.
    """

    def __init__(self, *args, photographs: bool = False, **kwargs):
        super().__init__(*args, **({"layout": "constrained"} | kwargs))
        self.words = ""
        self.photographs = photographs

    def render(self, scale: float = 2.0) -> tuple[str, bytes]:
        """The figure's MIME type and its file, of `scale` x 72 pixels per inch; the same figure gives the same file."""
        file, options = io.BytesIO(), {"format": "png", "metadata": {"Software": None}}
        if self.photographs:
            options = {"format": "jpeg", "pil_kwargs": {"quality": 90, "subsampling": 0, "optimize": True}}
        self.savefig(file, dpi=scale * _PIXELS_PER_INCH, facecolor="white", **options)
        return f"image/{options['format']}", file.getvalue()

    def _ipython_display_(self):
        from IPython.display import display

        kind, file = self.render()
        width, height = (round(side * _PIXELS_PER_INCH) for side in self.get_size_inches())
        about = {"alt": self.words, "width": width, "height": height}
        display({kind: file, "text/plain": self.words}, metadata={kind: about}, raw=True)


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


def figure_pictures(pictures, titles=None, *, columns=4, inches=2.0, words="") -> WordedFigure:
    """Pictures in rows of `columns`, each with its title; `words` says what they are to show."""
    titles = list(titles or [""] * len(pictures))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = inches * pictures[0].height / pictures[0].width + 0.3 * any(titles)
    fig = WordedFigure(figsize=(columns * inches, rows * height), photographs=True)
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
    return WordedFigure().subplots() if ax is None else ax
