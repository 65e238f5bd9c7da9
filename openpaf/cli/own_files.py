"""Photos in the folder that ``openpaf predict`` draws into, told from what it draws."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.io.addresses import is_url

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Listing


class OwnFiles:
    """Tells the photos of a run that lie in its output folder from what it draws there.

    The first are not written over; the others may be listed, as this goes on while the run does.

    Args:
        folder: Of the output.
        draws: Whether the run writes images; if not, there is nothing to tell.
    """

    def __init__(self, folder: Path, *, draws: bool) -> None:
        self._folder, self._draws = os.path.realpath(folder), draws
        self._inside = set[str]()
        self._last = ("", os.path.realpath(""))  # a folder, and where it is without links

    def find(self, listing: Listing) -> list[str]:
        """The photos and videos of a run that lie in the folder before it begins.

        The listing is gone through for it only where the folder has images.
        """
        from openpaf.video.base import is_video

        inside: list[str] = []

        def look_at(path: str) -> None:
            place = self._place(path)
            if self._has(place):
                self._inside.add(place)
                inside.append(path)
            elif os.path.islink(path) and self._has(os.path.realpath(path)):
                inside.append(path)

        if self._draws and has_images(self._folder):
            silent = replace(
                listing, on_error=lambda _: None, on_video=look_at, takes_video=is_video
            )
            for one in silent:
                if not is_url(one.path):
                    look_at(one.path)
        return inside

    def has_made(self, path: str) -> bool:
        """Whether a file came into the folder after :meth:`find`."""
        from openpaf.io.image_suffixes import names_image

        if not self._draws or is_url(path) or not names_image(path):
            return False
        place = self._place(path)
        return self._has(place) and place not in self._inside

    def _has(self, place: str) -> bool:
        return place.startswith(os.path.join(self._folder, ""))

    def _place(self, path: str) -> str:
        """A path without links to folders; those of one folder come one after the other."""
        folder, name = os.path.split(path)
        if folder != self._last[0]:
            self._last = (folder, os.path.realpath(folder))
        return os.path.join(self._last[1], name)


@contextlib.contextmanager
def input_kept(arguments: argparse.Namespace) -> Iterator[None]:
    """Within the block, a list on standard input can be read twice, where that is needed."""
    if "-" not in arguments.sources or sys.stdin is None or not has_images(arguments.output):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="openpaf-") as folder:
        copy = os.path.join(folder, "list.txt")
        with open(copy, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        arguments.sources = [f"@{copy}" if one == "-" else one for one in arguments.sources]
        yield


def has_images(folder: str | os.PathLike[str]) -> bool:
    """Whether there is an image or a video in a folder, at any depth."""
    from openpaf.io.image_suffixes import names_image
    from openpaf.video.base import is_video

    for here, _, names in os.walk(folder):
        if any(names_image(name) or is_video(os.path.join(here, name)) for name in names):
            return True
    return False
