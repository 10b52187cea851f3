"""What `python -m fer.predict` does: pictures in, a table of what one or several trained networks see in them out."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from fer.chosen import chosen
from fer.commands import report, reporting
from fer.config import PredictConfig, checked, choose
from fer.data.pictures import with_progress
from fer.data.unlabelled import read_unlabelled
from fer.device import root_device
from fer.errors import FerError
from fer.prediction import VIEWS, average, in_batches, most_at_once, predict
from fer.prediction_table import is_predictions, write_predictions
from fer.runs import make_folder
from fer.terminal import say
from fer.weights import TrainedRun, open_run

SHOWN = 10  # how many pictures, or files that are not pictures, are named one by one


@reporting()
def predict_pictures(plain: DictConfig) -> None:
    """Write what trained networks see in pictures; files that are not pictures are reported and skipped."""
    config = checked(plain, PredictConfig)
    views = choose(config.views, tuple(VIEWS), "views")
    runs = [open_run(path) for path in chosen(config.run).paths]
    classes = _classes(runs)
    device = root_device(config.accelerator)
    file = Path(config.file).expanduser()
    make_folder(file.parent, "choose another with file=path")
    if file.exists() and not is_predictions(file):
        raise FerError(f"file: '{file}' is there and no table of predictions; choose another name")
    pictures = Path(config.pictures).expanduser()
    read = {size: read_unlabelled(pictures, size, file) for size in {run.config.data.size for run in runs}}
    names, _, errors = next(iter(read.values()))
    opinions = [_opinion(run, read[run.config.data.size].images, views, device) for run in runs]
    logits = average(opinions) if len(runs) > 1 else opinions[0]
    sound = torch.isfinite(logits).all(1)
    unclear = (~sound).nonzero().flatten().tolist()
    errors += [FerError(f"{names[row]}: the network gives no numbers for it, so it is left out") for row in unclear]
    names, logits = [names[row] for row in sound.nonzero().flatten().tolist()], logits[sound]
    write_predictions(file, names, classes, {views: logits})
    for damaged in errors[:SHOWN]:
        report(damaged)
    if len(errors) > SHOWN:
        report(FerError(f"pictures: {len(errors) - SHOWN} more files are no sound pictures"))
    for line in _told(names, logits.softmax(1), classes):
        say(line)
    by = runs[0].trained.name if len(runs) == 1 else f"the mean of {len(runs)} networks"
    say(f"{file}: {len(names)} pictures, by {by}")


def _classes(runs: list[TrainedRun]) -> tuple[str, ...]:
    """Return the classes that trained networks tell apart, if they are the same."""
    first = runs[0]
    for run in runs[1:]:
        if run.trained.classes != first.trained.classes:
            told = [f"'{one.file}' tells {', '.join(one.trained.classes)} apart" for one in (first, run)]
            raise FerError(f"run: {' and '.join(told)}; a mean needs networks of the same classes")
    return first.trained.classes


def _opinion(run: TrainedRun, images: NDArray[np.uint8], views: str, device: torch.device) -> Tensor:
    """Return a network's logits (N, C) for pictures, uint8 (N, H, W)."""
    size = most_at_once(device, run.config.data.batch_size)
    batches = with_progress(in_batches(images, size), -(-len(images) // size), "Looking at them", least=SHOWN)
    logits = predict(run.trained.model.to(device), batches, device, [views])[views]
    if not torch.isfinite(logits).all(1).any():
        raise FerError(f"run: the network of '{run.file}' gives no numbers, for any picture; train another")
    return logits


def _told(names: list[str], probabilities: Tensor, classes: tuple[str, ...]) -> list[str]:
    """Return a line for each picture or, if there are many, how often each class was seen."""
    guesses = [classes[guess] for guess in probabilities.argmax(1).tolist()]
    if len(names) > SHOWN:
        return [f"{name}: {count}" for name, count in Counter(guesses).most_common()]
    sure = probabilities.amax(1).tolist()
    return [f"{name}: {guess} ({share:.0%})" for name, guess, share in zip(names, guesses, sure, strict=True)]
