"""Look for what is wrong with a data set: python -m fer.audit data=fer2013."""

import sys

import hydra
from omegaconf import DictConfig

from fer import commands
from fer.audit.command import audit
from fer.config import AuditConfig


@hydra.main(version_base="1.3", config_path="../../conf", config_name="audit")
def main(config: DictConfig) -> None:
    """Hand the composed configuration over."""
    audit(config)


if __name__ == "__main__":
    sys.exit(commands.run(main, AuditConfig))
