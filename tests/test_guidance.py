"""The guided loop: against the pipeline, against k-diffusion's definition, with any scheduler."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import re
import warnings
from itertools import pairwise
from types import SimpleNamespace

import diffusers
import pytest
import torch
from scipy.integrate import quad
from toy import write_toy

import sdlesson
from sdlesson.embeddings import text_embeddings
from sdlesson.figures.guidance import figure_guesses, plot_guesses
from sdlesson.guidance import Step, denoise, guide, record
from sdlesson.latents import initial_noise, seeded
from sdlesson.loading.errors import BadInput
from sdlesson.models import ARTICLE_SCHEDULE
from sdlesson.steering import Steering

PROMPT = "a photograph of an astronaut riding a horse"


def last(steps):
    *_, final = steps
    return final.latents


def from_pipeline(pipeline, prompt, scale, *, scheduler=None, seed=42, steps=20, **options):
    """The pipeline's final latents, with a scheduler of its own for this call."""
    pipeline.scheduler = scheduler or diffusers.LMSDiscreteScheduler(**ARTICLE_SCHEDULE)
    result = pipeline(
        prompt,
        guidance_scale=scale,
        num_inference_steps=steps,
        generator=seeded(seed),
        output_type="latent",
        **options,
    )
    return result.images


def relative(ours, theirs):
    """The largest difference, in units of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("scale", [1.0, 3.0, 8.0])
def test_final_latents_are_the_pipelines(toy, pipeline, scale):
    assert relative(last(denoise(toy, PROMPT, guidance_scale=scale)), from_pipeline(pipeline, PROMPT, scale)) < 1e-4


def test_batches_sizes_and_negative_prompts_are_the_pipelines(toy, pipeline):
    prompts = [PROMPT, "a cartoon of the moon"]
    options = {"height": 64, "width": 40, "negative_prompt": ["horse", "moon"]}
    ours = last(denoise(toy, prompts, guidance_scale=5, num_inference_steps=7, seed=3, **options))
    assert ours.shape == (2, 4, 8, 5)
    assert relative(ours, from_pipeline(pipeline, prompts, 5.0, seed=3, steps=7, **options)) < 1e-4


SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "LCMScheduler",
    "TCDScheduler",
    "SASolverScheduler",
]


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_any_scheduler(toy, pipeline, kind):
    """Same latents as the pipeline, the stochastic ones included; and each step's predicted original is consistent."""
    make = getattr(diffusers, kind)
    sd = dataclasses.replace(toy, scheduler=make(**ARTICLE_SCHEDULE))
    before = copy.deepcopy(vars(sd.scheduler))
    steps = list(denoise(sd, PROMPT, guidance_scale=3.0, num_inference_steps=6))
    theirs = from_pipeline(pipeline, PROMPT, 3.0, scheduler=make(**ARTICLE_SCHEDULE), steps=6)
    assert relative(steps[-1].latents, theirs) < 1e-4
    assert repr(vars(sd.scheduler)) == repr(before)
    for step in steps:
        shrink = (step.sigma**2 + 1) ** 0.5 if sd.scheduler.init_noise_sigma == 1 else 1
        torch.testing.assert_close(
            step.pred_original, step.noisy * shrink - step.sigma * step.noise_pred, rtol=1e-3, atol=2e-3
        )


SCALING = ["LMS", "Euler", "EulerAncestral", "Heun", "KDPM2", "KDPM2Ancestral"]  # those that divide what the UNet sees


@pytest.mark.parametrize("spacing", [{}, {"use_karras_sigmas": True}, {"timestep_spacing": "trailing"}])
@pytest.mark.parametrize("kind", SCALING)
def test_sigma_is_that_of_what_the_unet_sees(toy, monkeypatch, kind, spacing):
    """At each call, first or second of its step: the UNet sees noisy / sqrt(sigma^2 + 1)."""
    if kind == "EulerAncestral" and "use_karras_sigmas" in spacing:
        spacing = {"prediction_type": "v_prediction"}  # it has no Karras levels
    seen, forward = [], toy.unet.forward
    monkeypatch.setattr(toy.unet, "forward", lambda x, *a, **k: seen.append(x[:1].double()) or forward(x, *a, **k))
    scheduler = getattr(diffusers, f"{kind}DiscreteScheduler")(**ARTICLE_SCHEDULE | spacing)
    steps = list(
        denoise(dataclasses.replace(toy, scheduler=scheduler), PROMPT, num_inference_steps=6, guidance_scale=3)
    )
    assert len(steps) == len(seen) == (11 if scheduler.order == 2 else 6)
    for step, x in zip(steps, seen, strict=True):
        noisy = step.noisy.double()
        shrink = float((noisy * x).sum() / (noisy * noisy).sum())
        assert step.sigma == pytest.approx((shrink**-2 - 1) ** 0.5, rel=1e-3)
        assert step.noise_uncond is not None  # guidance is never lost
    assert steps[0].sigma == pytest.approx(float(scheduler.sigmas.max()), rel=0.1)


