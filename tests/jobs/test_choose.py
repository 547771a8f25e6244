"""Choosing, without Spark: what a subset keeps against brute force, controls of equal size, and rules without an order."""

import itertools
import json
import runpy
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from filters.draws import draw, id_hashes
from filters.files import sha256_of
from filters.rules import RuleError
from filters.transforms import TRANSFORMS
from jobs import choose, evaluate, train
from jobs.parts import grid, loop
from jobs.parts.experiment_file import Experiment
from jobs.parts.gathered import collect
from jobs.parts.presets import compared_sets, levels_of, preset_rules, rules_of
from jobs.parts.refusals import ExperimentError, InvariantBroken

made_up = runpy.run_path(str(Path(__file__).with_name("made_up_crawl.py")))
ROWS, crawl, finish, write = (made_up[name] for name in ("ROWS", "crawl", "finish", "write"))


def chosen(experiment):
    """All columns of the crawl with verdicts, and what each subset keeps."""
    assert choose.main(experiment) == 0
    tables = ("signals/numbers", "signals/size", "split", "verdicts")
    parts = [pq.read_table(experiment.out / name / f"shard-{at}.parquet") for name in tables for at in range(2)]
    both = [pa.concat_tables(parts[at : at + 2]) for at in range(0, len(parts), 2)]
    columns = {name: table[name].to_numpy(zero_copy_only=False) for table in both for name in table.column_names}
    kept = {name.removeprefix("subset "): column.astype(bool) for name, column in columns.items() if "subset " in name}
    return columns, kept


def told(experiment, name):
    return json.loads((experiment.out / "subsets" / f"{name}.json").read_text())


@pytest.fixture(autouse=True)
def in_one_process(monkeypatch):
    """Passes over parts and tasks run here, one after the other."""
    monkeypatch.setattr(choose.session, "session", lambda name: None)
    monkeypatch.setattr(
        choose.passes, "merged", lambda spark, stage, parts, function, merge: merge([function(part) for part in parts])
    )
    monkeypatch.setattr(
        loop, "_all", lambda spark, stage, missing, tables, work: [loop.write_part(part, tables, work) for part in missing]
    )


SWEEP = {"rules.quality.pareto": ["none", 1, 9]}
RULES = {"word_count": {"min": 50}, "language": {"in": ["eng"]}}


def test_a_subset_keeps_what_passes_every_rule_and_is_not_held_out(tmp_path):
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP))
    passes = (columns["word_count"] >= 50) & (columns["language"] == "eng")
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    assert (kept["quality-pareto-none"] == passes & free).all()


def test_harder_levels_are_within_milder_ones(tmp_path):
    _, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP))
    mild, middle, hard = (kept[f"quality-pareto-{level}"] for level in ("none", "1", "9"))
    assert (middle <= mild).all()
    assert (hard <= middle).all()
    assert 0 < hard.sum() < middle.sum() < mild.sum()


def test_unfiltered_is_every_page_that_may_be_chosen(tmp_path):
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP))
    assert (kept["unfiltered"] == ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)).all()


def test_copies_of_held_out_pages_are_never_chosen(tmp_path):
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP))
    held_out = set(columns["text_hash"][columns["held_out"].astype(bool)])
    assert columns["copy_of_held_out"].any()
    for mask in kept.values():
        assert not set(columns["text_hash"][mask]) & held_out


@pytest.mark.parametrize("control", ["random", "inverted"])
def test_a_control_has_its_levels_size_and_other_rules(tmp_path, control):
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP, controls={control: "all"}))
    sizes = columns["text_bytes"]
    for level in ("1", "9"):
        of, one = kept[f"quality-pareto-{level}"], kept[f"{control}-quality-pareto-{level}"]
        assert 0 <= sizes[of].sum() - sizes[one].sum() <= sizes.max()
        assert (one <= kept["quality-pareto-none"]).all()
    assert f"{control}-quality-pareto-none" not in kept


def test_a_control_says_what_it_keeps(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP, controls={"random": "hardest", "inverted": "all"})
    columns, kept = chosen(experiment)
    assert [name for name in kept if "random" in name] == ["random-quality-pareto-9"]
    for name, mask in kept.items():
        size = told(experiment, name)["kept"]
        assert (size["pages"], size["bytes"]) == (mask.sum(), columns["text_bytes"][mask].sum())


def test_inverted_keeps_worse_pages_than_chance_and_the_level_better_ones(tmp_path):
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP, controls={"random": "all", "inverted": "all"}))
    means = [np.nanmean(columns["quality"][kept[f"{kind}quality-pareto-9"]]) for kind in ("inverted-", "random-", "")]
    assert means[0] < means[1] < means[2]


