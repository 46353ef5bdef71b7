"""The exercises' judges: right answers pass, and each mistake meets the sentence that was written for it."""

from types import SimpleNamespace

import pytest

from sdlesson.exercises import check, keep_progress, lesson_exercises, lessons, show_progress
from sdlesson.models import BadInput

SETTINGS = {"prompt": "a photograph of an astronaut riding a horse", "seed": 42, "num_inference_steps": 20}


@pytest.fixture
def small():
    """What the judge of shapes asks of a model: 16 x 16 latent squares of 8 x 8 pixels."""
    unet = SimpleNamespace(config=SimpleNamespace(in_channels=4))
    return SimpleNamespace(unet=unet, size=(128, 128), vae_factor=8)


def test_an_open_answer_gets_the_hint(said):
    tasks = {name: task for lesson in lessons() for name, task in lesson_exercises(lesson).items()}
    assert len(tasks) >= 3
    for name, task in tasks.items():
        assert said(name) == f"{name}: not answered yet.\nHint: {task.hint}\n"


def test_a_mistake_gets_its_hint_first_and_then_what_is_wrong(said, small):
    first = said("00.1", (3, 4, 128, 256), sd=small)
    second = said("00.1", (3, 4, 128, 256), sd=small)
    assert "Hint: These are pixels" in first
    assert "divide both by 8" in second and "Hint" not in second
    assert "Hint:" in said("00.1", (3, 3, 16, 32), sd=small)  # another mistake starts with its own hint


def test_an_answer_that_raises_is_explained(said):
    def broken(uncond, text, scale):
        return uncond + scael * text  # noqa: F821 - a learner's typing error

    assert "NameError" in said("00.3", broken)
    assert "not yet" in said("00.1", 7, sd=None)


def test_an_unknown_exercise_is_named():
    with pytest.raises(KeyError, match="no exercise '00.9'"):
        check("00.9", 1)


def test_progress_is_kept_only_when_the_learner_asks(said, small, tmp_path, capsys):
    said("00.1", (3, 4, 16, 32), sd=small)
    show_progress()
    assert not list(tmp_path.iterdir()) and "Nothing is kept yet" in capsys.readouterr().out
    keep_progress()
    said("00.1", (3, 4, 16, 32), sd=small)
    said("00.2", SETTINGS, settings=SETTINGS)  # not solved
    keep_progress()  # a second time: nothing is lost
    capsys.readouterr()
    show_progress()
    assert "lesson 00: 1 of 3   00.1 ✓ 00.2 · 00.3 ·" in capsys.readouterr().out


def test_a_broken_progress_file_is_named(said, small, tmp_path):
    (tmp_path / "progress.json").write_text("[]")
    with pytest.raises(BadInput, match="progress.json cannot be read; delete it"):
        show_progress()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((3, 4, 16, 32), "well done"),
        ([3, 4, 16, 32], "well done"),
        ((4, 16, 32), "four sides"),
        ((6, 4, 16, 32), "Each prompt paints one picture"),
        ((3, 3, 16, 32), "not red, green and blue"),
        ((3, 4, 128, 256), "These are pixels"),
        ((3, 4, 32, 16), "rows or the columns"),
        ((3, 4, 16, 16), "Twice as wide"),
    ],
)
def test_latents_shape(said, small, answer, words):
    assert words in said("00.1", answer, sd=small)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (SETTINGS | {"prompt": "a photograph of an astronaut riding an elephant"}, "well done"),
        (SETTINGS, "Nothing is different"),
        ({"prompt": "an elephant"}, "copy of the old settings"),
        (SETTINGS | {"seed": 1}, "what it shows"),
        (SETTINGS | {"seed": 1, "prompt": "an elephant"}, "More than one thing"),
        (SETTINGS | {"prompt": "a photograph of an astronaut riding a duck"}, "horse's place"),
        (SETTINGS | {"prompt": "a cartoon of an astronaut riding an elephant"}, "other words"),
    ],
)
def test_one_change(said, answer, words):
    assert words in said("00.2", answer, settings=SETTINGS)


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (lambda u, t, s: u + s * (t - u), "well done"),
        (lambda u, t, s: (1 - s) * u + s * t, "well done"),
        (lambda u, t, s: t + s * (t - u), "go too far"),
        (lambda u, t, s: t + s * (u - t), "changed places"),
        (lambda u, t, s: u + s * (u - t), "points from the prompt"),
        (lambda u, t, s: s * (t - u), "start is missing"),
        (lambda u, t, s: s * t, "is not used"),
        (lambda u, t, s: u + s * t, "not the difference"),
        (lambda u, t, s: t, "scale is not used"),
        (lambda u, t, s: u, "The result is not"),
        (lambda u, t, s: ..., "not answered yet"),
        (lambda u, t, s: None, "returns None"),
        (lambda u, t, s: (u + t).sum(), "came out"),
        (3, "is no function"),
    ],
)
def test_guidance(said, guide, words):
    both = said("00.3", guide) + said("00.3", guide)
    assert words in both
