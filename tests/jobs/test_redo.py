"""A changed threshold, a verb done again, and tables of another experiment taken, in this process instead of Spark's."""

import json
import sys
from types import SimpleNamespace

import pytest
import yaml

from jobs import choose, experiment
from jobs.parts import reuse
from jobs.parts.command import run
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.redo import BY_ITSELF, VERBS, undone
from jobs.parts.storage import held
from jobs.parts.table import MANIFEST, identity_of

TABLES = ("pages", "rejected", "split", "signals/size", "signals/gopher", "token_ids", "models/tokenizer")


@pytest.fixture
def crawl(made_crawl, tmp_path, tasks, monkeypatch):
    """Runs an experiment in a folder of its own with these further sections; `parts` were worked on in tasks."""

    def conf(name="one", **more):
        tree = {
            "out": str(tmp_path / name),
            "pages": {"from": [str(made_crawl / "made-[01].warc.gz")]},
            "signals": {"gopher": {}},
            "rules": {"word_count": {"min": 50}},
            "tokenizer": {"vocabulary": 300},
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(tree | more))
        return str(tmp_path / f"{name}.yaml")

    def ran(*arguments, verb=experiment.main, description=None, **more):
        tasks.clear()
        return run(verb, description, [conf(**more), *arguments])

    yield SimpleNamespace(out=tmp_path, ran=ran, conf=conf, parts=tasks)
    reuse.REUSE.set(None)


def files(out, *tables):
    return {file: file.stat().st_mtime_ns for table in tables for file in sorted((out / table).rglob("*")) if file.is_file()}


def kept(out):
    return json.loads((out / "subsets" / "rules.json").read_text())["kept"]["pages"]


def test_a_changed_threshold_is_refused_by_its_key_and_redone_without_measuring_again(crawl, capsys):
    assert crawl.ran() == 0
    before, pages = kept(crawl.out / "one"), files(crawl.out / "one", *TABLES)
    harder = {"rules": {"word_count": {"min": 150}}}
    assert crawl.ran(**harder) == 2
    assert "rules.word_count.min was 50 and is 150; add --redo choose" in capsys.readouterr().err
    assert kept(crawl.out / "one") == before
    assert crawl.ran("--redo", "choose", "--dry-run", **harder) == 0
    assert "redo: " in capsys.readouterr().out and kept(crawl.out / "one") == before
    assert crawl.ran("--redo", "choose", **harder) == 0
    assert kept(crawl.out / "one") < before
    assert files(crawl.out / "one", *TABLES) == pages


def test_what_another_experiment_has_finished_is_taken_and_not_made(crawl, capsys):
    assert crawl.ran() == 0
    capsys.readouterr()
    changed = {"name": "two", "reuse": str(crawl.out / "one"), "rules": {"word_count": {"min": 150}}}
    assert crawl.ran("--dry-run", **changed) == 0
    assert "2 to take, 0 to run" in capsys.readouterr().out and not (crawl.out / "two").exists()
    assert crawl.ran(**changed) == 0
    said = capsys.readouterr().out
    for what in ("read: 2 parts of pages, rejected, size are", "split: 2 parts of split are", "tokenizer is"):
        assert f"{what} taken from {crawl.out / 'one'}" in said
    one, two = crawl.out / "one", crawl.out / "two"
    for table in ("pages", "signals/gopher", "token_ids"):
        assert identity_of(one / table) == identity_of(two / table)
        assert all(file.samefile(two / file.relative_to(one)) for file in (one / table).glob("*.parquet"))
    assert kept(two) < kept(one)


def test_only_what_the_same_configuration_made_of_the_same_shards_is_taken(crawl, made_crawl, capsys):
    """Of three shards two are taken; other options of a group are measured anew."""
    assert crawl.ran() == 0
    capsys.readouterr()
    more = {"pages": {"from": [str(made_crawl / "made-[012].warc.gz")]}, "signals": {"gopher": {}, "fineweb": {}}}
    assert crawl.ran(name="two", reuse=str(crawl.out / "one"), **more) == 0
    said = capsys.readouterr().out
    assert "read: 2 parts of pages, rejected, size are taken" in said and "gopher, fineweb are taken" not in said
    assert "split: 2 parts" in said and "tokenizer is taken" not in said  # a sample of more pages is another sample
    assert json.loads((crawl.out / "two" / "pages" / MANIFEST).read_text())["rows"] == 360


