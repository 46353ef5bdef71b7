"""The one learner's tree: lessons without outputs, so that no answer stands beside its question, and no solutions."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from .. import notebook_name
from ..loading.errors import BadInput

_PACKAGE = Path(__file__).resolve().parent.parent
_FIRST = f"{notebook_name('onepage')}.ipynb"
#: A link to solutions, which do not lie beside a learner's lesson, and the words in its place.
_LINK, _WORDS = re.compile(r"\[[^]]*\]\(solutions[^)]*\)"), "`solutions/` (`sdlesson lab --solutions` lays them there)"


def find_lessons() -> Path:
    """The folder of the lessons: a checkout's `notebooks`, or `lessons` beside the environment, as a kit installs them.

    Raises BadInput where neither is there.
    """
    homes = [_PACKAGE.parent / "notebooks", Path(sys.prefix).parent / "lessons"]
    for folder in homes:
        if (folder / _FIRST).is_file():
            return folder
    raise BadInput(
        f"There are no lessons in {' or '.join(map(str, homes))}; start from a clone of the project or a kit."
    )


def learners_tree(lessons: Path, *, solutions: bool = False) -> dict[str, bytes]:
    """What a learner gets of the folder `lessons`: name -> content, names with "/" on every system.

    The lessons without outputs, the map of the lessons, and the pictures; `solutions` adds those, without outputs, too.
    Raises BadInput where solutions are asked for and none are there.
    """
    files = [*sorted(lessons.glob("*.ipynb")), *sorted(lessons.glob("README.md"))]
    files += [path for path in sorted((lessons / "images").glob("*")) if path.is_file()]
    solved = sorted((lessons / "solutions").glob("*.ipynb")) if solutions else []
    if solutions and not solved:
        raise BadInput(f"No solutions lie with these lessons ({lessons}); ask whoever gave them to you.")
    return {path.relative_to(lessons).as_posix(): _content(path) for path in [*files, *solved]}


def _content(path: Path) -> bytes:
    if path.suffix == ".md":
        return _LINK.sub(_WORDS, path.read_text(encoding="utf-8")).encode()
    if path.suffix != ".ipynb":
        return path.read_bytes()
    try:
        return unrun(path.read_bytes())
    except (ValueError, KeyError, TypeError, AttributeError):  # a conflict of git's in it, say
        raise BadInput(f"{path} is no notebook that can be read; bring it back with git or from the kit.") from None


def unrun(notebook: bytes) -> bytes:
    """The notebook as before its first run: no outputs, no numbers beside the cells, no link to solutions."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        else:
            cell["source"] = _LINK.sub(_WORDS, "".join(cell["source"])).splitlines(keepends=True)
    return f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode()
