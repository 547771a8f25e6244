"""Writing the text of ten levels beside writing that of the largest alone: processor seconds of one process, without Spark.

    python -m jobs.bench write_levels

The levels keep the shares of The Pile's Table 6 (Gao et al. 2020), and all pages; the pages are those of the shards at hand.
"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.choose import Texts, kept_of_part
from jobs.parts import loop
from jobs.parts.edits import Edits
from jobs.parts.places import Places
from jobs.parts.table import Part, Table, entry, publish
from jobs.read import PAGES

SHARES = (1.0, 0.5894, 0.3649, 0.2390, 0.1671, 0.1239, 0.0974, 0.0802, 0.0685, 0.0602)
ROUNDS = 5
ROWS = 512
"""Pages in a row group."""


def rows(texts: pa.Array) -> list[dict[str, Any]]:
    """A row: ten levels against one."""
    with tempfile.TemporaryDirectory() as folder:
        places, part = _pages(Path(folder), texts)
        taken = [
            [_write(places, part, Path(folder) / f"{at}-{levels}", levels) for levels in (1, 10)] for at in range(ROUNDS)
        ]
    one, ten = np.median(np.array(taken), axis=0)
    row = {"bench": "choose.write", "ours": round(float(ten), 2), "unit": "s for ten levels", "against": "the largest level"}
    spread = [round(float(np.ptp([times[at] for times in taken])), 2) for at in range(2)]
    bytes_ = int(pa.compute.sum(pa.compute.binary_length(texts)).as_py())
    return [
        {
            **row,
            "theirs": round(float(one), 2),
            "ratio": round(float(ten / one), 2),
            "goal": 2,
            "spread": spread,
            "bytes": bytes_,
        }
    ]


def _pages(out: Path, texts: pa.Array) -> tuple[Places, Part]:
    """pages/ and verdicts/ of one part: level k keeps the first of its share in a random order."""
    places, count = Places(out), len(texts)
    ids = pa.array([f"<urn:uuid:{at:032x}>" for at in range(count)])
    filled = {"id": ids, "url": pa.array([f"https://site.example/{at}" for at in range(count)]), "text": texts}
    pages = pa.table({name: filled.get(name, pa.nulls(count, PAGES.field(name).type)) for name in PAGES.names}, schema=PAGES)
    order = np.random.default_rng(0).permutation(count)
    kept = {f"subset {at}": pa.array(order < share * count) for at, share in enumerate(SHARES)}
    first = _table(places.pages, Part("part", "", "texts"), pages)
    _table(places.verdicts, first, pa.table({"id": ids, **kept}))
    return places, first


def _table(folder: Path, part: Part, rows: pa.Table) -> Part:
    table = Table(folder, {}, rows.schema)
    folder.mkdir(parents=True)
    loop.write_part(part, [table], lambda *_: ((table.name, batch) for batch in rows.to_batches(ROWS)))
    line = entry(table, part)
    publish("bench", table, [line])
    return Part(part.name, str(table.file(part)), line["sha256"], line["from"], line["footer"])


def _write(places: Places, part: Part, folder: Path, levels: int) -> float:
    """Processor seconds that it takes to write the largest levels."""
    texts = Texts(places, Edits(places, None, ()), {})
    tables = [
        Table(folder / str(at), {}, texts.schema(part), "jsonl.zst", "part-", folder / "_books" / str(at))
        for at in range(levels)
    ]
    begun = time.process_time()
    failure = loop.write_part(part, tables, partial(kept_of_part, texts=texts)).failure
    if failure:
        raise RuntimeError(failure)
    return time.process_time() - begun
