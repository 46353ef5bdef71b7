"""The places, each a sky, a horizon, a few landmarks and a ground, painted over the whole 128 × 128 picture."""

from __future__ import annotations

import numpy as np
import skia

from .brush import Brush, Colour, blob, box, curve, ellipse, lighter, mix, polygon


def _sky(brush: Brush, top: Colour, bottom: Colour, horizon: float):
    brush.gradient(box(64, horizon / 2 - 5, 140, horizon + 20), top, bottom)


def _ground(brush: Brush, horizon: float, near: Colour, far: Colour, sag: float = 0.0, wave: float = 0.0):
    """The ground from its far edge (a gentle curve at `horizon`) to the lower edge of the picture."""
    edge = curve(
        (-8, horizon + sag), (30, horizon - wave), (64, horizon - sag / 2), (98, horizon + wave), (136, horizon + sag)
    )
    ground = skia.Path(edge)
    for corner in ((136, 136), (-8, 136)):
        ground.lineTo(*corner)
    brush.gradient(ground, far, near)
    if brush.style == "line drawing":
        brush.line(edge, near, 2.0)


def _sun(brush: Brush, rng: np.random.Generator, colour: Colour = (255, 226, 110), low: float = 34):
    x, y = 64 + brush.light * rng.uniform(34, 48), rng.uniform(16, low)
    brush.glow(x, y, 46, lighter(colour, 0.3), 0.75)
    brush.disc(ellipse(x, y, 9), colour)


def _cloud(brush: Brush, x: float, y: float, size: float):
    top = [(x + dx * size, y + dy * size) for dx, dy in ((-1.7, 0), (-1, -0.7), (0, -1), (1, -0.7), (1.7, 0))]
    puff = blob(*top, (x, y + 0.3 * size))
    brush.shape(puff, (248, 250, 255), outline=False)


def _moon(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (14, 14, 44), (56, 54, 108), horizon)
    for x, y in zip(rng.uniform(4, 124, 7), rng.uniform(4, horizon - 12, 7), strict=True):
        brush.mark(ellipse(x, y, rng.uniform(1.3, 2.0)), (236, 238, 255))
    x, y = 64 - brush.light * rng.uniform(34, 48), rng.uniform(15, 26)
    brush.glow(x, y, 30, (90, 150, 255), 0.5)
    brush.shape(ellipse(x, y, 11), (54, 120, 214), outline=False)
    brush.mark(blob((x - 6, y - 4), (x + 1, y - 6), (x + 3, y), (x - 3, y + 3)), (90, 180, 100))
    _ground(brush, horizon, (134, 134, 150), (192, 192, 206), 3)
    for x, y in ((rng.uniform(4, 40), horizon + 12), (rng.uniform(88, 124), horizon + 10), (rng.uniform(20, 110), 121)):
        brush.shape(ellipse(x, y, 11, 3), (128, 128, 142), outline=False)


def _palm(brush: Brush, x: float, base: float, height: float, lean: float):
    top = (x + lean, base - height)
    brush.limb([(x, base), (x + lean * 0.3, base - height * 0.55), top], 4.5, (142, 98, 58))
    for dx, dy in ((-19, 5), (19, 5), (-13, -9), (13, -9)):
        tip = (top[0] + dx, top[1] + dy)
        brush.shape(
            blob(top, (top[0] + dx * 0.5, top[1] + dy * 0.5 - 6), tip, (top[0] + dx * 0.45, top[1] + dy * 0.5 + 1)),
            (40, 140, 70),
        )


def _beach(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (70, 160, 236), (206, 236, 250), horizon)
    _sun(brush, rng)
    sea = horizon - 12
    brush.gradient(box(64, sea + 10, 140, 26), (30, 108, 190), (80, 190, 214))
    if brush.style == "line drawing":
        brush.line(curve((-4, sea - 3), (132, sea - 3)), (0, 0, 0), 2.0)
        for x in rng.uniform(10, 110, 3):
            brush.line(curve((x, sea + 6), (x + 5, sea + 4), (x + 10, sea + 6)), (0, 0, 0), 2.0)
    _ground(brush, horizon + 3, (226, 190, 124), (250, 226, 170), 0, 2)
    _palm(
        brush,
        64 - brush.light * rng.uniform(46, 54),
        horizon + 14,
        rng.uniform(46, 58),
        brush.light * rng.uniform(2, 8),
    )


def _desert(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (244, 178, 110), (255, 232, 184), horizon)
    _sun(brush, rng, (255, 244, 190))
    x = 64 - brush.light * rng.uniform(10, 34)
    brush.shape(polygon((x - 30, horizon + 6), (x, horizon - 30), (x + 30, horizon + 6)), (218, 154, 92), outline=False)
    _ground(brush, horizon, (214, 142, 72), (240, 186, 112), 2, 5)
    x, y = 64 - brush.light * rng.uniform(46, 54), horizon + 18
    cactus = (60, 132, 84)
    brush.limb([(x - 8, y - 24), (x - 8, y - 15), (x, y - 14)], 5, cactus)
    brush.limb([(x + 8, y - 29), (x + 8, y - 20), (x, y - 19)], 5, cactus)
    brush.limb([(x, y), (x, y - 36)], 7, cactus)


