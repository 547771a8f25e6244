"""What the page says first, and that every part of it speaks of the sweep that was run."""

import dataclasses
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from eval.report.curves import main_panels
from eval.report.facts import Drop, Facts, Size, Subset
from eval.report.figures import Grid
from eval.report.page import figure_svg, html, markdown, page, terminal_table
from eval.report.story import tell
from eval.report.wording import byte_size
from jobs.parts.gathered import collect

made_up = runpy.run_path(str(Path(__file__).parents[1] / "made_up_out.py"))
build, TRAINED = made_up["build"], made_up["TRAINED"]
SMALL = {"pages": 60, "held_out_pages": 60, "domains": 3}
DIFFERENCE = re.compile(r"[+−][\d.]+ \[[+−][\d.]+, [+−][\d.]+\]")


def gather(out):
    return collect(out, TRAINED, 128)


@pytest.fixture(scope="module")
def one_key(tmp_path_factory):
    return gather(build(tmp_path_factory.mktemp("one") / "out", **SMALL))


@pytest.fixture(scope="module")
def two_keys(tmp_path_factory):
    return gather(build(tmp_path_factory.mktemp("two") / "out", levels=("none", 1, 9), second=(40, 80), **SMALL))


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return gather(build(tmp_path_factory.mktemp("bare") / "out", controls=False, **SMALL))


def moved(facts, subset, bits):
    """The facts with every page of one subset costing so many bits per byte more."""
    scores = facts.held_out
    nll = scores.nll.copy()
    nll[scores.subsets.index(subset)] += bits * np.log(2) * scores.bytes
    return dataclasses.replace(facts, held_out=dataclasses.replace(scores, nll=nll))


def headline(facts):
    return page(tell(facts))["claim"]


def test_a_level_that_beats_unfiltered_is_recommended_and_over_filtering_named(one_key):
    facts = moved(one_key, "quality-pareto-9", 0.5)
    assert headline(facts) == "Use quality-pareto-3: over-filtering has begun by quality-pareto-9"
    assert re.search("<h1>Use quality-pareto-3", html(facts)) and "**Use quality-pareto-3" in markdown(facts)


@pytest.mark.parametrize("sweep", ["one_key", "two_keys"])
def test_where_unfiltered_is_best_no_word_is_said_of_over_filtering(sweep, request):
    facts = moved(request.getfixturevalue(sweep), "unfiltered", -0.5)
    assert headline(facts) == "No filter beat unfiltered"
    for text in (html(facts), markdown(facts), figure_svg(facts), terminal_table(facts)):
        assert not re.search("over-filter", text, re.IGNORECASE)


def test_a_hardest_level_that_is_best_is_recommended_as_such(one_key):
    facts = moved(one_key, "quality-pareto-9", -0.5)
    assert headline(facts) == "Use quality-pareto-9, the hardest level tried"
    assert not re.search("over-filter", html(facts), re.IGNORECASE)


def test_where_only_the_rules_of_all_levels_helped_no_word_is_said_of_over_filtering(one_key):
    facts = one_key
    for level in (
        "none",
        1,
        3,
        9,
    ):  # chance draws from the pages that pass the rules of all levels, so it is as good as they
        facts = moved(facts, f"random-quality-pareto-{level}", -0.5)
    facts = moved(facts, "quality-pareto-none", -0.5)
    assert headline(facts) == "Use quality-pareto-none: no swept filter beat it"
    assert not re.search("over-filter", html(facts), re.IGNORECASE)


def test_levels_that_differ_by_nothing_are_not_ranked(bare):
    scores = bare.held_out
    same = np.broadcast_to(scores.nll.mean(axis=(0, 1)), scores.nll.shape)
    noise = np.random.default_rng(0).normal(0, 0.02, scores.nll.shape) * scores.bytes
    facts = dataclasses.replace(bare, held_out=dataclasses.replace(scores, nll=same + noise))
    assert headline(facts) == "Cannot tell: no filter beat quality-pareto-none beyond chance"
    named = [dataclasses.replace(level, levels={"rules.quality.pareto": 1 + level.strength}) for level in facts.levels]
    assert headline(dataclasses.replace(facts, subsets=tuple(named))) == "Cannot tell which level is best"


def test_one_replicate_is_told_to_train_a_second(one_key):
    scores = dataclasses.replace(one_key.held_out, replicates=(0,), nll=one_key.held_out.nll[:, :1])
    facts = dataclasses.replace(one_key, held_out=scores, runs=tuple(run for run in one_key.runs if run.replicate == 0))
    assert headline(facts) == "Train a second replicate before you choose"
    alone = dataclasses.replace(one_key.held_out, cluster=np.zeros_like(one_key.held_out.cluster))
    assert headline(dataclasses.replace(one_key, held_out=alone)) == "Hold out pages of more sites before you choose"


