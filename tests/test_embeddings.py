"""Ids -> embeddings: the encoder's last hidden state, in the order that guidance needs."""

from __future__ import annotations

import pytest
import torch

from sdlesson.embeddings import embed, embed_texts, pair, text_embeddings
from sdlesson.models import BadInput
from sdlesson.tokens import tokenize

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
