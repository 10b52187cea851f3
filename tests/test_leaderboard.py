"""The table of a sweep, against numbers worked out by hand."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from fer.compared import group, over_seeds, read_run
from fer.leaderboard import collect, markdown, rows, write_leaderboard
from fer.runs import read_metrics, write_json
from tests.conftest import Sweep, run_of


def made_up(sweep: Path, name: str, model: str, seed: int, val_acc: float, **changes: Any) -> None:
    """Write the folder of a run that never was; `changes` go into its configuration or replace its figures."""
    lr, digest = changes.get("lr", 0.1), changes.get("digest", "d1")
    folder = sweep / name
    folder.mkdir(parents=True)
    config = {"model": {"name": model}, "data": {"name": "fer2013"}, "optim": {"lr": lr}, "seed": seed}
    if "distill" in changes:
        config["distill"] = changes["distill"]
        write_json(folder / "environment.json", {"teacher": {"sha256": changes.get("sha256", "")}})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    figures = {
        "status": "finished",
        "model": model,
        "seed": seed,
        "best_epoch": 3,
        "epochs": 4,
        "train": {"loss": 1.0, "acc": 0.75},
        "val": {"loss": 1.25, "acc": val_acc, "f1": 0.5},
        "test": {"loss": 1.5, "acc": val_acc + 0.02, "f1": 0.5},
        "parameters": 1_234_567,
        "trainable_parameters": 1_000_000,
        "multiply_adds": 98_765_432,
        "seconds": 90.0,
        "images_per_s": 1000.0,
        "data": {"digest": digest},
    }
    write_json(folder / "metrics.json", figures)


def overridden(sweep: Path, name: str, *overrides: str, **more: Any) -> None:
    """Say what a run's command line set, and change some of its configuration."""
    path = sweep / name / "metrics.json"
    write_json(path, {**json.loads(path.read_text()), "overrides": list(overrides)})
    path = sweep / name / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}, sort_keys=False))


def failed(sweep: Path, name: str, model: str, error: str, **config: Any) -> None:
    folder = sweep / name
    folder.mkdir(parents=True)
    plain = {"model": {"name": model}, "data": {"name": "auto"}, "optim": {"lr": 0.1}, "seed": 0, **config}
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    write_json(folder / "metrics.json", {"status": "failed", "model": model, "seed": 0, "error": error})


def test_runs_of_one_model_are_told_apart_by_what_both_have_first(tmp_path: Path) -> None:
    made_up(tmp_path, "one", "cnn10", 0, 0.6)
    made_up(tmp_path, "two", "cnn10", 0, 0.7, lr=0.5)
    config = yaml.safe_load((tmp_path / "two" / "config.yaml").read_text())
    newer = {"added": 1, "more": 2, "data": {"later": 0, **config["data"]}, **config}
    (tmp_path / "two" / "config.yaml").write_text(yaml.safe_dump(newer, sort_keys=False))
    first, second = rows(collect(tmp_path))
    assert first["name"].startswith("cnn10 (lr=0.5, ")
    assert second["name"] == "cnn10 (lr=0.1)"


def test_runs_are_named_by_what_their_command_lines_set(tmp_path: Path) -> None:
    for name in ("fast", "cpu"):
        made_up(tmp_path, name, "cnn10", 0, 0.6)
        changes = {"a": name, "b": name, "c": name}
        overridden(tmp_path, name, "model=cnn10", f"experiment={name}", "data.root=/somewhere", "seed=1", **changes)
    assert {row["name"] for row in rows(collect(tmp_path))} == {"cnn10 (experiment=fast)", "cnn10 (experiment=cpu)"}
    made_up(tmp_path, "more", "cnn10", 0, 0.6)
    overridden(tmp_path, "more", "model=cnn10", "experiment=cpu", "+data.augment.classes=x", a="more")
    named = {row["folders"]: row["name"] for row in rows(collect(tmp_path))}
    assert named == {
        "fast": "cnn10 (experiment=fast)",
        "cpu": "cnn10 (experiment=cpu)",
        "more": "cnn10 (experiment=cpu, classes=x)",
    }


