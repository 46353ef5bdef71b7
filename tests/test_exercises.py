"""The exercises' judges: right answers pass, and each mistake meets the sentence that was written for it."""

import inspect
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from sdlesson import exercises
from sdlesson.exercises import check, keep_progress, lesson_exercises, show_progress, topics
from sdlesson.exercises.compare import call
from sdlesson.loading.errors import BadInput

SETTINGS = {"prompt": "a photograph of an astronaut riding a horse", "seed": 42, "num_inference_steps": 20}


@pytest.fixture
def small():
    """What the judge of shapes asks of a model: 16 x 16 latent squares of 8 x 8 pixels."""
    unet = SimpleNamespace(config=SimpleNamespace(in_channels=4))
    return SimpleNamespace(unet=unet, size=(128, 128), vae_factor=8)


def test_an_open_answer_gets_the_hint(said):
    tasks = {name: task for topic in topics() for name, task in lesson_exercises(topic).items()}
    assert len(tasks) >= 3
    for name, task in tasks.items():
        assert said(name) == f"{name}: not answered yet.\nHint: {task.hint}\n"


def test_a_mistake_gets_its_hint_first_and_then_what_is_wrong(said, small):
    first = said("onepage.1", (3, 4, 128, 256), sd=small)
    second = said("onepage.1", (3, 4, 128, 256), sd=small)
    assert "Hint: These are pixels" in first
    assert "divide both by 8" in second and "Hint" not in second
    assert "Hint:" in said("onepage.1", (3, 3, 16, 32), sd=small)  # another mistake starts with its own hint


def test_an_answer_that_raises_is_explained(said):
    def broken(uncond, text, scale):
        return uncond + scael * text  # noqa: F821 - a learner's typing error

    assert "NameError" in said("onepage.3", broken)
    assert "not yet" in said("onepage.1", 7, sd=None)


def test_an_unknown_exercise_is_named():
    with pytest.raises(KeyError, match="no exercise 'onepage.9'"):
        check("onepage.9", 1)


def test_progress_is_kept_only_when_the_learner_asks(said, small, tmp_path, capsys):
    said("onepage.1", (3, 4, 16, 32), sd=small)
    show_progress()
    assert not list(tmp_path.iterdir()) and "Nothing is kept yet" in capsys.readouterr().out
    keep_progress()
    said("onepage.1", (3, 4, 16, 32), sd=small)
    said("onepage.2", SETTINGS, settings=SETTINGS)  # not solved
    keep_progress()  # a second time: nothing is lost
    capsys.readouterr()
    show_progress()
    assert "00 One page: 1 of 6   onepage.1 ✓ onepage.2 · onepage.3 · onepage.4 ·" in capsys.readouterr().out


BROKEN = {
    "a list": "[]",
    "mixed kinds": '{"solved": ["onepage.1", 3, null]}',
    "a text": '{"solved": "onepage.1"}',
    "deep": "[" * 100_000,
    "deep inside": '{"solved": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "no JSON": "solved: 00.1",
    "no text": b"\xff\xfe\x00",
    "too large": '{"solved": []}' + " " * 2**21,
}


def test_progress_of_the_time_when_exercises_had_numbers_still_counts(said, tmp_path, capsys):
    (tmp_path / "progress.json").write_text('{"solved": ["00.1", "05.2", "11.1", "symptoms.1", "12.1"]}')
    show_progress()
    told = capsys.readouterr().out
    for name in ("onepage.1", "guidance.2", "fullsize.1", "symptoms.1"):
        assert f"{name} ✓" in told
    said("onepage.2", SETTINGS | {"prompt": "a photograph of an astronaut riding an elephant"}, settings=SETTINGS)
    kept = json.loads((tmp_path / "progress.json").read_text())["solved"]
    assert {"onepage.1", "onepage.2", "guidance.2", "symptoms.1"} <= set(kept)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_progress_file_is_named(said, small, tmp_path, broken):
    written = BROKEN[broken] if isinstance(BROKEN[broken], bytes) else BROKEN[broken].encode()
    (tmp_path / "progress.json").write_bytes(written)
    for ask in (show_progress, keep_progress):
        with pytest.raises(BadInput, match="progress.json cannot be read; delete it"):
            ask()
    told = said("onepage.1", (3, 4, 16, 32), sd=small)  # the answer is right all the same
    assert "well done" in told and "This is not kept: progress.json cannot be read; delete it" in told
    assert (tmp_path / "progress.json").read_bytes() == written


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without such things")
@pytest.mark.parametrize("kind", ["endless device", "pipe", "folder", "link to nowhere"])
def test_what_is_no_file_is_not_read(said, small, tmp_path, kind):
    place = tmp_path / "progress.json"
    made = {
        "endless device": lambda: place.symlink_to("/dev/zero"),
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
        "link to nowhere": lambda: place.symlink_to("nowhere"),
    }
    made[kind]()
    with pytest.raises(BadInput, match="progress.json cannot be read"):
        show_progress()
    assert "This is not kept" in said("onepage.1", (3, 4, 16, 32), sd=small)
    assert os.path.lexists(place)


