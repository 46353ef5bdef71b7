"""What `make` hands over: every word reaches its program as it was given, in folders of any name, with calm threads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import call  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("make") or os.name == "nt", reason="needs make")

#: A program that tells how it was called, and one that makes a virtual environment of the Python that is running.
TELL = """
import json, os, sys
told = {"name": os.path.basename(__file__), "argv": sys.argv[1:], "threads": os.environ.get("OMP_WAIT_POLICY")}
open("calls", "a").write(json.dumps(told) + "\\n")
"""
VENV = """
import os, sys
os.makedirs(sys.argv[1] + "/bin")
os.symlink(sys.executable, sys.argv[1] + "/bin/python")
"""
PROGRAMS = [
    "sdlesson/__main__.py",
    "sdlesson/tiny.py",
    "pip.py",
    "ipykernel.py",
    "pytest.py",
    "bench/x.py",
]
PROGRAMS += ["tools/run_lessons.py", "tools/make_kit.py", "tools/write_badges.py"]
STRANGE = [
    'a "b" c',
    "it's",
    "costs $5 and $HOME $$",
    "`touch pwned` $(touch pwned)",
    "; touch pwned #",
    "a\\b \\",
    "-x --help",
]
STRANGE += ["two\nlines", "é 馬 *", "a  b"]


class Checkout:
    """A folder with the project's Makefile and programs that write down how they were called."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "tools/call.py"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        for name in PROGRAMS:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(TELL)
        (folder / "venv.py").write_text(VENV)

    def make(self, *words: str, env=(), python: str = sys.executable) -> list[dict]:
        """Run make; the calls of programs that came of it."""
        given = {"PYTHON", "WORKERS", "PROMPT", "REPOSITORY", "ARGS", "LAB_ARGS", "OMP_WAIT_POLICY", "MAKEFLAGS"}
        given |= {"PYTHONPATH", "PYTHONSAFEPATH"}
        clean = {name: value for name, value in os.environ.items() if name not in given}
        (self.folder / "calls").write_text("")
        command = ["make", "-s", *words, f"PYTHON={python}"]
        done = subprocess.run(command, cwd=self.folder, env=clean | dict(env), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not (self.folder / "pwned").exists()
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    made.make(".venv/.ready")
    return made


@pytest.mark.parametrize("text", STRANGE)
def test_a_prompt_and_a_repository_arrive_letter_by_letter(checkout, text):
    for target, name, before in (("paint", "PROMPT", ["paint", "--"]), ("badges", "REPOSITORY", [])):
        assert [made["argv"] for made in checkout.make(target, f"{name}={text}")] == [[*before, text]]
        assert [made["argv"] for made in checkout.make(target, env={name: text})] == [[*before, text]]


def test_without_a_prompt_the_articles_own_is_painted(checkout):
    (made,) = checkout.make("paint")
    assert made["argv"] == ["paint", "--", "a photograph of an astronaut riding a horse"]


@pytest.mark.parametrize("target", ["paint", "train", "test", "lessons", "kit", "bench-x", "lab"])
def test_arguments_arrive_as_words(checkout, target):
    text = """--one 'a "b" $5' --two="it's \\\\ `touch pwned`" $(touch pwned) ; ~/x ~y * '' """
    words = ["--one", 'a "b" $5', "--two=it's \\ `touch pwned`", "$(touch", "pwned)", ";"]
    words += [os.path.expanduser("~/x"), "~y", "*", ""]
    name = "LAB_ARGS" if target == "lab" else "ARGS"
    *_, made = checkout.make(target, f"{name}={text}")  # `test` installs its tools first
    own = {"paint": 1, "test": 2, "lab": 1}.get(target, 0)  # what the target says itself before them
    assert made["argv"][own : own + len(words)] == words
    assert len(made["argv"]) == own + len(words) + (2 if target == "paint" else 0)


def test_the_command_understands_what_make_hands_over(capsys):
    from sdlesson.cli import _parser

    args = _parser().parse_args(["paint", "--seed", "7", "-n", "2", "--", "-x --help"])
    assert args.prompts == ["-x --help"] and (args.seed, args.n) == (7, 2)


@pytest.mark.parametrize("text", ["'", 'a "b', "\\"])
def test_an_open_quote_is_a_sentence(monkeypatch, capsys, text):
    monkeypatch.setenv("ARGS", text)
    assert call.main(["-c", "print(1)"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("ARGS cannot be read: No ") and said.err.count("\n") == 1 and said.out == ""


@pytest.mark.parametrize("name", ['a "b" $HOME', "a\\b; it's", "`touch pwned`", "a  é#%"])
def test_a_folder_of_any_name_is_set_up_once(tmp_path, name):
    folder = tmp_path / name
    made = Checkout(folder)
    python = tmp_path / "my $python" / "python3"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    first = made.make("paint", python=str(python))
    assert [each["name"] for each in first][-3:] == ["pip.py", "ipykernel.py", "__main__.py"]
    assert [each["name"] for each in made.make("paint", python=str(python))] == ["__main__.py"]
    assert (folder / ".venv/.ready").read_text() == f"{folder.resolve()}\n"
    folder.rename(tmp_path / "moved")
    made.folder = tmp_path / "moved"
    assert "pip.py" in [each["name"] for each in made.make("paint")]  # a checkout that moved is set up again


def test_an_update_that_fails_keeps_the_environment(tmp_path):
    made = Checkout(tmp_path / "checkout")
    made.make("paint")
    (made.folder / ".venv/mine").touch()
    (made.folder / "pip.py").write_text(f"{TELL}\nsys.exit('--version' not in sys.argv)")
    (made.folder / "constraints.txt").write_text("newer")
    for _ in range(2):  # without a network, say
        with pytest.raises(AssertionError):
            made.make("paint")
    (made.folder / "pip.py").write_text(TELL)
    assert [each["name"] for each in made.make("paint")][-1] == "__main__.py"
    assert (made.folder / ".venv/mine").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path):
    made = Checkout(tmp_path / "checkout")
    made.make("paint")
    (made.folder / ".venv/bin/python").unlink()
    (made.folder / ".venv/bin/python").symlink_to(tmp_path / "gone")
    assert [each["name"] for each in made.make("paint")][-1] == "__main__.py"


def test_an_environment_without_pip_gets_one_and_is_kept(tmp_path):
    made = Checkout(tmp_path / "checkout")
    (made.folder / "pip.py").write_text(f"{TELL}\nsys.exit(not os.path.exists('has-pip'))")
    (made.folder / "ensurepip.py").write_text("open('has-pip', 'w')")
    (made.folder / ".venv/bin").mkdir(parents=True)
    (made.folder / ".venv/bin/python").symlink_to(sys.executable)
    (made.folder / ".venv/mine").touch()
    assert [each["name"] for each in made.make("paint")][-1] == "__main__.py"
    assert (made.folder / ".venv/mine").exists()


@pytest.mark.parametrize("target", ["lab", "paint", "lessons", "train", "bench-x", "test", "kit"])
def test_threads_wait_without_spinning(checkout, target):
    assert {made["threads"] for made in checkout.make(target)} == {"PASSIVE"}
    assert {made["threads"] for made in checkout.make(target, env={"OMP_WAIT_POLICY": "ACTIVE"})} == {"ACTIVE"}


def test_the_kernel_of_the_environment_has_calm_threads(tmp_path):
    """What the set-up asks of ipykernel makes a kernel that Jupyter finds as python3, and that has the variable."""
    from jupyter_client.kernelspec import KernelSpecManager

    (words,) = re.findall(r"-m (ipykernel install .*)", (ROOT / "Makefile").read_text())
    words = words.replace("--sys-prefix", "--prefix").split()
    words.insert(words.index("--prefix") + 1, str(tmp_path))
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)
    found = KernelSpecManager(kernel_dirs=[str(tmp_path / "share/jupyter/kernels")]).get_kernel_spec("python3")
    assert found.env == {"OMP_WAIT_POLICY": "PASSIVE"} and found.argv[0] == sys.executable
    assert found.display_name.startswith("Python 3")


def test_only_the_tests_install_the_tests_tools(tmp_path):
    made = Checkout(tmp_path / "checkout")

    def installed(target):
        return [each["argv"][-1] for each in made.make(target) if each["name"] == "pip.py" and "-e" in each["argv"]]

    assert installed("lab") == ["."]
    assert installed("test") == [".[test]"]
    assert installed("test") == installed("lab") == []


def test_conda_sets_the_variable_and_the_page_names_its_kernel():
    text = (ROOT / "environment.yml").read_text()
    assert re.search(r"^variables:\n  OMP_WAIT_POLICY: PASSIVE$", text, flags=re.M)
    assert "python -m ipykernel install --sys-prefix --env OMP_WAIT_POLICY PASSIVE" in (ROOT / "README.md").read_text()


def test_the_command_sets_the_variable_before_torch_is_there():
    code = (
        "import os, sys; from sdlesson.cli import main\n"
        "sys.modules['torch'] = None\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for env, policy in ((clean, "PASSIVE"), (clean | {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.split()[-1] == policy, done.stderr
