"""The server: answers, limits, batches across requests, and what it says of wrong requests."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_data import Fake, encoded, middle

from openpaf import Skeleton
from openpaf.io.coco import poses_to_coco

pytest.importorskip("fastapi", reason="fastapi is not installed (the extra 'serve')")
httpx = pytest.importorskip("httpx", reason="httpx is not installed (the extra 'test')")

from openpaf.serving.app import make_app  # noqa: E402
from openpaf.serving.batching import Batcher  # noqa: E402
from openpaf.serving.limits import Limits  # noqa: E402

Talk = Callable[[Any], Awaitable[Any]]


def talk(
    conversation: Talk, estimator: Any = None, *, threshold: float = 0.5, **limits: Any
) -> None:
    """Have a conversation with an application in this process."""

    async def run() -> None:
        app = make_app(estimator or Fake(), limits=Limits(**limits), threshold=threshold)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test", timeout=20) as client,
        ):
            await conversation(client)

    asyncio.run(asyncio.wait_for(run(), 60))


# Answers


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_json_has_size_joints_and_people_as_coco_has_them(format: str) -> None:
    async def conversation(client: Any) -> None:
        for how in ({"content": encoded(format=format)}, {"files": {"any": encoded()}}):
            answer = await client.post("/predict", **how)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == {
                "size": [64, 48],
                "joints": list(Skeleton.COCO17.joints),
                "people": poses_to_coco(middle(np.zeros((48, 64, 3))), 0),
            }

    talk(conversation)


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_the_drawn_image_is_upright_and_has_the_person(format: str) -> None:
    async def conversation(client: Any) -> None:
        body = encoded((64, 48), orientation=6)  # turned by a quarter
        answer = await client.post("/predict", params={"format": format}, content=body)
        assert answer.headers["content-type"] == f"image/{format}"
        with Image.open(io.BytesIO(answer.content)) as drawn:
            assert (drawn.size, drawn.format) == ((48, 64), format.upper())
            assert np.asarray(drawn)[32, 24].tolist() != [128, 128, 128]
            assert abs(np.asarray(drawn)[2, 2].astype(int) - 128).max() <= 2

    talk(conversation)


def test_a_request_may_ask_for_surer_people() -> None:
    async def conversation(client: Any) -> None:
        for threshold, n_people in (("0.5", 1), ("0.79", 1), ("0.81", 0)):
            params = {"threshold": threshold}
            answer = await client.post("/predict", params=params, content=encoded())
            assert len(answer.json()["people"]) == n_people

    talk(conversation)


def test_health_and_metrics() -> None:
    async def conversation(client: Any) -> None:
        health = (await client.get("/health")).json()
        assert (health["status"], health["model"], health["size"]) == ("ok", "fake", 64)
        for body in (encoded(), encoded(), b"nothing"):
            await client.post("/predict", content=body)
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.text.splitlines()
        for line in (
            'openpaf_requests_total{status="200"} 2.0',
            'openpaf_requests_total{status="400"} 1.0',
            "openpaf_request_seconds_count 3.0",
            "openpaf_batch_images_sum 2.0",
            "openpaf_people_total 2.0",
            "openpaf_queue_length 0.0",
        ):
            assert line in lines

    talk(conversation)


# Wrong requests


def bomb() -> bytes:
    """A PNG of a few bytes whose header announces 100 megapixels."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = (10_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


