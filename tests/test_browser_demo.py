"""The browser demo: its server outlives bad clients, and the page draws skeletons in Chromium."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openpaf import Poses, Skeleton

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (the extra 'demo')")
from aiohttp import WSMsgType, WSServerHandshakeError  # noqa: E402
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402


@pytest.fixture
def demo(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo_root / "demos" / "browser"))
    import server

    return server


def someone(image: np.ndarray) -> Poses:
    """One person in the middle of every picture."""
    xy = np.array(image.shape[1::-1]) / 2 + np.linspace(-20, 20, 17)[:, None] * [0.5, 1.0]
    keypoints = np.concatenate([xy, np.ones((17, 1))], axis=1)[None]
    return Poses.from_keypoints(keypoints, Skeleton.COCO17)


def jpeg(size: tuple[int, int] = (64, 48), kind: bytes = b"\0", format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, format)
    return kind + file.getvalue()


def serve(server: Any, talk: Callable[[Any, Callable[[], Any]], Awaitable[None]]) -> None:
    """Run a conversation with a server; ``connect()`` opens a socket as its own page would."""

    async def run() -> None:
        async with TestClient(TestServer(server.app())) as client:
            origin = f"http://{client.host}:{client.port}"

            def connect() -> Any:
                return client.ws_connect("/poses", headers={"Origin": origin})

            await asyncio.wait_for(talk(client, connect), 60)

    asyncio.run(run())


def test_poses_of_a_picture_and_ids_of_a_camera(demo: Any) -> None:
    async def talk(client: Any, connect: Any) -> None:
        async with connect() as socket:
            for _ in range(2):
                await socket.send_bytes(jpeg())
                answer = await socket.receive_json()
                assert (answer["width"], answer["height"]) == (64, 48)
                assert [person["id"] for person in answer["people"]] == [1]
                assert answer["people"][0]["joints"][8] == [32.0, 24.0, 1.0]
            await socket.send_bytes(jpeg(kind=b"\1", format="PNG"))
            assert (await socket.receive_json())["people"][0]["id"] is None

    serve(demo.Server(someone), talk)


def test_pages_are_served_and_nothing_else(demo: Any) -> None:
    async def talk(client: Any, connect: Any) -> None:
        for path in ("/", "/page.js", "/page.css"):
            response = await client.get(path)
            assert response.status == 200
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        for path in ("/server.py", "/../server.py", "/nothing"):
            assert (await client.get(path)).status == 404

    serve(demo.Server(someone), talk)


def test_other_sites_are_refused(demo: Any) -> None:
    async def talk(client: Any, connect: Any) -> None:
        for headers in ({"Origin": "http://evil.example"}, {}, {"Origin": "null"}):
            with pytest.raises(WSServerHandshakeError) as caught:
                await client.ws_connect("/poses", headers=headers)
            assert caught.value.status == 403
        response = await client.get("/", headers={"Host": "evil.example"})
        assert response.status == 403

    serve(demo.Server(someone), talk)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("text", "expected a picture, got text"),
        (b"", "expected a byte that says the kind"),
        (b"\x07" + jpeg()[1:], "expected a byte that says the kind"),
        (b"\0no picture at all", "not a JPEG, PNG or WebP picture"),
        (jpeg((400, 300))[:600], "not a JPEG, PNG or WebP picture"),
        (jpeg(format="GIF"), "not a JPEG, PNG or WebP picture"),
        (jpeg((2000, 2000)), "more than 1 megapixels"),
    ],
)
def test_what_is_no_picture_is_said_and_the_next_one_is_answered(
    demo: Any, message: str | bytes, said: str
) -> None:
    async def talk(client: Any, connect: Any) -> None:
        async with connect() as socket:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            assert said in (await socket.receive_json())["error"]
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1

    serve(demo.Server(someone, limits=demo.Limits(max_pixels=1_000_000)), talk)


def test_too_much_too_often_too_long(demo: Any) -> None:
    limits = demo.Limits(max_bytes=10_000, max_errors=3, idle_s=0.5)

    async def talk(client: Any, connect: Any) -> None:
        async with connect() as socket:  # more bytes than allowed
            await socket.send_bytes(bytes(20_000))
            message = await socket.receive()
            assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
            assert socket.close_code == 1009
        async with connect() as socket:  # nothing but nonsense
            for _ in range(3):
                await socket.send_str("nonsense")
                await socket.receive_json()
            assert (await socket.receive()).type is WSMsgType.CLOSE
            assert socket.close_code == 1008
        async with connect() as socket:  # nothing at all
            started = time.monotonic()
            assert (await socket.receive()).type is WSMsgType.CLOSE
            assert time.monotonic() - started < 30
        async with connect() as socket:  # and the server is still there
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1

    serve(demo.Server(someone, limits=limits), talk)


def test_a_hundred_sockets(demo: Any) -> None:
    async def talk(client: Any, connect: Any) -> None:
        sockets = [await connect() for _ in range(4)]
        for _ in range(96):
            with pytest.raises(WSServerHandshakeError) as caught:
                await connect()
            assert caught.value.status == 503
        await sockets[0].close()
        await asyncio.sleep(0.1)
        async with connect() as socket:
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1
        for socket in sockets:
            await socket.close()

    serve(demo.Server(someone, limits=demo.Limits(max_clients=4)), talk)


def test_who_closes_in_the_middle_hurts_nobody(demo: Any) -> None:
    go_on = threading.Event()

    def slow(image: np.ndarray) -> Poses:
        go_on.wait(20)
        return someone(image)

    server = demo.Server(slow)

    async def talk(client: Any, connect: Any) -> None:
        for _ in range(3):
            socket = await connect()
            await socket.send_bytes(jpeg())
            socket._response.connection.transport.abort()
        go_on.set()
        async with connect() as socket:
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1
        for _ in range(100):
            if not server.clients:
                break
            await asyncio.sleep(0.05)
        assert not server.clients

    serve(server, talk)


def test_one_who_floods_does_not_starve_another(demo: Any) -> None:
    """A hundred pictures at once from one: the other waits for one of them, not for all."""
    order: list[int] = []

    def slow(image: np.ndarray) -> Poses:
        time.sleep(0.01)
        order.append(image.shape[1])
        return someone(image)

    async def talk(client: Any, connect: Any) -> None:
        async with connect() as greedy, connect() as modest:
            for _ in range(100):
                await greedy.send_bytes(jpeg((64, 48)))
            await greedy.receive_json()
            for _ in range(5):
                before = len(order)
                await modest.send_bytes(jpeg((32, 48)))
                await modest.receive_json()
                assert len(order) - before <= 6
            assert order.count(32) == 5

    serve(demo.Server(slow), talk)


# In a real browser


def start(repo_root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", str(repo_root / "demos" / "browser"), "--port", "0", "--size", "256",
         "--runtime", "torch"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
    )  # fmt: skip


def where(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "Running on" in line:
            return line.split("Running on")[1].split()[0]
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def site(repo_root: Path) -> Iterator[str]:
    """The address of the demo as its command serves it; asked to stop, it stops cleanly."""
    process = start(repo_root)
    try:
        yield where(process)
    finally:
        process.terminate()
        status = process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
    assert status == 0


def test_the_command_serves_the_page(site: str) -> None:
    with urllib.request.urlopen(site, timeout=60) as response:
        assert b"<canvas" in response.read()


def test_skeletons_on_the_canvas_of_chromium(site: str, repo_root: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here (Debian: apt install chromium)")
    film = make_film(repo_root, tmp_path / "film.mjpeg")
    # The folder of the profile is not tmp_path's: Chromium refuses long paths of sockets.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={profile}",
             "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
             f"--use-file-for-fake-video-capture={film}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            looks = asyncio.run(drive(Path(profile), site, tmp_path))
        finally:
            browser.terminate()
            browser.wait(30)
    for seen in looks:
        assert seen["people"] >= 1
        # Without skeletons the film has hardly a pixel of exactly these two colours.
        assert seen["orange"] > 100
        assert seen["blue"] > 100
        assert seen["rate"] > 0
        assert seen["overflow"] <= 0  # nothing to scroll sideways, on a phone either
    kept = os.environ.get("OPENPAF_SCREENSHOTS")
    if kept:
        for picture in tmp_path.glob("page-*.png"):
            shutil.copy(picture, kept)


def make_film(repo_root: Path, path: Path) -> Path:
    """A photo as the film of a camera that Chromium plays."""
    photo = Image.open(repo_root / "data" / "photos" / "astronaut.jpg").convert("RGB")
    scene = Image.new("RGB", (640, 480), "gray")
    scene.paste(photo.resize((480, 480)), (80, 0))
    frame = io.BytesIO()
    scene.save(frame, "JPEG", quality=90)
    path.write_bytes(frame.getvalue() * 30)
    return path


SIZES = ((1000, 760), (390, 780))  # of a computer's window, and of a phone's screen
LOOK = """(() => {
  const view = document.getElementById("view");
  const data = view.getContext("2d").getImageData(0, 0, view.width, view.height).data;
  let orange = 0, blue = 0;
  const near = (i, r, g, b) => Math.abs(data[i] - r) + Math.abs(data[i + 1] - g)
    + Math.abs(data[i + 2] - b) < 12;
  for (let i = 0; i < data.length; i += 4) {
    orange += near(i, 255, 138, 20); blue += near(i, 38, 150, 255);
  }
  return JSON.stringify({
    people: Number(document.getElementById("people").textContent), orange, blue,
    rate: Number(document.getElementById("rate").textContent),
    overflow: document.documentElement.scrollWidth - innerWidth,
    answered: Number(document.body.dataset.answered || 0),
    message: document.getElementById("message").textContent,
  });
})()"""


async def drive(profile: Path, address: str, out: Path) -> list[dict[str, Any]]:
    """Open the page, press Camera, and look at it in each size when some answers are there."""
    port_file = profile / "DevToolsActivePort"
    end = time.monotonic() + 60
    while not port_file.exists() or not port_file.read_text().strip():
        assert time.monotonic() < end, "chromium did not start"
        await asyncio.sleep(0.1)
    port = port_file.read_text().split()[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
            pages = [p for p in await response.json(content_type=None) if p["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket)
            await page.call("Page.navigate", url=address)
            await page.wait_until("document.readyState === 'complete' && socket?.readyState === 1")
            await page.value("document.getElementById('camera').click()")
            return [await look(page, size, out) for size in SIZES]


async def look(page: Page, size: tuple[int, int], out: Path) -> dict[str, Any]:
    """What the canvas has after three more answers in a window of this size."""
    await page.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                    deviceScaleFactor=1, mobile=size[0] < 500)  # fmt: skip
    await page.value("document.body.dataset.answered = 0")
    await page.wait_until(
        "document.body.dataset.answered >= 3 && document.getElementById('people').textContent > 0"
    )
    seen = json.loads(await page.value(LOOK))
    picture = await page.call("Page.captureScreenshot", format="png")
    (out / f"page-{size[0]}.png").write_bytes(base64.b64decode(picture["data"]))
    return dict(seen)


class Page:
    """A page of Chromium over its debugging protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number = socket, 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            answer = await self.socket.receive_json(timeout=60)
            if answer.get("id") == self.number:
                return dict(answer["result"])

    async def value(self, expression: str) -> Any:
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True
        )
        return answer["result"].get("value")

    async def wait_until(self, condition: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not await self.value(condition):
            assert time.monotonic() < end, f"{condition}: {await self.value(LOOK)}"
            await asyncio.sleep(0.1)
