"""The offline kit: what lies in it, what its scripts say and do, and that nothing half-made is left. No downloads."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from kill import kills

from sdlesson.lab.tree import learners_tree
from sdlesson.loading.writing import recover

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import make_kit  # noqa: E402

THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
TORCH = f"torch-2.13.0+cpu-cp{THIS.replace('.', '')}-cp{THIS.replace('.', '')}-manylinux_2_28_x86_64.whl"


FEW = ("notebooks/00_one_page.ipynb", "notebooks/images")


class FakePip:
    """Stands for pip: remembers how it was called, leaves wheels without content, fails where it is told to."""

    def __init__(self, fails="", forgets="", torch=TORCH):
        self.calls, self.fails, self.forgets, self.torch = [], fails, forgets, torch

    def __call__(self, arguments):
        self.calls.append(arguments)
        if arguments[0] == self.fails:
            return 1
        if arguments[0] == "wheel":
            self.leave(arguments, "sdlesson-0.1.0-py3-none-any.whl", make_kit.package_files() - {self.forgets})
        elif self.torch:
            self.leave(arguments, self.torch, {"torch/__init__.py"})
        return 0

    def leave(self, arguments, name, files):
        folder = Path(arguments[arguments.index("-w" if arguments[0] == "wheel" else "-d") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / name, "w") as wheel:
            for each in files:
                wheel.writestr(each, "")


@pytest.fixture
def kit(tmp_path):
    """The learner's folder of a kit with empty wheels."""
    make_kit.main(["-o", str(tmp_path / "kit")], FakePip())
    return tmp_path / "kit" / "learner"


@pytest.fixture
def installer(kit):
    """The kit's install.py, as a module."""
    spec = importlib.util.spec_from_file_location("install", kit / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, folder, pip, *words):
    """No kit is made, and nothing stays beside it; returns the sentence that says why."""
    before = files_of(folder.parent)
    with pytest.raises(SystemExit) as left:
        make_kit.main(["-o", str(folder), *words], pip)
    assert files_of(folder.parent) == before and not list(folder.parent.glob(".kit-*"))
    sentence = str(left.value.code)
    assert sentence.startswith("no kit was made: ") and "\n" not in sentence and capsys.readouterr().out == ""
    return sentence


def test_the_kit_holds_what_a_room_needs(kit):
    files = files_of(kit)
    assert {"README.md", "LICENSE", "constraints.txt", "SHA256SUMS", "install.sh", "install.bat", "install.py"} <= files
    assert {f"wheels/{TORCH}", "wheels/sdlesson-0.1.0-py3-none-any.whl"} <= files
    published = learners_tree(ROOT / "notebooks")
    assert {name for name in files if name.startswith("lessons/")} == {f"lessons/{name}" for name in published}


