"""How fast a model of 0.2m answers 2,000 items, beside `lm_eval --model hf` from the shell on the same items, and that both
find the same.

Both sides are processes of their own with one thread and start from nothing: ours draws, renders and encodes the items,
loads the model and scores. lm_eval is run with one request at a time, which is what it does unless it is told otherwise, and
with batches of 64. Seconds are the processes' own processor time, so that other work on the machine does not count. lm_eval
needs two packages for this that nothing else here does; they lie in .venv-peers/.
"""

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eval.gpt import build_model
from eval.sizes import read_size
from eval.tokenizer import copy_tokenizer, end_of_text, load_tokenizer, train_tokenizer
from jobs.parts import storage
from jobs.parts.places import Places
from jobs.parts.session import HOME

PEER = ("accelerate==1.15.0", "psutil==7.2.2")
TASKS = {"blimp": "harness", "lambada": "harness", "hellaswag": "harness", "arc_easy": "harness"}
SIZE, VOCABULARY, ITEMS, ROUNDS = "0.2m", 4096, 500, 3
TOLERANCE = 1e-4
SIDES: dict[str, list[str]] = {"one request at a time": [], "batches of 64": ["--batch_size", "64"]}
"""How lm_eval is run -> its options."""

OURS = """
import json, sys, time
from pathlib import Path
from eval.gpt import load_model
from eval.sizes import read_size
from eval.tasks.items import score_items
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.packed_tasks import pack_tasks
experiment, run = Experiment.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2])
context, model = read_size("0.2m", 1).context, load_model(run)
packed, _ = pack_tasks(experiment, context)
fed, padding, began = 0, 0, time.process_time()
for one in packed:
    table, scores = score_items(model, storage.read_table(one.requests), context)
    storage.write_table(run / f"{one.asked.name}.parquet", table)
    fed, padding = fed + scores.fed, padding + scores.padding
print(json.dumps({"fed": fed, "padding": padding, "seconds": time.process_time() - began}))
"""


def rows(texts: pa.Array) -> list[dict[str, Any]]:
    """Rows `evaluate.task_items`: against each way to run lm_eval, and of what a further model costs, without a start.

    Raises ValueError where both sides do not find the same to 1e-4. Without the benchmarks' files there is no row.
    """
    bench = HOME.parent / "shared" / "data" / "bench"
    if not bench.is_dir():
        return []
    peer = HOME / ".venv-peers" / "lm_eval"
    if not peer.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(peer), *PEER]
        subprocess.run(pip, check=True)
    found: dict[str, list[float]] = {"ours": [], "further": [], **{side: [] for side in SIDES}}
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        run = _model(out, texts)
        for _ in range(ROUNDS):
            seconds, said = _ours(out, run, bench)
            found["ours"].append(seconds)
            found["further"].append(said["seconds"])
            for side, options in SIDES.items():
                found[side].append(_theirs(out, run, peer, options))
        worst = max(_difference(out, run, task) for task in TASKS)
    if worst > TOLERANCE:
        raise ValueError(f"lm_eval and we differ by {worst:.2g} bits per character of an answer")
    work = {side: statistics.median(seconds) for side, seconds in found.items()}
    more = {
        "spread": {side: [round(min(seconds), 1), round(max(seconds), 1)] for side, seconds in found.items()},
        "padding": round(said["padding"] / said["fed"], 3),
        "largest_difference": float(f"{worst:.1g}"),
    }
    asked = f"{len(TASKS) * ITEMS:,} items"
    compared = [(asked, "ours", side) for side in SIDES] + [(f"{asked}, each further model", "further", *list(SIDES)[-1:])]
    return [
        {
            "bench": "evaluate.task_items",
            "what": what,
            "ours": round(work[mine], 1),
            "unit": f"processor seconds ({SIZE})",
            "against": f"lm_eval 0.4.13, {side}",
            "theirs": round(work[side], 1),
            "ratio": round(work[side] / work[mine], 2),
            "goal": 3.0 if side == "one request at a time" else None,
            **more,
        }
        for what, mine, side in compared
    ]


def _model(out: Path, texts: pa.Array) -> Path:
    """A tokenizer of the shard's texts and a model with random weights, which costs what a trained one does."""
    places = Places(out)
    train_tokenizer(texts.to_pylist()[:1000], VOCABULARY, places.tokenizer)
    run = places.run("random", "none", 0)
    tokenizer = load_tokenizer(places.tokenizer)
    build_model(read_size(SIZE, 1), tokenizer.get_vocab_size(), end_of_text(tokenizer), seed=0).save_pretrained(run)
    copy_tokenizer(places.tokenizer, run)
    return run


def _ours(out: Path, run: Path, bench: Path) -> tuple[float, dict[str, Any]]:
    evaluate = {"tasks": [{task: [template]} for task, template in TASKS.items()], "items": ITEMS, "benchmarks": str(bench)}
    tree = {"out": str(out), "pages": {"from": ["none"]}, "train": {}, "evaluate": evaluate}
    storage.remove_folder(Places(out).all_requests)
    seconds, said = _seconds([sys.executable, "-c", OURS, json.dumps(tree), str(run)], {})
    return seconds, json.loads(said.splitlines()[-1])


def _theirs(out: Path, run: Path, peer: Path, options: list[str]) -> float:
    names = ",".join(f"{task}_{template}" for task, template in TASKS.items())
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={run},dtype=float32"]
    command += ["--tasks", names, "--include_path", str(Places(out).tasks), "--device", "cpu", *options]
    command += ["--output_path", str(out / "theirs"), "--log_samples"]
    path = os.pathsep.join([str(peer), os.environ.get("PYTHONPATH", "")])
    return _seconds(command, {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(out / "cache"), "PYTHONPATH": path})[0]


def _seconds(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Processor seconds of a process with one thread, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    alone = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=alone, cwd=HOME, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def _difference(out: Path, run: Path, task: str) -> float:
    """The largest difference in bits per character of an answer."""
    items = storage.read_table(run / f"{task}.parquet").filter(pc.field("skipped").is_null()).to_pylist()
    files = sorted((out / "theirs").rglob(f"samples_{task}_{TASKS[task]}_*.jsonl"))
    samples = sorted(map(json.loads, files[-1].read_text().splitlines()), key=lambda one: one["doc_id"])
    differences: list[float] = [
        abs(ours + float(theirs[0][0])) / (math.log(2) * length)
        for item, sample in zip(items, samples, strict=True)
        for ours, length, theirs in zip(item["nats"], item["length"], sample["resps"], strict=True)
    ]
    return max(differences)
