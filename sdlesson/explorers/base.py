"""What every explorer is made of: knobs above a page of HTML, plots that answer at once, runs that can be stopped."""

from __future__ import annotations

import base64
import io
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

import ipywidgets
import torch
from PIL import Image

from ..figures.base import BLUE, DIVERGING, GREEN, ORANGE, PINK, colour_map, new_figure, open_axes, peak
from ..loading import checks
from ..loading.errors import BadInput
from ..models import StableDiffusion
from ..sigmas import with_steps

WIDE = {"description_width": "initial"}  # labels are never cut


NARROW = ipywidgets.Layout(width="auto")


WRAPPED = ipywidgets.Layout(flex_flow="row wrap", align_items="center")  # a row that wraps on a narrow page


COLOURS = (ORANGE, BLUE, GREEN, PINK)


class Explorer(ipywidgets.VBox):
    """Knobs above a page of HTML: whenever a knob is turned, `show(**values)` makes the page anew.

    `knobs` maps the names of show's arguments to widgets; `above` and `below` are more widgets, before the knobs and
    after them. A BadInput that `show` raises is said in its place, for screen readers too, and the last good page
    stays. `words` tell what the explorer is; a page without a kernel shows them.
    """

    def __init__(
        self, words: str, knobs: Mapping[str, ipywidgets.Widget], show: Callable[..., str], *, above=(), below=()
    ):
        self.words, self.knobs, self._show = words, dict(knobs), show
        self.page, self.said = ipywidgets.HTML(), ipywidgets.HTML()
        row = ipywidgets.Box(list(knobs.values()), layout=WRAPPED)
        super().__init__([*above, row, *below, self.said, self.page])
        self.add_class("sdlesson-explorer")
        for knob in knobs.values():
            knob.observe(lambda change: self.refresh(), "value")
        self.refresh()

    def __repr__(self):
        return self.words

    def _repr_mimebundle_(self, **kwargs):
        """The widget; and the present page as it is, for a viewer without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle and bundle | {"text/html": self.page.value}

    def close(self) -> None:
        """Close every widget of it and not the box alone: what is open, ipywidgets keeps, with all that it shows."""
        waiting = list(self.children)
        while waiting:
            widget = waiting.pop()
            waiting += getattr(widget, "children", ())
            widget.close()
        super().close()

    def refresh(self) -> None:
        """Make the page of the knobs' present values."""
        try:
            self.page.value = self._show(**{name: knob.value for name, knob in self.knobs.items()})
            self.say("")
        except BadInput as bad:
            self.say(str(bad))
        except Exception as error:  # a widget's callback has nowhere else to say it
            self.say(f"This could not be shown. {type(error).__name__}: {error}")

    def say(self, sentence: str) -> None:
        """Say one sentence below the knobs; "" takes it away."""
        self.said.value = f'<p role="status" aria-live="polite">{escape(sentence)}</p>' if sentence else ""


def unet_calls(sd: StableDiffusion, num_inference_steps: int) -> int:
    """How many Steps a run has: with schedulers of second order more than `num_inference_steps`."""
    return len(with_steps(sd.scheduler, num_inference_steps).timesteps)


def typed_seed(value: float) -> int:
    """The seed that stands in a box for numbers; raises BadInput, where a narrower box would round or clamp unsaid."""
    return checks.whole(int(value) if float(value).is_integer() else value, "seed", 0, 2**32 - 1)


