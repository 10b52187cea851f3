"""The first layer of every model: from grey bytes to what its network expects, on the device."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.models.memo import Memo
from fer.replay import replayable


class Preprocess(nn.Module):
    """Scale to [0, 1], resize, normalise and repeat the grey channel.

    Kept inside the model, and so inside its checkpoint: training, evaluation and prediction cannot disagree.

    Args:
        size: Height and width of the network's input in pixels.
        channels: 1 for grey, 3 to repeat the grey channel for a network that expects RGB.
        mean: Mean of the pixels in [0, 1], one number per channel.
        std: Their standard deviation, one number per channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != channels or len(std) != channels:
            raise ValueError(f"{channels} channels need as many means and deviations")
        self.size = size
        self.channels = channels
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def normalises_like(self, other: "Preprocess") -> bool:
        """Return whether another layer, of any size, gives the same numbers, except for what half precision rounds."""
        if self.channels != other.channels:
            return False
        return torch.allclose(self.mean, other.mean, atol=1e-3) and torch.allclose(self.std, other.std, atol=1e-3)

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, uint8 (N, 1, H, W), to float32 (N, channels, size, size)."""
        pixels = faces.to(torch.float32) / 255
        if pixels.shape[-2:] != (self.size, self.size):
            # resizing one grey channel costs a third of resizing its three copies
            pixels = F.interpolate(pixels, size=self.size, mode="bilinear", antialias=self.size < faces.shape[-1])
        return (pixels - self.mean) / self.std


@runtime_checkable
class Remembering(Protocol):
    """A network whose frozen part is worth computing once for each face.

    Attributes:
        remember: For how many faces; 0 for none.
    """

    remember: int

    def pooled(self, x: Tensor) -> Tensor:
        """Map pictures, float (N, channels, size, size), to the frozen part's features, (N, D)."""

    def classified(self, features: Tensor) -> Tensor:
        """Map these features, float (N, D), to logits (N, C)."""


class FaceModel(nn.Module):
    """A network with its preprocessing in front: uint8 faces in, logits out.

    Args:
        preprocess: The first layer.
        network: Maps float (N, channels, size, size) to logits (N, C).
        channels_last: Hold activations as NHWC, which convolutions on CPUs and tensor cores prefer.

    Attributes:
        temperature: What the network's logits are divided by; 1 unless the network was calibrated, see
            `fer.temperature`.
        view_temperatures: What `fer.prediction.predict` divides the mean of several views by, for each of its names of
            views; empty unless the network was calibrated. A mean is less sure than what it is the mean of.
    """

    def __init__(self, preprocess: Preprocess, network: nn.Module, channels_last: bool = True) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.memory_format)
        self.memo: Memo | None = None
        self.temperature = 1.0
        self.view_temperatures: dict[str, float] = {}

    def remember(self) -> None:
        """Compute what is frozen only once per face from now on, if the network says for how many faces."""
        if isinstance(self.network, Remembering) and self.network.remember:
            self.memo = Memo(self.network.remember)

    @property
    def replayable(self) -> bool:
        """Whether every batch is computed by the same operations; see `fer.replay`."""
        return self.memo is None and replayable(self.network)

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, uint8 (N, 1, H, W), to logits (N, C)."""
        logits: Tensor
        tracing = torch.jit.is_tracing()  # type: ignore[no-untyped-call,attr-defined]
        if self.memo is None or tracing or not isinstance(self.network, Remembering):
            logits = self.network(self._pixels(faces))
        else:
            frozen = self.network.pooled
            logits = self.network.classified(self.memo(faces, lambda faces: frozen(self._pixels(faces))))
        return logits if self.temperature == 1.0 else logits / self.temperature

    def _pixels(self, faces: Tensor) -> Tensor:
        pixels: Tensor = self.preprocess(faces)
        return pixels.contiguous(memory_format=self.memory_format)
