"""dedup: which pages are copies of which, measured once for every threshold that a rule may ask for.

    python -m jobs.dedup CONF [--set key=value ...] [--dry-run]

Two steps. `edges` comes after `split` and before any model: from text alone it finds pairs of pages that are alike, verifies
them, and says which pages of the pool are near copies of held-out ones. `ranks` comes after `score`: by the preference that
the experiment states, which may be a score, it says how like a better page each page is.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from filters import split
from filters.duplicates.exact import text_keys
from filters.duplicates.minhash import signatures
from filters.duplicates.urls import url_keys
from filters.files import sha256_of, write_whole
from filters.kernels.text import Hashes
from filters.nearest import nearest
from filters.pages import PageBatch
from jobs.parts import command, loop, session, storage
from jobs.parts.contaminated import common, hits_of, hits_schema, reverse, shares
from jobs.parts.duplicate_facts import write_facts
from jobs.parts.duplicate_options import SCOPED, Duplicates, Near, within
from jobs.parts.experiment_file import Experiment, config_hash
from jobs.parts.one_task import find
from jobs.parts.pairs import Finding, Origin
from jobs.parts.places import Places
from jobs.parts.ranked import Ranking, rank, ranked_part
from jobs.parts.refusals import ExperimentError
from jobs.parts.repeated_lines import REPEATED, find_repeated, found_in, fractions, seen_on
from jobs.parts.settled import NODES, Bounds, settle
from jobs.parts.table import Part, PartReport, Table, finished, identity_of, parts_of, sidecar, signal_tables

BANDS = pa.schema(
    [
        ("id", pa.string()),
        ("text_high", pa.int64()),
        ("text_low", pa.int64()),
        ("url_high", pa.int64()),
        ("url_low", pa.int64()),
        ("order", pa.int64()),
        ("bands", pa.binary()),
    ]
)
"""Keys of a page: 128 bits of its text and of its address (null where it has none), 64 bits of each band (none where the
page is shorter than a shingle)."""
EDGES = pa.schema(
    [
        ("id", pa.string()),
        ("other", pa.string()),
        ("jaccard", pa.float64()),
        ("held_out", pa.bool_()),
        ("other_held_out", pa.bool_()),
        ("page", pa.int64()),
        ("other_page", pa.int64()),
        ("component", pa.int64()),
    ]
)
"""Verified pairs of pages. A page's number is that of its part, in the order of names, shifted by 32 bits, and its row."""
COPIES = pa.schema(
    [
        ("id", pa.string()),
        ("near_copy_of_held_out", pa.bool_()),
        ("component", pa.int64()),
        ("cluster", pa.int64()),
        ("fold", pa.uint64()),
        ("repeated_line_char_fraction", pa.float64()),
    ]
)
"""Of every page, by text alone. `component`: null where no pair links the page to another; `cluster`, the smallest hash of
an id among those that pairs at `threshold` link to it: null where there are none."""
VERSION = 3
"""Changes whenever the same text has other keys, or the tables other columns."""


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """All steps, as far as what they need is there."""
    if experiment.duplicates is None and experiment.contamination is None:
        raise ExperimentError("dedup needs duplicates: {} or contamination: under signals:")
    code = max(edges(experiment, dry_run), contamination(experiment, dry_run))
    asked = experiment.duplicates
    if asked is None:
        return code
    needed = [*asked.preferred, *(["language"] if "language" in asked.scope else [])]
    unmeasured = [name for name in needed if name not in signal_tables(experiment.out)]
    if unmeasured:
        print(f"dedup: ranks come after score, which measures {', '.join(unmeasured)}")
        return code
    return max(code, ranks(experiment, dry_run))


def _asked(experiment: Experiment) -> Duplicates:
    if experiment.duplicates is None:
        raise ExperimentError("dedup needs duplicates: {} under signals:")
    return experiment.duplicates


@dataclass(frozen=True)
class Tables:
    """What the first step makes."""

    bands: Table
    edges: Table
    copies: Table
    lines: Table


def tables(experiment: Experiment) -> Tables:
    """The tables as this experiment's configuration makes them."""
    places, asked = Places(experiment.out), _asked(experiment)
    bands = _bands(asked.near)
    lines = {"pages": identity_of(places.pages), "seen_on_domains": asked.seen_on_domains, "version": VERSION}
    config = {
        "bands": bands,
        "split": identity_of(places.split),
        "scope": asked.searched,
        "bounds": [asked.least, asked.held_out, asked.threshold, asked.seen_on_domains],
        "against": [identity_of(_index(Places(out), asked.near).duplicates("bands")) for out in asked.against],
        "seed": experiment.seed,
    }
    return Tables(
        Table(places.duplicates("bands"), bands, BANDS),
        Table(places.duplicates("edges"), config, EDGES),
        Table(places.duplicates("copies"), config, COPIES),
        Table(places.duplicates("lines"), lines, REPEATED),
    )


