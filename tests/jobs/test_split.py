"""split: what is decided of each page before any training, the same whatever is read beside it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.draws import id_hashes
from jobs import split
from jobs.parts import loop
from jobs.parts.experiment_file import Experiment
from jobs.parts.session import session
from jobs.parts.table import Part, PartReport, Table, publish
from jobs.read import PAGES

SIZE = pa.schema([("id", pa.string()), ("text_hash", pa.int64())])


def made(folder, parts):
    """Pages and sizes of parts given as lists of (id, domain, text hash)."""
    lines = {"pages": [], "size": []}
    for name, rows in parts.items():
        ids, domains, hashes = zip(*rows, strict=True)
        columns = {"id": ids, "domain": domains}
        nothing = [None] * len(rows)
        pages = pa.table({n: pa.array(columns.get(n, nothing), PAGES.field(n).type) for n in PAGES.names}, schema=PAGES)
        sizes = pa.table({"id": ids, "text_hash": hashes}, schema=SIZE)
        for path, table in (("pages", pages), ("signals/size", sizes)):
            of = Table(folder / path, {"made": "up"}, table.schema)
            outcome = loop.write_part(
                Part(name, "", name), [of], lambda *_, t=table, n=of.name: ((n, batch) for batch in t.to_batches())
            )
            lines[of.name].append(outcome.entries[of.name])
            publish("made", of, lines[of.name])


def experiment(folder, **held_out):
    return Experiment.model_validate({"pages": {"from": ["none.warc"]}, "out": folder, "evaluate": {"held_out": held_out}})


def rows_of(folder, name):
    return pq.read_table(folder / "split" / f"{name}.parquet").to_pylist()


def pages(count, sites, start=0):
    return [(f"page-{k}", f"site-{k % sites}.org", k) for k in range(start, start + count)]


@pytest.fixture
def in_one_process(monkeypatch):
    monkeypatch.setattr(split.session, "session", lambda name: None)
    monkeypatch.setattr(split, "find_copies", lambda *_: None)
    monkeypatch.setattr(
        loop, "_all", lambda spark, stage, missing, tables, work: [loop.write_part(part, tables, work) for part in missing]
    )


def test_a_page_is_split_alike_whatever_is_read_beside_it(tmp_path, in_one_process):
    everything = pages(400, 40)
    made(tmp_path / "one", {"a": everything})
    made(tmp_path / "two", {"a": everything[:150], "b": everything[150:151], "c": everything[151:]})
    for name in ("one", "two"):
        assert split.main(experiment(tmp_path / name, share=0.2)) == 0
    together = [row for part in "abc" for row in rows_of(tmp_path / "two", part)]
    assert together == rows_of(tmp_path / "one", "a")
    assert 0 < sum(row["held_out"] for row in together) < 200


def test_a_site_is_held_out_as_a_whole_and_stands_in_one_fold(tmp_path, in_one_process):
    made(tmp_path, {"a": pages(400, 20)})
    split.main(experiment(tmp_path, share=0.3))
    by_site = {}
    for (_, site, _), row in zip(pages(400, 20), rows_of(tmp_path, "a"), strict=True):
        by_site.setdefault(site, set()).add((row["held_out"], row["fold"]))
    assert all(len(found) == 1 for found in by_site.values())
    assert len({held_out for found in by_site.values() for held_out, _ in found}) == 2


def test_a_page_without_a_site_goes_by_its_id(tmp_path, in_one_process):
    made(tmp_path, {"a": [(f"page-{k}", None, k) for k in range(300)]})
    split.main(experiment(tmp_path, share=0.3))
    rows = rows_of(tmp_path, "a")
    assert len({row["fold"] for row in rows}) == 300
    assert [row["id_hash"] for row in rows] == id_hashes([row["id"] for row in rows]).tolist()


@pytest.mark.spark
def test_copies_of_held_out_pages_are_found_in_every_part(tmp_path):
    """Texts 0 to 9 are held out in one part; their copies stand in two others, and among copies of pages that are not."""
    draw = np.random.default_rng(0)
    parts = {name: [(f"{name}-{k}", None, int(draw.integers(0, 40))) for k in range(60)] for name in "abc"}
    made(tmp_path, parts)
    asked = experiment(tmp_path, by="page", share=0.15)
    split.find_copies(session("tests"), asked, split.parts_of(tmp_path / "pages"), tmp_path / "copies")
    report = PartReport()
    found = {
        part.name: [
            row for _, batch in split.split_part(part, asked, tmp_path / "copies", report) for row in batch.to_pylist()
        ]
        for part in split.parts_of(tmp_path / "pages")
    }
    out = {hash_ for name in parts for (_, _, hash_), row in zip(parts[name], found[name], strict=True) if row["held_out"]}
    copied = 0
    for name in parts:
        for (_, _, text), row in zip(parts[name], found[name], strict=True):
            assert row["copy_of_held_out"] == (text in out and not row["held_out"])
            copied += row["copy_of_held_out"]
    assert 0 < copied == report.counts["copies_of_held_out"]
