import ctypes
import importlib
import itertools
import mmap
import os
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import FunctionType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher

from filters import heuristics
from filters.kernels import hashing, lists
from filters.kernels import text as kernels
from filters.kernels.compiled import digest, ones, trailing_zeros
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch
from filters.signals import configure, load_groups
from filters.units.phrases import Phrases

BYTES = st.binary(max_size=40) | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass"))
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from(list(" \n\r\t\0\x1c\x85\xa0\u2028\u3000é字😀"))
HEURISTICS = [module.name for module in pkgutil.iter_modules(heuristics.__path__, "filters.heuristics.")]
REPOSITORY = Path(__file__).resolve().parents[3]


def array(data):
    values = np.frombuffer(data, np.uint8)
    values.flags.writeable = False
    return values


def decoded(data):
    """Characters and sizes: Python's own, and U+FFFD of one byte where a byte begins no character."""
    at, found = 0, []
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                found.append((ord(data[at : at + size].decode()), size))
                break
            except (UnicodeDecodeError, TypeError):
                continue
        else:
            found.append((0xFFFD, 1))
        at += found[-1][1]
    return found


@settings(deadline=None)
@given(BYTES)
def test_decode_reads_what_python_reads_and_steps_over_what_it_refuses(data):
    values, at, found = array(data), 0, []
    while at < len(data):
        found.append(kernels.decode(values, at, len(data)))
        at += found[-1][1]
    assert found == decoded(data)


@settings(deadline=None)
@given(st.text(CHARACTERS, min_size=1, max_size=9), BYTES)
def test_the_last_character_is_found_from_behind(text, before):
    data = before + text.encode("utf-8", "replace")
    code, size = kernels.decode_last(array(data), len(before), len(data))
    assert (code, size) == (
        ord(text.encode("utf-8", "replace").decode()[-1]),
        len(text.encode("utf-8", "replace").decode()[-1].encode()),
    )


@settings(deadline=None)
@given(BYTES, BYTES)
def test_the_last_character_of_any_bytes_lies_inside_them(before, data):
    if data:
        _, size = kernels.decode_last(array(before + data), len(before), len(before + data))
        assert 1 <= size <= len(data)


@settings(deadline=None)
@given(st.text(CHARACTERS, max_size=40), BYTES, BYTES)
def test_strip_and_count_are_those_of_strings_whatever_stands_around(text, before, after):
    span = text.encode()
    values = array(before + span + after)
    start, end = kernels.strip(values, len(before), len(before) + len(span), CLASSES)
    assert values[start:end].tobytes().decode() == text.strip()
    assert kernels.count_characters(values, len(before), len(before) + len(span)) == len(text)


@settings(deadline=None)
@given(BYTES, BYTES, BYTES, BYTES)
def test_the_hash_of_bytes_does_not_depend_on_what_stands_around_them(data, other, before, after):
    values = array(before + data + after)
    hashed = kernels.hash_bytes(values, len(before), len(before) + len(data))
    assert hashed == kernels.hash_bytes(array(data), 0, len(data))
    assert (hashed == kernels.hash_bytes(array(other), 0, len(other))) == (data == other)


def test_short_bytes_of_whatever_length_have_hashes_of_their_own():
    """All of up to two, and with up to six U+0000 behind them, which a word in eight bytes is filled up with."""
    short = [bytes(some) for size in range(3) for some in itertools.product(range(256), repeat=size)]
    filled = {some + b"\0" * more for some in short[::7] + short[:257] for more in range(7)} | {*short}
    assert len({int(kernels.hash_bytes(array(some), 0, len(some))) for some in filled}) == len(filled)


@settings(deadline=None)
@given(BYTES, st.integers(0, 127))
def test_the_next_byte_is_found(data, byte):
    found = data.find(bytes([byte]))
    assert kernels.next_byte(array(data), 0, len(data), byte) == (found if found >= 0 else len(data))


@settings(deadline=None)
@given(BYTES.filter(len), st.integers(0, 127))
def test_eight_bytes_are_compared_side_by_side(data, byte):
    found = int(_equal(array(data), byte)).to_bytes(8, "little")
    assert found == bytes(0x80 * (value == byte) for value in data[:8].ljust(8, b"\0"))


@kernels.kernel
def _equal(data, byte):
    return kernels.equal(kernels.load(data, 0, len(data)), byte)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_copies_are_units_seen_before_in_the_same_page(units, cuts):
    first = np.array([0, *sorted(min(cut, len(units)) for cut in cuts), len(units)], np.int64)
    copies = kernels.find_copies(np.array(units, np.uint64) << np.uint64(40), first)
    pages = [units[first[k] : first[k + 1]] for k in range(len(first) - 1)]
    assert copies.tolist() == [unit in page[:at] for page in pages for at, unit in enumerate(page)]


