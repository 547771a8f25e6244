"""Paths in an object store or HDFS, which look like other paths and are read like them, and local copies of what they name.

`s3://bucket/prefix` as a `StorePath` joins, lists, and opens for reading through fsspec. No library can open it by its name:
that is an error rather than a local folder called `s3:`. What must be a local file is copied to scratch (`local`), under a
name that is a hash of the address and of what the store says identifies the bytes, so that a worker which is told of a copy
finds or makes the same one. Credentials come from the environment alone.
"""

import functools
import hashlib
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path, PosixPath
from typing import IO, Any, Never, ParamSpec, TypeVar

import fsspec

SCHEMES = ("s3", "gs", "hdfs")
ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*):/", re.I)
QUERY = re.compile(r"\?[\w.-]+=")
"""A parameter, as of a signature; a question mark alone is part of a pattern of names."""
RETRIES = 8
"""How often a request is tried when the store says 500, 502, 503, 504 or to slow down; waits grow up to 20 s."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": RETRIES}}},
}
BLOCK = 1 << 22
"""Bytes that are asked for at once where a file is read from beginning to end."""


Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class StoreError(OSError):
    """What a store answers when it does not do what it is asked, after all tries, with the address."""


def _asks(method: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """Have a method raise StoreError for whatever a store or its client raises; that nothing is there stays as it is."""

    @functools.wraps(method)
    def asking(*args: Asked.args, **more: Asked.kwargs) -> Answer:
        try:
            return method(*args, **more)
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:  # every store raises errors of its own
            what = " ".join(str(error).split())[:300] or type(error).__name__
            raise StoreError(f"{args[0]}: {what}") from error

    return asking


class StorePath(PosixPath):
    """A path in a store: what it names is listed and read through fsspec, and written by `put` alone."""

    def __str__(self) -> str:
        """The address; of a path relative to another one, its parts."""
        first, *others = self.parts
        return "/".join([f"{first}/" if first.endswith(":") else first, *others])

    def __fspath__(self) -> Never:
        """Raise TypeError: only what is on this machine can be opened by its name."""
        raise TypeError(f"{self} lies in a store: open() it, or take a copy with filters.stores.local")

    @property
    def there(self) -> tuple[Any, str]:
        """The file system and the path in it. Listings are never kept: other jobs write too."""
        scheme = self.parts[0].rstrip(":")
        found: tuple[Any, str] = fsspec.core.url_to_fs(str(self), use_listings_cache=False, **OPTIONS.get(scheme, {}))
        return found

    @property
    def bucket(self) -> "StorePath":
        """The bucket, or the root of the file system."""
        return type(self)(*self.parts[:2])

    @_asks
    def info(self) -> Mapping[str, Any] | None:
        """What the store says of it; None where there is nothing."""
        files, path = self.there
        try:
            told: Mapping[str, Any] = files.info(path)
        except FileNotFoundError:
            return None
        return told

    @_asks
    def listing(self) -> list[Mapping[str, Any]]:
        """What the store says of all that lies directly in this folder, by name; empty where there is none."""
        files, path = self.there
        try:
            told = files.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((one for one in told if str(one["name"]).strip("/") != path.strip("/")), key=_last)

    @_asks
    def walk_files(self) -> dict["StorePath", Mapping[str, Any]]:
        """Every file below this folder, by name, with what the store says of it: one listing."""
        files, path = self.there
        found = files.find(path, detail=True)
        return {self._named(name): told for name, told in sorted(found.items()) if told["type"] == "file"}

    @staticmethod
    def name_of(told: Mapping[str, Any]) -> str:
        """The last part of what the store calls something."""
        return _last(told)

    @_asks
    def copy_to(self, target: "StorePath") -> None:
        """Copy the file within its store."""
        files, path = self.there
        files.cp_file(path, target.there[1])

    def _named(self, name: str) -> "StorePath":
        return type(self)(str(self.there[0].unstrip_protocol(name)))

    def exists(self) -> bool:
        """Whether there is a file, or anything in a folder, of this name."""
        return self.info() is not None

    def is_file(self) -> bool:
        """Whether there is a file of this name."""
        told = self.info()
        return told is not None and told["type"] == "file"

    def is_dir(self) -> bool:
        """Whether anything lies in a folder of this name."""
        told = self.info()
        return told is not None and told["type"] == "directory"

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Bytes and time of change; all else is 0. Raises FileNotFoundError."""
        told = self.info()
        if told is None:
            raise FileNotFoundError(2, "there is no such file", str(self))
        changed = int(changed_at(told) * 1e9)
        return os.stat_result((0, 0, 0, 0, 0, 0, told["size"] or 0, 0, changed // 10**9, 0), {"st_mtime_ns": changed})

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, newline: str | None = None, **__: Any) -> IO[Any]:  # type: ignore[override]
        """The file, to be read from its beginning on. Raises FileNotFoundError, and ValueError for any other mode."""
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"{self} cannot be opened to write: what lies in a store is put there whole")
        opened = self._opened(block_size=BLOCK, cache_type="readahead")
        return opened if mode == "rb" else io.TextIOWrapper(opened, encoding=encoding or "utf-8", newline=newline)

    def open_ranges(self) -> IO[bytes]:
        """The file, of which exactly the ranges are fetched that are read: for columns of Parquet and batches of Arrow."""
        return self._opened(cache_type="none")

    @_asks
    def _opened(self, **how: Any) -> IO[bytes]:
        files, path = self.there
        opened: IO[bytes] = files.open(path, "rb", **how)
        return opened

    @_asks
    def read_bytes(self) -> bytes:
        """All of it in one request."""
        files, path = self.there
        data: bytes = files.cat_file(path)
        return data

    @_asks
    def put(self, data: bytes | Path) -> None:
        """Write bytes or a local file; it appears whole or not at all."""
        files, path = self.there
        if self._grows:
            aside = self.with_name(f".{self.name}.{os.getpid()}.tmp").there[1]
            files.pipe_file(aside, data) if isinstance(data, bytes) else files.put_file(str(data), aside)
            self.unlink(missing_ok=True)
            files.mv(aside, path)
        elif isinstance(data, bytes):
            files.pipe_file(path, data)
        else:
            files.put_file(str(data), path)

    @property
    def _grows(self) -> bool:
        """Whether a file is seen while it is written, as on HDFS, which renames at once, but never over another file."""
        return self.parts[0] == "hdfs:"

    @_asks
    def create(self, data: bytes) -> bool:
        """Write a small file unless there is one: of several that try, one gets True. A condition of the store's own."""
        files, path = self.there
        try:
            if self._grows:
                aside = self.with_name(f".{self.name}.{secrets.token_hex(8)}.tmp").there[1]
                files.pipe_file(aside, data)
                files.mv(aside, path)
            else:
                files.pipe_file(path, data, mode="create")
        except OSError as error:
            conflict = isinstance(error, FileExistsError) or "ConditionalRequestConflict" in str(error)
            if not conflict and not (self._grows and self.exists()):
                raise
            return self._holds(data)  # a first answer that was lost on the way
        return True

    def _holds(self, data: bytes) -> bool:
        """Whether the file is there with this content; it may go while it is looked at."""
        try:
            return self.read_bytes() == data
        except FileNotFoundError:
            return False

    @_asks
    def get(self, target: Path) -> None:
        """Copy the file to this machine. Raises OSError where fewer bytes come than there are."""
        files, path = self.there
        files.get_file(path, str(target))
        size = files.size(path)
        if target.stat().st_size != size:
            raise OSError(f"{self}: {target.stat().st_size} of {size} bytes came; the transfer was cut off, try again")

    @_asks
    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        files, path = self.there
        try:
            files.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    @_asks
    def remove_all(self) -> None:
        """Remove the folder with all that lies in it."""
        files, _ = self.there
        names = [file.there[1] for file in self.walk_files()]
        if names:
            files.rm(names)

    def iterdir(self) -> Iterator["StorePath"]:  # type: ignore[override]
        """What lies directly in the folder."""
        return (self / _last(one) for one in self.listing())

    def glob(self, pattern: str, **_: Any) -> Iterator["StorePath"]:  # type: ignore[override]
        """What lies below and fits a pattern, by name."""
        files, path = self.there
        return (self._named(name) for name in sorted(files.glob(f"{path}/{pattern}")))

    def rglob(self, pattern: str, **_: Any) -> Iterator["StorePath"]:  # type: ignore[override]
        """What lies anywhere below and fits a pattern."""
        return self.glob(f"**/{pattern}")

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Nothing: a folder is there when something lies in it."""

    def resolve(self, strict: bool = False) -> "StorePath":
        """Itself: an address has no other name."""
        return self

    def absolute(self) -> "StorePath":
        """Itself."""
        return self


def source(path: Path) -> Path | IO[bytes]:
    """What pyarrow reads a file's ranges from, wherever it lies."""
    return path.open_ranges() if isinstance(path, StorePath) else path


