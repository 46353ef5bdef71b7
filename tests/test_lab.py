"""The way in: the learner's tree holds no answers, nothing that a learner wrote is lost, and JupyterLab opens calm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from sdlesson import LESSONS, PAGES, notebook_name
from sdlesson.cli import main
from sdlesson.lab import copies, start, tree
from sdlesson.loading.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent
NAMES = [f"{notebook_name(topic)}.ipynb" for topic in LESSONS | PAGES]


def lesson(*sources: str, outputs: str = "") -> bytes:
    """A notebook with one code cell for each source, run if there are outputs."""
    said = [nbformat.v4.new_output("stream", text=outputs)] if outputs else []
    cells = [
        nbformat.v4.new_code_cell(source, id=f"cell-{k}", outputs=said, execution_count=k + 1 if said else None)
        for k, source in enumerate(sources)
    ]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode()


def change(path: Path, source: str = "print('mine')", outputs: str = "") -> bytes:
    path.write_bytes(lesson(source, outputs=outputs))
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path):
    """Copies of one lesson and one picture."""
    copies.renew({"a.ipynb": lesson("1"), "images/b.png": b"1"}, tmp_path / "copies")
    return tmp_path / "copies"


def left(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".handed_out.json")
    return {path.relative_to(folder).as_posix() for path in files}


def test_the_tree_has_every_lesson_without_outputs_and_solutions():
    published = tree.learners_tree(ROOT / "notebooks")
    assert set(published) == {*NAMES, "README.md", "images/strip.png"}
    for name in NAMES:
        notebook = nbformat.reads(published[name].decode(), as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code and not any(cell.outputs or cell.execution_count for cell in code)
        committed = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        assert [cell.id for cell in notebook.cells] == [cell.id for cell in committed.cells]
        assert [c.source for c in code] == [c.source for c in committed.cells if c.cell_type == "code"]
    assert not [name for name, content in published.items() if b"](solutions" in content]


def test_publishing_twice_is_publishing_once(tmp_path):
    published = tree.learners_tree(ROOT / "notebooks")
    copies.renew(published, tmp_path)
    assert tree.learners_tree(tmp_path) == published
    with pytest.raises(BadInput, match="No solutions lie with these lessons"):
        tree.learners_tree(tmp_path, solutions=True)


def test_solutions_come_if_asked_for():
    more = set(tree.learners_tree(ROOT / "notebooks", solutions=True)) - set(tree.learners_tree(ROOT / "notebooks"))
    assert more == {
        f"solutions/{name.removesuffix('.ipynb')}_solutions.ipynb" for name in NAMES if "questions" not in name
    }


def test_the_first_visit_lays_everything_down_and_the_next_one_says_nothing(tmp_path):
    new = {"a.ipynb": lesson("1"), "images/b.png": b"1"}
    assert copies.renew(new, tmp_path) == [f"1 lesson laid into {tmp_path}: yours to change."]
    assert left(tmp_path) == set(new) and copies.renew(new, tmp_path) == []


@pytest.mark.parametrize("work", ["nothing", "run", "an empty cell at the end"])
def test_an_untouched_copy_is_renewed(folder, work):
    if work != "nothing":
        (folder / "a.ipynb").write_bytes(lesson(*(["1", " "] if "empty" in work else ["1"]), outputs="2"))
    assert copies.renew({"a.ipynb": lesson("1"), "images/b.png": b"1"}, folder) == []  # nothing new: outputs stay
    assert (b"outputs" in (folder / "a.ipynb").read_bytes()) and left(folder) == {"a.ipynb", "images/b.png"}
    said = copies.renew({"a.ipynb": lesson("new"), "images/b.png": b"2"}, folder)
    assert said == ["Renewed, as you had not changed it: a.ipynb", "Renewed, as you had not changed it: images/b.png"]
    assert (folder / "a.ipynb").read_bytes() == lesson("new") and (folder / "images/b.png").read_bytes() == b"2"


def test_a_changed_copy_stays_and_the_new_lesson_comes_beside_it(folder):
    mine = change(folder / "a.ipynb")
    said = copies.renew({"a.ipynb": lesson("new")}, folder)
    assert said == ["You have changed or locked a.ipynb, so the new lesson came beside it, as a_new.ipynb."]
    assert (folder / "a.ipynb").read_bytes() == mine and (folder / "a_new.ipynb").read_bytes() == lesson("new")
    assert copies.renew({"a.ipynb": lesson("new")}, folder) == []
    copies.renew({"a.ipynb": lesson("newer")}, folder)  # the untouched one beside it is renewed
    assert (folder / "a_new.ipynb").read_bytes() == lesson("newer") and "a_new2.ipynb" not in left(folder)
    other = change(folder / "a_new.ipynb", "print('mine, too')")
    copies.renew({"a.ipynb": lesson("newest")}, folder)
    assert (folder / "a_new2.ipynb").read_bytes() == lesson("newest")
    assert [(folder / name).read_bytes() for name in ("a.ipynb", "a_new.ipynb")] == [mine, other]


def test_a_change_without_a_new_lesson_brings_nothing(folder):
    mine = change(folder / "a.ipynb")
    assert copies.renew({"a.ipynb": lesson("1")}, folder) == [] and (folder / "a.ipynb").read_bytes() == mine


def test_a_copy_that_may_not_be_written_to_stays(folder):
    old = (folder / "a.ipynb").read_bytes()
    (folder / "a.ipynb").chmod(0o444)
    said = copies.renew({"a.ipynb": lesson("new")}, folder)
    assert said == ["You have changed or locked a.ipynb, so the new lesson came beside it, as a_new.ipynb."]
    assert (folder / "a.ipynb").read_bytes() == old and (folder / "a_new.ipynb").read_bytes() == lesson("new")


@pytest.mark.parametrize("spoilt", [b"", b"no notebook", b'{"cells": 3}'])
def test_a_spoilt_copy_stays_and_a_deleted_one_comes_again(folder, spoilt):
    (folder / "a.ipynb").write_bytes(spoilt)
    copies.renew({"a.ipynb": lesson("new")}, folder)
    assert (folder / "a.ipynb").read_bytes() == spoilt and (folder / "a_new.ipynb").read_bytes() == lesson("new")
    (folder / "a.ipynb").unlink()
    copies.renew({"a.ipynb": lesson("new")}, folder)
    assert (folder / "a.ipynb").read_bytes() == lesson("new")


@pytest.mark.parametrize("record", [None, b"", b"[]", b"{"])
def test_without_its_record_nothing_of_a_learners_is_written_over(folder, record):
    mine = change(folder / "a.ipynb")
    (folder / ".handed_out.json").unlink()
    if record is not None:
        (folder / ".handed_out.json").write_bytes(record)
    copies.renew({"a.ipynb": lesson("new"), "images/b.png": b"1"}, folder)
    assert (folder / "a.ipynb").read_bytes() == mine and left(folder) == {"a.ipynb", "a_new.ipynb", "images/b.png"}


def test_a_link_or_a_folder_in_the_place_of_a_lesson_stays(folder):
    (folder / "a.ipynb").unlink()
    (folder / "a.ipynb").mkdir()
    copies.renew({"a.ipynb": lesson("new")}, folder)
    assert (folder / "a.ipynb").is_dir() and (folder / "a_new.ipynb").is_file()


def run(*words) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in words])
    return leaving.value.code


def test_the_command_makes_copies_that_git_does_not_see(tmp_path, capsys):
    assert run("lab", "--copies", "--into", tmp_path / "mine") == 0
    assert capsys.readouterr().out == f"{len(NAMES)} lessons laid into {tmp_path / 'mine'}: yours to change.\n"
    assert set(NAMES) < left(tmp_path / "mine")
    seen = subprocess.run(["git", "check-ignore", "my_lessons/a.ipynb"], cwd=ROOT, capture_output=True)
    assert seen.returncode in (0, 128)  # 128: no git repository here


def test_jupyterlab_gets_all_other_words_last(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(start, "start", lambda folder, more, **options: given.append((more, options)) or 0)
    words = ["--no-browser", "--port", "9000", "--allow-root"]
    assert run("lab", "--into", tmp_path, *words, "--projector") == 0
    assert given == [(words, {"projector": True})] and start.arguments(tmp_path, words)[-4:] == words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lab"], "does not start for the administrator (root)"),
        (["lab", "--copies", "--port=1"], "--copies starts no JupyterLab that could take --port=1"),
        (["paint", "a horse", "--no-browser"], "unrecognized arguments: --no-browser"),
        (["lab", "--copies", "--into", __file__], "cannot be"),
        (["lab", "--copies", "--into", f"{__file__}/~nobody-of-this-name"], "cannot be"),
    ],
)
def test_what_cannot_be_is_one_sentence(monkeypatch, capsys, words, said):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert run(*words) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and told.out == ""


def test_without_lessons_it_says_where_it_looked(monkeypatch, tmp_path):
    monkeypatch.setattr(tree, "_PACKAGE", tmp_path / "sdlesson")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    with pytest.raises(BadInput, match=r"There are no lessons in .*notebooks or .*lessons;"):
        tree.find_lessons()
    shutil.copytree(ROOT / "notebooks", tmp_path / "lessons", ignore=shutil.ignore_patterns("solutions"))
    assert tree.find_lessons() == tmp_path / "lessons"  # as a kit installs them


@pytest.mark.parametrize("projector", [False, True])
def test_calm_settings_come_once_and_are_then_the_learners(tmp_path, projector):
    words = start.prepare(tmp_path, projector=projector)
    (settings, workspaces) = (Path(word.partition("=")[2]) for word in words)
    themes = settings / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    assert ("code-font-size" in json.loads(themes.read_text())["overrides"]) == projector
    assert len(list(workspaces.glob("*.jupyterlab-workspace"))) == 1
    themes.write_text("{}")
    assert start.prepare(tmp_path, projector=projector) == words and themes.read_text() == "{}"
    assert set(start.prepare(tmp_path, projector=not projector)).isdisjoint(words)


def test_settings_that_a_kill_left_half_written_come_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(start, "_LAYOUT", object())  # which nobody can write
        with pytest.raises(TypeError):
            start.prepare(tmp_path)
    words = start.prepare(tmp_path)
    assert all(any(Path(word.partition("=")[2]).iterdir()) for word in words)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".jupyterlab").touch()
    with pytest.raises(BadInput, match="cannot be written"):
        start.prepare(tmp_path / "b")


def test_a_lesson_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "00_x.ipynb").write_text("<<<<<<< HEAD\n{}")
    with pytest.raises(BadInput, match="00_x.ipynb is no notebook that can be read"):
        tree.learners_tree(tmp_path)
