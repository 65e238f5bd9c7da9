"""Messages and requests to the server of the browser demo, which must outlive them all.

Every conversation is followed by a good picture on a new connection, whose people must come back.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from aiohttp import WSMsgType, web
from PIL import Image

from fuzzing.case import Case, Refusal
from fuzzing.images import encoded, expected
from fuzzing.mutate import damaged
from openpaf import Poses, Skeleton
from openpaf.demos import browser as server

_loop = asyncio.new_event_loop()
_faults: list[str] = []
_port = 0


def prepare() -> None:
    """Starts the server in a thread of this process."""
    global _port
    _loop.set_exception_handler(lambda _, context: _faults.append(str(context)))
    threading.Thread(target=_loop.run_forever, daemon=True).start()
    _port = _soon(_start())


def _soon(work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, _loop).result(25)


async def _start() -> int:
    runner = web.AppRunner(server.Server(_someone).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return int(runner.addresses[0][1])


def _someone(image: np.ndarray) -> Poses:
    """One person in the middle of every picture."""
    xy = np.array(image.shape[1::-1]) / 2 + np.linspace(-20, 20, 17)[:, None] * [0.5, 1.0]
    return Poses.from_keypoints(
        np.concatenate([xy, np.ones((17, 1))], axis=1)[None], Skeleton.COCO17
    )


def make(rng: np.random.Generator, folder: Path) -> Case:
    if rng.random() < 0.35:
        kind, raw = _request(rng)
        (folder / "request.bin").write_bytes(raw)
        return Case(f"request: {kind}", lambda: _check(_ask(raw)))
    messages = [_message(rng) for _ in range(int(rng.integers(1, 7)))]
    for n, (_, message, _) in enumerate(messages):
        (folder / f"message-{n}.bin").write_bytes(
            message.encode("utf-8", "replace") if isinstance(message, str) else message
        )
    return Case(f"message: {messages[0][0]}", lambda: _check(_talk(messages)))


def _check(conversation: Any) -> str | None:
    _faults.clear()
    try:
        wrong = _soon(conversation)
        refused = None
    except Refusal as error:
        wrong, refused = None, error
    good = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(good, "PNG")
    wrong = wrong or _soon(_talk([("good", b"\1" + good.getvalue(), (64, 48))]))
    if wrong or _faults:
        return wrong or f"a fault inside the server: {_faults[0][:500]}"
    if refused is not None:
        raise refused
    return None


def _message(rng: np.random.Generator) -> tuple[str, Any, tuple[int, int] | None]:
    """What it is, its bytes or text, and the size of its picture if it has a good one."""
    choice = int(rng.integers(8))
    kind = bytes([int(rng.integers(2))])
    if choice < 2:
        while True:
            _, suffix, raw = encoded(rng)
            if suffix in (".jpg", ".png", ".webp"):
                break
        try:
            wanted = expected(raw)
        except ValueError:  # of an unknown range
            wanted = None
        size = None if wanted is None else (wanted.shape[1], wanted.shape[0])
        return f"valid {suffix}", kind + raw, size
    if choice < 5:
        how, raw = damaged(rng, encoded(rng)[2])
        return how, kind + raw, None
    others: list[tuple[str, Any]] = [
        ("text", '{"image": null}'), ("long text", "x" * 100_000), ("no bytes", b""),
        ("a byte", b"\0"), ("another kind", b"\7" + rng.bytes(50)), ("random", rng.bytes(3000)),
        ("EPS", b"\1%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n{ } loop\n"),
        ("too long", bytes(8_000_001)),
    ]  # fmt: skip
    return (*others[int(rng.integers(len(others)))], None)


async def _talk(messages: list[tuple[str, Any, tuple[int, int] | None]]) -> str | None:
    """Send messages one after the other, and look at the answers."""
    origin = f"http://127.0.0.1:{_port}"
    errors: list[str] = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{origin}/poses", headers={"Origin": origin}) as socket,
    ):
        for kind, message, size in messages:
            try:
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)
            except ConnectionError:  # closed after too many bad messages
                break
            answer = await socket.receive(timeout=20)
            if answer.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                if size is not None and len(errors) < 5:
                    return f"closed on a good picture ({kind}), code {answer.data}"
                errors.append(f"closed, code {answer.data}")
                break
            if answer.type is not WSMsgType.TEXT:
                return f"an answer of type {answer.type}"
            data = json.loads(answer.data)
            if "error" in data:
                errors.append(str(data["error"]))
            if size is not None and (data.get("width"), data.get("height")) != size:
                return f"a good picture of {size} is answered by {answer.data[:200]}"
    if errors:
        raise Refusal(errors[0])
    return None


def _request(rng: np.random.Generator) -> tuple[str, bytes]:
    hosts = ("[", "[::1", "localhost:99999999", "a:b:c", "\x80", "", "[::1]:x", "localhost@", "é",
             "%", "]", "//", "localhost:-1", "x" * 9000, "127.0.0.1:80:80")  # fmt: skip
    host = hosts[int(rng.integers(len(hosts)))]
    origin = (
        f"Origin: http://{hosts[int(rng.integers(len(hosts)))]}\r\n" if rng.random() < 0.5 else ""
    )
    paths = ("/", "/poses", "/../server.py", "/page.css/..", "/%00", "/%ff", "/a" * 4000,
             "http://x/", "*", "/page.js?x=1#y")  # fmt: skip
    path = paths[int(rng.integers(len(paths)))]
    good = f"127.0.0.1:{_port}"
    choices: dict[str, str] = {
        "a strange Host": f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n",
        "a strange Origin": f"GET {path} HTTP/1.1\r\nHost: {good}\r\n{origin}\r\n",
        "a strange path": f"GET {path} HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "no Host": f"GET {path} HTTP/1.1\r\n\r\n",
        "another method": f"POST {path} HTTP/1.1\r\nHost: {good}\r\nContent-Length: 5\r\n\r\nhello",
        "a strange upgrade": f"GET /poses HTTP/1.1\r\nHost: {good}\r\nOrigin: http://{good}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n"
        "Sec-WebSocket-Version: 99\r\n\r\n",
        "two lengths": f"GET / HTTP/1.1\r\nHost: {good}\r\nContent-Length: 1\r\n"
        "Content-Length: 2\r\n\r\nab",
    }
    name = list(choices)[int(rng.integers(len(choices)))]
    raw = choices[name].encode("utf-8")
    if rng.random() < 0.2:
        name, raw = f"{name}, damaged", damaged(rng, raw)[1] + b"\r\n\r\n"
    return name, raw


async def _ask(raw: bytes) -> str | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", _port)
    try:
        writer.write(raw)
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), 3)
    except asyncio.TimeoutError:
        line = b""  # it waits for the rest of the request, as it should
    except ConnectionError:
        line = b""
    finally:
        writer.close()
    status = line.split()[1:2]
    if status and status[0] >= b"500":
        return f"status {status[0].decode()}"
    if not status or status[0] != b"200":
        raise Refusal(line.decode("latin-1").strip() or "no answer to half a request")
    return None
