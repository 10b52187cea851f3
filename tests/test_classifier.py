from itertools import pairwise
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fer.classifier import EmotionClassifier
from fer.config import OptimConfig
from fer.labels import EMOTIONS
from fer.muon import Muon
from fer.optimizers import build_optimizer, grouped, lr_factor


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


@pytest.mark.parametrize("momentum", [0.8, 0.0])
def test_sgd_takes_nesterovs_steps_with_the_momentum_asked_for(momentum: float) -> None:
    network = Fixed(torch.zeros(4, 7))
    optimizer = build_optimizer(network, OptimConfig(momentum=momentum), torch.float32, False)
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(momentum, momentum > 0)}


def test_muon_and_adamw_are_what_they_are_called() -> None:
    network = Fixed(torch.zeros(4, 7))
    muon = build_optimizer(network, OptimConfig(optimizer="muon", momentum=0.8), torch.bfloat16, False)
    assert isinstance(muon, Muon) and muon.dtype == torch.bfloat16
    assert {group["momentum"] for group in muon.param_groups} == {0.8}
    adamw = build_optimizer(network, OptimConfig(optimizer="adamw", weight_decay=0.05), torch.float32, False)
    assert type(adamw) is torch.optim.AdamW
    assert sorted(group["weight_decay"] for group in adamw.param_groups) == [0.0, 0.05]


def test_a_validation_logs_plain_figures_over_the_classes_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = torch.eye(7)[[0, 1, 1, 5]] * 3, torch.tensor([0, 1, 0, 2])
    module = EmotionClassifier(Fixed(logits), OptimConfig(label_smoothing=0.2), EMOTIONS)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: float(value)}))
    monkeypatch.setattr(module, "log_dict", lambda values: logged.update({n: float(v) for n, v in values.items()}))
    module.outputs = [(logits, labels)]
    module.on_validation_epoch_end()
    assert logged["val/loss"] == pytest.approx(float(-logits.log_softmax(1)[range(4), labels].mean()))
    assert logged["val/acc"] == 0.5
    assert logged["val/f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)  # angry, disgust and fear
    assert [logged[f"val_f1/{name}"] for name in EMOTIONS[:3]] == pytest.approx([2 / 3, 2 / 3, 0])


def test_an_epochs_figures_are_of_its_own_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    module = EmotionClassifier(Fixed(torch.zeros(1, 7)), OptimConfig(), EMOTIONS)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
    monkeypatch.setattr(EmotionClassifier, "trainer", SimpleNamespace(global_step=1))
    module._lr_factor = lambda step: 1.0
    for factor in (1, 2):
        module.sums += factor * torch.tensor([2.0, 6.0, 1.0, 2.0 / factor])  # of two batches
        module.on_train_epoch_end()
        found = [logged[f"train/{name}"] for name in ("loss", "objective", "acc")]
        assert found == pytest.approx([factor * 1.0, factor * 3.0, factor * 0.5])


def test_every_step_of_every_seed_draws_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, drawn = (torch.zeros(1, 1, 48, 48, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)), []
    for seed, step, rank in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (0, 0, 1)):
        monkeypatch.setattr(EmotionClassifier, "global_step", step)
        monkeypatch.setattr(EmotionClassifier, "global_rank", rank)
        EmotionClassifier(Fixed(torch.zeros(1, 7)), OptimConfig(), EMOTIONS, seed=seed).on_train_batch_start(batch, 0)
        drawn.append(float(torch.rand(())))
    assert len(set(drawn)) == 5
