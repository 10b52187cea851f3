"""What the progress bar says."""

from types import SimpleNamespace
from typing import Any

import pytest

from fer.callbacks.progress import Throughput, TrainingBar, clock


@pytest.mark.parametrize("resumed_at", [0, 100])
def test_the_time_left_counts_what_was_trained_on_since_the_run_was_resumed(resumed_at: int) -> None:
    throughput = Throughput()
    bar = TrainingBar(throughput)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=149))
    trainer: Any = SimpleNamespace(
        max_epochs=3, current_epoch=1, num_training_batches=200, fit_loop=loop, callback_metrics={"val/acc": 0.5}
    )
    throughput.batches = 150 - resumed_at
    throughput.images, throughput.seconds = 128 * throughput.batches, 0.5 * throughput.batches
    shown = bar._figures(trainer, SimpleNamespace(running=lambda: {"loss": 1.0}))  # type: ignore[arg-type]
    # 50 batches of this epoch and 200 of the next, half a second each
    assert shown == {"loss": 1.0, "val acc": 0.5, "images/s": "256", "left": "2:05"}


def test_a_clock() -> None:
    assert [clock(seconds) for seconds in (7, 65, 3661)] == ["0:07", "1:05", "1:01:01"]
