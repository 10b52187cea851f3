"""Sweeps: what they leave, and that they go on where they were left."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from fer.build import build_model
from fer.callbacks.stop import CleanStop
from fer.naming import sweep_folder
from fer.runs import read_metrics
from tests.conftest import Sweep, call, composed, link, quick, refused, run_of

pytestmark = pytest.mark.usefixtures("no_dashboard")


def read_table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "leaderboard.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def counted(model: str) -> tuple[int, int]:
    """Return a tiny model's parameters and multiply-adds, counted layer by layer."""
    config = composed(f"model={model}", "model.network.width=0.25")
    network = build_model(config.model, 7).eval()
    products = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        places = output.shape[2] * output.shape[3] if output.ndim == 4 else 1
        products.append(weight.numel() * places)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, 48, 48, dtype=torch.uint8))
    return sum(parameter.numel() for parameter in network.parameters()), sum(products)


def test_leaderboard(tiny_sweep: Sweep) -> None:
    assert tiny_sweep.told.status == 0, tiny_sweep.told.err
    table = read_table(tiny_sweep.folder)
    assert set(table) == {"cnn10", "cnn12"}
    for model, reference in (("cnn10", "0.6398"), ("cnn12", "0.63")):
        row, metrics = table[model], read_metrics(run_of(tiny_sweep, model))
        assert metrics is not None
        assert (row["status"], row["seeds"], row["reference_val_acc"]) == ("finished", "1", reference)
        assert (int(row["parameters"]), int(row["multiply_adds"])) == counted(model)
        assert float(row["val_acc"]) == metrics["val"]["acc"]
        assert float(row["test_f1"]) == metrics["test"]["f1"]
    lines = (tiny_sweep.folder / "leaderboard.md").read_text().splitlines()
    assert len(lines) == 4
    assert "| 68.97 / 63.98 |" in "".join(lines)
    assert "| 68.00 / 63.00 |" in "".join(lines)
    assert (tiny_sweep.folder / "leaderboard.png").stat().st_size > 5000
    assert "68.97 / 63.98" in tiny_sweep.told.out.split("Leaderboard")[-1]  # whole, in 80 characters


def test_nothing_lies_beside_the_runs(tiny_sweep: Sweep) -> None:
    assert {path.name for path in tiny_sweep.folder.parents[1].iterdir()} == {"sweeps"}
    runs = {run_of(tiny_sweep, model).name for model in ("cnn10", "cnn12")}
    found = {path.name for path in tiny_sweep.folder.iterdir()}
    assert found == {*runs, "leaderboard.md", "leaderboard.csv", "leaderboard.png"}


def test_a_finished_sweep_is_skipped(tiny_sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_sweep.folder.parents[2])
    checkpoints = [run_of(tiny_sweep, model) / "best.ckpt" for model in ("cnn10", "cnn12")]
    before = [path.stat().st_mtime_ns for path in checkpoints]
    told = call("train.py", *tiny_sweep.arguments)
    assert told.status == 0
    assert told.out.count("is finished: skipped") == 2
    assert [path.stat().st_mtime_ns for path in checkpoints] == before


def test_a_job_that_fails_is_listed_and_tried_again(tiny_folder: Path) -> None:
    arguments = ("-m", "model.network.dropout=0.1,2", "optim.optimizer=sgd", *quick(tiny_folder))
    told = call("train.py", *arguments)
    assert told.status == 1
    assert told.err.count("Error:") == 1
    assert "dropout" in told.err
    (folder,) = Path("logs/sweeps").iterdir()
    table = read_table(folder)
    assert [row["status"] for row in table.values()] == ["finished", "failed"]
    assert "dropout" in table["cnn10 (dropout=2)"]["error"], list(table)
    assert "**failed**" in (folder / "leaderboard.md").read_text()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/best.ckpt")}

    again = call("train.py", *arguments)
    assert again.status == 1
    assert again.out.count("is finished: skipped") == 1
    assert again.err.count("Error:") == 1
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/best.ckpt")} == finished
    assert len(read_table(folder)) == 2


