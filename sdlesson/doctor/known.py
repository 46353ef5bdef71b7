"""What is known of v1.4, and the same of a loaded model."""

from __future__ import annotations

from collections.abc import Mapping

from ..embeddings import text_embeddings
from ..fullsize import SHAPES, count
from ..loading.folders import WEIGHTS
from ..models import ARTICLE_PROMPT, StableDiffusion
from ..tokens import token_ids

#: What is known of v1.4 and of v2.1-base alike; `published` adds what differs.
_KNOWN = {
    "ids of the prompt": "49406 320 8853 539 550 18376 6765 320 4558 49407",
    "scaling factor": "0.18215",
    "UNet predicts": "epsilon",
    # of a fourth digit 10.74685 would be on the edge between two
    "sigmas at 20 steps": "14.615 10.747 8.082 ... 0.232 0.029 0.000",
    "timesteps": "999.00 946.42 893.84 ... 105.16 52.58 0.00",
    "latents": "(4, 64, 64)",
}


def published(model: str) -> dict[str, str]:
    """What is known of `model` ("v1.4" or "v2.1-base"), in the words of `facts`."""
    width = SHAPES[model]["text"]["hidden_size"]
    return _KNOWN | {"embeddings": f"(77, {width})"} | _counts(SHAPES[model]["parameters"])


def facts(sd: StableDiffusion) -> dict[str, str]:
    """The same of a loaded model: ids up to the end token, shapes of one picture, the scheduler's numbers."""
    sd.scheduler.set_timesteps(20)
    sigmas, times = ([f"{sigma:.3f}" for sigma in sd.scheduler.sigmas], [f"{t:.2f}" for t in sd.scheduler.timesteps])
    ids, end = token_ids(sd.tokenizer, ARTICLE_PROMPT)[0].tolist(), sd.tokenizer.eos_token_id
    return {
        "ids of the prompt": " ".join(map(str, ids[: [*ids, end].index(end) + 1])),
        **_counts(numbers(sd)),
        # of a fourth digit 10.74685 would be on the edge between two
        "sigmas at 20 steps": " ".join([*sigmas[:3], "...", *sigmas[-3:]]),
        "timesteps": " ".join([*times[:3], "...", *times[-3:]]),
        "scaling factor": str(sd.vae.config.scaling_factor),
        "UNet predicts": sd.scheduler.config.prediction_type,
        "embeddings": str(tuple(text_embeddings(sd, ARTICLE_PROMPT).shape[1:])),
        "latents": str((sd.unet.config.in_channels, *(side // sd.vae_factor for side in sd.size))),
    }


def compared(key: str, found: str) -> str:
    """A fact with what v1.4 has in its place, where that is something else."""
    if found == published("v1.4")[key]:
        return f"{found}  as v1.4's"
    cousin = " (it is v2.1-base's)" if found == published("v2.1-base")[key] else ""
    return f"{found}  other than v1.4's: {published('v1.4')[key]}{cousin}"


def numbers(sd: StableDiffusion) -> dict[str, int]:
    """The number of parameters of each part that has weights."""
    return count({part: getattr(sd, part) for part in WEIGHTS})


def _counts(numbers: Mapping[str, int]) -> dict[str, str]:
    return {f"parameters, {part.replace('_', ' ')}": f"{number:,}" for part, number in numbers.items()}
