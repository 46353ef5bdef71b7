"""The commands pass on every word, and what they print is what was measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from sdlesson import cli, doctor
from sdlesson.doctor import peer
from sdlesson.engine import choice, conversion
from sdlesson.lab import copies, start
from sdlesson.loading import checks, hub, writing

ROOT_USER = os.name != "nt" and os.geteuid() == 0


def flat(value: int, side: int = 8) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch, toy_folder):
    """An empty working folder; the toy is the default model."""
    monkeypatch.setenv("SDLESSON_MODEL", str(toy_folder))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words) -> object:
    """Run `sdlesson` in this process; its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return left.value.code


def test_cli_each_picture_of_each_batch_tells_its_own_prompt_and_seed(here, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_AT_ONCE", 2 * 6 * 6)
    assert command("paint", "a horse", "the moon", "-n", 2, "--seed", 7, "--steps", 1) == 0
    told = [Image.open(f"out-{number}.png").text for number in (1, 2, 3, 4)]
    expected = [("a horse", "7"), ("a horse", "8"), ("the moon", "7"), ("the moon", "8")]
    assert [(each["prompt"], each["seed"]) for each in told] == expected
    said = re.findall(r"^(out-\d)\.png: 48x48, 1 steps, guidance 8, seed (\d),", capsys.readouterr().out, flags=re.M)
    assert said == [(f"out-{number}", seed) for number, (_, seed) in enumerate(expected, 1)]


def test_cli_revision_and_engine_arrive_where_the_model_is_found_and_loaded(here, monkeypatch, toy):
    asked = []

    def load(name, **options):
        asked.append(options)
        raise cli.ModelError("enough")

    monkeypatch.setattr(cli, "find", lambda name, **options: asked.append(options))
    monkeypatch.setattr(cli, "load", load)
    assert command("paint", "a horse", "--revision", "main", "--engine", "torch", "--dtype", "float16") == 2
    assert asked[0] == {"revision": "main"}
    assert asked[1] == {"revision": "main", "dtype": "float16", "low_memory": "auto", "engine": "torch"}


def test_doctor_twenty_steps_are_the_first_and_nineteen_usual_ones():
    own = peer.Painted(None, None, (2.0, 1.0, 1.25, 9.0), 0.5)
    told = doctor.seconds(own, 3.0)
    assert told["measured"] == "text and first step 2.00 s, each further step 1.25 s, VAE 0.50 s"
    assert told["so 20 steps take"] == f"about {2 + 19 * 1.25 + 0.5:.1f} s, after 3.0 s of loading"


def test_doctor_asks_for_the_revision_and_paints_two_steps_where_it_should_be_quick(monkeypatch, toy):
    asked = []
    monkeypatch.setattr(doctor, "find", lambda name, **options: asked.append(options) or Path(name))
    monkeypatch.setattr(doctor, "load", lambda name, **options: asked.append(options) or toy)
    monkeypatch.setattr(
        doctor, "painted", lambda sd, steps: asked.append(steps) or peer.Painted(None, None, (1.0, 1.0))
    )
    for quick, steps in ((True, 2), (False, 6)):
        asked.clear()
        lines = doctor.report("owner/model", revision="main", steps=6, quick=quick)
        assert any("VAE" in line.text for line in lines) and asked == [{"revision": "main"}] * 2 + [steps]


def test_doctor_memory_is_what_is_free_of_what_there_is(monkeypatch):
    memory = SimpleNamespace(available=3 * 2**30, total=5 * 2**30)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    assert doctor.machine()["memory"] == "3.0 GiB free of 5.0 GiB"
    assert doctor.free_bytes(torch.device("cpu")) == 3 * 2**30


def test_peer_tells_levels_on_average_and_at_most():
    pictures = [Image.fromarray(flat(100)) for _ in range(2)]
    pictures[1].putpixel((0, 0), (164, 100, 100))
    own, other = (peer.Painted(picture, torch.ones(2, 4, 2, 2)) for picture in pictures)
    _, (name, words, holds) = peer.differences(own, other, torch.float32)
    assert name == "picture, float32" and holds
    assert f"{64 / 192:.3f} levels of 255 away on average, 64 at most" in words


def test_conversion_is_done_anew_for_other_configurations_versions_and_ways_to_convert(toy_half, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion.importlib.metadata, "version", lambda name: "1")
    first = conversion._key(toy_half)
    folder = shutil.copytree(toy_half, tmp_path / "toy")
    assert conversion._key(folder) == first
    file = folder / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scaling_factor": 0.5}))
    other = conversion._key(folder)
    monkeypatch.setattr(conversion.importlib.metadata, "version", lambda name: "2" if name == "openvino" else "1")
    newer = conversion._key(toy_half)
    monkeypatch.setattr(conversion, "__file__", __file__)
    assert len({first, other, newer, conversion._key(toy_half)}) == 4


def test_choice_counts_what_a_lesson_takes_beside_the_weights(toy_half, monkeypatch):
    asked = []
    monkeypatch.setattr(choice.lean, "is_short", lambda needed: asked.append(needed))
    files = sum(file.stat().st_size for file in toy_half.rglob("*.safetensors"))
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert choice.choose(toy_half, dtype, "auto", "torch") == "torch"
    assert asked == [files * share + 3 * 2**30 for share in (1, 2, 4)]


def test_hub_a_download_leaves_room_on_the_disk(tmp_path, monkeypatch):
    file = hub._File("unet/config.json", 1000, "0" * 40)
    for free, fits in ((1000 + hub._SPARE, True), (999 + hub._SPARE, False)):
        monkeypatch.setattr(hub.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        try:
            hub._check_space("owner/model", tmp_path / "home", [file])
            assert fits
        except hub.ModelError:
            assert not fits


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (401, "does not accept your token"),
        (403, "your token has no right to it"),
        (404, "lacks a file that it lists"),
        (429, "wait some minutes"),
        (500, "out of order (500)"),
        (503, "out of order (503)"),
    ],
)
def test_hub_each_status_is_told_as_what_it_is(code, words):
    error = RuntimeError("status")
    error.response = SimpleNamespace(status_code=code)
    assert words in hub._refusal(error)


