"""Personal data: what is plainly written is found once, what only looks similar is not, and masking replaces just that."""

import ipaddress
import itertools
import re
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.heuristics.pii import EMAIL, IP_ADDRESS, MASKS, PHONE, find_pii, mask_pii
from filters.pages import PageBatch
from filters.signals import GROUPS

PUBLIC = re.compile(r"(?<![0-9A-Za-z.])(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})(?![0-9A-Za-z]|\.[0-9])", re.ASCII)
IPV6 = re.compile(r"(?<![0-9A-Za-z.:])[23][0-9A-Za-z]{3}:[0-9A-Fa-f:]+(?![0-9A-Za-z])", re.ASCII)
AMERICAN = re.compile(
    r"(?<![0-9A-Za-z+])(?<![0-9][-.])(?:1[-. ])?(?:\([2-9][0-9]{2}\)[-. ]?|[2-9][0-9]{2}[-. ])"
    r"[2-9][0-9]{2}[-.][0-9]{4}(?![0-9A-Za-z@]|[-.][0-9])",
    re.ASCII,
)
LOOSE = re.compile(
    r"(?<![0-9A-Za-z+])(?<![0-9][-. ,/])(?:1[-. ])?(?!\(?[2-7]00)"
    r"(?:\([2-9][0-9]{2}\)[-. ]?[2-9][0-9]{2} ?|[2-9][0-9]{2}[-. ][2-9][0-9]{2} )[0-9]{4}(?![0-9A-Za-z@]|[-. ,/:][0-9])",
    re.ASCII,
)
NATIONAL = re.compile(
    r"(?<![0-9A-Za-z+])(?<![0-9][-. ,/])(?=(?:[ ()]*[0-9]){10}(?![ ]?[0-9]))"
    r"(?:\(0[1-9][0-9]*\) ?[0-9]{2,}(?: [0-9]{2,})*|0[1-9](?: [0-9]{2}){4}|0[1-9][0-9]+(?: [0-9]{2,})+)"
    r"(?![0-9A-Za-z@]|[-. ,/:][0-9])",
    re.ASCII,
)
INTERNATIONAL = re.compile(r"(?<![0-9A-Za-z+])\+[1-9](?:[-. /()]{0,2}[0-9])*", re.ASCII)
EMAIL_RUN = re.compile(r"@([A-Za-z0-9-]*(?:\.(?!\.)[A-Za-z0-9-]*)*)", re.ASCII)


def slow_email(text: str, at: int, free: int) -> tuple[int, int] | None:
    local = re.search(r"[A-Za-z0-9._%+-]*$", text[free:at], re.ASCII)[0].lstrip(".")
    domain = EMAIL_RUN.match(text, at)[1].rstrip(".-")
    labels = domain.split(".")
    good = len(labels) > 1 and len(domain) > len(labels[-1]) + 1 and re.fullmatch("[A-Za-z]{2,}", labels[-1], re.ASCII)
    if not local or local.endswith(".") or not good or not re.match("[A-Za-z0-9]", domain, re.ASCII):
        return None
    return at - len(local), at + 1 + len(domain)


def is_address(written: str) -> bool:
    try:
        return ipaddress.IPv6Address(written) not in ipaddress.IPv6Network("2001:db8::/32")
    except ValueError:
        return False


def slow_number(text: str, at: int) -> tuple[int, int, int] | None:
    if text[at] == "+":
        match = INTERNATIONAL.match(text, at)
        if (
            match
            and 8 <= sum(c.isdigit() for c in match[0]) <= 15
            and not re.match(r"[0-9A-Za-z@]|[-.][0-9]", text[match.end() :])
        ):
            return at, match.end(), PHONE
        return None
    match = PUBLIC.match(text, at)
    if match and all(int(part) < 256 for part in match[0].split(".")):
        address = ipaddress.IPv4Address(match[0])
        if address.is_global and not address.is_multicast:
            return at, match.end(), IP_ADDRESS
    match = IPV6.match(text, at)
    if match and len(match[0]) <= 40:
        written = match[0][:-1] if match[0].endswith(":") and not match[0].endswith("::") else match[0]
        if is_address(written):
            return at, at + len(written), IP_ADDRESS
    match = AMERICAN.match(text, at) or LOOSE.match(text, at) or slow_national(text, at)
    return (at, match.end(), PHONE) if match else None


def slow_national(text: str, at: int) -> re.Match[str] | None:
    match = NATIONAL.match(text, at)
    if match is None or sum(c.isdigit() for c in match[0]) != 10:
        return None
    pairs = [int(pair) for pair in match[0].split(" ")] if len(match[0]) == 14 and "(" not in match[0] else []
    rising = len(pairs) == 5 and all(b - a == 1 for a, b in itertools.pairwise(pairs))
    return None if rising else match


def slow_spans(text: str) -> list[tuple[int, int, int]]:
    found, at, free = [], 0, 0
    while at < len(text):
        span = None
        if text[at] == "@" and (email := slow_email(text, at, free)):
            span = (*email, EMAIL)
        elif text[at] in "+(0123456789":
            span = slow_number(text, at)
        if span:
            found.append(span)
            at = free = span[1]
        else:
            at += 1
    return found


def spans(text: str) -> list[tuple[int, int, int]]:
    found = find_pii(PageBatch(pa.array([text])))
    return list(zip(found.starts.tolist(), found.ends.tolist(), found.kinds.tolist(), strict=True))


