"""One custom convolutional network in three depths: 10, 12 and 16 weight layers."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Stage(NamedTuple):
    """One resolution of the network: a convolution that sets the width, then residual pairs of convolutions."""

    width: int
    pairs: int


# 48, 24, 12, 6 and 3 pixels a side. Depth = five stage convolutions + two per pair + the linear layer.
STAGES: dict[int, tuple[Stage, ...]] = {
    10: (Stage(32, 0), Stage(48, 0), Stage(96, 1), Stage(192, 1), Stage(384, 0)),
    12: (Stage(32, 0), Stage(48, 1), Stage(96, 1), Stage(192, 1), Stage(384, 0)),
    16: (Stage(32, 0), Stage(48, 1), Stage(96, 2), Stage(192, 2), Stage(384, 0)),
}


def convolution(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    """Return a 3×3 convolution that keeps the resolution, followed by batch norm if wanted."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs)) if batch_norm else nn.Sequential(conv)


class Pair(nn.Module):
    """Two convolutions, with the input added to their output (He et al., 2016).

    Without the shortcut this is what plain deep networks are made of; `residual=False` is for showing the
    difference. A batch norm that ends the branch starts at zero, so that the network starts as a shallow one.
    """

    def __init__(self, width: int, residual: bool, batch_norm: bool) -> None:
        super().__init__()
        self.first = convolution(width, width, batch_norm)
        self.second = convolution(width, width, batch_norm)
        self.residual = residual
        last = self.second[-1]
        if residual and isinstance(last, nn.BatchNorm2d):
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        branch = self.second(F.relu(self.first(x)))
        return F.relu(x + branch if self.residual else branch)


class CNN(nn.Module):
    """A network of exactly `depth` weight layers (convolutions and linear layers).

    Args:
        num_classes: Number of logits.
        in_channels: Channels of the input, 1 for grey.
        depth: 10, 12 or 16.
        width: Factor on the channels of every stage.
        dropout: Probability of dropping a feature before the linear layer.
        residual: Add shortcuts around pairs of convolutions; they carry no weights.
        batch_norm: Normalise after every convolution.

    Raises:
        ValueError: If there is no table for `depth`, or `width` is not positive.
    """

    replayable = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        depth: int = 10,
        width: float = 1.0,
        dropout: float = 0.3,
        residual: bool = True,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        if depth not in STAGES:
            raise ValueError(f"depth {depth} has no table; known are {', '.join(map(str, STAGES))}")
        if width <= 0:
            raise ValueError(f"width is {width}; it must be more than 0")
        layers: list[nn.Module] = []
        self.stages: list[list[int]] = []  # for each, the indices of its convolution and its pairs in the features
        channels = in_channels
        for index, stage in enumerate(STAGES[depth]):
            if index:
                layers.append(nn.MaxPool2d(2))
            outputs = max(8, round(stage.width * width / 8) * 8)
            first = len(layers)
            layers += [convolution(channels, outputs, batch_norm), nn.ReLU(inplace=True)]
            layers += [Pair(outputs, residual, batch_norm) for _ in range(stage.pairs)]
            self.stages.append([first, *range(first + 2, len(layers))])
            channels = outputs
        self.width = width
        self.residual = residual
        self.identical = residual and batch_norm  # whether new pairs pass on what they are given
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)

    def grown_from(self, other: nn.Module) -> dict[str, Tensor]:
        """Return a state with which this network computes what a shallower one does (Chen et al., 2016, "Net2Net").

        The shallower one's layers are copied; the pairs that it lacks add nothing until they are trained.

        Raises:
            ValueError: If it is not such a network, or is deeper, or has other widths.
        """
        if not isinstance(other, CNN):
            raise ValueError("it is no custom CNN")
        if other.residual != self.residual:
            raise ValueError("one of the two has no shortcuts")
        if other.width != self.width:
            raise ValueError(f"its model.network.width is {other.width:g}, not {self.width:g}")
        state = self.state_dict()
        state.update({name: value for name, value in other.state_dict().items() if name.startswith("head.")})
        for own, known in zip(self.stages, other.stages, strict=True):
            if len(known) > len(own):
                raise ValueError("it is the deeper one")
            if len(known) < len(own) and not self.identical:
                raise ValueError("growing needs shortcuts and batch norm")
            for place, source in zip(own, known, strict=False):
                layer = other.features[source].state_dict()
                state.update({f"features.{place}.{name}": value for name, value in layer.items()})
        return state

    @property
    def cam_layer(self) -> nn.Module:
        """The layer for Grad-CAM: the last one with 6×6 maps, since 3×3 shows too little of a face."""
        return self.features[-4]

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures, float (N, in_channels, H, W), to logits (N, num_classes)."""
        features = self.features(x).mean(dim=(2, 3))
        logits: Tensor = self.head(self.dropout(features))
        return logits
