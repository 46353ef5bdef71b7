"""A big model in little memory: the same pictures, the weights as the file holds them, and only the memory needed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import Embedding, Linear, ModuleDict, Sequential

import sdlesson
from sdlesson import models
from sdlesson.engine import lean, openvino
from sdlesson.loading.errors import BadInput
from sdlesson.loading.weights import read_weights

CPU = torch.device("cpu")


@pytest.fixture
def big(monkeypatch):
    """Every model counts as a big one."""
    monkeypatch.setattr(models, "_BIG", 0)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["no units", "bfloat16 units"])
def units(request, monkeypatch):
    """torch reports a CPU with or without units for bfloat16, whatever this machine has; the dtype that it gives."""
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda: request.param == torch.bfloat16)
    return request.param


@pytest.fixture
def small(monkeypatch):
    """Even the small weights of a cousin stay in 16 bits."""
    monkeypatch.setattr(lean, "_SMALL", 600)


def narrow(seed=0):
    """A part of three kinds of layers with weights in float16, as a file may hold them."""
    torch.manual_seed(seed)
    return Sequential(Embedding(600, 300), Linear(300, 300), Linear(300, 4)).half()


@pytest.mark.parametrize(
    ("reports", "dtype"),
    [
        ({"amx_tile": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_tile": False, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_tile": False, "avx512_bf16": False}, torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_where_torch_reports_units_for_it(monkeypatch, reports, dtype):
    for name, answer in reports.items():
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda answer=answer: answer)
    assert lean.fast_dtype(CPU) == dtype
    assert lean.fast_dtype(torch.device("cuda")) == torch.float16
    assert lean.fast_dtype(torch.device("mps")) == torch.float32


def test_a_part_computes_in_float32_and_keeps_its_big_weights_in_16_bits():
    ids = torch.arange(6).view(2, 3)
    expected = narrow().float()(ids)
    part = lean.upcast_layers(narrow(), torch.float32)
    found = part(ids)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)  # widening a number changes nothing
    assert [layer.weight.dtype for layer in part] == [torch.float16, torch.float16, torch.float32]
    assert {layer.bias.dtype for layer in part[1:]} == {torch.float32}
    assert not found.requires_grad


def test_gradients_flow_through_a_part_that_widens():
    torch.manual_seed(0)
    wide = Sequential(Linear(300, 300), Linear(300, 300)).half()
    part = lean.upcast_layers(copy.deepcopy(wide), torch.float32)
    x = torch.randn(2, 300, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (expected,) = torch.autograd.grad(wide.float()(x).square().sum(), x)
    (found,) = torch.autograd.grad(part(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert [layer.weight.dtype for layer in part] == [torch.float16, torch.float16]
    assert list(part.state_dict()) == list(wide.state_dict())


def test_a_part_is_made_to_widen_once():
    part = lean.upcast_layers(narrow(), torch.float32)
    with pytest.raises(BadInput, match="widens its weights to torch.float32 already"):
        lean.upcast_layers(part, torch.float32)
    again = copy.deepcopy(part)  # a copy widens as its original does
    torch.testing.assert_close(again(torch.arange(3)), part(torch.arange(3)), rtol=0, atol=0)


def test_a_big_model_decodes_a_batch_one_by_one(toy_half, big, units):
    sd, seen = sdlesson.load(toy_half), []
    sd.vae.decoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    latents = torch.randn(3, sd.vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0)).to(units)
    with torch.no_grad():
        together = sd.vae.decode(latents).sample
        assert seen == [1, 1, 1]
        torch.testing.assert_close(together[1:2], sd.vae.decode(latents[1:2]).sample, rtol=0, atol=0)


@pytest.mark.parametrize("low_memory", [True, False])
def test_a_big_model_paints_the_same_picture(toy_half, big, small, low_memory, units):
    sd = sdlesson.load(toy_half, low_memory=low_memory, engine="torch" if not low_memory else "auto")
    assert (sd.dtype, sd.unet.dtype, sd.vae.dtype) == (units,) * 3
    kept = {name: {weight.dtype for weight in getattr(sd, name).parameters()} for name in models._WEIGHTS}
    assert all((torch.float16 in dtypes) == low_memory for dtypes in kept.values())
    options = {"num_inference_steps": 3, "seed": 1}
    found = np.asarray(sdlesson.paint("a horse", model=sd, **options)[0], int)
    wide = sdlesson.load(toy_half, dtype="float16", engine="torch")  # the same rounded weights ...
    for name in models._WEIGHTS:
        getattr(wide, name).to(units)  # ... in float32 as a whole, or in bfloat16
    expected = np.asarray(sdlesson.paint("a horse", model=wide, **options)[0], int)
    steps_of_a_level = 127.5 * torch.finfo(units).eps  # next to white (1), so many levels lie between two numbers
    assert np.abs(found - expected).max() <= 1 + 4 * steps_of_a_level


def test_files_of_32_bits_stay_on_the_disk_as_they_are(toy_folder, big, small, units):
    """Where 16 bits are computed in, too: a copy of the resting parts in 16 bits would fill the memory."""
    sd = sdlesson.load(toy_folder, low_memory=True)
    parameters = [each for name in models._WEIGHTS for each in getattr(sd, name).parameters()]
    assert {each.dtype for each in parameters if each.numel() > lean._SMALL} == {torch.float32}
    found = np.asarray(sdlesson.paint("a horse", model=sd, num_inference_steps=3, seed=1)[0], int)
    assert sd.unet.conv_in.weight.dtype in (torch.float32, units)
    assert {each.dtype for each in sd.text_encoder.parameters() if each.numel() > lean._SMALL} == {torch.float32}
    whole = sdlesson.load(toy_folder, low_memory=False, engine="torch")
    expected = np.asarray(sdlesson.paint("a horse", model=whole, num_inference_steps=3, seed=1)[0], int)
    assert np.abs(found - expected).max() <= 1 + 4 * 127.5 * torch.finfo(units).eps


def test_short_memory_is_what_auto_asks_for_and_tells(toy_half, big, small, units, monkeypatch, capfd):
    asked = []
    for short in (True, False):
        monkeypatch.setattr(lean, "is_short", lambda needed, short=short: asked.append(needed) or short)
        monkeypatch.setattr(openvino, "is_installed", lambda: False)
        kept = {weight.dtype for weight in sdlesson.load(toy_half).text_encoder.parameters()}
        assert (torch.float16 in kept) == short
        assert ("the parts of the model take turns" in capfd.readouterr().err) == short
    files = sum(file.stat().st_size for file in toy_half.rglob("*.safetensors"))
    assert asked == [files * units.itemsize // 2 + 3 * 2**30] * 2


def test_memory_is_short_when_less_is_free_than_needed():
    assert lean.is_short(2**60)
    assert not lean.is_short(0)


def rss() -> int:
    """KiB of memory that this process has."""
    import psutil

    return psutil.Process().memory_info().rss // 1024


@pytest.fixture
def filed(tmp_path):
    """Three parts of 32 MiB each, in float16 on the disk, and what renews them from there."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    parts = {name: Linear(4096, 4096, bias=False).half() for name in ("text_encoder", "unet")}
    parts["vae"] = ModuleDict({"encoder": Linear(8, 8, bias=False), "decoder": Linear(4096, 4096, bias=False)}).half()
    for name, part in parts.items():
        save_file(part.state_dict(), tmp_path / name)
        part.load_state_dict(read_weights([tmp_path / name], torch.float16), assign=True)
        lean.upcast_layers(part, torch.bfloat16)
    dtypes = {True: torch.bfloat16, False: torch.float16}
    return parts, lambda name, works: read_weights([tmp_path / name], dtypes[works])