def test_inverted_over_two_keys_takes_pages_that_are_bad_by_both(tmp_path):
    sweep = {"rules.quality.min": [0.6], "rules.word_count.min": [100]}
    columns, kept = chosen(crawl(tmp_path, sweep=sweep, controls={"random": "all", "inverted": "all"}))
    inverted = next(mask for name, mask in kept.items() if name.startswith("inverted"))
    chance = next(mask for name, mask in kept.items() if name.startswith("random"))
    for signal in ("quality", "word_count"):
        assert np.nanmean(columns[signal][inverted]) < 0.8 * np.nanmean(columns[signal][chance])


def test_attribution_does_not_depend_on_the_order_of_the_rules(tmp_path):
    first = crawl(tmp_path / "one", rules=RULES)
    turned = crawl(tmp_path / "two", rules=dict(reversed(RULES.items())))
    facts = []
    for experiment in (first, turned):
        chosen(experiment)
        facts.append(told(experiment, "rules"))
    by_rule = [{row["rule"]: (row["alone"], row["uniquely"]) for row in one["dropped"]} for one in facts]
    assert by_rule[0] == by_rule[1]
    for one in facts:
        dropped = one["in"]["pages"] - one["kept"]["pages"]
        assert sum(row["in_order"]["pages"] for row in one["dropped"]) == dropped


def sizes_of(columns, rows):
    return {"tokens": None, "pages": int(rows.sum()), "bytes": int(columns["text_bytes"][rows].sum())}


def test_what_each_rule_drops_alone_uniquely_and_in_order_is_counted_in_pages_and_bytes(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP, controls={"random": "all"})
    columns, kept = chosen(experiment)
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    for level in ("none", "9"):
        facts = told(experiment, f"quality-pareto-{level}")
        names = ["word_count min 50", "language in eng", *(["quality pareto 9"] if level == "9" else [])]
        fails = np.stack([~columns[f"rule {name}"].astype(bool) & free for name in names])
        assert [row["rule"] for row in facts["dropped"]] == names
        assert [row["signal"] for row in facts["dropped"]] == [name.split()[0] for name in names]
        for at, row in enumerate(facts["dropped"]):
            assert row["alone"] == sizes_of(columns, fails[at])
            assert (
                row["uniquely"] == sizes_of(columns, fails[at] & (fails.sum(axis=0) == 1)) and row["uniquely"]["pages"] > 9
            )
            assert row["in_order"] == sizes_of(columns, fails[at] & ~fails[:at].any(axis=0))
        assert facts["in"] == sizes_of(columns, free)
        assert facts["kept"] == facts["read"] == sizes_of(columns, kept[f"quality-pareto-{level}"])
        out = {"pages": int(columns["held_out"].sum()), "copies_dropped": int(columns["copy_of_held_out"].sum())}
        assert {name: facts["held_out"][name] for name in out} == out
        spoken = np.array([str(language) for language in columns["language"]])
        by_language = {name: dict(Counter(spoken[fails[at]].tolist())) for at, name in enumerate(names)}
        assert facts["dropped_by_language"] == by_language
    control = told(experiment, "random-quality-pareto-9")
    assert (control["dropped"], control["dropped_by_language"], control["of"]) == ([], {}, "quality-pareto-9")
    assert control["kept"] == control["read"] == sizes_of(columns, kept["random-quality-pareto-9"])


def test_the_languages_that_a_rule_drops_most_of_are_told_the_most_first(tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "SHOWN_NAMES", 1)
    experiment = crawl(tmp_path, rules={"language": {"in": ["eng"]}, "word_count": {"min": 100}})
    columns, _ = chosen(experiment)
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    by_language = Counter(columns["language"][free & (columns["language"] != "eng")])
    [most] = by_language.most_common(1)
    found = told(experiment, "rules")["dropped_by_language"]
    assert list(found["language in eng"].items()) == [(str(most[0]), most[1])] and len(found["word_count min 100"]) == 1
    sweep = json.loads((tmp_path / "subsets" / "sweep.json").read_text())
    assert sweep["languages"] == {name: (free & (columns["language"] == name)).sum() for name in ("deu", "eng")}
    assert (sweep["sweep"], sweep["subsets"]) == ({}, ["unfiltered", "rules"])


def test_a_run_says_what_each_subset_keeps_and_a_dry_one_only_their_names(tmp_path, capsys):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP)
    assert choose.main(experiment, True) == 0 and not (tmp_path / "subsets").exists()
    names = ["unfiltered", *(f"quality-pareto-{level}" for level in ("none", 1, 9))]
    assert capsys.readouterr().out.splitlines() == [f"choose: {name}" for name in names]
    assert choose.main(experiment) == 0
    kept = {name: told(experiment, name)["kept"] for name in names}
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        f"choose: {name} {kept[name]['pages']:,} pages {kept[name]['bytes']:,} bytes ok".split() for name in names
    ]


