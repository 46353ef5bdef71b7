"""The grading of a folder of submissions: what of it is graded already, and the rest of it, several at once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tqdm.auto import tqdm

from ..exercises import lesson_exercises, topics
from ..loading.errors import BadInput, listed
from ..loading.writing import write_whole
from .sandbox import PACKAGE, Limits, last_line
from .submissions import Submission, digest, forget_copies, topics_in

_MOST_NOTEBOOKS = 40  # the project has 18
_SLACK = 300.0  # seconds that judging and two starts of PyTorch may take, beyond the notebook's own


class Room:
    """A run over submissions: `wanted` topics, the lessons as they were handed out, and where results go."""

    def __init__(self, into: Path, wanted: set[str], handed_out: Path, limits: Limits):
        self.into, self.wanted, self.limits = into, wanted, limits
        try:
            paths = sorted(path.resolve() for path in handed_out.glob("*.ipynb") if path.is_file())
            found = {path: topics_in(path) & wanted for path in paths}
        except OSError as error:
            raise BadInput(f"{error.filename} as it was handed out cannot be read: {error.strerror}.") from None
        if missing := sorted(wanted.difference(*found.values())):
            raise BadInput(f"{handed_out} holds no notebook that checks exercises of {', '.join(missing)}.")
        self.originals = [path for path, those in found.items() if those]
        judges = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".safetensors")]
        self.version = f"{digest({str(path): path for path in judges + self.originals})} {version('torch')}"
        try:
            into.mkdir(mode=0o700, parents=True, exist_ok=True)  # grades are nobody else's to read
            for name in ("results", "facts", "pages", "copies"):
                (into / name).mkdir(exist_ok=True)
            forget_copies(into / "copies")
        except OSError as error:
            raise BadInput(f"{error.filename} cannot be made: {error.strerror}.") from None
        self.facts: list[Path] = []

    def collect(self, original: Path) -> Path:
        """The file with what a lesson tells its judges; the lesson is run for it, once."""
        file = self.into / "facts" / f"{original.stem}-{self.version[:16]}"
        if not file.is_file():
            try:
                with Submission(original.stem, {original.name: original}).copied(self.into / "copies") as folder:
                    self._judge(folder, [original.name], collect=str(file))
            except (RuntimeError, OSError) as error:
                raise BadInput(f"{original.name} could not be run as it was handed out: {error}") from None
        return file

    def grade(self, each: Submission) -> dict:
        """What `judge.grade` says of a submission; kept in a file, or taken from it if it is of this very submission.

        Raises RuntimeError where it cannot be said.
        """
        if each.fault:
            raise RuntimeError(each.fault)
        kept = self.into / "results" / f"{each.page}.json"
        with each.copied(self.into / "copies") as folder:
            files = digest({name: folder / name for name in each.files})
            key = f"{self.version} {files} {self.limits.seconds} {sorted(self.wanted)} {each.note}"
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                if (old := json.loads(kept.read_bytes()))["key"] == key:
                    return old
            notebooks, notes = self._notebooks(each)
            facts = [str(file) for file in self.facts]
            result = self._judge(folder, notebooks, facts=facts, topics=[*self.wanted])
        result |= {"key": key, "page": each.page, "notes": [*filter(None, [each.note]), *notes, *result["notes"]]}
        write_whole(kept, json.dumps(result))
        return result

    def _notebooks(self, each: Submission) -> tuple[list[str], list[str]]:
        """The notebooks that count, in the order of their names, and what is to be said; RuntimeError if too many."""
        found = {name: those & self.wanted for name, those in each.topics.items() if those & self.wanted}
        if not found:
            return [], ["There is no notebook with exercises of these lessons."]
        if len(found) > _MOST_NOTEBOOKS:
            raise RuntimeError(f"{len(found)} notebooks of these lessons are more than {_MOST_NOTEBOOKS}")
        shared = [name for name in found if any(found[name] & found[other] for other in found if other != name)]
        both = "of two answers to one exercise, a right one counts"
        return [*found], [f"{listed(shared)} are of one lesson: {both}."] if shared else []

    def _judge(self, folder: Path, notebooks: list[str], **more) -> dict:
        """What `judge` says, in a process of its own; raises BadInput, or RuntimeError with its last words."""
        told = {"folder": str(folder), "notebooks": notebooks, "limits": asdict(self.limits), **more}
        own = {"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": str(self.limits.threads)}
        try:
            ended = subprocess.run(
                [sys.executable, "-P", "-m", "sdlesson.grading.judge"],
                input=json.dumps(told).encode(),
                capture_output=True,
                timeout=(1 + len(notebooks)) * (self.limits.seconds + _SLACK),
                env=os.environ | own,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError("judging took too long") from None
        if ended.returncode:
            raise RuntimeError(last_line(ended.stderr) or "judging it was killed")
        result = json.loads(ended.stdout)
        if "bad" in result:
            raise BadInput(result["bad"])
        return result


def grade_all(room: Room, everybody: list[Submission], jobs: int) -> tuple[list[str], dict[str, dict], dict[str, str]]:
    """Grade everybody, `jobs` at once: the exercises in order, learner -> result, and learner -> why there is none.

    Progress goes to stderr. Raises BadInput where a lesson cannot be run as it was handed out.
    """
    results: dict[str, dict] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            room.facts = list(
                tqdm(pool.map(room.collect, room.originals), "lessons", len(room.originals), unit="lesson")
            )
            running = {pool.submit(room.grade, each): each.learner for each in everybody}
            for done in tqdm(as_completed(running), "submissions", len(running), unit="learner"):
                try:
                    results[running[done]] = done.result()
                except (RuntimeError, OSError) as error:  # too little memory or disk for another process
                    failed[running[done]] = str(error)
                except MemoryError:
                    failed[running[done]] = "there is not enough memory; grade fewer at once (-j)"
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    checked = next(iter(results.values()))["exercises"] if results else {}
    ordered = [name for topic in topics() if topic in room.wanted for name in lesson_exercises(topic)]
    return [name for name in ordered if name in checked], results, failed
