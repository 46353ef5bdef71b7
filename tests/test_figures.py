"""The figures that several lessons share: rows of maps and pictures, curves, and how a figure becomes a file."""

from __future__ import annotations

import io
import itertools
import warnings
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from sdlesson import guidance
from sdlesson.figures.attention import figure_heat, figure_table, plot_heat
from sdlesson.figures.base import (
    BLUE,
    DIVERGING,
    ORANGE,
    SEQUENTIAL,
    figure_curves,
    figure_pictures,
    figure_rows,
    new_figure,
    plot_curves,
    plot_map,
    plot_matrix,
    plot_picture,
)
from sdlesson.figures.decoding import figure_amounts, figure_trace
from sdlesson.figures.embeddings import figure_captions, figure_cosines, figure_fit, figure_heads, figure_mixture
from sdlesson.figures.latents import figure_histograms, figure_latents, figure_round_trip, plot_histogram
from sdlesson.figures.samplers import figure_errors, figure_levels
from sdlesson.figures.sigmas import figure_schedules, figure_ways
from sdlesson.figures.sweeps import figure_contact_sheet, figure_scores
from sdlesson.figures.tokens import figure_learning, figure_merges, figure_pieces, figure_places
from sdlesson.loading.errors import BadInput


def picture(level=128):
    return Image.new("RGB", (12, 12), (level, 40, 200))


def test_rows_of_maps_and_pictures():
    latents = [torch.tensor([[-3.0, 1.0], [0.0, 2.0]]), torch.ones(2, 2)]
    apart = [torch.tensor([[0.0, 0.5], [0.25, 0.0]]), torch.zeros(2, 2)]
    fig = figure_rows(
        {"latents": latents, "apart": apart, "seen": [picture(), picture(9)]}, ["step 0\nσ 14.6", "step 1"]
    )
    maps = [ax for number, ax in enumerate(fig.axes[:9]) if number % 3 < 2]  # the third column holds the colour bars
    assert [ax.get_title() for ax in maps] == ["step 0\nσ 14.6", "step 1", "", "", "", ""]
    assert [ax.texts[0].get_text() for ax in maps[::2]] == ["latents", "apart", "seen"]
    assert [(ax.images[0].get_cmap().name, ax.images[0].get_clim()) for ax in maps[:4]] == [
        (DIVERGING, (-3, 3)),
        (DIVERGING, (-3, 3)),  # one scale in a row, around 0
        (SEQUENTIAL, (0, 0.5)),
        (SEQUENTIAL, (0, 0.5)),  # amounts begin at 0
    ]
    assert sum(ax.get_label() == "<colorbar>" for ax in fig.axes) == 2  # a row of pictures needs none
    fig.draw_without_rendering()
    lefts = [[ax.get_position().x0 for ax in maps[column::2]] for column in range(2)]
    assert lefts == [pytest.approx([column[0]] * 3, abs=1e-6) for column in lefts]  # all stand under their titles
    assert fig.photographs
    assert fig.words == (
        "Columns: step 0 σ 14.6, step 1. Rows: latents (maps up to 3.0); apart (maps up to 0.5); seen (pictures)."
    )


def test_rows_of_maps_alone_are_no_photographs():
    assert not figure_rows({"maps": [torch.eye(2)]}, ["one"]).photographs


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError):
        figure_rows({"seen": [picture()]}, ["one", "two"])


def test_curves_are_drawn_as_given():
    ax = plot_curves({"order 4": (range(3), [1, 2, 3]), "order 1": (range(2), [0.5, 0])}, "step", "size")
    assert [line.get_label() for line in ax.lines] == ["order 4", "order 1"]
    assert [to_hex(line.get_color()) for line in ax.lines] == [ORANGE, BLUE]
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[0, 0.5], [1, 0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "size")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["order 4", "order 1"]


