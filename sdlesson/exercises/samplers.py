"""The judges of the lesson on samplers."""

from __future__ import annotations

import torch

from . import Mistake, exercise
from .compare import call, compared, finite, gives, number, one_change, pair, shaped, shown, told
from .puzzles import numbers, puzzle


@exercise(
    "samplers.1",
    hint="How often does each sampler ask in one step? And what can nobody ask at σ = 0?",
    learned="Compare samplers by their calls, not by their steps: the calls are what you wait for.",
)
def _calls(answer, *, steps) -> Mistake | None:
    """How often Euler and Heun ask the model in a run of `steps` steps down to sigma 0."""
    hint = "Give two numbers: (calls of Euler, calls of Heun)."
    plain, twice = pair(answer, finite, hint, "{} is not a pair of numbers.")
    if (twice, plain) == (steps, 2 * steps - 1):
        return Mistake("Which of the two looks ahead?", "You have the two the other way round.")
    if plain == steps - 1:
        return Mistake(
            "Where does the last step begin: at σ = 0, or above?",
            f"Every step begins above σ = 0, so Euler asks in each of the {steps}, in the last one, too.",
        )
    if plain != steps:
        return Mistake("Euler measures one slope in each step.", f"Euler asks {steps} times in {steps} steps.")
    if twice == 2 * steps:
        return Mistake(
            "Nearly. Where does the last step lead, and is there a slope to be measured?",
            "The last step goes to σ = 0, where (x − denoised) / σ does not exist: it is Euler's, with one call.",
        )
    if twice == 2 * steps - 2:
        return Mistake(
            "How often does Heun ask in its last step: never, or once?",
            f"The last step has one call, as Euler's: 2 · {steps} − 1 = {2 * steps - 1}, not {twice}.",
        )
    if twice != 2 * steps - 1:
        return Mistake(
            "Heun measures a slope at both ends of a step.",
            f"Two calls in each step but the last: 2 · {steps} − 1 = {2 * steps - 1}, not {twice}.",
        )
    return None


@exercise(
    "samplers.2",
    hint="Order p: n times as many steps, an error n^p times smaller. How many times as many steps are these?",
    learned="That is what an order is worth: with order 1 the same gain would have cost 64 times the steps.",
)
def _smaller(answer, *, error, order, times) -> Mistake | None:
    """The error that is left with `times` as many steps, in a method of order `order`."""
    answer, right = number(answer, "The answer is one number, an error."), error / times**order
    known = [
        *told(
            "That is how Euler's error would fall. What does an order of 2 do with the same factor?",
            {"That is order 1. Order 2 gains the square of it.": error / times},
        ),
        *told(
            "In the formula the order stands above: c / nᵖ. What does it do to the 8?",
            {"The order is a power, not a factor: 8 · 8, not 8 · 2.": error / (times * order)},
        ),
        *told(
            "How many times as many as 10 are 80 steps?",
            {"That is for twice as many steps. From 10 to 80 is eight times.": error / 2**order},
        ),
        *told(
            "Which of the two numbers is the power: n to the p, or p to the n?",
            {
                f"Order and factor have changed places: {times:g} to the {order:g}, not the other way.": error
                / order**times
            },
        ),
        *told("Do more steps change nothing?", {"That is the error with 10 steps; it does not stay.": error}),
        *told("Should the error grow with more steps?", {"More steps make it smaller: divide.": error * times**order}),
        *told(
            "The right factor. But the question is for the error itself.",
            {"That is how many times smaller the error is. How large is it, then? Divide.": times**order},
        ),
    ]
    otherwise = Mistake(
        "First the factor between the two numbers of steps. Then its square. Then divide.",
        f"{error:g} / {times}² is {right:g}, not {answer:g}.",
    )
    return compared(answer, right, known, otherwise, atol=0, rtol=0.01)


