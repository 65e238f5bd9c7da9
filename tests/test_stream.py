"""One generator for images, folders, videos and cameras; images of every form; what is kept."""

from __future__ import annotations

import gc
import io
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import openpaf
from openpaf.bulk.inputs import Listing
from openpaf.video import open as opening
from openpaf.video.live import LiveVideo
from openpaf.video.writer import VideoWriter

PHOTO = Path(__file__).parent.parent / "data" / "photos" / "astronaut.jpg"


@pytest.fixture(scope="module")
def estimator() -> openpaf.PoseEstimator:
    return openpaf.PoseEstimator("fast", engine="torch", size=128)


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return openpaf.read_image(PHOTO)


@pytest.fixture(scope="module")
def small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[:192:2, 100:356:2])


def write_video(path: Path, small: NDArray[np.uint8], n_frames: int = 5) -> None:
    with VideoWriter(path, fps=10) as writer:
        for n in range(n_frames):
            writer.write(np.roll(small, 2 * n, axis=1), n / 10)


@pytest.fixture
def folder(tmp_path: Path, small: NDArray[np.uint8]) -> Path:
    """Two photos, one of which is damaged, and a video."""
    Image.fromarray(small).save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    write_video(tmp_path / "walk.mp4", small)
    return tmp_path


# What comes out of which source


