"""The ONNX graphs of a model: their numbers against torch's, their weights, and what is told when a version drifts."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="The extra 'live' is not installed")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

import onnx

from sdlesson import BadInput
from sdlesson.attention import record_attention
from sdlesson.guidance import guesses
from sdlesson.loading.errors import ModelError
from sdlesson.tiny import export_onnx
from sdlesson.unet import record_maps, stages


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """The decoder's graph: the UNet's takes half a minute."""
    folder = tmp_path_factory.mktemp("onnx")
    export_onnx.export(folder, tiny, ["vae_decoder"])
    return folder


@pytest.mark.full
def test_the_unets_graph_says_what_the_lessons_functions_say(tmp_path, tiny):
    export_onnx.export(tmp_path, tiny, ["unet"])
    inputs = export_onnx.GuidedUNet(tiny).example()
    x, text = inputs["sample"][:1], inputs["text_embeddings"]
    both = {"sample": torch.cat([x, x]).numpy(), "timestep": np.array(500, np.float32), "text_embeddings": text.numpy()}
    with torch.no_grad(), record_attention(tiny.unet) as heat, record_maps(stages(tiny.unet)) as maps:
        uncond, prompt = guesses(tiny.unet, x, torch.tensor(500.0), text, 3.0)
    found = export_onnx.run(tmp_path, "unet", both)
    assert np.abs(found["noise_uncond"] - uncond.numpy()).max() < 1e-4
    assert np.abs(found["noise_text"] - prompt.numpy()).max() < 1e-4
    attention = heat.probabilities(0)[0, 0].permute(2, 0, 1).numpy()
    assert found["attention"].shape == (77, 8, 8) and np.abs(found["attention"] - attention).max() < 1e-4
    for name in stages(tiny.unet):
        if name != "conv_out":  # that is the guess itself
            assert np.allclose(found[f"features.{name}"], maps[name][0][1], atol=2e-3), name


def test_a_graph_holds_no_weights_and_nothing_of_the_machine(exported):
    content = (exported / "vae_decoder.onnx").read_bytes()
    assert len(content) < 50_000 and b"stack_trace" not in content and b"site-packages" not in content
    weights = len(export_onnx.widened((exported / "vae_decoder.weights").read_bytes()))
    ends = [
        sum(int(entry.value) for entry in each.external_data if entry.key in ("offset", "length"))
        for each in onnx.load_from_string(content).graph.initializer
        if each.data_location == onnx.TensorProto.EXTERNAL
    ]
    assert max(ends) == 4 * weights


def test_the_checkpoints_float16_weights_are_kept_to_the_last_bit(exported, tiny):
    kept = np.sort(export_onnx.widened((exported / "vae_decoder.weights").read_bytes()))
    for name in ("conv_in", "up_blocks.0.upsamplers.0.conv", "conv_norm_out"):
        values = tiny.vae.decoder.get_submodule(name).weight.detach().numpy().ravel()
        places = np.searchsorted(kept, values)
        assert (kept[places] == values).all(), name


def test_planes_are_widened_to_what_they_were():
    numbers = np.array([0.0, -0.0, 1.5, -65504.0, 2**-24, 3e-5], np.float16)
    packed = export_onnx.packed(numbers.astype(np.float32))
    assert packed[0] == 2 and len(packed) == 1 + 2 * len(numbers)
    assert export_onnx.widened(packed).tolist() == numbers.astype(np.float32).tolist()
    finer = np.array([0.0, 1 / 3, -1e-9, 1e5, 0.1], np.float32)  # float16 would change these
    packed = export_onnx.packed(finer)
    assert packed[0] == 3 and len(packed) == 1 + 3 * len(finer)
    np.testing.assert_allclose(export_onnx.widened(packed), finer, rtol=2**-16)


def test_a_graph_that_says_something_else_is_told(exported, tiny):
    part = export_onnx.Decoder(tiny).eval()
    inputs = {name: values.numpy() for name, values in part.example().items()}
    found = export_onnx.run(exported, "vae_decoder", inputs)
    export_onnx.check(part, "vae_decoder", found)
    with pytest.raises(ModelError, match=r"gives another picture than torch, by 0\.\d+, by torch \d.*onnxruntime \d"):
        export_onnx.check(part, "vae_decoder", {"picture": found["picture"] + 0.1})
    with pytest.raises(ModelError, match=r"gives another picture"):
        export_onnx.check(part, "vae_decoder", {"picture": found["picture"] * np.nan})
    with pytest.raises(ModelError, match=r"gives no picture of shape \(1, 3, 128, 128\)"):
        export_onnx.check(part, "vae_decoder", {})


def test_an_exporter_that_fails_is_one_sentence(tiny, tmp_path, monkeypatch, capsys):
    def drifted(*args, **kwargs):
        raise TypeError("export() got an unexpected keyword argument\nmore")

    monkeypatch.setattr(torch.onnx, "export", drifted)
    with pytest.raises(ModelError, match=r"^The text_encoder could not be exported by torch .*: export\(\) got"):
        export_onnx.export(tmp_path / "new", tiny)
    assert export_onnx.main([str(tmp_path / "new")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "could not be exported" in said
    assert export_onnx.main([]) == 2


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadInput, match="needs the extra 'live'"):
        export_onnx.export(tmp_path)
