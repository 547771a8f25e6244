"""Pages that an index selects are those of their shards, fetched record by record, and what does not come is counted."""

import gzip
import http.server
import io
import itertools
import re
import threading
from collections import Counter
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as some

from jobs import read
from jobs.parts import command, selection
from jobs.parts.table import MANIFEST
from jobs.shards import index, ranges
from jobs.shards.ranges import GAP, NotFetched, Row, merged

PREFIX = "crawl-data/CC-MAIN-2026-01/warc"
COLUMNS = {
    "url": pa.string(),
    "url_host_registered_domain": pa.string(),
    "fetch_status": pa.int16(),
    "content_mime_detected": pa.string(),
    "content_languages": pa.string(),
    "warc_filename": pa.string(),
    "warc_record_offset": pa.int32(),
    "warc_record_length": pa.int32(),
    "warc_segment": pa.string(),
}
LANGUAGES = ("eng", "deu", "eng,deu", None)


def indexed(shards):
    """Rows of an index of some shards, in the order of addresses, as a crawl has them."""
    rows = []
    for shard in shards:
        data = shard.read_bytes()
        records = [(record.stream_pos, record.headers["WARC-Target-URI"]) for record in ArchiveIterator(io.BytesIO(data))]
        ends = [offset for offset, _ in records[1:]] + [len(data)]
        for at, ((offset, url), end) in enumerate(zip(records, ends, strict=True)):
            domain = re.search(r"//([^/]+)/", url)[1]
            place = [f"{PREFIX}/{shard.name}", offset, end - offset, "1.0"]
            rows.append([url, domain, 200 if at % 5 else 404, "text/html", LANGUAGES[at % 4], *place])
    return pa.table(
        [pa.array(column, type_) for column, type_ in zip(zip(*sorted(rows), strict=True), COLUMNS.values(), strict=True)],
        list(COLUMNS),
    )


@pytest.fixture(scope="module")
def crawl(made_crawl, tmp_path_factory):
    """An index of two shards in row groups of 50, and a server of the shards that fails as it is told to."""
    shards = {f"{PREFIX}/{path.name}": path.read_bytes() for path in sorted(made_crawl.glob("*.warc.gz"))[:2]}
    table = tmp_path_factory.mktemp("index") / "crawl=CC-MAIN-2026-01" / "subset=warc"
    table.mkdir(parents=True)
    rows = indexed(sorted(made_crawl.glob("*.warc.gz"))[:2])
    pq.write_table(rows, table / "part-0.parquet", row_group_size=50)
    told = SimpleNamespace(requests=[], failures=[], now=Counter(), most=0)
    lock = threading.Lock()

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with lock:
                told.now["busy"] += 1
                told.most = max(told.most, told.now["busy"])
                told.requests.append(self.path)
                failure = told.failures.pop(0) if told.failures else None
            self.answer(failure)
            with lock:
                told.now["busy"] -= 1

        def answer(self, failure):
            start, last = (int(end) for end in self.headers["Range"].removeprefix("bytes=").split("-"))
            data = shards.get(self.path.lstrip("/"))
            if failure or data is None:
                status, headers = failure or (404, {})
                body = b""
            elif start >= len(data):
                status, headers, body = 416, {}, b""
            else:
                status, headers, body = 206, {}, data[start : last + 1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told.address, told.rows, told.index, told.shards = f"http://127.0.0.1:{server.server_port}", rows, table, made_crawl
        yield told
        server.shutdown()


@pytest.fixture
def waits(monkeypatch, crawl):
    """How long was waited between tries; nothing is waited."""
    asked = []
    monkeypatch.setattr(ranges, "time", SimpleNamespace(sleep=asked.append))
    crawl.failures.clear()
    crawl.requests.clear()
    return asked


def conf(tmp_path, *items, name="out", **more):
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"out": str(tmp_path / name), "pages": {"from": list(items)}, **more}))
    return str(path)


def pages(tmp_path, name="out"):
    parts = sorted((tmp_path / name / "pages").glob("*.parquet"))
    return sorted((row for part in parts for row in pq.read_table(part).to_pylist()), key=lambda row: row["id"])


