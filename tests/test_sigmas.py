"""Noise levels and K-LMS: each formula against diffusers', and against its own definition."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, LMSDiscreteScheduler
from scipy.integrate import quad

import sdlesson
from sdlesson.figures.sigmas import (
    figure_basis,
    figure_coefficients,
    figure_errors,
    figure_input_scaling,
    figure_recipe,
    figure_schedules,
    figure_sigmas,
    figure_timesteps,
    figure_ways,
)
from sdlesson.loading.errors import BadInput
from sdlesson.models import ARTICLE_SCHEDULE


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
    ours = sdlesson.sigmas.betas(beta_schedule=kind)
    abar = sdlesson.sigmas.alphas_cumprod(ours)
    np.testing.assert_allclose(ours, theirs.betas, rtol=1e-5)
    np.testing.assert_allclose(abar, theirs.alphas_cumprod, rtol=1e-4)
    np.testing.assert_allclose(sdlesson.sigmas.training_sigmas(abar), theirs.sigmas.flip(0)[1:], rtol=1e-4)


def test_no_such_schedule():
    with pytest.raises(BadInput, match="cosine"):
        sdlesson.sigmas.betas(beta_schedule="cosine")


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50, 999, 1000])
def test_inference_schedule_is_diffusers(steps):
    theirs = scheduler()
    theirs.set_timesteps(steps)
    np.testing.assert_allclose(sdlesson.sigmas.timesteps(steps), theirs.timesteps, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(sdlesson.sigmas.schedule(steps), theirs.sigmas, rtol=1e-4)


def test_the_articles_numbers():
    levels = sdlesson.sigmas.schedule(20)
    np.testing.assert_allclose(levels[:3], [14.6146, 10.7469, 8.0815], atol=1e-4)  # 10.74684, and 10.74685 in float32
    np.testing.assert_allclose(levels[-3:], [0.2322, 0.0292, 0], atol=5e-5)
    np.testing.assert_allclose(sdlesson.sigmas.timesteps(20)[:3], [999, 946.42, 893.84], atol=6e-3)
    theirs = scheduler()
    theirs.set_timesteps(20)
    assert float(theirs.init_noise_sigma) == pytest.approx(levels[0], rel=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_coefficients_are_the_integrals_by_definition(order):
    levels = sdlesson.sigmas.schedule(20)
    for i in range(20):
        ours = sdlesson.sigmas.lms_coefficients(levels, i, order)
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
        np.testing.assert_allclose(
            sdlesson.sigmas.lms_coefficients(theirs.sigmas, i, 4), expected, rtol=1e-4, atol=1e-5
        )


def test_coefficients_integrate_polynomials_exactly():
    """Order 4 integrates a cubic slope without any error, which quadrature and Euler do not promise."""
    levels = sdlesson.sigmas.schedule(12)
    cubic, integral = np.poly1d([0.3, -2, 1, 5]), np.poly1d([0.3, -2, 1, 5]).integ()
    for i in range(3, 12):
        slopes = cubic(levels[i - 3 : i + 1][::-1])
        exact = integral(levels[i + 1]) - integral(levels[i])
        assert sdlesson.sigmas.lms_coefficients(levels, i, 4) @ slopes == pytest.approx(exact, rel=1e-9)


def test_order_one_is_euler():
    levels = sdlesson.sigmas.schedule(10)
    x, slope = np.array([3.0, -1.0]), np.array([0.5, 2.0])
    by_lms = sdlesson.sigmas.lms_step(x, [slope], sdlesson.sigmas.lms_coefficients(levels, 6, 1))
    np.testing.assert_allclose(by_lms, sdlesson.sigmas.euler_step(x, slope, levels[6], levels[7]))


@pytest.mark.parametrize(("i", "order"), [(-1, 4), (20, 4), (3, 0)])
def test_steps_that_do_not_exist(i, order):
    with pytest.raises(BadInput, match="no step"):
        sdlesson.sigmas.lms_coefficients(sdlesson.sigmas.schedule(20), i, order)


def test_equal_sigmas_have_no_lagrange_polynomial():
    with pytest.raises(BadInput, match="two are equal"):
        sdlesson.sigmas.lms_coefficients([3.0, 2.0, 2.0, 1.0], 2, 4)
    assert sdlesson.sigmas.lms_coefficients([3.0, 2.0, 2.0, 1.0], 1, 4) == pytest.approx([0, 0])  # a step of no length


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
        scaled = sdlesson.sigmas.scale_input(x, levels[i])
        torch.testing.assert_close(scaled, theirs.scale_model_input(y, t))
        output = dummy_unet(scaled, i)
        original = sdlesson.sigmas.pred_original(x, output, levels[i], kind)
        slopes.insert(0, sdlesson.sigmas.derivative(x, original, levels[i]))
        x = sdlesson.sigmas.lms_step(x, slopes[:order], sdlesson.sigmas.lms_coefficients(levels, i, order))
        result = theirs.step(dummy_unet(theirs.scale_model_input(y, t), i), t, y, order=order)
        torch.testing.assert_close(original, result.pred_original_sample, rtol=1e-4, atol=1e-4)
        y = result.prev_sample
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def test_no_such_prediction_type():
    with pytest.raises(BadInput, match="flow"):
        sdlesson.sigmas.pred_original(1.0, 1.0, 1.0, "flow")


def test_sigma_is_noise_over_picture():
    """x = x0 + sigma * noise is DDPM's noisy picture, divided by sqrt(abar)."""
    ddpm = DDPMScheduler(**ARTICLE_SCHEDULE)
    x0, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = 700
    sigma = sdlesson.sigmas.training_sigmas(sdlesson.sigmas.alphas_cumprod(sdlesson.sigmas.betas()))[t]
    theirs = ddpm.add_noise(x0, noise, torch.tensor([t]))
    torch.testing.assert_close(
        sdlesson.sigmas.scale_input(x0 + float(sigma) * noise, float(sigma)), theirs, rtol=1e-4, atol=1e-5
    )


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
    fig = figure_sigmas(SimpleNamespace(sigmas=sigmas))
    np.testing.assert_array_equal(fig.axes[0].lines[0].get_ydata(), sigmas)
    assert "4 noise levels" in fig.words and "14.00" in fig.words


