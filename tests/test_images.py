"""Images of every kind come in the same way; bad ones are refused by name."""

from __future__ import annotations

import glob
import io
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from openpaf.errors import ImageError
from openpaf.io.extras import install_hint
from openpaf.io.folders import walk_glob
from openpaf.io.images import IMAGE_SUFFIXES, list_images, read_image

PHOTOS = Path(__file__).parent.parent / "data" / "photos"
INPUTS = Path(__file__).parent / "inputs"


def scene(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """A smooth image without symmetry, so that every turn and swap shows."""
    y, x = np.mgrid[:height, :width]
    channels = [255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 40 + x + y]
    return np.stack(channels, axis=2).clip(0, 255).astype(np.uint8)


def assert_near(a: NDArray[np.uint8], b: NDArray[np.uint8], tolerance: float) -> None:
    assert a.shape == b.shape
    assert np.abs(a.astype(int) - b.astype(int)).mean() <= tolerance


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga"])
def test_lossless_files_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scene.{suffix}"
    Image.fromarray(scene()).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, scene())
    np.testing.assert_array_equal(read_image(str(path)), scene())


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_lossy_files_come_back_nearly(tmp_path: Path, suffix: str) -> None:
    if suffix != "jpg" and not features.check(suffix):
        pytest.skip(f"this Pillow has no {suffix}")
    path = tmp_path / f"scene.{suffix}"
    Image.fromarray(scene()).save(path, quality=95)
    assert_near(read_image(path), scene(), 4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if suffix in ("jpg", "webp") else {}
    Image.fromarray(scene()).save(path, exif=exif, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(read_image(image), expected)  # a PIL image too
    assert expected.shape == ((40, 24, 3) if orientation >= 5 else (24, 40, 3))
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_unknown_orientation_turns_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), scene())


def test_a_damaged_exif_block_turns_nothing(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff junk")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), scene())


def test_gray(tmp_path: Path) -> None:
    gray = scene()[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), expected)
    np.testing.assert_array_equal(read_image(gray), expected)


def test_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(scene()[..., 0] > 127).save(tmp_path / "bits.png")
    image = read_image(tmp_path / "bits.png")
    np.testing.assert_array_equal(image[..., 0], np.where(scene()[..., 0] > 127, 255, 0))


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.dstack([scene(), np.full((24, 40), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:14, :, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image[:10] == 255).all()
    np.testing.assert_array_equal(image[14:], scene()[14:])
    assert_near(image[10:14], (scene()[10:14] / 2 + 127.5).astype(np.uint8), 1.5)


def test_gray_with_transparency(tmp_path: Path) -> None:
    Image.merge("LA", [Image.new("L", (4, 3), 10), Image.new("L", (4, 3), 0)]).save(
        tmp_path / "la.png"
    )
    assert (read_image(tmp_path / "la.png") == 255).all()


def test_palette(tmp_path: Path) -> None:
    palette = Image.fromarray(scene()).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    palette.save(tmp_path / "palette.png")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), expected)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_palette_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    palette = Image.frombytes("P", (2, 1), bytes([0, 1]))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png", transparency=transparency)
    assert read_image(tmp_path / "p.png").tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), values)
    image = read_image(tmp_path / f"deep.{suffix}")
    expected = np.rint(values / 257)
    assert np.abs(image[..., 0] - expected).max() <= 1
    assert (image.min(), image.max()) == (0, 255)
    assert (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_values_of_fewer_bits_in_sixteen_are_scaled_by_those_bits(
    tmp_path: Path, suffix: str, bits: int, caplog: pytest.LogCaptureFixture
) -> None:
    white = (1 << bits) - 1
    values = np.rint(scene() / 255 * white).astype(np.uint16)
    opaque = np.full((24, 40, 1), 65535, np.uint16)
    opaque[:5] = 0
    expected = np.rint(values / white * 255)
    path = tmp_path / f"deep.{suffix}"
    cv2.imwrite(str(path), values[..., 0])
    np.testing.assert_array_equal(read_image(path), expected[..., :1].repeat(3, axis=2))
    cv2.imwrite(str(path), values[..., ::-1])
    np.testing.assert_array_equal(read_image(path), expected)
    assert caplog.text.count(f"read as an image of {bits} bits") == 2
    cv2.imwrite(str(path), np.concatenate([values[..., ::-1], opaque], axis=2))
    expected[:5] = 255
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_twelve_bits_of_color_are_turned(tmp_path: Path, orientation: int) -> None:
    """They are decoded by OpenCV, which would turn them by itself."""
    values = scene().astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / "deep.png"), values[..., ::-1])
    content = (tmp_path / "deep.png").read_bytes()
    exif = b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation]) + bytes(6)
    chunk = (len(exif) - 4).to_bytes(4, "big") + exif + _crc(exif)
    (tmp_path / "deep.png").write_bytes(content[:33] + chunk + content[33:])
    plain = Image.fromarray(scene())
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    assert_near(read_image(tmp_path / "deep.png"), expected, 1)


