"""The words of reading: what a shard comes to, and every reason for which a record is not a page.

The hard idea is the balance `records = pages + Σ reasons`. Nothing is dropped in silence: a record that is no page is
counted under one reason of a closed list, and damage to a shard is kept beside the pages that survived it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import idna
from publicsuffixlist import PublicSuffixList

from jobs.shards import balance
from jobs.shards.extraction import ReadLimits
from jobs.shards.members import MOST_DAMAGES

UNREADABLE = re.compile("[\ud800-\udfff\ufffd]")

SKIPPED: Mapping[str, str] = {
    "record_warcinfo": "a warcinfo record describes the shard, not a page",
    "record_request": "a request record holds what the crawler asked",
    "record_metadata": "a metadata record describes another record",
    "record_revisit": "a revisit record points to an earlier capture and has no body",
    "record_resource": "a resource record was not fetched as an HTTP response",
    "record_continuation": "a continuation record is a slice of another record",
    "record_unknown": "the WARC-Type is missing or unknown",
    "not_http": "the response record holds no HTTP response (DNS and the like)",
    "status_not_200": "the HTTP status is not 200",
    "mime_not_text": "neither HTML nor plain text, by its header or by its first bytes",
}
"""Reasons for records that were never meant as pages: counted, not listed."""

REJECTED: Mapping[str, str] = {
    "truncated": "the record is cut short: the shard ends inside it",
    "corrupt": "the compressed member that holds the record is damaged",
    "bomb": "the shard unpacks to far more than its bytes; reading stopped inside the record",
    "bad_length": "the record's Content-Length is missing, malformed or does not match what follows",
    "digest_mismatch": "the record's bytes do not have the digest in its header",
    "http_malformed": "the response record starts with no HTTP status line",
    "bad_content_encoding": "the body does not decompress as its Content-Encoding says",
    "too_large": "the record, its decompressed body or its text is over the limit",
    "empty_body": "the response has no body, or the text is nothing but blanks",
    "undecodable": "no character encoding reads the body with fewer than 1 % bad bytes",
    "empty_extraction": "the page has text or markup, but the extractor found no text in it",
    "extract_timeout": "the extractor used more than its processor seconds",
    "extract_memory": "the extractor needed more than its memory",
    "extract_crash": "the extractor crashed or raised",
    "bad_json": "the line is not JSON in UTF-8",
    "wrong_type": "the row is not an object, or a column has the wrong type",
    "missing_text": "the row has no text",
    "bad_utf8": "the text column holds bytes that are not UTF-8",
    "not_fetched": "the range of the record, which an index names, could not be fetched",
    "no_record": "no record stands in the range that an index names",
    "duplicate_id": "an earlier page of the shard has the same id",
}
"""Reasons for pages that were lost: counted, and each is yielded as a `Rejected`."""

REASONS: Mapping[str, str] = {**SKIPPED, **REJECTED}
"""Every reason for which a record is not a page; a record has exactly one."""

FLAGS: Mapping[str, str] = {
    "decode_replaced": "a few bad bytes became U+FFFD",
    "characters_replaced": "how many bad bytes of all those pages became U+FFFD",
    "nul_removed": "NUL characters were removed from the text",
    "surrogate_replaced": "lone surrogates became U+FFFD",
    "two_bytes_longer": "the record is two bytes longer than its Content-Length (as in CC-MAIN-2018-34), all were read",
    "crawl_truncated": "the crawler cut the body and says so (WARC-Truncated)",
    "coding_ignored": "the body is not chunked or compressed, though its header says so",
    "full_text": "the extractor found next to no main content, so the text is all that the page shows",
    "url_unreadable": "bytes of the URL that are no UTF-8 became U+FFFD; where they are in the host, the domain is null",
    "date_unreadable": "the crawl time cannot be read and is null",
    "bad_chunking": "the chunked transfer coding breaks off, the body was used as it is",
    "body_incomplete": "the compressed or chunked body ends early, what there is was used",
    "trailing_padding": "NULs follow the last record of the shard",
    "bad_id": "the row's id is no text and no exact number, so the page is known by its place",
    "bad_url": "the row's URL is no text, so the page has none",
    "bad_time": "the row's crawl time cannot be read, so the page has none",
    "lines_joined": "several JSON objects stood in one line, each was read",
    "no_domain": "the page has no registrable domain (no URL, an IP address, a bare suffix)",
}
"""Notes about pages that were kept (and one about shards); counted beside the reasons, no part of the balance."""

DAMAGE: Mapping[str, str] = {
    "truncated": "the shard ends inside a record or a compressed member",
    "corrupt": "a compressed member or file does not decompress",
    "bad_length": "a record's Content-Length is missing, malformed or does not lead to the next record",
    "bomb": "the shard unpacks to over 100 times its bytes (64 MB are always allowed): the rest is not read",
    "bad_header": "something that is no WARC record stands where one should",
    "garbage": "bytes that are no compressed member stand where one should",
    "arc_format": "the shard is an ARC file, the format before WARC",
    "not_this_format": "the file is not what its name says",
    "empty": "the file has no bytes",
    "few_pages": "the shard gave no page, or lost more pages than it gave",
}
"""Every kind of damage to a shard."""


class Page(NamedTuple):
    """One row of the pages table; the fields are its columns, in order."""

    id: str
    url: str | None
    domain: str | None
    crawled_at: datetime | None
    text: str
    html_bytes: int | None
    shard: str
    shard_offset: int


class Rejected(NamedTuple):
    """A page that was lost: where it lies and one reason of `REJECTED`; `detail` is for people."""

    url: str | None
    shard: str
    shard_offset: int
    reason: str
    detail: str


class Damage(NamedTuple):
    """Where a shard is broken (byte, or row of a parquet file), a reason of `DAMAGE`, and what was found there."""

    offset: int
    reason: str
    detail: str


@dataclass
class ShardReport:
    """What one shard held. `counts` has `records`, `pages`, and every reason and flag that occurred.

    `bytes` says what became of each of its bytes (see `jobs.shards.balance`).
    """

    counts: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    damages: list[Damage] = field(default_factory=list)

    def damage(self, offset: int, reason: str, detail: str) -> None:
        """Note where the shard is broken; a list without end would tell no more."""
        if len(self.damages) < MOST_DAMAGES:
            self.damages.append(Damage(offset, reason, detail))
        elif len(self.damages) == MOST_DAMAGES:
            self.damages.append(Damage(offset, reason, f"{detail}; there are more after this one"))

    def flag(self, name: str, times: int = 1) -> None:
        """Count a flag (see `FLAGS`); one that did not occur leaves no zero behind."""
        if times:
            self.counts[name] += times

    def balanced(self) -> bool:
        """Whether every record seen is a page or has its reason, and every byte is of a record or lost for one."""
        records = self.counts["pages"] + sum(self.counts[reason] for reason in REASONS)
        return self.counts["records"] == records and balance.balanced(self.bytes)


@dataclass(frozen=True)
class ReadOptions:
    """How shards are read.

    `extract` names the HTML extractor (resiliparse, trafilatura, justext). `kind` is what a shard is (warc, parquet,
    jsonl, txt); None: what its name says. The columns name what holds the page in parquet and jsonl; a dot reaches into
    a struct or an object. `text_column` must exist, and those of text, id and url that are in `named`; the others may be
    absent. Without an `id_column` a page is known by its place; `id_per_shard` puts the shard's name before ids that
    restart in every file. The crawl time is taken from `crawled_at` or `date` where there is one. `resources` makes
    pages of a WARC's resource records, `paragraphs` of the paragraphs of plain text. `row_groups` is the slice of a
    parquet file that is read, from the first to before the second; None: all. `prefix` stands before the names of files in
    a selection (kind `index`), whose records are fetched with `at_once` requests at once.
    """

    extract: str = "resiliparse"
    kind: str | None = None
    text_column: str = "text"
    id_column: str | None = "id"
    id_per_shard: bool = False
    url_column: str = "url"
    named: tuple[str, ...] = ()
    resources: bool = False
    paragraphs: bool = False
    row_groups: tuple[int, int] | None = None
    prefix: str = ""
    at_once: int = 1
    limits: ReadLimits = field(default_factory=ReadLimits)


def too_long(text: str, limits: ReadLimits) -> str:
    """Why a text is rejected as too_large."""
    return f"the text has {len(text)} characters, the limit is {limits.characters}"


def registrable_domain(url: str | None) -> str | None:
    """The registrable domain of a URL by the Public Suffix List; None for a urn:, a bare suffix, an IP address.

    It is in ASCII, so that a host is one domain whether it is written in its own letters or as xn--. None too for a host
    with characters that could not be read.
    """
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return _domain_of(host) if host else None


@lru_cache(maxsize=1 << 16)
def _domain_of(host: str) -> str | None:
    found = _suffixes().privatesuffix((host if host.isascii() else _as_asked_of_dns(host)).rstrip("."))
    return None if found is None or UNREADABLE.search(found) else str(found)


def _as_asked_of_dns(host: str) -> str:
    """An international host name in ASCII, mapped by UTS 46 as browsers do; one that has no such form stays as it is."""
    try:
        mapped = idna.uts46_remap(host, std3_rules=False)
    except idna.IDNAError:
        return host
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in mapped.split("."))


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)
