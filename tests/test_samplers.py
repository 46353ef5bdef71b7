"""The samplers: each equal to diffusers' scheduler, on a world whose denoiser is a formula and on the toy's UNet."""

from __future__ import annotations

import dataclasses
import inspect
from functools import partial

import diffusers
import numpy as np
import pytest
import torch
from toy import SCHEDULE

from sdlesson import samplers
from sdlesson.figures.samplers import STYLES, figure_errors, figure_levels
from sdlesson.guidance import denoise
from sdlesson.latents import initial_noise, seeded
from sdlesson.loading.errors import BadInput
from sdlesson.models import ARTICLE_SCHEDULE
from sdlesson.sigmas import sample_lms, schedule

PROMPT = "a photograph of an astronaut riding a horse"
SAMPLERS = [samplers.euler, samplers.heun, samplers.lms, samplers.dpmpp_2m, samplers.ddim, samplers.euler_ancestral]
SPREADS = torch.linspace(0.5, 2, 48, dtype=torch.float64)


def hill(x, sigma):
    """A denoiser that is a formula, curved in x as well."""
    return samplers.one_hill(x, sigma, 0.8) + 0.3 * torch.tanh(x / (1 + sigma))


def run_scheduler(scheduler, denoiser, noise, steps, generator=None):
    """diffusers' latents and sigmas; schedulers of strength 1 (DDIM, DPM++) see z = x / sqrt(sigma^2 + 1)."""
    scheduler.set_timesteps(steps)
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is None:  # DDIM counts in abar
        abar = scheduler.alphas_cumprod[scheduler.timesteps]
        sigmas = torch.cat([((1 - abar) / abar).sqrt(), torch.zeros(1)])
    small = float(scheduler.init_noise_sigma) == 1.0
    x = noise * (float(sigmas[0]) / (float(sigmas[0]) ** 2 + 1) ** 0.5 if small else float(sigmas[0]))
    takes = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for sigma, t in zip(sigmas.tolist(), scheduler.timesteps, strict=False):
        full = x * (sigma**2 + 1) ** 0.5 if small else x
        scheduler.scale_model_input(x, t)
        x = scheduler.step((full - denoiser(full, sigma)) / sigma, t, x, return_dict=False, **takes)[0]
    return x, sigmas


PAIRS = {
    "euler": (samplers.euler, diffusers.EulerDiscreteScheduler, {}),
    "euler, Karras": (samplers.euler, diffusers.EulerDiscreteScheduler, {"use_karras_sigmas": True}),
    "heun": (samplers.heun, diffusers.HeunDiscreteScheduler, {}),
    "lms": (samplers.lms, diffusers.LMSDiscreteScheduler, {}),
    "dpmpp_2m": (samplers.dpmpp_2m, diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m, Karras": (samplers.dpmpp_2m, diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "ddim": (samplers.ddim, diffusers.DDIMScheduler, {"clip_sample": False}),
    "ddim is euler": (samplers.euler, diffusers.DDIMScheduler, {"clip_sample": False}),
}


@pytest.mark.parametrize("steps", [3, 8, 25])
@pytest.mark.parametrize("name", PAIRS)
def test_each_sampler_is_diffusers(name, steps):
    """To 1e-3 of the largest number: diffusers keeps its levels and coefficients in float32."""
    sampler, kind, options = PAIRS[name]
    noise = torch.randn(2, 4, 6, 6, generator=seeded(3))
    theirs, sigmas = run_scheduler(kind(**SCHEDULE, **options), hill, noise, steps)
    levels = list(dict.fromkeys(sigmas.tolist()))  # Heun's scheduler lists each level twice
    assert len(levels) == steps + 1
    ours = samplers.end(sampler(hill, noise * levels[0], levels))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize("steps", [3, 25])
def test_ancestral_is_diffusers_with_the_same_generator(steps):
    noise = torch.randn(2, 4, 6, 6, generator=seeded(3))
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**SCHEDULE)
    theirs, sigmas = run_scheduler(scheduler, hill, noise, steps, seeded(5))
    ours = samplers.end(samplers.euler_ancestral(hill, noise * sigmas[0], sigmas.tolist(), seeded(5)))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    others = samplers.end(samplers.euler_ancestral(hill, noise * sigmas[0], sigmas.tolist(), seeded(6)))
    assert (others - ours).abs().max() > 0.1


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_order_of_lms_is_diffusers(order):
    noise = torch.randn(1, 4, 6, 6, generator=seeded(3))
    scheduler = diffusers.LMSDiscreteScheduler(**SCHEDULE)
    scheduler.step = partial(scheduler.step, order=order)
    theirs, sigmas = run_scheduler(scheduler, hill, noise, 12)
    way = list(samplers.lms(hill, noise * sigmas[0], sigmas.tolist(), order))
    torch.testing.assert_close(way[-1], theirs, rtol=1e-3, atol=1e-3)
    for ours, also in zip(way, sample_lms(hill, noise * sigmas[0], sigmas.tolist(), order)[1:], strict=True):
        torch.testing.assert_close(ours, also)
    if order == 1:
        torch.testing.assert_close(way[-1], samplers.end(samplers.euler(hill, noise * sigmas[0], sigmas.tolist())))


