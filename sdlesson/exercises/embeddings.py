"""The judges of the lesson on embeddings."""

from __future__ import annotations

import numpy as np
import torch

from ..tokens import tokenize
from . import Mistake, exercise
from .compare import array, call, compared, listed, random, shaped, told, whole
from .puzzles import numbers, puzzle


@exercise(
    "embeddings.1",
    hint="Count from 0, and count the start mark. A vector knows its own token and those before it.",
    learned="A vector changes only from the first other token on: what follows a word never reaches it.",
)
def _first_difference(answer, *, sd, texts) -> Mistake | None:
    """The first position at which the embeddings of two texts differ."""
    answer = whole(answer, "The answer is one whole number, a position.", "position")
    one, other = tokenize(sd.tokenizer, list(texts))
    first = int((one != other).int().argmax())
    if answer == first:
        return None
    last = one.shape[-1] - 1
    if not 0 <= answer <= last:
        return Mistake(f"Positions run from 0 to {last}. Which one is it?", f"No text has a position {answer}.")
    if answer == 0:
        return Mistake(
            "Position 0 is the start mark. What can it see?",
            "The start mark sees nothing but itself, so its vector is the same in all texts.",
        )
    if answer == first - 1:
        return Mistake(
            "Nearly. Does position 0 hold the first word?",
            f"At {answer} the two texts have the same token, and the same tokens before it. Count the start mark, too.",
        )
    if answer < first:
        return Mistake(
            "What a word's vector knows stands to the left of it. Is anything different there yet?",
            f"Up to position {answer} both texts have the same tokens, so they have the same vectors.",
        )
    return Mistake(
        "Go back to the left: where does the first other token stand?",
        f"At position {answer} the vectors differ, but they differ at an earlier position already.",
    )


@exercise(
    "embeddings.2",
    hint="How many texts does the UNet read for three prompts? How many positions, how many numbers in each?",
    learned="Every text is one map of positions × numbers, and guidance adds an empty prompt for each prompt.",
)
def _unet_text(answer, *, sd) -> Mistake | None:
    """The shape of the UNet's `encoder_hidden_states` for three prompts with guidance."""
    config = sd.text_encoder.config
    length, dim, words = config.max_position_embeddings, config.hidden_size, config.vocab_size
    answer = listed(answer)
    if answer == (6, length, dim):
        return None
    if answer in ((3, dim), (6, dim)):
        return Mistake(
            "That is one vector for each text. Does Stable Diffusion read one vector, or all of them?",
            "That is the shape of pooler_output. The UNet reads [0], a vector for each position.",
        )
    if answer in ((3, length), (6, length)):
        return Mistake("Those are ids. What has each id become?", "Each id has become a vector: one number is missing.")
    if len(answer) != 3:
        return Mistake(
            "Three numbers: texts, positions, numbers in each vector.", f"You gave {len(answer)} numbers; it is three."
        )
    if answer[0] != 6:
        return Mistake(
            "With guidance the UNet guesses twice for each prompt. What does it read the other time?",
            f"Three prompts and three empty prompts are 6 texts, not {answer[0]}.",
        )
    if answer[1:] == (dim, length):
        return Mistake("Which comes first, the position or the numbers?", "The positions come first, then the numbers.")
    if answer[2] == words:
        return Mistake(
            "How wide is a vector? Not as wide as the list of all tokens.",
            f"{words} is the number of tokens that the tokenizer knows; a vector has {dim} numbers.",
        )
    if answer[1] != length:
        return Mistake(
            "How many positions does every text have after padding?",
            f"Every text is padded to {length} positions; the UNet reads all of them, not {answer[1]}.",
        )
    return Mistake("How many numbers has one vector?", f"A vector has {dim} numbers, not {answer[2]}.")


