"""What is to be trained and evaluated, as a folder that travels: streams, a tokenizer, pages, tasks, and `plan.json`.

`jobs.pack` makes `packed/` such a folder. Runs are made in its own `runs/` and answers in its own `results/`, laid out as
under `out:`, so that both go home by copying these folders.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from eval.sizes import ModelSize
from filters.files import write_whole

VERSION = 3
"""Changes whenever the files of a plan, or what a run makes of them, mean something else."""
FILE, TOKENIZER, EVALUATED, RUNS = "plan.json", "tokenizer", "evaluated.parquet", "runs"
TASKS, RESULTS = "tasks", "results"
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class RunConfig:
    """All that one run needs; plain data, so that it goes to another process."""

    subset: str
    packed: Path
    """The subset's stream of tokens for this replicate and the size's context (`eval.packed`)."""
    tokenizer: Path
    """The tokenizer's folder; its files are copied beside the model."""
    model: str
    """What the size is called."""
    size: ModelSize
    tokens: int
    """Budget in training targets, the same for every subset; rounded down to whole steps."""
    replicate: int
    """Decides the first weights; its fold of pages and their order are decided in the packed tokens."""
    out: Path
    """The run's own folder; its parent is named after size, budget and learning rate."""
    device: str = "cpu"
    """As torch names it."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints, at the least."""
    log_every: int = 10
    """Steps between rows of metrics.jsonl, when losses are read and the progress function is called."""
    late: bool = False
    """Whether the weights of its late steps are measured too."""

    def on(self, device: str) -> "RunConfig":
        """The same run on a device."""
        return replace(self, device=device)

    @property
    def label(self) -> str:
        """The run as a person names it."""
        return f"{self.subset}, replicate {self.replicate}, {self.out.parent.name}"


class Plan(NamedTuple):
    """The runs of a folder, and the device that was asked for; which tasks there are, and the subsets they are put to."""

    runs: list[RunConfig]
    device: Device
    tasks: list[str]
    asked: list[str]


class PlanError(ValueError):
    """The folder is no plan that can be carried out here."""


def write_plan(folder: Path, plan: Plan, tokenizer: Path, versions: Mapping[str, str]) -> None:
    """Make a folder of packed files one that travels: copy the tokenizer, list the runs and tasks."""
    for file in sorted(tokenizer.iterdir()):
        write_whole(folder / TOKENIZER / file.name, file.read_bytes())
    listed = [
        {
            "subset": run.subset,
            "packed": str(run.packed.relative_to(folder)),
            "model": run.model,
            "size": asdict(run.size),
            "tokens": run.tokens,
            "replicate": run.replicate,
            "late": run.late,
            "out": str(Path(RUNS) / run.subset / run.out.parent.name / str(run.replicate)),
        }
        for run in plan.runs
    ]
    told = {"version": VERSION, "made with": versions, "device": plan.device, "runs": listed}
    told |= {"tasks": plan.tasks, "asked": plan.asked}
    write_whole(folder / FILE, (json.dumps(told, indent=1) + "\n").encode())


def read_plan(folder: Path) -> Plan:
    """A plan, its runs in its own folder.

    Raises:
        PlanError: there is no plan, it is of another version, or it cannot be read.
    """
    file = folder / FILE
    if not file.is_file():
        raise PlanError(f"there is no {FILE} in {folder}: a plan is the folder packed/ that jobs.pack leaves under out:")
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        version = plan["version"]
        if version != VERSION:
            raise PlanError(
                f"{file} is of version {version} (made with {_told(plan['made with'])}), and this code carries out version "
                f"{VERSION}: take the code that made it, or run jobs.pack again with this one"
            )
        device: Device = plan["device"]
        runs = [_run(folder, listed) for listed in _strict(plan["runs"])]
        return Plan(runs, device, [_plain(folder, task) for task in plan["tasks"]], [str(name) for name in plan["asked"]])
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise PlanError(f"{file} is no plan ({type(error).__name__}: {error}); run jobs.pack again") from error


def _run(folder: Path, listed: dict[str, Any]) -> RunConfig:
    paths = {"packed": _inside(folder, listed["packed"]), "out": _inside(folder, listed["out"])}
    return RunConfig(**{**listed, **paths, "size": ModelSize(**listed["size"]), "tokenizer": folder / TOKENIZER})


def _plain(folder: Path, task: str) -> str:
    """A task's name, which names files."""
    if _inside(folder, task).parent != folder:
        raise PlanError(f"{folder / FILE} names the task {task}, which is no plain name; run jobs.pack again")
    return task


def requests(folder: Path, task: str) -> Path:
    """What is asked in a task, encoded."""
    return folder / TASKS / f"{task}.parquet"


def items(folder: Path, run: RunConfig, task: str) -> Path:
    """Where the answers of a run go."""
    return folder / RESULTS / "items" / run.subset / run.out.parent.name / str(run.replicate) / f"{task}.parquet"


def _inside(folder: Path, name: str) -> Path:
    """A file of the plan: one that came from elsewhere must not name files of this machine."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise PlanError(f"{folder / FILE} names {name}, which is not in its folder; run jobs.pack again")
    return folder / name


def _strict(runs: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for run in runs:
        if not isinstance(run, dict):
            raise TypeError(f"a run is {run!r}")
        yield run


def _told(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