def _last(told: Mapping[str, Any]) -> str:
    return str(told["name"]).rstrip("/").rpartition("/")[2]


def changed_at(told: Mapping[str, Any]) -> float:
    """When a file was last written by the store's clock, in seconds; 0 where it does not say."""
    when = told.get("LastModified") or told.get("updated") or told.get("mtime") or 0
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    return when.timestamp() if isinstance(when, datetime) else float(when)


def version(told: Mapping[str, Any]) -> str:
    """What the store says that tells these bytes from others of the same name and size."""
    return str(told.get("ETag") or told.get("etag") or changed_at(told)).strip('"')


def changed(path: StorePath) -> float | None:
    """When the file was last written by the store's clock, in seconds; None where it is not there."""
    told = path.info()
    return None if told is None else changed_at(told)


def at(location: Path | str) -> Path:
    """A path of this machine or of a store. Raises ValueError for an address that is neither, or that has a secret in it."""
    text = str(location)
    if isinstance(location, StorePath):
        return location
    if not (found := ADDRESS.match(text)):
        return Path(location)
    scheme, _, rest = text.partition(":")
    rest = rest.lstrip("/")
    if found[1] not in SCHEMES:
        raise ValueError(f"{scheme}:// is no store that is known here: give a path, or {'://, '.join(SCHEMES)}://")
    refuse_secrets(f"{scheme}://{rest}")
    if not rest.strip("/"):
        raise ValueError(f"{text} names no bucket: expected such as {scheme}://bucket/prefix")
    return StorePath(f"{scheme}://{rest}")


