"""The command: what it writes, what it says, and how it leaves."""

from __future__ import annotations

import copy
import io
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import sdlesson
from sdlesson import decoding
from sdlesson.cli import main
from sdlesson.decoding import paint, read_trace

PROMPT = "a photograph of an astronaut riding a horse"


@pytest.fixture
def here(tmp_path, monkeypatch, toy_folder):
    """An empty working folder; the toy is the default model."""
    monkeypatch.setenv("SDLESSON_MODEL", str(toy_folder))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    """Run the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


def refused(capsys, *words):
    """The command leaves with 2 and one sentence on stderr, which is returned; stdout stays empty."""
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sdlesson: ")
    assert err.count("\n") == 1
    return err


def test_out_png_and_what_it_tells(here, toy, capsys):
    assert run("paint", PROMPT, "--steps", 3, "--negative", "moon") == 0
    assert "out.png: 48x48, 3 steps" in capsys.readouterr().out
    assert [path.name for path in here.iterdir()] == ["out.png"]
    with Image.open("out.png") as picture:
        picture.load()
        told = picture.text
        expected = paint(PROMPT, model=toy, num_inference_steps=3, negative_prompt="moon")[0]
        assert np.array_equal(np.asarray(picture), np.asarray(expected))
    assert told.pop("Software").startswith("sdlesson ")
    assert told == {
        "prompt": PROMPT,
        "negative_prompt": "moon",
        "seed": "42",
        "steps": "3",
        "guidance_scale": "8.0",
        "size": "48x48",
        "model": toy.name,
        "scheduler": "LMSDiscreteScheduler",
    }


def test_every_option(here, toy, toy_folder):
    options = ["--guidance", 2, "--seed", 7, "--size", "64x40", "--steps", 2, "-o", "deep/my.PNG"]
    (here / "deep").mkdir()
    assert run("paint", PROMPT, "--model", toy_folder, *options) == 0
    expected = paint(PROMPT, model=toy, guidance_scale=2, seed=7, width=64, height=40, num_inference_steps=2)[0]
    with Image.open("deep/my.PNG") as picture:
        assert picture.size == (64, 40)
        assert np.array_equal(np.asarray(picture), np.asarray(expected))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {"dtype": None, "low_memory": "auto"}),
        (("--low-memory", "--dtype", "bfloat16"), {"dtype": "bfloat16", "low_memory": True}),
    ],
)
def test_how_a_model_is_kept_and_computed(here, monkeypatch, toy, words, expected):
    asked = {}
    monkeypatch.setattr("sdlesson.cli.load", lambda name, **options: asked.update(options) or copy.deepcopy(toy))
    assert run("paint", "horse", "--steps", 1, *words) == 0
    assert expected.items() <= asked.items()


def test_a_dtype_that_is_none_is_one_sentence(here, capsys):
    assert run("paint", "horse", "--dtype", "int8") == 2
    assert "int8 is no dtype to compute in" in capsys.readouterr().err


def test_several_prompts_and_pictures_are_numbered(here, toy):
    assert run("paint", "horse", "moon", "-n", 2, "--steps", 2, "-o", "a.png", "--seed", 5) == 0
    assert sorted(path.name for path in here.iterdir()) == ["a-1.png", "a-2.png", "a-3.png", "a-4.png"]
    told = [Image.open(f"a-{number}.png").text for number in (1, 2, 3, 4)]
    assert [(each["prompt"], each["seed"]) for each in told] == [
        ("horse", "5"),
        ("horse", "6"),
        ("moon", "5"),
        ("moon", "6"),
    ]
    alone = np.asarray(paint("moon", model=toy, seed=6, num_inference_steps=2)[0], dtype=int)
    assert np.abs(np.asarray(Image.open("a-4.png"), dtype=int) - alone).max() <= 2


def test_more_pictures_than_fit_at_once(here, monkeypatch):
    monkeypatch.setattr("sdlesson.cli._AT_ONCE", 2 * 6 * 6)
    assert run("paint", "horse", "-n", 3, "--steps", 1) == 0
    assert [Image.open(f"out-{number}.png").text["seed"] for number in (1, 2, 3)] == ["42", "43", "44"]
    assert run("paint", "horse", "-n", 3, "--steps", 1, "--trace", "t.safetensors") == 2


def test_the_unet_leaves_the_memory_before_the_last_pictures_are_decoded(here, monkeypatch):
    monkeypatch.setattr("sdlesson.cli._AT_ONCE", 2 * 6 * 6)
    decode, devices = decoding.paint_latents, []
    monkeypatch.setattr(
        decoding, "paint_latents", lambda sd, latents: devices.append(sd.unet.device.type) or decode(sd, latents)
    )
    assert run("paint", "horse", "-n", 3, "--steps", 1) == 0
    assert devices == ["cpu", "meta"]


def test_trace(here):
    assert run("paint", "horse", "--steps", 3, "--trace", "t.safetensors") == 0
    trace = read_trace("t.safetensors")
    assert len(trace.steps) == 3
    assert trace.settings["prompts"] == ["horse"]
    assert trace.settings["seeds"] == [42]


def test_cut_words_are_named_on_stderr(here, capsys):
    assert run("paint", " ".join(["horse"] * 75 + ["moon"]), "--steps", 2) == 0
    err = capsys.readouterr().err
    assert err.startswith("sdlesson: warning: ")
    assert 'cut off: "moon"' in err
    assert err.count("\n") == 1


def test_one_step_is_told_to_be_noise(here, capsys):
    assert run("paint", "horse", "--steps", 1) == 0
    assert capsys.readouterr().err.startswith(
        "sdlesson: warning: one step of LMSDiscreteScheduler begins at timestep 0"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "empty"),
        (["x", "--size", "100x128"], "multiples of 8"),
        (["x", "--size", "128"], "WxH"),
        (["x", "--size=-8x8"], "WxH"),
        (["x", "--size", "0x0"], "WxH"),
        (["x", "--steps", "0"], "from 1 to 1000, not '0'"),
        (["x", "--steps", "1001"], "from 1 to 1000"),
        (["x", "--steps", "two"], "whole number"),
        (["x", "--guidance", "nan"], "finite"),
        (["x", "--guidance", "inf"], "finite"),
        (["x", "--guidance", "much"], "finite"),
        (["x", "--guidance", "1e40"], "between -1e6 and 1e6, not '1e40'"),
        (["x", "--guidance=-1e7"], "between -1e6 and 1e6"),
        (["x", "--seed", "-1"], "from 0 to"),
        (["x", "--seed", str(2**64)], "from 0 to"),
        (["x", "--seed", str(2**64 - 1), "-n", "2"], "last seed"),
        (["x", "-n", "0"], "at least 1"),
        (["x", "-n", "1000000000000"], "at most 10000 pictures, not 1000000000000"),
        (["x", "y", "-n", "5001"], "at most 10000 pictures, not 10002"),
        (["x", "-n", "1000000", "--model", "nowhere"], "at most 10000 pictures"),
        (["x", "-o", "s.png", "--trace", "s.png"], "written twice"),
        (["x", "-o", "s.png", "--trace", "./s.png"], "written twice"),
        (["x", "y", "-o", "s.png", "--trace", "s-2.png"], "written twice"),
        (["x", "-n", "3", "-o", "s.png", "--trace", "s-3.png"], "written twice"),
        (["x", "-o", "a\0b.png"], "cannot be the name of a file"),
        (["x", "-o", "\ud800.png"], "cannot be the name of a file"),
        (["x", "--trace", "a\0b"], "cannot be the name of a file"),
        (["x", "-o", "x" * 300 + ".png"], "too long"),
        (["x", "y", "-o", "x" * 250 + ".png"], "too long"),
        (["x", "-o", "nowhere/out.png"], "no folder"),
        (["x", "-o", "out.jpg"], "PNG"),
        (["x", "-o", "."], "PNG"),
        (["x", "--trace", "nowhere/t.safetensors"], "no folder"),
        (["x", "--model", "nowhere"], "no folder nowhere"),
        (["x", "--model", "org/model"], "HF_HUB_OFFLINE"),
        (["half \udce4"], "not valid text"),
        (["x", "--frobnicate"], "--frobnicate"),
    ],
)
def test_bad_input_is_one_sentence(here, capsys, words, sentence):
    assert sentence in refused(capsys, "paint", *words)
    assert list(here.iterdir()) == []


def test_a_link_to_a_picture_is_that_picture(here, capsys):
    (here / "link.png").symlink_to("s.png")
    assert "written twice" in refused(capsys, "paint", "x", "-o", "s.png", "--trace", "link.png")


def test_a_folder_in_the_way_of_a_later_picture(here, capsys):
    (here / "out-2.png").mkdir()
    assert "out-2.png is a folder" in refused(capsys, "paint", "x", "-n", "3")


def test_a_wrong_model_name_is_told_at_once_for_ten_thousand_pictures(here, capsys):
    start = time.process_time()
    assert "no folder nowhere" in refused(capsys, "paint", "x", "-n", "10000", "--model", "nowhere")
    assert time.process_time() - start < 10


def paint_in_a_process(*words, **options):
    command = [sys.executable, "-m", "sdlesson", "paint", *words, "--steps", "2"]
    return subprocess.run(command, timeout=250, **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options))


@pytest.mark.parametrize("name", ["Łukasz.png", "🐎.png", "\udce4.png"])
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_name_that_the_terminal_cannot_print_loses_no_picture(here, capsysbinary, monkeypatch, name, encoding):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert run("paint", "horse", "moon", "--steps", 1, "-o", name) == 0
    stem = name.removesuffix(".png")
    assert sorted(path.name for path in here.iterdir()) == [f"{stem}-1.png", f"{stem}-2.png"]
    said = sys.stdout.buffer.getvalue().decode(encoding).splitlines()
    assert len(said) == 2 and all("48x48, 1 steps" in line for line in said)


def test_the_encoding_of_a_process_of_its_own(here):
    done = paint_in_a_process("horse", "moon", "-o", "Łukasz.png", env=os.environ | {"PYTHONIOENCODING": "cp1252"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("cp1252").startswith("\\u0141ukasz-1.png: 48x48")
    assert len(list(here.glob("*.png"))) == 2


@pytest.mark.full
def test_nobody_listens_any_more(here):
    """A pipe whose reader has gone, and a stdout that was never open: all pictures are painted, nothing is said."""
    reader, writer = os.pipe()
    os.close(reader)
    done = paint_in_a_process("horse", "-n", "2", "-o", "a.png", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    closed = [sys.executable, "-m", "sdlesson", "paint", "horse", "--steps", "1", "-n", "3", "-o", "b.png"]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *closed], timeout=250)
    assert done.returncode == 0
    assert sorted(path.name for path in here.iterdir()) == ["a-1.png", "a-2.png", "b-1.png", "b-2.png", "b-3.png"]


def test_words_that_the_tiny_model_never_read_are_named_on_stderr(here, capsys, toy_folder, monkeypatch):
    monkeypatch.setattr("sdlesson.cli._AT_ONCE", 2 * 6 * 6)  # several batches
    shutil.copytree(toy_folder, "closed")
    (here / "closed/sdlesson.json").write_text('{"name": "tiny"}')
    assert run("paint", "a cat on a sofa", "--model", "closed", "--steps", 2, "-n", 5) == 0
    err = capsys.readouterr().err
    assert err.startswith('sdlesson: warning: this model never read "cat", "sofa"') and err.count("\n") == 1
    assert run("paint", PROMPT, "--model", "closed", "--steps", 2) == 0
    assert capsys.readouterr().err == ""


def test_a_broken_model_is_one_sentence(here, capsys, toy_folder):
    shutil.copytree(toy_folder, "model")
    (here / "model/vae/diffusion_pytorch_model.safetensors").unlink()
    assert "the vae's weights" in refused(capsys, "paint", "x", "--model", "model")


def test_nothing_is_computed_before_the_output_is_checked(here, capsys, monkeypatch):
    monkeypatch.setattr("sdlesson.cli.load", lambda *_, **__: pytest.fail("loaded a model first"))
    refused(capsys, "paint", "x", "-o", "nowhere/out.png")


def test_no_command(capsys):
    assert "command" in refused(capsys)


def test_an_interrupt_leaves_quietly(here, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sdlesson.guidance.denoise", interrupted)
    assert run("paint", "x") == 130
    assert capsys.readouterr().err == "sdlesson: interrupted.\n"
    assert list(here.iterdir()) == []


def test_too_little_memory_is_a_sentence(here, capsys, monkeypatch):
    def greedy(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you ...")

    monkeypatch.setattr("sdlesson.guidance.denoise", greedy)
    assert "not enough memory" in refused(capsys, "paint", "x")


def test_errors_of_our_own_are_not_hidden(here, monkeypatch):
    def mistaken(*_, **__):
        raise RuntimeError("a mistake")

    monkeypatch.setattr("sdlesson.guidance.denoise", mistaken)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["paint", "x"])


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"sdlesson {sdlesson.__version__}\n"


def test_help_is_quick():
    """Seconds of the processor, which a busy machine does not stretch."""

    def seconds():
        before = os.times()
        said = subprocess.check_output([sys.executable, "-m", "sdlesson", "--help"], text=True)
        assert "paint" in said
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) <= 0.5


def test_as_a_process_of_its_own(here):
    command = [sys.executable, "-m", "sdlesson", "paint", PROMPT, "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out.png: 48x48, 2 steps")
    done = subprocess.run([*command, "--size", "9x9"], capture_output=True, text=True, timeout=250)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
