"""Shared fixtures: the optional folder of real data, found beside the checkout, and nothing that starts Java."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real shards, fixtures and lists; tests that need it are skipped where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return SHARED_DATA


def pytest_collection_modifyitems(items):
    """The longest file first, then those that start Spark: one process runs it while the other does the rest."""
    items.sort(
        key=lambda item: (item.path.name != "test_pipeline.py", "spark" not in item.keywords, "jobs" not in item.path.parts)
    )