def test_one_curve_needs_no_legend_and_whole_numbers_get_whole_ticks():
    ax = plot_curves({"": ([1, 2], [0.1, 0.2])}, "step", "")
    assert ax.get_legend() is None
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_panels_of_curves_share_their_scale_and_tell_each_name_once():
    up, down = ([1, 2], [0.0, 3.14159]), ([1, 2], [5, -1234.0])
    fig = figure_curves(
        {"alone": {"up": up}, "both": {"up": up, "down": down}, "again": {"up": up, "down": down}}, "step", "a\nsize"
    )
    alone, both, again = fig.axes
    assert alone.get_ylim() == both.get_ylim() == again.get_ylim()
    assert [ax.get_legend() is not None for ax in fig.axes] == [False, True, False]
    assert [ax.get_ylabel() for ax in fig.axes] == ["a\nsize", "", ""]
    assert fig.words.startswith("Curves of a size against step. alone: up, 0 to 3.1, at most 3.1. both: up, 0 to 3.1")
    assert "down, 5 to -1200, at most 5." in fig.words


def test_each_panel_can_have_its_own_axis_and_the_frame_can_be_cut():
    curve = {"up": ([1, 2], [1e-20, 3e6])}
    fig = figure_curves({"a": curve, "b": curve}, ["scale", "steps"], "size", ylim=(-1.5, 2))
    assert [ax.get_xlabel() for ax in fig.axes] == ["scale", "steps"]
    assert {ax.get_ylim() for ax in fig.axes} == {(-1.5, 2)}
    assert fig.words.startswith("Curves of size against scale and steps. a: up, 0 to 3e+06, at most 3e+06.")
    assert fig.words.endswith("The frame ends at -1.5 and 2.")


def test_points_are_not_joined_where_nothing_is_known_between_them():
    panel = {"a": {"up": ([0, 3, 9], [1, 2, 3]), "down": ([0, 3, 9], [3, 2, 1])}}
    fig = figure_curves(panel, "step", "size", joined=False)
    assert [line.get_linestyle() for line in fig.axes[0].lines] == ["None"] * 2
    assert len({line.get_marker() for line in fig.axes[0].lines}) == 2 and fig.words.startswith("Points of size")
    assert [line.get_linestyle() for line in figure_curves(panel, "step", "size").axes[0].lines] == ["-"] * 2


def test_a_scale_can_be_logarithmic_on_both_sides_of_0():
    fig = figure_curves({"": {"up": ([0, 1, 2], [1, -1e3, 1e6])}}, "step", "size", linear=1)
    axis = fig.axes[0].transData.transform([(0, y) for y in (-100, -10, 0, 10, 100)])[:, 1]
    down, low, up, high = np.diff(axis)
    assert abs(down - high) < 1e-6 and abs(low - up) < 1e-6  # the same above 0 and below


def test_curves_over_powers_of_ten_have_plain_numbers_beside_them():
    fig = figure_curves({"": {"error": ([200, 800], [0.42, 0.009])}}, "t", "error", joined=False, logarithmic=True)
    ax = fig.axes[0]
    fig.canvas.draw()
    assert ax.get_yscale() == "log" and {"0.01", "0.02", "0.05", "0.1"} <= {t.get_text() for t in ax.get_yticklabels()}


def test_a_plot_is_stored_with_a_palette_and_looks_the_same():
    fig = figure_curves({"": {"up": (range(9), range(9)), "down": (range(9), range(9, 0, -1))}}, "step", "size")
    kind, file = fig.render()
    stored, whole = Image.open(io.BytesIO(file)), io.BytesIO()
    fig.savefig(whole, dpi=144, facecolor="white", format="png")
    assert (kind, stored.mode) == ("image/png", "P")
    assert len(file) < len(whole.getvalue()) / 2
    difference = np.asarray(stored.convert("RGB"), float) - np.asarray(Image.open(whole).convert("RGB"), float)
    assert abs(difference).mean() < 0.2  # of 255


def test_a_png_with_pictures_in_it_keeps_all_its_colours():
    noise = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    fig = new_figure(figsize=(2, 2))
    fig.subplots().imshow(noise, interpolation="bilinear")
    assert Image.open(io.BytesIO(fig.render()[1])).mode == "RGBA"


def test_a_map_can_be_drawn_on_axes_that_are_given():
    fig = new_figure()
    ax = fig.subplots()
    assert plot_map(torch.eye(2), ax=ax) is ax
    assert plt.get_fignums() == []  # no figure of ours belongs to pyplot


