"""Pages of two classes to learn from: drawn, balanced, and some held out to see what was learned.

Hashes decide everything, never the order in which pages arrive: two of (id, seed) which pages are drawn and in which order
they are shown; one of the page's site, or of what is read of a page without a site, which are held out. A site that is more
of its class than is held out cannot be held out as a whole: its pages are decided one by one. What is read of a held-out
page is trained on nowhere.
"""

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from classifiers.kinds import Page, Pages, TrainingError
from filters.pages import PageBatch

PAGES_AT_A_TIME = 256
Prepare = Callable[[PageBatch], Sequence[bytes]]
"""What a model reads of each page; no bytes where there is nothing to read."""


@dataclass(frozen=True)
class Sampling:
    """How many pages a classifier learns from, and the share that it is measured on."""

    most_per_class: int
    fewest_per_class: int
    held_out: float
    balanced: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out!r}, expected a share between 0 and 1")


@dataclass(frozen=True)
class Example:
    """One page: its class, the order it is shown in, hashes of its site and of what is read, which lies in the spool."""

    order: int
    positive: bool
    site: int | None
    content: int
    begin: int
    end: int


@dataclass(frozen=True)
class Sample:
    """Examples in the order they are shown in; what is read of each lies in `spool`. `counts`: pages by class and fate."""

    training: Sequence[Example]
    held_out: Sequence[Example]
    counts: Mapping[str, Any]
    spool: BinaryIO

    def content(self, example: Example) -> bytes:
        """What a model reads of an example."""
        self.spool.seek(example.begin)
        return self.spool.read(example.end - example.begin)


def sample(classes: Mapping[bool, tuple[str, Pages]], prepare: Prepare, how: Sampling, seed: int, spool: BinaryIO) -> Sample:
    """Draw, balance and split two classes, each under its name. Raises TrainingError where one has too few pages.

    What is read is written to `spool`, also of pages that later ones push out (ln(pages / most_per_class) times as many).
    """
    drawn: dict[bool, list[Example]] = {}
    read: dict[str, dict[str, int]] = {}
    for positive, (name, pages) in classes.items():
        drawn[positive], read[name] = _draw(pages, positive, prepare, how.most_per_class, seed, spool)
        if len(drawn[positive]) < how.fewest_per_class:
            raise TrainingError(
                f"{len(drawn[positive])} pages with words among the {name}, at least {how.fewest_per_class} are needed:"
                f" name more files under {name}:, or check that they hold text"
            )
    size = min(map(len, drawn.values())) if how.balanced else None
    examples = [example for of_class in drawn.values() for example in of_class[:size]]
    held_out = [example for example, out in zip(examples, _held_out(examples, how.held_out), strict=True) if out]
    seen = {example.content for example in held_out}
    training = [example for example in examples if example.content not in seen]
    trained_on = {name: sum(one.positive == positive for one in training) for positive, (name, _) in classes.items()}
    if min(trained_on.values()) == 0:
        raise TrainingError(
            f"after holding out a share of {how.held_out}, one class has nothing to train on: {trained_on}; give more pages"
        )
    counts = {"pages": read, "trained_on": trained_on, "copies_of_held_out": len(examples) - len(training) - len(held_out)}
    return Sample(_in_order(training), _in_order(held_out), counts, spool)


def _in_order(examples: Sequence[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: (example.order, example.positive, example.begin))


def _held_out(examples: Sequence[Example], share: float) -> Iterator[bool]:
    """Whether each example is held out."""
    of_class = Counter(example.positive for example in examples)
    of_site = Counter((example.positive, example.site) for example in examples)
    large = {site for (positive, site), pages in of_site.items() if pages > share * of_class[positive]}
    for example in examples:
        by = example.content if example.site is None or example.site in large else example.site
        yield by < share * 2**64


def _draw(
    pages: Pages, positive: bool, prepare: Prepare, most: int, seed: int, spool: BinaryIO
) -> tuple[list[Example], dict[str, int]]:
    """The pages with the smallest hashes, smallest first, `most` at most; how many were read, blank and drawn."""
    heap: list[tuple[int, int, Example]] = []
    read = blank = 0
    for page, content in _prepared(pages, prepare):
        read += 1
        if not content:
            blank += 1
            continue
        rank, order = _hashes(page.id, seed)
        if len(heap) < most or -rank > heap[0][0]:
            begin = spool.tell()
            spool.write(content)
            site = None if not page.domain else _split_hash(page.domain.encode("utf-8", "replace"), seed)
            example = Example(order, positive, site, _split_hash(content, seed), begin, spool.tell())
            (heapq.heappush if len(heap) < most else heapq.heapreplace)(heap, (-rank, -begin, example))
    drawn = [example for _, _, example in sorted(heap, key=lambda entry: entry[:2], reverse=True)]
    return drawn, {"read": read, "blank": blank, "drawn": len(drawn)}


def _prepared(pages: Pages, prepare: Prepare) -> Iterator[tuple[Page, bytes]]:
    iterator = iter(pages)
    while chunk := list(itertools.islice(iterator, PAGES_AT_A_TIME)):
        encoded = [page.text.encode("utf-8", "replace") for page in chunk]  # a lone surrogate becomes a question mark
        yield from zip(chunk, prepare(PageBatch(pa.array(encoded, pa.large_binary()).view(pa.large_string()))), strict=True)


def _hashes(identifier: str, seed: int) -> tuple[int, int]:
    sixteen = hashlib.blake2b(f"{seed}\n{identifier}".encode("utf-8", "replace"), digest_size=16).digest()
    return int.from_bytes(sixteen[:8], "big"), int.from_bytes(sixteen[8:], "big")


def _split_hash(content: bytes, seed: int) -> int:
    eight = hashlib.blake2b(content, digest_size=8, salt=b"held out", key=str(seed).encode()).digest()
    return int.from_bytes(eight, "big")
