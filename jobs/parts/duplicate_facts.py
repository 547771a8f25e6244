"""What duplicates amount to, from one pass over their signals: for the report, and alarms before anything is removed.

Nothing that grows with the pages comes to the driver: counts by threshold and by cluster size, ten clusters, a few domains.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from jobs.parts import passes, storage
from jobs.parts.duplicate_options import Duplicates
from jobs.parts.frames import frame
from jobs.parts.places import Places
from jobs.parts.pool import outside_pool
from jobs.parts.session import received
from jobs.parts.table import Part, sidecar

THRESHOLDS = tuple(round(0.5 + step / 20, 2) for step in range(11))
CLUSTERS = 10
"""Shown, the largest first."""
LINE = 300
"""Characters of a cluster's first page that are kept."""
DOMAIN_SHARE, DOMAIN_PAGES, CLUSTER_SHARE = 0.95, 20, 0.01
"""Alarms: a domain or file of so many pages or more that would lose this share, a cluster with this share of all pages."""
MOST_EMPTIED = 10
BY_DOMAIN = pa.schema([("domain", pa.string()), ("pages", pa.int64()), ("removed", pa.int64())])


@dataclass
class Amounts:
    """Of pages that may be chosen: how many, removed at each threshold, clusters by size, the largest with their page.

    `emptied`: (name, pages, removed) of the largest parts of which hardly anything would be left.
    """

    pages: int = 0
    removed: Counter[float] = field(default_factory=Counter)
    exact: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    largest: list[tuple[int, str, int, int]] = field(default_factory=list)
    emptied: list[tuple[str, int, int]] = field(default_factory=list)


def added(some: Sequence[Amounts]) -> Amounts:
    """Amounts of several parts together."""
    total = Amounts()
    for one in some:
        total.pages += one.pages
        total.exact += one.exact
        total.removed.update(one.removed)
        total.sizes.update(one.sizes)
        total.largest = sorted(total.largest + one.largest, key=lambda cluster: (-cluster[0], cluster[1]))[:CLUSTERS]
        total.emptied = sorted(total.emptied + one.emptied, key=lambda part: (-part[1], part[0]))[:MOST_EMPTIED]
    return total


def write_facts(spark: SparkSession, places: Places, pages: Sequence[Part], asked: Duplicates, made_by: str) -> list[str]:
    """Write what the report shows of duplicates; the alarms."""

    def amounts(at: int) -> Amounts:
        return amounts_of(places, at, pages[at], asked.threshold)

    found = passes.merged(spark, "duplicates", range(len(pages)), amounts, added)
    clusters = [
        {"id": name, "pages": size, "line": _first_line(pages[part], row)} for size, name, part, row in found.largest
    ]
    alarms = list(alarms_of(found, asked, _emptied(spark, places, pages, asked.threshold)))
    facts = {
        "made_by": made_by,
        "threshold": asked.threshold,
        "pages": found.pages,
        "exact": found.exact,
        "removed": sorted([threshold, pages] for threshold, pages in found.removed.items() if threshold >= asked.least),
        "sizes": sorted([size, count] for size, count in _by_power(found.sizes).items()),
        "clusters": clusters,
        "alarms": alarms,
    }
    storage.write_json(places.duplicate_facts, facts)
    return alarms


def amounts_of(places: Places, number: int, part: Part, threshold: float) -> Amounts:
    """One part's amounts, at `threshold` too."""
    names = [
        "id",
        "exact_duplicate_rank",
        "near_duplicate_similarity",
        "near_duplicate_cluster",
        "near_duplicate_cluster_size",
    ]
    rows = sidecar(places.signals("duplicates"), part, names)
    held_out, copies = outside_pool(places, part, deduplicated=True)
    free = np.flatnonzero(~(held_out | copies))
    rows = rows.take(pa.array(free))
    alike = rows["near_duplicate_similarity"].to_numpy()
    first = np.flatnonzero(pa.compute.equal(rows["id"], rows["near_duplicate_cluster"]).to_numpy())
    sizes = rows["near_duplicate_cluster_size"].to_numpy()[first]
    order = first[np.argsort(-sizes, kind="stable")][:CLUSTERS]
    largest = [
        (int(rows["near_duplicate_cluster_size"][at].as_py()), str(rows["id"][at].as_py()), number, int(free[at]))
        for at in order.tolist()
        if rows["near_duplicate_cluster_size"][at].as_py() > 1
    ]
    removed = {at: int((alike >= at).sum()) for at in (*THRESHOLDS, threshold)}
    return Amounts(
        pages=len(free),
        removed=Counter(removed),
        exact=int((rows["exact_duplicate_rank"].to_numpy() > 1).sum()),
        sizes=Counter(sizes.tolist()),
        largest=largest,
        emptied=[(part.name, len(free), removed[threshold])] if _is_emptied(len(free), removed[threshold]) else [],
    )


