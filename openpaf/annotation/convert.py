"""Labels of one format made those of another."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

from openpaf.annotation.files import LABEL_FORMATS, name_label_files
from openpaf.annotation.labels import LabelSet
from openpaf.annotation.losses import losses
from openpaf.annotation.reading import LOCAL_FILES, ReadOptions, with_skeleton
from openpaf.errors import shown
from openpaf.io.files import replacing, replacing_folder, write_text
from openpaf.io.json_files import read_json
from openpaf.io.paths import inside_folder

logger = logging.getLogger(__name__)


def read_labels(
    path: str | os.PathLike[str],
    format: str | None = None,
    options: ReadOptions | None = None,
) -> LabelSet:
    """Read labels of any format.

    Args:
        path: A file, or the folder of a YOLO set.
        format: One of :data:`openpaf.annotation.files.LABEL_FORMATS`; told from the name and the
            contents where not given.
        options: What the file may not say by itself.

    Raises:
        ValueError: If the format cannot be told, the labels are none of it, or their joints are
            not those of the skeleton; the message names the file.
        OSError: If a file cannot be read.
    """
    options = options or ReadOptions()
    path = Path(path)
    name = format or format_of(path)
    known = [one for one, kind in LABEL_FORMATS.items() if kind.read is not None]
    if name not in known:
        raise ValueError(f"format: expected one of {', '.join(known)}, got {name!r}")
    reader = LABEL_FORMATS[name].read
    assert reader is not None  # only such are in the list
    try:
        labels = reader(path, options)
        return labels if options.skeleton is None else with_skeleton(labels, options.skeleton)
    except ValueError as error:
        if shown(path) in str(error):  # most readers say more about the place
            raise
        raise ValueError(f"{shown(path)}: {error}") from error


def format_of(path: Path) -> str:
    """The format of existing labels, by the file's name, and for JSON by what it holds.

    Raises:
        ValueError: If it is none that is read.
        OSError: If it cannot be read.
    """
    if path.is_dir():
        return "yolo"
    suffix = path.suffix.lower()
    if suffix == ".json":
        data: Any = read_json(path)
        return "label-studio" if isinstance(data, list) else "coco"
    for name, kind in LABEL_FORMATS.items():
        if suffix in kind.reads:
            return name
    suffixes = ", ".join(dict.fromkeys(s for kind in LABEL_FORMATS.values() for s in kind.reads))
    raise ValueError(f"{shown(path)}: expected labels, a folder or {suffixes}")


def format_for(path: Path) -> str:
    """The format to write, by the name of a file that need not exist.

    Raises:
        ValueError: If no format is written by such a name.
    """
    for name, kind in LABEL_FORMATS.items():
        if kind.files and path.name.lower().endswith(kind.suffix) and kind.suffix.count(".") > 1:
            return name
    for name, kind in LABEL_FORMATS.items():
        if (kind.files or kind.save) and path.suffix.lower() == kind.suffix:
            return name
    if not path.suffix or path.is_dir():
        return "yolo"
    raise ValueError(
        f"{shown(path)}: expected .json, .xml, .csv, .slp, or the folder of a YOLO set"
    )


def convert_labels(
    labels: LabelSet,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    image_prefix: str = LOCAL_FILES,
    overwrite: bool = False,
) -> list[Path]:
    """Write labels in any format, whole or not at all; a warning names what it cannot hold.

    Args:
        labels: The labels.
        path: The file, or the folder of a YOLO set, whose ``labels`` and ``data.yaml`` are
            written.
        format: One of :data:`openpaf.annotation.files.LABEL_FORMATS`; told from the name where not
            given.
        image_prefix: For Label Studio, what the address of an image is before its file name.
        overwrite: Whether existing labels are replaced.

    Returns:
        What was written.

    Raises:
        ValueError: If the format is unknown or not written, or labels exist.
        OSError: If a file cannot be written; the message names it.
    """
    path = Path(path)
    name = format or format_for(path)
    known = [one for one, kind in LABEL_FORMATS.items() if kind.is_written]
    if name not in known:
        raise ValueError(f"format: expected one of {', '.join(known)}, got {name!r}")
    kind = LABEL_FORMATS[name]
    places = _places(path, name)
    existing = [place for place in places if place.exists()]
    if existing and not overwrite:
        raise ValueError(f"{shown(existing[0])} exists; --overwrite replaces it")
    for loss in losses(labels, kind):
        logger.warning("%s cannot hold %s", name, loss)
    if kind.folder is not None:
        _write_folder(path, kind.folder(labels))
    elif kind.save is not None:
        with replacing(path) as temporary:
            kind.save(labels, temporary)
    else:
        texts = name_label_files(path, [name])
        made = {place: text(labels, image_prefix) for place, text in texts.items()}
        for place, written in made.items():
            write_text(place, written)
    return places


def _places(path: Path, name: str) -> list[Path]:
    """What is written for labels in a format.

    Raises:
        ValueError: If the path's suffix is not the format's.
    """
    kind = LABEL_FORMATS[name]
    if kind.folder is not None:
        return [path / "labels", path / "data.yaml"]
    if kind.save is None:
        return list(name_label_files(path, [name]))
    if path.suffix.lower() != kind.suffix:
        raise ValueError(f"path: expected a file {kind.suffix} for {name}, got {shown(path)}")
    return [path]


def _write_folder(path: Path, texts: dict[str, str]) -> None:
    """Write a set: its labels as a whole, then the file that names them."""
    is_new = not path.exists()
    path.mkdir(exist_ok=True)
    try:
        _write_files(path, texts)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if it is empty
        raise


def _write_files(path: Path, texts: dict[str, str]) -> None:
    with replacing_folder(path / "labels") as temporary:
        for name, text in texts.items():
            if name.startswith("labels/"):
                file = inside_folder(temporary, name.removeprefix("labels/"))
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
    write_text(path / "data.yaml", texts["data.yaml"])
