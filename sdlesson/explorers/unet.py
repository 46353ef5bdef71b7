"""UNet explorer: what the maps of a stage hold, step by step, with the skips and without them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from html import escape

import ipywidgets
import torch

from ..decoding import paint_latents
from ..guidance import Trace, guesses, guide
from ..loading.errors import BadInput
from ..models import StableDiffusion
from ..sigmas import pred_original
from ..unet import cut_skips, record_maps, skip_names, stages
from .base import NARROW, WIDE, Explorer, in_a_row, map_picture, tile
from .slider import Slider
from .steps import expected_pictures

_SHOWN, _SIDE = 8, 110  # maps of a stage, and how wide each is drawn


def explore_unet(sd: StableDiffusion, trace: Trace, maps: Mapping[str, list[torch.Tensor]]) -> Explorer:
    """UNet explorer: choose a stage and a step, and cut a skip; see the stage's maps, and what the UNet expects.

    `maps` were kept during the run of `trace` (`with record_maps(stages(sd.unet)) as maps: trace = record(...)`). Shown
    are the eight channels that vary most in that run, of the prompt's half, orange above 0 and violet below. A cut skip
    takes one UNet call, at the recorded latents of that step. Raises BadInput where `maps` are those of another run.
    """
    expected, count = expected_pictures(sd, trace), len(trace.steps)
    pictures = len(trace.steps[0].noisy)  # rows are [negative ..., prompt ...]: the first prompt's is the -pictures-th
    if set(maps) != set(stages(sd.unet)) or any(len(kept) != count for kept in maps.values()):
        raise BadInput(f"The run has {count} steps; keep the maps of the stages at these {count} UNet calls.")
    names = skip_names(sd.unet)
    channels = {stage: _liveliest([each[-pictures] for each in kept]) for stage, kept in maps.items()}
    whole = {stage: [each[-pictures][channels[stage]].clone() for each in kept] for stage, kept in maps.items()}

    @lru_cache(maxsize=8)
    def without(step: int, cut: tuple[int, ...]):
        found, picture = _without(sd, trace, step, cut)
        return {stage: each[channels[stage]].clone() for stage, each in found.items()}, picture

    def show(stage: str, step: int, cut: tuple[int, ...]) -> str:
        found, picture = without(step, cut) if cut else ({stage: whole[stage][step]}, expected(step))
        some = found[stage]  # (8, h, w)
        limit, sides = float(some.abs().max()), f"{some.shape[1]} by {some.shape[2]}"
        tiles = [_map(each, number, stage, limit) for number, each in zip(channels[stage], some, strict=True)]
        beside = f'<div style="max-width:{4 * _SIDE + 36}px">{in_a_row(tiles)}</div>'  # rows of four
        state = "all skips whole" if not cut else f"without the {_told(names, cut)}"
        words = f"What the UNet expects at step {step}, {state}"
        heading = f"{stage}, step {step} of 0 to {count - 1}, {state}: maps of {sides} numbers, up to ±{limit:.2f}"
        return f"<p><b>{escape(heading)}</b></p>" + in_a_row(
            [tile(picture, "expected, decoded", words, side=256), beside]
        )

    every = tuple(range(len(names)))
    cuts = [("none", ()), *((f"{k}: {name}", (k,)) for k, name in enumerate(names)), ("all", every)]
    style = {"style": WIDE, "layout": NARROW}
    knobs = {
        "stage": ipywidgets.Dropdown(options=list(maps), value=list(maps)[-3], description="stage", **style),
        "step": Slider("step", range(count), count // 2, plays=True),
        "cut": ipywidgets.Dropdown(options=cuts, value=(), description="cut the skip", **style),
    }
    prompt = trace.settings["prompts"][0]
    return Explorer(f"UNet explorer: the maps of {len(maps)} stages at {count} steps of “{prompt}”.", knobs, show)


def _liveliest(kept: list[torch.Tensor]) -> list[int]:
    """The channels of maps (channels, h, w), one for each step, that vary most over their places; eight at most."""
    spread = torch.stack([each.std(dim=(1, 2)) for each in kept]).mean(dim=0)
    return sorted(spread.topk(min(_SHOWN, len(spread))).indices.tolist())


def _map(values: torch.Tensor, channel: int, stage: str, limit: float) -> str:
    """One map (h, w) as a tile."""
    span = f"{float(values.min()):.2f} to {float(values.max()):.2f}"
    words = f"Channel {channel} of {stage}, {values.shape[0]} by {values.shape[1]}: {span}"
    return tile(map_picture(values, limit), f"channel {channel}", words, side=_SIDE, squares=True)


def _told(names: list[str], cut: tuple[int, ...]) -> str:
    """The skips that are cut, in words."""
    return f"skip from {names[cut[0]]}" if len(cut) == 1 else f"{len(cut)} skips"


def _without(sd: StableDiffusion, trace: Trace, step: int, cut: tuple[int, ...]):
    """The stages' maps of one more call at the latents of that step, these skips cut, and the picture it expects."""
    now, scale = trace.steps[step], trace.settings["guidance_scale"]
    shrink = (now.sigma**2 + 1) ** 0.5
    scaled = now.noisy if sd.scheduler.init_noise_sigma == 1 else now.noisy / shrink  # see Step
    scaled, count = scaled[:1], len(now.noisy)
    texts = trace.text_embeddings[[0, count]]  # the first picture's: [negative, prompt]
    with torch.no_grad(), cut_skips(sd.unet, cut), record_maps(stages(sd.unet)) as found:
        noise_uncond, noise_text = guesses(sd.unet, scaled, now.timestep, texts, scale)
    guess = guide(noise_uncond, noise_text, scale)
    original = pred_original(scaled * shrink, guess, now.sigma, trace.settings["prediction_type"])
    return {stage: kept[0][-1] for stage, kept in found.items()}, paint_latents(sd, original)[0]
