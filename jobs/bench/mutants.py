"""Whether the tests notice a wrong line: modules with one operator, number, branch or call changed, under their own tests.

    python -m jobs.bench.mutants [MUTANTS a module] [--only PART OF A NAME] [--seed N]

Each mutant is one change in a copy of the tree. A mutant is killed when its tests fail or do not end; those that live are
printed with their line, to be judged: either it changes nothing that can be seen, or a test is missing. docs/reliability.md
has the last count and what was judged.

This process imports the libraries and nothing of ours; each mutant has a fork of it, in which the quickest tests come first.
"""

import argparse
import ast
import copy
import importlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, settings

HOME = Path(__file__).resolve().parents[2]
COPIED = ("filters", "classifiers", "eval", "jobs", "tests", "conf", "docs", "README.md", "pyproject.toml", "Makefile")
LIBRARIES = """
torch transformers pyarrow.parquet pyarrow.dataset pyspark.sql numba pydantic fsspec fastwarc.warc zstandard tokenizers
""".split()
TESTS = {
    "filters/rules.py": [
        "filters/test_rules.py",
        "filters/test_rules_by_hand.py",
        "filters/test_soft_cuts.py",
        "filters/test_quotas.py",
    ],
    "filters/levels.py": ["filters/test_levels.py"],
    "filters/quantiles.py": ["filters/test_quantiles.py", "filters/test_rules.py"],
    "filters/agreement.py": ["filters/test_agreement.py"],
    "eval/statistics.py": ["eval/test_statistics.py", "eval/test_verdict.py"],
    "eval/verdict.py": ["eval/test_verdict.py"],
    "eval/bits_per_byte.py": ["eval/test_bits_per_byte.py"],
    "eval/packed.py": ["eval/test_packed.py"],
    "eval/slices.py": ["eval/test_slices.py", "eval/test_packed.py"],
    "jobs/shards/charsets.py": ["jobs/shards/test_charsets.py", "jobs/shards/test_decoding.py"],
    "jobs/shards/members.py": ["jobs/shards/test_members.py", "jobs/shards/test_warc.py"],
    "jobs/parts/loop.py": ["jobs/parts/test_loop.py", "jobs/parts/test_dying_tasks.py"],
    "jobs/choose.py": ["jobs/test_choose.py"],
    "eval/training.py": ["eval/test_training.py"],
}
"""Each module and the tests that are to notice; those that start Spark are left out."""
PAIRS: tuple[tuple[type, type], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr), (ast.LShift, ast.RShift)),
)
OTHER = dict(PAIRS) | {two: one for one, two in PAIRS} | {ast.FloorDiv: ast.Mult, ast.Mod: ast.Add}
"""What stands in an operator's place."""
PATIENCE = 4.0
"""A mutant's tests may take so many times as long as the tests take without a change, and ten seconds more."""
MOST_MEMORY = 8 << 30
"""What one mutant may hold: a loop that does not end must not take the machine."""


class Mutant(NamedTuple):
    """A changed module: its source, the line, and what was done."""

    source: str
    line: int
    change: str


def mutants(source: str, most: int, draw: random.Random) -> list[Mutant]:
    """Some of all changes that are tried, one in each; annotations, docstrings and messages of errors are left alone."""
    tree = ast.parse(source)
    places = range(sum(1 for _ in _places(tree)))
    return [_changed(tree, at) for at in draw.sample(places, min(most, len(places)))]


def _changed(tree: ast.AST, at: int) -> Mutant:
    """The tree with a change at one of its places."""
    changed = copy.deepcopy(tree)
    node, change = next(itertools.islice(_places(changed), at, None))
    before = ast.unparse(node)
    change(node)
    return Mutant(
        ast.unparse(ast.fix_missing_locations(changed)), node.lineno, f"{before[:70]}  ->  {ast.unparse(node)[:70]}"
    )


