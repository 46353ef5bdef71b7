"""Drawn puzzles: a function of a line or a few, tried with generated inputs; one of them is drawn beside the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import numpy as np

from . import Exercise, Mistake, Stopped, Unanswered, in_short, register
from .compare import alike, array, call, described, has_complex, random, shaped

_TRIED = 3  # inputs that a function must get right; the first is the drawn one


def puzzle(
    name: str,
    *,
    given: Callable[[int], Mapping[str, object]],
    hint: str,
    learned: str,
    formula: str,
    wrong: Mapping[str, Callable],
    picture: bool = False,
    rtol: float = 1e-4,
    more: Callable[[Callable], Mistake | None] = lambda answer: None,
) -> Callable[[Callable], Callable]:
    """Decorate the right function of a drawn puzzle so that `check(name, ...)` judges and draws a learner's.

    `given` makes the arguments by name from a seed, for each seed of other sizes; `formula` is the right answer in
    words; `wrong` is a question and what is wrong ("Which side? It is …") -> the function that does it; the question
    is the hint. `picture`: arrays of colours are drawn in them. `more` looks at a function whose numbers are right.
    """

    def decorate(right):
        def judge(answer) -> Mistake | None:
            cases = [given(seed) for seed in range(_TRIED)]
            return _judge(answer, cases, right, wrong, hint, formula, rtol) or more(answer)

        def draw(answer):
            from ..figures.puzzle import figure_puzzle

            example = given(0)
            return figure_puzzle(example, array(right(*example.values())), _answered(answer, example), picture=picture)

        register(name, Exercise(hint, judge, learned, draw))
        return right

    return decorate


def _judge(answer, cases, right, wrong, task: str, formula: str, rtol: float) -> Mistake | None:
    """None where the function is right for all cases; else the mistake that it makes in all of them."""
    wanted = [array(right(*case.values())) for case in cases]
    got = []
    for case in cases:
        try:
            got.append(call(answer, *case.values()))
        except (Stopped, Unanswered):
            raise
        except Exception as error:  # the learner's own
            if not got or not alike(got[0], wanted[0], atol=1e-4, rtol=rtol):
                raise
            return _for_the_drawing(formula, f" (With {_sizes(case)}: {in_short(error)})")
    fits = [alike(mine, true, atol=1e-4, rtol=rtol) for mine, true in zip(got, wanted, strict=True)]
    if all(fits):
        return None
    for said, rule in wrong.items():
        if all(alike(mine, rule(*case.values()), atol=1e-4, rtol=1e-4) for mine, case in zip(got, cases, strict=True)):
            asked, _, told = said.partition("? ")
            return Mistake(f"{asked}?", told)
    if any(map(has_complex, got)):
        return Mistake("These are complex numbers: a root of a negative number?", f"It is: {formula}")
    if fits[0]:
        return _for_the_drawing(formula)
    shape = getattr(wanted[0], "shape", ())
    hint = f"Compare the shapes of what is wanted and of yours, {described(got[0])}."
    shaped(got[0], shape, hint, f"{shape} is wanted: {formula}")
    return Mistake(f"Compare the two in the drawing, number by number. {task}", f"It is: {formula}")


def _for_the_drawing(formula: str, where: str = "") -> Mistake:
    """The mistake of a function that is right for the drawn input alone; `where` is how it fails with another."""
    asked = "Others are tried, too, of other sizes and other numbers: what is fixed in it?"
    wrong = f"It fits the drawing alone. For all inputs: {formula}"
    return Mistake(f"Right for the drawn input. {asked}{where}", wrong + where)


def _sizes(case: Mapping) -> str:
    """A puzzle's input in a few words: the shapes of its arrays, and its numbers."""
    return ", ".join(
        f"{name} {tuple(np.shape(value))}" if np.ndim(value) else f"{name} = {value:g}" for name, value in case.items()
    )


def _answered(answer, example: Mapping):
    """What the learner's function gives for the drawn input, as an array; None where that cannot be drawn."""
    with contextlib.suppress(Exception):  # the judge has said what is wrong with it
        return array(call(answer, *example.values()))
    return None


def numbers(seed: int, *shape: int):
    """Normal numbers with one digit after the point, to be read in a drawing."""
    return random(*shape, seed=seed).mul(10).round() / 10
