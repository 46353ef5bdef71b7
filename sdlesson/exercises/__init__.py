"""Exercises: `check` gives a hint first, then says what is wrong, then says well done.

The judges of a lesson stand under its topic beside this file (`guidance.py` for `guidance.1`) and are read when they
are first needed; what they share is in `compare.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .. import LESSONS, PAGES, lesson_number
from ..loading.errors import BadInput
from ..loading.writing import write_whole

#: The topics of lessons 00, 01 ... when exercises were named by number ("05.2"): a progress.json of that time counts.
_FORMER = (
    *("onepage", "tokens", "embeddings", "latents", "sigmas", "guidance"),
    *("decoding", "attention", "steering", "samplers", "training", "fullsize"),
)

#: Where progress is kept, in the folder of the notebook, once the learner has asked for it.
PROGRESS = Path("progress.json")
_MOST = 2**20  # bytes of a progress file; ours have some hundred
_PATIENCE = 5.0  # seconds after which a notebook that writes, a matter of milliseconds, must have been killed


class Mistake(NamedTuple):
    """One way to be wrong: what to think of again, and (at the second try) what is wrong."""

    hint: str
    wrong: str


@dataclass(frozen=True)
class Exercise:
    """An exercise: its task's hint, a judge (answer, **facts) -> Mistake or None, and what a right answer shows.

    A puzzle has a drawing, too: a function answer -> figure of what is wanted and what the answer does.
    """

    hint: str
    judge: Callable[..., Mistake | None]
    learned: str
    draw: Callable | None = None


class Unanswered(Exception):
    """Raised by a judge that finds the `...` of the exercise still in place."""


class Stopped(Exception):
    """Raised where there is a Mistake (the exception's only argument), and nothing to judge beyond it."""


EXERCISES: dict[str, Exercise] = {}
_tries: Counter[tuple[str, str]] = Counter()


def exercise(name: str, *, hint: str, learned: str):
    """Decorate a judge so that `check(name, ...)` finds it."""

    def decorate(judge):
        register(name, Exercise(hint, judge, learned))
        return judge

    return decorate


def register(name: str, task: Exercise) -> None:
    """Keep an exercise under its name."""
    EXERCISES[name] = task


def topics() -> list[str]:
    """The topics of the lessons that have exercises, in the lessons' order."""
    folder = Path(__file__).parent
    return [topic for topic in LESSONS | PAGES if (folder / f"{topic}.py").is_file()]


def lesson_exercises(topic: str) -> dict[str, Exercise]:
    """The exercises of one lesson ("sigmas"), by name, in order; empty where there is no such lesson."""
    if topic not in topics():
        return {}
    importlib.import_module(f".{topic}", __name__)
    return {name: task for name, task in EXERCISES.items() if name.startswith(f"{topic}.")}


def check(name: str, answer=..., *, draw: Callable | None = None, **facts):
    """Judge the learner's `answer` to exercise `name` and print one line or two about it.

    `facts` are what the judge needs to know of the lesson (the model in use, the settings before the change). An answer
    of `...` is no answer yet. The first time that a mistake is made its hint is printed, after that what is wrong. An
    answer that makes the judge fail is a mistake too. Gives back what a puzzle, or `draw(answer)`, shows of the
    answer, so that a notebook shows it; where that fails there is a sentence. Raises KeyError for an unknown name.
    """
    tasks = lesson_exercises(name.partition(".")[0])
    if name not in tasks:
        raise KeyError(f"no exercise {name!r}; there are {', '.join(tasks or topics())}")
    task = tasks[name]
    try:
        mistake = judged(task, answer, facts)
        _tell(name, task, mistake)
    except Unanswered:
        print(f"{name}: not answered yet.\nHint: {task.hint}")
        draw = None
    if task.draw:
        return task.draw(answer)
    try:
        return draw(answer) if draw else None
    except Exception as error:  # the answer may be anything
        print(f"It cannot be shown in this form: {in_short(error)}")


def _tell(name: str, task: Exercise, mistake: Mistake | None) -> None:
    """Print the judge's word: praise, a hint the first time, and after that what is wrong."""
    if mistake is None:
        print(f"{name}: well done! {task.learned}")
        _note(name)
        return
    _tries[name, mistake.wrong] += 1
    print(f"{name}: not yet.\n" + (f"Hint: {mistake.hint}" if _tries[name, mistake.wrong] == 1 else mistake.wrong))


def judged(task: Exercise, answer, facts) -> Mistake | None:
    """The judge's word on an answer; one of another kind than the judge can read counts as a mistake."""
    if answer is ...:
        raise Unanswered
    try:
        return task.judge(answer, **facts)
    except Unanswered:
        raise
    except Stopped as stopped:
        return stopped.args[0]
    except Exception as error:  # the learner's own function, or an answer of a wrong type, may raise anything
        said = in_short(error)
        if callable(answer):
            sizes = isinstance(error, RuntimeError | ValueError) and re.search("size|shape|dimension", said)
            asked = f"Which line does it{', and which shapes meet there' if sizes else ''}?"
            hint = f"Your function stops with an error. {asked} ({said}) {task.hint}"
            return Mistake(hint, f"Your function raises {said}")
        return Mistake(f"{task.hint} (Your answer could not be used: {said})", f"Your answer raises {said}")


def in_short(error: Exception) -> str:
    """An error in one short line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}"


def keep_progress() -> None:
    """Keep the names of solved exercises in progress.json, in the notebook's folder, from now on.

    Nothing is written before this is called; deleting the file ends it. Raises BadInput where it cannot be written.
    """
    _add()
    print(f"Solved exercises are kept in {PROGRESS}, in this notebook's folder. Delete the file to stop.")


def show_progress() -> None:
    """Print, for each lesson, which exercises are solved (as far as `keep_progress` was asked to keep them)."""
    if not os.path.lexists(PROGRESS):
        print("Nothing is kept yet: keep_progress() begins it.")
        return
    solved = _solved()
    for topic in topics():
        tasks = lesson_exercises(topic)
        marks = " ".join(f"{name} {'✓' if name in solved else '·'}" for name in tasks)
        title = f"{lesson_number(topic)} {(LESSONS | PAGES)[topic]}".strip()
        print(f"{title}: {len(solved & set(tasks))} of {len(tasks)}   {marks}")


def _note(name: str) -> None:
    """Remember that exercise `name` is solved, if the learner has asked for that; says what is in the way of it."""
    if os.path.lexists(PROGRESS):
        try:
            _add(name)
        except BadInput as bad:
            print(f"This is not kept: {bad}")


def _solved() -> set[str]:
    """The names in progress.json; raises BadInput where the file is not one of ours."""
    try:
        if not PROGRESS.is_file() or PROGRESS.stat().st_size > _MOST:
            raise ValueError
        names = json.loads(PROGRESS.read_text(encoding="utf-8"))["solved"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError
        return {_today(name) for name in names}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise BadInput(f"{PROGRESS} cannot be read; delete it, then call keep_progress() again.") from None


def _add(*names: str) -> None:
    """Write progress.json anew with `names` among those that it holds; one notebook after another."""
    with _alone():
        solved = _solved() if os.path.lexists(PROGRESS) else set()
        write_whole(PROGRESS, json.dumps({"solved": sorted(solved | {*names})}, indent=1))


@contextlib.contextmanager
def _alone():
    """Hold a lock beside the progress file, so that of two notebooks none loses what the other one writes."""
    lock, seen, since = PROGRESS.with_name(f".{PROGRESS.name}.lock"), None, 0.0
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            with contextlib.suppress(OSError):  # it may be gone by now
                if seen != (seen := lock.stat().st_mtime_ns):
                    since = time.monotonic()
                elif time.monotonic() > since + _PATIENCE:
                    lock.unlink()
            time.sleep(0.01)
        except OSError:  # a folder that cannot be written to: write_whole says so
            break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()


def _today(name: str) -> str:
    """What the exercise `name` is called now: "guidance.2" for "05.2"; other names stay as they are."""
    number, _, place = name.partition(".")
    former = dict(zip((f"{lesson:02}" for lesson in range(len(_FORMER))), _FORMER, strict=True))
    return f"{former[number]}.{place}" if number in former else name
