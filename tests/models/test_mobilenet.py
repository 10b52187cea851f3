from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import MobileNet_V2_Weights, MobileNetV2, mobilenet_v2

from fer.config import OptimConfig
from fer.models.fold import fold
from fer.models.mobilenet import MobileNet, WeightsUnavailableError, _windows, keras_layers, pooled_to
from fer.optimizers import grouped


def test_keras_counts_154_layers() -> None:
    assert len(keras_layers(mobilenet_v2(weights=None).features)) == 154


def test_the_last_30_layers_are_blocks_15_to_18_and_the_norm_before() -> None:
    network = MobileNet(7, weights=None, trainable_layers=30)
    trained = {name for name, parameter in network.features.named_parameters() if parameter.requires_grad}
    expected = {
        name
        for name, _ in network.features.named_parameters()
        if int(name.split(".")[0]) >= 15 or name.startswith("14.conv.3.")
    }
    assert trained == expected


def test_what_lies_behind_the_last_tap_is_not_computed() -> None:
    network = MobileNet(7, weights=None, trainable_layers=30, taps=(6, 13), grids=(4, 4)).train()
    network(torch.randn(4, 3, 64, 64)).sum().backward()
    assert len(network.features) == 14
    trained = {name: value for name, value in network.features.named_parameters() if value.requires_grad}
    assert all(parameter.grad is not None for parameter in trained.values())
    # 25 layers in blocks 11 to 13, and the five that end block 10
    assert {name.split(".")[0] for name in trained} == {"10", "11", "12", "13"}


def test_layers_count_from_the_last_tap_on() -> None:
    network = MobileNet(7, weights=None, trainable_layers=1, taps=(6, 13), grids=(4, 4))
    trained = {name for name, value in network.features.named_parameters() if value.requires_grad}
    assert trained == {"13.conv.3.weight", "13.conv.3.bias"}
    assert network.cam_layer is network.features[13]


def test_a_head_that_sees_other_blocks_is_no_start() -> None:
    with pytest.raises(ValueError, match="other blocks"):
        MobileNet(7, weights=None).grown_from(MobileNet(7, weights=None, taps=(6, 13), grids=(4, 4)))


def test_frozen_batch_norm_keeps_its_statistics_in_training_mode() -> None:
    network = MobileNet(7, weights=None, trainable_layers=30).train()
    before = {name: buffer.clone() for name, buffer in network.features.named_buffers()}
    network(torch.randn(4, 3, 64, 64))
    changed = {
        name.rsplit(".", 1)[0]
        for name, buffer in network.features.named_buffers()
        if not torch.equal(buffer, before[name])
    }
    trained = {name for name, module in network.features.named_modules() if module in network.trained}
    norms = {name for name, module in network.features.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert changed == trained & norms
    assert changed


def backbone() -> MobileNetV2:
    """Return a random backbone whose batch norms are no identities."""
    torch.manual_seed(0)
    network: MobileNetV2 = mobilenet_v2(weights=None).eval()
    for module in network.features.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network


def assert_same_features(network: MobileNet, source: MobileNetV2) -> None:
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = network.eval().features(x), source.features(x)
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("trainable", [0, 30])
def test_a_file_of_weights_is_loaded(tmp_path: Path, trainable: int) -> None:
    source = backbone()
    path = tmp_path / "backbone.safetensors"
    save_file({f"features.{name}": value for name, value in source.features.state_dict().items()}, path)
    assert_same_features(MobileNet(7, weights=str(path), trainable_layers=trainable), source)


def test_a_full_state_dict_is_loaded_without_its_classifier(tmp_path: Path) -> None:
    source = backbone()
    torch.save(source.state_dict(), tmp_path / "model.pth")
    assert_same_features(MobileNet(7, weights=str(tmp_path / "model.pth")), source)


def test_frozen_batch_norms_are_folded_and_trained_ones_are_not() -> None:
    def norms(trainable: int) -> int:
        modules = MobileNet(7, weights=None, trainable_layers=trainable).features.modules()
        return sum(isinstance(module, nn.BatchNorm2d) for module in modules)

    assert norms(0) == 0
    assert norms(30) == 1 + 3 * 3 + 1  # that which ends block 14, three in each of 15 to 17, and the last one


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.safetensors", None, "there is no file"),
        ("broken.safetensors", b"no weights", "cannot be read as weights"),
        ("broken.pth", b"no weights", "cannot be read as weights"),
    ],
)
def test_bad_weights_name_the_file(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsUnavailableError, match=message) as caught:
        MobileNet(7, weights=str(path))
    assert name in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsUnavailableError, match="does not hold the backbone"):
        MobileNet(7, weights=str(path))


