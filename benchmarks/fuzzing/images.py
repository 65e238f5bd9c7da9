"""Pictures: valid ones of every kind, damaged ones, lying headers, bombs, and no pictures at all.

The oracle is Pillow, used plainly: the same file, upright, over white, in 8 bits.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

import openpaf
from fuzzing.case import Case
from fuzzing.mutate import damaged

#: What a file that is read may be; by its content, whatever its suffix.
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
_SUFFIXES = (".jpg", ".png", ".webp", ".gif", ".tif", ".bmp", ".ppm", ".tga", ".jp2", ".avif", "")


def make(rng: np.random.Generator, folder: Path) -> Case:
    kinds = (_valid, _damaged, _damaged, _damaged, _lying, _foreign, _odd_file, _array)
    choice = int(rng.integers(1000))
    if choice < 4:
        return _bomb(rng, folder)
    return kinds[choice % len(kinds)](rng, folder)


def picture(rng: np.random.Generator) -> tuple[str, Image.Image]:
    """A small picture of some mode."""
    mode = str(rng.choice(["RGB", "RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16", "I", "F"]))
    w, h = (int(side) for side in rng.integers(1, 65, 2))
    smooth = np.add.outer(np.linspace(0, 90, h), np.linspace(0, 90, w))[..., None]
    rgb = np.clip(smooth + rng.integers(0, 76, (1 if rng.random() < 0.5 else h, w, 3)), 0, 255)
    color = Image.fromarray(rgb.astype(np.uint8))
    if mode == "I;16":
        return mode, Image.fromarray(rng.integers(0, 65536, (h, w)).astype(np.uint16))
    if mode == "I":
        most = 65536 if rng.random() < 0.7 else 2**31 - 1
        return mode, Image.fromarray(rng.integers(0, most, (h, w)).astype(np.int32))
    image = color.convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(rng.integers(0, 256, (h, w)).astype(np.uint8)))
    return mode, image


def encoded(rng: np.random.Generator) -> tuple[str, str, bytes]:
    """What it is, its suffix, and its bytes."""
    while True:
        mode, image = picture(rng)
        name, suffix, options = _options(rng)
        if suffix in (".jpg", ".png", ".webp", ".tif") and rng.random() < 0.4:
            options["exif"] = Image.Exif()
            options["exif"][0x0112] = int(rng.integers(0, 10))
        raw = io.BytesIO()
        try:
            image.save(raw, **options)
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            struct.error,
        ):  # not every mode has every format
            continue
        turned = f" turned {options['exif'][0x0112]}" if "exif" in options else ""
        return f"{name} {mode}{turned}", suffix, raw.getvalue()


def _options(rng: np.random.Generator) -> tuple[str, str, dict[str, Any]]:
    choices: list[tuple[str, str, dict[str, Any]]] = [
        ("JPEG", ".jpg", {"format": "JPEG", "quality": int(rng.integers(1, 96))}),
        ("progressive JPEG", ".jpg", {"format": "JPEG", "progressive": True}),
        ("PNG", ".png", {"format": "PNG"}),
        ("PNG", ".png", {"format": "PNG"}),
        ("WebP", ".webp", {"format": "WEBP", "lossless": bool(rng.random() < 0.5)}),
        ("GIF", ".gif", {"format": "GIF"}),
        ("TIFF", ".tif", {"format": "TIFF", "compression": rng.choice(
            ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])}),
        ("BMP", ".bmp", {"format": "BMP"}),
        ("PPM", ".ppm", {"format": "PPM"}),
        ("TGA", ".tga", {"format": "TGA"}),
        ("JPEG 2000", ".jp2", {"format": "JPEG2000"}),
    ]  # fmt: skip
    return choices[int(rng.integers(len(choices)))]


def expected(raw: bytes) -> np.ndarray | None:
    """What Pillow makes of a file; None where it does not say."""
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        if image.size[0] * image.size[1] > 20_000_000:
            return None
        image.load()
        if image.mode == "F" or image.mode.startswith("I"):
            values = np.asarray(image).astype(np.float64)
            if image.mode == "F" or values.min() < 0 or values.max() > 65535:
                raise ValueError("the range is not known")
            grey = np.floor(values * 255 / 65535 + 0.5).astype(np.uint8)
            array = np.stack([grey] * 3, axis=2)
        elif image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            array = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
        else:
            array = np.asarray(image.convert("RGB"))
        try:
            turned = Image.fromarray(array)
            turned.getexif()[0x0112] = image.getexif().get(0x0112, 1)
            return np.asarray(ImageOps.exif_transpose(turned))
        except Exception:  # a damaged EXIF block says nothing
            return array


def compared(path: Path, raw: bytes) -> str | None:
    """What is wrong with the way in which openpaf reads a file."""
    found = openpaf.read_image(path)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or not found.size:
        return f"read as {found.dtype} {found.shape}"
    try:
        wanted = expected(raw)
    except Exception as error:
        if raw[:2] != b"\xff\xd8":
            return f"read, though Pillow says {error}"
        try:  # a JPEG that lacks nothing but its end
            wanted = expected(raw.rstrip(b"\xff") + b"\xff\xd9")
        except Exception:
            return f"a damaged JPEG was read, though Pillow says {error}"
    if wanted is not None and not np.array_equal(found, wanted):
        return f"differs from Pillow's: {found.shape} and {wanted.shape}"
    return None


def _file(folder: Path, kind: str, suffix: str, raw: bytes, **more: Any) -> Case:
    path = folder / f"photo{suffix}"
    path.write_bytes(raw)
    return Case(kind, lambda: compared(path, raw), name=f"photo{suffix}", **more)


def _valid(rng: np.random.Generator, folder: Path) -> Case:
    name, suffix, raw = encoded(rng)
    try:
        expected(raw)
    except ValueError:
        return _file(folder, f"valid {name}", suffix, raw, must_refuse=True)
    return _file(folder, f"valid {name.split(' turned')[0]}", suffix, raw, is_good=True)


def _damaged(rng: np.random.Generator, folder: Path) -> Case:
    name, suffix, raw = encoded(rng)
    how, raw = damaged(rng, raw)
    if rng.random() < 0.2:
        suffix = str(rng.choice(_SUFFIXES))
    return _file(folder, f"{how}: {name.split(' turned')[0]}", suffix, raw)


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    out = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        crc = zlib.crc32(name + data)
        out += struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)
    return out


def _zeros(n: int) -> bytes:
    """A zlib stream of zeros, made from one block repeated, so that it takes no time."""
    block, step = zlib.compressobj(9, wbits=-15), 1 << 20
    whole = block.compress(bytes(step)) + block.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, wbits=-15)
    end = rest.compress(bytes(n % step)) + rest.flush()
    return b"\x78\x9c" + whole * (n // step) + end + struct.pack(">I", (n % 65521) << 16 | 1)


def _ihdr(w: int, h: int, depth: int, color: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", w & 0xFFFFFFFF, h & 0xFFFFFFFF, depth, color, 0, 0, 0)


def _bomb(rng: np.random.Generator, folder: Path) -> Case:
    """A small PNG of very many pixels, all of them there."""
    side = int(rng.choice([12_000, 16_000, 20_000, 30_000]))
    color, channels = ((0, 1), (2, 3), (4, 2), (6, 4))[int(rng.integers(4))]
    depth = int(rng.choice([8, 16]))
    size = side * (1 + side * channels * depth // 8)
    raw = _png(_ihdr(side, side, depth, color), (b"IDAT", _zeros(size)), (b"IEND", b""))
    path = folder / "photo.png"
    path.write_bytes(raw)
    kind = f"PNG bomb of {side} px, {channels} x {depth} bits"
    return Case(kind, lambda: _only_read(path), name="photo.png")


def _lying(rng: np.random.Generator, folder: Path) -> Case:
    """A header that names another size than there are pixels for."""
    side = [0, 1, 40_000, 2**31 - 1, 2**32 - 1, 65_535, 5_000, -1][int(rng.integers(8))]
    other = [1, side, 3][int(rng.integers(3))]
    choice = int(rng.integers(5))
    if choice == 0:
        color = int(rng.choice([0, 2, 3, 4, 6, 7]))
        chunks = [_ihdr(side, other, int(rng.choice([1, 8, 16])), color)]
        if rng.random() < 0.5:
            text = [b"zTXt", b"iCCP", b"tEXt", b"eXIf", b"acTL"][int(rng.integers(5))]
            chunks.append((text, b"x\0\0" + _zeros(int(10 ** rng.uniform(1, 8.5)))))
        chunks += [(b"IDAT", _zeros(300)), (b"IEND", b"")]
        return _file(folder, "PNG that lies", ".png", _png(*chunks))
    name, suffix, place, form = (
        ("JPEG", ".jpg", None, ">HH"),
        ("BMP", ".bmp", 18, "<ii"),
        ("GIF", ".gif", 6, "<HH"),
        ("TGA", ".tga", 12, "<HH"),
    )[choice - 1]
    raw = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(raw, name)
    data = bytearray(raw.getvalue())
    at = data.index(b"\xff\xc0") + 5 if place is None else place
    bits = 8 * struct.calcsize(form[:2])
    low = [value & (2**bits - 1) for value in (side, other)]
    signed = [v - 2**bits if form[1] == "i" and v >= 2 ** (bits - 1) else v for v in low]
    data[at : at + struct.calcsize(form)] = struct.pack(form, *signed)
    return _file(folder, f"{name} that lies", suffix, bytes(data))


_EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 48
%%EndComments
{ } loop showpage
%%EOF
"""
_FOREIGN: dict[str, bytes] = {
    "EPS": _EPS,
    "EPS with a binary header": struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(_EPS), 0, 0, 0, 0, 0)
    + b"\0\0" + _EPS,
    "PDF": b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
    "HTML": b"<!doctype html><title>404</title>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "XPM": b'/* XPM */\nstatic char *x[] = {"2 1 1 1","a c #000000","aa"};',
    "XBM": b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0x01};",
    "ZIP": b"PK\x03\x04" + bytes(60),
    "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(400),
    "FITS": b"SIMPLE  =                    T" + b" " * 50 + b"END" + b" " * 2797,
    "ICNS": b"icns" + struct.pack(">I", 16) + b"ic07" + struct.pack(">I", 8),
    "DDS": b"DDS " + struct.pack("<I", 124) + bytes(200),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "SGI": b"\x01\xda\0\1\0\3" + struct.pack(">HHH", 2, 2, 3) + bytes(512),
    "PCX": b"\x0a\5\1\x08" + struct.pack("<HHHH", 0, 0, 2**15, 2**15) + bytes(200),
    "ICO": b"\0\0\1\0\1\0\1\1\0\0\1\0\x18\0\x30\0\0\0\x16\0\0\0" + bytes(60),
    "IM": b"Image type: L image\r\nImage size (x*y): 1000000*1000000\r\n\x1a" + bytes(500),
    "text": b"not a picture\n" * 9,
    "MPEG": b"\0\0\1\xb3" + bytes(64),
    "GRIB": b"GRIB\0\0\0\1" + bytes(64),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
}  # fmt: skip


