"""The pages that every run is evaluated on: held-out pages of the crawl, and good texts that no classifier was trained on.

Models are judged by held-out pages that pass the rules which all levels of a sweep share: an experiment on English is not
judged by other languages. Beside them stand held-out pages as the pool has them. Both are taken in the order of one draw
until there are bytes enough. Each part gives only the pages whose draw is below a cut under which there are certainly
enough, so that no other page leaves its part.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eval.strata import OTHER, clusters, strata
from eval.tokenizer import encode_batch, load_tokenizer, tokenizer_digest
from filters.draws import Hashes, draw, id_hashes
from filters.levels import needed, swept
from filters.niches import Tenths, signals_of, within_of
from filters.quantiles import Column, Targets, count, find, merged, ranked
from filters.rules import SAMPLE, bounds_of_tenths
from jobs.parts import passes, session, storage
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.pool import Columns, cuts_over
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import is_reference
from jobs.parts.table import Part, identity_of, parts_of, sidecar, signal_tables
from jobs.shards.sources import texts_of

Truth = npt.NDArray[np.bool_]
SETS = {"held_out": ("held_out", "passes"), "pool": ("held_out", "in_pool"), "reference": ("reference", "passes")}
"""What is measured -> the `set` of its pages, and the column that is true for them."""
MOST_NAMED = 20
ALL = "all"
"""The only stratum where there are no others."""
Over = Callable[[Callable[[Part], Any], Callable[[Sequence[Any]], Any]], Any]
"""A function of one part and how its values are merged -> the value of all parts."""

EVALUATED = pa.schema(
    [
        ("id", pa.string()),
        ("set", pa.string()),
        ("passes", pa.bool_()),
        ("in_pool", pa.bool_()),
        ("site", pa.string()),
        ("cluster", pa.string()),
        ("stratum", pa.string()),
        ("language", pa.string()),
        ("bytes", pa.int64()),
        ("tokens", pa.list_(pa.uint32())),
    ]
)
"""`passes`: it passes the rules that all levels share; `in_pool`: it is one of the held-out pages drawn without any rule."""
DRAWN = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("site", pa.string()),
        ("passes", pa.bool_()),
        ("language", pa.string()),
        ("text", pa.large_string()),
        ("draw", pa.uint64()),
    ]
)


def write_evaluated(experiment: Experiment) -> None:
    """Encode the pages once for all runs. Raises ExperimentError where no page is held out."""
    places = Places(experiment.out)
    file = places.evaluated
    shared, tables = shared_rules(experiment), signal_tables(experiment.out)
    config = {
        "evaluate": {key: as_tree(getattr(experiment.evaluate, key)) for key in ("held_out", "strata", "clusters")},
        "rules": {rule: _decided_by(signal, tables, experiment) for rule, signal in shared.items()},
        "seed": experiment.seed,
        "reference": {name: as_tree(files) for name, files in _good_texts(experiment).items()},
        "pages": identity_of(places.pages),
        "split": identity_of(places.split),
        "tokenizer": tokenizer_digest(places.tokenizer),
    }
    if within := experiment.evaluate.niches:
        read = sorted(tables[name] for name in signals_of(within) if name in tables)
        config["strata"] = {table.name: identity_of(table) for table in read}
    if is_made(file, config, "evaluate"):
        return
    spark, parts = session.session("pack"), parts_of(places.pages)

    def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
        return passes.merged(spark, "pack", parts, function, merge)

    held_out, reference = held_out_pages(experiment, over, list(shared)), _reference_pages(experiment)
    if experiment.evaluate.niches:
        niches = niches_of(experiment, [page["id"] for page in held_out], over)
        held_out = [{**page, "niche": niches[page["id"]]} for page in held_out]
    if not held_out:
        how = experiment.evaluate.held_out
        raise ExperimentError(
            f"no page is held out (evaluate.held_out: by {how.by}, share {how.share}): take more, or hold out by page"
        )
    rows = [{**page, "set": "held_out"} for page in held_out] + [{**page, "set": "reference"} for page in reference]
    flat, offsets = encode_batch(load_tokenizer(places.tokenizer), [row["text"] for row in rows])
    sizes = [len(row["text"].encode()) for row in rows]
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in EVALUATED.names if name in DRAWN.names}
    columns |= {name: [row.get(name, name == "passes") for row in rows] for name in ("set", "passes", "in_pool")}
    columns |= parts_of_pages(experiment, rows)
    tokens = [flat[begin:end] for begin, end in itertools.pairwise(offsets)]
    columns |= {"bytes": sizes, "tokens": tokens}
    storage.write_table(file, pa.table(columns, schema=EVALUATED))
    say_made(file, config)
    for name in ("held_out", "reference"):
        chosen = [size for row, size in zip(rows, sizes, strict=True) if row["set"] == name and row.get("passes", True)]
        print(f"pack: evaluated on {len(chosen):,} pages of {name}, {sum(chosen):,} bytes", flush=True)


def niches_of(experiment: Experiment, pages: Sequence[str], over: Over) -> dict[str, str | None]:
    """The niche of each of some pages, by its id; tenths are those of the pages that may be chosen."""
    within = experiment.evaluate.niches
    columns = Columns.find(experiment, signals_of(within))
    tenths = [one.signal for one in within if isinstance(one, Tenths)]
    bounds = bounds_of_tenths(tenths, partial(cuts_over, columns, over))
    bounded, wanted = within_of(experiment.evaluate.strata, bounds), pa.array(pages, pa.string())

    def of_part(part: Part) -> dict[str, str | None]:
        ids = storage.read_table(part.source, ["id"])["id"]
        here = pc.is_in(ids, value_set=wanted)
        niches = pc.cast(columns.of(part).pages.groups(bounded), pa.string())
        return dict(zip(ids.filter(here).to_pylist(), niches.filter(here).to_pylist(), strict=True))

    found: dict[str, str | None] = over(of_part, lambda some: {page: niche for one in some for page, niche in one.items()})
    return found


def parts_of_pages(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Cluster and stratum of each page, as the experiment has them. Raises ExperimentError for a stratum without pages."""
    by = experiment.evaluate.strata
    site, url, page = ([row.get(name) for row in rows] for name in ("site", "url", "id"))
    cluster = clusters(site, url, [str(one) for one in page], experiment.evaluate.clusters)
    if by is None:
        return {"cluster": cluster, "stratum": [ALL] * len(rows)}
    column, named = next(iter(by.items())) if isinstance(by, dict) and not experiment.evaluate.niches else (by, None)
    values = site if column == "domain" else [row.get("language" if column == "language" else "niche") for row in rows]
    # Only the pages that models are judged by decide what is a stratum.
    judged = [at for at, row in enumerate(rows) if row["set"] == "held_out" and row.get("passes")]
    if named is None:
        found = strata([values[at] for at in judged], [cluster[at] for at in judged])
        named = sorted({one for one in found if one != OTHER})
    there = {values[at] for at in judged}
    if empty := [name for name in named if name not in there]:
        have = ", ".join(sorted({str(value) for value in there if value})[:MOST_NAMED]) or "none"
        raise ExperimentError(
            f"evaluate.strata: no page that models are judged by is of the {column} {empty[0]!r} (there are: {have}); "
            "name others, or hold out more"
        )
    return {"cluster": cluster, "stratum": strata(values, cluster, named)}


