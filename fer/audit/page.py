"""An audit as a self-contained HTML page, with the pictures side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.audit.findings import Findings
from fer.data.faces import SPLITS, Faces
from fer.files import write_whole
from fer.pages import png_uri, render
from fer.terminal import counted

SHOWN = 48
"""Groups of pictures that each section shows."""

ALIKE = 8
"""Equal pictures that a group shows."""

Group = list[tuple[int, str]]  # rows, each with a note below its picture


@dataclass(frozen=True)
class Section:
    """A heading with pictures below it."""

    title: str
    text: str
    groups: Sequence[Group]
    total: int


def write_page(findings: Findings, path: Path) -> None:
    """Write the page, whole or not at all."""
    faces = findings.faces
    page = render(
        "audit.html.j2",
        source=faces.source,
        pictures=len(faces),
        distinct=findings.distinct,
        classes=faces.classes,
        headlines=_headlines(findings),
        counts=[
            (split, cells, sum(cell.pictures for cell in cells))
            for split in SPLITS
            if (cells := [level for level in findings.levels if level.split == split])
        ],
        sections=[section for section in _sections(findings) if section.groups],
        picture=lambda row: png_uri(cv2.imencode(".png", np.ascontiguousarray(faces.images[row]))[1].tobytes()),
        label=lambda row: faces.classes[faces.labels[row]],
        split=lambda row: SPLITS[faces.splits[row]],
        origin=lambda row: PurePosixPath(faces.origins[row]).name,
    )
    write_whole(path, page)


def _headlines(findings: Findings) -> list[tuple[str, str, str]]:
    leaks = findings.leaks()
    found = [
        ("Test pictures seen in training", f"{len(leaks['test in train']):,}", "pixel by pixel"),
        ("Validation pictures seen in training", f"{len(leaks['val in train']):,}", "pixel by pixel"),
        (
            "Identical pictures",
            f"{sum(map(len, findings.identical)):,}",
            f"in {counted(len(findings.identical), 'group')}, {len(findings.conflicts):,} of them with several labels",
        ),
        ("Near-duplicates", f"{len(findings.near):,}", f"pairs, at most {findings.threshold} of 64 bits apart"),
        ("Blank pictures", f"{len(findings.blank):,}", f"and {len(findings.nearly_blank):,} nearly blank"),
    ]
    if findings.suspects:
        found.append(("Suspected labels", f"{len(findings.suspects):,}", "by a quick model that has not seen them"))
    return found


def _sections(findings: Findings) -> list[Section]:
    faces = findings.faces
    conflicts = findings.conflicts
    across = [group for group in findings.identical if len(set(faces.splits[group].tolist())) > 1]
    suspects = findings.suspects or ()
    return [
        Section(
            "One picture, several labels",
            "Byte-identical pictures to which the data set gives different classes.",
            [_telling(faces, group) for group in conflicts[:SHOWN]],
            len(conflicts),
        ),
        Section(
            "One picture, several splits",
            "Byte-identical pictures on both sides of a split: memorising them in training raises the score here.",
            [_telling(faces, group) for group in across[:SHOWN]],
            len(across),
        ),
        Section(
            "Near-duplicates",
            f"Pairs whose perceptual hashes differ in at most {findings.threshold} of 64 bits, the furthest first.",
            [
                [(pair.first, ""), (pair.second, f"{pair.distance} bits apart")]
                for pair in sorted(findings.near, key=lambda pair: -pair.distance)[:SHOWN]
            ],
            len(findings.near),
        ),
        Section(
            "Blank, nearly blank and partly decoded",
            "Pictures whose grey levels hardly vary, or not at all in their lower part.",
            [_plain([row]) for row in (*findings.blank, *findings.nearly_blank, *findings.partly_decoded)][:SHOWN],
            len(findings.blank) + len(findings.nearly_blank) + len(findings.partly_decoded),
        ),
        Section(
            "Suspected labels",
            "The most suspected first: below each picture its label, and what a quick model that has not seen it "
            "prefers. A look is needed: the model is right far less often than people are.",
            [[(found.row, f"rather {faces.classes[found.suggested]}?")] for found in suspects[:SHOWN]],
            len(suspects),
        ),
    ]


def _telling(faces: Faces, rows: NDArray[np.intp]) -> Group:
    """Return some of many equal pictures, with one of each label in each split before any other."""
    first = set({(faces.splits[row], faces.labels[row]): row for row in rows[::-1].tolist()}.values())
    group = _plain(sorted(rows, key=lambda row: row not in first))
    more = len(group) - ALIKE
    return group if more <= 0 else [*group[: ALIKE - 1], (group[ALIKE - 1][0], f"and {more} more")]


def _plain(rows: Iterable[int | np.intp]) -> Group:
    return [(int(row), "") for row in rows]
