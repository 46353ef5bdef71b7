"""Make the offline kit: one folder from which a room without network installs the lessons: `make kit`.

    python tools/make_kit.py [-o FOLDER] [arguments for pip download ...]      FOLDER: build/kit, if none is named

It holds two folders: `learner`, from which seats are installed, without solutions and without the quiz's key, and
`instructor` with those. Lessons are those of the last commit: what somebody has typed into them meanwhile stays out.
The wheels are for the Python and the kind of computer that make the kit: make it on a computer like those in the room.
(`--platform` alone does not help: pip still chooses the dependencies by the system on which it runs.)
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from sdlesson import BadInput
from sdlesson.lab.tree import learners_tree
from sdlesson.loading.writing import check_folder, recover, replace_folder

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).resolve().parent / "kit"
TEXTS = ("constraints.txt", "LICENSE")
Pip = Callable[[list[str]], int]  # takes pip's arguments, returns its exit code


class KitError(Exception):
    """One sentence that says why there is no kit."""


def make(folder: Path, for_pip: list[str], pip: Pip) -> None:
    """Make the kit beside `folder`, and give it that name when it is whole; a kill at any moment loses nothing."""
    recover(folder)
    refuse_to_replace(folder)

    def fill(kit: Path) -> None:
        learner = kit / "learner"
        collect_wheels(learner / "wheels", for_pip, pip)
        copy_lessons(kit)
        lines = sums(learner)
        (learner / "SHA256SUMS").write_bytes(lines)
        fill_templates(learner, *target(learner / "wheels"), hashlib.sha256(lines).hexdigest())

    replace_folder(folder, fill)


def refuse_to_replace(folder: Path) -> None:
    """An older kit may be replaced; other files, and a kit in which somebody works, may not."""
    learner = folder / "learner"
    known = (learner / "install.py", learner / "SHA256SUMS", learner / "wheels")
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not all(path.exists() for path in known):
        raise KitError(f"{folder} exists and is no kit; name another folder with -o")
    check_folder(folder)
    used = [name for name in (".venv", "my_lessons") if (learner / name).exists()]
    if used:
        raise KitError(f"{folder} is in use, it holds {used[0]}; delete the folder, or name another one with -o")


def collect_wheels(wheels: Path, for_pip: list[str], pip: Pip) -> None:
    """Build sdlesson's wheel, and download the wheels of all that it depends on, in the tested versions."""
    if pip(["wheel", "--no-deps", "-w", str(wheels), str(ROOT)]):
        raise KitError("pip could not build sdlesson's wheel; why stands above")
    ours = the_wheel(wheels, "sdlesson")
    lacking = sorted(package_files() - set(zipfile.ZipFile(ours).namelist()))
    if lacking:
        raise KitError(f"sdlesson's wheel lacks {', '.join(lacking)}")
    pinned = ["--only-binary", ":all:", "-c", str(ROOT / "constraints.txt")]
    if pip(["download", *pinned, "-d", str(wheels), *for_pip, str(ours)]):
        raise KitError("pip could not download the dependencies; why stands above")


def the_wheel(wheels: Path, name: str) -> Path:
    found = list(wheels.glob(f"{name}-*.whl"))
    if len(found) != 1:
        raise KitError(f"pip left {len(found)} wheels of {name}, where one should be")
    return found[0]


def package_files() -> set[str]:
    """What sdlesson's wheel has to hold: its code and the trained model."""
    files = {path for path in (ROOT / "sdlesson").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {path.relative_to(ROOT).as_posix() for path in files}


def target(wheels: Path) -> tuple[str, str]:
    """The Python ("3.11") and the platform for which the wheels are; torch's wheel has both in its name."""
    name = the_wheel(wheels, "torch").stem
    python, _, platform = name.split("-")[-3:]
    version = re.fullmatch(r"cp3(\d+)", python)
    if not version:
        raise KitError(f"cannot tell from {name} for which Python it is")
    return f"3.{version[1]}", platform


def committed(*names: str) -> tarfile.TarFile:
    """Files and folders of the project as the last commit has them."""
    done = subprocess.run(["git", "archive", "HEAD", *names], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise KitError("the lessons of the last commit cannot be read; a kit is made in a git clone")
    return tarfile.open(fileobj=io.BytesIO(done.stdout))


def copy_lessons(kit: Path) -> None:
    """The learner's lessons; for the instructor TEACHING.md, and the lessons with outputs, pictures and solutions."""
    with tempfile.TemporaryDirectory() as scratch, committed(*TEXTS, "TEACHING.md", "notebooks") as archive:
        there = Path(scratch)
        archive.extractall(there, filter="data")
        files = {f"learner/lessons/{name}": text for name, text in learners_tree(there / "notebooks").items()}
        files |= {f"learner/{name}": (there / name).read_bytes() for name in TEXTS}
        for path in [there / "TEACHING.md", *(path for path in (there / "notebooks").rglob("*") if path.is_file())]:
            files[f"instructor/{path.relative_to(there).as_posix()}"] = path.read_bytes()
    for name, content in files.items():
        (kit / name).parent.mkdir(parents=True, exist_ok=True)
        (kit / name).write_bytes(content)


def fill_templates(kit: Path, python: str, platform: str, sums: str) -> None:
    """The kit's README and its scripts; install.py knows the checksum of the checksums, so that none can be lost."""
    blanks = {"@PYTHON@": python, "@PLATFORM@": platform, "@SUMS@": sums}
    for template in sorted(path for path in TEMPLATES.iterdir() if path.is_file()):
        text = template.read_text(encoding="utf-8")
        for blank, word in blanks.items():
            text = text.replace(blank, word)
        line_end = "\r\n" if template.suffix == ".bat" else "\n"
        (kit / template.name).write_text(text, encoding="utf-8", newline=line_end)
    (kit / "install.sh").chmod(0o755)


def sums(kit: Path) -> bytes:
    """The checksums of all that is installed, as `sha256sum` writes them."""
    lessons = [path for path in sorted((kit / "lessons").rglob("*")) if path.is_file()]
    files = [kit / "constraints.txt", *sorted((kit / "wheels").iterdir()), *lessons]
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(kit).as_posix()}\n" for path in files)
    return "".join(lines).encode()


def run_pip(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pip", *arguments]).returncode


def main(arguments: list[str], pip: Pip = run_pip) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "kit", metavar="FOLDER")
    options, for_pip = parser.parse_known_args(arguments)
    folder = options.output.expanduser().resolve()
    try:
        make(folder, for_pip, pip)
    except (KitError, BadInput, OSError) as problem:
        sys.exit(f"no kit was made: {problem}")
    except KeyboardInterrupt:
        sys.exit("\nno kit was made: stopped")
    files = [path for path in folder.rglob("*") if path.is_file()]
    print(f"{folder}: {sum(path.stat().st_size for path in files) / 1e6:.0f} MB in {len(files)} files")


if __name__ == "__main__":
    main(sys.argv[1:])
