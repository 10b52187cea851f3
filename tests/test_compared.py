"""Which runs are seeds of one another."""

from pathlib import Path

import yaml

from fer.leaderboard import collect, rows
from fer.runs import write_json
from tests.test_leaderboard import made_up


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
