"""`sdlesson doctor`: what it finds in models that are v1.4's, cousins, or wrong, and that it tells nothing private."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from test_cli import run

import sdlesson
from sdlesson import doctor, models, sigmas
from sdlesson.doctor import known, peer
from sdlesson.engine import lean, openvino
from sdlesson.loading.errors import shortened

ANYWHERE = re.compile(r"(?<![\w.])(/|[A-Za-z]:\\|~)\w")  # where a path begins that is no name alone


@pytest.fixture
def ask(capsys):
    """A function (model, *options) -> exit code and report; nothing in either stream is a path of this machine."""

    def asked(model, *options):
        code = run("doctor", model, *options)
        out, err = capsys.readouterr()
        assert not ANYWHERE.search(out + err), out + err
        assert str(Path.home()) not in out + err
        assert err == "" or (err.startswith("sdlesson: ") and err.count("\n") == 1), err
        return code, out + err

    return asked


@pytest.fixture
def changed(toy_folder, tmp_path):
    """A function (file, key, value) -> a copy of the toy's folder with that in one of its configurations."""

    def made(file, key, value):
        folder = Path(shutil.copytree(toy_folder, tmp_path / "my model"))
        told = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(told | {key: value}))
        return folder

    return made


def line(report: str, name: str) -> str:
    """What the report says behind a name."""
    return next(
        each.strip().removeprefix(name).strip() for each in report.splitlines() if each.strip().startswith(name)
    )


def test_what_is_known_of_v1_is_what_the_rooms_compute():
    told = known.published("v1.4")
    levels, times = (
        [f"{value:.{digits}f}" for value in row]
        for row, digits in ((sigmas.schedule(20), 3), (sigmas.timesteps(20), 2))
    )
    assert told["sigmas at 20 steps"] == " ".join([*levels[:3], "...", *levels[-3:]])
    assert told["timesteps"] == " ".join([*times[:3], "...", *times[-3:]])
    assert (told["parameters, unet"], told["embeddings"]) == ("859,520,964", "(77, 768)")
    assert known.published("v2.1-base")["embeddings"] == "(77, 1024)"


def test_the_bundled_model(ask):
    code, report = ask("tiny")
    assert code == 0 and report.startswith("sdlesson doctor: tiny\n")
    v1 = known.published("v1.4")
    assert line(report, "ids of the prompt").endswith(f"other than v1.4's: {v1['ids of the prompt']}")
    assert line(report, "sigmas at 20 steps") == f"{v1['sigmas at 20 steps']}  as v1.4's"
    assert line(report, "parameters, unet").endswith("other than v1.4's: 859,520,964")
    assert line(report, "latents") == "(4, 16, 16)  other than v1.4's: (4, 64, 64)"
    assert line(report, "engine") == f"torch; float32 on {'cuda' if torch.cuda.is_available() else 'cpu'}"
    assert line(report, "one step, float32").startswith("equals the pipeline's: ")
    assert line(report, "picture, float32").startswith("equals the pipeline's: ")
    assert f", torch {torch.__version__.partition('+')[0]}" in line(report, "libraries")
    assert re.fullmatch(r"[\d.]+ GiB free of [\d.]+ GiB", line(report, "memory"))


@pytest.mark.parametrize(("model", "width"), [("v1.4", 48), ("v2.1-base", 64)])
def test_a_cousin(model, width, cousins, ask):
    code, report = ask(cousins(model), "--steps", 2)
    assert code == 0
    assert line(report, "embeddings") == f"(77, {width})  other than v1.4's: (77, 768)"
    assert line(report, "timesteps").endswith("as v1.4's") and line(report, "scaling factor") == "0.18215  as v1.4's"
    assert line(report, "ids of the prompt").startswith("49406 320 529 ")  # the stand-in's tokenizer is not CLIP's
    assert "picture, float32" in report and "DIFFERS" not in report


def test_numbers_of_v2_are_told_as_such():
    number = known.published("v2.1-base")["parameters, unet"]
    assert known.compared("parameters, unet", number) == (
        "865,910,724  other than v1.4's: 859,520,964 (it is v2.1-base's)"
    )


