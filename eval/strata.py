"""What of the held-out pages is alike: strata, parts that are averaged, and clusters, pages that are drawn together.

Pages of one site are alike, so a site is a cluster. Where one site holds much of what was held out, its sections are taken
for clusters instead, by the first segment of the address: they are the largest parts of it that are told apart by name.
"""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

LARGE_SITE = 0.2
"""A site with more than this share of the pages is cut into sections."""
LEAST_CLUSTERS = 5
"""A part with fewer clusters is no stratum: it could not show how much pages differ."""
OTHER = "other"


def clusters(sites: Sequence[str | None], urls: Sequence[str | None], ids: Sequence[str], by: str | None) -> list[str]:
    """The cluster of each page. by: `site`, `path` (section of a site) or `page`; None: site, and path in large sites."""
    held = Counter(sites)
    large = {site for site, pages in held.items() if pages > LARGE_SITE * len(sites)} if by is None else set()
    named = []
    for site, url, page in zip(sites, urls, ids, strict=True):
        if by == "page" or not site:
            named.append(page)
        else:
            named.append(f"{site}/{section(url)}" if by == "path" or site in large else site)
    return named


def section(url: str | None) -> str:
    """The first segment of an address's path; empty where there is none, or it is the page itself."""
    try:
        segments = urlsplit(url or "").path.split("/")
    except ValueError:  # no address at all
        return ""
    return segments[1] if len(segments) > 2 else ""


def strata(values: Sequence[str | None], cluster: Sequence[str], named: Sequence[str] | None = None) -> list[str]:
    """The stratum of each page: its value where that is one of `named`, or has clusters enough; `other` otherwise."""
    if named is None:
        held: dict[str, set[str]] = {}
        for value, one in zip(values, cluster, strict=True):
            held.setdefault(value or OTHER, set()).add(one)
        named = [value for value, some in held.items() if len(some) >= LEAST_CLUSTERS]
    return [value if value in named and value is not None else OTHER for value in values]
