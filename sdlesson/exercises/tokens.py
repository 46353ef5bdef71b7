"""The judges of the lesson on tokens."""

from __future__ import annotations

import torch

from ..tokens import byte_words, context_length, count_pairs, cut_words, encode_pieces, join
from . import Mistake, exercise
from .compare import call, compared, pair, shown, told, whole
from .puzzles import puzzle


@exercise(
    "tokens.1",
    hint="Cut the text in your head: lower case, words, signs. Then add the two marks. Padding does not count.",
    learned="Here each sign is a piece of its own, capitals make no difference, and the two marks take a place each.",
)
def _count_ids(answer, *, text, sd) -> Mistake | None:
    """How many ids `text` has, start and end among them, without padding."""
    answer = whole(answer)
    parts, words = encode_pieces(sd.tokenizer, text).tokens, len(text.split())
    count, length = len(parts), context_length(sd.tokenizer)
    known = [
        *told(
            "That is the length after padding. Where does the padding begin?",
            {"All prompts have that many ids in the end. Count those before the padding: marks and pieces.": length},
        ),
        *told(
            "These are the pieces of the text. Two more ids stand around them.",
            {"The start mark and the end mark are missing: add 2.": count},
        ),
        *told(
            "Nearly. Something stands before the first piece, and something after the last.",
            {"One mark is missing: both the start and the end take a place.": count + 1},
        ),
        *told(
            "You counted what stands between spaces. The tokenizer also cuts between letters and signs.",
            {"That is the number of words. Signs are pieces too, and two marks are added.": words},
        ),
        *told(
            "The marks are right. Look at the signs: do they belong to the word before them?",
            {"You counted the words and the marks. Commas and other signs are pieces of their own.": words + 2},
        ),
    ]
    known += told("Letters, or pieces?", {"You counted the letters of the text; a word is one piece here.": len(text)})
    otherwise = Mistake(
        "Write words and signs one under the other: did you count the commas, the sign at the end, both marks?",
        f"The text has {count} pieces: {' '.join(parts)}. With the two marks that makes {count + 2} ids, not {answer}.",
    )
    return compared(answer, count + 2, known, otherwise)


@exercise(
    "tokens.2",
    hint="Try words that the tokenizer's texts rarely had, and look at tokenizer.tokenize(word).",
    learned="Rare words cost more places than frequent ones: what the texts did not repeat was never merged.",
)
def _word_of_pieces(answer, *, pieces, sd) -> Mistake | None:
    """One word of letters that the tokenizer cuts into exactly `pieces` pieces."""
    if not isinstance(answer, str):
        return Mistake("The answer is a word, in quotation marks.", f"{shown(answer)} is no text.")
    word = answer.strip()
    if not word.isalpha() or len(byte_words(sd.tokenizer, word)) != 1:
        return Mistake(
            "One word, of letters alone: a space, a digit or a sign would begin a new word.",
            f"{answer!r} is not one word of letters.",
        )
    got = encode_pieces(sd.tokenizer, word).tokens
    if len(got) == pieces:
        return None
    if len(got) == 1:
        return Mistake(
            "The tokenizer's texts had this word so often that it is one piece. Take a rarer one, or change its end.",
            f"{word!r} is one piece; {pieces} are wanted.",
        )
    if len(got) > pieces:
        return Mistake(
            f"Too many pieces: {' '.join(got)}. Take a shorter word, or one that looks more like a frequent one.",
            f"{word!r} has {len(got)} pieces; {pieces} are wanted.",
        )
    return Mistake(
        f"Too few pieces: {' '.join(got)}. Add an ending, or take a rarer word.",
        f"{word!r} has {len(got)} pieces; {pieces} are wanted.",
    )


