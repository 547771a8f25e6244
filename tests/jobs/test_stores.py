"""What lies in a store is what would lie in a folder: whole or not there, made by one job at a time."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import cloudpickle
import pyarrow as pa
import pytest
import yaml

from eval.tokenizer import train_tokenizer
from filters import stores
from filters.stores import StorePath, at
from jobs import choose, read, score, split
from jobs import train_tokenizer as train_tokenizer_job
from jobs.bench.failing_store import running
from jobs.parts import command, lease, storage
from jobs.parts.experiment_file import as_tree, load
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, PartReport, Table, footer, state, writer
from jobs.shards import ranges
from jobs.shards.locations import expand

ROWS = pa.schema([("id", pa.string())])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all: it counts requests, and fails as often as a test asks for."""
    with running("bucket") as (application, environment):
        scratch = {"TMPDIR": str(tmp_path_factory.mktemp("scratch"))}
        with mock.patch.dict(os.environ, {**environment, **scratch}), mock.patch("tempfile.tempdir", None):
            yield application


@pytest.fixture
def bucket(server, request):
    """A prefix of the test's own on the server."""
    server.every = 0
    yield StorePath(f"s3://bucket/{request.node.name.partition('[')[0]}")
    server.every = 0


def batch(*ids):
    return pa.record_batch([pa.array(ids, pa.string())], schema=ROWS)


