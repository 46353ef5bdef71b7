"""A big model in little memory: the same pictures, the weights as the file holds them, and only the memory needed."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import Conv2d, Embedding, Linear, Sequential

import sdlesson
from sdlesson import models, thrift
from sdlesson.models import BadInput

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
    monkeypatch.setattr(thrift, "_SMALL", 600)


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
    assert thrift.fast_dtype(CPU) == dtype
    assert thrift.fast_dtype(torch.device("cuda")) == torch.float16
    assert thrift.fast_dtype(torch.device("mps")) == torch.float32


def test_a_part_computes_in_float32_and_keeps_its_big_weights_in_16_bits():
    ids = torch.arange(6).view(2, 3)
    expected = narrow().float()(ids)
    part = thrift.work_in(narrow(), torch.float32)
    found = part(ids)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)  # widening a number changes nothing
    assert [layer.weight.dtype for layer in part] == [torch.float16, torch.float16, torch.float32]
    assert {layer.bias.dtype for layer in part[1:]} == {torch.float32}
    torch.testing.assert_close(part(ids), expected, rtol=0, atol=0)  # nor does the shared buffer
    assert not found.requires_grad


def test_a_layer_that_fails_has_its_stored_weights_again():
    part = thrift.work_in(narrow(), torch.float32)
    with pytest.raises(RuntimeError):
        part[1](torch.zeros(2, 7))
    assert part[1].weight.dtype == torch.float16
    assert part(torch.arange(3)).isfinite().all()


def test_gradients_flow_through_a_part_that_widens():
    torch.manual_seed(0)
    wide = Sequential(Linear(300, 300), Linear(300, 300)).half()
    part = thrift.work_in(copy.deepcopy(wide), torch.float32)
    x = torch.randn(2, 300, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (expected,) = torch.autograd.grad(wide.float()(x).square().sum(), x)
    (found,) = torch.autograd.grad(part(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert [layer.weight.dtype for layer in part] == [torch.float16, torch.float16]
    assert list(part.state_dict()) == list(wide.state_dict())


def test_a_part_is_made_to_widen_once():
    part = thrift.work_in(narrow(), torch.float32)
    with pytest.raises(BadInput, match="widens its weights to torch.float32 already"):
        thrift.work_in(part, torch.float32)
    again = copy.deepcopy(part)  # a copy widens as its original does
    torch.testing.assert_close(again(torch.arange(3)), part(torch.arange(3)), rtol=0, atol=0)


@pytest.fixture
def pieces(monkeypatch):
    """Small convolutions, too, are done in several pieces of rows and of inputs."""
    monkeypatch.setattr(thrift, "_AT_ONCE", 36 * 72 * 48)
    monkeypatch.setattr(thrift, "_PAIRS", 0)
    monkeypatch.setattr(thrift, "_SLICE", 36 * 72 * 30)  # 64 inputs: 30, 30 and 4; on low maps 64 at once


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 16), (20, 32), (64, 48), (20, 33), (17, 130), (8, 8), (9, 9), (13, 40), (1, 1)])
@pytest.mark.parametrize("whole", [True, False])
def test_winograd_gives_what_the_convolution_gives(batch, size, whole, request):
    if not whole:
        request.getfixturevalue("pieces")
    torch.manual_seed(0)
    layer, x = Conv2d(64, 72, 3, padding=1).requires_grad_(False), torch.randn(batch, 64, *size)
    expected = layer.double()(x.double())
    layer.float()
    assert type(thrift.speed_up(layer)) is thrift.Winograd
    found = layer(x)
    assert (found - expected).abs().max() < 2e-4  # outputs have a spread of about 0.6
    assert found.shape == expected.shape


@pytest.mark.skipif(not thrift.can_speed_up(torch.float32, CPU), reason="here a plain convolution stands in for it")
@pytest.mark.parametrize("size", [(16, 16), (20, 33), (8, 8)])
def test_winograd_gives_maps_with_their_channels_side_by_side(size):
    layer = thrift.speed_up(Conv2d(64, 72, 3, padding=1).requires_grad_(False))
    assert layer(torch.randn(2, 64, *size)).permute(0, 2, 3, 1).stride(-1) == 1


def test_winograd_widens_weights_of_16_bits(small):
    torch.manual_seed(0)
    layer, x = Conv2d(64, 64, 3, padding=1).half().requires_grad_(False), torch.randn(1, 64, 16, 16)
    stored = layer.weight.clone()
    expected = copy.deepcopy(layer).float()(x)
    thrift.work_in(thrift.speed_up(Sequential(layer)), torch.float32)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=2e-4)
    assert layer.weight.dtype == torch.float16 and torch.equal(layer.weight, stored)  # only their order is new
    assert layer.bias.dtype == torch.float32


def test_gradients_flow_through_winograd(pieces):
    torch.manual_seed(0)
    layer, x = Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 16, 16, requires_grad=True)
    asked = (x, layer.weight, layer.bias)
    expected = torch.autograd.grad(layer(x).square().sum(), asked)
    for found, right in zip(
        torch.autograd.grad(thrift.speed_up(layer)(x).square().sum(), asked), expected, strict=True
    ):
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


def test_in_another_dtype_a_layer_is_as_it_was():
    torch.manual_seed(0)
    layer, x = Conv2d(64, 64, 3, padding=1).bfloat16(), torch.randn(1, 64, 16, 16).bfloat16()
    expected = layer(x)
    torch.testing.assert_close(thrift.speed_up(layer)(x), expected, rtol=0, atol=0)


def test_other_convolutions_compute_as_they_did_with_channels_side_by_side():
    others = [
        Conv2d(64, 64, 1),
        Conv2d(64, 64, 3, padding=1, stride=2),
        Conv2d(4, 64, 3, padding=1),
        Conv2d(64, 64, 3, padding=1, groups=2),
        Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
    ]
    for layer in others:
        x = torch.randn(2, layer.in_channels, 8, 8)
        expected = layer(x)
        found = thrift.speed_up(layer)(x)
        assert type(layer) is Conv2d
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_pair_with_a_common_beginning_computes_it_once():
    unet = models.load("tiny").unet
    plain, sizes = copy.deepcopy(unet), {}
    thrift.share_beginning(unet)
    for name, layer in unet.named_modules():  # the first layer inside of each that may be halved
        if name.endswith(("attn1.to_q", "attn2.to_q")) or ".resnets." in name and name.endswith(".conv1"):
            layer.register_forward_hook(lambda _, given, __, name=name: sizes.update({name: len(given[0])}))
    one, other = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)).split(1)
    text = torch.randn(4, 77, unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    for batch, size in (([one, one], 1), ([one, other], 2), ([one, one, other], 3), ([one, other] * 2, 2), ([one], 1)):
        given = torch.cat(batch), 500, text[: len(batch)]
        with torch.no_grad():
            torch.testing.assert_close(unet(*given).sample, plain(*given).sample, rtol=0, atol=1e-5)
        until = list(sizes)[: list(sizes).index("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q") + 1]
        assert len(until) == 3 and {sizes[name] for name in until} == {size}
        assert {sizes[name] for name in sizes.keys() - set(until)} == {len(batch)}  # from the first text on, all


def test_both_halves_of_a_pair_get_their_own_gradients():
    unet = models.load("tiny").unet
    text = torch.randn(2, 77, unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    pair = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1).requires_grad_()
    expected, found = (
        torch.autograd.grad(way(pair, 500, text).sample.square().sum(), pair)[0]
        for way in (copy.deepcopy(unet), thrift.share_beginning(unet))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("bias", [True, False])
def test_winograd_with_and_without_bias(bias):
    torch.manual_seed(0)
    layer, x = Conv2d(64, 64, 3, padding=1, bias=bias).requires_grad_(False), torch.randn(1, 64, 16, 16)
    expected = layer(x)
    torch.testing.assert_close(thrift.speed_up(layer)(x), expected, rtol=0, atol=2e-4)


def test_winograds_method_is_for_float32_on_the_cpus_where_it_was_measured(monkeypatch):
    for capability, pays in {"AVX2": True, "AVX512": True, "DEFAULT": False}.items():
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert thrift.can_speed_up(torch.float32, CPU) == pays
        assert not thrift.can_speed_up(torch.bfloat16, CPU)
        assert not thrift.can_speed_up(torch.float32, torch.device("cuda"))


FRESH_PAGES = """
import resource, sys, torch
from sdlesson import thrift
kept = thrift.keep_freed() if sys.argv[1] == "keep" else False
for _ in range(10):  # the first few still find their place
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep freed memory")
def test_freed_memory_is_used_again():
    asked = {}
    for way in ("keep", "usual"):
        said = subprocess.run([sys.executable, "-c", FRESH_PAGES, way], capture_output=True, text=True, check=True)
        kept, pages = said.stdout.split()
        assert kept == str(way == "keep")
        asked[way] = int(pages)
    assert asked["keep"] < asked["usual"] / 10  # 64 MiB, ten times, are up to 163840 pages


