"""Tiny data sets in every layout that the readers know, all with the same pictures."""

import csv
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import votes
from fer.data.classes import check_learnable
from fer.data.faces import SPLITS, Faces
from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.errors import FerError
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT, emotion_index

USAGES = {"Training": 4, "PublicTest": 2, "PrivateTest": 2}
"""Usages with their number of pictures per class."""

Rows = list[tuple[str, int, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]


def draw_rows(side: int = 48) -> Rows:
    """Return (usage, label, picture) for every picture, without two that are equal."""
    rng = np.random.default_rng(0)
    return [
        (usage, label, rng.integers(0, 256, (side, side), np.uint8))
        for usage, number in USAGES.items()
        for label in range(len(EMOTIONS))
        for _ in range(number)
    ]


def png(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_folders(root: Path, rows: Rows | None = None, prefixes: bool = True) -> Path:
    """Write Kaggle's folders; without prefixes no file name tells its split."""
    for number, (usage, label, image) in enumerate(draw_rows() if rows is None else rows):
        folder = root / ("train" if usage == "Training" else "test") / EMOTIONS[label]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{usage}_{number}.png" if prefixes else f"im{number}.png"
        (folder / name).write_bytes(png(image))
    return root


def write_table(path: Path, header: tuple[str, str, str] = ("emotion", "pixels", "Usage")) -> Path:
    """Write a table with its columns in the order of the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for usage, label, image in draw_rows():
            fields = {"emotion": label, "pixels": " ".join(map(str, image.ravel())), "usage": usage}
            writer.writerow([fields[name.strip().lower()] for name in header])
    return path


CONTEMPT_ROW = 27
"""The training row, of a neutral face, that `write_votes` makes one of contempt."""


def unanimous(emotion: str) -> list[int]:
    """Return ten votes for an emotion, by FER+'s name for it, in the order of FER+'s columns."""
    return [10 * (column == emotion) for column in (*votes.EMOTIONS, *votes.OTHERS)]


def write_votes(path: Path, changed: Mapping[int, Sequence[object]] | None = None, blank: Sequence[int] = ()) -> Path:
    """Write FER+ votes for `draw_rows`: all ten for each row's own emotion, save for the changed rows."""
    names = {emotion_index(name): name for name in votes.EMOTIONS}
    special = {CONTEMPT_ROW: unanimous("contempt"), **(changed or {})}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("Usage", "Image name", *votes.EMOTIONS, *votes.OTHERS))
        for row, (usage, label, _) in enumerate(draw_rows()):
            name = "" if row in blank else f"fer{row:07}.png"
            writer.writerow((usage, name, *special.get(row, unanimous(names[label]))))
    return path


def write_index(path: Path) -> Path:
    """Write which file of `write_folders` is which row of `write_table`."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "usage", "emotion", "kaggle_file"))
        for row, (usage, label, _) in enumerate(draw_rows()):
            folder = "train" if usage == "Training" else "test"
            writer.writerow((row, usage, label, f"{folder}/{EMOTIONS[label]}/{usage}_{row}.png"))
    return path


def pack_tar(source: Path, target: Path) -> Path:
    """Pack what a folder holds as the tar that the target's name says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    packing = target.suffix.removeprefix(".").replace("tgz", "gz").replace("tar", "")
    with tarfile.open(target, f"w:{packing}") as tar:  # type: ignore[call-overload]
        for path in sorted(source.iterdir(), reverse=True):
            tar.add(path, path.name)
    return target


def pack_zip(source: Path, target: Path) -> Path:
    """Pack what a folder holds as a zip, without entries for the folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(source).as_posix())
    return target


def write_classes(root: Path, names: Sequence[str], count: int = 10) -> Path:
    """Write an ImageFolder without splits: `<name>/<number>.png`, no two pictures equal."""
    rng = np.random.default_rng(1)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(png(rng.integers(0, 256, (48, 48), np.uint8)))
    return root


def write_digits(root: Path, digits: Sequence[int], splits: Sequence[str]) -> Path:
    """Write class folders named by digits; each picture is as grey as 20 times its digit."""
    for split in splits:
        for digit in digits:
            (root / split / str(digit)).mkdir(parents=True)
            for number in range(3):
                image = Image.new("RGB", (100, 100), (20 * digit,) * 3)
                image.save(root / split / str(digit) / f"{split}_{number}_aligned.png")
    return root


def write_raf_db(root: Path, pictures: str = "basic/Image/aligned", labels: str = "basic/EmoLabel") -> Path:
    """Write RAF-DB's basic set as its authors pack it; each picture is as grey as 20 times its label."""
    (root / pictures).mkdir(parents=True)
    (root / labels).mkdir(parents=True, exist_ok=True)
    lines = []
    for split, count in (("train", 28), ("test", 14)):
        for number in range(count):
            label = 1 + number % 7
            lines.append(f"{split}_{number + 1:05}.jpg {label}")
            picture = Image.new("RGB", (100, 100), (20 * label,) * 3)
            picture.save(root / pictures / f"{split}_{number + 1:05}_aligned.jpg")
    (root / labels / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


def write_affectnet(root: Path, digits: Sequence[int] = range(8)) -> Path:
    """Write AffectNet as its authors pack it; each picture is as grey as 20 times its label."""
    for folder, count in (("train_set", 4), ("val_set", 2)):
        for part in ("images", "annotations"):
            (root / folder / part).mkdir(parents=True)
        for number, digit in enumerate(digit for digit in digits for _ in range(count)):
            Image.new("RGB", (224, 224), (20 * digit,) * 3).save(root / folder / "images" / f"{number}.jpg")
            for kind, value in (("exp", str(digit)), ("val", "0.5"), ("aro", "-0.1")):
                np.save(root / folder / "annotations" / f"{number}_{kind}.npy", np.array(value))
    return root


def write_ck48(root: Path, subjects: int = 30) -> Path:
    """Write CK+48: per subject three frames each of some of the classes, contempt among them and no neutral."""
    rng = np.random.default_rng(2)
    classes = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
    for subject in range(subjects):
        for session in range(1, 4):
            folder = root / classes[(subject + session) % len(classes)]
            folder.mkdir(parents=True, exist_ok=True)
            for frame in range(3):
                name = f"S{subject + 10:03}_{session:03}_{frame + 15:08}.png"
                (folder / name).write_bytes(png(rng.integers(0, 256, (48, 48), np.uint8)))
    return root


def write_trio(root: Path) -> Path:
    """Write the tables of Residual Masking Network: one for each split, without the column Usage."""
    root.mkdir(parents=True, exist_ok=True)
    for name, usage in (("train", "Training"), ("val", "PublicTest"), ("test", "PrivateTest")):
        with (root / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("emotion", "pixels"))
            for kind, label, image in draw_rows():
                if kind == usage:
                    writer.writerow((label, " ".join(map(str, image.ravel()))))
    return root


DROP, KEEP = ReadOptions(extra_classes="drop"), ReadOptions(extra_classes="keep")


def counts(faces: Faces) -> list[list[int]]:
    return [faces.split(split).counts().tolist() for split in SPLITS]


def check_grey(faces: Faces, digits: dict[str, str]) -> None:
    """Check that each picture, as grey as 20 times its digit, has the class that the digit stands for."""
    for image, label in zip(faces.images, faces.labels, strict=True):
        assert faces.classes[label] == digits[str(round(image.mean() / 20))]


def refusal(root: Path, options: ReadOptions | None = None) -> str:
    """Return why faces cannot be read, or not be learned."""
    with pytest.raises(FerError) as caught:
        check_learnable(read_faces(root, options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def row(**shares: float) -> list[float]:
    """Return the shares of FER+'s classes, 0 for those that are not named."""
    return [shares.get(name, 0.0) for name in EMOTIONS_WITH_CONTEMPT]


MIXED = {
    0: [0, 0, 0, 3, 7, 0, 0, 0, 0, 0],  # angry, a little sad
    4: [0, 0, 0, 0, 0, 6, 0, 4, 0, 0],  # disgust, and contempt
    8: [5, 0, 0, 0, 0, 0, 5, 0, 0, 0],  # no majority
    12: unanimous("unknown"),
    28: unanimous("sadness"),  # a validation picture that FER2013 has as angry
    42: [0, 0, 5, 0, 5, 0, 0, 0, 0, 0],  # a test picture without a majority
}
"""Votes for rows of the tables above."""
