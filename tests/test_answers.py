"""The judges judged: planted wrong answers get their mistake's own hint, right ones are accepted in all forms."""

from __future__ import annotations

import re

import torch
from answers import planted

import sdlesson
from sdlesson.exercises import Unanswered, judged, lesson_exercises

#: Words that say nothing of a mistake.
FILLERS = re.findall(
    r"\w+",
    """a all alone also an and any are as at be before but by can come do each for from has have in is it its last left
    more no none not nothing of off on one only or other out right should so still than that the their them there they
    this to too was what where which with without would your you""",
)


def stems(text: str) -> set[str]:
    """The beginnings of the words of a text that can name a mistake."""
    return {word[:5] for word in re.findall(r"[^\W_]+", text.lower()) if word not in FILLERS}


def names(what: str, mistake, wrong) -> bool:
    """Does the judge's word hold words of the mistake `what`, and no larger share of another planted mistake's?"""
    said = stems(" ".join(mistake))
    shares = {name: len(stems(name) & said) / max(1, len(stems(name))) for name in wrong}
    return shares[what] > 0 and shares[what] >= max(shares.values())


def word_on(task, answer, facts):
    """The judge's mistake, None for praise; Unanswered counts as a mistake without a hint of its own."""
    try:
        return judged(task, answer, facts)
    except Unanswered:
        return task.hint, ""


def far_off(answers):
    """A function whose result is of the right shape and nothing that anybody would compute; None for other answers."""
    if not callable(answers[0]):
        return None
    return lambda *given: torch.as_tensor(answers[0](*given)).double() * 0 + 123.456


def test_planted_answers(tiny):
    """No right answer is refused and no wrong one praised; nine in ten wrong ones get the hint for their mistake."""
    counted, refused, praised, missed = [0, 0, 0], [], [], []
    for topic in (*sdlesson.LESSONS, "symptoms"):  # the pages' own tests plant theirs
        tasks, table = lesson_exercises(topic), planted(topic)
        assert tasks.keys() == table.keys()
        for name, task in tasks.items():
            plan = table[name]
            right, wrong = (each(tiny) if callable(each) else each for each in (plan["right"], plan["wrong"]))
            assert len(right) >= 5 and len(wrong) >= 5, name
            counted = [have + more for have, more in zip(counted, (1, len(right), len(wrong)), strict=True)]
            said = [word_on(task, answer, plan["facts"](tiny)) for answer in right]
            refused += [f"{name} right {number}: {mistake}" for number, mistake in enumerate(said) if mistake]
            generic = {*(word_on(task, far_off(right), plan["facts"](tiny)) or ())} if far_off(right) else set()
            for what, answer in wrong.items():
                mistake = word_on(task, answer, plan["facts"](tiny))
                if mistake is None:
                    praised.append(f"{name} {what}")
                elif generic & {*mistake} or not names(what, mistake, wrong) or "could not be used" in mistake[0]:
                    missed.append(f"{name} {what}: {' | '.join(mistake)}")
    exercises, rights, wrongs = counted
    print(*missed, sep="\n")
    print(f"{exercises} exercises; {rights} right answers, {len(refused)} refused;", end=" ")
    print(f"{wrongs} wrong ones, {len(praised)} praised, {wrongs - len(missed)} with the hint for their mistake")
    assert exercises >= 100 and wrongs >= 500
    assert refused == [] and praised == []
    assert len(missed) <= 0.1 * wrongs
