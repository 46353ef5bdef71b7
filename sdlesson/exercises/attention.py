"""The judges of the lesson on attention."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import torch

from . import Mistake, exercise
from .compare import call, compared, finite, gives, listed, number, random, shaped, told
from .puzzles import numbers, puzzle


@exercise(
    "attention.1",
    hint="Four sides: how many pictures pass, how many heads, how many squares ask, how many tokens are asked.",
    learned="One row of 77 weights for each square, in each head, for each picture of the doubled batch.",
)
def _weights_shape(answer, *, heads, side, tokens, prompts) -> Mistake | None:
    """The shape of one layer's weights: (2 * prompts, heads, rows * columns, tokens)."""
    rows, columns = side
    right = (2 * prompts, heads, rows * columns, tokens)
    given = listed(answer)
    if given == right:
        return None
    if len(given) == 5 and given[2:4] == (rows, columns):
        return Mistake(
            "The layer knows no rows and columns: its squares stand in one line.",
            f"The squares are one side of {rows} × {columns} = {rows * columns}, not two sides.",
        )
    if given == (2 * prompts * heads, rows * columns, tokens):
        return Mistake("Have the heads a side of their own?", "You put the heads into the batch; they are side 1.")
    if len(given) != 4:
        return Mistake("Give four numbers: (…, …, …, …).", f"{given} has {len(given)} sides; four are asked for.")
    if given == (*right[:2], tokens, rows * columns):
        return Mistake("Who asks, and who is asked? The askers come first.", "Squares come before tokens: Q times K.")
    if given != right and all(given.count(each) == right.count(each) for each in right):
        return Mistake("The four numbers are right. And their order?", "It is: pictures, heads, squares, tokens.")
    for place, (mine, wanted) in enumerate(zip(given, right, strict=True)):
        if mine != wanted:
            return _wrong_side(place, mine, wanted, prompts)
    return None


def _wrong_side(place: int, mine, wanted: int, prompts: int) -> Mistake:
    """What to say about the first side that is wrong."""
    if place == 0 and mine == prompts:
        return Mistake("With guidance each picture passes twice.", f"The guided batch is 2 × {prompts} = {wanted}.")
    hints = (
        "How many pictures pass through the UNet in one guided call?",
        "The heads work side by side; each has weights of its own.",
        "Every square of this layer asks. How many squares are there?",
        "Padding is asked, too.",
    )
    if place == 3 and finite(mine) and mine > wanted:
        return Mistake("Whom do the squares ask? Not one another.", f"They ask {wanted} tokens, not {mine!r}.")
    names = ("pictures", "heads", "squares", "tokens")
    return Mistake(hints[place], f"There are {wanted} {names[place]}, not {mine!r}.")


@exercise(
    "attention.2",
    hint="What do the other 76 weights add up to? They stay as they are.",
    learned="1 + weight · (factor − 1): more than a mean. That is why a large factor drives the picture out of range.",
)
def _sum_after(answer, *, weight, factor) -> Mistake | None:
    """The sum of a square's weights after one of them was multiplied."""
    known = {
        "Nobody divides by the new sum: it is no softmax any more. Add the two parts up.": 1.0,
        "This is the one weight after the change. The other tokens have weights, too.": weight * factor,
        "The factor meets one weight only, not all 77.": factor,
        "The old weight is counted twice: the 1 holds it already.": 1 + weight * factor,
        "The factor multiplies one weight; it is not added.": 1 + factor,
    }
    otherwise = Mistake(
        f"Before: {weight:g} for the token and {1 - weight:g} for all others.",
        f"{factor:g} · {weight:g} + {1 - weight:g} is the sum.",
    )
    known = told("Write the sum as (this one token) + (all others). {}", known)
    return compared(number(answer), 1 + weight * (factor - 1), known, otherwise)


