"""Make slides from the lessons' stored figures, one page, build/slides/index.html: `make slides`.

    python tools/make_slides.py [-o FOLDER] [TOPIC ...]      all lessons, or those: guidance samplers

A figure that answers a **Predict** gets a slide with the question alone before it. Arrow keys and the space bar walk,
N shows what the figure says in words, for the speaker. Nothing is run: what stands in the notebooks is shown.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from PIL import Image

from sdlesson import LESSONS, PAGES, lesson_number, notebook_name
from sdlesson.loading.errors import BadInput
from sdlesson.loading.writing import write_whole

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).resolve().parent / "slides.html"
PREDICT = re.compile(r"^> \*\*Predict\.\*\*(.*(?:\n>.*)*)", flags=re.M)
HEADING = re.compile(r"^##+ (?:\d+ · )?(.+?)\s*$", flags=re.M)
markdown = MarkdownIt()


@dataclass
class Slide:
    """A question, or a figure with its words; `title` is the section's, `lesson` its lesson's."""

    lesson: str
    title: str
    question: str = ""
    picture: str = ""  # a data: address
    words: str = ""


def slides(lesson: str, notebook: nbformat.NotebookNode) -> Iterator[Slide]:
    """The slides of one lesson, in order; the strip that opens each lesson and the exercises are left out."""
    title, question = lesson, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = HEADING.findall(cell.source)
            if any(heading.startswith("Your turn") for heading in headings):
                return
            if headings:
                title, question = headings[-1], ""
            if "**Explain.**" in cell.source:  # the answer was no figure
                question = ""
            if found := PREDICT.findall(cell.source):
                question = re.sub(r"^> ?", "", found[-1], flags=re.M).strip()
            continue
        if "figure_strip(" in cell.source:
            continue
        for picture, words in figures(cell):
            if question:
                yield Slide(lesson, title, question=question)
            question = ""
            yield Slide(lesson, title, picture=picture, words=words)


def figures(cell: nbformat.NotebookNode) -> Iterator[tuple[str, str]]:
    """The pictures among a cell's outputs, as data: addresses, and their alt text."""
    for output in cell.outputs:
        for kind, content in output.get("data", {}).items():
            if kind in ("image/png", "image/jpeg"):
                alt = output.metadata.get(kind, {}).get("alt", "")
                yield f"data:{kind};base64,{''.join(content.split())}", alt


def shape(picture: str) -> str:
    """How a picture fills the screen best: "wide" by the width, "tall" by the height."""
    width, height = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).size
    return "wide" if width / height > 16 / 8 else "tall"


def page(deck: list[Slide]) -> str:
    """The deck as one HTML page."""
    sections = "\n".join(section(slide, number) for number, slide in enumerate(deck, 1))
    return TEMPLATE.read_text(encoding="utf-8").replace("{slides}", sections)


def section(slide: Slide, number: int) -> str:
    """One slide as HTML."""
    title = f"<p class=lesson>{html.escape(slide.lesson)}</p><h2>{markdown.renderInline(slide.title)}</h2>"
    if slide.question:
        body = f"<div class=question><strong>Predict.</strong>{markdown.render(slide.question)}</div>"
    else:
        alt = html.escape(slide.words, quote=True)
        body = f'<img class={shape(slide.picture)} src="{slide.picture}" alt="{alt}"><aside>{alt}</aside>'
    return f'<section id=s{number} tabindex=-1 aria-label="Slide {number}"><header>{title}</header>{body}</section>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build/slides", metavar="FOLDER")
    parser.add_argument("topics", nargs="*", metavar="TOPIC")
    args = parser.parse_args()
    titles = LESSONS | PAGES
    if unknown := [topic for topic in args.topics if topic not in titles]:
        sys.exit(f"There is no lesson {', '.join(unknown)}; there are: {', '.join(titles)}.")
    deck = []
    for topic in args.topics or titles:
        name = f"{lesson_number(topic)} · {titles[topic]}".removeprefix(" · ")
        deck += slides(name, nbformat.read(ROOT / "notebooks" / f"{notebook_name(topic)}.ipynb", as_version=4))
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        write_whole(args.output / "index.html", page(deck))
    except (OSError, BadInput) as error:
        sys.exit(f"The slides cannot be written: {error}")
    questions = sum(bool(slide.question) for slide in deck)
    size = (args.output / "index.html").stat().st_size / 1e6
    print(f"{args.output / 'index.html'}: {len(deck)} slides, {questions} of them questions, {size:.1f} MB")


if __name__ == "__main__":
    main()
