"""The figures of embeddings: vectors as columns, triangles of heads, tables of cosines, flat maps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from .base import (
    BLUE,
    DIVERGING,
    GREEN,
    INK,
    ORANGE,
    PALE,
    SEQUENTIAL,
    given_axes,
    new_figure,
    peak,
    plot_curves,
    plot_map,
    plot_matrix,
    plot_picture,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def plot_embeddings(embeddings: torch.Tensor, *, limit: float, numbers: int = 64, ax=None):
    """Draw one prompt's embeddings, shape (tokens, dim): a column for each token, its first `numbers` downwards."""
    ax = given_axes(ax, (9, 2))
    plot_map(embeddings[:, :numbers].T, limit=limit, ax=ax)
    ax.set_aspect("auto")
    dim = embeddings.shape[1]
    ax.set_ylabel(f"first {numbers} of {dim}" if numbers < dim else "number", fontsize=9)
    return ax


def figure_embeddings(embeddings: torch.Tensor, words: int, *, numbers: int = 64) -> Figure:
    """The embeddings of [empty prompt, prompt], shape (2, tokens, dim); the prompt ends at position `words`.

    On the right their first positions once more, the columns of both texts side by side.
    """
    fig = new_figure(figsize=(10, 4))
    grid = fig.subplot_mosaic([["empty", "first"], ["prompt", "first"]], width_ratios=(6, 1.5))
    rows = [grid["empty"], grid["prompt"]]
    numbers = min(numbers, embeddings.shape[-1])
    limit = float(embeddings[..., :numbers].abs().float().nan_to_num(0, 0).quantile(0.99))
    for ax, embedding, name, padding in zip(rows, embeddings, ("empty prompt", "prompt"), (1, words), strict=True):
        plot_embeddings(embedding, limit=limit, numbers=numbers, ax=ax)
        title = f"{name}: its end mark stands at position {padding} (dotted line), then comes padding"
        ax.set_title(title, fontsize=10)
        ax.axvline(padding - 0.5, color=INK, linewidth=1.2, linestyle=":")
    last = embeddings.shape[1] - 1
    rows[0].set_xticks([])
    rows[-1].set_xticks([*range(0, last, 10), last])
    rows[-1].set_xlabel("position of the token", fontsize=9)
    _plot_pairs(embeddings[:, : min(3, last + 1), :numbers], limit, grid["first"])
    bar = fig.colorbar(rows[0].images[0], ax=list(grid.values()), shrink=0.8, pad=0.01)
    bar.set_label("value (no unit)", fontsize=9)
    same = torch.equal(embeddings[0, 0], embeddings[1, 0])
    fig.words = (
        f"Two maps of {numbers} by {embeddings.shape[1]} squares: for each position the first {numbers} of "
        f"{embeddings.shape[2]} numbers. Above the empty prompt, below the prompt, whose end stands at position "
        f"{words}. Their columns at position 0 are {'the same' if same else 'different'}."
    )
    return fig


def _plot_pairs(embeddings: torch.Tensor, limit: float, ax) -> None:
    """Draw the columns of two texts (2, places, numbers) in pairs, one pair for each place, with a gap after each."""
    places = embeddings.shape[1]
    pairs = torch.full((embeddings.shape[2], 3 * places - 1), torch.nan)
    for place in range(places):
        pairs[:, 3 * place : 3 * place + 2] = embeddings[:, place].detach().float().cpu().T
    plot_map(pairs, limit=limit, ax=ax)
    ax.images[0].set_cmap(DIVERGING)  # the gaps are white
    ax.set(aspect="auto", xlabel="")
    ax.set_xticks([3 * place + text for place in range(places) for text in (0, 1)], ["empty", "prompt"] * places)
    ax.tick_params(axis="x", labelrotation=90, labelsize=8, length=0)
    for place in range(places):
        ax.text(3 * place + 0.5, -1, place, ha="center", va="bottom", fontsize=8, color=INK)
    ax.set_title("both, by position", fontsize=10, pad=16)


