"""What Python says, for the live page to be compared with: ids, embeddings, noise, noise levels, a step, whole runs."""

from __future__ import annotations

import random

import numpy as np
import torch

from sdlesson import sigmas
from sdlesson.decoding import decode, paint_latents
from sdlesson.guidance import record
from sdlesson.samplers import karras_sigmas, timestep_of
from sdlesson.tokens import encode_pieces, token_ids
from sdlesson.world.captions import vocabulary

PROMPT, NEGATIVE = "a photograph of an astronaut riding a horse", "a robot"
SEEDS = (0, 1, 42, 2**31 - 1, 2**32 + 42, 2**53 + 1, 2**63 - 1, 2**64 - 1)
COUNTS = (16, 17, 31, 2048, 4099)
STEP = ("noisy", "noise_uncond", "noise_text", "noise_pred", "pred_original", "latents")
HOSTILE = (
    "",
    "   ",
    "<b>hi</b> & <script>",
    "don't WE'LL it's ’quoted’",
    "emoji 🐎 👩‍🚀 ❤️",
    "naïve café İstanbul ß ŒUVRE ẞ ΑΣ ΣΑΣ ς",
    "日本語 한국어 العربية हिन्दी",
    "a\tb\nc\r\nd\u00a0e\u3000f\u200bg\ufeffh",
    "<|endoftext|> a <|startoftext|> horse",
    "12345 3.14 Ⅷ ½ ²",
    "e\u0301 \u00e9 ﬁ 𝒜",
    "\x00\x07 control",
    "horse " * 100,
    "x" * 5000,
)


def texts() -> list[str]:
    """Prompts of every kind: odd ones, random letters, sentences of the world's words."""
    chance = random.Random(23)
    letters = [chr(code) for code in (*range(32, 127), 0xE9, 0xDF, 0x130, 0x3A3, 0x1F40E, 0x200D, 0x4E2D, 0xA0, 0x301)]
    words = sorted(vocabulary())
    soup = ["".join(chance.choices(letters, k=chance.randint(1, 60))) for _ in range(300)]
    return [*HOSTILE, *soup, *(" ".join(chance.choices(words, k=chance.randint(1, 90))) for _ in range(100))]


def noise() -> list[dict]:
    """torch.randn's first numbers for each of SEEDS and COUNTS."""
    drawn = []
    for seed in SEEDS:
        for count in COUNTS:
            values = torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed))
            drawn.append({"seed": str(seed), "count": count, "values": values.tolist()})
    return drawn


def schedules() -> list[dict]:
    """Noise levels, timesteps and every step's coefficients, by number of steps, kind and order."""
    found, levels = [], sigmas.training_levels()
    for steps in (1, 2, 7, 20, 100):
        for kind in ("linspace", "karras")[: 1 if steps == 1 else 2]:
            linear = kind == "linspace"
            sigma = sigmas.schedule(steps) if linear else karras_sigmas(steps, levels[-1], levels[0])
            times = sigmas.timesteps(steps) if linear else [timestep_of(each) for each in sigma[:-1]]
            for order in (1, 4):
                weights = [sigmas.lms_coefficients(sigma, i, order).tolist() for i in range(steps)]
                about = {"steps": steps, "kind": kind, "order": order, "coefficients": weights}
                found.append(about | {"sigmas": sigma.tolist(), "timesteps": np.asarray(times).tolist()})
    return found


def runs(sd) -> list[dict]:
    """Whole runs with their pictures; the first is one step, told in full."""
    told = []
    for options in (
        {"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": 42, "num_inference_steps": 1, "guidance_scale": 3.5},
        {"prompt": PROMPT, "seed": 42},
        {"prompt": PROMPT, "seed": 2**32 + 7, "guidance_scale": 1.0, "num_inference_steps": 6, "order": 2},
    ):
        trace = record(sd, **options)
        pixels = np.asarray(paint_latents(sd, trace.steps[-1].latents)[0])
        told.append({"options": options | {"seed": str(options["seed"])}, "picture": pixels.ravel().tolist()})
        told[-1]["latents"] = [step.latents.ravel().tolist() for step in trace.steps]
    trace = record(sd, PROMPT, negative_prompt=NEGATIVE, seed=42, num_inference_steps=1, guidance_scale=3.5)
    (step,) = trace.steps
    told[0]["step"] = {name: getattr(step, name).ravel().tolist() for name in STEP}
    told[0]["text_embeddings"] = trace.text_embeddings.ravel().tolist()
    told[0]["decoded"] = decode(sd.vae, step.latents).ravel().tolist()
    return told


def ids(sd) -> list[dict]:
    """Each of `texts`, its 77 ids, and how many pieces do not fit."""
    return [
        {"text": text, "ids": token_ids(sd.tokenizer, text)[0].tolist(), "cut": max(0, len(pieces.ids) - 75)}
        for text in texts()
        for pieces in [encode_pieces(sd.tokenizer, text)]
    ]
