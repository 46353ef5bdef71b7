"""The figures of the one page: the map of the machine, and the way from noise to picture."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ..onepage import machine_shapes
from .base import BLUE, GREEN, INK, ORANGE, by, given_axes, new_figure, plot_map, plot_picture

#: The parts of the machine on the map: left, bottom, width, height, label, colour.
PARTS = {
    "tokenizer": (23, 28, 13, 6.5, "tokenizer", BLUE),
    "text encoder": (44.5, 28, 13, 6.5, "text encoder", BLUE),
    "noise": (18.5, 10, 8, 6.5, "× σ max", ORANGE),
    "unet": (44, 10, 8.5, 6.5, "UNet", ORANGE),
    "guidance": (63.5, 10, 10, 6.5, "guidance", ORANGE),
    "scheduler": (63.5, 0, 10, 5.5, "scheduler", ORANGE),
    "decoder": (87, -0.5, 11, 6.5, "÷ scaling,\nVAE decoder", GREEN),
}


def plot_machine(shapes: dict[str, tuple], *, steps: int = 20, lit=(), ax=None):
    """Draw the map of the machine with `shapes` on its arrows; `lit` names the parts to light (default: all).

    Raises ValueError for a part that is not on the map.
    """
    ax = given_axes(ax, (10, 3.7))
    lit = set(lit or PARTS)
    if lit - set(PARTS):
        raise ValueError(f"no such part: {', '.join(sorted(lit - set(PARTS)))}; there are {', '.join(PARTS)}")
    _loop_frame(ax, steps)
    for name, (*place, label, colour) in PARTS.items():
        box(ax, place, label, colour, on=name in lit)
    for line in _arrows(shapes):
        arrow(ax, *line)
    _ends(ax, shapes)
    ax.set(xlim=(0, 100), ylim=(-3.5, 37))
    ax.set_axis_off()
    return ax


def _arrows(shapes: dict[str, tuple]):
    """Start, end and label (and head, where it has none) of each straight arrow on the map."""
    latents = by(shapes["latents"])
    return [
        ((18, 31.2), (23, 31.2), ""),
        ((36, 31.2), (44.5, 31.2), f"ids\n{by(shapes['ids'])}"),
        ((48.2, 28), (48.2, 16.5), f"embeddings\n{by(shapes['embeddings'])}"),
        ((6, 13.2), (18.5, 13.2), f"noise\n{latents}"),
        ((26.5, 13.2), (44, 13.2), f"     latents, twice\n     ÷ √(σ² + 1)\n     {by(shapes['unet input'])}"),
        ((52.5, 13.2), (63.5, 13.2), f"two guesses\n{by(shapes['unet output'])}"),
        ((68.5, 10), (68.5, 5.5), ""),
        ((63.5, 0.9), (32.5, 0.9), f"a little less noise, {latents}", "-"),
        ((32.5, 0.9), (32.5, 13.2), ""),
        ((36, 13.2), (36, 4.4), "", "-"),
        ((36, 4.4), (63.5, 4.4), ""),
        ((73.5, 2.8), (87, 2.8), f"at the end\nlatents\n{latents}"),
        ((92.5, 6), (92.5, 11), ""),
    ]


def _ends(ax, shapes: dict[str, tuple]):
    """What goes in and what comes out, in italics."""
    style = {"ha": "center", "va": "center", "fontsize": 9, "style": "italic", "color": INK}
    ax.text(9, 31.2, "“” and\n“a photograph of\nan astronaut …”", **style)
    ax.text(3.5, 13.2, "seed", **style)
    ax.text(92.5, 12.6, "out.png", **style)
    ax.text(92.5, 15.4, by(shapes["picture"]), **(style | {"fontsize": 8, "style": "normal"}))


def arrow(ax, start, end, words: str, head: str = "-|>"):
    """One straight arrow, its words above it (or to its right where it points up or down)."""
    style = {"mutation_scale": 11, "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle=head, **style))
    upright = start[0] == end[0]
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    place = (middle[0] + 1.2, middle[1] + 1.5) if upright else (middle[0], middle[1] + 0.8)
    align = {"ha": "left", "va": "center"} if upright else {"ha": "center", "va": "bottom"}
    ax.text(*place, words, fontsize=8, color=INK, linespacing=1.25, **align)


def _loop_frame(ax, steps: int):
    """The frame around the parts that work in a loop."""
    frame = {"facecolor": "#fdf3ec", "edgecolor": ORANGE, "linestyle": (0, (4, 3)), "linewidth": 1}
    ax.add_patch(FancyBboxPatch((29, -2.6), 46, 22.8, boxstyle="round,pad=0,rounding_size=1.5", **frame))
    ax.text(74, 18.4, f"{steps} times", ha="right", va="center", fontsize=9, color=ORANGE, weight="bold")


def figure_machine(sd, *, steps: int = 20, lit=()) -> Figure:
    """The map of the machine `sd`, from the prompt to the picture, with its shapes; `lit` as in `plot_machine`."""
    fig = new_figure(figsize=(10, 3.7))
    shapes = machine_shapes(sd)
    plot_machine(shapes, steps=steps, lit=lit, ax=fig.subplots())
    flow = {name: by(shape) for name, shape in shapes.items()}
    fig.words = (
        "Map of the machine. "
        f"An empty prompt and the prompt go through the tokenizer (ids, {flow['ids']}) "
        f"and the text encoder (embeddings, {flow['embeddings']}) into the UNet. "
        f"A seed gives noise, {flow['latents']}, multiplied by the largest σ. A loop of {steps} rounds follows: "
        f"the UNet sees the latents twice, divided by √(σ² + 1), {flow['unet input']}, and guesses the noise twice, "
        "guidance makes one guess of the two, the scheduler takes a little of it from the latents. "
        "The VAE decoder turns the last latents, divided by the scaling factor, "
        f"into a picture, {flow['picture']}, saved as out.png." + (f" Lit here: {', '.join(lit)}." if lit else "")
    )
    return fig


def box(ax, place, label: str, colour: str, on: bool):
    """One part of a map: a rounded box (left, bottom, width, height) with its label, in colour if it is `on`."""
    left, bottom, width, height = place
    style = {"facecolor": colour if on else "#eef1f4", "edgecolor": colour if on else "#8c959f"}
    ax.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle="round,pad=0,rounding_size=1.2", **style))
    text = {"color": "white" if on else "#57606a", "weight": "bold" if on else "normal"}
    ax.text(left + width / 2, bottom + height / 2, label, ha="center", va="center", fontsize=9, **text)


def figure_way(noisy: torch.Tensor, predicted, sigmas, steps) -> Figure:
    """The way from noise to picture: above the noisy latents (first channel), below the picture that the UNet expects.

    Each map of latents has its own range of colours, or else the first would outshine the last.
    `noisy` has shape (n, channels, height, width), `predicted` holds n PIL pictures, `sigmas` and `steps` n numbers.
    """
    fig = new_figure(figsize=(1.6 * len(steps), 3.75), photographs=True)
    rows = fig.subplots(2, len(steps), squeeze=False)
    for ax in rows.flat:
        ax.spines[:].set_visible(False)
    for column, (latents, picture, sigma, step) in enumerate(zip(noisy, predicted, sigmas, steps, strict=True)):
        plot_map(latents[0], f"step {step}\nσ = {sigma:.2f}", ax=rows[0, column])
        plot_picture(picture, ax=rows[1, column])
    labels = ("what the loop holds\n(latents, channel 0)", "what the UNet expects\n(decoded)")
    for ax, label in zip(rows[:, 0], labels, strict=True):
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(label, fontsize=9)
    first, last = _edges(predicted[0]), _edges(predicted[-1])
    edges = "sharper" if last > first else "softer" if last < first else "as sharp"
    fig.words = (
        f"Two rows of {len(steps)} pictures, at the steps {', '.join(map(str, steps))}. "
        f"Above, the noisy latents, whose noise falls from {sigmas[0]:.1f} to {sigmas[-1]:.2f}. "
        "Below, the picture that the UNet expects, decoded; "
        f"its edges are {edges} at the end {'as' if edges == 'as sharp' else 'than'} at the beginning."
    )
    return fig


def _edges(picture) -> float:
    """The mean step between neighbouring pixels of a PIL picture: small for a blur."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
