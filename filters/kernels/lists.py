"""A large set of strings as one small file that every worker of a machine maps into the same memory.

What is kept of a string is 64 bits of hash, sorted, and a directory of where each run of equal leading bits begins, so a
lookup is one step into the directory and a few neighbours in the list. A string that is not in the set is taken for one
that is with probability entries / 2^64: 2.5e-13 for 4.6 million, once in four hundred billion pages at ten lookups a page.
Sorted, the file depends on the set alone and not on the order it was given in. Case of ASCII letters is folded.
"""

import functools
import gzip
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.kernels.text import Bytes, Hashes, kernel

MAGIC = b"goodhart list 1\n"
ALIGNED = 64
MOST_CATEGORIES = 255
PER_BUCKET = 4  # entries, on average: they share one or two cache lines

FNV_BASIS = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
SHIFT = np.uint64(33)

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}

Places = npt.NDArray[np.uint32]


class ListFileError(ValueError):
    """A list that cannot be read or built; the message says why and what to do."""


@dataclass(frozen=True)
class StringList:
    """`hashes` uint64 (entries), ascending; `categories` uint8 (entries), into `names`; `first` uint32 (buckets + 1)."""

    hashes: Hashes
    categories: Bytes
    first: Places
    names: tuple[str, ...]

    @property
    def shift(self) -> int:
        """A hash belongs to the bucket of its bits above this one."""
        return 64 - (len(self.first) - 1).bit_length() + 1

    def find(self, hashes: Hashes) -> npt.NDArray[np.int16]:
        """Place of each hash's category in `names`, -1 where it is not in the set; shape of `hashes`."""
        found: npt.NDArray[np.int16] = find_all(hashes, self.hashes, self.categories, self.first, np.uint64(self.shift))
        return found


@kernel
def lower(byte: int) -> int:
    """An ASCII capital as a small letter, anything else as it is."""
    return byte + 32 if 65 <= byte <= 90 else byte


@kernel
def extend(state: np.uint64, byte: int) -> np.uint64:
    """FNV-1a over one more byte."""
    return (state ^ np.uint64(lower(byte))) * FNV_PRIME


@kernel
def finish(state: np.uint64) -> np.uint64:
    """The hash of the bytes so far: FNV's low bits depend on few bytes, MurmurHash3's last step mends that."""
    state = (state ^ state >> SHIFT) * MIX_1
    state = (state ^ state >> SHIFT) * MIX_2
    return state ^ state >> SHIFT


@kernel
def find(hashed: np.uint64, hashes: Hashes, categories: Bytes, first: Places, shift: np.uint64) -> int:
    """Category of one hash, -1 where it is not in the set."""
    bucket = hashed >> shift
    for place in range(first[bucket], first[bucket + np.uint64(1)]):
        if hashes[place] == hashed:
            return int(categories[place])
    return -1


@kernel
def find_all(wanted: Hashes, hashes: Hashes, categories: Bytes, first: Places, shift: np.uint64) -> npt.NDArray[np.int16]:
    """`find` for each of the wanted hashes."""
    found = np.empty(len(wanted), np.int16)
    for k in range(len(wanted)):
        found[k] = find(wanted[k], hashes, categories, first, shift)
    return found


@kernel
def after_scheme(data: Bytes, start: int, end: int) -> int:
    """Where a URL goes on after `scheme://` or `//`; `start` where there is neither."""
    at = start
    while at < end and (data[at] | 32) >= 97 and (data[at] | 32) <= 122:
        at += 1
    if at < end and at > start and data[at] == 58:
        at += 1
    elif at > start:
        return start
    if at + 1 < end and data[at] == 47 and data[at + 1] == 47:
        return at + 2
    return start


