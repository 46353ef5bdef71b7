"""The figures of sigmas: noise levels, paths, and the weights of K-LMS."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from ..loading import checks
from ..loading.errors import BadInput
from ..sigmas import lms_coefficients
from .base import BLUE, GREEN, INK, ORANGE, PALE, PINK, about, given_axes, log_axes, new_figure, open_axes, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_sigmas(sigmas, *, ax=None):
    """Draw the noise level of each step, falling from the first to 0; `sigmas` (steps + 1,); returns the Axes."""
    ax = given_axes(ax, (7, 2.4))
    levels = [float(sigma) for sigma in sigmas]
    ax.plot(range(len(levels)), levels, "o-", color=ORANGE, markersize=4)
    ax.set(xlabel="step", ylabel="noise level σ\n(its standard deviation)")
    ax.locator_params(axis="x", integer=True)
    ends = {"textcoords": "offset points", "fontsize": 9}
    ax.annotate(f"σ = {levels[0]:.4f}", (0, levels[0]), xytext=(8, -4), **ends)
    ax.annotate("σ = 0: no noise left", (len(levels) - 1, 0), xytext=(0, 14), ha="right", **ends)
    return open_axes(ax)


def figure_sigmas(scheduler) -> Figure:
    """The noise levels that `scheduler` has set, from the noise to the picture; raises BadInput where it has none."""
    sigmas = checks.part(scheduler, "a scheduler with noise levels", "sigmas").sigmas
    fig = new_figure(figsize=(7, 2.4))
    plot_sigmas(sigmas, ax=fig.subplots())
    first = ", ".join(f"{sigma:.2f}" for sigma in sigmas[:3])
    rest = f" … {sigmas[-2]:.2f}, 0" if len(sigmas) > 3 else ""
    fig.words = f"A falling curve of {len(sigmas)} noise levels, steep at first: {first}{rest}."
    return fig


def figure_recipe(betas, alphas_cumprod, sigmas) -> Figure:
    """The noise of the training, step by step: beta, what is left of the picture, and sigma; arrays of one length."""
    fig = new_figure(figsize=(10, 2.7))
    labels = (
        "β: noise added at this step\n(variance)",
        "ᾱ: picture left\n(variance)",
        "σ: noise ÷ picture\n(standard deviation)",
    )
    for ax, values, label in zip(fig.subplots(1, 3), (betas, alphas_cumprod, sigmas), labels, strict=True):
        open_axes(ax).plot(values, color=ORANGE, linewidth=2)
        ax.set(xlabel="noising step (timestep)", ylim=(0, None), title=label)
        ax.title.set_fontsize(10)
    fig.words = (
        f"Three curves over {len(betas)} noising steps: beta rises from {betas[0]:.5f} to {betas[-1]:.4f}, the share "
        f"of the picture falls from {alphas_cumprod[0]:.4f} to {alphas_cumprod[-1]:.4f}, sigma rises from "
        f"{sigmas[0]:.3f} to {sigmas[-1]:.2f}, steeply at the end."
    )
    return fig


def figure_schedules(schedules: dict) -> Figure:
    """Several training schedules' sigmas, {name: array}, on a logarithmic scale."""
    fig = new_figure(figsize=(7, 3))
    ax = open_axes(fig.subplots())
    lines = itertools.cycle(("-", "--", ":"))
    for (name, sigmas), (colour, _), line in zip(schedules.items(), styles(), lines, strict=False):
        ax.plot(sigmas, line, color=colour, linewidth=2, label=f"{name} (ends at {sigmas[-1]:.1f})")
    ax.axhline(1, color=INK, linewidth=0.8)
    last = max(len(sigmas) for sigmas in schedules.values()) - 1
    ax.text(last, 0.9, "noise as strong as the picture", fontsize=8, color=INK, ha="right", va="top")
    ax.set(xlabel="noising step (timestep)", ylabel="noise level σ")
    log_axes(ax.yaxis)
    ax.legend(frameon=False, fontsize=9)
    beyond = {name: np.flatnonzero(np.asarray(sigmas) > 1) for name, sigmas in schedules.items()}
    told = ", ".join(f"{name} at step {steps[0]}" if len(steps) else f"{name} never" for name, steps in beyond.items())
    fig.words = f"Rising curves of sigma over the noising steps. They pass sigma = 1: {told}."
    return fig


