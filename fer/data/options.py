"""What changes how a source is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fer.config import DataConfig, choose
from fer.errors import FerError

SIZES = range(8, 257)


@dataclass(frozen=True)
class ReadOptions:
    """How any source is read; the same options and files give the same faces.

    Attributes:
        size: Height and width of the faces; pictures of another size are resized.
        val_fraction: The part of the pictures that becomes validation (and, where a source names no splits at
            all, also the part that becomes the test).
        split_seed: Seed for the splits that a source does not bring.
        extra_classes: What to do with classes other than the seven: "error", "drop" or "keep".
        class_map: Names of classes, each with the name of the class that it means.
        on_error: What to do when a picture or row cannot be read: "stop" or "skip".

    Raises:
        FerError: If a value is out of range.
    """

    size: int = 48
    val_fraction: float = 0.1
    split_seed: int = 0
    extra_classes: str = "error"
    class_map: Mapping[str, str] = field(default_factory=dict)
    on_error: str = "stop"

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise FerError(f"data.size: {self.size} is out of range; choose one from {SIZES.start} to {SIZES.stop - 1}")
        if not 0 < self.val_fraction < 1:
            raise FerError(f"data.val_fraction: {self.val_fraction} is out of range; choose one between 0 and 1")
        if not 0 <= self.split_seed < 2**32:
            raise FerError(f"data.split_seed: {self.split_seed} is out of range; choose a number from 0 to {2**32 - 1}")
        choose(self.extra_classes, ("error", "drop", "keep"), "data.extra_classes")
        choose(self.on_error, ("stop", "skip"), "data.on_error")

    @classmethod
    def of(cls, config: DataConfig) -> "ReadOptions":
        """Return the options of a configuration's data section."""
        return cls(
            size=config.size,
            val_fraction=config.val_fraction,
            split_seed=config.split_seed,
            extra_classes=config.extra_classes,
            class_map={str(key): value for key, value in (config.class_map or {}).items()},
            on_error=config.on_error,
        )

    @property
    def skip(self) -> bool:
        """Whether a picture or row that cannot be read is left out."""
        return self.on_error == "skip"
