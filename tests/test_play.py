"""The lessons are safe to play with: other settings, cells twice or out of order, and never a wrong picture.

Each play changes a lesson and runs it as Run All does, up to the first error. Four ends are counted: *right* (every
picture that the page shows is what an independent `paint` of its settings gives), *sentence* (a cell says in words what
to do, or Python names what was not run), *wrong*, and *traceback*. Only the first two may occur.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

import sdlesson
from sdlesson.loading.errors import BadInput, ModelError

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SENTENCES = (BadInput, ModelError, AssertionError)


_PAINTED: dict[str, list] = {}  # settings -> pictures: most plays share some


class Wrong(Exception):
    """A picture that is not what its page says."""


class Page:
    """A lesson's code cells and the names that they have made so far."""

    def __init__(self, topic: str):
        path = NOTEBOOKS / f"{sdlesson.notebook_name(topic)}.ipynb"
        cells = nbformat.read(path, as_version=4).cells
        self.sources = [cell.source for cell in cells if cell.cell_type == "code"]
        self.names = {"__name__": "__main__", "display": lambda figure: figure.render(1)}
        self.shown = []  # (pictures, titles, words) of each figure of pictures
        torch.set_grad_enabled(True)  # as in a fresh kernel: some lessons switch gradients off

    def find(self, text: str) -> int:
        """The number of the one cell in which `text` stands; of several, the first."""
        return next(number for number, source in enumerate(self.sources) if text in source)

    def change(self, name: str, value: str) -> None:
        """Let the first line that sets `name` set it to `value`, an expression."""
        number = next(k for k, source in enumerate(self.sources) if re.search(rf"^{name} = ", source, flags=re.M))
        self.sources[number] = re.sub(
            rf"^{name} = .*$", lambda _: f"{name} = {value}", self.sources[number], count=1, flags=re.M
        )

    def run(self, *numbers: int) -> None:
        """Run these cells, or all; a figure that a cell ends with is drawn."""
        for number in numbers or range(len(self.sources)):
            tree = ast.parse(self.sources[number])
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f"cell {number}", "exec"), self.names)
            self.watch()
            if last:
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), self.names)
                if hasattr(value, "render"):
                    value.render(1)

    def watch(self) -> None:
        """Take note of the pictures that the page shows from here on."""
        draw = self.names.get("figure_pictures")
        if draw and not hasattr(draw, "watched"):

            def figure_pictures(pictures, titles=None, **options):
                self.shown.append((list(pictures), list(titles or []), options.get("words", "")))
                return draw(pictures, titles, **options)

            figure_pictures.watched = True
            self.names["figure_pictures"] = figure_pictures


def alike(one, other) -> bool:
    """Whether two pictures agree, up to the last digits of a batch computed together."""
    return one.size == other.size and np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max() <= 2


def compare(what: str, shown, settings: dict) -> None:
    """Raise Wrong unless `shown` are the pictures that `paint` makes of `settings`."""
    key = repr(sorted((name, value) for name, value in settings.items() if name != "model"))
    painted = _PAINTED.get(key) or _PAINTED.setdefault(key, sdlesson.paint(**settings))
    if len(shown) != len(painted) or not all(map(alike, shown, painted)):
        raise Wrong(what)


def end_of(page: Page, play, check) -> tuple[str, str]:
    """How a play ended, and what it said."""
    try:
        play(page)
        check(page)
    except SENTENCES as error:
        return ("sentence" if len(str(error).split()) > 3 else "traceback"), f"{type(error).__name__}: {error}"
    except NameError as error:
        return "sentence", str(error)
    except Wrong as error:
        return "wrong", str(error)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    return "right", ""


def one_page(page: Page) -> None:
    """Every picture of the lesson on one page, against `paint`."""
    names, model = page.names, page.names.get("sd")
    settings = ("seed", "num_inference_steps", "guidance_scale", "height", "width")
    stated = {name: names[name] for name in settings if name in names} | {"model": model}
    for pictures, titles, words in page.shown:
        if words.startswith("Painted for: "):
            told = words.removeprefix("Painted for: ")
            prompt = ast.literal_eval(told) if told.startswith("[") else told
            compare(words, pictures, {"prompt": prompt, "seed": 7, "model": model})
        elif titles[:1] == ["out.png"]:
            compare("the loop's picture", pictures, stated | {"prompt": names["prompt"]})
        elif titles[:1] == ["right"]:
            compare("the right one of three", pictures[:1], stated | {"prompt": names["prompt"][:1]})
        elif titles[:1] == ["before"]:
            compare("before", pictures[:1], stated | {"prompt": names["prompt"][:1]})
        elif "other noise" in words:
            seeds = [int(title.removeprefix("seed ")) for title in titles]
            more = {"seed": seeds, "num_inference_steps": 10, "prompt": names["prompt"][:1] * len(seeds)}
            compare("other seeds", pictures, stated | more)
        else:
            raise Wrong(f"nobody has compared {titles or words}")