def test_a_path_joins_and_travels_and_opens_nothing_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = at("s3://bucket/deep/")
    file = cloudpickle.loads(cloudpickle.dumps(out / "pages" / "a.parquet"))
    assert str(file) == "s3://bucket/deep/pages/a.parquet" and file == at(str(file)) and file.parent.parent == out
    assert str(file.relative_to(out)) == "pages/a.parquet" and str(file.with_suffix(".json")).endswith("pages/a.json")
    with pytest.raises(TypeError, match="lies in a store"):
        os.fspath(file)
    with pytest.raises(ValueError, match="put there whole"):
        file.open("w")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s3://key:canary@bucket/x", "credentials by the environment"),
        ("gs://bucket/x?token=canary", "credentials by the environment"),
        ("https://host/x", "no store that is known"),
        ("s3://", "names no bucket"),
    ],
)
def test_an_address_that_is_no_store_or_has_a_secret_is_refused_without_repeating_it(tmp_path, address, why, capsys):
    conf = tmp_path / "conf.yaml"
    conf.write_text(yaml.safe_dump({"out": address, "pages": {"from": ["a.warc.gz"]}}))
    assert command.run(read.main, read.__doc__, [str(conf)]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1 and "canary" not in said


def test_an_input_with_a_secret_in_its_address_is_refused_too(tmp_path, capsys):
    conf = tmp_path / "conf.yaml"
    conf.write_text(yaml.safe_dump({"out": str(tmp_path), "pages": {"from": ["s3://key:canary@bucket/a.warc.gz"]}}))
    assert command.run(read.main, read.__doc__, [str(conf)]) == 2
    said = capsys.readouterr().err
    assert "credentials by the environment" in said and said.count("\n") == 1 and "canary" not in said


def test_a_bucket_that_is_not_there_is_one_sentence(server):
    said = r"out: s3://nowhere/x cannot be looked into \(there is no s3://nowhere\).*credentials in the environment"
    with pytest.raises(ExperimentError, match=said), storage.held(at("s3://nowhere/x")):
        pass


def test_a_listing_has_files_and_folders_apart(bucket):
    for name in ("a.json", "b/c.json", "b/d/e.json"):
        storage.write_json(bucket / name, [name])
    assert storage.sizes(bucket) == {"a.json": 14} and storage.folders(bucket) == [bucket / "b"]
    assert (bucket / "b").is_dir() and not (bucket / "a.json").is_dir() and not (bucket / "b").is_file()
    assert storage.sizes(bucket / "none") == {} and not storage.exists(bucket / "none")
    assert list(bucket.rglob("*.json")) == [bucket / "a.json", bucket / "b" / "c.json", bucket / "b" / "d" / "e.json"]
    assert list(storage.walk(bucket))[-1] == (bucket / "b" / "d", ["e.json"])
    storage.take(bucket / "a.json", bucket / "again.json")
    assert storage.read_json(bucket / "again.json") == ["a.json"]
    storage.remove_folder(bucket / "b")
    assert storage.files_below(bucket).keys() == {bucket / "a.json", bucket / "again.json"}


def test_a_part_appears_when_it_is_whole_and_holds_the_bytes_it_would_have_in_a_folder(bucket, tmp_path):
    part, tables = Part("a", "", "made of a"), [Table(place / "rows", {"x": 1}, ROWS) for place in (bucket, tmp_path)]
    table = tables[0]
    with pytest.raises(ZeroDivisionError), writer(table, part, PartReport()) as one:
        one.write(batch("1"))
        raise ZeroDivisionError
    assert not storage.files_below(bucket) and state(table, part) == "missing"
    entries = []
    for each in tables:
        with writer(each, part, PartReport()) as one:
            one.write(batch("1", "2"))
            assert not storage.exists(each.file(part))
        entries.append(one.entry)
    assert entries[0] == entries[1] and state(table, part) == "done"
    assert table.file(part).read_bytes() == tables[1].file(part).read_bytes()
    assert footer(table.file(part))["rows"] == 2 and storage.read_table(table.file(part))["id"].to_pylist() == ["1", "2"]


def test_only_the_ranges_are_fetched_that_are_read(bucket, server):
    wide = pa.table({"small": range(1000), "large": [os.urandom(500) for _ in range(1000)]})
    storage.write_table(bucket / "wide.parquet", wide)
    fetched = []
    inner = server.inner

    def measured(environ, start_response):
        fetched.append(environ.get("HTTP_RANGE", "whole") if environ["REQUEST_METHOD"] == "GET" else "")
        return inner(environ, start_response)

    with mock.patch.object(server, "inner", measured):
        assert storage.read_table(bucket / "wide.parquet", ["small"])["small"].to_pylist() == list(range(1000))
    assert ranges.fetch(f"{bucket}/wide.parquet", 0, 4) == b"PAR1"
    asked = [[int(end) for end in one.removeprefix("bytes=").split("-")] for one in fetched if one]
    assert sum(last - first for first, last in asked) < 100_000 < (bucket / "wide.parquet").stat().st_size


def test_requests_that_fail_are_made_again(bucket, server):
    server.every = 7
    before = server.failed
    for at_ in range(4):
        storage.write_json(bucket / f"{at_}.json", [at_])
    assert [storage.read_json(bucket / f"{at_}.json") for at_ in range(4)] == [[0], [1], [2], [3]]
    assert (bucket / "new").create(b"mine") and not (bucket / "new").create(b"other")
    assert server.failed - before >= 2 and (bucket / "new").read_bytes() == b"mine"


def test_a_store_that_refuses_is_one_sentence_with_the_address(bucket, tmp_path, capsys):
    conf = tmp_path / "conf.yaml"
    conf.write_text(yaml.safe_dump({"out": str(bucket), "pages": {"from": ["a.warc.gz"]}}))

    def verb(experiment, _):
        refused = mock.Mock(pipe_file=mock.Mock(side_effect=PermissionError("Access Denied")))
        with mock.patch.object(StorePath, "there", (refused, "")):
            storage.write_json(experiment.out / "a.json", 1)

    assert command.run(verb, "read: a test", [str(conf)]) == 1
    said = capsys.readouterr().err
    assert said == f"goodhart: {bucket}/a.json: Access Denied; what is done stays, and the same command goes on from there\n"


def test_a_second_job_is_refused_and_a_finished_one_lets_the_next_begin_at_once(bucket):
    with storage.held(bucket):
        said = rf"another job is writing.*process {os.getpid()} on .* ends in \d+ s"
        with pytest.raises(ExperimentError, match=said), storage.held(bucket):
            pass
        with pytest.raises(ExperimentError, match="which reuse: names"), storage.lent(bucket):
            pass
    with storage.held(bucket), pytest.raises(ExperimentError, match="another job"), storage.held(bucket):
        pass
    with storage.lent(bucket):
        assert [name for name in storage.sizes(bucket) if name.startswith(".lease")] == [".lease-000002.json"]


def test_of_several_jobs_one_takes_over_from_a_killed_one_which_finds_out(bucket, monkeypatch):
    killed = lease._take(bucket, "held")
    with pytest.raises(ExperimentError, match="held"):
        lease._take(bucket, "held")
    monkeypatch.setattr(lease, "SECONDS", -2.0)
    monkeypatch.setattr(lease, "refuse_held", lambda *_: None)  # all have looked before the first one takes it

    def attempt(_):
        try:
            return lease._take(bucket, "held")
        except ExperimentError:
            return None

    with ThreadPoolExecutor(4) as pool:
        winners = [one for one in pool.map(attempt, range(4)) if one]
    assert len(winners) >= 1 and sum(not one.renew() for one in winners) == 1
    assert "another job took over" in killed.renew()


def test_a_file_that_another_made_and_removed_meanwhile_is_not_ours(bucket, monkeypatch):
    """The condition fails, and by the time one looks whose it is, it is gone."""
    file = bucket / "contested"
    assert file.create(b"ours") and file.create(b"ours") and not file.create(b"theirs")
    there, asked = type(file).read_bytes, []

    def gone(self):
        asked.append(self.unlink())
        return there(self)

    monkeypatch.setattr(type(file), "read_bytes", gone)
    assert not file.create(b"ours") and len(asked) == 1


def test_a_lease_that_is_succeeded_while_one_reads_it_is_followed_by_the_next(bucket, monkeypatch):
    lease._take(bucket, "first").release()
    told, read = lease._told, []

    def succeeded(file):
        read.append(file)
        if len(read) == 1:
            (bucket / ".lease-000002.json").put(file.read_bytes().replace(b'"released": true', b'"released": false'))
            file.unlink()
        return told(file)

    monkeypatch.setattr(lease, "_told", succeeded)
    with pytest.raises(ExperimentError, match=r"second .process"):
        lease.refuse_held(bucket, "second")
    assert [file.name for file in read] == [".lease-000001.json", ".lease-000002.json"]


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["in front", "in the background"])
def test_a_job_that_lost_its_lease_stops(bucket, monkeypatch, handler):
    monkeypatch.setattr(lease, "SECONDS", 0.4)
    before, out = signal.signal(signal.SIGINT, handler), bucket / str(handler is signal.SIG_IGN)
    with pytest.raises(ExperimentError, match=r"was lost .*another job took over"), lease.held(out, "held"):
        (out / ".lease-000002.json").put(b'{"host": "other", "process": 1, "token": "", "released": false}')
        threading.Event().wait(10)
    assert signal.signal(signal.SIGINT, before) is handler


