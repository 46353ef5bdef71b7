"""Grades: right answers count, and whatever else a submission does harms neither the judge nor anybody's mark."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from answers import planted
from PIL import Image
from safetensors.torch import save

if sys.platform != "linux":
    pytest.skip("submissions run on Linux alone", allow_module_level=True)

import sdlesson
from sdlesson.cli import main
from sdlesson.exercises import Exercise, Mistake, Unanswered, judged, lesson_exercises
from sdlesson.grading import inside, judge, peer, report, room, sandbox, submissions, values
from sdlesson.grading.sandbox import Limits, check_sandbox
from sdlesson.loading.errors import BadInput

FACTS = {"onepage.3": {}, "training.3": {}}
SHORT = Limits(seconds=60, cell_seconds=30, call_seconds=15)
GUIDE = "def guide(u, t, s):\n    return u + s * (t - u)\ncheck('onepage.3', guide)"
IMPORT = "import os, sys, socket, torch\nfrom sdlesson.exercises import check"
LAST = "def velocity(x, e, kept):\n    return kept.sqrt() * e - (1 - kept).sqrt() * x\ncheck('training.3', velocity)"


@pytest.fixture(scope="module")
def walls():
    """Skip where no sandbox can be made."""
    try:
        check_sandbox()
    except BadInput as bad:
        pytest.skip(str(bad))


def notebook(*cells: str) -> str:
    """A notebook of these cells, after one that imports what they need."""
    code = [{"cell_type": "code", "source": cell} for cell in (IMPORT, *cells)]
    return json.dumps({"cells": code, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def handed_in(folder: Path, *cells: str) -> Path:
    """A submission: a folder with one notebook, open to all as a copy is."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "mine.ipynb").write_text(notebook(*cells))
    return folder


def graded(folder: Path, limits: Limits, facts: dict[str, dict]) -> tuple[dict[str, str], list[str]]:
    """Exercise -> mark, and notes, of a submission."""
    said = judge.grade(folder, ["mine.ipynb"], facts, limits)
    return {name: mark for name, (mark, _) in said["exercises"].items()}, said["notes"]


def talk(**options):
    """Two ends of a talk: the judge's, and the bare socket of the other one."""
    mine, theirs = socket.socketpair()
    return peer.Peer(mine, trusts=False, call_seconds=0.2, **options), theirs


@pytest.fixture
def ends(monkeypatch):
    """A judge's end and an honest program's; the latter answers calls in a thread."""
    monkeypatch.setattr(peer, "limited", lambda _seconds: contextlib.nullcontext())  # an alarm is the main thread's
    mine, theirs = socket.socketpair()
    judging = peer.Peer(mine, trusts=False, call_seconds=60)
    honest = peer.Peer(theirs, trusts=True, call_seconds=60)

    def answer():
        with contextlib.suppress(peer.Lost):
            honest.hear("nothing")

    thread = threading.Thread(target=answer)
    thread.start()
    yield judging, honest
    mine.close()
    thread.join()


def there_and_back(ends, value):
    """What arrives of a value at the judge's end."""
    judging, honest = ends
    honest.send(answer=value)
    return judging.hear("answer")["answer"]


@pytest.mark.parametrize(("each", "least"), [(4, 200), pytest.param(1, 700, marks=pytest.mark.full)])
def test_right_answers_are_right_on_the_other_side_too(ends, tiny, each, least):
    """Every exercise's right answers, each fourth or all of their forms, and one wrong one with its own hint."""
    many = 0
    for topic in (*sdlesson.LESSONS, "symptoms"):
        for name, task in lesson_exercises(topic).items():
            plan = planted(topic)[name]
            right, wrong = (table(tiny) if callable(table) else table for table in (plan["right"], plan["wrong"]))
            for answer in right[::each]:
                if not hasattr(answer, "__next__"):  # an iterator is used up once it was sent
                    assert judged(task, there_and_back(ends, answer), plan["facts"](tiny)) is None, name
                    many += 1
            mistaken = list(wrong.values())[0]
            try:
                expected = judged(task, mistaken, plan["facts"](tiny))
            except Unanswered:
                continue
            assert judged(task, there_and_back(ends, mistaken), plan["facts"](tiny)) == expected, name
    assert many >= least


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            ...,
            True,
            7,
            -(2**90),
            0.5,
            float("inf"),
            "a horse",
            [1, [2.0]],
            (1, "a"),
            {1, 2},
            {"a": (1,), 2: None},
        ),
        *(torch.float16, np.float32(0.5), np.array(3), np.zeros((0, 3), dtype=np.int16), np.arange(3, dtype=">f4")),
        *(torch.zeros(0, 4), torch.tensor(True), torch.ones(2, 3, dtype=torch.bfloat16), torch.arange(6).view(2, 3).T),
    ],
    ids=str,
)
def test_values_arrive_as_they_were(ends, value):
    got = there_and_back(ends, value)
    if isinstance(value, torch.Tensor):
        assert got.dtype == value.dtype and torch.equal(got, value)
    elif isinstance(value, np.ndarray):
        assert np.array_equal(np.asarray(got), value)
    else:
        assert got == value and type(got) in (type(value), float)


