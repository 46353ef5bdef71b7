"""The live page in a real Chromium: the recorded run, live runs, addresses, files of one's own, and access for all."""

from __future__ import annotations

import json
import re
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "book"))
pytest.importorskip("playwright", reason="Playwright is not installed")

from live_site import SOURCE, serve
from playwright.sync_api import expect

from sdlesson.decoding import save_trace
from sdlesson.guidance import Step, Trace, record
from sdlesson.world import captions

PROMPT = "a cartoon of a penguin riding a red bicycle"
TYPED = '<img src=x onerror="window.broken = true"><script>window.broken = true</script>'
STATIONS = ["words", "vectors", "noise", "levels", "unet", "attention", "guidance", "step", "picture"]
SOON = 60_000  # milliseconds: other tests may run beside this one, and each tab starts a model
expect.set_options(timeout=SOON)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("live")) as site:
        yield site


class Tab:
    """A tab with the page; at the end it must not have complained, or asked another server for anything."""

    def __init__(self, chrome, site, state="", **options):
        self.site, self.complaints, self.fetched = site, [], []
        self.page = chrome.new_page(**({"reduced_motion": "reduce"} | options))
        self.page.set_default_timeout(SOON)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.goto(f"{site.address}{'#' if state else ''}{state}")

    def close(self):
        elsewhere = [url for url in self.fetched if not url.startswith((self.site.address, "blob:", "data:"))]
        assert (self.complaints, elsewhere) == ([], [])
        self.page.close()


@pytest.fixture
def open_page(chrome, site):
    """open_page(hash) -> a new tab; `model="missing"` keeps its model from coming."""
    opened = []

    def open_(state: str = "", *, model: str = "", **options):
        site.faults |= {"model/": model} if model else {}
        opened.append(Tab(chrome, site, state, **options))
        return opened[-1].page

    yield open_
    site.faults.clear()
    for tab in opened:
        tab.close()


@pytest.fixture(scope="module")
def live_tab(chrome, site):
    tab = Tab(chrome, site)
    wait_for_model(tab.page)
    yield tab
    tab.close()


@pytest.fixture
def shared(live_tab):
    """One tab with a live model for many tests, at its beginning."""
    page = live_tab.page
    page.evaluate("location.hash = `at=words&new=${performance.now()}`")  # what it does not know it leaves out
    expect(page.locator("#stage")).to_have_attribute("data-at", "words")
    page.evaluate("document.getElementById('said').textContent = ''")
    return page


def wait_for_model(page):
    expect(page.locator("#arrival")).to_contain_text("The model is live")


def said(page):
    return page.get_by_role("status").first


def painted(page):
    expect(said(page)).to_contain_text("Painted in")


def test_a_recorded_run_is_shown_before_the_model_arrives(open_page):
    page = open_page("at=step&step=4", model="missing")
    expect(page.get_by_role("img", name="The picture that the UNet expects at step 5 of 20")).to_be_visible()
    expect(page.get_by_role("slider", name="step", exact=True)).to_have_attribute(
        "aria-valuetext", "step 5 of 20, σ 4.86"
    )
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.get_by_role("slider", name="step", exact=True).press("ArrowRight")
    expect(page.get_by_role("img", name="The picture that the UNet expects at step 6 of 20")).to_be_visible()


