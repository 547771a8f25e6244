"""Which bytes a shard has: their SHA-256, so that a shard that was replaced is read again and one that was touched is not.

Bytes are hashed when a task is about to read them, so the disk gives them once; on the driver only where something was made
of a shard of that name before. What the file system said then (bytes, times) is kept in `.shards.json`, which no table and
no identity knows: as long as it says the same, nothing is hashed again. What lies in a store has its tag instead.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jobs.parts import reuse, storage
from jobs.parts.table import MANIFEST, Part, content_of
from jobs.shards.locations import local_path, one_name
from jobs.shards.sources import Shard

NOTES = ".shards.json"
Notes = dict[str, Any]


def parts(found: Sequence[Shard], table: Path) -> list[Part]:
    """The shards as parts: those of a name that the table or `reuse:` has known by their content, new ones not yet."""
    before = {
        line["name"]
        for manifest in reuse.counterparts(table / MANIFEST)
        if storage.exists(manifest)
        for line in storage.read_json(manifest).get("parts", ())
    }
    places, known = Counter(shard.location for shard in found), _noted(table.parent)
    asked = [shard for shard in found if shard.name in before or places[shard.location] > 1]
    contents = _contents(asked, known)
    return [_part(shard, contents.get(shard.location) or shard.said or _as_noted(shard, known)) for shard in found]


def identities(found: Sequence[Shard], out: Path) -> list[str]:
    """What tells each shard from others of its name; every one that is not known is hashed."""
    contents = _contents(found, _noted(out))
    return [shard.identity(contents[shard.location]) for shard in found]


def times(found: Sequence[Shard]) -> dict[str, list[int]]:
    """location -> what says that a file on a disk may have changed. Take them before the files are read."""
    return {shard.location: _seen(shard) for shard in found if shard.said is None}


def note(out: Path, found: Sequence[Shard], seen: Mapping[str, list[int]], made: Mapping[str, str]) -> None:
    """Keep the `times` of the shards beside what they held: `made` is the identity by part."""
    before = storage.read_json(out / NOTES) if storage.exists(out / NOTES) else {}
    notes = dict(before)
    for shard in found:
        if shard.location in seen and shard.name in made:
            content = made[shard.name].removeprefix(f"{shard.file} ").removesuffix(shard.how)
            notes[one_name(shard.location)] = {"seen": seen[shard.location], "content": content}
    if notes != before:
        storage.write_json(out / NOTES, notes)


def _seen(shard: Shard) -> list[int]:
    """Bytes, time of the bytes, and time of any change, which no program can set."""
    stat = local_path(shard.location).stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _part(shard: Shard, content: str | None) -> Part:
    if content is None:
        return Part(shard.name, shard.location, "", unhashed=(f"{shard.file} ", shard.how))
    return Part(shard.name, shard.location, shard.identity(content))


def _contents(found: Sequence[Shard], known: Notes) -> dict[str, str]:
    """location -> what the shard there holds, looked up or read; several files at a time."""
    shards = list({shard.location: shard for shard in found}.values())
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets other threads run
        contents = pool.map(lambda shard: _content(shard, known), shards)
        return {shard.location: content for shard, content in zip(shards, contents, strict=True)}


def _content(shard: Shard, known: Notes) -> str:
    return shard.said or _as_noted(shard, known) or content_of(shard.location)


def _as_noted(shard: Shard, known: Notes) -> str | None:
    """The content that was noted, where the file system says what it said then."""
    noted = known.get(one_name(shard.location))
    return noted["content"] if noted and noted["seen"] == _seen(shard) else None


def _noted(out: Path) -> Notes:
    """What this experiment and the one that `reuse:` names have noted."""
    notes: Notes = {}
    for file in reversed(reuse.counterparts(out / NOTES)):
        if storage.exists(file):
            notes |= storage.read_json(file)
    return notes
