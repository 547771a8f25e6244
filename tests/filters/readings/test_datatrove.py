"""datatrove's readings against its own verdicts and values on hand-made texts, and their kernels against slow twins."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels.text import find_copies
from filters.pages import PageBatch
from filters.readings import c4_datatrove, fineweb_datatrove, gopher_datatrove, repetition_datatrove
from filters.rules import Pool, parse, resolve_in
from filters.signals import GROUPS, configure
from filters.strict_yaml import read_yaml
from filters.transforms import apply_transforms
from filters.units.spacy_words import HAS_LETTER, HAS_WORD, spacy_words

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "datatrove.json").read_text())
PRESETS = Path(__file__).resolve().parents[3] / "conf" / "rules"
GROUP = {"gopher": "gopher_datatrove", "repetition": "repetition_datatrove", "fineweb": "fineweb_datatrove"}
GROUP |= {"c4": "c4_datatrove", "mc4": "mc4_datatrove"}

VALUES = {
    "gopher": {
        "n_non_symbol_words": "word_count_datatrove",
        "mean_len_non_symbol": "mean_word_length_datatrove",
        "hash_over_tokens": "hash_word_ratio_datatrove",
        "ellipsis_over_tokens": "ellipsis_word_ratio_datatrove",
        "bullet_frac": "bullet_line_ratio_datatrove",
        "ellipsis_line_frac": "ellipsis_line_ratio_datatrove",
        "alpha_frac": "alphabetic_word_ratio_datatrove",
        "distinct_stop_words": "stop_word_count_datatrove",
    },
    "repetition": {
        "dup_line_frac": "duplicate_line_fraction_datatrove",
        "dup_line_char_frac": "duplicate_line_char_fraction_datatrove",
        "dup_para_frac": "duplicate_paragraph_fraction_datatrove",
        "dup_para_char_frac": "duplicate_paragraph_char_fraction_datatrove",
        **{f"top_{n}_gram": f"top_{n}gram_char_fraction_datatrove" for n in range(2, 5)},
        **{f"dup_{n}_gram": f"duplicate_{n}gram_char_fraction_datatrove" for n in range(5, 11)},
    },
    "fineweb": {
        "line_punct_ratio": "line_punctuation_ratio_datatrove",
        "short_line_ratio": "short_line_ratio_datatrove",
        "char_dup_ratio": "duplicate_filled_line_char_fraction_datatrove",
        "newlines_over_tokens": "newline_word_ratio_datatrove",
    },
    "c4": {
        "line-total": "line_count_datatrove",
        "line-kept": "kept_line_count_datatrove",
        "line-filter-too_long_word": "long_word_line_count_datatrove",
        "line-filter-no_terminal_punc": "unterminated_line_count_datatrove",
        "line-filter-too_few_words": "short_line_count_datatrove",
        "line-filter-javascript": "javascript_line_count_datatrove",
        "line-filter-policy": "policy_line_count_datatrove",
    },
    "mc4": {},
}
ALONE = {  # datatrove's parameter: our signal and the one condition of its rule
    "gopher": {
        "min_doc_words": ("word_count_datatrove", "min"),
        "max_doc_words": ("word_count_datatrove", "max"),
        "min_avg_word_length": ("mean_word_length_datatrove", "min"),
        "max_avg_word_length": ("mean_word_length_datatrove", "max"),
        "max_symbol_word_ratio": ("symbol_word_ratio_datatrove", "max"),
        "max_bullet_lines_ratio": ("bullet_line_ratio_datatrove", "max"),
        "max_ellipsis_lines_ratio": ("ellipsis_line_ratio_datatrove", "max"),
        "max_non_alpha_words_ratio": ("alphabetic_word_ratio_datatrove", "min"),
        "min_stop_words": ("stop_word_count_datatrove", "min"),
    },
    "repetition": {name: (column, "max") for name, column in VALUES["repetition"].items()},
    "fineweb": {
        "line_punct_ratio": ("line_punctuation_ratio_datatrove", "min"),
        "short_line_ratio": ("short_line_ratio_datatrove", "max"),
        "char_dup_ratio": ("duplicate_filled_line_char_fraction_datatrove", "max"),
        "list_ratio": ("newline_word_ratio_datatrove", "max"),
    },
}


def measure(group, texts, **options):
    """The columns of a group for these texts, by name."""
    pages = PageBatch(pa.array(texts, pa.large_string()))
    batch = configure(group, options, GROUPS).measure(pa.array([str(k) for k in range(len(texts))]), pages)
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def preset(name):
    return read_yaml((PRESETS / f"{name}.yaml").read_text())["rules"]


def passes(rules, columns, count):
    """Whether each of `count` pages passes all rules."""
    pool = Pool([str(k) for k in range(count)], columns, {"pages": np.ones(count, np.int64)})
    truth = np.ones(count, bool)
    for rule in resolve_in(pool, parse(rules)):
        truth &= rule.passes(pool)
    return truth.tolist()


def settings_of(case):
    """(options of our group, least sentences, transform) of a golden C4 case."""
    parameters = case["parameters"]
    options = {
        "end_marks": parameters.get("filter_no_terminal_punct", True),
        "fewest_words": parameters.get("min_words_per_line", 3),
    }
    transforms = {(True, 3): "c4_datatrove", (False, 3): "c4_any_line_end_datatrove", (True, 5): "c4_five_words_datatrove"}
    return options, parameters.get("min_num_sentences", 5), transforms[tuple(options.values())]


def golden(kind):
    """The cases of one filter with its default cuts, and their texts."""
    cases = [case for case in GOLDEN["cases"] if case["filter"] == kind and (kind == "c4" or "parameters" not in case)]
    return cases, [GOLDEN["texts"][case["text"]] for case in cases]


@pytest.mark.parametrize("kind", ["gopher", "repetition", "fineweb"])
def test_golden_values_are_reached(kind):
    cases, texts = golden(kind)
    columns = measure(GROUP[kind], texts)
    for theirs, ours in VALUES[kind].items():
        for case, value in zip(cases, columns[ours].to_pylist(), strict=True):
            expected = case.get("values", {}).get(theirs)
            assert value == (None if expected is None else pytest.approx(expected, abs=1e-9)) or not case.get("values"), (
                case["text"],
                theirs,
            )


@pytest.mark.parametrize("kind", ["gopher", "repetition", "fineweb"])
def test_each_rule_alone_gives_the_golden_verdict(kind):
    cases, texts = golden(kind)
    columns, rules = measure(GROUP[kind], texts), preset(GROUP[kind])
    assert {signal for signal, _ in ALONE[kind].values()} == set(rules)
    for theirs, (signal, condition) in ALONE[kind].items():
        alone = {name: value for name, value in rules[signal].items() if name in (condition, "null")}
        for case, kept in zip(cases, passes({signal: alone}, columns, len(cases)), strict=True):
            assert kept == (case["per_rule"][theirs] == "keep"), (case["text"], theirs)


def test_line_punctuation_that_spares_zero_gives_the_golden_verdict():
    cases, texts = golden("fineweb")
    kept = passes(
        {"line_punctuation_ratio_or_none_datatrove": {"min": 0.12}}, measure("fineweb_datatrove", texts), len(cases)
    )
    assert kept == [case["per_rule"]["line_punct_ratio_exclude_zero"] == "keep" for case in cases]


@pytest.mark.parametrize("kind", ["gopher", "repetition", "fineweb", "mc4"])
def test_the_preset_gives_the_golden_verdict(kind):
    cases, texts = golden(kind)
    kept = passes(preset(GROUP[kind]), measure(GROUP[kind], texts), len(cases))
    assert kept == [case["verdict"] == "keep" for case in cases]


def test_a_cut_of_zero_is_no_rule_in_datatrove_and_a_rule_here():
    cases = {case["text"]: case for case in GOLDEN["cases"] if case["filter"] == "gopher" and "parameters" in case}
    columns = measure("gopher_datatrove", [GOLDEN["texts"][name] for name in cases])
    for at, case in enumerate(cases.values()):
        cut = case["parameters"]["max_symbol_word_ratio"]
        kept = passes({"symbol_word_ratio_datatrove": {"max": cut}} if cut else {}, columns, len(cases))[at]
        assert kept == (case["verdict"] == "keep")


@pytest.mark.parametrize(
    "case", golden("c4")[0], ids=lambda case: f"{case['text']}-{'-'.join(map(str, case['parameters'].values()))}"
)
def test_golden_c4_pages_have_their_verdict_counts_and_text(case):
    text = GOLDEN["texts"][case["text"]]
    options, least, transform = settings_of(case)
    columns = measure("c4_datatrove", [text], **options)
    rules = preset("c4_datatrove") | {"sentence_count_datatrove": {"min": least}}
    assert passes(rules, columns, 1) == [case["verdict"] == "keep"]
    counts = {theirs: columns[ours][0].as_py() for theirs, ours in VALUES["c4"].items()}
    assert {name: count for name, count in counts.items() if count} == case.get("values", {})
    if "output_text" in case:
        assert apply_transforms(pa.array([text], pa.large_string()), [transform]).to_pylist() == [case["output_text"]]
    elif case["verdict"] == "keep":
        assert apply_transforms(pa.array([text], pa.large_string()), [transform]).to_pylist() == [text]


@pytest.mark.parametrize("case", GOLDEN["tokenisation"], ids=lambda case: case["text"][:20])
def test_golden_sentences_are_counted(case):
    columns = measure("c4_datatrove", [case["text"].replace("\n", " ")], end_marks=False, fewest_words=1)
    assert columns["sentence_count_datatrove"].to_pylist() == [case["sentences"]]


BAD = [case for case in GOLDEN["cases"] if case["filter"] == "bad_words" and "language" in case["parameters"]]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["text"])
def test_golden_pages_with_bad_words_are_found(case, tmp_path):
    (tmp_path / "words.json").write_text(json.dumps(case["parameters"]["list"]))
    options = {"bad_words": str(tmp_path / "words.json"), "bad_words_language": case["parameters"]["language"]}
    found = measure("c4_datatrove", [GOLDEN["texts"][case["text"]]], **options)["bad_word_count_datatrove"].to_pylist()
    assert (found == [0]) == (case["verdict"] == "keep")


def test_a_page_without_text_has_no_values_and_an_empty_one_fails_every_preset():
    for kind, group in GROUP.items():
        columns = measure(group, ["", None, "x"])
        assert passes(preset(group), columns, 3)[0] is False, kind
        assert all(column[1].as_py() is None for name, column in columns.items() if name != "id")


# The slow obvious twins: the definitions, one page at a time, over Python strings.

SPACES = [" ", "\n", "\n\n", "\n\n\n", "\r\n", "\t", "\u2028", "\x85", "\u3000", " \n"]
WORDS = [
    "a",
    "b",
    "ab",
    "aa",
    "the",
    "The",
    "of",
    "...",
    "......",
    "…",
    "#",
    "•",
    "-",
    ".",
    "é",
    "字",
    "。",
    "?",
    "don't",
    "[1]",
    "[edit]",
]
WORDS += [
    "[citation needed]",
    "{",
    "JavaScript",
    "javascript",
    "lorem ipsum",
    "uses cooKies",
    "use cookies",
    "'",
    '"',
    "terms of use",
]
PAGES = st.lists(
    st.sampled_from(SPACES) | st.sampled_from(WORDS) | st.characters(exclude_categories=["Cs"]), max_size=60
).map("".join)
REPEATED = st.lists(st.sampled_from(["a", "b", "ab", "ba b", "aab"]), max_size=60).map(" ".join)


def words_of(text):
    pages = PageBatch(pa.array([text], pa.large_string()))
    words = spacy_words(pages)
    data = pages.data.tobytes()
    return [data[start:end].decode() for start, end in zip(words.starts, words.ends, strict=True)], words.flags


def copied(units):
    seen, copies = set(), []
    for unit in units:
        copies += [unit] if unit in seen else []
        seen.add(unit)
    return copies


def greedy(words, n):
    seen, found, at = set(), 0, 0
    while at + n <= len(words):
        joined = "".join(words[at : at + n])
        found += len(joined) if joined in seen else 0
        at += n if joined in seen else 1
        seen.add(joined)
    return found


def same(columns, expected):
    for name, value in expected.items():
        assert columns[name].to_pylist() == [None if value is None else pytest.approx(value, abs=1e-12)], name


@settings(deadline=None, max_examples=150)
@given(PAGES)
def test_gopher_agrees_with_its_twin(text):
    words, flags = words_of(text)
    assert [bool(flag & HAS_LETTER) for flag in flags] == [any(c.isalpha() for c in word) for word in words]
    assert all(
        flag & HAS_WORD for flag, word in zip(flags, words, strict=True) if any(c.isalnum() and c != "１" for c in word)
    )
    lines, count = text.splitlines(), len(words)
    columns = measure("gopher_datatrove", [text])
    same(
        columns,
        {
            "hash_word_ratio_datatrove": text.count("#") / count if count else None,
            "ellipsis_word_ratio_datatrove": (text.count("...") + text.count("…")) / count if count else None,
            "bullet_line_ratio_datatrove": sum(line.lstrip()[:1] in ("•", "-") and bool(line.strip()) for line in lines)
            / len(lines)
            if lines
            else None,
            "ellipsis_line_ratio_datatrove": sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
            if lines
            else None,
            "stop_word_count_datatrove": len(set(words) & set(gopher_datatrove.STOP_WORDS)),
        },
    )


@settings(deadline=None, max_examples=150)
@given(PAGES | REPEATED)
def test_repetition_agrees_with_its_twin(text):
    words, _ = words_of(text)
    lines, paragraphs = re.split("\n+", text), re.split("\n{2,}", text.strip())
    expected = {
        "duplicate_line_fraction_datatrove": len(copied(lines)) / len(lines),
        "duplicate_paragraph_fraction_datatrove": len(copied(paragraphs)) / len(paragraphs),
        "duplicate_line_char_fraction_datatrove": len("".join(copied(lines))) / max(len(text), 1),
        "duplicate_paragraph_char_fraction_datatrove": len("".join(copied(paragraphs))) / max(len(text), 1),
    }
    for n in range(2, 5):
        top = Counter(" ".join(words[k : k + n]) for k in range(len(words) - n + 1)).most_common(1)
        expected[f"top_{n}gram_char_fraction_datatrove"] = len(top[0][0]) * top[0][1] / len(text) if top else None
    for n in range(5, 11):
        expected[f"duplicate_{n}gram_char_fraction_datatrove"] = greedy(words, n) / max(len(text), 1)
    if text:
        same(measure("repetition_datatrove", [text]), expected)


@settings(deadline=None, max_examples=150)
@given(PAGES)
def test_fineweb_agrees_with_its_twin(text):
    words, _ = words_of(text)
    lines = [line for line in text.split("\n") if line.strip()]
    terminal = {chr(code) for code in np.flatnonzero(fineweb_datatrove.TABLE & fineweb_datatrove.TERMINAL)}
    shares = {
        "line_punctuation_ratio_datatrove": sum(line[-1] in terminal for line in lines),
        "short_line_ratio_datatrove": sum(len(line) <= 30 for line in lines),
    }
    expected = {name: share / len(lines) if lines else None for name, share in shares.items()}
    expected["duplicate_filled_line_char_fraction_datatrove"] = (
        len("".join(copied(lines))) / len(text.replace("\n", "")) if lines else None
    )
    expected["newline_word_ratio_datatrove"] = text.count("\n") / len(words) if words else None
    same(measure("fineweb_datatrove", [text]), expected)


def twin_c4(text, end_marks, fewest):
    """(kept text, lorem ipsum met, curly bracket met) by the definition."""
    kept, lorem, curly = [], False, False
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        lower = line.lower()
        unterminated = end_marks and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."))
        if any(len(word) > 1000 for word in words) or unterminated or len(words) < fewest:
            continue
        lorem |= "lorem ipsum" in lower
        if "javascript" in lower:
            continue
        curly |= "{" in line
        policies = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"]
        if not any(phrase in lower for phrase in policies):
            kept.append(line)
    return "\n".join(kept).strip(), lorem, curly


@settings(deadline=None, max_examples=200)
@given(
    PAGES,
    st.sampled_from(
        [("c4_datatrove", True, 3), ("c4_any_line_end_datatrove", False, 3), ("c4_five_words_datatrove", True, 5)]
    ),
)
def test_c4_agrees_with_its_twin(text, setting):
    name, end_marks, fewest = setting
    columns = measure("c4_datatrove", [text], end_marks=end_marks, fewest_words=fewest)
    kept, lorem, curly = twin_c4(text, end_marks, fewest)
    assert apply_transforms(pa.array([text], pa.large_string()), [name]).to_pylist() == [kept]
    assert columns["has_lorem_ipsum_datatrove"].to_pylist() == [lorem]
    assert columns["has_curly_bracket_datatrove"].to_pylist() == [curly]


@settings(deadline=None, max_examples=100)
@given(PAGES)
def test_the_third_longest_line_agrees_with_its_twin(text):
    lengths = sorted(map(len, text.split("\n")), reverse=True)
    expected = lengths[2] if len(lengths) > 2 else None
    assert measure("mc4_datatrove", [text])["third_longest_line_length_datatrove"].to_pylist() == [expected]


def test_pages_of_a_batch_do_not_touch_each_other():
    texts = ["The cat. The cat.\nIt sat here.", "", None, "\n\n", "a b c d e f g h a b c d e f g h.", "字" * 50 + "。\n"]
    for group in GROUP.values():
        together = measure(group, texts)
        apart = [measure(group, [text]) for text in texts]
        for name in together.keys() - {"id"}:
            assert together[name].to_pylist() == [columns[name][0].as_py() for columns in apart], name


def test_ngrams_whose_bytes_are_many_are_hashed_as_short_ones_are():
    words = ["x" * 700, "y" * 900, "z", "v", "w"]
    text = " ".join(words * 3)
    values = measure("repetition_datatrove", [text])
    assert values["duplicate_5gram_char_fraction_datatrove"].to_pylist() == [
        pytest.approx(2 * len("".join(words)) / len(text))
    ]
    assert len("".join(words)) > repetition_datatrove.FEW_BYTES


def test_copies_are_told_by_their_hashes():
    assert find_copies(np.array([1, 1, 1, 2], np.uint64), np.array([0, 1, 4])).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    "text", ["word " * 200000, "!" * 200000, "x" * 300000, "\n" * 300000, " ".join(map(str, range(100000)))]
)
def test_hostile_pages_are_measured(text):
    for group in GROUP.values():
        assert len(measure(group, [text])["id"]) == 1


def test_an_empty_bad_word_list_says_what_it_should_hold(tmp_path):
    (tmp_path / "words.txt").write_text("\n")
    with pytest.raises(ValueError, match="has no entries"):
        c4_datatrove.bad_word_pattern(str(tmp_path / "words.txt"), False)
