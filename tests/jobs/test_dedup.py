"""dedup from pages to signals: what is found, by whom it is beaten, and that nothing depends on how it was cut up."""

import dataclasses
import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyspark import SparkContext

from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch
from jobs import choose, dedup, read, split
from jobs.parts import loop
from jobs.parts.command import run
from jobs.parts.experiment_file import load
from jobs.parts.gathered import collect
from jobs.parts.one_task import find
from jobs.parts.pairs import EDGES, Finding
from jobs.parts.places import Places
from jobs.parts.ranked import rank
from jobs.parts.refusals import InvariantBroken
from jobs.parts.sample import sampled_pages
from jobs.parts.session import session
from jobs.parts.settled import Bounds, settle
from jobs.parts.spills import Spilled
from jobs.parts.table import Table, entry, parts_of, publish

pytestmark = pytest.mark.spark

WORDS = [f"{a}{b}{c}" for a in "bdgklm" for b in "aeiou" for c in "nrst"]


def text_of(draw, words=120):
    lines = [" ".join(draw.choices(WORDS, k=12)) for _ in range(words // 12)]
    return "\n".join(lines)


def changed(text, draw, words):
    """The text with so many words replaced."""
    pieces = text.split(" ")
    for at in draw.sample(range(len(pieces)), words):
        pieces[at] = draw.choice(WORDS)
    return " ".join(pieces)


def made_pages():
    """60 texts; of some near copies, exact copies, the same address, and pages too short to compare."""
    draw, rows = random.Random(3), []
    for number in range(60):
        text = text_of(draw)
        rows.append((text, f"http://site-{number}.org/a/"))
        for copy in range(number % 4):
            rows.append((changed(text, draw, 1 + copy * 2), f"http://near-{number}-{copy}.org/"))
        if number % 5 == 0:
            rows.append((text.replace(" ", "  "), f"https://www.site-{number}.org/a?utm_source=x"))
    rows += [("two words", f"http://short-{k}.org/") for k in range(3)]
    footer = "\nread our terms before you go on to buy"
    rows = [(text + footer if k % 3 == 0 else text, url) for k, (text, url) in enumerate(rows)]
    draw.shuffle(rows)
    return [{"id": f"page-{k:03}", "text": text, "url": url} for k, (text, url) in enumerate(rows)]


def deduplicated(folder, files, share=0.1, items=(), **options):
    """An experiment over these files of pages, deduplicated; its folder."""
    folder.mkdir()
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {
        "out": str(folder / "out"),
        "pages": {"from": [str(folder / "*.jsonl")]},
        "signals": {"duplicates": {"seen_on_domains": 5, **options}},
        "evaluate": {"held_out": {"by": "page", "share": share}},
    }
    if "language" in options.get("scope", ()):
        asked["signals"]["language"] = {}
    if items:
        (folder / "bench.jsonl").write_text("".join(json.dumps({"query": item, "gold": 0}) + "\n" for item in items))
        asked["signals"]["contamination"] = {"benchmarks": [str(folder / "bench.jsonl")]}
        asked["pages"]["from"] = [str(folder / f"{name}.jsonl") for name in files]
    (folder / "conf.json").write_text(json.dumps(asked))
    for verb in (read.main, split.main, dedup.main):
        assert run(verb, None, [str(folder / "conf.json")]) == 0
    return folder / "out"


def read_lines(file):
    return zstandard.open(file, "rt", encoding="utf-8").read().splitlines()


def rows_of(table):
    return pa.concat_tables([pq.read_table(file) for file in sorted(table.glob("*.parquet"))])


def signals(out):
    return {row["id"]: row for row in rows_of(out / "signals" / "duplicates").to_pylist()}


@pytest.fixture(scope="module")
def pages():
    return made_pages()


@pytest.fixture(scope="module")
def out(tmp_path_factory, pages):
    files = {"a": pages[:70], "b": pages[70:90], "c": pages[90:]}
    return deduplicated(tmp_path_factory.mktemp("dedup") / "one", files, items=made_items(pages))


def made_items(pages):
    """Items of a benchmark: out of pages, out of none, too short, and what many sites say."""
    texts = [row["text"] for row in pages if len(row["text"].split()) > 50]
    planted = [" ".join(text.split()[20:40]).upper() for text in texts[:4]] + [" ".join(texts[4].split()[:9])]
    absent = text_of(random.Random(77), 24)
    return [*planted, absent, "too short", "Read our terms before you go on to buy!"]


@pytest.fixture(scope="module")
def expected(out, pages):
    """Similarities of all pairs, compared one by one, and which pages may be compared with which."""
    batch = PageBatch(pa.array([row["text"] for row in pages], pa.large_string()))
    sets = Shingling("words", 5).sets(batch.data, batch.offsets, np.arange(len(pages)))
    alike = {(one, other): jaccard(sets[one], sets[other]) for one in range(len(pages)) for other in range(one)}
    held_out = dict(zip(*(rows_of(out / "split")[name].to_pylist() for name in ("id", "held_out")), strict=True))
    copies = dict(zip(*(rows_of(out / "split")[name].to_pylist() for name in ("id", "copy_of_held_out")), strict=True))
    sides = ["held out" if held_out[row["id"]] else "gone" if copies[row["id"]] else "pool" for row in pages]
    for (one, other), value in alike.items():
        for page, beside in ((one, other), (other, one)):
            if value >= 0.8 and sides[page] == "pool" and sides[beside] == "held out":
                sides[page] = "near"
    return alike, sides


def test_pairs_are_verified_and_nearly_all_of_them_are_found(out, pages, expected):
    alike, _ = expected
    number = {row["id"]: at for at, row in enumerate(pages)}
    edges = rows_of(out / "duplicates" / "edges").to_pylist()
    assert edges
    for row in edges:
        one, other = number[row["id"]], number[row["other"]]
        assert row["jaccard"] == alike[max(one, other), min(one, other)] >= 0.5
    found = {frozenset((row["id"], row["other"])) for row in edges}
    sure = [pair for pair, value in alike.items() if 0.92 <= value < 1]  # the curve finds 99.96 % of these
    assert sure and all(frozenset(pages[at]["id"] for at in pair) in found for pair in sure)


def test_near_copies_of_held_out_pages_leave_the_pool(out, pages, expected):
    _, sides = expected
    told = rows_of(out / "duplicates" / "copies").to_pydict()
    near = {page for page, flag in zip(told["id"], told["near_copy_of_held_out"], strict=True) if flag}
    assert near and near == {row["id"] for row, side in zip(pages, sides, strict=True) if side == "near"}
    assert all(signals(out)[page]["near_duplicate_similarity"] is None for page in near)


def test_copies_go_to_one_fold_and_others_keep_theirs(out):
    folds, own = (
        {row["id"]: row["fold"] for row in rows_of(out / name).to_pylist()} for name in ("duplicates/copies", "split")
    )
    found = signals(out)
    clusters = {}
    for page, row in found.items():
        clusters.setdefault(row["near_duplicate_cluster"] or page, []).append(page)
    for pages in clusters.values():
        assert len({folds[page] for page in pages}) == 1
        if len(pages) == 1:
            assert folds[pages[0]] == own[pages[0]]
    assert max(map(len, clusters.values())) > 2


def test_near_copies_are_told_to_those_who_learn_from_pages(out):
    """A classifier's two sides share no cluster; copies of pages are sampled with it."""
    sample = list(sampled_pages(load(out.parent / "conf.json"), "tests", 10**6, "pages"))
    found = signals(out)
    clusters = {}
    for page in sample:
        clusters.setdefault(found[page.id]["near_duplicate_cluster"], set()).add(page.cluster)
        assert (page.cluster is None) == (found[page.id]["near_duplicate_cluster_size"] == 1)
    assert all(len(numbers) == 1 for numbers in clusters.values())
    several = [number for [number] in clusters.values() if number is not None]
    assert len(set(several)) == len(several) > 10


def test_each_page_is_as_alike_to_a_longer_one_as_chains_of_pairs_say(out, pages, expected):
    """Chains of the pairs that were found, followed at every threshold."""
    _, sides = expected
    side = {row["id"]: one for row, one in zip(pages, sides, strict=True)}
    order = sorted(pages, key=lambda row: (-len(row["text"]), row["id"]))
    best = {row["id"]: at for at, row in enumerate(order)}
    edges = [row for row in rows_of(out / "duplicates" / "edges").to_pylist() if side[row["id"]] == side[row["other"]]]
    found = signals(out)
    for page, at in best.items():
        if side[page] in ("gone", "near"):
            continue
        alike = 0.0
        for threshold in sorted({row["jaccard"] for row in edges}):
            seen, waiting = {page}, [page]
            while waiting:
                here = waiting.pop()
                for row in edges:
                    if row["jaccard"] >= threshold and here in (row["id"], row["other"]):
                        new = {row["id"], row["other"]} - seen
                        seen |= new
                        waiting += new
            if min(best[one] for one in seen) < at:
                alike = threshold
            if threshold == min((row["jaccard"] for row in edges if row["jaccard"] >= 0.8), default=None):
                assert found[page]["near_duplicate_cluster"] == min(seen)
                assert found[page]["near_duplicate_cluster_size"] == len(seen)
        assert found[page]["near_duplicate_similarity"] == alike


def test_exact_copies_and_addresses_are_ranked_by_length_and_id(out, pages, expected):
    _, sides = expected
    found = signals(out)
    for name, key in (
        ("exact_duplicate_rank", lambda row: " ".join(row["text"].split())),
        ("url_duplicate_rank", lambda row: row["url"].split("//")[1].removeprefix("www.").split("?")[0].rstrip("/")),
    ):
        groups = {}
        for row, side in zip(pages, sides, strict=True):
            if side not in ("gone", "near"):
                groups.setdefault((side, key(row)), []).append(row)
        assert any(len(group) > 1 for group in groups.values())
        for group in groups.values():
            for at, row in enumerate(sorted(group, key=lambda row: (-len(row["text"]), row["id"])), 1):
                assert found[row["id"]][name] == at


def test_short_pages_are_counted_and_alike_to_nothing(out, pages):
    short = [row["id"] for row in pages if len(row["text"].split()) < 5]
    assert len(short) >= 2
    assert json.loads((out / "duplicates" / "bands" / "_manifest.json").read_text())["counts"]["short"] == len(short)
    assert all(signals(out)[page]["near_duplicate_similarity"] in (0.0, None) for page in short)


def test_one_pass_tells_what_every_threshold_removes_and_the_largest_clusters(out, pages, expected):
    _, sides = expected
    told, found = json.loads((out / "duplicates" / "facts.json").read_text()), signals(out)
    free = [found[row["id"]] for row, side in zip(pages, sides, strict=True) if side == "pool"]
    assert told["pages"] == len(free)
    assert [threshold for threshold, _ in told["removed"]] == [round(0.5 + step / 20, 2) for step in range(11)]
    for threshold, removed in told["removed"]:
        assert removed == sum(row["near_duplicate_similarity"] >= threshold for row in free)
    clusters = {row["near_duplicate_cluster"]: row["near_duplicate_cluster_size"] for row in free}
    largest = sorted(((-size, name) for name, size in clusters.items() if size > 1))[:10]
    assert [(-one["pages"], one["id"]) for one in told["clusters"]] == largest
    first = {row["id"]: row["text"].split("\n")[0] for row in pages}
    assert all(one["line"] == first[one["id"]] for one in told["clusters"])
    sizes = [1 << (size.bit_length() - 1) for size in clusters.values()]
    assert told["sizes"] == [[size, sizes.count(size)] for size in sorted(set(sizes))]


def test_lines_of_many_sites_are_told_by_their_share(out, pages):
    found = signals(out)
    for row in pages:
        lines = row["text"].split("\n")
        share = len(lines[-1]) / sum(map(len, lines)) if lines[-1].startswith("read our terms") else 0.0
        assert found[row["id"]]["repeated_line_char_fraction"] == pytest.approx(share, abs=1e-12)


def test_lines_of_many_sites_are_cut_out_of_what_is_written_and_the_report_says_how_many(out, pages):
    settings = [f"write={json.dumps({'subsets': ['unfiltered'], 'drop_lines': {'seen_on_domains': 5}})}"]
    asked = load(out.parent / "conf.json", settings)
    assert choose.main(asked) == 0
    lines = [json.loads(line) for file in sorted((out / "subsets" / "unfiltered").iterdir()) for line in read_lines(file)]
    said = {row["id"]: row["text"] for row in pages}
    cut, spared = [], 0
    for row in lines:
        before = said[row["id"]].split("\n")
        ends = before[-1].startswith("read our terms")
        spared += ends and len(before) == 2
        cut += [before.pop()] if ends and len(before) > 2 else []
        assert row["text"] == "\n".join(before)
    assert len(cut) > 10 and spared > 0
    told = {table.name: table.counts for table in collect(out, None, 0).tables}["subsets/unfiltered"]
    done = {"lines_dropped": len(cut), "pages_cut": len(cut), "pages_spared": spared}
    assert told == done | {"characters_dropped": sum(map(len, cut))}


def test_items_are_found_with_their_spans_and_what_many_sites_say_is_no_leak(out, pages):
    items = made_items(pages)
    told = [json.loads(line) for line in (out / "contamination" / "bench.jsonl").read_text().splitlines()]
    assert [row["status"] for row in told] == ["found"] * 5 + ["not found", "not checkable", "not found"]
    text = {row["id"]: row["text"] for row in pages}
    shares = dict(zip(*rows_of(out / "signals" / "contamination").to_pydict().values(), strict=True))
    for item, row in zip(items[:5], told, strict=False):
        holds = sorted(page for page, said in text.items() if item.lower() in " ".join(said.split()))
        assert row["pages"] >= len(holds) > 0 and {span["id"] for span in row["found"]} & set(holds)
        for span in row["found"]:
            if span["id"] in holds:
                assert " ".join(text[span["id"]][span["start"] : span["end"]].split()) == item.lower()
                assert shares[span["id"]] > 0
    windows = {
        tuple(item.lower().split()[at : at + 13]) for item in items[:5] for at in range(max(1, len(item.split()) - 12))
    }
    for page, said in text.items():
        words = said.split()
        runs = [tuple(words[at : at + 13]) for at in range(max(1, len(words) - 12))]
        if len(words) < 8:
            assert shares[page] is None
        elif " ".join(items[4].split()) not in " ".join(words):  # whose n is 9, so that a window may hold more
            assert shares[page] == pytest.approx(sum(run in windows for run in runs) / len(runs))


def test_nothing_depends_on_parts_or_on_the_order_of_pages(out, pages, tmp_path):
    shuffled = random.Random(5).sample(pages, len(pages))
    other = deduplicated(tmp_path / "other", {"x": shuffled[:20], "y": shuffled[20:]})
    assert signals(other) == signals(out)
    pairs = [
        sorted((row["id"], row["other"], row["jaccard"]) for row in rows_of(one / "duplicates" / "edges").to_pylist())
        for one in (out, other)
    ]
    assert pairs[0] == pairs[1]
    copies = [
        {row.pop("id"): row for row in rows_of(one / "duplicates" / "copies").drop_columns(["component"]).to_pylist()}
        for one in (out, other)
    ]
    assert copies[0] == copies[1]


def test_the_same_parts_give_the_same_bytes_in_any_number_of_partitions_and_after_a_kill(out, tmp_path, monkeypatch):
    other = shutil.copytree(out, tmp_path / "out", ignore=shutil.ignore_patterns("duplicates", "contamination"))
    workers = session("tests").sparkContext.defaultParallelism  # every shuffle has as many partitions, or one a part
    monkeypatch.setattr(SparkContext, "defaultParallelism", 5 if workers != 5 else 4)
    asked, found = [str(out.parent / "conf.json"), "--set", f"out={other}"], []

    def find(spark, finding, pages, _find=dedup.find):
        pairs = _find(spark, finding, pages, 0)  # as if there were many: `out` was found in one task
        found.append({file.name: file.stat().st_mtime_ns for file in (finding.folder / "edges").iterdir()})
        return pairs

    def killed(*_):
        raise InvariantBroken("stopped before the pairs are settled")

    monkeypatch.setattr(dedup, "find", find)
    with monkeypatch.context() as at_first:
        at_first.setattr(dedup, "settle", killed)
        assert run(dedup.main, None, asked) == 3
    assert run(dedup.main, None, asked) == 0
    assert found[0] == found[1]  # pairs that were verified are not verified again
    tables = ["duplicates", "contamination", "signals/duplicates", "signals/contamination"]
    made = [file for table in tables for file in (out / table).rglob("*") if file.is_file()]
    assert len({file.parent for file in made}) == 9
    for file in made:
        assert file.read_bytes() == (other / file.relative_to(out)).read_bytes(), file


def test_pairs_of_few_pages_come_from_one_task_and_are_those_of_many(out, pages, tmp_path):
    """Among themselves, and measured against older ones."""
    asked, found = load(out.parent / "conf.json"), []
    *ours, older = dedup._origins(asked.duplicates, Places(asked.out))
    origins, near = [*ours, dataclasses.replace(older, split=None)], asked.duplicates.near
    for most in (10**9, 0):
        finding = Finding(origins, near.shingling, near.banding[0], "all", 0.5, tmp_path / str(most))
        edges = find(session("tests"), finding, len(pages), most)
        found.append(sorted((row for part in edges.parts() for row in pq.read_table(part.source).to_pylist()), key=str))
    assert found[0] == found[1] and any(row["left"] >= finding.ours for row in found[0])
    assert any(row["exact"] for row in found[0]) and any(row["left_held_out"] for row in found[0])


def made_edges(folder):
    """Pairs of 200 pages of two parts, some held out, some exact copies; every page has one text, side and id."""
    draw, rows = random.Random(11), {}
    side = [draw.random() < 0.2 for _ in range(200)]
    page = [(k % 2) << 32 | k // 2 for k in range(200)]
    hashed = [draw.randrange(-(2**63), 2**63) for _ in range(200)]
    for _ in range(150):
        ends = sorted(draw.sample(range(200), 2), key=lambda k: (not side[k], hashed[k] % 2**64))
        alike = draw.choice([0.5, 0.7, 0.8, 0.9, 1.0])
        one, other = ({"": page[k], "_hash": hashed[k], "_held_out": side[k], "_id": f"id-{k}"} for k in ends)
        row = {f"left{name}": value for name, value in one.items()} | {
            f"right{name}": value for name, value in other.items()
        }
        rows[tuple(ends)] = row | {"exact": alike == 1 and side[ends[0]] == side[ends[1]], "jaccard": alike}
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(list(rows.values()), schema=EDGES), folder / "a.parquet")
    return Spilled(folder, EDGES, (("a.parquet", len(rows)),), (0, 0))


def test_a_large_graph_is_settled_in_rounds_with_the_same_answer(tmp_path):
    made = made_edges(tmp_path / "edges")
    for way, small in (("one", 1000), ("stars", 0)):
        settle(session("tests"), made, Bounds(0.8, 0.8), tmp_path / way, small)
    for name in ("found", "nodes"):
        tables = [
            [sorted(pq.read_table(file).to_pylist(), key=str) for file in sorted((tmp_path / way / name).iterdir())]
            for way in ("one", "stars")
        ]
        assert tables[0] == tables[1] and len(tables[0]) == 2


def test_a_large_component_is_thinned_and_walked_with_the_same_answer(out, tmp_path):
    ranking = dataclasses.replace(dedup.ranking_of(load(out.parent / "conf.json"), "all"), folder=tmp_path / "ranks")
    rank(session("tests"), ranking, 6)
    assert thinned(ranking) == linked(out, "") and len(thinned(ranking)) > 50
    at_once = dataclasses.replace(ranking, folder=tmp_path / "at-once")
    rank(session("tests"), at_once)
    ranks = [sorted(rows_of(one.folder / "ranks").to_pylist(), key=str) for one in (ranking, at_once)]
    assert ranks[0] == ranks[1] and len(ranks[0]) > 5


def thinned(ranking):
    """How alike each linked page was found to be, with its cluster."""
    rows = rows_of(ranking.folder / "alike").drop_columns(["page"]).to_pylist()
    return sorted(tuple(row.values()) for row in rows)


def linked(out, scope):
    """What the signals say of the same pages."""
    columns = [f"near_duplicate_{name}{scope}" for name in ("similarity", "cluster", "cluster_size")]
    linked = zip(
        rows_of(out / "duplicates" / "copies")["component"].is_valid().to_pylist(), signals(out).values(), strict=True
    )
    return sorted(tuple(row[name] for name in columns) for there, row in linked if there)


def test_new_pages_are_measured_against_older_ones(out, pages, tmp_path):
    """Copies of pages of the first experiment, under new ids, beside a page that is nowhere else."""
    draw = random.Random(9)
    long = [row for row in pages if len(row["text"].split()) > 50][:6]
    new = [{"id": f"new-{k}", "text": row["text"], "url": row["url"]} for k, row in enumerate(long)]
    new += [{"id": "near", "text": changed(long[0]["text"], draw, 1), "url": None}]
    new += [{"id": "fresh", "text": text_of(draw), "url": "http://fresh.org"}]
    found = signals(deduplicated(tmp_path / "new", {"a": new}, share=0, against=[str(out)]))
    assert [found[f"new-{k}"]["near_duplicate_similarity"] for k in range(6)] == [1.0] * 6
    assert all(found[f"new-{k}"][f"{kind}_duplicate_rank"] >= 2 for k in range(6) for kind in ("exact", "url"))
    assert 0.8 < found["near"]["near_duplicate_similarity"] < 1 and found["near"]["url_duplicate_rank"] is None
    assert found["fresh"]["near_duplicate_similarity"] == 0 and found["fresh"]["exact_duplicate_rank"] == 1


SCOPES = {
    "all": lambda row: 0,
    "month": lambda row: row["date"][:7],
    "domain": lambda row: row["url"].split("/")[2],
    "language": lambda row: row["language"],
}


def test_copies_in_another_scope_are_not_counted_and_scopes_stand_side_by_side(tmp_path):
    """Near and exact copies of one text on two sites, in two months and in what is called two languages."""
    draw, rows = random.Random(21), []
    text = text_of(draw, 600)  # one word changed in each of two: a Jaccard of .97
    for at in range(12):
        said = changed(text, draw, 1) if at < 8 else rows[at - 8]["text"]
        date, site = f"2026-0{1 + at // 2 % 2}-1{at % 10}T00:00:00Z", f"http://site-{at // 4}.org/"
        rows.append({"id": f"p{at:02}", "text": said, "date": date, "url": site, "language": ["eng", "deu", None][at % 3]})
    out = deduplicated(tmp_path / "scopes", {"a": rows[:5], "b": rows[5:]}, share=0, scope=list(SCOPES))
    assert not (out / "signals" / "duplicates").exists()  # no language is measured yet
    columns = pa.schema([("id", pa.string()), ("language", pa.string())])
    spoken = Table(out / "signals" / "language", {"made": "up"}, columns)
    parts = parts_of(out / "pages")
    for part, some in zip(parts, (rows[:5], rows[5:]), strict=True):
        table = pa.Table.from_pylist([{name: row[name] for name in columns.names} for row in some], columns)
        batches = [("language", batch) for batch in table.to_batches()]
        assert loop.write_part(part, [spoken], lambda *_, found=batches: iter(found)).failure is None
    publish("score", spoken, [entry(spoken, part) for part in parts])
    asked = load(out.parent / "conf.json")
    assert dedup.main(asked) == 0
    found = signals(out)
    for scope, key in SCOPES.items():
        name = "{}" if scope == "all" else f"{{}}_within_{scope}"
        for row in rows:
            group = sorted((one for one in rows if key(one) == key(row)), key=lambda one: (-len(one["text"]), one["id"]))
            mine = found[row["id"]]
            assert (mine[name.format("near_duplicate_similarity")] == 0) == (group[0] is row)
            assert mine[name.format("near_duplicate_cluster_size")] == len(group)
            assert mine[name.format("near_duplicate_cluster")] == min(one["id"] for one in group)
            same = [one["id"] for one in group if one["text"] == row["text"]]
            assert mine[name.format("exact_duplicate_rank")] == 1 + same.index(row["id"])
            same = [one["id"] for one in group if one["url"] == row["url"]]
            assert mine[name.format("url_duplicate_rank")] == 1 + same.index(row["id"])
    ranking = dataclasses.replace(dedup.ranking_of(asked, "language"), folder=tmp_path / "thinned")
    rank(session("tests"), ranking, 6)
    assert thinned(ranking) == linked(out, "_within_language")


def test_an_index_of_other_parameters_is_refused_with_both(out, tmp_path, capsys):
    with pytest.raises(AssertionError):
        deduplicated(tmp_path / "other", {"a": made_pages()[:5]}, near="nemo", against=[str(out)])
    assert "'size': 5" in (said := capsys.readouterr().err) and "'size': 24" in said
    assert not (tmp_path / "other" / "out" / "duplicates").exists()  # before any page is read


def test_a_second_run_writes_nothing(out):
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.parquet")}
    assert run(dedup.main, None, [str(out.parent / "conf.json")]) == 0
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.parquet")} == before


def test_the_real_crawl_has_the_copies_it_is_known_to_have(shared_data, tmp_path):
    """1,977 responses with 1,801 different bodies and 1,787 addresses, of which eleven are no pages."""
    asked = {
        "out": str(tmp_path / "out"),
        "pages": {"from": [str(shared_data / "crawl" / "*.warc.gz")]},
        "signals": {"duplicates": {}},
    }
    (tmp_path / "conf.json").write_text(json.dumps(asked))
    for verb in (read.main, split.main, dedup.main):
        assert run(verb, None, [str(tmp_path / "conf.json")]) == 0
    found, pages = list(signals(tmp_path / "out").values()), rows_of(tmp_path / "out" / "pages")
    texts = {" ".join(text.split()) for text in pages["text"].to_pylist()}
    assert len(found) == 1966
    assert sum(row["exact_duplicate_rank"] == 1 for row in found) == len(texts) == 1775
    assert sum(row["url_duplicate_rank"] == 1 for row in found) == len(set(pages["url"].to_pylist())) == 1777
    assert sum(row["near_duplicate_similarity"] == 1 for row in found) >= 1966 - 1775
