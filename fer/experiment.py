"""Train one configuration: everything between the command and the folder it leaves behind."""

import logging
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich import get_console

from fer.build import balanced_weights, build_model_for, multiply_adds, plain_model, rebuild_model
from fer.callbacks.average import ExponentialAverage
from fer.callbacks.checkpoint import RunCheckpoint, WholeCheckpoints
from fer.callbacks.dashboard import Dashboard, log_hparams
from fer.callbacks.history import History
from fer.callbacks.progress import EpochLines, Throughput, TrainingBar
from fer.callbacks.stop import CleanStop, Patience
from fer.checkpoint import read_checkpoint
from fer.checks import MONITORS, validate
from fer.classifier import EmotionClassifier
from fer.cluster import launcher
from fer.config import TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.device import auto_precision, missed_gpu, root_device
from fer.distill import open_teacher
from fer.errors import FerError, first_line, one_line
from fer.figures import curves, png_bytes
from fer.files import write_whole
from fer.record import weights_loaded, write_record
from fer.runs import make_folder, write_json
from fer.start import start_from

log = logging.getLogger(__name__)

COMPILERS = ("torch._dynamo", "torch._inductor")
"""The modules whose errors say that a network cannot be compiled."""

MISSED_GPU = (
    "There is an NVIDIA GPU here, but this PyTorch is built for CPUs alone, so the training goes on without it; "
    "pytorch.org/get-started names the command that installs the other."
)


class InterruptedRunError(FerError):
    """The user stopped the run.

    Args:
        folder: The run's.
        kept: Whether there is a checkpoint to go on with.
    """

    def __init__(self, folder: Path, kept: bool) -> None:
        done = f"Everything so far lies in {folder}" if kept else f"Nothing could be kept yet in {folder}"
        super().__init__(f"Stopped. {done}")
        self.folder = folder
        self.kept = kept


