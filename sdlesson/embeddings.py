"""Ids -> text embeddings: one vector for each token, each knowing the tokens before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .models import BadInput, StableDiffusion
from .tokens import as_prompts, tokenize

if TYPE_CHECKING:
    from transformers import CLIPTextModel


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
