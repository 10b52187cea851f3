"""Every experiment in `conf/experiment/` is a configuration that trains."""

import pytest

from fer.build import build_transforms
from fer.checks import validate
from tests.conftest import ROOT, composed

FOLDER = ROOT / "conf" / "experiment"
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_sound(name: str) -> None:
    config = composed(f"experiment={name}", "model=cnn10", "model.start=run")
    validate(config)
    transforms = build_transforms(config.data.augment)
    assert len(transforms) == sum(value is not None for value in config.data.augment.transforms.values())
    assert config.data.name in ("fer2013", "ferplus")


@pytest.mark.parametrize("name", NAMES)
def test_what_an_experiment_builds_on_comes_with_the_program(name: str) -> None:
    config = composed(f"experiment={name}")
    for path in (config.model.start, *config.distill.teachers):
        named = path == "logs/mnv2/your_run" and name == "finetuned_gpu"  # what only its user can have
        assert path is None or named or (ROOT / path).is_file()


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
