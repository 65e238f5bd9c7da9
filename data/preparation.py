"""What the scripts ``prepare.py`` do: check a set, survey it, and add it to an index.

The index is a TOML file of ``[[sets]]``; ``index = "data/index/index.toml"`` under
``[data]`` in a run's configuration trains on all of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from survey import as_text, draw, survey
from tqdm import tqdm

from openpaf.errors import ImageError, OpenpafError
from openpaf.io.files import write_whole
from openpaf.io.image_files import open_image
from openpaf.io.toml_files import read_toml, toml_rows
from openpaf.training.data.dataset import DatasetError, Photo, PhotoSet, load_photo_set

_HEAD = "# Written by data/<set>/prepare.py; paths are relative to this file.\n"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A set as it lies on the disk.

    Args:
        name: Of the set, in the index.
        annotations: Relative to the folder that the user names.
        images: The folder of the photos, relative to that folder too.
        weight: Share of the crops, relative to the other sets'.
        fully_annotated: See :func:`~openpaf.training.data.dataset.load_photo_set`, as for all that
            follows.
        min_agreement: See there.
        holdout: See there.
        masks: See there.
    """

    name: str
    annotations: str
    images: str
    weight: float = 1.0
    fully_annotated: bool = True
    min_agreement: float = 0.0
    holdout: tuple[int, int] | None = None
    masks: str = "boxes"


def main(
    sources: Sequence[Source], *, folder: Path, where: str, argv: Sequence[str] | None = None
) -> int:
    """The command of a ``prepare.py``.

    Args:
        sources: The sets.
        folder: Where they lie if the user names no folder.
        where: Says where to get them.
        argv: The arguments; the process's where not given.

    Returns:
        The exit status: 0 done, 1 with photos that are missing or damaged, 2 nothing done.
    """
    parser = argparse.ArgumentParser(
        description="Checks a set, writes what is in it (text and plots), and adds it to an "
        "index that `openpaf train` reads.",
        epilog=where,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, default=folder, help=f"default: {folder}")
    parser.add_argument("--output", type=Path, default=Path("data/index"), metavar="DIR",
                        help="gets index.toml and the reports (default: data/index)")  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        n_bad = prepare(sources, arguments.folder, arguments.output)
    except (OpenpafError, ImportError, OSError, ValueError) as error:
        missing = not arguments.folder.is_dir()
        hint = f"\n{where}" if missing else ""
        _say(f"prepare.py: {error}{hint}", error=True)
        return 2
    _say(f'to train on it: index = "{arguments.output / "index.toml"}"')
    return 1 if n_bad else 0


def prepare(sources: Sequence[Source], folder: Path, output: Path) -> int:
    """Check and survey sets, and add them to the index.

    Args:
        sources: The sets.
        folder: Where they lie.
        output: Gets ``index.toml``, and ``NAME.txt`` and ``NAME.png`` of each set.

    Returns:
        How many photos are missing, damaged, or not of the size that the labels say.

    Raises:
        DatasetError: If a set is missing or not in COCO format.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    sets = [(source, _load(source, folder)) for source in sources]
    output.mkdir(parents=True, exist_ok=True)
    n_bad = 0
    for source, photo_set in sets:
        bad = _bad_photos(photo_set.photos)
        for line in bad[:10]:
            _say(line, error=True)
        n_bad += len(bad)
        counts = survey(photo_set)
        text = as_text(counts) + f"missing, damaged, or of another size: {len(bad)}\n"
        (output / f"{source.name}.txt").write_text(text, encoding="utf-8")
        _say(text)
        try:
            draw(counts, output / f"{source.name}.png")
        except ImportError as error:
            _say(f"no plots ({error})")
    _write_index([source for source, _ in sets], folder, output / "index.toml")
    return n_bad


def _load(source: Source, folder: Path) -> PhotoSet:
    return load_photo_set(
        folder / source.annotations,
        folder / source.images,
        name=source.name,
        min_agreement=source.min_agreement,
        masks=source.masks,
    )


def _bad_photos(photos: Sequence[Photo]) -> list[str]:
    """A line for each photo that is not as the labels say; only headers are read."""
    bad = []
    for photo in tqdm(photos, unit="photo", disable=None):
        try:
            with open_image(photo.path) as image:
                size_hw = _upright_hw(image)
            photo.check_size(size_hw)
        except (DatasetError, ImageError) as error:
            bad.append(str(error))
    return bad


def _upright_hw(image: Image.Image) -> tuple[int, int]:
    """Height and width once the photo is turned as its EXIF says, as it is read in training."""
    turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _sets(path: Path) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = read_toml(path).get("sets", [])
    return tables


def _write_index(sources: Sequence[Source], folder: Path, path: Path) -> None:
    """Add sets; those of the same name are replaced."""
    sets = {table["name"]: table for table in _sets(path)} if path.exists() else {}
    for source in sources:
        table = dataclasses.asdict(source)
        for key in ("annotations", "images"):
            table[key] = Path(os.path.relpath(folder / table[key], path.parent)).as_posix()
        sets[source.name] = table
    text = _HEAD + "".join(toml_rows({"sets": list(sets.values())}))
    write_whole(path, text.encode())


def _say(text: str, *, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(text.rstrip("\n") + "\n")