def test_a_picture_a_scheduler_and_a_file_cross(ends, tiny, tmp_path):
    picture = Image.effect_noise((5, 4), 50).convert("RGB")
    assert there_and_back(ends, picture).tobytes() == picture.tobytes()

    def use(scheduler, guess, file):
        scheduler.set_timesteps(3)
        picture.save(file)
        return guess(scheduler.timesteps, k=2)

    got = there_and_back(ends, use)(tiny.scheduler, lambda x, k: x * k, str(tmp_path / "new.png"))
    assert got.tolist() == [1998.0, 999.0, 0.0]
    assert Image.open(tmp_path / "new.png").tobytes() == picture.tobytes()


def test_an_error_and_the_common_generator_are_told(ends):
    def spoil(kind):
        torch.manual_seed(3)
        raise {"known": ZeroDivisionError, "other": type("Odd", (BaseException,), {})}[kind]("no slope")

    far = there_and_back(ends, spoil)
    with pytest.raises(ZeroDivisionError, match="no slope"):
        far("known")
    with pytest.raises(Exception, match="no slope") as caught:
        far("other")
    assert caught.type.__name__ == "Odd"
    before = torch.get_rng_state()
    there_and_back(ends, lambda: 1)()
    assert torch.equal(before, torch.get_rng_state())
    there_and_back(ends, lambda: torch.rand(()))()
    assert not torch.equal(before, torch.get_rng_state())


def test_what_a_function_writes_into_its_arguments_is_told(ends):
    def exchange(rows, a, b, *_):
        rows[[a, b]] = rows[[b, a]]
        return rows

    given = torch.arange(6.0).view(3, 2)
    assert there_and_back(ends, lambda rows: rows.flip(0))(given).tolist() == [[4, 5], [2, 3], [0, 1]]
    assert given.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert there_and_back(ends, exchange)(given, 0, 2).tolist() == given.tolist() == [[4, 5], [2, 3], [0, 1]]
    task = lesson_exercises("embeddings")["embeddings.8"]
    told = judged(task, exchange, {})
    assert told is not None and judged(task, there_and_back(ends, exchange), {}) == told


@pytest.mark.parametrize("written", [None, 3, "x", [], [3], [torch.zeros(2)], {"0": torch.zeros(3)}])
def test_only_numbers_that_fit_are_written_into_arguments(written):
    given = torch.ones(3)
    peer._write_into((given,), written)
    assert given.tolist() == [1, 1, 1]


class Liar:
    """It says that it equals everything, whatever is asked."""

    __hash__ = object.__hash__

    def __eq__(self, _other):
        return True

    def __getattr__(self, name):
        return lambda *_: True

    @classmethod
    def __torch_function__(cls, *_):
        return True


@pytest.mark.parametrize("value", [Liar(), 2**5000, "a" * 200_000, torch.ones(2).to("meta"), object(), 2j])
def test_what_cannot_cross_could_not_be_read(ends, value):
    assert "could not be read" in repr(there_and_back(ends, value))


def test_what_is_too_large_or_too_deep_could_not_be_read(ends):
    assert "could not be read" in repr(there_and_back(ends, torch.zeros(2**25)))
    deep = []
    for _ in range(100):
        deep = [deep]
    assert "could not be read" in repr(there_and_back(ends, deep))


@pytest.mark.parametrize(
    "packed",
    [
        *({"tensor": "1"}, {"tensor": ["0"]}, {"array": 0}, {"array": "half"}, {"picture": "0"}, {"picture": "half"}),
        *({"scheduler": ["LMSDiscreteScheduler", {"dict": []}, {"dict": []}]}, {"file": ".png"}, {"dict": [[1]]}),
        *({"pickle": "cos"}, {}, {"a": 1, "b": 2}, {"dtype": "load"}, {"function": 3}, {"set": [[1]]}),
    ],
)
def test_bytes_that_nobody_packed_are_no_value(packed):
    tensors = {"0": torch.zeros(3, 4, 2), "half": torch.zeros(3, 4, dtype=torch.bfloat16)}
    got = values.unpack(packed, tensors, None, trusts=False)
    assert isinstance(got, values.Unreadable)


def test_a_byte_is_true_or_false():
    odd = torch.tensor([0, 1, 255], dtype=torch.uint8).view(torch.bool)
    for kind in ("tensor", "array"):
        got = values.unpack({kind: "0"}, {"0": odd}, None, trusts=False)
        assert (got == True).tolist() == [False, True, True]  # noqa: E712


def said(body: bytes, numbers: bytes = save({}), more: int = 0) -> bytes:
    return struct.pack(">II", len(body), len(numbers) + more) + body + numbers


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (b"\xff" * 100, "too long"),
        (said(b"no json"), "no message"),
        (said(b"[" * 100_000), "no message"),
        (said(b'"end"'), "no message"),
        (said(b"{}", b"numbers"), "no message"),
        (said(b"{}", struct.pack("<Q", 2**60)), "no message"),
        (said(b"{}", save({"0": torch.zeros(9)})[:-1]), "no message"),
        (said(b"{}", save({"0": torch.zeros(9)}).replace(b"[9]", b"[8]")), "no message"),
        (said(b'{"passed": true}'), "out of turn"),
        (said(b'{"result": 1}'), "out of turn"),
        (b"", "has ended"),
        (said(b"{}", more=10), "has ended"),
        (said(b"{}", more=2**28), "too long"),
    ],
)
def test_whoever_speaks_as_nobody_should_is_heard_no_more(told, words):
    judging, other = talk()
    other.sendall(told)
    other.close()
    with pytest.raises(peer.Lost, match=words):
        judging.hear("check", "end")


