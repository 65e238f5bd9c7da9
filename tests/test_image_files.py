"""The door through which files of images come in: few formats, and no more memory than allowed."""

from __future__ import annotations

import ast
import io
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features

from openpaf.errors import ImageError
from openpaf.io.image_files import (
    FORMATS,
    MAX_DECODE_BYTES,
    MAX_JPEG_SCANS,
    decode_bytes,
    open_image,
)
from openpaf.io.images import read_image

INPUTS = Path(__file__).parent / "inputs"
# Not getrusage, which knows the peak of the process before this program was started in it.
PEAK_BYTES = "1024 * int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory")


# --- formats ------------------------------------------------------------------------------------


def test_nothing_else_opens_images(repo_root: Path) -> None:
    """Every other call names its formats: without them, any plug-in of Pillow may be asked."""
    stray = []
    for folder in ("openpaf", "benchmarks", "data"):
        for path in sorted((repo_root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if path.name == "image_files.py" or not re.search(r"Image\.open|\bimread", text):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call):
                    call = ast.unparse(node.func)
                    named = any(keyword.arg == "formats" for keyword in node.keywords)
                    if call.endswith("imread") or (call.endswith("Image.open") and not named):
                        stray.append(f"{path}:{node.lineno}: {call}")
    assert not stray


def test_eps_is_not_given_to_ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("another program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ImageError, match=r"eps_loop\.jpg: EPS is not read"):
        read_image(INPUTS / "eps_loop.jpg")


@pytest.mark.parametrize("format", ["EPS", "PDF", "ICO", "PCX", "SGI", "MSP", "ICNS", "DDS"])
def test_formats_outside_the_list_are_refused(tmp_path: Path, format: str) -> None:
    image = Image.new("1" if format == "MSP" else "RGB", (64, 64))
    path = tmp_path / "photo.jpg"
    image.save(path, format)
    with pytest.raises(ImageError, match=r"photo\.jpg: .*not read"):
        read_image(path)


def test_the_formats_of_a_caller_are_the_only_ones() -> None:
    file = io.BytesIO()
    Image.new("L", (8, 6)).save(file, "GIF")
    with open_image(file, "a") as image:
        assert image.size == (8, 6)
    with (
        pytest.raises(ImageError, match=r"^a: not an image"),
        open_image(file, "a", formats=["PNG"]),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC"),
        (b"\0\0\0\x18ftypcrx " + bytes(50), "a raw file of a camera"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"%PDF-1.4\n", "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"8BPS\0\1" + bytes(50), "Photoshop"),
    ],
)
def test_what_is_not_read_is_named_by_its_contents(
    tmp_path: Path, content: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"photo.jpg: {kind} is not read"):
        read_image(path)


def test_heic_is_read_with_pillow_heif_and_named_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openpaf.io.image_suffixes.heic_is_read", lambda: False)
    monkeypatch.setattr("openpaf.io.image_files.heic_is_read", lambda: False)
    with pytest.raises(ImageError, match=r"IMG_2\.heic: HEIC.*pip install '\.\[heic\]'"):
        read_image(INPUTS / "IMG_2.heic")
    monkeypatch.undo()
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed (the extra 'heic')")
    assert read_image(INPUTS / "IMG_2.heic").std() > 20


def test_the_preview_of_a_raw_file_is_not_the_photo(tmp_path: Path) -> None:
    preview = Image.new("RGB", (16, 12))
    preview.save(tmp_path / "photo.nef", "TIFF")
    preview.save(tmp_path / "photo.tif", tiffinfo={50706: b"\1\4\0\0"})  # DNGVersion
    for name in ("photo.nef", "photo.tif"):
        with pytest.raises(ImageError, match=f"{name}: a raw file of a camera is not read"):
            read_image(tmp_path / name)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets in folders here")
def test_sockets_and_devices_do_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        os.symlink("/dev/zero", "zero.jpg")
        for name in ("socket.jpg", "zero.jpg"):
            with pytest.raises(ImageError, match=f"^{name}: not a regular file$"):
                read_image(name)


# --- bombs --------------------------------------------------------------------------------------


def png(width: int, height: int, *, extra: bytes = b"", bits: int = 1) -> bytes:
    """A black PNG, whole and well compressed."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + -(-width * bits // 8))
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    if extra:
        extra = chunk(extra[:4], extra[4:])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )  # fmt: skip


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: by tag its type, count and value; ``data`` follows."""
    rows = b"".join(
        struct.pack("<HHI", tag, kind, count)
        + (struct.pack("<HH", value, 0) if kind == 3 and count == 1 else struct.pack("<I", value))
        for tag, (kind, count, value) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + data


def progressive_jpeg(n_scans: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (640, 480)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    n_scans -= content.count(b"\xff\xda")
    return content[:last] + content[last:-2] * n_scans + content[last:]


SMALL_TIFF = {256: (4, 1, 10), 257: (4, 1, 10), 258: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
HALF_A_GIGABYTE = zlib.compress(bytes(500_000_000), 9)
BOMBS = {
    "400 megapixels": (lambda: png(20_000, 20_000), "20000 x 20000 px take 2.9 GB"),
    "a line": (lambda: png(30_000_000, 1), "30000000 x 1 px; sides of up to 100,000 px"),
    "a profile": (lambda: png(8, 8, extra=b"iCCPa\0\0" + HALF_A_GIGABYTE), "too large"),
    "a text": (lambda: png(8, 8, extra=b"zTXta\0\0" + HALF_A_GIGABYTE), "too large"),
    "a tile": (
        lambda: tiff(
            SMALL_TIFF
            | {259: (3, 1, 5), 322: (4, 1, 60_000), 323: (4, 1, 60_000), 324: (4, 1, 8),
               325: (4, 1, 99)}
        ),
        "10 x 10 px take 3.6 GB",
    ),
    "strips": (
        lambda: tiff(
            SMALL_TIFF | {273: (4, 2_000_000, 122), 278: (4, 1, 1), 279: (4, 2_000_000, 122)},
            bytes(8_000_000),
        ),
        "millions of strips",
    ),
    "scans": (lambda: progressive_jpeg(MAX_JPEG_SCANS + 1), "51 scans, more than the 50 read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = BOMBS[kind]
    path = tmp_path / "bomb.jpg"
    path.write_bytes(make())
    assert path.stat().st_size < 10_000_000
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=rf"bomb\.jpg: .*{message}"):
        read_image(path)


def test_a_progressive_jpeg_of_many_scans_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scans.jpg"
    path.write_bytes(progressive_jpeg(MAX_JPEG_SCANS))
    assert read_image(path).shape == (480, 640, 3)


def test_large_tiffs_are_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's limit, which is another one
    for compression in (None, "tiff_lzw"):
        Image.new("RGB", (64, 48)).save(tmp_path / "large.tif", compression=compression)
        assert read_image(tmp_path / "large.tif").shape == (48, 64, 3)


@linux_only
def test_a_folder_is_predicted_past_its_bombs(tmp_path: Path) -> None:
    """The command line itself: named, counted, exit status 1, and little memory."""
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 48)).save(photos / "z.png")
    (photos / "bomb.png").write_bytes(png(20_000, 20_000))
    (photos / "eps.jpg").write_bytes((INPUTS / "eps_loop.jpg").read_bytes())
    (photos / "IMG.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    for name in ("paper.pdf", "raw.NEF", "drawing.svg", "new.jxl"):
        (photos / name).write_bytes(b"anything")
    os.mkfifo(photos / "pipe.jpg")
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from openpaf.cli import main\n"
        f"status = main(sys.argv[1:]); print({PEAK_BYTES}); sys.exit(status)"
    )
    command = ["predict", str(photos), "--output", str(tmp_path / "out"), "--engine", "torch"]
    result = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 1
    skipped = [line.split("skipped ")[1] for line in result.stderr.splitlines()]
    named = {Path(line.split(": ")[0]).name for line in skipped}
    assert named == {path.name for path in photos.iterdir()} - {"z.png"}
    lines = result.stdout.splitlines()
    assert "1 photo, 0 people, 8 skipped" in lines[-2]
    assert int(lines[-1]) < 1_500e6


def large_files() -> dict[str, Callable[[Path], None]]:
    """Ways to write an image of 9 megapixels."""
    image = Image.new("RGB", (3000, 3000), (10, 200, 30))
    deep = np.full((3000, 3000, 3), 3000, np.uint16)
    ways: dict[str, Callable[[Path], None]] = {
        "base.jpg": lambda path: image.save(path),
        "progressive.jpg": lambda path: image.save(path, progressive=True, subsampling=0),
        "rgba.png": lambda path: image.convert("RGBA").save(path),
        "palette.png": lambda path: image.convert("P").save(path, transparency=0),
        "deep.png": lambda path: cv2.imwrite(str(path), deep) and None,
        "one-strip.tif": lambda path: image.save(
            path, compression="tiff_adobe_deflate", strip_size=1 << 30
        ),
        "a.webp": lambda path: image.save(path, method=0),
        "a.jp2": lambda path: image.save(path),
        "a.gif": lambda path: image.save(path),
    }
    if features.check("avif"):
        ways["a.avif"] = lambda path: image.save(path, speed=10)
    return ways


@linux_only
@pytest.mark.parametrize("name", large_files())
def test_decoding_takes_no_more_memory_than_was_estimated(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    large_files()[name](path)
    with open_image(path) as image:
        allowed = decode_bytes(image) + path.stat().st_size
        if name == "deep.png":  # decoded twice, which is looked at apart
            allowed += 16 * image.width * image.height
    assert allowed < 350e6 < MAX_DECODE_BYTES
    code = (
        "import sys, cv2, logging; from PIL import Image; Image.init()\n"
        "from openpaf.io.images import read_image\n"
        f"logging.disable(); before = {PEAK_BYTES}\n"
        "assert read_image(sys.argv[1]).shape == (3000, 3000, 3)\n"
        f"print({PEAK_BYTES} - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert 27e6 < int(result.stdout) < allowed


def test_what_is_refused_follows_from_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.full((300, 300, 3), 3000, np.uint16))
    with open_image(path) as image:
        needed = decode_bytes(image)
    for limit in (needed, needed + 8 * 300 * 300):  # 16 bits take more, which shows on the way
        monkeypatch.setattr("openpaf.io.image_files.MAX_DECODE_BYTES", limit)
        with pytest.raises(ImageError, match=r"deep\.png: 300 x 300 px take"):
            read_image(path)
    monkeypatch.setattr("openpaf.io.image_files.MAX_DECODE_BYTES", 4 * needed)
    assert read_image(path).shape == (300, 300, 3)


def test_a_file_that_is_itself_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(MAX_DECODE_BYTES + 1)  # a hole, which takes no place
    with pytest.raises(ImageError, match=r"long\.png: 1,500,000,001 bytes, more than"):
        read_image(path)


def test_the_list_of_formats_is_that_of_pillow() -> None:
    Image.init()
    assert set(FORMATS) - {"AVIF", "JPEG2000"} <= set(Image.OPEN)
