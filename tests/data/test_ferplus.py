"""The votes of FER+ reach the pictures they belong to, and what is learned of these."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces
from fer.data.ferplus import TARGETS
from fer.data.sources import read_source
from fer.errors import FerError
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT
from tests.conftest import composed
from tests.data.layouts import (
    CONTEMPT_ROW,
    MIXED,
    draw_rows,
    pack_tar,
    row,
    unanimous,
    write_folders,
    write_index,
    write_votes,
)


def read(root: Path, *options: str) -> Faces:
    faces, name = read_source(composed("data=ferplus", f"data.root={root}", *options).data)
    assert name == "ferplus"
    return faces


def test_the_table_gets_the_votes_of_its_rows(root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED, blank=[16])
    faces = read(root)
    gone = {8, 12, 16, 42}
    labels = [label for _, label, _ in draw_rows()]
    labels[28], labels[CONTEMPT_ROW] = EMOTIONS.index("sad"), 7
    kept = [number for number in range(56) if number not in gone]
    assert faces.classes == EMOTIONS_WITH_CONTEMPT == (*EMOTIONS, "contempt")
    assert list(faces.origins) == [f"fer2013.csv:row {number}" for number in kept]
    assert faces.labels.tolist() == [labels[number] for number in kept]
    assert faces.targets is None
    assert faces.split("train").counts().tolist() == [4, 4, 3, 3, 3, 4, 3, 1]
    assert faces.notes[-1] == (
        "FER+ (blank, outliers, unknown, leading, majority) keeps 25 train, 14 val, 13 test of 56 faces."
    )
    assert faces.source == f"fer2013.csv in {root} with the votes of {root / 'fer2013new.csv'}"


def test_without_contempt_its_faces_go_and_its_votes_are_shared_out(root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED)
    with_it = read(root, "data.target=cross_entropy").split("train")
    without = read(root, "data.target=cross_entropy", "data.contempt=false").split("train")
    assert without.classes == EMOTIONS
    assert len(with_it) - len(without) == 1
    assert f"fer2013.csv:row {CONTEMPT_ROW}" not in without.origins
    assert with_it.targets is not None and without.targets is not None
    assert with_it.targets[4] == pytest.approx(row(disgust=0.6, contempt=0.4))
    assert without.targets[4].tolist() == row(disgust=1.0)[:7]
    assert without.targets[0] == pytest.approx(row(angry=0.7, sad=0.3)[:7]) == with_it.targets[0][:7]
    assert without.targets.sum(axis=1) == pytest.approx(np.ones(len(without)))
    right = read(root, "data.target=multi_target", "data.contempt=false").targets
    assert right is not None
    assert right.dtype == np.bool_
    assert right[4].tolist() == [name == "disgust" for name in EMOTIONS]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", ["folders", "archive"])
def test_kaggles_pictures_find_their_rows_by_the_index(layout: str, target: str, root: Path, tmp_path: Path) -> None:
    votes = write_votes(tmp_path / "somewhere.csv", MIXED, blank=[16])
    index = write_index(tmp_path / "rows.csv")
    write_folders(tmp_path / "pictures" / "kaggle")
    place = tmp_path / "pictures"
    if layout == "archive":
        place = pack_tar(place, tmp_path / "packed.tar")
    options = (f"data.target={target}", f"data.votes={votes}")
    table, kaggle = read(root, *options), read(place, *options, f"data.index={index}")
    assert kaggle.digest() == table.digest()
    assert kaggle.notes[-1] == table.notes[-1]


def test_votes_and_index_are_found_beside_the_pictures(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "data")
    write_votes(tmp_path / "fer2013new.csv")
    write_index(root / "index.csv")
    assert len(read(root)) == 56


def test_the_digest_knows_what_is_learned_and_nothing_more(root: Path) -> None:
    path = root / "fer2013new.csv"

    def digests(changed: dict[int, list[int]]) -> dict[str, str]:
        write_votes(path, changed)
        return {target: read(root, f"data.target={target}").digest() for target in TARGETS}

    first = digests({0: [0, 0, 0, 3, 7, 0, 0, 0, 0, 0]})
    assert first["probabilistic"] == first["cross_entropy"]
    assert len(set(first.values())) == 3
    slightly = digests({0: [0, 0, 0, 4, 6, 0, 0, 0, 0, 0]})
    assert slightly["majority"] == first["majority"]
    assert slightly["cross_entropy"] != first["cross_entropy"]
    assert digests({0: unanimous("sadness")})["majority"] != first["majority"]


def test_the_cache_keeps_fer2013_and_ferplus_apart(root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED)
    plain = composed("data=fer2013", f"data.root={root}").data
    before, _ = read_source(plain)
    first, second = read(root), read(root, "data.target=cross_entropy")
    after, _ = read_source(plain)
    assert before.labels.tolist() == after.labels.tolist() == [label for _, label, _ in draw_rows()]
    assert (len(before), len(first)) == (56, 53)
    assert before.classes == after.classes == EMOTIONS
    assert first.targets is None and second.targets is not None


def _lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    return lambda path: path.write_text("\n".join(change(path.read_text().splitlines())))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "data.votes: .* does not exist; download fer2013new.csv from github.com/microsoft"),
    "empty": (lambda path: path.write_text(""), "has no column Usage, Image name, neutral.*its columns are none"),
    "column missing": (_lines(lambda rows: [rows[0].replace("fear", "panic"), *rows[1:]]), "no column fear; .*panic"),
    "row missing": (_lines(lambda rows: rows[:-1]), "has 55 rows, but .*fer2013.csv .* 56 pictures; .*row for row"),
    "short row": (_lines(lambda rows: [rows[0], rows[1][:-2], *rows[2:]]), "line 2: 11 fields instead of 12"),
    "letters": (_lines(lambda rows: [rows[0], rows[1][:-1] + "x", *rows[2:]]), "line 2: 'x' is no number .* for NF"),
    "negative": (_lines(lambda rows: [rows[0], rows[1][:-1] + "-1", *rows[2:]]), "line 2: '-1' is no number of votes"),
    "usage": (_lines(lambda rows: [rows[0], "X" + rows[1], *rows[2:]]), "line 2: Usage 'XTraining' is none of"),
    "other order": (
        _lines(lambda rows: [rows[0], *reversed(rows[1:])]),
        r"row 0: Usage is PrivateTest, but fer2013.csv:row 0 is of Training; .*order",
    ),
    "class without faces": (
        lambda path: write_votes(path, {CONTEMPT_ROW: unanimous("fear")}),
        "leaves no training face of contempt; .*data.contempt=false",
    ),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe\0"), "is not readable as CSV"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
def test_bad_votes_are_named(spoil: Callable[[Path], object], said: str, root: Path) -> None:
    path = write_votes(root / "fer2013new.csv")
    spoil(path)
    with pytest.raises(FerError, match=said) as caught:
        read(root)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_INDEX: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, r"data.index: .*rows\.csv does not exist, and Kaggle's .* data.root=path/to/fer2013.csv"),
    "columns": (_lines(lambda rows: ["file,row_number", *rows[1:]]), "has no column row, kaggle_file"),
    "picture missing": (_lines(lambda rows: [rows[0], *rows[2:]]), "has no row for train/angry/Training_0.png"),
    "row of letters": (_lines(lambda rows: [rows[0], "x" + rows[1], *rows[2:]]), "line 2: row 'x0' is no whole"),
    "row too large": (_lines(lambda rows: [*rows[:-1], "56" + rows[-1][2:]]), "row 56, beyond the last one, for test"),
    "row twice": (_lines(lambda rows: [*rows[:2], "0" + rows[2][1:], *rows[3:]]), "names a row twice"),
    "picture twice": (_lines(lambda rows: [*rows[:2], rows[1], *rows[3:]]), "line 3: 'train/angry/Training_0.png'"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD_INDEX.values(), ids=BAD_INDEX)
def test_a_bad_index_is_named(spoil: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    root = write_folders(tmp_path / "data")
    write_votes(root / "fer2013new.csv")
    path = write_index(tmp_path / "rows.csv")
    spoil(path)
    with pytest.raises(FerError, match=said) as caught:
        read(root, f"data.index={path}")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("data.target=soft", "data.target: 'soft' is unknown; choose one of majority, probabilistic"),
        ("data.filters=[blanks]", "data.filters: 'blanks' is unknown; choose one of blank, outliers"),
        ("data.votes=nowhere.csv", "data.votes: nowhere.csv does not exist; download"),
        ("data.oversample.classes=[contemt]", "contemt.*neutral, contempt; did you mean 'contempt'"),
    ],
)
def test_bad_choices_are_named(option: str, said: str, root: Path) -> None:
    write_votes(root / "fer2013new.csv")
    with pytest.raises(FerError, match=said):
        FaceDataModule(composed("data=ferplus", f"data.root={root}", option).data).setup()


def test_without_fer2013_there_is_no_ferplus() -> None:
    with pytest.raises(FerError, match=r"data=ferplus: FER2013 was not found"):
        read_source(composed("data=ferplus").data)


def test_contempt_is_a_class_of_ferplus_alone(root: Path) -> None:
    write_votes(root / "fer2013new.csv")
    for options in (["data=fer2013"], ["data=ferplus", "data.contempt=false"]):
        for key in ("data.oversample.classes", "data.augment.classes"):
            with pytest.raises(FerError, match=f"{key}: 'contempt' is no emotion"):
                FaceDataModule(composed(*options, f"data.root={root}", f"{key}=[contempt]").data).setup()


def test_a_class_map_is_refused(root: Path) -> None:
    with pytest.raises(FerError, match=r"data.class_map: the classes of data=ferplus are those that people voted for"):
        read(root, "data.class_map={disgust: angry}")