def test_an_endless_talker_a_silent_one_and_a_deaf_one_are_left(monkeypatch):
    monkeypatch.setattr(peer, "MOST_MESSAGES", 50)
    judging, other = talk()
    call = said(b'{"call": 77, "arguments": [], "keywords": {"dict": []}}')
    other.sendall(call * 60)
    with pytest.raises(peer.Lost, match="too many"):
        judging.hear("check")
    judging, other = talk()
    with pytest.raises(peer.Lost, match="too long"):
        judging.ask(0, (), {})
    other.sendall(said(b'{"check": "onepage.3"}'))
    with pytest.raises(peer.Lost):  # late, and so for ever
        judging.hear("check")
    judging, other = talk()
    with pytest.raises(peer.Lost, match="listen"):
        judging.send(answer=torch.zeros(2**23))


#: What ends a program in the middle: a cell, what is said of it (None: the next cells run), and the limits.
ENDS = {
    "a call that never returns": (
        "def velocity(*_):\n    while True: pass\ncheck('training.3', velocity)",
        None,
        {"call_seconds": 2},
    ),
    "leaves": ("os._exit(0)", "its program has ended", {}),
    "garbage": ("[os.write(fd, b'passed' * 99) for fd in range(3, 9)]", "", {}),
    "memory": ("x = [bytearray(2**30) for _ in range(10)]", None, {}),
    "children": (
        "os.fork(); os.fork(); x = bytearray(b'1') * 700_000_000\nimport time; time.sleep(90)",
        "it took too much memory",
        {"memory": 2 * 2**30},
    ),
    "loop": ("while True: pass", None, {"cell_seconds": 3}),
    "bomb": ("while True:\n    os.fork()", None, {}),
    "deaf": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\nwhile True: pass",
        "it took too long",
        {"seconds": 5, "cell_seconds": 1},
    ),
}


def gone(since: float) -> bool:
    """Has every process that began after `since` and runs in a sandbox ended? The kernel has 20 seconds for it."""
    mine = f"sys.path.insert(0, {str(sandbox.PACKAGE.parent)!r}); from sdlesson.grading.inside"
    until = time.monotonic() + 20
    while True:
        living = psutil.process_iter(["cmdline", "create_time"])
        young = [each.info["cmdline"] or () for each in living if each.info["create_time"] >= since]
        if not any(mine in " ".join(command) for command in young):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.2)


#: What does not end a program: the marks are those of the last real answers.
TRICKS = [
    "open('progress.json', 'w').write('{\"solved\": [\"onepage.3\", \"training.3\"]}')",
    "check('onepage.3', lambda u, t, s: u)",
    *("1 / 0", "this is no Python", "peer = channel = shell = judged = json = os = exercises = None"),
    *(ENDS[trick][0].replace("training.3", "guidance.6") for trick in ENDS if ENDS[trick][1] is None),
    "class Liar(torch.Tensor):\n    __eq__ = __lt__ = __ge__ = lambda *_: True\n    __hash__ = object.__hash__\n"
    "    @classmethod\n    def __torch_function__(cls, *a, **k):\n        return True\n"
    "check('guidance.5', lambda *_: Liar())\ncheck('guidance.7', Liar())",
    *(GUIDE, "check('onepage.3', ...)", f"%matplotlib inline\n{LAST}"),
    "import sdlesson.exercises as e\ne.check = check = lambda *_: print('well done')",
    "check('onepage.3', 5)",
    "from gc import get_objects\nfrom sdlesson.grading.peer import Peer",
    "talk = [x for x in get_objects() if isinstance(x, Peer)][0]",
    "talk.send(check='onepage.99', answer=1)\ntalk.hear('judged')",
]


def probes(subs: Path, port: int) -> dict[str, str]:
    """What a program in `subs` may not see or do -> Python that tries; where it is True, or what was seen, it could."""
    package = Path(sdlesson.__file__).parent
    return {
        "neighbour": f"os.path.exists({str(subs / 'deaf')!r})",
        "grades": f"os.path.exists({str(subs.parent / 'secret')!r})",
        "home": f"os.path.exists({str(Path.home() / '.ssh')!r}) or os.path.exists('/home')",
        "users": "os.path.exists('/etc/passwd')",
        "link": "os.path.lexists('link') and open('link').read()",
        "write package": f"open({str(package / 'cli.py')!r}, 'a')",
        "write model": f"open({str(package / 'checkpoint' / 'new')!r}, 'w')",
        "write submission": "open('/submitted/mine.ipynb', 'w')",
        "write root": "open('/new', 'w')",
        "write devices": "open('/dev/shm/new', 'w')",
        "mount": "os.system('mount -t tmpfs none /usr') == 0",
        "root": "os.getuid() == 0 and os.listdir('/root')",
        "become": "os.setuid(0) is None",
        "others": f"os.path.exists('/proc/{os.getpid()}')",
        "environment": "os.environ['SECRET']",
        "here": f"socket.create_connection(('127.0.0.1', {port}), 2)",
        "there": "socket.create_connection(('192.0.2.1', 80), 2)",
        "fill": "open('large', 'wb').write(bytes(400_000_000))",
    }


