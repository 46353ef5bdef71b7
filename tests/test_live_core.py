"""The live page's machine in a real Chromium, against what Python says: nothing is asked of another server."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import live_vectors
import numpy as np
import pytest
import torch

pytest.importorskip("playwright", reason="Playwright is not installed")

from live_site import serve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import build_live

CLOSE = 1e-6  # of noise, levels and coefficients
LEVELS = 2  # of 255, between a picture and torch's with the float32 weights
TEXT = 1e-3  # of embeddings of about 1: the checkpoint's text encoder is in float32, the page's in 24 bits


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("core")) as site:
        yield site


@pytest.fixture
def blank(chrome, site):
    """A page of the same place, with none of the page's own code; it may ask nobody else."""
    page, asked = chrome.new_page(), []
    page.set_default_timeout(60_000)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.address}core/errors.js")
    yield page
    site.faults.clear()
    page.close()
    assert [url for url in asked if not url.startswith(site.address)] == []


@pytest.fixture(scope="module")
def loaded(chrome, site):
    """A page where `window.machine` has come, for the tests that leave it there."""
    page, asked = chrome.new_page(), []
    page.set_default_timeout(60_000)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.address}core/errors.js")
    call(page, "window.machine = (await core('client')).openMachine(); await window.machine.load();")
    yield page
    page.close()
    assert [url for url in asked if not url.startswith(site.address)] == []


def call(page, code: str, given=None):
    """What the body `code` of an async function of `given` returns; `await core("NAME")` is a module."""
    body = f"async given => {{ const core = name => import(`./${{name}}.js`); {code} }}"
    return page.evaluate(body, given if given is not None else {})


LOADED = "const { machine } = window;"


def test_the_types_of_the_page_fit():
    if not (build_live.NPM / "typescript").is_dir():
        pytest.skip("TypeScript is not there: make live.")
    build_live.npm("run", "check")


def test_noise_is_torchs(blank):
    drawn = live_vectors.noise()
    code = """const { randn, MersenneTwister, as_seed } = await core('noise');
        return given.map(({ seed, count }) => [...randn(count, new MersenneTwister(as_seed(seed)))]);"""
    found = call(blank, code, [{"seed": each["seed"], "count": each["count"]} for each in drawn])
    plain = torch.backends.cpu.get_cpu_capability() == "DEFAULT"  # then torch's own logarithm rounds otherwise
    for each, values in zip(drawn, found, strict=True):
        assert np.abs(np.array(values) - each["values"]).max() < (4 if plain else 1) * CLOSE, each["seed"]


@pytest.mark.parametrize("seed", ["-1", "1.5", "NaN", "", str(2**64), "1e3", "0x10", "<b>"])
def test_a_seed_that_is_none_is_told(blank, seed):
    code = """const { as_seed } = await core('noise');
        try { as_seed(given); } catch (e) { return `${e.name}: ${e.message}`; }"""
    assert call(blank, code, seed) == "LiveError: A seed is a whole number from 0 to 18446744073709551615."


def test_levels_times_and_coefficients(blank):
    expected = live_vectors.schedules()
    code = """const { schedule, lms_coefficients } = await core('sigmas');
        return given.map(({ steps, kind, order }) => {
            const { sigmas, timesteps } = schedule(steps, kind);
            return { sigmas, timesteps, coefficients: timesteps.map((_, i) => lms_coefficients(sigmas, i, order)) };
        });"""
    asked = [{name: each[name] for name in ("steps", "kind", "order")} for each in expected]
    for each, found in zip(expected, call(blank, code, asked), strict=True):
        for name in ("sigmas", "timesteps"):
            assert np.allclose(found[name], each[name], rtol=0, atol=CLOSE), (each["steps"], each["kind"], name)
        for ours, theirs in zip(found["coefficients"], each["coefficients"], strict=True):
            assert np.allclose(ours, theirs, rtol=CLOSE, atol=CLOSE), (each["steps"], each["kind"])


