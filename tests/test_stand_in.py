"""The stand-in for the real size: v1.4's exact shapes, and small cousins that the peer and sdlesson both load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from toy import make_pipeline

import sdlesson
from sdlesson.loading.errors import BadInput

SCRIPT = Path(__file__).resolve().parent.parent / "bench" / "stand_in.py"


@pytest.fixture
def cousin(cousins):
    """v1.4's configuration with a 16th of its widths, for pictures of 64 x 64 pixels."""
    return cousins("v1.4")


@pytest.mark.parametrize("model", ["v1.4", "v2.1-base"])
def test_the_shapes_are_the_real_ones(stand_in, model):
    parts = stand_in.empty_parts(model)
    millions = {name: round(number / 1e6, 1) for name, number in stand_in.count(parts).items()}
    real = {"v1.4": (123.1, 859.5, 83.7), "v2.1-base": (340.4, 865.9, 83.7)}[model]
    assert millions == dict(zip(("text_encoder", "unet", "vae"), real, strict=True))
    assert stand_in.count(parts) == stand_in.SHAPES[model]["parameters"]
    assert parts["unet"].config.cross_attention_dim == parts["text_encoder"].config.hidden_size
    assert (parts["unet"].config.sample_size, parts["vae"].config.scaling_factor) == (64, 0.18215)


def test_its_tokenizer_has_the_size_and_the_ends_of_clips(stand_in):
    tokenizer = stand_in.big_tokenizer("<|endoftext|>")
    assert len(tokenizer) == 49408
    ids = tokenizer("an unheard-of <|unused7|> word", padding="max_length", truncation=True)["input_ids"]
    assert (len(ids), ids[0], ids[-1]) == (77, 49406, 49407)
    assert max(ids[1 : ids.index(49407)]) < 2000  # the entries that fill the list are reached by no text
    assert stand_in.big_tokenizer("!").pad_token_id == 0


def test_the_cousin_paints_what_the_peer_paints(cousin):
    pipe = make_pipeline(cousin)
    peer = pipe("a horse", num_inference_steps=3, guidance_scale=8.0, generator=torch.Generator().manual_seed(1))
    sd = sdlesson.load(cousin)
    ours = np.asarray(sdlesson.paint("a horse", model=sd, num_inference_steps=3, seed=1)[0], dtype=int)
    assert ours.shape == (64, 64, 3) and ours.std() > 1
    assert np.abs(ours - np.asarray(peer.images[0], dtype=int)).max() <= 1


def test_v2_shapes_with_v_prediction(stand_in, tmp_path):
    folder = stand_in.write_stand_in(
        tmp_path / "v2", "v2.1-base", "bfloat16", divide=32, prediction_type="v_prediction", size=64
    )
    sd = sdlesson.load(folder)
    assert (sd.scheduler.config.prediction_type, sd.unet.config.use_linear_projection) == ("v_prediction", True)
    assert sd.tokenizer.pad_token_id == 0
    picture = sdlesson.paint("a horse", model=sd, num_inference_steps=2)[0]
    assert picture.size == (64, 64) and np.asarray(picture).std() > 1


def test_each_dtype_stores_the_same_numbers(stand_in, cousin, tmp_path):
    half = stand_in.write_stand_in(tmp_path / "half", "v1.4", "float16", divide=16, size=64)
    for name in ("vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        with safe_open(cousin / name, "pt") as full, safe_open(half / name, "pt") as small:
            assert list(full.keys()) == list(small.keys())
            for key in full.keys():  # noqa: SIM118  (safe_open is no mapping)
                assert small.get_tensor(key).dtype == torch.float16
                assert torch.equal(small.get_tensor(key), full.get_tensor(key).half())
    scheduler = json.loads((half / "scheduler/scheduler_config.json").read_text())
    assert (scheduler["_class_name"], scheduler["steps_offset"]) == ("PNDMScheduler", 1)


def test_what_cannot_be_written_leaves_nothing(stand_in, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="inside the repository"):
        stand_in.write_stand_in(SCRIPT.parent / "big")
    with pytest.raises(BadInput, match="stands already"):
        stand_in.write_stand_in(tmp_path)
    with pytest.raises(BadInput, match="divisor"):
        stand_in.write_stand_in(tmp_path / "a", divide=7)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(BadInput, match=r"needs 2\.1 GB .* and 0\.0 GB are free"):
            stand_in.write_stand_in(tmp_path / "a")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stand_in, "_write_weights", full)
    with pytest.raises(BadInput, match="No space left"):
        stand_in.write_stand_in(tmp_path / "a", divide=32)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("stand_in: ") and done.stderr.count("\n") == 1
