"""The judges of the lesson on steering."""

from __future__ import annotations

from numbers import Real

import numpy as np
import torch

from . import Mistake, exercise
from .compare import array, call, compared, finite, gives, number, pair, random, shaped, told
from .puzzles import numbers, puzzle


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
            "Does the scale play a part at all? It multiplies text − negative.",
            {
                "Minus the scale: but the scale multiplies a difference of 0.": -scale,
                "The scale less one: but the scale multiplies a difference of 0.": scale - 1,
                "The scale and one more: but the scale multiplies a difference of 0.": scale + 1,
            },
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


def _is_whole(each) -> bool:
    """Is it a whole number, in whatever type?"""
    return finite(each) and each % 1 == 0


@exercise(
    "steering.2",
    hint="The last `strength` of the steps are taken; the rest are left out. Steps count from 0.",
    learned="Strength times steps is what you pay for: img2img at 0.3 costs less than a third of a whole picture.",
)
def _entry(answer, *, steps, strength) -> Mistake | None:
    """A pair: how many steps are taken, and the index of the first of them."""
    taken, first = int(steps * strength), steps - int(steps * strength)
    hint = "Give two whole numbers: (steps taken, index of the first)."
    answer = pair(
        answer,
        _is_whole,
        hint,
        "{} is no such pair.",
    )
    if answer == (taken, first):
        return None
    if answer[0] == first:
        return Mistake(
            "At a low strength, are few steps taken or many?",
            f"A strength of {strength:g} takes {taken} steps and leaves {first} out; you have it the other way round.",
        )
    if answer in ((taken, first - 1), (taken, first + 1)):
        wrong = f"Steps 0 … {first - 1} are left out, so the first is {first}: counted from 0, not from 1."
        return Mistake("Steps count from 0. Which one comes after those that are left out?", wrong)
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
    if getattr(array(got), "shape", None) == noises.shape:
        return Mistake("How many noises come out?", "The sum is not taken: sum(dim=0) adds up the first side.")
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
    if mistake := compared(got, right, _not_mixed(noises, plain, weights), otherwise, atol=1e-4, rtol=1e-5):
        return mistake
    noises, weights = random(4, 4, 8, 8, seed=1), torch.tensor([0.9, 0.2, 0.6, 0.3])
    right = (weights.view(-1, 1, 1, 1) * noises).sum(dim=0) / weights.square().sum().sqrt()
    if gives(answer, right, noises, weights, atol=1e-4, rtol=1e-5):
        return None
    return Mistake(
        "Right for three noises with certain weights. Four with others are tried, too: what is fixed in it?",
        "It fits certain weights, or three noises. For all: divide by (weights ** 2).sum() ** 0.5.",
    )


def _not_mixed(noises, plain, weights):
    """Wrong results of mixing (`plain` is the weighted sum), and what to say to each."""
    sizes = "Try it with weights one half and one half: what is the spread of the sum?"
    return [
        *told(sizes, {"This is the straight mix: its spread is the root of the sum of the squared weights.": plain}),
        *told(sizes, {"Divided by the sum of the weights it is a mean: too weak a noise.": plain / weights.sum()}),
        *told(
            sizes,
            {
                "Divided by how many noises there are, whatever their weights.": plain / len(noises),
                "Divided by the root of how many noises there are, whatever their weights.": plain / len(noises) ** 0.5,
                "Multiplied by the spread that the sum has; divide by it.": plain * weights.norm(),
            },
        ),
        *told(
            "What does another weight change?",
            {"The weights are not used: all noises count alike.": noises.sum(dim=0) / len(noises) ** 0.5},
        ),
        *told(
            "That is a variance. What is the spread?",
            {"The root is missing: divide by (weights ** 2).sum() ** 0.5.": plain / weights.square().sum()},
        ),
        *told(
            "Close. But a fresh noise does not have a standard deviation of 1 to the last digit, either.",
            {"Divide by what the weights say, not by what this one draw happens to have.": plain / plain.std()},
        ),
    ]


@puzzle(
    "steering.5",
    given=lambda seed: {
        "known": numbers(seed, 4, 2, 4 + seed),
        "new": numbers(seed + 9, 4, 2, 4 + seed),
        "mask": torch.linspace(0, 1, 4 + seed).repeat(2, 1),
    },
    hint="Where the mask is 1, `new` counts fully; where it is 0, `known` does. And where it is 0.25?",
    learned="The loop does this after each step, with the known part noised to the step's level.",
    formula="mask * new + (1 - mask) * known.",
    wrong={
        "Which one stays where the mask is 0? known and new have changed places.": lambda k, n, m: m * k + (1 - m) * n,
        "What stands where the mask is 0? The known part is missing.": lambda k, n, m: m * n,
        "How much of known is left where all is new? It is not taken away there.": lambda k, n, m: m * n + k,
        "Is each place mixed in its own way? It is half and half everywhere.": lambda k, n, m: (k + n) / 2,
        "What of the soft edge? It is cut hard: all that is above 0 is new.": lambda k, n, m: torch.where(m > 0, n, k),
        "What of the soft edge? It is cut hard at one half.": lambda k, n, m: torch.where(m > 0.5, n, k),
        "What of the soft edge? It is cut hard: from one half on all is new.": lambda k, n, m: torch.where(
            m >= 0.5, n, k
        ),
        "What of the soft edge? It is cut hard: only where the mask is 1 there is anything new.": lambda k, n, m: (
            torch.where(m == 1, n, k)
        ),
        "What stands where the mask is 1? The new part is missing.": lambda k, n, m: (1 - m) * k,
        "What stays? All of it is new.": lambda k, n, m: n,
        "What changes? All of it is known.": lambda k, n, m: k,
    },
)
def _blended(known, new, mask):
    return mask * new + (1 - mask) * known


