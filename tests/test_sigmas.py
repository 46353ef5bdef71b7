"""Noise levels and K-LMS: each formula against diffusers', and against its own definition."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, LMSDiscreteScheduler
from scipy.integrate import quad

from sdlesson import sigmas as room
from sdlesson.models import ARTICLE_SCHEDULE, BadInput


def scheduler(**config):
    return LMSDiscreteScheduler(**ARTICLE_SCHEDULE | config)


def by_definition(sigmas, i, order, back):
    """What the K-LMS weight is: the integral of the Lagrange polynomial of one past sigma over the coming step."""
    past = [sigmas[i - j] for j in range(order)]

    def lagrange(sigma):
        return math.prod((sigma - other) / (past[back] - other) for j, other in enumerate(past) if j != back)

    return quad(lagrange, sigmas[i], sigmas[i + 1], epsrel=1e-12)[0]


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_the_training_schedule_is_diffusers(kind):
    theirs = scheduler(beta_schedule=kind)
    ours = room.betas(beta_schedule=kind)
    abar = room.alphas_cumprod(ours)
    np.testing.assert_allclose(ours, theirs.betas, rtol=1e-5)
    np.testing.assert_allclose(abar, theirs.alphas_cumprod, rtol=1e-4)
    np.testing.assert_allclose(room.training_sigmas(abar), theirs.sigmas.flip(0)[1:], rtol=1e-4)


def test_no_such_schedule():
    with pytest.raises(BadInput, match="cosine"):
        room.betas(beta_schedule="cosine")


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50, 999, 1000])
def test_inference_schedule_is_diffusers(steps):
    theirs = scheduler()
    theirs.set_timesteps(steps)
    np.testing.assert_allclose(room.timesteps(steps), theirs.timesteps, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(room.schedule(steps), theirs.sigmas, rtol=1e-4)


def test_the_articles_numbers():
    levels = room.schedule(20)
    np.testing.assert_allclose(levels[:3], [14.6146, 10.7469, 8.0815], atol=1e-4)  # 10.74684, and 10.74685 in float32
    np.testing.assert_allclose(levels[-3:], [0.2322, 0.0292, 0], atol=5e-5)
    np.testing.assert_allclose(room.timesteps(20)[:3], [999, 946.42, 893.84], atol=6e-3)
    theirs = scheduler()
    theirs.set_timesteps(20)
    assert float(theirs.init_noise_sigma) == pytest.approx(levels[0], rel=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_coefficients_are_the_integrals_by_definition(order):
    levels = room.schedule(20)
    for i in range(20):
        ours = room.lms_coefficients(levels, i, order)
        used = min(order, i + 1)
        assert ours.shape == (used,)
        assert ours.dtype == np.float64
        expected = [by_definition(levels, i, used, back) for back in range(used)]
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
        assert ours.sum() == pytest.approx(levels[i + 1] - levels[i])


@pytest.mark.parametrize("karras", [False, True])
def test_coefficients_are_diffusers(karras):
    theirs = scheduler(use_karras_sigmas=karras)
    theirs.set_timesteps(20)
    for i in range(20):
        order = min(i + 1, 4)
        expected = [theirs.get_lms_coefficient(order, i, back) for back in range(order)]
        np.testing.assert_allclose(room.lms_coefficients(theirs.sigmas, i, 4), expected, rtol=1e-4, atol=1e-5)


def test_coefficients_integrate_polynomials_exactly():
    """Order 4 integrates a cubic slope without any error, which quadrature and Euler do not promise."""
    levels = room.schedule(12)
    cubic, integral = np.poly1d([0.3, -2, 1, 5]), np.poly1d([0.3, -2, 1, 5]).integ()
    for i in range(3, 12):
        slopes = cubic(levels[i - 3 : i + 1][::-1])
        exact = integral(levels[i + 1]) - integral(levels[i])
        assert room.lms_coefficients(levels, i, 4) @ slopes == pytest.approx(exact, rel=1e-9)


def test_order_one_is_euler():
    levels = room.schedule(10)
    x, slope = np.array([3.0, -1.0]), np.array([0.5, 2.0])
    by_lms = room.lms_step(x, [slope], room.lms_coefficients(levels, 6, 1))
    np.testing.assert_allclose(by_lms, room.euler_step(x, slope, levels[6], levels[7]))


@pytest.mark.parametrize(("i", "order"), [(-1, 4), (20, 4), (3, 0)])
def test_steps_that_do_not_exist(i, order):
    with pytest.raises(BadInput, match="no step"):
        room.lms_coefficients(room.schedule(20), i, order)


def test_equal_sigmas_have_no_lagrange_polynomial():
    with pytest.raises(BadInput, match="two are equal"):
        room.lms_coefficients([3.0, 2.0, 2.0, 1.0], 2, 4)
    assert room.lms_coefficients([3.0, 2.0, 2.0, 1.0], 1, 4) == pytest.approx([0, 0])  # a step of no length


def dummy_unet(x, number):
    """Any smooth function of the latents will do."""
    return torch.tanh(x * 0.7 + 0.1 * number)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("order", [1, 4])
def test_a_whole_run_is_diffusers(kind, order):
    """scale_input, pred_original, derivative and lms_step together against LMSDiscreteScheduler, all three types."""
    theirs = scheduler(prediction_type=kind)
    theirs.set_timesteps(8)
    levels = theirs.sigmas.tolist()
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * theirs.init_noise_sigma
    y, slopes = x, []
    for i, t in enumerate(theirs.timesteps):
        scaled = room.scale_input(x, levels[i])
        torch.testing.assert_close(scaled, theirs.scale_model_input(y, t))
        output = dummy_unet(scaled, i)
        original = room.pred_original(x, output, levels[i], kind)
        slopes.insert(0, room.derivative(x, original, levels[i]))
        x = room.lms_step(x, slopes[:order], room.lms_coefficients(levels, i, order))
        result = theirs.step(dummy_unet(theirs.scale_model_input(y, t), i), t, y, order=order)
        torch.testing.assert_close(original, result.pred_original_sample, rtol=1e-4, atol=1e-4)
        y = result.prev_sample
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def test_no_such_prediction_type():
    with pytest.raises(BadInput, match="flow"):
        room.pred_original(1.0, 1.0, 1.0, "flow")


def test_sigma_is_noise_over_picture():
    """x = x0 + sigma * noise is DDPM's noisy picture, divided by sqrt(abar)."""
    ddpm = DDPMScheduler(**ARTICLE_SCHEDULE)
    x0, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = 700
    sigma = room.training_sigmas(room.alphas_cumprod(room.betas()))[t]
    theirs = ddpm.add_noise(x0, noise, torch.tensor([t]))
    torch.testing.assert_close(room.scale_input(x0 + float(sigma) * noise, float(sigma)), theirs, rtol=1e-4, atol=1e-5)


