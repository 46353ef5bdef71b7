"""The CLIP pair: a text tower and a picture tower that learn to agree on which caption belongs to which picture.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision". The text tower,
frozen, then speaks to the UNet, as in Stable Diffusion v1.
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from .data import Pictures, fresh_pictures, mirror_half
from .loop import Job
from .saving import save_model
from .settings import Settings
from .sheets import save_sheet

PATCH = 16  # pixels on each side of one of the picture tower's tokens


def build_clip(settings: Settings, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A fresh CLIP pair; the text tower has v1.4's form (77 positions, quick_gelu, pooled at the end token)."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.text_width,
        intermediate_size=4 * settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act="quick_gelu",
        projection_dim=settings.text_width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        image_size=settings.size,
        patch_size=PATCH,
        hidden_size=settings.vision_width,
        intermediate_size=4 * settings.vision_width,
        num_hidden_layers=settings.vision_layers,
        num_attention_heads=4,
        projection_dim=settings.text_width,
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=settings.text_width)
    return CLIPModel(config)


def encode_captions(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Captions to ids, padded to 77: (N, 77) int64."""
    padded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    return padded.input_ids


class Agreement(nn.Module):
    """CLIP's loss: in a batch, each picture should find its caption and each caption its picture.

    `forward(pixels, ids, names)`: (B, 3, H, W) in [-1, 1], (B, 77) and (B,). Pictures of one caption share a `name`;
    each of them counts as right. The ids may be cut behind the longest caption: the text tower looks only back, so what
    follows the end token changes nothing before it.
    """

    def __init__(self, clip: CLIPModel):
        super().__init__()
        self.clip = clip

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
        output = self.clip(input_ids=ids, pixel_values=pixels)
        logits = output.logits_per_image.float()  # (pictures, captions)
        same = (names[:, None] == names[None, :]).float()
        target = same / same.sum(dim=1, keepdim=True)
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


@torch.no_grad()
def found(clip: CLIPModel, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """For each picture, the index of the caption that the pair likes best: (B,) int64."""
    output = clip(input_ids=ids.to(clip.device), pixel_values=pixels.to(clip.device))
    return output.logits_per_image.argmax(dim=1).cpu()


def clip_job(folder: Path, settings: Settings, accelerator: Accelerator, seconds: float, batch_size: int) -> Job:
    """The contrastive training on a run folder's pictures and captions; raises FileNotFoundError without them."""
    device = accelerator.device
    pictures = Pictures(folder / "pictures", device, settings.first_pictures)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    clip = build_clip(settings, tokenizer)
    captions = sorted(set(pictures.captions))
    number = {caption: index for index, caption in enumerate(captions)}
    names = torch.tensor([number[caption] for caption in pictures.captions], device=device)
    ids = encode_captions(tokenizer, captions)  # (distinct captions, 77)
    longest = int((ids != tokenizer.eos_token_id).sum(dim=1).max()) + 1
    ids = ids[:, :longest].to(device)
    unseen, texts = fresh_pictures(2, 48, settings.size)

    def batch(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        chosen = torch.randint(len(pictures), (batch_size,), generator=generator, device=device)
        return mirror_half(pictures.batch(chosen), generator), ids[names[chosen]], names[chosen]

    def sheet(path: Path) -> None:
        best = [texts[index] for index in found(clip, unseen, encode_captions(tokenizer, texts)).tolist()]
        right = sum(guess == text for guess, text in zip(best, texts, strict=True))
        save_sheet(
            unseen, path, columns=8, title=f"unseen drawings; the pair finds the captions of {right} of {len(texts)}"
        )

    return Job(
        name="clip",
        objective=Agreement(clip),
        batch=batch,
        batch_size=batch_size,
        seconds=seconds,
        save=lambda: save_model(clip, folder / "clip"),
        sheet=sheet,
        edges=("embedding",),
        muon_rate=4e-3,
        adam_rate=2e-3,
        average=0.998,
    )
