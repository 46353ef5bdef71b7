"""In the sandbox: the cells of a notebook, one after the other, with a `check` that reports to the judge outside."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import sys
from pathlib import Path

#: What the reading of a file that is no notebook raises.
NO_NOTEBOOK = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError)
_LONG = 1e6  # seconds; while the judge works, a cell's own time stands still


def main() -> None:
    """Take on the limits and run a notebook: stdin is the socket to the judge, all else is told in argv."""
    told = json.loads(sys.argv[1])
    channel = socket.socket(fileno=os.dup(0))
    os.register_at_fork(after_in_child=channel.close)  # only one process speaks
    _limit(told["limits"], told["user"])
    notebook = shutil.copytree("/submitted", Path("lesson").absolute(), symlinks=True) / told["notebook"]
    os.chdir(notebook.parent)
    sys.path.append(str(notebook.parent))  # last: a learner's torch.py is not taken for torch

    from .peer import Peer

    peer = Peer(channel, trusts=True, call_seconds=told["call_seconds"])
    _report_checks(peer, facts=told["facts"])
    shell = _shell()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    peer.send(begun=True)
    try:
        cells = sources(notebook)
    except NO_NOTEBOOK:
        peer.send(end="it is no notebook")
        return
    peer.send(end=True, late=_run(shell, cells, told["cell_seconds"]))


def _limit(limits: dict[str, int], user: int | None) -> None:
    """Give up what a lesson does not need: memory, files, processes, and the rights of the one who grades."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out all the same, this goes first
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _report_checks(peer, *, facts: bool) -> None:
    """Put a `check` in the place of the lessons' own that sends the answer out, and the page's facts where wanted."""
    from .. import exercises
    from .peer import limited

    def check(name, answer=..., *, draw=None, **page):
        if not peer.busy:  # a function that the judge calls has nothing to report
            with limited(_LONG):
                peer.send(check=str(name), answer=answer, facts=page if facts else {})
                peer.hear("judged")

    exercises.check = check


def _shell():
    """IPython without a history, so that a cell's magics work as in a lesson."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            """`%matplotlib` asks for it; there is no window here."""

    return Shell.instance(config=Config(HistoryManager={"enabled": False}))


def sources(notebook: Path) -> list[str]:
    """The sources of its code cells."""
    cells = json.loads(notebook.read_bytes())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _run(shell, cells: list[str], seconds: float) -> bool:
    """Run the cells, each whatever became of those before it; True where one, or an answer's call, took too long."""
    from .peer import limited

    late = False

    def stop(*_):
        nonlocal late
        late = True
        raise TimeoutError("this takes too long")

    signal.signal(signal.SIGALRM, stop)
    for cell in cells:
        try:
            with limited(seconds):
                shell.run_cell(cell, silent=True)
        except Exception:  # the alarm, between two lines of IPython
            continue
    return late
