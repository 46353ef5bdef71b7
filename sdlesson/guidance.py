"""Guided UNet steps: from noise and text embeddings to the latents of a picture, one Step after another."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from . import sigmas
from .embeddings import embed, embed_texts, pair
from .latents import as_latents, as_seeds, check_generator, initial_noise, seeded
from .loading import checks
from .loading.errors import BadInput
from .loading.fit import check_scheduler
from .models import StableDiffusion
from .tokens import as_prompts, tokenize, warn_of_unknown_words
from .unet import predict


@dataclass(frozen=True, eq=False)
class Step:
    """What one guided UNet call saw, said, and made of the latents; all tensors float32, (batch, 4, h/8, w/8).

    `latents` are those after the step, `noisy` those before it: noisy = picture + sigma * noise (schedulers that keep
    their latents at spread 1 divide that by sqrt(sigma^2 + 1)). `noise_pred` = noise_uncond + guidance_scale *
    (noise_text - noise_uncond); at guidance_scale 1 `noise_uncond` is None, at 0 `noise_text`: that half was not
    computed. These three are the UNet's outputs: the noise, or v in models that predict v. `pred_original` is the
    noiseless latents that `noise_pred` implies.
    """

    index: int
    timestep: float
    sigma: float
    latents: torch.Tensor = field(repr=False)
    noise_uncond: torch.Tensor | None = field(repr=False)
    noise_text: torch.Tensor | None = field(repr=False)
    noise_pred: torch.Tensor = field(repr=False)
    pred_original: torch.Tensor = field(repr=False)
    noisy: torch.Tensor = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """What defines a run, apart from the model and the noise; sizes in pixels, one negative prompt for each prompt."""

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    num_inference_steps: int
    guidance_scale: float
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Trace:
    """A whole run: its settings (JSON values), ids and text embeddings of [negative, prompt], and every Step."""

    settings: dict
    ids: torch.Tensor = field(repr=False)
    text_embeddings: torch.Tensor = field(repr=False)
    steps: tuple[Step, ...] = field(repr=False)


def resolve_settings(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    negative_prompt: str | Sequence[str] = "",
    num_inference_steps: int = 20,
    guidance_scale: float | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Settings:
    """Check a run's settings and fill in the model's own size and guidance scale; raises BadInput, with a sentence."""
    checks.part(sd, "a Stable Diffusion, as `load` gives it", "unet")
    prompts = as_prompts(prompt)
    negatives = pair(prompts, negative_prompt)[: len(prompts)]
    check_scheduler(sd.scheduler)
    steps = checks.whole(num_inference_steps, "number of steps", 1, sd.scheduler.config.num_train_timesteps)
    scale = check_guidance(sd.guidance_scale if guidance_scale is None else guidance_scale)
    height, width = (own if side is None else side for side, own in zip((height, width), sd.size, strict=True))
    checks.size(height, width, sd.vae_factor)
    return Settings(tuple(prompts), tuple(negatives), steps, scale, int(height), int(width))


def check_guidance(scale: float) -> float:
    """The guidance scale as a number of Python; raises BadInput where it is none, or would overflow."""
    if abs(scale := checks.number(scale, "guidance scale")) > checks.MOST_GUIDANCE:
        raise BadInput(f"The guidance scale must lie between -1e6 and 1e6: {scale:g} would overflow.")
    return scale


def denoise(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    *,
    negative_prompt: str | Sequence[str] = "",
    num_inference_steps: int = 20,
    guidance_scale: float | None = None,
    height: int | None = None,
    width: int | None = None,
    seed: int | Sequence[int] = 42,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    latents: torch.Tensor | None = None,
    text_embeddings: torch.Tensor | None = None,
    start: int = 0,
    steering=None,
    order: int = 4,
    progress: bool = False,
) -> Iterator[Step]:
    """Turn noise into the latents of one picture for each prompt, step by step; the last Step's `latents` are decoded.

    Works with any of diffusers' schedulers for Stable Diffusion as `sd.scheduler` (a copy is used). Default size and
    `guidance_scale` are the model's own. Noise: `latents` of spread 1 (batch, 4, h/8, w/8) if given, else drawn from
    `generator`, else from `seed`, on the CPU; a list of either gives each picture its own. A scheduler that adds fresh
    noise draws it there, too: beside given latents from where the run of that seed would. `text_embeddings`, (2 *
    batch, 77, dim), replace those of negative_prompt and prompt. With `start` that many steps are left out, and
    `latents` are those before the next one, as Step.noisy. `steering` is a steering.Steering, which takes a hand in the
    run; None leaves it alone. `order` is that of K-LMS; `progress` shows a bar.
    Schedulers of second order call the UNet, and yield, more than num_inference_steps times. Raises BadInput at once,
    before the first step. Words that a model of a closed world never read are named by an UnknownWordsWarning.
    """
    run = resolve_settings(sd, prompt, negative_prompt, num_inference_steps, guidance_scale, height, width)
    if steering is not None:
        checks.part(steering, "a sdlesson.steering.Steering", "guides")
    given = generator is not None
    generator = check_generator(generator if given else seeded(seed), len(run.prompts))
    if not 0 <= checks.whole(start, "start") <= run.num_inference_steps:
        raise BadInput(f"A run of {run.num_inference_steps} steps can start at 0 to that number, not at {start!r}.")
    if start and latents is None:
        raise BadInput("A run that starts on its way needs the latents that it starts from.")
    order = checks.whole(order, "order")
    solver = sigmas.way_down(sd.scheduler, run.num_inference_steps, start, order, generator, sd.unet.device)
    drawn = 0 if given else 1 + solver.start
    latents = _noise(sd, run, latents, generator, drawn).to(sd.unet.device, torch.float32)
    latents = latents if start else latents * float(solver.scheduler.init_noise_sigma)
    embeddings = _embeddings(sd, run, text_embeddings, steering)
    if text_embeddings is None:
        warn_of_unknown_words(sd, run.prompts + run.negative_prompts)
    if not start and float(solver.timestep(0)) < sd.scheduler.config["num_train_timesteps"] / 2:
        _warn_of_a_late_beginning(solver)
    if progress:
        solver.times = tqdm(solver.times)
    return _descend(sd, solver, latents, embeddings, run.guidance_scale, steering)


def _warn_of_a_late_beginning(solver) -> None:
    """One step of diffusers' schedulers is their last one."""
    name, timestep = type(solver.scheduler).__name__, float(solver.timestep(0))
    words = f"begins at timestep {timestep:g}, where the UNet expects little noise, and paints noise; take 2 or more"
    warnings.warn(f"one step of {name} {words}", stacklevel=3)


