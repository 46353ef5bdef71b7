"""One submission: each of its notebooks in a sandbox, and the judges' word on what comes out of there.

It runs in a process of its own, `python -m sdlesson.grading.judge`, so that nothing of it is left for the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import json
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from ..exercises import Unanswered, judged, lesson_exercises
from ..fullsize import empty_parts
from ..loading.errors import BadInput, listed
from ..loading.writing import write_whole
from ..models import load
from .inside import sources
from .peer import Lost, Peer, as_bytes, from_bytes
from .sandbox import Limits, Program
from .submissions import exercises_in
from .values import Far, Unreadable

OPEN, WRONG, RIGHT = "open", "wrong", "right"
_BEGIN = 300.0  # seconds until PyTorch is imported; measured: 3 to 15, and more on a busy machine
_MOST = 2**33  # bytes of addresses; it needs 1.5 GiB
_DIE = 1  # PR_SET_PDEATHSIG of prctl(2)


def grade(folder: Path, notebooks: list[str], facts: dict[str, dict], limits: Limits) -> dict:
    """What the judges say of the notebooks in `folder`: exercise -> (OPEN, WRONG or RIGHT, the hint), and notes.

    `facts` holds what each exercise's judge has to know of its page; other exercises are left out. Of several answers
    in a notebook the last one counts, of several notebooks a right one; `...` is no answer. Raises RuntimeError where
    no program can be started.
    """
    tasks = {name: lesson_exercises(name.partition(".")[0])[name] for name in facts}
    word = {name: (OPEN, task.hint) for name, task in tasks.items()}
    notes = []
    for notebook in notebooks:
        here: dict[str, tuple[str, str]] = {}
        heard: set[str] = set()

        def hear(name: str, answer, _page, here=here, heard=heard) -> None:
            heard.add(name)
            if name in tasks:
                with contextlib.suppress(Unanswered):
                    mistake = judged(tasks[name], answer, facts[name])
                    here[name] = (WRONG, mistake.hint) if mistake else (RIGHT, "")

        note = _run(folder, notebook, limits, hear)
        if note or not heard:
            notes.append(f"{notebook}: {note or 'it came to none of its checks; a cell before them fails'}.")
        word |= {name: each for name, each in here.items() if word[name][0] != RIGHT}
    return {"exercises": word, "notes": notes}


def collect(folder: Path, notebook: str, limits: Limits) -> dict[str, dict]:
    """What the lesson, as it was handed out, tells the judges: exercise -> facts. Raises BadInput where it fails."""
    facts: dict[str, dict] = {}
    note = _run(folder, notebook, limits, lambda name, _, page: facts.update({name: page}), facts=True)
    if note:
        raise BadInput(f"{notebook} as it was handed out cannot be run: {note}.")
    wanted = exercises_in("\n".join(sources(folder / notebook)))
    if missed := sorted(wanted - facts.keys()):
        raise BadInput(f"{notebook} as it was handed out never comes to {listed(missed)}: a cell before it fails.")
    if unknown := sorted(name for name in facts if name not in lesson_exercises(name.partition(".")[0])):
        raise BadInput(f"{notebook} asks {listed(unknown)}, which this version of sdlesson has no judge for.")
    return facts


def _run(folder: Path, notebook: str, limits: Limits, hear: Callable, *, facts: bool = False) -> str | None:
    """Run a notebook, and `hear(name, answer, facts)` each check; what kept it from its end, or None."""
    with Program(folder, notebook, limits, facts=facts) as program:
        peer = Peer(program.channel, trusts=False, call_seconds=limits.call_seconds, ends=time.monotonic() + _BEGIN)
        try:
            peer.hear("begun")
        except Lost:
            raise RuntimeError(program.said()) from None
        peer.ends = time.monotonic() + limits.seconds
        try:
            while "end" not in (said := peer.hear("check", "end")):
                hear(str(said["check"]), said.get("answer"), said.get("facts"))
                peer.offered.clear()
                peer.send(judged=True)
        except Lost as lost:
            return "it took too much memory" if program.too_much else str(lost)
        if said["end"] is not True:
            return "it is no notebook"
        return "a cell or a function took too long and was stopped" if said.get("late") is True else None


def known(files: list[Path], topics: list[str]) -> dict[str, dict]:
    """The facts on `topics` in the files that `main` wrote, with models of this process's own for the page's."""
    facts: dict[str, dict] = {}
    for file in files:
        facts |= from_bytes(io.BytesIO(file.read_bytes()).read, _no_function, trusts=False)
    for page in facts.values():
        page |= {name: _own(name) for name, value in page.items() if isinstance(value, Unreadable | Far)}
    return {name: page for name, page in facts.items() if name.partition(".")[0] in topics}


@functools.cache
def _own(name: str):
    """The model that the pages call by this name."""
    return {"sd": lambda: load("tiny"), "unet": lambda: empty_parts("v1.4")["unet"]}[name]()


def _no_function(*_):
    raise ValueError("a page's facts are no functions")


def main() -> None:
    """Grade what stdin tells of, and print the result as JSON; or write a lesson's facts to a file."""
    ctypes.CDLL(None).prctl(_DIE, signal.SIGKILL)  # nothing goes on when the command has been killed
    resource.setrlimit(resource.RLIMIT_AS, (_MOST, _MOST))  # two answers may be made to multiply to any size
    warnings.simplefilter("ignore")
    told = json.load(sys.stdin)
    folder, limits = Path(told["folder"]), Limits(**told["limits"])
    result = {}
    try:
        if "collect" in told:
            facts = collect(folder, told["notebooks"][0], limits)
            write_whole(told["collect"], as_bytes(facts, _no_function))
        else:
            facts = known([Path(file) for file in told["facts"]], told["topics"])
            result = grade(folder, told["notebooks"], facts, limits)
    except BadInput as bad:
        result = {"bad": str(bad)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
