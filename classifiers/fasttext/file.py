"""Is this file a whole fastText model? Read from its own sizes, because fastText's loader does not ask.

The loader takes whatever it gets: half a model loads and answers .50 to everything, a stub of 200 bytes never returns, a
flipped header byte is a segmentation fault. But the header says how long every section is, so walking over the sections and
arriving exactly at the end of the file proves that none is missing, without loading anything. Layout: fastText 0.9 (version
12 of the format), fasttext.cc, args.cc, dictionary.cc, matrix.cc, productquantizer.cc.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import kernel
from filters.kernels.text import Bytes, Offsets

MAGIC = 793712314
VERSIONS = (11, 12)
CENTROIDS = 256  # per subquantizer, a constant of the format
AFTER_WORD = 10  # bytes of an entry of the dictionary besides its word: a NUL, int64 count, int8 word or label
MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
HS, NS, SOFTMAX, OVA = 1, 2, 3, 4


class ModelFileError(ValueError):
    """A model file that cannot be what it should be; the message says why and what to do."""


@dataclass(frozen=True)
class Arguments:
    """What a model was trained with, in the order of the file, as fastText calls it."""

    dim: int
    ws: int
    epoch: int
    minCount: int
    neg: int
    wordNgrams: int
    loss: int
    model: int
    bucket: int
    minn: int
    maxn: int
    lrUpdateRate: int
    t: float


@dataclass(frozen=True)
class Matrix:
    """A matrix of float32 in the file: where it begins, in bytes, and its shape."""

    at: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Layout:
    """What a whole file holds and where. `data`: its bytes, mapped, not read.

    `starts`, int64 (words + labels + 1): where each entry of the dictionary begins, words first, and where they end. The
    matrices are None in a quantized model.
    """

    path: Path
    data: npt.NDArray[np.uint8]
    version: int
    arguments: Arguments
    words: int
    labels: int
    starts: Offsets
    input: Matrix | None
    output: Matrix | None

    def entry(self, index: int) -> tuple[bytes, int]:
        """A word or label of the dictionary, and how often training saw it."""
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        (count,) = struct.unpack("<q", self.data[end - AFTER_WORD + 1 : end - 1].tobytes())
        return self.data[start : end - AFTER_WORD].tobytes(), count


@kernel
def find_entries(data: Bytes, at: int, starts: Offsets) -> bool:
    """Write where each entry of a dictionary begins that lies at `at`; False where the file ends within it."""
    for entry in range(len(starts)):
        starts[entry] = at
        if entry == len(starts) - 1:
            break
        while at < len(data) and data[at] != 0:
            at += 1
        at += AFTER_WORD
        if at > len(data):
            return False
    return True


class _Reader:
    """A position in the file; every step is checked against the file's end."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> tuple[int, ...]:
        start = self.at
        self.skip(struct.calcsize("<" + form))
        return struct.unpack("<" + form, self.data[start : self.at].tobytes())

    def skip(self, size: int) -> None:
        if size < 0:
            raise ModelFileError("a section of negative size: the header is damaged")
        self.at += size
        if self.at > len(self.data):
            raise ModelFileError(f"truncated: it has {len(self.data):,} bytes and its header asks for at least {self.at:,}")

    def take_entries(self, count: int) -> Offsets:
        start = self.at
        self.skip(AFTER_WORD * count)  # at the least; before memory is asked for
        starts = np.empty(count + 1, np.int64)
        if not find_entries(self.data, start, starts):
            raise ModelFileError(f"truncated: its {len(self.data):,} bytes end within the dictionary")
        self.at = int(starts[-1])
        return starts

    def take_any_matrix(self, quantized: bool, dim: int) -> Matrix | None:
        if quantized:
            self.skip_quantized_matrix(dim)
            return None
        return self.take_matrix(dim)

    def take_matrix(self, dim: int) -> Matrix:
        rows, columns = self.take("qq")
        self.refuse_shape(rows, columns, dim)
        matrix = Matrix(self.at, rows, columns)
        self.skip(4 * rows * columns)
        return matrix

    def refuse_shape(self, rows: int, columns: int, dim: int) -> None:
        """The library takes memory for `dim` numbers, whatever the file has."""
        if rows < 0 or columns < 0:
            raise ModelFileError("a matrix of negative size: the header is damaged")
        if columns != dim:
            raise ModelFileError(f"a matrix has {columns:,} columns and its header says {dim:,}: the header is damaged")

    def skip_quantizer(self) -> None:
        dimension, _, _, _ = self.take("iiii")
        self.skip(4 * dimension * CENTROIDS)

    def skip_quantized_matrix(self, dim: int) -> None:
        with_norms, rows, columns, codes = self.take("?qqi")
        self.refuse_shape(rows, columns, dim)
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


def check_file(path: Path) -> Layout:
    """What the file holds. Raises ModelFileError unless it has fastText's mark and ends exactly where its own sizes say."""
    try:
        return _check(path, np.memmap(path, np.uint8, "r").view(np.ndarray))
    except FileNotFoundError:
        raise ModelFileError(f"no model file {path}: check the path, or train it with jobs.train_classifier") from None
    except IsADirectoryError:
        raise ModelFileError(f"model file {path} is a folder: name the .bin or .ftz file in it") from None
    except ModelFileError as error:
        raise ModelFileError(f"model file {path} is no usable fastText model: {error}") from None
    except ValueError:  # a map of nothing
        raise ModelFileError(f"model file {path} is empty") from None


def _check(path: Path, data: npt.NDArray[np.uint8]) -> Layout:
    if len(data) < 8 or struct.unpack("<i", data[:4].tobytes())[0] != MAGIC:
        raise ModelFileError(_what_it_is_instead(data[:200].tobytes()))
    reader = _Reader(data)
    _, version = reader.take("ii")
    if version not in VERSIONS:
        raise ModelFileError(f"format version {version}, expected one of {VERSIONS}")
    arguments = Arguments(*reader.take("12id"))
    if MODELS.get(arguments.model) != "supervised":
        raise ModelFileError(f"it holds word vectors ({MODELS.get(arguments.model, arguments.model)}), not a classifier")
    entries, words, labels, _, pruned = reader.take("iiiqq")
    if entries != words + labels or min(words, labels) < 0:
        raise ModelFileError(f"{entries} entries are not {words} words and {labels} labels: the header is damaged")
    starts = reader.take_entries(entries)
    reader.skip(8 * max(pruned, 0))
    (quantized,) = reader.take("?")
    weights = reader.take_any_matrix(bool(quantized), arguments.dim)
    (output_quantized,) = reader.take("?")
    output = reader.take_any_matrix(bool(quantized and output_quantized), arguments.dim)
    if reader.at != len(data):
        raise ModelFileError(f"{len(data) - reader.at:,} bytes follow its end: it is damaged or not of this version")
    return Layout(path, data, version, arguments, words, labels, starts, weights, output)
