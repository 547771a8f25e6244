"""What --dry-run says of the disk: a range that holds what was measured, and nothing for what is there."""

import json
import re

import pytest

from jobs.parts.disk import estimate
from jobs.parts.experiment_file import Experiment


def asked(tmp_path, **more):
    (tmp_path / "a.warc.gz").write_bytes(b"\x1f\x8b" + bytes(99_999_998))
    tree = {"pages": {"from": [str(tmp_path / "a.warc.gz")]}, "out": tmp_path / "out", "signals": {"gopher": {}}}
    return Experiment.model_validate(tree | {"rules": {"word_count": {"min": 50}}} | more)


def part(said, name):
    """The most megabytes that are said of a part."""
    return float(re.search(rf"\b{name} (?:[\d.,]+ to )?([\d.,]+) MB", said)[1].replace(",", ""))


def test_before_anything_is_read_it_is_estimated_from_the_shards(tmp_path):
    said = estimate(asked(tmp_path))
    assert "pages 12 to 43 MB" in said and "from 100 MB of shards" in said and "MB are free" in said
    assert "subsets 0.0 to 32 MB" in said


def test_runs_take_what_their_tokens_and_weights_take(tmp_path):
    said = estimate(asked(tmp_path, tokenizer={"vocabulary": 4096}, train={"tokens": 5_000_000, "replicates": 2}))
    runs, copies = 2 * 2, 4  # unfiltered and the rules, in two replicates; the model and three late steps
    assert part(said, "packed and runs") == pytest.approx(runs * (5e6 * 2 + 184_608 * 4 * copies) / 1e6, rel=0.05)


def test_of_a_level_whose_removed_pages_are_written_too_all_pages_are_written_once(tmp_path):
    assert "subsets 9.0 to 32 MB" in estimate(asked(tmp_path, write={"removed": True}))


def test_what_is_there_is_not_written_again_and_its_size_is_known(tmp_path):
    for table, size in (("pages", 20_000_000), ("signals/gopher", 1)):
        (tmp_path / "out" / table).mkdir(parents=True)
        told = {"rows": 10_000, "parts": [{"bytes": size}]}
        (tmp_path / "out" / table / "_manifest.json").write_text(json.dumps(told))
    said = estimate(asked(tmp_path))
    assert "from the 10,000 pages that are read" in said and " pages 12" not in said
    assert part(said, "signals and verdicts") == 1.5  # split, verdicts, sizes
    assert part(said, "subsets") == 15
