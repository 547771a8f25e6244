"""A page's place along a direction is what a plain loop says, and directions tell high pages from low ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from classifiers.kinds import Page, TrainingError
from classifiers.reading_vector import Options, curve, direction
from eval.gpt import build_model
from eval.report.scorers import read_scorers
from eval.sizes import ModelSize
from filters.pages import PageBatch
from jobs import score, train_classifier
from jobs.parts.refusals import ExperimentError

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["the whale", "casino " * 30, "Größe und 日本語", "a<|endoftext|>b", "the sea captain " * 3, "x"]


def scores(group, texts):
    return group.measure(pa.array([str(row) for row in range(len(texts))]), PageBatch(texts))["quality"].to_pylist()


def plain_loop(folder, texts, tokens):
    """The mean state of each text at every layer, after the mark, one by one."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    for text in texts:
        ids = [tokenizer.bos_token_id, *tokenizer(text, split_special_tokens=True)["input_ids"][:tokens]]
        with torch.inference_mode():
            said = model.eval()(input_ids=torch.tensor([ids]), output_hidden_states=True)
        yield np.stack([states[0, 1:].double().mean(0).numpy() for states in said.hidden_states])


@pytest.fixture(scope="module")
def trained(own_run, sides, tmp_path_factory):
    """What training writes, and what it said."""
    folder = tmp_path_factory.mktemp("models") / "quality"
    options = Options(model=own_run, tokens=40, **sides)
    return options, folder, options.train(pages_of(sides), folder)


def pages_of(sides):
    lines = {key: Path(file).read_text().splitlines() for key, [file] in sides.items()}
    return {key: [Page(**json.loads(line)) for line in some] for key, some in lines.items()}


def test_the_score_is_a_plain_loops(own_run, trained, tmp_path):
    options, folder, _ = trained
    found = load_file(folder / "directions.safetensors")
    for layer in (0, 1, 2):
        given = Options(model=own_run, tokens=40, vector=folder / "directions.safetensors", layer=layer)
        slope, height = found["curves"][layer]
        along = [states[layer] @ found["directions"][layer] for states in plain_loop(own_run, TEXTS, 40)]
        plain = 1 / (1 + np.exp(-(slope * np.array(along) + height)))
        assert np.std(plain) > 1e-2
        assert scores(given.group("quality", tmp_path), pa.array(TEXTS)) == pytest.approx(plain, abs=1e-5)
        if layer == found["layer"][0]:
            assert scores(options.group("quality", folder), pa.array(TEXTS)) == pytest.approx(plain, abs=1e-5)


def test_it_learns_and_its_card_sweeps_layers(trained):
    options, folder, said = trained
    card = json.loads((folder / "model.json").read_text())
    assert card["held_out"]["area_under_curve"] > 0.9 and "area under the curve" in said and "layer" in said
    assert [one["layer"] for one in card["layers"]] == [0, 1, 2]
    assert card["layer"] == max(card["layers"], key=lambda one: one["area_under_curve"])["layer"]
    assert 0.5 < card["cosine_of_halves"] <= 1
    good, bad = scores(options.group("quality", folder), pa.array(["the sea and the whale", "casino bonus click"]))
    assert good > 0.5 > bad


def test_the_same_pages_give_the_same_bytes(own_run, sides, trained, tmp_path):
    Options(model=own_run, tokens=40, **sides).train(pages_of(sides), tmp_path)
    for name in ("directions.safetensors", "model.json"):
        assert (tmp_path / name).read_bytes() == (trained[1] / name).read_bytes()


def test_odd_pages_get_null_or_a_number(trained, odd_pages):
    options, folder, _ = trained
    found = scores(options.group("quality", folder), odd_pages)
    assert [value is None for value in found] == [True, True, False, False, False, False, False, False, True]
    assert all(0 <= value <= 1 for value in found if value is not None)


def test_an_experiment_finds_a_direction_and_scores_with_it(own_run, sides, asked, tmp_path):
    experiment = asked("reading_vector", model=str(own_run), tokens=40, by="first_component", **sides)
    train_classifier.check(experiment)
    assert train_classifier.main(experiment) == 0
    good, bad = scores(score.groups(experiment)["quality"], pa.array(["the sea and the whale", "casino bonus click"]))
    assert good > bad
    found = read_scorers({"quality": tmp_path / "out" / "models" / "quality" / "model.json"}, tmp_path / "none", [])
    assert found.cards[0].columns[0].area > 0.9 and found.cards[0].calibration


