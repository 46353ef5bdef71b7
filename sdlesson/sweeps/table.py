"""The record of a sweep: each picture's PNG tells how it was made, and one Parquet table holds what they tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..loading.errors import BadInput
from ..loading.writing import whole_file
from .plan import Picture

if TYPE_CHECKING:
    import pyarrow

PICTURES, TABLE = "pictures", "table.parquet"
#: Column -> (Arrow's type, what it is): the table's schema, in order.
COLUMNS = {
    "prompt": ("string", "what was to be painted"),
    "negative_prompt": ("string", "what the guidance leads away from"),
    "seed": ("uint64", "start of the random numbers"),
    "guidance_scale": ("float64", "0 without the prompt, 1 its plain guess, above 1 exaggerated"),
    "steps": ("int32", "number of denoising steps"),
    "sampler": ("string", "function of sdlesson.samplers"),
    "calls": ("int32", "how often the UNet was asked"),
    "score": ("float64", "cosine of picture and prompt in the CLIP pair's eyes, -1 to 1"),
    "model": ("string", "what was loaded"),
    "picture": ("string", "file in the folder of this table"),
}
#: What `sdlesson sweep` painted for the lesson on samplers, with the bundled model: 900 pictures.
STEPS = Path(__file__).parent / "steps.csv"
_READ = {"string": str, "uint64": int, "int32": int, "float64": float}


def row_of(picture: Picture, calls: int, score: float, model: str, name: str) -> dict:
    """One row of the table."""
    told = {"calls": calls, "score": score, "model": model, "picture": f"{PICTURES}/{name}"}
    return dataclasses.asdict(picture) | told


def read_row(file: Path) -> dict | None:
    """The row that a PNG of a sweep tells of itself; None where it is not there, or is no whole one of ours."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            picture.load()  # a file that is cut off raises
            return {name: _READ[kind](picture.text[name]) for name, (kind, _) in COLUMNS.items()}
    except (OSError, SyntaxError, ValueError, KeyError, AttributeError):
        return None


def write(rows: Iterable[dict], folder: Path) -> pyarrow.Table:
    """Write the rows as the folder's table, whole; returns it."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema(
        [
            pyarrow.field(name, getattr(pyarrow, kind)(), metadata={"about": about})
            for name, (kind, about) in COLUMNS.items()
        ]
    )
    table = pyarrow.Table.from_pylist(list(rows), schema)
    with whole_file(folder / TABLE) as stream:
        pyarrow.parquet.write_table(table, stream)
    return table


def read(folder: Path) -> list[dict]:
    """The rows of the folder's table; raises BadInput where there is none that can be read."""
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(folder / TABLE).to_pylist()
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder / TABLE} cannot be read as the table of a sweep: {error}") from None
    if rows and rows[0].keys() != COLUMNS.keys():
        raise BadInput(f"{folder / TABLE} is no table of a sweep: its columns are {', '.join(rows[0])}.")
    return rows


def means(rows: Sequence[dict], *by: str, value: str = "score") -> list[dict]:
    """The mean of `value` for each combination of the columns `by`, with its 95 % interval (Student's t).

    Rows of the answer: the columns of `by`, then `pictures`, `mean`, `low`, `high`; the last two are NaN where a single
    picture gives no interval. In the order in which the combinations first stand in the table.
    """
    import numpy as np
    from scipy import stats

    groups: dict[tuple, list[float]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row[value])
    found = []
    for key, values in groups.items():
        mean, count = float(np.mean(values)), len(values)
        half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5) if count > 1 else float("nan")
        found.append(
            dict(zip(by, key, strict=True)) | {"pictures": count, "mean": mean, "low": mean - half, "high": mean + half}
        )
    return found