@pytest.mark.parametrize("value, limit", [(0.0, 1), (torch.nan, 1), (2.0, 2)])
def test_every_map_of_a_figure_has_the_scale_of_its_colour_bar(value, limit):
    """Of zeros, of nothing but NaN, of one number: 0 stays white, and NaN has a colour of its own."""
    latents = torch.zeros(1, 2, 4, 4)
    latents[0, 0, 1, 1] = value
    fig = figure_latents(latents)
    fig.draw_without_rendering()  # where Matplotlib would widen a colour bar without a span
    maps = [ax.images[0] for ax in fig.axes[:2]]
    assert [each.get_clim() for each in maps] == [(-limit, limit)] * 2
    planted, zero = (to_hex(each.to_rgba(each.get_array())[1, 1]) for each in maps)
    assert zero == "#f7f7f6" and (planted == "#7f7f7f") == np.isnan(value)
    assert fig.axes[0].get_xlabel() == ("grey: no number" if np.isnan(value) else "")


def test_heat_without_a_number_is_told_and_may_be_of_any_dtype():
    heat = torch.eye(2, dtype=torch.bfloat16)
    assert [text.get_text() for text in plot_heat(heat, picture()).texts] == []
    heat[0, 1] = torch.nan
    assert [text.get_text() for text in plot_heat(heat, picture()).texts] == ["grey: no number"]


def test_amounts_of_zeros_are_all_of_one_colour():
    zeros = torch.zeros(3, 3)
    rows, heat = figure_rows({"apart": [zeros, zeros]}, ["a", "b"]), figure_heat({"a": zeros}, picture())
    assert [ax.images[0].get_clim() for ax in rows.axes[:2]] == [(0, 1)] * 2 and "maps up to 0)" in rows.words
    assert heat.axes[0].images[1].get_clim() == (0, 1) and "up to 0" in heat.words
    same = figure_round_trip(picture(), picture())
    assert same.axes[2].images[0].get_clim() == (0, 1)


def test_the_hottest_square_is_a_number():
    heat = torch.tensor([[0.5, 0.1, 0.1], [0.1, torch.nan, 0.1], [0.1, 0.1, 0.2]])
    assert figure_heat({"a": heat}, picture()).words.endswith("a, up to 0.5, above on the left.")


#: Learners' words that Matplotlib would read as mathematics, or has no glyphs for.
WORDS = [r"a horse for $\price$", "a $5 horse and a $6 duck", "Ba$$in", r"$\frac{1}{2}$ \$ ^_{}", "馬に乗る 🐎 $x$"]


def with_words(toy, text):
    """One of each kind of figure that draws words of a learner's, those words everywhere."""
    curve, maps = ([1, 2, 3], [0.1, 10.0, 1000.0]), torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    two = {text: curve, "other": curve}
    trace = guidance.record(toy, text, num_inference_steps=2)
    return {
        "trace": figure_trace(trace),
        "pieces": figure_pieces(toy.tokenizer, {text: text}),
        "places": figure_places(toy.tokenizer, {text: text}),
        "merges": figure_merges(toy.tokenizer, ["$" * text.count("$")]),  # a wall has one word
        "learning": figure_learning([Counter({(text, text): 2})]),
        "latents": figure_latents(trace.steps[0].latents, text),
        "histograms": figure_histograms({text: maps}),
        "pictures": figure_pictures([picture()], [text]),
        "rows": figure_rows({text: [maps]}, [text]),
        "curves": figure_curves({text: two}, text, text),
        "heat": figure_heat({text: maps}, picture()),
        "table": figure_table(maps, [text] * 3, [text] * 3, text),
        "cosines": figure_cosines({text: (maps, [text] * 3)}),
        "captions": figure_captions(maps[:, :2], {text: [text, "a", "b"]}),
        "fit": figure_fit(torch.eye(2), [picture()] * 2, [text] * 2),
        "mixture": figure_mixture([picture()] * 2, [0, 1], torch.eye(2), [text, "other"]),
        "heads": figure_heads(maps[None], [text] * 3),
        "amounts": figure_amounts({text: {text: 3.0, "b": 5.0}}),
        "errors": figure_errors({text: (text, {text: {5: 0.1, 10: 0.01}})}),
        "levels": figure_levels({text: [3.0, 1.0]}),
        "schedules": figure_schedules({text: np.array([0.1, 2.0])}),
        "ways": figure_ways({text: ([3.0, 0.0], [[1.0, 2.0], [1.0, 0.5]])}),
    }