@pytest.mark.parametrize("kind", ["KDPM2", "KDPM2Ancestral", "Heun"])
def test_a_run_that_starts_on_its_way_has_the_same_levels(toy, kind):
    sd = dataclasses.replace(toy, scheduler=getattr(diffusers, f"{kind}DiscreteScheduler")(**ARTICLE_SCHEDULE))
    whole = list(denoise(sd, PROMPT, num_inference_steps=5))
    rest = list(denoise(sd, PROMPT, num_inference_steps=5, start=2, latents=whole[4].noisy))
    assert [step.sigma for step in rest] == [step.sigma for step in whole[4:]]


@pytest.mark.parametrize("sigma", [0.0, 1e-9, 14.6, 4096.0, math.inf, math.nan])
def test_guidance_is_on_at_every_level_unless_told_otherwise(sigma):
    assert Steering().guides(sigma) and Steering(interval=(0, math.inf)).guides(sigma)
    assert Steering().guides() and not Steering(interval=(0, 3)).guides()
    assert not Steering(interval=(0.5, 3)).guides(sigma)
    assert Steering(interval=(0.5, 3)).guides(3.0) and not Steering(interval=(0.5, 3)).guides(0.5)


ZERO = ARTICLE_SCHEDULE | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
PURE = ["DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep", "UniPCMultistep", "LCM", "TCD"]


@pytest.mark.parametrize("kind", PURE)
@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_a_schedule_that_starts_from_pure_noise(toy, pipeline, kind, prediction):
    """Zero terminal SNR: no division by zero, and the pipeline's latents."""
    make = getattr(diffusers, f"{kind}Scheduler")
    config = ZERO | {"prediction_type": prediction} | ({"clip_sample": False} if kind in ("DDIM", "LCM", "TCD") else {})
    sd = dataclasses.replace(toy, scheduler=make(**config))
    if (kind, prediction) == ("EulerAncestralDiscrete", "sample"):
        with pytest.raises(BadInput, match="EulerAncestralDiscreteScheduler cannot paint with this model"):
            next(denoise(sd, PROMPT))
        return
    steps = list(denoise(sd, PROMPT, num_inference_steps=5, guidance_scale=3))
    assert relative(steps[-1].latents, from_pipeline(pipeline, PROMPT, 3.0, scheduler=make(**config), steps=5)) < 1e-4
    assert steps[0].sigma == pytest.approx(4096, rel=1e-3) and steps[1].sigma < 20
    first = steps[0].noise_pred if prediction == "sample" else -steps[0].noise_pred  # v = -x0 where all is noise
    torch.testing.assert_close(steps[0].pred_original, first, rtol=1e-3, atol=2e-3)


def with_betas_of_one():
    return [*torch.linspace(0.001, 0.02, 999).tolist(), 1.0]


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("DDIM", {"rescale_betas_zero_snr": True}, "pure noise"),
        ("EulerDiscrete", {"rescale_betas_zero_snr": True}, "pure noise"),
        ("DDPM", {"trained_betas": with_betas_of_one()}, "pure noise"),
        ("LMSDiscrete", {"trained_betas": with_betas_of_one(), "prediction_type": "v_prediction"}, "not finite"),
        ("HeunDiscrete", {"trained_betas": with_betas_of_one(), "prediction_type": "v_prediction"}, "not finite"),
        ("UniPCMultistep", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}, "flow matching"),
        ("DPMSolverMultistep", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}, "flow matching"),
        ("DEISMultistep", {"prediction_type": "flow_prediction"}, "its UNet predicts 'flow_prediction'"),
        ("RePaint", {}, "its step needs more than"),
        ("DDIMInverse", {}, "from the picture to the noise"),
        ("DPMSolverMultistepInverse", {}, "from the picture to the noise"),
        ("EDMEuler", {}, "no alphas_cumprod"),
        ("LCM", {"original_inference_steps": 3}, "LCMScheduler cannot take 5 steps"),
    ],
)
def test_schedulers_that_cannot_paint_say_so_at_once(toy, kind, config, words):
    make = getattr(diffusers, f"{kind}Scheduler")
    known = inspect.signature(make).parameters
    scheduler = make(**{name: value for name, value in (ARTICLE_SCHEDULE | config).items() if name in known})
    with pytest.raises(BadInput, match=words):
        denoise(dataclasses.replace(toy, scheduler=scheduler), PROMPT, num_inference_steps=5)  # no next()


