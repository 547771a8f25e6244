"""The one place that knows where files lie: whole or not at all, and held by one job."""

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
    with pytest.raises(ExperimentError, match=f"layout 1, this one makes {storage.LAYOUT}"), storage.held(tmp_path / "old"):
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
