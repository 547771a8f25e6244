"""Sweeping, without Spark: every table against counting by hand over the same pages, and the alarms."""

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from filters import quantiles, slicing
from filters.files import sha256_of
from filters.quantiles import RANKS
from filters.rules import Pool, Ranking, RuleError
from filters.slicing import Frequent, divergences, shown
from filters.survey import overlaps
from jobs import choose, sweep
from jobs.parts import loop, redo
from jobs.parts.experiment_file import Experiment
from jobs.parts.pool import cuts_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.sweep_tables import repetition

made_up = runpy.run_path(str(Path(__file__).with_name("made_up_crawl.py")))
NUMBERS, ROWS, crawl, finish, write = (made_up[name] for name in ("NUMBERS", "ROWS", "crawl", "finish", "write"))

RULES = {"word_count": {"min": 20}, "language": {"in": ["eng"]}}
SWEEP = {"rules.quality.keep_fraction": ["none", 0.5, 0.1], "rules.sample": ["none", 0.5]}
HARDEST = "quality-keep_fraction-0.1_sample-0.5"


@pytest.fixture(scope="module", autouse=True)
def in_one_process():
    """Passes over parts run here, one after the other, in an order of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep.session, "session", lambda name: None)
        patch.setattr(
            sweep.passes,
            "merged",
            lambda spark, stage, parts, function, merge: merge([function(part) for part in reversed(parts)]),
        )
        patch.setattr(
            loop, "_all", lambda spark, stage, missing, tables, work: [loop.write_part(one, tables, work) for one in missing]
        )
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The tables of one sweep beside the verdicts that choosing gives."""
    folder = tmp_path_factory.mktemp("sweep")
    experiment = crawl(folder, rules=RULES, sweep=SWEEP)
    assert sweep.main(experiment) == 0
    assert choose.main(experiment) == 0
    return folder


def rows(out, name):
    return pq.read_table(out / "sweep" / f"{name}.parquet").to_pylist()


def both(out, name):
    return pa.concat_tables([pq.read_table(out / name / f"shard-{at}.parquet") for at in range(2)])


@pytest.fixture(scope="module")
def pages(out):
    """Columns of all pages that may be chosen."""
    tables = ("pages", "signals/numbers", "signals/size", "split", "verdicts")
    parts = {name: both(out, name) for name in tables}
    free = ~(np.array(parts["verdicts"]["held_out"]) | np.array(parts["verdicts"]["copy_of_held_out"]))
    return {column: np.array(table[column].to_pylist())[free] for table in parts.values() for column in table.column_names}


def test_levels_have_the_sizes_that_choosing_gives_them(out):
    for row in rows(out, "levels"):
        told = json.loads((out / "subsets" / f"{row['level']}.json").read_text())
        assert {name: row[name] for name in ("pages", "bytes", "tokens")} == told["kept"]
        assert row["share_of_bytes"] == told["kept"]["bytes"] / told["in"]["bytes"]
    assert rows(out, "levels")[0]["level"] == "unfiltered"
    assert len(rows(out, "levels")) == 7


def test_what_rules_drop_is_what_choosing_tells(out):
    found = [row for row in rows(out, "rules") if row["level"] == HARDEST]
    told = json.loads((out / "subsets" / f"{HARDEST}.json").read_text())["dropped"]
    for row, drop in zip(found, told, strict=True):
        assert (row["rule"], row["alone_pages"], row["in_order_bytes"]) == (
            drop["rule"],
            drop["alone"]["pages"],
            drop["in_order"]["bytes"],
        )


def test_what_comes_back_without_a_rule_is_what_it_drops_uniquely(out, pages):
    kept = pages[f"subset {HARDEST}"]
    without = (pages["language"] == "eng") & (pages["word_count"] >= 20) & pages["rule sample 0.5"]
    [row] = [row for row in rows(out, "rules") if row["level"] == HARDEST and row["signal"] == "quality"]
    assert row["uniquely_pages"] == without.sum() - kept.sum() > 0


def test_overlaps_are_those_of_the_sets(out, pages):
    found = rows(out, "overlap")
    assert len(found) == 7 * 6 // 2
    for row in found:
        one, other = (pages[f"subset {row[name]}"] for name in ("level", "other"))
        assert row["pages_in_both"] == (one & other).sum()
        assert row["share_of_other_in_level"] == (one & other).sum() / other.sum()
        assert row["jaccard"] == (one & other).sum() / (one | other).sum()


