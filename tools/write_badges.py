"""Write links to Binder and Colab into each notebook and the README's table: `make badges REPOSITORY=owner/name`.

    python tools/write_badges.py owner/name [BRANCH]      a public repository on GitHub; its branch, if not main
    python tools/write_badges.py ""                       takes the links away again

On Colab the package is missing, so each notebook also gets a first code cell that installs it there. That cell counts
as the first one: run `make lessons` afterwards. The same call twice changes nothing.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from run_lessons import tidy

from sdlesson.loading.writing import write_whole

ROOT = Path(__file__).resolve().parent.parent
TAG = "colab"  # of the cell that installs
IN_NOTEBOOK = re.compile(r"\n\n\[Open in Binder\]\([^\n]*")
IN_TABLE = re.compile(
    r"^(\| \[[^\]]+\]\((notebooks/\w+\.ipynb)\))( · \[Binder\]\(\S+\) · \[Colab\]\(\S+\))? \|", flags=re.M
)
INSTALL = """\
# Installs the lessons' package where it is missing, as on Colab; elsewhere this cell does nothing.
from importlib.util import find_spec

if find_spec("sdlesson") is None:
    get_ipython().run_line_magic("pip", "install -q git+https://github.com/{repository}@{branch}")"""


class BadName(ValueError):
    """Not the name of a repository or a branch; the message is one sentence."""


def checked(repository: str, branch: str) -> tuple[str, str]:
    """Both names, if GitHub could have them."""
    if repository and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", repository):
        raise BadName(f"“{repository}” is not the name of a repository on GitHub: write owner/name.")
    if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", branch):
        raise BadName(f"“{branch}” is not the name of a branch.")
    return repository, branch


def addresses(place: str, repository: str, branch: str) -> tuple[str, str]:
    """Where Binder (a learner's copy, see postBuild) and Colab open the notebook that lies at `place`."""
    copy = re.sub(r"^notebooks/(?=\w+\.ipynb$)", "my_lessons/", place)
    binder = f"https://mybinder.org/v2/gh/{repository}/{branch.replace('/', '%2F')}?urlpath=lab/tree/{copy}"
    return binder, f"https://colab.research.google.com/github/{repository}/blob/{branch}/{place}"


def badge_notebook(notebook, place: str, repository: str, branch: str):
    """The notebook with the links below its title and the installing cell after its first one, or with neither."""
    head, *rest = notebook.cells
    head.source = IN_NOTEBOOK.sub("", head.source)
    installing = [cell for cell in rest if TAG in cell.metadata.get("tags", [])]
    rest = [cell for cell in rest if cell not in installing]
    if repository:
        binder, colab = addresses(place, repository, branch)
        title, *text = head.source.split("\n", 1)
        head.source = "\n".join([title, "", f"[Open in Binder]({binder}) · [Open in Colab]({colab})", *text])
        source = INSTALL.format(repository=repository, branch=branch)
        kept = [cell for cell in installing if cell.source == source]  # with its number, if it was run
        rest = (kept or [nbformat.v4.new_code_cell(source, metadata={"tags": [TAG]})])[:1] + rest
    notebook.cells = [head, *rest]
    return tidy(notebook)


def badge_table(text: str, repository: str, branch: str) -> str:
    """The README with the links in its table of lessons, or without them."""

    def row(found: re.Match) -> str:
        if not repository:
            return f"{found[1]} |"
        binder, colab = addresses(found[2], repository, branch)
        return f"{found[1]} · [Binder]({binder}) · [Colab]({colab}) |"

    return IN_TABLE.sub(row, text)


def write(root: Path, repository: str, branch: str = "main") -> int:
    """Write or take away all links below the folder `root`; how many files have changed. Raises BadName."""
    repository, branch = checked(repository, branch)
    readme, new = root / "README.md", {}
    new[readme] = badge_table(readme.read_text(encoding="utf-8"), repository, branch)
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            place = path.relative_to(root).as_posix()
            notebook = badge_notebook(nbformat.read(path, as_version=4), place, repository, branch)
            new[path] = nbformat.writes(notebook) + "\n"
    changed = [path for path, text in new.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        write_whole(path, new[path])
    return len(changed)


def main(arguments: list[str]) -> int:
    try:
        print(f"{write(ROOT, *(arguments or ['']))} files changed; now run: make lessons")
    except BadName as bad:
        print(bad, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
