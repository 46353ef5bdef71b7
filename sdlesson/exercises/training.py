"""The judges of the lesson on training."""

from __future__ import annotations

import torch

from . import Mistake, exercise
from .compare import alike, call, compared, number, random, shaped, told
from .puzzles import numbers, puzzle


@exercise(
    "training.1",
    hint="The error is noise − 0. What is the mean of the squares of noise of spread 1?",
    learned="The mean of the squares of such noise is its variance, 1. A loss near 1 means: nothing learned yet.",
)
def _loss_of_zero(answer, **_facts) -> Mistake | None:
    """The mean squared error of a network that answers 0 everywhere: 1."""
    answer = number(answer)
    if abs(answer - 1) < 0.05:
        return None
    if abs(answer) < 1e-9:
        return Mistake(
            "0 is what it answers. How far is the noise from that?", "The loss is 0 only for a perfect guess."
        )
    if abs(answer - 0.8) < 0.05:
        return Mistake(
            "That is the mean of the absolute values. The loss takes the squares.",
            "The mean of |noise| is 0.8; the mean of its squares is the variance.",
        )
    for wrong, asked, value in (
        ("Some programs halve the squares: ½ would stand before the mean. Here it does not.", "Is it halved?", 0.5),
        ("The noise counts once: the network's answer, 0, adds none.", "How often does the noise count?", 2),
        ("That is the variance of uniform numbers from −1 to 1; noise has a spread of 1.", "Which noise is it?", 1 / 3),
    ):
        if alike(answer, value, atol=0.02):
            return Mistake(asked, wrong)
    return Mistake(
        "Draw a million such numbers: torch.randn(10**6).square().mean().",
        "The error is the noise itself, and the mean of its squares is the variance of the noise.",
    )


@exercise(
    "training.2",
    hint="x0 = noisy latents − σ · noise. The noisy latents are known. So how does an error of the noise arrive in x0?",
    learned="An error of the noise arrives in x0 multiplied by σ, its square by σ². One network, two losses.",
)
def _error_of_x0(answer, *, sigma, error) -> Mistake | None:
    """The mean squared error of x0 that goes with the mean squared error `error` of the noise: sigma² · error."""
    easier = "Is x0 easier or harder to tell than the noise, at a high level?"
    known = [
        *told(
            "What does σ do to an error, in x0 = noisy latents − σ · noise?",
            {
                "The errors would be the same only if σ played no part.": error,
                "That is the square of σ without the error of the noise.": sigma**2,
            },
        ),
        *told(
            easier,
            {
                "Harder: the square of σ stands on the wrong side, it multiplies.": error / sigma**2,
                "Harder, not easier; and the error is not divided, it is multiplied by σ².": error / sigma,
            },
        ),
        *told(
            "Which weight of section 2 is it?",
            {"That is the weight of v, σ² + 1. For x0 it is a little less.": (sigma**2 + 1) * error},
        ),
    ]
    not_squared = told(
        "The error is squared: so is σ.", {"The error is multiplied by σ. The loss is its square.": sigma * error}
    )
    otherwise = Mistake(
        "Write the error of x0 as a multiple of the error of the noise, then square it.",
        "The mean squared error of x0 is σ² times that of the noise.",
    )
    root = told(
        "Is it the loss, or its root?", {"That is the root. The loss is the mean of squares.": sigma * error**0.5}
    )
    twice = told(
        "The mean *squared* error is 0.01. What is left to be squared?",
        {"The error is squared once more: 0.01 is a mean of squares already, only σ is not.": (sigma * error) ** 2},
    )
    known = not_squared + root + twice + known
    return compared(number(answer), sigma**2 * error, known, otherwise, atol=0, rtol=0.004)


@exercise(
    "training.3",
    hint="It mixes the same two as the noisy latents do, crosswise, with one minus sign. "
    "kept = 1 gives the noise, kept = 0 minus the latents.",
    learned="With little noise v is the noise, with much noise it is minus the picture: never a copy of the input.",
)
def _velocity(answer, **_facts) -> Mistake | None:
    """A function (latents, noise, kept) -> v (Salimans and Ho 2022)."""
    latents, noise = random(2, 2, 4, 3, 3)
    kept = torch.tensor(0.7)
    got = shaped(
        call(answer, latents, noise, kept),
        latents.shape,
        "v has the shape of the latents.",
        f"The result is no tensor of shape {tuple(latents.shape)}.",
    )
    a, b = kept.sqrt(), (1 - kept).sqrt()
    known = {
        "These are the noisy latents, the network's input. v changes the roots' places, and one sign.": (
            a * latents + b * noise
        ),
        "Latents and noise have changed places: with kept = 1 your v is the latents.": a * latents - b * noise,
        "The sign is turned: v points from the picture to the noise.": b * latents - a * noise,
        "The two roots have changed places: √kept goes with the noise here.": b * noise - a * latents,
        "It is a difference: with the plus, v says nothing that the input does not nearly say.": a * noise
        + b * latents,
        "`kept` is not used: this is the noise less the latents.": noise - latents,
        "This is the noise alone, right for kept = 1 only.": noise,
    }
    hint = "Try it for kept = 1 (no noise: v is the noise) and kept = 0 (v is −latents)."
    otherwise = Mistake(
        "Look at the noisy latents in section 1: two roots, two tensors, one line. Try kept = 1 and kept = 0.",
        "The result is not √kept·noise − √(1−kept)·latents.",
    )
    rootless = told(
        "Right for kept = 1 and kept = 0. And at 0.5: is the variance of v still 1? Shares of what?",
        {
            "Take the roots: kept and 1 − kept are variances.": kept * noise - (1 - kept) * latents,
            "The latents get one minus the root, not the root of the rest.": a * noise - (1 - a) * latents,
        },
    )
    return compared(got, a * noise - b * latents, told(hint, known) + rootless, otherwise, atol=1e-5, rtol=1e-5)