def test_the_pages_are_those_of_the_shards_that_pass_the_rules(crawl, tmp_path, tasks, waits, monkeypatch, capsys):
    monkeypatch.setattr(selection, "ROWS", 30)
    rules = {"fetch_status": {"in": [200]}, "primary_language": {"in": ["eng"]}, "subset": {"in": ["warc"]}}
    item = {"index": f"{crawl.index}/*.parquet", "rules": rules, "prefix": crawl.address, "at_once": 3}
    crawl.failures += [(503, {}), (429, {"Retry-After": "7"}), None, (500, {})]
    asked = conf(tmp_path, item)
    assert command.run(read.main, read.__doc__, [asked, "--dry-run"]) == 0 and not tasks
    assert "are to be selected first" in capsys.readouterr().out
    assert command.run(read.main, read.__doc__, [asked]) == 0, capsys.readouterr().err
    found = pages(tmp_path)
    whole = conf(tmp_path, f"{crawl.shards}/made-[01].warc.gz", name="whole")
    assert command.run(read.main, read.__doc__, [whole]) == 0
    wanted = [
        row for row in crawl.rows.to_pylist() if row["fetch_status"] == 200 and (row["content_languages"] or "")[:3] == "eng"
    ]
    urls = {row["url"] for row in wanted}
    assert found == [row for row in pages(tmp_path, "whole") if row["url"] in urls] and len(found) == len(wanted) == 96
    assert waits.count(7.0) == 1 and len(waits) == 3 and crawl.most <= 3
    assert len(crawl.requests) < 20  # neighbours came together: 96 records lie in 4 parts
    before = len(crawl.requests)
    assert command.run(read.main, read.__doc__, [asked]) == 0 and len(crawl.requests) == before
    manifest = tmp_path / "out" / "pages" / MANIFEST
    manifest.unlink()  # as after a kill: parts that are there are not fetched again
    sorted((tmp_path / "out" / "pages").glob("*.parquet"))[0].unlink()
    assert command.run(read.main, read.__doc__, [asked]) == 0 and 0 < len(crawl.requests) - before < 8
    assert pages(tmp_path) == found


def test_records_that_do_not_come_are_counted_and_cost_no_other(crawl, tmp_path, tasks, waits, capsys):
    rows = crawl.rows.slice(0, 12).to_pylist()
    rows[3]["warc_filename"] = f"{PREFIX}/gone.warc.gz"
    rows[5]["warc_record_offset"] = 10**9
    rows[7]["warc_record_offset"] += 5
    rows[9]["warc_record_length"] -= 20
    table = tmp_path / "part-0.parquet"
    pq.write_table(pa.Table.from_pylist(rows, crawl.rows.schema), table)
    item = {"index": str(table), "prefix": f"{crawl.address}/"}
    assert command.run(read.main, read.__doc__, [conf(tmp_path, item)]) == 1  # damage in two ranges is told
    said = capsys.readouterr().out
    assert "8 pages of 12 records" in said
    lost = pq.read_table(next((tmp_path / "out" / "rejected").glob("*.parquet"))).to_pylist()
    assert Counter(row["reason"] for row in lost) == {"not_fetched": 2, "no_record": 1, "truncated": 1}
    assert {row["url"] for row in lost} == {rows[at]["url"] for at in (3, 5, 7, 9)}
    assert any("HTTP 404" in row["detail"] for row in lost) and any("HTTP 416" in row["detail"] for row in lost)
    assert not waits  # what is not there is not asked for again


def test_a_server_that_stays_busy_or_asks_for_an_hour_is_left_alone(crawl, waits):
    crawl.failures += [(503, {})] * ranges.TRIES
    address = f"{crawl.address}/{PREFIX}/made-0.warc.gz"
    with pytest.raises(NotFetched, match=f"HTTP 503, {ranges.TRIES} times") as busy:
        ranges.fetch(address, 0, 10)
    assert busy.value.final and len(waits) == ranges.TRIES - 1 and waits[-1] > 4 * waits[0]
    crawl.failures += [(503, {"Retry-After": "3600"})]
    with pytest.raises(NotFetched, match="left alone for 3600 s"):
        ranges.fetch(address, 0, 10)
    crawl.failures += [(200, {})]
    with pytest.raises(NotFetched, match="no ranges"):
        ranges.fetch(address, 0, 10)
    crawl.failures += [(206, {"Content-Length": "10"})]  # a connection that ends early
    before = len(waits)
    assert ranges.fetch(address, 0, 10)[:2] == b"\x1f\x8b" and len(waits) == before + 1


@given(
    rows=some.lists(
        some.tuples(some.integers(0, 2), some.integers(1, 5), some.sampled_from([0, 1, GAP, GAP + 1])), max_size=30
    ),
    most=some.integers(1, 40_000),
)
@settings(max_examples=40, deadline=None)
def test_groups_hold_every_row_once_in_order_and_are_neighbours(rows, most):
    placed, at = [], 0
    for file, length, gap in sorted(rows, key=lambda row: row[0]):
        at += gap
        placed.append(Row(None, str(file), at, length))
        at += length
    groups = [*merged(placed, most)]
    assert [row for group in groups for row in group] == placed
    for group in groups:
        assert len({row.file for row in group}) == 1
        assert len(group) == 1 or group[-1].end - group[0].offset <= most
        assert all(0 <= after.offset - before.end <= GAP for before, after in itertools.pairwise(group))


