"""A part's small columns as rules see them, and which of its pages may be chosen."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.nearest import nearest
from filters.quantiles import Buckets, Column, Found, Open, Targets, check_groups, count, find, merged
from filters.rules import Pool, RuleError
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, identity_of, sidecar, signal_tables

Truth = npt.NDArray[np.bool_]
Key = TypeVar("Key", bound=Hashable)
Over = Callable[[Callable[[Part], Any], Callable[[Sequence[Any]], Any]], Any]
"""A function of one part and how its values are merged -> the value of all parts."""


@dataclass(frozen=True)
class Columns:
    """Where the signals lie that a choice needs. It travels to the workers."""

    places: Places
    tables: Mapping[Path, Sequence[str]]
    seed: int
    deduplicated: bool = False
    """Whether near copies of held-out pages have left the pool."""

    @classmethod
    def find(cls, experiment: Experiment, signals: Collection[str]) -> Self:
        """The tables of these signals, of sizes, and where they are measured of language and tokens.

        Raises ExperimentError where a signal is missing.
        """
        places = Places(experiment.out)
        where = signal_tables(experiment.out) | {"domain": places.pages}
        tables: dict[Path, list[str]] = {}
        for signal in sorted({*signals, "text_bytes"} | ({"language", "token_count"} & set(where))):
            if signal not in where:
                raise ExperimentError(
                    f"a rule or the sweep needs the signal {signal!r}: {nearest(signal, list(where))}. "
                    "Add its group under signals: and run jobs.score again"
                )
            tables.setdefault(where[signal], []).append(signal)
        return cls(places, tables, experiment.seed, experiment.duplicates is not None)

    def only(self, signals: Collection[str]) -> Self:
        """These signals and the weights alone, for a pass that reads no others."""
        wanted = {*signals, "text_bytes", "token_count"}
        tables = {table: [signal for signal in some if signal in wanted] for table, some in self.tables.items()}
        return replace(self, tables={table: some for table, some in tables.items() if some})

    @property
    def weights(self) -> list[str]:
        """What pages can be weighed by."""
        signals = [signal for some in self.tables.values() for signal in some]
        return ["pages", "bytes", *(["tokens"] if "token_count" in signals else [])]

    def identities(self) -> dict[str, str]:
        """What tells the tables that are read from others of their names."""
        tables = {self.places.pages, self.places.split, *self.tables}
        tables |= {self.places.duplicates("copies")} if self.deduplicated else set()
        return {table.name: identity_of(table) for table in sorted(tables)}

    def of(self, part: Part, check: bool = False) -> "PartPool":
        """A part's columns. `check`: that each row is the same page in all tables, not only each file from those pages."""
        part.check()
        ids = storage.read_table(part.source, ["id"])["id"] if check else None
        split = sidecar(self.places.split, part, ["id_hash"], ids)
        held_out, copies = outside_pool(self.places, part, self.deduplicated)
        columns: dict[str, pa.ChunkedArray] = {}
        for table, signals in self.tables.items():
            rows = sidecar(table, part, signals, ids)
            columns |= {signal: rows[signal] for signal in signals}
        hashes = split["id_hash"].to_numpy()
        weights = {"pages": np.ones(len(hashes), np.int64), "bytes": columns["text_bytes"].fill_null(0).to_numpy()}
        if "token_count" in columns:
            weights["tokens"] = columns["token_count"].fill_null(0).to_numpy()
        if "text_characters" in columns:  # where a rule weighs by them
            weights["characters"] = columns["text_characters"].fill_null(0).to_numpy()
        return PartPool(Pool(hashes, columns, weights, self.seed, hashes), held_out, copies)


@dataclass(frozen=True)
class PartPool:
    """All pages of a part, and which of them nothing may be chosen from."""

    pages: Pool
    held_out: Truth
    copies: Truth

    @property
    def free(self) -> Truth:
        """True for the pages that may be chosen."""
        return ~(self.held_out | self.copies)

    def chosen_from(self) -> Pool:
        """The pages that may be chosen: thresholds never see the others."""
        free, pages = self.free, self.pages
        columns = {name: column.filter(pa.array(free)) for name, column in pages.columns.items()}
        hashes = np.asarray(pages.ids)[free]
        return Pool(hashes, columns, {name: weight[free] for name, weight in pages.weights.items()}, pages.seed, hashes)


def pool_identity(experiment: Experiment) -> list[str]:
    """What tells the pages that may be learned from, from those of other tables."""
    places = Places(experiment.out)
    copies = [places.duplicates("copies")] if experiment.duplicates is not None else []
    return [identity_of(table) for table in (places.pages, places.split, *copies)]


def outside_pool(places: Places, part: Part, deduplicated: bool) -> tuple[Truth, Truth]:
    """Which pages of a part are held out, and which are copies of held-out ones, near copies too; shape (pages,) each."""
    split = sidecar(places.split, part, ["held_out", "copy_of_held_out"])
    held_out, copies = (split[name].to_numpy() for name in split.column_names)
    if deduplicated:
        near = sidecar(places.duplicates("copies"), part, ["near_copy_of_held_out"])["near_copy_of_held_out"]
        copies = copies | near.to_numpy()
    return held_out, copies


def cuts_of(
    targets: Mapping[Key, Targets], column: Callable[[Key, Pool], Column], columns: Columns, over: Over
) -> dict[Key, Found]:
    """The cuts of some rankings over all pages that may be chosen; `column` is what a part has of a ranking."""

    def counted(wanted: Mapping[Key, Open | None]) -> Mapping[Key, Buckets]:
        def of_part(part: Part) -> dict[Key, Buckets]:
            pool = columns.of(part).chosen_from()
            return count(wanted, lambda key: column(key, pool))

        sums: Mapping[Key, Buckets] = over(of_part, merged)
        for key, one in sums.items():  # a single part's counts were not merged with any
            try:
                check_groups(key, one.names)
            except ValueError as error:
                raise RuleError(str(error)) from error
        return sums

    return find(targets, counted) if targets else {}


def cuts_over(
    columns: Columns,
    over: Over,
    targets: Mapping[Key, Targets],
    column: Callable[[Key, Pool], Column],
    signals: Collection[str],
) -> dict[Key, Found]:
    """The same from passes that read some signals and the weights alone."""
    return cuts_of(targets, column, columns.only(signals), over)
