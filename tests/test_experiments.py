"""Every experiment in `conf/experiment/` is a configuration that trains."""

import re

import pytest

from fer.build import build_model, build_transforms
from fer.checks import validate
from fer.models.preprocess import FaceModel
from tests.conftest import ROOT, composed

FOLDER = ROOT / "conf" / "experiment"
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


def models_of(name: str) -> list[str]:
    """Return the models that the command at the head of an experiment's file trains by it."""
    if name.startswith("ingredients/"):
        return ["cnn10"]
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    (models,) = re.findall(rf"^#   python train\.py .*experiment={name} model=([\w,]+)", text, re.MULTILINE)
    return list(models.split(","))


@pytest.mark.parametrize(("name", "model"), [(name, model) for name in NAMES for model in models_of(name)])
def test_an_experiment_can_be_built(name: str, model: str) -> None:
    config = composed(f"experiment={name}", f"model={model}", "model.weights=null")
    validate(config)
    build_transforms(config.data.augment)
    assert isinstance(build_model(config.model, num_classes=7), FaceModel)
    assert config.data.name in ("fer2013", "ferplus")


def test_recipes_keep_the_optimisers_that_they_were_measured_with() -> None:
    settings = {"muon": (0.1, "linear"), "sgd": (5e-4, "cosine"), "adamw": (0.05, "cosine")}
    for name, model in [(recipe, one) for recipe in NAMES for one in models_of(recipe)]:
        optim = composed(f"experiment={name}", f"model={model}").optim
        expected = "adamw" if model.startswith("mnv2") else "muon" if name in ("fast", "short_cpu") else "sgd"
        assert (optim.optimizer, optim.weight_decay, optim.schedule) == (expected, *settings[expected]), name


@pytest.mark.parametrize("name", NAMES)
def test_what_an_experiment_builds_on_comes_with_the_program(name: str) -> None:
    config = composed(f"experiment={name}")
    for path in (config.model.start, *config.distill.teachers):
        named = path == "logs/mnv2/your_run" and name == "finetuned_gpu"  # what only its user can have
        assert path is None or named or (ROOT / path).is_file()


def test_the_five_models_are_what_they_are_called() -> None:
    models = {name: composed(f"model={name}") for name in ("cnn10", "cnn12", "cnn16", "mnv2", "mnv2_ft")}
    assert [models[name].model.network["depth"] for name in ("cnn10", "cnn12", "cnn16")] == [10, 12, 16]
    assert [models[name].model.network["trainable_layers"] for name in ("mnv2", "mnv2_ft")] == [0, 30]
    assert {name: config.optim.optimizer for name, config in models.items() if config.optim.optimizer != "muon"} == {
        "mnv2": "adamw",
        "mnv2_ft": "adamw",
    }
    assert composed("model=mnv2", "optim.lr=0.5", "optim.optimizer=sgd").optim.lr == 0.5


def test_the_readme_tells_the_epochs_of_each_recipe() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) \|", text, re.MULTILINE)
    assert {name for name, _ in rows} == {name for name in NAMES if "/" not in name and name != "short_cpu"}
    for name, epochs in rows:
        assert composed(f"experiment={name}").trainer.max_epochs == int(epochs), name


def test_a_custom_cnn_sees_pictures_as_large_as_they_are_read() -> None:
    assert composed("model=cnn16", "data.size=96").model.input.size == 96
    assert composed("model=mnv2", "data.size=96").model.input.size == 128  # its backbone knows pictures of its own size


def test_the_ingredients_take_equally_many_steps() -> None:
    faces = {True: 38358, False: 28709}  # of FER2013, with and without its oversampled copies
    steps = []
    for name in (name for name in NAMES if name.startswith("ingredients/")):
        config = composed(f"experiment={name}")
        steps.append(config.trainer.max_epochs * (faces[config.data.oversample.enabled] // config.data.batch_size))
    assert len(steps) == 6
    assert max(steps) - min(steps) < 0.01 * max(steps)
