"""Filtering alone, as README shows it: crawl files in, what is kept and what is removed and why out, with Spark."""

import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
import zstandard

from jobs import experiment
from jobs.parts.command import run

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
RECIPE = re.search(r"## Just filter.*?```yaml\n(.*?)```", README, re.DOTALL)[1]

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module", params=["warc", "wet"])
def filtered(request, tmp_path_factory):
    """The folder of the recipe run on made-up crawl files, and what it printed to a file."""
    shards = {"warc": ("made_crawl", "*.warc.gz"), "wet": ("made_wet", "*.warc.wet.gz")}
    folder, pattern = shards[request.param]
    here = tmp_path_factory.mktemp(request.param)
    asked = yaml.safe_load(RECIPE) | {"out": str(here / "out")}
    asked["pages"] = {"from": [str(request.getfixturevalue(folder) / pattern)]}
    (here / "filter.yaml").write_text(yaml.safe_dump(asked))
    assert run(experiment.main, None, [str(here / "filter.yaml")]) == 0
    return here


def rows(folder):
    """The rows of every file of a folder of JSON lines."""
    found = []
    for file in sorted(folder.iterdir()):
        text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes())).read().decode()
        found += [json.loads(line) for line in text.splitlines()]
    return found


def test_the_recipe_has_five_lines():
    assert len(RECIPE.splitlines()) == 5


def test_every_page_is_kept_or_removed_with_a_rule_it_failed(filtered):
    pages = pq.read_table(filtered / "out" / "pages")
    kept, removed = rows(filtered / "out" / "subsets" / "rules"), rows(filtered / "out" / "removed" / "rules")
    assert kept and removed
    assert sorted(row["id"] for row in kept + removed) == sorted(pages["id"].to_pylist())
    texts = dict(zip(pages["id"].to_pylist(), pages["text"].to_pylist(), strict=True))
    assert all(texts[row["id"]] == row["text"] for row in kept + removed)
    assert all(row["failed"] for row in removed)


def test_the_rules_named_are_those_that_the_verdicts_say_failed(filtered):
    verdicts = {row["id"]: row for row in pq.read_table(filtered / "out" / "verdicts").to_pylist()}
    for row in rows(filtered / "out" / "removed" / "rules"):
        verdict = verdicts[row["id"]]
        failed = {name.removeprefix("rule ") for name, passes in verdict.items() if name.startswith("rule ") and not passes}
        assert set(row["failed"]) == failed


def test_unfiltered_is_counted_and_not_copied(filtered):
    assert (filtered / "out" / "subsets" / "unfiltered.json").is_file()
    assert not (filtered / "out" / "subsets" / "unfiltered").exists()


def test_the_report_says_what_is_kept_and_nothing_of_models(filtered):
    kept = len(rows(filtered / "out" / "subsets" / "rules"))
    pages = pq.read_table(filtered / "out" / "pages").num_rows
    for page in ("report.md", "report.html"):
        text = (filtered / "out" / page).read_text()
        assert f"{kept} of {pages} pages are kept" in text
        assert not re.search("bits per byte|no model|held-out|replicate|What is missing", text, re.IGNORECASE)


def test_a_second_run_and_a_dry_run_change_nothing(filtered, capsys):
    before = {file: file.stat().st_mtime_ns for file in (filtered / "out").rglob("*.zst")}
    assert run(experiment.main, None, [str(filtered / "filter.yaml"), "--dry-run"]) == 0
    assert not re.search("^(pack|train|evaluate):", capsys.readouterr().out, re.MULTILINE)
    assert run(experiment.main, None, [str(filtered / "filter.yaml")]) == 0
    assert {file: file.stat().st_mtime_ns for file in (filtered / "out").rglob("*.zst")} == before
