"""Training: the loss over the noise levels, a small UNet trained in a minute, a word learned from five drawings."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import LMSDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from torch.func import functional_call
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import AddedToken

from .embeddings import embed_texts
from .latents import encode
from .loading import checks
from .loading.errors import BadInput
from .models import ARTICLE_SCHEDULE, StableDiffusion
from .tiny.optimizer import MuonAdamW
from .tokens import as_prompts, encode_pieces, tokenize
from .world import Scene, draw


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

        One timestep from each of `size` equal parts of 0 ... 999, so that no batch is all noise or all picture. All
        float32 and on the generator's device, where the examples have to be.
        """
        drawn = {"generator": generator, "device": generator.device}
        chosen = torch.randint(len(self.latents), (size,), **drawn)
        empty = torch.rand(size, **drawn) < EMPTY_SHARE
        timesteps = spread_timesteps(torch.arange(size, device=generator.device), generator)
        clean = self.latents[chosen].float()
        noise = torch.randn(clean.shape, **drawn)
        return clean, noise, timesteps, self.texts[self.names[chosen].masked_fill(empty, 0)].float()


def spread_timesteps(parts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A timestep from each of n equal parts of 0 ... 999, in the order in which `parts` (n,) numbers them: int64, (n,).

    All on the generator's device.
    """
    places = parts + torch.rand(len(parts), generator=generator, device=generator.device)
    return (places * (1000 / len(parts))).long().clamp(max=999)


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
    equation 14, one t at a time). Raises BadInput for what is no timestep of the training.
    """
    _check_noise_is_guessed(sd)
    if len(texts) != len(latents):
        raise BadInput(f"There are {len(texts)} texts for {len(latents)} latents; give one for each.")
    losses = []
    for t in timesteps:
        t = checks.whole(t, "timestep", 0, len(sd.scheduler.alphas_cumprod) - 1)
        kept = sd.scheduler.alphas_cumprod[t].to(latents)
        noisy = (kept.sqrt() * latents + (1 - kept).sqrt() * noise).to(sd.unet.device, sd.unet.dtype)
        with torch.no_grad():
            guess = sd.unet(noisy, t, encoder_hidden_states=texts.to(noisy)).sample
        losses.append((guess.float().cpu() - noise.cpu()).square().mean())
    return torch.stack(losses)


def small_unet(sd: StableDiffusion, channels: Sequence[int] = (32, 48, 64), seed: int = 0) -> UNet2DConditionModel:
    """A fresh UNet for `sd`'s latents and text, smaller than the tiny model's; the global generator stays as it is."""
    width = sd.text_encoder.config.hidden_size
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = build_unet(sd.size[0], width, channels)
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

    `rate` is Muon's learning rate, AdamW has half of it; both rise at once and fall to zero. `average` is the decay of
    the moving average, as `average_decay` takes it; `averaged` is one network, updated from step to step.
    """
    objective = NoisePrediction(unet).to(unet.device)
    optimizer = MuonAdamW(objective, ("conv_in", "conv_out", "time_embedding", "time_emb_proj"), rate, rate / 2)
    averaged = copy.deepcopy(unet).eval()
    for step in range(steps):
        loss = objective(*(each.to(unet.device) for each in examples.batch(batch, batch_generator(seed, step, 0))))
        loss.backward()
        optimizer.step(learning_share(step / steps))
        update_average = get_ema_multi_avg_fn(average_decay(average, step + 1))
        update_average(tuple(averaged.parameters()), tuple(unet.parameters()), step)
        yield Moment(step + 1, loss.item(), averaged)


def with_new_word(sd: StableDiffusion, word: str, like: Sequence[str]) -> StableDiffusion:
    """A copy of `sd` whose tokenizer knows `word` as one token; its vector is the mean of the words' in `like`.

    UNet and VAE are `sd`'s own. Raises BadInput where the tokenizer has the word already, as a word or as a piece, and
    where one of `like` is empty.
    """
    tokenizer, encoder = copy.deepcopy(sd.tokenizer), copy.deepcopy(sd.text_encoder)
    known = len(encode_pieces(tokenizer, word).ids) == 1
    if known or not tokenizer.add_tokens([AddedToken(word, single_word=True)]) or len(tokenizer) == len(sd.tokenizer):
        raise BadInput(f"The tokenizer knows {word!r} already; take another word.")
    old = encoder.get_input_embeddings().weight
    alike = [encode_pieces(sd.tokenizer, each).ids for each in as_prompts(like)]
    if not all(alike):
        raise BadInput("One of the words that the new one is to be like is empty; name words.")
    vectors = [old[ids].mean(dim=0) for ids in alike]
    with torch.random.fork_rng():  # new rows begin as random numbers
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    encoder.get_input_embeddings().to(sd.dtype)  # of a big model it may have been stored in another one
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
    place; the UNet's and the encoder's weights get no gradients. Raises BadInput unless `with_new_word` made `sd`, and
    each drawing has a caption with the new word in it.
    """
    _check_noise_is_guessed(sd)
    checks.whole(copies, "number of copies", 1)
    ids = _captions_with_the_new_word(sd, captions, len(latents))
    parts = (sd.unet, sd.text_encoder)
    trained = [each for part in parts for each in part.parameters() if each.requires_grad]  # of parts that others share
    try:
        return _learn_last_row(sd, latents, ids, steps, copies, rate, seed)
    finally:
        for each in trained:
            each.requires_grad_()


def _captions_with_the_new_word(sd: StableDiffusion, captions: Sequence[str], count: int) -> torch.Tensor:
    """The captions' ids, (count, 77); raises BadInput unless there are so many, with the last added word in each."""
    new = len(sd.tokenizer) - 1
    if new not in sd.tokenizer.get_added_vocab().values() or new in sd.tokenizer.all_special_ids:
        raise BadInput("This model's tokenizer has no new word; make a copy of the model by with_new_word first.")
    ids, word = tokenize(sd.tokenizer, captions), sd.tokenizer.convert_ids_to_tokens(new)
    if len(ids) != count:
        raise BadInput(f"There are {len(ids)} captions for {count} drawings; give one for each.")
    if not (ids == new).any(dim=1).all():
        raise BadInput(f"The new word, {word!r}, must stand in each caption.")
    return ids


def _learn_last_row(sd, latents, ids, steps: int, copies: int, rate: float, seed: int) -> list[float]:
    encoder, device = sd.text_encoder.requires_grad_(False), sd.unet.device
    objective = NoisePrediction(sd.unet.requires_grad_(False), sd.scheduler.alphas_cumprod).to(device)
    table = encoder.get_input_embeddings().weight
    name = next(name for name, weight in encoder.named_parameters() if weight is table)
    row = table[-1].float().clone().requires_grad_()  # Adam's small numbers need 32 bits
    optimizer, generator = torch.optim.Adam([row], lr=rate), torch.Generator().manual_seed(seed)
    clean, count = latents.repeat(copies, 1, 1, 1), copies * len(latents)
    losses = []
    for _ in range(steps):
        taught = torch.cat([table[:-1], row[None].to(table.dtype)])
        texts = functional_call(encoder, {name: taught}, (ids.to(table.device),))[0]
        timesteps = spread_timesteps(torch.randperm(count, generator=generator), generator)
        noise = torch.randn(clean.shape, generator=generator)
        loss = objective(*(each.to(device) for each in (clean, noise, timesteps)), texts.repeat(copies, 1, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        table[-1] = row
    return losses


def _check_noise_is_guessed(sd: StableDiffusion) -> None:
    kind = sd.scheduler.config["prediction_type"]
    if kind != "epsilon":
        raise BadInput(f"This loss compares with the noise, and this model's UNet guesses another thing ({kind}).")


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval in which a share lies with 95 % confidence when `right` of `count` are right (Wilson 1927).

    Raises BadInput unless 0 <= right <= count and there is at least one.
    """
    checks.whole(right, "number of right ones", 0, checks.whole(count, "count", 1))
    share, squared = right / count, z * z / count
    middle = (share + squared / 2) / (1 + squared)
    half = z * math.sqrt(share * (1 - share) / count + squared / (4 * count)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)


def learning_share(used: float) -> float:
    """Share of the full learning rate when the share `used` (0…1) of the time is gone."""
    return min(1.0, used / 0.01 + 0.02) * max(0.0, 1.0 - used)


def average_decay(decay: float, step: int, every: int = 1) -> float:
    """What the moving average keeps of itself after `step` steps, where it is updated once in `every` steps: 0 … 1.

    `decay` is for one step. The average forgets faster at first, so that it does not drag the random start along.
    """
    return min(decay**every, step / (9 * every + step))


def batch_generator(seed: int, step: int, process: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers of one batch, a function of these three integers and the kind of device alone."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) * 257 + process)


EMPTY_SHARE = 0.1  # of the captions are left out, so that guidance has something to compare with


SNR_LIMIT = 5.0  # Hang et al. 2023


def build_unet(size: int, text_width: int, channels: Sequence[int], layers: int = 1) -> UNet2DConditionModel:
    """A fresh UNet for pictures of `size` pixels, text vectors of `text_width` numbers, and `channels` on three levels.

    Its latents have 4 channels and size/8 squares a side; it looks at the text on the lower two levels.
    """
    return prepare(
        UNet2DConditionModel(
            sample_size=size // 8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=tuple(channels),
            layers_per_block=layers,
            cross_attention_dim=text_width,
            attention_head_dim=4,  # the number of heads, in spite of its name
            norm_num_groups=16,
        )
    )


def prepare(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same UNet with plain attention: the fused attention's way back is slow on a CPU, and no faster on a GPU."""
    unet.set_attn_processor(AttnProcessor())
    return unet.train()


class NoisePrediction(nn.Module):
    """The UNet's loss: the squared distance between the noise that was added and the noise that it sees.

    `forward(latents, noise, steps, texts)`: scaled latents and noise (B, 4, h, w), timesteps (B,) in 0…999 and text
    embeddings (B, 77, width). A timestep of low noise is easy to get wrong and does not matter much: its weight is
    min(SNR, 5)/SNR. `kept` is ᾱ(t), (1000,), of another schedule than the article's.
    """

    def __init__(self, unet: UNet2DConditionModel, kept: torch.Tensor | None = None):
        super().__init__()
        self.unet = unet
        kept = LMSDiscreteScheduler(**ARTICLE_SCHEDULE).alphas_cumprod if kept is None else kept
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, latents, noise, steps, texts) -> torch.Tensor:
        kept = self.kept[steps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        dtype = self.unet.dtype  # of a big model it may have 16 bits; the loss has 32
        predicted = self.unet(noisy.to(dtype), steps, texts.to(dtype), return_dict=False)[0].float()
        ratio = kept / (1 - kept)  # signal to noise
        weight = ratio.clamp(max=SNR_LIMIT) / ratio
        return (weight * (predicted - noise).square()).mean()