def _bands(near: Near) -> dict[str, Any]:
    """What tells bands from others."""
    return {"near": near.identity, "version": VERSION}


def edges(experiment: Experiment, dry_run: bool = False) -> int:
    """From text: pairs of pages that are alike, near copies of held-out pages, folds of copies."""
    if experiment.duplicates is None:
        return command.OK
    asked, places = experiment.duplicates, Places(experiment.out)
    pages, made = parts_of(places.pages), tables(experiment)
    print(f"dedup: {asked.near.curve}")
    if dry_run:
        print(loop.plan("dedup", pages, [made.bands, made.lines, made.edges, made.copies]))
        return command.OK
    rows = finished(places.pages)["rows"]
    if asked.near.most_pages and rows > asked.near.most_pages:
        bands, per_band = asked.near.banding
        raise ExperimentError(
            f"signals.duplicates.near: {bands} bands of {per_band} rows compare nearly all pairs of pages, so at most "
            f"{asked.near.most_pages:,} pages are taken, got {rows:,}: take another preset, such as fineweb"
        )
    near = asked.near
    report = loop.run(
        lambda: session.session("dedup"), "dedup", pages, [made.bands], lambda part, *rest: keyed_part(part, near, rest[1])
    )[made.bands.name]
    _lines(experiment, pages, made.lines)
    work = places.duplicates(".work") / config_hash([made.edges.config, identity_of(made.bands.path)])
    if loop.to_do("dedup", pages, [made.edges, made.copies]):
        _find(experiment, asked, work)
    seed, numbers = experiment.seed, {part.name: number for number, part in enumerate(pages)}

    def gather(part: Part, missing: Sequence[Table], told: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        yield from edges_of_part(work, numbers[part.name])
        repeated = seen_on(made.lines.path, part, asked.seen_on_domains)
        yield from copies_of_part(work, numbers[part.name], part, places, seed, repeated, told)

    reports = loop.run(lambda: session.session("dedup"), "dedup", pages, [made.edges, made.copies], gather)
    storage.remove_folder(work.parent)
    near_copies = reports["copies"].counts.get("near_copies_of_held_out", 0)
    print(
        f"dedup: {report.rows:,} pages, {report.counts.get('short', 0):,} too short to be compared, "
        f"{reports['edges'].rows:,} pairs, {near_copies:,} near copies of held-out pages"
    )
    return command.OK


def keyed_part(part: Part, near: Near, report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows of bands/, a row group of pages at a time."""
    file = storage.open_parquet(part.source)
    bands, rows = near.banding
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["id", "url", "text"]).combine_chunks()
        pages = PageBatch(table["text"].chunk(0) if table["text"].num_chunks else pa.array([], pa.large_string()))
        found = signatures(pages, near.shingling, bands * rows)
        keys, whole = text_keys(pages), found.bands(bands, rows)
        urls = table["url"].to_pylist()
        addresses, nowhere = url_keys(urls), np.array([not url for url in urls], bool)
        columns = [
            table["id"],
            *keys.T,
            *(pa.array(column, mask=nowhere) for column in addresses.T),
            found.order.view(np.int64),
            pa.array([row.tobytes() if many else b"" for row, many in zip(whole, found.counts, strict=True)], pa.binary()),
        ]
        report.counts["short"] += int((found.counts == 0).sum())
        yield from (("bands", batch) for batch in pa.table(columns, schema=BANDS).to_batches())


def _lines(experiment: Experiment, pages: Sequence[Part], table: Table) -> None:
    """The lines of each part that stand on many sites."""
    folder = Places(experiment.out).duplicates(".lines") / table.hash
    if loop.to_do("dedup", pages, [table]):
        find_repeated(session.session("dedup"), pages, _asked(experiment).seen_on_domains, folder)
    numbers = {part.name: number for number, part in enumerate(pages)}

    def gather(part: Part, *_: Any) -> Iterator[tuple[str, pa.RecordBatch]]:
        yield from ((table.name, batch) for batch in found_in(folder, numbers[part.name]).to_batches())

    loop.run(lambda: session.session("dedup"), "dedup", pages, [table], gather)
    storage.remove_folder(folder.parent)


def _find(experiment: Experiment, asked: Duplicates, work: Path) -> None:
    """Leave what is found of every part in the working folder."""
    spark, places = session.session("dedup"), Places(experiment.out)
    origins = _origins(asked, places)
    rows = sum(finished(table)["rows"] for table in {origin.bands for origin in origins})
    finding = Finding(origins, asked.near.shingling, asked.near.banding[0], asked.searched, asked.least, work)
    settle(spark, find(spark, finding, rows), Bounds(asked.held_out, asked.threshold), work)


def _origins(asked: Duplicates, places: Places) -> list[Origin]:
    """Our parts, then those of the experiments that this one is measured against."""
    origins = [Origin(part, places.duplicates("bands"), places.split) for part in parts_of(places.pages)]
    for out in asked.against:
        old = _index(Places(out), asked.near)
        origins += [Origin(part, old.duplicates("bands"), None) for part in parts_of(old.pages)]
    return origins


def _index(old: Places, near: Near) -> Places:
    """Another experiment's folder. Raises ExperimentError where its bands are of other parameters."""
    told, wanted = finished(old.duplicates("bands"))["config"], _bands(near)
    if told["near"] != wanted["near"]:
        raise ExperimentError(
            f"signals.duplicates.against: {old.out} was deduplicated with {told['near']}, this experiment asks for "
            f"{wanted['near']}: take the same near:"
        )
    if told != wanted:
        raise ExperimentError(
            f"signals.duplicates.against: the bands of {old.out} are of version {told['version']}, these are of "
            f"{wanted['version']}: run jobs.dedup --redo dedup there"
        )
    return old


def edges_of_part(work: Path, number: int) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows of edges/: the pairs whose later page is in it."""
    file = work / "found" / f"{number}.parquet"
    if not storage.exists(file):
        return
    rows = storage.read_table(file).sort_by([("right", "ascending"), ("left_id", "ascending")])
    names = {
        "id": "right_id",
        "other": "left_id",
        "held_out": "right_held_out",
        "other_held_out": "left_held_out",
        "page": "right",
        "other_page": "left",
    }
    table = pa.table([rows[names.get(name, name)] for name in EDGES.names], schema=EDGES)
    yield from (("edges", batch) for batch in table.combine_chunks().to_batches())


def copies_of_part(
    work: Path, number: int, part: Part, places: Places, seed: int, repeated: Hashes, report: PartReport
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows of copies/."""
    ids = storage.read_table(part.source, ["id"])["id"]
    file = work / "nodes" / f"{number}.parquet"
    nodes = storage.read_table(file) if storage.exists(file) else NODES.empty_table()
    pages = pa.array((np.int64(number) << 32) + np.arange(len(ids)))
    nodes = nodes.take(pc.index_in(pages, nodes["page"]))  # a row of nulls for each page that is in no pair
    near, cluster = nodes["near_copy"].fill_null(False), nodes["cluster"]
    shared = split.fold(cluster.fill_null(0).to_numpy().view(np.uint64), seed)
    own = sidecar(places.split, part, ["fold"])["fold"].to_numpy()
    fold = np.where(cluster.is_valid().to_numpy(), shared, own)
    lines = fractions(part, repeated)
    report.counts["near_copies_of_held_out"] += pc.sum(near).as_py() or 0
    columns = [ids, near, nodes["component"], cluster, fold, pa.array(lines, mask=np.isnan(lines))]
    yield from (("copies", batch) for batch in pa.table(columns, schema=COPIES).combine_chunks().to_batches())


def ranks(experiment: Experiment, dry_run: bool = False) -> int:
    """From pairs and the preference: ranks among copies, and how like a better page each page is."""
    if experiment.duplicates is None:
        return command.OK
    asked, places = experiment.duplicates, Places(experiment.out)
    pages, rankings = parts_of(places.pages), [ranking_of(experiment, scope) for scope in asked.scope]
    read = {places.duplicates("copies"), *(table for _, table in rankings[0].preferred)}
    read |= {ranking.language for ranking in rankings if ranking.language}
    config = {
        "preferred": asked.preferred,
        "scope": asked.scope,
        "threshold": asked.threshold,
        "tables": {table.name: identity_of(table) for table in sorted(read)},
    }
    schema = pa.schema([("id", pa.string()), *asked.columns.items()])
    table = Table(places.signals("duplicates"), config, schema)
    if dry_run:
        print(loop.plan("dedup", pages, [table]))
        return command.OK
    if loop.to_do("dedup", pages, [table]):
        for ranking in rankings:
            rank(session.session("dedup"), ranking)
    numbers = {part.name: number for number, part in enumerate(pages)}

    def gather(part: Part, _: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        rows = ranked_part(rankings[0], numbers[part.name])
        for ranking in rankings[1:]:
            further = ranked_part(ranking, numbers[part.name])
            for name in SCOPED:
                rows = rows.append_column(within(name, ranking.scope), further[name])
        report.counts["exact_copies"] += pc.sum(pc.greater(rows["exact_duplicate_rank"], 1)).as_py() or 0
        report.counts["url_copies"] += pc.sum(pc.greater(rows["url_duplicate_rank"], 1)).as_py() or 0
        alike = pc.greater_equal(rows["near_duplicate_similarity"], asked.threshold)
        report.counts["near_copies"] += pc.sum(alike).as_py() or 0
        yield from ((table.name, batch) for batch in rows.cast(schema).combine_chunks().to_batches())

    report = loop.run(lambda: session.session("dedup"), "dedup", pages, [table], gather)[table.name]
    storage.remove_folder(places.duplicates(".ranks"))
    told = {
        "exact_copies": "exact copies",
        "url_copies": "of one address",
        "near_copies": f"at least {asked.threshold} alike",
    }
    counts = ", ".join(f"{report.counts.get(name, 0):,} {what}" for name, what in told.items())
    print(f"dedup: {report.rows:,} pages, {counts}")
    made_by = config_hash([identity_of(table.path), asked.removes])
    if not storage.exists(places.duplicate_facts) or storage.read_json(places.duplicate_facts)["made_by"] != made_by:
        for alarm in write_facts(session.session("dedup"), places, pages, asked, made_by):
            print(f"dedup: alarm: {alarm}")
    return command.OK


def contamination(experiment: Experiment, dry_run: bool = False) -> int:
    """From text: which n-grams of benchmarks stand in pages, the share of each page, and where each item was found."""
    if experiment.contamination is None:
        return command.OK
    asked, places = experiment.contamination, Places(experiment.out)
    pages, files = parts_of(places.pages), asked.benchmarks
    digests = {one.called: [sha256_of(one.file), list(one.fields)] for one in files}
    made_by = {"benchmarks": digests, "version": VERSION}
    hits = Table(places.contamination("hits"), made_by, hits_schema([one.called for one in files]))
    schema = pa.schema([("id", pa.string()), *asked.columns.items()])
    table = Table(places.signals("contamination"), {"hits": made_by, "common_domains": asked.common_domains}, schema)
    if dry_run:
        print(loop.plan("contamination", pages, [hits, table]))
        return command.OK

    def spark() -> SparkSession:
        return session.session("dedup")

    found = loop.run(spark, "contamination", pages, [hits], lambda part, *rest: hits_of(part, files, rest[1]))["hits"]
    excused: dict[str, Any] = {}
    told = [places.contamination(f"{one.called}.jsonl") for one in files]
    if loop.to_do("dedup", pages, [table]) or not all(storage.exists(file) for file in told):
        for one, file in zip(files, told, strict=True):
            excused[one.called] = common(spark(), places, pages, one.called, asked.common_domains)
            rows = reverse(spark(), places, pages, one, excused[one.called])
            write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            statuses = Counter(row["status"] for row in rows)
            listed = ", ".join(f"{statuses[status]:,} {status}" for status in ("found", "not found", "not checkable"))
            print(f"contamination: {one.called}: {listed}; {len(excused[one.called]):,} n-grams are common and not counted")

    def work(part: Part, *_: Any) -> Iterator[tuple[str, pa.RecordBatch]]:
        ids = storage.read_table(part.source, ["id"])["id"]
        columns = [shares(places, part, one, excused[one.called]) for one in files]
        rows = pa.table([ids, *columns], schema=schema)
        yield from ((table.name, batch) for batch in rows.combine_chunks().to_batches())

    loop.run(spark, "contamination", pages, [table], work)
    print(f"contamination: {found.rows:,} pages")
    return command.OK


def ranking_of(experiment: Experiment, scope: str) -> Ranking:
    """What pages are ranked by within a scope. Raises ExperimentError where it is not measured."""
    asked, places, where = _asked(experiment), Places(experiment.out), signal_tables(experiment.out)
    preferred = [(name, _measured(name, where)) for name in asked.preferred]
    language = _measured("language", where) if scope == "language" else None
    origins = _origins(asked, places)
    return Ranking(places, origins, preferred, scope, language, asked.threshold, places.duplicates(".ranks") / scope)


def _measured(signal: str, where: Mapping[str, Path]) -> Path:
    if signal not in where:
        raise ExperimentError(
            f"signals.duplicates: needs the signal {signal!r}: {nearest(signal, list(where))}. Run jobs.score first"
        )
    return where[signal]


if __name__ == "__main__":
    command.main(main, __doc__)
