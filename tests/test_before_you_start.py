"""The page before the lessons: right answers in every form pass, and who stumbles twice is told what to read first."""

import math
import re

import numpy as np
import pytest
import torch

RIGHT = [
    ("1", (2, 3, 4)),
    ("1", [2, 3, 4]),
    ("1", torch.zeros(2, 3, 4).shape),
    ("2", (2, 4, 16, 16)),
    ("2", torch.tensor([2, 4, 16, 16])),
    ("3", lambda z: 3 + 2 * z),
    ("3", lambda z: (z.double() * 2 + 3).numpy()),
    ("4", 6),
    ("4", 6.001),
    ("4", torch.tensor(6.0)),
    ("5", lambda scores: torch.softmax(scores, dim=0)),
    ("5", lambda scores: ((e := scores.double().exp()) / e.sum()).tolist()),
    ("6", (12, 34)),
    ("6", torch.tensor([12.0, 34.0])),
    ("7", lambda words, n: [word for word in words if len(word) > n]),
    ("5", lambda scores: np.exp(scores) / np.sum(np.exp(scores))),
    ("5", lambda scores: [math.exp(each) / sum(map(math.exp, scores)) for each in scores]),
    ("7", lambda words, n: tuple(filter(lambda word: len(word) > n, words))),
]
WRONG = [
    ("1", (4, 3, 2), "counted first"),
    ("1", (3, 4), "levels"),
    ("1", 24, "how many numbers there are"),
    ("2", (16, 16), "as many axes"),
    ("2", (2, 4, 1, 1), "from the right"),
    ("3", lambda z: z * 3 + 2, "Mean and spread have changed places."),
    ("3", lambda z: z * 2**0.5 + 3, "The variance is 2, not the standard deviation."),
    ("3", lambda z: (z + 3) * 2, "The sum came before the product."),
    ("4", 9, "not its slope"),
    ("4", 5, "rise over run"),
    ("4", 1.5, "rise over run"),
    ("4", 12, "which the page shows"),
    ("4", 27, "w³ at 3"),
    ("5", lambda scores: scores.exp(), "They are not divided by their sum."),
    ("5", lambda scores: scores / scores.sum(), "There is no exp in it."),
    ("5", lambda scores: scores.exp().sum(), "Four"),
    ("5", lambda scores: (-scores).exp() / (-scores).exp().sum(), "The sign is turned"),
    ("5", lambda scores: 2**scores / (2**scores).sum(), "Another function than exp"),
    ("5", lambda scores: scores.square() / scores.square().sum(), "none is below 0"),
    ("5", lambda scores: 2.72**scores / (2.72**scores).sum(), "Nearly. What is rounded?"),
    ("5", lambda scores: scores.exp() / sum, "Which line does it"),
    ("6", (13, 24), "columns"),
    ("6", (30, 7), "whole vector"),
    ("6", [[12], [34]], "in one row"),
    ("6", torch.tensor([[1, 2], [3, 4]]) * torch.tensor([10, 1]), "They are not added up."),
    ("6", torch.tensor([[12], [34]]), "in one row"),
    ("7", lambda words, n: [len(word) for word in words if len(word) > n], "lengths"),
    ("7", lambda words, n: [word for word in words if len(word) >= n], "More than"),
    ("7", lambda words, n: sorted(word for word in words if len(word) > n), "another order"),
    ("7", lambda words, n: [word for word in words if len(word) > n][::-1], "another order"),
    ("7", lambda words, n: [word for word in words if len(word) > 5], "It does not use n."),
    ("7", lambda words, n: [word for word in words[1:] if len(word) > n], "the first, too"),
    ("7", lambda words, n: [word for word in words if len(word) < n], "shorter ones"),
    ("7", lambda words, n: [word for word in words if len(word) <= n], "not longer than n"),
    ("7", lambda words, n: [word for word in words if len(word) > n + 1], "n + 1 letters"),
    ("7", lambda words, n: list(dict.fromkeys(word for word in words if len(word) > n)), "twice"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_pass(said, name, answer):
    assert "well done" in said(f"before_you_start.{name}", answer)


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_each_mistake_meets_its_words(said, name, answer, words):
    assert words in said(f"before_you_start.{name}", answer) + said(f"before_you_start.{name}", answer)


OTHERS = [
    ("1", (5, 5, 5)),
    ("1", "2, 3, 4"),
    ("2", (1, 1, 1, 1)),
    ("3", lambda z: z),
    ("3", 5),
    ("4", 5),
    ("4", "six"),
    ("5", lambda s: s),
    ("5", lambda s: None),
    ("6", (0, 0)),
    ("7", lambda words, n: []),
]


@pytest.mark.parametrize(("name", "answer"), [*OTHERS, *(wrong[:2] for wrong in WRONG)])
def test_who_stumbles_twice_is_sent_to_a_first_reading(said, name, answer):
    first, second = said(f"before_you_start.{name}", answer), said(f"before_you_start.{name}", answer)
    hint, wrong = (told.partition("not yet.\n")[2] for told in (first, second))
    assert hint.startswith("Hint: ") and "First reading" not in hint
    assert re.fullmatch(r"[^a-z\s].*[.!?] First reading: .+\.\n", wrong)  # whole sentences
    assert wrong.partition(" First reading")[0] not in hint  # it says something new


def test_a_function_that_raises_is_asked_for_shapes_only_where_they_are_in_the_way(said):
    told = said("before_you_start.5", lambda scores: scores.expp())
    assert "AttributeError" in told and "Which line does it?" in told and "shapes" not in told
    assert "which shapes meet there?" in said("before_you_start.5", lambda scores: scores + torch.ones(3))
