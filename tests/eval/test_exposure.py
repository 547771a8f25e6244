"""How often entries were read and what they cost, against counting by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.exposure import bin_name, bins, on_held_out, read_of, seen, variety
from eval.packed import Batches, Packed, PackedHeader
from eval.tokenizer import END_OF_TEXT, encode_batch, entry_bytes, load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the cat sat on the mat and the other cat ate the hat"] * 5, 290, folder)
    return load_tokenizer(folder)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_every_token_that_a_step_is_given_counts_and_no_other(tmp_path, monkeypatch, block):
    monkeypatch.setattr("eval.exposure.BLOCK_TOKENS", block)
    header = PackedHeader(23, 1, 1, 23, 3, 0, "fresh", 50, 0, "<u2", "t", "")
    packed = Packed(tmp_path / "a.bin", header, np.arange(23, dtype=np.uint16))
    given = np.unique(np.concatenate(list(Batches(packed, 2, 20).from_step(0))))
    read = read_of(packed, 2, 20)
    assert read.tolist() == given.tolist() == list(range(19))
    counts = seen(np.array([4, 4, 0, 2, 4]), 6)
    assert counts.tolist() == [1, 0, 1, 0, 3, 0]


def test_what_an_entry_costs_is_summed_over_its_places():
    held_out, nats = on_held_out(np.array([2, 0, 2]), np.array([1.5, 0.25, 2.0]), 4)
    assert held_out.tolist() == [1, 0, 2, 0]
    assert nats.tolist() == [0.25, 0.0, 3.5, 0.0]


@pytest.fixture(scope="module")
def of_entry(tokenizer):
    return entry_bytes(tokenizer)


@given(st.integers(0, 2**45))
@settings(max_examples=50)
def test_a_bin_holds_the_counts_that_its_name_says(count):
    low, _, high = bin_name(int(bins(np.array([count]))[0])).partition("-")
    assert int(low) <= count <= int(high or low)


def test_bins_double():
    names = list(dict.fromkeys(bin_name(number) for number in bins(np.arange(17))))
    assert names == ["0", "1", "2-3", "4-7", "8-15", "16-31"]


@given(st.text(max_size=60))
@settings(max_examples=40)
def test_the_bytes_of_entries_are_those_of_the_text(tokenizer, of_entry, text):
    ids, _ = encode_batch(tokenizer, [text])
    assert b"".join(of_entry[token] for token in ids.tolist()) == text.encode()
    assert of_entry[tokenizer.token_to_id(END_OF_TEXT)] == b""


def test_monotonous_text_has_fewer_types_and_compresses_more(tokenizer, of_entry):
    texts = ["the cat " * 100, " ".join(f"{number * 7919 % 10007}" for number in range(300))]
    read = [encode_batch(tokenizer, [text])[0] for text in texts]
    dull, varied = (variety(tokens, seen(tokens, len(of_entry)), of_entry) for tokens in read)
    assert dull["bytes"] == len(texts[0]) and dull["tokens"] == len(read[0])
    assert dull["types"] < varied["types"] and dull["compression"] > 3 * varied["compression"] > 3
    assert json.loads(json.dumps(dull)) == dull
