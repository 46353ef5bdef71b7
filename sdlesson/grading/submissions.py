"""A folder of submissions: whose they are, and what each learner handed in."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ..exercises import topics
from ..loading.errors import BadInput, listed

#: What calls an exercise by its name, in a notebook's JSON: on one line, or on the next one, as formatters write it.
_CHECK = re.compile(r"""check\((?:\s|\\[nr]|",\s*")*(?:name\s*=\s*)?\\?["']([a-z_]{1,40}\.\d{1,3})\b""")
#: How Canvas names a learner's notebooks, and Moodle the files or folders; the groups tell whose they are.
_FLAT = re.compile(r"(.+?_(?:LATE_)?\d+)_\d+_.+\.ipynb|(.+?_\d+_assignsubmission)_.*", re.DOTALL)
_PLAIN = re.compile(r"(?!.*-[0-9a-f]{12}$)[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")
_MOST_FILES, _MOST_BYTES = 1000, 2**27  # of one submission; all lessons with their pictures have 14 million bytes


@dataclass(frozen=True)
class Submission:
    """What a learner handed in: name -> file; notebook -> the topics whose exercises its text checks.

    `note` tells what was left out, `fault` why it cannot be read.
    """

    learner: str
    files: dict[str, Path] = field(default_factory=dict)
    topics: dict[str, set[str]] = field(default_factory=dict)
    note: str = ""
    fault: str = ""

    @property
    def page(self) -> str:
        """A name for this learner's result and page: the learner's own, where that is a plain one."""
        if _PLAIN.fullmatch(self.learner):
            return self.learner
        short = re.sub(r"[^A-Za-z0-9]+", "-", self.learner)[:40].strip("-")
        return f"{short}-{hashlib.sha256(os.fsencode(self.learner)).hexdigest()[:12]}"

    @contextlib.contextmanager
    def copied(self, within: Path) -> Iterator[Path]:
        """A folder in `within` with copies of the files; whoever is let into it may read them. Raises RuntimeError."""
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=within) as home:
            top, left = Path(home, "all"), _MOST_BYTES
            top.mkdir()
            for name, file in self.files.items():
                try:
                    (top / name).parent.mkdir(parents=True, exist_ok=True)
                    left -= (top / name).write_bytes(_read(file, left))
                except OSError as error:
                    raise RuntimeError(f"{name} cannot be copied: {error.strerror}") from None
            for path in (top, *top.rglob("*")):
                path.chmod(0o755)
            yield top


def _read(file: Path, most: int = _MOST_BYTES) -> bytes:
    """What a plain file of at most so many bytes holds. Its path had no link in it when it was found.

    What has changed since is an OSError: a link in its place or on the way to it, and a file that grew. A pipe is not
    waited for.
    """
    with open(file, "rb", opener=lambda name, how: os.open(name, how | os.O_NOFOLLOW | os.O_NONBLOCK)) as stream:
        if os.readlink(f"/proc/self/fd/{stream.fileno()}") != os.fspath(file):
            raise OSError(errno.ELOOP, "a link has come in its way", str(file))
        found = stream.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"there are more than {_MOST_BYTES // 2**20} MiB by now", str(file))
    return found


def forget_copies(within: Path) -> None:
    """Delete the copies in `within` whose program is gone: a kill has left them."""
    for home in within.iterdir():
        owner = home.name.partition("-")[0]
        if not (owner.isdecimal() and psutil.pid_exists(int(owner))):
            shutil.rmtree(home, ignore_errors=True)


def topics_in(notebook: Path) -> set[str]:
    """The topics whose exercises a notebook checks, by its text alone. Raises OSError."""
    names = exercises_in(_read(notebook).decode(errors="replace"))
    return {name.partition(".")[0] for name in names} & {*topics()}


def exercises_in(text: str) -> set[str]:
    """The names of the exercises that a notebook's text, or its code, checks."""
    return {*_CHECK.findall(text)}


def submissions(folder: Path) -> tuple[list[Submission], list[str]]:
    """The submissions in `folder`, and the names of what is none.

    A learner is a sub-folder, a notebook, or what Canvas or Moodle calls by one name and number. Raises BadInput where
    there is no submission.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise BadInput(f"{folder} cannot be read as a folder of submissions: {error.strerror}.") from None
    found: dict[str, list[Path]] = {}
    others = []
    for entry in entries:
        if flat := _FLAT.fullmatch(entry.name):
            found.setdefault(flat[1] or flat[2], []).append(entry)
        elif entry.suffix == ".ipynb" or entry.is_symlink() or entry.is_dir():
            found.setdefault(entry.name.removesuffix(".ipynb"), []).append(entry)
        else:
            others.append(entry.name)
    if not found:
        raise BadInput(f"{folder} holds no submissions: a folder or a notebook for each learner.")
    return [_handed_in(learner, entries) for learner, entries in found.items()], others


def _handed_in(learner: str, entries: list[Path]) -> Submission:
    """The plain files of these folders and files; the rest is told of."""
    files: dict[str, Path] = {}
    others, size = [], 0
    try:
        for entry in entries:
            for path in _inside(entry):
                name = path.relative_to(entry).as_posix() if path != entry else entry.name
                name, status = f"{entry.name}/{name}" if name in files else name, path.lstat()
                if stat.S_ISREG(status.st_mode):
                    files[name], size = path, size + status.st_size
                else:
                    others.append(name)
                if size > _MOST_BYTES or len(files) + len(others) > _MOST_FILES:
                    limits = f"{_MOST_FILES} files or {_MOST_BYTES // 2**20} MiB"
                    return Submission(learner, fault=f"it has more than {limits}")
        found = {name: topics_in(file) for name, file in files.items() if name.endswith(".ipynb")}
    except OSError as error:
        return Submission(learner, fault=f"{Path(error.filename).name} cannot be read: {error.strerror}")
    except RecursionError:
        return Submission(learner, fault="its folders lie too deep in each other")
    return Submission(learner, files, found, f"Links and pipes are not read: {listed(others)}." if others else "")


def _inside(path: Path) -> Iterator[Path]:
    """All that lies in a folder, at any depth, or what is no folder; no link is followed, and nothing hidden seen."""
    if path.is_symlink() or not path.is_dir():
        yield path
    else:
        for inner in sorted(path.iterdir()):
            if not inner.name.startswith("."):
                yield from _inside(inner)


def digest(files: dict[str, Path]) -> str:
    """What stands for all files: another one, or another name, gives another digest."""
    whole = hashlib.sha256()
    for name, file in sorted(files.items()):
        for part in (os.fsencode(name), file.read_bytes()):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()
