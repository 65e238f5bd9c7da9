"""``--show``: results in a window, until the user has seen enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.window import Window
from openpaf.io.closing import Closing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TITLE = "openpaf: any key goes on, q closes"
_WAIT_S = 0.2  # between checks for Ctrl-C
_QUIT = {"q", "\x1b"}


class Viewer(Closing):
    """A window for images and frames; when the user closes it, the run goes on without.

    Raises:
        ValueError: If no window can be opened here.
    """

    def __init__(self) -> None:
        try:
            self._window = Window(_TITLE)
        except ValueError as error:
            raise ValueError(f"--show: {error}") from error

    def show_file(self, path: Path) -> None:
        """Show the image of a file until a key is pressed."""
        from openpaf.io.images import read_image

        if not self._window.is_open:
            return
        self._window.show(read_image(path), resizes=True)
        typed = ""
        while self._window.is_open and not typed:
            raise_if_terminated()
            typed = self._window.keys(_WAIT_S)
        self._close_at(typed)

    def show_frame(self, image: NDArray[np.uint8]) -> None:
        """Show a frame of a video, RGB uint8 (H, W, 3), until the next one comes."""
        if self._window.is_open:
            self._window.show(image)
            self._close_at(self._window.keys())

    def close(self) -> None:
        """Close the window."""
        self._window.close()

    def _close_at(self, typed: str) -> None:
        if _QUIT & set(typed):
            self._window.close()
