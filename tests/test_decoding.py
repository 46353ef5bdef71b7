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
from sdlesson import files
from sdlesson.decoding import decode, paint, paint_latents, read_trace, save_png, save_trace, to_pil
from sdlesson.guidance import record
from sdlesson.latents import initial_noise, seeded
from sdlesson.models import ARTICLE_SCHEDULE, BadInput

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


def test_what_is_no_trace(tmp_path, toy_folder):
    (tmp_path / "junk").write_bytes(b"junk")
    for path in (tmp_path / "nowhere", tmp_path / "junk", toy_folder / "unet/diffusion_pytorch_model.safetensors"):
        with pytest.raises(BadInput, match="cannot be read as a recorded run"):
            read_trace(path)
