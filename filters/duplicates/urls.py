"""Two addresses of one page: what may differ between them is taken away step by step, and the rest is compared.

The steps are those that change the address of a page but hardly ever the page. What may matter is left as it is: the case
and the escapes of path and query, the order of parameters, `index.html`.
"""

import contextlib
import re
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

import idna

from filters.duplicates.exact import Keys, keys

Step = Callable[[SplitResult], SplitResult]

DEFAULT_PORTS = {"http": ":80", "https": ":443", "ftp": ":21"}
TRACKING = re.compile(
    r"utm_[a-z_]+|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|twclid|ttclid|igshid|mc_cid|mc_eid|_ga|_gl"
    r"|_hsenc|_hsmi|mkt_tok|oly_anon_id|oly_enc_id|vero_id|wickedid",
    re.I,
)
"""Parameters that campaigns and advertisers add to links; what they carry is about the visit, not about the page."""


def default_port(url: SplitResult) -> SplitResult:
    """Without the port that the scheme means anyway."""
    return url._replace(netloc=url.netloc.removesuffix(DEFAULT_PORTS.get(url.scheme, ":")))


def host(url: SplitResult) -> SplitResult:
    """The host in lower case and, where it is international, in ASCII; one that IDNA refuses stays as it is."""
    login, at, name = url.netloc.rpartition("@")
    name, colon, port = name.partition(":") if not name.startswith("[") else (name, "", "")
    name = name.lower().rstrip(".")
    if not name.isascii():
        with contextlib.suppress(idna.IDNAError):  # a host that no resolver would find still tells addresses apart
            name = idna.encode(name, uts46=True).decode()
    return url._replace(netloc=f"{login}{at}{name}{colon}{port}")


def www(url: SplitResult) -> SplitResult:
    """Without a leading `www.` where something is left of the host."""
    rest = url.netloc.removeprefix("www.")
    return url._replace(netloc=rest) if "." in rest else url


def fragment(url: SplitResult) -> SplitResult:
    """Without what stands behind `#`."""
    return url._replace(fragment="")


def tracking(url: SplitResult) -> SplitResult:
    """Without the parameters that name a campaign or a click."""
    if not url.query:
        return url
    kept = [one for one in url.query.split("&") if not TRACKING.fullmatch(one.partition("=")[0])]
    return url._replace(query="&".join(kept))


def trailing_slash(url: SplitResult) -> SplitResult:
    """Without slashes at the path's end."""
    return url._replace(path=url.path.rstrip("/"))


def scheme(url: SplitResult) -> SplitResult:
    """http as https."""
    return url._replace(scheme="https") if url.scheme == "http" else url


STEPS: tuple[Step, ...] = (default_port, host, www, fragment, tracking, trailing_slash, scheme)
"""In this order: a default port is one of the scheme that the address was given with."""


def normalised(url: str) -> str:
    """The address after every step, over and over until none changes it: without a fragment another end may be one.

    One that cannot be taken apart only loses white space at its ends.
    """
    while (shorter := _once(url)) != url:
        url = shorter
    return url


def _once(url: str) -> str:
    try:
        split = urlsplit(url.strip())
    except ValueError:
        return url.strip()
    for step in STEPS:
        split = step(split)
    return split.geturl()


def url_keys(urls: Sequence[str | None]) -> Keys:
    """128-bit hashes of the normalised addresses; that of the empty text where there is no address."""
    return keys([normalised(url or "").encode(errors="surrogatepass") for url in urls])
