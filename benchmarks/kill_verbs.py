"""The verbs that kills.py kills: their command lines, and the folders that they run in."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image


class Verb(NamedTuple):
    """A verb to kill.

    Args:
        name: For the report.
        arguments: Of the command, run in a folder that ``fill`` has filled.
        fill: Puts the inputs into the folder.
        results: Where the results are, in the folder.
        before: Runs in the process before the command.
        signals: What it is killed by, in turns.
    """

    name: str
    arguments: list[str]
    fill: Callable[[Path], None]
    results: str
    before: Callable[[Path], None] = lambda folder: None
    signals: tuple[signal.Signals, ...] = (signal.SIGKILL, signal.SIGTERM)


def predict_photos() -> Verb:
    return Verb(
        "predict",
        ["predict", "in", "--output", "out", "--size", "64", "--format", "image,coco,openpose",
         "--engine", "torch", "--threshold", "0"],
        _photos, "out",
    )  # fmt: skip


def predict_video() -> Verb:
    return Verb(
        "predict, video",
        ["predict", "in/film.mkv", "--output", "out", "--size", "64", "--engine", "torch"],
        _film, "out", _lossless,
        signals=(signal.SIGKILL,),  # SIGTERM ends a video where it is, be it without a frame
    )  # fmt: skip


def evaluate() -> Verb:
    return Verb(
        "evaluate",
        ["evaluate", "--annotations", "a.json", "--images", "in", "--size", "64", "--engine",
         "torch", "--partial", "out/partial.jsonl", "--save-results", "out/results.json", "--json",
         "out/figures.json", "--gallery", "out/worst.html"],
        _labelled, "out",
    )  # fmt: skip


def annotate() -> Verb:
    return Verb(
        "annotate",
        ["annotate", "in", "--output", "out/labels.json", "--format", "coco,cvat,label-studio",
         "--review", "out/sheets", "--size", "64", "--engine", "torch", "--threshold", "0.2",
         "--ignore-threshold", "0"],
        _photos_and_out, "out",
    )  # fmt: skip


def fetch() -> Verb:
    return Verb("weights fetch", ["weights", "fetch", "fast-test", "--cache", "out", "--quiet"],
                lambda folder: (folder / "out").mkdir(), "out", _serve)  # fmt: skip


VERBS = {
    "predict": predict_photos,
    "video": predict_video,
    "evaluate": evaluate,
    "annotate": annotate,
    "fetch": fetch,
}


def _photo(n: int) -> Image.Image:
    """The astronaut, another piece of her each time."""
    path = Path(__file__).resolve().parent.parent / "data" / "photos" / "astronaut.jpg"
    with Image.open(path, formats=("PNG", "JPEG")) as image:
        return image.convert("RGB").crop((8 * n, 0, 8 * n + 240, 240))


def _photos(folder: Path) -> None:
    (folder / "in").mkdir()
    for n in range(6):
        _photo(n).save(folder / "in" / f"{n}.{'jpg' if n % 2 else 'png'}")


def _photos_and_out(folder: Path) -> None:
    _photos(folder)
    (folder / "out").mkdir()


def _film(folder: Path) -> None:
    import av

    (folder / "in").mkdir()
    with av.open(str(folder / "in" / "film.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 240, 240, "yuv420p"
        for n in range(12):
            container.mux(stream.encode(av.VideoFrame.from_image(_photo(n))))
        container.mux(stream.encode(None))


def _lossless(folder: Path) -> None:
    """One of a hundred equal runs of x264 differs a little, but not without loss."""
    from openpaf.video.writer import VideoWriter

    VideoWriter.__init__.__kwdefaults__["crf"] = 0


def _labelled(folder: Path) -> None:
    _photos_and_out(folder)
    names = sorted(path.name for path in (folder / "in").iterdir())
    images = [{"id": n, "file_name": name, "width": 240, "height": 240}
              for n, name in enumerate(names, 1)]  # fmt: skip
    people = [
        {"id": image["id"], "image_id": image["id"], "category_id": 1, "iscrowd": 0,
         "keypoints": [100.0, 90.0, 2] * 17, "num_keypoints": 17, "area": 9000.0,
         "bbox": [60, 50, 100, 100]} for image in images
    ]  # fmt: skip
    categories = [{"id": 1, "name": "person"}]
    (folder / "a.json").write_text(
        json.dumps({"images": images, "annotations": people, "categories": categories})
    )


def weights_file() -> bytes:
    import torch

    out = io.BytesIO()
    torch.save({"a": torch.arange(2_000_000.0)}, out)
    return out.getvalue()


def _serve(folder: Path) -> None:
    """A row of the table whose file a server in this process has, in pieces and with pauses."""
    import dataclasses

    from openpaf.weights import published

    content = weights_file()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "bytes=0-")
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.end_headers()
            for place in range(start, len(content), 1 << 20):
                self.wfile.write(content[place : place + (1 << 20)])
                time.sleep(0.01)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    row = next(iter(published.PUBLISHED.values()))
    published.PUBLISHED["fast-test"] = dataclasses.replace(
        row, name="fast-test", suffix=".pth", size=len(content), restricted=False, md5=None,
        sha256=hashlib.sha256(content).hexdigest(),
        urls=(f"http://127.0.0.1:{server.server_address[1]}/file",),
    )  # fmt: skip