#: Lesson on one page: name -> values, each a play of its own.
ONE_PAGE = {
    "num_inference_steps": ["1", "2", "3", "5", "10", "19", "21", "50", "0", "-1", "1.5", "'20'", "1001", "None"],
    "height = width": ["64", "96", "192", "8", "100", "0", "-128", "'128'"],
    "prompt": [
        '["a horse", "a duck"]',
        '["a robot riding a duck"] * 3',
        '[""]',
        '"a photograph of a queen riding a duck"',
        '["a horse " * 60]',
        '("a horse",)',
        "[]",
        "[3]",
        '["🐎 on a sofa"]',
        '["ein Pferd", "a horse", "a photograph of a penguin riding a red bicycle in the snow"]',
    ],
    "seed": ["0", "7", "2**63", "-1", "1.5", "[1, 2]", "'42'", "None"],
    "guidance_scale": ["0", "1", "8", "15", "-3", "1e7", "'3'", "None"],
    "yours": ['"a horse"', '["a horse", "a duck"]', '""', "7"],
    "seeds": ["[1]", "[5, 6, 7]", "[43, 43]", "[]", "[-1, 2]"],
}
#: Several changes at once.
TOGETHER = [
    {"prompt": '["a horse", "a duck"]', "num_inference_steps": "7", "seed": "3"},
    {"height = width": "192", "prompt": '["a knight riding a turtle"]', "guidance_scale": "5"},
    {"height = width": "64", "num_inference_steps": "3", "prompt": '["a robot", "a queen", "a wizard"]'},
]


def one_page_plays():
    for name, values in ONE_PAGE.items():
        for value in values:
            yield f"{name} = {value}", {name: value}
    yield from ((str(changes), changes) for changes in TOGETHER)
    yield "256 × 128", {"height = width": "0; height, width = 256, 128"}
    yield "128 × 256", {"height = width": "0; height, width = 128, 256"}


