"""Picture <-> latents: encoding, and the noise that every picture begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .loading import checks
from .loading.errors import BadInput

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from PIL.Image import Image


#: Decoded pictures overshoot -1 ... 1 a little; what goes beyond this was never brought to that range.
_FAR_OUT = 16.0


def to_tensor(picture: Image) -> torch.Tensor:
    """A PIL picture as the VAE wants it: float32, (1, 3, height, width), 0 ... 255 mapped to -1 ... 1.

    Any mode and orientation is read as `checks.rgb` says: upright, what is transparent on white, 16 bits and floats to
    their own white. Raises BadInput for what is no picture.
    """
    picture = checks.rgb(picture)
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    values = values.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2)  # (1, 3, height, width)
    return values.float() / 127.5 - 1


def encode(
    vae: AutoencoderKL, picture: Image | torch.Tensor, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """The picture's scaled latents, float32, (batch, 4, height/8, width/8), with a spread of about 1.

    `picture` is a PIL picture (of any mode: see `to_tensor`), or a tensor or array (batch, 3, height, width): floats in
    -1 ... 1, bytes in 0 ... 255. Without `generator` they are the mean of the encoder's Gaussian (its mode), with one a
    draw from it. The scaling factor, Rombach et al. 2022, appendix G, is 0.18215 in v1.4. Raises BadInput where a
    side does not fit the VAE's squares, and for numbers of another range.
    """
    checks.part(vae, "a VAE, such as sd.vae", "encoder")
    values = _pixels(picture)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = values.shape[-2:]
    checks.size(height, width, factor)
    with torch.no_grad():
        gaussian = vae.encode(values.to(vae.device, vae.dtype)).latent_dist
    gaussian = type(gaussian)(gaussian.parameters.float())  # a seed draws the same noise whatever the VAE computes in
    return (gaussian.mode() if generator is None else gaussian.sample(generator)) * vae.config.scaling_factor


def _pixels(picture) -> torch.Tensor:
    """A picture, or a batch of them, as floats (batch, 3, height, width) in -1 ... 1; raises BadInput."""
    if len(getattr(picture, "shape", ())) != 4:
        if isinstance(picture, torch.Tensor):
            raise BadInput(f"Pictures are a tensor (batch, 3, height, width), not {checks.told(picture)}.")
        return to_tensor(picture)
    values = torch.as_tensor(picture)
    if values.dtype == torch.uint8:
        values = values.float() / 127.5 - 1
    if values.shape[1] != 3 or not values.is_floating_point():
        words = f"{checks.told(picture)} and dtype {str(values.dtype).removeprefix('torch.')}"
        raise BadInput(f"Pictures are floats (-1 ... 1) or bytes (0 ... 255), (batch, 3, height, width), not {words}.")
    if not bool((values.abs() <= _FAR_OUT).all()):
        raise BadInput("The pixels of a tensor of floats lie in -1 ... 1; these are far beyond, or not finite.")
    return values


def psnr(picture: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of pictures (batch, 3, height, width) in -1 ... 1: a number in dB for each, (batch,).

    10 log10(peak^2 / mean squared error), with a peak of 2, from black to white. What lies outside is cut off first.
    Raises BadInput where the shapes differ.
    """
    picture, other = (checks.tensor(each, "pictures", "(batch, 3, height, width)", 4) for each in (picture, other))
    if picture.shape != other.shape:
        raise BadInput(f"Pictures of shape {tuple(picture.shape)} and {tuple(other.shape)} cannot be compared.")
    error = (picture.float().clamp(-1, 1) - other.float().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(2**2 / error)


def fit_preview(pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """The best linear guess of a square's mean colour from its latents: a matrix (channels + 1, 3), last row constant.

    `pictures` (batch, 3, height, width) in -1 ... 1 and their `latents` (batch, channels, rows, columns), by least
    squares. Raises BadInput where they are not as many.
    """
    latents = as_latents(latents)
    pictures = checks.tensor(pictures, "pictures", "(batch, 3, height, width)", 4)
    if len(pictures) != len(latents):
        raise BadInput(f"There are {len(pictures)} pictures for {len(latents)} latents.")
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures.float(), latents.shape[-2:])
    return torch.linalg.lstsq(_with_ones(latents).flatten(0, 2), colours.permute(0, 2, 3, 1).flatten(0, 2)).solution


def preview(latents: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Latents as small pictures, (batch, 3, rows, columns), about -1 ... 1, by `fit_preview`'s matrix: no decoder."""
    known = _with_ones(latents)
    return (known @ matrix.to(known)).permute(0, 3, 1, 2)


def as_latents(value, channels: int | None = None, shape: tuple[int, int, int, int] | None = None) -> torch.Tensor:
    """Latents as a tensor (batch, channels, h, w); arrays and lists become one.

    Raises BadInput for anything else, and for another number of channels or another shape, where one is asked for.
    """
    words = f"(batch, {channels or 4}, h, w)"
    values = checks.tensor(value, "latents", words, 4)
    if channels not in (None, values.shape[1]):
        raise BadInput(f"The latents must be a tensor {words}, not {checks.told(values)}.")
    if shape not in (None, values.shape):
        raise BadInput(f"The latents must have the shape {shape}, not {tuple(values.shape)}.")
    return values


def _with_ones(latents: torch.Tensor) -> torch.Tensor:
    """Latents with the channels last and a 1 behind them: (batch, rows, columns, channels + 1)."""
    return torch.nn.functional.pad(as_latents(latents).float().permute(0, 2, 3, 1), (0, 1), value=1.0)


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
    batch, channels = checks.whole(batch, "batch", 1), checks.whole(channels, "number of channels", 1)
    checks.size(height, width, checks.whole(factor, "side of a latent square", 1))
    generator = check_generator(generator, batch)
    shape = (channels, height // factor, width // factor)
    if isinstance(generator, torch.Generator):
        return torch.randn((batch, *shape), generator=generator, device=generator.device)
    return torch.stack([torch.randn(shape, generator=one, device=one.device) for one in generator])


def check_generator(
    generator: torch.Generator | Sequence[torch.Generator], batch: int | None = None
) -> torch.Generator | list[torch.Generator]:
    """The generator, or the list of them; raises BadInput for anything else, and where `batch` is not their number."""
    each = [generator] if isinstance(generator, torch.Generator) else generator
    if not isinstance(each, Sequence) or not all(isinstance(one, torch.Generator) for one in each):
        raise BadInput(f"A generator is a torch.Generator, or one for each picture in a list, not {checks.told(each)}.")
    if not isinstance(generator, torch.Generator) and batch not in (None, len(each)):
        raise BadInput(f"There are {len(each)} seeds for {batch} pictures; give one, or one for each picture.")
    return generator if isinstance(generator, torch.Generator) else list(each)


def seeded(seed: int | Sequence[int]) -> torch.Generator | list[torch.Generator]:
    """A fresh generator on the CPU, so that a seed means the same noise on every device; a list for a list of seeds.

    A seed is 0 ... 2^64 - 1; raises BadInput for another.
    """
    seeds = as_seeds(seed)
    if isinstance(seeds, list):
        return [torch.Generator("cpu").manual_seed(one) for one in seeds]
    return torch.Generator("cpu").manual_seed(seeds)


def as_seeds(seed: int | Sequence[int], many: int | None = None) -> int | list[int]:
    """A seed, or a list of those in a list, a range, an array ..., as whole numbers of Python; raises BadInput.

    With `many` one seed, too, becomes a list: it stands there for each of so many pictures.
    """
    several = isinstance(seed, Sequence) and not isinstance(seed, str | bytes | bytearray)
    if several or len(getattr(seed, "shape", ())) == 1:
        return [checks.whole(one, "seed", 0, 2**64 - 1) for one in seed]
    one = checks.whole(seed, "seed", 0, 2**64 - 1)
    return one if many is None else [one] * many


def cuda_noise(shape: Sequence[int], seed: int) -> torch.Tensor:
    """The noise that torch.randn draws first on an NVIDIA GPU after manual_seed(seed), computed without one: float32.

    Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") stirs a counter, here the number's
    place, with the seed as its key; two of its four words make one Gaussian number (Box and Muller). True to the last
    digits for up to some hundred thousand numbers; in larger draws a GPU's threads make several each.
    """
    low, count = np.uint64(0xFFFFFFFF), math.prod(shape)
    words = [np.zeros(count, np.uint64) for _ in range(4)]
    words[2] = np.arange(count, dtype=np.uint64)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        left, right = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            right >> np.uint64(32) ^ words[1] ^ np.uint64(key[0]),
            right & low,
            left >> np.uint64(32) ^ words[3] ^ np.uint64(key[1]),
            left & low,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    radius, angle = (words[k] * 2.0**-32 + 2.0**-33 for k in (0, 1))  # evenly spread over 0 ... 1
    values = np.sqrt(-2 * np.log(radius)) * np.sin(2 * np.pi * angle)
    return torch.from_numpy(values.astype(np.float32)).view(*shape)
