"""The server of the browser demo: receives images over a WebSocket, and answers with their people.

Nothing is stored: an image lives in memory until its answer is sent.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web

from openpaf.errors import ImageError
from openpaf.io.image_files import open_image
from openpaf.io.images import read_image
from openpaf.poses import Poses
from openpaf.tracking.tracker import Tracker

HERE = Path(__file__).resolve().parent / "page"
FILES = {"/": "page.html"} | {f"/{name}": name for name in ("page.css", "page.js", "skeletons.js")}
FORMATS = ("JPEG", "PNG", "WEBP")
CAMERA, IMAGE = 0, 1  # the first byte of a message: a frame to be tracked, or a single image
IDLE = 4000  # code with which an idle connection is closed; the page handles it

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for clients.

    Args:
        max_bytes: Largest size of a message.
        max_pixels: Largest size of an image in px.
        max_clients: Largest number of connections; further ones are refused.
        max_errors: Number of bad messages in a row after which a connection is closed.
        idle_s: Time in s without a message after which a connection is closed.
    """

    max_bytes: int = 8_000_000
    max_pixels: int = 24_000_000
    max_clients: int = 16
    max_errors: int = 5
    idle_s: float = 120.0


class Server:
    """Serves the page, and poses to several clients that share one engine.

    Each client is answered before its next image is read, and the engine serves clients in the
    order of their requests: a client waits for at most one image of each of the others.

    Args:
        estimator: Finds the people.
        hosts: Accepted host names; requests for other names, to which another site could resolve
            this address, are refused. None accepts any.
        limits: Limits for clients.
        thresholds: Leave out people whose score is below this, of :data:`CAMERA` and of
            :data:`IMAGE`; none are if not given.
    """

    def __init__(
        self,
        estimator: Callable[[Any], Poses],
        *,
        hosts: frozenset[str] | None = frozenset({"localhost", "127.0.0.1", "::1"}),
        limits: Limits | None = None,
        thresholds: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        self.estimator, self.thresholds = estimator, thresholds
        self.hosts = None if hosts is None else frozenset(map(str.lower, hosts))
        self.limits = limits or Limits()
        self.clients: set[web.WebSocketResponse] = set()
        self._turn = asyncio.Lock()  # first come, first served
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="engine")

    def app(self) -> web.Application:
        """The application for ``aiohttp.web.run_app``."""
        app = web.Application(middlewares=[self._guard])
        for path in FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/poses", self._poses)
        app.on_shutdown.append(self._stop)
        return app

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Refuse requests of other sites' pages."""
        host = request.headers.get("Host", "")
        called = _HOST.fullmatch(host)
        if called is None:
            raise web.HTTPBadRequest(text="expected a header Host with a name or an address\n")
        name = called[1].strip("[]").lower()
        if self.hosts is not None and name not in self.hosts:
            raise web.HTTPForbidden(
                text=f"this server is not {name}; if it is, start it with --name {name}\n"
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise web.HTTPForbidden(text="another site's page may not ask here\n")
        return await handler(request)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        response = web.FileResponse(HERE / FILES[request.path])
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Content-Security-Policy"] = (
            "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob: data:; "
            "frame-ancestors 'none'"
        )
        return response

    async def _poses(self, request: web.Request) -> web.StreamResponse:
        if "Origin" not in request.headers:
            raise web.HTTPForbidden(text="only a page of this server may ask here\n")
        if len(self.clients) >= self.limits.max_clients:
            raise web.HTTPServiceUnavailable(text="too many clients; try again later\n")
        socket = web.WebSocketResponse(
            max_msg_size=self.limits.max_bytes, heartbeat=30, compress=False
        )
        self.clients.add(socket)
        try:
            await socket.prepare(request)
            await self._serve(socket)
        except asyncio.TimeoutError:  # not the built-in one on Python 3.10
            await socket.close(code=IDLE)
        except ConnectionError:
            pass  # the client has disconnected
        finally:
            self.clients.discard(socket)
            if not socket.closed and socket.prepared:
                await socket.close()
        return socket

    async def _serve(self, socket: web.WebSocketResponse) -> None:
        """Answer one client, one image at a time."""
        tracker, n_errors = Tracker(), 0
        while n_errors < self.limits.max_errors:
            message = await socket.receive(timeout=self.limits.idle_s)
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return  # closed, or broken: aiohttp has answered that
            try:
                answer = await self._answer(message.data, tracker)
                n_errors = 0
            except ValueError as error:
                answer = {"error": str(error)}
                n_errors += 1
            except Exception as error:  # no image stops the server
                kind = type(error).__name__
                _log.error("an image of %d bytes failed: %s: %s", len(message.data), kind, error)
                answer = {"error": "the server failed on this image"}
                n_errors += 1
            await socket.send_json(answer)
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many bad messages")

    async def _answer(self, data: bytes | str, tracker: Tracker) -> dict[str, Any]:
        if isinstance(data, str):
            raise ValueError("expected an image, got text")
        loop = asyncio.get_running_loop()
        async with self._turn:
            return await loop.run_in_executor(self._engine, self._find, data, tracker)

    def _find(self, data: bytes, tracker: Tracker) -> dict[str, Any]:
        """The people of a message, in the engine's thread."""
        if len(data) < 2 or data[0] not in (CAMERA, IMAGE):
            raise ValueError("expected a byte for the kind, and an image")
        image = self._decode(data[1:])
        poses = self.estimator(image)
        poses = poses[poses.person_scores >= self.thresholds.get(data[0], 0.0)]
        if data[0] == CAMERA:
            poses = tracker(poses, time.perf_counter())
        return {
            "width": image.shape[1],
            "height": image.shape[0],
            "joints": list(poses.skeleton.joints),
            "people": as_json(poses),
        }

    def _decode(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Decode an image, after its size is checked."""
        try:
            with open_image(io.BytesIO(data), "the image", formats=FORMATS) as image:
                width, height = image.size
                if width * height > self.limits.max_pixels:
                    raise ValueError(
                        f"the image has {width} x {height} px, more than "
                        f"{self.limits.max_pixels / 1e6:g} megapixels"
                    )
                return read_image(image)
        except ImageError as error:
            raise ValueError(f"not a JPEG, PNG or WebP image that can be read: {error}") from error

    async def _stop(self, app: web.Application) -> None:
        """Close all connections."""
        for socket in set(self.clients):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")
        self._engine.shutdown(wait=True, cancel_futures=True)


def as_json(poses: Poses) -> list[dict[str, Any]]:
    """People as the page draws them: joints of x, y and score, or null."""
    return [
        {
            "id": None if poses.ids is None else int(poses.ids[n]),
            "score": round(float(poses.person_scores[n]), 3),
            "joints": [
                [round(float(x), 1), round(float(y), 1), round(float(score), 2)]
                if score > 0
                else None
                for (x, y), score in zip(poses.xy[n], poses.scores[n], strict=True)
            ],
        }
        for n in range(len(poses))
    ]
