"""The command `sdlesson`: its arguments, its sentences, its exit codes.

0 is done, 1 what `doctor` finds wrong with a model, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import os
import re
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from .grading import command as grade
from .loading import checks
from .loading.errors import BadInput, ModelError, say, shortened
from .loading.quiet import quick_imports
from .loading.writing import check_writable
from .models import default_model, find, load
from .sweeps import command as sweep
from .tokens import TruncationWarning, UnknownWordsWarning, as_prompts

#: Latent squares computed in one batch: one 512x512 picture, or sixteen of the tiny model's.
_AT_ONCE = 64 * 64
_SQUARE = 8  # pixels along the side of one latent square
_MOST = 10_000  # pictures of one run; each has a file of its own


class _Parser(argparse.ArgumentParser):
    """argparse, but what is wrong is told in one sentence."""

    def error(self, message: str):
        raise BadInput(f"{message} (see {self.prog} --help)")


def main(argv: list[str] | None = None) -> None:
    """Run the command and leave with its exit code; `argv` defaults to the command line's arguments."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch reads it at its import: threads that wait do not spin
    try:
        args, more = _parser().parse_known_args(argv)
        if more and args.command is not lab:
            raise BadInput(f"unrecognized arguments: {' '.join(more)} (see sdlesson --help)")
        args.more = more
        code = args.command(args)
    except BadInput as error:
        say(f"sdlesson: {error}", error=True)
        code = 2
    except KeyboardInterrupt:
        say("sdlesson: interrupted.", error=True)
        code = 130
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        say("sdlesson: There is not enough memory for this; try a smaller --size or a smaller model.", error=True)
        code = 2
    if argv is None:
        gc.freeze()  # at its end Python would search the million objects of torch for garbage: a second for nothing
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sdlesson", description="A small Stable Diffusion of one's own, to learn from.")
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")
    _add_lab(commands)
    _add_paint(commands)
    _add_doctor(commands)
    sweep.add_to(commands)
    grade.add_to(commands)
    return parser


def _add_lab(commands) -> None:
    about = "Open the lessons in JupyterLab, on copies of your own. All other arguments go to JupyterLab."
    add = commands.add_parser("lab", help="open the lessons in JupyterLab", description=about, allow_abbrev=False)
    add.set_defaults(command=lab)
    add.add_argument("--projector", action="store_true", help="larger type and figures, for a room")
    add.add_argument("--into", type=Path, metavar="FOLDER", help="where your copies are (default: my_lessons)")
    add.add_argument("--solutions", action="store_true", help="lay the solutions there, too")
    add.add_argument("--copies", action="store_true", help="only make or renew the copies; start nothing")


def lab(args: argparse.Namespace) -> int:
    """`sdlesson lab`: renew the working copies, then serve them; all that is wrong is told before JupyterLab starts."""
    from .lab import copies, start, tree

    if not args.copies:
        start.check_user(args.more)
    elif args.more:
        raise BadInput(f"--copies starts no JupyterLab that could take {' '.join(args.more)}.")
    lessons = tree.find_lessons()
    folder = Path(os.path.expanduser(args.into or lessons.with_name("my_lessons"))).resolve()
    for sentence in copies.renew(tree.learners_tree(lessons, solutions=args.solutions), folder):
        say(sentence)
    if args.copies:
        return 0
    say(start.HOW.format(folder=folder))
    return start.start(folder, args.more, projector=args.projector)


