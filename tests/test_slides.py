"""The slides: one page that needs nothing else, a question before its figure, every figure with its words."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import make_slides  # noqa: E402


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("slides")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make_slides.py", "-o", str(folder), "guidance", "latents"])
        make_slides.main()
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_asks_for_nothing(page):
    addresses = re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", page) + re.findall(r"url\(([^)]+)\)", page)
    assert addresses and [each[:60] for each in addresses if not each.startswith("data:image/")] == []
    assert "{slides}" not in page and "@import" not in page


def test_a_question_stands_alone_before_its_figure_and_each_figure_has_words(page):
    sections = re.findall(r"<section.*?</section>", page, flags=re.S)
    questions = ["<strong>Predict.</strong>" in each for each in sections]
    assert len(sections) > 20 and 3 < sum(questions) < len(sections)
    for number, (section, asks) in enumerate(zip(sections, questions, strict=True)):
        assert asks != ("<img" in section) and re.search(r"<h2>.+</h2>", section)
        if asks:
            assert not questions[number + 1] and "Explain." not in section
        else:
            assert len(re.search(r'alt="([^"]*)"', section)[1]) >= 20
    assert "Guidance" in sections[0] and "The way through the lessons" not in page


def test_a_place_that_cannot_be_written_to_is_a_sentence(monkeypatch):
    for place in (__file__, f"{__file__}/x"):
        monkeypatch.setattr(sys, "argv", ["make_slides.py", "guidance", "-o", place])
        with pytest.raises(SystemExit, match="The slides cannot be written"):
            make_slides.main()


def test_a_lesson_that_is_not_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_slides.py", "guidnace"])
    with pytest.raises(SystemExit, match="There is no lesson guidnace"):
        make_slides.main()
