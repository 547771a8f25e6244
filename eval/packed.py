"""A level's stream of tokens in one replicate, as one flat file that a run maps into memory and reads from its beginning.

The stream is decided when it is written: the level's slices in ascending key (`eval.slices`), an end-of-text mark after
each, until the budget is full. `fixed_pool` goes round where the level holds less than the budget, and each epoch's keys
give it an order of its own. All epochs are in the file: it costs two bytes for every token a run reads, and in return a
batch is a piece of the file in either regime, so that a resumed run reads exactly what the killed one would have read.

``<name>.bin`` holds the tokens alone (little-endian uint16 or uint32); ``<name>.parquet`` says which slice of which page
begins where; ``<name>.json`` says what they are and is written last: tokens without it are unfinished.
"""

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eval.slices import SLICES, Integers, ranges, slice_key, tokens_in_slices
from eval.tokenizer import token_dtype
from filters.draws import draw, uniform
from filters.files import sha256_of, sync_file, write_whole

Regime = Literal["fresh", "fixed_pool"]

BLOCK_TOKENS = 1 << 20
"""Tokens put in order at a time."""


_WITHOUT_TOKENS = pa.schema([*(field for field in SLICES if field.name != "tokens"), ("length", pa.int64())])


@dataclass(frozen=True)
class Stream:
    """Which stream a packed file is to hold."""

    context: int
    """Tokens of a slice, and targets of a row."""
    replicate: int
    regime: Regime
    """`fresh` reads no slice twice; `fixed_pool` goes round as often as the budget asks."""
    budget: int
    """Tokens that a run reads (`stream_tokens`); the slice that reaches it is the last."""
    pool: int
    """Tokens in all slices of the level's pages (`tokens_in_slices`), of which the parts give those under the cut."""


@dataclass(frozen=True)
class PackedHeader:
    """What a packed file holds."""

    tokens: int
    """Tokens in the file, end-of-text marks included."""
    slices: int
    """Slices in the file, as often as they are there."""
    pages: int
    """Different pages they are from."""
    pool: int
    """Tokens in all slices of the level's pages, also of those that are not in the file."""
    context: int
    replicate: int
    regime: Regime
    vocabulary: int
    end_of_text: int
    dtype: str
    """numpy's name of the tokens' type, ``<u2`` or ``<u4``."""
    tokenizer: str
    """SHA-256 of the tokenizer that made them."""
    sha256: str
    """SHA-256 of the ``.bin`` file."""


def stream_tokens(tokens: int, batch: int, context: int) -> int:
    """Tokens of the stream that a budget of ``tokens`` targets reads: those of its whole steps, and one before the first."""
    return tokens // (batch * context) * batch * context + 1


