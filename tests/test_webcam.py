"""The window of `openpaf webcam`: its size, its line of figures, and recordings as cameras."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openpaf import Poses, Skeleton, Tracker
from openpaf.cli.webcam import View
from openpaf.cli.window import Window
from openpaf.video.base import VideoFrame
from openpaf.video.paced import PacedVideo
from openpaf.video.stream import FrameResult


class Recording:
    """Frames of 20 ms each."""

    name, is_live, fps, n_frames = "recording", False, 50.0, 40

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[VideoFrame]:
        for n in range(self.n_frames):
            image = np.full((8, 8, 3), n, np.uint8)
            yield VideoFrame(image=image, index=n, time_s=0.02 * n, captured_s=0.0)

    def close(self) -> None:
        self.is_closed = True


def test_a_recording_comes_at_its_own_pace() -> None:
    recording = Recording()
    with PacedVideo(recording) as video:
        assert video.is_live
        started = time.perf_counter()
        frames = [(frame, time.perf_counter()) for frame in video]
    assert recording.is_closed
    assert frames[0][0].index == 0
    for frame, came_s in frames:
        assert came_s - started >= frame.time_s - 1e-3
        assert abs(frame.captured_s - started - frame.time_s) < 0.2  # of a busy machine


def test_late_frames_are_left_out_so_that_none_waits() -> None:
    indices = []
    for frame in PacedVideo(Recording()):
        assert time.perf_counter() - frame.captured_s < 0.09  # of a frame, not of all before it
        indices.append(frame.index)
        time.sleep(0.1)  # of five frames
    assert 4 <= len(indices) <= 10
    assert indices == sorted(set(indices))


def test_a_recording_goes_on_where_it_was_paused() -> None:
    frames = iter(PacedVideo(Recording()))
    next(frames)
    time.sleep(1.2)
    assert next(frames).index == 1


def seen(image: np.ndarray) -> FrameResult:
    frame = VideoFrame(image=image, index=0, time_s=0.0, captured_s=time.perf_counter())
    return FrameResult(frame=frame, poses=Poses.empty(Skeleton.COCO17), drawn=image)


@pytest.mark.parametrize("size_hw", [(120, 200), (480, 640), (1080, 1920)])
def test_the_line_of_figures_is_the_same_on_any_frame(
    size_hw: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(View, "figures", lambda self, result: "30 fps   25 ms   2 people")
    view = View(Tracker(), tmp_path)
    black, white = np.zeros((*size_hw, 3), np.uint8), np.full((*size_hw, 3), 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, black.shape, np.uint8)
    shown = [view.image(seen(image)) for image in (black, white, noise)]
    same = (shown[0] == shown[1]).all(axis=2) & (shown[0] == shown[2]).all(axis=2)
    height, width = int(same[:, 0].sum()), int(same[0].sum())
    assert same[:height, :width].all()
    assert size_hw[0] / 40 < height < size_hw[0] / 4
    plate = shown[0][:height, :width].mean(axis=2)
    assert (plate > 200).mean() > 0.5
    assert (plate < 60).mean() > 0.04  # the text
    assert not black.any()


@pytest.fixture(scope="module")
def display() -> Iterator[None]:
    """A display: the user's, or one of Xvfb, the X server without a screen."""
    if os.environ.get("DISPLAY"):
        yield
        return
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("no display, and no Xvfb")
    reading, writing = os.pipe()
    with subprocess.Popen(
        [server, "-displayfd", str(writing), "-screen", "0", "1000x800x24", "-nolisten", "tcp"],
        pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as numbers, pytest.MonkeyPatch.context() as patch:
            number = numbers.readline().strip()
            if not number:
                pytest.skip("Xvfb does not start")
            patch.setenv("DISPLAY", f":{number}")
            yield
        process.terminate()


@pytest.mark.parametrize(
    ("frame_hw", "window_hw"), [((300, 400), (300, 400)), ((2000, 1000), (720, 360))]
)
def test_the_window_opens_at_the_frames_size_or_the_screens(
    display: None, frame_hw: tuple[int, int], window_hw: tuple[int, int]
) -> None:
    with Window("test") as window:
        window.show(np.zeros((*frame_hw, 3), np.uint8))
        root: Any = window._root
        assert window.keys(0.2) == ""
        if root.winfo_screenheight() == 800:
            assert (root.winfo_height(), root.winfo_width()) == window_hw
        root.focus_force()
        root.event_generate("<Key>", keysym="q")
        assert window.keys(5) == "q"
        root.geometry("500x500")
        window.keys(0.2)
        window.show(np.zeros((*frame_hw, 3), np.uint8))
        assert max(window._shown.width(), window._shown.height()) == 500
    assert not window.is_open
    assert window.keys(1) == ""


def test_an_interrupt_in_a_call_of_tk_is_not_lost(display: None) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with Window("test") as window:
        window._root.after(1, interrupted)
        with pytest.raises(KeyboardInterrupt):
            window.keys(5)


@pytest.mark.skipif(sys.platform != "linux", reason="others always have a display")
def test_without_a_display_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ValueError, match=r"no window can be opened: .*display"):
        Window("test")