def _forest(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (150, 190, 176), (216, 232, 206), horizon)
    rows = ((22, 0.4, 46), (29, 0.0, 60))
    for gap, haze, height in rows[1:] if brush.style == "line drawing" else rows:
        for x in np.arange(-4, 136, gap) + rng.uniform(-3, 3):
            h = height + rng.uniform(-8, 8)
            green = mix((26, 92, 58), (160, 196, 176), haze)
            brush.shape(box(x, horizon + 2, 4, 12), (92, 66, 48), outline=False)
            for part, wide in ((0.0, 14), (0.38, 10)):
                y = horizon - part * h
                brush.shape(polygon((x - wide, y), (x, y - 0.62 * h), (x + wide, y)), green, outline=False)
    _ground(brush, horizon - 3, (50, 92, 48), (98, 142, 76), 0, 2)


def _city(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (98, 112, 178), (252, 204, 170), horizon)
    walls = ((92, 88, 128), (128, 100, 124), (72, 84, 122))
    for i, x in enumerate(np.arange(6, 136, 29) + rng.uniform(-6, 6)):
        height = rng.uniform(38, 66)
        brush.shape(box(x, horizon - height / 2 + 2, 25, height + 4), walls[i % 3], outline=False)
        for dy in np.arange(9, height - 6, 15):
            for dx in (-6, 6):
                brush.mark(box(x + dx, horizon - height + dy, 7, 8), (255, 216, 140))
    _ground(brush, horizon, (74, 74, 88), (112, 110, 122))
    for x in np.arange(0, 140, 34) + rng.uniform(-8, 8):
        brush.mark(polygon((x, 121), (x + 16, 121), (x + 14, 124), (x - 2, 124)), (240, 236, 214))


def _snow(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (104, 146, 208), (216, 230, 246), horizon)
    for x, h in ((rng.uniform(10, 40), rng.uniform(40, 54)), (rng.uniform(82, 116), rng.uniform(34, 50))):
        w, top = 0.85 * h, horizon + 4 - h
        brush.shape(polygon((x - w, horizon + 4), (x, top), (x + w, horizon + 4)), (104, 126, 168), outline=False)
        edge, low = 0.34 * w, top + 0.34 * h
        cap = polygon((x - edge, low), (x, top), (x + edge, low), (x, top + h * 0.26))
        brush.shape(cap, (248, 250, 255), outline=False)
    _ground(brush, horizon, (196, 212, 236), (244, 248, 255), 0, 3)
    for x, y in zip(rng.uniform(4, 124, 9), rng.uniform(4, 120, 9), strict=True):
        brush.mark(ellipse(x, y, 2.2), (255, 255, 255))


def _meadow(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (84, 164, 240), (208, 234, 252), horizon)
    _cloud(brush, 64 - brush.light * rng.uniform(26, 46), rng.uniform(16, 30), rng.uniform(8, 11))
    _sun(brush, rng)
    hill = rng.uniform(-14, 14)
    far = blob(
        (-30, horizon + 20),
        (18 + hill, horizon - 12),
        (70 + hill, horizon + 4),
        (110 + hill, horizon - 9),
        (160, horizon + 20),
    )
    brush.shape(far, (124, 186, 100), outline=False)
    _ground(brush, horizon + 3, (66, 138, 56), (126, 196, 84), 2, -3)
    petals = ((240, 90, 110), (250, 220, 90), (250, 250, 255))
    for i, x in enumerate(np.linspace(8, 120, 6) + rng.uniform(-8, 8, 6)):
        brush.mark(ellipse(x, rng.uniform(116, 124), 2.8), petals[i % 3])


def _sea(brush: Brush, rng: np.random.Generator, horizon: float):
    _sky(brush, (70, 196, 214), (16, 82, 142), horizon + 20)
    for x in rng.uniform(10, 100, 3):
        brush.ray(polygon((x, -2), (x + 12, -2), (x + 34, horizon + 8), (x + 4, horizon + 8)), (220, 255, 250), 0.16)
    _ground(brush, horizon + 6, (150, 150, 120), (96, 140, 140), 0, 3)
    for x in (64 - brush.light * rng.uniform(44, 54), 64 + brush.light * rng.uniform(50, 58)):
        for dx, h in ((-5, 42), (4, 54)):
            y = horizon + 16
            brush.limb(
                [(x + dx, y), (x + dx + 4, y - h / 3), (x + dx - 3, y - 2 * h / 3), (x + dx + 3, y - h)],
                5,
                (38, 138, 92),
            )
    for x in rng.uniform(10, 118, 5):
        r = rng.uniform(2.6, 4.2)
        brush.line(ellipse(x, rng.uniform(8, 70), r), (226, 250, 255), 1.8)


_DRAW = {
    "moon": _moon,
    "beach": _beach,
    "desert": _desert,
    "forest": _forest,
    "city": _city,
    "snow": _snow,
    "meadow": _meadow,
    "sea": _sea,
}


def draw_place(brush: Brush, place: str, rng: np.random.Generator, horizon: float):
    """Paint one place over the whole canvas; `horizon` is the y of the ground's far edge, about 76 to 88."""
    brush.distant = True
    _DRAW[place](brush, rng, horizon)
    brush.distant = False