def test_what_the_command_lines_do_not_tell_apart_the_configuration_does(tmp_path: Path) -> None:
    for name in ("one", "two"):
        made_up(tmp_path, name, "cnn10", 0, 0.6)
        overridden(tmp_path, name, "experiment=cpu", a={"size": name}, b={"size": name})  # the recipe was changed
    names = {row["name"] for row in rows(collect(tmp_path))}
    assert names == {"cnn10 (a.size=one, b.size=one)", "cnn10 (a.size=two, b.size=two)"}


def test_names_have_as_many_keys_as_it_takes(tmp_path: Path) -> None:
    for name, last in (("one", 1), ("two", 2), ("three", 3)):
        made_up(tmp_path, name, "cnn10", 0, 0.6)
        path = tmp_path / name / "config.yaml"
        first = dict.fromkeys(("a", "b", "c"), last > 1)
        path.write_text(yaml.safe_dump({**first, "d": last, **yaml.safe_load(path.read_text())}, sort_keys=False))
    names = {row["name"] for row in rows(collect(tmp_path))}
    assert names == {f"cnn10 (a={last > 1}, b={last > 1}, c={last > 1}, d={last})" for last in (1, 2, 3)}


def test_a_run_that_cannot_be_read_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made_up(tmp_path, "good", "cnn10", 0, 0.6)
    for name, metrics in (("none", {}), ("half", {"status": "finished", "model": "cnn10", "train": None})):
        shutil.copytree(tmp_path / "good", tmp_path / name)
        write_json(tmp_path / name / "metrics.json", metrics)
    shutil.copytree(tmp_path / "good", tmp_path / "damaged")
    (tmp_path / "damaged" / "config.yaml").write_text("a: [")
    assert [row["folders"] for row in write_leaderboard(tmp_path)] == ["good"]
    assert caplog.text.count("is left out of the leaderboard") == 3


def test_what_was_left_out_of_training_tells_runs_apart_wherever_the_list_lay(tmp_path: Path) -> None:
    for seed, (name, content) in enumerate((("a", "x"), ("b", "x"), ("c", "y"))):
        made_up(tmp_path, name, "cnn10", seed, 0.6)
        overridden(tmp_path, name, data={"name": "fer2013", "exclude": f"/{name}/list.csv"})
        (tmp_path / name / "exclude.csv").write_text(content)
    assert sorted(row["seeds"] for row in rows(collect(tmp_path))) == [1, 2]


def test_seeds_give_mean_and_deviation(tmp_path: Path) -> None:
    for seed, acc in enumerate((0.60, 0.62, 0.67)):
        made_up(tmp_path, f"cnn10-{seed}", "cnn10", seed, acc)
    (row,) = rows(collect(tmp_path))
    assert row["seeds"] == 3
    assert row["val_acc"] == pytest.approx(0.63)
    # deviations -3, -1 and 4 hundredths: (9 + 1 + 16) / (3 - 1) = 13
    assert row["val_acc_std"] == pytest.approx(math.sqrt(13) / 100)
    assert row["test_acc"] == pytest.approx(0.65)
    assert row["train_acc_std"] == 0
    assert "| 63.00 ± 3.61 | 68.97 / 63.98 | 65.00 ± 3.61 |" in markdown([row])


def test_the_same_seed_once_more_is_no_other_seed(tmp_path: Path) -> None:
    for name, seed, acc in (("a", 0, 0.60), ("b", 1, 0.62), ("c", 1, 0.64)):
        made_up(tmp_path, name, "cnn10", seed, acc)
    (row,) = rows(collect(tmp_path))
    assert row["seeds"] == 2
    assert row["val_acc"] == pytest.approx(0.62)  # of 0.60 and the later 0.64
    (group,) = over_seeds([tmp_path / name for name in "abc"]).values()
    assert [path.name for path in group] == ["a", "c"]


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    made_up(tmp_path, "a", "cnn10", 0, 0.6)
    (row,) = rows(collect(tmp_path))
    assert row["val_acc_std"] is None
    assert "±" not in markdown([row])


