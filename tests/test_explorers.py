"""Explorers answer from what was recorded, escape what was typed, and survive bad input."""

import gc
import re
import threading
import weakref
from dataclasses import replace
from html import escape

import ipywidgets
import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler
from traitlets import TraitError

from sdlesson.attention import record_attention
from sdlesson.explorers.attention import explore_attention
from sdlesson.explorers.base import Explorer, Painting, Plot, map_picture, tile
from sdlesson.explorers.guidance import explore_guidance
from sdlesson.explorers.prompts import explore_two_prompts
from sdlesson.explorers.sigmas import explore_sigmas
from sdlesson.explorers.slider import Slider
from sdlesson.explorers.steps import explore_steps
from sdlesson.explorers.tokens import explore_tokens
from sdlesson.explorers.unet import explore_unet
from sdlesson.figures.base import SEQUENTIAL
from sdlesson.guidance import denoise, record
from sdlesson.loading.errors import BadInput
from sdlesson.tokens import word_positions
from sdlesson.unet import record_maps, stages

BAD = '<script>alert("x")</script> & "riding" a horse'


@pytest.fixture(scope="module")
def trace(toy):
    return record(toy, "a horse", num_inference_steps=4)


def alts(explorer):
    return re.findall(r'alt="([^"]*)"', explorer.page.value)


def test_a_bad_value_is_said_in_place_and_the_page_stays():
    def show(value):
        if value < 0:
            raise BadInput("Give <0> or more.")
        return f"page {value}"

    explorer = Explorer("words", {"value": ipywidgets.IntText(3)}, show)
    assert explorer.page.value == "page 3" and explorer.said.value == "" and repr(explorer) == "words"
    explorer.knobs["value"].value = -1
    assert explorer.page.value == "page 3"
    assert 'role="status"' in explorer.said.value and "Give &lt;0&gt; or more." in explorer.said.value
    explorer.knobs["value"].value = 4
    assert explorer.page.value == "page 4" and explorer.said.value == ""


def test_what_goes_wrong_otherwise_is_said_too():
    def show(knob):
        if knob:
            raise MemoryError("no room")
        return "good"

    knob = ipywidgets.IntSlider()
    explorer = Explorer("An explorer.", {"knob": knob}, show)
    knob.value = 1
    assert "This could not be shown. MemoryError: no room" in explorer.said.value and explorer.page.value == "good"


def test_maps_are_centred_or_begin_at_zero():
    values = torch.tensor([[-2.0, 0.0, 2.0]])
    low, middle, high = np.asarray(map_picture(values, 2.0))[0].tolist()
    assert middle == pytest.approx((247, 247, 247), abs=3) and low[2] > low[1] and high[0] > high[2]
    low, middle, high = np.asarray(map_picture(values, 2.0, SEQUENTIAL))[0].tolist()
    assert low == middle != high and map_picture(values, 2.0).size == (3, 1)


@pytest.mark.parametrize("limit", [0.0, float("nan"), float("inf")])
def test_a_map_without_a_limit_takes_its_own(limit):
    zero, one, none = np.asarray(map_picture(torch.tensor([[0.0, 1.0, torch.nan]]), limit))[0].tolist()
    assert min(zero) > 240 and one[0] > one[2] and len(set(none)) == 1 < max(none) < 200
    assert np.asarray(map_picture(torch.zeros(1, 1), limit)).min() > 240


def test_a_slider_keeps_its_place_and_its_value_together():
    seen, slider = [], Slider("guidance", [0.0, 3.0, 7.5], 3.0)
    slider.observe(lambda change: seen.append(change.new), "value")
    assert (slider.names, slider.index, slider.value) == (["0", "3", "7.5"], 1, 3.0)
    slider.index = 2  # what the browser sends
    slider.value = 0.0
    assert slider.index == 0 and seen == [7.5, 0.0]
    slider.choose_from([1, 2, 3, 4], 4)
    assert (slider.names, slider.index, slider.value) == (["1", "2", "3", "4"], 3, 4)
    with pytest.raises(TraitError, match="5 is none"):
        slider.value = 5
    assert slider.value == 4 and slider.index == 3


