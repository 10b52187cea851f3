"""The table reader names the line, the value and the way out, and never does anything else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.errors import FerError
from tests.data.layouts import draw_rows, refusal, write_folders, write_table

GOOD = " ".join(["128"] * 2304)


def _lines(tmp_path: Path) -> tuple[Path, list[str]]:
    path = write_table(tmp_path / "fer2013.csv")
    return path, path.read_text().splitlines()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"0,{GOOD} 1,Training", "line 4: 2305 pixels instead of 2304 (48x48)"),
        ("0,1 2 3,Training", "line 4: 3 pixels instead of 2304"),
        ("0,,Training", "line 4: 0 pixels"),
        (f"0,{GOOD[:-3]}abc,Training", "line 4: pixel 'abc' is no whole number from 0 to 255"),
        (f"0,{GOOD[:-3]}256,Training", "line 4: pixel '256'"),
        (f"0,{GOOD[:-3]}-1,Training", "line 4: pixel '-1'"),
        (f"0,{GOOD[:-3]}1.5,Training", "line 4: pixel '1.5'"),
        (f"8,{GOOD},Training", "line 4: emotion '8' is no label from 0 to 7"),
        (f"-1,{GOOD},Training", "line 4: emotion '-1'"),
        (f"sad,{GOOD},Training", "line 4: emotion 'sad'"),
        (f"0,{GOOD},Testing", "line 4: Usage 'Testing' is none of Training, PublicTest, PrivateTest"),
        (f"0,{GOOD}", "line 4: 2 fields"),
        (f"0,{GOOD * 20},Training", "line 4: longer than 100,000 characters"),
        ('0,"' + GOOD, "fer2013.csv, line"),
    ],
)
def test_bad_rows_are_named(line: str, said: str, tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    lines[3] = line
    path.write_text("\n".join(lines))

    with pytest.raises(FerError) as caught:
        read_faces(tmp_path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"emotion,pixels\n", "has no column usage"),
        (b"a,b\n1,2\n", "no column emotion and no column pixels and no column usage; its columns are a, b"),
        (b"emotion,pixels,Usage\n", "has no row that can be read"),
        ("emotion,pixels,Usage\n".encode("utf-16"), "is not UTF-8 text"),
        (b"emotion,pixels,Usage\n0,\xff\xfe,Training\n", "is not UTF-8 text"),
        (b"\0" * 1000, "has no column emotion"),
    ],
)
def test_files_that_are_no_such_table(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(content)
    with pytest.raises(FerError) as caught:
        read_faces(tmp_path)
    assert said in str(caught.value)


def test_a_usage_or_class_without_rows_is_named(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    path.write_text("\n".join(line for line in lines if not line.endswith("PrivateTest")))
    assert f"fer2013.csv in {tmp_path} has no test picture" in refusal(tmp_path)
    path.write_text("\n".join(line for line in lines if not (line.startswith("3,") and line.endswith("Training"))))
    assert "has no training picture of happy" in refusal(tmp_path)


def test_a_class_without_any_row_is_named_in_a_note(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    path.write_text("\n".join(line for line in lines if not line.startswith("3,")))
    faces = read_faces(tmp_path)

    assert faces.counts().tolist() == [8, 8, 8, 0, 8, 8, 8]
    assert faces.notes == ("There is no picture of happy.",)


def test_rows_that_cannot_be_read_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    before = read_faces(tmp_path)
    lines[3] = "0,1 2 3,Training"
    path.write_text("\n".join(lines))
    faces = read_faces(tmp_path, ReadOptions(on_error="skip"))

    assert faces.notes == ("1 of 56 rows were left out (data.on_error=skip): fer2013.csv:row 2.",)
    assert list(faces.origins) == [name for name in before.origins if name != "fer2013.csv:row 2"]


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    before = read_faces(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines[:5], "", *lines[5:]]).encode())
    after = read_faces(tmp_path)

    assert after.digest() == before.digest()
    assert after.origins == before.origins


def test_without_public_test_rows_validation_is_held_out(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    path.write_text("\n".join(line for line in lines if not line.endswith("PublicTest")))
    faces = read_faces(tmp_path)

    assert faces.split("val").counts().tolist() == [1] * 7
    assert "held out" in faces.notes[0]


_SCRAPS = st.sampled_from([b"emotion,pixels,Usage\n", b"0,1 2,Training\n", b'"', b",", b"\n", b"\r", b"\0", b"9" * 50])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300), st.lists(_SCRAPS, max_size=30).map(b"".join)))
def test_any_bytes_give_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(FerError) as caught:
        read_faces(path)
    assert str(path) in str(caught.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_table_with_one_byte_changed_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "fer2013.csv"
    if not path.exists():
        write_table(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    broken = tmp_path / "broken.csv"
    broken.write_bytes(content)
    try:
        faces = read_faces(broken)
    except FerError as error:
        assert "broken.csv" in str(error)
    else:
        assert faces.images.shape in {(56, 48, 48), (55, 48, 48)}


def test_a_quotation_mark_that_is_not_closed_is_named_though_rows_are_skipped(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    lines[3] = '"' + lines[3]
    lines[9] = '"' + lines[9]
    path.write_text("\n".join(lines) + "\n")
    assert "line 4: a quotation mark there is not closed" in refusal(path, ReadOptions(on_error="skip"))


def test_fields_in_quotation_marks_may_go_on_over_several_lines(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    before = read_faces(path).digest()
    note = ["note", *['"two,\nlines"'] * (len(lines) - 1)]
    told = [f"{line},{more}" for line, more in zip(lines, note, strict=True)]
    path.write_text("\n".join(told) + "\n")
    assert read_faces(path).digest() == before


def test_contempt_is_an_extra_class_of_a_table(tmp_path: Path) -> None:
    path, lines = _lines(tmp_path)
    lines[3] = f"7,{GOOD},Training"
    path.write_text("\n".join(lines))
    with pytest.raises(FerError, match=r"emotion 7 \(contempt\) is named after no known class.*extra_classes=drop"):
        read_faces(tmp_path)
    kept = read_faces(tmp_path, ReadOptions(extra_classes="keep"))
    dropped = read_faces(tmp_path, ReadOptions(extra_classes="drop"))
    assert kept.classes[-1] == "contempt"
    assert kept.counts()[-1] == 1
    assert len(dropped) == len(kept) - 1


def test_a_table_holds_out_the_pictures_that_its_folders_would(tmp_path: Path) -> None:
    rows = [(usage, label, image) for usage, label, image in draw_rows() if usage != "PublicTest"]
    path, lines = _lines(tmp_path / "table")
    path.write_text("\n".join(line for line in lines if not line.endswith("PublicTest")))
    assert read_faces(tmp_path / "table").digest() == read_faces(write_folders(tmp_path / "folders", rows)).digest()


def test_a_table_in_another_size_has_the_faces_that_its_folders_would(tmp_path: Path) -> None:
    write_table(tmp_path / "table" / "fer2013.csv")
    write_folders(tmp_path / "folders")
    table, folders = (read_faces(tmp_path / name, ReadOptions(size=32)) for name in ("table", "folders"))
    assert table.images.shape[1:] == (32, 32)
    assert table.digest() == folders.digest()
