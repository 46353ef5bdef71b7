"""The judges of the lesson on the full size."""

from __future__ import annotations

from numbers import Real

from . import Mistake, exercise
from .compare import call, compared, nearest, number, plain, shown, told

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
        *told("In seconds.", {"That is in milliseconds.": 1000 * right}),
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
    """Does the largest of the parts' moments stay below the memory?"""
    gib, working = {"a": 1.0, "b": 3.0, "c": 0.5}, {"a": 0.25, "b": 1.0, "c": 2.0}
    together, turns = libraries + 4.5 + 2.0, libraries + 4.0
    cases = [
        (turns - 0.1, True, False, "By turns, part b and its work come to 4 GiB and the libraries: they do not fit."),
        (turns + 0.1, True, True, "By turns, only the weights of the part at work are there: this fits."),
        (
            together - 0.1,
            False,
            False,
            "Without turns all weights are there while the part with the largest work works.",
        ),
        (together + 0.1, False, True, "Only one part works at a time: the work of the others does not count."),
    ]
    hints = {
        True: "By turns: take the weights and the work of the same part.",
        False: "Without turns all weights stay. Only one part works at a time: take the largest work, not the sum.",
    }
    for memory, by_turns, right, wrong in cases:
        got = plain(call(answer, memory, gib, working, by_turns))
        if not isinstance(got, Real) or got not in (True, False):
            return Mistake("Answer with True or False.", f"The function returns {shown(got)}, not True or False.")
        if bool(got) != right:
            if not right and _without_libraries(answer, gib, working, by_turns):
                return Mistake("And the libraries?", f"The libraries take {libraries} GiB, too.")
            return Mistake(hints[by_turns], wrong)
    return None


def _without_libraries(answer, gib, working, by_turns) -> bool:
    """Does the function's limit lie where the libraries count nothing?"""
    peak = 4.0 if by_turns else 6.5
    low, high = (call(answer, peak + more, gib, working, by_turns) for more in (-0.05, 0.05))
    return not low and bool(high)
