"""Planted answers to the exercises on tokens."""

import numpy as np
import torch

from . import function, value

TEXT = "An ASTRONAUT, riding a horse, on the moon!"
STORY = " ".join(["a wizard and a dragon"] * 20)
TREES = {"forest": 4, "rest": 3, "nest": 2, "fast": 2}


def rows(ids, start, end, padding, length):
    cut = [ids[first : first + length - 2] for first in range(0, len(ids), length - 2)]
    return [[start, *part, end] + [padding] * (length - 2 - len(part)) for part in cut]


def rows_by_while(ids, start, end, padding, length):
    made, left = [], list(ids)
    while left:
        now, left = left[: length - 2], left[length - 2 :]
        made.append([start] + now + [end])
        while len(made[-1]) < length:
            made[-1].append(padding)
    return made


def marked_by_loop(ids, end):
    seen, marks = False, []
    for each in ids.tolist():
        marks.append(int(seen))
        seen = seen or each == end
    return marks


def after_first(ids, end):
    return torch.arange(len(ids)) > int((ids == end).int().argmax())


def padded_by_list(ids, length, padding):
    return ids.tolist() + [padding] * (length - len(ids))


def cut(ids, length):
    return ids if len(ids) <= length else torch.cat([ids[: length - 1], ids[-1:]])


def cut_in_copy(ids, length):
    new = ids[:length].clone()
    new[-1] = ids[-1]
    return new


