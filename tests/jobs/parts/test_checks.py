"""What is refused before the first task, by every verb and also by --dry-run."""

import re
from pathlib import Path

import pytest

from classifiers.language import ISO_639_3
from filters.rules import RuleError
from jobs.parts.checks import check
from jobs.parts.command import run
from jobs.parts.experiment_file import Experiment, load
from jobs.parts.refusals import ExperimentError

CONF = Path(__file__).resolve().parents[3] / "conf"
LEAST = {
    "pages": {"from": ["crawl/*.warc.gz"]},
    "classifiers": {"quality": {"fasttext": {"positives": ["good.jsonl"]}}},
    "signals": {"language": {}, "gopher": {}, "c4": {}, "quality": {}},
    "tokenizer": {"vocabulary": 300},
}
SWEEP = {"rules.quality.pareto": ["none", 3]}


def experiment(**changes):
    return Experiment.model_validate({**LEAST, **changes})


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.name)
def test_every_experiment_that_is_shipped_passes(path):
    check(load(path))


@pytest.mark.parametrize("between", [["best", "hardest"], ["none", "unfiltered"], ["quality-pareto-3", "best"]])
def test_a_primary_hypothesis_names_levels_by_name_or_by_rank(between):
    check(experiment(train={}, sweep=SWEEP, primary={"between": between}))


