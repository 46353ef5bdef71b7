"""The offline kit: what lies in it, what its scripts say and do, and that nothing half-made is left. No downloads."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import make_kit  # noqa: E402

THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
TORCH = f"torch-2.13.0+cpu-cp{THIS.replace('.', '')}-cp{THIS.replace('.', '')}-manylinux_2_28_x86_64.whl"


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
    """A kit with empty wheels."""
    make_kit.main(["-o", str(tmp_path / "kit")], FakePip())
    return tmp_path / "kit"


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
    lessons = {path.relative_to(ROOT).as_posix() for path in make_kit.lessons()}
    pictures = {f"notebooks/images/{path.name}" for path in (ROOT / "notebooks" / "images").iterdir()}
    assert {name for name in files if name.startswith("notebooks/")} == lessons | pictures | {"notebooks/README.md"}
    assert any("solutions/" in name for name in lessons) and len(lessons) > 20


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
    (kit / "old.txt").touch()
    make_kit.main(["-o", str(kit)], FakePip())
    assert "old.txt" not in files_of(kit)
    capsys.readouterr()
    (kit / ".venv").mkdir()
    assert "is in use" in refused(capsys, kit, FakePip())
    (kit / ".venv").rmdir()
    (kit / "SHA256SUMS").unlink()
    assert "is no kit" in refused(capsys, kit, FakePip())
    assert "is no kit" in refused(capsys, kit / "README.md", FakePip())


def test_the_texts_are_filled_in_and_know_no_registry(kit):
    texts = {path.name: path.read_bytes().decode() for path in kit.iterdir() if path.is_file()}
    assert not [name for name, text in texts.items() if "@PYTHON@" in text or "@PLATFORM@" in text]
    assert all(THIS in texts[name] for name in ("README.md", "install.sh", "install.bat"))
    assert "manylinux_2_28_x86_64" in texts["README.md"]
    assert all(line.endswith("\r") for line in texts["install.bat"].split("\n")[:-1])
    assert "\r" not in texts["install.sh"]
    assert "--no-index" in texts["install.py"] and "--find-links" in texts["install.py"]
    assert not [name for name in ("install.sh", "install.bat", "install.py") if "http" in texts[name]]
    ast.parse(texts["install.py"], feature_version=(3, 11))
    named = set(re.findall(r"`([a-zA-Z0-9_]+(?:\.[a-z]+|/))`", texts["README.md"])) - {"out.png", "00_one_page.ipynb"}
    assert named and [name for name in named if not (kit / name).exists()] == []


def test_the_checksums_find_what_was_lost_on_the_way(kit, installer):
    assert installer.damaged(kit) == []
    (kit / "wheels" / TORCH).write_bytes(b"cut off")
    assert installer.damaged(kit) == [f"wheels/{TORCH}"]
    (kit / "wheels" / TORCH).unlink()
    assert installer.damaged(kit) == [f"wheels/{TORCH}"]


def test_it_installs_offline_and_keeps_a_learners_lessons(installer, kit, tmp_path, monkeypatch, capsys):
    calls = []

    def ran(command, env):
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(installer.subprocess, "run", ran)
    seat = tmp_path / "a seat"
    installer.main([str(seat)])
    (venv, _), (pip, settings) = calls
    assert venv[1:] == ["-m", "venv", str(seat / ".venv")]
    assert pip[1:5] == ["-m", "pip", "--isolated", "install"] and "--no-index" in pip
    assert pip[pip.index("--find-links") + 1] == str(kit / "wheels") and pip[-1] == "sdlesson"
    assert settings["PIP_CONFIG_FILE"] == installer.os.devnull
    assert "-m jupyter lab" in capsys.readouterr().out

    (seat / "notebooks" / "00_one_page.ipynb").write_text("a learner's work")
    installer.main([str(seat)])
    assert (seat / "notebooks" / "00_one_page.ipynb").read_text() == "a learner's work"


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