@exercise(
    "samplers.3",
    hint="DPM++ 2M counts in log σ. Which levels leave it no giant's step at the end? A copy: dict(settings, …=…)",
    learned="The levels cost nothing. A sampler and its levels belong together.",
)
def _better_levels(answer, *, settings) -> Mistake | None:
    """The settings with one change that brings them nearer to the true end, and costs no call: Karras's levels."""
    levels = one_change(
        answer,
        settings,
        "levels",
        copied="dict(settings, …=…)",
        unchanged="Nothing is different yet. Look at section 6.",
        more=Mistake("One change is enough: two are more than asked for.", "You changed {}; change `levels` alone."),
        beside=Mistake(
            "The sampler is good. Change what it is given, and nothing else.",
            "You changed {}; change `levels` alone.",
        ),
        kept={
            "steps": Mistake(
                "More steps help, but each costs a call. It can be done with the calls that you have.",
                f"The number of steps is to stay at {settings['steps']}.",
            )
        },
    )
    if str(levels).strip().lower() != "karras":
        return Mistake(
            "Two kinds of levels stand in section 6: which is the other one?",
            f'The levels are "default" or "karras", not {shown(levels)}.',
        )
    return None


def _wrong_heuns(denoise, x, sigma: float, after: float) -> dict[str, torch.Tensor]:
    """Steps that are nearly Heun's: what is wrong with each -> where it leads."""
    here = (x - denoise(x, sigma)) / sigma
    step = after - sigma
    there = x + here * step
    far = (there - denoise(there, after)) / after
    far_off, middle = there - denoise(there, after), (sigma + after) / 2
    half_way = x + here * (middle - sigma)
    steep = here * sigma  # not divided by the level
    tried = x + steep * step
    return {
        "The step goes the wrong way: its length is after − sigma, below 0.": x - (here + far) / 2 * step,
        "That is the mean of the slopes. Walk along it, from x.": (here + far) / 2,
        "Neither slope is divided by its level.": x + (steep + tried - denoise(tried, after)) / 2 * step,
        "That is the midpoint method. Heun measures at the end of the step.": (
            x + (half_way - denoise(half_way, middle)) / middle * step
        ),
        "At the place tried the level is `after`: tell `denoise` so, too.": (
            x + (here + (there - denoise(there, sigma)) / after) / 2 * step
        ),
        "The second slope begins at the place tried: it is (tried − denoised) / after, not x.": (
            x + (here + (x - denoise(there, after)) / after) / 2 * step
        ),
        "The second guess is to be asked for at the place tried, not at x.": (
            x + (here + (there - denoise(x, after)) / after) / 2 * step
        ),
        "That is Euler's step. The slope at its end is not used.": there,
        "The mean is missing its half: both slopes together are twice too steep.": x + (here + far) * step,
        "Only the far slope is used. Take the mean of both.": x + far * step,
        "The step starts at x, not at the place that was only tried.": there + (here + far) / 2 * step,
        "The second slope is to be measured at the place tried, not at x.": (
            x + (here + (x - denoise(x, after)) / after) / 2 * step
        ),
        "At the place tried the level is `after`: divide by it, and tell it to `denoise`.": (
            x + (here + (there - denoise(there, sigma)) / sigma) / 2 * step
        ),
        "The second slope is divided by its level, `after`, as the first by `sigma`.": (
            x + (here + far_off) / 2 * step
        ),
        "The second slope belongs to the level `after`: divide by that.": (x + (here + far_off / sigma) / 2 * step),
    }


