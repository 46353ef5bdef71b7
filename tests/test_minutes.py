"""What a lesson's opening promises: true minutes, a core of at most 35; and what it asks of the lessons before it."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
count = runpy.run_path(str(ROOT / "tools" / "count_minutes.py"))
minutes, code_minutes, Minutes = count["minutes"], count["code_minutes"], count["Minutes"]
LESSONS = {path.stem: path for path in count["lessons"]()}


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_promise_is_true(lesson):
    path = LESSONS[lesson]
    core, deeper, exercises, promised = minutes(path)
    text = path.read_text(encoding="utf-8")
    more = re.search(r"(\d+) more with the parts marked \*Deeper\*", text)
    theirs = re.search(r"the exercises take (\d+) minutes", text)
    told = Minutes(promised, int(more[1]) if more else 0, int(theirs[1]) if theirs else None, promised)
    assert abs(core - promised) <= 5
    assert abs(deeper - told.deeper) <= 5
    assert ("*Deeper*, which no later lesson needs" in text) == bool(more)
    assert (exercises is None) == (told.exercises is None)
    assert exercises is None or abs(exercises - told.exercises) <= 5
    assert ("**Open**" in text) == ("(the open task apart)" in text)
    for readme in count["MAPS"]:
        rows = [line for line in readme.read_text(encoding="utf-8").splitlines() if f"{path.name})" in line]
        assert any(f"| {count['row'](told)} |" in row for row in rows), readme


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_exercise_tells_its_minutes(lesson):
    assert minutes(LESSONS[lesson]).exercises


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_exercise_that_needs_a_deeper_part_names_one(lesson):
    cells = json.loads(LESSONS[lesson].read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    deeper = set(re.findall(r"^## (\d+) · Deeper: ", text, flags=re.M))
    needed = dict(re.findall(r"^\*\*Exercise (\d+)\*\* \([^)]*; needs section (\d+), \*Deeper\*\)", text, flags=re.M))
    assert set(needed.values()) <= deeper
    told = {
        "05_unet": {"3": "7", "4": "8", "5": "10", "6": "7", "7": "13"},
        "07_decoding": {"4": "8"},
        "10_samplers": {"7": "8"},
        "11_training": {"5": "7"},
    }
    assert needed == told.get(lesson, {})


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_core_is_not_too_long(lesson):
    assert minutes(LESSONS[lesson]).core <= 35.5  # 35, rounded


@pytest.mark.parametrize("lesson", [lesson for lesson in LESSONS if not lesson.startswith("00")])
def test_a_lesson_opens_with_questions_on_those_before_it(lesson):
    cells = json.loads(LESSONS[lesson].read_text(encoding="utf-8"))["cells"]
    opening = "\n".join("".join(cell["source"]) for cell in cells).split("\n## 1 · ")[0]
    recall = opening.split("**Do you remember?**")[1]
    answers = re.findall(r"<details>.*?</summary>(.*?)</details>", recall, flags=re.S)
    assert answers and all(answer.strip() for answer in answers)
    assert 2 <= recall.count("?") <= 3


def test_comments_are_prose_and_exercises_and_deeper_parts_count_apart(tmp_path):
    assert code_minutes("x = 1\n\n# two words\ny = f(\n    2)\n") == pytest.approx(2 / 10 + 2 / 200)
    assert code_minutes(f"x = f({'a, ' * 50})\n") == pytest.approx(3 / 10)
    cells = [
        ("markdown", "# T\n**Time:** 7 minutes"),
        ("markdown", "## 1 · Core\none two"),
        ("markdown", "## 2 · Deeper: more\none\n### part"),
        ("code", "a = 1\nb = 2"),
        ("markdown", "## Your turn\nnot counted\n\n**Exercise 1 (predict; 3 min, difficulty 1).** In 9 minutes?"),
        ("markdown", "**Exercise 2** (a function; 12 minutes, difficulty 5). What?"),
        ("code", "c = ..."),
        ("markdown", "## Recap\nend"),
    ]
    path = tmp_path / "lesson.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": [text]} for kind, text in cells]}))
    assert minutes(path) == pytest.approx(((4 + 4 + 2) / 200, (3 + 1 + 1) / 200 + 2 / 10, 15, 7))
    path.write_text(path.read_text().replace("; 3 min, difficulty 1", ""))  # an exercise that tells none
    assert minutes(path).exercises is None


def test_what_is_written_is_what_was_counted(tmp_path):
    lesson, readme = tmp_path / "lesson.ipynb", tmp_path / "README.md"
    for spent in (Minutes(35.4, 0.3, None, 1), Minutes(34.6, 12, 40, 2)):
        opening = f"{count['promise'](spent)} takes long"
        lesson.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": [opening]}]}))
        assert minutes(lesson).promised == 35
        readme.write_text("| [L](lesson.ipynb) | 9 s | 29 min | x |\n| [M](m.ipynb) | 5 min |\n")
        count["write"](lesson, Minutes(20, 7, 30, 0), [readme])
        assert "20 minutes to read and try, 7 more with" in lesson.read_text()
        assert "; the exercises take 30 minutes. The computing takes long" in lesson.read_text()
        rows = ["| [L](lesson.ipynb) | 9 s | 20 min, exercises 30 | x |", "| [M](m.ipynb) | 5 min |"]
        assert readme.read_text().splitlines() == rows
    lesson.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": [f"{opening} **Open** (9 minutes)"]}]}))
    count["write"](lesson, Minutes(20, 7, 30, 0), [readme])
    assert "; the exercises take 30 minutes (the open task apart). The computing" in lesson.read_text()
