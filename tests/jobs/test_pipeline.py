"""The main job with Spark: crawl files in, a report out; the same bytes on a cluster, after a kill, and a second time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from pyspark.sql import SparkSession

from eval.plan import read_plan
from eval.training import finished_run
from jobs import experiment
from jobs.bench import standalone
from jobs.parts.command import run
from jobs.parts.experiment_file import load
from jobs.parts.session import java_options

REPOSITORY = Path(__file__).resolve().parents[2]
HALF = "quality-keep_fraction-0.5"
TABLES = ("pages", "rejected", "signals", "split", "verdicts", "subsets", "packed")

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def conf(made_crawl, tmp_path_factory):
    """A whole experiment on made-up pages, small enough for a test."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "tiny.yaml").write_text(
        "{layers: 1, width: 16, heads: 2, feed_forward: 32, context: 32, batch_tokens: 256, learning_rate: 1.0e-2,"
        " warmup: 0.1, weight_decay: 0.1}"
    )
    (folder / "recipe.yaml").write_text(
        (REPOSITORY / "conf/classifiers/gao_small.yaml").read_text().replace("bucket: 200000", "bucket: 2000")
    )
    tree = {
        "out": "set by each test",
        "pages": {"from": [str(made_crawl / "*.warc.gz")]},
        "classifiers": {
            "quality": {"fasttext": {"preset": str(folder / "recipe.yaml"), "positives": [str(made_crawl / "good.jsonl")]}}
        },
        "signals": {"gopher": {}, "quality": {}},
        "rules": {"word_count": {"min": 20}},
        "sweep": {"rules.quality.keep_fraction": ["none", 0.5]},
        "controls": {"random": "all", "inverted": "all"},
        "diagnostics": {"permuted": [1.0], "bands": ["removed"], "late": True, "replicates": 1},
        "tokenizer": {"vocabulary": 300},
        "train": {"model": str(folder / "tiny.yaml"), "tokens": 8000, "replicates": [0, 3], "device": "cpu"},
        "evaluate": {"held_out": {"by": "domain", "share": 0.1, "most_bytes": 20000}},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def done(conf, tmp_path_factory):
    """The folder of the finished experiment."""
    out = tmp_path_factory.mktemp("experiment") / "out"
    assert run(experiment.main, None, [str(conf), "--set", f"out={out}"]) == 0
    return out


def digests(out, tables=TABLES):
    """SHA-256 of every file of the tables, by its path."""
    files = [file for table in tables for file in sorted((out / table).rglob("*")) if file.is_file()]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_crawl_files_become_a_report(done):
    results = [json.loads(line) for line in (done / "results.jsonl").read_text().splitlines()]
    subsets = json.loads((done / "subsets" / "sweep.json").read_text())["subsets"]
    assert {row["subset"] for row in results} == {*subsets, "permuted-1"}
    assert {row["replicate"] for row in results} == {0, 3}
    assert {(row["size"], row["learning_rate"]) for row in results} == {("tiny", 0.01)}
    pages = [row for row in results if row["set"] in ("held_out", "pool", "reference", "late") or "kept by" in row["set"]]
    assert all(0 < row["value"] < 20 and row["n"] > 0 for row in pages)
    assert (done / "report.html").stat().st_size > 10_000
    assert (done / "report.md").is_file()


def test_tables_have_the_columns_and_rows_of_the_contract(done):
    pages = pq.read_table(done / "pages")
    assert pages.column_names == ["id", "url", "domain", "crawled_at", "text", "html_bytes", "shard", "shard_offset"]
    assert len(set(pages["id"].to_pylist())) == len(pages) == 480
    for group in ("gopher", "quality", "size"):
        for part in sorted((done / "pages").glob("*.parquet")):
            sidecar = pq.read_table(done / "signals" / group / part.name)
            assert sidecar["id"].equals(pq.read_table(part, columns=["id"])["id"])
    row = json.loads((done / "subsets" / f"{HALF}.json").read_text())
    assert row["kept"]["pages"] == json.loads((done / "subsets" / "_books" / HALF / "_manifest.json").read_text())["rows"]


def test_what_is_packed_is_a_plan_of_the_runs_that_there_are(done):
    runs, asked, *_ = read_plan(done / "packed")
    assert asked == "cpu" and len(runs) == 12
    assert {run.out.relative_to(done / "packed") for run in runs} == {
        summary.parent.relative_to(done) for summary in (done / "runs").rglob("summary.json")
    }
    assert all(finished_run(replace(run, out=done / run.out.relative_to(done / "packed"))) for run in runs)


def test_what_is_measured_beside_the_levels_has_sets_of_its_own(done):
    results = [json.loads(line) for line in (done / "results.jsonl").read_text().splitlines()]
    late = [row for row in results if row["set"] == "late"]
    levels = {"unfiltered", "quality-keep_fraction-none", HALF}
    assert {(row["subset"], row["replicate"]) for row in late} == {(level, number) for level in levels for number in (0, 3)}
    assert len(late) == 18 and {row["step"] for row in late} == {26, 28, 29}
    of = {
        (row["subset"], row["set"], row["domain"]): row["value"]
        for row in results
        if not row["replicate"] and "domain" in row
    }
    mildest = "kept by quality-keep_fraction-none"  # it keeps what passes the rules that decide who is judged
    assert all(of[name, mildest, "all"] == of[name, "held_out", "all"] for name in (*levels, "band-removed", "permuted-1"))
    assert of["permuted-1", mildest, "all"] > of["quality-keep_fraction-none", mildest, "all"]
    by_exposure = [value for (name, which, _), value in of.items() if (name, which) == (HALF, "exposure") and value]
    assert by_exposure[0] > by_exposure[-1]  # entries that were read less cost more


def test_a_run_loads_with_the_library_alone(done):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    [folder] = (done / "runs" / "unfiltered").glob("*/0")
    assert folder.parent.name.startswith("tiny-8000-")
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)("the river and a stone", return_tensors="pt")
    assert model(**tokens).logits.shape[-1] == model.config.vocab_size


