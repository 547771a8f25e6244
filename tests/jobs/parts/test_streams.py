"""What is packed is decided by pages and levels alone: not by parts, their order or their row groups; folds are disjoint."""

import hashlib
import itertools
import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.packed import Packed, index_path
from eval.slices import EVERY, slice_keys, tokens_in_slices
from eval.tokenizer import load_tokenizer, train_tokenizer
from filters.draws import id_hashes
from filters.split import fold
from filters.transforms import apply_transforms
from jobs.parts import loop
from jobs.parts.edits import Edits
from jobs.parts.packing import Packing, edited_tables, encode_edited, encoded, pack_streams
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.streams import Encoded, LevelStream, cuts, least_pool, planned
from jobs.parts.table import Part, Table, entry, parts_of, publish
from jobs.score import TOKEN_COUNT, TOKEN_IDS
from jobs.split import SPLIT

CONTEXT = 8
LEVELS = ("all", "half", "few")
quick = settings(deadline=None, max_examples=25)


def made_pages(random, number=60):
    """Pages on sites of three, and what nested levels keep of them."""
    ids = [f"page-{at}" for at in range(number)]
    strength = random.random(number)
    return {
        "id": np.array(ids, object),
        "text": np.array([" ".join(random.choice(["river", "stone", "a b c"], int(random.integers(0, 30)))) for _ in ids]),
        "fold": fold(id_hashes([f"site-{at // 3}" for at in range(number)]), 0),
        "tokens": [random.integers(1, 250, int(random.integers(0, 40))) for _ in ids],
        "kept": {"all": strength >= 0, "half": strength > 0.5, "few": strength > 0.8},
    }


def made(folder, pages, parts, row_group=7):
    """The tables that packing reads, with these rows in each part; the pages' parts."""
    places = Places(Path(folder))
    levels = [f"subset {level}" for level in pages["kept"]]
    types = [pa.from_numpy_dtype(kept.dtype) for kept in pages["kept"].values()]
    verdicts = pa.schema([("id", pa.string()), *zip(levels, types, strict=True)])
    schemas = {
        places.pages: pa.schema([("id", pa.string()), ("text", pa.large_string())]),
        places.split: SPLIT,
        places.verdicts: verdicts,
        places.signals("tokens"): TOKEN_COUNT,
        places.token_ids: TOKEN_IDS,
    }
    tables = [Table(path, {"made": "up"}, schema) for path, schema in schemas.items()]
    lines = {table.path: [] for table in tables}
    for at, rows in enumerate(parts):
        ids = pa.array(list(pages["id"][rows]), pa.string())
        identity = "shard"
        tokens = [pages["tokens"][row] for row in rows]
        columns = {
            places.pages: [ids, list(pages["text"][rows])],
            places.split: [ids, id_hashes(ids), [False] * len(rows), [False] * len(rows), pages["fold"][rows]],
            places.verdicts: [ids, *(pages["kept"][level][rows] for level in pages["kept"])],
            places.signals("tokens"): [ids, [len(one) for one in tokens]],
            places.token_ids: [ids, tokens],
        }
        for table in tables:
            batches = pa.table(columns[table.path], schema=table.schema).to_batches(max_chunksize=row_group)
            part = Part(f"part-{at}", "", identity)

            def work(*_, table=table, batches=batches):
                yield from ((table.name, batch) for batch in batches)

            assert loop.write_part(part, [table], work).failure is None
            lines[table.path].append(entry(table, part))
            identity = lines[places.pages][at]["sha256"]
    for table in tables:
        publish("made up", table, lines[table.path])
    return places, parts_of(places.pages)


def over_of(parts, random=None):
    """All parts in this process, merged two at a time, in some order."""

    def over(function, merge, of=parts):
        values = [function(part) for part in of]
        while len(values) > 1:
            first = values.pop(random.integers(len(values)) if random else 0)
            values = [merge([first, values[0]]), *values[1:]]
        return values[0]

    return over


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the river and a stone " * 20], 300, folder)
    return folder


