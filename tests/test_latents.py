"""Picture <-> latents, and the noise at the beginning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from toy import TOY_SCALING

from sdlesson.figures.latents import figure_histograms, figure_latents, figure_round_trip, plot_histogram
from sdlesson.latents import (
    cuda_noise,
    encode,
    fit_preview,
    initial_noise,
    preview,
    psnr,
    seeded,
    to_tensor,
)
from sdlesson.loading import checks
from sdlesson.loading.errors import BadInput


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
        checks.size(*size)


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


def test_psnr_counts_decibels_below_the_peak():
    picture = torch.zeros(2, 3, 8, 8)
    other = torch.stack([torch.full((3, 8, 8), 0.2), torch.full((3, 8, 8), 0.02)])
    torch.testing.assert_close(psnr(picture, other), torch.tensor([20.0, 40.0]))
    levels = np.asarray(psnr(to_tensor(picture_of(10)), to_tensor(picture_of(30))))
    np.testing.assert_allclose(levels, 20 * np.log10(255 / 20), rtol=1e-5)  # in levels of 255 the peak is 255
    outside = psnr(torch.full((1, 3, 2, 2), 5.0), torch.full((1, 3, 2, 2), 0.8))
    torch.testing.assert_close(outside, torch.tensor([20.0]))  # cut off at white


def picture_of(level):
    return Image.new("RGB", (8, 8), (level, level, level))


def test_the_preview_finds_a_linear_rule_and_its_constant():
    latents = torch.randn(3, 4, 5, 6, generator=seeded(0))
    rule = torch.randn(5, 3, generator=seeded(1))
    colours = torch.einsum("bchw,cr->brhw", latents, rule[:4]) + rule[4].view(1, 3, 1, 1)
    pictures = colours.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)  # (3, 3, 40, 48): flat squares
    torch.testing.assert_close(fit_preview(pictures, latents), rule, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(preview(latents, rule), colours)
    fitted = fit_preview(to_tensor(picture(48, 40)).repeat(3, 1, 1, 1), latents)
    assert fitted.shape == (5, 3) and preview(latents, fitted).shape == (3, 3, 5, 6)


def test_the_gpus_noise_is_philox():
    """Seed 42's first numbers on an NVIDIA GPU, as torch.randn(..., device="cuda") prints them."""
    printed = [0.1940, 2.1614, -0.1721, 0.8491, -1.9244, 0.6530, -0.6494, -0.8175, 0.5280, -1.2753, -1.6621, -0.3033]
    ours = cuda_noise((1, 4, 3), 42)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.flatten(), torch.tensor(printed), rtol=0, atol=6e-5)
    many = cuda_noise((4, 64, 64), 2**40 + 7)
    assert abs(many.mean()) < 0.03 and abs(many.std() - 1) < 0.03
    assert not torch.equal(many, cuda_noise((4, 64, 64), 7))  # the seed's upper half counts


def test_histograms_stand_beside_the_gaussian():
    noise = torch.randn(50_000, generator=seeded(0))
    ax = plot_histogram(noise, "noise")
    outline = ax.patches[0].get_xy()  # (corners, 2): place and height
    assert len(set(outline[:, 0])) == 61 and abs(outline[:, 1].max() - 0.4) < 0.03
    assert max(ax.lines[0].get_ydata()) == pytest.approx(0.3989, abs=1e-3)
    assert ax.get_title() == "noise\n50,000 numbers, mean 0.0, std 1.0"
    fig = figure_histograms({"noise": noise, "wide": 3 * noise}, limit=9)
    assert "wide: 50000 numbers, standard deviation 3.0" in fig.words
    assert len(fig.axes) == 2 and fig.legends


def test_a_histogram_counts_what_lies_beyond_its_frame():
    noise = 14.6 * torch.randn(50_000, generator=seeded(0))
    assert plot_histogram(noise, limit=4).patches[0].get_xy()[:, 1].max() < 0.04  # 1 / (14.6 · √(2π)) is 0.027


