"""The judges of the lesson on one page."""

from __future__ import annotations

import torch

from . import Mistake, exercise
from .compare import call, compared, listed, one_change, random, shaped, shown, told
from .puzzles import numbers, puzzle


@exercise(
    "onepage.1",
    hint="Four numbers: pictures, channels, rows, columns. Rows and columns count latent squares, not pixels.",
    learned="One latent square stands for a block of pixels: the UNet works on far fewer numbers than a picture has.",
)
def _latents_shape(answer, *, sd) -> Mistake | None:
    """The latents' shape for three prompts at once, for pictures as high as `sd`'s own and twice as wide."""
    block, channels = sd.vae_factor, sd.unet.config.in_channels
    rows, columns = (pixels // block for pixels in sd.size)
    few = Mistake(
        "Latents have four sides: how many pictures, how many channels, how many rows, how many columns?",
        "You gave {} numbers; latents have four.",
    )
    pictures, depth, *size = listed(answer, 4, few)
    if pictures != 3:
        return Mistake(
            "Each prompt paints one picture, and the loop carries one set of latents for each.",
            f"The first number counts the pictures. It is 3, not {pictures}; only the UNet's input is doubled.",
        )
    if depth != channels:
        return Mistake(
            "Latents are not red, green and blue. How many channels does the UNet read?",
            f"The second number is the number of channels: {channels}, not {depth}.",
        )
    if size == [rows * block, 2 * columns * block]:
        return Mistake(
            "These are pixels. How many pixels stand side by side behind one latent square?",
            f"Rows and columns count squares of {block} × {block} pixels: divide both by {block}.",
        )
    if size == [2 * columns, rows]:
        return Mistake(
            "Which comes first in the shape of a picture's tensor, the rows or the columns?",
            "Rows (the height) come first, then columns (the width). You have them the other way round.",
        )
    if size != [rows, 2 * columns]:
        return Mistake(
            "Twice as wide means twice as many columns. The rows stay as they are.",
            f"The model's own picture has {rows} rows and {columns} columns of squares; here the columns are doubled.",
        )
    return None


_ARTICLES = ("a", "an", "the")


@exercise(
    "onepage.2",
    hint="Write a new dictionary: dict(settings, prompt=...). The noise comes from the seed, so the seed stays.",
    learned="The noise was the same, so all that is different in the picture comes from the words.",
)
def _one_change(answer, *, settings) -> Mistake | None:
    """The settings of the lesson with one thing changed: an elephant instead of the horse."""
    prompt = one_change(
        answer,
        settings,
        "prompt",
        copied="dict(settings, prompt=...)",
        unchanged="Nothing is different yet. Which setting holds the words?",
        beside=Mistake(
            "You changed how the picture is made. Which setting says what it shows?",
            "You changed {}; change the prompt, and nothing else.",
        ),
        more=Mistake(
            "More than one thing is different now. Could you tell which of them changed the picture?",
            "You changed {}; change the prompt alone.",
        ),
    )
    if isinstance(prompt, list | tuple) and len(prompt) == 1:
        (prompt,) = prompt
    words = _words(prompt)
    if "elephant" not in words or "horse" in words:
        return Mistake(
            "An elephant is to take the horse's place.",
            f"Your prompt is {shown(prompt)}: it should name an elephant where the horse was.",
        )
    if [word for word in words if word not in (*_ARTICLES, "elephant")] != [
        word for word in _words(settings["prompt"]) if word not in (*_ARTICLES, "horse")
    ]:
        return Mistake(
            "Keep the other words as they are: one change at a time.",
            f"Beside the animal, other words differ from {settings['prompt']!r}.",
        )
    return None


def _words(prompt) -> list[str]:
    """The words of a prompt, small, without the signs around them."""
    return [bare for word in str(prompt).lower().split() if (bare := word.strip(".,;:!?"))]


@exercise(
    "onepage.3",
    hint="Start at the empty prompt's guess and walk along the way that leads to the prompt's guess, `scale` times.",
    learned="Scale 0 ignores the prompt, 1 is the prompt's own guess, more than 1 goes beyond it.",
)
def _guidance(answer, **_facts) -> Mistake | None:
    """A function (noise_uncond, noise_text, scale) -> guided noise."""
    uncond, text = random(2, 1, 4, 3, 3)
    scale = 2.5
    got = shaped(
        call(answer, uncond, text, scale),
        uncond.shape,
        "The result is one guess, of the shape of each of the two.",
        f"Two guesses of shape {tuple(uncond.shape)} went in, {{}} came out.",
    )
    known = {
        "the two guesses have changed places": text + scale * (uncond - text),
        "you start at the prompt's guess: scale 1 would go too far already": text + scale * (text - uncond),
        "the way points from the prompt to the empty prompt": uncond + scale * (uncond - text),
        "the start is missing: it is the way alone": scale * (text - uncond),
        "the prompt's guess is made larger, and the empty prompt's is not used": scale * text,
        "the whole prompt's guess is added, not the difference of the two": uncond + scale * text,
        "the scale is not used": text,
        "you walk the way 3 times: use `scale`, whatever it is": uncond + 3 * (text - uncond),
    }
    hint = "Try scale 0, then scale 1, in your head. Which guess should come out of each?"
    known = told(hint, {f"With scale {scale:g}, {wrong}.": value for wrong, value in known.items()})
    otherwise = Mistake(
        "Three pieces are needed: a start, a way (a difference of the two guesses), and how often to walk it.",
        "The result is not: empty prompt's guess + scale × (prompt's guess − empty prompt's guess).",
    )
    return compared(got, uncond + scale * (text - uncond), known, otherwise, atol=1e-5, rtol=1e-5)


@puzzle(
    "onepage.4",
    given=lambda seed: {"latents": numbers(seed, seed + 2, 2, 2, 3)},
    hint="torch.cat joins a list of tensors at their first side.",
    learned="One call of the UNet now makes both guesses for each picture.",
    formula="torch.cat([latents] * 2).",
    wrong={
        "Twice as many pictures, or larger numbers? The numbers are doubled; the batch should be.": lambda x: 2 * x,
        "In which order? Each picture stands beside its copy. All once, then all again.": lambda x: x.repeat_interleave(
            2, dim=0
        ),
        "Which side grew? The channels were doubled, not the batch (side 0).": lambda x: torch.cat([x] * 2, dim=1),
        "Which side grew? The rows were doubled, not the batch (side 0).": lambda x: torch.cat([x] * 2, dim=2),
        "Which side grew? The width was doubled, not the batch (side 0).": lambda x: torch.cat([x] * 2, dim=3),
        "How many sides has it? They are stacked, which makes a new side; `cat` does not.": lambda x: torch.stack(
            [x] * 2
        ),
        "Is anything different yet? The batch is not doubled.": lambda x: x,
        "What stands in the second half? Zeros; it should hold the same latents again.": lambda x: torch.cat(
            [x, 0 * x]
        ),
    },
)
def _twice(latents):
    return torch.cat([latents] * 2)


@puzzle(
    "onepage.5",
    given=lambda seed: {"values": torch.linspace(-1.4, 1.4, 8 + seed).repeat(seed + 1, 1)},
    hint="Take −1, 0 and 1 through your line: they should become 0, ½ and 1. Then cut off.",
    learned="Two of the three small steps from the decoder's output to the bytes.",
    formula="(values / 2 + 0.5).clamp(0, 1).",
    wrong={
        "And what lies beyond −1 and 1? It is not cut off: clamp(0, 1) is missing.": lambda x: x / 2 + 0.5,
        "What becomes of the dark half? Clamped before it is moved: what is below 0 is lost.": lambda x: x.clamp(0, 1),
        "How wide is −1 … 1, how wide 0 … 1? It is moved and not halved.": lambda x: (x + 1).clamp(0, 1),
        "What becomes of 0? It is halved, but not moved up by 0.5.": lambda x: (x / 2).clamp(0, 1),
        "How large is the largest that is wanted? That is times 255, as for bytes; 0 … 1 is asked for.": lambda x: (
            (x / 2 + 0.5).clamp(0, 1) * 255
        ),
        "What becomes of −1, which is black? The absolute value folds dark into bright.": lambda x: x.abs().clamp(0, 1),
        "Is −1 already 0? Clamped at −1 and 1 alone, it is not yet moved to 0 … 1.": lambda x: x.clamp(-1, 1),
    },
)
def _to_unit(values):
    return (values / 2 + 0.5).clamp(0, 1)


@puzzle(
    "onepage.6",
    given=lambda seed: {"both": numbers(seed, 4 + 2 * seed, 2, 2, 2), "scale": 2.0 + seed},
    hint="`both.chunk(2)` gives the two halves of the batch. Then exercise 3.",
    learned="Two of the loop's lines in one: split, and guide.",
    formula="uncond, text = both.chunk(2); uncond + scale * (text - uncond).",
    wrong={
        "Which half comes first? They have changed places: first the guesses without words.": lambda both, scale: (
            _guided(both.chunk(2)[::-1], scale)
        ),
        "Which rows belong together? Every second row was taken; a half is n rows in a row.": lambda both, scale: (
            _guided((both[::2], both[1::2]), scale)
        ),
        "How many pictures has one half? Rows 0 and 1 are two pictures of the first half.": lambda both, scale: _guided(
            both[:2], scale
        ),
        "What is left at scale 0? The start is missing: this is the way alone.": lambda both, scale: (
            scale * (both.chunk(2)[1] - both.chunk(2)[0])
        ),
        "What does another scale change? The scale is not used.": lambda both, scale: both.chunk(2)[1],
        "Which side did you split? The channels; the halves lie in the batch, side 0.": lambda both, scale: _guided(
            both.chunk(2, dim=1), scale
        ),
        "What is left at scale 0? It starts at the prompt's guess, so scale 1 goes too far.": lambda both, scale: (
            _guided(both.chunk(2), scale + 1)
        ),
        "What should scale 1 give? The whole guess with words is added, not the difference.": lambda both, scale: (
            both.chunk(2)[0] + scale * both.chunk(2)[1]
        ),
    },
)
def _split_and_guide(both, scale):
    return _guided(both.chunk(2), scale)


def _guided(halves, scale):
    uncond, text = halves
    return uncond + scale * (text - uncond)
