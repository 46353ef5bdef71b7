"""What all figures of the lessons share: a figure that also says in words what it shows, and one colour per meaning."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from ..loading.checks import rgb
from ..loading.errors import BadInput, listed

if TYPE_CHECKING:
    import torch

    from .worded import WordedFigure


#: One meaning, one colour map (Matplotlib's names; both are readable for the colour-blind).
DIVERGING = "PuOr_r"  # latents, noise, embeddings: numbers on both sides of 0


SEQUENTIAL = "viridis"  # amounts: attention, sigma


_NO_NUMBER = "#7f7f7f"  # NaN and infinite: a colour of its own, as white is 0


#: The lessons' few colours, told apart by the colour-blind too (Okabe and Ito, 2008).
INK, PALE, BLUE, ORANGE, GREEN, PINK = "#24292f", "#d0d7de", "#0072b2", "#d55e00", "#009e73", "#cc79a7"


def styles() -> Iterator[tuple[str, str]]:
    """A colour and a mark for each curve: the five colours come again and again, each time with other marks."""
    return zip(itertools.cycle((ORANGE, BLUE, GREEN, PINK, INK)), itertools.cycle("os^Dvs^Dvo^Dvos"), strict=False)


def new_figure(*args, photographs: bool = False, **kwargs) -> WordedFigure:
    """A new WordedFigure: it belongs to no window, lays itself out, and has room for `words`, its alt text.

    Matplotlib is imported here, when the first figure is drawn: painting a picture needs none.
    """
    from .worded import WordedFigure

    return WordedFigure(*args, photographs=photographs, **kwargs)


def plot_picture(picture, title="", *, ax=None):
    """Draw one PIL picture without axes, upright as `checks.rgb` says, its title above; returns the Axes."""
    ax = given_axes(ax)
    ax.imshow(rgb(picture), interpolation="lanczos")
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
    return plain(ax)


def array_of(values) -> np.ndarray:
    """Numbers as an array, and a tensor of any dtype on any device, too: what Matplotlib draws."""
    return values.detach().float().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def peak(*maps) -> float:
    """The largest size of a finite number in the maps, where their colours end; 0 where there is none."""
    return max(float(np.abs(each[np.isfinite(each)]).max(initial=0)) for each in map(array_of, maps))


def about(size: float) -> str:
    """A size in words: two digits from 0.1 up, below that one. The next one differs between processors."""
    return f"{size:.2g}" if size >= 0.1 else f"{size:.1g}"


def colour_map(name: str):
    """Matplotlib's colour map of that `name`, with grey for what is no finite number."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=_NO_NUMBER)


def plot_map(values: torch.Tensor, title="", *, limit=None, ax=None):
    """Draw a map of numbers around 0, shape (height, width), one square each; returns the Axes.

    Orange is above 0, violet below, white is 0, grey no finite number; colours end at ±`limit` (default: the largest
    absolute value), at ±1 where that is 0.
    """
    ax = given_axes(ax)
    limit = (peak(values) if limit is None else limit) or 1.0
    ax.imshow(array_of(values), cmap=colour_map(DIVERGING), vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set_title(title, fontsize=10)
    ax.set(xticks=[], yticks=[])
    if not np.isfinite(array_of(values)).all():
        ax.set_xlabel("grey: no number", fontsize=8)
    return plain(ax)


def plot_matrix(values, rows, columns, *, limits=(None, None), decimals=2, ax=None):
    """Draw a table of amounts, shape (len(rows), len(columns)), each square with its number in it; returns the Axes."""
    ax = given_axes(ax)
    values = array_of(values)
    image = ax.imshow(values, cmap=SEQUENTIAL, vmin=limits[0], vmax=limits[1], aspect="auto")
    for row, column in itertools.product(range(len(rows)), range(len(columns))):
        value = values[row, column]
        ink = "white" if image.norm(value) < 0.6 else INK
        ax.text(column, row, f"{value:.{decimals}f}", ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(len(rows)), rows, fontsize=9)
    return plain(ax)


def open_axes(ax):
    """Take the upper and the right line off a plot of curves and lay a pale grid behind it; returns the Axes."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    return plain(ax)


def log_axes(*axes, subs=None, minor: bool = True) -> None:
    """Make each Axis (ax.xaxis, ax.yaxis) logarithmic, with 0.1, 1, 10 at its ticks and not powers of ten.

    `subs` are the multiples of a power of ten that have a tick, such as (1, 2, 5); without `minor` nothing stands
    between the ticks.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    for axis in axes:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        if subs:
            axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
        if not minor:
            axis.set_minor_locator(NullLocator())


def lying_bars(ax, bars: Mapping[str, float], colours, told: Callable[[float], str], *, height: float = 0.6, size=9):
    """Lying bars, the first on top, name -> length, each with what is `told` of it at its end; returns the Axes."""
    ax.barh(list(bars), list(bars.values()), color=colours, height=height)
    for row, value in enumerate(bars.values()):
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(told(value), (value, row), **beside, fontsize=size, color=INK)
    ax.set_ylim(len(bars) - 0.5, -0.5)
    open_axes(ax).grid(visible=False, axis="y")
    return ax


def plane_of(one: torch.Tensor, other: torch.Tensor) -> Callable[[torch.Tensor], tuple[float, float]]:
    """The plane that two arrows span, as a function arrow -> (along `one`, away from it), in the arrows' own units."""
    first, second = (each.flatten().double() for each in (one, other))
    along = first / first.norm()
    aside = second - (second @ along) * along
    aside = aside / aside.norm().clamp(min=1e-12)
    return lambda arrow: (float(arrow.flatten().double() @ along), float(arrow.flatten().double() @ aside))


def draw_arrow(ax, tip: tuple[float, float], colour: str) -> None:
    """An arrow from (0, 0) to `tip`."""
    ax.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0})


