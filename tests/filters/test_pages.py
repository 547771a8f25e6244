import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import signals
from filters.heuristics import c4, fineweb, gopher, repetition
from filters.kernels import text as kernels
from filters.kernels.unicode_tables import ANYWHERE, CLASSES, CLOSING, MARKS, SPACE, TERMINAL
from filters.pages import PageBatch

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = [module.__name__.rpartition(".")[2] for module in (gopher, repetition, c4, fineweb)]
PIECES = [
    *list("ab.!…\"') \n\t\r\0\x1c\x85\xa0\u1680\u2003\u2028\u3000é\u0301字。।។;カไ\u202e\ufffd😀"),
    "\r\n", "\n\n", "eight888", "nine99999", "ünïcödé-wörd", "x" * 4090, "字" * 1400, " " * 4095,
]  # fmt: skip
NASTY = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


def pieces(pages, units):
    """The units' bytes as text, a list for each page."""
    spans = [pages.data[start:end].tobytes().decode() for start, end in zip(units.starts, units.ends, strict=True)]
    return [spans[units.first[k] : units.first[k + 1]] for k in range(len(pages))]


def of_bytes(*pages):
    """An Arrow array whose bytes nobody checked."""
    offsets = np.cumsum([0, *map(len, pages)]).astype(np.int64)
    return pa.Array.from_buffers(pa.large_string(), len(pages), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(pages))])


def measure_all(text):
    """Every column of the four groups that need no list."""
    pages = PageBatch(text)
    columns = {}
    for group in OURS:
        for name, signal in signals.GROUPS[group].items():
            if not signal.options:
                columns[name] = signal.measure(pages, {}).to_pylist()
    return columns


@given(st.lists(NASTY, max_size=4))
@settings(deadline=None, max_examples=200)
def test_words_are_those_of_split(texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    found = [word for words in pieces(pages, pages.words) for word in words]
    assert pieces(pages, pages.words) == [text.split() for text in texts]
    assert pages.words.lengths.tolist() == [len(word) for word in found]
    assert pages.words.classes.tolist() == [np.bitwise_or.reduce([CLASSES[ord(c)] for c in word]) for word in found]
    assert len(set(pages.words.hashes.tolist())) == len(set(found))
    assert len(set(zip(pages.words.hashes.tolist(), found, strict=True))) == len(set(found))
    assert pages.words.characters.tolist() == [sum(map(len, text.split())) for text in texts]
    assert pages.words.letters.tolist() == [sum(map(str.isalpha, text)) for text in texts]


@given(st.lists(NASTY, max_size=4))
@settings(deadline=None, max_examples=200)
def test_lines_are_those_of_split_at_newlines(texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    lines = [line for text in texts for line in text.split("\n")]
    stripped = [line.strip() for line in lines]
    every = pages.all_lines
    raw = [pages.data[a:b].tobytes().decode() for a, b in zip(every.raw_starts, every.raw_ends, strict=True)]
    assert raw == lines
    assert pieces(pages, every) == [[line.strip() for line in text.split("\n")] for text in texts]
    assert every.lengths.tolist() == [len(line) for line in stripped]
    assert every.heads.tolist() == [ord(line[0]) if line else -1 for line in stripped]
    assert every.tails.tolist() == [ord(line[-1]) if line else -1 for line in stripped]
    assert (
        len(set(zip(every.hashes.tolist(), stripped, strict=True))) == len(set(stripped)) == len(set(every.hashes.tolist()))
    )
    assert pieces(pages, pages.lines) == [[line for line in map(str.strip, text.split("\n")) if line] for text in texts]
    assert pages.line_words.tolist() == [len(line.split()) for line in stripped if line]


def sentences(line):
    """One character after the other: cut behind marks and closers that white space follows, or a mark of no other use."""
    found, at, start = [], 0, 0
    while at < len(line):
        at += 1
        if not MARKS[ord(line[at - 1])] & TERMINAL:
            continue
        marks = line[at - 1]
        while at < len(line) and MARKS[ord(line[at])] & (TERMINAL | CLOSING):
            marks += line[at]
            at += 1
        anywhere = any(MARKS[ord(mark)] & ANYWHERE for mark in marks)
        if at == len(line) or line[at].isspace() or anywhere:
            found.append(line[start:at])
            start = at + len(line[at:]) - len(line[at:].lstrip())
            at = start
    return [*found, line[start:]] if line[start:] else found


@given(st.lists(NASTY, max_size=4))
@settings(deadline=None, max_examples=200)
def test_sentences_end_at_marks_and_lines(texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    expected = [[s for line in text.split("\n") for s in sentences(line.strip())] for text in texts]
    assert pieces(pages, pages.sentences) == expected


def test_a_sentence_goes_on_behind_a_decimal_point_and_ends_behind_its_quotes():
    pages = PageBatch(pa.array(['It cost 3.50 euros. "Really?!" he said... yes', "你好。再见！"]))
    assert pieces(pages, pages.sentences) == [
        ["It cost 3.50 euros.", '"Really?!"', "he said...", "yes"],
        ["你好。", "再见！"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ខ្ញុំទៅផ្សារ។ គាត់នៅផ្ទះ៕", "ខ្ញុំទៅផ្សារ។គាត់នៅផ្ទះ។", "ꯑꯩ ꯆꯠꯂꯤ꯫ ꯃꯍꯥꯛ ꯂꯩ꯫", "ᱤᱧ ᱪᱟᱞᱟᱜᱼᱟ᱾ ᱩᱱᱤ ᱢᱮᱱᱟᱭᱟ᱾", "ᬳᬦ᭞ᬭᬤ᭟",
        "ꦲꦤꦕꦫꦏ꧈ꦢꦠꦱꦮꦭ꧉", "ܫܠܡܐ܂ ܐܢܐ܀", "මම යමි෴ ඔහු සිටී෴", "मैं जाता हूँ। वह घर पर है।", "मैं जाता हूँ।वह घर पर है।", "እሄዳለሁ።እሱ ቤት ነው።",
        "سأذهب. هل هو هناك؟", "میں جاتا ہوں۔وہ گھر پر ہے۔", "བོད་ཡིག།ཡི་གེ།", "ကျွန်တော်သွားတယ်။သူရှိတယ်။",
        "Πάω\u037e Ναι.", "我走了。他在家！",
    ],
)  # fmt: skip
def test_two_sentences_are_two_in_every_script(text):
    (found,) = pieces(pages := PageBatch(pa.array([text])), pages.sentences)
    assert len(found) == 2
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_marks_that_numbers_and_addresses_hold_end_no_sentence_inside_them():
    pages = PageBatch(pa.array(["see a.example/?q=1!x or v1․2, at 3.50", "α\u037eβ"]))
    assert pages.sentences.count.tolist() == [1, 1]


@given(st.lists(st.none() | NASTY, max_size=5), st.integers(0, 3), st.sampled_from([pa.string(), pa.large_string()]))
@settings(deadline=None, max_examples=50)
def test_slices_nulls_and_both_string_types_measure_alike(texts, skipped, kind):
    whole = pa.array([*["skipped page. " * 9] * skipped, *texts, "behind"], kind)
    part = whole.slice(skipped, len(texts))
    assert measure_all(part) == measure_all(pa.array(texts, pa.large_string()))


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=3))
@settings(deadline=None, max_examples=100)
def test_bytes_that_are_no_text_neither_fail_nor_reach_the_next_page(bad):
    good = "A good page, all of it.\nWith two lines. And é.".encode()
    columns = measure_all(of_bytes(*[page for each in bad for page in (each, good)], b"\xf0\x9f"))
    alone = measure_all(of_bytes(good))
    for name, values in columns.items():
        assert values[1::2] == alone[name] * len(bad)


@given(st.lists(st.binary(max_size=30), max_size=4))
@settings(deadline=None, max_examples=100)
def test_units_of_any_bytes_lie_inside_their_pages(bad):
    pages = PageBatch(of_bytes(*bad))
    for units in (pages.words, pages.all_lines, pages.lines, pages.paragraphs, pages.sentences):
        for page in range(len(pages)):
            mine = slice(units.first[page], units.first[page + 1])
            bounds = np.stack([units.starts[mine], units.ends[mine]], axis=1).ravel()
            assert (np.diff([pages.offsets[page], *bounds, pages.offsets[page + 1]]) >= 0).all()


def test_an_array_without_buffers_is_an_empty_batch():
    for text in (pa.array([], pa.string()), pa.nulls(2, pa.large_string()), pa.array([None, None], pa.string())):
        assert set(map(tuple, measure_all(text).values())) == {(None,) * len(text)}


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="text must be a string or large_string array, got int64"):
        PageBatch(pa.array([1]))


