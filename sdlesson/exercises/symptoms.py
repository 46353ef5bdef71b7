"""The judges of the last page, symptoms."""

from __future__ import annotations

import math
import re

import torch

from ..symptoms import CAUSES, hidden_cause
from . import Mistake, exercise
from .compare import call, random, shown
from .puzzles import numbers, puzzle

#: What the numbers would say if it were this cause: the answer to a wrong guess.
_WOULD = {
    "halves swapped": "the first text would not be the empty prompt, and the two guesses would still differ",
    "prompt twice": "the two guesses would be the same, so the prompt's say would be 0",
    "weak start": "the UNet's first input would have a spread far below 1",
    "input not scaled": "the UNet's first input would be about as strong as the first σ, not 1",
    "wrong timestep": "the first timestep would not be that of the healthy run",
    "too much guidance": "the first input would be right, and the last one far too strong",
    "too few steps": "there would be fewer calls, and the last timestep would still be 0",
    "stopped early": "there would be fewer calls, and the last timestep would be far from 0",
    "not divided": "all the UNet's numbers would be right, and only what enters the decoder would be too weak",
}


#: Where to look, in the order in which the data flows, when it is this cause.
_LOOK = {
    "halves swapped": "The first text is not the empty prompt, yet the prompt has its say.",
    "prompt twice": "The first text is not the empty prompt, and the two guesses do not differ at all.",
    "weak start": "The texts and timesteps are right. Look at the spread of the first input, and at the two seeds.",
    "input not scaled": "The first number that is off is the spread of the first input: by how much?",
    "wrong timestep": "The first number that is off is the first timestep.",
    "too much guidance": "The first input is right, the last is not: something grew on the way.",
    "too few steps": "Count the UNet's calls, and look at the last timestep.",
    "stopped early": "Look at the last timestep: where should it be?",
    "not divided": "The UNet's last input is right, and the latents in the decoder are not. What lies between?",
}


#: What a solved mystery shows, by its number.
_LEARNED = {
    1: "Several faults end in such a picture. Only one of them makes the very first input so strong.",
    2: "A picture alone hardly shows it. Two seeds beside each other do, and so does one number.",
    3: "The noise was not removed to the end: the last timestep says where the loop stopped.",
}


def _mystery(number: int):
    """A judge of the cause of mystery `number`; what a wrong guess would look like is the hint."""

    def judge(answer) -> Mistake | None:
        truth, guess = hidden_cause(number), " ".join(re.findall(r"\w+", str(answer).lower()))
        if guess == truth:
            return None
        if guess not in CAUSES:
            return Mistake(
                "Choose one of the names in CAUSES, and give it as text, in quotes.",
                f"{shown(answer)} is none of these: {', '.join(CAUSES)}.",
            )
        return Mistake(
            f"If it were “{guess}”, {_WOULD[guess]}. Compare with the numbers of this run.",
            f"It is not “{guess}”. {_LOOK[truth]}",
        )

    return judge


for _number, _learned in _LEARNED.items():
    exercise(
        f"symptoms.{_number}",
        hint="Read the columns from left to right. Which number is the first that differs from the healthy run's?",
        learned=_learned,
    )(_mystery(_number))


@exercise(
    "symptoms.4",
    hint="Three questions, in this order: is every number finite? What is the spread? What should it be at this σ?",
    learned="Four lines that you can put into any loop. They cost nothing beside one call of the UNet.",
)
def _alarm(answer, **_facts) -> Mistake | None:
    """A function (latents, sigma) -> "not finite", "too weak", "too strong" or "healthy"."""
    noise = random(2, 4, 16, 16)
    broken, endless = noise.clone(), noise.clone()
    broken[1, 2, 3, 4], endless[0, 0, 0, 0] = math.nan, math.inf
    cases = [
        (noise * 213.6**0.5, 14.6, "healthy", "Latents at σ 14.6 have a spread of √(σ² + 1), about 14.6, not 1."),
        (noise, 0.0, "healthy", "At σ = 0 the picture itself is left: its spread is about 1, so √(σ² + 1), not σ."),
        (noise, 14.6, "too weak", "A start that was not multiplied by σ has a spread of 1, where 14.6 should be."),
        (noise * 3, 0.0, "too strong", "A spread of 3 at σ = 0 is too strong: a burnt picture."),
        (noise * 0.78, 1.0, "healthy", "Right is √(1 + 1), about 1.41 at σ 1, and 0.78 is more than half of that."),
        (noise * 2.5, 1.0, "healthy", "Right is √(1 + 1), about 1.41 at σ 1, and 2.5 is less than twice that."),
        (noise * 0.64, 1.0, "too weak", "Right is √(1 + 1), about 1.41 at σ 1, and 0.64 is less than half of that."),
        (noise * 3.1, 1.0, "too strong", "Right is √(1 + 1), about 1.41 at σ 1, and 3.1 is more than twice that."),
        (noise * 0.4, 0.0, "too weak", "A spread of 0.4 at σ = 0 is less than half of what should be there."),
        (broken, 1.0, "not finite", "One nan among many numbers is enough: isfinite().all(), before the spread."),
        (endless, 1.0, "not finite", "Infinity is not finite either: isfinite() finds both, isnan() only one."),
    ]
    words = {"not finite", "too weak", "too strong", "healthy"}
    for latents, sigma, right, wrong in cases:
        got = call(answer, latents, sigma)
        if not isinstance(got, str) or got not in words:
            return Mistake(
                'Give back one of four texts: "not finite", "too weak", "too strong", "healthy".',
                f"{shown(got)} is none of the four.",
            )
        if got != right:
            hint = "How large should the spread be at this σ? Try σ = 0 and the first σ in your head."
            if {got, right} == {"too weak", "too strong"}:
                hint = "Too weak or too strong? Compare the two answers: have they changed places?"
            elif got == "healthy":
                hint = f"When does your function answer “{right}”? Try a spread of 1 at σ = 14.6, and of 3 at σ = 0."
            if sigma == 1:
                hint = "How large should the spread be at σ = 1, where picture and noise are equal? Variances add."
            if latents is broken:
                hint = "One number is nan, so the spread is nan. A comparison with nan is never true. And then?"
            elif latents is endless:
                hint = "nan is not the only thing that is not finite. What is 70000 in float16?"
            return Mistake(hint, f"{wrong} Your function says “{got}”, and not “{right}”.")
    return None