def test_a_grid_is_a_heat_map_with_every_value_and_no_line(two_keys):
    panels = main_panels(tell(two_keys))
    grid = panels[0]
    assert isinstance(grid, Grid) and (grid.rows, grid.columns) == (("none", "1", "9"), ("40", "80"))
    assert not any(line.joined for panel in panels[1:] for line in panel.lines)
    values = {row.subset: row.level.value for row in tell(two_keys).held_out.rows}
    for level, value in zip(two_keys.levels, np.ravel(grid.values), strict=True):
        assert value == values[level.name]
        assert f">{value:.3f}<" in html(two_keys)
    assert two_keys.levels[grid.best[0] * 2 + grid.best[1]].name == tell(two_keys).held_out.best


def test_a_grid_is_told_without_an_order(two_keys):
    text = html(two_keys) + markdown(two_keys)
    assert re.search("<h1>Use quality-pareto-", text)
    assert not re.search("over-filter|hardest|two-lines|filter gets harder|next milder", text, re.IGNORECASE)
    assert "Domain by domain" in text and "is the best level on" in text


def test_three_keys_have_no_grid_and_still_render(two_keys):
    levels = [
        dataclasses.replace(one, levels={**one.levels, "rules.word_count.min": at}) if one.control is None else one
        for at, one in enumerate(two_keys.subsets)
    ]
    facts = dataclasses.replace(two_keys, subsets=tuple(levels))
    assert not any(isinstance(panel, Grid) for panel in main_panels(tell(facts)))
    assert "<h1>Use quality-pareto-" in html(facts)


@pytest.mark.parametrize("sweep", ["one_key", "two_keys", "bare"])
def test_one_difference_has_one_interval(sweep, request):
    story = tell(request.getfixturevalue(sweep))
    told = page(story)
    in_table = {row["difference"] for row in told["levels"]} - {""}
    quoted = DIFFERENCE.findall(told["grounds"])
    assert quoted and set(quoted) <= in_table
    if told["gap"] and (held_out := DIFFERENCE.findall(told["gap"]["sentence"])):
        assert held_out[0] in in_table
    widths = {round(row.difference.half_width, 9) for row in story.held_out.rows if row.difference}
    curves = [panel for panel in main_panels(story) if not isinstance(panel, Grid)]
    bars = {
        round(point.high - point.value, 9) for panel in curves for line in panel.lines for point in line.points if point.high
    }
    assert bars and bars <= widths


def test_captions_speak_only_of_what_was_trained(bare, one_key):
    assert not re.search("random|inverted|unfiltered", html(bare) + markdown(bare), re.IGNORECASE)
    only_random = tuple(subset for subset in one_key.subsets if subset.control in (None, "random"))
    drawn = page(tell(dataclasses.replace(one_key, subsets=only_random)))["drawn"]
    assert drawn == "Models trained on each level and on as much random text."


def test_bits_per_byte_come_right_after_the_name_of_the_level(one_key):
    head = re.search(r'<table class="levels">\s*<thead><tr>(.*?)</tr>', html(one_key), re.DOTALL)[1]
    assert re.findall(r">([^<]+)</th>", head)[:2] == ["level", "bits per byte"]
    assert "| level | bits per byte | minus the best level |" in markdown(one_key)


def test_tokens_are_a_column_only_where_they_were_counted(one_key):
    def uncounted(size):
        return dataclasses.replace(size, tokens=None)

    subsets = [dataclasses.replace(one, kept=uncounted(one.kept), pool=uncounted(one.pool)) for one in one_key.subsets]
    without = dataclasses.replace(one_key, subsets=tuple(subsets))
    assert '<th class="n">tokens</th>' in html(one_key) and "| tokens |" in markdown(one_key)
    assert '<th class="n">tokens</th>' not in html(without) and "| tokens |" not in markdown(without)


def test_a_rule_is_shown_as_asked_and_as_resolved(one_key):
    for text in (html(one_key), markdown(one_key)):
        assert "stop_word_count: keep the best 30 % of bytes within language" in text
        assert "that is" in text and "eng ≥ 0.713, deu ≥ 0.651 and jpn ≥ 2" in text
        assert "mean_word_length ≥ 3 and ≤ 10" in text and "mean_word_length min 3" not in text.split("Rule sets")[0]


def test_the_rule_that_most_pages_fail_is_named_as_it_was_asked():
    drop = Drop("quality min 0.713", Size(6), Size(6), Size(6), signal="quality")
    asked = {"quality": {"keep_fraction": 0.4}}
    subset = Subset("rules", None, None, {}, 0, Size(10, 1000), Size(4, 400), (drop,), {}, "ok", "", asked, {"quality": {}})
    told = page(tell(Facts("made up", subsets=(subset,), trains=False)))
    assert told["claim"] == "4 of 10 pages are kept"
    assert told["grounds"] == (
        "That is 400 B of 1.00 kB of text. "
        "Most pages fail quality: keep the best 40 % of pages (6, of which 6 fail no other rule)."
    )


