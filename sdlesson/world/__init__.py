"""The picture world that the tiny model knows: a caption grammar and the painter that draws its scenes."""

from .captions import COLOURS, HELD_OUT, MOUNTS, PLACES, RIDERS, STYLES, Scene, parse_caption, random_scene
from .painter import draw, locate

__all__ = [
    "COLOURS",
    "HELD_OUT",
    "MOUNTS",
    "PLACES",
    "RIDERS",
    "STYLES",
    "Scene",
    "draw",
    "locate",
    "parse_caption",
    "random_scene",
]