def by_many_numbers(x, sigma, near=0.05):
    """The mean of the clean numbers of two hills that may be behind a noisy x, by drawing a great many."""
    rng = np.random.default_rng(0)
    clean = rng.choice([-1.0, 1.0], size=500_000) + 0.2 * rng.standard_normal(500_000)
    return clean[abs(clean + sigma * rng.standard_normal(clean.shape) - x) < near].mean()


@pytest.mark.parametrize(("x", "sigma"), [(0.4, 1.0), (-1.5, 0.5), (3.0, 4.0)])
def test_two_hills_is_the_mean_of_what_may_be_behind(x, sigma):
    assert sdlesson.sigmas.two_hills(x, sigma) == pytest.approx(by_many_numbers(x, sigma), abs=0.03)


def test_two_hills_far_out_and_at_the_ends():
    xs = np.array([[-1e3, 0.0], [0.3, 1e3]])
    assert sdlesson.sigmas.two_hills(xs, 2.0).shape == (2, 2)
    assert np.isfinite(sdlesson.sigmas.two_hills(xs, 0.001)).all()
    assert sdlesson.sigmas.two_hills(0.0, 5.0) == pytest.approx(0)
    np.testing.assert_allclose(sdlesson.sigmas.two_hills(xs, 1e-9), xs)  # without noise, what is seen is what is
    assert sdlesson.sigmas.two_hills(2.5, 3.0, centres=(2.0, 2.0), std=0) == pytest.approx(2)


