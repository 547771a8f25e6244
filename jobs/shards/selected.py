"""The records that rows of an index name, from a slice of a selection: fetched by their ranges, read as in their shards."""

import io
from collections.abc import Iterator

from jobs.parts import storage
from jobs.shards.balance import PACKED
from jobs.shards.index import SELECTED
from jobs.shards.locations import file_name
from jobs.shards.ranges import NotFetched, Row, fetched
from jobs.shards.reasons import ReadOptions, ShardReport
from jobs.shards.warc import Lost, Response, read_records


def records(location: str, options: ReadOptions, report: ShardReport) -> Iterator[tuple[str, Response | Lost]]:
    """The name of its shard and a record, for every row of a slice; one that is not there is lost with a reason."""
    first, end = options.row_groups or (0, 0)
    rows = storage.open_parquet(location).read_row_groups(list(range(first, end)), columns=SELECTED.names)
    asked = (Row(*row) for row in zip(*(rows[name].to_pylist() for name in SELECTED.names), strict=True))
    for row, data in fetched(asked, options.prefix, options.at_once):
        if isinstance(data, NotFetched):
            yield file_name(row.file), Lost(row.url, row.offset, "not_fetched", str(data))
        else:
            yield file_name(row.file), _record(row, data, options, report)


def _record(row: Row, data: bytes, options: ReadOptions, report: ShardReport) -> Response | Lost:
    """The record that stands at the beginning of a range; what is broken in the range is told by its place in the shard."""
    one = ShardReport()
    found = [*read_records(io.BytesIO(data), options.limits.bytes, one, options.resources)]
    report.counts.update(one.counts)
    report.bytes.update({**one.bytes, PACKED: len(data)})
    for damage in one.damages:
        report.damage(row.offset + damage.offset, damage.reason, f"{file_name(row.file)}: {damage.detail}")
    if not found:
        return Lost(row.url, row.offset, "no_record", f"{row.length} bytes from {row.offset} on")
    return found[0]._replace(offset=row.offset)
