"""The helper process of `jobs.shards.extraction`: bodies in at standard input, texts out at standard output, until it ends.

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

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from jobs.shards.decoding import clean, decode

EXTRACTORS = ("resiliparse", "trafilatura", "justext")
JUSTEXT_STOP_WORDS = "English"  # Gao's; jusText knows main text by the share of stop words in it

REQUEST = struct.Struct("<IBB")  # bytes of body, whether it is HTML, bytes of charset name
REPLY = struct.Struct("<BBBII")  # index in VERDICTS, full text?, NULs removed?, replaced bytes, bytes of text or detail
READY = b"+"  # said once by the helper when it has imported what it needs
VERDICTS = ("text", "undecodable", "empty_extraction", "too_large", "extract_crash")
OUT_OF_MEMORY = 3  # exit codes of the helper
PANICKED = 4
# Lexbor reads any text at all as HTML: what it cannot parse, it has no memory for (LXB_STATUS_ERROR_MEMORY_ALLOCATION is 2).
LEXBOR_OUT_OF_MEMORY = ("Failed to parse document (Error 2)", "Failed to parse HTML document.")


# Of 1,977 pages with a text made by hand, main content is under 3 % of what 72 show; all of it then has more words in
# common with the hand-made text on 63 and fewer on 5. Beyond 7 % falling back begins to cost more than it brings.
LEAST_SHARE = 0.03
LEAST_MAIN = 1000  # characters; so much is a text, however much stands around it


def resiliparse_text(html: str) -> tuple[str, bool]:
    """Main content as resiliparse finds it, or else all visible text; and whether it is the latter."""
    tree = HTMLTree.parse(html)
    return _or_full(str(extract_plain_text(tree, main_content=True)), html, tree)


def _or_full(main: str, html: str, tree: HTMLTree | None = None) -> tuple[str, bool]:
    """Main content unless it is next to nothing of what the page shows; the latter is only looked at where it may be."""
    if len(main) >= LEAST_MAIN or len(main) >= LEAST_SHARE * len(html):
        return main, False
    full = str(extract_plain_text(tree or html, main_content=False))
    return (full, True) if len(main) < LEAST_SHARE * len(full) else (main, False)


def html_extractor(name: str) -> Callable[[str], tuple[str, bool]]:
    """The function that turns markup into text; only the package in use is imported, beside resiliparse."""
    if name == "trafilatura":
        import trafilatura

        return lambda html: _or_full(trafilatura.extract(html) or "", html)
    if name == "justext":
        import justext

        stop_words = justext.get_stoplist(JUSTEXT_STOP_WORDS)
        return lambda html: _or_full(
            "\n".join(paragraph.text for paragraph in justext.justext(html, stop_words) if not paragraph.is_boilerplate),
            html,
        )
    return resiliparse_text


def serve(name: str, characters: int, seconds: float, memory: int) -> None:
    """The helper's life: read a request, answer it, until the pipe closes."""
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    extract = html_extractor(name)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    replies.write(READY)
    replies.flush()
    while header := requests.read(REQUEST.size):
        body_size, html, name_size = REQUEST.unpack(header)
        charset = requests.read(name_size).decode("ascii") or None
        body = requests.read(body_size)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            verdict, full, nul, replaced, text = _answer(body, charset, bool(html), extract, characters)
            payload = text.encode()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:  # noqa: BLE001 - parsers of broken markup raise anything; the page is counted
            if str(error).endswith(LEXBOR_OUT_OF_MEMORY):
                os._exit(OUT_OF_MEMORY)
            verdict, full, nul, replaced = "extract_crash", False, False, 0
            payload = f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
        except BaseException as error:  # noqa: BLE001 - a Rust panic: its parser's state is not to be trusted any more
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(PANICKED)
        replies.write(REPLY.pack(VERDICTS.index(verdict), full, nul, replaced, len(payload)) + payload)
        replies.flush()


def _limit(what: int, soft: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _answer(
    body: bytes, charset: str | None, html: bool, extract: Callable[[str], tuple[str, bool]], characters: int
) -> tuple[str, bool, bool, int, str]:
    """Verdict, whether the text is the full one, whether NULs were removed, replaced bytes, text or detail."""
    decoded = decode(body, charset, html)
    if decoded is None:
        return "undecodable", False, False, 0, f"declared {charset!r}"
    text, replaced = decoded
    text, full = extract(text) if html else (text, False)
    text, nul, _ = clean(text)
    if not text.strip():
        return "empty_extraction", False, False, 0, ""
    if len(text) > characters:
        return "too_large", False, False, 0, f"the text has {len(text)} characters, the limit is {characters}"
    return "text", full, nul, replaced, text


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