def test_slices_add_up_to_the_levels_and_are_counted_right(out, pages):
    found = rows(out, "slices")
    sizes = {row["level"]: row for row in rows(out, "levels")}
    for by in ("domain", "tld", "language", "text_bytes", "quality", "word_count"):
        for level, row in sizes.items():
            some = [one for one in found if (one["by"], one["level"]) == (by, level)]
            assert sum(one["pages"] for one in some) == row["pages"]
            assert sum(one["bytes"] for one in some) == row["bytes"]
    [row] = [one for one in found if (one["slice"], one["level"]) == ("site-7.org", HARDEST)]
    here = pages["domain"] == "site-7.org"
    assert (row["pages"], row["pool_pages"]) == ((here & pages[f"subset {HARDEST}"]).sum(), here.sum())
    null = [one for one in found if (one["by"], one["slice"], one["level"]) == ("quality", "(null)", "unfiltered")]
    assert null[0]["pages"] == sum(value is None for value in pages["quality"])


def test_tenths_hold_a_tenth_of_the_pages_each(out):
    tenths = [one for one in rows(out, "slices") if (one["by"], one["level"]) == ("quality", "unfiltered")][:10]
    assert [one["slice"] for one in tenths] == [f"{at:02}" for at in range(1, 11)]
    assert np.ptp([one["pages"] for one in tenths]) <= 1


def test_a_level_that_keeps_one_language_is_as_far_from_the_pool_as_that_says(out, pages):
    [row] = [one for one in rows(out, "divergence") if (one["by"], one["level"]) == ("language", HARDEST)]
    share = (pages["language"] == "eng").mean()
    assert row["kl_bits"] == pytest.approx(-math.log2(share))
    [whole] = [one for one in rows(out, "divergence") if (one["by"], one["level"]) == ("language", "unfiltered")]
    assert (whole["kl_bits"], whole["js_bits"]) == (0, 0)


def test_the_csv_says_the_same(out):
    for name in ("levels", "slices", "overlap", "alarms"):
        assert csv.read_csv(out / "sweep" / f"{name}.csv").num_rows == len(rows(out, name))


def test_breadth_is_what_counting_niches_by_hand_gives_beside_a_flat_cut_of_equal_size(tmp_path):
    niches = ["language", {"tenths": "word_count"}]
    quota = {"within": niches, "keep_fraction": 0.2, "floor": 0.1, "ceiling": 0.4}
    cuts = [{"rules.quality.quota": quota}, {"rules.quality.keep_fraction": 0.2}, {"rules.sample": 0.5}]
    experiment = crawl(tmp_path, rules={"word_count": {"min": 10}}, sweep={"list": cuts})
    assert sweep.main(experiment) == choose.main(experiment) == 0
    found = {row["level"]: row for row in rows(tmp_path, "breadth")}
    told = {name: json.loads((tmp_path / "subsets" / f"{name}.json").read_text())["breadth"] for name in found}
    assert {name: [row] for name, row in found.items()} == told

    numbers, verdicts = both(tmp_path, "signals/numbers"), both(tmp_path, "verdicts")
    free = ~(np.array(verdicts["held_out"]) | np.array(verdicts["copy_of_held_out"]))
    words, quality, language = (
        np.array(numbers[name].to_pylist(), dtype)[free]
        for name, dtype in (("word_count", int), ("quality", float), ("language", str))
    )
    tenth = np.searchsorted([np.sort(words)[math.ceil(len(words) * at / 10 - 1e-9) - 1] for at in range(1, 10)], words)
    niche = np.array([f"{one} {at}" for one, at in zip(language, tenth, strict=True)])
    rank = np.array([np.mean(quality[~np.isnan(quality)] < one) for one in quality])

    def measured(kept):
        of = [kept & (niche == one) for one in set(niche[kept])]
        share = np.array([one.sum() / kept.sum() for one in of])
        scores = [rank[one & ~np.isnan(quality)].mean() for one in of]
        effective = pytest.approx(np.exp(-(share * np.log(share)).sum()))
        return [len(of), effective, pytest.approx(sum(scores), abs=0.01 * len(of))]

    for name, row in found.items():
        kept = np.array(verdicts[f"subset {name}"])[free]
        assert [row[one] for one in ("covered", "effective", "qd_score")] == measured(kept)
        assert row["all_niches"] == 30  # tenths of English, German and of neither
        beside = [row[one] for one in ("flat_covered", "flat_effective", "flat_qd_score")]
        if name in ("unfiltered", "sample-0.5"):
            assert beside == [None] * 3
        else:
            best = np.argsort(np.where((words >= 10) & ~np.isnan(quality), -quality, np.inf))[: kept.sum()]
            assert beside == measured(np.isin(np.arange(len(words)), best))
    by_quota, by_share = next(row for name, row in found.items() if "quota" in name), found["quality-keep_fraction-0.2"]
    assert (by_quota["covered"], by_quota["niches"]) == (30, "language × tenths of word_count")
    assert by_quota["effective"] > by_quota["flat_effective"]
    assert by_share["effective"] == by_share["flat_effective"]


