"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write(part)` fill a new folder, then put it in the place of `folder`, whatever was there before."""
    part, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("part", "old"))
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    part.mkdir(parents=True)
    write(part)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def save_model(model, folder: Path) -> None:
    """Save a diffusers or transformers model as safetensors into `folder`."""
    replace_folder(folder, lambda part: model.save_pretrained(part, safe_serialization=True))


def write_atomically(file: Path, text: str) -> None:
    """Write a text file that is there whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
