"""The judge of the clinic: a mended script must paint what the package paints, with another prompt, seed and steps."""

from __future__ import annotations

import contextlib
import copy
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..decoding import paint, paint_latents
from ..steering import img2img, inpaint
from . import Mistake, Stopped, Unanswered, exercise
from .compare import call, shown

#: What each script is tried with; the page shows none of it. Even numbers of steps: img2img leaves out half of them.
RUNS = (
    ("a cartoon of a queen riding an elephant on a beach", 7, 6),
    ("a photograph of a robot riding a bicycle in the snow", 11, 4),
)
DARK = "a cartoon of a queen riding an elephant on the moon", 7, 6  # at twice the guidance 2.7 % of it lie below -1
#: Mean difference in levels of 255 up to which two pictures are the same: bytes that are not rounded make 0.5, the
#: mildest of the planted faults 5.9. A decoder in bfloat16 is off by up to 4.
SAME, SAME_IN_16_BITS = 1.0, 4.0
#: What walks the whole way in one word, and the file that it stands in: no script under examination may call it.
READY = {
    "paint": "decoding.py",
    "denoise": "guidance.py",
    "healthy": "clinic.py",
    "__call__": "pipeline_stable_diffusion.py",
}
LOUDER = 2048.0  # makes far more than 65504 of the tiny model's 500; a power of two, so that no digit changes


class Case(NamedTuple):
    """One patient: what a sound script paints, where the fault lies, and what it teaches."""

    paints: Callable[..., list[Image.Image]]
    look: str
    learned: str
    same: float = SAME
    runs: tuple[tuple[str, int, int], ...] = RUNS


def loud(vae):
    """A copy of the VAE that decodes as before, with numbers LOUDER times as large inside, as some VAEs have them.

    What is added to the running sum is multiplied; every branch begins with a norm, which divides by its size.
    """
    adds = ("conv_in.weight", "conv_in.bias", "conv2.weight", "conv2.bias", "conv_shortcut.bias")
    adds += ("to_out.0.weight", "to_out.0.bias", "upsamplers.0.conv.bias")
    other = copy.deepcopy(vae)
    with torch.no_grad():
        for name, values in other.decoder.named_parameters():
            if name.endswith(adds):
                values *= LOUDER
    return other


