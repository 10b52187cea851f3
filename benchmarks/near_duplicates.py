"""How often the audit's near-duplicates of FER2013 are none: the false-alarm rate of each threshold.

    python benchmarks/near_duplicates.py path/to/fer2013

`near_duplicates.csv` holds 240 pairs, 40 drawn at random (seed 0) from those at each distance from 0 to 10 bits, and
what a look at each of them said: 1 where both are the same photograph (cropped, dimmed, with or without a watermark),
0 where they are two. The share of each distance in the data weighs its 40. FER2013 as Kaggle folders.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fer.audit.duplicates import near_pairs
from fer.audit.pictures import BLANK, deviations
from fer.data.cache import default_cache_dir, load_faces

SAMPLE = Path(__file__).with_name("near_duplicates.csv")
FURTHEST = 10


def main() -> None:
    """Count the pairs at each distance, weigh the sample by them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    faces = load_faces(parser.parse_args().root, default_cache_dir())
    blank = np.flatnonzero(deviations(faces.images) < BLANK)
    pairs = near_pairs(faces, FURTHEST, blank.tolist())
    found = {frozenset((faces.origins[pair.first], faces.origins[pair.second])): pair.distance for pair in pairs}
    with SAMPLE.open() as file:
        rows = list(csv.DictReader(file))
    moved = [row for row in rows if found.get(frozenset((row["first"], row["second"]))) != int(row["distance"])]
    if moved:
        print(f"{len(moved)} of the {len(rows)} pairs are at another distance here: other files, or another hash")
    counts = Counter(pair.distance for pair in pairs)
    wrong = {d: np.array([row["same"] == "0" for row in rows if int(row["distance"]) == d]) for d in sorted(counts)}
    rng = np.random.default_rng(0)
    table = Table(title=f"{faces.source}: pairs at most so many bits apart")
    for name in ("bits", "pairs", "false alarms", "95 % interval", "true pairs found"):
        table.add_column(name, justify="right")
    true_pairs = sum(counts[d] * (1 - wrong[d].mean()) for d in wrong)
    for threshold in wrong:
        within = [d for d in wrong if d <= threshold]
        total = sum(counts[d] for d in within)
        rate = sum(counts[d] * wrong[d].mean() for d in within) / total
        # Jeffreys' prior, lest a distance without a false alarm in its 40 claim that it has none
        shares = [rng.beta(wrong[d].sum() + 0.5, (~wrong[d]).sum() + 0.5, 10_000) * counts[d] / total for d in within]
        low, high = np.percentile(np.sum(shares, axis=0), (2.5, 97.5))
        share = total * (1 - rate) / true_pairs
        table.add_row(
            str(threshold),
            str(total),
            f"{100 * rate:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f} %",
            f"{100 * share:.0f} %",
        )
    table.caption = "true pairs found: of the true ones at most 10 bits apart"
    Console().print(table)


if __name__ == "__main__":
    main()