def test_sixteen_bits_that_are_black_stay_black(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for shape in ((4, 5), (4, 5, 3)):
        cv2.imwrite(str(tmp_path / "black.png"), np.zeros(shape, np.uint16))
        assert not read_image(tmp_path / "black.png").any()
    assert not caplog.text


def test_dark_images_of_eight_bits_stay_dark(tmp_path: Path) -> None:
    Image.fromarray(scene() // 8).save(tmp_path / "dark.png")
    np.testing.assert_array_equal(read_image(tmp_path / "dark.png"), scene() // 8)


def test_sixteen_bit_gray_of_which_zero_is_white(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "negative.tif", tiffinfo={262: 0})
    assert read_image(tmp_path / "negative.tif")[0, :, 0].tolist() == [255, 254, 0]


def test_sixteen_bit_gray_with_a_transparent_value(tmp_path: Path) -> None:
    values = np.array([[1000, 2000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=1000)
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [255, 8, 255]


def test_large_images_are_made_of_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rotated = Image.Exif()
    rotated[0x0112] = 6
    for name, image in {
        "rgb.png": Image.fromarray(scene()),
        "palette.png": Image.fromarray(scene()).convert("P"),
        "gray.png": Image.fromarray(scene()[..., 0].astype(np.uint16) * 257),
        "alpha.png": Image.fromarray(np.dstack([scene(), scene()[..., 0]])),
    }.items():
        image.save(tmp_path / name, exif=rotated)
    cv2.imwrite(str(tmp_path / "deep.png"), scene().astype(np.uint16) * 16)
    paths = sorted(tmp_path.iterdir())
    expected = [read_image(path) for path in paths]
    monkeypatch.setattr("openpaf.io.image_files.STRIP_PX", 150)
    monkeypatch.setattr("openpaf.io.deep_images.STRIP_PX", 150)
    for path, image in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(read_image(path), image)


def test_sixteen_bit_color_is_scaled_not_clipped(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), scene()[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), scene())


def test_big_endian_sixteen_bits() -> None:
    values = np.array([[0, 256, 65535]], ">u2")
    image = read_image(Image.frombytes("I;16B", (3, 1), values.tobytes()))
    assert image[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("values", [[[0.0, 1.0]], [[-5, 70000]]])
def test_values_of_unknown_range_are_refused(tmp_path: Path, values: list[list[float]]) -> None:
    dtype = np.float32 if isinstance(values[0][0], float) else np.int32
    path = tmp_path / "deep.tif"
    Image.fromarray(np.array(values, dtype)).save(path)
    with pytest.raises(ImageError, match=r"deep\.tif.*32-bit values"):
        read_image(path)


def test_cmyk(tmp_path: Path) -> None:
    cmyk = Image.fromarray(scene()).convert("CMYK")
    cmyk.save(tmp_path / "print.jpg", quality=95)
    cmyk.save(tmp_path / "print.tif")
    assert_near(read_image(tmp_path / "print.jpg"), scene(), 4)
    assert_near(read_image(tmp_path / "print.tif"), scene(), 1)


@pytest.mark.parametrize("suffix", ["webp", "png", "tif"])
def test_of_several_frames_the_first_is_taken_and_said(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Image.new("RGB", (8, 6), (200, 30, 40)), Image.new("RGB", (8, 6), (0, 0, 255))
    path = tmp_path / f"moving.{suffix}"
    first.save(path, save_all=True, append_images=[second])
    assert_near(read_image(path), np.asarray(first), 6)
    assert "only the first is read" in caplog.text


def test_an_animated_gif_is_a_video_and_a_still_one_a_photo(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), (200, 30, 40)), Image.new("RGB", (8, 6), (0, 0, 255))
    first.save(tmp_path / "still.gif")
    assert_near(read_image(tmp_path / "still.gif"), np.asarray(first), 6)
    path = tmp_path / "moving.gif"
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(ImageError, match=r"moving\.gif: an animated GIF is a video"):
        read_image(path)
    with Image.open(path) as image:  # frames that somebody else takes out of it are photos
        image.seek(1)
        assert_near(read_image(image), np.asarray(second), 6)


@pytest.mark.parametrize("name", ["two words.png", "фото.png", "写真 🏃.png", "a#b%20c'd\".png"])
def test_names_with_spaces_and_any_letters(tmp_path: Path, name: str) -> None:
    Image.fromarray(scene()).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), scene())
    assert list_images(tmp_path) == [tmp_path / name]


def test_the_contents_count_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a"), scene())


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 5000), (5000, 1), (8, 20_000), (20_000, 3)])
def test_sizes_far_from_a_photo(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    Image.fromarray(scene(*size_hw)).save(tmp_path / "odd.png")
    np.testing.assert_array_equal(read_image(tmp_path / "odd.png"), scene(*size_hw))


def test_pillows_own_limit_is_lifted_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "large.png"
    path.write_bytes(_png_bytes(scene()))
    np.testing.assert_array_equal(read_image(path), scene())
    assert Image.MAX_IMAGE_PIXELS == 100


def test_sample_photos_are_read() -> None:
    paths = list_images(PHOTOS)
    assert 4 <= len(paths) <= 8
    for path in paths:
        assert path.stat().st_size < 500_000
        assert read_image(path).shape[2] == 3
        assert f"`{path.name}`" in (PHOTOS / "README.md").read_text()


# --- arrays and PIL images ----------------------------------------------------------------------


def test_an_array_is_returned_as_it_is() -> None:
    image = scene()
    assert read_image(image) is image


def test_a_view_is_made_contiguous() -> None:
    image = read_image(scene()[::2, ::-1])
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, scene()[::2, ::-1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5, 3), np.float32), r"got float32 \(4, 5, 3\); for values of 0 to 1"),
        (np.zeros((4, 5), np.float64), "float64"),
        (np.zeros((4, 5, 3), np.uint16), "uint16"),
        (np.zeros((4, 5), bool), "bool"),
        (np.zeros((4, 5, 4), np.uint8), r"got uint8 \(4, 5, 4\); for RGBA"),
        (np.zeros((4, 5, 1), np.uint8), r"\(4, 5, 1\)"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\)"),
        (np.zeros(7, np.uint8), r"\(7,\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"\(1, 4, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), "at least one pixel"),
        (np.zeros((5, 0), np.uint8), "at least one pixel"),
    ],
)
def test_wrong_arrays(array: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ValueError, match=f"^image: expected .*{message}"):
        read_image(array)


