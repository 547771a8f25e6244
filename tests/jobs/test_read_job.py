"""The read job on tables: what it refuses before any work, and what it says of shards that give little."""

import json

import pyarrow.parquet as pq
import pytest

from jobs import read
from jobs.parts.command import run
from jobs.parts.table import finished


def verb(asked, dry_run):
    return read.main(asked, dry_run)


@pytest.fixture
def job(tmp_path):
    """Run the job on `pages.from` as JSON; the folder of its tables."""

    def run_job(*asked):
        conf = tmp_path / "conf.yaml"
        conf.write_text(json.dumps({"out": str(tmp_path / "out"), "pages": {"from": list(asked)}}))
        return run(verb, None, [str(conf)]), tmp_path / "out"

    return run_job


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_column_that_is_not_there_is_refused_before_any_work(job, tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", {"id": "a", "link": "http://a.org/", "text": "words"})
    code, out = job({"jsonl": path, "url": "lnk"})
    assert code == 2 and "a.jsonl has no column 'lnk', it has: id, link, text" in capsys.readouterr().err
    assert not (out / "pages").exists()


def test_ids_that_count_alike_are_refused_before_any_work(job, tmp_path, capsys):
    paths = [write(tmp_path / f"{n}.jsonl", {"id": 0, "text": "words"}) for n in range(2)]
    code, out = job(*paths)
    assert code == 2 and "id: none" in capsys.readouterr().err and not (out / "pages").exists()


@pytest.mark.spark
def test_a_shard_without_the_text_is_told_and_the_others_are_read(job, tmp_path, capsys):
    good = write(tmp_path / "good.jsonl", {"id": "a", "text": "words"}, {"id": 2.5, "text": "more", "url": 5})
    wrong = write(tmp_path / "wrong.jsonl", *({"content": "words", "url": "u"} for _ in range(3)))
    code, out = job(good, wrong)
    said = capsys.readouterr().out
    assert code == 1
    assert "wrong.jsonl at byte 0: few_pages (0 of 3 records became pages: 3 missing_text (no 'text' in a row of" in said
    assert "content, url); expected one JSON object" in said and "bad_url" in said
    assert pq.read_table(out / "pages")["id"].to_pylist() == ["a", "2.5"]
    counts = finished(out / "pages")["counts"]
    assert (counts["missing_text"], counts["no_domain"]) == (3, 2)


@pytest.mark.spark
def test_files_of_one_name_and_ids_that_restart_become_one_table(job, tmp_path):
    for year in (2024, 2025):
        write(tmp_path / str(year) / "a.jsonl", {"id": 0, "text": f"of {year}"})
    code, out = job({"jsonl": f"{tmp_path}/*/a.jsonl", "id": {"column": "id", "per": "shard"}})
    rows = pq.read_table(out / "pages", columns=["id", "text", "shard"]).to_pylist()
    assert code == 0
    assert sorted(row["id"] for row in rows) == ["2024-a.jsonl/0", "2025-a.jsonl/0"]
    assert {row["shard"] for row in rows} == {"2024-a.jsonl", "2025-a.jsonl"}


@pytest.mark.spark
def test_ids_that_meet_only_later_stop_the_job_with_the_way_out(job, tmp_path, capsys):
    paths = [write(tmp_path / f"{n}.jsonl", {"id": n, "text": "words"}, {"id": "x", "text": "more"}) for n in range(2)]
    code, _ = job(*paths)
    assert code == 3
    assert "the page id x is in 0.jsonl and in 1.jsonl" in (said := capsys.readouterr().err)
    assert "id: {column: id, per: shard}} (or id: none" in said
