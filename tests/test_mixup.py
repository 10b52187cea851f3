"""Mixup: what faces and targets become, and that training with it goes on where it stopped."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fer.classifier import EmotionClassifier
from fer.config import OptimConfig
from fer.distill import Teacher
from fer.labels import EMOTIONS
from fer.mixup import mixed, mixed_targets
from tests.conftest import call, quick, refused
from tests.test_classifier import Fixed


def test_a_face_keeps_its_larger_half_and_shares_its_target_alike() -> None:
    torch.manual_seed(0)
    count = 500
    labels = torch.arange(count) % 7
    faces = (20 * labels + 60).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)  # a grey for every class
    mixture, share = mixed(faces, 1.0)
    targets = mixed_targets(labels, 7, share)
    assert (mixture.dtype, mixture.shape, targets.shape) == (torch.uint8, faces.shape, (count, 7))
    assert torch.allclose(targets.sum(1), torch.ones(count))
    assert torch.equal(targets.argmax(1), labels)
    own = targets[range(count), labels]
    assert 0.5 <= float(own.min()) < 0.52
    assert float(own.mean()) == pytest.approx(0.75, abs=0.02)  # evenly from a half to one
    assert torch.allclose(targets[range(count), labels.roll(1)], 1 - own)
    greys = (targets * (20 * torch.arange(7) + 60)).sum(1)
    assert torch.allclose(mixture[:, 0, 0, 0].float(), greys, atol=0.51)


def test_shares_are_mixed_like_labels() -> None:
    labels, share = torch.arange(70) % 7, torch.rand(70) / 2
    of_labels = mixed_targets(labels, 7, share)
    assert torch.equal(of_labels, mixed_targets(torch.eye(7, dtype=torch.float64)[labels], 7, share))


def test_a_small_alpha_leaves_most_faces_alone() -> None:
    faces = torch.randint(0, 256, (700, 1, 4, 4), dtype=torch.uint8)
    torch.manual_seed(1)
    same = (mixed(faces, 0.05)[0] == faces).flatten(1).all(1).float().mean()
    assert 0.6 < float(same) < 0.95


def test_the_objective_is_of_the_mixture_and_the_accuracy_of_the_faces() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 6])
    faces = torch.zeros(4, 1, 48, 48, dtype=torch.uint8)
    module = EmotionClassifier(Fixed(logits), OptimConfig(label_smoothing=0.0, mixup=0.8), EMOTIONS)
    torch.manual_seed(2)
    objective = module.training_step((faces, labels), 0)
    torch.manual_seed(2)
    targets = mixed_targets(labels, 7, mixed(faces, 0.8)[1])
    assert float(objective.detach()) == pytest.approx(float(-(targets * logits.log_softmax(1)).sum() / 4), abs=1e-5)
    assert module.running()["acc"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))


class Witness(nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(7))

    def forward(self, faces: Tensor) -> Tensor:
        self.seen = faces.clone()
        return self.bias.expand(len(faces), 7)


def test_the_network_and_its_teacher_see_the_same_mixed_faces() -> None:
    faces = torch.randint(0, 256, (8, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network, teacher = Witness(), Witness()
    optim = OptimConfig(label_smoothing=0.0, mixup=0.8)
    module = EmotionClassifier(network, optim, EMOTIONS, teacher=Teacher([teacher], 0.5, {}))
    torch.manual_seed(2)
    module.training_step((faces, torch.arange(8) % 7), 0)
    torch.manual_seed(2)
    expected, _ = mixed(faces, 0.8)
    assert not torch.equal(expected, faces)
    assert torch.equal(network.seen, expected)
    assert torch.equal(teacher.seen, expected)


def test_where_several_classes_are_right_each_face_brings_its_likeliest() -> None:
    logits = torch.tensor([[0.0, 3, 2, 1, 0, 0, 0], [1, 0, 0, 2, 0, 0, 3]])
    right = torch.zeros(2, 7, dtype=torch.bool)
    right[0, [2, 3]], right[1, [0, 3, 5]] = True, True  # of which 2 and 3 are the likeliest in the two mixtures
    faces = torch.zeros(2, 1, 48, 48, dtype=torch.uint8)
    module = EmotionClassifier(Fixed(logits), OptimConfig(label_smoothing=0.0, mixup=0.8), EMOTIONS)
    torch.manual_seed(2)
    objective = module.training_step((faces, torch.tensor([2, 3]), right), 0)
    torch.manual_seed(2)
    targets = mixed_targets(torch.tensor([2, 3]), 7, mixed(faces, 0.8)[1])
    assert float(objective.detach()) == pytest.approx(float(-(targets * logits.log_softmax(1)).sum() / 2), abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optim.mixup=0"], ["optim.mixup: 0.0 is out of range", "at least 0.01"]),
        (["+model.network.remember=10", "optim.mixup=0.2"], ["optim.mixup: ", "set it to null"]),
    ],
)
def test_where_nothing_can_be_mixed(arguments: list[str], words: list[str], tiny_folder: Path) -> None:
    refused(call("train.py", *quick(tiny_folder), *arguments), *words)
