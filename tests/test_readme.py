"""What the README shows works as written, and its tree names every file there is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from eval.report.page import Answer, MainFigure
from jobs.parts.experiment_file import load
from jobs.report import made_by

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def block(language, section=""):
    """The first block of a language under a heading, or after any other words."""
    return re.search(rf"```{language}\n(.*?)```", README.partition(section)[2] if section else README, re.DOTALL)[1]


WITH_A_LIST = """
import shutil
from pathlib import Path
import yaml
import filters
from jobs import score
from jobs.parts.experiment_file import load

def identity(words):
    tree = {"pages": {"from": ["a.warc.gz"]}, "signals": {"topic": {"topic_words": words}}}
    open("conf.yaml", "w").write(yaml.safe_dump(tree))
    asked = load(Path("conf.yaml"))
    score.check(asked)
    return score._config(score.groups(asked)["topic"])

print(filters.measure(["A ship sails by", "no"], {"topic": {"topic_words": "ships.txt"}}).to_pydict())
first = identity("ships.txt")
shutil.copy("ships.txt", "moved.txt")
print(first == identity("moved.txt"))
open("moved.txt", "a").write("anchor")
print(first == identity("moved.txt"))
identity("nowhere.txt")
"""


def test_the_signal_with_a_word_list_measures_and_knows_its_list_by_content(tmp_path):
    shutil.copytree(REPOSITORY / "filters", tmp_path / "filters", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "conf").symlink_to(REPOSITORY / "conf")
    (tmp_path / "filters" / "heuristics" / "topic.py").write_text(block("python", "A keyword-only argument is an option"))
    (tmp_path / "ships.txt").write_text("ship\nsails\n")
    (tmp_path / "try.py").write_text(WITH_A_LIST)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "try.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["{'topic_word_ratio': [0.5, 0.0]}", "True", "False"], done.stderr
    last = done.stderr.splitlines()[-1]
    assert "ExperimentError: signals.topic: no word list nowhere.txt" in last


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


DEMO = json.loads((REPOSITORY / "docs" / "demo.json").read_text())


def test_the_figure_is_of_the_demonstration_as_it_is():
    """Else: make demo; cp out/demo/report.svg docs/demo.svg; cp out/demo/report.json docs/demo.json."""
    assert DEMO["made_by"] == made_by(load(REPOSITORY / "conf" / "demo.yaml"))
    assert TypeAdapter(MainFigure).validate_python(DEMO["figure"]).svg == (REPOSITORY / "docs" / "demo.svg").read_text()


def test_the_sentence_under_the_figure_is_what_the_demonstration_found():
    words = f"*From `make demo`. {Answer(**DEMO['answer']).sentence}*"
    assert words in " ".join(README.split())
