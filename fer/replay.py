"""Record work on a CUDA device once and then replay it, hundreds of launches in one (CUDA graphs)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fer.errors import FerError, first_line

WARM = 3  # calls before the recording, in which libraries set themselves up and choose their algorithms


def replayable(model: nn.Module) -> bool:
    """Return whether a model says that it computes every batch by the same operations, random numbers aside.

    A decision that Python makes anew for each batch would be fixed by the recording, and an operation that waits for
    the device cannot be recorded at all; so a network has to say so, by an attribute `replayable`.
    """
    return bool(getattr(model, "replayable", False))


class Replayed:
    """A function of tensors whose operations on a CUDA device are recorded, and replayed on later inputs.

    A fast device is done with a small network's operations before Python has launched the next ones; replaying them
    costs one launch. Random numbers on the device are drawn anew, and what the function changes in place is changed.

    Args:
        function: Called as it is until warm, then once to be recorded, and again for tensors of other shapes. What it
            returns is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.warm = 0
        self.inputs: list[Tensor | None] = []
        self.outputs: Any = None
        self.replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor | None) -> Any:
        """Return what the function returns.

        Raises:
            FerError: If it does something that cannot be recorded.
        """
        if self.warm < WARM:
            self.warm += 1
            return self.function(*inputs)
        if self.replay is None or [*map(_kind, inputs)] != [*map(_kind, self.inputs)]:
            self.inputs = [None if given is None else given.clone() for given in inputs]
            try:
                self.outputs, self.replay = recorded(lambda: self.function(*self.inputs))
            except RuntimeError as error:
                cause = error.__context__ or error  # ending the recording fails too, and says less
                raise FerError(
                    f"trainer.cuda_graphs: the step cannot be recorded ({first_line(cause)}); set it to false"
                ) from error
        for place, given in zip(self.inputs, inputs, strict=True):
            if place is not None and given is not None:
                place.copy_(given, non_blocking=True)
        self.replay()
        return self.outputs


def recorded(function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Record a function's operations without executing them.

    Returns:
        Where its results will lie, and a function that executes the operations.
    """
    graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with _recording(graph):
            outputs = function()
    except RuntimeError:
        # a failed recording leaves its stream current and (PyTorch 2.11) the random generator waiting for its end; a
        # recording that succeeds repairs the latter
        _failed.append(graph)
        torch.cuda.set_stream(current)
        with suppress(RuntimeError), _recording(torch.cuda.CUDAGraph()):
            torch.zeros(1, device="cuda")
        raise
    return outputs, graph.replay


_failed: list[torch.cuda.CUDAGraph] = []  # PyTorch's allocator may go on asking them which memory is theirs


def _recording(graph: torch.cuda.CUDAGraph) -> torch.cuda.graph:
    # on a stream of its own: of several graphs that were recorded on the same stream, some versions of PyTorch free the
    # memory of all their matrix multiplications as soon as the first graph is freed; "thread_local" lets other threads,
    # such as the one that pins the loader's batches, go on meanwhile
    own = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    return torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local")


def _kind(tensor: Tensor | None) -> tuple[torch.Size, torch.dtype] | None:
    return None if tensor is None else (tensor.shape, tensor.dtype)