@pytest.mark.parametrize(
    ("file", "key", "value", "name", "says"),
    [
        ("vae/config.json", "scaling_factor", 0.5, "scaling factor", "0.5  other than v1.4's: 0.18215"),
        ("vae/config.json", "scaling_factor", 0.18215, "scaling factor", "0.18215  as v1.4's"),
        (
            "scheduler/scheduler_config.json",
            "beta_schedule",
            "linear",
            "sigmas at 20 steps",
            "25.146 18.436 13.722 ... ",
        ),
        ("scheduler/scheduler_config.json", "prediction_type", "v_prediction", "UNet predicts", "v_prediction  other"),
    ],
)
def test_another_number_is_told_and_is_no_error(file, key, value, name, says, changed, ask):
    code, report = ask(changed(file, key, value), "--steps", 3)
    assert code == 0 and report.startswith("sdlesson doctor: my model\n")
    assert line(report, name).startswith(says)
    assert line(report, "picture, float32").startswith("equals the pipeline's: ")


def test_a_schedule_that_k_lms_cannot_have(changed, ask):
    code, said = ask(changed("scheduler/scheduler_config.json", "use_flow_sigmas", True))
    assert code == 1
    assert said.startswith("sdlesson: my model was made with a noise schedule that K-LMS cannot have")


def test_a_missing_part(changed, ask):
    folder = changed("unet/config.json", "sample_size", 6)
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    code, said = ask(folder)
    assert code == 1
    assert said.startswith("sdlesson: my model is not a whole Stable Diffusion") and "the vae's weights" in said


def test_weights_that_do_not_fit_are_found_after_the_machine_is_told(changed, capsys):
    folder = changed("unet/config.json", "layers_per_block", 2)
    assert run("doctor", folder) == 1
    out, err = capsys.readouterr()
    assert "This machine" in out and "True of every model" not in out
    assert (
        err.startswith("sdlesson: The weights in my model/unet do not fit its configuration") and err.count("\n") == 1
    )


def test_no_model_of_that_name(ask):
    code, said = ask("nowhere")
    assert code == 1 and said.startswith("sdlesson: There is no folder nowhere; a model is 'tiny'")
    assert ask("org/model")[1].startswith("sdlesson: There is no folder org/model; as a hub id")


@pytest.mark.parametrize("steps", ["1", "1001", "many"])
def test_bad_options_are_bad_input(steps, ask):
    code, said = ask("tiny", "--steps", steps)
    assert code == 2 and "whole number from 2 to 1000" in said


def test_quick_runs_no_pipeline(toy_folder, ask, monkeypatch):
    monkeypatch.setattr(doctor, "piped", lambda *_: pytest.fail("the pipeline ran"))
    code, report = ask(toy_folder, "--quick")
    assert code == 0
    assert report.endswith("  the picture beside diffusers' pipeline is left out: --quick\n")
    assert re.search(r"each further step [\d.]+ s", line(report, "measured"))
    assert 0.1 < float(re.match(r"([\d.]+) GiB in this process", line(report, "memory taken"))[1]) < 16


def test_too_little_memory_leaves_the_pipeline_out(toy_folder, ask, monkeypatch):
    monkeypatch.setattr(doctor, "piped", lambda *_: pytest.fail("the pipeline ran"))
    monkeypatch.setattr(doctor, "free_bytes", lambda _: 0)
    code, report = ask(toy_folder)
    assert code == 0 and report.endswith("left out: it takes about 0.0 GiB, and 0.0 GiB are free\n")


def test_the_pipeline_of_v1_takes_what_was_measured():
    assert 5.8 < peer.peak(859_520_964 + 123_060_480 + 83_653_863) / 2**30 < 6.1


def test_another_picture_than_the_pipelines(toy_folder, changed, ask, monkeypatch):
    other = changed("vae/config.json", "scaling_factor", 0.8)
    real = doctor.piped
    monkeypatch.setattr(doctor, "piped", lambda _folder, *rest: real(other, *rest))
    code, report = ask(toy_folder)
    assert code == 1
    assert line(report, "one step, float32").startswith("equals the pipeline's: ")  # the UNet is the same
    assert line(report, "picture, float32").startswith("DIFFERS FROM the pipeline's: ")


