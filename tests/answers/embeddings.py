"""Planted answers to the exercises on embeddings."""

import numpy as np
import torch

from . import function, row, value

TWINS = ["a photograph of a red horse on the moon", "a photograph of a red horse under the sea"]


def no_word(sd):
    """What the lesson has: the token vectors of its prompt, their table, and where the horse stands."""
    from sdlesson.tokens import tokenize

    table = sd.text_encoder.embeddings.token_embedding.weight.detach()
    ids = tokenize(sd.tokenizer, "a photograph of an astronaut riding a horse")
    other = sd.tokenizer("elephant").input_ids[-2]
    return {"tokens": table[ids], "table": table, "ids": ids, "at": 8, "other": other}


def half_way(sd, row=lambda horse, elephant: (horse + elephant) / 2, at=(8,)):
    facts = no_word(sd)
    new = facts["tokens"].clone()
    for place in at:
        new[0, place] = row(new[0, place], facts["table"][facts["other"]])
    return new


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def score_by_loops(pictures, texts):
    return [[float(p @ t / p.norm() / t.norm()) for t in texts] for p in pictures]


def ends_by_loop(hidden, ids, end):
    return torch.stack([each[row.tolist().index(end)] for each, row in zip(hidden, ids, strict=True)])


def first_of(ids, end):
    return (ids == end).int().argmax(dim=1)


def look_by_loops(n):
    return [[int(column <= row) for column in range(n)] for row in range(n)]


def exchanged(tokens, a, b):
    new = tokens.clone()
    new[[a, b]] = tokens[[b, a]]
    return new


def exchanged_in_place(tokens, a, b):
    tokens[[a, b]] = tokens[[b, a]]
    return tokens


def exchanged_by_order(tokens, a, b):
    order = list(range(len(tokens)))
    order[a], order[b] = b, a
    return tokens[order]


def overwritten(tokens, a, b):
    new = tokens.clone()
    new[a] = new[b]
    new[b] = new[a]
    return new


def one_moved(tokens, a, b):
    new = tokens.clone()
    new[b] = tokens[a]
    return new


def averaged(tokens, a, b):
    new = tokens.clone()
    new[a] = new[b] = (tokens[a] + tokens[b]) / 2
    return new


