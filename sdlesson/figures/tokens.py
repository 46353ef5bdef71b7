"""The figures of tokens: walls of merges, rows of pieces, the 77 places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..loading import checks
from ..loading.errors import BadInput
from ..tokens import WORD_END, byte_words, context_length, encode_pieces, merge_ranks, merge_steps, places
from .base import BLUE, GREEN, INK, ORANGE, PALE, PINK, given_axes, new_figure, open_axes, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import CLIPTokenizer

_LETTERS = 40  # of one row of pieces: more are too narrow to be read


_MOST = 500  # pieces of one row: more are too narrow to be seen, and take longer than ten seconds


def plot_merges(steps: Sequence, ranks: Mapping[tuple[str, str], int], *, ax=None):
    """Draw the `merge_steps` of one word as a wall: letters on top, then a row for each merge, its new piece lit."""
    ax = given_axes(ax, (5, 3))
    for row, (pair, parts) in enumerate(steps):
        left = 0
        for part in parts:
            new = pair is not None and part == "".join(pair)
            left = _brick(ax, left, row, part, ORANGE if new else PALE)
    labels = ["letters", *(f"{ranks[pair]}:  {pair[0]} + {pair[1]}" for pair, _ in steps[1:])]
    ax.set_yticks(range(len(steps)), labels, fontsize=8)
    ax.tick_params(length=0)
    ax.set(xticks=[], xlim=(-0.1, left + 0.1), ylim=(len(steps) - 0.5, -0.5))
    ax.spines[:].set_visible(False)
    return plain(ax)


def _brick(ax, left: float, row: int, part: str, colour: str) -> float:
    """One piece as a box that is as wide as its letters; returns its right end."""
    wide = _wide(part)
    ax.barh(row, wide, left=left, height=0.78, color=colour, alpha=0.35, edgecolor=INK, linewidth=0.8)
    ax.text(left + wide / 2, row, part, ha="center", va="center", fontsize=8, color=INK)
    return left + wide


def _wide(part: str) -> float:
    """The letters of a piece, `</w>` counted as one and a half."""
    return len(part.removesuffix(WORD_END)) + 1.5 * part.endswith(WORD_END)


def figure_merges(tokenizer: CLIPTokenizer, words: Sequence[str]) -> Figure:
    """How the merges build each of `words`, side by side; on the left of each row the merge's rank and its pair.

    Raises BadInput for what the tokenizer cuts into several parts before it merges, or into none.
    """
    ranks = merge_ranks(tokenizer)
    walls = [merge_steps(_whole(tokenizer, word), ranks) for word in words]
    widths = [len(wall[0][1]) + 5 for wall in walls]  # the labels take as much room as five letters
    fig = new_figure(figsize=(10, 0.27 * max(map(len, walls)) + 0.5))
    told = []
    axes = fig.subplots(1, len(words), width_ratios=widths, squeeze=False)[0]
    for ax, word, wall in zip(axes, words, walls, strict=True):
        plot_merges(wall, ranks, ax=ax)
        ax.set_ylim(max(map(len, walls)) - 0.5, -0.5)  # all bricks of one height
        pieces_left = wall[-1][1]
        ax.set_title(f"{word}: {_number(pieces_left, 'piece')}", fontsize=10)
        joined = ", ".join(f"{first} + {second} (rank {ranks[first, second]})" for first, second in _pairs(wall))
        told.append(f"{word}: {joined or 'no merge'}; what is left: {' '.join(pieces_left)}")
    fig.words = f"Walls of pieces, from single letters down, one merge a row. {'. '.join(told)}."
    return fig


def _whole(tokenizer: CLIPTokenizer, word: str) -> str:
    """The word as the merges get it; raises BadInput for what is no single word."""
    parts = byte_words(tokenizer, word)
    if len(parts) != 1:
        raise BadInput(f"A wall shows the merges of one word, and {checks.told(word)} is {len(parts)} words here.")
    return parts[0]


def _pairs(steps: Sequence) -> list[tuple[str, str]]:
    return [pair for pair, _ in steps if pair]


def _number(things: Sequence, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _in_a_row(row: Sequence, label: str) -> Sequence:
    """The row itself; raises BadInput where it has more pieces than a figure can show."""
    if len(row) > _MOST:
        raise BadInput(f"A row of {len(row)} pieces cannot be drawn, {_MOST} can: {checks.told(label)} is too long.")
    return row


def figure_pieces(tokenizer: CLIPTokenizer, texts: Mapping[str, str]) -> Figure:
    """The pieces of each text, label -> text, as rows of boxes; on the right how many bytes and pieces it has.

    Raises BadInput for a text of more than 500 pieces.
    """
    fig = new_figure()
    ax = fig.subplots()
    told, middles, ends, row, right = [], [], [], -1, 0.0
    for label, text in texts.items():
        left, first = 0.0, (row := row + 1)
        for number, part in enumerate(parts := _in_a_row(encode_pieces(tokenizer, text).tokens, label)):
            if left and left + _wide(part) > _LETTERS:
                left, row = 0.0, row + 1
            left = _brick(ax, left, row, part, (BLUE, ORANGE, GREEN, PINK)[number % 4]) + 0.15
            right = max(left, right)
        middles.append((first + row) / 2)
        ends.append(f"{_number(text.encode(), 'byte')}, {_number(parts, 'piece')}")
        told.append(f"{label}: {' '.join(parts)} ({ends[-1]})")
    for middle, words in zip(middles, ends, strict=True):
        ax.text(right + 0.5, middle, words, va="center", fontsize=9, color=INK)
    ax.set_yticks(middles, [wrapped(label, 2.5) for label in texts], fontsize=9)
    ax.tick_params(length=0)
    ax.set(xticks=[], xlim=(-0.2, 1.2 * right), ylim=(row + 0.6, -0.6))
    ax.spines[:].set_visible(False)
    fig.set_size_inches(10, 0.36 * (row + 1) + 0.2)
    fig.words = f"Texts cut into pieces. {'; '.join(told)}."
    return fig


#: What stands in the places of a text: kind -> (colour, how strong, name).
_PLACES = {
    "start": (PINK, 1.0, "start"),
    "word": (BLUE, 0.9, "pieces, word by word"),
    "next": (BLUE, 0.45, ""),
    "end": (ORANGE, 1.0, "end"),
    "padding": (ORANGE, 0.25, "padding"),
    "cut": (INK, 0.55, "cut off"),
}


def plot_places(row: Sequence[str], at: float = 0, *, length: int = 77, ax=None):
    """Draw the `places` of one text as boxes in a row at height `at`; what is cut off stands behind a gap."""
    ax = given_axes(ax, (10, 1))
    for kind, (colour, strength, _) in _PLACES.items():
        lefts = [place + 2 * (kind == "cut") for place, each in enumerate(row) if each == kind]
        if lefts:
            ax.barh([at] * len(lefts), 0.86, left=lefts, height=0.72, color=colour, alpha=strength, align="center")
    if "cut" in row:
        ax.plot([length + 0.9] * 2, [at - 0.5, at + 0.5], color=INK, linewidth=1.5)
    return ax


def figure_places(tokenizer: CLIPTokenizer, texts: Mapping[str, str]) -> Figure:
    """The places of each text, label -> text, one below the other: start, pieces, end, padding, and what is cut off.

    Raises BadInput for a text of more than 500 places.
    """
    rows = [_in_a_row(places(tokenizer, text), label) for label, text in texts.items()]
    length = context_length(tokenizer)
    fig = new_figure(figsize=(10, 0.34 * len(texts) + 0.95))
    ax = fig.subplots()
    for at, row in enumerate(rows):
        plot_places(row, at, length=length, ax=ax)
    for kind, (colour, strength, name) in _PLACES.items():
        if name and any(kind in row for row in rows):
            ax.plot([], [], "s", color=colour, alpha=strength, label=name)
    ax.legend(ncols=6, frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.set_yticks(range(len(texts)), list(texts), fontsize=9)
    last = length - 1
    ax.set_xticks([place + 0.43 for place in (*range(0, last, 10), last)], [*range(0, last, 10), last], fontsize=8)
    ax.set_xlabel("position", fontsize=9)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(-0.5, max(map(len, rows)) + 2.5), ylim=(len(texts) - 0.4, -0.6))
    ax.spines[:].set_visible(False)
    told = []
    for label, row in zip(texts, rows, strict=True):
        kinds = Counter("pieces" if kind in ("word", "next") else kind for kind in row)
        told.append(f"{label}: " + ", ".join(f"{often} {kind}" for kind, often in kinds.items()))
    fig.words = f"The {length} places of {_number(texts, 'text')}. {'; '.join(told)}."
    return fig


def plot_pairs(counts: Counter, *, most: int = 6, ax=None):
    """Draw the `most` frequent pairs of `count_pairs` as bars, the most frequent one lit; returns the Axes."""
    ax = given_axes(ax, (3, 2))
    pairs = [pair for pair, _ in counts.most_common(most)]  # of equal ones the first, as the merges are learned
    colours = [ORANGE, *[BLUE] * (len(pairs) - 1)]
    ax.barh(range(len(pairs)), [counts[pair] for pair in pairs], color=colours, height=0.7)
    ax.set_yticks(range(len(pairs)), [" + ".join(pair) for pair in pairs], fontsize=8)
    ax.tick_params(labelsize=8)
    ax.set_ylim(most - 0.4, -0.6)
    return open_axes(ax)


def figure_learning(rounds: Sequence[Counter]) -> Figure:
    """How merges are learned: one panel a round with the counts of its most frequent pairs; the winner is joined."""
    fig = new_figure(figsize=(10, 2.1))
    axes = fig.subplots(1, len(rounds), sharex=True, squeeze=False)[0]
    told = []
    for number, (ax, counts) in enumerate(zip(axes, rounds, strict=True), start=1):
        plot_pairs(counts, ax=ax)
        ax.set_title(f"round {number}", fontsize=10)
        pair, often = max(counts.items(), key=lambda item: item[1])
        told.append(f"round {number}: {' + '.join(pair)}, {often} times")
    fig.supxlabel("how often the pair occurs", fontsize=9)
    fig.words = f"Bars: the most frequent pairs of {len(rounds)} rounds. Joined in {'; '.join(told)}."
    return fig
