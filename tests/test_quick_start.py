"""The README's first command, on a machine that has neither FER2013 nor a network."""

import json
from pathlib import Path

import pytest

from tests.conftest import command


@pytest.mark.slow
def test_the_first_command_learns_emotions_in_four_minutes() -> None:
    result = command("train.py", "model=cnn10", timeout=240)
    assert result.returncode == 0, result.stderr
    assert "FER2013 was not found" in result.stderr
    (metrics,) = Path("logs/cnn10").glob("*/metrics.json")
    content = json.loads(metrics.read_text())
    assert content["test"]["acc"] > 0.9
    assert content["data"]["source"] == "embedded sample of drawn faces"
