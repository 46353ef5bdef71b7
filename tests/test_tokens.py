"""Prompt -> ids: padding, truncation, and the words that were cut."""

from __future__ import annotations

import warnings

import pytest
import torch

from sdlesson.models import BadInput
from sdlesson.tokens import TruncationWarning, context_length, cut_words, pieces, tokenize

PROMPT = "a photograph of an astronaut riding a horse"


def test_ids_are_the_tokenizers_own(toy):
    ids = tokenize(toy.tokenizer, PROMPT)
    assert ids.shape == (1, 77)
    assert ids.dtype == torch.int64
    assert ids[0].tolist() == toy.tokenizer(PROMPT, padding="max_length", truncation=True, max_length=77).input_ids


def test_start_words_end_padding(toy):
    tokenizer = toy.tokenizer
    row = tokenize(tokenizer, PROMPT)[0].tolist()
    shown = pieces(tokenizer, row)
    assert shown[:4] == ["<|startoftext|>", "a</w>", "photograph</w>", "of</w>"]
    assert shown[9:] == ["<|endoftext|>"] * 68  # padding is the end token again
    assert set(row[9:]) == {tokenizer.eos_token_id}


def test_the_empty_prompt_and_batches(toy):
    ids = tokenize(toy.tokenizer, ["", PROMPT])
    assert ids.shape == (2, 77)
    assert ids[0, :2].tolist() == [toy.tokenizer.bos_token_id, toy.tokenizer.eos_token_id]
    torch.testing.assert_close(ids[1:], tokenize(toy.tokenizer, PROMPT))


def test_case_and_white_space_do_not_count(toy):
    torch.testing.assert_close(tokenize(toy.tokenizer, "  A\tHORSE \n"), tokenize(toy.tokenizer, "a horse"))


def test_a_long_prompt_keeps_its_first_words_and_names_the_lost(toy):
    text = " ".join(["horse"] * 74 + ["astronaut", "on", "the Moon,"])
    with pytest.warns(TruncationWarning, match='"horse horse .*cut off: "on the Moon,"') as caught:
        ids = tokenize(toy.tokenizer, text)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert pieces(toy.tokenizer, ids[0])[75:] == ["astronaut</w>", "<|endoftext|>"]


def test_a_word_cut_in_two_counts_as_cut(toy):
    text = " ".join(["horse"] * 74 + ["Zyx", "moon"])  # Zyx is three pieces, of which one is seen
    assert cut_words(toy.tokenizer, text) == ["Zyx", "moon"]


def test_many_lost_words_are_counted(toy):
    with pytest.warns(TruncationWarning, match="and 10 words more"):
        tokenize(toy.tokenizer, " ".join(["horse"] * 115))


def test_exactly_75_tokens_are_not_too_many(toy):
    text = " ".join(["horse"] * 75)
    assert cut_words(toy.tokenizer, text) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenize(toy.tokenizer, [text, ""])


def test_a_tokenizer_with_padding_of_its_own(toy_folder):
    """Stable Diffusion 2 pads with "!"; v1.4's older files say nothing of the length."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(toy_folder / "tokenizer", pad_token="!", model_max_length=10**30)
    assert context_length(tokenizer) == 77
    assert pieces(tokenizer, tokenize(tokenizer, "a horse")[0])[3:6] == ["<|endoftext|>", "!", "!"]
    with pytest.warns(TruncationWarning, match="moon"):
        tokenize(tokenizer, " ".join(["horse"] * 75 + ["moon"]))


@pytest.mark.parametrize("text", ["", "naïve café", "馬に乗る宇宙飛行士", "🧑‍🚀🐎", "a\u0000b", "<|endoftext|>"])
def test_any_text_is_77_ids(toy, text):
    assert tokenize(toy.tokenizer, text).shape == (1, 77)


@pytest.mark.parametrize("prompt", [[], (), None, 7, ["a", None], "half \ud83d", {"a": 1}])
def test_what_is_no_prompt(toy, prompt):
    with pytest.raises(BadInput):
        tokenize(toy.tokenizer, prompt)


def test_tiny_knows_the_articles_words(tiny):
    """Each word of the article's prompt is one token of the tiny tokenizer, as in v1.4."""
    row = pieces(tiny.tokenizer, tokenize(tiny.tokenizer, PROMPT)[0])
    assert row[1:9] == [f"{word}</w>" for word in PROMPT.split()]
    assert row[9:] == ["<|endoftext|>"] * 68
