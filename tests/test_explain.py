from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fer.data.sample import draw_faces
from fer.diagrams import cams
from fer.explain import grad_cam
from fer.models.preprocess import FaceModel, Preprocess


class Corner(nn.Module):
    """Class 0 speaks for light in the top left quadrant, class 1 for light in the bottom right one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        nn.init.constant_(self.conv.weight, 0.1)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, faces: Tensor) -> Tensor:
        maps = self.act(self.norm(self.conv(faces.float() / 255)))
        half = maps.shape[-1] // 2
        return torch.stack((maps[..., :half, :half].mean((1, 2, 3)), maps[..., half:, half:].mean((1, 2, 3))), 1)


@pytest.fixture
def model() -> Corner:
    torch.manual_seed(0)
    return Corner().eval()


@pytest.fixture
def faces() -> Tensor:
    """Pictures with one bright square at the top left, or at the bottom right."""
    faces = torch.zeros(2, 1, 48, 48, dtype=torch.uint8)
    faces[0, 0, 6:16, 6:16] = 255
    faces[1, 0, 32:42, 32:42] = 255
    return faces


def peaks(heat: Tensor) -> list[tuple[int, int]]:
    return [divmod(int(each.argmax()), each.shape[-1]) for each in heat]


def test_heat_peaks_where_the_logit_looks(model: Corner, faces: Tensor) -> None:
    heat = grad_cam(model, model.conv, faces)
    assert heat.shape == (2, 48, 48) and heat.dtype == torch.float32
    assert heat.amin() >= 0 and heat.amax(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0])
    (first_row, first_column), (second_row, second_column) = peaks(heat)
    assert max(first_row, first_column) < 24 <= min(second_row, second_column)
    assert heat[0, 24:, 24:].max() < 0.05


def test_light_where_another_class_looks_is_no_heat(model: Corner, faces: Tensor) -> None:
    both = faces[:1].maximum(faces[1:])
    first, second = grad_cam(model, model.conv, both.expand(2, -1, -1, -1), torch.tensor([0, 1]))
    assert first[6:16, 6:16].max() == 1 and second[32:42, 32:42].max() == 1
    assert first[24:, 24:].max() < 0.05 and second[:24, :24].max() < 0.05


def test_heat_of_coarse_maps_is_as_large_as_the_picture(faces: Tensor) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 3, 8, stride=8)
    model = nn.Sequential(Scale(), conv, nn.Flatten(), nn.Linear(108, 7))
    assert grad_cam(model, conv, faces).shape == (2, 48, 48)


class Scale(nn.Module):
    def forward(self, faces: Tensor) -> Tensor:
        return faces.float() / 255


def test_targets_choose_the_class(faces: Tensor) -> None:
    # Class 0 is for light and class 1 against it, so nothing speaks for class 1.
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 1, 3)
    nn.init.constant_(conv.weight, 1.0)
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    model = nn.Sequential(Scale(), conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    heat = grad_cam(model, conv, faces, torch.tensor([0, 1]))
    assert heat[0].max() == 1
    assert not heat[1].any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_frozen_parameters_and_modes_without_gradients_change_nothing(
    model: Corner, faces: Tensor, mode: type[torch.no_grad] | type[torch.inference_mode]
) -> None:
    expected = grad_cam(model, model.conv, faces)
    model.requires_grad_(False)
    with mode():
        heat = grad_cam(model, model.conv, faces.clone())
    assert torch.equal(heat, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_model_is_left_as_it_was(model: Corner, faces: Tensor) -> None:
    model.train()
    model.norm.eval()  # as a frozen block keeps it
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grad_cam(model, model.conv, faces)
    assert model.training and model.conv.training and not model.norm.training
    assert torch.equal(model.conv.weight.grad, torch.ones_like(model.conv.weight))
    assert model.norm.weight.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.conv._forward_hooks


def test_hooks_and_modes_are_restored_after_an_error(model: Corner) -> None:
    model.train()
    with pytest.raises(RuntimeError):
        grad_cam(model, model.conv, torch.zeros(1, 3, 48, 48, dtype=torch.uint8))
    assert model.training and not model.conv._forward_hooks


def test_a_layer_that_gives_no_maps_is_refused(model: Corner, faces: Tensor) -> None:
    with pytest.raises(ValueError, match="must run in the model"):
        grad_cam(model, nn.Conv2d(1, 1, 1), faces)
    flat = nn.Flatten()
    with pytest.raises(ValueError, match="return maps"):
        grad_cam(nn.Sequential(Scale(), flat, nn.Linear(48 * 48, 7)), flat, faces)


class Aside(nn.Module):
    """Names a layer that has no part in its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.cam_layer = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(48 * 48, 7)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


def test_a_report_goes_without_what_a_network_cannot_show(caplog: pytest.LogCaptureFixture) -> None:
    model = FaceModel(Preprocess(48, 1, [0.5], [0.25]), Aside()).eval()
    shown = draw_faces(train=14, val=7, test=7).split("test")
    assert cams(model, shown, torch.zeros(len(shown), 7), torch.device("cpu")) == []
    assert "The report shows no Grad-CAM: cam_layer gives no feature maps (the layer must run" in caplog.text


class Misspelt(Corner):
    """Names a layer that it does not have."""

    @property
    def cam_layer(self) -> nn.Module:
        return [self.conv][1]


def test_a_layer_that_cannot_be_named_costs_the_report_only_its_maps(caplog: pytest.LogCaptureFixture) -> None:
    faces = draw_faces(train=14, val=7, test=7).split("val")
    torch.manual_seed(0)
    model = FaceModel(Preprocess(48, 1, [0.5], [0.25]), Misspelt(), channels_last=False).eval()
    assert cams(model, faces, torch.zeros(len(faces), 7), torch.device("cpu")) == []
    assert "shows no Grad-CAM: cam_layer gives no feature maps (list index out of range)" in caplog.text


def test_the_class_explained_is_the_models_output_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tensor] = []

    def noting(model: nn.Module, layer: nn.Module, faces: Tensor, targets: Tensor) -> Tensor:
        asked.append(targets)
        return torch.zeros(len(faces), 48, 48)

    monkeypatch.setattr("fer.diagrams.grad_cam", noting)
    faces = draw_faces(train=14, val=7, test=7).split("val")
    some = replace(faces.take(np.flatnonzero(np.isin(faces.labels, (0, 1)))), classes=("angry", "disgust"))
    network = Corner()
    network.cam_layer = network.conv
    model = FaceModel(Preprocess(48, 1, [0.5], [0.25]), network, channels_last=False).eval()
    (found,) = cams(model, some, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.device("cpu"), outputs=[3, 5])
    assert found[0] == "Grad-CAM"
    assert asked[0].tolist() == [5, 3]
