"""The things to ride, facing right, standing on y = 0 (y points down, so bodies have negative y)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .brush import BLACK, Brush, Colour, Point, blob, box, curve, darker, ellipse, lighter, mix, polygon

SKIN = {
    "horse": (158, 92, 46),
    "elephant": (150, 156, 178),
    "turtle": (56, 134, 66),
    "duck": (252, 206, 56),
    "bicycle": (30, 150, 170),
    "rocket": (232, 234, 240),
}
IVORY = (252, 248, 232)
ORANGE = (240, 128, 32)
LEATHER = (104, 44, 40)
TYRE = (48, 46, 58)


@dataclass(frozen=True)
class Saddle:
    """Where a rider sits, puts the near foot and the near hand; `middle` is the x of the mount's own middle."""

    seat: Point
    foot: Point
    hand: Point
    middle: float


SADDLES = {
    "horse": Saddle((-9, -38), (0, -19), (11, -46), 4),
    "elephant": Saddle((-10, -42), (-1, -26), (5, -49), 10),
    "turtle": Saddle((-8, -36), (4, -21), (9, -44), 5),
    "duck": Saddle((-12, -34), (-1, -17), (5, -42), 3),
    "bicycle": Saddle((-11, -36), (2, -16), (14, -45), 1),
    "rocket": Saddle((-9, -36), (1, -19), (9, -44), -1),
}


def _legs(brush: Brush, hips: tuple[float, ...], swing: float, width: float, colour: Colour, hoof: Colour):
    """Two legs of one side, from the belly to the ground, with hooves or toes."""
    for hip, side in zip(hips, (-1, 1), strict=True):
        foot = hip + side * swing
        brush.limb([(hip, -24), ((hip + foot) / 2, -13), (foot, -width / 2)], width, colour)
        brush.shape(box(foot + 0.8, -2, width - 0.5, 3.8, 1.5), hoof, solid=True)


def _cloth(brush: Brush, *corners: Point):
    """The saddle cloth between a back and its rider."""
    brush.shape(blob(*corners), LEATHER)


def _horse(brush: Brush, coat: Colour, stride: float):
    mane = darker(coat, 0.66)
    brush.shape(
        blob((-24, -38), (-34, -38), (-41, -26), (-40, -10), (-34, -14), (-31, -25), (-25, -30)), mane, solid=True
    )
    _legs(brush, (-15, 13), -5 * stride, 6.5, darker(coat, 0.32), mane)
    _legs(brush, (-23, 9), 5 * stride, 7.5, coat, mane)
    brush.shape(
        blob((-30, -29), (-27, -37), (-14, -39), (1, -39), (9, -46), (15, -60), (25, -64), (31, -54), (26, -42),
             (21, -27), (8, -19), (-10, -19), (-26, -20)),
        coat,
    )  # fmt: skip
    _cloth(brush, (-18, -40), (-2, -40), (1, -29), (-7, -25), (-18, -29))
    brush.shape(
        blob((25, -71), (17, -70), (10, -60), (4, -46), (7, -39), (13, -43), (17, -55), (24, -63)), mane, solid=True
    )
    brush.shape(polygon((19, -65), (19, -78), (28, -68)), coat)
    brush.shape(
        blob((18, -64), (25, -70), (32, -67), (40, -59), (48, -52), (49, -45), (43, -41), (34, -45), (26, -47),
             (19, -54)),
        coat,
    )  # fmt: skip
    brush.shape(blob((43, -56), (49, -52), (50, -45), (44, -40), (39, -44), (39, -51)), lighter(coat, 0.5))
    brush.mark(ellipse(46, -49, 1.4, 1.8), BLACK)
    brush.shape(blob((21, -73), (29, -71), (33, -63), (28, -64)), mane, solid=True)
    brush.eye(30, -60)
    brush.line(curve((38, -46), (26, -43), (11, -46)), darker(coat, 0.75))


def _elephant(brush: Brush, skin: Colour, stride: float):
    far, toes = darker(skin, 0.32), lighter(skin, 0.55)
    brush.limb([(-28, -38), (-35, -30), (-35, -20)], 3, far)
    for hips, swing, colour in (((-14, 12), -3 * stride, far), ((-22, 5), 3 * stride, skin)):
        for hip, side in zip(hips, (-1, 1), strict=True):
            foot = hip + side * swing
            brush.limb([(hip, -24), (foot, -7)], 13, colour)
            brush.mark(box(foot + 2.5, -2.6, 7, 3.4, 1.5), toes)
    brush.shape(blob((-32, -28), (-27, -42), (-8, -47), (13, -44), (20, -28), (8, -17), (-12, -16), (-28, -19)), skin)
    _cloth(brush, (-22, -47), (2, -48), (5, -32), (-8, -27), (-23, -31))
    brush.shape(
        blob((16, -54), (27, -60), (39, -55), (43, -44), (43, -30), (44, -21), (48, -19), (53, -23), (56, -16),
             (48, -9), (39, -12), (35, -22), (34, -31), (26, -31), (16, -38)),
        skin,
    )  # fmt: skip
    brush.shape(blob((30, -37), (37, -36), (44, -30), (49, -22), (40, -26), (32, -31)), IVORY)
    brush.shape(blob((21, -58), (26, -46), (22, -32), (12, -24), (3, -32), (1, -48), (9, -58)), lighter(skin, 0.12))
    brush.mark(blob((17, -51), (20, -44), (17, -34), (12, -31), (8, -38), (9, -48)), mix(skin, (240, 150, 160), 0.5))
    brush.eye(34, -47)


