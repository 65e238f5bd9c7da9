"""A model exported into a file, and how far its answers are from torch's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding import decode
from openpaf.engines.auto import difference
from openpaf.engines.base import Engine
from openpaf.engines.load import load_source
from openpaf.engines.table import ENGINES, ExportModule, export_formats
from openpaf.errors import OpenpafError, WeightsError
from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.io.files import replacing_folder
from openpaf.io.images import read_image
from openpaf.oks import oks
from openpaf.poses import Poses
from openpaf.weights.catalog import resolve
from openpaf.weights.spec import ModelSource, ModelSpec

#: From an engine, its spec and the network's input (1, 3, h, w) to the people in px of the input.
FindPeople = Callable[[Engine, ModelSpec, NDArray[np.float32]], Poses]
#: Largest difference of fields that an export may have, as a share of their root mean square.
TOLERANCES = {"float32": 0.001, "float16": 0.01, "bfloat16": 0.05, "int8": 0.15}


class ExportError(OpenpafError):
    """An exported model is too far from its original."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far the answers of an exported model are from torch's.

    Args:
        n_photos: Real photos that were compared.
        fields: Root mean square difference of the fields, as a share of their root mean square.
        largest: The largest difference of a single cell of a heatmap.
        n_people: People that torch finds, with a score of 0.3 and more.
        n_same: Of these, those that the export finds too, at an object keypoint similarity of
            0.9 and more.
    """

    n_photos: int
    fields: float
    largest: float
    n_people: int
    n_same: int


def export_model(
    model: str | None,
    path: Path,
    *,
    to: str,
    precision: str = "float32",
    size_hw: tuple[int, int] | None = None,
    photos: Sequence[Path],
    calibration: Sequence[Path] = (),
    size: int = 256,
    tolerance: float | None = None,
    find_people: FindPeople | None = None,
) -> Difference | None:
    """Export a model, and compare it with torch on real photos before it gets its name.

    A file for an engine that does not run on this platform is only read back: its description, and
    that its program has no loops.

    Args:
        model: Name of a shipped model, or path of a safetensors file.
        path: The file to write, ``.onnx``, ``.xml`` or ``.tflite``, or the folder ``.mlpackage``;
            OpenVINO writes a ``.bin`` beside it.
        to: ``"onnx"``, ``"openvino"``, ``"litert"`` or ``"coreml"``.
        precision: ``"float32"``; with the first two also ``"int8"``, with OpenVINO ``"bfloat16"``,
            with Core ML ``"float16"``.
        size_hw: Fixed height and width of the input in px, multiples of 8; any size if None.
        photos: What to compare on.
        calibration: For int8: photos whose ranges of values are learned; others than ``photos``.
        size: Short side of the input in px, for the comparison and calibration.
        tolerance: Largest allowed difference of the fields, as a share of their root mean square;
            that of :data:`TOLERANCES` if None.
        find_people: How people are found, for the comparison; by part affinity fields if None.

    Returns:
        The measured difference; None where the file cannot be run.

    Raises:
        ExportError: If the difference is above the tolerance; nothing is written then.
        ImageError: If a photo cannot be read.
        ValueError: If an argument is out of range, or an extra is not installed.
        WeightsError: If the model is missing or damaged.
    """
    check_export(path, to, precision, photos, calibration)
    if size_hw is not None and any(side < 32 or side % 8 for side in size_hw):
        raise ValueError(f"size_hw: expected multiples of 8 px from 32 on, got {size_hw}")
    limit = TOLERANCES[precision] if tolerance is None else tolerance
    source = resolve(model)
    if find_people is None and "pafs" not in source.spec.outputs:
        raise WeightsError(
            f"{source.spec.name}: has no part affinity fields; expected find_people, got none"
        )
    find_people = find_people or _find_people
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".openpaf-") as folder:
        partial = Path(folder) / path.name
        inputs = [network_input(photo, size, size_hw)[None] for photo in calibration]
        module = cast(ExportModule, ENGINES[to].load_module())
        module.export(source, partial, precision=precision, size_hw=size_hw, calibration=inputs)
        exported = resolve(partial)
        measured = None
        if ENGINES[to].runs_here:
            measured = compare(
                source, exported, photos, size=size, size_hw=size_hw, find_people=find_people
            )
            check_difference(path, measured, limit, "fields")
        for file in sorted(Path(folder).iterdir()):  # the .bin before the .xml
            put_into_place(file, path.with_name(file.name))
    return measured


def check_difference(path: Path, measured: Difference, limit: float, what: str) -> None:
    """Refuse an export that is too far from its original.

    Raises:
        ExportError: If the difference is above the limit.
    """
    if not measured.fields <= limit:
        raise ExportError(
            f"{path}: not written; its {what} differ from torch's by {measured.fields:.4f} of "
            f"their root mean square, more than the tolerance of {limit:g}"
        )


def put_into_place(file: Path, target: Path) -> None:
    """Give an exported file its name, or a package, which is a folder; an older one goes."""
    if file.is_dir():
        with replacing_folder(target) as folder:
            for entry in file.iterdir():
                os.replace(entry, folder / entry.name)
    else:
        os.replace(file, target)


def check_export(
    path: Path,
    to: str,
    precision: str,
    photos: Sequence[Path],
    calibration: Sequence[Path],
    suffix: str | None = None,
) -> str:
    """Refuse arguments of an export that do not go together.

    Args:
        path: The file to write.
        to: Name of the engine.
        precision: Of the numbers.
        photos: What to compare on.
        calibration: What ranges are learned from.
        suffix: The path's, of a pair; that of the engine's files if None, for a single network.

    Returns:
        The suffix of the engine's files.

    Raises:
        ValueError: If they do not.
    """
    formats = export_formats()
    is_pair, whose = suffix is not None, "" if suffix is None else " of a top-down pair"
    usable = [name for name in formats if not is_pair or ENGINES[name].pair_exports]
    if to not in usable:
        raise ValueError(f"to: expected one of {', '.join(usable)}{whose}, got {to!r}")
    precisions = ENGINES[to].pair_exports if is_pair else ENGINES[to].exports
    if precision not in precisions:
        raise ValueError(
            f"precision: expected one of {', '.join(precisions)} for {to}{whose}, got {precision!r}"
        )
    suffix = suffix or formats[to]
    if path.suffix != suffix:
        raise ValueError(f"path: expected a name that ends in {suffix}, got {path.name!r}")
    if not photos:
        raise ValueError("photos: expected at least one photo to compare on, got none")
    if precision == "int8" and not calibration:
        raise ValueError("calibration: int8 needs photos to learn ranges of values from, got none")
    return formats[to]


def network_input(photo: Path, size: int, size_hw: tuple[int, int] | None) -> NDArray[np.float32]:
    """A photo as the network takes it: (3, h, w) float32, of the fixed size where there is one."""
    image = read_image(photo)
    height, width = image.shape[:2]
    if size_hw is None:
        return Letterbox.fit((height, width), size).apply(image)
    ratio = min(size_hw[0] / height, size_hw[1] / width)
    resized = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    return Letterbox(image_hw=(height, width), resized_hw=resized, size_hw=size_hw).apply(image)


def compare(
    source: ModelSource,
    exported: ModelSource,
    photos: Sequence[Path],
    *,
    size: int = 256,
    size_hw: tuple[int, int] | None = None,
    find_people: FindPeople,
) -> Difference:
    """How far the answers of an exported model are from torch's on real photos.

    Args:
        source: The original.
        exported: Its exported file.
        photos: What to compare on.
        size: Short side of the network's input in px, where it is not fixed.
        size_hw: The fixed size in px, if it is.
        find_people: How people are found.
    """
    original = load_source(source, "torch", "cpu")
    engine = load_source(exported)
    shares, largest, n_people, n_same = [], 0.0, 0, 0
    for photo in photos:
        image = network_input(photo, size, size_hw)[None]
        ours, theirs = original(image), engine(image)
        shares.append(difference(ours, theirs))
        largest = max(largest, float(np.abs(ours["heatmaps"] - theirs["heatmaps"]).max()))
        people, same = same_people(
            *(find_people(run, source.spec, image) for run in (original, engine))
        )
        n_people, n_same = n_people + people, n_same + same
    return Difference(
        n_photos=len(photos),
        fields=float(np.mean(shares)),
        largest=largest,
        n_people=n_people,
        n_same=n_same,
    )


def _find_people(engine: Engine, spec: ModelSpec, image: NDArray[np.float32]) -> Poses:
    """The people by part affinity fields."""
    arrays = engine(image)
    fields = Fields(
        heatmaps=arrays["heatmaps"][0],
        pafs=arrays["pafs"][0],
        heatmap_grid=spec.heatmap_grid,
        paf_grid=spec.paf_grid,
        skeleton=spec.skeleton,
    )
    return decode(fields)


def same_people(*both: Poses) -> tuple[int, int]:
    """How many people torch finds, and how many of them the export finds in the same place.

    Args:
        both: What torch finds, and what the export finds.
    """
    found = []
    for poses in both:
        weak = poses.scores < 0.1
        xy = np.where(weak[..., None], np.nan, poses.xy)
        found.append(poses.replace(xy=xy, scores=np.where(weak, 0, poses.scores)))
    sure = found[0][(found[0].person_scores >= 0.3) & (found[0].scores > 0).any(axis=1)]
    if not len(sure) or not len(found[1]):
        return len(sure), 0
    return len(sure), int((oks(sure, found[1]).max(axis=1) >= 0.9).sum())
