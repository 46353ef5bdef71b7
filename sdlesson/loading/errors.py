"""What is raised when something cannot be done: one sentence for the person who asked."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

#: What would break the line or hide a part of it: control characters, line separators, halves of characters.
_UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class BadInput(ValueError):
    """What was asked for cannot be done; the message is one sentence for the person who asked, on one line."""

    def __init__(self, sentence: object = ""):
        super().__init__(_UNPRINTED.sub(lambda found: repr(found[0])[1:-1], str(sentence)))


class ModelError(BadInput):
    """A model cannot be loaded; the message is one sentence that says what is wrong with it."""


def first_line(error: BaseException) -> str:
    """The line of a library's message that says something: its first one, or the one after a colon at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = lines[0] if lines[0][-1] != ":" or not lines[1:] else f"{lines[0]} {lines[1]}"
    return said[:300]


def listed(words: list[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def shortened(text: str, folder: str | os.PathLike) -> str:
    """`text` without the way to `folder`, of which the name is left, and with "~" for the home: to be shown to others.

    The folder may stand in the text as it was named, with the home for its "~", or past all links.
    """
    named, home = os.path.expanduser(folder), os.path.expanduser("~")
    ways = {named if os.path.isdir(named) else "", os.path.abspath(named), os.path.realpath(named)}
    for way in sorted(ways, key=len, reverse=True):
        text = text.replace(way, Path(way).name) if Path(way).name else text
    return text.replace(home, "~") if Path(home).name else text  # in some containers "/" is the home


def say(text: str, *, error: bool = False) -> None:
    """Print one line, as far as anybody can read it: an encoding without its letters, or a closed pipe, ends no run."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # it was closed before we began
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"  # a logger in the stream's place may have none
    with contextlib.suppress(OSError, ValueError):
        try:
            print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
        except OSError:  # the reader has gone: what is still to be said goes nowhere, now and when Python leaves
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