def _turtle(brush: Brush, shell: Colour, stride: float):
    skin = mix(shell, (196, 218, 110), 0.65)
    brush.shape(blob((-28, -14), (-40, -7), (-28, -6)), skin)
    for hip, swing in ((-20, -3), (14, 4)):
        brush.limb([(hip, -14), (hip + swing * stride, -5)], 11, skin)
    brush.limb([(20, -16), (29, -20), (34, -26)], 11, skin)
    brush.shape(ellipse(39, -31, 12, 10.5), skin)
    brush.eye(42, -34, 2.8)
    brush.line(curve((40, -25.5), (45, -25), (49, -28)), darker(skin, 0.7))
    brush.shape(blob((-33, -14), (-28, -29), (-6, -38), (16, -30), (24, -14), (12, -9), (-18, -9)), shell)
    plate = darker(shell, 0.35)
    for x, y, r in ((-21, -19, 5), (-5, -25, 7), (11, -19, 5)):
        corners = [(x + r * np.cos(turn), y + 0.85 * r * np.sin(turn)) for turn in np.arange(6) * np.pi / 3]
        brush.mark(polygon(*corners), plate)
    brush.limb([(-31, -13), (-12, -9.5), (9, -9.5), (23, -13)], 4, lighter(skin, 0.35))


def _duck(brush: Brush, down: Colour, stride: float):
    for x in (-8 - 4 * stride, 6 + 4 * stride):
        brush.limb([(x * 0.8, -12), (x, -3)], 4.4, ORANGE)
        brush.shape(blob((x - 4, -1), (x + 2, -5.5), (x + 11, -1), (x + 2, 0.5)), ORANGE)
    brush.shape(
        blob((-44, -38), (-34, -32), (-18, -34), (2, -34), (9, -40), (6, -51), (11, -62), (22, -66), (33, -62),
             (37, -52), (33, -43), (29, -37), (31, -26), (25, -13), (10, -8), (-12, -7), (-30, -15)),
        down,
    )  # fmt: skip
    brush.shape(blob((-26, -25), (-8, -28), (9, -25), (4, -14), (-10, -12), (-22, -16)), darker(down, 0.14))
    brush.shape(blob((33, -57), (42, -54), (51, -51), (47, -45), (33, -46)), ORANGE)
    brush.eye(26, -55, 2.8)


def _bicycle(brush: Brush, frame: Colour, stride: float):
    for hub in (-22, 23):
        for angle in np.arange(2) * np.pi / 2 + stride:
            dx, dy = 14 * np.cos(angle), 14 * np.sin(angle)
            brush.line(curve((hub - dx, -17 - dy), (hub + dx, -17 + dy)), (150, 152, 166), 1.7)
        brush.line(ellipse(hub, -17, 15), TYRE, 4)
        brush.shape(ellipse(hub, -17, 3), (200, 204, 214))
    pedal, post, head = (-2, -15), (-10, -35), (15, -37)
    rear, front = (-22, -17), (23, -17)
    for tube in ((rear, pedal), (rear, post), (pedal, post), (pedal, head), (post, head), (front, head)):
        brush.limb(tube, 4, frame)
    brush.limb([head, (13, -44), (19, -48)], 3.6, TYRE)
    brush.shape(blob((-18, -36), (-14, -40), (-3, -38), (-5, -35)), TYRE, solid=True)
    brush.shape(ellipse(*pedal, 4.4), (200, 204, 214))


def _rocket(brush: Brush, hull: Colour, stride: float):
    fin = (220, 50, 44) if hull == SKIN["rocket"] else darker(hull, 0.45)
    tail = -46 - 2 * stride
    brush.shape(blob((-28, -37), (-38, -38), (tail, -26), (-38, -14), (-28, -15)), (248, 132, 36))
    brush.mark(blob((-28, -33), (-36, -32), (tail + 8, -26), (-36, -20), (-28, -19)), (255, 228, 110))
    brush.shape(polygon((-12, -36), (-34, -49), (-32, -32)), fin)
    brush.shape(
        blob((-29, -34), (-12, -40), (12, -40), (32, -35), (47, -26), (32, -17), (12, -12), (-12, -12), (-29, -18)),
        hull,
    )
    brush.shape(blob((28, -37), (38, -33), (48, -26), (38, -19), (28, -15), (30, -26)), fin)
    brush.shape(polygon((-8, -20), (-36, -6), (-32, -22)), fin)
    brush.shape(ellipse(18, -26, 7.5), mix(fin, (255, 214, 90), 0.75))
    brush.shape(ellipse(18, -26, 5), (40, 92, 170), solid=True)
    brush.gleam(ellipse(19.5, -28, 1.6))


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
    brush.shadow(0, 0, 34, 5, 0.35 if mount == "rocket" else 0.6)
    _DRAW[mount](brush, colour or SKIN[mount], stride)