def refuse_secrets(address: str) -> None:
    """Raise ValueError where an address of a store has a login or a query: a key in a file is a key that gets about."""
    scheme, _, rest = address.partition("://")
    bucket = rest.partition("/")[0]
    if scheme in SCHEMES and ("@" in bucket or "?" in bucket or QUERY.search(rest)):
        raise ValueError(
            f"an address with a login or a signature in it is refused ({scheme}://...): give credentials by the "
            "environment, as the store's own tools take them"
        )


COPIES: dict[str, Path] = {}
"""Address -> its local copy, for all that this process has asked for by `local`: what its workers need too."""


def scratch() -> Path:
    """The folder of copies on this machine: ours alone, among the temporary files."""
    folder = Path(tempfile.gettempdir()) / f"goodhart-{os.getuid()}" / "stores"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise OSError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
    return folder


def local(location: Path | str) -> Path:
    """The file or folder itself, or its copy on this machine, which workers will have under the same name.

    Raises FileNotFoundError where the store has nothing there.
    """
    path = at(location)
    if isinstance(path, StorePath):
        COPIES[str(path)] = copy_of(path)
    return COPIES.get(str(path), path)


def bring(copies: Mapping[str, Path]) -> None:
    """Have the copies that another process has, under the same names. Raises OSError where the store has other bytes now."""
    for address, there in copies.items():
        if COPIES.get(address) == there:
            continue
        if not there.exists() and copy_of(at(address), there.parent.parent) != there:
            raise OSError(f"{address} has changed since the job began: start it again")
        COPIES[address] = there


def address_of(text: str) -> str:
    """The address that a local copy is of, with what follows the copy's name; any other text as it is."""
    for address, copy in COPIES.items():
        if text == str(copy) or text.startswith(f"{copy}/"):
            return address + text.removeprefix(str(copy))
    return text


def copy_of(path: Path, root: Path | None = None) -> Path:
    """The file, or the folder with the files directly in it, on this machine. Raises FileNotFoundError."""
    if not isinstance(path, StorePath):
        return path
    told = path.info()
    if told is None:
        raise FileNotFoundError(2, "there is no such file or folder", str(path))
    if told["type"] == "file":
        return gathered({path: told}, root) / path.name
    return gathered({path / _last(one): one for one in path.listing() if one["type"] == "file"}, root, path.name)


def gathered(files: Mapping[StorePath, Mapping[str, Any]], root: Path | None = None, name: str = "") -> Path:
    """A folder on this machine with copies of some files; made once for the bytes that the store has now."""
    root = root or scratch()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = [(str(file), told["size"], version(told)) for file, told in files.items()]
    folder = root / hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    if not folder.exists():
        aside = Path(tempfile.mkdtemp(dir=root))
        (aside / name).mkdir(exist_ok=True)
        try:
            for file in files:
                file.get(aside / name / file.name)
            aside.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another process was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder / name if name else folder
