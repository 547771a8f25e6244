"""Pages to learn from, mostly of two classes: drawn, balanced, and some held out to see what was learned.

Hashes decide everything, never the order in which pages arrive: two of (id, seed) which pages are drawn and in which order
they are shown; one of the page's site, or of what is read of a page without a site, which are held out. A site that is more
of its class than is held out cannot be held out as a whole: its pages are decided one by one, near copies of each other
together. What is read of a held-out page is trained on nowhere, and a page of which a near copy is trained on is no held-out
page: those of other sites are left out.
"""

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.kinds import Page, Pages, TrainingError
from filters.pages import PageBatch

PAGES_AT_A_TIME = 256
HELD_OUT = "held_out.parquet"
"""Beside a trained model: pages that it was not trained on, for its card."""
MOST_HELD_OUT = 300
"""Of each side. An assumption: a share of one half is then known to .06 with 95 % confidence."""
MOST_BYTES = 100_000
"""Of each of them, from its beginning."""
Prepare = Callable[[PageBatch], Sequence[bytes]]
"""What a model reads of each page; no bytes where there is nothing to read."""


@dataclass(frozen=True)
class Sampling:
    """How many pages a classifier learns from, and the share that it is measured on.

    told_bytes: of the text of every page, kept for what is told of those that are trained on.
    """

    most_per_class: int
    fewest_per_class: int
    held_out: float
    balanced: bool = True
    told_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out!r}, expected a share between 0 and 1")


@dataclass(frozen=True)
class Example:
    """One page: its class, the order it is shown in, hashes of its site, of its near copies and of what is read.

    What is read lies in the spool. Behind it, up to `text_end`, lies the beginning of its text, where it may be held out
    or told of.
    """

    order: int
    positive: bool
    site: int | None
    cluster: int | None
    content: int
    begin: int
    end: int
    text_end: int


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

    def keep_held_out(self, classes: Mapping[bool, tuple[str, Pages]], folder: Path) -> None:
        """Write some of the pages that are held out beside the model."""
        sides: list[Side] = []
        for positive, (name, _) in classes.items():
            some = [example for example in self.held_out if example.positive == positive][:MOST_HELD_OUT]
            sides.append(Side(name, positive, [self.text(example) for example in some]))
        write_held_out(sides, folder)

    def text(self, example: Example) -> str:
        """The beginning of the text of an example; `told_bytes` of one that is not held out."""
        self.spool.seek(example.end)
        return self.spool.read(example.text_end - example.end).decode(errors="ignore")


class Side(NamedTuple):
    """Pages of one kind that a model was not trained on, and whether they are what it looks for."""

    name: str
    positive: bool
    texts: list[str]


def write_held_out(sides: Sequence[Side], folder: Path) -> None:
    """Write held-out pages beside the model."""
    rows = [(one.name, one.positive, text.encode("utf-8", "replace").decode()) for one in sides for text in one.texts]
    schema = pa.schema([("side", pa.string()), ("positive", pa.bool_()), ("text", pa.large_string())])
    columns = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    pq.write_table(pa.table(columns, schema=schema), folder / HELD_OUT, compression="zstd")


def sample(classes: Mapping[bool, tuple[str, Pages]], prepare: Prepare, how: Sampling, seed: int, spool: BinaryIO) -> Sample:
    """Draw, balance and split one class or two, each under its name. Raises TrainingError where one has too few pages.

    What is read is written to `spool`, also of pages that later ones push out (ln(pages / most_per_class) times as many).
    """
    drawn: dict[bool, list[Example]] = {}
    read: dict[str, dict[str, int]] = {}
    for positive, (name, pages) in classes.items():
        drawn[positive], read[name] = _draw(pages, positive, prepare, how, seed, spool)
        if len(drawn[positive]) < how.fewest_per_class:
            raise TrainingError(
                f"{len(drawn[positive])} pages with words among the {name}, at least {how.fewest_per_class} are needed:"
                f" name more files under {name}:, or check that they hold text"
            )
    size = min(map(len, drawn.values())) if how.balanced else None
    examples = [example for of_class in drawn.values() for example in of_class[:size]]
    drawn_out = list(_held_out(examples, how.held_out))
    known = {example.cluster for example, out in zip(examples, drawn_out, strict=True) if not out} - {None}
    held_out = [one for one, out in zip(examples, drawn_out, strict=True) if out and one.cluster not in known]
    seen = {example.content for example in held_out}
    training = [one for one, out in zip(examples, drawn_out, strict=True) if not out and one.content not in seen]
    trained_on = {name: sum(one.positive == positive for one in training) for positive, (name, _) in classes.items()}
    if min(trained_on.values()) == 0:
        raise TrainingError(
            f"after holding out a share of {how.held_out}, one class has nothing to train on: {trained_on}; give more pages"
        )
    counts = {
        "pages": read,
        "trained_on": trained_on,
        "trained_on_hash": {name: _hash_of(training, positive) for positive, (name, _) in classes.items()},
        "copies_of_held_out": len(examples) - sum(drawn_out) - len(training),
        "near_copies_of_trained_on": sum(drawn_out) - len(held_out),
    }
    return Sample(_in_order(training), _in_order(held_out), counts, spool)


