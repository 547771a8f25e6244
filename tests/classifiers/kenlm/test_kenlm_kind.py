"""KenLM in the experiment file: what can be meant, what columns come of it, what is left out where it cannot be trained."""

import pytest
import yaml

from classifiers.kenlm import kind, training
from classifiers.kinds import Page
from jobs import train_classifier
from jobs.parts.checks import check, columns, without_left_out
from jobs.parts.experiment_file import load
from jobs.parts.refusals import ExperimentError


@pytest.fixture
def experiment(tmp_path, arpa):
    """The experiment whose classifier `wiki` has these options, in YAML; ARPA stands for a file that is there."""

    def asked(options, **others):
        file = tmp_path / "experiment.yaml"
        tree = {"pages": {"from": ["crawl/*.warc.gz"]}, "out": str(tmp_path / "out"), "signals": {"wiki": {}}}
        tree |= {"classifiers": {"wiki": {"kenlm": yaml.safe_load(options.replace("ARPA", str(arpa)))}}}
        file.write_text(yaml.safe_dump(tree | others))
        return load(file)

    return asked


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{}", "name one of text: to train from, model: to use as it is, languages:"),
        ("{text: a, model: ARPA}", "name one of text:"),
        ("{model: ARPA, order: 3}", "order belongs to a model that is trained"),
        ("{model: ARPA, pieces: 300}", "pieces belongs to a model that is trained"),
        ("{text: a, pieces: 300, sentencepiece: ARPA}", "sentencepiece names one"),
        ("{text: a, order: 7}", "order must be at most 6"),
        ("{text: pages, against: {crawl: pages}}", "text: pages can stand once"),
        ("{text: a, against: {the-crawl: pages}}", "the name 'the-crawl' must be a letter"),
        ("{text: a, against: {crawl: {model: ARPA}}}", "perplexities over different pieces cannot be compared"),
        ("{model: ARPA, against: {crawl: {model: ARPA, sentencepiece: ARPA}}}", "perplexities over different pieces"),
        ("{text: a, against: {crawl: {}}}", "against.crawl: name either text to train from or a model"),
        ("{languages: {en: {text: a}}}", "the codes are ISO 639-3, such as eng or deu, got 'en': write eng"),
        ("{languages: {eng: a}, against: {crawl: pages}}", "languages: takes no against"),
        ("{model: ARPX}", "there is no file ARPX"),
        ("{text: a, peices: 3}", "did you mean 'pieces'"),
    ],
)
def test_what_cannot_be_meant_is_refused(experiment, options, expected):
    with pytest.raises(ExperimentError, match=expected):
        experiment(options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{text: a}", ["perplexity_wiki"]),
        ("{text: a, against: {crawl: pages}}", ["perplexity_wiki", "perplexity_crawl", "perplexity_ratio_wiki_crawl"]),
        ("{languages: {eng: a, deu: {model: ARPA}}}", ["perplexity_wiki"]),
        (
            "{model: ARPA, against: {crawl: {model: ARPA}}}",
            ["perplexity_wiki", "perplexity_crawl", "perplexity_ratio_wiki_crawl"],
        ),
    ],
)
def test_the_columns_are_named_by_the_models(experiment, options, expected):
    assert list(columns(experiment(options), {"size": {}})) == ["domain", *expected]


def test_rules_and_sweeps_take_the_columns(experiment):
    rules = {
        "perplexity_wiki": {"between": [0.1, 0.9]},
        "perplexity_ratio_wiki_crawl": {"keep_fraction": 0.5, "lowest": True},
    }
    check(experiment("{text: a.jsonl, against: {crawl: pages}}", rules=rules))
    with pytest.raises(Exception, match=r"needs the signal 'perplexity_crawl'.*did you mean"):
        check(experiment("{text: a.jsonl}", rules={"perplexity_crawl": {"max": 9}}))


def test_two_entries_that_give_one_signal_are_refused(experiment, arpa):
    both = {name: {"kenlm": {"model": str(arpa), "against": {"crawl": {"model": str(arpa)}}}} for name in ("wiki", "books")}
    with pytest.raises(ExperimentError, match="wiki gives the signal 'perplexity_crawl', and so does"):
        check(experiment("{}", classifiers=both))


def test_what_decides_the_models_is_told_apart(experiment, arpa):
    options = ["{text: a}", "{text: pages}", "{text: a, order: 3}", "{text: a, pieces: null}", "{text: a, against: {b: c}}"]
    options += ["{model: ARPA}", "{model: ARPA, sentencepiece: ARPA}", "{languages: {eng: {model: ARPA}}}"]
    found = [experiment(one).classifiers["wiki"].options.identity() for one in options]
    assert all(found.count(one) == 1 for one in found)


def test_where_programs_are_missing_it_is_refused_or_left_out_in_a_sentence(experiment, monkeypatch):
    monkeypatch.setattr(training, "tool", lambda name: None)
    sentence = "KenLM's lmplz and build_binary cannot be found: make kenlm-tools builds them"
    with pytest.raises(ExperimentError, match=f"classifiers.wiki: {sentence}"):
        train_classifier.check(experiment("{text: a}"))
    left, told = without_left_out(experiment("{text: a, optional: true}"))
    assert told == [f"wiki is left out: {sentence}"] and not left.classifiers and not left.signals
    as_it_is = experiment("{model: ARPA}")
    assert without_left_out(as_it_is) == (as_it_is, [])


def test_a_model_from_elsewhere_is_looked_into_before_the_first_page_is_read(experiment, tmp_path):
    (tmp_path / "wiki.binary").write_bytes(b"\xba\x16\x4f\x2f" + bytes(100))
    with pytest.raises(
        ExperimentError, match=r"classifiers\.wiki: .*wiki\.binary is no KenLM model, it holds a fastText model"
    ):
        train_classifier.check(experiment(f"{{model: {tmp_path}/wiki.binary}}"))


def test_too_little_text_is_refused(tools, tmp_path):
    with pytest.raises(kind.kinds.TrainingError, match="5 tokens to train text on, at least 1,000 are needed"):
        kind.Options(text=["a"], pieces=None).train(
            {"text": [Page("1", "four words\nand no"), Page("2", "\ud800"), Page("3", " ")]}, tmp_path
        )


def test_text_without_a_page_is_refused(tmp_path):
    with pytest.raises(kind.kinds.TrainingError, match="no page with text to train text on"):
        kind.Options(text=["a"]).train({"text": [Page("1", " \n")]}, tmp_path)


def test_the_model_that_is_not_trained_yet_says_which_job_trains_it(asked, tmp_path):
    with pytest.raises(ValueError, match=r"model\.json is missing: run jobs\.train_classifier first"):
        asked.group("wiki", tmp_path)