GIVEN_BACK = """
import psutil, torch
from sdlesson import thrift
used = lambda: psutil.Process().memory_info().rss
thrift.keep_freed()
one, wall = torch.ones(2**26), torch.ones(2**10)  # what comes after keeps the heap from shrinking by itself
before = used()
del one
kept = used()
thrift.give_back_freed()
print(before - kept, before - used())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps freed memory")
def test_kept_memory_is_given_back_when_asked_for():
    said = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    kept, given = map(int, said.stdout.split())
    assert kept < 2**20
    assert given > 0.9 * 2**28  # 256 MiB


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
    sd = sdlesson.load(toy_half, low_memory=low_memory)
    assert (sd.dtype, sd.unet.dtype, sd.vae.dtype) == (units,) * 3
    kept = {name: {weight.dtype for weight in getattr(sd, name).parameters()} for name in models._WEIGHTS}
    assert torch.float16 in kept["unet"]
    assert (torch.float16 in kept["vae"], torch.float16 in kept["text_encoder"]) == (low_memory, low_memory)
    options = {"num_inference_steps": 3, "seed": 1}
    found = np.asarray(sdlesson.paint("a horse", model=sd, **options)[0], int)
    wide = sdlesson.load(toy_half, dtype="float16")  # the same rounded weights ...
    for name in models._WEIGHTS:
        getattr(wide, name).to(units)  # ... in float32 as a whole, or in bfloat16
    expected = np.asarray(sdlesson.paint("a horse", model=wide, **options)[0], int)
    steps_of_a_level = 127.5 * torch.finfo(units).eps  # next to white (1), so many levels lie between two numbers
    assert np.abs(found - expected).max() <= 1 + 4 * steps_of_a_level


def test_short_memory_is_what_auto_asks_for(toy_half, big, small, monkeypatch):
    asked = []
    for short in (True, False):
        monkeypatch.setattr(thrift, "is_short", lambda needed, short=short: asked.append(needed) or short)
        kept = {weight.dtype for weight in sdlesson.load(toy_half).text_encoder.parameters()}
        assert (torch.float16 in kept) == short
    files = sum(file.stat().st_size for file in toy_half.rglob("*.safetensors"))
    assert asked == [files + 3 * 2**30] * 2


def test_memory_is_short_when_less_is_free_than_needed():
    assert thrift.is_short(2**60)
    assert not thrift.is_short(0)


def file_pages() -> int:
    """KiB of this process's memory that files hold."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told to put weights away")
