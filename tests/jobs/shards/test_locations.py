"""What patterns and path lists name: found once, named apart, refused where it cannot be read."""

import bz2
import functools
import gzip
import http.server
import lzma
import os
import threading

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import given
from hypothesis import strategies as st

from jobs.shards.locations import Told, expand, expand_list, file_name, kind, local_copy, shard_names, unpacked
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards


def test_patterns_become_shards_each_once_with_their_sizes(tmp_path):
    for name in ("b.warc.gz", "a.warc.gz", "c.jsonl"):
        (tmp_path / name).write_bytes(b"x" * ord(name[0]))
    found = expand([f"{tmp_path}/*.gz", str(tmp_path / "c.jsonl"), f"{tmp_path}/**/a.warc.gz"])
    assert {file_name(name): told.size for name, told in found.items()} == {"a.warc.gz": 97, "b.warc.gz": 98, "c.jsonl": 99}
    same = [str(tmp_path / "c.jsonl"), os.path.relpath(tmp_path / "c.jsonl")]
    assert list(expand(same)) == same[:1]


def test_a_name_with_a_bracket_is_a_name_if_it_exists(tmp_path):
    (tmp_path / "a[1].jsonl").write_bytes(b"x")
    assert list(expand([str(tmp_path / "a[1].jsonl")])) == [str(tmp_path / "a[1].jsonl")]
    assert list(expand([f"file://{tmp_path}/a[1].jsonl"])) == [str(tmp_path / "a[1].jsonl")]


def test_what_cannot_be_a_shard_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"no file matches '.*/\*\.warc'"):
        expand([f"{tmp_path}/*.warc"])
    with pytest.raises(ValueError, match=r"no file matches '.*nowhere"):
        expand([str(tmp_path / "nowhere.warc.gz")])
    with pytest.raises(ValueError, match="is a folder"):
        expand([str(tmp_path)])
    with pytest.raises(ValueError, match="no shards are named"):
        expand([])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match=r"empty.jsonl' is empty"):
        expand([str(tmp_path / "empty.jsonl")])
    (tmp_path / "empty.jsonl.gz").touch()
    assert expand([str(tmp_path / "empty.jsonl.gz")])


def test_a_file_name_that_is_not_utf_8_is_refused(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jsonl", "wb") as file:  # noqa: PTH123 - pathlib takes no bytes
        file.write(b"{}\n")
    with pytest.raises(ValueError, match=r"caf\\xe9.jsonl' is not UTF-8; rename it"):
        expand([f"{tmp_path}/*.jsonl"])


@pytest.mark.parametrize(
    ("locations", "names"),
    [
        (["x/a.jsonl", "y/b.jsonl"], ["a.jsonl", "b.jsonl"]),
        (["dumps/2024/text/a.jsonl", "dumps/2025/text/a.jsonl"], ["2024-a.jsonl", "2025-a.jsonl"]),
        (["s3://one/1/a.warc", "s3://two/1/a.warc", "s3://two/b.warc"], ["one-a.warc", "two-a.warc", "b.warc"]),
        (["d1/s1/a.txt", "d1/s2/a.txt", "d2/s1/a.txt"], ["d1-s1-a.txt", "d1-s2-a.txt", "d2-s1-a.txt"]),
        (["d1/s1/a.txt", "d2/s1/a.txt", "d3/s2/a.txt"], ["d1-a.txt", "d2-a.txt", "d3-a.txt"]),
    ],
)
def test_files_of_one_name_are_told_apart_by_the_nearest_folder_that_does(locations, names):
    assert list(shard_names(locations).values()) == names


def test_names_that_still_meet_are_refused_with_both_paths():
    with pytest.raises(ValueError, match=r"a/x.jsonl and c/a-x.jsonl would both be called a-x.jsonl"):
        shard_names(["a/x.jsonl", "b/x.jsonl", "c/a-x.jsonl"])
    with pytest.raises(ValueError, match="would both be called"):
        shard_names(["https://host/a.jsonl?part=1", "https://host/a.jsonl?part=2"])


folders = st.lists(st.sampled_from(["a", "b", "c"]), max_size=4).map("/".join)


@given(st.sets(folders, min_size=1, max_size=8))
def test_every_set_of_folders_gives_names_without_a_folder_in_them(found):
    locations = [f"/{folder}/x.jsonl".replace("//", "/") for folder in sorted(found)]
    names = shard_names(locations)
    assert len(set(names.values())) == len(locations)
    assert all("/" not in name and name.endswith("x.jsonl") for name in names.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CC-MAIN-0.warc.gz", "warc"),
        ("x.warc.wet.gz", "warc"),
        ("x.wet.gz", "warc"),
        ("s3://bucket/x.warc.zst", "warc"),
        ("https://host/x.parquet?token=1", "parquet"),
        ("X.JSONL.ZST", "jsonl"),
        ("x.json.gz", "jsonl"),
        ("x.jsonl.bz2", "jsonl"),
        ("hf://datasets/a/b/x.ndjson.xz", "jsonl"),
        ("book.txt.gz", "txt"),
    ],
)
def test_the_kind_is_in_the_name(name, expected):
    assert kind(name) == expected


