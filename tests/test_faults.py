"""Faults: each command is killed before each change of the disk and in its writes, then given again. `make faults`.

After each kill every file that stood there, or was finished, is whole: as before, or as the command leaves it. The same
command, given again, ends as if nothing had happened; what the kill left is gone with the next run. Then the disk is
full, closed, or there is no HOME or little memory: one sentence, and nothing lost.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from kill import killed, kills
from PIL import Image
from test_grading import GUIDE, handed_in
from test_kit import FEW, TORCH, FakePip, make_kit
from test_make import PROGRAMS, Checkout
from test_tiny import SMOKE_RUN

import sdlesson
from sdlesson import cli, exercises
from sdlesson.grading import judge, room, sandbox
from sdlesson.lab import copies
from sdlesson.tiny.__main__ import main as train
from sdlesson.tiny.export import export

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is killed"),
    pytest.mark.skipif("SDLESSON_FAULTS" not in os.environ, reason="`make faults` runs it: it takes long"),
]

SIZES = [0, 1, 100, 1_000, 10_000, 60_000]  # bytes after which a write is killed, or the disk is full
POINTS: dict[str, int] = {}


@pytest.fixture(scope="module", autouse=True)
def told():
    """Say at the end how many times each command was killed."""
    yield
    print(f"\nkilled {sum(POINTS.values())} times:", POINTS)


@dataclass
class Work:
    """A command that works in the folder in which it is given: what stands there before, the command, its products."""

    before: Callable[[], object]
    command: Callable[[], object]
    exact: bool = True  # does it make the same bytes each time? Wheels hold the time at which they were made


def quietly(command: Callable[[], object]) -> Callable[[], object]:
    def run():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return command()

    return run


def left(code, ends=(0, None)):
    """Run the command line `code`; fail unless it leaves with one of `ends`."""
    with pytest.raises(SystemExit) as exited:
        code()
    assert exited.value.code in ends


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a Dask scheduler and its worker, each a process of its own, which no kill of a sweep meets."""
    home = tmp_path_factory.mktemp("cluster")
    named = ["--scheduler-file", "scheduler.json"]
    commands = [["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], ["dask_worker"]]
    running = []
    for name, *words in commands:
        command = [sys.executable, "-m", f"distributed.cli.{name}", *words, *named]
        running.append(subprocess.Popen(command, cwd=home, stderr=subprocess.DEVNULL))
    deadline = time.monotonic() + 60
    while not (home / "scheduler.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    yield json.loads((home / "scheduler.json").read_text())["address"]
    for each in running:
        each.kill()


def say_right(self, folder, notebooks, **more):
    """A judge that runs nothing."""
    return {"exercises": {"onepage.3": [judge.RIGHT, ""]}, "notes": []}


@pytest.fixture(scope="module")
def toys(toy_folder, cluster, tmp_path_factory):
    """A small training run with every stage done, a cluster, and the kit's installer, whose every command succeeds."""
    torch.set_num_threads(1)  # a fork has no threads but its own
    home = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        committed = make_kit.committed
        patch.setattr(make_kit, "committed", lambda *names: committed(*make_kit.TEXTS, "TEACHING.md", *FEW))
        patch.setattr(make_kit, "package_files", lambda: {"sdlesson/__init__.py"})
        assert train([*SMOKE_RUN, "--minutes", "0.05", "--out", str(home / "run")]) == 0
        make_kit.make(home / "kit", [], FakePip())
        spec = importlib.util.spec_from_file_location("install", home / "kit/learner/install.py")
        installer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(installer)
        patch.setattr(installer, "run", lambda *_: None)
        patch.setenv("SDLESSON_MODEL", str(toy_folder))
        patch.setattr(sandbox, "check_sandbox", lambda *_: None)
        patch.setattr(room.Room, "_judge", say_right)
        yield {"run": home / "run", "installer": installer, "cluster": cluster}


def works(toys) -> dict[str, Work]:
    """Every command that writes; one line more for each new one."""
    run, paint = toys["run"], ["paint", "a horse", "--steps", "1", "--size", "16x16"]
    tree = {"a.ipynb": b'{"cells": [{"cell_type": "code", "source": "1"}]}', "images/b.png": b"1"}

    def renewed():
        copies.renew({"a.ipynb": b'{"cells": []}', "gone.png": b"0"}, Path("mine"))

    def trained(*lost):
        def before():
            shutil.copytree(run, "run")
            for name in lost:
                shutil.rmtree(f"run/{name}") if Path(f"run/{name}").is_dir() else Path(f"run/{name}").unlink()

        return before

    def swept(*seeds):
        return lambda: sdlesson.sweep("a horse", seeds, steps=1, into="swept", scheduler=toys["cluster"])

    def submitted():
        for name in ("subs/anna", "subs/bert", "hand"):
            handed_in(Path(name), GUIDE)

    def stage(names):
        return lambda: train([*SMOKE_RUN, "--minutes", "0.05", "--out", "run", "--stages", names]) and 1 / 0

    return {
        "paint": Work(
            lambda: Path("a.png").write_bytes(picture()), lambda: left(lambda: cli.main([*paint, "-o", "a.png"]))
        ),
        "paint several": Work(lambda: None, lambda: left(lambda: cli.main([*paint, "-n", "3", "-o", "b.png"]))),
        "trace": Work(lambda: None, lambda: left(lambda: cli.main([*paint, "-o", "a.png", "--trace", "t"]))),
        "progress": Work(lambda: exercises._add("onepage.1"), lambda: exercises._add("onepage.2")),
        "lessons": Work(renewed, lambda: copies.renew(tree, Path("mine"))),
        "export": Work(lambda: export(run, Path("model")), lambda: export(run, Path("model"))),
        "training, pictures": Work(trained("pictures", "tokenizer"), stage("pictures,tokenizer")),
        "training, latents": Work(trained("latents.npy"), stage("latents")),
        "training, export": Work(trained(), stage("export")),
        "kit": Work(
            lambda: make_kit.make(Path("kit"), [], FakePip(torch=TORCH.replace("2.13", "2.12"))),
            lambda: make_kit.make(Path("kit"), [], FakePip()),
            exact=False,
        ),
        "installer": Work(lambda: None, lambda: toys["installer"].main(["seat"])),
        "sweep": Work(swept(1), swept(1, 2)),
        "grades": Work(
            submitted, lambda: left(lambda: cli.main(["grade", "subs", "--handed-out", "hand", "--for", "moodle"]))
        ),
    }


NAMES = ["paint", "paint several", "trace", "progress", "lessons", "export", "kit", "installer"]
NAMES += ["training, pictures", "training, latents", "training, export", "sweep", "grades"]


def picture() -> bytes:
    """A PNG that stood there before."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(file, "PNG")
    return file.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` and what is in it, but what a running command hides."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in found}
    return {str(name): path.read_bytes() for name, path in names.items() if not any(p[0] == "." for p in name.parts)}


def mended(folder: Path) -> None:
    """What the next run does first: folders between two renames are put right."""
    from sdlesson.loading.writing import recover_all

    for home in {folder, *(path for path in folder.iterdir() if path.is_dir())}:
        recover_all(home)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_is_killed_loses_nothing_and_is_given_again(toys, tmp_path, monkeypatch, name):
    work, home = works(toys)[name], tmp_path / "home"
    command = quietly(work.command)

    def prepare():
        os.chdir(tmp_path)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        os.chdir(home)
        quietly(work.before)()

    prepare()
    before = files_of(home)
    command()
    after, again = files_of(home), 0
    assert after and (after != before or name in ("export", "training, export"))

    def look():
        """What stands there after a kill, and after the same command once more."""
        nonlocal again
        POINTS[name] = POINTS.get(name, 0) + 1
        mended(home)
        for path, content in files_of(home).items() if work.exact else ():
            assert same(content, before.get(path)) or same(content, after.get(path)), f"{path} is neither old nor new"
        assert not [path for path in before if path in after and not (home / path).exists()], "a file is lost"
        for rest in home.rglob(".*"):
            os.utime(rest, (0, 0), follow_symlinks=False)
        command()
        assert files_of(home).keys() == after.keys()
        assert not work.exact or all(same(content, after[path]) for path, content in files_of(home).items())
        rests = [path.name for path in home.rglob(".*") if path.name not in (".handed_out.json", ".lock")]
        assert rests == [], "the next run has not tidied up"
        again += 1

    for _ in kills(prepare, command):
        look()
    for size in SIZES:
        prepare()
        if killed(command, after_bytes=size):
            look()
    assert again


def same(one: bytes, other: bytes | None) -> bool:
    """Two contents, but for what is measured anew (how long it took) where a run tells its story."""
    return one == other or (
        other is not None and one[:1] == b"{" and json.loads(one).keys() == json.loads(other).keys()
    )


def test_a_set_up_that_is_killed_is_taken_up_again(tmp_path):
    """Before and after each program that the set-up calls, make and all its children are killed."""
    die = "\nimport signal\nif os.path.exists('die') and int(open('die').read()) == len(open('calls').readlines()):"
    die += " os.killpg(0, signal.SIGKILL)\n"
    n = 0
    while True:
        made = Checkout(tmp_path / str(n))
        for name in PROGRAMS:
            (made.folder / name).write_text((made.folder / name).read_text() + die)
        (made.folder / "die").write_text(str(n))
        (made.folder / "calls").write_text("")
        command = ["make", "-s", "paint", f"PYTHON={sys.executable}"]
        env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS")}
        ended = subprocess.run(command, cwd=made.folder, env=env, capture_output=True, start_new_session=True)
        (made.folder / "die").unlink()
        assert [each["name"] for each in made.make("paint")][-1] == "__main__.py"
        assert (made.folder / ".venv/.ready").read_text() == f"{made.folder.resolve()}\n"
        assert not (made.folder / ".venv/.half-made").exists()
        assert [each["name"] for each in made.make("paint")] == ["__main__.py"]
        if n and ended.returncode != -signal.SIGKILL:
            break
        POINTS["set-up"] = n = n + 1
    assert n >= 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES[1:])
def test_a_full_disk_is_a_sentence_and_what_stood_there_stays(toys, tmp_path, monkeypatch, name, size):
    import resource

    if (name, size) == ("training, pictures", 1):
        pytest.skip("the semaphores of its processes are files, too, of 32 bytes")
    work = works(toys)[name]
    monkeypatch.chdir(tmp_path)
    quietly(work.before)()
    before, limits = files_of(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    said = io.StringIO()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            work.command()
        failed = None
    except BaseException as error:
        failed = error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    if failed is None:
        return
    text = f"{said.getvalue()} {failed}"  # a library's progress bars may stand before it
    sentence = isinstance(failed, sdlesson.BadInput | SystemExit | AssertionError | ZeroDivisionError | OSError)
    assert sentence and "Traceback" not in text and ("written" in text or "File too large" in text), (failed, text)
    now = files_of(tmp_path)
    assert before.keys() <= now.keys()
    if name != "lessons":  # of which each is renewed by itself
        assert all(now[path] == content for path, content in before.items())
    assert not list(tmp_path.rglob("*.part"))


def run(words, tmp_path, **env):
    """The command in a process of its own."""
    given = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    command = [sys.executable, "-m", "sdlesson", *words]
    return subprocess.run(command, cwd=tmp_path, env=given | env, capture_output=True, text=True, timeout=120)


PAINT = ["paint", "a horse", "--steps", "1", "--size", "16x16"]


def test_without_a_home_it_paints(tmp_path):
    assert run([*PAINT, "-o", "a.png"], tmp_path).returncode == 0
    closed = run([*PAINT, "-o", "b.png"], tmp_path, HOME="/proc/nowhere", XDG_CACHE_HOME="/proc/nowhere")
    assert closed.returncode == 0 and sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody may write")
@pytest.mark.parametrize("words", [["-o", "/proc/a.png"], ["-o", "a.png", "--trace", "/proc/t"]])
def test_a_folder_that_is_closed_is_told_before_anything_is_painted(tmp_path, words):
    done = run([*PAINT, *words], tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "cannot be written" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", ["1024x1024", "4096x4096"])
def test_little_memory_is_a_sentence(tmp_path, size):
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)"
    code += "; from sdlesson.cli import main; main()"
    words = ["paint", "a horse", "--steps", "1", "--size", size]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode in (0, 2), done.stderr[-500:]
    if done.returncode:
        assert done.stderr.count("\n") == 1 and "not enough memory" in done.stderr and os.listdir(tmp_path) == []
