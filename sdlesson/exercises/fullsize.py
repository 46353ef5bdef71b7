"""The judges of the lesson on the full size."""

from __future__ import annotations

from numbers import Real

import torch

from . import Mistake, Stopped, exercise
from .compare import call, compared, nearest, number, plain, random, shown, told
from .puzzles import puzzle

_GIB = 2**30


@exercise(
    "fullsize.1",
    hint="How many bytes has one number of 16 bits? A GiB has 2^30 bytes.",
    learned="Numbers times bytes: every model's memory can be known from its parameter count alone.",
)
def _weight(answer, *, numbers) -> Mistake | None:
    """The GiB of so many numbers of 2 bytes."""
    answer = number(answer)
    known = [
        *told("How many bits has a bfloat16 number?", {"That is float32: 4 bytes each, not 2.": 4 * numbers / _GIB}),
        *told("GB or GiB?", {"That is in GB, of 10^9 bytes; a GiB has 2^30.": 2 * numbers / 1e9}),
        *told("Bits or bytes?", {"That counts bits as bytes: 16 bits are 2 bytes.": 16 * numbers / _GIB}),
        *told(
            "A number of 16 bits fills more than one byte.",
            {"That is one byte for each number, not 2.": numbers / _GIB},
        ),
        *told("Divided by 2^20 or by 2^30?", {"That is in MiB; a GiB has 1024 of them.": 2 * numbers / 2**20}),
        *told("In GiB, please.", {"That is in bytes; divide by 2^30.": 2 * numbers}),
    ]
    if abs(answer - 2 * numbers / _GIB) < 0.006:
        return None
    otherwise = Mistake(
        "Numbers times bytes, divided by 2^30.", f"{numbers} numbers of 2 bytes are not {answer:g} GiB."
    )
    return nearest(answer, known, atol=0.006, rtol=0.006) or otherwise


@exercise(
    "fullsize.2",
    hint="Operations divided by operations a second are seconds. How many steps?",
    learned="It is a bound for programs that do all these operations; section 9 shows how near real ones come.",
)
def _least_time(answer, *, step, rate, steps) -> Mistake | None:
    """The least seconds of so many guided steps at a rate of FLOPs a second."""
    right = steps * step / rate
    known = [
        *told("For all the steps.", {f"That is one step; a picture takes {steps}.": right / steps}),
        *told(
            "What does `work` count already?",
            {"A guided step's count has both halves in it; it is doubled here.": 2 * right},
        ),
        *told("Both guesses have to be computed.", {"That leaves out one half of each guided step.": right / 2}),
        *told(
            "In seconds. In which units do work and rate stand?",
            {"That is in milliseconds; GFLOP divided by TFLOP/s gives it, too.": 1000 * right},
        ),
        *told("How many steps?", {f"That is for 8 steps, as this page paints; here it is {steps}.": 8 * step / rate}),
        *told("How many FLOPs a second has a TFLOP/s?", {"The rate is taken in TFLOP: 10¹² is missing.": right * 1e12}),
        *told("Which divided by which?", {"That is the rate divided by the work: turn it over.": 1 / right}),
    ]
    otherwise = Mistake(
        "The work of all steps, divided by the rate.",
        f"{steps} × {step:.4g} FLOP at {rate:.3g} a second are another time.",
    )
    return compared(number(answer), right, known, otherwise, atol=0, rtol=0.02)


