"""The figures say what they show: titles, labels and colours belong to the data under them."""

from types import SimpleNamespace

import matplotlib.patches
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

import sdlesson
from sdlesson.figures.base import BLUE, GREEN, INK, ORANGE, PALE, SEQUENTIAL


def grey(level, size=(8, 8)):
    return Image.new("RGB", size, (level, level, level))


def shown(ax, number=0):
    return np.asarray(ax.images[number].get_array())


def labels(ticks):
    return [each.get_text() for each in ticks]


def curves(ax):
    return {line.get_label(): list(map(float, line.get_ydata())) for line in ax.lines}


def test_onepage_the_way_has_the_maps_above_and_the_pictures_below():
    from sdlesson.figures.onepage import figure_way

    noisy = torch.arange(2 * 4 * 8 * 8.0).view(2, 4, 8, 8)
    axes = figure_way(noisy, [grey(9), grey(99)], [14.0, 0.5], [0, 9]).axes
    assert [ax.get_ylabel().split("\n")[0] for ax in axes[::2]] == ["what the loop holds", "what the UNet expects"]
    for ax, latents in zip(axes[:2], noisy, strict=True):
        np.testing.assert_array_equal(shown(ax), latents[0])  # "latents, channel 0"
    assert [int(shown(ax)[0, 0, 0]) for ax in axes[2:]] == [9, 99]


def test_onepage_the_map_says_what_each_arrow_carries(toy):
    from sdlesson.figures.onepage import figure_machine

    ax = figure_machine(toy, steps=7).axes[0]
    texts = {" ".join(text.get_text().split()) for text in ax.texts}
    assert {"ids 2 × 77", "embeddings 2 × 77 × 24", "latents, twice ÷ √(σ² + 1) 2 × 4 × 6 × 6"} <= texts
    assert {"7 times", "× σ max", "÷ scaling, VAE decoder", "two guesses 2 × 4 × 6 × 6"} <= texts
    ways = [tuple(each._posA_posB) for each in ax.patches if isinstance(each, matplotlib.patches.FancyArrowPatch)]
    assert ((68.5, 10), (68.5, 5.5)) in ways  # from guidance down to the scheduler


def test_embeddings_upper_map_is_the_empty_prompts():
    from sdlesson.figures.embeddings import figure_embeddings

    vectors = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
    empty, first, prompt, _ = figure_embeddings(vectors, words=5, numbers=6).axes
    for ax, values, name, end in ((empty, vectors[0], "empty prompt", 1), (prompt, vectors[1], "prompt", 5)):
        np.testing.assert_array_equal(shown(ax), values[:, :6].T)
        assert ax.get_title().startswith(f"{name}: its end mark stands at position {end} ")
        assert list(ax.lines[0].get_xdata()) == [end - 0.5] * 2  # before the end mark
    assert labels(first.get_xticklabels()) == ["empty", "prompt"] * 3


def test_embeddings_heads_rows_and_panels_are_named():
    from sdlesson.figures.embeddings import figure_heads, figure_sum

    fig = figure_heads(torch.rand(2, 3, 3).tril(), ["start", "a", "horse"])
    assert [ax.get_title() for ax in fig.axes[:2]] == ["head 0", "head 1"]
    assert (fig.axes[0].get_ylabel(), fig.axes[0].get_xlabel()) == ("this token …", "… takes its share from")
    assert fig.axes[-1].get_ylabel() == "share (a row sums to 1)"
    tokens = torch.rand(3, 8)
    titles = [ax.get_title() for ax in figure_sum(tokens, 2 * tokens, ["a", "b", "c"]).axes[:3]]
    assert titles == ["token vectors", "+ position vectors", "= what the first layer reads"]


