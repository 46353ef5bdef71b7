"""The judges of the lesson on sigmas."""

from __future__ import annotations

import re
import warnings

import numpy as np
import torch

from . import Mistake, Stopped, exercise
from .compare import call, compared, finite, listed, number, pair, random, shaped, told
from .puzzles import numbers, puzzle


@exercise(
    "sigmas.1",
    hint="Equally strong: σ, noise ÷ picture, is … Put that into σ² = (1 − ᾱ) / ᾱ and solve for ᾱ.",
    learned="Half of the variance is picture, half is noise. The timestep where that happens depends on the schedule.",
)
def _equally_strong(answer, **_facts) -> Mistake | None:
    """The pair (sigma, abar) at which noise and picture are equally strong: (1, 0.5)."""
    hint = "Give two numbers: (sigma, abar)."
    sigma, abar = pair(answer, finite, hint, "{} is not a pair of numbers.")
    if abs(sigma - 0.5) < 1e-6 and abs(abar - 1) < 1e-6:
        return Mistake(
            "Which of the two comes first?", "The order is (sigma, abar): you have them the other way round."
        )
    if abs(sigma - 1) > 1e-6:
        return Mistake(
            "σ counts how many times stronger the noise is than the picture.",
            f"At σ = {sigma:g} the noise is {sigma:g} times as strong as the picture. Equally strong is one time.",
        )
    if abs(abar - 0.5**0.5) < 1e-3:
        return Mistake(
            "ᾱ is a share of the variance, not of the standard deviation.",
            "√ᾱ is the factor before the picture, 0.707; the question is for ᾱ itself.",
        )
    if abs(abar - 0.5) > 1e-6:
        return Mistake(
            "If (1 − ᾱ) / ᾱ is 1, the two shares are equal. Together they are 1.",
            f"With ᾱ = {abar:g} there would be {1 - abar:g} of noise beside {abar:g} of picture.",
        )
    return None


@exercise(
    "sigmas.2",
    hint="np.linspace(0, 999, 50): fifty posts of a fence. How many gaps lie between them?",
    learned="n steps have n − 1 gaps between the first and the last timestep; the last gap, from σ of timestep 0 to 0, "
    "has no timestep of its own.",
)
def _second_timestep(answer, *, training=1000, steps=50) -> Mistake | None:
    """The second timestep of a run of `steps` steps."""
    last, gaps = training - 1, steps - 1
    right = last - last / gaps
    known = {
        f"You made {steps} gaps. {steps} timesteps, both ends included, have one gap fewer.": last - last / steps,
        "The timesteps run from 0 to one less than the number of training steps.": training - training / steps,
        "The gap is nearly right, but the timesteps start one lower.": training - training / gaps,
        "That is one gap, counted from 0: the last timestep but one. The run starts at the other end.": last / gaps,
        "That is the first timestep.": last,
        "That is the third timestep.": last - 2 * last / gaps,
    }
    rounded = told(
        "How many digits stand after the point?",
        {
            f"Rounded to a whole number: without two digits {gaps} gaps and {steps} may look alike.": round(right),
            "The gaps are right. Give two digits after the point.": round(right, 1),
        },
    )
    hint = f"Count the gaps, and look at both ends of np.linspace(0, {last}, {steps})[::-1]."
    otherwise = Mistake(
        f"Work out one gap first: {last} divided by the number of gaps. Then go down one gap from {last}.",
        f"It is {last} − {last} / {gaps}.",
    )
    answer = number(answer, "The answer is one number, a timestep.")
    return compared(answer, right, told(hint, known) + rounded, otherwise, atol=0.006)


