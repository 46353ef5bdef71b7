"""Ids -> text embeddings: one vector for each token, each knowing the tokens before it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .figures import INK, new_figure, plot_map
from .models import BadInput, StableDiffusion, checkpoint_path
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

    model = CLIPModel.from_pretrained(folder, use_safetensors=True).eval()
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    return ClipPair(model, tokenizer, CLIPImageProcessorPil.from_pretrained(folder), name)


def similarity(clip: ClipPair, pictures: Sequence[Image], texts: str | Sequence[str]) -> torch.Tensor:
    """How well each text fits each picture, as the pair sees it: cosines in -1 ... 1, float32, (pictures, texts)."""
    pixels = clip.processor(images=list(pictures), return_tensors="pt").pixel_values  # (pictures, 3, size, size)
    with torch.no_grad():
        towers = clip.model(input_ids=tokenize(clip.tokenizer, texts), pixel_values=pixels)
    return towers.image_embeds @ towers.text_embeds.T  # both of length 1, so their product is the cosine


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
