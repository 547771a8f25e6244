"""How much the care of the reader costs: our whole path beside a loop of four lines over the same libraries.

The hard idea: both are measured by processor time, ours with that of the helper process, in turns, because the clock of
a shared machine says little. The plain loop believes every header, never notices damage and dies of a bad page; it falls
back to a page's full text as we do. It is measured twice, with resiliparse's own decoding and with ours, so that the cost
of care and that of decoding stay apart.
"""

from __future__ import annotations

import resource
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from jobs.shards.decoding import decode
from jobs.shards.extract_page import resiliparse_text
from jobs.shards.reader import Page, ReadOptions, ShardReport, read_shard

GOAL = 0.85  # of the plain loop's pages per processor second


def plain_loop(path: Path) -> tuple[int, int]:
    """Pages and bytes of HTML read by FastWARC and resiliparse as their manuals say, and nothing else."""
    return loop(path, lambda body, _: str(bytes_to_str(body, detect_encoding(body) or "utf-8")), resiliparse_text)


def plain_loop_with_our_decoding(path: Path) -> tuple[int, int]:
    """The same with `jobs.shards.decoding.decode`, which tries UTF-8 first and is faster for it."""
    return loop(path, decoded, resiliparse_text)


def decoded(body: bytes, charset: str | None) -> str:
    """The body as the reader decodes it; nothing where it cannot."""
    return (decode(body, charset, html=True) or ("", 0))[0]


def loop(
    path: Path, to_text: Callable[[bytes, str | None], str], extract: Callable[[str], tuple[str, bool]]
) -> tuple[int, int]:
    """Pages and bytes of HTML of a shard's responses, each decoded and its text extracted."""
    pages = html_bytes = 0
    for record in ArchiveIterator(path.open("rb"), record_types=WarcRecordType.response):
        body = record.reader.read()
        pages += bool(extract(to_text(body, record.http_charset))[0])
        html_bytes += len(body)
    return pages, html_bytes


def our_loop(path: Path, counts: Counter[str]) -> tuple[int, int]:
    """Pages and bytes of HTML read by the whole reader: framing checked, extraction in the helper process."""
    pages = html_bytes = 0
    report = ShardReport()
    for row in read_shard(str(path), ReadOptions(), report):
        if isinstance(row, Page):
            pages += 1
            html_bytes += row.html_bytes or 0
    counts.update(report.counts)
    return pages, html_bytes


def bench(shards: Sequence[Path], rounds: int = 5) -> list[dict[str, Any]]:
    """The row of `read.warc`: pages per processor second of ours and of the plain loops, medians of `rounds` turns."""
    counts: Counter[str] = Counter()
    loops: dict[str, Callable[[Path], tuple[int, int]]] = {
        "ours": partial(our_loop, counts=counts),
        "plain": plain_loop,
        "plain, our decoding": plain_loop_with_our_decoding,
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    megabytes: list[float] = []
    for _ in range(rounds):
        for name, loop in loops.items():
            pages, html_bytes, seconds = _measure(loop, shards)
            rates[name].append(pages / seconds)
            if name == "ours":
                megabytes.append(html_bytes / 1e6 / seconds)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return [
        {
            "bench": "read.warc",
            "ours": round(middle["ours"], 1),
            "unit": "pages/s per core",
            "megabytes_per_second": round(statistics.median(megabytes), 1),
            "against": f"fastwarc {version('fastwarc')} + resiliparse {version('resiliparse')}",
            "theirs": round(middle["plain"], 1),
            "ratio": round(middle["ours"] / middle["plain"], 2),
            "goal": GOAL,
            "spread": {"ours": _spread(rates["ours"]), "theirs": _spread(rates["plain"])},
            "theirs_with_our_decoding": round(middle["plain, our decoding"], 1),
            "pages_with_full_text": counts["full_text"] // rounds,
            "pages_without_text": counts["empty_extraction"] // rounds,
        }
    ]


def _measure(loop: Callable[[Path], tuple[int, int]], shards: Sequence[Path]) -> tuple[int, int, float]:
    """Pages, bytes of HTML and processor seconds, those of ended children included."""
    before = _processor_seconds()
    counts = [loop(shard) for shard in shards]
    return sum(pages for pages, _ in counts), sum(size for _, size in counts), _processor_seconds() - before


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _spread(values: Sequence[float]) -> list[float]:
    return [round(min(values), 1), round(max(values), 1)]
