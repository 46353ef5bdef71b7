"""The whole way on one page: the map of the machine, and the pictures of what flows through it."""

from __future__ import annotations

from .loading import checks


def machine_shapes(sd, batch: int = 1, height: int | None = None, width: int | None = None) -> dict[str, tuple]:
    """The shapes of all that flows through the machine, from its configuration alone.

    `height` and `width` are the picture's, in pixels (default: the model's own size). Keys: ids, embeddings, latents,
    unet input, unet output, picture. The text and the UNet work on twice the batch: an empty prompt for each prompt.
    Raises BadInput for a batch below 1, and for sides that are no positive multiples of the VAE's factor.
    """
    checks.whole(batch, "batch", 1)
    height, width = (own if asked is None else asked for asked, own in zip((height, width), sd.size, strict=True))
    checks.size(height, width, sd.vae_factor)
    rows, columns = height // sd.vae_factor, width // sd.vae_factor
    tokens = sd.tokenizer.model_max_length
    channels = sd.unet.config.in_channels
    return {
        "ids": (2 * batch, tokens),
        "embeddings": (2 * batch, tokens, sd.text_encoder.config.hidden_size),
        "latents": (batch, channels, rows, columns),
        "unet input": (2 * batch, channels, rows, columns),
        "unet output": (2 * batch, channels, rows, columns),
        "picture": (batch, sd.vae.config.out_channels, rows * sd.vae_factor, columns * sd.vae_factor),
    }
