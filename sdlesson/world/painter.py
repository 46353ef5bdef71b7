"""From a scene to a picture: light, place, side, size and pose vary with the generator, the caption's things do not."""

from __future__ import annotations

import copy

import numpy as np
import skia
from PIL import Image

from .brush import PAPER, Brush, Colour, darker
from .captions import PLACES, Scene
from .mounts import SADDLES, draw_mount
from .places import draw_place
from .pose import seated, standing
from .riders import draw_rider

PAINTS: dict[str, Colour] = {
    "red": (214, 44, 44),
    "blue": (46, 96, 214),
    "green": (56, 164, 76),
    "golden": (244, 188, 40),
    "pink": (246, 130, 184),
    "white": (244, 244, 248),
}


def draw(scene: Scene, rng: np.random.Generator, size: int = 128) -> Image.Image:
    """Draw a scene as an RGB picture of `size` × `size` pixels (the model was trained on 128).

    The same scene and generator state give the same picture; another state gives another light, side, size, position,
    pose and, where the scene names no place, another place.
    """
    surface = skia.Surface(size, size)
    canvas = surface.getCanvas()
    canvas.clear(skia.Color(*PAPER))
    canvas.scale(size / 128, size / 128)
    brush = Brush(canvas, scene.style, light=int(rng.choice((-1, 1))))
    _background(brush, scene, rng)
    if scene.rider or scene.mount:
        _subject(brush, scene, rng)
    _finish(brush, rng)
    pixels = surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]))


def locate(scene: Scene, rng: np.random.Generator, size: int = 128) -> dict[str, np.ndarray]:
    """Where `draw(scene, rng, size)` draws the rider and the mount: masks of the pixels that can be seen of each.

    "rider" and "mount", as far as the scene has them -> boolean array (size, size). A pixel belongs to what covers at
    least half of it; shadows belong to nobody. The generator is left in the state that `draw` needs.
    """
    covered = {part: _silhouette(scene, copy.deepcopy(rng), size, part) for part in ("rider", "mount")}
    covered["mount"] &= ~covered["rider"]  # who rides is painted last
    return {part: mask for part, mask in covered.items() if getattr(scene, part)}


def _silhouette(scene: Scene, rng: np.random.Generator, size: int, part: str) -> np.ndarray:
    """The pixels that one part of the subject covers, drawn on nothing; takes the same numbers from `rng` as `draw`."""
    surface = skia.Surface(size, size)
    canvas = surface.getCanvas()
    canvas.scale(size / 128, size / 128)
    brush = Brush(canvas, scene.style, light=int(rng.choice((-1, 1))))
    _background(brush, scene, rng)
    canvas.clear(skia.ColorTRANSPARENT)
    brush.shadows = False
    _subject(brush, scene, rng, only=part)
    pixels = surface.makeImageSnapshot().toarray(colorType=skia.kRGBA_8888_ColorType)
    return pixels[..., 3] >= 128


def _background(brush: Brush, scene: Scene, rng: np.random.Generator):
    place = scene.place or str(rng.choice(list(PLACES)))
    horizon = rng.uniform(76, 88)
    blur = skia.Paint(ImageFilter=skia.ImageFilters.Blur(1.3, 1.3, skia.TileMode.kClamp))
    photograph = brush.style == "photograph"
    if photograph:  # a photograph's background is a little out of focus
        brush.canvas.saveLayer(None, blur)
    draw_place(brush, place, rng, horizon)
    if photograph:
        brush.canvas.restore()


def _subject(brush: Brush, scene: Scene, rng: np.random.Generator, only: str | None = None):
    """Draw the mount and then its rider, or `only` one of them, in the place that it has beside the other."""
    canvas = brush.canvas
    side = int(rng.choice((-1, 1)))
    scale = rng.uniform(1.02, 1.16) * (1.0 if scene.mount else 1.25)
    canvas.save()
    canvas.translate(64 + rng.uniform(-6, 6), rng.uniform(112, 119))
    canvas.scale(side * scale, scale)
    if scene.mount:
        canvas.translate(-SADDLES[scene.mount].middle, 0)
    brush.light *= side  # the canvas may be mirrored, the light is not
    if scene.mount:
        stride, paint = rng.uniform(-1, 1), PAINTS.get(scene.mount_colour)
        if only != "rider":
            _with_tint(brush, scene.mount_colour, draw_mount, scene.mount, paint, stride)
    if scene.rider:
        pose = seated(SADDLES[scene.mount], rng.uniform(-1, 1)) if scene.mount else standing(rng)
        if not scene.mount:
            brush.shadow(0, 0, 18, 4)
        if only != "mount":
            _with_tint(brush, scene.rider_colour, draw_rider, scene.rider, PAINTS.get(scene.rider_colour), pose)
    brush.light *= side
    canvas.restore()


def _with_tint(brush: Brush, colour: str | None, paint, *arguments):
    """Draw something whose lines, in a line drawing, take the colour that the caption names."""
    if colour:
        brush.tint = darker(PAINTS[colour], 0.4 if colour == "white" else 0.05)
    paint(brush, *arguments)
    brush.tint = None


def _finish(brush: Brush, rng: np.random.Generator):
    """Warm or cool light from one side and darker corners: what a lens adds to a photograph."""
    if brush.style != "photograph":
        return
    warm = rng.random()
    tint = (255, 190 + 40 * warm, 110 + 120 * (1 - warm))
    brush.glow(64 + brush.light * 60, 0, 130, tint, rng.uniform(0.05, 0.22))
    corners = skia.Paint(AntiAlias=True)
    tones = [skia.Color(0, 0, 20, alpha) for alpha in (0, 0, 14, 64)]
    corners.setShader(skia.GradientShader.MakeRadial(skia.Point(64, 60), 98, tones, [0, 0.4, 0.7, 1]))
    brush.canvas.drawRect(skia.Rect(-1, -1, 129, 129), corners)
