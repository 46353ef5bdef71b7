"""Explorers over recorded Steps, each one line in a notebook. What they are made of stands in `explorer`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from functools import cache, partial
from html import escape

import ipywidgets
import torch

from .attention import Heat, word_positions
from .decoding import decode, paint_latents, to_pil
from .embeddings import embed
from .explorer import (
    COLOURS,
    NARROW,
    WIDE,
    WRAPPED,
    Explorer,
    Painting,
    Plot,
    in_a_row,
    map_picture,
    picture_source,
    tile,
)
from .figures import SEQUENTIAL
from .guidance import Step, Trace, denoise
from .models import BadInput, StableDiffusion
from .samplers import karras_sigmas
from .sigmas import alphas_cumprod, betas, lms_coefficients, schedule, training_sigmas
from .slider import Slider
from .tokens import context_length, cut_words, pieces, token_ids, tokenize


def explore_steps(sd: StableDiffusion, trace: Trace) -> Explorer:
    """Step explorer: slide or play through a recorded run and see what the loop holds, hears and expects at each step.

    Shown are one channel of the noisy latents, of the predicted noise and of the predicted original, the predicted
    original decoded, and the step's sigma on its curve.
    """
    steps = trace.steps
    expected = _expected(sd, trace)
    sigmas = [step.sigma for step in steps]
    curve = Plot((2.9, 2.2), xlabel="step", ylabel="σ", xlim=(-0.5, len(steps) - 0.5), ylim=(0, 1.08 * max(sigmas)))

    def show(step: int, channel: int) -> str:
        now = steps[step]
        parts = {
            "noisy latents": now.noisy,
            "predicted noise": now.noise_pred,
            "predicted original": now.pred_original,
        }
        tiles = []
        for name, values in parts.items():
            values = values[0, channel]
            limit = float(values.abs().max())
            words = f"{name}, channel {channel}: {values.shape[0]} by {values.shape[1]} numbers up to {limit:.2f}"
            tiles.append(tile(map_picture(values, limit), f"{name}, ±{limit:.2f}", words, squares=True))
        tiles.append(tile(expected(step), "predicted, decoded", f"What the UNet expects at step {step}, decoded"))
        words = f"The curve of sigma over the steps; step {step} is marked, at {now.sigma:.2f}"
        mark = curve.tile({"σ": (range(len(steps)), sigmas)}, f"σ = {now.sigma:.2f}", words, mark=(step, now.sigma))
        heading = f"step {step}, of 0 to {len(steps) - 1}: timestep {now.timestep:.2f}, σ {now.sigma:.2f}"
        return f"<p><b>{heading}</b></p>" + in_a_row([*tiles, mark])

    slider = Slider("step", range(len(steps)), plays=True)
    channels = [(str(each), each) for each in range(steps[0].latents.shape[1])]
    channel = ipywidgets.Dropdown(options=channels, value=0, description="channel", style=WIDE, layout=NARROW)
    words = f"Step explorer: {len(steps)} recorded steps of “{trace.settings['prompts'][0]}”."
    return Explorer(words, {"step": slider, "channel": channel}, show)


def _expected(sd: StableDiffusion, trace: Trace):
    """step -> its first predicted original, decoded: small ones at once, others when they are first asked for."""

    @cache
    def expected(step: int):
        return paint_latents(sd, trace.steps[step].pred_original[:1])[0]

    if trace.steps[0].latents[0, 0].numel() <= 32 * 32:
        for step in range(len(trace.steps)):
            expected(step)
    return expected


def explore_tokens(sd: StableDiffusion, prompt: str, other: str = "") -> Explorer:
    """Token explorer: type a prompt, see its pieces, their ids and what is cut; compare it with a second one.

    Their likeness is the cosine of the two prompts' vectors at the end token, where CLIP reads a sentence.
    """
    length = context_length(sd.tokenizer)

    def show(prompt: str, other: str) -> str:
        rows = []
        for text in (prompt, other) if other else (prompt,):
            ids = token_ids(sd.tokenizer, text)[0]
            rows.append(_pieces_row(sd.tokenizer, ids, text))
        alike = (
            f"<p>Cosine of the two prompts at their end tokens: <b>{_cosine(sd, prompt, other):.3f}</b></p>"
            if other
            else ""
        )
        return "".join(rows) + alike

    def box(value, label):
        layout = ipywidgets.Layout(width="min(100%, 44em)")
        return ipywidgets.Text(value, description=label, style=WIDE, layout=layout, continuous_update=True)

    words = f"Token explorer: a prompt, its pieces and their ids, {length} places."
    return Explorer(words, {"prompt": box(prompt, "prompt"), "other": box(other, "compare with")}, show)


def _pieces_row(tokenizer, ids: torch.Tensor, text: str) -> str:
    """The pieces of one prompt as coloured chips with their ids, and a sentence about what is cut."""
    end = int((ids == tokenizer.eos_token_id).int().argmax())
    names = pieces(tokenizer, ids[: end + 1])
    chip = "display:inline-block;margin:2px;padding:2px 7px;border:2px solid {};border-radius:6px;text-align:center"
    chips = "".join(
        f'<li style="{chip.format(COLOURS[number % 4])}">{escape(name)}<br><small>{int(ids[number])}</small></li>'
        for number, name in enumerate(names)
    )
    lost = cut_words(tokenizer, text)
    cut = f" Cut off: “{' '.join(lost)}”." if lost else ""
    said = f"{end + 1} of {len(ids)} places are used, start and end included; the rest is padding.{cut}"
    style = "list-style:none;padding:0;margin:4px 0"
    return f'<ol aria-label="pieces of the prompt and their ids" style="{style}">{chips}</ol><p>{escape(said)}</p>'


def _cosine(sd: StableDiffusion, one: str, other: str) -> float:
    """The cosine of two prompts' vectors at their end tokens."""
    ids = token_ids(sd.tokenizer, [one, other])
    vectors = embed(sd.text_encoder, ids).float()
    ends = (ids == sd.tokenizer.eos_token_id).int().argmax(dim=1)
    a, b = vectors[torch.arange(2), ends.to(vectors.device)]
    return float(torch.cosine_similarity(a, b, dim=0))


