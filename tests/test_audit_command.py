"""What the audit's command takes, says and writes; what it finds is tested elsewhere."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fer.audit.labels import Suspect
from fer.data.faces import Faces
from tests.conftest import Outcome, call, refused
from tests.data.layouts import MIXED, write_folders, write_index, write_table, write_votes


def audit(*arguments: str) -> Outcome:
    return call("fer/audit/__main__.py", *arguments)


def shown(told: Outcome, finding: str) -> list[str]:
    """Return the numbers in the table's row for a finding."""
    (line,) = (line for line in told.out.splitlines() if finding in line)
    return [cell.strip() for cell in line.replace("│", "|").split("|")[2:-1]]


class Guesses:
    """Stands in for the quick model: it suspects the named pictures, in their order, of being sad."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.names = names
        self.seeds: list[int] = []
        monkeypatch.setattr("fer.audit.findings.out_of_fold", self.out_of_fold)
        monkeypatch.setattr("fer.audit.findings.suspects", self.suspects)

    def out_of_fold(self, faces: Faces, seed: int) -> NDArray[np.float64]:
        self.seeds.append(seed)
        return np.zeros((len(faces), len(faces.classes)))

    def suspects(self, faces: Faces, probabilities: NDArray[np.float64]) -> list[Suspect]:
        rows = [next(row for row, origin in enumerate(faces.origins) if origin.endswith(name)) for name in self.names]
        return [Suspect(row, int(faces.labels[row]), 4, 0.125) for row in rows]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["exclude=[leak]"], ["exclude: '['leak']' is no list of leaks, near_leaks, blank, conflicts, suspects"]),
        (["exclude=blank"], ["exclude: 'blank' is no list"]),
        (["exclude=[suspects]", "labels=false"], ["exclude: suspects are not looked for with labels=false"]),
        (["threshold=17"], ["threshold: 17 is out of range", "from 0 to 16"]),
        (["threshold=-1"], ["threshold: -1 is out of range"]),
        (["seed=-1"], ["seed: -1 is out of range"]),
    ],
)
def test_bad_choices_are_named_before_anything_is_read(arguments: list[str], words: list[str]) -> None:
    refused(audit("data=folder", "data.root=nowhere", *arguments), *words)


def test_choices_reach_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    write_folders(Path("faces"))
    guesses = Guesses(monkeypatch, "sad/Training_16.png", "angry/Training_1.png", "test/fear/PublicTest_32.png")
    choices = ("seed=3", "threshold=16", "exclude=[suspects]", "folder=here")
    told = audit("data=fer2013", "data.root=faces", *choices)
    assert told.status == 0, told.err
    assert guesses.seeds == [3]
    assert json.loads(Path("here/audit.json").read_text())["near"]["threshold"] == 16
    with Path("here/suspects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["picture"]).name, row["given"], row["suggested"], row["quality"]) for row in rows] == [
        ("Training_16.png", "sad", "sad", "0.125"),
        ("Training_1.png", "angry", "sad", "0.125"),
        ("PublicTest_32.png", "fear", "sad", "0.125"),
    ]
    listed = "picture,reason\ntrain/sad/Training_16.png,suspected label\ntrain/angry/Training_1.png,suspected label\n"
    assert Path("here/exclude.csv").read_text() == listed
    assert shown(told, "suspected labels") == ["3", ""]


def test_the_table_counts_pictures_and_groups() -> None:
    root = write_folders(Path("faces"))
    for copy in ("train/angry/Training_90.png", "train/fear/Training_91.png"):
        shutil.copy(root / "train/angry/Training_0.png", root / copy)
    shutil.copy(root / "train/sad/Training_16.png", root / "test/sad/PrivateTest_92.png")
    told = audit("data=fer2013", f"data.root={root}", "labels=false")
    assert told.status == 0, told.err
    for finding, numbers in {
        "all ": ["59", "56 distinct"],
        "identical to another": ["5", "2 groups"],
        "under several labels": ["3", "1 group"],
        "val pictures that are also in train": ["0", ""],
        "test pictures that are also in train": ["1", ""],
        "nearly another (4 of 64 bits)": ["0", "0 pairs"],
        "blank": ["0", "0 more nearly so"],
    }.items():
        assert shown(told, finding) == numbers
    assert "exclude-before-1.csv" not in told.out
    Path("audit/exclude.csv").write_text("picture,reason\n")  # as someone may have edited it
    told = audit("data=fer2013", f"data.root={root}", "labels=false")
    assert "audit/exclude-before-1.csv (the list that was there)" in told.out
    assert Path("audit/exclude-before-1.csv").read_text() == "picture,reason\n"


@pytest.mark.parametrize("beside", [True, False])
def test_ferplus_is_asked_about_the_suspects(beside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folders(Path("faces"))
    votes = write_votes(Path("fer2013new.csv"), MIXED)
    index = write_index(Path("index.csv" if beside else "rows.csv"))
    # a face of which FER+ says the same, one that nobody can tell, one of contempt, and one without a majority
    names = ("PublicTest_28.png", "Training_12.png", "Training_27.png", "Training_8.png")
    Guesses(monkeypatch, *names)
    told = audit("data=fer2013", f"data.root={root}", f"votes={votes}", *([] if beside else [f"index={index}"]))
    assert told.status == 0, told.err
    assert json.loads(Path("audit/audit.json").read_text())["ferplus"] == {
        "doubted": pytest.approx(4 / 55),
        "suspects_doubted": 1.0,
        "first_doubted": 1.0,
        "suspects_confirmed": pytest.approx(1 / 3),
    }
    assert shown(told, "FER+ doubts them too") == ["100 %", "all: 7 %"]
    assert shown(told, "and suggests the same") == ["33 %", ""]


def test_a_list_for_ferplus_may_name_what_its_filters_left_out() -> None:
    write_table(Path("faces/fer2013.csv"))
    write_votes(Path("faces/fer2013new.csv"), MIXED)
    Path("list.csv").write_text("picture\nfer2013.csv:row 1\nfer2013.csv:row 12\n")  # nobody can tell the second
    told = audit("data=ferplus", "data.root=faces", "data.exclude=list.csv", "labels=false")
    assert told.status == 0, told.err
    assert json.loads(Path("audit/audit.json").read_text())["pictures"] == 56 - 3 - 1