# What surprises those who drive LMSDiscreteScheduler by hand; the lessons tell of these, so they must stay true.


def started(steps=10):
    theirs = scheduler()
    theirs.set_timesteps(steps)
    return theirs, torch.ones(1, 4, 2, 2)


def test_a_loop_index_is_taken_for_a_timestep():
    theirs, x = started()
    with pytest.raises(IndexError):
        for i in range(10):
            x = theirs.step(x, i, theirs.scale_model_input(x, i)).prev_sample


def test_stepping_twice_at_one_timestep_spoils_the_history():
    once, x = started()
    twice, _ = started()
    t = once.timesteps[0]
    once.scale_model_input(x, t)
    twice.scale_model_input(x, t)
    expected = once.step(x, t, x).prev_sample
    torch.testing.assert_close(twice.step(x, t, x).prev_sample, expected)
    assert not torch.allclose(twice.step(x, t, x).prev_sample, expected)
    twice.set_timesteps(10)  # a fresh start
    twice.scale_model_input(x, t)
    torch.testing.assert_close(twice.step(x, t, x).prev_sample, expected)


def test_sigmas_fall_as_they_were_given():
    sigmas = torch.tensor([14.0, 5.0, 1.0, 0.0])
    fig = room.figure_sigmas(SimpleNamespace(sigmas=sigmas))
    np.testing.assert_array_equal(fig.axes[0].lines[0].get_ydata(), sigmas)
    assert "4 noise levels" in fig.words and "14.00" in fig.words
