"""What every door checks: each public function is given what does not belong there, and says so in one sentence."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sdlesson
from sdlesson import BadInput, attention, guidance, latents, samplers, sigmas, steering, symptoms
from sdlesson.figures.base import plot_picture
from sdlesson.figures.decoding import figure_trace
from sdlesson.loading import checks
from sdlesson.steering import Steering

PROMPT = "a photograph of an astronaut riding a horse"

#: What a learner may hold in the hand where something else belongs.
ODD = {
    "None": None,
    "True": True,
    "text": "x",
    "bytes": b"7",
    "empty list": [],
    "list of None": [None],
    "ragged list": [[1.0], [2.0, 3.0]],
    "dict": {"a": 1},
    "object": object(),
    "NaN": math.nan,
    "-1": -1,
    "2.5": 2.5,
    "array": np.zeros(3),
    "array of texts": np.array(["a"]),
    "empty tensor": torch.zeros(0),
    "complex tensor": torch.zeros(1, 4, 6, 6, dtype=torch.complex64),
    "boolean tensor": torch.ones(1, 4, 6, 6, dtype=torch.bool),
    "tensor of five sides": torch.zeros(1, 1, 4, 6, 6),
    "picture": Image.new("RGB", (5, 7)),
    "path": Path("x"),
}


def picture(mode="RGB", size=(48, 48), colour=None):
    return Image.new(mode, size, colour) if colour is not None else Image.new(mode, size)


def no_name(odd):
    """What cannot be the name of a file; a name that can be one gets a zero byte."""
    return "\0" if isinstance(odd, str | bytes | Path) else odd


def doors(toy, tmp_path):
    """Every argument of the public functions that a learner fills in: name -> a call with that argument left open."""
    few, x, noise = {"num_inference_steps": 1}, torch.zeros(1, 4, 6, 6), torch.Generator().manual_seed(0)
    run = guidance.record(toy, PROMPT, **few)

    def denoised(**options):
        return list(guidance.denoise(toy, PROMPT, **(few | options)))

    def painted(how, **options):
        return how(toy, PROMPT, **({"picture": picture()} | few | options))

    held = {"mask": torch.ones(48, 48)}
    return {
        "tokenize tokenizer": lambda odd: sdlesson.tokenize(odd, PROMPT),
        "tokenize prompt": lambda odd: sdlesson.tokenize(toy.tokenizer, odd),
        "embed encoder": lambda odd: sdlesson.embed(odd, run.ids),
        "embed ids": lambda odd: sdlesson.embed(toy.text_encoder, odd),
        "text_embeddings sd": lambda odd: sdlesson.text_embeddings(odd, PROMPT),
        "text_embeddings prompt": lambda odd: sdlesson.text_embeddings(toy, odd),
        "text_embeddings negative": lambda odd: sdlesson.text_embeddings(toy, PROMPT, odd),
        "encode vae": lambda odd: sdlesson.encode(odd, picture()),
        "encode picture": lambda odd: sdlesson.encode(toy.vae, odd),
        "initial_noise batch": lambda odd: sdlesson.initial_noise(odd, 48, 48, generator=noise),
        "initial_noise height": lambda odd: sdlesson.initial_noise(1, odd, 48, generator=noise),
        "initial_noise generator": lambda odd: sdlesson.initial_noise(1, 48, 48, generator=odd),
        "initial_noise channels": lambda odd: sdlesson.initial_noise(1, 48, 48, generator=noise, channels=odd),
        "initial_noise factor": lambda odd: sdlesson.initial_noise(1, 48, 48, generator=noise, factor=odd),
        "lms_coefficients sigmas": lambda odd: sdlesson.lms_coefficients(odd, 0),
        "lms_coefficients i": lambda odd: sdlesson.lms_coefficients([3, 2, 1, 0], odd),
        "lms_coefficients order": lambda odd: sdlesson.lms_coefficients([3, 2, 1, 0], 1, odd),
        "decode vae": lambda odd: sdlesson.decode(odd, x),
        "decode latents": lambda odd: sdlesson.decode(toy.vae, odd),
        "paint prompt": lambda odd: sdlesson.paint(odd, model=toy, **few),
        "to_pil": sdlesson.to_pil,
        "save_png picture": lambda odd: sdlesson.save_png(odd, tmp_path / "a.png"),
        "save_png path": lambda odd: sdlesson.save_png(
            picture(), odd if not isinstance(odd, str | bytes | Path) else "\0"
        ),
        "save_trace trace": lambda odd: sdlesson.save_trace(odd, tmp_path / "t"),
        "save_trace path": lambda odd: sdlesson.save_trace(
            run, odd if not isinstance(odd, str | bytes | Path) else "\0"
        ),
        "read_trace": sdlesson.read_trace,
        "record sd": lambda odd: sdlesson.record(odd, PROMPT),
        "record seed": lambda odd: sdlesson.record(toy, PROMPT, seed=odd, **few),
        "record text_embeddings": lambda odd: sdlesson.record(toy, PROMPT, text_embeddings=odd, **few),
        "denoise sd": lambda odd: list(sdlesson.denoise(odd, PROMPT)),
        **{
            f"denoise {name}": lambda odd, name=name: denoised(**{name: odd})
            for name in (
                *("negative_prompt", "num_inference_steps", "guidance_scale", "height", "width", "seed", "generator"),
                *("latents", "text_embeddings", "start", "steering", "order"),
            )
        },
        "img2img picture": lambda odd: painted(steering.img2img, picture=odd),
        "img2img strength": lambda odd: painted(steering.img2img, strength=odd),
        "img2img seed": lambda odd: painted(steering.img2img, seed=odd),
        "inpaint picture": lambda odd: painted(steering.inpaint, picture=odd, **held),
        "inpaint mask": lambda odd: painted(steering.inpaint, mask=odd),
        "inpaint steering": lambda odd: painted(steering.inpaint, steering=odd, **held),
        "inpaint generator": lambda odd: painted(steering.inpaint, generator=odd, **held),
        "Steering change": lambda odd: Steering(change=odd),
        "Steering loss": lambda odd: Steering(loss=odd),
        "Steering interval": lambda odd: Steering(interval=odd),
        "change gives": lambda odd: denoised(steering=Steering(change=lambda x, sigma: odd)),
        "loss gives": lambda odd: denoised(steering=Steering(loss=lambda x: odd)),
        "noised noise": lambda odd: steering.noised(toy, x, odd, 1, 3),
        "slerp": lambda odd: steering.slerp(x, odd, 0.5),
        "auc heat": lambda odd: attention.auc(odd, np.eye(6)),
        "auc mask": lambda odd: attention.auc(torch.rand(6, 6), odd),
        "iou": lambda odd: attention.iou(np.eye(6), odd),
        "hottest": lambda odd: attention.hottest(torch.rand(6, 6), odd),
        "fall_ill seeds": lambda odd: symptoms.fall_ill(toy, PROMPT, seeds=odd, num_inference_steps=1),
        "fall_ill steps": lambda odd: symptoms.fall_ill(toy, PROMPT, num_inference_steps=odd),
        "hidden_cause": symptoms.hidden_cause,
        "betas start": lambda odd: sigmas.betas(odd),
        "betas steps": lambda odd: sigmas.betas(num_train_timesteps=odd),
        "alphas_cumprod": sigmas.alphas_cumprod,
        "training_sigmas": sigmas.training_sigmas,
        "schedule steps": sigmas.schedule,
        "schedule sigmas": lambda odd: sigmas.schedule(5, odd),
        "timestep_of": samplers.timestep_of,
        "karras steps": samplers.karras_sigmas,
        "karras rho": lambda odd: samplers.karras_sigmas(5, rho=odd),
        "sampler sigmas": lambda odd: samplers.end(samplers.euler(lambda x, sigma: x / 2, torch.ones(1), odd)),
        "sampler order": lambda odd: samplers.end(samplers.lms(lambda x, sigma: x / 2, torch.ones(1), [3, 2, 0], odd)),
        "first_step": lambda odd: steering.first_step(0.5, odd),
        "psnr": lambda odd: latents.psnr(torch.zeros(1, 3, 8, 8), odd),
        "preview": lambda odd: latents.preview(odd, torch.zeros(5, 3)),
    }


@pytest.fixture(scope="module")
def all_doors(toy, tmp_path_factory):
    return doors(toy, tmp_path_factory.mktemp("doors"))


def test_no_door_lets_a_stranger_in_to_fall(all_doors):
    """Whatever is given: a result, or BadInput; never an exception from the depths, never half a sentence."""
    fell, refused = [], 0
    for name, door in all_doors.items():
        for kind, odd in ODD.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    door(odd)
                except BadInput as bad:
                    refused += 1
                    if len(str(bad)) <= 20 or "\n" in str(bad):
                        fell.append((name, kind, str(bad)))
                except Exception as error:
                    fell.append((name, kind, repr(error)))
    assert fell == []
    assert refused > 1400


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (True, 0, 9, "a whole number from 0 to 9, not True"),
        (2.0, 0, None, "of at least 0, not 2.0"),
        (10, 0, 9, "not 10"),
        (np.float64(1), None, None, "must be a whole number, not"),
        (torch.tensor([1, 2]), 0, 9, "not Tensor of shape"),
        (b"7", 0, 9, "not b'7'"),
    ],
)
def test_whole_numbers(value, low, high, words):
    with pytest.raises(BadInput, match=words):
        checks.whole(value, "number of steps", low, high)
    for fine in (3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)):
        assert checks.whole(fine, "number", low, None) == 3


@pytest.mark.parametrize("value", [True, math.nan, math.inf, "1", 1j, 10**400, 3.5, -0.1, None])
def test_numbers(value):
    with pytest.raises(BadInput, match="must be a finite number from 0 to 3, not"):
        checks.number(value, "strength", 0, 3)
    for fine in (2, 2.0, np.float32(2), torch.tensor(2.0), np.array([2])):
        assert checks.number(fine, "strength", 0, 3) == 2.0


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([3.0, 0.0, 0.0], "Only the last noise level may be 0"),
        ([3.0, math.nan, 0.0], "finite numbers of at least 0"),
        (torch.tensor([3.0, math.inf, 1.0]), "finite numbers of at least 0"),
        (np.array([3.0, -1.0, 0.0]), "finite numbers of at least 0"),
        ([3.0, 2.0, 2.0, 0.0], "Two noise levels in a row are equal"),
        ([3.0], "at least two of them, not 1"),
        ("321", "must be a row of numbers, not '321'"),
    ],
)
def test_samplers_go_no_way_that_is_none(levels, words):
    ways = (samplers.euler, samplers.heun, samplers.lms, samplers.dpmpp_2m, samplers.ddim, samplers.euler_ancestral)
    for sampler in ways:
        with pytest.raises(BadInput, match=words):
            next(sampler(lambda x, sigma: pytest.fail("a step was taken"), torch.ones(1), levels))
    with pytest.raises(BadInput, match=words):
        sigmas.sample_lms(lambda x, sigma: pytest.fail("a step was taken"), torch.ones(1), levels)
    if words.startswith("finite"):
        with pytest.raises(BadInput, match=words):
            sdlesson.lms_coefficients(levels, 0)


def test_a_sampler_that_adds_noise_only_goes_down_and_a_way_is_walked_once():
    with pytest.raises(BadInput, match="must fall; 1 rises to 3"):
        samplers.end(samplers.euler_ancestral(lambda x, sigma: x / 2, torch.ones(1), [1.0, 3.0, 0.0]))
    way = samplers.euler(lambda x, sigma: x / 2, torch.ones(1), [3.0, 0.0])
    assert samplers.end(way) == 0.5
    with pytest.raises(BadInput, match="no step left"):
        samplers.end(way)


@pytest.mark.parametrize("ends", [(-1,), (2, 3), (0.1, math.nan), (0.1, 1.0), ("a",), (0.1, 0.2, "linear", 0)])
def test_betas_are_shares(ends):
    with pytest.raises(BadInput):
        sigmas.betas(*ends)


@pytest.mark.parametrize("kept", [[0.5, 0.0], [0.5, -0.1], [1.5], [math.nan]])
def test_where_nothing_is_left_of_the_picture_sigma_has_no_end(kept):
    with pytest.raises(BadInput):
        sigmas.training_sigmas(kept)
    with pytest.raises(BadInput, match="from 0 to 1"):
        sigmas.alphas_cumprod([0.1, 1 - min(kept) if kept[0] == 1.5 else 2.0])


@pytest.mark.parametrize("rho", [1e308, 1e-308, 1e-3, -7.0, 0, math.nan, math.inf, "7", True])
def test_karras_levels_fall(rho):
    with pytest.raises(BadInput, match="rho"):
        samplers.karras_sigmas(5, rho=rho)
    for fine in (0.5, 1, np.float32(7), 100):
        assert (np.diff(samplers.karras_sigmas(5, rho=fine)) < 0).all()


@pytest.mark.parametrize(("sigma", "words"), [(None, "not None"), (-1, "not -1"), (math.nan, "not nan"), ("1", "'1'")])
def test_a_noise_level_is_a_number(sigma, words):
    with pytest.raises(BadInput, match=words):
        samplers.timestep_of(sigma)
    assert samplers.timestep_of(torch.tensor(1.0)) == samplers.timestep_of(1.0)


@pytest.mark.parametrize(
    ("scale", "words"),
    [(1e40, "between"), (-1e7, "between"), (10**400, "a finite"), (math.nan, "a finite"), (True, "True"), ("8", "'8'")],
)
def test_no_guidance_overflows(toy, scale, words):
    with pytest.raises(BadInput, match=f"The guidance scale must .*{words}"):
        sdlesson.denoise(toy, PROMPT, guidance_scale=scale)
    last = sdlesson.record(toy, PROMPT, guidance_scale=checks.MOST_GUIDANCE, num_inference_steps=20).steps[-1]
    assert last.latents.isfinite().all()


MASK = np.arange(48 * 40).reshape(48, 40) % 7 < 3


@pytest.mark.parametrize(
    "given",
    [
        MASK,
        MASK.tolist(),
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.int64),
        np.where(MASK, 0.9, 0.1),
        np.where(MASK, 1.004, -0.004),  # as a bicubic resizing leaves it
        np.where(MASK, 128, 127),
        torch.from_numpy(MASK)[None],
        torch.from_numpy(MASK)[None, None].half(),
        Image.fromarray(MASK),
        Image.fromarray(MASK.astype(np.uint8) * 255),
        Image.fromarray(MASK.astype(np.uint8) * 255).convert("RGB"),
        Image.fromarray(MASK.astype(np.float32)),
    ],
    ids=lambda given: f"{type(given).__name__} {getattr(given, 'dtype', getattr(given, 'mode', ''))}",
)
def test_a_mask_in_any_form_is_the_same_mask(toy, given):
    assert checks.mask(given).dtype == torch.bool and np.array_equal(checks.mask(given).numpy(), MASK)
    heat = torch.rand(48, 40, generator=torch.Generator().manual_seed(3))
    assert attention.auc(heat, given) == attention.auc(heat, MASK) != 0.5
    assert attention.iou(given, MASK) == 1
    assert torch.equal(steering.latent_mask(given, 8), steering.latent_mask(MASK, 8))
    short = {"num_inference_steps": 1, "picture": picture(size=(40, 48), colour="teal")}
    assert torch.equal(steering.inpaint(toy, "a", mask=given, **short), steering.inpaint(toy, "a", mask=MASK, **short))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.arange(12).reshape(3, 4), "neither to 1 nor to 255: its largest number is 11"),
        (np.full((3, 4), 0.2), "largest number is 0.2"),
        (np.full((3, 4), math.nan), "lie in 0 ... 255"),
        (np.full((3, 4), -1.0), "lie in 0 ... 255"),
        (np.full((3, 4), 65535), "lie in 0 ... 255"),
        (np.ones((3, 4, 3)), "shape \\(height, width\\)"),
        (torch.ones(2, 3, 4), "shape \\(height, width\\)"),
        (np.ones(7), "shape \\(height, width\\)"),
        (picture("RGBA"), "transparent mask"),
        ("mask.png", "and is no 'mask.png'"),
    ],
)
def test_what_is_no_mask_is_told(given, words):
    with pytest.raises(BadInput, match=words):
        checks.mask(given)


@pytest.mark.parametrize("size", [(130, 130), (48, 40), (5, 6), (6, 5), (96, 96)])
def test_a_mask_of_another_size_is_told_with_both_sizes(toy, size):
    with pytest.raises(
        BadInput, match=r"latents \(6, 6\) or its pixels \(48, 48\), not \(" + ", ".join(map(str, size))
    ):
        steering.inpaint(toy, PROMPT, picture(), torch.ones(size), num_inference_steps=1)
    for measure in (attention.auc, attention.iou):
        with pytest.raises(BadInput, match="should have|must have|has the size"):
            measure(torch.ones(48, 48), torch.ones(size))


def half_a_file():
    """A photo that was downloaded in part, opened: its pixels are read when they are first asked for."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 60).save(file, "PNG")
    return Image.open(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2]))


