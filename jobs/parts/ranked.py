"""Which of several copies comes first, by a stated preference, and how like a better page each page is.

Pages of the pool are ranked among those that may be chosen, held-out pages among held-out ones; pages that left the pool are
not ranked. Pages of older experiments come before all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as sql

from filters.draws import id_hashes
from filters.duplicates.forest import components, walk
from jobs.parts import storage
from jobs.parts.duplicate_options import COLUMNS
from jobs.parts.frames import frame, write_groups
from jobs.parts.pairs import NEITHER, POOL, Origin, mapped, scopes, tasks
from jobs.parts.places import Places
from jobs.parts.session import received, stand_in, whereabouts
from jobs.parts.spills import spill
from jobs.parts.table import Part, finished, sidecar

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EXACT, URL = 0, 1

NODES = pa.schema(
    [
        ("component", pa.int64()),
        ("page", pa.int64()),
        ("scope", pa.int64()),
        ("text", pa.int64()),
        ("old", pa.bool_()),
        ("id", pa.string()),
        ("preferred", pa.list_(pa.float64())),
    ]
)
"""`text`: a hash of it; of an older page, which may be in pairs with ours of several scopes, its number."""
FEW = 2_000_000
"""Pages and pairs that are ranked in one task."""
LARGEST = 20_000_000
"""Pairs of one component that one task walks: some 60 bytes each. Of more, those in no forest are left out first."""
PAIRS = pa.schema([("component", pa.int64()), ("page", pa.int64()), ("other", pa.int64()), ("jaccard", pa.float64())])
BOTH = pa.schema([*NODES, ("other", pa.int64()), ("jaccard", pa.float64())])
"""Rows of pages (`other` is null) and of pairs, by component."""
KEYS = pa.schema(
    [
        *((name, pa.int64()) for name in ("kind", "high", "low", "side")),
        *(one for one in NODES if one.name not in ("component", "text")),
    ]
)
RANKS = pa.schema([("page", pa.int64()), ("kind", pa.int64()), ("rank", pa.int64())])
ALIKE = pa.schema([("page", pa.int64()), ("similarity", pa.float64()), ("cluster", pa.string()), ("size", pa.int64())])


@dataclass(frozen=True)
class Ranking:
    """What pages are ranked by, and where it lies. It travels to the workers."""

    places: Places
    origins: Sequence[Origin]
    preferred: Sequence[tuple[str, Path]]
    """Signals, the highest first, each with its table."""
    scope: str
    language: Path | None
    threshold: float
    folder: Path

    @property
    def parts(self) -> list[Part]:
        """All parts, those of older experiments behind ours."""
        return [origin.part for origin in self.origins]

    def sides(self, number: int) -> Integers:
        """The side of every page of a part; near copies of held-out pages are on none."""
        origin = self.origins[number]
        rows = sidecar(origin.bands, origin.part, ["order"])
        sides = origin.sides(len(rows))
        if origin.is_old:
            return sides
        near = sidecar(self.places.duplicates("copies"), origin.part, ["near_copy_of_held_out"])
        return np.where(near["near_copy_of_held_out"].to_numpy() & (sides == POOL), NEITHER, sides)

    def nodes(self, number: int) -> pa.Table:
        """Rows of NODES without their component."""
        origin = self.origins[number]
        extra = {"domain": ["domain"], "month": ["crawled_at"]}.get(self.scope, [])
        rows = storage.read_table(origin.part.source, ["id", *extra])
        scope = scopes(rows, self.scope)
        if self.language is not None and not origin.is_old:
            spoken = sidecar(self.language, origin.part, ["language"])["language"]
            scope = id_hashes(spoken.fill_null("")).view(np.int64)
        preferred = np.full((len(rows), len(self.preferred)), np.nan)
        for at, (signal, table) in enumerate(self.preferred if not origin.is_old else ()):
            values = sidecar(table, origin.part, [signal])[signal]
            preferred[:, at] = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(preferred.ravel()), max(len(self.preferred), 1))
        columns = {
            "page": (np.int64(number) << 32) + np.arange(len(rows)),
            "scope": scope,
            "text": sidecar(origin.bands, origin.part, ["text_high"])["text_high"],
            "old": np.full(len(rows), origin.is_old),
            "id": rows["id"],
            "preferred": lists.cast(pa.list_(pa.float64())),
        }
        return pa.table(columns)


def rank(spark: SparkSession, ranking: Ranking, largest: int = LARGEST, few: int = FEW) -> None:
    """Leave ranks and similarities of every part's pages in the ranking's folder, by the part's number."""
    for name in ("ranks", "alike", "thinned"):
        storage.remove_folder(ranking.folder / name)
    tables = {ranking.places.duplicates("edges"), *(origin.bands for origin in ranking.origins)}
    if sum(finished(table)["rows"] for table in tables) <= min(few, largest):
        here = whereabouts()

        def task(_: int) -> None:
            stand_in(here)
            rank_few(ranking)

        spark.sparkContext.parallelize([0], 1).foreach(task)
        return
    keyed = frame(spark, ranking.parts, KEYS, lambda number, _: keys_of(ranking, number))
    first = [sql.col("old").desc(), *_preference(len(ranking.preferred)), sql.col("id")]
    groups = Window.partitionBy("kind", "high", "low", "side", "scope").orderBy(*first)
    ranks = keyed.withColumn("rank", sql.row_number().over(groups).cast("bigint")).where("rank > 1 and not old")
    _by_part(ranks.select(*RANKS.names), RANKS, ranking.folder / "ranks")
    ours = [origin.part for origin in ranking.origins if not origin.is_old]
    rows = frame(spark, ours, BOTH, lambda number, part: graph_of(ranking, number, part))
    _by_part(walked(spark, rows, ranking.threshold, ranking.folder / "thinned", largest), ALIKE, ranking.folder / "alike")


