"""What the judges share: how an answer is read, called and compared; whatever cannot be judged ends the judging.

Numbers may come as int or float, from NumPy or torch; tensors as tensors of any dtype, as arrays or as lists.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real

import numpy as np
import torch

from . import Mistake, Stopped, Unanswered

_LONGEST = 200  # characters of an answer that are shown to its author


def call(function, *arguments):
    """What the learner's `function` gives for copies of `arguments`; the judging ends if it gives `...` or None.

    It gets copies, so it may work in place: what the judge knows stays as it was. It also ends if it is no function.
    """
    if not callable(function):
        wrong = f"{shown(function)} is no function."
        raise Stopped(Mistake("Give the function itself: its name, without brackets.", wrong))
    got = function(*copy.deepcopy(arguments))
    if got is ...:
        raise Unanswered
    if got is None:
        raise Stopped(Mistake("What does the function give back? Look for `return`.", "The function returns None."))
    return got


def shown(answer) -> str:
    """The answer as Python writes it, but short: of a tensor or an array the shape, of a long text its beginning."""
    if isinstance(answer, torch.Tensor | np.ndarray) and math.prod(answer.shape) > 1:
        return f"<{type(answer).__name__} of shape {tuple(answer.shape)}>"
    text = repr(answer)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def plain(value):
    """A tensor or an array of one number as that number of Python's; every other value as it is."""
    one = isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1
    return value.item() if one else value


def finite(value) -> bool:
    """Is `value` one finite number (True and False are none)?"""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def number(answer, hint: str = "The answer is one number.") -> float:
    """The answer as one finite number of Python's; the judging ends with `hint` where it is none."""
    value = plain(answer)
    if finite(value):
        return int(value) if isinstance(value, Integral) else float(value)
    raise Stopped(Mistake(hint, f"{shown(answer)} is no number."))


def whole(answer, hint: str = "The answer is one whole number.", kind: str = "whole number") -> int:
    """The answer as a whole number (13.0 is one); the judging ends with `hint`, and that it is no `kind`, else."""
    value = plain(answer)
    if isinstance(value, Integral | float) and not isinstance(value, bool) and value % 1 == 0:
        return int(value)
    raise Stopped(Mistake(hint, f"{shown(answer)} is no {kind}."))


def pair(answer, fits: Callable[[object], bool], hint: str, wrong: str) -> tuple:
    """The answer's two values, where both `fits`; else the judging ends. `{}` in `wrong` is the answer."""
    values = _in_order(answer) or ()
    if len(values) == 2 and all(map(fits, values)):
        return values
    raise Stopped(Mistake(hint, wrong.replace("{}", shown(answer))))


def listed(answer, many: int | None = None, few: Mistake | None = None) -> tuple:
    """The numbers of a shape or a list, also of a tensor with one side; else the judging ends.

    It ends with `few`, too, where there are not so `many` numbers; `{}` in it is how many there are.
    """
    values = _in_order(answer)
    if values is None:
        wrong = f"{shown(answer)} could not be used: these are not several numbers in a row."
        raise Stopped(Mistake("Give numbers in brackets: (…, …).", wrong))
    if many and len(values) != many:
        raise Stopped(few._replace(wrong=few.wrong.replace("{}", str(len(values)))))
    return values


def _in_order(answer) -> tuple | None:
    """The values of a list, a tuple, or a tensor or array with one side; None for what has no such order."""
    ordered = isinstance(answer, Iterable) and not isinstance(answer, str | Mapping | set)
    return tuple(map(plain, answer)) if ordered and getattr(answer, "ndim", 1) == 1 else None


def array(value) -> np.ndarray | None:
    """Numbers, a (nested) list of them, a tensor or an array as float64; None for anything else.

    A list of tensors that have sides is none: it was not stacked.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if isinstance(value, list | tuple):
        value = [plain(each) for each in value]
        if any(isinstance(each, torch.Tensor | np.ndarray) for each in value):
            return None
    try:
        found = np.asarray(value)
    except ValueError:  # rows of different lengths
        return None
    return found.astype(np.float64) if found.dtype.kind in "buif" else None


def has_complex(value) -> bool:
    """Are there complex numbers in a number, a tensor, an array or a list of them?"""
    if isinstance(value, list | tuple):
        return any(map(has_complex, value))
    return value.is_complex() if isinstance(value, torch.Tensor) else np.iscomplexobj(value)


def shaped(got, shape, hint: str, wrong: str) -> np.ndarray:
    """The function's result as an array of that `shape`; else the judging ends. `{}` in `wrong` is the shape found."""
    found = array(got)
    if found is not None and found.shape == tuple(shape):
        return found
    sides = [each.shape for each in got if hasattr(each, "shape")] if isinstance(got, list | tuple) else []
    if sides and len(sides) == len(got) and all((len(got), *side) == tuple(shape) for side in sides):
        raise Stopped(
            Mistake("Which function makes one tensor of several?", "These are several; torch.stack joins them.")
        )
    raise Stopped(Mistake(hint, wrong.replace("{}", described(got))))