HORSE, DUCK = '"a photograph of an astronaut riding a horse"', '"a cartoon of a duck"'
#: Lesson -> (name, other value): each a play of its own.
OTHERS = {
    "tokens": [
        ("prompt", '["a horse"]'),
        ("prompt", '["a horse", "a duck"]'),
        ("prompt", HORSE),
        ("prompt", '[""]'),
        ("prompt", '["horse " * 100]'),
        ("corpus", '{"banana": 3, "ananas": 2, "nana": 9}'),
        ("batch", '["a", "b", "a b c"]'),
        ("story", '"short"'),
    ],
    "embeddings": [
        ("prompt", DUCK),
        ("prompt", '"a horse"'),
        ("prompt", '["a horse"]'),
        ("prompt", '"a robot riding a horse in the snow"'),
        ("first", DUCK),
        ("steps", "[0, 1]"),
        ("order", '["a horse", "a duck"]'),
        ("twins", '["a horse on a beach", "a horse in a city"]'),
    ],
    "latents": [
        ("many", "4"),
        ("at", "[3, 2, 1]"),
        ("some", "[0]"),
        ("shares", "[0.5]"),
        ("prompt", DUCK),
        ("prompt", f"[{DUCK}]"),
        ("seeds", "[1]"),
        ("seeds", "[7, 8, 9, 10]"),
    ],
    "sigmas": [
        ("steps", "10"),
        ("steps", "7"),
        ("steps", "50"),
        ("steps", "1"),
        ("prompt", DUCK),
        ("prompt", f"[{DUCK}]"),
        ("seeds", "[1, 2]"),
        ("shown, spoiled", "[0, 500], []"),
    ],
    "unet": [
        ("prompt, steps", f"{DUCK}, 15"),
        ("prompt, steps", f"{HORSE}, 8"),
        ("prompt, steps", f"{HORSE}, 3"),
        ("prompt, steps", f"[{HORSE}], 15"),
        ("told", "[0, t, 999]"),
        ("three", "[0, 1, 2]"),
        ("row, column", "0, 0"),
        ("third, few", "2, 3"),
    ],
    "guidance": [
        ("prompt, steps", f"{DUCK}, 15"),
        ("prompt, steps", f"{HORSE}, 8"),
        ("prompt, steps", f"{HORSE}, 20"),
        ("prompt, steps", f"[{HORSE}], 15"),
        ("scales", "[0, 3]"),
        ("scales", "[0, 1, 2, 3, 5, 8, 15]"),
        ("few", "4"),
        ("odd", '"hello"'),
    ],
    "decoding": [
        ("prompt, steps", f"{DUCK}, 10"),
        ("prompt, steps", f"{HORSE}, 5"),
        ("prompt, steps", f"{HORSE}, 20"),
        ("prompt, steps", f"[{HORSE}], 10"),
        ("prompt, steps", f"{HORSE}, 3"),
        ("scales", "[1, sd.guidance_scale]"),
        ("shown", "[0, 1]"),
        ("prompt, steps", '"", 10'),
    ],
    "attention": [
        ("prompt, steps", '"a cartoon of a penguin riding a duck in the snow", 12'),
        ("prompt, steps", '"a photograph of an astronaut riding a red horse on the moon", 6'),
        ("prompt, steps", '"a photograph of an astronaut riding a red horse on the moon", 20'),
        ("prompt, steps", '["a photograph of an astronaut riding a red horse on the moon"], 12'),
        ("prompt, steps", '"a horse", 12'),
        ("other", DUCK),
        ("levels", "[300]"),
        ("prompt, steps", '"a photograph of an astronaut riding a red horse on the moon", 3'),
    ],
    "steering": [
        ("steps", "6"),
        ("steps", "20"),
        ("prompt, unwanted", f'{DUCK}, "in the snow"'),
        ("prompt, unwanted", f'[{DUCK}], "in the snow"'),
        ("seeds", "[1]"),
        ("seeds", "[1, 2, 3]"),
        ("strengths", "[0.5]"),
        ("shares", "[0, 1]"),
        ("pulls", "[0, 8]"),
    ],
    "samplers": [
        ("prompt, scale", f"{DUCK}, 3"),
        ("prompt, scale", f"{HORSE}, 1"),
        ("prompt, scale", f"[{HORSE}], 3"),
        ("budgets", "[5]"),
        ("budgets", "[5, 10, 20, 40]"),
        ("counts", "[5, 10, 20]"),
        ("many", "[10, 40]"),
        ("n, rho", "8, 7"),
    ],
    "training": [
        ("levels", "[80, 420]"),
        ("shown", "[420]"),
        ("number", "2"),
        ("few", "4"),
        ("steps", "10"),
        ("level", "[80]"),
        ("mounts", '["horse", "duck"]'),
        ("tiny", "False"),
    ],
    "fullsize": [
        ("prompt, steps", f"{DUCK}, 8"),
        ("prompt, steps", f"{HORSE}, 3"),
        ("prompt, steps", f"[{HORSE}], 8"),
        ("prompt, steps", f'["a horse", {DUCK}], 8'),
        ("three", "(torch.float32,)"),
        ("size", "256"),
        ("with_engine", "False"),
        ("latents", "torch.randn(1, 4, 8, 8)"),
    ],
    "symptoms": [
        ("prompt, steps", f"{HORSE}, 8"),
        ("prompt, steps", f"{HORSE}, 4"),
        ("prompt, steps", f"{HORSE}, 20"),
        ("prompt, steps", f"[{HORSE}], 8"),
        ("seeds", "[1, 2]"),
        ("seeds", "[5]"),
        ("seeds", "[1, 2, 3]"),
        ("strong", "5"),
        ("case", DUCK),
    ],
}


def unet(page: Page) -> None:
    """The run of which nothing is cut."""
    names = page.names
    stated = {"prompt": names["prompt"], "seed": 43, "num_inference_steps": names["few"], "model": names["sd"]}
    whole = next(pictures[0] for pictures, _, words in page.shown if words.startswith("Whole runs"))
    compare("none cut", [whole], stated)


