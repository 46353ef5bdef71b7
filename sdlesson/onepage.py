"""Lesson 00, the whole way on one page: the map of the machine, and the pictures of what flows through it."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .figures import BLUE, GREEN, INK, ORANGE, PALE, WordedFigure, plot_map, plot_picture

#: The parts of the machine on the map: left, bottom, width, height, label, colour.
PARTS = {
    "tokenizer": (23, 28, 13, 6.5, "tokenizer", BLUE),
    "text encoder": (44.5, 28, 13, 6.5, "text encoder", BLUE),
    "noise": (18.5, 10, 8, 6.5, "× σ max", ORANGE),
    "unet": (44, 10, 8.5, 6.5, "UNet", ORANGE),
    "guidance": (63.5, 10, 10, 6.5, "guidance", ORANGE),
    "scheduler": (63.5, 0, 10, 5.5, "scheduler", ORANGE),
    "decoder": (87, 10, 11, 6.5, "÷ scaling,\nVAE decoder", GREEN),
}


def machine_shapes(sd, batch: int = 1, height: int | None = None, width: int | None = None) -> dict[str, tuple]:
    """The shapes of all that flows through the machine, from its configuration alone.

    `height` and `width` are the picture's, in pixels (default: the model's own size). Keys: ids, embeddings, latents,
    unet input, unet output, picture. The text and the UNet work on twice the batch: an empty prompt for each prompt.
    """
    rows, columns = ((asked or own) // sd.vae_factor for asked, own in zip((height, width), sd.size, strict=True))
    tokens = sd.tokenizer.model_max_length
    channels = sd.unet.config.in_channels
    return {
        "ids": (2 * batch, tokens),
        "embeddings": (2 * batch, tokens, sd.text_encoder.config.hidden_size),
        "latents": (batch, channels, rows, columns),
        "unet input": (2 * batch, channels, rows, columns),
        "unet output": (2 * batch, channels, rows, columns),
        "picture": (batch, sd.vae.config.out_channels, rows * sd.vae_factor, columns * sd.vae_factor),
    }


def plot_machine(shapes: dict[str, tuple], *, steps: int = 20, lit=(), ax=None):
    """Draw the map of the machine with `shapes` on its arrows; `lit` names the parts to light (default: all)."""
    ax = WordedFigure(figsize=(10, 3.7)).subplots() if ax is None else ax
    lit = set(lit or PARTS)
    if lit - set(PARTS):
        raise ValueError(f"no such part: {', '.join(sorted(lit - set(PARTS)))}; there are {', '.join(PARTS)}")
    _loop_frame(ax, steps)
    for name, (left, bottom, width, height, label, colour) in PARTS.items():
        on = name in lit
        style = {"facecolor": colour if on else "#eef1f4", "edgecolor": colour if on else "#8c959f"}
        ax.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle="round,pad=0,rounding_size=1.2", **style))
        text = {"color": "white" if on else "#57606a", "weight": "bold" if on else "normal"}
        ax.text(left + width / 2, bottom + height / 2, label, ha="center", va="center", fontsize=9, **text)
    for arrow in _arrows(shapes):
        _arrow(ax, *arrow)
    _ends(ax, shapes)
    ax.set(xlim=(0, 100), ylim=(-3.5, 37))
    ax.set_axis_off()
    return ax


def _arrows(shapes: dict[str, tuple]):
    """Start, end and label (and head, where it has none) of each straight arrow on the map."""
    latents = _by(shapes["latents"])
    return [
        ((18, 31.2), (23, 31.2), ""),
        ((36, 31.2), (44.5, 31.2), f"ids\n{_by(shapes['ids'])}"),
        ((48.2, 28), (48.2, 16.5), f"embeddings\n{_by(shapes['embeddings'])}"),
        ((6, 13.2), (18.5, 13.2), f"noise\n{latents}"),
        ((26.5, 13.2), (44, 13.2), f"     latents, twice\n     {_by(shapes['unet input'])}"),
        ((52.5, 13.2), (63.5, 13.2), f"two guesses\n{_by(shapes['unet output'])}"),
        ((68.5, 10), (68.5, 5.5), ""),
        ((63.5, 2.8), (38.5, 2.8), f"a little less noise\n{latents}", "-"),
        ((38.5, 2.8), (38.5, 13.2), ""),
        ((75, 13.2), (87, 13.2), f"latents\n{latents}"),
        ((92.5, 10), (92.5, 5), ""),
    ]


def _ends(ax, shapes: dict[str, tuple]):
    """What goes in and what comes out, in italics."""
    style = {"ha": "center", "va": "center", "fontsize": 9, "style": "italic", "color": INK}
    ax.text(9, 31.2, "“” and\n“a photograph of\nan astronaut …”", **style)
    ax.text(3.5, 13.2, "seed", **style)
    ax.text(92.5, 3.4, "out.png", **style)
    ax.text(92.5, 0.6, _by(shapes["picture"]), **(style | {"fontsize": 8, "style": "normal"}))


def _arrow(ax, start, end, words: str, head: str = "-|>"):
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


def figure_machine(sd, *, steps: int = 20, lit=()) -> WordedFigure:
    """The map of the machine `sd`, from the prompt to the picture, with its shapes; `lit` as in `plot_machine`."""
    fig = WordedFigure(figsize=(10, 3.7))
    shapes = machine_shapes(sd)
    plot_machine(shapes, steps=steps, lit=lit, ax=fig.subplots())
    flow = {name: _by(shape) for name, shape in shapes.items()}
    fig.words = (
        "Map of the machine. "
        f"An empty prompt and the prompt go through the tokenizer (ids, {flow['ids']}) "
        f"and the text encoder (embeddings, {flow['embeddings']}) into the UNet. "
        f"A seed gives noise, {flow['latents']}, multiplied by the largest σ. A loop of {steps} rounds follows: "
        f"the UNet sees the latents twice, {flow['unet input']}, and guesses the noise twice, "
        "guidance makes one guess of the two, the scheduler takes away a little noise. "
        "The VAE decoder turns the last latents, divided by the scaling factor, "
        f"into a picture, {flow['picture']}, saved as out.png." + (f" Lit here: {', '.join(lit)}." if lit else "")
    )
    return fig


def plot_embeddings(embeddings: torch.Tensor, *, limit: float, numbers: int = 64, ax=None):
    """Draw one prompt's embeddings, shape (tokens, dim): a column for each token, its first `numbers` downwards."""
    ax = WordedFigure(figsize=(9, 2)).subplots() if ax is None else ax
    plot_map(embeddings[:, :numbers].T, limit=limit, ax=ax)
    ax.set_aspect("auto")
    ax.set_ylabel("number", fontsize=9)
    return ax


