"""The repository itself: one list of dependencies, clean notebooks, nothing of anybody's machine, a clean linter."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import sdlesson
from sdlesson import PAGES, lesson_number, notebook_name

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "sdlesson" / "checkpoint"
PARTS = ["tokenizer", "text_encoder", "unet", "vae", "scheduler", "clip"]
FILES = ["model_index.json", "sdlesson.json", "README.md"]
LEFT_BEHIND = {".git", ".venv", ".ruff_cache", ".pytest_cache", "__pycache__", ".ipynb_checkpoints", "runs", "build"}


def git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def project_files() -> list[Path]:
    """The files that belong to the project: git's list, or (without git) all but what tools leave behind."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard")
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not LEFT_BEHIND & set(path.parts)]


NOTEBOOKS = sorted(path for path in project_files() if path.suffix == ".ipynb")
LESSONS = [path for path in NOTEBOOKS if path.parent.name == "notebooks"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def declared() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [canonical(each) for group in (project["dependencies"], *extras) for each in group]


def test_each_dependency_is_named_once():
    names = [name for name in declared() if name != "sdlesson"]  # one extra may hold another
    assert len(names) == len(set(names))
    conda = (ROOT / "environment.yml").read_text()
    items = re.findall(r"^\s*- ([^:\n]+)$", conda.partition("dependencies:")[2], flags=re.M)
    assert [item for item in items if not re.match(r"(python|pip|-c|-e)\b", item)] == []


def test_every_dependency_has_a_tested_version():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line) for line in lines), (
        "pins only, no local versions"
    )
    pinned = {canonical(line) for line in lines}
    assert set(declared()) - {"sdlesson"} <= pinned  # one extra may hold another


def test_nothing_of_a_machine_is_written_down():
    homes = re.compile("|".join(("/home" + "/", "/Users" + "/", "/root" + "/", "/work" + "/", "/tmp" + "/")))
    found = {}
    for path in project_files():
        if path.suffix not in {".py", ".md", ".ipynb", ".toml", ".txt", ".yml", ".json", ".cfg", ""}:
            continue
        hits = homes.findall(path.read_text(encoding="utf-8", errors="replace"))
        if hits:
            found[str(path.relative_to(ROOT))] = hits
    assert found == {}


def test_the_checkpoint_is_small_and_holds_no_pickle():
    files = [path for path in CHECKPOINT.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".txt", ".png"}
    assert sum(path.stat().st_size for path in files) <= 32 * 10**6
    assert [name for name in PARTS + FILES if not (CHECKPOINT / name).exists()] == []


def test_git_ignores_no_file_of_the_package():
    # the wheel takes from sdlesson/ what git does not ignore
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "sdlesson").rglob("*") if path.is_file()]
    kept = [name for name in files if "__pycache__" not in name]
    ignored = git("check-ignore", *kept)
    if ignored.returncode == 128:
        pytest.skip("no git repository here")
    assert ignored.stdout == ""


def test_ruff_finds_nothing():
    ruff = [sys.executable, "-m", "ruff", "check", "--quiet", "."]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["README.md", "notebooks/README.md", "sdlesson/README.md"])
def test_each_map_lists_the_lessons_in_their_order(name):
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    rows = [re.match(r"\| \[([^]]+)\]\([^)]*?([^/)]+)\.ipynb\)", line) for line in lines]
    listed = [(row[1], row[2]) for row in rows if row]
    titles = [
        f"{lesson_number(topic)} · {title}".removeprefix(" · ") for topic, title in (sdlesson.LESSONS | PAGES).items()
    ]
    assert listed == list(zip(titles, map(notebook_name, sdlesson.LESSONS | PAGES), strict=True))


def test_lessons_are_the_notebooks_and_each_has_its_room_figures_and_judges():
    assert [path.stem for path in LESSONS] == sorted(notebook_name(topic) for topic in sdlesson.LESSONS | PAGES)
    for topic in [*sdlesson.LESSONS, "symptoms"]:
        for folder in ("", "figures", "exercises"):
            assert (ROOT / "sdlesson" / folder / f"{topic}.py").is_file(), (topic, folder)
        assert (ROOT / "tests" / f"test_{topic}.py").is_file(), topic