def test_the_learners_folder_holds_no_answers_and_the_instructors_has_them(kit):
    texts = {name: (kit / name).read_text(encoding="utf-8") for name in files_of(kit) if name.endswith(("md", "ipynb"))}
    assert len(texts) > 13 and not [name for name in texts if "solutions" in name or "TEACHING" in name]
    assert not [name for name, text in texts.items() if "The key" in text or '"output_type"' in text]
    instructor = files_of(kit.parent / "instructor")
    assert {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")} < instructor
    assert "TEACHING.md" in instructor and sum("solutions/" in name for name in instructor) > 12


def test_lessons_are_those_of_the_commit(tmp_path, monkeypatch, capsys):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a", *words], cwd=tmp_path / "clone", check=True)

    (tmp_path / "clone" / "notebooks").mkdir(parents=True)
    for name in (*make_kit.TEXTS, "TEACHING.md"):
        (tmp_path / "clone" / name).touch()
    lesson = tmp_path / "clone" / "notebooks" / "a.ipynb"
    lesson.write_text('{"cells": []}')
    monkeypatch.setattr(make_kit, "ROOT", tmp_path / "clone")
    monkeypatch.setattr(make_kit, "package_files", set)
    assert "a kit is made in a git clone" in refused(capsys, tmp_path / "kit", FakePip())
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        git(*words)
    lesson.write_text('{"cells": [{"cell_type": "markdown", "source": "solved"}]}')
    make_kit.main(["-o", str(tmp_path / "kit")], FakePip())
    texts = [path.read_text() for path in (tmp_path / "kit").rglob("a.ipynb")]
    assert len(texts) == 2 and "solved" not in "".join(texts)


def test_pip_gets_the_tested_versions_and_the_arguments_of_the_command(tmp_path, capsys):
    pip = FakePip()
    make_kit.main(["-o", str(tmp_path / "kit"), "--extra-index-url", "an address"], pip)
    build, download = pip.calls
    assert build[:2] == ["wheel", "--no-deps"] and build[-1] == str(ROOT)
    assert download[download.index("-c") + 1] == str(ROOT / "constraints.txt")
    assert download[download.index("--extra-index-url") + 1] == "an address"
    assert Path(download[-1]).name == "sdlesson-0.1.0-py3-none-any.whl"
    assert re.search(r"kit: \d+ MB in \d+ files\n$", capsys.readouterr().out)


def test_the_wheel_is_held_against_the_package():
    files = make_kit.package_files()
    assert {"sdlesson/__init__.py", "sdlesson/checkpoint/model_index.json"} <= files
    weights = {"sdlesson/checkpoint/unet/diffusion_pytorch_model.safetensors"}
    assert weights <= files and not [name for name in files if "__pycache__" in name]


@pytest.mark.parametrize(
    ("pip", "why"),
    [
        (FakePip(fails="wheel"), "could not build sdlesson's wheel"),
        (FakePip(fails="download"), "could not download the dependencies"),
        (FakePip(forgets="sdlesson/checkpoint/model_index.json"), "lacks sdlesson/checkpoint/model_index.json"),
        (FakePip(torch=""), "pip left 0 wheels of torch"),
        (FakePip(torch="torch-2.13.0-py3-none-any.whl"), "for which Python"),
    ],
    ids=["no build", "no download", "no model", "no torch", "strange torch"],
)
def test_a_failure_is_one_sentence_and_leaves_no_kit(tmp_path, capsys, pip, why):
    assert why in refused(capsys, tmp_path / "kit", pip)


def test_it_replaces_an_older_kit_and_nothing_else(kit, capsys):
    whole = kit.parent
    (whole / "old.txt").touch()
    make_kit.main(["-o", str(whole)], FakePip())
    assert "old.txt" not in files_of(whole)
    capsys.readouterr()
    for name in (".venv", "my_lessons"):
        (kit / name).mkdir()
        assert "is in use" in refused(capsys, whole, FakePip())
        (kit / name).rmdir()
    (kit / "SHA256SUMS").unlink()
    assert "is no kit" in refused(capsys, whole, FakePip())
    assert "is no kit" in refused(capsys, kit / "README.md", FakePip())


@pytest.mark.parametrize("name", ["learner/SHA256SUMS", "learner/install.py", "learner/wheels/a.whl"])
def test_it_replaces_no_folder_that_has_one_thing_in_common_with_a_kit(tmp_path, capsys, name):
    (tmp_path / "kit" / name).parent.mkdir(parents=True)
    (tmp_path / "kit" / name).touch()
    assert "is no kit" in refused(capsys, tmp_path / "kit", FakePip())


def test_an_empty_folder_becomes_a_kit(tmp_path):
    (tmp_path / "kit").mkdir()
    make_kit.main(["-o", str(tmp_path / "kit")], FakePip())
    assert (tmp_path / "kit" / "learner" / "install.py").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is killed")
@pytest.mark.parametrize("older", [True, False])
def test_a_kill_leaves_the_older_kit_or_the_new_one_and_the_next_one_is_made(tmp_path, monkeypatch, older):
    committed = make_kit.committed
    monkeypatch.setattr(make_kit, "committed", lambda *names: committed(*make_kit.TEXTS, "TEACHING.md", *FEW))
    monkeypatch.setattr(make_kit, "package_files", lambda: {"sdlesson/__init__.py"})
    home = tmp_path / "home"

    def made(torch=TORCH):
        make_kit.make(home / "kit", [], FakePip(torch=torch))
        return files_of(home)

    def prepare():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        if older:
            made(TORCH.replace("2.13", "2.12"))

    new, old = made(), prepare() or files_of(home)
    for _ in kills(prepare, made, every=4):
        shutil.copytree(home, tmp_path / "killed")
        recover(tmp_path / "killed" / "kit")
        assert files_of(tmp_path / "killed") in (old, new)
        shutil.rmtree(tmp_path / "killed")
        assert made() == new and os.listdir(home) == ["kit"]


def test_the_texts_are_filled_in_and_know_no_registry(kit):
    texts = {path.name: path.read_bytes().decode() for path in kit.iterdir() if path.is_file()}
    assert not [name for name, text in texts.items() if re.search("@[A-Z]+@", text)]
    assert all(THIS in texts[name] for name in ("README.md", "install.sh", "install.bat"))
    assert "manylinux_2_28_x86_64" in texts["README.md"]
    assert all(line.endswith("\r") for line in texts["install.bat"].split("\n")[:-1])
    assert "\r" not in texts["install.sh"]
    assert "--no-index" in texts["install.py"] and "--find-links" in texts["install.py"]
    assert not [name for name in ("install.sh", "install.bat", "install.py") if "http" in texts[name]]
    ast.parse(texts["install.py"], feature_version=(3, 11))
    named = set(re.findall(r"`([a-zA-Z0-9_]+(?:\.[a-z]+|/))`", texts["README.md"])) - {"first_picture.png"}
    assert named and [name for name in named if not (kit / name).exists()] == []


def test_the_checksums_find_what_was_lost_on_the_way(kit, installer):
    assert installer.damaged(kit) == []
    (kit / "wheels" / TORCH).write_bytes(b"cut off")
    assert installer.damaged(kit) == [f"wheels/{TORCH}"]
    (kit / "wheels" / TORCH).unlink()
    assert installer.damaged(kit) == [f"wheels/{TORCH}"]


def other_sums(kit, change):
    """Change the text of SHA256SUMS."""
    file = kit / "SHA256SUMS"
    file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"",
        lambda text: text.splitlines(keepends=True)[1],
        lambda text: b"".join(text.splitlines(keepends=True)[:-1]),
        lambda text: text.replace(b"  ", b" "),
        lambda text: text[:40],
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xff\xfe\0" + text,
        lambda text: text + b"0" * 64 + b"  ../../../etc/passwd\n",
    ],
    ids=["empty", "one line", "a line less", "one space", "cut", "an empty line", "CRLF", "no text", "a path"],
)
def test_a_list_of_checksums_that_is_not_whole_verifies_nothing(kit, installer, tmp_path, monkeypatch, change):
    monkeypatch.setattr(installer.subprocess, "run", lambda *_, **__: pytest.fail("something was installed"))
    other_sums(kit, change)
    assert installer.damaged(kit) == ["SHA256SUMS"]
    with pytest.raises(SystemExit, match="^Copy the kit again: .*SHA256SUMS$"):
        installer.main([str(tmp_path / "seat")])
    (kit / "SHA256SUMS").unlink()
    assert installer.damaged(kit) == ["SHA256SUMS"] and not (tmp_path / "seat").exists()