def test_ids_of_every_kind_of_text(loaded, tiny):
    expected = live_vectors.ids(tiny)
    code = LOADED + "return Promise.all(given.map(text => machine.tokenize(text)));"
    for each, found in zip(expected, call(loaded, code, [each["text"] for each in expected]), strict=True):
        assert (found["ids"], found["cut"]) == (each["ids"], each["cut"]), each["text"]


def test_words_know_their_places_and_the_world(loaded):
    code = LOADED + "return (await machine.tokenize('a photograph of a zebra, riding')).words;"
    words = call(loaded, code)
    assert [word["word"] for word in words] == ["a", "photograph", "of", "a", "zebra", ",", "riding"]
    assert [word["word"] for word in words if not word["known"]] == ["zebra"]
    assert [place for word in words for place in word["positions"]] == list(range(1, 1 + len(words) + 4))


def test_one_step_and_whole_runs(loaded, tiny):
    expected = live_vectors.runs(tiny)
    code = (
        LOADED
        + """const all = [];
        for (const options of given) {
            const run = { latents: [] };
            for await (const event of machine.paint(options)) {
                if (event.kind === 'start') run.text_embeddings = [...event.text_embeddings.data];
                if (event.kind === 'step') run.latents.push([...event.latents.data]);
                if (event.kind === 'step') run.step = Object.fromEntries(
                    Object.entries(event).flatMap(([name, value]) => value.data ? [[name, [...value.data]]] : []));
                if (event.kind !== 'picture') continue;
                run.picture = [...event.picture.data].filter((_, k) => k % 4 < 3);
                run.decoded = [...event.decoded.data];
            }
            all.push(run);
        }
        return all;"""
    )
    found = call(loaded, code, [run["options"] for run in expected])
    for theirs, ours in zip(expected, found, strict=True):
        assert len(ours["latents"]) == len(theirs["latents"])
        assert apart(ours["picture"], theirs["picture"]) <= LEVELS, theirs["options"]
    first, ours = expected[0], found[0]
    for name in live_vectors.STEP:
        assert apart(ours["step"][name], first["step"][name]) < 1e-3 * max(1, np.abs(first["step"][name]).max()), name
    assert apart(ours["text_embeddings"], first["text_embeddings"]) < TEXT
    assert apart(ours["decoded"], first["decoded"]) < 1 / 255


def apart(one, other) -> float:
    return np.abs(np.array(one) - np.array(other)).max()


PAINT = """const run = async options => { const seen = [];
    const four = { prompt: 'a horse', num_inference_steps: 4 };
    for await (const event of machine.paint({ ...four, ...options })) seen.push(event);
    return seen; };"""


def test_previews_are_made_when_asked_for(loaded):
    code = (
        LOADED
        + PAINT
        + """const plain = await run({}), all = await run({ previews: ['picture', 'attention', 'features'] });
        const { attention, features, picture } = all[1];
        attention.data = [...attention.data];
        return { plain: Object.keys(plain[1]), attention, features: Object.keys(features), size: picture.data.length,
            same: plain[4].latents.data.every((value, k) => value === all[4].latents.data[k]) };"""
    )
    found = call(loaded, code)
    assert not {"picture", "attention", "features"} & set(found["plain"])
    data = np.array(found["attention"]["data"]).reshape(found["attention"]["shape"])
    assert data.shape == (77, 8, 8) and np.allclose(data.sum(axis=0), 1, atol=1e-5)
    assert {"conv_in", "down_blocks.0", "mid_block", "up_blocks.2"} <= set(found["features"])
    assert found["size"] == 128 * 128 * 4 and found["same"]


def test_what_is_broken_shows(loaded):
    code = (
        LOADED
        + PAINT
        + """const seen = {};
        for (const name of ['none', 'no_scaling', 'step_twice', 'wrong_timestep', 'unscaled_decode']) {
            const events = await run({ breaks: { [name]: true } });
            const steps = events.filter(event => event.kind === 'step');
            seen[name] = { steps: steps.length, timestep: steps[0].timestep, input: steps[0].model_input.data[0],
                noisy: steps[0].noisy.data[0], next: steps[0].sigma_next, picture: [...events.at(-1).picture.data] };
        }
        return seen;"""
    )
    seen = call(loaded, code)
    right = seen.pop("none")
    assert all(each["picture"] != right["picture"] for each in seen.values())
    assert seen["no_scaling"]["input"] == seen["no_scaling"]["noisy"] != right["input"]
    assert (right["timestep"], seen["wrong_timestep"]["timestep"]) == (999, 0)
    assert (right["steps"], seen["step_twice"]["steps"]) == (4, 3)  # the last round has no level to go to
    assert seen["step_twice"]["next"] < right["next"]


