"""A model that computes in 16 bits: rooms hand its parts what they compute in, and give float32 back."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import sdlesson
from sdlesson import attention, decoding, guidance, latents, models, samplers, steering, training
from sdlesson.engine import lean
from sdlesson.training import NoisePrediction
from sdlesson.world import Scene, draw

PROMPT = "an astronaut riding a horse"
SHORT = {"num_inference_steps": 3, "seed": 1}


@pytest.fixture(scope="module", params=["float32", "bfloat16", "float16", "float32 kept", "bfloat16 kept"])
def sd(request, toy_folder, toy_half):
    """The toy, computing in each dtype; `kept` as a big model whose weights stay in the file's float16."""
    dtype, _, kept = request.param.partition(" ")
    with pytest.MonkeyPatch.context() as patch:
        if kept:
            patch.setattr(models, "_BIG", 0)
            patch.setattr(lean, "_SMALL", 600)
        return sdlesson.load(toy_half if kept else toy_folder, device="cpu", dtype=dtype, low_memory=bool(kept))


@pytest.fixture
def picture(sd):
    return draw(Scene("cartoon", "queen", "duck"), np.random.default_rng(0), size=sd.size[0])


def is_sound(values: torch.Tensor) -> bool:
    """Numbers of 32 bits, all of them finite."""
    return values.dtype == torch.float32 and bool(values.isfinite().all())


def steps_apart(sd, one, other) -> float:
    """How far two tensors are apart, in steps of the model's dtype at their largest number."""
    size = float(max(one.abs().max(), other.abs().max()))
    return float((one.double() - other.double()).abs().max()) / (size * torch.finfo(sd.dtype).eps)


def test_encoding_gives_float32_and_a_seed_the_same_noise_in_every_dtype(sd, picture, toy):
    clean, drawn = latents.encode(sd.vae, picture), latents.encode(sd.vae, picture, generator=latents.seeded(3))
    assert is_sound(clean) and is_sound(drawn)
    exact = copy.deepcopy(toy.vae)
    exact.load_state_dict(sd.vae.state_dict())
    for values, generator in ((clean, None), (drawn, latents.seeded(3))):
        assert steps_apart(sd, values, latents.encode(exact, picture, generator=generator)) < 8


def test_decoding_by_hand_and_in_stages(sd):
    x = torch.randn(1, 4, 6, 6, generator=latents.seeded(0))
    with torch.no_grad():
        by_hand = sd.vae.decode((x / sd.vae.config.scaling_factor).to(sd.vae.dtype)).sample.float()
    decoded = decoding.decode(sd.vae, x)
    assert is_sound(decoded) and torch.equal(decoded, by_hand)
    stages = decoding.decode_stages(sd.vae, x)
    assert torch.equal(stages["conv_out"], decoded) and all(map(is_sound, stages.values()))


@pytest.mark.parametrize("of_latents", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("of_matrix", [torch.float32, torch.float16])
def test_the_preview_takes_latents_and_a_matrix_of_any_dtype(of_latents, of_matrix):
    x, matrix = torch.randn(2, 4, 5, 5, dtype=of_latents), torch.randn(5, 3).to(of_matrix)
    found = latents.preview(x, matrix)
    assert is_sound(found) and found.shape == (2, 3, 5, 5)
    torch.testing.assert_close(found, latents.preview(x.float(), matrix.float()))
    assert steering.pull_colour(matrix, (-0.5, -0.5, 1), 2)(x).isfinite()


def test_every_way_of_painting_gives_latents_of_32_bits(sd, picture):
    x = latents.initial_noise(1, *sd.size, generator=latents.seeded(2))
    pull = steering.Steering(loss=steering.pull_colour(torch.randn(5, 3), (-0.5, -0.5, 1), 1))
    mask = torch.zeros(sd.size, dtype=torch.bool)
    mask[:24] = True
    *_, last = guidance.denoise(sd, PROMPT, steering=pull, **SHORT)
    denoiser = samplers.Denoiser(sd, PROMPT)
    ends = [
        *(getattr(last, name) for name in ("latents", "noise_uncond", "noise_text", "noise_pred", "pred_original")),
        steering.img2img(sd, PROMPT, picture, **SHORT),
        steering.img2img(sd, PROMPT, latents.encode(sd.vae, picture).to(sd.dtype), **SHORT),
        steering.inpaint(sd, PROMPT, picture, mask, **SHORT),
        samplers.end(samplers.heun(denoiser, 5 * x, [5.0, 1.0, 0.2])),
        denoiser(x, 1.0),
    ]
    assert all(map(is_sound, ends))


def test_attention_is_watched_and_weighed(sd):
    plain = guidance.record(sd, PROMPT, **SHORT)
    with attention.record_attention(sd.unet) as heat:
        assert torch.equal(guidance.record(sd, PROMPT, **SHORT).steps[-1].latents, plain.steps[-1].latents)
    assert is_sound(heat.probabilities())
    with attention.weigh_attention(sd.unet, lambda scores: scores.softmax(dim=-1)):
        weighed = guidance.record(sd, PROMPT, **SHORT)
    assert is_sound(weighed.steps[-1].latents)
    assert steps_apart(sd, weighed.steps[0].noise_text, plain.steps[0].noise_text) < 32


def test_the_loss_of_training_is_one_of_32_bits(sd):
    examples = training.make_examples(sd, [Scene("cartoon", mount="duck"), Scene("cartoon", mount="horse")], seed=1)
    assert is_sound(examples.latents) and is_sound(examples.texts)
    noise, texts = torch.randn(examples.latents.shape), examples.texts[1:]
    assert is_sound(training.loss_at(sd, examples.latents, noise, texts, [100, 700]))
    with torch.no_grad():
        assert is_sound(NoisePrediction(sd.unet)(examples.latents, noise, torch.tensor([100, 700]), texts)[None])


def test_a_word_is_learned(sd):
    taught = training.with_new_word(sd, "zuzu", like=["horse", "moon"])
    before = taught.text_encoder.get_input_embeddings().weight.clone()
    losses = training.learn_word(taught, torch.randn(1, 4, 6, 6), ["a zuzu"], steps=3)
    table = taught.text_encoder.get_input_embeddings().weight
    assert np.isfinite(losses).all() and table.dtype == sd.dtype and table.isfinite().all()
    assert (table != before).any(dim=1).nonzero().flatten().tolist() == [len(table) - 1]
