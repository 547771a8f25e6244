"""What the report says, as plain facts: nothing here reads a file, decides anything or is typed by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.report.compared import Compared
from eval.report.duplicates import Duplicates
from eval.report.rules_said import as_asked, as_resolved
from eval.report.scorers import Scorers
from eval.report.task_scores import TaskScores

NOT_TRAINED = "not trained"

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Size:
    """How much text: pages, UTF-8 bytes, and tokens where they were counted."""

    pages: int = 0
    bytes: int = 0
    tokens: int | None = None


@dataclass(frozen=True)
class Drop:
    """What one rule removes: whatever the other rules say, where no other rule would, and as the first rule that fails."""

    rule: str
    alone: Size
    uniquely: Size
    in_order: Size
    by_language: Mapping[str, int] = field(default_factory=dict)
    signal: str = ""


@dataclass(frozen=True)
class Subset:
    """One level of the sweep or one control, from its facts in `subsets/`; rules by signal, as asked and as resolved."""

    name: str
    control: str | None
    of: str | None
    levels: Mapping[str, Any]
    strength: int | None
    pool: Size
    kept: Size
    drops: tuple[Drop, ...]
    held_out: Mapping[str, Any]
    status: str
    reason: str
    rules: Mapping[str, Any] = field(default_factory=dict)
    resolved: Mapping[str, Any] = field(default_factory=dict)
    between: tuple[str, ...] = ()
    """The two levels that a band lies between."""
    breadth: tuple[Mapping[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """The level as an axis says it: `3`, or `3 · 50` where several keys vary."""
        return " · ".join(level_text(value) for value in self.levels.values()) or (self.control or self.name)

    @property
    def unswept(self) -> bool:
        """Whether no swept rule is on: every swept key says `none`."""
        return bool(self.levels) and all(value == "none" for value in self.levels.values())

    def asked(self, drop: Drop) -> str:
        """One of its rules as it was asked; where the subset's facts do not have it, as it was applied."""
        asked = self.rules.get(drop.signal)
        return as_asked(drop.signal, asked) if isinstance(asked, Mapping) else drop.rule

    def came_to(self, drop: Drop, groups: Sequence[str] = ()) -> str:
        """The thresholds that a rule which asks for a share came to; empty for others."""
        asked, resolved = self.rules.get(drop.signal), self.resolved.get(drop.signal)
        if not isinstance(asked, Mapping) or not isinstance(resolved, Mapping):
            return ""
        return as_resolved(asked, resolved, groups)

    @property
    def share(self) -> float | None:
        """Bytes kept over bytes in the pool; None where the pool is empty."""
        return self.kept.bytes / self.pool.bytes if self.pool.bytes else None


@dataclass(frozen=True)
class Run:
    """One model: what its `summary.json` says; `status` is `not trained` where there is none."""

    subset: str
    replicate: int
    status: str
    folder: Path = Path()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether there is a model that may be ranked."""
        return self.status == "finished"


@dataclass(frozen=True)
class Scores:
    """Every run's loss on every page of one evaluation set.

    nll: nats per page, float64 [subsets, replicates, pages], NaN where there is no run; bytes: int64 [pages]; cluster and
    stratum: [pages], a label each: pages of one cluster are alike, strata are averaged. `repeated`: subsets of which a run
    read its pages more than once.
    """

    subsets: tuple[str, ...]
    replicates: tuple[int, ...]
    nll: Floats
    bytes: Integers
    cluster: Labels
    stratum: Labels
    repeated: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Exposures:
    """How often runs read each entry of the vocabulary, and what entries cost them on the pages that models are judged by.

    seen, nats: [subsets, replicates, entries]; held_out: [entries], how often each stands in those pages.
    """

    subsets: tuple[str, ...]
    replicates: tuple[int, ...]
    seen: Integers
    nats: Floats
    held_out: Integers


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """What is known of levels beside the verdict. `subsets`: bands and second levels; `permuted`: the ladder's subsets, each
    with its share of tokens out of their order; `scores`: all these and the levels, on the replicates that they have.
    """

    subsets: tuple[Subset, ...] = ()
    permuted: Mapping[str, float] = field(default_factory=dict)
    scores: Scores | None = None
    exposures: Exposures | None = None


@dataclass(frozen=True, eq=False)
class Cell:
    """One model at one budget and learning rate: its runs, and their losses on held-out pages.

    `first_rate`: it is trained on every subset, not on some alone.
    """

    model: str
    tokens: int
    learning_rate: float
    first_rate: bool
    runs: tuple[Run, ...] = ()
    scores: Scores | None = None

    @property
    def parameters(self) -> int:
        """Numbers that are trained; 0 where no run is finished."""
        return max((int(run.facts.get("parameters") or 0) for run in self.runs if run.finished), default=0)

    @property
    def flops(self) -> float:
        """Operations of one run's training: 6 N D."""
        return 6.0 * self.parameters * self.tokens


