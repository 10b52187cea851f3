"""Which runs are seeds of one another, and which is better."""

import json
from pathlib import Path

import yaml

from fer.leaderboard import collect, rows
from fer.runs import write_json
from tests.test_leaderboard import failed, made_up


def loaded(sweep: Path, name: str, path: str, sha256: str) -> None:
    """Say which pretrained weights a made-up run loaded, and from where."""
    file = sweep / name / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["model"] |= {"weights": path, "network": {"weights": path}}
    file.write_text(yaml.safe_dump(config))
    write_json(sweep / name / "environment.json", {"weights": {"file": Path(path).name, "sha256": sha256}})


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    for seed, (place, digest) in enumerate(
        (("/a/b.pt", "1" * 64), ("/elsewhere/b.pt", "1" * 64), ("/a/b.pt", "2" * 64))
    ):
        made_up(tmp_path, f"run{seed}", "mnv2", seed, 0.5 + seed / 100)
        loaded(tmp_path, f"run{seed}", place, digest)
    table = rows(collect(tmp_path))
    assert [(row["name"], row["seeds"]) for row in table] == [
        ("mnv2 (weights=b.pt@2222222)", 1),
        ("mnv2 (weights=b.pt@1111111)", 2),
    ]


def test_a_failed_seed_of_a_finished_configuration_has_a_row_of_its_own(tmp_path: Path) -> None:
    made_up(tmp_path, "a", "cnn10", 0, 0.6)
    failed(tmp_path, "b", "cnn10", "no good", data={"name": "fer2013"}, seed=1)
    path = tmp_path / "b" / "metrics.json"
    write_json(path, {**json.loads(path.read_text()), "data": {"digest": "d1"}})
    assert [(row["status"], row["seeds"]) for row in rows(collect(tmp_path))] == [("finished", 1), ("failed", 1)]


def test_the_test_split_does_not_decide_which_row_comes_first(tmp_path: Path) -> None:
    for name, lr, val_acc, test_acc in (("a", 0.1, 0.60, 0.70), ("b", 0.2, 0.64, 0.50)):
        made_up(tmp_path, name, "cnn10", 0, val_acc, lr=lr)
        path = tmp_path / name / "metrics.json"
        metrics = json.loads(path.read_text())
        write_json(path, {**metrics, "test": {**metrics["test"], "acc": test_acc}})
    assert [row["name"] for row in rows(collect(tmp_path))] == ["cnn10 (lr=0.2)", "cnn10 (lr=0.1)"]
