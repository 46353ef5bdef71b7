"""`python -m sdlesson.tiny --minutes 90 --out runs/tiny`: make the tiny model from nothing.

The same command goes on after a kill. Several processes share the work under `accelerate launch --multi_gpu
--num_processes N -m sdlesson.tiny ...`, which starts N processes on CPUs too when `--cpu` stands among the dots.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from safetensors import SafetensorError

from ..loading.errors import BadInput
from .optimizer import fast_in_bfloat16
from .run import STAGES, Run, adopt, remaining, run_stage, wait_for_pictures
from .settings import SIZES

TIMED = tuple(stage for stage, (share, _) in STAGES.items() if share)


YEAR = 365 * 24 * 60  # minutes


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse itself answers a bad one with a sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m sdlesson.tiny", description="Train the tiny Stable Diffusion.")
    parser.add_argument("--minutes", type=minutes, default=90.0, help="training time (default: 90)")
    for stage in TIMED:
        parser.add_argument(
            f"--{stage}-minutes", type=minutes, metavar="M", help=f"instead of its share: {STAGES[stage][0]:.0%}%"
        )
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"), help="the run's folder (default: %(default)s)")
    parser.add_argument("--stages", type=stages, default=list(STAGES), help=f"comma-separated, of: {', '.join(STAGES)}")
    parser.add_argument(
        "--start", type=Path, metavar="CHECKPOINT", help="train its UNet on; its other parts stay as they are"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size-of-run", choices=sorted(SIZES), default="tiny", help="smoke: a toy, in seconds")
    parser.add_argument("--pictures", type=int, metavar="N", help="in the training set (default: 30000)")
    parser.add_argument("--batch-factor", type=int, default=1, metavar="N", help="N times larger batches, for a GPU")
    parser.add_argument("--checkpoint", type=Path, help="where the stage export writes (default: in the run's folder)")
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), help="default: where it is fast")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU even where there is a GPU")
    given = parser.parse_args(arguments)
    if given.batch_factor < 1:
        parser.error("--batch-factor must be at least 1")
    if given.pictures is not None and given.pictures < 1:
        parser.error("--pictures must be at least 1")
    if not 0 <= given.seed < 2**32:
        parser.error(f"--seed must be a whole number from 0 to {2**32 - 1}")  # NumPy's limit
    return given


def minutes(text: str) -> float:
    """A number above 0, of a year at most."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= YEAR:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0 and up to {YEAR} (a year)")
    return value


def stages(text: str) -> list[str]:
    """Names of stages, in the order of STAGES."""
    names = {name.strip() for name in text.split(",")}
    unknown = sorted(names - set(STAGES))
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no stage {', '.join(map(repr, unknown))}; the stages are {', '.join(STAGES)}"
        )
    return [stage for stage in STAGES if stage in names]


def main(arguments: list[str] | None = None) -> int:
    """Run the asked-for stages; returns 0, or 2 after one clear sentence about something the user can put right."""
    given = parse_arguments(arguments)
    device = "cuda" if torch.cuda.is_available() and not given.cpu else "cpu"
    precision = given.mixed_precision or ("bf16" if fast_in_bfloat16(device) else "no")
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # the discriminator's, until it is switched on
    accelerator = Accelerator(cpu=given.cpu, mixed_precision=precision, kwargs_handlers=[unused])
    set_seed(given.seed)
    seconds = {stage: 60 * (getattr(given, f"{stage}_minutes") or given.minutes * STAGES[stage][0]) for stage in TIMED}
    settings = SIZES[given.size_of_run]
    settings = replace(settings, pictures=given.pictures or settings.pictures)
    run = Run(given.out, settings, given.seed, accelerator, seconds, given.batch_factor, given.checkpoint, given.start)
    try:
        run.check()
        if "export" in given.stages:
            run.check_target()
        run.claim()
        if given.start and accelerator.is_main_process:
            adopt(run, given.start)
        accelerator.wait_for_everyone()
        for stage in given.stages if not given.start else remaining(given.stages):
            run_stage(run, stage)
        wait_for_pictures(run)
    except (BadInput, SafetensorError) as error:
        print(f"sdlesson.tiny: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"sdlesson.tiny: {error.filename or given.out}: {error.strerror or error}.", file=sys.stderr)
        return 2
    finally:
        accelerator.end_training()
    return 0


if __name__ == "__main__":
    sys.exit(main())