def held_so(orientation):
    """A picture with a red quarter that a camera wrote with this note of how it was held, opened again."""
    note, file = Image.Exif(), io.BytesIO()
    note[274] = orientation
    photo = Image.new("RGB", (16, 8), "white")
    photo.paste("red", (0, 0, 8, 4))
    photo.save(file, "PNG", exif=note)
    return Image.open(file)


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    [
        *((1, (16, 8), (0, 0)), (2, (16, 8), (15, 0)), (3, (16, 8), (15, 7)), (4, (16, 8), (0, 7))),
        *((5, (8, 16), (0, 0)), (6, (8, 16), (7, 0)), (7, (8, 16), (7, 15)), (8, (8, 16), (0, 15))),
    ],
)
def test_a_phones_photo_is_read_as_a_viewer_shows_it(toy, orientation, size, corner):
    """Where the red quarter, written at the upper left, stands for the eye (the standard's eight orientations)."""
    photo = held_so(orientation)
    assert checks.rgb(photo).size == size and checks.rgb(photo).getpixel(corner) == (255, 0, 0)
    values = latents.to_tensor(photo)
    assert values.shape == (1, 3, *size[::-1]) and values[0, 1, corner[1], corner[0]] == -1
    assert sdlesson.encode(toy.vae, photo).shape == (1, 4, size[1] // 8, size[0] // 8)
    shown = plot_picture(photo).images[0].get_array()
    assert shown.shape == (size[1], size[0], 3) and tuple(shown[corner[1], corner[0]]) == (255, 0, 0)


GREY16 = np.full((8, 8), 32896, np.uint16)  # 128 of 255


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (Image.fromarray(GREY16), (128, 128, 128)),
        (Image.fromarray(GREY16.astype(np.int32)), (128, 128, 128)),
        (Image.fromarray(np.full((8, 8), 128, np.int32)), (128, 128, 128)),
        (Image.fromarray(np.full((8, 8), 128 / 255, np.float32)), (128, 128, 128)),
        (Image.fromarray(np.full((8, 8), 128, np.float32)), (128, 128, 128)),
        (picture("RGBA", (8, 8), (255, 0, 0, 0)), (255, 255, 255)),
        (picture("RGBA", (8, 8), (255, 0, 0, 51)), (255, 204, 204)),
        (picture("LA", (8, 8), (0, 0)), (255, 255, 255)),
        (picture("RGB", (8, 8), (10, 20, 30)).quantize(4), (10, 20, 30)),
        (picture("CMYK", (8, 8), (255, 0, 0, 0)), (0, 255, 255)),
        (picture("1", (8, 8), 1), (255, 255, 255)),
        (picture("L", (8, 8), 77), (77, 77, 77)),
        (np.full((8, 8, 3), (10, 20, 30), np.uint8), (10, 20, 30)),
    ],
    ids=lambda each: getattr(each, "mode", str(each)[:12]),
)
def test_pictures_of_every_kind_are_seen_as_they_look(toy, given, seen):
    flat = picture("RGB", (8, 8), seen)
    assert checks.rgb(given).tobytes() == flat.tobytes()
    assert torch.equal(sdlesson.encode(toy.vae, given), sdlesson.encode(toy.vae, flat))


