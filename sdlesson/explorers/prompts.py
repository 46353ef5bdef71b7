"""Prompts explorer: two prompts and what lies between them."""

from __future__ import annotations

from functools import partial
from html import escape

import ipywidgets
import torch

from ..decoding import paint_latents
from ..guidance import denoise
from ..models import StableDiffusion
from ..tokens import cut_words, unknown_words
from .base import WIDE, Explorer, Painting, in_a_row, picture_source, tile, typed_seed, unet_calls
from .slider import Slider


def explore_two_prompts(sd: StableDiffusion, first: str, second: str, *, seed: int = 42) -> Explorer:
    """Two prompts, one noise: paint both at once, then slide through the steps and see where the pictures part.

    Nothing is painted before Paint is pressed. Shown at each step is the predicted original, decoded, and how far the
    two are apart: the share of their distance at the end.
    """
    seen: dict = {}

    def run():
        prompts = [first_box.value, second_box.value]
        steps = denoise(sd, prompts, seed=[typed_seed(seed_box.value)] * 2)  # one seed for both: the same noise
        pairs = ((step.pred_original, paint_latents(sd, step.pred_original)) for step in steps)
        return pairs, unet_calls(sd, 20), partial(done, prompts)  # the boxes may change meanwhile

    def done(prompts, pairs):
        expected = torch.stack([latents for latents, _ in pairs])  # (steps, 2, 4, h/8, w/8)
        apart = (expected[:, 0] - expected[:, 1]).flatten(1).norm(dim=1)
        shares, sources = (
            (apart / apart[-1].clamp(min=1e-12)).tolist(),
            [picture_source(each) for _, pair in pairs for each in pair],
        )
        seen.update(prompts=prompts, apart=shares, sources=sources)  # at once: the slider may be moved meanwhile
        slider.choose_from(range(len(pairs)), len(pairs) - 1)
        explorer.refresh()

    def show(step: int) -> str:
        if not seen:
            return "<p>Press Paint.</p>"
        pair = zip(seen["prompts"], seen["sources"][2 * step : 2 * step + 2], strict=True)
        tiles = [
            tile(source, prompt, f"{prompt}: the picture that is expected at step {step}") for prompt, source in pair
        ]
        unread = {
            "This model never read": unknown_words(sd, seen["prompts"]),
            "Too long; not seen": [word for prompt in seen["prompts"] for word in cut_words(sd.tokenizer, prompt)],
        }
        told = "".join(f"<p>{why}: {escape(', '.join(words))}.</p>" for why, words in unread.items() if words)
        return in_a_row(tiles) + f"<p>Step {step}: {seen['apart'][step]:.0%} as far apart as at the end.</p>{told}"

    wide = ipywidgets.Layout(width="min(100%, 44em)")
    first_box = ipywidgets.Text(first, description="first prompt", style=WIDE, layout=wide)
    second_box = ipywidgets.Text(second, description="second prompt", style=WIDE, layout=wide)
    seed_box = ipywidgets.FloatText(seed, step=1, description="seed", style=WIDE)
    slider = Slider("step", range(20), plays=True)
    painting = Painting("Paint", run, lambda sentence: explorer.say(sentence))
    words = "Two prompts, the same noise: where do the pictures part?"
    explorer = Explorer(words, {"step": slider}, show, above=[first_box, second_box, seed_box, painting.row])
    explorer.painting, explorer.boxes = painting, (first_box, second_box, seed_box)
    return explorer