def test_a_walk_of_order_one_is_eulers():
    levels, x = sdlesson.sigmas.schedule(6), np.array([10.0, -3.0, 0.5])
    walked = sdlesson.sigmas.sample_lms(sdlesson.sigmas.two_hills, x, levels, order=1)
    assert len(walked) == len(levels) and walked[0] is x
    for i, here in enumerate(walked[:-1]):
        slope = sdlesson.sigmas.derivative(here, sdlesson.sigmas.two_hills(here, levels[i]), levels[i])
        np.testing.assert_allclose(walked[i + 1], sdlesson.sigmas.euler_step(here, slope, levels[i], levels[i + 1]))


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_walk_is_diffusers(order):
    theirs = scheduler()
    theirs.set_timesteps(8)
    x = torch.randn(5, generator=torch.Generator().manual_seed(0)).double() * theirs.init_noise_sigma
    ours = sdlesson.sigmas.sample_lms(lambda x, sigma: torch.tanh(x / (1 + sigma)), x, theirs.sigmas.tolist(), order)
    for t, sigma in zip(theirs.timesteps, theirs.sigmas, strict=False):
        theirs.scale_model_input(x, t)
        x = theirs.step((x - torch.tanh(x / (1 + sigma))) / sigma, t, x, order=order).prev_sample
    torch.testing.assert_close(ours[-1], x, rtol=1e-4, atol=1e-4)


def test_no_way_overtakes_another():
    x = np.linspace(-30, 30, 41)
    end = sdlesson.sigmas.sample_lms(sdlesson.sigmas.two_hills, x, sdlesson.sigmas.schedule(300), order=1)[-1]
    assert (np.diff(end) > 0).all() and (np.sign(end) == np.sign(x)).sum() >= 40


# The figures: that they show the numbers they were given, and say so.


@pytest.fixture(scope="module")
def course():
    """betas, abar, sigmas of the training."""
    beta = sdlesson.sigmas.betas()
    abar = sdlesson.sigmas.alphas_cumprod(beta)
    return beta, abar, sdlesson.sigmas.training_sigmas(abar)


def drawn(fig):
    """The figure, laid out and rendered once, as a notebook would."""
    kind, file = fig.render()
    assert kind == "image/png" and file.startswith(b"\x89PNG")
    return fig


def test_figure_recipe_draws_the_three_curves(course):
    fig = drawn(figure_recipe(*course))
    for ax, values in zip(fig.axes, course, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), values)
    assert "0.00085 to 0.0120" in fig.words and "14.61" in fig.words


def test_figure_schedules_tells_where_noise_overtakes(course):
    fig = drawn(figure_schedules({"one": course[2], "other": 2 * course[2]}))
    assert fig.axes[0].get_yscale() == "log"
    first = int(np.argmax(course[2] > 1))
    assert f"one at step {first}" in fig.words and f"other at step {first}" not in fig.words
    assert [each.get_text() for each in fig.axes[0].get_legend().get_texts()] == [
        "one (ends at 14.6)",
        "other (ends at 29.2)",
    ]


def test_figure_timesteps_puts_the_steps_on_the_curve(course):
    times, levels = sdlesson.sigmas.timesteps(20), sdlesson.sigmas.schedule(20)[:-1]
    fig = drawn(figure_timesteps(course[2], times, levels))
    np.testing.assert_array_equal(fig.axes[0].lines[1].get_xdata(), times)
    assert list(fig.axes[1].lines[1].get_xdata()) == [946, 947]
    assert "946.42" in fig.words and "10.747" in fig.words


def test_figure_input_scaling_draws_both_curves():
    fig = drawn(figure_input_scaling([10, 1, 0.1], [10.05, 1.4, 1.0], [1.0, 0.9, 1.1]))
    assert [list(line.get_ydata()) for line in fig.axes[0].lines[:2]] == [[10.05, 1.4, 1.0], [1.0, 0.9, 1.1]]
    assert "from 1.0 to 10.1" in fig.words and "between 0.9 and 1.1" in fig.words


@pytest.mark.parametrize("panels", [1, 2])
def test_figure_ways_tells_where_they_end(panels):
    way = [np.array([5.0, -4.0, 1.0]), np.array([2.0, -2.0, 0.5]), np.array([1.0, -1.0, 0.2])]
    fig = drawn(figure_ways({f"way\n{k}": ([4.0, 1.0, 0.0], way) for k in range(panels)}))
    assert len(fig.axes) == panels and all(len(ax.lines) == 3 + 1 for ax in fig.axes)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["ends above 0", "ends below 0"]
    np.testing.assert_allclose(fig.axes[0].lines[0].get_ydata(), [5 / 17**0.5, 2 / 2**0.5, 1])
    assert fig.axes[0].lines[0].get_color() == fig.axes[0].lines[1].get_color() != fig.axes[0].lines[2].get_color()
    assert fig.axes[0].xaxis_inverted() and 0 not in fig.axes[0].lines[0].get_xdata()
    assert "way 0, 2 of 3 end above 0, 1 between -0.6 and 0.6" in fig.words
    assert list(fig.axes[0].lines[0].get_xdata()) == [4, 1, 0.5]  # 0 stands at half the level before it ...
    assert list(fig.axes[0].lines[-1].get_xdata()) == [0.5, 0.5] and "σ = 0" in fig.axes[0].texts[0].get_text()


