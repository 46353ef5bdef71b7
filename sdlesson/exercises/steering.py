"""The judges of the lesson on steering."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import torch

from . import Mistake, exercise
from .compare import array, call, compared, number, pair, random, shaped, told


@exercise(
    "steering.1",
    hint="Put the prompt's guess in both places of the formula: negative + scale · (text − negative).",
    learned="The difference is 0, so the scale has nothing to multiply: it is the prompt's own guess, guidance 1.",
)
def _same_negative(answer, *, scale) -> Mistake | None:
    """The scale that, with an empty negative prompt, paints what prompt = negative prompt paints at any scale."""
    known = [
        *told(
            "What is text − negative when both are the same?",
            {f"Nothing is left of the scale {scale:g}: it multiplies a difference of 0.": scale},
        ),
        *told(
            "The difference is 0, right. But the formula starts from somewhere: from which guess?",
            {"At scale 0 the empty prompt's guess would be left. Here the prompt's own guess is left.": 0},
        ),
    ]
    otherwise = Mistake(
        "negative + scale · (text − negative): write `text` for `negative`, and see what is left.",
        "text + scale · 0 = text: the prompt's own guess, which is guidance scale 1 with the empty prompt.",
    )
    return compared(number(answer, "The answer is one number, a guidance scale."), 1, known, otherwise)


@exercise(
    "steering.2",
    hint="The last `strength` of the steps are taken; the rest are left out. Steps count from 0.",
    learned="Strength times steps is what you pay for: img2img at 0.3 costs less than a third of a whole picture.",
)
def _entry(answer, *, steps, strength) -> Mistake | None:
    """A pair: how many steps are taken, and the index of the first of them."""
    taken, first = int(steps * strength), steps - int(steps * strength)
    hint = "Give two whole numbers: (steps taken, index of the first)."
    answer = pair(answer, lambda each: isinstance(each, Integral), hint, "{} is no such pair.")
    if answer == (taken, first):
        return None
    if answer[0] == first:
        return Mistake(
            "At a low strength, are few steps taken or many?",
            f"A strength of {strength:g} takes {taken} steps and leaves {first} out; you have it the other way round.",
        )
    if answer == (taken, first - 1):
        return Mistake("Steps count from 0.", f"Steps 0 … {first - 1} are left out, so the first is {first}.")
    if answer == (taken, taken):
        return Mistake("They are the *last* steps of the way.", f"{taken} steps to the end begin at step {first}.")
    if answer[0] != taken:
        return Mistake("Multiply the steps by the strength.", f"{steps} × {strength:g} = {taken} steps are taken.")
    return Mistake("How many steps come before the first one that is taken?", f"{steps} − {taken} = {first}.")


@exercise(
    "steering.3",
    hint="(low, high): guidance counts where low < σ <= high. The printed levels tell you how many steps that are.",
    learned="Guidance is needed where the prompt decides; at the end it costs work, and lets the solver swing.",
)
def _interval(answer, *, sigmas, most) -> Mistake | None:
    """An interval of noise levels with at most `most` guided steps, at least one, and none at sigma 1 or below."""
    hint = "Give two numbers, (low, high)."
    low, high = pair(answer, lambda each: isinstance(each, Real), hint, "{} is no pair of numbers.")
    levels = [float(sigma) for sigma in sigmas if sigma > 0]
    guided = [sigma for sigma in levels if low < sigma <= high]
    if low >= high:
        return Mistake("The lower level comes first.", f"No σ is above {low:g} and at most {high:g}.")
    if not guided:
        return Mistake("Is there any level between your two?", "No step would be guided: that is guidance 1.")
    if min(guided) <= 1:
        return Mistake(
            "Where did the swing break out: in the noise, or at the end?",
            f"The step at σ {min(guided):.2f} is still guided; leave out the levels up to 1.",
        )
    if len(guided) > most:
        return Mistake(
            "The end is left alone, good. Now save more: the beginning can do without, too.",
            f"{len(guided)} steps are guided; at most {most} may be.",
        )
    if len(guided) < 2:
        return Mistake("One step decides little.", "Only one step is guided; leave at least two.")
    return None


@exercise(
    "steering.4",
    hint="The variance of a sum of independent noises is the sum of the squared weights. Divide by its root.",
    learned="For two noises and one half each the divisor is √½: what lerp forgets, and slerp takes care of.",
)
def _mix(answer, **_facts) -> Mistake | None:
    """A function (noises, weights) -> one noise of spread 1; noises (k, 4, h, w), weights (k,)."""
    noises = random(3, 4, 64, 64)
    weights = torch.tensor([0.5, 0.3, 0.4])
    got = call(answer, noises, weights)
    if np.shape(array(got)) == (1, *noises.shape[1:]):
        return Mistake(
            "Out comes one noise, (4, h, w): sum over the first side without keeping it.",
            "The result has a first side of 1, as keepdim=True leaves it; leave that out.",
        )
    got = shaped(
        got,
        noises.shape[1:],
        "Out comes one noise, (4, h, w). Does `weights` have a side for each side of `noises`: view(-1, 1, 1, 1)?",
        f"Three noises of shape {tuple(noises.shape[1:])} went in; one of that shape should come out.",
    )
    plain = (weights.view(-1, 1, 1, 1) * noises).sum(dim=0)
    right = plain / weights.square().sum().sqrt()
    otherwise = Mistake(
        "Two lines: the weighted sum over the first side; then divided by (weights ** 2).sum() ** 0.5.",
        "The result is not the weighted sum, divided by the root of the sum of the squared weights.",
    )
    return compared(got, right, _not_mixed(plain, weights), otherwise, atol=1e-4, rtol=1e-5)


def _not_mixed(plain, weights):
    """Wrong results of mixing (`plain` is the weighted sum), and what to say to each."""
    sizes = "Try it with weights one half and one half: what is the spread of the sum?"
    return [
        *told(sizes, {"This is the straight mix: its spread is the root of the sum of the squared weights.": plain}),
        *told(sizes, {"Divided by the sum of the weights it is a mean: too weak a noise.": plain / weights.sum()}),
        *told(
            "That is a variance. What is the spread?",
            {"The root is missing: divide by (weights ** 2).sum() ** 0.5.": plain / weights.square().sum()},
        ),
        *told(
            "Close. But a fresh noise does not have a standard deviation of 1 to the last digit, either.",
            {"Divide by what the weights say, not by what this one draw happens to have.": plain / plain.std()},
        ),
    ]