@pytest.mark.parametrize("kind", ["DDIMScheduler", "EulerDiscreteScheduler", "DDPMScheduler", "HeunDiscreteScheduler"])
def test_pred_original_is_the_schedulers_own(toy, kind):
    scheduler = getattr(diffusers, kind)(**ARTICLE_SCHEDULE | ({"clip_sample": False} if kind[:2] == "DD" else {}))
    sd = dataclasses.replace(toy, scheduler=scheduler)
    steps = list(denoise(sd, PROMPT, guidance_scale=3.0, num_inference_steps=5))
    scheduler.set_timesteps(5)
    scheduler.scale_model_input(steps[0].noisy, scheduler.timesteps[0])
    own = scheduler.step(steps[0].noise_pred, scheduler.timesteps[0], steps[0].noisy)
    if hasattr(own, "pred_original_sample"):
        torch.testing.assert_close(steps[0].pred_original, own.pred_original_sample, rtol=1e-4, atol=1e-3)


def test_karras_sigmas(toy, pipeline):
    scheduler = diffusers.LMSDiscreteScheduler(**ARTICLE_SCHEDULE, use_karras_sigmas=True)
    ours = last(denoise(dataclasses.replace(toy, scheduler=scheduler), PROMPT, num_inference_steps=9))
    theirs = from_pipeline(pipeline, PROMPT, 8.0, scheduler=copy.deepcopy(scheduler), steps=9)
    assert relative(ours, theirs) < 1e-4


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_other_prediction_types(toy, pipeline, kind):
    config = ARTICLE_SCHEDULE | {"prediction_type": kind}
    for name in ("LMSDiscreteScheduler", "DDIMScheduler"):
        make = getattr(diffusers, name)
        sd = dataclasses.replace(toy, scheduler=make(**config))
        ours = last(denoise(sd, PROMPT, guidance_scale=3, num_inference_steps=6))
        assert relative(ours, from_pipeline(pipeline, PROMPT, 3.0, scheduler=make(**config), steps=6)) < 1e-4


def test_a_v_prediction_folder_says_so_itself(tmp_path):
    sd = sdlesson.load(write_toy(tmp_path, prediction_type="v_prediction"))
    assert sd.scheduler.config.prediction_type == "v_prediction"
    first = next(denoise(sd, PROMPT, guidance_scale=1, num_inference_steps=4))
    sigma, v = first.sigma, first.noise_pred
    expected = first.noisy / (sigma**2 + 1) - v * sigma / (sigma**2 + 1) ** 0.5
    torch.testing.assert_close(first.pred_original, expected, rtol=1e-4, atol=1e-4)


def k_diffusion_lms(model, x, sigmas, order=4):
    """K-LMS as k-diffusion defines it, in our words: slopes from the denoised latents, weights by quadrature."""
    slopes = []
    for i in range(len(sigmas) - 1):
        slopes.append((x - model(x, sigmas[i])) / sigmas[i])
        used = min(i + 1, order)
        for back in range(used):
            past = [sigmas[i - j] for j in range(used)]

            def lagrange(tau, past=past, back=back):
                return math.prod((tau - other) / (past[back] - other) for j, other in enumerate(past) if j != back)

            x = x + quad(lagrange, sigmas[i], sigmas[i + 1], epsrel=1e-4)[0] * slopes[-1 - back]
    return x


