"""Lay the book's pages out, and make a web site of them in build/book: `make book`.

Nothing is executed: the notebooks' stored outputs are shown. Warnings are errors, and at the end each link is checked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from check_book import check
from run_lessons import lessons

from sdlesson.files import replace_folder

ROOT = Path(__file__).resolve().parent.parent
BOOK, SITE, WORK = ROOT / "book", ROOT / "build" / "book", ROOT / "build" / "book-work"


def sources() -> dict[Path, Path]:
    """Each file that becomes a page or is shown on one, and its place among the pages."""
    own = {BOOK / "index.md": "index.md", BOOK / "solutions.md": "SOLUTIONS.md"}
    texts = [ROOT / name for name in ("README.md", "TEACHING.md", "notebooks/README.md")]
    pictures = sorted((ROOT / "notebooks" / "images").iterdir())
    same = {path: path.relative_to(ROOT) for path in [*texts, *pictures, *lessons()] if path.exists()}
    return same | {path: Path(place) for path, place in own.items()}


def lay_out(pages: Path) -> None:
    """Copy the sources to their places in the folder `pages`."""
    for path, place in sources().items():
        (pages / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, pages / place)


def build(pages: Path, site: Path) -> int:
    """Make the web site of the pages; 0 if Sphinx finds nothing to warn of."""
    strict = ["-W", "--keep-going", "--quiet", "--doctree-dir", site.with_name("doctrees")]
    return subprocess.call([sys.executable, "-m", "sphinx", *strict, "-c", BOOK, pages, site])


def main() -> int:
    shutil.rmtree(WORK, ignore_errors=True)  # each book is made from nothing, so that nothing old can hide in it
    lay_out(WORK / "pages")
    if failed := build(WORK / "pages", WORK / "html"):
        return failed
    replace_folder(SITE, lambda part: shutil.copytree(WORK / "html", part, dirs_exist_ok=True))
    shutil.rmtree(WORK)
    return check(SITE)


if __name__ == "__main__":
    sys.exit(main())
