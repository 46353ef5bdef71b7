"""Ids -> embeddings: the encoder's last hidden state, in the order that guidance needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdlesson import embeddings as room
from sdlesson.embeddings import (
    embed,
    embed_texts,
    figure_embeddings,
    load_pair,
    pair,
    similarity,
    text_embeddings,
)
from sdlesson.models import BadInput
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
    np.testing.assert_array_equal(fig.axes[1].images[0].get_array(), embeddings[1, :, :6].T)
    assert "position 5" in fig.axes[1].get_title()
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
    monkeypatch.setattr(room, "_V1_TEXT", (24, 2))  # the toy's
    with pytest.warns(UserWarning, match="clip-vit-large-patch14 is not here"):
        assert load_pair(toy).name == "tiny"
