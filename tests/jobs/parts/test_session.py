"""On an executor our packages lie in a zip whose place is relative to the folder that it starts in."""

import subprocess
import sys
import zipfile
from pathlib import Path

from jobs.parts.session import HOME, PACKAGES

LATER = """
import sys
sys.path.insert(0, "./goodhart.zip")
import filters, jobs.parts.session
assert "goodhart.zip" in filters.__path__[0], filters.__path__
from pathlib import Path
jobs.parts.session.stand_in((Path(sys.argv[1]), {}))
import filters.units.phrases, jobs.shards.charsets
assert Path.cwd() == Path(sys.argv[1])
print(filters.units.phrases.__file__)
"""


def test_a_module_is_found_after_the_folder_has_changed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(tmp_path / "goodhart.zip", "w") as archive:
        for file in (file for package in PACKAGES for file in (HOME / package).rglob("*.py")):
            archive.write(file, file.relative_to(HOME))
    command = [sys.executable, "-c", LATER, str(elsewhere)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "goodhart.zip")
