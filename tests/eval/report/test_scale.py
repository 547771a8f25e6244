"""What other sizes, budgets and rates say and cost, and that no best share leaves the page for a larger one."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from eval.report.appendix import appendix
from eval.report.cost import cost
from eval.report.facts import Cell, Facts, Run, Scores, Size, Subset
from eval.report.page import html, markdown
from eval.report.scale import REFUSAL, scale
from eval.report.standing import standings
from eval.report.story import tell

KEPT = {"unfiltered": 100, "pareto-1": 60, "pareto-3": 30, "pareto-9": 10}
SIZES = {"0.2m": 200_000, "1m": 1_000_000}


def subsets():
    return tuple(
        Subset(
            name,
            "unfiltered" if not at else None,
            None,
            {"rules.q.pareto": at},
            at,
            Size(100, 100),
            Size(kept, kept),
            (),
            {},
            "ok",
            "",
        )
        for at, (name, kept) in enumerate(KEPT.items())
    )


def cell(effects, model="0.2m", tokens=300_000, rate=0.01, first_rate=True, noise=0.005):
    """Pages differ by much, subsets by their effects in bits per byte, runs by little."""
    rng, names = np.random.default_rng(round(1e6 * rate) + tokens + SIZES[model]), list(effects)
    bits = (
        rng.normal(3, 0.4, 40) + rng.normal(0, noise, (len(names), 3, 1)) + np.array(list(effects.values()))[:, None, None]
    )
    pages = np.arange(40)
    scores = Scores(tuple(names), (0, 1, 2), bits * np.log(2) * 500, np.full(40, 500), pages, np.zeros(40, int))
    told = {"parameters": SIZES[model], "tokens": tokens, "seconds": 2.0, "device": "cpu"}
    runs = tuple(Run(name, at, "finished", facts=told) for name in names for at in range(3))
    return Cell(model, tokens, rate, first_rate, runs, scores)


def facts(*cells):
    return Facts("made up", subsets(), held_out=cells[0].scores, runs=cells[0].runs, cells=cells)


def told(*cells):
    return scale(tell(facts(*cells)))


HURTS = dict(zip(KEPT, (0.0, -0.1, 0.05, 0.2), strict=True))
HELPS = dict(zip(KEPT, (0.0, -0.1, -0.2, -0.3), strict=True))
FLAT = dict.fromkeys(KEPT, 0.0)


def test_one_cell_has_no_scale():
    assert told(cell(HURTS)) is None


@pytest.fixture(scope="module")
def two():
    return told(cell(HELPS), cell(HURTS, "1m"))


def test_each_cell_has_its_best_share_and_the_sign_of_hardest_minus_best(two):
    small, large = two["rows"]
    assert (small["best"], small["share"], small["gap"]) == ("pareto-9", "10 %", "the hardest is the best")
    assert (large["best"], large["share"], large["sign"]) == ("pareto-1", "60 %", "worse")
    assert large["gap"].startswith("+0.3") or large["gap"].startswith("+0.2")
    assert small["flops"] == "3.6e+11"  # 6 x 200,000 x 300,000


def test_a_best_share_that_moves_where_both_cells_tell_the_two_levels_apart_moves_beyond_chance(two):
    [says] = two["moves"]
    assert "From 0.2m on 300k tokens to 1m on 300k tokens the best share grows from 10 % to 60 %, beyond chance" in says
    [by_chance] = told(cell(FLAT, noise=0.02), cell(HURTS, "1m"))["moves"]
    assert "which may be chance" in by_chance or "stays at" in by_chance


def test_decision_accuracy_counts_pairs_and_how_many_of_them_are_decided(two):
    [row] = two["decisions"]
    assert (row["pairs"], row["alike"], row["accuracy"]) == ("3", "0", "0 %")
    assert (row["decided"], row["right"]) == ("3", "0")
    [row] = told(cell(HURTS), cell(HURTS, tokens=600_000))["decisions"]
    assert (row["accuracy"], row["right"], row["to"]) == ("100 %", "3", "0.2m on 600k tokens")


@pytest.mark.parametrize(
    ("again", "says"),
    [
        (HURTS, "holds at every rate"),
        (FLAT, "beyond chance at 1 of 2 rates"),
        (HURTS | {"pareto-9": -0.4}, "the rates contradict"),
    ],
)
def test_a_claim_is_held_against_another_learning_rate(again, says):
    some = {name: again[name] for name in ("unfiltered", "pareto-1", "pareto-9")}
    found = told(cell(HURTS), cell(some, rate=0.005, first_rate=False))
    claims = {claim["what"]: claim for claim in found["claims"]}
    assert claims["pareto-9 minus pareto-1"]["says"].startswith(says)
    assert [rate for rate, _ in claims["pareto-9 minus pareto-1"]["each"]] == ["0.01", "0.005"]
    assert set(claims) == {"pareto-9 minus pareto-1", "pareto-1 minus unfiltered", "pareto-9 minus unfiltered"}
    assert found["moves"] == [] and found["decisions"] == [] and len(found["rates"]) == 1
    assert f"pareto-9 minus pareto-1, {claims['pareto-9 minus pareto-1']['says']}" in found["judged"]


def test_no_best_share_leaves_the_page_for_a_larger_model_and_the_page_says_why():
    made = facts(cell(HELPS), cell(HURTS, "1m"))
    page, text = html(made), markdown(made)
    assert REFUSAL in page and "best share grows with compute" in text and "## Scale" in text
    assert "1 other cell of the grid: under Scale" in page
    assert "at one learning rate" in page


def test_a_cell_without_measured_runs_is_left_out():
    empty = Cell("1m", 300_000, 0.01, True)
    assert len(told(cell(HURTS), cell(HURTS, tokens=600_000), empty)["rows"]) == 2


def test_the_cost_is_that_of_every_run_by_the_formula_that_is_told():
    found = cost(tell(facts(cell(HURTS), cell(HURTS, "1m"))))
    small, large = found["rows"]
    assert (small["runs"], small["tokens"], small["seconds"]) == ("12", "3.60M", "24.0 s")
    assert float(small["flops"]) == pytest.approx(6 * 200_000 * 12 * 300_000, rel=0.05)
    assert float(large["flops"]) == pytest.approx(5 * float(small["flops"]), rel=0.05)
    assert (found["total"]["runs"], found["total"]["seconds"]) == ("24", "48.0 s")


def test_half_the_resolution_takes_four_times_the_replicates_and_sites():
    story = tell(facts(cell(HURTS)))
    found, resolution = cost(story), story.held_out.verdict.resolution
    assert f"To see differences of {resolution / 2:.4f} bits per byte in place of {resolution:.4f}" in found["price"]
    assert "12 replicates, and held-out pages of 160 clusters" in found["price"] and "14.4M tokens" in found["price"]
    assert cost(tell(Facts("nothing"))) is None


def test_the_appendix_has_a_row_for_every_subset_in_every_cell_and_no_word_on_what_to_take():
    some = {name: HURTS[name] for name in ("unfiltered", "pareto-1", "pareto-9")}
    made = facts(cell(HURTS), cell(some, rate=0.005, first_rate=False))
    rows = list(csv.DictReader(appendix(made).splitlines()))
    assert [(row["learning_rate"], row["subset"]) for row in rows] == [("0.01", name) for name in KEPT] + [
        ("0.005", name) for name in some
    ]
    [hardest] = [row for row in rows if row["subset"] == "pareto-9" and row["learning_rate"] == "0.01"]
    standing = tell(made).held_out.by_name["pareto-9"]
    assert float(hardest["bits_per_byte"]) == standing.level.value
    assert float(hardest["minus_best_low"]) == standing.difference.low
    assert hardest["share_kept"] == "0.1" and float(hardest["operations"]) == 6 * 200_000 * 3 * 300_000


def test_the_hardest_level_is_set_beside_as_much_random_text_and_how_often_it_was_read():
    """A hard filter that reads its few pages nine times is judged by what random pages do that are read as often."""
    again = [
        replace(
            one, runs=tuple(replace(run, facts={**run.facts, "epochs": times * (1 + run.replicate)}) for run in one.runs)
        )
        for one, times in ((cell(HURTS | {"random": 0.05}), 0.1), (cell(HURTS | {"random": 0.05}, tokens=900_000), 4.5))
    ]
    random = replace(subsets()[-1], name="random", control="random", of="pareto-9")
    found = scale(tell(replace(facts(*again), subsets=(*subsets(), random))))
    few, many = found["rows"]
    assert (few["times"], many["times"]) == ("0.2", "9") and "Up to 4 readings" in found["repeated"]
    assert all(0.13 < float(row["over_random"].split()[0]) < 0.17 for row in (few, many))
    once = scale(tell(replace(facts(again[0], cell(HURTS, tokens=600_000)), subsets=subsets())))
    assert once["repeated"] == "" and [row["over_random"] for row in once["rows"]] == ["–", "–"]
    assert once["rows"][1]["times"] == "–"


def test_a_control_that_repeats_its_few_pages_is_no_placebo():
    """Twelve times the same pages are no chance: intervals do not widen by what repetition does to a random control."""
    names = ("none", "random-1", "random-2", "random-9", "pareto-9")
    asked = [
        Subset(name, "random" if "random" in name else None, None, {"q": name}, at, Size(9, 9), Size(9, 9), (), {}, "ok", "")
        for at, name in enumerate(names)
    ]
    asked[0] = replace(asked[0], levels={"q": "none"})
    rng = np.random.default_rng(0)
    bits = rng.normal(3, 0.4, 40) + rng.normal(0, 0.01, (5, 3, 1)) + np.array([0, 0, 0, 2.0, 2.1])[:, None, None]
    plain = Scores(names, (0, 1, 2), bits * np.log(2) * 500, np.full(40, 500), np.arange(40), np.zeros(40, int))
    repeating = replace(plain, repeated=frozenset({"random-9", "pareto-9"}))
    taken, left = (standings(scores, asked, ordered=True) for scores in (plain, repeating))
    assert taken.placebo.subsets == names[:4] and taken.placebo.widest > 1.9
    assert left.placebo.subsets == names[:3] and left.placebo.widest < 0.05
    wide, narrow = (found.difference("random-1", "none").half_width for found in (taken, left))
    assert narrow < 0.05 and wide > 10 * narrow