def test_a_name_that_says_nothing_is_looked_into(tmp_path):
    starts = {"warc": gzip.compress(b"WARC/1.0\r\n"), "parquet": b"PAR1....", "jsonl": bz2.compress(b'{"text": "a"}')}
    for expected, data in starts.items():
        (tmp_path / "mystery").write_bytes(data)
        assert kind(str(tmp_path / "mystery")) == expected
    (tmp_path / "mystery").write_bytes(b"BZh9 cut")
    with pytest.raises(ValueError, match="of no kind that is read"):
        kind(str(tmp_path / "mystery"))


@pytest.mark.parametrize("name", ["x.jsonl.lz4", "x.wacz", "x.zip", "x.pdf"])
def test_what_no_reader_takes_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    for location in (str(tmp_path / name), f"s3://bucket/{name}"):
        with pytest.raises(ValueError, match="of no kind that is read: names end in"):
            kind(location)


PACK = {"bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", PACK)
def test_bzip2_and_xz_are_unpacked_even_of_several_streams(tmp_path, name):
    (tmp_path / f"a.txt.{name}").write_bytes(PACK[name](b"one ") + PACK[name](b"two"))
    damages = []
    with unpacked(tmp_path / f"a.txt.{name}", lambda *damage: damages.append(damage)) as copy:
        assert copy.read_bytes() == b"one two" and copy.name == "a.txt"
    assert not damages and not copy.exists()


