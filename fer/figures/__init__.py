"""Every figure of the project in one visual language; each function returns a matplotlib Figure.

No figure is registered with pyplot, so none needs closing, and none depends on a display or global state.
"""

from fer.figures.charts import confusion_matrix, curves, leaderboard, pr_curves, reliability
from fer.figures.galleries import face_grid, grad_cam_grid, mistakes, raw_and_augmented
from fer.figures.style import png_bytes, rgb_array

__all__ = [
    "confusion_matrix",
    "curves",
    "face_grid",
    "grad_cam_grid",
    "leaderboard",
    "mistakes",
    "png_bytes",
    "pr_curves",
    "raw_and_augmented",
    "reliability",
    "rgb_array",
]