def test_two_notebooks_lose_nothing(said, tmp_path):
    """Four processes solve 30 exercises each, at once, in one folder."""
    keep_progress()
    program = "import sys; from sdlesson.exercises import _note\nfor k in range(30): _note(f'{sys.argv[1]}.{k}')"
    running = [subprocess.Popen([sys.executable, "-c", program, str(number)], cwd=tmp_path) for number in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    kept = json.loads((tmp_path / "progress.json").read_text())["solved"]
    assert kept == sorted(f"{number}.{k}" for number in range(4) for k in range(30))
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_a_kernel_that_was_killed_while_it_wrote_stops_nobody(said, small, tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "_PATIENCE", 0.2)
    keep_progress()
    (tmp_path / ".progress.json.lock").touch()
    start = time.monotonic()
    said("onepage.1", (3, 4, 16, 32), sd=small)
    assert time.monotonic() - start < 2
    assert json.loads((tmp_path / "progress.json").read_text()) == {"solved": ["onepage.1"]}
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def in_place(x, denoised, sigma, after):
    x += (x - denoised) / sigma * (after - sigma)
    return x


def guided_in_place(uncond, text, scale):
    text -= uncond
    text *= scale
    uncond += text
    return uncond


def velocity_in_place(latents, noise, kept):
    noise *= kept.sqrt()
    noise -= latents * (1 - kept).sqrt()
    kept.zero_()
    latents.zero_()
    return noise


def average_in_place(average, weights, decay):
    average.mul_(decay).add_(weights.mul_(1 - decay))
    return average


def silent_in_place(scores, positions):
    rest = torch.ones(77, dtype=torch.bool)
    rest[positions] = False
    positions.clear()
    return scores.masked_fill_(rest, float("-inf")).softmax(dim=-1)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("sigmas.3", in_place),
        ("onepage.3", guided_in_place),
        ("training.3", velocity_in_place),
        ("training.4", average_in_place),
        ("attention.4", silent_in_place),
    ],
)
def test_a_right_answer_may_work_in_place(said, name, answer):
    assert "well done" in said(name, answer)


#: Every exercise whose answer is a function, and what its judge has to know.
FUNCTIONS = {
    **dict.fromkeys(
        [
            "onepage.3",
            "tokens.5",
            "embeddings.3",
            "embeddings.4",
            "latents.2",
            "latents.4",
            "latents.5",
            "sigmas.3",
            "sigmas.4",
            *(f"unet.{number}" for number in range(4, 9)),
            "guidance.4",
            "decoding.5",
        ],
        {},
    ),
    **dict.fromkeys(
        ["attention.4", "attention.5", "steering.4", "samplers.4", "training.3", "training.4", "symptoms.4"], {}
    ),
    **dict.fromkeys((f"before_you_start.{number}" for number in (3, 5, 7)), {}),
    "attention.3": {"position": 5, "factor": 3.0},
    "fullsize.3": {"libraries": 0.5},
    **{name: {} for topic in topics() for name, task in lesson_exercises(topic).items() if task.draw},
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("given", ["first", "last", "nothing"])
def test_nobody_is_praised_for_spoiling_what_the_judge_knows(said, name, given):
    def spoil(*arguments):
        for each in arguments:
            if isinstance(each, torch.Tensor):
                each.zero_()
            elif isinstance(each, list | dict):
                each.clear()
            elif isinstance(each, Image.Image):
                each.paste(0, (0, 0, *each.size))
        kept = [each for each in arguments if not callable(each)]
        return {"first": kept[0], "last": kept[-1], "nothing": torch.zeros(())}[given]

    assert "well done" not in said(name, spoil, **FUNCTIONS[name]) + said(name, spoil, **FUNCTIONS[name])


def names_in(code) -> set[str]:
    """The names that a function and the functions within it use."""
    return set(code.co_names).union(*(names_in(each) for each in code.co_consts if hasattr(each, "co_names")))


def test_every_exercise_with_a_function_is_among_them():
    tasks = {name: task for topic in topics() for name, task in lesson_exercises(topic).items()}
    judges = {name: inspect.unwrap(task.judge) for name, task in tasks.items()}
    asked = {name for name, judge in judges.items() if {"call", "_run", "_judge"} & names_in(judge.__code__)}
    assert asked == {*FUNCTIONS, "sigmas.5"}  # that one gets a scheduler of its own: test_sigmas


def test_a_function_gets_copies_of_all_it_is_given():
    from diffusers import LMSDiscreteScheduler

    given = torch.ones(2), [1, 2], {"a": [3]}, Image.new("L", (2, 2), 9), LMSDiscreteScheduler()

    def spoil(tensor, numbers, names, picture, scheduler):
        tensor.zero_()
        numbers.clear()
        names["a"].clear()
        picture.putpixel((0, 0), 0)
        scheduler.marked = True
        return True

    assert call(spoil, *given)
    tensor, numbers, names, picture, scheduler = given
    assert (tensor.tolist(), numbers, names, picture.getpixel((0, 0))) == ([1, 1], [1, 2], {"a": [3]}, 9)
    assert not hasattr(scheduler, "marked")


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
    assert words in said("onepage.1", answer, sd=small)


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
    assert words in said("onepage.2", answer, settings=SETTINGS)


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
    both = said("onepage.3", guide) + said("onepage.3", guide)
    assert words in both


def test_a_page_shows_what_an_answer_does_and_no_traceback(said, capsys):
    facts = {"settings": SETTINGS, "draw": lambda mine: f"seed {mine['seed']}"}
    assert check("onepage.2", SETTINGS, **facts) == "seed 42"
    assert check("onepage.2", ..., **facts) is None
    capsys.readouterr()
    assert check("onepage.2", "an elephant", **facts) is None
    told = capsys.readouterr().out
    assert "Give settings" in told and "It cannot be shown in this form: TypeError" in told
    assert check("onepage.3", lambda *given: ..., draw=lambda guide: 1 / 0) is None
    assert "cannot be shown" not in capsys.readouterr().out