@pytest.mark.skipif(not ROOT_USER, reason="only root gives files away")
def test_writing_a_file_stays_its_owners(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    os.chown(path, 12345, 12346)
    path.chmod(0o640)
    writing.write_whole(path, "after")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 12346, 0o640)


def test_checks_a_mask_counts_from_half_of_white_on():
    assert checks.mask([[0.0, 0.49, 0.5, 1.0]]).tolist() == [[False, False, True, True]]
    assert checks.mask([[0, 127, 128, 255]]).tolist() == [[False, False, True, True]]


def test_start_on_a_projector_figures_and_type_are_larger_and_a_word_of_ones_own_wins(tmp_path, monkeypatch):
    pytest.importorskip("jupyterlab")
    from jupyterlab.labapp import LabApp

    given = []
    monkeypatch.setattr(LabApp, "launch_instance", given.append)
    monkeypatch.delenv("SDLESSON_FIGURE_SCALE", raising=False)
    assert start.start(tmp_path, ["--port=9"]) == 0 and "SDLESSON_FIGURE_SCALE" not in os.environ
    assert start.start(tmp_path, ["--port=9"], projector=True) == 0
    assert os.environ.pop("SDLESSON_FIGURE_SCALE") == start._FIGURES == "1.5"
    sizes = [
        json.loads(next((tmp_path / ".jupyterlab" / kind).rglob("themes.jupyterlab-settings")).read_text())["overrides"]
        for kind in ("screen", "projector")
    ]
    assert "code-font-size" not in sizes[0] and sizes[1]["code-font-size"] == "20px"
    assert all(words[-1] == "--port=9" and f"--ServerApp.root_dir={tmp_path}" in words for words in given)


def test_copies_a_cell_that_became_another_kind_is_a_learners_change(tmp_path):
    def content(kind, text):
        return json.dumps({"cells": [{"cell_type": kind, "source": text}]}).encode()

    copies.renew({"a.ipynb": content("code", "x = 1")}, tmp_path)
    (tmp_path / "a.ipynb").write_bytes(content("markdown", "x = 1"))
    copies.renew({"a.ipynb": content("code", "x = 2")}, tmp_path)
    assert (tmp_path / "a.ipynb").read_bytes() == content("markdown", "x = 1")
    assert (tmp_path / "a_new.ipynb").read_bytes() == content("code", "x = 2")
