"""The tokenizer encodes every text, never mistakes a page's letters for its own mark, and is the same every time."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.tokenizer import (
    END_OF_TEXT,
    PIECE_CHARACTERS,
    encode_batch,
    end_of_text,
    load_tokenizer,
    pieces,
    token_dtype,
    tokenizer_digest,
    train_tokenizer,
)

TEXTS = [
    "The cat sat on the mat, and then the cat sat on the hat.",
    "Was filtered: 1,234 pages\n\nof the web.  Then more.",
] * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 300, path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=5))
def test_every_text_comes_back_from_its_tokens(tokenizer, texts):
    ids, offsets = encode_batch(tokenizer, texts)
    assert len(offsets) == len(texts) + 1 and offsets[-1] == len(ids)
    back = [tokenizer.decode(ids[a:b].tolist(), skip_special_tokens=False) for a, b in pairwise(offsets)]
    assert back == texts


def test_the_mark_written_in_a_page_is_ordinary_text(tokenizer):
    ids, _ = encode_batch(tokenizer, [f"before {END_OF_TEXT} after"])
    assert end_of_text(tokenizer) not in ids
    assert len(ids) > 10


def test_hugging_face_reads_the_saved_files_the_same_way(folder, tokenizer):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in [*TEXTS[:2], f"naïve 漢字 {END_OF_TEXT}", " two  spaces .\r\n"]:
        ids, _ = encode_batch(tokenizer, [text])
        assert theirs(text)["input_ids"] == ids.tolist()
        assert theirs.decode(ids.tolist()) == text
    assert theirs.eos_token_id == end_of_text(tokenizer)


def test_the_same_texts_give_the_same_bytes_in_another_process(folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from eval.tokenizer import train_tokenizer;"
        f"train_tokenizer({TEXTS!r}, 300, Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], check=True, env=environment)
    assert tokenizer_digest(tmp_path / "again") == tokenizer_digest(folder)
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_long_text_is_cut_where_no_token_changes(tokenizer):
    text = ("The cat, sat 12  on\n\nthe  mat \r\n and  it's 'the' hat\x1c!\u00a0x " * 4000)[:200_000]
    assert len(pieces(text)) > 2 and "".join(pieces(text)) == text
    ids, _ = encode_batch(tokenizer, [text])
    assert ids.tolist() == tokenizer.encode(text).ids


def test_a_run_without_spaces_is_cut_by_force_and_still_comes_back(tokenizer):
    text = "a" * (2 * PIECE_CHARACTERS + 5) + "漢" * 10
    assert [len(piece) for piece in pieces(text)] == [PIECE_CHARACTERS, PIECE_CHARACTERS, 15]
    ids, offsets = encode_batch(tokenizer, ["x", text, ""])
    assert tokenizer.decode(ids[offsets[1] : offsets[2]].tolist()) == text
    assert offsets[3] == offsets[2]


def test_ids_take_the_smallest_type_that_holds_them(tokenizer):
    assert encode_batch(tokenizer, TEXTS)[0].dtype == np.uint16
    assert encode_batch(tokenizer, [])[0].dtype == np.uint16
    assert token_dtype(65_536) == np.uint16 and token_dtype(65_537) == np.uint32


def test_what_cannot_be_a_tokenizer_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="257 is the least"):
        train_tokenizer(TEXTS, 100, tmp_path)
    with pytest.raises(ValueError, match="neutral sample is empty"):
        train_tokenizer(["", ""], 300, tmp_path)
    with pytest.raises(ValueError, match="no tokenizer at"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="not a readable tokenizer"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_is_loaded_once_and_again_when_its_file_changes(tmp_path):
    train_tokenizer(TEXTS, 300, tmp_path)
    first = load_tokenizer(tmp_path)
    assert load_tokenizer(tmp_path) is first
    train_tokenizer(TEXTS, 280, tmp_path)
    assert load_tokenizer(tmp_path).get_vocab_size() < first.get_vocab_size()
