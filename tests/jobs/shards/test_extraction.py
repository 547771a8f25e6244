"""A page can hang, bloat or crash the extractor; it is lost under its reason, and every other page comes through."""

import subprocess
import sys
import textwrap
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from jobs.shards.extraction import Extractor, ExtractorError, ReadLimits
from jobs.shards.reader import read_shard
from jobs.shards.reasons import ReadOptions, ShardReport

WORDS = " ".join(f"An ordinary sentence number {n}, with words enough to count as text." for n in range(12))
PAGE = f"<html><head><title>t</title></head><body><main><p>{WORDS}</p></main></body></html>".encode()
HANG = b"<html><body>" + b"<div>" * 40_000 + b"deep"

FAKE_JUSTEXT = """
    import os, signal, time

    class Paragraph:
        is_boilerplate = False
        def __init__(self, text):
            self.text = text

    class RustPanic(BaseException):
        pass

    def get_stoplist(language):
        return frozenset()

    def justext(html, stop_words):
        if "segfault" in html:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "killed once" in html and not os.path.exists(__file__ + ".killed"):
            open(__file__ + ".killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if "quits" in html:
            os._exit(0)
        if "raises" in html:
            raise RuntimeError("cannot parse this")
        if "panics" in html:
            raise RustPanic("unwrap on None")
        if "bloats" in html:
            return [Paragraph("x" * 10**12)]
        if "spins" in html:
            while True:
                pass
        if "sleeps" in html:
            time.sleep(1000)
        return [Paragraph(html)]
"""


def extract(bodies, name="resiliparse", html=True, **limits):
    with Extractor(name, ReadLimits(**limits)) as extractor:
        for body in bodies:
            extractor.submit(body, "utf-8", html)
        return [extractor.next_reply() for _ in bodies]


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """An extractor that does what the page says; the helper finds it because it gets our sys.path."""
    (tmp_path / "justext.py").write_text(textwrap.dedent(FAKE_JUSTEXT))
    monkeypatch.syspath_prepend(tmp_path)
    return "justext"


@pytest.mark.parametrize("name", ["resiliparse", "trafilatura", "justext"])
def test_every_extractor_finds_the_text_of_an_ordinary_page(name):
    [result] = extract([PAGE], name)
    assert result.reason is None and WORDS in result.text


def test_plain_text_is_not_taken_for_markup():
    [result] = extract([b"a < b and <b>c</b>"], html=False)
    assert result.text == "a < b and <b>c</b>"


def test_a_page_that_hangs_the_parser_is_killed_and_the_others_survive():
    found = extract([PAGE, HANG, PAGE, PAGE], seconds=0.5)
    assert [result.reason for result in found] == [None, "extract_timeout", None, None]
    assert found[0] == found[2] == found[3]


def test_a_page_that_needs_too_much_memory_is_lost_alone():
    found = extract([PAGE, b"<p>" * 2_000_000, PAGE], memory=300 << 20, seconds=30)
    assert [result.reason for result in found] == [None, "extract_memory", None]


@pytest.mark.parametrize(
    ("evil", "reason"),
    [
        (b"segfault", "extract_crash"),
        (b"quits", "extract_crash"),
        (b"raises", "extract_crash"),
        (b"panics", "extract_crash"),
        (b"bloats", "extract_memory"),
        (b"spins", "extract_timeout"),
    ],
)
def test_whatever_a_page_does_to_the_helper_is_its_own_reason(fragile, evil, reason):
    found = extract([b"one", b"two", evil, b"three", b"four"], fragile, seconds=0.5)
    assert [result.text for result in found if result.reason is None] == ["one", "two", "three", "four"]
    assert found[2].reason == reason


@pytest.mark.parametrize("before", [[], [b"one"]])
def test_a_helper_that_someone_else_kills_costs_no_page(fragile, before):
    found = extract([*before, b"killed once", b"two"], fragile)
    assert [result.text for result in found] == [*(body.decode() for body in before), "killed once", "two"]


def test_a_helper_that_only_waits_is_ended_by_the_clock(fragile, monkeypatch):
    monkeypatch.setattr("jobs.shards.extraction.LEAST_CLOCK_SECONDS", -7)
    found = extract([b"one", b"sleeps", b"two"], fragile, seconds=1)
    assert [result.reason for result in found] == [None, "extract_timeout", None]


def test_many_large_pages_flow_without_deadlock():
    bodies = [b"<p>%d " % n + b"word " * 100_000 + b"</p>" for n in range(24)]
    found = extract(bodies)
    assert [result.text.split()[0] for result in found] == [str(n) for n in range(24)]