def test_what_is_typed_is_painted(shared):
    page = shared
    page.evaluate("location.hash = 'steps=2'")
    painted(page)  # two steps make another picture than the recorded one
    page.get_by_role("textbox", name="Paint").fill(f"  {PROMPT}\nzebra")
    page.keyboard.press("Enter")
    expect(said(page)).to_contain_text(f"{PROMPT} zebra, seed 42")
    expect(page.get_by_role("list", name="pieces")).to_contain_text("penguin")
    expect(page.locator("#stage")).to_contain_text("This small model never read “zebra” (z · e · b · r · a)")
    page.get_by_role("button", name="Picture").click()
    expect(page.locator("#stage")).to_contain_text("128 × 128 pixels, 49,152 values")
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download").click()
    assert kept.value.suggested_filename == "sdlesson-seed-42.png"
    assert Path(kept.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_sentence_that_is_typed_stays_and_is_cut_at_once(shared):
    shared.get_by_role("textbox", name="Paint").fill("a queen riding a zeppelin")
    shared.get_by_role("button", name="Words").click()
    expect(shared.get_by_role("list", name="pieces")).to_contain_text("queen")
    expect(shared.locator("#stage")).to_contain_text("never read “zeppelin”")
    shared.get_by_role("button", name="Picture").click()
    expect(shared.get_by_role("textbox", name="Paint")).to_have_value("a queen riding a zeppelin")
    shared.get_by_role("button", name="Paint").click()
    expect(said(shared)).to_contain_text("a queen riding a zeppelin, seed")


def test_nothing_typed_is_sent_or_lost_before_the_page_is_ready(open_page):
    page, held = open_page("", model="missing"), []
    page.route("**/example/about.json", lambda route: held.append(route))
    page.reload()
    box, paint = page.get_by_role("textbox", name="Paint"), page.get_by_role("button", name="Paint")
    box.fill("my own sentence")
    paint.click(force=True)
    expect(paint).to_be_disabled()
    assert "?" not in page.url
    held[0].continue_()
    expect(paint).to_be_enabled()
    expect(box).to_have_value("my own sentence")


def test_what_is_being_moved_or_typed_stays_when_the_page_is_drawn_anew(open_page):
    page = open_page("at=guidance", model="missing")
    film = page.get_by_role("slider", name="step", exact=True)
    slider = page.get_by_label("Guidance", exact=True)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()  # then nothing moves any more
    width, middle = slider.bounding_box()["width"], slider.bounding_box()["height"] / 2
    slider.hover(position={"x": width / 4, "y": middle})
    page.mouse.down()
    expect(slider).to_be_focused()
    slider.hover(position={"x": width - 2, "y": middle})
    page.evaluate("location.hash = 'at=guidance&step=3'")
    expect(film).to_have_attribute("aria-valuetext", re.compile("step 4 of"))
    expect(slider).to_have_value("12")
    page.mouse.up()
    page.wait_for_function("location.hash.includes('guidance=12')")
    page.get_by_role("button", name="Noise").click()
    box = page.get_by_label("seed, any whole number")
    box.fill("")
    page.evaluate("location.hash = 'at=noise&guidance=12&step=4'")
    expect(film).to_have_attribute("aria-valuetext", re.compile("step 5 of"))
    expect(box).to_have_value("")


def test_the_slider_tells_the_guidance_that_is_painted_with(open_page):
    page = open_page("guidance=15&at=guidance", model="missing")
    expect(page.locator("#stage output")).to_have_text("15")
    expect(page.locator("#stage")).to_contain_text("without words + 15 ×")


@pytest.mark.parametrize("width", [1366, 1024, 800, 360])
def test_nothing_lies_over_what_is_clicked(open_page, width):
    page = open_page("", model="missing")
    page.set_viewport_size({"width": width, "height": 768})
    code = """() => [...document.querySelectorAll("button, input, select, textarea, a")]
        .filter(element => element.offsetParent && !element.disabled)
        .filter(element => {
            element.scrollIntoView({ block: "center" });
            const { x, y, width, height } = element.getBoundingClientRect();
            const top = document.elementFromPoint(x + width / 2, y + height / 2);
            return !(element.contains(top) || top?.control === element);
        }).map(element => element.outerHTML)"""
    for station in ("words", "levels", "unet", "guidance", "picture"):
        page.locator(f"#map [data-at={station}]").click()
        assert page.evaluate(code) == []


def test_an_address_says_the_whole_state(open_page):
    state = "prompt=a+cartoon+of+a+duck&seed=18446744073709551615&steps=2&guidance=1.5&order=1&schedule=karras"
    state += "&breaks=no_scaling%2Cstep_twice&at=guidance&step=0"
    page = open_page(state)
    painted(page)
    expect(page.get_by_label("Guidance", exact=True)).to_have_value("1.5")
    page.get_by_role("button", name="Levels").click()
    expect(page.get_by_label("Order of K-LMS")).to_have_value("1")
    expect(page.get_by_label("How the stairs are spread")).to_have_value("karras")
    page.wait_for_function("location.hash.includes('at=levels')")
    assert page.evaluate("location.hash.slice(1)") == state.replace("at=guidance", "at=levels")
    page.reload()
    expect(page.get_by_role("textbox", name="Paint")).to_have_value("a cartoon of a duck")
    page.get_by_role("button", name="Noise").click()
    box = page.get_by_label("seed, any whole number")
    expect(box).to_have_value("18446744073709551615")
    box.fill("18446744073709551616")
    box.press("Enter")
    expect(said(page)).to_contain_text("A seed is a whole number")
    expect(box).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("seed=NaN", "a seed, a whole number"),
        ("seed=-1", "a seed, a whole number"),
        ("seed=99999999999999999999", "a seed, a whole number"),
        ("steps=1e9", "steps from 1 to 50"),
        ("guidance=Infinity", "guidance from"),
        ("order=__proto__", "an order from 1 to 4"),
        ("breaks=constructor", "breaks among"),
        ("at=<script>", "a place among"),
        ("step=-3", "a step of the run"),
        ("prompt=" + "a" * 1001, "a prompt of at most 1000 letters"),
        ("prompt=" + "a" * 100_000, "too long to be one of this page's"),
        ("%E0%A4%A&&==&seed", "a seed"),
    ],
)
def test_an_impossible_address_gives_the_defaults_and_a_sentence(shared, state, sentence):
    shared.evaluate("state => (location.hash = state)", state)
    expect(said(shared)).to_contain_text(sentence)
    expect(shared.get_by_role("textbox", name="Paint")).to_have_value("a photograph of an astronaut riding a horse")
    shared.wait_for_function("!/seed=|steps=|guidance=|order=|breaks=|prompt=|step=/.test(location.hash)")