def figure_timesteps(all_sigmas, timesteps, sigmas) -> Figure:
    """Where the steps of a run lie on the training's curve; on the right the second, between two whole timesteps.

    `all_sigmas` (training steps,) is the curve; `timesteps` and `sigmas` (steps,) are the run's. Raises BadInput for a
    run of fewer than two steps.
    """
    if len(timesteps) < 2:
        raise BadInput(f"The figure shows the second step of a run; this one has {len(timesteps)}.")
    fig = new_figure(figsize=(10, 3.2))
    whole, near = fig.subplots(1, 2, width_ratios=(2, 1))
    for ax in (whole, near):
        open_axes(ax).plot(all_sigmas, color=PALE if ax is whole else ORANGE, linewidth=2)
        ax.set(xlabel="timestep", ylabel="noise level σ")
    whole.plot(timesteps, sigmas, "o", color=ORANGE, markersize=5)
    whole.set_title(f"the {len(timesteps)} steps of a run, on the curve of the training", fontsize=10)
    below = int(round(float(timesteps[1]), 2))
    whole_one = f"{timesteps[1]:.2f}" == f"{below}.00"
    lies = f"lies on {below}" if whole_one else f"lies between {below} and {below + 1}"
    near.plot([below, below + 1], all_sigmas[below : below + 2], "o", color=INK, markersize=5)
    near.plot(timesteps[1], sigmas[1], "D", color=ORANGE, markersize=8)
    near.annotate(
        f"{timesteps[1]:.2f}\nσ = {sigmas[1]:.3f}",
        (timesteps[1], sigmas[1]),
        xytext=(-62, 14),
        textcoords="offset points",
    )
    near.set(xlim=(below - 0.6, below + 1.6), xticks=(below, below + 1))
    near.set_ylim(all_sigmas[below] - 0.06, all_sigmas[below + 1] + 0.06)
    near.set_title("the second step, close by", fontsize=10)
    fig.words = (
        f"Left: {len(timesteps)} dots, evenly spaced in timesteps, on the rising curve of sigma. Right: the second "
        f"step, timestep {timesteps[1]:.2f}, {lies}; its sigma is {sigmas[1]:.3f}."
    )
    return fig


def figure_input_scaling(sigmas, before, after) -> Figure:
    """How strong noisy latents are at each noise level, before and after the division by sqrt(sigma^2 + 1).

    `sigmas`, and the standard deviations `before` and `after`, each (levels,).
    """
    fig = new_figure(figsize=(7, 3))
    ax = open_axes(fig.subplots())
    ax.plot(sigmas, before, "o-", color=ORANGE, markersize=4, label="latents, as the loop holds them")
    ax.plot(sigmas, after, "s-", color=BLUE, markersize=4, label="divided by √(σ² + 1): what the UNet sees")
    ax.axhline(1, color=INK, linewidth=0.8)
    ax.set(xlabel="noise level σ", ylabel="standard deviation")
    log_axes(ax.xaxis, ax.yaxis)
    ax.legend(frameon=False, fontsize=9)
    fig.words = (
        f"Two curves over sigma. The latents' standard deviation rises from {min(before):.1f} to {max(before):.1f}. "
        f"Divided by the root of sigma squared plus 1 it stays between {min(after):.1f} and {max(after):.1f}."
    )
    return fig


