"""Attention: recorded beside diffusers without a trace, measured, drawn, changed; and the lesson's judges."""

from __future__ import annotations

import copy
import math
import re

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image

from sdlesson.attention import (
    Heat,
    auc,
    cross_attentions,
    fit_size,
    hottest,
    iou,
    record_attention,
    scores,
    weigh_attention,
)
from sdlesson.embeddings import text_embeddings
from sdlesson.figures.attention import figure_heat, figure_table, plot_heat
from sdlesson.guidance import denoise, record
from sdlesson.loading.errors import BadInput
from sdlesson.steering import Steering
from sdlesson.tokens import pieces, tokenize, word_positions

PROMPT = "a cartoon of an astronaut riding a horse on the moon"


def final(sd, prompt=PROMPT, steps=3, **options):
    *_, step = denoise(sd, prompt, num_inference_steps=steps, **options)
    return step.latents


def softmax(fit):
    return fit.softmax(dim=-1)


def processors(unet):
    return [attn.processor for attn in cross_attentions(unet).values()]


@pytest.fixture
def half_of_a_call(toy):
    """A guided batch of the toy's UNet: latents 6 x 4, texts [empty, prompt]."""
    latents = torch.randn((1, 4, 6, 4), generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    return latents, text_embeddings(toy, PROMPT)


@pytest.mark.parametrize("options", [{}, {"heads": True, "keep": "all"}, {"keep": "empty"}])
def test_recording_changes_no_bit_and_leaves_no_trace(toy, options):
    own, plain = processors(toy.unet), final(toy)
    with record_attention(toy.unet, **options) as heat:
        recorded = final(toy)
    assert torch.equal(plain, recorded)
    assert all(a is b for a, b in zip(own, processors(toy.unet), strict=True))
    assert not toy.unet._forward_pre_hooks
    assert heat.calls == 3 and list(heat.layers) and set(heat.layers) == set(cross_attentions(toy.unet))


def test_the_tiny_models_latents_stay_the_same_to_the_last_bit(tiny):
    plain = final(tiny, steps=2)
    with record_attention(tiny.unet) as heat:
        assert torch.equal(final(tiny, steps=2), plain)
    assert set(heat.sides.values()) == {(8, 8), (4, 4)}


@pytest.mark.parametrize("context", [record_attention, lambda unet: weigh_attention(unet, softmax)])
def test_processors_come_back_after_an_error_and_others_stay(toy, context):
    own = processors(toy.unet)
    with pytest.raises(RuntimeError, match="stop"), context(toy.unet):
        assert not any(a is b for a, b in zip(own, processors(toy.unet), strict=True))
        raise RuntimeError("stop")
    assert all(a is b for a, b in zip(own, processors(toy.unet), strict=True))
    assert not toy.unet._forward_pre_hooks


def test_a_processor_with_weights_comes_back_too(toy):
    class Module(torch.nn.Module):
        def forward(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
            return AttnProcessor()(attn, hidden_states, encoder_hidden_states, attention_mask, temb)

    attn = next(iter(cross_attentions(toy.unet).values()))
    own, module = attn.processor, Module()
    attn.set_processor(module)
    try:
        with record_attention(toy.unet) as heat:
            final(toy, steps=1)
        assert attn.processor is module and heat.calls == 1
    finally:
        attn.set_processor(own)


def test_probabilities_are_diffusers_own(toy, half_of_a_call):
    """diffusers' slower processor computes them explicitly: get_attention_scores is watched while it runs."""
    latents, texts = half_of_a_call
    seen, layers = [], cross_attentions(toy.unet)
    own = {name: attn.processor for name, attn in layers.items()}
    with record_attention(toy.unet, keep="all", heads=True) as heat, torch.no_grad():
        toy.unet(latents, 500, encoder_hidden_states=texts)
    watched = {name: attn.get_attention_scores for name, attn in layers.items()}
    try:
        for name, attn in layers.items():
            attn.set_processor(AttnProcessor())
            attn.get_attention_scores = lambda *a, n=name: seen.append((n, watched[n](*a))) or seen[-1][1]
        with torch.no_grad():
            toy.unet(latents, 500, encoder_hidden_states=texts)
    finally:
        for name, attn in layers.items():
            del attn.get_attention_scores
            attn.set_processor(own[name])
    assert [name for name, _ in seen] == list(heat.layers)  # in the order of the calls
    for name, theirs in seen:
        ours = heat.layers[name][0]
        heads = layers[name].heads
        assert ours.shape[:2] == (2, heads) and ours.shape[2:4] in {(6, 4), (3, 2)} and ours.shape[4] == 77
        torch.testing.assert_close(ours.flatten(2, 3).flatten(0, 1), theirs, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours.sum(dim=-1), torch.ones(ours.shape[:-1]))


def test_halves_heads_and_their_means(toy, half_of_a_call):
    latents, texts = half_of_a_call

    def kept(**options):
        with record_attention(toy.unet, **options) as heat, torch.inference_mode():
            toy.unet(latents, 500, encoder_hidden_states=texts)
        return heat

    both, text, empty = kept(keep="all", heads=True), kept(), kept(keep="empty")
    assert both.layers
    for name in both.layers:
        each = both.layers[name][0]
        torch.testing.assert_close(text.layers[name][0], each[1:].mean(dim=1, keepdim=True))
        torch.testing.assert_close(empty.layers[name][0], each[:1].mean(dim=1, keepdim=True))
        assert text.layers[name][0].dtype == torch.float32 and not text.layers[name][0].is_inference()


def test_a_text_mask_is_respected(toy, half_of_a_call):
    latents, texts = half_of_a_call
    mask = torch.ones(2, 77, dtype=torch.bool)
    mask[1, 5:] = False
    given = {"encoder_hidden_states": texts, "encoder_attention_mask": mask}
    with torch.no_grad():
        plain = toy.unet(latents, 500, **given).sample
        with record_attention(toy.unet, keep="all", heads=True) as heat:
            toy.unet(latents, 500, **given)
        with record_attention(toy.unet) as half:
            assert torch.equal(toy.unet(latents, 500, **given).sample, plain)
        with weigh_attention(toy.unet, softmax):
            torch.testing.assert_close(toy.unet(latents, 500, **given).sample, plain, rtol=1e-4, atol=1e-5)
    for name, (weights,) in heat.layers.items():
        assert weights[1, ..., 5:].abs().max() == 0 and weights[0, ..., 5:].min() > 0
        torch.testing.assert_close(half.layers[name][0], weights[1:].mean(dim=1, keepdim=True))


def test_an_odd_batch_has_no_halves(toy):
    with pytest.raises(BadInput, match="no two halves"), record_attention(toy.unet):
        final(toy, steps=1, guidance_scale=1)
    with record_attention(toy.unet, keep="all") as heat:
        final(toy, steps=1, guidance_scale=1)
    assert heat.calls == 1
    with pytest.raises(BadInput, match="keep is one of"), record_attention(toy.unet, keep="prompt"):
        pass


def test_the_sample_may_be_named(toy, half_of_a_call):
    latents, texts = half_of_a_call
    with record_attention(toy.unet) as heat, torch.no_grad():
        toy.unet(sample=latents, timestep=500, encoder_hidden_states=texts)
    assert heat.calls == 1


def test_heat_picks_calls_sides_and_heads():
    coarse, fine = torch.rand(2, 2, 2, 3, 7), torch.rand(2, 2, 2, 3, 7).repeat_interleave(2, 2).repeat_interleave(2, 3)
    heat = Heat({"a": [coarse, coarse + 1], "b": [fine, fine]})
    assert heat.calls == 2 and heat.sides == {"a": (2, 3), "b": (4, 6)}
    assert Heat().calls == 0
    torch.testing.assert_close(heat.of([2], side=(4, 6)), fine[0, ..., 2].mean(dim=0))
    torch.testing.assert_close(
        heat.of([2, 5], side=(2, 3), calls=1, head=1, image=1), coarse[1, 1, ..., [2, 5]].sum(-1) + 2
    )
    torch.testing.assert_close(heat.of([0], side=(2, 3)), coarse[0, ..., 0].mean(dim=0) + 0.5)
    assert heat.probabilities().shape == (2, 2, 4, 6, 7)
    with pytest.raises(BadInput, match="Nothing was recorded"):
        heat.of([0], side=(8, 8))
    with pytest.raises(BadInput, match="Nothing was recorded"):
        heat.of([0], calls=slice(2, None))
    with pytest.raises(BadInput, match="Nothing was recorded"):
        Heat().probabilities()


def test_layers_with_other_numbers_of_heads_meet_in_their_means():
    few, many = torch.rand(1, 2, 2, 2, 7), torch.rand(1, 4, 2, 2, 7)
    heat = Heat({"a": [few], "b": [many]})
    torch.testing.assert_close(heat.of([3]), (few.mean(dim=1) + many.mean(dim=1))[0, ..., 3] / 2)
    with pytest.raises(BadInput, match="There is no head 1 .*; heads: 1"):
        heat.of([3], head=1)


def test_over_all_tokens_the_heat_is_one(toy):
    with record_attention(toy.unet) as heat:
        record(toy, PROMPT, num_inference_steps=2)
    torch.testing.assert_close(heat.of(range(77)), torch.ones(3, 3))


def test_weighing_by_softmax_changes_nothing(toy):
    with weigh_attention(toy.unet, softmax):
        torch.testing.assert_close(final(toy), final(toy), rtol=1e-3, atol=1e-3)
        weighed = final(toy)
    torch.testing.assert_close(weighed, final(toy), rtol=1e-3, atol=1e-3)
    with weigh_attention(toy.unet, lambda fit: 0 * fit):
        assert not torch.allclose(final(toy), weighed, rtol=1e-3, atol=1e-3)


def test_weights_of_zero_leave_no_text(toy):
    with weigh_attention(toy.unet, lambda fit: 0 * fit):
        torch.testing.assert_close(final(toy), final(toy, "horse"), rtol=1e-4, atol=1e-4)


def test_scores_are_scaled_products(toy):
    attn = next(iter(cross_attentions(toy.unet).values()))
    squares, texts = torch.randn(1, 9, attn.to_q.in_features), torch.randn(1, 5, 24)
    with torch.no_grad():
        got = scores(attn, squares, texts)
        q, k = attn.to_q(squares)[0], attn.to_k(texts)[0]
    wide = q.shape[-1] // attn.heads
    one = q[4, wide : 2 * wide] @ k[3, wide : 2 * wide] / math.sqrt(wide)
    torch.testing.assert_close(got[0, 1, 4, 3], one)


def test_products_that_float16_cannot_hold_are_scaled_in_time(toy):
    attn = copy.deepcopy(next(iter(cross_attentions(toy.unet).values()))).half()
    wide = attn.to_q.out_features // attn.heads
    for each in (attn.to_q, attn.to_k):
        torch.nn.init.constant_(each.weight, 1 / each.in_features)
    big = math.sqrt(80_000 / wide)  # one query times one key: 80,000, where float16 ends at 65,504
    squares, texts = (torch.full((1, 2, each.in_features), big).half() for each in (attn.to_q, attn.to_k))
    torch.testing.assert_close(
        scores(attn, squares, texts).float().mean().item(), 80_000 / math.sqrt(wide), rtol=0.01, atol=0
    )


@pytest.mark.parametrize(
    ("prompt", "word", "letters"),
    [
        (PROMPT, "horse", "horse"),
        (PROMPT.upper(), "Horse", "horse"),
        ("a horse, an elephant", "elephant", "elephant"),
        ("horseback, a horse", "horse", "horse"),
        ("an astronaut  riding a horse", "riding a horse", "ridingahorse"),
        ("a horse and a horse", "horse", "horsehorse"),
    ],
)
def test_words_find_their_pieces(toy, prompt, word, letters):
    found = word_positions(toy.tokenizer, prompt, word)
    names = pieces(toy.tokenizer, tokenize(toy.tokenizer, prompt)[0])
    assert "".join(names[place] for place in found).replace("</w>", "") == letters
    assert 0 not in found


@pytest.mark.parametrize("word", ["cow", "hors", "", "orse", "horse" * 2])
def test_words_that_are_not_there_are_named(toy, word):
    with pytest.raises(BadInput, match="does not see the word"):
        word_positions(toy.tokenizer, PROMPT, word)


@pytest.mark.parametrize(
    ("prompt", "word", "found"),
    [
        ("İİ at ay", "at", [("a", "t")]),
        ("İİİİİİ horse cartoon moon astronaut", "cartoon", ["cartoon"]),
        ("İİİİİİ horse", "horse", ["horse"]),
        ("İstanbul horse İstanbul", "i̇stanbul", ["İstanbul", "İstanbul"]),
        ("the STRASSE, a straße", "Straße", ["STRASSE", "straße"]),
        ("ﬁne horse, fine moon", "FINE", ["ﬁne", "fine"]),
        ("ŉŉ ẞẞ ΐΐ moon", "moon", ["moon"]),
        ("ΟΔΟΣ horse", "οδος", ["ΟΔΟΣ"]),
        ("🐎🐎 horse 🐎", "horse", ["horse"]),
        ("🐎🐎 horse 🐎", "🐎", ["🐎🐎", "🐎"]),
        ("cafe\u0301 horse", "horse", ["horse"]),
    ],
)
def test_letters_that_grow_in_lower_case_shift_nothing(toy, prompt, word, found):
    """Each position's own letters in the prompt, by the tokenizer's offsets, are those of the word and no others."""
    offsets = toy.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    spans = [offsets[place - 1] for place in word_positions(toy.tokenizer, prompt, word)]
    letters = "".join(prompt[place] for place in sorted({place for span in spans for place in range(*span)}))
    assert letters == "".join("".join(each) for each in found)


@pytest.mark.parametrize(("prompt", "word"), [("İ horse", "i"), ("ß horse", "s"), ("cafe\u0301", "cafe"), ("ﬁsh", "f")])
def test_a_part_of_a_letter_is_no_word(toy, prompt, word):
    with pytest.raises(BadInput, match="does not see the word"):
        word_positions(toy.tokenizer, prompt, word)


def test_a_word_that_was_cut_off_has_no_position(toy):
    with pytest.raises(BadInput, match="does not see"):
        word_positions(toy.tokenizer, "moon " * 80 + "horse", "horse")


def test_auc_is_what_it_says():
    generator = torch.Generator().manual_seed(0)
    heat = torch.randint(0, 5, (9, 8), generator=generator).float()  # many are equal
    mask = torch.rand(9, 8, generator=generator) < 0.3
    inside, outside = heat[mask][:, None], heat[~mask][None]
    wanted = ((inside > outside).float() + 0.5 * (inside == outside)).mean()
    assert auc(heat, mask) == pytest.approx(float(wanted))
    assert auc(heat, mask.numpy()) == auc(heat, mask)
    assert auc(mask.float(), mask) == 1 and auc(-mask.float(), mask) == 0 and auc(torch.ones(9, 8), mask) == 0.5
    assert math.isnan(auc(heat, torch.zeros(9, 8, dtype=torch.bool)))


def test_integer_masks_count_as_boolean_ones():
    heat, mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(3)), torch.eye(6)
    kinds = [mask.bool(), mask.long(), mask.to(torch.uint8), (mask * 255).to(torch.uint8), mask.numpy() * 255, mask]
    assert {round(auc(heat, each), 4) for each in kinds} == {0.3111}
    assert {iou(each, other) for each in kinds for other in kinds} == {1.0}
    for odd in (torch.full((6, 6), math.nan), heat * math.inf):
        with pytest.raises(BadInput, match="hotter than NaN"):
            auc(odd, mask)
    with pytest.raises(BadInput, match="from 0 to 36"):
        hottest(heat, 37)


def test_masks_meet():
    one, other = torch.zeros(4, 4, dtype=torch.bool), np.zeros((4, 4), dtype=bool)
    one[:2], other[1:3] = True, True
    assert iou(one, other) == pytest.approx(4 / 12) and iou(one, one) == 1
    heat = torch.arange(16.0).view(4, 4)
    assert torch.equal(hottest(heat, 4), heat >= 12)
    assert fit_size(heat, (8, 12)).shape == (8, 12)


def test_figures_are_made_of_their_data():
    picture = Image.new("RGB", (48, 32))
    heat, mask = torch.zeros(4, 6), np.zeros((32, 48), dtype=bool)
    heat[3, 5], mask[8:16, 8:16] = 0.125, True
    ax = plot_heat(heat, picture, "horse", mask=mask)
    assert ax.get_title() == "horse" and ax.images[1].get_interpolation() == "nearest"
    assert ax.images[1].get_clim() == (0, 0.125) and tuple(ax.images[1].get_extent()) == (-0.5, 47.5, 31.5, -0.5)
    fig = figure_heat({"horse": heat, "two\nlines": heat.T.T + 0.01}, picture, columns=1)
    assert fig.words == (
        "Heat maps over the picture, with the largest value and its place: horse, up to 0.12, below on the right; "
        "two lines, up to 0.14, below on the right."
    )
    fig = figure_heat({"horse": heat}, [picture], masks=[mask])
    assert fig.words.endswith("Outlined: where it was drawn.") and fig.axes[0].collections
    assert fig.axes[-1].get_yticklabels()[-1].get_text()
    heat[:] = 0
    heat[2, 2] = 0.5
    fig = figure_heat({"x": heat}, picture, kind="Distances")
    assert fig.words.startswith("Distances over") and fig.words.endswith("x, up to 0.5, in the middle.")
    table = figure_table(torch.tensor([[0.1, 0.9], [0.8, 0.3]]), ["one", "two"], ["a", "b"], "Shares")
    assert table.words == "Shares. Columns: a, b. one: 0.1, 0.9; two: 0.8, 0.3."
    wide = figure_table(torch.arange(14.0).view(2, 7), ["one", "two"], list("abcdefg"))
    assert wide.words == "A table. Columns: a, b, c, d, e, f, g. one: most in g (6.0); two: most in g (13.0)."


def test_diffusers_still_names_them_attn2(tiny):
    layers = cross_attentions(tiny.unet)
    every = [m for m in tiny.unet.modules() if isinstance(m, diffusers.models.attention_processor.Attention)]
    assert len(layers) == sum(m.is_cross_attention for m in every) == 7
    assert all(re.search(r"transformer_blocks\.\d+\.attn2$", name) for name in layers)


RIGHT_SHAPE = (6, 8, 96, 77)
LAYER = {"heads": 8, "side": (8, 12), "tokens": 77, "prompts": 3}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RIGHT_SHAPE, "well done"),
        (list(RIGHT_SHAPE), "well done"),
        ((6, 8, 8, 12, 77), "one side of 8 × 12"),
        ((6, 8, 77), "four are asked for"),
        ((6, 8, 77, 96), "Squares come before tokens"),
        ((3, 8, 96, 77), "2 × 3 = 6"),
        ((2, 8, 96, 77), "6 pictures, not 2"),
        ((6, 1, 96, 77), "8 heads"),
        ((6, 8, 12, 77), "96 squares"),
        ((6, 8, 96, 10), "77 tokens"),
        (7, "could not be used"),
    ],
)
def test_judge_of_the_shape(said, answer, words):
    assert words in said("attention.1", answer, **LAYER) + said("attention.1", answer, **LAYER)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (1.6, "well done"),
        (1, "no softmax any more"),
        (0.8, "other tokens have weights"),
        (4, "one weight only"),
        (1.8, "counted twice"),
        (0.5, "is the sum"),
        ("1.6", "no number"),
    ],
)
def test_judge_of_the_sum(said, answer, words):
    assert words in said("attention.2", answer, weight=0.2, factor=4) + said(
        "attention.2", answer, weight=0.2, factor=4
    )


