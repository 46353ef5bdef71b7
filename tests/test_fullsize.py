"""The full size: counted on shapes alone, kept in a table, drawn; and the judges of the lesson on the full size."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from sdlesson import fullsize
from sdlesson.engine.measured import Measured, keep_measured, read_measured
from sdlesson.engine.openvino import core
from sdlesson.figures.fullsize import figure_bars, figure_measured, figure_memory
from sdlesson.loading.errors import BadInput

BENCH = Path(__file__).resolve().parent.parent / "bench"
ROW = Measured("sdlesson", "a machine", "float32", 20, 400.0, 18.5, 12.0, 2.5, 20.0, (1.0, 0.01))


@pytest.fixture(scope="module")
def real():
    return fullsize.empty_parts("v1.4")


def test_the_real_parts_take_no_memory(real):
    assert all(weight.is_meta for part in real.values() for weight in part.parameters())
    assert fullsize.count(real) == {"text_encoder": 123_060_480, "unet": 859_520_964, "vae": 83_653_863}


def test_weights_are_numbers_times_bytes():
    assert fullsize.weights_gib({"a": 2**29}, torch.float32) == {"a": 2.0}
    assert fullsize.weights_gib({"a": 2**29}, torch.bfloat16) == {"a": 1.0}


def test_a_layers_flops_are_those_of_paper_and_pencil(real):
    kinds = fullsize.flops(real)
    assert set(kinds["unet"]) == {"convolutions", "matrices", "attention"}
    # attention of the UNet: QK^T and PV in each of 16 blocks (5 at 64x64, 5 at 32x32, 5 at 16x16, 1 at 8x8), self and
    # cross, two pictures; that is 2 products of rows x width x asked, a product and a sum each
    squares = [(64, 320)] * 5 + [(32, 640)] * 5 + [(16, 1280)] * 5 + [(8, 1280)]
    by_hand = sum(2 * 2 * 2 * side**2 * width * (side**2 + 77) for side, width in squares)
    assert kinds["unet"]["attention"] == by_hand
    # the VAE's attention: one block, 64x64 squares, 512 channels, one picture
    assert kinds["vae"]["attention"] == 2 * 2 * (64**2) ** 2 * 512
    assert 1606e9 < sum(kinds["unet"].values()) < 1607e9


def test_working_memory_is_that_of_the_largest_layer(real):
    working = fullsize.working_gib(real)
    assert working["vae"] == 2 * 512 * 512 * 256 * 4 / 2**30  # 256 channels at full size, taken and given
    assert fullsize.working_gib(real, torch.float16)["vae"] == working["vae"] / 2
    assert all(not module._forward_hooks for part in real.values() for module in part.modules())


def test_the_median_is_of_calls_by_turns_without_the_first(monkeypatch):
    clock, order = [0.0], []
    spends = {"quick": iter([9.0, 1.0, 3.0, 2.0]), "slow": iter([9.0, 4.0, 8.0, 5.0])}

    def way(name):
        order.append(name)
        clock[0] += next(spends[name])

    monkeypatch.setattr(fullsize.time, "perf_counter", lambda: clock[0])
    ways = {name: lambda name=name: way(name) for name in spends}
    assert fullsize.medians(ways, turns=3) == {"quick": 2.0, "slow": 5.0}
    assert order == ["quick", "slow"] * 4


def test_a_process_grows_by_what_its_work_takes_and_gives_back():
    def hold():
        kept = torch.ones(2**24)  # 64 MiB
        time.sleep(0.05)
        return kept

    assert 60 * 2**20 < fullsize.grown_by(hold) < 100 * 2**20
    assert fullsize.grown_by(lambda: time.sleep(0.02)) < 20 * 2**20
    with pytest.raises(ValueError, match="the work's own"):
        fullsize.grown_by(lambda: (_ for _ in ()).throw(ValueError("the work's own")))
    assert not [each for each in threading.enumerate() if "look" in each.name]


def test_a_graph_keeps_the_shapes_and_the_numbers():
    pytest.importorskip("openvino", reason="the extra `fast`")
    torch.manual_seed(0)
    layer, x = torch.nn.Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 8, 8)
    graph = fullsize.graph_of(layer, x)
    assert [list(each.shape) for each in graph.inputs] == [[2, 3, 8, 8]]
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    torch.testing.assert_close(torch.from_numpy(compiled([x.numpy()])[0]), layer(x).detach())


def test_the_peak_is_the_worst_moment():
    gib, working = {"a": 1.0, "b": 3.0, "c": 0.5}, {"a": 0.25, "b": 0.5, "c": 2.0}
    assert fullsize.peak_gib(gib, working, by_turns=True, libraries=0.5) == 0.5 + 3.5
    assert fullsize.peak_gib(gib, working, by_turns=False, libraries=0.5) == 0.5 + 4.5 + 2.0


def test_a_rate_is_the_work_by_the_shortest_time(monkeypatch):
    monkeypatch.setattr(fullsize, "seconds", lambda work, device, least: (work(), 0.5)[1])
    assert fullsize.matmul_rate(torch.float32, size=1) == 2 / 0.5


@pytest.mark.parametrize(("rate", "side"), [(1e12, 2048), (1e9, 512), (1e6, 256)])
def test_a_slow_dtype_is_measured_on_smaller_matrices(monkeypatch, rate, side):
    """The next larger product may take a second at most, as far as the last one tells."""
    sides = []

    def seconds(work, device, least):
        sides.append(work().shape[0])
        return 2 * sides[-1] ** 3 / rate

    monkeypatch.setattr(fullsize, "seconds", seconds)
    assert fullsize.matmul_rate(torch.float32, size=2048) == pytest.approx(rate) and sides[-1] == side


def test_seconds_are_those_of_the_shortest_call(monkeypatch):
    clock, spends = [0.0], iter([9.0, 4.0, 1.5, 3.0])  # the first call warms up and counts for nothing

    def work():
        clock[0] += next(spends)

    monkeypatch.setattr(fullsize.time, "perf_counter", lambda: clock[0])
    assert fullsize.seconds(work, least=6) == 1.5  # 4 and 1.5 are less than 6 together: a third call


def test_the_table_keeps_other_machines_and_replaces_its_own(tmp_path):
    file = tmp_path / "table.json"
    assert read_measured(file) == []
    other = dataclasses.replace(ROW, device="another")
    keep_measured([ROW, other], file)
    newer = dataclasses.replace(ROW, seconds=300.0)
    keep_measured([newer], file)
    assert read_measured(file) == [other, newer]
    file.write_text('[{"way": "sdlesson"}]')
    with pytest.raises(BadInput, match="is no table of make bench-full"):
        read_measured(file)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
@pytest.mark.parametrize("limit", [0, 100, 500])
def test_a_full_disk_empties_no_table(tmp_path, limit):
    import resource

    file = tmp_path / "table.json"
    keep_measured([ROW], file)
    others = [dataclasses.replace(ROW, device=f"machine {number}") for number in range(5)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(BadInput, match=r"table\.json cannot be written"):
            keep_measured(others, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_measured(file) == [ROW] and [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_the_table_that_ships_is_of_whole_pictures():
    rows = read_measured()
    assert {"sdlesson", "pipeline, defaults"} <= {row.way for row in rows}
    for row in rows:
        assert row.steps == 20 and row.seconds > row.steps * row.step_seconds * 0.8


def bars(ax):
    return [patch for patch in ax.patches if patch.get_width() and patch.get_height()]


def test_columns_of_memory_stack_up(real):
    columns = {"one": {"libraries": 0.5, "unet": 3.0, "working": 0.5}, "two\nhalves": {"unet": 1.5}}
    figure = figure_memory(columns, title="memory")
    (ax,) = figure.axes
    assert sorted(round(bar.get_height(), 2) for bar in bars(ax)) == [0.5, 0.5, 1.5, 3.0]
    assert figure.words == "Stacked columns of memory: memory. one, 4.00 GiB; two halves, 1.50 GiB."
    assert [text.get_text() for text in ax.get_legend().get_texts()][::-1] == ["libraries", "UNet", "working"]
    assert [text.get_text() for text in ax.texts][:2] == ["4.00", "1.50"]


def test_bars_tell_their_numbers_unless_they_change_from_run_to_run():
    figure = figure_bars({"plain": 1200.0, "quick": 300.0}, "milliseconds", title="a layer", digits=0)
    assert figure.words == "Bars of milliseconds, a layer: plain 1,200; quick 300."
    assert [bar.get_width() for bar in bars(figure.axes[0])] == [1200.0, 300.0]
    assert "1,200" not in figure_bars({"plain": 1200.0}, "milliseconds", told=False).words


def test_the_measured_figure_has_a_panel_for_each_number():
    rows = [ROW, dataclasses.replace(ROW, way="pipeline, defaults", seconds=600.0, step_seconds=27.0, gib=5.4)]
    figure = figure_measured(rows)
    widths = [[bar.get_width() for bar in bars(ax)] for ax in figure.axes]
    assert widths == [[18.5, 27.0], [400.0, 600.0], [2.5, 5.4]]
    assert "pipeline, defaults, float32: 27.0 seconds a step, 600 in all, 5.40 GiB" in figure.words


def test_each_row_has_the_matrix_rate_of_its_own_dtype():
    rows = [ROW, dataclasses.replace(ROW, way="sdlesson, lean", dtype="bfloat16", limit_seconds=5.0)]
    lines = figure_measured(rows).axes[0].lines
    assert [tuple(line.get_xdata()) for line in lines] == [(20.0, 20.0), (5.0, 5.0)]
    assert [sum(line.get_ydata()) / 2 for line in lines] == [0, 1]


NUMBERS = 859_520_964


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (4 * NUMBERS / 2**30, "How many bits has a bfloat16 number?"),
        (2 * NUMBERS / 1e9, "GB or GiB?"),
        (16 * NUMBERS / 2**30, "Bits or bytes?"),
        (NUMBERS / 2**30, "more than one byte"),
        (2 * NUMBERS, "In GiB, please."),
        (7.0, "Numbers times bytes"),
        ("much", "The answer is one number."),
        (True, "The answer is one number."),
    ],
)
def test_the_weight_of_the_unet(said, answer, hint):
    assert hint in said("fullsize.1", answer, numbers=NUMBERS)
    assert "well done" in said("fullsize.1", 1.60, numbers=NUMBERS)


@pytest.mark.parametrize(
    ("factor", "hint"),
    [
        (1 / 20, "For all the steps."),
        (2, "What does `work` count already?"),
        (0.5, "Both guesses"),
        (1000, "In seconds."),
        (7, "divided by the rate"),
    ],
)
def test_the_least_time(said, factor, hint):
    facts = {"step": 1.6e12, "rate": 40e12, "steps": 20}
    assert hint in said("fullsize.2", 0.8 * factor, **facts)
    assert "Which divided by which?" in said("fullsize.2", 1.25, **facts)
    assert "well done" in said("fullsize.2", 0.8, **facts)


def fits(memory, gib, working, by_turns):
    return 0.45 + max((gib[p] if by_turns else sum(gib.values())) + working[p] for p in gib) < memory


def all_work(memory, gib, working, by_turns):
    return 0.45 + sum(working.values()) + (max(gib.values()) if by_turns else sum(gib.values())) < memory


def bare(memory, gib, working, by_turns):
    return fits(memory + 0.45, gib, working, by_turns)


def no_work(memory, gib, working, by_turns):
    return fits(memory, gib, dict.fromkeys(working, 0), by_turns)


def no_turns(memory, gib, working, by_turns):
    return fits(memory, gib, working, False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (bare, "The libraries take 0.45 GiB, too."),
        (no_work, "part c and its work come to 4.5 GiB"),
        (no_turns, "only the weights of the part at work are there"),
        (all_work, "the work of the others does not count"),
        (lambda *_: 3, "not True or False"),
        (lambda memory, gib, working, by_turns: fits(memory, gib, working, True), "All weights are there"),
    ],
)
def test_does_it_fit(said, answer, words):
    assert words in said("fullsize.3", answer, libraries=0.45) + said("fullsize.3", answer, libraries=0.45)
    assert "well done" in said("fullsize.3", fits, libraries=0.45)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("full", BENCH / "full.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["damaged", "folder", "nowhere"])
def test_a_table_that_cannot_be_kept_is_told_before_the_measuring(bench, tmp_path, monkeypatch, capsys, kind):
    monkeypatch.setattr(bench, "measure", lambda _: pytest.fail("it measures"))
    (tmp_path / "damaged").write_text("[")
    (tmp_path / "folder").mkdir()
    table = tmp_path / kind / ("table" if kind == "nowhere" else "")
    monkeypatch.setattr(sys, "argv", ["full", "--model", str(tmp_path), "-o", str(table)])
    with pytest.raises(SystemExit) as left:
        bench.main()
    assert left.value.code == 2 and kind in capsys.readouterr().err


@pytest.mark.full
def test_the_bench_paints_by_turns_and_keeps_a_table(bench, toy_half, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "matmul_rate", lambda *_, **__: 1e12)
    words = ["--model", str(toy_half), "--steps", "1", "--dtype", "float32", "-o", str(tmp_path / "table")]
    monkeypatch.setattr(sys, "argv", ["full", *words])
    bench.main()
    rows = read_measured(tmp_path / "table")
    ways = [way for way in bench.WAYS if way != "OpenVINO alone" or bench.computes_in(torch.float32)]
    assert [row.way for row in rows] == ways
    assert all(row.gib > 0.2 and row.seconds > row.step_seconds > 0 < row.vae_seconds for row in rows)
    assert all(row.levels[0] <= 1 for row in rows) and rows[-2].levels == (0.0, 0.0)
    told = capsys.readouterr().out
    assert "ours/pipeline, defaults: picture" in told and "of the limit" in told
    assert json.loads((tmp_path / "table").read_text())[0]["device"] == bench.device_name(
        torch.device("cpu"), torch.float32
    )


def test_a_model_of_unknown_shapes_is_told():
    with pytest.raises(BadInput, match="those of v1.4, v2.1-base are"):
        fullsize.empty_parts("v1.5")