@exercise(
    "tokens.3",
    hint="Cut the words into letters, count pairs, join the most frequent one everywhere, and count anew.",
    learned="After each merge the neighbours are others, so the counts must be taken again.",
)
def _next_merge(answer, *, corpus, number) -> Mistake | None:
    """The merge of that `number` (1 is the first) that byte-pair encoding learns from `corpus`, word -> how often."""
    hint = "The answer is a pair of two texts, such as ('a', 'b')."
    answer = pair(answer, lambda piece: isinstance(piece, str), hint, "{} is no pair of texts.")
    words = {(*word[:-1], word[-1] + "</w>"): often for word, often in corpus.items()}
    letters, learned = count_pairs(words), []
    for _ in range(number):
        counts = count_pairs(words)
        learned.append(max(counts, key=counts.get))
        words = {tuple(join(parts, learned[-1])): often for parts, often in words.items()}
    right = learned[-1]
    if answer == right:
        return None
    if answer in learned:
        return Mistake(
            "That pair is joined earlier. Join it, count anew, and go on.",
            f"That is merge {learned.index(answer) + 1}; merge {number} is asked for.",
        )
    if tuple(piece.removesuffix("</w>") for piece in answer) == tuple(piece.removesuffix("</w>") for piece in right):
        return Mistake(
            "The right letters. But a piece at the end of a word is another piece than inside of it.",
            "Look at `</w>`: it stands at the piece that ends a word, and at no other.",
        )
    if answer in counts:
        return Mistake(
            "This pair is there, but another one occurs more often. A word that occurs three times counts three times.",
            f"{' + '.join(answer)} occurs {counts[answer]} times then, {' + '.join(right)} {counts[right]} times.",
        )
    if answer in letters:
        return Mistake(
            "One of the two has been joined with its other neighbour by then. Which pieces are left at that time?",
            f"After {number - 1} merges these two are no neighbours any more: merges use their letters up.",
        )
    return Mistake(
        "These two never stand side by side. Write the words down as pieces, with `</w>` at each word's end.",
        f"{' + '.join(answer)} occurs in none of the words.",
    )


@exercise(
    "tokens.4",
    hint="Count pieces, not words: a text has room for 75 of them. cut_words(tokenizer, text) names what is lost.",
    learned="The first words stay. A word that is cut in two is not seen whole, and the rest is never seen at all.",
)
def _words_seen(answer, *, text, sd) -> Mistake | None:
    """How many words of `text`, between spaces, the text encoder sees to their end."""
    answer = whole(answer)
    room, words = context_length(sd.tokenizer) - 2, text.split()
    seen = len(words) - len(cut_words(sd.tokenizer, text))
    pieces = len(encode_pieces(sd.tokenizer, text).ids)
    known = [
        *told(
            f"That is all of them. Does the text fit? It has {pieces} pieces.",
            {f"{pieces} pieces do not fit into {room} places: some words are lost.": len(words)},
        ),
        *told(
            "So many are lost. The question is how many stay.",
            {f"{answer} words are lost or cut in two; count the others.": len(words) - seen},
        ),
        *told(
            f"There are {room} places for pieces. Is each of these words one piece?",
            {f"{room} pieces are kept, but some words take several of them.": room},
        ),
        *told(
            "That is the whole length. Two places are taken, and some words have more than one piece.",
            {f"Start and end take two of the {room + 2} places, and words can have several pieces.": room + 2},
        ),
        *told(
            "Nearly. Is the last word that you counted seen to its end?",
            {f"The word {words[min(seen, len(words) - 1)]!r} does not fit in whole.": seen + 1},
        ),
    ]
    otherwise = Mistake(
        "Add up the pieces word by word, with len(tokenizer.tokenize(word)), until the places are full.",
        f"The first {room} pieces end after {seen} whole words, not {answer}.",
    )
    return compared(answer, seen, known, otherwise)