PHRASES = ["{", "use cookies", "cookies", "aa", "lorem ipsum"]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*PHRASES, *map(str.upper, PHRASES), "a", " ", "\n", "é", "lorem"]), max_size=12).map("".join)
)
def test_phrases_are_substrings_in_any_case(text):
    pages = PageBatch(pa.array([text, "use", text]))
    lines = [line.strip() for page in (text, "use", text) for line in page.split("\n") if line.strip()]
    expected = [sum(1 << k for k, phrase in enumerate(PHRASES) if phrase in line.lower()) for line in lines]
    assert Phrases.of(*PHRASES).in_lines(pages).tolist() == expected


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_bits_are_counted(number):
    assert _bits(np.uint64(number)) == (number.bit_count(), (number & -number).bit_length() - 1 if number else 64)


@kernels.kernel
def _bits(number):
    return ones(number), trailing_zeros(number)


def test_a_kernel_is_compiled_again_when_one_that_it_calls_changes():
    def caller(constant, called):
        names = {"CONSTANT": constant, "called": kernels.kernel(called)}
        return digest(FunctionType(_caller.__code__, names))

    before = caller(1, _one_more)
    assert caller(1, _one_more) == before
    assert caller(2, _one_more) != before
    assert caller(1, _two_more) != before


def test_a_kernel_stands_below_those_it_calls():
    """What it is compiled from is known when it is defined: a kernel that stands below it would be no part of its key."""
    for module in (kernels, lists, *map(importlib.import_module, HEURISTICS)):
        for caller in vars(module).values():
            if isinstance(caller, Dispatcher) and caller.py_func.__module__ == module.__name__:
                called = [vars(module).get(name) for name in caller.py_func.__code__.co_names]
                firsts = [
                    other.py_func.__code__.co_firstlineno
                    for other in called
                    if isinstance(other, Dispatcher) and other.py_func.__module__ == module.__name__
                ]
                assert all(first <= caller.py_func.__code__.co_firstlineno for first in firsts), caller.py_func


def test_a_kernel_is_compiled_again_when_its_module_moves():
    """Compiled code imports its module by name when it is loaded."""
    here, moved = (
        FunctionType(_caller.__code__, {"__name__": name, "CONSTANT": 1}) for name in ("filters.a", "filters.b.a")
    )
    assert digest(here) != digest(moved)


def _caller(number):
    return called(number) + CONSTANT  # noqa: F821


def _one_more(number):
    return number + 1


def _two_more(number):
    return number + 2


USE = """
import sys, time
sys.path[:0] = [sys.argv[1]]
import numpy as np
from filters.kernels import text as kernels
assert sys.argv[1] in kernels.__file__, kernels.__file__
print(kernels.count_characters(np.frombuffer("naïve".encode(), np.uint8), 0, 6))
print(sum(kernels.count_characters.stats.cache_hits.values()))
"""


@pytest.mark.parametrize("home", ["folder", "file"])
def test_kernels_from_a_zip_are_kept_for_the_next_process_even_without_a_home(tmp_path, home):
    archive = tmp_path / "goodhart.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for module in (REPOSITORY / "filters").rglob("*.py"):
            packed.write(module, module.relative_to(REPOSITORY))
    place = tmp_path / home
    if home == "file":
        place.write_text("nothing can be made below this")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")},
        "HOME": str(place),
        "TMPDIR": str(tmp_path),
    }
    for hits in ("0", "1"):
        command = [sys.executable, "-c", USE, str(archive)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["5", hits], done.stderr


def measured(pieces, data):
    """All our own signals of pages whose bytes lie in a buffer, and what else reads eight bytes at a time."""
    offsets = pa.py_buffer(np.cumsum([0, *map(len, pieces)], dtype=np.int64))
    text = pa.Array.from_buffers(pa.large_string(), len(pieces), [None, offsets, data])
    for name in ("c4", "gopher", "fineweb", "pii", "repetition"):
        configure(name, {}, load_groups("filters")).measure(pa.array(map(str, range(len(pieces)))), PageBatch(text))
    pages = PageBatch(text)
    assert pages.sentences and pages.paragraphs and hashing.lower_case(pages.data, pages.offsets)
    assert hashing.ngrams(pages.data, pages.offsets, 99) and hashing.spark_terms(pages.data, pages.offsets, 64)


def guarded():
    """One page of memory between two that nobody may read, and where it begins."""
    area = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(area)) + mmap.PAGESIZE
    for guard in (first - mmap.PAGESIZE, first + mmap.PAGESIZE):
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return area, first


def test_no_kernel_reads_a_byte_before_or_behind_its_buffer():
    """In a fork, as one that does is killed at once. Buffers of up to 20 bytes, one or two pages of text in each."""
    texts = [b"a b, c. d!\nE F\nABCDEFGHI", "é 字😀. A\nb Σ Ã©é".encode(), b"x" * 20, b"  \n\n \xff\xce  \n      . "]
    cases = [[text[:cut], text[cut:length]] for text in texts for length in range(1, 21) for cut in {0, length // 2}]
    measured([b"a b", b"c"], pa.py_buffer(b"a bc"))  # compiled before there is a fork
    child = os.fork()
    if not child:
        status = 1
        try:
            area, first = guarded()
            for case in cases:
                content = b"".join(case)
                for at in (0, mmap.PAGESIZE - len(content)):
                    area[mmap.PAGESIZE + at : mmap.PAGESIZE + at + len(content)] = content
                    measured(case, pa.foreign_buffer(first + at, len(content), area))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
