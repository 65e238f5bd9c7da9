"""A top-down pair exported: a file for each of its networks, and a pair's file that names them."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.auto import difference
from openpaf.engines.base import Arrays, Engine
from openpaf.engines.export import (
    TOLERANCES,
    Difference,
    check_difference,
    check_export,
    put_into_place,
    same_people,
)
from openpaf.engines.load import load_source
from openpaf.engines.table import ENGINES, ExportModule
from openpaf.estimator.methods import Options
from openpaf.estimator.top_down import TopDown
from openpaf.io.files import write_whole
from openpaf.io.images import read_image
from openpaf.poses import Poses
from openpaf.weights.catalog import resolve
from openpaf.weights.pairs import detector_sizes, renamed_pair
from openpaf.weights.spec import ModelSource

#: What a network sees: (B, 3, h, w) each.
Inputs = list[NDArray[np.float32]]

# Of the people whose crops the ranges of 8-bit integers are learned from.
_LIKELY = 0.3
# What ranges are learned from at most.
_MAX_CALIBRATION = 100


def export_pair(
    source: ModelSource,
    path: Path,
    *,
    to: str,
    precision: str = "float32",
    photos: Sequence[Path],
    calibration: Sequence[Path] = (),
    tolerance: float | None = None,
) -> Difference | None:
    """Export the networks of a pair, and compare each with torch on what it sees of real photos.

    Files for an engine that does not run on this platform are only read back.

    Args:
        source: The pair, of weights.
        path: The pair's file to write, ``.json``; beside it comes a file for each network, named
            by it and the precision.
        to: As :func:`openpaf.engines.export.export_model` takes it.
        precision: As there.
        photos: What to compare on.
        calibration: For int8: photos whose ranges of values are learned; others than ``photos``.
        tolerance: Largest allowed difference of a network's arrays, as a share of their root mean
            square; that of :data:`openpaf.engines.export.TOLERANCES` if None.

    Returns:
        The measured difference: that of the network that differs most; None where the files cannot
        be run.

    Raises:
        ExportError: If the difference is above the tolerance; nothing is written then.
        ImageError: If a photo cannot be read.
        ValueError: If an argument is out of range, or an extra is not installed.
        WeightsError: If the pair is exported already, or damaged.
    """
    if (to, precision) == ("onnx", "int8"):
        raise ValueError(
            "precision: pairs are not exported to ONNX in 8 bits, in which the detector takes "
            "longer in ONNX Runtime and the pose network loses accuracy; see --to openvino"
        )
    suffix = check_export(path, to, precision, photos, calibration, ".json")
    limit = TOLERANCES[precision] if tolerance is None else tolerance
    parts = {part.file: part for part in source.parts}
    sizes = _fixed_sizes(source, to)
    names = {
        file: f"{file.stem}{_size_in_name(part, sizes[file])}-{precision}{suffix}"
        for file, part in parts.items()
    }
    if len(set(names.values())) < len(names):
        raise ValueError(f"{source.file}: names two networks alike: {', '.join(names.values())}")
    seen = _inputs(source, calibration, _LIKELY)
    module = cast(ExportModule, ENGINES[to].load_module())
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".openpaf-") as folder:
        for file, part in parts.items():
            module.export(
                part,
                Path(folder) / names[file],
                precision=precision,
                size_hw=sizes[file],
                calibration=_some(seen.get(file, [])),
            )
        partial = Path(folder) / path.name
        write_whole(partial, renamed_pair(source.file, [names[p.file] for p in source.parts]))
        exported = resolve(partial)
        measured = None
        if ENGINES[to].runs_here:
            measured = compare_pairs(source, exported, photos)
            check_difference(path, measured, limit, "arrays")
        # The numbers before the files that need them, the pair's own last.
        for file in sorted(Path(folder).iterdir(), key=lambda f: (f == partial, f.name)):
            put_into_place(file, path.with_name(file.name))
    return measured


def _fixed_sizes(source: ModelSource, to: str) -> dict[Path, tuple[int, int] | None]:
    """The size of the input that each file of a pair is exported for, None for any.

    Raises:
        ValueError: If the engine's files are for one size, and a network runs at several.
    """
    if not ENGINES[to].fixed_sizes:
        return {part.file: None for part in source.parts}
    sizes: dict[Path, tuple[int, int] | None] = {}
    for part, size in zip(source.parts, [*detector_sizes(source.spec), None], strict=True):
        size_hw = part.spec.size_hw if size is None else size
        if not isinstance(size_hw, tuple) or sizes.setdefault(part.file, size_hw) != size_hw:
            raise ValueError(
                f"to: a file for {to} has one size of input, but {part.spec.name!r} of "
                f"{source.spec.name!r} runs at several"
            )
    return sizes


def _size_in_name(part: ModelSource, size_hw: tuple[int, int] | None) -> str:
    """Of a file for another size than the network's own, so that pairs may lie in one folder."""
    if size_hw is None or size_hw == part.spec.size_hw:
        return ""
    return f"-{size_hw[0]}x{size_hw[1]}"


