"""What of the held-out pages is alike: strata, parts that are averaged, and clusters, pages that are drawn together.

Pages of one site are alike, so a site is a cluster. Where one site holds much of what was held out, its sections are taken
for clusters instead, by the first segments of the address: they are the largest parts of it that are told apart by name.
"""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

LARGE_SITE = 0.2
"""A site with more than this share of the pages is cut into sections."""
LEAST_CLUSTERS = 5
"""A part with fewer clusters is no stratum: it could not show how much pages differ."""
DEEPEST = 3
"""Segments of an address; deeper ones are pages rather than sections."""
OTHER = "other"


def clusters(sites: Sequence[str | None], urls: Sequence[str | None], ids: Sequence[str], by: str | None) -> list[str]:
    """The cluster of each page. by: `site`, `path` (section of a site) or `page`; None: site, and path in large sites."""
    held = Counter(site for site in sites if site)
    cut = [site for site, pages in held.items() if by == "path" or (by is None and pages > LARGE_SITE * len(sites))]
    depths = {site: _depth([url for url, of in zip(urls, sites, strict=True) if of == site]) for site in cut}
    named = []
    for site, url, page in zip(sites, urls, ids, strict=True):
        if by == "page" or not site:
            named.append(page)
        else:
            named.append(f"{site}/{section(url, depths[site])}" if site in depths else site)
    return named


def _depth(urls: Sequence[str | None]) -> int:
    """How many segments tell sections of a site apart: the fewest that give clusters enough, if any do."""
    return next(
        (depth for depth in range(1, DEEPEST) if len({section(url, depth) for url in urls}) >= LEAST_CLUSTERS), DEEPEST
    )


def section(url: str | None, depth: int) -> str:
    """The first segments of an address's path, so many at most, without the page itself."""
    try:
        segments = urlsplit(url or "").path.split("/")
    except ValueError:  # no address at all
        return ""
    return "/".join(segments[1:-1][:depth])


def strata(values: Sequence[str | None], cluster: Sequence[str], named: Sequence[str] | None = None) -> list[str]:
    """The stratum of each page: its value where that is one of `named`, or has clusters enough; `other` otherwise."""
    if named is None:
        held: dict[str, set[str]] = {}
        for value, one in zip(values, cluster, strict=True):
            held.setdefault(value or OTHER, set()).add(one)
        named = [value for value, some in held.items() if len(some) >= LEAST_CLUSTERS]
    return [value if value in named and value is not None else OTHER for value in values]
