"""Guided UNet steps: from noise and text embeddings to the latents of a picture, one Step after another."""

from __future__ import annotations

import copy
import inspect
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING

import torch

from .embeddings import embed, embed_texts, pair
from .figures import BLUE, INK, ORANGE, PALE, new_figure, open_axes, plot_curves
from .latents import check_size, initial_noise, seeded
from .models import BadInput, StableDiffusion
from .sigmas import derivative, lms_coefficients, lms_step, pred_original, scale_input
from .tokens import as_prompts, tokenize

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def settle(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    negative_prompt: str | Sequence[str] = "",
    num_inference_steps: int = 20,
    guidance_scale: float | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Settings:
    """Check a run's settings and fill in the model's own size and guidance scale; raises BadInput, with a sentence."""
    prompts = as_prompts(prompt)
    negatives = pair(prompts, negative_prompt)[: len(prompts)]
    most = sd.scheduler.config.num_train_timesteps
    if not isinstance(num_inference_steps, Integral) or not 1 <= num_inference_steps <= most:
        raise BadInput(f"The number of steps must be a whole number from 1 to {most}, not {num_inference_steps!r}.")
    scale = sd.guidance_scale if guidance_scale is None else guidance_scale
    if not isinstance(scale, Real) or not math.isfinite(scale):
        raise BadInput(f"The guidance scale must be a finite number, not {scale!r}.")
    height, width = (own if side is None else side for side, own in zip((height, width), sd.size, strict=True))
    check_size(height, width, sd.vae_factor)
    return Settings(tuple(prompts), tuple(negatives), int(num_inference_steps), float(scale), int(height), int(width))


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
    order: int = 4,
    progress: bool = False,
) -> Iterator[Step]:
    """Turn noise into the latents of one picture for each prompt, step by step; the last Step's `latents` are decoded.

    Works with any of diffusers' schedulers for Stable Diffusion as `sd.scheduler` (a copy is used). Default size and
    `guidance_scale` are the model's own. Noise: `latents` of spread 1 (batch, 4, h/8, w/8) if given, else drawn from
    `generator`, else from `seed`, on the CPU; a list of either gives each picture its own. `text_embeddings`, (2 *
    batch, 77, dim), replace those of negative_prompt and prompt. `order` is that of K-LMS; `progress` shows a bar.
    Schedulers of second order call the UNet, and yield, more than num_inference_steps times. Raises BadInput at once,
    before the first step.
    """
    run = settle(sd, prompt, negative_prompt, num_inference_steps, guidance_scale, height, width)
    generator = seeded(seed) if generator is None else generator
    noise = _noise(sd, run, latents, generator)
    embeddings = _embeddings(sd, run, text_embeddings)
    solver = _solver(sd, run.num_inference_steps, order, generator)
    if progress:
        from tqdm import tqdm

        solver.times = tqdm(solver.times)
    return _descend(sd, solver, noise, embeddings, run.guidance_scale)


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


def record(
    sd: StableDiffusion,
    prompt: str | Sequence[str],
    *,
    seed: int | Sequence[int] = 42,
    text_embeddings: torch.Tensor | None = None,
    **options,
) -> Trace:
    """Run `denoise` (its options) to the end and keep all of it; `decoding.save_trace` writes it to a file."""
    known = inspect.signature(settle).parameters
    run = settle(sd, prompt, **{name: value for name, value in options.items() if name in known})
    ids = tokenize(sd.tokenizer, run.negative_prompts + run.prompts)
    embeddings = embed(sd.text_encoder, ids) if text_embeddings is None else text_embeddings
    steps = tuple(denoise(sd, prompt, seed=seed, text_embeddings=embeddings, **options))
    seeds = [seed] * len(run.prompts) if isinstance(seed, Integral) else list(seed)
    settings = vars(run) | {
        "prompts": list(run.prompts),
        "negative_prompts": list(run.negative_prompts),
        "seeds": None if options.keys() & {"generator", "latents"} else seeds,
        "model": sd.name,
        "dtype": str(sd.dtype).removeprefix("torch."),
        "scheduler": type(sd.scheduler).__name__,
        "prediction_type": sd.scheduler.config.prediction_type,
        "scaling_factor": sd.vae.config.scaling_factor,
    }
    return Trace(settings, ids, embeddings.float().cpu(), steps)