@puzzle(
    "symptoms.5",
    given=lambda seed: {
        "inputs": random(3 + seed, 4, 8, 8 + seed, seed=seed)
        * torch.tensor([1.0, 3, 0.3, 2, 0.1][: 3 + seed]).view(-1, 1, 1, 1)
        + 0.5
    },
    hint="std(dim=…) over all sides but one. Which one stays?",
    learned="The pulse of a healthy run is near 1 at every step.",
    formula="inputs.std(dim=(1, 2, 3)).",
    rtol=5e-3,  # n or n − 1 below: both are standard deviations
    wrong={
        "Variance or standard deviation? This is the variance; take its root.": lambda x: x.var(dim=(1, 2, 3)),
        "How many numbers? One for all steps; each step should have its own.": lambda x: x.std(),
        "How wide, or where? This is the mean.": lambda x: x.mean(dim=(1, 2, 3)),
        "Which side stays? Each channel is measured by itself.": lambda x: x.std(dim=(2, 3)),
        "Which side stays? You measured over the steps, a number for each channel is left.": lambda x: x.std(
            dim=(0, 2, 3)
        ),
        "How is a spread measured? By squares; this is the mean of the absolute values.": lambda x: x.abs().mean(
            dim=(1, 2, 3)
        ),
        "How wide, or how far? This is the largest value.": lambda x: x.abs().amax(dim=(1, 2, 3)),
        "From where is it measured? From 0: the mean is not taken away.": lambda x: (
            x.square().mean(dim=(1, 2, 3)).sqrt()
        ),
    },
)
def _pulse(inputs):
    return inputs.std(dim=(1, 2, 3))


def _off(sick, healthy, most):
    return (sick > most * healthy) | (healthy > most * sick)


puzzle(
    "symptoms.6",
    given=lambda seed: {
        "sick": torch.tensor([1.0, 5.0, 0.2, 14.6, 0.5, 3.0]).roll(seed)[: 6 - seed],
        "healthy": torch.tensor([1.0, 1.0, 1.0, 14.0, 0.6, 1.2]).roll(seed)[: 6 - seed],
        "most": 2.0 + 0.3 * seed,  # never just as many times: rounding would decide
    },
    hint="How many times, not by how much: compare sick with most × healthy, and the other way round.",
    learned="A ratio treats twice as much and half as much alike.",
    formula="(sick > most * healthy) | (healthy > most * sick).",
    wrong={
        "And half as much? What is too small is not found.": lambda s, h, m: s > m * h,
        "And twice as much? What is too large is not found.": lambda s, h, m: h > m * s,
        "Where should the 1 stand? Turned over: it marks what is healthy.": lambda s, h, m: ~_off(s, h, m),
        "How many times, or by how much? You take the difference.": lambda s, h, m: (s - h).abs() > m,
        "How far may they differ? `most` is not used: any other number is off.": lambda s, h, m: s != h,
        "Is none of them off? All are 0: too large and too small, both at once, never is.": lambda s, h, m: 0 * s,
        "0 or 1? This is the ratio.": lambda s, h, m: s / h,
        "How many are off? Only the first is marked.": lambda s, h, m: _off(s, h, m).cumsum(0) * _off(s, h, m) == 1,
    },
)(_off)


@puzzle(
    "symptoms.7",
    given=lambda seed: {"latents": _with_dead(seed)},
    hint="isfinite() answers for each number. A square is dead as soon as one of its four is.",
    learned="A dead square spreads: a convolution carries it to its neighbours, a norm to its whole group.",
    formula="~latents.isfinite().all(dim=0).",
    wrong={
        "Is infinity finite? Only nan is found, infinite ones are not.": lambda x: x.isnan().any(dim=0),
        "Is nan finite? Only infinite ones are found, nan is not.": lambda x: x.isinf().any(dim=0),
        "How many channels must be dead? You need all four; one is enough.": lambda x: (~x.isfinite()).all(dim=0),
        "Where should the 1 stand? Turned over: it marks what is finite.": lambda x: x.isfinite().all(dim=0),
        "A map or one answer? This is one for the whole tensor.": lambda x: ~x.isfinite().all(),
        "How many sides go out? The channels are still apart.": lambda x: ~x.isfinite(),
        "How many channels did you look at? The first alone.": lambda x: ~x[0].isfinite(),
        "0 or 1? These are counts.": lambda x: (~x.isfinite()).sum(dim=0),
    },
)
def _dead(latents):
    return ~latents.isfinite().all(dim=0)


def _with_dead(seed: int):
    """Latents with nan in one channel, infinity in another, and one square that is dead in all four."""
    latents = numbers(seed, 4, 3 + seed, 4 + seed)
    latents[0, 0, 1], latents[2, 1, 3], latents[1, 2, seed], latents[1, 0, 1] = math.nan, math.inf, -math.inf, math.inf
    latents[:, 2, 2] = latents[3, 1, 0] = math.nan
    return latents