@puzzle(
    "steering.6",
    given=lambda seed: {"mask": _spots(seed, 16 + 8 * seed, 24 + 8 * seed)},
    hint="Four sides: rows of squares, 8, columns of squares, 8. Which of 64 pixels says that there is a 1?",
    learned="A thin line of the mask must not be lost: rather one square too many than a seam.",
    formula="mask.reshape(h // 8, 8, w // 8, 8).amax(dim=(1, 3)).",
    wrong={
        "How many pixels are asked? One of each block; a 1 may hide beside it.": lambda m: m[::8, ::8],
        "How many pixels are asked? The middle one of each block; a 1 may hide beside it.": lambda m: m[4::8, 4::8],
        "How many pixels are asked? The four in the middle of each block; a 1 may hide beside them.": lambda m: (
            _squares(m)[:, 3:5, :, 3:5].mean(dim=(1, 3))
        ),
        "0 or 1? This is the mean of the block.": lambda m: _squares(m).mean(dim=(1, 3)),
        "How many pixels are needed? You need all of the block; one is enough.": lambda m: _squares(m).amin(dim=(1, 3)),
        "How many pixels are needed? You need more than half; one is enough.": lambda m: (
            _squares(m).mean(dim=(1, 3)).round()
        ),
        "0 or 1? The pixels are counted.": lambda m: _squares(m).sum(dim=(1, 3)),
        "Is it turned? Rows and columns have changed places.": lambda m: _squares(m).amax(dim=(1, 3)).T,
        "Which pixels came together? reshape deals others to a block; rows, 8, columns, 8 is the order.": lambda m: (
            m.reshape(m.shape[0] // 8, m.shape[1] // 8, 64).amax(dim=2)
        ),
        "How large is the result? These are pixels, not squares.": lambda m: m,
    },
)
def _to_squares(mask):
    return _squares(mask).amax(dim=(1, 3))


def _squares(mask):
    """(height, width) -> (rows of squares, 8, columns of squares, 8)."""
    return mask.unflatten(1, (-1, 8)).unflatten(0, (-1, 8))


def _spots(seed: int, high: int, wide: int):
    """A mask with one whole square, two parts of squares, and a single pixel."""
    mask = torch.zeros(high, wide)
    mask[:8, 8:16] = 1
    mask[8:14, 3 + seed : 8] = mask[10:12, 16:19] = mask[high - 1, wide - 1] = 1
    mask[9:16, 17:24] = 1  # more than half of its square, and not the first pixel
    if seed:
        mask[high - 8, 0] = 1  # the first pixel alone
    return mask


@puzzle(
    "steering.7",
    given=lambda seed: {
        "latents": numbers(seed, 4, 2, 3),
        "noise": numbers(seed + 9, 4, 2, 3),
        "sigmas": torch.tensor([14.6, 9.7, 6.4, 4.2, 2.8, 1.7, 1.0, 0.5, 0.2, 0.03][seed:]),
        "strength": [0.3, 0.5, 0.45][seed],
    },
    hint="How many steps are left out before the first one that is taken? Its index names the level.",
    learned="Strength chooses a level, and the level how much of your picture can be seen.",
    formula="latents + sigmas[len(sigmas) - int(strength * len(sigmas))] * noise.",
    wrong={
        "Is it a weak start? It is always the first, strongest level.": lambda x, n, s, k: x + s[0] * n,
        "Which steps are left out? You count them from the other end: that is the index of the steps taken.": (
            lambda x, n, s, k: x + s[int(k * len(s))] * n
        ),
        "Which is the first step taken? One too late.": lambda x, n, s, k: x + s[_first(s, k) + 1] * n,
        "Which is the first step taken? One too early.": lambda x, n, s, k: x + s[_first(s, k) - 1] * n,
        "Which of the two is rounded down? The steps left out; it is the steps *taken*, int(strength · steps).": (
            lambda x, n, s, k: x + s[int((1 - k) * len(s))] * n
        ),
        "How strong is the noise? The strength was taken for sigma.": lambda x, n, s, k: x + k * n,
        "How strong is the noise? It has the spread 1: no level was looked up.": lambda x, n, s, k: x + n,
        "How strong is the noise? A share of the first level; the strength tells *which* level.": (
            lambda x, n, s, k: x + k * s[0] * n
        ),
        "How strong is the noise? The last level's, the weakest.": lambda x, n, s, k: x + s[-1] * n,
        "Which of the two is multiplied by the level? The picture; it is the noise.": lambda x, n, s, k: (
            s[_first(s, k)] * x + n
        ),
        "Who divides by the root of σ² + 1? The loop does, later; here the latents stay as they are.": (
            lambda x, n, s, k: (x + s[_first(s, k)] * n) / (s[_first(s, k)] ** 2 + 1) ** 0.5
        ),
        "Do the latents become weaker? They are mixed by shares; picture and noise are added.": lambda x, n, s, k: (
            (1 - k) * x + k * n
        ),
        "Where is your picture? This is the noise alone.": lambda x, n, s, k: s[_first(s, k)] * n,
        "Do the latents become weaker? They are mixed by shares; they stay as they are.": lambda x, n, s, k: (
            (1 - k) * x + k * s[0] * n
        ),
        "Is there any noise? None is added.": lambda x, n, s, k: x,
    },
)
def _entered(latents, noise, sigmas, strength):
    return latents + sigmas[_first(sigmas, strength)] * noise


def _first(sigmas, strength: float) -> int:
    """The index of the first step that is taken."""
    return len(sigmas) - int(strength * len(sigmas))
