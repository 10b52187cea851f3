"""From faces in memory to batches on the way to the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from fer.data.augment import Augmenter
from fer.data.faces import Faces

Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]
"""Faces, uint8 (N, 1, H, W), and labels, int64 (N,).

In training, where the faces carry targets, a third tensor is learned instead of the labels: int64 (N,), labels
drawn for this batch; float32 (N, C), shares of votes; or bool (N, C), the classes that count as right.
"""


@dataclass(frozen=True)
class BatchRequest:
    """What a worker needs to make one batch: the rows, and the seed of its augmentation."""

    rows: NDArray[np.intp]
    seed: int


class FaceDataset(Dataset[Batch]):
    """Makes whole batches: collating face by face would cost more than reading them.

    Args:
        faces: What to draw from.
        augmenter: Transforms training batches; None leaves faces as they are.
        draw: Learn labels drawn from the faces' targets, anew for every batch, instead of the shares themselves.
    """

    def __init__(self, faces: Faces, augmenter: Augmenter | None = None, draw: bool = False) -> None:
        self.faces = faces
        self.augmenter = augmenter
        self.draw = draw

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, request: BatchRequest) -> Batch:
        """Return the batch for a request; `DataLoader` hands over what the batch sampler yields."""
        images = np.asarray(self.faces.images[request.rows])
        labels = self.faces.labels[request.rows]
        if self.augmenter is not None:
            images = self.augmenter(images, labels, request.seed)
        pictures = torch.from_numpy(images)[:, None]
        if self.faces.targets is None:
            return pictures, torch.from_numpy(labels)
        targets = self.faces.targets[request.rows]
        learned = draw_labels(targets, request.seed) if self.draw else targets
        return pictures, torch.from_numpy(labels), torch.from_numpy(learned)


def draw_labels(shares: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Draw a label for each face, each class with its share as the probability.

    Args:
        shares: Floating point, (N, C), not negative, with a positive sum in each row.
        seed: Equal seeds draw equal labels.

    Returns:
        int64, (N,).
    """
    ends = shares.cumsum(axis=1, dtype=np.float64)
    # the 1 keeps these draws apart from the augmentation's, which uses the same seed
    points = np.random.default_rng((seed, 1)).random(len(shares)) * ends[:, -1]
    labels: NDArray[np.int64] = (points[:, None] >= ends).sum(axis=1)
    return labels


def keep(batch: Any) -> Batch:
    """Collate nothing: the data set makes whole batches."""
    return cast(Batch, batch)


SMALL = 2**20
"""Bytes of faces up to which a batch goes through the pipe of the worker that made it. PyTorch passes on tensors by
opening a socket for each, which takes the training process 0.5 ms a batch, whatever its size; reading 128 faces of 48
pixels from the pipe takes 0.2 ms (AMD EPYC, Zen 4). A GPU's whole step with a small network takes 2."""


class Packed:
    """A batch that arrives as a tuple of tensors, by value."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, tuple(part.numpy() for part in self.batch)


def _unpacked(*parts: NDArray[Any]) -> Batch:
    return cast(Batch, tuple(map(torch.from_numpy, parts)))


def sent(batch: Any) -> Any:
    """Return what a worker sends of a batch: a small one by value."""
    return Packed(batch) if batch[0].nbytes <= SMALL else batch


class EpochBatches(Sampler[BatchRequest]):
    """Yields an epoch's batches; how they are shuffled and shared among devices depends on seed and epoch alone.

    Args:
        count: Number of faces.
        batch_size: Faces per batch, on each device.
        seed: The run's seed.
        shuffle: Draw an order for each epoch and drop the incomplete last batch (batch norm would give its few
            faces too much weight), unless it is the only one; otherwise keep the order and all faces.
        rank: Number of this device.
        world_size: Number of devices; with `shuffle`, each gets its own part.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skipped = (-1, 0)
        # Lightning calls `set_epoch` on `batch_sampler.sampler`, and this sampler is both in one
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self.epoch = epoch

    def skip(self, epoch: int, batches: int) -> None:
        """Leave out the first batches of one epoch: they were trained on before an interruption."""
        self.skipped = (epoch, batches)

    def __len__(self) -> int:
        share = self.count // self.world_size if self.shuffle else self.count
        if self.shuffle and share >= self.batch_size:
            return share // self.batch_size
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[BatchRequest]:
        order = np.arange(self.count)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
            order = order[self.rank :: self.world_size][: self.count // self.world_size]
        first = self.skipped[1] if self.epoch == self.skipped[0] else 0
        for number in range(first, len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            seed = np.random.SeedSequence((self.seed, self.epoch, number, self.rank)).generate_state(1)[0]
            yield BatchRequest(rows, int(seed))