def test_the_worst_part_may_lie_at_an_edge():
    before = Image.new("RGB", (250, 128), (100, 100, 100))
    after = before.copy()
    after.paste((160, 160, 160), (230, 100, 250, 128))
    error = next(ax for ax in figure_round_trip(before, after).axes if ax.get_title() == "how far apart")
    assert (max(error.lines[0].get_xdata()), max(error.lines[0].get_ydata())) == (250, 128)


def test_a_round_trip_frames_the_worst_part():
    before = Image.new("RGB", (64, 48), (100, 100, 100))
    after = before.copy()
    after.paste((160, 160, 160), (24, 36, 36, 48))  # lower row of parts, third column
    fig = figure_round_trip(before, after)
    error = next(ax for ax in fig.axes if ax.get_title() == "how far apart")
    assert error.images[0].get_array().max() == 60
    frame = error.lines[0]
    assert (min(frame.get_xdata()), min(frame.get_ydata())) == (24, 36)
    assert [ax.images[0].get_array().shape[:2] for ax in fig.axes if ax.get_title() in ("before", "after")] == [
        (12, 12)
    ] * 2
    assert "3 levels of 255 on average" in fig.words and "12 by 12 pixels" in fig.words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (((1, 16, 96, 128), 12), "well done"),
        ([[1, 16, 96, 128], 12.0], "well done"),
        (((16, 96, 128), 12), "four sides"),
        (((1, 16, 128, 96), 12), "rows or columns"),
        (((1, 16, 768, 1024), 12), "These are pixels"),
        (((1, 4, 96, 128), 12), "this VAE has 16"),
        (((1, 16, 95, 128), 12), "halved three times"),
        (((1, 16, 96, 128), 48), "right for 4 channels"),
        (((1, 16, 96, 128), 64), "places only"),
        (((1, 16, 96, 128), 1 / 12), "Upside down"),
        (((1, 16, 96, 128), 3), "Divide the numbers"),
        (12, "Give a pair"),
        ((12, (1, 16, 96, 128)), "Which of the two comes first?"),
        ([12.0, torch.tensor([1, 16, 96, 128])], "Which of the two comes first?"),
    ],
)
def test_exercise_other_vae(said, answer, words):
    assert words in said("latents.1", answer, height=768, width=1024, channels=16)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda z: 1 / z.std(), "well done"),
        (lambda z: 1 / z.std(unbiased=False), "well done"),
        (lambda z: (1 / z.std()).item(), "well done"),
        (lambda z: z.std(), "the standard deviation itself"),
        (lambda z: 1 / z.var(), "one over the variance"),
        (lambda z: z.var(), "That is the variance"),
        (lambda z: 1 / z.square().mean().sqrt(), "root mean square"),
        (lambda z: 1 / z.square().mean().sqrt(), "you measured from 0"),
        (lambda z: (1 / z.std(dim=(0, 2, 3))).mean(), "channels' own factors"),
        (lambda z: 1 / z.std(dim=(0, 2, 3)).mean(), "forgets that their means differ"),
        (lambda z: 1 / z[0].std(), "Only the first picture"),
        (lambda z: 1 / z[:, 0].std(), "Only the first channel"),
        (lambda z: 1 / z.std(dim=(0, 2, 3)), "gives 4 numbers"),
        (lambda z: z.mean(), "The numbers are others"),
        (lambda z: ..., "not answered yet"),
        (lambda z: None, "returns None"),
        (0.18215, "is no function"),
    ],
)
def test_exercise_measure(said, measure, words):
    assert words in said("latents.2", measure) + said("latents.2", measure)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (14.6146 * 0.13025, "well done"),
        (1.9, "well done"),
        (14.6146, "for scaled latents"),
        (112.2, "*less* strong"),
        (1 / 1.9036, "Upside down"),
        (7.68, "own standard deviation"),
        (3.624, "compares variances"),
        (1, "is about 1.90"),
        ("three", "is no number"),
        (True, "is no number"),
    ],
)
def test_exercise_unscaled_noise(said, answer, words):
    both = [said("latents.3", answer, sigma=14.6146, factor=0.13025) for _ in range(2)]
    assert words in "".join(both)


