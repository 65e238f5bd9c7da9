"""The browser demo: its server outlives bad clients, and the page draws skeletons in Chromium."""

from __future__ import annotations

import asyncio
import io
import threading
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openpaf import Poses, Skeleton, Tracker

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (the extra 'demo')")
from aiohttp import WSMsgType, WSServerHandshakeError  # noqa: E402
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402


@pytest.fixture
def demo() -> Any:
    from openpaf.demos import browser

    return browser


def someone(image: np.ndarray) -> Poses:
    """One person in the middle of every image."""
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


def test_poses_of_an_image_and_ids_of_a_camera(demo: Any) -> None:
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


def test_a_frame_of_the_camera_may_have_weaker_people_than_an_image(demo: Any) -> None:
    thresholds = {demo.CAMERA: 0.1, demo.IMAGE: 1.1}
    server = demo.Server(someone, thresholds=thresholds)
    n_people = [len(server._find(jpeg(kind=kind), Tracker())["people"]) for kind in (b"\0", b"\1")]
    assert n_people == [1, 0]


def test_pages_are_served_and_nothing_else(demo: Any) -> None:
    async def talk(client: Any, connect: Any) -> None:
        for path in ("/", "/page.js", "/skeletons.js", "/page.css"):
            response = await client.get(path)
            assert response.status == 200
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        for path in ("/browser.py", "/../browser.py", "/nothing"):
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
        ("text", "expected an image, got text"),
        (b"", "expected a byte for the kind"),
        (b"\x07" + jpeg()[1:], "expected a byte for the kind"),
        (b"\0no picture at all", "not a JPEG, PNG or WebP image"),
        (jpeg((400, 300))[:600], "not a JPEG, PNG or WebP image"),
        (jpeg(format="GIF"), "not a JPEG, PNG or WebP image"),
        (jpeg((2000, 2000)), "more than 1 megapixels"),
    ],
)
def test_what_is_no_image_is_said_and_the_next_one_is_answered(
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
            assert socket.close_code == demo.IDLE  # the page then connects when it has something
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


def test_who_says_nothing_half_a_word_or_terabytes(demo: Any) -> None:
    """Connections below WebSocket's: mute, cut off in a header, announcing or sending too much."""

    async def talk(client: Any, connect: Any) -> None:
        address = (client.host, client.port)
        silent = [await asyncio.open_connection(*address) for _ in range(100)]
        for _, writer in silent[:50]:
            writer.write(b"GET /poses HTTP/1.1\r\nHost: ")
        async with connect() as socket:
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1
        async with connect() as socket:
            header = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)  # of a binary frame
            socket._response.connection.transport.write(header + bytes(100_000))
            assert (await socket.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
            assert socket.close_code == 1009
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"POST / HTTP/1.1\r\nHost: {client.host}\r\n".encode())
        writer.write(b"Content-Length: 1000000000000\r\n\r\n" + bytes(100_000))
        assert b" 405 " in await reader.readline()
        writer.close()
        async with connect() as socket:
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1
        for _, writer in silent:
            writer.close()

    serve(demo.Server(someone, limits=demo.Limits(max_clients=2)), talk)


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
    """A hundred images at once from one: the other waits for one of them, not for all."""
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


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Host: localhost", 200),
        (b"Host: LocalHost:8016", 200),
        (b"Host: [::1]:8016", 200),
        (b"Host: evil.example", 403),
        (b"Host: [::1", 400),
        (b"Host: []", 400),
        (b"Host: [fe80::zz]", 400),
        (b"Host: localhost:port", 400),
        (b"Host: user@localhost", 400),
        (b"Host: local host", 400),
        (b"Host: caf\xe9", 400),
        (b"Host: \xe2\x84\x80", 400),  # which normalizes to more than one letter
        (b"Host:", 400),
        (b"Accept: */*", 400),
        (b"Host: localhost\r\nOrigin: http://[", 403),
        (b"Host: localhost\r\nOrigin: \xff", 403),
    ],
)
def test_malformed_hosts_and_origins_are_bad_requests(
    demo: Any, headers: bytes, status: int
) -> None:
    async def talk(client: Any, connect: Any) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET / HTTP/1.1\r\n" + headers + b"\r\n\r\n")
        assert (await reader.readline()).split()[1] == str(status).encode()
        writer.close()

    serve(demo.Server(someone), talk)


def bomb() -> bytes:
    """A PNG of a few kilobytes whose image has 400 megapixels."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return b"\0" + bytes(content)


def test_messages_of_any_kind_stop_nobody(demo: Any) -> None:
    junk = np.random.default_rng(0)
    messages = [bomb(), jpeg()[:50], b"\0" * 1000, *(junk.bytes(n) for n in (1, 2, 100, 50_000))]
    messages += [b"\0%!PS-Adobe-3.0 EPSF-3.0\n{} loop\n"]

    def fails(image: np.ndarray) -> Poses:
        if image.shape == (48, 64, 3):
            return someone(image)
        raise MemoryError

    messages.append(jpeg((99, 99)))

    async def talk(client: Any, connect: Any) -> None:
        async with connect() as socket:
            for message in messages:
                await socket.send_bytes(message)
                assert set(await socket.receive_json()) == {"error"}
            await socket.send_bytes(jpeg())
            assert len((await socket.receive_json())["people"]) == 1

    serve(demo.Server(fails, limits=demo.Limits(max_errors=20)), talk)
