"""From a picture's bytes to grey levels, and the bar that is shown while many are read."""

import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer.errors import FerError, one_line

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 40_000_000

_SMALL = 1_000_000  # pixels: harmless whatever the file's size
_MAX_DENSITY = 200  # pixels per byte; photographs have 1 to 30, and a file that claims more is meant to fill the memory

_BEHIND = 128  # grey level behind transparent parts: the middle, for nobody knows what was there
_NAMED = 10  # of the items left out; the rest are only counted
_LONG_READ = 4000  # pictures: below that, a bar would only flicker

T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """What a reader found, before any splits that the source does not name are drawn.

    Attributes:
        images: uint8, (N, size, size).
        labels: int64, (N,), indices into `classes`.
        splits: uint8, (N,), indices into `SPLITS`; None where the source names no splits.
        origins: N strings.
        fingerprints: N digests of the pictures' grey levels before they were resized.
        classes: The class names in label order.
        notes: What a user must know about how they were read, a sentence each.
        people: N names of the people shown, '' for unknown; None if nobody is known.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8] | None
    origins: list[str]
    fingerprints: list[bytes]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    people: list[str] | None = None


class Decoded(NamedTuple):
    """A picture as networks see it.

    Attributes:
        image: Grey levels, uint8, (size, size).
        resized: Whether it had another size.
        fingerprint: Digest of its grey levels before they were resized; see `fingerprint`.
    """

    image: NDArray[np.uint8]
    resized: bool
    fingerprint: bytes


def decode(data: bytes, where: str, size: int) -> Decoded:
    """Decode a picture.

    Args:
        data: The bytes of a picture file.
        where: Its name, for the error message.
        size: Height and width wanted.

    Raises:
        FerError: If the bytes are no picture in one of the `FORMATS`, or one that is damaged, truncated or absurdly
            large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                # before anything is decoded: until here only the header was read
                if width * height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                if width * height > max(_SMALL, _MAX_DENSITY * len(data)):
                    raise FerError(
                        f"{where} claims to hold {width}x{height} pixels in {len(data):,} bytes, as no photograph "
                        f"does; remove it, or save it with at most {_SMALL:,} pixels"
                    )
                grey = _grey(_upright(picture))
                grey.load()
    except UnidentifiedImageError:
        readable = ", ".join(FORMATS)
        raise FerError(f"{where} is no picture that can be read ({readable}); convert or remove it") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise FerError(
            f"{where} has more than {MAX_PIXELS:,} pixels, too many for a face; make it smaller or remove it"
        ) from None
    except (FerError, MemoryError):  # the latter is no fault of the picture's
        raise
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise FerError(f"{where} is damaged ({one_line(error)}); replace or remove it") from error
    return Decoded(_fit(grey, size), (width, height) != (size, size), fingerprint(np.asarray(grey)))


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return grey levels (H, W) as (size, size), antialiased."""
    return _fit(Image.fromarray(image), size)


def fingerprint(grey: NDArray[np.uint8]) -> bytes:
    """Return 16 bytes that identify grey levels, uint8 (H, W), in whatever format they were stored."""
    shape = np.array(grey.shape, np.int32).tobytes()
    return hashlib.blake2b(shape + np.ascontiguousarray(grey).tobytes(), digest_size=16).digest()


def resized_note(resized: int, total: int, size: int) -> tuple[str, ...]:
    """Return the sentence that says how many pictures were resized, if any were."""
    if not resized:
        return ()
    return (f"{resized:,} of {total:,} pictures were not {size}x{size} and were resized to that.",)


def left_out_note(names: Sequence[str], total: int, what: str) -> tuple[str, ...]:
    """Return the sentence that names what `data.on_error=skip` left out, if it left out anything."""
    if not names:
        return ()
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return (
        f"{len(names):,} of {total:,} {what} were left out (data.on_error=skip): {', '.join(names[:_NAMED])}{more}.",
    )


def or_skipped(error: FerError) -> FerError:
    """Return the error for a picture or row that cannot be read, with the hint that it can be skipped instead."""
    return FerError(f"{error}; data.on_error=skip leaves out such")


def with_progress(items: Iterable[T], total: int, what: str, least: int = _LONG_READ) -> Iterator[T]:
    """Yield the items; if they are many, show a progress bar on a terminal's stderr that vanishes at the end."""
    console = Console(stderr=True)
    if total < least or not console.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(items, total=total, description=what)


def _upright(picture: Image.Image) -> Image.Image:
    """Return a picture the right way up: many cameras store it lying on its side, with a tag on how to turn it."""
    if picture.format == "PNG":  # where the tag may follow the pixels
        picture.load()
    if not {"exif", "xmp", "XML:com.adobe.xmp"} & picture.info.keys():
        return picture
    picture.load()  # damaged pixels are found here; only the tag is read below
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # a tag that cannot be read is ignored
        return picture


def _grey(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        # Pillow would clip 16 bits at 255 and so make nearly every face white.
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:  # what it hides is left over from whatever tool cut the face out
        background = Image.new("RGBA", picture.size, (_BEHIND, _BEHIND, _BEHIND, 255))
        picture = Image.alpha_composite(background, picture.convert("RGBA"))
    if picture.mode == "L":
        return picture
    if picture.mode == "I" and picture.format == "PPM":  # Pillow scales these to 16 bits
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit grey levels have no known range")
    return picture.convert("L")


def _fit(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    if picture.size != (size, size):
        # Pillow widens the bilinear filter with the reduction, so that shrinking does not alias.
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)
