"""verify: every file under out: read again and held against what was written.

    python -m jobs.verify CONF [--set key=value ...] [--dry-run]

Tables go by their manifests, all other files by the list that every verb leaves. Prints each file that holds something
else, is cut or is gone from a table, and ends with 1 where there is any.
"""

from pathlib import Path

from filters.files import sha256_of
from jobs.parts import command, ledger, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.table import MANIFEST


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Read all files; 1 where one is not as it was written."""
    out = experiment.out
    manifests = sorted(out.rglob(MANIFEST))
    if dry_run:
        print(f"verify: {storage.held_bytes(out):,} bytes of {len(manifests)} tables and other files would be read")
        return command.OK
    bad = ledger.damaged(out)
    for manifest in manifests:
        if manifest not in bad:
            bad += damaged_parts(manifest)
    for file in bad:
        print(f"verify: {file} is not as it was written: --redo {ledger.maker(experiment, file)} makes it again")
    print(f"verify: {storage.held_bytes(out):,} bytes read, {len(bad)} files are damaged")
    return command.DAMAGED if bad else command.OK


def damaged_parts(manifest: Path) -> list[Path]:
    """The parts of a table that are gone or not those that its manifest lists; the manifest, where it cannot be read."""
    folder = manifest.parent
    data = folder.parent.parent / folder.name if folder.parent.name == "_books" else folder
    try:
        lines = storage.read_json(manifest)["parts"]
    except (ValueError, KeyError):
        return [manifest]
    return [data / line["file"] for line in lines if not _is_whole(data / line["file"], line)]


def _is_whole(file: Path, line: dict[str, object]) -> bool:
    return storage.exists(file) and file.stat().st_size == line["bytes"] and sha256_of(file) == line["sha256"]


if __name__ == "__main__":
    command.main(main, __doc__, reads_only=True)
