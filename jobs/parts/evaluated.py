"""The pages that every run is evaluated on: held-out pages of the crawl, and good texts that no classifier was trained on.

Held-out pages are taken in the order of a draw until there are bytes enough. Each part gives only the pages whose draw is
below a cut under which there are certainly enough, so that no other page leaves its part.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eval.tokenizer import encode_batch, load_tokenizer, tokenizer_digest
from filters.draws import Hashes, draw, id_hashes
from filters.quantiles import Column, Targets, count, find, merged, ranked
from jobs.parts import passes, session, storage
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import is_reference
from jobs.parts.table import Part, identity_of, parts_of, sidecar, signal_tables
from jobs.shards.sources import texts_of

Over = Callable[[Callable[[Part], Any], Callable[[Sequence[Any]], Any]], Any]
"""A function of one part and how its values are merged -> the value of all parts."""

EVALUATED = pa.schema(
    [
        ("id", pa.string()),
        ("set", pa.string()),
        ("domain", pa.string()),
        ("site", pa.string()),
        ("language", pa.string()),
        ("bytes", pa.int64()),
        ("tokens", pa.list_(pa.uint32())),
    ]
)
DRAWN = pa.schema(
    [
        ("id", pa.string()),
        ("site", pa.string()),
        ("language", pa.string()),
        ("text", pa.large_string()),
        ("draw", pa.uint64()),
    ]
)


def write_evaluated(experiment: Experiment) -> None:
    """Encode the pages once for all runs. Raises ExperimentError where no page is held out."""
    places = Places(experiment.out)
    file = places.evaluated
    config = {
        "evaluate": {"held_out": as_tree(experiment.evaluate.held_out)},
        "seed": experiment.seed,
        "reference": {name: as_tree(files) for name, files in _good_texts(experiment).items()},
        "pages": identity_of(places.pages),
        "split": identity_of(places.split),
        "tokenizer": tokenizer_digest(places.tokenizer),
    }
    if is_made(file, config, "evaluate"):
        return
    spark, parts = session.session("pack"), parts_of(places.pages)

    def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
        return passes.merged(spark, "pack", parts, function, merge)

    held_out, reference = held_out_pages(experiment, over), _reference_pages(experiment)
    if not held_out:
        how = experiment.evaluate.held_out
        raise ExperimentError(
            f"no page is held out (evaluate.held_out: by {how.by}, share {how.share}): take more, or hold out by page"
        )
    rows = [{**page, "set": "held_out"} for page in held_out] + [{**page, "set": "reference"} for page in reference]
    flat, offsets = encode_batch(load_tokenizer(places.tokenizer), [row["text"] for row in rows])
    sizes = [len(row["text"].encode()) for row in rows]
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in ("id", "set", "site", "language")}
    tokens = [flat[begin:end] for begin, end in itertools.pairwise(offsets)]
    columns |= {"domain": columns["site"], "bytes": sizes, "tokens": tokens}
    storage.write_table(file, pa.table(columns, schema=EVALUATED))
    say_made(file, config)
    for name in ("held_out", "reference"):
        chosen = [size for row, size in zip(rows, sizes, strict=True) if row["set"] == name]
        print(f"pack: evaluated on {len(chosen):,} pages of {name}, {sum(chosen):,} bytes", flush=True)


def held_out_pages(experiment: Experiment, over: Over) -> list[dict[str, Any]]:
    """The beginnings of held-out pages up to `most_bytes`, in the order of their draws."""
    places, most_bytes = Places(experiment.out), experiment.evaluate.held_out.most_bytes
    characters, seed = experiment.evaluate.held_out.page_characters, experiment.seed

    def column(part: Part) -> Column:
        split = sidecar(places.split, part, ["id_hash", "held_out"])
        size = sidecar(places.signals("size"), part, ["text_bytes", "text_characters"])
        return ranked(_draws(split, seed), least_bytes(size, characters), lowest=True, among=split["held_out"].to_numpy())

    def counted(wanted: Mapping[str, Any]) -> Any:
        return over(lambda part: count(wanted, lambda _: column(part)), merged)

    # The page that goes beyond the bytes ends the set, so a weight of one byte more than them holds all that is taken.
    found = find({"held out": Targets("at least", (most_bytes + 1,))}, counted)["held out"]
    language = signal_tables(experiment.out).get("language")

    def below(part: Part) -> pa.Table:
        split = sidecar(places.split, part, ["id_hash", "held_out"])
        return _beginnings(part, found.keeps(column(part), 0), _draws(split, seed), language, characters)

    return taken(over(below, pa.concat_tables).to_pylist(), most_bytes)


def _draws(split: pa.Table, seed: int) -> Hashes:
    return draw(split["id_hash"].to_numpy(), seed, "evaluated held_out")


def least_bytes(size: pa.Table, most_characters: int) -> npt.NDArray[np.int64]:
    """The fewest UTF-8 bytes that the beginnings of pages may have, as a character has one to four; shape (pages,)."""
    size_, characters = (size[name].to_numpy() for name in ("text_bytes", "text_characters"))
    beyond = np.maximum(characters - most_characters, 0)
    least: npt.NDArray[np.int64] = np.maximum(characters - beyond, size_ - 4 * beyond)
    return least


def _beginnings(part: Part, wanted: npt.NDArray[np.bool_], draws: Hashes, language: Any, characters: int) -> pa.Table:
    """The wanted pages of a part as rows of DRAWN; row groups without any are not read."""
    rows = [DRAWN.empty_table()]
    languages = sidecar(language, part, ["language"])["language"] if language else None
    file = storage.open_parquet(part.source)
    at = 0
    for group in range(file.num_row_groups):
        end = at + file.metadata.row_group(group).num_rows
        here = np.flatnonzero(wanted[at:end])
        if len(here):
            pages = file.read_row_group(group, columns=["id", "domain", "text"]).take(pa.array(here))
            found = {"id": pages["id"], "site": pages["domain"], "draw": draws[at:end][here]}
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
