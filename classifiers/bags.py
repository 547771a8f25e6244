"""Pages as bags of hashed terms, and models that are one weight a place: what hashing-TF and importance weights share."""

import functools
import hashlib
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from classifiers.kinds import Floats
from filters.files import write_whole
from filters.kernels.hashing import lower_case
from filters.kernels.text import Bytes, Codes, Offsets
from filters.pages import PageBatch

Places = npt.NDArray[np.int32]


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


def write_weights(path: Path, weights: Floats, intercept: float) -> str:
    """Write a model and give its SHA-256."""
    data = save({"weights": weights, "intercept": np.array([intercept])})
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def read_weights(path: Path, places: int) -> tuple[Floats, float, str]:
    """The weights of `places` places, the intercept, and the file's SHA-256. Raises ValueError for what is no such model."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: run jobs.train_classifier first")
    data = path.read_bytes()
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or damaged ({error}): train it again") from None
    found = {name: (tensor["dtype"], list(tensor["shape"])) for name, tensor in tensors.items()}
    expected = {"weights": ("F64", [places]), "intercept": ("F64", [1])}
    if found != expected:
        raise ValueError(f"{path} holds {found}, expected {expected}: it is another kind of model")
    weights, intercept = (np.frombuffer(tensors[name]["data"], "<f8") for name in expected)
    if not (np.isfinite(weights).all() and np.isfinite(intercept).all()):
        raise ValueError(f"{path} holds weights that are no finite numbers: train it again")
    return weights, float(intercept[0]), hashlib.sha256(data).hexdigest()


@functools.cache
def loaded(path: Path, sha256: str, places: int) -> tuple[Floats, float]:
    """`read_weights` once per process, of a file that must be the one the driver saw."""
    weights, intercept, found = read_weights(path, places)
    if found != sha256:
        raise ValueError(f"{path} has sha256 {found}, not {sha256}: it was changed while the job ran")
    return weights, intercept
