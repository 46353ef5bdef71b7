"""The judges of the lesson on one page."""

from __future__ import annotations

from . import Mistake, exercise
from .compare import call, compared, listed, one_change, random, shaped, shown, told


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
    words = _words(prompt)
    if "elephant" not in words or "horse" in words:
        return Mistake(
            "An elephant is to take the horse's place.",
            f"Your prompt is {shown(prompt)}: it should name an elephant where the horse was.",
        )
    if [word for word in words if word not in ("a", "an", "elephant")] != [
        word for word in _words(settings["prompt"]) if word not in ("a", "an", "horse")
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
