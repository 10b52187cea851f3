"""Read a run's checkpoints, checking that they are whole and belong to the run."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from fer.build import plain_model, rebuild_model
from fer.config import ModelConfig
from fer.errors import FerError, first_line
from fer.models.preprocess import FaceModel


class Trained(NamedTuple):
    """A run's best model, with what its checkpoint says about it."""

    model: FaceModel
    name: str
    classes: tuple[str, ...]
    epoch: int


def read_checkpoint(path: Path, config: ModelConfig) -> dict[str, Any]:
    """Return the content of a checkpoint of the model that a run's configuration describes.

    Raises:
        FerError: If the file is missing, cannot be read, is not a checkpoint of this program, or is of another model.
    """
    if not path.is_file():
        raise FerError(f"'{path.parent}' holds no {path.name}; has the run finished an epoch?")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load passes on whatever unpickling a damaged file raises
        raise FerError(f"'{path}' is damaged and cannot be read ({first_line(error)}); train the run again") from error
    try:
        plain = dict(checkpoint)["hyper_parameters"]["model"]
        same = _architecture(plain) == _architecture(plain_model(config, 0, False))
        name = plain["name"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise FerError(f"'{path}' is no checkpoint of this program; put the run's own back") from error
    if not same:
        raise FerError(
            f"'{path}' is a checkpoint of another model ({name}) than the run's config.yaml describes "
            f"({config.name}); put the run's own checkpoint back"
        )
    return checkpoint


def check_kept(folder: Path, last: dict[str, Any]) -> None:
    """Check that a run to be resumed still has the best checkpoint so far, which its test may need.

    Args:
        folder: The run's folder.
        last: The content of its `last.ckpt`.

    Raises:
        FerError: If `best.ckpt` existed when `last.ckpt` was written, and no longer does.
    """
    kept = [state.get("best_model_path") for state in last["callbacks"].values() if isinstance(state, dict)]
    if any(path and Path(path).name == "best.ckpt" for path in kept) and not (folder / "best.ckpt").is_file():
        raise FerError(f"'{folder}' holds no best.ckpt any more, which last.ckpt names; put the run's own back")


def load_trained(path: Path, config: ModelConfig) -> Trained:
    """Rebuild the model that a run's checkpoint holds.

    Raises:
        FerError: As `read_checkpoint` does, or if the weights do not fit.
    """
    checkpoint = read_checkpoint(path, config)
    plain = checkpoint["hyper_parameters"]["model"]
    try:
        classes = tuple(checkpoint["hyper_parameters"]["classes"])
        state = {
            name.removeprefix("network."): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith("network.")
        }
        model = rebuild_model(plain)
        model.load_state_dict(state)
        return Trained(model.eval(), plain["name"], classes, int(checkpoint["epoch"]) + 1)
    except (KeyError, TypeError, AttributeError) as error:
        raise FerError(f"'{path}' is no checkpoint of this program (it lacks {error})") from error
    except RuntimeError as error:
        raise FerError(
            f"'{path}' does not fit the model it names ({first_line(error)}); put the run's own back"
        ) from error


def _architecture(plain: dict[str, Any]) -> dict[str, Any]:
    """Return what makes two models the same; the weights that they started from do not matter."""
    network = {key: value for key, value in plain["network"].items() if key != "weights"}
    return {"name": plain["name"], "input": dict(plain["input"]), "network": network}
