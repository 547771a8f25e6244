"""What lies under `out:`, opened, listed, written and held in one place: a folder, or a prefix in a store.

A file is there whole or not at all: it is written aside, pushed to the disk and renamed; in a store it is written on scratch
and put. Whoever reads sees the old one or the new one. What a library writes as a folder of its own is made on scratch too
and published whole.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from eval.packed import header_path, index_path
from filters import stores
from filters.files import sync_file, write_whole
from filters.stores import COPIES, StorePath, at, gathered, source
from jobs.parts import lease
from jobs.parts.refusals import ExperimentError

LAYOUT, LAYOUT_FILE = 3, ".layout.json"
"""Changes whenever a table moves or its rows mean something else."""


def exists(file: Path | str) -> bool:
    """Whether there is a file (not a folder) of this name."""
    return at(file).is_file()


def sizes(folder: Path) -> dict[str, int]:
    """Name -> bytes of every file in a folder, from one listing; empty where there is no such folder."""
    if isinstance(folder, StorePath):
        return {folder.name_of(one): one["size"] for one in folder.listing() if one["type"] == "file"}
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    if isinstance(folder, StorePath):
        return [folder / folder.name_of(one) for one in folder.listing() if one["type"] == "directory"]
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def seen(file: Path) -> tuple[int, int | str]:
    """What says that a file may have changed: its bytes, and when it was written or what the store calls its content."""
    if isinstance(file, StorePath):
        told = file.info() or {}
        return told.get("size", 0), stores.version(told)
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def files_below(folder: Path) -> dict[Path, tuple[int, int | str]]:
    """Every file below a folder, by name, with what `seen` says of it."""
    if isinstance(folder, StorePath):
        return {file: (told["size"], stores.version(told)) for file, told in folder.walk_files().items()}
    return {above / name: seen(above / name) for above, names in walk(folder) for name in names}


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below a folder, itself first, with the names of its files; all by name."""
    if isinstance(folder, StorePath):
        by_folder: dict[Path, list[str]] = {}
        for file in folder.walk_files():
            by_folder.setdefault(file.parent, []).append(file.name)
        yield from by_folder.items()
        return
    for above, inner, names in os.walk(folder):
        inner.sort()
        yield Path(above), sorted(names)


def read_json(file: Path | str) -> Any:
    """A JSON file's value."""
    return json.loads(at(file).read_bytes())


