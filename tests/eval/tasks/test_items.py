import math

import numpy as np
import pyarrow as pa
import pytest

from eval.tasks import items
from eval.tasks.items import means, score_items
from eval.tasks.requests import REQUESTS
from eval.tasks.scoring import Answered, Scores


def row(item, choice, **other):
    given = {"template": "plain", "item": item, "choice": choice, "right": 0, "length": 4, "characters": 5, "bytes": 6}
    return given | {"context": [1], "answer": [2], **other}


def scored(monkeypatch, rows, nats, greedy=False):
    answers = [Answered(np.array(one), np.full(len(one), greedy), np.zeros(len(one), np.int64)) for one in nats]
    monkeypatch.setattr(items, "score", lambda *_: Scores(answers, 0, 0))
    return score_items(None, pa.Table.from_pylist(rows, schema=REQUESTS), 8)[0].to_pylist()


def test_an_item_by_hand(monkeypatch):
    """Nats 6 and 5: the wrong answer costs less, but for its 2 characters more than the right one for its 4."""
    [item] = scored(monkeypatch, [row("a", 0), row("a", 1, length=2)], [[6.0, 5.0]])
    assert not item["correct"] and item["correct_normalised"]
    assert item["bits_per_byte"] == pytest.approx(1 / math.log(2))
    assert item["probability_per_character"] == pytest.approx(math.exp(-6 / 5))
    assert item["nats"] == [6.0, 5.0] and item["length"] == [4, 2]


def test_an_answer_without_others_is_right_if_it_is_the_likeliest(monkeypatch):
    assert [scored(monkeypatch, [row("a", 0)], [[3.0]], greedy)[0]["correct"] for greedy in (True, False)] == [True, False]


def test_a_skipped_item_stands_in_the_table_without_scores(monkeypatch):
    rows = [row("a", 0, skipped="a reason"), row("b", 0, right=0)]
    first, second = scored(monkeypatch, rows, [[3.0]])
    assert first["skipped"] == "a reason" and first["correct"] is None and first["nats"] is None
    assert second["skipped"] is None and second["nats"] == [3.0]


def test_means_are_over_scored_items_of_a_template(monkeypatch):
    rows = [row("a", 0), row("a", 1), row("b", 0), row("b", 1), row("c", 0, skipped="why"), row("a", 0, template="other")]
    table = pa.Table.from_pylist(scored(monkeypatch, rows, [[1.0, 2.0], [2.0, 1.0], [9.0]]), schema=items.ITEMS)
    assert means(table, "plain")["accuracy"] == 0.5
    assert means(table, "plain")["bits_per_byte"] == pytest.approx(1.5 / math.log(2) / 6)
    assert means(table, "none of them") == {}
