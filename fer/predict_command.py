"""What `python -m fer.predict` does: pictures in, a table of a trained network's opinions out."""

from collections import Counter
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from fer.commands import report, reporting
from fer.config import PredictConfig, checked, choose
from fer.data.pictures import with_progress
from fer.data.unlabelled import read_unlabelled
from fer.device import root_device
from fer.errors import FerError
from fer.prediction import VIEWS, in_batches, most_at_once, predict
from fer.prediction_table import is_predictions, write_predictions
from fer.runs import make_folder
from fer.terminal import say
from fer.weights import open_run

SHOWN = 10  # how many pictures, or files that are not pictures, are named one by one


@reporting()
def predict_pictures(plain: DictConfig) -> None:
    """Write what a trained network sees in pictures; files that are not pictures are reported and skipped."""
    config = checked(plain, PredictConfig)
    views = choose(config.views, tuple(VIEWS), "views")
    run = open_run(Path(config.run).expanduser())
    device = root_device(config.accelerator)
    file = Path(config.file).expanduser()
    make_folder(file.parent, "choose another with file=path")
    if file.exists() and not is_predictions(file):
        raise FerError(f"file: '{file}' is there and no table of predictions; choose another name")
    names, images, errors = read_unlabelled(Path(config.pictures).expanduser(), run.config.data.size, file)
    size = most_at_once(device, run.config.data.batch_size)
    batches = with_progress(in_batches(images, size), -(-len(images) // size), "Looking at them", least=SHOWN)
    logits = predict(run.trained.model.to(device), batches, device, [views])[views]
    sound = torch.isfinite(logits).all(1)
    if not sound.any():
        raise FerError(f"run: the network of '{run.file}' gives no numbers, for any picture; train another")
    unclear = (~sound).nonzero().flatten().tolist()
    errors += [FerError(f"{names[row]}: the network gives no numbers for it, so it is left out") for row in unclear]
    names, logits = [names[row] for row in sound.nonzero().flatten().tolist()], logits[sound]
    write_predictions(file, names, run.trained.classes, {views: logits})
    for damaged in errors[:SHOWN]:
        report(damaged)
    if len(errors) > SHOWN:
        report(FerError(f"pictures: {len(errors) - SHOWN} more files are no sound pictures"))
    for line in _told(names, logits.softmax(1), run.trained.classes):
        say(line)
    say(f"{file}: {len(names)} pictures, by {run.trained.name}")


def _told(names: list[str], probabilities: Tensor, classes: tuple[str, ...]) -> list[str]:
    """Return a line for each picture or, if there are many, how often each class was seen."""
    guesses = [classes[guess] for guess in probabilities.argmax(1).tolist()]
    if len(names) > SHOWN:
        return [f"{name}: {count}" for name, count in Counter(guesses).most_common()]
    sure = probabilities.amax(1).tolist()
    return [f"{name}: {guess} ({share:.0%})" for name, guess, share in zip(names, guesses, sure, strict=True)]