def test_embeddings_pictures_stand_above_their_own_scores():
    from sdlesson.figures.embeddings import figure_captions, figure_cosines, figure_fit, figure_mixture

    pictures, scores = [grey(10), grey(90)], torch.tensor([[0.9, 0.1], [0.5, 0.2]])
    fit = figure_fit(scores, pictures, ["a", "b"])
    assert [int(shown(ax)[0, 0, 0]) for ax in fig_pictures(fit)] == [10, 90]
    assert labels(fit.axes[-1].get_yticklabels()) == ["a", "b"]
    mixture = figure_mixture(pictures, [0, 1], scores, ["a", "b"])
    assert [ax.get_title() for ax in fig_pictures(mixture)] == ["0", "1"]
    assert [int(shown(ax)[0, 0, 0]) for ax in fig_pictures(mixture)] == [10, 90]
    curve = mixture.axes[-1]
    assert (curve.get_xlabel(), labels(curve.get_xticklabels())) == ("weight of the second prompt", ["0", "1"])
    table = figure_cosines({"one": (scores, ["x", "y"])}).axes[0]
    assert (labels(table.get_xticklabels()), labels(table.get_yticklabels())) == (["0", "1"], ["x  0", "y  1"])
    rows = figure_captions(torch.rand(2, 2), {"by style": ["a", "b"], "by mount": ["c", "d"]}).axes
    assert [ax.get_ylabel() for ax in rows] == ["by style", "", "by mount", ""]


def fig_pictures(fig):
    return [ax for ax in fig.axes if ax.images and shown(ax).ndim == 3]


def test_decoding_a_traces_curves_and_rows_are_what_they_are_called(toy):
    from sdlesson.figures.decoding import figure_trace
    from sdlesson.guidance import record

    steps = (trace := record(toy, "moon", num_inference_steps=3)).steps
    left, right, *maps = figure_trace(trace, columns=3).axes
    assert curves(left) == {
        "σ": [step.sigma for step in steps],
        "std of the latents": pytest.approx([float(step.noisy.std()) for step in steps]),
    }
    (line,) = right.lines
    assert list(line.get_ydata()) == pytest.approx([float(step.pred_original.std()) for step in steps])
    assert right.get_ylabel() == "std of the\nexpected picture's latents"
    assert [ax.get_ylabel() for ax in maps[::3]] == ["latents before\nthe step", "expected picture"]
    np.testing.assert_allclose(shown(maps[0]), steps[0].noisy[0, 0] / steps[0].noisy.std(), rtol=1e-6)


def test_decoding_the_changed_square_is_framed_and_bars_are_coloured():
    from sdlesson.figures.decoding import figure_clipping, figure_reach, figure_stages, plot_amounts

    before = torch.zeros(1, 3, 32, 32)
    (after := before.clone())[:, :, 8:16, 16:24] = 0.1
    left, right = figure_reach(before, after, (1, 2), 8).axes[:2]
    frame = left.lines[0].get_xydata()
    assert (frame.min(axis=0).tolist(), frame.max(axis=0).tolist()) == ([15.5, 7.5], [23.5, 15.5])  # column, row
    assert [line.get_ydata()[0] for line in right.lines if line.get_linestyle() == "--"] == [1]  # one level
    colours = [to_hex(bar.get_facecolor()) for bar in plot_amounts({"small": 2.0, "large": 5.0}, "").patches]
    assert colours == [BLUE, ORANGE]
    values = torch.zeros(1, 3, 10, 10)
    values[0, :, 0, :5], values[0, :, 9, :] = 3.0, -1.0
    fig = figure_clipping({"hot": values})
    assert fig.axes[0].get_ylabel() == "% of the values" and fig.axes[-1].get_ylabel() == "levels cut off"
    pale = shown(fig.axes[1])
    assert pale[0, 0] > pale[0, 9] > pale[9, 0]  # the picture as it is, upright: white, grey, black
    maps = torch.tensor([[[[1.0, 3.0], [0.0, 4.0]]]])
    assert figure_stages({"one": maps}).axes[0].get_xlabel() == "0.0 … 4.0"


def step_of(uncond, text, index=0):
    from sdlesson.guidance import Step

    return Step(index, 999.0, 14.6, uncond, uncond, text, text, uncond, uncond)