def test_stop_ends_a_run_and_no_later_one(loaded):
    code = (
        LOADED
        + """const seen = [];
        for await (const event of machine.paint({ prompt: 'a horse', num_inference_steps: 100 })) {
            seen.push(event.kind);
            if (seen.length === 3) machine.stop();
        }
        const first = machine.paint({ prompt: 'a horse' });
        await first.next();
        const second = (async () => { const kinds = [];
            const three = { prompt: 'a cat', num_inference_steps: 3 };
            for await (const event of machine.paint(three)) kinds.push(event.kind);
            return kinds; })();
        await new Promise(soon => setTimeout(soon));
        await first.return();
        return { seen, second: await second };"""
    )
    found = call(loaded, code)
    assert found["seen"][:3] == ["start", "step", "step"] and len(found["seen"]) < 20 and "picture" not in found["seen"]
    assert found["second"] == ["start", "step", "step", "step", "picture"]


def test_close_ends_it_at_once_and_load_begins_again(loaded):
    code = (
        LOADED
        + """const run = (async () => { for await (const event of machine.paint({ prompt: 'a horse' })); })();
        await new Promise(soon => setTimeout(soon, 100));
        machine.close();
        const said = await run.catch(error => error.message);
        await machine.load();
        return [said, (await machine.tokenize('a horse')).count];"""
    )
    assert call(loaded, code) == ["The model was stopped.", 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_inference_steps": 0}, "The number of steps must be a whole number from 1 to 100."),
        ({"guidance_scale": "NaN"}, "The guidance scale must be a number from -50 to 50."),
        ({"order": 5}, "The order of K-LMS must be a whole number from 1 to 4."),
        ({"schedule": "cosine"}, "The schedule is linspace or karras."),
        ({"schedule": "karras", "num_inference_steps": 1}, "Karras' noise levels need 2 steps or more."),
        ({"seed": "NaN"}, "A seed is a whole number from 0 to 18446744073709551615."),
        ({"prompt": "a" * 200_001}, "A prompt has at most 200000 letters."),
        ({"prompt": None}, "A prompt is a text."),
    ],
)
def test_a_wrong_setting_is_one_sentence(loaded, options, said):
    code = (
        LOADED
        + """try { for await (const event of machine.paint({ prompt: 'a horse', ...given })); }
        catch (error) { return [error.name, error.message, (await machine.tokenize('a horse')).count]; }"""
    )
    assert call(loaded, code, options) == ["LiveError", said, 2]


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("unet-weights", "missing", r"The model's file unet-weights-\w+\.bin is not there \(404\); .* try again\."),
        (".bin", "missing", r"The model's file ort-wasm-\w+\.bin is not there \(404\); .* try again\."),
        ("unet-weights", "cut", r"The model's file unet\.weights did not come whole \(only \d+ of its \d+ bytes .*"),
        ("ort-wasm", "cut", r"The model's file ort\.wasm did not come whole .*"),
        ("manifest", "cut", r"The list of the model's files is damaged; .*"),
    ],
)
def test_a_file_that_does_not_come_is_told_and_tried_again(blank, site, name, fault, said):
    site.faults[name] = fault
    code = "window.machine = (await core('client')).openMachine(); return window.machine.load().catch(e => e.message);"
    assert re.fullmatch(said, call(blank, code))
    site.faults.clear()
    code = """const seen = []; await window.machine.load(progress => seen.push(progress));
        return [(await window.machine.tokenize('a horse')).count, seen.at(-1)];"""
    count, progress = call(blank, code)
    assert count == 2 and (progress is None or progress["loaded"] == progress["total"])