def test_row_groups_and_files_that_can_hold_nothing_are_not_read(crawl, monkeypatch):
    rules = index.rules_of({"rules": {"url_host_registered_domain": {"in": ["site-3.org"]}}}, "key")
    read_groups = []
    plain = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, at, *rest: read_groups.append(at) or plain(self, at, *rest)
    )
    found = index.rows_of(str(crawl.index / "part-0.parquet"), rules)
    mine = [row for row in crawl.rows.to_pylist() if row["url_host_registered_domain"] == "site-3.org"]
    assert found.to_pylist() == [{name: row[name] for name in index.SELECTED.names} for row in mine] and mine
    assert 0 < len(read_groups) < 5
    read_groups.clear()
    other = index.rules_of({"rules": {"subset": {"in": ["robotstxt"]}}}, "key")
    assert not len(index.rows_of(str(crawl.index / "part-0.parquet"), other)) and not read_groups


def test_a_sample_by_hash_and_the_first_rows_are_parts_of_all_rows(crawl, tmp_path, tasks, waits):
    rows = {}
    for name, how in {"all": {}, "first": {"first": 20}, "hashed": {"hashed": 20}, "more": {"hashed": 40}}.items():
        item = {"index": f"{crawl.index}/*.parquet", "prefix": crawl.address, **how}
        assert command.run(read.main, read.__doc__, [conf(tmp_path, item, name=name)]) == 0
        [file] = (tmp_path / name / "selection").glob("*.parquet")
        rows[name] = [tuple(row.values()) for row in pq.read_table(file).to_pylist()]
    assert rows["all"] == sorted(rows["all"], key=lambda row: row[1:3]) and len(rows["all"]) == 240
    assert rows["first"] == rows["all"][:20] and len(rows["hashed"]) == 20
    assert set(rows["hashed"]) < set(rows["more"]) < set(rows["all"])


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"rules": {"fetch_statis": {"in": [200]}}}, "no column 'fetch_statis': did you mean 'fetch_status'"),
        ({"rules": {"fetch_status": {"in": ["200"]}}}, "list numbers"),
        ({"rules": {"fetch_status": {"keep_fraction": 0.5}}}, "keep_fraction needs all rows"),
        ({"rules": {"sample": 0.1}}, "take hashed: NUMBER"),
        ({"rules": {"fetch_status": {"min": 900}}}, "no row of .* passes its rules"),
        ({"text": "content"}, "text is nothing that index: takes"),
        ({"first": 1, "hashed": 1}, "first: or hashed:, not both"),
    ],
)
def test_a_slip_in_a_selection_is_one_sentence(crawl, tmp_path, tasks, waits, capsys, item, says):
    asked = conf(tmp_path, {"index": f"{crawl.index}/*.parquet", "prefix": crawl.address, **item})
    assert command.run(read.main, read.__doc__, [asked], check=read.check) == 2
    said = capsys.readouterr().err
    assert re.search(says, said) and said.count("\n") == 1 and not crawl.requests


def test_real_shards_give_the_pages_of_a_whole_reading(shared_data, tmp_path, tasks):
    shard = shared_data / "crawl" / "sample-00000.warc.gz"
    data = shard.read_bytes()
    starts = [record.stream_pos for record in ArchiveIterator(io.BytesIO(data))][:60]
    cut = tmp_path / shard.name
    cut.write_bytes(data[: starts[-1]])
    assert gzip.decompress(data[starts[3] : starts[4]]).startswith(b"WARC/1.0")
    place = {"warc_filename": [shard.name] * 59, "warc_record_offset": starts[:-1]}
    place |= {"warc_record_length": [end - at for at, end in itertools.pairwise(starts)], "url": [""] * 59}
    pq.write_table(pa.table(place), tmp_path / "rows.parquet")
    item = {"index": str(tmp_path / "rows.parquet"), "prefix": str(tmp_path)}
    assert command.run(read.main, read.__doc__, [conf(tmp_path, item)]) == 0
    assert command.run(read.main, read.__doc__, [conf(tmp_path, str(cut), name="whole")]) == 0
    assert pages(tmp_path) == pages(tmp_path, "whole") and len(pages(tmp_path)) > 20
