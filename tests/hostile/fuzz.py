"""Mutations with fixed seeds: the reader, the extractor, configurations and tables, and kernels against their slow twins.

    python tests/hostile/fuzz.py [--share N] [NAME ...]

One in N of the full counts. Each input has a seed of its own, so one that fails is made again by its number. Printed are
inputs, processor seconds, the slowest input, what came of them; the exit code is 1 where an error is of a kind that nobody
expects, an input takes long, or a process ends.
"""

import argparse
import gzip
import importlib.util
import io
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from filters.rules import RuleError
from filters.strict_yaml import YamlError
from jobs.parts.experiment_file import load
from jobs.parts.refusals import ExperimentError
from jobs.shards import balance
from jobs.shards.extraction import Extractor, ReadLimits
from jobs.shards.reasons import Page, ReadOptions, ShardReport
from jobs.shards.rows import read_jsonl, read_parquet
from jobs.shards.warc import Response, read_records

FILTERS = Path(__file__).parents[1] / "filters"
MOST_SECONDS = 2
"""For an input of a few hundred bytes, under whatever load: a hundred times what the slowest takes."""
INTERESTING = [
    *(b"\0", b"\xff", b"\n", b"\r\n\r\n", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"WARC/1.0\r\n", b"Content-Length: ", b"-1"),
    *(
        b"9" * 20,
        b"{",
        b"}",
        b"[",
        b'"',
        b"\\u0000",
        b"\\ud800",
        b"\\",
        b"<",
        b">",
        b"<div>",
        b"<!--",
        b"&#",
        b"\xc3",
        b"null",
    ),
    *(b": ", b"- ", b"&a ", b"*a", b"!!x ", b".inf", b"1e999", b"\t", b"#", b"'", b"|", b"PAR1"),
]
Trial = Callable[[random.Random], str]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to four changes: a bit, a byte, a piece that goes, comes twice or comes from elsewhere, an end."""
    broken = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        at = draw.randrange(len(broken) + 1)
        piece = slice(at, at + draw.choice((1, 1, 2, 4, 8, 30, 200)))
        how = draw.randrange(7)
        if how == 0 and at < len(broken):
            broken[at] ^= 1 << draw.randrange(8)
        elif how == 1 and at < len(broken):
            broken[at] = draw.randrange(256)
        elif how == 2:
            del broken[piece]
        elif how == 3:
            broken[at:at] = broken[piece]
        elif how == 4:
            broken[at:at] = draw.choice(INTERESTING)
        elif how == 5:
            broken[piece] = draw.choice(INTERESTING)
        elif draw.random() < 0.3:
            del broken[at:]
    return bytes(broken)


def _warcs() -> list[bytes]:
    def record(number, kind, body):
        head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:{number}>\r\nWARC-Date: 2024-05-18T01:58:10Z\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"

    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>ab\r\n0\r\n\r\n"
    coded = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"<p>ab</p>")
    records = [record(0, "conversion", b"a page"), record(1, "response", http), record(2, "response", coded)]
    pack = zstandard.ZstdCompressor(write_checksum=True).compress
    whole = b"".join(records)
    return [whole, b"".join(map(gzip.compress, records)), gzip.compress(whole), b"".join(map(pack, records)), pack(whole)]


def warc(folder: Path) -> Trial:
    """Records of small WARCs, plain and compressed, without extraction."""
    shards = _warcs()

    def trial(draw: random.Random) -> str:
        data, report = mutated(draw.choice(shards), draw), ShardReport()
        found = list(read_records(io.BytesIO(data), 100_000, report))
        report.bytes[balance.PACKED] = len(data)
        assert balance.balanced(report.bytes), (data, report.bytes)
        return f"{sum(isinstance(one, Response) for one in found)} of {len(found)} records, damage {bool(report.damages)}"

    return trial


def html(folder: Path) -> Trial:
    """Bodies through the helper process, one at a time."""
    cells = b"".join(b"<tr><td>cell %d<td>caf\xc3\xa9 <a href=/x%d>y</a>" % (at, at) for at in range(9))
    pages = [
        b"<!DOCTYPE html><html><head><meta charset=utf-8><title>t</title><script>x()</script></head><body><article><p>Some "
        b"text of a page, told at some length. " * 3 + b"<div><ul><li>one<li>two</ul></div></article></body></html>",
        b"<html><body><table>" + cells + b"</table><svg><path d='M0'/></svg><pre>  a\n b</pre></body></html>",
    ]
    extractor = Extractor("resiliparse", ReadLimits())

    def trial(draw: random.Random) -> str:
        body = mutated(mutated(draw.choice(pages), draw), draw)
        extractor.submit(body, draw.choice((None, "utf-8", "utf-16", "shift_jis", "x")), True)
        reply = extractor.next_reply()
        assert "\0" not in reply.text, body
        reply.text.encode()
        return reply.reason or "text"

    return trial


def lines(folder: Path) -> Trial:
    """Small files of JSON lines."""
    rows = [
        {"id": at, "text": f"line é {at}\n", "url": "http://a.org/", "date": "2024-05-18", "m": {"n": [1, None]}}
        for at in range(3)
    ]
    data, file = "".join(json.dumps(row) + "\n" for row in rows).encode(), folder / "a.jsonl"

    def trial(draw: random.Random) -> str:
        broken, report = mutated(data, draw), ShardReport()
        file.write_bytes(broken)
        found = list(read_jsonl(file, "a.jsonl", ReadOptions(), report))
        report.bytes[balance.PACKED] = len(broken)
        assert balance.balanced(report.bytes), (broken, report.bytes)
        for row in found:
            if isinstance(row, Page):
                row.text.encode()
        return f"{sum(isinstance(row, Page) for row in found)} of {len(found)} rows"

    return trial


CONFIGS = [
    b"pages: {from: [a.warc.gz], limits: {bytes: 1000}}\nout: out/x\nseed: 3\nsignals: {gopher: {}, c4: {}}\n",
    b"pages:\n  from:\n    - {jsonl: 'a*.zst', id: {column: uid, per: shard}}\nsignals:\n  gopher: {}\nsplit: {test: 0.1}\n",
    b"pages: {from: [a]}\nsignals: {gopher: {}}\nclassifiers:\n  q: {fasttext: {positives: [b.jsonl], preset: gao_small}}\n",
    b"pages: {from: [a]}\ntrain: {tokens: 1000, sizes: [tiny]}\nevaluate: {held_out: {by: domain, share: 0.1}}\n",
]


def config(folder: Path) -> Trial:
    """Experiment files."""
    file = folder / "a.yaml"

    def trial(draw: random.Random) -> str:
        file.write_bytes(mutated(draw.choice(CONFIGS), draw))
        try:
            load(file)
        except (ExperimentError, YamlError, RuleError) as error:
            assert "Traceback" not in str(error)
            return type(error).__name__
        return "taken"

    return trial


def parquet(folder: Path) -> Trial:
    """Small tables. Each is read in a fork: what ends a process must not end this one."""
    sink, file = io.BytesIO(), folder / "a.parquet"
    dates = pa.array([1, 2, 3, 4], pa.timestamp("s"))
    table = pa.table({"id": ["a", "b", "c", "d"], "text": ["one", "two", None, "four"], "date": dates})
    pq.write_table(table, sink, row_group_size=2, write_page_checksum=True)

    def read() -> int:
        report = ShardReport()
        rows = list(read_parquet(file, "a.parquet", ReadOptions(), report))
        if balance.ROWS not in report.bytes:
            report.bytes[balance.PACKED] = file.stat().st_size
        assert balance.balanced(report.bytes), report.bytes
        return sum(isinstance(row, Page) for row in rows)

    def trial(draw: random.Random) -> str:
        file.write_bytes(mutated(sink.getvalue(), draw))
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(read())
            except ValueError:
                os._exit(90)  # a column that must be there is not: a refusal
            finally:
                os._exit(91)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code != 91, "an error of another kind than ValueError, or bytes that do not add up"
        return {90: "refused"}.get(code, f"{code} pages" if code >= 0 else f"ended by signal {-code}")

    return trial


PIECES = [
    *" \n\t\r\0abzAZ09.,:;!?-_/'\"()[]<>@#$%&*+=|~^\\`",
    *"é\u0301\x1c\x85\xa0\u1680\u2003\u2028\u3000ΣσςİıßſK字カ。।ا؟ไ\u202e\ufffd😀𐐀",
    *("\r\n", "\n\n", "...", "www.", ".com", "://", "12,345.6", "U.S.A.", "can't", "127.0.0.1", "||", "*.", "x" * 99),
]


def text(draw: random.Random, most: int = 40) -> str:
    """A text of pieces that rules turn on, and some letters of anywhere."""
    anywhere = [chr(draw.choice((draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)))) for _ in range(2)]
    return "".join(draw.choices([*PIECES, *anywhere], k=draw.randrange(most)))


def texts(draw: random.Random) -> list[str]:
    """Some pages."""
    return [text(draw) for _ in range(draw.randrange(1, 4))]


def units(draw: random.Random) -> list[list[int]]:
    """Some pages of units of which many are equal."""
    return [draw.choices(range(4), k=draw.randrange(41)) for _ in range(draw.randrange(4))]


def octets(draw: random.Random) -> bytes:
    """Bytes that are mostly text."""
    return mutated(text(draw).encode(), draw)


TWINS = {
    "test_pages": {
        "test_words_are_those_of_split": texts,
        "test_lines_are_those_of_split_at_newlines": texts,
        "test_sentences_end_at_marks_and_lines": texts,
    },
    "kernels/test_text": {"test_decode_reads_what_python_reads_and_steps_over_what_it_refuses": octets},
    "kernels/test_hashing": {
        "test_lower_case_is_that_of_each_character_and_of_the_word_around_a_sigma": texts,
        "test_terms_are_the_pieces_between_javas_blanks": texts,
        "test_ngrams_are_words_and_runs_of_signs_alone_and_in_pairs": texts,
        "test_any_bytes_have_a_lower_case_terms_and_ngrams": octets,
    },
    "kernels/test_lists": {"test_lines_are_read_as_the_slow_twin_reads_them": text},
    "kernels/test_uax29_words": {"test_segments_are_those_of_the_rules": text},
    "units/test_copies": {"test_ngrams_are_those_of_a_counter": units, "test_copies_are_those_of_a_counter": units},
    "units/test_spacy_words": {"test_the_kernel_agrees_with_the_twin_on_any_text": texts},
}
"""The tests that hold a kernel against its slow twin, and what each is given here."""


def kernels(folder: Path) -> Trial:
    """Kernels against their slow twins, each as often as the others."""
    found = []
    for name, tests in TWINS.items():
        spec = importlib.util.spec_from_file_location(name.rpartition("/")[2], FILTERS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [(test, getattr(module, test).hypothesis.inner_test, make) for test, make in tests.items()]
    for _, check, make in found:
        check(make(random.Random(0)))  # compiles

    def trial(draw: random.Random) -> str:
        _, check, make = draw.choice(found)
        check(make(draw))
        return "equal"

    return trial


TRIALS = {
    "warc": (warc, 1_000_000),
    "html": (html, 100_000),
    "json": (lines, 100_000),
    "config": (config, 100_000),
    "parquet": (parquet, 20_000),
    "kernels": (kernels, 100_000),
}


def run(name: str, share: int) -> bool:
    """Print what came of a trial; False where an input failed, was slow, or ended a process."""
    begin, full = TRIALS[name]
    came, worst, failed = Counter(), (0.0, 0), False
    with tempfile.TemporaryDirectory() as folder:
        trial, started = begin(Path(folder)), time.process_time()
        for number in range(full // share):
            draw, begun = random.Random(f"{name} {number}"), time.perf_counter()
            try:
                came[trial(draw)] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this is for
                print(f"{name} {number}: {type(error).__name__}: {str(error)[:500]}")
                failed = True
            worst = max(worst, (time.perf_counter() - begun, number))
    told = ", ".join(f"{count:,} {what}" for what, count in came.most_common(6))
    seconds = time.process_time() - started
    print(
        f"{name}: {full // share:,} inputs, {seconds:.0f} s, the slowest ({worst[1]}) {worst[0]:.3f} s: {told}", flush=True
    )
    return not failed and worst[0] < MOST_SECONDS and not any("signal" in what for what in came)


def main() -> int:
    """All trials, or those that are named; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TRIALS))
    parser.add_argument("--share", type=int, default=1, help="one in so many of the full counts")
    options = parser.parse_args()
    np.seterr(all="ignore")
    return 0 if all([run(name, options.share) for name in options.names or TRIALS]) else 1


if __name__ == "__main__":
    sys.exit(main())
