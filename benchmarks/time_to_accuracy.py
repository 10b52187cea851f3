"""Wall time from the start of `train.py` to an accuracy on PublicTest, the cache being built.

    python benchmarks/time_to_accuracy.py --accuracy 0.6398 experiment=fast model=cnn10 data.root=path/to/fer2013

Takes what `train.py` takes. The clock starts before the interpreter does and stops when the epoch's figures are
written, so that imports, reading the data and validation count.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def reached(folder: Path, accuracy: float) -> tuple[int, float] | None:
    """Return the first epoch that reached the accuracy, and what it reached."""
    for path in folder.glob("*/*/metrics.csv"):
        with path.open() as file:
            for row in csv.DictReader(file):
                if float(row["val/acc"]) >= accuracy:
                    return int(row["epoch"]), float(row["val/acc"])
    return None


def main() -> None:
    """Train until the accuracy is there, and print the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accuracy", type=float, default=0.6398, help="share of PublicTest, 0.6398 by default")
    arguments, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), *overrides, f"logs={folder}", "trainer.test=false"]
        start = time.perf_counter()
        training = subprocess.Popen(command)
        found = None
        while found is None and training.poll() is None:
            time.sleep(0.2)
            found = reached(Path(folder), arguments.accuracy)
        seconds = time.perf_counter() - start
        training.kill()
        training.wait()
        found = found or reached(Path(folder), arguments.accuracy)
    if found is None:
        sys.exit(f"The training ended after {seconds:.0f} s without {100 * arguments.accuracy:.2f} %.")
    print(f"{100 * found[1]:.2f} % on PublicTest after epoch {found[0]}, {seconds:.0f} s from the start of train.py")


if __name__ == "__main__":
    main()
