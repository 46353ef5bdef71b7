"""Steering: at its ends it is plain painting, bit for bit; in between it is what the papers and diffusers say."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from toy import SCHEDULE

from sdlesson.embeddings import text_embeddings
from sdlesson.figures.steering import figure_entries, figure_mask, figure_mixes, plot_mask, plot_mixes
from sdlesson.guidance import denoise, guide, record
from sdlesson.latents import encode, fit_preview, initial_noise, preview, seeded, to_tensor
from sdlesson.loading.errors import BadInput
from sdlesson.steering import Steering, first_step, img2img, inpaint, latent_mask, lerp, noised, pull_colour, slerp
from sdlesson.world import Scene, draw

PROMPT = "a photograph of an astronaut riding a horse"
FEW = {"num_inference_steps": 6, "guidance_scale": 3.0}


def end(*arguments, **options):
    *_, last = denoise(*arguments, **options)
    return last.latents


@pytest.fixture
def picture(toy):
    return draw(Scene("photograph", "knight", "elephant", "desert"), np.random.default_rng(3), size=toy.size[0])


@pytest.mark.parametrize("which", ["toy", "tiny"])
def test_at_their_ends_they_are_plain_painting(which, toy, tiny):
    sd = {"toy": toy, "tiny": tiny}[which]
    picture = draw(Scene("cartoon", "queen"), np.random.default_rng(1), size=sd.size[0])
    plain = end(sd, PROMPT, **FEW)
    everything = torch.ones(sd.size[::-1], dtype=torch.bool)
    assert torch.equal(img2img(sd, PROMPT, picture, strength=1, **FEW), plain)
    assert torch.equal(inpaint(sd, PROMPT, picture, everything, **FEW), plain)
    assert torch.equal(img2img(sd, PROMPT, picture, strength=0, **FEW), encode(sd.vae, picture))
    assert torch.equal(inpaint(sd, PROMPT, picture, ~everything, **FEW), encode(sd.vae, picture))
    steered = Steering(change=lambda x, sigma: x, interval=(0.0, 1e9), loss=lambda original: 0 * original.sum())
    assert torch.equal(end(sd, PROMPT, steering=steered, **FEW), plain)


@pytest.mark.parametrize("kind", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_img2img_is_the_pipelines(toy, one_pipeline, picture, kind):
    """With solvers that look back at nothing, diffusers' own pipeline gives the same latents."""
    settings = SCHEDULE | ({"clip_sample": False, "steps_offset": 1} if kind == "DDIMScheduler" else {})
    scheduler = getattr(diffusers, kind)(**settings)
    parts = {name: part for name, part in one_pipeline.components.items() if name != "scheduler"}
    pipe = diffusers.StableDiffusionImg2ImgPipeline(
        **parts, scheduler=copy.deepcopy(scheduler), requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    clean = encode(toy.vae, picture)
    options = {"strength": 0.5, "num_inference_steps": 6, "guidance_scale": 3.0}
    theirs = pipe(PROMPT, image=clean, generator=seeded(42), output_type="latent", **options).images
    ours = img2img(replace(toy, scheduler=scheduler), PROMPT, clean, **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_k_lms_begins_anew_where_the_way_begins(toy, picture):
    """Its weights are those of the levels from the start on; diffusers takes those of a past that was never walked."""
    clean, noise = encode(toy.vae, picture), initial_noise(1, *toy.size, generator=seeded(42))
    scheduler, both = copy.deepcopy(toy.scheduler), text_embeddings(toy, PROMPT)
    scheduler.set_timesteps(6)
    x = noised(toy, clean, noise, 3, 6)
    torch.testing.assert_close(x, clean + scheduler.sigmas[3] * noise)
    for t, order in zip(scheduler.timesteps[3:], (1, 2, 3), strict=True):
        twice = scheduler.scale_model_input(torch.cat([x] * 2), t)
        with torch.no_grad():
            u, c = toy.unet(twice, t, encoder_hidden_states=both).sample.chunk(2)
        x = scheduler.step(guide(u, c, 3.0), t, x, order=order).prev_sample
    torch.testing.assert_close(img2img(toy, PROMPT, picture, strength=0.5, **FEW), x, rtol=1e-3, atol=1e-3)


def test_a_run_can_go_on_from_any_step(toy):
    steps = record(toy, PROMPT, order=1, **FEW).steps
    later = end(toy, PROMPT, start=4, latents=steps[4].noisy, order=1, **FEW)
    torch.testing.assert_close(later, steps[-1].latents, rtol=1e-4, atol=1e-4)
    assert list(denoise(toy, PROMPT, start=6, latents=steps[4].noisy, **FEW)) == []
    with pytest.raises(BadInput, match="can start at 0 to that number, not at 7"):
        denoise(toy, PROMPT, start=7, latents=steps[0].noisy, **FEW)
    with pytest.raises(BadInput, match="needs the latents"):
        denoise(toy, PROMPT, start=2, **FEW)
    ddim = replace(toy, scheduler=diffusers.DDIMScheduler(**SCHEDULE))
    steps = record(ddim, PROMPT, **FEW).steps
    again = list(denoise(ddim, PROMPT, start=4, latents=steps[4].noisy, progress=True, **FEW))
    assert [step.sigma for step in again] == [step.sigma for step in steps[4:]]
    torch.testing.assert_close(again[-1].latents, steps[-1].latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scheduler", ["LMSDiscreteScheduler", "DDIMScheduler"])
def test_inpainting_keeps_what_the_mask_keeps(toy, picture, scheduler):
    sd = replace(toy, scheduler=getattr(diffusers, scheduler)(**SCHEDULE))
    mask = torch.zeros(toy.size, dtype=torch.bool)
    mask[10:30, 8:24] = True
    free, clean = latent_mask(mask), encode(toy.vae, picture)
    x = inpaint(sd, [PROMPT] * 2, picture, mask, seed=[1, 2], **FEW)
    assert x.shape == (2, 4, 6, 6)
    torch.testing.assert_close(x[..., ~free], clean.expand(2, -1, -1, -1)[..., ~free], rtol=0, atol=0)
    assert not torch.isclose(x[..., free], clean[..., free]).any(dim=1).all()
    assert not torch.equal(x[0], x[1])
    assert torch.equal(x, inpaint(sd, [PROMPT] * 2, clean, free, seed=[1, 2], **FEW))  # latents and squares, too
    with pytest.raises(BadInput, match="must fit the picture's latents"):
        inpaint(sd, PROMPT, clean, torch.ones(3, 3), **FEW)


def test_a_square_is_free_if_one_of_its_pixels_is():
    mask = torch.zeros(16, 24)
    mask[7, 8] = 1
    assert latent_mask(mask).tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize(("strength", "steps", "first"), [(0, 20, 20), (1, 20, 0), (0.6, 20, 8), (0.04, 20, 20)])
def test_the_first_step(strength, steps, first):
    assert first_step(strength, steps) == first


@pytest.mark.parametrize("strength", [-0.1, 1.1, "all"])
def test_a_strength_outside_is_refused(strength):
    with pytest.raises(BadInput, match="number from 0 to 1"):
        first_step(strength, 20)


def test_between_opposite_arrows_there_is_no_one_arc():
    one = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    with pytest.raises(BadInput, match="opposite"):
        slerp(one, -one, 0.5)


def test_an_interval_begins_low():
    with pytest.raises(BadInput, match="begins with the lower noise level: \\(1, 8\\)"):
        Steering(interval=(8.0, 1.0))


def test_lerp_and_slerp():
    one, other = torch.randn((2, 3, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    for mix in (lerp, slerp):
        torch.testing.assert_close(mix(one, other, 0.0), one)
        torch.testing.assert_close(mix(one, other, 1.0), other)
        torch.testing.assert_close(mix(one, one, 0.3), one)
    halfway = slerp(one, other, 0.5).flatten(1).norm(dim=1)
    torch.testing.assert_close(
        halfway, (one.flatten(1).norm(dim=1) + other.flatten(1).norm(dim=1)) / 2, rtol=0.02, atol=0
    )
    assert lerp(one, other, 0.5).std() == pytest.approx(math.sqrt(0.5), abs=0.05)
    right = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(slerp(*right, 1 / 3), torch.tensor([[math.cos(math.pi / 6), 0.5]]))
    alone = torch.cat([slerp(one[k : k + 1], other[k : k + 1], 0.3) for k in range(3)])
    torch.testing.assert_close(slerp(one, other, 0.3), alone)


def test_guidance_in_an_interval_only(toy):
    steps = list(denoise(toy, PROMPT, steering=Steering(interval=(1.0, 8.0)), negative_prompt="the moon", **FEW))
    inside = [1.0 < step.sigma <= 8.0 for step in steps]
    assert True in inside and False in inside
    for step, guided in zip(steps, inside, strict=True):
        assert (step.noise_uncond is not None) == guided
        expected = guide(step.noise_uncond, step.noise_text, 3.0 if guided else 1.0)
        torch.testing.assert_close(step.noise_pred, expected)
    never = end(toy, PROMPT, steering=Steering(interval=(0.0, 0.0)), **FEW)
    assert torch.equal(never, end(toy, PROMPT, num_inference_steps=6, guidance_scale=1))
    without = list(denoise(toy, PROMPT, steering=Steering(interval=(1.0, 8.0)), **FEW | {"guidance_scale": 0.0}))
    assert [step.noise_text is None for step in without] == inside


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_loss_moves_the_predicted_original(toy, kind):
    for make in (diffusers.LMSDiscreteScheduler, diffusers.DDIMScheduler):
        sd = replace(toy, scheduler=make(**SCHEDULE, prediction_type=kind))
        plain = next(denoise(sd, PROMPT, **FEW))
        pulled = next(denoise(sd, PROMPT, steering=Steering(loss=lambda x: 0.5 * (x - 2).square().sum()), **FEW))
        share = plain.sigma**2 / (plain.sigma**2 + 1)
        moved = plain.pred_original - share * (plain.pred_original - 2)
        torch.testing.assert_close(pulled.pred_original, moved, rtol=1e-3, atol=5e-3)
        assert not pulled.latents.requires_grad


def test_a_pull_towards_a_colour(toy, picture):
    values = to_tensor(picture)
    clean = encode(toy.vae, picture)
    matrix = fit_preview(values, clean)
    loss, blue = pull_colour(matrix, (-0.5, -0.5, 1), 2.0), torch.tensor([-0.5, -0.5, 1]).view(1, 3, 1, 1)
    torch.testing.assert_close(loss(clean), -2 * (preview(clean, matrix) * blue).sum())
    ends = end(
        toy, [PROMPT] * 2, seed=[1, 1], steering=Steering(loss=pull_colour(matrix, (-0.5, -0.5, 1), [0, 9])), **FEW
    )
    shown = (preview(ends, matrix) * blue).sum(dim=(1, 2, 3))
    assert shown[1] > shown[0]
    torch.testing.assert_close(ends[:1], end(toy, PROMPT, seed=[1], **FEW), rtol=1e-4, atol=1e-4)


def test_figures(toy, picture):
    mask = torch.zeros(toy.size, dtype=torch.bool)
    mask[10:30, 8:24] = True
    fig = figure_mask(picture, mask)
    assert "320 of 2304 pixels" in fig.words and fig.words.endswith("6 of 36 latent squares, in blue.")
    ax = plot_mask(picture, latent_mask(mask))
    assert int(np.isfinite(np.ma.filled(ax.collections[0].get_array().astype(float), np.nan)).sum()) == 6
    scheduler = diffusers.LMSDiscreteScheduler(**SCHEDULE)
    scheduler.set_timesteps(20)
    fig = figure_entries(scheduler, [0.25, 1])
    assert "strength 0.25: 5 steps left, from sigma 0.6" in fig.words and "strength 1: 20 steps" in fig.words
    ax = fig.axes[0]
    assert ax.get_yscale() == "log" and len(ax.lines[0].get_ydata()) == 20 and min(ax.lines[0].get_ydata()) > 0
    assert max(ax.get_xticks()) < 20
    one, other = torch.randn((2, 1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    fig = figure_mixes(one, other, [0, 0.5, 1])
    assert len(fig.axes) == 2 and "degrees apart" in fig.words
    ax = plot_mixes(one, other, [0, 0.5, 1])
    arc = np.hypot(*ax.lines[0].get_data())
    assert arc.min() > 0.95 * min(arc[0], arc[-1])


def entries(kind, steps, strengths):
    scheduler = kind(**SCHEDULE)
    scheduler.set_timesteps(steps)
    fig = figure_entries(scheduler, strengths)
    fig.draw_without_rendering()
    return fig, [line.get_xydata()[0].tolist() for line in fig.axes[0].lines[1:]]


def test_strength_0_is_entered_after_the_last_step():
    fig, places = entries(diffusers.LMSDiscreteScheduler, 20, [0, 0.01, 0.05])
    assert [x for x, _ in places] == [20, 19] and places[0][1] < places[1][1] / 1.9
    assert [note.get_text() for note in fig.axes[0].texts] == [
        "strength 0, 0.01: 0 steps left (σ = 0)",
        "strength 0.05: 1 step left",
    ]
    assert "strength 0, 0.01: 0 steps left, from sigma 0.00" in fig.words


def test_entries_of_one_step_stand_inside_the_axes():
    fig, places = entries(diffusers.LMSDiscreteScheduler, 1, [1])
    left, right = fig.axes[0].get_xlim()
    assert left < places[0][0] - 0.01 and right > 0.5


def test_a_step_of_two_calls_is_one_step():
    fig, places = entries(diffusers.HeunDiscreteScheduler, 20, [0.5])
    assert "strength 0.5: 10 steps left, from sigma 1.4" in fig.words and places[0][0] == 10
    with pytest.raises(BadInput, match="a scheduler with noise levels, not DDIMScheduler"):
        figure_entries(diffusers.DDIMScheduler(), [1])


def test_a_mask_has_the_size_of_its_picture(picture):
    half = torch.ones(picture.height // 2, picture.width // 2, dtype=torch.bool)
    with pytest.raises(BadInput, match="A mask of 24 × 24 pixels does not fit a picture of 48 × 48 pixels"):
        figure_mask(picture, half)


LEVELS = [14.6, 8.0, 4.4, 2.4, 1.3, 0.7, 0.3, 0.03, 0.0]


@pytest.mark.parametrize(
    ("name", "answer", "words", "facts"),
    [
        ("steering.1", 1, "well done", {"scale": 8}),
        ("steering.1", 8, "multiplies a difference of 0", {"scale": 8}),
        ("steering.1", 0, "own guess is left", {"scale": 8}),
        ("steering.1", 3, "text + scale · 0 = text", {"scale": 8}),
        ("steering.1", "1", "is no number", {"scale": 8}),
        ("steering.2", (15, 35), "well done", {"steps": 50, "strength": 0.3}),
        ("steering.2", [35, 15], "the other way round", {"steps": 50, "strength": 0.3}),
        ("steering.2", (15, 34), "so the first is 35", {"steps": 50, "strength": 0.3}),
        ("steering.2", (15, 15), "begin at step 35", {"steps": 50, "strength": 0.3}),
        ("steering.2", (16, 34), "= 15 steps are taken", {"steps": 50, "strength": 0.3}),
        ("steering.2", (15, 0), "50 − 15 = 35", {"steps": 50, "strength": 0.3}),
        ("steering.2", (15.0, 35), "well done", {"steps": 50, "strength": 0.3}),
        ("steering.3", (1, 9), "well done", {"sigmas": LEVELS, "most": 4}),
        ("steering.3", (9, 1), "No σ is above 9", {"sigmas": LEVELS, "most": 4}),
        ("steering.3", (5, 7), "No step would be guided", {"sigmas": LEVELS, "most": 4}),
        ("steering.3", (0.5, 9), "0.70 is still guided", {"sigmas": LEVELS, "most": 4}),
        ("steering.3", (1, 20), "5 steps are guided", {"sigmas": LEVELS, "most": 4}),
        ("steering.3", (5, 9), "Only one step", {"sigmas": LEVELS, "most": 4}),
        ("steering.3", (1,), "no pair", {"sigmas": LEVELS, "most": 4}),
    ],
)
def test_judges(said, name, answer, words, facts):
    assert words in said(name, answer, **facts) + said(name, answer, **facts)


def weighted(noises, weights):
    return (weights.view(-1, 1, 1, 1) * noises).sum(dim=0)


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (lambda n, w: weighted(n, w) / w.square().sum().sqrt(), "well done"),
        (weighted, "the straight mix"),
        (lambda n, w: weighted(n, w) / w.sum(), "it is a mean"),
        (lambda n, w: weighted(n, w) / w.square().sum(), "root is missing"),
        (lambda n, w: weighted(n, w) / weighted(n, w).std(), "this one draw"),
        (lambda n, w: weighted(n, w) / 0.5**0.5, "It fits certain weights"),
        (lambda n, w: weighted(n, w) / (w[0] ** 2 + w[1] ** 2 + w[2] ** 2) ** 0.5, "what is fixed in it?"),
        (lambda n, w: (w.view(3, 1, 1, 1) * n).sum(dim=0) / w.norm(), "It fits certain weights"),
        (lambda n, w: n[0], "is not the weighted sum"),
        (lambda n, w: n, "The sum is not taken"),
        (lambda n, w: weighted(n, w)[None], "without keeping it"),
        (lambda n, w: (w.view(-1, 1, 1, 1) * n).sum(dim=0, keepdim=True), "keepdim=True"),
        (lambda n, w: ..., "not answered"),
    ],
)
def test_judge_of_the_mix(said, mix, words):
    assert words in said("steering.4", mix) + said("steering.4", mix)


@pytest.mark.parametrize("kind", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_of_two_steps_with_one_timestep_each_has_its_own_noise(toy, kind):
    make = getattr(diffusers, kind)
    sd = replace(toy, scheduler=make.from_config(toy.scheduler.config, use_karras_sigmas=True))
    clean = torch.zeros(1, 4, 6, 6)
    noise = initial_noise(1, *toy.size, generator=seeded(1))
    times = sd.scheduler
    times.set_timesteps(50)
    twice = [k for k in range(49) if times.timesteps[k] == times.timesteps[k + 1]]
    assert twice
    for step in (twice[0], twice[0] + 1):
        (first, *_) = denoise(sd, "a horse", latents=noise, start=step, num_inference_steps=50)
        level = first.sigma / (first.sigma**2 + 1) ** 0.5
        torch.testing.assert_close(noised(sd, clean, noise, step, 50), level * noise, rtol=1e-4, atol=1e-5)


def test_a_loss_may_be_asked_for_under_inference_mode(toy):
    steering = Steering(loss=lambda x: x.square().sum())
    with torch.inference_mode():
        *_, inside = denoise(toy, "a horse", num_inference_steps=2, steering=steering)
    *_, outside = denoise(toy, "a horse", num_inference_steps=2, steering=steering)
    torch.testing.assert_close(inside.latents, outside.latents)


def test_pulls_and_colours_of_another_number(toy):
    matrix, latents = torch.ones(5, 3), torch.ones(3, 4, 2, 2)
    with pytest.raises(BadInput, match="2 pulls for 3 pictures"):
        pull_colour(matrix, (0, 0, 1), [1.0, 2.0])(latents)
    with pytest.raises(BadInput, match="three numbers"):
        pull_colour(matrix, (0, 1), 1.0)
    assert pull_colour(matrix, (0, 0, 1), [1.0, 2.0, 3.0])(latents).ndim == 0
