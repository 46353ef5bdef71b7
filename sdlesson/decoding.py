"""Latents -> picture -> file: the VAE's decoder, 0 ... 255, and files that tell how they were made."""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, PngImagePlugin

from .guidance import Settings, Step, Trace, denoise
from .latents import as_latents
from .loading import checks
from .loading.errors import BadInput
from .loading.writing import whole_file, write_whole
from .models import StableDiffusion, load

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


_HALVES = ("noise_uncond", "noise_text")  # of which a step may lack one


_STEP_TENSORS = ("latents", *_HALVES, "noise_pred", "pred_original")


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pictures from latents (batch, 4, h, w): float32, (batch, 3, 8h, 8w), about -1 ... 1.

    Divides by the VAE's scaling factor first (0.18215 in v1.4): the decoder was trained before latents were scaled.
    Raises BadInput for what are no latents of this VAE.
    """
    latents = _latents_of(vae, latents)
    with torch.inference_mode():
        unscaled = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
        pictures = vae.decode(unscaled, return_dict=False)[0]
    return pictures.to(torch.float32, copy=True)  # outside of inference mode: an ordinary tensor


def decode_stages(vae: AutoencoderKL, latents: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each stage of the decoder makes of latents (batch, 4, h, w), by name, in order; float32.

    The last one, conv_out, is what `decode` gives. The up_blocks but the last double height and width. Raises BadInput
    for what are no latents of this VAE.
    """
    latents = _latents_of(vae, latents)
    decoder, x, seen = vae.decoder, (latents / vae.config.scaling_factor).to(vae.device, vae.dtype), {}
    stages = {"post_quant_conv": vae.post_quant_conv, "conv_in": decoder.conv_in, "mid_block": decoder.mid_block}
    stages |= {f"up_blocks.{i}": block for i, block in enumerate(decoder.up_blocks)}
    stages |= {name: getattr(decoder, name) for name in ("conv_norm_out", "conv_act", "conv_out")}
    with torch.inference_mode():
        for name, stage in stages.items():
            x = x if stage is None else stage(x)  # a VAE may lack post_quant_conv
            seen[name] = x
    return {name: values.to(torch.float32, copy=True) for name, values in seen.items()}


def _latents_of(vae: AutoencoderKL, latents) -> torch.Tensor:
    """Latents that this VAE can decode, as a tensor; raises BadInput."""
    return as_latents(latents, checks.part(vae, "a VAE, such as sd.vae", "decoder").config.latent_channels)


def to_pil(pictures: torch.Tensor) -> list[Image.Image]:
    """PIL pictures from a tensor (batch, 3, height, width): -1 ... 1 becomes 0 ... 255, what lies outside is cut off.

    Warns where the numbers are not finite (float16 overflows in some VAEs): those pixels are black. Raises BadInput for
    other shapes, such as latents, and for whole numbers.
    """
    words, given = "(batch, 3, height, width) of floats in -1 ... 1", pictures
    pictures = checks.tensor(pictures, "pictures", words, 4).float()
    if pictures.shape[1] != 3 or not torch.is_floating_point(torch.as_tensor(given)):
        raise BadInput(f"Pictures are a tensor {words}, not {checks.told(given)}; `decode` makes pictures of latents.")
    if not bool(torch.isfinite(pictures).all()):
        warnings.warn("the picture holds NaN or infinity, drawn black; try dtype='float32'", stacklevel=2)
        pictures = pictures.nan_to_num(-1.0, -1.0, -1.0)
    levels = ((pictures / 2 + 0.5).clamp(0, 1) * 255).round()
    levels = levels.permute(0, 2, 3, 1).to("cpu", torch.uint8)  # (batch, height, width, 3)
    return [Image.fromarray(one.contiguous().numpy()) for one in levels]


def level_differences(one: Image.Image, other: Image.Image) -> torch.Tensor:
    """How many levels of 255 lie between two pictures of one size, without sign: (height, width, 3), int16.

    They are read as `checks.rgb` says. Raises BadInput where the sizes differ.
    """
    one, other = checks.rgb(one), checks.rgb(other)
    if one.size != other.size:
        raise BadInput(
            f"Pictures of {one.width} × {one.height} and {other.width} × {other.height} pixels cannot be compared."
        )
    first, second = (
        torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8).to(torch.int16) for each in (one, other)
    )
    return (first - second).abs().view(one.height, one.width, 3)


def paint(
    prompt: str | Sequence[str], *, model: StableDiffusion | str | os.PathLike | None = None, **options
) -> list[Image.Image]:
    """Paint one PIL picture for each prompt.

    `model` is a loaded one, or what `load` takes (loaded anew each time); `options` are those of `denoise`. A run that
    starts behind its last step is the picture of the `latents` that it starts from.
    """
    sd = model if isinstance(model, StableDiffusion) else load(model)
    latents = options.get("latents")
    for step in denoise(sd, prompt, **options):
        latents = step.latents
    return paint_latents(sd, latents)


def paint_latents(sd: StableDiffusion, latents: torch.Tensor) -> list[Image.Image]:
    """Decode latents (batch, 4, h, w) to PIL pictures, one at a time: the decoder needs most of the memory."""
    checks.part(sd, "a Stable Diffusion, as `load` gives it", "vae")
    with torch.no_grad():
        vae = sd.fastest("vae")
        return [to_pil(decode(vae, one))[0] for one in as_latents(latents).split(1)]


