"""Turn a configuration into objects: networks, transforms, class weights."""

import logging
from dataclasses import asdict
from typing import Any

import albumentations as A
import numpy as np
import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fer.config import AugmentConfig, InputConfig, ModelConfig
from fer.errors import FerError, first_line, one_line
from fer.models.mobilenet import WeightsUnavailableError
from fer.models.preprocess import FaceModel, Preprocess

log = logging.getLogger(__name__)


def build_model(config: ModelConfig, num_classes: int, channels_last: bool = True) -> FaceModel:
    """Build a model as configured, with its weights loaded.

    Raises:
        FerError: If the configuration does not fit the network, or its weights are unavailable.
    """
    if config.weights is not None and "weights" not in config.network:
        # not an error: in a sweep, model.weights applies to those models that take weights
        log.warning("model.weights: %s takes no pretrained weights and starts from random ones.", config.name)
    size = config.input
    if len(size.mean) != size.channels or len(size.std) != size.channels:
        raise FerError(f"model.input: {size.channels} channels need as many numbers in mean and std")
    arguments = {"num_classes": num_classes, "in_channels": size.channels}
    network = _instantiate("model.network", config.network, arguments)
    if not isinstance(network, nn.Module):
        raise FerError(f"model.network: {config.network.get('_target_')} is no torch.nn.Module")
    preprocess = Preprocess(size.size, size.channels, size.mean, size.std)
    try:
        # on Apple's GPUs PyTorch computes wrong gradients of NHWC tensors (pytorch issues 175189 and 175190)
        return FaceModel(preprocess, network, channels_last and not torch.backends.mps.is_available())
    except ValueError as error:  # lazy layers have no weights yet
        raise FerError(
            f"model.network: {config.network.get('_target_')} has no weights yet ({first_line(error)})"
        ) from error


def build_model_for(config: ModelConfig, num_classes: int, channels_last: bool, source: str) -> FaceModel:
    """Build a model; on the drawn sample, fall back to random weights if pretrained ones are unavailable.

    On real data, a backbone is not trained from scratch unless that was asked for: there the error is raised.
    """
    try:
        return build_model(config, num_classes, channels_last)
    except WeightsUnavailableError as error:
        if source != "sample" or config.weights != "imagenet":
            raise
        log.warning(
            "NO PRETRAINED WEIGHTS: %s. On the drawn sample alone, %s goes on from RANDOM weights, which makes its "
            "figures worthless for comparison.",
            error,
            config.name,
        )
        config.weights = None
        config.network["weights"] = None
        return build_model(config, num_classes, channels_last)


def rebuild_model(plain: dict[str, Any]) -> FaceModel:
    """Build the network that a checkpoint's plain values describe; its weights come from the checkpoint."""
    config = {**plain, "network": dict(plain["network"])}
    if "weights" in config["network"]:
        config["network"]["weights"] = None
    config["weights"] = None
    classes = config.pop("num_classes")
    channels_last = config.pop("channels_last")
    return build_model(ModelConfig(**{**config, "input": InputConfig(**config["input"])}), classes, channels_last)


def plain_model(config: ModelConfig, num_classes: int, channels_last: bool) -> dict[str, Any]:
    """Return the plain values from which `rebuild_model` builds the same network."""
    return {**asdict(config), "num_classes": num_classes, "channels_last": channels_last}


def build_transforms(config: AugmentConfig) -> list[A.BasicTransform | A.BaseCompose]:
    """Build the online transforms in their order.

    Raises:
        FerError: If one is not an albumentations transform, or does not take its arguments.
    """
    transforms = []
    for name, arguments in config.transforms.items():
        if arguments is None:  # left out by an experiment
            continue
        transform = _instantiate(f"data.augment.transforms.{name}", arguments, {})
        if not isinstance(transform, A.BasicTransform | A.BaseCompose):
            raise FerError(f"data.augment.transforms.{name}: not an albumentations transform")
        transforms.append(transform)
    return transforms


def _instantiate(key: str, node: Any, arguments: dict[str, Any]) -> object:
    if not isinstance(node, dict) or "_target_" not in node:
        raise FerError(f"{key}: needs a _target_, the import path of a class")
    try:
        return instantiate(node, **arguments, _convert_="all")
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, FerError):
            raise cause from error
        raise FerError(f"{key}: {node['_target_']} cannot be built ({one_line(cause or error)})") from error


def balanced_weights(counts: NDArray[np.int64]) -> list[float]:
    """Return a weight per class, inversely proportional to its count and averaging one over the faces.

    A class without faces has weight 0: otherwise label smoothing would make it the most important of all.
    """
    present = counts > 0
    weights = counts.sum() / (np.count_nonzero(present) * np.maximum(counts, 1))
    return [float(weight) for weight in np.where(present, weights, 0.0)]


def multiply_adds(model: FaceModel, size: int, num_classes: int) -> int:
    """Return the multiply-adds of convolutions and linear layers for one face of `size` pixels a side.

    Raises:
        FerError: If the network fails on its input, or returns anything other than `num_classes` logits; this is the
            first time that it is run.
    """
    training = model.training
    model.eval()
    faces = torch.zeros(1, 1, size, size, dtype=torch.uint8, device=model.preprocess.mean.device)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            logits = model(faces)
    except Exception as error:  # the network may be anyone's code
        reason = first_line(error)
        raise FerError(f"model: the network fails on a face ({reason}); change model.input or the network") from error
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
    if found != (1, num_classes):
        raise FerError(f"model.network: returns {found} for one face, not logits ({(1, num_classes)}); see num_classes")
    model.train(training)
    return int(counter.get_total_flops()) // 2
