"""What a page's address tells: is it on a list of blocked sites, and which words does it hold.

An entry blocks all that lies beneath it: `site.example` every host in that domain, `site.example/a` every page below that
path, on the host itself and on every host in its domain. So do the filters that UT1 makes its lists for (squidGuard for
domains, DansGuardian and e2guardian for paths too). datatrove (0.10.1) looks up the registrable domain, the whole host and
the whole URL only, and compares words without folding their case; here no deeper host, query or capital hides a page.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.heuristics.bad_words import load_words
from filters.kernels.lists import FNV_BASIS, LONGEST_ENTRY, Places, after_scheme, extend, find, finish, open_list
from filters.kernels.text import Bytes, Hashes, Offsets, kernel, next_byte
from filters.pages import PageBatch
from filters.signals import Count, Flag, Text, signal

LONGEST_HOST = 253  # octets of a domain name (RFC 1035, 2.3.4): bounds the work on what only looks like one
SLASH, QUESTION, HASH, AT, COLON, DOT, BRACKET, AND, EQUALS = (ord(mark) for mark in "/?#@:.[&=")


@kernel
def find_host(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """Begin and end of the host in a URL whose scheme ends at `at`, without user and port, and where its path begins."""
    stop = at
    while stop < end and data[stop] != SLASH and data[stop] != QUESTION and data[stop] != HASH:
        stop += 1
    start = at
    for k in range(at, stop):
        if data[k] == AT:
            start = k + 1
    last = stop
    if start < stop and data[start] != BRACKET:
        for k in range(start, stop):
            if data[k] == COLON:
                last = k
                break
    while last > start and data[last - 1] == DOT:
        last -= 1
    return start, last, stop


@kernel
def parent(data: Bytes, dot: int, end: int) -> int:
    """Where the domain above a host begins whose first dot stands at `dot`; `end` for an IP address, which has none."""
    return end if dot == end or 48 <= data[end - 1] <= 57 else dot + 1


@kernel
def find_domain(
    data: Bytes, start: int, end: int, hashes: Hashes, categories: Bytes, first: Places, shift: np.uint64
) -> int:
    """Category of the host or of the first domain above it that is listed, the top level too (UT1 lists xxx); else -1."""
    while start < end:
        state = FNV_BASIS
        dot = end
        for k in range(start, end):
            if data[k] == DOT and dot == end:
                dot = k
            state = extend(state, data[k])
        found = find(finish(state), hashes, categories, first, shift)
        if found >= 0:
            return found
        start = parent(data, dot, end)
    return -1


@kernel
def ends_part(byte: int) -> bool:
    """Whether a listed path may end before this byte of an address."""
    return byte in (SLASH, QUESTION, AND, EQUALS, HASH)


@kernel
def find_path(
    data: Bytes,
    start: int,
    last: int,
    path: int,
    end: int,
    hashes: Hashes,
    categories: Bytes,
    first: Places,
    shift: np.uint64,
) -> int:
    """Category of the shortest listed beginning of host and path, cut at / ? & = or the end; -1 if none is listed."""
    state = FNV_BASIS
    for k in range(start, last):
        state = extend(state, data[k])
    for k in range(path, min(end, path + LONGEST_ENTRY) + 1):
        if k > path and (k == end or ends_part(data[k])):
            found = find(finish(state), hashes, categories, first, shift)
            if found >= 0:
                return found
        if k == end or data[k] == HASH:
            break
        state = extend(state, data[k])
    return -1


@kernel
def find_urls(
    data: Bytes, offsets: Offsets, hashes: Hashes, categories: Bytes, first: Places, shift: np.uint64
) -> npt.NDArray[np.int16]:
    """Category of each URL, -1 where neither its host, a domain above it nor a part of its path is listed."""
    found = np.full(len(offsets) - 1, -1, np.int16)
    for page in range(len(offsets) - 1):
        end = offsets[page + 1]
        start, last, path = find_host(data, after_scheme(data, offsets[page], end), end)
        if last == start or last - start > LONGEST_HOST:
            continue
        category = find_domain(data, start, last, hashes, categories, first, shift)
        host = start
        while category < 0 and start < last and path < end:
            dot = next_byte(data, start, last, DOT)
            if dot == last and start > host:  # a top level has no pages
                break
            category = find_path(data, start, last, path, end, hashes, categories, first, shift)
            start = parent(data, dot, last)
        found[page] = category
    return found


def _urls(pages: PageBatch) -> PageBatch:
    if pages.url is None:
        return PageBatch(pa.nulls(len(pages), pa.large_string()))
    return PageBatch(pages.url)


@signal(group="url")
def has_url(pages: PageBatch) -> Flag:
    """Whether the page has an address at all: where it has none, a null `url_blocked` does not say that it is on no list."""
    return pages.once(_urls).valid


@signal(group="url")
def url_blocked(pages: PageBatch, *, blocked: str) -> Text:
    """Category of the first entry of the list `blocked` that the page's URL lies beneath, null where none does.

    blocked: a file that jobs.get_lists built, such as UT1's 4.6 million domains and URLs, which FineWeb drops.
    """
    listed = open_list(blocked)
    urls = pages.once(_urls)
    found = find_urls(urls.data, urls.offsets, listed.hashes, listed.categories, listed.first, np.uint64(listed.shift))
    nothing = (found < 0) | ~urls.valid
    return pa.array(listed.names, pa.string()).take(pa.array(np.where(nothing, 0, found), mask=nothing))


@signal(group="url")
def url_bad_word_count(pages: PageBatch, *, url_words: str) -> Count:
    """Pieces of the URL, between anything but letters and digits, that the list `url_words` holds; null without a URL.

    FineWeb drops a page for one of 215 hard words or two of 88 soft ones in its URL.
    """
    urls = pages.once(_urls)
    counts: Count = np.ma.masked_array(load_words(url_words, False).count(urls), ~urls.valid)
    return counts
