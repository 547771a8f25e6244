"""What an experiment names as text: patterns, foreign columns, lists of paths; slips are found before any work."""

import bz2
import gzip
import json
import lzma
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.parts.refusals import ExperimentError
from jobs.shards import sources
from jobs.shards.reader import read_shard
from jobs.shards.reasons import Page, ReadOptions, ShardReport
from jobs.shards.sources import check_patterns, refuse_split_without_domains, shards, texts_of


def jsonl(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pages_of(files, what):
    """(id, text) of the pages of some files."""
    return [(page.id, page.text) for page in texts_of(files, what)]


@pytest.fixture
def files(tmp_path):
    """One parquet file with columns of its own, and one of JSON lines."""
    pq.write_table(pa.table({"key": ["a", "b"], "content": ["first text", "second text"]}), tmp_path / "foreign.parquet")
    (tmp_path / "own.jsonl").write_text(json.dumps({"id": "c", "text": "third text"}) + "\n")
    return tmp_path


def test_foreign_columns_are_named_in_a_mapping(files):
    asked = [{"parquet": str(files / "*.parquet"), "text": "content", "id": "key"}, str(files / "own.jsonl")]
    assert pages_of(asked, "pages.from") == [("a", "first text"), ("b", "second text"), ("c", "third text")]


@pytest.mark.parametrize("more", [{"id": "key"}, {"id": "none"}, {"id": {"column": "key", "per": "shard"}}])
def test_how_a_shard_is_read_belongs_to_what_identifies_it(files, more):
    asked = {"parquet": str(files / "*.parquet"), "text": "content"}
    one, two = (shards([which], ReadOptions(), "pages.from")[0].identity("x") for which in (asked, asked | more))
    assert one != two


REFUSED = [
    ([{"parqet": "x"}], r"unknown key 'pages.from.parqet': did you mean 'parquet'"),
    ([{"text": "content"}], "a mapping names one pattern"),
    ([{"parquet": "x", "jsonl": "y"}], "a mapping names one pattern"),
    ([{"parquet": 5}], r"pages.from.parquet must be text"),
    ([{"jsonl": "x", "url": ""}], r"pages.from.url must be text, got ''"),
    ([5], "takes patterns or mappings"),
    ([{"warc": "x", "text": "content"}], r"pages.from.text is nothing that warc: takes, which is records"),
    ([{"jsonl": "x", "first": 3}], r"pages.from.first is nothing that jsonl: takes"),
    ([{"jsonl": "x", "id": 5}], r"pages.from.id must be a column, none, or {column: COLUMN, per: shard}, got 5"),
    ([{"jsonl": "x", "id": {"column": "id"}}], r"pages.from.id must be a column, none, or"),
    ([{"jsonl": "x", "id": {"column": "id", "per": "file"}}], r"pages.from.id must be a column, none, or"),
    ([{"jsonl": "x", "id": {"column": 1, "per": "shard"}}], r"pages.from.id.column must be text, got 1"),
    ([{"warc": "x", "records": ["resource"]}], r"pages.from.records must be \[response\] or \[response, resource\]"),
    ([{"txt": "x", "page": "line"}], r"pages.from.page must be file or paragraph, got 'line'"),
    ([{"paths": "x", "first": 0}], r"pages.from.first must be a whole number above 0, got 0"),
    ([{"paths": "x", "hashed": True}], r"pages.from.hashed must be a whole number above 0, got True"),
    ([{"paths": "x", "hashed": 3, "first": 3}], r"a list of paths takes first: or hashed:, not both"),
]


@pytest.mark.parametrize(("asked", "says"), REFUSED)
def test_a_mapping_that_cannot_be_meant_is_refused_without_a_look_at_files(asked, says):
    with pytest.raises(ExperimentError, match=says) as refused:
        check_patterns(asked, "pages.from")
    assert "\n" not in str(refused.value)
    with pytest.raises(ExperimentError, match=says):
        shards(asked, ReadOptions(), "pages.from")


def test_every_form_of_a_source_passes_without_a_look_at_files():
    columns = {"text": "a.b", "url": "c", "id": {"column": "d", "per": "shard"}}
    check_patterns(
        [
            "nowhere/*.warc.gz",
            {"parquet": "nowhere", **columns},
            {"jsonl": "nowhere", "id": "none"},
            {"jsonl": "nowhere", "id": None},
            {"warc": "nowhere", "records": ["response", "resource"]},
            {"txt": "nowhere", "page": "paragraph"},
            {"paths": "nowhere", "prefix": "https://nowhere.example", "hashed": 3, **columns},
        ],
        "pages.from",
    )


@pytest.mark.parametrize("name", ["x.wacz", "x.jsonl.lz4", "x.zip", "x.arc.gz", "x.arc"])
def test_a_kind_that_is_not_read_is_refused_before_any_work(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as packed:
        packed.writestr("a", "b")
    with pytest.raises(ExperimentError, match=r"^pages.from: .*(of no kind that is read|is an ARC file)"):
        shards([str(tmp_path / name)], ReadOptions(), "pages.from")


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(ExperimentError, match=r"pages.from: .*nowhere"):
        shards(["nowhere/*.warc.gz"], ReadOptions(), "pages.from")
    with pytest.raises(ExperimentError, match=r"pages.from: no shards are named"):
        shards([], ReadOptions(), "pages.from")


def test_the_mapping_says_what_a_file_is_whatever_it_is_called(tmp_path):
    path = jsonl(tmp_path / "export.dat", {"id": "a", "text": "words"})
    assert pages_of([{"jsonl": path}], "positives") == [("a", "words")]
    assert [text for _, text in pages_of([{"txt": path}], "positives")] == [(tmp_path / "export.dat").read_text()]


def test_a_file_named_twice_is_refused(files):
    own = str(files / "own.jsonl")
    with pytest.raises(ExperimentError, match=r"own\.jsonl is named twice"):
        shards([own, {"jsonl": f"{files}/../{files.name}/own.jsonl", "text": "other"}], ReadOptions(), "pages.from")


@pytest.mark.parametrize("packed", [False, True])
def test_a_named_column_that_is_absent_is_refused_with_those_there_are(tmp_path, packed):
    rows = [{"id": "a", "link": "http://a.org", "text": "words"}] * 3
    jsonl(tmp_path / "u.jsonl", *rows)
    name = "u.jsonl"
    if packed:
        name = "u.jsonl.gz"
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / "u.jsonl").read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "u.parquet")
    for kind, file in (("jsonl", name), ("parquet", "u.parquet")):
        asked = [{kind: str(tmp_path / file), "url": "lnk", "id": "uid"}]
        with pytest.raises(
            ExperimentError, match=rf"^pages.from: {file} has no column 'uid' or 'lnk', it has: id, link, text"
        ):
            shards(asked, ReadOptions(), "pages.from")
        assert shards([{kind: str(tmp_path / file), "url": "link"}], ReadOptions(), "pages.from")


