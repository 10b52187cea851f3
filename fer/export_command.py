"""What `python -m fer.export` does: a run's best network into a small file."""

from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import DictConfig

from fer.commands import reporting
from fer.config import ExportConfig, checked
from fer.errors import FerError
from fer.evaluation import Evaluator
from fer.temperature import fitted_temperature
from fer.terminal import say
from fer.weights import SUFFIX, halved, open_run, save_weights


@reporting()
def export(plain: DictConfig) -> None:
    """Write a run's best network into a file, calibrated and scored on the validation split as the file holds it."""
    config = checked(plain, ExportConfig)
    file = Path(config.file)
    if file.suffix != SUFFIX:
        raise FerError(f"file: '{file}' must end in {SUFFIX}")
    original = open_run(Path(config.run))
    run = halved(original)
    # the copy to hand on no longer knows where the data are on this machine
    here = run._replace(config=replace(run.config, data=original.config.data))
    evaluator = Evaluator("val", config.accelerator, config.data_root)
    model = run.trained.model
    model.temperature, model.view_temperatures = 1.0, {}  # of a file that is exported once more
    before = evaluator.score(here, views=("plain",))
    labels = torch.from_numpy(before.faces.labels)
    model.temperature = fitted_temperature(before.logits["plain"], labels)
    result = evaluator.score(here)
    means = {view: logits for view, logits in result.logits.items() if view != "plain"}
    model.view_temperatures = {view: fitted_temperature(logits, labels) for view, logits in means.items()}
    accuracies = {view: scores.accuracy for view, scores in result.scores.items()}  # the same at any temperature
    model.cpu()
    save_weights(run, file, {"split": "val", "pictures": result.scores["plain"].count, "accuracy": accuracies})
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {100 * accuracies['plain']:.2f} % on the validation split")
    errors = " to ".join(f"{scored.scores['plain'].ece:.3f}" for scored in (before, result))
    say(f"Calibrated with a temperature of {model.temperature:.3f}: calibration error from {errors}")
    further = ", ".join(f"{found:.3f} ({view})" for view, found in model.view_temperatures.items())
    say(f"The means of several views are divided by further temperatures: {further}")