def packing_of(places, tokenizer, levels=LEVELS, budget=150, regime="fresh", replicates=(0, 1)):
    for file in tokenizer.iterdir():
        (places.tokenizer).mkdir(parents=True, exist_ok=True)
        (places.tokenizer / file.name).write_bytes(file.read_bytes())
    hashes = {level: f"config of {level}" for level in levels}
    return Packing(places, hashes, Edits(places, None, ()), "encoded", CONTEXT, budget, regime, tuple(replicates))


def packed(folder, pages, parts, tokenizer, random=None, **asked):
    """Pack made-up pages without Spark."""
    places, made_parts = made(folder, pages, parts)
    packing = packing_of(places, tokenizer, **asked)
    pack_streams(packing, encoded(packing, packing.missing()), made_parts, over_of(made_parts, random))
    return packing


def read_by(packing, level, replicate):
    """[(id, number)] of a stream."""
    rows = pq.read_table(index_path(packing.file(level, replicate))).to_pylist()
    return [(row["id"], row["number"]) for row in rows]


def told(packing, level):
    return json.loads(packing.told(level).read_text())


def digests(folder):
    files = [file for file in sorted((Path(folder) / "packed").rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@quick
@given(st.data())
def test_parts_and_their_order_change_no_byte(tokenizer, data):
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    pages = made_pages(random)
    regime = data.draw(st.sampled_from(["fresh", "fixed_pool"]))
    asked = {"regime": regime, "budget": data.draw(st.integers(20, 300 if regime == "fresh" else 900))}
    rows = np.array(data.draw(st.permutations(range(60))))
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, 60), max_size=4))), 60]
    parts = [rows[start:end] for start, end in itertools.pairwise(bounds)]
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        packed(one, pages, [np.arange(60)], tokenizer, **asked)
        packed(other, pages, parts, tokenizer, random, **asked)
        assert digests(one) == digests(other)
        assert not (Path(other) / "packed" / ".slices").exists()


