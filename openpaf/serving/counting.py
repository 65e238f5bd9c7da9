"""Counts the answers of a path, also those that the server makes itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Counting:
    """Between a server and its application.

    Args:
        app: The application.
        path: Whose answers are counted.
        answered: Called after an answer with its status and the time in s.
    """

    def __init__(self, app: ASGIApp, *, path: str, answered: Callable[[int, float], None]) -> None:
        self.app, self.path, self.answered = app, path, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            self.answered(status, time.perf_counter() - started)
