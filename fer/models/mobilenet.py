"""torchvision's MobileNetV2 as a frozen or partly trained backbone, with a new head."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from fer.errors import FerError, first_line
from fer.models.fold import fold

SLICE = 16
"""Faces that go through the frozen blocks together on a CPU. The first blocks' maps of a whole batch do not fit into
its caches: 128 faces of 160 pixels take 250 ms at once, 104 ms in slices of 16 (two cores of an AMD EPYC, Zen 5)."""


class WeightsUnavailableError(FerError):
    """The pretrained weights asked for could not be had."""


def keras_layers(features: nn.Sequential) -> list[nn.Module | None]:
    """List the backbone's layers as Keras' MobileNetV2 counts them, 154 with the input.

    Keras counts every convolution, batch norm and activation, and also the additions, the paddings before
    strided depthwise convolutions and the input; those have no module here and are listed as None.

    Args:
        features: `torchvision.models.mobilenet_v2().features`.
    """
    layers: list[nn.Module | None] = [None, *features[0].children()]
    for block in list(features)[1:-1]:
        assert isinstance(block, InvertedResidual)
        modules: list[nn.Module | None] = [module for module in block.conv.modules() if not list(module.children())]
        if block.stride == 2:
            modules.insert(3, None)  # the padding that Keras puts before the depthwise convolution
        layers += modules
        if block.use_res_connect:
            layers.append(None)
    return [*layers, *features[-1].children()]


def load_backbone(features: nn.Sequential, weights: str | None) -> None:
    """Fill the backbone with pretrained weights.

    Args:
        features: `torchvision.models.mobilenet_v2().features`.
        weights: "imagenet" for torchvision's, a file (`.safetensors`, or a `.pth` state dict with the names of
            torchvision's MobileNetV2), or None to keep the random start.

    Raises:
        WeightsUnavailableError: If the weights cannot be downloaded or read, or do not fit.
    """
    if weights is None:
        return
    state = _imagenet_state() if weights == "imagenet" else _file_state(Path(weights).expanduser())
    state = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    try:
        features.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsUnavailableError(
            f"model.weights: '{weights}' does not hold the backbone of torchvision's MobileNetV2 "
            "(names 'features.0.0.weight' and so on)"
        ) from error


def _imagenet_state() -> dict[str, Tensor]:
    # version 1, trained without label smoothing and mixup, gives features that transfer better
    # when frozen (Kornblith et al., 2021, "Why Do Better Loss Functions Lead to Less Transferable Features?")
    try:
        return dict(MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise WeightsUnavailableError(
            f"model.weights: torchvision's ImageNet weights cannot be downloaded ({error}); give a file with "
            "model.weights=path/to/mobilenet_v2.safetensors, or start from random weights with model.weights=null"
        ) from error


def _file_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsUnavailableError(f"model.weights: there is no file '{path}'; give 'imagenet', a file or null")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load passes on whatever its unpickler raises
        reason = first_line(error)
        raise WeightsUnavailableError(f"model.weights: '{path}' cannot be read as weights ({reason})") from error


def pooled_to(x: Tensor, grid: int) -> Tensor:
    """Average maps, float (N, C, H, W), to grid × grid, as `adaptive_avg_pool2d` does, on Apple's GPUs too.

    There, PyTorch (2.14) pools only to sizes that divide the maps'; averaging rows and then columns works everywhere.
    """
    if x.device.type != "mps" or not (x.shape[-2] % grid or x.shape[-1] % grid):
        return F.adaptive_avg_pool2d(x, grid)
    rows, columns = (_windows(size, grid).to(x) for size in x.shape[-2:])
    return rows @ x @ columns.T


def _windows(size: int, grid: int) -> Tensor:
    """Return what each of `grid` averages takes of `size` values, float (grid, size); neighbours may overlap."""
    taken = torch.zeros(grid, size)
    for index in range(grid):
        start, end = index * size // grid, -(-(index + 1) * size // grid)
        taken[index, start:end] = 1 / (end - start)
    return taken


class MobileNet(nn.Module):
    """MobileNetV2 features of several depths, pooled, followed by a head with one hidden layer.

    Frozen layers keep their parameters and their batch norm statistics, whatever `train()` says. Since those
    statistics are constants, a frozen batch norm is folded into the convolution before it, which saves a third of
    the time.

    Args:
        num_classes: Number of logits.
        in_channels: Must be 3: the backbone was trained on RGB.
        weights: "imagenet", a file or None; see `load_backbone`.
        trainable_layers: How many of the backbone's last layers, up to the last tap, to train, as Keras counts them.
        taps: Blocks of `features` whose outputs the head sees.
        grids: The head sees each tap pooled to grid × grid; one number per tap. Faces are aligned, so position
            matters: 4 × 4 is worth six points of accuracy over pooling to a single number.
        hidden: Width of the hidden layer.
        dropout: Probability of dropping a feature, before each of the head's two layers.
        backbone_lr: Learning rate of the backbone's trained layers, as a share of the head's.
        remember: Faces whose pooled features training keeps in memory, 14 KB each with the default taps, so that the
            backbone computes each view of a face once; see `fer.models.memo`. Only for a wholly frozen backbone.
    """

    replayable = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        weights: str | None = "imagenet",
        trainable_layers: int = 0,
        taps: Sequence[int] = (6, 13, 18),
        grids: Sequence[int] = (4, 4, 2),
        hidden: int = 512,
        dropout: float = 0.3,
        backbone_lr: float = 0.1,
        remember: int = 0,
    ) -> None:
        super().__init__()
        if in_channels != 3:
            raise ValueError("MobileNetV2 takes three channels: set model.input.channels=3")
        if remember and trainable_layers:
            raise ValueError("remember needs a frozen backbone: set trainable_layers=0")
        self.remember = remember
        self.features: nn.Sequential = mobilenet_v2(weights=None).features
        load_backbone(self.features, weights)
        self.taps = tuple(taps)
        if not set(self.taps) <= set(range(len(self.features))):
            raise ValueError(f"taps are {list(self.taps)}; the blocks are 0 to {len(self.features) - 1}")
        layers = keras_layers(self.features)
        self.features = self.features[: max(self.taps) + 1]  # nothing uses what comes after the last tap
        seen = set(self.features.modules())
        while layers[-1] is None or layers[-1] not in seen:
            layers.pop()
        self.grids = dict(zip(self.taps, grids, strict=True))
        self.backbone_lr = backbone_lr
        inputs = sum(self._out_channels(tap) * grid**2 for tap, grid in self.grids.items())
        self.head = nn.Sequential(
            nn.BatchNorm1d(inputs),
            nn.Dropout(dropout),
            nn.Linear(inputs, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self._freeze(layers, trainable_layers)

    def _out_channels(self, tap: int) -> int:
        norms = [module for module in self.features[tap].modules() if isinstance(module, nn.BatchNorm2d)]
        return norms[-1].num_features

    def _freeze(self, layers: Sequence[nn.Module | None], trainable_layers: int) -> None:
        if not 0 <= trainable_layers <= len(layers):
            raise ValueError(f"trainable_layers is {trainable_layers}; the backbone has {len(layers)}")
        trainable = layers[len(layers) - trainable_layers :]
        self.trained = [layer for layer in trainable if layer is not None]
        self.features.requires_grad_(False)
        for layer in self.trained:
            layer.requires_grad_(True)
        trains = [not set(block.modules()).isdisjoint(self.trained) for block in self.features]
        # how many blocks go in slices; the last never does, since Grad-CAM wants its maps of all faces at once
        self.frozen = [*trains[:-1], True].index(True)
        fold(self.features, self.trained)

    @property
    def cam_layer(self) -> nn.Module:
        """The layer for Grad-CAM: the last block."""
        return self.features[-1]

    def train(self, mode: bool = True) -> "MobileNet":
        """Set training mode for the head and the trained layers; frozen layers stay in evaluation mode."""
        super().train(mode)
        self.features.eval()
        for layer in self.trained:
            layer.train(mode)
        return self

    def parameter_groups(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """Yield the trained parameters of head and backbone, each with its share of the learning rate."""
        yield 1.0, list(self.head.parameters())
        backbone = [parameter for parameter in self.features.parameters() if parameter.requires_grad]
        if backbone:
            yield self.backbone_lr, backbone

    def grown_from(self, other: nn.Module) -> dict[str, Tensor]:
        """Return a state with which this network computes what another does, if no more of that one is trained.

        Training the head first, and then more and more of the backbone, spares the backbone the gradients of a random
        head.

        Raises:
            ValueError: If it is not such a network, or its head was trained on another backbone.
        """
        if not isinstance(other, MobileNet):
            raise ValueError("it is no MobileNetV2")
        if (self.taps, self.grids) != (other.taps, other.grids):
            raise ValueError(f"its head sees other blocks (taps {list(other.taps)}, grids {[*other.grids.values()]})")
        own, known = self.state_dict(), other.state_dict()
        if set(own) == set(known):
            return known
        if len(other.trained) > len(self.trained):
            raise ValueError("more of its layers are trained")
        same = deepcopy(self.features)
        fold(same)
        folded = same.state_dict()
        for name, layer in other.features.named_modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:  # frozen there, its batch norm folded in
                # files hold it in half precision
                if not torch.allclose(folded[f"{name}.weight"], layer.weight, rtol=1e-2, atol=1e-2):
                    raise ValueError(
                        "its head was trained on another backbone; start from a run of experiment=frozen on yours"
                    )
                del known[f"features.{name}.weight"], known[f"features.{name}.bias"]
        return {**own, **known}

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures, float (N, 3, H, W), to logits (N, num_classes)."""
        return self.classified(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """Map pictures, float (N, 3, H, W), to what the head sees of them, (N, D)."""
        blocks = list(enumerate(self.features))
        # what is traced or exported must take batches of any size, so it may not count slices
        handed_on = torch.jit.is_tracing() or torch.compiler.is_exporting()  # type: ignore[no-untyped-call,attr-defined]
        whole = handed_on or not x.is_cpu
        parts = [self._through(blocks[: self.frozen], part) for part in ([x] if whole else torch.split(x, SLICE))]
        seen = [torch.cat(of_parts) for of_parts in zip(*(tapped for _, tapped in parts), strict=True)]
        _, tapped = self._through(blocks[self.frozen :], torch.cat([part for part, _ in parts]))
        return torch.cat([*seen, *tapped], dim=1)

    def _through(self, blocks: Sequence[tuple[int, nn.Module]], x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the output of these blocks, and what the head sees of those among them that are tapped."""
        tapped = []
        for index, block in blocks:
            x = block(x)
            if index in self.grids:
                tapped.append(pooled_to(x, self.grids[index]).flatten(1))
        return x, tapped

    def classified(self, features: Tensor) -> Tensor:
        """Map what the head sees, float (N, D), to logits (N, num_classes)."""
        logits: Tensor = self.head(features)
        return logits
