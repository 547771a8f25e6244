"""Is this file a whole fastText model? Read from its own sizes, because fastText's loader does not ask.

The loader takes whatever it gets: half a model loads and answers .50 to everything, a stub of 200 bytes never returns, a
flipped header byte is a segmentation fault. But the header says how long every section is, so walking over the sections and
arriving exactly at the end of the file proves that none is missing, without loading anything. Layout: fastText 0.9 (version
12 of the format), fasttext.cc, args.cc, dictionary.cc, matrix.cc, productquantizer.cc.
"""

import mmap
import struct
from pathlib import Path

MAGIC = 793712314
VERSIONS = (11, 12)
CENTROIDS = 256  # per subquantizer, a constant of the format


class ModelFileError(ValueError):
    """A model file that cannot be what it should be; the message says why and what to do."""


class _Reader:
    """A position in the file; every step is checked against the file's end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> tuple[int, ...]:
        start = self.at
        self.skip(struct.calcsize("<" + form))
        return struct.unpack_from("<" + form, self.data, start)

    def skip(self, size: int) -> None:
        if size < 0:
            raise ModelFileError("a section of negative size: the header is damaged")
        self.at += size
        if self.at > len(self.data):
            raise ModelFileError(f"truncated: it has {len(self.data):,} bytes and its header asks for at least {self.at:,}")

    def skip_word(self) -> None:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ModelFileError(f"truncated: its {len(self.data):,} bytes end within the dictionary")
        self.at = end + 1

    def skip_any_matrix(self, quantized: bool) -> None:
        if quantized:
            self.skip_quantized_matrix()
        else:
            self.skip_matrix()

    def skip_matrix(self) -> None:
        rows, columns = self.take("qq")
        if rows < 0 or columns < 0:
            raise ModelFileError("a matrix of negative size: the header is damaged")
        self.skip(4 * rows * columns)

    def skip_quantizer(self) -> None:
        dimension, _, _, _ = self.take("iiii")
        self.skip(4 * dimension * CENTROIDS)

    def skip_quantized_matrix(self) -> None:
        with_norms, rows, _, codes = self.take("?qqi")
        self.skip(codes)
        self.skip_quantizer()
        if with_norms:
            self.skip(rows)
            self.skip_quantizer()


def _what_it_is_instead(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer, not the model: run `git lfs pull`, or download the file itself"
    if head.lstrip()[:1] == b"<":
        return "it is an HTML or XML page, probably an error message saved by a download: download it again"
    if head[:2] == b"\x1f\x8b":
        return "it is gzip-compressed: decompress it first"
    return "it does not begin with fastText's mark: give the .bin or .ftz file that fastText wrote"


def check_file(path: Path) -> None:
    """Raise ModelFileError unless the file has fastText's mark and ends exactly where its own sizes say."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check(data)
    except FileNotFoundError:
        raise ModelFileError(f"no model file {path}: check the path, or train it with jobs.train_classifier") from None
    except IsADirectoryError:
        raise ModelFileError(f"model file {path} is a folder: name the .bin or .ftz file in it") from None
    except ModelFileError as error:
        raise ModelFileError(f"model file {path} is no usable fastText model: {error}") from None
    except ValueError:  # mmap of nothing
        raise ModelFileError(f"model file {path} is empty") from None


def _check(data: mmap.mmap) -> None:
    if len(data) < 8 or struct.unpack_from("<i", data)[0] != MAGIC:
        raise ModelFileError(_what_it_is_instead(data[:200]))
    reader = _Reader(data)
    _, version = reader.take("ii")
    if version not in VERSIONS:
        raise ModelFileError(f"format version {version}, expected one of {VERSIONS}")
    reader.take("12id")
    entries, words, labels, _, pruned = reader.take("iiiqq")
    if entries != words + labels or min(words, labels) < 0:
        raise ModelFileError(f"{entries} entries are not {words} words and {labels} labels: the header is damaged")
    for _ in range(entries):
        reader.skip_word()
        reader.skip(9)  # int64 count, int8 word or label
    reader.skip(8 * max(pruned, 0))
    (quantized,) = reader.take("?")
    reader.skip_any_matrix(bool(quantized))
    (output_quantized,) = reader.take("?")
    reader.skip_any_matrix(bool(quantized and output_quantized))
    if reader.at != len(data):
        raise ModelFileError(f"{len(data) - reader.at:,} bytes follow its end: it is damaged or not of this version")
