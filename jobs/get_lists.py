"""get_lists: word lists and URL blocklists for the groups `url` and `c4`.

    python -m jobs.get_lists                           # the packaged ones, into data/lists/
    python -m jobs.get_lists OUT CATEGORY=FILE ...     # a list of one's own, e.g. data/lists/mine.list adult=adult/domains

The packaged ones are data inside other people's packages: UT1's adult sites and FineWeb's words in PyPI's datatrove, the
bad words of 28 languages in npm's naughty-words. Neither package is installed. A file of one's own (.gz and .xz too) has
one domain or URL per line, as UT1 publishes them, or is a hosts file or a filter list of domains: docs/lists.md.
"""

import argparse
import io
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from filters.kernels.lists import ListFileError, build
from jobs.sample_crawl import Unavailable, npm_pack, run

DATATROVE = "datatrove==0.10.1"
NAUGHTY_WORDS = "naughty-words@1.2.0"
LANGUAGE = r"[a-z]{2,3}(-.+)?\.json"
ASSETS = "datatrove/assets"
BLOCKLIST = f"{ASSETS}/url_filterblacklistsv0_3_0.tar.gz"
URL_WORDS = {"banned_words": "url_words", "soft_banned_words": "url_soft_words", "banned_subwords": "url_subwords"}


def url_lists(out: Path, folder: Path) -> None:
    """`urls.list` of the wheel's domains and URLs, category `ut1`, and the words it looks for in URLs."""
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    run([sys.executable, "-m", "pip", "download", *options, DATATROVE], folder)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        with tarfile.open(fileobj=io.BytesIO(wheel.read(BLOCKLIST))) as tar:
            tar.extractall(folder, filter="data")
        for name, ours in URL_WORDS.items():
            _write(out / f"{ours}.txt", wheel.read(f"{ASSETS}/{name}.txt"))
    entries = build(out / "urls.list", {"ut1": [folder / "domains", folder / "urls"]})
    print(f"get_lists: {entries:,} domains and URLs in {out / 'urls.list'}")


def bad_words(out: Path, folder: Path) -> None:
    """One JSON list per language in `bad_words/`."""
    npm_pack(NAUGHTY_WORDS)(folder)
    aside = out / ".bad_words.partial"
    with tarfile.open(next(folder.glob("*.tgz"))) as tar:
        for member in tar:
            name = Path(member.name).name
            content = tar.extractfile(member) if re.fullmatch(LANGUAGE, name) else None
            if content:
                _write(aside / name, content.read())
    languages = len(list(aside.iterdir()))
    aside.rename(out / "bad_words")
    print(f"get_lists: bad words of {languages} languages in {out / 'bad_words'}")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def packaged(out: Path) -> int:
    """Fetch what is not there yet; a package that is not to be had is named, and the other is still fetched."""
    missing = 0
    steps: list[tuple[Path, Callable[[Path, Path], None]]] = [(out / "urls.list", url_lists), (out / "bad_words", bad_words)]
    for result, step in steps:
        if result.exists():
            print(f"get_lists: {result} is there")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                step(out, Path(folder))
            except Unavailable as error:
                print(f"goodhart: {result.name} could not be made: {error}", file=sys.stderr)
                missing = 1
    return missing


def own(out: Path, sources: list[str]) -> int:
    """Build one list of CATEGORY=FILE arguments."""
    files: dict[str, list[Path]] = {}
    for source in sources:
        category, mark, file = source.partition("=")
        if not (category and mark and file):
            raise ListFileError(f"{source!r} is not CATEGORY=FILE, such as adult=blacklists/adult/domains")
        files.setdefault(category, []).append(Path(file))
    if not files:
        raise ListFileError(f"nothing to build {out} from: give CATEGORY=FILE, such as adult=blacklists/adult/domains")
    print(f"get_lists: {build(out, files):,} entries in {out}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Fetch or build; 0 if all is there, 1 if a package was not to be had, 2 for a request that cannot be met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="list file to build")
    parser.add_argument("sources", nargs="*", metavar="CATEGORY=FILE")
    given = parser.parse_args(arguments)
    try:
        return own(given.out, given.sources) if given.out else packaged(Path("data/lists"))
    except ListFileError as error:
        print(f"goodhart: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