def test_a_row_for_each_configuration_best_first(tmp_path: Path) -> None:
    made_up(tmp_path, "a", "cnn10", 0, 0.60, lr=0.1)
    made_up(tmp_path, "b", "cnn10", 0, 0.64, lr=0.2)
    made_up(tmp_path, "c", "cnn12", 0, 0.62)
    names = [row["name"] for row in rows(collect(tmp_path))]
    assert names == ["cnn10 (lr=0.2)", "cnn12", "cnn10 (lr=0.1)"]


def test_runs_on_other_data_are_no_other_seeds(tmp_path: Path) -> None:
    made_up(tmp_path, "a", "cnn10", 0, 0.60, digest="d1")
    made_up(tmp_path, "b", "cnn10", 0, 0.64, digest="d2")
    names = [row["name"] for row in rows(collect(tmp_path))]
    assert names == ["cnn10 (digest=d2)", "cnn10 (digest=d1)"]


def test_the_reference_stands_beside_its_five_models_alone(tmp_path: Path) -> None:
    published = {
        "cnn10": (0.6897, 0.6398),
        "cnn12": (0.68, 0.63),
        "cnn16": (0.5161, 0.5335),
        "mnv2": (0.6513, 0.6041),
        "mnv2_ft": (0.7160, 0.6256),
    }
    for model in (*published, "custom"):
        made_up(tmp_path, model, model, 0, 0.6)
    found = {row["model"]: (row["reference_train_acc"], row["reference_val_acc"]) for row in rows(collect(tmp_path))}
    assert found == {**published, "custom": (None, None)}


def test_no_reference_stands_beside_other_faces(tmp_path: Path) -> None:
    made_up(tmp_path, "run", "cnn10", 0, 0.6)
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("fer2013", "sample"))
    (row,) = rows(collect(tmp_path))
    assert (row["reference_train_acc"], row["reference_val_acc"]) == (None, None)


def test_a_network_whose_file_was_edited_is_another_one(tmp_path: Path) -> None:
    for name, digest in (("one", "a" * 64), ("two", "b" * 64), ("three", None)):
        made_up(tmp_path, name, "cnn10", 0, 0.6)
        own = {"network": {"file": "my_net.py", "sha256": digest}} if digest else {}
        write_json(tmp_path / name / "environment.json", own)
    assert {row["name"] for row in rows(collect(tmp_path))} == {
        "cnn10",
        "cnn10 (network=my_net.py@aaaaaaa)",
        "cnn10 (network=my_net.py@bbbbbbb)",
    }


def test_failed_runs_stand_last_with_their_reason(tmp_path: Path) -> None:
    failed(tmp_path, "a", "cnn10", "no | good\nat all")
    made_up(tmp_path, "b", "cnn10", 0, 0.6)
    table = write_leaderboard(tmp_path)
    assert [(row["name"], row["status"]) for row in table] == [("cnn10", "finished"), ("cnn10", "failed")]
    *_, last = (tmp_path / "leaderboard.md").read_text().splitlines()
    assert "**failed**: no \\| good at all" in last
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        finished, broken = csv.DictReader(file)
    assert (float(finished["val_acc"]), finished["parameters"], finished["error"]) == (0.6, "1234567", "")
    assert (broken["val_acc"], broken["error"]) == ("", "no | good\nat all")
    assert (tmp_path / "leaderboard.png").read_bytes().startswith(b"\x89PNG")


def test_what_failed_is_told_apart_by_what_it_was_to_do(tmp_path: Path) -> None:
    failed(tmp_path, "a", "cnn10", "too high", optim={"lr": 9})
    made_up(tmp_path, "b", "cnn10", 0, 0.6)
    assert [row["name"] for row in rows(collect(tmp_path))] == ["cnn10 (lr=0.1)", "cnn10 (lr=9)"]


def test_a_sweep_in_which_all_failed_has_a_table_and_no_picture(tmp_path: Path) -> None:
    failed(tmp_path, "a", "cnn10", "no good")
    assert len(write_leaderboard(tmp_path)) == 1
    assert "**failed**: no good" in (tmp_path / "leaderboard.md").read_text()
    assert not (tmp_path / "leaderboard.png").exists()


