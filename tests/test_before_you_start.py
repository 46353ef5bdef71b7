"""The page before the lessons: right answers in every form pass, and who stumbles twice is told what to read first."""

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
    ("7", lambda words, n: tuple(filter(lambda word: len(word) > n, words))),
]
WRONG = [
    ("1", (4, 3, 2), "counted first"),
    ("1", (3, 4), "levels"),
    ("2", (16, 16), "as many axes"),
    ("2", (2, 4, 1, 1), "from the right"),
    ("3", lambda z: z * 3 + 2, "changed places"),
    ("3", lambda z: z * 2**0.5 + 3, "variance"),
    ("3", lambda z: (z + 3) * 2, "before the product"),
    ("4", 9, "not its slope"),
    ("4", 5, "rise over run"),
    ("5", lambda scores: scores.exp(), "not divided"),
    ("5", lambda scores: scores / scores.sum(), "no exp"),
    ("5", lambda scores: scores.exp().sum(), "Four"),
    ("6", (13, 24), "columns"),
    ("6", (30, 7), "whole vector"),
    ("7", lambda words, n: [len(word) for word in words if len(word) > n], "lengths"),
    ("7", lambda words, n: [word for word in words if len(word) >= n], "More than"),
    ("7", lambda words, n: list(dict.fromkeys(word for word in words if len(word) > n)), "twice"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_pass(said, name, answer):
    assert "well done" in said(f"before_you_start.{name}", answer)


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_each_mistake_meets_its_hint(said, name, answer, hint):
    assert hint in said(f"before_you_start.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("1", (5, 5, 5)),
        ("2", (1, 1, 1, 1)),
        ("3", lambda z: z),
        ("4", 5),
        ("5", lambda s: s),
        ("6", (0, 0)),
        ("7", lambda words, n: []),
    ],
)
def test_who_stumbles_twice_is_sent_to_a_first_reading(said, name, answer):
    assert "First reading" not in said(f"before_you_start.{name}", answer)
    assert "First reading" in said(f"before_you_start.{name}", answer)
