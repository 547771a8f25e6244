"""pack: subsets and encoded pages in, packed tokens to train on and the pages to evaluate on out.

    python -m jobs.pack CONF [--set key=value ...] [--dry-run]

A stream is what one level reads in one replicate (`eval.slices`, `jobs.parts.streams`). Passes over all parts find its cut,
every part then gives its slices under the cuts, and one task a stream puts them together. Where `write:` edits text, models
are trained on the edited text: pages are encoded again from it.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from eval.packed import header_path, stream_tokens, write_permuted
from eval.plan import Plan, write_plan
from jobs.parts import command, loop, passes, session, storage
from jobs.parts.edits import told_of
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
from jobs.parts.packing import Packing, edited_tables, encode_edited, encoded, pack_streams
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, code_version, parts_of


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


def _pack(packing: Packing) -> None:
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


if __name__ == "__main__":
    command.main(main, __doc__)
