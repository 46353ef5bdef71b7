"""A folder of submissions: whose they are, what of it is graded already, and the grading of the rest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm.auto import tqdm

from ..exercises import lesson_exercises, topics
from ..loading.errors import BadInput
from ..loading.writing import whole_file
from .sandbox import PACKAGE, Limits

_CHECK = re.compile(rb"""check\(\s*\\?["']([a-z_]{1,40})\.\d""")
_FLAT = re.compile(r"(.+?_(?:LATE_)?\d+)_\d+_.+\.ipynb", re.DOTALL)  # how Canvas names a file that it hands out
_PLAIN = re.compile(r"(?!.*-[0-9a-f]{12}$)[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")
_MOST_FILES, _MOST_BYTES = 1000, 2**28  # of one submission; all lessons with their pictures have 14 million bytes
_LARGE = "too many files, or too large ones: nothing was read"
_MOST_NOTEBOOKS = 40  # the project has 18
_SLACK = 300.0  # seconds that judging and two starts of PyTorch may take, beyond the notebook's own


@dataclass(frozen=True)
class Submission:
    """What a learner handed in: relative path -> file. Links, and all that is no plain file, are left out."""

    learner: str
    files: dict[str, Path]
    note: str = ""

    @property
    def page(self) -> str:
        """A name for this learner's result and page: the learner's own, where that is a plain one."""
        if _PLAIN.fullmatch(self.learner):
            return self.learner
        short = re.sub(r"[^A-Za-z0-9]+", "-", self.learner)[:40].strip("-")
        return f"{short}-{hashlib.sha256(os.fsencode(self.learner)).hexdigest()[:12]}"

    def topics(self) -> dict[str, set[str]]:
        """Notebook -> the topics whose exercises its text checks."""
        return {name: topics_in(file) for name, file in self.files.items() if name.endswith(".ipynb")}

    @contextlib.contextmanager
    def copied(self) -> Iterator[str]:
        """A folder with copies of the files; whoever is let into it may read them."""
        with tempfile.TemporaryDirectory(prefix="sdlesson-grade-") as home:
            top = Path(home, "all")
            top.mkdir()
            for name, file in self.files.items():
                (top / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, top / name, follow_symlinks=False)
            for path in (top, *top.rglob("*")):
                path.chmod(0o755)
            yield str(top)


def topics_in(notebook: Path) -> set[str]:
    """The topics whose exercises a notebook checks, by its text alone."""
    return {found.decode() for found in _CHECK.findall(notebook.read_bytes())} & {*topics()}


def submissions(folder: Path) -> list[Submission]:
    """The submissions in `folder`: a learner is a sub-folder, a notebook, or what Canvas calls by one name and number.

    Raises BadInput where there is none.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder} with submissions.")
    found: dict[str, Submission] = {}
    for entry in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if entry.is_symlink():
            found[entry.name] = Submission(entry.name, {}, "a link is not followed: nothing was read")
        elif entry.is_dir():
            found[entry.name] = _of_folder(entry)
        elif entry.suffix == ".ipynb" and entry.is_file():
            flat = _FLAT.fullmatch(entry.name)
            who = flat[1] if flat else entry.stem
            had = found[who].files if who in found else {}
            small = entry.stat().st_size <= _MOST_BYTES
            found[who] = Submission(who, {**had, entry.name: entry}) if small else Submission(who, {}, _LARGE)
    if not found:
        raise BadInput(f"{folder} holds no submissions: a folder or a notebook for each learner.")
    return list(found.values())


def _of_folder(home: Path) -> Submission:
    files: dict[str, Path] = {}
    size = 0
    for folder, inner, names in os.walk(home):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names)):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                files[path.relative_to(home).as_posix()], size = path, size + status.st_size
            if size > _MOST_BYTES or len(files) > _MOST_FILES:
                return Submission(home.name, {}, _LARGE)
    return Submission(home.name, files)


def digest(files: dict[str, Path]) -> str:
    """What stands for all files: another one, or another name, gives another digest."""
    whole = hashlib.sha256()
    for name, file in sorted(files.items()):
        for part in (os.fsencode(name), file.read_bytes()):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


class Room:
    """A run over submissions: `wanted` topics, the lessons as they were handed out, and where results go."""

    def __init__(self, into: Path, wanted: set[str], handed_out: Path, limits: Limits):
        self.into, self.wanted, self.limits = into, wanted, limits
        found = {path: topics_in(path) & wanted for path in sorted(handed_out.glob("*.ipynb"))}
        if missing := sorted(wanted.difference(*found.values())):
            raise BadInput(f"{handed_out} holds no notebook that checks exercises of {', '.join(missing)}.")
        self.originals = [path for path, those in found.items() if those]
        judges = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".safetensors")]
        self.version = f"{digest({str(path): path for path in judges + self.originals})} {version('torch')}"
        for name in ("results", "facts", "pages"):
            try:
                (into / name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"{into / name} cannot be made: {error.strerror}.") from None
        self.facts: list[Path] = []

    def collect(self, original: Path) -> Path:
        """The file with what a lesson tells its judges; the lesson is run for it, once."""
        file = self.into / "facts" / f"{original.stem}-{self.version[:16]}"
        if not file.is_file():
            with Submission(original.stem, {original.name: original}).copied() as folder:
                try:
                    self._judge(folder, [original.name], collect=str(file))
                except RuntimeError as error:
                    raise BadInput(f"{original.name} could not be run as it was handed out: {error}") from None
        return file

    def grade(self, each: Submission) -> dict:
        """What `judge.grade` says of a submission; kept in a file, or taken from it if it is of this very submission.

        Raises RuntimeError where it cannot be said.
        """
        key = f"{self.version} {digest(each.files)} {self.limits.seconds} {sorted(self.wanted)}"
        kept = self.into / "results" / f"{each.page}.json"
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if (old := json.loads(kept.read_bytes()))["key"] == key:
                return old
        notebooks = [name for name, those in each.topics().items() if those & self.wanted]
        note = each.note or ("" if notebooks else "no notebook with exercises of these lessons")
        if len(notebooks) > _MOST_NOTEBOOKS:
            notebooks, note = [], f"{len(notebooks)} notebooks are too many: none was run"
        with each.copied() as folder:
            result = self._judge(folder, notebooks, facts=[str(file) for file in self.facts])
        result |= {"key": key, "page": each.page, "notes": [*filter(None, [note]), *result["notes"]]}
        with whole_file(kept) as stream:
            stream.write(json.dumps(result).encode())
        return result

    def _judge(self, folder: str, notebooks: list[str], **more) -> dict:
        """What `judge` says, in a process of its own; raises BadInput, or RuntimeError with its last words."""
        told = {"folder": folder, "notebooks": notebooks, "limits": asdict(self.limits), **more}
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
            raise RuntimeError((ended.stderr.decode(errors="replace").strip().splitlines() or ["it was killed"])[-1])
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
                except RuntimeError as error:
                    failed[running[done]] = str(error)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    checked = next(iter(results.values()))["exercises"] if results else {}
    ordered = [name for topic in topics() if topic in room.wanted for name in lesson_exercises(topic)]
    return [name for name in ordered if name in checked], results, failed