def test_to_remove_what_was_taken_leaves_the_other_experiment_as_it_was(crawl):
    assert crawl.ran() == 0
    assert crawl.ran(name="two", reuse=str(crawl.out / "one")) == 0
    before = files(crawl.out / "one", *TABLES)
    assert crawl.ran("--redo", "read", name="two") == 0
    assert files(crawl.out / "one", *TABLES) == before
    ours, theirs = (next((crawl.out / name / "pages").glob("*.parquet")) for name in ("one", "two"))
    assert not ours.samefile(theirs)


def test_files_that_are_wrong_stop_the_job_before_anything_is_removed(crawl):
    assert crawl.ran() == 0
    before = files(crawl.out / "one", *TABLES)
    conf = crawl.conf(pages={"from": ["nowhere/*.warc.gz"]})
    assert run(experiment.main, None, [conf, "--redo", "read"], experiment.check) == 2
    assert files(crawl.out / "one", *TABLES) == before


@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        (["--redo", "choos"], {}, "did you mean 'choose'"),
        (["--redo", "read"], {}, "give --redo read to jobs.experiment or jobs.read"),
        ([], {"reuse": "nowhere"}, "there is no folder nowhere"),
        ([], {"reuse": "OUT"}, "own out:"),
    ],
)
def test_what_cannot_be_meant_is_refused(crawl, capsys, arguments, more, says):
    (crawl.out / "one").mkdir()
    more = {key: value.replace("OUT", str(crawl.out / "one")) for key, value in more.items()}
    assert crawl.ran(*arguments, verb=choose.main, description="choose: signals in", **more) == 2
    assert says in capsys.readouterr().err


def test_nothing_is_taken_from_a_folder_that_a_job_is_writing_to(crawl, capsys):
    with held(crawl.out / "one"):
        assert crawl.ran(name="two", reuse=str(crawl.out / "one")) == 2
    assert "another job is writing to" in capsys.readouterr().err


@pytest.fixture
def done(tmp_path):
    """A made-up folder of a whole experiment, and its file."""
    places = Places(tmp_path)
    tables = [places.pages, places.rejected, places.split, places.token_ids, places.verdicts]
    tables += [places.signals(group) for group in ("size", "gopher", "tokens", "quality", "best", "edu")]
    folders = [*tables, places.tokenizer, places.classifier("quality"), places.subset("a"), places.removed("a")]
    told = [places.sweep, places.compared, places.evaluated, places.results, places.report("html")]
    for file in [*(folder / "file" for folder in folders), *told, places.run("a", "t", 0) / "evaluation.parquet"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    best = {"best": {"ensemble": {"of": ["quality", "word_count"]}}}
    return places, Experiment.model_validate({"pages": {"from": ["a"]}, "out": tmp_path, "classifiers": best})


def names(done, verb):
    places, asked = done
    return {str(path.relative_to(places.out)) for path in undone(asked, verb)}


def test_what_a_verb_made_goes_with_all_that_depends_on_it(done):
    models = {"models/tokenizer", "models/quality"}
    learned = {"signals/quality", "signals/best"}
    encoded = {"signals/tokens", "token_ids"}
    told = {"results.jsonl", "report.html"}
    trained = {"packed", "runs"} | told
    judged = {"verdicts", "subsets", "removed", "compare.json"} | trained
    assert names(done, "split") == {"split"} | models | learned | encoded | judged
    assert names(done, "train_tokenizer") == {"models/tokenizer"} | encoded | judged
    assert names(done, "train_classifier") == {"models/quality"} | learned | judged
    assert names(done, "score") == {"signals/gopher", "signals/edu"} | learned | encoded | judged
    assert names(done, "choose") == judged - {"compare.json"}
    assert names(done, "pack") == trained
    assert names(done, "train") == trained - {"packed"}
    assert names(done, "evaluate") == {"packed/evaluated.parquet", "runs/a/t/0/evaluation.parquet"} | told
    assert names(done, "report") == {"report.html"}


def test_reading_again_leaves_nothing(done):
    everything = {path.relative_to(done[0].out).parts[0] for path in done[0].out.rglob("*")}
    assert {name.split("/")[0] for name in names(done, "read")} == everything


def test_every_verb_of_an_experiment_can_be_redone():
    """And its command knows its own name, which is the first word of its help."""
    verbs = experiment.FILTERING + experiment.TRAINING + experiment.TELLING
    assert all((sys.modules[verb.__module__].__doc__ or "").startswith(f"{verb.__module__[5:]}: ") for verb in verbs)
    assert {verb.__module__ for verb in verbs} == {f"jobs.{verb}" for verb in VERBS if verb != BY_ITSELF}  # dedup: 3 steps
