"""A Matplotlib figure that also says in words what it shows. Apart from `figures`, which imports no Matplotlib."""

from __future__ import annotations

import io
import os

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from PIL import Image

_PIXELS_PER_INCH = 72  # on the page; the picture itself holds twice as many, for sharp screens


_FEW_COLOURS = 6144  # a plot has fewer, soft edges included; a picture has more


_LAST_RESORT = "Last Resort High-Efficiency"  # comes with Matplotlib: a sign for every letter that no other font has


class WordedFigure(Figure):
    """A Matplotlib figure that carries `words`, its description, into the notebook as the picture's alt text.

    It is made apart from pyplot, so nothing global changes, and it owns its layout (constrained). A figure of
    `photographs` is stored as JPEG, a fifth of the size; all others as PNG, with a palette where that suffices.
    Its texts are drawn as they are: a prompt's dollars make no mathematics, letters without a glyph no warnings.
    """

    def __init__(self, *args, photographs: bool = False, **kwargs):
        super().__init__(*args, **({"layout": "constrained"} | kwargs))
        self.words = ""
        self.photographs = photographs

    def draw(self, renderer):
        """Draw the figure, all its words as plain text."""
        plain_texts(self)
        super().draw(renderer)

    def render(self, scale: float = 2.0) -> tuple[str, bytes]:
        """The figure's MIME type and its file, of `scale` x 72 pixels per inch; the same figure gives the same file."""
        file, options = io.BytesIO(), {"format": "png", "metadata": {"Software": None}}
        if self.photographs:
            options = {"format": "jpeg", "pil_kwargs": {"quality": 90, "subsampling": 0, "optimize": True}}
        self.savefig(file, dpi=scale * _PIXELS_PER_INCH, facecolor="white", **options)
        return f"image/{options['format']}", file.getvalue() if self.photographs else _with_palette(file)

    def _ipython_display_(self):
        from IPython.display import display

        scale = float(os.environ.get("SDLESSON_FIGURE_SCALE", 1))  # a projector's figures are larger
        kind, file = self.render(2 * scale)
        width, height = (round(side * scale * _PIXELS_PER_INCH) for side in self.get_size_inches())
        about = {"alt": self.words, "width": width, "height": height}
        display({kind: file, "text/plain": self.words}, metadata={kind: about}, raw=True)


def plain_texts(artist) -> None:
    """Let no text in `artist` be read as mathematics or lack a glyph; the powers of ten of logarithmic axes stay."""
    powers = set()
    for axis in artist.findobj(Axis):
        for formatter, ticks in (
            (axis.get_major_formatter(), axis.majorTicks),
            (axis.get_minor_formatter(), axis.minorTicks),
        ):
            if isinstance(formatter, LogFormatter):
                powers |= {label for tick in ticks for label in (tick.label1, tick.label2)}
    for text in set(artist.findobj(Text)) - powers:
        text.set_parse_math(False)
        text.set_text(text.get_text().encode("utf-8", "backslashreplace").decode())  # half a character has no glyph
        if text.get_fontfamily()[-1] != _LAST_RESORT and text.get_fontweight() in ("normal", 400):  # it has one weight
            text.set_fontfamily([*text.get_fontfamily(), _LAST_RESORT])


def _with_palette(file: io.BytesIO) -> bytes:
    """The PNG with a palette of 256 colours, a third of the size, if it is a plot; as it is if pictures stand in it."""
    picture = Image.open(file).convert("RGB")
    if not picture.getcolors(_FEW_COLOURS):
        return file.getvalue()
    smaller = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        smaller, "png", optimize=True
    )
    return smaller.getvalue()