def louder(fit, half=None, column=9, before=False, again=False, factor=4, dim=-1):
    half = slice(len(fit) // 2, None) if half is None else half
    if before:
        fit[half, ..., column] *= factor
        return fit.softmax(dim=dim)
    weights = fit.softmax(dim=dim)
    weights[half, ..., column] *= factor
    return weights / weights.sum(dim=-1, keepdim=True) if again else weights


def louder_square(fit):
    weights = fit.softmax(dim=-1)
    weights[2:, :, 2] *= 4
    return weights


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (louder, "well done"),
        (lambda fit: louder(fit, slice(None)), "Both halves"),
        (lambda fit: louder(fit, slice(2)), "half of the empty prompt"),
        (lambda fit: louder(fit, slice(1, None)), "Where does the second half begin?"),
        (lambda fit: louder(fit, slice(1, None)), "// 2"),
        (lambda fit: louder(fit, slice(2, None)), "right for two prompts only"),
        (lambda fit: louder(fit, slice(-1, None)), "right for one prompt only"),
        (lambda fit: louder(fit, 1), "right for one prompt only"),
        (lambda fit: louder(fit, before=True), "first the softmax"),
        (louder_square, "A square is louder"),
        (lambda fit: louder(fit, factor=1), "Nothing is changed"),
        (lambda fit: louder(fit, again=True), "add up to 1 again"),
        (lambda fit: fit.softmax(dim=-2), "wrong side"),
        (lambda fit: louder(fit, column=8), "one token multiplied"),
        (lambda fit: fit[0], "another shape"),
        (lambda fit: ..., "not answered yet"),
        (lambda fit: None, "returns None"),
        (3, "is no function"),
    ],
)
def test_judge_of_the_louder_word(said, answer, words):
    assert words in said("attention.3", answer, position=9, factor=4) + said(
        "attention.3", answer, position=9, factor=4
    )


