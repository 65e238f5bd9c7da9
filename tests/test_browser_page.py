"""The page of the browser demo in a real Chromium: its camera shows real people."""

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
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (the extra 'demo')")

COMPUTER, PHONE = (1000, 760), (390, 844)  # px of a window, and of a phone's screen

LOOK = """(() => {
  const view = document.getElementById("view");
  const data = view.getContext("2d").getImageData(0, 0, view.width, view.height).data;
  let orange = 0, blue = 0;
  const near = (i, r, g, b) => Math.abs(data[i] - r) + Math.abs(data[i + 1] - g)
    + Math.abs(data[i + 2] - b) < 12;
  for (let i = 0; i < data.length; i += 4) {
    orange += near(i, 255, 138, 20); blue += near(i, 38, 150, 255);
  }
  const stage = view.getBoundingClientRect();
  const outside = [...document.querySelectorAll("header *, main, canvas, button, label, p")]
    .map((part) => [part, part.getBoundingClientRect()])
    .filter(([part, box]) => box.width && (box.left < 0 || box.right > innerWidth + 0.5
      || box.top < 0 || box.bottom > innerHeight + 0.5))
    .map(([part]) => part.id || part.tagName);
  return JSON.stringify({
    people: Number(document.getElementById("people").textContent), orange, blue, outside,
    rate: Number(document.getElementById("rate").textContent),
    overflow: document.documentElement.scrollWidth - innerWidth,
    stage: [stage.width, stage.height], canvas: [view.width, view.height],
    answered: Number(document.body.dataset.answered || 0),
    message: document.getElementById("message").textContent,
  });
})()"""


