"""What the page says of tasks is made of the answers alone."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.report.facts import Facts, Size, Subset
from eval.report.page import html, markdown
from eval.report.story import tell
from eval.report.task_scores import TaskScores, read_tasks
from eval.report.tasks import tasks
from eval.tasks.items import ITEMS

TRAINED = "tiny-64-0.01"
KEPT = {"unfiltered": 100, "quality-pareto-1": 40, "quality-pareto-9": 10, "random-quality-pareto-9": 10}
CONTROLS = {"unfiltered": "unfiltered", "random-quality-pareto-9": "random"}


def subsets():
    return tuple(
        Subset(
            name,
            CONTROLS.get(name),
            None,
            {"rules.quality.pareto": at},
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


def scores(name="blimp", role="tasks", effect=(0.0, -0.2, 0.3, 0.0), right=0.5, seed=0, templates=1, **other):
    """Items that differ much, replicates that differ little, and what a subset adds to every item."""
    rng, shape = np.random.default_rng(seed), (templates, len(KEPT), 3, 30)
    bits = rng.normal(4, 1, 30) + rng.normal(0, 0.01, shape) + np.array(effect)[None, :, None, None]
    told = {"counts_by": "bits_per_byte", "chance": 0.5, "file": f"{name}.jsonl", "sha256": "ab" * 32, "contaminated": {}}
    told |= {"templates": tuple("abc"[:templates]), "subsets": tuple(KEPT), "replicates": (0, 1, 2), "skipped": {}, "cut": 0}
    items = tuple(f"line {at}" for at in range(30))
    correct = (rng.random(shape) < right).astype(float)
    return TaskScores(name=name, role=role, items=items, bits=bits, correct=correct, **told | other)


def told(*some):
    return tasks(tell(Facts("made up", subsets(), tasks=some)))


def test_a_task_is_compared_item_by_item_with_the_unfiltered_pool():
    [group] = told(scores())["groups"]
    [row] = group["rows"]
    value, low, high = (float(one.strip("[],")) for one in row["hardest"].split())
    assert value == pytest.approx(0.3, abs=0.01) and row["worse"] and row["best"] == "quality-pareto-1"
    assert 0 < high - low < 0.03  # items differ by 1 bit and more, and every level is asked the same ones


def test_a_task_counts_where_levels_differ_by_more_than_runs():
    found = told(scores("clear"), scores("noise", effect=(0, 0, 0, 0), seed=1))
    clear, noise = found["groups"][0]["rows"]
    assert clear["counts"] and not noise["counts"]
    assert found["worth"].startswith("clear tells levels apart") and "1 other does not" in found["worth"]
    assert told(scores(effect=(0, 0, 0, 0), seed=1))["worth"].startswith("No task tells levels apart")


def test_the_spread_between_ways_to_ask_is_noise():
    bits = scores(templates=2).bits.copy()
    bits[1, 1:3] -= np.array([-0.5, 0.5])[:, None, None]  # asked otherwise, the levels stand the other way round
    spread = dataclasses.replace(scores(templates=2), bits=bits)
    one, other = (told(each)["groups"][0]["rows"][0] for each in (scores(templates=2), spread))
    assert float(other["templates"]) > 0.1 > float(one["templates"]) and one["counts"] and not other["counts"]


def test_what_is_at_chance_at_every_level_is_said_to_be():
    found = told(scores("implicatures"), scores("blimp", right=0.9))
    assert found["at_chance"].startswith("At chance at this size, at every level: implicatures (50 %).")
    assert told(scores("lambada", chance=0.0, right=0.0))["at_chance"] == ""
    assert "boolq" in told(scores("boolq", right=0.1))["at_chance"]  # one word throughout is no skill either


def test_a_task_that_counts_by_accuracy_counts_only_above_chance():
    correct = scores().correct * 0.0
    correct[:, 1, :, :10] = 1.0  # levels differ, and all of them are worse than who guesses
    below = dataclasses.replace(scores(counts_by="accuracy"), correct=correct)
    above = dataclasses.replace(below, correct=1.0 - correct)
    assert [told(one)["groups"][0]["rows"][0]["counts"] for one in (below, above)] == [False, True]


def test_tasks_that_decide_stand_apart_and_are_not_ranked():
    found = told(scores(), scores("arc_easy", "verdict_tasks"))
    assert [group["title"] for group in found["groups"]] == ["Tasks to look at", "Tasks that decide"]
    assert "arc_easy" not in found["worth"]


def test_the_share_of_pages_with_text_of_a_benchmark_stands_by_its_hash():
    [looked, not_looked] = told(scores(contaminated={"unfiltered": 0.25}), scores("copa"))["files"]
    assert looked["held"] == ["25 %", "–", "–", "–"] and looked["sha256"] == "ab" * 7 + "a…"
    assert not_looked["held"] == []


def test_one_level_and_one_replicate_are_drawn_and_say_that_nothing_is_known():
    alone = scores()
    alone = dataclasses.replace(
        alone, subsets=("unfiltered",), replicates=(0,), bits=alone.bits[:, :1, :1], correct=alone.correct[:, :1, :1]
    )
    found = told(alone)
    assert found["worth"].startswith("It takes two levels and two replicates")
    assert found["groups"][0]["rows"][0]["hardest"] == ""


def test_the_page_has_the_section_in_both_forms_and_what_others_wrote_stays_text():
    facts = Facts(
        "made up",
        subsets(),
        tasks=(scores("<script>x</script>", contaminated={"unfiltered": 0.1}), scores("lambada", "verdict_tasks")),
    )
    page, text = html(facts), markdown(facts)
    assert "<h2>Tasks</h2>" in page and "## Tasks" in text and "<script>x" not in page
    assert page.count("bits per byte</text>") == 2 and "Tasks that decide" in text


@pytest.fixture
def out(tmp_path):
    """Tables of items as jobs.evaluate leaves them, and their rows of results."""
    rows = []
    for at, subset in enumerate(("unfiltered", "quality-pareto-1")):
        for replicate in (0, 1):
            write(tmp_path, subset, replicate, [4.0 + at, 5.0 + at, None])
            about = {"subset": subset, "replicate": replicate, "trained": TRAINED, "task": "piqa", "set": "tasks"}
            rows += [about | {"metric": metric, "counts_by": "bits_per_byte", "chance": 0.5} for metric in ("accuracy", "x")]
    return tmp_path, rows


def place(folder, subset, trained, replicate, task):
    return folder / f"{subset}-{trained}-{replicate}-{task}.parquet"


def write(folder, subset, replicate, bits):
    rows = [
        {
            "template": template,
            "item": f"line {at}",
            "bits_per_byte": value,
            "correct": at == 0,
            "correct_normalised": at == 0,
        }
        | ({"skipped": "too long"} if value is None else {"cut": at})
        for template in ("harness", "bare")
        for at, value in enumerate(bits)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=ITEMS), place(folder, subset, TRAINED, replicate, "piqa"))


def read(out):
    folder, rows = out
    missing: list[str] = []
    return read_tasks(lambda *which: place(folder, *which), rows, missing), missing


def test_answers_are_read_back_from_the_tables_of_items(out):
    [found], missing = read(out)
    assert found.templates == ("harness", "bare") and found.items == ("line 0", "line 1") and missing == []
    assert found.bits.shape == (2, 2, 2, 2) and found.bits[:, 1, 0].tolist() == [[5.0, 6.0]] * 2
    assert found.correct[0, 0, 0].tolist() == [1.0, 0.0]
    assert found.skipped == {"too long": 2} and found.cut == 2


def test_a_run_that_was_asked_something_else_or_whose_answers_are_gone_is_left_out_in_a_sentence(out):
    folder, _ = out
    write(folder, "quality-pareto-1", 1, [4.0, None, None])
    [found], missing = read(out)
    assert found.subsets == ("unfiltered",)
    assert missing[0] == "quality-pareto-1, replicate 1, was asked other items of piqa and is left out there"
    place(folder, "quality-pareto-1", TRAINED, 1, "piqa").write_bytes(b"cut short")
    [found], missing = read(out)
    assert found.subsets == ("unfiltered",) and "cannot be read" in missing[0]


def test_tasks_that_were_not_asked_are_listed_with_their_reason(tmp_path):
    made_up = runpy.run_path(str(Path(__file__).parents[1] / "made_up_out.py"))
    from jobs.parts.gathered import collect

    out = made_up["build"](tmp_path / "out", levels=("none", 1), pages=20, held_out_pages=8, controls=False)
    (out / "results").mkdir()
    (out / "results" / "tasks.json").write_text(
        '{"copa": {"role": "tasks", "missing": "there is no file bench/copa.jsonl.gz"}}'
    )
    assert (
        "1 task was not asked: copa, there is no file bench/copa.jsonl.gz" in collect(out, made_up["TRAINED"], 128).missing
    )
