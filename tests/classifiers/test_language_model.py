"""Bits per byte of a page are what a plain loop over transformers' classes and what jobs.evaluate say."""

import json
import math
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel

from classifiers.language_model import Options
from eval.bits_per_byte import page_nats
from eval.gpt import load_model
from eval.report.scorers import read_scorers
from eval.tokenizer import encode_batch, load_tokenizer
from filters.pages import PageBatch
from jobs import score, train_classifier
from jobs.parts.refusals import ExperimentError

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["the whale", "Casino bonus casino, casino.", "Größe und 日本語", "a<|endoftext|>b", "the sea captain " * 8, "x"]


def scores(group, given):
    return group.measure(pa.array([str(row) for row in range(len(given))]), PageBatch(given))["quality"].to_pylist()


def plain_loop(folder, texts, **how):
    """Bits per byte of whole texts, one by one, after the mark."""
    tokenizer, model = (kind.from_pretrained(folder, **how) for kind in (AutoTokenizer, AutoModelForCausalLM))
    for text in texts:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, split_special_tokens=True)["input_ids"]]])
        with torch.inference_mode():
            loss = model.eval()(input_ids=ids, labels=ids).loss
        yield loss.item() * (ids.shape[1] - 1) / math.log(2) / len(text.encode())


def test_bits_per_byte_are_a_plain_loops(own_run, tmp_path):
    group = Options(model=own_run).group("quality", tmp_path)
    plain = list(plain_loop(own_run, TEXTS))
    assert np.std(plain) > 0.01
    assert scores(group, pa.array(TEXTS)) == pytest.approx(plain, abs=1e-5)


def test_a_page_that_is_longer_than_the_model_sees_is_what_evaluate_says(own_run, tmp_path):
    long = ["the whale and some casino " * repeats for repeats in (30, 60, 100)]
    tokens, offsets = encode_batch(load_tokenizer(own_run), long)
    assert np.diff(offsets).min() > 128
    nats = page_nats(load_model(own_run), tokens, offsets, 128, 0)
    evaluated = nats / math.log(2) / [len(text.encode()) for text in long]
    found = scores(Options(model=own_run, tokens=10_000).group("quality", tmp_path), pa.array(long))
    assert found == pytest.approx(evaluated, abs=1e-5)


def test_what_is_cut_away_adds_no_bits_and_no_bytes(own_run, tmp_path):
    tokenizer = load_tokenizer(own_run)
    text = "the whale and the sea captain click bonus " * 3
    begins = tokenizer.decode(tokenizer.encode(text).ids[:20])
    found = scores(Options(model=own_run, tokens=20).group("quality", tmp_path), pa.array([text, begins]))
    assert text.startswith(begins) and found[0] == pytest.approx(found[1], abs=1e-6)
    cut = Options(model=own_run, characters=9).group("quality", tmp_path)
    assert len(set(scores(cut, pa.array(["the whale", "the whale and the sea"])))) == 1


def test_odd_pages_get_null_or_a_number(own_run, tmp_path, odd_pages):
    found = scores(Options(model=own_run, tokens=128).group("quality", tmp_path), odd_pages)
    assert [bits is None for bits in found] == [True, True, False, False, False, False, False, False, True]
    assert all(math.isfinite(bits) and bits > 0 for bits in found if bits is not None)


def test_it_has_nothing_to_learn_but_a_card(own_run, sides, asked, tmp_path):
    assert train_classifier.main(asked("language_model", model=str(own_run))) == 0
    assert not (tmp_path / "out").exists()
    experiment = asked("language_model", model=str(own_run), **sides)
    assert train_classifier.main(experiment) == 0
    file = tmp_path / "out" / "models" / "quality" / "model.json"
    (card,) = read_scorers({"quality": file}, tmp_path / "none", []).cards
    (column,) = card.columns
    assert column.lower and column.area is not None and 0 <= column.length + 1 <= 2
    assert [side.pages for side in card.sides] == [0, 0] and "1 bits" not in file.read_text()
    assert column.area == pytest.approx(json.loads(file.read_text())["held_out"]["area_under_curve"])
    group = score.groups(experiment)["quality"]
    assert scores(group, pa.array(TEXTS)) == scores(Options(model=own_run).group("quality", tmp_path), pa.array(TEXTS))


def test_what_is_no_language_model_is_one_sentence(own_run, asked, tmp_path):
    def refusal(folder, **more):
        with pytest.raises(ExperimentError) as caught:
            train_classifier.check(asked("language_model", model=str(folder), **more))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "there is no folder" in refusal(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "it lacks config.json" in refusal(tmp_path / "empty")
    encoder = Path(shutil.copytree(own_run, tmp_path / "encoder"))
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=300, **shape)).save_pretrained(encoder)
    assert "not the weights of a causal language model" in refusal(encoder)
    gguf = tmp_path / "gguf"
    gguf.mkdir()
    (gguf / "one.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    assert "does not load as a model" in refusal(gguf)
    (gguf / "one.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62))  # tensors and values that it says it has
    assert "does not load as a model" in refusal(gguf)
    (gguf / "two.gguf").write_bytes(b"")
    assert "2 GGUF files (one.gguf, two.gguf)" in refusal(gguf)
    settings = json.loads((own_run / "tokenizer_config.json").read_text())
    markless = Path(shutil.copytree(own_run, tmp_path / "markless"))
    kept = {key: value for key, value in settings.items() if key not in ("bos_token", "eos_token")}
    (markless / "tokenizer_config.json").write_text(json.dumps(kept))
    assert "no token that begins or ends a text" in refusal(markless)


def test_negatives_without_positives_are_refused(own_run):
    with pytest.raises(ValueError, match="negatives belongs to positives"):
        Options(model=own_run, negatives="pages")


@pytest.fixture(scope="module")
def smollm2():
    folder = Path(os.environ.get("GOODHART_SMOLLM2", "nowhere"))
    if not folder.is_dir():
        pytest.skip("GOODHART_SMOLLM2 names no folder with SmolLM2-135M-Instruct")
    return folder


def test_a_model_in_a_gguf_file_says_what_a_plain_loop_says(smollm2, tmp_path):
    (file,) = smollm2.glob("*.gguf")
    found = scores(Options(model=smollm2).group("quality", tmp_path), pa.array(TEXTS))
    assert found == pytest.approx(list(plain_loop(smollm2, TEXTS, gguf_file=file.name)), abs=1e-5)
