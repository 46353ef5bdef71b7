"""The judges of the lesson on latents."""

from __future__ import annotations

import numpy as np
import torch

from . import Mistake, exercise
from .compare import alike, array, call, compared, finite, listed, number, pair, random, shaped, told
from .puzzles import numbers, puzzle

_OTHERS = "The numbers are others than asked for."


@exercise(
    "latents.1",
    hint="A pair: ((pictures, channels, rows, columns), how many times fewer). Three halvings; count colours, too.",
    learned="Four times the channels, a quarter of the saving: the number 48 belongs to 8 × 8 pixels and 4 channels.",
)
def _other_vae(answer, *, height, width, channels) -> Mistake | None:
    """The latents' shape for one picture of another VAE (f = 8), and how many times fewer numbers they are."""
    hint = "Give a pair: ((…, …, …, …), how many times fewer)."
    shape, ratio = pair(answer, lambda each: True, hint, "{} is no such pair.")
    if finite(shape) and not finite(ratio):
        return Mistake("Which of the two comes first?", "The shape comes first, then how many times fewer.")
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
    if shape[1] != channels:
        return Mistake("How many channels has this VAE?", f"It has {channels}, not {shape[1]}.")
    if shape[0] != 1:
        return Mistake("How many pictures go in?", f"One picture, not {shape[0]}.")
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
    latents = random(5, 4, 3, 3) * std * contrast + std + 4 * contrast - 6  # means of channels and pictures differ
    got = call(answer, latents)
    many = np.size(array(got))
    if many == latents.numel():
        return Mistake("One number is asked for: the factor.", "These are scaled latents, not the number that scales.")
    if many != 1:
        return Mistake(
            "One number for all channels: no `dim=` in the standard deviation.",
            f"Your function gives {many} numbers; the scaling factor is one.",
        )
    hint = "One standard deviation over everything. If it is 4, which number brings it to 1?"
    got = number(got if array(got) is None else array(got))
    return compared(got, 1 / latents.std(), _not_measured(latents), Mistake(hint, _OTHERS), rtol=4e-3)  # n or n − 1


