import pytest
import torch
from torch import nn

from fer.models.cnn import CNN, Pair


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


def test_a_feature_is_dropped_in_training_alone() -> None:
    network = CNN(7, dropout=0.5).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x = torch.randn(2, 1, 48, 48)
    assert not torch.allclose(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_without_shortcuts_a_pair_is_two_plain_convolutions() -> None:
    pair = CNN(7, depth=10, residual=False).eval().features[8]
    assert isinstance(pair, Pair)
    x = torch.rand(2, 96, 6, 6)
    assert torch.equal(pair(x), pair.second(pair.first(x).relu()).relu())
    assert pair(x).std() > 0


def test_without_batch_norm_there_is_none() -> None:
    convolutions = [m for m in CNN(7, batch_norm=False).modules() if isinstance(m, nn.Conv2d)]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in CNN(7, batch_norm=False).modules())
    assert all(convolution.bias is not None for convolution in convolutions)
    assert all(m.bias is None for m in CNN(7).modules() if isinstance(m, nn.Conv2d))


def test_a_network_is_these_layers_in_this_order() -> None:
    network = CNN(7, depth=10)
    kinds = [type(layer).__name__ for layer in network.features]
    stage, halve = ["Sequential", "ReLU"], ["MaxPool2d"]
    assert kinds == stage + halve + stage + halve + 2 * [*stage, "Pair", *halve] + stage
    widths = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [32, 48, 96, 96, 96, 192, 192, 192, 384]


def test_convolutions_start_with_the_deviation_that_keeps_gradients() -> None:
    weight = next(CNN(7, depth=10, width=4.0).parameters())
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.1)


def test_a_pair_is_bent_behind_each_convolution() -> None:
    pair = Pair(8, residual=True, batch_norm=False)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(pair(x), (x + pair.second(pair.first(x).relu())).relu())
