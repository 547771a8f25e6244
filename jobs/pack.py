"""pack: subsets and encoded pages in, packed tokens to train on and the pages to evaluate on out.

    python -m jobs.pack CONF [--set key=value ...] [--dry-run]

A stream is what one level reads in one replicate (`eval.slices`, `jobs.parts.streams`). Passes over all parts find its cut,
every part then gives its slices under the cuts, and one task a stream puts them together. Where `write:` edits text, models
are trained on the edited text: pages are encoded again from it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eval.packed import Regime, Stream, header_path, stream_tokens, write_packed, write_permuted
from eval.plan import Plan, write_plan
from eval.slices import SLICES
from eval.tokenizer import encode_batch, end_of_text, load_tokenizer, tokenizer_digest
from jobs.parts import command, loop, passes, session, storage
from jobs.parts.edits import Edits, told_of
from jobs.parts.evaluated import write_evaluated
from jobs.parts.experiment_file import Experiment, Train
from jobs.parts.grid import (
    budgets,
    cells,
    chosen_subsets,
    may_be_asked,
    mildest,
    names_beside,
    permuted,
    runs,
    smallest_context,
)
from jobs.parts.made_by import is_made, say_made
from jobs.parts.packed_tasks import pack_tasks
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.streams import Encoded, LevelStream, cuts, least_pool, overlap, planned
from jobs.parts.table import Part, PartReport, Table, code_version, identity_of, make_again, parts_of, sidecar
from jobs.score import TOKEN_COUNT, TOKEN_IDS


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Pack what is not packed yet: the streams of subsets that can be trained on, and the pages to evaluate on."""
    train = experiment.train
    if train is None:
        raise ExperimentError("the experiment file has no train: section, so there is nothing to pack for")
    subsets = chosen_subsets(experiment, dry_run)
    for name, facts in subsets.items():
        if facts["status"] != "ok":
            print(f"pack: {name} is {facts['status']}: {facts['reason']}")
    whole = {name: facts for name, facts in subsets.items() if facts["status"] == "ok"}
    for context, budget, names in _asked(experiment, train, list(whole)):
        packing = Packing.of(experiment, train, {name: whole[name] for name in names}, context, budget)
        if dry_run:
            missing = packing.missing()
            print(
                f"pack: {len(names)} subsets in {len(train.numbers)} replicates for models of context {context}; "
                f"{len(missing)} subsets to pack" + (f": {', '.join(missing)}" if missing else "")
            )
        else:
            _pack(packing)
    if not dry_run:
        write_ladder(experiment, train)
        write_evaluated(experiment)
        places, asked = Places(experiment.out), runs(experiment)
        tasks = [one.asked.name for one in pack_tasks(experiment, smallest_context(train))[0]]
        beside = {*names_beside(experiment), *permuted(experiment)}
        levels = dict.fromkeys(run.subset for run in asked if run.subset not in beside)
        put_to = may_be_asked(experiment, list(levels)) if tasks else []
        plan = Plan(asked, train.device, tasks, put_to)
        write_plan(places.packs, plan, places.tokenizer, {"goodhart": code_version()})
    return command.OK


def _asked(experiment: Experiment, train: Train, names: Sequence[str]) -> Iterator[tuple[int, int, list[str]]]:
    """Context, budget and subsets of what is packed together: what is trained beside the levels is so in one cell alone."""
    beside, first = names_beside(experiment), cells(train)[0]
    there = [name for name in names if name in beside]
    alone = first.size.context, stream_tokens(first.tokens, first.size.batch, first.size.context)
    for context, budget in budgets(train).items():
        yield context, budget, [name for name in names if name not in there or (context, budget) == alone]
    if there and alone not in budgets(train).items():
        yield *alone, there


def write_ladder(experiment: Experiment, train: Train) -> None:
    """Write what permuted runs read: the streams of the mildest level with tokens out of their order."""
    places, context = Places(experiment.out), cells(train)[0].size.context
    of, steps = mildest(experiment, context), permuted(experiment)
    if steps and of is None:
        print("pack: no level can be trained on, so diagnostics.permuted has no stream to put out of order")
    for name, share in steps.items() if of else ():
        for replicate in train.numbers[: experiment.beside.replicates]:
            source, file = (places.packed(subset, context, replicate) for subset in (str(of), name))
            made_by = {"of": of, "stream": storage.read_json(header_path(source))["sha256"], "permuted": share}
            if not is_made(file, made_by, "pack"):
                with storage.on_scratch(file, last=[header_path(file).name]) as here:
                    write_permuted(storage.stream_here(source), here, share)
                say_made(file, made_by)


