"""The parts of a drawn face."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Canvas:
    """A square picture and the pose of the head on it; points are in half heads from the head's centre."""

    picture: Picture
    pose: NDArray[np.float64]  # (2, 3): half heads to pixels
    yaw: float  # how far the features slide sideways over the head

    def place(self, points: Points, slide: bool = True) -> Points:
        """Return (P, 2) points in pixels; what lies on the face slides with the yaw, most in the middle."""
        x, y = points[:, 0], points[:, 1]
        if slide:
            x = x + self.yaw * np.clip(1 - 1.2 * x**2, 0, 1)
        placed: Points = np.stack((x, y, np.ones_like(x)), axis=1) @ self.pose.T
        return placed

    def fill(self, points: Points, grey: float, slide: bool = True) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.picture, [np.round(self.place(points, slide)).astype(np.int32)], _level(grey))

    def line(self, points: Points, grey: float, width: float) -> None:
        """Draw an open line of a width in half heads."""
        pixels = max(1, round(width * float(np.hypot(*self.pose[:, 0]))))
        where = [np.round(self.place(points)).astype(np.int32)]
        cv2.polylines(self.picture, where, False, _level(grey), pixels)


def _level(grey: float) -> tuple[float]:
    return (float(np.clip(round(grey), 0, 255)),)


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, stop: float = 360) -> Points:
    turn = np.radians(np.linspace(start, stop, 28))
    return np.stack((x + rx * np.cos(turn), y + ry * np.sin(turn)), axis=1)


def _arc(a: tuple[float, float], middle: tuple[float, float], b: tuple[float, float]) -> Points:
    """Return a quadratic curve from a to b that is drawn towards the middle."""
    t = np.linspace(0, 1, 12)[:, None]
    curve: Points = (1 - t) ** 2 * np.array(a) + 2 * t * (1 - t) * np.array(middle) + t**2 * np.array(b)
    return curve


def draw_head(canvas: Canvas, rng: np.random.Generator, skin: float, hair: float) -> None:
    """Draw neck, hair, ears and the head's outline, of random shapes."""
    width, jaw, style = rng.uniform(0.7, 0.82), rng.uniform(0.02, 0.22), rng.integers(4)
    if style == 0:  # long hair, behind the head
        canvas.fill(_ellipse(0, 0.05, width + 0.22, 1.12), hair, slide=False)
        canvas.fill(np.array([(-width - 0.2, 0), (width + 0.2, 0), (width + 0.25, 1.6), (-width - 0.25, 1.6)]), hair)
    canvas.fill(np.array([(-0.4, 0.5), (0.4, 0.5), (0.5, 1.6), (-0.5, 1.6)]), skin * 0.82, slide=False)
    shirt = np.array([(-1.5, 1.6), (-1.2, 1.25), (-0.45, 1.05), (0.45, 1.05), (1.2, 1.25), (1.5, 1.6)])
    canvas.fill(shirt, rng.uniform(20, 235), slide=False)
    if style:
        for side in (-1, 1):
            canvas.fill(_ellipse(side * width, 0.0, 0.1, 0.2), skin * 0.88, slide=False)
    outline = _ellipse(0, 0, width, 1)
    outline[:, 0] *= 1 - jaw * np.clip(outline[:, 1], 0, 1) ** 1.5
    canvas.fill(outline, skin, slide=False)
    if style == 3:  # bald, or nearly so
        return
    fringe, part = rng.uniform(-0.72, -0.58), rng.uniform(-0.4, 0.4)
    line = _arc((width, -0.3), (width * 0.8 + part, fringe - 0.2), (part, fringe))
    rest = _arc((part, fringe), (part - width * 0.8, fringe - 0.2), (-width, -0.3))
    top = _ellipse(0, -0.1, width + 0.06, rng.uniform(0.95, 1.08), 190, 350)
    canvas.fill(np.concatenate((top, line, rest)), hair, slide=False)


