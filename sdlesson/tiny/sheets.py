"""Sample sheets: many small pictures on one PNG, with a title that says what they show."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw

from ..decoding import to_pil


def save_sheet(pixels: torch.Tensor, path: Path, columns: int, title: str) -> None:
    """Lay pictures (N, 3, H, W) in [-1, 1] out in rows of `columns` under a title, and save them as a PNG file."""
    count, _, height, width = pixels.shape
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * width, rows * height + 16), "white")
    ImageDraw.Draw(sheet).text((4, 2), title, fill="black")
    for index, picture in enumerate(to_pil(pixels)):
        sheet.paste(picture, (index % columns * width, 16 + index // columns * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
