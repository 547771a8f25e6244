import bz2
import gzip
import json
import zipfile
from pathlib import Path

import lm_eval.tasks
import pytest
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from eval.tasks.requests import lm_eval_config, requests_of
from jobs.parts.experiment_file import Experiment
from jobs.parts.refusals import ExperimentError
from jobs.parts.task_files import asked_tasks, items_of, known, read_task


def asked(**evaluate):
    return asked_tasks(Experiment.model_validate({"pages": {"from": ["x"]}, "train": {}, "evaluate": evaluate}))


@pytest.mark.parametrize("name", known())
def test_every_task_of_ours_is_one(name):
    task = read_task(name)
    assert 0 <= task.chance < 1 and task.templates


def test_templates_are_all_or_those_that_are_named():
    [first, second, third] = asked(tasks=["piqa", {"copa": "harness"}], verdict_tasks=[{"hub": "sciq"}], benchmarks="bench")
    assert list(first.templates) == ["harness", "bare"] and list(second.templates) == ["harness"]
    assert (third.name, third.hub, third.role) == ("sciq", True, "verdict_tasks")


@pytest.mark.parametrize(
    ("evaluate", "sentence"),
    [
        ({"tasks": ["pika"], "benchmarks": "b"}, "evaluate.tasks: there is no task 'pika': did you mean 'piqa'?"),
        (
            {"verdict_tasks": [{"piqa": ["harnes"]}], "benchmarks": "b"},
            "evaluate.verdict_tasks: piqa has no template 'harnes': did you mean 'harness'?",
        ),
        (
            {"tasks": ["piqa"], "verdict_tasks": [{"piqa": "bare"}], "benchmarks": "b"},
            "evaluate.verdict_tasks: piqa is asked twice: a task tunes or decides, not both",
        ),
        (
            {"tasks": ["piqa"]},
            "evaluate.tasks: piqa is read from a file: name its folder with evaluate.benchmarks, or take a task of the hub "
            "with {hub: NAME}",
        ),
    ],
)
def test_what_is_not_known_is_one_sentence(evaluate, sentence):
    with pytest.raises(ExperimentError) as raised:
        asked(**evaluate)
    assert str(raised.value) == sentence


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_items_of_json_lines(tmp_path):
    file = tmp_path / "piqa.jsonl.gz"
    file.write_bytes(gzip.compress(lines([{"query": "q", "choices": ["a", "b"], "gold": 1, "more": 0}] * 3).encode()))
    items = items_of(file, read_task("piqa"), "piqa", 2)
    assert items.found == 3 and len(items.docs) == 2
    assert items.docs[0].keys() == {"query", "choices", "gold", "item", "group"}


def test_items_of_an_archive_are_drawn_evenly_over_its_files(tmp_path):
    file = tmp_path / "BLiMP.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for kind in ("first", "second"):
            rows = [{"sentence_good": f"{kind} {at}", "sentence_bad": "x", "UID": kind} for at in range(9)]
            archive.writestr(f"data/{kind}.jsonl", lines(rows))
        archive.writestr("__MACOSX/data/._first.jsonl", b"\xff\x00")
    docs = items_of(file, read_task("blimp"), "blimp", 6).docs
    assert [doc["group"] for doc in docs] == ["first"] * 3 + ["second"] * 3


def test_items_of_hellaswag_begin_their_last_sentence_as_the_harness_does(tmp_path):
    file = tmp_path / "hellaswag.txt.bz2"
    items = ["Boats: They row. a man", "2", "a", "b", "c", "d", "How to row: Sit down. Pull.", "0", "e", "f", "g", "h"]
    file.write_bytes(bz2.compress(("\n".join(items) + "\n").encode()))
    first, second = items_of(file, read_task("hellaswag"), "hellaswag", 9).docs
    assert first["query"] == "Boats: They row. A man" and first["gold"] == 2 and first["choices"] == ["a", "b", "c", "d"]
    assert second["query"] == "How to row: Sit down. Pull."


