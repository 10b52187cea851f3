"""The figures of every epoch, in a CSV and in the checkpoint."""

import csv
import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from fer.files import csv_text, write_whole

log = logging.getLogger(__name__)

Row = dict[str, float]


class History(Checkpoint):
    """Keeps one row of metrics per epoch and writes them to `metrics.csv`.

    It is a checkpoint callback so that Lightning runs it after the module's own epoch end, and before saving the
    checkpoints that contain its rows: a resumed run goes on with those, whatever the CSV says.

    Args:
        path: The CSV to write.

    Attributes:
        rows: Metrics by name for each epoch, with "epoch" (from 1) and "seconds" since the start of training.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._started = time.perf_counter()
        self._seconds_before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows as plain values."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a checkpoint's rows."""
        self.rows = list(state_dict["rows"])
        self._seconds_before = state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._seconds_before + time.perf_counter() - self._started

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch's row."""
        row: Row = {"epoch": trainer.current_epoch + 1, "seconds": round(self.seconds, 2)}
        row.update({name: float(value) for name, value in sorted(trainer.callback_metrics.items())})
        self.rows.append(row)
        if trainer.is_global_zero:
            try:
                write_rows(self.rows, self.path)
            except OSError as error:  # Windows: a table that is open in Excel; the next epoch writes all rows again
                log.warning("'%s' cannot be written (%s).", self.path, error.strerror)


def write_rows(rows: list[Row], path: Path) -> None:
    """Write rows to a CSV whose columns are all the names that occur."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_whole(path, csv_text(rows, names))


def read_rows(path: Path) -> list[Row]:
    """Read what `write_rows` wrote; a figure that an epoch lacks is left out of its row.

    Raises:
        ValueError: If it holds something else.
    """
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    if any(None in row or not row.get("epoch") for row in table):
        raise ValueError("a row has no epoch, or more cells than the table has columns")
    return [{name: float(value) for name, value in row.items() if value} for row in table]
