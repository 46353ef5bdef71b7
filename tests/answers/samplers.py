"""Planted answers to the exercises on samplers."""

import numpy as np
import torch

from . import function, row, value

SETTINGS = {"sampler": "dpmpp_2m", "steps": 20, "levels": "default"}


def heun(denoise, x, sigma, after):
    slope = (x - denoise(x, sigma)) / sigma
    tried = x + slope * (after - sigma)
    if after == 0:
        return tried
    return x + (slope + (tried - denoise(tried, after)) / after) / 2 * (after - sigma)


def heun_by_means(denoise, x, sigma, after):
    def slope(x, sigma):
        return (x - denoise(x, sigma)) / sigma

    step, here = after - sigma, slope(x, sigma)
    euler = x + step * here
    return euler if not after else 0.5 * euler + 0.5 * (x + step * slope(euler, after))


def heun_with(rule, last=True):
    def step(denoise, x, sigma, after):
        here = (x - denoise(x, sigma)) / sigma
        tried = x + here * (after - sigma)
        if after == 0 and last:
            return tried
        return rule(denoise, x, here, tried, sigma, after)

    return step


def far(denoise, tried, after):
    return (tried - denoise(tried, after)) / after


PLANTED = {
    "samplers.1": {
        "facts": lambda sd: {"steps": 30},
        "right": row(30, 59),
        "wrong": {
            "the other way round": (59, 30),
            "two calls in the last step of Heun, too": (30, 60),
            "Heun asks as often as Euler": (30, 30),
            "Euler asks not in its last step": (29, 59),
            "two calls fewer: never, not once": (30, 58),
            "one number, no pair": 30,
            "Euler asks twice": (60, 59),
        },
    },
    "samplers.2": {
        "facts": lambda sd: {"error": 0.064, "order": 2, "times": 8},
        "right": value(0.001),
        "wrong": {
            "order 1, as Euler": 0.008,
            "the order as a factor, not a power": 0.004,
            "twice as many steps, not eight times": 0.016,
            "order and factor have changed places": 0.064 / 2**8,
            "the error grows": 0.064 * 64,
            "how many times smaller, not the error": 64,
            "the error stays": 0.064,
            "a sentence, no number": "64 times smaller",
        },
    },
    "samplers.3": {
        "facts": lambda sd: {"settings": SETTINGS},
        "right": [
            SETTINGS | {"levels": "karras"},
            SETTINGS | {"levels": "Karras"},
            SETTINGS | {"levels": "KARRAS"},
            SETTINGS | {"levels": " karras "},
            {"sampler": "dpmpp_2m", "steps": 20.0, "levels": "karras"},
        ],
        "wrong": {
            "more steps: each costs a call": SETTINGS | {"steps": 40},
            "another sampler": SETTINGS | {"sampler": "heun"},
            "nothing is different": dict(SETTINGS),
            "levels of a name that there is not": SETTINGS | {"levels": "exponential"},
            "the levels alone, no settings": "karras",
            "two changes: levels and steps": SETTINGS | {"levels": "karras", "steps": 10},
        },
    },
    "samplers.4": {
        "facts": lambda sd: {},
        "right": function(heun, heun_by_means, lambda d, x, s, a: heun(d, x, torch.tensor(s), torch.tensor(a))),
        "wrong": {
            "Euler: the slope at the end is not used": heun_with(lambda d, x, h, t, s, a: t),
            "both slopes added, not their mean": heun_with(lambda d, x, h, t, s, a: x + (h + far(d, t, a)) * (a - s)),
            "only the far slope": heun_with(lambda d, x, h, t, s, a: x + far(d, t, a) * (a - s)),
            "the step starts at the place tried, not at x": heun_with(
                lambda d, x, h, t, s, a: t + (h + far(d, t, a)) / 2 * (a - s)
            ),
            "the second slope measured at x, not at the place tried": heun_with(
                lambda d, x, h, t, s, a: x + (h + far(d, x, a)) / 2 * (a - s)
            ),
            "the second slope divided by the old level": heun_with(
                lambda d, x, h, t, s, a: x + (h + (t - d(t, a)) / s) / 2 * (a - s)
            ),
            "the step goes the wrong way": heun_with(lambda d, x, h, t, s, a: x + (h + far(d, t, a)) / 2 * (s - a)),
            "the mean of the slopes, no step along it from x": heun_with(
                lambda d, x, h, t, s, a: (h + far(d, t, a)) / 2
            ),
            "neither slope is divided by its level": lambda d, x, s, a: heun(
                lambda y, level: y - level * (y - d(y, level)), x, s, a
            ),
            "the midpoint method": heun_with(
                lambda d, x, h, t, s, a: x + far(d, x + h * (a - s) / 2, (s + a) / 2) * (a - s)
            ),
            "denoise is told the old level at the place tried": heun_with(
                lambda d, x, h, t, s, a: x + (h + (t - d(t, s)) / a) / 2 * (a - s)
            ),
            "the second slope begins at x, not at the place tried": heun_with(
                lambda d, x, h, t, s, a: x + (h + (x - d(t, a)) / a) / 2 * (a - s)
            ),
            "the second guess is asked for at x": heun_with(
                lambda d, x, h, t, s, a: x + (h + (t - d(x, a)) / a) / 2 * (a - s)
            ),
            "Euler's with other, low levels": lambda d, x, s, a: (
                x + (x - d(x, s)) / s * (a - s) if a < 1 else heun(d, x, s, a)
            ),
            "after = 0 is forgotten, the last step": heun_with(
                lambda d, x, h, t, s, a: x + (h + far(d, t, a)) / 2 * (a - s), last=False
            ),
            "the last step does nothing: Euler's is wanted at after = 0": lambda d, x, s, a: (
                x if a == 0 else heun(d, x, s, a)
            ),
        },
    },
    "samplers.5": {
        "facts": lambda sd: {},
        "right": function(
            lambda low, high, n: torch.linspace(high ** (1 / 7), low ** (1 / 7), n) ** 7,
            lambda low, high, n: np.linspace(high ** (1 / 7), low ** (1 / 7), n) ** 7,
            lambda low, high, n: [
                (high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)
            ],
        ),
        "wrong": {
            "even levels: no root": lambda low, high, n: torch.linspace(high, low, n),
            "the lowest first: it rises": lambda low, high, n: torch.linspace(low ** (1 / 7), high ** (1 / 7), n) ** 7,
            "the power is missing: these are roots": lambda low, high, n: torch.linspace(
                high ** (1 / 7), low ** (1 / 7), n
            ),
            "even in the logarithm, not in the root": lambda low, high, n: torch.logspace(
                np.log10(high), np.log10(low), n
            ),
            "root and power have changed places": lambda low, high, n: torch.linspace(high**7, low**7, n) ** (1 / 7),
            "a seventh, no root: the power comes first": lambda low, high, n: (
                torch.linspace(high**1 / 7, low**1 / 7, n) ** 7
            ),
            "low is not the last: the way ends one place before": lambda low, high, n: (
                (high ** (1 / 7) + torch.arange(n) / n * (low ** (1 / 7) - high ** (1 / 7))) ** 7
            ),
            "a level 0 as the last": lambda low, high, n: torch.cat(
                [torch.linspace(high ** (1 / 7), low ** (1 / 7), n) ** 7, torch.zeros(1)]
            ),
            "one level too few": lambda low, high, n: torch.linspace(high ** (1 / 7), low ** (1 / 7), n - 1) ** 7,
            "one level too many": lambda low, high, n: torch.linspace(high ** (1 / 7), low ** (1 / 7), n + 1) ** 7,
            "a square root in place of the root of degree 7": lambda low, high, n: (
                torch.linspace(high**0.5, low**0.5, n) ** 2
            ),
        },
    },
    "samplers.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda old, newest: 1.5 * newest - 0.5 * old,
            lambda old, newest: newest + (newest - old) / 2,
            lambda old, newest: torch.stack([(3 * b - a) / 2 for a, b in zip(old, newest, strict=True)]),
        ),
        "wrong": {
            "old and newest have changed places": lambda o, n: 1.5 * o - 0.5 * n,
            "the mean of both": lambda o, n: (o + n) / 2,
            "the sign: half of the old one is added": lambda o, n: 1.5 * n + 0.5 * o,
            "the newest alone, as Euler": lambda o, n: n,
            "all of the old one is taken away: 2 and -1": lambda o, n: 2 * n - o,
            "one and a half times the newest alone": lambda o, n: 1.5 * n,
            "half of the newest": lambda o, n: 0.5 * n - 0.5 * o,
        },
    },
    "samplers.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda x, denoised, sigma, down, up, noise: x + (x - denoised) / sigma * (down - sigma) + up * noise,
            lambda x, denoised, sigma, down, up, noise: denoised + down / sigma * (x - denoised) + noise * up,
            lambda x, denoised, sigma, down, up, noise: torch.lerp(denoised, x, down / sigma) + up * noise,
        ),
        "wrong": {
            "the fresh noise is missing": lambda x, d, s, down, up, n: x + (x - d) / s * (down - s),
            "the noise is added before the step": lambda x, d, s, down, up, n: (
                (x + up * n) + (x + up * n - d) / s * (down - s)
            ),
            "the noise in full strength, up is not used": lambda x, d, s, down, up, n: x + (x - d) / s * (down - s) + n,
            "up and down have changed places": lambda x, d, s, down, up, n: x + (x - d) / s * (up - s) + down * n,
            "the sign: the step leads to more noise": lambda x, d, s, down, up, n: (
                x - (x - d) / s * (down - s) + up * n
            ),
            "not divided by sigma": lambda x, d, s, down, up, n: x + (x - d) * (down - s) + up * n,
            "Euler's step ends at the next level, not at down": lambda x, d, s, down, up, n: (
                x + (x - d) / s * ((down**2 + up**2) ** 0.5 - s) + up * n
            ),
            "divided by down, not by sigma": lambda x, d, s, down, up, n: x + (x - d) / down * (down - s) + up * n,
            "the step is down long": lambda x, d, s, down, up, n: x - (x - d) / s * down + up * n,
            "no step at all: noise on x": lambda x, d, s, down, up, n: x + up * n,
            "up is squared": lambda x, d, s, down, up, n: x + (x - d) / s * (down - s) + up**2 * n,
            "all the way to the guess": lambda x, d, s, down, up, n: d + up * n,
        },
    },
}
