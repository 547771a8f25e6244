"""The experiment file: strict YAML, --set over it, and every mistake named with its nearest known key."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import kinds
from classifiers.fasttext.text import Reading
from filters.strict_yaml import YamlError
from jobs.parts.experiment_file import Experiment, as_tree, config_hash, load
from jobs.parts.file_reference import examples, page
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError

REPOSITORY = Path(__file__).resolve().parents[3]
CONF = REPOSITORY / "conf"
LEAST = "pages: {from: [crawl/*.warc.gz]}\n"


def written(tmp_path, text):
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.name)
def test_every_experiment_that_is_shipped_loads(path):
    assert load(path).pages.from_


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sgnals: {}", "unknown key 'sgnals': did you mean 'signals'?"),
        ("train: {tokns: 5}", "unknown key 'train.tokns': did you mean 'tokens'?"),
        ("pages: {from_: a}", "unknown key 'pages.from_': did you mean 'from'?"),
        ("pages: {from: {parquet: a, txet: b}}", "unknown key 'pages.from.txet': did you mean 'txt'?"),
        ("pages: {from: [a.warc, {jsnl: a}]}", "unknown key 'pages.from[1].jsnl': did you mean 'jsonl'?"),
        ("evaluate: {task: []}", "unknown key 'evaluate.task': did you mean 'tasks'?"),
        (
            "evaluate: {tasks: [{a: b, c: d}]}",
            "evaluate.tasks[0] must be a task's name, {hub: NAME} or {NAME: [TEMPLATE, ...]}, got {'a': 'b', 'c': 'd'}",
        ),
        ("evaluate: {tasks: [piqa, piqa]}", "evaluate.tasks: 'piqa' is there twice"),
        ("evaluate: {held_out: {shar: 1}}", "unknown key 'evaluate.held_out.shar': did you mean 'share'?"),
        ("pages: {}", "the key 'pages.from' is missing"),
        ("pages: crawl.warc", "pages must be a mapping with from, extract, limits, got 'crawl.warc'"),
        ("pages: {from: []}", "pages.from must be a list with at least one value"),
        ("pages: {from: [5]}", "pages.from[0] must be a pattern such as crawl/*.warc.gz"),
        ("pages: {from: {text: a}}", "pages.from: a mapping names one pattern under parquet, jsonl, warc, txt, paths"),
        ("pages: {from: {parquet: a, jsonl: b}}", "pages.from: a mapping names one pattern"),
        ("pages: {from: a, extract: lxml}", "pages.extract must be resiliparse, trafilatura or justext, got 'lxml'"),
        ("pages: {from: a, limits: {bytes: 1.5}}", "pages.limits.bytes must be a whole number, got 1.5"),
        ("pages: {from: a, limits: {bytes: 1.0e+6}}", "pages.limits.bytes must be a whole number"),
        ("pages: {from: a, limits: {characters: 0}}", "pages.limits.characters must be at least 1, got 0"),
        ("pages: {from: a, limits: {seconds: .nan}}", "pages.limits.seconds must be a finite number, got nan"),
        ("pages: {from: a, limits: {seconds: .inf}}", "pages.limits.seconds must be a finite number, got inf"),
        ("pages: {from: a, limits: {seconds: 0}}", "pages.limits.seconds must be more than 0, got 0"),
        ("pages: {from: a, limits: {memroy: 5}}", "unknown key 'pages.limits.memroy': did you mean 'memory'?"),
        ("train: {tokens: many}", "train.tokens must be a whole number, got 'many'"),
        ("train: {tokens: true}", "train.tokens must be a whole number, got True"),
        ("train: {tokens: 0}", "train.tokens must be at least 1, got 0"),
        ("train: {replicates: [0, yes]}", "train.replicates[1] must be a whole number, got 'yes'"),
        ("train: {replicates: []}", "train.replicates must be a list with at least one value, got []"),
        ("train: {replicates: [1, 0, 1]}", "train.replicates: 1 is there twice"),
        ("train: {replicates: 0}", "train.replicates must be at least 1, got 0"),
        ("train: {replicates: [-1]}", "train.replicates[0] must be at least 0, got -1"),
        ("train: {regime: frsh}", "train.regime must be fresh or fixed_pool, got 'frsh'"),
        ("train: {device: gpu}", "train.device must be auto, cpu or cuda, got 'gpu'"),
        ("train: {model: 5}", "train.model must be text, got 5"),
        ("evaluate: {held_out: {share: 2.0}}", "evaluate.held_out.share must be less than 1, got 2.0"),
        ("evaluate: {held_out: {share: -0.1}}", "evaluate.held_out.share must be at least 0, got -0.1"),
        ("evaluate: {held_out: {by: planet}}", "evaluate.held_out.by must be domain or page, got 'planet'"),
        ("evaluate: {held_out: {drop_copies: no}}", "evaluate.held_out.drop_copies must be true or false, got 'no'"),
        ("tokenizer: {vocabulary: 10}", "tokenizer.vocabulary must be at least 257, got 10"),
        ("tokenizer: {path: nowhere}", "tokenizer: path: there is no tokenizer.json in nowhere"),
        ("tokenizer: {path: nowhere, vocabulary: 300}", "a tokenizer that is used as it is takes no vocabulary"),
        ("out: ftp://host/x", "out: ftp:// is no store that is known here"),
        ("out: ''", "out: expected a path"),
        ("out: 5", "out must be a path, got 5"),
        ("name: ''", "name must be text, got ''"),
        ("seed: 0.5", "seed must be a whole number, got 0.5"),
        ("controls: {invrted: all}", "unknown key 'controls.invrted': did you mean 'inverted'"),
        ("controls: {random: some}", "controls.random must be all or hardest, got 'some'"),
        ("presets: [gopher, gopher]", "presets: 'gopher' is there twice"),
        ("compare: {one: gopher}", "compare: to compare takes two or more rule sets, got only 'one'"),
        ("compare: {one: gopher, two: []}", "compare: the rule set 'two' has no presets"),
        ("write: {format: csv}", "write.format must be jsonl.zst or parquet, got 'csv'"),
        ("write: {subsets: [rules, rules]}", "write.subsets: 'rules' is there twice"),
        ("signals: [gopher]", "signals must be a mapping, got ['gopher']"),
        ("signals: {gopher: 5}", "signals.gopher must be a mapping, got 5"),
        ("rules: [word_count]", "rules must be a mapping"),
        ("classifiers: {quality: {fasttext: {}}}", "classifiers.quality.fasttext: positives are missing"),
        ("classifiers: {quality: {fasttxt: {}}}", "classifiers.quality: unknown kind of classifier 'fasttxt': did you mean"),
        ("classifiers: {quality: {}}", "classifiers.quality: expected one kind with its options"),
        (
            "classifiers: {quality: {fasttext: {positves: a}}}",
            "'classifiers.quality.fasttext.positves': did you mean 'positives'",
        ),
        ("classifiers: {quality: {fasttext: {positives: []}}}", "classifiers.quality.fasttext: positives are missing"),
        ("classifiers: {quality: {fasttext: {positives: a, negatives: 5}}}", "quality.fasttext.negatives must be a pattern"),
        ("classifiers: {quality: {fasttext: {positives: a, seed: x}}}", "classifiers.quality.fasttext.seed must be a whole"),
        ("classifiers: {quality: {fasttext: {positives: a, preset: gaoo}}}", "preset 'gaoo': did you mean 'gao"),
        ("classifiers: {quality: {fasttext: {positives: a, label: x}}}", "label belongs to a model"),
        (
            "classifiers: {quality: {fasttext: {model: a.bin, positives: a}}}",
            "positives belongs to a classifier that is trained",
        ),
        ("classifiers: {quality: {fasttext: {model: a.bin, label: x}}}", "there is no model file a.bin"),
        ("classifiers: {../../evil: {fasttext: {positives: a}}}", "classifiers: the name '../../evil' must be a letter and"),
        ("classifiers: {é: {fasttext: {positives: a}}}", "classifiers: the name 'é' must be a letter and"),
        (f"classifiers: {{{'a' * 101}: {{fasttext: {{positives: a}}}}}}", "at most 100 in all"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(tmp_path, text, says):
    least = "" if text.startswith("pages") else LEAST
    with pytest.raises(ExperimentError, match=re.escape(says)) as refusal:
        load(written(tmp_path, least + text))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "says"), [("out: here\n", "the key 'pages' is missing"), ("- a list\n", "must be a mapping")]
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text, says):
    with pytest.raises(ExperimentError, match=says):
        load(written(tmp_path, text))


def test_a_file_in_another_encoding_is_one_sentence(tmp_path):
    file = tmp_path / "experiment.yaml"
    file.write_bytes((LEAST + "name: café\n").encode("latin-1"))
    with pytest.raises(YamlError, match="line 2: byte 0xe9 is not UTF-8"):
        load(file)


def test_a_long_value_is_not_repeated_whole(tmp_path):
    with pytest.raises(ExperimentError) as refusal:
        load(written(tmp_path, LEAST + f"train: {{tokens: {'x' * 10_000}}}"))
    assert len(str(refusal.value)) < 200


def test_an_empty_section_is_an_empty_mapping(tmp_path):
    experiment = load(written(tmp_path, LEAST + "rules:\nsweep:\nsignals: {gopher: }\n"))
    assert (experiment.rules, experiment.sweep, experiment.signals) == ({}, {}, {"gopher": {}})


def test_an_experiment_is_called_what_it_says_or_as_its_folder(tmp_path):
    assert load(written(tmp_path, LEAST + "out: out/mine\n")).name == "mine"
    assert load(written(tmp_path, LEAST + "out: out/mine\nname: How hard?\n")).name == "How hard?"


def test_a_classifier_is_of_one_kind_with_typed_options(tmp_path):
    asked = load(written(tmp_path, LEAST + "classifiers: {good: {fasttext: {positives: a.jsonl}}}")).classifiers["good"]
    assert asked.kind == "fasttext"
    assert isinstance(asked.options, kinds.options("fasttext"))
    assert asked.options.texts() == {"positives": ["a.jsonl"]}


@pytest.mark.parametrize("named", ["perplexity_wiki", "perplexity_ratio_wiki_crawl", "perplexity_crawl", "wiki"])
def test_a_column_of_a_classifier_under_signals_stands_for_the_classifier(named):
    tree = {
        "pages": {"from": ["a.warc.gz"]},
        "classifiers": {
            "books": {"importance": {"target": ["a.jsonl"]}},
            "wiki": {"kenlm": {"text": ["a.jsonl"], "against": {"crawl": "pages"}}},
        },
        "signals": {"gopher": {}, named: {}, "importance_books": {}, "wiki": None},
    }
    assert list(Experiment.model_validate(tree).signals) == ["gopher", "wiki", "books"]


def test_a_foreign_model_is_taken_with_its_label_and_reading(tmp_path):
    (tmp_path / "edu.bin").write_bytes(b"a model")
    options = f"{{model: {tmp_path / 'edu.bin'}, label: __label__hq, reading: {{newline: glue}}}}"
    asked = load(written(tmp_path, LEAST + f"classifiers: {{edu: {{fasttext: {options}}}}}")).classifiers["edu"].options
    assert (asked.model, asked.label, asked.reading) == (tmp_path / "edu.bin", "__label__hq", Reading(newline="glue"))
    assert asked.texts() == {}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "label is missing"),
        (", label: x, reading: {newlin: glue}", "reading: unknown key 'newlin': did you mean 'newline'"),
        (", label: x, reading: {characters: 0}", "reading: characters is 0, expected a whole number of code points"),
        (", label: x, reading: 5", "reading"),
        (", label: x, seed: 1", "seed belongs to a classifier that is trained"),
    ],
)
def test_a_foreign_model_that_cannot_be_used_is_refused(tmp_path, more, says):
    (tmp_path / "edu.bin").write_bytes(b"a model")
    text = f"classifiers: {{edu: {{fasttext: {{model: {tmp_path / 'edu.bin'}{more}}}}}}}"
    with pytest.raises(ExperimentError, match=says):
        load(written(tmp_path, LEAST + text))


def test_a_frozen_tokenizer_is_a_folder_with_its_file(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    experiment = load(written(tmp_path, LEAST + f"tokenizer: {{path: {tmp_path}}}"))
    assert experiment.tokenizer.path == tmp_path
    assert as_tree(experiment.tokenizer) == {"path": str(tmp_path)}


def test_an_experiment_does_not_change(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(written(tmp_path, LEAST)).seed = 5


@given(st.dictionaries(st.text(max_size=300), st.just({"fasttext": {"positives": ["a.jsonl"]}}), max_size=3))
def test_no_name_of_a_classifier_is_a_path(named):
    try:
        experiment = Experiment.model_validate({"pages": {"from": ["a.warc"]}, "classifiers": named})
    except ValueError:
        return
    for name in experiment.classifiers:
        assert Places(Path("out")).classifier(name).parent == Path("out/models")
        assert len(f".{Places(Path('out')).classifier(name).name}.made_by.json.tmp".encode()) <= 255


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(ExperimentError, match="there is no experiment file"):
        load(tmp_path / "none.yaml")


def test_set_overrides_any_key(tmp_path):
    file = written(tmp_path, LEAST + "sweep: {rules.quality.pareto: [1]}\n")
    changed = load(
        file,
        [
            "train.tokens=5",
            "rules.word_count={min: 9}",
            "pages.from=[a, b]",
            "out=there",
            "sweep.rules.quality.pareto=[none, 2]",
        ],
    )
    assert changed.train.tokens == [5]
    assert changed.rules == {"word_count": {"min": 9}}
    assert changed.pages.from_ == ["a", "b"]
    assert changed.out == Path("there")
    assert changed.sweep == {"rules.quality.pareto": ["none", 2]}


@pytest.mark.parametrize("setting", ["train.tokens", "=5", "out.deeper=1"])
def test_a_setting_that_is_no_key_and_value_is_refused(tmp_path, setting):
    with pytest.raises(ExperimentError, match="--set"):
        load(written(tmp_path, "out: here\n" + LEAST), [setting])


def test_one_value_stands_for_a_list_of_one(tmp_path):
    assert load(written(tmp_path, "pages: {from: crawl.warc}\n")).pages.from_ == ["crawl.warc"]


def test_a_loaded_file_can_be_written_and_loaded_again(tmp_path):
    import yaml

    first = load(CONF / "demo.yaml")
    again = load(written(tmp_path, yaml.safe_dump(as_tree(first))))
    assert again == first
    assert config_hash(again) == config_hash(first)


def test_without_runs_nothing_is_held_out_unless_the_file_asks_for_it():
    least = {"pages": {"from": ["a.warc"]}}
    shares = [
        Experiment.model_validate({**least, **more}).evaluate.held_out.share
        for more in ({}, {"train": {}}, {"evaluate": {}}, {"evaluate": {"held_out": {"by": "page"}}})
    ]
    assert shares == [0, 0.1, 0, 0.1]
    assert Experiment.model_validate(as_tree(Experiment.model_validate(least))).evaluate.held_out.share == 0


@pytest.mark.parametrize(
    ("asked", "subsets"), [("none", "none"), ("all", "all"), ("rules", ["rules"]), ("[rules]", ["rules"]), ("[]", [])]
)
def test_subsets_to_write_are_a_word_or_names(tmp_path, asked, subsets):
    file = tmp_path / "a.yaml"
    file.write_text("pages: {from: [a.warc]}")
    assert load(file, [f"write.subsets={asked}"]).write.subsets == subsets


def test_a_hash_does_not_depend_on_the_order_of_keys():
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash({"b": {"d": 3, "c": 2}, "a": 1})


def test_the_page_of_keys_is_what_the_command_prints():
    """Else: python -m jobs.parts.file_reference > docs/experiment.md."""
    assert (REPOSITORY / "docs" / "experiment.md").read_text() == page()


def test_the_page_names_every_key():
    for key, _ in examples():
        assert f"| `{key.rpartition('.')[2]}` |" in page()


@pytest.mark.parametrize(("key", "example"), list(examples()), ids=lambda value: value[:40])
def test_every_example_can_be_set(tmp_path, monkeypatch, key, example):
    folder = tmp_path / "models" / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert load(written(tmp_path, LEAST + "budget: {tokens: 1}\n"), [f"{key}={example}"])