def test_titles_and_words_are_escaped():
    html = tile(map_picture(torch.zeros(1, 1), 1.0), BAD, BAD)
    assert "<script>" not in html and 'alt="&lt;script&gt;alert(&quot;x&quot;)' in html


def test_the_step_explorer_shows_each_recorded_step(toy, trace):
    explorer = explore_steps(toy, trace)
    assert "4 recorded steps" in repr(explorer) and len(explorer.page.value) < 40_000
    pages = set()
    for step in trace.steps:
        explorer.knobs["step"].value = step.index
        assert f"timestep {step.timestep:.2f}, σ {step.sigma:.2f}" in explorer.page.value
        limit = step.noise_pred[0, 0].abs().max()
        assert f"predicted noise, channel 0: 6 by 6 numbers up to {limit:.2f}" in alts(explorer)
        pages.add(explorer.page.value)
    assert len(pages) == 4 and len(alts(explorer)) == 5
    explorer.knobs["channel"].value = 2
    assert f"noisy latents, channel 2: 6 by 6 numbers up to {step.noisy[0, 2].abs().max():.2f}" in alts(explorer)


def test_the_sigma_mark_falls_with_sigma(toy, trace):
    explorer = explore_steps(toy, trace)
    tops = []
    for step in range(4):
        explorer.knobs["step"].value = step
        tops.append(float(re.search(r'cy="([0-9.]+)" r="6"', explorer.page.value)[1]))
    assert tops == sorted(tops) and 0 < tops[0] < tops[-1] < 72 * 2.2


def test_curves_lie_where_matplotlib_has_drawn_the_axes():
    plot = Plot((3, 2), xlim=(0, 10), ylim=(0.01, 100), yscale="log")
    (left, low), (right, high), (middle, half) = plot.places([0, 10, 5], [0.01, 100, 1])
    assert 0 < left < right <= 216 and 0 <= high < low < 144
    assert middle == pytest.approx((left + right) / 2) and half == pytest.approx((low + high) / 2)
    html = plot.tile({BAD: ([0, 5], [1, 1]), "other": ([5], [2])}, "title", "words", mark=(5, 1))
    assert "<script>" not in html and f'cx="{middle:.1f}" cy="{half:.1f}" r="6"' in html
    assert f'points="{left:.1f},{half:.1f} {middle:.1f},{half:.1f}"' in html and "other" in html


def test_the_token_explorer_escapes_counts_and_names_what_is_cut(toy):
    explorer = explore_tokens(toy, "a horse")
    used = int(re.search(r"(\d+) of 77 places", explorer.page.value)[1])
    assert used == len(toy.tokenizer("a horse").input_ids)
    explorer.knobs["prompt"].value = BAD
    assert "<script>" not in explorer.page.value
    explorer.knobs["prompt"].value = "horse " * 90 + "moon <b>"
    assert "77 of 77 places" in explorer.page.value and "moon &lt;b&gt;”." in explorer.page.value
    explorer.knobs["prompt"].value = ""
    assert "2 of 77 places" in explorer.page.value


def test_the_token_explorer_compares(toy):
    explorer = explore_tokens(toy, "a horse", "a horse")
    assert "<b>1.000</b>" in explorer.page.value
    explorer.knobs["other"].value = "a duck"
    assert "<b>1.000</b>" not in explorer.page.value and "Cosine" in explorer.page.value
    explorer.knobs["other"].value = ""
    assert "Cosine" not in explorer.page.value


