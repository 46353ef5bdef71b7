"""Ids -> text embeddings: one vector for each token, each knowing the tokens before it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .figures import (
    BLUE,
    DIVERGING,
    GREEN,
    INK,
    ORANGE,
    PINK,
    SEQUENTIAL,
    new_figure,
    plot_curves,
    plot_map,
    plot_matrix,
    plot_picture,
)
from .models import BadInput, StableDiffusion, checkpoint_path, quiet
from .tokens import as_prompts, tokenize

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer

#: The pair that v1.4's text encoder comes from, and the sizes (width, layers) by which that encoder is known.
V1_PAIR, _V1_TEXT = "openai/clip-vit-large-patch14", (768, 12)


def embed(text_encoder: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """The text encoder's last hidden state, after its final norm: ids (batch, 77) -> (batch, 77, dim)."""
    with torch.no_grad():
        return text_encoder(ids.to(text_encoder.device))[0]


def text_embeddings(
    sd: StableDiffusion, prompt: str | Sequence[str], negative_prompt: str | Sequence[str] = ""
) -> torch.Tensor:
    """What guidance needs, [negative ..., prompt ...] on top of each other: (2 * batch, 77, dim).

    `negative_prompt` is one text for all prompts, or one for each; the empty text is the usual one. Each text is
    encoded once, however often it occurs. Raises BadInput where there are not as many negative prompts as prompts.
    """
    return embed_texts(sd, pair(prompt, negative_prompt))


def pair(prompt: str | Sequence[str], negative_prompt: str | Sequence[str] = "") -> list[str]:
    """The texts of a guided batch in the UNet's order: every negative prompt, then every prompt; 2 * batch texts."""
    prompts, negatives = as_prompts(prompt), as_prompts(negative_prompt)
    if len(negatives) == 1:
        negatives = negatives * len(prompts)
    if len(negatives) != len(prompts):
        raise BadInput(
            f"There are {len(negatives)} negative prompts for {len(prompts)} prompts; give one, or one each."
        )
    return negatives + prompts


def embed_texts(sd: StableDiffusion, texts: Sequence[str]) -> torch.Tensor:
    """The embeddings of `texts`, (len(texts), 77, dim), in one call of the text encoder."""
    once = list(dict.fromkeys(texts))
    vectors = embed(sd.text_encoder, tokenize(sd.tokenizer, once))
    return vectors if len(once) == len(texts) else vectors[[once.index(text) for text in texts]]


@dataclass(frozen=True, eq=False)
class ClipPair:
    """A text tower and a picture tower that were trained together (Radford et al. 2021), and what feeds them."""

    model: CLIPModel
    tokenizer: CLIPTokenizer
    processor: CLIPImageProcessorPil
    name: str


def load_pair(sd: StableDiffusion) -> ClipPair:
    """The CLIP pair that goes with `sd`: in its folder's clip/, OpenAI's for a model of v1's form, else the bundled.

    OpenAI's is downloaded once; where that fails a warning says so, and the bundled pair, which knows drawings only,
    takes its place.
    """
    own = sd.folder / "clip" if sd.folder else None
    if own and own.is_dir():
        return _read_pair(own, sd.folder / "tokenizer", sd.name)
    text = sd.text_encoder.config
    if (text.hidden_size, text.num_hidden_layers) == _V1_TEXT:
        try:
            return _read_pair(V1_PAIR, V1_PAIR, V1_PAIR)
        except OSError:
            warnings.warn(f"{V1_PAIR} is not here and cannot be downloaded; the tiny pair judges instead", stacklevel=2)
    return _read_pair(checkpoint_path() / "clip", checkpoint_path() / "tokenizer", "tiny")


def _read_pair(folder, tokenizer_folder, name: str) -> ClipPair:
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    with quiet():
        model = CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    return ClipPair(model, tokenizer, CLIPImageProcessorPil.from_pretrained(folder), name)


def similarity(clip: ClipPair, pictures: Sequence[Image], texts: str | Sequence[str]) -> torch.Tensor:
    """How well each text fits each picture, as the pair sees it: cosines in -1 ... 1, float32, (pictures, texts)."""
    pixels = clip.processor(images=list(pictures), return_tensors="pt").pixel_values  # (pictures, 3, size, size)
    with torch.no_grad():
        towers = clip.model(input_ids=tokenize(clip.tokenizer, texts), pixel_values=pixels)
    return towers.image_embeds @ towers.text_embeds.T  # both of length 1, so their product is the cosine


