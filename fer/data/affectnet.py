"""AffectNet as it is published: pictures with a NumPy file for each label (Mollahosseini et al., 2017)."""

import io
import warnings

import numpy as np

from fer.data.classes import map_classes
from fer.data.faces import Split
from fer.data.listing import Entry, Listing
from fer.data.options import ReadOptions
from fer.data.pictures import left_out_note, or_skipped, with_progress
from fer.data.trees import Tree, join
from fer.errors import FerError, one_line
from fer.labels import AFFECTNET

# The authors keep their test set to themselves, and everyone reports on the validation set.
_SETS: dict[str, Split] = {"train_set": "train", "val_set": "test"}
_MAX_FILE = 4096  # bytes; AffectNet's own files have about 132
_MAX_ITEM = 64  # bytes; a digit in UTF-32 has 4


def has_affectnet(tree: Tree, at: str) -> bool:
    """Return whether a folder holds `train_set` or `val_set` with AffectNet's `images` and `annotations`."""
    return any(_is_set(tree, join(at, name)) for name in tree.folders(at) if name in _SETS)


def list_affectnet(tree: Tree, at: str, options: ReadOptions) -> Listing:
    """List AffectNet's pictures, `images/<id>.jpg`, with their labels, `annotations/<id>_exp.npy`, sorted by path.

    `val_set` becomes the test split.

    Args:
        tree: Where to look.
        at: The folder that holds `train_set` and `val_set`.
        options: What to do with classes other than the seven, and with pictures without a valid label.

    Raises:
        FerError: If a set is missing, or a picture's label is missing or invalid, unless such are to be skipped.
    """
    for name in _SETS:
        if name not in tree.folders(at) or not _is_set(tree, join(at, name)):
            raise FerError(f"{tree.where(at)} is AffectNet's without {name}/images and {name}/annotations; add them")
    labelled: dict[str, tuple[str, Split]] = {}  # annotation → picture and split
    unlabelled, total, unused = [], 0, 0
    for name, split in _SETS.items():
        images, annotations = join(join(at, name), "images"), join(join(at, name), "annotations")
        present = set(tree.files(annotations))
        for file in tree.files(images):
            total += 1
            annotation = f"{file.rpartition('.')[0]}_exp.npy"
            if annotation in present:
                path = join(annotations, annotation)
                if path in labelled:
                    raise FerError(f"{tree.where(path)} labels {labelled[path][0]} and {file}; remove one of them")
                labelled[path] = join(images, file), split
            elif options.skip:
                unlabelled.append(join(images, file))
            else:
                where = tree.where(join(images, file))
                raise or_skipped(FerError(f"{where} has no label; get {annotations}/{annotation}, or remove it"))
        unused += sum(name.endswith("_exp.npy") and join(annotations, name) not in labelled for name in present)
    digits = _read_labels(tree, list(labelled), options.skip)
    unlabelled += [labelled[path][0] for path in labelled if path not in digits]
    found = {digit: f"{tree.where(path)}: {digit}" for path, digit in reversed(digits.items())}
    mapping = map_classes(found, options, AFFECTNET)
    entries = []
    for path, digit in digits.items():
        label = mapping.labels[digit]
        if label is not None:
            picture, split = labelled[path]
            entries.append(Entry(picture, label, split))
    notes = (
        *mapping.notes,
        *left_out_note(sorted(unlabelled), total, "pictures, those without a label,"),
        *([f"Labels without a picture, which were not read: {unused:,}."] if unused else []),
        "AffectNet's val_set is the test split, looked at once at the end.",
    )
    return Listing("AffectNet", sorted(entries), mapping.classes, notes)


def _is_set(tree: Tree, at: str) -> bool:
    return {"images", "annotations"} <= set(tree.folders(at))


def _read_labels(tree: Tree, paths: list[str], skip: bool) -> dict[str, str]:
    digits = {}
    for path in with_progress(tree.in_order(paths), len(paths), "Reading labels"):
        try:
            digits[path] = _digit(tree.read(path), tree.where(path))
        except FerError as error:
            if not skip:
                raise or_skipped(error) from error
    return {path: digits[path] for path in paths if path in digits}


def _digit(data: bytes, where: str) -> str:
    """Return the label in a file: one string or number."""
    try:
        if len(data) > _MAX_FILE:
            raise ValueError(f"it has {len(data):,} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's parser warns about damaged headers
            text = _only_value(data)
    except Exception as error:  # NumPy's parsers raise nearly anything on damaged bytes
        raise FerError(f"{where} holds no label ({one_line(error, 100)}); replace or remove it") from error
    digit = text.strip().removesuffix(".0")
    if digit not in AFFECTNET:
        raise FerError(f"{where}: '{text[:20]}' is no label from 0 to 10; replace or remove it")
    return digit


def _only_value(data: bytes) -> str:
    """Return the only value in a NumPy file as text, checking what the header claims before allocating it."""
    file = io.BytesIO(data)
    formats = np.lib.format
    version = formats.read_magic(file)
    read_header = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if shape not in ((), (1,)) or dtype.kind not in "USiuf" or dtype.itemsize > _MAX_ITEM:
        raise ValueError(f"it holds an array {shape} of {dtype}")
    value = np.load(io.BytesIO(data), allow_pickle=False).reshape(-1)[0]
    return str(value.decode("ascii") if isinstance(value, bytes) else value)