def test_white_space_is_recognised_in_every_script():
    text = "".join(f"w{chr(code)}" for code in np.flatnonzero(CLASSES & SPACE))
    assert PageBatch(pa.array([text])).words.count.tolist() == [len(text) // 2]


def test_units_are_found_once():
    pages = PageBatch(pa.array(["a b"]))
    assert pages.words is pages.words
    assert pages.once(gopher.ellipsis_lines) is pages.once(gopher.ellipsis_lines)


def test_every_batch_has_the_same_type_for_the_compiler():
    measure_all(pa.array(["a b"]))
    before = [len(kernel.signatures) for kernel in (kernels.fill_words, kernels.find_lines, repetition.count_repeated)]
    for text in (pa.array(["a"] * 9), pa.array(["b", None]).slice(1), pa.array([], pa.string()), of_bytes(b"\xff")):
        measure_all(text)
    after = [len(kernel.signatures) for kernel in (kernels.fill_words, kernels.find_lines, repetition.count_repeated)]
    assert after == before == [1, 1, 1]


HUGE = """
import sys
import pyarrow as pa
from filters import signals
from filters.heuristics import c4, fineweb, gopher, repetition
from filters.pages import PageBatch
pages = PageBatch(pa.array([sys.argv[1] * int(sys.argv[2])], pa.large_string()))
for group in ("gopher", "repetition", "c4", "fineweb"):
    for name, signal in signals.GROUPS[group].items():
        if not signal.options:
            signal.measure(pages, {})
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(("piece", "times"), [("word ", 10_000_000), ("w", 50_000_000)])
def test_a_page_of_50_megabytes_needs_less_than_one_and_a_half_gigabytes(piece, times):
    command = [sys.executable, "-c", HUGE, piece, str(times)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 1_500_000


def test_real_pages_have_the_words_and_lines_that_plain_python_finds(crawl_texts):
    pages = PageBatch(pa.array(crawl_texts, pa.large_string()))
    assert pieces(pages, pages.words) == [text.split() for text in crawl_texts]
    assert pieces(pages, pages.lines) == [
        [line for line in map(str.strip, text.split("\n")) if line] for text in crawl_texts
    ]
    assert pieces(pages, pages.sentences) == [
        [s for line in text.split("\n") for s in sentences(line.strip())] for text in crawl_texts
    ]
