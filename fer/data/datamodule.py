"""The LightningDataModule: reads, oversamples, augments and batches."""

import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import albumentations as A
import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from fer.config import DataConfig
from fer.data.augment import Augmenter, augmented_classes, check_transforms
from fer.data.balance import Oversampling, check_apart, load_oversampled, oversample
from fer.data.batches import Batch, EpochBatches, FaceDataset, keep, sent
from fer.data.classes import check_learnable
from fer.data.exclude import excluded
from fer.data.faces import SPLITS, Faces, Split
from fer.data.options import ReadOptions
from fer.data.sources import GET_FER2013, announce, looked_for, read_source
from fer.device import cpu_cores
from fer.errors import FerError
from fer.files import sha256
from fer.prediction import most_at_once

FEW_STEPS = 4  # per epoch; with fewer, a small data set is hardly learned in the usual number of epochs
# How workers start, None being the platform's way. A forked one begins at once and shares the data's memory; a Python
# of its own takes seconds and half a gigabyte. From Python 3.14 on, Linux forks only if told so.
START: str | None = "fork" if sys.platform == "linux" else None

log = logging.getLogger(__name__)


class FaceDataModule(L.LightningDataModule):
    """Faces of one source: training faces oversampled and augmented, validation and test as they are.

    Args:
        config: The data section of the configuration.
        transforms: albumentations transforms for the online augmentation of training faces.
        seed: The run's seed, for the order of batches and all augmentation.

    Raises:
        FerError: If a transform turns a face into something other than a face.

    Attributes:
        faces: The faces of each split; "train" with its oversampled copies. Filled by `setup`.
        source: The name of what was read: "fer2013", "ferplus", "folder" or "sample". Filled by `read`.
        digest: Changes with any pixel, label, split or target of the source. Filled by `read`.
        excluded: How many training faces `data.exclude` left out. Filled by `read`.
        counts: Training faces per class before and after oversampling. Filled by `setup`.
    """

    def __init__(
        self, config: DataConfig, transforms: Sequence[A.BasicTransform | A.BaseCompose] = (), seed: int = 0
    ) -> None:
        super().__init__()
        ReadOptions.of(config)  # checks that the numbers are in their ranges
        check_transforms(transforms, config.size)
        self.config = config
        self.seed = seed
        self.transforms = transforms
        self.faces: dict[Split, Faces] = {}
        self.counts: dict[str, NDArray[np.int64]] = {}
        self.source = ""
        self.digest = ""
        self.excluded = 0
        self._all: Faces | None = None
        self._resume_at = (-1, 0)

    @property
    def all_faces(self) -> Faces:
        """The faces of all splits as they were read."""
        if self._all is None:
            self.read()
        assert self._all is not None
        return self._all

    @property
    def augmenter(self) -> Augmenter:
        """The augmenter for training faces of the chosen classes, which must be among those that were read."""
        return Augmenter(self.transforms, augmented_classes(self.config.augment.classes, self.all_faces.classes))

    def read(self) -> None:
        """Read the source and say what was found; does nothing the second time."""
        if self._all is not None:
            return
        faces, self.source = read_source(self.config)
        augmented_classes(self.config.augment.classes, faces.classes)  # a wrong name fails here, not in training
        check_learnable(faces)
        if self.source == "sample" and self.config.name == "auto":
            log.warning(
                "FER2013 was not found (looked for %s): this run learns from the embedded sample of drawn faces "
                "instead. For the real data, %s.",
                looked_for(),
                GET_FER2013,
            )
        self.digest = faces.digest()
        if self.config.exclude is not None:
            kept = excluded(faces, Path(self.config.exclude).expanduser(), self.source == "ferplus")
            self.excluded = len(faces) - len(kept)
            log.info("Left out of training: %d pictures that %s names", self.excluded, self.config.exclude)
            try:
                check_learnable(kept)
            except FerError as error:
                raise FerError(f"data.exclude: without what '{self.config.exclude}' names, {error}") from error
            faces = kept
        announce(faces)
        self._all = faces

    @property
    def record(self) -> dict[str, Any]:
        """What a run's record says about the data: source, digest, learned classes, the exclusion list's SHA-256."""
        exclude, faces = self.config.exclude, self.all_faces
        learned = np.unique(faces.labels[faces.splits == SPLITS.index("train")])
        return {
            "source": faces.source,
            "digest": self.digest,
            "learned": [faces.classes[label] for label in learned],
            "exclude": None if exclude is None else sha256(Path(exclude).expanduser()),
        }

    def _oversampling(self) -> Oversampling:
        config = self.config.oversample
        return Oversampling(
            classes=config.classes,
            target=config.target,
            rotation=config.rotation,
            shift=config.shift,
            zoom=config.zoom,
            flip=config.flip,
            seed=config.seed,
            known=self.all_faces.classes,
        )

    def setup(self, stage: str | None = None) -> None:
        """Read the source and oversample its training split, unless that was done; does nothing the second time."""
        if self.faces:
            return
        faces = {split: self.all_faces.split(split) for split in SPLITS}
        self.counts = {"before": faces["train"].counts()}
        if self.config.oversample.enabled:
            place = Path(self.config.oversample.folder)
            check_apart(place, self.config.root)
            faces["train"] = load_oversampled(oversample(faces["train"], self._oversampling(), place), faces["train"])
        self.counts["after"] = faces["train"].counts()
        self.faces = faces

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled, augmented batches of the training split."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        faces = self.faces["train"]
        if len(faces) // world_size < 2:
            raise FerError(f"{faces.source} has {len(faces)} training faces: batch norm needs two on each device")
        batches = EpochBatches(len(faces), self.config.batch_size, self.seed, True, rank, world_size)
        if len(batches) < FEW_STEPS and rank == 0:
            log.warning(
                "Steps an epoch: only %d (%d training faces in batches of %d); a smaller data.batch_size makes more.",
                len(batches),
                len(faces),
                self.config.batch_size,
            )
        # workers begin to draw before Lightning sets the epoch
        epoch, done = self._resume_at
        if done >= len(batches):
            epoch, done = epoch + 1, 0
        batches.set_epoch(max(0, epoch))
        batches.skip(epoch, done)
        draw = self.source == "ferplus" and self.config.target == "probabilistic"
        return self._loader(FaceDataset(faces, self.augmenter, draw), batches)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the validation split, as they are and in order."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the test split, as they are and in order."""
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: Split) -> DataLoader[Batch]:
        """Return a split's batches, as they are and in order."""
        faces = replace(self.faces[split], targets=None)  # what most people said counts as right
        size = most_at_once(self._device(), self.config.batch_size)
        batches = EpochBatches(len(faces), size, self.seed, shuffle=False)
        return self._loader(FaceDataset(faces), batches, workers=0)

    def _loader(self, dataset: FaceDataset, batches: EpochBatches, workers: int | None = None) -> DataLoader[Batch]:
        count = self._workers() if workers is None else workers
        return DataLoader(
            dataset,
            batch_sampler=batches,  # type: ignore[arg-type]  # a request stands for a list of rows
            num_workers=count,
            multiprocessing_context=START if count else None,
            collate_fn=sent if count else keep,
            pin_memory=self._device().type == "cuda",
            persistent_workers=count > 0,
            prefetch_factor=4 if count else None,
            worker_init_fn=_follow_the_training if count else None,
        )

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _workers(self) -> int:
        """Return how many workers make training batches: on a CPU, they would only take cores from the network."""
        wanted = self.config.num_workers
        if wanted != "auto":
            return int(wanted)
        if self.trainer is None or self._device().type == "cpu":
            return 0
        most = 8 if START == "fork" else 2
        return max(1, min(most, cpu_cores() // self.trainer.num_devices))

    def state_dict(self) -> dict[str, Any]:
        """Return how far the epoch has got, for a checkpoint in the middle of it."""
        assert self.trainer is not None
        epoch: Any = self.trainer.fit_loop.epoch_progress.current
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current  # still the last epoch's once it is done
        done = batches.completed if epoch.started > epoch.completed else 0
        return {"epoch": self.trainer.current_epoch, "batches_done": done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume after the batches that were trained on before the interruption."""
        self._resume_at = (state_dict["epoch"], state_dict["batches_done"])


def _follow_the_training(worker: int) -> None:
    """Keep a worker alive when a terminal or batch system signals its whole group, and end it with the training.

    The training stops by itself, and needs its workers until then. After it was killed, one that is still sending a
    batch to it would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(training: multiprocessing.process.BaseProcess) -> None:
    training.join()
    os._exit(1)
