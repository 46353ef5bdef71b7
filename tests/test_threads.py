"""Threads that share a model: what each gets is what it would get alone, and nothing is left behind."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import Conv2d, Embedding, Linear, ModuleDict

import sdlesson
from sdlesson import models, tokens
from sdlesson.engine import lean
from sdlesson.exercises import tokens as token_judges
from sdlesson.explorers.prompts import explore_two_prompts
from sdlesson.explorers.tokens import explore_tokens
from sdlesson.figures.tokens import figure_pieces
from sdlesson.loading.quiet import quiet

PROMPT = "a photograph of an astronaut riding a horse"
LONG = "a horse in the snow " * 40

#: What the package asks the tokenizer, name -> function of it; texts that fit, that are cut, that are empty.
QUESTIONS = {
    "tokenize": lambda tokenizer: tokens.tokenize(tokenizer, PROMPT).tolist(),
    "tokenize, cut": lambda tokenizer: tokens.tokenize(tokenizer, LONG).tolist(),
    "tokenize, several": lambda tokenizer: tokens.tokenize(tokenizer, ["", PROMPT, LONG]).tolist(),
    "cut_words": lambda tokenizer: tokens.cut_words(tokenizer, LONG),
    "places": lambda tokenizer: tokens.places(tokenizer, PROMPT),
    "encode_pieces": lambda tokenizer: tokens.encode_pieces(tokenizer, LONG).tokens,
    "word_positions": lambda tokenizer: tokens.word_positions(tokenizer, PROMPT, "horse"),
    "figure_pieces": lambda tokenizer: figure_pieces(tokenizer, {"one": PROMPT}).words,
}


@pytest.fixture(autouse=True)
def cut_words_are_no_news():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tokens.TruncationWarning)
        yield


@pytest.fixture
def switching():
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def answers(tokenizer) -> dict:
    """Every question's answer."""
    return {name: ask(tokenizer) for name, ask in QUESTIONS.items()}


@pytest.mark.parametrize("held", [(5, 9), (2, None), (None, 200)])
def test_what_others_set_on_the_tokenizer_counts_for_nothing_and_stays(held):
    tokenizer = sdlesson.load("tiny").tokenizer
    alone, backend, (cut, padded) = answers(tokenizer), tokenizer.backend_tokenizer, held
    if cut:
        backend.enable_truncation(cut)
    if padded:
        backend.enable_padding(length=padded, pad_id=3)
    before = backend.truncation, backend.padding
    assert answers(tokenizer) == alone
    assert (backend.truncation, backend.padding) == before


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_in_the_middle_of_another_changes_nothing(question, monkeypatch):
    tokenizer = sdlesson.load("tiny").tokenizer
    alone, set_both, asked = answers(tokenizer), type(tokenizer).set_truncation_and_padding, []

    def between(self, *given, **named):  # between the two halves of a call of transformers'
        set_both(self, *given, **named)
        if not asked:
            asked.append(QUESTIONS[question](tokenizer))

    monkeypatch.setattr(type(tokenizer), "set_truncation_and_padding", between)
    options = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}
    assert tokenizer([PROMPT], **options).input_ids.tolist() == alone["tokenize"]  # a learner's own line
    assert asked == [alone[question]]
    assert answers(tokenizer) == alone


def test_a_tokenizer_is_asked_by_its_own_rules(tiny, toy):
    texts = [
        "",
        " ",
        "a horse <|endoftext|> x",
        "Ünïcode ﬁ 🙂 a zebra",
        PROMPT.upper(),
        LONG,
        "<|startoftext|>",
        "\ta\n",
    ]
    for tokenizer in (tiny.tokenizer, toy.tokenizer):
        plain = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        assert torch.equal(tokens.token_ids(tokenizer, texts), plain)
        for text in texts:
            whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            pieces = tokens.encode_pieces(tokenizer, text)
            assert (pieces.ids, pieces.offsets) == (whole.input_ids, whole["offset_mapping"])
            assert pieces.word_ids == whole.word_ids() and pieces.tokens == tokenizer.tokenize(text)


