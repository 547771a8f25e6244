"""Every file that is made to hurt gives what it must, hangs nothing, and every byte of it is accounted for."""

import importlib.util
import io
import logging
import pickle
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch

from classifiers.bags import read_weights
from classifiers.fasttext.model import load as load_fasttext
from classifiers.kenlm.model import check as check_kenlm
from classifiers.kenlm.text import File, load_pieces
from classifiers.transformer import folder_digest
from eval import checkpoints
from eval.gpt import load_model
from eval.tokenizer import check_tokenizer
from filters.strict_yaml import YamlError
from jobs.parts.experiment_file import load
from jobs.parts.refusals import ExperimentError
from jobs.shards import reader
from jobs.shards.reader import ReadOptions, ShardReport, read_shard
from jobs.shards.reasons import REASONS, Page
from jobs.shards.sources import check_patterns


def module(name):
    """A program beside this file."""
    found = importlib.util.spec_from_file_location(f"hostile_{name}", Path(__file__).with_name(f"{name}.py"))
    loaded = sys.modules[found.name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


corpus, models = module("corpus"), module("models")
CASES = corpus.all_cases()


def test_there_are_two_hundred_files_of_forty_hazards():
    assert len({case.name for case in CASES}) == len(CASES) >= 200
    assert len({case.hazard for case in CASES}) >= 40


@pytest.fixture(scope="module")
def one_helper():
    """One helper process for all shards, as it starts in half a second."""
    kept = {}

    class Kept(reader.Extractor):
        def __exit__(self, *_):
            pass

    def extractor(name, limits):
        return kept.setdefault((name, limits), Kept(name, limits))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reader, "Extractor", extractor)
        yield
    for one in kept.values():
        one._stop()


def wrongs(case, folder) -> list[str]:
    """What is wrong with what comes of a case."""
    file = folder / case.name
    file.write_bytes(case.data)
    begun = time.process_time()
    if case.name.endswith(".yaml"):
        return refused(file)
    report = ShardReport()
    try:
        rows = list(read_shard(str(file), ReadOptions(), report))
    except ValueError as error:
        return [] if case.raises and case.raises in str(error) else [f"raised {error}"]
    found = [row for row in rows if isinstance(row, Page)]
    lost = Counter({reason: count for reason, count in report.counts.items() if reason in REASONS})
    told = {damage.reason for damage in report.damages} - {"few_pages"}
    few = {damage.reason for damage in report.damages} & {*(case.damage or ())} & {"few_pages"}
    return [
        f"{what}: {is_} and not {should}"
        for what, is_, should, wrong in (
            ("pages", len(found), case.pages, case.pages not in (None, -1) and len(found) != case.pages),
            ("lost", dict(lost), case.lost, case.lost is not None and case.pages != -1 and lost != Counter(case.lost)),
            ("damage", told | few, case.damage, case.damage is not None and told | few != {*case.damage}),
            ("text", [page.text[:50] for page in found], case.holds, case.holds not in "".join(page.text for page in found)),
            ("balance", report, "even", not report.balanced()),
            ("refusal", "none", case.raises, case.raises),
            ("seconds", time.process_time() - begun, 2, time.process_time() - begun > 2),
        )
        if wrong
    ]


def refused(file) -> list[str]:
    """A configuration that nobody could use is refused in one sentence."""
    try:
        check_patterns(load(file).pages.from_, "pages.from")
    except (ExperimentError, YamlError) as error:
        return ["the refusal has several lines"] * ("\n" in str(error))
    return ["it was taken"]


def test_every_file_gives_what_it_must(tmp_path, one_helper):
    found = {f"{case.name} ({case.hazard})": wrongs(case, tmp_path) for case in CASES}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def in_folder(data, folder):
    """The folder that a zip file holds."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        opened.extractall(folder)
    return folder


def took_checkpoint(one, folder):
    """Restore from a checkpoint; the error is why it was passed over, where nothing was filled from it."""
    layer = torch.nn.Linear(3, 2)
    before, said = layer.weight.tolist(), io.StringIO()
    in_folder(one.data, folder / "step-00000001")
    handler = logging.StreamHandler(said)
    checkpoints.log.addHandler(handler)
    try:
        found = checkpoints.restore_checkpoint(folder, models.KEY, layer, torch.optim.AdamW(layer.parameters()))
    finally:
        checkpoints.log.removeHandler(handler)
    if found.step == 0 and layer.weight.tolist() == before:
        raise ValueError(said.getvalue().strip())


def took(one, folder) -> None:
    """Use a file as what its ending says."""
    file, ending = folder / one.name, Path(one.name).suffix
    if ending == ".tokenizer":
        file.mkdir()
        (file / "tokenizer.json").write_bytes(one.data)
        check_tokenizer(file)
    elif ending == ".checkpoint":
        took_checkpoint(one, file)
    elif ending in (".run", ".encoder"):
        {".run": load_model, ".encoder": folder_digest}[ending](in_folder(one.data, file))
    else:
        file.write_bytes(one.data)
        uses = {".bin": load_fasttext, ".pieces": lambda file: load_pieces(File.at(file))}
        uses |= {".tensors": lambda file: read_weights(file, 4), ".arpa": lambda file: check_kenlm(File.at(file))}
        uses[".binary"] = uses[".arpa"]
        uses[ending](file)


def test_every_model_that_is_made_to_hurt_is_refused_in_a_sentence_and_none_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, hostile = {}, models.all_models()
    for one in hostile:
        try:
            took(one, tmp_path)
            found[one.name] = "it was taken"
        except ValueError as error:
            said = str(error)
            if one.says not in said or "\n" in said or len(said) > 900:
                found[one.name] = said
    assert found == {}
    assert not (tmp_path / models.CANARY).exists()
    assert len({one.name for one in hostile}) == len(hostile) >= 100


def test_the_same_files_are_taken_when_they_are_sound(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound = {"a.bin": models.fasttext(), "a.arpa": models.ARPA.encode(), "a.tokenizer": models.tokenizer()}
    sound |= {"a.checkpoint": models.checkpoint(), "a.tensors": models.of_weights(4)}
    for name, data in sound.items():
        took(models.Hostile("none", name, data, ""), tmp_path)
    pickle.loads(models.PICKLE)  # noqa: S301 - ours: it shows that the others would be noticed
    assert (tmp_path / models.CANARY).exists()


def test_a_cut_at_any_byte_is_noticed():
    """Here at every 97th; `make torture` cuts at every one."""
    assert len(list(module("cuts").trial(97))) == 4


@pytest.mark.parametrize("name", ["warc", "html", "json", "config", "parquet"])  # kernels have their own tests
def test_no_mutation_is_met_with_an_error_that_nobody_expects(name, capsys):
    """Here some dozens; `make fuzz` makes a million."""
    assert module("fuzz").run(name, 2000), capsys.readouterr().out
