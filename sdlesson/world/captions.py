"""The grammar of the tiny world: which scenes exist, and the one sentence that names each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

STYLES = ("photograph", "cartoon", "line drawing")
RIDERS = ("astronaut", "robot", "wizard", "knight", "queen", "penguin")
MOUNTS = ("horse", "elephant", "turtle", "duck", "bicycle", "rocket")
PLACES = {
    "moon": "on the moon",
    "beach": "on a beach",
    "desert": "in a desert",
    "forest": "in a forest",
    "city": "in a city",
    "snow": "in the snow",
    "meadow": "in a meadow",
    "sea": "under the sea",
}
COLOURS = ("red", "blue", "green", "golden", "pink", "white")

#: Pairs that the training pictures never show: each rider and each mount is missing from exactly one.
HELD_OUT = frozenset(
    {
        ("astronaut", "duck"),
        ("robot", "bicycle"),
        ("wizard", "elephant"),
        ("knight", "turtle"),
        ("queen", "rocket"),
        ("penguin", "horse"),
    }
)


def vocabulary() -> frozenset[str]:
    """Every word that a caption of this world can have."""
    phrases = ("a an of riding", *STYLES, *RIDERS, *MOUNTS, *PLACES.values(), *COLOURS)
    return frozenset(word for phrase in phrases for word in phrase.split())


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


@dataclass(frozen=True)
class Scene:
    """What one picture shows; `None` where a thing is absent, or (place, colours) where the caption does not name it.

    Raises ValueError for a word outside the world's lists, for a colour without its subject and for an empty scene.
    """

    style: str
    rider: str | None = None
    mount: str | None = None
    place: str | None = None
    rider_colour: str | None = None
    mount_colour: str | None = None

    def __post_init__(self):
        known = {"style": STYLES, "rider": RIDERS, "mount": MOUNTS, "place": PLACES}
        known |= {"rider_colour": COLOURS, "mount_colour": COLOURS}
        for field, words in known.items():
            value = getattr(self, field)
            if value not in words and (value is not None or field == "style"):
                raise ValueError(f"This world has no {field} {value!r}; it knows {', '.join(words)}.")
        if (self.rider_colour and not self.rider) or (self.mount_colour and not self.mount):
            raise ValueError("A colour needs the rider or the mount that it paints.")
        if not (self.rider or self.mount or self.place):
            raise ValueError("A scene needs a rider, a mount or a place.")

    @property
    def caption(self) -> str:
        """The scene's sentence, such as "a photograph of an astronaut riding a red horse on the moon"."""
        rider, mount = (
            _with_article(f"{colour} {noun}" if colour else noun) if noun else None
            for noun, colour in ((self.rider, self.rider_colour), (self.mount, self.mount_colour))
        )
        subject = f"{rider} riding {mount}" if rider and mount else rider or mount
        place = PLACES[self.place] if self.place else None
        if subject is None:
            place = place.split(" ", 1)[1]  # an empty place is named without its preposition: "a beach"
        return " ".join(filter(None, (f"a {self.style} of", subject, place)))


def _one_of(words) -> str:
    return "|".join(words)


_NOUN = r"an? (?:(?P<{0}_colour>" + _one_of(COLOURS) + r") )?(?P<{0}>{1})"
_CAPTION = re.compile(
    rf"a (?P<style>{_one_of(STYLES)}) of "
    rf"(?:{_NOUN.format('rider', _one_of(RIDERS))}(?: riding (?=a))?)?"
    rf"(?:{_NOUN.format('mount', _one_of(MOUNTS))})?"
    rf" ?(?P<place>{_one_of(PLACES.values())}|{_one_of(p.split(' ', 1)[1] for p in PLACES.values())})?"
)


def parse_caption(caption: str) -> Scene:
    """Read a caption of the world's grammar back into its Scene; case and extra spaces do not matter.

    Raises ValueError, with the grammar in one line, for a sentence that the world does not have.
    """
    words = " ".join(caption.lower().split()).rstrip(".")
    match = _CAPTION.fullmatch(words)
    if match:
        fields = match.groupdict()
        phrase = fields.pop("place")
        place = next((word for word, full in PLACES.items() if phrase and full.endswith(phrase)), None)
        if place or fields["rider"] or fields["mount"]:
            scene = Scene(**fields, place=place)
            if scene.caption == words:
                return scene
    raise ValueError(
        f"The tiny world has no caption {caption!r}; its sentences read "
        '"a STYLE of a [COLOUR] RIDER riding a [COLOUR] MOUNT [PLACE]", with words from sdlesson.world.'
    )


def random_scene(rng: np.random.Generator, split: str = "train") -> Scene:
    """Draw one scene: 64 % of the training scenes ride, the rest show a rider, a mount or a place alone.

    `split="train"` never joins a pair of HELD_OUT; `split="heldout"` joins nothing else. Raises ValueError for
    another split.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"split must be 'train' or 'heldout', not {split!r}.")
    pairs = [(r, m) for r in RIDERS for m in MOUNTS if ((r, m) in HELD_OUT) == (split == "heldout")]
    kind = rng.choice(["pair", "rider", "mount", "place"], p=[0.64, 0.13, 0.16, 0.07]) if split == "train" else "pair"
    rider, mount = pairs[rng.integers(len(pairs))]
    rider = rider if kind in ("pair", "rider") else None
    mount = mount if kind in ("pair", "mount") else None
    named = kind == "place" or rng.random() < 0.85
    return Scene(
        style=str(rng.choice(STYLES, p=[0.42, 0.31, 0.27])),
        rider=rider,
        mount=mount,
        place=str(rng.choice(list(PLACES))) if named else None,
        rider_colour=str(rng.choice(COLOURS)) if rider and rng.random() < 0.2 else None,
        mount_colour=str(rng.choice(COLOURS)) if mount and rng.random() < 0.35 else None,
    )