PLANTED = {
    "embeddings.1": {
        "facts": lambda sd: {"sd": sd, "texts": TWINS},
        "right": value(7),
        "wrong": {
            "the start mark is not counted": 6,
            "position 0, the start mark sees nothing else": 0,
            "the last word, further right: an earlier one differs already": 9,
            "the end mark, but an earlier position differs": 10,
            "the word red, which both texts have the same": 5,
            "everywhere from the first word on, the same tokens": 1,
            "behind the last position: they run from 0 to 76": 77,
        },
    },
    "embeddings.2": {
        "facts": lambda sd: {"sd": sd},
        "right": row(6, 77, 128),
        "wrong": {
            "without the empty prompts: guidance": (3, 77, 128),
            "one vector for each text, pooler_output": (6, 128),
            "ids, not yet a vector": (6, 77),
            "positions and numbers the other way round: positions come first": (6, 128, 77),
            "the empty prompt counted once for all prompts": (4, 77, 128),
            "the tokenizer's list of tokens for the width": (6, 77, 643),
            "v1.4's width, too many numbers in a vector": (6, 77, 768),
            "positions without the two marks": (6, 75, 128),
        },
    },
    "embeddings.3": {
        "facts": lambda sd: {},
        "right": function(
            lambda pictures, texts: unit(pictures) @ unit(texts).T,
            lambda p, t: (p @ t.T) / p.norm(dim=1)[:, None] / t.norm(dim=1)[None],
            lambda p, t: torch.cosine_similarity(p[:, None], t[None], dim=-1),
            score_by_loops,
        ),
        "wrong": {
            "the lengths still count": lambda p, t: p @ t.T,
            "rows and columns have changed places": lambda p, t: unit(t) @ unit(p).T,
            "only the texts are brought to length 1, not the pictures": lambda p, t: p @ unit(t).T,
            "only the pictures are brought to length 1, not the texts": lambda p, t: unit(p) @ t.T,
            "softmax makes shares of them": lambda p, t: (unit(p) @ unit(t).T).softmax(dim=1),
            "the length of a column, not of a row": lambda p, t: (p / p.norm(dim=0)) @ (t / t.norm(dim=0)).T,
            "distances, not cosines": lambda p, t: torch.cdist(unit(p), unit(t)),
            "one length for the whole table": lambda p, t: (p / p.norm()) @ (t / t.norm()).T,
        },
    },
    "embeddings.4": {
        "facts": lambda sd: {},
        "right": function(
            lambda hidden, ids, end: hidden[torch.arange(len(ids)), first_of(ids, end)],
            ends_by_loop,
            lambda h, ids, end: h.gather(1, first_of(ids, end).view(-1, 1, 1).expand(-1, 1, h.shape[2]))[:, 0],
        ),
        "wrong": {
            "the last position, which is padding": lambda h, ids, end: h[:, -1],
            "the start mark": lambda h, ids, end: h[:, 0],
            "the last word, one before the end mark": lambda h, ids, end: h[
                torch.arange(len(ids)), first_of(ids, end) - 1
            ],
            "the mean of all positions": lambda h, ids, end: h.mean(dim=1),
            "the largest id, not the one that is `end`": lambda h, ids, end: h[
                torch.arange(len(ids)), ids.argmax(dim=1)
            ],
            "no id matched": lambda h, ids, end: h[torch.arange(len(ids)), first_of(ids, 49407)],
            "all those positions from every text": lambda h, ids, end: h[:, first_of(ids, end)],
            "the position of the first text for all texts": lambda h, ids, end: h[:, int(first_of(ids, end)[0])],
            "the first padding vector, one too far": lambda h, ids, end: h[
                torch.arange(len(ids)), first_of(ids, end) + 1
            ],
            "always the first row of hidden, text 0": lambda h, ids, end: h[0, first_of(ids, end)],
        },
    },
    "embeddings.5": {
        "facts": no_word,
        "right": lambda sd: [
            half_way(sd),
            half_way(sd).double(),
            half_way(sd).numpy(),
            half_way(sd).tolist(),
            half_way(sd, row=lambda h, e: h + 0.5 * (e - h)),
            half_way(sd, row=lambda h, e: torch.stack([h, e]).mean(dim=0)),
        ],
        "wrong": lambda sd: {
            "nothing is different": no_word(sd)["tokens"].clone(),
            "the other animal itself": half_way(sd, lambda h, e: e),
            "the sum, not the mean: divide": half_way(sd, lambda h, e: h + e),
            "another position than the mount's": half_way(sd, at=(7,)),
            "all positions changed": half_way(sd, at=range(77)),
            "one row alone, of another shape": half_way(sd)[0, 8],
            "the half of the horse alone, nothing of the other added": half_way(sd, lambda h, e: h / 2),
        },
    },
    "embeddings.6": {
        "facts": lambda sd: {},
        "right": function(
            lambda n: torch.ones(n, n).tril(),
            look_by_loops,
            lambda n: torch.arange(n)[:, None] >= torch.arange(n),
            lambda n: np.tri(n),
        ),
        "wrong": {
            "the other triangle: what stands behind": lambda n: torch.ones(n, n).triu(),
            "itself is left out": lambda n: torch.ones(n, n).tril(-1),
            "no mask: it looks everywhere": lambda n: torch.ones(n, n),
            "only itself": lambda n: torch.eye(n),
            "one position ahead is seen, too": lambda n: torch.ones(n, n).tril(1),
            "minus infinity in place of 0": lambda n: torch.full((n, n), -torch.inf).triu(1),
            "turned over: 1 where it may not look": lambda n: torch.ones(n, n).triu(1),
            "only the position before and itself": lambda n: torch.ones(n, n).tril().triu(-1),
        },
    },
    "embeddings.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda one, other, share: (1 - share) * one + share * other,
            lambda one, other, share: one + share * (other - one),
            lambda one, other, share: torch.lerp(one, other, share),
        ),
        "wrong": {
            "the shares have changed places": lambda a, b, s: s * a + (1 - s) * b,
            "the rest of one is not weakened": lambda a, b, s: a + s * b,
            "always half and half: the share is not used": lambda a, b, s: (a + b) / 2,
            "the first positions of one, the others of other": lambda a, b, s: torch.cat(
                [a[: round((1 - s) * len(a))], b[round((1 - s) * len(a)) :]]
            ),
            "side by side, not mixed": lambda a, b, s: torch.cat([a, b]),
            "the part of one alone": lambda a, b, s: (1 - s) * a,
            "the part of other alone": lambda a, b, s: s * b,
        },
    },
    "embeddings.8": {
        "facts": lambda sd: {},
        "right": function(exchanged, exchanged_by_order),
        "wrong": {
            "the first row is overwritten before it is read: twice the same": overwritten,
            "nothing is exchanged": lambda tokens, a, b: tokens.clone(),
            "only one of the two has moved": one_moved,
            "columns are exchanged, not rows": lambda tokens, a, b: exchanged(tokens.T, a, b).T,
            "all rows are turned round": lambda tokens, a, b: tokens.flip(0),
            "the mean of both, not exchanged": averaged,
            "the two rows alone": lambda tokens, a, b: tokens[[b, a]],
            "it writes into `tokens` itself": exchanged_in_place,
        },
    },
}