@exercise(
    "embeddings.3",
    hint="What of a vector counts for a cosine, and what must not count? Then think of the shape that is to go out.",
    learned="A CLIP score is a cosine: 1 for the same direction, 0 for a right angle, whatever the lengths.",
)
def _clip_score(answer, **_facts) -> Mistake | None:
    """A function (pictures (n, dim), texts (m, dim)) -> cosines (n, m)."""
    pictures, texts = random(3, 5) * 2, random(2, 5, seed=1) + 1
    got = call(answer, pictures, texts)
    unit, words = (each / each.norm(dim=1, keepdim=True) for each in (pictures, texts))
    right = unit @ words.T
    found = array(got)
    turned = found is not None and found.shape == right.T.shape
    wrong = "Rows and columns have changed places." if turned else "The result has another shape."
    hint = "Three pictures and two texts give a table of three rows and two columns."
    got = shaped(got, right.shape, hint, wrong)
    upright = [each / each.norm(dim=0, keepdim=True) for each in (pictures, texts)]
    known = {
        "The lengths still count: divide each vector by its length.": pictures @ texts.T,
        "Only the texts have length 1. The pictures' vectors need it, too.": pictures @ words.T,
        "Only the pictures' vectors have length 1. The texts need it, too.": unit @ texts.T,
        "That is the length of a column. A vector is a row: norm(dim=1, keepdim=True).": upright[0] @ upright[1].T,
    }
    others = [
        *told(
            "What does your table say of two equal directions? A cosine says 1.",
            {"These are distances: small for what fits. A cosine is large for what fits.": torch.cdist(unit, words)},
        ),
        *told(
            "Must the numbers of a row add up to 1?",
            {"The cosines were right; softmax made shares of them, which depend on the row.": right.softmax(1)},
        ),
    ]
    otherwise = Mistake(
        "Two steps: make every vector 1 long, then multiply: (n, dim) @ (dim, m).",
        "The result is not the table of cosines, pictures / length @ (texts / length).T.",
    )
    for table in (pictures @ texts.T, unit @ texts.T, pictures @ words.T):
        if torch.cosine_similarity(torch.from_numpy(got).flatten(), table.double().flatten(), dim=0) > 1 - 1e-5:
            otherwise = Mistake(
                "How many lengths are there: one for the table, or one for each vector?",
                "You divided by one length for the whole table; each row has its own: norm(dim=1, keepdim=True).",
            )
    hint = "Make one vector ten times longer in your head. The score of its direction must stay the same."
    return compared(got, right, told(hint, known) + others, otherwise, atol=1e-5, rtol=1e-5)


@exercise(
    "embeddings.4",
    hint="Section 1 found the first end mark of one text. Here each row has its own, and so a vector of its own.",
    learned="This is pooler_output, of the first end mark: it has seen the whole sentence, and CLIP compares by it.",
)
def _end_vectors(answer, **_facts) -> Mistake | None:
    """A function (hidden (batch, length, dim), ids (batch, length), end) -> the vectors at the first end marks."""
    hidden = random(3, 6, 4)
    ids, end = torch.tensor([[1, 5, 9, 9, 9, 9], [1, 6, 12, 9, 9, 9], [1, 9, 9, 9, 9, 9]]), 9
    got = call(answer, hidden, ids, end)
    rows, first = torch.arange(3), (ids == end).int().argmax(dim=1)
    if np.shape(array(got)) == (3, 3, 4):
        return Mistake(
            "hidden[:, first] takes all those positions from every text. Each text has one of its own.",
            "Too many vectors: choose row 0 with first[0], row 1 with first[1]: hidden[torch.arange(batch), first].",
        )
    got = shaped(
        got,
        (3, 4),
        "One vector for each text: (batch, dim).",
        "Three texts of width 4 went in; the result is not (3, 4).",
    )
    known = {
        "That is the last position, which is padding. The first end mark is the one.": hidden[:, -1],
        "That is the last word. The end mark stands one further.": hidden[rows, first - 1],
        "That is the first padding vector. The end mark stands one before.": hidden[rows, first + 1],
        "That is the mean of all positions. Take one position.": hidden.mean(dim=1),
        "All texts got the position of the first text. Each has its own.": hidden[:, first[0]],
        "All your vectors come from text 0. Each text has its own row of hidden.": hidden[0, first],
    }
    largest = Mistake(
        "Which id do you look for? Is it always the largest one?",
        "The end mark is the id that is `end`. One of these texts has a larger id in it, a learned word's.",
    )
    others = [
        *((hidden[rows, at], largest) for at in (ids.argmax(dim=1), (ids == ids.max()).int().argmax(dim=1))),
        *told(
            "Is your position 0 in each text? Then perhaps nothing matched: the end mark has the id `end`.",
            {"That is position 0, the start mark; argmax says 0, too, where no id is `end`.": hidden[:, 0]},
        ),
    ]
    otherwise = Mistake(
        "First the position of the first end mark in each row, then the vector at that position.",
        "The result is not hidden[torch.arange(batch), first], with `first` the first end mark of each text.",
    )
    hint = "Print the positions that you chose. What stands there, in each of the texts?"
    return compared(got, hidden[rows, first], told(hint, known) + others, otherwise, rtol=1e-5)


