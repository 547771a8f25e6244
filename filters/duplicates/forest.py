"""One walk over verified pairs that answers for every threshold: Kruskal's, from the most similar pair down.

A page is a duplicate at threshold t if a chain of pairs, each of similarity t or more, links it to a better page. The
largest such t is where, in a maximum spanning forest, its part is first joined to one that holds a better page: when two
parts meet at weight w, the best page of the worse part gets w, and all its other pages have had theirs. Pairs of one weight
may come in any order.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.kernels.text import kernel

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


@kernel
def root(parents: Integers, page: int) -> int:
    """The page that stands for the part of a page; paths are halved on the way."""
    while parents[page] != page:
        parents[page] = parents[parents[page]]
        page = parents[page]
    return page


@kernel
def fill_walk(
    left: Integers, right: Integers, order: Integers, weights: Floats, parents: Integers, similarity: Floats, joins: Truth
) -> None:
    """Join parts in this order of pairs. Pages are numbered best first, and a part is known by its best page."""
    for pair in order:
        one, other = root(parents, left[pair]), root(parents, right[pair])
        if one == other:
            continue
        better, worse = min(one, other), max(one, other)
        parents[worse] = better
        similarity[worse] = weights[pair]
        joins[pair] = True


@dataclass(frozen=True)
class Forest:
    """Of pages numbered best first: similarity to a better one (0: none); and of pairs: whether each is in the forest."""

    similarity: Floats
    joins: Truth


def walk(pages: int, left: Integers, right: Integers, weights: Floats) -> Forest:
    """Walk pairs of pages, numbered best first, with their similarity; shape (pairs,) each."""
    similarity, joins = np.zeros(pages), np.zeros(len(left), bool)
    order = np.argsort(-weights, kind="stable")
    fill_walk(left, right, order, weights, np.arange(pages), similarity, joins)
    return Forest(similarity, joins)


def components(pages: int, left: Integers, right: Integers) -> Integers:
    """The smallest number in the component of each page; shape (pages,)."""
    parents = np.arange(pages)
    fill_components(left, right, parents)
    return parents


@kernel
def fill_components(left: Integers, right: Integers, parents: Integers) -> None:
    """Write the smallest page of each page's component to `parents`, in which every page stands for itself."""
    for pair in range(len(left)):
        one, other = root(parents, left[pair]), root(parents, right[pair])
        parents[max(one, other)] = min(one, other)
    for page in range(len(parents)):
        parents[page] = root(parents, page)
