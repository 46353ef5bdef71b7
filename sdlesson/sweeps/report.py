"""What a sweep shows: contact sheets, a heat map of its scores, and one page with both; made from its folder alone."""

from __future__ import annotations

import html
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..figures.sweeps import figure_contact_sheet, figure_scores
from ..loading import checks
from ..loading.errors import BadInput
from ..loading.writing import write_whole
from . import table

if TYPE_CHECKING:
    from ..figures.worded import WordedFigure

PAGE = "report.html"
_AXES = ("steps", "sampler", "guidance_scale", "prompt", "seed")  # the first ones are compared first
_SHEETS = 24  # on one page; the table has the rest
_ROWS, _COLUMNS = 12, 12  # pictures on one sheet
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
img{max-width:100%;height:auto}table{border-collapse:collapse}th,td{padding:.2rem .8rem;text-align:left}
tr{border-bottom:1px solid #d0d7de}"""


def write_report(folder: str | os.PathLike) -> Path:
    """Write `report.html` and its figures into the folder of a sweep; returns the page.

    Raises BadInput where the folder has no table, or an empty one.
    """
    folder = checks.path(folder)
    rows = table.read(folder)
    if not rows:
        raise BadInput(f"The table in {folder} has no pictures yet.")
    across, down = compared(rows)
    scores = table.means(rows, *dict.fromkeys((down, across)))
    parts = [_settings(rows)]
    parts.append(
        f"<h2>How well pictures fit their prompts</h2>{_figure(figure_scores(scores, down, across), folder, 'scores')}"
    )
    parts.append(_means(scores))
    sheets = contact_sheets(rows, folder)
    for number, sheet in enumerate(itertools.islice(sheets, _SHEETS), 1):
        parts.append(_figure(sheet, folder, f"sheet-{number}"))
    if next(sheets, None):
        parts.append(f"<p>Only the first {_SHEETS} sheets are shown; the table has every picture.</p>")
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A sweep of {len(rows)} pictures</title><style>{_STYLE}</style><h1>A sweep of {len(rows)} pictures</h1>
{"".join(parts)}</html>
"""
    write_whole(folder / PAGE, page)
    return folder / PAGE


def values_of(rows: Sequence[dict]) -> dict[str, list]:
    """The values of each setting, in the table's order."""
    return {axis: list(dict.fromkeys(row[axis] for row in rows)) for axis in _AXES}


def compared(rows: Sequence[dict]) -> tuple[str, str]:
    """The two settings of the heat map, (across, down): those that have several values come first, seeds never."""
    values = values_of(rows)
    axes = sorted(_AXES[:-1], key=lambda axis: len(values[axis]) == 1)  # a stable sort: the order of _AXES stays
    return axes[0], axes[1]


def contact_sheets(rows: Sequence[dict], folder: Path) -> Iterator[WordedFigure]:
    """Sheets of the pictures: seeds across, what is compared down; one sheet for each combination of the rest.

    A picture that is not in the folder any more leaves a gap.
    """
    from PIL import Image

    values, (down, _) = values_of(rows), compared(rows)
    others = [axis for axis in _AXES if axis not in (down, "seed")]
    for rest in itertools.product(*(values[axis] for axis in others)):
        here = [row for row in rows if tuple(row[axis] for axis in others) == rest]
        title = ", ".join(
            f"{axis.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{axis} {value}"
            for axis, value in zip(others, rest, strict=True)
        )
        for sides, tops in itertools.product(_cut(values[down], _ROWS), _cut(values["seed"], _COLUMNS)):
            shown = [row for row in here if row[down] in sides and row["seed"] in tops]
            files = {(row[down], row["seed"]): folder / row["picture"] for row in shown}
            if pictures := {place: Image.open(file) for place, file in files.items() if file.is_file()}:
                yield figure_contact_sheet(pictures, sides, tops, names=(down.replace("_", " "), "seed"), title=title)


def _cut(values: list, most: int) -> list[list]:
    return [values[start : start + most] for start in range(0, len(values), most)]


def _figure(figure: WordedFigure, folder: Path, name: str) -> str:
    """Write the figure beside the page; the page's line for it."""
    kind, content = figure.render()
    file = folder / f"{name}.{kind.removeprefix('image/')}"
    write_whole(file, content)
    return f'<p><img src="{file.name}" alt="{html.escape(figure.words)}"></p>'


def _settings(rows: Sequence[dict]) -> str:
    lines = [("model", rows[0]["model"]), ("negative prompt", rows[0]["negative_prompt"] or "none")]
    lines += [(axis.replace("_", " "), ", ".join(map(str, values))) for axis, values in values_of(rows).items()]
    cells = (f'<tr><th scope="row">{name}</th><td>{html.escape(str(value))}</td></tr>' for name, value in lines)
    return f"<table>{''.join(cells)}</table>"


def _means(scores: Sequence[dict]) -> str:
    head = "".join(f'<th scope="col">{name.replace("_", " ")}</th>' for name in scores[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_told(value))}</td>' for value in row.values())}</tr>" for row in scores
    )
    return f"<p>low … high is the 95 % interval of the mean (Student's t).</p><table><tr>{head}</tr>{body}</table>"


def _told(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