@pytest.mark.parametrize("source", [None, 3, [[0]], {"a": 1}])
def test_other_sources(source: object) -> None:
    message = r"^image: expected a path, an address, bytes, an array, a tensor or a PIL image, got"
    with pytest.raises(ValueError, match=message):
        read_image(source)  # type: ignore[arg-type]


def test_a_pil_image_is_left_alone() -> None:
    image = Image.fromarray(scene()).convert("P")
    before = image.tobytes(), image.mode
    read_image(image)
    assert (image.tobytes(), image.mode) == before


def test_a_pil_image_whose_file_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(_png_bytes(scene(200, 300))[:-200])
    with Image.open(path) as image, pytest.raises(ImageError, match=r"cut\.png"):
        read_image(image)


# --- files that are no images -----------------------------------------------------------------


def test_missing() -> None:
    with pytest.raises(ImageError, match=r"^nowhere/a\.jpg: no such file$"):
        read_image("nowhere/a.jpg")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a folder, not an image"):
        read_image(tmp_path)


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError, match=r"a\.jpg: the file is empty"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("content", [b"This is not a photo.\n", b"\xff\xd8\xff", b"\0" * 1000])
def test_no_image_named_jpg(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.jpg: (not an image|cannot be)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_truncated(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageError, match=rf"cut\.{suffix}: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def whole_jpegs() -> dict[str, bytes]:
    """JPEG files of a scene in colors, gray and CMYK, in one scan and in several."""
    image = Image.fromarray(scene(120, 168))
    contents = {}
    for mode in ("RGB", "L", "CMYK"):
        for name, options in {
            "baseline": {"quality": 90},
            "progressive": {"progressive": True},
            "restarts": {"restart_marker_rows": 1},
        }.items():
            file = io.BytesIO()
            image.convert(mode).save(file, "JPEG", **options)
            contents[f"{mode} {name}"] = file.getvalue()
    return contents


@pytest.mark.parametrize("kind", whole_jpegs())
def test_a_jpeg_without_its_end_marker_is_read_and_a_shorter_one_is_not(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "cut.jpg"
    content = whole_jpegs()[kind]
    path.write_bytes(content)
    expected = read_image(path)
    for padding in (b"", b"\xff", b"\0\0\0\0"):  # half a marker; a block of a disk
        path.write_bytes(content[:-2] + padding)
        np.testing.assert_array_equal(read_image(path), expected)
    errors = []
    for n_bytes in [*range(len(content) - 40, len(content) - 3), *range(650, len(content), 97)]:
        path.write_bytes(content[:n_bytes])
        try:
            np.testing.assert_array_equal(read_image(path), expected)  # nothing visible is missing
        except ImageError as error:
            errors.append(str(error))
    assert len(errors) > 30
    assert all("truncated" in error for error in errors)


def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path: Path) -> None:
    """Cut between two scans, whatever follows gives the same pixels: those of the scans before."""
    content = whole_jpegs()["RGB progressive"]
    scans = [match.start() for match in re.finditer(b"\xff\xda", content)]
    assert len(scans) > 5
    for start in scans[1:]:
        (tmp_path / "cut.jpg").write_bytes(content[:start])
        with pytest.raises(ImageError, match=r"cut\.jpg: cannot be decoded: .*truncated"):
            read_image(tmp_path / "cut.jpg")


def test_a_photo_without_its_end_marker() -> None:
    image = read_image(INPUTS / "jpeg-without-eoi.jpg")
    assert image.shape == (480, 640, 3)
    assert image[400:].std() > 20  # no gray end


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(_png_bytes(scene()))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match=r"secret\.png: no permission to read it"):
        read_image(path)


def test_vanished(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_png_bytes(scene()))
    listed = list_images(tmp_path)
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.png: no such file"):
        read_image(listed[0])


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    assert list_images(tmp_path) == [tmp_path / "link.jpg"]
    with pytest.raises(ImageError, match=r"link\.jpg: no such file"):
        read_image(tmp_path / "link.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_impossible_names() -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_image("a\0b.jpg")
    with pytest.raises(ImageError, match=r"cannot be read|no such file"):
        read_image("x" * 5000)
    with pytest.raises(ImageError) as caught:
        read_image(os.fsdecode(b"caf\xe9.jpg"))
    str(caught.value).encode()  # the message can be printed


def test_too_many_pixels(tmp_path: Path) -> None:
    content = bytearray(_png_bytes(scene()))
    content[16:24] = (20_001).to_bytes(4, "big") + (20_000).to_bytes(4, "big")
    content[29:33] = _crc(bytes(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"bomb\.png: 20001 x 20000 px take 2\.[0-9] GB"):
        read_image(tmp_path / "bomb.png")


def _png_bytes(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image[..., ::-1])[1])


def _crc(chunk: bytes) -> bytes:
    import zlib

    return zlib.crc32(chunk).to_bytes(4, "big")


# --- lists --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("10.jpg", "9.PNG", "b.webp", ".hidden.jpg", "notes.txt", "clip.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "sub.jpg").mkdir()
    (tmp_path / "sub.jpg" / "deep.jpg").touch()
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_lists_its_images_in_natural_order(folder: Path) -> None:
    assert names(list_images(folder)) == ["9.PNG", "10.jpg", "b.webp"]
    assert names(list_images([str(folder)])) == ["9.PNG", "10.jpg", "b.webp"]


def test_a_glob_lists_its_images(folder: Path) -> None:
    assert names(list_images(f"{folder}/*.jpg")) == ["10.jpg"]
    assert names(list_images(folder / "*")) == ["9.PNG", "10.jpg", "b.webp"]
    assert names(list_images(f"{folder}/**/*.jpg")) == ["10.jpg", "deep.jpg"]


def test_a_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert list_images(folder / "notes.txt") == [folder / "notes.txt"]


def test_a_name_that_looks_like_a_glob(folder: Path) -> None:
    (folder / "[1]*.jpg").touch()
    assert names(list_images(folder / "[1]*.jpg")) == ["[1]*.jpg"]


def test_duplicates_come_once_in_the_order_given(folder: Path) -> None:
    sources = [folder / "b.webp", folder, f"{folder}/*.jpg", folder / "sub.jpg" / ".." / "10.jpg"]
    assert names(list_images(sources)) == ["b.webp", "9.PNG", "10.jpg"]


def test_images_that_are_not_read_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openpaf.io.image_suffixes.heic_is_read", lambda: False)
    for name in ("IMG_1.HEIC", "a.cr2", "b.pdf", "c.svg", "d.jxl", ".hidden.pdf"):
        (folder / name).touch()
    (folder / "sub.pdf").mkdir()
    for source in (folder, f"{folder}/*"):
        errors: list[ImageError] = []
        assert names(list_images(source, on_error=errors.append)) == ["9.PNG", "10.jpg", "b.webp"]
        assert [Path(str(error).split(":")[0]).name for error in errors] == [
            "a.cr2", "b.pdf", "c.svg", "d.jxl", "IMG_1.HEIC",
        ]  # fmt: skip
    assert len(list_images(folder)) == 3
    assert install_hint("heic") in caplog.text
    with pytest.raises(ImageError, match=r"b\.pdf: PDF is not read"):
        list_images(f"{folder}/*.pdf")
    monkeypatch.undo()
    monkeypatch.setattr("openpaf.io.image_suffixes.heic_is_read", lambda: True)
    assert "IMG_1.HEIC" in names(list_images(folder))


def test_links_to_their_own_folder_end(folder: Path) -> None:
    """Python's glob would make two to the power of forty paths of these."""
    for name in ("loop", "again"):
        (folder / name).symlink_to(folder)
    (folder / "sub.jpg" / "up").symlink_to(folder)
    (folder / "self.jpg").symlink_to("self.jpg")
    expected = ["10.jpg", "self.jpg", "deep.jpg"]
    assert names(list_images(f"{folder}/**/*.jpg")) == expected
    assert set(map(Path, walk_glob(f"{folder}/**"))) >= {folder / "sub.jpg" / "deep.jpg"}


@pytest.mark.parametrize(
    "pattern",
    [
        "**/*.jpg",
        "./**/*.jpg",
        "sub*/**/*.jpg",
        "**/deep*",
        "**",
        "*.jpg",
        "*/*",
        "sub.jpg/*",
        "**/**/*.jpg",
        "**/sub*/**",
        ".hid*/*",
        "[!b]*",
        "*/",
        "sub.jpg/../*.jpg",
    ],
)
def test_globs_find_what_those_of_python_find(
    folder: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "deep.jpg").touch()
    monkeypatch.chdir(folder)
    found = {os.path.normpath(path) for path in walk_glob(pattern)}
    expected = {os.path.normpath(path) for path in glob.glob(pattern, recursive=True)}
    assert found - {"."} == expected - {"."}
    assert found


def test_a_linked_folder_is_entered(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "linked.jpg").touch()
    (folder / "link").symlink_to(other)
    assert "linked.jpg" in names(list_images(f"{folder}/**/*.jpg"))


def test_folders_that_cannot_be_listed_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(function: Any) -> Any:
        def refuse(path: str) -> Any:
            if str(path).endswith("sub.jpg"):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path)

        return refuse

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    errors: list[ImageError] = []
    sources = [f"{folder}/**/*.jpg", folder / "sub.jpg", folder / "b.webp"]
    assert names(list_images(sources, on_error=errors.append)) == ["10.jpg", "b.webp"]
    assert len(errors) == 2
    for error in errors:
        assert re.search(r"sub\.jpg: cannot be listed: Permission denied$", str(error))


def test_odd_names_are_listed_and_named_on_one_line(tmp_path: Path) -> None:
    odd = [
        "-rf.jpg",
        "new\nline.jpg",
        "\x1b[31mred.jpg",
        "l" * 250 + ".jpg",
        os.fsdecode(b"\xe9.jpg"),
    ]
    for name in odd:
        (tmp_path / name).write_bytes(b"nothing")
    listed = list_images(tmp_path)
    assert sorted(names(listed)) == sorted(odd)
    for path in listed:
        with pytest.raises(ImageError, match="not an image") as caught:
            read_image(path)
        assert str(caught.value).isprintable()
        str(caught.value).encode()


def test_nothing_found(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file or folder"):
        list_images(folder / "missing.jpg")
    with pytest.raises(ImageError, match=r"\*\.bmp: matches no images"):
        list_images(f"{folder}/*.bmp")
    with pytest.raises(ImageError, match="empty: no images in this folder"):
        list_images(folder / "empty")
    with pytest.raises(ImageError, match=r"cannot be listed|no such"):
        list_images("a\0b")
    assert list_images([]) == []


def test_errors_can_be_collected(folder: Path) -> None:
    errors: list[ImageError] = []
    found = list_images(["nowhere.jpg", folder / "10.jpg", "no*.jpg"], on_error=errors.append)
    assert names(found) == ["10.jpg"]
    assert [str(error).split(":")[0] for error in errors] == ["nowhere.jpg", "no*.jpg"]


def test_suffixes_are_those_pillow_opens() -> None:
    known = set(Image.registered_extensions())
    assert known >= IMAGE_SUFFIXES - {".avif"}