def figure_embeddings(embeddings: torch.Tensor, words: int, *, numbers: int = 64) -> WordedFigure:
    """The embeddings of [empty prompt, prompt], shape (2, tokens, dim); the prompt ends at position `words`."""
    fig = WordedFigure(figsize=(9, 4))
    rows = fig.subplots(2, 1, sharex=True)
    numbers = min(numbers, embeddings.shape[-1])
    limit = float(embeddings[..., :numbers].abs().float().quantile(0.99))
    for ax, embedding, name, padding in zip(rows, embeddings, ("empty prompt", "prompt"), (1, words), strict=True):
        plot_embeddings(embedding, limit=limit, numbers=numbers, ax=ax)
        title = f"{name}: its end mark stands at position {padding} (dotted line), then comes padding"
        ax.set_title(title, fontsize=10)
        ax.axvline(padding - 0.5, color=INK, linewidth=1.2, linestyle=":")
    last = embeddings.shape[1] - 1
    rows[-1].set_xticks([*range(0, last, 10), last])
    rows[-1].set_xlabel("position of the token", fontsize=9)
    bar = fig.colorbar(rows[0].images[0], ax=rows, shrink=0.8, pad=0.01)
    bar.set_label("value (no unit)", fontsize=9)
    same = torch.equal(embeddings[0, 0], embeddings[1, 0])
    fig.words = (
        f"Two maps of {numbers} by {embeddings.shape[1]} squares: for each position the first {numbers} of "
        f"{embeddings.shape[2]} numbers. Above the empty prompt, below the prompt, whose end stands at position "
        f"{words}. Their columns at position 0 are {'the same' if same else 'different'}."
    )
    return fig


