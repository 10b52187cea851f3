"""A model in one file, as the README shows it."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fer.build import build_transforms
from fer.config import TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.errors import FerError
from fer.experiment import Experiment
from fer.naming import run_key
from fer.optimizers import grouped
from fer.own_network import own_source
from fer.runs import git_commit, write_json
from fer.weights import open_run
from tests.conftest import ROOT, composed


def readme_example() -> str:
    text = (ROOT / "README.md").read_text()
    return text.split("```python\n# my_net.py\n")[1].split("```")[0]


def custom(network: str, root: Path, *more: str) -> TrainConfig:
    """Return the configuration of an epoch with a network of one's own."""
    where = ("data=folder", f"data.root={root}", "trainer.max_epochs=1", "trainer.progress_bar=false")
    return composed("model=custom", f"model.network._target_={network}", *where, *more)


class Deaf(nn.Module):
    """Does not ask how many classes there are."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(48 * 48, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(x.flatten(1))
        return logits


class Choosy(Deaf):
    """Takes pictures of another size, and says so in its own way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError(f"224 pixels, not {x.shape[-1]}")


class Talkative(Deaf):
    """Returns more than logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x), x  # type: ignore[return-value]


class Lazy(Deaf):
    """Has no weights before it sees its first picture."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels)
        self.head = nn.LazyConv2d(num_classes, 48)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Deaf, r"\.network: returns \(1, 3\).*not logits"),
        (Talkative, r"\.network: returns a tuple"),
        (Lazy, r"\.network: .*no weights yet"),
        (Choosy, r": the network fails on a face \(224 pixels, not 48\)"),
    ],
)
def test_a_network_that_is_none_is_told_of(network: type[nn.Module], reason: str, tiny_folder: Path) -> None:
    target = f"tests.test_custom_model.{network.__name__}"
    config = custom(target, tiny_folder)
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    with pytest.raises(FerError, match=f"model{reason}"):
        Experiment(config, data, Path("run"))


class Auxiliary(Deaf):
    """Has a second head, in training alone."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels)
        self.head = nn.Linear(48 * 48, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits  # type: ignore[return-value]


def test_a_network_that_returns_more_in_training_is_told_of(tiny_folder: Path, no_dashboard: None) -> None:
    config = custom("tests.test_custom_model.Auxiliary", tiny_folder)
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    with pytest.raises(FerError, match=r"model\.network: returns a tuple in training, not logits"):
        Experiment(config, data, Path("run")).run()


def test_the_readme_example_trains_and_loads_again(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_net.py").write_text(readme_example())
    monkeypatch.syspath_prepend(str(tmp_path))
    config = custom("my_net.MyNet", tiny_folder, "+model.network.width=8", "data.batch_size=32")
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    metrics = Experiment(config, data, Path("run")).run()
    assert metrics["model"] == "custom"
    trained = open_run(Path("run")).trained
    faces = torch.from_numpy(data.faces["val"].images[:, None])
    predicted = trained.model(faces).argmax(1)
    assert predicted.shape == (len(faces),)
    assert float((predicted == torch.from_numpy(data.faces["val"].labels)).float().mean()) == pytest.approx(
        metrics["val"]["acc"], abs=0.05
    )


def test_a_run_is_named_by_its_network_s_file_and_not_resumed_with_another(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own_net.py"
    file.write_text(readme_example())
    monkeypatch.syspath_prepend(str(tmp_path))
    config = custom("own_net.MyNet", tiny_folder)
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    Experiment(config, data, Path("run")).run()
    recorded = json.loads(Path("run/environment.json").read_text())["network"]
    assert recorded == {"file": "own_net.py", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    key = run_key(config, data.digest)
    assert key == run_key(config, data.digest)
    file.write_text(readme_example() + "# edited\n")
    assert key != run_key(config, data.digest)
    with pytest.raises(FerError, match=r"model\.network: own_net\.py has changed since this run began"):
        Experiment(config, data, Path("run"), resume=True).run()
    record = Path("run/environment.json")
    write_json(record, {key: value for key, value in json.loads(record.read_text()).items() if key != "network"})
    Experiment(config, data, Path("run"), resume=True).run()  # of a version that did not record the file


def test_networks_of_packages_have_no_file_of_their_own() -> None:
    for target in ("fer.models.cnn.CNN", "torchvision.models.resnet18", "torch.nn.Linear", "no.such.thing"):
        assert own_source({"_target_": target}) is None


def test_a_network_beside_the_commands_is_a_change_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        told = ["git", "-c", "user.name=me", "-c", "user.email=me", "-C", str(tmp_path), *arguments]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    for name in ("fer/runs.py", "conf/train.yaml", "train.py", "docs/notes.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    monkeypatch.setattr("fer.runs.__file__", str(tmp_path / "fer/runs.py"))
    commit = git("rev-parse", "HEAD")
    (tmp_path / "docs/notes.py").write_text("# no part of it")
    (tmp_path / "README.md").touch()
    assert git_commit() == commit
    (tmp_path / "my_net.py").touch()
    assert git_commit() == f"{commit}+changes"


AUGMENTATION = """
import albumentations as A

class Darker(A.ImageOnlyTransform):
    def apply(self, img, **params):
        return img // 2
"""


def test_files_of_own_transforms_and_networks_count_like_the_configuration(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transform, network = tmp_path / "own_aug.py", tmp_path / "own_net2.py"
    transform.write_text(AUGMENTATION)
    network.write_text(readme_example())
    monkeypatch.syspath_prepend(str(tmp_path))
    config = custom(
        "own_net2.MyNet",
        tiny_folder,
        "+data.augment.transforms.own._target_=albumentations.OneOf",
        "+data.augment.transforms.own.transforms=[{_target_: own_aug.Darker}]",
    )
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    Experiment(config, data, Path("run")).run()
    recorded = json.loads(Path("run/environment.json").read_text())["transforms"]
    assert recorded == {
        "own.transforms.0": {"file": "own_aug.py", "sha256": hashlib.sha256(transform.read_bytes()).hexdigest()}
    }
    key = run_key(config, data.digest)
    assert key == run_key(config, data.digest)
    open_run(Path("run"))
    assert "has changed" not in caplog.text
    transform.write_text(AUGMENTATION + "# edited\n")
    assert key != run_key(config, data.digest)
    with pytest.raises(FerError, match=r"transforms\.own\.transforms\.0: own_aug\.py has changed since this run"):
        Experiment(config, data, Path("run"), resume=True).run()
    network.write_text(readme_example() + "# edited\n")
    open_run(Path("run"))
    assert "own_net2.py has changed since this was trained" in caplog.text


class Partly(nn.Module):
    """A network whose groups of parameters leave one out."""

    def __init__(self, groups: str) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, 7)
        self.groups = groups

    def parameter_groups(self) -> Iterator[tuple[float, Any]]:
        yield 1.0, self.head.parameters()
        if self.groups == "twice":
            yield 0.5, self.parameters()
        if self.groups == "named":
            yield 0.5, self.features.named_parameters()


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("left out", r"give features\.weight 0 times, not once"),
        ("twice", r"give head\.weight 2 times, not once"),
        ("named", "pairs of a share and a list of parameters"),
    ],
)
def test_every_parameter_is_in_one_group(groups: str, said: str) -> None:
    with pytest.raises(FerError, match=said):
        grouped(Partly(groups), composed("model=cnn10").optim)
    with pytest.raises(FerError, match="it has no parameter to train"):
        grouped(nn.Flatten(), composed("model=cnn10").optim)
