"""Everything an audit finds, as arrays of rows and as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer.audit.duplicates import Pair, identical_groups, near_pairs
from fer.audit.labels import Suspect, out_of_fold, suspects
from fer.audit.pictures import BLANK, NEARLY_BLANK, Levels, deviations, levels, partly_decoded
from fer.data.faces import SPLITS, Faces, Split

LEAKS: tuple[tuple[Split, Split], ...] = (("val", "train"), ("test", "train"), ("test", "val"))
"""Pairs of splits: the first one's pictures that also occur in the second are counted."""


@dataclass(frozen=True)
class Findings:
    """What an audit found. Rows are indices into `faces`.

    Attributes:
        faces: The audited pictures of all splits.
        threshold: Largest number of bits by which the hashes of near-duplicates differ.
        identical: Rows of each picture that occurs more than once.
        near: Pairs of near-duplicates, the closest first.
        blank: Rows of pictures without any variation.
        nearly_blank: Rows of pictures with next to no variation, except the blank ones.
        partly_decoded: Rows of pictures whose lower part is flat.
        levels: Brightness and contrast for each split and class.
        suspects: Suspected labels, the most suspected first; None where they were not looked for.
    """

    faces: Faces
    threshold: int
    identical: Sequence[NDArray[np.intp]]
    near: Sequence[Pair]
    blank: NDArray[np.intp]
    nearly_blank: NDArray[np.intp]
    partly_decoded: NDArray[np.intp]
    levels: Sequence[Levels]
    suspects: Sequence[Suspect] | None

    @property
    def conflicts(self) -> list[NDArray[np.intp]]:
        """The groups of identical pictures that have more than one label."""
        return [group for group in self.identical if len(set(self.faces.labels[group].tolist())) > 1]

    @property
    def distinct(self) -> int:
        """How many different pictures there are."""
        return len(self.faces) - sum(len(group) - 1 for group in self.identical)

    def leaks(self) -> dict[str, NDArray[np.intp]]:
        """Return the rows of pictures that also occur in another split: "val in train", and so on."""
        found: dict[str, list[int]] = {f"{one} in {other}": [] for one, other in LEAKS}
        for group in self.identical:
            for one, other in LEAKS:
                splits = self.faces.splits[group]
                if (splits == SPLITS.index(other)).any():
                    found[f"{one} in {other}"] += group[splits == SPLITS.index(one)].tolist()
        return {name: np.array(sorted(rows), dtype=np.intp) for name, rows in found.items()}

    def leaked_training(self, near: bool) -> NDArray[np.intp]:
        """Return the training rows whose picture also occurs in validation or test.

        Args:
            near: Count near-duplicates too.
        """
        train = self.faces.splits == SPLITS.index("train")
        alike = list(self.identical)
        if near:
            group_of = {int(row): group for group in self.identical for row in group}
            alike += [np.concatenate([group_of.get(row, np.array([row])) for row in pair[:2]]) for pair in self.near]
        rows = {int(row) for group in alike if not train[group].all() for row in group[train[group]]}
        return np.array(sorted(rows), dtype=np.intp)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, and the origins of the pictures counted, as plain values."""
        origins, classes = self.faces.origins, self.faces.classes

        def named(rows: NDArray[np.intp]) -> list[str]:
            return [origins[row] for row in rows]

        return {
            "source": self.faces.source,
            "digest": self.faces.digest(),
            "counts": {
                split: dict(zip(classes, self.faces.split(split).counts().tolist(), strict=True)) for split in SPLITS
            },
            "pictures": len(self.faces),
            "distinct": self.distinct,
            "identical": {
                "groups": len(self.identical),
                "pictures": sum(map(len, self.identical)),
                "conflicting_groups": len(self.conflicts),
                "conflicting_pictures": sum(map(len, self.conflicts)),
                "across_splits": {name: len(rows) for name, rows in self.leaks().items()},
                "rows": [named(group) for group in self.identical],
            },
            "near": {
                "threshold": self.threshold,
                "pairs": [[origins[pair.first], origins[pair.second], pair.distance] for pair in self.near],
            },
            "blank": named(self.blank),
            "nearly_blank": named(self.nearly_blank),
            "partly_decoded": named(self.partly_decoded),
            "levels": [level._asdict() for level in self.levels],
            "suspected_labels": None
            if self.suspects is None
            else [
                [origins[found.row], classes[found.given], classes[found.suggested], round(found.quality, 4)]
                for found in self.suspects
            ],
        }


def find_faults(faces: Faces, threshold: int, labels: bool, seed: int = 0) -> Findings:
    """Look for every kind of fault.

    Args:
        faces: The pictures of all splits.
        threshold: Largest number of bits by which the hashes of near-duplicates may differ.
        labels: Look for suspected labels too, which takes most of the time.
        seed: Seed of the quick model's folds and weights.
    """
    deviation = deviations(faces.images)
    blank = np.flatnonzero(deviation < BLANK)
    nearly = np.flatnonzero((deviation >= BLANK) & (deviation < NEARLY_BLANK))
    return Findings(
        faces=faces,
        threshold=threshold,
        identical=identical_groups(faces),
        near=near_pairs(faces, threshold, blank.tolist()),
        blank=blank,
        nearly_blank=nearly,
        partly_decoded=partly_decoded(faces.images),
        levels=list(levels(faces, deviation)),
        suspects=suspects(faces, out_of_fold(faces, seed)) if labels else None,
    )
