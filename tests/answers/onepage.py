"""Planted answers to the exercises on one page."""

import torch

from . import function, row

SETTINGS = {
    "prompt": "a photograph of an astronaut riding a horse",
    "seed": 42,
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "height": 128,
    "width": 128,
}
HORSE, ELEPHANT = SETTINGS["prompt"], "a photograph of an astronaut riding an elephant"


def with_(**change):
    return SETTINGS | change


def joined_in_place(latents):
    twice = torch.empty(2 * len(latents), *latents.shape[1:])
    for place, each in enumerate(latents):
        twice[place] = twice[place + len(latents)] = each
    return twice


def guided_by_loop(both, scale):
    n = len(both) // 2
    return torch.stack([(1 - scale) * both[i] + scale * both[n + i] for i in range(n)])


PLANTED = {
    "onepage.1": {
        "facts": lambda sd: {"sd": sd},
        "right": row(3, 4, 16, 32),
        "wrong": {
            "pixels, not latent squares": (3, 4, 128, 256),
            "red, green and blue for the channels": (3, 3, 16, 32),
            "the batch doubled for guidance, counting six pictures": (6, 4, 16, 32),
            "one picture for three prompts": (1, 4, 16, 32),
            "rows and columns the other way round": (3, 4, 32, 16),
            "not twice as wide": (3, 4, 16, 16),
            "the rows doubled, too": (3, 4, 32, 32),
            "the batch left out: three numbers, not four": (4, 16, 32),
        },
    },
    "onepage.2": {
        "facts": lambda sd: {"settings": SETTINGS},
        "right": [
            with_(prompt=ELEPHANT),
            with_(prompt=ELEPHANT + "."),
            with_(prompt=ELEPHANT.upper()),
            with_(prompt=ELEPHANT.replace("an elephant", "the elephant")),
            with_(prompt=ELEPHANT.replace(" elephant", "  elephant ")),
            with_(prompt=[ELEPHANT]),
            with_(prompt=ELEPHANT, seed=42.0),
        ],
        "wrong": {
            "nothing is different": dict(SETTINGS),
            "another seed: how the picture is made": with_(seed=43),
            "the seed changed besides the prompt: more than one thing": with_(prompt=ELEPHANT, seed=7),
            "other words lost beside the animal": with_(prompt="an elephant"),
            "only the prompt given, the old settings lacking": {"prompt": ELEPHANT},
            "the prompt alone, no settings": ELEPHANT,
            "horse and elephant both": with_(prompt=HORSE + " and an elephant"),
            "another animal than an elephant": with_(prompt=HORSE.replace("horse", "duck")),
        },
    },
    "onepage.3": {
        "facts": lambda sd: {},
        "right": function(
            lambda uncond, text, scale: uncond + scale * (text - uncond),
            lambda uncond, text, scale: (1 - scale) * uncond + scale * text,
            lambda uncond, text, scale: torch.lerp(uncond, text, scale),
        ),
        "wrong": {
            "the guesses have changed places": lambda u, t, s: t + s * (u - t),
            "the start is missing": lambda u, t, s: s * (t - u),
            "the start is the prompt's guess, too far": lambda u, t, s: t + s * (t - u),
            "the difference points from the prompt": lambda u, t, s: u + s * (u - t),
            "a scale that is fixed at 3": lambda u, t, s: u + 3 * (t - u),
            "the whole prompt's guess added, not the difference": lambda u, t, s: u + s * t,
            "the scale is not used": lambda u, t, s: t,
            "nothing is returned": lambda u, t, s: None,
        },
    },
    "onepage.4": {
        "facts": lambda sd: {},
        "right": function(
            lambda latents: torch.cat([latents] * 2),
            lambda latents: torch.cat((latents, latents), dim=0),
            lambda latents: latents.repeat(2, 1, 1, 1),
            joined_in_place,
        ),
        "wrong": {
            "the numbers are doubled, not the batch": lambda latents: 2 * latents,
            "each picture stands beside its copy: the order": lambda latents: latents.repeat_interleave(2, dim=0),
            "the channels are doubled": lambda latents: torch.cat([latents] * 2, dim=1),
            "the width is doubled": lambda latents: torch.cat([latents] * 2, dim=3),
            "stacked, with a new side": lambda latents: torch.stack([latents] * 2),
            "the batch is not doubled": lambda latents: latents,
            "zeros in place of the second half": lambda latents: torch.cat([latents, torch.zeros_like(latents)]),
        },
    },
    "onepage.5": {
        "facts": lambda sd: {},
        "right": function(
            lambda values: (values / 2 + 0.5).clamp(0, 1),
            lambda values: (values.clamp(-1, 1) + 1) / 2,
            lambda values: torch.stack([torch.clamp((v + 1) * 0.5, 0, 1) for v in values]),
        ),
        "wrong": {
            "not clamped: it is not cut off": lambda values: values / 2 + 0.5,
            "clamped before it is moved: what is below 0 is lost": lambda values: values.clamp(0, 1),
            "not halved": lambda values: (values + 1).clamp(0, 1),
            "halved, but not moved up": lambda values: (values / 2).clamp(0, 1),
            "times 255: bytes, not 0 to 1": lambda values: (values / 2 + 0.5).clamp(0, 1) * 255,
            "the absolute value folds dark into bright": lambda values: values.abs().clamp(0, 1),
            "clamped at -1 and 1 alone": lambda values: values.clamp(-1, 1),
        },
    },
    "onepage.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda both, scale: both.chunk(2)[0] + scale * (both.chunk(2)[1] - both.chunk(2)[0]),
            lambda both, scale: (1 - scale) * both[: len(both) // 2] + scale * both[len(both) // 2 :],
            guided_by_loop,
        ),
        "wrong": {
            "the halves have changed places": lambda b, s: b.chunk(2)[1] + s * (b.chunk(2)[0] - b.chunk(2)[1]),
            "every second row is taken for a half": lambda b, s: b[::2] + s * (b[1::2] - b[::2]),
            "the first picture is taken for the half": lambda b, s: b[0] + s * (b[1] - b[0]),
            "the start is missing": lambda b, s: s * (b.chunk(2)[1] - b.chunk(2)[0]),
            "the scale is not used": lambda b, s: b.chunk(2)[1],
            "the channels are split, not the batch": lambda b, s: (
                b.chunk(2, dim=1)[0] + s * (b.chunk(2, dim=1)[1] - b.chunk(2, dim=1)[0])
            ),
            "it starts at the prompt's guess": lambda b, s: b.chunk(2)[1] + s * (b.chunk(2)[1] - b.chunk(2)[0]),
        },
    },
}