def only(fit, positions, value=float("-inf"), turned=False):
    silent = torch.ones(77, dtype=torch.bool)
    silent[positions] = False
    return fit.masked_fill(~silent if turned else silent, value).softmax(dim=-1)


def only_after(fit, positions):
    weights = torch.zeros_like(fit)
    weights[..., positions] = fit.softmax(dim=-1)[..., positions]
    return weights


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (only, "well done"),
        (only_after, "came after the softmax"),
        (only_after, "what do they add up to?"),
        (lambda fit, positions: only(fit, positions, 0), "A score of 0 is no silence: e⁰ = 1."),
        (lambda fit, positions: only(fit, positions, 0), "Fill with −∞"),
        (lambda fit, positions: only(fit, positions, turned=True), "wrong tokens are silent"),
        (lambda fit, positions: fit.softmax(dim=-1), "No token is silent"),
        (lambda fit, positions: only(fit, [0]), "Only the first of the positions"),
        (lambda fit, positions: fit[..., positions], "another shape"),
        (lambda fit, positions: ..., "not answered yet"),
    ],
)
def test_judge_of_the_silent_tokens(said, answer, words):
    assert words in said("attention.4", answer) + said("attention.4", answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda heat, mask: heat[mask].sum() / heat.sum() / mask.float().mean(), "well done"),
        (lambda heat, mask: heat[mask].mean() / heat.mean(), "well done"),
        (lambda heat, mask: heat[mask].sum() / heat.sum(), "share of the heat"),
        (lambda heat, mask: mask.float().mean(), "heat is missing"),
        (lambda heat, mask: heat.mean() / heat[mask].mean(), "upside down"),
        (lambda heat, mask: heat.mean() / heat[mask].mean(), "Let all heat lie inside"),
        (lambda heat, mask: heat[mask].mean() / heat[~mask].mean(), "inside and outside"),
        (lambda heat, mask: heat[mask].mean() / heat[~mask].mean(), "Let all heat lie inside"),
        (lambda heat, mask: heat[mask].sum() / mask.float().mean(), "not yet a share"),
        (lambda heat, mask: heat[mask].mean(), "mean heat inside"),
        (lambda heat, mask: heat.sum(), "The result is not"),
        (lambda heat, mask: ..., "not answered yet"),
    ],
)
def test_judge_of_the_lift(said, answer, words):
    assert words in said("attention.5", answer) + said("attention.5", answer)


def test_two_prompts_without_guidance_are_no_halves(toy):
    """They look like [empty, prompt], but each has its own latents."""
    with record_attention(toy.unet), pytest.raises(BadInput, match="has no two halves"):
        record(toy, ["a horse", "a duck"], num_inference_steps=1, guidance_scale=1, seed=[1, 2])


def test_calls_of_several_sizes_have_no_mean(toy):
    steering = Steering(interval=(0.5, 5))
    with record_attention(toy.unet, keep="all") as heat:
        record(toy, "a horse", num_inference_steps=4, steering=steering)
    with pytest.raises(BadInput, match="batches of several sizes"):
        heat.probabilities()
    assert len(heat.probabilities(0)) == 1
