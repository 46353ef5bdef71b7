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
from sdlesson.loading.writing import whole_file
from sdlesson.tokens import encode_pieces
from sdlesson.world import captions

PROMPT = "a photograph of an astronaut riding a horse"  # the article's, and that of every page
SEEDS, SCALES = (42, 43, 44, 45, 46, 47), (0, 1, 3, 8)
QUALITY = 88  # of WebP: no edge of a drawing looks soft at 128 pixels


def write(folder: Path) -> None:
    """Write example.safetensors, three sheets of pictures and about.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sd = sdlesson.load("tiny", device="cpu")
    with record_attention(sd.unet) as heat:
        trace = record(sd, PROMPT, seed=42)
    expected = [step.pred_original for step in trace.steps]
    sheet(paint_latents(sd, torch.cat(expected)), folder / "previews.webp")
    sheet([_last(sd, seed=seed) for seed in SEEDS], folder / "seeds.webp")
    sheet([_last(sd, guidance_scale=scale) for scale in SCALES], folder / "scales.webp")

    path = save_trace(trace, folder / "example.safetensors")
    tensors = {name: values.half() if values.dim() > 2 else values for name, values in load_file(path).items()}
    for rows, columns in sorted(set(heat.sides.values())):
        kept = [heat.probabilities(call, side=(rows, columns))[0, 0] for call in range(heat.calls)]
        tensors[f"attention.{rows}x{columns}"] = torch.stack([each.permute(2, 0, 1) for each in kept]).half()
    tensors["picture"] = torch.from_numpy(np.array(paint_latents(sd, trace.steps[-1].latents)[0]))
    pieces = encode_pieces(sd.tokenizer, PROMPT)
    about = {
        "settings": trace.settings,
        "pieces": [
            {"id": number, "piece": piece, "word": word}
            for number, piece, word in zip(pieces.ids, pieces.tokens, pieces.word_ids, strict=True)
        ],
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
    tensors = {name: values.contiguous() for name, values in tensors.items()}
    with whole_file(path) as stream:
        stream.write(save(tensors, {"settings": json.dumps(trace.settings)}))
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def sheet(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write pictures of one size side by side, in one file."""
    width, height = pictures[0].size
    whole = Image.new("RGB", (width * len(pictures), height))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (width * number, 0))
    whole.save(path, quality=QUALITY, method=6)


def _last(sd, **options) -> Image.Image:
    *_, step = denoise(sd, PROMPT, **options)
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
