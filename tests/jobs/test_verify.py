"""A byte that changes after it was written is noticed: every one by verify, small files and footers before they are used."""

import random

import pytest
import yaml

from jobs import read, score, split, verify
from jobs.parts import command, ledger
from jobs.parts.experiment_file import load
from jobs.parts.places import Places
from jobs.parts.pool import Columns
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import parts_of

VERBS = (read, split, score)


@pytest.fixture
def conf(made_crawl, tmp_path, tasks):
    """480 pages, read and measured, and files as models and runs leave them."""
    asked = {"out": str(tmp_path / "out"), "pages": {"from": [str(made_crawl / "*.warc.gz")]}, "signals": {"gopher": {}}}
    conf = tmp_path / "conf.yaml"
    conf.write_text(yaml.safe_dump(asked))
    for name in ("models/quality/model.bin", "runs/all/0.2m/0/model.safetensors", "packed/all/128-0.bin", "results.jsonl"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(random.Random(name).randbytes(5000))
    assert [run(verb, conf) for verb in VERBS] == [0, 0, 0]
    return conf


def run(verb, conf, *more):
    return command.run(verb.main, verb.__doc__, [str(conf), *more], reads_only=verb is verify)


def flipped(file, draw):
    """Change one bit of a file; the bytes that were there."""
    whole = file.read_bytes()
    at = draw.randrange(len(whole))
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
    return whole


def written(conf):
    out = load(conf).out
    return sorted(file for file in out.rglob("*") if file.is_file() and file.name not in ledger.UNLISTED)


def test_verify_names_the_file_of_each_of_a_hundred_flips_and_nothing_else(conf, capsys):
    assert run(verify, conf) == 0
    draw, files = random.Random(0), written(conf)
    assert {"_manifest.json", "model.safetensors", "128-0.bin", "results.jsonl"} < {file.name for file in files}
    for turn in range(100):
        file = files[turn % len(files)]
        whole = flipped(file, draw)
        capsys.readouterr()
        assert run(verify, conf) == command.DAMAGED
        said = capsys.readouterr().out.splitlines()
        assert [line for line in said if " is not as it was written" in line] == [said[0]] and str(file) in said[0], file
        file.write_bytes(whole)
    assert run(verify, conf) == 0


def test_a_part_that_is_gone_or_cut_is_named(conf, capsys):
    part = next(file for file in written(conf) if file.suffix == ".parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    assert run(verify, conf) == command.DAMAGED and str(part) in capsys.readouterr().out
    part.unlink()
    assert run(verify, conf) == command.DAMAGED and str(part) in capsys.readouterr().out


def test_no_verb_begins_on_a_changed_file_and_redo_is_the_way_out(conf, capsys):
    manifest = Places(load(conf).out).signals("gopher") / "_manifest.json"
    flipped(manifest, random.Random(1))
    assert run(score, conf) == command.REFUSED
    said = capsys.readouterr().err
    assert str(manifest) in said and "--redo score" in said and "Traceback" not in said
    assert run(score, conf, "--redo", "score") == 0 and run(verify, conf) == 0


def test_after_a_kill_what_it_had_written_is_not_taken_for_damage(conf):
    out = load(conf).out
    (out / ledger.OPEN).touch()
    (out / "results.jsonl").write_text("{}\n")
    assert ledger.damaged(out) == []
    assert run(score, conf) == 0 and not (out / ledger.OPEN).exists()
    flipped(out / "results.jsonl", random.Random(2))
    assert ledger.damaged(out) == [out / "results.jsonl"]


def test_files_that_have_not_changed_are_not_read_again(conf, monkeypatch):
    monkeypatch.setattr(ledger, "sha256_of", lambda file: pytest.fail(f"{file} was read"))
    ledger.record(load(conf).out)


def test_a_footer_that_has_changed_stops_whoever_reads_a_column(conf):
    experiment, draw = load(conf), random.Random(3)
    part = parts_of(Places(experiment.out).pages)[0]
    for table in ("pages", "split", "signals/gopher"):
        file = experiment.out / table / f"{part.name}.parquet"
        whole = file.read_bytes()
        length = int.from_bytes(whole[-8:-4], "little")
        for _ in range(10):
            at = len(whole) - 8 - draw.randrange(length)
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
            with pytest.raises(ExperimentError, match="not as it was written"):
                Columns.find(experiment, {"word_count"}).of(part)
        file.write_bytes(whole)
    Columns.find(experiment, {"word_count"}).of(part)
