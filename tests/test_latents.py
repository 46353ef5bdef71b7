"""Picture <-> latents, and the noise at the beginning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from toy import TOY_SCALING

from sdlesson.latents import check_size, encode, figure_latents, initial_noise, seeded, to_tensor
from sdlesson.models import BadInput


def picture(width=32, height=24):
    values = torch.randint(0, 256, (height, width, 3), generator=seeded(1), dtype=torch.uint8)
    return Image.fromarray(values.numpy())


def test_to_tensor_is_diffusers_preprocessing():
    ours = to_tensor(picture())
    assert ours.shape == (1, 3, 24, 32)
    torch.testing.assert_close(ours, VaeImageProcessor().preprocess(picture()))
    assert to_tensor(picture().convert("RGBA")).shape == (1, 3, 24, 32)


def test_encode_is_the_scaled_mode_or_a_draw(toy):
    with torch.no_grad():
        gaussian = toy.vae.encode(to_tensor(picture())).latent_dist
    torch.testing.assert_close(encode(toy.vae, picture()), gaussian.mean * TOY_SCALING)
    drawn = encode(toy.vae, to_tensor(picture()), generator=seeded(3))
    noise = torch.randn(gaussian.mean.shape, generator=seeded(3))
    torch.testing.assert_close(drawn, (gaussian.mean + gaussian.std * noise) * TOY_SCALING)
    assert drawn.shape == (1, 4, 3, 4)


def test_encode_wants_whole_squares(toy):
    with pytest.raises(BadInput, match="height .* multiple of 8 .* not 20"):
        encode(toy.vae, picture(height=20))


def test_noise_is_the_pipelines(pipeline):
    ours = initial_noise(3, 48, 64, generator=seeded(42))
    assert ours.shape == (3, 4, 6, 8)
    theirs = pipeline.prepare_latents(3, 4, 48, 64, torch.float32, torch.device("cpu"), seeded(42))
    torch.testing.assert_close(ours * pipeline.scheduler.init_noise_sigma, theirs)


def test_a_seed_of_its_own_makes_a_picture_independent_of_its_neighbours():
    together = initial_noise(3, 48, 48, generator=seeded([7, 8, 9]))
    torch.testing.assert_close(together[1:2], initial_noise(1, 48, 48, generator=seeded(8)))


def test_the_first_of_a_batch_is_the_picture_alone():
    """True of torch's CPU generator where a picture has a multiple of 16 numbers, as all usual sizes have."""
    batch = initial_noise(2, 128, 128, generator=seeded(42))
    torch.testing.assert_close(batch[:1], initial_noise(1, 128, 128, generator=seeded(42)))


def test_drawing_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    initial_noise(1, 64, 64, generator=seeded(0))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None, [1, -2]])
def test_what_is_no_seed(seed):
    with pytest.raises(BadInput, match="whole number"):
        seeded(seed)


def test_seeds_must_be_as_many_as_pictures():
    with pytest.raises(BadInput, match="2 seeds for 3 pictures"):
        initial_noise(3, 64, 64, generator=seeded([1, 2]))


@pytest.mark.parametrize("size", [(64, 60), (0, 64), (-8, 64), (64.0, 64), ("64", 64)])
def test_sizes_that_do_not_fit(size):
    with pytest.raises(BadInput, match="multiple of 8 pixels"):
        check_size(*size)


def test_maps_of_latents_are_centred_on_zero_and_keep_their_squares():
    latents = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5) - 7
    fig = figure_latents(latents, "Some latents")
    drawn = [ax.images[0] for ax in fig.axes if ax.images]
    assert len(drawn) == 3
    for channel, image in enumerate(drawn):
        np.testing.assert_array_equal(image.get_array(), latents[0, channel])
        assert image.get_clim() == (-52, 52)
        assert image.get_interpolation() == "nearest"
    assert fig.words.startswith("Some latents: 3 × 4 × 5 numbers")
