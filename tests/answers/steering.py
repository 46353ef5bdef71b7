"""Planted answers to the exercises on steering."""

import math

import numpy as np
import torch

from . import function, row, value

LEVELS = [14.61, 10.75, 8.08, 6.2, 4.86, 3.87, 3.12, 2.56, 2.12, 1.76, 1.48, 1.25, 1.05, 0.88, 0.73, 0.6]
LEVELS += [0.47, 0.36, 0.23, 0.03, 0.0]


def mix(noises, weights):
    return (weights.view(-1, 1, 1, 1) * noises).sum(dim=0) / weights.square().sum().sqrt()


def mix_by_loop(noises, weights):
    total = sum(w * n for w, n in zip(weights, noises, strict=True))
    return total / sum(float(w) ** 2 for w in weights) ** 0.5


def plain(noises, weights):
    return torch.einsum("k,kchw->chw", weights, noises)


def squares(mask, kind):
    return getattr(mask.reshape(mask.shape[0] // 8, 8, mask.shape[1] // 8, 8), kind)(dim=(1, 3))


def entered(latents, noise, sigmas, strength, first=lambda n, s: n - int(s * n), start=1.0):
    return start * latents + sigmas[first(len(sigmas), strength)] * noise


PLANTED = {
    "steering.1": {
        "facts": lambda sd: {"scale": 8},
        "right": value(1),
        "wrong": {
            "the same scale: as if something were left of the difference": 8,
            "0, the empty prompt's guess": 0,
            "minus the scale": -8,
            "the scale less one": 7,
            "the scale and one more": 9,
            "words, not a number": "one",
        },
    },
    "steering.2": {
        "facts": lambda sd: {"steps": 50, "strength": 0.3},
        "right": row(15, 35),
        "wrong": {
            "the other way round: taken and left out": (35, 15),
            "counted from 1": (15, 36),
            "one too low: steps count from 0": (15, 34),
            "the first steps, not the last": (15, 0),
            "the steps taken twice, not the last of the way": (15, 15),
            "all steps are taken, not multiplied by the strength": (50, 0),
            "one number alone, no pair": 15,
        },
    },
    "steering.3": {
        "facts": lambda sd: {"sigmas": LEVELS, "most": 11},
        "right": [(1.5, 15), [1.2, 10], (1.25, 20.0), np.array([1.3, 9]), torch.tensor([1.3, 9.0]), (2, 8), (1.0, 8.1)]
        + [(np.float64(1.5), torch.tensor(15))],
        "wrong": {
            "all above 1: too many steps": (1, 15),
            "the end is guided, too": (0.5, 8),
            "the lower level comes second": (8, 1.5),
            "no level lies between": (1.3, 1.4),
            "one step alone": (10, 11),
            "one number, no pair": 1.5,
        },
    },
    "steering.4": {
        "facts": lambda sd: {},
        "right": function(
            mix,
            mix_by_loop,
            lambda noises, weights: plain(noises, weights / weights.norm()),
            lambda noises, weights: plain(noises, weights) / weights.norm(),
        ),
        "wrong": {
            "the straight mix: its spread is not 1": plain,
            "divided by the sum of the weights": lambda n, w: plain(n, w) / w.sum(),
            "the root is missing: a variance": lambda n, w: plain(n, w) / w.square().sum(),
            "divided by what this draw happens to have": lambda n, w: plain(n, w) / plain(n, w).std(),
            "a first side of 1 is left": lambda n, w: mix(n, w)[None],
            "the sum is not taken": lambda n, w: w.view(-1, 1, 1, 1) * n / w.norm(),
            "the weights are not used": lambda n, w: n.sum(dim=0) / len(n) ** 0.5,
            "it fits certain weights": lambda n, w: plain(n, w) / 0.5**0.5,
            "it fits three noises": lambda n, w: plain(n[:3], w[:3]) / w[:3].norm(),
            "divided by how many noises there are": lambda n, w: plain(n, w) / len(n),
            "divided by the root of how many noises there are": lambda n, w: plain(n, w) / len(n) ** 0.5,
            "multiplied by the spread": lambda n, w: plain(n, w) * w.norm(),
        },
    },
    "steering.5": {
        "facts": lambda sd: {},
        "right": function(
            lambda known, new, mask: mask * new + (1 - mask) * known,
            lambda known, new, mask: known + mask * (new - known),
            lambda known, new, mask: torch.lerp(known, new, mask.expand_as(known)),
            lambda known, new, mask: torch.stack(
                [m * 0 + k + (n - k) * mask for k, n, m in zip(known, new, new, strict=True)]
            ),
        ),
        "wrong": {
            "known and new have changed places": lambda k, n, m: m * k + (1 - m) * n,
            "the known part is missing": lambda k, n, m: m * n,
            "the known part is not taken away where it is new": lambda k, n, m: m * n + k,
            "half and half everywhere: not each place in its own way": lambda k, n, m: (k + n) / 2,
            "half and half, not in each place its own: the mean": lambda k, n, m: m.mean() * n + (1 - m.mean()) * k,
            "the soft edge is cut: hard": lambda k, n, m: torch.where(m > 0, n, k),
            "the soft edge is cut at one half: hard": lambda k, n, m: torch.where(m > 0.5, n, k),
            "the soft edge is cut from one half on: hard": lambda k, n, m: torch.where(m >= 0.5, n, k),
            "the soft edge is cut: new only where the mask is 1": lambda k, n, m: torch.where(m == 1, n, k),
            "the new part is missing": lambda k, n, m: (1 - m) * k,
            "all of it new": lambda k, n, m: n,
            "all of it known": lambda k, n, m: k,
        },
    },
    "steering.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda mask: squares(mask, "amax"),
            lambda mask: torch.nn.functional.max_pool2d(mask[None, None], 8)[0, 0],
            lambda mask: squares(mask, "sum") > 0,
            lambda mask: squares(mask, "mean").ceil(),
        ),
        "wrong": {
            "one pixel of each block is looked at": lambda m: m[::8, ::8],
            "the middle pixel of each block is looked at": lambda m: m[4::8, 4::8],
            "the four pixels in the middle of each block": lambda m: torch.nn.functional.interpolate(
                m[None, None], scale_factor=1 / 8, mode="bilinear"
            )[0, 0],
            "the mean: no 0 or 1": lambda m: squares(m, "mean"),
            "you need all pixels of the block": lambda m: squares(m, "amin"),
            "more than half of the block is needed": lambda m: squares(m, "mean").round(),
            "the pixels are counted": lambda m: squares(m, "sum"),
            "rows and columns have changed places": lambda m: squares(m, "amax").T,
            "reshape deals other pixels to a block": lambda m: m.reshape(m.shape[0] // 8, m.shape[1] // 8, 64).amax(
                dim=2
            ),
            "pixels, not squares": lambda m: m,
        },
    },
    "steering.7": {
        "facts": lambda sd: {},
        "right": function(
            entered,
            lambda latents, noise, sigmas, strength: latents + noise * sigmas[-int(strength * len(sigmas))],
            lambda latents, noise, sigmas, strength: latents + noise * sigmas.flip(0)[int(strength * len(sigmas)) - 1],
        ),
        "wrong": {
            "always the first, strongest level": lambda a, n, s, k: a + s[0] * n,
            "the steps taken are left out: the index of the other end": lambda a, n, s, k: entered(
                a, n, s, k, lambda m, x: int(x * m)
            ),
            "the steps left out are rounded down, not those taken": lambda a, n, s, k: a + s[int((1 - k) * len(s))] * n,
            "rounded: the steps taken up, the steps left out down": lambda a, n, s, k: entered(
                a, n, s, k, lambda m, x: m - math.ceil(x * m)
            ),
            "noise of spread 1: no level is looked up": lambda a, n, s, k: a + n,
            "a share of the first level": lambda a, n, s, k: a + k * s[0] * n,
            "the last, weakest level": lambda a, n, s, k: a + s[-1] * n,
            "the picture is multiplied by the level, not the noise": lambda a, n, s, k: (
                s[len(s) - int(k * len(s))] * a + n
            ),
            "divided by the root of σ² + 1": lambda a, n, s, k: (
                entered(a, n, s, k) / (s[len(s) - int(k * len(s))] ** 2 + 1) ** 0.5
            ),
            "picture and noise mixed by shares": lambda a, n, s, k: (1 - k) * a + k * n,
            "one step too late": lambda a, n, s, k: entered(a, n, s, k, lambda m, x: m - int(x * m) + 1),
            "one step too early": lambda a, n, s, k: entered(a, n, s, k, lambda m, x: m - int(x * m) - 1),
            "the strength is taken for sigma": lambda a, n, s, k: a + k * n,
            "the noise alone, the picture is missing": lambda a, n, s, k: entered(a, n, s, k, start=0.0),
            "mixed by shares: the latents become weaker": lambda a, n, s, k: (1 - k) * a + k * s[0] * n,
            "no noise is added": lambda a, n, s, k: a,
        },
    },
}
