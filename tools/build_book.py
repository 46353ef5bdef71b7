"""Lay the book's pages out, and make a web site of them in build/book: `make book`.

Nothing is executed: the notebooks' stored outputs are shown. Warnings are errors, and at the end each link is checked.
"""

from __future__ import annotations

import ast
import itertools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import build_live
import nbformat
from check_book import check
from run_lessons import lessons

from sdlesson import LESSONS, PAGES, notebook_name
from sdlesson.loading.writing import replace_folder

ROOT = Path(__file__).resolve().parent.parent
BOOK, SITE, WORK = ROOT / "book", ROOT / "build" / "book", ROOT / "build" / "book-work"


def sources() -> dict[Path, Path]:
    """Each file that becomes a page or is shown on one, and its place among the pages."""
    own = {BOOK / f"{name}.md": f"{name.upper()}.md" for name in ("solutions", "glossary")}
    own[BOOK / "index.md"] = "index.md"
    texts = [ROOT / name for name in ("README.md", "TEACHING.md", "notebooks/README.md")]
    pictures = sorted((ROOT / "notebooks" / "images").iterdir())
    same = {path: path.relative_to(ROOT) for path in [*texts, *pictures, *lessons()] if path.exists()}
    return same | {path: Path(place) for path, place in own.items()}


def lay_out(pages: Path) -> None:
    """Copy the sources to their places in the folder `pages`, list the lessons in order, and write the API's pages."""
    for path, place in sources().items():
        (pages / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, pages / place)
    lists = {"{lessons}": [f"notebooks/{notebook_name(topic)}" for topic in LESSONS | PAGES]}
    lists["{api}"] = [f"api/{name}" for name in api()]
    index = (pages / "index.md").read_text(encoding="utf-8")
    for place, names in lists.items():
        index = index.replace(place, "\n".join(names))
    (pages / "index.md").write_text(index, encoding="utf-8")
    glossary = pages / "GLOSSARY.md"
    glossary.write_text(link_lessons(glossary.read_text(encoding="utf-8")), encoding="utf-8")
    (pages / "api").mkdir()
    for name, modules in api().items():
        (pages / "api" / f"{name}.md").write_text(api_page(name, modules), encoding="utf-8")
    for topic in rooms():
        link_api(pages / "notebooks" / f"{notebook_name(topic)}.ipynb", topic)
    for path in pages.rglob("*.ipynb"):
        fold_imports(path)


def link_lessons(text: str) -> str:
    """Put a link to the lesson in the place of each {topic}."""
    for topic, title in LESSONS.items():
        text = text.replace(f"{{{topic}}}", f"[{title}](notebooks/{notebook_name(topic)}.ipynb)")
    return text


def api() -> dict[str, list[str]]:
    """The API's pages in order, name -> the modules on it: one for each lesson, its figures and its explorer beside."""
    package = ROOT / "sdlesson"
    pages = {"models": ["models"]}
    for topic in rooms():
        beside = [
            f"{folder}.{topic}" for folder in ("figures", "explorers") if (package / folder / f"{topic}.py").is_file()
        ]
        pages[topic] = [topic, *beside]
    taken = {module for modules in pages.values() for module in modules}
    for folder in (
        "figures",
        "explorers",
        "exercises",
        "loading",
        "engine",
        "lab",
        "grading",
        "sweeps",
        "doctor",
        "world",
        "tiny",
    ):
        inside = [f"{folder}.{path.stem}" for path in sorted((package / folder).glob("*.py")) if path.stem[0] != "_"]
        judges = folder == "exercises"  # what they know is not for learners' eyes
        pages[folder] = [folder, *(module for module in inside if module not in taken and not judges)]
    return pages


def rooms() -> list[str]:
    """The topics of the lessons and pages that have a room: a module of the same name."""
    return [topic for topic in LESSONS | PAGES if (ROOT / "sdlesson" / f"{topic}.py").is_file()]


def api_page(name: str, modules: Sequence[str]) -> str:
    """One page of the API: every public name of `modules`, by its docstring."""
    title = (LESSONS | PAGES).get(name, name.capitalize())
    parts = [
        f"## sdlesson.{module}\n\n```{{eval-rst}}\n.. automodule:: sdlesson.{module}\n   :members:\n```"
        for module in modules
    ]
    return "\n\n".join([f"# {title}", *parts]) + "\n"


def link_api(path: Path, topic: str) -> None:
    """Lead from a lesson's page to its functions' page, and to a copy that runs, in a cell at its end."""
    notebook = nbformat.read(path, as_version=4)
    words = (
        f"What this lesson imports from `sdlesson` stands, function by function, under [{topic}](../api/{topic}.md). "
        "Here you read; to run this page, and to change it, see [how to start](../index.md#Start)."
    )
    notebook.cells.append(nbformat.v4.new_markdown_cell(words))
    nbformat.write(notebook, path)


def fold_imports(path: Path) -> None:
    """Leave the imports at the head of a page's first code in a folded cell, and lay the rest into one behind it."""
    notebook = nbformat.read(path, as_version=4)
    place, first = next((place, cell) for place, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    statements = ast.parse(first.source).body
    imports = list(itertools.takewhile(lambda each: isinstance(each, ast.Import | ast.ImportFrom), statements))
    if not imports:
        return
    lines, end = first.source.splitlines(), imports[-1].end_lineno
    first.source, first.metadata["tags"] = "\n".join(lines[:end]), ["hide-input"]
    if rest := "\n".join(lines[end:]).strip():
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(rest, outputs=first.outputs))
        first.outputs = []
    nbformat.write(notebook, path)


def build(pages: Path, site: Path, *, live: bool = False) -> int:
    """Make the web site of the pages, with links to the live page if it is there; 0 if nothing is wrong."""
    strict = ["-W", "--keep-going", "--quiet", "--doctree-dir", site.with_name("doctrees")]
    options = ["-D", f"live_page={live:d}", "-c", BOOK]
    return subprocess.call([sys.executable, "-m", "sphinx", *strict, *options, pages, site])


def main() -> int:
    shutil.rmtree(WORK, ignore_errors=True)  # each book is made from nothing, so that nothing old can hide in it
    lay_out(WORK / "pages")
    live = build_live.build(WORK / "live")
    if failed := build(WORK / "pages", WORK / "html", live=live):
        return failed
    if live:
        shutil.move(WORK / "live", WORK / "html" / "live")
    replace_folder(SITE, lambda part: shutil.copytree(WORK / "html", part, dirs_exist_ok=True))
    shutil.rmtree(WORK)
    return check(SITE)


if __name__ == "__main__":
    sys.exit(main())
