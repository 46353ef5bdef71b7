"""A small classifier that tells what a picture of the tiny world shows; trained on drawings only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import nn
from torch.nn import functional as F

from ..loading.writing import write_whole
from .captions import COLOURS, MOUNTS, PLACES, RIDERS, STYLES, Scene

#: What the classifier names, and the words it chooses from; `None` stands for "there is none".
QUESTIONS: dict[str, tuple[str | None, ...]] = {
    "style": STYLES,
    "rider": (None, *RIDERS),
    "mount": (None, *MOUNTS),
    "place": tuple(PLACES),
    "rider_colour": (None, *COLOURS),
    "mount_colour": (None, *COLOURS),
}
NOT_SAID = -100  # the label of a place that the caption leaves open (torch's ignore_index)


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU())


class Classifier(nn.Module):
    """Five convolutions and one linear head a question, for pictures shrunk to 64 × 64."""

    pixels = 64

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 128, 160), strides: Sequence[int] = (2, 2, 2, 1, 2)):
        super().__init__()
        self.body = nn.Sequential(*map(_block, (3, *widths), widths, strides))
        self.heads = nn.ModuleDict({name: nn.Linear(16 * widths[-1], len(words)) for name, words in QUESTIONS.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pictures (batch, 3, 64, 64) in [-1, 1] -> for each question its logits (batch, words)."""
        features = self.body(pictures).flatten(1)  # (batch, width, 4, 4) -> (batch, 16 * width)
        return {name: head(features) for name, head in self.heads.items()}


def to_tensor(pictures: Sequence[Image.Image] | np.ndarray, size: int = Classifier.pixels) -> torch.Tensor:
    """RGB pictures, or uint8 (n, h, w, 3) -> float tensor (n, 3, size, size) in [-1, 1], shrunk by averaging."""
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()  # (n, h, w, 3) -> (n, 3, h, w)
    return F.adaptive_avg_pool2d(planes, size) / 127.5 - 1


def labels(scenes: Sequence[Scene]) -> dict[str, torch.Tensor]:
    """The right answers of the scenes, as indices into QUESTIONS; NOT_SAID for a place left open."""
    return {
        name: torch.tensor(
            [NOT_SAID if name == "place" and s.place is None else words.index(getattr(s, name)) for s in scenes]
        )
        for name, words in QUESTIONS.items()
    }


@torch.no_grad()
def look(
    classifier: nn.Module, pictures: Sequence[Image.Image] | np.ndarray, batch: int = 64
) -> list[dict[str, str | None]]:
    """What a classifier for pictures of `pixels` a side sees in each: a word (or None) a question."""
    device = next(classifier.parameters()).device
    seen: list[dict[str, str | None]] = []
    for start in range(0, len(pictures), batch):
        logits = classifier.eval()(to_tensor(pictures[start : start + batch], classifier.pixels).to(device))
        picks = {name: values.argmax(1).tolist() for name, values in logits.items()}
        count = len(picks["style"])
        seen += [{name: QUESTIONS[name][picks[name][i]] for name in QUESTIONS} for i in range(count)]
    return seen


def follows(scene: Scene, seen: dict[str, str | None]) -> dict[str, bool]:
    """Whether a picture shows what its caption names: each question by itself, and "all" of the four that count.

    Style, rider, mount and place count; a place that the caption does not name is always right.
    """
    right = {name: seen[name] == getattr(scene, name) for name in QUESTIONS}
    right["place"] |= scene.place is None
    right["all"] = all(right[name] for name in ("style", "rider", "mount", "place"))
    return right


def save_classifier(classifier: Classifier, folder: Path | str):
    """Write the classifier's weights, float16, to `folder`/model.safetensors."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    half = {k: v.half() if v.is_floating_point() else v for k, v in classifier.state_dict().items()}
    write_whole(Path(folder) / "model.safetensors", save({k: v.contiguous() for k, v in half.items()}))


def load_classifier(folder: Path | str | None = None) -> Classifier:
    """Load the classifier that ships with the tiny model (or another one from `folder`), in float32.

    Raises FileNotFoundError when the folder holds no classifier.
    """
    folder = Path(__file__).parents[1] / "checkpoint" / "classifier" if folder is None else Path(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        training = f"python -m sdlesson.tiny.classify --out {folder}"
        raise FileNotFoundError(f"No classifier at {weights}: train one with `{training}`.")
    classifier = Classifier()
    classifier.load_state_dict(load_file(weights))
    return classifier.float().eval()
