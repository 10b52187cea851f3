"""Which faces a configuration asks for: FER2013 if it is found, also with FER+, the sample, or any other source."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer.config import DataConfig, choose
from fer.data.cache import default_cache_dir, load_faces
from fer.data.download import download_fer2013
from fer.data.faces import SPLITS, Faces
from fer.data.ferplus import FILTERS, INDEX, TARGETS, VOTES, join_votes
from fer.data.folders import PREFIXES, split_in_name
from fer.data.hub import read_hub
from fer.data.options import ReadOptions
from fer.data.sample import draw_faces
from fer.errors import FerError

log = logging.getLogger(__name__)

SIZES = (28_709, 3_589, 3_589)
"""How many pictures each of FER2013's official splits has."""

_TABLES = ("fer2013", "icml_face_data")

GET_FER2013 = (
    "download it from kaggle.com/datasets/msambare/fer2013 into data/fer2013 (folders, CSV or the archive as it "
    "comes), name its folder with data.root=… or the environment variable FER2013_ROOT, or let "
    "data.download=true fetch it"
)


def find_fer2013(root: str | None) -> Path | None:
    """Return where FER2013 lies: `root` if given, else `data/fer2013`, else `$FER2013_ROOT`; None if nowhere."""
    if root is not None:
        return Path(root).expanduser()
    candidates = [Path("data/fer2013")]
    if named := os.environ.get("FER2013_ROOT"):
        candidates.append(Path(named).expanduser())
    return next((path for path in candidates if path.exists()), None)


def still_found(config: DataConfig) -> DataConfig:
    """Return a run's data configuration; if FER2013 no longer lies where it lay, with the place where it lies now."""
    if config.name not in ("fer2013", "ferplus") or not _gone(config.root) or (now := find_fer2013(None)) is None:
        return config
    return moved(config, str(now))


def moved(config: DataConfig, root: str) -> DataConfig:
    """Return a run's data configuration with the place where its data lie now.

    Votes and their index are those beside them, if there are any; otherwise those where they lay.
    """
    place = Path(root).expanduser()
    votes = None if beside(place, VOTES).is_file() or _gone(config.votes) else config.votes
    index = None if beside(place, INDEX).is_file() or _gone(config.index) else config.index
    return replace(config, root=root, votes=votes, index=index)


def _gone(path: str | None) -> bool:
    return path is not None and not Path(path).expanduser().exists()


def looked_for() -> str:
    """Return the places where FER2013 was looked for, in words."""
    named = os.environ.get("FER2013_ROOT")
    return f"data/fer2013 and FER2013_ROOT={named}" if named else "data/fer2013, and FER2013_ROOT is not set"


def announce(faces: Faces) -> None:
    """Say what was read, and what a user must know about how."""
    for note in faces.notes:
        log.warning("%s", note)
    sizes = ", ".join(f"{np.sum(faces.splits == at)} {split}" for at, split in enumerate(SPLITS))
    log.info("Data: %s (%s)", faces.source, sizes)


def read_source(config: DataConfig) -> tuple[Faces, str]:
    """Read the faces that a configuration asks for; if they had to be downloaded, its `root` is set to them.

    Returns:
        The faces of all splits, and the name of what was read: "fer2013", "ferplus", "sample", or "folder" for all
        others.

    Raises:
        FerError: If the source is unknown, missing or malformed.
    """
    name = choose(config.name, ("auto", "fer2013", "ferplus", "sample", "folder", "huggingface"), "data.name")
    if config.download and name in ("sample", "folder", "huggingface"):
        log.warning("data.download fetches FER2013, which data=%s is not: nothing is downloaded.", name)
    options = ReadOptions.of(config)
    if name == "sample":
        if config.root is not None:
            raise FerError("data.root: the sample is drawn and lies nowhere; data=folder reads your own pictures")
        return draw_faces(size=config.size), "sample"
    if name == "huggingface":
        if config.root is None:
            raise FerError("data=huggingface needs the data set: add data.root=its/name or a local folder")
        return read_hub(config.root, options), "folder"
    if name == "folder":
        if config.root is None:
            raise FerError("data=folder needs the folder: add data.root=path/to/your/pictures")
        return load_faces(Path(config.root).expanduser(), _cache(config), options), "folder"

    root = find_fer2013(config.root)
    if config.download and (root is None or not root.exists()):
        root = download_fer2013()
        config.root = str(root)  # where a later evaluation or resume reads
    if root is not None and name == "ferplus":
        return _with_votes(root, config, options), "ferplus"
    if root is not None:
        return _named(load_faces(root, _cache(config), options), name)
    if name != "auto":
        raise FerError(f"data={name}: FER2013 was not found (looked for {looked_for()}); {GET_FER2013}")
    return draw_faces(size=config.size), "sample"