def explore_sigmas() -> Explorer:
    """Sigma explorer: steps, schedule and order, and at once the noise levels and the weights of K-LMS.

    The first plot shows the levels on a logarithmic scale (the last one, 0, has no place on it), the second one the
    weights of the past slopes in each step, as multiples of that step. Both go from the first step to the last.
    """
    trained = {name: training_sigmas(alphas_cumprod(betas(beta_schedule=name))) for name in ("scaled_linear", "linear")}
    schedules = {name: partial(schedule, all_sigmas=levels) for name, levels in trained.items()}
    schedules["Karras's levels (lesson 09)"] = karras_sigmas
    way = {"xlabel": "way through the steps", "xlim": (-0.03, 1.03), "xticks": [0, 1], "xticklabels": ["first", "last"]}
    levels = Plot(**way, ylabel="noise level σ", ylim=(0.008, 250), yscale="log")
    shares = Plot(**way, ylabel="weight ÷ step", ylim=(-8.5, 7.5))

    def show(steps: int, levels_of: str, order: int) -> str:
        sigmas = schedules[levels_of](steps).tolist()
        at = [i / (steps - 1) for i in range(steps)]
        weights = [lms_coefficients(sigmas, i, order) / (sigmas[i + 1] - sigmas[i]) for i in range(steps)]
        curves = {}
        for back in range(min(order, steps)):
            name = f"slope {back} step{'s' * (back > 1)} ago" if back else "slope now"
            curves[name] = at[back:], [float(weights[i][back]) for i in range(back, steps)]
        fall = f"Noise levels of {steps} steps: from {sigmas[0]:.2f} to {sigmas[-2]:.3f}, then to 0"
        last = ", ".join(f"{share:+.2f}" for share in weights[-1])
        told = f"Weights of up to {len(curves)} slopes in each of {steps} steps; in the last one {last}"
        pair = [
            levels.tile({"σ": (at, sigmas[:-1])}, f"noise levels, {levels_of}", fall),
            shares.tile(curves, f"weights, order {order}", told),
        ]
        said = f"The last step goes from σ {sigmas[-2]:.4f} to 0. Its weights, newest slope first: {last}."
        return in_a_row(pair) + f"<p>{said}</p>"

    knobs = {
        "steps": Slider("steps", range(2, 61), 20),
        "levels_of": ipywidgets.Dropdown(options=list(schedules), description="schedule", style=WIDE),
        "order": Slider("order of K-LMS", range(1, 5), 4),
    }
    return Explorer("Sigma explorer: noise levels and the weights of K-LMS.", knobs, show)