def test_the_least_passes_with_rules_of_every_type():
    rules = {
        "language": {"in": ["eng"]},
        "word_count": {"min": 5},
        "has_lorem_ipsum": {"is": False},
        "quality": {"pareto": 3},
    }
    check(
        experiment(rules=rules, train={}, write={"subsets": ["rules"], "signals": ["quality"], "transforms": ["mask_pii"]})
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pages": {"from": ["a.wacz"]}}, "pages.from: 'a.wacz' is of no kind that is read: names end in .warc"),
        ({"pages": {"from": ["a.warc", "crawl/*.jsonl.rar"]}}, "pages.from: 'crawl/*.jsonl.rar' is of no kind that is read"),
        ({"pages": {"from": ["s3://bucket/crawl/*.pdf.gz"]}}, "is of no kind that is read"),
        (
            {"classifiers": {"quality": {"fasttext": {"positives": ["a.docx"]}}}},
            "classifiers.quality.fasttext.positives: 'a.docx' is of no kind that is read",
        ),
        (
            {"classifiers": {"quality": {"fasttext": {"positives": "a.jsonl", "negatives": "page.htm"}}}},
            "classifiers.quality.fasttext.negatives: 'page.htm' is of no kind that is read",
        ),
        ({"signals": {"gophr": {}}}, "unknown signal group 'gophr': did you mean 'gopher'?"),
        ({"signals": {"gopher": {"least": 5}}}, "signals.gopher: signal group 'gopher' has no option 'least'"),
        (
            {"signals": {"language": {"characters": "many"}}},
            "signals.language.characters must be a whole number, got 'many'",
        ),
        ({"signals": {"language": {"model": 5}}}, "signals.language.model must be text, got 5"),
        ({"signals": {"quality": {"seed": 5}}}, "signals.quality takes no options: they stand under classifiers.quality"),
        ({"signals": {"url": {}}}, "signals.url: signal group 'url' needs the option"),
        ({"train": {}, "evaluate": {"strata": "topc"}}, "evaluate.strata: no signal 'topc' is measured: "),
        (
            {"train": {}, "evaluate": {"strata": "mean_word_length"}},
            "evaluate.strata: columns that name groups, but 'mean_word_length' is a number: write {tenths:",
        ),
        (
            {"rules": {"quality": {"quota": {"within": "mean_word_length", "keep_fraction": 0.1, "weight": "tokens"}}}},
            "rule 'quality': within takes columns that name groups, but 'mean_word_length' is a number",
        ),
        (
            {
                "rules": {"quality": {"quota": {"within": "language", "keep_fraction": 0.1, "weight": "tokens"}}},
                "tokenizer": None,
            },
            "rule 'quality': weight: tokens needs a tokenizer: section",
        ),
        ({"primary": {}}, "primary: needs a train: section"),
        ({"diagnostics": {"late": True}}, "diagnostics.late needs a train: section"),
        ({"train": {}, "primary": {}}, "primary.between: there is no level 'best'"),
        ({"train": {}, "primary": {"between": ["unfiltered", "rule"]}}, "no level 'rule': did you mean 'rules'?"),
        ({"train": {}, "sweep": SWEEP, "primary": {"between": ["best", "hardst"]}}, "did you mean 'hardest'?"),
        ({"train": {}, "sweep": SWEEP, "primary": {"between": ["none", "quality-pareto-none"]}}, "name two subsets that"),
        (
            {"train": {}, "sweep": SWEEP | {"rules.word_count.min": [1, 2]}, "primary": {}},
            "primary.between: levels of several swept keys have no hardest: name a level",
        ),
        ({"presets": ["gophr"]}, "unknown preset 'gophr': did you mean 'gopher'?"),
        ({"compare": {"one": "gopher", "two": "gophr"}}, "unknown preset 'gophr': did you mean 'gopher'?"),
        ({"compare": {"one": "gopher", "two": "pii"}}, "add pii: {} under signals:"),
        (
            {"rules": {"word_cout": {"min": 5}}},
            "needs the signal 'word_cout', which no group under signals: gives; did you mean",
        ),
        (
            {"rules": {"email_count": {"max": 5}}},
            "needs the signal 'email_count', which no group under signals: gives; add pii",
        ),
        (
            {"signals": {}, "rules": {"quality": {"min": 0.5}}},
            "needs the signal 'quality', which no group under signals: gives; add",
        ),
        ({"rules": {"word_count": 5}}, "rule 'word_count' must be a mapping such as {min: 50}, got 5"),
        ({"rules": {"word_count": {"mn": 5}}}, "rule 'word_count' has an unknown condition 'mn': did you mean 'min'?"),
        ({"rules": {"language": {"min": 3}}}, "rule 'language': min: 3 cannot be meant, the signal is text"),
        ({"rules": {"word_count": {"is": True}}}, "rule 'word_count': is: True cannot be meant, the signal is a number"),
        ({"rules": {"word_count": {"in": ["many"]}}}, "rule 'word_count': in: ['many'] cannot be meant"),
        ({"rules": {"language": {"in": ["en"]}}}, "the codes are ISO 639-3, such as eng or deu, got 'en': write eng for en"),
        ({"rules": {"language": {"not_in": ["eng", "de"]}}}, "write deu for de"),
        ({"rules": {"language": {"in": ["English"]}}}, "the codes are ISO 639-3, such as eng or deu, got 'English'"),
        ({"rules": {"language_script": {"in": ["latin"]}}}, "the codes are ISO 15924, such as Latn or Hans, got 'latin'"),
        ({"sweep": {"rules.language.in": [["eng"], ["en"]]}}, "write eng for en"),
        ({"sweep": {"rules.language.min": [1, 2]}}, "min: 1 cannot be meant, the signal is text"),
        ({"sweep": {"rules.quality.pareto": [1, 1]}}, "the sweep has a level twice"),
        ({"sweep": {"quality.pareto": [1]}}, "must be a key of the rules"),
        ({"sweep": {"rules.qualty.pareto": [1]}}, "did you mean 'quality'?"),
        (
            {"rules": {"quality": {"keep_fraction": 0.5, "weight": "tokens"}}, "tokenizer": None},
            "weight: tokens needs a tokenizer: section",
        ),
        (
            {"presets": ["gopher"], "rules": {"word_count": {"max": 10}}},
            "no page can pass the rules on 'word_count', preset gopher {min: 50, max: 100000} and rules: {max: 10}: "
            "take one out, or write {replace: true, ...} under rules:",
        ),
        ({"rules": {"word_count": {"replace": 5, "min": 10}}}, "rules.word_count.replace must be true or false, got 5"),
        ({"sweep": {"rules.word_count.replace": [True]}}, "has an unknown condition 'replace'"),
        ({"write": {"subsets": "ruls"}}, "write.subsets: unknown subset 'ruls': did you mean 'rules'?"),
        ({"write": {"subsets": ["ruls"]}}, "write.subsets: unknown subset 'ruls': did you mean 'rules'?"),
        ({"write": {"transforms": ["mask_pi"]}}, "write.transforms: unknown transform 'mask_pi': did you mean 'mask_pii'?"),
        ({"write": {"signals": ["word_cnt"]}}, "write.signals: unknown signal 'word_cnt': did you mean 'word_count'?"),
        ({"write": {"drop_lines": {}}}, "write.drop_lines needs duplicates: {} under signals:"),
        (
            {"signals": {"duplicates": {"seen_on_domains": 6}}, "write": {"drop_lines": {"seen_on_domains": 5}}},
            "write.drop_lines.seen_on_domains is 5, but dedup keeps the lines of at least 6 other domains",
        ),
        ({"train": {"model": "9t"}}, "train.model: there is no model size '9t'"),
        ({"train": {"model": "nowhere.yaml"}}, "train.model: there is no model size 'nowhere.yaml'"),
        ({"train": {}, "tokenizer": None}, "train: needs a tokenizer: section"),
        ({"train": {}, "evaluate": {"held_out": {"share": 0}}}, "evaluate.held_out.share must be more than 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, says):
    with pytest.raises((ExperimentError, RuleError), match=re.escape(says)) as refusal:
        check(experiment(**changes))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gopher", "'gopher' is a group of signals already"),
        ("word_count", "'word_count' is a signal of the group gopher already"),
        ("text", "'text' is a column or table of ours already"),
        ("tokens", "'tokens' is a column or table of ours already"),
        ("size", "'size' is a group of signals already"),
    ],
)
def test_a_classifier_does_not_take_the_name_of_something_else(name, says):
    with pytest.raises(ExperimentError, match=says):
        check(experiment(classifiers={name: {"fasttext": {"positives": ["a.jsonl"]}}}, signals={}))


