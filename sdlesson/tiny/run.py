"""The stages of a run, in their order, and the run folder that they share."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copy2, copytree

import torch
from accelerate import Accelerator

from ..loading.errors import BadInput
from ..loading.writing import recover_all, replace_folder, write_whole
from .data import CHUNK, draw_pictures, drawn
from .loop import Trainer
from .saving import check_checkpoint, read_training
from .settings import Settings

#: Each stage, the share of the minutes that it gets, and the folders or files of earlier stages that it needs.
STAGES = {
    "pictures": (0.0, ()),
    "tokenizer": (0.0, ("pictures",)),
    "clip": (0.07, ("pictures", "tokenizer")),
    "vae": (0.44, ("pictures", "clip")),
    "latents": (0.0, ("pictures", "vae")),
    "unet": (0.49, ("clip", "latents.npy")),
    "export": (0.0, ("tokenizer", "clip", "vae", "unet")),
}


class TrainingError(BadInput):
    """Something that the user can put right; its text says what."""


@dataclass
class Run:
    """One run: where it lives, what it trains, with what, and for how many seconds each stage."""

    folder: Path
    settings: Settings
    seed: int
    accelerator: Accelerator
    seconds: dict[str, float]
    batch_factor: int = 1
    checkpoint: Path | None = None  # where `export` writes; the run folder's own by default
    start: Path | None = None  # the checkpoint whose UNet is trained on
    drawing: Future | None = None  # of the pictures that are still being drawn

    @property
    def target(self) -> Path:
        """Where the stage `export` writes."""
        return self.checkpoint or self.folder / "checkpoint"

    @property
    def file(self) -> Path:
        """Where the run folder says what it was made for."""
        return self.folder / "settings.json"

    def what_for(self) -> dict:
        """What this run is for, as JSON keeps it."""
        told = {"seed": self.seed, "batch_factor": self.batch_factor, **asdict(self.settings)}
        return json.loads(json.dumps(told | ({"start": self.start.resolve().name} if self.start else {})))

    def check(self) -> None:
        """Raise TrainingError where the run folder was made with other settings, another seed, or not by training."""
        if self.folder.exists() and not self.folder.is_dir():
            raise TrainingError(f"{self.folder} is no folder but a file; give another name with --out.")
        found = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []  # before `file` is asked
        if self.file.exists():
            mine, theirs = self.what_for(), _read_settings(self.file)
            different = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
            if different:
                raise TrainingError(
                    f"The run in {self.folder} was made with other settings ({', '.join(different)}); "
                    "give another folder with --out, or the same settings."
                )
        elif others := [name for name in found if not name.startswith(".sdlesson-")]:
            raise TrainingError(
                f"{self.folder} holds what no training has made ({min(others)}); give another folder with --out."
            )

    def check_target(self) -> None:
        """Raise BadInput where `export` may not write: told before anything is trained."""
        home, target = self.folder.resolve(), self.target.resolve()
        if home.is_relative_to(target) or (target.is_relative_to(home) and target != home / "checkpoint"):
            raise TrainingError(f"{self.target} belongs to the run itself; name another folder with --checkpoint.")
        check_checkpoint(self.target)

    def claim(self) -> None:
        """Make the run folder and write down what it is for, or put right what a kill left in it."""
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            recover_all(self.folder)
            if not self.file.exists():
                write_whole(self.file, json.dumps(self.what_for(), indent=2))

    def train(self, job) -> None:
        Trainer(job, self.folder, self.accelerator, self.seed).run()


def _read_settings(file: Path) -> dict:
    """What a run folder was made with; raises TrainingError where the file is damaged."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise TrainingError(f"{file} is damaged; give another folder with --out.") from None


#: What a run that starts from a checkpoint takes from it, unchanged: the UNet's old weights fit no others.
ADOPTED = ("tokenizer", "clip", "vae")


