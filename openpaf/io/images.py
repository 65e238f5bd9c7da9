"""Reads images from files, addresses, arrays, tensors and PIL images as RGB arrays."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import ImageError, shown
from openpaf.io.addresses import is_http, is_url, shown_source
from openpaf.io.deep_images import (
    deep_color_strips,
    deep_gray_strips,
    is_deep_gray,
    read_deep_color,
)
from openpaf.io.image_files import (
    check_memory,
    load_pixels,
    open_image,
    open_regular,
    reason,
    strips,
)
from openpaf.io.image_lists import list_images as list_images
from openpaf.io.image_suffixes import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from openpaf.io.tensors import is_tensor, tensor_pixels

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

_log = logging.getLogger(__name__)


def read_image(
    source: str | os.PathLike[str] | bytes | NDArray[Any] | Image.Image | Tensor,
) -> NDArray[np.uint8]:
    """Read an image as an RGB array.

    Files are decoded by Pillow: JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF where Pillow was built with
    it, HEIC where pillow-heif is installed, and the others of
    :data:`~openpaf.io.image_files.FORMATS`. EXIF orientation is applied. Gray and palette images
    are converted to RGB, CMYK without its color profile. Transparent pixels are blended with
    white. Of a multi-page file or an animation the first frame is read; an animated GIF is an
    error, as it is a video. 16 bits are scaled to 8; where all values fit into 8, 10, 12 or 14
    bits, that is taken as their range, and a warning is logged. A truncated file is an error,
    unless only the end marker of a JPEG is missing; damage inside a complete JPEG cannot be
    detected.

    Args:
        source: One of: a path; the bytes of a file; an ``http://`` or ``https://`` address, of at
            most 100 MB and 60 s (:mod:`openpaf.io.fetch`); an array, RGB uint8 (H, W, 3) or gray
            uint8 (H, W); a torch tensor, (3, H, W), (H, W, 3), (1, H, W) or (H, W), of uint8, or
            of floating point of 0 to 1; a PIL image, of which the current frame is read.

    Returns:
        RGB, uint8 (H, W, 3), contiguous, EXIF orientation applied. An array of that form is
        returned itself, without a copy.

    Raises:
        ImageError: If a file is missing, unreadable, empty, truncated, not an image, animated, of
            32-bit values without a known range, or would take more memory to decode than
            :data:`~openpaf.io.image_files.MAX_DECODE_BYTES`; or if an address does not give it.
            The message names the file or address.
        ValueError: If an array or tensor has the wrong dtype, shape or range or no pixels, or
            ``source`` is of another type.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> image = openpaf.read_image("data/photos/astronaut.jpg")
        >>> image.dtype, image.shape[2]
        (dtype('uint8'), 3)
        >>> openpaf.read_image(np.zeros((48, 64), np.uint8)).shape  # gray
        (48, 64, 3)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if is_tensor(source):
        return _from_array(tensor_pixels(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode_image(io.BytesIO(source), f"{len(source):,} bytes")
    if isinstance(source, str) and is_url(source):
        return _from_address(source)
    if isinstance(source, (str, os.PathLike)):
        return decode_image(source, shown(source))
    from PIL import Image

    if isinstance(source, Image.Image):
        name = shown(getattr(source, "filename", "") or "PIL image")
        check_memory(source, name)
        return _decode(source, name)
    raise ValueError(
        f"image: expected a path, an address, bytes, an array, a tensor or a PIL image, "
        f"got {type(source).__name__}"
    )


def _from_address(url: str) -> NDArray[np.uint8]:
    if not is_http(url):
        raise ImageError(f"{shown_source(url)}: a stream, no image; estimator.stream reads it")
    from openpaf.io.fetch import fetch_image  # brings requests

    return decode_image(io.BytesIO(fetch_image(url)), shown_source(url))


def read_image_hw(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width in px of an image file, upright, from its header.

    Raises:
        ImageError: If it is missing or not an image; the message names it.
    """
    with open_image(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image)[0] else (height, width)


def read_images(images: Iterable[Any]) -> list[NDArray[np.uint8]]:
    """Several images, each as :func:`read_image` reads it.

    Args:
        images: A list of arguments of :func:`read_image`, or one array (B, H, W, 3) or tensor
            (B, 3, H, W).

    Returns:
        RGB, uint8 (H, W, 3) each.

    Raises:
        ImageError: If a file cannot be read as an image.
        ValueError: If an array is not an image, or ``images`` is itself a single image or path,
            which would be read as a list of its rows or letters.
    """
    kind = type(images).__name__
    if isinstance(images, (bytes, bytearray, memoryview)):
        raise ValueError(
            "images: expected a list of images, got bytes; for one image, pass [image]"
        )
    if isinstance(images, (str, os.PathLike)):
        raise ValueError(f"images: expected a list of images, got a single path {images!r}")
    is_array = isinstance(images, np.ndarray) and images.dtype.kind not in "OU"
    shape = tuple(getattr(images, "shape", ()))
    if (is_array or is_tensor(images)) and len(shape) != 4:
        raise ValueError(
            f"images: expected a list of images or an array (B, H, W, 3), got an array of shape "
            f"{shape}; for one image, pass [image]"
        )
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise ValueError(f"images: expected a list of images, got {kind}")
    return [read_image(image) for image in images]


def decode_image(source: str | os.PathLike[str] | IO[bytes], name: str) -> NDArray[np.uint8]:
    """Read an image from a path or an open file.

    Args:
        source: A path, or a binary file.
        name: Name for messages.

    Returns:
        RGB, uint8 (H, W, 3), as :func:`read_image`.

    Raises:
        ImageError: As :func:`read_image`.
    """
    if isinstance(source, (str, os.PathLike)):
        with open_regular(source, name) as file:
            return decode_image(file, name)
    with open_image(source, name) as image:
        _check_frames(image, name)
        return _decode(image, name, source)


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    hint = ""
    if array.dtype.kind == "f":
        hint = "; for values of 0 to 1, pass (255 * image).round().astype(np.uint8)"
    elif array.ndim == 3 and array.shape[2] == 4:
        hint = "; for RGBA, pass image[..., :3]"
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image: expected RGB uint8 (H, W, 3) or gray uint8 (H, W), "
            f"got {array.dtype} {array.shape}{hint}"
        )
    if array.size == 0:
        raise ValueError(f"image: expected at least one pixel, got shape {array.shape}")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array)


def _check_frames(image: Image.Image, name: str) -> None:
    """Refuse animated GIFs, which are videos; warn of other files with several frames."""
    if image.format in ("MPO", "HEIF"):
        return  # the other frames are depth maps, stereo images ...
    try:
        has_more = getattr(image, "is_animated", False)
    except Exception:  # the first frame may still be intact
        return
    if has_more and image.format == "GIF":
        raise ImageError(f"{name}: an animated GIF is a video; use it as one")
    if has_more:
        _log.warning("%s: has several frames or pages; only the first is read", name)


def _decode(image: Image.Image, name: str, file: IO[bytes] | None = None) -> NDArray[np.uint8]:
    try:
        return _upright_rgb(_loaded(image, name, file), name, file)
    except ImageError:
        raise
    except Exception as error:  # decoders raise any error on damaged data
        raise ImageError(f"{name}: cannot be decoded: {reason(error)}") from error


def _loaded(image: Image.Image, name: str, file: IO[bytes] | None) -> Image.Image:
    """The decoded image; for a JPEG without an end marker, a completed copy."""
    try:
        load_pixels(image)
        return image
    except OSError:
        if image.format not in ("JPEG", "MPO") or file is None:
            raise
        from openpaf.io.jpeg_end import decode_without_end

        whole = decode_without_end(file, name)
        if whole is None:
            raise
        return whole


def _upright_rgb(image: Image.Image, name: str, file: IO[bytes] | None) -> NDArray[np.uint8]:
    """RGB (H, W, 3), with the EXIF orientation applied.

    It is converted in strips that are written to their final place, so that a large image is in
    memory only twice, as Pillow's and as the result.
    """
    swapped, flip_y, flip_x = _orientation(image)
    width, height = image.size
    upright = np.empty((width, height, 3) if swapped else (height, width, 3), np.uint8)
    stored = upright[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    if swapped:
        stored = stored.transpose(1, 0, 2)
    for top, rgb in _rgb_strips(image, name, file):
        stored[top : top + len(rgb)] = rgb
    return upright


def _rgb_strips(
    image: Image.Image, name: str, file: IO[bytes] | None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Strips of RGB or gray (h, W, 3 or 1) with their first rows."""
    deep = read_deep_color(image, file, name) if file is not None else None
    if deep is not None:
        yield from deep_color_strips(deep, name)
    elif is_deep_gray(image):
        yield from deep_gray_strips(image, name)
    else:
        yield from ((top, _to_rgb(strip)) for top, strip in strips(image))


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    from PIL import Image

    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


# EXIF orientation: whether rows and columns are swapped, then whether y and x are mirrored.
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def _orientation(image: Image.Image) -> tuple[bool, bool, bool]:
    """The entry of ``_ORIENTATIONS`` for an image; none if its EXIF block is damaged."""
    from PIL import ExifTags

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        orientation = None
    return _ORIENTATIONS.get(orientation, (False, False, False))  # type: ignore[arg-type]