def plot_sigmas(sigmas: torch.Tensor, *, ax=None):
    """Draw the noise level of each step, falling from the first to 0."""
    ax = WordedFigure(figsize=(7, 2.4)).subplots() if ax is None else ax
    levels = sigmas.tolist()
    ax.plot(range(len(levels)), levels, "o-", color=ORANGE, markersize=4)
    ax.set(xlabel="step", ylabel="noise level σ\n(its standard deviation)", xticks=range(0, len(levels), 5))
    ends = {"textcoords": "offset points", "fontsize": 9}
    ax.annotate(f"σ = {levels[0]:.4f}", (0, levels[0]), xytext=(8, -4), **ends)
    ax.annotate("σ = 0: no noise left", (len(levels) - 1, 0), xytext=(0, 14), ha="right", **ends)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=PALE, linewidth=0.6)
    return ax


def figure_sigmas(scheduler) -> WordedFigure:
    """The noise levels that `scheduler` has set, from the noise to the picture."""
    fig = WordedFigure(figsize=(7, 2.4))
    sigmas = scheduler.sigmas
    plot_sigmas(sigmas, ax=fig.subplots())
    fig.words = (
        f"A falling curve of {len(sigmas)} noise levels, steep at first: {sigmas[0]:.2f}, {sigmas[1]:.2f}, "
        f"{sigmas[2]:.2f} … {sigmas[-2]:.2f}, 0."
    )
    return fig


def figure_latents(latents: torch.Tensor, title: str = "") -> WordedFigure:
    """The channels of the first latents in the batch, shape (batch, channels, height, width), side by side."""
    first = latents[0].detach().float().cpu()
    fig = WordedFigure(figsize=(2.1 * len(first) + 0.6, 2.4))
    limit = float(first.abs().max())
    axes = fig.subplots(1, len(first), squeeze=False)[0]
    for channel, (ax, values) in enumerate(zip(axes, first, strict=True)):
        plot_map(values, f"channel {channel}", limit=limit, ax=ax)
    fig.colorbar(axes[-1].images[0], ax=axes, shrink=0.85, pad=0.01).set_label("value (no unit)", fontsize=9)
    fig.suptitle(title, fontsize=11)
    fig.words = (
        f"{title or 'Latents'}: {_by(first.shape)} numbers as {len(first)} maps of coloured squares, "
        f"standard deviation {first.std():.1f}."
    )
    return fig


def figure_way(noisy: torch.Tensor, predicted, sigmas, steps) -> WordedFigure:
    """The way from noise to picture: above the noisy latents (first channel), below the picture that the UNet expects.

    Each map of latents has its own range of colours, or else the first would outshine the last.
    `noisy` has shape (n, channels, height, width), `predicted` holds n PIL pictures, `sigmas` and `steps` n numbers.
    """
    fig = WordedFigure(figsize=(1.6 * len(steps), 3.75), photographs=True)
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
    grows = _edges(predicted[-1]) > _edges(predicted[0])
    fig.words = (
        f"Two rows of {len(steps)} pictures, at the steps {', '.join(map(str, steps))}. "
        f"Above, the noisy latents, whose noise falls from {sigmas[0]:.1f} to {sigmas[-1]:.2f}. "
        "Below, the picture that the UNet expects, decoded; "
        f"its edges are {'sharper' if grows else 'softer'} at the end than at the beginning."
    )
    return fig


def _edges(picture) -> float:
    """The mean step between neighbouring pixels of a PIL picture: small for a blur."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def _by(shape) -> str:
    """A shape in words: 4 × 16 × 16."""
    return " × ".join(str(side) for side in shape)
