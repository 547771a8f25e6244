"""However a compressed file is broken, what is whole is read and what is not is known."""

import gzip
import io
import random
from collections import Counter

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.shards import members as members_module
from jobs.shards.members import CHUNK, MEMBER_MAGIC, Allowance, Members, find

NOISE = random.Random(7)
TEXTS = [b"WARC/1.0 " + str(n).encode() + b" " + NOISE.randbytes(300) + b"abc" * 200 for n in range(4)]
PACK = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor(write_checksum=True).compress}


def read_all(data, begins=b"WARC/"):
    """The text and the end of every member, the damages, and whether the file was padded."""
    damages = []
    members = Members(io.BytesIO(data), begins, lambda *damage: damages.append(damage))
    found = []
    for member in members:
        pieces = []
        while piece := member.read(1000):
            pieces.append(piece)
        found.append((b"".join(pieces), member.ended))
    return found, damages, members.padded


def whole(data, begins=b"WARC/"):
    return [text for text, ended in read_all(data, begins)[0] if ended == "whole"]


@pytest.mark.parametrize("codec", PACK)
@given(texts=st.lists(st.binary(max_size=5000), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_every_member_of_a_file_of_many_is_read_to_its_end(codec, texts):
    found, damages, padded = read_all(b"".join(map(PACK[codec], texts)))
    assert found == [(text, "whole") for text in texts]
    assert not damages and not padded


@pytest.mark.parametrize("codec", PACK)
def test_a_cut_at_any_byte_is_noticed_unless_it_falls_between_members(codec):
    packed = [PACK[codec](text) for text in TEXTS[:2]]
    data = b"".join(packed)
    for cut in range(1, len(data)):
        found, damages, _ = read_all(data[:cut])
        complete = [text for text, size in zip(TEXTS, (len(packed[0]), len(data)), strict=False) if cut >= size]
        assert [text for text, ended in found if ended == "whole" and text in TEXTS] == complete, cut
        boundary = cut == len(packed[0])
        tiny = cut < 4 or 0 < cut - len(packed[0]) < 4  # fewer bytes than a magic number has
        assert bool(damages) != boundary or tiny, cut
        assert boundary or damages or found[-1][1] != "whole" or found[-1][0] == data[:cut], cut


@pytest.mark.parametrize("codec", PACK)
def test_one_flipped_byte_costs_the_member_it_is_in_and_no_other(codec):
    packed = [PACK[codec](text) for text in TEXTS]
    data = b"".join(packed)
    for position in range(0, len(data), 7):
        broken = bytearray(data)
        broken[position] ^= 0x55
        hit, end = 0, len(packed[0])
        while position >= end:
            hit += 1
            end += len(packed[hit])
        found = whole(bytes(broken))
        assert [text for text in found if text in TEXTS] in (TEXTS, TEXTS[:hit] + TEXTS[hit + 1 :]), position


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("junk", [b"\0" * 500, b"some text", b"\x1f\x8b\x08 no member at all", b"\xff" * 70_000])
def test_junk_between_members_is_told_and_passed(codec, junk):
    packed = [PACK[codec](text) for text in TEXTS]
    found, damages, _ = read_all(packed[0] + packed[1] + junk + packed[2] + packed[3])
    assert [text for text, ended in found if ended == "whole"] == TEXTS
    assert [offset for offset, *_ in damages] == [len(packed[0] + packed[1])]


def test_nuls_after_the_last_member_are_padding_not_damage():
    found, damages, padded = read_all(b"".join(map(gzip.compress, TEXTS)) + b"\0" * 1_500_000)
    assert [text for text, _ in found] == TEXTS
    assert padded and not damages


def test_a_hole_of_zeros_costs_the_members_that_it_touches():
    packed = [gzip.compress(text) for text in TEXTS]
    data = bytearray(b"".join(packed))
    start = len(packed[0]) + 100
    data[start : start + 50] = bytes(50)
    assert whole(bytes(data)) == [TEXTS[0], *TEXTS[2:]]


def test_a_plain_file_is_one_whole_member():
    assert read_all(b"WARC/1.0 plain text")[0] == [(b"WARC/1.0 plain text", "whole")]


@pytest.mark.parametrize("pack", [*PACK.values(), bytes])
@given(text=st.binary(min_size=1, max_size=9000), steps=st.lists(st.tuples(st.sampled_from("rpst"), st.integers(1, 4000))))
@settings(max_examples=60, deadline=None)
def test_reading_peeking_and_skipping_agree_on_where_they_are(pack, text, steps):
    member = Members(io.BytesIO(pack(b"WARC/" + text)), b"WARC/", lambda *_: None).open(0)
    rest = b"WARC/" + text
    for step, count in steps:
        if step == "p":
            assert rest.startswith(member.peek(count)) and len(member.peek(count)) >= min(count, len(rest))
            continue
        taken = {"r": member.read, "t": member.take, "s": member.skip}[step](count)
        size = taken if step == "s" else len(taken)
        assert step == "s" or rest.startswith(taken)
        assert size == min(count, len(rest)) or (step == "r" and size <= count)
        rest = rest[size:]
        assert member.tell() == len(b"WARC/" + text) - len(rest)


COUNTED = b"".join(b"%07d " % number for number in range(300_000))
"""Packs well and never repeats: 2.4 MB of which every piece is at one place alone."""


@pytest.mark.parametrize("pack", [*PACK.values(), bytes])
@pytest.mark.parametrize("size", [1000, 65_536, 1_000_000])
def test_pieces_larger_than_a_read_come_out_whole_and_in_order(pack, size):
    """zstd gives all that its input stands for, whatever was asked."""
    member = Members(io.BytesIO(pack(COUNTED)), b"0000", lambda *_: None).open(0)
    pieces = []
    while piece := member.read(size):
        pieces.append(piece)
    assert b"".join(pieces) == COUNTED and max(map(len, pieces)) <= size
    assert (member.tell(), member.ended) == (len(COUNTED), "whole")


@pytest.mark.parametrize("pack", [*PACK.values(), bytes])
def test_what_is_peeked_taken_and_skipped_of_large_pieces_is_what_stands_there(pack):
    member = Members(io.BytesIO(pack(COUNTED)), b"0000", lambda *_: None).open(0)
    assert member.peek(20)[:20] == COUNTED[:20] and member.tell() == 0
    assert 20 <= len(piece := member.read()) <= CHUNK and COUNTED.startswith(piece)
    assert piece + member.take(1_500_000 - len(piece)) == COUNTED[:1_500_000]
    assert member.skip(100_001) == 100_001 and member.tell() == 1_600_001
    assert member.read(10) == COUNTED[1_600_001:1_600_011]
    assert (member.read(0), member.take(0), member.take(1), member.skip(1)) == (b"", b"", COUNTED[1_600_011:1_600_012], 1)
    assert member.skip(10_000_000) == len(COUNTED) - 1_600_013 and member.read(1) == b""
    assert member.tell() == len(COUNTED)


def test_a_frame_dictionary_of_a_warc_zst_is_used():
    samples = [b"WARC/1.0\r\nWARC-Type: response\r\n%d" % n * 5 for n in range(300)]
    dictionary = zstandard.train_dictionary(2000, samples)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    skippable = b"\x5d\x2a\x4d\x18" + len(dictionary.as_bytes()).to_bytes(4, "little") + dictionary.as_bytes()
    data = skippable + b"".join(compressor.compress(text) for text in samples[:3])
    assert whole(data) == samples[:3]


@pytest.mark.parametrize("codec", PACK)
def test_a_bomb_comes_out_in_small_pieces(codec):
    member = Members(io.BytesIO(PACK[codec](bytes(40_000_000))), b"WARC/", lambda *_: None).open(0)
    sizes = [len(member.read(65536)) for _ in range(20)]
    assert max(sizes) <= 65536
    assert len(member.peek()) <= 32 << 20


def read_to_the_end(member):
    return b"".join(iter(lambda: member.read(5000), b""))


def accounted(data, begins=b"WARC/", start=0):
    """The whole texts, every damage, and what became of each byte."""
    damages, counts = [], Counter()
    members = Members(io.BytesIO(data), begins, lambda *damage: damages.append(damage), start, counts)
    found = [(read_to_the_end(member), member) for member in members]
    texts = [text for text, member in found if member.ended == "whole"]
    return texts, damages, {key.removeprefix("packed: "): count for key, count in counts.items()}


def skippable(content, magic=b"\x50"):
    return magic + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize("codec", PACK)
def test_damage_is_told_with_its_place_its_reason_and_how_many_bytes_it_cost(codec):
    first, second, third = (PACK[codec](text) for text in TEXTS[:3])
    sizes, data = [len(first), len(second), len(third)], first + second + third
    corrupt = bytearray(data)
    corrupt[sizes[0] + sizes[1] - 2] ^= 0xFF  # in the checksum of the second
    texts, [(at, reason, detail)], counts = accounted(bytes(corrupt))
    assert texts == [TEXTS[0], TEXTS[2]] and (at, reason) == (sizes[0], "corrupt") and detail
    assert counts == {"read": sizes[0] + sizes[2], "corrupt": sizes[1]}
    texts, damages, counts = accounted(data[:-1])
    assert texts == TEXTS[:2] and damages == [(sizes[0] + sizes[1], "truncated", "the file ends inside a compressed member")]
    assert counts == {"read": sizes[0] + sizes[1], "truncated": sizes[2] - 1}
    texts, damages, counts = accounted(first + b"no member" + second + b"x" * 99)
    assert texts == TEXTS[:2] and [damage[:2] for damage in damages] == [
        (sizes[0], "garbage"),
        (sizes[0] + 9 + sizes[1], "garbage"),
    ]
    assert damages[0][2].startswith(f"no compressed member up to byte {sizes[0] + 9}; found b'no member")
    assert damages[1][2] == f"no compressed member to the end of the file; found {b'x' * 40!r}"
    assert counts == {"read": sizes[0] + sizes[1], "garbage": 9 + 99}
    texts, damages, counts = accounted(first + second + bytes(7))
    assert (texts, damages, counts) == (TEXTS[:2], [], {"read": sizes[0] + sizes[1], "padding": 7})
    texts, damages, counts = accounted(data, start=sizes[0])
    assert (texts, damages, counts) == (TEXTS[1:3], [], {"read": sizes[1] + sizes[2]})


@pytest.mark.parametrize("pack", [*PACK.values(), bytes])
@pytest.mark.parametrize("wanted", [0, 10])
def test_members_whose_reader_stops_early_are_read_to_their_end(pack, wanted):
    texts = TEXTS[:3] if pack is not bytes else TEXTS[:1]
    counts = Counter()
    members = Members(io.BytesIO(b"".join(map(pack, texts))), b"WARC/", lambda *damage: pytest.fail(str(damage)), 0, counts)
    found = [(member, member.take(wanted)) for member in members]
    assert [(text, member.ended) for member, text in found] == [(text[:wanted], "whole") for text in texts]
    assert counts == {"packed: read": sum(map(len, map(pack, texts)))}


@pytest.mark.parametrize("nuls", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_nuls_before_a_member_are_told_with_what_stands_behind_them(nuls):
    first, second = map(gzip.compress, TEXTS[:2])
    texts, [(at, reason, detail)], counts = accounted(first + bytes(nuls) + b"odd " + second)
    assert texts == TEXTS[:2] and (at, reason) == (len(first), "garbage") and counts["garbage"] == nuls + 4
    assert detail.endswith(f"found {(b'odd ' + second)[:40]!r}")


def test_skippable_frames_are_passed_wherever_they_stand_and_one_that_is_cut_is_told():
    pack = PACK["zstd"]
    first, second = map(pack, TEXTS[:2])
    frames = skippable(b"") + first + skippable(b"x" * 70, b"\x5f") + skippable(b"yy") + second + skippable(b"end")
    assert accounted(frames) == (TEXTS[:2], [], {"read": len(frames)})
    texts, damages, counts = accounted(frames[:-1])
    assert (texts, damages) == (TEXTS[:2], [(len(frames) - 11, "truncated", "the file ends inside a skippable frame")])
    assert counts == {"read": len(frames) - 11, "truncated": 10}


@pytest.mark.parametrize("packed", [False, True])
def test_a_dictionary_counts_at_the_beginning_alone_and_may_be_packed_itself(packed):
    samples = [b"WARC/1.0\r\nWARC-Type: response\r\n%d" % n * 5 for n in range(300)]
    dictionary = zstandard.train_dictionary(2000, samples)
    written = PACK["zstd"](dictionary.as_bytes()) if packed else dictionary.as_bytes()
    pages = b"".join(zstandard.ZstdCompressor(dict_data=dictionary).compress(text) for text in samples[:3])
    frame = skippable(written, b"\x5d")
    assert accounted(frame + pages) == (samples[:3], [], {"read": len(frame + pages)})
    assert accounted(PACK["zstd"](samples[5]) + frame + pages)[0] == [samples[5]]


def test_a_file_of_nothing_but_damage_is_given_up_and_the_rest_of_it_counted(monkeypatch):
    monkeypatch.setattr(members_module, "MOST_DAMAGES", 3)
    good = gzip.compress(TEXTS[0])
    texts, damages, counts = accounted((good + b"junk") * 5)
    assert texts == TEXTS[:1] * 3 and [damage[:2] for damage in damages[:3]] == [
        (len(good) + at * (len(good) + 4), "garbage") for at in range(3)
    ]
    assert damages[3:] == [(3 * (len(good) + 4), "corrupt", "gave up after 3 damages")]
    assert counts == {"read": 3 * len(good), "garbage": 12, "corrupt": 2 * (len(good) + 4)}
    texts, damages, counts = accounted((good + b"junk") * 2 + good)
    assert (len(texts), len(damages)) == (3, 2) and "corrupt" not in counts
    assert len(accounted((good + b"junk") * 3)[1]) == 3  # the third is the last of the file: nothing is given up


def test_what_a_file_may_unpack_to_is_a_minimum_and_so_many_times_its_bytes(monkeypatch):
    monkeypatch.setattr(members_module, "ALWAYS_ALLOWED", 1000)
    allowance = Allowance(7)
    assert allowance.take(1600) and allowance.take(100) and not allowance.take(1)
    assert allowance.exceeded == "the file has 7 bytes and unpacks to over 100 times as many; the rest is not read"


@pytest.mark.parametrize("codec", PACK)
def test_a_bomb_ends_the_file_there_with_its_bytes_counted(codec, monkeypatch):
    monkeypatch.setattr(members_module, "ALWAYS_ALLOWED", 50_000)
    first, bomb = PACK[codec](TEXTS[0]), PACK[codec](b"WARC/" + bytes(40_000_000))
    texts, [(at, reason, detail)], counts = accounted(first + bomb + first)
    assert texts == TEXTS[:1] and (at, reason) == (len(first), "bomb") and "the rest is not read" in detail
    assert counts == {"read": len(first), "bomb": len(bomb + first)}


def test_a_file_that_is_refused_is_lost_as_a_whole():
    damages, counts = [], Counter()
    Members(io.BytesIO(b"abc"), b"", lambda *damage: damages.append(damage), counts=counts).refuse("odd", "why")
    assert (damages, counts) == ([(0, "odd", "why")], {"packed: odd": 3})


def test_a_plain_file_that_begins_oddly_is_plain_unless_a_member_stands_in_it():
    assert accounted(b"plain text") == ([b"plain text"], [], {"read": 10})
    member = gzip.compress(TEXTS[0])
    texts, damages, counts = accounted(b"plain text" + member)
    assert texts == TEXTS[:1] and damages[0][:2] == (0, "garbage") and counts == {"garbage": 10, "read": len(member)}
    assert accounted(b"WARC/ plain" + member)[0] == [b"WARC/ plain" + member]


MAGIC = st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\x28\xb5", b"\x1f", b"a", b"bcde"])


@given(pieces=st.lists(MAGIC, max_size=30), cuts=st.lists(st.integers(1, 7), min_size=1, max_size=30))
def test_a_pattern_is_found_wherever_pieces_of_the_stream_end(pieces, cuts):
    data = b"".join(pieces)
    stream, sizes = io.BytesIO(data), iter(cuts * len(data))
    found = list(find(lambda _: stream.read(next(sizes, 1)), MEMBER_MAGIC, longest=4))
    assert found == [match.start() for match in MEMBER_MAGIC.finditer(data)]
