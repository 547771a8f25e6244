"""A judge's answer is what a plain loop over whole prompts says; one that cannot be asked is called by its name."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from classifiers import judge
from classifiers.judge import Options, Prompt, read_prompt
from eval.report.scorers import read_scorers
from filters.pages import PageBatch
from jobs import score, train_classifier
from jobs.parts.refusals import ExperimentError

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["the whale", "casino " * 30, "Größe und 日本語", "a<|endoftext|>b", "the sea captain " * 3, "x"]
PROMPT = {"page": "Look:\n{page}", "questions": ["Yes or No?", "the sea, No or Yes"], "yes": ["Yes", "yes"], "no": ["No"]}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    """The file of a short prompt."""
    file = tmp_path_factory.mktemp("prompts") / "short.yaml"
    file.write_text(yaml.safe_dump(PROMPT))
    return str(file)


@pytest.fixture(scope="module")
def chatty(own_run, tmp_path_factory):
    """The run with a chat template, and a tokenizer that by itself takes the letters of a mark for the mark."""
    folder = Path(shutil.copytree(own_run, tmp_path_factory.mktemp("chat") / "run"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    changed = settings | {"chat_template": TEMPLATE, "split_special_tokens": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(changed))
    return folder


def table(group, given):
    return group.measure(pa.array([str(row) for row in range(len(given))]), PageBatch(given))


def plain_loop(folder, texts, asked, tokens, **how):
    """P(yes) / (P(yes) + P(no)) for each text and question, from one whole prompt at a time."""
    tokenizer, model = (kind.from_pretrained(folder, **how) for kind in (AutoTokenizer, AutoModelForCausalLM))

    def ids(text, markup):
        return tokenizer(text, add_special_tokens=False, split_special_tokens=not markup)["input_ids"]

    yes, no = (
        sorted({one[0] for word in words for form in (word, f" {word}") if len(one := ids(form, False)) == 1})
        for words in (asked.yes, asked.no)
    )
    chat = tokenizer.chat_template is not None
    for text in texts:
        for question in asked.questions:
            whole = f"{asked.page}\n\n{question}"
            if chat:
                said = [{"role": "user", "content": whole}]
                whole = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
            else:
                whole += "\nAnswer:"
            before, after = whole.split("{page}")
            given = [*ids(before, chat), *ids(text, False)[:tokens], *ids(after, chat)]
            given = given if chat else [tokenizer.bos_token_id, *given]
            with torch.inference_mode():
                shares = model.eval()(input_ids=torch.tensor([given])).logits[0, -1].double().softmax(-1)
            yield (shares[yes].sum() / (shares[yes].sum() + shares[no].sum())).item()


@pytest.mark.parametrize("which", ["own_run", "chatty"])
def test_the_score_is_a_plain_loops_mean_over_phrasings_and_the_spread_how_they_differ(which, prompt, tmp_path, request):
    folder = request.getfixturevalue(which)
    found = table(Options(model=folder, prompt=prompt, tokens=24).group("quality", tmp_path), pa.array(TEXTS))
    plain = np.array(list(plain_loop(folder, TEXTS, Prompt(**PROMPT), 24))).reshape(-1, 2)
    assert plain.mean(1).std() > 1e-3 and np.ptp(plain, axis=1).max() > 1e-3
    assert found["quality"].to_pylist() == pytest.approx(plain.mean(1), abs=1e-5)
    assert found["quality_spread"].to_pylist() == pytest.approx(np.ptp(plain, axis=1), abs=1e-5)


def test_odd_pages_get_null_or_a_number(own_run, prompt, tmp_path, odd_pages):
    found = table(Options(model=own_run, prompt=prompt, tokens=50).group("quality", tmp_path), odd_pages)
    for column in ("quality", "quality_spread"):
        values = found[column].to_pylist()
        assert [value is None for value in values] == [True, True, False, False, False, False, False, False, True]
        assert all(0 <= value <= 1 for value in values if value is not None)


def test_its_card_tells_phrasings_apart(own_run, prompt, sides, asked, tmp_path):
    experiment = asked("judge", model=str(own_run), prompt=prompt, tokens=40, **sides)
    assert train_classifier.main(experiment) == 0
    file = tmp_path / "out" / "models" / "quality" / "model.json"
    held = json.loads(file.read_text())["held_out"]
    assert len(held["phrasings"]) == 2 and all(0 < one["answered"] < 0.5 for one in held["phrasings"])
    assert 0 < held["mean_spread"] < 1 and -1 <= held["correlation_of_phrasings"] <= 1
    (card,) = read_scorers({"quality": file}, tmp_path / "none", []).cards
    assert [column.name for column in card.columns] == ["quality", "quality_spread"]
    assert ("this judge goes by how it is asked" in card.warning) == (held["correlation_of_phrasings"] < 0.5)
    assert card.columns[0].area == pytest.approx(held["area_under_curve"]) and card.columns[0].highest == ()
    assert score.groups(experiment)["quality"].schema.names == ["id", "quality", "quality_spread"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"yes": ["zebra"]}, "has no single token for yes (zebra), so the model cannot be asked"),
        ({"no": ["Yes"]}, "yes and no share an answer"),
        ({"page": "no place"}, "{page} must stand once under page:"),
        ({"questions": ["one"]}, "questions: List should have at least 2 items"),
        ({"quesitons": []}, "did you mean 'questions'?"),
        ({"page": "whale " * 120 + "{page}"}, "but the model in"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_one_sentence_before_any_task(own_run, asked, tmp_path, change, says):
    file = tmp_path / "prompt.yaml"
    file.write_text(yaml.safe_dump(PROMPT | change))
    with pytest.raises(ExperimentError) as caught:
        train_classifier.check(asked("judge", model=str(own_run), prompt=str(file), tokens=24))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_prompt_is_refused_with_the_nearest(asked, own_run):
    with pytest.raises(ExperimentError, match="unknown prompt 'educationl': did you mean 'educational'"):
        asked("judge", model=str(own_run), prompt="educationl")


def test_a_template_that_fails_and_a_model_that_heeds_its_padding_are_refused(chatty, prompt, tmp_path, monkeypatch):
    broken = Path(shutil.copytree(chatty, tmp_path / "broken"))
    settings = json.loads((broken / "tokenizer_config.json").read_text())
    (broken / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": "{{ raise_exception('no') }}"}))
    with pytest.raises(ValueError, match=r"the chat template in .* cannot be used: no"):
        Options(model=broken, prompt=prompt, tokens=24).look_into_models()
    answers = judge.answers

    def heeding(found, asked, ids):
        return judge.Said(answers(found, asked, ids).yes + 0.01 * len(ids), np.zeros(1))

    monkeypatch.setattr(judge, "answers", heeding)
    with pytest.raises(ValueError, match="answers otherwise when it is asked about several pages"):
        Options(model=chatty, prompt=prompt, tokens=24).look_into_models()


@pytest.mark.parametrize("name", sorted(file.stem for file in judge.PROMPTS.glob("*.yaml")))
def test_every_prompt_can_be_asked(name):
    assert len(read_prompt(name).questions) > 1


def test_the_table_goes_by_the_files_not_by_where_they_lie(own_run, prompt, tmp_path):
    def identity(folder, **more):
        return Options(**{"model": folder, "prompt": prompt, "tokens": 24} | more).group("quality", tmp_path).options

    moved = Path(shutil.copytree(own_run, tmp_path / "moved"))
    assert identity(own_run) == identity(moved) != identity(own_run, tokens=25)


@pytest.fixture(scope="module")
def smollm2():
    folder = Path(os.environ.get("GOODHART_SMOLLM2", "nowhere"))
    if not folder.is_dir():
        pytest.skip("GOODHART_SMOLLM2 names no folder with SmolLM2-135M-Instruct")
    return folder


def test_a_true_judge_says_what_a_plain_loop_says(smollm2, tmp_path):
    (file,) = smollm2.glob("*.gguf")
    found = table(Options(model=smollm2, tokens=64).group("quality", tmp_path), pa.array(TEXTS[:3]))
    plain = np.array(list(plain_loop(smollm2, TEXTS[:3], read_prompt("educational"), 64, gguf_file=file.name)))
    assert found["quality"].to_pylist() == pytest.approx(plain.reshape(3, -1).mean(1), abs=1e-5)