def write_packed(
    parts: Iterable[pa.Table], path: Path, stream: Stream, *, vocabulary: int, end_of_text: int, tokenizer: str
) -> PackedHeader:
    """Write a stream to ``path`` (``*.bin``) from what each part gives: its slices under the cut, as rows of SLICES.

    Number and order of the parts change no byte. Tokens wait for their order in a file; memory grows with the slices, by
    some 150 bytes for each. Any older file of that name stops counting before its tokens are replaced. ``tokenizer`` is its
    digest.

    Raises:
        ValueError: the level or the parts hold too little for the budget, or a token is not below ``vocabulary``; the file
            that was there before is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside, dtype = path.with_name(path.name + ".tmp"), token_dtype(vocabulary)
    with tempfile.TemporaryFile(dir=path.parent) as unordered:
        given = pa.concat_tables([_WITHOUT_TOKENS.empty_table(), *_set_aside(parts, unordered, vocabulary, dtype)])
        length = given["length"].to_numpy()
        _refuse_too_few(path, stream, int(tokens_in_slices(length).sum()))
        rows, epochs = _in_order(given, length, stream)
        tokens = np.memmap(unordered, dtype=dtype, mode="r")
        digest = _write(aside, _marked(tokens, length, rows, end_of_text))
    header_path(path).unlink(missing_ok=True)
    aside.replace(path)
    ids = given["id"].take(pa.array(rows)).combine_chunks()
    held = tokens_in_slices(length[rows])
    index = {"id": ids, "number": given["number"].to_numpy()[rows], "epoch": epochs, "offset": np.cumsum(held) - held}
    pq.write_table(pa.table(index), aside, compression="zstd")
    sync_file(aside)
    aside.replace(index_path(path))
    header = PackedHeader(
        tokens=int(held.sum()),
        slices=len(rows),
        pages=pc.count_distinct(ids).as_py(),
        pool=stream.pool,
        context=stream.context,
        replicate=stream.replicate,
        regime=stream.regime,
        vocabulary=vocabulary,
        end_of_text=end_of_text,
        dtype=dtype.str,
        tokenizer=tokenizer,
        sha256=digest,
    )
    write_whole(header_path(path), json.dumps(asdict(header), indent=2).encode())
    return header


def _write(path: Path, blocks: Iterable[npt.NDArray[np.integer]]) -> str:
    """Write blocks one after the other and push them to the disk; their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in blocks:
            data = block.tobytes()
            file.write(data)
            digest.update(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _refuse_too_few(path: Path, stream: Stream, given: int) -> None:
    budget, pool = stream.budget, stream.pool
    if pool <= stream.context:
        raise ValueError(f"{path} would hold {pool} tokens, too few for one window of {stream.context}")
    if stream.regime == "fresh" and pool < budget:
        raise ValueError(
            f"{path} would hold {pool} tokens, the `fresh` budget needs {budget}; lower train.tokens, filter less, or use "
            "regime: fixed_pool"
        )
    if not min(budget, pool) <= given <= pool:
        raise ValueError(
            f"{path} needs {min(budget, pool)} tokens of the level's {pool}, its parts gave {given}; a part or the cut is "
            "wrong: run jobs.pack again"
        )


def _set_aside(
    parts: Iterable[pa.Table], file: IO[bytes], vocabulary: int, dtype: np.dtype[np.unsignedinteger]
) -> Iterator[pa.Table]:
    """Write the tokens of all slices to a file, one after the other, and give the slices without them.

    Raises ValueError where a token is not below the vocabulary.
    """
    for given in parts:
        length = pc.list_value_length(given["tokens"]).to_numpy().astype(np.int64)
        tokens = given["tokens"].combine_chunks().flatten().to_numpy()
        if len(tokens) and tokens.max() >= vocabulary:
            page = given["id"][int(np.searchsorted(np.cumsum(length), tokens.argmax(), side="right"))]
            raise ValueError(f"page {page} has token {tokens.max()}, not below the vocabulary of {vocabulary}")
        file.write(tokens.astype(dtype).tobytes())
        yield pa.table([given["id"], given["id_hash"], given["number"], length], schema=_WITHOUT_TOKENS)
    file.flush()


def _in_order(given: pa.Table, length: Integers, stream: Stream) -> tuple[Integers, Integers]:
    """The rows of the slices in the stream's order, and the epoch of each: by key, ties by id_hash, number and id."""
    id_hash, number = given["id_hash"].to_numpy(), given["number"].to_numpy()
    columns = {"key": id_hash, "id_hash": id_hash, "number": number, "id": given["id"]}
    rows: list[Integers] = []
    total = 0
    for epoch in itertools.count():
        columns["key"] = slice_key(id_hash, number, stream.replicate, epoch)
        order = pc.sort_indices(pa.table(columns), sort_keys=[(name, "ascending") for name in columns]).to_numpy()
        ends = total + np.cumsum(tokens_in_slices(length[order]))
        rows.append(order[: np.searchsorted(ends, stream.budget) + 1].astype(np.int64))
        total = int(ends[-1])
        if total >= stream.budget:
            break
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(one) for one in rows])


def _marked(
    tokens: npt.NDArray[np.integer], length: Integers, rows: Integers, end_of_text: int
) -> Iterator[npt.NDArray[np.integer]]:
    """The tokens of the slices in ``rows``, each followed by the mark, in blocks."""
    starts = np.cumsum(length) - length
    block_of = np.cumsum(tokens_in_slices(length[rows])) // BLOCK_TOKENS
    for some in np.split(rows, np.flatnonzero(np.diff(block_of)) + 1):
        held = tokens_in_slices(length[some])
        block = np.full(held.sum(), end_of_text, tokens.dtype)
        block[ranges(np.cumsum(held) - held, length[some])] = tokens[ranges(starts[some], length[some])]
        yield block


