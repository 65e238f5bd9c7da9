"""The one door through which files of images come in: which formats, and how large they may be."""

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
"""Pillow's names of the formats that are read. Its other readers are never asked: some start other
programs (EPS starts Ghostscript), and contents tell the format, so any name could ask them."""

MAX_DECODE_BYTES = 1_500_000_000
"""Images that would take more memory than this while they are decoded are refused: of most formats
those of more than 205 megapixels. The largest photos of today's phones have 200."""

MAX_SIDE_PX = 100_000
"""Images with a longer side are refused; JPEG's longest is 65,535 px."""

MAX_JPEG_SCANS = 50
"""Progressive JPEG files with more scans are refused: each scan costs the time of a whole image and
may have a few bytes only. Encoders write about ten."""

STRIP_PX = 2_000_000
_open_lock = threading.Lock()


@contextlib.contextmanager
def open_image(
    source: str | os.PathLike[str] | IO[bytes],
    name: str | None = None,
    *,
    formats: Sequence[str] = FORMATS,
) -> Iterator[Image.Image]:
    """Open an image without decoding it; every file of the library is opened here.

    Args:
        source: A path; or a binary file, which stays open.
        name: For messages; the path where not given.
        formats: Some of :data:`FORMATS`.

    Yields:
        A PIL image of a size that may be decoded, closed when the block ends. EXIF orientation is
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
    """Open a file for reading; pipes, sockets and devices, which may never answer, are not tried.

    Raises:
        ImageError: If it is missing, not a regular file, empty, or may not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name}: a folder, not a picture")
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
    except Exception as error:  # the decoders raise whatever a damaged header leads them to
        raise ImageError(f"{name}: cannot be read: {reason(error)}") from error


def _open_any_size(file: IO[bytes], formats: Sequence[str], is_heic: bool) -> Image.Image:
    from PIL import Image

    Image.init()  # all readers are known then, and only those named are asked
    known = [name for name in formats if name in Image.OPEN]  # AVIF may not be built in
    if is_heic and formats == FORMATS and heic_is_read():
        import pillow_heif

        pillow_heif.register_heif_opener()
        known.append("HEIF")
    with _without_pillows_limit():
        return Image.open(file, formats=known)


@contextlib.contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow's own limit is lower than ours and global, so it is away for an instant only, in which
    a header is read or memory taken, and for one thread."""
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
        Exception: Whatever damaged data leads its decoder to.
    """
    if image.format == "TIFF" and getattr(image, "tile", None):
        with _without_pillows_limit():  # this one looks at it once more when it takes the memory
            image.load_prepare()  # type: ignore[attr-defined]
    image.load()


def check_memory(image: Image.Image, name: str, n_bytes: int = 0) -> None:
    """See that an image can be decoded within :data:`MAX_DECODE_BYTES`.

    Args:
        image: Opened, not decoded.
        name: For messages.
        n_bytes: Length of its file.

    Raises:
        ImageError: If not, or if it has no pixels or a side of more than :data:`MAX_SIDE_PX`.
    """
    width, height = image.size
    if min(width, height) < 1:
        raise ImageError(f"{name}: the picture has no pixels")
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            f"{name}: {width} x {height} px; sides of up to {MAX_SIDE_PX:,} px are read"
        )
    check_bytes(image, name, decode_bytes(image) + n_bytes)


def check_bytes(image: Image.Image, name: str, needed: int) -> None:
    """See that what an image needs is within :data:`MAX_DECODE_BYTES`.

    Raises:
        ImageError: If it is not.
    """
    width, height = image.size
    if needed > MAX_DECODE_BYTES:
        raise ImageError(
            f"{name}: {width} x {height} px take {needed / 1e9:.1f} GB to decode, more than the "
            f"{MAX_DECODE_BYTES / 1e9:.1f} GB allowed; make it smaller"
        )


# Bytes per pixel that decoders take besides Pillow's own image: whole canvases and planes.
_DECODER_BYTES = {"WEBP": 12, "AVIF": 12, "HEIF": 12, "GIF": 2}


def decode_bytes(image: Image.Image) -> int:
    """About how much memory an image takes at most while it is decoded, in bytes."""
    n_px = image.width * image.height
    n_bands = len(image.getbands())
    decoder = _DECODER_BYTES.get(image.format or "", 0)
    if image.info.get("progressive"):
        decoder = 2 * n_bands  # coefficients of the whole image
    if image.format == "JPEG2000":
        decoder = 4 * n_bands + 2
    of_a_strip = 32 * min(n_px, STRIP_PX)
    stored, result = 4, 3  # Pillow's RGB; gray takes less, and is not worth more pixels
    return n_px * (stored + decoder + result) + of_a_strip + _tile_bytes(image)


def _tile_bytes(image: Image.Image) -> int:
    """Bytes of a TIFF file's tile or strip, which is decoded whole, however small the image."""
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
    """An image in strips of a few megapixels, each with its first row, so that what is made of
    them on the way stays small."""
    width, height = image.size
    rows = max(1, STRIP_PX // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _check_raw(image: Image.Image, name: str) -> None:
    """Raw files of cameras look like TIFF, whose first image is a small preview."""
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
        n_scans += (last + chunk).count(b"\xff\xda")  # inside of a scan, FF stands before 00
        last = chunk[-1:]
    file.seek(place)
    if n_scans > MAX_JPEG_SCANS:
        raise ImageError(f"{name}: {n_scans} scans, more than the {MAX_JPEG_SCANS} read")


def _not_read(head: bytes) -> str:
    """What to say of a file that none of the formats fits."""
    kind = kind_of_start(head)
    if kind is None:
        return "not a picture, or of a format that is not read (JPEG, PNG, WebP, TIFF, BMP ... are)"
    return describe(kind)


def reason(error: BaseException) -> str:
    """What an error of a decoder or of the system says, in one line."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