def test_guidance_arrows_axes_and_step():
    from sdlesson.figures.guidance import figure_guesses, plot_guesses

    uncond, text = torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1)
    uncond[0, 0], text[0, 1] = 2.0, 3.0
    ax = plot_guesses(step_of(uncond, text), [0, 1, 2])
    assert ax.get_xlabel().startswith("away from") and ax.get_ylabel().startswith("along")
    arrows = {tuple(np.round(a.xy, 6)): a for a in ax.texts if getattr(a, "arrow_patch", None)}
    assert {tip: to_hex(a.arrow_patch.get_edgecolor()) for tip, a in arrows.items()} == {
        (0, 2): INK,  # 0: the guess without words, upwards
        (3, 0): BLUE,
        (6, -2): ORANGE,
    }
    assert all(tuple(a.xyann) == (0, 0) and a.arrowprops["arrowstyle"] == "-|>" for a in arrows.values())
    below = [a.xy for a in plot_guesses(step_of(uncond, text), [-1]).texts if getattr(a, "arrow_patch", None)]
    np.testing.assert_allclose(below, [(-3, 4)])
    steps = [step_of(uncond, uncond), step_of(uncond, text, 1)]
    plane, _, angle = figure_guesses(steps, 1, [1]).axes
    assert (3, 0) in {tuple(np.round(a.xy, 6)) for a in plane.texts if getattr(a, "arrow_patch", None)}
    assert angle.get_ylabel() == "angle between the\ntwo guesses (°)"


def test_steering_names_the_ways_and_covers_the_free_squares():
    from sdlesson.figures.steering import figure_entries, figure_mask, figure_mixes, plot_mask
    from sdlesson.steering import lerp, slerp

    one, other = 2 * torch.eye(2)[0].view(1, 2, 1, 1), 3 * torch.eye(2)[1].view(1, 2, 1, 1)
    left, right = figure_mixes(one, other, [0, 0.25, 1]).axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("along the first noise", "away from it")
    marks = {line.get_label(): line.get_xydata() for line in left.lines if line.get_linestyle() == "None"}
    for mix in (slerp, lerp):
        place = [mix(one, other, t).flatten().tolist() for t in (0, 0.25, 1)]
        np.testing.assert_allclose(marks[mix.__name__], place, atol=1e-6)
        lengths = [float(mix(one, other, t).norm()) for t in (0, 0.25, 1)]
        assert curves(right)[mix.__name__] == pytest.approx(lengths)
    looks = [
        {line.get_label(): line.get_color() for line in ax.lines if line.get_label() in ("lerp", "slerp")}
        for ax in (left, right)
    ]
    assert looks[0] == looks[1]  # one colour for a way, in both panels
    assert (right.get_xlabel(), right.get_ylabel()) == ("share of the second", "length of the arrow")
    free = torch.zeros(2, 3, dtype=torch.bool)
    free[0, 2] = True  # above, on the right
    cover = plot_mask(grey(9, (24, 16)), free).collections[0]
    corners = cover.get_coordinates()
    (lit,) = np.argwhere(np.isfinite(np.ma.filled(cover.get_array().astype(float), np.nan)).reshape(free.shape))
    assert corners[lit[0], lit[1]].tolist() == [15.5, -0.5] and corners[lit[0] + 1, lit[1] + 1].tolist() == [23.5, 7.5]
    titles = [ax.get_title() for ax in figure_mask(grey(9, (16, 16)), torch.ones(16, 16, dtype=torch.bool)).axes]
    assert titles == ["the mask in pixels", "the mask in latent squares"]
    scheduler = SimpleNamespace(sigmas=torch.tensor([4.0, 1.0, 0.0]), order=1)
    ax = figure_entries(scheduler, [1]).axes[0]
    assert ax.get_ylabel() == "noise level σ" and ax.get_xlabel().startswith("step")


def test_sigmas_titles_labels_and_lines():
    from sdlesson.figures import sigmas as figures

    ax = figures.plot_sigmas([2.0, 1.0, 0.0])
    assert ax.get_xlabel() == "step" and ax.get_ylabel().startswith("noise level σ")
    recipe = figures.figure_recipe([0.1, 0.2], [0.9, 0.7], [0.3, 0.6]).axes
    assert all(ax.get_title().startswith(sign) for ax, sign in zip(recipe, ("β", "ᾱ", "σ"), strict=True))
    told = curves(figures.figure_input_scaling([10, 1], [10.05, 1.4], [1.0, 0.9]).axes[0])
    assert told["latents, as the loop holds them"] == [10.05, 1.4]
    assert told["divided by √(σ² + 1): what the UNet sees"] == [1.0, 0.9]
    ax = figures.figure_schedules({"one": np.array([0.1, 2.0])}).axes[0]
    assert list(ax.lines[-1].get_ydata()) == [1, 1] and ax.texts[0].get_position()[1] < 1
    near = figures.figure_timesteps(np.linspace(0.1, 14, 1000), [999.0, 900.5], [14.0, 12.6]).axes[1]
    assert near.lines[-1].get_xydata().tolist() == [[900.5, 12.6]]
    ax = figures.figure_errors({"order 1": {5: 0.2, 10: 0.1}}).axes[0]
    assert curves(ax)["order 1"] == [0.2, 0.1]


