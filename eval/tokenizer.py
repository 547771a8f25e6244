"""One byte-level BPE for every subset, trained on a neutral sample of the unfiltered pages.

All 256 bytes are tokens, so every text can be encoded and bits per byte compare across subsets. The text of a page is
never markup: a page that contains the letters ``<|endoftext|>`` is encoded letter by letter, and the real mark stands
only where this code put it. Byte-pair merging of one very long run of letters costs memory in proportion to the run, so
long texts are cut into pieces where the cut cannot change a token, and by force only inside a run that has no space for
65,536 characters.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from filters.files import sha256_of, write_whole

END_OF_TEXT = "<|endoftext|>"
FILES = ("tokenizer_config.json", "tokenizer.json")

PIECE_CHARACTERS = 65_536

# One page should not own the vocabulary, and merges are slow to learn on runs of letters without a space: a page of one
# random million-letter run took 20 s more.
TRAINING_CHARACTERS = 100_000

PROBE = "A page, of é, 石 and 👩: 12.\n\tTwo  blanks\r\n\x7f"
"""What a tokenizer must give back."""

# The library keeps some 100 bytes for each token of a batch until the batch is done.
BATCH_CHARACTERS = 1_000_000

# Before a single space or line feed between two visible characters GPT-2's splitting pattern always ends a word, so a
# cut there leaves every token as it was.
_PIECE = re.compile(rf".{{1,{PIECE_CHARACTERS}}}(?:\Z|(?<=\S)(?=[ \n]\S))|.{{1,{PIECE_CHARACTERS}}}", re.DOTALL)


def pieces(text: str) -> list[str]:
    """The text in pieces of at most 65,536 characters, cut where no token changes wherever there is such a place."""
    return [text] if len(text) <= PIECE_CHARACTERS else _PIECE.findall(text)


def train_tokenizer(texts: Iterable[str], vocabulary: int, path: Path) -> None:
    """Train a byte-level BPE (Radford et al. 2019, section 2.2) and save it as Hugging Face files in folder ``path``.

    ``vocabulary`` counts all tokens: ``<|endoftext|>`` (token 0), the 256 bytes, then merges; fewer merges are learnt
    when the texts hold no more. Of each text the first 100,000 characters are used. The same texts in the same order
    give the same bytes.

    Raises:
        ValueError: the vocabulary has no room for the 256 bytes and the mark, or there is no text at all.
    """
    if vocabulary < 257:
        raise ValueError(f"tokenizer.vocabulary is {vocabulary}; 257 is the least: 256 bytes and {END_OF_TEXT}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    seen = _Counted(text[:TRAINING_CHARACTERS] for text in texts)
    tokenizer.train_from_iterator(_all_pieces(seen), trainer=trainer)
    if seen.characters == 0:
        raise ValueError("no text to train the tokenizer on: the neutral sample is empty; check `pages` and its rules")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    write_whole(path / "tokenizer_config.json", json.dumps(settings, indent=2).encode())
    write_whole(path / "tokenizer.json", tokenizer.to_str(pretty=True).encode())


def copy_tokenizer(of: Path, path: Path) -> None:
    """Save the tokenizer of one folder in another, as it is. Raises ValueError as `check_tokenizer` does."""
    check_tokenizer(of)
    for name in FILES:
        write_whole(path / name, (of / name).read_bytes())


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer saved in folder ``path``, which reads ``<|endoftext|>`` inside a text as ordinary letters.

    The same file gives the same object: of each one that is let go the library keeps the words that it has seen, some 6 MB.

    Raises:
        ValueError: there is no tokenizer in the folder, or it is damaged or has no end-of-text mark.
    """
    file = path / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"no tokenizer at {file}; run jobs.train_tokenizer")
    try:
        tokenizer = _parsed(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception for whatever is wrong with the file
        raise ValueError(
            f"{file} is not a readable tokenizer ({error}); delete it and run jobs.train_tokenizer again"
        ) from error
    end_of_text(tokenizer)
    return tokenizer


@lru_cache(maxsize=2)
def _parsed(text: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def check_tokenizer(path: Path) -> None:
    """Raise ValueError where a tokenizer from elsewhere cannot be used: bits per byte need every byte of a text.

    Its ids are rows of a matrix, so none is missing; its entries stand for bytes; what it encodes comes back.
    """
    tokenizer, file = load_tokenizer(path), path / "tokenizer.json"
    ids = sorted(tokenizer.get_vocab().values())
    if ids != [*range(len(ids))]:
        raise ValueError(f"{file} numbers its {len(ids):,} entries from {ids[0]} to {ids[-1]}: expected each number once")
    try:
        entry_bytes(tokenizer)
    except KeyError as error:
        raise ValueError(f"{file} has entries that are no bytes, such as one with {error}: name a byte-level one") from None
    back = tokenizer.decode(tokenizer.encode(PROBE, add_special_tokens=False).ids, skip_special_tokens=False)
    if back.removeprefix(" ") != PROBE:
        raise ValueError(f"{file} loses text: of {PROBE!r} comes back {back!r}: name a byte-level tokenizer")


def end_of_text(tokenizer: Tokenizer) -> int:
    """The id of the mark that stands after every page; ValueError when the tokenizer has none."""
    found = tokenizer.token_to_id(END_OF_TEXT)
    if found is None:
        raise ValueError(f"the tokenizer has no {END_OF_TEXT} token; name one that has it")
    return found


def tokenizer_digest(path: Path) -> str:
    """SHA-256 of the saved tokenizer: what packed tokens and runs record to prove that they share it."""
    return sha256_of(path / "tokenizer.json")


def entry_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes that each entry of the vocabulary stands for, in the order of ids; none for the mark.

    A byte-level vocabulary writes each byte as a letter: itself where that can be printed, else one from 256 on (Radford et
    al. 2019).
    """
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    of_letter = {chr(byte): byte for byte in printed} | {chr(256 + at): byte for at, byte in enumerate(others)}
    marks = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    found = [b""] * tokenizer.get_vocab_size()
    for entry, at in tokenizer.get_vocab().items():
        found[at] = b"" if entry in marks else bytes(of_letter[letter] for letter in entry)
    return found


def token_dtype(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    """The smallest of uint16 and uint32 (little-endian) that holds every id below ``vocabulary``."""
    return np.dtype("<u2") if vocabulary <= 2**16 else np.dtype("<u4")


def encode_batch(
    tokenizer: Tokenizer, texts: Sequence[str]
) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]:
    """Tokens of all texts as one flat array, and offsets: text i owns ``ids[offsets[i]:offsets[i + 1]]``.

    No end-of-text is added. An empty text owns no token. ids: uint16 or uint32 [tokens]; offsets: int64 [texts + 1].
    """
    dtype = token_dtype(tokenizer.get_vocab_size())
    runs: list[npt.NDArray[np.unsignedinteger]] = []
    counts = np.zeros(len(texts), dtype=np.int64)
    for owners, batch in _bounded(texts):
        for owner, encoding in zip(owners, tokenizer.encode_batch_fast(batch, add_special_tokens=False), strict=True):
            ids = np.asarray(encoding.ids, dtype=dtype)
            runs.append(ids)
            counts[owner] += len(ids)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return (np.concatenate(runs) if runs else np.empty(0, dtype=dtype)), offsets


class _Counted:
    """Counts the characters that pass, so that an empty sample is noticed without reading it twice."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = texts
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.characters += len(text)
            yield text


def _all_pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from pieces(text)


def _bounded(texts: Sequence[str]) -> Iterator[tuple[list[int], list[str]]]:
    """The pieces of all texts with their text's index, in batches of about a million characters."""
    owners: list[int] = []
    batch: list[str] = []
    size = 0
    for owner, text in enumerate(texts):
        for piece in pieces(text):
            owners.append(owner)
            batch.append(piece)
            size += len(piece)
            if size >= BATCH_CHARACTERS:
                yield owners, batch
                owners, batch, size = [], [], 0
    if batch:
        yield owners, batch
