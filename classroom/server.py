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
    """Undo what a pull that was killed has left: git's locks, a merge half done, a repository that was never whole.

    Nothing of a learner's goes: a file is deleted only if it is the published one that the next pull brings, the
    folder only if it holds a repository without a commit, and no file.
    """
    if not (lessons / ".git").is_dir():
        return

    def git(*words: str) -> tuple[bool, str]:
        done = subprocess.run(["git", "-C", str(lessons), *words], capture_output=True, text=True)
        return done.returncode == 0, done.stdout

    for lock in (lessons / ".git").rglob("*.lock"):
        lock.unlink()
    whole, _ = git("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    if not whole:
        if os.listdir(lessons) == [".git"]:
            shutil.rmtree(lessons)
        return
    git("reset", "--quiet", "--mixed")  # the index alone: the next pull fails on a file that stands only there
    _, names = git("diff", "-z", "--name-only", "--diff-filter=A", "HEAD", "origin/main")
    for name in filter(None, names.split("\0")):
        if (lessons / name).is_file() and git("hash-object", name)[1] == git("rev-parse", f"origin/main:{name}")[1]:
            (lessons / name).unlink()


def main(arguments: list[str]) -> None:
    home = Path.home()
    mend(home / "lessons")
    calm = start.prepare(home)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", *calm, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
