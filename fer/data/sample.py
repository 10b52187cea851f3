"""A sample of faces that the program draws itself, for a first run without FER2013 and without internet access."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.data.drawing import Canvas, Picture, draw_eyes, draw_glasses, draw_head, draw_mouth, draw_nose
from fer.data.faces import SPLITS, Faces
from fer.labels import EMOTIONS

FER2013_TRAINING = (3995, 436, 4097, 7215, 4830, 3171, 4965)
"""Pictures per emotion in FER2013's Training split, whose imbalance the sample copies."""

SUPERSAMPLING = 4
"""A face is drawn this much larger than wanted and averaged down, for smooth edges."""

# What the muscles do, as deviations from rest; lengths are fractions of half a head's height.
#   in, out   inner and outer end of the brows upwards       near    inner ends towards each other
#   lid       eyes wider open (+) or narrower (-)            droop   outer corners of the eyes downwards
#   squint    lower lids upwards                             smile   corners of the mouth upwards
#   wide      half the mouth's width                         gape    lower lip downwards
#   sneer     upper lip upwards                              round   opening from a lens (0) to an ellipse (1)
#   lips      thicker lips                                   teeth   visible height of the upper teeth
#   skew      one corner of the mouth higher                 nose    wrinkles across the nose
#   fold      lines from nose to mouth                       frown   upright lines between the brows
# An emotion with several rows has several faces, all equally frequent.
EXPRESSIONS = """
emotion    in   out  near   lid droop squint smile  wide  gape sneer round  lips teeth  skew  nose  fold frown
angry    -.16   .06   .07  -.25     0    .3   -.05  -.06     0     0     0  -.55     0     0     0     0     1
angry    -.16   .06   .08   .10     0    .3   -.06  -.02     0     0     0  -.40     0     0     0     0     1
angry    -.16   .06   .07  -.05     0    .3   -.04   .02   .08   .05    .6  -.20   .08     0     0     0     1
disgust  -.09  -.05   .02  -.45     0    .7   -.05  -.05     0   .12     0     0   .06   .09     1     1    .3
disgust  -.09  -.05   .02  -.50     0    .7   -.08     0   .06   .08     0    .2     0   .08     1     1    .3
fear      .17   .02   .07   .60     0     0   -.07   .10   .13   .03    .5     0   .06     0     0     0    .5
fear      .17   .02   .07   .65     0     0   -.06   .08   .19   .02    .5     0   .05     0     0     0    .4
happy       0     0     0  -.20     0    .5    .15   .08     0     0     0     0     0     0     0    .8     0
happy     .02     0     0  -.20     0    .5    .15   .10   .14     0     0     0   .11     0     0    .8     0
happy     .04   .04     0  -.10     0    .4    .17   .07   .25     0    .2     0   .10     0     0    .7     0
sad       .13  -.08   .05  -.40   .07     0   -.13  -.04     0     0     0     0     0     0     0     0    .3
sad       .11  -.07   .04  -.60   .06     0   -.12     0     0     0     0   .15     0     0     0     0     0
surprise  .17   .17     0   .60     0     0      0  -.11   .26   .11     1     0     0     0     0     0     0
surprise  .18   .16     0   .55     0     0      0  -.09   .16   .09     1     0   .03     0     0     0     0
neutral     0     0     0     0     0     0      0     0     0     0     0     0     0     0     0     0     0
neutral   .02   .02     0   .10     0     0    .01     0     0     0     0    .2     0     0     0     0     0
"""
_HEADER, *_ROWS = (line.split() for line in EXPRESSIONS.strip().splitlines())
ACTIONS = tuple(_HEADER[1:])
VARIANTS = {
    emotion: np.array([row[1:] for row in _ROWS if row[0] == emotion], dtype=np.float64) for emotion in EMOTIONS
}


def _actions(emotion: str, rng: np.random.Generator) -> dict[str, float]:
    """Draw one face's expression: a variant, how strongly it shows, and how far each muscle strays."""
    variant = VARIANTS[emotion][rng.integers(len(VARIANTS[emotion]))]
    strength = rng.uniform(0.65, 1.2)
    spread = 0.12 * np.abs(variant) + np.abs(np.concatenate(list(VARIANTS.values()))).max(axis=0) * 0.06
    return dict(zip(ACTIONS, (strength * variant + spread * rng.standard_normal(len(variant))).tolist(), strict=True))


