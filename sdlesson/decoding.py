"""Latents -> picture -> file: the VAE's decoder, 0 ... 255, and files that tell how they were made."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, PngImagePlugin

from .files import whole_file
from .guidance import Settings, Step, Trace, denoise
from .models import BadInput, StableDiffusion, load

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_STEP_TENSORS = ("latents", "noise_uncond", "noise_text", "noise_pred", "pred_original")


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pictures from latents (batch, 4, h, w): float32, (batch, 3, 8h, 8w), about -1 ... 1.

    Divides by the VAE's scaling factor first (0.18215 in v1.4): the decoder was trained before latents were scaled.
    """
    with torch.inference_mode():
        unscaled = latents.to(vae.device, vae.dtype) / vae.config.scaling_factor
        pictures = vae.decode(unscaled, return_dict=False)[0]
    return pictures.to(torch.float32, copy=True)  # outside of inference mode: an ordinary tensor


def to_pil(pictures: torch.Tensor) -> list[Image.Image]:
    """PIL pictures from a tensor (batch, 3, height, width): -1 ... 1 becomes 0 ... 255, what lies outside is cut off.

    Warns where the numbers are not finite (float16 overflows in some VAEs): those pixels are black.
    """
    if not bool(torch.isfinite(pictures).all()):
        warnings.warn("the picture holds NaN or infinity, drawn black; try dtype='float32'", stacklevel=2)
        pictures = pictures.nan_to_num(-1.0, -1.0, -1.0)
    levels = ((pictures / 2 + 0.5).clamp(0, 1) * 255).round()
    levels = levels.permute(0, 2, 3, 1).to("cpu", torch.uint8)  # (batch, height, width, 3)
    return [Image.fromarray(one.contiguous().numpy()) for one in levels]


def paint(
    prompt: str | Sequence[str], *, model: StableDiffusion | str | os.PathLike | None = None, **options
) -> list[Image.Image]:
    """Paint one PIL picture for each prompt.

    `model` is a loaded one, or what `load` takes (loaded anew each time); `options` are those of `denoise`.
    """
    sd = model if isinstance(model, StableDiffusion) else load(model)
    for step in denoise(sd, prompt, **options):
        last = step
    return paint_latents(sd, last.latents)


def paint_latents(sd: StableDiffusion, latents: torch.Tensor) -> list[Image.Image]:
    """Decode latents (batch, 4, h, w) to PIL pictures, one at a time: the decoder needs most of the memory."""
    return [to_pil(decode(sd.vae, one))[0] for one in latents.split(1)]


def save_png(picture: Image.Image, path: str | os.PathLike, about: Mapping[str, object] | None = None) -> Path:
    """Write a PNG with `about` in its text chunks; the file is there whole, or not at all; returns its path.

    Raises BadInput where it cannot be written.
    """
    chunks = PngImagePlugin.PngInfo()
    for name, value in (about or {}).items():
        chunks.add_text(name, str(value))  # Latin-1 as tEXt, anything else as iTXt
    with whole_file(path) as stream:
        picture.save(stream, format="PNG", pnginfo=chunks)
    return Path(path)


def save_trace(trace: Trace, path: str | os.PathLike) -> Path:
    """Write a recorded run to one safetensors file: ids, text embeddings, every Step, and the settings as metadata.

    Steps are stacked: (steps, batch, 4, h, w); raises BadInput where the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {"ids": trace.ids, "text_embeddings": trace.text_embeddings, "noisy": trace.steps[0].noisy}
    tensors["timesteps"] = torch.tensor([step.timestep for step in trace.steps], dtype=torch.float64)
    tensors["sigmas"] = torch.tensor([step.sigma for step in trace.steps], dtype=torch.float64)
    for name in _STEP_TENSORS:
        if getattr(trace.steps[0], name) is not None:
            tensors[name] = torch.stack([getattr(step, name) for step in trace.steps])
    tensors = {name: values.cpu().contiguous() for name, values in tensors.items()}
    with whole_file(path) as stream:
        stream.write(save(tensors, {"settings": json.dumps(trace.settings)}))
    return Path(path)


def read_trace(path: str | os.PathLike) -> Trace:
    """Read a run that `save_trace` wrote; needs no model. Raises BadInput where the file is no trace."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            settings = json.loads((file.metadata() or {})["settings"])
        start, steps = tensors["noisy"], []
        for i, (timestep, sigma) in enumerate(zip(tensors["timesteps"], tensors["sigmas"], strict=True)):
            told = {name: tensors[name][i] if name in tensors else None for name in _STEP_TENSORS}
            steps.append(Step(i, timestep.item(), sigma.item(), **told, noisy=steps[-1].latents if steps else start))
        return Trace(settings, tensors["ids"], tensors["text_embeddings"], tuple(steps))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a recorded run: {error}") from None


def about_picture(sd: StableDiffusion, run: Settings, seed: int, number: int = 0) -> dict[str, object]:
    """What a PNG of ours tells of picture `number` of a run: all that is needed to paint it again."""
    from . import __version__

    return {
        "prompt": run.prompts[number],
        "negative_prompt": run.negative_prompts[number],
        "seed": seed,
        "steps": run.num_inference_steps,
        "guidance_scale": run.guidance_scale,
        "size": f"{run.width}x{run.height}",
        "model": sd.name,
        "scheduler": type(sd.scheduler).__name__,
        "Software": f"sdlesson {__version__}",
    }
