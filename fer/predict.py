"""Say what a trained network sees in pictures: python -m fer.predict run=weights/cnn10.safetensors pictures=folder."""

import sys

import hydra
from omegaconf import DictConfig

from fer import commands, predict_command
from fer.config import PredictConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(config: DictConfig) -> None:
    """Hand the composed configuration over."""
    predict_command.predict_pictures(config)


if __name__ == "__main__":
    sys.exit(commands.run(main, PredictConfig))
