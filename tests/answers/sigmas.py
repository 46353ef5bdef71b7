"""Planted answers to the exercises on sigmas."""

import numpy as np
import torch

from . import function, row, value

SECOND = 999 - 999 / 49


def weights_by_areas(before, now, after):
    old = ((after - now) ** 2) / (2 * (before - now))
    return (after - now) - old, old


def weights_by_numbers(before, now, after):
    middle = (now + after) / 2
    old = (middle - now) / (before - now) * (after - now)
    new = (middle - before) / (now - before) * (after - now)
    return [new, old]


def loop(scheduler, noise, guess, steps):
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(guess(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    return x


def loop_by_index(scheduler, noise, guess, steps):
    scheduler.set_timesteps(num_inference_steps=steps)
    x = scheduler.init_noise_sigma * noise
    for i in range(steps):
        t = scheduler.timesteps[i]
        x = scheduler.step(guess(scheduler.scale_model_input(x, t), t), t, x)[0]
    return x


def loop_as_dict(scheduler, noise, guess, steps):
    scheduler.set_timesteps(steps)
    x = noise.clone()
    x *= scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = scheduler.step(model_output=guess(scheduler.scale_model_input(x, t), t), timestep=t, sample=x)
        x = output["prev_sample"]
    return x


def without(**left_out):
    """The loop with some of its lines left out or changed."""

    def walk(scheduler, noise, guess, steps):
        if "set" not in left_out:
            scheduler.set_timesteps(steps)
        x = noise if "first" in left_out else noise * scheduler.init_noise_sigma
        for i, t in enumerate(scheduler.timesteps):
            scaled = x if "scale" in left_out else scheduler.scale_model_input(x, t)
            x = scaled if "back" in left_out else x
            told = i if "t" in left_out else t
            output = scheduler.step(guess(scaled, told), i if "index" in left_out else t, x)
            x = (
                output.pred_original_sample
                if "pred" in left_out
                else output
                if "prev" in left_out
                else output.prev_sample
            )
            if "early" in left_out:
                return x
        return x

    return walk


def way(x, picture, sigmas):
    places = [x]
    for now, after in zip(sigmas, sigmas[1:], strict=False):
        places.append(places[-1] + (places[-1] - picture) / now * (after - now))
    return torch.stack(places)


def straight(x, picture, sigmas):
    return picture + (x - picture) * (sigmas / sigmas[0]).view(-1, 1, 1)


def way_with(rule, keep=lambda places: places):
    def walk(x, picture, sigmas):
        places = [x]
        for now, after in zip(sigmas, sigmas[1:], strict=False):
            places.append(rule(places[-1], x, picture, now, after))
        return torch.stack(keep(places))

    return walk


PLANTED = {
    "sigmas.1": {
        "facts": lambda sd: {},
        "right": row(1, 0.5) + [(1, 0.5000001), (torch.tensor(1.0), np.float64(0.5))],
        "wrong": {
            "the other way round: which comes first": (0.5, 1),
            "the root of abar, a share of the standard deviation": (1, 0.5**0.5),
            "the start of the run, where noise is stronger": (14.6146, 0.5),
            "no noise at all": (0, 1),
            "abar 1, nothing but picture": (1, 1),
            "one number alone, not a pair": 1,
        },
    },
    "sigmas.2": {
        "facts": lambda sd: {"training": 1000},
        "right": [*value(SECOND), 978.61, 978.6122, np.float32(SECOND)],
        "wrong": {
            "50 gaps, not one fewer": 999 - 999 / 50,
            "1000 steps, one lower they start": 1000 - 1000 / 49,
            "one gap from 0, the other end": 999 / 49,
            "the first timestep": 999,
            "the third timestep": 999 - 2 * 999 / 49,
            "rounded to a whole number": 979,
            "from 1000, in 50 gaps": 980,
        },
    },
    "sigmas.3": {
        "facts": lambda sd: {},
        "right": function(
            lambda x, denoised, sigma, after: x + (x - denoised) / sigma * (after - sigma),
            lambda x, denoised, sigma, after: denoised + (x - denoised) * (after / sigma),
            lambda x, denoised, sigma, after: (after / sigma) * x + (1 - after / sigma) * denoised,
            lambda x, denoised, sigma, after: torch.lerp(denoised, x, after / sigma),
        ),
        "wrong": {
            "the sign: it moves to more noise": lambda x, d, s, a: x + (x - d) / s * (s - a),
            "not divided by sigma": lambda x, d, s, a: x + (x - d) * (a - s),
            "denoised is taken for the slope": lambda x, d, s, a: x + d * (a - s),
            "divided by the next sigma": lambda x, d, s, a: x + (x - d) / a * (a - s),
            "all the way to the guess": lambda x, d, s, a: d,
            "the step alone, without x": lambda x, d, s, a: (x - d) / s * (a - s),
            "multiplied by the next sigma, not by how far it moves": lambda x, d, s, a: x + (x - d) / s * a,
            "the slope points the other way: denoised - x": lambda x, d, s, a: x + (d - x) / s * (a - s),
        },
    },
    "sigmas.4": {
        "facts": lambda sd: {},
        "right": function(weights_by_areas, weights_by_numbers, lambda b, n, a: np.array(weights_by_areas(b, n, a))),
        "wrong": {
            "the other way round: the newest first": lambda b, n, a: weights_by_areas(b, n, a)[::-1],
            "3/2 and -1/2, for equal steps": lambda b, n, a: (1.5 * (a - n), -0.5 * (a - n)),
            "Euler, the old slope counts nothing": lambda b, n, a: (a - n, 0.0),
            "the 2 below is missing": lambda b, n, a: ((a - n) - (a - n) ** 2 / (b - n), (a - n) ** 2 / (b - n)),
            "the sign of the old weight": lambda b, n, a: (
                (a - n) + (a - n) ** 2 / (2 * (b - n)),
                -((a - n) ** 2) / (2 * (b - n)),
            ),
            "they do not add up to the step, divided by it": lambda b, n, a: [
                w / (a - n) for w in weights_by_areas(b, n, a)
            ],
            "integrated from after to now": lambda b, n, a: [-w for w in weights_by_areas(b, n, a)],
            "one weight, where two slopes are": lambda b, n, a: [a - n],
        },
    },
    "sigmas.5": {
        "facts": lambda sd: {"sd": sd},
        "right": function(loop, loop_by_index, loop_as_dict),
        "wrong": {
            "the scheduler was not set back: IndexError": without(set=True),
            "the start is the noise alone": without(first=True),
            "the input is not scaled": without(scale=True),
            "written back to the latents": without(back=True),
            "it returns inside of the loop": without(early=True),
            "neither start nor input: noise alone and unscaled": without(first=True, scale=True),
            "the guess gets the loop's index, not the timestep": without(t=True),
            "step gets the loop's index, not the timestep": without(index=True, t=True),
            "pred_original_sample instead of prev_sample": without(pred=True),
            "what step gives back is more than latents: prev_sample": without(prev=True),
        },
    },
    "sigmas.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda x, sigma: x / (sigma**2 + 1) ** 0.5,
            lambda x, sigma: x * (1 + sigma * sigma) ** -0.5,
            lambda x, sigma: torch.stack([each / np.sqrt(sigma**2 + 1) for each in x]),
        ),
        "wrong": {
            "divided by sigma alone: the picture is left out": lambda x, s: x / s,
            "the root is missing: a variance": lambda x, s: x / (s**2 + 1),
            "sigma + 1: strengths are added, not variances": lambda x, s: x / (s + 1),
            "multiplied, not divided": lambda x, s: x * (s**2 + 1) ** 0.5,
            "nothing is scaled": lambda x, s: x,
            "divided by its own measured standard deviation": lambda x, s: x / x.std(),
            "sigma is not squared": lambda x, s: x / (s + 1) ** 0.5,
        },
    },
    "sigmas.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda abar: ((1 - abar) / abar) ** 0.5,
            lambda abar: (1 / abar - 1).sqrt(),
            lambda abar: [((1 - a) / a) ** 0.5 for a in abar.tolist()],
        ),
        "wrong": {
            "the root is missing: shares of the variance": lambda a: (1 - a) / a,
            "upside down: picture ÷ noise": lambda a: (a / (1 - a)) ** 0.5,
            "the noise alone, not divided by the picture": lambda a: (1 - a) ** 0.5,
            "the share of the noise": lambda a: 1 - a,
            "the root of the picture's share": lambda a: a**0.5,
            "divided by the share, not by its root": lambda a: (1 - a) ** 0.5 / a,
            "one over the share": lambda a: 1 / a,
            "the reverse order": lambda a: ((1 - a) / a).sqrt().flip(0),
        },
    },
    "sigmas.8": {
        "facts": lambda sd: {},
        "right": function(way, straight, lambda x, p, s: torch.stack([p + (x - p) * each / s[0] for each in s])),
        "wrong": {
            "the first place is missing": lambda x, p, s: way(x, p, s)[1:],
            "only the last place": lambda x, p, s: way(x, p, s)[-1],
            "every step starts at x again": way_with(lambda now, x, p, s, a: x + (x - p) / s * (a - s)),
            "upwards: the sign of the way": way_with(lambda now, x, p, s, a: now - (now - p) / s * (a - s)),
            "not divided by sigma": way_with(lambda now, x, p, s, a: now + (now - p) * (a - s)),
            "divided by the next sigma": way_with(lambda now, x, p, s, a: now + (now - p) / max(a, 1e-3) * (a - s)),
            "the picture is taken for the slope": way_with(lambda now, x, p, s, a: now + p * (a - s)),
            "at once at the picture": way_with(lambda now, x, p, s, a: p),
        },
    },
}
