"""`sdlesson sweep`: its arguments and sentences."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..loading.errors import BadInput, say
from .plan import SAMPLERS


def add_to(commands) -> None:
    """Add `sweep` to the commands of `sdlesson`."""
    about = "Paint every combination of prompts, seeds and settings into a folder; begin again, and it goes on."
    add = commands.add_parser("sweep", help="paint many pictures, and compare them", description=about)
    add.set_defaults(command=run)
    add.add_argument("prompts", nargs="*", metavar="prompt", help="what to paint")
    add.add_argument("--prompts", dest="file", type=Path, metavar="FILE", help="more prompts, one a line")
    add.add_argument("-o", "--into", type=Path, required=True, metavar="FOLDER", help="where pictures and table go")
    add.add_argument(
        "--seeds", type=whole_numbers, default=[42], metavar="S", help="such as 0-9 or 1,5,7 (default: 42)"
    )
    add.add_argument("--guidance", type=numbers, metavar="G", help="such as 1,3,8 (default: what the model recommends)")
    add.add_argument("--steps", type=whole_numbers, default=[20], metavar="S", help="such as 5,10,20 (default: 20)")
    names = ", ".join(SAMPLERS)
    add.add_argument("--samplers", default="lms", metavar="NAMES", help=f"of {names} (default: lms)")
    add.add_argument("--negative", default="", metavar="PROMPT", help="what the pictures should not show")
    add.add_argument("--model", metavar="M", help="tiny, a folder, or a hub id (default: $SDLESSON_MODEL, else tiny)")
    add.add_argument("--revision", metavar="R", help="branch, tag or commit of a hub id")
    add.add_argument("--dtype", metavar="D", help="what to compute in (default: the model's)")
    add.add_argument("--workers", type=int, metavar="N", help="processes that paint (default: one a core)")
    add.add_argument("--threads", type=int, default=1, metavar="N", help="cores for each picture (default: 1)")
    add.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster of yours, such as tcp://10.0.0.1:8786")
    add.add_argument("--dashboard", action="store_true", help="show Dask's page of what the workers do")


def run(args: argparse.Namespace) -> int:
    """Paint what is missing, then write the report."""
    from .report import write_report
    from .run import sweep

    found = sweep(
        [*args.prompts, *(_lines(args.file) if args.file else [])],
        args.seeds,
        args.guidance,
        args.steps,
        args.samplers.split(","),
        into=args.into,
        negative_prompt=args.negative,
        model=args.model,
        revision=args.revision,
        dtype=args.dtype,
        workers=args.workers,
        threads=args.threads,
        scheduler=args.scheduler,
        dashboard=args.dashboard,
    )
    say(f"{found.num_rows} pictures, table and report: {write_report(args.into)}")
    return 0


def whole_numbers(text: str) -> list[int]:
    """ "0-3,7" as [0, 1, 2, 3, 7], for argparse."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise argparse.ArgumentTypeError(f"must be whole numbers such as 0-9 or 1,5,7, not {text!r}")
        ends = int(first), int(last or first)
        if not 0 <= ends[1] - ends[0] < 100_000:
            raise argparse.ArgumentTypeError(f"must run upward, to at most 100000 numbers, not {part!r}")
        found += range(ends[0], ends[1] + 1)
    return found


def numbers(text: str) -> list[float]:
    """ "1,3,7.5" as [1.0, 3.0, 7.5], for argparse."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers such as 1,3,7.5, not {text!r}") from None


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{file} cannot be read as prompts, one a line: {getattr(error, 'strerror', None) or error}."
        ) from None
