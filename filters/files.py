"""A file is there whole or not at all: written aside, pushed to the disk, then renamed; a store takes it whole."""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from filters.stores import StorePath

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a mix."""
    if isinstance(path, StorePath):
        path.put(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Push a file that some library wrote to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Push a folder's entries to the disk: without it a rename may be lost when the power fails."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def told_full(text: str) -> bool:
    """Whether what somebody says of an error is that no space is left: all take the system's own words for it."""
    return any(os.strerror(number) in text for number in FULL)


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that no space is left: by its number, or in words, as libraries do."""
    return any(getattr(one, "errno", None) in FULL or told_full(str(one)) for one in _causes(error))


def no_space(path: Path) -> OSError:
    """The error of a file that was not written whole, where the library that writes it says nothing."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
