"""Lesson 10: the loss over the noise levels, a small UNet trained in a minute, a word learned from five drawings."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.func import functional_call

from ..embeddings import embed_texts
from ..figures import figure_curves, figure_rows
from ..latents import encode
from ..models import BadInput, StableDiffusion
from ..tokens import encode_pieces, tokenize
from ..world import Scene, draw
from .loop import batch_generator, learning_share
from .optimizer import MuonAdamW
from .settings import TINY
from .unet import EMPTY_SHARE, NoisePrediction, build_unet

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

    from ..worded import WordedFigure


@dataclass(frozen=True, eq=False)
class Examples:
    """Drawings as the UNet's training sees them: scaled latents (N, 4, h, w), and which caption belongs to each.

    `texts` (1 + captions, 77, dim) holds each caption's embeddings once, row 0 the empty caption's; `names` (N,) says
    which row belongs to which latents.
    """

    latents: torch.Tensor
    texts: torch.Tensor
    names: torch.Tensor

    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Latents, noise (size, 4, h, w), timesteps (size,) and texts (size, 77, dim) of one training step.

        One timestep from each of `size` equal parts of 0 ... 999, so that no batch is all noise or all picture.
        """
        chosen = torch.randint(len(self.latents), (size,), generator=generator)
        empty = torch.rand(size, generator=generator) < EMPTY_SHARE
        parts = torch.arange(size) + torch.rand(size, generator=generator)
        timesteps = (parts * (1000 / size)).long().clamp(max=999)
        clean = self.latents[chosen]
        noise = torch.randn(clean.shape, generator=generator)
        return clean, noise, timesteps, self.texts[self.names[chosen].masked_fill(empty, 0)]


def make_examples(sd: StableDiffusion, scenes: Sequence[Scene], seed: int) -> Examples:
    """Draw the scenes at the model's size, encode each drawing once, embed each caption once; all on the CPU."""
    rng = np.random.default_rng(seed)
    latents = torch.cat([encode(sd.vae, draw(scene, rng, size=sd.size[0])) for scene in scenes])
    captions = ["", *dict.fromkeys(scene.caption for scene in scenes)]
    names = torch.tensor([captions.index(scene.caption) for scene in scenes])
    return Examples(latents.float().cpu(), embed_texts(sd, captions).float().cpu(), names)


def loss_at(
    sd: StableDiffusion, latents: torch.Tensor, noise: torch.Tensor, texts: torch.Tensor, timesteps: Sequence[int]
) -> torch.Tensor:
    """The UNet's mean squared error on the noise at each timestep, without weights: float32, (len(timesteps),).

    Scaled latents and noise (B, 4, h, w), texts (B, 77, dim); the same noise at every timestep (Ho et al. 2020,
    equation 14, one t at a time).
    """
    losses = []
    for t in timesteps:
        kept = sd.scheduler.alphas_cumprod[t].to(latents)
        noisy = (kept.sqrt() * latents + (1 - kept).sqrt() * noise).to(sd.unet.device, sd.unet.dtype)
        with torch.no_grad():
            guess = sd.unet(noisy, t, encoder_hidden_states=texts.to(noisy)).sample
        losses.append((guess.float().cpu() - noise.cpu()).square().mean())
    return torch.stack(losses)


def small_unet(sd: StableDiffusion, channels: Sequence[int] = (32, 48, 64), seed: int = 0) -> UNet2DConditionModel:
    """A fresh UNet for `sd`'s latents and text, smaller than the tiny model's; the global generator stays as it is."""
    width = sd.text_encoder.config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = build_unet(replace(TINY, size=sd.size[0], text_width=width, unet_channels=tuple(channels)))
    return unet.to(sd.device)


@dataclass(frozen=True, eq=False)
class Moment:
    """A training after `step` steps: the loss of its last batch, and the network with the averaged weights (EMA)."""

    step: int
    loss: float
    averaged: UNet2DConditionModel


def train(
    unet: UNet2DConditionModel,
    examples: Examples,
    *,
    steps: int,
    batch: int = 16,
    rate: float = 4e-3,
    average: float = 0.95,
    seed: int = 0,
) -> Iterator[Moment]:
    """Train `unet` in place and yield a Moment after each step: the package's loss and optimizers, one fixed length.

    `rate` is Muon's learning rate, AdamW has half of it; both rise at once and fall to zero. The average forgets faster
    at first, so that it does not drag the random start along. `averaged` is one network, updated from step to step.
    """
    objective = NoisePrediction(unet).to(unet.device)
    optimizer = MuonAdamW(objective, ("conv_in", "conv_out", "time_embedding", "time_emb_proj"), rate, rate / 2)
    averaged = copy.deepcopy(unet).eval()
    for step in range(steps):
        loss = objective(*(each.to(unet.device) for each in examples.batch(batch, batch_generator(seed, step, 0))))
        loss.backward()
        optimizer.step(learning_share(step / steps))
        decay = min(average, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(unet.parameters()), 1 - decay)
        yield Moment(step + 1, loss.item(), averaged)