def test_a_palette_with_a_transparent_colour_lies_on_white():
    transparent = picture("P", (8, 8), 0)
    transparent.info["transparency"] = 0
    assert checks.rgb(transparent).getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Image.fromarray(np.full((8, 8), math.nan, np.float32)), "lie in 0 ... 255"),
        (Image.fromarray(np.full((8, 8), -3, np.int32)), "lie in 0 ... 65535"),
        (Image.fromarray(np.full((8, 8), 70000, np.int32)), "lie in 0 ... 65535"),
        (half_a_file(), "is unreadable: .*truncated"),
        ("photo.png", "opened with Image.open, not 'photo.png'"),
        (np.zeros((8, 8, 3)), "not ndarray of shape"),
        (torch.zeros(3, 8, 8), "not Tensor of shape"),
    ],
)
def test_what_is_no_picture_is_told(toy, given, words):
    with pytest.raises(BadInput, match=words):
        sdlesson.encode(toy.vae, given)


def test_pixels_in_tensors_and_arrays(toy):
    white = sdlesson.encode(toy.vae, picture(colour="white"))
    bytes_ = torch.full((1, 3, 48, 48), 255, dtype=torch.uint8)
    for given in (bytes_, bytes_.numpy(), torch.ones(1, 3, 48, 48), np.ones((1, 3, 48, 48))):
        torch.testing.assert_close(sdlesson.encode(toy.vae, given), white, rtol=1e-3, atol=1e-3)
    short = {"num_inference_steps": 2, "strength": 0}
    for given in (torch.ones(1, 3, 48, 48), bytes_, white, white.numpy()):  # pixels, or latents by their channels
        torch.testing.assert_close(steering.img2img(toy, PROMPT, given, **short), white, rtol=1e-3, atol=1e-3)
    for odd in (
        *(torch.full((1, 3, 48, 48), 255.0), torch.full((1, 3, 48, 48), math.nan), torch.ones(1, 4, 48, 48)),
        *(torch.ones(1, 3, 48, 48, dtype=torch.int64), torch.ones(3, 48, 48)),
    ):
        with pytest.raises(BadInput):
            sdlesson.encode(toy.vae, odd)


