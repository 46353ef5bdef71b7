"""Train a classifier that sees drawings only (the one that ships, or another)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm

from ..world import Scene, draw, random_scene
from ..world.classifier import NOT_SAID, Classifier, follows, labels, load_classifier, look, save_classifier, to_tensor
from .classifiers import CLASSIFIERS, EYE


class _Drawings(IterableDataset):
    """An endless stream of batches (uint8 pictures, labels), a quarter of the riding pairs from the held-out ones."""

    def __init__(self, seed: int, batch: int):
        self.seed, self.batch = seed, batch

    def __iter__(self) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            scenes, pictures = draw_scenes(rng, self.batch)
            yield pictures, labels(scenes)


def draw_scenes(rng: np.random.Generator, count: int, heldout: float = 0.25) -> tuple[list[Scene], np.ndarray]:
    """Random scenes, a share `heldout` of them held-out pairs, and their drawings, uint8 (count, 128, 128, 3)."""
    scenes = [random_scene(rng, "heldout" if rng.random() < heldout else "train") for _ in range(count)]
    return scenes, np.stack([np.asarray(draw(scene, rng)) for scene in scenes])


def soften(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur, tint and roughen half of the drawings a little, so that it forgives what a decoder does to edges.

    Pictures (batch, 3, h, w) in [-1, 1], and so is the result.
    """
    n = len(pictures)
    small = F.interpolate(pictures, scale_factor=0.7, mode="bilinear", antialias=True)
    blurred = F.interpolate(small, size=pictures.shape[-2:], mode="bicubic")
    drawn = {"generator": generator, "device": pictures.device}
    share = torch.rand(n, 1, 1, 1, **drawn) * (torch.rand(n, 1, 1, 1, **drawn) < 0.5)
    contrast = 1 + 0.15 * torch.randn(n, 3, 1, 1, **drawn)
    noise = 0.08 * torch.rand(n, 1, 1, 1, **drawn) * torch.randn(pictures.shape, **drawn)
    return ((pictures.lerp(blurred, share) * contrast) + noise).clamp(-1, 1)


def train_classifier(
    minutes: float,
    seed: int = 0,
    batch: int = 64,
    classifier: nn.Module | None = None,
    workers: int = 1,
    softened: bool = True,
) -> nn.Module:
    """Train a new classifier, or go on with a given one, for `minutes` of wall time on ever fresh drawings.

    `workers` processes draw; it learns on a GPU where there is one, and comes back on the CPU. `softened` drawings are
    those of `soften`.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(seed)
    classifier = (Classifier() if classifier is None else classifier).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3, weight_decay=0.02)
    start, bar = time.monotonic(), tqdm(desc="classifier", unit="pic")
    for pictures, answers in DataLoader(_Drawings(seed, batch), batch_size=None, num_workers=workers):
        spent = (time.monotonic() - start) / (60 * minutes)
        if spent >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, 40 * spent + 0.02) * (1 - spent)
        seen = to_tensor(pictures.numpy(), classifier.pixels).to(device)
        logits = classifier.train()(soften(seen, generator) if softened else seen)
        right = {name: answer.to(device) for name, answer in answers.items()}
        loss = sum(F.cross_entropy(logits[name], right[name], ignore_index=NOT_SAID) for name in logits)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
        bar.update(len(pictures))
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    bar.close()
    return classifier.cpu().eval()


def classifier_accuracy(classifier: Classifier, count: int = 1000, seed: int = 987_654) -> dict[str, float]:
    """The share of right answers on `count` unseen drawings, half of them held-out pairs, question by question."""
    scenes, pictures = draw_scenes(np.random.default_rng(seed), count, heldout=0.5)
    right = [follows(scene, seen) for scene, seen in zip(scenes, look(classifier, pictures), strict=True)]
    return {name: float(np.mean([r[name] for r in right])) for name in right[0]}


def main():
    """`python -m sdlesson.tiny.classify --minutes 6 --out FOLDER`; `--shape plain` trains another classifier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument(
        "--shape", choices=("shipped", *CLASSIFIERS), default="shipped", help="others have their own seeds"
    )
    parser.add_argument("--start", type=Path, help="folder of a classifier to go on with")
    parser.add_argument("--out", type=Path, required=True, help="folder for model.safetensors")
    arguments = parser.parse_args()
    start = load_classifier(arguments.start) if arguments.start else None
    build, seed = CLASSIFIERS.get(arguments.shape, (Classifier, arguments.seed))
    classifier = train_classifier(
        arguments.minutes, seed, classifier=start or build(), workers=arguments.workers, softened=arguments.shape != EYE
    )
    save_classifier(classifier, arguments.out)
    print({name: round(share, 4) for name, share in classifier_accuracy(classifier).items()})


if __name__ == "__main__":
    main()
