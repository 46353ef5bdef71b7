"""What the judges share: answers of every kind of number and tensor, the nearest known mistake, one changed setting."""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sdlesson.exercises import Mistake, Stopped
from sdlesson.exercises.compare import (
    array,
    call,
    compared,
    listed,
    nearest,
    number,
    one_change,
    pair,
    shaped,
    shown,
    told,
    whole,
)

SETTINGS = {"prompt": "a photograph of an astronaut riding a horse", "seed": 42, "num_inference_steps": 20}
ELEPHANT = "a photograph of an astronaut riding an elephant"
WORDS = {"copied": "dict(settings, …=…)", "unchanged": "Nothing is different.", "beside": Mistake("Others?", "Not {}.")}


def told_by(function, *given, **facts) -> Mistake:
    """The mistake with which `function` ends the judging."""
    with pytest.raises(Stopped) as stopped:
        function(*given, **facts)
    return stopped.value.args[0]


@pytest.mark.parametrize(
    "answer",
    [
        3,
        3.0,
        Fraction(3),
        np.float32(3),
        np.int64(3),
        np.array(3),
        np.array([3.0]),
        torch.tensor(3),
        torch.tensor([3.0]),
    ],
)
def test_a_number_may_be_of_any_kind(answer):
    assert number(answer) == 3 and whole(3.0) == 3 and f"{number(answer):g}" == "3"


@pytest.mark.parametrize("answer", ["3", True, math.nan, math.inf, None, [3], torch.tensor(True), torch.ones(2), {}])
def test_what_is_no_number(answer):
    assert told_by(number, answer, "One number.") == ("One number.", f"{shown(answer)} is no number.")


@pytest.mark.parametrize("answer", [13, 13.0, np.int32(13), np.float64(13), torch.tensor(13), torch.tensor(13.0)])
def test_a_whole_number_may_be_of_any_kind(answer):
    assert whole(answer) == 13 and type(whole(answer)) is int


@pytest.mark.parametrize("answer", [13.5, "13", True, math.nan, math.inf, None, torch.tensor(13.5)])
def test_what_is_no_whole_number(answer):
    assert told_by(whole, answer).wrong == f"{shown(answer)} is no whole number."


@pytest.mark.parametrize(
    "answer",
    [(1, 2), [1, 2], torch.tensor([1, 2]), np.array([1, 2]), (torch.tensor(1), np.int64(2)), torch.Size([1, 2])],
)
def test_a_pair_or_a_list_may_be_of_any_kind(answer):
    assert pair(answer, lambda each: type(each) is int, "", "") == listed(answer) == (1, 2)


@pytest.mark.parametrize("answer", [7, None, "12", {1, 2}, {1: 2}, torch.tensor(7), torch.ones(2, 2), np.ones((2, 2))])
def test_what_has_no_order_is_said_in_a_sentence(answer):
    assert "could not be used" in told_by(listed, answer).wrong
    assert told_by(pair, answer, lambda each: True, "Two.", "{} is no pair.") == (
        "Two.",
        f"{shown(answer)} is no pair.",
    )


@pytest.mark.parametrize(
    "got",
    [
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[1.0, 2.0]], dtype=torch.float64),
        torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16),
        torch.tensor([[1, 2]]),
        torch.tensor([[1.0, 2.0]], requires_grad=True),
        np.array([[1, 2]], dtype=np.float32),
        [[1, 2.0]],
        ((1, 2),),
    ],
)
def test_a_tensor_may_be_of_any_kind(got):
    assert shaped(got, (1, 2), "", "").tolist() == [[1, 2]]
    assert compared(got, torch.tensor([[1.0, 2.0]]), [], Mistake("", "other")) is None