def test_what_is_typed_is_never_run(shared):
    page = shared
    page.evaluate("location.hash = 'steps=1'")
    painted(page)
    box = page.get_by_role("textbox", name="Paint")
    for text in (TYPED, "🐴" * 400, "a" + "🐴" * 600, "\u202e\u0000 \ud83d"):
        said(page).evaluate("element => (element.textContent = '')")
        box.fill(text)
        box.press("Enter")
        painted(page)
    for text, sentence in (("a" * 100_000, "reads the first 1000 letters"), ("horse " * 170, "no room for the last")):
        box.fill(text)
        box.press("Enter")
        expect(page.locator("main")).to_contain_text(sentence)
    page.get_by_role("button", name="Vectors").click()
    page.get_by_label("Compare with a second prompt").fill(TYPED)
    page.get_by_label("Compare with a second prompt").press("Enter")
    expect(page.locator("#stage")).to_contain_text("The two end tokens, which saw each prompt whole")
    page.evaluate("text => { location.hash = new URLSearchParams({ prompt: text, steps: 1, at: 'words' }); }", TYPED)
    expect(page.get_by_role("textbox", name="Paint")).to_have_value(TYPED)
    assert page.evaluate("window.broken") is None
    assert page.locator("main img, main script, main iframe").count() == 0


def test_a_run_is_stopped_in_the_middle(shared):
    page = shared
    page.get_by_role("button", name="Levels").click()
    page.get_by_label("Steps", exact=True).fill("50")
    page.get_by_label("Steps", exact=True).dispatch_event("change")
    expect(page.get_by_role("slider", name="step", exact=True)).to_have_attribute("aria-valuetext", re.compile("of 50"))
    page.get_by_role("button", name="Stop").click()
    expect(said(page)).to_contain_text(re.compile(r"Stopped after \d+ of 50 steps"))
    expect(page.get_by_role("button", name="Paint")).to_be_visible()


