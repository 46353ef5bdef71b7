"""What the hub starts for a learner: JupyterLab with the lessons' calm settings, as `sdlesson lab` has them.

A first pull that was cut off leaves a repository without a commit, on which nbgitpuller fails for ever: it goes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sdlesson.lab import start


def clear_half_made(lessons: Path) -> bool:
    """Delete the folder if it holds a repository without a commit, and nothing else; says whether it did."""
    if not lessons.is_dir() or os.listdir(lessons) != [".git"]:
        return False
    head = ["git", "-C", str(lessons), "rev-parse", "--quiet", "--verify", "HEAD^{commit}"]
    if subprocess.run(head, capture_output=True).returncode == 0:
        return False
    shutil.rmtree(lessons)
    return True


def main(arguments: list[str]) -> None:
    home = Path.home()
    clear_half_made(home / "lessons")
    calm = start.prepare(home)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", *calm, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
