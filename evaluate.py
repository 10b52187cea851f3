"""Evaluate a run, or every run of a sweep: python evaluate.py run=logs/cnn10/2026-01-31_12-00-00."""

import sys

import hydra
from omegaconf import DictConfig

from fer import commands, evaluate_command
from fer.config import EvaluateConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Hand the composed configuration over."""
    evaluate_command.evaluate(config)


if __name__ == "__main__":
    sys.exit(commands.run(main, EvaluateConfig))
