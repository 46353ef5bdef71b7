"""OpenVINO in the place of torch's UNet and VAE decoder: the same pictures, and torch wherever someone takes a hand."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sdlesson
from sdlesson import models
from sdlesson.attention import record_attention
from sdlesson.decoding import paint_latents
from sdlesson.engine import conversion, openvino
from sdlesson.loading.errors import ModelError
from sdlesson.models import StableDiffusion
from sdlesson.steering import Steering

PROMPT = "a photograph of an astronaut riding a horse"
OPTIONS = {"num_inference_steps": 4, "seed": 1}


@pytest.fixture(scope="module")
def fast():
    """The bundled model, run by OpenVINO in float32."""
    return sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")


@pytest.fixture
def calls(monkeypatch):
    """What OpenVINO computed, call by call: the shapes of the first input."""
    seen, real = [], openvino.Compiled.run
    monkeypatch.setattr(
        openvino.Compiled, "run", lambda self, *given: seen.append(given[0].shape) or real(self, *given)
    )
    return seen


def levels(one, other) -> float:
    """The mean difference of two pictures, in levels of 255."""
    return np.abs(np.asarray(one, int) - np.asarray(other, int)).mean()


NEAR = 0.2  # levels on average: sums in another order


def picture(sd: StableDiffusion, **options):
    return sdlesson.paint(PROMPT, model=sd, **OPTIONS | options)[0]


def test_the_bundled_model_paints_its_picture_and_the_same_again(fast, tiny, calls):
    found = picture(fast)
    assert len(calls) == OPTIONS["num_inference_steps"] + 1  # the UNet's, and the decoder's
    assert levels(found, picture(tiny)) < NEAR
    assert levels(found, picture(fast)) == 0


@pytest.mark.parametrize("name", ["v1.4", pytest.param("v2.1-base", marks=pytest.mark.full)])
def test_the_cousins_paint_their_pictures(name, cousins, monkeypatch, calls):
    folder = cousins(name, "float16", divide=8)
    sd = sdlesson.load(folder, device="cpu", engine="openvino", dtype="float32")
    assert sd.unet.conv_in.weight.dtype == torch.float32 and sd.unet.dtype == torch.float32
    plain = sdlesson.load(folder, device="cpu", engine="torch", dtype="float32")
    assert levels(picture(sd), picture(plain)) < NEAR
    assert len(calls) == OPTIONS["num_inference_steps"] + 1


def test_where_the_cpu_has_units_it_computes_in_bfloat16(tiny):
    if not openvino.computes_in(torch.bfloat16):
        with pytest.raises(ModelError, match="OpenVINO cannot compute in bfloat16 here"):
            sdlesson.load("tiny", device="cpu", engine="openvino", dtype="bfloat16")
        return
    sd = sdlesson.load("tiny", device="cpu", engine="openvino", dtype="bfloat16")
    assert 0 < levels(picture(sd), picture(tiny)) < 2


ONE_THREAD = """
import sys, torch, sdlesson
from sdlesson.engine import conversion, openvino
assert torch.get_num_threads() == 1 and not openvino.computes_in(torch.bfloat16)
sd = sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")
sdlesson.paint("a horse", model=sd, num_inference_steps=1)
"""


def test_one_thread_computes_in_float32_and_not_in_bfloat16(fast):
    """In bfloat16 OpenVINO would end the process: it divides by zero."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", ONE_THREAD], env=environment, check=True)


@pytest.mark.parametrize("limit", ["AVX2", "avx512_core"])
def test_a_processor_that_onednn_may_not_use_whole_is_left_to_torch(monkeypatch, limit):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert not openvino.computes_in(torch.float32) and not openvino.computes_in(torch.bfloat16)
    with pytest.raises(ModelError, match="OpenVINO cannot compute in float32 here"):
        sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")