@pytest.mark.parametrize("which", ["toy", "tiny"])
def test_final_latents_are_k_diffusions(which, toy, tiny):
    sd = {"toy": toy, "tiny": tiny}[which]
    scale, embeddings = sd.guidance_scale, text_embeddings(sd, PROMPT)
    levels = sdlesson.sigmas.schedule(20)
    steps = iter(sdlesson.sigmas.timesteps(20))

    @torch.inference_mode()
    def denoised(x, sigma):
        seen = torch.cat([x, x]) / (sigma**2 + 1) ** 0.5
        uncond, text = sd.unet(seen, next(steps), encoder_hidden_states=embeddings).sample.chunk(2)
        return x - sigma * (uncond + scale * (text - uncond))

    noise = initial_noise(1, *sd.size, generator=seeded(42))
    theirs = k_diffusion_lms(denoised, noise * levels[0], levels.tolist())
    assert relative(last(denoise(sd, PROMPT)), theirs) < 1e-3


def test_steps_tell_what_happened(toy):
    steps = list(denoise(toy, [PROMPT, "the moon"], num_inference_steps=5, guidance_scale=4))
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.timestep for step in steps] == pytest.approx([999, 749.25, 499.5, 249.75, 0])
    assert steps[0].sigma == pytest.approx(14.6146, abs=1e-4)
    for before, after in pairwise(steps):
        assert after.noisy is before.latents
    for step in steps:
        tensors = [getattr(step, field.name) for field in dataclasses.fields(Step)[3:]]
        assert {(tensor.shape, tensor.dtype) for tensor in tensors} == {((2, 4, 6, 6), torch.float32)}
        torch.testing.assert_close(
            step.noise_pred, step.noise_uncond + 4 * (step.noise_text - step.noise_uncond), rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(step.pred_original, step.noisy - step.sigma * step.noise_pred, rtol=1e-4, atol=1e-3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps[0].sigma = 0
    assert "tensor" not in repr(steps[0])


def test_step_tensors_are_free_for_any_use(toy):
    """Not inference tensors: a learner may change them, or take gradients through them."""
    step = next(denoise(toy, PROMPT))
    for name in ("latents", "noise_uncond", "noise_text", "noise_pred", "pred_original", "noisy"):
        tensor = getattr(step, name)
        assert not tensor.is_inference()
        assert not tensor.requires_grad
    assert not torch.is_inference_mode_enabled()
    (step.latents.requires_grad_() ** 2).sum().backward()


def calls(monkeypatch, sd):
    """The batch sizes that the UNet sees, and the numbers of texts that the text encoder sees."""
    seen = {"unet": [], "text": []}
    unet, text = sd.unet.forward, sd.text_encoder.forward
    monkeypatch.setattr(sd.unet, "forward", lambda x, *a, **k: seen["unet"].append(len(x)) or unet(x, *a, **k))
    monkeypatch.setattr(sd.text_encoder, "forward", lambda x, *a, **k: seen["text"].append(len(x)) or text(x, *a, **k))
    return seen


@pytest.mark.parametrize(("scale", "batch"), [(1, 1), (0, 1), (3, 2), (-1, 2)])
def test_halves_without_weight_are_not_computed(toy, monkeypatch, scale, batch):
    seen = calls(monkeypatch, toy)
    steps = list(denoise(toy, PROMPT, guidance_scale=scale, num_inference_steps=3))
    assert seen == {"unet": [batch] * 3, "text": [batch]}
    assert (steps[0].noise_uncond is None) == (scale == 1)
    assert (steps[0].noise_text is None) == (scale == 0)


@pytest.mark.parametrize("scale", [0, 1])
def test_the_skipped_half_changes_nothing(toy, scale):
    """Guidance 0 and 1 are where the formula goes as the scale comes near."""
    near = last(denoise(toy, PROMPT, guidance_scale=scale + 1e-6, num_inference_steps=5))
    assert relative(last(denoise(toy, PROMPT, guidance_scale=scale, num_inference_steps=5)), near) < 1e-4


def test_guide():
    uncond, text = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.0])
    torch.testing.assert_close(guide(uncond, text, 3), torch.tensor([4.0, -4.0]))
    assert guide(None, text, 1) is text
    assert guide(uncond, None, 0) is uncond


def test_a_picture_does_not_depend_on_its_neighbours(toy):
    both = last(denoise(toy, [PROMPT, "the moon"], seed=[5, 6], num_inference_steps=5))
    alone = last(denoise(toy, "the moon", seed=6, num_inference_steps=5))
    assert relative(both[1:], alone) < 1e-4
    assert relative(both[:1], alone) > 0.1