def test_too_many_niches_are_refused_even_where_there_is_one_part(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_GROUPS", 2)
    columns = {"score": pa.array([1.0, 2.0, 3.0]), "topic": pa.array(["a", "b", None])}
    pool = Pool(["1", "2", "3"], columns, {"pages": np.ones(3, np.int64)})
    part = SimpleNamespace(of=lambda _: SimpleNamespace(chosen_from=lambda: pool))
    ranking = Ranking("score", within=("topic",))
    with pytest.raises(RuleError, match=r"score within topic is ranked within 3 groups, at most 2 are served"):
        cuts_of({ranking: RANKS}, lambda one, pool: one.column(pool), part, lambda function, merge: function(None))


def test_a_second_run_reads_no_page_and_another_sweep_is_another_table(out, monkeypatch, capsys):
    experiment = crawl_again(out)
    monkeypatch.setattr(sweep, "_count", lambda *_: pytest.fail("counted again"))
    assert sweep.main(experiment) == 0
    assert HARDEST in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="counted again"):
        sweep.main(experiment.model_copy(update={"seed": 1}))


def crawl_again(out, **changes):
    asked = {"pages": {"from": ["none"]}, "out": out, "write": {"subsets": []}, "rules": RULES, "sweep": SWEEP}
    return Experiment.model_validate({**asked, "evaluate": {"held_out": {"by": "page", "share": 0.1}}, **changes})


def test_a_dry_run_names_the_levels_and_needs_no_page(tmp_path, capsys):
    assert sweep.main(crawl_again(tmp_path), True) == 0
    assert "sweep: 7 levels: unfiltered, quality-keep_fraction-none_sample-none" in capsys.readouterr().out


def test_alarms_name_what_looks_wrong(tmp_path):
    rules = {
        "word_count": {"min": 0},
        "language": {"in": ["fra"]},
        "quality": {"keep_fraction": 0.3},
        "any_of": [{"word_count": {"min": 150}}, {"quality": {"min": 0.9}}],
    }
    crawl(tmp_path, rules=rules)
    identity = {at: sha256_of(tmp_path / "pages" / f"shard-{at}.parquet") for at in range(2)}
    for at in range(2):
        (tmp_path / "signals" / "numbers" / f"shard-{at}.parquet").unlink()
        ids = [f"page-{at}-{row}" for row in range(ROWS)]
        halves = [0.25 if row % 2 else 0.75 for row in range(ROWS)]
        columns = [ids, pa.nulls(ROWS, pa.int64()), halves, ["eng"] * ROWS]
        write(tmp_path, "signals/numbers", at, pa.table(columns, schema=NUMBERS), identity[at])
    finish(tmp_path, "signals/numbers")
    assert sweep.main(crawl_again(tmp_path, rules=rules, sweep={})) == 0
    sentences = [row["sentence"] for row in rows(tmp_path, "alarms")]
    assert "word_count is null on every page" in sentences
    assert "language is 'eng' on every page" in sentences
    assert "language in fra removes every page" in sentences
    [share] = [one for one in sentences if one.startswith("quality asks")]
    assert "asks for 30.0% of the pages and keeps 49" in share


def test_a_domain_that_loses_nearly_all_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.parts.sweep_tables.DOMAIN_PAGES", 10)
    rules = {"domain": {"not_in": ["site-3.org"]}}
    crawl(tmp_path)
    assert sweep.main(crawl_again(tmp_path, rules=rules, sweep={})) == 0
    [told] = [row["sentence"] for row in rows(tmp_path, "alarms") if row["alarm"] == "domain"]
    assert told.startswith("domain site-3.org (") and "loses over 95% at 1 of 2 levels, rules among them" in told


