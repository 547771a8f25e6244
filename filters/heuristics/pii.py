"""Personal data in plain sight: e-mail addresses, IP addresses, telephone numbers; counted, and masked on request.

Written as one scan rather than regular expressions: an address is looked for around an @, a number from its first digit on,
and nothing is read more than twice, so that no page can make it slow. What is found is what is written plainly; names and
street addresses are not looked for, and a number that merely looks like a telephone's is counted.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.text import Bytes, Offsets, kernel, next_byte
from filters.pages import PageBatch
from filters.signals import Count, signal
from filters.transforms import transform

EMAIL, IP_ADDRESS, PHONE = 0, 1, 2
MASKS = (b"<email>", b"<ip-address>", b"<phone>")

DIGIT, LETTER, LOCAL, DOMAIN, SEPARATOR, HEX = 1, 2, 4, 8, 16, 32
"""Classes of ASCII: e-mail's local part and domain, what stands between a telephone number's digits, hexadecimal digits."""

LONGEST_IPV6 = 39
FEWEST_DIGITS, MOST_DIGITS = 8, 15  # of a number with its country code; the most by ITU-T E.164
NATIONAL_DIGITS = 10  # of a number with its trunk prefix 0, the most common length in Europe and Australia


def _ascii() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for code in range(128):
        character = chr(code)
        table[code] = DIGIT * character.isdigit() | LETTER * character.isalpha()
        table[code] |= LOCAL * (character.isalnum() or character in "._%+-") | DOMAIN * (
            character.isalnum() or character in ".-"
        )
        table[code] |= SEPARATOR * (character in " -./()") | HEX * (character in "0123456789abcdefABCDEF")
    return table


ASCII = _ascii()


@dataclass(frozen=True)
class Found:
    """Spans in page order: span k is `data[starts[k]:ends[k]]` of kind `kinds[k]`; page i owns `first[i]:first[i + 1]`."""

    starts: Offsets
    ends: Offsets
    kinds: npt.NDArray[np.uint8]
    first: Offsets

    def count(self, kind: int) -> Count:
        """Spans of one kind per page; shape (pages,)."""
        before = np.concatenate([[0], np.cumsum(self.kinds == kind)])
        counts: Count = np.diff(before[self.first])
        return counts


@kernel
def is_word(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> bool:
    """Whether an ASCII letter or digit stands at `at`, if that is within the page."""
    return start <= at < end and ascii_[data[at]] & (DIGIT | LETTER) != 0


@kernel
def find_email(data: Bytes, at: int, free: int, end: int, ascii_: Bytes) -> tuple[int, int]:
    """Span of the e-mail address around the @ at `at`, not before `free`; (at, at) where there is none."""
    left = at
    while left > free and ascii_[data[left - 1]] & LOCAL:
        left -= 1
    while left < at and data[left] == 46:
        left += 1
    if left == at or data[at - 1] == 46:
        return at, at
    right = at + 1
    while right < end and ascii_[data[right]] & DOMAIN and not (data[right] == 46 and data[right - 1] == 46):
        right += 1
    while right > at + 1 and not ascii_[data[right - 1]] & (DIGIT | LETTER):
        right -= 1
    last = right
    while last > at + 1 and ascii_[data[last - 1]] & LETTER:
        last -= 1
    # The last label is letters, at least two, and others stand before it.
    if right - last < 2 or last < at + 3 or data[last - 1] != 46 or not ascii_[data[at + 1]] & (DIGIT | LETTER):
        return at, at
    return left, right


@kernel
def is_public(a: int, b: int, c: int) -> bool:
    """Whether a.b.c.x is a public unicast address: none of IANA's special-purpose blocks (RFC 6890)."""
    if a in (0, 10, 127) or a >= 224:
        return False
    if (
        (a == 100 and 64 <= b < 128)
        or (a == 169 and b == 254)
        or (a == 172 and 16 <= b < 32)
        or (a == 198 and b in (18, 19))
    ):
        return False
    if a == 192 and (b == 168 or (b == 0 and c in (0, 2))):
        return False
    return not ((a == 198 and b == 51 and c == 100) or (a == 203 and b == 0 and c == 113))


