"""Grades are of the right learner, and of the lessons, limits and judges that are asked for."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

if sys.platform != "linux":
    pytest.skip("on Linux alone", allow_module_level=True)

from sdlesson import cli
from sdlesson.grading import judge, report, room, sandbox, submissions

MARKS = {
    "onepage.1": (judge.RIGHT, ""),
    "onepage.2": (judge.WRONG, "Which sign?"),
    "onepage.3": (judge.OPEN, "Begin with u."),
}


def test_report_a_page_says_what_is_right_what_not_yet_what_is_open_and_every_note():
    text = report.page("Ada", {"page": "ada", "exercises": MARKS, "notes": ["Links are not read.", "b < a"]})
    parts = dict(re.findall(r"<h2>(.+?)</h2><ul>(.+?)</ul>", text))
    named = {title: re.findall(r"<b>(.+?)</b> (.*?)</li>", rest) for title, rest in parts.items()}
    assert named == {
        "Right": [("onepage.1", "")],
        "Not yet": [("onepage.2", "Which sign?")],
        "Not answered": [("onepage.3", "Begin with u.")],
    }
    assert "<p>Links are not read.</p><p>b &lt; a</p>" in text and "1 of 3 exercises" in text


def test_report_points_possible_are_all_exercises_and_moodle_gets_the_notes(tmp_path):
    results = {
        "Ada_1_assignsubmission_file": {"page": "a", "exercises": MARKS, "notes": ["It took too long."]},
        "Bo_2": {"page": "b", "exercises": MARKS, "notes": []},
    }
    report.write_import(tmp_path, "canvas", "the grade", results)
    rows = list(csv.reader(io.StringIO((tmp_path / "canvas.csv").read_text(encoding="utf-8"))))
    assert rows[1][-1] == "3" and rows[2] == ["Bo", "2", "", "", "", "1"]
    report.write_import(tmp_path, "moodle", "", results)
    rows = list(csv.reader(io.StringIO((tmp_path / "moodle.csv").read_text(encoding="utf-8"))))
    told = "It took too long. onepage.2: Which sign? onepage.3: Begin with u."
    assert rows[1] == ["Participant 1", "1", "", "Ada", told]


def test_report_learners_are_in_the_order_of_their_names_whatever_their_case(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "pages").mkdir()
    results = {name: {"page": name, "exercises": MARKS, "notes": []} for name in ("bo", "Zoe", "Ada")}
    report.write_report(tmp_path, [*MARKS], results, {"cy": "killed"})
    rows = list(csv.reader(io.StringIO((tmp_path / "grades.csv").read_text(encoding="utf-8"))))
    assert [row[0] for row in rows[1:]] == ["Ada", "bo", "cy", "Zoe"]


def lesson(folder: Path, *checks: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "source": f"check('{name}', ...)"} for name in checks]
    (folder / "mine.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}))
    return folder


def test_room_is_graded_again_where_the_lessons_the_time_or_the_judges_are_others(tmp_path, monkeypatch):
    graded = []

    def say(self, folder, notebooks, **more):
        graded.append(sorted(more["topics"]))
        return {"exercises": {}, "notes": []}

    monkeypatch.setattr(room.Room, "_judge", say)
    lesson(tmp_path / "subs" / "ada", "onepage.3", "sigmas.1")
    lesson(tmp_path / "hand", "onepage.3", "sigmas.1")
    (ada,), _ = submissions.submissions(tmp_path / "subs")
    short = sandbox.Limits.of_minutes(1)

    def grade(wanted, limits=short, version=None):
        here = room.Room(tmp_path / "grades", wanted, tmp_path / "hand", limits)
        here.version = version or here.version
        here.grade(ada)
        return len(graded)

    assert grade({"onepage"}) == grade({"onepage"}) == 1
    assert grade({"onepage", "sigmas"}) == 2 and graded[-1] == ["onepage", "sigmas"]
    assert grade({"onepage", "sigmas"}, sandbox.Limits.of_minutes(2)) == 3
    assert grade({"onepage", "sigmas"}, sandbox.Limits.of_minutes(2), "another") == 4
    assert grade({"onepage", "sigmas"}, sandbox.Limits.of_minutes(2), "another") == 4


def test_room_tells_of_two_notebooks_of_one_lesson_and_orders_exercises_as_lessons_are(tmp_path, monkeypatch):
    def say(self, folder, notebooks, **more):
        names = ("sigmas.1", "onepage.3", "guidance.1")
        return {} if "collect" in more else {"exercises": {name: [judge.OPEN, ""] for name in names}, "notes": ["x"]}

    monkeypatch.setattr(room.Room, "_judge", say)
    checks = ("sigmas.1", "onepage.3", "guidance.1")
    ada = lesson(tmp_path / "subs" / "ada", *checks)
    (ada / "other.ipynb").write_text((ada / "mine.ipynb").read_text())
    lesson(tmp_path / "hand", *checks)
    topics = {name.partition(".")[0] for name in checks}
    here = room.Room(tmp_path / "grades", topics, tmp_path / "hand", sandbox.Limits.of_minutes(1))
    order, results, failed = room.grade_all(here, submissions.submissions(tmp_path / "subs")[0], 1)
    assert order == ["onepage.3", "sigmas.1", "guidance.1"] and not failed
    (shared, last) = results["ada"]["notes"]
    assert shared.startswith("mine.ipynb and other.ipynb are of one lesson") and last == "x"


def test_room_who_stops_the_grading_does_not_wait_for_the_rest():
    begun = []

    def grade(each):
        begun.append(each.learner)
        if len(begun) == 1:
            raise KeyboardInterrupt
        time.sleep(0.02)
        return {"exercises": {}, "notes": []}

    here = SimpleNamespace(originals=[], wanted=set(), collect=None, grade=grade)
    with pytest.raises(KeyboardInterrupt):
        room.grade_all(here, [submissions.Submission(str(number)) for number in range(60)], 1)
    assert len(begun) < 30


def test_room_a_judge_that_does_not_end_is_ended(tmp_path, monkeypatch):
    def wait(command, *, timeout, env, **_):
        asked.update(timeout=timeout, threads=env["OMP_NUM_THREADS"], path=env["PYTHONPATH"])
        raise subprocess.TimeoutExpired(command, timeout)

    asked = {}
    monkeypatch.setattr(room.subprocess, "run", wait)
    lesson(tmp_path / "hand", "onepage.3")
    limits = sandbox.Limits.of_minutes(2, threads=3)
    here = room.Room(tmp_path / "grades", {"onepage"}, tmp_path / "hand", limits)
    with pytest.raises(RuntimeError, match="judging took too long"):
        here._judge(tmp_path, ["a.ipynb", "b.ipynb"])
    assert asked == {"timeout": 3 * (120 + room._SLACK), "threads": "3", "path": str(sandbox.PACKAGE.parent)}


def test_sandbox_the_minutes_are_the_notebooks_a_fifth_a_cells_and_a_tenth_a_calls():
    limits = sandbox.Limits.of_minutes(10, threads=2)
    assert (limits.seconds, limits.cell_seconds, limits.call_seconds, limits.threads) == (600, 120, 60, 2)
    system = limits.for_system()
    assert system["RLIMIT_CPU"] == 1200 + sandbox._IMPORT  # seconds of processors, of which it has two
    assert (system["RLIMIT_AS"], system["RLIMIT_NPROC"], system["RLIMIT_CORE"]) == (limits.memory, limits.processes, 0)


def test_command_of_grade_shares_the_cores_among_the_jobs_and_names_the_assignment(tmp_path, monkeypatch):
    from sdlesson.grading import command

    told = {}
    monkeypatch.setattr(sandbox, "check_sandbox", lambda *_: None)
    monkeypatch.setattr(command.os, "cpu_count", lambda: 8)

    def grade_all(here, everybody, jobs):
        told.update(jobs=jobs, limits=here.limits, wanted=here.wanted)
        return [], {}, {}

    def write_import(into, platform, assignment, results):
        told.update(platform=platform, assignment=assignment)
        return []

    monkeypatch.setattr(room, "grade_all", grade_all)
    monkeypatch.setattr(report, "write_import", write_import)
    lesson(tmp_path / "subs" / "ada", "onepage.3", "sigmas.1")
    lesson(tmp_path / "hand", "onepage.3", "sigmas.1")
    words = ["--handed-out", tmp_path / "hand", "-j", 3, "--minutes", 5, "--for", "canvas", "--assignment", "Week 2"]
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in ("grade", tmp_path / "subs", *words, "--lessons", "sigmas")])
    assert left.value.code == 0
    assert told == {"jobs": 3, "limits": sandbox.Limits.of_minutes(5, threads=2), "wanted": {"sigmas"}} | {
        "platform": "canvas",
        "assignment": "Week 2",
    }
