"""The riders, facing right: six ways to dress the one skeleton. Heads are large: a face is what the eye looks for."""

from __future__ import annotations

from .brush import BLACK, Brush, Colour, blob, box, curve, darker, ellipse, lighter, mix, polygon, star
from .pose import Pose, draw_arm, draw_gown, draw_limbs, draw_torso

CLOTHES = {
    "astronaut": (242, 244, 250),
    "robot": (124, 164, 190),
    "wizard": (104, 54, 172),
    "knight": (204, 40, 46),
    "queen": (214, 54, 136),
    "penguin": (52, 64, 108),
}
FACE = (248, 204, 168)
STEEL = (184, 192, 206)
GOLD = (250, 200, 50)
NIGHT = (22, 30, 70)
SNOW = (252, 252, 255)


def _astronaut(brush: Brush, pose: Pose, suit: Colour):
    sx, sy = pose.shoulder
    grey = mix(darker(suit, 0.4), (84, 104, 150), 0.4)
    brush.shape(box(sx - 12, sy + 5, 12, 21, 4), grey)
    draw_limbs(brush, pose, suit, suit, grey, 8.5)
    draw_torso(brush, pose, suit)
    draw_arm(brush, pose, suit, grey, 8)
    brush.mark(box(sx - 1, sy + 5, 5.5, 4.5, 1), (226, 60, 46))
    with brush.at(*pose.head):
        brush.shape(ellipse(0, 0, 14, 13.5), suit)
        brush.shape(ellipse(3, 0.5, 9.2, 8.6), NIGHT, solid=True)
        brush.gleam(blob((2.5, -5.4), (7.6, -4.4), (10, 0.5), (7.2, -0.8), (3, -2.4)))
        brush.gleam(ellipse(-0.5, 4, 1.6), 0.6)


def _robot(brush: Brush, pose: Pose, metal: Colour):
    (x, y), (sx, sy) = pose.hip, pose.shoulder
    joint = darker(metal, 0.55)
    draw_limbs(brush, pose, joint, joint, metal, 6.5)
    brush.shape(box((sx + x) / 2, (sy + y) / 2 + 1, 20, 18, 4), metal)
    brush.shape(box(sx + 3, sy + 8, 9, 8, 2), lighter(metal, 0.6))
    draw_arm(brush, pose, joint, metal, 6.5)
    with brush.at(*pose.head):
        brush.limb([(0, -9), (0, -17)], 3, joint)
        brush.shape(ellipse(0, -18.5, 3.8), (236, 56, 48))
        brush.shape(box(0, 0, 28, 21, 5), metal)
        brush.shape(box(2.5, -1.5, 20, 10.5, 4), NIGHT, solid=True)
        for eye in (-2.5, 7.5):
            brush.disc(ellipse(eye, -1.5, 3.2), (96, 240, 255))
        brush.line(curve((-2, 6.7), (8, 6.7)), joint)


def _wizard(brush: Brush, pose: Pose, robe: Colour):
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], 8, darker(robe, 0.2))
    draw_gown(brush, pose, robe)
    draw_arm(brush, pose, robe, FACE, 8.5)
    with brush.at(*pose.head):
        brush.shape(ellipse(0, 0, 11), FACE)
        brush.shape(blob((-11, -2), (-4, 4), (3, 4.5), (10, 3), (11, 9), (6, 21), (-3, 15), (-10, 8)), SNOW)
        brush.shape(ellipse(11.5, 1.5, 3.2, 2.8), (243, 169, 142))
        brush.eye(3.5, -1.5, 2)
        brush.shape(blob((-12, -8), (-7, -18), (-8, -28), (0, -22), (8, -15), (12, -8)), robe, solid=True)
        brush.shape(ellipse(0, -8, 17, 3.8), darker(robe, 0.25))
        brush.mark(star(0, -16, 5.6), GOLD)


