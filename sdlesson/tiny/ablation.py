"""What each term of the autoencoder's loss is good for: a trained autoencoder, trained on without it.

`python -m sdlesson.tiny.ablation runs/tiny --minutes 5` needs a run's pictures, CLIP pair and autoencoder; the
measurement of a checkpoint (quality.py) then compares what it leaves in the run's folder `ablations`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL

from ..loading.writing import write_whole
from .loop import TRAINED_ON, Trainer
from .optimizer import fast_in_bfloat16
from .saving import save_model
from .settings import SIZES
from .vae import TERMS, vae_job


def train_without(run: Path, term: str, minutes: float, batch_size: int) -> None:
    """Train the run's autoencoder on without `term` ("nothing": with all) and save it in `run`/ablations/`term`."""
    settings = SIZES[json.loads((run / "settings.json").read_text("utf-8"))["name"]]
    precision = "bf16" if fast_in_bfloat16("cuda" if torch.cuda.is_available() else "cpu") else "no"
    accelerator = Accelerator(mixed_precision=precision)
    torch.manual_seed(0)
    job = vae_job(run, settings, accelerator, 60 * minutes, batch_size, set(TERMS) - {term})
    job.objective.get_submodule("vae").load_state_dict(AutoencoderKL.from_pretrained(run / "vae").state_dict())
    job.muon_rate, job.adam_rate = TRAINED_ON * job.muon_rate, TRAINED_ON * job.adam_rate
    folder = run / "ablations" / term
    folder.mkdir(parents=True, exist_ok=True)
    job.save = lambda: save_model(job.objective.vae, folder / "vae")
    job.compiled = False  # compiling takes longer than such a budget
    progress = Trainer(job, folder, accelerator, seed=0).run()
    write_whole(folder / "pictures.json", json.dumps(progress.step * batch_size))


def load_ablations(folder: Path) -> dict[str, tuple[AutoencoderKL, int]]:
    """What `folder` holds: the term that is left out -> the autoencoder and the pictures that it was trained on."""
    found = [term for term in ("nothing", *TERMS) if (folder / term / "pictures.json").exists()]
    return {
        term: (
            AutoencoderKL.from_pretrained(folder / term / "vae").eval(),
            json.loads((folder / term / "pictures.json").read_text("utf-8")),
        )
        for term in found
    }


def main():
    """Train the run's autoencoder on without each term, and with all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder with pictures, the CLIP pair and the autoencoder")
    parser.add_argument("--minutes", type=float, default=10, help="for each (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--without", choices=("nothing", *TERMS), help="this one alone")
    given = parser.parse_args()
    for term in [given.without] if given.without else ("nothing", *TERMS):
        train_without(given.run, term, given.minutes, given.batch)


if __name__ == "__main__":
    main()
