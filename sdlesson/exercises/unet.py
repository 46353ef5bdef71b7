"""The judges of the lesson on the UNet."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch

from ..unet import group_norm, halvings
from . import Mistake, exercise
from .compare import alike, array, call, compared, listed, number, plain, random, shaped, shown, told, whole


@exercise(
    "unet.1",
    hint="Batch, channels, rows, columns. Section 2 printed the middle of a picture of the usual width.",
    learned="The middle keeps the picture's proportions; only its sides change with the size, not its channels.",
)
def _middle(answer, *, sd) -> Mistake | None:
    """The shape that mid_block gives in a guided call for one picture of twice the model's own width."""
    four = Mistake("Give four numbers: (pictures, channels, rows, columns).", "A map's shape has 4 numbers, not {}.")
    got = tuple(whole(each, "All four are whole numbers.") for each in listed(answer, 4, four))
    high, wide = (side // sd.vae_factor for side in sd.size)
    times, channels = halvings(sd.unet), sd.unet.config.block_out_channels[-1]

    def middle(high, wide, times=times):
        for _ in range(times):
            high, wide = -(-high // 2), -(-wide // 2)
        return high, wide

    sides = middle(high, 2 * wide)
    if got == (2, channels, *sides):
        return None
    if got[2:] == middle(*(side * sd.vae_factor for side in (high, 2 * wide))):
        return Mistake("The UNet never sees pixels.", f"Begin at the latents, {high} × {2 * wide}, not at pixels.")
    if got[2:] == (high, 2 * wide) and sides != got[2:]:
        return Mistake(
            "Those are the sides of the latents. How large is the map when it reaches the middle?",
            f"On its way to the middle the map is halved {times} times.",
        )
    if got[2:] in (middle(high, wide), middle(2 * high, wide)):
        return Mistake(
            "The picture is twice as *wide*. Which of the four numbers is the width?",
            f"Rows come before columns, and the columns double: {sides}, not {got[2:]}.",
        )
    if got[2:] in [middle(high, 2 * wide, other) for other in range(times + 3) if other != times]:
        return Mistake("Count the halvings in the printed table again.", f"This UNet halves {times} times.")
    if got[2:] != sides:
        return Mistake(
            "Halve rows and columns of the latents, as often as the UNet does.",
            f"The sides are {sides}, not {got[2:]}.",
        )
    if got[1] != channels:
        return Mistake(
            "How many channels has the middle? The size of the picture does not change them.",
            f"The middle works on {channels} channels, not {got[1]}.",
        )
    return Mistake(
        "The call is a guided one: how many pictures go through the UNet?",
        f"A guided call of one picture holds two halves: a batch of 2, not {got[0]}.",
    )


@exercise(
    "unet.2",
    hint="A residual block on the way up reads two maps, side by side. How wide is each?",
    learned="What comes up and the skip are put side by side: 640 + 320. The block makes 320 of them again.",
)
def _channels_in(answer, *, unet) -> Mistake | None:
    """The channels that the first residual block of the last up block reads: those from below and the skip's."""
    block = unet.up_blocks[-1].resnets[0]
    right, out, below = block.conv1.in_channels, block.conv1.out_channels, unet.config.block_out_channels[1]
    known = [
        *told("That is what comes from below. What is put beside it?", {"The skip is missing.": below}),
        *told("That is what the block gives, or one skip. What does it read?", {"It reads two maps.": out}),
        *told("Are both maps as wide as the block's output?", {"One of them comes from a wider stage.": 2 * out}),
        *told("Does the skip come from the stage below?", {"The skip comes from the same level.": 2 * below}),
        *told("Concatenated, not multiplied: channels side by side.", {"Add the two widths.": below * out}),
        *told("Does guidance widen a map?", {"Guidance doubles the batch, not the channels.": 2 * right}),
        *told("How many skips does *one* residual block read?", {"It reads one skip, not all.": below + 3 * out}),
    ]
    otherwise = Mistake("Add the width of the stage below to that of the skip.", f"{below} + {right - below} channels.")
    return compared(number(answer, "The answer is one number of channels."), right, known, otherwise)


@exercise(
    "unet.3",
    hint="Nine numbers in three rows. Which two places of the window count, and with which sign?",
    learned="A window that sums to 0 is blind to flat areas and answers at edges. Networks learn their windows.",
)
def _window(answer) -> Mistake | None:
    """A 3 x 3 window whose answer at each place is the right neighbour minus the left one."""
    got = shaped(
        answer,
        (3, 3),
        "Give three rows of three numbers: [[…, …, …], […, …, …], […, …, …]].",
        "The window has the shape {}, and should have (3, 3).",
    )
    right = torch.zeros(3, 3)
    right[1, 0], right[1, 2] = -1, 1
    sobel = torch.tensor([1.0, 2, 1])[:, None] * right[1]
    known = [
        *told("It answers with the wrong sign. Which side is taken away?", {"It is left minus right.": -right}),
        *told("Does it look across, or up and down?", {"Rows and columns have changed places.": right.T}),
        *told("Does it look across, or up and down?", {"It is below minus above, or the reverse.": -right.T}),
        *told("How large is the answer between a 0 and a 1?", {"It is half the difference.": right / 2}),
        *told("One row is enough. How large is the answer now?", {"It adds up three rows.": right[1].expand(3, 3)}),
        *told("One row is enough. How large is the answer now?", {"It adds up three rows.": sobel}),
        *told(
            "Does it compare the two neighbours?",
            {"It takes the middle for one of the two.": right.clamp(max=0) + _dot()},
        ),
        *told(
            "Does it compare the two neighbours?",
            {"It takes the middle for one of the two.": right.clamp(min=0) - _dot()},
        ),
        *told("One of the two is to be taken away.", {"It adds the two neighbours.": right.abs()}),
        *told("What does it answer on a flat map?", {"It is the mean of the window.": torch.full((3, 3), 1 / 9)}),
    ]
    otherwise = Mistake(
        "Seven of the nine numbers are 0.", "At the right of the middle row stands 1, at its left −1, all others are 0."
    )
    return compared(got, right, known, otherwise)


def _dot() -> torch.Tensor:
    """A window that sees its own place alone."""
    return torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])


