"""Live sources: the newest frame counts; what is lost comes back, what never works is said."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import openpaf.estimator
import openpaf.video.base
from openpaf import Poses, Skeleton, VideoError
from openpaf.cli import main, webcam
from openpaf.video.live import LiveVideo, open_camera, open_stream
from openpaf.video.open import open_video

pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")


def image(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


def test_the_newest_frame_and_never_one_twice() -> None:
    go_on, finish = threading.Event(), threading.Event()

    def capture() -> Iterator[np.ndarray]:
        yield image(0)
        go_on.wait(20)
        for value in range(1, 6):
            yield image(value)
        finish.wait(20)

    with LiveVideo("camera", capture) as video:
        frames = iter(video)
        assert next(frames).image[0, 0, 0] == 0
        go_on.set()
        while video.n_grabbed < 6:
            time.sleep(0.01)
        frame = next(frames)
        assert frame.image[0, 0, 0] == 5
        assert frame.index == 1
        finish.set()


def test_reconnects_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    opened = []

    def capture() -> Iterator[np.ndarray]:
        opened.append(time.monotonic())
        if len(opened) in (2, 3):
            raise VideoError("camera: lost")
        yield image(len(opened))

    with LiveVideo("camera", capture, first_pause_s=0.05) as video:
        values = [int(frame.image[0, 0, 0]) for frame, _ in zip(video, range(2), strict=False)]
    assert values == [1, 4]
    pauses = [record.args[-1] for record in caplog.records if "trying again" in record.message]
    assert pauses[:3] == [0.05, 0.1, 0.2]


def test_a_source_that_never_works_is_an_error_at_once() -> None:
    def capture() -> Iterator[np.ndarray]:
        raise VideoError("camera 9: not found, or in use by another program")
        yield image(0)

    with pytest.raises(VideoError, match="camera 9: not found"):
        LiveVideo("camera 9", capture)


def test_a_stalled_stream_is_given_up() -> None:
    stop = threading.Event()

    def capture() -> Iterator[np.ndarray]:
        yield image(0)
        stop.wait(20)

    with LiveVideo("stream", capture, give_up_s=0.3) as video:
        frames = iter(video)
        next(frames)
        with pytest.raises(VideoError, match=r"stream: no frame for 0\.3 s"):
            next(frames)
        stop.set()


def test_no_camera_is_one_line_with_the_alternative(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "openpaf", "webcam", "--camera", "77"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(Path(openpaf.__file__).parent.parent)},
    )  # fmt: skip
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "openpaf demo browser" in result.stderr


# Cameras


class Camera:
    """In place of OpenCV's: gives each of its frames, then is unplugged."""

    def __init__(self, frames: list[np.ndarray | None] | None) -> None:
        self.is_open, self.frames = frames is not None, list(frames or [])
        self.is_released = False

    def isOpened(self) -> bool:
        return self.is_open

    def set(self, *setting: Any) -> None: ...

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.01)
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self) -> None:
        self.is_released = True


def plug_in(monkeypatch: pytest.MonkeyPatch, *cameras: Camera) -> None:
    """The cameras that one number gives, one after the other."""
    import cv2

    left = iter(cameras)
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: next(left, Camera(None)))