def test_threads_that_ask_one_tokenizer_get_what_they_would_get_alone(tiny, switching):
    alone = answers(tiny.tokenizer)
    vectors = sdlesson.text_embeddings(tiny, PROMPT)
    said = token_judges._count_ids(0, text=PROMPT, sd=tiny)

    def ask(number):
        found = [name for name, ask in QUESTIONS.items() if ask(tiny.tokenizer) != alone[name]]
        found += [] if torch.equal(sdlesson.text_embeddings(tiny, PROMPT), vectors) else ["text_embeddings"]
        return found + ([] if token_judges._count_ids(0, text=PROMPT, sd=tiny) == said else ["check"])

    with ThreadPoolExecutor(4) as pool:
        wrong = [name for found in pool.map(ask, range(60)) for name in found]
    assert not wrong


def in_the_middle(monkeypatch, module, name: str, first, second):
    """What `first()` gives while `second()` runs inside its call of module.name; both results."""
    inside, go, real = threading.Event(), threading.Event(), getattr(module, name)

    def slow(*given, **named):
        if threading.current_thread().name == "first" and not inside.is_set():
            inside.set()
            go.wait(20)
        return real(*given, **named)

    monkeypatch.setattr(module, name, slow)
    got = []

    def work():
        with torch.no_grad():
            got.append(first())

    thread = threading.Thread(target=work, name="first")
    thread.start()
    assert inside.wait(20)
    with torch.no_grad():
        other = second()
    go.set()
    thread.join(20)
    return got[0], other


@pytest.mark.parametrize("kind", ["linear", "conv2d", "embedding"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_threads_in_a_part_that_widens(kind, dtype, monkeypatch):
    torch.manual_seed(0)
    layers = {"linear": Linear(300, 300), "conv2d": Conv2d(90, 90, 3, padding=1), "embedding": Embedding(600, 300)}
    part = lean.upcast_layers(ModuleDict(layers | {"other": Linear(300, 280)}).half(), dtype)
    ids, x = torch.arange(6), torch.randn(2, 300, dtype=dtype)
    given = {"linear": x, "conv2d": torch.randn(1, 90, 8, 8, dtype=dtype), "embedding": ids}[kind]
    with torch.no_grad():
        alone = part[kind](given), part["other"](x)
    calls = (lambda: part[kind](given)), (lambda: part["other"](x))
    where = (lean, "linear") if kind == "linear" else (torch.nn.functional, kind)
    found = in_the_middle(monkeypatch, *where, *calls)
    assert all(map(torch.equal, found, alone))
    assert {layer.weight.dtype for layer in part.values()} == {torch.float16}  # as they are stored


def settings_of_the_libraries() -> list:
    """What loading might leave changed."""
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    logs = (diffusers_log, transformers_log)
    told = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    return [*told, torch.get_default_dtype(), torch.is_grad_enabled(), list(warnings.filters)]


@pytest.mark.parametrize("first_out", [0, 1])
def test_the_last_of_two_loads_brings_the_libraries_words_back(first_out):
    from transformers.utils import logging as log

    before, entered = settings_of_the_libraries(), [quiet(), quiet()]
    for each in entered:
        each.__enter__()
    entered[first_out].__exit__(None, None, None)
    assert log.get_verbosity() == logging.ERROR  # the other one is still inside
    entered[1 - first_out].__exit__(None, None, None)
    assert settings_of_the_libraries() == before


def test_a_load_that_fails_inside_another_leaves_it_quiet():
    before = settings_of_the_libraries()
    with quiet():
        with pytest.raises(KeyError), quiet():
            raise KeyError
        inside = settings_of_the_libraries()
    assert inside[:2] == [(logging.ERROR, False)] * 2
    assert settings_of_the_libraries() == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("limit", [0, 2**40], ids=["big", "small"])
def test_loading_leaves_torchs_default_dtype_alone(dtype, limit, toy_half, monkeypatch):
    set_default, seen = torch.set_default_dtype, []
    monkeypatch.setattr(torch, "set_default_dtype", lambda each: seen.append(each) or set_default(each))
    monkeypatch.setattr(models, "_BIG", limit)
    sdlesson.load(toy_half, dtype=dtype)
    assert set(seen) <= {torch.float32}  # a thread that draws noise meanwhile draws float32


def test_token_explorers_in_threads_leave_the_filters_of_warnings(toy, switching):
    before = list(warnings.filters)
    page = explore_tokens(toy, PROMPT, LONG).page.value
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: explore_tokens(toy, PROMPT, LONG).page.value, range(12)))
    assert set(pages) == {page}
    assert list(warnings.filters) == before