def test_the_sigma_explorer_follows_its_knobs():
    explorer = explore_sigmas()
    levels, weights = alts(explorer)
    assert "20 steps: from 14.61 to 0.029" in levels and "up to 4 slopes in each of 20 steps" in weights
    assert "slope 3 steps ago" in explorer.page.value and "slope 1 step ago" in explorer.page.value
    explorer.knobs["order"].value = 1
    assert "newest slope first: +1.00." in explorer.page.value and "step ago" not in explorer.page.value
    explorer.knobs["steps"].value = 2
    assert alts(explorer)[0].startswith("Noise levels of 2 steps")
    explorer.knobs["steps"].value = 5
    for name in explorer.knobs["levels_of"].options:
        explorer.knobs["levels_of"].value = name
        assert explorer.said.value == "" and f"noise levels, {escape(name)}" in explorer.page.value


def test_all_weights_lie_inside_the_frame():
    explorer = explore_sigmas()
    steps, levels = (explorer.knobs[name] for name in ("steps", "levels_of"))
    for each in levels.options:
        levels.value = each
        for steps.value in (2, 20, 60):  # with 60 steps Karras's weights are the largest of all
            heights = [float(y) for y in re.findall(r'cy="([-0-9.]+)"', explorer.page.value)]
            assert min(heights) > 0 and max(heights) < 180
    assert len(heights) == 60 + 60 + 59 + 58 + 57


@pytest.fixture(scope="module")
def runs(toy):
    options = {"num_inference_steps": 3, "negative_prompt": "a duck"}
    return [record(toy, ["a horse"] * 2, seed=[1, 2], guidance_scale=scale, **options) for scale in (0, 3)]


def test_the_guidance_explorer_shows_recorded_runs(toy, runs):
    explorer = explore_guidance(toy, runs)
    assert "4 recorded runs of “a horse”" in repr(explorer)
    sources = set()
    for scale, trace in zip((0, 3), runs, strict=True):
        for number, seed in enumerate((1, 2)):
            explorer.knobs["guidance"].value, explorer.knobs["seed"].value = scale, seed
            assert alts(explorer) == [f"a horse, guidance {scale}, seed {seed}"]
            assert f"Largest latent {trace.steps[-1].latents[number].abs().max():.1f};" in explorer.page.value
            sources.add(re.search(r'src="([^"]+)"', explorer.page.value)[1])
    assert len(sources) == 4


def test_the_guidance_explorer_paints_another_pair(toy, runs):
    explorer = explore_guidance(toy, runs)
    scale, seed = explorer.boxes
    scale.value, seed.value = 5, 7
    explorer.painting.start()
    scale.value, seed.value = 9, 8  # too late for this run
    explorer.painting.wait(60)
    assert explorer.said.value == "" and explorer.knobs["guidance"].value == 5 and explorer.knobs["seed"].value == 7
    options = {"num_inference_steps": 3, "negative_prompt": "a duck"}
    *_, end = denoise(toy, "a horse", guidance_scale=5, seed=7, **options)
    assert f"Largest latent {end.latents.abs().max():.1f};" in explorer.page.value
    explorer.knobs["seed"].value = 1
    assert "Seed 1 is painted at guidance 0, 3. For 5, type it below" in explorer.page.value


@pytest.mark.parametrize(
    ("scale", "seed", "said"), [(3, 1.5, "whole number from 0 to"), (3, -1, "not -1"), (1e9, 1, "1e6")]
)
def test_the_guidance_explorer_says_what_it_does_not_take(toy, runs, scale, seed, said):
    explorer = explore_guidance(toy, runs)
    explorer.boxes[0].value, explorer.boxes[1].value = scale, seed
    explorer.painting.start()
    assert said in explorer.said.value and explorer.boxes[0].value == scale and explorer.boxes[1].value == seed
    explorer.boxes[0].value, explorer.boxes[1].value = 1000, 3  # far, but possible: it is painted as it was typed
    explorer.painting.start()
    explorer.painting.wait(60)
    assert explorer.knobs["guidance"].value == 1000


def test_a_slider_knows_whether_the_kernel_has_heard_it():
    slider = Slider("step", range(5))
    slider.index = 3
    assert slider.heard == 3 and slider.value == 3
    slider.choose_from(range(9), 8)
    assert slider.heard == slider.index == 8


