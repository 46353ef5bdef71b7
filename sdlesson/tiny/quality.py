"""Measure a checkpoint as its users meet it (pictures from prompts, judged) and write its model card."""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..decoding import paint
from ..latents import psnr
from ..loading.writing import write_whole
from ..models import ARTICLE_PROMPT, StableDiffusion, checkpoint_path, load
from ..world import COLOURS, HELD_OUT, MOUNTS, PLACES, RIDERS, STYLES, Scene, draw
from ..world.classifier import QUESTIONS, follows, load_classifier, look, save_classifier
from .ablation import load_ablations
from .card import guidance_table, likeness_table, model_card, recommended_table
from .classifiers import CLASSIFIERS, EYE, load_other
from .classify import draw_scenes, train_classifier
from .data import as_pixels
from .likeness import likeness
from .sheets import save_sheet
from .vae import round_trip

SEEDS = list(range(42, 58))  # of the card's sheet
BATCH = 100  # pictures that are painted at once
LIKENESS_COUNT = 240  # captions of the likeness table


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


def adherence(classifier: nn.Module, scenes: list[Scene], pictures: list) -> dict[str, float]:
    """The share of pictures that follow their caption: by question, and in style, rider, mount and place at once."""
    right = [follows(scene, seen) for scene, seen in zip(scenes, look(classifier, pictures), strict=True)]
    return {name: float(np.mean([r[name] for r in right])) for name in (*QUESTIONS, "all")}


