"""A learner's working copies: an untouched one is renewed, a changed one stays and the new lesson comes beside it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..loading.errors import BadInput
from ..loading.writing import writable, write_whole

_RECORD = ".handed_out.json"  # file -> the digest of what was handed out under that name


def renew(tree: Mapping[str, bytes], folder: Path) -> list[str]:
    """Bring the copies in `folder` up to `tree` (name -> content); returns what happened, one sentence each.

    A copy counts as changed if the text of its cells is no longer what was handed out; running it changes nothing, and
    neither do empty cells. Nothing that a learner has changed is written over. Raises BadInput where `folder` cannot
    be written to.
    """
    record, fresh, said = _record(folder), 0, []
    for name, content in tree.items():
        place, before = _place(folder, name, content, record)
        if place is None:
            continue
        _write(folder / place, content)
        record[place] = digest(name, content)
        if place != name:
            said.append(f"You have changed or locked {name}, so the new lesson came beside it, as {place}.")
        elif before:
            said.append(f"Renewed, as you had not changed it: {name}")
        else:
            fresh += name.endswith(".ipynb")
    if fresh:
        said.insert(0, f"{fresh} {'lesson' if fresh == 1 else 'lessons'} laid into {folder}: yours to change.")
    _write(folder / _RECORD, f"{json.dumps(record, indent=1, sort_keys=True)}\n".encode())
    return said


def digest(name: str, content: bytes) -> str:
    """What tells a changed copy: a hash of the cells' texts, or of the bytes of whatever is no readable notebook."""
    if name.endswith(".ipynb"):
        try:
            cells = [[cell["cell_type"], "".join(cell["source"])] for cell in json.loads(content)["cells"]]
            content = json.dumps([cell for cell in cells if cell[1].strip()]).encode()
        except (ValueError, KeyError, TypeError):
            pass
    return hashlib.sha256(content).hexdigest()


def _place(folder: Path, name: str, content: bytes, record: dict[str, str]) -> tuple[str | None, bool]:
    """Where the new content goes, and whether it takes the place of an untouched copy; None if it is there already."""
    new = digest(name, content)
    for place in _names(name):
        if not os.path.lexists(folder / place):
            return place, False
        if record.get(place) == new:
            return None, True  # this very lesson was handed out here, and its reader works in it
        found = digest(name, (folder / place).read_bytes()) if (folder / place).is_file() else ""
        if found == new:
            record[place] = new
            return None, True
        if found == record.get(place) and writable(folder / place):
            return place, True
    raise AssertionError("there is always another name")


def _names(name: str) -> Iterator[str]:
    """03_latents.ipynb, 03_latents_new.ipynb, 03_latents_new2.ipynb ..."""
    stem, dot, ending = name.rpartition(".")
    for number in itertools.count():
        yield f"{stem}{f'_new{number if number > 1 else str()}' if number else ''}{dot}{ending}"


def _record(folder: Path) -> dict[str, str]:
    try:
        record = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError):  # none yet, or spoilt: then every copy that differs counts as changed
        return {}
    return record if isinstance(record, dict) else {}


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path.parent} cannot be made: {error.strerror or error}.") from None
    write_whole(path, content)
