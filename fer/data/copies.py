"""Which copies an oversampled training split gets, and how each is made from its original."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass
from itertools import count
from typing import Literal

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from fer.data.faces import Faces
from fer.data.manifest import Change, Row
from fer.errors import FerError
from fer.labels import EMOTIONS_WITH_CONTEMPT, MINORITY, emotion_indices

_SUFFIX = re.compile(r"\.(bmp|gif|jpe?g|pgm|png|ppm|tiff?|webp)$", re.IGNORECASE)


@dataclass(frozen=True)
class Oversampling:
    """Which classes are filled up, how far, and how their copies differ from the originals.

    Attributes:
        classes: Emotion names, or "auto": every class with fewer pictures than the mean.
        target: How many pictures a class should have: "majority" for as many as the largest class; a whole
            number for that many; a float for that factor times its own number. A class that has more keeps them all.
        rotation: Degrees, in both directions.
        shift: Fraction of width and height, in all directions.
        zoom: Fraction of the size, in and out.
        flip: Whether copies are mirrored, each with probability one half.
        seed: Other seeds make other copies.
        known: The class names in label order.

    Raises:
        FerError: If a value makes no sense.
    """

    classes: tuple[str, ...] | Literal["auto"] = MINORITY
    target: Literal["majority"] | int | float = "majority"
    rotation: float = 20.0
    shift: float = 0.10
    zoom: float = 0.10
    flip: bool = True
    seed: int = 0
    known: InitVar[Sequence[str]] = EMOTIONS_WITH_CONTEMPT

    def __post_init__(self, known: Sequence[str]) -> None:
        if self.classes != "auto":
            if not isinstance(self.classes, list | tuple):
                raise FerError(f"data.oversample.classes: '{self.classes}' is neither 'auto' nor a list of emotions")
            # in label order, so that another order of the same classes is the same configuration
            labels = sorted(set(emotion_indices(self.classes, "data.oversample.classes", known)))
            object.__setattr__(self, "classes", tuple(known[label] for label in labels))
        number = isinstance(self.target, int | float) and not isinstance(self.target, bool)
        if self.target != "majority" and not (number and 0 < float(self.target) < float("inf")):
            raise FerError(
                f"data.oversample.target: '{self.target}' is neither 'majority', nor a number of pictures, "
                "nor a factor such as 1.5"
            )
        if self.seed < 0:
            raise FerError(f"data.oversample.seed: {self.seed} is out of range; choose a number from 0")
        for name, limit in (("rotation", 180), ("shift", 1), ("zoom", 1)):
            if not 0 <= getattr(self, name) < limit:
                raise FerError(f"data.oversample.{name}: {getattr(self, name)} is not in [0, {limit})")


def plan(faces: Faces, config: Oversampling) -> tuple[list[Row], list[int]]:
    """Decide on the files of an oversampled folder.

    Args:
        faces: The training split; images uint8 (N, H, W).
        config: What to copy, and how.

    Returns:
        A row for each original, in their order, and then one for each copy; and for each row the index of
        its original in `faces`.
    """
    names = _Names()
    emotions = [faces.classes[label] for label in faces.labels]
    stems = list(map(names.original, emotions, faces.origins))
    each = zip(emotions, stems, faces.origins, strict=True)
    rows = [Row(f"{emotion}/{stem}.png", emotion, origin) for emotion, stem, origin in each]
    sources = list(range(len(faces)))
    height, width = faces.images.shape[1:]
    for label, missing in _missing(faces, config).items():
        emotion = faces.classes[label]
        for index in _in_turn(np.flatnonzero(faces.labels == label), missing, (config.seed, label)):
            file = f"{emotion}/{names.copy(emotion, stems[index])}.png"
            # seeded by the file's name, so that a picture's copies do not depend on what else is in the class
            digest = hashlib.blake2b(f"{config.seed}/{file}".encode(), digest_size=4)
            change = draw_change(int.from_bytes(digest.digest(), "big"), config, height, width)
            rows.append(Row(file, emotion, faces.origins[index], change))
            sources.append(index)
    return rows, sources


def _missing(faces: Faces, config: Oversampling) -> dict[int, int]:
    """Return how many copies each chosen class needs; a class without any picture has none to copy."""
    counts = faces.counts()
    chosen = counts < counts[counts > 0].mean()  # a class that the data lack must not lower the mean
    if config.classes != "auto":
        chosen = np.array([name in config.classes for name in faces.classes])
    missing = {}
    for label in np.flatnonzero(chosen & (counts > 0)).tolist():
        own = int(counts[label])
        if isinstance(config.target, str):
            wanted = int(counts.max())
        else:
            wanted = round(config.target * own) if isinstance(config.target, float) else config.target
        missing[label] = max(0, wanted - own)
    return missing


def _in_turn(indices: NDArray[np.intp], number: int, seed: tuple[int, int]) -> list[int]:
    """Return `number` indices in random order, in which each occurs equally often, give or take one."""
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(indices) for _ in range(-(-number // len(indices)))]
    return np.concatenate(rounds)[:number].tolist() if rounds else []


class _Names:
    """File names within a class, unique even on file systems that ignore case."""

    def __init__(self) -> None:
        self._used: set[tuple[str, str]] = set()

    def original(self, emotion: str, origin: str) -> str:
        """Return a name like its origin's: 'Training_17' for train/sad/Training_17.jpg."""
        name = _SUFFIX.sub("", origin.replace("\\", "/").rsplit("/", 1)[-1])
        stem = re.sub(r"[^\w.-]+", "_", name).strip("._")[:100] or "face"
        return self._first_free(emotion, (f"{stem}_{number}" if number else stem for number in count()))

    def copy(self, emotion: str, stem: str) -> str:
        """Return the next name for a copy."""
        return self._first_free(emotion, (f"{stem}_aug{number:04d}" for number in count(1)))

    def _first_free(self, emotion: str, candidates: Iterator[str]) -> str:
        for name in candidates:
            if (emotion, name.lower()) not in self._used:
                break
        self._used.add((emotion, name.lower()))
        return name