def test_what_comes_out_is_clean_and_bounded():
    spoilt = "<p>a&#0;b\0c café ".encode() + "été ".encode() * 400 + b"\xff</p>"
    found = extract([spoilt, b"<p>" + b"x " * 9000], characters=5000)
    assert "\0" not in found[0].text and found[0].replaced == 1
    assert found[1].reason == "too_large"


def test_a_page_without_text_is_no_silent_emptiness():
    [result] = extract([b"<html><body><script>var a = 1;</script><img src=x></body></html>"])
    assert result.reason == "empty_extraction"


SENTENCES = " ".join(f"A sentence, number {n}, that a reader came for." for n in range(90))
POLISH = " ".join(f"Zdanie numer {n}, dla którego ktoś tu zajrzał." for n in range(90))


@pytest.mark.parametrize(
    ("name", "text", "around"),
    [
        ("resiliparse", SENTENCES, "footer"),
        ("resiliparse", SENTENCES, "nav"),
        ("trafilatura", SENTENCES, "footer"),
        ("justext", POLISH, "article"),  # it looks for English stop words
    ],
)
def test_a_page_of_which_next_to_nothing_is_main_content_gives_all_that_it_shows(name, text, around):
    [found] = extract([f"<html><body><{around}><p>{text}</p></{around}></body></html>".encode()], name)
    assert found.full and found.reason is None and " ".join(found.text.split()) == text


def test_main_content_is_kept_where_it_is_a_fair_share_of_the_page():
    around = "<nav>" + "<a href=/>Somewhere else</a> " * 100 + "</nav>"
    [found] = extract([f"<html><body>{around}<main><p>{WORDS}</p></main></body></html>".encode()])
    assert WORDS in found.text and "Somewhere" not in found.text and not found.full


def test_what_was_done_to_pages_is_counted_in_the_report_of_their_shard(tmp_path):
    bodies = [
        f"<html><body><footer>{SENTENCES}</footer></body></html>".encode(),
        f"<html><body><p>{POLISH * 9}</body></html>".encode() + b"\xff \xff",
        PAGE,
    ]
    blocks = [b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body for body in bodies]
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n"
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(head % (len(block), block) for block in blocks))
    report = ShardReport()
    assert len(list(read_shard(str(path), ReadOptions(), report))) == 3
    assert report.counts == Counter(records=3, pages=3, full_text=1, decode_replaced=1, characters_replaced=2, no_domain=3)


def test_an_extractor_that_cannot_start_blames_no_page(tmp_path, monkeypatch):
    (tmp_path / "justext.py").write_text("raise ImportError('broken installation')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExtractorError, match="broken installation"):
        extract([PAGE], "justext")


def test_a_helper_that_is_killed_while_it_starts_is_started_again(tmp_path, monkeypatch):
    begins = "import os, signal\nif not os.path.exists(__file__ + '.begun'):\n    open(__file__ + '.begun', 'w').close()\n"
    dies = f"{begins}    os.kill(os.getpid(), signal.SIGKILL)\n"
    (tmp_path / "justext.py").write_text(dies + textwrap.dedent(FAKE_JUSTEXT))
    monkeypatch.syspath_prepend(tmp_path)
    assert [result.text for result in extract([b"one"], "justext")] == ["one"]


def test_an_unknown_extractor_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="have: resiliparse"):
        Extractor("beautifulsoup", ReadLimits())


def test_the_helper_starts_from_code_in_a_zip(tmp_path):
    """Spark ships the packages as a zip; the zip's copy is marked, so that the checkout's would not do."""
    jobs = Path(__file__).parents[3] / "jobs"
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        for name in (
            "__init__.py",
            *(f"shards/{module}.py" for module in ("__init__", "extraction", "extract_page", "decoding", "charsets")),
        ):
            archive.writestr(f"jobs/{name}", (jobs / name).read_text().replace('READY = b"+"', 'READY = b"*"'))
    script = f"""
        import sys
        sys.path.insert(0, {str(tmp_path / "code.zip")!r})
        from jobs.shards.extract_page import READY
        from jobs.shards.extraction import Extractor, ReadLimits
        with Extractor("resiliparse", ReadLimits()) as extractor:
            extractor.submit({PAGE!r}, None, True)
            print(READY, extractor.next_reply().reason)
    """
    run = [sys.executable, "-P", "-c", textwrap.dedent(script)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["b'*'", "None"], done.stderr
