"""The configuration's schema: every key and its type; `conf/` says what each means. Unknown keys are errors.

The defaults here fill in for keys that are newer than the configuration of a run.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer.errors import FerError
from fer.misconfigured import explained


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
    seed: int = 0  # separate from the run's, so that runs of several seeds share one folder
    folder: str = "fer_aug_dataset"


@dataclass
class AugmentConfig:
    """Online albumentations in training; see `fer.data.augment`."""

    classes: Any = "???"  # emotion names, "all" or "none"
    transforms: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """Where the faces come from and how they become batches."""

    name: str = "???"  # auto, fer2013, ferplus, sample, folder or huggingface
    root: str | None = None
    download: bool = False
    size: int = 48
    val_fraction: float = 0.1
    split_seed: int = 0
    extra_classes: str = "error"
    class_map: dict[Any, str] | None = None  # a class that is named by a digit is a number here
    on_error: str = "stop"
    cache_dir: str | None = None
    exclude: str | None = None
    batch_size: int = 128
    num_workers: Any = "auto"
    oversample: OversampleConfig = field(default_factory=OversampleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    # only for data=ferplus, see `fer.data.ferplus`
    votes: str | None = None
    index: str | None = None
    contempt: bool = True
    target: str = "majority"
    filters: list[str] = field(default_factory=lambda: ["blank", "outliers", "unknown", "leading", "majority"])


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
    start: str | None = None  # a trained network to start from, see `fer.start`
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
    mixup: float | None = None
    class_weights: str = "none"
    ema: float | None = None


@dataclass
class DistillConfig:
    """Trained networks to learn from; see `fer.distill`."""

    teacher: Any = None  # the folder of a run or a file of weights, or a list of several
    share: float = 0.7

    @property
    def teachers(self) -> list[str]:
        """The paths, however many.

        Raises:
            FerError: If there is anything but paths.
        """
        if self.teacher is None:
            return []
        paths = self.teacher if isinstance(self.teacher, list) else [self.teacher]
        if not all(isinstance(path, str) for path in paths):
            raise FerError(f"distill.teacher: '{self.teacher}' is no path and no list of paths; write [one,another]")
        return paths


@dataclass
class TrainerConfig:
    """How long and on what it trains; see `fer.experiment`."""

    max_epochs: Any = "auto"
    accelerator: str = "auto"
    devices: Any = 1
    precision: str = "auto"
    gradient_clip: float | None = 5.0
    patience: int | None = None
    monitor: str = "val/acc"
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = True
    test: bool = True
    progress_bar: bool = True


@dataclass
class TrainConfig:
    """Everything `train.py` takes."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0
    logs: str = "logs"
    resume: str | None = None


@dataclass
class EvaluateConfig:
    """Everything `evaluate.py` takes."""

    run: Any = "???"  # a path or several
    split: str = "test"
    ensemble: bool = False
    data: DataConfig | None = None
    others: Any = field(default_factory=list)  # paths of other data sets
    data_root: str | None = None
    accelerator: str = "auto"
    faces: bool = True


@dataclass
class ExportConfig:
    """Everything `python -m fer.export` takes."""

    run: str = "???"
    file: str = "???"
    data_root: str | None = None
    accelerator: str = "auto"


@dataclass
class PredictConfig:
    """Everything `python -m fer.predict` takes."""

    run: Any = "???"  # a path or several
    pictures: str = "???"
    file: str = "???"
    views: str = "ten"
    accelerator: str = "auto"


@dataclass
class AuditConfig:
    """Everything `python -m fer.audit` takes."""

    data: DataConfig = field(default_factory=DataConfig)
    folder: str = "audit"
    threshold: int = 4
    labels: bool = True
    exclude: Any = "???"  # kinds of findings
    votes: str | None = None
    index: str | None = None
    seed: int = 0


Schema = TypeVar("Schema", TrainConfig, EvaluateConfig, ExportConfig, PredictConfig, AuditConfig)


def checked(config: DictConfig, schema: type[Schema]) -> Schema:
    """Return the configuration as typed objects.

    Raises:
        FerError: If a key is unknown, missing, or of another type than the schema's.
    """
    try:
        return cast(Schema, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config)))
    except OmegaConfBaseException as error:
        raise explained(error, schema) from error


def choose(value: str, allowed: tuple[str, ...], key: str) -> str:
    """Return `value` where it is allowed, else raise a FerError that names the key and the choices."""
    if value not in allowed:
        raise FerError(f"{key}: '{value}' is unknown; choose one of {', '.join(allowed)}")
    return value