PLANTED = {
    "tokens.1": {
        "facts": lambda sd: {"text": TEXT, "sd": sd},
        "right": value(13),
        "wrong": {
            "the length after padding": 77,
            "both marks are missing": 11,
            "one mark is missing": 12,
            "words between spaces, without signs and marks": 8,
            "words and marks, signs not counted as pieces of their own": 10,
            "letters of the text counted": len(TEXT),
        },
    },
    "tokens.2": {
        "facts": lambda sd: {"pieces": 5, "sd": sd},
        "right": ["zebra", "Zebra", "ZEBRA", " zebra ", "zebra "],
        "wrong": {
            "a frequent word is one piece": "horse",
            "too many pieces": "watercolour",
            "too few pieces": "zyx",
            "several words, with a space": "horse horse horse horse horse",
            "a number, no word of letters": "12345",
            "the count, not a word in quotation marks": 5,
        },
    },
    "tokens.3": {
        "facts": lambda sd: {"corpus": TREES, "number": 3},
        "right": [kind(("r", "est</w>")) for kind in (tuple, list, np.array, iter, lambda x: tuple(map(np.str_, x)))],
        "wrong": {
            "the first merge, joined earlier": ("s", "t</w>"),
            "the second merge, joined earlier": ("e", "st</w>"),
            "the mark of the word's end is missing": ("r", "est"),
            "a pair that occurs less often": ("o", "r"),
            "a neighbour that is joined by then": ("r", "e"),
            "pieces that never stand side by side": ("t", "f"),
            "one text, not a pair": "rest",
        },
    },
    "tokens.4": {
        "facts": lambda sd: {"text": STORY, "sd": sd},
        "right": value(47),
        "wrong": {
            "all words of the story": 100,
            "the places for pieces, as if each word were one piece": 75,
            "the whole length, with the marks": 77,
            "the lost words, not those that stay": 53,
            "one word too many, the one that is cut": 48,
        },
    },
    "tokens.5": {
        "facts": lambda sd: {},
        "right": [
            rows,
            rows_by_while,
            lambda *given: torch.tensor(rows(*given)),
            lambda *given: torch.tensor(rows(*given)).numpy(),
            lambda *given: torch.tensor(rows(*given)).double(),
            lambda *given: tuple(map(tuple, rows(*given))),
        ],
        "wrong": {
            "the last row is not padded to the length": lambda i, s, e, p, n: [
                [s, *i[k : k + n - 2], e] for k in range(0, len(i), n - 2)
            ],
            "no marks at all, neither start nor end": lambda i, s, e, p, n: [
                i[k : k + n] + [p] * (n - len(i[k : k + n])) for k in range(0, len(i), n)
            ],
            "padding before the end mark": lambda i, s, e, p, n: [
                [s, *i[k : k + n - 2], *[p] * (n - 2 - len(i[k : k + n - 2])), e] for k in range(0, len(i), n - 2)
            ],
            "the ids after the first row are lost": lambda i, s, e, p, n: rows(i[: n - 2], s, e, p, n),
            "the stride is too wide, so ids are lost": lambda i, s, e, p, n: [
                [s, *i[k : k + n - 2], e] + [p] * (n - 2 - len(i[k : k + n - 2])) for k in range(0, len(i), n)
            ],
            "all equally long, but not as long as length says": lambda i, s, e, p, n: rows(i, s, e, p, 77),
            "one row more than needed": lambda i, s, e, p, n: [*rows(i, s, e, p, n), [s, e] + [p] * (n - 2)],
            "the end mark in place of padding": lambda i, s, e, p, n: rows(i, s, e, e, n),
        },
    },
    "tokens.6": {
        "facts": lambda sd: {},
        "right": function(lambda ids, end: (ids == end).cumsum(0) > 1, marked_by_loop, after_first),
        "wrong": {
            "the end mark itself counts as padding": lambda ids, end: ids == end,
            "turned over: 1 for the text": lambda ids, end: (ids == end).cumsum(0) <= 1,
            "one place too late, the first padding is left out": lambda ids, end: (ids == end).cumsum(0) > 2,
            "only the first end mark": lambda ids, end: ((ids == end).cumsum(0) == 1) & (ids == end),
            "counts, not 0 and 1": lambda ids, end: (ids == end).cumsum(0),
            "everything is padding": lambda ids, end: torch.ones(len(ids)),
            "the ids themselves": lambda ids, end: ids,
        },
    },
    "tokens.7": {
        "facts": lambda sd: {},
        "right": function(
            lambda ids, length, padding: torch.cat([ids, torch.full((length - len(ids),), padding)]),
            padded_by_list,
            lambda ids, length, padding: torch.nn.functional.pad(ids, (0, length - len(ids)), value=padding),
        ),
        "wrong": {
            "the padding stands at the left, before the text": lambda i, n, p: torch.cat(
                [torch.full((n - len(i),), p), i]
            ),
            "filled with zeros, padding is not used": lambda i, n, p: torch.cat([i, torch.zeros(n - len(i))]),
            "length numbers of padding: the row is too long": lambda i, n, p: torch.cat([i, torch.full((n,), p)]),
            "one number too few": lambda i, n, p: torch.cat([i, torch.full((n - len(i) - 1,), p)]),
            "only one padding": lambda i, n, p: torch.cat([i, torch.tensor([p])]),
            "padding alone, the text is lost": lambda i, n, p: torch.full((n,), p),
            "the text is repeated": lambda i, n, p: i.repeat(n)[:n],
        },
    },
    "tokens.8": {
        "facts": lambda sd: {},
        "right": function(cut, cut_in_copy, lambda ids, length: [*ids[:-1].tolist()[: length - 1], int(ids[-1])]),
        "wrong": {
            "the end mark is cut off": lambda ids, n: ids[:n],
            "the last numbers are kept, not the first": lambda ids, n: ids[-n:],
            "the start mark is lost": lambda ids, n: torch.cat([ids[1:n], ids[-1:]]) if len(ids) > n else ids,
            "the mark comes on top: one number too many": lambda ids, n: (
                torch.cat([ids[:n], ids[-1:]]) if len(ids) > n else ids
            ),
            "one number too few": lambda ids, n: torch.cat([ids[: n - 2], ids[-1:]]) if len(ids) > n else ids,
            "nothing is cut": lambda ids, n: ids,
            "a row that fits is changed, too": lambda ids, n: torch.cat([ids[: n - 1], ids[-1:]]),
        },
    },
}
