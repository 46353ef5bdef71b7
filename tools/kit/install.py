"""Install the lessons of this kit, without network. `install.sh` and `install.bat` look for a Python and call it.

python install.py [FOLDER]      .venv and the lessons come into FOLDER; without one, into the folder of the kit
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

KIT = Path(__file__).resolve().parent


def damaged(kit: Path) -> list[str]:
    """The names in SHA256SUMS whose files are missing, or not as they were when the kit was made."""
    lines = (kit / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return [name for name, digest in sums.items() if sha256(kit / name) != digest]


def sha256(path: Path) -> str:
    """The checksum of the file at `path`; empty if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def install(kit: Path, venv: Path) -> Path:
    """Make the environment `venv` from the kit's wheels and from nothing else; returns its Python."""
    run("make " + str(venv), sys.executable, "-m", "venv", venv)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    offline = ["--no-index", "--find-links", kit / "wheels", "-c", kit / "constraints.txt"]
    run("install from " + str(kit), python, "-m", "pip", "--isolated", "install", *offline, "sdlesson")
    return python


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
        sys.exit("Copy the kit again: these of its files are missing or damaged: " + ", ".join(wrong))
    python, notebooks = install(KIT, folder / ".venv"), folder / "notebooks"
    if not notebooks.exists():
        shutil.copytree(KIT / "notebooks", notebooks)
    start = [str(python), "-m", "jupyter", "lab", f"--notebook-dir={notebooks}"]
    print("\nInstalled. This starts JupyterLab on the lessons; begin with 00_one_page.ipynb:\n")
    print("    " + (subprocess.list2cmdline(start) if os.name == "nt" else shlex.join(start)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as problem:
        sys.exit(f"Could not install: {problem}")
    except KeyboardInterrupt:
        sys.exit("\nStopped. Call it again to go on.")
