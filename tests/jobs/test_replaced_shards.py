"""A shard is known by its bytes: another one of its name is read, the same one is not, whatever its times say."""

import os
import shutil
from pathlib import Path

import pytest

from jobs import read
from jobs.parts import contents, table
from jobs.parts.experiment_file import Experiment
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards

FIRST = '{"id": "1", "text": "the river and a stone"}\n'
SECOND = '{"id": "2", "text": "a river and the stone"}\n'


@pytest.fixture
def folder(tmp_path):
    assert len(FIRST) == len(SECOND)
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    for name in "ab":
        (crawl / f"{name}.jsonl").write_text(FIRST.replace("1", name))
    return tmp_path


def experiment(folder, **more) -> Experiment:
    asked = {"pages": {"from": [{"jsonl": str(folder / "crawl" / "*.jsonl"), "id": "none"}]}, "out": str(folder / "out")}
    return Experiment.model_validate(asked | more)


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """The names of the shards that were hashed."""
    names: list[str] = []

    def content_of(location, really=table.content_of):
        names.append(Path(location).name)
        return really(location)

    monkeypatch.setattr(table, "content_of", content_of)
    monkeypatch.setattr(contents, "content_of", content_of)
    return names


def replace_keeping_times(file: Path) -> None:
    """Another file of the same name and size, with the time of the one before: `rsync -t` and `cp -p` do so."""
    stat = file.stat()
    file.write_text(SECOND)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize("replace", [lambda file: file.write_text(SECOND), replace_keeping_times])
def test_a_shard_replaced_by_one_of_its_size_is_read_again_and_no_other(folder, tasks, replace):
    read.main(experiment(folder))
    tasks.clear()
    replace(folder / "crawl" / "b.jsonl")
    read.main(experiment(folder))
    assert tasks == ["b.jsonl"]
    pages = table.parts_of(folder / "out" / "pages")
    assert [contents.storage.read_table(part.source)["text"].to_pylist() for part in pages] == [
        ["the river and a stone"],
        ["a river and the stone"],
    ]


def test_a_shard_is_hashed_once_and_again_only_when_it_was_touched(folder, tasks, hashed):
    read.main(experiment(folder))
    assert sorted(hashed) == ["a.jsonl", "b.jsonl"] and sorted(tasks) == ["a.jsonl", "b.jsonl"]
    manifest = (folder / "out" / "pages" / "_manifest.json").stat().st_mtime_ns
    read.main(experiment(folder))
    assert len(hashed) == 2
    (folder / "crawl" / "a.jsonl").touch()
    for _ in range(2):
        read.main(experiment(folder))
    assert hashed[2:] == ["a.jsonl"] and len(tasks) == 2
    assert (folder / "out" / "pages" / "_manifest.json").stat().st_mtime_ns == manifest


def test_a_copy_of_everything_elsewhere_is_done_and_holds_the_same_identities(folder, tasks, tmp_path_factory, hashed):
    read.main(experiment(folder))
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(folder, elsewhere)
    tasks.clear()
    read.main(experiment(elsewhere))
    assert not tasks and len(hashed) == 4
    one, two = ((where / "out" / "pages" / "_manifest.json").read_bytes() for where in (folder, elsewhere))
    assert one == two


def test_a_killed_job_finds_what_is_done_by_content(folder, tasks):
    read.main(experiment(folder))
    (folder / "out" / "pages" / "_manifest.json").unlink()
    (folder / "out" / contents.NOTES).unlink()
    made = {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*.parquet")}
    read.main(experiment(folder))
    assert made and made == {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*.parquet")}


def test_what_another_experiment_has_read_is_not_hashed_for_it_again(folder, tasks, hashed):
    read.main(experiment(folder))
    other = experiment(folder, out=str(folder / "other"), reuse=str(folder / "out"))
    token = contents.reuse.REUSE.set(contents.reuse.Reuse(other.out, folder / "out"))
    try:
        read.main(other)
    finally:
        contents.reuse.REUSE.reset(token)
    assert len(hashed) == 2 and len(tasks) == 2


def test_files_that_classifiers_learn_from_are_known_by_content_too(folder):
    def known():
        found = shards([str(folder / "crawl" / "*.jsonl")], ReadOptions(), "positives")
        return contents.identities(found, folder / "out")

    before = known()
    (folder / "crawl" / "a.jsonl").touch()
    assert known() == before
    replace_keeping_times(folder / "crawl" / "a.jsonl")
    assert [one == two for one, two in zip(known(), before, strict=True)] == [False, True]