def redraw(original: NDArray[np.uint8], change: Change) -> NDArray[np.uint8]:
    """Make the copy that a manifest's row describes.

    Args:
        original: uint8, (H, W).
        change: The row's change.

    Returns:
        uint8, (H, W); pixels from beyond the original's edge have the value of the nearest one inside.
    """
    scale, angle = (change.scale,) * 2, (change.angle,) * 2
    shift = {"x": (change.shift_x,) * 2, "y": (change.shift_y,) * 2}
    # ranges of zero width: nothing is left to chance, so the row alone decides
    move = A.Affine(
        scale={"x": scale, "y": scale},
        translate_px=shift,
        rotate=angle,
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REPLICATE,
        p=1.0,
    )
    image: NDArray[np.uint8] = move(image=original)["image"]
    return A.HorizontalFlip(p=1.0)(image=image)["image"] if change.flip else image


def draw_change(seed: int, config: Oversampling, height: int, width: int) -> Change:
    """Draw a copy's rotation, shift, scale and flip, each uniformly in its range.

    Shifts are whole pixels, because albumentations knows no others. Other numbers are rounded to four decimals,
    which keeps the manifest legible, and are applied as rounded.
    """
    rng = np.random.default_rng(seed)
    reach_x, reach_y = int(config.shift * width), int(config.shift * height)
    return Change(
        seed=seed,
        angle=round(float(rng.uniform(-config.rotation, config.rotation)), 4),
        shift_x=int(rng.integers(-reach_x, reach_x, endpoint=True)),
        shift_y=int(rng.integers(-reach_y, reach_y, endpoint=True)),
        scale=round(float(rng.uniform(1 - config.zoom, 1 + config.zoom)), 4),
        flip=bool(config.flip and rng.random() < 0.5),
    )