def test_a_folder_gives_its_images_and_then_the_frames_of_its_videos(
    folder: Path, estimator: openpaf.PoseEstimator
) -> None:
    errors: list[str] = []
    results = list(estimator.stream(folder, on_error=errors.append))
    assert [(Path(one.source).name, one.frame) for one in results] == [
        ("1.png", None),
        *(("walk.mp4", n) for n in range(5)),
    ]
    assert results[0].time_s is None
    assert [one.time_s for one in results[1:]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert all(one.image.shape == (96, 128, 3) for one in results)
    assert len(errors) == 1
    assert "2.png" in errors[0]
    assert results[0].poses == estimator(folder / "1.png")
    assert results[0].poses.ids is None
    assert results[1].poses.ids is not None
    assert len(repr(results[0])) < 200, "without pixels"


def test_an_image_that_cannot_be_read_is_an_error_where_nothing_takes_it(
    folder: Path, estimator: openpaf.PoseEstimator
) -> None:
    with pytest.raises(openpaf.ImageError, match=r"2\.png: not an image"):
        list(estimator.stream([folder / "2.png"]))
    with pytest.raises(openpaf.ImageError, match=r"missing\.jpg: no such file"):
        list(estimator.stream("missing.jpg"))
    with pytest.raises(openpaf.VideoError, match=r"missing\.mp4: no such file"):
        list(estimator.stream("missing.mp4"))
    errors: list[str] = []
    assert not list(estimator.stream(["missing.jpg", "missing.mp4"], on_error=errors.append))
    assert [error.split(":")[0] for error in errors] == ["missing.jpg", "missing.mp4"]


def test_a_folder_of_nothing_else_than_a_video_lacks_nothing(
    tmp_path: Path, small: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    write_video(tmp_path / "walk.mp4", small, 2)
    assert [one.frame for one in estimator.stream(tmp_path)] == [0, 1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(openpaf.ImageError, match="no images in this folder"):
        list(estimator.stream(tmp_path / "empty"))
    videos: list[str] = []
    listing = Listing(
        sources=(f"{tmp_path}/*.mp4",), on_video=videos.append, takes_video=lambda path: True
    )
    assert (list(listing), len(videos)) == ([], 1)


def test_a_file_of_a_list_has_images_and_videos(
    folder: Path, estimator: openpaf.PoseEstimator
) -> None:
    (folder / "list.txt").write_text(f"{folder}/walk.mp4\n{folder}/1.png\n")
    results = list(estimator.stream(f"@{folder}/list.txt", end_s=0.15))
    assert [(Path(one.source).name, one.frame) for one in results] == [
        ("1.png", None), ("walk.mp4", 0), ("walk.mp4", 1),
    ]  # fmt: skip


def test_a_list_of_everything_comes_in_its_order(
    folder: Path, image: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    moving = folder / "moving.gif"
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    sources = (one for one in (image, str(moving), PHOTO.read_bytes(), str(folder / "*1.png")))
    results = list(estimator.stream(sources))
    assert [(Path(one.source).name, one.frame) for one in results] == [
        ("", None), ("moving.gif", 0), ("moving.gif", 1), ("", None), ("1.png", None),
    ]  # fmt: skip
    assert results[0].poses == results[3].poses == estimator(PHOTO)


def test_parts_of_videos(
    tmp_path: Path, small: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    video = tmp_path / "walk.mp4"
    write_video(video, small)
    frames = [one.frame for one in estimator.stream(video, start_s=0.1, end_s=0.35, stride=2)]
    assert frames == [1, 3]
    for wrong in ({"start_s": -1}, {"start_s": 2, "end_s": 1}, {"stride": 0}, {"stride": 1.5}):
        with pytest.raises(ValueError, match=f"^{list(wrong)[-1]}: expected"):
            estimator.stream(video, **wrong)  # type: ignore[arg-type]
    with pytest.raises(openpaf.VideoError, match="no frame between start and end"):
        list(estimator.stream(video, start_s=9))


def test_without_tracking_there_are_no_ids(
    tmp_path: Path, small: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    write_video(tmp_path / "walk.mp4", small, 1)
    (result,) = estimator.stream(tmp_path / "walk.mp4", track=False)
    assert result.poses.ids is None


def test_of_a_camera_the_loop_may_be_left_and_it_is_closed(
    small: NDArray[np.uint8], estimator: openpaf.PoseEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = []

    def capture() -> Iterator[NDArray[np.uint8]]:
        while True:
            time.sleep(0.01)
            yield small

    def camera(number: int) -> LiveVideo:
        cameras.append(LiveVideo(f"camera {number}", capture))
        return cameras[-1]

    monkeypatch.setattr(opening, "open_camera", camera)
    results = estimator.stream(np.int64(0))
    assert next(results).source == "camera 0"
    assert next(results).frame == 1
    results.close()
    cameras[0]._thread.join(timeout=5)
    assert not cameras[0]._thread.is_alive()


@pytest.mark.parametrize("source", [None, 1.5, True, {"a": 1}])
def test_what_is_no_source(source: object, estimator: openpaf.PoseEstimator) -> None:
    message = r"^(image: expected a path, an address, bytes.*, got|source: .* got None)"
    with pytest.raises(ValueError, match=message):
        list(estimator.stream(source))


# What an image may be


@pytest.fixture
def address() -> Iterator[str]:
    handler: Any = partial(SimpleHTTPRequestHandler, directory=str(PHOTO.parent))
    handler.func.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_and_the_bytes_of_a_file_are_images(
    address: str, image: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    np.testing.assert_array_equal(openpaf.read_image(PHOTO.read_bytes()), image)
    np.testing.assert_array_equal(openpaf.read_image(f"{address}/astronaut.jpg"), image)
    (result,) = estimator.stream(f"{address}/astronaut.jpg?token=secret")
    assert result.source == f"{address}/astronaut.jpg?token=***"
    with pytest.raises(openpaf.ImageError, match=r"/none\.jpg: the server answers 404"):
        estimator(f"{address}/none.jpg")
    with pytest.raises(openpaf.ImageError, match=r"^rtsp://host/cam: a stream, no image"):
        estimator("rtsp://user:password@host/cam")
    with pytest.raises(openpaf.ImageError, match=r"^5 bytes: not an image"):
        estimator(b"a.jpg")


def test_tensors_of_either_layout_and_range_are_images(image: NDArray[np.uint8]) -> None:
    tensor = torch.from_numpy(image)
    first = tensor.permute(2, 0, 1)
    for one in (tensor, first, first / 255, (first / 255).double().requires_grad_(), tensor / 255):
        np.testing.assert_array_equal(openpaf.read_image(one), image)
    gray = openpaf.read_image(first[:1])
    np.testing.assert_array_equal(gray, np.repeat(image[..., :1], 3, axis=2))
    np.testing.assert_array_equal(openpaf.read_image(tensor[..., 0]), gray)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, 3, 8, 8), r"expected one image, got a batch \(2, 3, 8, 8\)"),
        (torch.zeros(3, 8, 3), r"a tensor \(3, 8, 3\) may be"),
        (torch.zeros(4, 8, 8), r"got \(4, 8, 8\); for RGBA, pass tensor\[:3\]"),
        (torch.zeros(8), r"got \(8,\)"),
        (torch.full((3, 8, 8), 255.0), "0 to 1, got 255 to 255; .* pass 0 to 255 as uint8"),
        (torch.full((3, 8, 8), -0.5), "got -0.5 to -0.5"),
        (torch.full((3, 8, 8), torch.nan), "got nan to nan"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "got int64"),
        (torch.zeros(3, 0, 8), "at least one pixel"),
    ],
)
def test_tensors_that_could_mean_something_else_are_refused(
    tensor: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^image: .*{message}"):
        openpaf.read_image(tensor)


def test_a_list_of_any_gives_a_list(
    image: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    people = estimator([PHOTO, Image.fromarray(image), torch.from_numpy(image), io_bytes(image)])
    assert [poses == people[0] for poses in people] == [True] * 4
    batch = torch.from_numpy(np.stack([image, image])).permute(0, 3, 1, 2)
    assert estimator.batch(batch) == people[:2]  # type: ignore[arg-type]
    assert estimator(()) == []
    with pytest.raises(ValueError, match="got bytes; for one image, pass"):
        estimator.batch(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got an array of shape \(3, 512, 512\)"):
        estimator.batch(batch[0])  # type: ignore[arg-type]


def io_bytes(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


# What is kept


def test_an_image_is_kept_only_where_it_is_asked_for(
    small: NDArray[np.uint8], estimator: openpaf.PoseEstimator
) -> None:
    source = small.copy()
    alive = weakref.ref(source)
    poses, keeping = estimator(source), estimator(source, keep_image=True)
    assert poses.image is None
    assert keeping.image is source, "no copy"
    assert keeping == poses
    assert keeping[:0].image is source
    streamed = [r.poses for r in estimator.stream([source, source])]
    assert [one.image for one in streamed] == [None, None]
    (streamed_keeping,) = estimator.stream(source, keep_image=True)
    assert streamed_keeping.poses.image is source
    del source, keeping, streamed_keeping
    gc.collect()
    assert alive() is None


def test_an_estimator_is_closed_by_its_context(small: NDArray[np.uint8]) -> None:
    with openpaf.PoseEstimator("fast", engine="torch", size=64) as estimator:
        network = weakref.ref(estimator.method)
        estimator(small)
    gc.collect()
    assert network() is None, "its memory is free"
    estimator.close()
    assert "closed" in repr(estimator)
    for use in (lambda: estimator(small), lambda: estimator.engine):
        with pytest.raises(ValueError, match=r"^estimator: it is closed$"):
            use()
    with pytest.raises(ValueError, match=r"^estimator: it is closed$"):
        list(estimator.stream(small))
