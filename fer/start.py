"""Training that starts from trained weights: on other data or classes, or as a deeper network."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from fer.errors import FerError
from fer.models.preprocess import FaceModel
from fer.weights import open_as, origin


@runtime_checkable
class Growing(Protocol):
    """A network that can start as a smaller one."""

    def grown_from(self, other: nn.Module) -> Mapping[str, Tensor]:
        """Return a state of this network's with which it computes what `other` computes; ValueError if none does."""


def start_from(path: str, model: FaceModel, classes: Sequence[str]) -> dict[str, Any]:
    """Give a model the weights of a trained one.

    Where the classes differ, the layer that tells them apart keeps its random start.

    Args:
        path: The folder of a run, or a file of weights.
        model: What is about to be trained: the same network, or one that grows from that.
        classes: The model's classes in label order.

    Returns:
        What a run notes of where it started.

    Raises:
        FerError: If there is no trained network, or one that does not fit.
    """
    run = open_as("model.start", path)
    known, own = run.trained.model.network, model.network.state_dict()
    try:
        state = dict(model.network.grown_from(known) if isinstance(model.network, Growing) else known.state_dict())
        if tuple(classes) != run.trained.classes:
            counts = (len(run.trained.classes), len(classes))
            state = {name: own[name] if _tells_apart(name, state, own, counts) else state[name] for name in state}
        model.network.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FerError(f"model.start: the weights in {run.file} ({run.trained.name}) do not fit: {reason}") from error
    return origin(run)


def _tells_apart(name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], counts: tuple[int, int]) -> bool:
    """Return whether a tensor belongs to the last layer: a row for each class, and no other module behind it."""
    last = name.rpartition(".")[0] == list(own)[-1].rpartition(".")[0]
    return last and name in own and (len(state[name]), len(own[name])) == counts
