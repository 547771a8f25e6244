"""A fastText model file written by hand: the shape and the losses that one likes, with weights drawn by lot."""

import struct

import numpy as np

LOSSES = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}


def model_bytes(words, labels=5, loss="softmax", dim=12, bucket=300, ngrams=2, parts=(0, 0), seed=0, version=12, scale=1.0):
    """The bytes of a supervised model with this dictionary; `parts`: minn and maxn; `scale`: of the output's weights."""
    draw = np.random.default_rng(seed)
    counts = sorted(draw.integers(1, 20, labels).tolist(), reverse=True)  # some equal: ties in the Huffman tree
    entries = [(word.encode(), 5, 0) for word in words]
    entries += [(f"__label__{label}".encode(), count, 1) for label, count in enumerate(counts)]
    weights = draw.normal(size=(len(words) + bucket, dim)).astype("<f4")
    output = (scale * draw.normal(size=(labels, dim))).astype("<f4")
    return b"".join(
        [
            struct.pack("<ii", 793712314, version),
            struct.pack("<12id", dim, 5, 5, 1, 5, ngrams, LOSSES[loss], 3, bucket, *parts, 100, 1e-4),
            struct.pack("<iiiqq", len(entries), len(words), labels, 1000, -1),
            *(word + b"\0" + struct.pack("<qb", count, kind) for word, count, kind in entries),
            *(b"\0" + struct.pack("<qq", *matrix.shape) + matrix.tobytes() for matrix in (weights, output)),
        ]
    )