class Experiment:
    """One training, from its configuration to its folder.

    Args:
        config: The configuration.
        data: The faces, already read.
        folder: Where everything goes.
        resume: Go on with `last.ckpt` in that folder.
    """

    def __init__(self, config: TrainConfig, data: FaceDataModule, folder: Path, resume: bool = False) -> None:
        validate(config)
        self.config = config
        self.data = data
        self.folder = folder
        self.resume = resume
        if config.trainer.max_epochs == "auto":
            config.trainer.max_epochs = 10 if data.source == "sample" else 20
        L.seed_everything(config.seed, verbose=False)
        data.setup()
        self.history = History(folder / "metrics.csv")
        self.throughput = Throughput()
        self.stop = CleanStop()
        self.best_epoch = 0  # known when the training is done
        self.best = self._checkpoint("best", monitor=config.trainer.monitor, mode=MONITORS[config.trainer.monitor])
        self.classifier = self._classifier()
        make_folder(folder)
        self.logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
        self.trainer = self._trainer()

    def _classifier(self) -> EmotionClassifier:
        config, classes = self.config, self.data.all_faces.classes
        channels_last = config.trainer.channels_last
        if self.resume:  # with its own weights: those that it began with may no longer exist
            model = rebuild_model(plain_model(config.model, len(classes), channels_last))
        else:
            model = build_model_for(config.model, len(classes), channels_last, self.data.source)
        start = None if self.resume else config.model.start
        self.start = None if start is None else start_from(start, model, classes, self.data.record)
        self.multiply_adds = multiply_adds(model, config.data.size, len(classes))
        model.remember()
        if config.trainer.compile:
            model.network.compile()
        return EmotionClassifier(
            model,
            config.optim,
            classes,
            class_weights=balanced_weights(self.data.counts["after"])
            if config.optim.class_weights == "balanced"
            else None,
            model_config=plain_model(config.model, len(classes), channels_last),
            seed=config.seed,
            teacher=open_teacher(config.distill, classes, self.data.record),
            replay=config.trainer.cuda_graphs and not config.trainer.compile,
        )

    def _checkpoint(self, name: str, **options: Any) -> RunCheckpoint:
        return RunCheckpoint(self.folder, name, save_on_train_epoch_end=True, enable_version_counter=False, **options)

    def _trainer(self) -> L.Trainer:
        config = self.config.trainer
        callbacks: list[Callback] = [
            self.throughput,
            self.stop,
            Dashboard(self.data, self.best),
            self.history,
            self.best,
            self._checkpoint("last", save_on_exception=True),
        ]
        if self.config.optim.ema is not None:
            callbacks.append(ExponentialAverage(self.config.optim.ema))
        if config.patience is not None:
            callbacks.append(Patience(config.monitor, patience=config.patience, mode=MONITORS[config.monitor]))
        if config.progress_bar:
            terminal = get_console()
            drawn = terminal.is_terminal or terminal.is_jupyter
            callbacks.append(TrainingBar(self.throughput) if drawn else EpochLines(self.history))
        try:
            device = root_device(config.accelerator, config.devices)
            if config.accelerator == "auto" and missed_gpu(device):
                log.warning("%s", MISSED_GPU)
            precision: Any = auto_precision(device) if config.precision == "auto" else config.precision
            # Lightning takes bf16 instead, which is the only way on for a run that a GPU began
            if precision == "16-mixed" and device.type == "cpu" and not self.resume:
                raise FerError("trainer.precision: 16-mixed needs a GPU; auto takes bf16-mixed where the CPU has it")
            return L.Trainer(
                accelerator=config.accelerator,
                devices=config.devices,
                precision=precision,
                max_epochs=config.max_epochs,
                gradient_clip_val=config.gradient_clip,
                logger=self.logger,
                callbacks=callbacks,
                enable_progress_bar=any(isinstance(callback, TrainingBar) for callback in callbacks),
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,  # EpochBatches itself shares out the faces
                default_root_dir=self.folder,
                plugins=[WholeCheckpoints(), *(launcher(config.devices) or ())],
            )
        except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
            raise FerError(f"trainer: {first_line(error)}") from error

    def run(self) -> dict[str, Any]:
        """Train, evaluate the best checkpoint once, and write the results.

        Returns:
            The content of `metrics.json`; empty in all processes but the first of a distributed training.

        Raises:
            InterruptedRunError: If the user pressed Ctrl-C.
            DivergedError: If the network's outputs became NaN or infinite.
            FerError: If `last.ckpt` cannot be resumed, or its teacher has changed.
        """
        leading = self.trainer.is_global_zero
        record = self._record() if leading else {}
        self._fit()
        with self._interruptible():
            figures = self._evaluate()
        if not leading:
            return {}
        metrics = self._metrics(figures, record)
        with self._interruptible():
            self._write_curves()
            log_hparams(self.logger, self.config, metrics)
            self.logger.finalize("success")
            write_json(self.folder / "metrics.json", metrics)  # the last: it says that the run is finished
        return metrics

    def _record(self) -> dict[str, Any]:
        teacher = self.classifier.teacher
        built_on = {
            **({"teacher": teacher.record} if teacher is not None else {}),
            **({"start": self.start} if self.start is not None else {}),
            **({} if self.resume else weights_loaded(self.config)),
        }
        device = self.trainer.strategy.root_device
        return write_record(self.folder, self.config, self.data.record, device, built_on, self.resume)

    def _fit(self) -> None:
        last = self.folder / "last.ckpt" if self.resume else None
        with self._interruptible():
            try:
                self.trainer.fit(self.classifier, datamodule=self.data, ckpt_path=last)
            except Exception as error:
                if self.config.trainer.compile and type(error).__module__.startswith(COMPILERS):
                    reason = one_line(error.__cause__ or error)
                    raise FerError(
                        f"trainer.compile: the network cannot be compiled here ({reason}); set it to false"
                    ) from error
                raise
            finally:
                self.stop.restore()
                self.classifier.release()
        if self.stop.wanted(self.trainer):  # requested after the last batch: the epoch's checkpoint is already written
            raise self._interruption()
        self._heed_termination()

    def _heed_termination(self) -> None:
        """Stop if SIGTERM came where Lightning does not act on it, before its next stage forgets the signal."""
        if self.trainer.received_sigterm:
            raise self._interruption()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Turn Ctrl-C, and Lightning's answer to it, an exit, into an error that says how to go on."""
        try:
            yield
        except (SystemExit, KeyboardInterrupt) as stop:
            raise self._interruption() from stop

    def _interruption(self) -> InterruptedRunError:
        if self.trainer.is_global_zero:
            self._write_curves()
        return InterruptedRunError(self.folder, kept=(self.folder / "last.ckpt").is_file())

    def _evaluate(self) -> dict[str, float]:
        """Evaluate the checkpoint that validation chose: the one time, if any, that a run sees the test split."""
        self.trainer.loggers = []  # the charts show training only; the final figures are in HPARAMS
        # only the weights: given the checkpoint's path, Lightning would also set the history back to its epoch
        best = read_checkpoint(Path(self.best.best_model_path), self.config.model)
        self.classifier.load_state_dict(best["state_dict"])
        self.best_epoch = int(best["epoch"]) + 1
        options: Any = {"datamodule": self.data, "verbose": False}
        figures = dict(self.trainer.validate(self.classifier, **options)[0])
        self._heed_termination()
        if self.config.trainer.test:
            figures |= self.trainer.test(self.classifier, **options)[0]
            self._heed_termination()
        return figures

    def _metrics(self, figures: dict[str, float], record: dict[str, Any]) -> dict[str, Any]:
        row = next(row for row in self.history.rows if row["epoch"] == self.best_epoch)
        parameters = list(self.classifier.parameters())
        # an epoch has no speed if only its validation was repeated
        speeds = [row["images_per_s"] for row in self.history.rows if "images_per_s" in row]
        return {
            "status": "finished",
            "model": self.config.model.name,
            "seed": self.config.seed,
            "monitor": self.config.trainer.monitor,
            "best_epoch": self.best_epoch,
            "epochs": len(self.history.rows),
            "train": {"loss": row["train/loss"], "acc": row["train/acc"]},
            "val": {name: figures[f"val/{name}"] for name in ("loss", "acc", "f1")},
            "test": {name: figures[f"test/{name}"] for name in ("loss", "acc", "f1")}
            if self.config.trainer.test
            else None,
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "multiply_adds": self.multiply_adds,
            "seconds": round(self.history.rows[-1]["seconds"], 1),
            "images_per_s": round(statistics.median(speeds), 1) if speeds else 0.0,
            "precision": str(self.trainer.precision),
            "overrides": record.get("overrides"),
            "hardware": record["hardware"],
            "commit": record["commit"],
            "data": {
                **record["data"],
                "excluded": self.data.excluded,
                "train_counts": {name: counts.tolist() for name, counts in self.data.counts.items()},
            },
        }

    def _write_curves(self) -> None:
        if self.history.rows:
            best = max if MONITORS[self.config.trainer.monitor] == "max" else min
            row = best(self.history.rows, key=lambda row: row[self.config.trainer.monitor])
            picture = png_bytes(curves(self.history.rows, self.best_epoch or int(row["epoch"])))
            try:
                write_whole(self.folder / "curves.png", picture)
            except OSError as error:  # held by a viewer: no reason to lose what was trained
                log.warning("%s: curves.png cannot be written (%s)", self.folder, error.strerror)