def _noise(sd: StableDiffusion, run: Settings, latents: torch.Tensor | None, generator) -> torch.Tensor:
    """The given latents, if they fit, else fresh noise; (batch, 4, h/8, w/8)."""
    batch, channels, factor = len(run.prompts), sd.unet.config.in_channels, sd.vae_factor
    if latents is None:
        return initial_noise(batch, run.height, run.width, generator=generator, channels=channels, factor=factor)
    shape = (batch, channels, run.height // factor, run.width // factor)
    if latents.shape != shape:
        raise BadInput(f"The latents must have the shape {shape}, not {tuple(latents.shape)}.")
    return latents


def _embeddings(sd: StableDiffusion, run: Settings, given: torch.Tensor | None) -> torch.Tensor:
    """Those rows of [negative, prompt] that the guidance scale needs: both halves, or at scale 1 and 0 only one."""
    batch, scale = len(run.prompts), run.guidance_scale
    rows = slice(batch, None) if scale == 1 else slice(batch) if scale == 0 else slice(None)
    if given is None:
        return embed_texts(sd, (run.negative_prompts + run.prompts)[rows])
    if len(given) != 2 * batch:
        raise BadInput(f"{batch} prompts need {2 * batch} text embeddings, not {len(given)}.")
    return given[rows]


def _descend(sd: StableDiffusion, solver, noise: torch.Tensor, embeddings: torch.Tensor, scale: float):
    """Yield the Steps; `embeddings` holds both halves, or the one that `scale` needs."""
    device, dtype = sd.unet.device, sd.unet.dtype
    embeddings = embeddings.to(device, dtype)
    x = noise.to(device, torch.float32) * float(solver.scheduler.init_noise_sigma)
    halves = len(embeddings) // len(x)
    for i, timestep in enumerate(solver.times):
        sigma, scaled = solver.look(x, i)
        twice = torch.cat([scaled] * halves).to(dtype)  # (batch, 4, h, w) -> (2 * batch, 4, h, w)
        output = _unet(sd.unet, twice, solver.scheduler.timesteps[i], embeddings)
        uncond, text = output.chunk(2) if halves == 2 else (output if scale == 0 else None, output if scale else None)
        guided = guide(uncond, text, scale)
        # Latents of spread 1 are brought to the scale x0 + sigma * noise first: one formula for all schedulers.
        original = pred_original(scaled * (sigma**2 + 1) ** 0.5, guided, sigma, solver.prediction_type)
        before, x = x, solver.step(guided, original, i, x)
        yield Step(i, timestep, sigma, x, uncond, text, guided, original, before)


def _unet(unet, x: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """One UNet call without gradients, as an ordinary float32 tensor, free for any use."""
    with torch.inference_mode():
        output = unet(x, timestep, encoder_hidden_states=embeddings, return_dict=False)[0]
    return output.to(torch.float32, copy=True)  # outside of inference mode: a tensor that autograd accepts again


def _solver(sd: StableDiffusion, steps: int, order: int, generator):
    """The way down for `sd.scheduler`, on a copy of it: exact K-LMS, or the scheduler's own `step`."""
    from diffusers import LMSDiscreteScheduler

    scheduler = copy.deepcopy(sd.scheduler)
    if not hasattr(scheduler, "alphas_cumprod"):
        raise BadInput(f"{type(scheduler).__name__} is no scheduler for Stable Diffusion: it has no alphas_cumprod.")
    scheduler.set_timesteps(steps, device=sd.unet.device)
    if type(scheduler) is LMSDiscreteScheduler:
        return _ExactLMS(scheduler, order)
    return _AnyScheduler(scheduler, generator)


class _ExactLMS:
    """K-LMS whose coefficients are integrated exactly, once, before the first step."""

    def __init__(self, scheduler, order: int):
        self.scheduler = scheduler
        self.prediction_type = scheduler.config.prediction_type
        self.times, self.sigmas = scheduler.timesteps.tolist(), scheduler.sigmas.tolist()
        self.weights = [lms_coefficients(self.sigmas, i, order) for i in range(len(self.times))]
        self.slopes = deque(maxlen=order)

    def look(self, x, i: int):
        """The noise level of x, and x as the UNet wants to see it."""
        return self.sigmas[i], scale_input(x, self.sigmas[i])

    def step(self, output, original, i: int, x):
        """The latents at the next noise level."""
        epsilon = self.prediction_type == "epsilon"  # then dx/dsigma is the output itself
        self.slopes.appendleft(output if epsilon else derivative(x, original, self.sigmas[i]))
        return lms_step(x, self.slopes, self.weights[i])


class _AnyScheduler:
    """Any other scheduler of diffusers, through its own methods."""

    def __init__(self, scheduler, generator):
        self.scheduler = scheduler
        self.prediction_type = scheduler.config.prediction_type
        self.times = scheduler.timesteps.tolist()
        accepted = inspect.signature(scheduler.step).parameters
        # as StableDiffusionPipeline does: no fresh noise (eta) where the scheduler leaves the choice
        self.extra = {name: value for name, value in (("generator", generator), ("eta", 0.0)) if name in accepted}

    def look(self, x, i: int):
        """The noise level of x, and x as the UNet wants to see it."""
        scaled = self.scheduler.scale_model_input(x, self.scheduler.timesteps[i])
        return self._sigma(i), scaled

    def step(self, output, original, i: int, x):
        """The latents at the next noise level."""
        return self.scheduler.step(output, self.scheduler.timesteps[i], x, return_dict=False, **self.extra)[0]

    def _sigma(self, i: int) -> float:
        """The scheduler's own noise level, else sqrt((1 - abar) / abar) at the timestep."""
        levels = getattr(self.scheduler, "sigmas", None)
        if not getattr(self.scheduler, "state_in_first_order", True):  # between two levels, as KDPM2's second calls are
            levels = getattr(self.scheduler, "sigmas_interpol", levels)
        if levels is not None and len(levels) >= len(self.times):
            return float(levels[i])
        abar = float(self.scheduler.alphas_cumprod[round(self.times[i])])
        return ((1 - abar) / abar) ** 0.5


def plot_guesses(step: Step, scales: Sequence[float], *, ax=None):
    """Draw the first picture's two guesses at `step` and the guided ones, true to scale, in the plane that they span.

    The axis upwards is the guess without words; the dashed arc has the length of pure noise, the square root of how
    many numbers there are (a standard deviation of 1 in each).
    """
    ax = new_figure(figsize=(4, 4)).subplots() if ax is None else ax
    uncond, text = (guess[0].flatten().double() for guess in (step.noise_uncond, step.noise_text))
    up = uncond / uncond.norm()
    aside = text - (text @ up) * up
    aside = aside / aside.norm().clamp(min=1e-12)
    tips = {s: (float(g @ aside), float(g @ up)) for s in scales for g in [guide(uncond, text, s)]}
    radius = math.sqrt(uncond.numel())
    arc = [math.radians(each) for each in range(91)]
    ax.plot([radius * math.sin(a) for a in arc], [radius * math.cos(a) for a in arc], "--", color=PALE, zorder=0)
    ax.text(0.99 * radius, 0.03 * radius, "as long as\npure noise", ha="right", fontsize=8, color="#57606a")
    for scale, (x, y) in tips.items():
        colour = {0: INK, 1: BLUE}.get(scale, ORANGE)
        ax.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0})
        ax.annotate(f"{scale:g}", (x, y), xytext=(0, 5), textcoords="offset points", fontsize=10, color=colour)
    right, top = (max(tip[k] for tip in tips.values()) for k in (0, 1))
    ax.update_datalim([(-0.05 * radius, 0), (max(1.1 * right, 0.3 * radius), 1.12 * max(top, radius))])
    ax.margins(0)
    ax.set_aspect("equal", adjustable="datalim")  # true to scale, and as large as the frame
    ax.set_xlabel("away from the guess without words", fontsize=9)
    ax.set_ylabel("along the guess without words", fontsize=9)
    ax.tick_params(labelsize=8)
    return open_axes(ax)


