"""What is measured beside bits per byte, on four pages that can be counted by hand."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from eval.evaluation import VARIETY
from eval.exposure import SCHEMA
from jobs.parts.diagnostics import by_exposure, least_seen, matrix, passing

BIT = math.log(2)
ROWS = pa.table(
    {
        "id": ["a", "b", "c", "d", "good"],
        "set": ["held_out"] * 4 + ["reference"],
        "passes": [True, True, True, False, True],
        "stratum": ["wiki", "wiki", "mail", "mail", "all"],
        "bytes": [10, 30, 20, 50, 9],
        "nll": [10 * BIT, 60 * BIT, 60 * BIT, 5000.0, 7000.0],
    }
)


def test_a_run_is_measured_on_the_pages_that_each_level_would_keep():
    flags = {"all": [True] * 4, "no b": [True, False, True, True], "mail": [False, False, True, True], "none": [False] * 4}
    rows = list(matrix(ROWS, pa.table({"id": ["a", "b", "c", "d"], **flags})))
    found = {(row["set"], row["domain"]): (pytest.approx(row["value"]), row["n"], row["bytes"]) for row in rows}
    assert found == {
        ("kept by all", "all"): (130 / 60, 3, 60),
        ("kept by all", "macro"): ((70 / 40 + 3) / 2, 3, 60),
        ("kept by no b", "all"): (70 / 30, 2, 30),
        ("kept by no b", "macro"): ((1 + 3) / 2, 2, 30),
        ("kept by mail", "all"): (3.0, 1, 20),
        ("kept by mail", "macro"): (3.0, 1, 20),
    }


def test_verdicts_of_other_pages_are_refused():
    with pytest.raises(ValueError, match="other pages than the verdicts are of"):
        list(matrix(ROWS, pa.table({"id": ["a", "b", "d", "c"], "all": [True] * 4})))


def test_a_page_is_kept_by_a_level_if_it_passes_all_of_its_rules_and_by_one_without_rules():
    verdicts = pa.table({"rule x": [True, True, False], "rule y": [True, False, True]})
    assert passing(verdicts, ["rule x", "rule y"]).tolist() == [True, False, False]
    assert passing(verdicts, []).tolist() == [True] * 3


def exposed(seen, held_out, nats):
    told = json.dumps({"tokens": 40, "types": 4, "bytes": 90, "compression": 2.5})
    return pa.table([seen, held_out, nats], schema=SCHEMA).replace_schema_metadata({VARIETY: told.encode()})


def test_losses_are_told_by_how_often_the_run_read_an_entry():
    rows = list(by_exposure(exposed([0, 3, 1, 2, 0, 34], [2, 1, 0, 3, 0, 10], [8 * BIT, BIT, 0.0, 7 * BIT, 0.0, 5 * BIT])))
    bins = {row["domain"]: (row["value"] and pytest.approx(row["value"]), row["n"], row["entries"]) for row in rows[:-3]}
    assert bins == {
        "0": (4.0, 2, 2),
        "1": (None, 0, 1),
        "2-3": (2.0, 4, 2),
        "4-7": (None, 0, 0),
        "8-15": (None, 0, 0),
        "16-31": (None, 0, 0),
        "32-63": (0.5, 10, 1),
    }
    assert {row["metric"]: row["value"] for row in rows[-3:]} == {
        "type_token_ratio": 0.1,
        "compression": 2.5,
        "bytes_read": 90,
    }


def test_the_least_seen_entries_are_told_by_the_sites_that_hold_most_of_them():
    pages = pa.table(
        {"site": ["x", "y", None, "x"], "tokens": pa.array([[0, 1, 1], [1, 1], [0], [0, 0]], pa.list_(pa.uint32()))}
    )
    found = least_seen(exposed([7, 8], [4, 4], [1.0, 1.0]), pages)
    assert [(row["domain"], row["n"], row["value"]) for row in found] == [("x", 3, 0.6), ("no domain", 1, 1.0)]
    assert not list(least_seen(exposed([8, 8], [4, 4], [1.0, 1.0]), pages))
    assert np.isfinite([row["value"] for row in found]).all()
