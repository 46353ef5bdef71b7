"""The figures of latents: maps, histograms, and what a round trip loses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..latents import as_latents
from ..loading import checks
from ..loading.errors import BadInput
from .base import BLUE, INK, ORANGE, SEQUENTIAL, by, given_axes, new_figure, open_axes, peak, plot_map, plot_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def figure_latents(latents: torch.Tensor, title: str = "") -> Figure:
    """The channels of the first latents in the batch, shape (batch, channels, height, width), side by side."""
    first = as_latents(latents)[0].detach().float().cpu()
    fig = new_figure(figsize=(2.1 * len(first) + 0.6, 2.4))
    axes = fig.subplots(1, len(first), squeeze=False)[0]
    for channel, (ax, values) in enumerate(zip(axes, first, strict=True)):
        plot_map(values, f"channel {channel}", limit=peak(first), ax=ax)
    fig.colorbar(axes[-1].images[0], ax=axes, shrink=0.85, pad=0.01).set_label("value (no unit)", fontsize=9)
    fig.suptitle(title, fontsize=11)
    fig.words = (
        f"{title or 'Latents'}: {by(first.shape)} numbers as {len(first)} maps of coloured squares, "
        f"standard deviation {first.std():.1f}."
    )
    return fig


def plot_histogram(values: torch.Tensor, title: str = "", *, limit: float = 4.0, ax=None):
    """Draw how often each number occurs, -limit to limit, beside the Gaussian curve of std 1; returns the Axes."""
    ax = given_axes(ax, (4, 2.6))
    numbers = values.detach().float().cpu().flatten().numpy()
    bins = np.linspace(-limit, limit, 61)
    weights = np.full(len(numbers), 1 / len(numbers) / (bins[1] - bins[0]))  # those beyond the frame count, too
    ax.hist(numbers, bins=bins, weights=weights, histtype="stepfilled", color=BLUE, alpha=0.45, label="numbers")
    grid = np.linspace(-limit, limit, 301)
    ax.plot(grid, np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), color=INK, linewidth=1.4, label="Gaussian, std 1")
    mean = round(float(numbers.mean()), 1) + 0.0  # never -0.0
    about = f"{len(numbers):,} numbers, mean {mean:.1f}, std {numbers.std():.1f}"
    ax.set_title(f"{title}\n{about}", fontsize=10)
    ax.set_xlabel("value (no unit)", fontsize=9)
    ax.tick_params(labelsize=8)
    return open_axes(ax)


def figure_histograms(panels: Mapping[str, torch.Tensor], *, limit: float = 4.0) -> Figure:
    """Histograms side by side on one scale, title -> numbers, each beside the Gaussian curve of std 1."""
    fig = new_figure(figsize=(1 + 2.6 * len(panels), 2.6))
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        plot_histogram(values, title, limit=limit, ax=ax)
    axes[0].set_ylabel("how often (density)", fontsize=9)
    fig.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    told = (f"{title}: {v.numel()} numbers, standard deviation {v.float().std():.1f}" for title, v in panels.items())
    fig.words = f"Histograms beside the Gaussian curve of standard deviation 1. {'; '.join(told)}.".replace("\n", " ")
    return fig


def figure_round_trip(before: Image, after: Image) -> Figure:
    """A PIL picture, what came back of it, and where they differ; on the right the worst part, enlarged.

    Raises BadInput where their sizes differ.
    """
    before, after = checks.rgb(before), checks.rgb(after)
    if before.size != after.size:
        raise BadInput(f"Pictures of {by(before.size)} and {by(after.size)} pixels cannot be compared.")
    error = np.abs(np.asarray(before, dtype=float) - np.asarray(after, dtype=float)).mean(axis=2)  # levels of 255
    side = max(8, min(before.size) // 4)
    parts = itertools.product(*([*range(0, long - side, side), max(long - side, 0)] for long in error.shape))
    top, left = max(parts, key=lambda part: error[part[0] :, part[1] :][:side, :side].mean())
    fig = new_figure(figsize=(8.8, 2.5), photographs=True)
    rows = [["before", "after", "error", "part"], ["before", "after", "error", "back"]]
    axes = fig.subplot_mosaic(rows, width_ratios=[2, 2, 2.5, 1])
    plot_picture(before, "the picture", ax=axes["before"])
    plot_picture(after, "encoded and decoded", ax=axes["after"])
    most = float(np.quantile(error, 0.998)) or 1.0  # a few pixels of larger error must not darken all others
    drawn = axes["error"].imshow(error, cmap=SEQUENTIAL, vmin=0, vmax=most, interpolation="nearest")
    axes["error"].set_title("how far apart", fontsize=10)
    axes["error"].set_axis_off()
    bar = fig.colorbar(drawn, ax=axes["error"], shrink=0.8, pad=0.02, extend="max")
    bar.set_label("levels of 255", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    for name, picture, title in (("part", before, "before"), ("back", after, "after")):
        plot_picture(picture.crop((left, top, left + side, top + side)), title, ax=axes[name])
    for name in ("before", "after", "error"):
        frame = [left, left + side, left + side, left, left], [top, top, top + side, top + side, top]
        axes[name].plot(*frame, color=ORANGE, linewidth=1.6)
    fig.words = (
        f"A picture, the same after encoding and decoding, and a map of their difference: {error.mean():.0f} levels of "
        f"255 on average. A frame marks the {side} by {side} pixels with the most error, enlarged on the right."
    )
    return fig
