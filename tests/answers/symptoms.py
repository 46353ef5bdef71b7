"""Planted answers to the exercises on symptoms."""

import math

import torch

from . import function

CAUSES = ["halves swapped", "prompt twice", "weak start", "input not scaled", "wrong timestep", "too much guidance"]
CAUSES += ["too few steps", "stopped early", "not divided"]


def mystery(right, *also):
    """The named cause in every spelling; each other cause stands for its own misreading of the chart."""
    told = {
        "halves swapped": "the first text would not be the empty prompt",
        "prompt twice": "the prompt's say would be 0",
        "weak start": "the first input would be far below 1",
        "input not scaled": "the first input would be as strong as the first sigma",
        "wrong timestep": "the first timestep would differ",
        "too much guidance": "the last input would be too strong",
        "too few steps": "fewer calls, and the last timestep 0",
        "stopped early": "the last timestep would be far from 0",
        "not divided": "what enters the decoder would be too weak",
    }
    return {
        "facts": lambda sd: {},
        "right": [right, right.upper(), f" {right} ", right.title(), f"{right}.", right.replace(" ", "  ")],
        "wrong": {f"{cause}: {told[cause]}": cause for cause in CAUSES if cause != right}
        | {"none of the names in CAUSES": "bad luck", "a number, none of the names": 3},
    }


def alarm(latents, sigma):
    if not torch.isfinite(latents).all():
        return "not finite"
    ratio = float(latents.std()) / (sigma**2 + 1) ** 0.5
    return "too weak" if ratio < 0.5 else "too strong" if ratio > 2 else "healthy"


def alarm_with(wanted=lambda sigma: (sigma**2 + 1) ** 0.5, finite=lambda x: torch.isfinite(x).all(), low=0.5, high=2):
    def judge(latents, sigma):
        if not finite(latents):
            return "not finite"
        std = latents.std()
        return "too weak" if std < low * wanted(sigma) else "too strong" if std > high * wanted(sigma) else "healthy"

    return judge


def alarm_by_sum(latents, sigma):
    if not math.isfinite(float(latents.double().sum())):
        return "not finite"
    std, wanted = latents.var().sqrt(), math.hypot(sigma, 1)
    if 2 * std < wanted:
        return "too weak"
    return "too strong" if std > 2 * wanted else "healthy"


def pulse_by_loop(inputs):
    return [float(each.std()) for each in inputs]


PLANTED = {
    "symptoms.1": mystery("input not scaled"),
    "symptoms.2": mystery("weak start"),
    "symptoms.3": mystery("stopped early"),
    "symptoms.4": {
        "facts": lambda sd: {},
        "right": [
            alarm,
            alarm_by_sum,
            alarm_with(),
            lambda x, sigma: alarm(x.double(), sigma),
            lambda x, sigma: alarm(torch.as_tensor(x.numpy()), float(sigma)),
        ],
        "wrong": {
            "a spread of 1 is wanted at every sigma": alarm_with(lambda sigma: 1),
            "sigma, not the root of sigma² + 1": alarm_with(lambda sigma: sigma),
            "nan is never found: it is not finite": alarm_with(finite=lambda x: True),
            "only nan is found, infinity is not": alarm_with(finite=lambda x: not x.isnan().any()),
            "too weak and too strong have changed places": lambda x, s: {
                "too weak": "too strong",
                "too strong": "too weak",
            }.get(alarm(x, s), alarm(x, s)),
            "True or False, none of the four texts": lambda x, s: alarm(x, s) == "healthy",
            "never too strong": alarm_with(high=math.inf),
            "sigma + 1 where variances add": alarm_with(lambda sigma: sigma + 1),
            "never too weak": alarm_with(low=0),
        },
    },
    "symptoms.5": {
        "facts": lambda sd: {},
        "right": function(
            lambda inputs: inputs.std(dim=(1, 2, 3)),
            pulse_by_loop,
            lambda inputs: inputs.flatten(1).var(dim=1).sqrt(),
            lambda inputs: inputs.std(dim=(1, 2, 3), correction=0),
        ),
        "wrong": {
            "the variance": lambda x: x.var(dim=(1, 2, 3)),
            "one number for all steps": lambda x: x.std(),
            "the mean": lambda x: x.mean(dim=(1, 2, 3)),
            "each channel by itself": lambda x: x.std(dim=(2, 3)),
            "over the steps, a number for each channel": lambda x: x.std(dim=(0, 2, 3)),
            "the mean of the absolute values": lambda x: x.abs().mean(dim=(1, 2, 3)),
            "the largest value": lambda x: x.abs().amax(dim=(1, 2, 3)),
            "measured from 0, the mean not taken away": lambda x: x.square().mean(dim=(1, 2, 3)).sqrt(),
            "fixed: it fits the drawing alone": lambda x: x.reshape(3, -1).std(dim=1),
        },
    },
    "symptoms.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda sick, healthy, most: (sick > most * healthy) | (healthy > most * sick),
            lambda sick, healthy, most: torch.maximum(sick / healthy, healthy / sick) > most,
            lambda sick, healthy, most: [int(max(a / b, b / a) > most) for a, b in zip(sick, healthy, strict=True)],
            lambda sick, healthy, most: (sick / healthy).log().abs() > math.log(most),
        ),
        "wrong": {
            "too small is not found": lambda s, h, m: s > m * h,
            "too large is not found": lambda s, h, m: h > m * s,
            "turned over: 1 where it is healthy": lambda s, h, m: ~((s > m * h) | (h > m * s)),
            "a difference, not how many times": lambda s, h, m: (s - h).abs() > m,
            "any other number is off: most is not used": lambda s, h, m: s != h,
            "both at once, which never is": lambda s, h, m: (s > m * h) & (h > m * s),
            "the ratio, not 0 and 1": lambda s, h, m: s / h,
            "fixed: it fits the drawing alone": lambda s, h, m: [s[k] > m * h[k] or h[k] > m * s[k] for k in range(6)],
            "only the first that is off": lambda s, h, m: torch.eye(len(s))[((s > m * h) | (h > m * s)).int().argmax()],
        },
    },
    "symptoms.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda latents: ~latents.isfinite().all(dim=0),
            lambda latents: (latents.isnan() | latents.isinf()).any(dim=0),
            lambda latents: latents.sum(dim=0).isfinite().logical_not().int(),
            lambda latents: (~torch.isfinite(latents)).sum(dim=0) > 0,
        ),
        "wrong": {
            "only nan is found, infinite ones are not": lambda x: x.isnan().any(dim=0),
            "only infinite ones are found, nan is not": lambda x: x.isinf().any(dim=0),
            "all four channels are needed": lambda x: (~x.isfinite()).all(dim=0),
            "turned over: 1 where it is finite": lambda x: x.isfinite().all(dim=0),
            "one answer for the whole tensor, no map": lambda x: not x.isfinite().all(),
            "the channels are still apart": lambda x: ~x.isfinite(),
            "the first channel alone": lambda x: ~x[0].isfinite(),
            "counts, not 0 and 1": lambda x: (~x.isfinite()).sum(dim=0),
            "fixed: it fits the drawing alone": lambda x: torch.stack(
                [~x[:, row].isfinite().all(0) for row in range(3)]
            ),
        },
    },
}
