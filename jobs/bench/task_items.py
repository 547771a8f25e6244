"""How fast a model of 0.2m answers 2,000 items, beside `lm_eval --model hf` from the shell on the same items, and that both
find the same.

Both sides are processes of their own and start from nothing: ours draws, renders and encodes the items, loads the model and
scores. lm_eval is run as it comes (one request at a time) and with batches of 64 on one thread; it is measured against the
faster. It needs two packages that nothing else here does, which lie in .venv-peers/.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eval.gpt import build_model, read_size
from eval.tokenizer import copy_tokenizer, end_of_text, load_tokenizer, train_tokenizer
from jobs.parts import storage
from jobs.parts.places import Places
from jobs.parts.session import HOME

PEER = ("accelerate==1.15.0", "psutil==7.2.2")
TASKS = {"blimp": "harness", "lambada": "harness", "hellaswag": "harness", "arc_easy": "harness"}
SIZE, VOCABULARY, ITEMS, ROUNDS = "0.2m", 4096, 500, 3
TOLERANCE = 1e-4

OURS = """
import json, sys
from pathlib import Path
from eval.gpt import read_size
from eval.tasks.items import score_items
from eval.gpt import load_model
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.tasks import pack_tasks
experiment, run = Experiment.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2])
context, model = read_size("0.2m").context, load_model(run)
fed = padding = 0
for one in pack_tasks(experiment, context):
    table, scores = score_items(model, storage.read_table(one.requests), context)
    storage.write_table(run / f"{one.asked.name}.parquet", table)
    fed, padding = fed + scores.fed, padding + scores.padding
print(json.dumps([fed, padding]))
"""


def rows(texts: pa.Array) -> list[dict[str, Any]]:
    """One row, `evaluate.task_items`: items per wall second; processor seconds and the share of padding beside it.

    Raises ValueError where both sides do not find the same nats to 1e-4. Without the benchmarks' files there is no row.
    """
    bench = HOME.parent / "shared" / "data" / "bench"
    if not bench.is_dir():
        return []
    peer = HOME / ".venv-peers" / "lm_eval"
    if not peer.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(peer), *PEER]
        subprocess.run(pip, check=True)
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "as it comes": [], "batches of 64, one thread": []}
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        run = _model(out, texts)
        for _ in range(ROUNDS):
            seconds, said = _ours(out, run, bench)
            found["ours"].append(seconds)
            found["as it comes"].append(_theirs(out, run, peer, [], {}))
            batches = ["--batch_size", "64"]
            found["batches of 64, one thread"].append(_theirs(out, run, peer, batches, {"OMP_NUM_THREADS": "1"}))
        worst = max(_difference(out, run, task) for task in TASKS)
    if worst > TOLERANCE:
        raise ValueError(f"lm_eval and we differ by {worst:.2g} nats")
    fed, padding = json.loads(said)
    wall = {side: statistics.median(one[0] for one in seconds) for side, seconds in found.items()}
    work = {side: statistics.median(one[1] for one in seconds) for side, seconds in found.items()}
    fastest = min((side for side in wall if side != "ours"), key=lambda side: wall[side])
    return [
        {
            "bench": "evaluate.task_items",
            "what": f"{len(TASKS) * ITEMS:,} items",
            "ours": round(wall["ours"], 1),
            "unit": f"seconds from the shell ({SIZE})",
            "against": f"lm_eval 0.4.13, {fastest}",
            "theirs": round(wall[fastest], 1),
            "ratio": round(wall[fastest] / wall["ours"], 2),
            "goal": 3.0,
            "processor_seconds": {side: round(seconds, 1) for side, seconds in work.items()},
            "wall_seconds": {side: [round(one[0], 1) for one in seconds] for side, seconds in found.items()},
            "padding": round(padding / fed, 3),
            "largest_difference": float(f"{worst:.1g}"),
        }
    ]


def _model(out: Path, texts: pa.Array) -> Path:
    """A tokenizer of the shard's texts and a model with random weights, which costs what a trained one does."""
    places = Places(out)
    train_tokenizer(texts.to_pylist()[:1000], VOCABULARY, places.tokenizer)
    run = places.run("random", "none", 0)
    tokenizer = load_tokenizer(places.tokenizer)
    build_model(read_size(SIZE), tokenizer.get_vocab_size(), end_of_text(tokenizer), seed=0).save_pretrained(run)
    copy_tokenizer(places.tokenizer, run)
    return run


def _ours(out: Path, run: Path, bench: Path) -> tuple[tuple[float, float], str]:
    evaluate = {"tasks": [{task: [template]} for task, template in TASKS.items()], "items": ITEMS, "benchmarks": str(bench)}
    tree = {"out": str(out), "pages": {"from": ["none"]}, "train": {}, "evaluate": evaluate}
    for made in (out / "packed" / "tasks").glob("*"):
        made.unlink()
    for made in (out / "packed" / "tasks").glob(".*"):
        made.unlink()
    return _seconds([sys.executable, "-c", OURS, json.dumps(tree), str(run)], dict(os.environ))


def _theirs(out: Path, run: Path, peer: Path, options: list[str], environment: dict[str, str]) -> tuple[float, float]:
    names = ",".join(f"{task}_{template}" for task, template in TASKS.items())
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={run},dtype=float32"]
    command += ["--tasks", names, "--include_path", str(Places(out).tasks), "--device", "cpu", *options]
    command += ["--output_path", str(out / "theirs"), "--log_samples"]
    path = os.pathsep.join([str(peer), os.environ.get("PYTHONPATH", "")])
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(out / "cache"), "PYTHONPATH": path}
    return _seconds(command, {**os.environ, **offline, **environment})[0]


def _seconds(command: list[str], environment: dict[str, str]) -> tuple[tuple[float, float], str]:
    """Wall and processor seconds of a process, and the last line it prints."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=HOME, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr[-2000:]}")
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (wall, work), done.stdout.strip().splitlines()[-1]


def _difference(out: Path, run: Path, task: str) -> float:
    """The largest difference in nats of an answer."""
    items = storage.read_table(run / f"{task}.parquet")
    ours = items.filter(pc.field("skipped").is_null())["nats"].to_pylist()
    files = sorted((out / "theirs").rglob(f"samples_{task}_{TASKS[task]}_*.jsonl"))
    samples = [json.loads(line) for line in files[-1].read_text().splitlines()]
    theirs = [[-float(answer[0][0]) for answer in one["resps"]] for one in sorted(samples, key=lambda one: one["doc_id"])]
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    sys.exit("run it as python -m jobs.bench task_items")
