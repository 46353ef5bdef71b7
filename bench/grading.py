"""Grade a room: copies of the page before the lessons with its solutions filled in, every fifth with a mistake.

    make bench-grading                      100 submissions
    make bench-grading ARGS="--learners 10"

It prints what was measured in this run, and ends with an error where a mark is not what it must be.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PAGE = "before_you_start"
LESSON, SOLVED = NOTEBOOKS / f"{PAGE}.ipynb", NOTEBOOKS / "solutions" / f"{PAGE}_solutions.ipynb"
EXERCISES = 7


def submission(number: int) -> str:
    """The page with the right answers in its cells; every fifth learner says that the gradient is 9."""
    page, solved = (json.loads(path.read_text(encoding="utf-8")) for path in (LESSON, SOLVED))
    answers = {_checks(cell): cell["source"] for cell in solved["cells"] if _checks(cell)}
    for cell in page["cells"]:
        cell["source"] = answers.get(_checks(cell), cell["source"])
        if _checks(cell) == f"{PAGE}.4" and number % 5 == 0:
            cell["source"] = f'check("{PAGE}.4", 9)'
    return json.dumps(page)


def _checks(cell: dict) -> str | None:
    """The exercise that a cell checks."""
    _, found, rest = "".join(cell["source"]).partition('check("')
    return rest.partition('"')[0] if found and cell["cell_type"] == "code" else None


def main() -> None:
    """Grade, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learners", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for number in range(args.learners):
            folder = Path(home, "submissions", f"learner {number:03}")
            folder.mkdir(parents=True)
            (folder / f"{PAGE}.ipynb").write_text(submission(number), encoding="utf-8")
        begun = time.perf_counter()
        command = [sys.executable, "-m", "sdlesson", "grade", f"{home}/submissions", "-j", str(args.jobs)]
        subprocess.run(command, check=True)
        minutes = (time.perf_counter() - begun) / 60
        with open(f"{home}/submissions-grades/grades.csv", encoding="utf-8", newline="") as stream:
            points = [int(row["points"]) for row in csv.DictReader(stream)]
    wanted = [EXERCISES - (number % 5 == 0) for number in range(args.learners)]
    print(f"{args.learners} submissions, {args.jobs} at once: {minutes:.1f} minutes")
    print(f"right marks: {sum(one == other for one, other in zip(points, wanted, strict=True))} of {len(wanted)}")
    if points != wanted:
        sys.exit(1)


if __name__ == "__main__":
    main()