def test_what_is_chosen_already_is_not_decided_again_unless_something_of_it_is_gone(tmp_path, monkeypatch):
    experiment, plain, decided = crawl(tmp_path, rules=RULES, sweep=SWEEP), choose._decide, []
    monkeypatch.setattr(choose, "_decide", lambda *asked: decided.append(asked) or plain(*asked))
    places = choose.Places(tmp_path)
    for _ in range(2):
        assert choose.main(experiment) == 0
        assert len(decided) == 1
    for gone in (places.sweep, places.subset_facts("quality-pareto-9"), places.verdicts / "shard-1.parquet"):
        content, before = gone.read_bytes(), len(decided)
        gone.unlink()
        assert choose.main(experiment) == 0
        assert len(decided) == before + 1 and gone.read_bytes() == content


def test_where_no_page_is_held_out_none_is_counted(tmp_path, monkeypatch):
    plain = choose.Columns.of

    def none_out(*asked, **more):
        one = plain(*asked, **more)
        return replace(one, held_out=one.held_out & False, copies=one.copies & False)

    monkeypatch.setattr(choose.Columns, "of", none_out)
    experiment = crawl(tmp_path)
    assert choose.main(experiment) == 0
    held_out = told(experiment, "unfiltered")["held_out"]
    assert (held_out["pages"], held_out["copies_dropped"]) == (0, 0)


def test_where_every_page_is_held_out_nothing_can_be_chosen(tmp_path, monkeypatch):
    experiment = crawl(tmp_path, rules=RULES)
    plain = choose.Columns.of
    monkeypatch.setattr(
        choose.Columns, "of", lambda *asked, **more: replace(one := plain(*asked, **more), held_out=one.held_out | True)
    )
    with pytest.raises(ExperimentError, match="has no pages that may be chosen: none was read, or all are held out"):
        choose.main(experiment)


def test_the_rules_that_only_controls_choose_among_are_in_no_verdict(tmp_path):
    rules = {"word_count": {"max": 150}, "language": {"in": ["eng"]}}
    experiment = crawl(tmp_path, rules=rules, sweep={"rules.word_count.min": [50, 80]}, controls={"random": "hardest"})
    columns, kept = chosen(experiment)
    names = pq.read_schema(tmp_path / "verdicts" / "shard-0.parquet").names
    assert names == [
        "id", "held_out", "copy_of_held_out", "rule word_count min 50 max 150", "rule language in eng",
        "rule word_count min 80 max 150", "subset unfiltered", "subset word_count-min-50", "subset word_count-min-80",
        "subset random-word_count-min-80",
    ]  # fmt: skip
    of, one = kept["word_count-min-80"], kept["random-word_count-min-80"]
    assert (one <= (columns["word_count"] <= 150) & (columns["language"] == "eng")).all() and (one & ~of).any()


def test_what_decides_a_subset_is_told_with_the_tables_that_it_used(tmp_path):
    experiment = crawl(
        tmp_path, sweep=SWEEP, controls={"random": "hardest"}, diagnostics={"bands": ["removed"]},
        train={"tokens": 100}, tokenizer={"vocabulary": 300},
    )  # fmt: skip
    chosen(experiment)
    with_quality = {"pages", "split", "numbers", "size"}
    for name, used in {"unfiltered": with_quality - {"numbers"}, "quality-pareto-9": with_quality}.items():
        config = told(experiment, name)["config"]
        assert set(config["tables"]) == used and config["seed"] == experiment.seed and "between" not in config
    assert set(told(experiment, "random-quality-pareto-9")["config"]["tables"]) == with_quality
    config = told(experiment, "band-removed")["config"]
    levels = {f"quality-pareto-{level}": {"quality": {"pareto": level}} for level in (1, 9)}
    assert config["between"] == {"quality-pareto-none": {}, **levels} and set(config["tables"]) == with_quality


def test_write_is_short_for_the_text_of_all_subsets(monkeypatch):
    asked = []
    monkeypatch.setattr(choose.command, "main", lambda main, doc, options: asked.append(options))
    monkeypatch.setattr(sys, "argv", ["choose.py", "conf.yaml", "--write", "--set", "seed=1"])
    monkeypatch.delitem(sys.modules, "jobs.choose")
    runpy.run_module("jobs.choose", run_name="__main__")
    assert asked == [["conf.yaml", "--set", "write.subsets=all", "--set", "seed=1"]]


@pytest.mark.parametrize(("form", "edits"), [("parquet", ["shout"]), ("jsonl.zst", []), ("jsonl.zst", ["shout"])])
def test_a_written_page_has_its_own_text_and_signals_whatever_row_group_it_is_from(tmp_path, monkeypatch, form, edits):
    monkeypatch.setitem(TRANSFORMS, "shout", lambda pages: pc.utf8_upper(pages.text))
    write = {"subsets": "all", "removed": True, "format": form, "signals": ["word_count", "language"], "transforms": edits}
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP, write=write))
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    place = {page: at for at, page in enumerate(columns["id"])}
    assert pq.ParquetFile(tmp_path / "pages" / "shard-0.parquet").num_row_groups == 3
    for folder, level in itertools.product(("subsets", "removed"), ("none", "9")):
        rows = written_rows(tmp_path / folder / f"quality-pareto-{level}", form)
        mask = kept[f"quality-pareto-{level}"]
        assert [row["id"] for row in rows] == columns["id"][mask if folder == "subsets" else free & ~mask].tolist()
        for row in rows:
            which, number = map(int, row["id"].split("-")[1:])
            text = f"words of page {number % 350} in part {which}"
            assert row["text"] == (text.upper() if edits else text)
            assert row["url"] == f"https://site-{number % 40}.org/{which}/{number}"
            language = columns["language"][place[row["id"]]]
            assert row["language"] == (language if form == "parquet" or language else "")
            assert row["word_count"] == columns["word_count"][place[row["id"]]]