@kernel
def find_ipv4(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> int:
    """End of the public IPv4 address that begins at `at`; `at` where there is none."""
    if is_word(data, at - 1, start, end, ascii_) or (at > start and data[at - 1] == 46):
        return at
    numbers = np.zeros(4, np.int64)
    here = at
    for part in range(4):
        begin = here
        while here < end and here < begin + 4 and ascii_[data[here]] & DIGIT:
            numbers[part] = 10 * numbers[part] + data[here] - 48
            here += 1
        digits = here - begin
        if digits == 0 or digits > 3 or numbers[part] > 255 or (digits > 1 and data[begin] == 48):
            return at
        if part < 3:
            if here == end or data[here] != 46:
                return at
            here += 1
    longer = here + 1 < end and data[here] == 46 and ascii_[data[here + 1]] & DIGIT
    if longer or is_word(data, here, start, end, ascii_) or not is_public(numbers[0], numbers[1], numbers[2]):
        return at
    return here


@kernel
def is_ipv6(written: Bytes, ascii_: Bytes) -> bool:
    """Whether hexadecimal digits and colons make an IPv6 address outside the block for documentation (RFC 3849)."""
    groups, digits, value, gaps, first = 0, 0, 0, 0, 0
    for k in range(len(written)):
        code = int(written[k])
        if code != 58:
            digits += 1
            value = value * 16 + (code - 48 if code < 58 else (code | 32) - 87)
            if digits > 4:
                return False
        elif digits:
            first = value if groups == 0 else first
            if groups == 1 and gaps == 0 and first == 0x2001 and value == 0xDB8:
                return False
            groups += 1
            digits, value = 0, 0
        else:
            gaps += 1
    groups += digits > 0
    return groups == 8 if gaps == 0 else gaps == 1 and groups < 8


@kernel
def find_ipv6(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> int:
    """End of the global unicast IPv6 address (2000::/3) that begins at `at`; `at` where there is none."""
    if is_word(data, at - 1, start, end, ascii_) or (at > start and (data[at - 1] == 46 or data[at - 1] == 58)):
        return at
    if at + 5 >= end or next_byte(data, at, at + 5, 58) != at + 4 or (data[at] != 50 and data[at] != 51):
        return at  # the first group has four digits: 212:: is outside 2000::/3
    here = at
    while here < end and (data[here] == 58 or ascii_[data[here]] & HEX):
        here += 1
    if is_word(data, here, start, end, ascii_) or here - at > LONGEST_IPV6 + 1:
        return at
    if data[here - 1] == 58 and data[here - 2] != 58:  # a colon of the sentence
        here -= 1
    return here if is_ipv6(data[at:here], ascii_) else at


@kernel
def find_digits(data: Bytes, at: int, end: int, wanted: int, ascii_: Bytes) -> int:
    """End of exactly `wanted` digits from `at` on, -1 where there are fewer; more are the caller's business."""
    if at < 0 or at + wanted > end:
        return -1
    for k in range(at, at + wanted):
        if not ascii_[data[k]] & DIGIT:
            return -1
    return at + wanted


@kernel
def find_area(data: Bytes, at: int, end: int, ascii_: Bytes) -> tuple[int, int]:
    """Where area code (three digits from 200 on) and exchange of a North American number at `at` begin; -1 if none does."""
    here = at
    if data[here] == 49 and here + 1 < end and (data[here + 1] == 45 or data[here + 1] == 46 or data[here + 1] == 32):
        here += 2
    bracket = here < end and data[here] == 40
    area = here + int(bracket)
    here = find_digits(data, area, end, 3, ascii_)
    if here < 0 or here >= end or data[area] < 50:
        return -1, -1
    if bracket:
        if data[here] != 41:
            return -1, -1
        here += 1
    if here < end and (data[here] == 32 or data[here] == 45 or data[here] == 46):
        return area, here + 1
    return (area, here) if bracket else (-1, -1)


@kernel
def goes_on(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> bool:
    """Whether a number that ends at `at` is part of something longer: a word, an e-mail address, more digits."""
    if is_word(data, at, start, end, ascii_) or (at < end and data[at] == 64):
        return True
    return at + 1 < end and (data[at] == 45 or data[at] == 46) and ascii_[data[at + 1]] & DIGIT != 0


@kernel
def in_a_row(data: Bytes, at: int, last: int, start: int, end: int, ascii_: Bytes) -> bool:
    """Whether one blank or mark stands between `data[at:last]` and another digit: part of a row, a time, an amount."""
    before = at > start + 1 and ascii_[data[at - 2]] & DIGIT != 0 and (data[at - 1] == 32 or 44 <= data[at - 1] <= 47)
    behind = last + 1 < end and ascii_[data[last + 1]] & DIGIT != 0
    return before or (behind and (data[last] == 32 or 44 <= data[last] <= 47 or data[last] == 58))


@kernel
def find_american(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> int:
    """End of a North American number from `at` on, `at` where there is none.

    `(212) 555-1234`, `212-555-1234`, `212 555 1234`, `(212) 5551234`, with or without `1` before; area and exchange begin
    with 2 to 9. Without a mark before its last four digits a number is none in a row of numbers, nor with one of 200 to 700
    for an area, which are amounts.
    """
    if is_word(data, at - 1, start, end, ascii_) or (at > start and data[at - 1] == 43):
        return at
    if at > start + 1 and (data[at - 1] == 45 or data[at - 1] == 46) and ascii_[data[at - 2]] & DIGIT:
        return at
    area, exchange = find_area(data, at, end, ascii_)
    here = find_digits(data, exchange, end, 3, ascii_)
    if here < 0 or here >= end or data[exchange] < 50:
        return at
    marked, blank = data[here] == 45 or data[here] == 46, data[here] == 32
    if not (marked or blank or data[area + 3] == 41):
        return at
    here = find_digits(data, here + int(marked or blank), end, 4, ascii_)
    if here < 0 or goes_on(data, here, start, end, ascii_):
        return at
    amount = data[area] < 56 and data[area + 1] == 48 and data[area + 2] == 48
    return at if not marked and (amount or in_a_row(data, at, here, start, end, ascii_)) else here


@kernel
def read_groups(data: Bytes, at: int, end: int, ascii_: Bytes, sizes: Offsets) -> tuple[int, int]:
    """How many groups of digits, one blank between, begin at `at`, and where the last ends; as many as fit in `sizes`."""
    groups, last = 0, at
    while groups < len(sizes):
        here = at
        while here < end and here - at <= NATIONAL_DIGITS and ascii_[data[here]] & DIGIT:
            here += 1
        if here == at:
            break
        sizes[groups] = here - at
        groups, last = groups + 1, here
        if here >= end or data[here] != 32:
            break
        at = here + 1
    return groups, last


@kernel
def counts_up(data: Bytes, at: int, last: int) -> bool:
    """Whether pairs of digits with one blank between count up by one: page numbers, a row of a calendar."""
    rising = True
    for k in range(at + 3, last, 3):
        rising = rising and 10 * (int(data[k]) - int(data[k - 3])) + int(data[k + 1]) - int(data[k - 2]) == 1
    return rising


@kernel
def find_national(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> int:
    """End of a ten-digit number with its trunk prefix 0 from `at` on, `at` where there is none.

    `02 28 16 48 71`, `0800 555 111`, `(0341) 696290`: groups of two or more digits, one blank between, the first perhaps in
    brackets. A first group of two that is not in brackets begins five pairs (else it may begin a date).
    """
    bracket = data[at] == 40
    zero = at + int(bracket)
    if is_word(data, at - 1, start, end, ascii_) or (at > start and data[at - 1] == 43):
        return at
    if zero + 1 >= end or data[zero] != 48 or data[zero + 1] < 49 or data[zero + 1] > 57:
        return at
    sizes = np.zeros(NATIONAL_DIGITS // 2, np.int64)
    groups, here = read_groups(data, zero, end, ascii_, sizes)
    if bracket:
        if groups > 1 or here >= end or data[here] != 41:
            return at
        here += 1 + int(here + 1 < end and data[here + 1] == 32)
        more, here = read_groups(data, here, end, ascii_, sizes[1:])
        groups += more
    if groups < 2 or sizes.sum() != NATIONAL_DIGITS or sizes[:groups].min() < 2:
        return at
    if not bracket and (counts_up(data, at, here) if groups == len(sizes) else sizes[0] == 2):
        return at
    return at if goes_on(data, here, start, end, ascii_) or in_a_row(data, at, here, start, end, ascii_) else here


@kernel
def find_international(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> int:
    """End of a number with a country code after the + at `at`: 8 to 15 digits, up to two separators between; else `at`."""
    if is_word(data, at - 1, start, end, ascii_) or (at > start and data[at - 1] == 43):
        return at
    if at + 1 >= end or data[at + 1] < 49 or data[at + 1] > 57:
        return at
    digits, apart, last = 0, 0, at
    here = at + 1
    while here < end and apart <= 2 and digits <= MOST_DIGITS:
        if ascii_[data[here]] & DIGIT:
            digits += 1
            apart = 0
            last = here + 1
        elif ascii_[data[here]] & SEPARATOR:
            apart += 1
        else:
            break
        here += 1
    if not FEWEST_DIGITS <= digits <= MOST_DIGITS or goes_on(data, last, start, end, ascii_):
        return at
    return last


@kernel
def find_number(data: Bytes, at: int, start: int, end: int, ascii_: Bytes) -> tuple[int, int]:
    """End and kind of the IP address or telephone number that begins at `at`; (at, 0) where there is none."""
    byte = data[at]
    if byte == 43:
        return find_international(data, at, start, end, ascii_), PHONE
    if byte == 40:
        last = find_american(data, at, start, end, ascii_)
        return last if last > at else find_national(data, at, start, end, ascii_), PHONE
    last = find_ipv4(data, at, start, end, ascii_)
    if last > at:
        return last, IP_ADDRESS
    last = find_ipv6(data, at, start, end, ascii_)
    if last > at:
        return last, IP_ADDRESS
    last = find_american(data, at, start, end, ascii_)
    return last if last > at else find_national(data, at, start, end, ascii_), PHONE


@kernel
def find_spans(data: Bytes, offsets: Offsets, ascii_: Bytes) -> tuple[Offsets, Offsets, Bytes, Offsets]:
    """The fields of `Found`; spans do not overlap, the first one wins."""
    pages = len(offsets) - 1
    most = (offsets[-1] - offsets[0]) // 6 + 1  # the shortest is a@b.cc
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    kinds = np.empty(most, np.uint8)
    first = np.zeros(pages + 1, np.int64)
    found = 0
    for page in range(pages):
        start, end = offsets[page], offsets[page + 1]
        at = free = start
        while at < end:
            byte = data[at]
            left, right, kind = at, at, EMAIL
            if byte == 64:
                left, right = find_email(data, at, free, end, ascii_)
            elif byte == 43 or byte == 40 or ascii_[byte] & DIGIT:
                right, kind = find_number(data, at, start, end, ascii_)
            if right > left:
                starts[found], ends[found], kinds[found] = left, right, kind
                found += 1
                at = free = right
            else:
                at += 1
        first[page + 1] = found
    return starts[:found], ends[:found], kinds[:found], first


def find_pii(pages: PageBatch) -> Found:
    """All e-mail addresses, public IP addresses and telephone numbers of the batch."""
    return Found(*find_spans(pages.data, pages.offsets, ASCII))


@signal(group="pii")
def email_count(pages: PageBatch) -> Count:
    """E-mail addresses in plain ASCII writing. FineWeb masks them (Penedo et al. 2024, arXiv 2406.17557)."""
    return pages.once(find_pii).count(EMAIL)


@signal(group="pii")
def ip_address_count(pages: PageBatch) -> Count:
    """IPv4 and IPv6 addresses that belong to a public host. FineWeb masks them; private and reserved ones tell of nobody."""
    return pages.once(find_pii).count(IP_ADDRESS)


@signal(group="pii")
def phone_count(pages: PageBatch) -> Count:
    """Telephone numbers: `+` and 8 to 15 digits, a North American number, or ten digits from 0 on in groups.

    National numbers of other countries and lengths are not told from other numbers and are not counted.
    """
    return pages.once(find_pii).count(PHONE)


@kernel
def write_masked(
    data: Bytes,
    offsets: Offsets,
    starts: Offsets,
    ends: Offsets,
    kinds: Bytes,
    first: Offsets,
    masks: Bytes,
    ends_of: Offsets,
) -> tuple[Bytes, Offsets]:
    """The text with each span replaced by the mask of its kind, and where each page begins in it."""
    longest = 0
    for kind in range(len(ends_of) - 1):
        longest = max(longest, ends_of[kind + 1] - ends_of[kind])
    out = np.empty(offsets[-1] - offsets[0] + longest * len(starts), np.uint8)
    begins = np.zeros(len(offsets), np.int64)
    to = 0
    for page in range(len(offsets) - 1):
        at = offsets[page]
        for k in range(first[page], first[page + 1] + 1):
            stop = starts[k] if k < first[page + 1] else offsets[page + 1]
            out[to : to + stop - at] = data[at:stop]
            to += stop - at
            if k < first[page + 1]:
                mask = masks[ends_of[kinds[k]] : ends_of[kinds[k] + 1]]
                out[to : to + len(mask)] = mask
                to += len(mask)
                at = ends[k]
        begins[page + 1] = to
    return out[:to], begins


@transform
def mask_pii(pages: PageBatch) -> pa.Array:
    """Each e-mail address, IP address and telephone number becomes `<email>`, `<ip-address>`, `<phone>`."""
    found = pages.once(find_pii)
    masks = np.frombuffer(b"".join(MASKS), np.uint8)
    ends_of = np.cumsum([0, *map(len, MASKS)])
    text, begins = write_masked(
        pages.data, pages.offsets, found.starts, found.ends, found.kinds, found.first, masks, ends_of
    )
    masked = pa.LargeStringArray.from_buffers(len(pages), pa.py_buffer(begins), pa.py_buffer(text))
    return masked if pages.valid.all() else pa.compute.if_else(pa.array(pages.valid), masked, pa.scalar(None, masked.type))