@exercise(
    "samplers.4",
    hint="Three lines: the slope here; Euler's step and the slope there; from x, a step along the mean of both slopes.",
    learned="That is Heun's method: algorithm 1 of Karras et al. (2022).",
)
def _heun_step(answer, **_facts) -> Mistake | None:
    """A function (denoise, x, sigma, after) -> Heun's step; at after = 0 it is Euler's."""
    x, sigma, after = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 3.0, 1.3

    def denoise(x, sigma):
        if sigma == 0:
            raise ZeroDivisionError("there is no slope at σ = 0: the last step has to do without it")
        return torch.tanh(x / (1 + sigma**2))

    got = shaped(
        call(answer, denoise, x, sigma, after),
        x.shape,
        "The result is x at the next level, a tensor.",
        f"A tensor of {len(x)} numbers went in.",
    )
    here = (x - denoise(x, sigma)) / sigma
    there = x + here * (after - sigma)
    far = (there - denoise(there, after)) / after
    hint = "Draw it: a slope here, a try, a slope there, and the step from where you were."
    otherwise = Mistake(
        "Write the two slopes in two lines of their own, and print them for one number.",
        "The result is not x + (slope + far) / 2 · (after − sigma).",
    )
    known = told(hint, _wrong_heuns(denoise, x, sigma, after))
    if mistake := compared(got, x + (here + far) / 2 * (after - sigma), known, otherwise, rtol=1e-5):
        return mistake
    last = Mistake(
        "Try it with after = 0, the last step. What is divided by what?",
        "At after = 0 there is no far slope: the step is to be Euler's.",
    )
    try:
        got = call(answer, denoise, x, sigma, 0.0)
    except ZeroDivisionError:
        return last
    if mistake := compared(got, denoise(x, sigma), [], last, rtol=1e-5):
        return mistake
    sigma, after = 0.2, 0.03
    here = (x - denoise(x, sigma)) / sigma
    there = x + here * (after - sigma)
    right = x + (here + (there - denoise(there, after)) / after) / 2 * (after - sigma)
    if gives(answer, right, denoise, x, sigma, after, rtol=1e-5):
        return None
    return Mistake(
        "Try it with other levels, sigma = 0.2 and after = 0.03. Which steps are Euler's?",
        "Only the step to after = 0 is Euler's, and no level is fixed.",
    )


def _karras(low, high, n):
    return torch.linspace(high ** (1 / 7), low ** (1 / 7), n) ** 7


puzzle(
    "samplers.5",
    given=lambda seed: {"low": 0.03 + seed / 50, "high": 14.6 - seed, "n": 6 + seed},
    hint="torch.linspace between the two roots, then the 7th power of all.",
    learned="Karras et al. (2022) tell of better pictures with roots from 5 to 10, and took 7.",
    formula="torch.linspace(high ** (1 / 7), low ** (1 / 7), n) ** 7.",
    wrong={
        "Where do the levels stand close? They are even here: no root was taken.": lambda low, high, n: torch.linspace(
            high, low, n
        ),
        "Which comes first? The lowest does: it rises.": lambda low, high, n: _karras(high, low, n),
        "How large is the first level? The power is missing: these are the roots.": lambda low, high, n: (
            _karras(low, high, n) ** (1 / 7)
        ),
        "Even in what? In the logarithm; the root is asked for.": lambda low, high, n: (
            high * (low / high) ** (torch.arange(n) / (n - 1))
        ),
        "Which comes first? Root and power have changed places.": lambda low, high, n: (
            torch.linspace(high**7, low**7, n) ** (1 / 7)
        ),
        "What does `high ** 1 / 7` mean? The power comes first: it is a seventh. Write high ** (1 / 7).": (
            lambda low, high, n: torch.linspace(high / 7, low / 7, n) ** 7
        ),
        "Which comes last? `low` does not: the way ends one place before it.": lambda low, high, n: _karras(
            low, high, n + 1
        )[:-1],
        "Is there a level 0? Here it is not wanted: `low` is the last.": lambda low, high, n: torch.cat(
            [_karras(low, high, n), torch.zeros(1)]
        ),
        "How many levels are wanted? One too few came back.": lambda low, high, n: _karras(low, high, n - 1),
        "How many levels are wanted? One too many came back.": lambda low, high, n: _karras(low, high, n + 1),
        "Which root? You took the square root; its degree is 7.": lambda low, high, n: (
            torch.linspace(high**0.5, low**0.5, n) ** 2
        ),
    },
)(_karras)