def test_the_backbone_trains_at_its_share_of_the_rate() -> None:
    frozen = dict(enumerate(MobileNet(7, weights=None).parameter_groups()))
    assert [share for share, _ in frozen.values()] == [1.0]
    network = MobileNet(7, weights=None, trainable_layers=30, backbone_lr=0.05)
    tuned = list(network.parameter_groups())
    assert [share for share, _ in tuned] == [1.0, 0.05]
    of_backbone = {id(parameter) for parameter in network.features.parameters()}
    for group in grouped(network, OptimConfig(lr=2.0)):
        inside = [id(parameter) in of_backbone for parameter in group["params"]]
        assert group["lr"] == (0.1 if all(inside) else 2.0)
        assert all(inside) or not any(inside)
    assert all(parameter.requires_grad for _, group in tuned for parameter in group)


@pytest.mark.parametrize("trainable", [0, 30, 154])
def test_slices_of_a_batch_change_nothing(trainable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = MobileNet(7, weights=None, trainable_layers=trainable).eval()
    faces = torch.randn(5, 3, 64, 64)
    maps: list[torch.Tensor] = []
    network.cam_layer.register_forward_hook(lambda _, __, output: maps.append(output))
    monkeypatch.setattr("fer.models.mobilenet.SLICE", 2)
    sliced = network(faces)
    monkeypatch.setattr("fer.models.mobilenet.SLICE", 5)
    torch.testing.assert_close(sliced, network(faces))
    assert [len(of_faces) for of_faces in maps] == [5, 5]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_a_network_that_is_traced_or_exported_takes_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer.models.mobilenet.SLICE", 2)
    network = MobileNet(7, weights=None, hidden=8).eval()
    faces = torch.randn(5, 3, 64, 64)
    sizes = ({0: torch.export.Dim("n", min=1, max=8)},)
    traced: torch.jit.ScriptModule = torch.jit.trace(network, faces[:1])  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for handed_on in (traced, torch.export.export(network, (faces[:3],), dynamic_shapes=sizes).module()):
            for count in (1, 3, 5):
                torch.testing.assert_close(handed_on(faces[:count]), network(faces[:count]))


def test_a_batch_norm_without_statistics_is_no_constant_to_fold() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    pictures = torch.rand(4, 1, 5, 5)
    expected = network(pictures)
    fold(network)
    assert torch.equal(network(pictures), expected)


def test_the_head_drops_features_before_each_of_its_layers_in_training_alone() -> None:
    head = MobileNet(7, weights=None, dropout=0.4, hidden=64).head
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["BatchNorm1d", "Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.4, 0.4]


def test_the_head_sees_the_mean_over_each_cell_of_each_tap_in_their_order() -> None:
    network = MobileNet(7, weights=None).eval()
    maps: list[torch.Tensor] = []
    for tap in network.taps:
        network.features[tap].register_forward_hook(lambda _, __, output: maps.append(output))
    seen = network.pooled(torch.randn(1, 3, 128, 128))
    cells = [nn.functional.adaptive_avg_pool2d(each, grid) for each, grid in zip(maps, (4, 4, 2), strict=True)]
    assert torch.allclose(seen, torch.cat([each.flatten(1) for each in cells], dim=1))


def test_maps_are_pooled_in_the_same_way_where_pytorch_cannot() -> None:
    for size, grid in ((10, 4), (5, 2), (7, 3)):
        x = torch.randn(2, 3, size, size + 1, requires_grad=True)
        rows, columns = _windows(size, grid), _windows(size + 1, grid)
        assert torch.allclose(rows @ x @ columns.T, nn.functional.adaptive_avg_pool2d(x, grid), atol=1e-6)

    class OnAppleGPU(torch.Tensor):
        device = torch.device("mps")

    x = torch.randn(1, 3, 5, 5)
    assert torch.allclose(pooled_to(x.as_subclass(OnAppleGPU), 2), pooled_to(x, 2), atol=1e-6)


def test_the_weights_of_imagenet_are_the_first_version(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def known(self: MobileNet_V2_Weights, **_: object) -> dict[str, torch.Tensor]:
        asked.append(self)
        weights: dict[str, torch.Tensor] = backbone().state_dict()
        return weights

    monkeypatch.setattr(MobileNet_V2_Weights, "get_state_dict", known)
    MobileNet(7, weights="imagenet")
    assert asked == [MobileNet_V2_Weights.IMAGENET1K_V1]