def figure_sum(tokens: torch.Tensor, positions: torch.Tensor, labels: Sequence[str], *, numbers: int = 32) -> Figure:
    """Token vectors, position vectors and their sums side by side, shape (n, dim) each, for the n tokens `labels`."""
    fig = new_figure(figsize=(10, 3.6))
    panels = {
        "token vectors": tokens,
        "+ position vectors": positions,
        "= what the first layer reads": tokens + positions,
    }
    numbers = min(numbers, tokens.shape[-1])
    limit = peak(*(each[:, :numbers] for each in panels.values()))
    axes = fig.subplots(1, 3, sharey=True)
    for ax, (name, vectors) in zip(axes, panels.items(), strict=True):
        plot_embeddings(vectors, limit=limit, numbers=numbers, ax=ax)
        ax.set_title(name, fontsize=10)
        ax.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    for ax in axes[1:]:
        ax.set_ylabel("")
    axes[0].set_ylabel(f"the first {numbers} of {tokens.shape[-1]} numbers", fontsize=9)
    axes[0].set_yticks([0, numbers - 1])
    axes[1].set_xticks(range(len(labels)), range(len(labels)), rotation=0, ha="center", fontsize=8)
    axes[1].set_xlabel("position", fontsize=9)
    fig.colorbar(axes[0].images[0], ax=axes, shrink=0.85, pad=0.01).ax.tick_params(labelsize=8)
    twins = [f"{a} and {b}" for a in range(len(tokens)) for b in range(a) if torch.equal(tokens[a], tokens[b])]
    fig.words = (
        f"Three maps of {numbers} by {len(labels)} squares, the first {numbers} of {tokens.shape[-1]} numbers of each "
        f"vector: of the tokens {', '.join(labels)}; of the positions 0 to {len(labels) - 1}; and of their sums. "
        f"Columns with equal token vectors: {'; '.join(twins) or 'none'}."
    )
    return fig


