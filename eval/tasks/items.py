"""One row an item: whether a model answers it, and what the right answer costs. All that is said of tasks is made of these.

Sums over items are never kept without their items, so that any later statistic needs no model.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import LlamaForCausalLM

from eval.tasks.scoring import Answered, Question, Scores, score

ITEMS = pa.schema(
    [
        ("template", pa.string()),
        ("item", pa.string()),
        ("group", pa.string()),
        ("right", pa.int64()),
        ("nats", pa.list_(pa.float64())),
        ("length", pa.list_(pa.int64())),
        ("bytes", pa.int64()),
        ("characters", pa.int64()),
        ("correct", pa.bool_()),
        ("correct_normalised", pa.bool_()),
        ("bits_per_byte", pa.float64()),
        ("probability_per_character", pa.float64()),
        ("cut", pa.int64()),
        ("skipped", pa.string()),
    ]
)
"""`nats`, `length`: of each answer, as `eval.tasks.requests` has them; `bytes`, `characters`: of the right one; `correct`:
it costs least, or where there is no other each of its tokens is the likeliest; `correct_normalised`: it costs least for its
length; `bits_per_byte` and `probability_per_character` (exp(-nats / characters)): of the right one; `cut`: tokens cut off on
the left; `skipped`: why there is no score, which is then null."""

METRICS: Mapping[str, str] = {
    "accuracy": "correct",
    "accuracy_normalised": "correct_normalised",
    "bits_per_byte": "bits_per_byte",
    "probability_per_character": "probability_per_character",
}
"""What is said of a task -> the column whose mean over items it is."""


def score_items(model: LlamaForCausalLM, requests: pa.Table, context: int, device: str = "cpu") -> tuple[pa.Table, Scores]:
    """Rows of ITEMS, one for each template and item of the requests in their order, and the scores they are made of."""
    rows = requests.to_pylist()
    items = [list(group) for _, group in groupby(rows, key=lambda row: (row["template"], row["item"]))]
    asked = [at for at, item in enumerate(items) if item[0]["skipped"] is None]
    questions = [
        Question(*([np.array(row[kind], np.int64) for row in items[at]] for kind in ("context", "answer"))) for at in asked
    ]
    scores = score(model, questions, context, device)
    found = dict(zip(asked, scores.answered, strict=True))
    return pa.Table.from_pylist([_item(item, found.get(at)) for at, item in enumerate(items)], schema=ITEMS), scores


def _item(answers: list[dict[str, Any]], answered: Answered | None) -> dict[str, Any]:
    first = answers[0]
    item = {name: first[name] for name in ("template", "item", "group", "right")}
    item["length"] = [answer["length"] for answer in answers]
    if answered is None:
        return item | {"skipped": first["skipped"]}
    right = first["right"]
    nats, lengths = answered.nats, np.maximum(item["length"], 1)
    size, characters = answers[right]["bytes"], answers[right]["characters"]
    alone = len(nats) == 1
    return item | {
        "nats": nats.tolist(),
        "bytes": size,
        "characters": characters,
        "correct": bool(answered.greedy[0] if alone else np.argmin(nats) == right),
        "correct_normalised": bool(answered.greedy[0] if alone else np.argmin(nats / lengths) == right),
        "bits_per_byte": float(nats[right] / np.log(2) / size),
        "probability_per_character": float(np.exp(-nats[right] / characters)),
        "cut": int(answered.cut.max()),
    }


def means(items: pa.Table, template: str) -> dict[str, float]:
    """Each metric over the scored items of a template; empty where none is scored."""
    scored = items.filter((pa.compute.field("template") == template) & pa.compute.field("skipped").is_null())
    if not len(scored):
        return {}
    return {metric: float(scored[column].cast(pa.float64()).to_numpy().mean()) for metric, column in METRICS.items()}
