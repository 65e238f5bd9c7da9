"""Videos: valid ones of several containers, turned, with odd times and sound; damaged; and lying.

The oracle is PyAV, used plainly: the same number of frames, the pixels turned as the file's matrix
says, and the times that were written.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np

from fuzzing.case import Case
from fuzzing.mutate import damaged
from openpaf.video.file import VideoFile
from openpaf.video.writer import VideoWriter

#: Suffix, codec, options; all are read back frame by frame.
_KINDS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (".mp4", "libx264", {"bf": "0"}),
    (".mp4", "libx264", {"bf": "2"}),
    (".mov", "mpeg4", {}),
    (".mkv", "libx264", {"bf": "2"}),
    (".avi", "mpeg4", {}),
    (".avi", "libx264", {"bf": "2"}),
    (".ts", "libx264", {"bf": "0"}),
    (".webm", "libvpx", {"deadline": "realtime"}),
    (".mpg", "mpeg2video", {}),
    (".flv", "flv1", {}),
)
_STEP_S = 0.04
_ONE = 1 << 16
#: The eight display matrices, as a, b, c, d: x' = a x + c y, y' = b x + d y.
MATRICES = tuple(
    (a, b, c, d) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) for d in (-1, 0, 1)
    if abs(a) + abs(b) == abs(c) + abs(d) == abs(a) + abs(c) == 1
)  # fmt: skip


def make(rng: np.random.Generator, folder: Path) -> Case:
    kinds = (_valid, _turned, _damaged, _damaged, _damaged, _joined, _written, _lying)
    return kinds[int(rng.integers(len(kinds)))](rng, folder)


def prepare() -> None:
    av.logging.set_level(None)


def corners(n: int, h: int = 48, w: int = 64) -> np.ndarray:
    """A frame whose four quarters differ, and which differs from the other frames."""
    image = np.full((h, w, 3), 20 + 9 * (n % 20), np.uint8)
    image[: h // 2, : w // 2] = (220, 20, 20)
    image[h // 2 :, w // 2 :] = (20, 20, 220)
    return image


def write(
    path: Path, codec: str, options: dict[str, str], times: list[float], sound: str = ""
) -> None:
    """A video of frames at these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = options
        audio = container.add_stream(sound, rate=44100) if sound else None
        for n, time_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(corners(n), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 25), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            for start in range(0, round(44100 * len(times) * _STEP_S), 1152):
                wave = np.sin(np.arange(start, start + 1152) / 20)
                samples = (8000 * wave).astype(np.int16)[None]
                tone = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                tone.pts, tone.sample_rate, tone.time_base = start, 44100, Fraction(1, 44100)
                container.mux(audio.encode(tone))
            container.mux(audio.encode(None))


def plain(path: Path) -> list[np.ndarray]:
    """The frames as PyAV gives them, without those that cannot be decoded."""
    frames = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"  # what damage costs depends on it
        packets = container.demux(container.streams.video[0])
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError, OSError):
                return frames
            try:
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.FFmpegError:
                continue


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with VideoFile(path) as video:
        frames = list(video)
    return [frame.image for frame in frames], [frame.time_s for frame in frames]


def _problem(images: list[np.ndarray], times: list[float]) -> str | None:
    if any(image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 for image in images):
        return "a frame is no RGB picture"
    if not (np.diff(times) > 0).all() or not np.isfinite(times).all():
        return f"times that do not go on: {np.round(times, 4).tolist()[:20]}"
    return None


def _kind(rng: np.random.Generator) -> tuple[str, str, dict[str, str]]:
    return _KINDS[int(rng.integers(len(_KINDS)))]


def _valid(rng: np.random.Generator, folder: Path) -> Case:
    suffix, codec, options = _kind(rng)
    steps = np.ones(int(rng.integers(3, 12)))
    if suffix in (".mp4", ".mkv") and rng.random() < 0.3:
        steps = rng.integers(1, 20, len(steps))
    times = [float(t) for t in _STEP_S * (np.cumsum(steps) - steps[0])]
    path = folder / f"video{suffix}"
    write(path, codec, options, times)

    def check() -> str | None:
        images, found = read(path)
        wanted = plain(path)
        if len(images) != len(wanted) or len(images) != len(times):
            return f"{len(images)} frames of {len(times)}, PyAV {len(wanted)}"
        if not all(map(np.array_equal, images, wanted)):
            return "other pixels than PyAV's"
        if not np.allclose(np.diff(found), np.diff(times), atol=2e-3):
            return f"times {np.round(found, 4).tolist()}, not {np.round(times, 4).tolist()}"
        return _problem(images, found)

    bf = " with B-frames" if options.get("bf") == "2" else ""
    return Case(f"valid {codec}{bf} in {suffix}", check, path.name, is_good=_opens(path))


def _opens(path: Path) -> bool:
    """Whether FFmpeg can tell what it is: of an MPEG-TS, a few frames may be too little."""
    try:
        av.open(str(path)).close()
    except av.FFmpegError:
        return False
    return True