def walked(spark: SparkSession, rows: DataFrame, threshold: float, folder: Path, largest: int = LARGEST) -> DataFrame:
    """Rows of ALIKE from rows of BOTH."""
    return mapped(thinned(spark, rows, folder, largest), lambda graph: alike_pages(graph, threshold), ALIKE)


def rank_few(ranking: Ranking) -> None:
    """The same, of pages and pairs that one task holds."""
    numbers = range(len(ranking.origins))
    keyed = pa.Table.from_batches([batch for number in numbers for batch in keys_of(ranking, number)], KEYS)
    _write_parts(ranked_keys(keyed), ranking.folder / "ranks")
    ours = [(number, origin.part) for number, origin in enumerate(ranking.origins) if not origin.is_old]
    graph = (batch for number, part in ours for batch in graph_of(ranking, number, part))
    _write_parts(pa.Table.from_batches(list(alike_pages(graph, ranking.threshold)), ALIKE), ranking.folder / "alike")


def ranked_keys(keyed: pa.Table) -> pa.Table:
    """Rows of RANKS from rows of KEYS: the pages that are not the first of their group, and not old."""
    keyed = keyed.take(pa.array(best_first(keyed)))
    groups = [keyed[name].to_numpy() for name in ("kind", "high", "low", "side", "scope")]
    order = np.lexsort(groups)
    first = np.append(True, np.any([one[order][1:] != one[order][:-1] for one in groups], axis=0))[: len(keyed)]
    ranks = np.arange(len(keyed)) - np.maximum.accumulate(np.where(first, np.arange(len(keyed)), 0)) + 1
    table = keyed.take(pa.array(order)).append_column("rank", pa.array(ranks))
    return table.filter(pc.and_(pa.array(ranks > 1), pc.invert(table["old"]))).select(RANKS.names)


def _write_parts(rows: pa.Table, folder: Path) -> None:
    parts = rows["page"].to_numpy() >> 32
    for number in np.unique(parts).tolist():
        storage.write_table(folder / f"{number}.parquet", rows.filter(pa.array(parts == number)))