def test_noise_from_a_generator_or_given(toy):
    expected = last(denoise(toy, PROMPT, seed=9, num_inference_steps=3))
    torch.testing.assert_close(last(denoise(toy, PROMPT, generator=seeded(9), num_inference_steps=3)), expected)
    noise = initial_noise(1, 48, 48, generator=seeded(9))
    torch.testing.assert_close(last(denoise(toy, PROMPT, latents=noise, num_inference_steps=3)), expected)


def test_given_embeddings_replace_the_prompts(toy):
    embeddings = text_embeddings(toy, "the moon", "horse")
    ours = last(denoise(toy, PROMPT, text_embeddings=embeddings, num_inference_steps=3))
    torch.testing.assert_close(ours, last(denoise(toy, "the moon", negative_prompt="horse", num_inference_steps=3)))


def test_order_one_is_euler(toy):
    """K-LMS that remembers nothing is Euler's method; order 4 is something else."""
    euler = dataclasses.replace(toy, scheduler=diffusers.EulerDiscreteScheduler(**ARTICLE_SCHEDULE))
    expected = last(denoise(euler, PROMPT, num_inference_steps=6))
    assert relative(last(denoise(toy, PROMPT, num_inference_steps=6, order=1)), expected) < 1e-4
    assert relative(last(denoise(toy, PROMPT, num_inference_steps=6)), expected) > 1e-3


def test_nothing_global_is_touched(toy):
    state, before = torch.random.get_rng_state(), copy.deepcopy(vars(toy.scheduler))
    list(denoise(toy, PROMPT, num_inference_steps=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(before.pop("sigmas"), toy.scheduler.sigmas)
    assert toy.scheduler.derivatives == before["derivatives"] == []
    assert toy.scheduler.step_index is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_inference_steps": 0}, "from 1 to 1000, not 0"),
        ({"num_inference_steps": 1001}, "from 1 to 1000, not 1001"),
        ({"num_inference_steps": 2.5}, "whole number"),
        ({"guidance_scale": math.nan}, "finite number, not nan"),
        ({"guidance_scale": math.inf}, "finite number, not inf"),
        ({"guidance_scale": "3"}, "finite number"),
        ({"height": 0}, "not 0"),
        ({"height": 44}, "height must be a positive multiple of 8 pixels, not 44"),
        ({"width": -8}, "width"),
        ({"prompt": []}, "empty"),
        ({"prompt": 3}, "a text or a list of texts"),
        ({"negative_prompt": ["a", "b"]}, "2 negative prompts for 1 prompts"),
        ({"seed": -1}, "seed"),
        ({"seed": [1, 2]}, "2 seeds for 1 pictures"),
        ({"latents": torch.zeros(1, 4, 5, 5)}, r"shape \(1, 4, 6, 6\), not \(1, 4, 5, 5\)"),
        ({"text_embeddings": torch.zeros(1, 77, 24)}, "2 text embeddings, not 1"),
        ({"order": 0}, "order 0"),
    ],
)
def test_bad_input_is_told_at_once(toy, options, words):
    with pytest.raises(BadInput, match=words):
        denoise(toy, **{"prompt": PROMPT} | options)  # not even started: no next()


def test_schedulers_of_other_families_are_refused(toy):
    flow = dataclasses.replace(toy, scheduler=diffusers.FlowMatchEulerDiscreteScheduler())
    with pytest.raises(BadInput, match="FlowMatchEulerDiscreteScheduler is no scheduler for Stable Diffusion"):
        denoise(flow, PROMPT)


def test_progress_is_shown_when_asked_for(toy, capfd):
    list(denoise(toy, PROMPT, num_inference_steps=2))
    assert capfd.readouterr().err == ""
    list(denoise(toy, PROMPT, num_inference_steps=2, progress=True))
    assert "2/2" in capfd.readouterr().err


def test_half_precision_weights(toy_folder):
    """The latents stay float32; the UNet sees its own dtype."""
    sd = sdlesson.load(toy_folder, dtype="bfloat16")
    step = next(denoise(sd, PROMPT))
    assert step.latents.dtype == step.noise_pred.dtype == torch.float32