def touched(kind: str, sd: StableDiffusion) -> StableDiffusion:
    """`sd`, someone having taken a hand in its UNet."""
    unet = sd.unet
    if kind == "replaced":
        return dataclasses.replace(sd, unet=sdlesson.load("tiny", device="cpu").unet)
    if kind == "hook":
        unet.mid_block.register_forward_hook(lambda *_: None)
    elif kind == "hook before":
        unet.conv_out.register_forward_pre_hook(lambda *_: None)
    elif kind == "processor":
        unet.set_attn_processor(dict(unet.attn_processors))
        unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2.set_processor(type("Mine", (), {})())
    elif kind == "weight":
        with torch.no_grad():
            unet.conv_out.bias.add_(0)
    elif kind == "new weight":
        unet.conv_out.bias = torch.nn.Parameter(unet.conv_out.bias.detach().clone())
    elif kind == "other data":
        unet.conv_out.bias.data = unet.conv_out.bias.data * 2
    elif kind == "FreeU":
        unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    elif kind == "scale":
        unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2.scale *= 2
    elif kind == "module":
        unet.conv_out = torch.nn.Identity()
    elif kind == "forward":
        unet.mid_block.forward = unet.mid_block.forward
    elif kind == "training":
        unet.train()
    return sd


@pytest.mark.parametrize(
    "kind",
    [
        "hook",
        "hook before",
        "processor",
        "weight",
        "new weight",
        "other data",
        "FreeU",
        "scale",
        "module",
        "forward",
        "training",
        "replaced",
    ],
)
def test_a_part_that_was_touched_is_torchs(kind, fast):
    sd = sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")
    with torch.no_grad():
        assert isinstance(sd.fastest("unet"), openvino.CompiledUNet)
        changed = touched(kind, sd)
        assert changed.fastest("unet") is changed.unet
        assert isinstance(changed.fastest("vae"), openvino.CompiledVAE)  # which nobody touched


def test_tiling_is_torchs(fast):
    sd = sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")
    sd.vae.enable_tiling()
    with torch.no_grad():
        assert sd.fastest("vae") is sd.vae


def test_the_guess_is_as_exact_as_torchs(fast, tiny):
    """Also at late times, whose sines OpenVINO itself gets wrong from the fourth digit on."""
    x, text = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.randn(2, 77, 128)
    with torch.no_grad():
        for timestep in (999.0, 500.25, torch.tensor(29.2), 0):
            found = fast.fastest("unet")(x, timestep, encoder_hidden_states=text)[0]
            expected = tiny.unet(x, timestep, encoder_hidden_states=text).sample
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_gradients_get_torch(fast):
    assert fast.fastest("unet") is fast.unet
    assert fast.fastest("vae") is fast.vae


def test_recorded_attention_is_seen_and_afterwards_it_is_fast_again(fast, tiny, calls):
    with record_attention(fast.unet) as heat:
        watched = picture(fast)
    assert len(calls) == 1 and heat.calls > 0  # only the decoder
    assert levels(watched, picture(tiny)) < NEAR
    calls.clear()
    picture(fast)
    assert len(calls) == OPTIONS["num_inference_steps"] + 1


def test_other_schedulers_and_steering_are_computed_fast(fast, tiny, calls):
    from diffusers import DDIMScheduler

    both = [dataclasses.replace(sd, scheduler=DDIMScheduler.from_config(sd.scheduler.config)) for sd in (fast, tiny)]
    found, expected = (picture(sd, steering=Steering(interval=(0.3, 5))) for sd in both)
    assert levels(found, expected) < NEAR
    assert {len(shape) for shape in calls} == {4} and {shape[0] for shape in calls[:-1]} == {1, 2}  # guided or not


def test_other_shapes_in_between_do_not_change_the_picture(fast):
    first = picture(fast)
    picture(fast, height=64, width=96)
    sdlesson.paint([PROMPT] * 2, model=fast, **OPTIONS)
    assert levels(picture(fast), first) == 0


def test_a_batch_is_decoded_one_by_one(fast, tiny, calls):
    latents = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = fast.fastest("vae").decode(latents)[0]
        expected = tiny.vae.decode(latents).sample
    assert calls == [(1, 4, 16, 16)] * 3
    torch.testing.assert_close(decoded, expected, rtol=1e-3, atol=1e-3)
    assert len(paint_latents(fast, latents)) == 3


