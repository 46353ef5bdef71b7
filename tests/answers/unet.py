"""Planted answers to the exercises on the UNet."""

import math

import numpy as np
import torch

from . import function, row, value


def big_unet(sd):
    from sdlesson import fullsize

    return {"unet": fullsize.empty_parts("v1.4")["unet"]}


WINDOW = [[0, 0, 0], [-1, 0, 1], [0, 0, 0]]


def waves(t, frequencies):
    return torch.cat([torch.cos(t * frequencies), torch.sin(t * frequencies)])


def waves_by_loop(t, frequencies):
    return [math.cos(t * f) for f in frequencies.tolist()] + [math.sin(t * f) for f in frequencies.tolist()]


def fits(height, width, halvings):
    return height % (8 * 2**halvings) == 0 and width % (8 * 2**halvings) == 0


def fits_by_loop(height, width, halvings):
    for side in (height, width):
        if side % 8:
            return False
        squares = side // 8
        for _ in range(halvings):
            if squares % 2:
                return False
            squares //= 2
    return True


def fits_by_gcd(height, width, halvings):
    return math.gcd(height, width) % (2 ** (3 + halvings)) == 0


def normed(x, groups, over=(2, 3, 4), correction=0, mean=True, root=True, under=1e-5):
    grouped = x.unflatten(1, (groups, -1))
    m, v = grouped.mean(over, keepdim=True), grouped.var(over, correction=correction, keepdim=True)
    return ((grouped - m * mean) / (v + under) ** (0.5 if root else 1)).flatten(1, 2)


def normed_by_loops(x, groups):
    made = x.clone()
    size = x.shape[1] // groups
    for picture in made:
        for first in range(0, x.shape[1], size):
            part = picture[first : first + size].clone()
            picture[first : first + size] = (part - part.mean()) / (part.var(unbiased=False) + 1e-5).sqrt()
    return made


def sees(layers):
    squares, step = 1, 1
    for window, stride in layers:
        squares += (window - 1) * step
        step *= stride
    return squares


def sees_backwards(layers):
    squares = 1
    for window, stride in reversed(layers):
        squares = (squares - 1) * stride + window
    return squares


def counts_its_own_stride(layers):
    squares, step = 1, 1
    for window, stride in layers:
        step *= stride
        squares += (window - 1) * step
    return squares


def weaker(skip, number, share):
    return skip if number == 0 else skip * share