def test_after_stop_no_picture_and_no_word_is_of_another_run(shared):
    page = shared
    page.evaluate("location.hash = 'steps=10&seed=7'")
    painted(page)
    page.evaluate(
        """() => new Promise((done) => {
            const look = () =>
                document.querySelector(".coming") ? done(document.getElementById("stop").click()) : setTimeout(look);
            location.hash = "steps=10&seed=8&at=picture";
            look();
        })"""
    )
    expect(said(page)).to_contain_text("Stopped after")
    assert {*page.locator(".coming").evaluate_all("frames => frames.map((frame) => frame.width)")} == {1}
    expect(page.locator("#stage")).to_contain_text(re.compile(r"stopped after \d of 10 steps"))
    page.evaluate("['paint', 'stop'].forEach((id) => document.getElementById(id).click())")
    expect(said(page)).to_contain_text("Stopped before the first step")


def test_a_link_says_what_is_set_now_and_the_address_soon(open_page):
    page = open_page("at=picture", model="missing")
    code = """() => {
        navigator.clipboard.writeText = (text) => void (window.copied = text);
        setInterval(() => document.querySelector("#film input").dispatchEvent(new Event("input")), 50);
        document.querySelector("#stage [type=checkbox]").click();
        [...document.querySelectorAll("#stage button")].at(-1).click();
        return window.copied;
    }"""
    expect(page.get_by_role("button", name="Copy a link")).to_be_visible()
    assert "breaks=unscaled_decode" in page.evaluate(code)
    page.wait_for_function("location.hash.includes('breaks=unscaled_decode')", timeout=SOON)


def test_levels_and_times_are_those_that_a_broken_run_used(shared):
    shared.evaluate("location.hash = 'steps=3&breaks=step_twice%2Cwrong_timestep&at=step&step=1'")
    painted(shared)
    expect(shared.locator("#stage")).to_contain_text("before, σ 0.03")
    expect(shared.locator("#film output")).to_contain_text("step 2 of 2 σ 0.03")
    shared.get_by_role("button", name="Levels").click()
    expect(shared.locator("#stage")).to_contain_text("Step 2: timestep 1.00, from σ 0.03 to 0.00")


def test_guesses_are_called_what_they_are(shared):
    shared.evaluate("location.hash = 'steps=1&negative=a+horse&at=guidance'")
    painted(shared)
    expect(shared.locator("#stage")).to_contain_text("negative prompt + 3 × (with yours − negative prompt)")
    shared.get_by_role("button", name="UNet").click()
    expect(shared.locator("#stage")).to_contain_text("guess with the negative prompt")
    shared.get_by_role("button", name="Attention").click()
    expect(shared.locator("#stage")).to_contain_text(re.compile("in one square, (at|in) the"))


def test_two_tabs_paint_at_once(shared, open_page):
    shared.evaluate("location.hash = 'steps=5&seed=1'")
    for seed, page in ((2, open_page("steps=2&seed=2")), (1, shared)):
        painted(page)
        expect(said(page)).to_contain_text(f"seed {seed}.")


def test_a_page_can_be_loaded_again_while_it_loads(site, open_page):
    site.faults["weights"] = "slow"
    page = open_page()
    expect(page.locator("#arrival")).to_contain_text(re.compile("on its way: .* MB"))
    site.faults.clear()
    page.reload()
    wait_for_model(page)


def test_a_bad_file_of_weights_is_a_sentence_and_a_retry(site, open_page):
    site.faults["unet-weights"] = "missing"
    page = open_page("steps=1")
    again = page.get_by_role("button", name="Try again")
    expect(said(page)).to_contain_text(re.compile(r"^The model's file .{10,}\.$"))
    site.faults["unet-weights"] = "cut"
    again.click()
    expect(said(page)).to_contain_text("did not come whole")
    site.faults.clear()
    again.click()
    painted(page)


