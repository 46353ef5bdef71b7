"""Prompt -> token ids: what the tokenizer makes of words, and which words it cuts off."""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .figures import BLUE, GREEN, INK, ORANGE, PALE, PINK, new_figure, open_axes
from .models import BadInput

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from tokenizers import Encoding, Tokenizer
    from transformers import CLIPTokenizer

_CLIP_LENGTH = 77  # tokens that CLIP's text encoder reads, start and end among them (Radford et al. 2021, section 2.4)
_NAMED = 30  # words that a warning names before it only counts
_WORD_END = "</w>"


class TruncationWarning(UserWarning):
    """A prompt had more tokens than the text encoder reads; the message names the words that were cut off."""


def as_prompts(prompt: str | Sequence[str]) -> list[str]:
    """A prompt, or several, as a list of at least one text; raises BadInput for anything else."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt) if isinstance(prompt, Sequence) else None
    if prompts is None or not all(isinstance(text, str) for text in prompts):
        raise BadInput(f"A prompt is a text or a list of texts, not {prompt!r}.")
    if not prompts:
        raise BadInput("The list of prompts is empty; give at least one.")
    for text in prompts:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise BadInput(f"The prompt {text!r} is not valid text (Unicode): it holds half a character.")
    return prompts


def context_length(tokenizer: CLIPTokenizer) -> int:
    """How many tokens the text encoder reads, start and end included: 77 for CLIP."""
    length = tokenizer.model_max_length
    return length if length < 10**6 else _CLIP_LENGTH  # transformers writes 1e30 where a model says nothing


def own_encoder(tokenizer: CLIPTokenizer) -> Tokenizer:
    """A `tokenizers.Tokenizer` by the rules of `tokenizer`, for one call: it neither cuts nor pads unless told to.

    transformers keeps cutting and padding in the one object that all threads share; what is set here stays here. The
    vocabulary is shared and not copied, so that this takes no time.
    """
    from tokenizers import Tokenizer

    shared = tokenizer.backend_tokenizer
    own = Tokenizer(shared.model)
    for rules in ("normalizer", "pre_tokenizer", "post_processor"):
        setattr(own, rules, getattr(shared, rules))
    own.add_tokens([token for _, token in sorted(shared.get_added_tokens_decoder().items())])
    return own


def encode_pieces(tokenizer: CLIPTokenizer, text: str) -> Encoding:
    """All pieces of `text`, none cut off, without start, end and padding: their ids, tokens, offsets and word_ids."""
    return own_encoder(tokenizer).encode(text, add_special_tokens=False)


def token_ids(tokenizer: CLIPTokenizer, prompt: str | Sequence[str]) -> torch.Tensor:
    """What `tokenize` gives, (batch, 77), without a word about what is cut off."""
    import torch

    length, own = context_length(tokenizer), own_encoder(tokenizer)
    own.enable_truncation(length, direction=tokenizer.truncation_side)
    side, pad = tokenizer.padding_side, tokenizer.pad_token
    own.enable_padding(length=length, direction=side, pad_id=tokenizer.pad_token_id, pad_token=pad)
    return torch.tensor([encoding.ids for encoding in own.encode_batch(as_prompts(prompt))])


def tokenize(tokenizer: CLIPTokenizer, prompt: str | Sequence[str]) -> torch.Tensor:
    """Token ids of one prompt or several, start and end added, padded and cut to one length; int64, (batch, 77).

    The first words are kept. Words that are cut off are named by a TruncationWarning. Raises BadInput for an empty
    list.
    """
    prompts, length, ids = as_prompts(prompt), context_length(tokenizer), token_ids(tokenizer, prompt)
    # Only a row that is full to its end can have lost something: then its last token but one is a piece of a word.
    for text, row in zip(prompts, ids.tolist(), strict=True):
        if row[-2] not in (tokenizer.eos_token_id, tokenizer.pad_token_id) and (lost := cut_words(tokenizer, text)):
            warnings.warn(_complaint(text, lost, length), TruncationWarning, stacklevel=2)
    return ids


def cut_words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """The words of `text` that the text encoder will not see (or not to their end): empty if all of it fits."""
    kept = context_length(tokenizer) - 2  # start and end take two places
    lost = encode_pieces(tokenizer, text).offsets[kept:]
    if not lost:
        return []
    start = lost[0][0]
    while start and not text[start - 1].isspace():  # back to where the word begins that was cut in two
        start -= 1
    return text[start:].split()


def pieces(tokenizer: CLIPTokenizer, ids: torch.Tensor | Sequence[int]) -> list[str]:
    """The pieces of words that the ids of one prompt stand for, padding included; `</w>` marks the end of a word."""
    return tokenizer.convert_ids_to_tokens([int(number) for number in ids])


def _complaint(text: str, lost: list[str], length: int) -> str:
    named = " ".join(lost[:_NAMED]) + (f" ... and {len(lost) - _NAMED} words more" if lost[_NAMED:] else "")
    begin = " ".join(text.split()[:5])
    return f'the prompt "{begin} ..." is longer than the {length - 2} tokens that the model reads; cut off: "{named}"'


def byte_words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """The words that `text` is cut into before any merge: lower case, one printable letter for each byte (UTF-8)."""
    backend = tokenizer.backend_tokenizer
    words = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    return [word for word, _ in words]


def merge_ranks(tokenizer: CLIPTokenizer) -> dict[tuple[str, str], int]:
    """Each pair of pieces that the tokenizer joins -> its rank: 0 for the pair that was learned first."""
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return {tuple(pair): rank for rank, pair in enumerate(merges)}


def join(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """`parts` with each neighbouring `pair` made one piece, from left to right."""
    joined, left = [], iter(range(len(parts)))
    for i in left:
        together = tuple(parts[i : i + 2]) == tuple(pair)
        joined.append("".join(pair) if together else parts[i])
        if together:
            next(left)  # its second half is used up
    return joined


def merge_steps(word: str, ranks: Mapping[tuple[str, str], int]) -> list[tuple[tuple[str, str] | None, list[str]]]:
    """How byte-pair encoding cuts one word of `byte_words`: [(None, its letters), (pair joined, parts) ...].

    At each step the pair of lowest rank is joined, everywhere in the word, until no pair has a rank (Sennrich et al.
    2016, section 3.2). The last parts are the pieces.
    """
    parts = [*word[:-1], word[-1] + _WORD_END]
    steps = [(None, parts)]
    while known := [pair for pair in itertools.pairwise(parts) if pair in ranks]:
        pair = min(known, key=ranks.__getitem__)
        parts = join(parts, pair)
        steps.append((pair, parts))
    return steps


def count_pairs(words: Mapping[tuple[str, ...], int]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbours occurs in a text, given as word (a tuple of pieces) -> how often it occurs."""
    counts = Counter()
    for parts, often in words.items():
        for pair in itertools.pairwise(parts):
            counts[pair] += often
    return counts


