"""The last page: a stethoscope for any painting program, the vital signs of a run, and patients with one fault each."""

from __future__ import annotations

import contextlib
import inspect
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from diffusers import LMSDiscreteScheduler

from .decoding import paint_latents, to_pil
from .embeddings import embed_texts, text_embeddings
from .guidance import denoise
from .latents import as_seeds, initial_noise, seeded
from .loading import checks
from .loading.errors import BadInput
from .models import StableDiffusion
from .sigmas import training_sigmas

if TYPE_CHECKING:
    from PIL.Image import Image


class Call(NamedTuple):
    """What one UNet call was told and what it answered; tensors float32 on the CPU, the batch as it went in."""

    timestep: float
    seen: torch.Tensor  # (batch, 4, h/8, w/8), after scale_model_input
    texts: torch.Tensor  # (batch, 77, dim)
    guess: torch.Tensor  # (batch, 4, h/8, w/8)


@dataclass(eq=False)
class Chart:
    """What `listen` heard: every UNet call, and what went into the decoder and came out of it, in order."""

    empty: torch.Tensor = field(repr=False)  # the empty prompt's embeddings, (77, dim)
    calls: list[Call] = field(default_factory=list, repr=False)
    latents: list[torch.Tensor] = field(default_factory=list, repr=False)  # scaled: of spread 1 in a healthy run
    pixels: list[torch.Tensor] = field(default_factory=list, repr=False)  # (n, 3, height, width), about -1 ... 1

    def pictures(self) -> list[Image]:
        """The decoded pictures; those that are not finite are black. Raises BadInput where none was decoded."""
        if not self.pixels:
            raise BadInput("No picture was decoded while this chart was kept.")
        return to_pil(torch.cat(self.pixels).nan_to_num(-1.0, -1.0, -1.0))

    def of(self, k: int) -> Chart:
        """The chart of picture k alone, out of a guided batch [empty ..., prompt ...], or of one without guidance."""
        one = Chart(self.empty)
        for call in self.calls:
            rows = [k, len(call.seen) // 2 + k] if _guided(call) else [k]
            one.calls.append(Call(call.timestep, call.seen[rows], call.texts[rows], call.guess[rows]))
        one.latents, one.pixels = ([torch.cat(values)[k : k + 1]] for values in (self.latents, self.pixels))
        return one


@contextlib.contextmanager
def listen(sd: StableDiffusion) -> Iterator[Chart]:
    """Note what goes in and out of the UNet and the decoder of `sd`, whichever program calls them, into a Chart.

    Nothing is changed: these are forward hooks, which are taken off at the end. Raises BadInput in a UNet call whose
    latents stand at several timesteps, as in training.
    """
    chart = Chart(embed_texts(sd, [""])[0].float().cpu())
    arguments = inspect.signature(sd.unet.forward)

    def unet(module, args, kwargs, output):
        given = arguments.bind(*args, **kwargs).arguments
        tensors = (given["sample"], given["encoder_hidden_states"], output[0])
        seen, texts, guess = (each.detach().float().cpu().clone() for each in tensors)
        timesteps = torch.as_tensor(given["timestep"]).unique()
        if len(timesteps) > 1:
            raise BadInput(f"listen follows one painting, not latents at {len(timesteps)} timesteps in one call.")
        chart.calls.append(Call(float(timesteps), seen, texts, guess))

    def latents(module, args):
        chart.latents.append(args[0].detach().float().cpu() * sd.vae.config.scaling_factor)

    def pixels(module, args, output):
        chart.pixels.append(output.detach().float().cpu().clone())

    first = sd.vae.post_quant_conv or sd.vae.decoder  # where the latents enter; a VAE may lack post_quant_conv
    hooks = [
        sd.unet.register_forward_hook(unet, with_kwargs=True),
        first.register_forward_pre_hook(latents),
        sd.vae.decoder.register_forward_hook(pixels),
    ]
    try:
        yield chart
    finally:
        for hook in hooks:
            hook.remove()


def input_spread(chart: Chart) -> list[float]:
    """The standard deviation of what the UNet saw at each call. It was trained on about 1."""
    return [float(call.seen.std()) for call in chart.calls]


def signs(chart: Chart) -> dict[str, float]:
    """The vital signs of a guided run, in the order in which the data flows; nan where there is nothing to measure.

    Spreads are standard deviations, "prompt's say" is |text - uncond| / |uncond|, a mean over the calls. The picture's
    are in levels of 255; "cut off" is the share of values more than 5 levels beyond black or white, "roughness" the
    mean step between neighbours / contrast, "seeds apart" the mean difference of the first and the last picture. Raises
    BadInput for a chart without a UNet call or a decoded picture.
    """
    if not chart.calls or not chart.pixels:
        raise BadInput("The signs are those of a whole run: at least one UNet call, and a decoded picture.")
    first, last = chart.calls[0], chart.calls[-1]
    half = len(first.texts) // 2 if _guided(first) else 0
    latents, pixels = torch.cat(chart.latents), 127.5 * (torch.cat(chart.pixels) + 1)
    shown = pixels.clamp(0, 255)
    neighbours = (shown.diff(dim=-1).abs().mean() + shown.diff(dim=-2).abs().mean()) / 2
    everything = [call.guess for call in chart.calls] + [latents, pixels]
    values = {
        "text 1 − empty": (first.texts[:half] - chart.empty).abs().max() if half else math.nan,
        "UNet calls": len(chart.calls),
        "timestep, first": first.timestep,
        "timestep, last": last.timestep,
        "input, first": first.seen.std(),
        "input, last": last.seen.std(),
        "prompt's say": np.mean([_say(call) for call in chart.calls]),
        "latents, end": latents.std(),
        "not finite, %": 100 - 100 * np.mean([float(each.isfinite().float().mean()) for each in everything]),
        "cut off, %": 100 * ((pixels - 127.5).abs() > 132.5).float().mean(),
        "brightness": shown.mean(),
        "contrast": shown.std(),
        "roughness": neighbours / shown.std(),
        "seeds apart": (shown[0] - shown[-1]).abs().mean() if len(shown) > 1 else math.nan,
    }
    return {name: float(value) for name, value in values.items()}


def _guided(call: Call) -> bool:
    """Is the batch the same latents twice: once for the empty prompt, once for yours?"""
    half = len(call.seen) // 2
    return len(call.seen) == 2 * half and torch.equal(call.seen[:half].nan_to_num(), call.seen[half:].nan_to_num())


def _say(call: Call) -> float:
    """How far apart the two guesses are, as a share of the first; nan where the batch is not the same latents twice."""
    if not _guided(call):
        return math.nan
    half = len(call.seen) // 2
    return float((call.guess[half:] - call.guess[:half]).norm() / call.guess[:half].norm())


def short(value: float) -> str:
    """A sign in two digits, a dash where there is nothing to measure."""
    return "–" if math.isnan(value) else f"{value:.0f}" if abs(value) >= 99.5 else f"{0 if value < 5e-4 else value:.2g}"


def report(patients: Mapping[str, Chart], only: Sequence[str]) -> str:
    """A table in plain text: one line for each patient, one column for each of the signs `only`."""
    wide = max(map(len, patients))
    lines = [" " * wide + "".join(f"  {name:>14}" for name in only)]
    for patient, chart in patients.items():
        found = signs(chart)
        lines.append(f"{patient:{wide}}" + "".join(f"  {short(found[name]):>14}" for name in only))
    return "\n".join(lines)


def off(name: str, sign: float, healthy: float) -> float:
    """How often sign `name` has doubled (above 0) or halved (below 0) as against the healthy one; nan where it is nan.

    Less than 0.01, or half a percent, counts as that much: nothing is divided by 0, and a trifle is not a change.
    """
    if math.isnan(sign) or math.isnan(healthy):
        return math.nan
    floor = 0.5 if name.endswith("%") else 0.01
    return math.log2(max(abs(sign), floor) / max(abs(healthy), floor))


@contextlib.contextmanager
def bend(unet, change: Callable | None):
    """Let the UNet see `change(latents, timestep, round)` -> (latents, timestep) instead of what it is given."""
    rounds = count()

    def before(module, args, kwargs):
        latents, timestep, *rest = args
        return (*change(latents, timestep, next(rounds)), *rest), kwargs

    hook = unet.register_forward_pre_hook(before, with_kwargs=True) if change else None
    try:
        yield
    finally:
        if hook:
            hook.remove()


def _counting(latents, timestep, i):
    """For `bend`: the number of the call in the timestep's place."""
    return latents, torch.full_like(timestep, i)


#: What may be wrong with a patient: cause -> what (model, prompts) change in a healthy run. `weakened` divides the
#: noise, `change` is for `bend`, so many steps are `left_out`, and `times` multiplies the latents before decoding; the
#: rest are options of `denoise`.
FAULTS: dict[str, Callable[[StableDiffusion, list[str]], dict]] = {
    "halves swapped": lambda sd, all_: {"text_embeddings": text_embeddings(sd, all_).roll(len(all_), dims=0)},
    "prompt twice": lambda _, prompts: {"negative_prompt": prompts},
    "weak start": lambda sd, _: {"weakened": float(sd.scheduler.init_noise_sigma)},
    "input not scaled": lambda sd, _: {"change": _unscaled(sd)},
    "wrong timestep": lambda *_: {"change": _counting},
    "too much guidance": lambda sd, _: {"guidance_scale": 3 * sd.guidance_scale},
    "too few steps": lambda *_: {"num_inference_steps": 2},
    "stopped early": lambda *_: {"left_out": 3},
    "not divided": lambda sd, _: {"times": sd.vae.config.scaling_factor},
}
CAUSES = tuple(FAULTS)


def fall_ill(
    sd: StableDiffusion,
    prompt: str,
    cause: str | None = None,
    *,
    seeds: Sequence[int] = (42, 43),
    num_inference_steps: int = 8,
) -> Chart:
    """Paint `prompt` once for each seed with one of CAUSES put in (None: healthy), and listen.

    Raises BadInput for another cause, for a scheduler that is not K-LMS, whose causes and steps these are, and for too
    few steps: "stopped early" leaves out the last three.
    """
    if not isinstance(sd.scheduler, LMSDiscreteScheduler):
        raise BadInput(f"The causes are those of K-LMS; this model has {type(sd.scheduler).__name__}.")
    if cause is not None and cause not in FAULTS:
        raise BadInput(f"No such cause: {cause!r}; there are {', '.join(CAUSES)}.")
    checks.whole(num_inference_steps, "number of steps", 4 if cause == "stopped early" else 1)
    seeds = as_seeds(seeds, 1)
    prompts, (height, width) = [prompt] * len(seeds), sd.size
    run = {"num_inference_steps": num_inference_steps, "weakened": 1.0, "change": None, "left_out": 0, "times": 1.0}
    run |= FAULTS[cause](sd, prompts) if cause else {}
    weakened, change, left_out, times = (run.pop(name) for name in ("weakened", "change", "left_out", "times"))
    channels, factor = sd.unet.config.in_channels, sd.vae_factor
    noise = initial_noise(len(seeds), height, width, generator=seeded(seeds), channels=channels, factor=factor)
    with listen(sd) as chart, bend(sd.unet, change):
        steps = denoise(sd, prompts, latents=noise / weakened, **run)
        *_, last = islice(steps, run["num_inference_steps"] - left_out)
        paint_latents(sd, last.latents * times)
    return chart


def _unscaled(sd: StableDiffusion) -> Callable:
    """For `bend`: what scale_model_input divided by, sqrt(sigma^2 + 1), is multiplied back."""
    levels = training_sigmas(sd.scheduler.alphas_cumprod)

    def change(latents, timestep, i):
        sigma = np.interp(float(timestep), np.arange(len(levels)), levels)
        return latents * (sigma**2 + 1) ** 0.5, timestep

    return change


def hidden_cause(number: int) -> str:
    """What is wrong with mystery `number`, 1, 2 ...: each of CAUSES once in as many mysteries, in a seeded order.

    Raises BadInput for what is no whole number from 1 on.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadInput(f"Mysteries are numbered 1, 2, 3 ...; there is no {checks.told(number)}.")
    around, place = divmod(number - 1, len(CAUSES))
    return random.Random(3 + around).sample(CAUSES, len(CAUSES))[place]


def mystery(sd: StableDiffusion, number: int, prompt: str, **options) -> Chart:
    """The chart of a run with a fault that only `hidden_cause(number)` knows; `options` are those of `fall_ill`.

    Raises BadInput for a number below 1.
    """
    return fall_ill(sd, prompt, hidden_cause(number), **options)