@kernel
def hash_lines(data: Bytes) -> Hashes:
    """Hashes of the entries in a file of one entry per line; blank lines and lines that begin with # are none.

    White space around an entry, `http://` or `https://` before it and one slash behind it do not belong to it.
    """
    hashes = np.empty(len(data) // 2 + 1, np.uint64)
    found, at = 0, 0
    while at < len(data):
        end = at
        while end < len(data) and data[end] != 10:
            end += 1
        start, stop = at, end
        while start < stop and data[start] <= 32:
            start += 1
        while start < stop and data[stop - 1] <= 32:
            stop -= 1
        start = after_scheme(data, start, stop)
        if start < stop and data[stop - 1] == 47:
            stop -= 1
        if start < stop and data[start] != 35:
            state = FNV_BASIS
            for k in range(start, stop):
                state = extend(state, data[k])
            hashes[found] = finish(state)
            found += 1
        at = end + 1
    return hashes[:found]


def build(path: Path, sources: Mapping[str, Sequence[Path]]) -> int:
    """Write a list file from files of one entry per line (.gz and .xz too) by category; the number of different entries.

    An entry of several categories belongs to the first of them. Raises ListFileError for a file that is missing or empty.
    """
    names = tuple(sources)
    if not 0 < len(names) <= MOST_CATEGORIES:
        raise ListFileError(f"a list has 1 to {MOST_CATEGORIES} categories, got {len(names)}")
    pieces = [(_entries(file), place) for place, name in enumerate(names) for file in sources[name]]
    hashes = np.concatenate([piece for piece, _ in pieces])
    categories = np.concatenate([np.full(len(piece), place, np.uint8) for piece, place in pieces])
    hashes, first_of = np.unique(hashes, return_index=True)  # the first of equals, and sources come in order of category
    categories = categories[first_of]
    bits = max(1, (len(hashes) // PER_BUCKET).bit_length())
    buckets = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    first = np.concatenate([[0], np.searchsorted(hashes, buckets), [len(hashes)]]).astype(np.uint32)
    _write(path, {"hashes": hashes, "categories": categories, "first": first}, names)
    return len(hashes)


def _entries(file: Path) -> Hashes:
    try:
        with OPENERS.get(file.suffix, Path.open)(file, "rb") as opened:
            data = np.frombuffer(opened.read(), np.uint8)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ListFileError(f"list source {file} cannot be read: {error}") from None
    hashes: Hashes = hash_lines(data)
    if len(hashes) == 0:
        raise ListFileError(f"list source {file} has no entries: expected one per line")
    return hashes


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _write(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]], names: tuple[str, ...]) -> None:
    about = {"names": names, "arrays": {name: [str(array.dtype), len(array)] for name, array in arrays.items()}}
    header = json.dumps(about).encode() + b"\n"
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(bytes(_aligned(file.tell()) - file.tell()))
            file.write(np.ascontiguousarray(array).tobytes())
    partial.replace(path)


@functools.cache
def open_list(path: str) -> StringList:
    """The list in a file that `build` wrote, mapped and not read; once per process. Raises ListFileError."""
    try:
        whole = np.memmap(path, np.uint8, "r")
    except FileNotFoundError:
        raise ListFileError(f"no list {path}: build it with `python -m jobs.get_lists`") from None
    except (OSError, ValueError) as error:
        raise ListFileError(f"list {path} cannot be read: {error}") from None
    begin = len(MAGIC) + 8
    if bytes(whole[: len(MAGIC)]) != MAGIC:
        raise ListFileError(
            f"{path} is not a list that was built: make one of it with `python -m jobs.get_lists OUT NAME={path}`"
        )
    at = begin + int.from_bytes(bytes(whole[len(MAGIC) : begin]), "little")
    about = json.loads(bytes(whole[begin:at]))
    arrays = {}
    for name, (kind, entries) in about["arrays"].items():
        at = _aligned(at)
        end = at + entries * np.dtype(kind).itemsize
        if end > len(whole):
            raise ListFileError(
                f"list {path} is truncated: it has {len(whole):,} bytes, at least {end:,} are expected; build it again"
            )
        arrays[name] = np.asarray(whole[at:end]).view(kind)
        at = end
    return StringList(**arrays, names=tuple(about["names"]))
