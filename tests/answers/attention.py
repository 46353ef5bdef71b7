"""Planted answers to the exercises on attention."""

import numpy as np
import torch

from . import function, row, value

POSITION, FACTOR = 5, 4


def louder(scores, rows=None, position=POSITION, factor=FACTOR):
    weights = scores.softmax(dim=-1)
    rows = slice(len(scores) // 2, None) if rows is None else rows
    weights[rows, ..., position] *= factor
    return weights


def louder_by_product(scores):
    scale = torch.ones_like(scores)
    scale[len(scores) // 2 :, :, :, POSITION] = FACTOR
    return scores.softmax(dim=-1) * scale


def louder_by_halves(scores):
    first, second = scores.softmax(dim=-1).chunk(2)
    second = second.clone()
    second[..., POSITION] = FACTOR * second[..., POSITION]
    return torch.cat([first, second])


def silent(scores, positions):
    rest = torch.ones(scores.shape[-1], dtype=torch.bool)
    rest[positions] = False
    return rest


def only(scores, positions):
    return scores.masked_fill(silent(scores, positions), float("-inf")).softmax(dim=-1)


def only_by_shares(scores, positions):
    weights = scores.exp() * ~silent(scores, positions)
    return weights / weights.sum(dim=-1, keepdim=True)


def only_written_in(scores, positions):
    weights = torch.zeros_like(scores)
    weights[..., positions] = scores[..., positions].softmax(dim=-1)
    return weights


def lift(heat, mask):
    return (heat[mask].sum() / heat.sum()) / mask.float().mean()


def word_heat(weights, positions):
    return weights.mean(dim=0)[:, positions].sum(dim=-1)


PLANTED = {
    "attention.1": {
        "facts": lambda sd: {"heads": 8, "side": (16, 24), "tokens": 77, "prompts": 3},
        "right": row(6, 8, 384, 77),
        "wrong": {
            "guidance is forgotten: each picture passes twice": (3, 8, 384, 77),
            "rows and columns as two sides: the squares": (6, 8, 16, 24, 77),
            "askers and asked the other way round: squares come first": (6, 8, 77, 384),
            "the heads left out: three numbers, not four": (6, 384, 77),
            "padding is not counted: tokens": (6, 8, 384, 10),
            "one side of squares only": (6, 8, 16, 77),
            "the heads put into the batch": (48, 384, 77),
            "heads and pictures in the wrong order": (8, 6, 384, 77),
            "squares ask one another: self-attention, not tokens": (6, 8, 384, 384),
            "a single one of the heads": (6, 1, 384, 77),
        },
    },
    "attention.2": {
        "facts": lambda sd: {"weight": 0.2, "factor": 4},
        "right": value(1.6),
        "wrong": {
            "still 1, as a softmax": 1,
            "the one weight alone, without the others": 0.8,
            "the factor meets all weights": 4,
            "the old weight counted twice": 1.8,
            "the factor is added, not multiplied": 1 + 4,
            "a word, no number": "more",
        },
    },
    "attention.3": {
        "facts": lambda sd: {"position": POSITION, "factor": FACTOR},
        "right": function(louder, louder_by_product, louder_by_halves),
        "wrong": {
            "both halves are changed": lambda s: louder(s, slice(None)),
            "the empty prompt's half is changed": lambda s: louder(s, slice(None, len(s) // 2)),
            "right for one prompt only: the second row": lambda s: louder(s, slice(1, None)),
            "nothing is changed: plain": lambda s: s.softmax(dim=-1),
            "the score is multiplied, not the weight": lambda s: (
                torch.cat([s[: len(s) // 2], s[len(s) // 2 :] * torch.where(torch.arange(77) == POSITION, 4.0, 1.0)])
            ).softmax(dim=-1),
            "made to add up to 1 again": lambda s: louder(s) / louder(s).sum(dim=-1, keepdim=True),
            "softmax over the wrong side": lambda s: s.softmax(dim=-2),
            "only the last picture, as for one prompt": lambda s: louder(s, slice(-1, None)),
            "the heads are cut, not the batch": lambda s: (
                s.softmax(-1)
                * torch.where((torch.arange(s.shape[1]) >= 2)[:, None, None] & (torch.arange(77) == POSITION), 4, 1)
            ),
            "the softmax is missing: scores": lambda s: torch.cat(
                [s[: len(s) // 2], s[len(s) // 2 :] * torch.where(torch.arange(77) == POSITION, 4.0, 1.0)]
            ),
            "every second row: no plain softmax": lambda s: louder(s, slice(1, None, 2)),
            "more than one token: all from there on are changed": lambda s: louder(
                s, position=slice(POSITION, None), factor=2
            ),
            "the weight is set, not multiplied: times the factor": lambda s: (
                louder(s, factor=0)
                + ((torch.arange(len(s)) >= len(s) // 2)[:, None, None, None] & (torch.arange(77) == POSITION))
            ),
            "word and factor alone: the arguments are not used": lambda scores, position=POSITION, factor=FACTOR: (
                louder(scores)
            ),
            "another shape: the result is half": lambda s: louder(s)[len(s) // 2 :],
        },
    },
    "attention.4": {
        "facts": lambda sd: {},
        "right": function(only, only_by_shares, only_written_in),
        "wrong": {
            "masked after the softmax: they do not add up to 1": lambda s, p: s.softmax(-1) * ~silent(s, p),
            "score 0 is no silence": lambda s, p: s.masked_fill(silent(s, p), 0).softmax(-1),
            "the wrong tokens are silent": lambda s, p: s.masked_fill(~silent(s, p), float("-inf")).softmax(-1),
            "no token is silent: plain softmax": lambda s, p: s.softmax(-1),
            "only those tokens are given: another shape": lambda s, p: s[..., p].softmax(-1),
            "softmax over the squares: wrong side": lambda s, p: s.masked_fill(silent(s, p), float("-inf")).softmax(-2),
            "only the first of the positions": lambda s, p: only(s, p[:1]),
            "it is right for the positions 0, 3 and 5, not for others": lambda s, p: only(s, [0, 3, 5]),
            "the start mark is heard: others are tried without": lambda s, p: only(s, [0, *p]),
            "a score of -10: heard": lambda s, p: s.masked_fill(silent(s, p), -10.0).softmax(-1),
            "no softmax: infinite numbers": lambda s, p: s.masked_fill(silent(s, p), float("-inf")),
            "not divided: the weights of a square do not add up to 1": lambda s, p: s.exp() * ~silent(s, p),
            "equal weights, whatever the scores": lambda s, p: ~silent(s, p) / len(p) + 0 * s,
            "only the first half is silenced, not the second row": lambda s, p: torch.cat(
                [only(s, p)[:1], s[1:].softmax(-1)]
            ),
            "only the second half is silenced, not every row": lambda s, p: torch.cat(
                [s[:1].softmax(-1), only(s, p)[1:]]
            ),
        },
    },
    "attention.5": {
        "facts": lambda sd: {},
        "right": function(
            lift,
            lambda heat, mask: heat[mask].mean() / heat.mean(),
            lambda heat, mask: float((heat * mask).sum()) * mask.numel() / float(heat.sum()) / int(mask.sum()),
        ),
        "wrong": {
            "the share of the heat alone, not divided by the area": lambda h, m: h[m].sum() / h.sum(),
            "upside down": lambda h, m: m.float().mean() / (h[m].sum() / h.sum()),
            "the mean inside against the mean outside": lambda h, m: h[m].mean() / h[~m].mean(),
            "the mean heat inside": lambda h, m: h[m].mean(),
            "the area of the mask alone, no heat": lambda h, m: m.float().mean(),
            "not a share: the heat inside by the area": lambda h, m: h[m].sum() / m.float().mean(),
            "outside of the mask": lambda h, m: (h[~m].sum() / h.sum()) / m.float().mean(),
            "the pixels are counted": lambda h, m: h[m].sum() / h.sum() / m.sum(),
            "the two shares multiplied": lambda h, m: h[m].sum() / h.sum() * m.float().mean(),
            "the difference of the two shares": lambda h, m: h[m].sum() / h.sum() - m.float().mean(),
            "the largest heat, not the sum": lambda h, m: h[m].max() / h.max() / m.float().mean(),
            "the heat inside divided by that outside": lambda h, m: h[m].sum() / h[~m].sum() / m.float().mean(),
            "the pixels inside divided by those outside": lambda h, m: h[m].sum() / h.sum() / (m.sum() / (~m).sum()),
            "the mask is not made of numbers: True and False": lambda h, m: h[m].sum() / h.sum() / m.mean(),
        },
    },
    "attention.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda weights: weights.argmax(dim=-1),
            lambda weights: weights.max(dim=2).indices,
            lambda weights: weights.sort(dim=-1, descending=True).indices[..., 0],
            lambda weights: weights.topk(1).indices[..., 0],
            lambda weights: np.argmax(weights.numpy(), axis=-1),
        ),
        "wrong": {
            "the largest weight, not its place": lambda w: w.amax(dim=-1),
            "the least, not the most": lambda w: w.argmin(dim=-1),
            "over the columns, not the tokens": lambda w: w.argmax(dim=1),
            "counted from 1": lambda w: w.argmax(dim=-1) + 1,
            "one number for all squares": lambda w: w.argmax(),
            "the start mark is left out: its place is counted from the next": lambda w: w[..., 1:].argmax(dim=-1),
            "the start mark is no token": lambda w: w[..., 1:].argmax(dim=-1) + 1,
            "one token for the whole map: the sum over squares": lambda w: (
                w.sum(dim=(0, 1)).argmax().expand(w.shape[:2])
            ),
        },
    },
    "attention.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda heat, h, w: heat.reshape(h, w),
            lambda heat, h, w: heat.view(h, -1),
            lambda heat, h, w: torch.stack(heat.split(w)),
            lambda heat, h, w: [heat[r * w : (r + 1) * w].tolist() for r in range(h)],
        ),
        "wrong": {
            "height and width have changed places": lambda x, h, w: x.reshape(w, h),
            "column after column, not row after row": lambda x, h, w: x.reshape(w, h).T,
            "transposed: it lies on its side": lambda x, h, w: x.reshape(h, w).T,
            "upside down: the last row first": lambda x, h, w: x.reshape(h, w).flip(0),
            "still one line": lambda x, h, w: x,
            "one row of all squares": lambda x, h, w: x.reshape(1, -1),
            "mirrored: each row is turned": lambda x, h, w: x.reshape(h, w).flip(1),
        },
    },
    "attention.8": {
        "facts": lambda sd: {},
        "right": function(
            word_heat,
            lambda weights, positions: weights[..., positions].sum(dim=-1).mean(dim=0),
            lambda weights, positions: sum(weights[:, :, p] for p in positions).mean(dim=0),
            lambda weights, positions: sum(head[:, p] for head in weights for p in positions) / len(weights),
        ),
        "wrong": {
            "the mean over the pieces, not the sum": lambda w, p: w.mean(dim=0)[:, p].mean(dim=-1),
            "the sum over the heads, not the mean": lambda w, p: w.sum(dim=0)[:, p].sum(dim=-1),
            "mean and sum have changed places": lambda w, p: w.sum(dim=0)[:, p].mean(dim=-1),
            "the largest of the heads": lambda w, p: w.amax(dim=0)[:, p].sum(dim=-1),
            "all from the first piece to the last": lambda w, p: w.mean(dim=0)[:, p[0] : p[-1] + 1].sum(dim=-1),
            "one token too early": lambda w, p: w.mean(dim=0)[:, [each - 1 for each in p]].sum(dim=-1),
            "the first head alone": lambda w, p: w[0][:, p].sum(dim=-1),
            "the first piece alone": lambda w, p: w.mean(dim=0)[:, p[0]],
            "the largest piece, not the sum": lambda w, p: w.mean(dim=0)[:, p].amax(dim=-1),
            "the pieces are not summed": lambda w, p: w.mean(dim=0)[:, p],
            "the heads are still apart": lambda w, p: w[..., p].sum(dim=-1),
            "all tokens: the positions are not used": lambda w, p: w.mean(dim=0).sum(dim=-1),
            "squares are taken for tokens": lambda w, p: w.mean(dim=0)[p].sum(dim=0),
        },
    },
}
