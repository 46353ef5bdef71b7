"""The things to ride, facing right, standing on y = 0 (y points down, so bodies have negative y)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .brush import Brush, Colour, Point, blob, box, curve, darker, ellipse, lighter, mix, polygon

SKIN = {
    "horse": (150, 88, 44),
    "elephant": (142, 148, 164),
    "turtle": (58, 128, 62),
    "duck": (250, 204, 60),
    "bicycle": (30, 150, 170),
    "rocket": (226, 228, 234),
}


@dataclass(frozen=True)
class Saddle:
    """Where a rider sits, puts the near foot and the near hand."""

    seat: Point
    foot: Point
    hand: Point


SADDLES = {
    "horse": Saddle((-4, -42), (2, -21), (14, -51)),
    "elephant": Saddle((-5, -51), (5, -34), (9, -60)),
    "turtle": Saddle((-4, -40), (9, -25), (10, -50)),
    "duck": Saddle((-7, -36), (5, -20), (9, -47)),
    "bicycle": Saddle((-9, -38), (1, -12), (15, -46)),
    "rocket": Saddle((-4, -37), (5, -20), (11, -46)),
}


def _horse(brush: Brush, coat: Colour, stride: float):
    mane = darker(coat, 0.62)
    far = darker(coat, 0.3)
    brush.limb([(-24, -33), (-31, -27), (-32, -13)], 5, mane)
    for hip, swing in ((-15, 5), (17, -5)):
        brush.limb([(hip, -25), (hip + swing * stride * 0.6, -13), (hip + swing * stride, -2)], 5.5, far)
    for hip, swing in ((-19, -5), (12, 5)):
        brush.limb([(hip, -25), (hip + swing * stride * 0.6, -13), (hip + swing * stride, -2)], 6, coat)
        brush.mark(box(hip + swing * stride + 0.5, -1.5, 6.5, 4, 1.5), mane)
    brush.shape(
        blob((-26, -32), (-20, -41), (-6, -40), (9, -42), (18, -56), (24, -63), (31, -60), (41, -48), (38, -43),
             (29, -47), (25, -38), (20, -25), (5, -22), (-14, -22), (-24, -25)),
        coat,
    )  # fmt: skip
    brush.shape(blob((8, -44), (16, -59), (24, -66), (23, -61), (17, -50), (11, -42)), mane)
    brush.shape(polygon((24, -62), (27, -70), (30, -61)), coat)
    brush.mark(ellipse(31, -56, 1.7), (20, 16, 20))
    brush.line(curve((38, -48), (26, -47), (14, -51)), darker(coat, 0.75), 1.5)


def _elephant(brush: Brush, skin: Colour, stride: float):
    far = darker(skin, 0.3)
    brush.limb([(-25, -40), (-32, -30), (-31, -22)], 2.6, far)
    for hip, swing in ((-13, 3), (15, -3)):
        brush.limb([(hip, -25), (hip + swing * stride, -6)], 11, far)
    for hip, swing in ((-19, -3), (9, 3)):
        brush.limb([(hip, -25), (hip + swing * stride, -6)], 12, skin)
    brush.shape(blob((-28, -32), (-22, -48), (-2, -52), (18, -48), (22, -30), (10, -20), (-14, -19), (-26, -23)), skin)
    brush.limb([(33, -42), (42, -32), (41, -18), (47, -12)], 6.5, skin)
    brush.shape(ellipse(27, -44, 14, 13), skin)
    brush.shape(polygon((35, -33), (39, -32), (44, -24)), (250, 246, 230))
    brush.shape(blob((17, -56), (24, -50), (22, -36), (14, -28), (6, -38), (8, -52)), lighter(skin, 0.14))
    brush.mark(ellipse(33, -46, 1.7), (20, 16, 20))


def _turtle(brush: Brush, shell: Colour, stride: float):
    skin = mix(shell, (170, 200, 90), 0.6)
    brush.shape(blob((-27, -13), (-36, -8), (-28, -7)), skin)
    for hip, swing in ((-19, -3), (15, 4)):
        brush.limb([(hip, -14), (hip + swing * stride, -4)], 10, skin)
    brush.limb([(22, -17), (31, -22), (36, -27)], 9, skin)
    brush.shape(ellipse(39, -29, 8.5, 7.5), skin)
    brush.mark(ellipse(41.5, -31, 1.7), (20, 16, 20))
    brush.line(curve((40, -26), (43.5, -25.5), (46, -27)), darker(skin, 0.7), 1.3)
    brush.shape(blob((-30, -15), (-25, -31), (-4, -41), (17, -32), (25, -15), (12, -11), (-16, -11)), shell)
    plate = darker(shell, 0.3)
    brush.shape(polygon((-12, -21), (-8, -32), (3, -32), (8, -21), (-2, -15)), plate)
    brush.line(curve((-29, -16), (-12, -12.5), (9, -12.5), (24, -16)), lighter(skin, 0.3), 1.8)


def _duck(brush: Brush, down: Colour, stride: float):
    orange = (238, 126, 34)
    for x in (-7 - 4 * stride, 6 + 4 * stride):
        brush.limb([(x * 0.8, -12), (x, -3)], 3.4, orange)
        brush.shape(blob((x - 3, -2), (x + 2, -5), (x + 9, -1), (x + 2, 0)), orange)
    brush.shape(polygon((33, -54), (47, -49), (33, -45)), orange)
    brush.shape(
        blob((-38, -38), (-27, -33), (-10, -37), (8, -38), (13, -47), (16, -60), (27, -62), (35, -54), (33, -43),
             (26, -36), (25, -20), (12, -10), (-10, -9), (-25, -16)),
        down,
    )  # fmt: skip
    brush.shape(blob((-22, -26), (-6, -31), (10, -27), (6, -17), (-8, -15), (-18, -18)), darker(down, 0.12))
    brush.mark(ellipse(27, -53, 1.9), (20, 16, 20))


def _bicycle(brush: Brush, frame: Colour, stride: float):
    tyre = (44, 42, 52)
    for hub in (-20, 21):
        for angle in np.arange(3) * np.pi / 3 + stride:
            dx, dy = 13 * np.cos(angle), 13 * np.sin(angle)
            brush.line(curve((hub - dx, -15 - dy), (hub + dx, -15 + dy)), (130, 130, 140), 1.1)
        brush.line(ellipse(hub, -15, 13.5), tyre, 2.8)
    pedal, post, head = (-2, -14), (-9, -33), (14, -36)
    for tube in (
        [(-20, -15), pedal],
        [(-20, -15), post],
        [pedal, post],
        [pedal, head],
        [post, head],
        [(21, -15), head],
    ):
        brush.limb(tube, 2.8, frame)
    brush.limb([head, (13, -42), (18, -46)], 2.4, tyre)
    brush.shape(box(-9, -36, 13, 4, 2), tyre)
    brush.shape(ellipse(*pedal, 3.6), lighter(tyre, 0.4))


def _rocket(brush: Brush, hull: Colour, stride: float):
    fin = (214, 52, 44) if hull == SKIN["rocket"] else darker(hull, 0.45)
    flare = 3 * stride
    brush.shape(
        blob((-30, -34), (-45 - flare, -31), (-53 - flare, -27), (-45 - flare, -23), (-30, -20)), (246, 140, 40)
    )
    brush.mark(blob((-30, -31), (-42 - flare, -27), (-30, -23)), (255, 224, 110))
    brush.shape(polygon((-16, -34), (-34, -46), (-32, -32)), fin)
    brush.shape(
        blob((-31, -32), (-10, -38), (16, -37), (34, -32), (44, -27), (34, -22), (16, -17), (-10, -16), (-31, -22)),
        hull,
    )
    brush.shape(blob((28, -34.5), (37, -31), (44.5, -27), (37, -23), (28, -19.5)), fin)
    brush.shape(polygon((-12, -20), (-34, -10), (-32, -24)), fin)
    brush.shape(ellipse(19, -28, 5), (90, 180, 224))


_DRAW = {
    "horse": _horse,
    "elephant": _elephant,
    "turtle": _turtle,
    "duck": _duck,
    "bicycle": _bicycle,
    "rocket": _rocket,
}


def draw_mount(brush: Brush, mount: str, colour: Colour | None, stride: float):
    """Draw one mount at the origin; `colour` replaces its own, `stride` in [-1, 1] moves its legs, spokes or flame."""
    brush.shadow(0, 0, 32, 5, 0.25 if mount == "rocket" else 0.42)
    _DRAW[mount](brush, colour or SKIN[mount], stride)
