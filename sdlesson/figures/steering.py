"""The figures of steering: masks, entries into the loop, and two ways between two arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..loading import checks
from ..loading.errors import BadInput
from ..steering import first_step, latent_mask, lerp, slerp
from .base import (
    BLUE,
    INK,
    ORANGE,
    by,
    draw_arrow,
    given_axes,
    log_axes,
    new_figure,
    open_axes,
    plane_of,
    plot_curves,
    plot_picture,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def plot_mask(picture: Image, free: torch.Tensor, *, ax=None):
    """Draw a picture whose latent squares (h/8, w/8) that may change, `free`, are framed and covered in blue."""
    from matplotlib.colors import ListedColormap

    picture, free = checks.rgb(picture), checks.mask(free)
    ax = plot_picture(picture, ax=ax)
    rows, columns = (torch.arange(side + 1) for side in free.shape)
    edges = columns * picture.width / free.shape[1] - 0.5, rows * picture.height / free.shape[0] - 0.5
    cover = torch.where(free, 1.0, float("nan"))
    ax.pcolormesh(*edges, cover, cmap=ListedColormap([BLUE]), alpha=0.45, edgecolors="white", linewidth=0.4)
    ax.set(xlim=(-0.5, picture.width - 0.5), ylim=(picture.height - 0.5, -0.5))
    return ax


def figure_mask(picture: Image, pixels: torch.Tensor, factor: int = 8) -> Figure:
    """A mask (height, width) over its picture: as it was drawn, and as the latent squares that it becomes.

    Raises BadInput where the mask and the picture differ in size.
    """
    picture, pixels = checks.rgb(picture), checks.mask(pixels)
    if picture.size != pixels.shape[::-1]:
        said = f"A mask of {by(pixels.shape[::-1])} pixels does not fit a picture of {by(picture.size)} pixels."
        raise BadInput(said)
    fig = new_figure(figsize=(5.0, 2.6), photographs=True)
    squares = latent_mask(pixels, factor)
    sizes = []
    for ax, (name, free) in zip(fig.subplots(1, 2), {"pixels": pixels, "latent squares": squares}.items(), strict=True):
        if free is pixels:
            plot_picture(picture, ax=ax)
            ax.contour(pixels.float(), levels=[0.5], colors=[BLUE], linewidths=2.4)
        else:
            plot_mask(picture, free, ax=ax)
        sizes.append(f"{int(free.sum())} of {free.numel()} {name}")
        ax.set_title(f"the mask in {name}", fontsize=10)
    fig.words = f"A picture twice, with the part that may change: {sizes[0]}, outlined, and {sizes[1]}, in blue."
    return fig


def figure_entries(scheduler, strengths: Sequence[float]) -> Figure:
    """Where the loop is entered at each strength, on the curve of the noise levels that `scheduler` has set.

    The level 0 has no place on the logarithmic axis: strength 0 stands after the last step, at half its level.
    """
    sigmas = checks.part(scheduler, "a scheduler with noise levels", "sigmas").sigmas
    levels = [float(sigma) for sigma in sigmas[: -1 : scheduler.order]]  # one for each step, but not the 0 at the end
    entered = {}
    for strength in strengths:
        entered.setdefault(first_step(strength, len(levels)), []).append(f"{strength:g}")
    fig = new_figure(figsize=(7, 2.9))
    ax = open_axes(fig.subplots())
    ax.plot(range(len(levels)), levels, "o-", color=ORANGE, markersize=4)
    ax.set(xlabel="step (after the last one: σ = 0)", ylabel="noise level σ")
    log_axes(ax.yaxis)
    ax.xaxis.get_major_locator().set_params(integer=True)
    told = []
    for step, names in entered.items():
        left, level = len(levels) - step, [*levels, 0][step]
        words = f"strength {', '.join(names)}: {left} step{'s' * (left != 1)} left"
        place = step, level or levels[-1] / 2
        ax.plot(*place, "o", color=BLUE, markersize=8)
        beside = {"xytext": (7, 5), "textcoords": "offset points", "fontsize": 9, "color": INK}
        ax.annotate(words if level else f"{words} (σ = 0)", place, **beside)
        told.append(f"{words}, from sigma {level:.2f}")
    ax.set_xlim(None, max(1, 1.3 * max(len(levels) - 1, *entered)))
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick < len(levels)])  # words need room, steps end
    ax.set_ylim(None, 2 * max(levels))
    fig.words = f"The falling curve of the noise levels, with the points where the loop is entered: {'; '.join(told)}."
    return fig


def plot_mixes(one: torch.Tensor, other: torch.Tensor, shares: Sequence[float], *, ax=None):
    """Draw the two ways from one arrow to another, true to scale, in the plane that the two span; returns the Axes."""
    ax = given_axes(ax, (4.2, 4.2))
    place, fine = plane_of(one, other), [k / 40 for k in range(41)]
    for mix, colour, mark in ((slerp, BLUE, "s"), (lerp, ORANGE, "o")):
        ax.plot(*zip(*(place(mix(one, other, t)) for t in fine), strict=True), color=colour, linewidth=1.4)
        marks = {"color": colour, "markersize": 6, "label": mix.__name__, "linestyle": "none"}
        ax.plot(*zip(*(place(mix(one, other, t)) for t in shares), strict=True), mark, **marks)
    for end in (one, other):
        draw_arrow(ax, place(end), INK)
    ax.set_aspect("equal")
    ax.set_xlabel("along the first noise", fontsize=9)
    ax.set_ylabel("away from it", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.legend(frameon=False, fontsize=9, loc=(0.12, 0.12))
    return open_axes(ax)


def figure_mixes(one: torch.Tensor, other: torch.Tensor, shares: Sequence[float]) -> Figure:
    """The straight way and the arc between two latents (1, 4, h, w), and how long the arrow is on the way."""
    fig = new_figure(figsize=(9, 3.6))
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.5])
    plot_mixes(one, other, shares, ax=left)
    norms = {mix.__name__: [float(mix(one, other, t).norm()) for t in shares] for mix in (lerp, slerp)}
    curves = {name: (shares, values) for name, values in norms.items()}
    plot_curves(curves, "share of the second", "length of the arrow", ax=right)
    right.set_ylim(0, 1.08 * max(norms["slerp"]))
    fig.words = (
        f"Left: two arrows, {_angle(one, other):.0f} degrees apart, the straight way (lerp) and the arc (slerp) from "
        f"tip to tip. Right: the arrow's length; the shortest is {min(norms['lerp']):.0f} on the straight way and "
        f"{min(norms['slerp']):.0f} on the arc, {norms['lerp'][0]:.0f} at the start."
    )
    return fig


def _angle(one: torch.Tensor, other: torch.Tensor) -> float:
    """The angle between two arrows, in degrees."""
    return float(torch.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0).acos().rad2deg())
