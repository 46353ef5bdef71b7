"""The autoencoder: 128×128×3 bytes of a picture to 16×16×4 numbers and back, so that the UNet has 48 times less to do.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1: distances between
pixels, a perceptual distance, a patch discriminator that is switched on when the reconstruction has settled, and a
small leash on the latents.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPModel

from ..latents import psnr
from .clip import PATCH
from .critics import PerceptualDistance, build_discriminator, fooled, told_apart
from .data import Pictures, fresh_pictures, mirror_half
from .loop import Job
from .saving import save_model
from .settings import Settings
from .sheets import save_sheet

#: Weights of the terms of the reconstruction: pixels' distance and squared distance, edges' distance, perceptual.
L1, SQUARED, EDGE, PERCEPTUAL = 0.4, 6.0, 0.3, 0.1
KL = 2e-4  # Kullback-Leibler
#: The adversarial term pulls this share as hard on the decoder's last layer as the reconstruction does.
ADVERSARIAL = 0.25
#: The share of the time after which it does so, and the steps between two measurements of how hard both pull.
SETTLED, BALANCE_EVERY = 0.4, 16
#: The terms that an ablation can leave out.
TERMS = ("edge", "perceptual", "adversarial", "kl")


def build_vae(settings: Settings) -> AutoencoderKL:
    """A fresh AutoencoderKL with three halvings (f = 8) and 4 latent channels."""
    channels = settings.vae_channels
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=settings.size,
    )


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences between neighbours: (B, 3, H, W) -> (B, 3, H, W-1) and (B, 3, H-1, W)."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


class Reconstruction(nn.Module):
    """The autoencoder's loss: how far the decoded picture is from the original, plus a leash on the latents.

    `forward(pixels, noise, shift)`: (B, 3, H, W) in [-1, 1], (B, 4, H/8, W/8) and the perceptual distance's two
    integers. While `adversarial` is on, the discriminator's own loss is added: neither gets gradients from the other's.
    `terms` are those of TERMS that count.
    """

    def __init__(self, vae: AutoencoderKL, clip: CLIPModel, terms: Collection[str] = TERMS):
        super().__init__()
        self.vae, self.discriminator = vae, build_discriminator()
        self.distance = PerceptualDistance(clip)
        self.terms, self.adversarial = frozenset(terms), False
        self.register_buffer("balance", torch.zeros(()))  # the adversarial term's weight

    def forward(self, pixels: torch.Tensor, noise: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        decoded, kl = self._round_trip(pixels, noise)
        loss = self._reconstruction(decoded, pixels, shift) + KL * kl * ("kl" in self.terms)
        if self.adversarial:
            loss = loss + self.balance * fooled(self.discriminator, decoded)
            loss = loss + told_apart(self.discriminator, pixels, decoded)
        return loss

    def _round_trip(self, pixels: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode, draw latents, decode: pictures (B, 3, H, W) and the Kullback-Leibler term."""
        vae = self.vae
        mean, log_variance = (
            vae.quant_conv(vae.encoder(pixels)).float().chunk(2, dim=1)
        )  # (B, 8, h, w) -> 2 × (B, 4, h, w)
        log_variance = log_variance.clamp(-20, 10)
        latents = mean + (0.5 * log_variance).exp() * noise
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return vae.decoder(vae.post_quant_conv(latents)).float(), kl

    def _reconstruction(self, decoded: torch.Tensor, pixels: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        difference = decoded - pixels
        loss = L1 * difference.abs().mean() + SQUARED * difference.square().mean()
        if "edge" in self.terms:
            loss = loss + EDGE * sum(part.abs().mean() for part in edges(difference)) / 2
        if "perceptual" in self.terms:
            loss = loss + PERCEPTUAL * self.distance(decoded, pixels, shift)
        return loss

    def follow(self, used: float, step: int, batch: list[torch.Tensor]) -> None:
        """Switch the adversarial term on when it is time, and weigh it anew now and then (Esser et al. 2021, eq. 7)."""
        self.adversarial = "adversarial" in self.terms and used >= SETTLED
        if self.adversarial and step % BALANCE_EVERY == 0:
            self._weigh(*(tensor[:16] for tensor in batch))

    def _weigh(self, pixels: torch.Tensor, noise: torch.Tensor, shift: torch.Tensor) -> None:
        decoded, _ = self._round_trip(pixels, noise)
        last = self.vae.decoder.conv_out.weight
        pulls = [
            torch.autograd.grad(term, last, retain_graph=True)[0].norm()
            for term in (self._reconstruction(decoded, pixels, shift), fooled(self.discriminator, decoded))
        ]
        self.balance.copy_(ADVERSARIAL * (pulls[0] / (pulls[1] + 1e-6)).clamp(max=1e3))


@torch.no_grad()
def round_trip(vae: AutoencoderKL, pixels: torch.Tensor, batch: int = 16) -> torch.Tensor:
    """Encode to the latents' mean and decode again: (N, 3, H, W) in [-1, 1] -> the same, float32, on the CPU."""
    decoded = []
    for part in pixels.split(batch):
        gaussian = vae.encode(part.to(vae.device, vae.dtype)).latent_dist
        decoded.append(vae.decode(gaussian.mode()).sample.float().clamp(-1, 1).cpu())
    return torch.cat(decoded)


def vae_job(
    folder: Path,
    settings: Settings,
    accelerator: Accelerator,
    seconds: float,
    batch_size: int,
    terms: Collection[str] = TERMS,
) -> Job:
    """The training of the autoencoder on a run folder's pictures, with its CLIP pair as one of the critics."""
    device = accelerator.device
    pictures = Pictures(folder / "pictures", device)
    vae = build_vae(settings)
    objective = Reconstruction(vae, CLIPModel.from_pretrained(folder / "clip"), terms)
    unseen, _ = fresh_pictures(1, 24, settings.size)
    latent_shape = (batch_size, 4, settings.size // 8, settings.size // 8)

    def batch(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        drawn = {"generator": generator, "device": device}
        pixels = mirror_half(pictures.batch(torch.randint(len(pictures), (batch_size,), **drawn)), generator)
        return pixels, torch.randn(latent_shape, **drawn), torch.randint(PATCH, (2,), **drawn)

    def save() -> None:
        (folder / "latents.npy").unlink(missing_ok=True)  # those of the autoencoder as it was
        save_model(vae, folder / "vae")

    def sheet(path: Path) -> None:
        decoded = round_trip(vae, unseen)
        pairs = torch.stack([unseen, decoded]).view(2, 3, 8, *unseen.shape[1:]).transpose(0, 1).flatten(0, 2)
        save_sheet(
            pairs,
            path,
            columns=8,
            title=f"unseen drawings above, after the autoencoder below: {psnr(decoded, unseen).mean():.2f} dB",
        )

    return Job(
        name="vae",
        objective=objective,
        batch=batch,
        batch_size=batch_size,
        seconds=seconds,
        save=save,
        sheet=sheet,
        edges=("encoder.conv_in", "decoder.conv_out", "discriminator"),
        slow=("discriminator",),
        muon_rate=6e-3,
        adam_rate=2e-3,
        average=0.9995,
        before=objective.follow,
        compiled=True,
    )