@puzzle(
    "samplers.6",
    given=lambda seed: {"old": numbers(seed, 3, 4 + seed), "newest": numbers(seed + 9, 3, 4 + seed)},
    hint="If both slopes are the same, the result is that slope: what do the two weights add up to?",
    learned="The old slope is taken away because the slope will change as much again.",
    formula="1.5 * newest - 0.5 * old.",
    wrong={
        "Which of them counts more? old and newest have changed places.": lambda o, n: 1.5 * o - 0.5 * n,
        "Between the two, or beyond? This is the mean of both.": lambda o, n: (o + n) / 2,
        "Between the two, or beyond? The sign: half of the old one is added.": lambda o, n: 1.5 * n + 0.5 * o,
        "What is the old one for? This is the newest alone, as Euler's.": lambda o, n: n,
        "How much of the old one? All of it is taken away: 2 and −1 in place of 1½ and −½.": lambda o, n: 2 * n - o,
        "What do the weights add up to? 1½ times the newest alone is too much.": lambda o, n: 1.5 * n,
        "What do the weights add up to? Half of the newest is too little: they cancel out.": lambda o, n: (n - o) / 2,
    },
)
def _followed(old, newest):
    return 1.5 * newest - 0.5 * old


@puzzle(
    "samplers.7",
    given=lambda seed: {
        "x": 4 * numbers(seed, 3, 3 + seed),
        "denoised": numbers(seed + 9, 3, 3 + seed),
        "sigma": 4.0,
        "down": 1.5 + seed / 4,
        "up": 2.0 - seed / 2,
        "noise": numbers(seed + 19, 3, 3 + seed),
    },
    hint="Two things, one after the other: Euler's step to `down`, and then up × noise.",
    learned="Each step forgets a part of the noise and draws it anew: such a run has no end to come nearer to.",
    formula="x + (x - denoised) / sigma * (down - sigma) + up * noise.",
    wrong={
        "Where is the fresh noise? It is missing.": lambda x, d, s, down, up, n: _down(x, d, s, down),
        "Which comes first? The noise is added before the step, so the step takes a part of it away.": (
            lambda x, d, s, down, up, n: _down(x + up * n, d, s, down)
        ),
        "How strong is the noise? In full strength: `up` is not used.": lambda x, d, s, down, up, n: (
            _down(x, d, s, down) + n
        ),
        "Which is the level, which the strength? up and down have changed places.": lambda x, d, s, down, up, n: (
            _down(x, d, s, up) + down * n
        ),
        "To more noise or to less? The sign: the step leads upwards.": lambda x, d, s, down, up, n: (
            x - (x - d) / s * (down - s) + up * n
        ),
        "What is the slope? Not divided by sigma.": lambda x, d, s, down, up, n: x + (x - d) * (down - s) + up * n,
        "Where does Euler's step end? At the next level, √(down² + up²), and the noise brings it above that.": (
            lambda x, d, s, down, up, n: _down(x, d, s, (down**2 + up**2) ** 0.5) + up * n
        ),
        "What is the slope? Divided by `down`; x stands at sigma.": lambda x, d, s, down, up, n: (
            x + (x - d) / down * (down - s) + up * n
        ),
        "How long is the step? It is `down` long; it leads *to* `down`.": lambda x, d, s, down, up, n: (
            x - (x - d) / s * down + up * n
        ),
        "Where is the step? There is none: noise is added to x.": lambda x, d, s, down, up, n: x + up * n,
        "How strong is the noise? `up` is squared.": lambda x, d, s, down, up, n: _down(x, d, s, down) + up**2 * n,
        "How far is the step? You go all the way to the guess.": lambda x, d, s, down, up, n: d + up * n,
    },
)
def _ancestral(x, denoised, sigma, down, up, noise):
    return _down(x, denoised, sigma, down) + up * noise


def _down(x, denoised, sigma, down):
    """Euler's step to the level `down`."""
    return x + (x - denoised) / sigma * (down - sigma)
