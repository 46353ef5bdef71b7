"""The judges of the lesson on guidance."""

from __future__ import annotations

import numpy as np
import torch

from . import Mistake, exercise
from .compare import call, compared, listed, number, one_change, random, shaped, shown, told, whole
from .puzzles import numbers, puzzle


@exercise(
    "guidance.1",
    hint="Count pictures, channels, rows, columns. What does guidance do to the first of these four?",
    learned="Guidance doubles the work, not the picture. At guidance 1 one half has no weight, so it is left out.",
)
def _input_shapes(answer, *, sd) -> Mistake | None:
    """The shapes of the UNet's input for three prompts: with guidance, and at guidance 1."""
    block, channels = sd.vae_factor, sd.unet.config.in_channels
    size = tuple(pixels // block for pixels in sd.size)
    if len(answer) != 2 or not all(hasattr(shape, "__len__") and len(shape) == 4 for shape in answer):
        return Mistake(
            "Give two shapes of four numbers each: ((…, …, …, …), (…, …, …, …)).",
            f"{shown(answer)} is not a pair of shapes with four numbers each.",
        )
    guided, plain = map(listed, answer)
    for shape in (guided, plain):
        if shape[2:] == sd.size or shape[1] == 3:
            return Mistake(
                "The UNet never sees pixels. What do its channels, rows and columns count?",
                f"The UNet works on latents: {channels} channels of {size[0]} × {size[1]} squares, not {shape[1:]}.",
            )
        if shape[1:] != (channels, *size):
            return Mistake(
                "Only the batch changes here. The rest is the shape of one picture's latents: think of `step.noisy`.",
                f"After the batch comes {channels, *size}, not {shape[1:]}.",
            )
    if (guided[0], plain[0]) == (3, 6):
        return Mistake("Which of the two needs two guesses for each picture?", "You have the two the other way round.")
    if (guided[0], plain[0]) == (2, 1):
        return Mistake(
            "Twice with guidance, once without: that is right for one picture. How many pictures are asked for?",
            "2 and 1 are the batches of one prompt. Here each of three prompts has latents of its own.",
        )
    if guided[0] != 6:
        return Mistake(
            "Each picture is looked at twice: without words, and with its prompt.",
            f"With guidance the batch is 2 × 3 = 6, not {guided[0]}.",
        )
    if plain[0] != 3:
        return Mistake(
            "At guidance 1 the formula is uncond + (text − uncond). What is left of uncond?",
            f"At guidance 1 only the prompts' guesses are needed: a batch of 3, not {plain[0]}.",
        )
    return None


@exercise(
    "guidance.2",
    hint="Write down the formula with the two guesses in each other's place, then sort by uncond and text.",
    learned="text + s · (uncond − text) = uncond + (1 − s) · (text − uncond): it runs away from the prompt.",
)
def _swapped_scale(answer, *, swapped) -> Mistake | None:
    """The guidance scale that, in the right order, paints what the wrong order paints at scale `swapped`."""
    known = [
        *told(
            "Does the order not matter? Look at scale 1 in the wrong order: whose guess is it?",
            {"At this scale the right order goes to the prompt, the wrong one away from it.": swapped},
        ),
        *told(
            "The size is right. Which way does the walk go: to the prompt, or away from it?",
            {"The walk goes away from the prompt, below 0: the sign is missing.": swapped - 1},
        ),
        *told(
            "The start is right, at 1. From there, does the walk go to larger or to smaller scales?",
            {"The walk from 1 goes towards uncond, which is 0, so it counts down.": 1 + swapped},
        ),
        *told(
            "Is anything divided here? Write down the difference that the scale multiplies, in both orders.",
            {"Nothing is divided: the scale multiplies a difference that has changed its sign.": 1 / swapped},
        ),
    ]
    known += told(
        "The walk does point the other way. But where does it start? Try scale 0 in the wrong order.",
        {"The walk starts at the other end of the line, too: at the prompt's guess, which is 1 and not 0.": -swapped},
    )
    otherwise = Mistake(
        "Scale 0 in the wrong order is scale 1 in the right one. Scale 1 in the wrong order is scale 0. Go on.",
        f"text + s · (uncond − text) is uncond + (1 − s) · (text − uncond). With s = {swapped:g} the answer is 1 − s.",
    )
    return compared(number(answer, "The answer is one number, a guidance scale."), 1 - swapped, known, otherwise)


@exercise(
    "guidance.3",
    hint="Section 5 ends with the remedies. Which of them is left? A copy with one change: dict(burnt, …=…)",
    learned="A solver of low order does not swing at this pull, and the UNet is called as often as before.",
)
def _calm_solver(answer, *, burnt) -> Mistake | None:
    """The settings `burnt` with one change that makes the solver calm and costs no UNet call: a lower order."""
    order = one_change(
        answer,
        burnt,
        "order",
        copied="dict(burnt, …=…)",
        unchanged="Nothing is different yet. Compare the four pictures of section 5.",
        more=Mistake("One change is enough. Which of yours is it?", "You changed {}; change `order` alone."),
        beside=Mistake(
            "Change the solver, and nothing else. What is its setting called?",
            "You changed {}; change `order` alone.",
        ),
        kept={
            "guidance_scale": Mistake(
                "Less guidance would help, but it changes the question. The scale stays here.",
                f"The guidance scale is to stay at {burnt['guidance_scale']:g}; change how the steps are taken.",
            ),
            "num_inference_steps": Mistake(
                "Shorter steps help, but each costs a UNet call. It can be done with the calls that you have.",
                f"The number of steps is to stay at {burnt['num_inference_steps']}; "
                "change how far the solver looks back.",
            ),
        },
    )
    return _swings(order, burnt["order"])


def _swings(order, burnt: int) -> Mistake | None:
    """What is wrong with the solver's new `order`, where `burnt` was the old one."""
    order = whole(order, "How many slopes can a step use? A whole number of them.", "order")
    if order < 1:
        return Mistake(
            "How many slopes can a step use? At least one.",
            f"The order is 1, 2, 3 or 4, not {shown(order)}; 0 is no slope.",
        )
    if order > burnt:
        return Mistake(
            "More old slopes mean larger weights with changing signs. Is that calmer?",
            f"Order {order} looks back further, and swings even more than order {burnt}. Go down.",
        )
    if order > 2:
        return Mistake(
            "The right direction. But is it calm yet? Paint it, and look at the picture: at the horse's head.",
            f"Order {order} still swings: in the tiny model its head is a grey blur. Go further down.",
        )
    return None


@exercise(
    "guidance.4",
    hint="Which number makes `guided` as widely spread as `text`? One for each picture (`std` has `dim`, `keepdim`).",
    learned="phi 0 changes nothing, phi 1 brings the spread back fully; Lin et al. use 0.7.",
)
def _rescale(answer, **_facts) -> Mistake | None:
    """A function (text, guided, phi) -> the guided values with, by the share phi, the spread of `text`."""
    text, guided = random(2, 2, 4, 3, 3)
    text = text * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1) * torch.arange(1, 5).view(1, 4, 1, 1) + 0.5
    guided, shares, got = 3 * guided + 1, (0.7, 0.4), []
    for phi in shares:
        each = shaped(
            call(answer, text, guided, phi),
            guided.shape,
            "The result has the shape of `guided`. Does `std` keep the sides that it went over (keepdim=True)?",
            f"Two tensors of shape {tuple(guided.shape)} went in; the result has another shape.",
        )
        got.append(each)
    got, phi = np.stack(got), torch.tensor(shares).view(-1, 1, 1, 1, 1)
    text, guided = (each.expand(len(shares), *each.shape) for each in (text, guided))
    right = phi * guided * _factor(text, guided) + (1 - phi) * guided
    otherwise = Mistake(
        "Two lines: scale `guided` to the spread of `text`, picture by picture; then mix it with `guided` by phi.",
        "The result is not phi × guided × std(text) / std(guided) + (1 − phi) × guided, with one std for each picture.",
    )
    return compared(got, right, _not_rescaled(text, guided, phi), otherwise, atol=1e-4, rtol=1e-5)