@exercise(
    "fullsize.3",
    hint="Go through the parts. While one works: which weights are there, and what does its work need?",
    learned="With v1.4: 16 bits or turns alone bring the peak below 4 GiB, only both together below 2.5 GiB.",
)
def _fits(answer, *, libraries) -> Mistake | None:
    """A function (memory, gib, working, by_turns) -> does the largest of the parts' moments stay below the memory?"""
    gib = {"a": 0.5, "b": 0.25, "c": 0.5, "d": 2.5, "e": 0.25}
    working = {"a": 0.75, "b": 0.5, "c": 4.0, "d": 1.0, "e": 1.25}

    def flips_at(peak, more=0.05) -> bool:
        """Does the function say False below the peak (gib, working, by_turns) -> GiB, and True above it?"""
        said = [
            plain(call(answer, libraries + peak(gib, working, turns) + off, gib, working, turns))
            for turns in (True, False)
            for off in (-more, more)
        ]
        for each in said:
            if not isinstance(each, Real) or each not in (True, False):
                wrong = f"The function returns {shown(each)}, not True or False."
                raise Stopped(Mistake("Answer with True or False.", wrong))
        return said == [False, True, False, True]

    if flips_at(_peak):
        return None
    if flips_at(_peak, -0.05):
        return Mistake("Does it fit when the peak is *below* the memory?", "True and False are turned over.")
    if flips_at(lambda *given: _peak(*given) - libraries):
        return Mistake("And the libraries?", f"The libraries take {libraries} GiB, too.")
    for said, peak in _WRONG_PEAKS.items():
        if flips_at(peak):
            asked, _, wrong = said.partition("? ")
            return Mistake(f"{asked}?", wrong)
    return Mistake(
        "For each part: the weights that are there, and this part's work. Which of these moments is the largest?",
        "It is not: libraries + the largest of (weights that are there + the work of the part).",
    )


def _peak(gib, working, by_turns: bool) -> float:
    """The GiB of the largest moment, without the libraries."""
    return max(_weights_at(part, gib, by_turns) + working[part] for part in gib)


def _weights_at(part: str, gib, by_turns: bool) -> float:
    """The GiB of the weights that are there while a part works."""
    return gib[part] if by_turns else sum(gib.values())


def _weights(gib, by_turns: bool) -> float:
    """The GiB of the largest part by turns, else of all."""
    return max(gib.values()) if by_turns else sum(gib.values())


#: A question and what is wrong -> the peak (gib, working, by_turns) that it leads to.
_WRONG_PEAKS = {
    "How many parts work at once? Only one: the work of the others does not count.": lambda g, w, turns: (
        _weights(g, turns) + sum(w.values())
    ),
    "How many parts work at once, by turns or not? Only one: the work of the others does not count.": lambda g, w, _: (
        sum(g.values()) + sum(w.values())
    ),
    "What is in memory by turns? By turns, only the weights of the part at work are there, not all.": lambda g, w, _: (
        _peak(g, w, False)
    ),
    "What is in memory without turns? All weights are there while one part works; this is always by turns.": (
        lambda g, w, _: _peak(g, w, True)
    ),
    "Do the largest weights and the largest work belong to one part? By turns, take both of the same part.": (
        lambda g, w, turns: _weights(g, turns) + max(w.values())
    ),
    "And the work? It needs room, too: by turns, part c and its work come to 4.5 GiB.": lambda g, w, turns: _weights(
        g, turns
    ),
    "And the work without turns? It needs room as well: these are all weights, and nothing beside them.": (
        lambda g, w, turns: _peak(g, w, True) if turns else sum(g.values())
    ),
    "What does by_turns say? True: only the part at work is there. Both cases have changed places.": (
        lambda g, w, turns: _peak(g, w, not turns)
    ),
    "Must all moments fit, or any? The smallest of them is taken here, and the largest is the peak.": (
        lambda g, w, turns: min(_weights_at(part, g, turns) + w[part] for part in g)
    ),
    "How many moments were looked at? Only that of the last part: does a loop forget the others?": lambda g, w, turns: (
        _weights_at([*g][-1], g, turns) + w[[*g][-1]]
    ),
    "How many moments were looked at? Only that of the first part: does `return` stand inside the loop?": (
        lambda g, w, turns: _weights_at([*g][0], g, turns) + w[[*g][0]]
    ),
}


def _stays_in_16_bits(keep) -> Mistake | None:
    if getattr(keep(torch.ones(2)), "dtype", None) != torch.bfloat16:
        return None
    return Mistake("Right numbers. Of how many bits is each?", "They are still of 16 bits: .float() is missing.")


