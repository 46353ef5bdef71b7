"""The page of questions leads to sections that are there, under the number and the name that they have today."""

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def prose(name: str) -> str:
    cells = nbformat.read(NOTEBOOKS / name, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_where_to_read_on_is_there():
    text = prose("questions.ipynb")
    led = re.findall(r"\]\((\w+\.ipynb)\)((?:, \*[^*]+\*)+)", text)
    places = [(name, title) for name, titles in led for title in re.findall(r"\*([^*]+)\*", titles)]
    assert len(places) >= 25
    assert [(name, title) for name, title in places if f"## {title}\n" not in prose(name)] == []
    assert "section " not in text.replace("section 2.4)", "")  # that one is a paper's


def test_each_question_has_a_cell_and_an_answer():
    cells = nbformat.read(NOTEBOOKS / "questions.ipynb", as_version=4).cells
    asked = [number for number, cell in enumerate(cells) if re.search(r"^### .*\?$", cell.source, flags=re.M)]
    assert len(asked) >= 12
    for number in asked:
        assert cells[number + 1].cell_type == "code" and cells[number + 1].outputs
        assert cells[number + 2].cell_type == "markdown"
