"""What strangers wrote, made fit to be shown: no hidden characters, no private details, never more than a few words.

Escaping is the template's work (autoescape for HTML, `code` for Markdown). What escaping does not stop is done here:
characters that reorder or hide the text around them, and addresses and numbers that a page should not repeat.
"""

import ipaddress
import re
import unicodedata

READ_AHEAD = 2_000  # characters looked at, so that a page of a megabyte costs what a short one does

# Every quantifier is bounded: none of these takes more than linear time on any text.
EMAIL = re.compile(r"[\w.+%-]{1,64}(?:@|＠|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", re.I)
LOGIN = re.compile(r"(?<=//)[^/\s@]{1,200}@")
ADDRESS = re.compile(r"(?<![\w:.])(?=[^:.]{0,4}[:.])[0-9a-f:.]{3,45}(?![\w:])", re.I)
NUMBER = re.compile(r"(?<!\w)\+?\(?\d(?:[\s().\-/]{0,2}\d){6,24}|\d{7,60}")
COMBINING = r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
PILE = re.compile(f"({COMBINING}{{2}}){COMBINING}+")


def plain(text: str, most: int) -> str:
    """One line of at most ``most`` characters without control, format, surrogate, private or unassigned characters.

    Of marks that pile up on one letter two are kept: more would be drawn over the lines above and below.
    """
    folded = " ".join(str(text)[: most + READ_AHEAD].split())
    shown = PILE.sub(r"\1", "".join(letter for letter in folded if unicodedata.category(letter)[0] != "C"))
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"


def private_masked(text: str, most: int) -> str:
    """`plain`, with e-mail and IP addresses, logins, phone and other long numbers replaced by what they were.

    Masked before it is cut, and a word that the read-ahead cuts in two is dropped: half an address is one too.
    """
    text = str(text)
    head = plain(text, READ_AHEAD).rstrip("…")
    if len(text) > READ_AHEAD and " " in head:
        head = head.rsplit(" ", 1)[0]
    head = EMAIL.sub("[e-mail]", LOGIN.sub("[login]@", head))
    head = NUMBER.sub("[number]", ADDRESS.sub(_address_masked, head))
    return plain(head + ("…" if len(text) > READ_AHEAD else ""), most)


def _address_masked(found: re.Match[str]) -> str:
    """IP addresses only: hours, sums and section numbers are made of the same characters."""
    text = found[0].rstrip(".:")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return found[0]
    return "[address]" + found[0][len(text) :]


def code(text: str) -> str:
    """A Markdown code span: nothing in it is read as markup, a link or a table's edge."""
    return "`" + text.replace("`", "'").replace("|", "¦") + "`" if text.strip() else "—"


def inline(text: str) -> str:
    """Text in a Markdown paragraph or table cell that means only itself."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!$])", r"\\\1", " ".join(escaped.split()))


def fenced(text: str) -> str:
    """A Markdown block shown as it is: its fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
