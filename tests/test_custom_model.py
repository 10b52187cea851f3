"""A model in one file, as the README shows it."""

from pathlib import Path

import pytest
import torch

from fer.build import build_transforms
from fer.data.datamodule import FaceDataModule
from fer.experiment import Experiment
from fer.weights import open_run
from tests.conftest import ROOT, composed


def readme_example() -> str:
    text = (ROOT / "README.md").read_text()
    return text.split("```python\n# my_net.py\n")[1].split("```")[0]


def test_the_readme_example_trains_and_loads_again(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_net.py").write_text(readme_example())
    monkeypatch.syspath_prepend(str(tmp_path))
    config = composed(
        "model=custom",
        "model.network._target_=my_net.MyNet",
        "+model.network.width=8",
        "data=folder",
        f"data.root={tiny_folder}",
        "data.batch_size=32",
        "trainer.max_epochs=1",
        "trainer.progress_bar=false",
    )
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