def test_lms_that_lands_ends_with_one_slope():
    x, sigmas = torch.ones(3, dtype=torch.float64), schedule(8).tolist()
    plain, landed = (list(samplers.lms(hill, x, sigmas, 4, land=land)) for land in (False, True))
    for ours, also in zip(plain[:5], landed[:5], strict=True):  # five steps with four slopes or all that there are
        torch.testing.assert_close(ours, also)
    torch.testing.assert_close(landed[-1], hill(landed[-2], sigmas[-2]))  # Euler's step to 0 ends at the guess
    assert not torch.allclose(plain[-1], landed[-1], rtol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda each: each.__name__)
def test_a_sampler_is_short_and_comes_to_every_level(sampler):
    assert len(inspect.getsource(sampler).splitlines()) <= 20
    x = torch.ones(5)
    assert len(list(sampler(hill, x, schedule(6).tolist()))) == 6
    torch.testing.assert_close(x, torch.ones(5))  # nothing is changed in place
    ends = [samplers.end(sampler(hill, x, schedule(6).tolist(), **again)) for again in twice(sampler)]
    torch.testing.assert_close(*ends)  # and nothing is remembered from run to run


def twice(sampler):
    """The options of two equal runs."""
    return [{"generator": seeded(1)} if sampler is samplers.euler_ancestral else {} for _ in range(2)]


def test_a_perfect_guess_is_found_by_every_sampler():
    target = torch.linspace(-1, 1, 7)
    for sampler in SAMPLERS:
        way = sampler(lambda x, sigma: target, 14 * torch.ones(7), schedule(9).tolist())
        torch.testing.assert_close(samplers.end(way), target, rtol=1e-4, atol=1e-4)


def test_calls_of_the_denoiser():
    asked = []

    def counted(x, sigma):
        asked.append(sigma)
        return hill(x, sigma)

    for sampler, calls in zip(SAMPLERS, (10, 19, 10, 10, 10, 10), strict=True):
        asked.clear()
        samplers.end(sampler(counted, torch.ones(3), schedule(10).tolist()))
        assert len(asked) == calls and min(asked) > 0


def orders(sigmas, start=80, stop=320):
    """The measured order of each sampler in the world of one hill, from level to level; its end is known on paper."""
    x = torch.randn(48, generator=seeded(0), dtype=torch.float64)
    found = {}
    for name, sampler in (*((each.__name__, each) for each in SAMPLERS[:4]), ("lms 2", partial(samplers.lms, order=2))):
        errors = []
        for n in (start, stop):
            levels = sigmas(n + 1)[:-1].tolist()  # without the step to 0, which is the same for all n
            way = sampler(partial(samplers.one_hill, std=SPREADS), x * levels[0], levels)
            truth = samplers.one_hill_way(x * levels[0], levels[0], levels[-1], SPREADS)
            errors.append(samplers.error(samplers.end(way), truth))
        found[name] = samplers.fitted_order((start, stop), errors)
    return found


def test_orders_are_those_of_the_papers():
    found = orders(samplers.karras_sigmas)
    assert found["euler"] == pytest.approx(1, abs=0.05)
    for name in ("heun", "dpmpp_2m", "lms 2"):
        assert found[name] == pytest.approx(2, abs=0.07)
    assert found["lms"] > 2.5  # 4 in its middle; its first steps know fewer slopes
    assert orders(schedule)["dpmpp_2m"] < 1.9  # its steps are even in log sigma, the default levels are not