def test_record_keeps_everything(toy):
    trace = record(toy, [PROMPT, "the moon"], num_inference_steps=3, guidance_scale=2, seed=[4, 5])
    assert trace.ids.shape == (4, 77)
    torch.testing.assert_close(trace.text_embeddings, text_embeddings(toy, [PROMPT, "the moon"]))
    torch.testing.assert_close(
        trace.steps[-1].latents,
        last(denoise(toy, [PROMPT, "the moon"], num_inference_steps=3, guidance_scale=2, seed=[4, 5])),
        rtol=1e-5,
        atol=1e-4,
    )
    assert trace.settings["prompts"] == [PROMPT, "the moon"]
    assert (trace.settings["seeds"], trace.settings["height"], trace.settings["guidance_scale"]) == ([4, 5], 48, 2)
    assert record(toy, PROMPT, num_inference_steps=1, generator=seeded(1)).settings["seeds"] is None


SHAPES = {
    "sd": SimpleNamespace(unet=SimpleNamespace(config=SimpleNamespace(in_channels=4)), size=(128, 96), vae_factor=8)
}
LATENTS = (4, 16, 12)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (((6, *LATENTS), (3, *LATENTS)), "well done"),
        ([[6, *LATENTS], [3, *LATENTS]], "well done"),
        ((6, *LATENTS), "not a pair of shapes"),
        (((6, *LATENTS), (3, 16, 12)), "not a pair of shapes"),
        (((6, 3, 128, 96), (3, 3, 128, 96)), "never sees pixels"),
        (((6, *LATENTS), (3, 4, 128, 96)), "not \\(4, 128, 96\\)"),
        (((6, *LATENTS), (3, 4, 12, 16)), "Only the batch changes"),
        (((3, *LATENTS), (6, *LATENTS)), "other way round"),
        (((3, *LATENTS), (3, *LATENTS)), "2 × 3 = 6, not 3"),
        (((6, *LATENTS), (6, *LATENTS)), "a batch of 3, not 6"),
        (((2, *LATENTS), (1, *LATENTS)), "the batches of one prompt"),
        (7, "could not be used"),
        (..., "not answered yet"),
    ],
)
def test_judge_of_the_input_shapes(said, answer, words):
    assert re.search(words, said("guidance.1", answer, **SHAPES) + said("guidance.1", answer, **SHAPES))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-4, "well done"),
        (-4.0, "well done"),
        (5, "the wrong one away from it"),
        (-5, "starts at the other end"),
        (4, "the sign is missing"),
        (6, "it counts down"),
        (0.2, "Nothing is divided"),
        (17, "the answer is 1 − s"),
        (True, "is no number"),
        ("1 - 5", "is no number"),
    ],
)
def test_judge_of_the_swapped_scale(said, answer, words):
    assert words in said("guidance.2", answer, swapped=5) + said("guidance.2", answer, swapped=5)


def test_each_wrong_scale_has_a_hint_of_its_own(said):
    hints = {said("guidance.2", answer, swapped=5) for answer in (5, -5, 4, 6, 0.2, 17)}
    assert len(hints) == 6
    assert not any("1 − s" in hint for hint in hints)  # the first word does not give the answer away


def test_the_swapped_scale_is_true_of_the_formula():
    uncond, text = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.0])
    torch.testing.assert_close(guide(text, uncond, 5), guide(uncond, text, 1 - 5))


BURNT = {"prompt": PROMPT, "seed": 42, "num_inference_steps": 20, "guidance_scale": 8, "order": 4}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (BURNT | {"order": 1}, "well done"),
        (BURNT | {"order": 2}, "well done"),
        ({"order": 1}, "Your settings lack guidance_scale, num_inference_steps, prompt, seed"),
        (BURNT, "All settings are as they were"),
        (BURNT | {"guidance_scale": 3}, "is to stay at 8"),
        (BURNT | {"num_inference_steps": 50}, "is to stay at 20"),
        (BURNT | {"seed": 1}, "You changed seed"),
        (BURNT | {"order": 1, "seed": 1}, "You changed order, seed"),
        (BURNT | {"order": 0}, "not 0"),
        (BURNT | {"order": 1.5}, "1.5 is no order"),
        (BURNT | {"order": True}, "True is no order"),
        (BURNT | {"order": 6}, "even more than order 4"),
        (BURNT | {"order": 3}, "Go further down"),
        (BURNT | {"order": 3}, "at the horse's head"),
        (1, "could not be used"),
    ],
)
def test_judge_of_the_calm_solver(said, answer, words):
    assert words in said("guidance.3", answer, burnt=BURNT) + said("guidance.3", answer, burnt=BURNT)