class Painting:
    """A run that one button starts and another stops, with a progress bar; the kernel stays free meanwhile.

    `run()` gives (steps to come, how many, done), or raises BadInput, which is said. `done(steps)` gets all of them,
    and cannot be stopped; of a run that was stopped nothing is kept. `row` is the widget to show, `say` writes a
    sentence.
    """

    def __init__(self, label: str, run: Callable[[], tuple[Iterator, int, Callable]], say: Callable):
        self._run, self._say = run, say
        self.go = ipywidgets.Button(description=label, button_style="primary")
        self.halt = ipywidgets.Button(description="Stop", disabled=True)
        self.bar = ipywidgets.IntProgress(description="steps done", max=1, style=WIDE)
        self.row = ipywidgets.Box([self.go, self.halt, self.bar], layout=WRAPPED)
        self._stopped, self._thread = threading.Event(), None
        self.go.on_click(lambda button: self.start())
        self.halt.on_click(lambda button: self.stop())

    def start(self) -> None:
        """Begin, in a thread of its own; nothing happens while another run is on its way."""
        if self._thread and self._thread.is_alive():
            return
        try:
            steps, count, done = self._run()
        except BadInput as bad:
            self._say(str(bad))
            return
        except Exception as error:  # a button's callback has nowhere else to say it
            self._say(f"The run did not begin. {type(error).__name__}: {error}")
            return
        self._say("")
        self._stopped.clear()
        self.bar.max, self.bar.value = count, 0
        self.go.disabled, self.halt.disabled = True, False
        self._thread = threading.Thread(target=self._work, args=(steps, done), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the run before its next step."""
        self._stopped.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the run is over."""
        if self._thread:
            self._thread.join(seconds)

    def _work(self, steps: Iterator, done: Callable) -> None:
        kept = []
        try:
            for step in steps:
                kept.append(step)
                self.bar.value = len(kept)
                if self._stopped.is_set():
                    self._say(f"Stopped after {len(kept)} of {self.bar.max} steps. What was shown before stays.")
                    return
            self.halt.disabled = True
            done(kept)
        except Exception as error:  # in a thread nobody else would see it
            self._say(f"The run ended early. {type(error).__name__}: {error}")
        finally:
            self.go.disabled, self.halt.disabled = False, True


def map_picture(values: torch.Tensor, limit: float, cmap: str = DIVERGING) -> Image.Image:
    """A map of numbers (h, w) as a picture of h x w pixels; diverging maps go from -limit to limit, others from 0.

    What is no number is grey. Where the `limit` is 0 or no number, the largest size of a number in the map is it.
    """
    limit = limit if 0 < limit < math.inf else peak(values) or 1.0
    low = -limit if cmap == DIVERGING else 0.0
    share = ((values.detach().float().cpu() - low) / (limit - low)).clamp(0, 1)
    return Image.fromarray(colour_map(cmap)(share.numpy(), bytes=True)[..., :3].copy())


def picture_source(picture: Image.Image) -> str:
    """A picture as the source of an <img>: a PNG, in the page itself."""
    file = io.BytesIO()
    picture.save(file, "png")
    return _source("image/png", file.getvalue())


def _source(kind: str, file: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"


def tile(
    picture: Image.Image | str, title: str, words: str, *, side: int = 150, over: str = "", squares: bool = False
) -> str:
    """One picture (or its source), `side` wide, with a title above it and `words` as its alt text.

    `over` is HTML to lay upon the picture; `squares` draws each of its pixels as a square.
    """
    source = picture if isinstance(picture, str) else picture_source(picture)
    style = f"width:{side}px;max-width:100%;display:block{';image-rendering:pixelated' if squares else ''}"
    head = f'<figcaption style="font-size:90%;max-width:{side}px">{escape(title)}</figcaption>'
    image = f'<img src="{source}" alt="{escape(words)}" style="{style}">'
    return f'<figure style="margin:0">{head}<div style="position:relative">{image}{over}</div></figure>'


class Plot:
    """Axes that Matplotlib draws once; the browser lays curves upon them, so that a slider needs no new drawing.

    `size` is in inches; `settings` are those of Axes.set: xlabel, ylabel, xlim, ylim, yscale, xticks ...
    """

    def __init__(self, size: tuple[float, float] = (3.6, 2.5), **settings):
        self._fig = new_figure(figsize=size)
        self._ax = open_axes(self._fig.subplots())
        self._ax.set(**settings)
        self._ax.tick_params(labelsize=8)
        self._source = _source(*self._fig.render())  # this lays the axes out, too: now each point has its place
        self.width, self.height = (round(72 * inches) for inches in size)  # CSS pixels

    def places(self, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
        """Where points lie in the drawing, in pixels: (from the left, from the top)."""
        shares = self._fig.transFigure.inverted().transform(self._ax.transData.transform([*zip(xs, ys, strict=True)]))
        return [(self.width * x, self.height * (1 - y)) for x, y in shares.tolist()]

    def tile(self, curves: Mapping[str, tuple], title: str, words: str, *, mark: tuple[float, float] | None = None):
        """The axes with curves, name -> (xs, ys), upon them and a large dot at `mark`; several are named below."""
        drawn, names = "", []
        for (name, (xs, ys)), colour in zip(curves.items(), itertools.cycle(COLOURS), strict=False):
            places = self.places(xs, ys)
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            drawn += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
            drawn += "".join(_dot(*place, 2.2, colour) for place in places)
            names.append(f'<span style="white-space:nowrap"><b style="color:{colour}">●</b> {escape(name)}</span>')
        if mark:
            drawn += _dot(*self.places([mark[0]], [mark[1]])[0], 6, BLUE)
        style = "position:absolute;inset:0;width:100%;height:100%"
        over = f'<svg viewBox="0 0 {self.width} {self.height}" aria-hidden="true" style="{style}">{drawn}</svg>'
        below = f'<div style="font-size:85%;max-width:{self.width}px">{" ".join(names)}</div>' if len(names) > 1 else ""
        return f"<div>{tile(self._source, title, words, side=self.width, over=over)}{below}</div>"


def _dot(x: float, y: float, radius: float, colour: str) -> str:
    """A round dot, as SVG."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def in_a_row(tiles: Sequence[str]) -> str:
    """Tiles side by side; on a narrow page they wrap."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{"".join(tiles)}</div>'