@pytest.fixture(scope="module")
def site(repo_root: Path) -> Iterator[str]:
    """The address of the demo as its command serves it; asked to stop, it stops cleanly."""
    process = subprocess.Popen(
        [sys.executable, "-m", "openpaf", "demo", "browser", "--port", "0",
         "--engine", "torch"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = next((line for line in process.stdout if "Running on" in line), None)
        assert said is not None, "the server did not start"
        yield said.split("Running on")[1].split()[0]
    finally:
        process.terminate()
        status = process.wait(30)
        process.stdout.close()
    assert status == 0


@pytest.fixture(scope="module")
def port(repo_root: Path) -> Iterator[int]:
    """The port at which a Chromium listens to tests; its camera films a photo."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here (Debian: apt install chromium)")
    # The folder is not tmp_path's: Chromium refuses long paths of sockets.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        film = make_film(repo_root, Path(profile) / "film.mjpeg")
        browser = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={profile}",
             "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
             f"--use-file-for-fake-video-capture={film}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port_file, end = Path(profile) / "DevToolsActivePort", time.monotonic() + 60
            while not (port_file.exists() and port_file.read_text().strip()):
                assert time.monotonic() < end, "chromium did not start"
                time.sleep(0.1)
            yield int(port_file.read_text().split()[0])
        finally:
            browser.terminate()
            browser.wait(30)


def make_film(repo_root: Path, path: Path) -> Path:
    """A photo as the film of a camera that Chromium plays."""
    photo = Image.open(repo_root / "data" / "photos" / "astronaut.jpg").convert("RGB")
    scene = Image.new("RGB", (640, 480), "gray")
    scene.paste(photo.resize((480, 480)), (80, 0))
    frame = io.BytesIO()
    scene.save(frame, "JPEG", quality=90)
    path.write_bytes(frame.getvalue() * 30)
    return path


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
                assert "result" in answer, answer
                return dict(answer["result"])

    async def value(self, expression: str) -> Any:
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True,
            awaitPromise=True,
        )  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def wait_until(self, condition: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not await self.value(condition):
            assert time.monotonic() < end, f"{condition}: {await self.value(LOOK)}"
            await asyncio.sleep(0.1)

    async def wait_for_answers(self, n: int) -> None:
        before = await self.value("Number(document.body.dataset.answered || 0)")
        await self.wait_until(f"document.body.dataset.answered >= {before + n}")

    async def press(self, button: str) -> None:
        await self.value(f"document.getElementById({button!r}).click()")

    async def resize(self, size: tuple[int, int], pixel_ratio: float = 1) -> None:
        await self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                        deviceScaleFactor=pixel_ratio, mobile=size[0] < 500)  # fmt: skip

    async def drop(self, path: Path) -> None:
        """Drag a file over the middle of the page and let it go, as a hand would."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            await self.call("Input.dispatchDragEvent", type=kind, x=190, y=300, data=data)

    async def look(self, name: str) -> dict[str, Any]:
        """What is on the page; its image is kept where OPENPAF_SCREENSHOTS says."""
        folder = os.environ.get("OPENPAF_SCREENSHOTS")
        if folder:
            image = await self.call("Page.captureScreenshot", format="png")
            (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(image["data"]))
        return dict(json.loads(await self.value(LOOK)))


def visit(port: int, site: str, talk: Callable[[Page], Awaitable[None]]) -> None:
    """Open the demo in a tab of its own, and do something there."""

    async def run() -> None:
        tabs = f"http://127.0.0.1:{port}/json"
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{tabs}/new?about:blank") as response:
                tab = await response.json(content_type=None)
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                await page.resize(COMPUTER)
                await page.call("Page.navigate", url=site)
                await page.wait_until(
                    "document.readyState === 'complete' && location.protocol !== 'about:'"
                    " && socket?.readyState === 1"
                )
                await talk(page)
            async with session.get(f"{tabs}/close/{tab['id']}"):
                pass

    asyncio.run(run())


def assert_skeletons(seen: dict[str, Any], at_least: int = 1) -> None:
    assert seen["people"] >= at_least
    # Without skeletons the photos have hardly a pixel of exactly these two colors.
    assert seen["orange"] > 100
    assert seen["blue"] > 100
    assert seen["message"] == ""
    assert seen["overflow"] <= 0  # nothing to scroll sideways
    assert seen["outside"] == []


def test_the_command_serves_the_page(site: str) -> None:
    with urllib.request.urlopen(site, timeout=60) as response:
        assert b"<canvas" in response.read()


def test_skeletons_over_the_camera(site: str, port: int) -> None:
    async def talk(page: Page) -> None:
        assert "drop an image" in (await page.look("empty"))["message"]
        await page.press("camera")
        await page.wait_until("document.getElementById('people').textContent > 0")
        await page.wait_for_answers(3)
        seen = await page.look("camera")
        assert_skeletons(seen)
        assert seen["rate"] > 0
        await page.press("pause")
        await page.wait_until("!inFlight")
        still = (await page.look("paused"))["answered"]
        await asyncio.sleep(0.5)
        assert (await page.look("paused"))["answered"] == still
        await page.press("pause")
        await page.wait_for_answers(1)
        await page.value("stream.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
        assert (await page.look("unplugged"))["message"] == "The camera was unplugged."

    visit(port, site, talk)


def test_skeletons_over_a_dropped_photo(site: str, port: int, repo_root: Path) -> None:
    async def talk(page: Page) -> None:
        await page.drop(repo_root / "data" / "photos" / "pedestrians_576.jpg")
        await page.wait_for_answers(1)
        seen = await page.look("dropped")
        assert_skeletons(seen, at_least=3)
        assert seen["canvas"][0] / seen["canvas"][1] == pytest.approx(768 / 576, abs=0.01)
        await page.drop(repo_root / "data" / "photos" / "README.md")
        await page.wait_until("document.getElementById('message').textContent !== ''")
        after = await page.look("dropped-text")
        assert after["message"] == "Expected a JPEG, PNG or WebP image."
        assert after["answered"] == seen["answered"]

    visit(port, site, talk)


def test_on_a_phone(site: str, port: int, repo_root: Path) -> None:
    async def talk(page: Page) -> None:
        await page.resize(PHONE, pixel_ratio=3)
        await page.press("camera")
        await page.wait_until("document.getElementById('people').textContent > 0")
        await page.wait_for_answers(1)
        seen = await page.look("phone")
        assert_skeletons(seen)
        assert seen["stage"][0] == PHONE[0]
        assert seen["stage"][1] > PHONE[1] / 2
        assert max(seen["canvas"]) > 640  # as fine as the screen, not as the image
        await page.drop(repo_root / "data" / "photos" / "pedestrians_576.jpg")
        await page.wait_until("document.getElementById('people').textContent > 1")
        assert_skeletons(await page.look("phone-dropped"), at_least=2)

    visit(port, site, talk)


def test_the_page_connects_again(site: str, port: int) -> None:
    async def talk(page: Page) -> None:
        await page.press("camera")
        await page.wait_for_answers(1)
        await page.value("socket.close()")
        await page.wait_for_answers(2)
        assert (await page.look("again"))["message"] == ""
        await page.press("camera")
        # What the server does after two minutes of silence: the page rests until it has something.
        await page.value("socket.onclose({ code: IDLE })")
        assert await page.value("socket === null")
        await page.press("camera")
        await page.wait_for_answers(1)

    visit(port, site, talk)
