from itertools import pairwise

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fer.classifier import EmotionClassifier
from fer.config import OptimConfig
from fer.labels import EMOTIONS
from fer.optimizers import grouped, lr_factor


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    rates = [lr_factor("cosine", step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))


def test_linear_and_constant_schedules() -> None:
    assert lr_factor("linear", 55, 100, 10) == pytest.approx(0.5)
    assert lr_factor("constant", 99, 100, 10) == 1.0
    assert lr_factor("constant", 0, 100, 0) == 1.0


class Fixed(nn.Module):
    """Gives the logits of a table, whatever the faces."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.gain = nn.Parameter(torch.ones(7))

    def forward(self, faces: Tensor) -> Tensor:
        return self.logits[: len(faces)] * self.gain


def test_the_objective_is_smoothed_and_weighted_but_the_logged_loss_is_not() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 6])
    weights = [1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 2.0]
    module = EmotionClassifier(Fixed(logits), OptimConfig(label_smoothing=0.2), EMOTIONS, weights)
    objective = module.training_step((torch.zeros(4, 1, 48, 48, dtype=torch.uint8), labels), 0)
    logs = logits.log_softmax(1)
    plain = -logs[range(4), labels].mean()
    w = torch.tensor(weights)
    hard = -(w[labels] * logs[range(4), labels]).sum() / w[labels].sum()
    soft = -(w * logs).sum() / w[labels].sum() / 7
    assert float(objective.detach()) == pytest.approx(float(0.8 * hard + 0.2 * soft), abs=1e-5)
    assert module.running()["loss"] == pytest.approx(float(plain), abs=1e-5)
    assert module.running()["acc"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))


def one_step(targets: Tensor, weights: list[float] | None, smoothing: float = 0.0) -> tuple[EmotionClassifier, float]:
    """Return a classifier and its objective for faces whose labels are 0, 1, 1, 6 but whose targets are these."""
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    module = EmotionClassifier(Fixed(logits), OptimConfig(label_smoothing=smoothing), EMOTIONS, weights)
    batch = (torch.zeros(4, 1, 48, 48, dtype=torch.uint8), torch.tensor([0, 1, 1, 6]), targets)
    return module, float(module.training_step(batch, 0).detach())


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 2.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_targets_that_say_what_the_labels_say_are_worth_the_same(weights: list[float] | None, smoothing: float) -> None:
    labels = torch.tensor([0, 1, 1, 6])
    one_hot = torch.eye(7)[labels]
    expected = one_step(labels, weights, smoothing)[1]
    for targets in (one_hot, one_hot.bool()):
        assert one_step(targets, weights, smoothing)[1] == pytest.approx(expected, abs=1e-6)


def test_shares_are_learned_by_cross_entropy() -> None:
    shares = torch.tensor([[0.5, 0.3, 0.2, 0, 0, 0, 0], *torch.eye(7)[[1, 2, 3]].tolist()])
    module, objective = one_step(shares, None)
    logs = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    assert objective == pytest.approx(float(-(shares * logs).sum() / 4), abs=1e-5)
    # what is shown stays comparable with validation: by the labels
    assert module.running()["loss"] == pytest.approx(float(-logs[range(4), [0, 1, 1, 6]].mean()), abs=1e-5)
    assert module.running()["acc"] == pytest.approx(
        float((logs.argmax(1) == torch.tensor([0, 1, 1, 6])).float().mean())
    )


def test_of_several_right_classes_the_likeliest_counts() -> None:
    right = torch.tensor(
        [[1, 1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]], dtype=torch.bool
    )
    _, objective = one_step(right, None)
    probabilities = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert objective == pytest.approx(float(-(probabilities * right).amax(1).log().mean()), abs=1e-5)


def test_drawn_labels_are_learned_and_the_accuracy_is_by_the_majority() -> None:
    drawn = torch.tensor([2, 1, 3, 6])
    module, objective = one_step(drawn, None)
    logs = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    assert objective == pytest.approx(float(-logs[range(4), drawn].mean()), abs=1e-5)
    assert module.running()["loss"] == pytest.approx(float(-logs[range(4), [0, 1, 1, 6]].mean()), abs=1e-5)


def test_gains_and_offsets_are_not_decayed() -> None:
    module = EmotionClassifier(Fixed(torch.zeros(4, 7)), OptimConfig(weight_decay=0.1, lr=0.5), EMOTIONS)
    groups = grouped(module.network, module.optim)
    decays = {tuple(p.ndim for p in group["params"]): group["weight_decay"] for group in groups}
    assert decays == {(2,): 0.1, (1,): 0.0}
    assert all(group["lr"] == 0.5 for group in groups)


def test_checkpoints_hold_plain_values_only() -> None:
    module = EmotionClassifier(Fixed(torch.zeros(1, 7)), OptimConfig(), EMOTIONS, model_config={"name": "fixed"})
    assert module.hparams == {"model": {"name": "fixed"}, "classes": list(EMOTIONS)}
    assert "class_weights" not in module.state_dict()


class Seen(nn.Module):
    """One layer, and the type that it computed in, batch by batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 7)
        self.types: list[torch.dtype] = []

    def forward(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.layer(faces.float().flatten(1))
        self.types.append(logits.dtype)
        return logits


def test_a_training_in_bf16_is_validated_in_float32() -> None:
    faces = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = DataLoader(TensorDataset(faces, torch.arange(8) % 7), batch_size=8)
    network = Seen()
    trainer = L.Trainer(
        accelerator="cpu", precision="bf16-mixed", max_steps=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    module = EmotionClassifier(network, OptimConfig(), EMOTIONS)
    trainer.fit(module, batches, batches)
    assert network.types == [torch.bfloat16, torch.float32]
    with torch.no_grad():
        assert torch.equal(module.evaluated()[0], network(faces))