@exercise(
    "sigmas.3",
    hint="new x = x + slope × (how far σ moves). σ falls, so what is the sign of that way?",
    learned="That is all of Euler's method; many other samplers only look for a better slope.",
)
def _euler(answer, **_facts) -> Mistake | None:
    """A function (x, denoised, sigma, sigma_next) -> x at sigma_next, by one step of Euler's method."""
    x, denoised = random(2, 1, 4, 3, 3)
    sigma, after = 3.0, 1.2
    got = shaped(call(answer, x, denoised, sigma, after), x.shape, _EULER, _NOT_EULER)
    slope = (x - denoised) / sigma
    upwards = told(
        "Slope and size of the step are right. But which way does x go: to more noise, or to less?",
        {
            (
                f"The sign: σ moves from {sigma:g} to {after:g}, by sigma_next − sigma = {after - sigma:g}. "
                "Yours moves x to more noise."
            ): x + slope * (sigma - after)
        },
    )
    known = [
        *told(
            "What is the slope? It says how much x changes when σ changes by 1.",
            {
                "The slope is (x − denoised) / sigma: you have not divided.": x + (x - denoised) * (after - sigma),
                "You take `denoised` for the slope; it is a picture.": x + denoised * (after - sigma),
            },
        ),
        *told(
            "At which σ was the slope measured?",
            {"You divide by the next σ; the slope belongs to `sigma`.": x + (x - denoised) / after * (after - sigma)},
        ),
        *told(
            "How far does σ move in this step?",
            {
                "You go all the way to the guess: that is the step to σ = 0.": denoised,
                "You multiply by the next σ, not by how far σ moves.": x + slope * after,
            },
        ),
        *told(
            "From where does the step start?",
            {"That is the step alone, without the x from which it starts.": slope * (after - sigma)},
        ),
    ]
    right = x + slope * (after - sigma)
    return compared(got, right, upwards + known, Mistake(_EULER, _NOT_EULER), atol=1e-5, rtol=1e-5)


_EULER = "Two lines: the slope, (x − denoised) / sigma; then x plus the slope times the way."
_NOT_EULER = "The result is not x + (x − denoised) / sigma × (sigma_next − sigma)."


@exercise(
    "sigmas.4",
    hint="The old slope's line is 0 now and 1 before: (s − now) / (before − now). Integrate it from now to after. "
    "Both weights together make the step.",
    learned="With equal steps this is Adams and Bashforth's 3/2 and −1/2: one and a half times the new slope, "
    "minus half the old one.",
)
def _two_weights(answer, **_facts) -> Mistake | None:
    """A function (before, now, after) -> the two weights of K-LMS of order 2, the newest slope's first."""
    before, now, after = 6.0, 3.0, 2.2
    few = Mistake("Order 2 has two slopes, so two weights.", "You gave {} weights.")
    got = listed(call(answer, before, now, after), 2, few)
    new, old = map(number, got)
    step, right = after - now, (after - now) ** 2 / (2 * (before - now))
    otherwise = Mistake(
        "The sum is right. Now the old slope's share: the area under (s − now) / (before − now) from now to after.",
        "The old weight is (after − now)² / (2 · (before − now)).",
    )
    if not np.isclose(new + old, step):
        otherwise = Mistake(
            "If both slopes are the same number, the step must be Euler's. What does that say about the sum?",
            f"The two weights must add up to the step, after − now = {step:g}; yours add up to {new + old:g}.",
        )
    return compared([new, old], [step - right, right], _not_two_weights(step, right), otherwise, rtol=1e-5)


def _not_two_weights(step: float, right: float) -> list[tuple[list[float], Mistake]]:
    """Wrong pairs of weights for the step and the `right` old weight, and what to say to each."""
    turned = told(
        "Both numbers are right. Which one belongs to which slope?",
        {"The other way round: the newest slope's weight comes first, then the old one's.": [right, step - right]},
    )
    known = {
        "3/2 and −1/2 hold only where both steps are equally long. Here they are not.": [1.5 * step, -0.5 * step],
        "You integrated from after to now. σ falls: from now to after, so the step is negative.": [
            right - step,
            -right,
        ],
        "That is Euler: the old slope counts for nothing.": [step, 0.0],
        "The sign of the old weight: (before − now) is positive, and so is a square.": [step + right, -right],
        "The integral of (s − now) is (s − now)² / 2: the 2 is missing.": [step - 2 * right, 2 * right],
        "They are divided by the step, so they add up to 1; they should add up to the step.": [
            1 - right / step,
            right / step,
        ],
        "The old slope's line rises from 0 to 1 over (before − now): divide by that.": [
            step - step**2 / 2,
            step**2 / 2,
        ],
    }
    hint = "Try before, now, after = 7, 3, 1. Draw the old slope's line: 1 at 7, 0 at 3. Its area from 3 to 1?"
    return turned + told(hint, known)


