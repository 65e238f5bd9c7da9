"""Opens image files, the only place that does: their formats, and limits of their size."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from openpaf.errors import ImageError, shown
from openpaf.io.image_suffixes import RAW, describe, heic_is_read, kind_not_read, kind_of_start
from openpaf.io.tiff_header import MAX_VALUES, most_values

if TYPE_CHECKING:
    from PIL import Image

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "TGA",
)  # fmt: skip
"""Pillow's names of the formats that are read. Its other readers are never tried: some start other
programs (EPS starts Ghostscript), and a file of any name can have such content."""

MAX_DECODE_BYTES = 1_500_000_000
"""Images that take more memory than this to decode are refused: for most formats, those of more
than 205 megapixels. The largest photos of today's phones have 200."""

MAX_SIDE_PX = 100_000
"""Images with a longer side are refused; JPEG's longest is 65,535 px."""

MAX_JPEG_SCANS = 50
"""Progressive JPEG files with more scans are refused: each scan takes the time of a whole image,
but may have only a few bytes. Encoders write about ten."""

STRIP_PX = 2_000_000
_open_lock = threading.Lock()


@contextlib.contextmanager
def open_image(
    source: str | os.PathLike[str] | IO[bytes],
    name: str | None = None,
    *,
    formats: Sequence[str] = FORMATS,
) -> Iterator[Image.Image]:
    """Open an image without decoding it; all image files are opened here.

    Args:
        source: A path; or a binary file, which is not closed.
        name: Name for messages; the path where not given.
        formats: Some of :data:`FORMATS`.

    Yields:
        A PIL image whose size is within the limits, closed after the block. EXIF orientation is
        not applied to its size.

    Raises:
        ImageError: If it is missing, not a regular file, empty, not of one of the formats, or
            would take more memory than :data:`MAX_DECODE_BYTES`; the message names the file.
    """
    if isinstance(source, (str, os.PathLike)):
        name = name or shown(source)
        with open_regular(source, name) as file, open_image(file, name, formats=formats) as image:
            yield image
        return
    with _open(source, name or "image", formats) as image:
        yield image


def open_regular(path: str | os.PathLike[str], name: str) -> IO[bytes]:
    """Open a regular file for reading; pipes, sockets and devices could block for ever.

    Raises:
        ImageError: If it is missing, not a regular file, or may not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name}: a folder, not an image")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{name}: not a regular file")
        return open(path, "rb")
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read: {reason(error)}") from error


def _open(file: IO[bytes], name: str, formats: Sequence[str]) -> Image.Image:
    from PIL import UnidentifiedImageError

    try:
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(512)
        if not n_bytes:
            raise ImageError(f"{name}: the file is empty")
        if n_bytes > MAX_DECODE_BYTES:
            raise ImageError(f"{name}: {n_bytes:,} bytes, more than the {MAX_DECODE_BYTES:,} read")
        if most_values(file) > MAX_VALUES:
            raise ImageError(f"{name}: a TIFF file with millions of strips or values is not read")
        try:
            image = _open_any_size(file, formats, kind_of_start(head) == "HEIC")
        except UnidentifiedImageError:
            raise ImageError(f"{name}: {_not_read(head)}") from None
        check_memory(image, name, n_bytes)
        _check_raw(image, name)
        _check_scans(image, file, name)
        return image
    except ImageError:
        raise
    except Exception as error:  # decoders raise any error on damaged headers
        raise ImageError(f"{name}: cannot be read: {reason(error)}") from error


def _open_any_size(file: IO[bytes], formats: Sequence[str], is_heic: bool) -> Image.Image:
    from PIL import Image

    Image.init()  # registers all readers, of which only those of formats are tried
    known = [name for name in formats if name in Image.OPEN]  # AVIF may not be built in
    if is_heic and formats == FORMATS and heic_is_read():
        import pillow_heif

        pillow_heif.register_heif_opener()
        known.append("HEIF")
    with _without_pillows_limit():
        return Image.open(file, formats=known)


@contextlib.contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow's own limit is lower and global, so it is lifted only while a header is read or memory
    is allocated, in one thread at a time."""
    from PIL import Image

    with _open_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def load_pixels(image: Image.Image) -> None:
    """Decode an image.

    Raises:
        Exception: Any error, which its decoder raises on damaged data.
    """
    if image.format == "TIFF" and getattr(image, "tile", None):
        with _without_pillows_limit():  # TIFF checks the limit again when it allocates memory
            image.load_prepare()  # type: ignore[attr-defined]
    image.load()


