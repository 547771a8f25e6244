"""Which pages nothing is trained on and which fold each page is in: decided by the site's name, and copies named.

A site is a registrable domain; a page without one is a site of its own. Draws are made from the hash of the site, or of the
page where pages are held out one by one, so a page is held out and stands in its fold on every machine, whatever else
is read.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.draws import Hashes, draw, id_hashes, uniform


def site_hashes(id_hash: Hashes, domains: pa.Array | pa.ChunkedArray) -> Hashes:
    """The hash of each page's site; shape (pages,). A domain that many pages share is hashed once."""
    different = pc.unique(domains).drop_null()
    at = pc.index_in(domains, value_set=different).fill_null(-1).to_numpy(zero_copy_only=False)
    if not len(different):
        return id_hash
    named = pc.not_equal(different, "").to_numpy(zero_copy_only=False)
    return np.where((at >= 0) & named[at], id_hashes(different)[at], id_hash)


def held_out(id_hash: Hashes, sites: Hashes, by: str, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """True where a page is held out; shape (pages,). `by` is `domain` (a site is in or out as a whole) or `page`."""
    if by not in ("domain", "page"):
        raise ValueError(f"evaluate.held_out.by must be domain or page, got {by!r}")
    if not 0 <= share < 1:
        raise ValueError(f"evaluate.held_out.share must be in [0, 1), got {share!r}")
    return np.asarray(uniform(draw(id_hash if by == "page" else sites, seed, "held out")) < share, bool)


def fold(hashes: Hashes, seed: int) -> Hashes:
    """A draw per hash, of a page's site or of the page; shape (pages,). Replicate r of R takes those that are r modulo R."""
    return draw(hashes, seed, "fold")


def copies_of(marked: npt.NDArray[np.bool_], text_hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """True where an unmarked page has the very text of a marked one; shape (pages,)."""
    return np.asarray(~marked & np.isin(text_hashes, text_hashes[marked]), bool)