@exercise(
    "sigmas.5",
    hint="Go through the table of symptoms, and look at what `step` gives back (.prev_sample).",
    learned="A fresh start, the first σ, the scaled input, the timestep, prev_sample: then no scheduler surprises you.",
)
def _mended(answer, *, sd) -> Mistake | None:
    """A function (scheduler, noise, guess, steps) -> latents: the whole loop, without its mistakes."""
    noise = random(1, 4, 3, 3)
    seen, steps = [], 6

    def guess(scaled, t):
        seen.append(t)
        return torch.tanh(0.7 * scaled + 0.001 * float(t))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers warns where the input was not scaled; so do we
        got = _run(answer, _used(sd), noise, guess, steps)
        right = _loop(_used(sd), noise, guess, steps)
        known = {wrong: _loop(_used(sd), noise, guess, steps, **change) for wrong, change in _LEFT_OUT.items()}
    hint = "It runs to its end, and the latents are wrong. Look at each line: what goes in, what comes out?"
    otherwise = Mistake(
        "In the loop: scale the input, guess, step. Each of the three needs the same timestep.",
        "The latents differ from those of a right loop, and from those of the mistakes in the table.",
    )
    early = {"It returns inside of the loop, after one step.": _loop(_used(sd), noise, guess, steps, rounds=1)}
    known = told(hint, known) + told("How many rounds does it make? Look where `return` stands.", early)
    return compared(got, right, known, otherwise, atol=1e-4, rtol=1e-5)


#: Mistakes that raise no error -> what `_loop` leaves out or changes to make them.
_LEFT_OUT = {
    "The guess gets the loop's index, not the timestep.": {"told": lambda i, t: i},
    "That is pred_original_sample, the guessed picture; the next latents are prev_sample.": {"prev": False},
    "The latents start as the noise alone. Times what?": {"first": False},
    "The UNet gets its input unscaled.": {"scale": False},
    "The scaled input is written back to the latents; `step` needs them unscaled.": {"back": True},
    "The latents start as the noise alone, and the UNet gets its input unscaled.": {"first": False, "scale": False},
}


def _used(sd):
    """A scheduler like `sd`'s that has been through half a loop already, as the learner's has."""
    from diffusers import LMSDiscreteScheduler

    scheduler = LMSDiscreteScheduler.from_config(sd.scheduler.config)
    scheduler.set_timesteps(4)
    x = torch.ones(1, 4, 3, 3)
    for t in scheduler.timesteps[:2]:
        x = scheduler.step(scheduler.scale_model_input(x, t), t, x).prev_sample
    return scheduler


def _loop(
    scheduler,
    noise,
    guess,
    steps: int,
    *,
    first=True,
    scale=True,
    back=False,
    prev=True,
    told=lambda i, t: t,
    rounds=None,
):
    """The right loop, or one with a line left out or changed; `rounds`: it ends after so many."""
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma if first else noise
    for i, t in enumerate(scheduler.timesteps[:rounds]):
        scaled = scheduler.scale_model_input(x, t) if scale else x
        output = scheduler.step(guess(scaled, told(i, t)), t, scaled if back else x)
        x = output.prev_sample if prev else output.pred_original_sample
    return x


def _run(walk, scheduler, noise, guess, steps: int):
    """What the learner's loop returns; the judging ends where it fails, or returns something else than latents."""
    try:
        got = call(walk, scheduler, noise, guess, steps)
    except IndexError as error:
        before = len(scheduler.sigmas)  # levels of the run that it has been through
        size = re.search(rf"with size (0|{steps + 1}|{before})$", str(error))
        if not size:
            raise  # the loop's own: the scheduler looks beyond its levels, or finds no timestep
        cause = (
            "Either the scheduler was not set back before the loop, or it got a loop index where it wants a timestep."
        )
        if int(size[1]) == before:
            cause = "The scheduler was not set back before the loop: without set_timesteps it goes on where it stopped."
        hint = "An IndexError comes from a scheduler that looks beyond its list: see (a), (b), (c) in the table."
        raise Stopped(Mistake(hint, f"IndexError: {error}. {cause}")) from None
    return shaped(
        got,
        noise.shape,
        "`step` gives back more than the latents: take its prev_sample.",
        f"The result is to be a tensor of the noise's shape, {tuple(noise.shape)}.",
    )


