"""A large set of strings as one small file that every worker of a machine maps into the same memory.

What is kept of a string is 64 bits of hash, sorted, and a directory of where each run of equal leading bits begins, so a
lookup is one step into the directory and a few neighbours in the list. A string that is not in the set is taken for one
that is with probability entries / 2^64: 2.5e-13 for 4.6 million, once in four hundred billion pages at ten lookups a page.
Sorted, the file depends on the set alone and not on the order it was given in. Case of ASCII letters is folded.

Lists of sites are published in several formats. Each line is read by what it looks like, and a line that looks like none of
them stops the build: taken for an entry it would block nothing, and nobody would know.
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

from filters.kernels.text import Bytes, Hashes, kernel, next_byte, same_phrase

MAGIC = b"goodhart list 1\n"
ALIGNED = 64
MOST_CATEGORIES = 255
PER_BUCKET = 4  # entries, on average: they share one or two cache lines
LONGEST_ENTRY = 2048  # bytes; UT1's longest has 146. No more than that of a path is looked up: a bound on the work
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ADBLOCK = np.frombuffer(b"[adblock", np.uint8)  # begins the first line of a filter list
EXPECTED = (
    "expected a site or an address (bad.example, site.example/path), a line of a hosts file (0.0.0.0 bad.example),"
    " ||bad.example^ without options, *.bad.example or .bad.example; lines that begin with # or ! are comments"
)

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
def word_end(data: Bytes, start: int, end: int) -> int:
    """End of the run of anything but ASCII white space that begins at `start`."""
    while start < end and data[start] > 32:
        start += 1
    return start


@kernel
def written(data: Bytes, start: int, end: int, adblock: Bytes) -> tuple[int, int]:
    """What a line says, without white space at its ends and without a comment; equal begin and end if it says nothing."""
    while start < end and data[start] <= 32:
        start += 1
    if start < end and (data[start] == 35 or data[start] == 33 or same_phrase(data, start, start, end, adblock)):
        return start, start
    for k in range(start + 1, end):
        if data[k] == 35 and data[k - 1] <= 32:
            end = k
            break
    while start < end and data[end - 1] <= 32:
        end -= 1
    return start, end


@kernel
def is_address(data: Bytes, start: int, end: int) -> bool:
    """Whether this is an IP address as hosts files write it: four numbers, or colons, perhaps with a zone (fe80::1%lo0)."""
    dots, colons, letters = 0, 0, 0
    for k in range(start, end):
        byte = lower(data[k])
        if byte == 37 and colons > 1:
            break
        if byte == 46:
            dots += 1
        elif byte == 58:
            colons += 1
        elif 97 <= byte <= 102:
            letters += 1
        elif not 48 <= byte <= 57:
            return False
    return colons > 1 or (dots == 3 and letters + colons == 0)


@kernel
def host_end(data: Bytes, start: int, end: int) -> int:
    """End of the host that begins at `start`: labels of letters, digits, - and _ between dots, or [IPv6]; else `start`."""
    if start < end and data[start] == 91:
        last = next_byte(data, start, end, 93)
        return last + 1 if last < end and is_address(data, start + 1, last) else start
    label, at = 0, start
    while at < end:
        byte = lower(data[at])
        if byte == 46 and label > 0:
            label = 0
        elif 97 <= byte <= 122 or 48 <= byte <= 57 or byte == 45 or byte == 95 or byte >= 128:
            label += 1
        else:
            break
        at += 1
    return at if at == end or data[at] != 46 else start


@kernel
def path_begin(data: Bytes, at: int, end: int) -> int:
    """Where the path begins behind a host that ends at `at`, with or without a port; -1 where something else follows."""
    if at < end and data[at] == 58:
        at += 1
        while at < end and 48 <= data[at] <= 57:
            at += 1
    if at == end or data[at] == 47 or data[at] == 63:
        return at
    return -1


@kernel
def is_path(data: Bytes, start: int, end: int) -> bool:
    """Whether a path is one that a page can have: no wildcard or other sign of a filter rule, no fragment."""
    for k in range(start, end):
        if data[k] <= 32 or data[k] == 35 or data[k] == 42 or data[k] == 94 or data[k] == 124:
            return False
    return True


@kernel
def is_network(data: Bytes, start: int, last: int, path: int, end: int) -> bool:
    """Whether an entry is a block of addresses, such as 192.0.2.0/24, and no page on a host."""
    if not 2 <= end - path <= 3 or not is_address(data, start, last):
        return False
    return bool(48 <= data[path + 1] <= 57 and 48 <= data[end - 1] <= 57)


@kernel
def hash_entry(data: Bytes, start: int, end: int) -> tuple[bool, np.uint64]:
    """Whether this is a host with or without a path, and the hash by which it is found: as `find_urls` reads an address.

    Scheme, port, a dot behind the host and a slash behind the path do not belong to it.
    """
    start = after_scheme(data, start, end)
    last = host_end(data, start, end)
    path = path_begin(data, last, end)
    if last == start or path < 0 or end - start > LONGEST_ENTRY or not is_path(data, path, end):
        return False, FNV_BASIS
    if is_network(data, start, last, path, end):
        return False, FNV_BASIS
    state = FNV_BASIS
    for k in range(start, last - int(data[last - 1] == 46)):
        state = extend(state, data[k])
    for k in range(path, end - int(path < end and data[end - 1] == 47)):
        state = extend(state, data[k])
    return True, finish(state)


@kernel
def read_names(data: Bytes, start: int, end: int, hashes: Hashes, found: int) -> int:
    """Add the names of a line of a hosts file; the new number of entries, -1 if one is no name.

    Names without a dot (localhost) and addresses (0.0.0.0) are the machine's own and no entries.
    """
    while start < end:
        last = word_end(data, start, end)
        if last > start and next_byte(data, start, last, 46) < last and not is_address(data, start, last):
            good, hashes[found] = hash_entry(data, start, last)
            if not good or next_byte(data, start, last, 47) < last:
                return -1
            found += 1
        start = last + 1
    return found


@kernel
def read_line(data: Bytes, start: int, end: int, adblock: Bytes, hashes: Hashes, found: int) -> int:
    """Add the entries of one line; the new number of entries, -1 if the line is in no format that is known."""
    start, end = written(data, start, end, adblock)
    if start == end:
        return found
    last = word_end(data, start, end)
    if last < end:
        return read_names(data, last, end, hashes, found) if is_address(data, start, last) else -1
    if end - start > 3 and data[start] == 124 and data[start + 1] == 124 and data[end - 1] == 94:
        start, end = start + 2, end - 1
    elif end - start > 2 and data[start] == 42 and data[start + 1] == 46:
        start += 2
    elif data[start] == 46:
        start += 1
    good, hashes[found] = hash_entry(data, start, end)
    return found + 1 if good else -1


@kernel
def hash_lines(data: Bytes, adblock: Bytes) -> tuple[Hashes, int]:
    """Hashes of the entries in a file, and where the first line begins that is in no known format; -1 if all are."""
    hashes = np.empty(len(data) // 2 + 1, np.uint64)
    found, at = 0, 0
    while at < len(data):
        end = next_byte(data, at, len(data), 10)
        found = read_line(data, at, end, adblock, hashes, found)
        if found < 0:
            return hashes[:0], at
        at = end + 1
    return hashes[:found], -1


def build(path: Path, sources: Mapping[str, Sequence[Path]]) -> int:
    """Write a list file from the lines of files (.gz and .xz too) by category; the number of different entries.

    An entry of several categories belongs to the first of them. Raises ListFileError for a file that is missing or empty,
    and for a line that is no entry.
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
            content = opened.read().removeprefix(BYTE_ORDER_MARK)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ListFileError(f"list source {file} cannot be read: {error}") from None
    hashes, refused = entries(content)
    if refused >= 0:
        line = content[refused:].partition(b"\n")[0].strip().decode(errors="replace")
        number = content.count(b"\n", 0, refused) + 1
        raise ListFileError(f"list source {file}, line {number}: {line[:80]!r} is no entry: {EXPECTED}")
    if len(hashes) == 0:
        raise ListFileError(f"list source {file} has no entries: {EXPECTED}")
    return hashes


def entries(content: bytes) -> tuple[Hashes, int]:
    """Hashes of the entries in the lines of a list, and where the first line begins that is none; -1 if there is none."""
    hashes, refused = hash_lines(np.frombuffer(content, np.uint8), ADBLOCK)
    return hashes, int(refused)


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
