"""Ids -> embeddings: the encoder's last hidden state, in the order that guidance needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import sdlesson
from sdlesson.embeddings import embed, embed_texts, flat_map, load_pair, pair, similarity, text_embeddings
from sdlesson.figures.embeddings import (
    figure_captions,
    figure_cosines,
    figure_embeddings,
    figure_fit,
    figure_heads,
    figure_mixture,
    figure_sum,
    plot_cosines,
)
from sdlesson.loading.errors import BadInput
from sdlesson.tokens import tokenize
from sdlesson.world import Scene, draw

PROMPT = "a photograph of an astronaut riding a horse"


def test_embed_is_the_last_hidden_state_after_the_norm(toy):
    ids = tokenize(toy.tokenizer, [PROMPT, ""])
    vectors = embed(toy.text_encoder, ids)
    assert vectors.shape == (2, 77, 24)
    assert not vectors.requires_grad
    with torch.no_grad():
        output = toy.text_encoder(ids, output_hidden_states=True)
        normed = toy.text_encoder.final_layer_norm(output.hidden_states[-1])
    torch.testing.assert_close(vectors, output.last_hidden_state)
    torch.testing.assert_close(vectors, normed)  # hidden_states[-1] is the one before the norm


def test_tokens_know_only_what_comes_before(toy):
    one, other = embed_texts(toy, ["an astronaut on the moon", "an astronaut on the horse"])
    torch.testing.assert_close(one[:5], other[:5])
    assert not torch.allclose(one[5], other[5])
    torch.testing.assert_close(embed_texts(toy, ["horse"])[0, 0], one[0])  # the start token has nothing before it


def test_text_embeddings_are_the_pipelines(toy, pipeline):
    ours = text_embeddings(toy, [PROMPT, "the moon"], "cartoon")
    cond, uncond = pipeline.encode_prompt([PROMPT, "the moon"], "cpu", 1, True, ["cartoon"] * 2)
    torch.testing.assert_close(ours, torch.cat([uncond, cond]), rtol=1e-5, atol=1e-5)


def test_equal_texts_are_encoded_once(toy, monkeypatch):
    seen = []
    monkeypatch.setattr("sdlesson.embeddings.embed", lambda encoder, ids: seen.append(len(ids)) or embed(encoder, ids))
    vectors = text_embeddings(toy, [PROMPT] * 3)
    assert seen == [2]
    assert vectors.shape == (6, 77, 24)
    torch.testing.assert_close(vectors[3], vectors[5])
    torch.testing.assert_close(vectors[0], embed_texts(toy, [""])[0])


def test_pair():
    assert pair("a") == ["", "a"]
    assert pair(["a", "b"], "no") == ["no", "no", "a", "b"]
    assert pair(["a", "b"], ["x", "y"]) == ["x", "y", "a", "b"]
    with pytest.raises(BadInput, match="2 negative prompts for 3 prompts"):
        pair(["a", "b", "c"], ["x", "y"])
    with pytest.raises(BadInput, match="empty"):
        pair([])


def test_embeddings_are_drawn_with_positions_to_the_right():
    embeddings = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
    fig = figure_embeddings(embeddings, words=5, numbers=6)
    _empty, first, prompt, _bar = fig.axes
    np.testing.assert_array_equal(prompt.images[0].get_array(), embeddings[1, :, :6].T)
    assert "position 5" in prompt.get_title()
    pairs = first.images[0].get_array().data  # places 0, 1, 2, a gap after each pair
    np.testing.assert_array_equal(pairs[:, 3:5], embeddings[:, 1, :6].T)
    assert pairs.shape == (6, 8) and np.isnan(pairs[:, 2]).all()
    assert "different" in fig.words
    embeddings[1, 0] = embeddings[0, 0]
    assert "the same" in figure_embeddings(embeddings, words=5).words


def test_the_pair_knows_which_text_belongs_to_which_drawing(tiny):
    rng = np.random.default_rng(0)
    scenes = [Scene("photograph", "astronaut", "horse"), Scene("cartoon", place="forest"), Scene("cartoon", "penguin")]
    clip = load_pair(tiny)
    fit = similarity(clip, [draw(scene, rng) for scene in scenes], [scene.caption for scene in scenes])
    assert fit.shape == (3, 3) and float(fit.abs().max()) <= 1 + 1e-5
    assert fit.argmax(dim=1).tolist() == [0, 1, 2] and fit.argmax(dim=0).tolist() == [0, 1, 2]


def test_a_model_without_a_pair_is_judged_by_the_bundled_one(toy):
    assert load_pair(toy).name == "tiny"


def test_a_model_of_v1s_form_asks_for_openais_pair_and_says_so_when_it_is_out_of_reach(toy, monkeypatch):
    monkeypatch.setattr(sdlesson.embeddings, "_V1_TEXT", (24, 2))  # the toy's
    with pytest.warns(UserWarning, match="clip-vit-large-patch14 is not here"):
        assert load_pair(toy).name == "tiny"


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_flat_map_shows_the_two_broadest_directions():
    cloud = random(40, 5) * torch.tensor([9.0, 0.5, 0.1, 4.0, 0.1]) + 3
    places, shares = flat_map(cloud)
    assert places.shape == (40, 2) and shares[0] > 0.6 > shares[1] > 0.05
    centred = cloud - cloud.mean(dim=0)
    assert torch.corrcoef(torch.stack([places[:, 0], centred[:, 0]]))[0, 1] > 0.99  # and its sign is fixed
    assert torch.corrcoef(torch.stack([places[:, 1], centred[:, 3]]))[0, 1] > 0.99
    torch.testing.assert_close(flat_map(cloud.flip(0))[0], places.flip(0), rtol=1e-3, atol=1e-3)
    for odd in (torch.ones(3, 24), torch.randn(1, 24), torch.randn(4, 1)):
        with pytest.raises(BadInput, match="two vectors or more that differ"):
            flat_map(odd)


def test_the_sum_of_tokens_and_positions_is_drawn():
    tokens, positions = random(3, 8), random(3, 8, seed=1)
    tokens[2] = tokens[0]
    fig = figure_sum(tokens, positions, ["a", "b", "a"], numbers=6)
    for ax, values in zip(fig.axes, (tokens, positions, tokens + positions), strict=False):
        np.testing.assert_allclose(ax.images[0].get_array(), values[:, :6].T)
    assert [each.get_text() for each in fig.axes[0].get_xticklabels()] == ["a", "b", "a"]
    assert fig.axes[0].get_ylabel() == "the first 6 of 8 numbers"
    assert "equal token vectors: 2 and 0." in fig.words
    assert "none" in figure_sum(tokens[:2], positions[:2], ["a", "b"]).words


def test_heads_are_drawn_as_triangles():
    weights = random(5, 3, 3).tril().abs()
    fig = figure_heads(weights, ["start", "a", "horse"])
    assert len([ax for ax in fig.axes if ax.images]) == 4  # the first four of five
    np.testing.assert_array_equal(fig.axes[1].images[0].get_array(), weights[1])
    assert "all is 0 to the right" in fig.words and "head 3" in fig.words and "head 4" not in fig.words
    assert "not all is 0" in figure_heads(weights + 0.1, ["start", "a", "horse"]).words


def test_cosines_are_drawn_around_zero():
    ax = plot_cosines(torch.tensor([[1.0, -0.9], [0.2, 0.0]]), ["a", "b"], ["c", "d"])
    assert ax.images[0].get_clim() == (-1, 1)
    assert [text.get_color() == "white" for text in ax.texts] == [True, True, False, False]


def test_tables_compare_vectors_pair_by_pair():
    vectors = torch.tensor([[1.0, 0.0], [-0.01, 5.0], [2.0, 0.1]])
    fig = figure_cosines({"one": (vectors, ["x", "y", "x2"]), "two": (vectors[:2], ["x", "y"])})
    shown = [text.get_text() for text in fig.axes[0].texts]
    assert shown == ["1.0", "0.0", "1.0", "0.0", "1.0", "0.0", "1.0", "0.0", "1.0"]  # lengths do not count; no -0.0
    assert "most alike are 0 and 2" in fig.words and "two: x  0, y  1" in fig.words


def test_captions_are_drawn_once_for_each_colouring():
    places = torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 5.0], [5.1, 5.0]])
    colourings = {"by style": ["a", "a", "b", "b"], "by mount": ["c", "d", "c", "d"]}
    fig = figure_captions(places, colourings, torch.tensor([0.9, 0.1]))
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "c", "d"]
    assert [len(each.get_offsets()) for each in fig.axes[0].collections] == [4, 2]  # all, pale, and those that are lit
    assert fig.axes[2].collections[1].get_offsets().tolist() == places[[0, 2]].tolist()
    assert "by style, 4; by mount, 0" in fig.words
    assert "90 %" in fig.get_supxlabel() and figure_captions(places, colourings).get_supxlabel() == ""


def test_scores_stand_below_their_pictures():
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    fig = figure_fit(torch.tensor([[0.9, 0.1], [0.5, 0.2]]), pictures, ["a red square", "a blue square"])
    table = fig.axes[-1]
    np.testing.assert_allclose(table.images[0].get_array(), [[0.9, 0.5], [0.1, 0.2]])
    assert "1 of 2 pictures" in fig.words and "a blue square" in fig.words


def test_a_mixture_is_drawn_above_its_scores():
    pictures = [Image.new("RGB", (8, 8))] * 3
    fig = figure_mixture(pictures, [0, 0.5, 1], torch.tensor([[0.9, 0.1], [0.4, 0.5], [0.1, 0.8]]), ["a", "b"])
    curves = fig.axes[-1].lines
    np.testing.assert_allclose(curves[1].get_ydata(), [0.1, 0.5, 0.8])
    assert "larger at 0.5, 1." in fig.words
    assert "at none." in figure_mixture(pictures[:1], [0], torch.tensor([[0.9, 0.1]]), ["a", "b"]).words


TWINS = ["a horse on the moon", "a horse of the moon"]  # start, a, horse: 3 is the first other position


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "well done"),
        (0, "sees nothing but itself"),
        (2, "Count the start mark, too"),
        (1, "Up to position 1"),
        (6, "at an earlier position"),
        *((position, "Positions run from 0 to 76") for position in (77, 1000, -1)),
        ("three", "is no position"),
        (True, "is no position"),
    ],
)
def test_first_difference(said, toy, answer, words):
    assert words in said("embeddings.1", answer, sd=toy, texts=TWINS) + said(
        "embeddings.1", answer, sd=toy, texts=TWINS
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((6, 77, 24), "well done"),
        ([6, 77, 24], "well done"),
        ((3, 24), "the shape of pooler_output"),
        ((6, 24), "the shape of pooler_output"),
        ((6, 77), "become a vector"),
        ((6, 77, 24, 1), "You gave 4 numbers"),
        ((3, 77, 24), "are 6 texts, not 3"),
        ((6, 24, 77), "The positions come first"),
        ((6, 9, 24), "padded to 77 positions"),
        ((6, 77, 768), "A vector has 24 numbers"),
        (7, "could not be used"),
    ],
)
def test_unet_text(said, toy, answer, words):
    assert words in said("embeddings.2", answer, sd=toy) + said("embeddings.2", answer, sd=toy)


def test_the_width_is_not_the_vocabulary(said, toy):
    answer = (6, 77, toy.text_encoder.config.vocab_size)
    assert "how wide" in said("embeddings.2", answer, sd=toy).lower()
    assert "tokens that the tokenizer knows" in said("embeddings.2", answer, sd=toy)


def unit(vectors, dim=1):
    return vectors / vectors.norm(dim=dim, keepdim=True)


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (lambda p, t: unit(p) @ unit(t).T, "well done"),
        (lambda p, t: p @ t.T, "The lengths still count"),
        (lambda p, t: p @ unit(t).T, "Only the texts have length 1"),
        (lambda p, t: unit(p) @ t.T, "Only the pictures' vectors have length 1"),
        (lambda p, t: unit(p, 0) @ unit(t, 0).T, "length of a column"),
        (lambda p, t: (p / p.norm()) @ (t / t.norm()).T, "one length for the whole table"),
        (lambda p, t: unit(p) @ (t / t.norm()).T, "one length for the whole table"),
        (lambda p, t: torch.cdist(unit(p), unit(t)), "These are distances"),
        (lambda p, t: (unit(p) @ unit(t).T).softmax(1), "softmax made shares"),
        (lambda p, t: unit(t) @ unit(p).T, "changed places"),
        (lambda p, t: unit(p), "another shape"),
        (lambda p, t: torch.zeros(3, 2), "not the table of cosines"),
        (lambda p, t: None, "returns None"),
        (lambda p, t: ..., "not answered yet"),
        (5, "is no function"),
    ],
)
def test_clip_score(said, score, words):
    assert words in said("embeddings.3", score) + said("embeddings.3", score)


def at(hidden, ids, end, moved=0):
    return hidden[torch.arange(len(ids)), (ids == end).int().argmax(dim=1) + moved]


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        (at, "well done"),
        (lambda h, i, e: h[:, (i == e).int().argmax(dim=1)], "Too many vectors"),
        (lambda h, i, e: h[:, -1], "which is padding"),
        (lambda h, i, e: h[:, 0], "the start mark"),
        (lambda h, i, e: at(h, i, 642), "perhaps nothing matched"),
        (lambda h, i, e: h[torch.arange(3), i.argmax(dim=1)], "the id that is `end`"),
        (lambda h, i, e: at(h, i, i.max()), "Is it always the largest one?"),
        (lambda h, i, e: at(h, i, e, -1), "the last word"),
        (lambda h, i, e: at(h, i, e, 1), "first padding vector"),
        (lambda h, i, e: h.mean(dim=1), "the mean of all positions"),
        (lambda h, i, e: h[:, (i[0] == e).int().argmax()], "position of the first text"),
        (lambda h, i, e: h[0, (i == e).int().argmax(dim=1)], "come from text 0"),
        (lambda h, i, e: h, "is not (3, 4)"),
        (lambda h, i, e: torch.zeros(3, 4), "first end mark of each text"),
        (lambda h, i, e: None, "returns None"),
        (lambda h, i, e: ..., "not answered yet"),
        (5, "is no function"),
    ],
)
def test_end_vectors(said, pick, words):
    assert words in said("embeddings.4", pick) + said("embeddings.4", pick)


def changed(table, ids, position, vector):
    new = table[ids].clone()
    new[0, position] = vector
    return new


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda t, i: changed(t, i, 2, (t[3] + t[7]) / 2), "well done"),
        (lambda t, i: t[i], "All vectors are as they were"),
        (lambda t, i: t[i][0], "shape of `tokens`"),
        (lambda t, i: changed(t, i, 1, t[7]), "You changed position 1; the mount stands at 2"),
        (lambda t, i: (t[i] + t[7]) / 2, "You changed 4 positions"),
        (lambda t, i: changed(t, i, 2, t[7]), "which has a word"),
        (lambda t, i: changed(t, i, 2, t[3] + t[7]), "divided by 2"),
        (lambda t, i: changed(t, i, 2, t[5]), "The row is not"),
    ],
)
def test_no_word(said, answer, words):
    table, ids = random(9, 5), torch.tensor([[1, 2, 3, 4]])
    facts = {"tokens": table[ids], "table": table, "ids": ids, "at": 2, "other": 7}
    assert words in said("embeddings.5", answer(table, ids), **facts) + said(
        "embeddings.5", answer(table, ids), **facts
    )


@pytest.mark.parametrize("copy", [lambda tokens: tokens, lambda tokens: tokens.clone()])
def test_a_new_vector_written_into_the_tokens_themselves(said, copy):
    table, ids = random(9, 5), torch.tensor([[1, 2, 3, 4]])
    tokens = table[ids]
    facts = {"tokens": tokens, "table": table, "ids": ids, "at": 2, "other": 7}
    tokens[0, 2] = (table[3] + table[7]) / 2  # the right vector, in the wrong place
    assert "is it still what it was" in said("embeddings.5", copy(tokens), **facts)
    assert "You changed `tokens` itself" in said("embeddings.5", copy(tokens), **facts)