@puzzle(
    "sigmas.6",
    given=lambda seed: {"x": (3.0 + seed) * numbers(seed, 3 + seed, 6), "sigma": 3.0 + seed},
    hint="A sum of two independent things: variance 1 and variance σ². How strong is the sum?",
    learned="scale_model_input is this one line.",
    formula="x / (sigma**2 + 1) ** 0.5.",
    wrong={
        "And the picture's own variance? Divided by sigma alone: the picture, 1, is left out.": lambda x, s: x / s,
        "Variance or strength? The root is missing.": lambda x, s: x / (s**2 + 1),
        "What may be added? Strengths were added, sigma + 1; variances add.": lambda x, s: x / (s + 1),
        "Larger or smaller? It is multiplied; the input is too strong and must be divided.": lambda x, s: (
            x * (s**2 + 1) ** 0.5
        ),
        "Is anything different yet? Nothing is scaled.": lambda x, s: x,
        "What does σ say of it? You divide by the measured standard deviation of this one x, not by what σ says.": (
            lambda x, s: x / x.std()
        ),
        "What is the variance of the noise? sigma is not squared.": lambda x, s: x / (s + 1) ** 0.5,
    },
)
def _scaled(x, sigma):
    return x / (sigma**2 + 1) ** 0.5


@puzzle(
    "sigmas.7",
    # in the drawn row 1 − ᾱ is ᾱ from the other end; in the others it is not
    given=lambda seed: {"abar": torch.linspace(0.9, 0.1 + 0.1 * seed, 5 + seed)},
    hint="Noise ÷ picture: both have a share of the variance, 1 − ᾱ and ᾱ.",
    learned="ᾱ and σ say the same thing: one as a share, one as a ratio.",
    formula="((1 - abar) / abar) ** 0.5.",
    wrong={
        "Variance or strength? The root is missing: these are ratios of the variance.": lambda a: (1 - a) / a,
        "Which is divided by which? Upside down: this is picture ÷ noise.": lambda a: (a / (1 - a)) ** 0.5,
        "Against what is the noise measured? It is not divided by the picture.": lambda a: (1 - a) ** 0.5,
        "A share or a ratio? This is the share of the noise.": lambda a: 1 - a,
        "Where is the noise? This is the root of the picture's share.": lambda a: a**0.5,
        "Under how many roots? You divide by the share itself, not by its root.": lambda a: (1 - a) ** 0.5 / a,
        "Where is the noise? This is one over the picture's share.": lambda a: 1 / a,
        "Which level belongs to which ᾱ? The right numbers, in the reverse order.": lambda a: (
            ((1 - a) / a).sqrt().flip(0)
        ),
    },
)
def _levels(abar):
    return ((1 - abar) / abar) ** 0.5


def _way(x, picture, sigmas):
    return _walked(x, sigmas, lambda now, sigma, after: now + (now - picture) / sigma * (after - sigma))


puzzle(
    "sigmas.8",
    given=lambda seed: {
        "x": 4 * numbers(seed, 3, 3),
        "picture": numbers(seed + 9, 3, 3),
        "sigmas": torch.tensor([4.0, 2.5, 1, 0.4, 0][: 3 + seed]),
    },
    hint="Keep a list that begins with x. In each round: the slope at the last place, one step, append; then stack.",
    learned="If the denoiser did not change its mind, one step would do. It does, and so the steps are many.",
    formula="places[-1] + (places[-1] - picture) / now * (after - now), for each pair of levels.",
    wrong={
        "How many places are wanted? The first one is missing.": lambda x, p, s: _way(x, p, s)[1:],
        "How many places are wanted? Only the last came back.": lambda x, p, s: _way(x, p, s)[-1],
        "Where does the second step begin? Each of yours starts at x again.": lambda x, p, s: _walked(
            x, s, lambda now, sigma, after: x + (x - p) / sigma * (after - sigma)
        ),
        "To more noise or to less? The sign: this way leads upwards.": lambda x, p, s: _walked(
            x, s, lambda now, sigma, after: now - (now - p) / sigma * (after - sigma)
        ),
        "What is the slope? It is not divided by sigma.": lambda x, p, s: _walked(
            x, s, lambda now, sigma, after: now + (now - p) * (after - sigma)
        ),
        "At which level is the slope measured? You divide by the next sigma.": lambda x, p, s: _walked(
            x, s, lambda now, sigma, after: now + (now - p) / max(float(after), 1e-3) * (after - sigma)
        ),
        "What is the slope? You take the picture for it.": lambda x, p, s: _walked(
            x, s, lambda now, sigma, after: now + p * (after - sigma)
        ),
        "How far is one step? You are at the picture at once.": lambda x, p, s: _walked(x, s, lambda *_: p),
    },
)(_way)


def _walked(x, sigmas, step):
    """All places of a walk down: step(place, its level, the next level) -> the next place."""
    places = [x]
    for sigma, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        places.append(step(places[-1], sigma, after))
    return torch.stack(places)
