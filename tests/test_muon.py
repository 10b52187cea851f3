"""Muon beside PyTorch's own, for matrices, and beside Nesterov's momentum for everything else."""

import pytest
import torch
from torch import Tensor, nn

from fer.muon import Muon, hidden, orthogonal


def descend(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: int = 5) -> list[Tensor]:
    """Take steps along gradients that are drawn alike for every optimiser."""
    draws = torch.Generator().manual_seed(0)
    for _ in range(steps):
        for parameter in parameters:
            drawn = torch.randn(parameter.shape[0], parameter[0].numel(), generator=draws)
            parameter.grad = drawn.view(parameter.shape)
        optimizer.step()
    return [parameter.detach().flatten(1) for parameter in parameters]


def matrices() -> list[Tensor]:
    draws = torch.Generator().manual_seed(1)
    return [torch.randn(size, generator=draws) for size in ((8, 20), (20, 8), (6, 6))]


def test_a_step_on_1x1_convolutions_is_that_of_pytorch_on_matrices() -> None:
    flat = [nn.Parameter(matrix.clone()) for matrix in matrices()]
    convolutions = [nn.Parameter(matrix.clone()[:, :, None, None]) for matrix in matrices()]
    theirs = descend(flat, torch.optim.Muon(flat, lr=0.05, weight_decay=0.1, momentum=0.9))
    ours = descend(convolutions, Muon(convolutions, lr=0.05, weight_decay=0.1, momentum=0.9))
    for mine, known, start in zip(ours, theirs, matrices(), strict=True):
        assert torch.allclose(mine, known, atol=1e-6)
        assert not torch.allclose(mine, start, atol=1e-2)


def test_the_memory_format_changes_no_step() -> None:
    start = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    plain = nn.Parameter(start.clone())
    channels_last = nn.Parameter(start.clone(memory_format=torch.channels_last))
    first, second = (descend([each], Muon([each], lr=0.1))[0] for each in (plain, channels_last))
    assert torch.allclose(first, second, atol=1e-6)
    assert channels_last.is_contiguous(memory_format=torch.channels_last)


def test_other_parameters_take_nesterovs_steps_and_are_not_decayed() -> None:
    shapes = ((7, 5), (4, 1, 3, 3), (9, 1))
    start = [torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in shapes]
    known, ours = ([nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    theirs = descend(known, torch.optim.SGD(known, lr=0.1, momentum=0.9, nesterov=True))
    for mine, expected in zip(descend(ours, Muon(ours, lr=0.1, weight_decay=0.5)), theirs, strict=True):
        assert torch.allclose(mine, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(12, 40), (40, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_directions_of_an_orthogonal_matrix_count_alike(size: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(size, generator=torch.Generator().manual_seed(4))
    matrix[:, 0] *= 100
    values = torch.linalg.svdvals(orthogonal(matrix, dtype))
    assert orthogonal(matrix, dtype).dtype == torch.float32
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_hidden_layers_are_told_from_first_ones_and_depthwise_ones() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.Linear(16, 7))
    assert [name for name, parameter in network.named_parameters() if hidden(parameter)] == ["2.weight"]
