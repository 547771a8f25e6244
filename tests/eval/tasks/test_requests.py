from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.tasks.requests import (
    NO_RIGHT_ANSWER,
    NO_TOKEN,
    TOO_LONG,
    Request,
    TaskError,
    drawn,
    encoded,
    lm_eval_config,
    requests_of,
)
from eval.tokenizer import end_of_text, load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the boat went over the river and the birds sang"] * 3, 290, folder)
    return load_tokenizer(folder)


def request(context, answer, item="a", right=0, choice=0):
    return Request(item, None, choice, right, context, answer, len(answer))


TEXTS = st.text(st.sampled_from("the boat\nriver é"), max_size=20)


@settings(max_examples=50, deadline=None)
@given(TEXTS, TEXTS.filter(str.strip))
def test_an_answers_tokens_are_those_beyond_as_many_as_its_text_has(tokenizer, context, answer):
    """As the harness has it: spaces at the end of the text belong to the answer, and an empty text is the mark."""
    [row] = encoded(tokenizer, "plain", [request(context, answer)], 99).to_pylist()
    own, whole = (tokenizer.encode(text, add_special_tokens=False).ids for text in (context.rstrip(), context + answer))
    assert row["context"] == (own or [end_of_text(tokenizer)])
    assert row["answer"] == whole[len(own) :]
    assert row["bytes"] == len(answer.encode()) and row["characters"] == len(answer)


def test_what_cannot_be_asked_is_skipped_with_all_its_answers(tokenizer):
    rows = [
        request("the", " boat", "no right", right=None),
        request("the", "", "no token"),
        request("the", " river" * 9, "long"),
        request("the", " boat", "long", choice=1),
        request("the", " boat", "fine"),
    ]
    skipped = dict.fromkeys(one.item for one in rows)
    skipped |= {row["item"]: row["skipped"] for row in encoded(tokenizer, "plain", rows, 8).to_pylist()}
    assert skipped == {"no right": NO_RIGHT_ANSWER, "no token": NO_TOKEN, "long": TOO_LONG, "fine": None}


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 20))
def test_groups_are_drawn_evenly_and_more_items_add_to_fewer(groups, most):
    docs = [{"item": str(at), "group": group} for at, group in enumerate(groups)]
    chosen = drawn(docs, most, "task")
    assert len(chosen) == min(most, len(docs))
    counts, there = Counter(doc["group"] for doc in chosen), Counter(groups)
    for group, number in counts.items():
        # Who has fewer than another has none left.
        assert number >= max(counts.values()) - 1 or number == there[group]
    assert all(doc in drawn(docs, most + 1, "task") for doc in chosen)


CHOICES = {"doc_to_text": "Q: {{query}}", "doc_to_choice": "choices", "doc_to_target": "gold"}


def test_a_template_that_does_not_fit_is_one_sentence():
    docs = [{"item": "1", "group": None, "query": "x", "choices": ["a", "b"], "gold": 0}]
    config = lm_eval_config("mine_plain", "multiple_choice", CHOICES | {"doc_to_text": "{{question}}"})
    with pytest.raises(TaskError, match=r"mine_plain: its template does not fit its items: 'question' is undefined"):
        requests_of(config, docs)


def test_a_right_answer_that_is_none_of_the_choices_is_none():
    docs = [{"item": str(at), "group": None, "query": "x", "choices": ["a", "b"], "gold": at} for at in range(3)]
    asked = requests_of(lm_eval_config("mine_plain", "multiple_choice", CHOICES), docs)
    assert [(one.item, one.right) for one in asked[::2]] == [("0", 0), ("1", 1), ("2", None)]
    assert asked[0].context == "Q: x" and [one.answer for one in asked[:2]] == [" a", " b"]
