"""What a run trains: the sizes of its parts. `TINY` is the shipped model, `SMOKE` a toy that runs in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes of one run; a run folder belongs to one Settings and one seed for good."""

    name: str
    size: int  # pixels on each side
    pictures: int  # in the training set
    first_pictures: int  # enough for the tokenizer and the CLIP pair to begin with
    vocabulary: int  # tokens at most: 512 bytes, merges, start and end
    text_width: int
    text_layers: int
    vision_width: int
    vision_layers: int
    clip_batch: int
    vae_channels: tuple[int, ...]  # four blocks, so f = 8
    vae_batch: int
    unet_channels: tuple[int, ...]
    unet_layers: int
    unet_batch: int


TINY = Settings(
    name="tiny",
    size=128,
    pictures=30_000,
    first_pictures=60_000,
    vocabulary=800,
    text_width=128,
    text_layers=3,
    vision_width=160,
    vision_layers=3,
    clip_batch=256,
    vae_channels=(16, 24, 64, 128),
    vae_batch=8,
    unet_channels=(64, 96, 160),
    unet_layers=1,
    unet_batch=64,
)


SMOKE = Settings(
    name="smoke",
    size=64,
    pictures=64,
    first_pictures=64,
    vocabulary=600,
    text_width=32,
    text_layers=1,
    vision_width=32,
    vision_layers=1,
    clip_batch=8,
    vae_channels=(8, 8, 8, 8),
    vae_batch=2,
    unet_channels=(16, 16, 16),
    unet_layers=1,
    unet_batch=4,
)


SIZES = {settings.name: settings for settings in (TINY, SMOKE)}