def test_a_viewer_without_a_kernel_gets_the_page_of_an_explorer(toy, runs):
    bundle = explore_guidance(toy, runs)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and "<img src=" in bundle["text/html"]


def test_the_guidance_explorer_needs_to_know_seeds_and_one_prompt(toy, runs):
    unknown = record(toy, "a horse", num_inference_steps=2, latents=runs[0].steps[0].latents[:1])
    with pytest.raises(BadInput, match="seed"):
        explore_guidance(toy, [unknown])
    with pytest.raises(BadInput, match="one prompt"):
        explore_guidance(toy, [*runs, record(toy, "a duck", num_inference_steps=3)])
    with pytest.raises(BadInput, match="at least one"):
        explore_guidance(toy, [])
    with pytest.raises(BadInput, match="a seed for each picture"):  # one noise for both was drawn from it
        explore_guidance(toy, [record(toy, ["a horse"] * 2, num_inference_steps=2, seed=42)])
    with pytest.raises(BadInput, match="one prompt"):
        explore_guidance(toy, [record(toy, ["a horse", "a duck"], num_inference_steps=2, seed=[1, 2])])
    with pytest.raises(BadInput, match="one picture would be lost"):
        explore_guidance(toy, [*runs, runs[0]])
    with pytest.raises(BadInput, match="one size and one number of steps"):
        explore_guidance(toy, [*runs, record(toy, "a horse", num_inference_steps=9)])
    with pytest.raises(BadInput, match="of one negative prompt"):
        explore_guidance(toy, [*runs, record(toy, "a horse", num_inference_steps=3, guidance_scale=5)])


@pytest.fixture(scope="module")
def attended(toy):
    with record_attention(toy.unet) as heat:
        trace = record(toy, "a red horse", num_inference_steps=3)
    return trace, heat


def test_the_attention_explorer_shows_the_heat_of_the_chosen_words(toy, attended):
    trace, heat = attended
    explorer = explore_attention(toy, trace, heat)
    words, step, side = (explorer.knobs[name] for name in ("words", "step", "side"))
    assert words.options == ("(start)", "a", "red", "horse", "(end)", "(padding)")
    words.value, step.value = ("red", "horse"), 2
    places = word_positions(toy.tokenizer, "a red horse", "red") + word_positions(toy.tokenizer, "a red horse", "horse")
    assert "Heat of red, horse at step 2" in alts(explorer)[0]
    assert f"up to {heat.of(places, calls=2).max():.2f}" in alts(explorer)[0]
    side.value = side.options[1][1]
    rows, columns = side.value
    assert f"{rows} × {columns} squares" in alts(explorer)[0]
    words.value = ()
    assert "Choose at least one word." in explorer.said.value
    words.value = ("(padding)",)
    assert "Heat of (padding)" in alts(explorer)[0] and explorer.said.value == ""


def test_the_attention_explorer_shows_the_prompts_half_where_both_were_kept(toy, attended):
    with record_attention(toy.unet, keep="all") as both:
        trace = record(toy, "a red horse", num_inference_steps=3)
    shown = [alts(explore_attention(toy, trace, heat)) for heat in (attended[1], both)]
    assert shown[0] == shown[1]


def test_the_attention_explorer_leaves_out_words_that_are_cut(toy):
    prompt = "horse " * 80 + "moon"
    with record_attention(toy.unet) as heat:
        trace = record(toy, prompt, num_inference_steps=2)
    explorer = explore_attention(toy, trace, heat)
    assert "moon" not in explorer.knobs["words"].options


def test_the_attention_explorer_has_no_heat_of_words_that_were_not_read(toy):
    with record_attention(toy.unet, keep="all") as heat:
        trace = record(toy, "a horse", num_inference_steps=2, guidance_scale=0)
    with pytest.raises(BadInput, match="never reads the prompt"):
        explore_attention(toy, trace, heat)


