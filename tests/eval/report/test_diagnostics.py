"""What is told beside the verdict, on a made-up folder whose differences are known."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.exposure import SCHEMA
from eval.report.beside_levels import outcome_of_second
from eval.report.diagnostics import diagnostics
from eval.report.heat import cells
from eval.report.late_steps import signal_over_steps
from eval.report.page import html, markdown
from eval.report.story import tell
from eval.statistics import Interval
from jobs.parts.diagnosed import diagnosed
from jobs.parts.gathered import collect

made_up = runpy.run_path(str(Path(__file__).parents[1] / "made_up_out.py"))
build, TRAINED, result_rows = (made_up[name] for name in ("build", "TRAINED", "result_rows"))
NONE, THREE, NINE = (f"quality-pareto-{level}" for level in ("none", 3, 9))
BESIDE = {
    "permuted-0.3": (NONE, 0.2),
    "permuted-1": (NONE, 0.5),
    "band-removed": (NINE, -0.25),
    "second-books-pareto-3": (THREE, 0.0),
    "second-books-pareto-9": (NINE, 0.01),
}
"""What is trained beside the levels: the level whose losses it has, but for so many bits per byte."""
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = build(tmp_path_factory.mktemp("diagnosed") / "out", levels=("none", 3, 9), pages=60, held_out_pages=60, domains=3)
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    about = {name: results[0].get(name) for name in ("tokens_trained", "config_hash")}
    for name, (of, more) in BESIDE.items():
        for replicate in (0, 1):
            source = out / "runs" / of / TRAINED / str(replicate)
            folder = out / "runs" / name / TRAINED / str(replicate)
            folder.mkdir(parents=True)
            rows = pq.read_table(source / "evaluation.parquet")
            nll = rows["nll"].to_numpy() + more * math.log(2) * rows["bytes"].to_numpy()
            pq.write_table(
                rows.set_column(rows.column_names.index("nll"), "nll", pa.array(nll)), folder / "evaluation.parquet"
            )
            (folder / "summary.json").write_text((source / "summary.json").read_text())
            results.append(
                {"subset": name, "replicate": replicate, "set": "held_out", "domain": "macro", "value": 1.0} | about
            )
    sweep = json.loads((out / "subsets" / "sweep.json").read_text())
    for name in [name for name in BESIDE if not name.startswith("permuted")]:
        facts = json.loads((out / "subsets" / f"{BESIDE[name][0]}.json").read_text())
        facts |= {"name": name, "control": name.split("-")[0], "strength": None}
        facts |= {"between": [NONE, NINE]} if facts["control"] == "band" else {}
        (out / "subsets" / f"{name}.json").write_text(json.dumps(facts))
        sweep["subsets"].append(name)
    (out / "subsets" / "sweep.json").write_text(json.dumps(sweep))
    write_exposures(out)
    results += [row | about for row in more_results()]
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
    return out


def more_results():
    """On the pages of level 9, models of 9 are best by .03, on others worse by .01 times their strength; and late steps."""
    for replicate in (0, 1):
        for at, name in enumerate(("unfiltered", NONE, THREE, NINE)):
            one = {"subset": name, "replicate": replicate}
            for level in (NONE, THREE, NINE):
                value = 3 + (-0.03 if name == level == NINE else 0.01 * at) + (0.001 * replicate if name == THREE else 0)
                yield one | {"set": f"kept by {level}", "domain": "macro", "metric": "bits_per_byte", "value": value, "n": 9}
            for step, value in ((120, 0.04), (130, 0.02), (140, 0.03)):
                found = {"set": "late", "domain": "macro", "metric": "bits_per_byte", "step": step}
                yield one | found | {"value": 3.0 + value * (name == NINE) * (-1) ** replicate}
            for metric, value in (("type_token_ratio", 0.02), ("compression", 2.5), ("bytes_read", 2_400_000)):
                yield one | {"set": "read", "domain": "all", "metric": metric, "value": value, "n": 1000}
            yield one | {"set": "least seen", "domain": HOSTILE, "metric": "share_of_tokens", "value": 0.25, "n": 5}


def write_exposures(out):
    """Entries that are read 0, 4, 64 times; level 9 never reads the second, and needs two bits more for it."""
    for name in ("unfiltered", NONE, THREE, NINE):
        for replicate in (0, 1):
            seen = [0, 0 if name == NINE else 4, 64]
            bits = [10 * 3, (7 if name == NINE else 5) * 20, 2 * 100]
            rows = [seen, [3, 20, 100], [one * math.log(2) for one in bits]]
            pq.write_table(
                pa.table(rows, schema=SCHEMA), out / "runs" / name / TRAINED / str(replicate) / "exposure.parquet"
            )


@pytest.fixture(scope="module")
def facts(out):
    found = collect(out, TRAINED, 128)
    told, missing = diagnosed(out, TRAINED, found)
    assert missing == []
    return replace(found, diagnosed=told)


@pytest.fixture(scope="module")
def tree(facts):
    return diagnostics(tell(facts))


def test_what_is_beside_the_levels_changes_nothing_of_the_verdict(facts, out, tmp_path):
    plain = build(tmp_path / "out", levels=("none", 3, 9), pages=60, held_out_pages=60, domains=3)
    with_them, without = tell(facts).held_out, tell(collect(plain, TRAINED, 128)).held_out
    assert with_them.verdict == without.verdict and with_them.rows == without.rows
    assert not {*with_them.compared} & {*BESIDE}
    assert facts.missing == collect(plain, TRAINED, 128).missing


def test_models_are_compared_within_the_pages_that_a_level_would_keep(tree):
    matrix = tree["matrix"]
    assert matrix["columns"] == [("none", "9"), ("3", "9"), ("9", "9")]
    base = [row["name"] for row in matrix["rows"]].index(matrix["base"])
    assert {cell["text"] for cell in matrix["rows"][base]["cells"]} == {"0"}
    last = matrix["rows"][-1]
    assert last["name"] == NINE and last["own"] == [False, False, True] and [cell["best"] for cell in last["cells"]][2]
    assert "models trained on unfiltered need the fewest bits, on what the hardest would keep" in matrix["sentence"]
    assert f"those trained on {NINE}. In 1 of 3 columns" in matrix["sentence"]


def test_the_ladder_is_told_step_by_step_from_the_level_it_stands_on(tree):
    ladder = tree["ladder"]
    assert ladder["of"] == NONE and [row["share"] for row in ladder["rows"]] == ["none", "30 %", "100 %"]
    assert [row["each"] for row in ladder["rows"][1:]] == ["+0.2000, +0.2000", "+0.5000, +0.5000"]
    assert ladder["rows"][2]["gap"].startswith("+0.5000 [")
    assert "rises at every step and in every replicate" in ladder["sentence"]
    assert "bits per byte, less than the first step costs." in ladder["sentence"]


def test_a_band_stands_beside_the_levels_that_it_lies_between(tree):
    [band] = tree["bands"]
    assert band["between"] == f"kept by {NONE}, dropped by {NINE}"
    assert band["harder"].startswith("−0.2500 [")
    assert band["sentence"] == f"band-removed, which {NINE} drops, is better to train on than what it keeps."


def test_a_second_scorer_stands_beside_the_levels_that_keep_as_much(tree):
    second = tree["second"]
    assert [(row["name"], row["near"], row["gap"][:7]) for row in second["rows"]] == [
        ("second-books-pareto-3", THREE, "+0.0000"),
        ("second-books-pareto-9", NINE, "+0.0100"),
    ]
    assert "From milder to harder the sweep changes by" in second["sentence"]


WORSE, BETTER, UNSURE = Interval(0.1, 0.05, 0.15), Interval(-0.1, -0.15, -0.05), Interval(0.02, -0.1, 0.14)


@pytest.mark.parametrize(
    ("first", "other", "across", "says"),
    [
        (WORSE, WORSE, UNSURE, "Too hard"),
        (WORSE, BETTER, UNSURE, "A bad proxy"),
        (WORSE, UNSURE, BETTER, "A bad proxy"),
        (WORSE, UNSURE, UNSURE, "It cannot be told"),
        (UNSURE, WORSE, WORSE, "Only the second scorer"),
        (BETTER, UNSURE, UNSURE, "Neither scorer"),
    ],
)
def test_a_bad_proxy_is_told_from_one_that_is_pushed_too_hard(first, other, across, says):
    assert outcome_of_second(first, other, across).startswith(says)


def test_losses_by_exposure_are_of_the_same_tokens_and_of_what_each_run_read(tree):
    exposure = tree["exposure"]
    assert exposure["bins"] == [("0", "3"), ("2–3", "20"), ("64–127", "100")]  # read 0, 3 and 64 times on average
    at = [row["name"] for row in exposure["same"]].index(NINE)
    assert [cell["text"] for cell in exposure["same"][at]["cells"]] == ["0", "+2.00", "0"]
    assert exposure["own"][0]["cells"] == ["10.00", "–", "2.00"]
    read = {row["name"]: row for row in exposure["read"]}
    assert (read[NINE]["never"], read[NINE]["few"]) == ("2", "19 %") and read[NINE]["bytes"] == "2.40 MB"
    assert (read[NONE]["never"], read[NONE]["few"]) == ("1", "19 %")
    assert exposure["sites"] == [(HOSTILE, "5", "25 %")]


def test_late_steps_have_differences_and_a_noise_of_their_own(tree):
    late = tree["late"]
    assert [step for step, _ in late["steps"]] == ["120", "130", "140", "146"]
    nine = next(row for row in late["rows"] if row["name"] == NINE)
    assert [cell["sure"] for cell in nine["cells"]][:3] == [False] * 3  # the replicates say the opposite of each other
    assert f"{NINE} minus {THREE}" in [pair["names"] for pair in late["pairs"]]


def test_signal_is_the_last_difference_and_noise_what_steps_move_it():
    signal, noise = signal_over_steps(np.array([[0.1, 0.3], [0.2, 0.2]]))
    assert signal == pytest.approx(0.25)
    assert noise == pytest.approx(math.sqrt((0.02 + 0.0) / 2))


def test_cells_are_shaded_by_size_and_say_where_replicates_do_not_agree():
    [[a, b], [c, nothing]] = cells([[[0.2, 0.4], [-0.1, 0.05]], [[-0.03, -0.01], []]], best=True)
    assert (a["text"], a["shade"], a["sure"], a["best"]) == ("+0.3000", "rgba(213,94,0,0.55)", True, False)
    assert (b["text"], b["sure"], b["best"]) == ("−0.0250", False, True)
    assert c["best"] and c["shade"].startswith("rgba(0,114,178,0.04") and nothing is None


def test_the_page_shows_all_of_it_and_strangers_words_as_text(facts):
    page, text = html(facts), markdown(facts)
    for title in (
        "Trained on one level",
        "A ladder that must rise",
        "Between two levels",
        "A bad proxy",
        "too little",
        "last steps",
    ):
        assert title in page and title in text
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_without_any_of_it_the_page_has_none_of_its_sections(tmp_path):
    plain = collect(build(tmp_path / "out", levels=("none", 3), pages=40, held_out_pages=40, domains=1), TRAINED, 128)
    tree = diagnostics(tell(plain))
    assert not any(tree.values())
    assert "Trained on one level" not in html(plain) and "last steps" not in markdown(plain)
