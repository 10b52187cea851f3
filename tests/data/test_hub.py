"""Hugging Face data sets: what they say of themselves is believed, and nothing is assumed.

The library itself is large and optional, so that most tests read a stand-in; where it is installed, a data set
that it has written is read too.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fer.data.faces import SPLITS
from fer.data.hub import read_hub
from fer.data.options import ReadOptions
from fer.data.sources import read_source
from fer.errors import FerError
from fer.labels import EMOTIONS
from tests.conftest import composed
from tests.data.layouts import png

NAMES = ("happiness", "anger", "fear", "disgust", "sadness", "surprise", "neutral")


@dataclass
class Image:
    decode: bool = True


@dataclass
class ClassLabel:
    names: Sequence[str] = NAMES


@dataclass
class Part:
    """A split, as `datasets.Dataset` is used here."""

    rows: list[dict[str, Any]]
    features: Mapping[str, object] = field(default_factory=lambda: {"id": str, "face": Image(), "mood": ClassLabel()})

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def select_columns(self, columns: list[str]) -> "Part":
        return Part([{name: row[name] for name in columns} for row in self.rows], self.features)

    def cast_column(self, column: str, feature: Image) -> "Part":
        assert not feature.decode
        return self


def part(count: int, seed: int) -> Part:
    """Return a split with that many pictures of each class, whose first pixel is the label."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in list(range(len(NAMES))) * count:
        image = rng.integers(0, 256, (48, 48), np.uint8)
        image[0, 0] = label
        rows.append({"id": str(label), "face": {"bytes": png(image), "path": None}, "mood": label})
    return Part(rows)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a stand-in for the library offers, by name."""
    data: dict[str, Any] = {}
    module = ModuleType("datasets")
    module.__dict__.update(Image=Image, ClassLabel=ClassLabel, load_dataset=data.__getitem__)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return data


def counts(data: dict[str, Any], **options: Any) -> list[list[int]]:
    (name,) = data
    faces = read_hub(name, ReadOptions(**options))
    return [faces.split(split).counts().tolist() for split in SPLITS]


def test_class_names_are_the_feature_s_own(offered: dict[str, Any]) -> None:
    offered["me/moods"] = {"train": part(3, 0), "validation": part(1, 1), "test": part(2, 2), "extra": part(1, 3)}
    faces = read_hub("me/moods", ReadOptions())

    assert counts(offered) == [[3] * 7, [1] * 7, [2] * 7]
    assert faces.source == "Hugging Face data set me/moods"
    assert faces.notes == (
        "Of the splits, these were not read: extra.",
        "Classes: anger→angry, happiness→happy, sadness→sad.",
    )
    for image, label in zip(faces.images, faces.labels, strict=True):
        own = {"happiness": "happy", "anger": "angry", "sadness": "sad"}
        assert EMOTIONS[label] == own.get(NAMES[image[0, 0]], NAMES[image[0, 0]])
    assert faces.origins[0] == "train/0"


def test_splits_that_are_missing_are_drawn(offered: dict[str, Any]) -> None:
    offered["a"] = {"train": part(10, 0)}
    assert counts(offered) == [[8] * 7, [1] * 7, [1] * 7]
    offered["a"] = part(10, 0)
    assert counts(offered) == [[8] * 7, [1] * 7, [1] * 7]
    offered["a"] = {"train": part(10, 0), "test": part(2, 1)}
    assert counts(offered) == [[9] * 7, [1] * 7, [2] * 7]
    offered["a"] = {"train": part(10, 0), "validation": part(2, 1)}
    assert counts(offered) == [[9] * 7, [1] * 7, [2] * 7]


def test_a_configuration_names_the_data_set(offered: dict[str, Any]) -> None:
    offered["me/moods"] = {"train": part(3, 0), "test": part(2, 2)}
    faces, kind = read_source(composed("data=huggingface", "data.root=me/moods").data)
    assert (len(faces), kind) == (35, "folder")
    with pytest.raises(FerError, match=r"add data\.root"):
        read_source(composed("data=huggingface").data)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"face": Image(), "mood": int}, "0 columns with the feature ClassLabel"),
        ({"face": str, "mood": ClassLabel()}, "0 columns with the feature Image"),
        ({"face": Image(), "other": Image(), "mood": ClassLabel()}, "2 columns with the feature Image"),
    ],
)
def test_columns_are_found_by_their_features(features: dict[str, object], said: str, offered: dict[str, Any]) -> None:
    offered["a"] = {"train": Part([], features), "test": Part([], features)}
    with pytest.raises(FerError, match=said):
        read_hub("a", ReadOptions())


def test_broken_rows_stop_the_reading_or_are_left_out(offered: dict[str, Any]) -> None:
    data = {"train": part(3, 0), "test": part(2, 2)}
    rows = data["train"].rows
    rows[0]["mood"], rows[1]["face"], rows[2]["face"] = -1, None, {"bytes": b"no picture", "path": None}
    offered["a"] = data
    with pytest.raises(FerError, match="train/0 has no label"):
        read_hub("a", ReadOptions())
    faces = read_hub("a", ReadOptions(on_error="skip"))
    assert len(faces) == 32
    assert "3 of 35 pictures were left out (data.on_error=skip): train/0, train/1, train/2." in faces.notes


def test_a_data_set_that_cannot_be_loaded(offered: dict[str, Any]) -> None:
    with pytest.raises(FerError, match=r"data\.root: the Hugging Face data set 'nowhere' cannot be loaded"):
        read_hub("nowhere", ReadOptions())


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(FerError, match=r"pip install 'fer-lightning\[hf\]'"):
        read_hub("me/moods", ReadOptions())


def test_data_sets_that_the_library_wrote(tmp_path: Path) -> None:
    library = pytest.importorskip("datasets")
    features = library.Features(
        {"id": library.Value("string"), "face": library.Image(), "mood": library.ClassLabel(names=list(NAMES))}
    )
    parts = {}
    for number, (split, count) in enumerate((("train", 3), ("validation", 1), ("test", 2))):
        rows = part(count, number).rows
        parts[split] = library.Dataset.from_list(rows, features=features)
        parts[split].to_parquet(str(tmp_path / "hub" / f"{split}.parquet"))
        for row in rows:  # an ImageFolder
            place = tmp_path / "folder" / split / NAMES[row["mood"]]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{len(list(place.iterdir()))}.png").write_bytes(row["face"]["bytes"])
    library.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    saved, hub, folder = (read_hub(str(tmp_path / name), ReadOptions()) for name in ("saved", "hub", "folder"))

    assert saved.digest() == hub.digest() == folder.digest()
    assert [saved.split(split).counts().tolist() for split in SPLITS] == [[3] * 7, [1] * 7, [2] * 7]


def test_each_split_has_class_names_of_its_own(offered: dict[str, Any]) -> None:
    """A library that encodes the labels of each split by itself numbers them anew where a class is missing."""
    offered["me/moods"] = {"train": part(4, 0), "test": part(2, 1)}
    fewer = [name for name in NAMES if name != "fear"]
    rows = [row for row in offered["me/moods"]["test"].rows if NAMES[row["mood"]] != "fear"]
    rows = [{**row, "mood": fewer.index(NAMES[row["mood"]])} for row in rows]
    features = {"id": str, "face": Image(), "mood": ClassLabel(fewer)}
    offered["me/moods"]["test"] = Part(rows, features)
    faces = read_hub("me/moods", ReadOptions()).split("test")
    own = {"happiness": "happy", "anger": "angry", "sadness": "sad"}
    true = [NAMES[pixel] for pixel in faces.images[:, 0, 0]]  # each picture's first pixel is its label
    assert [faces.classes[label] for label in faces.labels] == [own.get(name, name) for name in true]
    offered["me/moods"]["test"] = Part(rows, {"id": str, "face": Image(), "mood": str})
    with pytest.raises(FerError, match="me/moods: test has 0 columns with the feature ClassLabel"):
        read_hub("me/moods", ReadOptions())
