"""A fastText model from elsewhere, named in the experiment file and used as it is; and what jobs ask of any kind."""

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from classifiers import kinds
from classifiers.fasttext.kind import read_preset
from classifiers.fasttext.model import load as load_model
from classifiers.fasttext.model import score_batch, word_margins
from classifiers.fasttext.training import recipe, train
from filters.pages import PageBatch
from jobs import score, train_classifier
from jobs.parts.checks import check, columns
from jobs.parts.experiment_file import load
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError

CONF = Path(__file__).resolve().parents[3] / "conf" / "classifiers"
SMALL = {"dim": 8, "bucket": 1000, "lr": 0.5, "epoch": 25}
TEXTS = pa.array(["a whale and then", "casino and then", "", None])
LABEL = "__label__negative"


def pages(word, count):
    draw = random.Random(word)
    filler = ["and", "then", "some", "more"]
    return [kinds.Page(f"{word}-{k}", " ".join([word, *draw.choices(filler, k=12)])) for k in range(count)]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A model of ours with its description beside it: it reads the last 1,500 characters."""
    written = yaml.safe_load((CONF / "gao.yaml").read_text())
    written["hyperparameters"] |= SMALL
    path = tmp_path_factory.mktemp("models") / "quality.bin"
    train(pages("whale", 80), pages("casino", 80), path, 0, recipe(written))
    return path


@pytest.fixture(scope="module")
def foreign(ours, tmp_path_factory):
    """The same model as if from elsewhere: nothing is known of it."""
    return Path(shutil.copy(ours, tmp_path_factory.mktemp("elsewhere") / "theirs.bin"))


@pytest.fixture
def experiment(tmp_path):
    """The experiment whose classifier `edu` has these options."""

    def asked(**options):
        file = tmp_path / "experiment.yaml"
        tree = {"pages": {"from": ["crawl/*.warc.gz"]}, "out": str(tmp_path / "out"), "signals": {"edu": {}}}
        file.write_text(yaml.safe_dump({**tree, "classifiers": {"edu": {"fasttext": options}}}))
        return load(file)

    return asked


def scores(experiment, texts=TEXTS):
    group = score.groups(experiment)["edu"]
    return group.measure(pa.array([str(at) for at in range(len(texts))]), PageBatch(texts))["edu"].to_pylist()


def test_the_probability_of_the_label_is_the_score(experiment, foreign):
    asked = experiment(model=str(foreign), label=LABEL)
    check(asked)
    assert columns(asked, {"size": {}})["edu"] == pa.float64()
    found = scores(asked)
    assert found == score_batch(load_model(foreign), TEXTS, LABEL).to_pylist()
    assert found[0] < 0.1 and found[1] > 0.9 and found[2:] == [None, None]


def test_words_weigh_what_the_model_learned_of_them(ours):
    whale, casino, unknown = word_margins(ours, "__label__positive", ["whale", "casino", "zebra"])
    assert whale > 1 and casino < -1 and abs(unknown) < min(whale, -casino)


def test_where_a_higher_one_is_worse_the_score_is_the_probability_of_all_others(experiment, foreign):
    asked = {"model": str(foreign), "label": LABEL}
    probability, turned = scores(experiment(**asked)), scores(experiment(**asked, higher_is_better=False))
    assert turned == [None if value is None else 1 - value for value in probability]


def test_what_the_file_says_of_reading_is_what_the_model_reads(experiment, ours):
    late = pa.array(["casino " * 5 + "x" * 20 + " whale" * 300])
    begins, whole = pa.array(["casino casino"]), {"model": str(ours), "label": LABEL}
    assert scores(experiment(**whole), late)[0] < 0.1  # as its description says: the end of the page
    assert scores(experiment(**whole, reading={"characters": 13}), late) == scores(experiment(**whole), begins)


def test_a_model_may_read_as_a_preset_says(experiment, foreign):
    whole = {"model": str(foreign), "label": LABEL}
    late = pa.array(["casino " * 5 + "x" * 4000 + " whale" * 300])
    said = {"characters": 4000, "last": 1500}
    assert scores(experiment(**whole, reading="gao"), late) == scores(experiment(**whole, reading=said), late)
    with pytest.raises(ExperimentError, match="unknown classifier preset 'dclmm': did you mean 'dclm'"):
        experiment(**whole, reading="dclmm")


@pytest.mark.parametrize("preset", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_every_preset_can_be_trained_and_scored(tmp_path, preset):
    how = read_preset(preset)
    small = {"dim": 4, "bucket": min(how.hyperparameters["bucket"], 1000), "lr": 0.5, "epoch": 25}
    how = replace(how, hyperparameters={**how.hyperparameters, **small})
    train(pages("whale", 60), pages("casino", 60), tmp_path / "model.bin", 0, how)
    good, bad, *none = score_batch(load_model(tmp_path / "model.bin"), TEXTS, "__label__positive").to_pylist()
    assert good > bad and none == [None, None]


def test_a_description_beside_a_model_names_its_label(experiment, ours):
    assert scores(experiment(model=str(ours)))[0] > 0.9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "label is missing"),
        ({"label": "__label__negtive"}, f"no label '__label__negtive', did you mean {LABEL!r}?"),
        ({"label": LABEL, "reading": {"charcters": 5}}, "unknown key 'charcters': did you mean 'characters'?"),
        ({"label": LABEL, "reading": {"characters": 0}}, "characters is 0, expected a whole number"),
        ({"label": LABEL, "seed": 1}, "seed belongs to a classifier that is trained"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused(experiment, foreign, options, says):
    with pytest.raises(ExperimentError, match=re.escape(says)):
        score.groups(experiment(model=str(foreign), **options))


def test_there_is_nothing_to_train(experiment, foreign):
    asked = experiment(model=str(foreign), label=LABEL)
    assert train_classifier.main(asked) == 0
    assert not asked.out.exists()


def test_the_table_goes_by_what_the_model_holds_and_how_it_is_read_not_by_where_it_lies(experiment, foreign, tmp_path):
    def config(path, **more):
        return score._config(score.groups(experiment(**{"model": str(path), "label": LABEL} | more))["edu"])

    moved = Path(shutil.copy(foreign, tmp_path / "moved.bin"))
    assert config(foreign) == config(moved)
    others = [{"higher_is_better": False}, {"reading": {"characters": 50}}, {"label": "__label__positive"}]
    assert all(config(foreign) != config(foreign, **other) for other in others)


def test_a_classifier_that_is_not_trained_yet_says_which_job_trains_it(experiment):
    with pytest.raises(ExperimentError, match=r"model\.bin is missing: run jobs\.train_classifier first"):
        score.groups(experiment(positives=["good.jsonl"]))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_is_a_scorer_that_tells_its_keys(kind):
    assert issubclass(kinds.options(kind), kinds.Scorer)
    assert kinds.options(kind).known_keys()


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown kind of classifier 'fastext': did you mean 'fasttext'"):
        kinds.options("fastext")


def test_a_kind_that_is_fitted_on_dataframes_is_given_the_experiment_and_its_folder(experiment, monkeypatch, tmp_path):
    for name in ("good", "other"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"id": "{name}", "text": "whale"}}\n')
    asked = experiment(positives=[str(tmp_path / "good.jsonl")], negatives=[str(tmp_path / "other.jsonl")])

    def fit(given, name, folder):
        assert given is asked and name == "edu" and folder == Places(asked.out).classifier("edu")
        folder.mkdir(parents=True)
        return "fitted"

    monkeypatch.setattr(train_classifier, "FITS", {"fasttext": fit})
    assert train_classifier.main(asked) == 0
    monkeypatch.setattr(train_classifier, "FITS", {})
    assert train_classifier.main(asked) == 0  # what is made is not made again