def figure_guesses(steps: Sequence[Step], at: int, scales: Sequence[float]) -> Figure:
    """The guesses of steps[at] as arrows; and at every step how long the first picture's are, and how far apart."""
    fig = new_figure(figsize=(10, 4.2))
    axes = fig.subplot_mosaic([["plane", "length"], ["plane", "angle"]], width_ratios=[1.1, 1])
    plot_guesses(steps[at], scales, ax=axes["plane"])
    axes["plane"].set_title(
        f"step {at}: the guided guess at guidance {', '.join(f'{s:g}' for s in scales)}", fontsize=10
    )
    pairs = [(step.noise_uncond[0].flatten(), step.noise_text[0].flatten()) for step in steps]
    xs = range(len(pairs))
    angles = [math.degrees(math.acos(min(1.0, float(torch.cosine_similarity(u, t, 0))))) for u, t in pairs]
    lengths = {
        "prompt − empty": (xs, [float((t - u).norm()) for u, t in pairs]),
        "prompt": (xs, [float(t.norm()) for _, t in pairs]),
    }
    plot_curves(lengths, "", "length of the arrow", ax=axes["length"])
    plot_curves({"angle": (xs, angles)}, "step", "angle between the\ntwo guesses (°)", ax=axes["angle"])
    for name in ("length", "angle"):
        axes[name].set(xticks=range(0, len(pairs), 5), ylim=(0, None))
    apart, whole = (lengths[name][1] for name in ("prompt − empty", "prompt"))
    fig.words = (
        f"Left: arrows from one point, the two guesses of step {at} and the guided ones, {angles[at]:.1f} degrees "
        f"between the two. Right, over {len(pairs)} steps: the difference goes from {apart[0]:.1f} to {apart[-1]:.1f}, "
        f"the prompt's guess from {whole[0]:.1f} to {whole[-1]:.1f}; the angle from {angles[0]:.1f} to "
        f"{angles[-1]:.1f} degrees."
    )
    return fig
