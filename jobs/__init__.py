"""The things one can run, one file each, and the only place that knows Spark."""

import sys
from pathlib import Path

# Run by path, or by spark-submit, a verb's own folder comes first on sys.path, and there `evaluate` or `read` would be
# found in place of the packages of that name.
_here = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != _here]