def test_a_single_level_is_compared_with_its_controls_all_the_same(tmp_path):
    rows = tell(gather(build(tmp_path / "out", levels=(3,), **SMALL))).held_out.by_name
    assert rows["quality-pareto-3"].difference is None
    assert rows["unfiltered"].difference.positive and rows["random-quality-pareto-3"].difference is not None


def test_a_pool_of_the_very_pages_that_decide_is_not_told_again(one_key):
    assert tell(one_key).pool is None and "before any rule" not in html(one_key)
    fewer = dataclasses.replace(one_key.pool, nll=one_key.pool.nll * 1.01)
    assert "before any rule" in html(dataclasses.replace(one_key, pool=fewer))


def test_the_primary_hypothesis_is_named_and_all_else_adjusted(one_key, two_keys):
    facts = moved(moved(one_key, "quality-pareto-9", 0.5), "unfiltered", 0.5)
    said = " ".join(page(tell(facts))["tests"])
    assert "Primary hypothesis (the default): quality-pareto-9 minus quality-pareto-3, +" in said
    named = dataclasses.replace(facts, primary=("none", "quality-pareto-3"))
    said = " ".join(page(tell(named))["tests"])
    assert "(named in the experiment file): quality-pareto-3 minus quality-pareto-none, " in said
    assert "is about another one: take it as a lead" in said
    # 4 levels have 6 pairs, of which one is the primary; it is looked at on two other sets of pages
    assert re.search(r"Of 5 other pairs of levels \d differ.* These 7 p values are adjusted", said)
    said = " ".join(page(tell(two_keys))["tests"])
    assert re.search(r"\(the default\): quality-pareto-\S+ minus unfiltered, ", said)
    unmeasured = dataclasses.replace(facts, primary=("best", "quality-pareto-5"))
    assert "one of its subsets has no complete runs" in " ".join(page(tell(unmeasured))["tests"])


def test_what_is_not_shown_is_told_with_the_runs_own_numbers(one_key):
    said = page(tell(one_key))["threats"]
    pages, parts = len(one_key.held_out.bytes), np.unique(one_key.held_out.stratum)
    assert any(f"Judged by {pages:,} held-out pages" in sentence for sentence in said)
    assert any("A run reads 95 pages at quality-pareto-9, the fewest" in sentence for sentence in said)
    assert any("read some of the same pages, at quality-pareto-9" in sentence for sentence in said)
    assert all(sentence in html(one_key) for sentence in said)
    assert any("parts decides" in sentence for sentence in said) == (len(parts) > 1)
    unmeasured = dataclasses.replace(one_key, held_out=None)
    assert page(tell(unmeasured))["threats"] == []


def test_parts_that_are_averaged_are_named_with_their_clusters(one_key):
    scores = one_key.held_out
    halves = np.where(np.arange(len(scores.bytes)) % 2, "left", "right")
    facts = dataclasses.replace(one_key, held_out=dataclasses.replace(scores, stratum=halves))
    count, clusters = (halves == "left").sum(), len(np.unique(scores.cluster[halves == "left"]))
    [said] = [sentence for sentence in page(tell(facts))["threats"] if "parts decides" in sentence]
    assert said.startswith(f"The mean of 2 parts decides, each with the same weight: left ({count:,} pages, {clusters:,} cl")


def test_a_level_that_lost_a_run_is_among_what_is_not_shown(one_key):
    scores = one_key.held_out
    nll = scores.nll.copy()
    nll[scores.subsets.index("quality-pareto-9"), 0] = np.nan
    facts = dataclasses.replace(one_key, held_out=dataclasses.replace(scores, nll=nll))
    assert "Without complete runs, and so in none of this: quality-pareto-9." in page(tell(facts))["threats"]


def test_every_replicate_is_a_dot_and_the_bar_stands_on_their_mean(one_key):
    [line] = [line for line in main_panels(tell(one_key))[0].lines if line.role == "level"]
    for point in line.points:
        if point.low is not None:
            assert np.mean(point.each) == pytest.approx(point.value)
            assert len(point.each) == len(one_key.held_out.replicates)


def test_what_a_run_reads_stands_beside_what_its_level_keeps(one_key):
    row = next(row for row in page(tell(one_key))["levels"] if row["name"] == "quality-pareto-9")
    assert (row["pages_read"], row["slices_read"], row["epochs"]) == ("95", "2,400", "1")
    level = next(level for level in one_key.levels if level.name == "quality-pareto-9")
    if level.kept.tokens:
        assert row["bytes_read"] == byte_size(round(300_001 * level.kept.bytes / level.kept.tokens))
    assert ">slices read<" in html(one_key) and "| slices read |" in markdown(one_key)
