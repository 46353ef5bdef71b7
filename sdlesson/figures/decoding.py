"""The figures of decoding: the decoder's stages, its reach, what is cut off, and whole traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..decoding import to_pil
from ..guidance import Trace
from ..loading import checks
from ..loading.errors import BadInput
from .base import (
    BLUE,
    INK,
    ORANGE,
    SEQUENTIAL,
    by,
    colour_map,
    given_axes,
    lying_bars,
    new_figure,
    open_axes,
    peak,
    plot_curves,
    plot_map,
    plot_picture,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_amounts(amounts: Mapping[str, float], xlabel: str, *, limit: float | None = None, ax=None):
    """Draw one bar for each named amount, above 0, on a logarithmic axis; a dashed line at `limit`; returns the Axes.

    The largest bar is orange, its number beside it as beside all others.
    """
    ax = given_axes(ax, (7, 2.9))
    values = list(amounts.values())
    colours = [ORANGE if value == max(values) else BLUE for value in values]
    lying_bars(ax, amounts, colours, lambda n: f"{n:,.3g}" if n < 1000 else f"{n:,.0f}", height=0.7, size=8)
    if limit is not None:
        ax.axvline(limit, linestyle="--", color=INK, linewidth=1)
    ax.set(xscale="log", xlim=(min(values) / 2, max([*values, limit or 0]) * 8))
    ax.set_xlabel(xlabel, fontsize=9)
    ax.tick_params(labelsize=8)
    return open_axes(ax)


def figure_amounts(panels: Mapping[str, Mapping[str, float]], *, limit: float | None = None) -> Figure:
    """Panels of bars side by side, label of the axis -> (name -> amount), the same names in each, logarithmic."""
    fig = new_figure(figsize=(10 if len(panels) > 1 else 7.5, 0.5 + 0.25 * len(next(iter(panels.values())))))
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    told = []
    for ax, (xlabel, amounts) in zip(axes, panels.items(), strict=True):
        plot_amounts(amounts, xlabel, limit=limit, ax=ax)
        low, high = min(amounts.values()), max(amounts.values())
        least, most = (", ".join(name for name in amounts if amounts[name] == edge) for edge in (low, high))
        told.append(f"{xlabel}: most in {most} ({high:,.3g}), least in {least} ({low:,.3g})")
    line = "" if limit is None else f" A dashed line stands at {limit:,.0f}."
    fig.words = f"Bars for {', '.join(next(iter(panels.values())))}. {'. '.join(told)}.{line}"
    return fig


def figure_stages(seen: Mapping[str, torch.Tensor]) -> Figure:
    """One map for each stage of the decoder, name -> (1, channels, h, w): the mean size of the channels' numbers.

    What has three channels is drawn as the picture that it is. Each map has its own scale, written below it.
    """
    columns = 5
    rows = -(-len(seen) // columns)
    fig = new_figure(figsize=(7.8, 2.2 * rows), photographs=True)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(seen) :]:
        ax.set_axis_off()
    for ax, (name, values) in zip(axes, seen.items(), strict=False):
        title = f"{name}\n{by(values.shape[1:])}"
        if values.shape[1] == 3:
            plot_picture(to_pil(values)[0], title, ax=ax)
            continue
        sizes = values[0].abs().mean(dim=0)  # (h, w)
        plot_map(sizes, title, ax=ax)
        ax.images[0].set(cmap=colour_map(SEQUENTIAL), clim=(float(sizes.min()), float(sizes.max())))
        ax.set_xlabel(f"{sizes.min():.1f} … {sizes.max():.1f}", fontsize=8)
    told = "; ".join(f"{name}, {by(values.shape[1:])}" for name, values in seen.items())
    fig.words = f"{len(seen)} maps, one for each stage of the decoder, channels × rows × columns: {told}."
    return fig


def figure_reach(before: torch.Tensor, after: torch.Tensor, square: tuple[int, int], factor: int) -> Figure:
    """Where decoded pictures (1, 3, H, W) differ when one latent square (row, column) was changed, in levels of 255.

    Left a map, right the largest and the mean change against the distance from that square, counted in squares.
    """
    change = (after - before)[0].abs().amax(dim=0).cpu() * 127.5  # (H, W)
    row, column = square
    fig = new_figure(figsize=(9.4, 3.4))
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.5])
    plot_map(change.clamp(min=1e-3), "largest change of a pixel", ax=left)
    left.images[0].set(cmap=colour_map(SEQUENTIAL), norm="log", clim=(0.01, max(peak(change), 0.1)))
    corner = ([column, column + 1, column + 1, column, column], [row, row, row + 1, row + 1, row])
    left.plot(*([side * factor - 0.5 for side in sides] for sides in corner), color=ORANGE, linewidth=1.5)
    fig.colorbar(left.images[0], ax=left, shrink=0.9, pad=0.02).set_label("levels of 255", fontsize=9)
    rings = _rings(change, square, factor)
    largest = [max(float(ring.max()), 1e-3) for ring in rings]
    mean = [max(float(ring.mean()), 1e-3) for ring in rings]
    plot_curves(
        {"largest": (range(len(rings)), largest), "mean": (range(len(rings)), mean)},
        "distance from the changed square, in squares",
        "change in levels of 255",
        ax=right,
    )
    right.set_yscale("log")
    right.axhline(1, linestyle="--", color=INK, linewidth=1)
    within = next((k for k in range(len(rings)) if max(largest[k:]) < 1), len(rings))
    fig.words = (
        f"Left: a map of changes around latent square row {row}, column {column}. Right: two curves; the mean "
        f"change is {mean[0]:.0f} levels in the square itself and {mean[1]:.0f} in the ring around it; no pixel at a "
        f"distance of {within} squares or more changes by a level."
    )
    return fig


def _rings(change: torch.Tensor, square: tuple[int, int], factor: int) -> list[torch.Tensor]:
    """The pixels of a map (H, W) by their distance from a latent square: 0 in it, 1 in the ring around it ..."""
    rows, columns = ((torch.arange(side) // factor - at).abs() for side, at in zip(change.shape, square, strict=True))
    distance = torch.maximum(rows[:, None], columns[None, :])
    return [change[distance == ring] for ring in range(int(distance.max()) + 1)]


def figure_clipping(decoded: Mapping[str, torch.Tensor], *, widest: float = 2.0) -> Figure:
    """For decoded pictures, title -> (1, 3, H, W): a histogram of their values, and where clamping cuts them off.

    Values beyond ±`widest` are counted at its ends. Orange is outside of -1 ... 1; below, on the pale picture, a colour
    says by how many levels.
    """
    fig = new_figure(figsize=(2.5 * len(decoded) + 0.4, 4.3))
    grid = fig.subplots(2, len(decoded), squeeze=False, height_ratios=[1, 1.5])
    sizes = {name: values[0].nan_to_num(0).abs().amax(dim=0).cpu() for name, values in decoded.items()}
    outside = {name: (size - 1).clamp(min=0) * 127.5 for name, size in sizes.items()}
    limit = max(1.0, *(float(each.max()) for each in outside.values()))
    told = []
    for upper, lower, (name, values) in zip(*grid, decoded.items(), strict=True):
        cut = _percent(float((values.abs() > 1).float().mean()))
        edges = torch.linspace(-widest, widest, int(20 * widest) + 1)
        numbers = values.float().cpu().clamp(-widest, widest)
        some = numbers, numbers[numbers.abs() > 1]
        counts, beyond = (torch.histc(each, len(edges) - 1, -widest, widest) for each in some)
        middles = (edges[1:] + edges[:-1]) / 2
        colours = [ORANGE if number else BLUE for number in beyond]
        upper.bar(middles, 100 * counts / counts.sum(), width=0.1, color=colours)
        upper.set_title(f"{name}\n{cut} cut off", fontsize=10)
        upper.set(yscale="log", ylim=(0.005, 60), yticks=[0.01, 0.1, 1, 10], yticklabels=["0.01", "0.1", "1", "10"])
        upper.set_xlabel("decoded value", fontsize=9)
        upper.tick_params(labelsize=8)
        open_axes(upper)
        pale = to_pil(values)[0].convert("L").point(lambda level: 150 + level * 100 // 255)
        lower.imshow(pale, cmap="gray", vmin=0, vmax=255)
        plot_map(outside[name], ax=lower)
        shown = outside[name].numpy()
        lower.images[1].set(cmap=SEQUENTIAL, clim=(0, limit), array=np.ma.masked_less(shown, 0.5))  # half a level
        told.append(f"{name}, {cut} cut off")
    grid[0][0].set_ylabel("% of the values", fontsize=9)
    fig.colorbar(lower.images[1], ax=list(grid[1]), shrink=0.9, pad=0.01).set_label("levels cut off", fontsize=9)
    fig.words = f"Histograms of decoded values, and maps of where they lie outside of -1 to 1: {'; '.join(told)}."
    return fig


def _percent(share: float) -> str:
    """A share in words that stay the same when its last digits differ from machine to machine."""
    return "nothing" if share == 0 else "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def figure_trace(trace: Trace, *, columns: int = 6) -> Figure:
    """A recorded run, drawn without any model: sigma and the spread (std) of its tensors at each step, and maps.

    The maps show channel 0 of the first picture at `columns` steps, or at all where they are fewer: latents divided by
    their standard deviation, and those of the expected picture. Raises BadInput for a run without steps.
    """
    steps = checks.part(trace, "a Trace, as `record` or `read_trace` give it", "steps").steps
    if not steps:
        raise BadInput("This run has no steps to draw: it started behind its last one.")
    at = sorted({round(k * (len(steps) - 1) / max(columns - 1, 1)) for k in range(columns)})
    fig = new_figure(figsize=(10, 5.6))
    upper, lower = fig.subfigures(2, 1, height_ratios=[1, 1.35])
    left, right = upper.subplots(1, 2)
    xs = range(len(steps))
    std = {name: [float(getattr(step, name).std()) for step in steps] for name in ("noisy", "pred_original")}
    plot_curves(
        {"σ": (xs, [step.sigma for step in steps]), "std of the latents": (xs, std["noisy"])},
        "step",
        "(no unit)",
        ax=left,
    )
    left.set_yscale("log")
    plot_curves({"": (xs, std["pred_original"])}, "step", "std of the\nexpected picture's latents", ax=right)
    right.set_ylim(0, None)
    grid = lower.subplots(2, len(at), squeeze=False)
    rows = {
        "latents before\nthe step": [steps[i].noisy[0, 0] / steps[i].noisy.std() for i in at],
        "expected picture": [steps[i].pred_original[0, 0] for i in at],
    }
    for row, (axes, (name, maps)) in enumerate(zip(grid, rows.items(), strict=True)):
        for ax, each, i in zip(axes, maps, at, strict=True):
            plot_map(each, "" if row else f"step {i}", limit=peak(*maps), ax=ax)
        axes[0].set_ylabel(name, fontsize=9)
    prompt = trace.settings["prompts"][0]
    fig.suptitle(wrapped(prompt, 10, 12), fontsize=11)
    fig.words = (
        f"A recorded run of {len(steps)} steps, {prompt!r}: sigma falls from {steps[0].sigma:.1f} to "
        f"{steps[-1].sigma:.2f}, the latents' spread from {std['noisy'][0]:.1f} to {std['noisy'][-1]:.1f}; maps "
        f"of channel 0 at the steps {', '.join(map(str, at))}: above the latents before the step, each divided by its "
        f"spread, below the expected picture."
    )
    return fig