@puzzle(
    "fullsize.4",
    given=lambda seed: {
        "x": torch.tensor([70000.0, 1 / 3, 257, 1.001, -0.1234, 3e-6]).roll(seed)[: 6 - seed] * (1 + seed / 100)
    },
    hint="A tensor has .bfloat16() and .float().",
    learned="Two or three digits are left, and the whole range of float32.",
    formula="x.bfloat16().float().",
    more=_stays_in_16_bits,
    wrong={
        "Which of the two 16-bit kinds? In float16 the large number overflows.": lambda x: x.half().float(),
        "Is anything different yet? Nothing is kept in 16 bits.": lambda x: x,
        "Digits before or after the point? These are whole numbers.": lambda x: x.round(),
        "Floats or integers? These are integers of 16 bits.": lambda x: x.clamp(-32768, 32767).to(torch.int16).float(),
        "How are digits lost? Not after the point: relative to each number. You kept two after the point.": lambda x: (
            (x * 100).round() / 100
        ),
        "Is it one scale for all? Eight bits with one scale are another way to save.": lambda x: (
            (x / x.abs().max() * 127).round() * x.abs().max() / 127
        ),
    },
)
def _kept(x):
    return x.bfloat16().float()


@puzzle(
    "fullsize.5",
    given=lambda seed: {
        "weights": random(3 + seed, 5 + seed, seed=seed) * torch.logspace(0, 2 + seed, 3 + seed).view(-1, 1)
    },
    hint="weights.abs().amax(dim=1, keepdim=True) / 127 is a column of scales.",
    learned="A large row does not spoil a small one, because each has its own scale.",
    formula="(weights / scale).round() * scale, with scale = weights.abs().amax(dim=1, keepdim=True) / 127.",
    wrong={
        "Has each row its own? It is one scale for all rows.": lambda w: _levels(w, w.abs().max() / 127),
        "Rows or columns? There is a scale for each column.": lambda w: _levels(w, w.abs().amax(0) / 127),
        "Are there whole numbers on the way? It is not rounded.": lambda w: w,
        "How large are they when they come back? These are the whole numbers, not times the scale.": lambda w: (
            w / _scale(w)
        ).round(),
        "Up or down? They are truncated, not rounded.": lambda w: (w / _scale(w)).trunc() * _scale(w),
        "How many levels? 4 bits: 7 in place of 127.": lambda w: _levels(w, _scale(w) * 127 / 7),
        "Which is the largest value? You took it with its sign: the absolute value counts.": lambda w: _levels(
            w, w.amax(1, keepdim=True) / 127
        ),
        "What is the scale for? It is rounded without one.": lambda w: w.round(),
        "By what is the largest divided? By nothing here: 127 is missing, and three levels are left.": lambda w: (
            _levels(w, 127 * _scale(w))
        ),
    },
)
def _rounded(weights):
    return _levels(weights, _scale(weights))


def _scale(weights):
    return weights.abs().amax(dim=1, keepdim=True) / 127


def _levels(weights, scale):
    return (weights / scale).round() * scale


@puzzle(
    "fullsize.6",
    given=lambda seed: {
        "weights": torch.tensor([0.2, 1.6, 0.1, 0.7][: 3 + seed % 2]) * (1 + seed),
        "work": torch.tensor([0.1, 0.5, 1.2, 0.3][: 3 + seed % 2]),
    },
    hint="What is there all the time, and what comes and goes?",
    learned="The largest of these numbers is the peak: exercise 3 without turns.",
    formula="weights.sum() + work.",
    wrong={
        "Which weights are there? Only the part's own: that is by turns.": lambda w, k: w + k,
        "How many parts work at once? One; you add the work of all.": lambda w, k: (w.sum() + k.sum()).expand(len(k)),
        "What of the weights? They are missing: this is the work alone.": lambda w, k: k,
        "How many numbers are wanted? This is the peak, one number.": lambda w, k: w.sum() + k.max(),
        "Which weights are there? You add those so far, as if loaded one after the other; all are.": lambda w, k: (
            w.cumsum(0) + k
        ),
        "What of the work? It is missing: these are the weights alone.": lambda w, k: w.sum().expand(len(k)),
        "Which weights are there? You take the largest part's in place of all.": lambda w, k: w.max() + k,
    },
)
def _at_each_turn(weights, work):
    return weights.sum() + work
