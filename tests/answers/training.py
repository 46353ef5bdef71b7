"""Planted answers to the exercises on training."""

import torch

from . import function, value


def wide(kept):
    return kept.view(-1, 1, 1, 1)


def noised(latents, noise, kept):
    return wide(kept).sqrt() * latents + (1 - wide(kept)).sqrt() * noise


def dropped_by_loop(texts, empty, draws, chance):
    return torch.stack([empty if draw < chance else text for text, draw in zip(texts, draws, strict=True)])


def dropped_in_copy(texts, empty, draws, chance):
    new = texts.clone()
    new[draws < chance] = empty
    return new


def below(draws, chance):
    return (draws < chance).view(-1, 1, 1)


PLANTED = {
    "training.1": {
        "facts": lambda sd: {},
        "right": [*value(1), 1.0000001],
        "wrong": {
            "0, as its answer: a perfect guess": 0,
            "the mean of the absolute values": 0.798,
            "one half": 0.5,
            "two: noise twice": 2,
            "a word, no number": "one",
            "of uniform numbers, not of noise with spread 1": 1 / 3,
        },
    },
    "training.2": {
        "facts": lambda sd: {"sigma": 5, "error": 0.01},
        "right": value(0.25),
        "wrong": {
            "the same: sigma plays no part": 0.01,
            "multiplied by sigma, not by its square": 0.05,
            "the root: sigma times the root of the error": 0.5,
            "divided by the square: the wrong side": 0.0004,
            "divided by sigma: easier": 0.002,
            "the weight of v": 0.26,
            "the square without the error": 25,
            "an error of the start: 14.61": 14.6146**2 * 0.01,
            "the error is squared once more": (5 * 0.01) ** 2,
        },
    },
    "training.3": {
        "facts": lambda sd: {},
        "right": function(
            lambda latents, noise, kept: kept**0.5 * noise - (1 - kept) ** 0.5 * latents,
            lambda latents, noise, kept: (
                torch.sqrt(torch.as_tensor(kept)) * noise - torch.sqrt(1 - torch.as_tensor(kept)) * latents
            ),
            lambda latents, noise, kept: -((1 - kept) ** 0.5) * latents + noise * kept**0.5,
        ),
        "wrong": {
            "the noisy latents, the input": lambda a, n, k: k**0.5 * a + (1 - k) ** 0.5 * n,
            "latents and noise have changed places": lambda a, n, k: k**0.5 * a - (1 - k) ** 0.5 * n,
            "the sign is turned": lambda a, n, k: (1 - k) ** 0.5 * a - k**0.5 * n,
            "no roots: kept is a variance": lambda a, n, k: k * n - (1 - k) * a,
            "the roots have changed places": lambda a, n, k: (1 - k) ** 0.5 * n - k**0.5 * a,
            "a plus where the difference stands": lambda a, n, k: k**0.5 * n + (1 - k) ** 0.5 * a,
            "noise less latents, kept is not used": lambda a, n, k: n - a,
            "the noise alone": lambda a, n, k: n,
            "one minus the root for the latents": lambda a, n, k: k**0.5 * n - (1 - k**0.5) * a,
        },
    },
    "training.4": {
        "facts": lambda sd: {},
        "right": function(
            lambda average, weights, decay: decay * average + (1 - decay) * weights,
            lambda average, weights, decay: average + (1 - decay) * (weights - average),
            lambda average, weights, decay: torch.lerp(weights, average, decay),
            lambda average, weights, decay: [
                decay * a + (1 - decay) * w for a, w in zip(average.tolist(), weights.tolist(), strict=True)
            ],
        ),
        "wrong": {
            "the shares have changed places": lambda a, w, d: (1 - d) * a + d * w,
            "shares that do not add up to 1": lambda a, w, d: d * a + w,
            "the plain mean: decay is not used": lambda a, w, d: (a + w) / 2,
            "the new weights are not used": lambda a, w, d: a,
            "the old average is not used": lambda a, w, d: w,
            "a decay that is fixed at 0.95": lambda a, w, d: 0.95 * a + 0.05 * w,
            "the weights are missing, it shrinks": lambda a, w, d: d * a,
            "a decay fixed at 0.9": lambda a, w, d: 0.9 * a + 0.1 * w,
            "a decay limited to 0.9": lambda a, w, d: min(d, 0.9) * a + (1 - min(d, 0.9)) * w,
        },
    },
    "training.5": {
        "facts": lambda sd: {"sd": sd},
        "right": value(128),
        "wrong": {
            "the whole table": 643 * 128,
            "77 positions": 77 * 128,
            "one: a row": 1,
            "the number of tokens": 643,
            "the whole table, with the new word": 644 * 128,
            "the tokens, and one more": 644,
            "v1.4's width": 768,
            "all positions of a row of ids, 77": 77,
        },
    },
    "training.6": {
        "facts": lambda sd: {},
        "right": function(
            noised,
            lambda latents, noise, kept: torch.stack(
                [k**0.5 * a + (1 - k) ** 0.5 * n for a, n, k in zip(latents, noise, kept, strict=True)]
            ),
            lambda a, n, k: torch.einsum("n,nchw->nchw", k.sqrt(), a) + torch.einsum("n,nchw->nchw", (1 - k).sqrt(), n),
        ),
        "wrong": {
            "no roots: shares of the variance": lambda a, n, k: wide(k) * a + (1 - wide(k)) * n,
            "the shares run along the columns": lambda a, n, k: k**0.5 * a + (1 - k) ** 0.5 * n,
            "the first share for all pictures": lambda a, n, k: noised(a, n, k[:1]),
            "the shares have changed places": lambda a, n, k: (1 - wide(k)).sqrt() * a + wide(k).sqrt() * n,
            "the noise is not weakened": lambda a, n, k: wide(k).sqrt() * a + n,
            "the noise is taken away": lambda a, n, k: wide(k).sqrt() * a - (1 - wide(k)).sqrt() * n,
            "one minus the root, not the root of the rest": lambda a, n, k: (
                wide(k).sqrt() * a + (1 - wide(k).sqrt()) * n
            ),
            "the mean share for all pictures": lambda a, n, k: noised(a, n, k.mean().view(1)),
            "fixed: it fits the drawing alone": lambda a, n, k: (
                k.view(4, 1, 1, 1).sqrt() * a + (1 - k).view(4, 1, 1, 1).sqrt() * n
            ),
            "several tensors, which nothing joins": lambda a, n, k: [
                k**0.5 * a + (1 - k) ** 0.5 * n for a, n, k in zip(a, n, k, strict=True)
            ],
        },
    },
    "training.7": {
        "facts": lambda sd: {},
        "right": function(
            dropped_by_loop,
            dropped_in_copy,
            lambda texts, empty, draws, chance: torch.where(below(draws, chance), empty, texts),
            lambda t, e, d, c: below(d, c) * e + ~below(d, c) * t,
        ),
        "wrong": {
            "turned over: where it is above": lambda t, e, d, c: torch.where(below(d, c), t, e),
            "the texts are left out of the batch": lambda t, e, d, c: t[d >= c],
            "zeros, not the empty prompt": lambda t, e, d, c: torch.where(below(d, c), 0.0, t),
            "all texts become empty": lambda t, e, d, c: e.expand(t.shape),
            "no text is left out": lambda t, e, d, c: t,
            "mixed by the chance": lambda t, e, d, c: c * e + (1 - c) * t,
            "the first texts, whatever was drawn": lambda t, e, d, c: torch.cat(
                [e[None]] * round(c * len(t)) + [t[round(c * len(t)) :]]
            ),
            "the dropped texts alone": lambda t, e, d, c: t[d < c],
            "fixed: it fits the drawing alone": lambda t, e, d, c: torch.stack(
                [
                    torch.stack([(e if draw < c else text)[place] for place in (0, 1)])
                    for draw, text in zip(d, t, strict=True)
                ]
            ),
        },
    },
    "training.8": {
        "facts": lambda sd: {},
        "right": function(
            lambda guess, noise: (guess - noise).square().mean(dim=(1, 2, 3)),
            lambda guess, noise: ((noise - guess) ** 2).flatten(1).mean(dim=1),
            lambda guess, noise: [float(((g - n) ** 2).mean()) for g, n in zip(guess, noise, strict=True)],
            lambda guess, noise: torch.nn.functional.mse_loss(guess, noise, reduction="none").mean((1, 2, 3)),
        ),
        "wrong": {
            "one number for the whole batch": lambda g, n: (g - n).square().mean(),
            "the absolute error, not squared": lambda g, n: (g - n).abs().mean(dim=(1, 2, 3)),
            "the sum, not the mean": lambda g, n: (g - n).square().sum(dim=(1, 2, 3)),
            "the root is taken": lambda g, n: (g - n).square().mean(dim=(1, 2, 3)).sqrt(),
            "not squared: errors cancel out": lambda g, n: (g - n).mean(dim=(1, 2, 3)),
            "the mean over the pictures: a number for each channel": lambda g, n: (g - n).square().mean(dim=(0, 2, 3)),
            "the square of the mean": lambda g, n: (g - n).mean(dim=(1, 2, 3)).square(),
            "the noise is not used": lambda g, n: g.square().mean(dim=(1, 2, 3)),
            "fixed: it fits the drawing alone": lambda g, n: (g - n).square().sum(dim=(1, 2, 3)) / 16,
        },
    },
}
