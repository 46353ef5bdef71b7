"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from .models import BadInput


@contextlib.contextmanager
def whole_file(path: str | os.PathLike):
    """A binary stream that becomes the file `path` when all went well, and leaves no trace otherwise.

    Raises BadInput where the folder is missing or cannot be written to, or the disk is full.
    """
    target = Path(os.path.realpath(path))  # behind a link, the file itself is replaced
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as stream:
            yield stream
        os.replace(part, target)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def check_writable(path: str | os.PathLike) -> None:
    """Raise BadInput if `whole_file(path)` could not write: told before the computing, not after it."""
    folder = Path(os.path.realpath(path)).parent
    if os.path.isdir(path):
        raise BadInput(f"{path} is a folder; name a file.")
    if not os.path.isdir(folder):
        raise BadInput(f"There is no folder {folder} to write {Path(path).name} into.")
    probe = folder / f".{secrets.token_hex(8)}.part"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # is the name itself possible, not too long?
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}.") from None