def guide(noise_uncond, noise_text, guidance_scale: float):
    """Classifier-free guidance: uncond + scale * (text - uncond) (Ho and Salimans 2022, equation 6, w = scale - 1).

    0 is the picture without the prompt, 1 the prompt's plain picture, more exaggerates what the prompt changes. At 1
    and 0 the other half has no weight and may be None.
    """
    if guidance_scale == 1:
        return noise_text
    if guidance_scale == 0:
        return noise_uncond
    return noise_uncond + guidance_scale * (noise_text - noise_uncond)


def needed(guidance_scale: float, batch: int) -> slice:
    """The rows of [negative ..., prompt ...], 2 * batch, that a guidance scale needs: at 1 and 0 only one half."""
    return {0: slice(batch), 1: slice(batch, None)}.get(guidance_scale, slice(None))


def guesses(
    unet, x: torch.Tensor, timestep: torch.Tensor | float, embeddings: torch.Tensor, guidance_scale: float
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The UNet's two guesses, (noise_uncond, noise_text), like `x` (batch, 4, h/8, w/8), float32, for `guide`.

    At scale 0 and 1 the one without weight is None: it is not computed. `embeddings` hold both halves, or the one.
    """
    halves = embeddings[needed(guidance_scale, len(x))] if len(embeddings) > len(x) else embeddings
    found = predict(unet, x, timestep, halves)
    return found if len(found) == 2 else (*found, None) if guidance_scale == 0 else (None, *found)


def record(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    *,
    seed: int | Sequence[int] = 42,
    text_embeddings: torch.Tensor | None = None,
    **options,
) -> Trace:
    """Run `denoise` (its options) to the end and keep all of it; `decoding.save_trace` writes it to a file."""
    known = inspect.signature(resolve_settings).parameters
    run = resolve_settings(sd, prompt, **{name: value for name, value in options.items() if name in known})
    ids = tokenize(sd.tokenizer, run.negative_prompts + run.prompts)
    if text_embeddings is None:
        warn_of_unknown_words(sd, run.prompts + run.negative_prompts)
        text_embeddings = embed(sd.text_encoder, ids)
    embeddings = checks.tensor(text_embeddings, "text embeddings", "(2 * batch, tokens, dim)", 3)
    steps = tuple(denoise(sd, prompt, seed=seed, text_embeddings=embeddings, **options))
    drawn = options.get("generator") is None and options.get("latents") is None
    settings = vars(run) | {
        "prompts": list(run.prompts),
        "negative_prompts": list(run.negative_prompts),
        "seeds": as_seeds(seed, 1) if drawn else None,  # one alone: the noise of all pictures was drawn from it
        "model": sd.name,
        "dtype": str(sd.dtype).removeprefix("torch."),
        "scheduler": type(sd.scheduler).__name__,
        "prediction_type": sd.scheduler.config.prediction_type,
        "scaling_factor": sd.vae.config.scaling_factor,
    }
    return Trace(settings, ids, embeddings.float().cpu(), steps)


def _noise(sd: StableDiffusion, run: Settings, latents: torch.Tensor | None, generator, drawn: int) -> torch.Tensor:
    """The given latents, if they fit, else fresh noise; (batch, 4, h/8, w/8).

    Beside given latents the generator first draws `drawn` times: what a scheduler adds in its steps must not be the
    noise that the latents are made of.
    """
    batch, channels, factor = len(run.prompts), sd.unet.config.in_channels, sd.vae_factor
    shape = {"channels": channels, "factor": factor}
    if latents is None:
        return initial_noise(batch, run.height, run.width, generator=generator, **shape)
    for _ in range(drawn):
        initial_noise(batch, run.height, run.width, generator=generator, **shape)
    return as_latents(latents, shape=(batch, channels, run.height // factor, run.width // factor))


def _embeddings(sd: StableDiffusion, run: Settings, given: torch.Tensor | None, steering) -> torch.Tensor:
    """Those rows of [negative, prompt] that the guidance scale needs: both halves, or at scale 1 and 0 only one."""
    batch = len(run.prompts)
    rows = needed(run.guidance_scale, batch) if steering is None or steering.guides() else slice(None)
    if given is None:
        return embed_texts(sd, (run.negative_prompts + run.prompts)[rows])
    given = checks.tensor(given, "text embeddings", "(2 * batch, tokens, dim)", 3)
    if len(given) != 2 * batch:
        raise BadInput(f"{batch} prompts need {2 * batch} text embeddings, not {len(given)}.")
    if given.shape[2] != sd.unet.config.cross_attention_dim:
        raise BadInput(f"The UNet reads vectors of {sd.unet.config.cross_attention_dim} numbers, not {given.shape[2]}.")
    return given[rows]


def _descend(sd: StableDiffusion, solver, latents, embeddings, guidance_scale: float, steering):
    """Yield the Steps; `embeddings` holds both halves, or the one that `guidance_scale` needs."""
    latents = latents if steering is None else steering.changed(latents, solver, 0)
    for index, timestep in enumerate(solver.times):
        sigma, noisy = solver.sigma(index), latents
        scaled = solver.scale_model_input(noisy, index)
        scale = guidance_scale if steering is None or steering.guides(sigma) else 1.0
        with torch.no_grad():
            noise_uncond, noise_text = guesses(sd.fastest("unet"), scaled, solver.timestep(index), embeddings, scale)
        # Latents of spread 1 are brought to the scale x0 + sigma * noise first: one formula for all schedulers.
        x = scaled * (sigma**2 + 1) ** 0.5
        noise_pred = guide(noise_uncond, noise_text, scale)
        if steering is not None:
            noise_pred = steering.pulled(noise_pred, x, sigma, solver.prediction_type)
        pred_original = sigmas.pred_original(x, noise_pred, sigma, solver.prediction_type)
        latents = solver.step(noise_pred, pred_original, index, noisy)
        latents = latents if steering is None else steering.changed(latents, solver, index + 1)
        yield Step(
            index=index,
            timestep=timestep,
            sigma=sigma,
            latents=latents,
            noise_uncond=noise_uncond,
            noise_text=noise_text,
            noise_pred=noise_pred,
            pred_original=pred_original,
            noisy=noisy,
        )
