"""Pages in random order: a part's text goes through memory row group by row group."""

import numpy as np
import pyarrow as pa

from jobs.parts import storage
from jobs.parts.shuffled import Buckets
from jobs.parts.table import Part


def test_a_part_is_spilled_as_its_row_groups_are_read(tmp_path, monkeypatch):
    said = []

    def groups():
        for at in range(3):
            said.append("read")
            ids = [f"{at}-{row}" for row in range(8)]
            yield np.arange(8) + 8 * at, pa.table({"id": ids, "url": ids, "text": pa.array(ids, pa.large_string())})

    def write_batches(file, schema, batches):
        return whole(file, schema, (said.append("written") or batch for batch in batches))

    whole = storage.write_batches
    monkeypatch.setattr(storage, "write_batches", write_batches)
    buckets = Buckets(tmp_path, 2, 0, ("all",))
    hashes = np.random.default_rng(0).integers(0, 2**63, 24).astype(np.uint64)
    rows = buckets.spill(Part("a", "", ""), {"all": np.ones(24, bool)}, hashes, groups())
    assert rows == 24 and said == ["read", "written", "written"] * 3
    assert {file.name for file in tmp_path.iterdir()} >= {"a.arrow"} and len(list(tmp_path.iterdir())) == 2
