"""What a server accepts, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from openpaf.checks import check_number, is_whole


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server.

    Args:
        max_bytes: Largest body of a request.
        max_pixels: Largest image in px.
        max_queue: Requests that are read, wait or are worked on at a time; further ones are
            refused. The memory of a server grows with it, by up to 3 bytes a pixel.
        max_batch: Images of one run of the network.
        max_wait_s: Time in s that an image waits for others of its shape.
        read_timeout_s: Time in s in which the body of a request must come.

    Raises:
        ValueError: If a limit is out of range.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 24_000_000
    max_queue: int = 32
    max_batch: int = 8
    max_wait_s: float = 0.005
    read_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_queue", "max_batch"):
            value = getattr(self, name)
            if not (is_whole(value) and value >= 1):
                raise ValueError(f"{name}: expected a whole number from 1 on, got {value!r}")
        check_number("max_wait_s", self.max_wait_s, least=0)
        check_number("read_timeout_s", self.read_timeout_s, least=0)