def round_trips(vae, pictures: np.ndarray) -> np.ndarray:
    """Encode to the latents' mean and decode: uint8 (N, H, W, 3) -> the same."""
    decoded = round_trip(vae, as_pixels(pictures))
    return ((decoded / 2 + 0.5) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def reconstruction(vae, count: int = 500, seed: int = 424_242) -> dict[str, float]:
    """PSNR in dB (mean over pictures, peak 255) of encode-decode on unseen drawings: overall, worst, and by style."""
    scenes, pictures = draw_scenes(np.random.default_rng(seed), count)
    values = psnr(as_pixels(pictures), as_pixels(round_trips(vae, pictures))).numpy()
    styles = np.array([scene.style for scene in scenes])
    by_style = {style: float(values[styles == style].mean()) for style in STYLES}
    return {"all": float(values.mean()), "worst": float(values.min()), **by_style}


@torch.no_grad()
def latents_std(vae, pictures: np.ndarray, batch: int = 16) -> float:
    """Standard deviation of the latents' means of pictures uint8 (N, H, W, 3), before the scaling factor."""
    parts = as_pixels(pictures).to(vae.device).split(batch)
    return torch.cat([vae.encode(part).latent_dist.mean for part in parts]).std().item()


def two_seeds(sd: StableDiffusion) -> float:
    """Mean absolute difference, in levels of 255, between two seeds' pictures of the article's prompt."""
    a, b = (np.asarray(paint(ARTICLE_PROMPT, model=sd, seed=seed)[0]).astype(float) for seed in (42, 43))
    return float(np.abs(a - b).mean())


def save_seeds(sd: StableDiffusion, path: Path) -> None:
    """The article's prompt with sixteen seeds, at the recommended setting, as one PNG file."""
    painted = np.stack([np.asarray(each) for each in paint([ARTICLE_PROMPT] * len(SEEDS), model=sd, seed=SEEDS)])
    title = f"{ARTICLE_PROMPT}: seeds {SEEDS[0]} to {SEEDS[-1]}, row by row"
    save_sheet(as_pixels(painted), path, columns=8, title=title)


def settings_to_measure(recommended: float) -> list[Setting]:
    """K-LMS of order 4 by guidance scale, the same of order 1, and strong guidance with more steps."""
    fourth = [Setting(scale) for scale in sorted({1.0, 2.0, 3.0, 5.0, 7.5, 8.0, recommended})]
    return [*fourth, *(Setting(scale, order=1) for scale in (3.0, 5.0, 7.5, 8.0)), Setting(8.0, steps=50)]


def measure_adherence(sd: StableDiffusion, classifiers: dict[str, nn.Module], count: int) -> list[dict]:
    """A row a setting: the shipped classifier's shares for trained and held-out pairs, and the others' beside them.

    `count` pictures a kind of pairs at the recommended setting, half as many at each other.
    """
    rows = []
    for setting in tqdm(settings_to_measure(sd.guidance_scale), desc="settings"):
        pictures = count if setting == Setting(sd.guidance_scale) else count // 2
        row: dict = {"setting": str(setting), "pictures": pictures, **vars(setting)}
        row["others"] = {name: {} for name in classifiers if name != "classifier"}
        for split in ("trained", "heldout"):
            scenes = exam_scenes(pictures, split == "heldout")
            painted = paint_scenes(sd, scenes, setting, batch=BATCH)
            for name, classifier in classifiers.items():
                (row if name == "classifier" else row["others"][name])[split] = adherence(classifier, scenes, painted)
        rows.append(row)
    return rows


def _two_drawings(scenes: list[Scene]) -> list[np.ndarray]:
    """Two sets of drawings of the same scenes, uint8 (N, H, W, 3)."""
    rng = np.random.default_rng(5)
    return [np.stack([np.asarray(draw(scene, rng)) for scene in scenes]) for _ in range(2)]


def measure_likeness(
    sd: StableDiffusion, classifier: nn.Module, count: int = LIKENESS_COUNT
) -> dict[str, dict[str, float]]:
    """likeness.likeness of what the autoencoder gives back and of what is painted, by guidance scale (order 4)."""
    scenes = exam_scenes(count, heldout=False)
    drawn, anew = _two_drawings(scenes)
    sets = {"encoded and decoded": round_trips(sd.vae, anew)}
    for setting in settings_to_measure(sd.guidance_scale):
        if setting.order == 4 and setting.steps == 20:
            painted = paint_scenes(sd, scenes, setting, batch=BATCH)
            sets[f"painted, guidance {setting.guidance_scale:g}"] = np.stack([np.asarray(each) for each in painted])
    return likeness(classifier, drawn, anew, sets)


def measure_ablations(folder: Path, classifier: nn.Module, count: int = 120) -> dict[str, dict[str, float]]:
    """likeness.likeness, PSNR and latents_std of the autoencoders that ablation.py left in `folder`, by term."""
    drawn, anew = _two_drawings(exam_scenes(count, heldout=False))
    rows = {}
    for term, (vae, pictures) in load_ablations(folder).items():
        decoded = round_trips(vae.to(next(classifier.parameters()).device), anew)
        rows[term] = {"pictures": pictures, "psnr": psnr(as_pixels(anew), as_pixels(decoded)).mean().item()}
        rows[term] |= likeness(classifier, drawn, anew, {"decoded": decoded})["decoded"]
        rows[term]["latents_std"] = latents_std(vae, anew)
    return rows


def measure(folder: Path, others: Path, count: int = 200, ablations: Path | None = None) -> dict:
    """All figures of the model card for the checkpoint in `folder`, as a plain dict (JSON values).

    `others` holds the classifiers of classifiers.py, `ablations` (if there is one) autoencoders of ablation.py.
    """
    sd = load(folder)
    classifiers = {
        "classifier": load_classifier(folder / "classifier"),
        **{name: load_other(others, name) for name in CLASSIFIERS},
    }
    classifiers = {name: classifier.to(sd.device) for name, classifier in classifiers.items()}
    eye = classifiers.pop(EYE)
    unseen = draw_scenes(np.random.default_rng(987_654), 1000, heldout=0.5)
    accuracy = {name: adherence(classifier, *unseen) for name, classifier in classifiers.items()}
    parts = ("unet", "vae", "text_encoder")
    return {
        "guidance_scale": sd.guidance_scale,
        "scaling_factor": sd.vae.config.scaling_factor,
        "parameters": {part: getattr(sd, part).num_parameters() for part in parts},
        "classifier": accuracy.pop("classifier"),
        "others": accuracy,
        "psnr": reconstruction(sd.vae),
        "two_seeds": two_seeds(sd),
        "likeness_count": LIKENESS_COUNT,
        "likeness": measure_likeness(sd, eye),
        "adherence": measure_adherence(sd, classifiers, count),
        "ablations": measure_ablations(ablations, eye) if ablations else {},
    }


def make_classifiers(folder: Path, minutes: float) -> None:
    """Train the other classifiers that `folder` does not hold yet, each for `minutes`; they have their own seeds."""
    for name, (build, seed) in CLASSIFIERS.items():
        if not (folder / name / "model.safetensors").exists():
            save_classifier(train_classifier(minutes, seed, classifier=build(), softened=name != EYE), folder / name)


def main():
    """`python -m sdlesson.tiny.quality FOLDER`: measure a checkpoint, write quality.json, seeds.png, README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=checkpoint_path(), help="a checkpoint; default: the bundled"
    )
    parser.add_argument(
        "--count", type=int, default=400, help="pictures a kind of pairs, half as many at other settings (default: 400)"
    )
    parser.add_argument(
        "--classifiers",
        type=Path,
        default=Path("runs/classifiers"),
        help="folder of the other classifiers; those that are missing are trained (default: %(default)s)",
    )
    parser.add_argument("--ablations", type=Path, help="folder that sdlesson.tiny.ablation has made")
    parser.add_argument("--minutes", type=float, default=15, help="training of a missing classifier (default: 15)")
    parser.add_argument("--seen", default="", help="for the card: what a viewer finds wrong in the sheet of sixteen")
    arguments = parser.parse_args()
    make_classifiers(arguments.classifiers, arguments.minutes)
    torch.backends.cudnn.allow_tf32 = False  # measured in the precision in which it paints on a CPU
    results = measure(arguments.folder, arguments.classifiers, arguments.count, arguments.ablations)
    ablations = "--ablations runs/tiny/ablations" if arguments.ablations else ""
    results["command"] = f"python -m sdlesson.tiny.quality --count {arguments.count} {ablations}".strip()
    results["seen"] = arguments.seen
    save_seeds(load(arguments.folder), arguments.folder / "seeds.png")
    write_whole(arguments.folder / "quality.json", json.dumps(results, indent=1) + "\n")
    write_whole(arguments.folder / "README.md", model_card(arguments.folder))
    print(recommended_table(results), likeness_table(results), guidance_table(results), sep="\n\n")
    print(json.dumps({key: results[key] for key in ("psnr", "classifier", "others", "two_seeds")}, indent=1))


if __name__ == "__main__":
    main()