def test_a_guess_that_is_no_number_differs(toy):
    own = peer.painted(toy, 2)
    broken = own._replace(guess=own.guess * torch.nan)
    assert [holds for _, _, holds in peer.differences(own, own, torch.float32)] == [True, True]
    assert [holds for _, _, holds in peer.differences(broken, own, torch.float32)] == [False, True]


def test_a_folder_that_the_pipeline_cannot_read(changed, ask):
    folder = changed("unet/config.json", "sample_size", 6)
    (folder / "model_index.json").unlink()
    code, report = ask(folder)
    assert code == 1 and "diffusers' pipeline cannot paint with it: " in report


def test_a_folder_as_the_hub_gives_it(toy_half, tmp_path, ask):
    """Weights in 16 bits only, and a picture checker that the index names and nobody downloaded."""
    folder = Path(shutil.copytree(toy_half, tmp_path / "half"))
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    code, report = ask(folder)
    assert code == 0, report
    assert line(report, "picture, float32").startswith("equals the pipeline's: ")


def test_16_bits_are_held_to_the_first_step_and_float32_to_the_picture(toy_folder, ask, monkeypatch):
    real = doctor.load
    monkeypatch.setattr(doctor, "load", lambda name, dtype="float16", **more: real(name, dtype=dtype, **more))
    code, report = ask(toy_folder)
    assert code == 0 and line(report, "engine").startswith("torch; float16 on ")
    assert line(report, "one step, float16").startswith("equals the pipeline's: ")
    assert line(report, "picture, float16").endswith("what float16 changes")
    assert line(report, "picture, float32").startswith("equals the pipeline's: ")


def test_how_near_is_near_enough(toy):
    own = peer.painted(toy, 2)
    for away, expected in ((1e-4, [True, True]), (1e-2, [False, True]), (0.2, [False, False])):
        other = own._replace(guess=own.guess * (1 + away), picture=own.picture.point(lambda level: 255 - level))
        told = {dtype: peer.differences(other, own, dtype) for dtype in (torch.float32, torch.bfloat16)}
        assert [step[2] for step, _ in told.values()] == expected
        assert [picture[2] for _, picture in told.values()] == [False, True]


@pytest.mark.full
@pytest.mark.skipif(not openvino.computes_in(torch.float32), reason="OpenVINO may not use this processor whole")
def test_a_big_model_by_openvino(cousins, capsys, monkeypatch):
    """It is converted the first time, which is told on stderr."""
    monkeypatch.setattr(lean, "fast_dtype", lambda _: torch.float32)
    monkeypatch.setattr(models, "_BIG", 0)
    assert run("doctor", cousins("v1.4", "float16"), "--steps", 2) == 0
    report = capsys.readouterr().out
    assert line(report, "engine").startswith("OpenVINO; ") and not ANYWHERE.search(report)


def test_engines_are_named(toy_half, monkeypatch):
    monkeypatch.setattr(models, "_BIG", 0)
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    both = [sdlesson.load(toy_half, device="cpu", dtype="float32", low_memory=low) for low in (False, True)]
    told = [doctor.engine(sd) for sd in both]
    assert told == ["torch; float32 on cpu", "torch, the parts taking turns in the memory; float32 on cpu"]


def test_what_is_shown_to_others_names_no_home(monkeypatch, tmp_path):
    home = tmp_path / "ada lovelace"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert shortened(f"The part {home}/m/unet is bad.", "~/m") == "The part m/unet is bad."
    assert shortened(f"make room in {home}/.cache", "tiny") == "make room in ~/.cache"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert shortened(f"{tmp_path}/real/unet, {tmp_path}/link/vae", tmp_path / "link") == "real/unet, link/vae"
    assert shortened("There is no folder ~nobody/model.", "~nobody/model") == "There is no folder ~nobody/model."
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("USERPROFILE", "/")
    assert shortened("and/or", "tiny") == "and/or"
