"""How lessons come to a learner of the hub: real nbgitpuller on real repositories keeps all that the learner did."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "classroom"))

import publish  # noqa: E402
import server  # noqa: E402

pytest.importorskip("nbgitpuller", reason='needs nbgitpuller: pip install -e ".[hub]"')
pytestmark = pytest.mark.skipif(os.name == "nt" or not shutil.which("git"), reason="needs git on a Unix")

FIRST = ["# Latents", "steps = 20", "print(steps)", "guess = ...", "check(guess)"]
SECOND = ["# Latents", "steps = 20", "print(steps + 1)", "guess = ...  # in pixels", "check(guess)", "# The end"]
MINE = "guess = 48  # mine"


def lesson(sources: list[str], *, run: bool = False) -> bytes:
    """A notebook with a code cell for each source; `run`: with numbers and outputs, as JupyterLab saves it."""
    said = [nbformat.v4.new_output("stream", text=f"said {k}\n") for k in range(len(sources))]
    cells = [
        nbformat.v4.new_code_cell(
            source, id=f"cell-{k:02d}", outputs=said[k : k + run], execution_count=k + 1 if run else None
        )
        for k, source in enumerate(sources)
    ]
    return f"{nbformat.writes(nbformat.v4.new_notebook(cells=cells))}\n".encode()


OLD = {"03_latents.ipynb": lesson(FIRST), "04_sigmas.ipynb": lesson(["s = 1"]), "README.md": b"one\n"}
NEW = {"03_latents.ipynb": lesson(SECOND), "04_sigmas.ipynb": lesson(["s = 2"]), "README.md": b"two\n"}
NEW |= {"05_unet.ipynb": lesson(["unet = 1"])}


class Home:
    """A learner's folder with lessons, and the repository that they come from."""

    def __init__(self, folder: Path):
        self.repository, self.lessons = folder / "lessons.git", folder / "home/lessons"
        self.lessons.parent.mkdir(parents=True)
        publish.publish(OLD, self.repository)

    def pull(self, **changed) -> subprocess.CompletedProcess:
        """What the hub's page does: nbgitpuller, with its own command."""
        command = [sys.executable, "-c", "from nbgitpuller.pull import main; main()"]
        command += [f"file://{self.repository}", "main", str(self.lessons)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment = clean | {"HOME": str(self.lessons.parent), **changed}
        return subprocess.run(
            command,
            env=environment,
            cwd=self.lessons.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )

    def brought(self) -> None:
        done = self.pull()
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-300:]

    def sources(self, name: str = "03_latents.ipynb") -> list[str]:
        notebook = nbformat.read(self.lessons / name, as_version=4)
        nbformat.validate(notebook)
        return [cell.source for cell in notebook.cells]

    def answer(self) -> None:
        """The learner runs the lesson and answers its question."""
        work = [MINE if source.startswith("guess") else source for source in FIRST]
        (self.lessons / "03_latents.ipynb").write_bytes(lesson(work, run=True))


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    made.brought()
    return made


def test_lessons_come_and_an_update_comes_to_what_nobody_changed(home):
    assert {path.name for path in home.lessons.iterdir()} == {*OLD, ".git"}
    assert publish.publish(NEW, home.repository) and not publish.publish(NEW, home.repository)
    home.brought()
    assert {name: (home.lessons / name).read_bytes() for name in NEW} == NEW


def test_what_is_published_no_longer_goes_unless_the_learner_changed_it(home):
    home.answer()
    publish.publish({"README.md": b"two\n"}, home.repository)
    home.brought()
    assert MINE in home.sources() and not (home.lessons / "04_sigmas.ipynb").exists()


def test_a_cell_that_both_changed_stays_the_learners(home):
    home.answer()
    publish.publish(NEW, home.repository)
    home.brought()
    assert MINE in home.sources() and home.sources("04_sigmas.ipynb") == ["s = 2"]


def test_a_deleted_file_comes_again(home):
    (home.lessons / "03_latents.ipynb").unlink()
    publish.publish(NEW, home.repository)
    home.brought()
    assert home.sources() == SECOND


def test_a_renamed_file_stays_and_the_lesson_comes_beside_it(home):
    home.answer()
    (home.lessons / "03_latents.ipynb").rename(home.lessons / "mine.ipynb")
    mine = (home.lessons / "mine.ipynb").read_bytes()
    publish.publish(NEW, home.repository)
    home.brought()
    assert (home.lessons / "mine.ipynb").read_bytes() == mine and home.sources() == SECOND


