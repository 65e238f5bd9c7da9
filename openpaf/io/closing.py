"""What is closed at the end of ``with``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

_T = TypeVar("_T", bound="Closing")


class Closing(ABC):
    """Something open, which ``with`` gives as it is and closes at its end."""

    @abstractmethod
    def close(self) -> None:
        """Close it; a second call does nothing."""

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()
