"""The UNet's room: against diffusers and PyTorch, layer by layer; its figures, its explorer, its judges."""

from __future__ import annotations

import math
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch.nn.functional import conv2d
from torch.nn.functional import group_norm as torchs_group_norm

from sdlesson import exercises, notebook_name
from sdlesson.explorers.unet import explore_unet
from sdlesson.figures.base import figure_curves
from sdlesson.figures.unet import figure_shares, figure_stages
from sdlesson.fullsize import empty_parts
from sdlesson.guidance import record
from sdlesson.loading.errors import BadInput
from sdlesson.unet import (
    change_skips,
    convolve,
    cut_skips,
    empty_copy,
    group_norm,
    halvings,
    kept_bytes,
    operations,
    predict,
    reach,
    record_maps,
    residual_block,
    sinusoids,
    skip_names,
    stages,
    time_vector,
    weigh,
)


@pytest.fixture(scope="module")
def big():
    return empty_parts("v1.4")["unet"]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(sd, batch=1):
    side, dim = sd.unet.config.sample_size, sd.unet.config.cross_attention_dim
    return drawn(batch, sd.unet.config.in_channels, side, side), drawn(batch, 77, dim, seed=1)


@torch.no_grad()
def guess(sd, timestep=500.0):
    latents, texts = inputs(sd)
    return predict(sd.unet, latents, timestep, texts)[0]


def hooks(unet):
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in unet.modules())


@pytest.mark.parametrize("model", ["toy", "tiny"])
def test_stages_are_the_way_of_the_data(model, request):
    sd = request.getfixturevalue(model)
    order = []
    parts = stages(sd.unet)
    seen = [part.register_forward_hook(lambda *_, name=name: order.append(name)) for name, part in parts.items()]
    before = guess(sd)
    for each in seen:
        each.remove()
    assert order == list(parts)
    with record_maps(parts) as maps:
        assert guess(sd).equal(before)
    assert maps["conv_out"][0].equal(before) and {name: len(kept) for name, kept in maps.items()} == dict.fromkeys(
        parts, 1
    )
    assert all(kept[0].dtype == torch.float32 and kept[0].device.type == "cpu" for kept in maps.values())


def test_no_hook_stays_not_even_after_an_error(toy):
    before, untouched = hooks(toy.unet), guess(toy)
    for context in (
        record_maps(stages(toy.unet)),
        cut_skips(toy.unet),
        change_skips(toy.unet, lambda skip, _: 2 * skip),
    ):
        with pytest.raises(RuntimeError, match="on purpose"), context:
            assert hooks(toy.unet) > before
            raise RuntimeError("on purpose")
        assert hooks(toy.unet) == before
    assert guess(toy).equal(untouched)


def test_maps_kept_in_inference_mode_are_ordinary_tensors(toy):
    with torch.inference_mode(), record_maps(stages(toy.unet)) as maps:
        guess(toy)
    assert not maps["mid_block"][0].is_inference()


@pytest.mark.parametrize("model", ["toy", "tiny", "v1.4"])
def test_skips_are_named_in_the_order_in_which_the_way_up_gets_them(model, request, big):
    unet = big if model == "v1.4" else empty_copy(request.getfixturevalue(model).unet)
    names, layers, got = skip_names(unet), dict(unet.named_modules()), {}
    assert len(names) == sum(len(block.resnets) for block in unet.up_blocks)
    side, dim = unet.config.sample_size, unet.config.cross_attention_dim
    x, texts = (torch.empty(1, *shape, device="meta") for shape in ((4, side, side), (77, dim)))
    noting = change_skips(unet, lambda skip, number: got.setdefault(number, skip))
    with torch.no_grad(), noting, record_maps({name: layers[name] for name in names}) as kept:
        unet(x, torch.tensor(0, device="meta"), encoder_hidden_states=texts)
    assert sorted(got) == list(range(len(names)))
    assert [tuple(got[k].shape) for k in range(len(names))] == [tuple(kept[name][0].shape) for name in names]


