"""A subset's tokens as one flat file that every run maps into memory and reads in its own order.

Order is decided twice, each time by a hash and never by a running random number generator: pages by hash(page id, seed)
when the file is written, windows of the file by hash(seed, epoch, window) when it is read. So batch k can be computed
without batches 0 to k - 1, which makes a resumed run read exactly what the killed one would have read.

``<name>.bin`` holds the tokens alone (little-endian uint16 or uint32); ``<name>.json`` beside it says what they are and is
written last: tokens without it are unfinished.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from eval.tokenizer import token_dtype
from filters.files import sha256_of, write_whole

Regime = Literal["fresh", "fixed_pool"]


def page_order(ids: Sequence[str], seed: int) -> npt.NDArray[np.int64]:
    """The positions of the pages in shuffled order: ascending 64-bit BLAKE2b of (seed, id), ties by id."""
    key = seed.to_bytes(8, "little", signed=True)
    hashes = [hashlib.blake2b(page.encode(), digest_size=8, key=key).digest() for page in ids]
    return np.array(sorted(range(len(ids)), key=lambda i: (hashes[i], ids[i])), dtype=np.int64)


@dataclass(frozen=True)
class PackedHeader:
    """What a packed file holds."""

    tokens: int
    """Tokens in the file, end-of-text marks included."""
    pages: int
    vocabulary: int
    end_of_text: int
    dtype: str
    """numpy's name of the tokens' type, ``<u2`` or ``<u4``."""
    tokenizer: str
    """SHA-256 of the tokenizer that made them."""
    sha256: str
    """SHA-256 of the ``.bin`` file."""


def write_packed(
    pages: Iterable[npt.NDArray[np.integer]], path: Path, *, vocabulary: int, end_of_text: int, tokenizer: str
) -> PackedHeader:
    """Write the pages' tokens in the order given, each page followed by ``end_of_text``, to ``path`` (``*.bin``).

    Any older file of that name stops counting before its tokens are replaced. ``tokenizer`` is its digest.

    Raises:
        ValueError: a token is not below ``vocabulary``; the file that was there before is untouched then.
    """
    dtype = token_dtype(vocabulary)
    aside = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, tokens, count = hashlib.sha256(), 0, 0
    with aside.open("wb") as file:
        for page in pages:
            if len(page) and int(page.max()) >= vocabulary:
                raise ValueError(f"page {count} has token {page.max()}, not below the vocabulary of {vocabulary}")
            data = np.append(page, end_of_text).astype(dtype).tobytes()
            file.write(data)
            digest.update(data)
            tokens += len(page) + 1
            count += 1
        file.flush()
        os.fsync(file.fileno())
    header = PackedHeader(tokens, count, vocabulary, end_of_text, dtype.str, tokenizer, digest.hexdigest())
    header_path(path).unlink(missing_ok=True)
    aside.replace(path)
    write_whole(header_path(path), json.dumps(asdict(header), indent=2).encode())
    return header


def header_path(path: Path) -> Path:
    """Where the header of packed file ``path`` lies."""
    return path.with_suffix(".json")


@dataclass(frozen=True)
class Packed:
    """A packed file, mapped into memory."""

    path: Path
    header: PackedHeader
    tokens: npt.NDArray[np.integer]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a packed file.

        Raises:
            ValueError: the header is missing or unreadable, or the file is not as long as it says.
        """
        where = header_path(path)
        if not where.is_file() or not path.is_file():
            raise ValueError(f"{path} is missing or unfinished (its header {where.name} is written last); run jobs.pack")
        try:
            header = PackedHeader(**json.loads(where.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where} is not the header of a packed file ({error}); run jobs.pack again") from error
        size, expected = path.stat().st_size, header.tokens * np.dtype(header.dtype).itemsize
        if size != expected:
            raise ValueError(f"{path} has {size} bytes, its header says {expected}; delete both and run jobs.pack again")
        dtype = np.dtype(header.dtype)
        tokens = np.memmap(path, dtype=dtype, mode="r") if size else np.empty(0, dtype=dtype)
        return cls(path, header, tokens)

    def verify(self) -> None:
        """Read the whole file once.

        Raises:
            ValueError: its SHA-256 is not the header's.
        """
        found = sha256_of(self.path)
        if found != self.header.sha256:
            raise ValueError(
                f"{self.path} is damaged: SHA-256 {found[:12]}, its header says {self.header.sha256[:12]}; "
                "delete it and run jobs.pack again"
            )

    def windows(self, context: int) -> int:
        """How many windows of ``context`` targets the file holds; the first token of all is never a target."""
        return max(0, len(self.tokens) - 1) // context


@dataclass(frozen=True)
class Batches:
    """The batches of one run: a pure function of the step.

    ``fresh`` uses no token twice; ``fixed_pool`` goes round as often as the budget asks, each epoch in its own order.
    """

    packed: Packed
    context: int
    """Targets per window."""
    batch: int
    """Windows per step."""
    tokens: int
    """Budget in targets; rounded down to whole steps."""
    regime: Regime
    seed: int

    def __post_init__(self) -> None:
        windows, name = self.packed.windows(self.context), self.packed.path
        if self.steps == 0:
            raise ValueError(
                f"train.tokens is {self.tokens}, less than one step of {self.batch} windows of {self.context} tokens; "
                f"ask for at least {self.batch * self.context}"
            )
        if windows == 0:
            raise ValueError(f"{name} has {len(self.packed.tokens)} tokens, too few for one window of {self.context}")
        if self.regime == "fresh" and self.steps * self.batch > windows:
            raise ValueError(
                f"{name} has {windows * self.context} tokens in whole windows, the `fresh` budget needs "
                f"{self.steps * self.batch * self.context}; lower train.tokens, filter less, or use regime: fixed_pool"
            )

    @property
    def steps(self) -> int:
        """Steps in the budget."""
        return self.tokens // (self.batch * self.context)

    @property
    def epochs(self) -> float:
        """Times the run goes through the file; at most 1 for ``fresh``."""
        return self.steps * self.batch / self.packed.windows(self.context)

    def from_step(self, step: int) -> Iterator[npt.NDArray[np.int64]]:
        """Batches ``step``, ``step + 1``, ... to the last: int64 [batch, context + 1], inputs and targets overlapping."""
        windows = self.packed.windows(self.context)
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for k in range(step, self.steps):
            rows = []
            for place in range(k * self.batch, (k + 1) * self.batch):
                if place // windows != epoch:
                    epoch = place // windows
                    order = window_order(windows, self.seed, epoch)
                start = int(order[place % windows]) * self.context
                rows.append(self.packed.tokens[start : start + self.context + 1].astype(np.int64))
            yield np.stack(rows)


def window_order(windows: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of ``windows`` decided by (seed, epoch): ascending SplitMix64 (Steele et al. 2014) of each window.

    A hash rather than numpy's shuffle, whose stream may change between versions.
    """
    start = int.from_bytes(hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8).digest(), "little")
    with np.errstate(over="ignore"):
        state = np.uint64(start) + np.arange(1, windows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return np.argsort(state, kind="stable").astype(np.int64)
