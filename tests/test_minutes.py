"""The minutes that the lessons promise are true: their opening, both maps, and a core of at most 35 minutes."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
count = runpy.run_path(str(ROOT / "tools" / "count_minutes.py"))
minutes, code_minutes = count["minutes"], count["code_minutes"]
LESSONS = {path.stem: path for path in count["lessons"]()}
#: Lessons whose core is still too long: the list may only become shorter.
LONG = {"03_latents", "07_decoding", "09_steering", "10_samplers"}
LONG |= {"11_training", "12_full_size", "symptoms"}


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_promise_is_true(lesson):
    path = LESSONS[lesson]
    core, deeper, promised = minutes(path)
    assert abs(core - promised) <= 5
    more = re.search(r"(\d+) more with the parts marked \*Deeper\*", path.read_text(encoding="utf-8"))
    assert abs(deeper - (int(more[1]) if more else 0)) <= 5
    for readme in (ROOT / "README.md", ROOT / "notebooks" / "README.md"):
        rows = [line for line in readme.read_text(encoding="utf-8").splitlines() if f"{path.name})" in line]
        assert any(f"| {promised} min |" in row for row in rows), readme


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_core_is_not_too_long(lesson):
    assert (minutes(LESSONS[lesson]).core <= 35.5) != (lesson in LONG)  # 35, rounded


def test_comments_are_prose_and_exercises_and_deeper_parts_count_apart(tmp_path):
    assert code_minutes("x = 1\n\n# two words\ny = f(\n    2)\n") == pytest.approx(2 / 10 + 2 / 200)
    assert code_minutes(f"x = f({'a, ' * 50})\n") == pytest.approx(3 / 10)
    cells = [
        ("markdown", "# T\n**Time:** 7 minutes"),
        ("markdown", "## 1 · Core\none two"),
        ("markdown", "## 2 · Deeper: more\none\n### part"),
        ("code", "a = 1\nb = 2"),
        ("markdown", "## Your turn\nnot counted"),
        ("code", "c = ..."),
        ("markdown", "## Recap\nend"),
    ]
    path = tmp_path / "lesson.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": [text]} for kind, text in cells]}))
    core, deeper, promised = minutes(path)
    assert (core, deeper, promised) == pytest.approx(((4 + 4 + 2) / 200, (3 + 1 + 1) / 200 + 2 / 10, 7))