@exercise(
    "tokens.5",
    hint="Each row: start, up to length − 2 ids, end, then padding up to `length`. Go through the ids in such strides.",
    learned="This is how programs feed longer prompts: several texts of full length, their embeddings side by side.",
)
def _rows(answer, **_facts) -> Mistake | None:
    """A function (ids, start, end, padding, length) -> rows of one length, each with marks of its own."""
    start, end, padding, length = 100, 200, 300, 5
    for ids in ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6], [1, 2]):
        got = call(answer, ids, start, end, padding, length)
        if not all(hasattr(row, "__iter__") for row in got):
            return Mistake("How many rows? A list of rows is asked for, also where there is one.", "There is one row.")
        got = [[int(number) for number in row] for row in got]
        mistake = _wrong_rows(got, ids, start, end, padding, length)
        if mistake:
            return mistake
    return None


def _wrong_rows(got, ids, start, end, padding, length) -> Mistake | None:
    """What is wrong with the rows `got` for `ids`, the first thing first."""
    body, called = length - 2, f"rows({ids}, {start}, {end}, {padding}, {length})"
    wanted = []
    for first in range(0, len(ids), body):
        part = ids[first : first + body]
        wanted.append([start, *part, end] + [padding] * (body - len(part)))
    if got == wanted:
        return None
    lengths = sorted({len(row) for row in got})
    wrong = f"{called} gives rows of {lengths} ids; each should have {length}."
    if len(lengths) == 1 and lengths != [length]:
        return Mistake("All rows are equally long. But are they as long as `length` says, whatever it is?", wrong)
    if lengths and lengths[-1] > length:
        return Mistake(
            "A row is too long. How wide may a stride be, when both marks have their places in the row?",
            f"{wrong} A stride is length − 2 = {body} ids.",
        )
    if lengths and lengths != [length]:
        return Mistake(
            "Every row must have the same length, or else they are no tensor. What fills the last one up?", wrong
        )
    if not any({start, end} & {*row} for row in got):
        return Mistake(
            "Where does a text begin and end, for the text encoder?", f"{called}: there are no marks at all."
        )
    if not all(row[0] == start and end in row for row in got):
        return Mistake(
            "The text encoder expects marks. Where do they stand in *each* row?",
            f"{called}: a row lacks its start or its end. Each row is a whole text of its own.",
        )
    kept = [number for row in got for number in row if number not in (start, end, padding)]
    if kept != ids:
        return Mistake(
            "Some ids are lost, doubled or out of order. How wide is a stride, and what of the rest?",
            f"{called} should hold {ids} in order; it holds {kept}. A stride is length − 2 = {body} ids.",
        )
    if len(got) != len(wanted):
        return Mistake(
            "How many rows do the ids need, and not one more?",
            f"{called} gives {len(got)} rows; {len(wanted)} are needed.",
        )
    return Mistake(
        "All ids are there. Look at what stands after them: one end mark first, then only padding.",
        f"{called} should be {wanted}; it is {got}.",
    )


@puzzle(
    "tokens.6",
    given=lambda seed: {"ids": _ended(seed, 3 + seed, 10 + 2 * seed, 9 - seed), "end": 9 - seed},
    hint="(ids == end) marks every end mark; cumsum(0) counts them along the row. From which count on is it padding?",
    learned="v1.4 pads with the end mark, so a program must count to tell the end from the padding.",
    formula="(ids == end).cumsum(0) > 1.",
    wrong={
        "Is the first end mark padding? It ends the text, and does not count as padding.": lambda ids, end: ids == end,
        "Where should the 1 stand? Turned over: it marks the text.": lambda ids, end: (ids == end).cumsum(0) <= 1,
        "Where does padding begin? One place too late: the first padding is left out.": lambda ids, end: (
            (ids == end).cumsum(0) > 2
        ),
        "How many places are padding? You mark one alone, the first end mark.": lambda ids, end: (
            (ids == end) & ((ids == end).cumsum(0) == 1)
        ),
        "0 or 1? These are counts; compare them with 1.": lambda ids, end: (ids == end).cumsum(0),
        "Does the text count, too? Everything is marked as padding.": lambda ids, end: torch.ones(len(ids)),
        "0 or 1? These are the ids themselves.": lambda ids, end: ids,
        "0 or 1? Nothing is marked.": lambda ids, end: 0 * ids,
    },
)
def _is_padding(ids, end):
    return (ids == end).cumsum(0) > 1