@pytest.mark.parametrize("shape", [(1, 4, 6, 6), (3, 8, 8), (1, 1, 8, 8)])
def test_only_pictures_become_pictures(shape):
    with pytest.raises(BadInput, match="`decode` makes pictures of latents|must be a tensor"):
        sdlesson.to_pil(torch.zeros(shape))
    with pytest.raises(BadInput, match="floats in -1 ... 1"):
        sdlesson.to_pil(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert sdlesson.to_pil(np.ones((1, 3, 8, 8)))[0].getpixel((0, 0)) == (255, 255, 255)


def test_seeds_of_every_kind(toy):
    one = sdlesson.record(toy, PROMPT, num_inference_steps=1, seed=7)
    for seed in (np.int64(7), np.uint8(7), torch.tensor(7), [7], (7,), range(7, 8), np.array([7])):
        run = sdlesson.record(toy, PROMPT, num_inference_steps=1, seed=seed)
        torch.testing.assert_close(run.steps[0].latents, one.steps[0].latents)
        assert run.settings["seeds"] == [7] and type(run.settings["seeds"][0]) is int
    for odd in (b"7", True, "7", [True], [[7]], 7.0, 2**64, -1, None):
        with pytest.raises(BadInput, match="seed must be a whole number from 0 to 18446744073709551615"):
            sdlesson.record(toy, PROMPT, num_inference_steps=1, seed=odd)


def test_latents_may_be_arrays_and_lists(toy):
    noise = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    wanted = sdlesson.record(toy, PROMPT, num_inference_steps=1, latents=noise).steps[0].latents
    for same in (noise.numpy(), noise.double().numpy(), noise.tolist()):
        run = sdlesson.record(toy, PROMPT, num_inference_steps=1, latents=same)
        assert torch.equal(run.steps[0].latents, wanted) and run.steps[0].latents.dtype == torch.float32
        assert sdlesson.decode(toy.vae, same).shape == (1, 3, 48, 48)
    with pytest.raises(BadInput, match=r"must have the shape \(1, 4, 6, 6\), not \(1, 4, 6, 7\)"):
        sdlesson.record(toy, PROMPT, latents=torch.zeros(1, 4, 6, 7))


@pytest.mark.parametrize(
    "options",
    [{"start": 0}, {"latents": torch.zeros(1, 4, 6, 6)}, {"height": 48}, {"width": 48}],
    ids=lambda options: next(iter(options)),
)
def test_what_the_picture_settles_cannot_be_asked_for(toy, options):
    with pytest.raises(BadInput, match=f"The option {next(iter(options))} is settled here"):
        steering.img2img(toy, PROMPT, picture(), num_inference_steps=2, **options)
    with pytest.raises(BadInput, match=f"The option {next(iter(options))} is settled here"):
        steering.inpaint(toy, PROMPT, picture(), torch.ones(6, 6), num_inference_steps=2, **options)


def test_a_hand_in_the_run_beside_the_mask(toy):
    run = {"picture": picture(colour="teal"), "mask": torch.eye(6), "num_inference_steps": 3}
    plain = steering.inpaint(toy, PROMPT, **run)
    assert torch.equal(plain, steering.inpaint(toy, PROMPT, steering=Steering(), **run))
    assert not torch.equal(plain, steering.inpaint(toy, PROMPT, steering=Steering(interval=(99.0, 100.0)), **run))
    with pytest.raises(BadInput, match="leave out Steering"):
        steering.inpaint(toy, PROMPT, steering=Steering(change=lambda x, sigma: x), **run)


def test_a_generator_draws_the_noise(toy):
    def ends(paint, **options):
        return paint(toy, PROMPT, picture(), *options.pop("more", ()), num_inference_steps=2, **options)

    for paint, more in ((steering.img2img, ()), (steering.inpaint, (torch.ones(6, 6),))):
        plain = ends(paint, more=more, seed=5)
        assert torch.equal(plain, ends(paint, more=more, generator=torch.Generator().manual_seed(5)))
        assert not torch.equal(plain, ends(paint, more=more, generator=torch.Generator().manual_seed(6)))
        assert not torch.equal(plain, ends(paint, more=more))


def test_one_picture_for_each_prompt_or_one_for_all(toy):
    with pytest.raises(BadInput, match="3 pictures for 2 prompts"):
        steering.img2img(toy, [PROMPT] * 2, torch.zeros(3, 4, 6, 6), num_inference_steps=1)


def test_steering_stays_in_float32_and_says_what_it_wants(toy):
    few = {"num_inference_steps": 2}
    plain = sdlesson.record(toy, PROMPT, **few).steps[-1].latents
    for change in (lambda x, sigma: x.double(), lambda x, sigma: x.clone(), lambda x, sigma: x):
        steps = sdlesson.record(toy, PROMPT, steering=Steering(change=change), **few).steps
        assert {step.latents.dtype for step in steps} == {torch.float32} and torch.equal(steps[-1].latents, plain)
    for change in (lambda x, sigma: None, lambda x, sigma: x[0], lambda x, sigma: x.bool()):
        with pytest.raises(BadInput, match="change gives back latents"):
            sdlesson.record(toy, PROMPT, steering=Steering(change=change), **few)
    for loss in (lambda x: x, lambda x: 3.0, lambda x: x.detach().sum()):
        with pytest.raises(BadInput, match="loss gives back one number"):
            sdlesson.record(toy, PROMPT, steering=Steering(loss=loss), **few)


@pytest.mark.parametrize("interval", [3, (1,), (1, 2, 3), (math.nan, 1), ("a", "b"), None])
def test_an_interval_is_two_levels(interval):
    with pytest.raises(BadInput, match="interval is two noise levels"):
        Steering(interval=interval)


def test_a_run_without_steps(toy, tmp_path):
    """A run that starts behind its last step: its picture is that of its latents; there is nothing to keep or draw."""
    clean = sdlesson.encode(toy.vae, picture(colour="teal"))
    over = {"num_inference_steps": 2, "start": 2, "latents": clean}
    painted = sdlesson.paint(PROMPT, model=toy, **over)
    assert painted[0].tobytes() == sdlesson.to_pil(sdlesson.decode(toy.vae, clean))[0].tobytes()
    run = sdlesson.record(toy, PROMPT, **over)
    assert run.steps == ()
    with pytest.raises(BadInput, match="no steps to keep"):
        sdlesson.save_trace(run, tmp_path / "t")
    with pytest.raises(BadInput, match="no steps to draw"):
        figure_trace(run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_too_few_steps_to_stop_early(toy, steps):
    with pytest.raises(BadInput, match="number of steps must be a whole number of at least 4"):
        symptoms.fall_ill(toy, PROMPT, "stopped early", num_inference_steps=steps)
    assert len(symptoms.fall_ill(toy, PROMPT, "not divided", num_inference_steps=steps, seeds=7).calls) == steps
    assert len(symptoms.fall_ill(toy, PROMPT, "stopped early", num_inference_steps=4).calls) == 1


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", None, 7, ["a.png"]])
def test_names_that_no_file_can_have(toy, name):
    for write in (lambda: sdlesson.save_png(picture(), name), lambda: sdlesson.read_trace(name)):
        with pytest.raises(BadInput, match="cannot be the name of a file"):
            write()


def test_names_that_the_system_refuses(tmp_path):
    for name, words in (("x" * 300 + ".png", "too long"), (".", "folder|directory"), ("nowhere/a.png", "no|No")):
        with pytest.raises(BadInput, match=words) as told:
            sdlesson.save_png(picture(), tmp_path / name)
        assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())