def test_a_wheel_that_the_kit_never_had_is_found(kit, installer):
    (kit / "wheels" / "._torch.whl").touch()  # what macOS leaves on a stick
    assert installer.damaged(kit) == []
    (kit / "wheels" / "torch-9-py3-none-any.whl").touch()
    assert installer.damaged(kit) == ["wheels/torch-9-py3-none-any.whl"]
    (kit / "constraints.txt").write_text("torch==9")
    assert installer.damaged(kit) == ["wheels/torch-9-py3-none-any.whl", "constraints.txt"]


@pytest.fixture
def installed(installer, monkeypatch):
    """The installer, for which every command succeeds."""
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(installer.subprocess, "run", lambda *_, **__: done)
    return installer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is killed")
def test_lessons_that_a_kill_left_out_come_with_the_next_installation(installed, kit, tmp_path):
    seat, all_of_them = tmp_path / "seat", files_of(kit / "lessons")
    counts = set()
    for _ in kills(lambda: shutil.rmtree(seat, True), lambda: installed.main([str(seat)]), every=7):
        lessons = files_of(seat / "lessons")
        counts.add(len(lessons))
        whole = {name for name in lessons if not name.endswith(".part")}
        assert all((seat / "lessons" / name).read_bytes() == (kit / "lessons" / name).read_bytes() for name in whole)
        installed.main([str(seat)])
        assert files_of(seat / "lessons") == all_of_them
    assert len(counts) > 3


