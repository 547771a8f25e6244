"""What lies under `out:`, opened, listed, written and held in one place: the only module that knows it is a folder.

A file is there whole or not at all: it is written aside, pushed to the disk and renamed. Whoever reads sees the old one or
the new one.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from filters.files import sync_file, write_whole
from jobs.parts.refusals import ExperimentError

LAYOUT, LAYOUT_FILE = 3, ".layout.json"
"""Changes whenever a table moves or its rows mean something else."""
ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*:/", re.I)


def check_folder(out: Path) -> None:
    """Refuse an address: `s3://bucket/x` as a path would quietly become a local folder `s3:`. Raises ExperimentError."""
    if ADDRESS.match(str(out)):
        raise ExperimentError(f"out: must be a folder on a local or mounted disk, got the address {out}")


def exists(file: Path | str) -> bool:
    """Whether there is a file (not a folder) of this name."""
    return Path(file).is_file()


def sizes(folder: Path) -> dict[str, int]:
    """Name -> bytes of every file in a folder, from one listing; empty where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def read_json(file: Path | str) -> Any:
    """A JSON file's value."""
    return json.loads(Path(file).read_bytes())


def read_table(file: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a Parquet file, every page's checksum verified."""
    return pq.read_table(file, columns=None if columns is None else list(columns), page_checksum_verification=True)


def open_parquet(file: Path | str) -> pq.ParquetFile:
    """A Parquet file to read by row groups, every page's checksum verified."""
    return pq.ParquetFile(file, page_checksum_verification=True)


def footer_sha256(file: Path | str) -> str:
    """SHA-256 of a Parquet file's footer, which no page checksum covers: it says where columns lie and what they hold.

    Raises OSError where the file is no whole Parquet file.
    """
    with Path(file).open("rb") as opened:
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


def read_batches(file: Path, which: slice) -> pa.Table:
    """Some of an Arrow file's record batches, without reading the others."""
    with pa.OSFile(str(file)) as source:
        opened = pa.ipc.open_file(source)
        batches = [opened.get_batch(number) for number in range(opened.num_record_batches)[which]]
        return pa.Table.from_batches(batches, opened.schema)


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
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as opened:
            yield Hashed(cast(BinaryIO, opened))
        sync_file(aside)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def take(source: Path, target: Path) -> None:
    """Give a whole file a second name; where the file system cannot, a whole copy."""
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


def held_bytes(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def remove(file: Path) -> None:
    """Remove a file, if it is there."""
    file.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all it holds, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_left_overs(folder: Path) -> None:
    """Remove what killed processes were writing."""
    for left_over in folder.glob(".*.tmp"):
        left_over.unlink(missing_ok=True)


def _check_layout(out: Path) -> None:
    """Raise ExperimentError where a version made the folder whose tables lay elsewhere or held something else."""
    found = read_json(out / LAYOUT_FILE) if exists(out / LAYOUT_FILE) else 1 if (out / "pages").is_dir() else LAYOUT
    if found != LAYOUT:
        raise ExperimentError(
            f"{out} was made by a version whose folders lay otherwise (layout {found}, this one makes {LAYOUT}): "
            "set another out:, or remove it to make all of it again"
        )


@contextmanager
def lent(out: Path | None) -> Iterator[None]:
    """See to it that no job writes to a folder that tables are taken from. Raises ExperimentError."""
    if out is None or not exists(out / ".lock"):
        yield
        return
    _check_layout(out)
    with (out / ".lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExperimentError(f"another job is writing to {out}, which reuse: names: wait for it") from error
        yield


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the output folder: a second job on the same folder is refused, a killed one leaves nothing behind."""
    check_folder(out)
    _check_layout(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / LAYOUT_FILE, LAYOUT)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExperimentError(f"another job is writing to {out}: wait for it, or set another out:") from error
        yield
