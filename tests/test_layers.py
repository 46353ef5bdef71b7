"""Who may import whom: the data's way is the lessons' order, maths knows no drawing, and nothing goes in circles."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

from sdlesson import LESSONS, PAGES

PACKAGE = Path(__file__).resolve().parent.parent / "sdlesson"

#: From the ground up. A module imports its own layer and those before it; the rooms are layers of their own, in order.
LAYERS = [
    "sdlesson",  # the names, and the lessons' order
    "loading",
    "engine",
    "world",
    "models",
    "tiny.optimizer",  # a tool of its own; the lesson on training trains with it
    *LESSONS,
    *PAGES,
    "figures",
    "explorers",
    "exercises",
    "tiny",
    "lab",
    "doctor",  # what `sdlesson doctor` reports
    "sweeps",  # many runs, and what they show
    "grading",  # `sdlesson grade`, for instructors
    "cli",
    "__main__",
]


def modules(package: Path) -> dict[str, Path]:
    """Every module of `package` by its dotted name, without the package's own."""
    files = {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}
    return {name.removesuffix("__init__").rstrip(".") or package.name: path for name, path in files.items()}


def imports(package: Path) -> dict[str, set[str]]:
    """Each module -> the modules of the same package that it imports, anywhere in it, those for type checks too."""
    files = modules(package)
    return {name: {each for each in _named(name, path, files) if each != name} for name, path in files.items()}


def _named(name: str, path: Path, files: dict[str, Path]) -> set[str]:
    parts = [package_of(path), *name.split(".")] if name != package_of(path) else [name]
    base = parts if path.name == "__init__.py" else parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            origins = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            where = base[: len(base) + 1 - node.level] if node.level else []
            whole = ".".join([*where, *(node.module or "").split(".")]).strip(".")
            origins = [(whole, alias.name) for alias in node.names]
        else:
            continue
        for whole, alias in origins:
            if whole.split(".")[0] == package_of(path):
                inner = whole.partition(".")[2]
                deeper = f"{inner}.{alias}".strip(".")
                found.add(deeper if deeper in files else inner or package_of(path))
    return found


def package_of(path: Path) -> str:
    """The name of the outermost package that `path` lies in."""
    return next(parent.name for parent in reversed(path.parents) if (parent / "__init__.py").is_file())


def layer(module: str) -> int:
    """The place of a module in LAYERS: that of its own name or of the nearest folder around it."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next(LAYERS.index(name) for name in names if name in LAYERS)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of imports, or nothing."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Every import of something that stands further up."""
    return sorted(f"{name} -> {each}" for name, into in graph.items() for each in into if layer(each) > layer(name))


def test_nothing_is_imported_in_a_circle():
    assert circle(imports(PACKAGE)) == []


def test_no_arrow_leads_upward():
    assert upward(imports(PACKAGE)) == []


@pytest.mark.parametrize(
    ("file", "line", "arrow"),
    [
        ("tokens.py", "from .guidance import denoise", "tokens -> guidance"),
        ("sigmas.py", "from .figures.base import BLUE", "sigmas -> figures.base"),
        ("loading/errors.py", "def f():\n    from ..models import load", "loading.errors -> models"),
        ("world/captions.py", "import sdlesson.tiny.data", "world.captions -> tiny.data"),
    ],
)
def test_an_arrow_that_leads_upward_is_seen(tmp_path, file, line, arrow):
    package = tmp_path / "sdlesson"
    for path in modules(PACKAGE).values():
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8") + (f"\n{line}\n" if path == PACKAGE / file else ""))
    assert arrow in upward(imports(package))
    assert upward(imports(PACKAGE)) == []


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and circle({"a": {"b"}, "b": set()}) == []
