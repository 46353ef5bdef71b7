"""Prompt -> ids: padding, truncation, and the words that were cut; merges, the figures, and that lesson's judges."""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import sdlesson
from sdlesson import samplers, steering
from sdlesson.figures.tokens import (
    figure_learning,
    figure_merges,
    figure_pieces,
    figure_places,
    plot_pairs,
    plot_places,
)
from sdlesson.loading.errors import BadInput
from sdlesson.tokens import (
    TruncationWarning,
    UnknownWordsWarning,
    byte_words,
    context_length,
    count_pairs,
    cut_words,
    encode_pieces,
    join,
    merge_ranks,
    merge_steps,
    pieces,
    places,
    tokenize,
    unknown_words,
)
from sdlesson.world import captions

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
    with pytest.raises(BadInput, match=r"such as ids\[0\]"):
        pieces(toy.tokenizer, ids)


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


@pytest.fixture
def closed(toy, tmp_path):
    """The toy as a model of the tiny world: what says so is a file in its folder."""
    (tmp_path / "sdlesson.json").write_text('{"name": "tiny"}')
    return replace(toy, folder=tmp_path)


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("A photograph, of an Astronaut riding a HORSE on the moon!", []),
        ("", []),
        ("a cat on a sofa", ["cat", "sofa"]),
        ("an astronot riding a hors", ["astronot", "hors"]),
        ("un astronaute à cheval", ["un", "astronaute", "à", "cheval"]),
        ("馬に乗る宇宙飛行士", ["馬に乗る宇宙飛行士"]),
        ("a 🐎🐎 and a 🧑‍🚀, horse", ["🐎🐎", "and", "🧑‍🚀"]),
        ("a $5 horse, $5!", ["$", "5"]),
        ("horses riding horses", ["horses"]),
        ("चंद्रमा horse", ["चंद्रमा"]),
    ],
)
def test_words_that_the_world_never_had(closed, toy, prompt, unknown):
    assert unknown_words(closed, [prompt]) == unknown
    assert unknown_words(toy, [prompt]) == []  # this one's world is open


def test_every_caption_of_the_world_is_known(tiny):
    rng = sdlesson.samplers.np.random.default_rng(0)
    texts = [captions.random_scene(rng, split).caption for split in ("train", "heldout") for _ in range(200)]
    assert unknown_words(tiny, texts) == []
    assert {word for text in texts for word in text.split()} == captions.vocabulary()


def test_a_word_that_was_added_is_known(closed):
    tokenizer = SimpleNamespace(get_added_vocab=lambda: {"<zuzu>": 1, "zaza": 2})
    assert unknown_words(replace(closed, tokenizer=tokenizer), ["a <zuzu> riding a zaza, a zozo"]) == ["zozo"]


def test_whose_world_is_closed(tiny, toy, tmp_path):
    copied = shutil.copytree(sdlesson.checkpoint_path(), tmp_path / "mine")
    assert unknown_words(replace(tiny, folder=copied, name="mine"), ["a cat"]) == ["cat"]
    for text in ("{", "[]", json.dumps({"name": "big"}), "{}"):
        (copied / "sdlesson.json").write_text(text)
        assert unknown_words(replace(tiny, folder=copied), ["a cat"]) == []
    assert unknown_words(replace(tiny, folder=None), ["a cat"]) == []


def test_each_run_says_once_what_it_never_read(closed, picture):
    few, cat, none = {"num_inference_steps": 1}, "a cat on a horse", "a horse"

    def said(run):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
        return [str(each.message) for each in caught if each.category is UnknownWordsWarning]

    runs = [
        lambda words: sdlesson.paint(words, model=closed, **few),
        lambda words: list(sdlesson.denoise(closed, [none, words], **few)),
        lambda words: list(sdlesson.denoise(closed, none, negative_prompt=words, **few)),
        lambda words: sdlesson.record(closed, words, **few),
        lambda words: steering.img2img(closed, words, picture, **few),
        lambda words: samplers.Denoiser(closed, words)(torch.zeros(1, 4, 6, 6), 1.0),
    ]
    for run in runs:
        (told,) = said(lambda run=run: run(cat))
        assert told.startswith('this model never read "cat": it knows the words of sdlesson.world alone')
        assert said(lambda run=run: run(none)) == []


@pytest.fixture
def picture():
    from PIL import Image

    return Image.new("RGB", (48, 48), "teal")


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


def test_the_words_before_any_merge(toy):
    assert byte_words(toy.tokenizer, "A  Horse's\n12 é!") == ["a", "horse", "'s", "1", "2", "Ã©", "!"]
    assert byte_words(toy.tokenizer, "") == []


