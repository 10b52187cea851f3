import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from fer.figures import confusion_matrix
from fer.labels import EMOTIONS
from fer.report import Evaluation, write_report
from fer.scores import Scores, score


class Page(HTMLParser):
    """Collects a page's text, the sources of its pictures, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.words.append(data.strip())


def made_up(shift: float, bootstrap: int = 100, count: int = 200) -> Scores:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (count,), generator=generator)  # no picture of the last class
    logits = torch.randn(count, 7, generator=generator)
    logits[torch.arange(count), labels] += shift
    return score(logits, labels, EMOTIONS)


def evaluation(**changes: Any) -> Evaluation:
    views = {"plain": made_up(1.5), "flip": made_up(1.6), "ten": made_up(1.7)}
    content: dict[str, Any] = {
        "name": "cnn10",
        "split": "test",
        "scores": views,
        "leak_free": {view: made_up(1.3, count=150) for view in views},
        "config": {"model": {"name": "cnn10", "folder": Path("weights")}, "seed": 3},
        "facts": {"Seed": "3", "Commit": "0123abc"},
        "history": [{"epoch": 0, "val/acc": 0.4, "val/loss": 1.5}],
        "figures": [("Matrix", "As an example.", confusion_matrix(views["plain"].confusion, EMOTIONS))],
        "best_epoch": 0,
    }
    return Evaluation(**(content | changes))


def written(folder: Path, **changes: Any) -> str:
    path = folder / "report.html"
    write_report(evaluation(**changes), path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("report"))


def test_the_page_stands_alone(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == 3  # confusion, curves and the given figure
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_page_shows_the_numbers(text: str) -> None:
    words = Page(text).words
    scores, flipped = made_up(1.5), made_up(1.6)
    low, high = scores.intervals["accuracy"]
    assert f"{100 * scores.accuracy:.1f} %" in words
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in words
    assert f"{scores.loss:.3f}" in words
    start = words.index("Loss", words.index("Ten views"))
    assert words[start + 3 : start + 5] == [f"{flipped.loss:.3f}", f"{made_up(1.7).loss:.3f}"]
    unseen = words.index("no identical picture in training")
    assert words[unseen + 1 : unseen + 3] == ["150", f"{100 * made_up(1.3, count=150).accuracy:.1f} %"]
    assert set(EMOTIONS) <= set(words)
    assert {"Matrix", "As an example.", "Commit", "0123abc"} <= set(words)
    assert any('"folder": "weights"' in word for word in words)


def test_a_class_without_pictures_shows_dashes(text: str) -> None:
    words = Page(text).words
    place = words.index("neutral")
    assert words[place + 1 : place + 5] == ["\N{EN DASH}"] * 3 + ["0"]


def test_everything_is_escaped(tmp_path: Path) -> None:
    attack = '"><script>alert(1)</script>'
    figure = confusion_matrix(made_up(1.0).confusion, EMOTIONS)
    text = written(
        tmp_path,
        name=attack,
        split=attack,
        config={attack: attack},
        facts={attack: attack},
        figures=[(attack, attack, figure)],
        history=[],
    )
    assert "<script" not in text
    assert Page(text).open == []


def test_a_run_without_history_or_intervals_has_a_page(tmp_path: Path) -> None:
    scores = dict.fromkeys(("plain", "flip", "ten"), made_up(1.5))
    page = Page(written(tmp_path, scores=scores, leak_free={}, history=[], figures=[], best_epoch=None))
    assert len(page.sources) == 1
    assert "Training" not in page.words
    assert "no identical picture in training" not in page.words


def test_a_failed_write_leaves_the_old_page_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "report.html"
    small = evaluation(history=[], figures=[])
    write_report(small, path)
    before = path.read_bytes()

    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        self.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_report(small, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
