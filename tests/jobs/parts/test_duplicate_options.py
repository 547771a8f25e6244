"""What `signals: duplicates:` and `contamination:` may say, and the sentence for what they may not."""

import json

import pytest

from jobs import dedup
from jobs.parts.checks import check
from jobs.parts.duplicate_options import PRESETS
from jobs.parts.experiment_file import load
from jobs.parts.refusals import ExperimentError


def experiment(tmp_path, signals, **more):
    (tmp_path / "conf.json").write_text(json.dumps({"pages": {"from": ["a.warc.gz"]}, "signals": signals, **more}))
    return load(tmp_path / "conf.json")


@pytest.mark.parametrize("preset", [file.stem for file in PRESETS.glob("*.yaml")])
def test_presets_are_whole_and_name_their_source(tmp_path, preset):
    asked = experiment(tmp_path, {"duplicates": {"near": preset}}).duplicates
    assert asked.near.banding[0] * asked.near.banding[1] >= 10
    assert (PRESETS / f"{preset}.yaml").read_text().startswith("# ")


def test_bands_are_given_or_solved(tmp_path):
    solved = {"threshold": 0.8, "recall": 0.95, "hashes": 128}
    near = experiment(tmp_path, {"duplicates": {"near": solved}}).duplicates.near
    assert near.banding == (13, 7) and "13 bands x 7 rows" in near.curve


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"near": "finweb"}, "signals.duplicates.near: unknown preset 'finweb': did you mean 'fineweb'?"),
        ({"near": {"bands": 3}}, "signals.duplicates.near: either bands and rows are needed"),
        ({"near": {"bands": 3, "rows": 2, "recall": 0.5}}, "either bands and rows are needed"),
        ({"near": {"threshold": 0.1, "recall": 0.99, "hashes": 8}}, "take more"),
        ({"near": {"bands": 3, "rows": 2, "unit": "bytes"}}, "signals.duplicates.near.unit must be words or characters"),
        ({"scop": "all"}, "unknown key 'signals.duplicates.scop': did you mean 'scope'?"),
        ({"least": 0.9}, "signals.duplicates: least must be at most threshold and held_out, got 0.9"),
        ({"prefer": ["characters", "characters"]}, "a signal is there twice"),
        ({"scope": "year"}, "signals.duplicates.scope"),
        ({"scope": ["all", "month", "all"]}, "signals.duplicates: scope: a scope is there twice"),
        ({"removes": [0.1]}, "signals.duplicates.removes"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(tmp_path, options, said):
    with pytest.raises(ExperimentError) as error:
        experiment(tmp_path, {"duplicates": options})
    assert said in str(error.value)


def test_a_preset_that_compares_nearly_all_pages_takes_few(tmp_path):
    for table in ("pages", "split"):
        (tmp_path / "out" / table).mkdir(parents=True)
        (tmp_path / "out" / table / "_manifest.json").write_text(json.dumps({"parts": [], "rows": 100_001}))
    asked = experiment(tmp_path, {"duplicates": {"near": "gpt3"}}, out=str(tmp_path / "out"))
    with pytest.raises(ExperimentError, match=r"at most 100,000 pages are taken, got 100,001: take another preset"):
        dedup.edges(asked)


def test_what_copies_are_ranked_by_must_be_measured(tmp_path):
    with pytest.raises(ExperimentError, match="prefer: no number 'qualty' is measured"):
        check(experiment(tmp_path, {"duplicates": {"prefer": ["qualty"]}}))
    with pytest.raises(ExperimentError, match="scope: language needs language"):
        check(experiment(tmp_path, {"duplicates": {"scope": "language"}}))
    check(
        experiment(
            tmp_path, {"language": {}, "duplicates": {"scope": "language", "prefer": ["language_score", "characters"]}}
        )
    )


def test_rules_know_the_columns(tmp_path):
    check(experiment(tmp_path, {"duplicates": {}}, rules={"near_duplicate_similarity": {"below": 0.8}}))
    swept = {f"rules.near_duplicate_similarity{scope}.below": ["none", 0.8] for scope in ("", "_within_month")}
    check(experiment(tmp_path, {"duplicates": {"scope": ["all", "month"]}}, sweep=swept))
    with pytest.raises(ExperimentError, match="near_duplicate_similarity_within_month"):
        check(experiment(tmp_path, {"duplicates": {"scope": "month"}}, sweep=swept))
    with pytest.raises(ExperimentError, match=r"add duplicates: \{\} under signals:"):
        check(experiment(tmp_path, {}, rules={"near_duplicate_similarity": {"below": 0.8}}))


def test_benchmarks_have_files_and_names_of_their_own(tmp_path):
    file = tmp_path / "piqa-dev.jsonl"
    file.write_text('{"query": "x"}\n')
    asked = experiment(tmp_path, {"contamination": {"benchmarks": [str(file)]}})
    assert list(asked.contamination.columns) == ["contamination_piqa_dev"]
    with pytest.raises(ExperimentError, match="no benchmark file"):
        experiment(tmp_path, {"contamination": {"benchmarks": ["none.jsonl"]}})
    with pytest.raises(ExperimentError, match="two benchmarks are called 'piqa_dev'"):
        experiment(tmp_path, {"contamination": {"benchmarks": [str(file), {"file": str(file), "fields": "query"}]}})