def adopt(run: Run, checkpoint: Path) -> None:
    """Put a checkpoint's parts into the run folder: those of ADOPTED for good, its UNet and its story as the start.

    Done once; a run that goes on after a kill keeps what it has. Raises TrainingError where a part is missing.
    """
    start = run.folder / "start"
    if start.exists():
        return
    missing = [name for name in (*ADOPTED, "unet", "training.json") if not (checkpoint / name).exists()]
    if missing:
        raise TrainingError(f"{checkpoint} cannot be started from: it has no {', '.join(missing)}.")
    if not read_training(checkpoint):
        raise TrainingError(f"{checkpoint} cannot be started from: its training.json is damaged.")
    for name in ADOPTED:
        replace_folder(run.folder / name, lambda part, name=name: copytree(checkpoint / name, part, dirs_exist_ok=True))
    replace_folder(start, lambda part: _copy_start(checkpoint, part))


def _copy_start(checkpoint: Path, part: Path) -> None:
    copytree(checkpoint / "unet", part / "unet")
    copy2(checkpoint / "training.json", part)


def remaining(stages: list[str]) -> list[str]:
    """The stages that are left to do for a run that starts from a checkpoint."""
    return [stage for stage in stages if stage not in ADOPTED]


def run_stage(run: Run, stage: str) -> None:
    """Run one stage; raises TrainingError when an earlier stage has not been run."""
    for needed in STAGES[stage][1]:
        if not (run.folder / needed).exists():
            raise TrainingError(
                f"The stage {stage!r} needs {run.folder / needed}, which is not there; run the earlier stages first."
            )
    torch.manual_seed(run.seed)  # of the weights' first values
    RUNNERS[stage](run)
    run.accelerator.wait_for_everyone()


def _pictures(run: Run) -> None:
    """Begin to draw; go on when there are enough pictures for the tokenizer and the CLIP pair."""
    if not run.accelerator.is_main_process:
        return
    folder, settings = run.folder / "pictures", run.settings
    run.drawing = ThreadPoolExecutor(1).submit(draw_pictures, folder, settings.pictures, run.seed, settings.size)
    while not run.drawing.done() and CHUNK * len(drawn(folder)) < settings.first_pictures:
        time.sleep(0.2)
    if run.drawing.done():
        run.drawing.result()  # raises what went wrong


def wait_for_pictures(run: Run) -> None:
    """Wait for the pictures that are still being drawn; raises what went wrong with them."""
    if run.drawing:
        run.drawing.result()
    run.accelerator.wait_for_everyone()


def _tokenizer(run: Run) -> None:
    from .tokenizer import train_tokenizer

    if run.accelerator.is_main_process:
        train_tokenizer(run.folder, run.settings.vocabulary)


def _clip(run: Run) -> None:
    from .clip import clip_job

    batch_size = run.settings.clip_batch * run.batch_factor
    run.train(clip_job(run.folder, run.settings, run.accelerator, run.seconds["clip"], batch_size))


def _vae(run: Run) -> None:
    from .vae import vae_job

    wait_for_pictures(run)  # which of them it sees must not depend on how fast they are drawn
    batch_size = run.settings.vae_batch * run.batch_factor
    run.train(vae_job(run.folder, run.settings, run.accelerator, run.seconds["vae"], batch_size))


def _latents(run: Run) -> None:
    from .latents import cache_latents

    wait_for_pictures(run)
    if run.accelerator.is_main_process:
        cache_latents(run.folder, run.accelerator)


def _unet(run: Run) -> None:
    from .unet import unet_job

    batch_size = run.settings.unet_batch * run.batch_factor
    run.train(unet_job(run.folder, run.settings, run.accelerator, run.seconds["unet"], batch_size))


def _export(run: Run) -> None:
    from .export import export

    if run.accelerator.is_main_process:
        export(run.folder, run.target)


RUNNERS = {
    "pictures": _pictures,
    "tokenizer": _tokenizer,
    "clip": _clip,
    "vae": _vae,
    "latents": _latents,
    "unet": _unet,
    "export": _export,
}
