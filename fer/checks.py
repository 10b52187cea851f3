"""Checks of a training's configuration beyond the types of its schema."""

from fer.config import TrainConfig, choose
from fer.errors import FerError

MONITORS = {"val/acc": "max", "val/f1": "max", "val/loss": "min"}
"""Figures that can choose the best epoch, and the direction in which each improves."""


def validate(config: TrainConfig) -> None:
    """Check the choices that the schema's types leave open.

    Raises:
        FerError: With the key and the choices.
    """
    choose(config.optim.optimizer, ("sgd", "adamw", "muon"), "optim.optimizer")
    choose(config.optim.schedule, ("cosine", "linear", "constant"), "optim.schedule")
    choose(config.optim.class_weights, ("none", "balanced"), "optim.class_weights")
    choose(config.trainer.monitor, tuple(MONITORS), "trainer.monitor")
    choose(config.trainer.precision, ("auto", "32-true", "bf16-mixed", "16-mixed"), "trainer.precision")
    if config.trainer.compile and config.model.network.get("remember"):
        raise FerError("trainer.compile: does nothing for a head on remembered features; leave one of the two out")
    if config.optim.mixup is not None and config.model.network.get("remember"):
        raise FerError("optim.mixup: makes every face a new one, which leaves nothing to remember; set it to null")
    epochs = config.trainer.max_epochs
    if epochs != "auto" and (type(epochs) is not int or epochs < 1):
        raise FerError(f"trainer.max_epochs: '{epochs}' is neither 'auto' nor a positive number")
    workers = config.data.num_workers
    if workers != "auto" and (type(workers) is not int or workers < 0):
        raise FerError(f"data.num_workers: '{workers}' is neither 'auto' nor a number")
    name = config.model.name  # runs' folders are named after it
    if not name.strip(". ") or set(name) & set("/\\"):
        raise FerError(f"model.name: '{name}' cannot be a folder's name; choose one without slashes")
    _check_numbers(config)


def _check_numbers(config: TrainConfig) -> None:
    """Check the numbers whose types allow more than makes sense."""
    ranges: dict[str, tuple[float | None, float, float]] = {
        "seed": (config.seed, 0, 2**32 - 1),  # the seeds that NumPy takes
        "data.batch_size": (config.data.batch_size, 2, float("inf")),  # batch norm needs two faces
        "optim.lr": (config.optim.lr, 0, float("inf")),
        "optim.weight_decay": (config.optim.weight_decay, 0, float("inf")),
        "optim.momentum": (config.optim.momentum, 0, 0.9999),  # at 1 no step would ever be forgotten
        "optim.warmup_epochs": (config.optim.warmup_epochs, 0, float("inf")),
        "optim.label_smoothing": (config.optim.label_smoothing, 0, 0.99),  # at 1 no label would be left
        "optim.mixup": (config.optim.mixup, 0.01, float("inf")),
        "optim.ema": (config.optim.ema, 0, 1),
        "distill.share": (config.distill.share, 0, 1),
        "trainer.gradient_clip": (config.trainer.gradient_clip, 1e-6, float("inf")),  # at 0 no gradient would be left
        "trainer.patience": (config.trainer.patience, 1, float("inf")),
    }
    for key, (value, low, high) in ranges.items():
        if value is not None and (not low <= value <= high or value == float("inf")):
            limit = f"of at least {low}" if high == float("inf") else f"from {low} to {high}"
            raise FerError(f"{key}: {value} is out of range; choose a number {limit}")
