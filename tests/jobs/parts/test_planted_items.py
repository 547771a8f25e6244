"""Items of real benchmarks planted in pages: every one that can be looked for is found where it stands."""

import bz2
import gzip
import itertools
import json
import zipfile

import pyarrow as pa
import pytest

from filters.duplicates.contamination import LEAST, MOST, benchmark, find
from filters.pages import PageBatch
from jobs.parts.contaminated import items_of
from jobs.parts.duplicate_options import BenchmarkFile

NAMES = ("lambada_openai", "piqa", "arc_easy", "arc_challenge", "winogrande", "winograd_wsc", "boolq", "openbook_qa", "copa",
         "commonsense_qa", "bigbench_language_identification", "hellaswag", "BLiMP")  # fmt: skip
SOME = 60
AROUND = "what stands before it on this page of ours", "and what comes behind it"


@pytest.fixture(scope="module")
def files(shared_data, tmp_path_factory):
    """The first items of each benchmark, as files of JSON lines."""
    folder = tmp_path_factory.mktemp("bench")
    for name in NAMES[:-2]:
        with gzip.open(shared_data / "bench" / f"{name}.jsonl.gz", "rt") as lines:
            (folder / f"{name}.jsonl").write_text("".join(itertools.islice(lines, SOME)))
    with bz2.open(shared_data / "bench" / "hellaswag_val_full.txt.bz2", "rt") as lines:
        rows = [{"query": line.strip()} for line in itertools.islice(lines, SOME) if line.strip()]
        (folder / "hellaswag.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with zipfile.ZipFile(shared_data / "bench" / "BLiMP.zip") as archive:
        tasks = [name for name in archive.namelist() if name.endswith(".jsonl") and "MACOSX" not in name]
        (folder / "BLiMP.jsonl").write_bytes(b"".join(archive.read(task).split(b"\n")[0] + b"\n" for task in sorted(tasks)))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_every_item_that_can_be_looked_for_is_found_where_it_is_planted(files, name):
    items = items_of(BenchmarkFile(file=files / f"{name}.jsonl"))
    of = benchmark(items)
    planted = [(number, piece) for number, item in enumerate(items) for piece in item]
    pages = PageBatch(pa.array([f"{AROUND[0]} {piece}\n{AROUND[1]}" for _, piece in planted], pa.large_string()))
    found = set()
    for page, ((number, piece), hits) in enumerate(zip(planted, find(pages, of), strict=True)):
        own = [at for at, gram in enumerate(hits.grams.tolist()) if number in of.items(gram)]
        words = hits.words - sum(len(some.split()) for some in AROUND)
        assert bool(own) == (words >= LEAST), piece
        if own:
            assert len(own) >= words - min(words, MOST) + 1
            begin, end = hits.spans[own, 0].min(), hits.spans[own, 1].max()
            span = pages.data[pages.offsets[page] + begin : pages.offsets[page] + end].tobytes().decode()
            assert [*filter(str.isalnum, span)] == [*filter(str.isalnum, piece)]
            found.add(number)
    assert found == {number for number, can in enumerate(of.checkable.tolist()) if can}
    assert found or name == "copa"
