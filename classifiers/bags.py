"""Pages as bags of hashed terms, and models that are one weight a place: what hashing-TF and importance weights share."""

import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from classifiers.kinds import Floats
from filters.files import write_whole
from filters.kernels.hashing import lower_case
from filters.kernels.text import Bytes, Codes, Offsets
from filters.pages import PageBatch

Places = npt.NDArray[np.int32]

VECTOR = pa.struct(
    [("type", pa.int8()), ("size", pa.int32()), ("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float64()))]
)
"""A vector as Spark ML lays it down in a file; type 0 is sparse, 1 dense."""


def lower_case_of(pages: PageBatch) -> tuple[Bytes, Offsets]:
    """The bytes of the pages in lower case, and where each begins: what every bag is made of."""
    return lower_case(pages.data, pages.offsets)


def bags(buckets: Codes, first: Offsets, places: int) -> list[bytes]:
    """Each page's terms counted: its places in rising order, then how often each is there, int32; shape (2, distinct terms).

    buckets: the place of every term, below `places`; first: the first term of each page, and the number of all.
    """
    pages = np.repeat(np.arange(len(first) - 1), np.diff(first))
    keys, counts = np.unique(pages * places + buckets, return_counts=True)
    starts = np.searchsorted(keys, np.arange(len(first)) * places)
    both = np.stack([keys % places, counts]).astype("<i4")
    return [both[:, begin:end].tobytes() for begin, end in itertools.pairwise(starts)]


def opened(bag: bytes) -> tuple[Places, Places]:
    """The places of a bag and how often each is there."""
    places, counts = np.frombuffer(bag, "<i4").reshape(2, -1)
    return places, counts


def sums(weights: Floats, buckets: Codes, first: Offsets) -> Floats:
    """The weights of each page's terms added up, NaN for a page without any; shape (pages,)."""
    found = np.full(len(first) - 1, np.nan)
    some = np.diff(first) > 0
    if some.any():
        found[some] = np.add.reduceat(weights[buckets], first[:-1][some])
    return found


def sparse(size: int, places: Places, values: npt.NDArray[Any]) -> dict[str, Any]:
    """A value of VECTOR: these values in these places of `size`, in rising order, and 0 in all others."""
    return {"type": 0, "size": size, "indices": places.astype(np.int32), "values": values.astype(np.float64)}


def write_tensors(path: Path, tensors: Mapping[str, Floats]) -> str:
    """Write a model and give its SHA-256."""
    data = save(dict(tensors))
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(path: Path, expected: Mapping[str, Sequence[int | None]]) -> tuple[dict[str, Floats], str]:
    """The tensors of these names and shapes, float64, and the file's SHA-256; None stands for any size but none.

    Raises ValueError for what is no such model.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: run jobs.train_classifier first")
    data = path.read_bytes()
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or damaged ({error}): train it again") from None
    found = {name: (tensor["dtype"], list(tensor["shape"])) for name, tensor in tensors.items()}
    wanted = {name: ("F64", list(shape)) for name, shape in expected.items()}
    if found.keys() != wanted.keys() or not all(_fits(found[name], wanted[name]) for name in wanted):
        raise ValueError(f"{path} holds {found}, expected {wanted}: it is another kind of model")
    values = {name: np.frombuffer(tensors[name]["data"], "<f8").reshape(found[name][1]) for name in expected}
    if not all(np.isfinite(one).all() for one in values.values()):
        raise ValueError(f"{path} holds weights that are no finite numbers: train it again")
    return values, hashlib.sha256(data).hexdigest()


def _fits(found: tuple[str, list[int]], wanted: tuple[str, list[int | None]]) -> bool:
    same_type, sizes = found[0] == wanted[0], (found[1], wanted[1])
    return (
        same_type
        and len(sizes[0]) == len(sizes[1])
        and all(a == b or (b is None and a) for a, b in zip(*sizes, strict=True))
    )


def write_weights(path: Path, weights: Floats, intercept: float) -> str:
    """Write a model of one weight a place and give its SHA-256."""
    return write_tensors(path, {"weights": weights, "intercept": np.array([intercept])})


def read_weights(path: Path, places: int) -> tuple[Floats, float, str]:
    """The weights of `places` places, the intercept, and the file's SHA-256. Raises ValueError for what is no such model."""
    found, sha256 = read_tensors(path, {"weights": [places], "intercept": [1]})
    return found["weights"], float(found["intercept"][0]), sha256


@functools.cache
def loaded(path: Path, sha256: str, places: int) -> tuple[Floats, float]:
    """`read_weights` once per process, of a file that must be the one the driver saw."""
    weights, intercept, found = read_weights(path, places)
    if found != sha256:
        raise ValueError(f"{path} has sha256 {found}, not {sha256}: it was changed while the job ran")
    return weights, intercept