def test_joining_a_pair():
    assert join(["a", "b", "a", "b", "a"], ("a", "b")) == ["ab", "ab", "a"]
    assert join(["a", "a", "a", "a", "a"], ("a", "a")) == ["aa", "aa", "a"]
    assert join(["b", "a"], ("a", "b")) == ["b", "a"]


@pytest.mark.parametrize("model", ["toy", "tiny"])
def test_the_merges_give_the_tokenizers_own_pieces(model, request):
    tokenizer = request.getfixturevalue(model).tokenizer
    ranks = merge_ranks(tokenizer)
    for text in ["astronauts ride", "a cartoon of a penguin, 12 unicorns!", "naïve 馬🐎", "aaaa mmoooon", "x"]:
        steps = [merge_steps(word, ranks) for word in byte_words(tokenizer, text)]
        assert [piece for each in steps for piece in each[-1][1]] == tokenizer.tokenize(text)
        assert all(pair in ranks and "".join(pair) in parts for each in steps for pair, parts in each[1:])


def test_pairs_are_counted_as_often_as_their_words():
    words = {("o", "n</w>"): 3, ("m", "o", "o", "n</w>"): 2, ("x</w>",): 9}
    assert count_pairs(words) == {("o", "n</w>"): 5, ("m", "o"): 2, ("o", "o"): 2}


def test_what_stands_in_the_77_places(toy):
    assert places(toy.tokenizer, "") == ["start", "end"] + ["padding"] * 75
    row = places(toy.tokenizer, "a horse, zy")
    assert row[:7] == ["start", "word", "next", "word", "next", "next", "end"] and len(row) == 77
    row = places(toy.tokenizer, " ".join(["horse"] * 80))
    assert (row[76], row[77:]) == ("end", ["cut"] * 5)


def test_figure_merges_is_a_wall_with_a_row_for_each_merge(toy):
    fig = figure_merges(toy.tokenizer, ["horse", "zy"])
    left, right = fig.axes
    steps = merge_steps("horse", merge_ranks(toy.tokenizer))
    assert len(left.patches) == sum(len(parts) for _, parts in steps)
    assert [label.get_text() for label in left.get_yticklabels()][0] == "letters"
    assert left.get_title() == "horse: 1 piece" and right.get_title() == "zy: 2 pieces"
    assert "what is left: horse</w>" in fig.words and "zy: no merge; what is left: z y</w>" in fig.words


def test_figure_pieces_counts_bytes_and_pieces(toy):
    fig = figure_pieces(toy.tokenizer, {"a horse": "a horse", "emoji": "🐎"})
    assert len(fig.axes[0].patches) == 2 + 4
    assert "a horse: a</w> horse</w> (7 bytes, 2 pieces)" in fig.words and "(4 bytes, 4 pieces)" in fig.words


def test_figure_places_draws_every_place(toy):
    fig = figure_places(toy.tokenizer, {"empty": "", "long": " ".join(["horse"] * 80)})
    assert len(fig.axes[0].patches) == 77 + 82
    assert "empty: 1 start, 1 end, 75 padding; long: 1 start, 75 pieces, 1 end, 5 cut" in fig.words
    names = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    assert names == ["start", "pieces, word by word", "end", "padding", "cut off"]
    assert len(plot_places(["start", "end"]).patches) == 2


def test_figure_learning_lights_the_most_frequent_pair():
    first = count_pairs({("o", "n</w>"): 3, ("m", "o", "o", "n</w>"): 2})
    fig = figure_learning([first, count_pairs({("m", "o", "on</w>"): 2, ("i", "n</w>"): 5})])
    assert [ax.get_title() for ax in fig.axes] == ["round 1", "round 2"]
    assert fig.axes[0].patches[0].get_width() == 5
    assert fig.axes[0].patches[0].get_facecolor() != fig.axes[0].patches[1].get_facecolor()
    assert "round 1: o + n</w>, 5 times; round 2: i + n</w>, 5 times" in fig.words
    assert len(plot_pairs(first, most=2).patches) == 2