def free_half(sd) -> torch.Tensor:
    """A mask of latent squares (h/8, w/8): the right half is True and may be painted anew."""
    rows, columns = (side // sd.vae_factor for side in sd.size)
    return (torch.arange(columns) >= columns // 2).expand(rows, columns)


def _plain(sd, prompt: str, seed: int, steps: int, drawing=None, **options) -> list[Image.Image]:
    return paint(prompt, model=sd, seed=seed, num_inference_steps=steps, **options)


def _two_seeds(sd, prompt: str, seed: int, steps: int, drawing=None) -> list[Image.Image]:
    return paint([prompt] * 2, model=sd, seed=[seed, seed + 1], num_inference_steps=steps)


def _two_texts(sd, prompt: str, seed: int, steps: int, drawing=None) -> list[Image.Image]:
    both = [prompt, "a cartoon of a penguin riding a rocket"]
    return paint(both, model=sd, seed=[seed, seed + 1], num_inference_steps=steps)


def _two_scales(sd, prompt: str, seed: int, steps: int, drawing=None) -> list[Image.Image]:
    return [_plain(sd, prompt, seed, steps, guidance_scale=scale)[0] for scale in (1, sd.guidance_scale)]


def _over(sd, prompt: str, seed: int, steps: int, drawing) -> list[Image.Image]:
    run = {"strength": 0.5, "order": 1, "seed": seed, "num_inference_steps": steps}
    return paint_latents(sd, img2img(sd, prompt, drawing, **run))


def _half(sd, prompt: str, seed: int, steps: int, drawing) -> list[Image.Image]:
    return paint_latents(sd, inpaint(sd, prompt, drawing, free_half(sd), order=1, seed=seed, num_inference_steps=steps))


def _strong(sd, prompt: str, seed: int, steps: int, drawing=None) -> list[Image.Image]:
    return _plain(sd, prompt, seed, steps, guidance_scale=2 * sd.guidance_scale)


CASES = {
    "clinic.1": Case(
        _plain, "Which spread does the decoder expect?", "The UNet's units are not the decoder's: divide by the factor."
    ),
    "clinic.2": Case(
        _two_seeds, "Where does the noise of the second picture come from?", "Another picture needs another seed."
    ),
    "clinic.3": Case(_plain, "Compare the batch of the latents with that of the texts.", "Two texts, two copies."),
    "clinic.4": Case(
        _half,
        "Which half should stay? Which half does, in the loop and after it?",
        "In the mask, True is where the new may stand.",
    ),
    "clinic.5": Case(
        _plain, "Look at the latents before the first call.", "σ says how strong the noise is. It must be that strong."
    ),
    "clinic.6": Case(
        _plain, "Follow each text to its half of the guesses.", "Texts and guesses must have the same order."
    ),
    "clinic.7": Case(
        _plain, "Print what the UNet is told.", "The UNet wants the timestep, not the number of the round."
    ),
    "clinic.8": Case(
        _plain,
        "Is every number finite, stage by stage?",
        "float16 ends at 65504; a decoder may go beyond.",
        SAME_IN_16_BITS,
    ),
    "clinic.9": Case(
        _two_scales,
        "Both pictures should begin with the same noise. Do they?",
        "A generator goes on where it stopped. Same noise, fresh generator.",
    ),
    "clinic.10": Case(
        _strong,
        "Print the smallest and the largest number before they become bytes.",
        "Clamp at both ends, then bytes.",
        runs=(*RUNS, DARK),
    ),
    "clinic.11": Case(
        _plain, "How often is the scheduler asked in each round?", "A scheduler counts: one `step` a round, kept."
    ),
    "clinic.12": Case(
        _plain, "Which of the text encoder's outputs is read?", "The UNet learned on what comes after the final norm."
    ),
    "clinic.13": Case(
        _plain,
        "Which latents does the UNet see, and which does `step` start from?",
        "The UNet sees scaled latents; the step starts from those that are not.",
    ),
    "clinic.14": Case(
        _over,
        "Where on the way does the loop begin, and how strong is the noise that is added?",
        "One step decides both.",
    ),
    "clinic.15": Case(
        _plain, "Put scale 1 into the line of guidance: what should be left?", "Guidance starts at the empty guess."
    ),
    "clinic.16": Case(
        _two_seeds, "What does the second picture inherit from the first?", "A memory belongs to one run."
    ),
    "clinic.17": Case(
        _two_texts,
        "Write down which latents meet which text, row by row.",
        "Each copy of the latents meets its own text.",
    ),
    "clinic.18": Case(
        _plain, "Print the spread of what the UNet sees.", "Scale once: the UNet's input has a spread of 1."
    ),
    "clinic.19": Case(
        _plain,
        "Follow the text up to the UNet: which shape arrives?",
        "The UNet learned with 77 places, always.",
    ),
    "clinic.20": Case(
        _plain,
        "Print the scheduler, and σ at the first step. What does the model come with?",
        "A schedule belongs to the model that learned it.",
    ),
}


def healthy(name: str, sd, prompt: str, seed: int, steps: int, drawing=None) -> list[Image.Image]:
    """What the script of case `name` paints when nothing is wrong with it, by the package's own functions."""
    return CASES[name].paints(sd, prompt, seed, steps, drawing)


@contextlib.contextmanager
def by_hand() -> Iterator[None]:
    """Within it, a call of what is READY, under whatever name and from however deep, ends the judging.

    It looks at each call of this thread only: other threads may paint meanwhile. What looked before it looks again
    after it.
    """

    def look(frame, event: str, _) -> None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if event == "call" and name in READY and file.endswith(READY[name]):
            raise Stopped(Mistake("That is the whole way in one word. Walk it yourself.", f"It calls {name}."))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


def pictures(got) -> list[Image.Image] | None:
    """What a script gave as a list of PIL pictures: one, or several, or arrays of bytes; None for anything else."""
    if isinstance(got, torch.Tensor):
        got = got.cpu().numpy()
    if isinstance(got, np.ndarray) and got.dtype == np.uint8 and got.ndim in (3, 4) and got.shape[-1] == 3:
        got = [Image.fromarray(each) for each in got.reshape(-1, *got.shape[-3:])]
    got = [got] if isinstance(got, Image.Image) else got
    fits = isinstance(got, list | tuple) and len(got) > 0 and all(isinstance(each, Image.Image) for each in got)
    return [each.convert("RGB") for each in got] if fits else None


def symptom(got: list[Image.Image], wanted: list[Image.Image], same: float = SAME) -> str | None:
    """What is to be seen of the difference, in a sentence that names no cause; None where there is none."""
    if len(got) != len(wanted):
        return f"{len(wanted)} pictures are asked for, and it gives {len(got)}."
    if got[0].size != wanted[0].size:
        return f"The picture has {got[0].width} × {got[0].height} pixels, not {wanted[0].width} × {wanted[0].height}."
    one, other = (np.stack([np.asarray(each, dtype=float) for each in many]) for many in (got, wanted))
    off = np.abs(one - other).mean(axis=(1, 2, 3))
    if (off <= same).all():
        return None
    if not one.any():
        return "The picture is black to the last pixel."
    if len(got) > 1 and (off <= same).any():
        right, wrong = int(off.argmin()) + 1, int(off.argmax()) + 1
        return f"Picture {right} is right. Picture {wrong} is another one than it should be."
    halves = np.array_split(np.abs(one - other).mean(axis=(0, 1, 3)), 2)
    if min(half.mean() for half in halves) < same:
        side = "left" if halves[0].mean() > halves[1].mean() else "right"
        return f"All that is wrong lies in the {side} half."
    worst = int(off.argmax())
    seen = _look(one[[worst]], other[[worst]], off[worst])
    which = f"None of the pictures is right. The worst is picture {worst + 1}: " if len(got) > 1 else ""
    return f"{which}{seen} It is off by {_about(off[worst])} of 255 levels on average."


def _look(one: np.ndarray, other: np.ndarray, off: float) -> str:
    """How the pictures `one` look beside the sound `other`, both (n, height, width, 3), by the steps between pixels.

    Where they are `off` by many levels, steps of the same size say nothing.
    """
    steps = [np.abs(np.diff(each, axis=1)).mean() + np.abs(np.diff(each, axis=2)).mean() for each in (one, other)]
    if steps[0] < 0.6 * steps[1]:
        return "The picture is blurred, or its patches have run together."
    if steps[0] > 1.25 * steps[1]:
        return "The picture is rougher than it should be: edges, stains or noise that do not belong there."
    if off >= 25:
        return "It is not the picture that is wanted."
    return "The picture is about as smooth as it should be, and it is not the right one."


def _about(levels: float) -> str:
    return "less than 8" if levels < 8 else "8 to 25" if levels < 25 else "more than 25"


def _examine(case: Case, script, sd, drawing, runs=None) -> Mistake | None:
    """Run the script as the page does not, and compare with the package's own pictures."""
    for prompt, seed, steps in runs or case.runs:
        try:
            with by_hand():
                got = call(script, prompt, seed, steps)
        except (Stopped, Unanswered):
            raise
        except Exception as error:  # the learner's script may raise anything
            said = f"It stops {_where(script, error)}with {type(error).__name__}: {error}".splitlines()[0]
            return Mistake(said, f"{said}\n{case.look}")
        painted = pictures(got)
        if painted is None:
            return Mistake("The script should give back a PIL picture, or a list of them.", f"It gives {shown(got)}.")
        if seen := symptom(painted, case.paints(sd, prompt, seed, steps, drawing), case.same):
            return Mistake(seen, f"{seen}\n{case.look}")
    return None


def _where(script, error: Exception) -> str:
    """The line of the script's own cell that an error came out of, as it is written; empty where it cannot be read."""
    file = getattr(getattr(script, "__code__", None), "co_filename", None)
    lines = [at.line for at in traceback.extract_tb(error.__traceback__) if at.filename == file and at.line]
    return f"in `{lines[-1]}` " if lines else ""


def _judge_of(name: str):
    def judge(script, *, sd, drawing=None) -> Mistake | None:
        return _examine(CASES[name], script, sd, drawing)

    return judge


for _name, _case in CASES.items():
    exercise(_name, hint="Mend the script, then give `check` the function.", learned=_case.learned)(_judge_of(_name))


@exercise(
    "clinic.21",
    hint="Seven stations: ids, vectors, noise, the loop with its two guesses, the factor, the decoder, the bytes.",
    learned="From a blank page to a picture, and it is the same picture. You know this machine.",
)
def _blank_page(program, *, sd) -> Mistake | None:
    """A function (prompt, seed, steps, file) that writes a picture by the five parts alone."""
    for prompt, seed, steps in RUNS:
        painted = _written(program, prompt, seed, steps)
        if isinstance(painted, Mistake):
            return painted
        if seen := symptom([painted], _plain(sd, prompt, seed, steps)):
            others = {
                "prompt": ("", seed, steps),
                "seed": (prompt, seed + 1, steps),
                "steps": (prompt, seed, steps + 1),
            }
            for name, run in others.items():
                if _written(program, *run) == painted and np.ptp(np.asarray(painted)):  # black ones are all the same
                    wrong = f"`{name}` is not used: whatever it is, the picture is the same."
                    return Mistake(f"{seen}\nDoes the picture change with each argument?", wrong)
            return Mistake(seen, f"{seen}\nPrint shape and spread at each station, and compare with the first page's.")
    return None


def _written(program, prompt: str, seed: int, steps: int) -> Image.Image | Mistake:
    """The picture that a program writes, or what is wrong where it writes none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "out.png"
        with by_hand():
            given = program(prompt, seed, steps, str(file))
        if given is ...:
            raise Unanswered
        if not file.is_file():
            return Mistake("Where is the picture? Nothing lies under the name `file`.", "It writes no file.")
        try:
            with Image.open(file) as opened:
                return opened.convert("RGB")
        except UnidentifiedImageError:
            return Mistake("Which method of Pillow's pictures writes a file?", "What it writes is no picture.")