@exercise(
    "training.4",
    hint="The new average is mostly the old one: decay times the old, and the rest of the new weights.",
    learned="With decay 0.95 about the last twenty steps count. It costs one copy of the weights and no gradient.",
)
def _moving_average(answer, **_facts) -> Mistake | None:
    """A function (average, weights, decay) -> the next moving average."""
    for decay in (0.9, 0.3, 0.99):
        average, weights = random(2, 5)
        got = shaped(
            call(answer, average, weights, decay),
            average.shape,
            "The new average has the shape of the old one.",
            f"The result is no tensor of {len(average)} numbers.",
        )
        if mistake := _not_average(got, average, weights, decay):
            return mistake
    return None


def _not_average(got, average, weights, decay: float) -> Mistake | None:
    """What is wrong with this result for a `decay`; the first to be tried is 0.9."""
    rest = 1 - decay
    known = {
        "The two shares have changed places: the average would follow every jump of the weights.": (
            rest * average + decay * weights
        ),
        "The shares must add up to 1, or the average grows and grows.": decay * average + weights,
        "That is the plain mean of two. Where is decay?": (average + weights) / 2,
        "The new weights are not used.": average,
        "The old average is not used.": weights,
        "The decay is fixed at 0.95 in it; use `decay`.": 0.95 * average + 0.05 * weights,
        "The new weights are missing, so the average shrinks to 0.": decay * average,
    }
    hint = "What should come out for decay 1? And for decay 0?"
    otherwise = Mistake(
        "decay · average + (1 − decay) · weights.", "The result is not decay · average + (1 − decay) · weights."
    )
    if decay != 0.9:
        otherwise = Mistake(
            f"With decay 0.9 it is right. And with {decay}?", "The decay is fixed or limited in it; use `decay`."
        )
    return compared(got, decay * average + rest * weights, told(hint, known), otherwise, atol=1e-5, rtol=1e-5)


@exercise(
    "training.5",
    hint="One row of the token table: as many numbers as an embedding has.",
    learned="Textual inversion trains so few numbers that a learned word is a file of a few kilobytes.",
)
def _trained_numbers(answer, *, sd) -> Mistake | None:
    """How many numbers textual inversion trains: the width of the text encoder."""
    answer = number(answer)
    width = sd.text_encoder.config.hidden_size
    if answer == width:
        return None
    config = sd.text_encoder.config
    if answer in (config.vocab_size * width, (config.vocab_size + 1) * width):  # without and with the new word
        return Mistake(
            "That is the whole table. How many of its rows changed in section 7?",
            "Only the new word's row is trained, not the whole table.",
        )
    if answer == 77 * width:
        return Mistake(
            "The UNet reads 77 vectors, but those come out of the encoder. What goes in for one word?",
            f"One row of {width} numbers is trained; what it becomes at 77 positions is computed from it.",
        )
    if answer in (config.vocab_size, config.vocab_size + 1):
        return Mistake("How many rows change?", f"That is the number of tokens, of rows; one row has {width} numbers.")
    if answer == config.max_position_embeddings:
        return Mistake("Positions or numbers?", f"That is the number of positions; one row has {width} numbers.")
    if answer == 1:
        return Mistake("One row. How many numbers are in it?", f"One row is a vector of {width} numbers.")
    return Mistake("Look at the shape that section 7 prints.", f"It is one vector of the width {width}.")


def _noised(latents, noise, kept):
    return _wide(kept).sqrt() * latents + (1 - _wide(kept)).sqrt() * noise