@pytest.mark.parametrize("name", ["a.jsonl.bz2", "a.jsonl.xz", "a.jsonl.gz", "a.parquet"])
def test_a_damaged_table_is_left_to_the_reader_who_tells_of_it(tmp_path, name):
    pack = {"bz2": bz2.compress, "xz": lzma.compress, "gz": gzip.compress, "parquet": bytes}[name.rpartition(".")[2]]
    (tmp_path / name).write_bytes(pack(b'{"text": "words", "link": "u"}\n' * 100)[:30])
    kind = "parquet" if name == "a.parquet" else "jsonl"
    (shard,) = shards([{kind: str(tmp_path / name), "url": "link"}], ReadOptions(), "pages.from")
    report = ShardReport()
    found = list(read_shard(shard.location, shard.options, report))
    assert report.damages and not any(isinstance(row, Page) for row in found)


def test_a_named_column_that_comes_late_is_found(tmp_path):
    rows = [{"text": "a"}] * 500 + [{"text": "b", "link": "http://b.org"}]
    assert shards([{"jsonl": jsonl(tmp_path / "u.jsonl", *rows), "url": "link"}], ReadOptions(), "pages.from")


def test_a_parquet_file_that_lacks_the_text_is_refused_before_the_others_are_read(tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"content": ["a"]}), tmp_path / "b.parquet")
    with pytest.raises(ExperimentError, match=r"b.parquet has no column 'text', it has: content"):
        shards([f"{tmp_path}/*.parquet"], ReadOptions(), "pages.from")


@pytest.mark.parametrize("first", [0, "1"])
def test_ids_that_restart_in_every_file_are_refused_with_the_way_out(tmp_path, first):
    paths = [jsonl(tmp_path / f"{n}.jsonl", {"id": first, "text": f"a{n}"}, {"id": 5, "text": f"b{n}"}) for n in range(2)]
    with pytest.raises(ExperimentError, match=r"restart in every file: .*id: \{column: id, per: shard\}\}, or id: none"):
        shards(paths, ReadOptions(), "pages.from")
    per_shard = [{"jsonl": f"{tmp_path}/*.jsonl", "id": {"column": "id", "per": "shard"}}]
    assert len({page for page, _ in pages_of(per_shard, "pages.from")}) == 4
    assert len({page for page, _ in pages_of([{"jsonl": f"{tmp_path}/*.jsonl", "id": "none"}], "pages.from")}) == 4