def _is_emptied(pages: int, removed: int) -> bool:
    return pages >= DOMAIN_PAGES and removed >= DOMAIN_SHARE * pages


def _by_power(sizes: Counter[int]) -> dict[int, int]:
    """Clusters by size, from each power of two up to the next."""
    counts: Counter[int] = Counter()
    for size, clusters in sizes.items():
        counts[1 << (size.bit_length() - 1)] += clusters
    return counts


def _first_line(part: Part, row: int) -> str:
    file, at = storage.open_parquet(part.source), 0
    for group in range(file.num_row_groups):
        many = file.metadata.row_group(group).num_rows
        if row < at + many:
            text = str(file.read_row_group(group, columns=["text"])["text"][row - at].as_py())
            return next((line.strip() for line in text.split("\n") if line.strip()), "")[:LINE]
        at += many
    return ""


def _emptied(spark: SparkSession, places: Places, pages: Sequence[Part], threshold: float) -> list[tuple[str, int, int]]:
    """(domain, pages, removed) of the largest domains of which a threshold would leave hardly anything."""

    def by_domain(_: int, part: Part) -> Iterator[pa.RecordBatch]:
        domains = storage.read_table(part.source, ["domain"])["domain"]
        alike = sidecar(places.signals("duplicates"), part, ["near_duplicate_similarity"])["near_duplicate_similarity"]
        rows = pa.table({"domain": domains, "removed": pa.compute.greater_equal(alike, threshold).cast(pa.int64())})
        held_out, copies = outside_pool(places, part, deduplicated=True)
        rows = rows.filter(pa.compute.and_(pa.array(~(held_out | copies)), domains.is_valid()))
        sums = rows.group_by("domain").aggregate([("removed", "count"), ("removed", "sum")])
        yield from sums.select(["domain", "removed_count", "removed_sum"]).rename_columns(BY_DOMAIN.names).to_batches()

    sums = frame(spark, pages, BY_DOMAIN, by_domain).groupBy("domain")
    rows = sums.agg(sql.sum("pages").alias("pages"), sql.sum("removed").alias("removed"))
    lost = rows.where((sql.col("pages") >= DOMAIN_PAGES) & (sql.col("removed") >= DOMAIN_SHARE * sql.col("pages")))
    most = received(lost.orderBy(sql.col("pages").desc(), "domain").limit(MOST_EMPTIED).collect())
    return [(row["domain"], row["pages"], row["removed"]) for row in most]


def alarms_of(found: Amounts, asked: Duplicates, domains: Sequence[tuple[str, int, int]]) -> Iterator[str]:
    """Sentences on what a threshold would do that nobody may want. `domains`: as `emptied`, of domains."""
    threshold = asked.threshold
    for name, pages, removed in [*domains, *(("the file " + name, *rest) for name, *rest in found.emptied)]:
        yield f"at {threshold} {removed:,} of the {pages:,} pages of {name} would be removed"
    share = found.removed[threshold] / max(found.pages, 1)
    low, high = asked.removes
    if not low <= share <= high:
        yield f"at {threshold} {share:.1%} of all pages would be removed, expected were {low:.0%} to {high:.0%}"
    for size, name, *_ in found.largest:
        if size > CLUSTER_SHARE * found.pages and size > DOMAIN_PAGES:
            yield f"the cluster of {name} has {size:,} pages, {size / found.pages:.1%} of all"