def _hash_of(training: Sequence[Example], positive: bool) -> str:
    """What tells the pages of a class that are trained on from others, in whatever order they came."""
    contents = sorted(example.content for example in training if example.positive == positive)
    return hashlib.sha256(b"".join(content.to_bytes(8, "big") for content in contents)).hexdigest()


def _in_order(examples: Sequence[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: (example.order, example.positive, example.begin))


def _held_out(examples: Sequence[Example], share: float) -> Iterator[bool]:
    """Whether each example is held out."""
    of_class = Counter(example.positive for example in examples)
    of_site = Counter((example.positive, example.site) for example in examples)
    of_cluster = Counter((example.positive, example.cluster) for example in examples)
    large, too_large = (
        {value for (positive, value), pages in some.items() if pages > share * of_class[positive]}
        for some in (of_site, of_cluster)
    )
    for example in examples:
        if example.site is not None and example.site not in large:
            yield example.site < share * 2**64
        elif example.cluster is not None:
            yield example.cluster < share * 2**64 and example.cluster not in too_large
        else:
            yield example.content < share * 2**64


def _draw(
    pages: Pages, positive: bool, prepare: Prepare, how: Sampling, seed: int, spool: BinaryIO
) -> tuple[list[Example], dict[str, int]]:
    """The pages with the smallest hashes, smallest first, `most_per_class` at most; how many were read, blank and drawn."""
    heap: list[tuple[int, int, Example]] = []
    read, blank, most = 0, 0, how.most_per_class
    for page, text, content in _prepared(pages, prepare):
        read += 1
        if not content:
            blank += 1
            continue
        rank, order = _hashes(page.id, seed)
        if len(heap) < most or -rank > heap[0][0]:
            site = None if not page.domain else _split_hash(page.domain.encode("utf-8", "replace"), seed)
            cluster = None if page.cluster is None else _split_hash(str(page.cluster).encode(), seed)
            by = _split_hash(content, seed)
            may_be_held_out = min(one for one in (by, site, cluster) if one is not None) < how.held_out * 2**64
            begin, end = spool.tell(), spool.tell() + len(content)
            spool.write(content + text[: MOST_BYTES if may_be_held_out else how.told_bytes])
            example = Example(order, positive, site, cluster, by, begin, end, spool.tell())
            (heapq.heappush if len(heap) < most else heapq.heapreplace)(heap, (-rank, -begin, example))
    drawn = [example for _, _, example in sorted(heap, key=lambda entry: entry[:2], reverse=True)]
    return drawn, {"read": read, "blank": blank, "drawn": len(drawn)}


def _prepared(pages: Pages, prepare: Prepare) -> Iterator[tuple[Page, bytes, bytes]]:
    """Each page with its text in UTF-8, and what is read of it."""
    iterator = iter(pages)
    while chunk := list(itertools.islice(iterator, PAGES_AT_A_TIME)):
        encoded = [page.text.encode("utf-8", "replace") for page in chunk]  # a lone surrogate becomes a question mark
        batch = PageBatch(pa.array(encoded, pa.large_binary()).view(pa.large_string()))
        yield from zip(chunk, encoded, prepare(batch), strict=True)


def _hashes(identifier: str, seed: int) -> tuple[int, int]:
    sixteen = hashlib.blake2b(f"{seed}\n{identifier}".encode("utf-8", "replace"), digest_size=16).digest()
    return int.from_bytes(sixteen[:8], "big"), int.from_bytes(sixteen[8:], "big")


def _split_hash(content: bytes, seed: int) -> int:
    eight = hashlib.blake2b(content, digest_size=8, salt=b"held out", key=str(seed).encode()).digest()
    return int.from_bytes(eight, "big")
