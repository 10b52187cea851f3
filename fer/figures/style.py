"""The visual language that the figures share: colours, type sizes, bare axes, and rendering."""

import io
from typing import Any, Literal

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from numpy.typing import NDArray

INK = "#1f2933"
MUTED = "#66727f"
HAIRLINE = "#dfe4e9"
TRAIN = "#8a96a3"
VAL = "#0072b2"
TEST = "#e69f00"
GAP = "#d55e00"

CLASS_COLOURS: tuple[str, ...] = (
    "#d55e00", "#009e73", "#000000", "#e69f00", "#0072b2", "#cc79a7", "#56b4e9", "#7f3b08",
)  # fmt: skip
"""Okabe and Ito's palette, safe for colour-blind readers, with brown for its yellow, which is too pale on white."""

LINES: tuple[str, ...] = ("-", "--", ":")
"""Of the classes beyond the palette: with them, 24 look different."""

_FURTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "WenQuanYi Zen Hei", "Microsoft YaHei", "Yu Gothic",
    "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo",
)  # fmt: skip
"""Of Linux, Windows and macOS, for names of classes in Chinese, Japanese and Korean, which matplotlib's own lacks."""

# a text takes its fonts from here as it is made; those that are not installed would be warned of
rcParams["font.family"] = [*rcParams["font.family"], *filter({*get_font_names()}.__contains__, _FURTHER_FONTS)]

TITLE, TEXT, SMALL = 11.0, 9.0, 8.0
"""Type sizes in points."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of that many inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str = "", x: str = "", y: str = "", grid: Literal["x", "y", "both", ""] = "") -> None:
    """Give axes their title and labels, hairline spines and, along the axis `grid` says, a faint grid."""
    axes.set_title(title, loc="left", fontsize=TITLE, color=INK, fontweight="bold", pad=10)
    axes.set_xlabel(x, fontsize=TEXT, color=MUTED)
    axes.set_ylabel(y, fontsize=TEXT, color=MUTED)
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(HAIRLINE)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=HAIRLINE, linewidth=0.8)


def legend(axes: Axes, **place: Any) -> None:
    """Add a frameless legend; the arguments are those of `Axes.legend`."""
    axes.legend(fontsize=TEXT, title_fontsize=TEXT, labelcolor=INK, frameon=False, **place)


def message(text: str) -> Figure:
    """Return a small figure that says why there is nothing to draw."""
    figure = new_figure(6, 1.2)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=TITLE, color=MUTED)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def rgb_array(figure: Figure) -> NDArray[np.uint8]:
    """Return the figure as pixels for a logger: uint8, (H, W, 3)."""
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()