def _pack(packing: "Packing") -> None:
    """Write the streams for models of one context that are not there."""
    levels, parts = packing.missing(), parts_of(packing.places.pages)
    if levels:
        spark = session.session("pack")

        def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any], of: Sequence[Part] = parts) -> Any:
            return passes.merged(spark, "pack", of, function, merge)

        if packing.edits:
            work = partial(encode_edited, packing=packing, levels=levels)
            reports = loop.run(lambda: spark, "pack", parts, edited_tables(packing, levels), work)
            if said := told_of(reports["tokens"].counts):
                print(f"pack: of the pages that any level keeps {said}")
        pack_streams(packing, encoded(packing, levels), parts, over)
    storage.remove_folder(packing.places.edited)


@dataclass(frozen=True)
class Packing:
    """What is packed: `subsets` name -> configuration; `tokens`, what tells the tokens read from others; the streams."""

    places: Places
    subsets: Mapping[str, str]
    edits: Edits
    tokens: Any
    context: int
    budget: int
    regime: Regime
    replicates: tuple[int, ...]
    deduplicated: bool = False

    @classmethod
    def of(
        cls, experiment: Experiment, train: Train, subsets: Mapping[str, Mapping[str, Any]], context: int, budget: int
    ) -> "Packing":
        """As the experiment asks for models of a context, the longest of whose runs reads `budget` tokens."""
        places, edits = Places(experiment.out), Edits.of(experiment)
        tokens: Any = identity_of(places.token_ids)
        if edits:
            tokenizer = tokenizer_digest(places.tokenizer)
            tokens = {"pages": identity_of(places.pages), "tokenizer": tokenizer, **edits.config()}
        made_by = {name: str(facts["config_hash"]) for name, facts in subsets.items()}
        numbers, deduplicated = tuple(train.numbers), experiment.duplicates is not None
        return cls(places, made_by, edits, tokens, context, budget, train.regime, numbers, deduplicated)

    def made_by(self, subset: str, replicate: int | None = None) -> dict[str, Any]:
        """The configuration of a stream, or of what is told of all streams of a subset."""
        streams = self.replicates if replicate is None else {replicate: self.replicates.index(replicate)}
        targets = self.budget - 1  # a stream has one token before the first target
        return {
            "subset": self.subsets[subset],
            "pages": self.tokens,
            "train": {"tokens": targets, "regime": self.regime, "replicates": streams, "folds": len(self.replicates)},
            "context": self.context,
        }

    def missing(self) -> list[str]:
        """The subsets of which not all is packed. Raises ExperimentError where another configuration packed one."""
        return [name for name in self.subsets if not self._is_whole(name)]

    def _is_whole(self, subset: str) -> bool:
        if not is_made(self.told(subset), self.made_by(subset), "pack"):
            return False
        if storage.read_json(self.told(subset))["status"] != "ok":
            return True
        return all(self.is_packed(subset, replicate) for replicate in self.replicates)

    def is_packed(self, subset: str, replicate: int) -> bool:
        """Whether a stream is there and whole. Raises ExperimentError where another configuration packed it."""
        return is_made(self.file(subset, replicate), self.made_by(subset, replicate), "pack")

    def told(self, subset: str) -> Path:
        """Where a subset's facts lie; written when all its streams are whole."""
        return self.places.packed_facts(subset, self.context)

    def file(self, subset: str, replicate: int) -> Path:
        """Where a stream lies."""
        return self.places.packed(subset, self.context, replicate)


def pack_streams(packing: Packing, encoded: Encoded, parts: Sequence[Part], over: Callable[..., Any]) -> None:
    """Write the streams of levels that are not there, then what is told of each level's."""
    by_fold = over(lambda part: encoded.pages(part).by_fold(), lambda some: np.sum(some, axis=0))
    plan = planned(encoded.levels, packing.replicates, by_fold, least_pool(packing.regime, packing.budget, packing.context))
    streams = {stream: pool for stream, pool in plan.pools.items() if not packing.is_packed(stream.level, stream.replicate)}
    if streams:
        found = cuts(list(streams), packing.budget, encoded, over)
        storage.remove_folder(packing.places.slices)
        over(partial(_write_slices, encoded=encoded, cuts=found), sum)
        numbered = [Part(str(number), "", "") for number in range(len(streams))]
        write = partial(_write_stream, packing=packing, streams=streams, parts=[part.name for part in parts])
        over(write, sum, numbered)
    shared = _shared(packing, [level for level in encoded.levels if level not in plan.small], over)
    for level in encoded.levels:
        own = {stream: pool for stream, pool in plan.pools.items() if stream.level == level}
        _tell(packing, level, own, plan.small.get(level, ""), shared.get(level))
    storage.remove_folder(packing.places.slices)