def test_nearness_to_a_target_is_a_mean_by_bytes(tmp_path):
    crawl(tmp_path)
    schema = pa.schema([("id", pa.string()), ("importance_books", pa.float64())])
    values = np.random.default_rng(0).normal(size=(2, ROWS))
    for at in range(2):
        columns = [[f"page-{at}-{row}" for row in range(ROWS)], values[at]]
        identity = sha256_of(tmp_path / "pages" / f"shard-{at}.parquet")
        write(tmp_path, "signals/books", at, pa.table(columns, schema=schema), identity)
    finish(tmp_path, "signals/books")
    books = {"books": {"importance": {"target": ["books.jsonl"]}}}
    asked = crawl_again(tmp_path, rules={"importance_books": {"keep_fraction": 0.5}}, sweep={}, classifiers=books)
    assert sweep.main(asked) == 0 and choose.main(asked) == 0
    [row] = [row for row in rows(tmp_path, "targets") if row["level"] == "rules"]
    verdicts = both(tmp_path, "verdicts")
    sizes = both(tmp_path, "signals/size")["text_bytes"].to_numpy()
    means = [
        np.average(values.ravel(), weights=sizes * verdicts[f"subset {name}"].to_numpy()) for name in ("rules", "unfiltered")
    ]
    assert row["mean_nats"] == pytest.approx(means[0], abs=1e-5)
    assert row["closer_by_nats"] == pytest.approx(means[0] - means[1], abs=1e-5)


def experiment_of(**changes):
    return Experiment.model_validate({"pages": {"from": ["none"]}, **changes})


def test_epochs_here_and_there_and_the_share_that_makes_them_the_same():
    trained = experiment_of(train={"tokens": 1000}, budget={"tokens": 10**12, "pool": 10**13})
    found = repetition(trained, read=2000, pool=20_000)
    assert found["epochs"] == 0.5
    assert found["target_epochs"] == 1.0
    assert found["sample_to_match"] == 0.5  # of 2,000 tokens, 1,000 are gone over once
    assert repetition(experiment_of(budget={"tokens": 3000}), 2000, 20_000)["epochs"] == 1.5
    assert set(repetition(experiment_of(), None, None).values()) == {None}


NAMES = st.lists(st.sampled_from([f"site-{at}" for at in range(30)]), max_size=60)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=6), st.integers(1, 12), st.randoms())
def test_no_frequent_name_is_lost_in_any_order_of_the_parts(parts, most, shuffled):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slicing, "MOST_CANDIDATES", most)
        shuffled.shuffle(parts)
        some = [Frequent.of(pa.array(names, pa.string())) for names in parts]
        while len(some) > 1:
            some = [some[0] + some[1], *some[2:]] if shuffled.random() < 0.5 else [*some[:-2], some[-2] + some[-1]]
        every = [name for names in parts for name in names]
        exact = {name: every.count(name) for name in some[0].pages}
        assert len(exact) <= most
        assert all(exact[name] - some[0].missed <= pages <= exact[name] for name, pages in some[0].pages.items())
        large = {name for name in set(every) if every.count(name) * most > len(every)}
        assert large <= set(shown(exact, some[0].missed, len(every))) if some[0].missed else set(every) == set(exact)


@given(st.integers(0, 40), st.integers(1, 70), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_pages_that_two_levels_keep_are_counted_exactly(pages, levels, seed):
    kept = (np.random.default_rng(seed).random((pages, levels)) < 0.5).astype(np.uint8)
    assert (overlaps(kept) == kept.T.astype(np.int64) @ kept).all()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8))
def test_divergences_are_none_of_the_same_and_bounded(counts):
    pool = np.array([kept + other for kept, other in counts])
    kept = np.array([kept for kept, _ in counts])
    kl, js = divergences(kept, pool)
    if kept.sum():
        assert kl >= 0 and 0 <= js <= 1
        assert divergences(kept, 3 * kept) == (0, 0)
    else:
        assert math.isnan(kl) and math.isnan(js)


def test_a_sweep_of_too_many_levels_is_refused_before_any_page(tmp_path):
    many = {"rules.word_count.min": list(range(1000)), "rules.quality.min": [0.1, 0.2]}
    with pytest.raises(RuleError, match="2,000 levels are asked for, at most 1,000"):
        sweep.main(crawl_again(tmp_path, sweep=many))


def test_an_experiment_is_told_that_it_does_not_sweep():
    with pytest.raises(ExperimentError, match=r"jobs.experiment would not make again what sweep made: .* to jobs.sweep$"):
        redo.check("sweep", "experiment")
    redo.check("sweep", "sweep")