def read_table(file: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a Parquet file, every page's checksum verified."""
    wanted = None if columns is None else list(columns)
    with as_written(file):
        return pq.read_table(source(at(file)), columns=wanted, page_checksum_verification=True)


class OpenParquet(pq.ParquetFile):  # type: ignore[misc]
    """A Parquet file whose pages' checksums are verified and whose errors name it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        super().__init__(source(file), page_checksum_verification=True, pre_buffer=isinstance(file, StorePath))

    def iter_batches(self, *asked: Any, **more: Any) -> Iterator[pa.RecordBatch]:
        """Its rows, a batch at a time."""
        with as_written(self.file):
            yield from super().iter_batches(*asked, **more)

    def read_row_groups(self, *asked: Any, **more: Any) -> pa.Table:
        """Some of its row groups."""
        with as_written(self.file):
            return super().read_row_groups(*asked, **more)

    def read_row_group(self, *asked: Any, **more: Any) -> pa.Table:
        """One of its row groups."""
        with as_written(self.file):
            return super().read_row_group(*asked, **more)


def open_parquet(file: Path | str) -> OpenParquet:
    """A Parquet file to read by row groups."""
    with as_written(file):
        return OpenParquet(at(file))


def read_metadata(file: Path | str) -> pq.FileMetaData:
    """What the footer of a Parquet file says."""
    with as_written(file):
        return pq.read_metadata(source(at(file)))


def read_schema(file: Path | str) -> pa.Schema:
    """The columns of a Parquet file."""
    with as_written(file):
        return pq.read_schema(source(at(file)))


class NotAsWritten(ExperimentError, OSError):
    """A file that we have written holds something else by now."""


def not_as_written(file: Path | str) -> NotAsWritten:
    """What is said of such a file."""
    return NotAsWritten(
        f"{file} is not as it was written: a disk or a hand has changed bytes; jobs.verify lists all that is damaged, "
        "and which verb makes it again"
    )


@contextmanager
def as_written(file: Path | str) -> Iterator[None]:
    """Raise NotAsWritten for what pyarrow says of bytes that are no Parquet.

    A system's own errors have a number, and want of memory or Ctrl-C says nothing of the file.
    """
    try:
        yield
    except (pa.ArrowMemoryError, pa.ArrowCancelled):
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise not_as_written(file) from error


def footer_sha256(file: Path | str) -> str:
    """SHA-256 of a Parquet file's footer, which no page checksum covers: it says where columns lie and what they hold.

    Raises OSError where the file is no whole Parquet file.
    """
    path = at(file)
    with path.open_ranges() if isinstance(path, StorePath) else path.open("rb") as opened:
        size = opened.seek(0, io.SEEK_END)
        opened.seek(max(0, size - 8))
        end = opened.read(8)
        length = int.from_bytes(end[:4], "little") + 8
        if end[4:] != b"PAR1" or length > size:
            raise OSError(f"{file} does not end as a Parquet file does")
        opened.seek(size - length)
        return hashlib.sha256(opened.read(length)).hexdigest()


def write_json(file: Path, value: Any) -> None:
    """Write a value as JSON that people can read, whole or not at all."""
    write_whole(file, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_table(file: Path, table: pa.Table) -> None:
    """Write a small table as Parquet, whole or not at all."""
    with written(file) as sink:
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)


def write_batches(file: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write record batches as an Arrow file, whole or not at all, so that each can be read by its number; how many rows."""
    rows = 0
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with written(file) as sink, pa.ipc.new_file(sink, schema, options=options) as opened:
        for batch in batches:
            opened.write_batch(batch)
            rows += len(batch)
    return rows


def read_batches(file: Path, which: slice) -> Iterator[pa.Table]:
    """Some of an Arrow file's record batches, one at a time, without reading the others."""
    with file.open_ranges() if isinstance(file, StorePath) else pa.OSFile(str(file)) as source:
        opened = pa.ipc.open_file(source)
        for number in range(opened.num_record_batches)[which]:
            yield pa.Table.from_batches([opened.get_batch(number)])


class Hashed(io.RawIOBase):
    """A file being written, and the SHA-256 of what it holds so far."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        """Append bytes."""
        view = memoryview(data)
        self._digest.update(view)
        self._file.write(view)
        self.size += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        """Hand everything to the system."""
        self._file.flush()

    def tell(self) -> int:
        """Bytes written."""
        return self.size

    def writable(self) -> bool:
        """Yes."""
        return True

    @property
    def sha256(self) -> str:
        """Of what was written, in hexadecimal."""
        return self._digest.hexdigest()


@contextmanager
def written(file: Path) -> Iterator[Hashed]:
    """A file to write from beginning to end; it gets its name when the block ends well, and leaves nothing otherwise."""
    if isinstance(file, StorePath):
        with on_scratch(file) as here, here.open("wb") as opened:
            yield Hashed(cast(BinaryIO, opened))
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as opened:
            yield Hashed(cast(BinaryIO, opened))
        sync_file(aside)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def on_scratch(target: Path, last: Sequence[str] = ()) -> Iterator[Path]:
    """Where to make the file or folder `target`: on this machine, and published when the block ends well.

    A target on this machine is its own place. What else the block leaves beside it is published beside the target. The
    files named in `last` become visible after all others.
    """
    if not isinstance(target, StorePath):
        yield target
        return
    with tempfile.TemporaryDirectory(dir=stores.scratch()) as folder:
        here = Path(folder) / target.name
        yield here
        publish(Path(folder), target.parent, last)


@contextmanager
def borrowed(folder: Path) -> Iterator[Path]:
    """A folder with all below it, on this machine: itself, or a copy for as long as the block runs."""
    if not isinstance(folder, StorePath):
        yield folder
        return
    with tempfile.TemporaryDirectory(dir=stores.scratch()) as copy:
        for file in folder.walk_files():
            here = Path(copy) / file.relative_to(folder)
            here.parent.mkdir(parents=True, exist_ok=True)
            file.get(here)
        yield Path(copy)


def stream_here(packed: Path) -> Path:
    """A stream of tokens with its header and index on this machine: itself, or a copy."""
    if not isinstance(packed, StorePath):
        return packed
    files = [file for file in (packed, header_path(packed), index_path(packed)) if isinstance(file, StorePath)]
    told = {file: info for file in files if (info := file.info())}
    COPIES[str(packed)] = gathered(told) / packed.name
    return COPIES[str(packed)]


def publish_file(file: Path, target: Path) -> None:
    """Put a file of this machine into a store."""
    if not isinstance(target, StorePath):
        raise TypeError(f"{target} does not lie in a store")
    target.put(file)


def publish(folder: Path, target: Path, last: Sequence[str] = ()) -> None:
    """Put all files below a folder of this machine into a store, those of the names in `last` after the others."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != ".lock"]
    for file in sorted(files, key=lambda file: last.index(file.name) if file.name in last else -1):
        publish_file(file, target / file.relative_to(folder))


def take(source: Path, target: Path) -> None:
    """Give a whole file a second name; where the file system cannot, a whole copy."""
    if isinstance(source, StorePath) or isinstance(target, StorePath):
        _copy(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, aside)
        sync_file(aside)
    aside.replace(target)
    aside.unlink(missing_ok=True)  # a rename onto another name of the same file does nothing


def _copy(source: Path, target: Path) -> None:
    """Copy a whole file from or to a store; within one the bytes stay there."""
    if isinstance(source, StorePath) and isinstance(target, StorePath) and source.parts[0] == target.parts[0]:
        source.copy_to(target)
        return
    with source.open("rb") as opened, written(target) as sink:
        shutil.copyfileobj(opened, cast(BinaryIO, sink))


def held_bytes(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(size for size, _ in files_below(path).values())


def remove(file: Path) -> None:
    """Remove a file, if it is there."""
    file.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all it holds, if it is there."""
    if isinstance(folder, StorePath):
        folder.remove_all()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_overs(folder: Path, below: bool = False) -> None:
    """Remove what killed processes were writing, in folders below as well where asked; a store shows nothing of it."""
    if not isinstance(folder, StorePath):
        for left_over in folder.glob("**/.*.tmp" if below else ".*.tmp"):
            left_over.unlink(missing_ok=True)


def _check_layout(out: Path) -> None:
    """Raise ExperimentError where a version made the folder whose tables lay elsewhere or held something else."""
    file, found = out / LAYOUT_FILE, LAYOUT
    if exists(file):
        try:
            found = read_json(file)
        except ValueError as error:
            raise ExperimentError(
                f"{file} is not as it was written: it should hold the number {LAYOUT}; write that into it, if this version "
                "made the folder"
            ) from error
    elif (out / "pages").is_dir():
        found = 1
    if found != LAYOUT:
        raise ExperimentError(
            f"{out} was made by a version whose folders lay otherwise (layout {found} in {file}, this one makes {LAYOUT}): "
            "set another out:, or remove it to make all of it again"
        )


@contextmanager
def lent(out: Path | None) -> Iterator[None]:
    """See to it that no job writes to a folder that tables are taken from. Raises ExperimentError."""
    if out is None:
        yield
    elif isinstance(out, StorePath):
        _check_layout(out)
        lease.refuse_held(out, f"another job is writing to {out}, which reuse: names: wait for it")
        yield
    elif not exists(out / ".lock"):
        yield
    else:
        _check_layout(out)
        with _locked(out / ".lock", "r", fcntl.LOCK_SH, f"another job is writing to {out}, which reuse: names: wait for it"):
            yield


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the output folder: a second job on the same folder is refused, a killed one leaves nothing behind.

    A prefix in a store is held by a lease, which runs out when the job that has it is killed.
    """
    out = _place(out)
    _check_layout(out)
    said = f"another job is writing to {out}: wait for it, or set another out:"
    if isinstance(out, StorePath):
        with lease.held(out, said):
            write_json(out / LAYOUT_FILE, LAYOUT)
            yield
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / LAYOUT_FILE, LAYOUT)
    with _locked(out / ".lock", "w", fcntl.LOCK_EX, said):
        yield


@contextmanager
def _locked(file: Path, mode: str, kind: int, said: str) -> Iterator[None]:
    """A lock of the system's, which goes with its process. Raises ExperimentError where another one has it."""
    with file.open(mode) as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExperimentError(said) from error
        yield


def _place(out: Path) -> Path:
    """The folder or prefix. Raises ExperimentError for an address that is no store, or one that cannot be reached."""
    try:
        place = at(out)
        if isinstance(place, StorePath) and place.bucket.info() is None:
            raise FileNotFoundError(f"there is no {place.bucket}")
        return place
    except ValueError as error:
        raise ExperimentError(f"out: {error}") from error
    except Exception as error:  # every store raises errors of its own
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ExperimentError(
            f"out: {out} cannot be looked into ({what}): check the address, and the credentials in the environment"
        ) from error