def figure_heads(weights: torch.Tensor, labels: Sequence[str], *, columns: int = 4) -> Figure:
    """How much each token takes from each, shape (heads, n, n), for the first `columns` heads: a triangle each."""
    weights = weights.detach().float().cpu()[:columns]
    fig = new_figure(figsize=(10, 9.2 / len(weights) + 1.1))
    axes = fig.subplots(1, len(weights), sharey=True, squeeze=False)[0]
    for number, (ax, head) in enumerate(zip(axes, weights, strict=True)):
        ax.imshow(head, cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(f"head {number}", fontsize=10)
        ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
        ax.set_yticks(range(len(labels)), labels, fontsize=8)
    axes[0].set_ylabel("this token …", fontsize=9)
    axes[0].set_xlabel("… takes its share from", fontsize=9)
    bar = fig.colorbar(axes[0].images[0], ax=axes, shrink=0.7, pad=0.01)
    bar.set_label("share (a row sums to 1)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    last = [f"head {number}, {labels[int(head[-1].argmax())]}" for number, head in enumerate(weights)]
    above = float(weights.triu(1).abs().max())
    fig.words = (
        f"{len(weights)} triangles of {len(labels)} by {len(labels)} squares: the share that each token takes from "
        f"each token before it; {'all is 0' if above == 0 else 'not all is 0'} to the right of the diagonal. From the "
        f"last token, {labels[-1]}, the largest share goes to: {'; '.join(last)}."
    )
    return fig


def plot_cosines(cosines: torch.Tensor, rows: Sequence[str], columns: Sequence[str], *, decimals=2, ax=None):
    """Draw a table of cosines, shape (len(rows), len(columns)), orange at 1, violet at -1; returns the Axes."""
    ax = given_axes(ax, (7, 4))
    plot_matrix(cosines, rows, columns, decimals=decimals, ax=ax)
    ax.images[0].set(cmap=DIVERGING, clim=(-1, 1))
    for text, value in zip(ax.texts, cosines.flatten().tolist(), strict=True):
        text.set_color("white" if abs(value) > 0.7 else INK)
    return ax


def figure_cosines(tables: Mapping[str, tuple[torch.Tensor, Sequence[str]]]) -> Figure:
    """Tables of cosines side by side: title -> (vectors (n, dim), n labels); each compares its vectors pair by pair.

    The rows are numbered, and the columns carry the same numbers.
    """
    fig = new_figure(figsize=(10, 4.1))
    axes = fig.subplots(1, len(tables), squeeze=False)[0]
    told = []
    for ax, (title, (vectors, labels)) in zip(axes, tables.items(), strict=True):
        unit = torch.nn.functional.normalize(vectors.detach().float().cpu(), dim=-1)
        cosines = unit @ unit.T
        rows = [f"{label}  {number}" for number, label in enumerate(labels)]
        plot_cosines((10 * cosines).round() / 10 + 0.0, rows, range(len(rows)), decimals=1, ax=ax)
        ax.set_xticklabels(range(len(rows)), rotation=0, ha="center")
        ax.set_title(title, fontsize=10)
        a, b = divmod(int((cosines - 3 * torch.eye(len(labels))).argmax()), len(labels))
        told.append(f"{title}: {', '.join(rows)}; most alike are {min(a, b)} and {max(a, b)}")
    fig.words = f"Tables of cosines. {'. '.join(told)}."
    return fig


def figure_captions(places: torch.Tensor, colourings: Mapping[str, Sequence[str]], shares=None) -> Figure:
    """A flat map of captions, places (n, 2): a row for each of {title: n words}, each word lit on a map of its own."""
    kinds = {title: list(dict.fromkeys(words)) for title, words in colourings.items()}
    columns = max(map(len, kinds.values()))
    fig = new_figure(figsize=(10, 1.75 * len(kinds) + 0.3))
    grid = fig.subplots(len(kinds), columns, sharex=True, sharey=True, squeeze=False)
    told, near = [], _neighbours(places)
    for axes, (title, words), colour in zip(grid, colourings.items(), itertools.cycle((ORANGE, BLUE, GREEN))):
        for ax in axes[len(kinds[title]) :]:
            ax.set_axis_off()
        for ax, word in zip(axes, kinds[title], strict=False):
            chosen = [each == word for each in words]
            ax.scatter(*places.T, s=6, c=PALE, linewidths=0)
            ax.scatter(*places[chosen].T, s=16, c=colour, linewidths=0)
            ax.set_title(word, fontsize=9, pad=3)
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(title, fontsize=9)
        told.append(f"{title}, {sum(words[i] == words[j] for i, j in enumerate(near))}")
    if shares is not None:
        fig.supxlabel(
            f"to the right: the first direction ({100 * shares[0]:.0f} % of the differences); "
            f"upwards: the second ({100 * shares[1]:.0f} %)",
            fontsize=9,
        )
    fig.words = (
        f"A flat map of {len(places)} captions, in {len(colourings)} rows, drawn once for each word, which is lit. So "
        f"many of them have the same word as their nearest neighbour on the map: {'; '.join(told)}."
    )
    return fig


def _neighbours(vectors: torch.Tensor) -> list[int]:
    """For each of n vectors (n, dim) the number of the nearest other one."""
    apart = torch.cdist(vectors.double(), vectors.double())
    return apart.fill_diagonal_(torch.inf).argmin(dim=1).tolist()


def figure_fit(scores: torch.Tensor, pictures: Sequence[Image], texts: Sequence[str]) -> Figure:
    """The CLIP scores of pictures and texts, shape (pictures, texts): pictures above, a row for each text."""
    shown = [wrapped(text, 4.6) for text in texts]
    high = sum(max(0.42, 0.17 * (text.count("\n") + 1)) for text in shown)
    fig = new_figure(figsize=(10, 1.5 + high), photographs=True)
    grid = fig.subplot_mosaic(
        [[f"p{k}" for k in range(len(pictures))], ["table"] * len(pictures)], height_ratios=[1.3, high]
    )
    for k, picture in enumerate(pictures):
        plot_picture(picture, ax=grid[f"p{k}"])
    plot_cosines(scores.T, shown, [""] * len(pictures), ax=grid["table"])
    grid["table"].set_xticks([])
    found = int((scores.argmax(dim=1) == torch.arange(len(pictures))).sum())
    fig.words = (
        f"{len(pictures)} pictures above a table of their scores with the texts {'; '.join(texts)}. "
        f"{found} of {len(pictures)} pictures have their largest score with the text of the same number."
    )
    return fig


def figure_mixture(
    pictures: Sequence[Image], weights: Sequence[float], scores: torch.Tensor, names: Sequence[str]
) -> Figure:
    """Pictures of two prompts' mixtures, a column for each weight; below, their scores (pictures, 2) with either."""
    shown = [wrapped(name, 4.4) for name in names]
    high = 1.9 + 0.15 * max(name.count("\n") for name in shown)
    ratios = [10 / len(pictures), high]
    fig = new_figure(figsize=(10, sum(ratios) + 0.2), photographs=True)
    grid = fig.subplot_mosaic(
        [[f"p{k}" for k in range(len(pictures))], ["curve"] * len(pictures)], height_ratios=ratios
    )
    for k, (picture, weight) in enumerate(zip(pictures, weights, strict=True)):
        plot_picture(picture, f"{weight:g}", ax=grid[f"p{k}"])
    xs = list(range(len(weights)))
    curves = {name: (xs, scores[:, k].tolist()) for k, name in enumerate(shown)}
    ax = plot_curves(curves, "weight of the second prompt", "CLIP score", joined=False, ax=grid["curve"])
    ax.set_xticks(xs, [f"{weight:g}" for weight in weights])
    ax.set(xlim=(-0.5, len(xs) - 0.5), ylim=(None, 1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(curves), frameon=False, fontsize=9)
    wins = [f"{weight:g}" for weight, (first, second) in zip(weights, scores.tolist(), strict=True) if second > first]
    fig.words = (
        f"{len(pictures)} pictures from the same noise, the second prompt's weight "
        f"{', '.join(f'{weight:g}' for weight in weights)}. "
        f"CLIP scores against {names[0]} and {names[1]}; the second is larger at {', '.join(wins) or 'none'}."
    )
    return fig
