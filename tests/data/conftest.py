"""Shared by the tests of the data."""

from pathlib import Path

import pytest

from tests.data.layouts import write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small FER2013 as its table."""
    write_table(tmp_path / "data" / "fer2013.csv")
    return tmp_path / "data"