def _add_paint(commands) -> None:
    add = commands.add_parser("paint", help="paint pictures from prompts", description="Paint pictures from prompts.")
    add.set_defaults(command=paint)
    add.add_argument("prompts", nargs="*", metavar="prompt", help="what to paint; several are painted one by one")
    add.add_argument("--model", metavar="M", help="tiny, a folder, or a hub id (default: $SDLESSON_MODEL, else tiny)")
    add.add_argument("--revision", metavar="R", help="branch, tag or commit of a hub id")
    add.add_argument(
        "--steps",
        type=lambda text: _whole(text, 1, 1000),
        default=20,
        metavar="S",
        help="number of denoising steps (default: 20)",
    )
    add.add_argument(
        "--guidance",
        type=_guidance,
        metavar="G",
        help="how much the prompt counts (default: what the model recommends)",
    )
    add.add_argument(
        "--seed",
        type=lambda text: _whole(text, 0, 2**64 - 1),
        default=42,
        metavar="S",
        help="start of the random numbers (default: 42)",
    )
    add.add_argument("--negative", default="", metavar="PROMPT", help="what the picture should not show")
    add.add_argument("--size", type=_size, default=(None, None), metavar="WxH", help="in pixels, multiples of 8")
    add.add_argument(
        "-n",
        type=lambda text: _whole(text, 1),
        default=1,
        metavar="N",
        help="pictures of each prompt: seeds S, S+1, ...",
    )
    add.add_argument(
        "-o",
        type=Path,
        default=Path("out.png"),
        metavar="FILE",
        help="PNG to write (default: out.png); more than one picture: out-1.png, out-2.png, ...",
    )
    add.add_argument(
        "--dtype", metavar="D", help="what to compute in: float32, bfloat16 or float16 (default: the model's)"
    )
    add.add_argument("--low-memory", action="store_true", help="a big model takes less memory, and longer")
    engines = ("auto", "torch", "openvino")
    add.add_argument("--engine", choices=engines, default="auto", help="what computes a big model (default: auto)")
    add.add_argument("--trace", type=Path, metavar="FILE", help="record every step in one safetensors file")


