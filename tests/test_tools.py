"""The tools: what they write, and what they leave out."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import audit  # noqa: E402
import draw_images  # noqa: E402
import make_kit  # noqa: E402
import make_slides  # noqa: E402
import run_lessons  # noqa: E402


@pytest.mark.parametrize(("vulns", "code"), [([], 0), ([{"id": "PYSEC-1"}], 1)])
def test_audit_an_advisory_is_no_success(monkeypatch, capsys, tmp_path, vulns, code):
    (tmp_path / "constraints.txt").write_text("torch==2\n")
    found = {"dependencies": [{"name": "torch", "version": "2", "vulns": vulns}]}
    done = subprocess.CompletedProcess([], 0, stdout=json.dumps(found), stderr="")
    monkeypatch.setattr(audit, "PINNED", tmp_path / "constraints.txt")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.main() == code
    assert f"advisories: {code} of 1 projects have one" in capsys.readouterr().out


def test_run_lessons_a_notebook_that_fails_stays_and_one_that_runs_keeps_its_words_alone(tmp_path, monkeypatch):
    new = nbformat.v4
    said = [new.new_output("stream", name=name, text=name) for name in ("stdout", "stderr")]
    widget = {"text/plain": "words", run_lessons._WIDGET: {"model_id": "random"}}
    cell = new.new_code_cell("1", id="mine", metadata={"tags": ["x"], "scrolled": True})
    path = tmp_path / "a.ipynb"
    nbformat.write(new.new_notebook(cells=[new.new_markdown_cell("# A"), cell]), path)
    before = path.read_bytes()

    class Client:
        def __init__(self, notebook, *, resources, **_):
            self.notebook = notebook
            assert resources["metadata"]["path"] == str(tmp_path)

        def execute(self):
            if fails:
                raise RuntimeError("a cell failed")
            self.notebook.cells[1].outputs = [*said, new.new_output("display_data", widget)]

    monkeypatch.setattr(run_lessons, "NotebookClient", Client)
    fails = True
    with pytest.raises(RuntimeError, match="a cell failed"):
        run_lessons.run(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    fails = False
    run_lessons.run(path)
    first, second = nbformat.read(path, as_version=4).cells
    assert (first.id, second.id, second.metadata) == ("cell-00", "cell-01", {"tags": ["x"]})
    assert [(each.get("name"), dict(each.get("data", {}))) for each in second.outputs] == [
        ("stdout", {}),
        (None, {"text/plain": "words"}),
    ]


def test_make_slides_leaves_out_exercises_and_questions_that_words_answer_and_gives_the_speaker_the_words():
    new = nbformat.v4
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    picture = base64.b64encode(stream.getvalue()).decode()

    def figure(words):
        output = new.new_output("display_data", {"image/png": picture}, metadata={"image/png": {"alt": words}})
        return new.new_code_cell("draw()", outputs=[output])

    cells = ["## 1 · One\n\n> **Predict.** Why?", "**Explain.** Because.", figure("first")]
    cells += ["## 2 · Two\n\n> **Predict.** How\n> many?", figure("second"), "## Your turn", figure("answer")]
    cells = [new.new_markdown_cell(each) if isinstance(each, str) else each for each in cells]
    deck = list(make_slides.slides("Latents", new.new_notebook(cells=cells)))
    assert [(each.title, each.question, each.words) for each in deck] == [
        ("One", "", "first"),
        ("Two", "How\nmany?", ""),
        ("Two", "", "second"),
    ]
    assert "<aside>second</aside>" in make_slides.page(deck) and "id=s3 " in make_slides.page(deck)


def test_draw_images_strip_lays_pictures_side_by_side_and_rows_below():
    colours = [["red", "green", "blue"], ["white", "black", "red"]]
    rows = [[Image.new("RGB", (5, 4), colour) for colour in row] for row in colours]
    sheet = draw_images.strip(rows)
    assert sheet.size == (3 * 5 + 2 * draw_images.GAP, 2 * 4 + draw_images.GAP)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            corner = (x * (5 + draw_images.GAP) + 4, y * (4 + draw_images.GAP) + 3)
            assert sheet.getpixel(corner) == picture.getpixel((0, 0))


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such permission")
def test_make_kit_its_script_can_be_started(tmp_path):
    make_kit.fill_templates(tmp_path, "3.11", "linux", "0" * 64)
    assert stat.S_IMODE((tmp_path / "install.sh").stat().st_mode) == 0o755
    assert 'SUMS = "' + "0" * 64 + '"' in (tmp_path / "install.py").read_text(encoding="utf-8")