@dataclass(frozen=True)
class Packed:
    """What a subset's replicates read: how many of them read a fold of their own, the others draw from all of its pages.

    Of the tokens that all replicates read, `shared_tokens` is the share that another one reads too, `shared_pages` the share
    from pages of which another one reads. `tokens`, `slices` and different `pages` are what one reads, the mean of them;
    `epochs` how often it goes through its pool.
    """

    subset: str
    replicates: int
    own: int
    shared_tokens: float
    shared_pages: float
    tokens: float = 0.0
    slices: float = 0.0
    pages: float = 0.0
    epochs: float = 0.0


@dataclass(frozen=True)
class Sample:
    """The start of a page that a level keeps or drops; `failed`: the rules that drop it; `value`: the swept signal's."""

    subset: str
    kept: bool
    text: str
    url: str
    language: str
    value: str
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table's `_manifest.json`."""

    name: str
    rows: int
    counts: Mapping[str, int]
    damaged: tuple[Mapping[str, Any], ...]
    versions: Mapping[str, str]
    config_hash: str


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything the report shows. `subsets` are in the order of the sweep; `results` are the rows of `results.jsonl`."""

    name: str
    subsets: tuple[Subset, ...] = ()
    runs: tuple[Run, ...] = ()
    held_out: Scores | None = None
    pool: Scores | None = None
    """Held-out pages as they come, where `held_out` are only those that pass the rules all levels share."""
    reference: Scores | None = None
    results: tuple[Mapping[str, Any], ...] = ()
    tasks: tuple[TaskScores, ...] = ()
    cells: tuple[Cell, ...] = ()
    """Every model, budget and learning rate, that which `runs` are of among them."""
    packed: tuple[Packed, ...] = ()
    samples: tuple[Sample, ...] = ()
    tables: tuple[Table, ...] = ()
    languages: Mapping[str, int] = field(default_factory=dict)
    compared: Compared | None = None
    duplicates: Duplicates | None = None
    scorers: Scorers = field(default_factory=Scorers)
    experiment: str = ""
    missing: tuple[str, ...] = ()
    diagnosed: Diagnosed = field(default_factory=Diagnosed)
    primary: tuple[str, str] | None = None
    """The hypothesis that the experiment file names: the second minus the first."""
    trains: bool = True
    """Whether models are trained at all, or pages only filtered."""
    explorer: str = ""
    """The file beside the report in which other thresholds can be tried; empty where it has not been made."""

    @property
    def levels(self) -> tuple[Subset, ...]:
        """The subsets of the sweep, mildest first: no controls."""
        return tuple(subset for subset in self.subsets if subset.control is None)

    @property
    def axes(self) -> dict[str, list[str]]:
        """The swept keys, as a person says them (`quality pareto`), each with the values that an axis shows."""
        axes: dict[str, dict[str, None]] = {}
        for subset in self.levels:
            for key, value in subset.levels.items():
                axes.setdefault(key_text(key), {})[level_text(value)] = None
        return {key: list(values) for key, values in axes.items()}

    @property
    def swept(self) -> str:
        """What varies: `quality pareto`."""
        return ", ".join(self.axes) or "the filter"

    @property
    def ordered(self) -> bool:
        """Whether the levels lead from mild to hard: those of several keys are a grid."""
        return len(self.axes) < 2


def key_text(key: str) -> str:
    """A swept key as a person says it."""
    return key.removeprefix("rules.").replace(".", " ")


def level_text(value: Any) -> str:
    """A swept value as an axis says it."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {level_text(item)}" for key, item in value.items())
    return "–".join(map(level_text, value)) if isinstance(value, list) else str(value)


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, the first and the last among them, the others evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[at] for at in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]