@pytest.mark.parametrize(("i", "order", "known"), [(6, 4, 4), (1, 4, 2), (0, 4, 1), (6, 1, 1)])
def test_figure_basis_draws_a_polynomial_for_each_past_sigma(i, order, known):
    levels = sdlesson.sigmas.schedule(20)
    slopes = np.array([0.5, -0.25, 1.0, 0.75])[:known]
    fig = drawn(figure_basis(levels, i, slopes, order))
    left, right = fig.axes
    assert (f"{known} polynomials, each" if known > 1 else "one polynomial, which is 1 everywhere") in fig.words
    assert f"Step {i}," in fig.words
    assert len(left.get_legend().get_texts()) == known
    assert len(left.child_axes) == (known == 4)  # the oldest of four once more, enlarged
    if known == 4:
        assert len(left.child_axes[0].get_xticklabels()) == 2
        np.testing.assert_array_equal(
            left.child_axes[0].lines[0].get_ydata(),
            left.lines[6].get_ydata()[: len(left.child_axes[0].lines[0].get_ydata())],
        )
    curve = next(line for line in right.lines if line.get_label().startswith("curve"))
    area = np.trapezoid(
        curve.get_ydata()[curve.get_xdata() <= levels[i]], curve.get_xdata()[curve.get_xdata() <= levels[i]]
    )
    step = sdlesson.sigmas.lms_step(0.0, slopes, sdlesson.sigmas.lms_coefficients(levels, i, order))
    assert area == pytest.approx(-step, rel=0.05)  # the shaded area is how far x moves; sigma falls


def test_figure_coefficients_draws_every_weight():
    levels = sdlesson.sigmas.schedule(10)
    fig = drawn(figure_coefficients(levels, 3))
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert len(heights) == 1 + 2 + 8 * 3
    assert sum(heights) == pytest.approx(10)  # each step's add up to 1
    middles = [bar.get_x() + bar.get_width() / 2 for bar in fig.axes[0].patches]
    for step in range(10):  # the bars of each step stand around its tick
        assert np.mean([x for x in middles if abs(x - step) < 0.5]) == pytest.approx(step)
    assert "up to 3" in fig.words


@pytest.mark.parametrize("steps, order, most", [(1, 4, 1), (10, 1, 1), (2, 4, 2), (100, 4, 4)])
def test_figure_coefficients_names_the_bars_that_are_there(steps, order, most):
    fig = drawn(figure_coefficients(sdlesson.sigmas.schedule(steps), order))
    ax = fig.axes[0]
    assert len(ax.get_legend().get_texts()) == most
    ticks = [tick for tick in ax.get_xticks() if -0.5 < tick < steps]
    assert len(ticks) <= 25 and all(float(tick).is_integer() for tick in ticks)
    assert ("of changing sign" in fig.words) == (most == 4) and "-0.00" not in fig.words


@pytest.mark.parametrize("figure", [figure_coefficients, lambda levels, order: figure_basis(levels, 5, [1] * 5, order)])
def test_figures_of_k_lms_have_colours_for_four_slopes(figure):
    with pytest.raises(BadInput, match="order must be a whole number from 1 to 4, not 5"):
        figure(sdlesson.sigmas.schedule(20), 5)


def test_figure_sigmas_counts_many_steps_and_needs_noise_levels():
    many = drawn(figure_sigmas(SimpleNamespace(sigmas=torch.arange(1000, -1, -1)))).axes[0]
    assert len(many.get_xticks()) < 20
    with pytest.raises(BadInput, match="a scheduler with noise levels, not DDIMScheduler"):
        figure_sigmas(DDIMScheduler())