def test_how_many_slices_are_looked_at_together_changes_no_byte(tmp_path, tokenizer, monkeypatch):
    pages = made_pages(np.random.default_rng(6))
    packed(tmp_path / "whole", pages, [np.arange(60)], tokenizer)
    monkeypatch.setattr("jobs.parts.streams.PIECE_SLICES", 5)
    packing = packed(tmp_path / "pieces", pages, [np.arange(60)], tokenizer)
    assert digests(tmp_path / "whole") == digests(tmp_path / "pieces")
    [part] = parts_of(packing.places.pages)
    held = [-(-piece.tokens // CONTEXT) for piece in encoded(packing, LEVELS).pages(part).pieces()]
    assert len(held) > 10 and max(some[:-1].sum() for some in held) < 10


def test_replicates_with_folds_of_their_own_read_no_page_twice(tmp_path, tokenizer):
    packing = packed(tmp_path, made_pages(np.random.default_rng(1)), [np.arange(60)], tokenizer, replicates=(4, 7))
    own, other = ({page for page, _ in read_by(packing, "all", replicate)} for replicate in (4, 7))
    assert own and other and not own & other
    facts = told(packing, "all")
    assert {one["fold"] for one in facts["replicates"].values()} == {"own"}
    assert facts["shared"] == {"tokens": 0.0, "pages": 0.0}


def test_a_fold_that_is_too_small_draws_from_the_whole_pool_and_the_overlap_is_told(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(2))
    budget = 9 * sum(len(one) + -(-len(one) // CONTEXT) for one in pages["tokens"]) // 10
    packing = packed(tmp_path, pages, [np.arange(60)], tokenizer, levels=("all",), budget=budget)
    facts = told(packing, "all")
    assert {one["fold"] for one in facts["replicates"].values()} == {"whole pool"}
    lengths = {page: len(tokens) for page, tokens in zip(pages["id"], pages["tokens"], strict=True)}

    def held(slices):
        return sum(min(CONTEXT, lengths[page] - number * CONTEXT) + 1 for page, number in slices)

    first, second = (read_by(packing, "all", replicate) for replicate in (0, 1))
    assert facts["shared"]["tokens"] == 2 * held(set(first) & set(second)) / (held(first) + held(second)) > 0.5
    assert facts["shared"]["pages"] >= facts["shared"]["tokens"]


def test_fixed_pool_goes_round_in_its_own_fold_and_leaves_it_only_when_that_is_empty(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(3))
    folds = (pages["fold"] % np.uint64(2)).astype(int)
    pages["kept"]["few"] = pages["kept"]["few"] & (folds == 1)
    packing = packed(tmp_path, pages, [np.arange(60)], tokenizer, budget=5000, regime="fixed_pool")
    assert {one["fold"] for one in told(packing, "all")["replicates"].values()} == {"own"}
    assert told(packing, "all")["shared"] == {"tokens": 0.0, "pages": 0.0}
    assert [one["fold"] for one in told(packing, "few")["replicates"].values()] == ["whole pool", "own"]


def test_nested_levels_read_the_same_slices_but_for_those_that_one_lacks(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(4), number=300)
    packing = packed(tmp_path, pages, [np.arange(150), np.arange(150, 300)], tokenizer, budget=300)
    kept = dict(zip(pages["id"], pages["kept"]["half"], strict=True))
    shared = [one for one in read_by(packing, "all", 0) if kept[one[0]]]
    assert shared and read_by(packing, "half", 0)[: len(shared)] == shared


def test_a_level_too_small_is_named_and_the_others_go_on(tmp_path, tokenizer, capsys):
    pages = made_pages(np.random.default_rng(5))
    pages["kept"]["few"][:] = False
    packing = packed(tmp_path, pages, [np.arange(60)], tokenizer)
    assert told(packing, "few")["status"] == "too small"
    assert "few is too small: it has 0 tokens with their marks, a run needs 150" in capsys.readouterr().out
    assert packing.file("half", 1).is_file() and not packing.file("few", 0).exists()
    assert packing.missing() == []


def test_a_killed_pack_writes_what_is_missing_and_leaves_the_rest(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(6))
    packing = packed(tmp_path, pages, [np.arange(30), np.arange(30, 60)], tokenizer)
    assert packing.missing() == []
    whole, kept = digests(tmp_path), packing.file("all", 0)
    before = kept.stat().st_mtime_ns
    packing.file("all", 1).unlink()
    packing.told("half").unlink()
    places, parts = packing.places, parts_of(packing.places.pages)
    places.slices.mkdir(parents=True)
    (places.slices / "part-0.arrow").write_bytes(b"cut")
    assert packing.missing() == ["all", "half"]
    pack_streams(packing, encoded(packing, packing.missing()), parts, over_of(parts))
    assert digests(tmp_path) == whole and kept.stat().st_mtime_ns == before


def test_streams_of_another_configuration_are_refused(tmp_path, tokenizer):
    packing = packed(tmp_path, made_pages(np.random.default_rng(7)), [np.arange(60)], tokenizer)
    with pytest.raises(ExperimentError, match=r"train.tokens was \d+ and is 150; add --redo pack"):
        replace(packing, budget=151).missing()
    with pytest.raises(ExperimentError, match="was made by another configuration"):
        replace(packing, replicates=(0, 1, 2)).missing()


@quick
@given(number=st.integers(0, 99), budget=st.integers(1, 2000), fold_of=st.sampled_from([None, 0, 1]))
def test_a_cut_is_where_the_slices_in_order_of_their_keys_hold_the_budget(number, budget, fold_of):
    random = np.random.default_rng(number)
    pages = made_pages(random)
    stream = LevelStream("half", 3, fold_of)
    with TemporaryDirectory() as folder:
        places, parts = made(folder, pages, [np.arange(20), np.arange(20, 60)])
        encoded = Encoded(places, places.signals("tokens"), places.token_ids, LEVELS, 2, CONTEXT)
        found = cuts([stream], budget, encoded, over_of(parts, random))[stream]
    read = pages["kept"]["half"] & ((pages["fold"] % np.uint64(2) == fold_of) if fold_of is not None else True)
    lengths = np.where(read, [len(one) for one in pages["tokens"]], 0)
    slices = slice_keys(id_hashes(list(pages["id"])), lengths, CONTEXT, 3)
    order = np.argsort(slices.key)
    ends = np.cumsum(tokens_in_slices(slices.length[order]))
    last = min(int(np.searchsorted(ends, budget)), len(ends) - 1)
    assert found == int(slices.key[order][last]) + 1


def test_what_each_replicate_draws_from():
    plan = planned(["a", "b", "c"], [5, 6], np.array([[100, 99], [40, 60], [40, 59]]), least_pool("fresh", 100, 8))
    assert plan.pools == {
        LevelStream("a", 5, 0): 100,
        LevelStream("a", 6, None): 199,
        LevelStream("b", 5, None): 100,
        LevelStream("b", 6, None): 100,
    }
    assert list(plan.small) == ["c"]


def test_tokens_that_were_not_counted_so_break_the_job(tmp_path):
    pages = made_pages(np.random.default_rng(8))
    other = pages | {"tokens": [one[:-1] for one in pages["tokens"]]}
    places, [part] = made(tmp_path / "one", pages, [np.arange(60)])
    longer, _ = made(tmp_path / "other", other, [np.arange(60)])
    encoded = Encoded(places, longer.signals("tokens"), places.token_ids, LEVELS, 2, CONTEXT)
    with pytest.raises(InvariantBroken, match="other numbers of tokens than were counted"):
        list(encoded.given(part, {LevelStream("all", 0, None): EVERY}))


def test_edited_levels_train_on_edited_tokens(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(9))
    pages["text"] = np.array([f"{text} write to anna.{at}@orchard.example now" for at, text in enumerate(pages["text"])])
    rows = [np.arange(25), np.arange(25, 60)]
    places, parts = made(tmp_path, pages, rows)
    levels = ("half", "few")
    packing = replace(packing_of(places, tokenizer, levels, budget=400), edits=Edits(places, None, ("mask_pii",)))
    tables = edited_tables(packing, levels)
    work = partial(encode_edited, packing=packing, levels=levels)
    for table in tables:
        for part in parts:
            assert loop.write_part(part, tables, work).failure is None
        publish("made up", table, [entry(table, part) for part in parts])
    pack_streams(packing, encoded(packing, levels), parts, over_of(parts))
    read = load_tokenizer(tokenizer)
    masked = apply_transforms(pa.array(list(pages["text"]), pa.large_string()), ["mask_pii"]).to_pylist()
    tokens_of = {page: read.encode(text).ids for page, text in zip(pages["id"], masked, strict=True)}
    stream = Packed.open(packing.file("half", 0)).tokens.tolist()
    for row in pq.read_table(index_path(packing.file("half", 0))).to_pylist():
        expected = [*tokens_of[row["id"]][row["number"] * CONTEXT :][:CONTEXT], 0]
        assert stream[row["offset"] : row["offset"] + len(expected)] == expected
    assert "write to" in read.decode(stream) and "anna" not in read.decode(stream)


def test_a_page_that_is_read_several_times_has_each_slice_so_often_and_not_side_by_side(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(4), 200)
    copies = (3 * pages["kept"]["few"]).astype(np.uint8) + pages["kept"]["half"]
    pages["kept"] = {"half": pages["kept"]["half"], "often": copies}
    lengths = np.array([len(tokens) for tokens in pages["tokens"]])
    whole = int(((lengths + -(-lengths // CONTEXT)) * copies).sum())
    parts = [np.arange(0, 90), np.arange(90, 200)]
    packing = packed(tmp_path, pages, parts, tokenizer, levels=["half", "often"], budget=whole, replicates=[0])
    read = read_by(packing, "often", 0)
    by_page = dict(zip(pages["id"], copies, strict=True))
    assert Counter(read) == {slice_: by_page[slice_[0]] for slice_ in read}
    assert len(set(read)) == sum(-(-lengths[copies > 0] // CONTEXT))
    again = np.mean([one == other for one, other in itertools.pairwise(read)])
    assert again < 0.05


def test_copies_leave_what_other_levels_read_as_it_was(tmp_path, tokenizer):
    pages = made_pages(np.random.default_rng(5), 100)
    once = packed(tmp_path / "once", pages, [np.arange(100)], tokenizer, levels=["half"])
    often = {"half": pages["kept"]["half"], "often": pages["kept"]["few"].astype(np.uint8) * 5}
    beside = packed(tmp_path / "often", pages | {"kept": often}, [np.arange(100)], tokenizer, levels=["half", "often"])
    for replicate in (0, 1):
        assert read_by(once, "half", replicate) == read_by(beside, "half", replicate)
