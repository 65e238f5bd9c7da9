"""Videos: read whole and upright, live sources by their newest frame, written playable."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

import openpaf.estimator
from openpaf import Poses, Skeleton, Tracker, VideoError
from openpaf.cli import main
from openpaf.cli.videos import list_videos, video_name
from openpaf.cli.webcam import View
from openpaf.io.addresses import shown_source, without_passwords
from openpaf.io.coco import poses_to_coco
from openpaf.video.base import is_video
from openpaf.video.file import VideoFile
from openpaf.video.live import LiveVideo
from openpaf.video.open import open_video
from openpaf.video.sound import Sound
from openpaf.video.stream import process_video
from openpaf.video.times import Clock
from openpaf.video.writer import VideoWriter
from openpaf.visualization.overlay import heatmaps, skeletons

av = pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")

HALVES = np.zeros((48, 64, 3), np.uint8)
HALVES[:24, :, 0] = 220  # red above


def make_video(
    path: Path, n_frames: int = 10, *, times: list[float] | None = None, sound: str | None = None
) -> Path:
    """A video whose frames get brighter, of 10 frames a second if not told otherwise."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream(sound, rate=44100) if sound else None
        for n in range(n_frames):
            image = np.full((48, 64, 3), (20 * n + 10) % 250, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times:
                frame.pts, frame.time_base = round(1000 * times[n]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if audio is not None:
            write_tone(container, audio, n_frames / 10)
        container.mux(stream.encode(None))
    return path


def write_tone(container: Any, stream: Any, seconds: float) -> None:
    for start in range(0, round(44100 * seconds), 1024):
        wave = np.sin(np.arange(start, start + 1024) / 20)
        samples = (8000 * wave).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = start, 44100, Fraction(1, 44100)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def test_every_frame_in_order_with_its_time(tmp_path: Path) -> None:
    with open_video(make_video(tmp_path / "a.mp4")) as video:
        assert (video.is_live, video.fps, video.n_frames) == (False, 10, 10)
        frames = list(video)
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 10, atol=1e-3)
    brightness = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(brightness, 20 * np.arange(10) + 10, atol=4)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 1.5, 1.6, 4.0]
    path = make_video(tmp_path / "a.mkv", 5, times=times)
    with open_video(path) as video:
        np.testing.assert_allclose([frame.time_s for frame in video], times, atol=2e-3)
    with open_video(path) as video, VideoWriter(tmp_path / "b.mp4", fps=video.fps) as writer:
        for frame in video:
            writer.write(frame.image, frame.time_s)
    with open_video(tmp_path / "b.mp4") as video:
        np.testing.assert_allclose([frame.time_s for frame in video], times, atol=2e-3)


def test_one_frame_per_second_and_one_frame_at_all(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", 1)
    with open_video(path) as video:
        assert len(list(video)) == 1
    path = make_video(tmp_path / "b.mp4", 3, times=[0.0, 1.0, 2.0])
    with open_video(path) as video:
        assert [round(frame.time_s) for frame in video] == [0, 1, 2]


#: What FFmpeg's own programs do for a display matrix (a, b, c, d), by the names of its filters.
TURNS: dict[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]] = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],  # hflip
    (1, 0, 0, -1): lambda image: image[::-1],  # vflip
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],  # hflip, vflip
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # transpose=clock
    (0, -1, 1, 0): lambda image: np.rot90(image),  # transpose=cclock
    (0, 1, 1, 0): lambda image: np.rot90(image)[::-1],  # transpose=cclock_flip
    (0, -1, -1, 0): lambda image: np.rot90(image, -1)[::-1],  # transpose=clock_flip
}


