"""Picture <-> latents: encoding, and the noise that every picture begins with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch

from .figures import BLUE, INK, ORANGE, SEQUENTIAL, by, new_figure, open_axes, plot_map, plot_picture
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
    """The picture's scaled latents, float32, (batch, 4, height/8, width/8), with a spread of about 1.

    `picture` is a PIL picture or a tensor (batch, 3, height, width) in -1 ... 1. Without `generator` they are the mean
    of the encoder's Gaussian (its mode), with one a draw from it. The scaling factor is 0.18215 in v1.4 (Rombach et al.
    2022, appendix D.1). Raises BadInput where a side does not fit the VAE's squares.
    """
    values = picture if isinstance(picture, torch.Tensor) else to_tensor(picture)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    check_size(*values.shape[-2:], factor)
    with torch.no_grad():
        gaussian = vae.encode(values.to(vae.device, vae.dtype)).latent_dist
    gaussian = type(gaussian)(gaussian.parameters.float())  # a seed draws the same noise whatever the VAE computes in
    return (gaussian.mode() if generator is None else gaussian.sample(generator)) * vae.config.scaling_factor


def psnr(picture: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of pictures (batch, 3, height, width) in -1 ... 1: a number in dB for each, (batch,).

    10 log10(peak^2 / mean squared error), with a peak of 2, from black to white. What lies outside is cut off first.
    """
    error = (picture.clamp(-1, 1) - other.clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(2**2 / error)


def fit_preview(pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """The best linear guess of a square's mean colour from its latents: a matrix (channels + 1, 3), last row constant.

    `pictures` (batch, 3, height, width) in -1 ... 1 and their `latents` (batch, channels, rows, columns), by least
    squares.
    """
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures.float(), latents.shape[-2:])
    return torch.linalg.lstsq(_with_ones(latents).flatten(0, 2), colours.permute(0, 2, 3, 1).flatten(0, 2)).solution


def preview(latents: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Latents as small pictures, (batch, 3, rows, columns), about -1 ... 1, by `fit_preview`'s matrix: no decoder."""
    known = _with_ones(latents)
    return (known @ matrix.to(known)).permute(0, 3, 1, 2)


def _with_ones(latents: torch.Tensor) -> torch.Tensor:
    """Latents with the channels last and a 1 behind them: (batch, rows, columns, channels + 1)."""
    return torch.nn.functional.pad(latents.float().permute(0, 2, 3, 1), (0, 1), value=1.0)


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


def plot_histogram(values: torch.Tensor, title: str = "", *, limit: float = 4.0, ax=None):
    """Draw how often each number occurs, -limit to limit, beside the Gaussian curve of spread 1; returns the Axes."""
    ax = new_figure(figsize=(4, 2.6)).subplots() if ax is None else ax
    numbers = values.detach().float().cpu().flatten().numpy()
    bins = np.linspace(-limit, limit, 61)
    ax.hist(numbers, bins=bins, density=True, histtype="stepfilled", color=BLUE, alpha=0.45, label="numbers")
    grid = np.linspace(-limit, limit, 301)
    ax.plot(grid, np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), color=INK, linewidth=1.4, label="Gaussian, spread 1")
    mean = round(float(numbers.mean()), 1) + 0.0  # never -0.0
    about = f"{len(numbers):,} numbers, mean {mean:.1f}, std {numbers.std():.1f}"
    ax.set_title(f"{title}\n{about}", fontsize=10)
    ax.set_xlabel("value (no unit)", fontsize=9)
    ax.tick_params(labelsize=8)
    return open_axes(ax)


def figure_histograms(panels: Mapping[str, torch.Tensor], *, limit: float = 4.0) -> Figure:
    """Histograms side by side on one scale, title -> numbers, each beside the Gaussian curve of spread 1."""
    fig = new_figure(figsize=(1 + 2.6 * len(panels), 2.6))
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        plot_histogram(values, title, limit=limit, ax=ax)
    axes[0].set_ylabel("how often (density)", fontsize=9)
    fig.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    told = (f"{title}: {v.numel()} numbers, standard deviation {v.float().std():.1f}" for title, v in panels.items())
    fig.words = f"Histograms beside the Gaussian curve of spread 1. {'; '.join(told)}.".replace("\n", " ")
    return fig


def figure_round_trip(before: Image, after: Image) -> Figure:
    """A PIL picture, what came back of it, and where they differ; on the right the worst part, enlarged."""
    error = np.abs(np.asarray(before, dtype=float) - np.asarray(after, dtype=float)).mean(axis=2)  # levels of 255
    side = max(8, min(before.size) // 4)
    tiles = error[: before.height // side * side, : before.width // side * side]
    sums = tiles.reshape(before.height // side, side, -1, side).mean(axis=(1, 3))
    top, left = (int(each) * side for each in np.unravel_index(sums.argmax(), sums.shape))
    fig = new_figure(figsize=(8.8, 2.5), photographs=True)
    rows = [["before", "after", "error", "part"], ["before", "after", "error", "back"]]
    axes = fig.subplot_mosaic(rows, width_ratios=[2, 2, 2.5, 1])
    plot_picture(before, "the picture", ax=axes["before"])
    plot_picture(after, "encoded and decoded", ax=axes["after"])
    most = float(np.quantile(error, 0.998))  # a few pixels of larger error must not darken all others
    drawn = axes["error"].imshow(error, cmap=SEQUENTIAL, vmin=0, vmax=most, interpolation="nearest")
    axes["error"].set_title("how far apart", fontsize=10)
    axes["error"].set_axis_off()
    bar = fig.colorbar(drawn, ax=axes["error"], shrink=0.8, pad=0.02, extend="max")
    bar.set_label("levels of 255", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    for name, picture, title in (("part", before, "before"), ("back", after, "after")):
        plot_picture(picture.crop((left, top, left + side, top + side)), title, ax=axes[name])
    for name in ("before", "after", "error"):
        frame = [left, left + side, left + side, left, left], [top, top, top + side, top + side, top]
        axes[name].plot(*frame, color=ORANGE, linewidth=1.6)
    fig.words = (
        f"A picture, the same after encoding and decoding, and a map of their difference: {error.mean():.0f} levels of "
        f"255 on average. A frame marks the {side} by {side} pixels with the most error, enlarged on the right."
    )
    return fig
