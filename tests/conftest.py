"""Shared by all tests: the drawn sample in small, and Hydra configurations composed as the commands do."""

import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from fer.config import TrainConfig, checked

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def away_from_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run every test in an empty folder, with its own cache and without FER2013."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER2013_ROOT", raising=False)
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))


def composed(*overrides: str) -> TrainConfig:
    """Return the configuration that `train.py` composes from these overrides."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", list(overrides))
    return checked(config, TrainConfig)


def command_environment(**extra: str) -> dict[str, str]:
    """Return the environment for commands run as a user runs them."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **extra}
