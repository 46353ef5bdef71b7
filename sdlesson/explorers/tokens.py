"""Token explorer: a prompt, its pieces and their ids."""

from __future__ import annotations

from html import escape

import ipywidgets
import torch

from ..embeddings import embed
from ..models import StableDiffusion
from ..tokens import context_length, cut_words, pieces, token_ids
from .base import COLOURS, WIDE, Explorer


def explore_tokens(sd: StableDiffusion, prompt: str, other: str = "") -> Explorer:
    """Token explorer: type a prompt, see its pieces, their ids and what is cut; compare it with a second one.

    Their likeness is the cosine of the two prompts' vectors at the end token, where CLIP reads a sentence.
    """
    length = context_length(sd.tokenizer)

    def show(prompt: str, other: str) -> str:
        rows = []
        for text in (prompt, other) if other else (prompt,):
            ids = token_ids(sd.tokenizer, text)[0]
            rows.append(_pieces_row(sd.tokenizer, ids, text))
        alike = (
            f"<p>Cosine of the two prompts at their end tokens: <b>{_cosine(sd, prompt, other):.3f}</b></p>"
            if other
            else ""
        )
        return "".join(rows) + alike

    def box(value, label):
        layout = ipywidgets.Layout(width="min(100%, 44em)")
        return ipywidgets.Text(value, description=label, style=WIDE, layout=layout, continuous_update=True)

    words = f"Token explorer: a prompt, its pieces and their ids, {length} places."
    return Explorer(words, {"prompt": box(prompt, "prompt"), "other": box(other, "compare with")}, show)


def _pieces_row(tokenizer, ids: torch.Tensor, text: str) -> str:
    """The pieces of one prompt as coloured chips with their ids, and a sentence about what is cut."""
    end = int((ids == tokenizer.eos_token_id).int().argmax())
    names = pieces(tokenizer, ids[: end + 1])
    chip = "display:inline-block;margin:2px;padding:2px 7px;border:2px solid {};border-radius:6px;text-align:center"
    chips = "".join(
        f'<li style="{chip.format(COLOURS[number % 4])}">{escape(name)}<br><small>{int(ids[number])}</small></li>'
        for number, name in enumerate(names)
    )
    lost = cut_words(tokenizer, text)
    cut = f" Cut off: “{' '.join(lost)}”." if lost else ""
    said = f"{end + 1} of {len(ids)} places are used, start and end included; the rest is padding.{cut}"
    style = "list-style:none;padding:0;margin:4px 0"
    return f'<ol aria-label="pieces of the prompt and their ids" style="{style}">{chips}</ol><p>{escape(said)}</p>'


def _cosine(sd: StableDiffusion, one: str, other: str) -> float:
    """The cosine of two prompts' vectors at their end tokens."""
    ids = token_ids(sd.tokenizer, [one, other])
    vectors = embed(sd.text_encoder, ids).float()
    ends = (ids == sd.tokenizer.eos_token_id).int().argmax(dim=1)
    a, b = vectors[torch.arange(2), ends.to(vectors.device)]
    return float(torch.cosine_similarity(a, b, dim=0))
