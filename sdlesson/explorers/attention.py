"""Attention explorer: the heat of chosen words, step by step."""

from __future__ import annotations

import contextlib
from html import escape

import ipywidgets

from ..attention import Heat
from ..figures.base import SEQUENTIAL
from ..guidance import Trace
from ..loading.errors import BadInput
from ..models import StableDiffusion
from ..tokens import tokenize, word_positions, words
from .base import NARROW, WIDE, Explorer, in_a_row, map_picture, picture_source, tile
from .slider import Slider
from .steps import expected_pictures


def explore_attention(sd: StableDiffusion, trace: Trace, heat: Heat) -> Explorer:
    """Attention explorer: choose words, a step and a resolution, and see the heat on the picture of that step.

    `heat` was recorded during the run of `trace` (`with record_attention(sd.unet) as heat: trace = record(...)`). The
    heat of several words is added up; the colours end at its largest value. The picture is the predicted original.
    Raises BadInput where `heat` has another number of UNet calls than the run has steps, and for a run with guidance 0.
    """
    if trace.settings["guidance_scale"] == 0:
        raise BadInput("With guidance 0 the UNet never reads the prompt: there is no heat of its words.")
    if heat.calls != len(trace.steps):
        raise BadInput(f"The run has {len(trace.steps)} steps, but the heat was recorded at {heat.calls} UNet calls.")
    prompt = trace.settings["prompts"][0]
    first_image = -len(trace.settings["prompts"])  # from the end: the negative prompts come first, where they are kept
    places = _named_places(sd.tokenizer, prompt)
    expected = expected_pictures(sd, trace)

    def show(words: tuple[str, ...], step: int, side: tuple[int, ...]) -> str:
        if not words:
            raise BadInput("Choose at least one word.")
        map_ = heat.of(
            [place for word in words for place in places[word]], calls=step, side=side or None, image=first_image
        )
        most = float(map_.max())
        upon = picture_source(map_picture(map_, most, SEQUENTIAL))
        style = "position:absolute;inset:0;width:100%;height:100%;opacity:0.62;image-rendering:pixelated"
        names, size = ", ".join(words), f"{map_.shape[0]} × {map_.shape[1]} squares"
        row, column = divmod(int(map_.argmax()), map_.shape[1])
        told = f"Heat of {names} at step {step}, {size}: up to {most:.2f}, in row {row}, column {column}"
        over = f'<img src="{upon}" alt="" aria-hidden="true" style="{style}">'
        tiles = [
            tile(expected(step).convert("L"), f"heat of {names}", told, side=256, over=over),
            tile(expected(step), f"expected at step {step}", f"What the UNet expects at step {step}", side=256),
        ]
        return in_a_row(tiles) + f"<p>{escape(told)}. Yellow is hot.</p>"

    sides = [
        ("all", ()),
        *((f"{rows} × {columns}", (rows, columns)) for rows, columns in sorted(set(heat.sides.values()))),
    ]
    first = tuple(places)[-3:-2]  # the last word
    knobs = {
        "words": ipywidgets.SelectMultiple(options=list(places), value=first, rows=8, description="words", style=WIDE),
        "step": Slider("step", range(len(trace.steps)), len(trace.steps) // 2, plays=True),
        "side": ipywidgets.Dropdown(options=sides, value=(), description="layers", style=WIDE, layout=NARROW),
    }
    return Explorer(f"Attention explorer: which squares listen to which word of “{prompt}”.", knobs, show)


def _named_places(tokenizer, prompt: str) -> dict[str, list[int]]:
    """The positions of each of the prompt's words that the model sees, of the marks at its ends, and of the padding."""
    ids = tokenize(tokenizer, prompt)[0].tolist()
    end = ids.index(tokenizer.eos_token_id)
    found = {}
    for word in dict.fromkeys(words(prompt)):
        with contextlib.suppress(BadInput):  # cut off
            found[word] = word_positions(tokenizer, prompt, word)
    return {"(start)": [0], **found, "(end)": [end], "(padding)": list(range(end + 1, len(ids)))}
