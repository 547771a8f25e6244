"""Entries of a word list looked for in pages in one pass: a trie whose edges are hashes of words.

A word is a run of letters, digits and marks in lower case; what separates words does not matter, so the entry `one-two`
is found in "One, two". Where a language writes no spaces the unit is the character instead, and an entry is found anywhere.
Time is linear: each unit costs one look-up for every entry that is half read, and the longest entry bounds those.
"""

import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.lists import FNV_BASIS, FNV_PRIME, MIX_1, finish
from filters.kernels.text import Bytes, Codes, Hashes, Offsets, decode, kernel
from filters.kernels.unicode_tables import CLASSES, LETTER, MARK, NUMERIC
from filters.pages import PageBatch
from filters.signals import Count

WORD = LETTER | NUMERIC | MARK
NO_UNIT = FNV_BASIS
EMPTY = 0  # no edge has this key: `edge_key` sets the last bit


@dataclass(frozen=True)
class WordTrie:
    """Edges in an open hash table: `keys[slot]` of a node and a unit leads to `nodes[slot]`; `ends[node]`: an entry ends."""

    keys: Hashes
    nodes: npt.NDArray[np.int32]
    ends: npt.NDArray[np.bool_]
    depth: int
    by_character: bool

    def count(self, pages: PageBatch) -> Count:
        """Places in each page where an entry ends; shape (pages,)."""
        counts: Count = count_entries(
            pages.data,
            pages.offsets,
            letter_table(self.by_character),
            self.by_character,
            self.keys,
            self.nodes,
            self.ends,
            self.depth,
        )
        return counts


@functools.cache
def letter_table(by_character: bool) -> Codes:
    """1 + the small letter (str.lower, where that is one code point) of what belongs to a unit, 0 for what separates units.

    Shape (0x110000,). Where units are characters nothing separates them.
    """
    table = np.arange(1, sys.maxunicode + 2, dtype=np.int32)
    for code in range(0x1F000):  # no letters with case above
        small = chr(code).lower()
        if len(small) == 1:
            table[code] = ord(small) + 1
    if not by_character:
        table[CLASSES & WORD == 0] = 0
    return table


@kernel
def next_unit(data: Bytes, at: int, end: int, letters: Codes, by_character: bool) -> tuple[np.uint64, int]:
    """Hash of the next unit from `at` on, and where to go on after it; NO_UNIT where there is none."""
    hashed = NO_UNIT
    while at < end:
        code, size = int(data[at]), 1
        if code >= 0x80:
            code, size = decode(data, at, end)
        letter = letters[code]
        at += size
        if letter:
            hashed = (hashed ^ np.uint64(letter)) * FNV_PRIME
            if by_character:
                break
        elif hashed != NO_UNIT:
            break
    return hashed, at


@kernel
def edge_key(node: int, unit: np.uint64) -> np.uint64:
    """Key of the edge from a node by a unit; never 0."""
    return finish(unit ^ np.uint64(node) * MIX_1) | np.uint64(1)


@kernel
def follow(node: int, unit: np.uint64, keys: Hashes, nodes: npt.NDArray[np.int32]) -> int:
    """The node behind an edge, -1 where there is none."""
    key = edge_key(node, unit)
    mask = np.uint64(len(keys) - 1)
    slot = key >> np.uint64(1) & mask
    while keys[slot] != np.uint64(EMPTY):
        if keys[slot] == key:
            return int(nodes[slot])
        slot = slot + np.uint64(1) & mask
    return -1


@kernel
def count_entries(
    data: Bytes,
    offsets: Offsets,
    letters: Codes,
    by_character: bool,
    keys: Hashes,
    nodes: npt.NDArray[np.int32],
    ends: npt.NDArray[np.bool_],
    depth: int,
) -> npt.NDArray[np.int64]:
    """`WordTrie.count`: `open_at` holds the nodes of all entries that may still go on."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    open_at = np.zeros(depth + 1, np.int32)
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        many = 0
        while at < end:
            unit, at = next_unit(data, at, end, letters, by_character)
            if unit == NO_UNIT:
                break
            open_at[many] = 0  # the root: an entry may begin at every unit
            still, ended = 0, False
            for k in range(many + 1):
                node = follow(open_at[k], unit, keys, nodes)
                if node >= 0:
                    open_at[still] = node
                    still += 1
                    ended = ended or ends[node]
            many = min(still, depth)
            counts[page] += ended
    return counts


def units(entry: str, by_character: bool) -> list[int]:
    """Hashes of an entry's units."""
    page = PageBatch(pa.array([entry]))
    found, at, end = [], int(page.offsets[0]), int(page.offsets[1])
    while at < end:
        unit, at = next_unit(page.data, at, end, letter_table(by_character), by_character)
        if unit != NO_UNIT:
            found.append(int(unit))
    return found


def word_trie(entries: Iterable[str], by_character: bool = False) -> WordTrie:
    """The trie of these entries; those without any letter or digit are none (unless units are characters)."""
    edges: dict[tuple[int, int], int] = {}
    ends = [False]
    depth = 0
    for entry in sorted(entries):
        node = 0
        path = units(entry, by_character)
        depth = max(depth, len(path))
        for unit in path:
            if (node, unit) not in edges:
                edges[node, unit] = len(ends)
                ends.append(False)
            node = edges[node, unit]
        ends[node] = bool(path)
    slots = 1 << (4 * len(edges) + 1).bit_length()
    keys, nodes = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
    for (node, unit), target in edges.items():
        key: Any = edge_key(node, np.uint64(unit))
        slot = int(key) >> 1 & slots - 1
        while keys[slot]:
            slot = slot + 1 & slots - 1
        keys[slot], nodes[slot] = key, target
    return WordTrie(keys, nodes, np.array(ends, bool), depth, by_character)
