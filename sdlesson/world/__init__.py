"""The picture world that the tiny model knows: a caption grammar and the painter that draws its scenes."""

from .captions import COLOURS, HELD_OUT, MOUNTS, PLACES, RIDERS, STYLES, Scene, parse_caption, random_scene

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


def __getattr__(name: str):
    """Load the painter (and Skia) when it is first asked for: the captions need neither."""
    if name not in ("draw", "locate"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import painter
    except ImportError as error:
        raise ImportError(
            f"The world's pictures are drawn by Skia, which does not start: {error}. On a Linux without a desktop it "
            "needs two libraries of the system: apt-get install libegl1 libgl1."
        ) from error
    return getattr(painter, name)
