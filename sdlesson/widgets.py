"""Explorers over recorded Steps, each one line in a notebook. What they are made of stands in `explorer`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from html import escape

import ipywidgets
import torch

from .decoding import paint_latents
from .embeddings import embed_texts
from .explorer import WIDE, Explorer, Painting, figure_source, in_a_row, map_picture, picture_source, tile
from .figures import BLUE, GREEN, ORANGE, PINK, new_figure, open_axes
from .guidance import Trace, denoise
from .models import StableDiffusion
from .sigmas import alphas_cumprod, betas, lms_coefficients, schedule, training_sigmas
from .tokens import TruncationWarning, context_length, cut_words, pieces, tokenize

_COLOURS = (BLUE, ORANGE, GREEN, PINK)


def explore_steps(sd: StableDiffusion, trace: Trace) -> Explorer:
    """Step explorer: slide or play through a recorded run and see what the loop holds, hears and expects at each step.

    Shown are one channel of the noisy latents, of the predicted noise and of the predicted original, the predicted
    original decoded, and the step's sigma on its curve.
    """
    steps = trace.steps
    expected = [
        picture_source(each) for each in paint_latents(sd, torch.cat([step.pred_original[:1] for step in steps]))
    ]
    curve = _SigmaCurve([step.sigma for step in steps])

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
        tiles.append(
            tile(expected[step], "predicted original, decoded", f"What the UNet expects at step {step}, decoded")
        )
        heading = f"step {step} of {len(steps)}: timestep {now.timestep:.2f}, σ {now.sigma:.2f}"
        return f"<p><b>{heading}</b></p>" + in_a_row([*tiles, curve.tile(step)])

    slider = ipywidgets.IntSlider(0, 0, len(steps) - 1, description="step", style=WIDE, continuous_update=True)
    play = ipywidgets.Play(value=0, min=0, max=len(steps) - 1, interval=400, description="play the steps")
    ipywidgets.jslink((play, "value"), (slider, "value"))
    channels = [(str(each), each) for each in range(steps[0].latents.shape[1])]
    channel = ipywidgets.Dropdown(options=channels, value=0, description="channel", style=WIDE)
    words = f"Step explorer: {len(steps)} recorded steps of “{trace.settings['prompts'][0]}”."
    return Explorer(words, {"step": slider, "channel": channel}, show, below=[play])


class _SigmaCurve:
    """The curve of the sigmas, drawn once; the browser lays a mark upon it."""

    def __init__(self, sigmas: Sequence[float]):
        self.sigmas = list(sigmas)
        fig = new_figure(figsize=(2.6, 2.0))
        ax = open_axes(fig.subplots())
        ax.plot(self.sigmas, color=ORANGE)
        ax.set(xlabel="step", ylabel="σ")
        self.source = figure_source(fig)
        fig.draw_without_rendering()  # lays the axes out: now each sigma has its place
        shares = fig.transFigure.inverted().transform(ax.transData.transform(list(enumerate(self.sigmas))))
        self.places = [(100 * x, 100 - 100 * y) for x, y in shares]  # % from the left, % from the top

    def tile(self, step: int) -> str:
        """The curve with the step's sigma marked."""
        left, top = self.places[step]
        dot = f"position:absolute;left:calc({left:.2f}% - 6px);top:calc({top:.2f}% - 6px);width:12px;height:12px"
        mark = f'<span style="{dot};border-radius:50%;background:{BLUE}"></span>'
        sigma = self.sigmas[step]
        words = f"Curve of sigma over the steps; step {step} is marked, at {sigma:.2f}"
        return tile(self.source, f"σ = {sigma:.2f}", words, side=230, over=mark)


def explore_tokens(sd: StableDiffusion, prompt: str, other: str = "") -> Explorer:
    """Token explorer: type a prompt, see its pieces, their ids and what is cut; compare it with a second one.

    Their likeness is the cosine of the two prompts' vectors at the end token, where CLIP reads a sentence.
    """
    length = context_length(sd.tokenizer)

    def show(prompt: str, other: str) -> str:
        rows = []
        for text in (prompt, other) if other else (prompt,):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TruncationWarning)
                ids = tokenize(sd.tokenizer, text)[0]
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
        f'<li style="{chip.format(_COLOURS[number % 4])}">{escape(name)}<br><small>{int(ids[number])}</small></li>'
        for number, name in enumerate(names)
    )
    lost = cut_words(tokenizer, text)
    cut = f" Cut off: “{' '.join(lost)}”." if lost else ""
    said = f"{end + 1} of {len(ids)} places are used, start and end included; the rest is padding.{cut}"
    style = "list-style:none;padding:0;margin:4px 0"
    return f'<ol aria-label="pieces of the prompt and their ids" style="{style}">{chips}</ol><p>{escape(said)}</p>'


