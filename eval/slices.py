"""Slices: every page's tokens cut into runs of a model's context, in an order that is a hash of each slice alone.

A level's stream of training tokens is its slices in ascending key until the budget is full. The key knows the page, the
slice's number and the replicate, and nothing of the level, so nested levels read the same slices in the same order but for
those that one of them lacks; and it knows nothing of other pages, so a part finds its share of the stream (its slices under
a cut) without reading another part. With whole pages in place of slices a short run would read a few long pages.

Keys are decided by arithmetic on 64-bit integers, not by a running random number generator, whose stream may change between
versions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.draws import draw, mix

Truth = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

EVERY = 2**64
"""A cut that every key is under."""

SLICES = pa.schema(
    [("id", pa.string()), ("id_hash", pa.uint64()), ("number", pa.int64()), ("tokens", pa.list_(pa.uint32()))]
)
"""One row a slice: the page's id and its hash, which slice of the page it is, and its tokens."""


class Slices(NamedTuple):
    """Slices of some pages: page [slices], position of the page; number, 0 for a page's first; key; length in tokens;
    id_hash, that of the page or of a copy of it, which decides the key.
    """

    page: Integers
    number: Integers
    key: Keys
    length: Integers
    id_hash: Keys

    def where(self, chosen: Truth) -> "Slices":
        """Those that are chosen; bool [slices]."""
        return Slices(self.page[chosen], self.number[chosen], self.key[chosen], self.length[chosen], self.id_hash[chosen])

    @classmethod
    def joined(cls, some: Sequence["Slices"]) -> "Slices":
        """Those of each, one after the other."""
        return cls(*map(np.concatenate, zip(*some, strict=True)))


def slice_key(id_hash: Keys, number: Integers, replicate: int, epoch: int = 0) -> Keys:
    """The place of slices in the streams of a replicate: uint64 [slices], uniform over all values.

    h = 0; for each f of replicate, epoch, id_hash, number: h = mix((h xor f) + 0x9E3779B97F4A7C15), modulo 2^64, where mix
    is the output function of SplitMix64 (Steele et al. 2014). As mix loses nothing, slices of one page never share a key.
    """
    with np.errstate(over="ignore"):
        key = np.zeros(1, np.uint64)
        for field in (_word(replicate), _word(epoch), id_hash, number.astype(np.uint64)):
            key = mix((key ^ field) + np.uint64(0x9E3779B97F4A7C15))
    return key


def slice_keys(id_hash: Keys, tokens: Integers, context: int, replicate: int) -> Slices:
    """All slices of pages with these hashes and numbers of tokens, page by page: the last of a page is the shorter one.

    A page without tokens has none.
    """
    count = -(-tokens // context)
    page = np.repeat(np.arange(len(tokens)), count)
    number = np.arange(len(page)) - np.repeat(np.cumsum(count) - count, count)
    length = np.minimum(context, tokens[page] - number * context)
    return Slices(page, number, slice_key(id_hash[page], number, replicate), length, id_hash[page])


def copy_hash(id_hash: Keys, copy: int) -> Keys:
    """What stands for the hash of an id in a copy of its page: so that each copy has a place of its own in the stream.

    The first copy, number 0, is the page itself.
    """
    return draw(id_hash, copy, "copy of a page") if copy else id_hash


def tokens_in_slices(length: Integers) -> Integers:
    """What slices weigh in a stream: their tokens and the end-of-text mark that follows each."""
    return length + 1


def gathered(pages: pa.Table, slices: Slices, context: int) -> pa.Table:
    """Slices of pages (`id` and list column `tokens`) with their tokens, as rows of SLICES."""
    tokens = pages["tokens"].combine_chunks()
    starts = tokens.offsets.to_numpy()[slices.page] + slices.number * context
    values = tokens.values.to_numpy()[ranges(starts, slices.length)]
    ends = np.concatenate([[0], np.cumsum(slices.length)])
    page = pa.array(slices.page)
    columns = {
        "id": pages["id"].take(page),
        "id_hash": slices.id_hash,
        "number": slices.number,
        "tokens": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, pa.uint32())),
    }
    return pa.table(columns, schema=SLICES)


def slices_under(pages: pa.Table, cut: int, context: int, replicate: int) -> pa.Table:
    """What one part gives to a stream: the slices of its pages whose key is below the cut, as rows of SLICES."""
    length = pc.list_value_length(pages["tokens"]).fill_null(0).to_numpy().astype(np.int64)
    slices = slice_keys(pages["id_hash"].to_numpy(), length, context, replicate)
    return gathered(pages, slices.where(slices.key < cut), context)


def ranges(starts: Integers, lengths: Integers) -> Integers:
    """The positions starts[i], starts[i] + 1, ..., lengths[i] of them for each i, one after the other."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def _word(value: int) -> Keys:
    """A Python integer as 64 bits."""
    return np.array([value & 0xFFFFFFFFFFFFFFFF], np.uint64)
