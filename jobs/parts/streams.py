"""What each stream of tokens reads: which pages of a level in which replicate, up to which key, and what a part has of it.

A replicate reads its own fold of a level's pages, so that no two read the same page. Where the fold holds too little, it
draws from all of the level's pages. The cut of a stream is the key under which its slices hold the budget: a quantile over
all parts (`filters.quantiles`), after which a part gives the slices under it and no other tokens leave it.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eval.packed import Regime, header_path, index_path
from eval.slices import SLICES, Integers, Slices, Truth, copy_hash, gathered, slice_keys, tokens_in_slices
from filters.draws import Hashes
from filters.quantiles import Targets, count, find, merged, ranked
from filters.soft_cuts import Copies
from jobs.parts import storage
from jobs.parts.places import Places
from jobs.parts.refusals import InvariantBroken
from jobs.parts.table import Part, sidecar

Over = Callable[[Callable[[Part], Any], Callable[[Sequence[Any]], Any]], Any]
"""A function of one part and how its values are merged -> the value of all parts."""

PIECE_SLICES = 1 << 17
"""Slices of a part's pages that are looked at together; each takes some 40 bytes for every stream."""


@dataclass(frozen=True)
class LevelStream:
    """One level in one replicate. `fold`: the fold that it reads; None where it draws from all of the level's pages."""

    level: str
    replicate: int
    fold: int | None