def alone(seed, shape):
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def shared(seeds, shape):
    torch.manual_seed(seeds[0])
    return torch.randn((len(seeds), *shape))


@pytest.mark.parametrize(
    ("noise_for", "words"),
    [
        (lambda seeds, shape: torch.stack([alone(seed, shape) for seed in seeds]), "well done"),
        (lambda seeds, shape: torch.cat([alone(seed, (1, *shape)) for seed in seeds]), "well done"),
        (lambda seeds, shape: alone(seeds[0], (len(seeds), *shape)), "its place in the batch"),
        (lambda seeds, shape: torch.stack([alone(seeds[0], shape)] * 3), "the first seed's"),
        (lambda seeds, shape: torch.stack([alone(seeds[-1], shape)] * 3), "the last seed's"),
        (lambda seeds, shape: torch.stack([alone(seed, shape) for seed in seeds[::-1]]), "wrong order"),
        (lambda seeds, shape: torch.cat([alone(seed, shape) for seed in seeds]), "torch.stack adds the first side"),
        (lambda seeds, shape: torch.zeros(3, *shape), "The numbers are others"),
        (shared, "changes the global generator"),
        (lambda seeds, shape: torch.randn(len(seeds), *shape), "the seeds are not used"),
        (lambda seeds, shape: torch.randn(len(seeds), *shape), "when you call it a second time"),
        (lambda seeds, shape: ..., "not answered yet"),
        (7, "is no function"),
    ],
)
def test_exercise_own_noise(said, noise_for, words):
    assert words in said("latents.4", noise_for) + said("latents.4", noise_for)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda m, v, n, f: (m + (0.5 * v).exp() * n) * f, "well done"),
        (lambda m, v, n, f: m * f + v.exp().sqrt() * n * f, "well done"),
        (lambda m, v, n, f: m + (0.5 * v).exp() * n, "factor is missing"),
        (lambda m, v, n, f: (m + (0.5 * v).exp() * n) / f, "Encoding multiplies"),
        (lambda m, v, n, f: m + (0.5 * v).exp() * n * f, "the mean is not"),
        (lambda m, v, n, f: m * f + (0.5 * v).exp() * n, "the noise is not"),
        (lambda m, v, n, f: (m + v.exp() * n) * f, "is the variance"),
        (lambda m, v, n, f: (m + v.exp() * n) * f, "What is exp(logvar)"),
        (lambda m, v, n, f: m + (0.5 * v).exp() * n, "how wide does the UNet want"),
        (lambda m, v, n, f: m * f + (0.5 * v).exp() * n, "belongs to the whole draw"),
        (lambda m, v, n, f: (m + v * n) * f, "no standard deviation"),
        (lambda m, v, n, f: (m + 0.5 * v * n) * f, "still a logarithm"),
        (lambda m, v, n, f: (v + (0.5 * m).exp() * n) * f, "changed places"),
        (lambda m, v, n, f: m * f, "`noise` is not used"),
        (lambda m, v, n, f: (0.5 * v).exp() * n * f, "The mean is missing"),
        (lambda m, v, n, f: n, "The numbers are others"),
        (lambda m, v, n, f: 0 * n, "The numbers are others"),
        (lambda m, v, n, f: (m + (0.5 * v).exp() * n) * 0.18215, "use `factor`, whatever it is"),
        (lambda m, v, n, f: (m + (0.5 * v).exp() * n) * 1.0371, "by 1.0371, where factor is 0.4"),
        (lambda m, v, n, f: torch.cat([m, v], 1), "Eight channels go in"),
        (lambda m, v, n, f: ..., "not answered yet"),
        (None, "is no function"),
    ],
)
def test_exercise_draw(said, draw, words):
    answer = draw and (lambda moments, noise, factor: draw(*moments.chunk(2, dim=1), noise, factor))
    assert words in said("latents.5", answer) + said("latents.5", answer)
