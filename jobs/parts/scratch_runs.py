"""Runs whose folder lies in a store: trained, measured and asked on this machine's scratch, then published whole.

A killed run goes on from its checkpoints where its scratch is still there, and from its beginning where it is not:
checkpoints are not published. `summary.json`, which says that a run is done, is published last.
"""

import hashlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from eval import runs
from eval.evaluation import Evaluation, evaluate
from eval.plan import RunConfig
from eval.side_by_side import Tell
from eval.tasks.answers import Answering, answer
from eval.training import RunSummary, finished_run
from filters.stores import StorePath, copy_of, scratch
from jobs.parts import storage


def train_on_scratch(run: RunConfig, tell: Tell) -> RunSummary:
    """One run in a worker process, wherever its folder lies; tells the tokens trained on."""
    if not isinstance(run.out, StorePath):
        return runs.train(run, tell)
    done = finished_run(run)
    if done:
        return done
    out = scratch() / f"run-{hashlib.sha256(str(run.out).encode()).hexdigest()[:32]}"
    here = replace(run, packed=storage.stream_here(run.packed), tokenizer=copy_of(run.tokenizer), out=out)
    summary = runs.train(here, tell)
    storage.publish(out, run.out, last=["summary.json"])
    shutil.rmtree(out)
    return summary


def evaluate_on_scratch(one: Evaluation, tell: Tell) -> None:
    """What every page costs one run, wherever its folder lies, in a worker process."""
    if not isinstance(one.run.out, StorePath):
        evaluate(one, tell)
        return
    with storage.borrowed(one.run.out) as out:
        run = replace(one.run, packed=storage.stream_here(one.run.packed), tokenizer=copy_of(one.run.tokenizer), out=out)
        here = replace(one, run=run, pages=copy_of(one.pages))
        evaluate(here, tell)
        if one.step is None:
            storage.publish_file(here.exposure, one.exposure)
        storage.publish_file(here.file, one.file)


def answer_on_scratch(one: Answering, tell: Tell) -> None:
    """What one run answers in tasks, wherever its folder lies, in a worker process."""
    if not isinstance(one.run.out, StorePath):
        answer(one, tell)
        return
    with storage.borrowed(one.run.out) as out, tempfile.TemporaryDirectory(dir=scratch()) as folder:
        files = [(copy_of(asked), Path(folder) / items.name, made_by) for asked, items, made_by in one.files]
        answer(replace(one, run=replace(one.run, out=out), files=tuple(files)), tell)
        for (_, here, _), (_, items, _) in zip(files, one.files, strict=True):
            storage.publish_file(here, items)