@pytest.mark.parametrize("matrix", TURNS)
def test_videos_are_turned_and_mirrored_upright(
    matrix: tuple[int, int, int, int], tmp_path: Path
) -> None:
    corners = np.zeros((48, 64, 3), np.uint8)
    corners[:24, :32], corners[:24, 32:], corners[24:, :32] = (220, 0, 0), (0, 220, 0), (0, 0, 220)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=10) as writer:
        for n in range(3):
            writer.write(corners, n / 10)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version, times, id, duration, layer and volume before
    a, b, c, d = (value << 16 for value in matrix)
    values = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(data)
    with open_video(path) as video:
        image = next(iter(video)).image
    expected = TURNS[matrix](corners)
    assert image.shape == expected.shape
    centers = (slice(12, None, image.shape[0] // 2), slice(12, None, image.shape[1] // 2))
    np.testing.assert_allclose(image[centers].astype(int), expected[centers], atol=40)


def test_a_mirrored_video_of_another_program(repo_root: Path) -> None:
    with av.open(str(repo_root / "tests/inputs/mirrored-matrix.mp4")) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with open_video(repo_root / "tests/inputs/mirrored-matrix.mp4") as video:
        np.testing.assert_array_equal(next(iter(video)).image, stored[:, ::-1])


def test_frames_of_an_avi_are_one_frame_time_apart(repo_root: Path) -> None:
    """It has B-frames, and AVI has no presentation times."""
    with open_video(repo_root / "tests/inputs/h264-bframes.avi") as video:
        times = [frame.time_s for frame in video]
    np.testing.assert_allclose(times, np.arange(100) / 25, atol=1e-6)


def test_a_joined_stream_goes_on_where_timestamps_restart(repo_root: Path, tmp_path: Path) -> None:
    with open_video(repo_root / "tests/inputs/pts-restart.ts") as video:
        times = [frame.time_s for frame in video]
    np.testing.assert_allclose(times, np.arange(16) / 25, atol=1e-6)
    long, short = make_video(tmp_path / "a.ts", 30, sound="aac"), make_video(tmp_path / "b.ts", 20)
    short.write_bytes(long.read_bytes() + short.read_bytes() + long.read_bytes())
    with open_video(short) as video, VideoWriter(tmp_path / "c.mp4", sound=str(short)) as writer:
        for frame in video:
            writer.write(frame.image, frame.time_s)
    with open_video(tmp_path / "c.mp4") as video:
        steps = np.diff([frame.time_s for frame in video])
    np.testing.assert_allclose(steps, 0.1, atol=0.03)
    assert len(steps) == 79
    with av.open(str(tmp_path / "c.mp4")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 44100 == pytest.approx(6, abs=0.2)  # of both pieces that have some


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([5.0, 5.1, 5.2], [0.0, 0.1, 0.2]),
        ([5.0, 5.1, 5.0, 5.1, 5.2], [0.0, 0.1, 0.15, 0.25, 0.35]),  # a piece of two frames
        ([5.0, 5.1, 5.2, 5.3, 5.0, 5.1], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ([5.0, 5.1, 5.1, 5.3, 5.4], [0.0, 0.1, 0.15, 0.3, 0.4]),  # one is a little early
        ([5.0, 5.1, 95.0, 95.1], [0.0, 0.1, 0.2, 0.3]),
        ([5.0, 5.1, 9.0, 9.1], [0.0, 0.1, 4.0, 4.1]),  # a pause
        ([None, None, None], [0.0, 0.1, 0.2]),
        ([5.0, None, 5.2], [0.0, 0.1, 0.2]),
        ([5.0] * 5, [0.0, 0.05, 0.15, 0.2, 0.3]),
        ([4.9, 5.1], [0.0, 0.1]),
    ],
)
def test_times_go_on(stamps: list[float | None], times: list[float]) -> None:
    clock = Clock(5.0, max_leap_s=10)
    np.testing.assert_allclose([clock(stamp, 0.1) for stamp in stamps], times, atol=1e-9)


def test_presentation_times_in_the_order_of_decoding_are_not_believed() -> None:
    clock = Clock()
    order = [0, 3, 2, 4, 1] + [5 * n + k for n in range(1, 20) for k in (2, 1, 3, 0, 4)]
    times = [clock(n / 10, 0.1, k / 10) for k, n in enumerate(order)]
    steps = np.diff(times)
    assert np.all(steps > 0.04)
    np.testing.assert_allclose(steps[6:], 0.1)
    assert times[-1] == pytest.approx(9.9, abs=0.4)


def test_the_shape_of_pixels_is_kept(
    finder: None, monkeypatch: pytest.MonkeyPatch, repo_root: Path, tmp_path: Path
) -> None:
    """The network sees square pixels; people lie in px of the frames that the file has."""
    seen = set()

    def infer(self: Any, image: np.ndarray) -> np.ndarray:
        seen.add(image.shape)
        return image

    monkeypatch.setattr(Finder, "infer", infer)
    source = repo_root / "tests/inputs/sar-2-1.mp4"
    assert main(["predict", str(source), "--output", str(tmp_path)]) == 0
    assert seen == {(240, 320, 3)}
    row = json.loads((tmp_path / "sar-2-1.jsonl").read_text().splitlines()[0])
    assert row["size"] == [160, 240]
    xy = np.reshape(row["people"][0]["keypoints"], (17, 3))[:, :2]
    np.testing.assert_allclose(xy.mean(axis=0), (79.75, 120), atol=0.02)
    np.testing.assert_allclose(np.ptp(xy, axis=0), (5, 20), atol=0.02)
    with av.open(str(tmp_path / "sar-2-1.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (160, 240)
        assert stream.display_aspect_ratio == Fraction(4, 3)


# What is wrong with some


def test_a_truncated_video_gives_the_frames_it_has(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", 40)
    data = path.read_bytes()
    path.write_bytes(data[: (data.index(b"movi") + data.index(b"idx1")) // 2])
    with open_video(path) as video:
        assert 5 < len(list(video)) < 40


def test_damaged_frames_are_left_out(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", 40)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    middle = range(len(data) // 3, len(data) // 2)
    for n in middle:
        data[n] = rng.integers(256)
    path.write_bytes(data)
    with open_video(path) as video:
        frames = list(video)
    assert len(frames) > 5
    assert np.all(np.diff([frame.time_s for frame in frames]) > 0)


def test_8k(finder: None, tmp_path: Path) -> None:
    source = tmp_path / "8k.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        frame = av.VideoFrame(7680, 4320, "rgb24")
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    out = tmp_path / "out"
    assert main(["predict", str(source), "--output", str(out), "--format", "image,coco"]) == 0
    row = json.loads((out / "8k.jsonl").read_text())
    assert row["size"] == [7680, 4320]
    nose_x, nose_y = row["people"][0]["keypoints"][:2]
    assert (nose_x, nose_y) == pytest.approx((3840, 2160), abs=20)
    with open_video(out / "8k.mp4") as video:
        image = next(iter(video)).image
    assert image.shape == (4320, 7680, 3)
    assert image[2100:2220, 3780:3900].max() > 100  # the person is drawn


def test_black_frames_have_nobody() -> None:
    """As a covered camera gives; the network runs, and both views draw nothing over them."""
    black = [np.zeros((90, 120, 3), np.uint8) for _ in range(3)]
    images = LiveVideo("camera", lambda: iter(black), first_pause_s=0.01)
    estimator = openpaf.PoseEstimator(size=64)
    for draw in (skeletons, heatmaps):
        with contextlib.closing(
            process_video(images, estimator, tracker=Tracker(), draw=draw)
        ) as seen:
            for one in islice(seen, 3):
                assert len(one.poses) == 0
                assert one.drawn is not None
                assert one.drawn.shape == (90, 120, 3)
                if draw is skeletons:
                    assert not one.drawn.any()
    images.close()


def test_a_camera_that_changes_its_size(tmp_path: Path) -> None:
    """People lie in px of their own frame, and the film goes on."""
    sizes = [(48, 64), (96, 64), (30, 200)]
    index = iter(range(10**6))

    def capture() -> Iterator[np.ndarray]:
        while True:
            yield np.zeros((*sizes[next(index) % 3], 3), np.uint8)
            time.sleep(0.005)

    finder: Any = Finder()
    seen_sizes = set()
    with LiveVideo("camera", capture) as video, VideoWriter(tmp_path / "a.mp4") as writer:
        with contextlib.closing(process_video(video, finder, draw=skeletons)) as results:
            for one in results:
                height, width = one.frame.image.shape[:2]
                np.testing.assert_allclose(one.poses.xy[0].mean(axis=0), (width / 2, height / 2))
                seen_sizes.add((height, width))
                assert one.drawn is not None
                assert one.drawn.shape == (height, width, 3)
                writer.write(one.drawn, one.frame.time_s)
                if len(seen_sizes) == 3:
                    break
        n_written = writer.n_frames
    with open_video(tmp_path / "a.mp4") as film:
        assert len(list(film)) == n_written


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    whole = make_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[:200])
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=44100), 0.5)
    said = {
        "missing.mp4": "no such file",
        "empty.mp4": "the file is empty",
        "text.mp4": "cannot be opened as a video",
        "half.mp4": "cannot be opened as a video",
        "sound.mp4": "has no video stream",
        ".": "a folder, not a video",
    }
    for name, reason in said.items():
        with pytest.raises(VideoError, match=reason):
            open_video(tmp_path / name)
    with pytest.raises(VideoError, match="no frame of it can be read"):
        make_headless(tmp_path / "none.avi")


def make_headless(path: Path) -> None:
    """A video with a header and no frame."""
    data = make_video(path, 10).read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    with VideoFile(path) as video:
        list(video)


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"'\.\[video\]'"):
        open_video(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    "password", ["secret", "sec@ret", "sec/ret", "sec:ret", "sec?ret#1", "s@c/r@t", "sec ret", "@/"]
)
def test_passwords_are_not_shown(password: str) -> None:
    address = f"rtsp://me:{password}@host:554/live?x=1"
    assert shown_source(address) == "rtsp://host:554/live?x=1"
    assert video_name(address) == Path("host_554_live.ts")
    assert shown_source(address.replace("rtsp", "ftp")) == "ftp://host:554/live?x=1"
    assert shown_source("http://host/live?user=me&pwd=secret&channel=2") == (
        "http://host/live?user=***&pwd=***&channel=2"
    )
    if " " not in password:
        assert without_passwords(f"cannot open {address}: why@") == (
            "cannot open rtsp://host:554/live?x=1: why@"
        )


def test_paths_are_no_addresses(
    finder: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """FFmpeg would take 10 for a protocol; a name with an @ is shown whole."""
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "a.mp4", 3, sound="aac").rename("10:30.mp4")
    assert main(["predict", "10:30.mp4", "--output", "10:31.mp4"]) == 0
    with open_video("10:31.mp4") as video:
        assert len(list(video)) == 3
    with av.open("file:10:31.mp4") as container:
        assert container.streams.audio
    assert shown_source("me:a@b.mp4") == "me:a@b.mp4"


# Writing


def test_what_is_written_plays_in_browsers(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 20, sound="aac")
    with VideoWriter(tmp_path / "b.mp4", fps=10, sound=str(source)) as writer:
        for n in range(20):
            writer.write(np.full((49, 63, 3), 100, np.uint8), n / 10)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.mp4", "b.mp4"]
    data = (tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # faststart
    with av.open(str(tmp_path / "b.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height, video.frames) == (62, 48, 20)
        assert audio.codec_context.name == "aac"
        sound = [packet for packet in container.demux(audio) if packet.pts is not None]
        assert float(sound[-1].pts * sound[-1].time_base) == pytest.approx(2.0, abs=0.1)


def test_sound_that_mp4_cannot_hold_becomes_aac(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", 10, sound="pcm_s16le")
    with VideoWriter(tmp_path / "b.mp4", fps=10, sound=str(source)) as writer:
        for n in range(5):
            writer.write(HALVES, n / 10)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 44100 == pytest.approx(0.5, abs=0.1)  # no longer than the images


def test_sound_of_an_avi_is_kept(tmp_path: Path) -> None:
    """Its times are whole pieces of 26 ms, which an encoder that counts samples would refuse."""
    source = make_video(tmp_path / "a.avi", 20, sound="libmp3lame")
    for name, is_copied in (("b.mp4", True), ("c.mp4", False)):
        with pytest.MonkeyPatch.context() as patch:
            if not is_copied:
                patch.setattr("openpaf.video.sound._IN_MP4", frozenset())
            with VideoWriter(tmp_path / name, fps=10, sound=str(source)) as writer:
                for n in range(20):
                    writer.write(HALVES, n / 10)
        with av.open(str(tmp_path / name)) as container:
            stream = container.streams.audio[0]
            assert stream.codec_context.codec.canonical_name == ("mp3" if is_copied else "aac")
            samples = sum(frame.samples for frame in container.decode(stream))
        assert samples / 44100 == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("broken", "codec"),
    [("_copy", "aac"), ("_encode", "pcm_s16le"), ("of", "pcm_s16le"), ("", "adpcm_ms")],
)
def test_sound_that_cannot_be_had_is_a_warning(
    broken: str,
    codec: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*arguments: Any) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    def of(source: str, output: Any) -> Any:
        return output.add_stream("aac", rate=12345)  # a rate that AAC does not have

    source = make_video(tmp_path / "a.avi", 10, sound=codec)
    if not broken:
        monkeypatch.setattr("openpaf.video.sound._IN_MP4", {codec})  # which it is not
    else:
        monkeypatch.setattr(Sound, broken, of if broken == "of" else refuse)
    with VideoWriter(tmp_path / "b.mp4", fps=10, sound=str(source)) as writer:
        for n in range(10):
            writer.write(HALVES, n / 10)
    with open_video(tmp_path / "b.mp4") as video:
        assert len(list(video)) == 10
    assert "sound is left out: " in caplog.text
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.avi", "b.mp4"]


def test_a_changing_size_fits_into_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=10) as writer:
        for n, shape in enumerate([(48, 64), (96, 64), (10, 300), (48, 64)]):
            writer.write(np.full((*shape, 3), 200, np.uint8), n / 10)
    with open_video(tmp_path / "a.mp4") as video:
        assert {frame.image.shape for frame in video} == {(48, 64, 3)}


def test_an_interruption_leaves_a_playable_file(tmp_path: Path) -> None:
    def write() -> None:
        with VideoWriter(tmp_path / "a.mp4", fps=10) as writer:
            for n in range(5):
                writer.write(HALVES, n / 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    with open_video(tmp_path / "a.mp4") as video:
        assert len(list(video)) == 5


def test_an_interruption_while_a_film_is_finished_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, heard = os.replace, []

    def interrupted(*paths: Any) -> None:
        if not heard:
            heard.append(paths)
            signal.raise_signal(signal.SIGINT)
        replace(*paths)

    monkeypatch.setattr("openpaf.video.writer.os.replace", interrupted)
    writer = VideoWriter(tmp_path / "a.mp4", fps=10)
    for n in range(5):
        writer.write(HALVES, n / 10)
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    assert heard
    with open_video(tmp_path / "a.mp4") as video:
        assert len(list(video)) == 5


def test_an_interruption_in_the_first_frame_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "_mux", interrupted)
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", fps=10) as writer:
        writer.write(HALVES, 0.0)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        VideoWriter(tmp_path / "missing" / "a.mp4").write(HALVES, 0.0)
    with VideoWriter(tmp_path / "none.mp4"):
        pass
    assert not list(tmp_path.iterdir())


# The command


class Finder:
    """Finds one person in the middle of every frame."""

    size = 64

    def __init__(self, model: Any = None, **options: Any) -> None: ...

    def infer(self, image: np.ndarray) -> np.ndarray:
        return image

    @staticmethod
    def found(image_hw: tuple[int, int]) -> np.ndarray:
        """The joints of that person (K, 3): px and score."""
        offsets = np.linspace(-10, 10, 17)[:, None] * [0.5, 1.0]
        xy = np.array(image_hw[::-1]) / 2 + offsets
        return np.concatenate([xy, np.ones((17, 1))], axis=1)

    def postprocess(self, inferred: np.ndarray, image_hw: tuple[int, int]) -> Poses:
        return Poses.from_keypoints(self.found(image_hw)[None], Skeleton.COCO17)

    def batch(self, images: list[np.ndarray]) -> list[Poses]:
        return [self.postprocess(image, (image.shape[0], image.shape[1])) for image in images]


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Finder)


def test_predict_a_video(finder: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = make_video(tmp_path / "a.avi"), tmp_path / "out"
    assert main(["predict", str(source), "--output", str(out), "--format", "image,coco"]) == 0
    assert "a.avi: 10 frames, 1 person" in capsys.readouterr().out
    assert [path.name for path in sorted(out.iterdir())] == ["a.jsonl", "a.mp4"]
    rows = [json.loads(line) for line in (out / "a.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(10))
    assert {person["track_id"] for row in rows for person in row["people"]} == {1}
    assert rows[5]["time_s"] == pytest.approx(0.5)
    with open_video(out / "a.mp4") as video:
        assert len(list(video)) == 10


def test_predict_a_video_to_a_file(finder: None, tmp_path: Path) -> None:
    source, drawn = make_video(tmp_path / "a.avi", 3), tmp_path / "drawn.mp4"
    assert main(["predict", str(source), "--output", str(drawn)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.avi", "drawn.jsonl", "drawn.mp4"]
    with open_video(drawn) as video:
        assert len(list(video)) == 3


@pytest.mark.parametrize(("typed", "n_shown"), [("", 5), ("  q", 3)])
def test_frames_are_shown_with_boxes_as_they_come(
    finder: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, n_shown: int
) -> None:
    class Window:
        def __init__(self, title: str) -> None:
            self.is_open, self.typed = True, list(typed)

        def show(self, image: np.ndarray, *, resizes: bool = False) -> None:
            shown.append(image)

        def keys(self, wait_s: float = 0.0) -> str:
            return self.typed.pop(0) if self.typed else ""

        def close(self) -> None:
            self.is_open = False

    shown: list[np.ndarray] = []
    monkeypatch.setattr("openpaf.cli.viewer.Window", Window)
    source = make_video(tmp_path / "a.avi", 5)
    command = ["predict", str(source), "--output", str(tmp_path / "out"), "--show"]
    assert main([*command, "--boxes"]) == 0
    assert len(shown) == n_shown
    boxed, shown[:] = shown[:1], []
    assert main(command) == 0
    assert (boxed[0] == 255).all(axis=2).sum() > (shown[0] == 255).all(axis=2).sum() + 20
    with open_video(tmp_path / "out" / "a.mp4") as video:
        assert len(list(video)) == 5  # all of them, whatever was looked at


def test_photos_and_videos_of_a_folder(finder: None, tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert list_videos([str(tmp_path)]) == ([str(tmp_path / "a.mp4")], [str(tmp_path)])
    (tmp_path / "b.png").unlink()
    assert list_videos([str(tmp_path / "*.mp4")]) == ([str(tmp_path / "a.mp4")], [])
    assert is_video("rtsp://host/x")
    assert not is_video(tmp_path)


def test_a_video_of_any_suffix(
    finder: None, repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = repo_root / "tests/inputs/raw.h264"
    for name in ("raw.h264", "raw.bin", "raw"):
        (tmp_path / name).write_bytes(source.read_bytes())
        assert main(["predict", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 0
        with open_video(tmp_path / "out" / "raw.mp4") as video:
            assert len(list(video)) == 10
        assert f"{name}: 10 frames" in capsys.readouterr().out
    (tmp_path / "notes.txt").write_text("FFmpeg takes this for an image\n" * 50)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo", "PNG")
    assert list_videos([str(tmp_path / name) for name in ("notes.txt", "photo", "none.x")])[0] == []


ANIMATION = [Image.new("RGB", (64, 48), color) for color in ("red", "lime", "blue")]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_animated_images_are_videos(
    suffix: str, finder: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    path = tmp_path / f"a{suffix}"
    ANIMATION[0].save(path, save_all=True, append_images=ANIMATION[1:], duration=[200, 300, 0])
    ANIMATION[0].save(tmp_path / f"still{suffix}")
    with open_video(path) as video:
        assert (video.is_live, video.n_frames) == (False, 3)
        frames = list(video)
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.2, 0.5])
    for frame, expected in zip(frames, ANIMATION, strict=True):
        np.testing.assert_allclose(frame.image.astype(int), np.asarray(expected), atol=10)
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path), "--output", str(out)]) == 0
    said = capsys.readouterr()
    assert f"a{suffix}: 3 frames" in said.out
    assert f"still{suffix}: 1 person" in said.out
    assert "1 photo, 1 person, 0 skipped" in said.out
    assert said.err == ""
    assert sorted(path.name for path in out.iterdir()) == [
        "a.jsonl", "a.mp4", "still.json", "still.png"
    ]  # fmt: skip


def test_a_damaged_animation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=200)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: 2 * len(data) // 3 + 99])
    with open_video(tmp_path / "a.png") as video:
        assert len(list(video)) == 2
    assert "a.png: ends early" in caplog.text
    (tmp_path / "a.png").write_bytes(data[: len(data) // 4])
    with (
        open_video(tmp_path / "a.png") as video,
        pytest.raises(VideoError, match=r"a\.png: no frame of it can be read: cannot be decoded"),
    ):
        list(video)


def test_images_and_text_are_no_videos(tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tiff", "avif"):
        ANIMATION[0].save(tmp_path / f"a.{suffix}")
        with pytest.raises(VideoError, match="an image or text, not a video"):
            open_video((tmp_path / f"a.{suffix}").rename(tmp_path / f"{suffix}.mp4"))


def test_motion_jpeg_is_no_image(tmp_path: Path) -> None:
    """A file of nothing but JPEGs, of which a phone's photo may have a few."""
    jpeg = io.BytesIO()
    ANIMATION[0].save(jpeg, "JPEG")
    (tmp_path / "a.mjpg").write_bytes(8 * jpeg.getvalue())
    with open_video(tmp_path / "a.mjpg") as video:
        times = [frame.time_s for frame in video]
    np.testing.assert_allclose(times, np.arange(8) / 25)
    (tmp_path / "b.mp4").write_bytes(3 * jpeg.getvalue())
    with pytest.raises(VideoError, match="an image or text, not a video"):
        open_video(tmp_path / "b.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_sockets_of_a_folder_are_skipped(
    finder: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_video(tmp_path / "a.mp4", 3)
    for name in ("pipe.mp4", "pipe.gif", "pipe"):
        os.mkfifo(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.mp4"))
        assert main(["predict", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "a.mp4: 3 frames" in said.out
    lines = sorted(said.err.splitlines())
    assert [Path(line.split(":")[1]).name for line in lines] == ["pipe.gif", "pipe.mp4", "s.mp4"]
    assert all(line.endswith("not a regular file") for line in lines)


@pytest.mark.parametrize("smoothing", [False, True])
def test_threshold_0_keeps_all(
    smoothing: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also who is weak, who is found twice, who has no sure joint, and joints that leap."""
    frames = iter(range(10))

    def postprocess(self: Any, inferred: np.ndarray, image_hw: tuple[int, int]) -> Poses:
        n = next(frames)
        people = [Finder.found(image_hw) for _ in range(4)]
        people[1][:, 2] = 0.01
        people[2][:, :2] += (3, n % 2 * 20)
        people[2][:, 2] = 0.1
        people[3][3:, 2] = 0
        people[3][0, :2] = (n * 7 % 64, n * 31 % 48)
        return Poses.from_keypoints(np.stack(people), Skeleton.COCO17)

    monkeypatch.setattr(Finder, "postprocess", postprocess)
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Finder)
    arguments = ["predict", str(make_video(tmp_path / "a.avi")), "--output", str(tmp_path)]
    assert main([*arguments, "--threshold", "0"] + ["--no-smoothing"] * (not smoothing)) == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    frames = iter(range(10))
    for row in rows:
        expected = poses_to_coco(Finder.postprocess(Finder(), HALVES, (48, 64)), row["frame"])
        ids = [person.pop("track_id") for person in row["people"]]
        assert len(set(ids)) == 4
        assert len(row["people"]) == len(expected) == 4
        for person, same in zip(row["people"], expected, strict=True):
            assert person["score"] == same["score"]
            if not smoothing:
                assert person == same


def test_a_bad_video_is_skipped(
    finder: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_text("no")
    good = make_video(tmp_path / "good.mp4", 3)
    arguments = ["predict", str(tmp_path / "bad.mp4"), str(tmp_path / "no.mp4"), str(good)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 2
    assert "good.mp4: 3 frames" in said.out


def test_keys_of_the_window(tmp_path: Path) -> None:
    from openpaf.video.base import VideoFrame
    from openpaf.video.stream import FrameResult

    image = np.zeros((60, 80, 3), np.uint8)
    frame = VideoFrame(image=image, index=0, time_s=0.0, captured_s=time.perf_counter())
    result = Finder().postprocess(image, (60, 80))
    seen = FrameResult(frame=frame, poses=result, drawn=image.copy())
    view = View(Tracker(), tmp_path)
    assert not view.press(ord("q"), seen)
    assert view.press(ord("p"), seen)
    assert view.is_paused
    view.press(ord("f"), seen)
    assert not view.tracker.smooths
    view.press(ord("v"), seen)
    assert view.shows_heatmaps
    view.press(ord("s"), seen)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".png"]
    assert "1 person" in view.figures(seen)
    assert view.image(seen).max() == 255  # the line of figures


class Detector(Finder):
    """Finds the same person without fields, as Mask R-CNN does."""

    def __call__(self, image: np.ndarray) -> Poses:
        return self.postprocess(image, (image.shape[0], image.shape[1]))


def test_a_detector_watches_videos_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path)
    for draw in (skeletons, heatmaps):
        detector: Any = Detector()
        seen = list(process_video(open_video(path), detector, draw=draw))
        with open_video(path) as video:
            expected = [detector(frame.image).xy for frame in video]
        assert len(seen) == len(expected) > 0
        for one, xy in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(one.poses.xy, xy)
            assert one.drawn is not None
            assert (one.drawn != one.frame.image).any()
