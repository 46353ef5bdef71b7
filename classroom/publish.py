"""Publish the lessons, without outputs and solutions, into a git repository that learners' servers pull from.

    python classroom/publish.py ROOM        writes ROOM/lessons.git; again after `git pull`: brings what is new

Push ROOM/lessons.git anywhere else, if learners pull from a git server of yours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from sdlesson.lab.tree import find_lessons, learners_tree
from sdlesson.loading.writing import write_whole

OURS = ("-c", "user.name=sdlesson", "-c", "user.email=lessons@localhost", "-c", "core.hooksPath=/dev/null")


def publish(tree: dict[str, bytes], repository: Path) -> bool:
    """Make `tree` (name -> content) the newest commit on `main` of the bare `repository`; False if it is already.

    Raises subprocess.CalledProcessError where git fails; the repository is then as before.
    """

    def git(*words: str) -> str:
        command = ["git", *OURS, "-C", work, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    with tempfile.TemporaryDirectory() as work:
        if not (repository / "HEAD").is_file():
            git("init", "--quiet", "--bare", "--initial-branch=main", str(repository))
        git("clone", "--quiet", str(repository), ".")
        git("checkout", "--quiet", "-B", "main")
        for name in git("ls-files", "-z").split("\0")[:-1]:
            (Path(work) / name).unlink()
        for name, content in tree.items():
            (Path(work) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(work) / name).write_bytes(content)
        git("add", "--all", "--force")
        if not git("status", "--porcelain"):
            return False
        git("commit", "--quiet", "-m", "Lessons")
        git("push", "--quiet", "origin", "main")
    return True


def main(room: Path) -> None:
    repository = room.resolve() / "lessons.git"
    new = publish(learners_tree(find_lessons()), repository)
    for path in [repository, *repository.rglob("*")]:  # readable by all, written by whoever publishes
        path.chmod(0o755 if path.is_dir() else 0o444 if "objects" in path.relative_to(repository).parts else 0o644)
    write_whole(room / "gitconfig", f"[safe]\n\tdirectory = {repository}\n")
    (room / "gitconfig").chmod(0o644)
    print(f"{repository}: {'a new version of the lessons' if new else 'nothing new'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", type=Path, metavar="ROOM")
    place = parser.parse_args().room
    if not place.is_dir():
        sys.exit(f"There is no folder {place}; `python classroom/seats.py {place} NAME ...` makes a room with seats.")
    try:
        main(place)
    except subprocess.CalledProcessError as error:
        sys.exit(f"git failed, and the lessons are as before: {error.stderr}")
