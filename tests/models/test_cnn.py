import pytest
import torch
from torch import nn

from fer.models.cnn import CNN


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_depth_counts_convolutions_and_linear_layers(depth: int) -> None:
    network = CNN(7, depth=depth)
    weight_layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weight_layers) == depth
    weights = [p for name, p in network.named_parameters() if name.endswith("weight") and p.ndim > 1]
    assert len(weights) == depth  # no weight matrix hides outside of those layers


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_logits_have_one_column_a_class_and_depend_on_the_picture(depth: int) -> None:
    network = CNN(5, depth=depth).eval()
    logits = network(torch.randn(3, 1, 48, 48))
    assert logits.shape == (3, 5)
    assert not torch.allclose(logits[0], logits[1])


def test_width_scales_the_parameters() -> None:
    def count(width: float) -> int:
        return sum(p.numel() for p in CNN(7, width=width).parameters())

    assert 3.5 < count(2.0) / count(1.0) < 4.1


def test_residual_pairs_start_as_the_identity() -> None:
    pair = CNN(7, depth=10).features[8]
    x = torch.rand(2, 96, 6, 6)
    assert torch.equal(pair(x), x)


def test_unknown_depth_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="10, 12, 16"):
        CNN(7, depth=11)


def test_cam_layer_has_maps_of_six_pixels() -> None:
    network = CNN(7, depth=16).eval()
    sizes: list[torch.Size] = []
    network.cam_layer.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape))
    network(torch.randn(1, 1, 48, 48))
    assert sizes[0][-2:] == (6, 6)
