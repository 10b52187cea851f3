"""The configuration's schema: every key, its type and what it means. Unknown keys are errors."""

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer.errors import FerError


@dataclass
class OversampleConfig:
    """Offline oversampling of the training split into a folder; see `fer.data.balance`."""

    enabled: bool = True
    classes: Any = "???"  # emotion names, or "auto": every class below the mean
    target: Any = "majority"  # "majority", a number of pictures, or a factor with a decimal point
    rotation: float = 20.0
    shift: float = 0.1
    zoom: float = 0.1
    flip: bool = True
    seed: int = 0  # apart from the run's, so that runs of several seeds share one folder
    folder: str = "fer_aug_dataset"


@dataclass
class AugmentConfig:
    """Online albumentations in training; see `fer.data.augment`."""

    classes: Any = "???"  # emotion names, "all" or "none"
    transforms: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """Where the faces come from and how they become batches."""

    name: str = "???"  # auto, fer2013, sample or folder
    root: str | None = None
    download: bool = False
    size: int = 48
    val_fraction: float = 0.1
    cache_dir: str | None = None
    batch_size: int = 128
    num_workers: Any = "auto"
    oversample: OversampleConfig = field(default_factory=OversampleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass
class InputConfig:
    """What the network expects of a picture; see `fer.models.preprocess.Preprocess`."""

    size: int = 48
    channels: int = 1
    mean: list[float] = field(default_factory=lambda: [0.5074])
    std: list[float] = field(default_factory=lambda: [0.2552])


@dataclass
class ModelConfig:
    """A network by its import path, with its arguments."""

    name: str = "???"
    network: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    input: InputConfig = field(default_factory=InputConfig)


@dataclass
class OptimConfig:
    """Loss, optimiser and learning rate schedule; see `fer.classifier`."""

    optimizer: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    class_weights: str = "none"


@dataclass
class TrainerConfig:
    """How long and on what it trains; see `fer.experiment`."""

    max_epochs: Any = "auto"
    accelerator: str = "auto"
    devices: Any = "auto"
    precision: str = "auto"
    gradient_clip: float | None = 5.0
    patience: int | None = None
    monitor: str = "val/acc"
    channels_last: bool = True
    compile: bool = False
    progress_bar: bool = True


@dataclass
class TrainConfig:
    """Everything `train.py` takes."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0
    logs: str = "logs"
    resume: str | None = None


@dataclass
class EvaluateConfig:
    """Everything `evaluate.py` takes."""

    run: str = "???"
    split: str = "test"
    data_root: str | None = None
    accelerator: str = "auto"


Schema = TypeVar("Schema", TrainConfig, EvaluateConfig)


def checked(config: DictConfig, schema: type[Schema]) -> Schema:
    """Return the configuration as typed objects.

    Raises:
        FerError: If a key is unknown, missing, or of another type than the schema's.
    """
    try:
        return cast(Schema, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config)))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise FerError(f"configuration key '{getattr(error, 'full_key', None) or '?'}': {reason}") from error


def choose(value: str, allowed: tuple[str, ...], key: str) -> str:
    """Return `value` where it is allowed, else raise a FerError that names the key and the choices."""
    if value not in allowed:
        raise FerError(f"{key}: '{value}' is unknown; choose one of {', '.join(allowed)}")
    return value