def draw_eyes(canvas: Canvas, act: dict[str, float], rng: np.random.Generator, skin: float, hair: float) -> None:
    """Draw eyes, lids, brows and the lines between them."""
    apart, height, iris = rng.uniform(0.31, 0.36), rng.uniform(-0.16, -0.08), rng.uniform(15, 80)
    gaze, brow, weight = rng.normal(0, 0.025), min(hair, skin * 0.5), rng.uniform(0.06, 0.1)
    above = rng.uniform(0.23, 0.28)
    for side in (-1, 1):
        inner, outer = side * (apart - 0.16), side * (apart + 0.16)
        slope = height + act["droop"]
        opening = max(0.12, 1 + act["lid"])
        upper = _arc((inner, height), (side * apart, height - 0.17 * opening), (outer, slope))
        lower = _arc((outer, slope), (side * apart, height + 0.13 * (1 - 0.6 * act["squint"])), (inner, height))
        lids = np.concatenate((upper, lower))
        canvas.fill(lids, min(255, skin * 0.35 + 150))
        radius = 0.082
        eye = _ellipse(side * apart + gaze, height - 0.015 * opening, radius, radius)
        # the lids cover the iris: no part of it lies above the upper or below the lower lid
        order = np.argsort(upper[:, 0]), np.argsort(lower[:, 0])
        roof = np.interp(eye[:, 0], upper[order[0], 0], upper[order[0], 1])
        floor = np.interp(eye[:, 0], lower[order[1], 0], lower[order[1], 1])
        eye[:, 1] = np.clip(eye[:, 1], roof, np.maximum(roof, floor))
        canvas.fill(eye, iris)
        canvas.line(upper, skin * 0.3, 0.035)
        canvas.line(lower, skin * 0.65, 0.02)
        if act["squint"] > 0.3:
            canvas.line(lower + np.array((0, 0.07)), skin * 0.8, 0.02)
        ends = (
            (inner - side * (act["near"] - 0.02), height - above - act["in"]),
            (side * apart, height - above - 0.06 - 0.7 * (act["in"] + act["out"])),
            (outer + side * 0.05, height - above + 0.05 - act["out"]),
        )
        canvas.line(_arc(*ends), brow, weight)
        if act["frown"] > 0.2:
            crease = np.array([(side * 0.06, height - above + 0.02), (side * 0.05, height - 0.08)])
            canvas.line(crease, skin * (1 - 0.35 * act["frown"]), 0.025)


def draw_nose(canvas: Canvas, act: dict[str, float], rng: np.random.Generator, skin: float) -> None:
    """Draw the nose, its wrinkles and the folds down to the mouth."""
    tip, wide = rng.uniform(0.2, 0.27), rng.uniform(0.1, 0.15)
    tip -= 0.05 * act["nose"]
    canvas.line(_arc((0.04, -0.1), (wide * 0.6, tip - 0.1), (wide, tip)), skin * 0.85, 0.02)
    canvas.line(_arc((-wide, tip), (0, tip + 0.09), (wide, tip)), skin * 0.6, 0.035)
    for step in range(3):
        if act["nose"] > 0.25:
            y = -0.12 + 0.08 * step
            canvas.line(_arc((-0.1, y + 0.03), (0, y - 0.03), (0.1, y + 0.03)), skin * 0.62, 0.022)
    for side in (-1, 1):
        if act["fold"] > 0.2:
            ends = ((side * wide * 1.1, tip - 0.04), (side * 0.4, tip + 0.03), (side * 0.45, 0.5))
            canvas.line(_arc(*ends), skin * (1 - 0.3 * act["fold"]), 0.028)


def draw_mouth(canvas: Canvas, act: dict[str, float], rng: np.random.Generator, skin: float) -> None:
    """Draw the lips, and what shows between them."""
    half, height = max(0.1, rng.uniform(0.25, 0.3) + act["wide"]), rng.uniform(0.48, 0.54)
    thick, red = rng.uniform(0.045, 0.075) * max(0.2, 1 + act["lips"]), skin * rng.uniform(0.55, 0.75)
    t = np.linspace(-1, 1, 25)
    corners = height - act["smile"] * (np.abs(t) ** 1.6 - 0.35) - act["skew"] * t
    bow = (1 - t**2) ** (1 - 0.5 * np.clip(act["round"], 0, 1))
    top, bottom = corners - max(0, act["sneer"]) * bow, corners + max(0, act["gape"]) * bow
    lip = thick * np.sqrt(1 - t**2)
    x = half * t
    ring = np.concatenate((top - lip, (bottom + 1.3 * lip)[::-1]))
    around = np.concatenate((x, x[::-1]))
    canvas.fill(np.stack((around, ring), axis=1), red)
    if np.max(bottom - top) > 0.03:
        canvas.fill(np.stack((around, np.concatenate((top, bottom[::-1]))), axis=1), 25)
        edge = np.minimum(top + max(0, act["teeth"]) * np.sqrt(1 - t**2), bottom)
        canvas.fill(np.stack((around, np.concatenate((top, edge[::-1]))), axis=1), min(250, 190 + skin * 0.2))
    else:
        canvas.line(np.stack((x, top), axis=1), skin * 0.3, 0.03)


def draw_glasses(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a pair of glasses."""
    frame, size = rng.uniform(10, 90), rng.uniform(0.2, 0.25)
    for side in (-1, 1):
        canvas.line(_ellipse(side * 0.34, -0.1, size, size * 0.85), frame, 0.035)
        canvas.line(np.array([(side * (0.34 + size), -0.1), (side * 0.8, -0.16)]), frame, 0.035)
    canvas.line(_arc((-0.34 + size, -0.12), (0, -0.16), (0.34 - size, -0.12)), frame, 0.035)
