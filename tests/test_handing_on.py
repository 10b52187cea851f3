"""What a network of one's own meets where runs are handed on: in files of weights, and as a teacher."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fer.build import build_model
from fer.checkpoint import Trained
from fer.distill import Teacher
from fer.errors import FerError
from fer.files import sha256
from fer.labels import EMOTIONS
from fer.models.cnn import CNN
from fer.models.preprocess import FaceModel, Preprocess
from fer.weights import KEY, TrainedRun, halved, open_run, save_weights, warn_of_other_data
from tests.conftest import Sweep, composed, refused, run_of
from tests.conftest import call as called


class Shared(nn.Module):
    """Two layers that share a buffer of whole numbers, and an infinite one."""

    def __init__(self, num_classes: int, in_channels: int, act: nn.Module | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(48 * 48 * in_channels, num_classes)
        self.act = act or nn.Identity()
        positions = torch.arange(5)
        self.head.register_buffer("positions", positions)
        self.act.register_buffer("positions", positions)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.act(self.head(faces.flatten(1)))
        return logits


def factory(num_classes: int, in_channels: int) -> nn.Module:
    """Return a network, without being a class."""
    return Shared(num_classes, in_channels)


class Unused(nn.Module):
    """Has nothing to train: its layers are in a list that PyTorch does not know."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.layers = [nn.Linear(48 * 48 * in_channels, num_classes)]

    def forward(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.layers[0](faces.flatten(1))
        return logits


@pytest.fixture
def own(tiny_folder: Path) -> tuple[str, ...]:
    """A training of a network of one's own."""
    where = (f"data.root={tiny_folder}", "data.batch_size=64", "trainer.max_epochs=1", "trainer.progress_bar=false")
    return ("model=custom", "model.input.size=48", "model.input.channels=1", *where)


def trained(*arguments: str) -> Path:
    told = called("train.py", *arguments)
    assert told.status == 0, told.err
    (folder,) = Path("logs/custom").iterdir()
    return folder


@pytest.mark.usefixtures("no_dashboard")
def test_buffers_that_are_shared_or_infinite_are_handed_on(own: tuple[str, ...]) -> None:
    run = open_run(trained(*own, "model.network._target_=tests.test_handing_on.Shared"))
    save_weights(halved(run), Path("own.safetensors"), {})
    state = open_run(Path("own.safetensors")).trained.model.state_dict()
    assert state["network.mask"].tolist() == [0.0, -torch.inf]
    assert state["network.act.positions"].tolist() == list(range(5))


@pytest.mark.usefixtures("no_dashboard")
@pytest.mark.parametrize(
    ("network", "said"),
    [
        (("model.network._target_=tests.test_handing_on.factory",), "factory is no class of networks"),
        (
            (
                "model.network._target_=tests.test_handing_on.Shared",
                "+model.network.act._target_=torch.nn.GELU",
            ),
            "an argument of tests.test_handing_on.Shared is itself something to be built",
        ),
    ],
)
def test_what_no_file_of_weights_can_hold_is_not_written(
    network: tuple[str, ...], said: str, own: tuple[str, ...]
) -> None:
    folder = trained(*own, *network)
    refused(called("fer/export.py", f"run={folder}", "file=own.safetensors"), said, "hand on the run's folder")
    assert not Path("own.safetensors").exists()


def test_half_precision_must_hold_every_number(tiny_sweep: Sweep) -> None:
    run = open_run(run_of(tiny_sweep, "cnn10"))
    with torch.no_grad():
        next(run.trained.model.parameters()).fill_(1e6)
    with pytest.raises(FerError, match="half precision cannot hold"):
        halved(run)


def test_a_network_without_parameters_is_told_of(own: tuple[str, ...]) -> None:
    told = called("train.py", *own, "model.network._target_=tests.test_handing_on.Unused")
    refused(told, "model.network: it has no parameter to train")


def test_only_this_packages_batch_norms_are_folded_in_a_teacher() -> None:
    preprocess = Preprocess(48, 1, [0.5], [0.25])
    conv = parametrizations.weight_norm(nn.Conv2d(1, 8, 3))
    plain = nn.Sequential(nn.Sequential(conv, nn.BatchNorm2d(8)), nn.Flatten(), nn.LazyLinear(7))
    plain(torch.zeros(2, 1, 48, 48))
    faces = torch.randint(256, (4, 1, 48, 48), dtype=torch.uint8)
    own = FaceModel(preprocess, plain.eval(), channels_last=False)
    ours = build_model(composed("model=cnn10", "model.network.width=0.25").model, 7).eval()
    assert isinstance(ours.network, CNN)
    for model, folded in ((own, False), (ours, True)):
        with torch.no_grad():
            before = model(faces).softmax(1)
        teacher = Teacher([model], 0.7, {})
        assert torch.allclose(teacher.opinion(faces), before, atol=1e-5)
        assert folded != any(isinstance(layer, nn.BatchNorm2d) for layer in model.network.modules())


def test_a_file_of_weights_names_no_place_and_asks_for_no_device(tiny_sweep: Sweep) -> None:
    run, here = open_run(run_of(tiny_sweep, "cnn10")), "/home/somebody"
    config = replace(
        run.config,
        data=replace(
            run.config.data,
            root=f"{here}/faces",
            cache_dir=f"{here}/cache",
            exclude=f"{here}/list.csv",
            votes=f"{here}/votes.csv",
            index=f"{here}/index.csv",
            oversample=replace(run.config.data.oversample, folder=f"{here}/copies"),
        ),
        model=replace(run.config.model, weights=f"{here}/weights.pt", start=f"{here}/start"),
        distill=replace(run.config.distill, teacher=[f"{here}/one", f"{here}/two"]),
        trainer=replace(run.config.trainer, precision="bf16-mixed", accelerator="gpu", devices=4),
        logs=f"{here}/logs",
        resume=f"{here}/run",
    )
    record = {**run.record, "command": f"train.py data.root={here}", "overrides": [f"data.root={here}"]}
    run = run._replace(config=config, record=record)
    save_weights(halved(run), Path("handed.safetensors"), {})
    with safe_open("handed.safetensors", "pt") as file:
        assert here not in file.metadata()[KEY]
    handed = open_run(Path("handed.safetensors")).config
    assert handed.trainer == replace(config.trainer, precision="32-true", accelerator="auto", devices=1)
    network = {**config.model.network, "weights": f"{here}/weights.pt"}  # as a MobileNetV2 has
    run = run._replace(config=replace(config, model=replace(config.model, network=network)))
    assert halved(run).config.model.network["weights"] is None


def test_what_a_network_left_out_of_its_training_is_known_wherever_it_is_kept(
    tiny_sweep: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "older")
    Path("older/exclude.csv").write_text("picture,reason\ntrain/happy/a.png,blank\n")
    excluded = sha256(Path("older/exclude.csv"))
    older = open_run(Path("older"))  # of a version that kept a copy of the list alone
    learned = older.record["data"]
    assert learned["exclude"] is None
    run = older._replace(record={**older.record, "data": {**learned, "exclude": excluded}})
    save_weights(halved(run), Path("handed.safetensors"), {})
    handed = open_run(Path("handed.safetensors"))
    assert handed.record["data"]["learned"] == learned["learned"]

    def told(run: TrainedRun, exclude: str | None) -> bool:
        caplog.clear()
        warn_of_other_data("model.start", run, {"digest": learned["digest"], "exclude": exclude})
        return "did not leave out what data.exclude names" in caplog.text

    assert [told(handed, exclude) for exclude in (None, excluded, "another")] == [False, False, True]
    assert [told(older, exclude) for exclude in (None, excluded, "another")] == [False, False, True]


LINEAR = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes, in_channels):
        super().__init__(nn.Flatten(), nn.Linear(48 * 48 * in_channels, num_classes))
"""


def test_a_file_of_weights_knows_the_code_of_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = tmp_path / "handed_net.py"
    code.write_text(LINEAR)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ("model=custom", "model.network._target_=handed_net.Net", "model.input.size=48", "model.input.channels=1")
    config = composed(*options)
    trained = Trained(build_model(config.model, 7).eval(), "custom", EMOTIONS, 1)
    record = {"network": {"file": code.name, "sha256": sha256(code)}}
    save_weights(halved(TrainedRun(config, trained, record, [], Path(), Path())), Path("own.safetensors"), {})
    open_run(Path("own.safetensors"))
    assert "has changed" not in caplog.text
    code.write_text(LINEAR + "# edited\n")
    open_run(Path("own.safetensors"))
    assert "handed_net.py has changed since this was trained" in caplog.text