def figure_ways(ways: dict) -> Figure:
    """Paths of many numbers from noise to data, one panel for each of {title: (sigmas, way)}; way: (levels, numbers).

    Each height is x / sqrt(sigma^2 + 1), so that both ends fit on one page; blue ends above 0, orange below. The level
    0 has no place on the logarithmic axis: it stands, marked by a dotted line, at half the last level before it.
    """
    fig = new_figure(figsize=(10 if len(ways) > 1 else 7, 3.1))
    axes = fig.subplots(1, len(ways), sharey=True, squeeze=False)[0]
    told = []
    for ax, (title, (sigmas, way)) in zip(axes, ways.items(), strict=True):
        levels, way = np.asarray(sigmas, dtype=float), np.asarray(way)
        heights = way / np.sqrt(levels**2 + 1)[:, None]
        up = way[-1] > 0
        end = levels[levels > 0].min() / 2  # where the level 0 is drawn
        shown = np.where(levels > 0, levels, end)
        for side, colour, name in ((up, BLUE, "ends above 0"), (~up, ORANGE, "ends below 0")):
            lines = open_axes(ax).plot(shown, heights[:, side], color=colour, linewidth=0.8, alpha=0.8)
            if lines and ax is axes[0]:
                lines[0].set_label(name)
        ax.axvline(end, color=INK, linestyle=":", linewidth=1)
        ax.text(end, 1, "σ = 0 ", fontsize=8, color=INK, ha="right", va="top", transform=ax.get_xaxis_transform())
        ax.set(xlabel="noise level σ", title=title)
        log_axes(ax.xaxis)
        ax.title.set_fontsize(10)
        ax.invert_xaxis()
        told.append(f"{title}, {up.sum()} of {len(up)} end above 0, {(abs(way[-1]) < 0.6).sum()} between -0.6 and 0.6")
    axes[0].set_ylabel("x ÷ √(σ² + 1)")
    fig.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    fig.words = f"Curves from noise on the left to data on the right. {'; '.join(told)}.".replace("\n", " ")
    return fig


def figure_basis(sigmas, i: int, slopes, order: int = 4) -> Figure:
    """Step i of K-LMS. Left: Lagrange's polynomials over the past sigmas; right: the curve through `slopes`.

    `slopes` are those of one number at the past sigmas, newest first. The step is shaded: its area is what counts. The
    oldest of four has an area so thin that it is drawn once more, enlarged. Raises BadInput for an order beyond 4.
    """
    order = checks.whole(order, "order", 1, 4)
    past = np.asarray(sigmas[max(0, i + 1 - order) : i + 1], dtype=float)[::-1]
    grid = np.unique([*np.linspace(sigmas[i + 1], past[-1], 200), past[0]])
    step = grid <= past[0]
    fig = new_figure(figsize=(10, 3.9))
    left, right = (open_axes(ax) for ax in fig.subplots(1, 2))
    curve = np.zeros_like(grid)
    for k, colour in zip(range(len(past)), (ORANGE, BLUE, GREEN, PINK), strict=False):
        others = np.delete(past, k)
        basis = np.prod([(grid - other) / (past[k] - other) for other in others], axis=0) * np.ones_like(grid)
        curve += slopes[k] * basis
        left.plot(grid, basis, color=colour, linewidth=2, label=f"{k} step{'s' * (k != 1)} ago" if k else "now")
        left.fill_between(grid[step], basis[step], color=colour, alpha=0.35, linewidth=0)
        left.plot(past[k], 1, "o", color=colour)
        right.plot(past[k], slopes[k], "o", color=colour, zorder=3)
    if len(past) == 4:
        _enlarge(left, grid[step], basis[step], PINK)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    left.set(title="one polynomial for each past slope", ylabel="weight of that slope", ylim=(-4.4, 3.2))
    right.plot(grid, curve, color=INK, linewidth=2, label="curve through the slopes (K-LMS)")
    right.fill_between(grid[step], curve[step], color=PALE, linewidth=0)
    right.plot(
        [sigmas[i + 1], past[0]], [slopes[0]] * 2, "--", color=ORANGE, linewidth=2, label="the last slope (Euler)"
    )
    right.legend(frameon=False, fontsize=8)
    right.set(ylabel="slope dx/dσ", title="the slopes of one number")
    for ax in (left, right):
        ax.axvspan(sigmas[i + 1], past[0], color=PALE, alpha=0.35, linewidth=0)
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.set_xlabel("noise level σ")
        ax.title.set_fontsize(10)
        ax.invert_xaxis()
    basis_told = f"{len(past)} polynomials, each 1 at its own past sigma and 0 at the others"
    if len(past) == 1:
        basis_told = "one polynomial, which is 1 everywhere"
    fig.words = (
        f"Step {i}, from sigma {past[0]:.2f} to {sigmas[i + 1]:.2f} (shaded). Left: {basis_told}. Right: the curve "
        "through the past slopes, drawn on through the step, and a flat line at the last slope, which is Euler's."
    )
    return fig