def _shared(packing: Packing, levels: Sequence[str], over: Callable[..., Any]) -> dict[str, dict[str, float]]:
    """How far the replicates of each level read the same."""

    def of_level(level: Part) -> dict[str, dict[str, float]]:
        return {level.name: overlap([packing.file(level.name, replicate) for replicate in packing.replicates])}

    def together(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {level: share for one in some for level, share in one.items()}

    shared: dict[str, dict[str, float]] = (
        over(of_level, together, [Part(level, "", "") for level in levels]) if levels else {}
    )
    return shared


def _write_slices(part: Part, encoded: Encoded, cuts: Mapping[LevelStream, int]) -> int:
    file = encoded.places.slices / f"{part.name}.arrow"
    return storage.write_batches(file, SLICES, encoded.given(part, cuts))


def _write_stream(number: Part, packing: Packing, streams: Mapping[LevelStream, int], parts: Sequence[str]) -> int:
    """One stream from what every part gave: each part's batches come stream by stream, over and over."""
    at = int(number.name)
    stream, pool = list(streams.items())[at]
    file, tokenizer = packing.file(stream.level, stream.replicate), load_tokenizer(packing.places.tokenizer)
    given = (storage.read_batches(packing.places.slices / f"{part}.arrow", slice(at, None, len(streams))) for part in parts)
    asked = Stream(packing.context, stream.replicate, packing.regime, packing.budget, pool)
    try:
        with storage.on_scratch(file, last=[header_path(file).name]) as here:
            header = write_packed(
                given,
                here,
                asked,
                vocabulary=tokenizer.get_vocab_size(),
                end_of_text=end_of_text(tokenizer),
                tokenizer=tokenizer_digest(packing.places.tokenizer),
            )
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    say_made(file, packing.made_by(stream.level, stream.replicate))
    return header.slices


def _tell(
    packing: Packing, level: str, pools: Mapping[LevelStream, int], too_small: str, shared: Mapping[str, float] | None
) -> None:
    """Write which pages each replicate draws from and how far they read the same, and print it."""
    replicates = {}
    for stream, pool in pools.items():
        header = storage.read_json(header_path(packing.file(stream.level, stream.replicate)))
        sizes = {name: header[name] for name in ("tokens", "slices", "pages")}
        replicates[stream.replicate] = {"fold": "whole pool" if stream.fold is None else "own", "pool": pool, **sizes}
    facts = {
        "status": "too small" if too_small else "ok",
        "reason": too_small,
        "budget": packing.budget,
        "context": packing.context,
        "regime": packing.regime,
        "replicates": replicates,
        "shared": shared,
    }
    storage.write_json(packing.told(level), facts)
    say_made(packing.told(level), packing.made_by(level))
    if shared is None:
        print(f"pack: {level} is too small: {too_small}", flush=True)
        return
    whole = sum(one["fold"] == "whole pool" for one in replicates.values())
    said = f"; {whole} of {len(replicates)} replicates draw from the whole pool" if whole else ""
    pages = sum(one["pages"] for one in replicates.values())
    print(f"pack: {level:<34} {len(replicates)} replicates of {packing.budget:,} tokens, {pages:,} pages{said}", flush=True)


def encoded(packing: Packing, levels: Sequence[str]) -> Encoded:
    """Where the tokens lie that models are to read."""
    places = packing.places
    counts, tokens = places.signals("tokens"), places.token_ids
    if packing.edits:
        counts, tokens = (table.path for table in edited_tables(packing, levels))
    folds = len(packing.replicates)
    return Encoded(places, counts, tokens, tuple(levels), folds, packing.context, packing.deduplicated)


def edited_tables(packing: Packing, levels: Sequence[str]) -> list[Table]:
    """The tables of tokens of edited text, there only while streams are packed; removes what another packing left."""
    config = {"levels": {level: packing.subsets[level] for level in levels}, "tokens": packing.tokens}
    folder = packing.places.edited
    tables = [Table(folder / "tokens", config, TOKEN_COUNT), Table(folder / "token_ids", config, TOKEN_IDS)]
    for table in tables:
        make_again(table)
    return tables


def encode_edited(
    part: Part, _: Sequence[Table], report: PartReport, packing: Packing, levels: Sequence[str]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Tokens of the edited text of the pages that any level keeps, as rows of `tokens` and `token_ids`; others have none."""
    places, edit = packing.places, packing.edits.of_part(part)
    verdicts = sidecar(places.verdicts, part, [f"subset {level}" for level in levels])
    kept = np.logical_or.reduce([column.to_numpy() for column in verdicts.columns])
    tokenizer, file = load_tokenizer(places.tokenizer), storage.open_parquet(part.source)
    at = 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=["id", "text"]).combine_chunks()
        here = kept[at : at + len(rows)]
        text = edit(rows["text"].filter(pa.array(here)).combine_chunks(), report.counts).to_pylist()
        flat, ends = encode_batch(tokenizer, text)
        counts = np.zeros(len(rows), np.int64)
        counts[here] = np.diff(ends)
        report.counts.update({"edited": len(text)})
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        ids = rows["id"].combine_chunks()
        yield "tokens", pa.record_batch([ids, pa.array(counts)], TOKEN_COUNT)
        yield "token_ids", pa.record_batch([ids, pa.ListArray.from_arrays(offsets, pa.array(flat, pa.uint32()))], TOKEN_IDS)
        at += len(rows)


if __name__ == "__main__":
    command.main(main, __doc__)