def test_a_model_that_stops_is_told_and_loaded_again(chrome, site):
    tab = Tab(chrome, site, "at=picture")
    page = tab.page
    page.add_init_script(
        """window.workers = [];
        window.Worker = class extends Worker {
            constructor(...given) { super(...given); window.workers.push(this); }
        };"""
    )
    page.reload()
    wait_for_model(page)
    data = {"id": 0, "tell": "error", "fatal": True, "message": "The model stopped (no memory); load it again."}
    page.evaluate("data => window.workers[0].dispatchEvent(new MessageEvent('message', { data }))", data)
    expect(page.locator("#arrival")).to_contain_text("The model stopped (no memory)")
    page.get_by_role("textbox", name="Paint").fill(PROMPT)
    page.get_by_role("button", name="Paint").click()
    page.get_by_role("button", name="Try again").click()
    painted(page)
    tab.close()


@pytest.fixture(scope="module")
def traces(tiny, tmp_path_factory):
    """Runs of the bundled model (two pictures, an older one's, a wide one) and of v1.4's shapes (both guesses, one)."""
    folder = tmp_path_factory.mktemp("traces")
    own = record(tiny, ["a cartoon of a horse", "a cartoon of a duck"], seed=[1, 2], num_inference_steps=2)
    save_trace(own, folder / "own.safetensors")
    save_trace(replace(own, settings=own.settings | {"scaling_factor": 0.5}), folder / "old.safetensors")
    save_trace(record(tiny, "a duck", height=64, width=256, num_inference_steps=2), folder / "wide.safetensors")
    drawn = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, 4, 64, 64, generator=drawn) for _ in range(6)]
    steps = [Step(k, 999.0 - 500 * k, 14.6 - 7 * k, *tensors[:5], noisy=14.6 * tensors[5]) for k in range(2)]
    settings = own.settings | {"prompts": ["v1.4"], "negative_prompts": [""], "seeds": None, "model": "v1-4"}
    ids = torch.tensor([[49406, *[49407] * 76], [49406, 320, 4558, *[49407] * 74]])
    big = Trace(settings, ids, torch.randn(2, 77, 768, generator=drawn), tuple(steps))
    save_trace(big, folder / "big.safetensors")
    plain = [replace(step, noise_uncond=None) for step in steps]
    ids = torch.tensor([[49406, 49407, *[0] * 75], [49406, 320, 4558, 49407, *[0] * 73]])  # v2's padding
    one = replace(big, settings=settings | {"guidance_scale": 1}, ids=ids, steps=plain)
    save_trace(one, folder / "plain.safetensors")
    return folder


def open_file(page, file):
    page.locator("#file").set_input_files(file)


def test_a_recorded_run_of_ones_own_is_opened(shared, traces):
    open_file(shared, traces / "own.safetensors")
    expect(shared.locator("#file-bar")).to_contain_text("own.safetensors: “a cartoon of a horse”, model tiny, 2 steps")
    expect(shared.get_by_role("slider", name="step", exact=True)).to_have_attribute(
        "aria-valuetext", "step 2 of 2, σ 0.03"
    )
    expect(shared.get_by_role("textbox", name="Paint")).to_have_value("a cartoon of a horse")
    shared.get_by_label("picture of the batch").select_option("picture 2")
    expect(shared.get_by_role("textbox", name="Paint")).to_have_value("a cartoon of a duck")
    shared.get_by_role("button", name="Picture").click()
    expect(shared.get_by_role("img", name="a cartoon of a duck, seed 2")).to_be_visible()
    shared.wait_for_function("document.querySelector('#stage canvas.photo').width === 128")  # decoded by the live model
    open_file(shared, traces / "plain.safetensors")
    expect(shared.locator("#file-bar")).to_contain_text("plain.safetensors")
    shared.get_by_role("button", name="Guidance").click()
    expect(shared.locator("#stage")).to_contain_text("At guidance 1 only one guess was computed")
    expect(shared.locator("#stage output")).to_have_text("1")
    shared.get_by_role("button", name="Words").click()
    expect(shared.get_by_role("img", name="77 places: start, 2 pieces, end, 73 times padding")).to_be_visible()
    shared.get_by_role("button", name="Close the file").click()
    expect(shared.locator("#file-bar")).to_be_hidden()


