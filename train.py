"""Train a classifier: python train.py model=cnn10, or several: python train.py -m model=cnn10,cnn12."""

import sys

import hydra
from omegaconf import DictConfig

from fer import commands, train_command
from fer.config import TrainConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """Hand the composed configuration over."""
    train_command.train(config)


if __name__ == "__main__":
    sys.exit(commands.run(main, TrainConfig))