@exercise(
    "embeddings.5",
    hint="One row changes, in a copy. Which row is the horse's, and which vector lies halfway between two others?",
    learned="A vector need not belong to a word. Textual inversion (Gal et al. 2022) learns one from pictures.",
)
def _no_word(answer, *, tokens, table, ids, at, other) -> Mistake | None:
    """A copy of `tokens`, the token vectors of `ids`, with the one at position `at` half way to the token `other`."""
    before = table[ids]
    shaped(
        answer,
        before.shape,
        "Start from a copy of all token vectors: tokens.clone().",
        f"The answer has the shape of `tokens`, {tuple(before.shape)}.",
    )
    answer = torch.as_tensor(answer)
    changed = (answer != before).any(dim=-1)[0].nonzero().flatten().tolist()
    if not changed:
        return Mistake(
            "Nothing is different yet. Which row of new[0] belongs to the mount?", "All vectors are as they were."
        )
    shared = answer.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr()
    if shared or not torch.equal(tokens, before):
        return Mistake(
            "Look at `tokens`: is it still what it was?",
            "You changed `tokens` itself: use .clone(), and make `tokens` again (tokens = table[ids]).",
        )
    if changed != [at]:
        many = len(changed) > 1
        return Mistake(
            "Only the mount is to change. Which positions did you change?",
            f"You changed {len(changed)} positions; change position {at} alone."
            if many
            else f"You changed position {changed[0]}; the mount stands at {at}.",
        )
    both, otherwise = before[0, at] + table[other], "The row is not (tokens[0, at] + table[other]) / 2."
    known = [
        *told(
            "That is the other animal itself, which has a word. Go half way.",
            {"The row is table[other]; the mean of the two rows is half way.": table[other]},
        ),
        *told("A sum is not a mean: which number is missing?", {"The sum of the two is to be divided by 2.": both}),
    ]
    hint = "Half way between two vectors: add them, divide by 2."
    return compared(answer[0, at], both / 2, known, Mistake(hint, otherwise), atol=1e-4, rtol=1e-5)


@puzzle(
    "embeddings.6",
    given=lambda seed: {"n": 5 + seed},
    hint="Row 2 may look at 0, 1 and 2. torch.ones(n, n) and `tril` or `triu` make triangles.",
    learned="CLIP's text encoder learned with this mask, so every vector knows only its past.",
    formula="torch.ones(n, n).tril().",
    wrong={
        "Does row 0 see the last word? It is the other triangle: each looks at what stands behind.": lambda n: (
            torch.ones(n, n).triu()
        ),
        "Does a position see itself? It is left out here.": lambda n: torch.ones(n, n).tril(-1),
        "Is anything hidden? There is no mask: every position looks everywhere.": lambda n: torch.ones(n, n),
        "What does a word know of the words before it? Each sees only itself.": lambda n: torch.eye(n),
        "Does row 0 see position 1? One position ahead is seen, too.": lambda n: torch.ones(n, n).tril(1),
        "0 and 1, or what is added to the scores? 0 and minus infinity are added; 1 and 0 are asked for.": lambda n: (
            torch.full((n, n), -torch.inf).triu(1)
        ),
        "What does 1 mean? Turned over: 1 stands where it may not look.": lambda n: torch.ones(n, n).triu(1),
        "How far back? It sees only the position before, and itself.": lambda n: torch.ones(n, n).tril().triu(-1),
    },
)
def _may_look(n):
    return torch.ones(n, n).tril()