def test_a_file_of_a_name_that_the_update_brings_gets_another_name(home):
    mine = lesson(["my own unet"])
    (home.lessons / "05_unet.ipynb").write_bytes(mine)
    publish.publish(NEW, home.repository)
    home.brought()
    (kept,) = home.lessons.glob("05_unet__*.ipynb")
    assert kept.read_bytes() == mine and home.sources("05_unet.ipynb") == ["unet = 1"]


def test_a_notebook_that_is_open_is_saved_over_the_update_and_stays_so(home):
    from jupyter_server.services.contents.largefilemanager import LargeFileManager

    contents = LargeFileManager(root_dir=str(home.lessons))
    opened = contents.get("03_latents.ipynb")
    publish.publish(NEW, home.repository)
    home.brought()
    opened["content"]["cells"][3]["source"] = MINE
    contents.save(opened, "03_latents.ipynb")
    assert home.sources() == [*FIRST[:3], MINE, FIRST[4]]  # all that was in the browser, and nothing of the update
    publish.publish(NEW | {"README.md": b"three\n"}, home.repository)
    home.brought()
    assert home.sources() == [*FIRST[:3], MINE, FIRST[4]] and (home.lessons / "README.md").read_bytes() == b"three\n"


#: In git's place: ends nbgitpuller and all its children at the call of that number, before git begins or soon after.
SHIM = """#!/bin/sh
echo call >> "{calls}"
if [ "$(wc -l < "{calls}")" -eq {number} ]; then
    if [ {seconds} != 0 ]; then "{git}" "$@" & sleep {seconds}; fi
    kill -9 0
fi
exec "{git}" "$@"
"""


def cut(home: Home, folder: Path, number: int, seconds: float) -> bool:
    """Pull, killed at git's call of this number; False where there are fewer calls."""
    folder.mkdir()
    text = SHIM.format(calls=folder / "calls", number=number, seconds=seconds, git=shutil.which("git"))
    (folder / "git").write_text(text)
    (folder / "git").chmod(0o755)
    done = home.pull(PATH=f"{folder}:{os.environ['PATH']}")
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("seconds", [0, 0.004], ids=["between", "within"])
def test_a_pull_that_is_cut_off_anywhere_is_made_good_by_the_next(tmp_path, seconds):
    (start := Home(tmp_path / "start")).brought()
    start.answer()
    (start.lessons / "05_unet.ipynb").write_bytes(lesson(["my own unet"]))
    publish.publish(NEW, start.repository)
    ends = 0
    for number in range(1, 40, 2 if seconds == 0 else 3):
        place = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "start", place, symlinks=True)
        home = Home.__new__(Home)
        home.repository, home.lessons = start.repository, place / "home/lessons"
        if not cut(home, tmp_path / f"shim-{number}", number, seconds):
            break
        ends += 1
        assert MINE in home.sources()  # at once, before anything is mended
        server.mend(home.lessons)  # as the learner's next server does before it begins
        home.brought()
        assert MINE in home.sources() and home.sources("04_sigmas.ipynb") == ["s = 2"]
        (kept,) = home.lessons.glob("05_unet__*.ipynb")
        assert kept.read_bytes() == lesson(["my own unet"]) and home.sources("05_unet.ipynb") == ["unet = 1"]
    assert ends >= (4 if seconds == 0 else 3)


@pytest.mark.parametrize("indexed", [False, True], ids=["files", "files and index"])
def test_a_merge_that_was_killed_with_its_files_there_is_made_good(home, indexed):
    home.answer()
    mine = lesson(["my own unet"])
    (home.lessons / "05_unet__20260101000000.ipynb").write_bytes(mine)  # as nbgitpuller named it before the merge
    publish.publish(NEW, home.repository)
    for words in [("fetch",), ("checkout", "origin/main", "--", "05_unet.ipynb"), *[("reset",)] * (not indexed)]:
        subprocess.run(["git", "-C", home.lessons, *words], check=True, capture_output=True)
    server.mend(home.lessons)
    home.brought()
    (kept,) = home.lessons.glob("05_unet__*.ipynb")
    assert kept.read_bytes() == mine and home.sources("05_unet.ipynb") == ["unet = 1"] and MINE in home.sources()


def test_a_first_pull_that_is_cut_off_is_begun_again(tmp_path):
    home = Home(tmp_path)
    assert cut(home, tmp_path / "shim", 3, 0.01)  # the third call is the clone
    assert {path.name for path in home.lessons.iterdir()} == {".git"} and home.pull().returncode != 0
    server.mend(home.lessons)
    home.brought()
    assert home.sources() == FIRST
    for path in home.lessons.glob("*.*"):
        if path.is_file():
            path.unlink()
    server.mend(home.lessons)
    assert home.lessons.is_dir()  # all deleted by the learner: earlier answers lie in the repository
