"""Plain text: a page a file or a paragraph a page, and nothing short of what was there."""

import bz2
import gzip
import lzma
import random
import re

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.shards.extraction import ReadLimits
from jobs.shards.reader import read_shard
from jobs.shards.reasons import Page, ReadOptions, ShardReport

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = "The first.\nIts second line.\n\n  \r\nThe sécond.\r\n\r\n\n\nThe third"


def read(tmp_path, data, name="book.txt", **options):
    (tmp_path / name).write_bytes(data)
    report = ShardReport()
    found = list(read_shard(str(tmp_path / name), ReadOptions(**options), report))
    assert report.balanced()
    return [row for row in found if isinstance(row, Page)], [row for row in found if not isinstance(row, Page)], report


@pytest.mark.parametrize("ending", PACK)
def test_a_file_is_a_page(tmp_path, ending):
    name = f"book.txt{ending}"
    pages, rejected, report = read(tmp_path, PACK[ending](TEXT.encode()), name)
    assert [page.text for page in pages] == [TEXT] and not rejected and not report.damages
    assert (pages[0].id, pages[0].url, pages[0].shard) == (f"{name}#0", None, name)


@pytest.mark.parametrize("ending", PACK)
def test_a_paragraph_is_a_page_by_option(tmp_path, ending):
    pages, _, _ = read(tmp_path, PACK[ending](TEXT.encode()), f"book.txt{ending}", paragraphs=True)
    assert [page.text for page in pages] == ["The first.\nIts second line.\n", "The sécond.\r\n", "The third"]
    assert [TEXT.encode()[page.shard_offset :].decode().startswith(page.text) for page in pages] == [True] * 3


@given(st.text(alphabet="ab \n", max_size=60))
@settings(max_examples=100, deadline=None)
def test_paragraphs_are_what_blank_lines_part(tmp_path_factory, text):
    pages, _, _ = read(tmp_path_factory.mktemp("any"), b"x\n" + text.encode(), paragraphs=True)
    parted = [part for part in re.split(r"(?m)^[ \t]*(?:\n|\Z)", "x\n" + text) if part.strip()]
    assert [page.text for page in pages] == parted


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("paragraphs", [True, False])
def test_a_cut_file_gives_no_short_page(tmp_path, ending, paragraphs):
    draw = random.Random(0)
    whole = [f"paragraph {n} {draw.randbytes(40).hex()}" for n in range(20_000)]
    packed = PACK[ending]("\n\n".join(whole).encode())
    pages, rejected, report = read(tmp_path, packed[: len(packed) // 2], f"a.txt{ending}", paragraphs=paragraphs)
    assert [page.text.strip() for page in pages] == (whole[: len(pages)] if paragraphs else [])
    assert [row.reason for row in rejected] == ["truncated"] and report.damages[0].reason == "truncated"


def test_a_text_over_the_limit_is_passed_over_and_the_next_is_read(tmp_path):
    data = b"one\n\n" + b"x" * 500_000 + b"\n\ntwo"
    pages, rejected, _ = read(tmp_path, data, paragraphs=True, limits=ReadLimits(bytes=1000))
    assert [page.text.strip() for page in pages] == ["one", "two"]
    assert [(row.reason, row.shard_offset) for row in rejected] == [("too_large", 5)]
    pages, rejected, _ = read(tmp_path, b"many words", limits=ReadLimits(characters=5))
    assert not pages and rejected[0].reason == "too_large"


def test_text_that_is_none_is_counted(tmp_path):
    pages, rejected, report = read(tmp_path, b" \n\n \n")
    assert not pages and [row.reason for row in rejected] == ["empty_body"]
    assert [damage.reason for damage in report.damages] == ["few_pages"]
    assert [damage.reason for damage in read(tmp_path, b"")[2].damages] == ["empty"]


def test_a_stream_that_is_cut_before_its_first_byte_is_told_once(tmp_path):
    for ending in (".bz2", ".xz"):
        pages, rejected, report = read(tmp_path, PACK[ending](b"words")[:20], f"a.txt{ending}")
        assert not pages and not rejected and [damage.reason for damage in report.damages] == ["truncated"]