puzzle(
    "training.6",
    given=lambda seed: {
        "latents": numbers(seed, 4 + seed, 4, 2, 4 + seed),
        "noise": numbers(seed + 9, 4 + seed, 4, 2, 4 + seed),
        "kept": torch.tensor([0.99, 0.64, 0.3, 0.04 + seed / 10, 0.8, 0.5][: 4 + seed]),
    },
    hint="Section 1's line, with kept.view(-1, 1, 1, 1), so that each picture meets its own share.",
    learned="A batch holds many levels at once: the network learns them all side by side.",
    formula="√kept × latents + √(1 − kept) × noise, with kept.view(-1, 1, 1, 1).",
    wrong={
        "Shares of what? Of the variance: the roots are missing.": lambda x, n, k: _wide(k) * x + (1 - _wide(k)) * n,
        "Which numbers have one share? Without sides of 1 they run along the columns.": lambda x, n, k: (
            k.sqrt() * x + (1 - k).sqrt() * n
        ),
        "Has each picture its own? All have the first share.": lambda x, n, k: _noised(x, n, k[:1]),
        "How much is kept at 0.99? The shares have changed places.": lambda x, n, k: _noised(n, x, k),
        "How strong is the noise at 0.99? It is not weakened.": lambda x, n, k: _wide(k).sqrt() * x + n,
        "Plus or minus? The noise is taken away.": lambda x, n, k: _noised(x, -n, k),
        "A root of what? The noise gets one minus the root, not the root of the rest.": lambda x, n, k: (
            _wide(k).sqrt() * x + (1 - _wide(k).sqrt()) * n
        ),
        "Has each picture its own? All have the mean share.": lambda x, n, k: _noised(x, n, k.mean()),
    },
)(_noised)


def _wide(kept):
    return kept.view(-1, 1, 1, 1)


@puzzle(
    "training.7",
    given=lambda seed: {
        "texts": numbers(seed, 4 + seed, 2 + seed, 3),
        "empty": numbers(seed + 9, 2 + seed, 3),
        "draws": torch.tensor([0.6, 0.05, 0.31, 0.08, 0.9, 0.02][: 4 + seed]),
        "chance": 0.1 + seed / 5,
    },
    hint="torch.where(condition, empty, texts), with a condition of the sides (n, 1, 1).",
    learned="That is all that guidance asks of training: one caption in ten is the empty one.",
    formula="torch.where((draws < chance).view(-1, 1, 1), empty, texts).",
    wrong={
        "How many texts become empty at chance 0.1? Turned over: those above the chance do.": lambda t, e, d, c: (
            torch.where(_below(d, c), t, e)
        ),
        "How many texts go out? Some are left out of the batch; they should be empty.": lambda t, e, d, c: t[d >= c],
        "What is the empty prompt's embedding? You took zeros.": lambda t, e, d, c: torch.where(_below(d, c), 0.0, t),
        "Which texts become empty? All of them do.": lambda t, e, d, c: e.expand(t.shape),
        "Which texts become empty? No text is left out.": lambda t, e, d, c: t,
        "One or the other? Each text is mixed by the chance.": lambda t, e, d, c: c * e + (1 - c) * t,
        "Which texts become empty? The first ones, whatever was drawn.": lambda t, e, d, c: torch.cat(
            [e[None]] * round(c * len(t)) + [t[round(c * len(t)) :]]
        ),
        "How many texts go out? The dropped ones alone.": lambda t, e, d, c: t[d < c],
    },
)
def _dropped(texts, empty, draws, chance):
    return torch.where(_below(draws, chance), empty, texts)


def _below(draws, chance):
    return (draws < chance).view(-1, 1, 1)


@puzzle(
    "training.8",
    given=lambda seed: {
        "guess": numbers(seed, 3 + seed, 4, 2 + seed, 2),
        "noise": numbers(seed + 9, 3 + seed, 4, 2 + seed, 2),
    },
    hint="Difference, square, mean. Over which sides, so that one number is left for each picture?",
    learned="Section 1 weights such losses by their noise level, before their mean is taken.",
    formula="(guess - noise).square().mean(dim=(1, 2, 3)).",
    wrong={
        "How many losses? This is one number for the whole batch.": lambda g, n: (g - n).square().mean(),
        "A square or a size? This is the absolute error.": lambda g, n: (g - n).abs().mean(dim=(1, 2, 3)),
        "A sum or a mean? This is the sum.": lambda g, n: (g - n).square().sum(dim=(1, 2, 3)),
        "Is a root asked for? It is taken here.": lambda g, n: (g - n).square().mean(dim=(1, 2, 3)).sqrt(),
        "May errors cancel out? They are not squared, so they do.": lambda g, n: (g - n).mean(dim=(1, 2, 3)),
        "Which side stays? The mean goes over the pictures, a number for each channel is left.": lambda g, n: (
            (g - n).square().mean(dim=(0, 2, 3))
        ),
        "Which comes first? The mean does, then the square.": lambda g, n: (g - n).mean(dim=(1, 2, 3)).square(),
        "How far is the guess from the noise? The noise is not used.": lambda g, n: g.square().mean(dim=(1, 2, 3)),
    },
)
def _losses(guess, noise):
    return (guess - noise).square().mean(dim=(1, 2, 3))