def test_a_part_leaves_the_memory_while_another_works(filed):
    parts, fresh = filed
    lean.offload_by_turns(parts, fresh)
    x = torch.ones(1, 4096, dtype=torch.bfloat16)
    with torch.inference_mode():
        first = parts["unet"](x)
        assert parts["unet"].weight.dtype == torch.bfloat16  # converted once, for all calls of its turn
        before = rss()
        parts["vae"].decoder(x)
        assert parts["unet"].weight.dtype == torch.float16  # on the disk again
        assert rss() < before + 8 * 1024  # its 32 MiB went as the decoder's came
        again = parts["unet"](x)  # and they come back
    torch.testing.assert_close(again, first, rtol=0, atol=0)


def test_a_part_leaves_the_memory_when_it_is_done(filed):
    parts, fresh = filed
    part, x = parts["text_encoder"], torch.ones(1, 4096, dtype=torch.bfloat16)
    lean.offload_when_done(part, lambda works: fresh("text_encoder", works))
    with torch.no_grad():
        part.forward(x)  # without the hook
        before = rss()
        part(x)
    assert rss() < before - 24 * 1024


@pytest.mark.parametrize("change", ["in place", "replaced", "other data", "an optimizer's"])
def test_what_a_learner_changed_stays_changed(filed, change):
    parts, fresh = filed
    lean.offload_by_turns(parts, fresh)
    unet, x = parts["unet"], torch.ones(1, 4096, dtype=torch.bfloat16)
    with torch.no_grad():
        unet(x)
        if change == "in place":
            unet.weight.fill_(3)
        elif change == "replaced":
            unet.weight = torch.nn.Parameter(torch.full_like(unet.weight, 3))
        elif change == "other data":
            unet.weight.data = torch.full_like(unet.weight, 3)
        else:
            unet.weight.mul_(0).add_(3)
        parts["vae"].decoder(x)
        assert (unet.weight == 3).all()
        unet(x)
        assert (unet.weight == 3).all()


def test_hooks_of_a_learner_stay_when_a_part_comes_back(filed):
    parts, fresh = filed
    lean.offload_by_turns(parts, fresh)
    seen, x = [], torch.ones(1, 4096, dtype=torch.bfloat16)
    parts["unet"].register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        for part in (parts["unet"], parts["vae"].decoder, parts["unet"]):
            part(x)
    assert len(seen) == 2
