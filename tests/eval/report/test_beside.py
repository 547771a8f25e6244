"""Two made-up experiments side by side: paired where the pages are the same, and never where they are not."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eval.report.beside import Beside, html, markdown, page, terminal_text
from jobs import report
from jobs.parts.command import DAMAGED, OK, REFUSED

build = runpy.run_path(str(Path(__file__).parents[1] / "made_up_out.py"))["build"]


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Runs the job on two folders; gives the tree of its page."""
    seen = []

    def told(one: Beside):
        seen.append(one)
        return html(one)

    monkeypatch.setattr(report.beside, "html", told)

    def run(first, second):
        assert report.run([str(first), str(second)]) == OK
        return seen[-1], page(seen[-1])

    return run


def folder(tmp_path, name, **more):
    return build(tmp_path / name, levels=more.pop("levels", ("none", 3, 9)), pages=60, held_out_pages=80, **more)


def worse(out, by):
    """Let every model of a folder need more nats a byte."""
    for file in out.glob("runs/*/*/*/evaluation.parquet"):
        table = pq.read_table(file)
        nll = table["nll"].to_numpy() + by * np.log(2) * table["bytes"].to_numpy()
        pq.write_table(table.set_column(table.column_names.index("nll"), "nll", [nll]), file)


def test_a_difference_is_that_of_the_same_pages_in_the_same_replicates(tmp_path, two):
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    worse(second, 0.25)
    found, tree = two(first, second)
    for level in ("quality-pareto-3", "unfiltered"):
        gap = found.difference(level, level)
        assert gap.value == pytest.approx(0.25) and gap.half_width < 0.02  # all that the runs share has gone
    assert tree["paired"] and re.fullmatch(r"\S+ is better by 0.2500 bits per byte at its best level", tree["claim"])
    assert tree["claim"].startswith(tree["names"][0])


def test_an_experiment_beside_itself_has_no_difference(tmp_path, two):
    out = folder(tmp_path, "out")
    found, tree = two(out, out)
    assert found.difference("quality-pareto-9", "quality-pareto-9").value == 0
    assert tree["claim"] == "No difference between the two is established" and not tree["changed"] and not tree["tables"]
    assert "The experiment files say the same." in html(found) and "The experiment files say the same." in markdown(found)


def test_other_pages_are_never_paired(tmp_path, two):
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    for file in second.glob("runs/*/*/*/evaluation.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.set_column(0, "id", [[f"other-{page}" for page in table["id"].to_pylist()]]), file)
    found, tree = two(first, second)
    assert found.difference("unfiltered", "unfiltered") is None and not tree["paired"]
    assert "different held-out pages (" in tree["grounds"][0]
    assert not any(row["difference"] for row in tree["rows"])


def test_replicates_that_only_one_of_them_has_are_left_out(tmp_path, two):
    first, second = folder(tmp_path, "first", replicates=(0, 1, 2)), folder(tmp_path, "second", replicates=(1, 2, 5))
    found, _ = two(first, second)
    assert found.comparison.replicates == 2
    none, tree = two(first, folder(tmp_path, "third", replicates=(7, 8)))
    assert none.comparison is None and "no replicate in common" in tree["grounds"][0]


def test_levels_of_either_are_there_and_the_keys_that_differ(tmp_path, two):
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second", levels=("none", 3, 5))
    file = second / "experiment.yaml"
    file.write_text(
        file.read_text().replace("tokens: 300000", "tokens: 300000, device: cpu").replace("in-the-mine", "other")
    )
    found, tree = two(first, second)
    rows = {row["name"]: row for row in tree["rows"]}
    assert rows["quality-pareto-5"]["sides"][0]["pages"] == "–" and rows["quality-pareto-9"]["sides"][1]["pages"] == "–"
    assert rows["quality-pareto-9"]["difference"] == "" and rows["quality-pareto-3"]["difference"]
    assert {"key": "train.device", "values": ["not there", "cpu"]} in tree["changed"]
    for text in (html(found), markdown(found), terminal_text(found)):
        assert "train.device" in text and "canary" not in text and "secret" not in text.lower()


def test_what_is_only_filtered_is_compared_by_its_size(tmp_path, two):
    outs = [folder(tmp_path, name) for name in ("first", "second")]
    for out in outs:
        file = out / "experiment.yaml"
        file.write_text(re.sub("train: .*\n", "", file.read_text()))
    found, tree = two(*outs)
    assert not tree["trains"] and "keeps " in tree["claim"] and "bits per byte" not in html(found)


def test_strange_names_are_text(tmp_path, two):
    first, second = (folder(tmp_path, name) for name in ("first", "second"))
    for out in (first, second):
        file = out / "experiment.yaml"
        file.write_text(json.dumps("<script>alert(1)</script>").join(["name: ", "\n" + file.read_text()]))
    found, _ = two(first, second)
    assert "<script" not in html(found)


def test_a_folder_that_is_none_is_refused_in_a_sentence(tmp_path, capsys):
    assert report.run([str(tmp_path), str(tmp_path / "no")]) == REFUSED != DAMAGED
    assert "name the out: of two experiments" in capsys.readouterr().err