@pytest.mark.parametrize("name", ["old", "wide"])
def test_the_decoder_is_given_only_what_it_can_paint(shared, traces, name):
    open_file(shared, traces / f"{name}.safetensors")
    expect(shared.locator("#file-bar")).to_contain_text(f"{name}.safetensors")
    shared.get_by_role("button", name="Picture").click()
    expect(shared.locator("#stage")).to_contain_text("roughly coloured")
    assert shared.evaluate("document.querySelector('#stage canvas.photo').width") == {"old": 16, "wide": 32}[name]
    shared.get_by_role("button", name="Close the file").click()
    wait_for_model(shared)


def test_a_run_of_the_big_model_is_opened(shared, traces):
    open_file(shared, traces / "big.safetensors")
    expect(shared.locator("#file-bar")).to_contain_text("model v1-4, 2 steps")
    shows = {
        "words": "This file holds the numbers of the pieces",
        "vectors": "77 vectors of 768 numbers",
        "noise": "16,384 numbers: 4 × 64 × 64",
        "levels": "Step 2: timestep 499, from σ 7.60 to 0.00",
        "unet": "4 × 64 × 64",
        "attention": "A trace file does not hold the attention",
        "guidance": "Step 2: the two guesses are",
        "step": "expected, roughly",
        "picture": "roughly coloured",
    }
    for station, words in shows.items():
        shared.locator(f"#map [data-at={station}]").click()
        expect(shared.locator("#stage")).to_contain_text(words)
    shared.get_by_role("button", name="Close the file").click()


def bad_file(header: dict | bytes, *, numbers: int = 0) -> dict:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return {"name": "bad", "mimeType": "", "buffer": struct.pack("<Q", len(text)) + text + bytes(numbers)}


SETTINGS = {"settings": json.dumps({"prompts": ["a"], "negative_prompts": [""], "guidance_scale": 3})}
LATENTS = {"dtype": "F32", "shape": [1, 4, 2, 2], "data_offsets": [0, 64]}


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ({"name": "bad", "mimeType": "", "buffer": b"PNG"}, "too short"),
        ({"name": "bad", "mimeType": "", "buffer": b"\xff" * 64}, "begins with the length of its header"),
        ({"name": "bad", "mimeType": "", "buffer": struct.pack("<Q", 900) + b"{}"}, "cut off"),
        (bad_file(b"[1, 2]"), "its header cannot be read"),
        (bad_file({"a": LATENTS}, numbers=63), "does not lie in this file"),
        (bad_file({"a": LATENTS | {"dtype": "constructor"}}), "numbers of a kind"),
        (bad_file({"a": LATENTS | {"shape": [2**20, 2**20]}}), "more numbers than this page can hold"),
        (bad_file({"a": LATENTS | {"shape": [-1, 4]}}), "no sensible shape"),
        (bad_file({"a": None}), "numbers of a kind"),
        (bad_file({"noisy": LATENTS}, numbers=64), "its settings do not name the prompts"),
        (bad_file({"__metadata__": SETTINGS, "noisy": LATENTS}, numbers=64), "it lacks timesteps"),
    ],
)
def test_a_file_that_is_no_run_is_one_sentence(shared, file, sentence):
    open_file(shared, file)
    expect(said(shared)).to_contain_text(sentence)
    expect(shared.locator("#file-bar")).to_be_hidden()


