"""Measure a checkpoint as its users meet it (pictures from prompts, judged) and write its model card."""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..decoding import paint
from ..models import StableDiffusion, checkpoint_path, load
from ..world import COLOURS, HELD_OUT, MOUNTS, PLACES, RIDERS, STYLES, Scene
from ..world.judge import QUESTIONS, Judge, follows, load_judge, look
from .card import adherence_table, model_card
from .judge import draw_scenes, judge_accuracy

ARTICLE = "a photograph of an astronaut riding a horse"


@dataclass(frozen=True)
class Setting:
    """How a row of the table was painted: guidance scale, steps, and the order of the multistep solver (4 or 1)."""

    guidance_scale: float
    steps: int = 20
    order: int = 4

    def __str__(self) -> str:
        return f"guidance {self.guidance_scale:g}, {self.steps} steps, K-LMS of order {self.order}"


def exam_scenes(count: int, heldout: bool, seed: int = 11) -> list[Scene]:
    """`count` scenes with rider, mount and place, spread evenly over the pairs; every third mount has a colour."""
    rng = np.random.default_rng(seed)
    pairs = [pair for pair in itertools.product(RIDERS, MOUNTS) if (pair in HELD_OUT) == heldout]
    rounds = range(-(-count // len(pairs)))
    drawn = [pairs[i] for _ in rounds for i in rng.permutation(len(pairs))][:count]
    return [
        Scene(
            style=STYLES[rng.integers(len(STYLES))],
            rider=rider,
            mount=mount,
            place=str(rng.choice(list(PLACES))),
            mount_colour=str(rng.choice(COLOURS)) if number % 3 == 0 else None,
        )
        for number, (rider, mount) in enumerate(drawn)
    ]


def paint_scenes(sd: StableDiffusion, scenes: list[Scene], setting: Setting, seed: int = 42, batch: int = 20) -> list:
    """Paint one picture a scene, as PIL pictures; batch k draws its noise from the seed `seed` + k."""
    pictures = []
    for number, start in enumerate(range(0, len(scenes), batch)):
        pictures += paint(
            [scene.caption for scene in scenes[start : start + batch]],
            model=sd,
            num_inference_steps=setting.steps,
            guidance_scale=setting.guidance_scale,
            order=setting.order,
            seed=seed + number,
        )
    return pictures


def adherence(judge: Judge, scenes: list[Scene], pictures: list) -> dict[str, float]:
    """The share of pictures that follow their caption: by question, and in style, rider, mount and place at once."""
    right = [follows(scene, seen) for scene, seen in zip(scenes, look(judge, pictures), strict=True)]
    return {name: float(np.mean([r[name] for r in right])) for name in (*QUESTIONS, "all")}


@torch.no_grad()
def reconstruction(vae, count: int = 500, seed: int = 424_242, batch: int = 20) -> dict[str, float]:
    """PSNR in dB (mean over pictures, peak 255) of encode-decode on unseen drawings: overall, worst, and by style."""
    scenes, pictures = draw_scenes(np.random.default_rng(seed), count)
    psnr = []
    for start in range(0, count, batch):
        original = torch.from_numpy(pictures[start : start + batch]).permute(0, 3, 1, 2).float()
        gaussian = vae.encode((original / 127.5 - 1).to(vae.dtype)).latent_dist
        decoded = vae.decode(gaussian.mode()).sample.float()
        error = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round() - original
        psnr += (20 * torch.log10(255 / error.pow(2).mean((1, 2, 3)).sqrt())).tolist()
    values, styles = np.array(psnr), np.array([scene.style for scene in scenes])
    by_style = {style: float(values[styles == style].mean()) for style in STYLES}
    return {"all": float(values.mean()), "worst": float(values.min()), **by_style}


def two_seeds(sd: StableDiffusion) -> float:
    """Mean absolute difference, in levels of 255, between two seeds' pictures of the article's prompt."""
    a, b = (np.asarray(paint(ARTICLE, model=sd, seed=seed)[0]).astype(float) for seed in (42, 43))
    return float(np.abs(a - b).mean())


def measure(folder: Path, count: int = 200) -> dict:
    """All figures of the model card for the checkpoint in `folder`, as a plain dict (JSON values)."""
    sd, judge = load(folder), load_judge(folder / "judge")
    settings = [Setting(g) for g in sorted({1.0, 3.0, 5.0, 8.0, sd.guidance_scale})]
    settings += [Setting(8.0, order=1), Setting(8.0, steps=50)]
    parts = ("unet", "vae", "text_encoder")
    rows = []
    for setting in tqdm(settings, desc="settings"):
        pictures = count if setting == Setting(sd.guidance_scale) else count // 2
        row: dict = {"setting": str(setting), "pictures": pictures, **vars(setting)}
        for split in ("trained", "heldout"):
            scenes = exam_scenes(pictures, split == "heldout")
            row[split] = adherence(judge, scenes, paint_scenes(sd, scenes, setting))
        rows.append(row)
    return {
        "guidance_scale": sd.guidance_scale,
        "scaling_factor": sd.vae.config.scaling_factor,
        "parameters": {part: getattr(sd, part).num_parameters() for part in parts},
        "judge": judge_accuracy(judge),
        "psnr": reconstruction(sd.vae),
        "two_seeds": two_seeds(sd),
        "adherence": rows,
    }


def main():
    """`python -m sdlesson.tiny.quality FOLDER`: measure a checkpoint, write quality.json and README.md into it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=checkpoint_path(), help="a checkpoint; default: the bundled"
    )
    parser.add_argument(
        "--count", type=int, default=200, help="pictures a split at the recommended setting, half as many at others"
    )
    arguments = parser.parse_args()
    results = measure(arguments.folder, arguments.count)
    (arguments.folder / "quality.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.folder / "README.md").write_text(model_card(arguments.folder))
    print(adherence_table(results))
    print(json.dumps({key: results[key] for key in ("psnr", "judge", "two_seeds")}, indent=1))


if __name__ == "__main__":
    main()