def _knight(brush: Brush, pose: Pose, tunic: Colour):
    (x, y), (sx, sy) = pose.hip, pose.shoulder
    draw_limbs(brush, pose, STEEL, STEEL, darker(STEEL, 0.45))
    draw_torso(brush, pose, tunic)
    for width, height in ((4, 12), (10, 4)):
        brush.mark(box((sx + x) / 2 + 3, (sy + y) / 2, width, height), GOLD)
    draw_arm(brush, pose, STEEL, darker(STEEL, 0.35))
    with brush.at(*pose.head):
        brush.shape(blob((-1, -10), (-1, -20), (-11, -24), (-22, -18), (-25, -5), (-17, -9), (-11, -10)), tunic)
        brush.shape(blob((-13, -5), (-8, -12), (0, -14), (8, -12), (13, -5), (12, 11), (0, 13), (-12, 11)), STEEL)
        brush.shape(blob((-1, -6), (14, -6), (16, 3), (12, 12), (0, 11)), lighter(STEEL, 0.35))
        brush.mark(box(7, -2, 14, 4.6, 1.5), BLACK)
        for x in (3.5, 7.5, 11.5):
            brush.line(curve((x, 4), (x, 8.5)), darker(STEEL, 0.75), 1.8)


def _queen(brush: Brush, pose: Pose, dress: Colour):
    hair = (122, 62, 26)
    with brush.at(*pose.head):
        brush.shape(blob((5, -12), (-9, -12), (-16, 0), (-18, 20), (-6, 22), (0, 8)), hair, solid=True)
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], 6.5, darker(FACE, 0.15))
    draw_gown(brush, pose, dress)
    draw_arm(brush, pose, mix(dress, FACE, 0.15), FACE)
    sx, sy = pose.shoulder
    brush.shape(blob((sx - 10, sy + 3), (sx, sy - 5), (sx + 10, sy + 2), (sx + 6, sy + 6), (sx - 6, sy + 7)), SNOW)
    with brush.at(*pose.head):
        brush.shape(blob((0, -11), (9, -8), (11.5, -2), (14, 2), (10.5, 8), (1, 11), (-9, 7), (-9, -7)), FACE)
        brush.shape(blob((10, -8), (-2, -13), (-12, -4), (-12, 12), (-6, 6), (-3, -4), (4, -6)), hair, solid=True)
        brush.eye(6, -0.5, 2)
        brush.line(curve((5, 5.6), (7.5, 6.6), (10, 5.2)), (200, 56, 74), 1.7)
        brush.shape(polygon((-10, -8), (-12, -21), (-5, -14), (0, -23), (5, -14), (12, -21), (10, -8)), GOLD)
        brush.mark(ellipse(0, -11.5, 2), (220, 40, 60))


def _penguin(brush: Brush, pose: Pose, coat: Colour):
    (hx, hy), (x, y) = pose.head, pose.hip
    orange = (246, 146, 36)
    bottom = y + 5 if pose.seated else -3
    for fx, fy in [(x + 9, y + 8)] if pose.seated else pose.feet:
        brush.shape(ellipse(fx + 3, fy + 1, 7.5, 3.8), orange)
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], 7, coat, solid=True)
    head = [(hx - 12.5, hy + 1), (hx - 8, hy - 9), (hx, hy - 12.5), (hx + 8, hy - 9), (hx + 12, hy + 1)]
    brush.shape(blob(*head, (x + 15, y - 6), (x + 9, bottom), (x - 9, bottom), (x - 16, y - 6)), coat, solid=True)
    middle = (y + hy + 14) / 2
    brush.shape(ellipse(x + 5, middle, 9, max(bottom - middle - 2, 9)), SNOW)
    draw_arm(brush, pose, coat, coat, 7, solid=True)
    with brush.at(hx, hy):
        brush.shape(blob((-3, -1), (2, -7), (9, -6), (11, 2), (6, 8), (-1, 7)), SNOW)
        brush.eye(4, -1.5)
        brush.shape(blob((9, -1), (14, -1), (21, 3), (14, 6), (8, 5)), orange)


_DRAW = {
    "astronaut": _astronaut,
    "robot": _robot,
    "wizard": _wizard,
    "knight": _knight,
    "queen": _queen,
    "penguin": _penguin,
}


def draw_rider(brush: Brush, rider: str, colour: Colour | None, pose: Pose):
    """Draw one rider in a pose; `colour` replaces the clothes' own."""
    _DRAW[rider](brush, pose, colour or CLOTHES[rider])