def _turned(rng: np.random.Generator, folder: Path) -> Case:
    a, b, c, d = MATRICES[int(rng.integers(len(MATRICES)))]
    path = folder / "video.mp4"
    write(path, "libx264", {"bf": "0", "crf": "4"}, [0.0, _STEP_S, 2 * _STEP_S])
    raw = bytearray(path.read_bytes())
    at = raw.index(b"tkhd") + 4 + 40  # version 0: the matrix comes after 40 bytes
    raw[at : at + 36] = struct.pack(
        ">9i", a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, 0, 0, 1 << 30
    )
    path.write_bytes(raw)

    def check() -> str | None:
        images, _ = read(path)
        for image, straight in zip(images, plain(path), strict=True):
            if not np.array_equal(image, _turn(straight, a, b, c, d)):
                return f"not turned as the matrix {(a, b, c, d)} says"
        return None

    return Case(f"display matrix {a} {b} {c} {d}", check, path.name, is_good=True)


def _turn(image: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    h, w = image.shape[:2]
    y, x = np.mgrid[:h, :w]
    new_x, new_y = a * x + c * y, b * x + d * y
    new_x, new_y = new_x - new_x.min(), new_y - new_y.min()
    turned = np.empty((new_y.max() + 1, new_x.max() + 1, 3), np.uint8)
    turned[new_y, new_x] = image
    return turned


def _damaged(rng: np.random.Generator, folder: Path) -> Case:
    suffix, codec, options = _kind(rng)
    path = folder / f"video{suffix}"
    write(path, codec, options, [_STEP_S * n for n in range(int(rng.integers(2, 10)))])
    how, raw = damaged(rng, path.read_bytes())
    path.write_bytes(raw)

    def check() -> str | None:
        images, times = read(path)
        wanted = plain(path)
        if len(images) != len(wanted):
            return f"{len(images)} frames, PyAV {len(wanted)}"
        return _problem(images, times)

    return Case(f"{how}: {codec} in {suffix}", check, path.name)


def _joined(rng: np.random.Generator, folder: Path) -> Case:
    """Two recordings one after the other in one MPEG-TS, whose timestamps begin again."""
    path, n = folder / "video.ts", int(rng.integers(4, 10))
    write(path, "libx264", {"bf": "0"}, [_STEP_S * k for k in range(n)])
    path.write_bytes(2 * path.read_bytes())

    def check() -> str | None:
        images, times = read(path)
        if problem := _problem(images, times):
            return problem
        wanted = (len(images) - 1) * _STEP_S
        return (
            None
            if abs(times[-1] - wanted) < 3 * _STEP_S
            else f"ends at {times[-1]:.3f} s, not {wanted:.3f}"
        )

    return Case("joined MPEG-TS", check, path.name, is_good=_opens(path))


def _written(rng: np.random.Generator, folder: Path) -> Case:
    """What VideoWriter writes is read back: every frame at its time, whatever sound there is."""
    path, source = folder / "out.mp4", folder / "source.avi"
    times = np.cumsum(rng.integers(1, 9, int(rng.integers(1, 12)))) * _STEP_S
    sound = str(rng.choice(["", "mp3", "aac", "pcm_s16le", "ac3"]))
    if sound:
        write(source, "mpeg4", {}, [_STEP_S * n for n in range(10)], sound)
        if rng.random() < 0.5:
            source.write_bytes(damaged(rng, source.read_bytes())[1])
    shapes = [(48, 64), (47, 65), (1, 1), (64, 48), (200, 3)]
    several = rng.random() < 0.3
    first = shapes[int(rng.integers(len(shapes)))]

    def check() -> str | None:
        with VideoWriter(path, fps=25, sound=str(source) if sound else None) as writer:
            for n, time_s in enumerate(times):
                shape = shapes[n % len(shapes)] if several else first
                writer.write(corners(n, *shape), float(time_s))
        images, found = read(path)
        if len(images) != len(times):
            return f"{len(images)} frames of {len(times)}"
        if not np.allclose(np.diff(found), np.diff(times), atol=2e-3):
            return f"times {np.round(found, 4).tolist()}, not {np.round(times, 4).tolist()}"
        return None

    return Case(f"written with {sound or 'no'} sound", check, is_good=True)


_LIES: dict[str, tuple[str, bytes]] = {
    "y4m of 99999 px": (".y4m", b"YUV4MPEG2 W99999 H99999 F25:1 C420\nFRAME\n" + bytes(99)),
    "y4m of 0 px": (".y4m", b"YUV4MPEG2 W0 H0 F25:1 C420\nFRAME\n"),
    "y4m of no rate": (".y4m", b"YUV4MPEG2 W8 H8 F0:0 C420\n" + (b"FRAME\n" + bytes(96)) * 3),
    "a text": (".mp4", b"no video\n" * 9),
    "HTML": (".mp4", b"<!doctype html>"),
    "empty": (".mp4", b""),
    "a list of files": (".mp4", b"ffconcat version 1.0\nfile /etc/hostname\n"),
    "a playlist": (".mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n"),
    "a session": (".mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\n"),
    "zeros": (".mp4", bytes(100_000)),
    "boxes in boxes": (".mp4", b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\1\0\0moov" * 5000),
    "sound alone": (
        ".avi", b"RIFF\x24\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 88200, 2, 16)
        + b"data\0\0\0\0"
    ),
}  # fmt: skip


def _lying(rng: np.random.Generator, folder: Path) -> Case:
    name = list(_LIES)[int(rng.integers(len(_LIES)))]
    suffix, raw = _LIES[name]
    path = folder / f"video{suffix}"
    path.write_bytes(raw)

    def check() -> Any:
        return _problem(*read(path))

    return Case(f"no video: {name}", check, path.name)
