"""How a run's results reach the disk, and which folders an export may replace."""

from __future__ import annotations

import json
from pathlib import Path

from ..loading.errors import BadInput
from ..loading.writing import check_folder, replace_folder

#: What others write into a checkpoint folder: it may be there before the first export.
KEPT = ("README.md", "quality.json", "classifier")


def save_model(model, folder: Path) -> None:
    """Save a diffusers or transformers model as safetensors into `folder`."""
    replace_folder(folder, lambda part: model.save_pretrained(part, safe_serialization=True))


def read_training(checkpoint: Path) -> dict:
    """How an export says that its run went: "story", sentences, and "command"; empty where `checkpoint` is none."""
    try:
        training = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))
        told = [*training["story"], training["command"]]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return training if isinstance(training["story"], list) and all(isinstance(text, str) for text in told) else {}


def check_checkpoint(checkpoint: Path) -> None:
    """Raise BadInput unless an export may write `checkpoint`: it is new, empty, or an older export."""
    target = check_folder(checkpoint)
    others = {path.name for path in target.iterdir()} - set(KEPT) if target.exists() else set()
    if others and not (read_training(target) and (target / "sdlesson.json").is_file()):
        raise BadInput(
            f"{checkpoint} holds what no training has made ({min(others)}); name another folder with --checkpoint."
        )
