"""Loss curves: of a job while it trains, and of several runs over each other.

`python -m sdlesson.tiny.curves runs/long runs/short --out curves.png` shows whether both go the same way.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch

History = Sequence[tuple[int, float, float]]  # (step, seconds, mean loss since the one before)


def plot_history(history: History, name: str, path: Path) -> None:
    """Draw the loss against the minutes of training, on a logarithmic scale, into a PNG file."""
    _plot({name: [(seconds / 60, loss) for _, seconds, loss in history]}, "minutes of training", name, path)


def plot_runs(histories: Mapping[str, History], title: str, path: Path, together: int = 5) -> None:
    """Draw the losses of several runs against their steps, the mean of `together` neighbours each, into a PNG file."""
    curves = {}
    for name, history in histories.items():
        notes = np.array([(step, loss) for step, _, loss in history if step > 5])  # the first five are of one step each
        whole = notes[: len(notes) // together * together]
        curves[name] = whole.reshape(-1, together, 2).mean(axis=1)  # (notes, 2) -> (notes / together, 2)
    _plot(curves, "steps", title, path, "linear")


def _plot(curves: Mapping[str, Sequence], below: str, title: str, path: Path, scale: str = "log") -> None:
    figure = matplotlib.figure.Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*np.array(points).T, linewidth=1, label=name, marker="o" if len(points) < 10 else "", markersize=3)
    positive = all(loss > 0 for points in curves.values() for _, loss in points)
    axes.set(xlabel=below, ylabel="loss", title=title, yscale=scale if positive else "linear")
    if len(curves) > 1:
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main():
    """Draw one stage's losses of several run folders over each other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--stage", default="unet", help="default: %(default)s")
    parser.add_argument("--together", type=int, default=5, metavar="N", help="notes, of 20 steps each, in a mean")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    histories = {}
    for run in given.runs:
        progress = torch.load(run / f"{given.stage}.checkpoint.pt", map_location="cpu", weights_only=True)["progress"]
        histories[f"{run.name}, {progress['elapsed'] / 60:.0f} minutes"] = progress["history"]
    title = f"{given.stage}: the mean loss of {20 * given.together} steps"
    plot_runs(histories, title, given.out, given.together)


if __name__ == "__main__":
    main()
