"""Every reading gives a value or null on pages that nobody wrote, and the same whatever stands beside them in the batch."""

import numpy as np
import pyarrow as pa
import pytest

from filters.pages import PageBatch
from filters.signals import configure, load_groups

GROUPS = [
    *(f"{kind}_{reading}" for kind in ("gopher", "repetition") for reading in ("dolma", "redpajama", "dclm", "nemo")),
    "c4_dolma",
    "c4_tfds",
    "refinedweb",
]
ODD = [
    "",
    " ",
    "\n\n\n",
    "\0",
    "a",
    "\r\n\r\n",
    "\u0301" * 50,
    "日本語のテキスト。" * 20,
    "\u202eright to left\u202c\u200f",
    "word " * 20_000,
    "x" * 300_000,
    "one line\n" * 5_000,
    "[" * 1_000 + "]",
    "#…" * 500,
    "👩\u200d👩\u200d👧 🇫🇷🇩🇪 " * 50,
]


def columns(group, texts):
    batch = configure(group, {}, load_groups("filters")).measure(pa.nulls(len(texts), pa.string()), PageBatch(texts))
    return {name: values.to_pylist() for name, values in zip(batch.schema.names, batch.columns, strict=True)}


@pytest.mark.parametrize("group", GROUPS)
def test_a_page_has_its_values_whatever_batch_it_comes_in(group):
    together = columns(group, pa.array([*ODD, None]))
    for at in range(len(ODD)):
        apart = columns(group, pa.array([None, ODD[at], "other words"])[1:2])
        assert {name: values[at] for name, values in together.items()} == {name: values[0] for name, values in apart.items()}
    assert {values[-1] for values in together.values()} == {None}
    assert not any(value != value for values in together.values() for value in values)  # NaN is not itself


@pytest.mark.parametrize("group", GROUPS)
def test_a_batch_without_pages_has_columns_without_values(group):
    assert set(map(len, columns(group, pa.array([], pa.large_string())).values())) == {0}


@pytest.mark.parametrize("group", GROUPS)
def test_bytes_that_are_not_text_get_values(group):
    broken = np.random.default_rng(0).integers(0, 256, 4_000).astype(np.uint8)
    offsets = np.arange(0, 4_001, 40)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(broken)]
    found = columns(group, pa.Array.from_buffers(pa.large_string(), 100, buffers))
    assert set(map(len, found.values())) == {100}
