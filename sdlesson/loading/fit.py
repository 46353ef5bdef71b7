"""Do the parts of a model fit each other, and is it a kind of model that the lessons' loop can paint with?

All of it is read off the small JSON files, so that a model from the hub is refused before its weights are fetched.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from .errors import BadInput, ModelError
from .files import read_json

#: What the configuration of each part says it is.
KINDS = {"text_encoder": "clip_text_model", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}

#: Inputs of a UNet besides latents, timestep and text: the setting that asks for one -> its harmless values, its words.
_INPUTS = {
    "time_cond_proj_dim": ((), "the guidance scale, as latent consistency models do"),
    "class_embed_type": ((), "a picture's vector or a noise level, as unCLIP models and upscalers do"),
    "num_class_embeds": ((), "a class or a noise level, as upscalers do"),
    "addition_embed_type": ((), "sizes, pictures or a second text, as SDXL and Kandinsky do"),
    "encoder_hid_dim_type": (("text_proj",), "a picture's vectors, as Kandinsky and IP-Adapter models do"),
    "attention_type": (("default",), "boxes that say where things are, as GLIGEN does"),
    "dual_cross_attention": ((), "two texts at once, as Versatile Diffusion does"),
}
#: What a UNet sees beside the noisy latents: the number of channels more -> what kind of model that is.
_BESIDE = {
    1: "a depth model (it also sees a depth map)",
    3: "an upscaler (it also sees a small picture)",
    4: "a model that edits pictures, such as InstructPix2Pix (it also sees a picture's latents)",
    5: "an inpainting model (it also sees a mask and the masked picture's latents)",
}
#: The schedulers whose noise schedule is one of betas, which K-LMS has too.
_SCHEDULERS = {
    *("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "PNDMScheduler"),
    *("LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler"),
    *("DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler"),
    "SASolverScheduler",
}
#: Settings of a scheduler that make another noise schedule of the same betas.
_OTHER_NOISE = {
    "rescale_betas_zero_snr": "it ends in pure noise (rescale_betas_zero_snr)",
    "use_flow_sigmas": "it is one of flow matching (use_flow_sigmas)",
}
PREDICTIONS = ("epsilon", "sample", "v_prediction")
V1_LATENTS = 64  # the side of the latents of v1's pictures of 512 pixels, where a model does not say its own


def check_configurations(folder: Path) -> None:
    """Raise ModelError, naming both numbers, unless the configurations in `folder` make up one Stable Diffusion."""
    for part, needed in KINDS.items():
        config = read_json(folder / part / "config.json")
        kind = config.get("_class_name") or config.get("model_type") or needed
        if kind != needed:
            raise ModelError(f"{folder / part} holds a {kind}; sdlesson needs a {needed} there.")
    text, unet, vae = (read_json(folder / part / "config.json") for part in ("text_encoder", "unet", "vae"))
    _check_inputs(folder, unet)
    _check_channels(folder, unet, vae)
    _check_latents(folder / "vae/config.json", vae)
    _check_text(folder, unet, text)
    sample_size(folder)
    schedule(folder)
    recommended(folder)


def sample_size(folder: Path) -> int | list[int]:
    """The side of the latents (or both, height first) that the UNet was trained on; raises ModelError for no number.

    Where its configuration does not say, it is what the VAE says of pictures, else 64, as in v1 (512 pixels).
    """
    unet, vae = (read_json(folder / part / "config.json") for part in ("unet", "vae"))
    told, pixels = unet.get("sample_size"), vae.get("sample_size")
    if told is None and pixels is None:
        return V1_LATENTS
    levels = vae.get("block_out_channels")
    factor = 2 ** (len(levels) - 1 if isinstance(levels, list) and levels else 0)
    part, size, least = ("vae", pixels, factor) if told is None else ("unet", told, 1)
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(type(side) is int and side >= least for side in sides):
        raise ModelError(
            f"{folder / part}/config.json says sample_size {size!r}; it must be a whole number from {least}."
        )
    return size if told is not None else [side // factor for side in sides]


def schedule(folder: Path) -> dict | None:
    """The settings of the folder's scheduler that K-LMS may take over, or None where there are none.

    Raises ModelError where the model was trained with a noise schedule that K-LMS cannot have.
    """
    file = folder / "scheduler" / "scheduler_config.json"
    if not file.is_file():
        return None
    config = read_json(file)
    kind = str(config.get("_class_name", "LMSDiscreteScheduler"))
    reasons = [words for key, words in _OTHER_NOISE.items() if config.get(key)]
    if kind not in _SCHEDULERS:
        reasons.insert(0, f"it is that of {kind}")
    if config.get("timestep_type") == "continuous":
        reasons.append("its timesteps are noise levels (timestep_type 'continuous')")
    if config.get("prediction_type", "epsilon") not in PREDICTIONS:
        reasons.append(f"its UNet predicts {config['prediction_type']!r}")
    if not reasons and not _has_betas(config):
        reasons.append("its betas are missing or out of range")
    if reasons:
        raise ModelError(
            f"{folder} was made with a noise schedule that K-LMS cannot have: {reasons[0]}; "
            "sdlesson loads models of Stable Diffusion's own schedules only."
        )
    return {key: value for key, value in config.items() if not key.startswith("_")}


def recommended(folder: Path) -> dict:
    """What sdlesson.json recommends for this model; empty for models that were made elsewhere.

    Raises ModelError where the guidance scale in it is no finite number.
    """
    file = folder / "sdlesson.json"
    about = read_json(file) if file.is_file() else {}
    if "guidance_scale" in about and not _is_number(about["guidance_scale"]):
        raise ModelError(f"{file} says guidance_scale {about['guidance_scale']!r}; it must be a finite number.")
    return about


def check_numbers(file: Path, config: dict, kind: type) -> None:
    """Raise ModelError where `config` has no number, or a negative one, and diffusers' class `kind` wants one.

    diffusers takes anything, and fails in the first picture. A list may stand for one number for each level.
    """
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        optional = config.get(name) is None and (name not in config or "None" in str(parameter.annotation))
        if type(parameter.default) not in (int, float) or optional:
            continue
        levels = isinstance(config[name], list) and "tuple" in str(parameter.annotation).lower()
        numbers = config[name] if levels else [config[name]]
        numbers = [each for number in numbers for each in (number if isinstance(number, list) else [number])]
        if not numbers or not all(_is_number(number) and number >= 0 for number in numbers):
            raise ModelError(f"{file} says {name} {config[name]!r}; it must be a number that is not negative.")


def _has_betas(config: dict) -> bool:
    """Does the configuration say how much noise each training step added, more than nothing and less than all of it?"""
    steps = config.get("num_train_timesteps", 1000)
    betas = config.get("trained_betas") or [config.get("beta_start"), config.get("beta_end")]
    named = config.get("trained_betas") or config.get("beta_schedule") in (
        "linear",
        "scaled_linear",
        "squaredcos_cap_v2",
    )
    whole = type(steps) is int and steps > 0 and isinstance(betas, list)
    return bool(whole and named) and all(_is_number(beta) and 0 < beta < 1 for beta in betas)


def _check_inputs(folder: Path, unet: dict) -> None:
    for key, (harmless, words) in _INPUTS.items():
        if unet.get(key) and unet[key] not in harmless:
            raise ModelError(
                f"{folder} is another kind of model: its UNet also takes {words} ({key} is {unet[key]!r}), "
                "and sdlesson has nothing to give it there."
            )


def _check_channels(folder: Path, unet: dict, vae: dict) -> None:
    """The UNet's channels must be the latents', and the pictures' three."""
    unet_file, vae_file = (folder / part / "config.json" for part in ("unet", "vae"))
    latents = _count(vae_file, vae, "latent_channels", 4)
    seen, given = _count(unet_file, unet, "in_channels", 4), _count(unet_file, unet, "out_channels", 4)
    if kind := _BESIDE.get(seen - latents):
        raise ModelError(
            f"{folder} is {kind}: its UNet takes {seen} channels and its VAE makes {latents}; "
            "sdlesson knows models that start from noise alone."
        )
    if seen != latents:
        raise ModelError(f"The parts of {folder} do not fit: its UNet takes {seen} channels, its VAE makes {latents}.")
    if given != latents:
        raise ModelError(
            f"The UNet of {folder} gives {given} channels for latents of {latents}; sdlesson needs as many."
        )
    for key in ("in_channels", "out_channels"):
        if (colours := _count(vae_file, vae, key, 3)) != 3:
            raise ModelError(f"The VAE of {folder} has pictures of {colours} channels ({key}); sdlesson needs 3 (RGB).")