def test_one_hill_is_the_mean_and_its_way_solves_the_equation():
    generator = torch.Generator().manual_seed(0)
    data = 0.7 * torch.randn(400_000, generator=generator)
    noisy = data + 1.5 * torch.randn(400_000, generator=generator)
    near = data[(noisy - 1).abs() < 0.05].mean()
    assert float(near) == pytest.approx(samplers.one_hill(1.0, 1.5, 0.7), abs=0.02)
    x, s, h = 2.0, 1.5, 1e-5
    slope = (samplers.one_hill_way(x, s, s + h, 0.7) - samplers.one_hill_way(x, s, s - h, 0.7)) / (2 * h)
    assert slope == pytest.approx((x - samplers.one_hill(x, s, 0.7)) / s)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_karras_sigmas_are_diffusers(steps):
    scheduler = diffusers.EulerDiscreteScheduler(**SCHEDULE, use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    plain = diffusers.EulerDiscreteScheduler(**SCHEDULE)
    plain.set_timesteps(steps)
    ours = samplers.karras_sigmas(steps, float(plain.sigmas[0]), float(plain.sigmas[-2]))
    np.testing.assert_allclose(ours, scheduler.sigmas, rtol=1e-4)
    np.testing.assert_allclose(
        samplers.karras_sigmas(steps), scheduler.sigmas, rtol=2e-3
    )  # the model's, to four digits


@pytest.mark.parametrize("given", [(1,), (5, 1.0, 2.0), (5, 1.0, 0.0)])
def test_karras_sigmas_must_fall(given):
    with pytest.raises(BadInput, match="do not fall"):
        samplers.karras_sigmas(*given)


def test_timestep_of_is_the_schedule_read_backwards():
    for n in (1, 2, 20, 33):
        levels = schedule(n)[:-1]
        expected = np.linspace(0, 999, n)[::-1]
        np.testing.assert_allclose([samplers.timestep_of(sigma) for sigma in levels], expected, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 0.0, 1.0, 3.0])
def test_the_denoiser_is_the_guided_loops(toy, scale):
    run = list(denoise(toy, PROMPT, guidance_scale=scale, num_inference_steps=6, negative_prompt="horse"))
    model = samplers.Counted(samplers.Denoiser(toy, PROMPT, "horse", guidance_scale=scale))
    noise = initial_noise(1, *toy.size, generator=seeded(42), factor=toy.vae_factor)
    sigmas = schedule(6).tolist()
    way = list(samplers.lms(model, noise * sigmas[0], sigmas))
    assert model.calls == 6
    for step, x in zip(run, way, strict=True):
        torch.testing.assert_close(x, step.latents, rtol=1e-3, atol=1e-3)


def test_the_denoiser_takes_a_batch_and_v_prediction(toy):
    noise = torch.randn(3, 4, 6, 6, generator=seeded(0))
    for kind in ("epsilon", "v_prediction"):
        scheduler = diffusers.LMSDiscreteScheduler(**ARTICLE_SCHEDULE, prediction_type=kind)
        model = samplers.Denoiser(dataclasses.replace(toy, scheduler=scheduler), PROMPT)
        together = model(noise * 5, 5.0)
        alone = torch.cat([model(one * 5, 5.0) for one in noise.split(1)])
        torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def drawn(fig):
    """The figure, after it was rendered once."""
    assert fig.render()[1]
    assert len(fig.words) > 20
    return fig


def test_figure_errors_draws_every_curve_and_tells_its_order():
    curve = {5: 0.4, 10: 0.1, 20: 0.025, 40: 0.00625}
    fig = drawn(figure_errors({"steps": ("steps", {"a": curve, "b": curve}), "calls": ("calls", {"a": curve})}))
    assert [len(ax.lines) for ax in fig.axes] == [2, 1]
    assert [list(line.get_xdata()) for line in fig.axes[0].lines] == [list(curve)] * 2
    assert fig.axes[0].get_xscale() == fig.axes[0].get_yscale() == "log"
    fitted = drawn(figure_errors({"steps": ("steps", {"a": curve})}, fit_from=10))
    assert fitted.axes[0].get_legend().get_texts()[0].get_text() == "a: order 2.0"
    assert "a, 0.4 at 5 to 0.006 at 40, order 2.0" in fitted.words
    high = drawn(figure_errors({"steps": ("steps", {"a": {5: 0.4, 10: 0.1}})}))
    assert "order" not in high.words


def test_a_sampler_keeps_its_colour_and_default_levels_are_dashed():
    curve = {5: 0.4, 10: 0.1}
    for names in (["Euler", "Heun", "LMS 2", "LMS 4", "DPM++ 2M"], ["DPM++ 2M, default", "LMS 4, Karras", "Euler"]):
        fig = drawn(figure_errors({"": ("steps", dict.fromkeys(names, curve))}, of="reference"))
        lines = fig.axes[0].lines
        colours = [STYLES[name.partition(",")[0]][0] for name in names]
        assert [line.get_color() for line in lines] == colours and len(set(colours)) == len(names)
        assert [line.get_linestyle() for line in lines] == ["--" if "default" in name else "-" for name in names]
        assert "share of the reference's length" in fig.axes[0].get_ylabel()


def test_an_unknown_sampler_has_a_look_of_its_own_and_few_counts_are_ticks():
    curve = {2: 0.1, 3: 0.05, 4: 0.02}
    ax = drawn(figure_errors({"": ("steps", {"DDIM": curve, "Euler": curve})})).axes[0]
    assert len({line.get_color() for line in ax.lines}) == 2
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "3", "4"]


