"""Which images and label files a YOLO set has."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from openpaf.annotation.reading import ReadOptions
from openpaf.errors import shown
from openpaf.io.image_suffixes import names_image
from openpaf.io.paths import inside_folder

logger = logging.getLogger(__name__)

_SPLITS = ("train", "val", "test")

#: An image's name, the folder that it is relative to, and its label file, if there is one.
LabeledFile = tuple[str, Path, Path | None]


def yolo_files(folder: Path, data: Mapping[str, Any], options: ReadOptions) -> list[LabeledFile]:
    """The images of a set, each with its label file.

    Args:
        folder: Of the YAML file.
        data: What it holds.
        options: The split, and the folder that takes the place of ``images/``.

    Raises:
        ValueError: If a split or a folder is missing, or no image has labels.
    """
    root = _root(folder, data)
    splits = [split for split in _SPLITS if data.get(split)]
    if not splits or options.split not in (None, *splits):
        known = ", ".join(splits) or "none"
        raise ValueError(f"split: expected one of {known}, got {options.split or 'none'}")
    chosen = splits if options.split is None else [options.split]
    files: dict[str, LabeledFile] = {}
    for split in chosen:
        entries = data[split] if isinstance(data[split], list) else [data[split]]
        for entry in entries:
            if not isinstance(entry, str):
                raise ValueError(f"{split}: expected a path, got {entry!r}")
            files |= {file[0]: file for file in _of_entry(root, split, entry, options)}
    if not any(label for _, _, label in files.values()):
        raise ValueError(f"{', '.join(chosen)}: none of {len(files)} images has a label file")
    if len(chosen) > 1 and len({str(data[split]) for split in chosen}) > 1:
        logger.warning("%s: one set is made of them; split chooses one", ", ".join(chosen))
    return list(files.values())


def _root(folder: Path, data: Mapping[str, Any]) -> Path:
    """The folder of the set: that of the YAML file, or the one named in it, where it exists."""
    named = data.get("path")
    if isinstance(named, str) and (folder / named).is_dir():
        return folder / named
    return folder


def _of_entry(root: Path, split: str, entry: str, options: ReadOptions) -> Iterator[LabeledFile]:
    """The images of a folder, or of a text file that lists them."""
    # Roboflow writes ../train/images and means the folder in the set.
    name = PurePosixPath(entry.replace("\\", "/").removeprefix("../"))
    if name.suffix == ".txt":
        yield from _listed(root, str(name), options)
        return
    if name.is_absolute():
        if not Path(name).is_relative_to(root.resolve()):
            raise ValueError(f"{split}: expected a folder in {shown(root)}, got {shown(entry)}")
        name = PurePosixPath(Path(name).relative_to(root.resolve()).as_posix())
    labels = inside_folder(root, str(_label_name(name)))
    top, prefix = _place(root, name, options)
    place = top / prefix
    if not place.is_dir():
        raise ValueError(f"{split}: no folder {shown(place)}")
    stems = set()
    for image in sorted(place.rglob("*")):
        if not names_image(image) or not image.is_file():
            continue
        stem = image.relative_to(place).with_suffix(".txt")
        stems.add(stem)
        label = labels / stem
        yield (prefix / stem.with_name(image.name)).as_posix(), top, _existing(label)
    orphans = [
        file for file in sorted(labels.rglob("*.txt")) if file.relative_to(labels) not in stems
    ]
    if orphans:
        logger.warning(
            "%d label files have no image and are left out, the first is %s",
            len(orphans), shown(orphans[0]),
        )  # fmt: skip


def _listed(root: Path, entry: str, options: ReadOptions) -> Iterator[LabeledFile]:
    """Images of a text file, one a line."""
    for line in inside_folder(root, entry).read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        text = line.strip().replace("\\", "/")
        name = PurePosixPath(text.removeprefix(f"{root.resolve().as_posix()}/"))
        label = inside_folder(root, str(_label_name(name.parent) / f"{name.stem}.txt"))
        top, prefix = _place(root, name, options)
        yield prefix.as_posix(), top, _existing(label)


def _label_name(name: PurePosixPath) -> PurePosixPath:
    """The folder of labels of a folder of images: the last ``images`` becomes ``labels``."""
    parts = list(name.parts)
    for k in range(len(parts) - 1, -1, -1):
        if parts[k] == "images":
            parts[k] = "labels"
            break
    return PurePosixPath(*parts)


def _place(root: Path, name: PurePosixPath, options: ReadOptions) -> tuple[Path, PurePosixPath]:
    """What names are relative to, and the part of a path after it."""
    if options.image_dir is None:
        return root, name
    parts = name.parts
    if "images" in parts and not (options.image_dir / name).exists():
        name = PurePosixPath(*parts[len(parts) - parts[::-1].index("images") :])
    return options.image_dir, name


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