PLANTED = {
    "unet.1": {
        "facts": lambda sd: {"sd": sd},
        "right": row(2, 160, 4, 8),
        "wrong": {
            "one half only, the call is guided: batch": (1, 160, 4, 8),
            "the latents' sides, not halved": (2, 160, 16, 32),
            "rows and columns the other way round, the width": (2, 160, 8, 4),
            "the usual width": (2, 160, 4, 4),
            "the latents' channels": (2, 4, 4, 8),
            "pixels halved, not latents": (2, 160, 32, 64),
            "one halving too few: count the halvings": (2, 160, 8, 16),
            "the batch is missing: three numbers, not 4": (160, 4, 8),
        },
    },
    "unet.2": {
        "facts": big_unet,
        "right": value(960),
        "wrong": {
            "the skip is missing: what comes from below": 640,
            "what the block gives, or one skip: it reads two maps": 320,
            "doubled for guidance": 1920,
            "the skip is thought as wide as what comes from below: same level": 1280,
            "multiplied, not added": 640 * 320,
            "all three skips read at once": 640 + 3 * 320,
        },
    },
    "unet.3": {
        "facts": lambda sd: {},
        "right": [WINDOW, torch.tensor(WINDOW), torch.tensor(WINDOW).double(), np.array(WINDOW), np.array(WINDOW) * 1.0]
        + [tuple(map(tuple, WINDOW))],
        "wrong": {
            "left minus right: the sign": [[0, 0, 0], [1, 0, -1], [0, 0, 0]],
            "up and down, not across: rows and columns": [[0, -1, 0], [0, 0, 0], [0, 1, 0]],
            "half the difference": [[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]],
            "three rows are added up": [[-1, 0, 1]] * 3,
            "it compares with the middle": [[0, 0, 0], [0, -1, 1], [0, 0, 0]],
            "it adds the two neighbours": [[0, 0, 0], [1, 0, 1], [0, 0, 0]],
            "one row of three numbers": [-1, 0, 1],
        },
    },
    "unet.4": {
        "facts": lambda sd: {},
        "right": function(
            waves,
            waves_by_loop,
            lambda t, f: torch.stack([(t * f).cos(), (t * f).sin()]).flatten(),
            lambda t, f: np.concatenate([np.cos(t * f.numpy()), np.sin(t * f.numpy())]),
        ),
        "wrong": {
            "the sines first": lambda t, f: torch.cat([torch.sin(t * f), torch.cos(t * f)]),
            "cosines and sines alternate": lambda t, f: torch.stack([(t * f).cos(), (t * f).sin()], dim=1).flatten(),
            "stacked in two rows, not one": lambda t, f: torch.stack([(t * f).cos(), (t * f).sin()]),
            "two tensors, not joined": lambda t, f: ((t * f).cos(), (t * f).sin()),
            "cosines alone": lambda t, f: (t * f).cos(),
            "divided by the frequency": lambda t, f: waves(t, 1 / f),
            "degrees turned into radians": lambda t, f: waves(math.radians(t), f),
            "the time is not used": lambda t, f: waves(1, f),
            "sines in both halves": lambda t, f: torch.cat([(t * f).sin()] * 2),
        },
    },
    "unet.5": {
        "facts": lambda sd: {},
        "right": [
            fits,
            fits_by_loop,
            fits_by_gcd,
            lambda h, w, n: int(fits(h, w, n)),
            lambda h, w, n: np.bool_(fits(h, w, n)),
            lambda h, w, n: torch.tensor(fits(h, w, n)),
            lambda h, w, n: torch.tensor([float(fits(h, w, n))]),
        ],
        "wrong": {
            "always 64, whatever the halvings": lambda h, w, n: h % 64 == 0 and w % 64 == 0,
            "multiples of 8: the VAE alone": lambda h, w, n: h % 8 == 0 and w % 8 == 0,
            "the eight pixels of a square are missing": lambda h, w, n: h % 2**n == 0 and w % 2**n == 0,
            "8 times n: the halvings are multiplied": lambda h, w, n: (
                h % (8 * max(1, 2 * n)) == 0 and w % (8 * max(1, 2 * n)) == 0
            ),
            "multiplied: 8 times 2 n": lambda h, w, n: h % (8 * 2 * n) == 0 and w % (8 * 2 * n) == 0,
            "the height alone": lambda h, w, n: h % (8 * 2**n) == 0,
            "one of the two sides is enough": lambda h, w, n: h % (8 * 2**n) == 0 or w % (8 * 2**n) == 0,
            "turned over: true where sizes fail": lambda h, w, n: not fits(h, w, n),
            "always true": lambda h, w, n: True,
        },
    },
    "unet.6": {
        "facts": lambda sd: {},
        "right": function(
            normed, normed_by_loops, lambda x, groups: torch.nn.functional.group_norm(x, groups, eps=1e-5)
        ),
        "wrong": {
            "each channel by itself, not each group": lambda x, g: normed(x, x.shape[1]),
            "all channels in one group": lambda x, g: normed(x, 1),
            "the pictures of the batch are mixed": lambda x, g: normed(x, g, over=(0, 2, 3, 4)),
            "variance divided by n − 1": lambda x, g: normed(x, g, correction=1),
            "the mean is not taken away": lambda x, g: normed(x, g, mean=False),
            "no 1e-5 under the root": lambda x, g: normed(x, g, under=0),
            "divided by the variance, not its root": lambda x, g: normed(x, g, root=False),
            "the groups are not taken apart: another shape": lambda x, g: normed(x, g).unflatten(1, (g, -1)),
            "nothing is changed": lambda x, g: x,
        },
    },
    "unet.7": {
        "facts": lambda sd: {},
        "right": function(sees, sees_backwards),
        "wrong": {
            "strides are left out": lambda layers: 1 + sum(w - 1 for w, s in layers),
            "it adds k, not k − 1": lambda layers: (
                1 + sum(w * math.prod(t for _, t in layers[:i]) for i, (w, s) in enumerate(layers))
            ),
            "a layer's own stride counts at once": counts_its_own_stride,
            "begins at 0, not with itself at 1": lambda layers: sees(layers) - 1,
            "windows are multiplied": lambda layers: math.prod(w for w, _ in layers),
            "it sees the whole list: a tuple, no number": lambda layers: (sees(layers), sees(layers)),
        },
    },
    "unet.8": {
        "facts": lambda sd: {},
        "right": function(
            weaker,
            lambda skip, number, share: skip * (share if number else 1),
            lambda skip, number, share: torch.where(torch.tensor(number == 0), skip, share * skip),
        ),
        "wrong": {
            "skip 0 is weakened, too": lambda s, n, share: s * share,
            "only skip 0 is weakened": lambda s, n, share: s * share if n == 0 else s,
            "1 − share stays": lambda s, n, share: s if n == 0 else s * (1 - share),
            "the others are cut: share is not used": lambda s, n, share: s if n == 0 else s * 0,
            "nothing is changed": lambda s, n, share: s,
            "only skip 1 is weakened, not 5": lambda s, n, share: s * share if n == 1 else s,
            "divided by the share, so made stronger": lambda s, n, share: s if n == 0 else s / share,
        },
    },
}