FORM = {"content-type": "multipart/form-data"}
WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, "got nothing"),
    ({"content": b"no image"}, 400, "expected a JPEG, PNG or WebP"),
    ({"content": encoded(format="GIF")}, 400, "expected a JPEG, PNG or WebP"),
    ({"content": b"RIFF1234WAVE" + bytes(50)}, 400, "expected a JPEG, PNG or WebP"),
    ({"content": encoded((300, 200), "PNG")[:-60]}, 400, "cannot be decoded"),
    ({"content": b"\xff\xd8\xff" + bytes(50)}, 400, "not an image"),
    ({"content": bomb()}, 413, "10000 x 10000 px, more than 1 megapixels"),
    ({"content": bytes(20_001)}, 413, "more than 0.02 MB"),
    ({"files": {"image": bytes(20_001)}}, 413, "more than 0.02 MB"),
    ({"files": [("a", encoded()), ("b", encoded())]}, 400, "expected one file and nothing else"),
    ({"files": {"a": encoded()}, "data": {"b": "text"}}, 400, "expected one file and nothing"),
    ({"files": {"image": b""}}, 400, "got nothing"),
    ({"content": b"--x--\r\n", "headers": {"content-type": FORM["content-type"] + "; boundary=x"}},
        400, "got none"),
    ({"content": encoded(), "headers": FORM}, 400, "Missing boundary"),
    ({"content": encoded(), "params": {"format": "gif"}}, 422, "format: "),
    ({"content": encoded(), "params": {"threshold": "0.4"}}, 422, "threshold: "),
    ({"content": encoded(), "params": {"threshold": "nan"}}, 422, "threshold: "),
    ({"content": encoded(), "params": {"treshold": "0.9"}}, 422, "treshold: no such parameter"),
    ({"content": encoded((13, 13))}, 500, "the server failed on this image"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "message"), WRONG, ids=[w[2] for w in WRONG])
def test_a_wrong_request_gets_one_line_and_the_next_one_its_answer(
    request_: dict[str, Any], status: int, message: str
) -> None:
    async def conversation(client: Any) -> None:
        answer = await client.post("/predict", **request_)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
        error = answer.json()["error"]
        assert message in error
        assert "\n" not in error
        assert len(error) < 300
        assert (await client.post("/predict", content=encoded())).status_code == 200

    talk(conversation, max_bytes=20_000, max_pixels=1_000_000)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("GET", "/", 404), ("POST", "/docs", 404), ("PUT", "/health", 405)],
)
def test_other_pages_and_methods_are_refused(method: str, path: str, status: int) -> None:
    async def conversation(client: Any) -> None:
        answer = await client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}

    talk(conversation)


def test_a_body_of_unknown_length_is_bounded_in_size_and_time() -> None:
    async def zeros() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(1000)

    async def forever() -> AsyncIterator[bytes]:
        yield encoded()
        await asyncio.sleep(30)

    async def conversation(client: Any) -> None:
        assert (await client.post("/predict", content=zeros())).status_code == 413
        assert (await client.post("/predict", content=forever())).status_code == 408
        assert (await client.post("/predict", content=encoded())).status_code == 200

    talk(conversation, max_bytes=20_000, read_timeout_s=0.2)


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "max_queue", "max_batch"])
def test_limits_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a whole number from 1 on, got 0"):
        Limits(**{name: 0})


# The queue


def test_a_full_queue_says_when_to_come_back() -> None:
    gate = threading.Event()
    estimator = Fake(is_open=gate)

    async def conversation(client: Any) -> None:
        inside = [asyncio.ensure_future(client.post("/predict", content=encoded()))]
        await asyncio.to_thread(estimator.started.wait, 10)
        inside += [asyncio.ensure_future(client.post("/predict", content=encoded()))]
        await asyncio.sleep(0.05)
        refused = await client.post("/predict", content=encoded())
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "the queue is full" in refused.json()["error"]
        assert (await client.get("/health")).status_code == 200
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*inside)] == [200, 200]
        assert (await client.post("/predict", content=encoded())).status_code == 200

    talk(conversation, estimator, max_queue=2)


def test_requests_are_answered_together_each_with_its_own_people() -> None:
    estimator = Fake()

    async def conversation(client: Any) -> None:
        sizes = [(64 + n % 2, 48) for n in range(8)]
        posts = [client.post("/predict", content=encoded(size)) for size in sizes]
        answers = await asyncio.gather(*posts)
        for size, answer in zip(sizes, answers, strict=True):
            expected = poses_to_coco(middle(np.zeros((size[1], size[0], 3))), 0)
            assert answer.json()["people"] == json.loads(json.dumps(expected))
        assert len(estimator.batches) < 8

    talk(conversation, estimator, max_wait_s=0.5)


