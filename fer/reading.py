"""Read the data that a training's configuration names, and record in it what they turned out to be."""

from pathlib import Path

from fer.build import build_transforms
from fer.config import TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.data.sources import find_fer2013


def open_data(config: TrainConfig) -> FaceDataModule:
    """Read the faces that a configuration names, and record in it what they turned out to be."""
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    data.read()
    # a later evaluation or resume must find these files, whatever "auto" or a relative path would find by then
    root = find_fer2013(config.data.root) if config.data.name in ("auto", "fer2013", "ferplus") else config.data.root
    config.data.votes, config.data.index = _resolved(config.data.votes), _resolved(config.data.index)
    config.data.exclude = _resolved(config.data.exclude)
    config.model.start = _resolved(config.model.start)
    if config.model.weights is not None and Path(config.model.weights).expanduser().is_file():
        config.model.weights = _resolved(config.model.weights)
        if "weights" in config.model.network:
            config.model.network["weights"] = config.model.weights
    teachers = [_resolved(path) for path in config.distill.teachers]
    config.distill.teacher = teachers if len(teachers) > 1 else teachers[0] if teachers else None
    if config.data.name == "huggingface" and not Path(str(root)).expanduser().exists():
        return data  # its name on the hub is not a path
    if config.data.name != "huggingface":
        config.data.name = data.source
    config.data.root = _resolved(root)
    return data


def _resolved(path: Path | str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().resolve())