def bgr(value: int, size_hw: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.full((*size_hw, 3), (0, 0, value), np.uint8)


def test_a_camera_that_another_program_has(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, mute = Camera(None), Camera([])
    plug_in(monkeypatch, taken, mute)
    with pytest.raises(VideoError, match="camera 0: not found, or in use by another program"):
        open_video(0)
    with pytest.raises(VideoError, match="camera 0: returns no image"):
        open_video(0)
    assert taken.is_released
    assert mute.is_released


def test_a_camera_unplugged_in_the_middle_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = Camera([bgr(1)])
    plug_in(monkeypatch, first, Camera(None), Camera([bgr(2, (6, 4))] * 50))
    with open_camera(0, first_pause_s=0.01) as video:
        frames = [frame for frame, _ in zip(video, range(3), strict=False)]
    assert [tuple(frame.image[0, 0]) for frame in frames] == [(1, 0, 0), (2, 0, 0), (2, 0, 0)]
    assert [frame.image.shape[:2] for frame in frames] == [(8, 8), (6, 4), (6, 4)]  # another size
    assert first.is_released
    said = [record.getMessage() for record in caplog.records]
    assert any("camera 0: connection lost; trying again" in line for line in said)
    assert any("not found, or in use" in line for line in said)


def test_frames_that_are_none_are_a_loss_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    nonsense = np.zeros((0, 0, 3), np.uint8)  # as some drivers give while they start
    plug_in(monkeypatch, Camera([bgr(1), None]), Camera([nonsense]), Camera([bgr(3)] * 50))
    with open_camera(0, first_pause_s=0.01) as video:
        values = [frame.image[0, 0, 0] for frame, _ in zip(video, range(2), strict=False)]
    assert values == [1, 3]


# Streams


@contextmanager
def stream(images: Callable[[], Iterator[int]], port: int = 0) -> Iterator[int]:
    """A camera on the network: each client gets its images as motion JPEG; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for value in images():
                    data = io.BytesIO()
                    Image.new("RGB", (64, 48), (value, 0, 0)).save(data, "JPEG", quality=95)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {data.tell()}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + data.getvalue() + b"\r\n")
                    if server.is_stopped.is_set():
                        return
            except OSError:
                pass  # the client has gone

        def log_message(self, *message: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        is_stopped = threading.Event()

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.is_stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def every_10_ms(value: Callable[[int], int]) -> Callable[[], Iterator[int]]:
    def images() -> Iterator[int]:
        for n in range(10_000):
            yield value(n)
            time.sleep(0.01)

    return images


def test_a_network_camera_gives_its_newest_frame() -> None:
    with (
        stream(every_10_ms(lambda n: min(n, 250))) as port,
        open_video(f"http://me:secret@127.0.0.1:{port}/live") as video,
    ):
        assert (video.is_live, video.n_frames) == (True, None)
        assert video.name == f"http://127.0.0.1:{port}/live"
        frames = iter(video)
        first = next(frames).image
        assert first.shape == (48, 64, 3)
        time.sleep(0.6)  # whoever looks on is far behind now
        second = next(frames).image
    assert int(second[0, 0, 0]) - int(first[0, 0, 0]) > 15


def test_a_network_camera_that_is_switched_off_and_on(caplog: pytest.LogCaptureFixture) -> None:
    with stream(every_10_ms(lambda n: 50)) as port:
        video = open_stream(f"http://127.0.0.1:{port}/live", first_pause_s=0.05)
        frames = iter(video)
        assert next(frames).image[0, 0, 0] == pytest.approx(50, abs=4)
    while video.n_reconnections < 2:  # nobody is there
        time.sleep(0.01)
    with stream(every_10_ms(lambda n: 200), port), video:
        values = [int(next(frames).image[0, 0, 0]) for _ in range(3)]
    assert values[-1] == pytest.approx(200, abs=4)
    assert "trying again" in caplog.text


def test_a_network_camera_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stays and says nothing more: it is opened again."""
    monkeypatch.setattr(openpaf.video.base, "OPEN_READ_TIMEOUT_S", (5.0, 0.3))
    calls: list[int] = []
    stop = threading.Event()

    def images() -> Iterator[int]:
        calls.append(1)
        yield from [50 * len(calls)] * 8
        stop.wait(20)

    with (
        stream(images) as port,
        open_stream(f"http://127.0.0.1:{port}/", first_pause_s=0.05) as video,
    ):
        for frame in video:
            if frame.image[0, 0, 0] > 80:
                break
        stop.set()
    assert video.n_reconnections >= 1


@contextmanager
def web_server(content: bytes) -> Iterator[str]:
    """Gives one file, and its address without a suffix."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *message: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/a"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_the_address_of_an_image_is_refused_at_once(kind: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(data, kind)
    with (
        web_server(data.getvalue()) as address,
        pytest.raises(VideoError, match="an image or text, not a video"),
    ):
        open_video(address)


@pytest.mark.parametrize(
    "address", ["rtsp://127.0.0.1:9/live", "http://me:s@cr/secret@127.0.0.1:9/"]
)
def test_a_stream_that_is_not_there(
    address: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", lambda *a, **k: None)
    assert main(["predict", address, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "127.0.0.1:9" in said[0]
    assert "cannot be opened as a video" in said[0]
    assert "secret" not in said[0]
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_leave_a_playable_film_of_a_stream(
    number: int, status: int, tmp_path: Path
) -> None:
    # A shell starts what runs in its background with SIGINT ignored, which children inherit.
    command = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command += "runpy.run_module('openpaf', run_name='__main__', alter_sys=True)"
    with stream(every_10_ms(lambda n: 100)) as port:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "predict", f"http://127.0.0.1:{port}/live",
             "--output", str(tmp_path), "--size", "64", "--engine", "torch"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(openpaf.__file__).parent.parent)},
        )  # fmt: skip
        try:
            lines = tmp_path / f"127_0_0_1_{port}_live.jsonl"
            end = time.monotonic() + 120
            while not (lines.exists() and lines.read_text().count("\n") > 5):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end, "no line of JSON came"
                time.sleep(0.05)
            process.send_signal(number)
            said, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status
    assert "frames a second" in said
    assert "Traceback" not in errors
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(len(rows)))
    with open_video(lines.with_suffix(".mp4")) as film:
        assert (
            abs(len(list(film)) - len(rows)) <= 1
        )  # a frame may be in one file and not yet in the other


def test_sigterm_ends_the_webcam_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def capture() -> Iterator[np.ndarray]:
        while True:
            yield image(0)
            time.sleep(0.005)

    def show(results: Iterator[Any], view: Any, window: Any) -> None:
        next(results)
        signal.raise_signal(signal.SIGTERM)

    opened: list[LiveVideo] = []
    monkeypatch.setattr(webcam, "open_window", contextlib.nullcontext)
    monkeypatch.setattr(webcam, "_show", show)
    monkeypatch.setattr(webcam, "_open", lambda camera: opened.append(LiveVideo("camera", capture))
                        or opened[0])  # fmt: skip
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Nobody)
    assert main(["webcam"]) == 143
    assert capsys.readouterr().err == "openpaf: terminated\n"
    assert not opened[0]._thread.is_alive()


class Nobody:
    """An estimator for which every image is empty."""

    size = 64

    def __init__(self, *model: Any, **options: Any) -> None: ...

    def infer(self, image: np.ndarray) -> None:
        return None

    def postprocess(self, inferred: None, image_hw: tuple[int, int]) -> Poses:
        return Poses.empty(Skeleton.COCO17)
