"""Pictures from files, arrays and PIL images, and the lists of files to take them from."""

from __future__ import annotations

import glob
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
"""Suffixes, in lower case, by which files of a folder or a glob count as pictures."""

MAX_PIXELS = 20_000 * 20_000
"""Pictures with more pixels are refused: 400 megapixels are 1.2 GB already."""

_open_lock = threading.Lock()


def read_image(source: str | os.PathLike[str] | NDArray[Any] | Image.Image) -> NDArray[np.uint8]:
    """A picture as the rest of the library wants it.

    Files are decoded by Pillow: JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF where Pillow was built with
    it, and more. EXIF orientation is applied. Grey and palette pictures become RGB, 16 bits are
    scaled to 8, CMYK is converted without its colour profile, transparent pixels are laid over
    white, and of an animation or a multi-page file the first frame is taken. A truncated file is
    an error, never a picture with a grey lower half; damage inside a complete JPEG cannot be told.

    Args:
        source: A path; or an array, RGB uint8 (H, W, 3) or grey uint8 (H, W); or a PIL image, of
            which the current frame is taken.

    Returns:
        RGB, uint8 (H, W, 3), contiguous. An array that is that already is returned as it is,
        without a copy.

    Raises:
        ImageError: If a file is missing, unreadable, empty, truncated, not a picture, of 32-bit
            values without a known range, or has more than ``MAX_PIXELS`` pixels; the message
            names the file.
        ValueError: If an array has the wrong dtype or shape or no pixels, or ``source`` is none
            of the above.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(os.fspath(source))
    from PIL import Image

    if isinstance(source, Image.Image):
        return _decode(source, str(getattr(source, "filename", "") or "PIL image"))
    raise ValueError(
        f"image: expected a path, an array or a PIL image, got {type(source).__name__}"
    )


def read_images(images: Iterable[Any]) -> list[NDArray[np.uint8]]:
    """Several pictures, each as :func:`read_image` reads it.

    Args:
        images: A list of what :func:`read_image` takes, or one array (B, H, W, 3).

    Raises:
        ImageError: If a file cannot be read as a picture.
        ValueError: If an array is not a picture, or ``images`` is itself a single picture or path,
            which would be taken for a list of its rows or letters.
    """
    kind = type(images).__name__
    if isinstance(images, (str, bytes, os.PathLike)):
        raise ValueError(f"images: expected a list of pictures, got a single path {images!r}")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OU" and images.ndim != 4:
        raise ValueError(
            f"images: expected a list of pictures or an array (B, H, W, 3), got an array of shape "
            f"{images.shape}; of one picture, give [picture]"
        )
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise ValueError(f"images: expected a list of pictures, got {kind}")
    return [read_image(image) for image in images]


def list_images(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    on_error: Callable[[ImageError], None] | None = None,
) -> list[Path]:
    """The pictures that files, folders and globs stand for.

    Args:
        sources: One or more of: a file, taken whatever its suffix; a folder, of which the visible
            pictures are taken in natural order (``2.jpg`` before ``10.jpg``), not those of its
            subfolders; a glob such as ``"photos/*.jpg"`` or ``"photos/**/*.jpg"``, of which the
            pictures are taken likewise. Pictures are known by ``IMAGE_SUFFIXES``.
        on_error: Called with the error of each source that gives nothing, instead of raising it,
            so that the others are still listed.

    Returns:
        Paths in the order of the sources; a file that comes up twice is listed once.

    Raises:
        ImageError: If a path does not exist, a glob matches no pictures, or a folder is
            unreadable or has none, unless ``on_error`` is given.
    """
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    found: dict[str, Path] = {}
    for source in sources:
        try:
            for path in _expand(os.fspath(source)):
                found.setdefault(os.path.realpath(path), path)
        except ImageError as error:
            if on_error is None:
                raise
            on_error(error)
    return list(found.values())


def _expand(source: str) -> list[Path]:
    path = Path(source)
    try:
        if path.is_dir():
            names = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        elif os.path.lexists(path):  # a dangling link too: reading it says what is wrong
            return [path]
        elif glob.has_magic(source):
            names = [Path(name) for name in glob.glob(source, recursive=True)]
        else:
            raise ImageError(f"{_shown(source)}: no such file or folder")
    except (OSError, ValueError) as error:
        raise ImageError(f"{_shown(source)}: cannot be listed: {_reason(error)}") from error
    pictures = [n for n in names if n.suffix.lower() in IMAGE_SUFFIXES and not n.is_dir()]
    if not pictures:
        missing = "no pictures in this folder" if path.is_dir() else "matches no pictures"
        raise ImageError(f"{_shown(source)}: {missing}")
    return sorted(pictures, key=_natural_key)


def _natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"([0-9]+)", str(path).casefold())
    numbered = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
    return numbered, str(path)


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    hint = ""
    if array.dtype.kind == "f":
        hint = "; of values 0 to 1, give (255 * image).round().astype(np.uint8)"
    elif array.ndim == 3 and array.shape[2] == 4:
        hint = "; of RGBA, give image[..., :3]"
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image: expected RGB uint8 (H, W, 3) or grey uint8 (H, W), "
            f"got {array.dtype} {array.shape}{hint}"
        )
    if array.size == 0:
        raise ValueError(f"image: expected at least one pixel, got shape {array.shape}")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array)


def _from_file(path: str) -> NDArray[np.uint8]:
    from PIL import UnidentifiedImageError

    name = _shown(path)
    try:
        if os.path.isdir(path):
            raise ImageError(f"{name}: a folder, not a picture")
        if os.path.exists(path) and not os.path.isfile(path):
            raise ImageError(f"{name}: not a regular file")
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ImageError(f"{name}: the file is empty")
            try:
                image = _open_any_size(file)
            except UnidentifiedImageError:
                raise ImageError(
                    f"{name}: not a picture, or of a format that Pillow cannot read"
                ) from None
            with image:
                return _decode(image, name)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it") from None
    except ImageError:
        raise
    except Exception as error:  # the decoders raise whatever a damaged header leads them to
        raise ImageError(f"{name}: cannot be read: {_reason(error)}") from error


def _open_any_size(file: Any) -> Image.Image:
    """``Image.open`` without Pillow's own limit, which is below 20,000 x 20,000 and global."""
    from PIL import Image

    # Only the header is read here, so the limit is away for an instant and for one thread.
    with _open_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode(image: Image.Image, name: str) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} px are more than the {MAX_PIXELS:,} px allowed"
        )
    if width * height == 0:
        raise ImageError(f"{name}: the picture has no pixels")
    try:
        image.load()
        return np.ascontiguousarray(_upright(_to_rgb(image, name), image))
    except ImageError:
        raise
    except Exception as error:  # the decoders raise whatever damaged data leads them to
        raise ImageError(f"{name}: cannot be decoded: {_reason(error)}") from error


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):  # one channel of more than 8 bits
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"{name}: 32-bit values, whose range is not known; convert it to 8 or 16 bits"
            )
        grey = (values.astype(np.uint32) * 255 + 32767) // 65535
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


# EXIF orientation: whether rows and columns change places, then whether y and x are mirrored.
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def _upright(array: NDArray[np.uint8], image: Image.Image) -> NDArray[np.uint8]:
    """The picture turned as its EXIF orientation says; a damaged EXIF block says nothing."""
    from PIL import ExifTags

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return array
    swapped, flip_y, flip_x = _ORIENTATIONS.get(orientation, (False, False, False))  # type: ignore[arg-type]
    if swapped:
        array = array.transpose(1, 0, 2)
    return array[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _shown(path: str) -> str:
    """A path as it can be printed: bytes that are not UTF-8 become question marks."""
    return path.encode(errors="replace").decode()
