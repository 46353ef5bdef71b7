"""The UNet: it learns to tell the noise in a noisy latent from the latent, with the caption's help.

Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (the loss on ε), Rombach et al. 2022 (latents and
cross-attention), Ho & Salimans 2022 (empty captions for guidance), Hang et al. 2023 (min-SNR weights).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPModel, CLIPTokenizer

from ..guidance import guide
from ..loading.folders import digest
from ..models import ARTICLE_PROMPT, ARTICLE_SCHEDULE
from ..training import Examples, NoisePrediction, build_unet, prepare
from ..unet import predict
from ..world import random_scene
from .clip import encode_captions
from .data import read_captions
from .loop import TRAINED_ON, Job
from .saving import save_model
from .settings import Settings
from .sheets import save_sheet

GUIDANCE_SCALE = 3.0  # of the sample sheets, and the exported model's recommendation


@torch.no_grad()
def embed_captions(
    clip: CLIPModel, tokenizer: CLIPTokenizer, captions: list[str], batch_size: int = 200
) -> torch.Tensor:
    """Text embeddings as the UNet reads them: float16 (N, 77, width), on the text tower's device."""
    parts = []
    for start in range(0, len(captions), batch_size):
        ids = encode_captions(tokenizer, captions[start : start + batch_size]).to(clip.device)
        parts.append(clip.text_model(ids).last_hidden_state.half())
    return torch.cat(parts)


@torch.no_grad()
def sample(unet, vae, texts: torch.Tensor, empty: torch.Tensor, noise: torch.Tensor, steps: int = 20) -> torch.Tensor:
    """Paint with K-LMS: texts (B, 77, width), empty (1, 77, width), noise (B, 4, h, w) -> pictures (B, 3, H, W)."""
    scheduler = LMSDiscreteScheduler(**ARTICLE_SCHEDULE)
    scheduler.set_timesteps(steps)
    latents = noise * scheduler.init_noise_sigma
    both = torch.cat([empty.expand_as(texts), texts])
    for timestep in scheduler.timesteps:
        noise_uncond, noise_text = predict(unet, scheduler.scale_model_input(latents, timestep), timestep, both)
        noise_pred = guide(noise_uncond, noise_text, GUIDANCE_SCALE)
        latents = scheduler.step(noise_pred, timestep, latents).prev_sample
    return vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)


def sheet_captions() -> list[str]:
    """Twenty-four captions for the sample sheets: sixteen of the training kind, eight with pairs it never saw."""
    rng = np.random.default_rng(7)
    scenes = [random_scene(rng) for _ in range(15)] + [random_scene(rng, split="heldout") for _ in range(8)]
    return [ARTICLE_PROMPT, *(scene.caption for scene in scenes)]


def unet_job(folder: Path, settings: Settings, accelerator: Accelerator, seconds: float, batch_size: int) -> Job:
    """The training of the UNet on a run folder's latents and its frozen text tower."""
    device = accelerator.device
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(device).eval()
    clip = CLIPModel.from_pretrained(folder / "clip").to(device).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    start = folder / "start" / "unet"
    goes_on = start.is_dir()
    rate = TRAINED_ON if goes_on else 1.0
    unet = (
        prepare(UNet2DConditionModel.from_pretrained(start))
        if goes_on
        else build_unet(settings.size, settings.text_width, settings.unet_channels, settings.unet_layers)
    )
    captions = read_captions(folder / "pictures")
    table = ["", *sorted(set(captions))]
    number = {caption: index for index, caption in enumerate(table)}
    names = torch.tensor([number[caption] for caption in captions], device=device)
    texts = embed_captions(clip, tokenizer, table)  # row 0: the empty caption
    latents = torch.from_numpy(np.load(folder / "latents.npy")).to(device) * vae.config.scaling_factor  # (N, 4, h, w)
    prompts = sheet_captions()
    prompt_texts = embed_captions(clip, tokenizer, prompts).float()

    def sheet(path: Path) -> None:
        noise = torch.randn((len(prompts), *latents.shape[1:]), generator=torch.Generator().manual_seed(42)).to(device)
        painted = sample(unet, vae, prompt_texts, texts[:1].float(), noise)
        title = f"K-LMS, 20 steps, guidance {GUIDANCE_SCALE:g}; the last row: pairs that training never showed"
        save_sheet(painted, path, columns=8, title=title)

    return Job(
        name="unet",
        objective=NoisePrediction(unet),
        batch=partial(Examples(latents, texts, names).batch, batch_size),
        batch_size=batch_size,
        seconds=seconds,
        save=lambda: save_model(unet, folder / "unet"),
        sheet=sheet,
        edges=("conv_in", "conv_out", "time_embedding", "time_emb_proj"),
        muon_rate=rate * 3e-3,
        adam_rate=rate * 1.5e-3,
        average=0.9998,
        compiled=True,
        rests_on=digest(sorted(file for part in ("clip", "vae") for file in (folder / part).glob("*.safetensors"))),
    )
