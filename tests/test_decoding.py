"""Latents -> picture -> file; and the same picture as the peers', by three ways."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
import torch
from PIL import Image
from toy import TOY_SCALING, make_pipeline

import sdlesson
from sdlesson.decoding import (
    decode,
    decode_stages,
    level_differences,
    paint,
    paint_latents,
    read_trace,
    save_png,
    save_trace,
    to_pil,
)
from sdlesson.figures.decoding import (
    figure_amounts,
    figure_clipping,
    figure_reach,
    figure_stages,
    figure_trace,
    plot_amounts,
)
from sdlesson.guidance import record
from sdlesson.latents import initial_noise, psnr, seeded
from sdlesson.loading import writing as files
from sdlesson.loading.errors import BadInput
from sdlesson.models import ARTICLE_SCHEDULE
from sdlesson.steering import Steering

PROMPT = "a photograph of an astronaut riding a horse"
FIVE = [
    PROMPT,
    "a cartoon of a penguin in the snow",
    "a line drawing of a blue elephant in a forest",
    "a photograph of a beach",
    "a photograph of a knight riding a bicycle in the city",
]


def largest_difference(ours, theirs):
    """In levels of 255, over all pictures."""
    pairs = zip(ours, theirs, strict=True)
    return max(int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max()) for a, b in pairs)


def latents(batch=1):
    return initial_noise(batch, 48, 48, generator=seeded(0)) * TOY_SCALING


def test_decode_divides_by_the_scaling_factor(toy):
    ours = decode(toy.vae, latents())
    with torch.no_grad():
        torch.testing.assert_close(ours, toy.vae.decode(latents() / TOY_SCALING).sample, rtol=1e-4, atol=1e-5)
    assert ours.shape == (1, 3, 48, 48)
    assert not ours.is_inference()


def test_to_pil_is_diffusers_postprocessing(pipeline):
    values = torch.randn(2, 3, 8, 16, generator=seeded(0)) * 0.8  # some outside of -1 ... 1
    ours = to_pil(values)
    assert [picture.size for picture in ours] == [(16, 8)] * 2
    assert largest_difference(ours, pipeline.image_processor.postprocess(values)) == 0


def test_numbers_that_are_none_are_told(toy):
    values = torch.zeros(1, 3, 8, 8)
    values[0, :, 2, 2] = torch.nan
    with pytest.warns(UserWarning, match="NaN"):
        picture = to_pil(values)[0]
    assert picture.getpixel((2, 2)) == (0, 0, 0)
    assert picture.getpixel((1, 1)) == (128, 128, 128)


def test_one_picture_at_a_time_is_the_same(toy):
    together = to_pil(decode(toy.vae, latents(3)))
    assert largest_difference(paint_latents(toy, latents(3)), together) <= 1


def test_paint_takes_a_model_or_its_name(toy, toy_folder):
    options = {"num_inference_steps": 2, "seed": 1}
    by_model = paint([PROMPT, "moon"], model=toy, **options)
    assert [picture.size for picture in by_model] == [(48, 48)] * 2
    assert largest_difference(by_model, paint([PROMPT, "moon"], model=toy_folder, **options)) == 0


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_the_toys_picture_is_the_pipelines(toy, pipeline, scale):
    options = {"num_inference_steps": 20, "guidance_scale": scale}
    theirs = pipeline([PROMPT, "moon"], generator=seeded(42), **options).images
    assert largest_difference(paint([PROMPT, "moon"], model=toy, **options), theirs) <= 2


def test_tiny_paints_the_pipelines_pictures(tiny):
    """Five prompts, two seeds each; the pipeline loads the checkpoint by itself, with no dtype argument."""
    pipe = make_pipeline(sdlesson.checkpoint_path())
    for seed in (42, 7):
        seeds = [seed] * len(FIVE)
        theirs = pipe(FIVE, num_inference_steps=20, guidance_scale=tiny.guidance_scale, generator=[*map(seeded, seeds)])
        assert largest_difference(paint(FIVE, model=tiny, seed=seeds), theirs.images) <= 2


@pytest.mark.parametrize("which", ["toy", "tiny"])
def test_the_articles_own_code_paints_the_same(which, toy, tiny):
    """The article's way as it stands, pointed at a folder; it passes no dtype."""
    from diffusers import AutoencoderKL, LMSDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    sd = {"toy": toy, "tiny": tiny}[which]
    vae = AutoencoderKL.from_pretrained(sd.folder, subfolder="vae")
    tokenizer = CLIPTokenizer.from_pretrained(sd.folder, subfolder="tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(sd.folder, subfolder="text_encoder")
    unet = UNet2DConditionModel.from_pretrained(sd.folder, subfolder="unet")
    scheduler = LMSDiscreteScheduler(**ARTICLE_SCHEDULE)
    assert {part.dtype for part in (vae, text_encoder, unet)} == {torch.float32}

    prompt, steps, scale, (height, width) = [PROMPT], 20, sd.guidance_scale, sd.size
    generator = torch.manual_seed(42)
    ids = tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    empty = tokenizer([""], padding="max_length", max_length=ids.shape[-1], return_tensors="pt").input_ids
    with torch.no_grad():
        embeddings = torch.cat([text_encoder(empty)[0], text_encoder(ids)[0]])
    x = torch.randn((1, unet.config.in_channels, height // 8, width // 8), generator=generator)
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        twice = scheduler.scale_model_input(torch.cat([x] * 2), t)
        with torch.no_grad():
            uncond, text = unet(twice, t, encoder_hidden_states=embeddings).sample.chunk(2)
        x = scheduler.step(uncond + scale * (text - uncond), t, x).prev_sample
    with torch.no_grad():
        image = vae.decode(x / vae.config.scaling_factor).sample
    image = (image / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    theirs = [Image.fromarray(one) for one in (image * 255).round().astype("uint8")]
    assert largest_difference(paint(prompt, model=sd), theirs) <= 2


def test_a_seed_matters(tiny):
    one, other = paint([PROMPT, PROMPT], model=tiny, seed=[1, 2])
    assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).mean() > 5


def test_png_carries_what_it_was_told(tmp_path):
    about = {"prompt": "naïve café", "other": "馬", "seed": 42, "long": "x" * 5000}
    path = save_png(Image.new("RGB", (8, 8)), tmp_path / "out.png", about)
    with Image.open(path) as picture:
        assert picture.text == {name: str(value) for name, value in about.items()}


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.png"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError), files.whole_file(path) as stream:
        stream.write(b"half a pic")
        raise RuntimeError
    assert path.read_bytes() == b"before"
    with files.whole_file(path) as stream:
        stream.write(b"after")
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["out.png"]


def test_a_full_disk_is_a_sentence(tmp_path):
    with pytest.raises(BadInput, match="cannot be written: No space left"), files.whole_file(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_files_obey_the_umask_and_follow_links(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "deep/real.png")
    before = os.umask(0o027)
    try:
        save_png(Image.new("RGB", (8, 8)), tmp_path / "link.png")
    finally:
        os.umask(before)
    assert (tmp_path / "link.png").is_symlink()
    assert stat.S_IMODE((tmp_path / "deep/real.png").stat().st_mode) == 0o640


def test_where_nothing_can_be_written(tmp_path):
    files.check_writable(tmp_path / "out.png")
    assert os.listdir(tmp_path) == []
    with pytest.raises(BadInput, match="is a folder"):
        files.check_writable(tmp_path)
    with pytest.raises(BadInput, match="no folder"):
        files.check_writable(tmp_path / "nowhere/out.png")
    with pytest.raises(BadInput, match="too long"):
        files.check_writable(tmp_path / ("x" * 300 + ".png"))
    if os.path.isdir("/proc"):  # a folder in which even root cannot make files
        with pytest.raises(BadInput, match="cannot be written"):
            files.check_writable("/proc/out.png")


@pytest.mark.parametrize("scale", [1, 3])
def test_a_trace_is_read_back_without_a_model(toy, tmp_path, scale):
    trace = record(toy, [PROMPT, "moon"], num_inference_steps=3, guidance_scale=scale)
    again = read_trace(save_trace(trace, tmp_path / "trace.safetensors"))
    assert again.settings == trace.settings
    assert torch.equal(again.ids, trace.ids)
    assert torch.equal(again.text_embeddings, trace.text_embeddings)
    assert len(again.steps) == 3
    for ours, theirs in zip(again.steps, trace.steps, strict=True):
        assert (ours.index, ours.timestep, ours.sigma) == (theirs.index, theirs.timestep, theirs.sigma)
        for name in ("noisy", "latents", "noise_text", "noise_pred", "pred_original"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
        assert (ours.noise_uncond is None) == (scale == 1)


def spoiled(path, tensors=None, settings=None):
    """The trace of `path` with other tensors (None: left out) and settings."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = file.metadata()["settings"]
    kept = {name: values for name, values in (kept | (tensors or {})).items() if values is not None}
    save_file(kept, path, {"settings": about if settings is None else settings})
    return path


@pytest.mark.parametrize(
    "tensors",
    [
        {"latents": None},
        {"noisy": None},
        {"ids": None},
        {"noise_uncond": None, "noise_text": None},
        {"timesteps": torch.tensor(3.0)},
        {"sigmas": torch.tensor(3.0)},
        {"latents": torch.tensor(3.0)},
        {"noisy": torch.zeros(4, 6, 6)},
        {"noise_pred": torch.zeros(1, 1, 4, 6, 6)},
        {"latents": torch.zeros(2, 1, 4, 6, 7)},
        {"sigmas": torch.zeros(3)},
        {"timesteps": torch.zeros(0), "sigmas": torch.zeros(0)},
        {"text_embeddings": torch.zeros(3, 77, 24)},
        {"ids": torch.zeros(2, dtype=torch.int64)},
        {"pred_original": torch.zeros(2, 1, 4, 6, 6, dtype=torch.complex64)},
    ],
    ids=lambda tensors: " ".join(f"{name} {'' if x is None else tuple(x.shape)}" for name, x in tensors.items()),
)
def test_a_trace_of_the_wrong_shape_is_told(toy, tmp_path, tensors):
    path = save_trace(record(toy, PROMPT, num_inference_steps=2), tmp_path / "t.safetensors")
    read_trace(spoiled(path))
    with pytest.raises(BadInput, match="cannot be read as a recorded run"):
        read_trace(spoiled(path, tensors))


@pytest.mark.parametrize(
    "settings",
    [
        "[]",
        '"text"',
        "null",
        "{}",
        '{"prompts": "a horse"}',
        '{"prompts": [1]}',
        '{"prompts": ["a", "b"]}',
        "[" * 100_000,
        "{",
        '{"prompts": ["a horse"], "seeds": [1]}',
    ],
    ids=lambda text: text[:20],
)
def test_a_trace_of_the_wrong_settings_is_told(toy, tmp_path, settings):
    path = save_trace(record(toy, PROMPT, num_inference_steps=2), tmp_path / "t.safetensors")
    with pytest.raises(BadInput, match="cannot be read as a recorded run") as told:
        read_trace(spoiled(path, settings=settings))
    assert "\n" not in str(told.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
def test_only_plain_files_are_read_as_traces(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero", tmp_path):
        with pytest.raises(BadInput, match="no plain file"):
            read_trace(path)


@pytest.mark.parametrize("interval", [(1.0, 8.0), (9.0, 99.0), (0.0, 5.0)])
def test_a_trace_keeps_halves_that_only_some_steps_have(toy, tmp_path, interval):
    trace = record(toy, PROMPT, num_inference_steps=6, steering=Steering(interval=interval))
    again = read_trace(save_trace(trace, tmp_path / "t.safetensors"))
    had = [step.noise_uncond is not None for step in trace.steps]
    assert True in had and False in had
    assert [step.noise_uncond is not None for step in again.steps] == had
    for ours, theirs in zip(again.steps, trace.steps, strict=True):
        assert torch.equal(ours.noise_text, theirs.noise_text)
        assert theirs.noise_uncond is None or torch.equal(ours.noise_uncond, theirs.noise_uncond)


def test_what_is_no_trace(tmp_path, toy_folder):
    (tmp_path / "junk").write_bytes(b"junk")
    for path in (tmp_path / "nowhere", tmp_path / "junk", toy_folder / "unet/diffusion_pytorch_model.safetensors"):
        with pytest.raises(BadInput, match="cannot be read as a recorded run"):
            read_trace(path)


def test_the_stages_are_the_decoder(toy):
    seen = decode_stages(toy.vae, latents())
    assert list(seen)[:3] == ["post_quant_conv", "conv_in", "mid_block"]
    sizes = [seen[f"up_blocks.{i}"].shape[-1] for i in range(4)]
    assert sizes == [12, 24, 48, 48]
    torch.testing.assert_close(seen["conv_out"], decode(toy.vae, latents()))
    assert not seen["conv_out"].is_inference()


def test_differences_have_no_sign_and_do_not_wrap():
    one, other = Image.new("RGB", (3, 2), (97, 0, 255)), Image.new("RGB", (3, 2), (100, 255, 0))
    for pair in ((one, other), (other, one)):
        found = level_differences(*pair)
        assert found.shape == (2, 3, 3)
        assert found[0, 0].tolist() == [3, 255, 255]
    with pytest.raises(BadInput, match="3 × 2 and 2 × 3 pixels"):
        level_differences(one, Image.new("RGB", (2, 3)))


def test_bars_of_amounts():
    ax = plot_amounts({"small": 2.0, "large": 5000.0}, "numbers", limit=65504)
    assert [bar.get_width() for bar in ax.patches] == [2, 5000]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    assert [text.get_text() for text in ax.texts] == ["2", "5,000"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    assert ax.get_xlim()[1] > 65504
    fig = figure_amounts({"numbers": {"a": 1, "b": 7, "c": 7}}, limit=9)
    assert "most in b, c (7), least in a (1)" in fig.words and "line stands at 9" in fig.words
    two = figure_amounts({"some": {"a": 1, "b": 2}, "others": {"a": 3, "b": 4}})
    assert len(two.axes) == 2 and two.axes[1].get_ylim() == two.axes[0].get_ylim()
    assert "line" not in two.words


def test_figure_of_the_stages(toy):
    seen = decode_stages(toy.vae, latents())
    fig = figure_stages(seen)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == [f"{name}\n{' × '.join(map(str, each.shape[1:]))}" for name, each in seen.items()]
    sizes = seen["conv_in"][0].abs().mean(dim=0)
    np.testing.assert_allclose(fig.axes[1].images[0].get_array(), sizes)
    assert fig.axes[-1].images[0].get_array().shape == (48, 48, 3)  # the picture itself
    assert fig.words.startswith("10 maps") and "conv_out, 3 × 48 × 48" in fig.words


def test_figure_of_the_reach():
    before = torch.zeros(1, 3, 32, 32)
    after = before.clone()
    after[:, 1, 8:16, 16:24] = 0.1  # latent square row 1, column 2
    after[:, 0, 8, 24] = 0.02  # one square further
    fig = figure_reach(before, after, (1, 2), 8)
    largest, mean = (line.get_ydata() for line in fig.axes[1].lines[:2])
    np.testing.assert_allclose(largest[:3], [12.75, 2.55, 0.001], rtol=1e-5)
    np.testing.assert_allclose(mean[:2], [12.75, 2.55 / (8 * 64)], rtol=1e-4)
    assert "13 levels in the square itself and 0 in the ring" in fig.words
    assert "distance of 2 squares or more changes" in fig.words


def test_figure_of_the_clipping():
    values = torch.zeros(1, 3, 10, 10)
    values[0, :, 0, :5] = 3.0
    fig = figure_clipping({"calm": torch.zeros(1, 3, 10, 10), "hot": values, "warm": values.clamp(max=1.1)[..., :10]})
    assert [ax.get_title().split("\n")[-1] for ax in fig.axes[:3]] == ["nothing cut off"] + ["5 % cut off"] * 2
    bars = [bar for bar in fig.axes[1].patches if bar.get_height() > 0]
    assert [round(bar.get_height()) for bar in bars] == [95, 5]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()
    assert fig.axes[4].images[1].get_array().max() == pytest.approx(2 * 127.5)
    ends = [bar for bar in figure_clipping({"ends": values.clamp(-1, 1)}).axes[0].patches if bar.get_height() > 0]
    assert {bar.get_facecolor() for bar in ends} == {bars[0].get_facecolor()}  # 1 itself is not cut off
    values[0, 0, 5, 5] = torch.nan
    assert figure_clipping({"one NaN": values}).axes[1].images[1].get_clim() == (0, 2 * 127.5)
    values[0, 0, 5, 5] = 0
    values[0, :, 0, 1:5] = 0
    values = torch.cat([values, torch.zeros(1, 3, 90, 10)], dim=2)
    assert "rare, under 1 % cut off" in figure_clipping({"rare": values}).words


@pytest.mark.parametrize("steps", [1, 7])
def test_figure_of_a_trace_needs_no_model(toy, tmp_path, steps):
    path = save_trace(record(toy, [PROMPT, "moon"], num_inference_steps=steps), tmp_path / "trace.safetensors")
    trace = read_trace(path)
    fig = figure_trace(trace, columns=3)
    curves = [line.get_ydata() for line in fig.axes[0].lines]
    np.testing.assert_allclose(curves[0], [step.sigma for step in trace.steps])
    np.testing.assert_allclose(curves[1], [step.noisy.std() for step in trace.steps])
    maps = [ax for ax in fig.axes[2:] if ax.images]
    assert len(maps) == 2 * min(3, steps)  # no step twice
    np.testing.assert_allclose(maps[-1].images[0].get_array(), trace.steps[-1].pred_original[0, 0])
    assert maps[min(3, steps) - 1].get_title() == f"step {steps - 1}"
    at = "0" if steps == 1 else f"0, {round((steps - 1) / 2)}, {steps - 1}"
    assert f"at the steps {at}: above" in fig.words
    assert f"A recorded run of {steps} steps, {PROMPT!r}" in fig.words


def twice(said, *args, **facts):
    """The hint, and at the second try what is wrong."""
    return said(*args, **facts) + said(*args, **facts)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((3, 16, 24, 48), "well done"),
        ([3, 16, 24, 48], "well done"),
        ((16, 24, 48), "four are needed"),
        ((6, 16, 24, 48), "3, not 6"),
        ((3, 4, 24, 48), "In between there are more"),
        ((3, 3, 24, 48), "16 channels, not 3"),
        ((3, 8, 24, 48), "this VAE has 16 channels, not 8"),
        ((3, 16, 6, 12), "latents' own rows"),
        ((3, 16, 12, 24), "begins at 0"),
        ((3, 16, 48, 96), "finished picture"),
        ((3, 16, 24, 24), "twice as wide"),
        ((3, 16, 24, 24), "Right for this model's own size"),
        ((3, 16, 48, 24), "other way round"),
        ((3, 16, 48, 24), "Which of them comes first"),
        ((3, 16, 5, 5), "6 rows and 12 columns"),
    ],
)
def test_exercise_stage_shape(said, toy, answer, words):
    assert words in twice(said, "decoding.1", answer, sd=toy)


VALUES = [-1, -0.5, 0.2, 0.995, 1.3]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([0, 64, 153, 254, 255], "well done"),
        ([0, 64, 153], "you gave 3"),
        ([0, 64, 153, 254, 293], "not clamped"),
        ([0, 63, 153, 254, 255], "truncated"),
        ([0, 0, 51, 254, 255], "middle grey"),
        ([0, 64, 154, 255, 256], "255, not 256"),
        ([0, 0.25, 0.6, 0.9975, 1], "between 0 and 1"),
        ([0, 64, 153, 250, 255], "0.995 becomes 254, not 250"),
        (7, "not yet"),
    ],
)
def test_exercise_bytes(said, answer, words):
    assert words in twice(said, "decoding.2", answer, values=VALUES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"b", "d", "f"}, "well done"),
        ("bdf", "well done"),
        ({"z"}, "no change 'z'"),
        ({"a", "b", "d", "f"}, "(a) does not belong"),
        ({"d", "f"}, "(b) is missing"),
        ({"b", "c", "d", "f"}, "(c) does not belong"),
        ({"b", "f"}, "(d) is missing"),
        ({"b", "d", "e", "f"}, "(e) does not belong"),
        ({"b", "d"}, "(f) is missing"),
    ],
)
def test_exercise_other_picture(said, answer, words):
    assert words in twice(said, "decoding.3", answer)


BLACK = {"prompt": PROMPT, "seed": 42, "dtype": "float16"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (BLACK | {"dtype": "bfloat16"}, "well done"),
        (BLACK | {"dtype": torch.bfloat16}, "well done"),
        ("bfloat16", "are no settings"),
        ({"dtype": "bfloat16"}, "You lack prompt, seed"),
        (BLACK, "All settings are as they were"),
        (BLACK | {"seed": 1}, "You changed seed"),
        (BLACK | {"dtype": torch.float32}, "float32 needs 4 bytes"),
        (BLACK | {"dtype": "float64"}, "needs 8 bytes"),
        (BLACK | {"dtype": "int8"}, "not the type"),
    ],
)
def test_exercise_black(said, answer, words):
    assert words in twice(said, "decoding.4", answer, black=BLACK)


def signed(picture):
    return np.asarray(picture, dtype=int)


@pytest.mark.parametrize(
    ("furthest", "words"),
    [
        (lambda a, b: np.abs(signed(a) - signed(b)).max(), "well done"),
        (lambda a, b: level_differences(a, b).max(), "well done"),
        (lambda a, b: (np.asarray(a) - np.asarray(b)).max(), "bytes have no sign"),
        (lambda a, b: np.abs(np.asarray(a).astype(np.int8) - np.asarray(b).astype(np.int8)).max(), "int8 ends at 127"),
        (lambda a, b: (signed(a) - signed(b)).max(), "absolute value"),
        (lambda a, b: (signed(a) - signed(b)).min(), "absolute value"),
        (lambda a, b: np.abs(signed(a) - signed(b)).mean(), "Did you take a mean"),
        (lambda a, b: np.abs(signed(a) - signed(b)).sum() + 1, "where 0 is right"),
        (lambda a, b: np.abs(signed(a) - signed(b)).sum(axis=2).max(), "in two of its colours"),
        (lambda a, b: np.linalg.norm(signed(a) - signed(b), axis=2).max(), "the colours are not added up"),
        (lambda a, b: np.abs(signed(a) - signed(b)).min(), "Do you look at every value, and take the largest?"),
        (lambda a, b: abs(signed(a).max() - signed(b).max()), "Do you look at every value, and take the largest?"),
        (lambda a, b: ..., "not answered yet"),
        (lambda a, b: None, "returns None"),
        (3, "is no function"),
    ],
)
def test_exercise_furthest(said, furthest, words):
    assert words in twice(said, "decoding.5", furthest)


def test_pictures_of_16_bits_lose_no_more_than_these():
    ramp = torch.linspace(-1, 1, 256).view(1, 1, 16, 16).repeat(1, 3, 1, 1).bfloat16()
    assert np.array_equal(*(np.asarray(to_pil(each)[0]) for each in (ramp, ramp.float())))
    other = ramp.flip(-1)
    assert float(psnr(ramp, other)) == float(psnr(ramp.float(), other.float()))