@exercise(
    "unet.4",
    hint="An angle for each frequency, then all their cosines, and behind them all their sines.",
    learned="Fast waves tell near times apart, slow ones far times. Many models are told the places of words this way.",
)
def _waves(answer) -> Mistake | None:
    """A function (t, frequencies) -> the cosines, then the sines, of t times each frequency."""
    t, frequencies = 37.0, torch.tensor([1.0, 0.31, 0.17, 0.045, 0.006])
    angles = t * frequencies
    cos, sin = angles.cos(), angles.sin()
    got = call(answer, t, frequencies)
    if isinstance(got, list | tuple) and len(got) == 2 and array(got) is None:
        return Mistake(
            "One row of ten numbers is asked for. How many do you give?", "These are two; torch.cat joins them."
        )
    got = array(got)
    for half, name in ((cos, "cosines"), (sin, "sines")):
        if alike(got, half, atol=1e-4):
            return Mistake("That is one half. What is put behind it?", f"These are the {name} alone.")
    if got is not None and got.size == 10:
        got = got.reshape(-1) if 1 in got.shape or got.ndim == 1 else got
    got = shaped(
        got,
        (10,),
        "For five frequencies the answer is ten numbers in a row (torch.cat joins tensors, torch.stack piles them).",
        "Five frequencies make ten numbers in one row; the result has the shape {}.",
    )
    known = [
        *told("Both kinds are there. Which half stands first?", {"The sines stand first.": torch.cat([sin, cos])}),
        *told(
            "All cosines come first, then all sines.",
            {"Cosines and sines alternate.": torch.stack([cos, sin], 1).flatten()},
        ),
        *told("One half is right. What is the other?", {"Both halves are cosines.": torch.cat([cos, cos])}),
        *told("One half is right. What is the other?", {"Both halves are sines.": torch.cat([sin, sin])}),
        *told(
            "Does a larger frequency turn faster?",
            {"The time is divided by the frequency.": _waved(t / frequencies)},
        ),
        *told("Waves have no degrees here.", {"The angles are turned into radians.": _waved(angles.deg2rad())}),
        *told(
            "A wave of frequency f turns once in 2π / f steps as it is. What does 2π add?",
            {"2π is multiplied in.": _waved(6.2831853 * angles)},
        ),
        *told("Where is the time?", {"The time is not used.": _waved(frequencies)}),
    ]
    otherwise = Mistake(
        "torch.cat([angles.cos(), angles.sin()])", "These are not the cosines and sines of t × frequency."
    )
    return compared(got, torch.cat([cos, sin]), known, otherwise, atol=1e-4)