def explore_guidance(sd: StableDiffusion, traces: Sequence[Trace]) -> Explorer:
    """Guidance explorer: recorded runs by guidance scale and seed; any other pair is painted on demand.

    `traces` are runs of one prompt and one number of steps, one or several pictures each. Shown are the picture, the
    largest latent, and how much of the picture was cut off at black and white. A run that is painted joins the rest.
    Raises BadInput where the traces have no seeds, or have different prompts.
    """
    if len({tuple(set(trace.settings["prompts"])) for trace in traces}) != 1:
        raise BadInput("The guidance explorer takes at least one recorded run, all of one prompt.")
    if any(trace.settings["seeds"] is None for trace in traces):
        raise BadInput("The guidance explorer takes runs that were recorded from a seed, not from given latents.")
    settings, painted = traces[0].settings, _Painted(sd, traces[0].settings["prompts"][0])
    for trace in traces:
        painted.keep(trace.steps[-1].latents, trace.settings["guidance_scale"], trace.settings["seeds"])

    def run():
        scale, seed, count = own_scale.value, own_seed.value, settings["num_inference_steps"]
        options = {"num_inference_steps": count, "negative_prompt": settings["negative_prompts"][0], "seed": seed}
        steps = denoise(sd, painted.prompt, guidance_scale=scale, **options)
        return steps, count, partial(done, scale, seed)  # the boxes may change meanwhile

    def done(scale: float, seed: int, steps: Sequence[Step]) -> None:
        painted.keep(steps[-1].latents, scale, [seed])
        scale_slider.choose_from(painted.scales, scale)
        seed_slider.choose_from(painted.seeds, seed)
        explorer.refresh()

    scale_slider = Slider("guidance", painted.scales)
    seed_slider = Slider("seed", painted.seeds)
    own_scale = ipywidgets.BoundedFloatText(5, min=-5, max=50, step=0.5, description="another guidance", style=WIDE)
    own_seed = ipywidgets.BoundedIntText(1, min=0, max=2**32 - 1, description="another seed", style=WIDE)
    painting = Painting("Paint", run, lambda sentence: explorer.say(sentence))
    own = ipywidgets.Box([own_scale, own_seed, painting.row], layout=WRAPPED)
    words = f"Guidance explorer: {len(painted.runs)} recorded runs of “{painted.prompt}”."
    explorer = Explorer(words, {"guidance": scale_slider, "seed": seed_slider}, painted.page, below=[own])
    explorer.painting, explorer.boxes = painting, (own_scale, own_seed)
    return explorer


class _Painted:
    """The pictures of one prompt, by guidance scale and seed."""

    def __init__(self, sd: StableDiffusion, prompt: str):
        self.sd, self.prompt = sd, prompt
        self.runs: dict[tuple[float, int], tuple[str, float, float]] = {}  # -> picture, largest latent, % cut off

    def keep(self, latents: torch.Tensor, scale: float, seeds: Sequence[int]) -> None:
        """Decode one picture for each seed, and keep them."""
        pixels = decode(self.sd.vae, latents)
        for seed, x, each, picture in zip(seeds, latents, pixels, to_pil(pixels), strict=True):
            cut = 100 * float((each.abs() > 1).float().mean())
            self.runs[scale, seed] = picture_source(picture), float(x.abs().max()), cut

    @property
    def scales(self) -> list[float]:
        """All guidance scales."""
        return sorted({scale for scale, _ in self.runs})

    @property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({seed for _, seed in self.runs})

    def page(self, guidance: float, seed: int) -> str:
        """The picture of one pair as HTML, or a sentence where it is not painted yet."""
        if (guidance, seed) not in self.runs:
            known = ", ".join(f"{scale:g}" for scale, other in sorted(self.runs) if other == seed)
            return f"<p>Seed {seed} is painted at guidance {known}. For {guidance:g}, type it below; press Paint.</p>"
        source, most, cut = self.runs[guidance, seed]
        title = f"guidance {guidance:g}, seed {seed}"
        row = in_a_row([tile(source, title, f"{self.prompt}, {title}", side=256)])
        return row + f"<p>Largest latent {most:.1f}; {cut:.1f} % of the picture's numbers were cut off.</p>"