@pytest.mark.parametrize(
    "second, told", [(888.0, "888.00, lies on 888;"), (946.42, "946.42, lies between 946 and 947")]
)
def test_figure_timesteps_tells_where_the_second_step_lies(second, told):
    fig = figure_timesteps(np.linspace(0.1, 14, 1000), [999.0, second, 0.0], [14.0, 10.0, 0.1])
    assert told in fig.words


def test_figure_errors_tells_each_error_with_its_count():
    fig = figure_errors({"order 1": {3: 0.44, 24: 0.0261}, "order 2": {6: 0.00071}})
    assert fig.words.endswith("order 1: 0.44 at 3, 0.03 at 24; order 2: 0.0007 at 6.")


def test_figure_errors_takes_curves_of_different_lengths():
    fig = drawn(figure_errors({"order 1": {5: 0.2, 10: 0.1, 20: 0.05}, "order 4": {5: 0.1, 10: 0.01}}))
    assert [list(line.get_xdata()) for line in fig.axes[0].lines] == [[5, 10, 20], [5, 10]]
    assert "order 1: 0.2 at 5, 0.1 at 10, 0.05 at 20; order 4: 0.1 at 5, 0.01 at 10." in fig.words


# The judges of the lesson on sigmas.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((1, 0.5), "well done"),
        ([1.0, 0.5], "well done"),
        (1, "not a pair"),
        ((1, "half"), "not a pair"),
        ((0.5, 1), "other way round"),
        ((0.5, 0.5), "times as strong"),
        ((1, 0.707), "share of the variance"),
        ((1, 0.25), "of noise beside"),
    ],
)
def test_equally_strong(said, answer, words):
    assert words in said("sigmas.1", answer) + said("sigmas.1", answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (999 - 999 / 49, "well done"),
        (978.61, "well done"),
        ("979", "no number"),
        (True, "no number"),
        (979.02, "one gap fewer"),
        (980, "one less than"),
        (979.59, "start one lower"),
        (20.39, "counted from 0"),
        (999, "first timestep"),
        (958.22, "third timestep"),
        (979, "Rounded to a whole number"),
        (978.6, "Give two digits"),
        (500, "Work out one gap"),
    ],
)
def test_second_timestep(said, answer, words):
    assert words in said("sigmas.2", answer) + said("sigmas.2", answer)


def test_a_step_to_the_wrong_side_gets_its_own_hint(said):
    hint = said("sigmas.3", lambda x, d, s, n: x - (x - d) / s * (n - s))
    assert "to more noise, or to less?" in hint and "Two lines" not in hint
    assert "by sigma_next − sigma = -1.8" in said("sigmas.3", lambda x, d, s, n: x + (x - d) / s * (s - n))


@pytest.mark.parametrize(
    ("euler", "words"),
    [
        (sdlesson.sigmas.euler_step, "for the slope; it is a picture"),
        (lambda x, d, s, n: x.sum(), "The result is not"),
        (lambda x, d, s, n: x + wrong, "Your function raises NameError"),  # noqa: F821
        (lambda x, d, s, n: x + (x - d) / s * (n - s), "well done"),
        (lambda x, d, s, n: d + n * (x - d) / s, "well done"),
        (lambda x, d, s, n: x + (x - d) / s * (s - n), "Yours moves x to more noise"),
        (lambda x, d, s, n: x + (x - d) * (n - s), "not divided"),
        (lambda x, d, s, n: x + (x - d) / n * (n - s), "divide by the next"),
        (lambda x, d, s, n: d, "all the way"),
        (lambda x, d, s, n: x + (x - d) / s * n, "multiply by the next"),
        (lambda x, d, s, n: (x - d) / s * (n - s), "the step alone"),
        (lambda x, d, s, n: x, "The result is not"),
        (lambda x, d, s, n: ..., "not answered yet"),
        (lambda x, d, s, n: None, "returns None"),
        (3, "is no function"),
    ],
)
def test_euler(said, euler, words):
    assert words in said("sigmas.3", euler) + said("sigmas.3", euler)


def right_weights(before, now, after):
    return tuple(sdlesson.sigmas.lms_coefficients([before, now, after], 1, 2))