@exercise(
    "attention.3",
    hint="Rows of the batch: first the empty prompt's, then your prompt's. Which of them have a word at this place?",
    learned="The empty prompt has padding at that place. Guidance compares with it, so it is left alone.",
)
def _louder(answer, *, position, factor) -> Mistake | None:
    """A function scores -> weights: softmax, then `factor` for one token, in the second half of the batch only."""
    fit = random(4, 3, 3, 77)
    plain = fit.softmax(dim=-1)
    right = plain.clone()
    right[2:, ..., position] *= factor
    got = _weights(call(answer, fit), plain)
    cut_for_one = []
    for rows in (slice(1, None), slice(-1, None), slice(1, 2)):
        single = plain.clone()
        single[rows, ..., position] *= factor
        cut_for_one += told(
            "Your cut is right for one prompt only: the batch may hold several. Where does the second half begin?",
            {"Your cut is right for one prompt only. The second half begins at len(scores) // 2.": single},
        )
    known = told(
        "Compare each half of the batch with a plain softmax: what is different, and where?",
        _not_louder(fit, plain, right, position, factor),
    )
    otherwise = _where_it_differs(got, plain, position)
    if mistake := compared(got, right, cut_for_one + known, otherwise, atol=1e-5, rtol=1e-5):
        return mistake
    return _with_others(answer, position, factor)


