"""A size says how it is trained on a budget: what its file leaves out follows from the ladder that it names."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.sizes import DERIVED, LEAST_STEPS, ModelSize, read_size, size_from, size_names, size_table

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = ModelSize(2, 16, 2, 48, 32, 256, 1e-2, 0.05, 0.1)
SHAPE = {key: value for key, value in asdict(TINY).items() if key not in DERIVED}


def test_the_documents_table_is_that_of_the_sizes():
    assert size_table() in (REPOSITORY / "docs" / "training.md").read_text()


def test_a_size_near_108_million_parameters_has_the_ladders_batch_and_rate():
    size = read_size("124m", tokens=10**10)
    assert 2**18 == size.batch_tokens <= 160 * 2048 * (123.6 / 108) ** (2 / 3) < 2**19
    assert size.learning_rate == pytest.approx(0.0047 * (123.6 / 108) ** (-1 / 3) * (2**18 / 358_500) ** 0.5, rel=0.02)


@given(tokens=st.integers(1, 10**12), name=st.sampled_from(["4m", "14m", "60m", "124m", "350m"]))
def test_a_short_run_takes_small_batches_and_a_low_rate(tokens, name):
    size, longer = read_size(name, tokens), read_size(name, 2 * tokens)
    assert size.batch & (size.batch - 1) == 0
    assert size.batch == 1 or tokens // size.batch_tokens >= LEAST_STEPS
    assert size.batch_tokens <= longer.batch_tokens and size.learning_rate <= longer.learning_rate


def test_what_a_file_says_is_taken_whatever_the_budget():
    assert read_size("1.3b", 10**9) == read_size("1.3b", 10**11)
    assert (read_size("1.3b", 1).batch_tokens, read_size("1.3b", 1).learning_rate) == (2**20, 2e-4)
    given_batch = size_from({**SHAPE, "batch_tokens": 64}, "here", 10**9)
    assert given_batch.batch_tokens == 64
    assert given_batch.learning_rate < size_from(SHAPE, "here", 10**9).learning_rate


def test_a_factor_moves_the_rate_alone():
    once, half = read_size("0.2m", 300_000), read_size("0.2m", 300_000, factor=0.5)
    assert half == replace(once, learning_rate=once.learning_rate / 2)


def test_the_rate_rises_over_a_share_of_the_steps_or_over_a_number_of_them():
    rising = {warmup: replace(TINY, warmup=warmup).rising_steps(10_000) for warmup in (0.0, 0.05, 1.0, 300, 3000)}
    assert rising == {0.0: 1, 0.05: 500, 1.0: 10_000, 300: 300, 3000: 1000}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": "1e-3"}, "write 1.0e-3"),
        ({"layers": 0}, "at least 1"),
        ({"layers": 2.5}, "a whole number"),
        ({"heads": 3}, "even multiple of heads"),
        ({"batch_tokens": 100}, "no multiple of context"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
    ],
)
def test_a_size_that_cannot_be_built_is_refused_in_words(change, words):
    with pytest.raises(ValueError, match=words):
        size_from({**asdict(TINY), **change}, "here", 1000)


@pytest.mark.parametrize("key", sorted(SHAPE))
def test_a_shape_that_is_no_number_is_refused_before_anything_is_derived_from_it(key):
    with pytest.raises(ValueError, match=f"here: model size: {key} is 'many'"):
        size_from({**SHAPE, key: "many"}, "here", 1000)


def test_unknown_keys_and_sizes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing keys \['layers'\], unknown keys \['depth'\]"):
        settings = asdict(TINY)
        settings["depth"] = settings.pop("layers")
        size_from(settings, "here", 1000)
    with pytest.raises(ValueError, match=r"no model size '7b'; have 0\.2m, 1m, 4m, 14m, 60m, 124m, 350m, 1\.3b, or"):
        read_size("7b", 1000)
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ValueError, match="no mapping of keys"):
        read_size(str(tmp_path / "list.yaml"), 1000)


def test_a_size_can_be_read_from_the_users_own_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("\n".join(f"{k}: {v}" for k, v in asdict(replace(TINY, width=32)).items()))
    assert read_size(str(tmp_path / "mine.yaml"), 1000).width == 32


def test_sizes_are_named_by_what_they_hold():
    for name in size_names():
        told = float(name[:-1]) * {"m": 1e6, "b": 1e9}[name[-1]]
        vocabulary = 4_096 if told < 1e8 else 50_257
        assert read_size(name, 1).parameters(vocabulary) == pytest.approx(told, rel=0.1)
