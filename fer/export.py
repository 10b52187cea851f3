"""Write a run's best network into a small file: python -m fer.export run=logs/… file=weights/cnn10.safetensors."""

import sys

import hydra
from omegaconf import DictConfig

from fer import commands, export_command
from fer.config import ExportConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="export")
def main(config: DictConfig) -> None:
    """Hand the composed configuration over."""
    export_command.export(config)


if __name__ == "__main__":
    sys.exit(commands.run(main, ExportConfig))
