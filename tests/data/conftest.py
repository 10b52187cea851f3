"""Shared by the tests of the data."""

from pathlib import Path

import pytest

from fer.data.balance import Oversampling, oversample
from fer.data.faces import Faces
from fer.data.sample import draw_faces
from tests.data.layouts import write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small FER2013 as its table."""
    write_table(tmp_path / "data" / "fer2013.csv")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Drawn training faces, of which some classes have few."""
    return draw_faces(train=140, val=7, test=7, size=24).split("train")


@pytest.fixture(scope="module")
def finished(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of these faces and their copies, by the default configuration; not to be changed."""
    return oversample(faces, Oversampling(), tmp_path_factory.mktemp("finished"))