def refusal(options, folder):
    with pytest.raises(ValueError) as caught:
        options.group("quality", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_directions_serve_another_model_as_wide_and_no_other(trained, own_run, asked, tmp_path):
    file = trained[1] / "directions.safetensors"
    for width in (16, 32):
        folder = Path(shutil.copytree(own_run, tmp_path / str(width)))
        size = ModelSize(1, width, 2, 48, 128, 128, 1e-2, 0.05, 0.1)
        build_model(size, 300, 0, seed=4).save_pretrained(folder)
    narrow = Options(model=tmp_path / "16", tokens=40, vector=file, layer=1)
    assert all(0 <= value <= 1 for value in scores(narrow.group("quality", tmp_path), pa.array(TEXTS)))
    assert "layer is 2, but the model in" in refusal(
        Options(model=tmp_path / "16", tokens=40, vector=file, layer=2), tmp_path
    )
    with pytest.raises(ExperimentError) as caught:
        train_classifier.check(asked("reading_vector", model=str(tmp_path / "32"), tokens=40, vector=str(file)))
    assert "are 16 wide, the states of the model in" in str(caught.value) and "\n" not in str(caught.value)


def test_what_does_not_fit_is_one_sentence(trained, own_run, tmp_path):
    options, folder, _ = trained
    assert "run jobs.train_classifier first" in refusal(options, tmp_path / "nowhere")
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps(card | {"model": "f" * 64}))
    assert "was found in another model" in refusal(options, other)
    file = tmp_path / "odd.safetensors"

    def given(**more):
        return Options(model=own_run, **{"tokens": 40, "vector": file} | more)

    file.write_bytes(b"no tensors")
    assert "holds no directions of ours" in refusal(given(), tmp_path)
    save_file({"directions": np.zeros((3, 16)), "curves": np.zeros((2, 2)), "layer": np.array([1])}, file)
    assert "do not fit each other" in refusal(given(), tmp_path)
    save_file({"directions": np.zeros((2, 16)), "curves": np.zeros((2, 2)), "layer": np.array([1])}, file)
    assert "share 1 layers" in refusal(given(layer=2), tmp_path)
    assert "layer is 3, but the model" in refusal(given(layer=3), tmp_path)
    assert "tokens is 128, but the model" in refusal(given(tokens=128), tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "name either positives to find a direction from, or a vector"),
        ({"positives": ["a"], "vector": "b"}, "name either positives to find a direction from, or a vector"),
        ({"vector": "b", "by": "first_component"}, "by belongs to a direction that is found here"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Options(model="m", **options)


def test_too_few_pages_to_hold_out_are_a_sentence(own_run, sides, tmp_path):
    few = {key: some[:20] for key, some in pages_of(sides).items()}
    with pytest.raises(TrainingError, match="at least 20 are needed"):
        Options(model=own_run, tokens=40, **sides).train(few | {"negatives": few["negatives"][:5]}, tmp_path)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), pages=st.integers(4, 40), apart=st.floats(0, 5))
def test_the_curve_is_the_likeliest_and_rises_with_what_tells_classes_apart(seed, pages, apart):
    draw = np.random.default_rng(seed)
    high = np.arange(2 * pages) < pages
    along = draw.normal(size=2 * pages) * 3 + 7 + apart * high
    slope, height = curve(along, high)
    aim = np.where(high, (pages + 1) / (pages + 2), 1 / (pages + 2))
    error = 1 / (1 + np.exp(-(slope * along + height))) - aim
    assert abs(error.sum()) < 1e-4 * pages and abs(error @ (along - along.mean())) < 1e-3 * pages
    if apart > 4:
        assert slope > 0


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), pages=st.integers(3, 20), width=st.integers(2, 8))
def test_directions_have_length_one_point_at_high_pages_and_are_what_algebra_says(seed, pages, width):
    draw = np.random.default_rng(seed)
    high = draw.permutation(2 * pages) < pages
    states = draw.normal(size=(2 * pages, width)) + 0.5 * high[:, None]
    difference = states[high].mean(0) - states[~high].mean(0)
    assert direction(states, high, "mean_difference") == pytest.approx(difference / np.linalg.norm(difference))
    first = direction(states, high, "first_component")
    pairs = states[high] - states[~high]
    largest = np.linalg.eigvalsh(pairs.T @ pairs)[-1]
    assert np.linalg.norm(first) == pytest.approx(1) and ((pairs @ first) ** 2).sum() == pytest.approx(largest)
    assert first @ difference >= 0