@dataclass(frozen=True)
class Pages:
    """A part's pages without their tokens: uint64 hashes of ids and draws of folds, int64 numbers of tokens, and how often
    each level has them read, a flag where that is once at most; every array has shape (pages,).
    """

    id_hash: Hashes
    fold: Hashes
    tokens: Integers
    kept: Mapping[str, Truth | Copies]
    folds: int
    context: int
    _sliced: dict[tuple[int, int], Slices] = field(default_factory=dict, compare=False)

    def by_fold(self) -> Integers:
        """Tokens in all slices of each level, by the fold of their page; shape (levels, folds)."""
        held = self.tokens + -(-self.tokens // self.context)  # as `tokens_in_slices`: a mark after every slice
        totals = np.zeros((len(self.kept), self.folds), np.int64)
        for total, kept in zip(totals, self.kept.values(), strict=True):
            np.add.at(total, self._folds, held * kept)
        return totals

    def rows(self, where: slice) -> "Pages":
        """Some of the pages."""
        kept = {level: some[where] for level, some in self.kept.items()}
        return Pages(self.id_hash[where], self.fold[where], self.tokens[where], kept, self.folds, self.context)

    def pieces(self) -> Iterator["Pages"]:
        """The pages in runs of some PIECE_SLICES slices, so that memory does not grow with the part; at least one."""
        piece_of = np.cumsum(-(-self.tokens // self.context)) // PIECE_SLICES
        edges = [0, *(np.flatnonzero(np.diff(piece_of)) + 1).tolist(), len(self.tokens)]
        yield from (self.rows(slice(begin, end)) for begin, end in itertools.pairwise(edges))

    def slices(self, stream: LevelStream) -> Slices:
        """All slices that a stream may read, those of every copy of a page."""
        kept = self.kept[stream.level]
        read = kept if stream.fold is None else np.where(self._folds == stream.fold, kept, 0)
        copies = [self._of_copy(stream.replicate, copy) for copy in range(max(1, int(read.max(initial=0))))]
        return Slices.joined([some.where(read[some.page] > copy) for copy, some in enumerate(copies)])

    def _of_copy(self, replicate: int, copy: int) -> Slices:
        """The slices of a copy of the pages that any level has read so often."""
        if (replicate, copy) not in self._sliced:
            wanted = np.logical_or.reduce([kept > copy for kept in self.kept.values()])
            tokens = np.where(wanted, self.tokens, 0)
            hashes = copy_hash(self.id_hash, copy)
            self._sliced[replicate, copy] = slice_keys(hashes, tokens, self.context, replicate)
        return self._sliced[replicate, copy]

    @property
    def _folds(self) -> Integers:
        return (self.fold % np.uint64(self.folds)).astype(np.int64)


@dataclass(frozen=True)
class Encoded:
    """Where the tokens of pages lie, and how they are cut into slices. It travels to the workers."""

    places: Places
    counts: Path
    tokens: Path
    levels: tuple[str, ...]
    folds: int
    context: int
    deduplicated: bool = False
    """Whether copies go to one fold."""

    def pages(self, part: Part, ids: pa.ChunkedArray | None = None) -> Pages:
        """A part's pages. `ids` are those of the rows to which they shall belong, to check them one by one."""
        hashes = sidecar(self.places.split, part, ["id_hash"], ids)["id_hash"].to_numpy()
        folds = self.places.duplicates("copies") if self.deduplicated else self.places.split
        fold = sidecar(folds, part, ["fold"], ids)["fold"].to_numpy()
        verdicts = sidecar(self.places.verdicts, part, [f"subset {level}" for level in self.levels], ids)
        tokens = sidecar(self.counts, part, ["token_count"], ids)["token_count"].to_numpy()
        kept = {level: verdicts[f"subset {level}"].to_numpy() for level in self.levels}
        return Pages(hashes, fold, tokens, kept, self.folds, self.context)

    def given(self, part: Part, cuts: Mapping[LevelStream, int]) -> Iterator[pa.RecordBatch]:
        """A part's slices under the cuts: of every row group of its tokens, a batch of SLICES for each stream in its turn.

        Raises InvariantBroken where the tables are not of the same pages.
        """
        pages = self.pages(part, sidecar(self.tokens, part, ["id"])["id"])
        file = storage.open_parquet(self.tokens / f"{part.name}.parquet")
        at = 0
        for group in range(file.num_row_groups):
            end = at + file.metadata.row_group(group).num_rows
            here = pages.rows(slice(at, end))
            wanted = [(slices := here.slices(stream)).where(slices.key < cut) for stream, cut in cuts.items()]
            if any(len(slices.page) for slices in wanted):
                rows = file.read_row_group(group, columns=["id", "tokens"])
                _same_counts(rows["tokens"], here.tokens, part)
                yield from (_only_batch(gathered(rows, slices, self.context)) for slices in wanted)
            at = end


def _same_counts(tokens: pa.ChunkedArray, counts: Integers, part: Part) -> None:
    if not np.array_equal(pc.list_value_length(tokens).to_numpy(), counts):
        raise InvariantBroken(
            f"the pages of {part.name} have other numbers of tokens than were counted: run jobs.score again"
        )


def _only_batch(rows: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([rows[name].combine_chunks() for name in SLICES.names], schema=SLICES)


@dataclass(frozen=True)
class Plan:
    """The streams to read, with the tokens in all slices that each may read, and levels too small, with a sentence."""

    pools: Mapping[LevelStream, int]
    small: Mapping[str, str]


def planned(levels: Sequence[str], replicates: Sequence[int], by_fold: Integers, least: int) -> Plan:
    """Each replicate reads its own fold if that holds `least` tokens, else draws from all of its level's pages.

    `by_fold`: tokens in slices, shape (levels, replicates).
    """
    pools: dict[LevelStream, int] = {}
    small = {}
    for level, own in zip(levels, by_fold.tolist(), strict=True):
        if sum(own) < least:
            small[level] = f"it has {sum(own):,} tokens with their marks, a run needs {least:,}"
            continue
        for place, replicate in enumerate(replicates):
            alone = own[place] >= least
            pools[LevelStream(level, replicate, place if alone else None)] = own[place] if alone else sum(own)
    return Plan(pools, small)


def least_pool(regime: Regime, budget: int, context: int) -> int:
    """Tokens that a stream must be able to read: `fresh` reads each once, `fixed_pool` asks for more than one window."""
    return budget if regime == "fresh" else context + 1


def cuts(streams: Sequence[LevelStream], budget: int, encoded: Encoded, over: Over) -> dict[LevelStream, int]:
    """Under which key the slices of each stream hold the budget, or are all of them."""

    def counted(wanted: Mapping[LevelStream, Any]) -> Any:
        def of_pages(pages: Pages) -> Any:
            def column(stream: LevelStream) -> Any:
                slices = pages.slices(stream)
                return ranked(slices.key, tokens_in_slices(slices.length), lowest=True)

            return count(wanted, column)

        def of_part(part: Part) -> Any:
            return functools.reduce(lambda one, other: merged([one, other]), map(of_pages, encoded.pages(part).pieces()))

        return over(of_part, merged)

    found = find({stream: Targets("at least", (budget,)) for stream in streams}, counted)
    return {stream: int(found[stream].places[0, 0]) + 1 for stream in streams}


def overlap(packed: Sequence[Path]) -> dict[str, float]:
    """How far the replicates of a level read the same, from their packed files: shares of the tokens that they read.

    `tokens`: those that another replicate reads too; `pages`: those from pages that another replicate reads of.
    """
    columns = zip(*map(_read, packed), strict=True)
    ids, number, tokens = (list(column) for column in columns)
    replicate = np.repeat(np.arange(len(ids)), [len(some) for some in number])
    page = np.concatenate([one.indices.to_numpy() for one in pa.chunked_array(ids).unify_dictionaries().chunks])
    numbers, held = np.concatenate(number), np.concatenate(tokens)
    slices = page * (numbers.max() + 1) + numbers
    return {"tokens": _shared(slices, held, replicate), "pages": _shared(page, held, replicate)}


def _read(packed: Path) -> tuple[pa.DictionaryArray, Integers, Integers]:
    """Page, number and tokens of each slice of a packed file."""
    index, end = storage.read_table(index_path(packed), ["id", "number", "offset"]), storage.read_json(header_path(packed))
    held = np.diff(index["offset"].to_numpy(), append=end["tokens"])
    return index["id"].combine_chunks().dictionary_encode(), index["number"].to_numpy(), held


def _shared(what: Integers, tokens: Integers, replicate: Integers) -> float:
    """The share of the tokens that stand in what several replicates read; replicates ascend."""
    order = np.argsort(what, kind="stable")
    first = np.flatnonzero(np.diff(what[order], prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    by_several = replicate[order[first]] != replicate[order[last]]
    return int(np.add.reduceat(tokens[order], first)[by_several].sum()) / int(tokens.sum())