PARTS = (
    "a b.co @ . .. - + ( ) / : :: 1 212 555 1234 212-555-1234 (212) 8.8.8.8 255.256 10.0 2001: 2a00:1450 db8 +49 30 0 _ x.ex"
    " 02 28 16 0341 (0341) 696290 0800 111 2345 , (212)555"
)
TEXTS = st.lists(st.one_of(st.sampled_from([*PARTS.split(), " "]), st.text("ab1290.@-+(): ", max_size=4)), max_size=14).map(
    "".join
)


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(TEXTS)
def test_the_scan_finds_what_the_slow_twin_finds(text):
    assert spans(text) == slow_spans(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to jane.doe+web@mail.example.org.", ["jane.doe+web@mail.example.org"]),
        ("(me@site.co.uk), you@site.example", ["me@site.co.uk", "you@site.example"]),
        ("a@b, @handle, x@localhost, v@1.2, icon@2", []),
        ("host 8.8.8.8, not 10.1.2.3, 127.0.0.1, 192.168.0.1, 203.0.113.5 or 239.1.1.1", ["8.8.8.8"]),
        ("version 1.2.3.4.5 and v1.2.3.4, 256.1.1.1, 01.2.3.4", []),
        (
            "at 2a00:1450:4001:82b::200e: ours, 2001:db8::1 documentation, 212::5 none, 2023:10:11 a time",
            ["2a00:1450:4001:82b::200e"],
        ),
        ("call (212) 555-1234 or 1-212-555-1235 or 212.555.1236", ["(212) 555-1234", "1-212-555-1235", "212.555.1236"]),
        (
            "+49 (0) 30 1234567, +1 212 555 1234; +33.1.23.45.67.89",
            ["+49 (0) 30 1234567", "+1 212 555 1234", "+33.1.23.45.67.89"],
        ),
        ("ISBN 978-3-16-148410-0, 2024-11-23, 1234567890, 200 300 4000, +5, C++11", []),
        (
            "212 555 1234, (212) 555 1234, (212)5551234; 1 212 555 1234",
            ["212 555 1234", "(212) 555 1234", "(212)5551234", "1 212 555 1234"],
        ),
        (
            "call 02 28 16 48 71 or 0800 555 111 or (0341) 696290, (02) 9374 4000!",
            ["02 28 16 48 71", "0800 555 111", "(0341) 696290", "(02) 9374 4000"],
        ),
        ("rows 10 212 555 1234, 212 555 1234 10, 0800 555 111 22, 1 0800 555 111; pages 01 02 03 04 05", []),
        ("dates 05 12 2019 14:30, 05 12 2019 14; amounts 300 400 5000 and 0123 4567 89,50; 0800555111", []),
        ("2125551234@x.example and 212-555-1234@x.example", ["2125551234@x.example", "212-555-1234@x.example"]),
    ],
)
def test_what_counts_and_what_does_not(text, found):
    assert [text[start:end] for start, end, _ in spans(text)] == found


def test_counts_are_columns_and_a_page_without_text_has_none():
    texts = pa.array(["a@b.cc 8.8.8.8", None, "", "+1 212 555 1234 c@d.ee f@g.hh"])
    columns = {name: signal.measure(PageBatch(texts), {}).to_pylist() for name, signal in GROUPS["pii"].items()}
    assert columns == {"email_count": [1, None, 0, 2], "ip_address_count": [1, None, 0, 0], "phone_count": [0, None, 0, 1]}


def test_masking_replaces_each_and_touches_nothing_else():
    texts = pa.array(["é a@b.cc, 8.8.8.8\n+1 212 555 1234 日本", None, "", "plain"], pa.large_string())
    masked = mask_pii(PageBatch(texts))
    assert masked.to_pylist() == ["é <email>, <ip-address>\n<phone> 日本", None, "", "plain"]
    masked.validate(full=True)
    assert mask_pii(PageBatch(texts.slice(1, 3))).to_pylist() == [None, "", "plain"]


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_masking_is_the_slow_replacement_and_leaves_valid_text(texts):
    def slow(text: str) -> str:
        at, out = 0, []
        for start, end, kind in slow_spans(text):
            out += [text[at:start], MASKS[kind].decode()]
            at = end
        return "".join([*out, text[at:]])

    masked = mask_pii(PageBatch(pa.array(texts, pa.large_string())))
    masked.validate(full=True)
    assert masked.to_pylist() == [slow(text) for text in texts]


REPEATED = "@|a@|a@b.|1.|1|+1 1|+|(|(212) |2001:|2001:1:: |a@b.cc|8.8.8.8 |212-555-|@a.|01 |(01)|012 34 |212 555 "
WORST = [(part * (10**6 // len(part) + 1))[: 10**6] for part in REPEATED.split("|")]
WORST += ["a" * 10**6 + "@", "." * 10**6 + "@a.bb", "-" * 10**6 + "@", "@" + "a." * 500_000]


@pytest.mark.parametrize("text", WORST, ids=lambda text: f"{text[:8]!r}x{len(text)}")
def test_a_megabyte_of_the_worst_takes_under_a_second(text):
    mask_pii(PageBatch(pa.array(["a@b.cc"], pa.large_string())))
    begin = time.process_time()
    mask_pii(PageBatch(pa.array([text], pa.large_string())))
    assert time.process_time() - begin < 1


def test_broken_utf8_stays_within_its_page():
    broken = pa.array([b"x@", b"b.cc \xff 8.8.8.8\xe2", b"@y.zz"]).view(pa.string())
    found = find_pii(PageBatch(broken))
    assert np.diff(found.first).tolist() == [0, 1, 0]
