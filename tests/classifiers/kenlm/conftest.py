"""A tiny model written by hand, and a pair trained on made-up text where KenLM's programs are."""

import random
from pathlib import Path

import pyarrow as pa
import pytest

from classifiers.kenlm.kind import Options
from classifiers.kenlm.training import missing_tools, tool
from classifiers.kinds import Page

ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-2\t<unk>\t0
0\t<s>\t-0.25
-1\t</s>\t0
-0.5\tthe\t-0.125
-0.75\twhale\t-0.0625

\\2-grams:
-0.25\t<s> the
-0.375\tthe whale
-0.5\twhale </s>

\\end\\
"""
CALM = "the river and a stone that have been with of to be house garden letter winter candle bridge market forest".split()
LOUD = (
    "casino bonus click free winner prize offer now credit cheap pills order account urgent claim cash deal limited".split()
)


HOSTILE = {
    "one token ten million times": b"the " * 10_000_000,
    "one token of 50 MB": b"x" * 50_000_000,
    "bytes that are no UTF-8": b"the \xff\xfe whale \xed\xa0\x80",
    "NUL bytes": b"\0the\0\0 whale\0",
    "the model's own marks": b"<s> </s> <unk> <s>",
    "blanks of all kinds": "\xa0\u3000\u2028\x85 ".encode(),
}


def made_up(words: list[str], count: int, seed: int) -> list[Page]:
    """Pages of made-up sentences."""
    draw = random.Random(seed)
    lines = [" ".join(draw.choices(words, k=draw.randint(3, 12))).capitalize() + "." for _ in range(count * 6)]
    return [Page(f"{seed}-{at}", "\n".join(lines[at * 6 : at * 6 + 6])) for at in range(count)]


@pytest.fixture(scope="session")
def arpa(tmp_path_factory) -> Path:
    """Five words and three pairs, with their probabilities."""
    file = tmp_path_factory.mktemp("arpa") / "tiny.arpa"
    file.write_text(ARPA)
    return file


@pytest.fixture(scope="session")
def tools() -> None:
    """Skips where KenLM's programs are not there: set-up builds them, or `make kenlm-tools`."""
    if missing_tools() or tool("query") is None:
        pytest.skip("KenLM's programs are not there: make kenlm-tools")


@pytest.fixture(scope="session")
def asked() -> Options:
    """A pair of models over one SentencePiece."""
    return Options(text=["good.jsonl"], against={"loud": ["bad.jsonl"]}, order=3, pieces=120)


@pytest.fixture(scope="session")
def texts() -> dict[str, list[Page]]:
    """What the pair is trained on."""
    return {"text": made_up(CALM, 150, 0), "against.loud": made_up(LOUD, 100, 1)}


@pytest.fixture(scope="session")
def trained(tools, asked, texts, tmp_path_factory) -> Path:
    """The folder of the pair."""
    folder = tmp_path_factory.mktemp("pair")
    asked.train(texts, folder)
    return folder


@pytest.fixture(scope="session")
def hostile() -> pa.Array:
    """Pages that nobody wrote to be read."""
    return pa.array(HOSTILE.values(), pa.large_binary()).view(pa.large_string())