def test_replicates_read_folds_of_their_own_and_packing_leaves_nothing_else_behind(done):
    facts = json.loads((done / "packed" / "unfiltered" / "32.json").read_text())
    assert set(facts["replicates"]) == {"0", "3"}
    read = [
        set(pq.read_table(done / "packed" / "unfiltered" / f"32-{number}.parquet")["id"].to_pylist()) for number in (0, 3)
    ]
    assert {one["fold"] for one in facts["replicates"].values()} == {"own"} and not read[0] & read[1]
    assert {folder.name for folder in (done / "packed").iterdir() if folder.name.startswith(".")} == {
        ".evaluated.parquet.made_by.json"
    }


def test_a_subset_loads_by_folder(done, tmp_path, monkeypatch):
    """The folder holds data alone, so that a loader that takes every file in it finds nothing else."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    folder = done / "subsets" / HALF
    rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path))
    assert rows.column_names == ["id", "url", "text"]
    assert {file.name[:5] for file in folder.iterdir()} == {"part-"}
    assert len(rows) == json.loads((done / "subsets" / f"{HALF}.json").read_text())["kept"]["pages"]


def test_a_second_run_does_nothing(done, conf):
    before = {file: file.stat().st_mtime_ns for table in TABLES for file in (done / table).rglob("*.parquet")}
    assert run(experiment.main, None, [str(conf), "--set", f"out={done}"]) == 0
    after = {file: file.stat().st_mtime_ns for table in TABLES for file in (done / table).rglob("*.parquet")}
    assert after == before


def test_a_dry_run_writes_nothing(conf, tmp_path, capsys):
    assert run(experiment.main, None, [str(conf), "--set", f"out={tmp_path / 'none'}", "--dry-run"]) == 0
    assert "4 parts" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("signals.gophr={}", "did you mean 'gopher'"),
        ("rules.word_cout={min: 5}", "did you mean 'word_count'"),
        ("rules.top_2gram_char_fraction={max: 0.2}", "add repetition: {} under signals:"),
        ("train.model=9t", "no model size '9t'"),
        ("pages.from=[nowhere/*.warc.gz]", "nowhere"),
        ("pages.extract=lxml", "resiliparse, trafilatura or justext"),
        ("classifiers.quality.fasttext.preset=gaoo", "did you mean 'gao"),
        ("write.transforms=[upper]", "unknown transform 'upper'"),
    ],
)
def test_a_mistake_stops_the_experiment_before_the_first_task(conf, tmp_path, capsys, setting, says):
    out = tmp_path / "out"
    assert run(experiment.main, None, [str(conf), "--set", f"out={out}", "--set", setting]) == 2
    assert says in capsys.readouterr().err
    assert not (out / "pages").exists()


def test_the_cluster_gives_the_same_bytes_as_one_machine(done, conf, tmp_path):
    """One master and two workers of Spark's own, and spark-submit, against local[*] and processes side by side.

    All verbs go in one application: each start of it costs three Java machines.
    """
    with standalone.running(tmp_path) as master:
        out = tmp_path / "out"
        (out / "models").parent.mkdir(parents=True)
        subprocess.run(["cp", "-r", str(done / "models"), str(out / "models")], check=True)
        submit = [standalone.SUBMIT, "--master", master, "--conf", "spark.executor.memory=512m"]
        brief = ["--driver-java-options", java_options()]
        brief += ["--conf", f"spark.executor.extraJavaOptions={java_options()}"]
        command = [*submit, *brief, str(REPOSITORY / "jobs" / "experiment.py"), str(conf), "--set", f"out={out}"]
        finished = subprocess.run(
            command, env=standalone.environment(), capture_output=True, text=True, timeout=400, check=False
        )
        assert finished.returncode == 0, finished.stderr[-3000:]
        assert " INFO " not in finished.stderr
        for verb in ("read", "split", "score", "choose", "pack", "train", "evaluate"):
            assert f"{verb}:" in finished.stderr + finished.stdout
    assert digests(out) == digests(done)
    assert models(out) == models(done) and len(models(out)) == 12


def models(out):
    """What was trained and what pages cost it, by run: the losses of every step are the same, too."""
    return {
        summary.parent.relative_to(out): [
            json.loads(summary.read_text())["model_sha256"],
            pq.read_table(summary.parent / "evaluation.parquet")["nll"].to_pylist(),
            [json.loads(line)["loss"] for line in (summary.parent / "metrics.jsonl").read_text().splitlines()],
        ]
        for summary in (out / "runs").glob("*/*/*/summary.json")
    }


def test_a_killed_read_goes_on_where_it_was_and_ends_with_the_same_bytes(done, conf, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.read", str(conf), "--set", f"out={out}"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=standalone.environment(), start_new_session=True, stderr=subprocess.DEVNULL
    ) as process:
        for _ in range(1200):
            if any((out / "pages").glob("*.parquet")) or process.poll() is not None:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert run(load_and_read, None, [str(conf), "--set", f"out={out}"]) == 0
    assert digests(out, ("pages", "rejected")) == digests(done, ("pages", "rejected"))


def load_and_read(asked, dry_run):
    from jobs import read

    return read.main(asked, dry_run)


def test_a_damaged_shard_is_listed_and_its_other_pages_are_kept(conf, made_crawl, tmp_path, capsys):
    shard = made_crawl / "made-0.warc.gz"
    damaged = tmp_path / "cut.warc.gz"
    damaged.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert run(load_and_read, None, [str(conf), "--set", f"out={tmp_path / 'out'}", "--set", f"pages.from=[{damaged}]"]) == 1
    assert "cut.warc.gz at byte" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "out" / "pages").num_rows >= 50


def test_the_same_page_in_two_shards_is_refused_and_the_table_stays_unfinished(conf, made_crawl, tmp_path, capsys):
    copy = tmp_path / "copy.warc.gz"
    copy.write_bytes((made_crawl / "made-0.warc.gz").read_bytes())
    shards = f"pages.from=[{made_crawl / 'made-0.warc.gz'}, {copy}]"
    assert run(load_and_read, None, [str(conf), "--set", f"out={tmp_path / 'out'}", "--set", shards]) == 3
    assert "is in copy.warc.gz and in made-0.warc.gz" in capsys.readouterr().err
    assert not (tmp_path / "out" / "pages" / "_manifest.json").exists()


def test_the_session_is_one_for_all_jobs(done):
    assert SparkSession.getActiveSession() is not None
    assert load(REPOSITORY / "conf" / "demo.yaml").train is not None
