"""Results of an unfinished run, which go on when the same run is started again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openpaf.io.cache import cache_folder
from openpaf.io.closing import Closing

# Settings that change no result: a run with another of these goes on where the first one stopped.
_NO_PART_OF_KEY = ("date", "machine")


class PartialResults(Closing):
    """Results of an unfinished run in a file, one line of JSON an image.

    Each line carries the key of the settings that it was made with, so that one file can serve
    several runs, and results of other settings are never taken. A line that was cut
    off, as by a power cut, is passed over.

    Args:
        path: The file; made, with its folder, if missing.
        settings: What the results were made with, fit for JSON; see :func:`settings_key`.

    Raises:
        OSError: If the file cannot be read or written.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.key = settings_key(settings)
        #: What was found earlier with these settings, by image id or name.
        self.done: dict[Any, Any] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        if self.path.exists():
            raw = self.path.read_bytes()
            whole = not raw or raw.endswith(b"\n")
            for line in raw.splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["key"] == self.key:
                        self.done[entry["image_id"]] = entry["result"]
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        if not whole:
            self._file.write("\n")

    def add(self, image_id: int | str, result: Any) -> None:
        """Keep the result of an image; it is in the file when this returns."""
        self.done[image_id] = result
        entry = {"key": self.key, "image_id": image_id, "result": result}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def delete(self) -> None:
        """Close and delete the file: the run is complete."""
        self.close()
        self.path.unlink(missing_ok=True)


def settings_key(settings: Mapping[str, Any]) -> str:
    """A short name for the settings that results depend on, which differs where they do."""
    own = {name: value for name, value in settings.items() if name not in _NO_PART_OF_KEY}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]


def default_partial_path(settings: Mapping[str, Any], verb: str = "evaluate") -> Path:
    """Where the results of an unfinished run wait: a file in the user's cache folder."""
    return cache_folder() / verb / f"{settings_key(settings)}.jsonl"
