"""Files: what a full disk is known by, whoever meets it."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from filters.files import is_full, no_space

FULL = Path("/dev/full")
WORDS = os.strerror(errno.ENOSPC)


def written(how):
    """The error of a write to a disk that is full."""
    with pytest.raises(OSError) as caught:
        how()
    return caught.value


@pytest.mark.parametrize(
    "how", [lambda: FULL.write_bytes(b"x"), lambda: pa.OSFile(str(FULL), "wb").write(b"x")], ids=["Python", "Arrow"]
)
def test_a_write_that_finds_no_space_is_known(how):
    assert is_full(written(how))


@pytest.mark.parametrize(
    "said",
    [
        f"Error while serializing: I/O error: {WORDS} (os error 28)",  # safetensors
        f"read: 1 of 3 parts failed, the others are done:\n  a: OSError: [Errno 28] {WORDS} (table.py:12)",
        f"Job aborted due to stage failure: java.io.IOException: {WORDS}\n\tat java.base/java.io.FileOutputStream",
        f"lmplz failed: {WORDS} in /tmp/arpa while writing 8190 bytes",
        os.strerror(errno.EDQUOT),
    ],
)
def test_one_that_is_told_in_words_is_known(said):
    assert is_full(RuntimeError(said))


def test_one_that_led_to_another_error_is_known():
    try:
        try:
            raise no_space(Path("model.bin"))
        except OSError as error:
            raise ValueError("the model cannot be trained") from error
    except ValueError as error:
        assert is_full(error)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, os.strerror(errno.EIO)), ValueError("no space in this name"), EOFError()]
)
def test_no_other_error_is_taken_for_it(error):
    assert not is_full(error)
