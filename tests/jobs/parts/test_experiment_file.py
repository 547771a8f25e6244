"""The experiment file: strict YAML, --set over it, and every mistake named with its nearest known key."""

from pathlib import Path

import pytest

from jobs.parts.experiment_file import as_tree, config_hash, load
from jobs.parts.refusals import ExperimentError
from jobs.parts.strict_yaml import read_yaml

CONF = Path(__file__).resolve().parents[3] / "conf"
LEAST = "pages: {from: [crawl/*.warc.gz]}\n"


def written(tmp_path, text):
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.name)
def test_every_experiment_that_is_shipped_loads(path):
    assert load(path).pages.from_


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1e-3", 0.001),
        ("0755", 755),
        ("12:30:00", "12:30:00"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("~", None),
        ("300_000", 300000),
        ("-.inf", float("-inf")),
        ("none", "none"),
        ("'5'", "5"),
    ],
)
def test_plain_scalars_are_read_as_yaml_1_2_says(text, value):
    assert read_yaml(text) == value


def test_a_key_called_null_or_no_stays_a_word():
    assert read_yaml("{null: keep, no: 1}") == {"null": "keep", "no": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
        ("a: &x 1\nb: *x\n", "aliases"),
        ("a: [1\n", "not YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not YAML"),
        ("[" * 25 + "]" * 25, "deeper than 20"),
        ("x" * (1 << 21), "characters"),
    ],
)
def test_yaml_that_is_not_meant_is_refused(text, says):
    with pytest.raises(ExperimentError, match=says):
        read_yaml(text, "file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LEAST + "sgnals: {}\n", "unknown key 'sgnals': did you mean 'signals'"),
        (LEAST + "train: {tokns: 5}\n", "unknown key 'train.tokns': did you mean 'tokens'"),
        (LEAST + "train: {tokens: many}\n", "train.tokens must be a whole number, got 'many'"),
        (LEAST + "train: {seeds: [0, yes]}\n", r"train.seeds\[1\] must be a whole number"),
        (LEAST + "classifiers: {quality: {fasttext: {}}}\n", "classifiers.quality.fasttext.positives' is missing"),
        ("out: here\n", "the key 'pages' is missing"),
        ("- a list\n", "must be a mapping"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(tmp_path, text, says):
    with pytest.raises(ExperimentError, match=says):
        load(written(tmp_path, text))


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
    assert changed.train.tokens == 5
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


def test_a_hash_does_not_depend_on_the_order_of_keys():
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash({"b": {"d": 3, "c": 2}, "a": 1})
