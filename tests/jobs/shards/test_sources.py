"""What an experiment names as text: patterns, and foreign columns."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.parts.refusals import ExperimentError
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards, texts_of


@pytest.fixture
def files(tmp_path):
    """One parquet file with columns of its own, and one of JSON lines."""
    pq.write_table(pa.table({"key": ["a", "b"], "content": ["first text", "second text"]}), tmp_path / "foreign.parquet")
    (tmp_path / "own.jsonl").write_text(json.dumps({"id": "c", "text": "third text"}) + "\n")
    return tmp_path


def test_foreign_columns_are_named_in_a_mapping(files):
    asked = [{"parquet": str(files / "*.parquet"), "text": "content", "id": "key"}, str(files / "own.jsonl")]
    assert list(texts_of(asked, "pages.from")) == [("a", "first text"), ("b", "second text"), ("c", "third text")]


def test_the_columns_belong_to_what_identifies_a_shard(files):
    one, two = (
        shards([{"parquet": str(files / "*.parquet"), "text": "content", **more}], ReadOptions(), "pages.from")[0].identity
        for more in ({}, {"id": "key"})
    )
    assert one != two


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([{"parqet": "x"}], r"unknown key 'pages.from.parqet': did you mean 'parquet'"),
        ([{"text": "content"}], "a mapping names one pattern"),
        ([{"parquet": 5}], r"pages.from.parquet must be text"),
        ([5], "takes patterns or mappings"),
        (["nowhere/*.warc.gz"], r"pages.from: .*nowhere"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(asked, says):
    with pytest.raises(ExperimentError, match=says):
        shards(asked, ReadOptions(), "pages.from")


def test_a_file_named_twice_is_refused(files):
    own = str(files / "own.jsonl")
    with pytest.raises(ExperimentError, match=r"own\.jsonl is named twice"):
        shards([own, {"jsonl": own, "text": "other"}], ReadOptions(), "pages.from")