def _enlarge(ax, sigmas, heights, colour):
    """Draw the area between `heights` and 0 in a small frame at the lower left of `ax`, at its full height."""
    frame = ax.inset_axes((0.1, 0.13, 0.5, 0.18))
    frame.plot(sigmas, heights, color=colour, linewidth=2)
    frame.fill_between(sigmas, heights, color=colour, alpha=0.5, linewidth=0)
    frame.axhline(0, color=INK, linewidth=0.8)
    frame.set(xlim=(sigmas.max(), sigmas.min()), ylim=(1.2 * heights.min(), 0.3 * abs(heights).max()))
    ends = (sigmas.max(), sigmas.min())
    frame.set_xticks(ends, [f"σ {end:.2f}" for end in ends])
    frame.set_title("the area of “3 steps ago”, enlarged", fontsize=8, pad=3)
    frame.tick_params(labelsize=7)


def figure_coefficients(sigmas, order: int = 4) -> Figure:
    """The weights of the past slopes in every step of K-LMS, as multiples of the step sigma_(i+1) - sigma_i.

    The scale is even up to ±0.1 and logarithmic beyond, so that small weights of old slopes are seen beside large ones.
    Raises BadInput for an order beyond 4.
    """
    from matplotlib.ticker import MaxNLocator

    order = checks.whole(order, "order", 1, 4)
    steps = len(sigmas) - 1
    fig = new_figure(figsize=(10, 3))
    ax = open_axes(fig.subplots())
    shares = [lms_coefficients(sigmas, i, order) / (sigmas[i + 1] - sigmas[i]) for i in range(steps)]
    most = max(map(len, shares))
    for k, colour in zip(range(most), (ORANGE, BLUE, GREEN, PINK), strict=False):
        at = [i for i in range(steps) if len(shares[i]) > k]
        name = f"slope {k} step{'s' * (k != 1)} ago" if k else "slope now"
        middles = [i + 0.2 * (k - (len(shares[i]) - 1) / 2) for i in at]  # a step's bars stand around its tick
        ax.bar(middles, [shares[i][k] for i in at], 0.2, color=colour, label=name)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set(xlabel="step", ylabel="weight ÷ step\n(logarithmic beyond ±0.1)", xlim=(-0.7, steps - 0.3))
    ax.xaxis.set_major_locator(MaxNLocator(25, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    ax.set_yscale("symlog", linthresh=0.1)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(visible=False, axis="x")
    ax.legend(frameon=False, fontsize=8, ncols=most, loc="lower center", bbox_to_anchor=(0.5, 1))
    middle = shares[steps // 2]
    turns = ": large, of changing sign" if abs(middle).sum() > 1.5 else ""  # as their sum is 1, some are below 0
    number = f"one weight in step 0, two in step 1, and so on up to {most}" if most > 1 else "one weight in each"
    fig.words = (
        f"Bars for {steps} step{'s' * (steps != 1)}: {number}. In the middle the weights, newest slope first, are "
        f"{', '.join(f'{share:z.2f}' for share in middle)}{turns}, their sum 1."
    )
    return fig


def figure_errors(errors: dict) -> Figure:
    """Distance from the end that many steps reach, {name: {number of steps: share of its length}}, logarithmic axes."""
    fig = new_figure(figsize=(6.5, 3.2))
    ax = open_axes(fig.subplots())
    for (name, values), (colour, mark) in zip(errors.items(), styles(), strict=False):
        ax.plot(list(values), list(values.values()), f"{mark}-", color=colour, label=name)
    counts = sorted({count for values in errors.values() for count in values})
    ax.set(xlabel="steps (calls of the UNet)", ylabel="distance from the end\nwith many steps (share)")
    log_axes(ax.xaxis, minor=False)
    log_axes(ax.yaxis, subs=(1, 2, 5))
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.legend(frameon=False, fontsize=9)
    told = (
        f"{name}: " + ", ".join(f"{about(error)} at {count}" for count, error in values.items())
        for name, values in errors.items()
    )
    fig.words = f"Curves of the error at so many steps. {'; '.join(told)}."
    return fig
