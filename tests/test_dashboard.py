"""TensorBoard's own reader must find everything that the README promises."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from fer.build import build_transforms
from fer.callbacks import dashboard
from fer.callbacks.dashboard import _add_graph, log_hparams
from fer.classifier import EmotionClassifier
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces
from fer.experiment import Experiment
from tests.conftest import composed
from tests.test_experiment import SMALL, experiment


@pytest.fixture(scope="module")
def run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = composed(
        "data=folder",
        f"data.root={tiny_folder}",
        f"data.oversample.folder={folder.parent / 'aug'}",
        f"data.cache_dir={folder.parent / 'cache'}",
        "data.batch_size=32",
        "model=cnn10",
        "model.network.width=0.25",
        "trainer.max_epochs=2",
        "trainer.progress_bar=false",
    )
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    Experiment(config, data, folder).run()
    return folder


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def test_pictures_are_drawn_of_the_best_epochs_and_of_the_last(tiny_folder: Path) -> None:
    still = ("model.network.batch_norm=false", "optim.lr=1e-12", "trainer.max_epochs=4")  # no epoch beats the first
    experiment(composed(*SMALL, *still), tiny_folder, "run").run()
    found = EventAccumulator("run", size_guidance={"tensors": 0, "images": 0})
    found.Reload()
    for tag in ("validation/confusion matrix", "validation/surest mistakes"):
        assert [event.step for event in found.Images(tag)] == [1, 4]
    assert [event.step for event in found.Tensors("validation/happy")] == [1, 2, 3, 4]


@pytest.mark.parametrize(("share", "drawn"), [(math.inf, [1, 2, 3]), (0.0, [1, 3])])
def test_pictures_take_their_share_of_the_time_and_no_more(
    share: float, drawn: list[int], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "SHARE", share)
    monkeypatch.setattr(dashboard.Dashboard, "_improved", lambda *_: True)
    experiment(composed(*SMALL, "trainer.max_epochs=3"), tiny_folder, "run").run()
    found = EventAccumulator("run", size_guidance={"images": 0})
    found.Reload()
    assert [event.step for event in found.Images("validation/confusion matrix")] == drawn


def test_a_network_that_cannot_be_traced_has_no_graph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Untraceable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not to be traced")

    module = SimpleNamespace(network=Untraceable(), device=torch.device("cpu"))
    with SummaryWriter(str(tmp_path)) as writer:
        _add_graph(writer, cast(EmotionClassifier, module), 48)
    assert "shows no graph" in caplog.text


def test_scalars_of_both_splits_stand_at_the_same_steps(events: EventAccumulator) -> None:
    for name in ("loss", "acc"):
        train, val = (events.Scalars(f"{split}/{name}") for split in ("train", "val"))
        assert len(train) == len(val) == 2
        assert [event.step for event in train] == [event.step for event in val]
    assert {"lr", "images_per_s", "val/f1", "val_f1/happy", "val_f1/disgust"} <= set(events.Tags()["scalars"])


def test_the_layout_puts_training_and_validation_in_one_chart(events: EventAccumulator) -> None:
    content = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    layout = layout_pb2.Layout.FromString(content)
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert charts["accuracy"] == ["train/acc", "val/acc"]
    assert charts["loss"] == ["train/loss", "val/loss"]


def test_pictures_of_every_epoch(events: EventAccumulator) -> None:
    for tag in ("validation/confusion matrix", "validation/surest mistakes"):
        assert [event.step for event in events.Images(tag)] == [1, 2]
    (faces,) = events.Images("faces/raw and augmented")
    assert faces.width > 48 * 8
    assert faces.encoded_image_string.startswith(b"\x89PNG")


def test_precision_recall_curves_of_every_class(events: EventAccumulator) -> None:
    tags = set(events.summary_metadata)
    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert {f"validation/{name}" for name in classes} <= tags
    assert len(events.Tensors("validation/happy")) == 2


def test_the_class_counts_before_and_after_oversampling(events: EventAccumulator, tiny_faces: Faces) -> None:
    text = events.Tensors("data/training faces/text_summary")[0].tensor_proto.string_val[0].decode()
    before = " | ".join(map(str, tiny_faces.split("train").counts()))
    assert f"| before | {before} |" in text
    assert "| after |" in text


def test_the_graph_holds_the_convolutions(run: Path) -> None:
    # the graph lies in the first of the run's event files, which the accumulator's later files may hide
    graphs = []
    for path in sorted(run.glob("events.*")):
        accumulator = EventAccumulator(str(path))
        accumulator.Reload()
        if accumulator.Tags()["graph"]:
            graphs.append(accumulator.Graph())
    (graph,) = graphs
    assert sum(node.op == "aten::_convolution" for node in graph.node) == 9


def test_hparams_carry_the_final_figures(events: EventAccumulator, run: Path) -> None:
    start = plugin_data_pb2.HParamsPluginData.FromString(
        events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    )
    hparams = start.session_start_info.hparams
    assert hparams["model"].string_value == "cnn10"
    assert hparams["optim.lr"].number_value == pytest.approx(0.03)
    final = {tag for tag in events.Tags()["scalars"] if tag.startswith("final/")}
    assert {"final/train_acc", "final/val_acc", "final/test_acc", "final/val_loss"} <= final
    kept = yaml.safe_load((run / "hparams.yaml").read_text())
    assert (kept["model"], kept["optim.lr"]) == ("cnn10", 0.03)


def test_hparams_hold_what_the_command_line_told() -> None:
    kept: list[dict[str, Any]] = []
    logger = SimpleNamespace(
        log_hyperparams=lambda chosen, final, step: kept.append(chosen), log_dir=".", NAME_HPARAMS_FILE="none"
    )
    told = ["model.network.dropout=0.1", "+experiment=fast", "optim.lr=0.3", "data.root=/here", "~trainer.patience"]
    metrics = {"data": {"source": "FER2013"}, "epochs": 1, "overrides": told, "train": {}, "val": {}, "test": None}
    log_hparams(cast(TensorBoardLogger, logger), composed("optim.lr=0.3"), metrics)
    (chosen,) = kept
    assert (chosen["model.network.dropout"], chosen["experiment"], chosen["optim.lr"]) == ("0.1", "fast", 0.3)
    assert not {"data.root", "trainer.patience"} & set(chosen)
