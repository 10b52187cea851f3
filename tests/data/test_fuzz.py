"""Whatever lies there, the readers end with faces or one sentence: no traceback, no hang and no full memory.

Tables and archives have such tests beside their others.
"""

import io
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fer.data.cache import load_faces
from fer.data.options import ReadOptions
from fer.data.pictures import decode
from fer.data.readers import read_faces
from fer.errors import FerError
from tests.data.layouts import png, write_affectnet, write_ck48, write_classes, write_digits, write_raf_db

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MIXED = st.sampled_from(["error", "drop", "keep"])
MEMORY = 4 * 2**20  # bytes, for files of a few hundred


def picture(kind: str, mode: str = "RGB", side: int = 40) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module", autouse=True)
def decoders() -> None:
    """Have Pillow import its decoders before memory is counted."""
    Image.init()
    decode(picture("PNG"), "a.png", 48)


def read_or_refuse(root: Path, options: ReadOptions) -> None:
    """Check that a source becomes faces or one sentence, without much memory."""
    tracemalloc.start()
    try:
        faces = read_faces(root, options)
    except FerError as error:
        assert "\n" not in str(error)
    else:
        assert len(faces) == len(faces.labels) == len(faces.splits) == len(faces.origins)
        assert faces.labels.max() < len(faces.classes)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY


