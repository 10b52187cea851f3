"""From `python train.py` to the first training step, and where the time goes.

    python benchmarks/startup.py data=fer2013 data.root=path/to/fer2013

Runs `train.py` in a new interpreter, with marks set at the doors of its parts, and stops it at the first step. The
cache should be built and the files be in memory: run it twice.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MARKS = """
import os, runpy, sys, time
def mark(name): print(f"\\x00{name}\\x00{time.time()}", flush=True)
mark("interpreter")
sys.path.insert(0, sys.argv.pop(1))
import torch; mark("import torch")
import lightning; mark("import lightning")
import albumentations; mark("import albumentations")
import fer.train_command as train_command, fer.experiment as experiment; mark("import the rest")
def marked(owner, name, text):
    inner = getattr(owner, name)
    def outer(*args, **kwargs):
        result = inner(*args, **kwargs); mark(text); setattr(owner, name, inner); return result  # the first call alone
    setattr(owner, name, outer)
marked(train_command, "checked", "compose and check the configuration")
marked(train_command, "open_data", "read the data from the cache")
marked(experiment.FaceDataModule, "setup", "oversampled folder and splits")
marked(experiment.Experiment, "_classifier", "build the network")
marked(experiment.Experiment, "__init__", "build the trainer")
marked(experiment.Experiment, "_record", "write the configuration and the record")
def stop(self, *args): mark("TensorBoard, optimiser, first batch"); os._exit(0)
experiment.EmotionClassifier.training_step = stop
sys.argv[0] = sys.argv.pop(1)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def main() -> None:
    """Start once and print where the time went."""
    with tempfile.TemporaryDirectory() as logs:
        arguments = [*sys.argv[1:], f"logs={logs}", "trainer.test=false"]
        command = [sys.executable, "-c", MARKS, str(ROOT), str(ROOT / "train.py"), *arguments]
        start = last = time.time()
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    marks = [line.split("\x00")[1:] for line in told.stdout.splitlines() if line.startswith("\x00")]
    if not marks or not marks[-1][0].startswith("TensorBoard"):
        sys.exit(told.stderr or told.stdout)
    for name, moment in marks:
        print(f"{float(moment) - last:6.2f} s  {name}")
        last = float(moment)
    print(f"{last - start:6.2f} s  in all")


if __name__ == "__main__":
    main()
