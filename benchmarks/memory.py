"""Peak memory of reading and batching a set that does not fit: it must not grow with the set.

    python benchmarks/memory.py --pictures 8000 32000 --size 224

Writes sets of drawn faces as class folders, and in a process of its own reads each through the cache and goes through
an epoch of augmented training batches. Memory is what the process cannot give back (anonymous pages), sampled twenty
times a second; pages of the files themselves are the system's to keep or drop. Linux.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from fer.data.sample import draw_faces

READ = """
import sys
from fer.config import DataConfig, AugmentConfig, OversampleConfig
from fer.data.datamodule import FaceDataModule
import albumentations as A
config = DataConfig(name="folder", root=sys.argv[1], cache_dir=sys.argv[2], size=int(sys.argv[3]),
                    oversample=OversampleConfig(enabled=False), augment=AugmentConfig(classes="all"))
data = FaceDataModule(config, [A.HorizontalFlip(p=0.5)])
data.setup()
print(sum(len(batch[1]) for batch in data.train_dataloader()))
"""


def write_set(folder: Path, pictures: int, size: int) -> None:
    """Write drawn faces as JPEGs in class folders: a few thousand different ones, over and over."""
    faces = draw_faces(train=700, val=7, test=7)
    rng = np.random.default_rng(0)
    for number in range(pictures):
        row = number % 700
        target = folder / ("train" if number % 10 else "test") / faces.classes[faces.labels[row]]
        target.mkdir(parents=True, exist_ok=True)
        large = cv2.resize(faces.images[row], (size, size)).astype(np.int16) + rng.integers(-9, 9)
        cv2.imwrite(str(target / f"{number}.jpg"), large.clip(0, 255).astype(np.uint8))


def anonymous(process: int) -> int:
    """Return a process's anonymous memory in bytes."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Measure each size of set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[8000, 32000])
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    for pictures in arguments.pictures:
        with tempfile.TemporaryDirectory() as folder:
            write_set(Path(folder, "set"), pictures, arguments.size)
            places = [str(Path(folder, name)) for name in ("set", "cache")]
            command = [sys.executable, "-c", READ, *places, str(arguments.size)]
            start, peak = time.perf_counter(), 0
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                while process.poll() is None:
                    peak = max(peak, anonymous(process.pid))
                    time.sleep(0.05)
                told = process.stdout.read().strip() if process.stdout else ""
        decoded = pictures * arguments.size**2 / 2**20
        seconds = time.perf_counter() - start
        print(
            f"{pictures} pictures, {decoded:.0f} MiB decoded: peak {peak / 2**20:.0f} MiB, {told} faces in "
            f"the epoch, {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
