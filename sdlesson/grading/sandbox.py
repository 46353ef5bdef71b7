"""The room that a submission runs in, made by bubblewrap on Linux.

It sees the system, the Python environment and this package, all read-only, a copy of the learner's own files, and a
small folder in memory to write to. It has no network, processes and users of its own, and ends with whoever began it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..loading.errors import BadInput

PACKAGE = Path(__file__).resolve().parents[1]
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
_DISK = 2**28  # bytes that it may write; they are memory
_IMPORT = 60  # seconds of a processor that PyTorch's import may take, beside the notebook's own
_LOOK = 0.2  # seconds between two looks at its memory
_NOBODY = 1_879_048_192  # the first user id that no system gives away (systemd: "Users, Groups, UIDs and GIDs")
_NEXT = itertools.count()
_START = "import sys; sys.path.insert(0, {!r}); from sdlesson.grading.inside import main; main()"


@dataclass(frozen=True)
class Limits:
    """What a notebook may take: seconds in all, of a cell, of a call of one function; threads; bytes of memory.

    The tiny model's lessons need 1.5 GiB of addresses a process, and 6 threads on two cores.
    """

    seconds: float
    cell_seconds: float
    call_seconds: float
    threads: int = 1
    memory: int = 4 * 2**30
    processes: int = 64

    @classmethod
    def of_minutes(cls, minutes: float, *, threads: int = 1) -> Limits:
        """The limits of a notebook that may take so long: a fifth of it for a cell, a tenth for a call."""
        return cls(minutes * 60, minutes * 12, minutes * 6, threads)

    def for_system(self) -> dict[str, int]:
        """The limits of one process, by their names in `resource`; RLIMIT_NPROC counts those of the sandbox."""
        return {
            "RLIMIT_AS": self.memory,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_CPU": int(self.seconds * self.threads) + _IMPORT,
            "RLIMIT_FSIZE": _DISK,
            "RLIMIT_NOFILE": 256,
            "RLIMIT_CORE": 0,
        }


class Program:
    """A notebook that runs in a sandbox; `channel` is the socket to it. At the end of the `with` all of it is gone."""

    def __init__(self, folder: Path, notebook: str, limits: Limits, *, facts: bool = False):
        self.channel, theirs = socket.socketpair()
        root = os.geteuid() == 0
        told = {
            "notebook": notebook,
            "facts": facts,
            "limits": limits.for_system(),
            "call_seconds": limits.call_seconds,
            "cell_seconds": limits.cell_seconds,
            "user": _NOBODY + 32 * os.getpid() + next(_NEXT) % 32 if root else None,
        }
        command = [*_walls(), "--ro-bind", str(folder), "/submitted", "--remount-ro", "/dev", "--remount-ro", "/"]
        command += _settings(limits.threads)
        command += [sys.executable, "-P", "-c", _START.format(str(PACKAGE.parent)), json.dumps(told)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=self._errors
            )
        self.too_much = False
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_memory, args=(limits.memory,), daemon=True)
        self._watch.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        inside = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()  # and with it, by --die-with-parent, everything in its namespace
        self._process.wait()
        psutil.wait_procs(inside, timeout=60)
        self._watch.join()
        self.channel.close()
        self._errors.close()

    def said(self) -> str:
        """The last line of what it said before a submission could speak in its place."""
        self._errors.seek(0)
        return last_line(self._errors.read(10_000)) or "its program ended without a word"

    def _watch_memory(self, most: int) -> None:
        """End it where its processes together have more memory of their own than one of them may have."""
        bubble = psutil.Process(self._process.pid)
        while not self._over.wait(_LOOK):
            with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by now
                total = sum(map(_memory, bubble.children(recursive=True)))
                if total > most:
                    self.too_much = True
                    self._process.kill()


def _memory(process: psutil.Process) -> int:
    """Bytes of a process, its part of what it shares with others among them."""
    try:
        return process.memory_full_info().pss
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        memory = process.memory_info()
        return memory.rss - memory.shared


def check_sandbox(*kept: Path) -> None:
    """Raise BadInput where no sandbox can be made here, or where it would show one of the folders `kept`."""
    for folder in map(Path, map(os.path.realpath, kept)):
        for seen in map(os.path.realpath, (*_SYSTEM, *_places())):
            if folder.is_relative_to(seen) or Path(seen).is_relative_to(folder):
                raise BadInput(f"A submission may read {seen}, so {folder} must not lie there, nor around it.")
    tried = subprocess.run([*_walls(), "true"], stdin=subprocess.DEVNULL, capture_output=True)
    if tried.returncode:
        said = last_line(tried.stderr) or "it gave no reason"
        raise BadInput(f"Submissions can only run in a sandbox, and bubblewrap cannot make one here: {said}")


def last_line(said: bytes) -> str:
    """The last line of what a program said, or nothing."""
    return said.decode(errors="replace").strip().rpartition("\n")[2]


@functools.cache
def _places() -> tuple[str, ...]:
    """The folders of Python and of this package, none within another."""
    found = {sys.prefix, sys.base_prefix, *site.getsitepackages(), str(PACKAGE)}
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    real = {os.path.realpath(each) for each in found} | found
    return tuple(sorted(each for each in real if os.path.isdir(each) and each != "/"))


@functools.cache
def _walls() -> tuple[str, ...]:
    """bubblewrap's command up to what is shown of this learner; raises BadInput where there is no bubblewrap."""
    bwrap = shutil.which("bwrap") if sys.platform == "linux" else None
    if not bwrap:
        raise BadInput(
            "Submissions are programs, and run only in a sandbox: on Linux, with bubblewrap. Install it (Debian, "
            "Ubuntu, Fedora: the package bubblewrap), or grade on such a machine; without a sandbox nothing is run."
        )
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.geteuid() == 0:  # it becomes another user inside; root itself has no limit of processes
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        told = subprocess.run([bwrap, "--help"], capture_output=True, text=True)
        newer = "--disable-userns" in told.stdout + told.stderr  # since 0.8: no namespaces within, no mounts in them
        command += ["--unshare-user", *["--disable-userns"] * newer]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(_DISK), "--perms", "1777", "--tmpfs", "/tmp"]
    shown = [*_SYSTEM, *_SETTINGS, *_places()]
    for folder in sorted({str(each) for place in shown for each in Path(place).parents} - {"/", "/tmp"}):
        command += ["--perms", "0755", "--dir", folder]
    for place in shown:
        if os.path.islink(place) and place in _SYSTEM:
            command += ["--symlink", os.readlink(place), place]
        elif os.path.exists(place):
            command += ["--ro-bind", place, place]
    return tuple(command)


def _settings(threads: int) -> list[str]:
    """The whole environment: nothing of the one who grades is in it."""
    given = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "USER": "learner",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUSERBASE": site.getuserbase(),
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), threads),
    }
    return ["--chdir", "/tmp", "--clearenv", *(x for pair in given.items() for x in ("--setenv", *map(str, pair)))]