def paint(args: argparse.Namespace) -> int:
    """`sdlesson paint`: whatever is wrong with the request is told before the first step is computed."""
    jobs = _jobs(args)
    _check_outputs([job.path for job in jobs] + ([checks.path(args.trace)] if args.trace else []))
    name = args.model or default_model()
    find(name, revision=args.revision)  # a wrong name is told before torch is imported
    with _warnings_as_sentences():
        keeping = {"low_memory": args.low_memory or "auto", "engine": args.engine}
        sd = load(name, revision=args.revision, dtype=args.dtype, **keeping)
        from . import decoding, guidance

        run = guidance.resolve_settings(sd, [job.prompt for job in jobs], **_options(args))
        together = max(1, _AT_ONCE // (run.height * run.width // sd.vae_factor**2))
        if args.trace and len(jobs) > together:
            raise BadInput(f"--trace records one batch, of at most {together} pictures of this size, not {len(jobs)}.")
        for start in range(0, len(jobs), together):
            batch = jobs[start : start + together]
            latents = _latents(guidance, decoding, sd, batch, args)
            if start + together >= len(jobs):
                sd.unet.to("meta")  # its work is done: it leaves the memory
            for number, (job, picture) in enumerate(
                zip(batch, decoding.paint_latents(sd, latents), strict=True), start
            ):
                decoding.save_png(picture, job.path, decoding.about_picture(sd, run, job.seed, number))
                scale = f"guidance {run.guidance_scale:g}, seed {job.seed}"
                say(f"{job.path}: {run.width}x{run.height}, {run.num_inference_steps} steps, {scale}, {sd.name}")
    return 0


def _add_doctor(commands) -> None:
    about = "What of a model is as v1.4's, and what this machine can do with it: a report to paste into a question."
    add = commands.add_parser("doctor", help="report on a model and this machine", description=about)
    add.set_defaults(command=doctor)
    add.add_argument(
        "model", nargs="?", metavar="MODEL", help="tiny, a folder, or a hub id (default: $SDLESSON_MODEL, else tiny)"
    )
    add.add_argument("--revision", metavar="R", help="branch, tag or commit of a hub id")
    add.add_argument(
        "--steps",
        type=lambda text: _whole(text, 2, 1000),
        default=4,
        metavar="S",
        help="steps of the picture that is compared with the pipeline's (default: 4)",
    )
    add.add_argument("--quick", action="store_true", help="leave out diffusers' pipeline")


def doctor(args: argparse.Namespace) -> int:
    """`sdlesson doctor`: 1 where the model cannot be loaded or does not do as diffusers' pipeline does."""
    name, holds = args.model or default_model(), True
    try:
        find(name, revision=args.revision)  # a wrong name is told before torch is imported
        with quick_imports():
            from .doctor import report
        with _warnings_as_sentences():
            for line in report(name, revision=args.revision, steps=args.steps, quick=args.quick):
                say(line.text)
                holds = holds and line.holds
    except ModelError as error:
        say(f"sdlesson: {shortened(str(error), name)}", error=True)
        return 1
    return 0 if holds else 1


class _Job(NamedTuple):
    prompt: str
    seed: int
    path: Path


def _jobs(args) -> list[_Job]:
    """One job for each picture: prompt by prompt, each with the seeds S, S+1 ...; raises BadInput."""
    prompts = as_prompts(args.prompts)
    as_prompts(args.negative)
    if args.n * len(prompts) > _MOST:
        raise BadInput(f"One run paints at most {_MOST} pictures, not {args.n * len(prompts)}.")
    wanted = [(prompt, args.seed + more) for prompt in prompts for more in range(args.n)]
    if args.seed + args.n > 2**64:
        raise BadInput(f"The last seed, {args.seed} + {args.n - 1}, is beyond 2^64 - 1.")
    if checks.path(args.o).suffix.lower() != ".png":
        raise BadInput(f"Pictures are written as PNG; name the file {args.o.name or 'out'}.png.")
    if len(wanted) == 1:
        return [_Job(*wanted[0], args.o)]
    names = [args.o.with_name(f"{args.o.stem}-{number}{args.o.suffix}") for number in range(1, len(wanted) + 1)]
    return [_Job(*each, path) for each, path in zip(wanted, names, strict=True)]


def _check_outputs(paths: list[Path]) -> None:
    """Raise BadInput where a file cannot be written, or two of them are one; pictures of one run share their folder."""
    seen = {}
    for path in paths:
        real = os.path.normcase(os.path.realpath(path))
        if real in seen:
            raise BadInput(f"{path} would be written twice, as {seen[real]} too; give every output a name of its own.")
        seen[real] = path
        if path in (paths[0], *paths[-2:]) or os.path.lexists(path):  # the first, the longest name, and the trace
            check_writable(path)


def _options(args) -> dict:
    width, height = args.size
    return {
        "negative_prompt": args.negative,
        "num_inference_steps": args.steps,
        "guidance_scale": args.guidance,
        "height": height,
        "width": width,
    }


def _latents(guidance, decoding, sd, batch: list[_Job], args):
    """The finished latents of one batch; recorded on the way if --trace asks for it."""
    prompts, seeds = [job.prompt for job in batch], [job.seed for job in batch]
    options = _options(args) | {"seed": seeds, "progress": bool(sys.stderr and sys.stderr.isatty())}
    if args.trace:
        trace = guidance.record(sd, prompts, **options)
        decoding.save_trace(trace, args.trace)
        return trace.steps[-1].latents
    for step in guidance.denoise(sd, prompts, **options):
        last = step
    return last.latents


@contextlib.contextmanager
def _warnings_as_sentences():
    """Our own warnings go to stderr, each once, in one line; those of the libraries are not for the one who paints."""
    said = set()

    def show(message, *_, **__):
        if str(message) not in said:  # each batch of a run warns anew
            said.add(str(message))
            say(f"sdlesson: warning: {message}", error=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=TruncationWarning)
        warnings.filterwarnings("always", category=UnknownWordsWarning)
        for ours in ("the picture holds", "one step of"):
            warnings.filterwarnings("always", ours)
        warnings.showwarning = show
        yield


def _out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _whole(text: str, least: int, most: int | None = None) -> int:
    """A whole number within its limits, for argparse."""
    limits = f"from {least} to {most}" if most is not None else f"of at least {least}"
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least or (most is not None and number > most):
        raise argparse.ArgumentTypeError(f"must be a whole number {limits}, not {text!r}")
    return number


def _guidance(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {text!r}")
    if abs(number) > checks.MOST_GUIDANCE:
        raise argparse.ArgumentTypeError(f"must lie between -1e6 and 1e6, not {text!r}")
    return number


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,6})[xX×]([0-9]{1,6})", text)
    sides = tuple(map(int, match.groups())) if match else (0, 0)
    if min(sides) < 1 or any(side % _SQUARE for side in sides):
        raise argparse.ArgumentTypeError(f"must be WxH, both multiples of {_SQUARE} pixels (128x128), not {text!r}")
    return sides


class _Version(argparse.Action):
    """Print the version; it is looked up only if asked for."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        from . import __version__

        print(f"sdlesson {__version__}")
        parser.exit()