@pytest.fixture(scope="module")
def ran(walls, tmp_path_factory):
    """Three programs, two at once; name -> marks and notes. The first one tries to look and to write outside, too."""
    home, since, running = tmp_path_factory.mktemp("ran"), time.time() - 1, {}
    subs, facts = home / "subs", FACTS | {f"guidance.{number}": {} for number in (5, 6, 7)}
    (home / "secret").write_text("the grades")
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.MonkeyPatch.context() as patch,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        patch.setenv("SECRET", "1")
        tried = probes(subs, server.getsockname()[1]) | {"nothing": "False", "something": "True"}
        found = Exercise("", lambda answer: Mistake("", "") if answer else None, "")
        tasks = {f"probe.{name}": found for name in tried}
        patch.setattr(judge, "lesson_exercises", lambda topic: tasks if topic == "probe" else lesson_exercises(topic))
        looks = [f"check('probe.{name}', bool({probe}))" for name, probe in tried.items()]
        handed_in(subs / "tricks", *looks, *TRICKS)
        (subs / "tricks" / "link").symlink_to(home / "secret")
        before = (subs / "tricks" / "mine.ipynb").read_bytes()
        limits = dataclasses.replace(SHORT, call_seconds=1, cell_seconds=2, memory=2 * 2**30)
        running["tricks"] = pool.submit(graded, subs / "tricks", limits, facts | dict.fromkeys(tasks, {}))
        for name in ("children", "deaf"):
            middle, _, own = ENDS[name]
            folder = handed_in(subs / name, GUIDE, middle, LAST)
            running[name] = pool.submit(graded, folder, dataclasses.replace(SHORT, **own), facts)
        results = {name: each.result() for name, each in running.items()}
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert gone(since) and (subs / "tricks" / "mine.ipynb").read_bytes() == before
    return results


def test_nothing_outside_is_seen_or_changed(ran):
    """What a program can do in there, as its own reports say; nobody but this test believes them."""
    marks = {name.partition(".")[2]: mark for name, mark in ran["tricks"][0].items() if name.startswith("probe.")}
    assert marks.pop("nothing") == judge.RIGHT and marks.pop("something") == judge.WRONG and len(marks) == 18
    assert judge.WRONG not in marks.values(), marks
    assert not (Path(sdlesson.__file__).parent / "checkpoint" / "new").exists()


def test_only_answers_count(ran):
    marks, notes = ran["tricks"]
    marks = {name: mark for name, mark in marks.items() if not name.startswith("probe.")}
    right = dict.fromkeys(FACTS, judge.RIGHT)
    assert marks == right | {f"guidance.{number}": judge.WRONG for number in (5, 6, 7)}
    assert notes == ["mine.ipynb: a cell or a function took too long and was stopped."]


@pytest.mark.parametrize("trick", ["children", "deaf"])
def test_a_program_that_is_stopped_has_the_marks_it_earned(ran, trick):
    marks, notes = ran[trick]
    earned = {name: judge.RIGHT if name == "onepage.3" else judge.OPEN for name in marks}
    assert marks == earned and ENDS[trick][1] in notes[0]


def guide(u, t, s):
    return u + s * (t - u)


@pytest.mark.parametrize(
    ("answers", "mark"),
    [
        ({"a": [guide], "b": [max]}, judge.RIGHT),
        ({"a": [max], "b": [guide]}, judge.RIGHT),
        ({"a": [guide, max], "b": [...]}, judge.WRONG),
        ({"a": [max, guide, ...]}, judge.RIGHT),
        ({"a": [...]}, judge.OPEN),
    ],
)
def test_the_last_answer_of_a_notebook_counts_and_the_best_of_several(tmp_path, monkeypatch, answers, mark):
    def run(folder, notebook, limits, hear):
        for answer in answers[notebook]:
            hear("onepage.3", answer, {})

    monkeypatch.setattr(judge, "_run", run)
    assert judge.grade(tmp_path, [*answers], {"onepage.3": {}}, SHORT)["exercises"]["onepage.3"][0] == mark


@pytest.mark.parametrize(("asked", "notes"), [([], 1), (["onepage.3"], 0), (["another.1"], 0)])
def test_a_notebook_that_never_comes_to_a_check_is_told(tmp_path, monkeypatch, asked, notes):
    monkeypatch.setattr(
        judge, "_run", lambda folder, notebook, limits, hear: [hear(name, ..., {}) for name in asked] and None
    )
    said = judge.grade(tmp_path, ["a.ipynb"], {"onepage.3": {}}, SHORT)["notes"]
    assert said == ["a.ipynb: it came to none of its checks; a cell before them fails."] * notes


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "{}", '{"cells": 1}', '{"cells": [1]}', '{"cells": [{}]}'])
def test_what_is_no_notebook_has_no_cells(tmp_path, text):
    (tmp_path / "mine.ipynb").write_text(text)
    with pytest.raises(inside.NO_NOTEBOOK):
        inside.sources(tmp_path / "mine.ipynb")