@pytest.mark.parametrize(
    "name", ["crawl/*", "shard", "CC-MAIN-2018.5", "a.WARC.GZ", "s3://b/a.parquet?versionId=1", "a.json"]
)
def test_names_of_a_known_kind_or_of_none_are_left_to_the_reader(name):
    check(experiment(pages={"from": [name]}))


def test_every_two_letter_code_is_told_its_three_letters():
    for short, code in ISO_639_3.items():
        if len(short) == 2:
            with pytest.raises(RuleError, match=f"write {code} for {short}"):
                check(experiment(rules={"language": {"in": [short]}}))


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_every_verb_asks_before_it_starts_and_a_dry_run_too(tmp_path, capsys, more):
    file = tmp_path / "experiment.yaml"
    file.write_text(f"pages: {{from: [a.warc]}}\nout: {tmp_path / 'out'}\nwrite: {{subsets: [nowhere]}}\n")
    started = []
    assert run(lambda *_: started.append(1) or 0, None, [str(file), *more]) == 2
    assert capsys.readouterr().err.startswith("goodhart: write.subsets: unknown subset 'nowhere'")
    assert not started and not (tmp_path / "out").exists()


def test_a_signal_that_a_preset_needs_is_told_with_what_makes_it():
    way = r"'quality'.*classifiers: \{quality: \{fasttext: \{preset: gao.*signals: \{quality"
    with pytest.raises(ExperimentError, match=way):
        check(experiment(presets=["pile_cc"], classifiers={}, signals={"gopher": {}}))


def test_repetition_needs_the_scale_that_it_is_matched_to():
    budget = {"tokens": 10, "pool": 20}
    for changes, key in (({}, "budget.pool"), ({"budget": {"tokens": 10}}, "budget.pool"), ({"budget": budget}, "train")):
        with pytest.raises(ExperimentError, match=f"match: repetition needs the key {key}"):
            check(experiment(match="repetition", **changes))
    check(experiment(match="repetition", budget=budget, train={}))
