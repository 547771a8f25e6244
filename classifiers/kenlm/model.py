"""A KenLM model as a signal: the perplexity of a page, and how two models' perplexities compare.

Perplexity is CCNet's: 10 to the power of minus the mean log10 probability of the tokens and of the line's end. It is as many
numbers multiplied as there are tokens, so it does not grow with the page. KenLM adds in float32, word by word; so do we, to
agree with its own `query`, up to `LONG` tokens. Beyond, rounding shows (1e-4 at a million tokens) and float64 adds.
A file of `build_binary` is mapped: all workers of a machine hold one copy.
"""

import functools
import math
import mmap
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import kenlm
import numpy as np

from classifiers.fasttext.file import ModelFileError
from classifiers.kenlm.text import CHARACTERS, File, load_pieces, tokens
from classifiers.language import identify
from filters.pages import Counts, PageBatch
from filters.signals import Float

EVERY = "every"
"""In place of a language: all pages, whatever theirs."""
LONG = 10_000
"""Tokens that are added in float32, which costs 4e-6 of the perplexity there."""
FEWEST_KNOWN = 0.2
"""Share of the pieces that a model knows at least which was trained on them. An assumption: one trained on words knows
single letters and marks alone."""
BINARY = b"mmap lm http://kheafield.com/code"
WORDS_IN_ALL = struct.Struct("<100x?7xQ")
"""Where a binary file says whether its words are in it, and how many there are (lm/binary_format.cc)."""
KINDS: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip data",
    b"\xba\x16\x4f\x2f": "a fastText model",
    b"\x7fELF": "a program",
    b"PAR1": "a parquet file",
    b"\n\x0e\n\x05<unk>": "a SentencePiece model",
}
"""What is often named by mistake, by its first bytes."""
LOADING_BASE_S, LOADING_BYTES_PER_S = 30.0, 20e6
TRIAL = """
import kenlm, sys
config = kenlm.Config()
config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
try:
    model = kenlm.Model(sys.argv[1], config)
except OSError as error:
    sys.exit(str(error))
sys.exit(0 if all(model.score(line) <= 0 for line in ("", "a b c", "0 the of")) else "probabilities above 1")
"""
"""A damaged model can end the process that reads it, so a file from elsewhere is first read in one of its own."""


@functools.cache
def load(file: File) -> kenlm.Model:
    """The model in a file, loaded once per process. Raises ModelFileError."""
    config = kenlm.Config()
    config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(file.path, config)
    except OSError as error:
        raise ModelFileError(f"KenLM model {file.path} does not load: {_cause(str(error))}") from None


