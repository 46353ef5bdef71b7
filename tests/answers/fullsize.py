"""Planted answers to the exercises on the full size."""

import numpy as np
import torch

from . import function, value

NUMBERS, STEP = 859_520_964, 1.607e12
LIBRARIES = 0.45


def fits(memory, gib, working, by_turns, libraries=LIBRARIES):
    moments = [(gib[part] if by_turns else sum(gib.values())) + working[part] for part in gib]
    return libraries + max(moments) < memory


def fits_by_loop(memory, gib, working, by_turns):
    peak = 0
    for part, weights in gib.items():
        there = weights if by_turns else sum(gib.values())
        peak = max(peak, LIBRARIES + there + working[part])
    return peak < memory


def scales(weights, dim=1, keepdim=True):
    return weights.abs().amax(dim=dim, keepdim=keepdim) / 127


def rounded(weights):
    return (weights / scales(weights)).round() * scales(weights)


def peaks(weights, work):
    return [float(sum(weights)) + float(each) for each in work]


PLANTED = {
    "fullsize.1": {
        "facts": lambda sd: {"numbers": NUMBERS},
        "right": [*value(2 * NUMBERS / 2**30), 1.6, 1.60, 1.601],
        "wrong": {
            "4 bytes, as float32": 4 * NUMBERS / 2**30,
            "GB, not GiB": 2 * NUMBERS / 1e9,
            "one byte": NUMBERS / 2**30,
            "bytes, not divided": 2 * NUMBERS,
            "bits for bytes": 16 * NUMBERS / 2**30,
            "divided by 1000, in MiB": 2 * NUMBERS / 2**20,
        },
    },
    "fullsize.2": {
        "facts": lambda sd: {"step": STEP, "rate": 40e12, "steps": 20},
        "right": [*value(20 * STEP / 40e12), 0.8, 0.804],
        "wrong": {
            "one step only": STEP / 40e12,
            "doubled once more for guidance: both halves": 40 * STEP / 40e12,
            "one half of each guided step only": 10 * STEP / 40e12,
            "milliseconds": 20_000 * STEP / 40e12,
            "upside down: rate divided by work": 40e12 / (20 * STEP),
            "40 for 20 steps and not 10¹²: the rate in TFLOP": 20 * STEP / 40,
            "8 steps, as the page paints": 8 * STEP / 40e12,
            "GFLOP divided by TFLOP/s": 20 * 1607 / 40,
        },
    },
    "fullsize.3": {
        "facts": lambda sd: {"libraries": LIBRARIES},
        "right": [
            fits,
            fits_by_loop,
            lambda *given: int(fits(*given)),
            lambda *given: np.bool_(fits(*given)),
            lambda *given: torch.tensor(fits(*given)),
            lambda *given: float(fits(*given)),
        ],
        "wrong": {
            "the libraries are forgotten": lambda m, g, w, t: fits(m, g, w, t, 0),
            "the work of all parts at once": lambda m, g, w, t: LIBRARIES + sum(g.values()) + sum(w.values()) < m,
            "by turns all weights stay, too": lambda m, g, w, t: fits(m, g, w, False),
            "always by turns": lambda m, g, w, t: fits(m, g, w, True),
            "turned over": lambda m, g, w, t: not fits(m, g, w, t),
            "the largest weights and the largest work of two parts": lambda m, g, w, t: (
                LIBRARIES + (max(g.values()) if t else sum(g.values())) + max(w.values()) < m
            ),
            "the work of the part with the largest weights": lambda m, g, w, t: (
                LIBRARIES + (max(g.values()) + w[max(g, key=g.get)] if t else sum(g.values()) + max(w.values())) < m
            ),
            "only the last part: the loop forgets the others": lambda m, g, w, t: [
                LIBRARIES + (g[part] if t else sum(g.values())) + w[part] < m for part in g
            ][-1],
            "only the first part: return inside the loop": lambda m, g, w, t: next(
                LIBRARIES + (g[part] if t else sum(g.values())) + w[part] < m for part in g
            ),
            "any moment, the smallest, not the largest": lambda m, g, w, t: any(
                LIBRARIES + (g[part] if t else sum(g.values())) + w[part] < m for part in g
            ),
            "by_turns the other way round: changed places": lambda m, g, w, t: fits(m, g, w, not t),
            "without turns all weights and no work beside them": lambda m, g, w, t: (
                fits(m, g, w, t) if t else LIBRARIES + sum(g.values()) < m
            ),
            "the peak, not True or False": lambda m, g, w, t: LIBRARIES + sum(g.values()) + max(w.values()),
        },
    },
    "fullsize.4": {
        "facts": lambda sd: {},
        "right": function(
            lambda x: x.bfloat16().float(),
            lambda x: x.to(torch.bfloat16).to(torch.float32),
            lambda x: torch.stack([each.type(torch.bfloat16).double() for each in x]),
        ),
        "wrong": {
            "still of 16 bits: .float() is missing": lambda x: x.bfloat16(),
            "float16: large numbers overflow": lambda x: x.half().float(),
            "nothing is kept in 16 bits": lambda x: x,
            "whole numbers": lambda x: x.round(),
            "integers of 16 bits": lambda x: x.clamp(-32768, 32767).to(torch.int16).float(),
            "two digits after the point": lambda x: (x * 100).round() / 100,
            "float64: nothing is cut to 16 bits": lambda x: x.double(),
            "eight bits with one scale": lambda x: (x / x.abs().max() * 127).round() * x.abs().max() / 127,
            "fixed: it fits the drawing alone": lambda x: torch.stack(
                [x[each].bfloat16().float() for each in range(6)]
            ),
        },
    },
    "fullsize.5": {
        "facts": lambda sd: {},
        "right": function(
            rounded,
            lambda weights: torch.stack([(r * 127 / r.abs().max()).round() * r.abs().max() / 127 for r in weights]),
            lambda weights: torch.round(weights / scales(weights)).to(torch.int8) * scales(weights),
        ),
        "wrong": {
            "one scale for all rows": lambda w: (w / (w.abs().max() / 127)).round() * (w.abs().max() / 127),
            "a scale for each column": lambda w: (w / scales(w, 0)).round() * scales(w, 0),
            "not rounded": lambda w: w.clone(),
            "the whole numbers, not times the scale": lambda w: (w / scales(w)).round(),
            "truncated, not rounded": lambda w: (w / scales(w)).trunc() * scales(w),
            "4 bits: 7 in place of 127": lambda w: (w / scales(w) * 7 / 127).round() * scales(w) * 127 / 7,
            "the largest value without its sign is missing": lambda w: (
                (w / (w.amax(1, keepdim=True) / 127)).round() * (w.amax(1, keepdim=True) / 127)
            ),
            "rounded without a scale": lambda w: w.round(),
            "127 is missing: three levels": lambda w: (w / scales(w) / 127).round() * scales(w) * 127,
            "fixed: it fits the drawing alone": lambda w: torch.stack(
                [(w[:, each] / scales(w)[:, 0]).round() * scales(w)[:, 0] for each in range(5)], 1
            ),
        },
    },
    "fullsize.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda weights, work: weights.sum() + work,
            peaks,
            lambda weights, work: torch.stack([weights.sum() + each for each in work]),
            lambda weights, work: work + torch.full_like(work, float(weights.sum())),
        ),
        "wrong": {
            "by turns: the part's own weights alone": lambda w, k: w + k,
            "the work of all parts at once": lambda w, k: (w.sum() + k.sum()).expand(len(k)),
            "the work alone, the weights are missing": lambda w, k: k,
            "the peak, one number": lambda w, k: w.sum() + k.max(),
            "the weights so far: loaded one after the other": lambda w, k: w.cumsum(0) + k,
            "the weights alone, the work is missing": lambda w, k: w.sum().expand(len(k)),
            "the largest weights in place of all": lambda w, k: w.max() + k,
        },
    },
}