def check_memory(image: Image.Image, name: str, n_bytes: int = 0) -> None:
    """Check that an image can be decoded within :data:`MAX_DECODE_BYTES`.

    Args:
        image: The image, not decoded.
        name: Name for messages.
        n_bytes: Length of its file in bytes.

    Raises:
        ImageError: If it cannot, or has no pixels or a side of more than :data:`MAX_SIDE_PX`.
    """
    width, height = image.size
    if min(width, height) < 1:
        raise ImageError(f"{name}: the image has no pixels")
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            f"{name}: {width} x {height} px; sides of up to {MAX_SIDE_PX:,} px are read"
        )
    check_bytes(image, name, decode_bytes(image) + n_bytes)


def check_bytes(image: Image.Image, name: str, needed: int) -> None:
    """Check that a number of bytes is within :data:`MAX_DECODE_BYTES`.

    Raises:
        ImageError: If it is not; the message has the size of the image.
    """
    width, height = image.size
    if needed > MAX_DECODE_BYTES:
        raise ImageError(
            f"{name}: {width} x {height} px take {needed / 1e9:.1f} GB to decode, more than the "
            f"{MAX_DECODE_BYTES / 1e9:.1f} GB allowed; make it smaller"
        )


# Bytes per pixel of decoders, for canvases and planes, in addition to Pillow's image.
_DECODER_BYTES = {"WEBP": 12, "AVIF": 12, "HEIF": 12, "GIF": 2}


def decode_bytes(image: Image.Image) -> int:
    """Estimated peak memory for decoding an image, in bytes."""
    n_px = image.width * image.height
    n_bands = len(image.getbands())
    decoder = _DECODER_BYTES.get(image.format or "", 0)
    if image.info.get("progressive"):
        decoder = 2 * n_bands  # coefficients of the whole image
    if image.format == "JPEG2000":
        decoder = 4 * n_bands + 2
    of_a_strip = 32 * min(n_px, STRIP_PX)
    stored, result = 4, 3  # bytes per pixel of Pillow's RGB and of the result
    return n_px * (stored + decoder + result) + of_a_strip + _tile_bytes(image)


def _tile_bytes(image: Image.Image) -> int:
    """Bytes of a tile or strip of a TIFF file, which is decoded whole even for a small image."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(259, 1) == 1:  # Compression: none
        return 0

    def number(tag: int, otherwise: int) -> int:
        value = tags.get(tag, otherwise)
        return int(value[0] if isinstance(value, tuple) else value)

    columns = number(322, image.width)  # TileWidth
    rows = number(323, min(number(278, image.height), image.height))  # TileLength, RowsPerStrip
    n_bits = number(258, 8) * number(277, 1)  # BitsPerSample, SamplesPerPixel
    return columns * rows * n_bits // 8


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """An image in strips of a few megapixels, each with its first row, so that intermediate
    arrays stay small."""
    width, height = image.size
    rows = max(1, STRIP_PX // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _check_raw(image: Image.Image, name: str) -> None:
    """Refuse raw files of cameras, which are TIFF files whose first image is a small preview."""
    if image.format == "TIFF":
        is_dng = 50706 in image.tag_v2  # type: ignore[attr-defined]
        if is_dng or kind_not_read(name) == RAW:
            raise ImageError(f"{name}: {describe(RAW)}")


def _check_scans(image: Image.Image, file: IO[bytes], name: str) -> None:
    if not image.info.get("progressive"):
        return
    place = file.tell()
    file.seek(0)
    n_scans, last = 0, b""
    while chunk := file.read(1 << 20):
        n_scans += (last + chunk).count(b"\xff\xda")  # within a scan, FF is followed by 00
        last = chunk[-1:]
    file.seek(place)
    if n_scans > MAX_JPEG_SCANS:
        raise ImageError(f"{name}: {n_scans} scans, more than the {MAX_JPEG_SCANS} read")


def _not_read(head: bytes) -> str:
    """The message for a file of none of the formats."""
    kind = kind_of_start(head)
    if kind is None:
        return "not an image, or of a format that is not read (JPEG, PNG, WebP, TIFF, BMP ... are)"
    return describe(kind)


def reason(error: BaseException) -> str:
    """The message of an error of a decoder or of the system, in one line."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