def test_the_token_explorer_says_itself_what_is_cut(toy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explorer = explore_tokens(toy, LONG, PROMPT)
    assert "Cut off" in explorer.page.value


#: Runs that differ in all that decides how a layer computes: guided or not, batches, sizes, texts that are cut.
RUNS = [
    {"prompt": PROMPT, "seed": 1},
    {"prompt": PROMPT, "seed": 1, "guidance_scale": 1},
    {"prompt": [PROMPT, "a cartoon of a queen"], "seed": 2, "negative_prompt": "snow"},
    {"prompt": LONG, "seed": 3},
    {"prompt": "", "seed": 4, "guidance_scale": 0},
]


def painted(sd, run) -> bytes:
    """The bytes of a short run's pictures."""
    pictures = sdlesson.paint(model=sd, num_inference_steps=2, height=64, width=64, **RUNS[run])
    return b"".join(each.tobytes() for each in pictures)


def explored(sd) -> str:
    """What two explorers show, one of them after painting, in a thread of its own."""
    two = explore_two_prompts(sd, PROMPT, "a cartoon of a queen")
    two.painting.start()
    two.painting.wait()
    return two.said.value + two.page.value + explore_tokens(sd, PROMPT, LONG).page.value


def reloaded(folder) -> bytes:
    """What the text encoder of a model that is loaded anew says."""
    sd = sdlesson.load(folder)
    return sdlesson.text_embeddings(sd, PROMPT).float().numpy().tobytes()


def by_threads_as_alone(folder, paints: int, others: int) -> None:
    """Paint in 4 threads, with explorers and loads among them: everything as alone, before and afterwards."""
    sd, settings = sdlesson.load(folder), settings_of_the_libraries()
    paintings = [(painted, (sd, run)) for run in range(len(RUNS))]
    beside = [(explored, (sd,)), (reloaded, (folder,))] if others else []
    alone = [do(*given) for do, given in paintings + beside]
    jobs = [number % len(paintings) for number in range(paints)]
    for number in range(others):
        jobs.insert((number + 1) * paints // (others + 1), len(paintings) + number % len(beside))

    def work(job):
        do, given = (paintings + beside)[job]
        return do(*given)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, jobs))
    wrong = [
        (number, job) for number, (job, found) in enumerate(zip(jobs, results, strict=True)) if found != alone[job]
    ]
    assert not wrong
    assert list(map(work, range(len(alone)))) == alone  # and afterwards, alone
    assert settings_of_the_libraries() == settings


@pytest.fixture
def sixteen_bits(monkeypatch):
    """A function: from its call on every model is a big one, its parts take turns, small weights stay in 16 bits."""

    def begin(bfloat16=False):
        monkeypatch.setattr(models, "_BIG", 0)
        monkeypatch.setattr(lean, "_SMALL", 800)  # conv_in is small in every model, and tells its dtype
        monkeypatch.setattr(lean, "is_short", lambda needed: True)
        for name in ("amx_tile", "avx512_bf16"):
            monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda: bfloat16)

    return begin


@pytest.fixture
def one_thread_each():
    """Four threads share the cores: one core each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_threads_that_share_the_bundled_model(one_thread_each):
    by_threads_as_alone("tiny", paints=10, others=0)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_threads_that_share_a_16_bit_big_model(bfloat16, toy_half, sixteen_bits, one_thread_each):
    sixteen_bits(bfloat16)
    by_threads_as_alone(toy_half, paints=10, others=2)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_hundred_paints_by_four_threads_on_the_bundled_model(one_thread_each, switching):
    by_threads_as_alone("tiny", paints=100, others=12)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_hundred_paints_by_four_threads_on_a_16_bit_big_model(
    bfloat16, cousins, sixteen_bits, one_thread_each, switching
):
    sixteen_bits(bfloat16)
    by_threads_as_alone(cousins("v1.4", "float16"), paints=100, others=8)