def _where_it_differs(got: np.ndarray, plain: torch.Tensor, position: int) -> Mistake:
    """What to say of weights that no known mistake gives."""
    changed = ~np.isclose(got, plain.numpy(), atol=1e-5)
    hint = "Compare each half of the batch with a plain softmax: {} differs. Is that wanted?"
    if changed[: len(got) // 2].any():
        return Mistake(hint.replace("{}", "the first half"), "The empty prompts' half is not the plain softmax.")
    if np.delete(changed, position, axis=-1).any():
        wrong = f"Tokens beside {position} are changed: this is no softmax with one token multiplied."
        return Mistake(hint.replace("{}", "more than one token"), wrong)
    return Mistake("The right place. What happens to the weight there?", "It is not the weight times the factor.")


def _with_others(answer, position: int, factor: float) -> Mistake | None:
    """Is the function right for one prompt and for three, too, and for another word and factor, if it takes them?"""
    for prompts in (1, 3):
        fit = random(2 * prompts, 2, 3, 77)
        right = fit.softmax(dim=-1)
        right[prompts:, ..., position] *= factor
        if not gives(answer, right, fit, atol=1e-5, rtol=1e-5):
            return Mistake(
                "Your cut is right for two prompts only: the batch may hold one, or three. Where is its middle?",
                "Your cut is right for two prompts only. The second half begins at len(scores) // 2.",
            )
    if not {"position", "factor"} <= inspect.signature(answer).parameters.keys():
        return None
    another, more = position + 1, factor + 1
    right = fit.softmax(dim=-1)
    right[prompts:, ..., another] *= more
    if gives(partial(answer, position=another, factor=more), right, fit, atol=1e-5, rtol=1e-5):
        return None
    return Mistake(
        f"Right for this word and this factor. Call it with position={another}, factor={more:g}: what is fixed in it?",
        "It is right for one word and one factor alone: use `position` and `factor`.",
    )


def _not_louder(fit, plain, right, position: int, factor: float) -> dict[str, torch.Tensor]:
    """What went wrong -> the weights that it gives."""
    both, first, before, squares, heads = (each.clone() for each in (plain, plain, fit, plain, plain))
    both[..., position] *= factor
    heads[:, 2:, ..., position] *= factor
    first[:2, ..., position] *= factor
    before[2:, ..., position] *= factor
    squares[2:, :, min(position, 2)] *= factor
    return {
        "Both halves are changed. The empty prompt's half is the first; leave it alone.": both,
        "The half of the empty prompt is changed. The prompt's half is the second.": first,
        "The score is multiplied, not the weight: first the softmax, then the factor.": before.softmax(dim=-1),
        "The softmax is missing: these are scores, one of them multiplied.": before,
        "A square is louder, not a token. The tokens are the last side.": squares,
        "The heads are cut, not the batch. The batch is the first side.": heads,
        "Nothing is changed: these are the weights of a plain softmax.": plain,
        "The weights were made to add up to 1 again. Then all other tokens lose; leave the sum as it is.": (
            right / right.sum(dim=-1, keepdim=True)
        ),
        "The softmax goes over the wrong side. dim=-1 is the tokens'.": fit.softmax(dim=-2),
    }


@exercise(
    "attention.4",
    hint="A token that nobody hears has the score −∞ before the softmax: masked_fill(..., float('-inf')).",
    learned="Masked before the softmax, the weights that stay add up to 1. This is how causal masks work, too.",
)
def _only(answer, **_facts) -> Mistake | None:
    """A function (scores, positions) -> weights over the tokens at `positions` alone, adding up to 1."""
    fit, positions = random(2, 2, 3, 77, seed=1) + 0.5, [0, 3, 5]
    rest = torch.ones(77, dtype=torch.bool)
    rest[positions] = False
    right = fit.masked_fill(rest, float("-inf")).softmax(dim=-1)
    got = _weights(call(answer, fit, positions), right)
    if mistake := compared(got, right, _not_only(fit, rest), _of_the_rest(got, rest), atol=1e-5, rtol=1e-5):
        return mistake
    fit, positions = random(2, 2, 4, 77, seed=2), [70, 4, 2, 9]
    right = torch.zeros_like(fit)
    right[..., positions] = fit[..., positions].softmax(dim=-1)
    if gives(answer, right, fit, positions, atol=1e-5, rtol=1e-5):
        return None
    return Mistake(
        "Right for the positions 0, 3 and 5. Four others are tried, too, without the start mark: what is fixed in it?",
        "It is not right for all positions: just those in `positions` are heard.",
    )


def _of_the_rest(got: np.ndarray, rest: torch.Tensor) -> Mistake:
    """What to say of weights that no known mistake gives, where `rest` should be silent."""
    if not np.isfinite(got).all():
        return Mistake(
            "Print one row. Are these weights?",
            "Some are infinite, or no numbers (nan). First fill with −∞, then the softmax, and nothing after it.",
        )
    if np.abs(got[..., rest.numpy()]).max() > 1e-5:
        return Mistake(
            "Print the weights of the tokens outside of `positions`: are all of them 0?",
            "A token that should be silent is still heard: fill the scores of all the others with −∞.",
        )
    if np.abs(got.sum(axis=-1) - 1).max() > 1e-4:
        return Mistake("What do the weights of one square add up to?", "They do not add up to 1, in every row.")
    return Mistake(
        "Who gets how much of the 100 %? Larger scores get more, as in any softmax.",
        "Outside of the positions the weights are 0, as they should; inside they are no softmax of the scores there.",
    )


def _half_silent(fit: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """The weights of a batch in whose second half alone `rest` is silent."""
    return torch.cat([fit[:1], fit[1:].masked_fill(rest, float("-inf"))]).softmax(-1)


def _not_only(fit, rest) -> list[tuple[object, Mistake]]:
    """What the function may give instead, where `rest` should be silent -> what to say to it."""
    which = "Look at one square's weights: which of them are 0?"
    return [
        *told(
            "Look at one square's weights: what do they add up to?",
            {"The weights do not add up to 1: the mask came after the softmax.": fit.softmax(-1).masked_fill(rest, 0)},
        ),
        *told(
            "A score of 0 is no silence: e⁰ = 1.",
            {
                "A token with the score 0 still gets a weight. Fill with −∞: e to the −∞ is 0.": fit.masked_fill(
                    rest, 0
                ).softmax(-1)
            },
        ),
        *told(
            which,
            {
                "The wrong tokens are silent: these are the ones that should speak.": fit.masked_fill(
                    ~rest, float("-inf")
                ).softmax(-1)
            },
        ),
        *told(which, {"No token is silent: this is the plain softmax.": fit.softmax(-1)}),
        *told(
            "Look at the first row of the batch: which of its weights are 0?",
            {
                "Only the second half is silenced. Here every row of the batch is.": _half_silent(fit, rest),
                "Only the first half is silenced. Here every row of the batch is.": _half_silent(
                    fit.flip(0), rest
                ).flip(0),
            },
        ),
        *told(
            "Over which side do the weights add up to 1?",
            {
                "The softmax goes over the squares, the wrong side; the tokens are the last.": fit.masked_fill(
                    rest, float("-inf")
                ).softmax(-2)
            },
        ),
        *told(
            "Do all of the positions get the same? Their scores differ.",
            {
                "All that are heard get equal weights: the scores are not used.": (~rest / (~rest).sum()).expand(
                    fit.shape
                )
            },
        ),
        *told(
            "How many of the positions are heard?",
            {"Only the first of the positions is heard.": _first_alone(fit, rest)},
        ),
    ]


def _first_alone(fit, rest) -> torch.Tensor:
    """Weights where the first token that is not silent gets everything."""
    weights = torch.zeros_like(fit)
    weights[..., int((~rest).int().argmax())] = 1
    return weights


@exercise(
    "attention.5",
    hint="Two shares: how much of all heat lies inside, and how much of all pixels. Divide the first by the second.",
    learned="1 is chance. Unlike IoU it needs no threshold, and unlike AUC it sees how strong the heat is.",
)
def _lift(answer, **_facts) -> Mistake | None:
    """A function (heat, mask) -> share of the heat inside the mask / share of the pixels inside."""
    generator = torch.Generator().manual_seed(2)
    heat, mask = torch.rand(6, 5, generator=generator) + 0.1, torch.rand(6, 5, generator=generator) < 0.3
    try:
        got = call(answer, heat, mask)
    except RuntimeError as error:
        if "dtype" not in str(error):
            raise
        return Mistake("The mask is True and False. What makes numbers of it?", "mask.float().mean() is its share.")
    otherwise = Mistake(
        "Try a heat and a mask of four pixels, and write down the two shares first.",
        "The result is not (share of the heat inside) / (share of the pixels inside).",
    )
    inside, area = heat[mask].sum() / heat.sum(), mask.float().mean()
    return compared(number(got), inside / area, _not_lift(heat, mask), otherwise, atol=1e-4)


def _not_lift(heat, mask) -> list[tuple[object, Mistake]]:
    """What the function may give instead -> what to say to it."""
    inside, area = heat[mask].sum() / heat.sum(), mask.float().mean()
    share = {
        "This is the share of the heat. A large mask would always look good: divide by its area.": inside,
        "This is the mask's share of the pixels; the heat is missing.": area,
        "The heat inside is not yet a share: divide by all of the heat.": heat[mask].sum() / area,
        "This is the mean heat inside. Divide by the mean heat of the whole picture.": heat[mask].mean(),
        "The pixels are counted. Divide by their share of the picture.": inside / mask.sum(),
        "The two shares are multiplied. Divide by the second.": inside * area,
        "It is a difference of the two shares. Divide by the second.": inside - area,
        "The largest heat is taken, not the sum.": heat[mask].max() / heat.max() / area,
    }
    turned = {
        "It is upside down: heat above, area below.": area / inside,
        "That is the share of the heat outside of the mask.": (1 - inside) / area,
        "The two means are those inside and outside. Compare with the whole picture.": (
            heat[mask].mean() / heat[~mask].mean()
        ),
        "The heat inside is divided by that outside. Its share is the part of all heat.": (
            heat[mask].sum() / heat[~mask].sum() / area
        ),
        "The pixels inside are divided by those outside. Their share is the part of all pixels.": (
            inside / (mask.sum() / (~mask).sum())
        ),
        "The heat inside is divided by that outside, and the area is missing.": heat[mask].sum() / heat[~mask].sum(),
    }
    return [
        *told("Try a heat of 0.2 everywhere: the answer should be 1.", share),
        *told("Let all heat lie inside: the answer is 1 / (the mask's share of the pixels).", turned),
    ]


def _weights(got, scores: torch.Tensor):
    """The learner's weights, as an array of the shape of the scores; else the judging ends."""
    return shaped(
        got,
        scores.shape,
        "The weights have the shape of the scores: (batch, heads, squares, tokens), all of the batch, and all tokens.",
        f"Scores of shape {tuple(scores.shape)} went in; the result has another shape, {{}}.",
    )


@puzzle(
    "attention.6",
    given=lambda seed: {"weights": (numbers(seed, 3, 4, 5 + seed) + seed / 100 * torch.arange(5 + seed)).softmax(-1)},
    hint="argmax(dim=…): the tokens are the last side.",
    learned="In the tiny model it is often the start mark or a small word: look at the share, too.",
    formula="weights.argmax(dim=-1).",
    wrong={
        "A place or a weight? This is the largest weight, not its place.": lambda w: w.amax(dim=-1),
        "The most or the least? This is the token that is heard least.": lambda w: w.argmin(dim=-1),
        "Which side are the tokens? This is the place among the columns.": lambda w: w.argmax(dim=1),
        "Which side are the tokens? This is the place among the rows.": lambda w: w.argmax(dim=0),
        "Where does the count begin? It is counted from 1.": lambda w: w.argmax(dim=-1) + 1,
        "A map or a number? This is one number for all squares.": lambda w: w.argmax(),
        "Where does the count begin? Token 0, the start mark, is left out, and the count moved.": lambda w: w[
            ..., 1:
        ].argmax(dim=-1),
        "Is the start mark a token, too? It is left out.": lambda w: w[..., 1:].argmax(dim=-1) + 1,
        "Does each square choose? One token is given to the whole map.": lambda w: (
            w.sum(dim=(0, 1)).argmax().expand(w.shape[:2])
        ),
    },
)
def _loudest(weights):
    return weights.argmax(dim=-1)


@puzzle(
    "attention.7",
    given=lambda seed: {
        "heat": torch.arange((3.0 + seed) * (4 + 2 * seed)) ** 2 / 100,
        "h": 3 + seed,
        "w": 4 + 2 * seed,
    },
    hint="reshape takes the sides in their order; the last one runs fastest.",
    learned="Every heat map of this page was once one line.",
    formula="heat.reshape(h, w).",
    wrong={
        "How many rows are wanted? Height and width have changed places.": lambda x, h, w: x.reshape(w, h),
        "Which square is the second? It was filled column after column, not row after row.": lambda x, h, w: (
            x.reshape(w, h).T
        ),
        "How many rows are wanted? It is transposed, and lies on its side.": lambda x, h, w: x.reshape(h, w).T,
        "Where is the first square? It is upside down: the last row comes first.": lambda x, h, w: x.reshape(h, w).flip(
            0
        ),
        "How many sides has it? It is still one line.": lambda x, h, w: x,
        "How many rows are wanted? It is one row of all squares.": lambda x, h, w: x.reshape(1, -1),
        "Where is the first square? It is mirrored: each row is turned.": lambda x, h, w: x.reshape(h, w).flip(1),
    },
)
def _as_map(heat, h, w):
    return heat.reshape(h, w)


@puzzle(
    "attention.8",
    given=lambda seed: {
        "weights": numbers(seed, 2 + seed, 5 + seed, 7).softmax(dim=-1),
        "positions": [[2, 3], [1, 4, 5], [6, 2]][seed],
    },
    hint="Two sides vanish: over which one is the mean, over which the sum?",
    learned="A word of two pieces is heard through both, so their shares add up.",
    formula="weights.mean(dim=0)[:, positions].sum(dim=-1).",
    wrong={
        "Pieces: a mean or a sum? It is the mean; a word's share is their sum.": lambda w, p: w.mean(0)[:, p].mean(-1),
        "Heads: a mean or a sum? It is the sum over the heads.": lambda w, p: w.sum(0)[:, p].sum(-1),
        "Which side has the mean, which the sum? They have changed places: sum over the pieces.": lambda w, p: w.sum(0)[
            :, p
        ].mean(-1),
        "Heads: the largest or a mean? It is the largest of the heads.": lambda w, p: w.amax(0)[:, p].sum(-1),
        "Do the pieces stand side by side? You took all from the first to the last.": lambda w, p: w.mean(0)[
            :, p[0] : p[-1] + 1
        ].sum(-1),
        "Where does the count begin? You are one token too early.": lambda w, p: w.mean(0)[
            :, [each - 1 for each in p]
        ].sum(-1),
        "How many heads are heard? The first head alone.": lambda w, p: w[0][:, p].sum(-1),
        "How many pieces are heard? The first piece alone.": lambda w, p: w.mean(0)[:, p[0]],
        "Pieces: the largest or a sum? It is the largest.": lambda w, p: w.mean(0)[:, p].amax(-1),
        "How many sides go out? The pieces are not summed yet.": lambda w, p: w.mean(0)[:, p],
        "How many sides go out? The heads are still apart.": lambda w, p: w[..., p].sum(-1),
        "Which tokens are heard? All: the positions are not used.": lambda w, p: w.mean(0).sum(-1),
        "Which side are the tokens? You took squares for them.": lambda w, p: w.mean(0)[p].sum(0),
    },
)
def _word_heat(weights, positions):
    return weights.mean(dim=0)[:, positions].sum(dim=-1)
