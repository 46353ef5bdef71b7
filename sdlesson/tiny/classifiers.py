"""Two more classifiers of drawings, for the model card alone: of other shapes, sizes and seeds than the one that ships.

What one classifier calls right, another one must call right as well: nothing in the training has ever met these two.
A third, the eye, answers nobody: its features say how far apart two sets of pictures are (likeness.py). They are not
shipped; `python -m sdlesson.tiny.quality` makes them again where they are missing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ..world.classifier import QUESTIONS

FEATURES = 256


class Heads(nn.Module):
    """A body of convolutions, the mean over all places, and one linear head a question.

    `pixels` is the size that pictures are shrunk to before the body sees them.
    """

    def __init__(self, pixels: int, body: nn.Sequential):
        super().__init__()
        self.pixels, self.body = pixels, body
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, len(words)) for name, words in QUESTIONS.items()})

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (batch, 3, pixels, pixels) in [-1, 1] -> (batch, 256)."""
        return self.body(pictures).mean(dim=(2, 3))

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.features(pictures)
        return {name: head(features) for name, head in self.heads.items()}


class Residual(nn.Module):
    """Two convolutions beside a shortcut, at half the size."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.shortcut = nn.Conv2d(inside, outside, 2, 2)
        self.way = nn.Sequential(
            nn.GroupNorm(8, inside),
            nn.GELU(),
            nn.Conv2d(inside, outside, 3, 2, 1),
            nn.GroupNorm(8, outside),
            nn.GELU(),
            nn.Conv2d(outside, outside, 3, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.way(x)


def plain() -> Heads:
    """Four plain blocks on 64-pixel pictures, with batch normalization; ends in 4 × 4 places."""
    blocks = [
        nn.Sequential(nn.Conv2d(inside, outside, 3, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.SiLU())
        for inside, outside in ((3, 48), (48, 96), (96, 192), (192, FEATURES))
    ]
    return Heads(64, nn.Sequential(*blocks))


def residual() -> Heads:
    """Four residual blocks on whole 128-pixel pictures, with group normalization; ends in 4 × 4 places."""
    widths = (32, 64, 96, 160, FEATURES)
    blocks = [Residual(inside, outside) for inside, outside in zip(widths, widths[1:], strict=False)]
    return Heads(128, nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2), *blocks, nn.GELU()))


#: How each is built, and the seed of its weights and of the drawings that it learns from.
CLASSIFIERS = {"plain": (plain, 101), "residual": (residual, 202), "eye": (plain, 303)}
#: The one whose features are compared; it sees drawings as they are, so that no blur is overlooked.
EYE = "eye"


def load_other(folder: Path, name: str) -> Heads:
    """The classifier `name` out of `folder`, in float32; raises FileNotFoundError where it is missing."""
    classifier = CLASSIFIERS[name][0]()
    classifier.load_state_dict(load_file(folder / name / "model.safetensors"))
    return classifier.float().eval()
