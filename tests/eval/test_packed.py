"""A stream is the level's slices in the order of their keys, whole or refused, and a batch is a function of its step."""

import itertools
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import eval.packed
from eval.packed import Batches, Packed, Stream, header_path, index_path, stream_tokens, write_packed, write_permuted
from eval.slices import EVERY, slice_key, slice_keys, slices_under, tokens_in_slices
from filters.draws import draw, uniform

MARK, VOCABULARY = 0, 60
CONTEXT = 4
quick = settings(deadline=None, max_examples=60)


def pages_of(lengths):
    """Pages 0, 1, ... whose tokens tell which page and place they are from, as far as 59 numbers can."""
    tokens = [[(17 * page + place) % 59 + 1 for place in range(length)] for page, length in enumerate(lengths)]
    columns = {"id": [str(page) for page in range(len(lengths))], "id_hash": range(len(lengths)), "tokens": tokens}
    schema = pa.schema([("id", pa.string()), ("id_hash", pa.uint64()), ("tokens", pa.list_(pa.uint32()))])
    return pa.table(columns, schema=schema)


def stream_of(lengths, budget, regime="fresh", replicate=0, context=CONTEXT):
    slices = slice_keys(np.arange(len(lengths), dtype=np.uint64), np.array(lengths, np.int64), context, replicate)
    return Stream(context, replicate, regime, budget, pool=int(tokens_in_slices(slices.length).sum()))


def write(path, parts, stream, cut=EVERY):
    given = (slices_under(pages, cut, stream.context, stream.replicate) for pages in parts)
    return write_packed(given, path, stream, vocabulary=VOCABULARY, end_of_text=MARK, tokenizer="t")


def by_hand(pages, budget, replicate=0):
    """(tokens, [(id, number, epoch, offset)]) of a stream, slice by slice."""
    rows, tokens, index, epoch = pages.to_pylist(), [], [], 0
    while True:
        slices = []
        for page in rows:
            for number in range(-(-len(page["tokens"]) // CONTEXT)):
                key = int(slice_key(np.array([page["id_hash"]], np.uint64), np.array([number]), replicate, epoch)[0])
                slices.append((key, page["id_hash"], number, page))
        for _, _, number, page in sorted(slices, key=lambda one: one[:3]):
            index.append((page["id"], number, epoch, len(tokens)))
            tokens += [*page["tokens"][number * CONTEXT : (number + 1) * CONTEXT], MARK]
            if len(tokens) >= budget:
                return tokens, index
        epoch += 1


def indexed(path):
    """[(id, number, epoch, offset)] of a packed file."""
    return [tuple(row.values()) for row in pq.read_table(index_path(path)).to_pylist()]


@pytest.fixture
def packed(tmp_path):
    lengths = [5, 0, 120, 33]
    write(tmp_path / "a.bin", [pages_of(lengths)], stream_of(lengths, 150))
    return Packed.open(tmp_path / "a.bin")


def test_slices_stand_in_the_order_of_their_keys_each_followed_by_a_mark(packed):
    tokens, index = by_hand(pages_of([5, 0, 120, 33]), 150)
    assert packed.tokens.tolist() == tokens
    assert indexed(packed.path) == index
    header = packed.header
    assert (header.tokens, header.slices, header.pages) == (len(tokens), len(index), len({page for page, *_ in index}))
    assert header.pool == 5 + 120 + 33 + 2 + 30 + 9
    packed.verify()


@quick
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    share=st.floats(0.1, 4),
    replicate=st.integers(0, 3),
)
def test_a_level_that_is_too_small_goes_round_each_epoch_in_its_own_order(lengths, share, replicate):
    stream = stream_of(lengths, 1, "fixed_pool", replicate)
    assume(stream.pool > CONTEXT)
    stream = replace(stream, budget=max(1, int(share * stream.pool)))
    with TemporaryDirectory() as folder:
        write(path := Path(folder) / "a.bin", [pages_of(lengths)], stream)
        tokens, index = by_hand(pages_of(lengths), stream.budget, replicate)
        assert Packed.open(path).tokens.tolist() == tokens
        assert indexed(path) == index


@quick
@given(st.data())
def test_parts_and_their_order_and_the_cut_change_no_byte(data):
    lengths = data.draw(st.lists(st.integers(0, 12), min_size=4, max_size=12))
    regime = data.draw(st.sampled_from(["fresh", "fixed_pool"]))
    pool = stream_of(lengths, 1).pool
    assume(pool > CONTEXT)
    stream = stream_of(lengths, data.draw(st.integers(1, pool if regime == "fresh" else 2 * pool)), regime)
    whole = pages_of(lengths)
    rows = data.draw(st.permutations(range(len(lengths))))
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4))), len(rows)]
    parts = [whole.take(pa.array(rows[start:end], pa.int64())) for start, end in itertools.pairwise(bounds)]
    cut = EVERY if stream.budget > pool else lowest_cut(lengths, stream.budget)
    with TemporaryDirectory() as folder:
        one, other = Path(folder) / "one.bin", Path(folder) / "other.bin"
        write(one, [whole], stream)
        write(other, parts, stream, data.draw(st.integers(cut, EVERY)))
        for suffix in (".bin", ".json", ".parquet"):
            assert one.with_suffix(suffix).read_bytes() == other.with_suffix(suffix).read_bytes()


