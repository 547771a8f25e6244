"""What every verb's command line shares: CONF, --set, --dry-run, --redo, and errors as one sentence with an exit code.

Exit codes: 0 all is well; 1 the work is done, but a shard was damaged or a part failed, listed by name; 2 nothing was
started because the request cannot be met; 3 an invariant is broken, so the result must not be used; 130 stopped by Ctrl-C.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from eval.side_by_side import RunsFailed
from filters.files import is_full
from filters.rules import RuleError
from filters.stores import StoreError
from filters.strict_yaml import YamlError
from jobs.parts import ledger, redo
from jobs.parts.checks import check as check_keys
from jobs.parts.checks import without_left_out
from jobs.parts.experiment_file import Experiment, load
from jobs.parts.loop import LEFT_OUT, PartsFailed
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.reuse import REUSE, Reuse
from jobs.parts.session import SparkLost, fall_silent, is_lost
from jobs.parts.storage import held, lent
from jobs.shards.locations import without_secrets

OK, DAMAGED, REFUSED, BROKEN = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT
"""What a shell gives for a command that this signal ended."""
LOST = "Spark's Java machine is gone, killed by someone or by the kernel when memory ran out"
CODES: dict[tuple[type[Exception], ...], int] = {
    (ExperimentError, RuleError, YamlError): REFUSED,
    (PartsFailed, RunsFailed): DAMAGED,
    (InvariantBroken,): BROKEN,
}

Verb = Callable[[Experiment, bool], int]
"""(experiment, dry run) -> exit code."""
Check = Callable[[Experiment], None]
"""Raises ExperimentError for what is wrong with the files that an experiment names."""


def main(
    verb: Verb,
    description: str | None,
    arguments: list[str] | None = None,
    check: Check | None = None,
    reads_only: bool = False,
) -> None:
    """Run one verb from the command line and exit with its code."""
    sys.exit(run(verb, description, arguments, check, reads_only))


def run(
    verb: Verb,
    description: str | None,
    arguments: list[str] | None = None,
    check: Check | None = None,
    reads_only: bool = False,
) -> int:
    """Parse the command line, check the experiment, hold the output folder, run the verb; an error is told in a sentence.

    The description begins with the verb's name; one that is None is the whole experiment's. `check` is asked before --redo
    removes anything. `reads_only`: the verb leaves nothing, and looks at damage itself.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("conf", type=Path, help="experiment file (YAML)")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="override keys, e.g. train.tokens=500000"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what is done and what would run")
    parser.add_argument(
        "--skip-failed", action="store_true", help="publish tables without the parts that fail, name those and exit with 1"
    )
    parser.add_argument(
        "--redo", metavar="VERB", help="remove what this verb made, with all that depends on it, and make it again"
    )
    options = parser.parse_args(arguments)
    LEFT_OUT.set([] if options.skip_failed else None)
    try:
        experiment, left_out = without_left_out(load(options.conf, options.set))
        for sentence in left_out:
            print(f"goodhart: {sentence}", file=sys.stderr)
        REUSE.set(Reuse(experiment.out, experiment.reuse) if experiment.reuse else None)
        check_keys(experiment)
        if options.redo:
            redo.check(options.redo, (description or "experiment").partition(":")[0])
            print(redo.told(experiment, options.redo))
        if options.dry_run:
            return OK if options.redo else verb(experiment, True)
        with held(experiment.out), lent(experiment.reuse):
            if options.redo:
                if check:
                    check(experiment)
                redo.undo(experiment, options.redo)
            with nullcontext() if reads_only else ledger.kept(experiment):
                code = verb(experiment, False)
        failed = LEFT_OUT.get()
        return tell("\n".join(failed), max(code, DAMAGED)) if failed else code
    except KeyboardInterrupt:
        fall_silent()
        again = "the same command without --redo" if options.redo else "the same command"
        return tell(f"stopped; what is done stays, and {again} goes on from there", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - a full disk, a killed Java machine make any error; others are raised
        return _stopped(error)


def _stopped(error: Exception) -> int:
    """Tell why a verb ended; the exit code. Raises an error again that has no sentence."""
    if is_full(error):
        file = getattr(error, "filename", None)
        where = f" for {file}" if file else ""
        return tell(f"no space is left on the disk{where}: make room, and the same command goes on from there", DAMAGED)
    if isinstance(error, StoreError):
        return tell(f"{error}; what is done stays, and the same command goes on from there", DAMAGED)
    for kinds, code in CODES.items():
        if isinstance(error, kinds):
            return tell(error, code)
    if isinstance(error, SparkLost) or is_lost():
        return tell(f"{LOST}; what is done stays, and the same command goes on from there", DAMAGED)
    raise error


def tell(error: Exception | str, code: int) -> int:
    """Say in a sentence why a command stops; its exit code."""
    print(f"goodhart: {without_secrets(str(error))}", file=sys.stderr)
    return code
