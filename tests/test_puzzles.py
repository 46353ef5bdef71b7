"""Drawn puzzles: what is drawn, and that a function which fits the drawing alone does not pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sdlesson
from sdlesson.exercises import _tries, check, lesson_exercises, topics
from sdlesson.figures.puzzle import figure_puzzle

PUZZLES = [name for topic in topics() for name, task in lesson_exercises(topic).items() if task.draw]


def texts(fig, place):
    return [each.get_text() for each in fig.axes[place].texts]


def test_a_lesson_has_at_least_three_drawn_exercises():
    counted = {
        topic: sum(name.startswith(f"{topic}.") for name in PUZZLES) for topic in (*sdlesson.LESSONS, "symptoms")
    }
    del counted["unet"]  # its page draws them itself: test_unet
    assert min(counted.values()) >= 3


def test_a_puzzle_shows_what_is_wanted_before_it_is_solved(capsys):
    fig = check("embeddings.6", lambda n: ...)
    assert "not answered yet" in capsys.readouterr().out
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["wanted", "yours"]
    assert texts(fig, 0)[:10] == list("1000011000") and texts(fig, 1) == ["?"]
    assert fig.words == "A puzzle. In: n = 5. Wanted: shape (5, 5). Yours: no answer yet."


def test_a_puzzle_shows_what_the_answer_gives(capsys):
    fig = check("embeddings.6", lambda n: torch.ones(n, n))
    assert "not yet" in capsys.readouterr().out and texts(fig, 1) == ["1"] * 25
    assert "other at 10 of 25 numbers" in fig.words
    assert "Yours: the same" in check("embeddings.6", lambda n: np.tri(n)).words
    assert "of another shape, (5,)" in check("embeddings.6", lambda n: [1] * n).words


def test_whoever_copies_the_drawing_does_not_pass(said):
    drawn = torch.ones(5, 5).tril()
    both = said("embeddings.6", lambda n: drawn) + said("embeddings.6", lambda n: drawn)
    assert "Right for the drawn input" in both and "fits the drawing alone" in both


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda n: torch.ones(n, n + 1) @ torch.ones(n, n), "Your function stops with an error"),
        (lambda n: None, "Look for `return`"),
        (torch.ones(5, 5), "without brackets"),
        (lambda n: "triangle", "Compare the shapes"),
        (lambda n: [[1], [1, 1]], "Compare the shapes"),
        (lambda n: [], "Compare the shapes"),
        (lambda n: torch.zeros(n, n), "number by number"),
    ],
)
def test_whatever_comes_gets_a_sentence_and_a_drawing(said, answer, words):
    _tries.clear()
    assert words in said("embeddings.6", answer)
    assert check("embeddings.6", answer).words.startswith("A puzzle.")


@pytest.mark.parametrize("name", PUZZLES)
def test_every_drawing_is_drawn(name):
    fig = lesson_exercises(name.partition(".")[0])[name].draw(lambda *given: ...)
    fig.draw_without_rendering()
    assert fig.get_figwidth() <= 10 and fig.get_figheight() <= 7
    panels = [ax.get_position().extents for ax in fig.axes]
    assert all(x0 >= 0 and y0 >= 0 and x1 <= 1 and y1 <= 1 for x0, y0, x1, y1 in panels)
    assert not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a in panels for b in panels if a is not b
    )


def test_a_square_that_is_not_finite_is_seen():
    fig = figure_puzzle({"x": torch.tensor([[1.0, torch.nan], [torch.inf, -2.0]])}, [[0, 1], [1, 0]])
    assert texts(fig, 0) == ["1", "nan", "inf", "-2"]
    assert fig.axes[0].images[0].get_clim() == (-2, 2)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("latents.7", lambda p, size: (p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4),
        ("decoding.8", lambda pictures: torch.cat([pictures[0], pictures[1], pictures[2]], dim=1)),
        ("tokens.6", lambda ids, end: (ids == 9).cumsum(0) > 1),
        ("tokens.6", lambda ids, end: ids == torch.cat([torch.tensor([-1]), ids[:-1]])),
        ("tokens.8", lambda ids, length: ids if len(ids) <= 6 else torch.cat([ids[:5], ids[-1:]])),
        ("steering.7", lambda x, noise, sigmas, k: x + sigmas[len(sigmas) - round(k * len(sigmas))] * noise),
        ("steering.7", lambda x, noise, sigmas, k: x + sigmas[10 - int(k * 10)] * noise),
        ("attention.7", lambda heat, h, w: heat.reshape(3, -1)),
        ("samplers.5", lambda low, high, n: torch.linspace(high ** (1 / 7), 0.03 ** (1 / 7), n) ** 7),
        ("guidance.7", lambda uncond, text, scales: uncond + scales.view(4, 1, 1, 1) * (text - uncond)),
        (
            "guidance.7",
            lambda uncond, text, scales: torch.stack([uncond[i] + scales[i] * (text[i] - uncond[i]) for i in range(4)]),
        ),
    ],
)
def test_what_fits_the_drawing_alone_does_not_pass(said, name, answer):
    assert "well done" not in said(name, answer)


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        (
            "guidance.7",
            lambda uncond, text, scales: uncond + scales.view(4, 1, 1, 1) * (text - uncond),
            "(With uncond (3, 3, 2, 3), text (3, 3, 2, 3), scales (3,): RuntimeError: shape '[4, 1, 1, 1]' is invalid",
        ),
        ("embeddings.6", lambda n: torch.ones(n, n) * torch.ones(5, 5).tril(), "(With n = 6: RuntimeError: The size"),
    ],
)
def test_what_is_right_for_the_drawing_and_fails_with_another_input_is_told_so(said, name, answer, words):
    first, second = said(name, answer), said(name, answer)
    assert "Right for the drawn input" in first and words in first
    assert "fits the drawing alone" in second and words in second


@pytest.mark.parametrize("as_list", [False, True])
def test_complex_numbers_are_told(said, as_list):
    def mixed(latents, noise, sigma):
        made = (1 - sigma**2) ** 0.5 * latents + sigma * noise
        return list(made) if as_list else made

    assert "These are complex numbers: a root of a negative number?" in said("latents.6", mixed)