def _not_measured(latents) -> list[tuple[object, Mistake]]:
    """Wrong factors for the latents, and what to say to each."""
    each = latents.std(dim=(0, 2, 3))
    one_measure = "How often is a standard deviation measured: once, or channel by channel?"
    root = 1 / latents.square().mean().sqrt()
    return [
        *told(
            "Latents of standard deviation 4 shall become narrower. What do you multiply them by?",
            {"That is the standard deviation itself. Latents are *multiplied* by the factor.": latents.std()},
        ),
        *told(
            "Variance or standard deviation?",
            {
                "That is one over the variance, the square of what is wanted.": 1 / latents.var(),
                "That is the variance.": latents.var(),
            },
        ),
        *told(
            one_measure,
            {
                "An average over the channels' own factors is another number: take std once.": (1 / each).mean(),
                "An average of the channels' standard deviations forgets that their means differ.": 1 / each.mean(),
            },
        ),
        *told(
            "How much of the batch was measured?",
            {
                "Only the first picture was measured. Take the whole batch.": 1 / latents[0].std(),
                "Only the first channel was measured. Take all of them.": 1 / latents[:, 0].std(),
            },
        ),
        *told(
            "The standard deviation is measured from the mean; you measured from 0.",
            {"The mean must be taken away first, as std does: this is one over the root mean square.": root},
        ),
        *told("Was that measured?", {"That is v1.4's factor, 0.18215; every VAE has its own.": 0.18215}),
    ]


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
        "The factor is squared, as for variances; it scales a standard deviation.": right * factor,
        "That is v1.4's factor, 0.18215; this VAE has another one.": sigma * 0.18215,
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
        again = call(answer, seeds, shape)
    got = shaped(
        got,
        (len(seeds), *shape),
        "The result is one batch: torch.stack adds the first side; torch.cat needs it to be there already.",
        f"One picture for each seed: for 3 seeds and {shape} the result has the shape {{}}, not {(3, *shape)}.",
    )
    if not alike(again, got):
        return Mistake(
            "Is it the same noise, when you call it a second time with the same seeds?",
            "Two calls with the same seeds give different noise: the seeds are not used, or not each time.",
        )
    if not untouched:
        return Mistake(
            "torch.manual_seed sets the one generator that all share. Make one for each: torch.Generator('cpu').",
            "Your function changes the global generator, so it changes other people's random numbers, too.",
        )
    alone = [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
    first = torch.randn((len(seeds), *shape), generator=torch.Generator("cpu").manual_seed(seeds[0]))
    example = [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in (42, 43, 44)]
    known = [
        *told(
            "What is picture 2 if it is painted alone? Which seed does it come from here?",
            {"All of it comes from the first seed: picture 2 depends on its place in the batch.": first},
        ),
        *told(
            "Do the pictures differ?",
            {
                "All pictures have the same noise, the first seed's.": torch.stack([alone[0]] * len(seeds)),
                "All pictures have the same noise, the last seed's.": torch.stack([alone[-1]] * len(seeds)),
            },
        ),
        *told("Which seed comes first?", {"The pictures are in the wrong order.": torch.stack(alone[::-1])}),
        *told(
            "What if somebody asks for other seeds?",
            {"The seeds 42, 43, 44 are fixed in it; use `seeds`.": torch.stack(example)},
        ),
    ]
    hint = "A fresh generator for each seed, then torch.stack."
    return compared(got, torch.stack(alone), known, Mistake(hint, _OTHERS), atol=1e-5, rtol=1e-5)


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
    hint = "mean, logvar = moments.chunk(2, dim=1); a standard deviation out of logvar; a draw; the factor comes last."
    mean, logvar = moments.chunk(2, dim=1)
    draw = mean + (0.5 * logvar).exp() * noise
    known, otherwise = _not_drawn(mean, logvar, noise, factor), Mistake(hint, _OTHERS)
    share = float(got.ravel() @ draw.double().numpy().ravel() / draw.square().sum())
    if share and alike(got, share * draw, atol=1e-5, rtol=1e-5):
        otherwise = Mistake(
            "The draw is right. And by what is it multiplied, if another VAE comes?",
            f"It is multiplied by {share:.5g}, where factor is {factor}: use `factor`, whatever it is.",
        )
    return compared(got, draw * factor, known, otherwise, atol=1e-5, rtol=1e-5)


def _not_drawn(mean, logvar, noise, factor: float) -> list[tuple[object, Mistake]]:
    """Wrong draws, and what to say to each."""
    std, scaled = (0.5 * logvar).exp(), "The factor belongs to the whole draw: to the mean and to the noise."
    return [
        *told(
            "Are the latents to become narrower or wider?",
            {"The factor divides. Encoding multiplies, decoding divides.": (mean + std * noise) / factor},
        ),
        *told(
            "Can a standard deviation be negative?",
            {
                "logvar itself is a logarithm, no standard deviation.": (mean + logvar * noise) * factor,
                "½ · logvar is still a logarithm.": (mean + 0.5 * logvar * noise) * factor,
            },
        ),
        *told(
            "Which four of the eight channels come first?",
            {"The halves have changed places: the mean comes first.": (logvar + (0.5 * mean).exp() * noise) * factor},
        ),
        *told(
            "A draw has a middle and a width. Which of them is here?",
            {
                "This is the mean alone; `noise` is not used.": mean * factor,
                "The mean is missing: this is the noise alone.": std * noise * factor,
            },
        ),
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


@puzzle(
    "latents.6",
    given=lambda seed: {
        "latents": numbers(seed, 4, 4 + seed),
        "noise": numbers(seed + 9, 4, 4 + seed),
        "sigma": 2.0 + seed,
    },
    hint="What happens to the latents, and what to the noise, when σ grows?",
    learned="At every σ the loop holds just this: a picture, and noise σ times as strong.",
    formula="latents + sigma * noise.",
    wrong={
        "How strong is the noise? sigma is not used.": lambda x, noise, sigma: x + noise,
        "Do the latents grow with σ? They are made stronger, too; only the noise is.": lambda x, noise, sigma: (
            sigma * (x + noise)
        ),
        "Which of the two grows with σ? The latents are made stronger, the noise is not.": lambda x, noise, sigma: (
            sigma * x + noise
        ),
        "Do the latents shrink? Mixed by shares they become weaker; they stay as they are.": lambda x, noise, sigma: (
            (1 - sigma) * x + sigma * noise
        ),
        "More noise, or less? The noise is taken away.": lambda x, noise, sigma: x - sigma * noise,
        "And the picture? This is the noise alone.": lambda x, noise, sigma: sigma * noise,
        "Is it the UNet's input? That one is scaled to strength 1; these latents are not.": lambda x, noise, sigma: (
            (x + sigma * noise) / (sigma**2 + 1) ** 0.5
        ),
        "σ or σ²? sigma is squared: that is the variance of the noise.": lambda x, noise, sigma: x + sigma**2 * noise,
    },
)
def _covered(latents, noise, sigma):
    return latents + sigma * noise


def _mean_of(picture, size):
    return _blocks(picture, size).mean(dim=(1, 3))


puzzle(
    "latents.7",
    given=lambda seed: {"picture": numbers(seed, *[(4, 6), (6, 9), (8, 14)][seed]), "size": [2, 3, 2][seed]},
    hint="reshape(rows, size, columns, size) has four sides: over which two is the mean?",
    learned="One latent square stands for such a block; the decoder knows more of it than its mean.",
    formula="picture.reshape(h // size, size, w // size, size).mean(dim=(1, 3)).",
    wrong={
        "How many pixels make one number? One pixel of each block is taken, and no mean.": lambda x, size: x[
            ::size, ::size
        ],
        "A sum or a mean? The sum of a block is as many times larger as it has pixels.": lambda x, size: (
            _mean_of(x, size) * size**2
        ),
        "The largest or the mean? The largest of each block was taken.": lambda x, size: _blocks(x, size).amax(
            dim=(1, 3)
        ),
        "Which pixels came together? reshape deals others to a block: the order is rows, size, columns, size.": (
            lambda x, size: x.reshape(x.shape[0] // size, x.shape[1] // size, size, size).mean(dim=(2, 3))
        ),
        "Is it turned? Rows and columns have changed places.": lambda x, size: _mean_of(x, size).T,
        "How many numbers are wanted? This is one mean for the whole picture.": lambda x, size: x.mean(),
        "How large is the result? Nothing is made smaller: every pixel is kept.": lambda x, size: x,
        "How many columns are wanted? Only the rows are joined.": lambda x, size: x.unflatten(0, (-1, size)).mean(
            dim=1
        ),
        "How many rows are wanted? Only the columns are joined.": lambda x, size: x.unflatten(1, (-1, size)).mean(
            dim=2
        ),
    },
)(_mean_of)


def _blocks(picture, size):
    """(height, width) -> (rows of blocks, rows in a block, columns of blocks, columns in a block)."""
    return picture.unflatten(1, (-1, size)).unflatten(0, (-1, size))


@puzzle(
    "latents.8",
    given=lambda seed: {"picture": numbers(seed, 3, 4, 5 + seed), "back": numbers(seed + 9, 3, 4, 5 + seed)},
    hint="Difference, square, mean: in which order, and over which side?",
    learned="The mean of such a map is the mean squared error; PSNR is ten times log₁₀ of peak² ÷ that mean.",
    formula="(picture - back).square().mean(dim=0).",
    wrong={
        "May errors cancel out? They are not squared, so + and − do.": lambda x, y: (x - y).mean(dim=0),
        "A square or a size? These are absolute values.": lambda x, y: (x - y).abs().mean(dim=0),
        "A sum or a mean? The three are added; divide by 3.": lambda x, y: (x - y).square().sum(dim=0),
        "Which comes first? The mean came first, then the square, so errors cancel out.": lambda x, y: (
            (x - y).mean(dim=0).square()
        ),
        "A map or a number? This is one number for the whole picture.": lambda x, y: (x - y).square().mean(),
        "Is a root asked for? The root is taken at the end.": lambda x, y: (x - y).square().mean(dim=0).sqrt(),
        "Which side are the colours? The mean goes over the rows, a wrong side.": lambda x, y: (
            (x - y).square().mean(dim=1)
        ),
        "Which side are the colours? The mean goes over the columns, a wrong side.": lambda x, y: (
            (x - y).square().mean(dim=2)
        ),
        "The largest or the mean? The largest of the three was taken.": lambda x, y: (x - y).square().amax(dim=0),
    },
)
def _hurt(picture, back):
    return (picture - back).square().mean(dim=0)