@pytest.mark.parametrize("name", PACK)
def test_a_cut_stream_gives_its_beginning_and_is_told(tmp_path, name):
    data = os.urandom(2_000_000)
    packed = PACK[name](data)
    for cut in (20, len(packed) // 2, len(packed) - 1):
        (tmp_path / "a").write_bytes(packed[:cut])
        damages = []
        with unpacked(tmp_path / "a", lambda *damage, told=damages: told.append(damage)) as copy:
            kept = copy.read_bytes()
        assert data.startswith(kept)
        assert [damage[:2] for damage in damages] == [(len(kept), "truncated")]
    assert len(kept) > 900_000


@pytest.mark.parametrize("name", PACK)
def test_a_damaged_stream_is_told(tmp_path, name):
    packed = bytearray(PACK[name](os.urandom(100_000)))
    packed[len(packed) // 2] ^= 0x55
    (tmp_path / "a").write_bytes(packed)
    damages = []
    with unpacked(tmp_path / "a", lambda *damage: damages.append(damage)):
        pass
    assert [damage[1] for damage in damages] == ["corrupt"]


@pytest.fixture
def paths(tmp_path):
    """A list of ten paths as Common Crawl publishes them, and the files."""
    names = [f"crawl-data/segments/{n}/a{n}.warc.gz" for n in range(10)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x" * 7)
    (tmp_path / "warc.paths.gz").write_bytes(gzip.compress("".join(f"{name}\n" for name in names).encode()))
    return tmp_path


def test_a_path_list_names_its_first_or_a_sample_of_its_files(paths):
    listed = str(paths / "warc.paths.gz")
    assert len(expand_list(listed, str(paths))) == 10
    assert expand_list(listed, f"{paths}/", first=2) == {
        f"{paths}/crawl-data/segments/{n}/a{n}.warc.gz": Told(7) for n in range(2)
    }
    some, more = (set(expand_list(listed, str(paths), hashed=many)) for many in (3, 5))
    assert len(some) == 3 and some < more and some != set(expand_list(listed, str(paths), first=3))
    lines = gzip.decompress((paths / "warc.paths.gz").read_bytes()).decode().split()
    (paths / "other.paths").write_text("\n".join(reversed(lines)))
    assert set(expand_list(str(paths / "other.paths"), str(paths), hashed=3)) == some


def test_a_path_list_that_is_too_short_is_refused(paths):
    with pytest.raises(ValueError, match="lists 10 paths, fewer than the 11 asked for"):
        expand_list(str(paths / "warc.paths.gz"), str(paths), first=11)
    with pytest.raises(ValueError, match=r"name it as \{paths: "):
        kind(str(paths / "warc.paths.gz"))


class Counting(http.server.SimpleHTTPRequestHandler):
    """A web server over a folder that notes what it is asked."""

    asked: list[str]

    def log_message(self, *_):
        pass

    def log_request(self, *_):
        self.asked.append(self.path)


@pytest.fixture
def server(paths):
    """(address, what was asked) of a web server on this machine only."""
    Counting.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counting, directory=paths)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", Counting.asked
        running.shutdown()


def test_a_server_is_asked_once_for_each_address_and_a_path_list_is_believed(paths, server):
    address, asked = server
    named = [f"{address}/crawl-data/segments/{n}/a{n}.warc.gz" for n in range(3)]
    assert expand(named) == dict.fromkeys(named, Told(7))
    assert sorted(asked) == sorted(name.removeprefix(address) for name in named)
    asked.clear()
    found = expand_list(str(paths / "warc.paths.gz"), address)
    assert list(found.values()) == [Told(7)] + [Told()] * 9
    assert asked == ["/crawl-data/segments/0/a0.warc.gz"]
    with pytest.raises(ValueError, match=r"no file matches 'http.*/nowhere/crawl-data"):
        expand_list(str(paths / "warc.paths.gz"), f"{address}/nowhere")


def test_what_a_server_tags_content_with_is_what_a_shard_is_known_by(server, monkeypatch):
    address = f"{server[0]}/crawl-data/segments/0/a0.warc.gz"
    said = []
    for tag in ('"one"', '"other"'):

        def end_headers(self, tag=tag, really=http.server.BaseHTTPRequestHandler.end_headers):
            self.send_header("ETag", tag)
            really(self)

        monkeypatch.setattr(Counting, "end_headers", end_headers)
        said += [shard.said for shard in shards([address], ReadOptions(), "pages.from")]
    assert said == ["7 bytes tag one", "7 bytes tag other"]


def test_a_server_is_asked_once_for_the_bytes_and_a_cut_transfer_is_no_short_file(paths, server, monkeypatch):
    address, asked = server
    with local_copy(f"{address}/crawl-data/segments/0/a0.warc.gz") as copy:
        assert copy.read_bytes() == b"x" * 7
    assert asked == ["/crawl-data/segments/0/a0.warc.gz"]

    def cut(self, source, outputfile):
        outputfile.write(source.read()[:3])

    monkeypatch.setattr(Counting, "copyfile", cut)
    with pytest.raises(Exception, match="Content"), local_copy(f"{address}/crawl-data/segments/1/a1.warc.gz"):
        pass


def test_a_store_that_raises_errors_of_its_own_is_told_in_a_sentence():
    with pytest.raises(ValueError, match=r"no file matches 'nonsense://x/a.jsonl'; check the address"):
        expand(["nonsense://x/a.jsonl"])


class Hub(MemoryFileSystem):
    """Stands in for the Hugging Face hub, whose file system goes by the same protocol name."""

    protocol = "hf"
    store: dict = {}  # noqa: RUF012 - as the class it extends has it
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("hf://"))


def test_files_on_the_hub_are_found_by_glob(monkeypatch):
    monkeypatch.setitem(_registry, "hf", Hub)
    files = fsspec.filesystem("hf")
    files.pipe("/datasets/some/pages/data/b.jsonl", b'{"text": "b"}\n')
    files.pipe("/datasets/some/pages/data/a.jsonl", b'{"text": "a"}\n')
    found = expand(["hf://datasets/some/pages/data/*.jsonl"])
    assert [(file_name(name), told.size) for name, told in found.items()] == [("a.jsonl", 14), ("b.jsonl", 14)]
    assert all(name.startswith("hf://") for name in found)