TEXT = "An ASTRONAUT, riding a horse, on the moon!"  # 8 words, 11 pieces


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (13, "well done"),
        (77, "length after padding"),
        (11, "Two more ids"),
        (12, "One mark is missing"),
        (8, "cuts between letters and signs"),
        (10, "do they belong to the word"),
        (20, "With the two marks that makes 13"),
        ("9", "no whole number"),
        (True, "no whole number"),
    ],
)
def test_counting_ids(said, tiny, answer, words):
    both = said("tokens.1", answer, text=TEXT, sd=tiny) + said("tokens.1", answer, text=TEXT, sd=tiny)
    assert words in both


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("pirate", "well done"),
        (" Pirate ", "well done"),
        (5, "is no text"),
        ("a horse", "not one word"),
        ("12345", "not one word"),
        ("", "not one word"),
        ("horse", "is one piece; 5 are wanted"),
        ("unicorn", "Too many pieces: u n i c o r n</w>"),
        ("dragon", "Too few pieces: dra g on</w>"),
    ],
)
def test_a_word_of_five_pieces(said, tiny, answer, words):
    assert words in said("tokens.2", answer, pieces=5, sd=tiny) + said("tokens.2", answer, pieces=5, sd=tiny)


TREES = {"forest": 4, "rest": 3, "nest": 2, "fast": 2}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("r", "est</w>"), "well done"),
        (["r", "est</w>"], "well done"),
        (("s", "t</w>"), "That is merge 1"),
        (("e", "st</w>"), "That is merge 2"),
        (("r", "est"), "at the piece that ends a word"),
        (("f", "o"), "f + o occurs 4 times then, r + est</w> 7 times"),
        (("r", "e"), "no neighbours any more"),
        (("t", "r"), "occurs in none of the words"),
        ("r est</w>", "no pair of texts"),
        (("a", "b", "c"), "no pair of texts"),
        ((1, 2), "no pair of texts"),
    ],
)
def test_the_third_merge(said, answer, words):
    assert words in said("tokens.3", answer, corpus=TREES, number=3) + said("tokens.3", answer, corpus=TREES, number=3)


STORY = " ".join(["a wizard and a dragon"] * 20)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (47, "well done"),
        (100, "some words are lost"),
        (53, "So many are lost"),
        (75, "Is each of these words one piece"),
        (77, "Two places are taken"),
        (48, "The word 'and' does not fit in whole"),
        (20, "end after 47 whole words, not 20"),
        (47.5, "no whole number"),
    ],
)
def test_words_that_are_seen(said, tiny, answer, words):
    assert words in said("tokens.4", answer, text=STORY, sd=tiny) + said("tokens.4", answer, text=STORY, sd=tiny)


def rows(ids, start, end, padding, length, *, stride=None, fill=True, marks=True, pad=None, extra=False):
    """A right answer to exercise 01.5, and its mistakes."""
    made = []
    for first in range(0, len(ids) + extra, stride or length - 2):
        part = ids[first : first + (stride or length - 2)]
        row = [start, *part, end] if marks else part
        made.append(row + [padding if pad is None else pad] * (length - len(row)) * fill)
    return made


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (rows, "well done"),
        (lambda *given: torch.tensor(rows(*given)), "well done"),
        (lambda *given: rows(*given, fill=False), "What fills the last one up"),
        (lambda *given: rows(*given, stride=5), "A row is too long. How wide may a stride be"),
        (lambda *given: rows(*given, stride=4, fill=False), "A stride is length"),
        (lambda *given: rows(*given[:-1], 77), "are they as long as `length` says"),
        (lambda *given: rows(*given, stride=5, marks=False), "there are no marks"),
        (lambda *given: rows(*given, stride=2), "gives 4 rows; 3 are needed"),
        (lambda *given: rows(*given)[:1], "A stride is length"),
        (lambda *given: rows(*given, pad=0), "A stride is length"),
        (lambda *given: rows(*given, extra=True), "gives 3 rows; 2 are needed"),
        (lambda ids, start, end, padding, length: rows(ids, start, end, end, length), "one end mark first"),
        (lambda *given: ..., "not answered yet"),
        (lambda *given: None, "returns None"),
        (3, "is no function"),
    ],
)
def test_rows_of_a_long_text(said, answer, words):
    assert words in said("tokens.5", answer) + said("tokens.5", answer)


def test_two_texts_are_not_cut_as_one(tiny):
    with pytest.raises(BadInput, match="One text is cut into pieces here"):
        encode_pieces(tiny.tokenizer, ["a horse", "a duck"])


def test_the_lit_bar_is_the_pair_that_is_joined():
    pairs = Counter({("n", "e"): 3, ("e", "w"): 3})
    assert plot_pairs(pairs).get_yticklabels()[0].get_text() == "n + e"


def test_one_flat_row_is_told(said):
    assert "also where there is one" in said("tokens.5", lambda ids, start, end, padding, length: [start, *ids, end])