@pytest.mark.parametrize("text", WORDS)
def test_a_learners_words_are_drawn_as_they_are(toy, text):
    for name, fig in with_words(toy, text).items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no glyph is missing
            fig.draw_without_rendering()
        drawn = [each for each in fig.findobj(Text) if "$" in each.get_text()]
        powers = [each for each in drawn if each.get_text().startswith(r"$\mathdefault{")]
        assert [each.get_text() for each in drawn if each not in powers and each.get_parse_math()] == [], name
        assert name in ("learning", "merges") or any(text in each.get_text() for each in fig.findobj(Text)), name


def test_a_dollar_leaves_its_mark():
    """What is drawn is the text itself: as if every dollar were another sign of the same width, and no word is lost."""

    def ink(text):
        fig = new_figure(figsize=(3, 1))
        fig.text(0.1, 0.5, text)
        return np.asarray(Image.open(io.BytesIO(fig.render()[1])).convert("L"))

    columns = {text: np.flatnonzero((ink(text) < 128).any(axis=0)) for text in ("$5 x $6", "€5 x €6", "5x6")}
    assert abs(np.ptp(columns["$5 x $6"]) - np.ptp(columns["€5 x €6"])) <= 2
    assert np.ptp(columns["$5 x $6"]) > 1.5 * np.ptp(columns["5x6"])  # what mathematics would leave of it


def test_no_font_is_complained_of(caplog):
    fig = new_figure(figsize=(2, 2))
    for row, weight in enumerate(("normal", "bold", 400, 700, "light")):
        fig.text(0.1, row / 5, "words", weight=weight, style="italic")
    fig.render()
    assert [record.message for record in caplog.records if "Last Resort" in record.message] == []


def test_powers_of_ten_stay_powers():
    fig = new_figure()
    ax = fig.subplots()
    ax.plot([1, 2], [1, 1e6])
    ax.set_yscale("log")
    fig.render()
    shown = [label for label in ax.get_yticklabels() if label.get_text()]
    assert shown and all(label.get_parse_math() and "10^" in label.get_text() for label in shown)
    assert not ax.title.get_parse_math()


@pytest.mark.parametrize("text", WORDS)
def test_on_axes_of_their_own_too(text):
    """A learner's own Matplotlib figure, into which our functions draw."""
    fig, axes = plt.subplots(2, 3)
    try:
        plot_picture(picture(), text, ax=axes[0, 0])
        plot_map(torch.eye(2), text, ax=axes[0, 1])
        plot_matrix(torch.eye(2), [text] * 2, [text] * 2, ax=axes[0, 2])
        plot_curves({text: ([1, 2], [1, 2]), "b": ([1], [1])}, text, text, ax=axes[1, 0])
        plot_heat(torch.eye(2), picture(), text, ax=axes[1, 1])
        plot_histogram(torch.randn(9), text, ax=axes[1, 2])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fig.savefig(io.BytesIO(), dpi=40)
    finally:
        plt.close(fig)


@pytest.mark.parametrize("mode", ["L", "1", "RGBA", "I;16", "F", "P", "CMYK"])
def test_pictures_are_drawn_in_their_own_colours(mode):
    shown = plot_picture(Image.new(mode, (4, 3))).images[0].get_array()
    white = mode == "RGBA" or mode == "CMYK"  # see-through, and no ink
    assert shown.shape == (3, 4, 3) and (np.asarray(shown) == (255 if white else 0)).all()


def test_a_projectors_figures_are_larger(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: shown.append(metadata))
    for scale in (None, "1.5"):
        if scale:
            monkeypatch.setenv("SDLESSON_FIGURE_SCALE", scale)
        figure_pictures([Image.new("RGB", (8, 8))], inches=2)._ipython_display_()
    plain, large = (about["image/jpeg"] for about in shown)
    assert (plain["width"], large["width"]) == (144, 216)


@pytest.mark.parametrize("text, count", [("2023", 4), ("half-moon", 3), ("", 0)])
def test_a_wall_of_merges_shows_one_whole_word(toy, text, count):
    with pytest.raises(BadInput, match=f"one word, and '{text}' is {count} words"):
        figure_merges(toy.tokenizer, ["horse", text])


def test_curves_beyond_five_are_drawn_too():
    ax = plot_curves({str(number): ([1, 2], [number, 1]) for number in range(12)}, "step", "size", joined=False)
    looks = {(line.get_color(), line.get_marker()) for line in ax.lines}
    assert len(ax.lines) == len(looks) == 12