def _named(faces: Faces, name: str) -> tuple[Faces, str]:
    """Return faces with the name of what they are: recipes name FER2013, and some users change only the folder."""
    if divided := _divided(faces):
        log.warning(
            "data=%s stands for FER2013 in its official splits, but %s: %s are taken as data=folder would, and no "
            "score on them is one on FER2013.",
            name,
            divided,
            faces.source,
        )
        return faces, "folder"
    if _is_fer2013(faces):
        return faces, "fer2013"
    log.warning(
        "data=%s stands for FER2013, but %s have none of its marks (%s pictures, file names such as %s1.jpg, a table "
        "named fer2013 or icml_face_data): they are taken as data=folder would.",
        name,
        faces.source,
        f"{sum(SIZES):,}",
        next(iter(PREFIXES)),
    )
    return faces, "folder"


def _is_fer2013(faces: Faces) -> bool:
    """Return whether faces bear a mark of FER2013 or a part of it: its size, or the names of its files or table."""
    first = faces.origins[0]
    table = ":row " in first and first.lower().startswith(_TABLES)
    return len(faces) == sum(SIZES) or table or split_in_name(first) is not None


def are_fer2013(faces: Faces) -> bool:
    """Return whether faces are all of FER2013 in its official splits, whatever they were read as."""
    marked = ":row " in faces.origins[0] or split_in_name(faces.origins[0]) is not None
    return len(faces) == sum(SIZES) and marked and not _divided(faces)


def _divided(faces: Faces) -> str:
    """Return in words how splits are not FER2013's official ones; '' if nothing says so."""
    elsewhere = []
    for origin, number in zip(faces.origins, faces.splits.tolist(), strict=True):
        named, split = split_in_name(origin), SPLITS[number]
        if named not in (None, split) and (named, split) != ("train", "val"):  # validation held out of training
            elsewhere.append(origin)
    if elsewhere:
        return f"{len(elsewhere):,} pictures are in another one than their names say ({elsewhere[0]} for one)"
    sizes = tuple(np.bincount(faces.splits, minlength=len(SIZES)).tolist())
    if sum(sizes) == sum(SIZES) and sizes != SIZES:
        found, official = (" + ".join(f"{size:,}" for size in some) for some in (sizes, SIZES))
        return f"these have {found} pictures instead of {official}"
    return ""


def _cache(config: DataConfig) -> Path:
    return Path(config.cache_dir).expanduser() if config.cache_dir else default_cache_dir()


def _with_votes(root: Path, config: DataConfig, options: ReadOptions) -> Faces:
    """Read FER2013, which is cached without the votes, and join them to it."""
    if config.class_map:
        raise FerError("data.class_map: the classes of data=ferplus are those that people voted for; leave it out")
    target = choose(config.target, TARGETS, "data.target")
    filters = [choose(name, FILTERS, "data.filters") for name in config.filters]
    votes = Path(config.votes).expanduser() if config.votes else beside(root, VOTES)
    if not votes.is_file() and root.exists():
        raise FerError(
            f"data.votes: {votes} does not exist; download {VOTES} from github.com/microsoft/FERPlus and put it into "
            "FER2013's folder, or name it with data.votes=…"
        )
    index = Path(config.index).expanduser() if config.index else beside(root, INDEX)
    faces = load_faces(root, _cache(config), options)
    return join_votes(faces, votes, index, contempt=config.contempt, target=target, filters=filters)


def beside(root: Path, name: str) -> Path:
    """Return the path of a file in FER2013's folder or next to it; if it is in neither, its path in the folder."""
    folder = root if root.is_dir() else root.parent
    return next((path for path in (folder / name, folder.parent / name) if path.is_file()), folder / name)