def compare_pairs(source: ModelSource, exported: ModelSource, photos: Sequence[Path]) -> Difference:
    """How far the networks of an exported pair are from torch's on what they see of real photos.

    Args:
        source: The original.
        exported: Its exported form, with as many parts.
        photos: What to compare on.
    """
    seen = _inputs(source, photos, 0.0)
    shares, largest = [0.0], 0.0
    for part, other in {
        p.file: (p, e) for p, e in zip(source.parts, exported.parts, strict=True)
    }.values():
        original, engine = load_source(part, "torch", "cpu"), load_source(other)
        pairs = [(original(images), engine(images)) for images in seen.get(part.file, [])]
        shares += [float(np.mean([difference(*arrays) for arrays in pairs]))] if pairs else []
        largest = max(
            [largest, *(float(np.abs(a[name] - b[name]).max()) for a, b in pairs
                        for name in a if name != "boxes")]
        )  # fmt: skip
    ours, theirs = (TopDown.load(one, Options(engine=name, device="cpu"))
                    for one, name in ((source, "torch"), (exported, "auto")))  # fmt: skip
    n_people = n_same = 0
    for photo in photos:
        image = read_image(photo)
        people, same = same_people(*(_find_people(method, image) for method in (ours, theirs)))
        n_people, n_same = n_people + people, n_same + same
    return Difference(
        n_photos=len(photos), fields=max(shares), largest=largest, n_people=n_people, n_same=n_same
    )


def _find_people(method: TopDown, image: NDArray[np.uint8]) -> Poses:
    return method.postprocess(method.infer([image])[0], image.shape[:2])


def _inputs(source: ModelSource, photos: Sequence[Path], min_score: float) -> dict[Path, Inputs]:
    """What each network of a pair sees of photos when it runs in torch, by its file.

    Args:
        source: The pair.
        photos: Paths of the photos.
        min_score: Of the people whose crops count.
    """
    if not photos:
        return {}
    seen: dict[Path, Inputs] = {part.file: [] for part in source.parts}
    method = TopDown.load(source, Options(engine="torch", device="cpu", min_score=min_score))

    def noting(engine: Engine, inputs: Inputs) -> Engine:
        def run(images: NDArray[np.float32]) -> Arrays:
            inputs.append(images)
            return engine(images)

        return Engine(engine.name, run)

    *detectors, pose = source.parts
    method.detectors = tuple(
        dataclasses.replace(detector, engine=noting(detector.engine, seen[part.file]))
        for detector, part in zip(method.detectors, detectors, strict=True)
    )
    method.pose = noting(method.pose, seen[pose.file])
    for photo in photos:
        method.infer([read_image(photo)])
    return seen


def _some(inputs: Inputs) -> Inputs:
    """At most so many single images of them, evenly chosen."""
    singles = [images[i : i + 1] for images in inputs for i in range(len(images))]
    chosen = np.linspace(0, len(singles) - 1, min(len(singles), _MAX_CALIBRATION)).round()
    return [singles[int(i)] for i in chosen]