def _factor(text, guided, over=(-3, -2, -1)):
    """How much smaller the spread of `text` is than that of `guided`, taken over the sides `over`."""
    return text.std(dim=over, keepdim=True) / guided.std(dim=over, keepdim=True)


def _not_rescaled(text, guided, phi) -> list[tuple[object, Mistake]]:
    """Wrong results, and what to say to each."""

    def mixed(rescaled, share=phi):
        return share * rescaled + (1 - share) * guided

    of_all, of_each = (mixed(guided * _factor(text, guided, over)) for over in ((-4, -3, -2, -1), (-2, -1)))
    factor, each = _factor(text, guided), "std(dim=(1, 2, 3), keepdim=True)"
    return [
        *told(
            "Two pictures of different contrast in one batch: does each get a factor of its own?",
            {f"All pictures got one factor. A picture must not depend on its neighbours: {each}.": of_all},
        ),
        *told(
            "Four channels make one picture. How many factors does one picture get from you?",
            {f"Each channel got a factor of its own. Take one for the whole picture: {each}.": of_each},
        ),
        *told(
            "A guided guess of spread 3 shall get spread 1. Does your factor make it narrower?",
            {"The factor is upside down: a guess that is too wide becomes wider.": mixed(guided / factor)},
        ),
        *told(
            "Try phi 0 and phi 1 in your head: at which of them is nothing changed?",
            {"phi and 1 − phi have changed places.": mixed(guided * factor, 1 - phi)},
        ),
        *told(
            "The spread is right. And what is `phi` for?",
            {
                "phi is not used: all of the spread is brought back.": guided * factor,
                "phi is not used: it is 0.7, whatever is asked for.": mixed(guided * factor, 0.7),
            },
        ),
        *told(
            "The spread is right. But which guess is it that you bring to this spread?",
            {"Rescale `guided`, not `text`: its direction is what guidance is for.": mixed(text * factor)},
        ),
        *told(
            "You mix two guesses. Has one of them the direction of `guided` and the spread of `text`?",
            {"This mixes in the prompt's plain guess, which is less guidance. Change the spread instead.": mixed(text)},
        ),
        *told("Does your function do anything yet?", {"Nothing is changed: the result is `guided` itself.": guided}),
    ]