def explore_attention(sd: StableDiffusion, trace: Trace, heat: Heat) -> Explorer:
    """Attention explorer: choose words, a step and a resolution, and see the heat on the picture of that step.

    `heat` was recorded during the run of `trace` (`with record_attention(sd.unet) as heat: trace = record(...)`). The
    heat of several words is added up; the colours end at its largest value. The picture is the predicted original.
    Raises BadInput where `heat` has another number of UNet calls than the run has steps.
    """
    if heat.calls != len(trace.steps):
        raise BadInput(f"The run has {len(trace.steps)} steps, but the heat was recorded at {heat.calls} UNet calls.")
    prompt = trace.settings["prompts"][0]
    places = _named_places(sd.tokenizer, prompt)
    expected = _expected(sd, trace)

    def show(words: tuple[str, ...], step: int, side: tuple[int, ...]) -> str:
        if not words:
            raise BadInput("Choose at least one word.")
        map_ = heat.of([place for word in words for place in places[word]], calls=step, side=side or None)
        most = float(map_.max())
        upon = picture_source(map_picture(map_, most, SEQUENTIAL))
        style = "position:absolute;inset:0;width:100%;height:100%;opacity:0.62;image-rendering:pixelated"
        names, size = ", ".join(words), f"{map_.shape[0]} × {map_.shape[1]} squares"
        row, column = divmod(int(map_.argmax()), map_.shape[1])
        told = f"Heat of {names} at step {step}, {size}: up to {most:.2f}, in row {row}, column {column}"
        over = f'<img src="{upon}" alt="" style="{style}">'
        tiles = [
            tile(expected(step).convert("L"), f"heat of {names}", told, side=256, over=over),
            tile(expected(step), f"expected at step {step}", f"What the UNet expects at step {step}", side=256),
        ]
        return in_a_row(tiles) + f"<p>{escape(told)}. Yellow is hot.</p>"

    sides = [
        ("all", ()),
        *((f"{rows} × {columns}", (rows, columns)) for rows, columns in sorted(set(heat.sides.values()))),
    ]
    first = tuple(places)[-3:-2]  # the last word
    knobs = {
        "words": ipywidgets.SelectMultiple(options=list(places), value=first, rows=8, description="words", style=WIDE),
        "step": Slider("step", range(len(trace.steps)), len(trace.steps) // 2, plays=True),
        "side": ipywidgets.Dropdown(options=sides, value=(), description="layers", style=WIDE, layout=NARROW),
    }
    return Explorer(f"Attention explorer: which squares listen to which word of “{prompt}”.", knobs, show)


def _named_places(tokenizer, prompt: str) -> dict[str, list[int]]:
    """The positions of each of the prompt's words that the model sees, of the marks at its ends, and of the padding."""
    ids = tokenize(tokenizer, prompt)[0].tolist()
    end = ids.index(tokenizer.eos_token_id)
    words = {}
    for word in dict.fromkeys(re.findall(r"\w+", prompt.lower())):
        with contextlib.suppress(BadInput):  # cut off
            words[word] = word_positions(tokenizer, prompt, word)
    return {"(start)": [0], **words, "(end)": [end], "(padding)": list(range(end + 1, len(ids)))}


def explore_two_prompts(sd: StableDiffusion, first: str, second: str, *, seed: int = 42) -> Explorer:
    """Two prompts, one noise: paint both at once, then slide through the steps and see where the pictures part.

    Nothing is painted before Paint is pressed. Shown at each step is the predicted original, decoded, and how far the
    two are apart: the share of their distance at the end.
    """
    seen: dict = {}

    def run():
        prompts = [first_box.value, second_box.value]
        steps = denoise(sd, prompts, seed=[seed_box.value] * 2)  # one seed for both: the same noise
        return steps, 20, partial(done, prompts)  # the boxes may change meanwhile

    def done(prompts, steps):
        expected = torch.stack([step.pred_original for step in steps])  # (steps, 2, 4, h/8, w/8)
        pictures = paint_latents(sd, expected.flatten(0, 1))
        apart = (expected[:, 0] - expected[:, 1]).flatten(1).norm(dim=1)
        seen.update(prompts=prompts, apart=(apart / apart[-1].clamp(min=1e-12)).tolist())
        seen["sources"] = [picture_source(each) for each in pictures]
        slider.choose_from(range(len(steps)), len(steps) - 1)
        explorer.refresh()

    def show(step: int) -> str:
        if not seen:
            return "<p>Press Paint.</p>"
        pair = zip(seen["prompts"], seen["sources"][2 * step : 2 * step + 2], strict=True)
        tiles = [
            tile(source, prompt, f"{prompt}: the picture that is expected at step {step}") for prompt, source in pair
        ]
        return in_a_row(tiles) + f"<p>Step {step}: {seen['apart'][step]:.0%} as far apart as at the end.</p>"

    wide = ipywidgets.Layout(width="min(100%, 44em)")
    first_box = ipywidgets.Text(first, description="first prompt", style=WIDE, layout=wide)
    second_box = ipywidgets.Text(second, description="second prompt", style=WIDE, layout=wide)
    seed_box = ipywidgets.BoundedIntText(seed, min=0, max=2**32 - 1, description="seed", style=WIDE)
    slider = Slider("step", range(20), plays=True)
    painting = Painting("Paint", run, lambda sentence: explorer.say(sentence))
    words = "Two prompts, the same noise: where do the pictures part?"
    explorer = Explorer(words, {"step": slider}, show, above=[first_box, second_box, seed_box, painting.row])
    explorer.painting, explorer.boxes = painting, (first_box, second_box, seed_box)
    return explorer
