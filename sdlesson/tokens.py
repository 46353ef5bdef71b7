"""Prompt -> token ids: what the tokenizer makes of words, and which words it cuts off."""

from __future__ import annotations

import itertools
import json
import unicodedata
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .loading import checks
from .loading.errors import BadInput

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer
    from transformers import CLIPTokenizer

    from .models import StableDiffusion


_CLIP_LENGTH = 77  # tokens that CLIP's text encoder reads, start and end among them (as the released models have it)


_NAMED = 30  # words that a warning names before it only counts


WORD_END = "</w>"


class TruncationWarning(UserWarning):
    """A prompt had more tokens than the text encoder reads; the message names the words that were cut off."""


class UnknownWordsWarning(UserWarning):
    """A prompt had words that a model of a small closed world never read; the message names them."""


def as_prompts(prompt: str | Sequence[str]) -> list[str]:
    """A prompt, or several, as a list of at least one text; raises BadInput for anything else."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt) if isinstance(prompt, Sequence) else None
    if prompts is None or not all(isinstance(text, str) for text in prompts):
        raise BadInput(f"A prompt is a text or a list of texts, not {checks.told(prompt)}.")
    if not prompts:
        raise BadInput("The list of prompts is empty; give at least one.")
    for text in prompts:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise BadInput(f"The prompt {text!r} is not valid text (Unicode): it holds half a character.")
    return prompts


def context_length(tokenizer: CLIPTokenizer) -> int:
    """How many tokens the text encoder reads, start and end included: 77 for CLIP."""
    length = tokenizer.model_max_length
    return length if length < 10**6 else _CLIP_LENGTH  # transformers writes 1e30 where a model says nothing


def own_encoder(tokenizer: CLIPTokenizer) -> Tokenizer:
    """A `tokenizers.Tokenizer` by the rules of `tokenizer`, for one call: it neither cuts nor pads unless told to.

    transformers keeps cutting and padding in the one object that all threads share; what is set here stays here. The
    vocabulary is shared and not copied, so that this takes no time.
    """
    from tokenizers import Tokenizer

    shared = tokenizer.backend_tokenizer
    own = Tokenizer(shared.model)
    for rules in ("normalizer", "pre_tokenizer", "post_processor"):
        setattr(own, rules, getattr(shared, rules))
    own.add_tokens([token for _, token in sorted(shared.get_added_tokens_decoder().items())])
    return own


def encode_pieces(tokenizer: CLIPTokenizer, text: str) -> Encoding:
    """All pieces of `text`, none cut off, without start, end and padding: their ids, tokens, offsets and word_ids."""
    if not isinstance(text, str):
        raise BadInput(f"One text is cut into pieces here, not {checks.told(text)}.")
    return own_encoder(tokenizer).encode(*as_prompts(text), add_special_tokens=False)


def token_ids(tokenizer: CLIPTokenizer, prompt: str | Sequence[str]) -> torch.Tensor:
    """What `tokenize` gives, (batch, 77), without a word about what is cut off."""
    import torch

    length, own = context_length(tokenizer), own_encoder(tokenizer)
    own.enable_truncation(length, direction=tokenizer.truncation_side)
    side, pad = tokenizer.padding_side, tokenizer.pad_token
    own.enable_padding(length=length, direction=side, pad_id=tokenizer.pad_token_id, pad_token=pad)
    return torch.tensor([encoding.ids for encoding in own.encode_batch(as_prompts(prompt))])


def tokenize(tokenizer: CLIPTokenizer, prompt: str | Sequence[str]) -> torch.Tensor:
    """Token ids of one prompt or several, start and end added, padded and cut to one length; int64, (batch, 77).

    The first words are kept. Words that are cut off are named by a TruncationWarning. Raises BadInput for an empty
    list.
    """
    checks.part(tokenizer, "a tokenizer, such as sd.tokenizer", "convert_ids_to_tokens")
    prompts, length, ids = as_prompts(prompt), context_length(tokenizer), token_ids(tokenizer, prompt)
    # Only a row that is full to its end can have lost something: then its last token but one is a piece of a word.
    for text, row in zip(prompts, ids.tolist(), strict=True):
        if row[-2] not in (tokenizer.eos_token_id, tokenizer.pad_token_id) and (lost := cut_words(tokenizer, text)):
            warnings.warn(_complaint(text, lost, length), TruncationWarning, stacklevel=2)
    return ids


def cut_words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """The words of `text` that the text encoder will not see (or not to their end): empty if all of it fits."""
    kept = context_length(tokenizer) - 2  # start and end take two places
    lost = encode_pieces(tokenizer, text).offsets[kept:]
    if not lost:
        return []
    start = lost[0][0]
    while start and not text[start - 1].isspace():  # back to where the word begins that was cut in two
        start -= 1
    return text[start:].split()


def pieces(tokenizer: CLIPTokenizer, ids: torch.Tensor | Sequence[int]) -> list[str]:
    """The pieces of words that the ids of one prompt stand for, padding included; `</w>` marks the end of a word.

    Raises BadInput for the ids of several prompts, (batch, 77).
    """
    if getattr(ids, "ndim", 1) != 1:
        raise BadInput(f"`pieces` takes the ids of one prompt, such as ids[0], not {checks.told(ids)}.")
    return tokenizer.convert_ids_to_tokens([int(number) for number in ids])


def _complaint(text: str, lost: list[str], length: int) -> str:
    named = " ".join(lost[:_NAMED]) + (f" ... and {len(lost) - _NAMED} words more" if lost[_NAMED:] else "")
    begin = " ".join(text.split()[:5])
    return f'the prompt "{begin} ..." is longer than the {length - 2} tokens that the model reads; cut off: "{named}"'


def unknown_words(sd: StableDiffusion, texts: Sequence[str]) -> list[str]:
    """The words and signs of `texts` that `sd` never read, each once: none but for models of `sdlesson.world` alone.

    Those are the bundled model, its copies and its successors: their sdlesson.json is named "tiny". Punctuation and
    capitals do not count, and words that were added to the tokenizer are known.
    """
    if not _is_of_the_world(sd):
        return []
    from .world.captions import vocabulary

    found = {}
    for text in texts:
        for added in sd.tokenizer.get_added_vocab():
            text = text.replace(added, " ")
        found |= dict.fromkeys(words(text))
    return [word for word in found if word not in vocabulary()]


def warn_of_unknown_words(sd: StableDiffusion, texts: Sequence[str], stacklevel: int = 2) -> None:
    """Name the words that `sd` never read, if there are any, in one UnknownWordsWarning."""
    if unknown := unknown_words(sd, texts):
        named = ", ".join(f'"{word}"' for word in unknown[:_NAMED])
        more = f" and {len(unknown) - _NAMED} more" if unknown[_NAMED:] else ""
        world = "it knows the words of sdlesson.world alone, and paints something else in their place"
        warnings.warn(f"this model never read {named}{more}: {world}", UnknownWordsWarning, stacklevel=stacklevel + 1)


def _is_of_the_world(sd: StableDiffusion) -> bool:
    try:
        about = json.loads((sd.folder / "sdlesson.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):  # made elsewhere: no such file, or no folder
        return False
    return isinstance(about, dict) and about.get("name") == "tiny"


def words(text: str) -> list[str]:
    """The words, numbers and signs of a text, in small letters and in their order; punctuation counts for nothing."""
    return ["".join(letters) for kind, letters in itertools.groupby(text.lower(), _kind) if kind]


def _kind(letter: str) -> str:
    """What a letter makes with its neighbours of the same kind: a word, a sign such as an emoji, or (empty) nothing."""
    if letter in "\u200d\ufe0f":  # what joins emoji, and says that one is drawn in colour
        return "sign"
    return {"L": "word", "M": "word", "N": "word", "S": "sign"}.get(unicodedata.category(letter)[0], "")


def byte_words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """The words that `text` is cut into before any merge: lower case, one printable letter for each byte (UTF-8)."""
    backend = tokenizer.backend_tokenizer
    words = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    return [word for word, _ in words]


def merge_ranks(tokenizer: CLIPTokenizer) -> dict[tuple[str, str], int]:
    """Each pair of pieces that the tokenizer joins -> its rank: 0 for the pair that was learned first."""
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return {tuple(pair): rank for rank, pair in enumerate(merges)}


def join(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """`parts` with each neighbouring `pair` made one piece, from left to right."""
    joined, left = [], iter(range(len(parts)))
    for i in left:
        together = tuple(parts[i : i + 2]) == tuple(pair)
        joined.append("".join(pair) if together else parts[i])
        if together:
            next(left)  # its second half is used up
    return joined


def merge_steps(word: str, ranks: Mapping[tuple[str, str], int]) -> list[tuple[tuple[str, str] | None, list[str]]]:
    """How byte-pair encoding cuts one word of `byte_words`: [(None, its letters), (pair joined, parts) ...].

    At each step the pair of lowest rank is joined, everywhere in the word, until no pair has a rank (Sennrich et al.
    2016, section 3.2). The last parts are the pieces.
    """
    parts = [*word[:-1], word[-1] + WORD_END]
    steps = [(None, parts)]
    while known := [pair for pair in itertools.pairwise(parts) if pair in ranks]:
        pair = min(known, key=ranks.__getitem__)
        parts = join(parts, pair)
        steps.append((pair, parts))
    return steps


def count_pairs(words: Mapping[tuple[str, ...], int]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbours occurs in a text, given as word (a tuple of pieces) -> how often it occurs."""
    counts = Counter()
    for parts, often in words.items():
        for pair in itertools.pairwise(parts):
            counts[pair] += often
    return counts


