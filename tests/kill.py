"""Kill a piece of work just before its n-th change of the disk, or in the middle of a write, as `kill -9` would."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink"}
CHANGES |= {"os.truncate", "os.utime"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
KILLED = 9


def killed(work: Callable[[], object], *, before: int | None = None, after_bytes: int | None = None) -> bool:
    """Run `work` in a fork of this process, until its change number `before`, or until a file of it has so many bytes.

    Returns whether it came so far. A file that is only read is no change.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: this one only handles files
        child = os.fork()
    if child == 0:
        seen = 0

        def watch(event, arguments):
            nonlocal seen
            seen += event in CHANGES or (event == "open" and bool((arguments[2] or 0) & WRITES))
            if before is not None and seen >= before:
                os._exit(KILLED)

        sys.addaudithook(watch)
        if after_bytes is not None:
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and raises OSError: that is a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, after_bytes))
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # 1: one of its own processes met the limit, and it said so
    ends = (0, KILLED, -signal.SIGXFSZ) if after_bytes is None else (0, -signal.SIGXFSZ, 1)
    assert code in ends, f"the work failed when it should have been killed: {code}"
    return code != 0


def kills(prepare: Callable[[], object], work: Callable[[], object], every: int = 1) -> Iterator[int]:
    """Kill `work` at every `every`-th of its changes, each time after `prepare`; yields n after each kill."""
    n = 1
    while prepare() or killed(work, before=n):
        yield n
        n += every
    assert n > 1, "the work changed nothing"
