"""The four packages are plain folders of this repository, and each line of code knows which room it lives in."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("filters", "classifiers", "eval", "jobs")
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_the_one_in_this_repository(package):
    assert Path(importlib.import_module(package).__file__).parent == REPOSITORY / package


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_module_imports_only_what_its_room_may(path):
    may = {"filters": set(), "classifiers": {"filters"}, "eval": {"filters"}, "jobs": {"filters", "classifiers", "eval"}}
    package = path.relative_to(REPOSITORY).parts[0]
    others = imported(path) & set(PACKAGES) - {package}
    assert others <= may[package]
    assert package == "jobs" or "pyspark" not in imported(path)


VERBS = sorted(path.stem for path in (REPOSITORY / "jobs").glob("*.py") if path.stem != "__init__")


def test_no_job_shadows_a_standard_module():
    """A script's folder comes first on sys.path: jobs/select.py would be imported in place of the standard module."""
    assert not set(VERBS) & set(sys.stdlib_module_names)


@pytest.mark.parametrize("verb", VERBS)
def test_no_job_shadows_a_package_that_we_depend_on(verb):
    """Run by path, jobs/evaluate.py must not be what `import evaluate` finds, so jobs/ leaves sys.path."""
    look = f"import sys; sys.path.insert(0, 'jobs'); import jobs, importlib.util as u; print(u.find_spec({verb!r}))"
    found = subprocess.run([sys.executable, "-c", look], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert str(REPOSITORY / "jobs") not in found and "'jobs/" not in found


def test_only_what_trains_and_evaluates_waits_for_torch():
    """Its import takes some five seconds of a core, in Spark's workers too."""
    verbs = [f"jobs.{verb}" for verb in VERBS if verb not in ("evaluate", "experiment", "train")]
    look = f"import sys, {', '.join(verbs)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=REPOSITORY, check=False).returncode == 0


def test_what_catches_everything_says_why():
    lines = [line for path in MODULES for line in path.read_text().splitlines()]
    broad = [line for line in lines if re.match(r"\s*except(:| .*\b(Base)?Exception\b)", line)]
    assert len(broad) > 9
    for line in broad:
        assert len(line.partition("# ")[2].removeprefix("noqa: BLE001 -").split()) > 4, line


def test_tests_hold_no_package_marker():
    assert not list((REPOSITORY / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_unpickles_or_evaluates_what_it_is_given(path):
    forbidden = {"pickle", "joblib", "dill", "shelve", "marshal"}
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert not imported(path) & forbidden
    assert not calls & {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "hash"}
    assert "trust_remote_code=True" not in path.read_text()