def guidance(page: Page) -> None:
    """The pictures of the scales, as the page decodes them."""
    names = page.names
    stated = {"prompt": names["prompt"], "seed": 43, "num_inference_steps": names["steps"], "model": names["sd"]}
    for scale in names["scales"]:
        compare(f"guidance {scale}", names["to_pil"](names["pixels"][scale, 4]), stated | {"guidance_scale": scale})


def decoding(page: Page) -> None:
    names = page.names
    stated = {"prompt": names["prompt"], "num_inference_steps": names["steps"], "model": names["sd"]}
    compare("the picture", [names["picture"]], stated)


def fullsize(page: Page) -> None:
    names = page.names
    stated = {"prompt": names["prompt"], "num_inference_steps": names["steps"], "model": names["small"]}
    for name in ("plain", "again"):
        compare(name, [names[name]], stated)


def symptoms(page: Page) -> None:
    names = page.names
    stated = {"prompt": [names["prompt"]] * len(names["seeds"]), "seed": names["seeds"], "model": names["sd"]}
    compare("healthy", names["healthy"].pictures(), stated | {"num_inference_steps": names["steps"]})


#: What compares a lesson's pictures with `paint`. The others' pictures are no paintings of settings, or are compared by
#: the lesson's own assertions.
CHECKS = {"unet": unet, "guidance": guidance, "decoding": decoding, "fullsize": fullsize, "symptoms": symptoms}


def tally(topic: str, ends: dict[str, tuple[str, str]]) -> None:
    """Print how the plays of a lesson ended; fail where one ended badly."""
    counts = Counter(end for end, _ in ends.values())
    print(f"\n{topic}: {len(ends)} plays: {dict(counts)}")
    bad = {name: what for name, what in ends.items() if what[0] in ("wrong", "traceback")}
    assert not bad, "\n".join(f"{name}: {end}: {said}" for name, (end, said) in bad.items())


def changed(changes: dict[str, str]):
    """A play: change the lesson's settings, then run it."""

    def play(page: Page) -> None:
        for name, value in changes.items():
            page.change(name, value)
        page.run()

    return play


def test_one_page_with_other_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plays = dict(one_page_plays())
    assert len(plays) >= 40
    tally("onepage", {name: end_of(Page("onepage"), changed(each), one_page) for name, each in plays.items()})


def test_one_page_with_cells_run_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def twice(page: Page) -> None:
        page.run(*itertools.chain.from_iterable((number, number) for number in range(len(page.sources))))

    tally("onepage, each cell twice", {"twice": end_of(Page("onepage"), twice, one_page)})


def test_one_page_out_of_order(tmp_path, monkeypatch):
    """The settings are changed after the page was run, and one later cell is run again: nothing wrong may come."""
    monkeypatch.chdir(tmp_path)
    cells = range(len(Page("onepage").sources))
    changes = {
        "prompt": '["a horse", "a duck"]',
        "num_inference_steps": "10",
        "height = width": "64",
        "seed": "1",
        "guidance_scale": "1",
    }
    ends = {}
    for name, value in changes.items():
        page = Page("onepage")
        page.run()
        settings, test = page.find("\nnum_inference_steps = "), page.find("same = sdlesson.paint")
        page.change(name, value)
        page.run(settings)
        for number in cells[settings + 1 :]:
            page.shown.clear()
            before = dict(page.names)

            def again(page, number=number, test=test):
                page.run(number)
                if number >= test:  # the page claims nothing of its picture before this cell
                    page.shown[:] = [each for each in page.shown if each[1][:1] != ["right"]]
                    one_page(page)

            ends[f"{name}, then cell {number}"] = end_of(page, again, lambda page: None)
            page.names.clear()
            page.names |= before
    for number in cells:  # a fresh kernel, and one cell of the page
        ends[f"cell {number} alone"] = end_of(Page("onepage"), lambda page, number=number: page.run(number), one_page)
    tally("onepage, out of order", ends)


@pytest.mark.parametrize("topic", OTHERS)
def test_another_lesson_with_other_settings(topic, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(OTHERS[topic]) >= 8
    check, ends = CHECKS.get(topic, lambda page: None), {}
    for name, value in OTHERS[topic]:
        ends[f"{name} = {value}"] = end_of(Page(topic), changed({name: value}), check)
    tally(topic, ends)