def _check_latents(file: Path, vae: dict) -> None:
    """The latents must be the VAE's times one number."""
    scale = vae.get("scaling_factor", 1.0)
    if not _is_number(scale) or scale <= 0:
        raise ModelError(f"{file} says scaling_factor {scale!r}; it must be a positive number.")
    for key in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(key):
            raise ModelError(
                f"{file} says that its latents are also shifted ({key}); sdlesson knows scaling_factor only."
            )


def _check_text(folder: Path, unet: dict, text: dict) -> None:
    """The UNet must read vectors as long as the text encoder makes, and that must know all tokens and positions."""
    file = folder / "text_encoder" / "config.json"
    width = _count(file, text, "hidden_size", 512)
    key = "encoder_hid_dim" if unet.get("encoder_hid_dim") else "cross_attention_dim"
    told = unet.get(key, 1280)
    for read in told if isinstance(told, list) else [told]:
        if read != width:
            raise ModelError(
                f"The parts of {folder} do not fit: its UNet reads text vectors of {read!r} numbers ({key}), "
                f"its text encoder makes them of {width} (hidden_size)."
            )
    _count(file, text, "num_attention_heads", 8)
    if not _is_number(text.get("layer_norm_eps", 1e-5)) or type(text.get("eos_token_id", 0)) is not int:
        raise ModelError(f"{file} must give layer_norm_eps a number and eos_token_id a whole number.")
    positions, vectors = _count(file, text, "max_position_embeddings", 77), _count(file, text, "vocab_size", 49408)
    if (tokens := text_length(folder)) and tokens > positions:
        raise ModelError(
            f"The parts of {folder} do not fit: its tokenizer makes {tokens} tokens of a text (model_max_length), "
            f"its text encoder has {positions} positions (max_position_embeddings)."
        )
    if (entries := _vocabulary(folder / "tokenizer")) > vectors:
        raise ModelError(
            f"The parts of {folder} do not fit: its tokenizer has ids up to {entries - 1}, "
            f"its text encoder vectors for {vectors} (vocab_size)."
        )


