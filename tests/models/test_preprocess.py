import pytest
import torch
from torch import nn

from fer.models.preprocess import FaceModel, Preprocess


def test_scales_normalises_and_repeats_the_grey_channel() -> None:
    preprocess = Preprocess(48, 3, [0.5, 0.4, 0.3], [0.1, 0.2, 0.5])
    faces = torch.full((2, 1, 48, 48), 51, dtype=torch.uint8)
    pixels = preprocess(faces)
    assert pixels.shape == (2, 3, 48, 48)
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([-3.0, -1.0, -0.2]))


@pytest.mark.parametrize("size", [24, 96])
def test_resizes_on_the_device(size: int) -> None:
    ramp = torch.arange(48, dtype=torch.uint8).expand(1, 1, 48, 48)
    pixels = Preprocess(size, 1, [0.0], [1.0])(ramp)
    assert pixels.shape == (1, 1, size, size)
    assert abs(float(pixels.mean()) - 23.5 / 255) < 1e-4
    assert bool((pixels[0, 0, 0].diff() >= 0).all())


def test_the_network_gets_nhwc_activations() -> None:
    seen: list[bool] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return x.mean(dim=(1, 2, 3))

    FaceModel(Preprocess(48, 3, [0.5] * 3, [0.2] * 3), Spy())(torch.zeros(2, 1, 48, 48, dtype=torch.uint8))
    assert seen == [True]


def test_preprocessing_is_saved_with_the_weights() -> None:
    model = FaceModel(Preprocess(48, 1, [0.5074], [0.2552]), nn.Identity())
    assert set(model.state_dict()) == {"preprocess.mean", "preprocess.std"}


def test_layers_normalise_alike_at_any_size_but_not_with_other_statistics() -> None:
    layer = Preprocess(48, 1, [0.5], [0.25])
    assert layer.normalises_like(Preprocess(64, 1, [0.5], [0.2501]))
    assert not layer.normalises_like(Preprocess(48, 1, [0.4], [0.25]))
    assert not layer.normalises_like(Preprocess(48, 1, [0.5], [0.3]))
    assert not layer.normalises_like(Preprocess(48, 3, [0.5] * 3, [0.25] * 3))


def test_a_reduced_picture_is_smoothed_first() -> None:
    stripes = (torch.arange(48) % 4 == 0).mul(255).to(torch.uint8).expand(1, 1, 48, 48)
    pixels = Preprocess(12, 1, [0.0], [1.0])(stripes)
    assert float((pixels - 0.25)[..., 2:-2].abs().max()) < 0.05