def places(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """What stands in each place of a text: start, word or next (changing from word to word), end, padding; then cut."""
    length = context_length(tokenizer)
    kinds = [("word", "next")[word % 2] for word in encode_pieces(tokenizer, text).word_ids]
    kept = kinds[: length - 2]
    row = ["start", *kept, "end"]
    return row + ["padding"] * (length - len(row)) + ["cut"] * (len(kinds) - len(kept))


def word_positions(tokenizer: CLIPTokenizer, prompt: str, word: str) -> list[int]:
    """Where `word` (or several words in a row) stands among the 77 tokens of `prompt`: the positions of its pieces.

    Position 0 is the start token. A word that occurs twice has the positions of both. Raises BadInput if the prompt
    has no such word, or it is cut off.
    """
    offsets = encode_pieces(tokenizer, prompt).offsets
    spans = _word_spans(prompt, word)
    places = [
        place
        for place, (start, end) in enumerate(offsets, start=1)
        if any(start < right and end > left for left, right in spans)
    ]
    if not places or places[-1] > context_length(tokenizer) - 2:
        raise BadInput(f"The model does not see the word {word!r} in {prompt!r}.")
    return places


def _word_spans(prompt: str, word: str) -> list[tuple[int, int]]:
    """Where `word` begins and ends in `prompt` as a word of its own, capitals or not; places in the prompt as written.

    Folded letters may be more than the written ones (İ, ß), so each remembers which one it comes from.
    """
    folded = [(letter, place) for place, written in enumerate(prompt) for letter in written.casefold()]
    text, wanted = "".join(letter for letter, _ in folded), word.casefold()
    origin = [place for _, place in folded] + [len(prompt)]
    edges = {k for k, place in enumerate(origin) if k == 0 or place != origin[k - 1]}  # where a written letter begins
    spans = []
    for at in range(len(text)) if wanted else ():
        if text.startswith(wanted, at) and {at, at + len(wanted)} <= edges:
            start, end = origin[at], origin[at + len(wanted)]
            if not (_goes_on(prompt[:start][-1:]) or _goes_on(prompt[end:][:1])):
                spans.append((start, end))
    return spans


def _goes_on(letter: str) -> bool:
    """Whether a word that has `letter` at its edge goes on there: a letter, a digit, or a mark of its own."""
    return bool(letter) and _kind(letter) == "word"
