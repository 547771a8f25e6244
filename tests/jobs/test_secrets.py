"""No login and no signature of an address is stored or shown, wherever an address can stand."""

import base64
import http.server
import json
import threading

import pytest
import yaml

from filters.rules import RuleError
from filters.strict_yaml import YamlError
from jobs import read, split, train_classifier
from jobs.parts import command
from jobs.parts.experiment_file import as_tree, config_hash, load
from jobs.parts.file_reference import examples
from jobs.parts.refusals import ExperimentError
from jobs.shards.locations import shard_names, without_secrets
from jobs.shards.sources import shards

CANARY = "canary-4f81"
LOGIN, SIGNED = f"user:{CANARY}", f"X-Amz-Credential=AKIA{CANARY}&X-Amz-Signature={CANARY}"


@pytest.fixture
def server(made_crawl):
    """A web server that gives a made-up shard from three folders to whoever has the login or the signature."""

    class Guarded(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            return str(made_crawl / path.partition("?")[0].split("/")[-1])

        def do_GET(self):
            known = base64.b64encode(LOGIN.encode()).decode() in self.headers.get("Authorization", "")
            if known or SIGNED in self.path:
                return super().do_GET()
            return self.send_error(403)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        running.shutdown()


def written(tmp_path, *addresses, **more):
    conf = tmp_path / "conf.yaml"
    conf.write_text(yaml.safe_dump({"out": str(tmp_path / "out"), "pages": {"from": list(addresses)}, **more}))
    return conf


def test_nothing_under_out_and_nothing_that_is_said_has_a_canary(server, tmp_path, tasks, capfd):
    host = f"127.0.0.1:{server}"
    addresses = [f"http://{host}/a/made-0.warc.gz?{SIGNED}", f"http://{host}/b/made-0.warc.gz?{SIGNED}"]
    addresses += [f"http://{LOGIN}@{host}/made-1.warc.gz"]
    # The first two are the same pages under two addresses: ids would be there twice, so one of them is read alone.
    conf = written(tmp_path, *addresses[1:])
    assert command.run(read.main, read.__doc__, [str(conf)]) == 0
    assert command.run(split.main, split.__doc__, [str(conf)]) == 0
    names = shard_names(addresses)
    assert sorted(names.values()) == ["a-made-0.warc.gz", "b-made-0.warc.gz", "made-1.warc.gz"]
    bytes_of = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(bytes_of) > 6 and not [
        path for path, data in bytes_of.items() if CANARY.encode() in data or CANARY in str(path)
    ]
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err


def test_a_trained_classifier_does_not_say_how_its_pages_were_fetched(server, tmp_path, tasks, capfd):
    files = {side: [f"http://{LOGIN}@127.0.0.1:{server}/{side}/good.jsonl?{SIGNED}"] for side in ("target", "raw")}
    conf = written(tmp_path, "a.warc.gz", classifiers={"books": {"importance": files}})
    assert command.run(train_classifier.main, train_classifier.__doc__, [str(conf)]) == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 3 and not [path for path in files if CANARY.encode() in path.read_bytes()]
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err and "/target/good.jsonl" in said.out


@pytest.mark.parametrize("address", [f"http://HOST/no/such.warc.gz?{SIGNED}", f"http://{LOGIN}@HOST/made-0.tar.gz"])
def test_a_refusal_has_no_canary(server, tmp_path, tasks, capfd, address):
    conf = written(tmp_path, address.replace("HOST", f"127.0.0.1:{server}"))
    assert command.run(read.main, read.__doc__, [str(conf)]) != 0
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err and "127.0.0.1" in said.err


def test_what_is_stored_of_an_experiment_has_no_canary_and_is_the_same_for_the_next_signature(tmp_path):
    quality = {"fasttext": {"positives": [f"https://store.example/good.jsonl.zst?{SIGNED}"]}}
    one = load(written(tmp_path, f"s3://{LOGIN}@bucket/a.warc.gz", classifiers={"quality": quality}))
    assert CANARY not in str(as_tree(one)) and "https://store.example/good.jsonl.zst" in str(as_tree(one))
    quality["fasttext"]["positives"] = ["https://store.example/good.jsonl.zst?X-Amz-Signature=another"]
    other = load(written(tmp_path, "s3://bucket/a.warc.gz", classifiers={"quality": quality}))
    assert config_hash(one) == config_hash(other)


def refused_or_stored(conf, key, value):
    """What is stored of an experiment with this value for a key, or what is said where that is refused."""
    try:
        return str(as_tree(load(conf, [f"{key}={json.dumps(value)}"])))
    except (ExperimentError, RuleError, YamlError) as error:
        command.tell(str(error), command.REFUSED)
        return ""


def test_no_key_of_the_file_takes_a_canary_in_whatever_it_is_wrapped(tmp_path, capsys):
    conf, stored = written(tmp_path, "a.warc.gz"), 0
    addresses = [
        f"https://{LOGIN}@host/x?{SIGNED}",
        f"s3://{LOGIN}@bucket/x",
        f"gs://bucket/x?{SIGNED}",
        f"https://host/x#{CANARY}",
    ]
    for key, _ in examples():
        for one in addresses:
            for value in (one, [one], {"x": one}, {one: 1}, [{"jsonl": one}], {"x": [one]}, {"x": {"y": [one]}}):
                kept = refused_or_stored(conf, key, value)
                stored += bool(kept)
                assert CANARY not in kept, (key, value)
    said = capsys.readouterr()
    assert stored > 50 and CANARY not in said.out + said.err


def test_a_signature_that_is_renewed_does_not_make_another_shard(server):
    where = f"http://127.0.0.1:{server}/a/made-0.warc.gz?{SIGNED}"
    [one], [other] = (shards([address], read.ReadOptions(), "pages.from") for address in (where, f"{where}&again=1"))
    assert one.said == other.said and one.name == other.name == "made-0.warc.gz"


def test_text_without_an_address_stays_as_it_is():
    for text in ("what? is @ this", "a/b?c", "C:\\x?y", "mail me@site.example"):
        assert without_secrets(text) == text