@pytest.mark.full
def test_threads_that_share_the_engine(fast):
    sizes = [{"height": 64, "width": 64}, {}, {"guidance_scale": 1}]
    alone = [picture(fast, **size) for size in sizes]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda size: picture(fast, **size), sizes))
    assert [levels(found, expected) for found, expected in zip(together, alone, strict=True)] == [0] * 3


def test_a_large_part_leaves_the_memory_while_the_other_is_compiled(fast, monkeypatch):
    monkeypatch.setattr(openvino, "_LARGE", 0)
    unet, vae = (fast.engine.compiled[name] for name in openvino.PARTS)
    unet.shapes = vae.shapes = None  # as before the first picture
    first = picture(fast)
    assert unet.model is None and vae.model is not None
    assert levels(picture(fast), first) == 0


def test_a_model_is_converted_once(fast, capfd):
    sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")
    assert "converting" not in capfd.readouterr().err


def test_a_cache_that_is_gone_is_one_sentence(fast, tmp_path):
    sd = sdlesson.load("tiny", device="cpu", engine="openvino", dtype="float32")
    sd.engine.compiled["unet"].file = tmp_path / "unet.xml"
    with pytest.raises(ModelError, match=f"OpenVINO cannot use {tmp_path}/unet.xml .*: delete .* load the model again"):
        picture(sd)


def test_an_openvino_that_is_broken_is_left_to_torch_with_a_sentence(monkeypatch, toy_half, capfd):
    def broken():
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr(openvino, "core", broken)
    monkeypatch.setattr(models, "_BIG", 0)
    assert sdlesson.load(toy_half, device="cpu", dtype="float32").engine is None
    assert "OpenVINO does not start here: libopenvino.so: cannot open" in capfd.readouterr().err


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SDLESSON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def written(folder, place, said=()):
    """A conversion that takes no time."""
    for part in openvino.PARTS:
        (place / f"{part}.xml").write_text("<net/>")
    said.append(place) if said != () else None


def test_two_kernels_that_ask_at_once_convert_once(empty_cache, monkeypatch, toy_half):
    made = []
    monkeypatch.setattr(conversion, "_convert_apart", lambda folder, place: written(folder, place, made))
    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(lambda _: conversion.converted(toy_half), range(4)))
    assert len(made) == len(places) == 1
    assert sorted(file.name for file in places.pop().iterdir()) == ["unet.xml", "vae.xml"]


def test_a_conversion_that_breaks_off_leaves_nothing_and_is_done_again(empty_cache, monkeypatch, toy_half, capfd):
    def broken(folder, place):
        (place / "unet.xml").write_text("<ne")
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "_convert_apart", broken)
    with pytest.raises(KeyboardInterrupt):
        conversion.converted(toy_half)
    assert not [each for each in empty_cache.iterdir() if each.is_dir()]
    assert "which may be deleted" in capfd.readouterr().err
    monkeypatch.setattr(conversion, "_convert_apart", written)
    assert (conversion.converted(toy_half) / "vae.xml").exists()


def test_a_conversion_that_fails_says_why(empty_cache, monkeypatch, toy_half):
    code = "import sys; print('some words'); sys.exit('RuntimeError: no such operator')"
    monkeypatch.setattr(conversion, "_COMMAND", ["-c", code])
    with pytest.raises(ModelError, match="OpenVINO cannot convert .*: RuntimeError: no such operator"):
        conversion.converted(toy_half)


def test_a_conversion_that_is_killed_asks_for_memory(empty_cache, monkeypatch, toy_half):
    code = f"import os; print({conversion._DONE + 'unet traced'!r}, flush=True); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(conversion, "_COMMAND", ["-c", code])
    with pytest.raises(ModelError, match="OpenVINO cannot convert .*: it was stopped; was there too little memory?"):
        conversion.converted(toy_half)


