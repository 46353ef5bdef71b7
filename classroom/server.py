"""What the hub starts for a learner: JupyterLab with the lessons' calm settings, as `sdlesson lab` has them.

Before it, what a pull that was cut off has left is cleared away, as nbgitpuller would fail on it for ever.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sdlesson.lab import start


def mend(lessons: Path) -> None:
    """Take away git's locks, whose owners ended with the last server, and a repository that was never whole.

    Nothing of a learner's goes: the folder is deleted only if it holds a repository without a commit, and no file.
    """
    if not (lessons / ".git").is_dir():
        return
    for lock in (lessons / ".git").rglob("*.lock"):
        lock.unlink()
    head = ["git", "-C", str(lessons), "rev-parse", "--quiet", "--verify", "HEAD^{commit}"]
    if os.listdir(lessons) == [".git"] and subprocess.run(head, capture_output=True).returncode != 0:
        shutil.rmtree(lessons)


def main(arguments: list[str]) -> None:
    home = Path.home()
    mend(home / "lessons")
    calm = start.prepare(home)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", *calm, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
