"""Archives are read without trust."""

import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer.data.index import unpacked_limit
from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.data.unlabelled import read_unlabelled
from fer.errors import FerError
from tests.data.layouts import pack_tar, pack_zip, write_folders


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield write_folders(tmp_path_factory.mktemp("source"))


def _refusal(path: Path) -> str:
    with pytest.raises(FerError) as caught:
        read_faces(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "train/../../evil.png", "C:/evil.png", "a\\..\\b.png"])
def test_paths_that_lead_out_are_refused(name: str, source: Path, tmp_path: Path) -> None:
    packed = pack_zip(source, tmp_path / "a.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, b"x")
    tarred = tmp_path / "a.tar"
    with tarfile.open(tarred, "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    for path in (packed, tarred):
        assert "a path that leads out of it" in _refusal(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_tars_are_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("train/sad/x.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(member)
    assert "link or device" in _refusal(tmp_path / "a.tar")


def test_links_in_zips_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("train/sad/x.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "link or device" in _refusal(tmp_path / "a.zip")


def test_a_zip_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fer2013.csv", bytes(100 * 2**20))
    assert "far more than faces need" in _refusal(tmp_path / "a.zip")


def test_a_tar_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("fer2013.csv")
    member.size = 100 * 2**20
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(member.tobuf())
        for _ in range(100):
            file.write(bytes(2**20))
    assert "far more than faces need" in _refusal(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("size", [2**40, 2**62])
def test_a_tar_header_that_claims_terabytes_is_refused(kind: bytes, size: int, tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, size
    with lzma.open(tmp_path / "a.tar.xz", "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(10_000))
    assert "cannot be read" in _refusal(tmp_path / "a.tar.xz")


def test_a_tar_that_leads_back_to_its_start_is_refused(tmp_path: Path) -> None:
    for kind in (tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, -1024
        (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) * 4 + bytes(10240))
        assert "cannot be read" in _refusal(tmp_path / "a.tar")


def test_an_oversized_picture_is_refused(tmp_path: Path, source: Path) -> None:
    packed = pack_zip(source, tmp_path / "a.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        info = zipfile.ZipInfo("train/sad/big.png")
        archive.writestr(info, bytes(65 * 2**20))
    assert "train/sad/big.png is too large for a picture" in _refusal(packed)


def test_an_encrypted_zip_is_refused(source: Path, tmp_path: Path) -> None:
    packed = pack_zip(source, tmp_path / "a.zip")
    content = bytearray(packed.read_bytes())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 8] |= 1
    packed.write_bytes(content)
    assert "encrypted" in _refusal(packed)
    # what is wrong with all of it is no picture to be left out
    with pytest.raises(FerError, match=r"the archive .* cannot be read \(.*encrypted"):
        read_faces(packed, ReadOptions(on_error="skip"))
    with pytest.raises(FerError, match=r"the archive .* cannot be read \(.*encrypted"):
        read_unlabelled(packed, 48)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.95])
def test_archives_cut_short_are_refused(name: str, part: float, source: Path, tmp_path: Path) -> None:
    path = (pack_zip if name.endswith("zip") else pack_tar)(source, tmp_path / name)
    # A tar ends in kilobytes of padding, without which it is still whole.
    content = path.read_bytes().rstrip(b"\0") if name == "a.tar" else path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "cannot be read" in _refusal(path)


def test_a_broken_header_does_not_silently_end_a_tar(source: Path, tmp_path: Path) -> None:
    path = pack_tar(source, tmp_path / "a.tar")
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[40].offset
    content = bytearray(path.read_bytes())
    content[offset + 148 : offset + 156] = b"spoiled!"
    path.write_bytes(content)
    assert "cut short or damaged" in _refusal(path)


def test_an_archive_without_faces_says_what_was_looked_for(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
        archive.writestr("inner.zip", b"")
    assert "holds nothing to read; looked for train/<class>/" in _refusal(tmp_path / "a.zip")


def test_errors_inside_an_archive_name_the_member(source: Path, tmp_path: Path) -> None:
    packed = pack_zip(source, tmp_path / "a.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("train/sad/readme.txt", "hello")
        archive.writestr("__MACOSX/train/sad/._x.png", "ignored")
    assert f"{packed}: train/sad/readme.txt is no picture" in _refusal(packed)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=600), st.sampled_from(["zip", "tar", "gz", "xz", "PK"]))
def test_any_bytes_give_one_sentence(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / ("a.zip" if kind in ("zip", "PK") else "a.tar")
    if kind == "gz":
        content = gzip.compress(content)
    elif kind == "xz":
        content = lzma.compress(content)
    elif kind == "PK":
        content = b"PK\x03\x04" + content
    path.write_bytes(content)
    _refusal(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["zip", "tar", "tar.gz", "tar.xz"]))
def test_an_archive_with_damage_is_read_or_refused(
    source: Path, tmp_path: Path, data: st.DataObject, suffix: str
) -> None:
    whole = tmp_path / f"whole.{suffix}"
    if not whole.exists():
        (pack_zip if suffix == "zip" else pack_tar)(source, whole)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(content)
    try:
        faces = read_faces(path)
    except FerError as error:
        assert str(path) in str(error)
    else:
        assert faces.images.shape[1:] == (48, 48)
        assert 50 <= len(faces) <= 56


def test_large_archives_of_pictures_are_read_and_bombs_are_not(tmp_path: Path) -> None:
    for size, limit in ((2**10, 64 * 2**20), (2**20, 300 * 2**20), (2**29, 4 * 2**30), (6 * 2**30, 30 * 2**30)):
        with (tmp_path / "archive").open("wb") as file:
            file.truncate(size)  # takes no room
        assert unpacked_limit(tmp_path / "archive") == limit