@puzzle(
    "embeddings.7",
    given=lambda seed: {
        "one": numbers(seed, 4 + seed, 3),
        "other": numbers(seed + 9, 4 + seed, 3),
        "share": 0.25 + seed / 4,
    },
    hint="What is left of `one` where `other` has the share 0.25?",
    learned="Section 8 paints such mixtures; half-way ones are vectors for which there is no text.",
    formula="(1 - share) * one + share * other.",
    wrong={
        "What comes out at share 0? The shares have changed places.": lambda a, b, s: s * a + (1 - s) * b,
        "What is left of `one` at share 1? All of it: the rest, 1 − share, is not taken.": lambda a, b, s: a + s * b,
        "What does another share change? Nothing: it is not used, half and half always.": lambda a, b, s: (a + b) / 2,
        "Positions or numbers? The first positions are of one text, the others of the other.": lambda a, b, s: (
            torch.cat([a[: round((1 - s) * len(a))], b[round((1 - s) * len(a)) :]])
        ),
        "How many positions go out? They stand side by side, and are not mixed.": lambda a, b, s: torch.cat([a, b]),
        "And the other text? This is the part of `one` alone.": lambda a, b, s: (1 - s) * a,
        "And the first text? This is the part of `other` alone.": lambda a, b, s: s * b,
    },
)
def _mixed(one, other, share):
    return (1 - share) * one + share * other


def _writes_into_its_input(exchange) -> Mistake | None:
    tokens = random(5, 4)
    before = tokens.clone()
    exchange(tokens, 1, 3)
    if tokens.equal(before):
        return None
    return Mistake("Right rows. And `tokens`, is it still as it was?", "It writes into `tokens` itself: copy it first.")


@puzzle(
    "embeddings.8",
    given=lambda seed: {"tokens": numbers(seed, 5 + seed, 4 + seed), "a": 1, "b": 3 + seed},
    hint="A copy first (clone). Then read both rows from `tokens` and write them into the copy.",
    learned="Before the encoder this only changes the order of the words: position vectors are added later.",
    formula="new = tokens.clone(); new[[a, b]] = tokens[[b, a]].",
    more=_writes_into_its_input,
    wrong={
        "Where is the old row a? It is overwritten before it is read, so one row is there twice.": lambda x, a, b: (
            _ordered(x, {a: b})
        ),
        "Is anything different yet? Nothing is exchanged.": lambda x, a, b: x,
        "Have both moved? Only one of the two has moved.": lambda x, a, b: _ordered(x, {b: a}),
        "Rows or columns? The columns are exchanged.": lambda x, a, b: _ordered(x.T, {a: b, b: a}).T,
        "Which rows move? All of them are turned round.": lambda x, a, b: x.flip(0),
        "Exchanged or mixed? Both rows are the mean of the two.": lambda x, a, b: torch.stack(
            [(x[a] + x[b]) / 2 if place in (a, b) else row for place, row in enumerate(x)]
        ),
        "How many rows go out? The two rows alone came back, not all.": lambda x, a, b: x[[b, a]],
    },
)
def _exchanged(tokens, a, b):
    return _ordered(tokens, {a: b, b: a})


def _ordered(tokens, moved):
    """`tokens` with the rows `moved`, place -> the old row that comes there."""
    return tokens[[moved.get(place, place) for place in range(len(tokens))]]
