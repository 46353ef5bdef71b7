"""Ids -> text embeddings: one vector for each token, each knowing the tokens before it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .loading import checks
from .loading.errors import BadInput, ModelError, first_line
from .loading.quiet import quiet
from .models import StableDiffusion, checkpoint_path
from .tokens import as_prompts, tokenize

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer


#: The pair that v1.4's text encoder comes from, and the sizes (width, layers) by which that encoder is known.
V1_PAIR, _V1_TEXT = "openai/clip-vit-large-patch14", (768, 12)


def embed(text_encoder: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """The text encoder's last hidden state, after its final norm: ids (batch, 77) -> (batch, 77, dim).

    Raises BadInput for ids that are no whole numbers or that the encoder does not know; transformers raises ValueError
    for more of them in a row than it has positions.
    """
    checks.part(text_encoder, "a text encoder, such as sd.text_encoder", "get_input_embeddings")
    ids, known = checks.token_ids(ids), text_encoder.get_input_embeddings().num_embeddings
    if int(ids.max()) >= known:
        raise BadInput(f"This text encoder knows the ids below {known}, and not {int(ids.max())}.")
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
    """The texts of a guided batch in the UNet's order: every negative prompt, then every prompt; 2 * batch texts.

    Raises BadInput where there are not as many negative prompts as prompts, or one.
    """
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
    checks.part(sd, "a Stable Diffusion, as `load` gives it", "text_encoder")
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
    takes its place. Raises ModelError where the pair in the folder cannot be read.
    """
    own = sd.folder / "clip" if sd.folder else None
    if own and own.is_dir():
        try:
            return _read_pair(own, sd.folder / "tokenizer", sd.name)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"The CLIP pair in {own} cannot be loaded: {first_line(error)}") from error
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
    """How well each text fits each picture, as the pair sees it: cosines in -1 ... 1, float32, (pictures, texts).

    One picture or several; each is read as `checks.rgb` says. Raises BadInput for what is no picture.
    """
    given = list(pictures) if isinstance(pictures, Sequence) else [pictures]
    pixels = clip.processor(images=[checks.rgb(each) for each in given], return_tensors="pt").pixel_values
    with torch.no_grad():
        towers = clip.model(input_ids=tokenize(clip.tokenizer, texts), pixel_values=pixels)
    return towers.image_embeds @ towers.text_embeds.T  # both of length 1, so their product is the cosine


def flat_map(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The flat picture of a cloud of vectors (n, dim) that loses least: places (n, 2), and each axis' share (2,).

    Principal component analysis: the two directions in which the vectors differ most. A direction and its opposite are
    equally good; the one is taken whose largest number is above 0, so that every machine draws the same map. Raises
    BadInput for fewer than two vectors or numbers in each, and where all are equal.
    """
    centred = checks.tensor(vectors, "vectors", "(n, dim)", 2).detach().float().cpu()
    centred = centred - centred.mean(dim=0)
    if min(centred.shape) < 2 or not centred.any():
        raise BadInput(f"A flat map needs two vectors or more that differ, not {checks.told(vectors)}.")
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    axes = directions[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    return centred @ axes.T, (singular**2 / (singular**2).sum())[:2]
