"""Links to Binder and Colab: on copies of the lessons, written, written twice, and taken away without a trace."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import write_badges  # noqa: E402
from run_lessons import lessons  # noqa: E402

NAMES = [path.relative_to(ROOT).as_posix() for path in lessons()]
REPOSITORY = "owner/name"


@pytest.fixture
def project(tmp_path):
    """A copy of the README and of all notebooks."""
    for name in ["README.md", *NAMES]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    write_badges.write(tmp_path, "")  # a fork's own links
    return tmp_path


def files(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in ["README.md", *NAMES]}


def test_the_links_are_taken_away_without_a_trace(project):
    without = files(project)
    write_badges.write(project, REPOSITORY)
    assert write_badges.write(project, "") == len(NAMES) + 1
    assert files(project) == without


def test_each_notebook_gets_both_links_and_the_installing_cell(project):
    write_badges.write(project, REPOSITORY)
    readme = (project / "README.md").read_text()
    for name in NAMES:
        notebook = nbformat.read(project / name, as_version=4)
        nbformat.validate(notebook)
        binder, colab = write_badges.addresses(name, REPOSITORY, "main")
        assert notebook.cells[0].source.splitlines()[0].startswith("# ")
        assert notebook.cells[0].source.splitlines()[2] == f"[Open in Binder]({binder}) · [Open in Colab]({colab})"
        assert notebook.cells[1].metadata.tags == ["colab"] and "git+" in notebook.cells[1].source
        assert name.count("/") > 1 or readme.count(binder) == readme.count(colab) == 1


def test_the_same_call_twice_changes_nothing_and_keeps_what_was_run(project):
    write_badges.write(project, REPOSITORY)
    path = project / NAMES[0]
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 1
    nbformat.write(notebook, path)
    assert write_badges.write(project, REPOSITORY) == 0
    assert nbformat.read(path, as_version=4).cells[1].execution_count == 1


def test_another_repository_takes_the_place_of_the_first(project):
    write_badges.write(project, "the-first/one")
    write_badges.write(project, "somebody/else", "a/branch")
    together = b"".join(files(project).values())
    assert b"the-first/one" not in together
    assert together.count(b"@a/branch") == len(NAMES) and b"somebody/else/a%2Fbranch?" in together


@pytest.mark.parametrize("name", ["owner", "owner/", "/name", "a b/c", "owner/name/more", 'o/n" --x', "https://a/b"])
def test_a_malformed_name_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(write_badges, "ROOT", tmp_path)  # where no file is: it is refused before any is read
    assert write_badges.main([name]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and name in said and "owner/name" in said


def test_the_installing_cell_installs_only_where_the_package_is_missing(monkeypatch):
    source, asked = write_badges.INSTALL.format(repository=REPOSITORY, branch="main"), []

    class Shell:
        def run_line_magic(self, *magic):
            asked.append(magic)

    exec(source, {"get_ipython": Shell})
    assert asked == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(source, {"get_ipython": Shell})
    assert asked == [("pip", "install -q git+https://github.com/owner/name@main")]