def flat_map(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The flat picture of a cloud of vectors (n, dim) that loses least: places (n, 2), and each axis' share (2,).

    Principal component analysis: the two directions in which the vectors differ most. A direction and its opposite are
    equally good; the one is taken whose largest number is above 0, so that every machine draws the same map.
    """
    centred = vectors.detach().float().cpu()
    centred = centred - centred.mean(dim=0)
    _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
    axes = directions[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    return centred @ axes.T, (spread**2 / (spread**2).sum())[:2]


def plot_embeddings(embeddings: torch.Tensor, *, limit: float, numbers: int = 64, ax=None):
    """Draw one prompt's embeddings, shape (tokens, dim): a column for each token, its first `numbers` downwards."""
    ax = new_figure(figsize=(9, 2)).subplots() if ax is None else ax
    plot_map(embeddings[:, :numbers].T, limit=limit, ax=ax)
    ax.set_aspect("auto")
    ax.set_ylabel("number", fontsize=9)
    return ax


def figure_embeddings(embeddings: torch.Tensor, words: int, *, numbers: int = 64) -> Figure:
    """The embeddings of [empty prompt, prompt], shape (2, tokens, dim); the prompt ends at position `words`."""
    fig = new_figure(figsize=(9, 4))
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


def figure_sum(tokens: torch.Tensor, positions: torch.Tensor, labels: Sequence[str], *, numbers: int = 32) -> Figure:
    """Token vectors, position vectors and their sums side by side, shape (n, dim) each, for the n tokens `labels`."""
    fig = new_figure(figsize=(10, 3.6))
    panels = {
        "token vectors": tokens,
        "+ position vectors": positions,
        "= what the first layer reads": tokens + positions,
    }
    numbers = min(numbers, tokens.shape[-1])
    limit = max(float(each[:, :numbers].abs().max()) for each in panels.values())
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
    ax = new_figure(figsize=(7, 4)).subplots() if ax is None else ax
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
    """A flat map of captions, places (n, 2), drawn once for each colouring: title -> n words, each in its colour."""
    fig = new_figure(figsize=(10, 10 / len(colourings) + 0.5))
    axes = fig.subplots(1, len(colourings), sharex=True, sharey=True, squeeze=False)[0]
    marks = list(zip((ORANGE, BLUE, GREEN, PINK, INK, "#e69f00"), "os^DvP", strict=True))
    told = []
    for ax, (title, words) in zip(axes, colourings.items(), strict=True):
        for (colour, marker), word in zip(marks, dict.fromkeys(words), strict=False):
            chosen = places[[each == word for each in words]]
            ax.scatter(*chosen.T, s=26, c=colour, marker=marker, linewidths=0, alpha=0.85, label=word)
        ax.set_title(title, fontsize=10)
        ax.legend(loc="best", framealpha=0.8, edgecolor="none", fontsize=8, handletextpad=0)
        ax.set(xticks=[], yticks=[])
        near = _neighbours(places)
        told.append(f"{title}, {sum(words[i] == words[j] for i, j in enumerate(near))}")
    if shares is not None:
        axes[0].set_xlabel(f"first direction ({100 * shares[0]:.0f} % of the differences)", fontsize=9)
        axes[0].set_ylabel(f"second direction ({100 * shares[1]:.0f} %)", fontsize=9)
    fig.words = (
        f"A flat map of {len(places)} captions, drawn {len(colourings)} times with other colours. So many of them have "
        f"the same word as their nearest neighbour on the map: {'; '.join(told)}."
    )
    return fig


def _neighbours(vectors: torch.Tensor) -> list[int]:
    """For each of n vectors (n, dim) the number of the nearest other one."""
    apart = torch.cdist(vectors.double(), vectors.double())
    return apart.fill_diagonal_(torch.inf).argmin(dim=1).tolist()


def figure_fit(scores: torch.Tensor, pictures: Sequence[Image], texts: Sequence[str]) -> Figure:
    """The CLIP scores of pictures and texts, shape (pictures, texts): pictures above, a row for each text."""
    fig = new_figure(figsize=(10, 1.5 + 0.42 * len(texts)), photographs=True)
    grid = fig.subplot_mosaic(
        [[f"p{k}" for k in range(len(pictures))], ["table"] * len(pictures)], height_ratios=[1.3, 0.42 * len(texts)]
    )
    for k, picture in enumerate(pictures):
        plot_picture(picture, ax=grid[f"p{k}"])
    plot_cosines(scores.T, texts, [""] * len(pictures), ax=grid["table"])
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
    fig = new_figure(figsize=(10, 10 / len(pictures) + 2.1), photographs=True)
    columns = [f"p{k}" for k in range(len(pictures))]
    grid = fig.subplot_mosaic([columns, ["curve"] * len(columns)], height_ratios=[10 / len(pictures), 1.9])
    for column, picture, weight in zip(columns, pictures, weights, strict=True):
        plot_picture(picture, f"{weight:g}", ax=grid[column])
    xs = list(range(len(weights)))
    curves = {name: (xs, scores[:, k].tolist()) for k, name in enumerate(names)}
    ax = plot_curves(curves, "weight of the second prompt", "CLIP score", ax=grid["curve"])
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