def described(got) -> str:
    """The shape of a result in words; of a list of tensors the shape of each."""
    if isinstance(got, list | tuple) and any(isinstance(each, torch.Tensor | np.ndarray) for each in got):
        return f"[{', '.join(map(described, got))}]"
    found = array(got)
    return shown(got) if found is None else str(found.shape)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers of that `shape`, the same each time: what learners' functions are tried with."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def told(hint: str, results: Mapping[str, object]) -> list[tuple[object, Mistake]]:
    """Known wrong results that share a hint: pairs of a result and its mistake, from what is wrong -> the result.

    `{}` in the hint is what is wrong.
    """
    return [(value, Mistake(hint.replace("{}", wrong), wrong)) for wrong, value in results.items()]


def nearest(got, known: Iterable[tuple[object, Mistake]], *, atol: float = 1e-6, rtol: float = 0.0) -> Mistake | None:
    """The mistake of the nearest of the `known` results that `got` equals, or None; of two equally near the first.

    Results are numbers, tensors, arrays or lists. Two are equal where they have one shape and no number is further than
    `atol` + `rtol` times the size of the known one from its fellow.
    """
    found = [(_distance(got, value, atol, rtol), mistake) for value, mistake in known]
    distance, mistake = min(found, key=lambda each: each[0], default=(math.inf, None))
    return mistake if distance < math.inf else None


def _distance(got, value, atol: float, rtol: float) -> float:
    """The largest difference of two equal results; infinite where they are not equal."""
    one, other = array(got), array(value)
    if one is None or other is None or one.shape != other.shape:
        return math.inf
    if not np.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True):
        return math.inf
    differ = (one != other) & ~np.isnan(one)  # infinite ones that are equal have no distance
    return float(np.abs(np.subtract(one, other, where=differ, out=np.zeros_like(one))).max(initial=0))


def alike(got, value, *, atol: float = 1e-6, rtol: float = 0.0) -> bool:
    """Are two results equal: of one shape, no number further than `atol` + `rtol` times the size of the second?"""
    return _distance(got, value, atol, rtol) < math.inf


def gives(function, right, *arguments, atol: float = 1e-6, rtol: float = 0.0) -> bool:
    """Is what the learner's `function` gives for (copies of) `arguments` equal to `right`? (An error is not.)"""
    try:
        return alike(call(function, *arguments), right, atol=atol, rtol=rtol)
    except (Stopped, Unanswered):
        raise
    except Exception:  # the learner's own
        return False


def compared(got, right, known, otherwise: Mistake, *, atol: float = 1e-6, rtol: float = 0.0) -> Mistake | None:
    """None where `got` equals `right`; else the mistake of the `nearest` known wrong result, or `otherwise`."""
    if alike(got, right, atol=atol, rtol=rtol):
        return None
    return nearest(got, known, atol=atol, rtol=rtol) or otherwise


def one_change(
    answer,
    settings: Mapping,
    name: str,
    *,
    copied: str,
    unchanged: str,
    beside: Mistake,
    more: Mistake | None = None,
    kept: Mapping[str, Mistake] | None = None,
    missing: str = "Your settings lack {}.",
):
    """The new value of the setting `name`; the judging ends unless the answer is `settings` with that one changed.

    `copied` is how a copy is written, `unchanged` the hint where nothing is different, `beside` the mistake of changing
    another setting, `more` that of changing others, too (`{}` are the names of all that were changed), and `kept` what
    to say first of settings that must stay.
    """
    if not isinstance(answer, Mapping):
        wrong = f"{shown(answer)} are no settings: the answer could not be used."
        raise Stopped(Mistake(f"Give settings: {copied}.", wrong))
    lost = sorted(set(settings) - set(answer))
    changed = sorted(each for each in answer if each not in settings or answer[each] != settings[each])
    if lost:
        hint = f"Start from a copy of the old settings: {copied}."
        raise Stopped(Mistake(hint, missing.replace("{}", ", ".join(lost))))
    if not changed:
        itself = " It is no copy: if you changed it, make it again." if answer is settings else ""
        raise Stopped(Mistake(unchanged, f"All settings are as they were.{itself}"))
    if more and name in changed and changed != [name]:
        raise Stopped(more._replace(wrong=more.wrong.replace("{}", ", ".join(changed))))
    for each in kept or {}:
        if each in changed:
            raise Stopped(kept[each])
    if changed != [name]:
        raise Stopped(beside._replace(wrong=beside.wrong.replace("{}", ", ".join(changed))))
    return answer[name]