_HARMLESS = ("PSD", "SGI", "PCX", "ICO", "DDS", "XBM", "IM")  # pictures too, if nobody's photos


def _foreign(rng: np.random.Generator, folder: Path) -> Case:
    """Another format under a picture's name: what Pillow would open is no reason to run it."""
    name = list(_FOREIGN)[int(rng.integers(len(_FOREIGN)))]
    raw, suffix = _FOREIGN[name], str(rng.choice(_SUFFIXES))
    path = folder / f"photo{suffix}"
    path.write_bytes(raw)
    refused = name not in _HARMLESS
    return Case(
        f"{name} under another name", lambda: _only_read(path), path.name, must_refuse=refused
    )


def _odd_file(rng: np.random.Generator, folder: Path) -> Case:
    """Paths that are missing, strange, or no files."""
    raw = encoded(rng)[2]
    names = (
        "new\nline.png",
        "  .png",
        "-rf.png",
        "tür\u202e.png",
        "a" * 250,
        "\x1b[31m.png",
        "%s.png",
    )
    kind = int(rng.integers(10))
    if kind < 4:
        path = folder / names[int(rng.integers(len(names)))]
        path.write_bytes(raw)
        return Case("valid under an odd name", lambda: _only_read(path))
    path = folder / "photo.png"
    makers: tuple[Callable[[], Any], ...] = (
        lambda: path.mkdir(),
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("missing.png"),
        lambda: path.symlink_to(path),
        lambda: path.touch(),
        lambda: path.symlink_to("/dev/zero"),
    )
    makers[kind - 4]()
    return Case("no file", lambda: _only_read(path), name="photo.png", must_refuse=True)


