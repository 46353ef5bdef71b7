"""TEACHING.md: all that it names is there, and the minutes of its plans add up."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from sdlesson import LESSONS as TOPICS
from sdlesson import PAGES

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "TEACHING.md").read_text(encoding="utf-8")
LESSONS = {path.stem.partition("_")[0]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def cells(lesson: str, kind: str) -> str:
    return "\n".join(
        cell.source for cell in nbformat.read(LESSONS[lesson], as_version=4).cells if cell.cell_type == kind
    )


def headings(lesson: str) -> set[str]:
    return set(re.findall(r"^#{2,4} (.+?)\s*$", cells(lesson, "markdown"), flags=re.M))


def named_sections() -> list[tuple[str, str]]:
    """(lesson, heading) for each slanted text: it belongs to the lesson that was named last in its table row."""
    named = []
    for line in TEXT.splitlines():
        lesson = None
        for word, slanted in re.findall(r"\b(0\d|1[0-2]|Symptoms)\b|(?<!\*)\*([^*|]+)\*(?!\*)", line):
            lesson = word.lower() or lesson
            if slanted and lesson:
                named.append((lesson, slanted))
    return named


def minutes() -> dict[str, tuple[int, int]]:
    """For each plan: what its title promises, and the sum of its rows."""
    plans = re.split(r"^#{3,4} (.*\d+ minutes.*)$", TEXT, flags=re.M)[1:]
    titles, bodies = plans[::2], [re.split(r"^#", body, flags=re.M)[0] for body in plans[1::2]]
    rows = [[int(each) for each in re.findall(r"^\| (\d+) \|", body, flags=re.M)] for body in bodies]
    return {
        title: (int(re.search(r"(\d+) minutes", title)[1]), sum(row)) for title, row in zip(titles, rows, strict=True)
    }


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", TEXT)
    assert len(links) > 20 and [link for link in links if not (ROOT / link).exists()] == []
    assert all(link.startswith("notebooks/") for link in links)  # they hold in the kit and in the book, too
    assert "(TEACHING.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_link_is_named_after_its_lesson():
    pairs = re.findall(r"\[(\d\d|Symptoms)[^\]]*\]\(notebooks/([^)]+)\)", TEXT)
    assert len(pairs) > 20 and [pair for pair in pairs if LESSONS[pair[0].lower()].name != pair[1]] == []


@pytest.mark.parametrize("lesson", [name for name in LESSONS if name[0].isdigit() or name == "symptoms"])
def test_sections_stand_in_their_lessons(lesson):
    named = {heading for each, heading in named_sections() if each == lesson}
    assert named and sorted(named - headings(lesson)) == []


def test_exercises_exist():
    named = set(re.findall(rf"`((?:{'|'.join(TOPICS | PAGES)})\.\d)`", TEXT))
    there = {name for lesson in LESSONS for name in re.findall(r'check\("([^"]+)"', cells(lesson, "code"))}
    assert len(named) > 10 and sorted(named - there) == []


def test_minutes_add_up():
    plans = minutes()
    assert len(plans) == 6 and [plan for plan, (promised, spent) in plans.items() if promised != spent] == []


def test_every_question_has_its_key():
    questions, key = TEXT.partition("### The key")[::2]
    asked = re.findall(r"^(\d+)\. ", questions.partition("## A quiz")[2], flags=re.M)
    answers = re.findall(r"^\| (\d+) \| .+ \| \[(?:\d\d)\]\(notebooks/.+\) \*.+\* \|$", key, flags=re.M)
    assert asked == [str(number) for number in range(1, 13)]
    assert answers == asked


def test_the_words_are_plain_and_nothing_is_left_to_fill_in():
    assert re.findall(r"\b(simply|just|obviously|trivial(?:ly)?|of course|clearly)\b", TEXT, flags=re.I) == []
    assert re.findall(r"@[A-Z]+@", TEXT) == []
