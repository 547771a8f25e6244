"""The grid of `train:`: every model at every budget and learning rate, and which subsets are trained in each cell of it."""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from eval.packed import stream_tokens
from eval.plan import RunConfig
from eval.sizes import ModelSize, read_size
from eval.tokenizer import load_tokenizer
from filters.levels import BESIDE
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment, Train
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError

UNFILTERED = "unfiltered"
NOT_CHOSEN = {"status": "ok", "reason": "", "config_hash": ""}
"""What a dry run takes for the facts of a subset that is not chosen yet."""


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


def smallest_context(train: Train) -> int:
    """The tokens that every model of the grid sees at once: all are asked what the smallest can be asked."""
    return min(cell.size.context for cell in cells(train))


def vocabulary(experiment: Experiment) -> int:
    """Entries of the tokenizer, as it is or will be; 0 without one."""
    asked = experiment.tokenizer
    if asked is None:
        return 0
    return load_tokenizer(asked.path).get_vocab_size() if asked.path else asked.vocabulary


def waits_for_best(train: Train) -> bool:
    """Whether the subsets at the second rate are known only when the first rate's models are measured."""
    return "best" in train.at


def runs(experiment: Experiment, dry_run: bool = False) -> list[RunConfig]:
    """Every run of the experiment, for the device that it names; in a dry run also of subsets that are not chosen yet.

    Raises ExperimentError for an unknown model size or a missing section.
    """
    train = experiment.train
    if train is None:
        raise ExperimentError("the experiment file has no train: section")
    first, *others = cells(train)
    beside, levels = subsets_beside(experiment, first.size.context, dry_run), _levels(experiment)
    numbers = train.numbers[: experiment.diagnostics.replicates]
    asked = [
        (cell, subset, replicate)
        for cell in (first, *others)
        for subset in subsets_of(experiment, train, cell, trainable(experiment, cell.size.context, dry_run))
        for replicate in train.numbers
    ]
    asked += [(first, subset, replicate) for subset in beside for replicate in numbers]
    late = experiment.diagnostics.late
    return [_run(experiment, train, *one, late=late and one[0] == first and one[1] in levels) for one in asked]


def _run(experiment: Experiment, train: Train, cell: Cell, subset: str, replicate: int, late: bool) -> RunConfig:
    places = Places(experiment.out)
    return RunConfig(
        subset=subset,
        packed=places.packed(subset, cell.size.context, replicate),
        tokenizer=places.tokenizer,
        model=cell.model,
        size=cell.size,
        tokens=cell.tokens,
        replicate=replicate,
        out=places.run(subset, cell.folder, replicate),
        device=train.device,
        late=late,
    )


def subsets_beside(experiment: Experiment, context: int, dry_run: bool = False) -> list[str]:
    """What is trained beside the levels and their controls: second levels, bands, permuted streams of the mildest level."""
    beside = names_beside(experiment)
    ladder = permuted(experiment) if mildest(experiment, context, dry_run) else {}
    return [*(name for name in _trainable(experiment, context, dry_run) if name in beside), *ladder]


def names_beside(experiment: Experiment) -> list[str]:
    """The subsets that are chosen to be trained beside the levels."""
    return [level.name for level in levels_of(experiment) if level.control in BESIDE]


def permuted(experiment: Experiment) -> dict[str, float]:
    """The steps of the ladder: what each is called -> the share of tokens out of their order, mildest first."""
    return {f"permuted-{str(share).removesuffix('.0')}": share for share in sorted(experiment.diagnostics.permuted)}


def mildest(experiment: Experiment, context: int, dry_run: bool = False) -> str | None:
    """The level that keeps most bytes, of those to train on, the first of equal ones; None where there is none."""
    levels = [name for name in trainable(experiment, context, dry_run) if name in _levels(experiment) and name != UNFILTERED]
    kept = _kept_bytes(experiment, levels)
    return max(levels, key=lambda name: kept.get(name, 0), default=None)


def trainable(experiment: Experiment, context: int, dry_run: bool = False) -> list[str]:
    """The levels and controls that hold enough to train models of a context on, in the order of the sweep: of those that are
    packed, what was found then.
    """
    beside = names_beside(experiment)
    return [name for name in _trainable(experiment, context, dry_run) if name not in beside]


def _trainable(experiment: Experiment, context: int, dry_run: bool) -> list[str]:
    names = [name for name, facts in chosen_subsets(experiment, dry_run).items() if facts["status"] == "ok"]
    facts = {name: Places(experiment.out).packed_facts(name, context) for name in names}
    return [name for name, told in facts.items() if not storage.exists(told) or storage.read_json(told)["status"] == "ok"]