def _waved(angles: torch.Tensor) -> torch.Tensor:
    return torch.cat([angles.cos(), angles.sin()])


@exercise(
    "unet.5",
    hint="Eight pixels make one square. How often must its number of squares be divisible by two?",
    learned="With 3 halvings that is 64 pixels: why programs of the first days asked for multiples of 64.",
)
def _fits(answer) -> Mistake | None:
    """A function (height, width, halvings) -> do all halvings of these pixels come out even?"""
    got = {}
    for sizes in (_SIZES, _NOT_HALVED):
        for each in sizes:
            value = plain(call(answer, *each))
            if value not in (True, False):
                return Mistake("The function answers True or False.", f"It answers {shown(value)} to {each}.")
            got[each] = bool(value)
        mistake = _misfit(got)
        if mistake:
            return mistake
    return None


def _misfit(got: dict[tuple[int, int, int], bool]) -> Mistake | None:
    """What is wrong with the answers, (height, width, halvings) -> True or False."""
    right = {(h, w, n): not (h % (8 * 2**n) or w % (8 * 2**n)) for h, w, n in got}
    if got == right:
        return None
    for wrong, rule in _RULES.items():
        if got == {each: bool(rule(*each)) for each in got}:
            return Mistake(f"Try it on paper: 520 × 512 with 3 halvings, 96 × 96 with 2. {wrong}", wrong)
    height, width, halved = first = next(each for each in got if got[each] != right[each])
    return Mistake(
        f"Follow {height} × {width} pixels down: divide by 8, then halve {halved} times.",
        f"For {height} × {width} pixels and {halved} halvings the answer is {right[first]}.",
    )


#: Height, width, halvings: what `unet.5` is tried with, so that no rule below answers as the right one or as another.
_SIZES = [
    *((512, 512, 3), (520, 512, 3), (512, 520, 3), (544, 544, 3), (576, 448, 3), (500, 512, 3), (528, 528, 3)),
    *((128, 128, 2), (96, 96, 2), (80, 96, 2), (96, 80, 2), (112, 112, 2), (100, 96, 2), (20, 20, 2)),
    *((160, 160, 1), (24, 24, 1), (48, 48, 1), (96, 96, 3), (64, 64, 4), (128, 256, 4)),
]
#: Tried last, after all rules: there one that multiplies by the halvings divides by 0.
_NOT_HALVED = [(8, 24, 0), (16, 16, 0), (12, 16, 0)]


def _both(block):
    """The rule that both sides are multiples of block(halvings)."""
    return lambda height, width, halved: not (height % block(halved) or width % block(halved))


#: What is wrong -> the rule (height, width, halvings) that makes this mistake.
_RULES = {
    "It always says True.": lambda h, w, n: True,
    "It always says False.": lambda h, w, n: False,
    "It always asks for 64, whatever the UNet.": _both(lambda n: 64),
    "Multiples of 8 pixels satisfy the VAE alone. The UNet halves besides.": _both(lambda n: 8),
    "The halvings are multiplied, not doubled: 2 · n is not 2ⁿ.": _both(lambda n: 8 * max(1, 2 * n)),
    "The VAE's eight pixels a square are missing.": _both(lambda n: 2**n),
    "One halving too many.": _both(lambda n: 16 * 2**n),
    "One halving is missing.": _both(lambda n: 8 * 2 ** max(0, n - 1)),
    "It looks at the height alone.": lambda h, w, n: not h % (8 * 2**n),
    "It looks at the width alone.": lambda h, w, n: not w % (8 * 2**n),
    "It says True where sizes fail.": lambda h, w, n: (h % (8 * 2**n)) or (w % (8 * 2**n)),
    "It is content if one of the two sides fits.": lambda h, w, n: not (h % (8 * 2**n) and w % (8 * 2**n)),
    "The product of the sides is tested, not each side.": lambda h, w, n: h * w % (8 * 2**n) == 0,
}


