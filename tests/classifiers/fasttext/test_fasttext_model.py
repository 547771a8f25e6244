"""Loading: what is not a whole model is refused in a sentence, in time; scoring: what the bare library says, and null."""

import pickle
import random

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from classifiers.fasttext import model as fasttext_model
from classifiers.fasttext.child import in_child
from classifiers.fasttext.file import ModelFileError, check_file
from classifiers.fasttext.model import classifier_group, digest, load, score_batch
from filters.pages import PageBatch


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A model as someone else would have made it: no description beside it."""
    folder = tmp_path_factory.mktemp("foreign")
    draw = random.Random(0)
    words = {"hq": ["whale", "sea", "captain"], "cc": ["casino", "bonus", "click"]}
    rows = [
        f"__label__{label} " + " ".join(draw.choices([*of, "the"], k=8)) for label, of in words.items() for _ in range(50)
    ]
    draw.shuffle(rows)
    (folder / "text").write_text("\n".join(rows) + "\n")
    arguments = {"text": str(folder / "text"), "model": str(folder / "model.bin"), "seed": 0}
    hyperparameters = {"dim": 16, "bucket": 5000, "wordNgrams": 2, "minn": 2, "maxn": 3, "epoch": 200}
    in_child("train", {**arguments, "hyperparameters": hyperparameters}, 60)
    return folder / "model.bin"


TEXTS = pa.array(["the whale", "a casino\nbonus", "sea " * 500, "", " \n\t\xa0", None, "unknown words only"])


def test_scores_are_the_bare_librarys(model_file):
    model, library = load(model_file), fasttext.load_model(str(model_file)).f
    scores = score_batch(model, TEXTS, "__label__hq")
    for text, score in zip(TEXTS.to_pylist(), scores.to_pylist(), strict=True):
        if not (text or "").split():
            assert score is None
            continue
        names, values = library.multilinePredict([" ".join(text.split()) + "\n"], -1, 0.0, "strict")
        assert score == pytest.approx(min(1.0, float(values[0][names[0].index("__label__hq")])), abs=1e-6)
    assert scores.type == pa.float64()


def test_white_space_of_any_kind_and_any_batch_give_the_same_score(model_file):
    model = load(model_file)
    texts = pa.array(["the whale sea", "the\xa0whale\u3000sea", "\nthe\r\nwhale\0sea\n\n", "the whale\u2028sea"])
    assert len(set(score_batch(model, texts, "__label__hq").to_pylist())) == 1
    alone = [score_batch(model, texts.slice(k, 1), "__label__hq")[0].as_py() for k in range(len(texts))]
    assert alone == score_batch(model, texts, "__label__hq").to_pylist()


def test_an_end_mark_in_the_text_does_not_hide_the_rest(model_file):
    model = load(model_file)
    hidden = score_batch(model, pa.array(["the </s> casino casino casino"]), "__label__hq")[0].as_py()
    assert hidden < 0.5


def test_scores_stay_within_0_and_1(model_file):
    scores = score_batch(load(model_file), pa.array(["whale sea captain " * 100]), "__label__hq")
    assert 0.99 < scores[0].as_py() <= 1.0


def test_a_page_of_endless_words_costs_no_more_than_its_cap(model_file):
    model = load(model_file)
    assert model.reading.characters == 1_000_000
    endless, cut = pa.array(["sea " * 2_000_000]), pa.array(["sea " * 250_000])
    assert score_batch(model, endless, "__label__hq").equals(score_batch(model, cut, "__label__hq"))


def test_an_empty_batch_has_no_scores(model_file):
    assert len(score_batch(load(model_file), pa.array([], pa.string()), "__label__hq")) == 0


def test_every_truncation_is_refused_without_loading(model_file, tmp_path):
    whole = model_file.read_bytes()
    cut = tmp_path / "cut.bin"
    for size in {*range(0, 700, 7), *range(700, len(whole), len(whole) // 50), len(whole) - 4096, len(whole) - 1}:
        cut.write_bytes(whole[:size])
        with pytest.raises(ModelFileError, match=r"truncated|empty|does not begin"):
            check_file(cut)
    cut.write_bytes(whole + b"\0")
    with pytest.raises(ModelFileError, match="1 bytes follow its end"):
        check_file(cut)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><title>404</title>", "HTML or XML page"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip-compressed"),
        (b"", "is empty"),
        (b"just some text", "does not begin with fastText's mark"),
    ],
)
def test_what_is_no_model_is_called_by_its_name(tmp_path, content, sentence):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=sentence):
        load(path)


def test_a_missing_model_is_a_sentence(tmp_path):
    with pytest.raises(ModelFileError, match="no model file"):
        load(tmp_path / "none.bin")
    with pytest.raises(ModelFileError, match="is a folder"):
        load(tmp_path)


def test_a_damaged_header_never_hangs_or_kills_us(model_file, tmp_path):
    draw = random.Random(1)
    whole = bytearray(model_file.read_bytes())
    for at in draw.sample(range(8, 120), 6):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path = tmp_path / f"{at}.bin"
        path.write_bytes(damaged)
        try:
            scores = score_batch(load(path), pa.array(["the whale"]), "__label__hq")
        except ModelFileError:
            continue
        assert scores.null_count == 0  # a flip that this model does not use, such as a learning rate


def test_weights_that_are_no_numbers_are_refused(model_file, tmp_path):
    whole = model_file.read_bytes()
    path = tmp_path / "nan.bin"
    path.write_bytes(whole[:-32] + np.full(8, np.nan, np.float32).tobytes())
    with pytest.raises(ModelFileError, match="model file"):
        load(path)


@pytest.fixture(scope="module")
def quantized(model_file):
    """The same model, quantized: the library is asked."""
    model = fasttext.load_model(str(model_file))
    model.quantize(str(model_file.parent / "text"), cutoff=0, retrain=False)
    model.save_model(str(model_file.with_suffix(".ftz")))
    return model_file.with_suffix(".ftz")


def test_a_quantized_model_is_scored_too(model_file, quantized):
    roughly, exactly = (score_batch(load(file), TEXTS, "__label__hq").to_pylist() for file in (quantized, model_file))
    assert [score is None for score in roughly] == [score is None for score in exactly]
    assert [round(score) for score in roughly[:3]] == [round(score) for score in exactly[:3]]


def test_a_child_that_does_not_answer_is_given_up(quantized, monkeypatch):
    monkeypatch.setattr(fasttext_model, "LOADING_BASE_S", 0.01)
    with pytest.raises(ModelFileError, match="no answer within"):
        fasttext_model.try_out(quantized)


def test_a_damaged_quantized_model_never_hangs_or_kills_us(quantized, tmp_path):
    path = tmp_path / "damaged.ftz"
    path.write_bytes(quantized.read_bytes()[:-8])
    with pytest.raises(ModelFileError, match="truncated"):
        load(path)


def test_a_pinned_sha256_must_match(model_file):
    assert load(model_file, digest(model_file).upper()).labels == ("__label__cc", "__label__hq")
    with pytest.raises(ModelFileError, match="not the one given"):
        load(model_file, "0" * 64)


def test_a_group_of_a_foreign_model_needs_a_label_that_it_has(model_file):
    with pytest.raises(ModelFileError, match="say which label"):
        classifier_group("quality", model_file)
    with pytest.raises(ModelFileError, match="did you mean '__label__hq'"):
        classifier_group("quality", model_file, label="__label__hg")


def test_a_group_travels_to_a_worker_as_a_few_strings(model_file):
    group = pickle.loads(pickle.dumps(classifier_group("quality", model_file, label="__label__hq")))  # noqa: S301 - our own bytes
    assert len(pickle.dumps(group)) < 2000
    batch = group.measure(pa.array(list("abcdefg")), PageBatch(TEXTS))
    assert batch["quality"].equals(score_batch(load(model_file), TEXTS, "__label__hq"))
