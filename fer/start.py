"""Training that starts from trained weights: on other data or classes, or as a deeper network."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from fer.errors import FerError, one_line
from fer.models.preprocess import FaceModel
from fer.weights import TrainedRun, open_as, origin, warn_of_other_data

log = logging.getLogger(__name__)


@runtime_checkable
class Growing(Protocol):
    """A network that can start as a smaller one."""

    def grown_from(self, other: nn.Module) -> Mapping[str, Tensor]:
        """Return a state with which this network computes what `other` computes; ValueError if there is none."""


def start_from(path: str, model: FaceModel, classes: Sequence[str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Give a model the weights of a trained one.

    If the classes differ, the last layer, which tells them apart, keeps its random initialisation. The size of the
    pictures may differ, if the network takes any: training with more pixels after fewer saves time, and the other way
    round a network fits smaller pictures (Touvron et al., 2019, "Fixing the train-test resolution discrepancy").

    Args:
        path: The folder of a run, or a file of weights.
        model: The model about to be trained: the same network, or one that grows from it.
        classes: The model's classes in label order.
        data: What it is to be trained on, as `FaceDataModule.record` describes it.

    Returns:
        What a run records about where it started.

    Raises:
        FerError: If there is no trained network, or one that does not fit.
    """
    run = open_as("model.start", path)
    known = run.trained.model.network
    try:
        state = dict(model.network.grown_from(known) if isinstance(model.network, Growing) else known.state_dict())
        if tuple(classes) != run.trained.classes:
            state |= _last_layer(model.network.state_dict(), len(classes))
        model.network.load_state_dict(state)
        if not model.preprocess.normalises_like(run.trained.model.preprocess):
            raise ValueError("it expects its pictures otherwise (mean, std or channels of model.input)")
    except (RuntimeError, ValueError) as error:
        name = run.trained.name
        raise FerError(f"model.start: the weights in {run.file} ({name}) do not fit: {one_line(error)}") from error
    _warn_of_another_size(run, model.preprocess.size)
    warn_of_other_data("model.start", run, data)
    return origin(run)


def _warn_of_another_size(run: TrainedRun, size: int) -> None:
    known = run.trained.model.preprocess.size
    if known != size:
        log.warning(
            "model.start: %s learned from faces of %d × %d pixels and gets %d × %d here. It has to get used to that; "
            "model.input.size=%d keeps its own.",
            run.file,
            known,
            known,
            size,
            size,
            known,
        )


def _last_layer(state: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """Return the entries of a network's state that belong to its last layer.

    Raises:
        ValueError: If that layer does not have one row for each class.
    """
    layer = list(state)[-1].rpartition(".")[0]
    found = {name: value for name, value in state.items() if name.rpartition(".")[0] == layer}
    if any(value.ndim == 0 or len(value) != classes for value in found.values()):
        raise ValueError("the classes differ, and its last layer is not what tells them apart")
    return found