def thinned(spark: SparkSession, rows: DataFrame, folder: Path, largest: int) -> DataFrame:
    """Rows of BOTH in partitions that hold whole components, none of which has more pairs than one task walks.

    Of a larger component each task takes some pairs at random and keeps those of their maximum spanning forest: a pair that
    is not in it is in no forest of all pairs either (Lattanzi et al. 2011, Filtering, SPAA). So the walk's answer is the
    same, and in the end there are fewer pairs than pages.
    """
    is_pair = sql.col("other").isNotNull()
    sizes = rows.groupBy("component").agg(sql.count("*").alias("rows"), sql.count_if(is_pair).alias("pairs")).persist()
    many, most = received(sizes.agg(sql.sum("rows"), sql.max("pairs")).first()) or (0, 0)
    if (most or 0) > largest:
        large = sizes.where(sql.col("pairs") > largest).select("component")
        nodes = rows.where(~is_pair).join(large, "component").select("component", "page", "scope", "text").distinct()
        kept = spill(scoped(nodes, rows.where(is_pair).join(large, "component")), PAIRS, folder / "0")
        before, turn = kept.rows + 1, 0
        while largest < kept.rows < before:
            before, turn = kept.rows, turn + 1
            mixed = kept.frame(spark).repartition(-(-kept.rows // largest), sql.hash("page", "other", sql.lit(turn)))
            kept = spill(mapped(mixed, forest_pairs, PAIRS), PAIRS, folder / str(turn))
        others = rows.join(large, "component", "left_anti").unionByName(rows.where(~is_pair).join(large, "component"))
        rows = others.unionByName(kept.frame(spark), allowMissingColumns=True) if kept.rows else others
    sizes.unpersist()
    return rows.select(*BOTH.names).repartition(tasks(spark, many or 0), "component")


def scoped(nodes: DataFrame, pairs: DataFrame) -> DataFrame:
    """Rows of PAIRS within scopes: what `within_scopes` makes of one task's pages and pairs."""
    first = nodes.groupBy("component", "text", "scope").agg(sql.min("page").alias("first"))
    for end in ("page", "other"):
        texts = nodes.select("component", sql.col("page").alias(end), sql.col("text").alias(f"{end}_text")).distinct()
        pairs = pairs.join(texts, ["component", end])
    pairs = pairs.where("page_text != other_text").select("component", "page_text", "other_text", "jaccard").distinct()
    for end in ("page", "other"):
        stands = first.withColumnsRenamed({"text": f"{end}_text", "first": end})
        pairs = pairs.join(stands, [name for name in pairs.columns if name in stands.columns])
    copies = nodes.join(first, ["component", "text", "scope"]).where("page != first")
    exact = copies.withColumnRenamed("first", "other").withColumn("jaccard", sql.lit(1.0))
    return pairs.select(*PAIRS.names).union(exact.select(*PAIRS.names))


def forest_pairs(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Those of a partition's pairs that are in a maximum spanning forest of them."""
    table = pa.Table.from_batches(list(rows), PAIRS)
    both = np.concatenate([table["page"].to_numpy(), table["other"].to_numpy()])
    pages, ends = np.unique(both, return_inverse=True)
    left, right = np.split(ends.astype(np.int64), 2)
    joins = walk(len(pages), left, right, table["jaccard"].to_numpy()).joins
    yield from table.filter(pa.array(joins)).to_batches()


def _preference(signals: int) -> list[Any]:
    """Highest first; what is not measured comes last."""
    values = [sql.col("preferred")[at] for at in range(signals)]
    return [sql.when(sql.isnan(value), sql.lit(None)).otherwise(value).desc_nulls_last() for value in values]


def _by_part(of: DataFrame, schema: pa.Schema, folder: Path) -> None:
    def write(number: int, rows: pa.Table) -> None:
        storage.write_table(folder / f"{number}.parquet", rows.select(schema.names).cast(schema))

    write_groups(of.withColumn("part", sql.shiftright("page", 32)), "part", write)


def keys_of(ranking: Ranking, number: int) -> Iterator[pa.RecordBatch]:
    """A part's keys of texts and of addresses."""
    origin = ranking.origins[number]
    found = sidecar(origin.bands, origin.part, ["text_high", "text_low", "url_high", "url_low"])
    nodes, sides = ranking.nodes(number), ranking.sides(number)
    for kind, name in ((EXACT, "text"), (URL, "url")):
        wanted = pa.array((sides != NEITHER) & found[f"{name}_high"].is_valid().to_numpy())
        columns = [np.full(len(nodes), kind), found[f"{name}_high"], found[f"{name}_low"], sides]
        table = pa.table([*columns, *(nodes[one] for one in KEYS.names[4:])], schema=KEYS)
        yield from table.filter(wanted).combine_chunks().to_batches()


def graph_of(ranking: Ranking, number: int, part: Part) -> Iterator[pa.RecordBatch]:
    """A part's pages that are in a component, and its pairs."""
    component = sidecar(ranking.places.duplicates("copies"), part, ["component"])["component"]
    linked = component.is_valid()
    if not pc.any(linked).as_py():
        return
    nodes = ranking.nodes(number).append_column("component", component).filter(linked)
    yield from _both(nodes)
    pairs = storage.read_table(
        ranking.places.duplicates("edges") / f"{part.name}.parquet", ["component", "page", "other_page", "jaccard", "other"]
    )
    pairs = pairs.filter(pairs["component"].is_valid())
    ours = sum(not origin.is_old for origin in ranking.origins)
    old = pairs.filter(pc.greater_equal(pairs["other_page"], ours << 32))
    alone = [np.nan] * max(len(ranking.preferred), 1)
    scope = nodes["scope"].take(pc.index_in(old["page"], nodes["page"])) if len(old) else pa.array([], pa.int64())
    columns = {name: old[other] for name, other in {"page": "other_page", "text": "other_page", "id": "other"}.items()}
    columns |= {"component": old["component"], "scope": scope}
    constant = {"old": [True] * len(old), "preferred": [alone] * len(old)}
    if len(old):
        yield from _both(pa.table({**columns, **constant}))
    yield from _both(pairs.drop_columns(["other"]).rename_columns(["component", "page", "other", "jaccard"]))


def _both(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    nothing = {name: pa.nulls(len(rows), BOTH.field(name).type) for name in BOTH.names}
    columns = {name: rows[name] if name in rows.column_names else nothing[name] for name in BOTH.names}
    yield from pa.table([columns[name] for name in BOTH.names], schema=BOTH).combine_chunks().to_batches()


def alike_pages(rows: Iterator[pa.RecordBatch], threshold: float) -> Iterator[pa.RecordBatch]:
    """Rows of ALIKE of a partition that holds whole components."""
    table = pa.Table.from_batches(list(rows), BOTH)
    nodes = table.filter(table["other"].is_null()).combine_chunks()
    pairs = table.filter(table["other"].is_valid())
    if not len(nodes):
        return
    nodes = nodes.take(pa.array(best_first(nodes)))
    nodes = nodes.take(pa.array(_once(nodes)))
    pages, scope, text = (nodes[name].to_numpy() for name in ("page", "scope", "text"))
    by_page = np.argsort(pages)
    ends = [text[by_page[np.searchsorted(pages, pairs[end].to_numpy(), sorter=by_page)]] for end in ("page", "other")]
    left, right, weights = within_scopes(text, scope, np.stack(ends, axis=1), pairs["jaccard"].to_numpy())
    found = walk(len(pages), left, right, weights)
    tight = weights >= threshold
    cluster = components(len(pages), left[tight], right[tight])
    ids = np.array(nodes["id"].to_pylist(), object)
    order = np.lexsort((np.argsort(np.argsort(ids)), cluster))
    starts = np.searchsorted(cluster[order], cluster)
    sizes = np.bincount(cluster, minlength=len(pages))[cluster]
    ours = ~nodes["old"].to_numpy()
    columns = [pages[ours], found.similarity[ours], ids[order][starts][ours], sizes[ours]]
    yield from pa.table([pa.array(column) for column in columns], schema=ALIKE).to_batches()


def _once(nodes: pa.Table) -> Integers:
    """Where each page stands first in each scope: one of an older experiment comes with every pair it is in."""
    both = np.stack([nodes[name].to_numpy() for name in ("page", "scope")], axis=1)
    first: Integers = np.sort(np.unique(both, axis=0, return_index=True)[1])
    return first


def within_scopes(text: Integers, scope: Integers, pairs: Integers, weights: Floats) -> tuple[Integers, Integers, Floats]:
    """Pairs of pages of one scope, as places of both and weights.

    `text` and `scope` are those of every page, `pairs` (pairs, 2) are of texts. One page was compared for all of its text,
    whatever their scope: so a pair stands for one in each scope in which both texts have a page, the first one there. Pages
    of one text and scope are paired with that first one.
    """
    scopes_there, number = np.unique(scope, return_inverse=True)
    texts_there, of_text = np.unique(text, return_inverse=True)
    held, first, which = np.unique(of_text * len(scopes_there) + number, return_index=True, return_inverse=True)
    ends = np.searchsorted(texts_there, pairs[pairs[:, 0] != pairs[:, 1]])
    weights = weights[pairs[:, 0] != pairs[:, 1]]
    low, high = (np.searchsorted(held, (ends[:, 0] + more) * len(scopes_there)) for more in (0, 1))
    pair = np.repeat(np.arange(len(ends)), high - low)
    left = np.arange(len(pair)) + np.repeat(low - np.append(0, np.cumsum(high - low)[:-1])[: len(low)], high - low)
    wanted = ends[pair, 1] * len(scopes_there) + held[left] % len(scopes_there)
    right = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
    both = held[right] == wanted
    copies = np.flatnonzero(first[which] != np.arange(len(text)))
    return (
        np.concatenate([first[left[both]], first[which][copies]]),
        np.concatenate([first[right[both]], copies]),
        np.concatenate([weights[pair[both]], np.ones(len(copies))]),
    )


def best_first(nodes: pa.Table) -> Integers:
    """The order of pages by preference: old ones, then by each signal the highest, null last, then by the smallest id."""
    ids = pc.rank(nodes["id"], sort_keys="ascending", tiebreaker="dense").to_numpy()
    preferred = pc.list_flatten(nodes["preferred"]).to_numpy().reshape(len(nodes), -1)
    keys = [ids]
    for values in preferred.T[::-1] if len(nodes) else ():
        keys += [-np.nan_to_num(values, nan=-np.inf), np.isnan(values)]
    return np.lexsort([*keys, ~nodes["old"].to_numpy()])


def ranked_part(ranking: Ranking, number: int) -> pa.Table:
    """A part's columns of signals/duplicates/."""
    part = ranking.origins[number].part
    ids = storage.read_table(part.source, ["id"])["id"]
    sides, first = ranking.sides(number), np.int64(number) << 32
    keys = sidecar(ranking.origins[number].bands, part, ["url_high"])
    ranked = sides != NEITHER
    ranks = np.ones((2, len(ids)), np.int64)
    file = ranking.folder / "ranks" / f"{number}.parquet"
    if storage.exists(file):
        found = storage.read_table(file)
        ranks[found["kind"].to_numpy(), found["page"].to_numpy() - first] = found["rank"].to_numpy()
    similarity, size, cluster = np.zeros(len(ids)), np.ones(len(ids), np.int64), np.array(ids.to_pylist(), object)
    file = ranking.folder / "alike" / f"{number}.parquet"
    if storage.exists(file):
        found = storage.read_table(file)
        rows = found["page"].to_numpy() - first
        similarity[rows], size[rows] = found["similarity"].to_numpy(), found["size"].to_numpy()
        cluster[rows] = found["cluster"].to_pylist()
    lines = sidecar(ranking.places.duplicates("copies"), part, ["repeated_line_char_fraction"])
    columns = [
        ids,
        pa.array(ranks[EXACT], mask=~ranked),
        pa.array(ranks[URL], mask=~ranked | ~keys["url_high"].is_valid().to_numpy()),
        pa.array(similarity, mask=~ranked),
        pa.array(cluster, pa.string(), mask=~ranked),
        pa.array(size, mask=~ranked),
        lines["repeated_line_char_fraction"],
    ]
    return pa.table(columns, names=["id", *COLUMNS])