def test_sigmas_the_basis_names_each_polynomial_and_eulers_line():
    from sdlesson.figures.sigmas import figure_basis, figure_coefficients

    levels, slopes = sdlesson.sigmas.schedule(20), [0.5, -0.25, 1.0, 0.75]
    left, right = figure_basis(levels, 6, slopes).axes
    by_name = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert list(by_name) == ["now", "1 step ago", "2 steps ago", "3 steps ago"]
    for k, line in enumerate(by_name.values()):
        at = np.interp(levels[6 - np.arange(4)], line.get_xdata(), line.get_ydata())
        np.testing.assert_allclose(at, np.eye(4)[k], atol=0.05)  # 1 at its own sigma, 0 at the others
    assert curves(right)["the last slope (Euler)"] == [0.5, 0.5]
    assert right.get_ylabel() == "slope dx/dσ" and left.xaxis_inverted() and right.xaxis_inverted()
    ax = figure_coefficients(levels, 4).axes[0]
    names = {text.get_text(): to_hex(handle.patches[0].get_facecolor()) for text, handle in zip(
        ax.get_legend().get_texts(), ax.containers, strict=True)}  # fmt: skip
    same = {line.get_label(): to_hex(line.get_color()) for line in by_name.values()}
    assert {name.removeprefix("slope "): colour for name, colour in names.items()} == same  # one colour in both


def test_samplers_rows_titles_and_axes():
    from sdlesson.figures.samplers import figure_errors, figure_levels

    ax = figure_levels({"first": [3.0, 1.0, 0.0], "second": [2.0]}).axes[0]
    assert ax.xaxis_inverted()  # falling to the right
    place = dict(zip(labels(ax.get_yticklabels()), ax.get_yticks(), strict=True))
    rows = {float(line.get_ydata()[0]): list(line.get_xdata()) for line in ax.lines}
    assert {name: rows[y] for name, y in place.items()} == {"first": [3, 1], "second": [2]}
    panels = {"by steps": ("number of steps", {"a": {5: 0.1}}), "by calls": ("calls", {"a": {5: 0.1}})}
    found = [(ax.get_title(), ax.get_xlabel()) for ax in figure_errors(panels).axes]
    assert found == [("by steps", "number of steps"), ("by calls", "calls")]


def test_latents_before_and_after_are_not_exchanged():
    from sdlesson.figures.latents import figure_latents, figure_round_trip, plot_histogram

    before = grey(100, (64, 48))
    (after := before.copy()).paste((160, 160, 160), (24, 36, 36, 48))
    axes = {ax.get_title(): ax for ax in figure_round_trip(before, after).axes}
    assert [int(shown(axes[name])[40, 30, 0]) for name in ("the picture", "encoded and decoded")] == [100, 160]
    assert [int(shown(axes[name]).min()) for name in ("before", "after")] == [100, 160]  # the framed part alone
    titles = [ax.get_title() for ax in figure_latents(torch.zeros(1, 3, 2, 2)).axes[:3]]
    assert titles == ["channel 0", "channel 1", "channel 2"]
    line = plot_histogram(torch.zeros(9)).lines[0]
    assert np.interp(1, *line.get_data()) == pytest.approx(0.24197, abs=1e-3)  # the Gaussian of std 1


