"""What a device is given and what is read back from it, without a run around it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.checkpoints import Progress
from eval.gpt import build_model
from eval.sizes import ModelSize, read_size, size_names
from eval.trainer import CPU_ACTIVATIONS, Steps, ahead, in_rounds, judged, peak_flops, windows_at_once

TINY = ModelSize(2, 16, 2, 48, 32, 128, 1e-2, 0.1, 0.1)


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_tokens_reach_the_device_as_the_numbers_they_are(dtype):
    batches = [np.array([[0, 1, 40_000, 65_535]], dtype), np.array([[5, 6, 7, 8]], dtype)]
    found = list(ahead(iter(batches), "cpu"))
    assert [one.tolist() for one in found] == [one.tolist() for one in batches]
    assert {one.dtype for one in found} == {torch.int64}


def test_a_reader_that_fails_says_so():
    def broken():
        yield np.zeros((1, 2), "<u2")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(ahead(broken(), "cpu"))


@given(first=st.integers(0, 50), more=st.integers(0, 50), every=st.integers(1, 12))
def test_rounds_hold_every_step_once_and_end_at_multiples(first, more, every):
    rounds = list(in_rounds(first, first + more, every))
    assert [step for one in rounds for step in one] == list(range(first, first + more))
    assert all(one for one in rounds) and all(one.stop % every == 0 for one in rounds[:-1])


def tokens(seed):
    return torch.randint(0, 300, (4, 33), generator=torch.Generator().manual_seed(seed))


def test_a_step_that_is_not_finite_changes_nothing_not_even_the_count_of_steps():
    model = build_model(TINY, 300, 0, seed=1)
    steps = Steps(model, TINY, "cpu")
    steps.step(tokens(0), 1e-2)

    def everything():
        moments = [tensor for state in steps.optimizer.state.values() for tensor in state.values()]
        return [tensor.detach().clone() for tensor in [*model.parameters(), *moments]]

    before, plain = everything(), steps.loss
    steps.loss = lambda *given: plain(*given) * math.inf
    steps.step(tokens(1), 1e-2)
    assert all(map(torch.equal, everything(), before))
    steps.loss = plain
    steps.step(tokens(2), 1e-2)
    assert not any(map(torch.equal, everything(), before))
    values = steps.read()
    assert [all(map(math.isfinite, one)) for one in values] == [True, False, True] and steps.read() == []


def test_what_is_read_late_is_judged_step_by_step():
    state = Progress(step=10)
    assert judged(state, [(3.0, 1.0), (2.9, 1.5)]) is None
    assert (state.step, state.recent, state.norm) == (12, [3.0, 2.9], 1.5)
    assert judged(state, [(2.8, 1.0), (math.nan, 1.0), (2.7, 1.0)]) == "step 14: loss nan, gradient norm 1.0"
    assert (state.step, state.recent) == (14, [3.0, 2.9, 2.8])


def test_the_small_sizes_go_through_a_cpu_in_one_piece_and_the_large_ones_fit():
    for name in size_names():
        size = read_size(name, 10**9)
        windows = windows_at_once(size, CPU_ACTIVATIONS, 4)
        assert windows == size.batch or name not in ("0.2m", "1m")
        assert 1 <= windows <= size.batch and windows_at_once(size, 80e9, 2) >= windows


@given(batch=st.integers(1, 1000), free=st.floats(0, 1e12))
def test_pieces_fit_or_are_single_windows_and_are_no_smaller_than_needed(batch, free):
    size = ModelSize(2, 16, 2, 48, 32, 32 * batch, 1e-2, 0.1, 0.1)
    token = 2 * 2 * (20 * 16 + 6 * 48)
    windows = windows_at_once(size, free, 2)
    assert windows == 1 or windows * 32 * token <= free
    assert windows == batch or 2 * windows * 32 * token > free


def test_a_card_is_known_by_its_name():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA L40S") == 362e12 and peak_flops("NVIDIA L4") == 121e12
    assert peak_flops("another") is None