@few
@given(st.binary(max_size=400), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF89a", b"P6 "]))
def test_any_bytes_as_a_picture(content: bytes, magic: bytes) -> None:
    try:
        image = decode(magic + content, "a.png", 48).image
    except FerError as error:
        assert str(error).startswith("a.png ")
        assert "\n" not in str(error)
    else:
        assert (image.shape, image.dtype.name) == ((48, 48), "uint8")


@few
@given(st.data(), st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP"]))
def test_a_picture_with_damage_is_read_or_refused(data: st.DataObject, kind: str) -> None:
    content = bytearray(picture(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        # mostly in the header, where sizes and counts stand
        last = data.draw(st.sampled_from([60, len(content) - 1]))
        content[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    try:
        image = decode(bytes(content), "a.picture", 48).image
    except FerError as error:
        assert str(error).startswith("a.picture ")
    else:
        assert (image.shape, image.dtype.name) == ((48, 48), "uint8")


def claims(kind: str, side: int) -> bytes:
    """Return a small picture whose header claims another size."""
    content = bytearray(picture(kind))
    if kind == "PNG":
        header = content[12:16] + struct.pack(">II", side, side) + content[24:29]
        content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    elif kind == "BMP":
        content[18:26] = struct.pack("<ii", side, side)
    elif kind == "GIF":
        content[6:10] = struct.pack("<HH", side, side)
    elif kind == "JPEG":
        start = content.index(b"\xff\xc0")
        content[start + 5 : start + 9] = struct.pack(">HH", side, side)
    else:
        content[:] = f"P6 {side} {side} 255 ".encode() + content[-100:]
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "PPM"])
@pytest.mark.parametrize(("side", "said"), [(60_000, "more than 40,000,000 pixels"), (6000, "6000x6000 pixels in")])
def test_absurd_sizes_are_refused_before_decoding(
    kind: str, side: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    with pytest.raises(FerError, match=said):
        decode(claims(kind, side), "a.picture", 48)


LINES = st.sampled_from(["train_00001.jpg 5", "train_00002.jpg 1", "test_00001.jpg 5", "test_00001.jpg", "\0", "7", ""])


@few
@given(st.one_of(st.binary(max_size=300), st.lists(LINES, max_size=9).map(lambda lines: "\n".join(lines).encode())))
def test_any_bytes_as_the_list_of_raf_db(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "raf"
    if not root.exists():
        write_raf_db(root, "aligned", ".")
    (root / "list_patition_label.txt").write_bytes(content)
    for on_error in ("stop", "skip"):
        read_or_refuse(root, ReadOptions(on_error=on_error))


def npy(header: str, content: bytes) -> bytes:
    """Return a NumPy file with that header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin1") + content


HEADERS = st.builds(
    "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}\n".format,
    st.sampled_from(["'<U1'", "'<U2000000000'", "'|O'", "'<f8'", "[('a', '<f8')]", "'<M8'", "3", "(" * 90]),
    st.sampled_from(["()", "(1,)", "(1000000000000,)", "(-1,)", "(1, 1)", "None", "(True,)"]),
)


@few
@given(
    st.one_of(
        st.binary(max_size=200), st.builds(npy, st.one_of(HEADERS, st.text("(){}'x,1", max_size=99)), st.binary())
    )
)
def test_any_bytes_as_a_label_of_affectnet(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "affectnet"
    if not root.exists():
        write_affectnet(root, range(2))
    (root / "train_set" / "annotations" / "0_exp.npy").write_bytes(content)
    for on_error in ("stop", "skip"):
        read_or_refuse(root, ReadOptions(on_error=on_error))


GOOD = png(np.arange(2304, dtype=np.uint32).astype(np.uint8).reshape(48, 48))
# fmt: off
NAMES = st.sampled_from([
    "train", "Train", "test", "val", "train_set", "val_set", "images", "annotations", "aligned", "EmoLabel", "basic",
    "angry", "Anger", "happy", "contempt", "0", "1", "7", "S010_004_00000017.png", "S010_004_00000018.png", "a.png",
    "1.png", "1_exp.npy", "fer2013.csv", "train.csv", "test.csv", "a.zip", "list_patition_label.txt", "line\nbreak",
])
# fmt: on
FILES = st.sampled_from([b"", GOOD, b"train_00001.jpg 5\n", b"emotion,pixels\n0,1\n", b"PK\x05\x06" + bytes(18)])
FOLDERS = st.recursive(FILES, lambda inner: st.dictionaries(NAMES, inner, max_size=5), max_leaves=25)


def write_tree(place: Path, tree: Any) -> None:
    if not isinstance(tree, dict):
        place.write_bytes(tree.read_bytes() if isinstance(tree, Path) else tree)
        return
    place.mkdir()
    for name, inner in tree.items():
        write_tree(place / name, inner)


def read_tree(place: Path) -> Any:
    return {inner.name: read_tree(inner) for inner in place.iterdir()} if place.is_dir() else place


@st.composite
def spoilt(draw: st.DrawFn, tree: Any) -> Any:
    """Return a tree in which something is gone, renamed or replaced."""
    if not isinstance(tree, dict) or not tree:
        return draw(FILES)
    name = draw(st.sampled_from(sorted(tree)))
    rest = {other: inner for other, inner in tree.items() if other != name}
    deed = draw(st.sampled_from(["deeper", "deeper", "remove", "rename", "replace"]))
    if deed == "remove":
        return rest
    if deed == "rename":
        return rest | {draw(NAMES): tree[name]}
    return rest | {name: draw(spoilt(tree[name]) if deed == "deeper" else FILES)}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Layouts as they are published, as folders of files to copy."""
    root = tmp_path_factory.mktemp("published")
    write_raf_db(root / "raf")
    write_affectnet(root / "affectnet", range(3))
    write_ck48(root / "ck", 12)
    write_classes(root / "classes", ["angry", "happy", "contempt"])
    write_digits(root / "digits", range(3), ("train", "val"))
    return cast(dict[str, Any], read_tree(root))


@settings(few, max_examples=40)
@given(st.data(), MIXED, st.sampled_from(["stop", "skip"]))
def test_a_layout_with_damage_is_read_or_refused(
    published: dict[str, Any], tmp_path: Path, data: st.DataObject, extra_classes: str, on_error: str
) -> None:
    tree = published[data.draw(st.sampled_from(sorted(published)))]
    for _ in range(data.draw(st.integers(1, 3))):
        tree = data.draw(spoilt(tree))
    check_tree(tree, tmp_path, ReadOptions(extra_classes=extra_classes, on_error=on_error))


@few
@given(st.dictionaries(NAMES, FOLDERS, max_size=5), MIXED, st.sampled_from(["stop", "skip"]))
def test_any_folders(tmp_path: Path, tree: Any, extra_classes: str, on_error: str) -> None:
    check_tree(tree, tmp_path, ReadOptions(extra_classes=extra_classes, on_error=on_error))


def check_tree(tree: Any, tmp_path: Path, options: ReadOptions) -> None:
    """Check that folders become faces or one sentence, and the same faces from the cache."""
    root = tmp_path / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.unlink(missing_ok=True)
    write_tree(root, tree)
    read_or_refuse(root, options)
    try:
        faces = load_faces(root, tmp_path / "kept", options)
    except FerError:
        pass
    else:
        again = load_faces(root, tmp_path / "kept", options)
        assert again.digest() == faces.digest() == read_faces(root, options).digest()
        assert again.classes == faces.classes