def image(width: int = 64, height: int = 48) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_batches_have_one_shape_a_power_of_two_and_the_order_of_arrival() -> None:
    gate = threading.Event()
    estimator = Fake(is_open=gate)
    batcher = Batcher(estimator, max_batch=4, max_wait_s=0)
    first = batcher.submit(image(99, 33))
    assert estimator.started.wait(10)
    widths = [64, 64, 128, 64, 128, 64, 64, 64, 64, 64]
    futures = [first, *(batcher.submit(image(width)) for width in widths)]
    gate.set()
    for future in futures:
        assert len(future.result(10)) == 1
    batcher.close()
    assert [(len(batch), batch[0][1]) for batch in estimator.batches] == [
        (1, 99), (4, 64), (2, 128), (4, 64),
    ]  # fmt: skip


def test_a_lone_image_waits_no_longer_than_it_may_and_a_full_batch_not_at_all() -> None:
    estimator = Fake()
    batcher = Batcher(estimator, max_batch=2, max_wait_s=0.2)
    started = time.monotonic()
    batcher.submit(image()).result(10)
    assert time.monotonic() - started >= 0.2
    batcher.close()
    patient = Batcher(estimator, max_batch=2, max_wait_s=100)
    futures = [patient.submit(image()) for _ in range(2)]
    assert [len(future.result(10)) for future in futures] == [1, 1]
    patient.close()
    assert list(map(len, estimator.batches)) == [1, 2]


def test_an_image_that_fails_takes_no_other_with_it() -> None:
    batcher = Batcher(Fake(), max_batch=2, max_wait_s=100)
    bad, good = batcher.submit(image(13, 13)), batcher.submit(image(64, 64))
    assert len(good.result(10)) == 1
    with pytest.raises(RuntimeError, match="the engine"):
        bad.result(10)
    assert batcher.is_alive
    batcher.close()


def test_an_image_whose_client_has_gone_is_left_out() -> None:
    gate = threading.Event()
    estimator = Fake(is_open=gate)
    batcher = Batcher(estimator, max_wait_s=0)
    batcher.submit(image(33))
    assert estimator.started.wait(10)
    gone, there = batcher.submit(image(64)), batcher.submit(image(96))
    assert gone.cancel()
    gate.set()
    there.result(10)
    batcher.close()
    assert [batch[0][1] for batch in estimator.batches] == [33, 96]


def test_a_client_who_disconnects_leaves_the_queue() -> None:
    gate = threading.Event()
    estimator = Fake(is_open=gate)
    app = make_app(estimator, limits=Limits(max_wait_s=0))
    scope = {
        "type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b"",
    }  # fmt: skip

    async def request(width: int, *, stays: bool) -> list[int]:
        messages = [{"type": "http.request", "body": encoded((width, 48))}]
        statuses = []

        async def receive() -> dict[str, Any]:
            if not messages and stays:
                await asyncio.sleep(60)
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        await app(dict(scope), receive, send)
        return statuses

    async def run() -> None:
        there = asyncio.ensure_future(request(33, stays=True))
        await asyncio.to_thread(estimator.started.wait, 10)
        assert await request(64, stays=False) == [400]
        gate.set()
        assert await there == [200]

    asyncio.run(asyncio.wait_for(run(), 60))
    assert [batch[0][1] for batch in estimator.batches] == [33]


def test_closing_finishes_what_is_queued() -> None:
    estimator = Fake(pause_s=0.02)
    batcher = Batcher(estimator, max_batch=1, max_wait_s=100)
    futures = [batcher.submit(image()) for _ in range(5)]
    batcher.close()
    assert all(future.done() and len(future.result()) == 1 for future in futures)
    assert not batcher.is_alive
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(image())
