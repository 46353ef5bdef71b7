"""Guided UNet steps: from noise and text embeddings to the latents of a picture, one Step after another."""

from __future__ import annotations

import copy
import inspect
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

import torch

from . import checks
from .embeddings import embed, embed_texts, pair
from .figures import BLUE, INK, ORANGE, PALE, new_figure, open_axes, plot_curves
from .latents import as_latents, as_seeds, check_generator, check_size, initial_noise, seeded
from .loading.errors import first_line
from .loading.fit import PREDICTIONS
from .models import BadInput, StableDiffusion
from .sigmas import derivative, lms_coefficients, lms_step, pred_original, scale_input
from .tokens import as_prompts, tokenize, warn_of_unknown_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: The least share of the picture's variance, where a schedule leaves none: sigma is 4096 then, as in diffusers' Euler.
_LEAST_ABAR = 2**-24


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


@dataclass(frozen=True)
class Steering:
    """What takes a hand in a run on its way (lesson 08); the default leaves it alone, to the last bit.

    `change(x, sigma)` gives other latents x = picture + sigma * noise, before the first step and after each one (the
    last time at sigma 0). `interval` = (low, high): guidance counts where low < sigma <= high, and (0, inf) is
    everywhere; elsewhere the prompt's plain guess is taken, at half the work. `loss` makes one number of the predicted
    original (batch, 4, h/8, w/8), which is then moved by sigma^2 / (sigma^2 + 1) times the loss's gradient, downhill.
    Raises BadInput for what is no function, and for an interval that is no pair of numbers.
    """

    change: Callable[[torch.Tensor, float], torch.Tensor] | None = None
    interval: tuple[float, float] = (0.0, math.inf)
    loss: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self):
        for name in ("change", "loss"):
            if not (getattr(self, name) is None or callable(getattr(self, name))):
                raise BadInput(f"Steering's {name} is a function, not {checks.told(getattr(self, name))}.")
        ends = tuple(self.interval) if isinstance(self.interval, Sequence) else ()
        if len(ends) != 2 or not all(isinstance(end, Real) and end == end for end in ends):
            raise BadInput(f"Steering's interval is two noise levels, (low, high), not {checks.told(self.interval)}.")

    def guides(self, sigma: float | None = None) -> bool:
        """Does guidance count at `sigma`, or (None) at every noise level?"""
        low, high = self.interval
        return (low <= 0 and high == math.inf) or (sigma is not None and low < sigma <= high)


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
    checks.part(sd, "a Stable Diffusion, as `load` gives it", "unet")
    prompts = as_prompts(prompt)
    negatives = pair(prompts, negative_prompt)[: len(prompts)]
    _check_scheduler(sd.scheduler)
    most = sd.scheduler.config.num_train_timesteps
    steps = checks.whole(num_inference_steps, "number of steps", 1, most)
    scale = sd.guidance_scale if guidance_scale is None else guidance_scale
    if abs(scale := checks.number(scale, "guidance scale")) > checks.MOST_GUIDANCE:
        raise BadInput(f"The guidance scale must lie between -1e6 and 1e6: {scale:g} would overflow.")
    height, width = (own if side is None else side for side, own in zip((height, width), sd.size, strict=True))
    check_size(height, width, sd.vae_factor)
    return Settings(tuple(prompts), tuple(negatives), steps, scale, int(height), int(width))


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
    steering: Steering = Steering(),
    order: int = 4,
    progress: bool = False,
) -> Iterator[Step]:
    """Turn noise into the latents of one picture for each prompt, step by step; the last Step's `latents` are decoded.

    Works with any of diffusers' schedulers for Stable Diffusion as `sd.scheduler` (a copy is used). Default size and
    `guidance_scale` are the model's own. Noise: `latents` of spread 1 (batch, 4, h/8, w/8) if given, else drawn from
    `generator`, else from `seed`, on the CPU; a list of either gives each picture its own. `text_embeddings`, (2 *
    batch, 77, dim), replace those of negative_prompt and prompt. With `start` that many steps are left out, and
    `latents` are those before the next one, as Step.noisy. `order` is that of K-LMS; `progress` shows a bar.
    Schedulers of second order call the UNet, and yield, more than num_inference_steps times. Raises BadInput at once,
    before the first step. Words that a model of a closed world never read are named by an UnknownWordsWarning.
    """
    run = settle(sd, prompt, negative_prompt, num_inference_steps, guidance_scale, height, width)
    steering = as_steering(steering)
    generator = seeded(seed) if generator is None else generator
    check_generator(generator)
    if not 0 <= checks.whole(start, "start") <= run.num_inference_steps:
        raise BadInput(f"A run of {run.num_inference_steps} steps can start at 0 to that number, not at {start!r}.")
    if start and latents is None:
        raise BadInput("A run that starts on its way needs the latents that it starts from.")
    solver = _solver(sd, run.num_inference_steps, checks.whole(order, "order"), generator, start)
    x = _noise(sd, run, latents, generator).to(sd.unet.device, torch.float32)
    x = x if start else x * float(solver.scheduler.init_noise_sigma)
    embeddings = _embeddings(sd, run, text_embeddings, steering)
    if text_embeddings is None:
        warn_of_unknown_words(sd, run.prompts + run.negative_prompts)
    if progress:
        from tqdm import tqdm

        solver.times = tqdm(solver.times)
    return _descend(sd, solver, x, embeddings, run.guidance_scale, steering)


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
    if text_embeddings is None:
        warn_of_unknown_words(sd, run.prompts + run.negative_prompts)
    own, wanted = text_embeddings, "(2 * batch, tokens, dim)"
    embeddings = embed(sd.text_encoder, ids) if own is None else checks.tensor(own, "text embeddings", wanted, 3)
    steps = tuple(denoise(sd, prompt, seed=seed, text_embeddings=embeddings, **options))
    seeds = as_seeds(seed)
    seeds = seeds if isinstance(seeds, list) else [seeds] * len(run.prompts)
    settings = vars(run) | {
        "prompts": list(run.prompts),
        "negative_prompts": list(run.negative_prompts),
        "seeds": seeds if options.get("generator") is None and options.get("latents") is None else None,
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
    shape, latents = (batch, channels, run.height // factor, run.width // factor), as_latents(latents)
    if latents.shape != shape:
        raise BadInput(f"The latents must have the shape {shape}, not {tuple(latents.shape)}.")
    return latents


def _embeddings(sd: StableDiffusion, run: Settings, given: torch.Tensor | None, steering: Steering) -> torch.Tensor:
    """Those rows of [negative, prompt] that the guidance scale needs: both halves, or at scale 1 and 0 only one."""
    batch, scale = len(run.prompts), run.guidance_scale
    rows = slice(batch, None) if scale == 1 else slice(batch) if scale == 0 else slice(None)
    if not steering.guides():
        rows = slice(None)
    if given is None:
        return embed_texts(sd, (run.negative_prompts + run.prompts)[rows])
    given = checks.tensor(given, "text embeddings", "(2 * batch, tokens, dim)", 3)
    if len(given) != 2 * batch:
        raise BadInput(f"{batch} prompts need {2 * batch} text embeddings, not {len(given)}.")
    if given.shape[2] != sd.unet.config.cross_attention_dim:
        raise BadInput(f"The UNet reads vectors of {sd.unet.config.cross_attention_dim} numbers, not {given.shape[2]}.")
    return given[rows]


def as_steering(value: Steering | None) -> Steering:
    """The steering, None being no hand in the run; raises BadInput for anything else."""
    if not isinstance(value, Steering | None):
        raise BadInput(f"The steering is a sdlesson.guidance.Steering, not {checks.told(value)}.")
    return Steering() if value is None else value


def _descend(sd: StableDiffusion, solver, x: torch.Tensor, embeddings: torch.Tensor, scale: float, steering: Steering):
    """Yield the Steps; `embeddings` holds both halves, or the one that `scale` needs."""
    dtype = sd.unet.dtype
    embeddings = embeddings.to(sd.unet.device, dtype)
    x = _changed(steering, solver, x, 0)
    for i, timestep in enumerate(solver.times):
        sigma, scaled = solver.sigma(i), solver.look(x, i)
        now = scale if steering.guides(sigma) else 1.0
        texts = embeddings[-len(x) :] if now == 1 else embeddings[: len(x)] if now == 0 else embeddings
        halves = len(texts) // len(x)
        twice = torch.cat([scaled] * halves).to(dtype)  # (batch, 4, h, w) -> (2 * batch, 4, h, w)
        output = _unet(sd.unet, twice, solver.scheduler.timesteps[solver.start + i], texts)
        uncond, text = output.chunk(2) if halves == 2 else (output if now == 0 else None, output if now else None)
        # Latents of spread 1 are brought to the scale x0 + sigma * noise first: one formula for all schedulers.
        unscaled = scaled * (sigma**2 + 1) ** 0.5
        guided = _pulled(steering, solver, unscaled, guide(uncond, text, now), sigma)
        original = pred_original(unscaled, guided, sigma, solver.prediction_type)
        before, x = x, solver.step(guided, original, i, x)
        x = _changed(steering, solver, x, i + 1)
        yield Step(i, timestep, sigma, x, uncond, text, guided, original, before)


def _changed(steering: Steering, solver, x: torch.Tensor, i: int) -> torch.Tensor:
    """What `steering.change` makes of the latents before step i (after the last step: at sigma 0)."""
    if steering.change is None:
        return x
    sigma = solver.sigma(i) if i < len(solver.times) else 0.0
    shrink = (sigma**2 + 1) ** 0.5 if solver.scheduler.init_noise_sigma == 1 else 1.0  # latents of spread 1
    changed = steering.change(x * shrink, sigma)
    if not isinstance(changed, torch.Tensor) or changed.shape != x.shape or not changed.is_floating_point():
        raise BadInput(f"Steering's change gives back latents {tuple(x.shape)}, not {checks.told(changed)}.")
    return changed.to(x) / shrink


def _pulled(steering: Steering, solver, x: torch.Tensor, guided: torch.Tensor, sigma: float) -> torch.Tensor:
    """The UNet's output changed so that its predicted original goes down the slope of `steering.loss`.

    The way is sigma^2 / (sigma^2 + 1) times the gradient: classifier guidance (Dhariwal and Nichol 2021, algorithm 2)
    for a guess of x0 that follows x as 1 / (sigma^2 + 1), as the best guess of latents of spread 1 does.
    """
    if steering.loss is None:
        return guided
    original = pred_original(x, guided, sigma, solver.prediction_type).detach().requires_grad_()
    with torch.enable_grad():
        loss = steering.loss(original)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise BadInput("Steering's loss gives back one number, a tensor made from the predicted original.")
        (gradient,) = torch.autograd.grad(loss, original)
    root = (sigma**2 + 1) ** 0.5
    weights = {"epsilon": sigma / root**2, "sample": -((sigma / root) ** 2), "v_prediction": sigma / root}
    return guided + weights[solver.prediction_type] * gradient


def _unet(unet, x: torch.Tensor, timestep: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """One UNet call without gradients, as an ordinary float32 tensor, free for any use."""
    with torch.inference_mode():
        output = unet(x, timestep, encoder_hidden_states=embeddings, return_dict=False)[0]
    return output.to(torch.float32, copy=True)  # outside of inference mode: a tensor that autograd accepts again


def _solver(sd: StableDiffusion, steps: int, order: int, generator, start: int = 0):
    """The way down for `sd.scheduler`, on a copy of it: exact K-LMS, or the scheduler's own `step`.

    The first `start` steps are left out.
    """
    from diffusers import LMSDiscreteScheduler

    scheduler = copy.deepcopy(sd.scheduler)
    try:
        scheduler.set_timesteps(steps, device=sd.unet.device)
    except ValueError as error:  # as LCM's for more steps than it was distilled for
        raise BadInput(f"{type(scheduler).__name__} cannot take {steps} steps: {first_line(error)}") from None
    if not torch.isfinite(torch.as_tensor(getattr(scheduler, "sigmas", 0.0))).all():
        raise BadInput(f"{type(scheduler).__name__} has a noise level that is not finite; it needs other betas.")
    if scheduler.timesteps[0] < scheduler.timesteps[-1]:
        raise BadInput(f"{type(scheduler).__name__} goes from the picture to the noise; denoise needs the way back.")
    if type(scheduler) is LMSDiscreteScheduler:
        return _ExactLMS(scheduler, order, start)
    return _AnyScheduler(scheduler, generator, start)


def _check_scheduler(scheduler) -> None:
    """Raise BadInput unless the scheduler's noise is that of a Stable Diffusion, and its UNet can predict with it."""
    name, config = type(scheduler).__name__, scheduler.config
    if not hasattr(scheduler, "alphas_cumprod"):
        raise BadInput(f"{name} is no scheduler for Stable Diffusion: it has no alphas_cumprod.")
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


class _ExactLMS:
    """K-LMS whose coefficients are integrated exactly, once, before the first step."""

    def __init__(self, scheduler, order: int, start: int):
        self.scheduler, self.start = scheduler, start
        self.prediction_type = scheduler.config.prediction_type
        self.times, self.sigmas = scheduler.timesteps[start:].tolist(), scheduler.sigmas[start:].tolist()
        self.weights = [lms_coefficients(self.sigmas, i, order) for i in range(len(self.times))]
        self.slopes = deque(maxlen=order)

    def sigma(self, i: int) -> float:
        """The noise level before step i."""
        return self.sigmas[i]

    def look(self, x, i: int):
        """x as the UNet wants to see it."""
        return scale_input(x, self.sigmas[i])

    def step(self, output, original, i: int, x):
        """The latents at the next noise level."""
        epsilon = self.prediction_type == "epsilon"  # then dx/dsigma is the output itself
        self.slopes.appendleft(output if epsilon else derivative(x, original, self.sigmas[i]))
        return lms_step(x, self.slopes, self.weights[i])


class _AnyScheduler:
    """Any other scheduler of diffusers, through its own methods."""

    def __init__(self, scheduler, generator, start: int):
        self.scheduler, self.start = scheduler, start * scheduler.order  # one of second order has two times a step
        self.prediction_type = scheduler.config.prediction_type
        self.times = scheduler.timesteps[self.start :].tolist()
        accepted = inspect.signature(scheduler.step).parameters
        # as StableDiffusionPipeline does: no fresh noise (eta) where the scheduler leaves the choice
        self.extra = {name: value for name, value in (("generator", generator), ("eta", 0.0)) if name in accepted}
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(self.start)

    def sigma(self, i: int) -> float:
        """The noise level of call i: the scheduler's own, else sqrt((1 - abar) / abar) at the timestep."""
        levels = getattr(self.scheduler, "sigmas", None)
        if levels is None or len(levels) < self.start + len(self.times):
            abar = float(self.scheduler.alphas_cumprod[round(float(self.scheduler.timesteps[self.start + i]))])
            abar = max(abar, _LEAST_ABAR)
            return ((1 - abar) / abar) ** 0.5
        own = levels[self.start + i].flatten().cpu()
        if getattr(self.scheduler, "state_in_first_order", True):
            return float(own)
        # The second call of a scheduler of second order may be between two levels: it is the one that it divides by.
        between = [getattr(self.scheduler, name, None) for name in ("sigmas_interpol", "mid_point_sigma")]
        found = torch.cat([own, *(each.flatten().cpu() for each in between if each is not None)]).nan_to_num()
        return float(found[((found**2 + 1) ** -0.5 - self.look(torch.ones(()), i)).abs().argmin()])

    def look(self, x, i: int):
        """x as the UNet wants to see it."""
        return self.scheduler.scale_model_input(x, self.scheduler.timesteps[self.start + i])

    def step(self, output, original, i: int, x):
        """The latents at the next noise level."""
        timestep = self.scheduler.timesteps[self.start + i]
        try:
            return self.scheduler.step(output, timestep, x, return_dict=False, **self.extra)[0]
        except NotImplementedError as error:  # some know no UNet that predicts the sample
            raise BadInput(f"{type(self.scheduler).__name__} cannot paint with this model: {error}.") from None


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
