"""The helper process of `jobs.extraction`: bodies in at standard input, texts out at standard output, until it ends.

The hard idea: it must be able to die at any moment, so it holds nothing but the page at hand, and it starts often, so it
imports next to nothing. Before each page it winds up a timer of processor time whose signal nobody handles: C code that
hangs cannot miss it.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
from collections.abc import Callable

from jobs.shards.decoding import clean, decode

EXTRACTORS = ("resiliparse", "trafilatura", "justext")
JUSTEXT_STOP_WORDS = "English"  # Gao's; jusText knows main text by the share of stop words in it

REQUEST = struct.Struct("<IBB")  # bytes of body, whether it is HTML, bytes of charset name
REPLY = struct.Struct("<BBII")  # index in VERDICTS, whether NULs were removed, replaced bytes, bytes of text or detail
READY = b"+"  # said once by the helper when it has imported what it needs
VERDICTS = ("text", "undecodable", "empty_extraction", "too_large", "extract_crash")
OUT_OF_MEMORY = 3  # exit codes of the helper
PANICKED = 4
LEXBOR_OUT_OF_MEMORY = "HTML parser error: Failed to parse document (Error 2)"  # LXB_STATUS_ERROR_MEMORY_ALLOCATION


def _html_extractor(name: str) -> Callable[[str], str]:
    """The function that turns markup into main text; only the package in use is imported."""
    if name == "trafilatura":
        import trafilatura

        return lambda html: trafilatura.extract(html) or ""
    if name == "justext":
        import justext

        stop_words = justext.get_stoplist(JUSTEXT_STOP_WORDS)
        return lambda html: "\n".join(
            paragraph.text for paragraph in justext.justext(html, stop_words) if not paragraph.is_boilerplate
        )
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: str(extract_plain_text(html, main_content=True))


def serve(name: str, characters: int, seconds: float, memory: int) -> None:
    """The helper's life: read a request, answer it, until the pipe closes."""
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    extract = _html_extractor(name)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    replies.write(READY)
    replies.flush()
    while header := requests.read(REQUEST.size):
        body_size, html, name_size = REQUEST.unpack(header)
        charset = requests.read(name_size).decode("ascii") or None
        body = requests.read(body_size)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            verdict, nul, replaced, text = _answer(body, charset, bool(html), extract, characters)
            payload = text.encode()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:  # parsers of broken markup raise anything; the page is counted, with what was raised
            if LEXBOR_OUT_OF_MEMORY in str(error):
                os._exit(OUT_OF_MEMORY)
            verdict, nul, replaced = "extract_crash", False, 0
            payload = f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
        except BaseException as error:  # a Rust panic: its parser's state is not to be trusted any more
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(PANICKED)
        replies.write(REPLY.pack(VERDICTS.index(verdict), nul, replaced, len(payload)) + payload)
        replies.flush()


def _limit(what: int, soft: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _answer(
    body: bytes, charset: str | None, html: bool, extract: Callable[[str], str], characters: int
) -> tuple[str, bool, int, str]:
    decoded = decode(body, charset, html)
    if decoded is None:
        return "undecodable", False, 0, f"declared {charset!r}"
    text, replaced = decoded
    if html:
        text = extract(text)
    text, nul, _ = clean(text)
    if not text.strip():
        return "empty_extraction", False, 0, ""
    if len(text) > characters:
        return "too_large", False, 0, f"the text has {len(text)} characters, the limit is {characters}"
    return "text", nul, replaced, text


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