def lowest_cut(lengths, budget):
    """The least cut under which there are tokens enough."""
    slices = slice_keys(np.arange(len(lengths), dtype=np.uint64), np.array(lengths, np.int64), CONTEXT, 0)
    order = slices.key.argsort()
    enough = np.searchsorted(np.cumsum(tokens_in_slices(slices.length[order])), budget)
    return int(slices.key[order][enough]) + 1


@quick
@given(
    lengths=st.lists(st.integers(0, 12), min_size=2, max_size=20),
    kept=st.lists(st.booleans(), min_size=20, max_size=20),
    epochs=st.floats(0.2, 2.5),
)
def test_nested_levels_read_the_same_slices_but_for_those_that_one_lacks(lengths, kept, epochs):
    mask = np.array(kept[: len(lengths)])
    inner = [length if keeps else 0 for length, keeps in zip(lengths, mask, strict=True)]
    assume(stream_of(inner, 1).pool > CONTEXT)
    budget = max(1, int(epochs * stream_of(inner, 1).pool))
    with TemporaryDirectory() as folder:
        one, other = Path(folder) / "all.bin", Path(folder) / "inner.bin"
        write(one, [pages_of(lengths)], stream_of(lengths, budget, "fixed_pool"))
        write(other, [pages_of(lengths).filter(pa.array(mask))], stream_of(inner, budget, "fixed_pool"))
        read, read_inner = (
            [tuple(row.values())[:3] for row in pq.read_table(index_path(at)).to_pylist()] for at in (one, other)
        )
    shared = [row for row in read if mask[int(row[0])]]
    assert read_inner[: len(shared)] == shared


def test_equal_keys_are_ordered_by_hash_number_and_id(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.packed.slice_key", lambda id_hash, number, replicate, epoch: np.zeros(len(number), np.uint64))
    pages = pages_of([8, 8, 8]).set_column(1, "id_hash", pa.array([7, 3, 7], pa.uint64()))
    write(tmp_path / "a.bin", [pages.take([2, 0, 1])], stream_of([8, 8, 8], 30))
    found = [row[:2] for row in indexed(tmp_path / "a.bin")]
    assert found == [("1", 0), ("1", 1), ("0", 0), ("2", 0), ("0", 1), ("2", 1)]


def test_a_stream_longer_than_a_block_is_whole(tmp_path, monkeypatch):
    lengths = [5, 0, 120, 33]
    monkeypatch.setattr("eval.packed.BLOCK_TOKENS", 7)
    write(tmp_path / "a.bin", [pages_of(lengths)], stream_of(lengths, 150))
    assert Packed.open(tmp_path / "a.bin").tokens.tolist() == by_hand(pages_of(lengths), 150)[0]


def test_a_large_vocabulary_takes_four_bytes_a_token(tmp_path):
    pages = pages_of([9]).set_column(2, "tokens", pa.array([[70_000] * 9], pa.list_(pa.uint32())))
    given_slices = slices_under(pages, EVERY, CONTEXT, 0)
    write_packed([given_slices], tmp_path / "a.bin", stream_of([9], 12), vocabulary=70_001, end_of_text=0, tokenizer="t")
    assert Packed.open(tmp_path / "a.bin").tokens.tolist().count(70_000) == 9


def test_a_token_outside_the_vocabulary_is_refused_with_its_page_and_the_old_file_stays(packed):
    pages = pages_of([8, 8, 8]).set_column(2, "tokens", pa.array([[1] * 8, [], [1] * 7 + [60]], pa.list_(pa.uint32())))
    with pytest.raises(ValueError, match="page 2 has token 60, not below the vocabulary of 60"):
        write(packed.path, [pages], stream_of([8, 0, 8], 20))
    Packed.open(packed.path).verify()


def test_a_level_that_holds_just_what_is_asked_is_enough(tmp_path):
    """14 tokens are 4 slices, 18 tokens with their marks; one window of 4 needs one token more."""
    header = write(tmp_path / "new" / "folder" / "a.bin", [pages_of([14])], stream_of([14], 18))
    assert (header.tokens, header.slices) == (18, 4)
    assert header_path(tmp_path / "new" / "folder" / "a.bin").read_text() == json.dumps(asdict(header), indent=2)
    assert write(tmp_path / "b.bin", [pages_of([4])], stream_of([4], 5)).tokens == 5
    with pytest.raises(ValueError, match="4 tokens, too few for one window of 4"):
        write(tmp_path / "c.bin", [pages_of([3])], stream_of([3], 4))
    part = slices_under(pages_of([14]), EVERY, CONTEXT, 0).slice(0, 2)
    stream = replace(stream_of([14], 1), budget=len(part["tokens"].combine_chunks().flatten()) + 2)
    assert (
        write_packed([part], tmp_path / "d.bin", stream, vocabulary=60, end_of_text=0, tokenizer="t").tokens == stream.budget
    )
    with pytest.raises(ValueError, match="its parts gave"):
        write_packed(
            [part],
            tmp_path / "d.bin",
            replace(stream, budget=stream.budget + 1),
            vocabulary=60,
            end_of_text=0,
            tokenizer="t",
        )


@pytest.fixture
def pushed(monkeypatch):
    """The sizes of the files that were pushed to the disk, as they were then."""
    sizes, plain = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (sizes.append(os.fstat(handle).st_size), plain(handle)))
    return sizes


