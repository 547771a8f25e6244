"""Which scorer sees spam that it was never shown: area under the curve of ham against spam, and what the rules let through.

Classifiers are trained as an experiment trains them, with good texts against crawl pages and no mail among either, then
score SpamAssassin's ham and spam (`../shared/data/text`). The mails are of 2002 and 2003 and in English: this is a test of
scorers on text unlike what they learned, and says little of web spam.
"""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import filters
from filters.pages import PageBatch
from jobs import read, score, split, train_classifier
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.session import HOME

TEXTS = HOME.parent / "shared" / "data" / "text"
REFERENCE = [TEXTS / "public_domain_sotu_mobydick.jsonl.gz", TEXTS / "ud_english_ewt.jsonl.gz"]
MAIL = TEXTS / "spamassassin.jsonl.gz"
KEEPS = 0.9
"""The level is put where it keeps so much of the ham."""
OUT = HOME / "out" / "spam"

Floats = npt.NDArray[np.float64]


def scorers() -> dict[str, Any]:
    """The classifiers, each as the experiment file has it: all learn from the same good texts and the same crawl."""
    good = [str(file) for file in REFERENCE]
    return {
        "fasttext": {"fasttext": {"preset": "gao_small", "positives": good}},
        "hashing_tf": {"hashing_tf": {"positives": good}},
        "importance": {"importance": {"target": good}},
        "perplexity": {"kenlm": {"text": good}},
    }


def rows(shards: list[Path]) -> list[dict[str, Any]]:
    """The rows of `score.spam`, one a scorer; none where the texts are not at hand."""
    if not MAIL.exists():
        return []
    experiment = Experiment.model_validate(
        {
            "out": OUT,
            "pages": {"from": [str(shard) for shard in shards]},
            "classifiers": scorers(),
            "signals": {name: {} for name in scorers()},
            "evaluate": {"held_out": {"share": 0}},
        }
    )
    for verb in (read, split, train_classifier, score):
        verb.main(experiment)
    texts, spam = mails()
    passes = filters.keep(filters.measure(texts, ["gopher"]), "gopher").to_numpy(zero_copy_only=False)
    found = []
    for name, one in experiment.classifiers.items():
        group = one.options.group(name, Places(experiment.out).classifier(name))
        column = group.measure(pa.array([str(at) for at in range(len(texts))]), PageBatch(texts))[1]
        values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        if "perplexity" in column.type.__str__() or name == "perplexity":
            values = -values  # the lower the better
        found.append(_row(name, np.nan_to_num(values, nan=-np.inf), spam, passes))
    return found


def mails() -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Text of every mail that has one, and whether it is spam."""
    with gzip.open(MAIL, "rt", encoding="utf-8") as file:
        told: list[Mapping[str, Any]] = [json.loads(line) for line in file]
    told = [mail for mail in told if mail["text"].strip()]
    return pa.array([mail["text"] for mail in told], pa.large_string()), np.array([mail["label"] == "spam" for mail in told])


def _row(name: str, values: Floats, spam: npt.NDArray[np.bool_], passes: npt.NDArray[np.bool_]) -> dict[str, Any]:
    level = np.quantile(values[~spam], 1 - KEEPS)
    let_through = spam & passes
    caught = float((values[let_through] < level).mean())
    return {
        "bench": "score.spam",
        "what": name,
        "ours": round(area_under_curve(values[~spam], values[spam]), 3),
        "unit": "area, ham over spam",
        "against": f"spam past the Gopher rules ({100 * let_through.sum() / spam.sum():.0f} %)",
        "theirs": f"{100 * caught:.0f} % of it below the level",
        "ratio": "",
    }


def area_under_curve(higher: Floats, lower: Floats) -> float:
    """How often a value of the first is above one of the second, ties as half (Mann and Whitney 1947)."""
    both = np.sort(lower)
    below, to = np.searchsorted(both, higher, "left"), np.searchsorted(both, higher, "right")
    return float((below + to).mean() / (2 * len(lower)))