def test_figure_levels_leaves_out_zero():
    fig = drawn(figure_levels({"default": schedule(10), "Karras": samplers.karras_sigmas(10)}))
    assert [len(line.get_xdata()) for line in fig.axes[0].lines] == [10, 10]
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["default", "Karras"]
    assert "default: 4 of 10 below 1; Karras: 5 of 10 below 1" in fig.words


# The judges of the lesson on samplers.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((20, 39), "well done"),
        ([20, 39], "well done"),
        (39, "not a pair"),
        ((20, "39"), "not a pair"),
        ((39, 20), "other way round"),
        ((10, 39), "Euler asks 20 times"),
        ((20, 40), "does not exist"),
        ((20, 20), "2 · 20 − 1 = 39"),
    ],
)
def test_calls(said, answer, words):
    assert words in said("samplers.1", answer, steps=20) + said("samplers.1", answer, steps=20)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.001, "well done"),
        (0.064 / 64, "well done"),
        ("0.001", "no number"),
        (0.008, "order 1"),
        (0.004, "a power, not a factor"),
        (0.016, "twice as many"),
        (4.096, "make it smaller"),
        (64, "how many times smaller"),
        (0.5, "is 0.001, not 0.5"),
    ],
)
def test_smaller(said, answer, words):
    facts = {"error": 0.064, "order": 2, "times": 8}
    assert words in said("samplers.2", answer, **facts) + said("samplers.2", answer, **facts)


GIVEN = {"sampler": "dpmpp_2m", "steps": 20, "levels": "default"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (GIVEN | {"levels": "karras"}, "well done"),
        (GIVEN | {"levels": "Karras"}, "well done"),
        ({"levels": "karras"}, "lack sampler, steps"),
        (GIVEN, "as they were"),
        (GIVEN | {"steps": 40}, "is to stay at 20"),
        (GIVEN | {"sampler": "euler"}, "change `levels` alone"),
        (GIVEN | {"levels": "linear"}, "not 'linear'"),
    ],
)
def test_better_levels(said, answer, words):
    assert words in said("samplers.3", answer, settings=GIVEN) + said("samplers.3", answer, settings=GIVEN)


def slope(denoise, x, sigma):
    return (x - denoise(x, sigma)) / sigma


def ahead(denoise, x, sigma, after):
    return x + slope(denoise, x, sigma) * (after - sigma)


def learners_heun(*, near=0.5, far=0.5, start=True, last=True, at=None):
    """A learner's Heun; `at` measures the far slope in another way, (denoise, x, there, sigma, after) -> slope."""

    def step(denoise, x, sigma, after):
        there = ahead(denoise, x, sigma, after)
        if last and after == 0:
            return there
        beyond = at(denoise, x, there, sigma, after) if at else slope(denoise, there, after)
        way = (near * slope(denoise, x, sigma) + far * beyond) * (after - sigma)
        return (x if start else there) + way

    return step


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (learners_heun(), "well done"),
        (ahead, "That is Euler's step"),
        (learners_heun(near=1, far=1), "missing its half"),
        (learners_heun(near=0, far=1), "Only the far slope"),
        (learners_heun(start=False), "starts at x"),
        (learners_heun(at=lambda d, x, there, s, a: slope(d, x, a)), "not at x"),
        (learners_heun(at=lambda d, x, there, s, a: slope(d, there, s)), "the level is `after`"),
        (learners_heun(at=lambda d, x, there, s, a: (there - d(there, a)) / s), "divide by that"),
        (learners_heun(near=0.3, far=0.3), "The result is not"),
        (learners_heun(last=False), "is to be Euler's"),
        (lambda d, x, s, a: x.sum(), "tensor of 3 numbers"),
        (lambda *given: ..., "not answered yet"),
        (lambda *given: None, "returns None"),
        ("heun", "is no function"),
    ],
)
def test_heun_step(said, step, words):
    assert words in said("samplers.4", step) + said("samplers.4", step)


def test_a_second_slope_that_is_not_divided_is_not_heuns(said):
    def step(denoise, x, sigma, after):
        here = (x - denoise(x, sigma)) / sigma
        if not after:
            return x + here * (after - sigma)
        tried = x + here * (after - sigma)
        return x + (here + tried - denoise(tried, after)) / 2 * (after - sigma)

    assert "divided by its level" in said("samplers.4", step) + said("samplers.4", step)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "8", 1e9])
def test_a_denoiser_takes_no_odd_guidance(toy, scale):
    with pytest.raises(BadInput, match="guidance scale"):
        samplers.Denoiser(toy, PROMPT, guidance_scale=scale)(torch.zeros(1, 4, 6, 6), 1.0)
