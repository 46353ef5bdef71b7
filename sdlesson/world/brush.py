"""One brush, three styles: shaded like a photograph, flat with an outline, or a line on paper."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import skia

Colour = tuple[float, float, float]
Point = tuple[float, float]

PAPER = (248, 244, 235)
INK = (38, 34, 46)
PENCIL = (172, 166, 162)
BLACK = (20, 16, 24)
LINE = 2.2  # the width of an outline, in pixels of a picture of 128: thinner lines would not outlive the autoencoder


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Blend `share` (0 to 1) of colour `b` into colour `a`."""
    return tuple((1 - share) * x + share * y for x, y in zip(a, b, strict=True))


def lighter(colour: Colour, share: float) -> Colour:
    """Blend `share` of white into a colour."""
    return mix(colour, (255, 255, 255), share)


def darker(colour: Colour, share: float) -> Colour:
    """Blend `share` of a blue-black into a colour: shadows outdoors are bluish."""
    return mix(colour, (12, 10, 30), share)


def _skia_colour(colour: Colour, alpha: float = 1.0) -> int:
    return skia.Color(*map(round, colour), round(255 * alpha))


def polygon(*points: Point) -> skia.Path:
    """A closed path with straight sides."""
    return skia.Path.Polygon([skia.Point(*p) for p in points], True)


def ellipse(x: float, y: float, rx: float, ry: float | None = None) -> skia.Path:
    """An ellipse around (x, y); a circle when `ry` is left out."""
    ry = rx if ry is None else ry
    return skia.Path.Oval(skia.Rect(x - rx, y - ry, x + rx, y + ry))


def box(x: float, y: float, width: float, height: float, radius: float = 0.0) -> skia.Path:
    """A rectangle around (x, y), its corners rounded by `radius`."""
    rect = skia.Rect(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return skia.Path.RRect(rect, radius, radius)


def star(x: float, y: float, radius: float) -> skia.Path:
    """A star with five points around (x, y)."""
    turns = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, 0.45, 1.0) * radius
    return polygon(*zip(x + radii * np.sin(turns), y - radii * np.cos(turns), strict=True))


def curve(*points: Point, closed: bool = False) -> skia.Path:
    """A smooth curve through the points (Catmull-Rom spline, written as cubic Béziers)."""
    p = np.array(points, dtype=float)
    ends = (p[-1:], p[:2]) if closed else (p[:1], p[-1:])
    p = np.concatenate((ends[0], p, ends[1]))  # each stretch looks at the points before and after it
    a, b = p[1:-2], p[2:-1]
    stretches = np.concatenate((a + (b - p[:-3]) / 6, b - (p[3:] - a) / 6, b), axis=1)
    path = skia.Path()
    path.moveTo(*p[1].tolist())
    for stretch in stretches.tolist():
        path.cubicTo(*stretch)
    if closed:
        path.close()
    return path


def blob(*points: Point) -> skia.Path:
    """A smooth closed shape through the points."""
    return curve(*points, closed=True)


