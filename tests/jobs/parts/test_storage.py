"""The one place that knows where files lie: whole or not at all, and held by one job."""

import copy
import json

import pyarrow as pa
import pytest

from filters.files import sha256_of
from jobs.parts import storage
from jobs.parts.refusals import ExperimentError


@pytest.mark.parametrize("address", ["https://host/x", "file:/x", "ftp://host/x"])
def test_an_address_of_no_store_is_refused_before_it_becomes_a_folder(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExperimentError, match="no store that is known"), storage.held(type(tmp_path)(address)):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_layout_is_refused_in_one_sentence(tmp_path):
    with storage.held(tmp_path / "new"):
        (tmp_path / "new" / "pages").mkdir()
    with storage.held(tmp_path / "new"):
        pass
    (tmp_path / "old" / "pages").mkdir(parents=True)
    with (
        pytest.raises(ExperimentError, match=f"layout 1 in .*, this one makes {storage.LAYOUT}"),
        storage.held(tmp_path / "old"),
    ):
        pass


@pytest.mark.parametrize("content", [b"3x", b"\x13", b"\xb3", b""])
def test_a_folder_whose_layout_cannot_be_read_is_refused_with_what_to_write(tmp_path, content):
    with storage.held(tmp_path):
        pass
    (tmp_path / storage.LAYOUT_FILE).write_bytes(content)
    with pytest.raises(ExperimentError, match=rf"{storage.LAYOUT_FILE} is not as it was"), storage.held(tmp_path):
        pass


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "numbers.json"
    storage.write_json(file, [1])
    with pytest.raises(ZeroDivisionError), storage.written(file) as sink:
        sink.write(b"half")
        raise ZeroDivisionError
    assert json.loads(file.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_written_is_hashed_on_its_way(tmp_path):
    file = tmp_path / "deep" / "er" / "words"
    with storage.written(file) as sink:
        for word in (b"one", memoryview(b"two"), pa.py_buffer(b"three")):
            sink.write(word)
    assert file.read_bytes() == b"onetwothree"
    assert (sink.sha256, sink.size) == (sha256_of(file), 11)


def test_a_listing_has_files_alone_and_none_where_there_is_no_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "file").write_bytes(b"abc")
    assert storage.sizes(tmp_path) == {"file": 3}
    assert storage.folders(tmp_path) == [tmp_path / "inner"]
    assert storage.sizes(tmp_path / "none") == {}
    assert storage.folders(tmp_path / "none") == []


READERS = {
    "table": storage.read_table,
    "batches": lambda file: list(storage.open_parquet(file).iter_batches()),
    "row group": lambda file: storage.open_parquet(file).read_row_group(0),
    "row groups": lambda file: storage.open_parquet(file).read_row_groups([0]),
    "footer": storage.read_metadata,
    "columns": storage.read_schema,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=[*READERS])
def test_a_file_with_a_changed_byte_is_named_also_by_another_process(tmp_path, reader):
    file = tmp_path / "table.parquet"
    storage.write_table(file, pa.table({"text": ["a text that is written"] * 50}))
    whole = bytearray(file.read_bytes())
    reader(file)
    for at in (40, len(whole) - 1):  # in a page and in the footer
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        if at > 40 or reader not in (storage.read_metadata, storage.read_schema):
            with pytest.raises(storage.NotAsWritten) as refused:
                reader(file)
            assert str(copy.copy(refused.value)).startswith(f"{file} is not as it was written: ")


@pytest.mark.parametrize("error", [pa.ArrowMemoryError, pa.ArrowCancelled, PermissionError])
def test_what_says_nothing_of_a_file_is_raised_as_it_is(error):
    with pytest.raises(error), storage.as_written("table.parquet"):
        raise error("stopped")


def test_a_file_that_is_not_there_is_not_called_changed(tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.read_table(tmp_path / "none.parquet")