def spread(x, over=(1, 2, 3)):
    return x.std(dim=over, keepdim=True)


@pytest.mark.parametrize(
    ("rescale", "words"),
    [
        (lambda t, g, p: p * g * spread(t) / spread(g) + (1 - p) * g, "well done"),
        (lambda t, g, p: g * (p * spread(t) / spread(g) + 1 - p), "well done"),
        (lambda t, g, p: p * g * t.std() / g.std() + (1 - p) * g, "All pictures got one factor"),
        (lambda t, g, p: p * g * spread(t, (2, 3)) / spread(g, (2, 3)) + (1 - p) * g, "Each channel got a factor"),
        (lambda t, g, p: p * g * spread(g) / spread(t) + (1 - p) * g, "upside down"),
        (lambda t, g, p: (1 - p) * g * spread(t) / spread(g) + p * g, "have changed places"),
        (lambda t, g, p: g * spread(t) / spread(g), "phi is not used"),
        (lambda t, g, p: 0.7 * g * spread(t) / spread(g) + 0.3 * g, "phi is not used: it is 0.7"),
        (lambda t, g, p: p * t * spread(t) / spread(g) + (1 - p) * g, "Rescale `guided`, not `text`"),
        (lambda t, g, p: p * t + (1 - p) * g, "less guidance"),
        (lambda t, g, p: g, "Nothing is changed"),
        (lambda t, g, p: g + 1, "The result is not phi"),
        (lambda t, g, p: ..., "not answered yet"),
        (lambda t, g, p: None, "returns None"),
        (lambda t, g, p: 1.0, "another shape"),
        (lambda t, g, p: g[0], "another shape"),
        (lambda t, g, p: g * t.std(dim=(1, 2, 3)), "Your function raises RuntimeError"),
        (2, "is no function"),
    ],
)
def test_judge_of_the_rescaling(said, rescale, words):
    assert words in said("guidance.4", rescale) + said("guidance.4", rescale)


def test_each_wrong_rescaling_has_a_hint_of_its_own(said):
    wrong = [
        lambda t, g, p: p * g * t.std() / g.std() + (1 - p) * g,
        lambda t, g, p: p * g * spread(t, (2, 3)) / spread(g, (2, 3)) + (1 - p) * g,
        lambda t, g, p: p * g * spread(g) / spread(t) + (1 - p) * g,
        lambda t, g, p: (1 - p) * g * spread(t) / spread(g) + p * g,
        lambda t, g, p: g * spread(t) / spread(g),
        lambda t, g, p: p * t * spread(t) / spread(g) + (1 - p) * g,
        lambda t, g, p: p * t + (1 - p) * g,
        lambda t, g, p: g,
        lambda t, g, p: g + 1,
    ]
    assert len({said("guidance.4", each) for each in wrong}) == len(wrong)


def two_steps():
    """Two recorded steps of a picture of 4 numbers: guesses of length 2, at right angles, then equal."""
    uncond, text = torch.zeros(2, 4, 1, 1), torch.zeros(2, 4, 1, 1)
    uncond[0, 0], text[0, 1] = 2.0, 2.0
    one = Step(0, 999.0, 14.6, uncond, uncond, text, text, uncond, uncond)
    return [one, dataclasses.replace(one, index=1, noise_text=uncond)]


def test_guesses_are_drawn_true_to_scale():
    ax = plot_guesses(two_steps()[0], [0, 1, 3])
    tips = {note.get_text(): note.xy for note in ax.texts if note.get_text() in {"0", "1", "3"}}
    assert {name: tuple(round(each, 6) for each in tip) for name, tip in tips.items()} == {
        "0": (0, 2),
        "1": (2, 0),
        "3": (6, -4),
    }
    assert ax.get_aspect() == 1
    arc = ax.lines[0].get_xydata()
    assert torch.allclose(torch.tensor(arc).norm(dim=1), torch.tensor(2.0, dtype=torch.float64))  # √4: pure noise