def _photograph(drawn: Picture, size: int, rng: np.random.Generator) -> Picture:
    """Average a drawing down to the wanted size under a random light, contrast, blur and noise."""
    small = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA)
    across = np.linspace(-1, 1, size)
    slope = rng.normal(0, 0.14, 2)
    lit = small * (1 + slope[0] * across[None, :] + slope[1] * across[:, None])
    blurred = cv2.GaussianBlur(lit, (0, 0), size / 48 * rng.uniform(0.2, 0.7))
    picture = np.asarray(blurred, dtype=np.float64)
    picture = (picture - picture.mean()) * rng.uniform(0.75, 1.2) + rng.uniform(95, 165)
    picture += rng.normal(0, rng.uniform(1, 6), picture.shape)
    result: Picture = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return result


def draw_face(emotion: str, rng: np.random.Generator, size: int = 48) -> Picture:
    """Draw one face.

    Args:
        emotion: One of `fer.labels.EMOTIONS`.
        rng: Source of randomness.
        size: Height and width in pixels.

    Returns:
        uint8, (size, size).
    """
    large = size * SUPERSAMPLING
    scale, turn = large * 0.5 * rng.uniform(0.84, 1.04), np.radians(np.clip(rng.normal(0, 7), -20, 20))
    x, y = large * (0.5 + rng.normal(0, 0.025, 2))
    stretch = rng.uniform(0.93, 1.07)
    pose = scale * np.array([(np.cos(turn) * stretch, -np.sin(turn)), (np.sin(turn) * stretch, np.cos(turn))])
    background = np.full((large, large), rng.uniform(10, 245), np.uint8)
    canvas = Canvas(background, np.column_stack((pose, (x, y))), float(np.clip(rng.normal(0, 0.08), -0.2, 0.2)))
    skin, hair = rng.uniform(95, 225), rng.uniform(15, 200)
    act = _actions(emotion, rng)
    draw_head(canvas, rng, skin, hair)
    draw_nose(canvas, act, rng, skin)
    draw_mouth(canvas, act, rng, skin)
    draw_eyes(canvas, act, rng, skin, hair)
    if rng.random() < 0.15:
        draw_glasses(canvas, rng)
    return _photograph(canvas.picture, size, rng)


def _class_counts(total: int) -> NDArray[np.int64]:
    """Divide pictures among the emotions as in FER2013, a few for each; the largest absorbs the rounding."""
    wanted = np.array(FER2013_TRAINING) / sum(FER2013_TRAINING) * total
    counts = np.maximum(np.round(wanted).astype(np.int64), min(3, total // len(EMOTIONS)))
    counts[np.argmax(counts)] += total - counts.sum()
    return counts


def draw_faces(seed: int = 2013, train: int = 1435, val: int = 359, test: int = 359, size: int = 48) -> Faces:
    """Draw a small data set of the seven emotions, as imbalanced as FER2013.

    Each face depends on the seed, its split, its emotion and its number alone: a larger sample begins with
    the faces of a smaller one.

    Args:
        seed: Other seeds draw other faces.
        train: Number of training faces.
        val: Number of validation faces.
        test: Number of test faces.
        size: Height and width in pixels.

    Returns:
        The faces, by split and then by emotion. Equal for equal arguments and library versions.
    """
    images, labels, splits, origins = [], [], [], []
    for part, (split, total) in enumerate(zip(SPLITS, (train, val, test), strict=True)):
        for label, count in enumerate(_class_counts(total)):
            for number in range(count):
                rng = np.random.default_rng((seed, part, label, number))
                images.append(draw_face(EMOTIONS[label], rng, size))
                labels.append(label)
                splits.append(part)
                origins.append(f"drawn:{split}/{EMOTIONS[label]}/{number:04d}")
    return Faces(
        np.stack(images),
        np.array(labels, dtype=np.int64),
        np.array(splits, dtype=np.uint8),
        origins,
        source="embedded sample of drawn faces",
    )
