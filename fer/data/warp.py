"""albumentations transforms that cost a face as little as OpenCV does.

albumentations' own `Affine` takes 90 µs for a face of 48 pixels, of which warping is a tenth; `CoarseDropout` takes
35 µs. Where every face of every epoch is transformed, that is a tenth of a CPU's training step.
"""

import math
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Warp(A.ImageOnlyTransform):  # type: ignore[misc]
    """Rotate, zoom, stretch and shift a picture about its centre in one interpolation.

    Gaps are filled with the nearest pixel. Every amount is drawn uniformly, to both sides.

    Args:
        rotation: Degrees.
        shift: Share of width and height.
        zoom: Share of the size: 0.2 draws factors of 0.8 to 1.2.
        stretch: Share by which width and height may differ in their factors: 0.1 draws ratios of 0.9 to 1.1.
        p: Probability.
    """

    def __init__(
        self, rotation: float = 10.0, shift: float = 0.1, zoom: float = 0.2, stretch: float = 0.0, p: float = 1.0
    ) -> None:
        super().__init__(p=p)
        if not (0 <= zoom < 1 and 0 <= stretch < 1):
            raise ValueError("zoom and stretch are shares of the size, from 0 to below 1")
        self.rotation, self.shift, self.zoom, self.stretch = rotation, shift, zoom, stretch

    def get_params(self) -> dict[str, Any]:
        """Draw the amounts."""
        draw = self.py_random.uniform
        stretch = math.sqrt(1 + draw(-self.stretch, self.stretch))
        zoom = 1 + draw(-self.zoom, self.zoom)
        return {
            "angle": math.radians(draw(-self.rotation, self.rotation)),
            "scale": (zoom * stretch, zoom / stretch),
            "offset": (draw(-self.shift, self.shift), draw(-self.shift, self.shift)),
        }

    def apply(
        self, img: Image, angle: float, scale: tuple[float, float], offset: tuple[float, float], **params: Any
    ) -> Image:
        """Return the picture, uint8 (H, W, C), warped."""
        height, width = img.shape[:2]
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        xx, xy, yx, yy = scale[0] * cos, -scale[1] * sin, scale[0] * sin, scale[1] * cos
        # the centre goes to itself, and from there by the offset
        across, down = x - xx * x - xy * y + offset[0] * width, y - yx * x - yy * y + offset[1] * height
        matrix = np.array([[xx, xy, across], [yx, yy, down]])
        warped = cv2.warpAffine(img, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return warped.reshape(img.shape)  # type: ignore[return-value]  # OpenCV drops a single channel


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

    def get_params(self) -> dict[str, Any]:
        """Draw size, place and grey."""
        draw = self.py_random.uniform
        area, ratio = draw(*self.area), math.exp(draw(-math.log(self.ratio), math.log(self.ratio)))
        sides = (min(1.0, math.sqrt(area * ratio)), min(1.0, math.sqrt(area / ratio)))
        return {"sides": sides, "place": (draw(0, 1), draw(0, 1)), "grey": self.py_random.randrange(256)}

    def apply(
        self, img: Image, sides: tuple[float, float], place: tuple[float, float], grey: int, **params: Any
    ) -> Image:
        """Return a copy of the picture, uint8 (H, W, C), with the rectangle filled."""
        (height, width), result = img.shape[:2], img.copy()
        tall, wide = max(1, round(sides[0] * height)), max(1, round(sides[1] * width))
        top, left = round(place[0] * (height - tall)), round(place[1] * (width - wide))
        result[top : top + tall, left : left + wide] = grey
        return result
