"""Prompt -> token ids: what the tokenizer makes of words, and which words it cuts off."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .models import BadInput

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTokenizer

_CLIP_LENGTH = 77  # tokens that CLIP's text encoder reads, start and end among them (Radford et al. 2021, section 2.4)
_NAMED = 30  # words that a warning names before it only counts


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


def tokenize(tokenizer: CLIPTokenizer, prompt: str | Sequence[str]) -> torch.Tensor:
    """Token ids of one prompt or several, start and end added, padded and cut to one length; int64, (batch, 77).

    The first words are kept. Words that are cut off are named by a TruncationWarning. Raises BadInput for an empty
    list.
    """
    prompts = as_prompts(prompt)
    length = context_length(tokenizer)
    ids = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    # Only a row that is full to its end can have lost something: then its last token but one is a piece of a word.
    for text, row in zip(prompts, ids.tolist(), strict=True):
        if row[-2] not in (tokenizer.eos_token_id, tokenizer.pad_token_id) and (lost := cut_words(tokenizer, text)):
            warnings.warn(_complaint(text, lost, length), TruncationWarning, stacklevel=2)
    return ids


def cut_words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """The words of `text` that the text encoder will not see (or not to their end): empty if all of it fits."""
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    kept = context_length(tokenizer) - 2  # start and end take two places
    lost = encoding["offset_mapping"][kept:]
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
