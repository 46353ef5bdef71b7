"""How much a set of pictures looks like a set of drawings: sharpness, fine detail, contrast, and a Fréchet distance.

All take pictures as uint8 (N, H, W, 3); the distances compare sets, not pairs, so that a model may paint another horse.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..world.classifier import to_tensor
from .classifiers import Heads

GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def grey(pictures: np.ndarray) -> np.ndarray:
    """Grey values 0…255: float (N, H, W)."""
    return pictures.astype(np.float64) @ GREY


def sharpness(pictures: np.ndarray) -> float:
    """The mean absolute difference of neighbouring grey values."""
    values = grey(pictures)
    return float((np.abs(np.diff(values, axis=1)).mean() + np.abs(np.diff(values, axis=2)).mean()) / 2)


def high_frequencies(pictures: np.ndarray) -> float:
    """The mean spectral power of the grey values beyond an eighth of the sampling rate."""
    values = grey(pictures)
    power = np.abs(np.fft.fft2(values)) ** 2  # (N, H, W)
    rows, columns = (np.fft.fftfreq(n) for n in values.shape[1:])  # in cycles a pixel
    return float(power[:, np.hypot(rows[:, None], columns[None, :]) > 1 / 8].mean())


def contrast(pictures: np.ndarray) -> float:
    """The mean over pictures of the standard deviation of their grey values."""
    return float(grey(pictures).std(axis=(1, 2)).mean())


@torch.no_grad()
def features(classifier: Heads, pictures: np.ndarray, batch: int = 60) -> np.ndarray:
    """What the classifier's heads read: (N, 256)."""
    device = next(classifier.parameters()).device
    parts = [
        classifier.features(to_tensor(pictures[start : start + batch], classifier.pixels).to(device)).cpu()
        for start in range(0, len(pictures), batch)
    ]
    return torch.cat(parts).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance (squared) of two sets of features (N, width), taken as Gaussians (Heusel et al. 2017).

    |μ_a − μ_b|² + tr(A + B − 2 (AB)^½), the last trace as that of the symmetric (A^½ B A^½)^½.
    """
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    both = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * both)


def likeness(
    classifier: Heads, drawn: np.ndarray, anew: np.ndarray, sets: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Each set against `drawn`: the three measures as shares of the drawings', and the Fréchet distance.

    The distance counts in multiples of that of `anew`, drawings of the same captions with other random numbers.
    """
    measures = {"sharpness": sharpness, "high_frequencies": high_frequencies, "contrast": contrast}
    whole = {name: measure(drawn) for name, measure in measures.items()}
    ours = features(classifier, drawn)
    floor = frechet(ours, features(classifier, anew))
    rows = {}
    for title, pictures in {"drawn anew": anew, **sets}.items():
        rows[title] = {name: measure(pictures) / whole[name] for name, measure in measures.items()}
        rows[title]["frechet"] = frechet(ours, features(classifier, pictures)) / floor
    return rows
