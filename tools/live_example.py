"""Record what the live page shows before its model has arrived: one run, pictures of other seeds and scales, the words.

python tools/live_example.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save

import sdlesson
from sdlesson.attention import record_attention
from sdlesson.decoding import decode, paint_latents, save_trace
from sdlesson.guidance import denoise, record
from sdlesson.latents import fit_preview
from sdlesson.loading.writing import write_whole
from sdlesson.models import ARTICLE_PROMPT
from sdlesson.tokens import WORD_END, pieces, token_ids
from sdlesson.unet import record_maps, stages
from sdlesson.world import captions

STAGES = ("conv_in", "down_blocks.0", "mid_block", "up_blocks.0", "up_blocks.2")
CHANNELS = 4  # of each stage: those that the page shows
SEEDS, SCALES = (42, 43, 44, 45, 46, 47), (0, 1, 3, 8)
QUALITY = 88  # of WebP: no edge of a drawing looks soft at 128 pixels


def write(folder: Path) -> None:
    """Write example.safetensors, three sheets of pictures and about.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sd = sdlesson.load("tiny", device="cpu")
    with record_attention(sd.unet) as heat, record_maps(stages(sd.unet)) as maps:
        trace = record(sd, ARTICLE_PROMPT, seed=42)
    expected = [step.pred_original for step in trace.steps]
    sheet(paint_latents(sd, torch.cat(expected)), folder / "previews.webp")
    sheet([_last(sd, seed=seed) for seed in SEEDS], folder / "seeds.webp")
    sheet([_last(sd, guidance_scale=scale) for scale in SCALES], folder / "scales.webp")

    path = save_trace(trace, folder / "example.safetensors")
    tensors = load_file(path)
    tensors["attention"] = torch.stack([heat.probabilities(call)[0, 0].permute(2, 0, 1) for call in range(heat.calls)])
    for name in STAGES:  # of each call [empty, prompt] the prompt's half
        tensors[f"features.{name}"] = torch.stack([each[1, :CHANNELS] for each in maps[name]])
    tensors["picture"] = torch.from_numpy(np.array(paint_latents(sd, trace.steps[-1].latents)[0]))
    about = {
        "settings": trace.settings,
        "tokens": _tokens(sd),
        "seeds": SEEDS,
        "scales": SCALES,
        "world": {
            "styles": captions.STYLES,
            "riders": captions.RIDERS,
            "mounts": captions.MOUNTS,
            "places": list(captions.PLACES.values()),
            "colours": captions.COLOURS,
            "held_out": sorted(captions.HELD_OUT),
            "words": sorted(captions.vocabulary()),
        },
        "preview": _preview(sd, expected).tolist(),
    }
    tensors = {name: values.half() if values.dim() > 3 else values for name, values in tensors.items()}
    tensors = {name: values.contiguous() for name, values in tensors.items()}
    write_whole(path, save(tensors, {"settings": json.dumps(trace.settings)}))
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def sheet(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write pictures of one size side by side, in one file."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (width * len(pictures), height))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (width * number, 0))
    whole.save(path, quality=QUALITY, method=6)


def _tokens(sd) -> dict[str, object]:
    """The prompt as `Tokens` of book/live/types.js; every word of it is one piece, which the model knows."""
    ids = token_ids(sd.tokenizer, ARTICLE_PROMPT)[0].tolist()
    words = ARTICLE_PROMPT.split()
    found = pieces(sd.tokenizer, ids)
    if [piece.removesuffix(WORD_END) for piece in found[1 : len(words) + 1]] != words:
        raise ValueError(f"A word of {ARTICLE_PROMPT!r} is more than one piece.")
    told = [{"word": word, "positions": [k], "known": True} for k, word in enumerate(words, start=1)]
    return {"ids": ids, "pieces": found, "count": len(words), "cut": 0, "words": told}


def _last(sd, **options) -> Image.Image:
    *_, step = denoise(sd, ARTICLE_PROMPT, **options)
    return paint_latents(sd, step.latents)[0]


def _preview(sd, expected: Sequence[torch.Tensor]) -> torch.Tensor:
    """The matrix (channels + 1, 3) that guesses a square's colour, from the expected pictures of several prompts."""
    scenes = [f"a {style} of a {rider}" for style in captions.STYLES for rider in ("robot", "queen", "knight")]
    *_, step = denoise(sd, scenes)
    latents = torch.cat([*expected[-5:], step.latents])
    with torch.no_grad():
        return fit_preview(decode(sd.vae, latents), latents)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