def test_other_ids_may_begin_as_they_like(tmp_path):
    jsonl(tmp_path / "a.jsonl", {"id": 0, "text": "a"})
    jsonl(tmp_path / "b.jsonl", {"id": 1, "text": "b"})
    jsonl(tmp_path / "c.jsonl", {"text": "c"})
    jsonl(tmp_path / "d.jsonl", {"text": "d"})
    assert len(shards([f"{tmp_path}/*.jsonl"], ReadOptions(), "pages.from")) == 4


def test_files_of_one_name_are_told_apart_in_parts_and_ids(tmp_path):
    for year in (2024, 2025):
        jsonl(tmp_path / str(year) / "text" / "a.jsonl", {"text": f"of {year}"})
    found = shards([f"{tmp_path}/*/text/a.jsonl"], ReadOptions(), "pages.from")
    assert [shard.name for shard in found] == ["2024-a.jsonl", "2025-a.jsonl"]
    assert pages_of([f"{tmp_path}/**/a.jsonl"], "positives") == [
        ("2024-a.jsonl#0", "of 2024"),
        ("2025-a.jsonl#0", "of 2025"),
    ]


def test_a_path_list_takes_the_options_of_its_files(tmp_path):
    for n in range(4):
        jsonl(tmp_path / "data" / f"{n}.jsonl", {"content": f"text {n}"})
    (tmp_path / "all.paths").write_text("".join(f"data/{n}.jsonl\n" for n in range(4)))
    asked = [{"paths": str(tmp_path / "all.paths"), "prefix": str(tmp_path), "first": 2, "text": "content", "id": "none"}]
    assert pages_of(asked, "positives") == [("0.jsonl#0", "text 0"), ("1.jsonl#0", "text 1")]


def test_a_large_parquet_file_gives_several_parts_that_hold_its_rows(tmp_path, monkeypatch):
    rows = [{"id": f"i{n}", "text": f"text {n} " * 50} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "large.parquet", row_group_size=10, compression="none")
    asked = [str(tmp_path / "large.parquet")]
    whole = pages_of(asked, "positives")
    monkeypatch.setattr(sources, "LARGE_PARQUET", (tmp_path / "large.parquet").stat().st_size // 4)
    found = shards(asked, ReadOptions(), "pages.from")
    assert [shard.options.row_groups for shard in found] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert len({shard.name for shard in found}) == 5 and {shard.file for shard in found} == {"large.parquet"}
    assert pages_of(asked, "positives") == whole
    places = [
        row.shard_offset
        for shard in found
        for row in read_shard(shard.location, shard.options, ShardReport(), shard.file)
        if isinstance(row, Page)
    ]
    assert places == list(range(100))


def test_slices_of_a_file_in_a_store_read_their_rows_there(monkeypatch, tmp_path):
    import fsspec

    table = pa.table({"text": [f"text {n}" for n in range(40)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    fsspec.filesystem("memory").pipe("/slices/a.parquet", (tmp_path / "a.parquet").read_bytes())
    monkeypatch.setattr(sources, "LARGE_PARQUET", 100)
    assert [text for _, text in pages_of(["memory://slices/*.parquet"], "positives")] == [f"text {n}" for n in range(40)]
    assert len(shards(["memory://slices/*.parquet"], ReadOptions(), "pages.from")) > 1


def test_positives_that_give_no_page_are_refused(tmp_path):
    path = jsonl(tmp_path / "good.jsonl", *({"content": "words"} for _ in range(3)))
    with pytest.raises(ExperimentError, match=r"^positives: .*good.jsonl: 0 of 3 records became pages: 3 missing_text"):
        pages_of([path], "positives")


def test_holding_out_domains_where_no_page_has_one_is_refused():
    with pytest.raises(ExperimentError, match="none of the 1,000 pages has one: name the column of the URL"):
        refuse_split_without_domains("domain", 1000, 1000)
    refuse_split_without_domains("domain", 1000, 999)
    refuse_split_without_domains("page", 1000, 1000)
    refuse_split_without_domains("domain", 0, 0)
