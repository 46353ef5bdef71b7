"""The strip at the head of each lesson: the way of the data through the rooms, this one's lit."""

from __future__ import annotations

from matplotlib.figure import Figure

from .. import LESSONS, lesson_number
from ..onepage import machine_shapes
from .base import BLUE, GREEN, INK, ORANGE, PINK, by, new_figure
from .onepage import arrow, box

#: The rooms on the strip at the head of each lesson: left, bottom, width, colour.
ROOMS = {
    "tokens": (9, 16, 13, BLUE),
    "embeddings": (34, 16, 17, BLUE),
    "latents": (9, 4, 13, ORANGE),
    "sigmas": (34, 4, 17, ORANGE),
    "unet": (57, 10, 9, ORANGE),
    "guidance": (68.7, 10, 10.6, ORANGE),
    "decoding": (89.3, 10, 10.7, GREEN),
}


#: The rooms beside the way, drawn in their own lesson only, and the rooms that each belongs to.
SIDE_ROOMS = {
    "attention": ((64, 18.5, 13, BLUE), ("unet",)),
    "steering": ((68.5, 1.5, 13, ORANGE), ("guidance",)),
    "samplers": ((34, -4.5, 17, ORANGE), ("sigmas",)),
    "training": ((9, -4.5, 68, PINK), ("latents", "sigmas", "unet")),
    "fullsize": ((9, -4.5, 68, PINK), ("unet",)),
}


def figure_strip(sd, here: str) -> Figure:
    """The way of the data through the lessons' rooms in one slim strip, the room `here` lit; raises ValueError."""
    if here not in ROOMS | SIDE_ROOMS:
        raise ValueError(f"no such room: {here}; there are {', '.join(ROOMS | SIDE_ROOMS)}")
    lowest = min(-1.5, SIDE_ROOMS[here][0][1] - 1) if here in SIDE_ROOMS else -1.5
    fig = new_figure(figsize=(10, 1.75 * (23.5 - lowest) / 25))
    ax = fig.subplots()
    if here in SIDE_ROOMS:
        _side_room(ax, here)
    for name, (left, bottom, width, colour) in ROOMS.items():
        box(ax, (left, bottom, width, 5), _label(name), colour, on=name == here)
    flow = {name: by(shape) for name, shape in machine_shapes(sd).items()}
    for line in _strip_arrows(flow):
        arrow(ax, *line)
    style = {"ha": "center", "va": "center", "fontsize": 9, "style": "italic", "color": INK}
    for words, place in (("prompt", (3, 18.5)), ("seed", (3, 6.5)), ("picture", (93.7, 2.2))):
        ax.text(*place, words, **style)
    ax.text(93.7, -0.6, flow["picture"], **(style | {"fontsize": 8, "style": "normal"}))
    ax.set(xlim=(0, 100.6), ylim=(lowest, 23.5))
    ax.set_axis_off()
    fig.words = (
        f"The way through the lessons, this one's room lit ({here}): a prompt, tokens ({flow['ids']}), embeddings "
        f"({flow['embeddings']}); a seed, latents ({flow['latents']}), sigmas; the UNet reads both, and guidance makes "
        f"latents ({flow['latents']}); decoding makes the picture ({flow['picture']})."
    )
    return fig


def _strip_arrows(flow: dict[str, str]):
    """Start, end and label of each arrow on the strip."""
    return [
        ((6, 18.5), (9, 18.5), ""),
        ((22, 18.5), (34, 18.5), f"ids\n{flow['ids']}"),
        ((51, 18.5), (60, 15), f"           embeddings\n           {flow['embeddings']}"),
        ((5.5, 6.5), (9, 6.5), ""),
        ((22, 6.5), (34, 6.5), f"noise\n{flow['latents']}"),
        ((51, 6.5), (60, 10), "× σ max        "),
        ((66, 12.5), (68.7, 12.5), ""),
        ((79.3, 12.5), (89.3, 12.5), f"latents\n{flow['latents']}"),
        ((93.7, 10), (93.7, 4.4), ""),
    ]


def _side_room(ax, name: str):
    """A room beside the way, lit, with a broken line to each room that it belongs to."""
    (left, bottom, width, colour), neighbours = SIDE_ROOMS[name]
    for at, low, wide, *_ in (ROOMS[neighbour] for neighbour in neighbours):
        ends = (bottom + 5, low) if bottom < low else (bottom, low + 5)
        across = max(at + wide / 2, left + 1)  # within both boxes
        ax.plot([across] * 2, ends, color=colour, linewidth=1.4, linestyle=(0, (3, 2)))
    box(ax, (left, bottom, width, 5), _label(name), colour, on=True)


def _label(topic: str) -> str:
    """A lesson's number and title, such as "05 guidance"."""
    return f"{lesson_number(topic)} {LESSONS[topic].lower()}"