@pytest.mark.parametrize("form", ["parquet", "jsonl.zst"])
def test_lines_that_are_cut_are_counted_for_every_subset_apart(tmp_path, monkeypatch, capsys, form):
    def cut(text, counts):
        counts.update(pages_cut=len(text), lines_dropped=2 * len(text), characters_dropped=9 * len(text), pages_spared=0)
        return text

    edits = SimpleNamespace(lines=object(), config=dict, of_part=lambda part: cut)
    monkeypatch.setattr(choose.Edits, "of", lambda experiment: edits)
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP, write={"subsets": "all", "format": form})
    _, kept = chosen(experiment)
    said = capsys.readouterr().out
    for level in ("none", "1", "9"):
        manifest = choose.Places(tmp_path).subset_books(f"quality-pareto-{level}") / "_manifest.json"
        pages = int(kept[f"quality-pareto-{level}"].sum())
        counts = {"pages_cut": pages, "lines_dropped": 2 * pages, "characters_dropped": 9 * pages, "pages_spared": 0}
        assert json.loads(manifest.read_text())["counts"] == counts
        assert f"choose: {f'quality-pareto-{level}':<34} {choose.told_of(counts)}" in said


def written_rows(folder, form):
    if form == "parquet":
        return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    files = [zstandard.decompress(file.read_bytes(), max_output_size=1 << 20) for file in sorted(folder.glob("*.zst"))]
    return [json.loads(line) for data in files for line in data.splitlines()]


def test_verdicts_hold_every_rule_and_subset_for_every_page(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP)
    assert choose.main(experiment) == 0
    rows = pa.concat_tables([pq.read_table(tmp_path / "verdicts" / f"shard-{at}.parquet") for at in range(2)])
    assert len(rows) == 2 * ROWS
    assert {"held_out", "copy_of_held_out", "rule word_count min 50", "subset quality-pareto-9"} <= set(rows.column_names)


def test_choosing_again_changes_nothing_and_another_level_is_added(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP)
    choose.main(experiment)
    before = told(experiment, "quality-pareto-9")
    choose.main(experiment.model_copy(update={"sweep": {"rules.quality.pareto": ["none", 1, 3, 9]}}))
    assert told(experiment, "quality-pareto-9")["kept"] == before["kept"]
    assert (tmp_path / "subsets" / "quality-pareto-3.json").is_file()


def test_other_rules_under_the_same_name_are_refused(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP)
    choose.main(experiment)
    with pytest.raises(ExperimentError, match=r"rules.word_count.min was 50 and is 60;.* add --redo choose"):
        choose.main(experiment.model_copy(update={"rules": {"word_count": {"min": 60}}}))


def test_an_empty_subset_is_named_and_the_others_go_on(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep={"rules.word_count.min": [50, 1000]})
    assert choose.main(experiment) == 0
    assert [told(experiment, f"word_count-min-{level}")["status"] for level in (50, 1000)] == ["ok", "empty"]
    assert told(experiment, "word_count-min-1000")["reason"] == "word_count min 1000 removes every page"


def test_a_subset_too_small_for_the_budget_is_named(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, train={"tokens": [10**3, 10**6]})
    sizes = [{"pages": 1, "bytes": 10, "tokens": tokens} for tokens in (5, 5000)]
    assert [choose._status(size, experiment, beside=False)[0] for size in sizes] == ["too small", "too small"]
    assert [choose._status(size, experiment, beside=True)[0] for size in sizes] == ["too small", "ok"]
    enough = {"pages": 1, "bytes": 10, "tokens": 10**6}
    assert choose._status(enough, experiment, beside=False) == ("ok", "")
    says = "it has 5 tokens, a run needs 1,000 different ones (train.regime: fresh)"
    assert choose._status(sizes[0], experiment, beside=True) == ("too small", says)
    round_and_round = crawl(tmp_path / "two", train={"tokens": [10**6], "regime": "fixed_pool"})
    for known in (round_and_round, crawl(tmp_path / "three")):
        assert choose._status(sizes[0], known, beside=False) == ("ok", "")
    assert choose._status(enough | {"tokens": None}, experiment, beside=False) == ("ok", "")
    assert choose._status(enough | {"pages": 0}, experiment, beside=False) == ("empty", "no page passes its rules")


