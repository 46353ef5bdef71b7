"""Paint the README's picture strip with the bundled model: `make images`.

Above, one picture on its way: what the UNet expects at eight of the steps. Below, eight prompts.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import sdlesson
from sdlesson.loading.writing import whole_file
from sdlesson.models import ARTICLE_PROMPT

OUT = Path(__file__).resolve().parent.parent / "notebooks" / "images" / "strip.png"
STEPS = (0, 1, 2, 3, 5, 8, 12, 19)
PROMPTS = {
    "a photograph of an astronaut riding a horse on the moon": 1,
    "a cartoon of a penguin riding a red bicycle in the snow": 2,
    "a line drawing of a wizard riding a turtle in a forest": 3,
    "a photograph of a queen riding an elephant in a desert": 4,
    "a photograph of a robot riding a rocket in a city": 5,
    "a cartoon of a knight riding a duck on a beach": 6,
    "a photograph of a blue horse in a meadow": 7,
    "a cartoon of a turtle under the sea": 8,
}
GAP = 6


def strip(rows: list[list[Image.Image]]) -> Image.Image:
    """The pictures side by side, row under row, on white."""
    width, height = rows[0][0].size
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * (width + GAP), y * (height + GAP)))
    return sheet


def main() -> None:
    sd = sdlesson.load("tiny")
    steps = list(sdlesson.denoise(sd, ARTICLE_PROMPT, seed=42))
    way = [sdlesson.to_pil(sdlesson.decode(sd.vae, steps[i].pred_original))[0] for i in STEPS]
    many = [sdlesson.paint(prompt, model=sd, seed=seed)[0] for prompt, seed in PROMPTS.items()]
    OUT.parent.mkdir(exist_ok=True)
    with whole_file(OUT) as stream:
        strip([way, many]).save(stream, "PNG", optimize=True)
    print(OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT)


if __name__ == "__main__":
    main()
