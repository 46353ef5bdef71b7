"""From a run folder to a checkpoint in Diffusers layout, for `sdlesson.load` and StableDiffusionPipeline alike."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, LMSDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from ..models import ARTICLE_SCHEDULE
from .saving import check_checkpoint, read_training, replace_folder
from .unet import GUIDANCE_SCALE


def export(folder: Path, checkpoint: Path) -> None:
    """Write the checkpoint of the run in `folder`, whole or not at all; an older one is replaced.

    What others put into the older one stays. The UNet and the autoencoder are stored in float16 (diffusers loads them
    as float32 unless told otherwise), the text towers in float32 (transformers loads what is stored). Raises BadInput
    where something stands at `checkpoint` that no export made.
    """
    check_checkpoint(checkpoint)
    parts = _load_parts(folder)
    size = parts["vae"].config.sample_size

    def write(part: Path) -> None:
        StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        ).save_pretrained(part)
        for half in ("unet", "vae"):
            shutil.rmtree(part / half)
            parts[half].register_to_config(_name_or_path="")  # whoever made it keeps the folder's name
            parts[half].half().save_pretrained(part / half)
        CLIPModel.from_pretrained(folder / "clip").save_pretrained(part / "clip")
        _picture_processor(size).save_pretrained(part / "clip")
        (part / "sdlesson.json").write_text(
            json.dumps({"name": "tiny", "guidance_scale": GUIDANCE_SCALE, "size": size}, indent=2) + "\n"
        )
        (part / "training.json").write_text(
            json.dumps({"story": story(folder), "command": command(folder)}, indent=2, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
        for other in checkpoint.iterdir() if checkpoint.exists() else ():
            if not (part / other.name).exists():
                _copy(other, part / other.name)

    replace_folder(checkpoint, write)


def _load_parts(folder: Path) -> dict:
    """The five parts of a Stable Diffusion out of a run folder, in float32."""
    clip = CLIPModel.from_pretrained(folder / "clip")
    text_encoder = CLIPTextModel(clip.config.text_config)
    text_encoder.load_state_dict(clip.text_model.state_dict())
    return {
        "vae": AutoencoderKL.from_pretrained(folder / "vae"),
        "text_encoder": text_encoder,
        "tokenizer": CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet"),
        "scheduler": LMSDiscreteScheduler(
            **ARTICLE_SCHEDULE, steps_offset=1
        ),  # as in v1.4; it changes nothing for K-LMS
    }


def _picture_processor(size: int) -> CLIPImageProcessor:
    """How a picture's bytes become the picture tower's numbers: resized to `size`, from 0…255 to [-1, 1]."""
    return CLIPImageProcessor(size={"shortest_edge": size}, crop_size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def _progress(folder: Path, stage: str) -> dict:
    return torch.load(folder / f"{stage}.checkpoint.pt", map_location="cpu", weights_only=True)["progress"]


def command(folder: Path) -> str:
    """What makes a model like the run's, on a machine as fast; what made its start, where it has one, comes first."""
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    options = {name: settings[name] for name in ("pictures", "batch_factor", "seed")}
    if settings["name"] != "tiny":
        options["size_of_run"] = settings["name"]
    earlier, stages = "", ("clip", "vae", "unet")
    if (folder / "start").exists():
        earlier, stages = f"{read_training(folder / 'start')['command']} && ", ("unet",)
        run = f"runs/tiny{'-on' * earlier.count('--start')}"
        options |= {"start": f"{run}/checkpoint", "out": f"{run}-on"}
    options |= {f"{stage}_minutes": f"{_progress(folder, stage)['elapsed'] / 60:.1f}" for stage in stages}
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
    return f'{earlier}make train ARGS="{words}"'


def story(folder: Path) -> list[str]:
    """How the run went, a sentence a stage, from what its checkpoints say."""
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    shapes = {
        "clip": f"CLIP pair: text width {settings['text_width']} × {settings['text_layers']} layers, "
        f"pictures {settings['vision_width']} × {settings['vision_layers']}",
        "vae": f"VAE: AutoencoderKL {tuple(settings['vae_channels'])}, f=8, 4 latent channels",
        "unet": f"UNet: {tuple(settings['unet_channels'])}, {settings['unet_layers']} layer(s) a block",
    }
    lines = [f"Training pictures: {settings['pictures']:,}, drawn by sdlesson.world with seed {settings['seed']}."]
    if (folder / "start").exists():
        lines = [*read_training(folder / "start")["story"], f"Then {lines[0][0].lower()}{lines[0][1:]}"]
        shapes = {"unet": "UNet, trained on from these weights at a tenth of the learning rates"}
    for stage, shape in shapes.items():
        progress = _progress(folder, stage)
        batch = settings[f"{stage}_batch"] * settings["batch_factor"] * progress.get("processes", 1)
        step, minutes = progress["step"], progress["elapsed"] / 60
        lines.append(f"{shape}: {minutes:.1f} minutes, {step:,} steps of {batch} pictures.")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    lines.append(f"Exported on {device}, Python {platform.python_version()}, torch {torch.__version__}.")
    return lines
