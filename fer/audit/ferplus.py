"""How far the votes of FER+ agree with the suspicions about FER2013's labels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer.audit.findings import Findings
from fer.data.faces import Faces


class Agreement(NamedTuple):
    """What ten taggers make of the suspected labels; shares are of the pictures that have votes for an emotion.

    Attributes:
        doubted: Share of all pictures to which most taggers give a different label than the data set.
        suspects_doubted: The same share of the suspects.
        first_doubted: The same share of the hundred most suspected.
        suspects_confirmed: Share of the suspects to which they give exactly the label that is suggested.
    """

    doubted: float
    suspects_doubted: float
    first_doubted: float
    suspects_confirmed: float


def agreement(findings: Findings, original: Faces, voted: Faces) -> Agreement:
    """Compare the suspects with FER+.

    Args:
        findings: The audit of FER2013, with suspects.
        original: The faces that were audited, as they were read.
        voted: The same faces as labelled by FER+, without those that have no votes for an emotion.
    """
    label_of = dict(zip(voted.origins, voted.labels.tolist(), strict=True))
    theirs = np.array([label_of.get(origin, -1) for origin in original.origins])
    rows = np.array([found.row for found in findings.suspects or () if theirs[found.row] >= 0], dtype=np.intp)
    suggested = np.array([found.suggested for found in findings.suspects or () if theirs[found.row] >= 0])
    known = theirs >= 0
    return Agreement(
        doubted=_share(theirs[known] != original.labels[known]),
        suspects_doubted=_share(theirs[rows] != original.labels[rows]),
        first_doubted=_share(theirs[rows[:100]] != original.labels[rows[:100]]),
        suspects_confirmed=_share(theirs[rows] == suggested),
    )


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if len(hits) else 0.0
