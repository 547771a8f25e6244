"""What patterns and path lists name, wherever it lies: files with their sizes, kinds and names, and a local copy of each.

The hard idea: a store answers slowly and there may be 90,000 addresses, so a file is asked for once when it is found, and
a list of paths is believed. A shard's name is its file name alone, unless two are the same; then the nearest folder that
tells them apart comes before it.
"""

from __future__ import annotations

import bz2
import glob
import hashlib
import lzma
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import fsspec

from filters.stores import refuse_secrets
from jobs.shards.members import Members, OnDamage

KINDS = {
    "warc": (".warc", ".wet", ".wat", ".arc"),
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "txt": (".txt",),
}
ENDINGS = tuple(suffix for suffixes in KINDS.values() for suffix in suffixes)
"""What the names of each kind end in, compression apart."""
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
MAGIC = ((b"WARC/", "warc"), (b"PAR1", "parquet"), (b"{", "jsonl"))
ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30}://)(?P<login>[^\s/?#'\"<>@]*@)?(?P<path>[^\s?#'\"<>]*)(?P<query>[?#][^\s'\"<>]*)?",
    re.I,
)
_UNPACKED_FIRST: tuple[tuple[bytes, Callable[..., Any]], ...] = ((b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_PIECE = 1 << 16
TAGS = ("ETag", "etag", "md5Hash", "blob_id")
"""What stores call that which changes with a file's content: S3 and web servers, abfs, Google, Hugging Face."""


class Told(NamedTuple):
    """What is said of a file where it lies: its bytes, and in a store a tag that other content has not; None: unsaid."""

    size: int | None = None
    tag: str | None = None


def expand(patterns: Sequence[str]) -> dict[str, Told]:
    """Every file that the patterns name, each once, with what is said of it.

    Patterns are paths, globs (`**` too), and `s3://`, `hf://` or `https://` addresses. Raises ValueError for a pattern
    that names nothing, a folder, a file whose name is not UTF-8 or an empty one that is not compressed (a compressed
    one is a damaged shard).
    """
    found: dict[str, tuple[str, Told]] = {}
    for pattern in patterns:
        for location, told in (_remote_matches(pattern) if is_remote(pattern) else _local_matches(pattern)).items():
            found.setdefault(one_name(location), (location, told))
    if not found:
        raise ValueError("no shards are named; give paths, globs or addresses")
    return dict(found.values())


def expand_list(paths: str, prefix: str = "", first: int | None = None, hashed: int | None = None) -> dict[str, Told]:
    """The files on a list of paths, one a line, such as Common Crawl's warc.paths.gz, each behind `prefix`.

    `first` takes the first lines, `hashed` as many by the hash of the line: a sample that does not depend on the order.
    Only the first address is looked up: a list of 90,000 is believed. Raises ValueError where there are too few lines.
    """
    (listed,) = expand([paths])
    with fsspec.open(listed, "rt", compression="infer", encoding="utf-8") as file:
        lines = list(dict.fromkeys(line.strip() for line in file if line.strip()))
    wanted = first or hashed or len(lines)
    if not lines or wanted > len(lines):
        raise ValueError(f"{paths} lists {len(lines)} paths, fewer than the {wanted or 'one'} asked for")
    if hashed:
        lines.sort(key=lambda line: hashlib.sha256(line.encode()).digest())
    joined = f"{prefix.rstrip('/')}/" if prefix else ""
    addresses = [joined + line.lstrip("/") if joined else line for line in lines[:wanted]]
    if not is_remote(addresses[0]):
        return expand(addresses)
    return dict.fromkeys(addresses, Told()) | expand(addresses[:1])


def without_secrets(text: str) -> str:
    """The text with no login and no query in any address: what is stored or shown of one never opens it.

    A signed address is a password, and it is another one every hour: what is known of a file goes by the rest.
    """
    return ADDRESS.sub(r"\g<scheme>\g<path>", text) if "://" in text else text


def file_name(location: str) -> str:
    """The last part of a path or an address."""
    path = location.partition("?")[0] if is_remote(location) else location
    return path.rstrip("/").rpartition("/")[2]


def shard_names(locations: Sequence[str]) -> dict[str, str]:
    """location -> the shard's name in every table: its file name, so that tables do not depend on where a checkout lies.

    Files of one name get the nearest folder before it in which they all differ, as in `2024-a.jsonl` and `2025-a.jsonl`.
    """
    alike = defaultdict(list)
    for location in locations:
        alike[file_name(location)].append(location)
    names = {location: f"{before}{name}" for name, group in alike.items() for location, before in _told_apart(group).items()}
    taken: dict[str, str] = {}
    for location, name in names.items():
        if name in taken:
            raise ValueError(f"{taken[name]} and {location} would both be called {name}; rename one")
        taken[name] = location
    return names


def _told_apart(group: Sequence[str]) -> dict[str, str]:
    """What comes before the name of each of some files of one name; nothing if there is only one."""
    if len(group) == 1:
        return {group[0]: ""}
    folders = [without_secrets(one_name(location)).split("/")[-2::-1] for location in group]
    levels = [level for level in zip_longest(*folders, fillvalue="") if len(set(level)) > 1]
    if not levels:
        return dict.fromkeys(group, "")
    telling = next(([level] for level in levels if len(set(level)) == len(group)), levels)
    while len(telling) > 1 and len(set(zip(*telling[:-1], strict=True))) == len(group):
        telling = telling[:-1]
    return {
        location: "".join(f"{part}-" for part in reversed(parts) if part)
        for location, parts in zip(group, zip(*telling, strict=True), strict=True)
    }


def _local_matches(pattern: str) -> dict[str, Told]:
    path = local_path(pattern)
    names = [str(path)] if path.exists() else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - takes any path
    if not names:
        raise ValueError(f"no file matches {pattern!r} (from {Path.cwd()})")
    found: dict[str, Told] = {}
    for name in names:
        if Path(name).is_dir():
            raise ValueError(f"{name!r} is a folder; name the files in it, such as {name.rstrip('/')}/*.warc.gz")
        _refuse_undecodable(name)
        found[name] = Told(Path(name).stat().st_size)
        _refuse_empty(name, found[name].size)
    return found


def _refuse_undecodable(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the file name {os.fsencode(name)!r} is not UTF-8; rename it") from None


def _remote_matches(pattern: str) -> dict[str, Told]:
    """What a store has under an address or a glob, asked once."""
    refuse_secrets(pattern)
    try:
        files, path = fsspec.core.url_to_fs(pattern)
        is_glob = any(mark in path for mark in "*[") and not pattern.startswith(("http://", "https://"))
        told = files.glob(path, detail=True) if is_glob else {pattern: files.info(path)}
    except Exception as error:  # every store raises errors of its own
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"no file matches {pattern!r}; check the address and the access rights ({what})") from error
    if not told:
        raise ValueError(f"no file matches {pattern!r}; check the address and the access rights")
    found = {str(files.unstrip_protocol(name)) if is_glob else name: _told(info) for name, info in sorted(told.items())}
    for name, one in found.items():
        _refuse_empty(name, one.size)
    return found


def _told(info: Mapping[str, Any]) -> Told:
    tag = next((str(info[name]) for name in TAGS if info.get(name)), None)
    return Told(info.get("size"), tag and tag.strip('"'))


def _refuse_empty(name: str, size: int | None) -> None:
    if size == 0 and not name.endswith(COMPRESSED):
        raise ValueError(f"{name!r} is empty (0 bytes); was its download cut off? Take it out or fetch it again")


def is_remote(location: str) -> bool:
    """Whether this is an address rather than a path."""
    return "://" in location and not location.startswith("file://")


def local_path(location: str) -> Path:
    """The path that a location on this machine means."""
    return Path(location.removeprefix("file://")).expanduser()


def one_name(location: str) -> str:
    """The same text for every way to write one location."""
    return location if is_remote(location) else str(local_path(location).resolve())


def kind(location: str) -> str:
    """`warc` (WET too), `parquet`, `jsonl` or `txt`, by the name; if that says nothing, by a local file's first bytes.

    Raises ValueError for what is none of these.
    """
    plain = file_name(location).lower()
    for suffix in COMPRESSED:
        plain = plain.removesuffix(suffix)
    for known, suffixes in KINDS.items():
        if plain.endswith(suffixes):
            return known
    start = b"" if is_remote(location) else _start(local_path(location))
    for magic, known in MAGIC:
        if start.startswith(magic):
            return known
    if plain.endswith(".paths"):
        raise ValueError(f"{location!r} is a list of paths; name it as {{paths: {location}, prefix: https://...}}")
    endings = ", ".join(ENDINGS)
    raise ValueError(
        f"{location!r} is of no kind that is read: names end in {endings}, with {', '.join(COMPRESSED)} or plain; "
        f"a file of another name is given as {{jsonl: PATTERN}} or {{{', '.join(KINDS)}: PATTERN}}"
    )


def has_unknown_ending(pattern: str) -> bool:
    """Whether a pattern ends in letters that are no kind of file; a name without an ending is looked into later."""
    plain = pattern.rstrip("/").rpartition("/")[2].lower()
    for suffix in COMPRESSED:
        plain = plain.removesuffix(suffix)
    return bool(re.search(r"\.[a-z]\w*\Z", plain)) and not plain.endswith(ENDINGS)


def _start(path: Path) -> bytes:
    with opened(path) as file:
        try:
            return Members(file, b"", lambda *_: None).open(0).peek()
        except (EOFError, OSError, lzma.LZMAError):
            return b""


def opened(path: Path) -> BinaryIO:
    """A local file, seekable, freed of bzip2 or xz; gzip and zstd are left to `jobs.shards.members`."""
    with path.open("rb") as file:
        start = file.read(8)
    opener = next((opener for magic, opener in _UNPACKED_FIRST if start.startswith(magic)), open)
    file_: BinaryIO = opener(path, "rb")
    return file_


@contextmanager
def local_copy(location: str) -> Iterator[Path]:
    """A local file of the shard's bytes; a remote one is copied whole, compared in size, and removed afterwards.

    A web server says the size with the bytes, and the copy fails where fewer come: it is not asked again.
    """
    if not is_remote(location):
        yield local_path(location)
        return
    files, path = fsspec.core.url_to_fs(location)
    with tempfile.TemporaryDirectory(prefix="goodhart-") as folder:
        copy = Path(folder) / file_name(location)
        files.get_file(path, str(copy))
        expected = None if location.startswith(("http://", "https://")) else files.size(path)
        if expected is not None and copy.stat().st_size != expected:
            raise OSError(f"{location}: {copy.stat().st_size} of {expected} bytes came; the transfer was cut off, try again")
        yield copy


@contextmanager
def unpacked(path: Path, on_damage: OnDamage) -> Iterator[Path]:
    """The file freed of bzip2 or xz, as a temporary copy: readers go back after damage, which these two cannot.

    What comes before a cut or an error is kept, and the damage is told with the unpacked byte where it stands.
    """
    with opened(path) as packed:
        if not isinstance(packed, bz2.BZ2File | lzma.LZMAFile):
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="goodhart-") as folder:
            copy = Path(folder) / path.stem
            with copy.open("wb") as plain:
                while piece := _read_on(packed, plain.tell(), on_damage):
                    plain.write(piece)
            yield copy


def _read_on(packed: bz2.BZ2File | lzma.LZMAFile, position: int, on_damage: OnDamage) -> bytes:
    """The next piece; nothing at the end, good or bad."""
    try:
        return packed.read1(_PIECE)
    except EOFError:
        on_damage(position, "truncated", "the file ends inside its compressed stream")
    except (OSError, lzma.LZMAError) as error:
        on_damage(position, "corrupt", str(error))
    return b""
