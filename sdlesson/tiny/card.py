"""The model card of a checkpoint, from quality.json (what was measured) and training.json (how it was made)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

from ..training import wilson
from ..world import COLOURS, HELD_OUT, MOUNTS, PLACES, RIDERS, STYLES

#: How the tables call the two kinds of pairs.
PAIRS = {"trained": "trained", "heldout": "held out"}

_CARD = """\
---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---

# The tiny Stable Diffusion of sdlesson

A complete latent diffusion model that fits into some thirty megabytes and paints {size}×{size} pixels; a laptop's
processor is enough for it. Its networks are of the same classes of diffusers and transformers as those of Stable
Diffusion v1.4 (CLIPTokenizer, CLIPTextModel, UNet2DConditionModel, AutoencoderKL); its scheduler is the
LMSDiscreteScheduler of the article, not the PNDMScheduler that v1.4's folder names. It is made for learning, not for
pictures.

![The article's prompt, an astronaut on a horse, painted with sixteen seeds](seeds.png)

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

Make it again with `{command}`,
and measure it again with `{measured}`. A seed fixes the pictures and the order of the batches;
how many there is time for depends on the machine.

{curves}## How good it is

**Pictures follow their prompt.** Captions drawn at random, spread evenly over the pairs, every third mount with a
colour; each picture has noise of its own, and is painted at the recommended setting. Three classifiers of other
shapes, sizes and seeds look at them; all were trained on drawings only, and for nothing else. Percent right, with the
interval in which the share lies with 95 % confidence (Wilson 1927); "all four" is style, rider, mount and place at
once, and the colour counts only in its own column (there, a mount without a colour word must have none). The last
column is all four on unseen drawings, half of them of held-out pairs: more than that, no classifier can find.

{recommended}

**Pictures look like drawings.** {likeness_count} captions of trained pairs, each set against drawings of the same
captions. Sharpness: the mean difference of neighbouring grey values; fine detail: the spectral power beyond an eighth
of the sampling rate; both and the contrast as shares of the drawings'. The Fréchet distance (features of a
classifier that learned from drawings as they are) counts in multiples of that between two sets of drawings, its
floor. Other pairs of sets of {likeness_count} drawings lie 0.9 to 1.1 of it apart: a tenth more or less says nothing.

{likeness}

**By guidance scale.** All four right, in percent, by the three classifiers.

{guidance}

**The autoencoder.** Encode and decode of 500 unseen drawings: {psnr_all:.2f} dB PSNR on average ({psnr_styles};
worst picture {psnr_worst:.1f}).

{ablations}**Seeds matter.** Seeds 42 and 43 of "a photograph of an astronaut riding a horse" differ by
{two_seeds:.0f} levels of 255 a pixel on average.

Where it falls short: look at the table's rows for guidance 8. There K-LMS of order 4 with 20 steps overshoots;
order 1 or more steps help. This is the solver's doing more than the model's, and the lesson on guidance is about it.
{seen}"""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is aligned left, the others right."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def interval(share: float, count: int) -> str:
    """A share in percent, with Wilson's interval."""
    low, high = wilson(round(share * count), count)
    return f"{100 * share:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def recommended_table(results: dict) -> str:
    """Adherence at the recommended setting, by classifier and kind of pairs, with intervals."""
    row = next(row for row in results["adherence"] if _recommended(row, results["guidance_scale"]))
    drawings = {"classifier": results["classifier"], **results["others"]}
    lines = []
    for name, shares in {"classifier": row, **row["others"]}.items():
        for split in ("trained", "heldout"):
            seen = shares[split]
            each = [f"{100 * seen[question]:.1f}" for question in ("style", "rider", "mount", "place")]
            colour = interval(seen["mount_colour"], row["pictures"])
            whole = interval(seen["all"], row["pictures"])
            unseen = f"{100 * drawings[name]['all']:.1f}"
            lines.append([name, PAIRS[split], str(row["pictures"]), whole, *each, colour, unseen])
    columns = ["all four", "style", "rider", "mount", "place", "mount's colour", "on drawings"]
    return table(["classifier", "pairs", "pictures", *columns], lines)


def _recommended(row: dict, scale: float) -> bool:
    return (row["guidance_scale"], row["steps"], row["order"]) == (scale, 20, 4)


def guidance_table(results: dict) -> str:
    """All four right, in percent, by setting, kind of pairs and classifier."""
    lines = []
    for row in results["adherence"]:
        for split in ("trained", "heldout"):
            seen = [row[split], *(shares[split] for shares in row["others"].values())]
            shares = [f"{100 * each['all']:.1f}" for each in seen]
            lines.append([row["setting"], PAIRS[split], str(row["pictures"]), *shares])
    return table(["painted with", "pairs", "pictures", "classifier", *results["others"]], lines)


def likeness_table(results: dict) -> str:
    """Sharpness, fine detail, contrast and Fréchet distance, by set of pictures."""
    lines = [
        [
            title,
            *(f"{row[name]:.2f}" for name in ("sharpness", "high_frequencies", "contrast")),
            f"{row['frechet']:.1f}",
        ]
        for title, row in results["likeness"].items()
    ]
    return table(["set", "sharpness", "fine detail", "contrast", "Fréchet distance, × floor"], lines)


_ABLATIONS = """\
What each term of its loss is good for: the autoencoder above, trained on for equal short times at a tenth of the
learning rates, with all terms, and with one left out; round trips of unseen drawings. The first row is what training
on does by itself: each other one is to be read against it.

"""


def ablations_table(results: dict) -> str:
    """What the autoencoder loses without each term, with a sentence before it; nothing where it was not measured."""
    if not results.get("ablations"):
        return ""
    lines = [
        [
            term,
            f"{row['pictures']:,}",
            f"{row['psnr']:.2f}",
            *(f"{row[name]:.3f}" for name in ("sharpness", "high_frequencies", "frechet", "latents_std")),
        ]
        for term, row in results["ablations"].items()
    ]
    header = ["left out", "pictures", "PSNR, dB", "sharpness", "fine detail", "Fréchet distance, × floor"]
    return f"{_ABLATIONS}{table([*header, 'std of the latents'], lines)}\n\n"


def curves_text(training: dict) -> str:
    """What smaller runs of the recipe showed, with their losses (curves.png); nothing where none is told."""
    if not training.get("curves"):
        return ""
    return f"{fill(training['curves'], 118)}\n\n![The losses of two smaller runs against their steps](curves.png)\n\n"


def model_card(folder: Path) -> str:
    """The text of the checkpoint's README.md; raises FileNotFoundError where one of its JSON files is missing."""
    quality = json.loads((folder / "quality.json").read_text("utf-8"))
    training = json.loads((folder / "training.json").read_text("utf-8"))
    settings = json.loads((folder / "sdlesson.json").read_text("utf-8"))
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
        command=training.get("command", "make train"),
        training="\n".join(f"- {line}" for line in training["story"]),
        curves=curves_text(training),
        recommended=recommended_table(quality),
        likeness=likeness_table(quality),
        likeness_count=quality["likeness_count"],
        measured=quality["command"],
        guidance=guidance_table(quality),
        ablations=ablations_table(quality),
        psnr_all=psnr["all"],
        psnr_worst=psnr["worst"],
        psnr_styles=", ".join(f"{style} {psnr[style]:.1f}" for style in STYLES),
        two_seeds=quality["two_seeds"],
        seen=fill(quality["seen"], 118) + "\n" if quality.get("seen") else "",
    )