@pytest.mark.parametrize(
    ("got", "found"),
    [
        (torch.ones(3), "(3,)"),
        (2.5, "()"),
        ([torch.ones(4, 2), torch.ones(4, 2)], "[(4, 2), (4, 2)]"),
        ([np.ones(2), torch.ones(3)], "[(2,), (3,)]"),
        ([[1, 2], [3]], "[[1, 2], [3]]"),
        ("two", "'two'"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_another_shape_is_named(got, found):
    assert told_by(shaped, got, (1, 2), "Which shape?", "It is {}.") == ("Which shape?", f"It is {found}.")


def test_the_nearest_known_result_counts_and_of_two_alike_the_first():
    known = told("far", {"ten": 10}) + told("near", {"a little more": 10.4, "the same": 10.4})
    assert nearest(10.3, known, atol=0.5) == ("near", "a little more")
    assert nearest(10.1, known, atol=0.5) == ("far", "ten")
    assert nearest(np.float32(10.4), known) == ("near", "a little more") and nearest(10.39, known) is None
    assert nearest(torch.tensor([10.0]), known) is None and nearest("10", known) is None and nearest(10, []) is None


def test_the_tolerance_is_absolute_or_of_the_known_size():
    right, other = torch.tensor([1.0, 100.0]), Mistake("", "other")
    assert compared(right + 0.9, right, [], other, atol=1.0) is None
    assert compared(right * 1.009, right, [], other, atol=0, rtol=0.01) is None
    assert compared(right + 0.9, right, [], other, atol=0, rtol=0.01) == other
    assert compared(right * math.nan, right, [], other, atol=1.0) == other
    assert compared(right[:1], right, [], other, atol=1e9) == other


def test_a_hint_may_say_what_is_wrong():
    assert told("Look again. {}", {"The sign is missing.": 1})[0][1].hint == "Look again. The sign is missing."


@pytest.mark.parametrize("given", [torch.ones(3, 50), np.ones((40, 40)), "x" * 5000, list(range(5000))])
def test_what_is_large_is_not_printed_whole(given):
    assert len(shown(given)) < 210
    assert told_by(call, given).wrong == f"{shown(given)} is no function."


def test_small_answers_are_shown_as_they_are():
    assert [shown(each) for each in (3, "a", (1, 2), torch.tensor(3))] == ["3", "'a'", "(1, 2)", "tensor(3)"]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (7, "7 are no settings: the answer could not be used."),
        (torch.ones(3, 3), "<Tensor of shape (3, 3)> are no settings: the answer could not be used."),
        ({"seed": 1}, "Your settings lack num_inference_steps, prompt."),
        (dict(SETTINGS), "All settings are as they were."),
        (SETTINGS | {"seed": 1}, "Not seed."),
        (SETTINGS | {"seed": 1, "prompt": "x"}, "Not prompt, seed."),
        (SETTINGS | {"prompt": "x", "more": 1}, "Not more, prompt."),
    ],
)
def test_one_changed_setting(answer, wrong):
    assert told_by(one_change, answer, SETTINGS, "prompt", **WORDS).wrong == wrong


def test_the_old_settings_themselves_are_told_to_be_no_copy():
    assert "no copy" in told_by(one_change, SETTINGS, SETTINGS, "prompt", **WORDS).wrong
    assert one_change(SETTINGS | {"prompt": "x"}, SETTINGS, "prompt", **WORDS) == "x"


def two_weights(before, now, after):
    old = (after - now) ** 2 / (2 * (before - now))
    return [after - now - old, old]


def euler(x, denoised, sigma, after):
    return x + (x - denoised) / sigma * (after - sigma)


def guided(uncond, text, scale):
    return uncond + scale * (text - uncond)


def noise_of(seeds, shape):
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


SHAPES = SimpleNamespace(unet=SimpleNamespace(config=SimpleNamespace(in_channels=4)), size=(128, 128), vae_factor=8)


@pytest.mark.parametrize(
    ("name", "answer", "facts"),
    [
        ("sigmas.1", torch.tensor([1.0, 0.5]), {}),
        ("sigmas.2", torch.tensor(999 - 999 / 49), {}),
        ("sigmas.2", torch.linspace(999, 0, 50)[1:2], {}),
        ("sigmas.2", np.linspace(0, 999, 50)[::-1][1], {}),
        ("sigmas.3", lambda *given: euler(*given).double(), {}),
        ("sigmas.3", lambda *given: euler(*given).numpy(), {}),
        ("sigmas.3", lambda *given: euler(*given).tolist(), {}),
        (
            "sigmas.4",
            lambda *given: torch.tensor(two_weights(*given)),
            {},
        ),
        (
            "sigmas.4",
            lambda *given: np.array(two_weights(*given)),
            {},
        ),
        ("onepage.1", torch.tensor([3, 4, 16, 32]), {"sd": SHAPES}),
        ("onepage.1", np.array([3, 4, 16.0, 32]), {"sd": SHAPES}),
        ("onepage.2", SETTINGS | {"prompt": f"{ELEPHANT}."}, {"settings": SETTINGS}),
        ("onepage.2", SETTINGS | {"prompt": f"{ELEPHANT.capitalize()}!"}, {"settings": SETTINGS}),
        ("onepage.2", SETTINGS | {"prompt": f" {ELEPHANT} ."}, {"settings": SETTINGS}),
        ("onepage.3", lambda *given: guided(*given).double(), {}),
        ("onepage.3", lambda *given: guided(*given).numpy(), {}),
        ("guidance.2", torch.tensor(-4), {"swapped": 5}),
        ("latents.1", (torch.Size([1, 16, 96, 128]), torch.tensor(12)), {"height": 768, "width": 1024, "channels": 16}),
        ("latents.2", lambda latents: (1 / latents.double().std()).numpy(), {}),
        ("latents.4", lambda seeds, shape: noise_of(seeds, shape).double().numpy(), {}),
        ("latents.5", lambda m, n, f: ((m[:, :4] + (m[:, 4:] / 2).exp() * n) * f).double(), {}),
        ("decoding.2", torch.tensor([0, 128, 255], dtype=torch.uint8), {"values": [-1, 0.004, 1]}),
        ("decoding.3", "b, d, f", {}),
        ("decoding.3", ["B", "D", "F"], {}),
        ("embeddings.4", lambda h, i, e: h[torch.arange(3), (i == e).int().argmax(1)].double(), {}),
        ("attention.5", lambda heat, mask: (heat[mask].mean() / heat.mean()).numpy(), {}),
        ("steering.1", np.float32(1), {"scale": 8}),
        ("steering.2", torch.tensor([15, 35]), {"steps": 50, "strength": 0.3}),
        ("samplers.1", np.array([20, 39]), {"steps": 20}),
        ("training.1", torch.tensor(1.0), {}),
        ("training.4", lambda a, w, d: (d * a + (1 - d) * w).double(), {}),
        ("fullsize.2", torch.tensor(0.8), {"step": 1.6e12, "rate": 40e12, "steps": 20}),
    ],
)
def test_an_unusual_right_answer_is_accepted(said, name, answer, facts):
    assert "well done" in said(name, answer, **facts)


@pytest.mark.parametrize(
    ("name", "answer", "words", "facts"),
    [
        ("latents.4", lambda s, shape: [torch.zeros(shape) for _ in s], "These are several; torch.stack", {}),
        ("latents.4", lambda s, shape: noise_of([42, 43, 44], shape), "fixed in it", {}),
        ("latents.4", lambda s, shape: noise_of([0, 1, 2], shape), "The numbers are others", {}),
        ("onepage.3", lambda u, t, s: guided(u, t, 3), "use `scale`", {}),
        ("onepage.3", lambda u, t, s: guided(u, t, 7.5), "The result is not", {}),
        ("latents.4", lambda s, shape: "noise", "the shape 'noise'", {}),
        ("latents.5", lambda m, n, f: list(m.chunk(2, dim=1)), "the shape [(2, 4, 3, 3), (2, 4, 3, 3)]", {}),
        ("sigmas.3", torch.ones(1, 4, 3, 3), "<Tensor of shape (1, 4, 3, 3)> is no function", {}),
        ("onepage.3", np.ones((4, 3)), "<ndarray of shape (4, 3)> is no function", {}),
        ("training.3", [0.5] * 300, "… is no function", {}),
        ("sigmas.3", lambda *given: "x", "The result is not x +", {}),
        ("onepage.3", lambda *given: 5, "() came out", {}),
        ("onepage.1", torch.zeros(3, 4, 16, 32), "<Tensor of shape (3, 4, 16, 32)> could not be used", {"sd": SHAPES}),
        ("onepage.2", [1], "[1] are no settings", {"settings": SETTINGS}),
        ("onepage.2", SETTINGS | {"prompt": None}, "Your prompt is None", {"settings": SETTINGS}),
        ("symptoms.1", 7, "7 is none of these", {}),
        ("sigmas.2", 979, "may look alike", {}),
        ("sigmas.2", torch.tensor(979), "may look alike", {}),
        ("sigmas.2", 979.0, "may look alike", {}),
        ("samplers.1", 20, "20 is not a pair of numbers", {"steps": 20}),
        ("steering.2", 15, "15 is no such pair", {"steps": 50, "strength": 0.3}),
        ("attention.5", lambda heat, mask: heat, "is no number", {}),
        ("fullsize.3", lambda memory, *given: torch.ones(3) > memory, "not True or False", {"libraries": 0.5}),
        ("latents.2", lambda latents: "0.18", "'0.18' is no number", {}),
        ("symptoms.4", lambda latents, sigma: ["healthy"], "['healthy'] is none of the four", {}),
    ],
)
def test_a_wrong_kind_of_answer_gets_a_sentence(said, name, answer, words, facts):
    both = said(name, answer, **facts) + said(name, answer, **facts)
    assert words in both and "Error" not in both and "well done" not in both


@pytest.mark.parametrize(
    ("name", "answer", "words", "facts"),
    [
        ("samplers.2", 0.008, "how Euler's error would fall", {"error": 0.064, "order": 3, "times": 8}),
        ("guidance.2", 1, "Does the order not matter", {"swapped": 1}),
        ("attention.2", 1, "Nobody divides by the new sum", {"weight": 0.5, "factor": 2}),
        ("attention.2", 2, "meets one weight only", {"weight": 0.5, "factor": 2}),
    ],
)
def test_of_two_mistakes_that_give_one_number_the_first_is_told(said, name, answer, words, facts):
    assert words in said(name, answer, **facts)


def test_arrays_of_no_numbers_are_none():
    assert [array(each) for each in ("3", None, object(), ["a"], [[1], [1, 2]], 1j, np.array("3"))] == [None] * 7