def _cosine(sd: StableDiffusion, one: str, other: str) -> float:
    """The cosine of two prompts' vectors at their end tokens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        ids = tokenize(sd.tokenizer, [one, other])
        vectors = embed_texts(sd, [one, other]).float()
    ends = (ids == sd.tokenizer.eos_token_id).int().argmax(dim=1)
    a, b = vectors[torch.arange(2), ends.to(vectors.device)]
    return float(torch.cosine_similarity(a, b, dim=0))


def explore_sigmas() -> Explorer:
    """Sigma explorer: steps, training schedule, spacing and order, and at once the noise levels and K-LMS's weights.

    The left plot shows the levels on a logarithmic scale (the last one, 0, has no place on it), the right one the
    weights of the past slopes in each step, as multiples of that step.
    """
    trained = {name: training_sigmas(alphas_cumprod(betas(beta_schedule=name))) for name in ("scaled_linear", "linear")}

    def show(steps: int, trained_with: str, order: int) -> str:
        sigmas = schedule(steps, trained[trained_with])
        fig = new_figure(figsize=(9.5, 3))
        left, right = (open_axes(ax) for ax in fig.subplots(1, 2))
        left.plot(range(steps), sigmas[:-1], "o-", color=ORANGE, markersize=3)
        left.set(yscale="log", xlabel="step", ylabel="noise level σ", ylim=(0.01, 200))
        weights = [lms_coefficients(sigmas, i, order) / (sigmas[i + 1] - sigmas[i]) for i in range(steps)]
        for k, colour in zip(range(order), _COLOURS, strict=False):
            at = [i for i in range(steps) if len(weights[i]) > k]
            name = f"slope {k} step{'s' * (k != 1)} ago" if k else "slope now"
            right.plot(at, [weights[i][k] for i in at], "o-", color=colour, markersize=3, label=name)
        right.set(xlabel="step", ylabel="weight ÷ step")
        right.legend(frameon=False, fontsize=8)
        words = (
            f"Two plots for {steps} steps. Left: sigma falls from {sigmas[0]:.2f} to {sigmas[-2]:.3f}, then to 0. "
            f"Right: the weights of up to {order} slopes in each step; their sum is always 1."
        )
        last = ", ".join(f"{share:+.2f}" for share in weights[-1])
        said = f"The last step goes from σ {sigmas[-2]:.4f} to 0. Its weights, newest slope first: {last}."
        return (
            tile(figure_source(fig), f"{steps} steps, {trained_with}, order {order}", words, side=820)
            + f"<p>{said}</p>"
        )

    knobs = {
        "steps": ipywidgets.IntSlider(20, 2, 60, description="steps", style=WIDE),
        "trained_with": ipywidgets.Dropdown(options=list(trained), description="schedule", style=WIDE),
        "order": ipywidgets.IntSlider(4, 1, 4, description="order of K-LMS", style=WIDE),
    }
    return Explorer("Sigma explorer: noise levels and the weights of K-LMS.", knobs, show)


def explore_two_prompts(sd: StableDiffusion, first: str, second: str, *, seed: int = 42) -> Explorer:
    """Two prompts, one noise: paint both at once, then slide through the steps and see where the pictures part.

    Nothing is painted before Paint is pressed. Shown at each step is the predicted original, decoded, and how far the
    two are apart: the share of their distance at the end.
    """
    seen: dict = {}

    def run():
        prompts = [first_box.value, second_box.value]
        return denoise(sd, prompts, seed=[seed_box.value] * 2), 20  # one seed for both: the same noise

    def done(steps):
        expected = torch.stack([step.pred_original for step in steps])  # (steps, 2, 4, h/8, w/8)
        pictures = paint_latents(sd, expected.flatten(0, 1))
        apart = (expected[:, 0] - expected[:, 1]).flatten(1).norm(dim=1)
        seen.update(prompts=[first_box.value, second_box.value], apart=(apart / apart[-1]).tolist())
        seen["sources"] = [picture_source(each) for each in pictures]
        slider.max = len(steps) - 1
        slider.value = slider.max
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
    slider = ipywidgets.IntSlider(0, 0, 19, description="step", style=WIDE)
    painting = Painting("Paint", run, done, lambda sentence: explorer.say(sentence))
    words = "Two prompts, the same noise: where do the pictures part?"
    explorer = Explorer(words, {"step": slider}, show, below=[first_box, second_box, seed_box, painting.row])
    explorer.painting, explorer.boxes = painting, (first_box, second_box, seed_box)
    return explorer
