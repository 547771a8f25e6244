"""A file as a row of members: gzip members, zstd frames, or one plain whole; each knows how it ended.

The hard idea: gzip and zstd readers, ours and everyone's, take a stream that was cut off for one that ended, and lose
the rest of a file at the first corrupt member. So a member here ends `whole`, `truncated` or `corrupt`, its output is
read in bounded pieces whatever it claims to hold, and after damage the next member is looked for and tried.
"""

from __future__ import annotations

import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import zstandard

from jobs.shards.balance import PACKED, PADDING, Account

GZIP_MAGIC = b"\x1f\x8b\x08"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
WARC_DICTIONARY_MAGIC = b"\x5d\x2a\x4d\x18"  # the skippable frame that opens a .warc.zst with a dictionary
SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
MEMBER_MAGIC = re.compile(re.escape(GZIP_MAGIC) + b"|" + re.escape(ZSTD_MAGIC))
CHUNK = 1 << 15
# One zstd byte can stand for 32 KiB of output and the decoder gives all it has: 512 bytes bound a piece to 16 MiB.
ZSTD_FEED = 512
TAKEN_AT_ONCE = 1 << 20
# Each search for the next member may read the file to its end, so a file of nothing but damage would take quadratic time.
MOST_DAMAGES = 1000

# Crawls unpack to 4 to 20 times their bytes; more than this is made to hurt, or one page over and over.
MOST_TIMES, ALWAYS_ALLOWED = 100, 1 << 26

OnDamage = Callable[[int, str, str], None]


class Decoder(Protocol):
    """Turns compressed bytes into plain ones, at most about `limit` at a time."""

    @property
    def eof(self) -> bool:
        """Whether the member is complete and its checksum right."""

    @property
    def unused(self) -> bytes:
        """Input after the end of the member."""

    def decode(self, data: bytes, limit: int) -> tuple[bytes, bytes]:
        """The output of `data` and what of `data` waits for the next call."""


