"""The stethoscope changes nothing, each fault shows in the sign that the last page names, and the judges answer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

import sdlesson
from sdlesson.decoding import paint_latents
from sdlesson.figures.symptoms import figure_chart
from sdlesson.guidance import denoise, record
from sdlesson.loading.errors import BadInput
from sdlesson.symptoms import (
    CAUSES,
    bend,
    fall_ill,
    hidden_cause,
    input_spread,
    listen,
    mystery,
    off,
    report,
    short,
    signs,
)

PROMPT = "a photograph of an astronaut riding a horse"


@pytest.fixture(scope="module")
def healthy(toy):
    return fall_ill(toy, PROMPT)


def ill(toy, cause):
    return signs(fall_ill(toy, PROMPT, cause))


def test_listening_changes_nothing_and_leaves_no_hook(toy):
    *_, alone = denoise(toy, PROMPT, num_inference_steps=3)
    with listen(toy) as chart:
        *_, heard = denoise(toy, PROMPT, num_inference_steps=3)
        pictures = paint_latents(toy, heard.latents)
    assert torch.equal(alone.latents, heard.latents)
    assert pictures[0].tobytes() == chart.pictures()[0].tobytes()
    assert len(chart.calls) == 3 and len(chart.pixels) == len(chart.latents) == 1
    torch.testing.assert_close(chart.latents[0], heard.latents, rtol=1e-4, atol=1e-4)
    paint_latents(toy, heard.latents)
    assert len(chart.pixels) == 1  # the hooks are off


def test_a_call_has_one_timestep(toy):
    latents, texts = torch.zeros(2, 4, 8, 8), torch.zeros(2, 5, 24)
    with listen(toy) as chart, torch.no_grad():
        toy.unet(latents, torch.tensor([7, 7]), texts)
        with pytest.raises(BadInput, match="2 timesteps"):
            toy.unet(latents, torch.tensor([7, 8]), texts)
    assert [call.timestep for call in chart.calls] == [7]


def test_hooks_come_off_after_an_error(toy):
    with pytest.raises(ZeroDivisionError), listen(toy), bend(toy.unet, lambda x, t, i: (x, t)):
        raise ZeroDivisionError
    assert not toy.unet._forward_hooks and not toy.unet._forward_pre_hooks and not toy.vae.decoder._forward_hooks


def test_it_hears_the_peers_pipeline(toy, pipeline):
    with listen(pipeline) as chart:
        pipeline(PROMPT, guidance_scale=3.0, num_inference_steps=3, generator=torch.Generator().manual_seed(42))
    steps = record(toy, PROMPT, guidance_scale=3.0, num_inference_steps=3, seed=42).steps
    expected = [float((step.noisy / (step.sigma**2 + 1) ** 0.5).std()) for step in steps]
    assert input_spread(chart) == pytest.approx(expected, rel=0.01)


def test_a_healthy_run(toy, healthy):
    found = signs(healthy)
    assert found["UNet calls"] == 8 and found["text 1 − empty"] < 1e-4 and found["not finite, %"] == 0
    assert found["timestep, first"] == 999 and found["timestep, last"] == 0
    assert found["input, first"] == pytest.approx(1, abs=0.15)
    assert found["prompt's say"] > 0 and found["seeds apart"] > 0


@pytest.mark.parametrize(
    ("cause", "sign", "right"),
    [
        ("halves swapped", "text 1 − empty", lambda value: value > 0.1),
        ("prompt twice", "prompt's say", lambda value: value < 1e-5),
        ("weak start", "input, first", lambda value: value < 0.1),
        ("input not scaled", "input, first", lambda value: value > 10),
        ("wrong timestep", "timestep, last", lambda value: value == 7),
        ("too few steps", "UNet calls", lambda value: value == 2),
        ("stopped early", "timestep, last", lambda value: value > 400),
    ],
)
def test_each_fault_shows_in_its_sign(toy, healthy, cause, sign, right):
    assert right(ill(toy, cause)[sign]) and not right(signs(healthy)[sign])


def test_not_divided_shows_at_the_decoder_and_not_before(toy, healthy):
    found, sound = ill(toy, "not divided"), signs(healthy)
    assert found["input, last"] == pytest.approx(sound["input, last"], rel=1e-4)
    assert found["latents, end"] == pytest.approx(sound["latents, end"] * toy.vae.config.scaling_factor, rel=1e-3)


def test_too_much_guidance_shows_in_the_trained_models_pulse(tiny):
    pulse = input_spread(fall_ill(tiny, PROMPT, "too much guidance", seeds=[43]))
    assert pulse[0] == pytest.approx(1, abs=0.1) and pulse[-1] > 2


def test_one_nan_spoils_all_pixels_and_is_drawn_black(toy, healthy):
    latents = torch.cat(healthy.latents)[:1].clone()
    latents[0, 0, 0, 0] = math.nan
    with listen(toy) as chart:
        sdlesson.decode(toy.vae, latents)
    chart.calls = healthy.of(0).calls
    assert chart.pixels[0].isnan().all() and chart.pictures()[0].getextrema() == ((0, 0),) * 3
    assert 0 < signs(chart)["not finite, %"] < 100


def test_the_chart_of_one_picture(healthy):
    one = signs(healthy.of(1))
    assert math.isnan(one["seeds apart"]) and one["UNet calls"] == 8
    assert len(healthy.of(1).calls[0].seen) == 2 and len(healthy.of(0).pictures()) == 1


def test_a_run_of_one_half_has_no_say(toy):
    with listen(toy) as chart:
        *_, last = denoise(toy, [PROMPT] * 2, seed=[1, 2], guidance_scale=1, num_inference_steps=2)
        paint_latents(toy, last.latents)
    assert math.isnan(signs(chart)["prompt's say"])


def test_report_and_figure_say_what_is_off(toy, healthy):
    patients = {"healthy": healthy, "sick": fall_ill(toy, PROMPT, "weak start"), "one": healthy.of(0)}
    lines = report(patients, ["UNet calls", "input, first"]).splitlines()
    assert len(lines) == 4 and lines[1].split() == ["healthy", "8", short(signs(healthy)["input, first"])]
    fig = figure_chart(patients)
    assert "sick: input, first down" in fig.words and "one: none" in fig.words
    (ax, _bar) = fig.axes
    assert len(ax.texts) == 3 * len(signs(healthy))
    colourless = np.ma.getmaskarray(np.ma.masked_invalid(ax.images[0].get_array()))[1]  # of the sick one
    assert [name for name, off in zip(signs(healthy), colourless, strict=True) if off] == [
        "brightness", "contrast", "roughness",
    ]  # fmt: skip


def test_numbers_in_two_digits():
    assert [short(value) for value in (math.nan, 0, 1e-5, 0.0678, 1.04, 14.6, 999)] == [
        "–", "0", "0", "0.068", "1", "15", "999",
    ]  # fmt: skip
    assert (
        off("input, first", 4, 1) == 2 and off("cut off, %", 0.1, 0) == 0 and math.isnan(off("contrast", math.nan, 1))
    )


def test_mysteries_go_through_all_causes(toy):
    assert {hidden_cause(number) for number in range(1, len(CAUSES) + 1)} == set(CAUSES)
    assert input_spread(mystery(toy, 1, PROMPT, seeds=[1]))[0] > 10
    for wrong in (0, 1.5, "one"):
        with pytest.raises(BadInput, match="numbered 1, 2, 3"):
            hidden_cause(wrong)
    with pytest.raises(BadInput, match="No such cause: 'rust'"):
        fall_ill(toy, PROMPT, "rust")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_wrong_guess_gets_its_own_hint(said, number):
    name, truth = f"symptoms.{number}", hidden_cause(number)
    assert "well done" in said(name, truth) and "well done" in said(name, f" {truth.upper()} ")
    hints = {said(name, guess) for guess in CAUSES if guess != truth}
    assert len(hints) == len(CAUSES) - 1 and all("If it were" in hint for hint in hints)
    for guess in CAUSES:
        if guess != truth:
            second = said(name, guess)
            assert f"It is not “{guess}”" in second and truth not in second
    assert "Choose one of the names" in said(name, "bad luck") and "none of these" in said(name, "bad luck")
    assert "not yet" in said(name, 7)


def sound_alarm(latents, sigma):
    if not latents.isfinite().all():
        return "not finite"
    beside = latents.std() / (sigma**2 + 1) ** 0.5
    return "too weak" if beside < 0.5 else "too strong" if beside > 2 else "healthy"


def bounded(latents, sigma, low=0.5, high=2):
    beside = latents.std() / (sigma**2 + 1) ** 0.5
    return "too weak" if beside < low else "too strong" if beside > high else "healthy"


def without_finite(latents, sigma):
    return bounded(latents, sigma)


def isnan_only(latents, sigma):
    return "not finite" if latents.isnan().any() else without_finite(latents.nan_to_num(0, 0, 0), sigma)


@pytest.mark.parametrize(
    ("alarm", "words"),
    [
        (sound_alarm, "well done"),
        (without_finite, "comparison with nan is never true"),
        (isnan_only, "isfinite() finds both"),
        (isnan_only, "What is 70000 in float16"),
        (lambda x, s: "healthy" if 0.5 < x.std() < 2 else "too strong", "not 1"),
        (lambda x, s: "healthy" if x.std() < 2 * s else "too strong", "not σ"),
        (lambda x, s: "healthy", "a spread of 1, where 14.6 should be"),
        (lambda x, s: "too strong" if x.std() > 2 * (s**2 + 1) ** 0.5 else "healthy", "where 14.6 should be"),
        (lambda x, s: "too weak" if x.std() < 0.5 * (s**2 + 1) ** 0.5 else "healthy", "a burnt picture"),
        (lambda x, s: "too weak" if s > 2 and x.std() < 2 else bounded(x, s, 0), "0.64"),
        (lambda x, s: bounded(x, s, 0.9, 1.1), "0.78 is more than half"),
        (lambda x, s: bounded(x, s, 0.41, 2), "0.64 is less than half"),
        (lambda x, s: bounded(x, s, 0.5, 2.5), "3.1 is more than twice"),
        (lambda x, s: True, "none of the four"),
        (lambda x, s: ..., "not answered yet"),
        (lambda x, s: None, "returns None"),
    ],
)
def test_alarm(said, alarm, words):
    assert words in said("symptoms.4", alarm) + said("symptoms.4", alarm)


def test_the_causes_are_those_of_k_lms(toy):
    other = replace(toy, scheduler=EulerDiscreteScheduler.from_config(toy.scheduler.config))
    with pytest.raises(BadInput, match="The causes are those of K-LMS; this model has EulerDiscreteScheduler"):
        fall_ill(other, PROMPT)


def test_a_chart_without_pictures_is_told(toy):
    with listen(toy) as chart:
        list(denoise(toy, "a horse", num_inference_steps=2))
    for asked in (lambda: signs(chart), chart.pictures):
        with pytest.raises(BadInput, match="decoded"):
            asked()


def test_two_pictures_without_guidance_are_no_two_halves(toy):
    with listen(toy) as chart:
        sdlesson.paint(["a horse", "the moon"], model=toy, num_inference_steps=2, guidance_scale=1)
    assert math.isnan(signs(chart)["text 1 − empty"])
    second = chart.of(1).calls[0]
    assert torch.equal(second.seen, chart.calls[0].seen[1:]) and len(chart.of(1).pictures()) == 1
