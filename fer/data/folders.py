"""A folder for each class with a picture per file: within train/ and test/, or without any splits."""

import re
from collections import Counter
from collections.abc import Collection, Mapping

from fer.data.classes import ClassMapping, map_classes
from fer.data.faces import Split
from fer.data.listing import Entry, Listing
from fer.data.options import ReadOptions
from fer.data.trees import Tree, join
from fer.errors import FerError
from fer.labels import AFFECTNET, RAF_DB, emotion_index, folded

_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "publictest": "val",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}
PREFIXES: dict[str, Split] = {"Training_": "train", "PublicTest_": "val", "PrivateTest_": "test"}
_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
_PEOPLE = {
    "CK+": re.compile(r"(S\d{3})_\d{3}_\d{8}(?!\d)"),  # subject, session and frame, as in S010_004_00000017.png
    "JAFFE": re.compile(r"([A-Z]{2})\.(?:AN|DI|FE|HA|NE|SA|SU)\d\.\d+\."),  # KA.AN1.39.tiff
    # session, subject, expression and angle, as in AF01ANS.JPG
    "KDEF": re.compile(r"[AB]([FM]\d{2})(?:AF|AN|DI|HA|NE|SA|SU)(?:S|HL|HR|FL|FR)\."),
}
"""How the names of pictures begin in sets that show each person several times: Lucey et al. (2010), Lyons et al. (1998)
and Lundqvist et al. (1998)."""


def split_named(name: str) -> Split | None:
    """Return the split that a folder's or file's name stands for, ignoring case; None if it names no split."""
    return _FOLDERS.get(name.lower())


def has_split_folders(tree: Tree, at: str) -> bool:
    """Return whether a folder holds `train` or `test`, under any of their names and ignoring case."""
    return any(split_named(name) in ("train", "test") for name in tree.folders(at))


def has_class_folders(tree: Tree, at: str, class_map: Collection[str]) -> bool:
    """Return whether at least two folders in a folder are named after classes, by word or by digit.

    Args:
        tree: Where to look.
        at: The folder.
        class_map: Names of classes in addition to the known ones.
    """
    names = tree.folders(at)
    own = {folded(name) for name in class_map}
    known = [name for name in names if emotion_index(name) is not None or folded(name) in own]
    return len(known) > 1 or (len(names) > 1 and _digits(names)[1] != "")


def folders_of_pictures(tree: Tree, at: str) -> list[str]:
    """Return a folder's subfolders if there are several and each holds only pictures, as class folders do."""
    names = tree.folders(at)
    return names if len(names) > 1 and all(_holds_pictures(tree, join(at, name)) for name in names) else []


def _holds_pictures(tree: Tree, at: str) -> bool:
    files = tree.files(at)
    return bool(files) and not tree.folders(at) and all(name.lower().endswith(_ENDINGS) for name in files)


def passed_over(tree: Tree, at: str) -> tuple[str, ...]:
    """Return sentences on what lies beside the class folders and is not read: folders of no split, loose pictures.

    Args:
        tree: Where to look.
        at: The folder that holds `train` and `test`, or the classes.
    """
    splits = [name for name in tree.folders(at) if split_named(name)] if has_split_folders(tree, at) else []
    others = [name for name in tree.folders(at) if splits and name not in splits]
    notes = []
    if others:
        notes.append(f"Folders that name no split (train, val, test) were not read: {', '.join(others[:10])}.")
    for place in (at, *(join(at, name) for name in splits)):
        loose = [name for name in tree.files(place) if name.lower().endswith(_ENDINGS)]
        if loose:
            notes.append(
                f"Pictures in no class folder were not read: {len(loose):,} in {tree.where(place)}, such as {loose[0]}."
            )
    return tuple(notes)


def list_split_folders(tree: Tree, at: str, options: ReadOptions) -> Listing:
    """List the picture files below `train/<class>/` and `test/<class>/`, sorted by path, without reading them.

    If there is a validation folder, the folders give the splits. If there is none, the file names do where they
    begin as FER2013's do (`Training_`, `PublicTest_` for validation, `PrivateTest_` for test). If there is no test
    folder, the validation folder becomes the test split: it is what others report on, and choosing the epoch on it
    as well would flatter the result.

    Args:
        tree: Where to look.
        at: The folder that holds `train` and `test`.
        options: What to do with classes other than the seven.

    Raises:
        FerError: If `train` or what could be the test is missing, a class is empty, or a class is unknown and that is
            an error.
    """
    folders = _split_folders(tree, at)
    classes = {split: tree.folders(join(at, folder)) for split, folder in folders.items()}
    if any(names == ["images", "labels"] for names in classes.values()):
        raise FerError(
            f"{tree.where(at)} holds images/ and labels/, as YOLO wants them, which are not read; put each picture "
            "into a folder named after its class"
        )
    found = {name: tree.where(join(join(at, folders[split]), name)) for split in folders for name in classes[split]}
    mapping, owner = _mapping(found, options)
    notes = mapping.notes
    if "test" not in folders:
        notes = (*notes, f"There is no test split, so the folder '{folders['val']}' is it, looked at once at the end.")
    entries, by_name, elsewhere = [], 0, 0
    for split, folder in folders.items():
        as_split: Split = "test" if split == "val" and "test" not in folders else split
        for path, label in _class_files(tree, join(at, folder), mapping):
            named = None if "val" in folders else split_in_name(path)
            by_name += named is not None
            elsewhere += named is not None and (named == "train") != (split == "train")
            entries.append(Entry(path, label, named or as_split, _shown(path)[1]))
    if elsewhere:
        notes = (
            *notes,
            f"Pictures named after another split than their folder: {elsewhere:,}. Without a folder 'val' the names "
            f"({', '.join(PREFIXES)}) decide; rename the pictures where the folders are right.",
        )
    title = owner or ("Kaggle" if by_name else "Split")
    return Listing(f"{title} folders", sorted(entries), mapping.classes, notes)