def test_a_share_becomes_a_threshold_in_the_subset(tmp_path):
    experiment = crawl(tmp_path, rules={"quality": {"keep_fraction": 0.25}})
    columns, kept = chosen(experiment)
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    quality = columns["quality"][free]
    bound = told(experiment, "rules")["resolved"]["quality"]["min"]
    assert kept["rules"].sum() == told(experiment, "rules")["kept"]["pages"] == (quality >= bound).sum()
    measured = (~np.isnan(quality)).sum()
    assert (quality >= bound).sum() == -(-measured // 4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sweep": {"rules.quality.paretto": [1]}}, "did you mean 'pareto'"),
        ({"sweep": {"quality": [1]}}, "must be a key of the rules"),
        ({"sweep": {"rules.quality.pareto": [1, 1]}}, "a level twice"),
        ({"sweep": {"rules.quality.keep_fraction": [2]}}, "a share"),
        ({"presets": ["gophr"]}, "did you mean 'gopher"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused_before_any_table_is_read(changes, says):
    experiment = Experiment.model_validate({"pages": {"from": ["none"]}, "out": "nowhere", **changes})
    with pytest.raises((ExperimentError, RuleError), match=says):
        levels_of(experiment)


MANY = {"rules.quality.keep_fraction": [0.9, 0.7, 0.5, 0.3, 0.1]}
FEW = {"rules.quality.keep_fraction": [0.8, 0.5, 0.1]}


def test_only_the_levels_of_the_file_as_it_is_now_are_planned_and_told(tmp_path, capsys):
    experiment = crawl(tmp_path, sweep=MANY, train={}, tokenizer={})
    assert choose.main(experiment) == 0
    edited = experiment.model_copy(update={"sweep": FEW})
    assert train.main(edited, True) == 0
    assert "train: 8 runs; 0 done, 8 to run" in capsys.readouterr().out
    with pytest.raises(ExperimentError, match="lists other subsets than the experiment file asks for"):
        grid.chosen_subsets(edited)
    assert choose.main(edited) == 0
    names = ["unfiltered", *(f"quality-keep_fraction-{share}" for share in (0.8, 0.5, 0.1))]
    assert list(grid.chosen_subsets(edited)) == names
    facts = collect(tmp_path, "none", 0)
    assert [subset.name for subset in facts.subsets] == names
    aside = [sentence for sentence in facts.missing if "left aside" in sentence]
    assert aside == [
        "3 subsets of other sweeps in subsets/ are left aside: "
        "quality-keep_fraction-0.3, quality-keep_fraction-0.7, quality-keep_fraction-0.9"
    ]


def test_a_dry_run_counts_as_unevaluated_what_is_not_trained(tmp_path, capsys):
    experiment = crawl(tmp_path, sweep=FEW, train={"replicates": 1}, tokenizer={})
    (tmp_path / "packed").mkdir()
    pq.write_table(pa.table({"tokens": pa.array([[1]], pa.list_(pa.uint32()))}), tmp_path / "packed" / "evaluated.parquet")
    assert evaluate.main(experiment, True) == 0
    assert "evaluate: 4 runs; 0 done, 4 to evaluate" in capsys.readouterr().out


def test_all_subsets_are_written_but_the_copy_of_all_pages(tmp_path):
    for which, names in {"all": ["quality-pareto-1"], "none": [], "unfiltered": ["unfiltered"]}.items():
        experiment = crawl(
            tmp_path / which, rules=RULES, sweep={"rules.quality.pareto": [1]}, write={"subsets": which, "removed": True}
        )
        chosen(experiment)
        for folder in ("subsets", "removed"):
            found = [path.name for path in (tmp_path / which / folder).glob("*/") if path.name != "_books"]
            assert found == ([] if folder == "removed" and which == "unfiltered" else names)


def test_a_removed_page_has_every_rule_it_failed_and_no_held_out_page_is_among_them(tmp_path):
    write = {"subsets": "all", "removed": True, "format": "parquet", "signals": ["language"]}
    columns, kept = chosen(crawl(tmp_path, rules=RULES, sweep=SWEEP, controls={"random": "all"}, write=write))
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    assert {path.name for path in (tmp_path / "removed").glob("*/")} == {
        "_books",
        *(f"quality-pareto-{n}" for n in ("none", 1, 9)),
    }
    for level in ("none", "9"):
        rows = pq.read_table(tmp_path / "removed" / f"quality-pareto-{level}")
        assert rows.column_names == ["id", "url", "text", "language", "failed"]
        assert rows["id"].to_pylist() == columns["id"][free & ~kept[f"quality-pareto-{level}"]].tolist()
        places = [list(columns["id"]).index(page) for page in rows["id"].to_pylist()]
        for at, failed in zip(places, rows["failed"].to_pylist(), strict=True):
            rules = ["word_count min 50", "language in eng", *(["quality pareto 9"] if level == "9" else [])]
            assert failed == [rule for rule in rules if not columns[f"rule {rule}"][at]]


@given(st.integers(0, 5).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n))), st.just("abcde"))
def test_the_names_of_failed_rules_are_those_of_each_row(passes, rules):
    width = len(passes[0]) if passes else 0
    expected = [[rule for rule, passed in zip(rules, row, strict=False) if not passed] for row in passes]
    found = choose.names_of_failed(rules[:width], np.array(passes, bool).reshape(len(passes), width))
    assert found.to_pylist() == expected