def test_without_bubblewrap_nothing_is_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sandbox.shutil, "which", lambda _name: None)
    sandbox._walls.cache_clear()
    handed_in(tmp_path / "subs" / "anna", GUIDE)
    with pytest.raises(SystemExit) as left:
        main(["grade", str(tmp_path / "subs")])
    sandbox._walls.cache_clear()
    assert left.value.code == 2 and "without a sandbox nothing is run" in capsys.readouterr().err
    assert not (tmp_path / "subs-grades").exists()


def test_submissions_may_not_lie_where_a_submission_can_look(walls):
    with pytest.raises(BadInput, match="must not lie there"):
        check_sandbox(Path(sdlesson.__file__).parent / "new")
    with pytest.raises(BadInput, match="must not lie there"):
        check_sandbox(Path("/usr/local/subs"))


HOSTILE = [
    "..anna",
    "a\nb",
    "=HYPERLINK(1)",
    "x" * 240,
    "<script>",
    "b-0123456789ab",
    b"\xff".decode(errors="surrogateescape"),
]


def test_a_folder_of_submissions_is_read_without_following_anything(tmp_path):
    home = tmp_path / "subs"
    for name in HOSTILE:
        handed_in(home / name, GUIDE)
    handed_in(home / "anna" / "deep", GUIDE)
    (home / "anna" / "out").symlink_to(tmp_path)
    (home / "anna" / "file").symlink_to(__file__)
    (home / "away").symlink_to(tmp_path)
    (home / "lone.ipynb").write_text(notebook(GUIDE))
    for name in (
        "doeJane_LATE_17_301_00_one_page.ipynb",
        "doeJane_LATE_17_302_04_sigmas.ipynb",
        ".hidden.ipynb",
        "list.csv",
    ):
        (home / name).write_text(notebook(GUIDE))
    os.mkfifo(home / "anna" / "pipe")
    everybody, others = submissions.submissions(home)
    found = {each.learner: each for each in everybody}
    assert {*found} == {*HOSTILE[1:], "anna", "away", "lone", "doeJane_LATE_17"}  # what begins with a point is hidden
    assert others == ["list.csv"] and found["anna"].note == "Links and pipes are not read: file, out and pipe."
    assert [*found["anna"].files] == ["deep/mine.ipynb"] and found["anna"].topics == {"deep/mine.ipynb": {"onepage"}}
    assert found["away"].files == {} and "Links" in found["away"].note
    assert len(found["doeJane_LATE_17"].files) == 2
    pages = [each.page for each in found.values()]
    assert len({*pages}) == len(pages) and found["anna"].page == "anna"
    for page in pages:
        assert page.isascii() and "/" not in page and not page.startswith(".") and len(page) < 90
    with found["anna"].copied(tmp_path) as copy:
        assert [path.name for path in copy.rglob("*")] == ["deep", "mine.ipynb"]


def test_what_changes_after_it_was_found_is_told(tmp_path, monkeypatch):
    """A folder that has become a link to another learner's work, and a file that has grown."""
    handed_in(tmp_path / "subs" / "emmy" / "week", GUIDE)
    (handed_in(tmp_path / "subs" / "mallory" / "week", "1") / "data.bin").touch()
    everybody = {each.learner: each for each in submissions.submissions(tmp_path / "subs")[0]}
    os.truncate(tmp_path / "subs/mallory/week/data.bin", 2**43)
    with pytest.raises(RuntimeError, match="data.bin cannot be copied: there are more than 128 MiB by now"):
        everybody["mallory"].copied(tmp_path).__enter__()
    (tmp_path / "subs/mallory/week/data.bin").write_bytes(b"")
    (tmp_path / "subs/mallory/week").rename(tmp_path / "gone")
    (tmp_path / "subs/mallory/week").symlink_to(tmp_path / "subs/emmy/week")
    (tmp_path / "subs/emmy/week/data.bin").touch()
    with pytest.raises(RuntimeError, match="a link has come in its way"):
        everybody["mallory"].copied(tmp_path).__enter__()
    monkeypatch.setattr(submissions, "_MOST_BYTES", 1000)  # of all files together
    (tmp_path / "subs/emmy/week/more").write_bytes(bytes(900))
    with pytest.raises(RuntimeError, match="cannot be copied: there are more than"):
        dataclasses.replace(
            everybody["emmy"], files={name: tmp_path / "subs/emmy/week" / name for name in ("mine.ipynb", "more")}
        ).copied(tmp_path).__enter__()


def test_copies_that_a_kill_has_left_are_deleted(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for owner in (gone.pid, os.getpid()):
        (tmp_path / f"{owner}-abc" / "all").mkdir(parents=True)
    submissions.forget_copies(tmp_path)
    assert [left.name for left in tmp_path.iterdir()] == [f"{os.getpid()}-abc"]


def test_a_submission_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "_MOST_BYTES", 1000)
    (handed_in(tmp_path / "subs" / "anna", GUIDE) / "data").write_bytes(bytes(2000))
    (tmp_path / "subs" / "lone.ipynb").write_bytes(bytes(2000))
    anna, lone = submissions.submissions(tmp_path / "subs")[0]
    for each in (anna, lone):
        assert each.files == {} and each.fault == "it has more than 1000 files or 0 MiB"


