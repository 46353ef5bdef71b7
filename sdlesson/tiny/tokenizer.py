"""A byte-level BPE tokenizer in CLIP's manner, learned from the captions.

Sennrich et al. 2016 for the merges; CLIP's order of the vocabulary: 256 bytes, the same 256 with `</w>` (the end of a
word), one token a merge, `<|startoftext|>`, `<|endoftext|>`. Every byte has a token, so every text can be encoded.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from ..loading.writing import replace_folder
from ..tokens import WORD_END
from .data import read_captions

START, END = "<|startoftext|>", "<|endoftext|>"


#: How CLIP cuts a text into words, the two special tokens left out.
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes, in the order of CLIP's (and GPT-2's) vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)  # control characters and spaces move to code points from 256 on
    return [chr(code) for code in printable] + [chr(256 + extra) for extra in range(others)]


def learn_merges(captions: list[str], vocabulary: int) -> list[tuple[str, str]]:
    """The pairs that BPE joins, most useful first; at most as many as fit into `vocabulary` tokens."""
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2,
        end_of_word_suffix=WORD_END,
        initial_alphabet=byte_characters(),
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(pair) for pair in merges][: vocabulary - 2 - 512]


def clip_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Token -> id in CLIP's order."""
    characters = byte_characters()
    tokens = [*characters, *(character + WORD_END for character in characters)]
    tokens += ["".join(pair) for pair in merges]
    return {token: index for index, token in enumerate([*tokens, START, END])}


#: Captions that the merges are learned from: these hold every word many times over.
CAPTIONS = 30_000


def train_tokenizer(folder: Path, vocabulary: int) -> CLIPTokenizer:
    """Learn the tokenizer from the first of a run folder's captions and save it in `folder`/tokenizer.

    `vocabulary` is the most tokens that it may have. Raises FileNotFoundError where the folder has no captions.
    """
    merges = learn_merges(read_captions(folder / "pictures")[:CAPTIONS], vocabulary)
    tokenizer = CLIPTokenizer(vocab=clip_vocabulary(merges), merges=merges, pad_token=END, model_max_length=77)
    replace_folder(folder / "tokenizer", tokenizer.save_pretrained)
    return tokenizer
