"""Explorers answer from what was recorded, escape what was typed, and survive bad input."""

import re
import threading

import pytest
import torch

from sdlesson.explorer import Explorer, Painting, map_picture, tile
from sdlesson.figures import SEQUENTIAL
from sdlesson.guidance import record
from sdlesson.models import BadInput
from sdlesson.widgets import explore_sigmas, explore_steps, explore_tokens, explore_two_prompts

BAD = '<script>alert("x")</script> & "riding" a horse'


@pytest.fixture(scope="module")
def trace(toy):
    return record(toy, "a horse", num_inference_steps=4)


def alts(explorer):
    return re.findall(r'alt="([^"]*)"', explorer.page.value)


def test_a_bad_value_is_said_in_place_and_the_page_stays():
    import ipywidgets

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


def test_maps_are_centred_or_begin_at_zero():
    values = torch.tensor([[-2.0, 0.0, 2.0]])
    low, middle, high = map_picture(values, 2.0).get_flattened_data()
    assert middle == pytest.approx((247, 247, 247), abs=3) and low[2] > low[1] and high[0] > high[2]
    low, middle, high = map_picture(values, 2.0, SEQUENTIAL).get_flattened_data()
    assert low == middle != high and map_picture(values, 2.0).size == (3, 1)


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
        tops.append(float(re.search(r"top:calc\(([0-9.]+)%", explorer.page.value)[1]))
    assert tops == sorted(tops) and 0 < tops[0] < tops[-1] < 100


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
    assert "from 14.61 to 0.029" in alts(explorer)[0] and "up to 4 slopes" in alts(explorer)[0]
    explorer.knobs["order"].value = 1
    assert "newest slope first: +1.00." in explorer.page.value
    explorer.knobs["steps"].value = 5
    assert alts(explorer)[0].startswith("Two plots for 5 steps")


def test_two_prompts_are_painted_with_one_noise(toy):
    explorer = explore_two_prompts(toy, "a horse", BAD)
    assert "Press Paint" in explorer.page.value
    explorer.painting.start()
    explorer.painting.wait(60)
    assert explorer.said.value == "" and explorer.painting.bar.value == 20
    assert "Step 19: 100%" in explorer.page.value and "<script>" not in explorer.page.value
    explorer.boxes[1].value = "a horse"  # the same prompt: the same picture, whatever the noise
    explorer.painting.start()
    explorer.painting.wait(60)
    one, other = re.findall(r'src="([^"]+)"', explorer.page.value)
    assert one == other


def test_a_run_can_be_stopped_and_nothing_of_it_is_kept():
    said, done, begun, go_on = [], [], threading.Event(), threading.Event()

    def steps():
        yield 0
        begun.set()
        go_on.wait(10)
        yield 1
        yield 2

    painting = Painting("Paint", lambda: (steps(), 3), done.append, said.append)
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

    painting = Painting("Paint", lambda: (steps(), 2), lambda kept: None, said.append)
    painting.start()
    painting.wait(10)
    assert said[-1] == "The run ended early. RuntimeError: no memory" and not painting.go.disabled

    def refused():
        raise BadInput("Too small.")

    Painting("Paint", refused, lambda kept: None, said.append).start()
    assert said[-1] == "Too small."