def asked(**changes):
    return Experiment.model_validate({"pages": {"from": ["none"]}, **changes})


@pytest.mark.parametrize("presets", list(map(list, itertools.permutations(["gopher", "repetition", "fineweb"]))))
def test_the_order_of_presets_changes_no_rule(presets):
    rules = rules_of(asked(presets=presets))
    assert rules["duplicate_line_char_fraction"] == {"max": 0.01}
    assert rules == rules_of(asked(presets=["gopher", "repetition", "fineweb"]))
    sets = compared_sets(asked(compare={"one": presets, "other": presets[::-1]}))
    assert sets["one"] == sets["other"] == rules


def test_a_rule_of_the_file_holds_beside_a_presets_and_in_its_place_where_it_says_so():
    assert rules_of(asked(presets=["gopher"], rules={"word_count": {"min": 10}}))["word_count"]["min"] == 50
    replaced = rules_of(asked(presets=["gopher"], rules={"word_count": {"replace": True, "min": 10}}))
    assert replaced == preset_rules("gopher") | {"word_count": {"min": 10}}


def test_a_replace_that_is_no_flag_is_refused():
    with pytest.raises(RuleError, match=r"rules\.word_count\.replace must be true or false, got 'yes'"):
        rules_of(asked(rules={"word_count": {"replace": "yes", "min": 10}}))


def test_a_signal_that_no_table_has_is_named_with_the_nearest(tmp_path):
    experiment = crawl(tmp_path, rules={"qualty": {"min": 0.5}})
    with pytest.raises(ExperimentError, match="did you mean 'quality'"):
        chosen(experiment)


def test_a_sidecar_of_other_pages_is_refused(tmp_path):
    experiment = crawl(tmp_path, rules=RULES)
    file = tmp_path / "signals" / "size" / "shard-0.parquet"
    rows = pq.read_table(file)
    file.unlink()
    identity = sha256_of(tmp_path / "pages" / "shard-0.parquet")
    write(tmp_path, "signals/size", 0, rows.take(list(reversed(range(len(rows))))).replace_schema_metadata(None), identity)
    finish(tmp_path, "signals/size")
    with pytest.raises(InvariantBroken, match="other pages, or another order"):
        chosen(experiment)


def test_a_control_belongs_to_the_tokens_it_was_matched_by(tmp_path):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP, controls={"random": "hardest"})
    choose.main(experiment)
    counts = pa.schema([("id", pa.string()), ("token_count", pa.int64())])
    for at in range(2):
        rows = pa.table([[f"page-{at}-{row}" for row in range(ROWS)], [7] * ROWS], schema=counts)
        write(tmp_path, "signals/tokens", at, rows, sha256_of(tmp_path / "pages" / f"shard-{at}.parquet"))
    finish(tmp_path, "signals/tokens")
    with pytest.raises(ExperimentError, match="random-quality-pareto-9 was made by another configuration"):
        choose.main(experiment)


def test_a_level_that_repeats_pages_says_how_often_each_is_read_and_writes_it_so_often(tmp_path):
    sweep = {"rules.quality.upsample": ["none", {0.4: 0, 0.95: 7}]}
    experiment = crawl(tmp_path, rules=RULES, sweep=sweep, controls={"random": "all"}, write={"format": "parquet"})
    columns, _ = chosen(experiment)
    name = "quality-upsample-0.4-0-0.95-7"
    copies, plain = columns[f"subset {name}"], columns["subset quality-upsample-none"]
    assert (copies.dtype, plain.dtype) == (np.uint8, bool)
    assert copies.max() == 7 and (copies[~plain] == 0).all()
    facts = told(experiment, name)
    sizes = columns["text_bytes"]
    assert (facts["kept"]["pages"], facts["read"]["pages"]) == ((copies > 0).sum(), copies.sum())
    assert facts["read"]["bytes"] == (copies * sizes).sum()
    control = told(experiment, f"random-{name}")["kept"]["bytes"]
    assert 0 <= min(facts["read"]["bytes"], sizes[plain].sum()) - control <= sizes.max()
    ids = pq.read_table(tmp_path / "subsets" / name)["id"].to_pylist()
    assert ids == np.repeat(columns["id"], copies).tolist()