def text_length(folder: Path) -> int | None:
    """How many tokens the tokenizer makes of each text, or None where it does not say (transformers writes 1e30).

    Raises ModelError for a length that is no number from 3, and where the tokenizer lacks a token that each text needs.
    """
    file = folder / "tokenizer" / "tokenizer_config.json"
    config = read_json(file) if file.is_file() else {}
    if nameless := [key for key in ("bos_token", "eos_token", "pad_token") if config.get(key, "") is None]:
        raise ModelError(f"{file} has no {nameless[0]}, which each text needs.")
    told = config.get("model_max_length")
    if told is not None and (not _is_number(told) or told < 3):
        raise ModelError(f"{file} says model_max_length {told!r}; it must be a whole number from 3.")
    return None if told is None or told >= 1e20 else int(told)


def _vocabulary(folder: Path) -> int:
    """The highest id of the tokenizer in `folder`, plus 1; raises ModelError where an id is no whole number."""
    ids: list = []
    for name in ("tokenizer.json", "vocab.json", "added_tokens.json"):
        content = read_json(folder / name) if (folder / name).is_file() else {}
        if name == "tokenizer.json" and content:
            model, added = content.get("model"), content.get("added_tokens") or []
            content = model.get("vocab") if isinstance(model, dict) else None
            added = added if isinstance(added, list) else [None]
            ids += [token.get("id") if isinstance(token, dict) else None for token in added]
        ids += content.values() if isinstance(content, dict) else [None]
    if not ids or not all(type(each) is int and each >= 0 for each in ids):
        raise ModelError(
            f"The tokenizer in {folder} cannot be read: its vocabulary must give each piece a whole number."
        )
    return max(ids) + 1


def _count(file: Path, config: dict, key: str, default: int) -> int:
    """A positive whole number of a configuration; `default` is the library's own where the file does not say."""
    number = config.get(key, default)
    if type(number) is not int or number < 1:
        raise ModelError(f"{file} says {key} {number!r}; it must be a positive whole number.")
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def check_scheduler(scheduler) -> None:
    """Raise BadInput unless the scheduler's noise is that of a Stable Diffusion, and its UNet can predict with it."""
    name = type(scheduler).__name__
    if not hasattr(scheduler, "alphas_cumprod"):
        raise BadInput(f"{name} is no scheduler for Stable Diffusion: it has no alphas_cumprod.")
    config = scheduler.config
    parameters = inspect.signature(scheduler.step).parameters.values()
    asked = {each.name for each in parameters if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD}
    reasons = {
        "its noise is that of flow matching": config.get("use_flow_sigmas"),
        f"its step needs more than the UNet's output ({', '.join(sorted(asked))})": len(asked) > 3,
        f"its UNet predicts {config.get('prediction_type')!r}": config.get("prediction_type") not in PREDICTIONS,
    }
    for reason, holds in reasons.items():
        if holds:
            raise BadInput(f"{name} is no scheduler for Stable Diffusion: {reason}.")
    pure = config.get("rescale_betas_zero_snr") or float(scheduler.alphas_cumprod.min()) <= 0
    if pure and config.prediction_type == "epsilon":
        raise BadInput(
            f"{name} starts from pure noise (zero terminal SNR), and there the UNet's guess of the noise tells nothing "
            "of the picture: it needs a model whose prediction_type is 'v_prediction' or 'sample'."
        )
