"""The body of a request, to an image."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from openpaf.errors import ImageError
from openpaf.io.image_files import open_image
from openpaf.io.images import decode_image
from openpaf.serving.limits import Limits

#: Formats of Pillow that are decoded; its readers of others are never given a client's bytes.
FORMATS = ("JPEG", "PNG", "WEBP")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
_MAX_DROPPED = 100_000_000


async def read_body(request: Request, limits: Limits) -> bytes:
    """The encoded image of a request: its body, or the one file of a multipart form.

    Raises:
        HTTPException: 400 if there is none, 408 if it comes too slowly, 413 if it is too large.
    """
    try:
        body = await asyncio.wait_for(_whole(request, limits.max_bytes), limits.read_timeout_s)
    except asyncio.TimeoutError:  # not the built-in one on Python 3.10
        message = f"the body did not come within {limits.read_timeout_s:g} s"
        raise HTTPException(408, message) from None
    except ClientDisconnect:
        raise HTTPException(400, "the client disconnected") from None
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        body = await _only_file(request, body)
    if not body:
        raise HTTPException(400, "expected an image as the body, got nothing")
    return body


async def drop_body(request: Request, limits: Limits) -> None:
    """Read a body without storing it; some clients see the answer only after they have sent it."""
    n_bytes = 0

    async def drop() -> None:
        nonlocal n_bytes
        async for chunk in request.stream():
            n_bytes += len(chunk)
            if n_bytes > _MAX_DROPPED:
                return

    with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
        await asyncio.wait_for(drop(), limits.read_timeout_s)


def decode_body(body: bytes, limits: Limits) -> NDArray[np.uint8]:
    """The image of a body, RGB uint8 (H, W, 3), upright.

    Raises:
        HTTPException: 400 if it is not an image that can be read, 413 if it has too many pixels.
    """
    if not body.startswith(_STARTS) or (body[:4] == b"RIFF" and body[8:12] != b"WEBP"):
        raise HTTPException(400, "expected a JPEG, PNG or WebP image")
    try:
        with open_image(io.BytesIO(body), "image", formats=FORMATS) as opened:
            width, height = opened.size
        if width * height > limits.max_pixels:
            raise HTTPException(
                413,
                f"the image has {width} x {height} px, "
                f"more than {limits.max_pixels / 1e6:g} megapixels",
            )
        return decode_image(io.BytesIO(body), "image")
    except ImageError as error:
        raise HTTPException(400, str(error)) from None


async def _whole(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    is_too_long = announced.isdecimal() and int(announced) > max_bytes
    body = bytearray()
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        is_too_long = is_too_long or n_bytes > max_bytes
        if not is_too_long:
            body += chunk
        elif n_bytes > _MAX_DROPPED:  # until then it is read, so that the client hears the answer
            break
    if is_too_long:
        raise HTTPException(413, f"the body has more than {max_bytes / 1e6:g} MB")
    return bytes(body)


async def _only_file(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = MultiPartParser(
            request.headers, stream(), max_files=1, max_fields=0, max_part_size=len(body)
        )
        # Its own limit, from which on it writes to a file: the body is in memory already.
        parser.spool_max_size = len(body) + 1
        form = await parser.parse()
    except MultiPartException as error:
        message = f"multipart form: expected one file and nothing else: {error.message}"
        raise HTTPException(400, message) from None
    except (KeyError, ValueError) as error:
        raise HTTPException(400, f"multipart form: cannot be read: {error}") from None
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(400, "multipart form: expected one file, got none")
        return await files[0].read()
    finally:
        await form.close()