def list_class_folders(tree: Tree, at: str, options: ReadOptions) -> Listing:
    """List the picture files below `<class>/`, sorted by path, without reading them.

    Their names give the splits if all begin as FER2013's do, some with `Training_` and some with `PrivateTest_`;
    otherwise nothing does. Entries of files named as in CK+, JAFFE or KDEF also name the person they show.

    Args:
        tree: Where to look.
        at: The folder that holds the classes.
        options: What to do with classes other than the seven.

    Raises:
        FerError: If a class is empty, or is unknown and that is an error.
    """
    mapping, owner = _mapping({name: tree.where(join(at, name)) for name in tree.folders(at)}, options)
    files = sorted(_class_files(tree, at, mapping))
    named = [split_in_name(path) for path, _ in files]
    known = None not in named and {"train", "test"} <= set(named)
    shown = [_shown(path) for path, _ in files]
    entries = [
        Entry(path, label, split if known else None, person)
        for (path, label), split, (_, person) in zip(files, named, shown, strict=True)
    ]
    sets = Counter(name for name, _ in shown)
    likely = next((name for name in _PEOPLE if 2 * sets[name] > len(files)), "Class")
    return Listing(f"{owner or likely} folders", entries, mapping.classes, mapping.notes)


def _mapping(found: Mapping[str, str], options: ReadOptions) -> tuple[ClassMapping, str]:
    """Return what the classes are called, and whose digits their names are; '' if they are words."""
    digits, owner = _digits(found)
    own = {folded(name) for name in options.class_map}
    return map_classes(found, options, digits), "" if own >= set(map(folded, found)) else owner


def _digits(names: Collection[str]) -> tuple[dict[str, str], str]:
    """Return what digits mean as class names and whose they are: RAF-DB counts from 1, AffectNet from 0."""
    if set(names) == set(RAF_DB):  # fewer could as well be a part of AffectNet's
        return RAF_DB, "RAF-DB"
    if "0" in names and all(name in AFFECTNET for name in names):
        return AFFECTNET, "AffectNet"
    return {}, ""


def _split_folders(tree: Tree, at: str) -> dict[Split, str]:
    found: dict[Split, str] = {}
    for name in tree.folders(at):
        split = split_named(name)
        if split is None:
            continue
        if split in found:
            raise FerError(
                f"{tree.where(at)} holds two folders for one split, '{found[split]}' and '{name}'; remove one"
            )
        found[split] = name
    missing = "train" if "train" not in found else "test" if len(found) == 1 else None
    if missing:
        raise FerError(
            f"{tree.where(at)} has no folder '{missing}'; expected are train/<class>/ and test/<class>/, or <class>/ "
            "without any splits, which are drawn then"
        )
    return found


def _class_files(tree: Tree, at: str, mapping: ClassMapping) -> list[tuple[str, int]]:
    files: list[tuple[str, int]] = []
    for name in tree.folders(at):
        folder, label = join(at, name), mapping.labels[name]
        if label is None:
            continue
        if inner := tree.folders(folder):
            raise FerError(f"{tree.where(join(folder, inner[0]))} is a folder inside a class; move its pictures up")
        names = tree.files(folder)
        if not names:
            raise FerError(f"{tree.where(folder)} is empty; put the class's pictures there, or remove it")
        files.extend((join(folder, file), label) for file in names)
    return files


def _shown(path: str) -> tuple[str, str]:
    """Return the set that a picture is named as in, and the person it shows; '' for both otherwise."""
    name = path.rpartition("/")[2]
    return next(((owner, match[1]) for owner, names in _PEOPLE.items() if (match := names.match(name))), ("", ""))


def split_in_name(path: str) -> Split | None:
    """Return the split that a picture's file name begins with in FER2013; None for any other name."""
    name = path.rpartition("/")[2]
    return next((split for prefix, split in PREFIXES.items() if name.startswith(prefix)), None)
