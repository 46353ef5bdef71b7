"""Picture <-> latents: encoding, and the noise that every picture begins with."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import torch

from .figures import by, new_figure, plot_map
from .models import BadInput

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from matplotlib.figure import Figure
    from PIL.Image import Image


def to_tensor(picture: Image) -> torch.Tensor:
    """A PIL picture as the VAE wants it: float32, (1, 3, height, width), 0 ... 255 mapped to -1 ... 1."""
    picture = picture.convert("RGB")
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    values = values.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2)  # (1, 3, height, width)
    return values.float() / 127.5 - 1


def encode(
    vae: AutoencoderKL, picture: Image | torch.Tensor, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """The picture's scaled latents, (batch, 4, height/8, width/8), with a spread of about 1.

    `picture` is a PIL picture or a tensor (batch, 3, height, width) in -1 ... 1. Without `generator` they are the mean
    of the encoder's Gaussian (its mode), with one a draw from it. The scaling factor is 0.18215 in v1.4 (Rombach et al.
    2022, appendix D.1). Raises BadInput where a side does not fit the VAE's squares.
    """
    values = picture if isinstance(picture, torch.Tensor) else to_tensor(picture)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    check_size(*values.shape[-2:], factor)
    with torch.no_grad():
        gaussian = vae.encode(values.to(vae.device, vae.dtype)).latent_dist
    return (gaussian.mode() if generator is None else gaussian.sample(generator)) * vae.config.scaling_factor


def initial_noise(
    batch: int,
    height: int,
    width: int,
    *,
    generator: torch.Generator | Sequence[torch.Generator],
    channels: int = 4,
    factor: int = 8,
) -> torch.Tensor:
    """Gaussian noise of spread 1 for `batch` pictures of `height` x `width` pixels: float32, (batch, 4, h/8, w/8).

    One generator draws the whole batch in one call, as StableDiffusionPipeline does; a list of generators draws each
    picture's noise by itself, so that a picture does not depend on its neighbours. Raises BadInput for sides that are
    no multiples of `factor`, or another number of generators than pictures.
    """
    check_size(height, width, factor)
    shape = (channels, height // factor, width // factor)
    if isinstance(generator, torch.Generator):
        return torch.randn((batch, *shape), generator=generator, device=generator.device)
    if len(generator) != batch:
        raise BadInput(f"There are {len(generator)} seeds for {batch} pictures; give one, or one for each picture.")
    return torch.stack([torch.randn(shape, generator=one, device=one.device) for one in generator])


def seeded(seed: int | Sequence[int]) -> torch.Generator | list[torch.Generator]:
    """A fresh generator on the CPU, so that a seed means the same noise on every device; a list for a list of seeds.

    A seed is 0 ... 2^64 - 1; raises BadInput for another.
    """
    if isinstance(seed, Sequence) and not isinstance(seed, str):
        return [seeded(one) for one in seed]
    if not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise BadInput(f"A seed is a whole number from 0 to 2^64 - 1, not {seed!r}.")
    return torch.Generator("cpu").manual_seed(int(seed))


def check_size(height: int, width: int, factor: int = 8) -> None:
    """Raise BadInput unless both sides are positive multiples of `factor`, the VAE's square in pixels."""
    for name, side in (("height", height), ("width", width)):
        if not isinstance(side, Integral) or side < factor or side % factor:
            raise BadInput(f"The {name} must be a positive multiple of {factor} pixels, not {side!r}.")


def figure_latents(latents: torch.Tensor, title: str = "") -> Figure:
    """The channels of the first latents in the batch, shape (batch, channels, height, width), side by side."""
    first = latents[0].detach().float().cpu()
    fig = new_figure(figsize=(2.1 * len(first) + 0.6, 2.4))
    limit = float(first.abs().max())
    axes = fig.subplots(1, len(first), squeeze=False)[0]
    for channel, (ax, values) in enumerate(zip(axes, first, strict=True)):
        plot_map(values, f"channel {channel}", limit=limit, ax=ax)
    fig.colorbar(axes[-1].images[0], ax=axes, shrink=0.85, pad=0.01).set_label("value (no unit)", fontsize=9)
    fig.suptitle(title, fontsize=11)
    fig.words = (
        f"{title or 'Latents'}: {by(first.shape)} numbers as {len(first)} maps of coloured squares, "
        f"standard deviation {first.std():.1f}."
    )
    return fig
