"""The bar shows up where a read is long and someone watches, and never takes an item away."""

import io

import numpy as np
import pytest
from PIL import Image

from fer.data.pictures import decode, fingerprint, left_out_note, with_progress
from fer.errors import FerError


@pytest.mark.parametrize(("total", "terminal", "shown"), [(9000, True, True), (9000, False, False), (9, True, False)])
def test_the_bar_is_for_long_reads_on_a_terminal(
    total: int,
    terminal: bool,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")

    assert list(with_progress(iter(range(total)), total, "Reading pictures")) == list(range(total))
    printed = capsys.readouterr()
    assert ("Reading pictures" in printed.err) is shown
    assert printed.out == ""


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_a_camera_stored_lying_is_turned(form: str) -> None:
    stored = np.zeros((48, 48), np.uint8)
    stored[:12] = 255  # along its top, which is its right where it is looked at
    lying = Image.Exif()
    lying[274] = 6
    upright, as_it_is, broken = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(stored).save(upright, form, exif=lying, quality=95)
    Image.fromarray(stored).save(as_it_is, form, quality=95)
    Image.fromarray(stored).save(broken, form, exif=b"Exif\0\0II*\0 and no more", quality=95)
    face, resized, _ = decode(upright.getvalue(), "face", 48)
    assert not resized
    assert face[:, 40:].min() > 200
    assert face[:, :30].max() < 60
    for picture in (as_it_is, broken):
        face = decode(picture.getvalue(), "face", 48).image
        assert face[:8].min() > 200


def test_a_picture_is_the_same_in_whatever_format_it_is_stored() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (60, 50), np.uint8)
    found = []
    for form in ("PNG", "BMP", "TIFF"):
        file = io.BytesIO()
        Image.fromarray(grey).save(file, form)
        found.append(decode(file.getvalue(), "face", 48).fingerprint)
    assert set(found) == {fingerprint(grey)}
    assert fingerprint(grey.reshape(50, 60)) != fingerprint(grey) != fingerprint(grey[::-1])


def test_damaged_pixels_behind_a_remark_are_found() -> None:
    remark = Image.Exif()
    remark[274] = 1
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)).save(file, "PNG", exif=remark)
    content = bytearray(file.getvalue())
    middle = content.index(b"IDAT") + 800
    content[middle : middle + 40] = bytes(40)
    with pytest.raises(FerError, match="face is damaged"):
        decode(bytes(content), "face", 48)


def test_what_transparent_parts_hide_makes_no_difference() -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    seen = np.zeros((48, 48), np.uint8)
    seen[8:40, 8:40] = 255
    found = []
    for hidden in (0, 255):
        grey = np.where(seen == 255, face, np.uint8(hidden))
        for mode in ("LA", "RGBA"):
            picture = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(seen))).convert(mode)
            data = io.BytesIO()
            picture.save(data, "PNG")
            found.append(decode(data.getvalue(), "cut out", 48).image)
    assert all(np.array_equal(found[0], other) for other in found)
    assert np.array_equal(found[0][8:40, 8:40], face[8:40, 8:40])
    assert (found[0][0] == 128).all()


def test_16_bits_with_a_transparent_level_stay_16_bits() -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    data = io.BytesIO()
    Image.fromarray(face.astype(np.uint16) * 257).save(data, "PNG", transparency=7)
    assert np.array_equal(decode(data.getvalue(), "deep", 48).image, face)


def test_a_grey_map_of_16_bits_is_read_like_one_of_8() -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    deep = b"P5 48 48 65535\n" + (face.astype(">u2") * 257).tobytes()
    assert np.array_equal(decode(deep, "deep.pgm", 48).image, face)


def test_a_large_and_nearly_empty_picture_is_told_from_a_damaged_one() -> None:
    data = io.BytesIO()
    Image.new("L", (3000, 3000)).save(data, "PNG")
    with pytest.raises(FerError, match=r"blank\.png claims to hold 3000x3000 pixels .* at most 1,000,000 pixels"):
        decode(data.getvalue(), "blank.png", 48)


def test_a_format_that_is_not_read_is_to_be_converted() -> None:
    data = io.BytesIO()
    Image.new("L", (48, 48)).save(data, "PCX")
    with pytest.raises(
        FerError, match=r"face\.pcx is no picture that can be read \(JPEG, PNG, .*\); convert or remove it"
    ):
        decode(data.getvalue(), "face.pcx", 48)


def test_a_tag_behind_the_pixels_or_in_another_dress_turns_a_picture_too() -> None:
    stored = np.zeros((48, 48), np.uint8)
    stored[:12] = 255
    lying = Image.Exif()
    lying[274] = 6
    early, dressed = io.BytesIO(), io.BytesIO()
    Image.fromarray(stored).save(early, "PNG", exif=lying)
    data = early.getvalue()
    start, end = data.index(b"eXIf") - 4, data.index(b"IDAT") - 4
    late = data[:start] + data[end:].replace(data[-12:], data[start:end] + data[-12:])
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(stored).save(dressed, "JPEG", quality=95, xmp=xmp)
    for picture in (late, dressed.getvalue()):
        assert decode(picture, "face", 48).image[:, 40:].min() > 200


def test_an_empty_picture_of_a_moderate_size_is_read() -> None:
    for form, side in (("PNG", 1000), ("JPEG", 1500)):
        data = io.BytesIO()
        Image.new("L", (side, side), 255).save(data, form)
        assert side**2 > 50 * len(data.getvalue())  # far emptier than a photograph, and harmless
        face, resized, _ = decode(data.getvalue(), "blank", 48)
        assert resized
        assert (face == 255).all()


def test_grey_levels_without_a_known_range_are_refused() -> None:
    for levels in (np.random.default_rng(0).random((48, 48), np.float32), np.full((48, 48), 70_000, np.int32)):
        data = io.BytesIO()
        Image.fromarray(levels).save(data, "TIFF")
        with pytest.raises(FerError, match=r"deep\.tif is damaged \(32-bit grey levels have no known range\)"):
            decode(data.getvalue(), "deep.tif", 48)


def test_what_was_left_out_is_named_and_counted_where_it_is_too_much() -> None:
    names = [f"{number}.png" for number in range(12)]
    assert left_out_note([], 20, "pictures") == ()
    (few,), (many,) = left_out_note(names[:10], 20, "pictures"), left_out_note(names, 2000, "pictures")
    assert few == f"10 of 20 pictures were left out (data.on_error=skip): {', '.join(names[:10])}."
    assert many == f"12 of 2,000 pictures were left out (data.on_error=skip): {', '.join(names[:10])} and 2 more."
