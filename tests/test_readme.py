"""What the README shows works as written, and its tree names every file there is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def block(language, section=""):
    """The first block of a language under a heading."""
    return re.search(rf"```{language}\n(.*?)```", README.partition(section)[2] if section else README, re.DOTALL)[1]


def test_a_new_signal_takes_five_lines_and_no_edit_elsewhere(tmp_path):
    package = tmp_path / "filters"
    shutil.copytree(REPOSITORY / "filters", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / re.search(r"Write `filters/([\w/]+\.py)`", README)[1]).write_text(block("python"))
    use = (
        "import pyarrow as pa\n"
        "from filters.pages import PageBatch\n"
        "from filters.signals import configure, load_groups\n"
        "group = configure('shouting', {}, load_groups('filters'))\n"
        "print(group.measure(pa.array(['a', 'b']), PageBatch(pa.array(['BUY it NOW ok', '']))).to_pydict())\n"
    )
    said = subprocess.run([sys.executable, "-c", use], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "{'id': ['a', 'b'], 'upper_word_ratio': [0.5, None]}"


def test_the_experiment_shown_is_the_demonstration():
    shown = yaml.safe_load(block("yaml", "## One idea"))
    file = yaml.safe_load((REPOSITORY / "conf" / "demo.yaml").read_text())
    shown["train"]["regime"] = file["train"]["regime"]
    assert shown == {key: file[key] for key in shown}


def test_the_tree_names_every_file():
    shown = README.split("## The tree")[1].split("## ")[0]
    for package in ("filters", "classifiers", "eval", "jobs"):
        for file in (REPOSITORY / package).rglob("*.py"):
            assert file.name == "__init__.py" or file.stem in re.findall(r"\w+", shown), f"{package}/{file.name}"
