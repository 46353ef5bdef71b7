"""The judges of the lesson on decoding."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import torch
from PIL import Image

from . import Mistake, exercise
from .compare import alike, call, compared, listed, number, one_change, shown, told
from .puzzles import puzzle


@exercise(
    "decoding.1",
    hint="Four numbers: pictures, channels, rows, columns. Look at up_blocks.1 in the list that section 2 prints.",
    learned="Pictures stay apart, channels come from the VAE's plan, and two of the three doublings are done by then.",
)
def _stage_shape(answer, *, sd) -> Mistake | None:
    """The shape after up_blocks.1 for three pictures at once, each as high as `sd`'s own and twice as wide."""
    channels = sd.vae.config.block_out_channels[-2]
    rows, columns = (pixels // sd.vae_factor for pixels in sd.size)
    few = Mistake(
        "A batch of feature maps has four sides, as latents have.",
        "You gave {} numbers; four are needed: pictures, channels, rows, columns.",
    )
    pictures, depth, *size = listed(answer, 4, few)
    if pictures != 3:
        return Mistake(
            "Guidance is over: nothing is doubled any more. How many pictures are decoded?",
            f"The first number counts the pictures: 3, not {pictures}.",
        )
    if depth in (3, sd.vae.config.latent_channels) and depth != channels:
        return Mistake(
            "The latents come in with 4 channels and the picture goes out with 3. In between there are more.",
            f"After up_blocks.1 there are {channels} channels, not {depth}.",
        )
    if depth != channels:
        return Mistake(
            "Read the channels in the line of up_blocks.1. They do not depend on the picture's size.",
            f"After up_blocks.1 this VAE has {channels} channels, not {depth}.",
        )
    return _stage_size(size, [4 * rows, 8 * columns], rows, columns)


def _stage_size(size, right, rows: int, columns: int) -> Mistake | None:
    """What is wrong with the rows and columns after two doublings of latents that are twice as wide."""
    doublings = {
        "These are the latents' own rows and columns. The first two up_blocks double both.": (rows, 2 * columns),
        "That is after up_blocks.0. The count begins at 0, so up_blocks.1 is the second one.": (2 * rows, 4 * columns),
        "That is the finished picture. The third doubling comes in up_blocks.2.": (8 * rows, 16 * columns),
    }
    hint = "Count the doublings: how often were rows and columns doubled when up_blocks.1 is done?"
    known = [
        *told(
            "The two numbers are right. Which of them comes first in a shape?",
            {"Rows come first, then columns. You have them the other way round.": right[::-1]},
        ),
        *told(
            "Right for this model's own size. What is special about these three pictures?",
            {"These are twice as wide: twice as many columns.": (4 * rows, 4 * columns)},
        ),
        *told(hint, doublings),
    ]
    otherwise = Mistake(hint, f"The latents have {rows} rows and {2 * columns} columns; both are doubled twice.")
    return compared(size, right, known, otherwise)


@exercise(
    "decoding.2",
    hint="Take each value through the steps: half of it, plus 0.5, clamp to 0 … 1, times 255, round.",
    learned="−1 is black, 1 is white, 0 is the middle, and whatever lies outside becomes black or white.",
)
def _levels(answer, *, values) -> Mistake | None:
    """The bytes that the decoded `values` become."""
    exact = [(value / 2 + 0.5) * 255 for value in values]
    right = [round(min(max(level, 0), 255)) for level in exact]
    few = Mistake("One number for each value.", f"There are {len(right)} values, and you gave {{}} numbers.")
    answer = listed(answer, len(right), few)
    known = {
        "These are not clamped: what lies outside of −1 … 1 has no byte of its own.": [round(level) for level in exact],
        "These are truncated: the nearest whole number is meant.": [int(min(max(level, 0), 255)) for level in exact],
        "0 is the decoder's middle grey, not its black: move −1 … 1 to 0 … 1 first.": [
            round(255 * min(max(value, 0), 1)) for value in values
        ],
        "The largest byte is 255, not 256: there are 256 levels, and the first one is 0.": [
            round(256 * min(max(value / 2 + 0.5, 0), 1)) for value in values
        ],
        "These are between 0 and 1: multiply by 255 and round.": [min(max(v / 2 + 0.5, 0), 1) for v in values],
    }
    rows = zip(values, answer, right, strict=True)
    value, got, level = next((row for row in rows if row[1] != row[2]), (0, 0, 0))
    otherwise = Mistake(
        f"Look at {value:g} again: half of it, plus 0.5, clamp, times 255, round.",
        f"{value:g} becomes {level}, not {got}.",
    )
    hint = "Which of the steps is missing, or done in another way?"
    return compared(answer, right, told(hint, known), otherwise, atol=1e-6)


@exercise(
    "decoding.3",
    hint='Give a set of letters, for example {"a", "e"}. Section 9 measured most of them, sections 4 and 6 the PNG.',
    learned="A seed is half of a recipe. The other half: how its numbers are laid out, and every step taken after.",
)
def _other_picture(answer) -> Mistake | None:
    """The letters of those changes that give another picture: b (size), d (fresh noise), f (one generator for two)."""
    if not isinstance(answer, Iterable):
        wrong = f"{shown(answer)} is no set of letters: give some of a to f, in quotation marks."
        return Mistake('Give letters in quotation marks: {"a", "e"}.', wrong)
    chosen = set(re.findall(r"\w+", " ".join(map(str, answer)).lower()))
    known = {
        "a": "Other threads add the same numbers in another order: that is at most a level or two.",
        "b": "The same numbers are laid out in rows of another length, so they lie elsewhere: another picture.",
        "c": "With seeds of their own, neighbours in a batch do not see each other.",
        "d": "Fresh noise at each step: most of the noise is not the first one's any more, and the way ends elsewhere.",
        "e": "PNG keeps every byte. (JPEG would not, but even that is the same picture to the eye.)",
        "f": "One generator draws the second picture's noise after the first one's: not what its own seed would draw.",
    }
    strange = chosen - set(known)
    if strange:
        return Mistake('Give a set of the letters a to f: {"a", "e"}.', f"There is no change {sorted(strange)[0]!r}.")
    for letter in sorted(chosen ^ {"b", "d", "f"}):
        side = "does not belong" if letter in chosen else "is missing"
        return Mistake(
            f"Think of change {letter} again. Is it the noise, its layout, the way down? Or the last digit alone?",
            f"({letter}) {side}. {known[letter]}",
        )
    return None


@exercise(
    "decoding.4",
    hint="Which setting says how a number is stored? dict(black_settings, …=…). It must have room for large numbers.",
    learned="bfloat16 has float32's range in half of the bytes. It pays with digits: a few levels, here and there.",
)
def _mend_black(answer, *, black) -> Mistake | None:
    """The settings `black` with one change that gives a picture and needs no more memory: bfloat16."""
    dtype = one_change(
        answer,
        black,
        "dtype",
        copied="dict(black_settings, …=…)",
        unchanged="Nothing is different yet. Why was it black?",
        more=Mistake("One change is enough: two are more than asked for.", "You changed {}; change `dtype` alone."),
        beside=Mistake(
            "Neither the noise nor the prompt is at fault: in float32 this very picture was good.",
            "You changed {}; change `dtype` alone.",
        ),
        missing="You lack {}.",
    )
    dtype = str(dtype).strip().lower().removeprefix("torch.")
    if dtype == "bfloat16":
        return None
    if dtype in ("float32", "float64", "double", "float"):
        return Mistake(
            "That gives a picture. But the machine of this exercise has no memory left.",
            f"{dtype} needs {4 if dtype in ('float32', 'float') else 8} bytes for each number; you may use 2.",
        )
    meant = "it is called bfloat16 here" if dtype == "bf16" else "it is not the type that is meant"
    return Mistake("Two bytes for each number, and the range of float32.", f"{dtype!r}: {meant}.")


@exercise(
    "decoding.5",
    hint="Both pictures as arrays of *signed* whole numbers, the difference, without sign, the largest.",
    learned="Bytes count from 255 on to 0: a difference of bytes is wrong whenever it should be below 0.",
)
def _largest_difference(answer) -> Mistake | None:
    """A function (one, other) of two PIL pictures -> their largest difference in levels."""
    grey = Image.new("RGB", (4, 3), (100, 100, 100))
    darker, brighter, both = grey.copy(), grey.copy(), grey.copy()
    darker.putpixel((1, 2), (100, 97, 100))
    brighter.putpixel((0, 0), (105, 100, 100))
    both.paste(darker)
    both.putpixel((3, 0), (100, 100, 102))
    far = Image.new("RGB", (4, 3), (0, 100, 100))
    cases = [(grey, grey, 0), (grey, brighter, 5), (brighter, grey, 5), (darker, grey, 3), (grey, darker, 3)]
    cases += [(both, grey, 3), (Image.new("RGB", (4, 3), (255, 100, 100)), far, 255)]
    for one, other, right in cases:
        got = number(call(answer, one, other))
        if abs(got - right) > 1e-3:  # shares of 255 are right but for their last digits
            if got == 0 == number(call(answer, other, one)):
                return Mistake(
                    "Do you look at every value, and take the largest?",
                    f"You found 0 where {right} is right, whichever picture comes first: one value alone is another.",
                )
            return _told_difference(got, right)
    got = number(call(answer, Image.new("RGB", (4, 3), (103, 98, 100)), grey))
    if not alike(got, 3, atol=1e-3):
        return Mistake(
            "What if one pixel differs in two of its colours? The largest difference of two *values* is asked for.",
            f"A pixel differs by 3 in red and by 2 in green, and you found {got:g}: the colours are not added up.",
        )
    return None


def _told_difference(got: float, right: int) -> Mistake:
    """The sentence for a largest difference `got` that should be `right`."""
    if right == 255 and got == 1:
        return Mistake(
            "A byte goes up to 255. How far does your type go?",
            "You found 1 where 255 is right: int8 ends at 127, and 255 becomes −1. Take int (or int16).",
        )
    if got == 256 - right:
        return Mistake(
            "Try two pixels by hand: np.uint8(97) − np.uint8(100). What comes out?",
            f"You found {got:g} where {right} is right: bytes have no sign. Make them int (or int16) first.",
        )
    if got in (-right, 0):
        return Mistake(
            "Where the first picture is darker, the difference is below 0. Is it less of a difference?",
            f"You found {got:g} where {right} is right: take the absolute value before you look for the largest.",
        )
    if got == right**2:
        return Mistake("Levels, or their squares?", f"You found {got:g} where {right} is right: it is squared.")
    if 0 < got < right:
        return Mistake(
            "One pixel in a thousand is enough: the *largest* difference is asked for.",
            f"You found {got:g} where {right} is right. Did you take a mean, or divide by 255?",
        )
    return Mistake("The largest number of levels between two values.", f"You found {got:g} where {right} is right.")


@puzzle(
    "decoding.6",
    given=lambda seed: {"picture": _colours(seed, 3, 5, 7 + seed)},
    hint="permute(…, …, …) names, for each new side, the old one.",
    learned="The same numbers, counted in another order: nothing is computed.",
    formula="picture.permute(1, 2, 0).",
    picture=True,
    wrong={
        "Where have the colours gone? reshape deals the numbers out anew; permute moves sides.": lambda x: x.reshape(
            x.shape[1], x.shape[2], 3
        ),
        "Does it lie on its side? Rows and columns have changed places.": lambda x: x.permute(2, 1, 0),
        "Are the colours right? Red and blue have changed places.": lambda x: x.flip(0).permute(1, 2, 0),
        "Which side is last? The channels still come first.": lambda x: x,
        "Where have the colours gone? It is grey: the mean of the three.": lambda x: (
            x.mean(dim=0, keepdim=True).expand(3, -1, -1).permute(1, 2, 0)
        ),
        "Which side is last? The channels stand in the middle.": lambda x: x.permute(1, 0, 2),
        "Is it upside down? The rows are turned.": lambda x: x.flip(1).permute(1, 2, 0),
    },
)
def _channels_last(picture):
    return picture.permute(1, 2, 0)


def _colours(seed: int, *shape: int):
    """Numbers from 0 to 1, one colour running into another."""
    count = torch.arange(math.prod(shape)).view(shape)
    return (count * (0.61 + seed / 10)).sin() / 2 + 0.5


@puzzle(
    "decoding.7",
    given=lambda seed: {"values": torch.linspace(-1.3, 1.013, 8 + seed).repeat(1 + seed, 1)},
    hint="Half, plus 0.5, clamp, times 255, round. Which of the five is missing?",
    learned="256 levels are all that a picture on a screen has.",
    formula="((values / 2 + 0.5).clamp(0, 1) * 255).round().",
    wrong={
        "Up or down? The numbers are truncated, not rounded to the nearest.": lambda x: (
            (x / 2 + 0.5).clamp(0, 1) * 255
        ).floor(),
        "And what lies beyond? It is not cut off: the clamp is missing.": lambda x: ((x / 2 + 0.5) * 255).round(),
        "What is the largest byte? 255, not 256.": lambda x: ((x / 2 + 0.5).clamp(0, 1) * 256).round(),
        "What becomes of −0.5? Clamped before it is moved: the dark half is lost.": lambda x: (
            x.clamp(0, 1) * 255
        ).round(),
        "Whole numbers? These are not rounded.": lambda x: (x / 2 + 0.5).clamp(0, 1) * 255,
        "How many levels are there? It is 0 or 1, rounded before times 255.": lambda x: (
            (x / 2 + 0.5).clamp(0, 1).round()
        ),
        "How wide is −1 … 1? It is moved, but not halved.": lambda x: ((x + 1).clamp(0, 1) * 255).round(),
        "What becomes of 256? The byte wraps around to 0: cut off first.": lambda x: (
            ((x / 2 + 0.5) * 255).round() % 256
        ),
    },
)
def _to_bytes(values):
    return ((values / 2 + 0.5).clamp(0, 1) * 255).round()


@puzzle(
    "decoding.8",
    given=lambda seed: {"pictures": _colours(seed, 3 + seed % 2, 4, 4 + seed, 3)},
    hint="In one picture the rows are side 0 and the columns side 1. At which of them do neighbours meet?",
    learned="A contact sheet without a library: the same numbers in another order.",
    formula="torch.cat(list(pictures), dim=1).",
    picture=True,
    wrong={
        "Where did the rows go? reshape deals them out anew; join whole pictures.": lambda x: x.reshape(
            x.shape[1], -1, 3
        ),
        "Beside or below? The pictures stand one below the other.": lambda x: x.flatten(0, 1),
        "Which stands at the left? The order is turned: the last does.": lambda x: torch.cat(list(x.flip(0)), dim=1),
        "How many pictures do you see? One: the mean of all.": lambda x: x.mean(dim=0),
        "How many pictures do you see? The first alone.": lambda x: x[0],
        "How many sides has the result? Four: the pictures are not joined yet.": lambda x: x,
        "Which side grew? They are joined at the colours.": lambda x: torch.cat(list(x), dim=2),
        "How many pictures do you see? One, the first, is repeated.": lambda x: torch.cat([x[0]] * len(x), dim=1),
    },
)
def _sheet(pictures):
    return torch.cat(list(pictures), dim=1)
