"""True minutes of a lesson: prose words / 200 + lines of code / 10; comments are prose, exercises apart.

    python tools/count_minutes.py            # a table of all lessons
    python tools/count_minutes.py --write    # and their openings and both maps promise these minutes

A heading like "7 · Deeper: title" opens a deeper part, up to the next heading of its level or a higher one.
The minutes of an exercise are those of its head: "**Exercise 2 (change; 4 minutes, difficulty 2).**"
The open task at the end ("**Open**") is not among them, and the opening says so.
"""

import io
import json
import re
import sys
import tokenize
from pathlib import Path
from typing import NamedTuple

from sdlesson.loading.writing import write_whole

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
MAPS = (NOTEBOOKS.parent / "README.md", NOTEBOOKS / "README.md")
WORDS_A_MINUTE, LINES_A_MINUTE, COLUMNS = 200, 10, 100
EXERCISES = ("Your turn", "Exercises")
ENDS = ("What you take with you", "Recap")
HEAD = re.compile(r"^\*\*Exercise \d+([^)\n]*)", flags=re.M)


class Minutes(NamedTuple):
    """What a lesson takes, in minutes."""

    core: float
    deeper: float
    exercises: int | None  # None: not every exercise tells its own
    promised: int


def words(text: str) -> int:
    """The words of some Markdown, without the addresses of its links."""
    return len(re.findall(r"\w[\w'’.-]*", re.sub(r"\]\([^)]*\)", "]", text)))


def code_minutes(source: str) -> float:
    """The minutes of a code cell: its lines of code, and the words of its comments.

    A line is a statement, and each further 100 characters of it another one, however it is wrapped.
    """
    said, lines, long = 0, 0, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            said += words(token.string)
        elif token.type == tokenize.NEWLINE:
            lines, long = lines + -(-long // COLUMNS), 0
        else:
            long += len(token.string.strip()) + 1  # with the blank behind it
    return said / WORDS_A_MINUTE + lines / LINES_A_MINUTE


def minutes(path: Path) -> Minutes:
    """The minutes of one lesson: core, deeper parts, exercises, and what its opening promises for the core."""
    core = deeper = 0.0
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    depth, exercise = 0, False  # the level of the Deeper heading that we are under, 0: none
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            spent = 0 if exercise else code_minutes(source)
            core, deeper = (core, deeper + spent) if depth else (core + spent, deeper)
            continue
        for part in re.split(r"^(?=#{1,6} )", source, flags=re.M):
            if heading := re.match(r"(#+) (.*)", part):
                level, title = len(heading[1]), heading[2]
                if depth == 0 or level <= depth:
                    depth = level if re.match(r"(\d+ · )?Deeper: ", title) else 0
                exercise = title in EXERCISES or (exercise and title not in ENDS and level > 1)
            spent = 0 if exercise else words(part) / WORDS_A_MINUTE
            core, deeper = (core, deeper + spent) if depth else (core + spent, deeper)
    promise = re.search(r"\*\*Time:\*\* (\d+) min", "".join(cells[0]["source"]))
    heads = [head for cell in cells for head in HEAD.findall("".join(cell["source"]))]
    told = [re.search(r"(\d+) min", head) for head in heads]
    exercises = sum(int(each[1]) for each in told) if told and all(told) else None
    return Minutes(core, deeper, exercises, int(promise[1]) if promise else 0)


def promise(spent: Minutes, apart: bool = False) -> str:
    """The words of a lesson's opening, up to how long the computing takes; `apart`: an open task is not counted."""
    text = f"**Time:** {spent.core:.0f} minutes to read and try"
    if round(spent.deeper):
        text += f", {spent.deeper:.0f} more with the parts marked *Deeper*, which no later lesson needs"
    if spent.exercises is None:
        return f"{text}, and then the exercises; the computing"
    open_task = " (the open task apart)" if apart else ""
    return f"{text}; the exercises take {spent.exercises} minutes{open_task}. The computing"


def row(spent: Minutes) -> str:
    """What the maps say of a lesson's minutes."""
    return f"{spent.core:.0f} min" + ("" if spent.exercises is None else f", exercises {spent.exercises}")


def write(path: Path, spent: Minutes, maps=MAPS) -> None:
    """Let the lesson's opening and its row in the maps promise what it takes."""
    text = path.read_text(encoding="utf-8")
    opening = re.compile(r"\*\*Time:\*\* .*?[Tt]he computing")
    write_whole(path, opening.sub(promise(spent, "**Open**" in text), text, count=1))
    for readme in maps:
        text = readme.read_text(encoding="utf-8")
        minutes_there = re.compile(rf"^(.*{path.name}\).*\| )\d+ min[^|]* \|", flags=re.M)
        write_whole(readme, minutes_there.sub(rf"\g<1>{row(spent)} |", text))


def lessons() -> list[Path]:
    """The lessons in their order, and the page of symptoms."""
    return [*sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), NOTEBOOKS / "symptoms.ipynb"]


if __name__ == "__main__":
    print(f"{'lesson':20} core deeper exercises promised")
    for path in lessons():
        spent = minutes(path)
        exercises = "-" if spent.exercises is None else spent.exercises
        print(f"{path.stem:20} {spent.core:4.0f} {spent.deeper:6.0f} {exercises:>9} {spent.promised:8}")
        if sys.argv[1:] == ["--write"]:
            write(path, spent)
