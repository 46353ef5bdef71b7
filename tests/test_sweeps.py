"""Sweeps: every combination once, the same bits however often they were cut off, and a report of what is there."""

from __future__ import annotations

import csv
import dataclasses
import html
import json
import re
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import sdlesson
from sdlesson import decoding
from sdlesson.cli import main
from sdlesson.loading.errors import BadInput, ModelError
from sdlesson.sweeps import command, plan, run, table

pytest.importorskip("distributed", reason="sweeps need the extra `sweep`")
pytest.importorskip("pyarrow", reason="sweeps need the extra `sweep`")

from sdlesson.sweeps import report, worker

HORSE, MOON = "an astronaut riding a horse", "a moon"
VALUES = {
    "prompts": [HORSE, MOON],
    "seeds": [1, 2],
    "guidance_scales": [1, 3],
    "steps": [2],
    "samplers": ["lms", "euler"],
}


@pytest.fixture(scope="module")
def scheduler():
    """The address of a Dask scheduler with one worker, both in this process: a start of milliseconds."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def swept(tmp_path_factory, toy_folder, scheduler):
    """The folder of a sweep of VALUES that nothing disturbed."""
    folder = tmp_path_factory.mktemp("swept")
    sdlesson.sweep(**VALUES, into=folder, model=str(toy_folder), scheduler=scheduler)
    return folder


def files(folder):
    """The bytes of the table and of all pictures."""
    return {path.name: path.read_bytes() for path in [folder / table.TABLE, *(folder / table.PICTURES).iterdir()]}


def test_every_combination_once_and_the_table_tells_which(swept, toy_folder):
    rows = table.read(swept)
    assert [tuple(row[name] for name in ("prompt", "seed", "guidance_scale", "sampler")) for row in rows] == [
        (prompt, seed, scale, sampler)
        for prompt in (HORSE, MOON)
        for seed in (1, 2)
        for scale in (1, 3)
        for sampler in ("lms", "euler")
    ]
    assert {row["steps"] for row in rows} == {row["calls"] for row in rows} == {2}
    assert {row["model"] for row in rows} == {str(toy_folder)}
    assert len({row["picture"] for row in rows}) == 16 == len(files(swept)) - 1
    assert all(-1 <= row["score"] <= 1 for row in rows)


def test_a_picture_is_what_the_lessons_paint_and_score(swept, toy):
    from sdlesson.embeddings import load_pair, similarity

    rows = [row for row in table.read(swept) if row["sampler"] == "lms"]
    assert len(rows) == 8
    for row in rows[:3]:
        with Image.open(swept / row["picture"]) as picture:
            options = {"seed": row["seed"], "guidance_scale": row["guidance_scale"], "num_inference_steps": 2}
            expected = sdlesson.paint(row["prompt"], model=toy, **options)[0]
            assert np.abs(np.asarray(picture, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1
            assert float(similarity(load_pair(toy), picture, row["prompt"])) == pytest.approx(row["score"], abs=1e-6)


def test_what_was_cut_off_goes_on_and_ends_with_the_same_bits(swept, tmp_path, toy_folder, scheduler, monkeypatch):
    shutil.copytree(swept, tmp_path / "cut")
    pictures = sorted((tmp_path / "cut" / table.PICTURES).iterdir())
    (tmp_path / "cut" / table.TABLE).unlink()
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[1].read_bytes()[:-40])  # cut off by something that is not us
    pictures[2].write_bytes(b"")
    written, save = [], decoding.save_png
    monkeypatch.setattr(decoding, "save_png", lambda *given: written.append(given[1].name) or save(*given))
    sdlesson.sweep(**VALUES, into=tmp_path / "cut", model=str(toy_folder), scheduler=scheduler)
    assert sorted(written) == [path.name for path in pictures[:3]]
    assert files(tmp_path / "cut") == files(swept)
    sdlesson.sweep(**VALUES, into=tmp_path / "cut", model=str(toy_folder), scheduler="tcp://127.0.0.1:9")  # unasked
    assert files(tmp_path / "cut") == files(swept)


def test_a_larger_sweep_paints_only_what_is_new(swept, tmp_path, toy_folder, scheduler):
    shutil.copytree(swept, tmp_path / "more")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "more" / table.PICTURES).iterdir()}
    more = VALUES | {"prompts": HORSE, "seeds": [1, 2, 3]}
    found = sdlesson.sweep(**more, into=tmp_path / "more", model=str(toy_folder), scheduler=scheduler)
    assert found.num_rows == 12
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "more" / table.PICTURES).iterdir()}
    assert len(after) == 16 + 4
    assert before.items() <= after.items()


@pytest.mark.full
def test_a_worker_that_is_killed_costs_its_picture_only(swept, tmp_path, toy_folder):
    import psutil

    killed = []

    def kill_one():
        here = tmp_path / "killed" / table.PICTURES
        while not killed and time.monotonic() < end:
            if here.is_dir() and any(here.iterdir()):
                workers = [
                    each
                    for each in psutil.Process().children(recursive=True)
                    if "spawn_main" in " ".join(each.cmdline())
                ]
                busy = max(workers, key=lambda each: sum(each.cpu_times()[:2]))
                busy.send_signal(signal.SIGKILL)
                killed.append(busy.pid)
            time.sleep(0.005)

    end = time.monotonic() + 120
    killer = threading.Thread(target=kill_one)
    killer.start()
    sdlesson.sweep(**VALUES, into=tmp_path / "killed", model=str(toy_folder), workers=1)
    killer.join()
    assert killed
    assert files(tmp_path / "killed") == files(swept)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "seed", "guidance_scale", "steps", "sampler"])
def test_other_settings_have_another_file(field):
    one = plan.Picture("a", "", 1, 2.0, 3, "lms")
    model = plan.Model("tiny", None, None, "0", 1)
    other = dataclasses.replace(
        one, **{field: {"prompt": "b", "sampler": "euler", "negative_prompt": "c"}.get(field, 9)}
    )
    assert plan.name_of(one, model) != plan.name_of(other, model)


def test_other_weights_have_other_files_and_no_worker_takes_them_for_the_first(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "toy")
    before, _ = plan.model_of(str(folder), None, None, 1)
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    after, _ = plan.model_of(str(folder), None, None, 1)
    picture = plan.Picture("a", "", 1, 2.0, 3, "lms")
    assert plan.name_of(picture, before) != plan.name_of(picture, after)
    with pytest.raises(ModelError, match="not those that this sweep began with"):
        worker.paint(picture, before)


def test_another_configuration_is_another_model(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "toy")
    before, _ = plan.model_of(folder, None, torch.float32, 1)
    config = json.loads((folder / "vae/config.json").read_text())
    (folder / "vae/config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))
    after, _ = plan.model_of(folder, None, torch.float32, 1)
    assert before.digest != after.digest
    assert (after.name, after.dtype) == (str(folder), "float32")  # what `load` takes, a table can hold


def test_a_mark_at_the_beginning_of_the_prompts_is_no_letter(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"\xef\xbb\xbfa horse\n\na duck\n")
    assert command._lines(tmp_path / "prompts.txt") == ["a horse", "a duck"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompts": []}, "prompt"),
        ({"prompts": [3]}, "text"),
        ({"seeds": -1}, "seed"),
        ({"seeds": []}, "1 to 100000"),
        ({"seeds": range(200_000)}, "not 1600000"),
        ({"guidance_scales": float("nan")}, "guidance scale"),
        ({"steps": 0}, "number of steps"),
        ({"steps": [5, 2.5]}, "number of steps"),
        ({"samplers": "plms"}, "no sampler 'plms'"),
        ({"negative_prompt": None}, "negative prompt"),
        ({"workers": 0}, "number of workers"),
        ({"threads": 0}, "number of threads"),
        ({"model": "nowhere at all"}, "no folder nowhere at all"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "No workers answer at tcp://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(change, sentence, tmp_path, toy_folder, monkeypatch):
    monkeypatch.setattr(run, "_PATIENCE", 1)
    with pytest.raises(BadInput, match=re.escape(sentence)):
        sdlesson.sweep(**{**VALUES, "model": str(toy_folder), "into": tmp_path / "bad"} | change)


def test_a_second_sweep_into_the_folder_is_refused(swept, toy_folder):
    with run._alone(swept), pytest.raises(BadInput, match="Another sweep is painting"):
        sdlesson.sweep(**VALUES, into=swept, model=str(toy_folder))


def test_a_folder_in_the_locks_place_is_one_sentence(tmp_path, toy_folder):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(BadInput, match=r"\.lock cannot be written"):
        sdlesson.sweep(**VALUES, into=tmp_path, model=str(toy_folder))


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path, toy_folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be made"):
        sdlesson.sweep(**VALUES, into=tmp_path / "file", model=str(toy_folder))


def test_without_the_extra_one_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pyarrow and cryptography, which are not installed.*\.\[sweep\]"):
        sdlesson.sweep(HORSE, into=tmp_path)


def test_nobody_else_reaches_a_sweeps_workers():
    from distributed import Client, Security

    with run._client(None, 1, 1, dashboard=False) as client:
        scheduler, (worker,) = client.scheduler.address, client.scheduler_info()["workers"]
        assert scheduler.startswith("tls://127.0.0.1") and worker.startswith("tls://127.0.0.1")
        with pytest.raises(OSError):
            Client(scheduler, security=Security.temporary(), timeout=2)


def test_a_mean_has_students_interval():
    rows = [{"steps": 5, "score": value} for value in (1.0, 2.0, 3.0)] + [{"steps": 9, "score": 4.0}]
    three, one = table.means(rows, "steps")
    # Student's t for 2 degrees of freedom is 4.3027, the standard error 1 / sqrt(3)
    assert (three["steps"], three["pictures"], three["mean"]) == (5, 3, 2.0)
    assert three["high"] - 2 == pytest.approx(2 - three["low"]) == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert (one["pictures"], one["mean"]) == (1, 4.0)
    assert np.isnan(one["low"]) and np.isnan(one["high"])


def test_the_report_shows_every_picture_once_with_words(swept):
    page = report.write_report(swept).read_text(encoding="utf-8")
    shown = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', page)
    assert all((swept / name).is_file() for name, _ in shown)
    counts = [int(words.split(" pictures")[0].split()[-1]) for name, words in shown if name.startswith("sheet")]
    assert sum(counts) == 16 and any(name.startswith("scores") for name, _ in shown)
    means = table.means(table.read(swept), "guidance_scale", "sampler")
    best = max(means, key=lambda each: each["mean"])
    assert (
        f"{best['mean']:.3f}, which guidance scale {best['guidance_scale']} with sampler {best['sampler']} has" in page
    )
    assert all(f"<td>{each['mean']:.4g}</td>" in page for each in means)


def test_a_prompt_is_only_words_on_the_page(tmp_path):
    (tmp_path / table.PICTURES).mkdir()
    prompt = "<script>alert('$x$')</script>"
    row = table.row_of(plan.Picture(prompt, "", 1, 2.0, 3, "lms"), 3, 0.5, "tiny", "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / table.PICTURES / "a.png")
    table.write([row], tmp_path)
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in page and html.escape(prompt) in page


def test_a_picture_that_is_gone_leaves_a_gap(swept, tmp_path):
    shutil.copytree(swept, tmp_path / "some")
    first, *rest = sorted((tmp_path / "some" / table.PICTURES).iterdir())
    first.unlink()
    page = report.write_report(tmp_path / "some").read_text(encoding="utf-8")
    counts = re.findall(r'<img src="sheet-\d+[^"]+" alt="[^"]*?(\d+) pictures', page)
    assert sum(map(int, counts)) == 15
    for file in rest:
        file.unlink()
    assert "sheet-" not in report.write_report(tmp_path / "some").read_text(encoding="utf-8")


def test_no_report_without_a_table(tmp_path):
    with pytest.raises(BadInput, match="cannot be read as the table"):
        report.write_report(tmp_path)


def test_the_command(tmp_path, toy_folder, scheduler, capsys, swept, monkeypatch):
    (tmp_path / "prompts.txt").write_text(f"{HORSE}\n\n{MOON}\n")
    words = [
        "--prompts",
        "prompts.txt",
        "--seeds",
        "1-2",
        "--guidance",
        "1,3",
        "--steps",
        "2",
        "--samplers",
        "lms, euler",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        main(["sweep", *words, "-o", "~/here", "--model", str(toy_folder), "--scheduler", scheduler])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"16 pictures, table and report: {tmp_path}/here/report.html\n"
    assert files(tmp_path / "here") == files(swept)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seeds", "a"], "whole numbers such as 0-9"),
        (["--seeds", "5-1"], "must run upward"),
        (["--steps", "1-"], "whole numbers"),
        (["--guidance", "1;2"], "numbers such as"),
        (["--prompts", "nowhere.txt"], "cannot be read as prompts"),
    ],
)
def test_a_wrong_word_is_one_sentence(words, sentence, capsys, tmp_path):
    with pytest.raises(SystemExit) as left:
        main(["sweep", HORSE, "-o", str(tmp_path / "x"), *words])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_whole_numbers():
    assert command.whole_numbers("0-3,7") == [0, 1, 2, 3, 7]


def test_workers_of_two_kinds_are_told_of(tmp_path, toy_folder, scheduler, monkeypatch, capsys):
    kinds = iter(["one kind", "another kind"] * 8)
    monkeypatch.setattr(worker, "_kind", lambda _: next(kinds))
    sdlesson.sweep(HORSE, [1, 2], steps=1, into=tmp_path, model=str(toy_folder), scheduler=scheduler)
    assert "the workers differ (one kind; another kind)" in capsys.readouterr().err


def test_the_lessons_table_is_what_the_model_paints(tiny):
    """The 900 rows of the lesson on samplers: each combination once, and of each sampler one is painted again."""
    with open(table.STEPS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {name: {row[name] for row in rows} for name in ("prompt", "seed", "sampler", "steps")}
    assert [len(each) for each in kinds.values()] == [5, 10, 3, 6]
    assert len({tuple(row[name] for name in kinds) for row in rows}) == len(rows) == 900
    model = plan.Model("tiny", None, None, plan.model_digest(tiny.folder), 1)
    for row in (
        next(row for row in rows if row["sampler"] == name and row["steps"] == "6") for name in kinds["sampler"]
    ):
        asked = plan.Picture(row["prompt"], "", int(row["seed"]), tiny.guidance_scale, 6, row["sampler"])
        assert worker.paint(asked, model)[2] == pytest.approx(float(row["score"]), abs=0.005)
