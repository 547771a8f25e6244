import csv
import re
import runpy
import shutil
from pathlib import Path

import pytest

from jobs.parts.experiment_file import Experiment
from jobs.parts.refusals import ExperimentError
from jobs.report import main

build = runpy.run_path(str(Path(__file__).parents[1] / "eval" / "made_up_out.py"))["build"]


def experiment(out, **changes):
    return Experiment.model_validate({"pages": {"from": ["a.warc"]}, "out": out, **changes})


def test_the_job_writes_the_page_and_prints_the_levels(tmp_path, capsys):
    out = build(tmp_path / "out", levels=("none", 3, 9), domains=2)
    assert main(experiment(out, train={})) == 0
    said = capsys.readouterr().out
    assert re.search(r"quality-pareto-3 .* [\d.]{6} \[[\d.]{6}, [\d.]{6}\]", said)
    assert "bits per byte" in said and "quality-pareto-3" in said and str(out / "report.html") in said
    first = {
        name: (out / name).read_bytes() for name in ("report.html", "report.md", "report.svg", "report.json", "report.csv")
    }
    main(experiment(out, train={}))
    assert first == {name: (out / name).read_bytes() for name in first}


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    assert main(experiment(tmp_path), dry_run=True) == 0
    assert "would be written" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(ExperimentError, match="no folder"):
        main(experiment(tmp_path / "nowhere"))


def test_the_page_has_the_experiments_name(tmp_path):
    out = build(tmp_path / "out", levels=("none", 3), domains=2)
    main(experiment(out, name="How hard?", train={}))
    assert (out / "report.md").read_text().startswith("# How hard to filter `How hard?`")


def test_every_cell_of_the_grid_is_told_and_one_that_is_missing_is_named(tmp_path):
    out = build(tmp_path / "out", levels=("none", 3), pages=20, held_out_pages=8, domains=2)
    for subset in ("unfiltered", "quality-pareto-none", "quality-pareto-3"):
        shutil.copytree(out / "runs" / subset / "0.2m-300000-0.005", out / "runs" / subset / "0.2m-300000-0.0025")
    (out / "runs" / "quality-pareto-3" / "0.2m-300000-0.0025" / "1" / "summary.json").unlink()
    main(experiment(out, train={"learning_rate": [1, 0.5], "at": ["none", "best", "hardest"]}))
    text, table = ((out / f"report.{ending}").read_text() for ending in ("md", "csv"))
    assert "## Scale" in text and "At every learning rate of this size and budget" in text
    assert "0.2m-300000-0.0025: 1 run is not trained: quality-pareto-3 (replicate 1)" in text.replace("\\", "")
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["subset"] for row in rows if row["learning_rate"] == "0.0025"] == [
        "unfiltered",
        "quality-pareto-none",
        "quality-pareto-3",
    ]
