import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.gpt import build_model
from eval.sizes import ModelSize
from eval.tasks.scoring import MOST_PADDING, Question, _rows, score

CONTEXT, VOCABULARY = 12, 9
SIZE = ModelSize(2, 16, 2, 32, CONTEXT, CONTEXT, 0.01, 0.1, 0.1)
MODEL = build_model(SIZE, VOCABULARY, 0, seed=1)
TOKENS = st.integers(0, VOCABULARY - 1)
PAIRS = st.tuples(st.lists(TOKENS, min_size=1, max_size=20), st.lists(TOKENS, min_size=1, max_size=CONTEXT))


@torch.no_grad()
def alone(context, answer):
    """One answer by itself, the plain way: nats and whether it is the greedy one."""
    fed = torch.tensor([*context, *answer][-(CONTEXT + 1) :][:-1])
    logits = MODEL(fed[None]).logits[0, -len(answer) :].double().log_softmax(-1)
    nats = -logits[torch.arange(len(answer)), torch.tensor(answer)].sum().item()
    return nats, logits.argmax(1).tolist() == list(answer)


def question(pairs):
    return Question(*([np.array(one, np.int64) for one in side] for side in zip(*pairs, strict=True)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(PAIRS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_each_answer_costs_what_it_costs_by_itself(questions):
    scores = score(MODEL, [question(pairs) for pairs in questions], CONTEXT)
    for pairs, answered in zip(questions, scores.answered, strict=True):
        expected = [alone(*pair) for pair in pairs]
        assert np.allclose(answered.nats, [nats for nats, _ in expected], atol=1e-4)
        assert answered.greedy.tolist() == [greedy for _, greedy in expected]
        assert answered.cut.tolist() == [max(0, len(before) + len(answer) - CONTEXT - 1) for before, answer in pairs]


def test_a_beginning_that_answers_share_is_read_once():
    pairs = [([1, 2, 3, 4], [5, 6]), ([1, 2, 3, 4], [5, 7, 8]), ([1, 2, 3, 4], [6])]
    fed = score(MODEL, [question(pairs)], CONTEXT).fed
    # The shared 1 2 3 4; then 5, and 5 7; what ends an answer is not fed.
    assert fed == 4 + 1 + 2


def test_two_contexts_before_one_answer_share_what_they_begin_with():
    pairs = [([1, 2, 3], [7, 8]), ([1, 2, 4], [7, 8])]
    assert score(MODEL, [question(pairs)], CONTEXT).fed == 2 + 2 + 2


def test_answers_that_share_little_are_rows_of_their_own_where_that_is_less_work():
    """Of a row of all answers every pair of tokens is looked at, whichever answers they belong to."""
    ends = [(np.arange(100) + at) % 9 for at in range(4)]
    apart = Question([np.full(200, at) for at in range(4)], ends)
    alike = Question([np.zeros(200, int)] * 4, ends)
    assert len(_rows(apart, 512, 100.0)) == len(_rows(alike, 512, 100.0)) == 4
    assert len(_rows(alike, 512, 1e6)) == 1  # where a token costs most, none is fed twice
    assert len(_rows(Question(alike.contexts, [end[:10] for end in ends]), 512, 100.0)) == 1


def test_less_than_a_tenth_is_padding():
    draw = np.random.default_rng(0)
    pairs = [[(draw.integers(0, 9, draw.integers(1, 13)), draw.integers(0, 9, draw.integers(1, 8)))] for _ in range(300)]
    scores = score(MODEL, [question(one) for one in pairs], CONTEXT)
    assert 0 <= scores.padding < MOST_PADDING * scores.fed


def test_a_broken_model_gives_no_scores():
    broken = build_model(SIZE, VOCABULARY, 0, seed=1)
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    with pytest.raises(ValueError, match="no finite likelihood for question 0"):
        score(broken, [question([([1], [2])])], CONTEXT)
