"""A window that shows images: tkinter, which comes with Python, and Pillow."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from openpaf.io.closing import Closing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARE_OF_SCREEN = 0.9


class Window(Closing):
    """A window that opens at the size of its first image, or smaller where the screen is.

    Args:
        title: Of the window.

    Raises:
        ValueError: If this Python has no tkinter, or there is no display.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise ValueError(f"this Python has no tkinter for windows ({error})") from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ValueError(f"no window can be opened: {error}") from error
        self._ImageTk = ImageTk
        self._root.withdraw()  # until there is something to show
        self._root.title(title)
        self._root.configure(background="black")
        self._label = tkinter.Label(self._root, background="black", borderwidth=0)
        self._label.pack(fill="both", expand=True)
        self._root.bind("<Key>", lambda event: self._keys.append(event.char))
        self._root.protocol("WM_DELETE_WINDOW", self._stop)
        self._root.report_callback_exception = self._note_error
        self._keys: list[str] = []
        self._error: BaseException | None = None
        self._shown: ImageTk.PhotoImage | None = None
        self.is_open = True

    def show(self, image: NDArray[np.uint8], *, resizes: bool = False) -> None:
        """Show an image, scaled to the window's size.

        Args:
            image: RGB uint8 (H, W, 3).
            resizes: Whether the window gets the image's size, as it does with the first.
        """
        from PIL import Image

        height, width = image.shape[:2]
        if self._shown is None or resizes:
            screen = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
            share = min(
                1, *(_SHARE_OF_SCREEN * s / n for s, n in zip(screen, (width, height), strict=True))
            )
            size = round(width * share), round(height * share)
            self._root.geometry(f"{size[0]}x{size[1]}")
            self._root.deiconify()
        else:
            area = self._label.winfo_width(), self._label.winfo_height()
            share = min(area[0] / width, area[1] / height)
            size = max(1, round(width * share)), max(1, round(height * share))
        if size != (width, height):
            import cv2
            import numpy as np

            way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)
        drawn = Image.fromarray(image)
        if self._shown is None or (self._shown.width(), self._shown.height()) != size:
            self._shown = self._ImageTk.PhotoImage(drawn, master=self._root)
            self._label.configure(image=self._shown)
        else:
            self._shown.paste(drawn)

    def keys(self, wait_s: float = 0.0) -> str:
        """The characters that were typed, after the window has been drawn anew.

        Args:
            wait_s: Time to wait for one.
        """
        until = time.perf_counter() + wait_s
        while self.is_open:
            self._root.update()
            if self._error is not None:
                raise self._error
            left_s = until - time.perf_counter()
            if self._keys or left_s <= 0:
                break
            time.sleep(min(left_s, 0.02))
        typed, self._keys[:] = "".join(self._keys), []
        return typed

    def close(self) -> None:
        """Close it."""
        if self.is_open:
            self._stop()

    def _stop(self) -> None:
        self.is_open = False
        self._shown = None
        self._root.destroy()

    def _note_error(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Tk would print an error, also Ctrl-C, that comes while it calls Python, and go on."""
        self._error = error