def _only_read(path: Path) -> str | None:
    openpaf.read_image(path)
    return None


def _array(rng: np.random.Generator, folder: Path) -> Case:
    """Arrays and PIL images, right and wrong."""
    if rng.random() < 0.3:
        mode, image = picture(rng)
        raw = io.BytesIO()
        image.save(raw, "TIFF")
        return Case(f"PIL image {mode}", lambda: _same(image, raw.getvalue()))
    dtype = str(rng.choice(["u1", "u1", "u1", "f4", "f8", "u2", "i4", "?", "c8", "O", "U1", "f2"]))
    shapes = [(9, 7, 3), (9, 7), (9, 7, 1), (9, 7, 4), (3, 9, 7), (2, 9, 7, 3), (0, 7, 3), (9, 0),
              (9,), (), (1, 1, 3), (9, 7, 2)]  # fmt: skip
    shape = shapes[int(rng.integers(len(shapes)))]
    array = np.zeros(shape, dtype)
    if dtype == "u1" and array.size:
        array = rng.integers(0, 256, shape).astype(np.uint8)
    if rng.random() < 0.3 and array.ndim:
        array = array[::-1]
    good = dtype == "u1" and array.size and (array.ndim == 2 or array.shape[2:] == (3,))
    if not good:
        return Case(
            f"array {dtype}", lambda: _only_read(array), must_refuse=dtype != "u1", strict=True
        )
    wanted = array if array.ndim == 3 else np.stack([array] * 3, axis=2)
    return Case(
        "array, valid",
        lambda: None if np.array_equal(openpaf.read_image(array), wanted) else "differs",
        is_good=True,
        strict=True,
    )


def _same(image: Image.Image, raw: bytes) -> str | None:
    found = openpaf.read_image(image)
    wanted = expected(raw)
    return None if wanted is None or np.array_equal(found, wanted) else "differs from Pillow's"
