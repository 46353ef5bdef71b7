"""Install the lessons of this kit, without network. `install.sh` and `install.bat` look for a Python and call it.

python install.py [FOLDER]      .venv and the lessons come into FOLDER; without one, into the folder of the kit

Nothing is called installed before a picture was painted with it.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

KIT = Path(__file__).resolve().parent
SUMS = "@SUMS@"  # the checksum of SHA256SUMS


def damaged(kit: Path) -> list[str]:
    """The names of files that are missing or not as they were in the new kit, and of wheels that it never had."""
    if sha256(kit / "SHA256SUMS") != SUMS:
        return ["SHA256SUMS"]
    lines = (kit / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    there = {f"wheels/{path.name}" for path in (kit / "wheels").glob("[!.]*.whl")}
    return sorted(there - sums.keys()) + [name for name, digest in sums.items() if sha256(kit / name) != digest]


def sha256(path: Path) -> str:
    """The checksum of the file at `path`; empty if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def install(kit: Path, venv: Path) -> Path:
    """Make the environment `venv` from the kit's wheels and from nothing else; returns its Python."""
    run("make " + str(venv), sys.executable, "-P", "-m", "venv", venv)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    offline = ["--no-index", "--find-links", kit / "wheels", "-c", kit / "constraints.txt"]
    run("install from " + str(kit), python, "-P", "-m", "pip", "--isolated", "install", *offline, "sdlesson")
    kernel = ["--sys-prefix", "--env", "OMP_WAIT_POLICY", "PASSIVE"]  # threads that wait leave the processor to others
    run("set up the kernel", python, "-P", "-m", "ipykernel", "install", *kernel)
    return python


def copy_lessons(kit: Path, folder: Path) -> None:
    """Bring the lessons in `folder` up to the kit's, each whole or not at all; a learner works on copies of them."""
    for path in sorted(path for path in (kit / "lessons").rglob("*") if path.is_file()):
        place = folder / path.relative_to(kit / "lessons")
        if sha256(place) != sha256(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f".{place.name}.part")
            try:
                shutil.copyfile(path, part)
                os.replace(part, place)
            finally:
                part.unlink(missing_ok=True)


def prove(python: Path, folder: Path) -> None:
    """Make the learner's copies and paint a picture: what does both is whole."""
    run("lay out the lessons", python, "-P", "-m", "sdlesson", "lab", "--copies")
    picture = folder / "first_picture.png"
    run(
        "paint a picture",
        python,
        "-P",
        "-m",
        "sdlesson",
        "paint",
        "a photograph of an astronaut riding a horse",
        "-o",
        picture,
    )


def run(aim: str, *command) -> None:
    """Run a command that knows no registry; leave with one sentence if it fails."""
    quiet = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if subprocess.run([str(word) for word in command], env=os.environ | quiet).returncode:
        sys.exit(f"Could not {aim}; why stands above. README.md says which computers this kit is for.")


def main(arguments: list[str]) -> None:
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        sys.exit(__doc__)
    folder = Path(arguments[0]).expanduser().resolve() if arguments else KIT
    wrong = damaged(KIT)
    if wrong:
        sys.exit("Copy the kit again: these of its files are missing, damaged or not its own: " + ", ".join(wrong))
    python = install(KIT, folder / ".venv")
    copy_lessons(KIT, folder / "lessons")
    prove(python, folder)
    start = [str(python), "-P", "-m", "sdlesson", "lab"]
    print("\nInstalled, and a picture was painted. This opens the lessons in your browser:\n")
    print("    " + (subprocess.list2cmdline(start) if os.name == "nt" else shlex.join(start)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as problem:
        sys.exit(f"Could not install: {problem}")
    except KeyboardInterrupt:
        sys.exit("\nStopped. Call it again to go on.")