def result(page: str, *marks: str, notes=()) -> dict:
    exercises = {
        f"onepage.{number}": (mark, "A <b>hint</b>." * (mark != judge.RIGHT)) for number, mark in enumerate(marks, 1)
    }
    return {"page": page, "exercises": exercises, "notes": [*notes]}


def test_table_and_pages_are_plain_text(tmp_path):
    (tmp_path / "pages").mkdir()
    results = {name: result(f"p{number}", judge.RIGHT, judge.WRONG, judge.OPEN) for number, name in enumerate(HOSTILE)}
    results["zoe"] = result("zoe", judge.OPEN, judge.RIGHT, judge.RIGHT, notes=["=1+1"])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "yan.json").write_text("{}")
    for name in ("yan", "mine"):
        (tmp_path / "pages" / f"{name}.html").write_text("of an earlier run, or somebody's own")
    report.write_report(tmp_path, ["onepage.1", "onepage.2", "onepage.3"], results, {"yan": "killed"})
    text = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["learner", "onepage.1", "onepage.2", "onepage.3", "points", "of", "notes"]
    assert ["zoe", "", "1", "1", "2", "3", "'=1+1"] in rows and [
        "yan",
        "",
        "",
        "",
        "",
        "",
        "not graded: killed",
    ] in rows
    assert ["'=HYPERLINK(1)", "1", "0", "", "1", "3", ""] in rows and ["a�b", "1", "0", "", "1", "3", ""] in rows
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    for cell in ("=1+1", " +1", "＝1", "-1", "a;=1+1", "a; @b"):
        assert list(csv.reader([report.table([[cell]])])) == [[re.sub("([=+＝@-].*)", r"'\1", cell)]]
    assert not (tmp_path / "pages" / "yan.html").exists() and (tmp_path / "pages" / "mine.html").exists()
    page = (tmp_path / "pages" / "p4.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page and "<script>" not in page and "A &lt;b&gt;hint&lt;/b&gt;." in page
    assert "1 of 3 exercises are right" in page


def test_platforms_get_their_own_numbers(tmp_path):
    results = {
        "Ana Díaz_4711_assignsubmission_file_": result("a", judge.RIGHT, judge.OPEN),
        "doeJane_LATE_17": result("b", judge.RIGHT, judge.RIGHT),
        "-1_5_assignsubmission_file": result("c", judge.WRONG, judge.OPEN),
    }
    left = report.write_import(tmp_path, "moodle", "", results)
    rows = list(csv.reader(io.StringIO((tmp_path / "moodle.csv").read_text(encoding="utf-8"))))
    assert left == ["doeJane_LATE_17"] and rows[0][:3] == ["Identifier", "Grade", "Last modified (grade)"]
    assert rows[2] == ["Participant 4711", "1", "", "Ana Díaz", "onepage.2: A <b>hint</b>."] and rows[1][3] == "'-1"
    left = report.write_import(tmp_path, "canvas", "The grade (9)", results)
    rows = list(csv.reader(io.StringIO((tmp_path / "canvas.csv").read_text(encoding="utf-8"))))
    assert rows == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "The grade (9)"],
        ["    Points Possible", "", "", "", "", "2"],
        ["doeJane", "17", "", "", "", "2"],
    ]


