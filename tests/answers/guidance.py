"""Planted answers to the exercises on guidance."""

import numpy as np
import torch

from . import function, value

BURNT = {"prompt": "a photograph", "seed": 42, "guidance_scale": 15, "order": 4, "num_inference_steps": 20}


def with_(**change):
    return BURNT | change


def std(x):
    return x.std(dim=(1, 2, 3), keepdim=True)


def rescale_by_loop(text, guided, phi):
    return torch.stack([phi * g * t.std() / g.std() + (1 - phi) * g for t, g in zip(text, guided, strict=True)])


def wide(scales):
    return scales.view(-1, 1, 1, 1)


PLANTED = {
    "guidance.1": {
        "facts": lambda sd: {"sd": sd},
        "right": [
            ((6, 4, 16, 16), (3, 4, 16, 16)),
            [[6, 4, 16, 16], [3, 4, 16, 16]],
            (torch.Size([6, 4, 16, 16]), torch.Size([3, 4, 16, 16])),
            (np.array([6, 4, 16, 16]), np.array([3, 4, 16, 16])),
            torch.tensor([[6, 4, 16, 16], [3, 4, 16, 16]]),
            ((6.0, 4.0, 16.0, 16.0), (3.0, 4.0, 16.0, 16.0)),
        ],
        "wrong": {
            "the other way round": ((3, 4, 16, 16), (6, 4, 16, 16)),
            "one prompt, not three": ((2, 4, 16, 16), (1, 4, 16, 16)),
            "pixels, not latents": ((6, 3, 128, 128), (3, 3, 128, 128)),
            "doubled at guidance 1, too": ((6, 4, 16, 16), (6, 4, 16, 16)),
            "not doubled with guidance": ((3, 4, 16, 16), (3, 4, 16, 16)),
            "the channels doubled, not the batch": ((3, 8, 16, 16), (3, 4, 16, 16)),
            "one shape, not a pair": (6, 4, 16, 16),
        },
    },
    "guidance.2": {
        "facts": lambda sd: {"swapped": 5},
        "right": value(-4),
        "wrong": {
            "the same scale: the order does not matter": 5,
            "minus the scale: the walk starts elsewhere": -5,
            "the sign is missing": 4,
            "counted up from 1": 6,
            "one divided by the scale": 0.2,
            "guidance 1": 1,
            "a word, no number": "minus four",
        },
    },
    "guidance.3": {
        "facts": lambda sd: {"burnt": BURNT},
        "right": [
            with_(order=1),
            with_(order=2),
            with_(order=1.0),
            with_(order=np.int64(1)),
            with_(order=torch.tensor(2)),
        ],
        "wrong": {
            "less guidance, but the scale stays": with_(guidance_scale=5),
            "more steps: each costs a UNet call": with_(num_inference_steps=60),
            "nothing is different": dict(BURNT),
            "a higher order looks back further": with_(order=6),
            "order 3 still swings": with_(order=3),
            "another seed, not the solver": with_(seed=1),
            "the order alone, no settings": 1,
            "order 0: no slope at all": with_(order=0),
        },
    },
    "guidance.4": {
        "facts": lambda sd: {},
        "right": function(
            lambda text, guided, phi: phi * guided * std(text) / std(guided) + (1 - phi) * guided,
            lambda text, guided, phi: guided * (phi * (std(text) / std(guided)) + 1 - phi),
            rescale_by_loop,
        ),
        "wrong": {
            "one factor for all pictures": lambda t, g, p: p * g * t.std() / g.std() + (1 - p) * g,
            "each channel has a factor of its own": lambda t, g, p: (
                p * g * t.std(dim=(2, 3), keepdim=True) / g.std(dim=(2, 3), keepdim=True) + (1 - p) * g
            ),
            "the factor is upside down": lambda t, g, p: p * g * std(g) / std(t) + (1 - p) * g,
            "phi and 1 − phi have changed places": lambda t, g, p: (1 - p) * g * std(t) / std(g) + p * g,
            "phi is not used": lambda t, g, p: g * std(t) / std(g),
            "phi is not used but is 0.7, whatever is asked for": lambda t, g, p: g * (0.7 * std(t) / std(g) + 0.3),
            "the prompt's guess is rescaled, not the guided one": lambda t, g, p: p * t * std(t) / std(g) + (1 - p) * g,
            "mixed with the prompt's plain guess": lambda t, g, p: p * t + (1 - p) * g,
            "nothing is changed": lambda t, g, p: g,
        },
    },
    "guidance.5": {
        "facts": lambda sd: {},
        "right": function(
            lambda uncond, text: (text - uncond).norm(dim=0),
            lambda uncond, text: (uncond - text).square().sum(dim=0).sqrt(),
            lambda uncond, text: sum((a - b) ** 2 for a, b in zip(uncond, text, strict=True)) ** 0.5,
        ),
        "wrong": {
            "summed with their signs: they cancel out": lambda u, t: (t - u).sum(dim=0),
            "the root is missing": lambda u, t: (t - u).square().sum(dim=0),
            "absolute values, not the length": lambda u, t: (t - u).abs().sum(dim=0),
            "the length of the prompt's guess alone, no difference": lambda u, t: t.norm(dim=0),
            "the difference of the lengths": lambda u, t: t.norm(dim=0) - u.norm(dim=0),
            "one number for the whole guess, no map": lambda u, t: (t - u).norm(),
            "a mean over the channels in place of the sum": lambda u, t: (t - u).square().mean(dim=0).sqrt(),
            "over the wrong side, not the channels": lambda u, t: (t - u).norm(dim=1),
        },
    },
    "guidance.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda scale, steps: torch.linspace(1, scale, steps),
            lambda scale, steps: [1 + (scale - 1) * i / (steps - 1) for i in range(steps)],
            lambda scale, steps: np.linspace(1, scale, steps),
            lambda scale, steps: 1 + (scale - 1) * torch.arange(steps) / (steps - 1),
        ),
        "wrong": {
            "starts at 0, not at 1": lambda s, n: torch.linspace(0, s, n),
            "falls from the scale to 1": lambda s, n: torch.linspace(s, 1, n),
            "never arrives: as many gaps as steps": lambda s, n: 1 + (s - 1) * torch.arange(n) / n,
            "one number too many": lambda s, n: torch.linspace(1, s, n + 1),
            "the same scale at every step": lambda s, n: torch.full((n,), float(s)),
            "the first step left out": lambda s, n: 1 + (s - 1) * torch.arange(1, n + 1) / n,
            "strides that grow, not equal": lambda s, n: torch.logspace(0, np.log10(s), n),
        },
    },
    "guidance.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda uncond, text, scales: uncond + wide(scales) * (text - uncond),
            lambda uncond, text, scales: (1 - wide(scales)) * uncond + wide(scales) * text,
            lambda uncond, text, scales: torch.stack(
                [u + s * (t - u) for u, t, s in zip(uncond, text, scales, strict=True)]
            ),
            lambda uncond, text, scales: uncond + scales[:, None, None, None] * (text - uncond),
        ),
        "wrong": {
            "without sides of 1 the scales run along the columns": lambda u, t, s: u + s * (t - u),
            "the first scale for all pictures": lambda u, t, s: u + s[0] * (t - u),
            "the mean of the scales for all pictures": lambda u, t, s: u + s.mean() * (t - u),
            "the scales run along the channels": lambda u, t, s: u + s.view(1, -1, 1, 1) * (t - u),
            "the start is missing": lambda u, t, s: wide(s) * (t - u),
            "the guesses have changed places": lambda u, t, s: t + wide(s) * (u - t),
            "it starts at the prompt's guess": lambda u, t, s: t + wide(s) * (t - u),
            "the scales are not used": lambda u, t, s: t,
            "fixed to the drawn input: four scales": lambda u, t, s: u + s.view(4, 1, 1, 1) * (t - u),
        },
    },
}
