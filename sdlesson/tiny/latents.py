"""All training pictures as latents, once: the UNet never sees a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from tqdm import tqdm

from ..loading.writing import whole_file
from .data import Pictures
from .saving import save_model


@torch.no_grad()
def cache_latents(folder: Path, accelerator: Accelerator, batch_size: int = 200) -> None:
    """Write `folder`/latents.npy: float16 (N, 4, h, w), the latents' means, not yet scaled.

    Measures the scaling factor 1/std over all of them (Rombach et al. 2022, appendix G) and writes it into the
    autoencoder's config, so that scaled latents have unit variance; an adopted autoencoder keeps its own.
    """
    pictures = Pictures(folder / "pictures", accelerator.device)
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(accelerator.device).eval()
    parts = []
    for start in tqdm(range(0, len(pictures), batch_size), desc="latents"):
        pixels = pictures.batch(torch.arange(start, min(start + batch_size, len(pictures))))
        with accelerator.autocast():
            mean = vae.encode(pixels).latent_dist.mode()
        parts.append(mean.float().cpu())
    latents = torch.cat(parts)
    if not (folder / "start").exists():
        vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
        save_model(vae, folder / "vae")
    with whole_file(folder / "latents.npy") as file:
        np.save(file, latents.half().numpy())
