"""Run Python with the words of ARGS after those given: `python tools/call.py -m sdlesson paint`.

`make` hands ARGS over in the environment. It is split into words as a shell splits them, quotes and all, but nothing in
it is looked up or run: `$5` and backticks stay what they are. Only ~/ at the beginning of a word is the home folder.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys


def words(text: str) -> list[str]:
    """The words of a command line; raises ValueError where a quote is not closed."""
    return [os.path.expanduser(word) if word.startswith("~/") else word for word in shlex.split(text)]


def main(arguments: list[str]) -> int:
    try:
        more = words(os.environ.pop("ARGS", ""))
    except ValueError as error:
        print(f"ARGS cannot be read: {error}.", file=sys.stderr)
        return 2
    command = [sys.executable, *arguments]
    place = command.index("--") if "--" in command else len(command)
    command[place:place] = more
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
