"""What is done with fastText in a process of its own, because the library can hang, crash or remember.

A damaged model hangs or kills whoever loads it, so a file is tried here first, under a deadline.

Training must be repeatable, which takes one thread; but with one thread fastText 0.9.3 draws only the first tenth of its
input matrix (measured: 10.0 % of the rows with 1 thread, 40.0 % with 4, all with 12) and leaves the rest as the memory was.
In a used process, or with a small matrix even in a fresh one, that is garbage: other weights each time, or "Encountered
NaN". So training has a fresh process in which every allocation is zero (glibc's MALLOC_PERTURB_, complemented): the rows
that are not drawn start at zero, which a linear model learns from as well.

`-P` keeps the working directory off `sys.path`; the parent's own path is handed down, zip files on it included.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import fasttext
import numpy as np

TRIALS = (b"the\n", b"a b c d e f g\n", b"0 \xe2\x82\xac \xff\n")


class ChildError(RuntimeError):
    """The child process did not do its work; the message says how it ended."""


def in_child(task: str, arguments: dict[str, Any], deadline_s: float | None) -> Any:
    """The result of a task below, run in a fresh process. Raises ChildError, also when the deadline in seconds passes."""
    path = os.pathsep.join(folder for folder in sys.path if folder)
    environment = {**os.environ, "PYTHONPATH": path, "MALLOC_PERTURB_": "255"}
    command = [sys.executable, "-P", "-m", "classifiers.fasttext.child", task]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            timeout=deadline_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"no answer within {deadline_s:.0f} s") from None
    if done.returncode < 0:
        raise ChildError(f"fastText died of {signal.Signals(-done.returncode).name} (SIGKILL: probably out of memory)")
    if done.returncode > 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise ChildError(last[0])
    return json.loads(done.stdout)


def try_model(path: str) -> bool:
    """Load the model and predict three lines: whether every answer was a probability."""
    model = fasttext.load_model(path)
    _, answers = model.f.multilinePredict(list(TRIALS), -1, 0.0, "strict")
    values = np.concatenate([np.asarray(answer, np.float64) for answer in answers])
    return bool(len(values) and np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1.001)


def train_model(text: str, model: str, seed: int, hyperparameters: dict[str, Any]) -> None:
    """Train a supervised model on a file of labelled lines and save it; one thread, so that it can be repeated."""
    fasttext.train_supervised(input=text, thread=1, seed=seed, verbose=0, **hyperparameters).save_model(model)


def main(task: str) -> None:
    """Run one task with the arguments given as JSON on standard input; its result goes to standard output as JSON."""
    tasks: dict[str, Callable[..., Any]] = {"try": try_model, "train": train_model}
    json.dump(tasks[task](**json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