def write_permuted(of: Path, path: Path, share: float) -> PackedHeader:
    """Write the stream of ``of`` again with a share of each slice's tokens put out of their order, its marks left alone.

    Which tokens move is a hash of their place in the stream, and those of a smaller share move too. A slice keeps its
    tokens: with all of them moved a model can learn how often each is used, and little more.

    Raises:
        ValueError: ``of`` is missing, unfinished or damaged in length.
    """
    source = Packed.open(of)
    starts = pq.read_table(index_path(of), columns=["offset"])["offset"].to_numpy()
    ends = np.append(starts[1:], len(source.tokens))
    aside = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = _write(aside, _out_of_order(source.tokens, ends, share))
    header_path(path).unlink(missing_ok=True)
    aside.replace(path)
    write_whole(index_path(path), index_path(of).read_bytes())
    header = replace(source.header, sha256=digest)
    write_whole(header_path(path), json.dumps(asdict(header), indent=2).encode())
    return header


def _out_of_order(tokens: npt.NDArray[np.integer], ends: Integers, share: float) -> Iterator[npt.NDArray[np.integer]]:
    """The tokens of slices that end, with their mark, at ``ends``, in blocks of whole slices."""
    begin = 0
    for some in np.split(ends, np.flatnonzero(np.diff(ends // BLOCK_TOKENS)) + 1):
        block = np.array(tokens[begin : some[-1]])
        held = np.diff(some, prepend=begin)
        place = np.arange(begin, some[-1]).astype(np.uint64)
        moves = uniform(draw(place, 0, "permuted tokens")) < share
        moves[np.cumsum(held) - 1] = False
        where = np.flatnonzero(moves)
        of_slice = np.repeat(np.arange(len(held)), held)[where]
        block[where] = block[where[np.lexsort((draw(place[where], 0, "their order"), of_slice))]]
        yield block
        begin = int(some[-1])


def header_path(path: Path) -> Path:
    """Where the header of packed file ``path`` lies."""
    return path.with_suffix(".json")


def index_path(path: Path) -> Path:
    """Where the list of the slices of packed file ``path`` lies."""
    return path.with_suffix(".parquet")


def read_header(path: Path) -> PackedHeader:
    """What is known of packed file ``path``.

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
    return header


@dataclass(frozen=True)
class Packed:
    """A packed file, mapped into memory."""

    path: Path
    header: PackedHeader
    tokens: npt.NDArray[np.integer]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a packed file. Raises ValueError as `read_header` does."""
        header = read_header(path)
        return cls(path, header, np.memmap(path, dtype=np.dtype(header.dtype), mode="r"))

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


@dataclass(frozen=True)
class Batches:
    """The batches of one run: a pure function of the step."""

    packed: Packed
    batch: int
    """Rows per step; a row is `context` targets and the token before each."""
    tokens: int
    """Budget in targets; rounded down to whole steps."""

    def __post_init__(self) -> None:
        path, context, found = self.packed.path, self.packed.header.context, len(self.packed.tokens)
        if self.steps == 0:
            raise ValueError(
                f"train.tokens is {self.tokens}, less than one step of {self.batch} windows of {context} tokens; "
                f"ask for at least {self.batch * context}"
            )
        needed = stream_tokens(self.tokens, self.batch, context)
        if found < needed:
            raise ValueError(
                f"{path} has {found} tokens, the budget needs {needed}; lower train.tokens, or run jobs.pack again"
            )

    @property
    def steps(self) -> int:
        """Steps in the budget."""
        return self.tokens // (self.batch * self.packed.header.context)

    def from_step(self, step: int) -> Iterator[npt.NDArray[np.integer]]:
        """Batches ``step``, ``step + 1``, ... to the last: [batch, context + 1] in the file's type, inputs and targets
        overlapping.
        """
        context = self.packed.header.context
        size = self.batch * context
        for start in range(step * size, self.steps * size, size):
            tokens = self.packed.tokens[start : start + size + 1]
            yield np.column_stack([tokens[:-1].reshape(self.batch, context), tokens[context::context]])
