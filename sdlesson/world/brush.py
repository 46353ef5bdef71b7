"""One brush, three styles: shaded like a photograph, flat with an outline, or a line on paper."""

from __future__ import annotations

import numpy as np
import skia

Colour = tuple[float, float, float]
Point = tuple[float, float]

PAPER = (248, 244, 235)
INK = (38, 34, 46)
PENCIL = (168, 162, 158)


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
    return skia.Color(*(int(round(c)) for c in colour), int(round(255 * alpha)))


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


def curve(*points: Point, closed: bool = False) -> skia.Path:
    """A smooth curve through the points (Catmull-Rom spline, written as cubic Béziers)."""
    p = np.asarray(points, dtype=float)
    n = len(p)
    path = skia.Path()
    path.moveTo(*p[0])
    for i in range(n if closed else n - 1):
        a, b = p[i], p[(i + 1) % n]
        before = p[(i - 1) % n] if closed or i > 0 else a
        after = p[(i + 2) % n] if closed or i + 2 < n else b
        path.cubicTo(*(a + (b - before) / 6), *(b - (after - a) / 6), *b)
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
        self.tint: Colour | None = None  # the colour of the lines of a coloured subject in a line drawing

    def _ink(self) -> tuple[Colour, float]:
        if self.style == "line drawing":
            return (PENCIL, 1.7) if self.distant else (self.tint or INK, 2.0)
        return INK, 2.0

    def _paint(self, colour: Colour, alpha: float = 1.0, width: float = 0.0) -> skia.Paint:
        paint = skia.Paint(AntiAlias=True, Color=_skia_colour(colour, alpha))
        if width:
            paint.setStyle(skia.Paint.kStroke_Style)
            paint.setStrokeWidth(width)
            paint.setStrokeCap(skia.Paint.kRound_Cap)
            paint.setStrokeJoin(skia.Paint.kRound_Join)
        return paint

    def _shading(self, path: skia.Path, colour: Colour) -> skia.Shader:
        b = path.getBounds()
        near, far = (b.left(), b.right()) if self.light < 0 else (b.right(), b.left())
        ends = [skia.Point(near, b.top()), skia.Point(0.35 * near + 0.65 * far, b.bottom() + 1)]
        colours = [_skia_colour(c) for c in (lighter(colour, 0.28), colour, darker(colour, 0.38))]
        return skia.GradientShader.MakeLinear(ends, colours, [0.0, 0.42, 1.0])

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

    def shape(self, path: skia.Path, colour: Colour, outline: bool = True):
        """Fill a path and, as the style wants it, shade or outline it."""
        fill = self._paint(PAPER if self.style == "line drawing" else colour)
        if self.style == "photograph":
            fill.setShader(self._shading(path, colour))
        self.canvas.drawPath(path, fill)
        ink, width = self._ink()
        if self.style == "line drawing" or (outline and self.style == "cartoon" and not self.distant):
            self.canvas.drawPath(path, self._paint(ink, width=width))

    def limb(self, points: list[Point], width: float, colour: Colour):
        """Draw a limb: a rounded tube along a smooth line through the points."""
        path = curve(*points)
        ink, line = self._ink()
        if self.style != "photograph":
            self.canvas.drawPath(path, self._paint(ink, width=width + line))
        tube = self._paint(PAPER if self.style == "line drawing" else colour, width=max(width - line / 2, 1))
        if self.style == "photograph":
            tube.setStrokeWidth(width)
            tube.setShader(self._shading(path, colour))
        self.canvas.drawPath(path, tube)

    def line(self, path: skia.Path, colour: Colour, width: float = 1.4):
        """Draw a thin line: a rein, a spoke, a smile."""
        ink = self._ink()[0]
        self.canvas.drawPath(path, self._paint(colour if self.style == "photograph" else ink, width=width))

    def mark(self, path: skia.Path, colour: Colour):
        """Fill a small detail (an eye, a button, a star) in its own colour; in line drawings with ink, or a ring."""
        if self.style == "line drawing":
            solid = self.distant or sum(colour) < 300
            self.canvas.drawPath(path, self._paint(self._ink()[0], width=0 if solid else 1.4))
        else:
            self.canvas.drawPath(path, self._paint(colour))

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

    def shadow(self, x: float, y: float, rx: float, ry: float, alpha: float = 0.42):
        """Lay a soft shadow on the ground (flat in a cartoon, none in a line drawing)."""
        if self.style == "line drawing":
            return
        paint = self._paint((10, 8, 30), alpha if self.style == "photograph" else 0.25)
        if self.style == "photograph":
            paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, 2.5))
        self.canvas.drawPath(ellipse(x, y, rx, ry), paint)