def check(file: File) -> None:
    """Whether a file from elsewhere is a whole KenLM model, of `build_binary` or ARPA. Raises ModelFileError."""
    path = Path(file.path)
    with path.open("rb") as opened:
        first = opened.read(64)
    if not first.startswith(BINARY) and not first.lstrip().startswith(b"\\data\\"):
        holds = next(
            (what for begin, what in KINDS.items() if first.startswith(begin)), f"something beginning {first[:16]!r}"
        )
        raise ModelFileError(
            f"{path} is no KenLM model, it holds {holds if first else 'nothing'}: "
            "expected a file of build_binary, or an ARPA file"
        )
    deadline_s = LOADING_BASE_S + path.stat().st_size / LOADING_BYTES_PER_S
    command = [sys.executable, "-P", "-c", TRIAL, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=deadline_s, check=False)
    except subprocess.TimeoutExpired:
        raise ModelFileError(f"KenLM model {path} does not load within {deadline_s:.0f} s: it is damaged") from None
    if done.returncode < 0:
        raise ModelFileError(f"KenLM model {path} is damaged: reading it ends in {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise ModelFileError(f"KenLM model {path} is damaged or of another version: {_cause(done.stderr)}")
    if first.startswith(BINARY):
        _refuse_cut_vocabulary(path)


def _refuse_cut_vocabulary(path: Path) -> None:
    """Raise ModelFileError where the words at the end of a file of `build_binary` are fewer than its header says.

    They are written from `<unk>` on, each with a NUL behind it. KenLM, which does not need them to score, looks at no end.
    """
    with path.open("rb") as file:
        has_words, count = WORDS_IN_ALL.unpack(file.read(WORDS_IN_ALL.size))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.rfind(b"<unk>\0")
            found = data[max(at, 0) :].count(0) if at >= 0 and data[-1] == 0 else 0
    if has_words and found < count:
        raise ModelFileError(f"KenLM model {path} is damaged: it ends within its vocabulary of {count:,} words")


def _cause(said: str) -> str:
    """What KenLM says is wrong, without the place in its code."""
    return (
        " ".join(said.rstrip(") \n").split()).rpartition(" because ")[2].rpartition("Exception")[2].strip(" .")
        or "no reason"
    )


def check_pieces(file: File, pieces: File) -> None:
    """Whether a model was trained on these pieces, as far as its vocabulary tells. Raises ModelFileError."""
    model, cut = load(file), load_pieces(pieces)
    names = [cut.id_to_piece(at) for at in range(cut.get_piece_size()) if not (cut.is_control(at) or cut.is_unknown(at))]
    known = sum(name in model for name in names)
    if known < FEWEST_KNOWN * len(names):
        raise ModelFileError(
            f"KenLM model {file.path} knows {known:,} of the {len(names):,} pieces of {pieces.path}: "
            "it was trained on other tokens, name the SentencePiece model that made them"
        )


@dataclass(frozen=True)
class Lines:
    """Pages as tokens with blanks between them, and how many each has; shape (pages,)."""

    texts: list[str]
    counts: Counts


def lines(pages: PageBatch, pieces: File | None) -> Lines:
    """The tokens of every page; none of a page without text."""
    cut = None if pieces is None else load_pieces(pieces)
    texts, counts = [""] * len(pages), np.zeros(len(pages), np.int64)
    for row in np.flatnonzero(pages.valid):
        start, end = pages.offsets[row : row + 2]
        read: bytes = pages.data[start : min(end, start + 4 * CHARACTERS)].tobytes()
        found = tokens(read.decode(errors="replace"), cut)
        texts[row], counts[row] = " ".join(found), len(found)
    return Lines(texts, counts)


def log_probability(model: kenlm.Model, line: str, count: int) -> float:
    """The log10 probability of a line of `count` tokens and of its end."""
    if count <= LONG:
        return float(model.score(line))
    return math.fsum(one for one, _, _ in model.full_scores(line))


@dataclass(frozen=True)
class Perplexity:
    """The function of a signal. It travels to the workers as plain data; models are loaded there, once.

    models: (language, model, SentencePiece model or None) each; EVERY is the language of one for all pages.
    identified: model, hash and characters that tell languages.
    """

    models: tuple[tuple[str, File, File | None], ...]
    identified: tuple[str, str, int] | None = None

    def __call__(self, pages: PageBatch) -> Float:
        """Perplexity of each page; NaN where it has no token, or a language without a model."""
        return pages.once(perplexities, self)


def perplexities(pages: PageBatch, asked: Perplexity) -> Float:
    """What `Perplexity` gives; shape (pages,)."""
    found = np.full(len(pages), np.nan)
    languages = np.full(len(pages), EVERY, object)
    if asked.identified:
        languages = pages.once(identify, *asked.identified).language.to_numpy(zero_copy_only=False)
    for language, file, pieces in asked.models:
        cut, model = pages.once(lines, pieces), load(file)
        for row in np.flatnonzero((languages == language) & (cut.counts > 0)).tolist():
            count = int(cut.counts[row])
            found[row] = -log_probability(model, cut.texts[row], count) / (count + 1)
    with np.errstate(over="ignore"):
        return np.asarray(10.0**found, np.float64)


@dataclass(frozen=True)
class Ratio:
    """The function of `perplexity_ratio_<good>_<bad>`: below 1, the model of good text is the less surprised.

    Its logarithm is the difference of cross-entropies per token by which Moore and Lewis (2010) select. Kim et al. (2024,
    arXiv 2409.09613) pair models of good and bad text too, and subtract perplexities standardised over a corpus.
    """

    good: Perplexity
    bad: Perplexity

    def __call__(self, pages: PageBatch) -> Float:
        """Perplexity under the good model, divided by that under the bad one."""
        return self.good(pages) / self.bad(pages)
