"""What is left to chance: one 64-bit draw per page for every purpose, computed from the page's id and nothing else.

An id is hashed once, when its page is read. A draw mixes that hash with a seed and a purpose, so the same page gets the same
draw on any machine, in any order and partition, under any retry, and no id is looked at again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

# The constants of the finalizer that Stafford found best and Steele, Lea and Flood use (SplitMix64, OOPSLA 2014).
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def id_hashes(ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> Hashes:
    """XXH3, 64 bit, of the UTF-8 bytes of each id; shape (ids,). No id may be null."""
    import xxhash  # here, as a machine for training has none and reads streams all the same

    strings: Any = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
    return np.fromiter((xxhash.xxh3_64_intdigest(one.encode()) for one in strings), np.uint64, len(strings))


def draw(hashes: Hashes, seed: int, purpose: str) -> Hashes:
    """A number in [0, 2^64) per id hash; shape of `hashes`.

    The key is XXH3 of `seed:purpose`; draw = mix(mix(hash ^ key) + key), modulo 2^64. For one key this is a bijection:
    different hashes have different draws. Draws of two seeds or purposes are independent for all that can be measured.
    """
    import xxhash

    key = np.uint64(xxhash.xxh3_64_intdigest(f"{seed}:{purpose}".encode()))
    return mix(mix(hashes ^ key) + key)


def mix(state: Hashes) -> Hashes:
    """SplitMix64's output function, a bijection: each bit that goes in flips each that comes out in half of all cases."""
    state = (state ^ state >> np.uint64(30)) * MIX_1
    state = (state ^ state >> np.uint64(27)) * MIX_2
    return state ^ state >> np.uint64(31)


def uniform(draws: Hashes) -> npt.NDArray[np.float64]:
    """The draws as numbers in [0, 1), from their leading 53 bits; shape of `draws`."""
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
