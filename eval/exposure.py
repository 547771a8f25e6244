"""How often a run read each entry of the vocabulary, and what each entry costs its model on held-out pages.

Both are sums for each entry, so they add up over pages and runs, and any grouping can be formed afterwards. Entries are put
together by how often they were read, in bins that double: 0, 1, 2 to 3, 4 to 7 and so on.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eval.packed import BLOCK_TOKENS, Packed, stream_tokens

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SCHEMA = pa.schema([("seen", pa.int64()), ("held_out", pa.int64()), ("nats", pa.float64())])
"""One row an entry of the vocabulary, in the order of ids: how often the run read it, how often it stands in the held-out
pages that models are judged by, and what these places cost the model together.
"""
FEW = 8
"""Entries that a run read fewer times are its least seen: the four lowest bins."""
COMPRESSED_TOKENS = 1 << 20
"""So many tokens of a stream, its first, are compressed: as many for every run of a budget."""


def read_of(packed: Packed, batch: int, tokens: int) -> npt.NDArray[np.integer]:
    """The tokens that a run with this budget reads, as inputs or as targets: the beginning of its stream."""
    return packed.tokens[: stream_tokens(tokens, batch, packed.header.context)]


def seen(read: npt.NDArray[np.integer], vocabulary: int) -> Integers:
    """How often each entry was read; int64 [vocabulary]. Counted in blocks: a stream may be larger than memory."""
    counts = np.zeros(vocabulary, np.int64)
    for start in range(0, len(read), BLOCK_TOKENS):
        counts += np.bincount(read[start : start + BLOCK_TOKENS], minlength=vocabulary)
    return counts


def on_held_out(tokens: npt.NDArray[np.integer], nats: Floats, vocabulary: int) -> tuple[Integers, Floats]:
    """How often each entry stands in some tokens, and the sum of what it costs there; shape (vocabulary,) each."""
    return seen(tokens, vocabulary), np.asarray(np.bincount(tokens, nats, vocabulary), np.float64)


def variety(read: npt.NDArray[np.integer], counts: Integers, of_entry: list[bytes]) -> dict[str, Any]:
    """What tells monotonous text from varied text of as many tokens.

    `tokens` read, the end-of-text marks among them; `types`, different entries; `bytes` of text, exactly; `compression`:
    bytes of the first million tokens over what zstd (level 3) makes of them.
    """
    text = b"".join([of_entry[token] for token in read[:COMPRESSED_TOKENS].tolist()])
    packed = pa.Codec("zstd", compression_level=3).compress(text)
    length = np.array([len(one) for one in of_entry], np.int64)
    return {
        "tokens": len(read),
        "types": int((counts > 0).sum()),
        "bytes": int(counts @ length),
        "compression": len(text) / len(packed),
    }


def bins(counts: Integers) -> Integers:
    """The bin of each entry: 0 for one that was never read, else b for 2^(b-1) to 2^b - 1 times."""
    return np.frexp(counts)[1].astype(np.int64)


def bin_name(number: int) -> str:
    """A bin as its counts: `0`, `1`, `2-3`, `4-7`."""
    return str(number) if number < 2 else f"{2 ** (number - 1)}-{2**number - 1}"