class GzipDecoder:
    """One gzip member, its CRC checked at the end."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        """See `Decoder`."""
        return self._inner.eof

    @property
    def unused(self) -> bytes:
        """See `Decoder`."""
        return self._inner.unused_data

    def decode(self, data: bytes, limit: int) -> tuple[bytes, bytes]:
        """See `Decoder`."""
        return self._inner.decompress(data, limit), self._inner.unconsumed_tail


class ZstdDecoder:
    """One zstd frame, its checksum checked where it has one."""

    def __init__(self, dictionary: bytes | None) -> None:
        known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._inner = zstandard.ZstdDecompressor(dict_data=known).decompressobj()
        self._rest = b""

    @property
    def eof(self) -> bool:
        """See `Decoder`."""
        return self._inner.eof

    @property
    def unused(self) -> bytes:
        """See `Decoder`."""
        return self._inner.unused_data + self._rest

    def decode(self, data: bytes, limit: int) -> tuple[bytes, bytes]:
        """See `Decoder`; `limit` is not kept exactly, the feed bounds the output."""
        output = self._inner.decompress(data[:ZSTD_FEED])
        rest = data[ZSTD_FEED:]
        if self._inner.eof:
            self._rest, rest = rest, b""
        return output, rest


class Allowance:
    """How much a file may still unpack to: what a few bytes can stand for has no end."""

    def __init__(self, packed: int) -> None:
        self.packed = packed
        self.left = ALWAYS_ALLOWED + MOST_TIMES * packed

    def take(self, unpacked: int) -> bool:
        """Whether so much more is allowed."""
        self.left -= unpacked
        return self.left >= 0

    @property
    def exceeded(self) -> str:
        """What is said of a file that unpacks to more."""
        return f"the file has {self.packed:,} bytes and unpacks to over {MOST_TIMES} times as many; the rest is not read"


class Member:
    """A readable stream over one member. `ended` is None until the end, then whole, truncated, corrupt or a bomb."""

    def __init__(self, file: BinaryIO, start: int, decoder: Decoder | None, allowance: Allowance) -> None:
        self.start = start
        self.end = start
        self.ended: str | None = None
        self.problem = ""
        self.compressed = decoder is not None
        self._file = file
        self._decoder = decoder
        self._allowance = allowance
        self._input = b""
        self._output = b""
        self._at = 0  # of the output what is before has been read: to cut it off each time takes quadratic time
        self._position = 0
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` decompressed bytes; empty only at the end, good or bad."""
        if size < 0:
            size = CHUNK
        self._fill(size)
        piece = self._output[self._at : self._at + size]
        self._at += len(piece)
        self._position += len(piece)
        return piece

    def peek(self, count: int = 1) -> bytes:
        """The bytes that come next, at least `count` if there are so many, without reading on."""
        self._output, self._at = self._output[self._at :], 0
        while len(self._output) < count and self.ended is None:
            self._output += self._next(CHUNK)
        return self._output

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end."""
        taken: list[bytes] = []
        while count > 0 and (piece := self.read(min(count, TAKEN_AT_ONCE))):
            taken.append(piece)
            count -= len(piece)
        return b"".join(taken)

    def tell(self) -> int:
        """Decompressed bytes read so far."""
        return self._position

    def skip(self, count: int) -> int:
        """Read on by `count` decompressed bytes and forget them; how many there were."""
        before = self._position
        while count > 0 and (self.compressed or self._at < len(self._output)) and (piece := self.read(min(count, CHUNK))):
            count -= len(piece)
        if not self.compressed and count > 0:
            here = self._file.tell()
            there = min(self._file.seek(0, io.SEEK_END), here + count)
            self._position += self._file.seek(there) - here
        return self._position - before

    def drain(self) -> None:
        """Read to the end and forget, so that `ended` is known."""
        if not self.compressed:
            self._file.seek(0, io.SEEK_END)
        while self.read(CHUNK):
            pass

    def _fill(self, size: int) -> None:
        while size and self._at == len(self._output) and self.ended is None:
            self._output, self._at = self._next(size), 0

    def _next(self, size: int) -> bytes:
        """More decompressed bytes, or none, which is the end only where `ended` says so."""
        return self._decode(size) if self._decoder else self._plain(size)

    def _plain(self, size: int) -> bytes:
        data = self._file.read(size)
        if not data:
            self.ended, self.end = "whole", self._file.tell()
        return data

    def _decode(self, size: int) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        data = self._input or self._file.read(CHUNK)
        if not data:
            self.ended, self.problem = "truncated", "the file ends inside a compressed member"
            return b""
        try:
            output, self._input = decoder.decode(data, size)
        except (zlib.error, zstandard.ZstdError) as error:
            self.ended, self.problem = "corrupt", str(error)
            return b""
        if not self._allowance.take(len(output)):
            self.ended, self.problem = "bomb", self._allowance.exceeded
            return b""
        if decoder.eof:
            self.ended, self.end = "whole", self._file.tell() - len(decoder.unused)
        return output


class Members:
    """The members of a seekable file from `start` on, in order, going on after damage.

    `begins` is what the text of a member must start with to be believed after damage, so that no magic number inside
    compressed data is taken for a member. Damage goes to `on_damage(offset, reason, detail)`; NULs after the last
    member are no damage (copies of sparse files end so), only `padded`. Every byte goes to `counts` as read or lost.
    """

    def __init__(
        self, file: BinaryIO, begins: bytes, on_damage: OnDamage, start: int = 0, counts: Counter[str] | None = None
    ) -> None:
        self.padded = False
        self.size = file.seek(0, io.SEEK_END)
        self._account = Account(Counter() if counts is None else counts, PACKED, start)
        self._file = file
        self._begins = begins
        self._start = start
        self._on_damage = on_damage
        self._dictionary: bytes | None = None
        self._allowance = Allowance(self.size)

    def open(self, start: int) -> Member:
        """The member at `start`, from its beginning."""
        self._file.seek(start)
        magic = self._file.read(4)
        decoder: Decoder | None = None
        if magic.startswith(GZIP_MAGIC):
            decoder = GzipDecoder()
        elif magic == ZSTD_MAGIC:
            decoder = ZstdDecoder(self._dictionary)
        return Member(self._file, start, decoder, self._allowance)

    def __iter__(self) -> Iterator[Member]:
        """Each member once; it is read to its end before the next is given."""
        position: int | None = self._after_skippable(self._start)
        damages = 0
        while position is not None and damages < MOST_DAMAGES:
            if not self._magic_at(position) and not self._plain(position):
                damages += 1
                position = self._garbage(position)
                continue
            member = self.open(position)
            yield member
            member.drain()
            if member.ended == "whole":
                self._account.read_to(member.end)
                position = self._after_skippable(member.end)
            elif member.ended == "bomb":
                self._lost(member.start, None, "bomb", member.problem)
                return
            else:
                damages += 1
                position = self._next_member(member.start + 1)
                reason = "corrupt" if position is not None else str(member.ended)
                self._lost(member.start, position, reason, member.problem)
        if damages >= MOST_DAMAGES and position is not None:
            self._lost(position, None, "corrupt", f"gave up after {MOST_DAMAGES} damages")

    def refuse(self, reason: str, detail: str) -> None:
        """Nothing of this file is read."""
        self._lost(0, None, reason, detail)

    def _lost(self, position: int, until: int | None, reason: str, detail: str) -> None:
        """Damage from here to there, or to the end of the file."""
        self._account.lost_to(self.size if until is None else until, reason)
        self._on_damage(position, reason, detail)

    def _plain(self, position: int) -> bool:
        """Whether the file is not compressed at all, rather than damaged in its very first bytes."""
        if position:
            return False
        self._file.seek(0)
        return self._file.read(len(self._begins)) == self._begins or self._next_member(0) is None

    def _magic_at(self, position: int) -> bool:
        self._file.seek(position)
        return MEMBER_MAGIC.match(self._file.read(4)) is not None

    def _after_skippable(self, position: int) -> int | None:
        """Where the next member stands after skippable zstd frames, None at the end of the file."""
        while True:
            self._file.seek(position)
            head = self._file.read(8)
            if not head:
                return None
            if len(head) < 8 or not SKIPPABLE.match(head):
                return position
            size = int.from_bytes(head[4:], "little")
            if position + 8 + size > self.size:
                self._lost(position, None, "truncated", "the file ends inside a skippable frame")
                return None
            if position == 0 and head.startswith(WARC_DICTIONARY_MAGIC):
                self._dictionary = _dictionary(self._file.read(min(size, 1 << 24)))
            position += 8 + size
            self._account.read_to(position)

    def _garbage(self, position: int) -> int | None:
        """Tell what stands at `position` where a member should, and find the next one."""
        after_nuls = _skip_nuls(self._file, position)
        if after_nuls is None:
            self.padded = True
            self._account.lost_to(self.size, PADDING)
            return None
        found = self._next_member(position)
        self._file.seek(after_nuls)
        sample = self._file.read(40)
        until = "to the end of the file" if found is None else f"up to byte {found}"
        self._lost(position, found, "garbage", f"no compressed member {until}; found {sample!r}")
        return found

    def _next_member(self, position: int) -> int | None:
        """The first believable member at or after `position`."""
        read_from = position

        def read(size: int) -> bytes:  # the trials in between move the file
            nonlocal read_from
            self._file.seek(read_from)
            piece = self._file.read(size)
            read_from += len(piece)
            return piece

        starts = (position + found for found in find(read, MEMBER_MAGIC, longest=4))
        return next((start for start in starts if self._believable(start)), None)

    def _believable(self, start: int) -> bool:
        return self.open(start).take(len(self._begins)) == self._begins


def _dictionary(frame: bytes) -> bytes:
    """The dictionary in the first frame of a .warc.zst, which may itself be compressed (IIPC, WARC zstd 1.0)."""
    if not frame.startswith(ZSTD_MAGIC):
        return frame
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=1 << 24)


def _skip_nuls(file: BinaryIO, position: int) -> int | None:
    """Where the first byte other than NUL stands at or after `position`; None when there is none."""
    file.seek(position)
    while chunk := file.read(CHUNK):
        rest = chunk.lstrip(b"\0")
        if rest:
            return position + len(chunk) - len(rest)
        position += len(chunk)
    return None


def find(read: Callable[[int], bytes], pattern: re.Pattern[bytes], longest: int) -> Iterator[int]:
    """Where in a stream `pattern` matches, counted from where the stream stands; no match is over `longest` bytes."""
    position, window = 0, b""
    while piece := read(1 << 20):
        window += piece
        for match in pattern.finditer(window):
            if match.start() <= len(window) - longest:
                yield position + match.start()
        kept = max(0, len(window) - longest + 1)
        position, window = position + kept, window[kept:]
    for match in pattern.finditer(window):
        yield position + match.start()
