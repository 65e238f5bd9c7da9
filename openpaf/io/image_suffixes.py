"""Suffixes of image files, and the kinds of files that are not read."""

from __future__ import annotations

import importlib.util
import os

from openpaf.io.extras import install_hint

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
})
"""Suffixes, in lower case, by which files of a folder or a glob count as images."""

HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""Suffixes of images that are read where pillow-heif is installed."""

RAW_SUFFIXES = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25",
    ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2",
    ".rwl", ".sr2", ".srf", ".srw", ".x3f",
})
"""Suffixes of the raw files of cameras."""
# fmt: on

RAW = "a raw file of a camera"
HEIC_HINT = f"{install_hint('heic')}, or convert it to JPEG"

_OTHER_KINDS = {
    ".eps": "EPS",
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".jxl": "JPEG XL",
    ".pdf": "PDF",
    ".psb": "Photoshop",
    ".psd": "Photoshop",
    ".svg": "SVG",
    ".svgz": "SVG",
    ".xcf": "GIMP",
}

_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n": "JPEG XL",
    b"%PDF": "PDF",
    b"%!PS": "EPS",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"8BPS": "Photoshop",
    b"gimp xcf": "GIMP",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"FUJIFILMCCD-RAW": RAW,
    b"FOVb": RAW,
}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def heic_is_read() -> bool:
    """Whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def names_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an image by its suffix, also of a format that is not read."""
    suffix = _suffix(path)
    return suffix in IMAGE_SUFFIXES | HEIC_SUFFIXES | RAW_SUFFIXES or suffix in _OTHER_KINDS


def kind_not_read(path: str | os.PathLike[str]) -> str | None:
    """The kind of an image that is not read, by its suffix; None for other files."""
    suffix = _suffix(path)
    if suffix in HEIC_SUFFIXES:
        return None if heic_is_read() else "HEIC"
    return RAW if suffix in RAW_SUFFIXES else _OTHER_KINDS.get(suffix)


def _suffix(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(os.fspath(path))[1].lower()


def kind_of_start(head: bytes) -> str | None:
    """The kind of an image that is not read, by its first bytes; None if unknown.

    Args:
        head: The first bytes of the file, a hundred or more.
    """
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _HEIC_BRANDS:
            return "HEIC"
        return {b"avif": "AVIF", b"avis": "AVIF", b"crx ": RAW}.get(brand)
    return "SVG" if b"<svg" in head else None


def describe(kind: str) -> str:
    """The message for an image of a kind that is not read."""
    if kind == "HEIC" and not heic_is_read():
        return f"HEIC is not read without pillow-heif; {HEIC_HINT}"
    if kind in ("HEIC", "AVIF"):
        return f"{kind} that is damaged, or that the installed Pillow cannot read"
    return f"{kind} is not read; convert it to JPEG or PNG"
