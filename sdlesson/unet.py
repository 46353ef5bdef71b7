"""The UNet: the model's half of a step, one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


def predict(
    unet: UNet2DConditionModel, x: torch.Tensor, timestep: torch.Tensor | float, embeddings: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The UNet's guess for each half that `embeddings` holds: tensors like `x`, float32, in the embeddings' order.

    `x` (batch, 4, h/8, w/8) are latents as the UNet wants to see them, scaled; `embeddings` (halves * batch, 77, dim)
    are [negative ..., prompt ...], or one half of that. A guess is the noise, or v in models that predict v. Gradients
    flow where they are asked for.
    """
    halves = len(embeddings) // len(x)
    model_input = torch.cat([x] * halves).to(unet.device, unet.dtype)  # (batch, ...) -> (halves * batch, ...)
    texts = embeddings.to(unet.device, unet.dtype)
    output = unet(model_input, timestep, encoder_hidden_states=texts, return_dict=False)[0]
    return output.float().chunk(halves)
