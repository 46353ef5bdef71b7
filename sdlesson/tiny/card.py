"""The model card of a checkpoint, from quality.json (what was measured) and training.json (how it was made)."""

from __future__ import annotations

import json
from pathlib import Path

from ..world import COLOURS, HELD_OUT, MOUNTS, PLACES, RIDERS, STYLES

_CARD = """\
---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---

# The tiny Stable Diffusion of sdlesson

A complete latent diffusion model that fits into a few megabytes and paints {size}×{size} pixels in half a second on a
laptop. It has the parts of Stable Diffusion v1.4, as the same classes of diffusers and transformers (CLIPTokenizer,
CLIPTextModel, UNet2DConditionModel, AutoencoderKL, LMSDiscreteScheduler). It is made for learning, not for pictures.

| part | parameters |
|---|--:|
{parameters}

Recommended: K-LMS, 20 steps, guidance scale {guidance_scale:g}. Scaling factor of the latents: {scaling_factor:.4f},
measured as 1 / std over the training pictures (v1.4's 0.18215 came about in the same way).

## What it knows

A world drawn by `sdlesson/world/painter.py`. Its sentences read "a STYLE of a [COLOUR] RIDER riding a [COLOUR] MOUNT
[PLACE]"; rider or mount may stand alone, and a place may be empty ("a cartoon of the sea").

- styles: {styles}
- riders: {riders}
- mounts: {mounts}
- places: {places}
- colours: {colours}

These pairs were never shown in training: {held_out}.

It knows nothing else. Another word is split into pieces that it never saw together, and it paints something that
it does know. Word order beyond the grammar, numbers, and "no" or "without" mean nothing to it. No photograph, no
person's picture and no text from outside this repository was used.

## How it was made

{training}

Make it again with `make train`, and measure it again with `python -m sdlesson.tiny.quality`.

## How good it is

**Pictures follow their prompt.** One picture a caption, captions spread over all pairs, styles and places, every
third mount with a colour; judged by a small classifier that was trained on drawings only (on unseen drawings, half of
them held-out pairs, it gets style, rider, mount and place all right in {judge:.1f} %). Percent right; "all four" is
style, rider, mount and place at once, and the colour counts only in its own column (there, a mount without a colour
word must have none).

{adherence}

**The autoencoder.** Encode and decode of 500 unseen drawings: {psnr_all:.2f} dB PSNR on average ({psnr_styles};
worst picture {psnr_worst:.1f}).

**Seeds matter.** Seeds 42 and 43 of "a photograph of an astronaut riding a horse" differ by {two_seeds:.0f} levels of
255 a pixel on average.

Where it falls short: look at the table's rows for guidance 8. There K-LMS of order 4 with 20 steps overshoots;
order 1 or more steps help. This is the solver's doing more than the model's, and the lesson on guidance is about it.
"""


def model_card(folder: Path) -> str:
    """The text of the checkpoint's README.md; raises FileNotFoundError where one of its JSON files is missing."""
    quality = json.loads((folder / "quality.json").read_text())
    training = json.loads((folder / "training.json").read_text())
    settings = json.loads((folder / "sdlesson.json").read_text())
    psnr = quality["psnr"]
    return _CARD.format(
        size=settings["size"],
        guidance_scale=quality["guidance_scale"],
        scaling_factor=quality["scaling_factor"],
        parameters="\n".join(f"| {part} | {number / 1e6:.2f} M |" for part, number in quality["parameters"].items()),
        styles=", ".join(STYLES),
        riders=", ".join(RIDERS),
        mounts=", ".join(MOUNTS),
        places=", ".join(PLACES.values()),
        colours=", ".join(COLOURS),
        held_out=", ".join(f"{rider} on {mount}" for rider, mount in sorted(HELD_OUT)),
        training="\n".join(f"- {line}" for line in training["story"]),
        judge=100 * quality["judge"]["all"],
        adherence=adherence_table(quality),
        psnr_all=psnr["all"],
        psnr_worst=psnr["worst"],
        psnr_styles=", ".join(f"{style} {psnr[style]:.1f}" for style in STYLES),
        two_seeds=quality["two_seeds"],
    )


def adherence_table(results: dict) -> str:
    """The adherence rows as a Markdown table, in percent."""
    columns = ("all", "style", "rider", "mount", "place", "mount_colour")
    lines = [
        "| painted with | pairs | pictures | all four right | style | rider | mount | place | mount's colour |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in results["adherence"]:
        for split in ("trained", "heldout"):
            shares = " | ".join(f"{100 * row[split][column]:.1f}" for column in columns)
            pairs = split.replace("heldout", "held out")
            lines.append(f"| {row['setting']} | {pairs} | {row['pictures']} | {shares} |")
    return "\n".join(lines)