def chosen_subsets(experiment: Experiment, dry_run: bool = False) -> dict[str, dict[str, Any]]:
    """What is known of every subset of the experiment file, in its order.

    A dry run takes those that are not chosen yet for large enough. Raises ExperimentError where another sweep was chosen.
    """
    places, names = Places(experiment.out), [level.name for level in levels_of(experiment)]
    if not dry_run and not storage.exists(places.sweep):
        raise ExperimentError(f"{places.sweep} is missing: run jobs.choose first")
    if not dry_run and storage.read_json(places.sweep)["subsets"] != names:
        raise ExperimentError(f"{places.sweep} lists other subsets than the experiment file asks for: run jobs.choose first")
    facts = {name: places.subset_facts(name) for name in names}
    return {name: storage.read_json(told) if storage.exists(told) else NOT_CHOSEN for name, told in facts.items()}


def subsets_of(experiment: Experiment, train: Train, cell: Cell, trainable: Sequence[str]) -> list[str]:
    """The subsets that are trained in a cell: the best one is missing as long as it is not known."""
    if cell.first_rate or not train.at:
        return list(trainable)
    wanted = _named(experiment, train, cell, train.at, trainable)
    return [name for name in trainable if name in wanted]


def asked_of(experiment: Experiment, train: Train, cell: Cell, trained: Sequence[str]) -> list[str]:
    """The subsets of a cell whose models are asked tasks: the best one as the held-out pages in results.jsonl tell it."""
    names = experiment.evaluate.task_levels
    if not names:
        return list(trained)
    wanted = _named(experiment, train, cell, [name for name in names if name != "random"], trained)
    if "random" in names:
        wanted |= {level.name for level in levels_of(experiment) if level.control == "random" and level.of in wanted}
    return [name for name in trained if name in wanted]


def may_be_asked(experiment: Experiment, trained: Sequence[str]) -> list[str]:
    """The subsets that tasks may be put to, before it is known which is the best."""
    names = experiment.evaluate.task_levels
    if not names:
        return list(trained)
    wanted: Mapping[str, list[str | None]] = {
        "none": [UNFILTERED],
        "hardest": [_hardest(experiment, trained)],
        "best": [*_levels(experiment)],
        "random": [],
    }
    found = {subset for name in names for subset in wanted[name]}
    if "random" in names:
        found |= {level.name for level in levels_of(experiment) if level.control == "random" and level.of in found}
    return [name for name in trained if name in found]


def _named(
    experiment: Experiment, train: Train, cell: Cell, names: Sequence[str], trainable: Sequence[str]
) -> set[str | None]:
    """The subsets that `none`, `best` and `hardest` are in a cell; None for one that is not known yet."""
    found = {"none": UNFILTERED, "hardest": _hardest(experiment, trainable), "best": _best(experiment, train, cell)}
    return {found[name] for name in names}


def _levels(experiment: Experiment) -> list[str]:
    """The pool and the levels, without the controls that are drawn for them."""
    return [level.name for level in levels_of(experiment) if level.control in (None, UNFILTERED)]


def _hardest(experiment: Experiment, trainable: Sequence[str]) -> str | None:
    """The level that keeps the fewest bytes; of equal ones the last. None while nothing is chosen."""
    kept = _kept_bytes(experiment, [name for name in _levels(experiment) if name in trainable])
    return min(reversed(kept), key=lambda name: kept[name]) if kept else None


def _kept_bytes(experiment: Experiment, names: Sequence[str]) -> dict[str, int]:
    """What levels keep, as far as they are chosen."""
    facts = {name: Places(experiment.out).subset_facts(name) for name in names}
    return {name: storage.read_json(told)["kept"]["bytes"] for name, told in facts.items() if storage.exists(told)}


def _best(experiment: Experiment, train: Train, cell: Cell) -> str | None:
    """The level with the fewest bits per byte at the first rate of the cell's model and budget, mean over replicates."""
    [first] = [one for one in cells(train) if (one.model, one.tokens) == (cell.model, cell.tokens) and one.first_rate]
    results = Places(experiment.out).results
    if not storage.exists(results):
        return None
    values: dict[str, list[float]] = defaultdict(list)
    for line in results.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if (row["trained"], row["set"], row.get("domain")) == (first.folder, "held_out", "macro"):
            values[row["subset"]].append(row["value"])
    means = {name: mean(values[name]) for name in _levels(experiment) if name in values}
    return min(means, key=lambda name: means[name]) if means else None
