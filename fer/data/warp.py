"""albumentations transforms that take as little time per face as OpenCV itself.

albumentations' own `Affine` takes 90 µs for a face of 48 pixels, of which warping is a tenth; `CoarseDropout` takes
35 µs. If every face is transformed in every epoch, that is a tenth of a CPU's training step. The transforms here work
in any albumentations pipeline, and also on whole batches, where the amounts for all faces are drawn at once.
"""

from itertools import compress
from typing import Any, NamedTuple

import albumentations as A
import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Numbers = NDArray[np.float64]


class Amounts(NamedTuple):
    """By how much each of N faces is warped.

    Attributes:
        angle: Radians, (N,).
        scale: Factors of width and height, (N, 2); that of the width is negative for a mirror image.
        offset: Shares of width and height, (N, 2).
    """

    angle: Numbers
    scale: Numbers
    offset: Numbers

    def matrices(self, height: int, width: int) -> Numbers:
        """Return the maps from a pixel's old place to its new one, as OpenCV takes them, (N, 2, 3)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        (wide, tall), (across, down) = self.scale.T, self.offset.T
        xx, xy, yx, yy = wide * cos, -tall * sin, wide * sin, tall * cos
        # the centre maps to itself, then moves by the offset
        left, top = x - xx * x - xy * y + across * width, y - yx * x - yy * y + down * height
        return np.stack([xx, xy, left, yx, yy, top], axis=1).reshape(-1, 2, 3)


class Warp(A.ImageOnlyTransform):  # type: ignore[misc]
    """Mirror, rotate, zoom, stretch and shift a picture about its centre in one interpolation.

    Gaps are filled with the nearest pixel. Every amount is drawn uniformly, in both directions.

    Args:
        rotation: Degrees.
        shift: Share of width and height.
        zoom: Share of the size: 0.2 draws factors of 0.8 to 1.2.
        stretch: Share by which width and height may differ in their factors: 0.1 draws ratios of 0.9 to 1.1.
        flip: Probability of the mirror image (left for right), among the pictures that are warped.
        p: Probability.
    """

    def __init__(
        self,
        rotation: float = 10.0,
        shift: float = 0.1,
        zoom: float = 0.2,
        stretch: float = 0.0,
        flip: float = 0.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        if not (0 <= zoom < 1 and 0 <= stretch < 1):
            raise ValueError("zoom and stretch are shares of the size, from 0 to below 1")
        self.rotation, self.shift, self.zoom, self.stretch, self.flip = rotation, shift, zoom, stretch, flip

    def drawn(self, draw: Generator, count: int) -> Amounts:
        """Draw the amounts of some faces."""
        zoom = 1 + draw.uniform(-self.zoom, self.zoom, count)
        stretch = np.sqrt(1 + draw.uniform(-self.stretch, self.stretch, count))
        angle = np.radians(draw.uniform(-self.rotation, self.rotation, count))
        scale = np.stack([zoom * stretch, zoom / stretch], axis=1)
        scale[draw.random(count) < self.flip, 0] *= -1
        return Amounts(angle, scale, draw.uniform(-self.shift, self.shift, (count, 2)))

    def each(self, faces: Image, draw: Generator) -> Image:
        """Return faces, uint8 (N, H, W), each warped with probability `p`, by amounts of its own."""
        height, width = faces.shape[1:]
        matrices, warped = self.drawn(draw, len(faces)).matrices(height, width), faces.copy()
        chosen = draw.random(len(faces)) < self.p
        for face, matrix, result in compress(zip(faces, matrices, warped, strict=True), chosen):
            _warp(face, matrix, result)
        return warped

    def get_params(self) -> dict[str, Any]:
        """Draw the amounts of one picture."""
        return {"amounts": self.drawn(self.random_generator, 1)}

    def apply(self, img: Image, amounts: Amounts, **params: Any) -> Image:
        """Return the picture, uint8 (H, W, C), warped."""
        warped = np.empty_like(img)
        _warp(img, amounts.matrices(*img.shape[:2])[0], warped)
        return warped


def _warp(face: Image, matrix: Numbers, warped: Image) -> None:
    # positional arguments: OpenCV takes half as long again with keywords
    cv2.warpAffine(face, matrix, face.shape[1::-1], warped, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)


class Erase(A.ImageOnlyTransform):  # type: ignore[misc]
    """Fill a random rectangle with one random grey (Zhong et al., 2020, "Random Erasing Data Augmentation").

    Args:
        area: Smallest and largest share of the picture, from 0 to 1.
        ratio: Largest ratio of the rectangle's sides, either way.
        p: Probability.
    """

    def __init__(self, area: tuple[float, float] = (0.02, 0.2), ratio: float = 3.0, p: float = 0.5) -> None:
        super().__init__(p=p)
        if not 0 < area[0] <= area[1] <= 1 or ratio < 1:
            raise ValueError("area needs two shares of the picture in order, ratio a number of 1 or more")
        self.area, self.ratio = (area[0], area[1]), ratio

    def drawn(self, draw: Generator, count: int, height: int, width: int) -> NDArray[np.int64]:
        """Draw the rectangles of some pictures: top, bottom, left, right and grey, (N, 5)."""
        area = draw.uniform(*self.area, count)
        ratio = np.exp(draw.uniform(-np.log(self.ratio), np.log(self.ratio), count))
        ratio = ratio.clip(area, 1 / area)  # of what fits into the picture
        sides = np.sqrt([area * ratio, area / ratio])
        whole = np.array([[height], [width]])
        lengths = np.maximum(1, np.rint(sides * whole))
        starts = np.rint(draw.random((2, count)) * (whole - lengths))
        ends = starts + lengths
        return np.stack([starts[0], ends[0], starts[1], ends[1], draw.integers(256, size=count)], axis=1).astype(int)

    def each(self, faces: Image, draw: Generator) -> Image:
        """Return faces, uint8 (N, H, W), each with probability `p` with a rectangle of its own filled."""
        boxes, result = self.drawn(draw, len(faces), *faces.shape[1:]).tolist(), faces.copy()
        for row in np.flatnonzero(draw.random(len(faces)) < self.p):
            top, bottom, left, right, grey = boxes[row]
            result[row, top:bottom, left:right] = grey
        return result

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the rectangle of one picture."""
        return {"box": self.drawn(self.random_generator, 1, *params["shape"][:2])[0].tolist()}

    def apply(self, img: Image, box: tuple[int, int, int, int, int], **params: Any) -> Image:
        """Return a copy of the picture, uint8 (H, W, C), with the rectangle filled."""
        top, bottom, left, right, grey = box
        result = img.copy()
        result[top:bottom, left:right] = grey
        return result
