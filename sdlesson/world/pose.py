"""What all riders share: one skeleton of joints, and the limbs, bodies and gowns that hang on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .brush import Brush, Colour, Point, blob, darker, ellipse
from .mounts import Saddle


@dataclass(frozen=True)
class Pose:
    """The joints of a rider: hip, shoulder, head and, near side first, hands and feet."""

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
    x, y = saddle.seat
    shoulder = (x + 1 + 2 * lean, y - 14)
    head = (shoulder[0] + 1.5 + lean, shoulder[1] - 12.5)
    return Pose((x, y - 1), shoulder, head, (saddle.hand,), (saddle.foot,))


def standing(rng: np.random.Generator) -> Pose:
    """The pose of somebody alone, at times with a hand held out."""
    sway = rng.uniform(-1.5, 1.5)
    near = (21 + rng.uniform(-1, 3), -28 - rng.uniform(0, 6)) if rng.random() < 0.4 else (13 + rng.uniform(0, 4), -19)
    return Pose((sway, -20), (sway, -34), (sway + 1, -46.5), (near, (sway - 15, -19)), ((7, -3), (-7, -3)))


def draw_limbs(brush: Brush, pose: Pose, arm: Colour, leg: Colour, shoe: Colour, width: float = 8.0):
    """Draw the legs and the far arm; the near arm comes later, over the body."""
    for hand in pose.hands[1:]:
        brush.limb([pose.shoulder, hand], width - 1, darker(arm, 0.2))
    for x, y in reversed(pose.feet):
        bend = 8 if pose.seated else 0
        knee = ((pose.hip[0] + x) / 2 + bend, (pose.hip[1] + y) / 2 - bend * 0.5)
        brush.limb([pose.hip if pose.seated else (x * 0.75, pose.hip[1]), knee, (x, y)], width, leg)
        brush.shape(blob((x - 5, y + 3), (x - 3, y - 3), (x + 4, y - 2), (x + 9, y + 2.5)), shoe)


def draw_arm(brush: Brush, pose: Pose, colour: Colour, hand: Colour, width: float = 7.5, solid: bool = False):
    """Draw the near arm with its hand."""
    (sx, sy), (hx, hy) = pose.shoulder, pose.hands[0]
    elbow = ((sx + hx) / 2 - 1, (sy + hy) / 2 + 4)
    brush.limb([(sx - 1, sy + 3), elbow, (hx, hy)], width, colour, solid)
    brush.shape(ellipse(hx, hy, 4), hand, solid=solid)


def draw_torso(brush: Brush, pose: Pose, colour: Colour, width: float = 10.0):
    """Draw the body from the shoulders to the hips."""
    (x, y), (sx, sy) = pose.hip, pose.shoulder
    upper = [(sx - width, sy + 3), (sx - 2, sy - 4), (sx + width - 1, sy + 3)]
    brush.shape(blob((x - width, y + 2), *upper, (x + width, y + 2), (x, y + 5)), colour)


def draw_gown(brush: Brush, pose: Pose, colour: Colour):
    """Draw a robe: to the ground for somebody who stands, over the knee for somebody who rides."""
    (x, y), (sx, sy) = pose.hip, pose.shoulder
    upper = [(sx - 9, sy + 3), (sx, sy - 4), (sx + 9, sy + 3)]
    if pose.seated:
        fx, fy = pose.feet[0]
        brush.shape(blob((fx - 3, fy + 4), (fx - 1, fy - 3), (fx + 10, fy + 3.5)), darker(colour, 0.6))
        hem = [(x + 11, y - 1), (x + 17, y + 4), (fx + 8, fy - 4), (fx - 5, fy), (x - 13, y + 8)]
    else:
        hem = [(x + 11, y + 3), (x + 17, -1), (x, 1), (x - 17, -1), (x - 11, y + 3)]
    brush.shape(blob(*upper, *hem), colour)
