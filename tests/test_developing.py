"""What docs/developing.md says of this repository holds: its files exist, its example runs, its rule files name signals."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from filters.rule_files import rule_file
from filters.rules import check_types, parse
from filters.signals import load_groups

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "developing.md").read_text()
EXAMPLE = re.search(r"Write `([\w/]+\.py)`", PAGE)[1]
OURS = re.compile(r"`((?:filters|classifiers|eval|jobs|conf|docs|tests)/[\w/.*-]*|[\w-]+\.(?:py|md|yaml))`")
RULES = sorted(file.stem for file in (REPOSITORY / "conf" / "rules").glob("*.yaml"))

USE = """
import sys
import pyarrow as pa
from filters.pages import PageBatch
from filters.signals import configure, load_groups
group = configure("topic", {"topic_words": sys.argv[1], "topic_least": 2}, load_groups("filters"))
pages = PageBatch(pa.array(["A ship, a sail, a SHIP.", "a shipment", None]))
print(group.measure(pa.array(["a", "b", "c"]), pages).to_pydict())
"""


@pytest.mark.parametrize("named", sorted(set(OURS.findall(PAGE)) - {EXAMPLE}))
def test_a_file_or_folder_that_is_named_exists(named):
    assert list(REPOSITORY.glob(named.rstrip("/")))


@pytest.mark.parametrize("name", ["KINDS", "FITS", "BENCHES", "VERBS", "BOUNDS", "CUTS", "QUALIFIES"])
def test_a_table_that_is_named_stands_in_a_file_that_is_named(name):
    assert f"`{name}`" in PAGE
    files = [file for named in set(OURS.findall(PAGE)) for file in REPOSITORY.glob(named) if file.suffix == ".py"]
    assert [file for file in files if re.search(rf"^{name}\b.*=", file.read_text(), re.MULTILINE)]


@pytest.fixture
def use(tmp_path):
    """What the example of the page gives with a list of words."""
    package = tmp_path / "filters"
    shutil.copytree(REPOSITORY / "filters", package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / EXAMPLE).write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])

    def run(words):
        return subprocess.run([sys.executable, "-c", USE, words], cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_the_signal_with_options_and_a_file_measures(use, tmp_path):
    (tmp_path / "ships.txt").write_text("ship\nsail\n")
    said = use("ships.txt")
    found = "{'id': ['a', 'b', 'c'], 'topic_word_count': [3, 0, None], 'is_on_topic': [True, False, None]}"
    assert said.stdout.strip() == found, said.stderr


def test_its_missing_file_is_an_error_that_jobs_tell_as_a_sentence(use):
    assert use("ships.txt").stderr.splitlines()[-1].startswith("filters.kernels.lists.ListFileError: no word list ships.txt")


@pytest.mark.parametrize("name", RULES)
def test_every_rule_file_names_signals_that_can_be_compared_as_it_says(name):
    types = {
        signal.name: signal.type for group in load_groups("filters", "classifiers").values() for signal in group.values()
    }
    types |= {signal: pa.float64() for signal in rule_file(name).needs if signal not in types}  # of classifiers
    check_types(parse(rule_file(name).rules), types)