def _decided_by(signal: str, tables: Mapping[str, Path], experiment: Experiment) -> str | list[str]:
    """What tells a rule's signal from another of its name; for a rule on several, that of all which rules name."""
    if signal in tables:
        return identity_of(tables[signal])
    named = needed(levels_of(experiment)) & set(tables)
    return sorted({identity_of(tables[name]) for name in named})


def shared_rules(experiment: Experiment) -> dict[str, str]:
    """The rules that held-out pages pass too, as verdicts name them -> the signal of each: those that every level has.

    A filter is not judged by the pages that it keeps: rules on a swept signal are never among them, and where a single level
    is compared with the pool, none is.
    """
    places = Places(experiment.out)
    levels = [level for level in levels_of(experiment) if level.control is None]
    if len(levels) < 2:
        return {}
    # A sample says nothing of a page: held-out ones need not be drawn too.
    left_out = {SAMPLE} | {signal for level in levels for signal, _ in swept(level)}
    dropped = [storage.read_json(places.subset_facts(level.name))["dropped"] for level in levels]
    first, *others = ({drop["rule"]: drop["signal"] for drop in drops} for drops in dropped)
    return {
        rule: signal for rule, signal in first.items() if signal not in left_out and all(rule in other for other in others)
    }


def held_out_pages(experiment: Experiment, over: Over, shared: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The beginnings of held-out pages in the order of their draws: up to `most_bytes` that pass the rules, and of all."""
    places, most_bytes = Places(experiment.out), experiment.evaluate.held_out.most_bytes
    characters, seed = experiment.evaluate.held_out.page_characters, experiment.seed

    def passing(part: Part) -> Truth:
        names = [f"rule {rule}" for rule in shared]
        if not names:
            return np.ones(len(sidecar(places.split, part, ["id_hash"])), bool)
        verdicts = sidecar(places.verdicts, part, names)
        return np.asarray(np.logical_and.reduce([verdicts[name].to_numpy() for name in names]), bool)

    def column(part: Part, judged: bool) -> Column:
        split = sidecar(places.split, part, ["id_hash", "held_out"])
        size = sidecar(places.signals("size"), part, ["text_bytes", "text_characters"])
        among = split["held_out"].to_numpy() & (passing(part) if judged else True)
        return ranked(_draws(split, seed), least_bytes(size, characters), lowest=True, among=among)

    def counted(wanted: Mapping[str, Any]) -> Any:
        return over(lambda part: count(wanted, lambda name: column(part, name == "judged")), merged)

    # The page that goes beyond the bytes ends the set, so a weight of one byte more than them holds all that is taken.
    enough = Targets("at least", (most_bytes + 1,))
    cuts = find({"judged": enough, "all": enough} if shared else {"all": enough}, counted)
    language = signal_tables(experiment.out).get("language")

    def below(part: Part) -> pa.Table:
        split, passes = sidecar(places.split, part, ["id_hash", "held_out"]), passing(part)
        wanted = np.logical_or.reduce([cut.keeps(column(part, name == "judged"), 0) for name, cut in cuts.items()])
        rows = Rows(_draws(split, seed), passes, language)
        return _beginnings(part, wanted, rows, characters)

    pages = over(below, pa.concat_tables).to_pylist()
    in_pool = {page["id"] for page in taken(pages, most_bytes)}
    judged = {page["id"] for page in taken([page for page in pages if page["passes"]], most_bytes)}
    ordered = sorted(pages, key=lambda page: (page["draw"], page["id"]))
    return [page | {"in_pool": page["id"] in in_pool} for page in ordered if page["id"] in in_pool | judged]


class Rows(NamedTuple):
    """Of every page of a part: its draw and whether it passes the shared rules; where its language stands, if anywhere."""

    draws: Hashes
    passes: Truth
    language: Any


def _draws(split: pa.Table, seed: int) -> Hashes:
    return draw(split["id_hash"].to_numpy(), seed, "evaluated held_out")


def least_bytes(size: pa.Table, most_characters: int) -> npt.NDArray[np.int64]:
    """The fewest UTF-8 bytes that the beginnings of pages may have, as a character has one to four; shape (pages,)."""
    size_, characters = (size[name].to_numpy() for name in ("text_bytes", "text_characters"))
    beyond = np.maximum(characters - most_characters, 0)
    least: npt.NDArray[np.int64] = np.maximum(characters - beyond, size_ - 4 * beyond)
    return least


def _beginnings(part: Part, wanted: Truth, of: Rows, characters: int) -> pa.Table:
    """The wanted pages of a part as rows of DRAWN; row groups without any are not read."""
    rows = [DRAWN.empty_table()]
    languages = sidecar(of.language, part, ["language"])["language"] if of.language else None
    file = storage.open_parquet(part.source)
    at = 0
    for group in range(file.num_row_groups):
        end = at + file.metadata.row_group(group).num_rows
        here = np.flatnonzero(wanted[at:end])
        if len(here):
            pages = file.read_row_group(group, columns=["id", "url", "domain", "text"]).take(pa.array(here))
            found = {"id": pages["id"], "url": pages["url"], "site": pages["domain"]}
            found |= {"draw": of.draws[at:end][here], "passes": of.passes[at:end][here]}
            found["text"] = pc.utf8_slice_codeunits(pages["text"], 0, characters)
            found["language"] = pa.nulls(len(here), pa.string()) if languages is None else languages.take(at + here)
            rows.append(pa.table(found, schema=DRAWN))
        at = end
    return pa.concat_tables(rows)


def taken(pages: Sequence[dict[str, Any]], most_bytes: int) -> list[dict[str, Any]]:
    """The first pages by their draws whose texts stay within `most_bytes`, at least one."""
    kept: list[dict[str, Any]] = []
    size = 0
    for page in sorted(pages, key=lambda page: (page["draw"], page["id"])):
        size += len(page["text"].encode())
        if kept and size > most_bytes:
            break
        kept.append(page)
    return kept


def _good_texts(experiment: Experiment) -> dict[str, list[Any]]:
    """The files of good text that each classifier is trained on."""
    kinds = {name: one.options for name, one in experiment.classifiers.items()}
    return {name: kind.texts()[key] for name, kind in kinds.items() if (key := kind.good_key())}


def _reference_pages(experiment: Experiment) -> list[dict[str, Any]]:
    """The good texts that no classifier was trained on: small files."""
    how = experiment.evaluate.held_out
    good = [page for name, files in _good_texts(experiment).items() for page in texts_of(files, f"classifiers.{name}")]
    texts = {page.id: page.text for page in good if is_reference(page.id, experiment.seed)}
    draws = draw(id_hashes(list(texts)), experiment.seed, "evaluated reference").tolist()
    pages = [
        {"id": page, "text": text[: how.page_characters], "draw": drawn}
        for (page, text), drawn in zip(texts.items(), draws, strict=True)
    ]
    return taken(pages, how.most_bytes)
