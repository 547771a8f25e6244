"""Training: the same bytes again, whatever the order of the pages; and a model that tells what it was taught."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from classifiers import card
from classifiers.fasttext import training
from classifiers.fasttext.child import in_child
from classifiers.fasttext.file import ModelFileError
from classifiers.fasttext.model import classifier_group, load, score_batch
from classifiers.fasttext.training import Recipe, TrainingError, recipe, train
from classifiers.kinds import Page
from filters.pages import PageBatch

CONF = Path(__file__).resolve().parents[3] / "conf" / "classifiers"
SMALL = {"dim": 8, "bucket": 1000, "lr": 0.5, "epoch": 25}


def small(**sample: float) -> Recipe:
    written = yaml.safe_load((CONF / "gao.yaml").read_text())
    written["hyperparameters"] |= SMALL
    written["sample"] |= sample
    return recipe(written)


def pages(word: str, count: int, seed: int) -> list[Page]:
    draw = random.Random(seed)
    filler = ["and", "then", "some", "more", "\n", "text\xa0here"]
    return [Page(f"{word}-{k}", " ".join([word, *draw.choices(filler, k=12), str(k)])) for k in range(count)]


GOOD, BAD = pages("whale", 80, 1), pages("casino", 120, 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "quality.bin"
    return path, train(GOOD, BAD, path, 0, small())


def test_the_same_pages_in_another_order_give_the_same_bytes(trained, tmp_path):
    path, about = trained
    again = train(reversed(GOOD), sorted(BAD, key=lambda page: page.text[::-1]), tmp_path / "again.bin", 0, small())
    assert again == about
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()
    assert (tmp_path / "again.json").read_bytes() == path.with_suffix(".json").read_bytes()


def test_a_matrix_too_small_for_fresh_memory_is_repeatable_too(tmp_path):
    tiny = small()
    tiny.hyperparameters.update(dim=4, bucket=50)
    assert len({train(GOOD, BAD, tmp_path / f"{k}.bin", 0, tiny)["sha256"] for k in range(3)}) == 1


def test_another_seed_gives_another_model(trained, tmp_path):
    assert train(GOOD, BAD, tmp_path / "other.bin", 1, small())["sha256"] != trained[1]["sha256"]


def test_the_seed_is_also_that_of_the_first_weights(tmp_path, monkeypatch):
    asked = []

    def told(_, given, __):
        asked.append(given["seed"])
        raise training.ChildError("enough")

    monkeypatch.setattr(training, "in_child", told)
    for seed in (0, 7):
        with pytest.raises(TrainingError, match="enough"):
            train(GOOD, BAD, tmp_path / "none.bin", seed, small())
    assert asked == [0, 7]


def test_it_learned_what_it_was_taught_and_says_so(trained):
    path, about = trained
    assert about["held_out"]["area_under_curve"] == 1.0
    scores = score_batch(
        load(path), pa.array(["a whale and then", "casino and then", "", None]), "__label__positive"
    ).to_pylist()
    assert scores[0] > 0.9 and scores[1] < 0.1 and scores[2:] == [None, None]


def test_what_is_said_of_held_out_pages_is_what_the_model_scores_them(tmp_path):
    """Of pages whose classes overlap, so that some are told wrongly."""
    path = tmp_path / "mixed.bin"
    about = train([*GOOD[:60], *BAD[60:80]], [*BAD[:60], *GOOD[60:]], path, 0, small(held_out=0.3))
    rows = pq.read_table(tmp_path / "held_out.parquet")
    positive = rows["positive"].to_numpy()
    scores = score_batch(load(path), rows["text"].combine_chunks(), "__label__positive").to_numpy()
    assert about["held_out"]["accuracy"] == pytest.approx(np.mean((scores > 0.5) == positive))
    expected = card.probabilities(positive, np.minimum(scores, 1))
    for name in ("positives", "negatives", "precision", "recall", "area_under_curve", "accuracy"):
        assert about["held_out"][name] == pytest.approx(expected[name])
    assert expected["accuracy"] < 1


def test_classes_are_balanced_and_every_page_is_counted(trained):
    about = trained[1]
    assert about["pages"]["negatives"] == {"read": 120, "blank": 0, "drawn": 120}
    trained_on, held_out = about["trained_on"], about["held_out"]
    assert trained_on["positives"] + held_out["positives"] == trained_on["negatives"] + held_out["negatives"] == 80


def test_the_most_per_class_are_drawn_by_hash(tmp_path):
    about = train(GOOD, BAD, tmp_path / "few.bin", 0, small(most_per_class=30))
    assert [about["pages"][name]["drawn"] for name in ("positives", "negatives")] == [30, 30]
    shuffled = train(GOOD[::-1], BAD[::-1], tmp_path / "few2.bin", 0, small(most_per_class=30))
    assert about == shuffled


def test_nothing_is_left_beside_the_model_its_description_and_pages_for_its_card(trained):
    path = trained[0]
    assert sorted(file.name for file in path.parent.iterdir()) == ["held_out.parquet", "quality.bin", "quality.json"]


@pytest.mark.parametrize(
    ("positives", "negatives", "which"),
    [
        ([], BAD, "positives"),
        (GOOD, [], "negatives"),
        (GOOD[:5], BAD, "positives"),
        ([Page("a", " \n\xa0")] * 99, BAD, "positives"),
    ],
)
def test_too_few_pages_of_a_class_are_an_error_that_names_it(tmp_path, positives, negatives, which):
    with pytest.raises(TrainingError, match=f"among the {which}, at least 20"):
        train(positives, negatives, tmp_path / "none.bin", 0, small())
    assert list(tmp_path.iterdir()) == []


def test_marks_in_a_text_neither_cut_it_nor_label_it(tmp_path):
    marked = [page._replace(text="</s> __label__negative " + page.text) for page in GOOD]
    about = train(marked, BAD, tmp_path / "marked.bin", 0, small())
    assert about["held_out"]["area_under_curve"] == 1.0
    assert load(tmp_path / "marked.bin").labels == ("__label__negative", "__label__positive")


def test_a_lone_surrogate_does_not_lose_the_batch(tmp_path):
    assert (
        train([*GOOD, Page("odd", "whale \ud800")], BAD, tmp_path / "odd.bin", 0, small())["pages"]["positives"]["read"]
        == 81
    )


def test_a_failed_training_says_why_and_leaves_nothing(tmp_path):
    wrong = small()
    wrong.hyperparameters["loss"] = "hinge"
    with pytest.raises(TrainingError, match=r"wrong\.bin failed"):
        train(GOOD, BAD, tmp_path / "wrong.bin", 0, wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_description_of_another_model_is_refused(trained, tmp_path):
    path = tmp_path / "quality.bin"
    path.write_bytes(trained[0].read_bytes())
    path.with_suffix(".json").write_text(json.dumps({**trained[1], "sha256": "0" * 64}))
    with pytest.raises(ModelFileError, match=r"not the one in quality\.json"):
        load(path)


def test_the_reading_travels_with_the_model(trained):
    assert load(trained[0]).reading.last == 1500


def test_the_group_has_one_column_and_its_label_from_the_description(trained):
    group = classifier_group("quality", trained[0])
    batch = group.measure(pa.array(["a", "b"]), PageBatch(pa.array(["whale", None])))
    assert batch.schema.names == ["id", "quality"]
    assert batch["quality"].null_count == 1


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("sample", "heldout", 0.1, "no key 'heldout': did you mean 'held_out'"),
        ("sample", "held_out", 2, "held_out is 2"),
        ("reading", "last", -1, "last is -1"),
        ("hyperparameters", "epochs", 5, "no key 'epochs': did you mean 'epoch'"),
    ],
)
def test_a_recipe_with_an_unknown_or_impossible_key_is_refused(part, key, value, message):
    written = yaml.safe_load((CONF / "gao.yaml").read_text())
    written[part][key] = value
    with pytest.raises(ValueError, match=message):
        recipe(written)


def test_a_recipe_that_lacks_a_key_is_refused():
    written = yaml.safe_load((CONF / "gao.yaml").read_text())
    del written["hyperparameters"]["dim"]
    with pytest.raises(ValueError, match="lacks dim"):
        recipe(written)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_recipe_in_conf_is_one(file):
    recipe(yaml.safe_load(file.read_text()))


def test_a_model_that_a_full_disk_has_cut_is_not_taken(tmp_path, monkeypatch):
    def cut(task, arguments, deadline):
        in_child(task, arguments, deadline)
        whole = Path(arguments["model"]).read_bytes()
        Path(arguments["model"]).write_bytes(whole[: len(whole) // 2])

    monkeypatch.setattr(training, "in_child", cut)
    with pytest.raises(OSError, match=r"No space left on device: .*cut\.bin"):
        train(GOOD, BAD, tmp_path / "cut.bin", 0, small())
    assert list(tmp_path.iterdir()) == []
