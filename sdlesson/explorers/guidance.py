"""Guidance explorer: recorded runs by guidance scale and seed, and others on demand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import ipywidgets
import torch

from ..decoding import decode, to_pil
from ..guidance import Step, Trace, denoise
from ..loading.errors import BadInput
from ..models import StableDiffusion
from .base import WIDE, WRAPPED, Explorer, Painting, in_a_row, picture_source, tile, typed_seed, unet_calls
from .slider import Slider


def explore_guidance(sd: StableDiffusion, traces: Sequence[Trace]) -> Explorer:
    """Guidance explorer: recorded runs by guidance scale and seed; any other pair is painted on demand.

    `traces` are runs of one prompt and one number of steps, one or several pictures each. Shown are the picture, the
    largest latent, and how much of the picture was cut off at black and white. A run that is painted joins the rest.
    Raises BadInput where the traces have no seeds, or different prompts, negative prompts, sizes or numbers of steps.
    """
    if len({prompt for trace in traces for prompt in trace.settings["prompts"]}) != 1:
        raise BadInput("The guidance explorer takes at least one recorded run, all of one prompt.")
    if any(len(trace.settings["seeds"] or []) != len(trace.settings["prompts"]) for trace in traces):
        raise BadInput("The guidance explorer takes runs with a seed for each picture, not given latents.")
    alike = ("num_inference_steps", "height", "width")
    if len({tuple(trace.settings[name] for name in alike) for trace in traces}) != 1:
        raise BadInput("The guidance explorer takes runs of one size and one number of steps.")
    if len({negative for trace in traces for negative in trace.settings["negative_prompts"]}) != 1:
        raise BadInput("The guidance explorer takes runs of one negative prompt, or of none.")
    settings, painted = traces[0].settings, _Painted(sd, traces[0].settings["prompts"][0])
    for trace in traces:
        scale, seeds = trace.settings["guidance_scale"], trace.settings["seeds"]
        twice = [seed for seed in seeds if seeds.count(seed) > 1 or (scale, seed) in painted.runs]
        if twice:
            raise BadInput(f"Two of the runs have guidance {scale:g} and seed {twice[0]}; one picture would be lost.")
        painted.keep(trace.steps[-1].latents, scale, seeds)

    def run():
        scale, seed = own_scale.value, typed_seed(own_seed.value)
        options = {name: settings[name] for name in alike} | {"negative_prompt": settings["negative_prompts"][0]}
        steps = denoise(sd, painted.prompt, guidance_scale=scale, seed=seed, **options)
        return steps, unet_calls(sd, settings[alike[0]]), partial(done, scale, seed)  # the boxes may change meanwhile

    def done(scale: float, seed: int, steps: Sequence[Step]) -> None:
        painted.keep(steps[-1].latents, scale, [seed])
        scale_slider.choose_from(painted.scales, scale)
        seed_slider.choose_from(painted.seeds, seed)
        explorer.refresh()

    scale_slider = Slider("guidance", painted.scales)
    seed_slider = Slider("seed", painted.seeds)
    own_scale = ipywidgets.FloatText(5, step=0.5, description="another guidance", style=WIDE)
    own_seed = ipywidgets.FloatText(1, step=1, description="another seed", style=WIDE)
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