@exercise(
    "unet.6",
    hint="Group, measure, take away the mean, divide by the root of the variance, ungroup.",
    learned="Each picture and each group by itself: that is why a batch changes nothing, and eval() neither.",
)
def _group_norm(answer) -> Mistake | None:
    """A function (x, groups) -> x with each group of channels of each picture brought to mean 0 and variance 1."""
    faint = torch.tensor([0.002, 1]).view(2, 1, 1, 1)  # there the 1e-5 beside the variance counts
    x = faint * (random(2, 6, 3, 5) * torch.arange(1.0, 7).view(6, 1, 1) + torch.tensor([1.0, -4]).view(2, 1, 1, 1))
    got = shaped(
        call(answer, x, 2),
        x.shape,
        "The result has the shape of `x`. Are the groups taken apart again?",
        f"Maps of shape {tuple(x.shape)} went in; {{}} came out.",
    )
    otherwise = Mistake(
        "x.unflatten(1, (groups, -1)) makes (batch, groups, channels, rows, columns). Measure over the last three.",
        "The result is not (x − mean) / √(variance + 1e-5), group by group.",
    )
    return compared(got, group_norm(x, 2), _not_normed(x), otherwise, atol=1e-4)


def _not_normed(x: torch.Tensor) -> list[tuple[object, Mistake]]:
    """Wrong results for x (2, 6, 3, 5) in 2 groups, and what to say to each."""
    grouped = x.view(2, 2, 3, 3, 5)

    def normed(values, over, correction=0, root=True, centred=True, under=1e-5, beside=0.0):
        variance, mean = torch.var_mean(values, dim=over, correction=correction, keepdim=True)
        divisor = (variance + under) ** (0.5 if root else 1) + beside
        return ((values - mean * centred) / divisor).reshape(x.shape)

    mixed = x.view(2, 3, 2, 3, 5)
    return [
        *told(
            "Does each channel stand alone?", {"Each channel was normed by itself, not each group.": normed(x, (2, 3))}
        ),
        *told("Are there two groups?", {"All channels of a picture make one group here.": normed(x, (1, 2, 3))}),
        *told(
            "Two pictures of one batch: does each have a mean of its own?",
            {"The pictures of the batch were mixed.": normed(grouped, (0, 2, 3, 4))},
        ),
        *told(
            "Which channels make a group: neighbours?",
            {"Every second channel makes a group.": normed(mixed, (1, 3, 4))},
        ),
        *told(
            "Variance or standard deviation?",
            {"Divide by the root of the variance.": normed(grouped, (2, 3, 4), root=False)},
        ),
        *told(
            "One of the two pictures is very faint. Which small number counts there?",
            {
                "The 1e-5 under the root is missing.": normed(grouped, (2, 3, 4), under=0),
                "The 1e-5 stands beside the root, not under it.": normed(grouped, (2, 3, 4), under=0, beside=1e-5),
            },
        ),
        *told(
            "What is the mean afterwards?", {"The mean is not taken away.": normed(grouped, (2, 3, 4), centred=False)}
        ),
        *told(
            "Over which sides do you measure? A group is a block of channels with all its rows and columns.",
            {"Each place was normed by itself, over the channels of a group.": normed(grouped, (2,))},
        ),
        *told("Which numbers are measured?", {"The whole batch was normed as one.": normed(x, (0, 1, 2, 3))}),
        *told(
            "Nearly. By how much is the variance divided: by n, or by n − 1?",
            {"The variance has n below, correction=0 (or unbiased=False).": normed(grouped, (2, 3, 4), correction=1)},
        ),
        *told("Does your function do anything yet?", {"Nothing is changed.": x}),
    ]


@exercise(
    "unet.7",
    hint="Keep two numbers: how many squares are seen, and how large one step of the present map is in the first one.",
    learned="Depth alone reaches far slowly. Halving makes each later window reach twice as far.",
)
def _reach(answer) -> Mistake | None:
    """A function (layers) -> the squares seen, for a list of convolutions (window, stride)."""
    got = []
    for each in _LAYERS:
        got.append(number(call(answer, each), "The function gives one number."))
    otherwise = Mistake(
        "Follow [(3, 2), (3, 1)] by hand: 1, then 1 + 2 = 3, then each step counts 2: 3 + 2 · 2 = 7.",
        "For each layer: squares += (window − 1) · step, then step *= stride.",
    )
    return compared(got, _seen(), _miscounted(), otherwise)