def _places(tree: ast.AST) -> Iterator[tuple[Any, Callable[[Any], None]]]:
    for node in _code(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
            yield node, _compare
        elif isinstance(node, ast.BinOp) and type(node.op) in OTHER and not _is_text(node):
            yield node, _count
        elif isinstance(node, ast.BoolOp):
            yield node, _either
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            yield node, _negate
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield node, _number
        elif isinstance(node, ast.IfExp):
            yield node, _swap
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node, _drop


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that decides something, without types and what is only said."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name, child in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list") and not isinstance(node, ast.Raise | ast.JoinedStr):
                waiting.extend(one for one in (child if isinstance(child, list) else [child]) if isinstance(one, ast.AST))


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", None), (str, bytes)) for side in sides)


def _compare(node: ast.Compare) -> None:
    node.ops[0] = OTHER[type(node.ops[0])]()


def _count(node: ast.BinOp) -> None:
    node.op = OTHER[type(node.op)]()


def _either(node: ast.BoolOp) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _negate(node: ast.UnaryOp) -> None:
    node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
    if isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)


def _number(node: Any) -> None:
    node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1


def _swap(node: ast.IfExp) -> None:
    node.body, node.orelse = node.orelse, node.body


def _drop(node: ast.Expr) -> None:
    node.value = ast.Constant(None)


def copied(folder: Path) -> Path:
    """The tree in a folder of its own."""
    for name in COPIED:
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(HOME / name, folder / name)
    return folder


class Quickest:
    """A plugin of pytest: the tests in the order of the times that an earlier run of them has left in a file."""

    def __init__(self, times: Path) -> None:
        self.file = times
        self.times: dict[str, float] = json.loads(times.read_text()) if times.exists() else {}
        self.first = not self.times

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The quickest first."""
        items.sort(key=lambda item: self.times.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the times of a test's phases."""
        self.times[report.nodeid] = self.times.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Leave the times of the first run."""
        if self.first:
            self.file.write_text(json.dumps(self.times))


def _in_fork(tree: Path, tests: list[str], times: Path) -> None:
    """Run tests against the copied tree, as if Python had been started in it; the exit status is that of pytest."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[:] = [str(tree), *(folder for folder in sys.path if folder and Path(folder).resolve() != HOME)]
    for name in [name for name in sys.modules if name.split(".")[0] in COPIED]:
        del sys.modules[name]
    sys.dont_write_bytecode = times.exists()
    asked = ["-x", "-q", "-m", "not spark", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests)]
    os._exit(pytest.main(asked, plugins=[Quickest(times)]))


def killed(tree: Path, tests: list[str], times: Path, limit: float | None = None) -> bool:
    """Whether the tests fail, or do not end in time."""
    running = multiprocessing.get_context("fork").Process(target=_in_fork, args=(tree, tests, times))
    running.start()
    running.join(limit)
    if running.exitcode is None and running.pid:
        os.killpg(running.pid, signal.SIGKILL)
        running.join()
    return running.exitcode != 0


def tried(module: str, tree: Path, most: int, seed: int) -> tuple[int, list[Mutant]]:
    """How many mutants of a module were tried, and those that lived."""
    source = (tree / module).read_text()
    some = mutants(source, most, random.Random(f"{seed} {module}"))
    times = tree / f"{Path(module).stem}.json"
    started = time.monotonic()
    if killed(tree, TESTS[module], times):
        raise SystemExit(f"{module}: its tests fail without any change: mend them first")
    limit = PATIENCE * (time.monotonic() - started) + 10
    alive = []
    for mutant in some:
        (tree / module).write_text(mutant.source)
        if not killed(tree, TESTS[module], times, limit):
            alive.append(mutant)
            print(f"{module}:{mutant.line} lives: {mutant.change}", flush=True)
    (tree / module).write_text(source)
    print(f"{module}: {len(some) - len(alive)} of {len(some)} killed", flush=True)
    return len(some), alive


def main() -> int:
    """Print every mutant that lives, and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("most", nargs="?", type=int, default=25, metavar="MUTANTS")
    parser.add_argument("--only", default="", metavar="PART")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for library in LIBRARIES:
        importlib.import_module(library)
    settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile("mutants")
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        tree = copied(Path(name))
        counts = [tried(module, tree, asked.most, asked.seed) for module in TESTS if asked.only in module]
    total, lived = sum(count for count, _ in counts), sum(len(alive) for _, alive in counts)
    print(f"{total - lived} of {total} killed, {100 * (total - lived) / max(1, total):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