def _ended(seed: int, pieces: int, length: int, end: int = 9):
    """A row of ids: a start mark (0), pieces from 1 to `end` - 1, an end mark (`end`), and more of it up to `length`.

    But for the first row, the first two pieces are the same, as in "a very very long …".
    """
    words = torch.randint(1, end, (pieces,), generator=torch.Generator().manual_seed(seed))
    words[1] = words[0] if seed else words[1]
    return torch.cat([torch.tensor([0]), words, torch.full((length - pieces - 1,), end)])


@puzzle(
    "tokens.7",
    given=lambda seed: {"ids": _ended(seed, 3 + seed, 5 + seed), "length": 9 + 3 * seed, "padding": 7 - seed},
    hint="How many numbers are missing? torch.full((many,), padding) makes them, torch.cat joins.",
    learned="A batch is a tensor, so all its rows must have one length.",
    formula="torch.cat([ids, torch.full((length - len(ids),), padding)]).",
    wrong={
        "Where does the text stand? The padding stands at the left, before the text.": lambda ids, length, padding: (
            torch.cat([_fill(length - len(ids), padding), ids])
        ),
        "With what is it filled? With zeros: `padding` is not used.": lambda ids, length, padding: torch.cat(
            [ids, _fill(length - len(ids), 0)]
        ),
        "How long is the row? Too long: only what is missing is filled, length − n.": lambda ids, length, padding: (
            torch.cat([ids, _fill(length, padding)])
        ),
        "How long is the row? One number too few.": lambda ids, length, padding: torch.cat(
            [ids, _fill(length - len(ids) - 1, padding)]
        ),
        "How long is the row? Only one number of padding is added.": lambda ids, length, padding: torch.cat(
            [ids, _fill(1, padding)]
        ),
        "Where is the text? It is lost: there is padding alone.": lambda ids, length, padding: _fill(length, padding),
        "With what is it filled? The text is repeated.": lambda ids, length, padding: ids.repeat(length)[:length],
    },
)
def _padded(ids, length, padding):
    return torch.cat([ids, _fill(length - len(ids), padding)])


def _fill(many: int, padding: int):
    return torch.full((many,), padding)


@puzzle(
    "tokens.8",
    given=lambda seed: {"ids": _ended(seed, 8 - 3 * seed, 10 - 3 * seed, 9 - seed), "length": 6 - seed % 2},
    hint="One place must be kept for the end mark: how many numbers of the text are kept before it?",
    learned="truncation=True does this: the first words stay, and the end mark with them.",
    formula="ids where they fit, else torch.cat([ids[: length - 1], ids[-1:]]).",
    wrong={
        "What stands last? The end mark is cut off.": lambda ids, length: ids[:length],
        "Which words stay? The last ones are kept; CLIP keeps the first.": lambda ids, length: ids[-length:],
        "What stands first? The start mark is lost.": lambda ids, length: (
            ids if len(ids) <= length else torch.cat([ids[1:length], ids[-1:]])
        ),
        "How long is the row? The mark comes on top: one number too many.": lambda ids, length: (
            ids if len(ids) <= length else torch.cat([ids[:length], ids[-1:]])
        ),
        "How long is the row? One number too few.": lambda ids, length: (
            ids if len(ids) <= length else torch.cat([ids[: length - 2], ids[-1:]])
        ),
        "How long is the row? Nothing is cut.": lambda ids, length: ids,
        "What of a row that fits? It is changed, too: its mark stands there already.": lambda ids, length: torch.cat(
            [ids[: length - 1], ids[-1:]]
        ),
    },
)
def _cut(ids, length):
    return ids if len(ids) <= length else torch.cat([ids[: length - 1], ids[-1:]])
