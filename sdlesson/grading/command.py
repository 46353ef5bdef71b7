"""`sdlesson grade`: its arguments and sentences."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import LESSONS, PAGES
from ..loading.errors import BadInput, listed, say

_EXAMPLE = "example: sdlesson grade submissions/ -o grades/ --lessons sigmas guidance --for moodle"


def add_to(commands) -> None:
    """Add `grade` to the commands of `sdlesson`."""
    about = (
        "For instructors: run each submission in a sandbox, judge its answers outside of it, and write a table and a "
        "page for each learner. Begin again, and it goes on."
    )
    add = commands.add_parser("grade", help="grade a folder of submissions", description=about, epilog=_EXAMPLE)
    add.set_defaults(command=run)
    add.add_argument("folder", type=Path, metavar="FOLDER", help="a folder or a notebook for each learner")
    add.add_argument("-o", "--into", type=Path, metavar="FOLDER", help="where grades go (default: FOLDER-grades)")
    add.add_argument(
        "--lessons",
        nargs="+",
        choices=[*LESSONS, *PAGES],
        metavar="L",
        help="what counts (default: all); FOLDER comes before it",
    )
    add.add_argument("--handed-out", type=Path, metavar="FOLDER", help="the lessons as learners got them, if changed")
    add.add_argument("-j", "--jobs", type=int, metavar="N", help="submissions at once (default: one a core)")
    add.add_argument("--minutes", type=float, default=10, metavar="M", help="for each notebook (default: 10)")
    add.add_argument("--for", dest="platform", choices=["moodle", "canvas"], help="write what is imported there, too")
    add.add_argument("--assignment", default="sdlesson", metavar="NAME", help="the column's name in Canvas's gradebook")


def run(args: argparse.Namespace) -> int:
    """Grade what is not graded yet, then write; 1 where a submission could not be graded."""
    from ..lab.tree import find_lessons
    from .report import shown, write_import, write_report
    from .room import Room, grade_all
    from .sandbox import Limits, check_sandbox
    from .submissions import submissions

    cores = os.cpu_count() or 1
    jobs = cores if args.jobs is None else args.jobs
    if not (1 <= jobs <= 1000 and 0 < args.minutes <= 600):
        raise BadInput("-j must be at least 1, and --minutes lie between 0 and 600.")
    folder = _whole(args.folder)
    into = _whole(args.into or folder.parent / f"{folder.name}-grades")
    if into.is_relative_to(folder):
        raise BadInput(f"Grades cannot lie among the submissions; name another folder than {into} with -o.")
    check_sandbox(folder, into)
    everybody, others = submissions(folder)
    if others:
        say(f"Neither a folder nor a notebook, so nobody's submission: {listed([*map(shown, others)])}.", error=True)
    there = {topic for each in everybody for found in each.topics.values() for topic in found}
    wanted: set[str] = set(args.lessons) if args.lessons else there
    if not wanted:
        raise BadInput("No submission has a cell that checks an exercise: there is nothing to grade.")
    limits = Limits.of_minutes(args.minutes, threads=max(1, cores // jobs))
    room = Room(into, wanted, _whole(args.handed_out) if args.handed_out else find_lessons(), limits)
    exercises, results, failed = grade_all(room, everybody, jobs)
    write_report(into, exercises, results, failed)
    if args.platform:
        for learner in write_import(into, args.platform, args.assignment, results):
            say(f"{shown(learner)}: this is no name of {args.platform}'s; left out of its table.", error=True)
    for learner, why in failed.items():
        say(f"{shown(learner)}: not graded: {shown(why)}. The same command tries again.", error=True)
    say(f"{len(results)} graded in {len(exercises)} exercises: {into / 'grades.csv'}")
    return 1 if failed else 0


def _whole(folder: Path) -> Path:
    """The folder past all links, however it was named."""
    return Path(os.path.realpath(os.path.expanduser(folder)))