def test_all_of_a_packed_file_is_on_the_disk_before_it_has_its_name(packed, tmp_path, pushed):
    sizes = [path(packed.path).stat().st_size for path in (Path, index_path, header_path)]
    write(packed.path, [pages_of([5, 0, 120, 33])], stream_of([5, 0, 120, 33], 150))
    assert [size for size in pushed if size in sizes] == sizes
    pushed.clear()
    write_permuted(packed.path, tmp_path / "b.bin", 0.5)
    assert [size for size in pushed if size in sizes] == sizes


@pytest.mark.parametrize("step", ["write_table", "sync_file", "write_whole"])
def test_a_packed_file_that_is_being_replaced_counts_as_unfinished(packed, monkeypatch, step):
    def dies(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(eval.packed.pq if step == "write_table" else eval.packed, step, dies)
    with pytest.raises(OSError, match="no space left"):
        if step == "write_whole":
            write_permuted(packed.path, packed.path, 0.5)
        else:
            write(packed.path, [pages_of([5, 0, 120, 33])], stream_of([5, 0, 120, 33], 150))
    with pytest.raises(ValueError, match="missing or unfinished"):
        Packed.open(packed.path)


def test_too_few_tokens_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(ValueError, match=r"18 tokens, the `fresh` budget needs 19; lower train\.tokens, filter less"):
        write(path, [pages_of([14])], stream_of([14], 19))
    with pytest.raises(ValueError, match="0 tokens, too few for one window of 4"):
        write(path, [], stream_of([], 19, "fixed_pool"))
    for regime, budget in [("fresh", 18), ("fixed_pool", 40)]:
        with pytest.raises(ValueError, match="needs 18 tokens of the level's 18, its parts gave 0; a part or the cut"):
            write(path, [pages_of([14])], stream_of([14], budget, regime), cut=0)
    with pytest.raises(ValueError, match="of the level's 18, its parts gave 36"):
        write(path, [pages_of([14])] * 2, stream_of([14], 10))
    assert not path.exists()


def rows(batches, step=0):
    return [batch.tolist() for batch in batches.from_step(step)]


@pytest.fixture
def numbered(packed):
    """A stream in which every token is its own place."""
    return Packed(packed.path, packed.header, np.arange(len(packed.tokens)))


def test_batches_are_the_stream_as_it_is(numbered):
    batches = Batches(numbered, batch=3, tokens=149)
    assert batches.steps == 149 // 12
    read = np.concatenate(list(batches.from_step(0)))
    assert read.shape == (36, CONTEXT + 1)
    assert read[:, :-1].ravel().tolist() == list(range(144))
    assert read[:, 1:].ravel().tolist() == list(range(1, 145))


def test_batches_can_be_resumed_at_any_step(packed):
    batches = Batches(packed, batch=3, tokens=149)
    everything = rows(batches)
    for step in range(batches.steps):
        assert rows(batches, step) == everything[step:]


def test_a_budget_reads_its_whole_steps_and_one_token_before_the_first(numbered):
    needed = stream_tokens(149, batch=3, context=CONTEXT)
    assert needed == 145
    short = replace(numbered, tokens=numbered.tokens[: needed - 1])
    with pytest.raises(ValueError, match=r"144 tokens, the budget needs 145; lower train\.tokens, or run jobs\.pack again"):
        Batches(short, batch=3, tokens=149)
    assert rows(Batches(replace(numbered, tokens=numbered.tokens[:needed]), batch=3, tokens=149))[-1][-1][-1] == needed - 1


def test_a_budget_below_one_step_is_named(packed):
    with pytest.raises(ValueError, match="ask for at least 12"):
        Batches(packed, batch=3, tokens=11)


def test_a_cut_flipped_or_unfinished_file_is_refused(packed):
    whole = packed.path.read_bytes()
    packed.path.write_bytes(whole[:-2])
    with pytest.raises(ValueError, match="its header says"):
        Packed.open(packed.path)
    packed.path.write_bytes(whole[:10] + bytes([whole[10] ^ 1]) + whole[11:])
    with pytest.raises(ValueError, match="is damaged"):
        Packed.open(packed.path).verify()
    header_path(packed.path).write_text(json.dumps({"tokens": 1}))
    with pytest.raises(ValueError, match="not the header of a packed file"):
        Packed.open(packed.path)
    for gone in (packed.path, header_path(packed.path)):
        content = gone.read_bytes()
        gone.unlink()
        with pytest.raises(ValueError, match="missing or unfinished"):
            Packed.open(packed.path)
        gone.write_bytes(content)


def in_slices(path):
    """The tokens of each slice of a packed file, its mark apart."""
    tokens, begins = Packed.open(path).tokens.tolist(), [row[3] for row in indexed(path)]
    assert all(tokens[end - 1] == MARK for end in [*begins[1:], len(tokens)])
    return [tokens[begin : end - 1] for begin, end in itertools.pairwise([*begins, len(tokens)])]


@pytest.mark.parametrize("block", [1 << 20, 40])
def test_a_permuted_stream_has_the_same_tokens_in_each_slice_and_so_many_of_them_elsewhere(tmp_path, monkeypatch, block):
    lengths = [60, 90, 64, 31]
    write(tmp_path / "a.bin", [pages_of(lengths)], stream_of(lengths, 200, context=16))
    monkeypatch.setattr("eval.packed.BLOCK_TOKENS", block)
    plain, moved = in_slices(tmp_path / "a.bin"), []
    for share in (0.1, 0.5, 1.0):
        write_permuted(tmp_path / "a.bin", tmp_path / "p" / "b.bin", share)
        Packed.open(tmp_path / "p" / "b.bin").verify()
        found = in_slices(tmp_path / "p" / "b.bin")
        assert [sorted(one) for one in found] == [sorted(one) for one in plain]
        pairs = [(a, b) for one, other in zip(plain, found, strict=True) for a, b in zip(one, other, strict=True)]
        moved.append(sum(a != b for a, b in pairs) / len(pairs))
    assert 0 < moved[0] < 0.1 < moved[1] < 0.5 < moved[2] <= 1


@pytest.mark.parametrize("block", [1 << 20, 40])
def test_which_tokens_move_and_where_to_is_drawn_from_their_places(tmp_path, monkeypatch, block):
    lengths = [60, 90, 64, 31]
    write(tmp_path / "a.bin", [pages_of(lengths)], stream_of(lengths, 200, context=16))
    monkeypatch.setattr("eval.packed.BLOCK_TOKENS", block)
    write_permuted(tmp_path / "a.bin", tmp_path / "b.bin", 0.5)
    tokens, begins = Packed.open(tmp_path / "a.bin").tokens.tolist(), [row[3] for row in indexed(tmp_path / "a.bin")]
    place = np.arange(len(tokens), dtype=np.uint64)
    moves, order = uniform(draw(place, 0, "permuted tokens")) < 0.5, draw(place, 0, "their order")
    expected = list(tokens)
    for begin, end in itertools.pairwise([*begins, len(tokens)]):
        where = [at for at in range(begin, end - 1) if moves[at]]
        for at, other in zip(where, sorted(where, key=lambda at: order[at]), strict=True):
            expected[at] = tokens[other]
    assert Packed.open(tmp_path / "b.bin").tokens.tolist() == expected


def test_a_permuted_stream_differs_from_its_own_by_its_digest_alone(packed, tmp_path):
    header = write_permuted(packed.path, tmp_path / "b.bin", 1.0)
    assert header != packed.header and replace(header, sha256=packed.header.sha256) == packed.header
    assert write_permuted(packed.path, tmp_path / "new" / "folder" / "c.bin", 1.0) == header
    assert header_path(tmp_path / "b.bin").read_text() == json.dumps(asdict(header), indent=2)
    assert indexed(tmp_path / "b.bin") == indexed(packed.path)
