"""The judges of the last page, symptoms."""

from __future__ import annotations

import math

from ..symptoms import CAUSES, hidden_cause
from . import Mistake, exercise
from .compare import call, random, shown

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
        truth, guess = hidden_cause(number), str(answer).strip().lower()
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
            if latents is broken:
                hint = "One number is nan, so the spread is nan. A comparison with nan is never true. And then?"
            elif latents is endless:
                hint = "nan is not the only thing that is not finite. What is 70000 in float16?"
            return Mistake(hint, f"{wrong} Your function says “{got}”.")
    return None
