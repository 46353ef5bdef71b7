"""The lesson on training: the loss over the noise levels, a small training, a new word; its judges."""

from dataclasses import replace

import pytest
import torch
from diffusers import LMSDiscreteScheduler

from sdlesson.figures.training import figure_batch, figure_over_sigma, figure_progress
from sdlesson.loading.errors import BadInput
from sdlesson.training import (
    NoisePrediction,
    learn_word,
    loss_at,
    make_examples,
    small_unet,
    train,
    wilson,
    with_new_word,
)
from sdlesson.world import Scene

SCENES = [Scene("cartoon", mount="duck", place="beach"), Scene("cartoon", mount="horse", place="moon")]


@pytest.fixture
def examples(toy):
    return make_examples(toy, SCENES * 2, seed=1)


def test_examples_keep_each_caption_once(toy, examples):
    assert examples.latents.shape == (4, 4, 6, 6) and examples.texts.shape == (3, 77, 24)
    assert examples.names.tolist() == [1, 2, 1, 2]
    clean, noise, timesteps, texts = examples.batch(10, torch.Generator().manual_seed(0))
    assert clean.shape == noise.shape == (10, 4, 6, 6) and texts.shape == (10, 77, 24)
    assert [t // 100 for t in timesteps.tolist()] == list(range(10))


def test_one_caption_in_ten_is_empty(examples):
    texts = examples.batch(2000, torch.Generator().manual_seed(0))[3]
    share = (texts == examples.texts[0]).all(dim=(1, 2)).float().mean()
    assert 0.07 < share < 0.13


def test_loss_at_is_the_packages_loss_without_weights(toy, examples):
    texts, noise = examples.texts[examples.names], torch.randn(examples.latents.shape)
    plain = loss_at(toy, examples.latents, noise, texts, [900])  # at this level the weight is 1
    with torch.no_grad():
        package = NoisePrediction(toy.unet)(examples.latents, noise, torch.full((4,), 900), texts)
    torch.testing.assert_close(plain[0], package, rtol=1e-4, atol=1e-5)


def test_training_is_seeded_and_learns(toy, examples):
    state = torch.random.get_rng_state()
    runs = [[m.loss for m in train(small_unet(toy, (16, 16, 16)), examples, steps=12, batch=4)] for _ in range(2)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert runs[0] == runs[1] and sum(runs[0][-3:]) < sum(runs[0][:3])


def test_the_average_trails_the_weights(toy, examples):
    unet = small_unet(toy, (16, 16, 16))
    *_, last = train(unet, examples, steps=3, batch=2)
    assert last.step == 3 and not last.averaged.training
    pairs = list(zip(unet.parameters(), last.averaged.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_a_word_is_one_row(toy, examples):
    taught = with_new_word(toy, "zuzu", like=["horse", "moon"])
    assert len(taught.tokenizer("a zuzu").input_ids) == 4 and len(toy.tokenizer) == len(taught.tokenizer) - 1
    before = {name: each.clone() for name, each in taught.text_encoder.state_dict().items()}
    losses = learn_word(taught, examples.latents[:2], ["a zuzu", "zuzu"], steps=2, copies=1)
    assert len(losses) == 2
    changed = [name for name, each in taught.text_encoder.state_dict().items() if not torch.equal(each, before[name])]
    assert len(changed) == 1 and changed[0].endswith("token_embedding.weight")
    table = taught.text_encoder.state_dict()[changed[0]]
    assert (table != before[changed[0]]).any(dim=1).nonzero().flatten().tolist() == [len(table) - 1]
    with pytest.raises(BadInput, match="knows 'zuzu' already"):
        with_new_word(taught, "zuzu", like=["horse"])


@pytest.mark.parametrize("word", ["horse", "a"])
def test_a_word_that_the_tokenizer_knows_is_not_new(toy, word):
    """It would have no row of its own: the last one, the end mark's, would have been taught in its place."""
    with pytest.raises(BadInput, match="knows .* already"):
        with_new_word(toy, word, like=["moon"])


def test_a_new_word_is_no_part_of_others(toy):
    taught = with_new_word(toy, "zuzu", like="horse")
    assert len(taught.tokenizer("zuzus").input_ids) > 3
    row = taught.text_encoder.get_input_embeddings().weight[-1]
    expected = toy.text_encoder.get_input_embeddings().weight[toy.tokenizer("horse").input_ids[1]]
    torch.testing.assert_close(row, expected)


def test_a_learned_word_leaves_the_unet_as_it_was(toy, examples):
    assert all(each.requires_grad for each in toy.unet.parameters())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    learn_word(with_new_word(toy, "zuzu", like=["horse"]), examples.latents[:1], ["a zuzu"], steps=1, copies=1)
    assert all(each.requires_grad for each in toy.unet.parameters())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("captions", "options", "words"),
    [
        (["a moon"], {}, "must stand in each caption"),
        (["a zuzu", "a zuzu"], {}, "2 captions for 1 drawings"),
        (["a zuzu"], {"copies": 0}, "number of copies"),
    ],
)
def test_what_no_word_can_be_learned_from(toy, examples, captions, options, words):
    taught = with_new_word(toy, "zuzu", like=["horse"])
    with pytest.raises(BadInput, match=words):
        learn_word(taught, examples.latents[:1], captions, steps=1, **options)


def test_a_model_without_a_new_word_keeps_its_end_mark(toy, examples):
    table = toy.text_encoder.get_input_embeddings().weight
    before = table.detach().clone()
    with pytest.raises(BadInput, match="has no new word; make a copy"):
        learn_word(toy, examples.latents[:1], ["a zuzu"], steps=1)
    assert torch.equal(table, before)
    with pytest.raises(BadInput, match="is to be like is empty"):
        with_new_word(toy, "zuzu", like=["moon", " "])


def test_learning_that_is_interrupted_leaves_the_parts_trainable(toy, examples, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    taught = with_new_word(toy, "zuzu", like=["horse"])
    monkeypatch.setattr(torch.optim.Adam, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        learn_word(taught, examples.latents[:1], ["a zuzu"], steps=1)
    parts = (taught.unet, taught.text_encoder)
    assert all(each.requires_grad for part in parts for each in part.parameters())


def test_losses_are_those_of_timesteps_of_the_training(toy, examples):
    latents, texts = examples.latents[:2], examples.texts[:2]
    noise = torch.zeros_like(latents)
    for odd in (-1, 1000, 946.42):
        with pytest.raises(BadInput, match="timestep"):
            loss_at(toy, latents, noise, texts, [odd])
    with pytest.raises(BadInput, match="give one for each"):
        loss_at(toy, latents, noise, texts[:1], [500])


def test_a_unet_that_guesses_no_noise_has_another_loss(toy, examples):
    scheduler = LMSDiscreteScheduler.from_config(toy.scheduler.config, prediction_type="v_prediction")
    other = replace(toy, scheduler=scheduler)
    with pytest.raises(BadInput, match="guesses another thing"):
        loss_at(other, examples.latents, torch.zeros_like(examples.latents), examples.texts[:4], [500])
    with pytest.raises(BadInput, match="guesses another thing"):
        learn_word(with_new_word(other, "zuzu", like=["horse"]), examples.latents[:1], ["a zuzu"], steps=1)


def test_wilson():
    assert wilson(12, 12) == pytest.approx((0.7575, 1.0), abs=1e-3)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    for right, count in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(BadInput):
            wilson(right, count)


def test_figures():
    fig = figure_over_sigma({"t": {"a": ([0.1, 1, 10], [3, 2, 1])}}, "loss")
    assert fig.axes[0].get_xscale() == "log" and "noise level σ (more noise to the right)" in fig.words
    fig = figure_progress({"fine": [1.0] * 10 + [0.2] * 10, "poor": [1.0] * 20, "burst": [1.0] * 19 + [float("nan")]})
    assert "burst, which ends as NaN" in fig.words
    assert "fine, which ends below half" in fig.words and "poor, which stays above" in fig.words
    assert len(fig.axes[0].lines) == 3 and fig.axes[0].get_ylim()[0] == 0


def test_rows_of_one_kind_have_one_scale():
    rows = {"a": [torch.ones(2, 2)] * 2, "b (c)": [-3 * torch.ones(2, 2)] * 2, "other": [5 * torch.ones(2, 2)] * 2}
    fig = figure_batch(rows, ["x", "y"], ["a", "b (c)"])
    assert "a (maps up to 3.0); b (c) (maps up to 3.0); other (maps up to 5.0)" in fig.words
    assert [ax.images[0].get_clim()[1] for ax in fig.axes[:9] if ax.images] == [3, 3, 3, 3, 5, 5]


CASES = [
    ("training.1", 1, "well done"),
    ("training.1", 0, "perfect guess"),
    ("training.1", 0.8, "mean of |noise|"),
    ("training.1", 7, "the variance of the noise"),
    ("training.1", "one", "is no number"),
    ("training.2", 1.0, "well done"),
    ("training.2", 0.1, "so is σ"),
    ("training.2", 0.1, "The loss is its square"),
    ("training.2", 0.01, "What does σ do to an error"),
    ("training.2", 0.01, "played no part"),
    ("training.2", 0.0001, "wrong side"),
    ("training.2", 0.001, "not easier"),
    ("training.2", 1.01, "weight of v"),
    ("training.2", 55, "σ² times"),
    ("training.2", True, "is no number"),
    ("training.3", lambda x, n, k: k.sqrt() * n - (1 - k).sqrt() * x, "well done"),
    ("training.3", lambda x, n, k: k.sqrt() * x + (1 - k).sqrt() * n, "noisy latents, the network"),
    ("training.3", lambda x, n, k: k.sqrt() * x - (1 - k).sqrt() * n, "Latents and noise have changed places"),
    ("training.3", lambda x, n, k: (1 - k).sqrt() * x - k.sqrt() * n, "sign is turned"),
    ("training.3", lambda x, n, k: (1 - k).sqrt() * n - k.sqrt() * x, "changed places"),
    ("training.3", lambda x, n, k: k.sqrt() * n + (1 - k).sqrt() * x, "It is a difference"),
    ("training.3", lambda x, n, k: k * n - (1 - k) * x, "Take the roots"),
    ("training.3", lambda x, n, k: n, "This is the noise alone"),
    ("training.3", lambda x, n, k: n.sum(), "no tensor of shape"),
    ("training.4", lambda a, w, d: d * a + (1 - d) * w, "well done"),
    ("training.4", lambda a, w, d: (1 - d) * a + d * w, "changed places"),
    ("training.4", lambda a, w, d: d * a + w, "add up to 1"),
    ("training.4", lambda a, w, d: (a + w) / 2, "Where is decay"),
    ("training.4", lambda a, w, d: a, "new weights are not used"),
    ("training.4", lambda a, w, d: w, "old average is not used"),
    ("training.4", lambda a, w, d: a - w, "The result is not"),
    ("training.4", lambda a, w, d: 3, "no tensor of 5"),
    ("training.5", 24, "well done"),
    ("training.5", 77 * 24, "77 positions"),
    ("training.5", 1, "a vector of 24"),
    ("training.5", 25, "the width 24"),
    ("training.5", None, "is no number"),
]


@pytest.mark.parametrize(("name", "answer", "words"), CASES)
def test_judges(said, toy, name, answer, words):
    facts = {"training.2": {"sigma": 10, "error": 0.01}, "training.5": {"sd": toy}}.get(name, {})
    assert words in said(name, answer, **facts) + said(name, answer, **facts)


def test_the_whole_table_is_not_trained(said, toy):
    count = toy.text_encoder.get_input_embeddings().weight.numel()
    assert "whole table" in said("training.5", count, sd=toy) + said("training.5", count, sd=toy)