def test_attention_each_map_lies_on_its_own_picture():
    from sdlesson.figures.attention import figure_heat, figure_table

    heat = torch.eye(4)
    masks = [np.zeros((8, 8), dtype=bool) for _ in range(2)]
    masks[0][:2, :2], masks[1][4:, 4:] = True, True
    a, b = figure_heat({"a": heat, "b": heat}, [grey(10), grey(90)], masks=masks).axes[:2]
    assert [int(shown(ax)[0, 0]) for ax in (a, b)] == [10, 90]
    assert [bool(ax.collections[0].get_paths()[0].vertices.mean() > 3) for ax in (a, b)] == [False, True]
    assert {ax.images[1].get_cmap().name for ax in (a, b)} == {SEQUENTIAL}  # yellow is hot
    assert figure_table(torch.tensor([[0.5, 0.9]]), ["r"], ["a", "b"]).axes[0].images[0].get_clim() == pytest.approx(
        (0, 0.9)
    )


def test_unet_boxes_lie_lower_where_maps_are_smaller_and_arrows_point_on():
    from sdlesson.figures.unet import figure_shares, figure_stages

    shapes = {"conv_in": (8, 6, 6), "down_blocks.0": (8, 3, 3), "down_blocks.1": (16, 3, 3), "mid_block": (16, 3, 3)}
    shapes |= {"up_blocks.0": (16, 6, 6), "up_blocks.1": (8, 6, 6), "conv_out": (4, 6, 6)}
    ax = figure_stages(shapes, {(6, 6): 1, (3, 3): 2}).axes[0]
    boxes = [each for each in ax.patches if isinstance(each, matplotlib.patches.FancyBboxPatch)]
    colours = [to_hex(each.get_facecolor()) for each in boxes]
    assert colours == [BLUE] * 3 + [GREEN] + [ORANGE] * 3  # down, middle, up
    low = min(each.get_y() for each in boxes)
    assert [each.get_y() == low for each in boxes] == [False, False, True, True, True, False, False]  # gets 3 × 3
    arrows = [each for each in ax.patches if isinstance(each, matplotlib.patches.FancyArrowPatch)]
    assert len(arrows) == 6 + 2 and all(a[0] < b[0] for a, b in (each._posA_posB for each in arrows))
    assert {each.get_arrowstyle().arrow for each in arrows} == {"-|>"}
    fig = figure_shares({"a": [{"conv_in": 1, "mid_block": 3}, {"conv_in": 2, "mid_block": 2}]}, ["parameters", "work"])
    assert [(ax.get_title(), ax.get_xlabel()) for ax in fig.axes] == [
        ("a: parameters", "percent"),
        ("a: work", "percent"),
    ]


