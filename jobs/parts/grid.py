"""The grid of `train:`: every model at every budget and learning rate, and which subsets are trained in each cell of it."""

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from eval.packed import stream_tokens
from eval.sizes import ModelSize, read_size
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment, Train
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError

UNFILTERED = "unfiltered"


@dataclass(frozen=True)
class Cell:
    """One model at one budget and one learning rate."""

    model: str
    """What the size is called: that of conf/models/, or the name of a file from elsewhere."""
    size: ModelSize
    tokens: int
    first_rate: bool
    """Whether all subsets are trained in it, also where `at:` limits the other rates."""

    @property
    def folder(self) -> str:
        """What names a run's size, tokens and learning rate, as a folder."""
        return f"{self.model}-{self.tokens}-{self.size.learning_rate:g}"


def cells(train: Train) -> list[Cell]:
    """The grid, the first model, budget and rate first. Raises ExperimentError for what cannot be trained."""
    if train.at and len(train.learning_rate) == 1:
        raise ExperimentError(
            "train.at says where the second learning rate is trained, and train.learning_rate has only one"
        )
    found = []
    for model, tokens, factor in itertools.product(train.model, train.tokens, train.learning_rate):
        try:
            size = read_size(model, tokens, factor)
        except ValueError as error:
            raise ExperimentError(str(error)) from error
        if tokens < size.batch_tokens:
            raise ExperimentError(
                f"train.tokens must be at least {size.batch_tokens}, one step of the model {model}, got {tokens}"
            )
        name = Path(model).stem if model.endswith(".yaml") else model
        found.append(Cell(name, size, tokens, factor == train.learning_rate[0]))
    return found


def budgets(train: Train) -> dict[int, int]:
    """By context, the tokens of the stream that its longest run reads: shorter runs read the beginning."""
    longest: dict[int, int] = defaultdict(int)
    for cell in cells(train):
        context = cell.size.context
        longest[context] = max(longest[context], stream_tokens(cell.tokens, cell.size.batch, context))
    return dict(longest)


def waits_for_best(train: Train) -> bool:
    """Whether the subsets at the second rate are known only when the first rate's models are measured."""
    return "best" in train.at


def subsets_of(experiment: Experiment, train: Train, cell: Cell, trainable: Sequence[str]) -> list[str]:
    """The subsets that are trained in a cell: the best one is missing as long as it is not known."""
    if cell.first_rate or not train.at:
        return list(trainable)
    found = {"none": UNFILTERED, "hardest": _hardest(experiment, trainable), "best": _best(experiment, train, cell)}
    wanted = {found[one] for one in train.at}
    return [name for name in trainable if name in wanted]


def _levels(experiment: Experiment) -> list[str]:
    """The pool and the levels, without the controls that are drawn for them."""
    return [level.name for level in levels_of(experiment) if level.control in (None, UNFILTERED)]


def _hardest(experiment: Experiment, trainable: Sequence[str]) -> str | None:
    """The level that keeps the fewest bytes; of equal ones the last. None while nothing is chosen."""
    facts = {name: Places(experiment.out).subset_facts(name) for name in _levels(experiment) if name in trainable}
    kept = {name: storage.read_json(told)["kept"]["bytes"] for name, told in facts.items() if storage.exists(told)}
    return min(reversed(kept), key=lambda name: kept[name]) if kept else None


def _best(experiment: Experiment, train: Train, cell: Cell) -> str | None:
    """The level with the fewest bits per byte at the first rate of the cell's model and budget, mean over replicates."""
    [first] = [one for one in cells(train) if (one.model, one.tokens) == (cell.model, cell.tokens) and one.first_rate]
    results = Places(experiment.out).results
    if not storage.exists(results):
        return None
    values: dict[str, list[float]] = defaultdict(list)
    for line in results.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if (row["trained"], row["set"], row["domain"]) == (first.folder, "held_out", "macro"):
            values[row["subset"]].append(row["value"])
    means = {name: mean(values[name]) for name in _levels(experiment) if name in values}
    return min(means, key=lambda name: means[name]) if means else None
