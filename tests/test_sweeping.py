"""A sweep paints with every setting that it is told, and files and tables say so."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from sdlesson import cli
from sdlesson.sweeps import plan, run, table, worker
from sdlesson.sweeps import report as sweep_report


def one(**changes) -> plan.Picture:
    return dataclasses.replace(plan.Picture("a horse", "", 1, 3.0, 3, "lms"), **changes)


@pytest.fixture
def toys_worker(toy_folder):
    """`worker.paint` on the toy: (picture, dtype, threads) -> what it gives."""
    yield lambda picture, dtype=None, threads=1: worker.paint(
        picture, plan.model_of(str(toy_folder), None, dtype, threads)[0]
    )
    worker._loaded.cache_clear()


def test_worker_obeys_the_negative_prompt_and_counts_what_the_unet_is_asked(toys_worker, toy):
    from sdlesson.decoding import paint

    plainly, calls, *_ = toys_worker(one())
    without, *_ = toys_worker(one(negative_prompt="the moon"))
    how = {"model": toy, "seed": 1, "guidance_scale": 3.0, "num_inference_steps": 3}
    expected = paint("a horse", negative_prompt="the moon", **how)[0]
    assert np.abs(np.asarray(without, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1
    assert not np.array_equal(np.asarray(plainly), np.asarray(without))
    assert calls == 3 and toys_worker(one(sampler="heun"))[1] == 5  # Heun asks twice but in the last step


def test_worker_draws_fresh_noise_from_the_pictures_own_seed(toys_worker):
    asked = one(sampler="euler_ancestral", seed=5)
    first = np.asarray(toys_worker(asked)[0])
    torch.manual_seed(123)
    torch.randn(7)
    assert np.array_equal(first, np.asarray(toys_worker(asked)[0]))  # nothing depends on what was painted before


def test_worker_computes_in_the_dtype_and_with_the_threads_that_were_asked_for(toys_worker):
    *_, kind = toys_worker(one(), dtype="float64", threads=2)
    assert ", float64 by cpu" in kind and torch.get_num_threads() == 2


def test_plan_a_picture_in_another_dtype_or_with_other_threads_is_another_file():
    model = plan.Model("tiny", None, None, "0", 1)
    others = [dataclasses.replace(model, dtype="bfloat16"), dataclasses.replace(model, threads=2)]
    assert len({plan.name_of(one(), each) for each in (model, *others)}) == 3


def test_command_of_sweep_hands_on_every_option(monkeypatch, tmp_path, capsys):
    asked = {}

    def sweep(*values, **options):
        asked.update(options, values=values)
        return SimpleNamespace(num_rows=1)

    monkeypatch.setattr(run, "sweep", sweep)
    monkeypatch.setattr("sdlesson.sweeps.report.write_report", lambda into: into / "report.html")
    words = ["--seeds", "3", "--guidance", "2", "--steps", "4", "--samplers", "heun, ddim", "--negative", "moon"]
    words += ["--model", "M", "--revision", "R", "--dtype", "bfloat16", "--workers", "5", "--threads", "6"]
    with pytest.raises(SystemExit) as left:
        cli.main(["sweep", "horse", "-o", str(tmp_path / "x"), *words, "--scheduler", "tcp://a:1", "--dashboard"])
    assert left.value.code == 0 and "1 pictures" in capsys.readouterr().out
    assert asked == {
        "values": (["horse"], [3], [2.0], [4], ["heun", "ddim"]),
        "into": tmp_path / "x",
        "negative_prompt": "moon",
        "model": "M",
        "revision": "R",
        "dtype": "bfloat16",
        "workers": 5,
        "threads": 6,
        "scheduler": "tcp://a:1",
        "dashboard": True,
    }


def test_run_leaves_each_worker_its_threads(monkeypatch):
    monkeypatch.setattr(run.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [run._cores(threads) for threads in (1, 3, 9)] == [8, 2, 1]


def test_run_takes_the_models_own_scale_and_writes_the_table_on_the_way(monkeypatch, tmp_path):
    pytest.importorskip("distributed", reason="sweeps need the extra `sweep`")
    written = []
    model = plan.Model("tiny", None, None, "0", 1)
    monkeypatch.setattr(plan, "model_of", lambda *_: (model, 2.5))
    monkeypatch.setattr(run, "_EVERY", -1)
    monkeypatch.setattr(run.table, "write", lambda rows, folder: written.append([*rows]))

    class Future:
        status = "finished"

        def release(self):
            pass

    class Client(contextlib.AbstractContextManager):
        def submit(self, *_, **__):
            return Future()

        def cancel(self, futures):
            pass

        def __exit__(self, *_):
            pass

    def completed(futures, **_):
        return ((future, (Image.new("RGB", (8, 8)), 1, 0.5, [], "kind")) for future in [*futures])

    monkeypatch.setattr("distributed.as_completed", completed)
    monkeypatch.setattr(run, "_client", lambda *_: Client())
    run.sweep("a horse", [1, 2], steps=1, into=tmp_path)
    assert [len(rows) for rows in written] == [1, 2, 2]
    assert {row["guidance_scale"] for row in written[-1]} == {2.5}


def swept_rows(folder: Path, **axes) -> list[dict]:
    """A sweep's table, and a picture for each of its rows, for every combination of the `axes`."""
    (folder / table.PICTURES).mkdir()
    Image.new("RGB", (8, 8)).save(folder / table.PICTURES / "a.png")
    asked = [one(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]
    return [table.row_of(each, 1, 0.5, "tiny", "a.png") for each in asked]


def test_report_of_a_sweep_names_its_rows_and_columns_and_cuts_no_picture_off(tmp_path):
    rows = swept_rows(tmp_path, steps=[3, 5], seed=[*range(14)])
    words = [figure.words for figure in sweep_report.contact_sheets(rows, tmp_path)]
    assert len(words) == 2 and all("Rows, steps: 3, 5. Columns, seed: " in each for each in words)
    assert [int(re.search(r"(\d+) pictures", each)[1]) for each in words] == [24, 4]


def test_report_of_a_sweep_says_where_sheets_are_left_out(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="sweeps need the extra `sweep`")
    table.write(swept_rows(tmp_path, steps=[3, 5], prompt=["a", "b"], sampler=["lms", "ddim"]), tmp_path)
    monkeypatch.setattr(sweep_report, "_figure", lambda figure, folder, name: f'<img src="{name}">')
    for most, told in ((1, True), (4, False)):
        monkeypatch.setattr(sweep_report, "_SHEETS", most)
        page = sweep_report.write_report(tmp_path).read_text(encoding="utf-8")
        assert page.count('src="sheet-') == most and (f"Only the first {most} sheets are shown" in page) == told