def with_new_word(sd: StableDiffusion, word: str, like: Sequence[str]) -> StableDiffusion:
    """A copy of `sd` whose tokenizer knows `word` as one token; its vector is the mean of the words' in `like`.

    UNet and VAE are `sd`'s own. Raises BadInput where the tokenizer has the word already.
    """
    tokenizer, encoder = copy.deepcopy(sd.tokenizer), copy.deepcopy(sd.text_encoder)
    if not tokenizer.add_tokens([word]):
        raise BadInput(f"The tokenizer knows {word!r} already; take another word.")
    old = encoder.get_input_embeddings().weight
    vectors = [old[encode_pieces(sd.tokenizer, each).ids].mean(dim=0) for each in like]
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        encoder.get_input_embeddings().weight[-1] = torch.stack(vectors).mean(dim=0)
    return replace(sd, tokenizer=tokenizer, text_encoder=encoder)


def learn_word(
    sd: StableDiffusion,
    latents: torch.Tensor,
    captions: Sequence[str],
    *,
    steps: int,
    copies: int = 2,
    rate: float = 0.02,
    seed: int = 0,
) -> list[float]:
    """Textual inversion (Gal et al. 2022): train the last row of `sd`'s token table, and nothing else; the losses.

    `latents` (n, 4, h, w) are those of n drawings with their `captions`, in which the new word stands. Each step shows
    every drawing `copies` times, with fresh noise at timesteps that are spread over 0 ... 999. The row is changed in
    place; the UNet's and the encoder's weights get no gradients.
    """
    encoder, device = sd.text_encoder.requires_grad_(False), sd.unet.device
    objective = NoisePrediction(sd.unet.requires_grad_(False)).to(device)
    table = encoder.get_input_embeddings().weight
    name = next(name for name, weight in encoder.named_parameters() if weight is table)
    row = table[-1].float().clone().requires_grad_()  # Adam's small numbers need 32 bits
    optimizer, generator = torch.optim.Adam([row], lr=rate), torch.Generator().manual_seed(seed)
    ids, clean, count = tokenize(sd.tokenizer, captions), latents.repeat(copies, 1, 1, 1), copies * len(latents)
    losses = []
    for _ in range(steps):
        taught = torch.cat([table[:-1], row[None].to(table.dtype)])
        texts = functional_call(encoder, {name: taught}, (ids.to(table.device),))[0]
        parts = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
        timesteps = (parts * (1000 / count)).long().clamp(max=999)
        noise = torch.randn(clean.shape, generator=generator)
        loss = objective(*(each.to(device) for each in (clean, noise, timesteps)), texts.repeat(copies, 1, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        table[-1] = row
    return losses


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval in which a share lies with 95 % confidence when `right` of `count` are right (Wilson 1927)."""
    share, squared = right / count, z * z / count
    middle = (share + squared / 2) / (1 + squared)
    half = z * math.sqrt(share * (1 - share) / count + squared / (4 * count)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)


def figure_batch(
    rows: Mapping[str, Sequence], titles: Sequence[str], alike: Sequence[str], *, inches: float = 0.95
) -> WordedFigure:
    """Rows as in `figures.figure_rows`; the rows of maps named in `alike` are drawn in one colour scale."""
    fig = figure_rows(rows, titles, inches=inches)
    limit = max(float(each.abs().max()) for name in alike for each in rows[name])
    for name in alike:
        first = list(rows).index(name) * (len(titles) + 1)  # one more column, for the colour bars
        for ax in fig.axes[first : first + len(titles)]:
            ax.images[0].set_clim(-limit, limit)
        fig.words = re.sub(rf"{re.escape(name)} \(maps up to [^)]*\)", f"{name} (maps up to {limit:.1f})", fig.words)
    return fig


def figure_over_sigma(panels: Mapping[str, Mapping[str, tuple]], ylabel: str, *, ylim=None) -> WordedFigure:
    """Panels of curves, title -> (name -> (sigmas, values)), over the noise level, which has a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    fig = figure_curves(panels, "noise level σ (more noise to the right)", ylabel, ylim=ylim)
    for ax in fig.axes:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    return fig


def figure_progress(runs: Mapping[str, Sequence[float]], *, window: int = 10, ylim=None) -> WordedFigure:
    """The loss over the steps of a few trainings, name -> losses, each point the mean of `window` of them.

    What is told in words is coarse: training makes the small differences between processors large.
    """
    curves, told = {}, []
    for name, losses in runs.items():
        parts = [losses[start : start + window] for start in range(0, len(losses), window)]
        means = [sum(part) / len(part) for part in parts]
        curves[name] = ([min(len(losses), window * (k + 1)) for k in range(len(parts))], means)
        told.append(f"{name}, {'which ends below' if means[-1] < means[0] / 2 else 'which stays above'} half of it")
    fig = figure_curves({"": curves}, "step", f"loss (mean of {window} steps)", ylim=ylim)
    if ylim is None:
        fig.axes[0].set_ylim(bottom=0)
    fig.words = f"The loss over the training steps. It begins at its mean over {window} steps: {'; '.join(told)}."
    return fig
