"""The one class order, and the names that other data sets use for the same emotions."""

from collections.abc import Sequence
from difflib import get_close_matches
from unicodedata import normalize

from fer.errors import FerError

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's seven emotions in the order of its CSV labels 0 to 6 (Goodfellow et al., 2013)."""

EMOTIONS_WITH_CONTEMPT: tuple[str, ...] = (*EMOTIONS, "contempt")
"""FER+'s eight emotions (Barsoum et al., 2016): the seven keep their labels, and contempt is 7."""

MINORITY: tuple[str, ...] = ("sad", "angry", "surprise")
"""The classes that oversampling and online augmentation apply to by default."""

ALIASES: dict[str, str] = {
    "anger": "angry",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Other data sets' names, each with the name used here."""

RAF_DB: dict[str, str] = {
    "1": "surprise",
    "2": "fear",
    "3": "disgust",
    "4": "happy",
    "5": "sad",
    "6": "angry",
    "7": "neutral",
}
"""What the digits mean in RAF-DB's basic set (Li, Deng and Du, 2017)."""

AFFECTNET: dict[str, str] = {
    "0": "neutral",
    "1": "happy",
    "2": "sad",
    "3": "surprise",
    "4": "fear",
    "5": "disgust",
    "6": "angry",
    "7": "contempt",
    "8": "none",
    "9": "uncertain",
    "10": "no-face",
}
"""What the digits mean in AffectNet (Mollahosseini, Hasani and Mahoor, 2017); the last four are none of the seven."""


def folded(name: str) -> str:
    """Return a name as names are compared: in lower case and composed, since a Mac may write ü as u and two dots."""
    return normalize("NFC", name).strip().lower()


def plain_name(name: str) -> str:
    """Return a class's name as it is written here: in lower case, with an emotion's aliases resolved."""
    key = folded(name)
    return ALIASES.get(key, key)


def emotion_index(name: str, classes: Sequence[str] = EMOTIONS) -> int | None:
    """Return the label of an emotion under any of its known names, or None where it is not among the classes."""
    key = plain_name(name)
    return classes.index(key) if key in classes else None


def emotion_indices(names: Sequence[str], where: str, classes: Sequence[str] = EMOTIONS) -> tuple[int, ...]:
    """Return the labels of several emotions.

    Args:
        names: Emotion names or their aliases.
        where: The configuration key they came from, for the error message.
        classes: The class names in label order.

    Raises:
        FerError: If a name is unknown.
    """
    indices = []
    for name in names:
        index = emotion_index(str(name), classes)
        if index is None:
            near = get_close_matches(str(name), classes, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise FerError(f"{where}: '{name}' is no emotion; known are {', '.join(classes)}{hint}")
        indices.append(index)
    return tuple(indices)
