"""Every token is scored once, with the context it should have, whatever shares its batch."""

import math

import numpy as np
import pytest
import torch

import eval.bits_per_byte
from eval.bits_per_byte import bits_per_byte, page_nats, summed, token_nats, utf8_bytes
from eval.gpt import build_model
from eval.sizes import ModelSize
from filters.windows import scored_windows

VOCABULARY, CONTEXT, MARK = 50, 8, 0
LENGTHS = [0, 1, 2, 7, 8, 9, 12, 13, 31, 5, 0, 64]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return build_model(ModelSize(2, 16, 2, 48, CONTEXT, 64, 1e-2, 0.05, 0.1), VOCABULARY, MARK, seed=3)


@pytest.fixture(scope="module")
def pages():
    random = np.random.default_rng(0)
    return [random.integers(1, VOCABULARY, n).astype(np.uint16) for n in LENGTHS]


def flat(pages):
    return np.concatenate([np.empty(0, np.uint16), *pages]), np.concatenate([[0], np.cumsum([len(p) for p in pages])])


def slow_nats(model, page):
    """One token at a time: the first window whole, then half windows, the last one ending with the page."""
    total = 0.0
    sequence = [MARK, *page.tolist()]
    for position in range(1, len(sequence)):
        end = CONTEXT if position <= CONTEXT else CONTEXT + math.ceil((position - CONTEXT) / (CONTEXT // 2)) * CONTEXT // 2
        end = min(end, len(page))
        seen = sequence[max(0, end - CONTEXT) : position]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([seen])).logits[0, -1].double()
        total += float(logits.logsumexp(0) - logits[sequence[position]])
    return total


def test_page_nats_agree_with_a_loop_over_single_tokens(model, pages):
    expected = [slow_nats(model, page) for page in pages]
    np.testing.assert_allclose(page_nats(model, *flat(pages), CONTEXT, MARK), expected, rtol=1e-5)


@pytest.mark.parametrize(("batch_tokens", "rows", "at_once"), [(1, 3, 16), (20, 16, 16), (4096, 17, 17)])
def test_batches_and_pieces_of_logits_are_as_large_as_fits_and_change_no_number(
    model, pages, monkeypatch, batch_tokens, rows, at_once
):
    together, shapes, pieces = token_nats(model, *flat(pages), CONTEXT, MARK), [], []
    plain = eval.bits_per_byte.hidden_states
    monkeypatch.setattr(
        eval.bits_per_byte,
        "hidden_states",
        lambda model, inputs: (shapes.append(tuple(inputs.shape)), plain(model, inputs))[1],
    )
    monkeypatch.setattr(eval.bits_per_byte, "BATCH_TOKENS", {"cpu": batch_tokens})
    monkeypatch.setattr(eval.bits_per_byte, "CACHED_LOGITS", rows * VOCABULARY)
    watching = model.lm_head.register_forward_hook(lambda _, given, __: pieces.append(len(given[0])))
    np.testing.assert_allclose(token_nats(model, *flat(pages), CONTEXT, MARK), together, rtol=1e-4)
    watching.remove()

    windows = [window for length in LENGTHS for window in scored_windows(length, CONTEXT)]
    windows.sort(key=lambda window: window[0] - window[2])
    expected_shapes, expected_pieces = [], []
    while windows:
        width = windows[0][2] - windows[0][0]
        batch, windows = windows[: max(1, batch_tokens // width)], windows[max(1, batch_tokens // width) :]
        expected_shapes.append((len(batch), width))
        scored = sum(end - first for _, first, end in batch)
        expected_pieces += [min(at_once, scored - start) for start in range(0, scored, at_once)]
    assert (shapes, pieces) == (expected_shapes, expected_pieces)


def test_the_tokens_of_a_page_cost_what_the_page_costs(model, pages):
    tokens, offsets = flat(pages)
    nats = token_nats(model, tokens, offsets, CONTEXT, MARK)
    assert nats.shape == tokens.shape and (nats > 0).all()
    assert np.array_equal(summed(nats, offsets), page_nats(model, tokens, offsets, CONTEXT, MARK))
    beginning = slow_nats(model, pages[4]) - slow_nats(model, pages[4][:-1])  # 8 tokens, one window: nothing else changes
    assert nats[offsets[5] - 1] == pytest.approx(beginning, rel=1e-3)


def test_a_page_scores_the_same_alone_and_among_others_and_twice_the_same(model, pages):
    together = page_nats(model, *flat(pages), CONTEXT, MARK)
    assert np.array_equal(together, page_nats(model, *flat(pages), CONTEXT, MARK))
    alone = [page_nats(model, *flat([page]), CONTEXT, MARK)[0] for page in pages]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_on_a_cpu_one_thread_is_used(model, pages):
    torch.set_num_threads(2)
    page_nats(model, *flat(pages), CONTEXT, MARK)
    assert torch.get_num_threads() == 1


def test_bytes_are_counted_on_the_text_and_not_by_the_tokenizer():
    assert utf8_bytes(["", "abc", "ï漢😀"]).tolist() == [0, 3, 9]
    assert bits_per_byte([math.log(2) * 6, math.log(2) * 4], [3, 2]) == pytest.approx(2.0)


def test_guessing_evenly_costs_the_logarithm_of_the_vocabulary(model, pages):
    even = build_model(ModelSize(1, 16, 2, 48, CONTEXT, 64, 1e-2, 0.05, 0.1), VOCABULARY, MARK, seed=3)
    with torch.no_grad():
        even.lm_head.weight.zero_()
    nats = page_nats(even, *flat(pages), CONTEXT, MARK)
    np.testing.assert_allclose(nats, np.array(LENGTHS) * math.log(VOCABULARY), rtol=1e-6)


def test_a_model_with_a_weight_that_is_no_number_is_refused(pages):
    broken = build_model(ModelSize(1, 16, 2, 48, CONTEXT, 64, 1e-2, 0.05, 0.1), VOCABULARY, MARK, seed=3)
    with torch.no_grad():
        broken.model.norm.weight[0] = math.nan
    with pytest.raises(ValueError, match="no finite likelihood for page 1"):
        page_nats(broken, *flat(pages), CONTEXT, MARK)


def test_no_pages_give_no_numbers(model):
    assert page_nats(model, *flat([]), CONTEXT, MARK).shape == (0,)