def test_a_conversion_of_another_program_is_waited_for_and_told(empty_cache, monkeypatch, toy_half, capfd):
    from filelock import FileLock

    monkeypatch.setattr(conversion, "_convert_apart", written)
    place = conversion.converted(toy_half)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(place.with_suffix(".lock"), thread_local=False):
            found = pool.submit(conversion.converted, toy_half)
            told = ""
            while "another program converts this model for OpenVINO; waiting" not in told:
                told += capfd.readouterr().err
        assert found.result() == place


def test_a_full_disk_is_told_before_the_work(empty_cache, monkeypatch, toy_half):
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match="OpenVINO's copy of the model needs 0.0 GB in .*; make room there"):
        conversion.converted(toy_half)


def test_a_cache_that_cannot_be_written_to_is_one_sentence(tmp_path, monkeypatch, toy_half):
    (tmp_path / "cache").write_text("a file is in the way")
    monkeypatch.setenv("SDLESSON_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="cannot be kept in .*; name another folder in SDLESSON_CACHE"):
        conversion.converted(toy_half)


def test_where_it_cannot_be_converted_auto_is_torch_and_says_why(empty_cache, monkeypatch, toy_half, capfd):
    monkeypatch.setattr(models, "_BIG", 0)
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    sd = sdlesson.load(toy_half, device="cpu", dtype="float32")
    assert sd.engine is None and sd.unet.conv_in.weight.dtype == torch.float32
    assert "make room there. Until then torch computes." in capfd.readouterr().err
    with pytest.raises(ModelError, match="make room there"):
        sdlesson.load(toy_half, device="cpu", dtype="float32", engine="openvino")


def test_other_weights_are_converted_anew(toy_half, toy_folder):
    assert conversion._key(toy_half) != conversion._key(toy_folder)
    assert conversion._key(toy_half) == conversion._key(toy_half)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low_memory": 1}, 'low_memory is True, False or "auto", not 1'),
        ({"engine": "tensorrt"}, 'The engine is "auto", "torch" or "openvino", not \'tensorrt\''),
        ({"engine": "openvino", "low_memory": True}, "OpenVINO keeps its own copy of the weights in memory"),
        ({"engine": "openvino", "dtype": "float16"}, "OpenVINO cannot compute in float16 here; take float32"),
        ({"engine": "openvino", "device": "meta"}, "OpenVINO computes on the CPU here, not on meta"),
    ],
)
def test_what_cannot_be_had_is_told(options, sentence):
    with pytest.raises(ModelError, match=sentence):
        sdlesson.load("tiny", **options)


def test_without_openvino_auto_is_torch_and_asking_for_it_is_told(monkeypatch, toy_half):
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    monkeypatch.setattr(models, "_BIG", 0)
    assert sdlesson.load(toy_half, device="cpu").engine is None
    with pytest.raises(ModelError, match="OpenVINO is not installed: `make fast`"):
        sdlesson.load(toy_half, device="cpu", engine="openvino")


def test_auto_takes_openvino_for_a_big_model_and_torch_for_a_small_one(monkeypatch, toy_half):
    monkeypatch.setattr(conversion, "_convert_apart", written)
    monkeypatch.setattr(conversion, "converted", lambda folder: folder)
    monkeypatch.setattr(openvino, "Engine", lambda *_: "engine")
    assert sdlesson.load(toy_half, device="cpu", dtype="float32").engine is None
    monkeypatch.setattr(models, "_BIG", 0)
    assert sdlesson.load(toy_half, device="cpu", dtype="float32").engine == "engine"
    assert sdlesson.load(toy_half, device="cpu", dtype="float16").engine is None
    assert sdlesson.load(toy_half, device="cpu", dtype="float32", engine="torch").engine is None
    assert sdlesson.load(toy_half, device="cpu", dtype="float32", low_memory=True).engine is None


TELLING = """
import sys
from sdlesson.engine import conversion, openvino
openvino.core()
assert "openvino" in sys.modules
print([name for name in sys.modules if "openvino_telemetry" in name])
"""


def test_nothing_is_reported_to_anyone():
    said = subprocess.run([sys.executable, "-c", TELLING], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