def test_a_part_leaves_the_memory_while_another_works(tmp_path, big):
    torch.manual_seed(0)
    from safetensors.torch import save_file

    parts = {name: Linear(2048, 2048, bias=False).half() for name in ("text_encoder", "unet", "encoder", "decoder")}
    for name, part in parts.items():
        save_file(part.state_dict(), tmp_path / name)
        part.load_state_dict(models.read_weights([tmp_path / name], torch.float16), assign=True)
    vae = torch.nn.ModuleDict({name: parts.pop(name) for name in ("encoder", "decoder")})
    parts["vae"] = vae
    thrift.take_turns(parts)
    x = torch.zeros(1, 2048, dtype=torch.float16)
    with torch.inference_mode():
        first = parts["unet"](x + 1)
        before = file_pages()
        vae.decoder(x)
        assert file_pages() < before + 1024  # the UNet's 8 MiB went as the decoder's came
        again = parts["unet"](x + 1)  # and they come back
    torch.testing.assert_close(again, first, rtol=0, atol=0)


def test_what_a_learner_changed_stays_changed(tmp_path):
    from safetensors.torch import save_file

    part = Linear(512, 512, bias=False).half()
    save_file(part.state_dict(), tmp_path / "part")
    part.load_state_dict(models.read_weights([tmp_path / "part"], torch.float16), assign=True)
    part.weight.data[:] = 3
    thrift.page_out(part.weight)
    assert (part.weight == 3).all()