def test_implicatures_that_say_neither_yes_nor_no_are_counted(tmp_path):
    file = tmp_path / "implicatures.csv"
    rows = [
        "Context utterance,Response utterance,Implicature",
        "Cold?,It snows.,Yes.",
        "Late?,It is noon.,Not now.",
        "a,b,no",
    ]
    file.write_text("\n".join(rows))
    items = items_of(file, read_task("implicatures"), "implicatures", 9)
    assert [doc["implicature"] for doc in items.docs] == ["Yes.", "no"]
    assert dict(items.left_out) == {"its implicature is not one that is asked for": 1} and items.found == 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"query": "q"}\n', r"piqa.jsonl, line 1: there is no field 'choices': known: query"),
        (b"[1]\n", r"piqa.jsonl, line 1: expected a mapping with query, got '\[1\]'"),
        (b"{\n", r"the benchmark file .*piqa.jsonl cannot be read as jsonl: "),
        (b"", r"the benchmark file .*piqa.jsonl has no items"),
        (b"\xff\n", r"the benchmark file .*piqa.jsonl cannot be read as jsonl: "),
    ],
)
def test_a_file_of_another_shape_is_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "piqa.jsonl"
    file.write_bytes(content)
    with pytest.raises(ExperimentError, match=sentence):
        items_of(file, read_task("piqa"), "piqa", 9)


@pytest.mark.parametrize("name", ["blimp", "hellaswag"])
def test_a_file_that_is_no_archive_or_no_items_is_one_sentence(tmp_path, name):
    file = tmp_path / "file.zip"
    file.write_text("one\ntwo\n")
    with pytest.raises(ExperimentError, match="cannot be read as"):
        items_of(file, read_task(name), name, 9)


def test_a_task_of_ones_own_is_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "{file: m.jsonl, fields: [q, a], output_type: loglikelihood, chance: 0, metric: bits_per_byte,"
        " templates: {plain: {doc_to_text: q, doc_to_target: a}}}"
    )
    [one] = asked(tasks=[str(tmp_path / "mine.yaml")], benchmarks="bench")
    assert one.name == "mine" and one.task.fields == ["q", "a"]
    (tmp_path / "mine.yaml").write_text("{file: m.jsonl, file: m.jsonl}")
    with pytest.raises(ExperimentError, match=r"mine.yaml, line 1: the key 'file' is there twice"):
        asked(tasks=[str(tmp_path / "mine.yaml")], benchmarks="bench")
    (tmp_path / "mine.yaml").write_text("{file: m.jsonl}")
    with pytest.raises(ExperimentError, match=r"mine.yaml: fields: Field required"):
        asked(tasks=[str(tmp_path / "mine.yaml")], benchmarks="bench")


def asked_by(config, doc):
    """(text before the answer, answer) of every request that lm-eval makes of one item."""
    task = ConfigurableTask(config=config | {"test_split": "test", "custom_dataset": lambda **_: {"test": doc}})
    [item] = task.test_docs()
    made = task.construct_requests(item, task.fewshot_context(item, num_fewshot=0))
    return [one.arguments for one in (made if isinstance(made, list) else [made])]


