"""The judges of the page before the lessons: shapes, broadcasting, a Gaussian, a gradient, a softmax, a function."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from . import Exercise, Mistake, exercise, judged
from .compare import alike, call, compared, listed, number, random, shaped, told

_FIRST_READING = {
    "shapes": "NumPy's “the absolute basics for beginners”, the parts on shape and axes",
    "broadcasting": "NumPy's user guide, “Broadcasting”",
    "gaussian": "any first course in statistics: the normal distribution, its mean and standard deviation",
    "gradient": "PyTorch's tutorial “Automatic differentiation with torch.autograd”",
    "softmax": "any first course in machine learning: softmax",
    "matrix": "any first course in linear algebra: the product of a matrix and a vector",
    "python": "Python's own tutorial, chapters 3 to 5",
}


def question(number: int, topic: str, *, hint: str, learned: str):
    """Decorate the judge of a question: what it says at the second try ends with the first reading on `topic`."""

    def decorate(judge):
        task = Exercise(hint, judge, learned)

        @functools.wraps(judge)
        def read(answer) -> Mistake | None:
            mistake = judged(task, answer, {})  # a function that raises is told what to read, too
            if mistake is None:
                return None
            return mistake._replace(wrong=f"{mistake.wrong.rstrip('.')}. First reading: {_FIRST_READING[topic]}.")

        return exercise(f"before_you_start.{number}", hint=hint, learned=learned)(read)

    return decorate


@question(
    1,
    "shapes",
    hint="Read the brackets from the outside: how many blocks, how many rows in each, how many numbers in each row?",
    learned="A shape lists the lengths from the outermost bracket to the innermost.",
)
def _shape(answer) -> Mistake | None:
    """The shape of a stack of two tables of three rows and four columns."""
    if alike(answer, 24):
        many = Mistake(
            "That is how many numbers there are. How are they arranged?", "24 is the three lengths' product."
        )
        return many._replace(wrong=f"{many.wrong} A shape lists them.")
    hint = "There is one number for each level of brackets. How many levels are there?"
    got = listed(answer, 3, Mistake(hint, "A shape of {} numbers stands for so many levels."))
    if got == (2, 3, 4):
        return None
    if got == (4, 3, 2):
        return Mistake("The right numbers. Which bracket is counted first?", "Outermost first.")
    return Mistake("Count the blocks, then the rows of one block, then the numbers of one row.", f"{got}: no.")


@question(
    2,
    "broadcasting",
    hint="Write the shapes below each other, right ends aligned. Where one has 1 or nothing, the other one counts.",
    learned="Axes of length 1 stretch. That is how one mean is taken from each channel.",
)
def _broadcast(answer) -> Mistake | None:
    """The shape of (2, 4, 1, 1) + (16, 16)."""
    few = Mistake("The result has as many axes as the longer of the two shapes.", "It has {} axes.")
    got = listed(answer, 4, few)
    if got == (2, 4, 16, 16):
        return None
    return Mistake("Compare from the right: 1 with 16, 1 with 16, then 4 and 2 with nothing.", f"{got} is not it.")


@question(
    3,
    "gaussian",
    hint="First make the spread right by a product, then the mean by a sum. What happens in the other order?",
    learned="x · spread + mean. The lessons do it with σ and the picture.",
)
def _normal(answer) -> Mistake | None:
    """A function z -> numbers of mean 3 and standard deviation 2, from standard normal ones."""
    z = random(20)
    got = shaped(call(answer, z), z.shape, "Give back as many numbers as came in.", "It gives {}.")
    wrong = {
        "The variance is 2, not the standard deviation.": z * math.sqrt(2) + 3,
        "Mean and spread have changed places.": z * 3 + 2,
        "The sum came before the product.": (z + 3) * 2,
        "The spread is 4.": z * 4 + 3,
        "It divides by the spread.": z / 2 + 3,
    }
    other = Mistake("Try it with z = 0, then with z = 1.", "0 should become 3 and 1 should become 5.")
    return compared(got, z * 2 + 3, told("Check the mean and the spread of what comes out.", wrong), other, atol=1e-5)


@question(
    4,
    "gradient",
    hint="By how much does w² grow if w grows from 3 to 3.001? How many times 0.001 is that?",
    learned="A gradient is that number, for each of many weights at once.",
)
def _slope(answer) -> Mistake | None:
    """The gradient of w squared at w = 3."""
    got = number(answer)
    wrong = f"{got:g} is not the slope of w² at 3."
    hints = {
        9: "That is w² itself, not its slope.",
        3: "That is w.",
        2: "That is the exponent.",
        12: "That is the slope of w³ at 2, which the page shows.",
        27: "That is the slope of w³ at 3. And of w²?",
    }
    known = [(value, Mistake(hint, wrong)) for value, hint in hints.items()]
    return compared(got, 6, known, Mistake("The slope is rise over run: (3.001² − 3²) / 0.001.", wrong), atol=0.01)


@question(
    5,
    "softmax",
    hint="Make each number positive by exp, then divide by their sum.",
    learned="Shares between 0 and 1 that add up to 1. Attention and classifiers end in it.",
)
def _softmax(answer) -> Mistake | None:
    """The softmax of a row of numbers."""
    scores = torch.tensor([2.0, -1.0, 0.5, 0.0])
    try:
        got = call(answer, scores)
    except TypeError as error:  # NumPy's sum takes no tensor
        try:
            got = call(answer, scores.numpy())
        except Exception:
            raise error from None
    got = shaped(got, (4,), "Four numbers come in. Four should come out, in a row.", "It gives {}.")
    exps = np.exp(scores.numpy())
    wrong = {
        "They are not divided by their sum.": exps,
        "They are divided by the largest, not by the sum.": exps / exps.max(),
        "That is the logarithm of it.": np.log(exps / exps.sum()),
    }
    known = [
        *told("Do they look like shares? Add them up.", wrong),
        *told(
            "They add up to 1. But try a score of −1: can a share be below 0?",
            {"There is no exp in it.": scores.numpy() / scores.numpy().sum()},
        ),
        *told(
            "The largest score has the smallest share.",
            {"The sign is turned: exp of −score.": 1 / exps / (1 / exps).sum()},
        ),
    ]
    other = Mistake("Do they add up to 1? Is each above 0?", "These are not the shares.")
    if alike(got.sum(), 1, atol=1e-4) and got.min() >= 0:
        other = Mistake(
            "They add up to 1, and none is below 0. But is each e to the power of its score, divided?",
            "Another function than exp makes them positive.",
        )
    if alike(got, exps / exps.sum(), atol=0.006):
        other = Mistake("Nearly. What is rounded?", "Digits are lost: in the result, or in e.")
    return compared(got, exps / exps.sum(), known, other, atol=1e-5)


@question(
    6,
    "matrix",
    hint="Each number of the result is one row times the vector: product by product, then the sum.",
    learned="A layer of a network is this, some millions of times.",
)
def _matrix(answer) -> Mistake | None:
    """The product of [[1, 2], [3, 4]] and [10, 1]."""
    if alike(answer, [[12, 34]]):
        return Mistake("The right numbers, one bracket too many: (…, …).", "It is a row inside another list.")
    if alike(answer, [[12], [34]]):
        return Mistake("The right numbers. Give them in one row: (…, …).", "It is a column of two rows.")
    if alike(answer, [[10, 2], [30, 4]]):
        return Mistake("These are the products. What is done with those of one row?", "They are not added up.")
    got = listed(answer, 2, Mistake("Two rows give two numbers.", "It has {} numbers."))
    known = [
        ((13, 24), Mistake("You went down the columns. Which way do rows run?", "These are columns times it.")),
        ((30, 7), Mistake("Each row meets the whole vector.", "Each row was added up first.")),
    ]
    other = Mistake("Row 1: 1 · 10 + 2 · 1. And row 2?", f"{got} is not the product.")
    return compared(got, (12, 34), known, other)


@question(
    7,
    "python",
    hint="A list to collect in, a loop over the words, a condition, and `return`.",
    learned="Lists, loops and functions are enough for most answers; more Python you need only read.",
)
def _python(answer) -> Mistake | None:
    """A function that gives the words longer than n letters, in their order."""
    words = ["a", "horse", "astronaut", "on", "rocket", "rocket", "beach"]
    got, right = call(answer, list(words), 5), ["astronaut", "rocket", "rocket"]
    if not isinstance(got, list | tuple):
        return Mistake("Give back a list of words.", f"It gives {got!r}.")
    known = {
        ("astronaut", "rocket"): Mistake("One word stands there twice. So should it in the result.", "One is lost."),
        ("9", "6", "6"): Mistake("Give back the words, not their lengths.", "These are lengths."),
        ("horse", *right, "beach"): Mistake(
            "“More than” leaves out those of that length.", "Words of n letters are in."
        ),
        ("astronaut",): Mistake(
            "Where is “rocket”? Is it longer than 5? And does `return` stand inside the loop?",
            "Only one word comes out: words of n + 1 letters are lost, or all after the first.",
        ),
        ("a", "on"): Mistake("More or fewer letters?", "These are the shorter ones."),
        ("a", "horse", "on", "beach"): Mistake("More or fewer letters?", "These are the others: not longer than n."),
    }
    other = Mistake("Try it with two words in your head.", f"It gives {got!r}.")
    order = Mistake("In which order should the words stand?", "They come out in another order than they went in.")
    if list(got) != right:
        return order if sorted(map(str, got)) == right else known.get(tuple(map(str, got)), other)
    every = call(answer, list(words), 0)
    if not isinstance(every, list | tuple):
        return Mistake("Give back a list of words.", f"With n = 0 it gives {every!r}.")
    every = list(every)
    if every == words:
        return None
    if sorted(map(str, every)) == sorted(words):
        return order
    if every == right:
        return Mistake("With n = 5 it is right. And with n = 1?", "It does not use n.")
    return Mistake("With n = 5 it is right. And with n = 0?", "Every word has more letters than that, the first, too.")