LONG = "a photograph of an old astronaut who is riding a horse over the moon, in the soft light of the earth " * 2


def inside(fig, texts):
    """Whether all these texts of a figure lie inside of it, and no two of them upon each other."""
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    apart = not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    return apart and all(fig.bbox.x0 <= each.x0 and each.x1 <= fig.bbox.x1 and each.y1 <= fig.bbox.y1 for each in boxes)


def test_long_titles_of_pictures_have_lines():
    fig = figure_pictures([picture()] * 3, [LONG, "a photograph of an astronaut riding a horse", LONG])
    assert inside(fig, [ax.title for ax in fig.axes]) and fig.words.count(LONG) == 2
    assert figure_pictures([picture()], ["the empty prompt"]).axes[0].get_title() == "the empty prompt"


def test_long_texts_leave_a_table_and_a_legend_their_room(toy):
    fit = figure_fit(torch.eye(2), [picture()] * 2, [LONG, "short"])
    fit.draw_without_rendering()
    assert fit.axes[-1].get_position().width > 0.4
    mixture = figure_mixture([picture()] * 2, [0, 1], torch.eye(2), [LONG, LONG + "!"])
    assert inside(mixture, mixture.axes[-1].get_legend().get_texts())
    trace = figure_trace(guidance.record(toy, LONG[:150], num_inference_steps=2))
    assert inside(trace, [trace._suptitle])


def test_the_pieces_of_a_long_text_stand_in_several_rows(toy):
    fig = figure_pieces(toy.tokenizer, {"long": LONG, "word": "horse"})
    ax = fig.axes[0]
    assert max(ax.get_xlim()) < 60 and len({round(bar.get_y(), 2) for bar in ax.patches}) > 5
    first, last = (tick for tick in ax.get_yticks())
    assert last - first > 2 and inside(fig, ax.texts[-2:])


def test_long_prompts_of_a_sweep_stay_apart():
    prompts = [f"a photograph of an astronaut riding a {mount}" for mount in ("horse", "cow")]
    found = [{"prompt": each, "steps": n, "mean": 0.5, "high": 0.6, "pictures": 5} for each in prompts for n in (5, 9)]
    fig = figure_scores(found, "prompt", "steps")
    labels = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert len(set(labels)) == 2 and max(map(len, labels)) <= 28 and inside(fig, [fig.axes[0].title])
    alike = [f"a photograph of an astronaut riding a {mount} over the moon and beyond" for mount in ("horse", "cow")]
    sheet = figure_contact_sheet({}, alike, [1], names=("prompt", "scale"))
    assert len({label.get_text() for label in sheet.axes[0].get_yticklabels()}) == 2
    assert all(each in sheet.words for each in alike)


def test_titles_with_commas_and_sizes_that_differ_are_told_apart():
    rows = figure_rows({"row": [torch.eye(2)] * 2}, ["duck, beach", "horse, moon"])
    assert rows.words.startswith("Columns: duck, beach; horse, moon. Rows: ")
    sizes = [Image.new("RGB", size) for size in ((64, 64), (128, 64), (64, 64))]
    assert figure_pictures(sizes).words == "3 pictures, 64 by 64 and 128 by 64 pixels."


def test_a_name_has_one_look_in_all_panels():
    a, b, c = ([1, 2], [3, 4]), ([1, 2], [4, 3]), ([1, 2], [5, 5])
    fig = figure_curves({"one": {"a": a, "b": b}, "two": {"b": b, "a": a}, "three": {"c": c, "b": b}}, "x", "y")
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in fig.axes]
    assert colours[0] == colours[1] and colours[2]["b"] == colours[0]["b"] != colours[2]["c"]
    assert [ax.get_legend() is not None for ax in fig.axes] == [True, False, True]


def test_joined_curves_beyond_five_are_told_apart_by_their_marks():
    ax = plot_curves({str(number): ([1, 2], [number, 1]) for number in range(7)}, "step", "size")
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 7


def test_a_picture_without_a_title_is_told():
    with pytest.raises(BadInput, match="There are 2 pictures and 1 titles"):
        figure_pictures([Image.new("RGB", (8, 8))] * 2, ["one"])
