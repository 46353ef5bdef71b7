"""Two critics of a decoded picture: the CLIP pair's picture tower, and a discriminator that looks at patches.

Their terms let the autoencoder keep what a mean of distances washes out: texture and sharp edges. Rombach et al. 2022,
section 3.1; Johnson et al. 2016 and Zhang et al. 2018 for the perceptual distance; Isola et al. 2017 for the patches.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from transformers import CLIPModel


class PerceptualDistance(nn.Module):
    """How far apart two pictures are for a frozen CLIP picture tower: over all layers, in the features of its patches.

    `forward(a, b, shift)`: two batches (B, 3, H, W) in [-1, 1] -> a scalar. Both are rolled by `shift`, two integers
    (up, left), before the tower cuts them into patches, so that the patches' borders leave no grid. Each patch's
    features are brought to unit length first, as Zhang et al. 2018 do.
    """

    def __init__(self, clip: CLIPModel):
        super().__init__()
        self.tower = clip.vision_model.eval().requires_grad_(False)

    def forward(self, a: torch.Tensor, b: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        layers = zip(self._features(a, shift), self._features(b, shift), strict=True)
        return sum((x - y).square().sum(dim=-1).mean() for x, y in layers) / len(self.tower.encoder.layers)

    def _features(self, pixels: torch.Tensor, shift: torch.Tensor) -> list[torch.Tensor]:
        """The unit features of each patch after each layer: a list of (B, 1 + patches, width)."""
        rows, columns = (torch.arange(n, device=pixels.device) for n in pixels.shape[-2:])
        pixels = pixels[:, :, (rows + shift[0]) % len(rows)][..., (columns + shift[1]) % len(columns)]
        hidden, features = self.tower.pre_layrnorm(self.tower.embeddings(pixels)), []
        for layer in self.tower.encoder.layers:
            hidden = layer(hidden, None)
            features.append(functional.normalize(hidden.float(), dim=-1))
        return features


def build_discriminator(width: int = 32) -> nn.Sequential:
    """A fresh patch discriminator: (B, 3, H, W) -> (B, 1, H/8 - 1, W/8 - 1), above 0 where a patch looks drawn."""

    def block(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 4, 2, 1), nn.GroupNorm(8, outside), nn.LeakyReLU(0.2)]

    first = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    last = nn.Conv2d(4 * width, 1, 4, 1, 1)
    return nn.Sequential(*first, *block(width, 2 * width), *block(2 * width, 4 * width), last)


def fooled(discriminator: nn.Module, decoded: torch.Tensor) -> torch.Tensor:
    """The autoencoder's adversarial term, a scalar; the discriminator's own weights get no gradients from it."""
    frozen = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    return -functional_call(discriminator, frozen, (decoded,)).float().mean()


def told_apart(discriminator: nn.Module, drawn: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    """The discriminator's loss (hinge), a scalar; the autoencoder gets no gradients from it."""
    real, fake = discriminator(torch.cat([drawn, decoded.detach()])).float().chunk(2)
    return (functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()) / 2