def test_editors_know_the_names_that_are_loaded_lazily():
    stub = ast.parse((ROOT / "sdlesson" / "__init__.pyi").read_text(encoding="utf-8"))
    imported = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    told = imported | {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    assert set(sdlesson.__all__) <= told and (ROOT / "sdlesson" / "py.typed").is_file()
    assert [name for name in told if not hasattr(sdlesson, name)] == []


def test_the_tree_stays_within_its_weight():
    """What a clone without history fetches: 60 MB, of which the model has 32 at most."""
    assert sum(path.stat().st_size for path in project_files()) <= 60 * 10**6


def test_nothing_but_the_order_knows_a_lessons_number():
    written = re.compile(r"\b[Ll]esson \d|lesson_\d|[\"'`](?:0\d|1\d)\.\d[\"'`]|\b(?:0\d|1\d) · ")
    texts = {path: path.read_text(encoding="utf-8") for path in project_files() if path.suffix == ".py"}
    found = {str(path.relative_to(ROOT)): written.findall(text) for path, text in texts.items()}
    former = {
        "tests/test_repo.py",
        "tests/test_exercises.py",
        "sdlesson/exercises/__init__.py",
    }  # a progress.json of before
    assert {name: hits for name, hits in found.items() if hits and name not in former} == {}


def test_readme_names_what_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, flags=re.M)) <= targets
    targets = links(text) + re.findall(r'src="(?!https?:)([^"]+)"', text)
    assert targets and [target for target in targets if not (ROOT / target).exists()] == []
    assert [lesson.name for lesson in LESSONS if lesson.name not in text] == []


def links(text: str) -> list[str]:
    """Where the Markdown links of `text` lead, those to the web and within the page left out."""
    return re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text)


def test_the_map_of_the_lessons_names_them_all():
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert [lesson.name for lesson in LESSONS if lesson.name not in text] == []
    assert [link for link in links(text) if not (ROOT / "notebooks" / link).exists()] == []
    assert not re.search(r"TIME\d\d", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(path):
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [link for link in links(text) if not (path.parent / link).exists()] == []
    assert "COMPUTING" not in text


def test_notebooks_were_run_from_top_to_bottom(notebook):
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"


def test_notebooks_are_small(notebook):
    assert len(json.dumps(notebook)) < 1.5e6


def test_every_figure_says_in_words_what_it_shows(notebook):
    pictures = [
        output.metadata.get(kind, {})
        for cell in code_cells(notebook)
        for output in cell.outputs
        for kind in output.get("data", {})
        if kind.startswith("image/")
    ]
    assert [about for about in pictures if len(about.get("alt", "")) < 20] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_line_of_code_scrolls_sideways(path):
    """A laptop's screen shows 100 characters of a cell."""
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [line for cell in cells for line in cell.source.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.name)
def test_every_lesson_ends_with_a_way_on(lesson):
    last = nbformat.read(lesson, as_version=4).cells[-1].source
    assert re.search(r"^\*\*Next\.\*\* .*\]\([\w.]+\)", last, flags=re.M)


def test_a_third_of_the_cells_can_be_compared(notebook):
    def comparable(cell):
        return "assert" in cell.source or any(output.output_type == "stream" for output in cell.outputs)

    cells = code_cells(notebook)
    assert sum(map(comparable, cells)) >= len(cells) / 3


def test_the_words_are_plain(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"\b(simply|just|obviously|trivial(?:ly)?|of course|clearly)\b", text, flags=re.I) == []


def test_notebooks_retype_no_function_of_the_package(notebook):
    def shape(function):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        return tuple(ast.dump(statement) for statement in body)

    def functions(source):
        return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]

    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "sdlesson").rglob("*.py")]
    package = {shape(each): each.name for source in sources for each in functions(source)}
    typed = [each for cell in code_cells(notebook) for each in functions(cell.source) if len(each.body) > 1]
    retyped = [f"{each.name} is {package[shape(each)]}" for each in typed if shape(each) in package]
    assert retyped == []


@pytest.mark.parametrize("lesson", [path for path in LESSONS if path.name[:2].isdigit()], ids=lambda path: path.name)
def test_every_lesson_has_something_to_break(lesson):
    cells = nbformat.read(lesson, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert re.search(r"^#+ .*\bBreak it\b", text, flags=re.M)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.name)
def test_sections_are_numbered_without_a_gap(lesson):
    cells = nbformat.read(lesson, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    numbers = [int(number) for number in re.findall(r"^## (\d+) · ", text, flags=re.M)]
    assert len(numbers) >= 3 and numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("lesson", [path for path in LESSONS if path.stem != "questions"], ids=lambda path: path.name)
def test_every_exercise_has_a_solution_that_is_right(lesson):
    def tasks(path):
        cells = code_cells(nbformat.read(path, as_version=4))
        return {name: cell for cell in cells for name in re.findall(r'check\("([^"]+)"', cell.source)}

    solved = tasks(lesson.parent / "solutions" / f"{lesson.stem}_solutions.ipynb")
    assert len(tasks(lesson)) >= 3 and set(tasks(lesson)) == set(solved)
    for name, cell in solved.items():
        assert f"{name}: well done!" in "".join(output.get("text", "") for output in cell.outputs)