def test_two_right_weights_in_the_wrong_order_get_their_own_hint(said):
    hint = said("sigmas.4", lambda b, n, a: right_weights(b, n, a)[::-1])
    assert "Both numbers are right" in hint and "Try before" not in hint


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (right_weights, "well done"),
        (lambda b, n, a: right_weights(b, n, a)[::-1], "newest slope's weight comes first"),
        (lambda b, n, a: (1.5 * (a - n), -0.5 * (a - n)), "only where both steps"),
        (lambda b, n, a: [-each for each in right_weights(b, n, a)], "from after to now"),
        (lambda b, n, a: (a - n, 0), "That is Euler"),
        (lambda b, n, a: (a - n + right_weights(b, n, a)[1], -right_weights(b, n, a)[1]), "sign of the old weight"),
        (lambda b, n, a: (a - n - (a - n) ** 2 / (b - n), (a - n) ** 2 / (b - n)), "the 2 is missing"),
        (lambda b, n, a: (a - n - (a - n) ** 2 / 2, (a - n) ** 2 / 2), "over (before − now): divide by that"),
        (lambda b, n, a: (-4, 2), "must add up"),
        (lambda b, n, a: (1, 1), "must add up"),
        (lambda b, n, a: (a - n - 0.5, 0.5), "The old weight is"),
        (lambda b, n, a: (1, 2, 3), "3 weights"),
        (lambda b, n, a: ..., "not answered yet"),
        (lambda b, n, a: None, "returns None"),
        ((1, 2), "is no function"),
    ],
)
def test_two_weights(said, weights, words):
    assert words in said("sigmas.4", weights) + said("sigmas.4", weights)


def loop(*, fresh=True, first=True, scale=True, index=False, prev=True):
    """A learner's loop, with lines left out."""

    def walk(scheduler, noise, guess, steps):
        if fresh:
            scheduler.set_timesteps(steps)
        x = noise * scheduler.init_noise_sigma if first else noise
        for t in range(steps) if index else scheduler.timesteps:
            result = scheduler.step(guess(scheduler.scale_model_input(x, t) if scale else x, t), t, x)
            x = result.prev_sample if prev else result.pred_original_sample
        return x

    return walk


def written_back(scheduler, noise, guess, steps):
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.scale_model_input(x, t)
        x = scheduler.step(guess(x, t), t, x).prev_sample
    return x


def returns_early(scheduler, noise, guess, steps):
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(guess(scheduler.scale_model_input(x, t), t), t, x).prev_sample
        return x


def reads_too_far(scheduler, noise, guess, steps):
    scheduler.set_timesteps(steps)
    return noise * [scheduler.timesteps[i + 1] for i in range(steps)][0]


@pytest.mark.parametrize(
    ("walk", "words"),
    [
        (loop(), "well done"),
        (reads_too_far, "Which line does it?"),  # an IndexError that is none of the scheduler's
        (loop(fresh=False), "IndexError"),
        (loop(fresh=False), "without set_timesteps it goes on where it stopped"),
        (loop(fresh=False), "see (a), (b), (c) in the table"),
        (written_back, "written back to the latents"),
        (returns_early, "Look where `return` stands"),
        (loop(index=True), "IndexError"),
        (loop(first=False), "Times what?"),
        (loop(scale=False), "input unscaled"),
        (loop(first=False, scale=False), "noise alone, and the UNet"),
        (loop(prev=False), "the next latents are prev_sample"),
        (lambda *given: ..., "not answered yet"),
        (lambda *given: None, "returns None"),
        (lambda *given: 3, "take its prev_sample"),
        ("walk", "is no function"),
    ],
)
def test_mended_loop(said, toy, walk, words):
    assert words in said("sigmas.5", walk, sd=toy) + said("sigmas.5", walk, sd=toy)


def test_levels_in_the_reverse_order_are_not_upside_down(said):
    assert "Which level belongs to which ᾱ?" in said("sigmas.7", lambda abar: ((1 - abar) / abar).sqrt().flip(0))
    assert "Which is divided by which?" in said("sigmas.7", lambda abar: (abar / (1 - abar)).sqrt())