def test_a_leaderboard_that_another_program_holds_stops_no_sweep(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ("-m", "seed=0", *quick(tiny_folder))
    assert call("train.py", *arguments).status == 0
    (folder,) = Path("logs/sweeps").iterdir()
    (folder / "leaderboard.csv").unlink()
    (folder / "leaderboard.csv").mkdir()  # nothing can take its place
    assert call("train.py", *arguments).status == 0
    assert "the leaderboard cannot be written" in caplog.text


def test_what_failed_before_its_data_were_read_is_forgotten_once_it_works(tiny_folder: Path) -> None:
    quickly = quick(tiny_folder)
    arguments = ("-m", "optim.optimizer=sgd,adam", *quickly[:1], "data.root=later", *quickly[2:])
    told = call("train.py", *arguments)
    assert told.status == 1
    (folder,) = Path("logs/sweeps").iterdir()
    errors = {name: row["error"] for name, row in read_table(folder).items()}
    assert "later does not exist" in errors["cnn10 (optimizer=sgd)"]
    assert "'adam' is unknown" in errors["cnn10 (optimizer=adam)"]

    link(Path("later"), tiny_folder)
    call("train.py", *arguments)
    table = read_table(folder)
    assert {name: row["status"] for name, row in table.items()} == {
        "cnn10 (optimizer=sgd)": "finished",
        "cnn10 (optimizer=adam)": "failed",
    }


def test_what_failed_for_want_of_data_is_forgotten_once_they_are_named(tiny_folder: Path) -> None:
    first, *others = quick(tiny_folder)
    arguments = ("-m", "seed=0,1", first, *[text for text in others if not text.startswith("data.root=")])
    assert call("train.py", *arguments).err.count("FER2013 was not found") == 2
    (folder,) = Path("logs/sweeps").iterdir()
    assert {row["status"] for row in read_table(folder).values()} == {"failed"}

    assert call("train.py", *arguments, f"data.root={tiny_folder}").status == 0
    assert list(Path("logs/sweeps").iterdir()) == [folder]
    (row,) = read_table(folder).values()
    assert (row["status"], row["seeds"]) == ("finished", "2")
    assert not list(folder.glob("*unstarted*"))


def test_each_of_several_places_says_what_it_failed_of(tiny_folder: Path) -> None:
    first, _, *others = quick(tiny_folder)
    assert call("train.py", "-m", "data.root=here,there", first, *others).status == 1
    (folder,) = Path("logs/sweeps").iterdir()
    failures = [read_metrics(path) or {} for path in folder.glob("*unstarted*")]
    assert sorted(str(known["error"]).split()[0] for known in failures) == ["here", "there"]


def test_an_interrupted_sweep_goes_on(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("-m", "seed=0,1", *quick(tiny_folder), "trainer.max_epochs=2")
    with monkeypatch.context() as patched:

        def stop(self: CleanStop, trainer: object, module: object, batch: object, batch_idx: int) -> None:
            if trainer.current_epoch == 1:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

        patched.setattr(CleanStop, "on_train_batch_start", stop)
        told = call("train.py", *arguments)
    assert told.status == 130
    assert "go on with the same sweep, started again" in told.out
    assert "resume=" not in told.out
    (folder,) = Path("logs/sweeps").iterdir()
    (first,) = folder.glob("cnn10-seed0-*")
    assert not list(folder.glob("cnn10-seed1-*"))
    (epoch,) = read_epochs(first)

    again = call("train.py", *arguments)
    assert again.status == 0
    assert "Resuming cnn10" in again.out
    one, two = read_epochs(first)
    assert one == epoch
    assert two["epoch"] == "2"
    (row,) = read_table(folder).values()
    assert row["seeds"] == "2"
    assert float(row["val_loss_std"]) > 0


def read_epochs(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_is_named_by_what_it_sweeps_over() -> None:
    def name(*overrides: str) -> str:
        return sweep_folder("logs", list(overrides)).name

    five = name("model=cnn10,cnn12,cnn16,mnv2,mnv2_ft", "data=sample")
    assert five.rpartition("-")[0] == "cnn10-cnn12-cnn16-mnv2-mnv2_ft"
    assert name("data=sample", "model=cnn10,cnn12,cnn16,mnv2,mnv2_ft") == five
    assert name("model=cnn10,cnn12,cnn16,mnv2,mnv2_ft", "data=fer2013") != five
    assert name("data.augment.classes=[sad,fear]", "seed=range(0,3)").rpartition("-")[0] == "range-0-3"
    assert name("model=cnn10").startswith("sweep-")
    moved = ("data.root=/elsewhere", "trainer.progress_bar=false", "logs=x")
    assert name("model=cnn16,cnn10,mnv2,cnn12,mnv2_ft", "data=sample", *moved) == five
    assert name("model=cnn10,cnn12", "seed=0,1") == name("seed=1,0", "model=cnn10,cnn12")
    assert name("seed=choice(2,1)") != name("seed=choice(1,2)")  # as it was written
    assert sweep_folder("here", ["seed=1,2"]).parent == Path("here/sweeps")


def test_another_class_of_the_same_pictures_is_other_data(tiny_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    shutil.copytree(tiny_folder, root)
    for split in ("train", "test"):
        (root / split / "disgust").rename(root / split / "boredom")
    sweep = ("-m", "data.extra_classes=keep", "data.augment.classes=none", *quick(root))
    assert call("train.py", *sweep, "data=folder").status == 0
    (run,) = (path.parent for path in Path("logs/sweeps").glob("*/*/best.ckpt"))
    for split in ("train", "test"):
        (root / split / "boredom").rename(root / split / "pride")
    told = call("evaluate.py", f"run={run}")
    refused(told, "had a class boredom", "pride")
    again = call("train.py", *sweep, "data=folder")
    assert again.status == 0 and "skipped" not in again.out


@pytest.mark.parametrize("swept", ["experiment=glob(ingredients/*)", "model=glob(cmn*)", "seed=range(3,0)"])
def test_a_sweep_over_nothing_is_an_error(swept: str) -> None:
    refused(call("train.py", "-m", swept), "nothing fits these settings")
    assert not Path("logs").exists()


def test_settings_may_refer_to_what_only_a_job_knows(tiny_folder: Path) -> None:
    told = call("train.py", "-m", "seed=0,1", "model.name='net_${seed}'", *quick(tiny_folder), "trainer.test=false")
    assert told.status == 0, told.err
    (sweep,) = Path("logs/sweeps").iterdir()
    assert {row["model"] for row in read_table(sweep).values()} == {"net_0", "net_1"}


def test_a_setting_that_refers_to_nothing_fails_in_a_sentence_for_each_job(tiny_folder: Path) -> None:
    told = call("train.py", "-m", "seed=0,1", "model.name='net_${sede}'", *quick(tiny_folder))
    assert told.status == 1
    assert "Traceback" not in told.err
    assert told.err.count("Interpolation key 'sede' not found") == 2


@pytest.mark.parametrize("told", ["resume=some/run", "trainer.devices=2"])
def test_what_no_sweep_takes_leaves_nothing(told: str, tiny_folder: Path) -> None:
    refused(call("train.py", "-m", told, *quick(tiny_folder)), told.partition("=")[0])
    assert not Path("logs").exists()
