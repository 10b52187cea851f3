"""What a training promises: it repeats, resumes, never looks at the test split and leaves frozen layers alone."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fer.build import balanced_weights, build_transforms
from fer.config import TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces, Split
from fer.errors import FerError
from fer.experiment import Experiment
from fer.naming import single_folder
from fer.weights import open_run
from tests.conftest import PREFIXES, composed, write_kaggle

SMALL = (
    "data=folder",
    "model=cnn10",
    "model.network.width=0.25",
    "data.batch_size=32",
    "trainer.max_epochs=2",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
)
FROZEN = (*SMALL[:1], "model=mnv2", *SMALL[3:], "model.weights=null", "model.input.size=64")


def experiment(config: TrainConfig, root: Path, folder: str, resume: bool = False) -> Experiment:
    config.data.root = str(root)
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    return Experiment(config, data, Path(folder), resume)


def weights(folder: str, name: str = "last.ckpt") -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(Path(folder) / name, weights_only=True)["state_dict"]
    return state


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def test_a_run_leaves_what_repeats_it(tiny_folder: Path, tiny_faces: Faces) -> None:
    config = composed(*SMALL, "seed=7")
    metrics = experiment(config, tiny_folder, "run").run()
    folder = Path("run")
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml",
        "environment.json",
        "best.ckpt",
        "last.ckpt",
        "metrics.csv",
        "metrics.json",
        "curves.png",
    }
    record = json.loads((folder / "environment.json").read_text())
    assert record["seed"] == 7
    assert record["data"]["digest"] == tiny_faces.digest()
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["commit"]
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert {"train/loss", "train/acc", "val/loss", "val/acc", "val_f1/disgust", "lr", "images_per_s"} <= set(rows[0])
    # of an epoch's last step: warmed up at the end of the first, and along a line to nothing behind the second
    steps = torch.load(folder / "last.ckpt", weights_only=True)["global_step"] // 2
    last = 0.03 / steps
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.03, last])
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    best = max(rows, key=lambda row: float(row["val/acc"]))
    assert metrics["val"]["acc"] == pytest.approx(float(best["val/acc"]))
    assert metrics["val"]["loss"] == pytest.approx(float(best["val/loss"]), abs=1e-6)
    assert metrics["train"]["acc"] == pytest.approx(float(best["train/acc"]))
    # the original training faces, and oversampling up to the largest of the minority and majority classes
    before, after = np.array(metrics["data"]["train_counts"]["before"]), metrics["data"]["train_counts"]["after"]
    assert before.tolist() == tiny_faces.split("train").counts().tolist()
    assert [after[label] for label in (0, 4, 5)] == [before.max()] * 3
    assert [after[label] for label in (1, 2, 3, 6)] == [before[label] for label in (1, 2, 3, 6)]


def test_the_same_seed_gives_the_same_weights_with_any_number_of_workers(tiny_folder: Path) -> None:
    experiment(composed(*SMALL), tiny_folder, "first").run()
    experiment(composed(*SMALL, "data.num_workers=2"), tiny_folder, "second").run()
    experiment(composed(*SMALL, "seed=1"), tiny_folder, "other").run()
    assert_same(weights("first"), weights("second"))
    with pytest.raises(AssertionError):
        assert_same(weights("first"), weights("other"))


def test_the_mean_of_the_weights_is_what_validates_and_what_stays(tiny_folder: Path) -> None:
    metrics = experiment(composed(*SMALL, "optim.ema=0.9", "trainer.test=false"), tiny_folder, "run").run()
    assert metrics["test"] is None
    with Path("run/metrics.csv").open() as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["val/acc"]))
    assert metrics["val"]["loss"] == pytest.approx(float(best["val/loss"]), abs=1e-6)
    mean, current = weights("run", "best.ckpt"), torch.load("run/last.ckpt", weights_only=True)["current_model_state"]
    name = "network.network.head.weight"
    assert not torch.equal(mean[name], current[name])
    assert torch.equal(open_run(Path("run")).trained.model.state_dict()["network.head.weight"], mean[name])


def test_a_picture_that_another_program_holds_stops_no_training(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("run/curves.png").mkdir(parents=True)  # as little to be replaced as an open file on Windows
    metrics = experiment(composed(*SMALL, "trainer.max_epochs=1"), tiny_folder, "run").run()
    assert metrics["status"] == "finished"
    assert "curves.png cannot be written" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_pytorch_cannot_use_is_told_of(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = composed(*SMALL, "trainer.accelerator=auto")
    monkeypatch.setattr("fer.device.shutil.which", lambda name: name if name == "nvidia-smi" else None)
    monkeypatch.setattr(torch.version, "cuda", None)
    experiment(config, tiny_folder, "run")
    assert "There is an NVIDIA GPU here" in caplog.text
    caplog.clear()
    monkeypatch.setattr("fer.device.shutil.which", lambda name: None)
    experiment(config, tiny_folder, "other")
    assert "NVIDIA" not in caplog.text


def test_a_table_that_another_program_holds_stops_no_training(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def held(rows: object, path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fer.callbacks.history.write_rows", held)
    assert experiment(composed(*SMALL), tiny_folder, "run").run()["epochs"] == 2
    assert "metrics.csv' cannot be written (Permission denied)" in caplog.text


def test_private_test_selects_nothing(tiny_folder: Path, tiny_faces: Faces, tmp_path: Path) -> None:
    """Swap the test split for noise with other labels: the run must choose the same epoch and the same weights."""
    rng = np.random.default_rng(0)
    images, labels = tiny_faces.images.copy(), tiny_faces.labels.copy()
    test = tiny_faces.splits == 2
    images[test] = rng.integers(0, 256, images[test].shape, dtype=np.uint8)
    labels[test] = rng.permutation(labels[test])
    other = tmp_path / "other"
    for source in tiny_folder.glob("**/*.png"):
        if not source.name.startswith(PREFIXES["test"]):
            target = other / source.relative_to(tiny_folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    noise = Faces(images, labels, tiny_faces.splits, tiny_faces.origins, "noise").split("test")
    write_kaggle(noise, other)

    real = experiment(composed(*SMALL, "trainer.max_epochs=4"), tiny_folder, "real").run()
    fake = experiment(composed(*SMALL, "trainer.max_epochs=4"), other, "fake").run()
    assert real["data"]["digest"] != fake["data"]["digest"]
    assert real["test"]["loss"] != fake["test"]["loss"]
    assert real["best_epoch"] == fake["best_epoch"]
    assert real["val"] == fake["val"]
    assert_same(weights("real", "best.ckpt"), weights("fake", "best.ckpt"))
    with Path("real/metrics.csv").open() as file:
        assert not [name for name in csv.DictReader(file).fieldnames or () if name.startswith("test")]


@pytest.mark.parametrize("trainable", [0, 30])
def test_frozen_parameters_and_buffers_are_bit_equal_after_training(tiny_folder: Path, trainable: int) -> None:
    config = composed(*FROZEN, f"model.network.trainable_layers={trainable}")
    run = experiment(config, tiny_folder, "run")
    network: Any = run.classifier.network.network
    before = {name: value.clone() for name, value in network.features.state_dict().items()}
    run.run()
    trained = {
        f"{name}.{leaf}"
        for name, module in network.features.named_modules()
        if module in network.trained
        for leaf in module.state_dict()
    }
    after = network.features.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == trained
    assert bool(trained) == bool(trainable)


def test_validation_and_test_hold_no_augmented_copy(tiny_folder: Path, tiny_faces: Faces) -> None:
    config = composed(*SMALL)
    config.data.root = str(tiny_folder)
    data = FaceDataModule(config.data, build_transforms(config.data.augment))
    data.setup()
    assert len(data.faces["train"]) > len(tiny_faces.split("train"))
    copies = {face.tobytes() for face in data.faces["train"].images[len(tiny_faces.split("train")) :]}
    splits: tuple[Split, ...] = ("val", "test")
    for split, loader in zip(splits, (data.val_dataloader(), data.test_dataloader()), strict=True):
        shown = torch.cat([faces for faces, _ in loader])[:, 0].numpy()
        expected = tiny_faces.split(split)
        assert sorted(face.tobytes() for face in shown) == sorted(face.tobytes() for face in expected.images)
        assert not copies & {face.tobytes() for face in shown}


def test_early_stopping_ends_a_training_that_learns_nothing(tiny_folder: Path) -> None:
    config = composed(
        *SMALL, "trainer.max_epochs=9", "optim.lr=0", "trainer.patience=2", "model.network.batch_norm=false"
    )
    config.data.augment.classes = "none"
    config.trainer.monitor = "val/loss"
    metrics = experiment(config, tiny_folder, "run").run()
    assert metrics["best_epoch"] < metrics["epochs"] < 9
    with Path("run/metrics.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert len(epochs) == metrics["epochs"]
    best, last = (float(epochs[number - 1]["train/loss"]) for number in (metrics["best_epoch"], metrics["epochs"]))
    assert metrics["train"]["loss"] == pytest.approx(best) != pytest.approx(last)
    assert metrics["monitor"] == "val/loss"
    # stopped in its test, say: no further epoch is trained
    again = experiment(config, tiny_folder, "run", resume=True).run()
    assert again["epochs"] == metrics["epochs"]
    assert again["test"] == metrics["test"]


def test_a_compiled_training_leaves_a_checkpoint_that_loads_uncompiled(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        compiled.append(torch.is_grad_enabled())
        return graph.forward

    # this backend traces and guards as any other, but needs no compiler and no minute
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self: setattr(self, "_compiled_call_impl", torch.compile(self._call_impl, backend=backend)),
    )
    metrics = experiment(composed(*SMALL, "trainer.compile=true", "trainer.max_epochs=1"), tiny_folder, "run").run()
    assert compiled == [True]  # once, for training; nothing for validation and test
    assert metrics["status"] == "finished"
    assert not [name for name in weights("run") if "_orig_mod" in name]
    trained = open_run(Path("run")).trained
    assert trained.epoch == 1


def test_a_diverged_training_says_so_and_keeps_no_checkpoint_of_it(tiny_folder: Path) -> None:
    run = experiment(composed(*SMALL, "optim.lr=1e30", "trainer.gradient_clip=null"), tiny_folder, "run")
    with pytest.raises(FerError, match=r"diverged.*optim\.lr"):
        run.run()
    assert not list(Path("run").glob("*.ckpt"))
    assert not Path("run/metrics.json").exists()


def test_runs_that_start_in_the_same_second_have_folders_of_their_own() -> None:
    config = composed(*SMALL)
    folders = {single_folder(config) for _ in range(3)}
    assert len(folders) == 3
    assert all(folder.is_dir() for folder in folders)


def test_a_class_without_faces_weighs_nothing() -> None:
    weights = balanced_weights(np.array([10, 0, 30]))
    assert weights == [2.0, 0.0, 40 / 60]
    assert np.dot(weights, [10, 0, 30]) == 40  # one on average over the faces


def test_class_weights_and_the_optimizer_reach_the_training(tiny_folder: Path) -> None:
    config = composed(*SMALL, "optim.class_weights=balanced", "optim.optimizer=adamw", "trainer.channels_last=false")
    run = experiment(config, tiny_folder, "run")
    weights_used = run.classifier.class_weights
    assert isinstance(weights_used, Tensor)
    counts = torch.tensor(run.data.counts["after"])
    assert torch.allclose(weights_used * counts, torch.full((7,), float(counts.sum()) / 7))
    run.run()
    assert isinstance(run.trainer.optimizers[0], torch.optim.AdamW)


def test_a_network_that_cannot_be_compiled_is_told_of(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self: setattr(self, "_compiled_call_impl", torch.compile(self._call_impl, backend=backend)),
    )
    run = experiment(composed(*SMALL, "trainer.compile=true", "trainer.max_epochs=1"), tiny_folder, "run")
    with pytest.raises(FerError, match=r"trainer\.compile: .*No working C\+\+ compiler found.*; set it to false"):
        run.run()