def test_the_attention_explorer_knows_words_of_other_alphabets(toy):
    with record_attention(toy.unet) as heat:
        trace = record(toy, "घोड़ा चाँद 🐎", num_inference_steps=2)
    assert explore_attention(toy, trace, heat).knobs["words"].options[1:4] == ("घोड़ा", "चाँद", "🐎")


def test_the_attention_explorer_refuses_the_heat_of_another_run(toy, attended):
    trace, heat = attended
    with pytest.raises(BadInput, match="3 steps"):
        explore_attention(toy, trace, replace(heat, layers={name: kept[:2] for name, kept in heat.layers.items()}))


def test_two_prompts_are_painted_with_one_noise(toy):
    explorer = explore_two_prompts(toy, "a horse", BAD)
    assert "Press Paint" in explorer.page.value
    explorer.painting.start()
    explorer.painting.wait(60)
    assert explorer.said.value == "" and explorer.painting.bar.value == 20
    assert "Step 19: 100%" in explorer.page.value and "<script>" not in explorer.page.value
    explorer.boxes[1].value = "a horse"  # the same prompt: the same picture, whatever the noise
    explorer.painting.start()
    explorer.boxes[1].value = "a duck"  # too late for this run
    explorer.painting.wait(60)
    one, other = re.findall(r'src="([^"]+)"', explorer.page.value)
    assert one == other and "Step 19: 0% as far apart" in explorer.page.value and "a duck" not in explorer.page.value


def test_a_run_can_be_stopped_and_nothing_of_it_is_kept():
    said, done, begun, go_on = [], [], threading.Event(), threading.Event()

    def steps():
        yield 0
        begun.set()
        go_on.wait(10)
        yield 1
        yield 2

    painting = Painting("Paint", lambda: (steps(), 3, done.append), said.append)
    painting.go.click()
    begun.wait(10)
    painting.go.click()  # a second run does not begin
    assert painting.go.disabled and not painting.halt.disabled
    painting.halt.click()
    go_on.set()
    painting.wait(10)
    assert done == [] and said[-1].startswith("Stopped after 2 of 3 steps")
    assert not painting.go.disabled and painting.halt.disabled


def test_a_run_that_fails_says_so():
    said = []

    def steps():
        yield 0
        raise RuntimeError("no memory")

    painting = Painting("Paint", lambda: (steps(), 2, lambda kept: None), said.append)
    painting.start()
    painting.wait(10)
    assert said[-1] == "The run ended early. RuntimeError: no memory" and not painting.go.disabled

    def refused():
        raise BadInput("Too small.")

    Painting("Paint", refused, said.append).start()
    assert said[-1] == "Too small."
    Painting("Paint", lambda: 1 / 0, said.append).start()
    assert said[-1] == "The run did not begin. ZeroDivisionError: division by zero"


def test_a_run_of_second_order_has_more_steps_and_cuts_are_told(toy):
    heun = replace(toy, scheduler=HeunDiscreteScheduler.from_config(toy.scheduler.config))
    explorer = explore_two_prompts(heun, "a horse", "a duck" + " on a horse" * 40 + " lastly")
    explorer.painting.start()
    explorer.painting.wait(60)
    assert explorer.painting.bar.max == explorer.painting.bar.value == 39 and "Step 38: 100%" in explorer.page.value
    assert "Too long; not seen: " in explorer.page.value and "lastly." in explorer.page.value


def test_a_closed_explorer_is_kept_by_nobody(toy, trace):
    with record_maps(stages(toy.unet)) as maps:
        record(toy, "a horse", num_inference_steps=4)
    kept = weakref.ref(maps["mid_block"][0])
    explorer = explore_unet(toy, trace, maps)
    page = weakref.ref(explorer.page)
    del maps
    gc.collect()
    assert kept() is None  # what is shown was copied
    explorer.close()
    del explorer
    gc.collect()
    assert page() is None
