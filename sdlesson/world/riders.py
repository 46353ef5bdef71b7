"""The riders, facing right: one skeleton of joints, six ways to dress it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .brush import Brush, Colour, Point, blob, box, curve, darker, ellipse, lighter, mix, polygon
from .mounts import Saddle

CLOTHES = {
    "astronaut": (236, 238, 244),
    "robot": (120, 146, 172),
    "wizard": (104, 56, 164),
    "knight": (196, 44, 48),
    "queen": (206, 60, 132),
    "penguin": (48, 54, 78),
}
FACE = (240, 196, 160)
STEEL = (172, 180, 194)
GOLD = (246, 196, 52)


@dataclass(frozen=True)
class Pose:
    """The joints of a rider: hip, shoulder, neck and, near side first, hands and feet."""

    hip: Point
    shoulder: Point
    head: Point
    hands: tuple[Point, ...]
    feet: tuple[Point, ...]

    @property
    def seated(self) -> bool:
        return len(self.feet) == 1


def seated(saddle: Saddle, lean: float) -> Pose:
    """The pose of a rider on a mount; `lean` (-1 to 1) bends the back."""
    (x, y), (hx, hy) = saddle.seat, saddle.hand
    shoulder = (x + 2 + 2 * lean, y - 16)
    return Pose((x, y - 1), shoulder, (shoulder[0] + 1 + lean, shoulder[1] - 11), ((hx, hy),), (saddle.foot,))


def standing(rng: np.random.Generator) -> Pose:
    """The pose of somebody alone, at times with a hand raised."""
    sway = rng.uniform(-1.5, 1.5)
    near = (15 + rng.uniform(-1, 3), -52 - rng.uniform(0, 8)) if rng.random() < 0.4 else (10 + rng.uniform(0, 4), -23)
    return Pose((sway, -24), (sway, -40), (sway + 0.5, -51), (near, (sway - 13, -24)), ((6.5, -2.5), (-6.5, -2.5)))


def _limbs(brush: Brush, pose: Pose, arm: Colour, leg: Colour, shoe: Colour, width: float = 6.5):
    """Legs and the far arm; the near arm is drawn later, over the body."""
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], width - 1, darker(arm, 0.2))
    for foot in reversed(pose.feet):
        bend = 7 if pose.seated else 0
        knee = ((pose.hip[0] + foot[0]) / 2 + bend, (pose.hip[1] + foot[1]) / 2 - bend * 0.4)
        brush.limb([pose.hip if pose.seated else (foot[0] * 0.7, pose.hip[1]), knee, foot], width, leg)
        brush.shape(blob((foot[0] - 4, foot[1] + 3), (foot[0] - 2, foot[1] - 2), (foot[0] + 7, foot[1] + 2)), shoe)


def _arm(brush: Brush, pose: Pose, colour: Colour, hand: Colour, width: float = 6):
    (sx, sy), (hx, hy) = pose.shoulder, pose.hands[0]
    elbow = ((sx + hx) / 2 - 1, (sy + hy) / 2 + 3.5)
    brush.limb([(sx, sy + 2), elbow, (hx, hy)], width, colour)
    brush.shape(ellipse(hx, hy, 3.1), hand)


def _torso(brush: Brush, pose: Pose, colour: Colour, width: float = 9.0):
    (x, y), (sx, sy) = pose.hip, pose.shoulder
    brush.shape(
        blob(
            (x - width, y + 2),
            (sx - width, sy + 3),
            (sx - 2, sy - 4),
            (sx + width - 1, sy + 3),
            (x + width, y + 2),
            (x, y + 5),
        ),
        colour,
    )


def _gown(brush: Brush, pose: Pose, colour: Colour):
    """A robe: to the ground for somebody who stands, over the knee for somebody who rides."""
    (x, y), (sx, sy) = pose.hip, pose.shoulder
    if pose.seated:
        (fx, fy) = pose.feet[0]
        brush.shape(ellipse(fx + 3, fy, 5, 3), darker(colour, 0.6))
        hem = [(fx + 6, fy - 5), (fx - 4, fy - 1), (x - 12, y + 8)]
        points = [(sx - 7, sy + 2), (sx, sy - 4), (sx + 7, sy + 2), (x + 9, y - 1), (x + 15, y + 3), *hem]
    else:
        points = [
            (sx - 7, sy + 2),
            (sx, sy - 4),
            (sx + 7, sy + 2),
            (x + 10, y + 2),
            (x + 15, -1),
            (x, 1),
            (x - 15, -1),
            (x - 10, y + 2),
        ]
    brush.shape(blob(*points), colour)


def _astronaut(brush: Brush, pose: Pose, suit: Colour):
    (hx, hy), (sx, sy) = pose.head, pose.shoulder
    grey = darker(suit, 0.3)
    brush.shape(box(sx - 9, sy + 7, 11, 19, 3), grey)
    _limbs(brush, pose, suit, suit, grey, 7.5)
    _torso(brush, pose, suit)
    brush.mark(box(sx + 3, sy + 8, 6, 4.5, 1), (220, 60, 50))
    brush.shape(ellipse(hx, hy, 10.5), suit)
    brush.shape(ellipse(hx + 3, hy, 6.8, 6.2), (36, 44, 78))
    brush.mark(ellipse(hx + 5, hy - 2.4, 1.9, 1.4), (240, 190, 90))
    _arm(brush, pose, suit, grey, 7)


def _robot(brush: Brush, pose: Pose, metal: Colour):
    (hx, hy), (sx, sy) = pose.head, pose.shoulder
    joint = darker(metal, 0.5)
    _limbs(brush, pose, joint, joint, metal, 5)
    brush.limb([(hx, hy - 8), (hx, hy - 15)], 1.6, joint)
    brush.shape(ellipse(hx, hy - 16, 2.8), (230, 60, 50))
    brush.shape(box((sx + pose.hip[0]) / 2, (sy + pose.hip[1]) / 2 + 1, 19, 21, 3), metal)
    brush.shape(box(sx + 2, sy + 8, 9, 7, 1.5), lighter(metal, 0.45))
    brush.shape(box(hx, hy, 20, 16, 3), metal)
    brush.shape(box(hx + 2, hy - 0.5, 15, 7.5, 3), (28, 36, 60))
    for x in (-2, 6):
        brush.mark(ellipse(hx + x, hy - 0.5, 2.1), (90, 236, 255))
    _arm(brush, pose, joint, metal, 4.6)


def _wizard(brush: Brush, pose: Pose, robe: Colour):
    (hx, hy) = pose.head
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], 7, darker(robe, 0.2))
    _gown(brush, pose, robe)
    brush.shape(ellipse(hx, hy, 7.5), FACE)
    brush.shape(
        blob((hx - 7, hy + 1), (hx, hy + 3), (hx + 8, hy), (hx + 7, hy + 9), (hx + 3, hy + 18), (hx - 4, hy + 10)),
        (246, 246, 250),
    )
    brush.mark(ellipse(hx + 4, hy - 1.5, 1.3), (20, 16, 20))
    brush.shape(polygon((hx - 9, hy - 5), (hx + 9, hy - 5), (hx - 3, hy - 27)), robe)
    brush.shape(ellipse(hx, hy - 5, 13, 3.2), darker(robe, 0.15))
    brush.mark(ellipse(hx - 1, hy - 13, 2.4), GOLD)
    _arm(brush, pose, robe, FACE, 7)


def _knight(brush: Brush, pose: Pose, tunic: Colour):
    (hx, hy) = pose.head
    _limbs(brush, pose, STEEL, STEEL, darker(STEEL, 0.4))
    _torso(brush, pose, tunic)
    brush.line(curve((pose.hip[0] - 8, pose.hip[1] - 1), (pose.hip[0] + 8, pose.hip[1] - 1)), GOLD, 2.4)
    brush.shape(
        blob((hx - 2, hy - 8), (hx - 5, hy - 17), (hx - 14, hy - 16), (hx - 19, hy - 6), (hx - 11, hy - 9)), tunic
    )
    brush.shape(
        blob((hx - 9, hy - 3), (hx - 4, hy - 10), (hx + 5, hy - 9), (hx + 10, hy), (hx + 7, hy + 8), (hx - 8, hy + 8)),
        STEEL,
    )
    brush.mark(box(hx + 4, hy - 1.5, 11, 3.4, 1), (26, 24, 36))
    for x in (2, 6):
        brush.mark(ellipse(hx + x, hy + 4, 0.9), (26, 24, 36))
    _arm(brush, pose, STEEL, darker(STEEL, 0.3))


def _queen(brush: Brush, pose: Pose, dress: Colour):
    (hx, hy) = pose.head
    hair = (112, 58, 26)
    brush.shape(
        blob(
            (hx + 5, hy - 8), (hx - 7, hy - 9), (hx - 11, hy + 2), (hx - 12, hy + 15), (hx - 3, hy + 14), (hx + 3, hy)
        ),
        hair,
    )
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], 5, darker(FACE, 0.15))
    _gown(brush, pose, dress)
    brush.shape(ellipse(hx + 1, hy, 8), FACE)
    brush.shape(
        blob(
            (hx + 8, hy - 5), (hx - 2, hy - 10), (hx - 9, hy - 2), (hx - 8, hy + 7), (hx - 4, hy + 1), (hx + 1, hy - 4)
        ),
        hair,
    )
    brush.mark(ellipse(hx + 5, hy - 0.5, 1.4), (20, 16, 20))
    brush.line(curve((hx + 3, hy + 4), (hx + 5, hy + 4.6), (hx + 7, hy + 3.4)), (190, 40, 60), 1.4)
    y = hy - 7
    brush.shape(
        polygon(
            (hx - 8, y), (hx - 9, y - 10), (hx - 4, y - 5), (hx, y - 11), (hx + 4, y - 5), (hx + 9, y - 10), (hx + 8, y)
        ),
        GOLD,
    )
    _arm(brush, pose, mix(dress, FACE, 0.15), FACE, 5.5)


def _penguin(brush: Brush, pose: Pose, coat: Colour):
    (hx, hy), (x, y) = pose.head, pose.hip
    orange = (240, 140, 40)
    bottom = y + 5 if pose.seated else -3
    for foot in pose.feet if not pose.seated else [(x + 9, y + 9)]:
        brush.shape(ellipse(foot[0] + 2, foot[1] + (0.5 if pose.seated else 1), 6, 3.2), orange)
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], 5.5, coat)
    head = [(hx - 9, hy + 1), (hx, hy - 9), (hx + 9, hy + 1)]
    brush.shape(blob(*head, (x + 14, y - 6), (x + 8, bottom), (x - 8, bottom), (x - 14, y - 6)), coat)
    middle = (y + hy + 12) / 2
    brush.shape(ellipse(x + 4, middle, 8.2, max(bottom - middle - 2.5, 9)), (250, 250, 252))
    brush.shape(ellipse(hx + 3.5, hy, 5.4, 5), (250, 250, 252))
    brush.mark(ellipse(hx + 4, hy - 1.2, 1.6), (20, 16, 20))
    brush.shape(polygon((hx + 7, hy - 1), (hx + 17, hy + 2), (hx + 7, hy + 4.5)), orange)
    _arm(brush, pose, coat, coat, 5.5)


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