def test_what_is_graded_is_not_graded_again(tmp_path, monkeypatch):
    handed_in(tmp_path / "subs" / "anna", GUIDE)
    handed_in(tmp_path / "hand", GUIDE)
    runs = []

    def judged_so(self, folder, notebooks, **more):
        runs.append(notebooks)
        return {} if "collect" in more else {"exercises": {"onepage.3": [judge.RIGHT, ""]}, "notes": []}

    monkeypatch.setattr(room.Room, "_judge", judged_so)

    def grade():
        where = room.Room(tmp_path / "grades", {"onepage"}, tmp_path / "hand", SHORT)
        return room.grade_all(where, submissions.submissions(tmp_path / "subs")[0], 1)

    first = grade()
    assert (tmp_path / "grades").stat().st_mode & 0o777 == 0o700  # in a room on one server nobody else may read them
    assert first[0] == ["onepage.3"] and first[1]["anna"]["exercises"]["onepage.3"][0] == judge.RIGHT
    assert len(runs) == 2  # the lesson, which wrote no facts here, and the submission
    assert grade() == first and len(runs) == 3
    (tmp_path / "subs" / "anna" / "mine.ipynb").write_text(notebook(GUIDE, "1"))
    grade()
    assert len(runs) == 5
    (tmp_path / "grades" / "results" / "anna.json").write_text("{")
    assert grade()[1]["anna"]["exercises"] == first[1]["anna"]["exercises"] and len(runs) == 7
    with pytest.raises(BadInput, match="no notebook that checks exercises of sigmas"):
        room.Room(tmp_path / "grades", {"sigmas"}, tmp_path / "hand", SHORT)


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Grade `subs` by the command, with a judge that says "right" of each notebook that it is given; the rows."""
    monkeypatch.setattr(sandbox, "check_sandbox", lambda *_: None)
    handed_in(tmp_path / "hand", GUIDE)

    def say_right(self, folder, notebooks, **more):
        assert all((folder / name).is_file() for name in notebooks)
        return {"exercises": {"onepage.3": [judge.RIGHT if notebooks else judge.OPEN, ""]}, "notes": []}

    monkeypatch.setattr(room.Room, "_judge", say_right)

    def grade(*more):
        with pytest.raises(SystemExit) as left:
            main(["grade", str(tmp_path / "subs"), "--handed-out", str(tmp_path / "hand"), *more])
        with open(tmp_path / "subs-grades" / "grades.csv", encoding="utf-8", newline="") as stream:
            rows = {row["learner"]: (row["points"], row["notes"]) for row in csv.DictReader(stream)}
        return left.value.code, rows

    return grade


def test_what_cannot_be_read_is_told_in_its_own_row(quick, tmp_path, monkeypatch, capsys):
    """Each fault of a file system is a sentence, and the others are graded."""
    home = tmp_path / "subs"
    for name in ("anna", "closed", "data", "folder", "links", "pipes", "deep"):
        handed_in(home / name, GUIDE)
    odd = os.fsdecode(b"\xff.ipynb")
    (home / "anna" / odd).write_text(notebook(GUIDE))
    (home / "folder" / "other.ipynb").mkdir()
    (home / "data" / "closed.csv").touch()
    for name, target in (("loop.ipynb", "loop.ipynb"), ("gone.ipynb", "nowhere"), ("up", "..")):
        (home / "links" / name).symlink_to(target)
    for number in range(3):
        os.mkfifo(home / "pipes" / f"{number}.ipynb")
    os.mkfifo(home / "pipe.ipynb")
    (home / "gone.ipynb").symlink_to("nowhere")
    (home / "shut").mkdir()
    listing, opening = Path.iterdir, os.open

    def list_it(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        if path.name == "deep":
            raise RecursionError
        return listing(path)

    def open_it(path, *how, **more):
        if os.fsdecode(path).endswith(("/closed/mine.ipynb", "/subs/data/closed.csv")):
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *how, **more)

    monkeypatch.setattr(Path, "iterdir", list_it)
    monkeypatch.setattr(os, "open", open_it)
    code, rows = quick()
    none, links = "There is no notebook with exercises of these lessons.", "Links and pipes are not read:"
    assert rows == {
        "anna": ("1", "mine.ipynb and �.ipynb are of one lesson: of two answers to one exercise, a right one "
                 "counts."),
        "closed": ("", "not graded: mine.ipynb cannot be read: Permission denied"),
        "data": ("", "not graded: closed.csv cannot be copied: Permission denied"),
        "deep": ("", "not graded: its folders lie too deep in each other"),
        "folder": ("1", ""),
        "gone": ("0", f"{links} gone.ipynb. {none}"),
        "links": ("1", f"{links} gone.ipynb, loop.ipynb and up."),
        "pipe": ("0", f"{links} pipe.ipynb. {none}"),
        "pipes": ("1", f"{links} 0.ipynb, 1.ipynb and 2.ipynb."),
        "shut": ("", "not graded: shut cannot be read: Permission denied"),
    }  # fmt: skip
    said = capsys.readouterr().err
    assert code == 1 and "shut: not graded: shut cannot be read: Permission denied. The" in said


def test_whose_a_file_is(quick, tmp_path, capsys):
    """Folders and files that a platform names after one learner are one submission; what nobody handed in is told."""
    home = tmp_path / "subs"
    handed_in(home / "Ana Díaz_4711_assignsubmission_file_", GUIDE)
    (home / "Ana Díaz_4711_assignsubmission_onlinetext_").mkdir()
    for name in ("Bo_12_assignsubmission_file_a.ipynb", "Bo_12_assignsubmission_file_b.ipynb", "eva.ipynb"):
        (home / name).write_text(notebook("check(\n    'onepage.3', ...)"))
    handed_in(home / "eva", "1")
    for name in ("empty.ipynb", "list.csv", "work.zip", "2_1_1_x.zip"):
        (home / name).touch()
    code, rows = quick("--for", "moodle")
    assert code == 0 and {name: row[0] for name, row in rows.items()} == {
        "Ana Díaz_4711_assignsubmission": "1", "Bo_12_assignsubmission": "1", "empty": "0", "eva": "1"}  # fmt: skip
    with open(tmp_path / "subs-grades" / "moodle.csv", encoding="utf-8", newline="") as stream:
        assert [row["Identifier"] for row in csv.DictReader(stream)] == ["Participant 4711", "Participant 12"]
    assert "nobody's submission: 2_1_1_x.zip, list.csv and work.zip." in capsys.readouterr().err


def test_the_room_is_told_where_letters_are_missing(quick, tmp_path, monkeypatch):
    """An encoding that cannot write a learner's name, or the folder's, does not end the grading."""
    handed_in(tmp_path / "subs" / "山田", GUIDE)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    code, rows = quick("--for", "canvas", "-o", str(tmp_path / "subs-grades"))
    assert code == 0 and rows["山田"][0] == "1"


def test_a_lesson_that_cannot_be_read_as_it_was_handed_out_is_a_sentence(quick, tmp_path, monkeypatch, capsys):
    handed_in(tmp_path / "subs" / "anna", GUIDE)
    hand = tmp_path / "hand"
    (hand / "folder.ipynb").mkdir()
    (hand / "gone.ipynb").symlink_to("nowhere")
    os.mkfifo(hand / "pipe.ipynb")
    assert quick()[0] == 0
    opening = os.open
    monkeypatch.setattr(os, "open", lambda path, *how, **more: opening(
        "/nowhere" if str(path) == str(hand / "mine.ipynb") else path, *how, **more))  # fmt: skip
    assert quick()[0] == 2 and "as it was handed out cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("checks", "heard", "words"),
    [
        (GUIDE + "\n" + LAST, ["onepage.3"], "never comes to training.3: a cell before it fails"),
        ("1", ["onepage.99"], "asks onepage.99, which this version"),
    ],
)
def test_a_lesson_that_asks_less_or_more_than_it_should_is_not_graded(tmp_path, monkeypatch, checks, heard, words):
    def run(*given, **_):
        for name in heard:
            given[3](name, ..., {})

    monkeypatch.setattr(judge, "_run", run)
    with pytest.raises(BadInput, match=words):
        judge.collect(handed_in(tmp_path / "hand", checks), "mine.ipynb", SHORT)


def test_only_exercises_of_the_wanted_lessons_count(tmp_path):
    message = {"onepage.3": {"many": 1}, "training.3": {}}
    (tmp_path / "facts").write_bytes(peer.as_bytes(message, judge._no_function))
    assert judge.known([tmp_path / "facts"], ["onepage"]) == {"onepage.3": {"many": 1}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["subs", "-o", "subs/grades"], "among the submissions"),
        (["/"], "among the submissions"),
        (["nowhere"], "cannot be read as a folder of submissions: No such file"),
        (["loop"], "cannot be read as a folder of submissions: Too many levels"),
        (["~nobody-of-this-name"], "cannot be read as a folder of submissions: No such file"),
        (["empty"], "holds no submissions"),
        (["none"], "nothing to grade"),
        (["subs", "-j", "0"], "at least 1"),
        (["subs", "--minutes", "nan"], "between 0 and 600"),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(walls, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    handed_in(tmp_path / "subs" / "anna", GUIDE)
    handed_in(tmp_path / "none" / "anna", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SystemExit) as left:
        main(["grade", *arguments])
    assert left.value.code == 2 and words in capsys.readouterr().err


def command(*arguments, **options):
    """The command as an instructor gives it, as a process."""
    own = {"PYTHONPATH": str(Path(sdlesson.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "sdlesson", "grade", *map(str, arguments)], env=os.environ | own, **options
    )


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_a_room_with_everybody_in_it_and_a_kill(walls, tmp_path):
    """Hostile ones between honest ones, graded twice: once killed in the middle and given again, once undisturbed."""
    subs, hand = tmp_path / "subs", handed_in(tmp_path / "hand", GUIDE, LAST)
    for number, (trick, (middle, *_)) in enumerate(ENDS.items()):
        middle = middle.replace("700_000_000", "1_300_000_000")  # four of them are beyond the command's own limit
        handed_in(subs / f"{number} {trick}", GUIDE, middle, LAST)
        handed_in(subs / f"{number} honest", GUIDE, LAST)
    handed_in(subs / HOSTILE[1], GUIDE, LAST)
    (handed_in(subs / "none") / "mine.ipynb").write_text("[" * 100_000 + notebook(GUIDE))
    since = time.time() - 1
    options = ["--handed-out", hand, "-j", 2, "--minutes", 0.5]
    process = command(subs, "-o", tmp_path / "killed", *options)
    while len(list((tmp_path / "killed").glob("results/*.json"))) < 4:
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    assert gone(since)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / "results").iterdir()}
    for into in ("killed", "whole"):
        assert command(subs, "-o", tmp_path / into, *options).wait() == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    rows, whole = (
        {row["learner"]: row for row in csv.DictReader(io.StringIO((tmp_path / into / "grades.csv").read_text()))}
        for into in ("killed", "whole")
    )
    untold = {"notes": ""}  # a fork bomb ends at its limit of processes or, on a busy machine, at the clock
    assert {name: row | untold for name, row in rows.items()} == {name: row | untold for name, row in whole.items()}
    assert gone(since)
    assert len(rows) == 2 * len(ENDS) + 2 and "it is no notebook" in rows["none"]["notes"]
    for number, (trick, (_, words, _)) in enumerate(ENDS.items()):
        honest, other = rows[f"{number} honest"], rows[f"{number} {trick}"]
        assert honest["points"] == "2" and other["onepage.3"] == "1"
        assert other["training.3"] == ("1" if words is None else "") and (words or "") in other["notes"]


def test_too_many_notebooks_of_these_lessons_are_not_graded_and_others_do_not_count(quick, tmp_path):
    for name, cell in (("anna", "1"), ("bert", GUIDE)):
        folder = handed_in(tmp_path / "subs" / name, GUIDE)
        for number in range(40):
            (folder / f"{number}.ipynb").write_text(notebook(cell))
    code, rows = quick()
    assert code == 1 and rows["anna"] == ("1", "")
    assert rows["bert"] == ("", "not graded: 41 notebooks of these lessons are more than 40")