def test_a_newer_kit_renews_the_lessons_and_leaves_a_learners_work(installed, kit, tmp_path):
    seat = tmp_path / "seat"
    for folder in ("lessons", "my_lessons"):
        (seat / folder).mkdir(parents=True)
        (seat / folder / "00_one_page.ipynb").write_text("older")
    installed.main([str(seat)])
    new = (kit / "lessons" / "00_one_page.ipynb").read_bytes()
    assert (seat / "lessons" / "00_one_page.ipynb").read_bytes() == new
    assert (seat / "my_lessons" / "00_one_page.ipynb").read_text() == "older"


@pytest.mark.parametrize("broken", ["make", "install", "kernel", "lay out", "paint"])
def test_nothing_is_called_installed_before_a_picture_was_painted(installer, tmp_path, monkeypatch, capsys, broken):
    steps = {"make": "venv", "install": "pip", "kernel": "ipykernel", "lay out": "lab", "paint": "paint"}
    monkeypatch.setattr(
        installer.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, int(steps[broken] in command[3:5])),
    )
    with pytest.raises(SystemExit, match="^Could not "):
        installer.main([str(tmp_path / "seat")])
    assert "Installed" not in capsys.readouterr().out


def test_it_installs_offline(installer, kit, tmp_path, monkeypatch, capsys):
    calls = []

    def ran(command, env):
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(installer.subprocess, "run", ran)
    seat = tmp_path / "a seat"
    installer.main([str(seat)])
    (venv, _), (pip, settings), (kernel, _), (copies, _), (paint, _) = calls
    assert {call[1] for call, _ in calls} == {"-P"}  # whatever lies in the folder that it is called from
    assert venv[2:] == ["-m", "venv", str(seat / ".venv")]
    assert pip[2:6] == ["-m", "pip", "--isolated", "install"] and "--no-index" in pip
    assert pip[pip.index("--find-links") + 1] == str(kit / "wheels") and pip[-1] == "sdlesson"
    assert kernel[2:] == ["-m", "ipykernel", "install", "--sys-prefix", "--env", "OMP_WAIT_POLICY", "PASSIVE"]
    assert settings["PIP_CONFIG_FILE"] == installer.os.devnull
    assert copies[2:] == ["-m", "sdlesson", "lab", "--copies"] and paint[2:5] == ["-m", "sdlesson", "paint"]
    said = capsys.readouterr().out
    assert "Installed" in said and said.rstrip().endswith("-P -m sdlesson lab")


@pytest.mark.parametrize("words", [["one", "two"], ["--help"]])
def test_install_explains_itself(installer, words):
    with pytest.raises(SystemExit, match="FOLDER"):
        installer.main(words)


@pytest.mark.skipif(not shutil.which("sh"), reason="install.sh needs a shell")
def test_install_sh_refuses_in_one_sentence(kit, tmp_path):
    def run(**settings):
        command = ["sh", str(kit / "install.sh"), str(tmp_path / "seat")]
        return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"} | settings)

    (kit / "wheels" / TORCH).write_bytes(b"cut off")
    done = run(PYTHON=sys.executable)
    assert done.returncode == 1 and done.stderr.startswith("Copy the kit again") and TORCH in done.stderr
    script = (kit / "install.sh").read_text().replace(THIS, "3.99")
    (kit / "install.sh").write_text(script)
    done = run(PYTHON=sys.executable)
    assert done.returncode == 1 and done.stderr.startswith("This kit needs Python 3.99.") and done.stdout == ""
    assert not (tmp_path / "seat").exists()