def test_sweeps_each_picture_stands_in_its_row_and_column():
    from sdlesson.figures.sweeps import figure_contact_sheet, figure_scores

    sheet = figure_contact_sheet(
        {(5, 1): grey(10, (128, 128)), (9, 2): grey(90, (128, 128))}, [5, 9], [1, 2], names=("steps", "seed")
    )
    (ax,) = sheet.axes
    assert shown(ax)[::128, ::128, 0].tolist() == [[10, 255], [255, 90]]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("steps", "seed")
    assert (labels(ax.get_yticklabels()), labels(ax.get_xticklabels())) == (["5", "9"], ["1", "2"])
    found = [{"prompt": p, "guidance_scale": g, "mean": 0.1 * k, "high": 0.1 * k + 0.01 * k, "pictures": 5}
             for k, (p, g) in enumerate([("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)])]  # fmt: skip
    ax = figure_scores(found, "prompt", "guidance_scale").axes[0]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("prompt", "guidance scale")
    assert labels(ax.texts) == [f"{0.1 * k:.3f}\n±{0.01 * k:.3f}" for k in range(6)]


def test_symptoms_orange_is_above_the_healthy_one(toy):
    from sdlesson.figures.symptoms import figure_chart
    from sdlesson.symptoms import fall_ill, short, signs

    patients = {
        "healthy": fall_ill(toy, "moon", seeds=[1, 2]),
        "sick": fall_ill(toy, "moon", "input not scaled", seeds=[1, 2]),
    }
    fig = figure_chart(patients)
    ax, bar = fig.axes
    fig.draw_without_rendering()
    image, names = ax.images[0], list(signs(patients["healthy"]))
    column = names.index("input, first")
    assert signs(patients["sick"])["input, first"] > 2 * signs(patients["healthy"])["input, first"]
    red, _, blue, _ = image.to_rgba(image.get_array())[1, column]
    assert red > blue  # orange, not violet
    told = dict(zip(labels(bar.get_yticklabels()), bar.get_yticks(), strict=True))
    assert (told["⅛"], told["1"], told["8"]) == (-3, 0, 3)
    assert labels(ax.texts) == [short(value) for each in patients.values() for value in signs(each).values()]


def test_fullsize_columns_stand_on_each_other_and_have_their_names_colours():
    from sdlesson.figures.fullsize import figure_bars, figure_memory

    ax = figure_memory({"one": {"libraries": 0.5, "text_encoder": 1.0, "unet": 3.0}}).axes[0]
    assert ax.get_ylabel() == "GiB"
    assert [(bar.get_y(), bar.get_height(), to_hex(bar.get_facecolor())) for bar in ax.patches] == [
        (0, 0.5, PALE), (0.5, 1.0, BLUE), (1.5, 3.0, ORANGE),
    ]  # fmt: skip
    assert labels(ax.get_legend().get_texts()) == ["UNet", "text encoder", "libraries"]  # as they are stacked
    bars = figure_bars({"a": 1.0, "b-": 2.0}, "ms").axes[0].patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [ORANGE, BLUE]


def test_tokens_the_new_piece_is_lit_and_names_stand_beside_their_rows(toy):
    from sdlesson.figures.tokens import figure_learning, figure_merges, figure_pieces, plot_places
    from sdlesson.tokens import count_pairs, merge_ranks, merge_steps

    ranks = merge_ranks(toy.tokenizer)
    steps = merge_steps("horse", ranks)
    ax = figure_merges(toy.tokenizer, ["horse"]).axes[0]
    bricks = [(part, pair is not None and part == "".join(pair)) for pair, parts in steps for part in parts]
    lit = [to_hex(each.get_facecolor()) == ORANGE for each in ax.patches]
    assert lit == [new for _, new in bricks]
    assert labels(ax.get_yticklabels())[1:] == [f"{ranks[pair]}:  {pair[0]} + {pair[1]}" for pair, _ in steps[1:]]
    ends = figure_pieces(toy.tokenizer, {"one": "a horse", "two": "🐎"}).axes[0].texts[-2:]
    assert labels(ends) == ["7 bytes, 2 pieces", "4 bytes, 4 pieces"]
    boxes = plot_places(["start", "word", "end", "cut"], length=3).patches
    assert sorted(round(float(each.get_x() + each.get_width() / 2), 6) for each in boxes) == [
        0.43,
        1.43,
        2.43,
        5.43,
    ]  # a gap before what is cut
    fig = figure_learning([count_pairs({("o", "n</w>"): 3, ("m", "o"): 1})])
    assert fig.get_supxlabel() == "how often the pair occurs" and fig.axes[0].yaxis_inverted()


def test_training_points_stand_at_the_end_of_their_window_and_scales_stay_in_their_row():
    from sdlesson.figures.training import figure_batch, figure_progress

    (line,) = (ax := figure_progress({"a": [1.0] * 10 + [0.2] * 5}).axes[0]).lines
    np.testing.assert_allclose(line.get_xydata(), [[10, 1.0], [15, 0.2]])
    assert ax.get_ylabel() == "loss (mean of 10 steps)"
    rows = {"first": [9 * torch.ones(2, 2)] * 2, "a": [torch.ones(2, 2)] * 2, "b": [-3 * torch.ones(2, 2)] * 2}
    fig = figure_batch(rows, ["x", "y"], ["a", "b"])
    assert [ax.images[0].get_clim()[1] for ax in fig.axes[:9] if ax.images] == [9, 9, 3, 3, 3, 3]


def test_puzzle_yours_is_what_the_function_gave():
    from sdlesson.figures.puzzle import figure_puzzle

    fig = figure_puzzle({"x": torch.tensor([100.0, 0.0])}, [20.0, 4.0], [7.0, 5.0])
    panels = {ax.get_title(loc="left"): ax for ax in fig.axes}
    assert {name: labels(ax.texts) for name, ax in panels.items()} == {
        "x": ["100", "0"], "wanted": ["20", "4"], "yours": ["7", "5"],
    }  # fmt: skip
    assert panels["wanted"].images[0].get_clim()[1] == 100  # one scale for all
