"""Lists of pictures to leave out, which people edit."""

from pathlib import Path

import pytest

from fer.data.exclude import read_exclusions, write_exclusions
from fer.errors import FerError


def test_an_edited_list_is_kept_beside_the_new_one() -> None:
    path = Path("exclude.csv")
    assert write_exclusions(path, {"a.png": "blank"}) is None
    assert write_exclusions(path, {"a.png": "blank"}) is None  # the same again
    for number, edited in enumerate(("picture,reason\nmine.png,ugly\n", "picture,reason\nother.png,ugly\n"), start=1):
        path.write_text(edited)
        before = write_exclusions(path, {"a.png": "blank"})
        assert before == Path(f"exclude-before-{number}.csv")
        assert before.read_text() == edited
        assert read_exclusions(path) == ["a.png"]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffpicture,reason\r\na.png,blank\r\nb.png,\r\n",  # with Excel's mark in front
        "picture;reason\r\na.png;blank\r\nb.png;\r\n",  # where the decimal sign is a comma
        '"picture";"reason"\n"a.png";"blank, nearly"\n"b.png";""\n',
        "reason,picture\nblank,a.png \n,b.png\n",
        "picture,reason\na.png,blank\n,no longer\n\nb.png\n",  # one name deleted, one line emptied
        "picture,reason\na.png,blank\n  ,\nb.png,ugly\n",
    ],
)
def test_a_list_is_read_as_spreadsheets_and_people_leave_it(content: str) -> None:
    Path("list.csv").write_text(content, encoding="utf-8", newline="")
    assert read_exclusions(Path("list.csv")) == ["a.png", "b.png"]


def test_a_list_in_another_encoding_is_named() -> None:
    Path("list.csv").write_bytes("picture\nwütend/a.png\n".encode("latin-1"))
    with pytest.raises(FerError, match=r"data\.exclude: 'list\.csv' cannot be read \(it is no UTF-8 text\)"):
        read_exclusions(Path("list.csv"))


@pytest.mark.parametrize("more", [1, 10_000])  # the latter are longer than what Python takes for one field
def test_an_open_quotation_mark_swallows_nothing(more: int) -> None:
    Path("list.csv").write_text('picture,reason\na.png,\n"b.png,ugly\n' + "train/happy/c.png,\n" * more)
    with pytest.raises(FerError, match=r"data\.exclude: 'list\.csv' cannot be read .* quotation mark"):
        read_exclusions(Path("list.csv"))
