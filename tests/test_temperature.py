import pytest
import torch
import torch.nn.functional as F

from fer.temperature import fitted_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_calibrated_logits_is_found(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    calibrated = 2 * torch.randn(20_000, 7, generator=generator)
    labels = torch.multinomial(calibrated.softmax(1), 1, generator=generator)[:, 0]
    assert fitted_temperature(temperature * calibrated, labels) == pytest.approx(temperature, rel=0.04)


def test_no_other_temperature_is_better() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(7, (300,), generator=generator)
    logits = torch.randn(300, 7, generator=generator) + F.one_hot(labels, 7)
    found = fitted_temperature(logits, labels)
    best = F.cross_entropy(logits / found, labels)
    assert all(best < F.cross_entropy(logits / (found * factor), labels) for factor in (0.9, 0.97, 1.03, 1.1))


def test_a_handful_of_pictures_says_nothing_of_the_temperature() -> None:
    logits, labels = torch.eye(3), torch.arange(3)
    assert fitted_temperature(logits, labels) == 1.0
    assert fitted_temperature(-logits, labels) == 1.0
