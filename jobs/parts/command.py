"""What every verb's command line shares: CONF, --set, --dry-run, and errors as one sentence with an exit code.

Exit codes: 0 all is well; 1 the work is done, but a shard was damaged or a part failed, listed by name; 2 nothing was
started because the request cannot be met; 3 an invariant is broken, so the result must not be used; 130 stopped by Ctrl-C.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from eval.side_by_side import RunsFailed
from filters.rules import RuleError
from jobs.parts.checks import check, without_left_out
from jobs.parts.experiment_file import Experiment, load
from jobs.parts.loop import LEFT_OUT, PartsFailed
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.session import fall_silent
from jobs.parts.storage import held

OK, DAMAGED, REFUSED, BROKEN = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT
"""What a shell gives for a command that this signal ended."""


Verb = Callable[[Experiment, bool], int]
"""(experiment, dry run) -> exit code."""


def main(verb: Verb, description: str | None, arguments: list[str] | None = None) -> None:
    """Run one verb from the command line and exit with its code."""
    sys.exit(run(verb, description, arguments))


def run(verb: Verb, description: str | None, arguments: list[str] | None = None) -> int:
    """Parse the command line, check the experiment, hold the output folder, run the verb; an error is told in a sentence."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("conf", type=Path, help="experiment file (YAML)")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="override keys, e.g. train.tokens=500000"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what is done and what would run")
    parser.add_argument(
        "--skip-failed", action="store_true", help="publish tables without the parts that fail, name those and exit with 1"
    )
    options = parser.parse_args(arguments)
    LEFT_OUT.set([] if options.skip_failed else None)
    try:
        experiment, left_out = without_left_out(load(options.conf, options.set))
        for sentence in left_out:
            print(f"goodhart: {sentence}", file=sys.stderr)
        check(experiment)
        if options.dry_run:
            return verb(experiment, True)
        with held(experiment.out):
            code = verb(experiment, False)
        failed = LEFT_OUT.get()
        return _tell("\n".join(failed), max(code, DAMAGED)) if failed else code
    except (ExperimentError, RuleError) as error:
        return _tell(error, REFUSED)
    except (PartsFailed, RunsFailed) as error:
        return _tell(error, DAMAGED)
    except InvariantBroken as error:
        return _tell(error, BROKEN)
    except KeyboardInterrupt:
        fall_silent()
        return _tell("stopped; what is done stays, and the same command goes on from there", INTERRUPTED)


def _tell(error: Exception | str, code: int) -> int:
    print(f"goodhart: {error}", file=sys.stderr)
    return code
