"""A bit that flips in a file of any kind before any verb: the verb names the file, or what it leaves is right all the same.

    python tests/hostile/flips.py [--flips N] [--seed N]

A disk changes bits without a new time, so the file's stays. Each verb finds what those before it have left, with one bit
changed in a file of each kind in turn, under a Spark context and with caches of its own. Where it ends well, every file but
that one must be as in an untouched run, and `jobs.verify` must name that one unless it was made again. Prints a line
a flip and how many ended how; the exit code is 1 where one was used.
"""

import argparse
import contextlib
import importlib
import io
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import tiny
from kills import VICTIMS, WHOLE
from pyspark.sql import SparkSession

from jobs.parts import command, ledger
from jobs.parts.session import PACKAGES

VERBS = [verb for verb in VICTIMS if verb not in (WHOLE, "verify")]
NAMED, UNUSED, AGAIN, WRONG = "named the file", "right without it", "made it again", "WRONG"


def run(verb: str, conf: Path) -> tuple[int, str]:
    """Run a verb as in a process of its own; its exit code and all that it says."""
    module = importlib.import_module(f"jobs.{verb}")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = command.run(module.main, module.__doc__, [str(conf)], reads_only=verb == "verify")
    active = SparkSession.getActiveSession()
    if active is not None:
        active.stop()
    for name, ours in [*sys.modules.items()]:
        if name.partition(".")[0] in PACKAGES:
            for cached in vars(ours).values():
                getattr(cached, "cache_clear", lambda: None)()
    return code, said.getvalue()


def kind(name: str) -> str:
    """What a file is, by its path under `out:` without what numbers it."""
    return re.sub(r"\d+|\b[0-9a-f]{8,}\b", "#", re.sub(r"made-\d.*?(?=\.[a-z]+$)", "PART", name))


def flip(file: Path, draw: random.Random) -> str:
    """Change one bit of a file and leave its time; which bit it was."""
    data, told = bytearray(file.read_bytes()), file.stat()
    at, bit = draw.randrange(len(data)), draw.randrange(8)
    data[at] ^= 1 << bit
    file.write_bytes(data)
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    return f"bit {bit} of byte {at:,} of {len(data):,}"


def plan(states: Path, draw: random.Random) -> list[tuple[int, str]]:
    """Every verb with a file of every kind that it finds, in a drawn order."""
    trials = []
    for number in range(1, len(VERBS)):
        kinds: dict[str, list[str]] = {}
        for name in tiny.held(states / VERBS[number - 1]):
            if (states / VERBS[number - 1] / name).stat().st_size and not name.endswith(ledger.LEDGER):
                kinds.setdefault(kind(name), []).append(name)
        trials += [(number, draw.choice(names)) for names in kinds.values()]
    draw.shuffle(trials)
    return trials


def trial(states: Path, conf: Path, number: int, name: str) -> tuple[str, str]:
    """How a verb ended after a flip in a file, and what there is to say of an end that is wrong."""
    verb, out = VERBS[number], states.parent / "out"
    before = (out / name).read_bytes()
    code, said = run(verb, conf)
    if code != command.OK:
        named = str(out / name) in said.partition("goodhart: ")[2] and "Traceback" not in said
        return (NAMED if named else WRONG), f"ended with {code}: {said[-1500:]}"
    found, wanted = tiny.held(out), tiny.held(states / verb)
    other = sorted(one for one in {**found, **wanted} if one != name and found.get(one) != wanted.get(one))
    if other:
        return WRONG, f"other files: {other}"
    if found.get(name) == wanted.get(name):
        return AGAIN, ""
    code, said = run("verify", conf)
    told = code == command.DAMAGED and str(out / name) in said and (out / name).read_bytes() == before
    return (UNUSED if told else WRONG), f"verify does not name it: {said[-500:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=None, help="how many; all verbs and kinds if not said")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw, ends, kinds = random.Random(asked.seed), Counter[str](), set[str]()
    with tempfile.TemporaryDirectory(prefix="flips-") as folder:
        states, out = Path(folder) / "states", Path(folder) / "out"
        conf = tiny.make(Path(folder) / "in", out, prefer=["characters"])
        for verb in VERBS:
            code, said = run(verb, conf)
            assert code == command.OK, said
            shutil.copytree(out, states / verb)
        for number, name in plan(states, draw)[: asked.flips]:
            tiny.put(states / VERBS[number - 1], out)
            bit = flip(out / name, draw)
            end, told = trial(states, conf, number, name)
            ends[end] += 1
            kinds.add(kind(name))
            print(f"{VERBS[number]}: {bit} of {name}: {end} {told if end == WRONG else ''}", flush=True)
    print(
        f"{ends.total()} flips in {len(kinds)} kinds of files: " + ", ".join(f"{many} {end}" for end, many in ends.items())
    )
    return int(ends[WRONG] > 0)


if __name__ == "__main__":
    sys.exit(main())
