"""A small causal language model with random weights, as a run of our own leaves it."""

import json
import random

import pyarrow as pa
import pytest
import torch

from eval.gpt import build_model
from eval.sizes import ModelSize
from eval.tokenizer import train_tokenizer

GOOD, BAD = "the whale and the sea captain".split(), "click bonus casino win now".split()
CONTEXT = 128


def made_up(words, count, most=40):
    """Texts of such words."""
    draw = random.Random(" ".join(words))
    return [" ".join(draw.choices([*words, "then", "some"], k=draw.randrange(4, most))) for _ in range(count)]


@pytest.fixture(scope="session")
def own_run(tmp_path_factory):
    """The folder of a model of 2 layers, 16 wide, that sees 128 tokens; its tokenizer has a token for Yes and for No."""
    folder = tmp_path_factory.mktemp("run")
    train_tokenizer([*made_up(GOOD, 30), *made_up(BAD, 30), *(["Yes No Yes, No.", "Yes", "No"] * 20)], 300, folder)
    with torch.random.fork_rng(devices=[]):
        build_model(ModelSize(2, 16, 2, 48, CONTEXT, CONTEXT, 1e-2, 0.05, 0.1), 300, 0, seed=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sides(tmp_path_factory):
    """Files of good and of bad pages."""
    folder = tmp_path_factory.mktemp("sides")
    for name, words in (("good", GOOD), ("bad", BAD)):
        lines = [json.dumps({"id": f"{name}-{at}", "text": text}) for at, text in enumerate(made_up(words, 90))]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return {"positives": [str(folder / "good.jsonl")], "negatives": [str(folder / "bad.jsonl")]}


@pytest.fixture
def asked(tmp_path):
    """The experiment whose classifier `quality` has these options, of this kind."""
    import yaml

    from jobs.parts.experiment_file import load

    def experiment(kind, **options):
        tree = {"pages": {"from": ["crawl/*.warc.gz"]}, "out": str(tmp_path / "out"), "signals": {"quality": {}}}
        file = tmp_path / "experiment.yaml"
        file.write_text(yaml.safe_dump({**tree, "classifiers": {"quality": {kind: options}}}))
        return load(file)

    return experiment


@pytest.fixture
def one_thread():
    """For models this small two threads on busy cores take many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def odd_pages():
    """Nothing, blanks, a huge word, many words, control characters, broken UTF-8, no page; the middle six have words."""
    odd = [
        b"",
        b" \n\t",
        b"a" * 10_000_000,
        b"the sea " * 6_000_000,
        b"\0whale\0",
        b"\xed\xa0\x80 whale",
        b"\xff",
        b"\0",
        None,
    ]
    return pa.array(odd, pa.large_binary()).view(pa.large_string())