TWO = {"text": ["x", "y"], "label": ["A", "B"]}
FIVE = {"text": list("vwxyz"), "label": list("ABCDE")}
PROMPTS = {
    "lambada": ("lambada/lambada_openai", {"text": "the boat sank"}, {"context": "the boat", "continuation": "sank"}),
    "hellaswag": (
        "hellaswag/hellaswag",
        {"activity_label": "Row", "ctx_a": "They sit.", "ctx_b": "the man", "endings": ["a", "b", "c", "d"], "label": "0"},
        {"query": "Row: They sit. The man", "choices": ["a", "b", "c", "d"], "gold": 0},
    ),
    "piqa": (
        "piqa/piqa",
        {"goal": "row", "sol1": "x", "sol2": "y", "label": 1},
        {"query": "Question: row\n", "choices": ["x", "y"], "gold": 1},
    ),
    "arc_easy": (
        "arc/arc_easy",
        {"question": "q?", "choices": TWO, "answerKey": "B"},
        {"query": "Question: q?", "choices": ["x", "y"], "gold": 1},
    ),
    "arc_challenge": (
        "arc/arc_challenge",
        {"question": "q?", "choices": TWO, "answerKey": "B"},
        {"query": "Question: q?", "choices": ["x", "y"], "gold": 1},
    ),
    "winogrande": (
        "winogrande/default",
        {"sentence": "It hit the dock as _ was fast.", "option1": "boat", "option2": "dock", "answer": "1"},
        {"context_options": ["It hit the dock as boat", "It hit the dock as dock"], "continuation": "was fast.", "gold": 0},
    ),
    "winograd": (
        "wsc273/default",
        {
            "text": "It hit us as it was fast.",
            "pronoun": "it",
            "pronoun_loc": 13,
            "options": ["A boat", "A dock"],
            "label": 0,
        },
        {"context_options": ["It hit us as a boat", "It hit us as a dock"], "continuation": "was fast.", "gold": 0},
    ),
    "copa": (
        "super_glue/copa/default",
        {"premise": "It rained.", "choice1": "The boat sank.", "choice2": "Bread rose.", "question": "effect", "label": 0},
        {"query": "It rained, therefore", "choices": ["the boat sank.", "bread rose."], "gold": 0},
    ),
    "openbookqa": (
        "openbookqa/openbookqa",
        {"question_stem": "Rain is", "choices": TWO, "answerKey": "B"},
        {"query": "Rain is", "choices": ["x", "y"], "gold": 1},
    ),
    "commonsense_qa": (
        "commonsense_qa/default",
        {"question": "q?", "choices": FIVE, "answerKey": "B"},
        {"query": "Question: q?\nChoices:\nA. v\nB. w\nC. x\nD. y\nE. z\nAnswer:", "choices": list("ABCDE"), "gold": 1},
    ),
    "boolq": (
        "super_glue/boolq/default",
        {"passage": "It rains.", "question": "is it wet", "label": 1},
        {"query": "Passage: It rains.\nQuestion: is it wet?", "choices": ["no", "yes"], "gold": 1},
    ),
    "blimp": (
        "blimp/adjunct_island",
        {"sentence_good": "I am.", "sentence_bad": "I is."},
        {"sentence_good": "I am.", "sentence_bad": "I is.", "UID": "be"},
    ),
}
"""Task -> lm-eval's own file, an item as its authors have it, and the same item as our file has it."""
OF_DATA = ("dataset_path", "dataset_name", "training_split", "validation_split", "test_split")


@pytest.mark.parametrize("name", PROMPTS)
def test_the_template_called_harness_is_what_lm_eval_asks(name):
    file, theirs, ours = PROMPTS[name]
    config = load_yaml(Path(lm_eval.tasks.__file__).parent / f"{file}.yaml", resolve_func=True)
    config = {key: value for key, value in config.items() if key not in OF_DATA}
    task = read_task(name)
    mine = lm_eval_config(name, task.output_type, task.templates["harness"].model_dump(exclude_none=True))
    assert asked_by(mine, Dataset.from_list([ours])) == asked_by(config, Dataset.from_list([theirs]))


def test_other_templates_ask_for_the_same_answers():
    assert known() == sorted([*PROMPTS, "implicatures"])
    for name, (_, _, ours) in PROMPTS.items():
        task = read_task(name)
        configs = [
            lm_eval_config(name, task.output_type, one.model_dump(exclude_none=True)) for one in task.templates.values()
        ]
        answers = [[one.strip() for _, one in asked_by(config, Dataset.from_list([ours]))] for config in configs]
        assert answers == ([list("vwxyz"), list("ABCDE")] if name == "commonsense_qa" else [answers[0]] * len(answers))


@pytest.mark.parametrize("template", ["natural", "question"])
def test_an_implicature_is_asked_as_yes_or_no(template):
    doc = {"context_utterance": "Cold? ", "response_utterance": "It snows.", "implicature": " yes, it is"}
    how = read_task("implicatures").templates[template].model_dump(exclude_none=True)
    requests = requests_of(lm_eval_config("one", "multiple_choice", how), [doc | {"item": "1", "group": None}])
    assert [(one.answer, one.right) for one in requests] == [(" no", 1), (" yes", 1)]
    assert all("Cold?" in one.context and "It snows." in one.context for one in requests)
