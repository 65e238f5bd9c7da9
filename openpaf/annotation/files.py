"""Files of labels in the formats of one table, and which files of an earlier run are replaced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openpaf.annotation.coco_labels import COCO_LABELS
from openpaf.annotation.cvat import CVAT
from openpaf.annotation.deeplabcut import DEEPLABCUT
from openpaf.annotation.label_formats import LabelFormat, Text
from openpaf.annotation.label_studio import LABEL_STUDIO
from openpaf.annotation.labels import LabelSet
from openpaf.annotation.reading import LOCAL_FILES
from openpaf.annotation.sleap import SLEAP
from openpaf.annotation.yolo import YOLO
from openpaf.errors import shown
from openpaf.io.files import sha256_of, write_text
from openpaf.io.json_files import read_json, write_json
from openpaf.io.partial_results import settings_key

#: The formats of labels, by the names that ``openpaf convert --from`` and ``--to`` take, and, where
#: they are written as files, ``openpaf annotate --format``. A new one is a file beside ``cvat.py``
#: and an entry here.
LABEL_FORMATS: dict[str, LabelFormat] = {
    "coco": COCO_LABELS,
    "cvat": CVAT,
    "label-studio": LABEL_STUDIO,
    "yolo": YOLO,
    "deeplabcut": DEEPLABCUT,
    "sleap": SLEAP,
}


def file_formats() -> dict[str, LabelFormat]:
    """The formats that are written as files."""
    return {name: kind for name, kind in LABEL_FORMATS.items() if kind.files}


def name_label_files(path: Path, formats: Sequence[str]) -> dict[Path, Text]:
    """The files of some formats, and what makes the text of each.

    Args:
        path: The labels in the first of the formats. Other files have its stem.
        formats: Some of :func:`file_formats`.

    Raises:
        ValueError: If a format is unknown, or the path's suffix is not the first format's.
    """
    files: dict[Path, Text] = {}
    known = file_formats()
    stem = path.stem
    for name in formats:
        if name not in known:
            raise ValueError(f"format: expected one of {', '.join(known)}, got {name!r}")
        if not files and path.name.endswith(known[name].suffix):
            stem = path.name.removesuffix(known[name].suffix)
        for suffix, text in known[name].files.items():
            place = path if not files else path.with_name(stem + suffix)
            if not files and path.suffix.lower() != Path(f"labels{suffix}").suffix:
                expected = Path(f"labels{suffix}").suffix
                raise ValueError(f"path: expected a file {expected} for {name}, got {shown(path)}")
            files[place] = text
    return files


def write_labels(
    labels: LabelSet,
    path: str | os.PathLike[str],
    format: str = "coco",
    *,
    image_prefix: str = LOCAL_FILES,
) -> list[Path]:
    """Write labels for a tool, each file whole or not at all.

    Args:
        labels: The labels.
        path: The file of the labels; its folder must exist. An existing file is replaced.
        format: One of :func:`file_formats`.
        image_prefix: For Label Studio, what the address of an image is before its file name.

    Returns:
        What was written: the labels, and beside them, with the same stem, what sets up the tool.

    Raises:
        ValueError: If the format is unknown or the suffix is another format's.
        OSError: If a file cannot be written; the message names it.
    """
    files = name_label_files(Path(path), [format])
    for place, text in files.items():
        write_text(place, text(labels, image_prefix))
    return list(files)


class Record:
    """A file beside the labels that says what they were made with, and knows whether they changed.

    Labels are corrected by hand: they must not be replaced unawares. The record has the settings
    and the hash of each file; a file that is not as it was written, or was made with other
    settings, is another's.

    Args:
        path: The file of the labels; the record has its stem and ``.settings.json``.
        settings: What the labels are made with, fit for JSON.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path.with_name(f"{path.stem}.settings.json")
        self._settings = dict(settings)

    def check(self, files: Sequence[Path]) -> None:
        """See that files may be replaced: missing, or made with these settings and unchanged.

        Raises:
            ValueError: If one may not; the message names it and says why.
        """
        existing = [file for file in files if file.exists()]
        if not existing:
            return
        data = self._read()
        if data is None:
            raise ValueError(f"{shown(existing[0])} exists, and is not known to be of this command")
        for file in existing:
            if sha256_of(file) not in data["files"].get(file.name, ()):
                raise ValueError(f"{shown(file)} has changed since it was made")
        if settings_key(data["settings"]) != settings_key(self._settings):
            change = _first_difference(data["settings"], self._settings)
            raise ValueError(f"{shown(existing[0])} was made with other settings ({change})")

    def write(self, texts: Mapping[Path, str]) -> None:
        """Write the files, the record first: a kill between two leaves files that it knows.

        Raises:
            OSError: If a file cannot be written; the message names it.
        """
        hashes = {}
        for file, text in texts.items():
            own = hashlib.sha256(text.encode()).hexdigest()
            before = {sha256_of(file)} - {own} if file.exists() else set()
            hashes[file.name] = [own, *before]
        others = (self._read() or {"files": {}})["files"]
        write_json({"settings": self._settings, "files": {**others, **hashes}}, self.path)
        for file, text in texts.items():
            write_text(file, text)

    def _read(self) -> dict[str, Any] | None:
        try:
            data = read_json(self.path)
        except (OSError, ValueError):  # missing, or not ours
            return None
        is_record = isinstance(data, dict) and all(
            isinstance(data.get(key), dict) for key in ("settings", "files")
        )
        return data if is_record else None


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for name in sorted({*before, *now}):
        if name not in ("date", "machine") and before.get(name) != now.get(name):
            return f"{name}: {before.get(name)!r}, now {now.get(name)!r}"
    return "unknown"
