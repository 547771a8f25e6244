"""dedup from pages to signals: what is found, by whom it is beaten, and that nothing depends on how it was cut up."""

import dataclasses
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch
from jobs import dedup, read, split
from jobs.parts.command import run
from jobs.parts.experiment_file import load
from jobs.parts.one_task import find
from jobs.parts.pairs import EDGES, Finding
from jobs.parts.places import Places
from jobs.parts.ranked import rank
from jobs.parts.session import session
from jobs.parts.settled import Bounds, settle
from jobs.parts.spills import Spilled

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
    if items:
        (folder / "bench.jsonl").write_text("".join(json.dumps({"query": item, "gold": 0}) + "\n" for item in items))
        asked["signals"]["contamination"] = {"benchmarks": [str(folder / "bench.jsonl")]}
        asked["pages"]["from"] = [str(folder / f"{name}.jsonl") for name in files]
    (folder / "conf.json").write_text(json.dumps(asked))
    for verb in (read.main, split.main, dedup.main):
        assert run(verb, None, [str(folder / "conf.json")]) == 0
    return folder / "out"


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


def test_lines_of_many_sites_are_told_by_their_share(out, pages):
    found = signals(out)
    for row in pages:
        lines = row["text"].split("\n")
        share = len(lines[-1]) / sum(map(len, lines)) if lines[-1].startswith("read our terms") else 0.0
        assert found[row["id"]]["repeated_line_char_fraction"] == pytest.approx(share, abs=1e-12)


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


def test_a_few_pages_are_ranked_in_one_task_and_a_large_component_is_thinned_with_the_same_answer(out, tmp_path):
    asked, spark = load(out.parent / "conf.json"), session("tests")
    found = []
    for largest, few in ((10**9, 10**9), (6, 0)):
        ranking = dataclasses.replace(dedup.ranking_of(asked), folder=tmp_path / f"ranks-{few}")
        rank(spark, ranking, largest, few)
        tables = [rows_of(ranking.folder / name).to_pylist() for name in ("alike", "ranks")]
        found.append([sorted(rows, key=str) for rows in tables])
    assert found[0] == found[1] and len(found[0][0]) > 50 and len(found[0][1]) > 5


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


def test_an_index_of_other_parameters_is_refused_with_both(out, tmp_path, capsys):
    with pytest.raises(AssertionError):
        deduplicated(tmp_path / "other", {"a": made_pages()[:5]}, near="nemo", against=[str(out)])
    assert "'size': 5" in (said := capsys.readouterr().err) and "'size': 24" in said


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
