"""What `make bench-full` measured: whole pictures of the real size, kept in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..loading.errors import BadInput
from ..loading.writing import write_whole

#: Times and memory of whole pictures, as `make bench-full` measured them, one entry for each machine and way.
MEASURED = Path(__file__).parent / "full_size.json"


@dataclass(frozen=True)
class Measured:
    """One whole picture of the real size: who painted it, where, how, and what it took.

    `step_seconds` is the median of the UNet calls, `gib` the process's peak resident memory, `limit_seconds` the FLOPs
    of one guided step by the matrix rate of the same machine and dtype, `levels` the largest and the mean difference
    to the peer's float32 picture, of 255.
    """

    way: str
    device: str
    dtype: str
    steps: int
    seconds: float
    step_seconds: float
    vae_seconds: float
    gib: float
    limit_seconds: float
    levels: tuple[float, float]


def read_measured(file: Path = MEASURED) -> list[Measured]:
    """What `make bench-full` has written, machine by machine; empty where there is nothing yet.

    Raises BadInput where the file is no such table.
    """
    if not file.is_file():
        return []
    try:
        return [Measured(**row | {"levels": tuple(row["levels"])}) for row in json.loads(file.read_text("utf-8"))]
    except (ValueError, TypeError, KeyError):
        raise BadInput(f"{file} is no table of make bench-full; delete it and run that again.") from None


def keep_measured(rows: Sequence[Measured], file: Path = MEASURED) -> None:
    """Write `rows` to the table; what is there of the same ways on the same device is replaced, the rest stays."""
    new = {(row.way, row.device): row for row in rows}
    rest = [row for row in read_measured(file) if (row.way, row.device) not in new]
    text = json.dumps([asdict(row) for row in [*rest, *rows]], indent=1)
    write_whole(file, f"{text}\n")
