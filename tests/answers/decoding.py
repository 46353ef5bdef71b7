"""Planted answers to the exercises on decoding."""

import numpy as np
import torch

from . import function, row

VALUES = [-1, -0.5, 0.2, 0.995, 1.3]
BLACK = {"prompt": "a photograph", "seed": 42, "num_inference_steps": 20, "dtype": "float16"}


def with_(**change):
    return BLACK | change


def largest(one, other):
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


def largest_by_pixels(one, other):
    places = [(x, y) for x in range(one.width) for y in range(one.height)]
    pairs = [(one.getpixel(place), other.getpixel(place)) for place in places]
    return max(abs(a - b) for mine, yours in pairs for a, b in zip(mine, yours, strict=True))


def arrays(rule):
    return lambda one, other: rule(np.asarray(one), np.asarray(other))


def to_bytes(values):
    return ((values / 2 + 0.5).clamp(0, 1) * 255).round()


PLANTED = {
    "decoding.1": {
        "facts": lambda sd: {"sd": sd},
        "right": row(3, 64, 64, 128),
        "wrong": {
            "the batch doubled, but guidance is over": (6, 64, 64, 128),
            "the latents' channels": (3, 4, 64, 128),
            "the channels of another block, up_blocks.0": (3, 128, 64, 128),
            "the finished picture, a third doubling": (3, 64, 128, 256),
            "after up_blocks.0, one doubling": (3, 64, 32, 64),
            "rows and columns the other way round": (3, 64, 128, 64),
            "not twice as wide": (3, 64, 64, 64),
            "three numbers, the pictures left out": (64, 64, 128),
        },
    },
    "decoding.2": {
        "facts": lambda sd: {"values": VALUES},
        "right": row(0, 64, 153, 254, 255),
        "wrong": {
            "not clamped: 293 is no byte": (0, 64, 153, 254, 293),
            "truncated, not rounded": (0, 63, 153, 254, 255),
            "negative values become black: not moved to 0 … 1": (0, 0, 51, 254, 255),
            "256 in place of 255": (0, 64, 154, 255, 256),
            "between 0 and 1, not times 255": (0, 0.25, 0.6, 0.9975, 1),
            "four numbers for five values": (0, 64, 153, 254),
            "only one is wrong: the last becomes black": (0, 64, 153, 254, 0),
        },
    },
    "decoding.3": {
        "facts": lambda sd: {},
        "right": [{"b", "d", "f"}, "bdf", ["b", "d", "f"], ("f", "d", "b"), "b, d, f", {"B", "D", "F"}, "(b) (d) (f)"],
        "wrong": {
            "other threads for another picture": {"a", "b", "d", "f"},
            "neighbours in a batch, with seeds of their own": {"b", "c", "d", "f"},
            "PNG loses nothing": {"b", "d", "e", "f"},
            "a wider picture is missing: layout": {"d", "f"},
            "fresh noise is missing": {"b", "f"},
            "one generator for two is missing": {"b", "d"},
            "no letters of these": {"x"},
            "a number, no set of letters": 3,
        },
    },
    "decoding.4": {
        "facts": lambda sd: {"black": BLACK},
        "right": [
            with_(dtype="bfloat16"),
            with_(dtype=torch.bfloat16),
            with_(dtype="torch.bfloat16"),
            with_(dtype="BFloat16"),
            with_(dtype=" bfloat16 "),
        ],
        "wrong": {
            "float32: there is no memory left": with_(dtype="float32"),
            "float64 needs 8 bytes": with_(dtype=torch.float64),
            "nothing is different": dict(BLACK),
            "another seed: the noise is not at fault": with_(seed=43),
            "one byte, a type without this range": with_(dtype="int8"),
            "the dtype alone, no settings": "bfloat16",
            "two changes, not dtype alone": with_(dtype="bfloat16", seed=1),
        },
    },
    "decoding.5": {
        "facts": lambda sd: {},
        "right": [
            largest,
            largest_by_pixels,
            arrays(lambda a, b: np.abs(a.astype(np.int16) - b.astype(np.int16)).max()),
            arrays(lambda a, b: float(np.abs(a.astype(float) - b.astype(float)).max())),
            arrays(lambda a, b: torch.tensor((a.astype(int) - b.astype(int)).tolist()).abs().max()),
            arrays(lambda a, b: (np.maximum(a, b) - np.minimum(a, b)).max()),
        ],
        "wrong": {
            "bytes have no sign": arrays(lambda a, b: np.abs(a - b).max()),
            "the absolute value is missing": arrays(lambda a, b: (a.astype(int) - b.astype(int)).max()),
            "the mean, not the largest": arrays(lambda a, b: np.abs(a.astype(int) - b.astype(int)).mean()),
            "int8 ends at 127": arrays(lambda a, b: np.abs(a.astype(np.int8) - b.astype(np.int8)).max()),
            "divided by 255": arrays(lambda a, b: np.abs(a.astype(int) - b.astype(int)).max() / 255),
            "added up over the colours of a pixel": arrays(
                lambda a, b: np.abs(a.astype(int) - b.astype(int)).sum(axis=2).max()
            ),
            "the smallest: every value is looked at, but not the largest taken": arrays(
                lambda a, b: np.abs(a.astype(int) - b.astype(int)).min()
            ),
            "squared": arrays(lambda a, b: ((a.astype(int) - b.astype(int)) ** 2).max()),
            "an array, no number: the largest is asked for": arrays(lambda a, b: np.abs(a.astype(int) - b.astype(int))),
        },
    },
    "decoding.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda picture: picture.permute(1, 2, 0),
            lambda picture: torch.stack(list(picture), dim=-1),
            lambda picture: np.moveaxis(picture.numpy(), 0, -1),
            lambda picture: picture.movedim(0, 2),
        ),
        "wrong": {
            "reshape deals the numbers out anew": lambda p: p.reshape(p.shape[1], p.shape[2], 3),
            "rows and columns have changed places: it lies on its side": lambda p: p.permute(2, 1, 0),
            "red and blue have changed places": lambda p: p.flip(0).permute(1, 2, 0),
            "the channels still come first": lambda p: p,
            "grey: the mean of the colours": lambda p: p.mean(dim=0, keepdim=True).expand(3, -1, -1).permute(1, 2, 0),
            "the channels stand in the middle": lambda p: p.permute(1, 0, 2),
            "upside down: the rows are turned": lambda p: p.flip(1).permute(1, 2, 0),
        },
    },
    "decoding.7": {
        "facts": lambda sd: {},
        "right": function(
            to_bytes,
            lambda values: torch.floor((values.clamp(-1, 1) + 1) * 127.5 + 0.5),
            lambda values: to_bytes(values).to(torch.uint8),
            lambda values: [[max(0, min(255, round((v / 2 + 0.5) * 255))) for v in row] for row in values.tolist()],
        ),
        "wrong": {
            "truncated, not rounded": lambda v: ((v / 2 + 0.5).clamp(0, 1) * 255).int(),
            "not cut off: no clamp": lambda v: ((v / 2 + 0.5) * 255).round(),
            "256 in place of 255": lambda v: ((v / 2 + 0.5).clamp(0, 1) * 256).round(),
            "the dark half is lost: clamped before it is moved": lambda v: (v.clamp(0, 1) * 255).round(),
            "not rounded": lambda v: (v / 2 + 0.5).clamp(0, 1) * 255,
            "0 … 1, not times 255": lambda v: (v / 2 + 0.5).clamp(0, 1).round(),
            "not halved": lambda v: ((v + 1).clamp(0, 1) * 255).round(),
            "the byte wraps around: 256 becomes 0": lambda v: ((v / 2 + 0.5) * 255).round() % 256,
        },
    },
    "decoding.8": {
        "facts": lambda sd: {},
        "right": function(
            lambda pictures: torch.cat(list(pictures), dim=1),
            lambda pictures: pictures.permute(1, 0, 2, 3).flatten(1, 2),
            lambda pictures: np.concatenate(list(pictures.numpy()), axis=1),
            lambda pictures: torch.stack([torch.cat([p[r] for p in pictures]) for r in range(pictures.shape[1])]),
        ),
        "wrong": {
            "reshape deals the rows out anew": lambda p: p.reshape(p.shape[1], -1, 3),
            "one below the other": lambda p: torch.cat(list(p), dim=0),
            "the order is turned: the last at the left": lambda p: torch.cat(list(p.flip(0)), dim=1),
            "the mean of all pictures": lambda p: p.mean(dim=0),
            "the first picture alone": lambda p: p[0],
            "a list of pictures, not joined": lambda p: list(p),
            "joined at the colours": lambda p: torch.cat(list(p), dim=2),
            "the first picture repeated": lambda p: torch.cat([p[0]] * len(p), dim=1),
        },
    },
}
