"""The votes of FER+ reach the pictures they belong to, and what is learned of these."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer.data.batches import draw_labels
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces
from fer.data.ferplus import TARGETS
from fer.data.manifest import read_rows
from fer.data.sources import read_source
from fer.errors import FerError
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT
from tests.conftest import composed
from tests.data.layouts import (
    CONTEMPT_ROW,
    draw_rows,
    pack_tar,
    row,
    unanimous,
    write_folders,
    write_index,
    write_table,
    write_votes,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_table(tmp_path / "data" / "fer2013.csv")
    return tmp_path / "data"


def read(root: Path, *options: str) -> Faces:
    faces, name = read_source(composed("data=ferplus", f"data.root={root}", *options).data)
    assert name == "ferplus"
    return faces


MIXED = {
    0: [0, 0, 0, 3, 7, 0, 0, 0, 0, 0],  # angry, a little sad
    4: [0, 0, 0, 0, 0, 6, 0, 4, 0, 0],  # disgust, and contempt
    8: [5, 0, 0, 0, 0, 0, 5, 0, 0, 0],  # no majority
    12: unanimous("unknown"),
    28: unanimous("sadness"),  # a validation picture that FER2013 has as angry
    42: [0, 0, 5, 0, 5, 0, 0, 0, 0, 0],  # a test picture without a majority
}


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
    "missing": (Path.unlink, r"data.index: .*rows\.csv does not exist, and Kaggle's pictures .* use fer2013.csv"),
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
        FaceDataModule(composed("data=ferplus", f"data.root={root}", option).data).prepare_data()


def test_without_fer2013_there_is_no_ferplus() -> None:
    with pytest.raises(FerError, match=r"data=ferplus: FER2013 was not found"):
        read_source(composed("data=ferplus").data)


def test_contempt_is_a_class_of_ferplus_alone(root: Path) -> None:
    write_votes(root / "fer2013new.csv")
    for options in (["data=fer2013"], ["data=ferplus", "data.contempt=false"]):
        for key in ("data.oversample.classes", "data.augment.classes"):
            with pytest.raises(FerError, match=f"{key}: 'contempt' is no emotion"):
                FaceDataModule(composed(*options, f"data.root={root}", f"{key}=[contempt]").data).prepare_data()


def opened(root: Path, *options: str) -> FaceDataModule:
    data = FaceDataModule(composed("data=ferplus", f"data.root={root}", "data.batch_size=16", *options).data)
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_copies_carry_the_votes_of_their_originals(target: str, root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED)
    data = opened(root, f"data.target={target}", "data.oversample.classes=[contempt,angry]", "data.oversample.target=6")
    assert data.counts["after"][[0, 7]].tolist() == [6, 6]
    source, train = data.all_faces.split("train"), data.faces["train"]
    (folder,) = Path("fer_aug_dataset").iterdir()
    assert folder.name.startswith("angry-contempt-")
    originals = [list(source.origins).index(made.origin) for made in read_rows(folder)]
    assert len(originals) == len(source) + 7
    if target == "majority":
        assert train.targets is None
    else:
        assert source.targets is not None and train.targets is not None
        assert np.array_equal(train.targets, source.targets[originals])


def test_augmentation_serves_contempt_too(root: Path) -> None:
    write_votes(root / "fer2013new.csv")
    assert opened(root, "data.augment.classes=all").augmenter.classes.tolist() == list(range(8))
    assert opened(root, "data.augment.classes=[contempt]").augmenter.classes.tolist() == [7]


def epoch(data: FaceDataModule, number: int) -> list[Any]:
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
    return list(loader)


@pytest.mark.parametrize("target", TARGETS)
def test_training_batches_carry_what_is_learned_and_others_do_not(target: str, root: Path) -> None:
    write_votes(root / "fer2013new.csv", MIXED)
    data = opened(root, f"data.target={target}", "data.oversample.enabled=false", "data.augment.classes=none")
    of_picture = {image.tobytes(): row for row, image in enumerate(data.faces["train"].images)}
    faces = data.faces["train"]
    for batch in epoch(data, 0):
        pictures, labels = batch[:2]
        rows = np.array([of_picture[picture.numpy().tobytes()] for picture in pictures])
        assert np.array_equal(labels, faces.labels[rows])
        if target == "majority":
            assert len(batch) == 2
            continue
        assert faces.targets is not None
        learned, targets = batch[2].numpy(), faces.targets[rows]
        if target == "probabilistic":
            assert learned.dtype == np.int64
            assert (targets[np.arange(len(rows)), learned] > 0).all()
        else:
            assert learned.dtype == targets.dtype
            assert np.array_equal(learned, targets)
    splits = [data.val_dataloader(), data.test_dataloader(), data.evaluation_dataloader("train")]
    assert all(len(batch) == 2 for loader in splits for batch in loader)


def test_labels_are_drawn_anew_each_epoch_and_the_same_for_the_same_seed(root: Path) -> None:
    torn = {number: [0, 5, 0, 0, 5, 0, 0, 0, 0, 0] for number in range(12, 28, 2)}
    write_votes(root / "fer2013new.csv", torn)

    def drawn(number: int) -> dict[bytes, int]:
        data = opened(root, "data.target=probabilistic", "data.oversample.enabled=false", "data.augment.classes=none")
        batches = epoch(data, number)
        return {
            picture.numpy().tobytes(): int(label)
            for pictures, _, labels in batches
            for picture, label in zip(pictures, labels, strict=True)
        }

    epochs = [drawn(number) for number in range(5)]
    assert drawn(0) == epochs[0]
    seen: dict[bytes, set[int]] = {}
    for labels in epochs:
        for picture, label in labels.items():
            seen.setdefault(picture, set()).add(label)
    both = {EMOTIONS.index("angry"), EMOTIONS.index("happy")}
    assert sum(found == both for found in seen.values()) >= 4
    assert all(found == both or len(found) == 1 for found in seen.values())


def test_every_class_is_drawn_as_often_as_its_share() -> None:
    shares = np.tile(np.array([0, 0.5, 0, 0.3, 0.2, 0], np.float32), (20_000, 1))
    labels = draw_labels(shares, 3)
    assert labels.dtype == np.int64
    assert np.bincount(labels, minlength=6) / len(labels) == pytest.approx([0, 0.5, 0, 0.3, 0.2, 0], abs=0.015)
    assert np.array_equal(labels, draw_labels(shares, 3))
    assert not np.array_equal(labels, draw_labels(shares, 4))
