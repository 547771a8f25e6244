"""Whether the tests notice a wrong line: modules with one operator, number or branch changed, each under its own tests.

    python -m jobs.bench.mutants [MUTANTS a module] [--only PART OF A NAME] [--seed N]

Each mutant is one change in a copy of the tree. A mutant is killed when its tests fail or do not end; those that live are
printed with their line, to be judged: either it changes nothing that can be seen, or a test is missing. docs/reliability.md
has the last count and what was judged.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobs.parts.session import HOME

COPIED = ("filters", "classifiers", "eval", "jobs", "tests", "conf", "docs", "README.md", "pyproject.toml", "Makefile")
TESTS = {
    "filters/rules.py": ["filters/test_rules.py", "filters/test_rules_by_hand.py"],
    "filters/levels.py": ["filters/test_levels.py"],
    "filters/quantiles.py": ["filters/test_quantiles.py", "filters/test_rules.py"],
    "filters/agreement.py": ["filters/test_agreement.py"],
    "eval/statistics.py": ["eval/test_statistics.py", "eval/test_verdict.py"],
    "eval/verdict.py": ["eval/test_verdict.py", "eval/test_planted.py"],
    "eval/bits_per_byte.py": ["eval/test_bits_per_byte.py"],
    "eval/packed.py": ["eval/test_packed.py"],
    "eval/slices.py": ["eval/test_slices.py", "eval/test_packed.py"],
    "jobs/shards/charsets.py": ["jobs/shards/test_charsets.py", "jobs/shards/test_decoding.py"],
    "jobs/shards/members.py": ["jobs/shards/test_members.py", "jobs/shards/test_warc.py"],
    "jobs/parts/loop.py": ["jobs/parts/test_loop.py", "jobs/parts/test_dying_tasks.py"],
    "jobs/choose.py": ["jobs/test_choose.py"],
    "eval/training.py": ["eval/test_training.py"],
}
"""Each module and the tests that are to notice."""
PAIRS: tuple[tuple[type, type], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr), (ast.LShift, ast.RShift)),
)
OTHER = dict(PAIRS) | {two: one for one, two in PAIRS} | {ast.FloorDiv: ast.Mult, ast.Mod: ast.Add}
"""What stands in an operator's place."""
PATIENCE = 4.0
"""A mutant's tests may take so many times as long as the tests take without a change, and ten seconds more."""


class Mutant(NamedTuple):
    """A changed module: its source, the line, and what was done."""

    source: str
    line: int
    change: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every change that is tried, one at a time; annotations, docstrings and messages of errors are left alone."""
    tree = ast.parse(source)
    places = list(_places(tree))
    for at, (node, change) in enumerate(places):
        changed = copy.deepcopy(tree)
        other, _ = list(_places(changed))[at]
        change(other)
        after = ast.unparse(ast.fix_missing_locations(changed))
        yield Mutant(after, node.lineno, f"{ast.unparse(node)[:70]}  ->  {ast.unparse(other)[:70]}")


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


def copied(folder: Path) -> Path:
    """The tree in a folder of its own."""
    for name in COPIED:
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(HOME / name, folder / name)
    return folder


def killed(tree: Path, tests: list[str], limit: float | None = None) -> bool:
    """Whether the tests fail, or do not end in time."""
    asked = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests)]
    where = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    running = subprocess.Popen(
        asked, cwd=tree, env=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return running.wait(limit) != 0
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return True


def tried(module: str, tree: Path, most: int, seed: int) -> tuple[int, list[Mutant]]:
    """How many mutants of a module were tried, and those that lived."""
    source = (HOME / module).read_text()
    every = list(mutants(source))
    some = random.Random(f"{seed} {module}").sample(every, min(most, len(every)))
    started = time.monotonic()
    if killed(tree, TESTS[module]):
        raise SystemExit(f"{module}: its tests fail without any change: mend them first")
    limit = PATIENCE * (time.monotonic() - started) + 10
    alive = []
    for mutant in some:
        (tree / module).write_text(mutant.source)
        if not killed(tree, TESTS[module], limit):
            alive.append(mutant)
            print(f"{module}:{mutant.line} lives: {mutant.change}", flush=True)
    (tree / module).write_text(source)
    return len(some), alive


def main() -> int:
    """Print every mutant that lives, and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("most", nargs="?", type=int, default=25, metavar="MUTANTS")
    parser.add_argument("--only", default="", metavar="PART")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    total, lived = 0, 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        tree = copied(Path(name))
        for module in TESTS:
            if asked.only in module:
                count, alive = tried(module, tree, asked.most, asked.seed)
                total, lived = total + count, lived + len(alive)
                print(f"{module}: {count - len(alive)} of {count} killed", flush=True)
    print(f"{total - lived} of {total} killed, {100 * (total - lived) / max(1, total):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