def plot_merges(steps: Sequence, ranks: Mapping[tuple[str, str], int], *, ax=None):
    """Draw the `merge_steps` of one word as a wall: letters on top, then a row for each merge, its new piece lit."""
    ax = new_figure(figsize=(5, 3)).subplots() if ax is None else ax
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
    return ax


def _brick(ax, left: float, row: int, part: str, colour: str) -> float:
    """One piece as a box that is as wide as its letters, `</w>` counted as one and a half; returns its right end."""
    wide = len(part.removesuffix(_WORD_END)) + 1.5 * part.endswith(_WORD_END)
    ax.barh(row, wide, left=left, height=0.78, color=colour, alpha=0.35, edgecolor=INK, linewidth=0.8)
    ax.text(left + wide / 2, row, part, ha="center", va="center", fontsize=8, color=INK)
    return left + wide


def figure_merges(tokenizer: CLIPTokenizer, words: Sequence[str]) -> Figure:
    """How the merges build each of `words`, side by side; on the left of each row the merge's rank and its pair."""
    ranks = merge_ranks(tokenizer)
    walls = [merge_steps(byte_words(tokenizer, word)[0], ranks) for word in words]
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


def _pairs(steps: Sequence) -> list[tuple[str, str]]:
    return [pair for pair, _ in steps if pair]


def _number(things: Sequence, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def figure_pieces(tokenizer: CLIPTokenizer, texts: Mapping[str, str]) -> Figure:
    """The pieces of each text, label -> text, as a row of boxes; on the right how many bytes and pieces it has."""
    fig = new_figure(figsize=(10, 0.36 * len(texts) + 0.2))
    ax = fig.subplots()
    told, ends = [], []
    for row, text in enumerate(texts.values()):
        left = 0
        for number, part in enumerate(parts := encode_pieces(tokenizer, text).tokens):
            left = _brick(ax, left, row, part, (BLUE, ORANGE, GREEN, PINK)[number % 4]) + 0.15
        ends.append((left, f"{_number(text.encode(), 'byte')}, {_number(parts, 'piece')}"))
        told.append(" ".join(parts))
    right = max(left for left, _ in ends)
    for row, (_, words) in enumerate(ends):
        ax.text(right + 0.5, row, words, va="center", fontsize=9, color=INK)
    ax.set_yticks(range(len(texts)), list(texts), fontsize=9)
    ax.tick_params(length=0)
    ax.set(xticks=[], xlim=(-0.2, 1.2 * right), ylim=(len(texts) - 0.4, -0.6))
    ax.spines[:].set_visible(False)
    lines = (f"{label}: {parts} ({end})" for label, parts, (_, end) in zip(texts, told, ends, strict=True))
    fig.words = f"Texts cut into pieces. {'; '.join(lines)}."
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


def places(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """What stands in each place of a text: start, word or next (changing from word to word), end, padding; then cut."""
    length = context_length(tokenizer)
    kinds = [("word", "next")[word % 2] for word in encode_pieces(tokenizer, text).word_ids]
    kept = kinds[: length - 2]
    row = ["start", *kept, "end"]
    return row + ["padding"] * (length - len(row)) + ["cut"] * (len(kinds) - len(kept))


def plot_places(row: Sequence[str], at: float = 0, *, length: int = 77, ax=None):
    """Draw the `places` of one text as boxes in a row at height `at`; what is cut off stands behind a gap."""
    ax = new_figure(figsize=(10, 1)).subplots() if ax is None else ax
    for kind, (colour, strength, _) in _PLACES.items():
        lefts = [place + 2 * (kind == "cut") for place, each in enumerate(row) if each == kind]
        if lefts:
            ax.barh([at] * len(lefts), 0.86, left=lefts, height=0.72, color=colour, alpha=strength, align="center")
    if "cut" in row:
        ax.plot([length + 0.9] * 2, [at - 0.5, at + 0.5], color=INK, linewidth=1.5)
    return ax


def figure_places(tokenizer: CLIPTokenizer, texts: Mapping[str, str]) -> Figure:
    """The places of each text, label -> text, one below the other: start, pieces, end, padding, and what is cut off."""
    rows, length = [places(tokenizer, text) for text in texts.values()], context_length(tokenizer)
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
    ax = new_figure(figsize=(3, 2)).subplots() if ax is None else ax
    pairs = sorted(counts, key=lambda pair: (-counts[pair], pair))[:most]
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