def test_a_folder_without_runs_gets_no_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "metrics.json").write_text("{")
    assert write_leaderboard(tmp_path) == []
    assert not (tmp_path / "leaderboard.md").exists()


def test_each_of_several_teachers_is_named(tmp_path: Path) -> None:
    made_up(tmp_path, "one", "cnn10", 0, 0.5)
    made_up(tmp_path, "two", "cnn10", 0, 0.6, distill={"teacher": ["/a.safetensors", "/runs/b"], "share": 0.5})
    records = [{"sha256": "1234567890"}, {"sha256": "abcdefghij"}]
    write_json(tmp_path / "two" / "environment.json", {"teacher": records})
    taught = "cnn10 (teacher=a.safetensors@1234567 + b@abcdefg, share=0.5)"
    assert [row["name"] for row in rows(collect(tmp_path))] == [taught, "cnn10 (teacher=None)"]


def test_what_a_run_learned_from_tells_it_apart(tmp_path: Path) -> None:
    taught = {"teacher": "/here/a.safetensors", "share": 0.5}
    made_up(tmp_path, "untold", "cnn10", 0, 0.5)
    made_up(tmp_path, "new", "cnn10", 1, 0.6, distill={"teacher": None, "share": 0.7})
    made_up(tmp_path, "here", "cnn10", 0, 0.8, distill=taught, sha256="1234567890")
    made_up(
        tmp_path, "there", "cnn10", 1, 0.8, distill={**taught, "teacher": "/there/a.safetensors"}, sha256="1234567890"
    )
    made_up(tmp_path, "other", "cnn10", 0, 0.7, distill=taught, sha256="abcdefghij")
    made_up(tmp_path, "bad", "cnn10", 0, 0.1, distill={"teacher": 7, "share": 0.5})
    first, second, third, last = rows(collect(tmp_path))
    assert (first["name"], first["seeds"]) == ("cnn10 (teacher=a.safetensors@1234567, share=0.5)", 2)
    assert (second["name"], second["seeds"]) == ("cnn10 (teacher=a.safetensors@abcdefg, share=0.5)", 1)
    assert third["seeds"] == 2
    assert last["name"] == "cnn10 (teacher=7, share=0.5)"


def test_runs_of_other_files_or_classes_are_no_further_seeds(tiny_sweep: Sweep) -> None:
    told: tuple[dict[str, Any], ...] = (
        {},
        {"transforms": {"own": {"file": "own_aug.py", "sha256": "a" * 64}}},
        {"transforms": {"own": {"file": "own_aug.py", "sha256": "b" * 64}}},
        {"data": {"learned": ["sad", "boredom"]}},
        {"data": {"learned": ["sad", "pride"]}},
    )
    for number, changed in enumerate(told):
        folder = Path("sweep", str(number))
        shutil.copytree(run_of(tiny_sweep, "cnn10"), folder)
        record = json.loads((folder / "environment.json").read_text())
        write_json(folder / "environment.json", {**record, **changed})
    assert len(group([read_run(folder, read_metrics(folder) or {}) for folder in Path("sweep").iterdir()])) == len(told)


def test_every_figure_stands_in_its_own_column(tmp_path: Path) -> None:
    made_up(tmp_path, "a", "cnn10", 0, 0.62)
    path = tmp_path / "a" / "metrics.json"
    figures = {
        "train": {"loss": 1.1, "acc": 0.61},
        "val": {"loss": 1.2, "acc": 0.62, "f1": 0.52},
        "test": {"loss": 1.3, "acc": 0.63, "f1": 0.53},
    }
    write_json(path, {**json.loads(path.read_text()), **figures})
    (row,) = rows(collect(tmp_path))
    told = ("train_loss", "train_acc", "val_loss", "val_acc", "val_f1", "test_acc", "test_f1")
    assert [row[name] for name in told] == [1.1, 0.61, 1.2, 0.62, 0.52, 0.63, 0.53]
    cells = markdown([row]).splitlines()[-1].strip("| ").split(" | ")
    assert cells[1:3] == ["61.00", "62.00"]
    assert cells[4:] == ["63.00", "53.00", "1.100", "1.200", "1.23 M", "98.77 M", "1.5 min", "1000"]
