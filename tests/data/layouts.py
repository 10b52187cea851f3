"""Tiny data sets in every layout that the readers know, all with the same pictures."""

import csv
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fer.data import votes
from fer.labels import EMOTIONS, emotion_index

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
