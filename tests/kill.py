"""Kill a piece of work just before its n-th change of the disk, as `kill -9` would: for the tests of what is left."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator

CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink"}
KILLED = 9


def killed_before(n: int, work: Callable[[], object]) -> bool:
    """Run `work` in a fork of this process, until its `n`-th change; returns whether it came so far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: this one only handles files
        child = os.fork()
    if child == 0:
        seen = 0

        def watch(event, _arguments):
            nonlocal seen
            seen += event in CHANGES
            if seen >= n:
                os._exit(KILLED)

        sys.addaudithook(watch)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), f"the work failed when it should have been killed at change {n}"
    return code == KILLED


def kills(prepare: Callable[[], object], work: Callable[[], object], every: int = 1) -> Iterator[int]:
    """Kill `work` at every `every`-th of its changes, each time after `prepare`; yields n after each kill."""
    n = 1
    while prepare() or killed_before(n, work):
        yield n
        n += every
    assert n > 1, "the work changed nothing"
