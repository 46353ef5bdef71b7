"""Planted answers to every exercise: wrong ones, each under its mistake, and right ones in all forms.

They are written from the tasks' text. A table of a topic is exercise -> {"facts", "right", "wrong"}: what the judge is
told, as a function of the tiny model; a list of right answers; mistake -> wrong answer.
"""

from __future__ import annotations

import importlib

import numpy as np
import torch


def value(right) -> list:
    """One number in every form that a learner may have it in."""
    kinds = [float, np.float64, torch.tensor, np.array, lambda x: torch.tensor([x]), lambda x: np.array([[x]])]
    kinds += [lambda x: torch.tensor(x, dtype=torch.float64)]
    if isinstance(right, int):
        kinds += [np.int64, lambda x: torch.tensor(float(x))]
    return [right, *(kind(right) for kind in kinds)]


def row(*right) -> list:
    """Some numbers in a row, in every form."""
    kinds = [tuple, list, np.array, torch.tensor, lambda x: tuple(map(float, x)), lambda x: np.array(x, dtype=float)]
    kinds += [lambda x: [torch.tensor(each) for each in x], lambda x: [np.float64(each) for each in x]]
    return [kind(right) for kind in kinds]


def function(*right) -> list:
    """Functions, and the first of them with its result in every form."""

    def giving(kind):
        return lambda *given: kind(right[0](*given))

    kinds = [
        lambda got: torch.as_tensor(got).double(),
        lambda got: np.asarray(got),
        lambda got: np.asarray(got).tolist(),
        lambda got: torch.as_tensor(got).float().clone().requires_grad_(),
        lambda got: np.asarray(got, dtype=np.float64),
    ]
    return [*right, *map(giving, kinds)]


def planted(topic: str) -> dict[str, dict]:
    """The table of one topic."""
    return importlib.import_module(f"answers.{topic}").PLANTED