def test_all_kinds_of_numbers_are_read_as_python_reads_them(shared, tmp_path):
    from safetensors.torch import save_file

    values = torch.tensor([0.0, -1.5, 3.14159, 6e-8, 65504.0, float("inf"), -2e-5])
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    tensors = {str(kind): values.to(kind) for kind in kinds} | {"ids": torch.tensor([0, 49407, -3])}
    save_file(tensors, tmp_path / "kinds.safetensors")
    read = shared.evaluate(
        """async ([bytes, names]) => {
            const { openSafetensors } = await import("./page/safetensors.js");
            const file = await openSafetensors(new Blob([new Uint8Array(bytes)]));
            return Promise.all(names.map(async (name) => [...(await file.tensor(name)).data].map(String)));
        }""",
        [list((tmp_path / "kinds.safetensors").read_bytes()), list(tensors)],
    )
    for expected, found in zip(tensors.values(), read, strict=True):
        assert np.array_equal(expected.float().numpy(), np.array([float(each) for each in found], dtype=np.float32))


def test_sentences_of_the_world_are_python_s(shared):
    drawn = np.random.default_rng(0)
    names = ["style", "rider_colour", "rider", "mount_colour", "mount", "place"]
    scenes = [captions.random_scene(drawn) for _ in range(200)]
    told = [{name: getattr(scene, name) or "" for name in names} for scene in scenes]
    places = [each | {"place": captions.PLACES.get(each["place"], "")} for each in told]
    call = "async (scenes) => { const { caption } = await import('./page/words.js'); return scenes.map(caption); }"
    assert shared.evaluate(call, places) == [scene.caption for scene in scenes]


def test_a_page_that_no_server_gives_says_so(chrome):
    page = chrome.new_page()
    page.goto((SOURCE / "index.html").as_uri())
    expect(page.locator("#arrival")).to_contain_text("python3 -m http.server")
    page.close()


def test_all_is_reached_by_keyboard(open_page):
    page = open_page("tour=0", model="missing")
    tour = page.get_by_role("region", name="guided tour")
    expect(tour).to_contain_text("stop 1 of 10")
    stops = 1
    page.get_by_role("button", name="Next").focus()
    while page.get_by_role("button", name="Next").count():
        page.get_by_role("button", name="Next").press("Enter")
        stops += 1
        expect(tour).to_contain_text(f"stop {stops} of 10")
        assert page.evaluate("document.activeElement.className") == "story"  # read out at once
    page.get_by_role("button", name="Finish").press("Enter")
    expect(tour).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "start-tour"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.at") == "noise":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Every picture begins as noise")).to_be_visible()
    assert page.evaluate("document.activeElement.dataset.at") == "noise"


@pytest.mark.parametrize(("scheme", "width", "parts"), [("light", 1366, STATIONS), ("dark", 360, STATIONS[::3])])
def test_each_part_can_be_read_by_all(open_page, scheme, width, parts):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = open_page("step=5", model="missing", viewport={"width": width, "height": 768}, color_scheme=scheme)
    for number, station in enumerate(parts):
        page.locator(f"#map [data-at={station}]").click()
        expect(page.locator("#stage")).to_have_attribute("data-at", station)
        if number == 2:
            page.get_by_role("button", name="Tour").click()
        found = axe.run(page).response["violations"]
        assert {each["id"]: [node["failureSummary"] for node in each["nodes"]] for each in found} == {}
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawings = page.locator("#stage [role=img]:visible")
        words = drawings.evaluate_all("all => all.map(each => each.getAttribute('aria-label') ?? '')")
        assert words and all(len(each) > 10 for each in words)


def test_lessons_lead_to_their_place(shared):
    from types import SimpleNamespace

    from docutils import nodes
    from worded_book import LIVE, live_link

    call = "async (state) => (await import('./page/settings.js')).readHash(state).said"
    assert all(shared.evaluate(call, state) == [] for state in LIVE.values())
    there, gone = (SimpleNamespace(config=SimpleNamespace(live_page=live)) for live in (True, False))
    (link,) = live_link(there, "notebooks/06_guidance", "See it.").findall(nodes.reference)
    assert link["refuri"] == "../live/index.html#at=guidance&step=5"
    assert live_link(gone, "notebooks/06_guidance", "See it.") is None
    assert live_link(there, "notebooks/12_full_size", "See it.") is None