@pytest.mark.parametrize("scales", [[0, 1, 3], [0, -3]])
def test_every_arrow_of_the_guesses_lies_in_the_frame(scales):
    """At scale 3 the tip is below 0, at -3 it is to the left of it."""
    ax = plot_guesses(two_steps()[0], scales)
    ax.figure.draw_without_rendering()
    (left, right), (low, top) = ax.get_xlim(), ax.get_ylim()
    tips = [note.xy for note in ax.texts if note.get_text() in map(str, scales)]
    assert len(tips) == len(scales) and all(left < x < right and low - 1e-9 < y < top for x, y in tips)


def test_guesses_need_both_halves(toy):
    steps = record(toy, PROMPT, num_inference_steps=1, guidance_scale=1).steps
    with pytest.raises(BadInput, match="At guidance 0 and 1 the UNet makes one guess a step"):
        figure_guesses(steps, 0, [0, 1])
    with pytest.raises(BadInput, match="one guess"):
        plot_guesses(steps[0], [0, 1])


def test_guesses_that_are_equal_can_be_drawn():
    assert plot_guesses(two_steps()[1], [0, 1]).get_xlabel()


def test_figure_of_the_guesses_tells_lengths_and_angles():
    fig = figure_guesses(two_steps(), 0, [0, 1, 3])
    plane, length, angle = fig.axes
    assert plane.get_title() == "step 0: the guided guess at guidance 0, 1, 3"
    assert [line.get_label() for line in length.lines] == ["prompt − empty", "prompt"]
    assert [float(round(y, 3)) for y in length.lines[0].get_ydata()] == [2.828, 0]
    assert [float(round(y, 3)) for y in angle.lines[0].get_ydata()] == [90, 0]
    assert "90.0 degrees between the two" in fig.words
    assert "the difference goes from 2.8 to 0.0, the prompt's guess from 2.0 to 2.0" in fig.words


def test_figures_of_a_real_run(toy):
    steps = record(toy, PROMPT, num_inference_steps=3, guidance_scale=2).steps
    assert "over 3 steps" in figure_guesses(steps, 1, [0, 1, 8]).words


@pytest.mark.parametrize(
    "kind", ["EulerAncestralDiscreteScheduler", "DDPMScheduler", "KDPM2AncestralDiscreteScheduler"]
)
@pytest.mark.parametrize("seed", [42, [42]], ids=("one", "each"))
def test_given_latents_do_not_come_again_as_fresh_noise(toy, kind, seed):
    """The run of a seed, the run of its noise, and for one draw a call the run that goes on from its middle are one."""
    sd = dataclasses.replace(toy, scheduler=getattr(diffusers, kind)(**ARTICLE_SCHEDULE))
    noise = initial_noise(1, *sd.size, generator=seeded(seed))
    options = {"num_inference_steps": 5, "guidance_scale": 3, "seed": seed}
    whole = list(denoise(sd, PROMPT, **options))
    assert torch.equal(last(denoise(sd, PROMPT, latents=noise, **options)), whole[-1].latents)
    if kind == "EulerAncestralDiscreteScheduler":
        rest = last(denoise(sd, PROMPT, latents=whole[2].noisy, start=2, **options))
        assert relative(rest, whole[-1].latents) < 1e-5


def test_generators_in_a_tuple_and_of_another_number(toy):
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**ARTICLE_SCHEDULE)
    sd, noise = dataclasses.replace(toy, scheduler=scheduler), initial_noise(2, *toy.size, generator=seeded(1))
    options = {"num_inference_steps": 2, "guidance_scale": 3}
    one, other = (last(denoise(sd, PROMPT, generator=kind([seeded(1)]), **options)) for kind in (list, tuple))
    assert torch.equal(one, other)
    with pytest.raises(BadInput, match="3 seeds for 2 pictures"):
        denoise(sd, [PROMPT] * 2, latents=noise, seed=[1, 2, 3], **options)
    with pytest.raises(BadInput, match="str is no scheduler"):
        denoise(dataclasses.replace(toy, scheduler="ddim"), PROMPT)


def test_one_step_that_begins_at_the_quiet_end_is_told(toy):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        record(toy, PROMPT, num_inference_steps=2)
    with pytest.warns(UserWarning, match="one step of LMSDiscreteScheduler begins at timestep 0, .* take 2 or more"):
        record(toy, PROMPT, num_inference_steps=1)