def test_a_cut_skip_is_zero_and_the_others_are_whole(toy):
    names, layers, seen = skip_names(toy.unet), dict(toy.unet.named_modules()), {}

    def look(skip, number):
        seen[number] = skip.clone()
        return skip

    recording = record_maps({name: layers[name] for name in names})
    with recording as kept, cut_skips(toy.unet, [1]), change_skips(toy.unet, look):  # hooks run in this order
        cut = guess(toy)
    assert not seen[1].any() and all(seen[k].equal(kept[names[k]][0]) for k in seen if k != 1)
    assert not torch.allclose(cut, guess(toy))
    with cut_skips(toy.unet, []):
        assert guess(toy).equal(guess(toy))
    seen.clear()
    with cut_skips(toy.unet), change_skips(toy.unet, look):
        guess(toy)
    assert len(seen) == len(names) and not any(skip.any() for skip in seen.values())


@pytest.mark.parametrize("number", [-1, 99, 0.5, "0"])
def test_a_skip_that_is_not_there_is_named(toy, number):
    with pytest.raises(BadInput, match="skip"):
        cut_skips(toy.unet, [number])


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_convolution_is_pytorchs(side):
    x, weight, bias = drawn(2, 3, 7, 5), drawn(4, 3, side, side, seed=1), drawn(4, seed=2)
    torch.testing.assert_close(convolve(x, weight, bias), conv2d(x, weight, bias, padding=side // 2))
    torch.testing.assert_close(convolve(x, weight), conv2d(x, weight, padding=side // 2))


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 3, 3, 5), (4, 2, 3, 3), (3, 3)])
def test_a_window_that_does_not_fit_is_refused(shape):
    with pytest.raises(BadInput, match="do not fit"):
        convolve(drawn(2, 3, 7, 5), torch.zeros(shape))


def test_group_norm_is_pytorchs_and_needs_groups_of_one_size():
    x = 5 * drawn(2, 6, 4, 3) + 2
    for groups in (1, 2, 3, 6):
        torch.testing.assert_close(group_norm(x, groups), torchs_group_norm(x, groups))
    assert group_norm(x.half(), 2).dtype == torch.float16
    with pytest.raises(BadInput, match="6 channels make no 4 groups"):
        group_norm(x, 4)
    with pytest.raises(BadInput, match="groups"):
        group_norm(x, 0)


@pytest.mark.parametrize("model", ["toy", "tiny"])
def test_every_residual_block_is_diffusers(model, request):
    sd = request.getfixturevalue(model)
    given = {}
    blocks = {name: each for name, each in sd.unet.named_modules() if type(each).__name__ == "ResnetBlock2D"}
    seen = [
        block.register_forward_hook(lambda _, taken, out, name=name: given.update({name: (*taken, out)}))
        for name, block in blocks.items()
    ]
    guess(sd)
    for each in seen:
        each.remove()
    assert len(given) == len(blocks) >= 7 and any(block.conv_shortcut is not None for block in blocks.values())
    for name, (x, time, out) in given.items():
        torch.testing.assert_close(time, time_vector(sd.unet, 500.0))
        with torch.no_grad():
            torch.testing.assert_close(residual_block(blocks[name], x, time), out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [16, 64, 320])
def test_sinusoids_are_diffusers(width):
    times = torch.tensor([0.0, 1.0, 37.5, 946.42, 999.0])
    peer = get_timestep_embedding(times, width, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(sinusoids(times, width), peer)
    assert sinusoids(7, width).shape == (1, width) and sinusoids(0, width)[0, : width // 2].eq(1).all()


def test_the_time_is_told_and_nothing_else_of_it_counts(toy):
    assert not torch.allclose(guess(toy, 10.0), guess(toy, 900.0))
    torch.testing.assert_close(guess(toy, 500), guess(toy, torch.tensor(500)))


def test_what_v1_4_weighs_computes_and_reaches(big):
    assert sum(weigh(big).values()) == 859_520_964
    work = operations(big, 64, 64)
    assert round(sum(work.values()) / 1e9) == 1607 and work["up_blocks.3"] == max(work.values())
    assert halvings(big) == 3 and reach(big) == {
        "conv_in": 3,
        "down_blocks.0": 13,
        "down_blocks.1": 33,
        "down_blocks.2": 73,
        "down_blocks.3": 137,
        "mid_block": 201,
    }


def test_all_parameters_are_counted(toy, tiny):
    for sd in (toy, tiny):
        assert sum(weigh(sd.unet).values()) == sum(each.numel() for each in sd.unet.parameters())
    assert operations(tiny.unet, 16, 16).keys() == weigh(tiny.unet).keys()


def test_reach_is_how_far_a_nudge_is_felt():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    sides = {"block_out_channels": (8, 8), "layers_per_block": 1, "cross_attention_dim": 8, "norm_num_groups": 1}
    kinds = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "attention_head_dim": 1}
    unet = UNet2DConditionModel(sample_size=32, **sides, **kinds).eval()
    for norm in [name for name, layer in unet.named_modules() if isinstance(layer, torch.nn.GroupNorm)]:
        unet.set_submodule(norm, torch.nn.Identity())  # norms look at the whole map
    x = torch.zeros(1, 4, 32, 32, requires_grad=True)
    first = unet.down_blocks[0](unet.conv_in(x), torch.zeros(1, 32))[0]  # half as large
    first[0, :, 8, 8].sum().backward()
    felt = x.grad.abs().sum(dim=(0, 1)).nonzero()
    assert int(felt[:, 0].max() - felt[:, 0].min()) + 1 == reach(unet)["down_blocks.0"] == 9


def test_what_gradients_would_keep_is_what_they_keep(tiny):
    weights = {each.untyped_storage().data_ptr() for each in tiny.unet.parameters()}
    kept, held = {}, []

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    latents, texts = inputs(tiny, batch=2)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tiny.unet(latents, 500, encoder_hidden_states=texts)
    measured = sum(size for place, size in kept.items() if place not in weights)
    assert kept_bytes(tiny.unet, 16, 16) == pytest.approx(measured, rel=0.01)
    with torch.no_grad():
        assert kept_bytes(tiny.unet, 16, 16) > 10**7  # the caller's mode does not matter


def test_the_stages_are_drawn_in_the_shape_of_a_u():
    shapes = {"conv_in": (8, 6, 6), "down_blocks.0": (8, 3, 3), "down_blocks.1": (16, 3, 3), "mid_block": (16, 3, 3)}
    shapes |= {"up_blocks.0": (16, 6, 6), "up_blocks.1": (8, 6, 6), "conv_out": (4, 6, 6)}
    fig = figure_stages(shapes, {(6, 6): 1, (3, 3): 2})
    texts = [text.get_text() for text in fig.axes[0].texts]
    at = {text.get_text(): text.get_position()[0] for text in fig.axes[0].texts}
    for skips, down, up in (("1 skip", "down 0", "up 1"), ("2 skips", "down 1", "up 0")):
        assert at[skips] == (at[down] + at[up]) / 2  # a skip joins the stage that gets a map of its size
    assert {"16\n3 × 3", "1 skip", "2 skips", "middle", "conv out"} <= set(texts)
    assert "mid_block gives 16 × 3 × 3" in fig.words and "2 of 3 × 3" in fig.words
    assert "Broken" not in figure_stages(shapes, {}).words


def test_shares_add_up_to_a_hundred():
    fig = figure_shares({"a": [{"conv_in": 1, "mid_block": 3}, {"conv_in": 2, "mid_block": 2}]}, ["parameters", "work"])
    widths = [[bar.get_width() for bar in ax.patches] for ax in fig.axes]
    assert widths == [[25, 75], [50, 50]] and "a, parameters: most in middle, 75 percent" in fig.words


@pytest.fixture(scope="module")
def recorded(toy):
    with record_maps(stages(toy.unet)) as maps:
        run = record(toy, ["a horse", "the moon"], num_inference_steps=3, guidance_scale=2)
    return run, maps


def test_the_explorer_shows_what_was_recorded_and_asks_again_when_a_skip_is_cut(toy, recorded):
    run, maps = recorded
    explorer = explore_unet(toy, run, maps)
    stage, step, cut = (explorer.knobs[name] for name in ("stage", "step", "cut"))
    assert f"{len(maps)} stages at 3 steps of “a horse”" in repr(explorer)
    assert "up_blocks.0, step 1 of 0 to 2, all skips whole" in explorer.page.value
    stage.value, step.value = "conv_out", 2
    first = maps["conv_out"][2][2]  # rows: two negative prompts, then the first prompt
    assert f"up to ±{first.abs().max():.2f}" in explorer.page.value
    whole = explorer.page.value
    cut.value = tuple(range(len(skip_names(toy.unet))))
    assert "without the 4 skips" in explorer.page.value and explorer.page.value != whole and not explorer.said.value
    cut.value = (0,)
    assert "without the skip from conv_in" in explorer.page.value
    cut.value = ()
    assert explorer.page.value == whole and hooks(toy.unet) == 0


def test_the_explorers_call_at_recorded_latents_is_the_recorded_one(toy, recorded):
    from sdlesson.explorers.unet import _without

    run, maps = recorded
    found, picture = _without(toy, run, 1, ())
    for stage, kept in found.items():
        torch.testing.assert_close(kept, maps[stage][1][2], rtol=1e-3, atol=1e-3)
    assert picture.size == (toy.size[1], toy.size[0])


def test_the_explorer_refuses_maps_of_another_run(toy, recorded):
    run, maps = recorded
    with pytest.raises(BadInput, match="The run has 3 steps"):
        explore_unet(toy, run, {name: kept[:2] for name, kept in maps.items()})
    with pytest.raises(BadInput, match="The run has 3 steps"):
        explore_unet(toy, run, {"conv_in": maps["conv_in"]})


# The judges: right answers in every form, and each mistake with its own hint.


def right(told):
    return "well done" in told


def hint_of(said, *args, **facts):
    """What is said when a mistake is made for the first time."""
    exercises._tries.clear()
    return said(*args, **facts)


def test_the_shape_of_the_middle(said, toy):
    channels, (high, wide) = toy.unet.config.block_out_channels[-1], (side // toy.vae_factor for side in toy.size)
    good = (2, channels, -(-high // 2), wide)
    for form in (good, list(good), torch.Size(good), torch.tensor(good), np.array(good), tuple(map(float, good))):
        assert right(said("unet.1", form, sd=toy))
    for wrong, hint in {
        (2, channels, high, 2 * wide): "How large is the map when it reaches the middle",
        (2, channels, 24, 48): "never sees pixels",
        (2, channels, 3, 3): "twice as *wide*",
        (2, channels, 6, 3): "twice as *wide*",
        (2, channels, 2, 3): "Count the halvings",
        (2, channels, 9, 9): "Halve rows and columns",
        (2, 4, 3, 6): "How many channels",
        (1, channels, 3, 6): "how many pictures",
        (channels, 3, 6): "four numbers",
    }.items():
        assert hint in hint_of(said, "unet.1", wrong, sd=toy), wrong


def test_the_channels_that_a_block_reads(said, big):
    for form in (960, 960.0, np.int64(960), torch.tensor(960)):
        assert right(said("unet.2", form, unet=big))
    for wrong, hint in {
        640: "comes from below",
        320: "or one skip",
        1280: "stage below",
        204800: "multiplied",
        1600: "one* residual",
        7: "Add the width",
        "960": "one number",
    }.items():
        assert hint in hint_of(said, "unet.2", wrong, unet=big), wrong


def test_the_window(said):
    good = [[0, 0, 0], [-1, 0, 1], [0, 0, 0]]
    for form in (
        good,
        np.array(good),
        torch.tensor(good),
        torch.tensor(good).double(),
        [torch.tensor(r).tolist() for r in good],
    ):
        assert right(said("unet.3", form))
    for wrong, hint in {
        ((0, 0, 0), (1, 0, -1), (0, 0, 0)): "wrong sign",
        ((0, -1, 0), (0, 0, 0), (0, 1, 0)): "across",
        ((0, 1, 0), (0, 0, 0), (0, -1, 0)): "across",
        ((0, 0, 0), (-0.5, 0, 0.5), (0, 0, 0)): "between a 0 and a 1",
        ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)): "One row is enough",
        ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)): "One row is enough",
        ((0, 0, 0), (-1, 1, 0), (0, 0, 0)): "compare the two neighbours",
        ((0, 0, 0), (0, -1, 1), (0, 0, 0)): "compare the two neighbours",
        ((0, 0, 0), (1, 0, 1), (0, 0, 0)): "taken away",
        ((5, 0, 0), (0, 0, 0), (0, 0, 0)): "Seven of the nine",
        (-1, 0, 1): "three rows",
    }.items():
        assert hint in hint_of(said, "unet.3", wrong), wrong


def test_the_waves(said):
    def good(t, f):
        return torch.cat([torch.cos(t * f), torch.sin(t * f)])

    forms = [
        good,
        lambda t, f: good(torch.tensor(t), f.double()),
        lambda t, f: good(t, f).numpy(),
        lambda t, f: [math.cos(t * x) for x in f.tolist()] + [math.sin(t * x) for x in f.tolist()],
        lambda t, f: good(t, f)[None],
    ]
    assert all(right(said("unet.4", form)) for form in forms)
    for wrong, hint in [
        (lambda t, f: torch.cat([torch.sin(t * f), torch.cos(t * f)]), "stands first"),
        (lambda t, f: torch.stack([torch.cos(t * f), torch.sin(t * f)], 1).flatten(), "then all sines"),
        (lambda t, f: torch.cat([torch.cos(t * f)] * 2), "What is the other"),
        (lambda t, f: good(t, 1 / f), "turn faster"),
        (lambda t, f: good(t, 2 * math.pi * f), "once in 2π"),
        (lambda t, f: good(t, f.deg2rad()), "degrees"),
        (lambda t, f: good(1, f), "Where is the time"),
        (lambda t, f: torch.cos(t * f), "That is one half"),
        (lambda t, f: torch.stack([torch.cos(t * f), torch.sin(t * f)]), "ten numbers"),
        (lambda t, f: (torch.cos(t * f), torch.sin(t * f)), "How many do you give"),
        (lambda t, f: [np.cos(t * f.numpy()), np.sin(t * f.numpy())], "How many do you give"),
        (lambda t, f: 3 * good(t, f), "torch.cat"),
    ]:
        assert hint in hint_of(said, "unet.4", wrong), hint


def test_the_page_draws_waves_of_any_kind(toy):
    lesson = Path(__file__).resolve().parent.parent / "notebooks" / f"{notebook_name('unet')}.ipynb"
    cells = nbformat.read(lesson, as_version=4).cells
    source = next(cell.source for cell in cells if "def near_500" in cell.source)
    names = {"torch": torch, "sd": toy, "figure_curves": figure_curves}
    exec(source.partition("def told_as")[0], names)

    def good(t, f):
        return torch.cat([torch.cos(t * f), torch.sin(t * f)])

    for form in (good, lambda *a: good(*a).numpy(), lambda *a: good(*a).tolist(), lambda *a: good(*a)[None]):
        near = names["near_500"](form).axes[0].lines[0].get_ydata()
        assert near[50] == max(near) == pytest.approx(1)


def test_the_sizes_that_fit(said):
    def good(h, w, n):
        return h % (8 * 2**n) == 0 == w % (8 * 2**n)

    forms = [good, lambda *a: np.bool_(good(*a)), lambda *a: torch.tensor(good(*a)), lambda *a: int(good(*a))]
    assert all(right(said("unet.5", form)) for form in forms)
    for wrong, hint in [
        (lambda h, w, n: h % 64 == 0 == w % 64, "64, whatever"),
        (lambda h, w, n: h % 8 == 0 == w % 8, "VAE alone"),
        (lambda h, w, n: h % (16 * n or 8) == 0 == w % (16 * n or 8), "2ⁿ"),
        (lambda h, w, n: h % (8 * 2 * n) == 0 == w % (8 * 2 * n), "2ⁿ"),
        (lambda h, w, n: good(h, w, n) if n else h / n, "ZeroDivisionError"),
        (lambda h, w, n: good(h, w, n) if n else True, "divide by 8"),
        (lambda h, w, n: h % 2**n == 0 == w % 2**n, "eight pixels"),
        (lambda h, w, n: h % (8 * 2**n) == 0, "height alone"),
        (lambda h, w, n: w % (8 * 2**n) == 0, "width alone"),
        (lambda h, w, n: not good(h, w, n), "True where sizes fail"),
        (lambda h, w, n: h % (8 * 2**n) == 0 or w % (8 * 2**n) == 0, "one of the two"),
        (lambda h, w, n: h * w % (8 * 2**n) == 0, "product"),
        (lambda h, w, n: True, "always says True"),
        (lambda h, w, n: h % 64 == 0, "divide by 8"),
        (lambda h, w, n: 8 * 2**n, "True or False"),
    ]:
        assert hint in hint_of(said, "unet.5", wrong), hint


def test_the_group_norm(said):
    forms = [
        group_norm,
        torchs_group_norm,
        lambda x, groups: group_norm(x.double(), groups),
        lambda x, groups: group_norm(x, groups).numpy(),
        lambda x, groups: group_norm(x, groups).tolist(),
        lambda x, groups: torch.cat([group_norm(each, 1) for each in x.chunk(groups, 1)], 1),
    ]
    assert all(right(said("unet.6", form)) for form in forms)

    def normed(over, view=lambda x, g: x.unflatten(1, (g, -1)), correction=0, power=0.5):
        def wrong(x, groups):
            seen = view(x, groups)
            variance, mean = torch.var_mean(seen, dim=over, correction=correction, keepdim=True)
            return ((seen - mean) / (variance + 1e-5) ** power).reshape(x.shape)

        return wrong

    for wrong, hint in [
        (lambda x, groups: group_norm(x, 6), "each channel"),
        (lambda x, groups: group_norm(x, 1), "two groups"),
        (normed((0, 2, 3, 4)), "Two pictures"),
        (normed((1, 3, 4), lambda x, g: x.unflatten(1, (-1, g))), "neighbours"),
        (normed((2, 3, 4), power=1), "standard deviation"),
        (normed((2,)), "Over which sides"),
        (normed((2, 3, 4), correction=1), "n − 1"),
        (lambda x, groups: x, "do anything"),
        (lambda x, groups: x.unflatten(1, (groups, -1)), "taken apart"),
        (lambda x, groups: 7 * group_norm(x, groups), "unflatten"),
    ]:
        assert hint.lower() in hint_of(said, "unet.6", wrong).lower(), hint


def test_the_reach(said):
    def good(layers, start=1, less=1, later=True):
        squares, step = start, 1
        for window, stride in layers:
            squares += (window - less) * step
            step *= stride if later else 1
        return squares

    forms = [good, lambda a: float(good(a)), lambda a: np.int64(good(a)), lambda a: torch.tensor(good(a))]
    assert all(right(said("unet.7", form)) for form in forms)

    def before(layers):
        squares, step = 1, 1
        for window, stride in layers:
            step *= stride
            squares += (window - 1) * step
        return squares

    for wrong, hint in [
        (lambda a: good(a, later=False), "stride of 2"),
        (lambda a: good(a, less=0), "overlap"),
        (before, "own stride"),
        (lambda a: good(a, start=0), "before any layer"),
        (lambda a: math.prod(window for window, _ in a), "9 squares in a row"),
        (lambda a: 7, "by hand"),
        (lambda a: str(good(a)), "one number"),
    ]:
        assert hint in hint_of(said, "unet.7", wrong), hint


def test_the_weaker_skips(said):
    forms = [
        lambda skip, number, share: skip if number == 0 else share * skip,
        lambda skip, number, share: skip * (share if number else 1),
        lambda skip, number, share: (skip * (share if number else 1)).double().numpy(),
        lambda skip, number, share: skip.mul_(share) if number else skip,
    ]
    assert all(right(said("unet.8", form)) for form in forms)
    for wrong, hint in [
        (lambda skip, number, share: share * skip, "skip 0 whole"),
        (lambda skip, number, share: skip * (1 if number else share), "stays whole"),
        (lambda skip, number, share: skip * ((1 - share) if number else 1), "what goes"),
        (lambda skip, number, share: skip * (0 if number else 1), "share 0.5"),
        (lambda skip, number, share: skip, "do anything"),
        (lambda skip, number, share: skip * (share if number == 1 else 1), "skip 5"),
        (lambda skip, number, share: skip * (number * share if number else 1), "same share"),
        (lambda skip, number, share: skip[:1], "has the shape"),
        (lambda skip, number, share: skip + share, "share times the skip"),
    ]:
        assert hint in hint_of(said, "unet.8", wrong), hint


def test_what_is_no_layer_leaves_no_hooks(toy):
    recording = record_maps({"one": toy.unet.conv_in, "two": None})
    with pytest.raises(BadInput, match="two is no layer but None"), recording:
        pass
    assert not toy.unet.conv_in._forward_hooks


def test_a_layer_that_is_not_called_is_told(toy):
    with pytest.raises(BadInput, match="conv_in was not called"), record_maps(stages(toy.unet)):
        pass
    with pytest.raises(NameError), record_maps(stages(toy.unet)):
        nothing  # noqa: B018, F821 - what went wrong inside is what is told


def test_latents_and_texts_that_do_not_go_together(toy):
    with pytest.raises(BadInput, match="3 latents need as many text embeddings, or twice as many, not 4"):
        predict(toy.unet, torch.zeros(3, 4, 6, 6), 5, torch.zeros(4, 77, 24))
    with record_maps({"unet": toy.unet}) as maps:
        toy.unet(
            torch.zeros(1, 4, 6, 6), 5, encoder_hidden_states=torch.zeros(1, 77, toy.unet.config.cross_attention_dim)
        )
    assert maps["unet"][0].shape == (1, 4, 6, 6)
