"""Lists of pictures to leave out, which people edit."""

from pathlib import Path

from fer.data.exclude import read_exclusions, write_exclusions


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
