"""The judges of the lesson on latents."""

from __future__ import annotations

import numpy as np
import torch

from . import Mistake, exercise
from .compare import array, call, compared, listed, number, pair, random, shaped, told

_OTHERS = "The numbers are others than asked for."


@exercise(
    "latents.1",
    hint="A pair: ((pictures, channels, rows, columns), how many times fewer). Three halvings; count colours, too.",
    learned="Four times the channels, a quarter of the saving: the number 48 belongs to 8 × 8 pixels and 4 channels.",
)
def _other_vae(answer, *, height, width, channels) -> Mistake | None:
    """The latents' shape for one picture of another VAE (f = 8), and how many times fewer numbers they are."""
    hint = "Your answer could not be used. Give a pair: ((…, …, …, …), how many times fewer)."
    shape, ratio = pair(answer, lambda each: True, hint, "{} is no such pair.")
    few = Mistake("A shape of four sides: pictures, channels, rows, columns.", "Your shape has {}.")
    shape = listed(shape, 4, few)
    right = (1, channels, height // 8, width // 8)
    saved = 3 * 8 * 8 / channels
    if shape == (1, channels, right[3], right[2]):
        return Mistake("Which comes first, rows or columns?", "Rows (height / 8) come first, then columns (width / 8).")
    if shape[2:] == (height, width):
        return Mistake("These are pixels. How long is a latent square's side?", "Divide both sides by 2 · 2 · 2 = 8.")
    if shape[1] in (3, 4):
        return Mistake(
            f"Channels: this VAE has {channels}.", f"{shape[1]} channels are not this VAE's; it has {channels} of them."
        )
    if shape != right:
        return Mistake("Height and width, each halved three times.", f"The shape is {right}, not {shape}.")
    known = {
        "48 is right for 4 channels. Here each square holds more numbers.": 48,
        "64 counts places only: 8 × 8 pixels for each square. Count 3 colours there, and the channels here.": 64,
        "Upside down: how many times *fewer*?": 1 / saved,
    }
    known = told("How many numbers stand in one square, and how many in the pixels behind it? {}", known)
    otherwise = Mistake(
        "Divide the numbers of the picture by those of the latents.",
        f"3 × {height} × {width} numbers become {channels} × {height // 8} × {width // 8}: divide the two.",
    )
    return compared(number(ratio), saved, known, otherwise)


@exercise(
    "latents.2",
    hint="A function that takes the batch and returns one number. Section 5 measured it.",
    learned="Multiplied by it, the batch has a standard deviation of 1. That is all that 0.18215 is.",
)
def _measure(answer, **_facts) -> Mistake | None:
    """A function latents -> scaling factor, one number: 1 / std over everything."""
    std = torch.tensor([1.0, 2.0, 4.0, 7.0]).view(1, 4, 1, 1)
    contrast = torch.linspace(0.5, 1.5, 5).view(5, 1, 1, 1)
    latents = random(5, 4, 3, 3) * std * contrast + std - 2
    got = call(answer, latents)
    many = np.size(array(got))
    if many != 1:
        return Mistake(
            "One number for all channels: no `dim=` in the standard deviation.",
            f"Your function gives {many} numbers; the scaling factor is one.",
        )
    each = latents.std(dim=(0, 2, 3))
    hint = "One standard deviation over everything. If it is 4, which number brings it to 1?"
    known = {
        "That is the standard deviation itself. Latents are *multiplied* by the factor.": latents.std(),
        "That is one over the variance, the square of what is wanted.": 1 / latents.var(),
        "That is the variance.": latents.var(),
        "An average over the channels' own factors is another number: take std once, over everything.": (
            (1 / each).mean()
        ),
        "An average of the channels' standard deviations forgets that their means differ.": 1 / each.mean(),
        "Only the first picture was measured. Take the whole batch.": 1 / latents[0].std(),
        "Only the first channel was measured. Take all of them.": 1 / latents[:, 0].std(),
    }
    root = 1 / latents.square().mean().sqrt()
    from_0 = told(
        "The standard deviation is measured from the mean; you measured from 0.",
        {"The mean must be taken away first, as std does: this is one over the root mean square.": root},
    )
    got = number(got if array(got) is None else array(got))
    return compared(got, 1 / latents.std(), told(hint, known) + from_0, Mistake(hint, _OTHERS), atol=5e-3, rtol=5e-3)


@exercise(
    "latents.3",
    hint="σ is measured against a picture of standard deviation 1. How wide are the latents that nobody scaled?",
    learned="Painting starts at pure noise, which this UNet has never seen.",
)
def _unscaled_noise(answer, *, sigma, factor) -> Mistake | None:
    """How many times stronger than unscaled latents the noise is at `sigma`: sigma * factor."""
    right = sigma * factor
    known = {
        "That is the ratio for scaled latents, whose standard deviation is 1.": sigma,
        "Unscaled latents are wider, so the noise is *less* strong against them.": sigma / factor,
        "Upside down: that is how many times stronger the picture is.": 1 / right,
        "That is the latents' own standard deviation. Now compare the noise with it.": 1 / factor,
        "That compares variances. σ compares standard deviations.": right**2,
    }
    known = told("Divide one standard deviation by the other. {}", known)
    otherwise = Mistake(
        "The noise has the standard deviation σ, the latents 1 / factor. Divide.",
        f"{sigma} / (1 / {factor}) is about {right:.2f}.",
    )
    return compared(number(answer), right, known, otherwise, atol=0, rtol=0.02)


@exercise(
    "latents.4",
    hint="A function that takes a list of seeds and a shape, and returns one tensor, (len(seeds), *shape).",
    learned="Now each picture can be painted again by its own seed, alone or in any company.",
)
def _own_noise(answer, **_facts) -> Mistake | None:
    """A function (seeds, shape) -> noise, (len(seeds), *shape), each picture's from a generator of its own."""
    seeds, shape = [7, 43, 12], (4, 6, 8)
    with torch.random.fork_rng(devices=[]):
        before = torch.manual_seed(0).get_state()
        got = call(answer, seeds, shape)
        untouched = torch.equal(before, torch.random.get_rng_state())
    got = shaped(
        got,
        (len(seeds), *shape),
        "The result is one batch: torch.stack adds the first side; torch.cat needs it to be there already.",
        f"For 3 seeds and the shape {shape} the result has the shape {{}}, not {(3, *shape)}.",
    )
    if not untouched:
        return Mistake(
            "torch.manual_seed sets the one generator that all share. Make one for each: torch.Generator('cpu').",
            "Your function changes the global generator, so it changes other people's random numbers, too.",
        )
    alone = [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
    first = torch.randn((len(seeds), *shape), generator=torch.Generator("cpu").manual_seed(seeds[0]))
    known = {
        "All of it comes from the first seed: picture 2 depends on its place in the batch.": first,
        "All pictures have the same noise, the first seed's.": torch.stack([alone[0]] * len(seeds)),
        "All pictures have the same noise, the last seed's.": torch.stack([alone[-1]] * len(seeds)),
        "The pictures are in the wrong order.": torch.stack(alone[::-1]),
    }
    hint = "What is picture 2 if it is painted alone, by seed 43? A fresh generator for each seed, then torch.stack."
    return compared(got, torch.stack(alone), told(hint, known), Mistake(hint, _OTHERS), atol=1e-5, rtol=1e-5)


@exercise(
    "latents.5",
    hint="A function that returns one tensor, of the shape of `noise`. Section 2 took eight channels apart.",
    learned="v1.4's training did this with every picture.",
)
def _draw(answer, **_facts) -> Mistake | None:
    """A function (moments, noise, factor) -> scaled draw from the encoder's Gaussian."""
    moments, factor = random(2, 8, 3, 3), 0.4
    noise = random(2, 4, 3, 3, seed=1)
    got = shaped(
        call(answer, moments, noise, factor),
        noise.shape,
        "Eight channels go in, four come out. Which side does `chunk` cut?",
        f"The result has the shape {{}}, not {tuple(noise.shape)}.",
    )
    mean, logvar = moments.chunk(2, dim=1)
    std, scaled = (0.5 * logvar).exp(), "The factor belongs to the whole draw: to the mean and to the noise."
    hint = "mean, logvar = moments.chunk(2, dim=1); a standard deviation out of logvar; a draw; the factor comes last."
    known = {
        "The factor divides. Encoding multiplies, decoding divides.": (mean + std * noise) / factor,
        "logvar itself is no standard deviation: it is even negative here and there.": (mean + logvar * noise) * factor,
        "½ · logvar is still a logarithm.": (mean + 0.5 * logvar * noise) * factor,
        "The halves have changed places: the mean comes first.": (logvar + (0.5 * mean).exp() * noise) * factor,
        "This is the mean alone; `noise` is not used.": mean * factor,
        "The mean is missing: this is the noise alone.": std * noise * factor,
    }
    known = [
        *told(hint, known),
        *told(
            "How wide are these latents, and how wide does the UNet want them?",
            {"The factor is missing.": mean + std * noise},
        ),
        *told(scaled, {"The standard deviation is scaled, the mean is not.": mean + std * noise * factor}),
        *told(scaled, {"The mean is scaled, the noise is not.": mean * factor + std * noise}),
        *told(
            "logvar is log(std²). What is exp(logvar), then?",
            {"exp(logvar) is the variance; its root is exp(½ · logvar).": (mean + logvar.exp() * noise) * factor},
        ),
    ]
    return compared(got, (mean + std * noise) * factor, known, Mistake(hint, _OTHERS), atol=1e-5, rtol=1e-5)