def test_a_temperature_is_resolved_over_all_parts(tmp_path):
    experiment = crawl(tmp_path, rules={"quality": {"temperature": {"keep_fraction": 0.25}}})
    columns, kept = chosen(experiment)
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    measured = (~np.isnan(columns["quality"][free])).sum()
    assert kept["rules"].sum() == -(-measured // 4)
    better = np.nanmean(columns["quality"][kept["rules"]]) - np.nanmean(columns["quality"][free])
    assert better > 0


def test_rules_that_the_file_extends_hold_with_its_own(tmp_path):
    (tmp_path / "base.yaml").write_text("rules: {word_count: {min: 20}, sample: 0.5}\n")
    rules = rules_of(asked(rules={"extends": str(tmp_path / "base.yaml"), "word_count": {"max": 90}}))
    assert rules == {"word_count": {"min": 20, "max": 90}, "sample": 0.5}


def test_a_share_may_stand_within_domains_which_no_signal_names(tmp_path):
    columns, kept = chosen(crawl(tmp_path, rules={"quality": {"keep_fraction": 0.5, "within": "domain"}}))
    free = ~(columns["held_out"] | columns["copy_of_held_out"]).astype(bool)
    domains = np.tile(np.arange(ROWS) % 40, 2)
    for domain in range(40):
        here = (domains == domain) & free & ~np.isnan(columns["quality"])
        assert kept["rules"][here].sum() == -(-here.sum() // 2)


def test_levels_are_trimmed_to_the_bytes_of_the_smallest_and_are_then_not_nested(tmp_path, capsys):
    experiment = crawl(tmp_path, rules=RULES, sweep=SWEEP, match="tokens", controls={"random": "hardest"})
    columns, kept = chosen(experiment)
    sizes = {level: columns["text_bytes"][kept[f"quality-pareto-{level}"]].sum() for level in ("none", "1", "9")}
    assert 0 <= max(sizes.values()) - min(sizes.values()) <= columns["text_bytes"].max()
    hardest, milder = kept["quality-pareto-9"], kept["quality-pareto-1"]
    share = (hardest & milder).sum() / hardest.sum()
    assert 0 < share < 1
    said = [line for line in capsys.readouterr().out.splitlines() if "of its pages are in" in line]
    assert said[1].split() == f"choose: quality-pareto-9 {share:.1%} of its pages are in quality-pareto-1".split()
    assert told(experiment, "quality-pareto-none")["dropped"][-1]["rule"].startswith("sample 0.")
    assert told(experiment, "unfiltered")["kept"] == told(experiment, "unfiltered")["in"]


def test_every_level_is_sampled_to_the_repetition_of_another_scale(tmp_path):
    asked = {"rules": RULES, "sweep": SWEEP, "match": "repetition", "tokenizer": {}}
    experiment = crawl(tmp_path, **asked, train={"tokens": 1}, budget={"tokens": 1000, "pool": 1000})
    counts = pa.schema([("id", pa.string()), ("token_count", pa.int64())])
    for at in range(2):
        rows = pa.table([[f"page-{at}-{row}" for row in range(ROWS)], [7] * ROWS], schema=counts)
        write(tmp_path, "signals/tokens", at, rows, sha256_of(tmp_path / "pages" / f"shard-{at}.parquet"))
    finish(tmp_path, "signals/tokens")
    pool = 7 * int(told_pool(tmp_path))
    half = experiment.model_copy(update={"train": experiment.train.model_copy(update={"tokens": [pool // 2]})})
    _, kept = chosen(half)
    mild, hard = kept["quality-pareto-none"], kept["quality-pareto-9"]
    assert (hard <= mild).all()
    facts = told(half, "quality-pareto-none")
    assert abs(facts["kept"]["tokens"] / (facts["in"]["tokens"] - facts["dropped"][0]["alone"]["tokens"]) - 0.25) < 0.06
    large = experiment.model_copy(update={"train": experiment.train.model_copy(update={"tokens": [2 * pool]})})
    with pytest.raises(ExperimentError, match=r"2.00 times as often as those of budget:.*train on fewer tokens"):
        choose._decide(large, levels_of(large), choose.Columns.find(large, {"quality", "word_count"}), parts(large), {})


def told_pool(folder):
    """Pages that may be chosen."""
    split = [pq.read_table(folder / "split" / f"shard-{at}.parquet") for at in range(2)]
    return sum(len(rows) - rows["held_out"].to_numpy().sum() - rows["copy_of_held_out"].to_numpy().sum() for rows in split)


def parts(experiment):
    return choose.parts_of(choose.Places(experiment.out).pages)


def files_of(out, name):
    """The ids in each file of a subset, in order."""
    return [pq.read_table(file)["id"].to_pylist() for file in sorted((out / "subsets" / name).glob("*.parquet"))]


def test_shuffled_subsets_hold_the_same_pages_in_one_order_whatever_the_shards(tmp_path, monkeypatch):
    how = {"rules": RULES, "sweep": SWEEP, "write": {"format": "parquet", "signals": ["language"]}}
    plain, mixed = crawl(tmp_path / "plain", **how), crawl(tmp_path / "mixed", **how)
    mixed = mixed.model_copy(update={"write": mixed.write.model_copy(update={"shuffle": True, "shard_bytes": 1500})})
    for experiment in (plain, mixed):
        assert choose.main(experiment) == 0
    orders = {}
    for name in ("quality-pareto-none", "quality-pareto-1", "quality-pareto-9"):
        files = files_of(mixed.out, name)
        orders[name] = [page for file in files for page in file]
        in_shards = [page for file in files_of(plain.out, name) for page in file]
        assert sorted(orders[name]) == sorted(in_shards) and orders[name] != in_shards and len(in_shards) > 20
    largest = orders["quality-pareto-none"]
    sizes = [len(file) for file in files_of(mixed.out, "quality-pareto-none")]
    assert len(sizes) == -(-told(mixed, "quality-pareto-none")["kept"]["bytes"] // 1500) > 3 and max(sizes) < 2 * len(
        largest
    ) / len(sizes)
    for smaller in orders.values():
        assert smaller == [page for page in largest if page in set(smaller)]  # nested in order too
    drawn = draw(id_hashes(largest), mixed.seed, "shuffle")
    assert (np.diff(drawn.astype(object)) > 0).all()
    assert not (mixed.out / "subsets" / ".shuffled").exists()
    monkeypatch.setattr(choose.Buckets, "spill", lambda *_: pytest.fail("nothing is left to do"))
    assert choose.main(mixed) == 0


def test_copies_of_a_page_are_shuffled_too(tmp_path):
    sweep = {"rules.quality.upsample": [{0.4: 0, 0.95: 4}]}
    experiment = crawl(tmp_path, sweep=sweep, write={"format": "parquet", "shuffle": True, "shard_bytes": 4000})
    assert choose.main(experiment) == 0
    [facts] = [file for file in (tmp_path / "subsets").glob("*.json") if "upsample" in file.name]
    ids = [page for file in files_of(tmp_path, facts.stem) for page in file]
    assert len(ids) == json.loads(facts.read_text())["read"]["pages"] > len(set(ids))
    beside = sum(one == other for one, other in itertools.pairwise(ids))
    assert beside < 0.05 * len(ids)


def test_a_band_is_what_the_milder_level_keeps_and_the_harder_drops(tmp_path):
    asked = {"bands": ["removed", "margin"], "second": {"rules.word_count.min": [20, 150]}}
    sweep = {"rules.quality.pareto": [9, "none", 1]}
    train = {"tokens": 1_000_000, "replicates": 1}
    experiment = crawl(tmp_path, rules=RULES, sweep=sweep, diagnostics=asked, train=train, tokenizer={"vocabulary": 300})
    _, kept = chosen(experiment)
    mild, middle, hard = (kept[f"quality-pareto-{level}"] for level in ("none", "1", "9"))
    assert (kept["band-removed"] == mild & ~hard).all() and kept["band-removed"].any()
    assert (kept["band-margin"] == middle & ~hard).all() and 0 < kept["band-margin"].sum() < kept["band-removed"].sum()
    facts = told(experiment, "band-margin")
    assert (
        facts["between"] == ["quality-pareto-1", "quality-pareto-9"] and facts["kept"]["pages"] == kept["band-margin"].sum()
    )
    assert (facts["control"], facts["rules"], facts["resolved"], facts["dropped"]) == ("band", {}, {}, [])
    harder = told(experiment, "second-word_count-min-150")
    assert harder["control"] == "second" and harder["kept"]["pages"] == kept["second-word_count-min-150"].sum() > 0
    before = [level.name for level in levels_of(experiment) if level.control is None]
    plain = crawl(tmp_path / "plain", rules=RULES, sweep=sweep)
    assert before == [level.name for level in levels_of(plain) if level.control is None]
    assert all((chosen(plain)[1][name] == kept[name]).all() for name in before)


def test_a_band_without_pages_is_told_to_be_empty(tmp_path):
    train = {"tokens": 100_000, "replicates": 1}
    sweep = {"rules.word_count.min": [0, -1]}
    experiment = crawl(tmp_path, sweep=sweep, diagnostics={"bands": ["margin"]}, train=train, tokenizer={"vocabulary": 300})
    chosen(experiment)
    facts = told(experiment, "band-margin")
    assert (facts["status"], facts["reason"]) == ("empty", "no page lies between word_count-min-0 and word_count-min--1")


def test_a_second_scorer_does_not_decide_how_large_matched_levels_are(tmp_path):
    asked = {"rules": RULES, "sweep": SWEEP, "match": "tokens", "tokenizer": {"vocabulary": 300}}
    _, alone = chosen(crawl(tmp_path / "alone", **asked))
    beside = {"diagnostics": {"second": {"rules.word_count.max": [190, 60]}}, "train": {"tokens": 1000}}
    _, kept = chosen(crawl(tmp_path / "beside", **asked, **beside))
    assert kept["second-word_count-max-60"].sum() < alone["quality-pareto-9"].sum()
    assert all((kept[name] == alone[name]).all() for name in alone)