def wrapped(text: str, inches: float, letters: float = 13) -> str:
    """The text in lines of so many inches, each of which holds some `letters`; a line that is no longer stays."""
    width = max(1, int(letters * inches))
    lines = (line if len(line) <= width else textwrap.fill(line, max(1, width * 7 // 8)) for line in text.split("\n"))
    return "\n".join(lines)


def plain(ax):
    """Let Axes of a figure that is not ours draw words as they are, too: WordedFigure sees to its own; returns them."""
    from .worded import WordedFigure, plain_texts

    if not isinstance(ax.figure.canvas.figure, WordedFigure):  # the canvas knows the whole figure, not a part of it
        plain_texts(ax)
    return ax


def figure_pictures(pictures, titles=None, *, columns=4, inches=2.0, words="") -> WordedFigure:
    """Pictures in rows of `columns`, each with its title, in lines of its width; `words` says what they are to show."""
    titles = list(titles or [""] * len(pictures))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    shown = [wrapped(title, inches, 14.3) for title in titles]
    more = max((new.count("\n") - old.count("\n") for new, old in zip(shown, titles, strict=True)), default=0)
    height = inches * pictures[0].height / pictures[0].width + 0.3 * any(titles) + 0.2 * more
    fig = new_figure(figsize=(columns * inches, rows * height), photographs=True)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    if len(titles) != len(pictures):
        raise BadInput(f"There are {len(pictures)} pictures and {len(titles)} titles; give one title for each.")
    for ax, picture, title in zip(axes, pictures, shown, strict=False):  # the last row may have empty places
        plot_picture(picture, title, ax=ax).set_anchor("S" if more else "C")  # long titles need the room above
    told = "; ".join(title.replace("\n", " ") for title in titles if title)
    number = f"{len(pictures)} pictures" if len(pictures) > 1 else "One picture"
    number += f", {listed([*dict.fromkeys(f'{each.width} by {each.height}' for each in pictures)])} pixels"
    fig.words = f"{words or number}{': ' + told if told else ''}."
    return fig


def figure_rows(rows: Mapping[str, Sequence], titles: Sequence[str], *, inches: float = 1.25) -> WordedFigure:
    """Rows of small maps and pictures, one column for each title: what is seen at a few steps, side by side.

    Each row is a list of PIL pictures or of tensors (h, w), drawn as squares in one colour scale: around 0, or from 0
    where no number is negative (amounts). Raises ValueError for a row that has not one entry for each title.
    """
    size = inches * len(titles) + 1.1, (inches + 0.12) * len(rows) + 0.25
    fig = new_figure(figsize=size, photographs=not all(hasattr(values[0], "detach") for values in rows.values()))
    ratios = [1.0] * len(titles) + [0.06]  # the last column is for the colour bars
    grid = fig.subplots(len(rows), len(titles) + 1, squeeze=False, gridspec_kw={"width_ratios": ratios})
    told = []
    for (*axes, bar), (name, values) in zip(grid, rows.items(), strict=True):
        maps = hasattr(values[0], "detach")
        limit = peak(*values) if maps else None
        amounts = maps and not any(bool((each < 0).any()) for each in values)
        for ax, each in zip(axes, values, strict=True):
            if not maps:
                plot_picture(each, ax=ax)
                continue
            plot_map(each, limit=limit, ax=ax)
            if amounts:
                ax.images[0].set(cmap=colour_map(SEQUENTIAL), clim=(0, limit or 1.0))
        bar.set_axis_off()
        if maps:
            fig.colorbar(axes[-1].images[0], ax=bar, fraction=1, shrink=0.85, aspect=15).ax.tick_params(labelsize=8)
        left = axes[0]
        left.text(-0.07, 0.5, name, transform=left.transAxes, ha="right", va="center", rotation=90, fontsize=9)
        kind = f"maps up to {limit:{'.1f' if limit >= 0.1 else '.2g'}}" if maps else "pictures"
        told.append(f"{name} ({kind})")
    for ax, title in zip(grid[0], titles, strict=False):
        ax.set_title(title, fontsize=10)
    between = "; " if any("," in title for title in titles) else ", "
    fig.words = f"Columns: {between.join(titles)}. Rows: {'; '.join(told)}.".replace("\n", " ")
    return fig


def _looks(panels: Sequence[Mapping]) -> dict[str, tuple[str, str]]:
    """One of `styles` for each name, the same in all `panels`: the first that no name beside it has."""
    places: dict[str, int] = {}
    for name in itertools.chain(*panels):
        beside = {places.get(other) for panel in panels if name in panel for other in panel}
        places.setdefault(name, next(place for place in itertools.count() if place not in beside))
    return {name: next(itertools.islice(styles(), place, None)) for name, place in places.items()}


def plot_curves(curves: Mapping[str, tuple], xlabel: str, ylabel: str, *, joined: bool = True, looks=None, ax=None):
    """Draw named curves, name -> (xs, ys), in the lessons' colours; returns the Axes.

    Curves that are not `joined`, a few points with nothing known between them, are marks alone, a shape for each; more
    than five curves have marks and lines. `looks` are the (colour, mark) of each name, by default in the curves' order.
    """
    ax = given_axes(ax, (7, 2.9))
    looks = looks or _looks([curves])
    repeated = len({colour for colour, _ in looks.values()}) < len(curves)
    for name, (xs, ys) in curves.items():
        colour, mark = looks[name]
        style = {"marker": mark, "markersize": 7, "linestyle": "none"}
        if joined:
            style = {"marker": mark if repeated else "o", "markersize": 3.5}
        ax.plot(xs, ys, color=colour, linewidth=1.4, label=name, alpha=1 if joined else 0.85, **style)
    ax.set_xlabel(xlabel, fontsize=9)
    ax.set_ylabel(ylabel, fontsize=9)
    ax.tick_params(labelsize=8)
    if all(isinstance(x, Integral) for xs, _ in curves.values() for x in xs):
        ax.xaxis.get_major_locator().set_params(integer=True)
    if len(curves) > 1:
        ax.legend(frameon=False, fontsize=9)
    return open_axes(ax)


def figure_curves(
    panels: Mapping[str, Mapping[str, tuple]],
    xlabel,
    ylabel: str,
    *,
    ylim=None,
    joined=True,
    linear: float = 0,
    logarithmic: bool = False,
) -> WordedFigure:
    """Panels of curves side by side, title -> (name -> (xs, ys)), on one scale upwards; `ylim` cuts off the rest.

    `xlabel` is one for all panels, or a list with one for each. Not `joined`: marks without lines. With `linear` the
    scale is even up to ±`linear` and logarithmic beyond, above and below 0; `logarithmic`: nowhere even.
    """
    fig = new_figure(figsize=(10 if len(panels) > 1 else 7, 2.9))
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = [xlabel] * len(panels) if isinstance(xlabel, str) else xlabel
    told, named, looks = [], set(), _looks([*panels.values()])
    for ax, (title, curves), label in zip(axes, panels.items(), labels, strict=True):
        plot_curves(curves, label, ylabel if ax is axes[0] else "", joined=joined, looks=looks, ax=ax)
        ax.set_title(title, fontsize=10)
        if linear:
            ax.set_yscale("symlog", linthresh=linear)
        if logarithmic:
            log_axes(ax.yaxis, subs=(1, 2, 5), minor=False)
        if ylim:
            ax.set_ylim(ylim)
        if ax.get_legend() and named >= curves.keys():  # a legend to the left has told all these names
            ax.get_legend().remove()
        named |= curves.keys() if len(curves) > 1 else set()
        told.append(f"{title}: {'; '.join(_span(name, ys) for name, (_, ys) in curves.items())}")
    against = " and ".join(dict.fromkeys(labels))
    cut = f" The frame ends at {ylim[0]:g} and {ylim[1]:g}." if ylim else ""
    drawn = "Curves" if joined else "Points"
    fig.words = f"{drawn} of {ylabel} against {against}. {'. '.join(told)}.{cut}".replace("\n", " ")
    return fig


def _span(name: str, ys: Sequence[float]) -> str:
    """Where a curve begins and ends and its largest number, two digits each: the third differs between processors."""
    small = 1e-9 * max(map(abs, ys))  # beside such numbers it is 0
    first, last, most = (f"{0 if abs(y) <= small else float(f'{y:.2g}'):g}" for y in (ys[0], ys[-1], max(ys)))
    return f"{name}, {first} to {last}, at most {most}"


def given_axes(ax, figsize: tuple[float, float] | None = None):
    """The given Axes, or those of a new figure of `figsize` inches."""
    return new_figure(figsize=figsize).subplots() if ax is None else ax


def by(shape) -> str:
    """A shape in words: 4 × 16 × 16."""
    return " × ".join(str(side) for side in shape)
