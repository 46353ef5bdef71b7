"""What a room's grades become: a table, one for a learning platform, and a page for each learner."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

from ..loading.writing import write_whole
from .judge import OPEN, RIGHT, WRONG

#: Platform -> the name and the number that it gives a learner, in the names of the folders or files it hands out.
KNOWN = {
    "moodle": re.compile(r"(?P<name>.*?)_(?P<number>\d+)_assignsubmission.*", re.DOTALL),
    "canvas": re.compile(r"(?P<name>.+?)_(?:LATE_)?(?P<number>\d+)", re.DOTALL),
}
_MARKS = {RIGHT: "1", WRONG: "0", OPEN: ""}
_TITLES = {RIGHT: "Right", WRONG: "Not yet", OPEN: "Not answered"}
#: Where a spreadsheet would begin to compute: full-width signs are signs to some, and ";" a new cell to others.
_FORMULA = re.compile(r"((?:^|;)\s*)(?=[=+@＝＋－＠-])")
_STYLE = "body{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}li{margin:.4em 0}"


def write_report(into: Path, exercises: list[str], results: dict[str, dict], failed: dict[str, str]) -> None:
    """Write `grades.csv` and a page for each learner: 1 is right, 0 wrong, and nothing not answered.

    Pages of an earlier run's learners, who have a result but none of these, are deleted.
    """
    rows = [["learner", *exercises, "points", "of", "notes"]]
    pages = {into / "pages" / f"{result['page']}.html": page(learner, result) for learner, result in results.items()}
    for learner in _in_order({**results, **failed}):
        if learner in failed:
            rows.append([learner, *[""] * (len(exercises) + 2), f"not graded: {failed[learner]}"])
            continue
        result = results[learner]
        marks = [_MARKS[result["exercises"][name][0]] for name in exercises]
        rows.append([learner, *marks, points(result), str(len(marks)), " ".join(result["notes"])])
    for path, text in pages.items():
        write_whole(path, text)
    earlier = {into / "pages" / f"{kept.stem}.html" for kept in (into / "results").glob("*.json")}
    for path in earlier - pages.keys():
        path.unlink(missing_ok=True)
    write_whole(into / "grades.csv", table(rows))


def write_import(into: Path, platform: str, assignment: str, results: dict[str, dict]) -> list[str]:
    """Write what "moodle" or "canvas" imports; the learners that the platform cannot know by the name they have here.

    Moodle: the offline grading worksheet, whose reader (mod/assign/feedback/offline/importgradeslib.php) wants the
    first three columns. Canvas: the gradebook's CSV (lib/gradebook_importer.rb), with a column named `assignment`.
    """
    known = {learner: KNOWN[platform].fullmatch(learner) for learner in _in_order(results)}
    if platform == "moodle":
        rows = [["Identifier", "Grade", "Last modified (grade)", "Full name", "Feedback comments"]]
    else:
        most = max((len(result["exercises"]) for result in results.values()), default=0)
        rows = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", assignment]]
        rows.append(["    Points Possible", "", "", "", "", str(most)])
    for learner, who in known.items():
        if who and platform == "moodle":
            hints = [f"{name}: {hint}" for name, (_, hint) in results[learner]["exercises"].items() if hint]
            told = " ".join([*results[learner]["notes"], *hints])
            rows.append([f"Participant {who['number']}", points(results[learner]), "", who["name"], told])
        elif who:
            rows.append([who["name"], who["number"], "", "", "", points(results[learner])])
    write_whole(into / f"{platform}.csv", table(rows))
    return [learner for learner, who in known.items() if not who]


def points(result: dict) -> str:
    """One for each right answer."""
    return str(sum(state == RIGHT for state, _ in result["exercises"].values()))


def table(rows: list[list[str]]) -> str:
    """CSV, its cells in one line each; a spreadsheet takes none for a formula."""
    stream = io.StringIO()
    safe = [[_FORMULA.sub(r"\1'", shown(cell, 30_000)) for cell in row] for row in rows]
    csv.writer(stream, lineterminator="\r\n").writerows(safe)
    return stream.getvalue()


def shown(text: str, most: int = 2000) -> str:
    """Anybody's text in one line; what is neither letter, mark nor space becomes "�"."""
    return "".join(letter if letter.isprintable() else "�" for letter in text[:most])


def page(learner: str, result: dict) -> str:
    """A learner's page: what is right, and the hints that are still needed."""
    parts = [f"<h1>{_safe(learner)}</h1><p>{points(result)} of {len(result['exercises'])} exercises are right.</p>"]
    parts += [f"<p>{_safe(note)}</p>" for note in result["notes"]]
    for wanted, title in _TITLES.items():
        items = [(name, hint) for name, (state, hint) in result["exercises"].items() if state == wanted]
        lines = "".join(f"<li><b>{_safe(name)}</b> {_safe(hint)}</li>" for name, hint in items)
        parts += [f"<h2>{title}</h2><ul>{lines}</ul>"] if items else []
    head = f'<html lang="en"><meta charset="utf-8"><title>{_safe(learner)}</title><style>{_STYLE}</style>'
    return f"<!doctype html>{head}{''.join(parts)}</html>\n"


def _safe(text: str) -> str:
    return html.escape(shown(text))


def _in_order(learners) -> list[str]:
    return sorted(learners, key=lambda learner: (learner.casefold(), learner))
