"""The autoencoder: 128×128×3 bytes of a picture to 16×16×4 numbers and back, so that the UNet has 48 times less to do.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1. Theirs is trained with
a perceptual and an adversarial loss on photographs; drawings with flat areas and thin lines are well served by plain
distances and one between neighbouring pixels' differences.
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torch import nn

from .data import Pictures, fresh_pictures
from .loop import Job
from .saving import save_model
from .settings import Settings
from .sheets import save_sheet

#: Weights of the four terms: pixels' distance and squared distance, edges' distance, Kullback-Leibler.
L1, SQUARED, EDGE, KL = 0.4, 6.0, 0.3, 2e-4


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

    L1 and squared distance of the pixels, L1 of their edges (lines stay lines), and a small Kullback-Leibler term that
    keeps the latents near unit size. `forward(pixels, noise)`: (B, 3, H, W) in [-1, 1] and (B, 4, H/8, W/8).
    """

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, pixels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        vae = self.vae
        mean, log_variance = (
            vae.quant_conv(vae.encoder(pixels)).float().chunk(2, dim=1)
        )  # (B, 8, h, w) -> 2 × (B, 4, h, w)
        log_variance = log_variance.clamp(-20, 10)
        latents = mean + (0.5 * log_variance).exp() * noise
        difference = vae.decoder(vae.post_quant_conv(latents)).float() - pixels
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        edge = sum(part.abs().mean() for part in edges(difference)) / 2
        return L1 * difference.abs().mean() + SQUARED * difference.square().mean() + EDGE * edge + KL * kl


def psnr(vae: AutoencoderKL, pixels: torch.Tensor, batch: int = 16) -> float:
    """Mean peak signal-to-noise ratio, in dB, of pictures (N, 3, H, W) in [-1, 1] after encode and decode."""
    values = []
    for part in pixels.split(batch):
        error = (round_trip(vae, part) - part).square().mean(dim=(1, 2, 3))  # (B,)
        values.append(10 * torch.log10(4 / error))  # the peak is 2, from -1 to 1
    return torch.cat(values).mean().item()


@torch.no_grad()
def round_trip(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Encode to the latents' mean and decode again: (B, 3, H, W) in [-1, 1] -> the same."""
    pixels = pixels.to(vae.device)
    return vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1).cpu()


def vae_job(folder: Path, settings: Settings, accelerator: Accelerator, seconds: float, batch_size: int) -> Job:
    """The training of the autoencoder on a run folder's pictures."""
    pictures = Pictures(folder / "pictures")
    vae = build_vae(settings)
    unseen, _ = fresh_pictures(1, 24, settings.size)
    latent_shape = (batch_size, 4, settings.size // 8, settings.size // 8)

    def batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = pictures.batch(torch.randint(len(pictures), (batch_size,), generator=generator))
        mirrored = torch.rand(batch_size, 1, 1, 1, generator=generator) < 0.5
        pixels = torch.where(mirrored, pixels.flip(-1), pixels)
        return pixels, torch.randn(latent_shape, generator=generator)

    def sheet(path: Path) -> None:
        decoded = round_trip(vae, unseen)
        pairs = torch.stack([unseen, decoded]).view(2, 3, 8, *unseen.shape[1:]).transpose(0, 1).flatten(0, 2)
        save_sheet(
            pairs,
            path,
            columns=8,
            title=f"unseen drawings above, after the autoencoder below: {psnr(vae, unseen):.2f} dB",
        )

    return Job(
        name="vae",
        objective=Reconstruction(vae),
        batch=batch,
        batch_size=batch_size,
        seconds=seconds,
        save=lambda: save_model(vae, folder / "vae"),
        sheet=sheet,
        edges=("encoder.conv_in", "decoder.conv_out"),
        muon_rate=6e-3,
        adam_rate=2e-3,
        average=0.996,
    )