#: Convolutions (window, stride) that `unet.7` is tried with.
_LAYERS = [
    *([(3, 1)], [(3, 1), (3, 1)], [(3, 2), (3, 1)], [], [(1, 2), (5, 1)]),
    [(3, 1), (3, 2), (3, 1), (1, 1), (3, 2), (5, 1)],
]


def _seen(start=1, grow=lambda window: window - 1, step=lambda old, stride: old * stride, first=False) -> list[int]:
    """The squares seen after each of _LAYERS, counted rightly or by other rules; `first`: a stride counts at once."""
    counted = []
    for layers in _LAYERS:
        squares, size = start, 1
        for window, stride in layers:
            after = step(size, stride)
            squares += grow(window) * (after if first else size)
            size = after
        counted.append(squares)
    return counted


def _miscounted() -> list[tuple[list[int], Mistake]]:
    """Wrong counts, and what to say to each."""
    start = "How much does one square see before any layer?"
    products = [math.prod(window for window, _ in layers) for layers in _LAYERS]
    return [
        *told(
            "What does a stride of 2 do to the layers after it?", {"Strides are left out.": _seen(step=lambda *_: 1)}
        ),
        *told("Two windows of 3 overlap: what do they see together?", {"Add k − 1, not k.": _seen(grow=int)}),
        *told(
            "Does a layer's own stride count for itself?",
            {"A stride counts from the next layer on.": _seen(first=True)},
        ),
        *told(start, {"It begins at 1: itself.": _seen(start=0)}),
        *told(start, {"It begins at 1, and each layer adds k − 1.": _seen(start=0, grow=int)}),
        *told(
            "Two strides of 2: how large is a step then?",
            {"Strides multiply.": _seen(step=lambda old, new: old + new - 1)},
        ),
        *told("Do two windows of 3 see 9 squares in a row?", {"Windows are not multiplied.": products}),
    ]


@exercise(
    "unet.8",
    hint="Which skip must stay whole? And what is done to a tensor to make it half as strong?",
    learned="Weaker skips leave more to the middle of the UNet. FreeU (Si et al. 2023) tunes such factors.",
)
def _weaker(answer) -> Mistake | None:
    """A function (skip, number, share) -> the skip 0 as it is, every other one `share` times as strong."""
    skip = random(2, 3, 4, 4)
    cases = list(product((0, 1, 5), (0.0, 0.5, 1.5)))
    wanted, each_one = "The result has the shape of the skip.", []
    for each in cases:
        each_one.append(shaped(call(answer, skip, *each), skip.shape, wanted, f"{wanted} It has {{}}."))
    got = np.stack(each_one)

    def as_said(factor):
        return np.stack([array(factor(number, share) * skip) for number, share in cases])

    known = [
        *told("Is skip 0 whole?", {"Skip 0 is weakened, too.": as_said(lambda number, share: share)}),
        *told(
            "Which of them stays whole?",
            {"Skip 0 is weakened, and no other.": as_said(lambda n, s: s if n == 0 else 1)},
        ),
        *told(
            "Is `share` what stays, or what goes?",
            {"share stays, not 1 − share.": as_said(lambda n, s: 1 if n == 0 else 1 - s)},
        ),
        *told("What is left at share 0.5?", {"share is not used: they are cut.": as_said(lambda n, s: float(n == 0))}),
        *told("Does your function do anything yet?", {"No skip is changed.": as_said(lambda n, s: 1)}),
        *told(
            "Does share 0.5 make it weaker?",
            {"It is divided by the share: stronger.": as_said(lambda n, s: (1 / s if s else np.inf) if n else 1)},
        ),
        *told("Is skip 5 changed?", {"Only skip 1 is weakened.": as_said(lambda n, s: s if n == 1 else 1)}),
        *told(
            "Does each skip get the same share?",
            {"The number is multiplied in.": as_said(lambda n, s: s * n if n else 1)},
        ),
    ]
    otherwise = Mistake(
        "if number is 0, the skip itself; else share times the skip.", "skip 0 as it is, others × share."
    )
    return compared(got, as_said(lambda n, share: 1 if n == 0 else share), known, otherwise, atol=1e-5)
