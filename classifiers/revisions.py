"""Worse revisions of a page, by changes that are stated: what a page is preferred to is known, and nobody had to judge it.

Direct principle feedback (Castricato et al. 2024, arXiv 2402.07896) has a model revise its own answer to follow a principle
and learns from the pairs. Here a page is revised against principles that need no model: keep sentences in order, say nothing
that is not the page's, lose no words, do not repeat, write sentences. How much is changed is an assumption.
"""

import random
import re
from collections.abc import Callable, Mapping

SENTENCE_END = re.compile(r"((?<=[.!?])\s+|\n+)")
DROPPED = 0.15
"""The share of words that are lost."""
WORDS_A_REPEAT, PHRASE, TIMES = 40, (3, 8), (1, 3)
"""One repeat in so many words, of a phrase of so many words, so often."""
LINES_AN_INSERT = 4
HEADLINE = 8
"""Words that are left of a sentence."""

BOILERPLATE = (
    "Accept all cookies to continue",
    "We use cookies to improve your visit",
    "Subscribe to our newsletter",
    "Get our weekly digest in your inbox",
    "Share this on Facebook",
    "Tweet this page",
    "Read more",
    "Continue reading here",
    "Log in or register",
    "Sign in to your account",
    "All rights reserved",
    "Copyright by the publisher",
    "Back to top",
    "Skip to the main content",
    "Add to cart",
    "Buy now with free delivery",
    "You may also like",
    "Related articles",
    "Leave a comment",
    "Be the first to reply",
    "Terms of use and privacy policy",
    "Contact us for more information",
    "Advertisement",
    "Sponsored content",
)
"""Lines that are inserted. Training sees every other one, held-out pages have the others."""


def shuffled(text: str, draw: random.Random, unseen: bool) -> str:
    """The sentences in another order, with what stood between them in its place."""
    pieces = SENTENCE_END.split(text)
    sentences = pieces[::2]
    draw.shuffle(sentences)
    pieces[::2] = sentences
    return "".join(pieces)


def with_boilerplate(text: str, draw: random.Random, unseen: bool) -> str:
    """Lines as they stand around the text of web pages, between its own."""
    lines = text.split("\n")
    for _ in range(1 + len(lines) // LINES_AN_INSERT):
        lines.insert(draw.randint(0, len(lines)), draw.choice(BOILERPLATE[unseen::2]))
    return "\n".join(lines)


def with_words_dropped(text: str, draw: random.Random, unseen: bool) -> str:
    """Some words are lost."""
    return re.sub(r"\S+\s*", lambda word: "" if draw.random() < DROPPED else word[0], text)


def with_repeats(text: str, draw: random.Random, unseen: bool) -> str:
    """Some phrases are said several times on end."""
    words = re.findall(r"\S+\s*", text)
    for at in sorted(draw.sample(range(len(words)), -(-len(words) // WORDS_A_REPEAT)), reverse=True):
        words[at:at] = words[at : at + draw.randint(*PHRASE)] * draw.randint(*TIMES)
    return "".join(words)


def as_headlines(text: str, draw: random.Random, unseen: bool) -> str:
    """Of each sentence the first words in title case, without a stop, each on a line."""
    begun = [" ".join(sentence.split()[:HEADLINE]).rstrip(".!?,;:").title() for sentence in SENTENCE_END.split(text)[::2]]
    return "\n".join(headline for headline in begun if headline)


REVISIONS: Mapping[str, Callable[[str, random.Random, bool], str]] = {
    "shuffled": shuffled,
    "boilerplate": with_boilerplate,
    "dropped": with_words_dropped,
    "repeated": with_repeats,
    "headlines": as_headlines,
}
"""By name, the text revised with what is drawn; `unseen` revisions are made of what training has not seen."""


def revised(text: str, name: str, page: int, unseen: bool) -> str:
    """A worse revision of a text; `page` is a hash of the page's id, which decides all that is drawn."""
    return REVISIONS[name](text, random.Random(f"{name} {page}"), unseen)