def save_png(picture: Image.Image, path: str | os.PathLike, about: Mapping[str, object] | None = None) -> Path:
    """Write a PNG with `about` in its text chunks; the file is there whole, or not at all; returns its path.

    Raises BadInput where it cannot be written, or is no PIL picture.
    """
    path = checks.path(path)
    if not isinstance(picture, Image.Image):
        raise BadInput(f"A PNG is made of a PIL picture, not of {checks.told(picture)}.")
    chunks = PngImagePlugin.PngInfo()
    for name, value in (about or {}).items():
        whole = str(value).encode("utf-8", "backslashreplace").decode()  # a folder's name may hold halves of characters
        chunks.add_text(name, whole)  # Latin-1 as tEXt, anything else as iTXt
    with whole_file(path) as stream:
        picture.save(stream, format="PNG", pnginfo=chunks)
    return path


def save_trace(trace: Trace, path: str | os.PathLike) -> Path:
    """Write a recorded run to one safetensors file: ids, text embeddings, every Step, and the settings as metadata.

    Steps are stacked: (steps, batch, 4, h, w); raises BadInput where the file cannot be written, or there is no step.
    """
    from safetensors.torch import save

    path = checks.path(path)
    steps = checks.part(trace, "a Trace, as `record` makes it", "steps").steps
    if not steps:
        raise BadInput("This run has no steps to keep: it started behind its last one.")
    tensors = {"ids": trace.ids, "text_embeddings": trace.text_embeddings, "noisy": steps[0].noisy}
    tensors["timesteps"] = torch.tensor([step.timestep for step in steps], dtype=torch.float64)
    tensors["sigmas"] = torch.tensor([step.sigma for step in steps], dtype=torch.float64)
    for name in _STEP_TENSORS:
        seen = [getattr(step, name) for step in steps]
        if any(values is not None for values in seen):  # a half that was not computed in a step is kept as NaN
            tensors[name] = torch.stack(
                [torch.full_like(steps[0].latents, torch.nan) if x is None else x for x in seen]
            )
    tensors = {name: values.cpu().contiguous() for name, values in tensors.items()}
    write_whole(path, save(tensors, {"settings": json.dumps(trace.settings)}))
    return path


def read_trace(path: str | os.PathLike) -> Trace:
    """Read a run that `save_trace` wrote; needs no model. Raises BadInput where the file is no trace."""
    from safetensors import SafetensorError, safe_open

    path = checks.path(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no plain file.")
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            settings = json.loads((file.metadata() or {})["settings"])
        _check_trace(tensors, settings)
        start, steps = tensors["noisy"].float(), []
        for i, (timestep, sigma) in enumerate(zip(tensors["timesteps"], tensors["sigmas"], strict=True)):
            told = {name: tensors[name][i].float() if name in tensors else None for name in _STEP_TENSORS}
            skipped = [name for name in _HALVES if _is_nan(told[name]) and not _is_nan(told["noise_pred"])]
            told |= dict.fromkeys(skipped)
            steps.append(Step(i, timestep.item(), sigma.item(), **told, noisy=steps[-1].latents if steps else start))
        return Trace(settings, tensors["ids"], tensors["text_embeddings"], tuple(steps))
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read as a recorded run: {error}") from None


def _is_nan(values: torch.Tensor | None) -> bool:
    return values is not None and bool(values.isnan().all())


def _check_trace(tensors: Mapping[str, torch.Tensor], settings) -> None:
    """Raise ValueError or KeyError unless a trace's tensors and settings are those that `save_trace` writes."""
    noisy, times = tensors["noisy"], tensors["timesteps"]
    steps, batch = len(times) if times.dim() == 1 else 0, len(noisy) if noisy.dim() == 4 else 0
    words = settings["prompts"] if isinstance(settings, dict) else None
    if not isinstance(words, list) or len(words) != batch or not all(isinstance(each, str) for each in words):
        raise ValueError("its settings do not name the prompts.")
    if missing := {"negative_prompts", "num_inference_steps", "guidance_scale", "seeds"} - settings.keys():
        raise ValueError(f"its settings lack {', '.join(sorted(missing))}.")
    shapes = {"sigmas": (steps,), "noisy": noisy.shape}
    for name, sides in (("ids", 2), ("text_embeddings", 3)):  # their lengths are the model's own
        shapes[name] = (2 * batch, *tensors[name].shape[1:]) if tensors[name].dim() == sides else (0,) * sides
    if tensors.keys().isdisjoint(_HALVES):
        raise ValueError("it lacks what the UNet said.")
    for name in _STEP_TENSORS:
        if name in tensors or name not in _HALVES:
            shapes[name] = (steps, *noisy.shape)
    for name, shape in shapes.items():
        if not steps or not batch or tensors[name].shape != shape:
            raise ValueError(f"its {name} have the shape {tuple(tensors[name].shape)}, not {shape}.")
        if tensors[name].is_floating_point() == (name == "ids"):
            raise ValueError(f"its {name} are numbers of another kind ({tensors[name].dtype}).")


def about_picture(sd: StableDiffusion, run: Settings, seed: int, number: int = 0) -> dict[str, object]:
    """What a PNG of ours tells of picture `number` of a run: what is needed, with the same model, to paint it again."""
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