def test_a_worker_has_the_copies_of_the_driver_under_the_same_names(bucket, monkeypatch):
    for name in ("a", "b"):
        (bucket / "lists" / name).put(name.encode())
    monkeypatch.setattr(stores, "COPIES", {})
    file, folder = stores.local(f"{bucket}/lists/a"), stores.local(bucket / "lists")
    assert file.read_text() == "a" and sorted(one.name for one in folder.iterdir()) == ["a", "b"]
    assert as_tree({"file": file, "in": folder / "b"}) == {"file": f"{bucket}/lists/a", "in": f"{bucket}/lists/b"}
    elsewhere = {
        address: there.parents[2] / "other" / there.parent.name / there.name for address, there in stores.COPIES.items()
    }
    monkeypatch.setattr(stores, "COPIES", {})
    stores.bring(elsewhere)
    assert [there.exists() for there in elsewhere.values()] == [True, True] and elsewhere == stores.COPIES
    (bucket / "lists" / "a").put(b"changed")
    missing = {address: there.parents[1] / "f" / there.name for address, there in elsewhere.items()}
    with pytest.raises(OSError, match="has changed since the job began"):
        stores.bring(missing)
    with pytest.raises(FileNotFoundError):
        stores.local(bucket / "lists" / "none")


def test_a_folder_is_published_whole_or_not_at_all_and_what_says_so_last(bucket, server):
    with pytest.raises(ZeroDivisionError), storage.on_scratch(bucket / "run") as here:
        here.mkdir()
        (here / "model").write_text("half")
        raise ZeroDivisionError
    assert not storage.files_below(bucket)
    before = len(server.seen)
    with storage.on_scratch(bucket / "run", last=["a-summary.json"]) as here:
        (here / "late").mkdir(parents=True)
        for name in ("a-summary.json", "model", "late/model"):
            (here / name).write_text(name)
    put = [one.rpartition("/run/")[2] for one in server.seen[before:] if one.startswith("PUT")]
    assert put == ["late/model", "model", "a-summary.json"]
    with storage.borrowed(bucket / "run") as copy:
        assert (copy / "late" / "model").read_text() == "late/model"


def test_an_experiment_in_a_store_that_fails_gives_the_bytes_of_one_in_a_folder(
    bucket, server, made_crawl, tasks, tmp_path, capsys
):
    train_tokenizer([f"page {number} of words" for number in range(50)], 270, tmp_path / "tokenizer")
    for file in (*(made_crawl / f"made-{number}.warc.gz" for number in range(1)), *(tmp_path / "tokenizer").iterdir()):
        (bucket / ("in" if file.suffix == ".gz" else "tokenizer") / file.name).put(file)
    found = {}
    for name, place in {"store": str(bucket), "folder": str(tmp_path)}.items():
        tree = {
            "out": f"{place}/out",
            "pages": {"from": [f"{bucket}/in/made-[0].warc.gz"]},
            "tokenizer": {"path": f"{place}/tokenizer"},
            "signals": {"gopher": {}},
            "rules": {"word_count": {"min": 20}},
            "sweep": {"rules.mean_word_length.keep_fraction": ["none", 0.5]},
        }
        conf = tmp_path / f"{name}.yaml"
        conf.write_text(yaml.safe_dump(tree))
        server.every = 190
        for verb in (read, split, train_tokenizer_job, score, choose):
            assert command.run(verb.main, verb.__doc__, [str(conf)]) == 0, capsys.readouterr().err
        server.every = 0
        out = load(conf).out
        files = [file for file in storage.files_below(out) if file.suffix in (".parquet", ".zst", ".json")]
        found[name] = {str(file.relative_to(out)): file.read_bytes() for file in files if not file.name.startswith(".")}
    assert server.failed > 1 and len(found["store"]) > 20
    assert found["store"] == found["folder"]
    before = len(tasks)
    assert command.run(score.main, score.__doc__, [str(tmp_path / "store.yaml")]) == 0 and len(tasks) == before
    assert len(expand([f"{bucket}/out/pages/*.parquet"])) == 1