class Brush:
    """Paints paths on a Skia canvas in one style; `light` is -1 when the light comes from the left, else 1."""

    def __init__(self, canvas: skia.Canvas, style: str, light: int = -1):
        self.canvas, self.style, self.light = canvas, style, light
        self.distant = False  # the background: blurred in photographs, no outline in cartoons, pencil in drawings
        self.shadows = True
        self.tint: Colour | None = None  # the colour of the lines of a coloured subject in a line drawing

    @contextmanager
    def at(self, x: float, y: float):
        """Move the origin to (x, y) for a while: a head is drawn around its own middle."""
        self.canvas.save()
        self.canvas.translate(x, y)
        yield
        self.canvas.restore()

    def _ink(self) -> Colour:
        return INK if self.style != "line drawing" else PENCIL if self.distant else self.tint or INK

    def _paint(self, colour: Colour, alpha: float = 1.0, width: float = 0.0) -> skia.Paint:
        paint = skia.Paint(AntiAlias=True, Color=_skia_colour(colour, alpha))
        if width:
            paint.setStyle(skia.Paint.kStroke_Style)
            paint.setStrokeWidth(width)
            paint.setStrokeCap(skia.Paint.kRound_Cap)
            paint.setStrokeJoin(skia.Paint.kRound_Join)
        return paint

    def _shading(self, path: skia.Path, colour: Colour) -> skia.Shader:
        """Light from above and one side: soft and with light thrown back by the ground, or two flat tones."""
        b = path.getBounds()
        middle = skia.Point(b.centerX() + 0.3 * self.light * b.width(), b.top() + 0.15 * b.height())
        radius = 0.72 * b.width() + 0.5 * b.height() + 1
        if self.style == "cartoon":
            tones, stops = (colour, colour, darker(colour, 0.22), darker(colour, 0.22)), (0.0, 0.66, 0.69, 1.0)
        else:
            depth = 0.5 if self.distant else 1.0  # haze takes light and shade from what is far away
            tones = (lighter(colour, 0.45 * depth), colour, darker(colour, 0.42 * depth), darker(colour, 0.3 * depth))
            stops = (0.0, 0.4, 0.85, 1.0)
        return skia.GradientShader.MakeRadial(middle, radius, [_skia_colour(c) for c in tones], stops)

    def _fill(self, path: skia.Path, colour: Colour, width: float = 0.0, solid: bool = False) -> skia.Paint:
        """The paint of a thing's surface: paper (or ink) in a line drawing, else its colour with light and shade."""
        if self.style == "line drawing":
            return self._paint(self._ink() if solid else PAPER, width=width)
        paint = self._paint(colour, width=width)
        if self.style == "photograph" or not self.distant:
            paint.setShader(self._shading(path, colour))
        return paint

    def gradient(self, path: skia.Path, top: Colour, bottom: Colour):
        """Fill a path from one colour at its top to another at its bottom (paper in a line drawing, no outline)."""
        b = path.getBounds()
        if self.style == "line drawing":
            top = bottom = PAPER
        elif self.style == "cartoon":
            top = bottom = mix(top, bottom, 0.5)
        paint = self._paint(top)
        ends = [skia.Point(0, b.top()), skia.Point(0, b.bottom())]
        paint.setShader(skia.GradientShader.MakeLinear(ends, [_skia_colour(top), _skia_colour(bottom)]))
        self.canvas.drawPath(path, paint)

    def _contour(self, colour: Colour) -> skia.Paint:
        """The edge of a near thing: ink; in a photograph its own colour, darker, or lighter where that is dark."""
        if self.style != "photograph":
            return self._paint(self._ink(), width=LINE)
        return self._paint(lighter(colour, 0.3) if sum(colour) < 250 else darker(colour, 0.58), 0.6, 1.3)

    def shape(self, path: skia.Path, colour: Colour, outline: bool = True, solid: bool = False):
        """Fill a path and, as the style wants it, shade and outline it.

        `solid` is for what is dark by nature (a mane, a visor): ink instead of paper in a line drawing.
        """
        self.canvas.drawPath(path, self._fill(path, colour, solid=solid))
        if self.style == "line drawing" or (outline and not self.distant):
            self.canvas.drawPath(path, self._contour(colour))

    def limb(self, points: list[Point], width: float, colour: Colour, solid: bool = False):
        """Draw a limb: a rounded tube along a smooth line through the points."""
        path = curve(*points)
        if self.style == "line drawing" or not self.distant:
            edge = self._contour(colour)
            line = edge.getStrokeWidth()
            edge.setStrokeWidth(width + line)
            self.canvas.drawPath(path, edge)
            width = max(width - line, 1)
        self.canvas.drawPath(path, self._fill(path, colour, width, solid))

    def line(self, path: skia.Path, colour: Colour, width: float = 2.0):
        """Draw a line: a rein, a spoke, a smile."""
        own = self.style == "photograph" or (self.style == "cartoon" and self.distant)
        self.canvas.drawPath(path, self._paint(colour if own else self._ink(), width=width))

    def mark(self, path: skia.Path, colour: Colour):
        """Fill a small detail (a button, a star) in its own colour; in line drawings with ink, or a ring."""
        if self.style == "line drawing":
            solid = self.distant or sum(colour) < 300
            self.canvas.drawPath(path, self._paint(self._ink() if solid else PAPER))
            if not solid:
                self.canvas.drawPath(path, self._paint(self._ink(), width=1.7))
        else:
            self.canvas.drawPath(path, self._paint(colour))

    def gleam(self, path: skia.Path, alpha: float = 1.0):
        """Lay a bright reflection on something dark: white, in a line drawing the paper left bare."""
        self.canvas.drawPath(path, self._paint(PAPER if self.style == "line drawing" else (255, 255, 255), alpha))

    def eye(self, x: float, y: float, radius: float = 2.4):
        """Draw an eye that looks to the right, with a gleam in it."""
        self.gleam(ellipse(x, y, 1.35 * radius))
        self.mark(ellipse(x + 0.3 * radius, y, radius), BLACK)
        self.gleam(ellipse(x + 0.6 * radius, y - 0.4 * radius, 0.4 * radius))

    def glow(self, x: float, y: float, radius: float, colour: Colour, alpha: float):
        """Add soft light around (x, y); photographs only."""
        if self.style != "photograph":
            return
        paint = self._paint(colour)
        ends = [_skia_colour(colour, alpha), _skia_colour(colour, 0)]
        paint.setShader(skia.GradientShader.MakeRadial(skia.Point(x, y), radius, ends))
        self.canvas.drawCircle(x, y, radius, paint)

    def disc(self, path: skia.Path, colour: Colour):
        """Fill something that shines by itself, so without shading: a ring in a line drawing."""
        if self.style == "line drawing":
            self.shape(path, colour)
        else:
            self.mark(path, colour)

    def ray(self, path: skia.Path, colour: Colour, alpha: float):
        """Lay a see-through beam over the picture; photographs only."""
        if self.style == "photograph":
            self.canvas.drawPath(path, self._paint(colour, alpha))

    def shadow(self, x: float, y: float, rx: float, ry: float, alpha: float = 0.5):
        """Lay a soft shadow on the ground (flat in a cartoon, none in a line drawing)."""
        if self.style == "line drawing" or not self.shadows:
            return
        if self.style == "cartoon":
            self.canvas.drawPath(ellipse(x, y, rx, ry), self._paint((10, 8, 30), 0.25))
            return
        self.canvas.save()
        self.canvas.translate(x, y)
        self.canvas.scale(1.25, 1.6 * ry / rx)
        self.glow(0, 0, rx, (10, 8, 30), alpha)
        self.canvas.restore()