@puzzle(
    "guidance.5",
    given=lambda seed: {"uncond": numbers(seed, 4, 3, 3 + seed), "text": numbers(seed + 9, 4, 3, 3 + seed)},
    hint="The length of four numbers: the root of the sum of their squares. Of which four, and over which side?",
    learned="Where this map is dark, the prompt has nothing to say, whatever the scale.",
    formula="(text - uncond).norm(dim=0).",
    wrong={
        "May channels cancel out? They are summed with their signs, so they do.": lambda u, t: (t - u).sum(dim=0),
        "Squares or a length? The root is missing.": lambda u, t: (t - u).square().sum(dim=0),
        "How is a length made? These are absolute values, added up.": lambda u, t: (t - u).abs().sum(dim=0),
        "How far apart are the two? This is the length of the prompt's guess alone.": lambda u, t: t.norm(dim=0),
        "Which comes first? This is the difference of the lengths, not the length of the difference.": lambda u, t: (
            t.norm(dim=0) - u.norm(dim=0)
        ),
        "A map or a number? This is one number for the whole guess.": lambda u, t: (t - u).norm(),
        "A sum or a mean? The channels' mean is taken under the root; a length takes their sum.": lambda u, t: (
            (t - u).square().mean(dim=0).sqrt()
        ),
        "Which side are the channels? You measure over the rows, a wrong side.": lambda u, t: (t - u).norm(dim=1),
        "Which side are the channels? You measure over the columns, a wrong side.": lambda u, t: (t - u).norm(dim=2),
    },
)
def _how_much(uncond, text):
    return (text - uncond).norm(dim=0)


@puzzle(
    "guidance.6",
    given=lambda seed: {"scale": 9.0 - seed, "steps": 5 + seed},
    hint="torch.linspace(first, last, many): which three?",
    learned="A scale need not be one number for the whole run: some programs let it grow or fall.",
    formula="torch.linspace(1, scale, steps).",
    wrong={
        "Where does it begin? At 0; at 1 it should, the prompt's own guess.": lambda s, n: torch.linspace(0, s, n),
        "Does it grow? It falls from the scale to 1.": lambda s, n: torch.linspace(s, 1, n),
        "Does it arrive? Never: as many gaps as steps, where there is one gap fewer.": lambda s, n: (
            1 + (s - 1) * torch.arange(n) / n
        ),
        "How many numbers are wanted? One too many came back.": lambda s, n: torch.linspace(1, s, n + 1),
        "Does it grow? It is the same scale at every step.": lambda s, n: torch.full((n,), s),
        "Where does it begin? The first step, at scale 1, is left out.": lambda s, n: (
            1 + (s - 1) * torch.arange(1, n + 1) / n
        ),
        "Are the strides equal? Yours grow from step to step.": lambda s, n: s ** (torch.arange(n) / (n - 1)),
    },
)
def _rising(scale, steps):
    return torch.linspace(1, scale, steps)


@puzzle(
    "guidance.7",
    given=lambda seed: _batch(seed, 4 - seed % 2),
    hint="scales.view(-1, 1, 1, 1) has a side for each side of a guess. Without it, with which side does it meet?",
    learned="Tensors meet at their last sides: a factor for each picture needs sides of 1 behind it.",
    formula="uncond + scales.view(-1, 1, 1, 1) * (text - uncond).",
    wrong={
        "Which numbers share a scale? Without sides of 1 the scales run along the columns.": lambda u, t, s: _with(
            u, t, s
        ),
        "Has each picture its own? All have the first scale.": lambda u, t, s: _with(u, t, s[0]),
        "Has each picture its own? All have the mean of the scales.": lambda u, t, s: _with(u, t, s.mean()),
        "Which numbers share a scale? They run along the channels.": lambda u, t, s: _with(u, t, s.view(-1, 1, 1)),
        "What is left at scale 0? The start is missing.": lambda u, t, s: _wide(s) * (t - u),
        "What is left at scale 0? The guesses have changed places.": lambda u, t, s: _with(t, u, _wide(s)),
        "What is left at scale 0? It starts at the prompt's guess.": lambda u, t, s: _with(u, t, _wide(s) + 1),
        "What does another scale change? The scales are not used.": lambda u, t, s: t,
    },
)
def _each_its_own(uncond, text, scales):
    return _with(uncond, text, _wide(scales))


def _batch(seed: int, n: int):
    """Guesses for n pictures, of n channels and n columns, so that scales which meet the wrong side fit, too."""
    scales = torch.tensor([0.0, 1.0, 3.0, 8.0 + seed])[-n:]
    return {"uncond": numbers(seed, n, n, 2, n), "text": numbers(seed + 9, n, n, 2, n), "scales": scales}


def _with(uncond, text, scale):
    return uncond + scale * (text - uncond)


def _wide(scales):
    return scales.view(-1, 1, 1, 1)
