"""Files and folders that are written whole or not at all, and never over what is not ours to write over."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from .errors import BadInput

_STALE = 3600.0  # seconds after which a half-written file is one that a kill left: a write takes seconds


@contextlib.contextmanager
def whole_file(path: str | os.PathLike):
    """A binary stream that becomes the file `path` when all went well, and leaves no trace otherwise.

    Behind a symbolic link, the file itself is replaced. A file that was there passes its permissions on; its other
    names (hard links), if it has any, keep what they had. Raises BadInput where the folder is missing or cannot be
    written to, the disk is full, or `path` is anything but a plain file that may be written to.
    """
    with _told(path):
        target, there = _target(path)
        _sweep(target.parent)
        part = _part(target.parent)
        try:
            with open(part, "xb", opener=lambda name, flags: os.open(name, flags, 0o600 if there else 0o666)) as stream:
                if there:
                    _pass_on(there, part)
                yield stream
            os.replace(part, target)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


def write_whole(path: str | os.PathLike, content: bytes | str) -> None:
    """Write a file that is there whole or not at all, a text in UTF-8; raises BadInput as `whole_file` does."""
    with whole_file(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def check_writable(path: str | os.PathLike) -> None:
    """Raise BadInput if `whole_file(path)` could not write: told before the computing, not after it."""
    with _told(path):
        folder = _target(path)[0].parent
        if not folder.is_dir():
            raise BadInput(f"There is no folder {folder} to write {Path(path).name} into.")
        _probe(folder)


def _target(path: str | os.PathLike) -> tuple[Path, os.stat_result | None]:
    """Where `path` leads, past all links, and what stands there; raises BadInput if that must not be replaced."""
    try:
        target = Path(os.path.realpath(path))
        there = os.stat(target)
    except (FileNotFoundError, NotADirectoryError):
        return target, None
    except ValueError:  # a zero byte, or half a character
        raise BadInput(f"{os.fspath(path)!r} cannot be the name of a file.") from None
    if stat.S_ISDIR(there.st_mode):
        raise BadInput(f"{path} is a folder; name a file.")
    if not stat.S_ISREG(there.st_mode):
        raise BadInput(f"{path} is no plain file but a device, a pipe or a socket; name another file.")
    if not writable(target):
        raise BadInput(f"{path} is write-protected; name another file.")
    return target, there


def writable(path: Path) -> bool:
    """May what is there be written over? Root, too, keeps off what nobody may write to."""
    return bool(path.stat().st_mode & 0o222) and os.access(path, os.W_OK)


def _pass_on(there: os.stat_result, part: Path) -> None:
    """Give `part` the owner and the permissions of the file whose place it will take."""
    with contextlib.suppress(OSError, AttributeError):  # only root may give files away; Windows knows no owners
        os.chown(part, there.st_uid, there.st_gid)
    os.chmod(part, stat.S_IMODE(there.st_mode))


def _part(folder: Path) -> Path:
    return folder / f".sdlesson-{secrets.token_hex(8)}.part"


def _probe(folder: Path) -> None:
    """Raise OSError if no file can be made in `folder`."""
    _sweep(folder)
    probe = _part(folder)
    probe.touch(exist_ok=False)
    probe.unlink()


def _sweep(folder: Path) -> None:
    """Delete what killed writes have left in `folder`; what is young may be another program's write of this moment."""
    for part in folder.glob(f".sdlesson-{'[0-9a-f]' * 16}.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.lstat().st_mtime > _STALE:
                part.unlink()


@contextlib.contextmanager
def _told(path: str | os.PathLike):
    """What the system says of `path` becomes one sentence."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}.") from None
    except Exception as error:
        if isinstance(error, BadInput) or "(os error " not in str(error):  # how libraries in Rust say it
            raise
        raise BadInput(f"{path} cannot be written: {error}.") from None


def replace_folder(folder: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Let `write(part)` fill a new folder, then put it in the place of `folder`, whatever was in that.

    Behind a symbolic link, the folder itself is replaced. A kill at any moment loses nothing: the next call, or
    `recover`, ends or undoes what was begun. Raises BadInput where `folder` is a file or cannot be written to. Whose
    the folder is, the caller has to ask.
    """
    with _told(folder):
        target = _folder(folder)
        recover(target)
        part, old = _beside(target)
        part.mkdir(parents=True)
        try:
            write(part)
            if target.exists():
                shutil.copymode(target, part)
                os.replace(target, old)
            os.replace(part, target)
        finally:
            recover(target)


def check_folder(folder: str | os.PathLike) -> Path:
    """Where `folder` leads, past all links; raises BadInput if `replace_folder(folder, ...)` could not write there."""
    with _told(folder):
        target = _folder(folder)
        _probe(next(place for place in target.parents if place.exists()))
    return target


def _folder(folder: str | os.PathLike) -> Path:
    """Where `folder` leads, past all links; raises BadInput if what stands there must not be replaced by a folder."""
    target = Path(os.path.realpath(folder))
    if target.exists() and not target.is_dir():
        raise BadInput(f"{folder} is no folder but a file; name another one.")
    if target.exists() and not writable(target):
        raise BadInput(f"{folder} is write-protected; name another folder.")
    return target


def recover(folder: Path) -> None:
    """End or undo what a killed `replace_folder(folder, ...)` began; `folder` is then the new one or the old one."""
    part, old = _beside(folder)
    if old.exists() and not folder.exists():  # killed between the two renames: by then the new one was whole
        os.replace(part if part.exists() else old, folder)
    if old.exists():
        shutil.rmtree(part, ignore_errors=True)
        os.replace(old, part)  # a folder of the name `old` is whole at each moment
    shutil.rmtree(part, ignore_errors=True)


def recover_all(home: Path) -> None:
    """`recover` each folder in `home`."""
    for left in [*home.glob(".*.sdlesson-part"), *home.glob(".*.sdlesson-old")]:
        recover(home / left.stem.removeprefix("."))


def _beside(folder: Path) -> tuple[Path, Path]:
    """The names that a folder has while it is written, and while it waits to be deleted."""
    return folder.with_name(f".{folder.name}.sdlesson-part"), folder.with_name(f".{folder.name}.sdlesson-old")
