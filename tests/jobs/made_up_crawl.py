"""Two parts of pages with made-up signals, as read, split and score would leave them."""

import numpy as np
import pyarrow as pa

from filters.draws import id_hashes
from filters.files import sha256_of
from filters.split import copies_of, fold, held_out
from jobs.parts import loop
from jobs.parts.experiment_file import Experiment
from jobs.parts.table import Part, Table, entry, publish
from jobs.read import PAGES
from jobs.split import SPLIT

SIZE = pa.schema([("id", pa.string()), ("text_bytes", pa.int64()), ("text_hash", pa.int64())])
NUMBERS = pa.schema([("id", pa.string()), ("word_count", pa.int64()), ("quality", pa.float64()), ("language", pa.string())])
ROWS = 400
GROUP = 150
"""Rows of a row group: a part has three."""


def crawl(tmp_path, **changes):
    """An experiment over such pages."""
    draw = np.random.default_rng(7)
    for at in range(2):
        ids = [f"page-{at}-{row}" for row in range(ROWS)]
        pages = {
            "id": ids,
            "url": [f"https://site-{row % 40}.org/{at}/{row}" for row in range(ROWS)],
            "domain": [f"site-{row % 40}.org" for row in range(ROWS)],
            "text": [f"words of page {row % 350} in part {at}" for row in range(ROWS)],
        }
        rows = {name: pa.array(pages.get(name, [None] * ROWS), PAGES.field(name).type) for name in PAGES.names}
        write(tmp_path, "pages", at, pa.table(rows, schema=PAGES), "shard")
        identity = sha256_of(tmp_path / "pages" / f"shard-{at}.parquet")
        quality = [None if row % 50 == 0 else float(value) for row, value in enumerate(draw.random(ROWS))]
        languages = ["eng", "deu", "eng", "deu", "eng", None, "eng", "deu"] * (ROWS // 8)
        numbers = [ids, [int(value) for value in draw.integers(0, 200, ROWS)], quality, languages]
        write(tmp_path, "signals/numbers", at, pa.table(numbers, schema=NUMBERS), identity)
        sizes = [len(text) for text in pages["text"]]
        hashes = [row % 350 + 1000 * at for row in range(ROWS)]
        write(tmp_path, "signals/size", at, pa.table([ids, sizes, hashes], schema=SIZE), identity)
    for at in range(2):
        write_split(tmp_path, at)
    for name in ("pages", "signals/numbers", "signals/size", "split"):
        finish(tmp_path, name)
    asked = {"pages": {"from": ["none"]}, "out": tmp_path, "write": {"subsets": []}}
    return Experiment.model_validate({**asked, "evaluate": {"held_out": {"by": "page", "share": 0.1}}, **changes})


def write_split(tmp_path, at):
    """A tenth of the pages is held out; text hashes from 0 to 349 are there twice."""
    hashes = {which: id_hashes([f"page-{which}-{row}" for row in range(ROWS)]) for which in range(2)}
    out = {which: held_out(some, some, "page", 0.1, 0) for which, some in hashes.items()}
    copies = copies_of(out[at], np.array([row % 350 for row in range(ROWS)]))
    ids = [f"page-{at}-{row}" for row in range(ROWS)]
    rows = pa.table([ids, hashes[at], out[at], copies, fold(hashes[at], 0)], schema=SPLIT)
    write(tmp_path, "split", at, rows, sha256_of(tmp_path / "pages" / f"shard-{at}.parquet"))


def table_of(tmp_path, name, schema=PAGES):
    return Table(tmp_path / name, {"made": "up"}, schema)


def write(tmp_path, name, at, rows, identity):
    table = table_of(tmp_path, name, rows.schema)
    table.path.mkdir(parents=True, exist_ok=True)

    def work(part, missing, report):
        yield from ((table.name, batch) for batch in rows.to_batches(max_chunksize=GROUP))

    assert loop.write_part(Part(f"shard-{at}", "", identity), [table], work).failure is None


def finish(tmp_path, name):
    table = table_of(tmp_path, name)
    publish("made up", table, [entry(table, Part(f"shard-{at}", "", "")) for at in range(2)])
